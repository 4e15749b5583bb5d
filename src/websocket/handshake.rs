//! The opening handshake (RFC 6455, 4): HTTP heads on both sides.
//!
//! A server asks [`Upgrade::check`] and writes the [`Upgrade`] or the [`Refusal`]; a client writes a [`Request`]
//! and asks it about the response. Paths, origins and tokens are for the caller to judge. The one extension is compression
//! ([`deflate`](super::deflate)), for who asks for it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

use super::deflate::{Agreement, Offer, Terms, offer};
use crate::http::{self, RequestHead, ResponseHead, Status};

/// A server's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
    protocol: Option<&'static str>,
    deflate: Option<Agreement>,
}

impl Upgrade {
    /// Checks a request for an upgrade. Of the client's protocols the first is chosen that is in `protocols`.
    pub fn check(head: &RequestHead<'_>, protocols: &[&'static str]) -> Result<Self, Refusal> {
        check_method(head)?;
        check_upgrade(head)?;
        let key = head.headers.get("sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
        offer::check(&head.headers).map_err(|_| Refusal::Extensions)?;
        let protocol = choose_protocol(head, protocols);
        Ok(Self { accept: accept_key(key), protocol, deflate: None })
    }

    /// The same with compression, if the client offered it in a way that suits `terms`.
    pub fn with_deflate(self, head: &RequestHead<'_>, terms: Terms) -> Self {
        Self { deflate: offer::accept(&head.headers, terms), ..self }
    }

    /// What was agreed on about compression.
    pub fn deflate(&self) -> Option<Agreement> {
        self.deflate
    }

    /// The protocol that both sides know, if the client named one.
    pub fn protocol(&self) -> Option<&'static str> {
        self.protocol
    }

    /// Writes the response to the end of `out`. Frames may follow it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        write_field(out, "Sec-WebSocket-Accept", &self.accept);
        if let Some(protocol) = self.protocol {
            write_field(out, "Sec-WebSocket-Protocol", protocol);
        }
        if let Some(agreement) = self.deflate {
            write_field(out, offer::FIELD, &agreement.to_string());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A body is announced; its bytes would be taken for frames.
    Body,
    /// The upgrade is not among the connection's options.
    Connection,
    /// The offered extensions are no list of such.
    Extensions,
    /// HTTP/1.0 has no upgrades.
    HttpVersion,
    /// No key, or not 16 bytes in base64.
    Key,
    /// Only `GET` upgrades.
    Method,
    /// No upgrade is asked for, or not to this protocol.
    NotUpgrade,
    /// Not version 13.
    Version,
}

impl Refusal {
    /// The status to answer with.
    pub fn status(self) -> Status {
        match self {
            Self::Body | Self::Connection | Self::Extensions | Self::Key => Status::BAD_REQUEST,
            Self::HttpVersion => Status::VERSION,
            Self::Method => Status::METHOD_NOT_ALLOWED,
            Self::NotUpgrade | Self::Version => Status::UPGRADE_REQUIRED,
        }
    }

    /// Writes the response to the end of `out`. The connection is closed after it.
    pub fn write(self, out: &mut Vec<u8>) {
        let headers: &[_] = match self {
            // RFC 9110, 15.5.6: 405 comes with the methods that are allowed.
            Self::Method => &[("Allow", "GET")],
            // RFC 6455, 4.4: the versions that are spoken. RFC 9110, 15.5.22: 426 names the protocol.
            Self::NotUpgrade | Self::Version => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            Self::Body | Self::Connection | Self::Extensions | Self::HttpVersion | Self::Key => &[],
        };
        http::write_refusal(out, self.status(), headers, self.why());
    }

