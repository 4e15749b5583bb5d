//! The tick message (PROTOCOL.md, section 4): a header, then blocks that say their kind and length.

use crate::bytes::{Malformed, Reader, put_str8, put_varint, put_zigzag, varint_len};
use crate::delta::{Entity, put_entity_head};
use crate::message::from_server;
use crate::types::{CellId, PlayerId, Seq, Tick};

/// The kinds of blocks.
pub mod block {
    /// The whole view: its cells.
    pub const VIEW: u32 = 1;
    /// What changed in a cell.
    pub const DELTA: u32 = 2;
    /// All of a cell.
    pub const SNAPSHOT: u32 = 3;
    /// How old the blocks that follow are.
    pub const AGE: u32 = 4;
    /// The player's own entity.
    pub const SELF: u32 = 5;
    /// A numbered message that must arrive.
    pub const RELIABLE: u32 = 6;
    /// The client's last message that the room took.
    pub const HEARD: u32 = 7;
    /// Something that happened in a cell.
    pub const TRANSIENT: u32 = 8;
    /// The sum over the cells of the view and as of when each is held.
    pub const CHECK: u32 = 9;
}

/// Flag: each cell of the view is held and current.
pub const VIEW_COMPLETE: u8 = 1;
/// Flag: earlier updates were not sent because this connection was slow.
pub const SKIPPED: u8 = 2;

/// The type and header take this many bytes.
pub const HEADER_BYTES: usize = 11;

/// What each tick message begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The room's tick.
    pub tick: Tick,
    /// The last of the client's inputs that was applied.
    pub seq: Seq,
    /// How many more of them wait in the room.
    pub depth: u8,
    /// [`VIEW_COMPLETE`] and [`SKIPPED`].
    pub flags: u8,
}

impl Header {
    /// The message's first bytes, type included.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = from_server::TICK;
        bytes[1..5].copy_from_slice(&self.tick.0.to_le_bytes());
        bytes[5..9].copy_from_slice(&self.seq.0.to_le_bytes());
        bytes[9] = self.depth;
        bytes[10] = self.flags;
        bytes
    }

    /// Reads the bytes after the type.
    pub fn read(reader: &mut Reader) -> Result<Header, Malformed> {
        let tick = Tick(reader.u32()?);
        let seq = Seq(reader.u32()?);
        Ok(Header { tick, seq, depth: reader.u8()?, flags: reader.u8()? })
    }
}

/// Appends a block whose content `write` appends.
pub fn put_block(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, kind);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    // The length stands in front of the content and is known after it: make room by turning the tail.
    put_varint(out, len as u32);
    out[start..].rotate_right(varint_len(len as u32));
}

/// Appends the whole view.
pub fn put_view(out: &mut Vec<u8>, cells: impl ExactSizeIterator<Item = CellId>) {
    put_block(out, block::VIEW, |out| {
        put_varint(out, cells.len() as u32);
        cells.for_each(|cell| put_varint(out, cell.0));
    });
}

/// Appends how old the next blocks are.
pub fn put_age(out: &mut Vec<u8>, age: u32) {
    put_block(out, block::AGE, |out| put_varint(out, age));
}

/// Appends the player's own entity; its statics are not written.
pub fn put_self(out: &mut Vec<u8>, entity: &Entity) {
    put_block(out, block::SELF, |out| put_entity_head(out, entity));
}

/// Appends the number of the client's last message that the room took.
pub fn put_heard(out: &mut Vec<u8>, number: u32) {
    put_block(out, block::HEARD, |out| put_varint(out, number));
}

/// Appends what the client must hold: a [`crate::delta::view_sum`].
pub fn put_check(out: &mut Vec<u8>, sum: u32) {
    put_block(out, block::CHECK, |out| out.extend_from_slice(&sum.to_le_bytes()));
}

/// Appends something that happened in a cell.
pub fn put_transient(out: &mut Vec<u8>, cell: CellId, kind: &str, payload: &[u8]) {
    put_block(out, block::TRANSIENT, |out| {
        put_varint(out, cell.0);
        put_str8(out, kind);
        out.extend_from_slice(payload);
    });
}

/// What a reliable message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliable<'a> {
    /// From the game or the room.
    Message {
        /// What it is about.
        kind: &'a str,
        /// What it says.
        payload: &'a [u8],
    },
    /// A player said something.
    Chat {
        /// Who.
        player: PlayerId,
        /// Who, for people.
        name: &'a str,
        /// What.
        text: &'a str,
    },
    /// Points.
    Award {
        /// How many.
        points: i32,
        /// For what.
        reason: &'a str,
    },
    /// A property changed.
    Property {
        /// A player, or [`PlayerId`] 0 for the room.
        owner: PlayerId,
        /// Which property.
        key: &'a str,
        /// Its new value; empty: removed.
        value: &'a [u8],
    },
    /// A class that this version does not know.
    Unknown {
        /// Its number.
        class: u32,
    },
}

