//! Messages that do not lie whole in the input: fragments, and frames that were cut off.
//!
//! All pieces of a message go to the end of one buffer, so what a peer can make us hold is its payload, however
//! it slices it. The buffer grows with the bytes that arrive, never with the bytes that were announced. A compressed message is
//! collected as it comes, and taken apart at its end.

use serde::{Deserialize, Serialize};

use super::deflate::{Inflate, inflate_cost};
use super::frame::{Header, Opcode};
use super::{Event, Limits, ReadError, Spent};

/// The message that is being collected, if any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Assembly {
    message: Message,
    /// What the buffer collects is compressed, or was.
    compressed: bool,
    /// Empty unless a message is collected or on loan.
    buffer: Vec<u8>,
    /// Of a text: how much of the buffer is known to be UTF-8. At most three bytes behind `buffer.len()`.
    valid: usize,
    fragments: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Message {
    #[default]
    None,
    Text,
    Binary,
    /// Complete and lent to the caller until the next read.
    Delivered,
}

/// What a buffer may keep for the next message. Cut off game messages fit; an idle peer should not cost more.
const KEPT_BYTES_MAX: usize = 4 * 1024;

impl Assembly {
    /// Whether a data frame may come now, and is within the limits. Stores nothing.
    pub(super) fn check(
        &self,
        header: Header,
        limits: Limits,
        inflate: Option<&Inflate>,
    ) -> Result<(), ReadError> {
        match (header.opcode, self.message) {
            // RFC 6455, 5.4: fragments of one message are not interleaved with another's.
            (Opcode::Text | Opcode::Binary, Message::Text | Message::Binary) => {
                return Err(ReadError::DataInterleaved);
            }
            // RFC 6455, 5.4: a continuation follows a frame without FIN.
            (Opcode::Continuation, Message::None | Message::Delivered) => {
                return Err(ReadError::ContinuationStray);
            }
            (Opcode::Continuation, _) if self.fragments >= limits.fragments_max => {
                return Err(ReadError::TooFragmented);
            }
            _ => {}
        }
        let compressed = header.compressed || (header.opcode == Opcode::Continuation && self.compressed);
        let max = match inflate {
            Some(inflate) if compressed => inflate.payload_bytes_max(),
            _ => limits.message_bytes_max,
        };
        // As u64, before any cast or sum: the peer may announce up to 2^63 - 1.
        if header.len > max.saturating_sub(self.buffer.len()) as u64 {
            return Err(ReadError::TooLong);
        }
        Ok(())
    }

    /// Keeps a part of the payload of a data frame; `first` is said once per frame.
    pub(super) fn store(
        &mut self,
        opcode: Opcode,
        compressed: bool,
        first: bool,
        part: &[u8],
    ) -> Result<(), ReadError> {
        if first {
            self.begin_fragment(opcode, compressed);
        }
        self.buffer.extend_from_slice(part);
        if self.message == Message::Text && !self.compressed {
            self.valid += valid_prefix(&self.buffer[self.valid..])?;
        }
        Ok(())
    }

    /// The last byte of the last fragment is stored: lends the message until [`Self::forget_delivered`].
    pub(super) fn deliver(
        &mut self,
        inflate: &mut Option<Inflate>,
        spent: &mut Spent,
    ) -> Result<Event<'_>, ReadError> {
        if self.compressed {
            let payload = std::mem::take(&mut self.buffer);
            self.inflate(&payload, inflate, spent)?;
        }
        self.lend()
    }

    /// A compressed message that lies whole in the input: lends what it says.
    #[cold]
    pub(super) fn deliver_compressed(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        inflate: &mut Option<Inflate>,
        spent: &mut Spent,
    ) -> Result<Event<'_>, ReadError> {
        self.begin_fragment(opcode, true);
        self.inflate(payload, inflate, spent)?;
        self.lend()
    }

    #[cold]
    fn inflate(
        &mut self,
        payload: &[u8],
        inflate: &mut Option<Inflate>,
        spent: &mut Spent,
    ) -> Result<(), ReadError> {
        let inflate = inflate.as_mut().expect("a header says compressed only where that was agreed on");
        let done = inflate.read(payload, &mut self.buffer);
        spent.inflated += self.buffer.len();
        spent.cost += inflate_cost(payload.len(), self.buffer.len());
        done
    }

    fn lend(&mut self) -> Result<Event<'_>, ReadError> {
        match std::mem::replace(&mut self.message, Message::Delivered) {
            // A second look at valid text, because only `unsafe` could do without. Text is not the hot path.
            Message::Text => str::from_utf8(&self.buffer).map(Event::Text).map_err(|_| ReadError::Utf8),
            Message::Binary => Ok(Event::Binary(&self.buffer)),
            Message::None | Message::Delivered => unreachable!("a message ends once, after it began"),
        }
    }

    /// Takes back what the caller has seen by now.
    pub(super) fn forget_delivered(&mut self) {
        if self.message == Message::Delivered {
            self.message = Message::None;
            self.buffer.clear();
            // Who compresses does so with each message, and would keep that memory for good.
            self.buffer.shrink_to(if self.compressed { 0 } else { KEPT_BYTES_MAX });
            self.valid = 0;
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn begin_fragment(&mut self, opcode: Opcode, compressed: bool) {
        if opcode != Opcode::Continuation {
            self.compressed = compressed;
        }
        self.fragments = match opcode {
            Opcode::Continuation => self.fragments + 1,
            _ => 1,
        };
        match opcode {
            Opcode::Text => self.message = Message::Text,
            Opcode::Binary => self.message = Message::Binary,
            _ => {}
        }
    }
}

/// How much of `bytes` is whole characters. What is left is the start of one, or this fails.
fn valid_prefix(bytes: &[u8]) -> Result<usize, ReadError> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.len()),
        // RFC 6455, 8.1: text that is not UTF-8 fails the connection. At once: no later byte can repair it.
        Err(error) if error.error_len().is_some() => Err(ReadError::Utf8),
        Err(error) => Ok(error.valid_up_to()),
    }
}