    /// What is wrong and what would do instead, for a person.
    pub fn why(self) -> &'static str {
        match self {
            Self::Body => "a request for a WebSocket has no body",
            Self::Connection => {
                "a request for a WebSocket says Connection: Upgrade; if a proxy is in between, let it pass that on"
            }
            Self::Extensions => "Sec-WebSocket-Extensions is no list of extensions (RFC 6455, 9.1)",
            Self::HttpVersion => "a WebSocket needs HTTP/1.1",
            Self::Key => "Sec-WebSocket-Key has to be 16 bytes in base64",
            Self::Method => "a WebSocket is asked for with GET",
            Self::NotUpgrade => {
                "this is a WebSocket: connect with ws:// or wss://; if a proxy is in between, let it pass Upgrade on"
            }
            Self::Version => "only version 13 of WebSocket is spoken (Sec-WebSocket-Version: 13)",
        }
    }
}

/// A client's wish.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The server's name, with its port unless that is the scheme's own.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The one protocol that the client speaks, if any.
    pub protocol: Option<&'a str>,
    /// Random bytes, chosen anew for each connection.
    pub key: [u8; 16],
    /// More header fields.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Request<'_> {
    /// Writes the request to the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(http::is_field_text(self.target) && !self.target.contains(' '), "a target is one word");
        out.extend_from_slice(format!("GET {} HTTP/1.1\r\n", self.target).as_bytes());
        write_field(out, "Host", self.host);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        write_field(out, "Sec-WebSocket-Key", &STANDARD.encode(self.key));
        if let Some(protocol) = self.protocol {
            write_field(out, "Sec-WebSocket-Protocol", protocol);
        }
        for (name, value) in self.headers {
            write_field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether the server agreed to this request, which offered no extension. Frames follow the response.
    pub fn check(&self, response: &ResponseHead<'_>) -> Result<(), ResponseError> {
        self.check_common(response)?;
        match response.headers.get(offer::FIELD) {
            Some(_) => Err(ResponseError::Extension),
            None => Ok(()),
        }
    }

    /// The same after an offer of compression, which the request said in its header fields ([`offer::FIELD`]). What the
    /// server made of it; a client that wants no connection without closes it with [`CloseCode::EXTENSION`](super::CloseCode).
    pub fn check_offer(
        &self,
        response: &ResponseHead<'_>,
        offer: Offer,
    ) -> Result<Option<Agreement>, ResponseError> {
        self.check_common(response)?;
        offer.check(&response.headers).map_err(|_| ResponseError::Extension)
    }

    fn check_common(&self, response: &ResponseHead<'_>) -> Result<(), ResponseError> {
        // RFC 6455, 4.1: what a client validates in the response, in its order.
        let headers = &response.headers;
        if response.status != Status::SWITCHING_PROTOCOLS.get() {
            return Err(ResponseError::Status(response.status));
        }
        if !headers.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
            return Err(ResponseError::Upgrade);
        }
        if !headers.lists("connection", "upgrade") {
            return Err(ResponseError::Connection);
        }
        let accept = accept_key(&STANDARD.encode(self.key));
        if !headers.all("sec-websocket-accept").eq([accept.as_str()]) {
            return Err(ResponseError::Accept);
        }
        if !headers.all("sec-websocket-protocol").eq(self.protocol) {
            return Err(ResponseError::Protocol);
        }
        Ok(())
    }
}

