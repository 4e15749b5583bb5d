//! The request that opens a connection: an upgrade, a page or the health.

use super::echo::Echo;
use super::site::{Compression, Page, start_of};
use super::{Phase, Session, Turn, greeting};
use crate::close_reason::CloseReason;
use crate::http::{HEAD_BYTES_MAX, HttpError, RequestHead, Response, Status, write_status};
use crate::websocket::deflate::{Agreement, Terms};
use crate::websocket::handshake::{Refusal, Upgrade};
use tickyard_protocol::message::SUBPROTOCOL;

impl Session {
    /// Collects the head; what follows it stays in `input` for the phase that it leads to.
    pub(super) fn read_request(&mut self, turn: &mut Turn, input: &mut &mut [u8]) {
        let Phase::Request(request) = &mut self.phase else { return };
        let (scan, head) = &mut **request;
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
                answer(&head, turn)
            }
            Err(error) => refusal(error, turn),
        };
        self.since = turn.now;
        match answer {
            Answer::Play(deflate) => self.phase = Phase::Hello(greeting(turn, deflate)),
            Answer::Echo(deflate) => self.phase = Phase::Echo(Box::new(Echo::new(deflate))),
            Answer::Close(reason) => {
                *input = &mut [];
                self.close(reason, crate::bridge::Leave::Removed);
            }
        }
    }

    /// Answers with a status and closes.
    pub(super) fn refuse_request(&mut self, turn: &mut Turn, status: Status, reason: CloseReason) {
        write_status(turn.out, status, &[]);
        self.close(reason, crate::bridge::Leave::Removed);
    }
}

enum Answer {
    Play(Option<Agreement>),
    Echo(Option<Agreement>),
    Close(CloseReason),
}

fn advance(input: &mut &mut [u8], used: usize) {
    *input = &mut std::mem::take(input)[used..];
}

fn refusal(error: HttpError, turn: &mut Turn) -> Answer {
    // What is not HTTP gets no answer in HTTP.
    if let Some(status) = error.status() {
        write_status(turn.out, status, &[]);
    }
    Answer::Close(CloseReason::BadHandshake)
}

fn answer(head: &RequestHead, turn: &mut Turn) -> Answer {
    match head.path {
        // Between two messages of a player nothing is kept.
        "/play" => upgrade(head, turn, &[SUBPROTOCOL], Terms::NoTakeover, Answer::Play),
        "/echo" if turn.site.echo => upgrade(head, turn, &[], Terms::AsOffered, Answer::Echo),
        _ => page(head, turn),
    }
}

fn upgrade(
    head: &RequestHead,
    turn: &mut Turn,
    protocols: &[&'static str],
    terms: Terms,
    then: fn(Option<Agreement>) -> Answer,
) -> Answer {
    let checked = Upgrade::check(head, protocols).map(|upgrade| match turn.site.deflate {
        Compression::Off => upgrade,
        Compression::On | Compression::State => upgrade.with_deflate(head, terms),
    });
    if let Ok(upgrade) = &checked
        && turn.site.origins.allow(&head.headers)
    {
        upgrade.write(turn.out);
        return then(upgrade.deflate());
    }
    match checked {
        Err(refusal @ Refusal::NotUpgrade) => {
            tracing::debug!(path = ?head.path, "a request without an upgrade");
            refusal.write(turn.out);
        }
        Err(refusal) => refusal.write(turn.out),
        Ok(_) => {
            let origin = head.headers.get("origin").unwrap_or_default();
            if turn.site.origin_warned.is_due(turn.now) {
                let origin = start_of(origin);
                tracing::warn!(?origin, "a page of this origin was refused; --allow-origin lets it in");
            }
            write_status(turn.out, Status::FORBIDDEN, &[]);
        }
    }
    Answer::Close(CloseReason::BadHandshake)
}

fn page(head: &RequestHead, turn: &mut Turn) -> Answer {
    let with_body = match head.method {
        "GET" => true,
        "HEAD" => false,
        _ => {
            write_status(turn.out, Status::METHOD_NOT_ALLOWED, &[("Allow", "GET, HEAD")]);
            return Answer::Close(CloseReason::BadHandshake);
        }
    };
    if head.has_body() {
        write_status(turn.out, Status::BAD_REQUEST, &[]);
        return Answer::Close(CloseReason::BadHandshake);
    }
    const HEALTH: Page = Page { path: "/healthz", content_type: "text/plain; charset=utf-8", body: b"ok\n" };
    let found = turn.site.pages.iter().chain([&HEALTH]).find(|page| page.path == head.path);
    let Some(page) = found else {
        write_status(turn.out, Status::NOT_FOUND, &[]);
        return Answer::Close(CloseReason::BadHandshake);
    };
    // The pages are public and say nothing of a visitor: a page of another port may import the client from here.
    let headers = &[
        ("Access-Control-Allow-Origin", "*"),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    let response = Response { status: Status::OK, content_type: page.content_type, headers };
    if with_body {
        response.write(turn.out, page.body);
    } else {
        response.write_head(turn.out, page.body.len() as u64);
    }
    Answer::Close(CloseReason::HttpDone)
}
