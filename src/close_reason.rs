//! Why a connection ended.
//!
//! A closed list: each end of a connection is counted under exactly one of these names and logged with it.

use serde::{Deserialize, Serialize};

/// Why a connection ended. Each one that was accepted ends for exactly one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CloseReason {
    /// The request was not a valid upgrade: answered with an HTTP status (400, 403, 405, 426 …).
    BadHandshake,
    /// The first message was not a hello that can be read, or there was none in the first 32 KiB (1008).
    BadHello,
    /// A message of the game protocol was malformed, unknown or not allowed at that time (1008).
    BadMessage,
    /// The server is going away (1001).
    GoingAway,
    /// The request's head was not complete in time (408).
    HandshakeTimeout,
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
    /// The peer closed in order (1000, 1001 or any other valid code).
    NormalByPeer,
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
        CloseReason::BadHandshake,
        CloseReason::BadHello,
        CloseReason::BadMessage,
        CloseReason::GoingAway,
        CloseReason::HandshakeTimeout,
        CloseReason::HelloTimeout,
        CloseReason::HttpDone,
        CloseReason::Idle,
        CloseReason::Internal,
        CloseReason::InvalidDeflate,
        CloseReason::InvalidUtf8,
        CloseReason::NormalByPeer,
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
            CloseReason::BadHandshake => "bad_handshake",
            CloseReason::BadHello => "bad_hello",
            CloseReason::BadMessage => "bad_message",
            CloseReason::GoingAway => "going_away",
            CloseReason::HandshakeTimeout => "handshake_timeout",
            CloseReason::HelloTimeout => "hello_timeout",
            CloseReason::HttpDone => "http_done",
            CloseReason::Idle => "idle",
            CloseReason::Internal => "internal",
            CloseReason::InvalidDeflate => "invalid_deflate",
            CloseReason::InvalidUtf8 => "invalid_utf8",
            CloseReason::NormalByPeer => "normal_by_peer",
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
