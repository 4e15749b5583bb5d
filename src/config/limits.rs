//! What one peer may cost: each limit, its default and why.
//!
//! [`Limits`] is what an operator turns with flags; the constants below are what nobody should have to. The modules that keep a
//! limit take it from here. What a room holds is bounded where it is held (`docs/architecture.md` has the whole table).

use std::time::Duration;

/// What a session is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the accept to the end of the request's head.
    pub handshake_timeout: Duration,
    /// From the upgrade to the hello.
    pub hello_timeout: Duration,
    /// Silence that ends a connection.
    pub idle_timeout: Duration,
    /// Silence after which a peer is asked whether it is there; `None`: nobody is asked.
    pub ping_interval: Option<Duration>,
    /// The payload of a message on `/play`, over all of its fragments.
    pub message_bytes_max: usize,
    /// Frames of any kind that a peer may send on `/play` per second, and at once.
    pub frames: Budget,
    /// Bytes that a peer may send on `/play` per second, and at once; frame headers and what TLS has around them included.
    pub bytes: Budget,
}

/// So much a second, and so much at once after a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What comes back in a second.
    pub per_s: u32,
    /// What there is at most.
    pub burst: u32,
}

impl Budget {
    /// So much a second, and [`BURST_SECONDS`] of it at once.
    pub const fn per_second(per_s: u32) -> Budget {
        Budget { per_s, burst: per_s.saturating_mul(BURST_SECONDS) }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            hello_timeout: HELLO_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            ping_interval: Some(PING_INTERVAL),
            message_bytes_max: MESSAGE_BYTES_MAX,
            frames: Budget::per_second(MESSAGES_PER_SECOND),
            bytes: Budget::per_second(BYTES_PER_SECOND),
        }
    }
}

// ------------------------------------------------------------------------------------- defaults of what can be turned

/// A head is one packet; the time is for a phone's worst network. Short, because a connection that asks for nothing costs
/// a descriptor.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client says hello as soon as it is upgraded.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A phone in a lift comes back within half a minute, and keeps its seat; who is gone should not stand around for longer.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A third of the idle timeout: an answer may be lost twice. Far below the 60 s of silence after which nginx cuts a connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Longer than a phone needs to come out of a tunnel.
pub const SLOW_TIMEOUT: Duration = Duration::from_secs(60);

/// Four times the longest message that a client can send in order.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// 60 inputs a second, as many acknowledgements, pings and chat.
pub const MESSAGES_PER_SECOND: u32 = 150;

/// An input is under 100 bytes with its frame, so this is several times what 60 of them and all else take.
pub const BYTES_PER_SECOND: u32 = 32 * 1024;

/// What a stalled network delivers at once when it goes on.
pub const BURST_SECONDS: u32 = 4;

// ------------------------------------------------------------------------------------------------------- the handshake

/// Browsers send about 1 KiB, and cookies of the same host make it more.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Browsers send about 20 fields, proxies add some.
pub const HEADERS_MAX: usize = 100;

/// Bytes before the hello, it included: the hello of 4 KiB and pings around it. More is no hello.
pub const HELLO_BYTES_MAX: usize = 32 * 1024;

/// Of a TLS record or handshake message that is not complete yet: the longest record on the wire (RFC 5246, 6.2.3), header included. A
/// hello of 2 KiB is a long one.
pub const TLS_KEPT_BYTES_MAX: usize = 16 * 1024 + 2048 + 5;

/// The least that may be asked for as the longest message: a hello with all its options has to fit.
pub const MESSAGE_BYTES_MIN: usize = 8 * 1024;

// ---------------------------------------------------------------------------------------------------------- messages

/// The frames that one message on `/play` may be spread over. Browsers never fragment; proxies that do cut at some KiB.
pub const FRAGMENTS_MAX: u32 = 64;

/// What one message to `/echo` may hold: the sizes that conformance suites send. `/echo` has no rates, because these suites
/// send as fast as they can: who does not read the answers is not read from, and the budget of a turn is everybody's.
pub const ECHO_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The frames that one message to `/echo` may be spread over: Autobahn ends its 65,536 with an empty one.
pub const ECHO_FRAGMENTS_MAX: u32 = 65_536 + 1;

