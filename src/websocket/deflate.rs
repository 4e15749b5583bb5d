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

use serde::{Deserialize, Serialize};

use super::frame::{Opcode, SERVER_HEADER_BYTES_MAX, fill_compressed_header, write_compressed, write_frame};
use super::{ReadError, Role};
#[cfg(not(feature = "deflate"))]
use absent as codec;
pub use offer::{Agreement, Offer, Terms};

/// Whether this build can compress.
pub const IS_BUILT_IN: bool = cfg!(feature = "deflate");

/// What comes compressed. Plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Inflate {
    way: Box<Way>,
    /// Of what a message says.
    pub(super) bytes_max: usize,
}

impl Inflate {
    pub(super) fn new(agreement: Agreement, role: Role, bytes_max: usize) -> Self {
        let way = match role {
            Role::Server => agreement.client,
            Role::Client => agreement.server,
        };
        Self { way: Box::new(Way::new(way)), bytes_max }
    }

    /// Replaces `out` by the message whose payload is `compressed`, unless that is too long.
    pub(super) fn read(&mut self, compressed: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
        codec::inflate(self.way.context(), compressed, self.bytes_max, out)?;
        self.way.remember(out);
        Ok(())
    }

    /// Of a message as it comes.
    pub(super) fn payload_bytes_max(&self) -> usize {
        payload_bytes_max(self.bytes_max)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.way.held_bytes()
    }
}

/// The longest payload that a message of so many bytes may take: longer than itself, because not all bytes compress.
///
/// RFC 1951, 3.2.4: stored blocks take 5 bytes more for each 65,535. But a compressor may keep to the fixed code (3.2.6), in which half
/// of all bytes take 9 bits: an eighth more. zlib's bound for its smallest buffers, which no setting exceeds, is that and 3/512
/// for the blocks around it. Then there is room to flush 64 times, as a sender may that compresses each fragment by itself.
pub fn payload_bytes_max(message_bytes: usize) -> usize {
    message_bytes.saturating_add(message_bytes / 8 + message_bytes / 128 + FLUSHES_BYTES)
}

/// What it costs at most to make a message of so many bytes out of so many.
pub(super) fn inflate_cost(from: usize, to: usize) -> usize {
    INFLATE_COST + from + to / 128
}

/// Writes messages, compressed where that was agreed on and is worth it. Plain data; the default compresses nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Writer(Option<Box<Way>>);

impl Writer {
    /// For one side of a connection.
    pub fn new(agreement: Option<Agreement>, role: Role) -> Self {
        Self(agreement.map(|agreement| {
            Box::new(Way::new(match role {
                Role::Server => agreement.server,
                Role::Client => agreement.client,
            }))
        }))
    }

    /// Writes an unfragmented message to the end of `out`. A client gives a key that nobody can guess.
    ///
    /// Returns what compressing cost, in the same measure as [`INFLATE_COST`].
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) -> usize {
        let cost = self.cost(payload.len());
        match self.deflate(payload) {
            Some(compressed) => write_compressed(out, opcode, &compressed, mask),
            None => write_frame(out, opcode, payload, mask),
        }
        cost
    }

    /// How far back a message may refer, if messages may be compressed, and each stands for itself.
    pub fn fresh_window_bits(&self) -> Option<u8> {
        self.0.as_ref().filter(|way| way.window.is_none()).map(|way| way.window_bits)
    }

    /// The heap memory held for what the next messages may refer to.
    pub fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |way| way.held_bytes())
    }

    /// A compressor is made anew, and is told the window.
    fn cost(&self, len: usize) -> usize {
        let way = self.0.as_ref().filter(|way| way.compresses(len));
        way.map_or(0, |way| INFLATE_COST + way.context().len() / 128 + len / 16)
    }

    /// RFC 7692, 6: each message may be sent uncompressed. Then it is no part of any window.
    fn deflate(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let way = self.0.as_mut().filter(|way| way.compresses(message.len()))?;
        let mut compressed = Vec::new();
        codec::deflate(way.window_bits, way.context(), message, &mut compressed);
        if compressed.len() >= message.len() {
            return None;
        }
        way.remember(message);
        Some(compressed)
    }
}

/// Writes messages that stand for themselves, for many clients with one compressor, so that in steady state nothing is
/// allocated. Holds no memory before the first.
#[derive(Debug, Default)]
pub struct SharedWriter {
    deflater: codec::Deflater,
    frame: Vec<u8>,
}

impl SharedWriter {
    /// A server's binary message as a compressed frame; `None`: it is better sent as it is.
    pub fn write(&mut self, window_bits: u8, message: &[u8]) -> Option<&[u8]> {
        // The one compressor looks back as far as it likes; within a message that is never beyond its start.
        let is_worth_it = (SHARED_BYTES_MIN..=1 << window_bits).contains(&message.len());
        if !is_worth_it {
            return None;
        }
        self.frame.clear();
        self.frame.resize(SERVER_HEADER_BYTES_MAX, 0);
        self.deflater.deflate(message, &mut self.frame);
        if self.frame.len() - SERVER_HEADER_BYTES_MAX >= message.len() {
            return None;
        }
        let start = fill_compressed_header(&mut self.frame, Opcode::Binary);
        Some(&self.frame[start..])
    }
}

/// What goes one way. In a box: most connections agree on nothing, and hold nothing for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Way {
    window_bits: u8,
    /// `Some`: messages refer to those before them, of which these are the last bytes.
    window: Option<Vec<u8>>,
}

impl Way {
    fn new(way: offer::Way) -> Self {
        Self { window_bits: way.window_bits, window: way.takeover.then(Vec::new) }
    }

    /// Whether a message of this length is worth it.
    fn compresses(&self, len: usize) -> bool {
        self.window_bits >= WINDOW_BITS_MIN && (DEFLATE_BYTES_MIN..=DEFLATE_BYTES_MAX).contains(&len)
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

/// At the end of a fragment: the rest of its last block, an empty one, and what comes of beginning anew. At most 16 bytes.
const FLUSHES_BYTES: usize = 64 * 16;

/// What a message costs beside its bytes. The unit is what a byte of compressed payload costs at worst, when it is all tables of codes
/// and no data: somewhat under 0.1 µs.
pub const INFLATE_COST: usize = 64;

/// Shorter messages are sent as they are: what they save is less than what compressing costs both sides.
pub const DEFLATE_BYTES_MIN: usize = 64;

/// The same for state, which is packed already and of which a small message is all news.
pub const SHARED_BYTES_MIN: usize = 256;

/// Longer messages are sent as they are: compressing is the slowest thing that happens on an io thread.
pub const DEFLATE_BYTES_MAX: usize = 1024 * 1024;

/// zlib compresses into windows of 2^9 bytes at least: for the 2^8 that RFC 7692 also knows, it has no room to look ahead.
const WINDOW_BITS_MIN: u8 = 9;

#[cfg(all(test, feature = "deflate"))]
mod tests;
