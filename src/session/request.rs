//! The request that opens a connection: an upgrade, a page or the health.

use std::time::Duration;

use tickyard_protocol::message::SUBPROTOCOL;

use super::echo::Echo;
use super::origins::{Asked, is_origin};
use super::site::{Compression, Page};
use super::{Phase, Session, Turn, greeting};
use crate::addresses::{Peer, TooMany};
use crate::bridge::Leave;
use crate::close_reason::CloseReason;
use crate::http::{HEAD_BYTES_MAX, HttpError, RequestHead, Response, Status, write_refusal};
use crate::websocket::deflate::{Agreement, Terms};
use crate::websocket::handshake::{Refusal, Upgrade};

impl Session {
    /// Collects the head; what follows it stays in `input` for the phase that it leads to.
    pub(super) fn read_request(&mut self, turn: &mut Turn, input: &mut &mut [u8]) {
        let Phase::Request(request) = &mut self.phase else { return };
        let (scan, head, _) = &mut **request;
        let before = head.len();
        let room = HEAD_BYTES_MAX.saturating_sub(before).min(input.len());
        head.extend_from_slice(&input[..room]);
        let answer = match scan.request(head) {
            Ok(None) => {
                advance(input, room);
                return;
            }
            Ok(Some((head, used))) => {
                advance(input, used - before);
                match self.denied {
                    Some(reason) => deny(turn, reason),
                    None => answer(&head, &mut self.peer, turn),
                }
            }
            Err(error) => {
                self.cause = Some(first_line(head));
                refuse_head(error, turn)
            }
        };
        self.since = turn.now;
        match answer {
            Answer::Play(deflate) => self.phase = Phase::Hello(greeting(turn, deflate)),
            Answer::Echo(deflate) => self.phase = Phase::Echo(Box::new(Echo::new(deflate))),
            Answer::Refused(refusal) => {
                *input = &mut [];
                self.cause = Some(refusal.why().into());
                self.close(CloseReason::BadHandshake, Leave::Removed);
            }
            Answer::Close(reason) => {
                *input = &mut [];
                self.close(reason, Leave::Removed);
            }
        }
    }

    /// A trusted proxy said whose connection it is before all else; `None`: its own, or it does not know.
    pub fn introduced(&mut self, turn: &mut Turn, client: Option<std::net::IpAddr>) {
        if turn.site.addresses.introduce(&mut self.peer, client) == Err(TooMany) {
            self.turn_away(turn, CloseReason::AddressLimit);
        }
    }

    /// A trusted proxy's header was none.
    pub fn badly_introduced(&mut self, bytes: &[u8]) {
        self.cause = Some(escape(bytes));
        self.close(CloseReason::BadProxyHeader, Leave::Removed);
    }

    /// There is no room for this connection: answers 503, whatever will be asked. Over TLS it has to be asked first.
    pub fn turn_away(&mut self, turn: &mut Turn, reason: CloseReason) {
        if self.peer.is_secure() {
            self.denied = Some(reason);
        } else if let Phase::Request(_) = self.phase {
            write_unavailable(turn.out, reason);
            self.close(reason, Leave::Removed);
        }
    }

    /// There was more around the request than a request may have.
    pub(super) fn wrapped_too_much(&mut self, turn: &mut Turn) {
        let Answer::Close(reason) = refuse_head(HttpError::HeadTooLarge, turn) else { return };
        self.close(reason, Leave::Removed);
    }

    pub(super) fn request_timed_out(&mut self, turn: &mut Turn) {
        write_refusal(turn.out, Status::TIMEOUT, &[], "no whole request came in time");
        self.close(CloseReason::HandshakeTimeout, Leave::Removed);
    }
}

/// Writes the 503 of a reason, with the time after which it may be better.
pub fn write_unavailable(out: &mut Vec<u8>, reason: CloseReason) {
    let why = match reason {
        CloseReason::AddressLimit => {
            "your address has as many connections open as one may have; close some, or try again later"
        }
        CloseReason::GoingAway => "the server is going away; try again later",
        _ => "the server is full; try again later",
    };
    let seconds = RETRY_AFTER.as_secs().to_string();
    write_refusal(out, Status::UNAVAILABLE, &[("Retry-After", &seconds)], why);
}

/// When to come again after a 503: players come and go by the minute.
const RETRY_AFTER: Duration = Duration::from_secs(5);

enum Answer {
    Play(Option<Agreement>),
    Echo(Option<Agreement>),
    Refused(Refusal),
    Close(CloseReason),
}

fn advance(input: &mut &mut [u8], used: usize) {
    *input = &mut std::mem::take(input)[used..];
}

fn refuse_head(error: HttpError, turn: &mut Turn) -> Answer {
    // What is not HTTP gets no answer in HTTP.
    if let Some(status) = error.status() {
        write_refusal(turn.out, status, &[], error.advice());
    }
    Answer::Close(match error {
        HttpError::HeadTooLarge | HttpError::TargetTooLong => CloseReason::HeadTooLarge,
        HttpError::Malformed | HttpError::Version => CloseReason::BadRequest,
        HttpError::NotHttp => CloseReason::NotHttp,
    })
}

fn deny(turn: &mut Turn, reason: CloseReason) -> Answer {
    write_unavailable(turn.out, reason);
    Answer::Close(reason)
}

fn answer(head: &RequestHead, peer: &mut Peer, turn: &mut Turn) -> Answer {
    let before = turn.out.len();
    let answer = match turn.site.addresses.forward(peer, &head.headers) {
        Err(TooMany) => deny(turn, CloseReason::AddressLimit),
        // Between two messages of a player nothing is kept.
        Ok(()) if head.is_for("/play") => {
            upgrade(head, peer, turn, &[SUBPROTOCOL], Terms::NoTakeover, Answer::Play)
        }
        Ok(()) if turn.site.echo && head.is_for("/echo") => {
            upgrade(head, peer, turn, &[], Terms::AsOffered, Answer::Echo)
        }
        Ok(()) => page(head, turn),
    };
    if head.method == "HEAD" {
        leave_out_body(turn.out, before);
    }
    answer
}