/// What a compressed message to `/echo` may say: twice the longest one of the suites. Inflating cannot be interrupted, and such a
/// message may come as 291 KiB, so this is what everybody else waits for at worst: about 25 ms.
pub const ECHO_COMPRESSED_BYTES_MAX: usize = 256 * 1024;

/// Inputs of one player that wait for the simulation; the oldest makes room.
pub const INPUTS_MAX: usize = 4;

// ----------------------------------------------------------------------------------------------- what waits for a peer

/// Bytes that may wait for a player before pongs are left out.
pub const REPLIES_BYTES_MAX: usize = 16 * 1024;

/// Answers that may wait for who is not a player (an echo, a page) before nothing more is read from it.
pub const ANSWERS_BYTES_MAX: usize = 256 * 1024;

/// When a player who found every seat taken should try again.
pub const FULL_RETRY_MILLIS: u32 = 5000;

// ------------------------------------------------------------------------------------------------------------- a turn

/// Connections that are accepted in one turn of the loop: a storm of them must not hold up those who play.
pub const ACCEPTS_PER_TURN: usize = 128;

/// Steps of TLS handshakes in one turn. One that is answered costs a fraction of a millisecond, so most turns are ended by time (2 ms); the
/// count is for those who send their hello byte by byte. While updates wait to be sent there is one a turn.
pub const TLS_HANDSHAKES_PER_TURN: usize = 64;

/// What one connection may bring in one turn, before it goes to the end of the run queue.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;

/// A read costs at least this much of that, so that tiny ones count too.
pub const READ_COST_BYTES: usize = 4 * 1024;

/// What compression may cost in one turn of the loop, all connections together, before the others with compression have to wait for
/// the next one: about 3 ms of nothing but tables (the unit: `websocket::deflate::INFLATE_COST`). The message that goes over it is finished.
pub const DEFLATE_COST_PER_TURN: usize = 32 * 1024;

/// What one connection may take of that before the next one's turn.
pub const DEFLATE_COST_PER_CONNECTION: usize = 4 * 1024;

/// Pings of one sweep are at most this many times the even share. 10,000 peers that fall silent together are asked over half an
/// interval and not in one burst.
pub const PINGS_OVER_EVEN: u32 = 2;

/// So many pings are always allowed in a sweep.
pub const PINGS_PER_SWEEP_MIN: usize = 16;

// -------------------------------------------------------------------------------------------------------- the last word

/// From our close frame to the peer's, or to the moment at which the kernel has taken ours.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// After both, input is discarded for so long, or for [`CLOSE_TIMEOUT`] on `/play`: closing a socket with unread bytes resets it, and the
/// reset would take the close code with it …
pub const LINGER: Duration = Duration::from_secs(1);

/// … or so much of it, from our close frame on.
pub const DISCARD_BYTES_MAX: usize = 256 * 1024;

const _: () = {
    assert!(PING_INTERVAL.as_secs() * 3 <= IDLE_TIMEOUT.as_secs());
    assert!(IDLE_TIMEOUT.as_secs() <= SLOW_TIMEOUT.as_secs());
    assert!(MESSAGE_BYTES_MIN <= MESSAGE_BYTES_MAX && MESSAGE_BYTES_MAX <= HELLO_BYTES_MAX);
    // A message as long as allowed has to pass at once.
    assert!(MESSAGE_BYTES_MAX as u64 <= BYTES_PER_SECOND as u64 * BURST_SECONDS as u64);
    assert!(HELLO_BYTES_MAX as u64 <= BYTES_PER_SECOND as u64 * BURST_SECONDS as u64);
    assert!(FRAGMENTS_MAX <= MESSAGES_PER_SECOND * BURST_SECONDS);
    assert!(REPLIES_BYTES_MAX <= ANSWERS_BYTES_MAX && READ_COST_BYTES <= READ_BYTES_PER_TURN);
    assert!(LINGER.as_secs() <= CLOSE_TIMEOUT.as_secs());
    assert!(DEFLATE_COST_PER_CONNECTION <= DEFLATE_COST_PER_TURN);
};
