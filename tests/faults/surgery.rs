//! Damage to the bytes of a tick message, as it came from the fan-out.

// The tests that share it use different parts.
#![allow(dead_code)]

use tickyard::game::Random;
use tickyard_protocol::bytes::put_varint;
use tickyard_protocol::delta::{DeltaHead, Leave, ReadDelta, SnapshotHead};
use tickyard_protocol::fields::Shapes;
use tickyard_protocol::tick::{Blocks, HEADER_BYTES, block, put_block};
use tickyard_protocol::types::CellId;

/// What is done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A bit of a delta's changes is turned.
    FlipChange,
    /// A bit anywhere in a view, delta or snapshot is turned.
    FlipAny,
    /// A delta is left out.
    DropDelta,
    /// One of a delta's leaves is left out.
    DropLeave,
    /// A snapshot is left out.
    DropSnapshot,
    /// The view is left out.
    DropView,
    /// The message is left out.
    DropMessage,
}

impl Fault {
    pub const ALL: [Fault; 7] = [
        Fault::FlipChange,
        Fault::FlipAny,
        Fault::DropDelta,
        Fault::DropLeave,
        Fault::DropSnapshot,
        Fault::DropView,
        Fault::DropMessage,
    ];

    /// Does it to a message (with its type byte), if there is anything to do it to. Returns which cell it hit, if it is one.
    pub fn apply(
        self,
        message: &mut Vec<u8>,
        shapes: &Shapes,
        random: &mut Random,
    ) -> Option<Option<CellId>> {
        let mut blocks: Vec<(u32, Vec<u8>)> = Blocks::new(&message[HEADER_BYTES..])
            .map(|block| block.expect("whole blocks"))
            .map(|(kind, bytes)| (kind, bytes.to_vec()))
            .collect();
        let fits = |(kind, bytes): &(u32, Vec<u8>)| match self {
            Fault::FlipChange => *kind == block::DELTA && !changes(bytes, shapes).is_empty(),
            Fault::FlipAny => matches!(*kind, block::VIEW | block::DELTA | block::SNAPSHOT),
            Fault::DropDelta => *kind == block::DELTA,
            Fault::DropLeave => *kind == block::DELTA && !leaves(bytes, shapes).is_empty(),
            Fault::DropSnapshot => *kind == block::SNAPSHOT,
            Fault::DropView => *kind == block::VIEW,
            Fault::DropMessage => false,
        };
        if self == Fault::DropMessage {
            message.clear();
            return Some(None);
        }
        let fitting: Vec<usize> = (0..blocks.len()).filter(|&at| fits(&blocks[at])).collect();
        let at = *fitting.get(random.below(fitting.len().max(1) as u32) as usize)?;
        let cell = cell_of(&blocks[at]);
        let (_, bytes) = &mut blocks[at];
        match self {
            Fault::FlipChange | Fault::FlipAny => {
                let all = 0..bytes.len();
                let range = if self == Fault::FlipAny { all } else { changes(bytes, shapes) };
                flip(bytes, range, random);
            }
            Fault::DropLeave => drop_leave(bytes, shapes, random),
            Fault::DropDelta | Fault::DropSnapshot | Fault::DropView | Fault::DropMessage => {
                blocks.remove(at);
            }
        }
        message.truncate(HEADER_BYTES);
        for (kind, bytes) in blocks {
            put_block(message, kind, |out| out.extend_from_slice(&bytes));
        }
        Some(cell)
    }
}

/// The cells of the deltas in a message.
pub fn deltas(message: &[u8]) -> Vec<CellId> {
    let blocks = Blocks::new(message.get(HEADER_BYTES..).unwrap_or_default()).map_while(Result::ok);
    let deltas = blocks.filter(|(kind, _)| *kind == block::DELTA);
    deltas.map(|(_, bytes)| DeltaHead::read(bytes).expect("a delta").cell).collect()
}

fn cell_of((kind, bytes): &(u32, Vec<u8>)) -> Option<CellId> {
    match *kind {
        block::DELTA => Some(DeltaHead::read(bytes).expect("a delta").cell),
        block::SNAPSHOT => Some(SnapshotHead::read(bytes).expect("a snapshot").cell),
        _ => None,
    }
}

fn flip(bytes: &mut [u8], range: std::ops::Range<usize>, random: &mut Random) {
    let at = range.start + random.below(range.len() as u32) as usize;
    bytes[at] ^= 1 << random.below(8);
}

/// Where in a delta its changes stand: at the end.
fn changes(bytes: &[u8], shapes: &Shapes) -> std::ops::Range<usize> {
    let changes = ReadDelta::read(bytes, shapes).expect("a delta").changes;
    bytes.len() - changes.map_or(0, <[u8]>::len)..bytes.len()
}

fn leaves(bytes: &[u8], shapes: &Shapes) -> Vec<Leave> {
    ReadDelta::read(bytes, shapes).expect("a delta").leaves().collect()
}

/// Writes the leaves anew, without one of them. Before them stand the cell, the parts, perhaps a base and a sum.
fn drop_leave(bytes: &mut Vec<u8>, shapes: &Shapes, random: &mut Random) {
    let mut leaves = leaves(bytes, shapes);
    let mut written = Vec::new();
    put_leaves(&mut written, &leaves);
    let start = (2..bytes.len()).find(|&at| bytes[at..].starts_with(&written)).expect("they are there");
    leaves.remove(random.below(leaves.len() as u32) as usize);
    let mut fewer = Vec::new();
    put_leaves(&mut fewer, &leaves);
    bytes.splice(start..start + written.len(), fewer);
}

fn put_leaves(out: &mut Vec<u8>, leaves: &[Leave]) {
    put_varint(out, leaves.len() as u32);
    for leave in leaves {
        put_varint(out, leave.slot);
        put_varint(out, leave.to.map_or(0, |cell| cell.0 + 1));
    }
}
