//! permessage-deflate (RFC 7692): messages that are compressed, each by itself or on top of those before it.
//!
//! [`offer`] is the talk about it in the opening handshake; its outcome is an [`Agreement`]. What comes is read by a
//! [`WebSocket`](super::WebSocket) that knows the agreement, what goes is written by a [`Writer`].
//!
//! No compressor outlives a message. What the RFC calls context takeover needs nothing but the last bytes that were said, so
//! those are what is kept. So both directions are plain data: they can be cloned, and without takeover they hold nothing at all.
//! The price is a compressor that is made anew, and told the window, for each message.

#[cfg(not(feature = "deflate"))]
mod absent;
#[cfg(feature = "deflate")]
mod codec;
pub mod offer;

use super::frame::{Opcode, write_compressed, write_frame};
use super::{ReadError, Role};
#[cfg(not(feature = "deflate"))]
use absent as codec;
pub use offer::{Agreement, Offer, Terms};

/// Whether this build can compress.
pub const IS_BUILT_IN: bool = cfg!(feature = "deflate");

/// What comes compressed. Plain data.
#[derive(Clone, Debug)]
pub(super) struct Inflate(Way);

impl Inflate {
    pub(super) fn new(agreement: Agreement, role: Role) -> Self {
        Self(Way::new(match role {
            Role::Server => agreement.client,
            Role::Client => agreement.server,
        }))
    }

    /// Replaces `out` by the message whose payload is `compressed`, unless that is longer than `max`.
    pub(super) fn read(&mut self, compressed: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        codec::inflate(self.0.context(), compressed, max, out)?;
        self.0.remember(out);
        Ok(())
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.0.held_bytes()
    }
}

/// Writes messages, compressed where that was agreed on and is worth it. Plain data; the default compresses nothing.
#[derive(Clone, Debug, Default)]
pub struct Writer(Option<Way>);

impl Writer {
    /// For one side of a connection.
    pub fn new(agreement: Option<Agreement>, role: Role) -> Self {
        Self(agreement.map(|agreement| {
            Way::new(match role {
                Role::Server => agreement.server,
                Role::Client => agreement.client,
            })
        }))
    }

    /// Writes an unfragmented message to the end of `out`. A client gives a key that nobody can guess.
    pub fn write(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
        match self.deflate(payload) {
            Some(compressed) => write_compressed(out, opcode, &compressed, mask),
            None => write_frame(out, opcode, payload, mask),
        }
    }

    /// The heap memory held for what the next messages may refer to.
    pub fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Way::held_bytes)
    }

    /// RFC 7692, 6: each message may be sent uncompressed. Then it is no part of any window.
    fn deflate(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let way = self.0.as_mut().filter(|way| way.window_bits >= WINDOW_BITS_MIN)?;
        if !(DEFLATE_BYTES_MIN..=DEFLATE_BYTES_MAX).contains(&message.len()) {
            return None;
        }
        let mut compressed = Vec::new();
        codec::deflate(way.window_bits, way.context(), message, &mut compressed);
        if compressed.len() >= message.len() {
            return None;
        }
        way.remember(message);
        Some(compressed)
    }
}

/// What goes one way.
#[derive(Clone, Debug)]
struct Way {
    window_bits: u8,
    /// `Some`: messages refer to those before them, of which these are the last bytes.
    window: Option<Vec<u8>>,
}

impl Way {
    fn new(way: offer::Way) -> Self {
        Self { window_bits: way.window_bits, window: way.takeover.then(Vec::new) }
    }

    fn context(&self) -> &[u8] {
        self.window.as_deref().unwrap_or_default()
    }

    fn held_bytes(&self) -> usize {
        self.window.as_ref().map_or(0, Vec::capacity)
    }

    /// RFC 7692, 7.1.1: with context takeover, a message may refer to the last 2^bits bytes before it.
    fn remember(&mut self, message: &[u8]) {
        let Some(window) = &mut self.window else { return };
        let len = 1 << self.window_bits;
        let message = &message[message.len().saturating_sub(len)..];
        let surplus = (window.len() + message.len()).saturating_sub(len);
        window.drain(..surplus);
        window.reserve_exact(message.len());
        window.extend_from_slice(message);
    }
}

/// Shorter messages are sent as they are: what they save is less than what compressing costs both sides.
pub const DEFLATE_BYTES_MIN: usize = 64;

/// Longer messages are sent as they are: compressing is the slowest thing that happens on an io thread.
pub const DEFLATE_BYTES_MAX: usize = 1024 * 1024;

/// zlib compresses into windows of 2^9 bytes at least: for the 2^8 that RFC 7692 also knows, it has no room to look ahead.
const WINDOW_BITS_MIN: u8 = 9;

#[cfg(all(test, feature = "deflate"))]
mod tests;
