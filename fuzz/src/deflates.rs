//! permessage-deflate (RFC 7692): hostile payloads, and there and back again.

use tickyard::http::RequestHead;
use tickyard::websocket::deflate::{Agreement, IS_BUILT_IN, Terms, Writer, offer};
use tickyard::websocket::frame::Opcode;
use tickyard::websocket::{Limits, Role, WebSocket};

use super::chunks::{chunks, cuts};
use super::frames::{Heard, hear, read_all};

/// What is compressed is understood alike in any chunks and within the limits; and what we compress reads as it was.
///
/// The first byte chooses the parameters; see [`super::chunks`] for the others.
pub fn deflate(bytes: &[u8]) {
    let Some((&params, bytes)) = bytes.split_first() else { return };
    if !IS_BUILT_IN {
        return;
    }
    let agreement = agreement(params).expect("a sound offer is accepted");
    let socket = |role| WebSocket::new(role, LIMITS).with_deflate(Some(agreement));
    let [first, others @ ..] =
        cuts(bytes).map(|chunks| hear(socket(Role::Server), LIMITS, HELD_MORE, &chunks));
    for other in others {
        assert_eq!(first, other, "the same, however it is cut");
    }
    let messages = chunks(bytes);
    there_and_back(&messages, agreement, Role::Server, socket(Role::Client), None);
    there_and_back(&messages, agreement, Role::Client, socket(Role::Server), Some([1, 2, 3, 4]));
}

fn there_and_back(
    messages: &[&[u8]],
    agreement: Agreement,
    role: Role,
    mut reader: WebSocket,
    mask: Option<[u8; 4]>,
) {
    let mut writer = Writer::new(Some(agreement), role);
    for message in messages {
        let (mut frame, mut heard) = (Vec::new(), Vec::new());
        writer.write(&mut frame, Opcode::Binary, message, mask);
        assert!(frame.len() <= message.len() + 14, "compressed is never longer");
        read_all(&mut reader, &frame, &mut heard);
        assert_eq!(heard, [Heard::Binary(message.to_vec())]);
    }
    assert!(writer.held_bytes() <= HELD_MORE);
}

fn agreement(params: u8) -> Option<Agreement> {
    let flag = |bit: u8, name: &'static str| if params & bit == 0 { "" } else { name };
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: permessage-deflate{}{}; client_max_window_bits={}; \
         server_max_window_bits={}\r\n\r\n",
        flag(1, "; client_no_context_takeover"),
        flag(2, "; server_no_context_takeover"),
        8 + (params >> 2 & 7),
        9 + (params >> 5) % 7,
    );
    let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
    offer::accept(&head.headers, Terms::AsOffered)
}

const LIMITS: Limits = Limits { message_bytes_max: 2000, fragments_max: 4 };
/// The window, in a `Vec` that grew by doubling.
const HELD_MORE: usize = 2 * (1 << 15);