/// Why a response does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Not the answer to our key: from a cache, or from no WebSocket server.
    Accept,
    /// The upgrade is not among the connection's options.
    Connection,
    /// An extension that was not asked for, or not like this.
    Extension,
    /// Not the protocol that was asked for.
    Protocol,
    /// Another status than 101.
    Status(u16),
    /// Another upgrade than to WebSocket.
    Upgrade,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("the response does not answer our key"),
            Self::Connection => f.write_str("the response does not name Upgrade in Connection"),
            Self::Extension => f.write_str("the server chose an extension that was not offered so"),
            Self::Protocol => f.write_str("the server did not choose the subprotocol that was offered"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::Upgrade => f.write_str("the server did not upgrade to websocket"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// The proof that a server read a client's key (RFC 6455, 4.2.2).
pub fn accept_key(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

fn check_method(head: &RequestHead<'_>) -> Result<(), Refusal> {
    // RFC 6455, 4.2.1: a GET request of HTTP/1.1 or higher.
    if head.method != "GET" {
        return Err(Refusal::Method);
    }
    if head.version < 1 {
        return Err(Refusal::HttpVersion);
    }
    if head.has_body() {
        return Err(Refusal::Body);
    }
    Ok(())
}

fn check_upgrade(head: &RequestHead<'_>) -> Result<(), Refusal> {
    // RFC 6455, 4.2.1: Upgrade names "websocket" and Connection names "Upgrade", in any case.
    if !head.headers.lists("upgrade", "websocket") {
        return Err(Refusal::NotUpgrade);
    }
    if !head.headers.lists("connection", "upgrade") {
        return Err(Refusal::Connection);
    }
    // RFC 6455, 4.2.2: another version is answered with 426 and the versions that are spoken.
    if head.headers.get("sec-websocket-version") != Some("13") {
        return Err(Refusal::Version);
    }
    Ok(())
}

fn choose_protocol(head: &RequestHead<'_>, protocols: &[&'static str]) -> Option<&'static str> {
    // RFC 6455, 4.1: the client lists what it likes best first. Names compare exactly.
    let mut offered = head.headers.list("sec-websocket-protocol");
    offered.find_map(|offer| protocols.iter().copied().find(|known| *known == offer))
}

/// RFC 6455, 4.2.1: a key is base64 that decodes to 16 bytes. Keys made up by hand may have stray low bits.
fn is_key(key: &str) -> bool {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    key.len() == 24 && LENIENT.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    assert!(http::is_field_text(name) && http::is_field_text(value), "a header field is one line");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = *b"the sample nonce";

    /// The request of RFC 6455, 1.3.
    const SAMPLE: &str = "GET /chat HTTP/1.1\r\n\
        Host: server.example.com\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    const SAMPLE_REQUEST: Request<'_> = Request {
        host: "server.example.com",
        target: "/chat?room=1",
        protocol: Some("chat"),
        key: KEY,
        headers: &[("Origin", "http://example.com")],
    };

    const SAMPLE_RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\n\r\n";

    fn check(request: &str) -> Result<Upgrade, Refusal> {
        let (head, used) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
        assert_eq!(used, request.len());
        Upgrade::check(&head, &["superchat", "chat"])
    }

    /// Checks the sample after a change that must take place.
    fn check_changed(from: &str, to: &str) -> Result<Upgrade, Refusal> {
        assert!(SAMPLE.contains(from), "{from}");
        check(&SAMPLE.replacen(from, to, 1))
    }

    fn check_response(from: &str, to: &str) -> Result<(), ResponseError> {
        assert!(SAMPLE_RESPONSE.contains(from), "{from}");
        let response = SAMPLE_RESPONSE.replacen(from, to, 1);
        let (head, _) = ResponseHead::parse(response.as_bytes()).unwrap().unwrap();
        // RFC 6455, 1.3: this key, in base64, is the one of the sample.
        SAMPLE_REQUEST.check(&head)
    }

    #[test]
    fn the_sample_key_is_accepted_as_in_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(STANDARD.encode(KEY), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn the_sample_request_is_answered_as_in_the_rfc() {
        let upgrade = check(SAMPLE).unwrap();
        assert_eq!(upgrade.protocol(), Some("chat"));

        let mut out = Vec::new();
        upgrade.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), SAMPLE_RESPONSE);
    }

    #[test]
    fn the_clients_first_known_protocol_is_chosen() {
        let chosen = |protocols: &str| check_changed("chat, superchat", protocols).unwrap().protocol();
        assert_eq!(chosen("superchat, chat"), Some("superchat"));
        assert_eq!(chosen("soap ,\tchat"), Some("chat"));
        assert_eq!(chosen("soap\r\nSec-WebSocket-Protocol: chat"), Some("chat"));
        assert_eq!(chosen("Chat"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn names_of_the_upgrade_are_found_in_lists_and_in_any_case() {
        assert!(check_changed("Connection: Upgrade", "cOnNeCtIoN: keep-alive, UPGRADE").is_ok());
        assert!(check_changed("Upgrade: websocket", "upgrade: h2c, WebSocket").is_ok());
        assert!(
            check_changed("Origin:", "Sec-WebSocket-Extensions: permessage-deflate; x=y, z\r\nOrigin:")
                .is_ok()
        );
        assert!(check_changed("Origin:", "Content-Length: 0\r\nOrigin:").is_ok());
    }

    #[test]
    fn what_is_no_upgrade_is_refused_with_its_reason() {
        for (from, to, refusal, status) in [
            ("GET", "POST", Refusal::Method, 405),
            ("GET", "get", Refusal::Method, 405),
            ("HTTP/1.1", "HTTP/1.0", Refusal::HttpVersion, 505),
            ("Upgrade: websocket\r\n", "", Refusal::NotUpgrade, 426),
            ("Upgrade: websocket", "Upgrade: websockets", Refusal::NotUpgrade, 426),
            ("Connection: Upgrade\r\n", "", Refusal::Connection, 400),
            ("Connection: Upgrade", "Connection: keep-alive", Refusal::Connection, 400),
            ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Version, 426),
            ("Version: 13", "Version: 8", Refusal::Version, 426),
            ("Version: 13", "Version: 13, 8", Refusal::Version, 426),
            ("Sec-WebSocket-Key", "Sec-WebSocket-Kez", Refusal::Key, 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "", Refusal::Key, 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", Refusal::Key, 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTEy", Refusal::Key, 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j*Q==", Refusal::Key, 400),
            ("Origin:", "Sec-WebSocket-Extensions: x;\r\nOrigin:", Refusal::Extensions, 400),
            ("Origin:", "Content-Length: 5\r\nOrigin:", Refusal::Body, 400),
            ("Origin:", "Transfer-Encoding: chunked\r\nOrigin:", Refusal::Body, 400),
        ] {
            assert_eq!(check_changed(from, to), Err(refusal), "{from} -> {to}");
            assert_eq!(refusal.status().get(), status);
        }
    }

    #[test]
    fn a_refusal_says_what_would_do_instead() {
        let written = |refusal: Refusal| {
            let mut out = Vec::new();
            refusal.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(Refusal::Version),
            "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 89\r\n\
             Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n426 Upgrade Required: \
             only version 13 of WebSocket is spoken (Sec-WebSocket-Version: 13)\n"
        );
        assert!(written(Refusal::Method).contains("\r\nAllow: GET\r\n"));
        assert!(written(Refusal::Key).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    }

    #[test]
    fn our_request_satisfies_our_check() {
        let mut out = Vec::new();
        SAMPLE_REQUEST.write(&mut out);
        let (head, used) = RequestHead::parse(&out).unwrap().unwrap();
        assert_eq!(used, out.len());
        assert_eq!((head.path, head.query), ("/chat", Some("room=1")));
        assert_eq!(head.headers.get("origin"), Some("http://example.com"));
        let upgrade = Upgrade::check(&head, &["chat"]).unwrap();
        assert_eq!(upgrade, check(SAMPLE).unwrap());
    }

    #[test]
    fn a_client_accepts_the_sample_response_and_nothing_less() {
        assert_eq!(check_response("websocket", "WebSocket"), Ok(()));
        for (from, to, error) in [
            ("101 Switching Protocols", "200 OK", ResponseError::Status(200)),
            ("Upgrade: websocket", "Upgrade: h2c", ResponseError::Upgrade),
            ("Connection: Upgrade\r\n", "", ResponseError::Connection),
            ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", ResponseError::Accept),
            ("Sec-WebSocket-Accept", "Accept", ResponseError::Accept),
            ("Sec-WebSocket-Protocol: chat\r\n", "", ResponseError::Protocol),
            ("Protocol: chat", "Protocol: superchat", ResponseError::Protocol),
            ("Protocol: chat", "Protocol: chat\r\nSec-WebSocket-Extensions: x", ResponseError::Extension),
        ] {
            assert_eq!(check_response(from, to), Err(error), "{from} -> {to}");
        }
    }

    #[test]
    #[should_panic(expected = "one line")]
    fn a_field_can_not_smuggle_a_second_one() {
        Request { host: "a\r\nb: c", ..SAMPLE_REQUEST }.write(&mut Vec::new());
    }
}
