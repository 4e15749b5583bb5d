//! The opening handshake (RFC 6455, 4): HTTP heads on both sides.
//!
//! A server asks [`Upgrade::check`] and writes the [`Upgrade`] or the [`Refusal`]; a client writes a [`Request`]
//! and asks it about the response. Paths, origins and tokens are for the caller to judge, and extensions are
//! neither offered nor taken.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

use crate::http::{self, RequestHead, ResponseHead, Status};

/// A server's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
    protocol: Option<&'static str>,
}

impl Upgrade {
    /// Checks a request for an upgrade. Of the client's protocols the first is chosen that is in `protocols`.
    pub fn check(head: &RequestHead<'_>, protocols: &[&'static str]) -> Result<Self, Refusal> {
        check_method(head)?;
        check_upgrade(head)?;
        let key = head.headers.get("sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
        Ok(Self { accept: accept_key(key), protocol: choose_protocol(head, protocols) })
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
            Self::Body | Self::Connection | Self::Key => Status::BAD_REQUEST,
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
            Self::Body | Self::Connection | Self::HttpVersion | Self::Key => &[],
        };
        http::write_status(out, self.status(), headers);
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

    /// Whether the server agreed to this request. Frames follow the response.
    pub fn check(&self, response: &ResponseHead<'_>) -> Result<(), ResponseError> {
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
        if headers.get("sec-websocket-extensions").is_some() {
            return Err(ResponseError::Extension);
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
    /// An extension that was not asked for.
    Extension,
    /// Not the protocol that was asked for.
    Protocol,
    /// Another status than 101.
    Status(u16),
    /// Another upgrade than to WebSocket.
    Upgrade,
}

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