fn upgrade(
    head: &RequestHead,
    peer: &Peer,
    turn: &mut Turn,
    protocols: &[&'static str],
    terms: Terms,
    then: fn(Option<Agreement>) -> Answer,
) -> Answer {
    let upgrade = match Upgrade::check(head, protocols) {
        Ok(upgrade) if turn.site.deflate == Compression::Off => upgrade,
        Ok(upgrade) => upgrade.with_deflate(head, terms),
        Err(refusal) => {
            refusal.write(turn.out);
            return Answer::Refused(refusal);
        }
    };
    let origin = head.headers.get("origin");
    if turn.site.origins.allow(origin, &Asked::new(head, peer)) {
        warn_of_proxy(turn, peer);
        upgrade.write(turn.out);
        return then(upgrade.deflate());
    }
    warn_of_origin(turn, origin.unwrap_or_default());
    write_refusal(turn.out, Status::FORBIDDEN, &[], FORBIDDEN);
    Answer::Close(CloseReason::ForbiddenOrigin)
}

/// For the developer of the page; who else may connect is nobody's business.
const FORBIDDEN: &str = "pages of this origin may not connect; if it is yours, start the server with --allow-origin (its log names the origin)";

/// Names the flag with the very origin to add, if it is one: it may be copied into a shell.
fn warn_of_origin(turn: &mut Turn, origin: &str) {
    if !turn.site.origin_warned.is_due(turn.now) {
        return;
    }
    if origin.len() <= 256 && is_origin(origin) {
        tracing::warn!("a page of {origin} was refused (403); if it is yours, add --allow-origin {origin}");
    } else {
        let origin = escape(origin.as_bytes());
        tracing::warn!(%origin, "a page was refused (403): its origin can not be listed, only --allow-origin '*' lets it in");
    }
}

/// A trusted proxy has no limit, and neither have its clients while it does not name them.
fn warn_of_proxy(turn: &mut Turn, peer: &Peer) {
    if !turn.site.addresses.trust(peer.client()) || !turn.site.proxy_warned.is_due(turn.now) {
        return;
    }
    tracing::warn!(
        "a WebSocket of {peer} has no limit per address, for that is a trusted proxy and named no client: let it send \
         X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; HAProxy: option forwardfor) or a \
         PROXY header, or narrow --trusted-proxy"
    );
}

/// RFC 9110, 9.3.2: the answer to HEAD says how long the body would be, and has none.
fn leave_out_body(out: &mut Vec<u8>, from: usize) {
    if let Some(end) = out[from..].windows(4).position(|four| four == b"\r\n\r\n") {
        out.truncate(from + end + 4);
    }
}

/// The first line as far as it can hold no secret: up to a query or a colon, 64 bytes, escaped.
fn first_line(head: &[u8]) -> Box<str> {
    let is_text = head.first().is_some_and(u8::is_ascii_alphabetic);
    let ends = |byte: &u8| matches!(byte, b'?' | b':') || (is_text && matches!(byte, b'\r' | b'\n'));
    let end = head.iter().position(ends).unwrap_or(head.len());
    escape(&head[..end])
}

/// The first 64 bytes, fit for a log.
fn escape(bytes: &[u8]) -> Box<str> {
    bytes[..bytes.len().min(BLAME_BYTES_MAX)].escape_ascii().to_string().into()
}

const BLAME_BYTES_MAX: usize = 64;

fn page(head: &RequestHead, turn: &mut Turn) -> Answer {
    if !matches!(head.method, "GET" | "HEAD") {
        // RFC 9110, 15.5.6: 405 comes with the methods that are allowed.
        let headers = [("Allow", "GET, HEAD")];
        write_refusal(turn.out, Status::METHOD_NOT_ALLOWED, &headers, "pages are asked for with GET or HEAD");
        return Answer::Close(CloseReason::MethodNotAllowed);
    }
    if head.has_body() {
        write_refusal(turn.out, Status::BAD_REQUEST, &[], "a request for a page has no body");
        return Answer::Close(CloseReason::BadRequest);
    }
    const HEALTH: Page = Page { path: "/healthz", content_type: "text/plain; charset=utf-8", body: b"ok\n" };
    let found = turn.site.pages.iter().chain([&HEALTH]).find(|page| head.is_for(page.path));
    let Some(page) = found else {
        write_refusal(
            turn.out,
            Status::NOT_FOUND,
            &[],
            "players connect to /play; /healthz says whether the server is well",
        );
        return Answer::Close(CloseReason::NotFound);
    };
    // The pages are public and say nothing of a visitor: a page of another port may import the client from here.
    let mut headers = vec![
        ("Access-Control-Allow-Origin", "*"),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    if page.content_type.starts_with("text/html") {
        headers.extend([("Content-Security-Policy", CONTENT_POLICY), ("Referrer-Policy", "no-referrer")]);
    }
    if turn.site.hsts {
        // RFC 6797, 6.1: a year.
        headers.push(("Strict-Transport-Security", "max-age=31536000"));
    }
    let response = Response { status: Status::OK, content_type: page.content_type, headers: &headers };
    response.write(turn.out, page.body);
    Answer::Close(CloseReason::HttpDone)
}

/// A document has the scripts, styles and connections of its own server and no others, nothing inline, and no frame around it. Its icon
/// is a `data:` URL.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                              base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests;
