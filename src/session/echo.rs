//! `/echo`: each message comes back. For conformance suites, so the limits are theirs.

use super::{Counts, End};
use crate::config::limits::{ECHO_FRAGMENTS_MAX, ECHO_MESSAGE_BYTES_MAX};
use crate::websocket::frame::{Opcode, write_frame};
use crate::websocket::{Event, Limits, Role, WebSocket};

/// The WebSocket of a connection to `/echo`.
pub(super) fn socket() -> Box<WebSocket> {
    let limits = Limits { message_bytes_max: ECHO_MESSAGE_BYTES_MAX, fragments_max: ECHO_FRAGMENTS_MAX };
    Box::new(WebSocket::new(Role::Server, limits))
}

/// Reads all of the input and answers it.
pub(super) fn read(
    socket: &mut WebSocket,
    out: &mut Vec<u8>,
    input: &mut &mut [u8],
    counts: &mut Counts,
) -> Result<(), End> {
    while let Some(event) = socket.read(input)? {
        match event {
            Event::Text(text) => write_frame(out, Opcode::Text, text.as_bytes(), None),
            Event::Binary(bytes) => write_frame(out, Opcode::Binary, bytes, None),
            Event::Ping(payload) => {
                // Each in its place, as conformance suites expect. A pong is shorter than its ping, and who does not read
                // is not read from either.
                write_frame(out, Opcode::Pong, payload, None);
                continue;
            }
            Event::Pong(_) => continue,
            Event::Close(close) => return Err(End::by_peer(close.map(|(code, _)| code))),
        }
        counts.messages_in += 1;
        counts.messages_out += 1;
    }
    Ok(())
}
