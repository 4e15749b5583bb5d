//! `/echo`: each message comes back. For conformance suites, so the limits are theirs.

use serde::{Deserialize, Serialize};

use super::{Counts, End, Turn};
use crate::config::limits::{ECHO_COMPRESSED_BYTES_MAX, ECHO_FRAGMENTS_MAX, ECHO_MESSAGE_BYTES_MAX};
use crate::websocket::deflate::{Agreement, Writer};
use crate::websocket::frame::{Opcode, write_frame};
use crate::websocket::{Event, Limits, Role, Spent, WebSocket};

/// What a session on `/echo` keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Echo {
    pub(super) socket: WebSocket,
    writer: Writer,
}

impl Echo {
    /// With compression as the handshake agreed on.
    pub(super) fn new(deflate: Option<Agreement>) -> Echo {
        let limits = Limits { message_bytes_max: ECHO_MESSAGE_BYTES_MAX, fragments_max: ECHO_FRAGMENTS_MAX };
        let socket = WebSocket::new(Role::Server, limits)
            .with_deflate(deflate)
            .with_compressed_bytes_max(ECHO_COMPRESSED_BYTES_MAX);
        Echo { socket, writer: Writer::new(deflate, Role::Server) }
    }

    /// What is held of messages that are not complete, and for those to come.
    pub(super) fn held_bytes(&self) -> usize {
        self.socket.held_bytes() + self.writer.held_bytes()
    }

    /// Reads the input, or as much of it as the turn may cost, and answers it.
    pub(super) fn read(
        &mut self,
        turn: &mut Turn,
        input: &mut &mut [u8],
        counts: &mut Counts,
    ) -> Result<(), End> {
        let Echo { socket, writer } = self;
        while !turn.is_spent() {
            let mut spent = Spent::default();
            let event = socket.read_counted(input, &mut spent);
            turn.cost += spent.cost;
            let Some(event) = event? else { break };
            turn.cost += match event {
                Event::Text(text) => writer.write(turn.out, Opcode::Text, text.as_bytes(), None),
                Event::Binary(bytes) => writer.write(turn.out, Opcode::Binary, bytes, None),
                Event::Ping(payload) => {
                    // Each in its place, as conformance suites expect. A pong is shorter than its ping, and who does not read
                    // is not read from either.
                    write_frame(turn.out, Opcode::Pong, payload, None);
                    continue;
                }
                Event::Pong(_) => continue,
                Event::Close(close) => return Err(End::by_peer(close.map(|(code, _)| code))),
            };
            counts.messages_in += 1;
            counts.messages_out += 1;
        }
        Ok(())
    }
}
