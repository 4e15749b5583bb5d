//! Conversations nobody thought of: random messages in random frames and pieces, and random noise.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A message, the sizes of its fragments, and a control frame before each of them or not.
#[derive(Clone, Debug)]
struct Said {
    message: Heard,
    cuts: Vec<prop::sample::Index>,
    pings: Vec<Option<Vec<u8>>>,
    key: [u8; 4],
}

fn message() -> impl Strategy<Value = Heard> {
    prop_oneof![
        "\\PC{0,40}".prop_map(Heard::Text),
        vec(any::<u8>(), 0..300).prop_map(Heard::Binary),
        vec(any::<u8>(), 0..125).prop_map(Heard::Pong),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let pings = vec(prop::option::of(vec(any::<u8>(), 0..125)), 4);
    (message(), vec(any::<prop::sample::Index>(), 0..4), pings, any::<[u8; 4]>())
        .prop_map(|(message, cuts, pings, key)| Said { message, cuts, pings, key })
}

impl Said {
    /// Writes the frames to `out` and what must be heard of them to `heard`.
    fn write(&self, out: &mut Vec<u8>, heard: &mut Vec<Heard>) {
        let (opcode, payload) = match &self.message {
            Heard::Text(text) => (Opcode::Text, text.as_bytes()),
            Heard::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            Heard::Pong(bytes) => return self.write_control(Opcode::Pong, bytes, out, heard),
            _ => unreachable!("no strategy makes these"),
        };
        let mut ends: Vec<usize> = self.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(payload.len());
        let mut start = 0;
        for (index, &end) in ends.iter().enumerate() {
            if let Some(Some(ping)) = self.pings.get(index) {
                self.write_control(Opcode::Ping, ping, out, heard);
            }
            let opcode = if index == 0 { opcode } else { Opcode::Continuation };
            let first = out.len();
            write_frame(out, opcode, &payload[start..end], Some(self.key));
            out[first] &= if index + 1 == ends.len() { 0xff } else { 0x7f };
            start = end;
        }
        heard.push(self.message.clone());
    }

    fn write_control(&self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>, heard: &mut Vec<Heard>) {
        write_frame(out, opcode, payload, Some(self.key));
        heard.push(match opcode {
            Opcode::Ping => Heard::Ping(payload.to_vec()),
            _ => Heard::Pong(payload.to_vec()),
        });
    }
}

/// Cuts `bytes` into pieces of these sizes, over and over.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn a_conversation_is_heard_as_it_was_said(said in vec(said(), 0..6), sizes in vec(1_usize..200, 1..8)) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for said in &said {
            said.write(&mut bytes, &mut expected);
        }
        prop_assert_eq!(hear(Role::Server, LIMITS, &pieces(&bytes, &sizes)), expected);
    }

    #[test]
    fn a_damaged_conversation_is_heard_alike_in_any_pieces(
        said in vec(said(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in vec(1_usize..50, 1..8),
    ) {
        let mut bytes = Vec::new();
        for said in &said {
            said.write(&mut bytes, &mut Vec::new());
        }
        for (at, value) in damage {
            *at.get_mut(&mut bytes) = value;
        }
        let whole = hear(Role::Server, LIMITS, &[&bytes]);
        let cut = hear(Role::Server, LIMITS, &pieces(&bytes, &sizes));
        // Cut off text is refused at its first wrong byte; whole text not before its last byte is there.
        if whole != cut {
            prop_assert_eq!(cut.split_last(), Some((&Heard::Failed(ReadError::Utf8), &whole[..])));
        }
    }

    #[test]
    fn noise_ends_in_an_error_at_most_and_holds_no_more_than_it_is(
        noise in vec(any::<u8>(), 0..400),
        sizes in vec(1_usize..50, 1..8),
        role in prop::sample::select(vec![Role::Client, Role::Server]),
    ) {
        let mut socket = WebSocket::new(role, LIMITS);
        for piece in pieces(&noise, &sizes) {
            feed(&mut socket, piece, &mut Vec::new());
            prop_assert!(socket.held_bytes() <= 2 * noise.len() + 64);
        }
    }
}