impl<'a> Reliable<'a> {
    /// Appends class and content, which are the same for all who hear it.
    pub fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Reliable::Message { kind, payload } => {
                put_varint(out, 0);
                put_str8(out, kind);
                out.extend_from_slice(payload);
            }
            Reliable::Chat { player, name, text } => {
                put_varint(out, 1);
                put_varint(out, player.0);
                put_str8(out, name);
                out.extend_from_slice(text.as_bytes());
            }
            Reliable::Award { points, reason } => {
                put_varint(out, 2);
                put_zigzag(out, points);
                out.extend_from_slice(reason.as_bytes());
            }
            Reliable::Property { owner, key, value } => {
                put_varint(out, 3);
                put_varint(out, owner.0);
                put_str8(out, key);
                out.extend_from_slice(value);
            }
            Reliable::Unknown { class } => put_varint(out, class),
        }
    }

    /// Reads class and content to the end.
    pub fn read(bytes: &'a [u8]) -> Result<Reliable<'a>, Malformed> {
        let mut reader = Reader::new(bytes);
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8);
        Ok(match reader.varint()? {
            0 => Reliable::Message { kind: reader.str8()?, payload: reader.take_rest() },
            1 => {
                let player = PlayerId(reader.varint()?);
                Reliable::Chat { player, name: reader.str8()?, text: utf8(reader.take_rest())? }
            }
            2 => Reliable::Award { points: reader.zigzag()?, reason: utf8(reader.take_rest())? },
            3 => {
                let owner = PlayerId(reader.varint()?);
                Reliable::Property { owner, key: reader.str8()?, value: reader.take_rest() }
            }
            class => Reliable::Unknown { class },
        })
    }
}

/// Appends a reliable message; `body` was written by [`Reliable::put`].
pub fn put_reliable(out: &mut Vec<u8>, number: u32, body: &[u8]) {
    put_varint(out, block::RELIABLE);
    put_varint(out, (varint_len(number) + body.len()) as u32);
    put_varint(out, number);
    out.extend_from_slice(body);
}

/// Walks the blocks of a message.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    reader: Reader<'a>,
}

impl<'a> Blocks<'a> {
    /// Over the bytes after the header.
    pub fn new(bytes: &'a [u8]) -> Self {
        Blocks { reader: Reader::new(bytes) }
    }

    fn read(&mut self) -> Result<(u32, &'a [u8]), Malformed> {
        let kind = self.reader.varint()?;
        let len = self.reader.varint()? as usize;
        Ok((kind, self.reader.take(len)?))
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<(u32, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let block = self.read();
        if block.is_err() {
            self.reader.take_rest();
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips_and_every_prefix_is_short() {
        let header = Header { tick: Tick(7), seq: Seq(9), depth: 2, flags: VIEW_COMPLETE };
        let bytes = header.to_bytes();
        assert_eq!(bytes, [2, 7, 0, 0, 0, 9, 0, 0, 0, 2, 1]);
        assert_eq!(Header::read(&mut Reader::new(&bytes[1..])), Ok(header));
        for cut in 1..bytes.len() {
            assert_eq!(Header::read(&mut Reader::new(&bytes[1..cut])), Err(Malformed::Short));
        }
    }

    #[test]
    fn blocks_of_any_length_keep_what_stands_before_and_after() {
        for len in [0usize, 1, 127, 128, 16383, 16384] {
            let mut out = vec![];
            put_heard(&mut out, 5);
            put_block(&mut out, 77, |out| out.extend(std::iter::repeat_n(3, len)));
            put_age(&mut out, 1);
            let blocks: Vec<_> = Blocks::new(&out).map(Result::unwrap).collect();
            assert_eq!(blocks, [(block::HEARD, &[5][..]), (77, &vec![3; len][..]), (block::AGE, &[1][..])]);
        }
    }

    #[test]
    fn a_block_that_ends_early_is_short_and_ends_the_walk() {
        let mut blocks = Blocks::new(&[1, 5, 0]);
        assert_eq!(blocks.next(), Some(Err(Malformed::Short)));
        assert_eq!(blocks.next(), None);
    }

    #[test]
    fn reliable_messages_round_trip() {
        let all = [
            Reliable::Message { kind: "win", payload: &[0, 1] },
            Reliable::Chat { player: PlayerId(300), name: "Ada", text: "hello" },
            Reliable::Award { points: -5, reason: "late" },
            Reliable::Property { owner: PlayerId(0), key: "map", value: &[7] },
            Reliable::Unknown { class: 99 },
        ];
        for message in all {
            let mut out = vec![];
            message.put(&mut out);
            assert_eq!(Reliable::read(&out), Ok(message));
        }
    }
}
