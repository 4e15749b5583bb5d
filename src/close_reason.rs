//! Why a connection ended.
//!
//! A closed list: each connection that the kernel gave us ends for exactly one of these reasons, whether it played for an hour or
//! was turned away at the door. It is counted under that name, once, and logged with it.

use serde::{Deserialize, Serialize};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CloseReason {
    /// Its address has `--max-connections-per-address` others open (503).
    AddressLimit,
    /// A request for a WebSocket that was not a valid one, or none where one is due (400, 405, 426, 505).
    BadHandshake,
    /// The first message was not a hello that can be read, or there was none in the first 32 KiB (1008).
    BadHello,
    /// A message of the game protocol was malformed, unknown or not allowed at that time (1008).
    BadMessage,
    /// A trusted proxy began a PROXY header that is none: dropped.
    BadProxyHeader,
    /// The request was not valid HTTP/1 (400, 505).
    BadRequest,
    /// The page that wanted to connect is of an origin that may not (403).
    ForbiddenOrigin,
    /// `--max-connections` are open (503).
    Full,
    /// The server is going away (1001).
    GoingAway,
    /// The request's head was not complete in time (408).
    HandshakeTimeout,
    /// The request had too many bytes or header fields (414, 431).
    HeadTooLarge,
    /// No hello in time (1008).
    HelloTimeout,
    /// The connection asked for a page or for the health and got it.
    HttpDone,
    /// Nothing heard for `--idle-timeout` (1008).
    Idle,
    /// A fault of ours: the simulation is gone (1011), or the system would not let us watch the socket (dropped).
    Internal,
    /// A compressed message that is broken (1007).
    InvalidDeflate,
    /// Text that is not UTF-8 (1007).
    InvalidUtf8,
    /// A page was asked for by another method than GET or HEAD (405).
    MethodNotAllowed,
    /// The process has no descriptor left (503).
    NoDescriptors,
    /// The peer closed in order (1000, 1001 or any other valid code).
    NormalByPeer,
    /// Nothing is found under the path (404).
    NotFound,
    /// The first bytes were not HTTP/1, but TLS, HTTP/2 or noise: dropped.
    NotHttp,
    /// The peer ended TCP without a close frame: FIN, reset or a network error.
    PeerGone,
    /// HTTP without TLS on a port that speaks TLS (400).
    PlainHttp,
    /// A frame broke RFC 6455 (1002).
    ProtocolError,
    /// More frames of any kind or bytes a second than a player may send, or more fragments in a message (1008).
    Rate,
    /// `Refused` was the answer to the hello: outdated, unknown game … (4001), or full (1013).
    Refused,
    /// More reliable messages unacknowledged than are kept (1013).
    ReliableOverflow,
    /// The room's game failed (4002).
    RoomFailed,
    /// No progress in writing for `--slow-timeout`: dropped, for a close frame would only wait as well.
    Slow,
    /// TLS failed, in the handshake or later: no common version or suite, a forged record, noise (a TLS alert).
    TlsFailed,
    /// A message over the limit (1009).
    TooBig,
    /// A text message where only binary ones are understood (1003).
    Unsupported,
}

impl CloseReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [CloseReason; CloseReason::Unsupported as usize + 1] = [
        CloseReason::AddressLimit,
        CloseReason::BadHandshake,
        CloseReason::BadHello,
        CloseReason::BadMessage,
        CloseReason::BadProxyHeader,
        CloseReason::BadRequest,
        CloseReason::ForbiddenOrigin,
        CloseReason::Full,
        CloseReason::GoingAway,
        CloseReason::HandshakeTimeout,
        CloseReason::HeadTooLarge,
        CloseReason::HelloTimeout,
        CloseReason::HttpDone,
        CloseReason::Idle,
        CloseReason::Internal,
        CloseReason::InvalidDeflate,
        CloseReason::InvalidUtf8,
        CloseReason::MethodNotAllowed,
        CloseReason::NoDescriptors,
        CloseReason::NormalByPeer,
        CloseReason::NotFound,
        CloseReason::NotHttp,
        CloseReason::PeerGone,
        CloseReason::PlainHttp,
        CloseReason::ProtocolError,
        CloseReason::Rate,
        CloseReason::Refused,
        CloseReason::ReliableOverflow,
        CloseReason::RoomFailed,
        CloseReason::Slow,
        CloseReason::TlsFailed,
        CloseReason::TooBig,
        CloseReason::Unsupported,
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::AddressLimit => "address_limit",
            CloseReason::BadHandshake => "bad_handshake",
            CloseReason::BadHello => "bad_hello",
            CloseReason::BadMessage => "bad_message",
            CloseReason::BadProxyHeader => "bad_proxy_header",
            CloseReason::BadRequest => "bad_request",
            CloseReason::ForbiddenOrigin => "forbidden_origin",
            CloseReason::Full => "full",
            CloseReason::GoingAway => "going_away",
            CloseReason::HandshakeTimeout => "handshake_timeout",
            CloseReason::HeadTooLarge => "head_too_large",
            CloseReason::HelloTimeout => "hello_timeout",
            CloseReason::HttpDone => "http_done",
            CloseReason::Idle => "idle",
            CloseReason::Internal => "internal",
            CloseReason::InvalidDeflate => "invalid_deflate",
            CloseReason::InvalidUtf8 => "invalid_utf8",
            CloseReason::MethodNotAllowed => "method_not_allowed",
            CloseReason::NoDescriptors => "no_descriptors",
            CloseReason::NormalByPeer => "normal_by_peer",
            CloseReason::NotFound => "not_found",
            CloseReason::NotHttp => "not_http",
            CloseReason::PeerGone => "peer_gone",
            CloseReason::PlainHttp => "plain_http",
            CloseReason::ProtocolError => "protocol_error",
            CloseReason::Rate => "rate",
            CloseReason::Refused => "refused",
            CloseReason::ReliableOverflow => "reliable_overflow",
            CloseReason::RoomFailed => "room_failed",
            CloseReason::Slow => "slow",
            CloseReason::TlsFailed => "tls_failed",
            CloseReason::TooBig => "too_big",
            CloseReason::Unsupported => "unsupported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_index_so_that_an_array_can_count_them() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
    }
}
