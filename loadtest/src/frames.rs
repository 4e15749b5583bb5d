//! Messages on their way out: framed, masked, and counted.

use crate::keys::Keys;
use tickyard::websocket::CloseCode;
use tickyard::websocket::frame::{Opcode, write_close, write_frame};

/// Bytes for one socket. One of these serves the whole loop, so that bots at rest hold no memory.
#[derive(Debug, Default)]
pub struct Frames {
    /// What to send.
    pub bytes: Vec<u8>,
    /// How many messages that is.
    pub messages: u64,
    scratch: Vec<u8>,
    keys: Keys,
}

impl Frames {
    /// Adds a binary message that `write` writes.
    pub fn binary(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        write_frame(&mut self.bytes, Opcode::Binary, &self.scratch, Some(self.keys.mask()));
        self.messages += 1;
    }

    /// Adds the answer to a WebSocket ping.
    pub fn pong(&mut self, payload: &[u8]) {
        write_frame(&mut self.bytes, Opcode::Pong, payload, Some(self.keys.mask()));
    }

    /// Adds a close frame.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        write_close(&mut self.bytes, Some((code, reason)), Some(self.keys.mask()));
    }

    /// The key of an opening handshake.
    pub fn handshake_key(&mut self) -> [u8; 16] {
        self.keys.handshake_key()
    }

    /// Forgets what was sent.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages = 0;
    }
}
