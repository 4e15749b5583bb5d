//! Cells to bytes and back (PROTOCOL.md, section 5): entities, snapshots, deltas and their bit-packed changes.
//!
//! The server encodes a cell once per publication; all who hear the cell get the same bytes. What changed is written as
//! *residuals*: the difference between a row and what its velocity fields predict. An entity that moves on as
//! before costs one bit or none.

use crate::bits::{BitReader, BitWriter, width};
use crate::bytes::{Malformed, Reader, put_str8, put_varint, put_zigzag, unzigzag, zigzag};
use crate::fields::{FIELDS_MAX, Shape, Shapes};
use crate::tick::{block, put_block};
use crate::types::{CellId, EntityId, SLOTS_MAX, Tick};

/// Statics hold at most this many bytes.
pub const STATICS_BYTES_MAX: usize = 32;

/// An entity as a snapshot or an enter carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity<'a> {
    /// Slot and generation.
    pub id: EntityId,
    /// The number of its kind.
    pub kind: u8,
    /// As many numbers as the kind has fields.
    pub row: &'a [i32],
    /// Text that never changes.
    pub statics: &'a str,
}

/// An entity's row as it was read: as many numbers as its kind has fields, then zeros.
pub type Row = [i32; FIELDS_MAX];

/// An entity that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEntity<'a> {
    /// Slot and generation.
    pub id: EntityId,
    /// The number of its kind.
    pub kind: u8,
    /// Its row.
    pub row: Row,
    /// Text that never changes.
    pub statics: &'a str,
}

/// The hash of one entity; a cell's sum is the wrapping sum of its members' hashes.
pub fn entity_hash(id: EntityId, kind: u8, row: &[i32]) -> u32 {
    let hash = mix(mix(HASH_START, id.word()), kind as u32);
    finish(row.iter().fold(hash, |hash, &value| mix(hash, value as u32)))
}

/// The sum of a `check` block: which cells are held, and as of when each.
pub fn view_sum(held: impl Iterator<Item = (CellId, Tick)>) -> u32 {
    held.fold(0, |sum: u32, (cell, held)| sum.wrapping_add(finish(mix(mix(HASH_START, cell.0), held.0))))
}

const HASH_START: u32 = 0x811C_9DC5;

/// Without it two members that swap a small number leave the sum as it was, one time in some thousands.
fn finish(hash: u32) -> u32 {
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x7FEB_352D);
    let hash = (hash ^ (hash >> 15)).wrapping_mul(0x846C_A68B);
    hash ^ (hash >> 16)
}

fn mix(hash: u32, word: u32) -> u32 {
    let hash = (hash ^ word).wrapping_mul(0x0100_0193);
    hash ^ (hash >> 15)
}

/// Appends id, kind and row, without statics.
pub fn put_entity_head(out: &mut Vec<u8>, entity: &Entity) {
    put_varint(out, entity.id.slot);
    out.push(entity.id.generation);
    put_varint(out, entity.kind as u32);
    for &value in entity.row {
        put_zigzag(out, value);
    }
}

/// Appends an entity with its statics.
pub fn put_entity(out: &mut Vec<u8>, entity: &Entity) {
    put_entity_head(out, entity);
    put_str8(out, entity.statics);
}

/// Reads id, kind and row.
pub fn read_entity_head<'a>(reader: &mut Reader<'a>, shapes: &Shapes) -> Result<ReadEntity<'a>, Malformed> {
    let slot = reader.varint()?;
    let generation = reader.u8()?;
    let kind = u8::try_from(reader.varint()?).map_err(|_| Malformed::Range)?;
    let shape = shapes.get(kind).ok_or(Malformed::Range)?;
    if slot >= SLOTS_MAX {
        return Err(Malformed::Range);
    }
    let mut row = [0; FIELDS_MAX];
    for value in &mut row[..shape.fields] {
        *value = reader.zigzag()?;
    }
    Ok(ReadEntity { id: EntityId { slot, generation }, kind, row, statics: "" })
}

/// Reads an entity with its statics.
pub fn read_entity<'a>(reader: &mut Reader<'a>, shapes: &Shapes) -> Result<ReadEntity<'a>, Malformed> {
    let entity = read_entity_head(reader, shapes)?;
    Ok(ReadEntity { statics: reader.str8()?, ..entity })
}

/// Appends a snapshot block. The entities come by slot ascending.
pub fn put_snapshot<'a>(
    out: &mut Vec<u8>,
    cell: CellId,
    sum: u32,
    entities: impl ExactSizeIterator<Item = Entity<'a>>,
) {
    put_block(out, block::SNAPSHOT, |out| {
        put_varint(out, cell.0);
        out.extend_from_slice(&sum.to_le_bytes());
        put_varint(out, entities.len() as u32);
        entities.for_each(|entity| put_entity(out, &entity));
    });
}

/// What a snapshot block begins with; its entities are read with [`read_entity`].
#[derive(Clone, Debug)]
pub struct SnapshotHead<'a> {
    /// Which cell.
    pub cell: CellId,
    /// The sum over its entities.
    pub sum: u32,
    /// How many entities follow.
    pub count: u32,
    /// Where they are.
    pub entities: Reader<'a>,
}

impl<'a> SnapshotHead<'a> {
    /// Reads a block's content up to the first entity.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let cell = CellId(reader.varint()?);
        let sum = reader.u32()?;
        let count = reader.varint()?;
        Ok(SnapshotHead { cell, sum, count, entities: reader })
    }
}

/// What stands in the byte behind a delta's cell: its parts, and the base if it is small.
mod part {
    pub const SUM: u8 = 1;
    pub const LEAVES: u8 = 2;
    pub const ENTERS: u8 = 4;
    pub const CHANGES: u8 = 8;
    /// Where the base begins; 0 there says that it follows as a varint.
    pub const BASE_SHIFT: u32 = 4;
    pub const BASE_MAX: u32 = 15;
}

/// An entity that left a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Which.
    pub slot: u32,
    /// Where to; `None`: it is gone.
    pub to: Option<CellId>,
}

/// What a delta block says, apart from the entities that enter.
#[derive(Debug)]
pub struct Delta<'a> {
    /// Which cell.
    pub cell: CellId,
    /// How many ticks before this one the stream published last; at least 1.
    pub base: u32,
    /// The sum after this delta, if it is time to say it.
    pub sum: Option<u32>,
    /// What changed beyond the prediction.
    pub changes: &'a Changes,
    /// How many members the cell had before.
    pub members: usize,
    /// Who left, by slot ascending.
    pub leaves: &'a [Leave],
}

/// Appends a delta block. The entities that enter come by slot ascending.
pub fn put_delta<'a>(
    out: &mut Vec<u8>,
    shapes: &Shapes,
    delta: &Delta,
    enters: impl ExactSizeIterator<Item = Entity<'a>>,
) {
    let short_base = if delta.base <= part::BASE_MAX { delta.base as u8 } else { 0 };
    let mut parts = short_base << part::BASE_SHIFT;
    let mut add = |there: bool, part: u8| parts |= if there { part } else { 0 };
    add(delta.sum.is_some(), part::SUM);
    add(!delta.leaves.is_empty(), part::LEAVES);
    add(enters.len() > 0, part::ENTERS);
    add(!delta.changes.is_empty(), part::CHANGES);

    put_block(out, block::DELTA, |out| {
        put_varint(out, delta.cell.0);
        out.push(parts);
        if short_base == 0 {
            put_varint(out, delta.base);
        }
        if let Some(sum) = delta.sum {
            out.extend_from_slice(&sum.to_le_bytes());
        }
        if parts & part::LEAVES != 0 {
            put_varint(out, delta.leaves.len() as u32);
            for leave in delta.leaves {
                put_varint(out, leave.slot);
                put_varint(out, leave.to.map_or(0, |cell| cell.0 + 1));
            }
        }
        if parts & part::ENTERS != 0 {
            put_varint(out, enters.len() as u32);
            enters.for_each(|entity| put_entity(out, &entity));
        }
        if parts & part::CHANGES != 0 {
            delta.changes.put(out, shapes, delta.members);
        }
    });
}

/// Appends a delta block that says nothing but that the cell has gone on as predicted for so many ticks, at least 1.
pub fn put_silent_delta(out: &mut Vec<u8>, cell: CellId, base: u32) {
    let nothing = Changes::default();
    let delta = Delta { cell, base, sum: None, changes: &nothing, members: 0, leaves: &[] };
    put_delta(out, &Shapes::default(), &delta, std::iter::empty());
}

/// What a delta block begins with: all that is needed to tell whether it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaHead {
    /// Which cell.
    pub cell: CellId,
    /// How many ticks before the block's the stream published last; at least 1.
    pub base: u32,
    parts: u8,
}

impl DeltaHead {
    /// Reads the beginning of a block's content, and nothing behind it.
    pub fn read(bytes: &[u8]) -> Result<DeltaHead, Malformed> {
        DeltaHead::take(&mut Reader::new(bytes))
    }

    fn take(reader: &mut Reader) -> Result<DeltaHead, Malformed> {
        let cell = CellId(reader.varint()?);
        let parts = reader.u8()?;
        let base = match (parts >> part::BASE_SHIFT) as u32 {
            0 => reader.varint()?,
            base => base,
        };
        if base == 0 { Err(Malformed::Range) } else { Ok(DeltaHead { cell, base, parts }) }
    }
}

/// What a delta block says, as it is read.
#[derive(Clone, Debug)]
pub struct ReadDelta<'a> {
    /// Which cell.
    pub cell: CellId,
    /// How many ticks before the block's the stream published last; at least 1.
    pub base: u32,
    /// The sum after this delta.
    pub sum: Option<u32>,
    /// The bits of [`Changes`].
    pub changes: Option<&'a [u8]>,
    leaves: Reader<'a>,
    leaves_count: u32,
    enters: Reader<'a>,
    enters_count: u32,
}

impl<'a> ReadDelta<'a> {
    /// Reads a block's content: all but the bits of the changes, which mean nothing without the members.
    pub fn read(bytes: &'a [u8], shapes: &Shapes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let DeltaHead { cell, base, parts } = DeltaHead::take(&mut reader)?;
        let sum = if parts & part::SUM != 0 { Some(reader.u32()?) } else { None };

        let leaves_count = if parts & part::LEAVES != 0 { reader.varint()? } else { 0 };
        let leaves = reader.clone();
        let mut slots = Ascending::default();
        for _ in 0..leaves_count {
            slots.next(read_leave(&mut reader)?.slot)?;
        }
        let enters_count = if parts & part::ENTERS != 0 { reader.varint()? } else { 0 };
        let enters = reader.clone();
        let mut slots = Ascending::default();
        for _ in 0..enters_count {
            slots.next(read_entity(&mut reader, shapes)?.id.slot)?;
        }
        let changes = (parts & part::CHANGES != 0).then(|| reader.take_rest());
        reader.finish()?;
        Ok(ReadDelta { cell, base, sum, changes, leaves, leaves_count, enters, enters_count })
    }

    /// Who left, by slot ascending.
    pub fn leaves(&self) -> impl Iterator<Item = Leave> + use<'a> {
        let mut leaves = self.leaves.clone();
        (0..self.leaves_count).map_while(move |_| read_leave(&mut leaves).ok())
    }

    /// Who entered, by slot ascending. `shapes` are those that it was read with.
    pub fn enters<'s>(&self, shapes: &'s Shapes) -> impl Iterator<Item = ReadEntity<'a>> + use<'a, 's> {
        let mut enters = self.enters.clone();
        (0..self.enters_count).map_while(move |_| read_entity(&mut enters, shapes).ok())
    }
}

fn read_leave(reader: &mut Reader) -> Result<Leave, Malformed> {
    Ok(Leave { slot: reader.varint()?, to: reader.varint()?.checked_sub(1).map(CellId) })
}

/// Checks that slots come ascending, each once.
#[derive(Default)]
struct Ascending(Option<u32>);

impl Ascending {
    fn next(&mut self, slot: u32) -> Result<u32, Malformed> {
        if self.0.replace(slot).is_some_and(|last| last >= slot) { Err(Malformed::Invalid) } else { Ok(slot) }
    }
}

/// The members of a cell whose rows differ from the prediction, and by how much. Keeps its memory between uses.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// `(index into the member list, kind)`, indices ascending.
    selected: Vec<(u32, u8)>,
    /// One row of residuals per selected member.
    residuals: Vec<Row>,
}

impl Changes {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.selected.clear();
        self.residuals.clear();
    }

    /// Whether nothing changed beyond the prediction.
    pub fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }

    /// Adds a member. Members come by index ascending.
    pub fn push(&mut self, index: u32, kind: u8, residual: Row) {
        debug_assert!(self.selected.last().is_none_or(|&(last, _)| last < index));
        self.selected.push((index, kind));
        self.residuals.push(residual);
    }

    /// Appends the bits.
    fn put(&self, out: &mut Vec<u8>, shapes: &Shapes, members: usize) {
        let mut bits = BitWriter::new(out);
        self.put_selection(&mut bits, members as u32);
        let mut kinds = 0u64;
        self.selected.iter().for_each(|&(_, kind)| kinds |= 1 << kind);
        while kinds != 0 {
            let kind = kinds.trailing_zeros() as u8;
            kinds &= kinds - 1;
            for field in 0..shapes[kind].fields {
                self.put_field(&mut bits, kind, field);
            }
        }
        bits.finish();
    }

    fn put_selection(&self, bits: &mut BitWriter, members: u32) {
        let count = self.selected.len() as u32;
        let list_bits = width(members) + count * width(members - 1);
        if count == members {
            bits.put(0, 2);
        } else if members <= list_bits {
            bits.put(1, 2);
            let mut next = self.selected.iter().map(|&(index, _)| index).peekable();
            for index in 0..members {
                bits.put(next.next_if_eq(&index).is_some() as u32, 1);
            }
        } else {
            bits.put(2, 2);
            bits.put(count, width(members));
            self.selected.iter().for_each(|&(index, _)| bits.put(index, width(members - 1)));
        }
    }

    fn put_field(&self, bits: &mut BitWriter, kind: u8, field: usize) {
        let (mut of_kind, mut changed, mut all) = (0, 0, 0);
        for residual in self.of_kind(kind, field) {
            of_kind += 1;
            changed += (residual != 0) as u32;
            all |= zigzag(residual);
        }
        if changed == 0 {
            return bits.put(0, 2);
        }
        let width = width(all);
        let dense = of_kind * width <= of_kind + changed * width;
        bits.put(if dense { 1 } else { 2 }, 2);
        if !dense {
            self.of_kind(kind, field).for_each(|residual| bits.put((residual != 0) as u32, 1));
        }
        bits.put(width - 1, 5);
        for residual in self.of_kind(kind, field).filter(|&residual| dense || residual != 0) {
            bits.put(zigzag(residual), width);
        }
    }

    fn of_kind(&self, kind: u8, field: usize) -> impl Iterator<Item = i32> {
        let rows = self.selected.iter().zip(&self.residuals);
        rows.filter(move |((_, of), _)| *of == kind).map(move |(_, row)| row[field])
    }
}

/// Reads the bits of [`Changes`]. Keeps its memory between uses.
#[derive(Clone, Debug, Default)]
pub struct ChangesReader {
    selected: Vec<u32>,
    of_kind: Vec<u32>,
}

impl ChangesReader {
    /// Hands on `(member index, field, residual)` for each residual.
    ///
    /// `kind_of` tells the kind of a member by its index, below `members`.
    pub fn read(
        &mut self,
        bytes: &[u8],
        shapes: &Shapes,
        members: usize,
        kind_of: impl Fn(usize) -> u8,
        mut residual: impl FnMut(usize, usize, i32),
    ) -> Result<(), Malformed> {
        let mut bits = BitReader::new(bytes);
        self.read_selection(&mut bits, members as u32)?;
        let mut kinds = 0u64;
        self.selected.iter().for_each(|&index| kinds |= 1 << kind_of(index as usize));
        while kinds != 0 {
            let kind = kinds.trailing_zeros() as u8;
            kinds &= kinds - 1;
            self.of_kind.clear();
            self.of_kind.extend(self.selected.iter().filter(|&&index| kind_of(index as usize) == kind));
            self.read_kind(&mut bits, &shapes[kind], &mut residual)?;
        }
        bits.finish()
    }

    fn read_selection(&mut self, bits: &mut BitReader, members: u32) -> Result<(), Malformed> {
        self.selected.clear();
        match bits.take(2)? {
            0 => self.selected.extend(0..members),
            1 => {
                for index in 0..members {
                    if bits.take(1)? == 1 {
                        self.selected.push(index);
                    }
                }
            }
            2 => {
                for _ in 0..bits.take(width(members))? {
                    let index = bits.take(width(members.saturating_sub(1)))?;
                    if index >= members || self.selected.last().is_some_and(|&last| last >= index) {
                        return Err(Malformed::Range);
                    }
                    self.selected.push(index);
                }
            }
            _ => return Err(Malformed::Invalid),
        }
        Ok(())
    }

    fn read_kind(
        &mut self,
        bits: &mut BitReader,
        shape: &Shape,
        residual: &mut impl FnMut(usize, usize, i32),
    ) -> Result<(), Malformed> {
        for field in 0..shape.fields {
            let how = bits.take(2)?;
            match how {
                0 => continue,
                1 | 2 => {}
                _ => return Err(Malformed::Invalid),
            }
            let mut has = bits.clone();
            if how == 2 {
                for _ in 0..self.of_kind.len() {
                    bits.take(1)?;
                }
            }
            let width = bits.take(5)? + 1;
            for &index in &self.of_kind {
                if how == 1 || has.take(1)? == 1 {
                    residual(index as usize, field, unzigzag(bits.take(width)?));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{Field, Kind};
    use proptest::prelude::*;

    fn shapes() -> Shapes {
        let fields = |count: usize| {
            (0..count).map(|at| Field::integer(&format!("f{at}"), i32::MIN, i32::MAX)).collect()
        };
        let kind = |count| Kind { name: format!("k{count}"), fields: fields(count) };
        Shapes::new(&[kind(3), kind(0), kind(FIELDS_MAX)]).unwrap()
    }

    fn round_trip(kinds: &[u8], changes: &Changes) -> Vec<u8> {
        let shapes = shapes();
        let mut out = Vec::new();
        changes.put(&mut out, &shapes, kinds.len());
        let mut read = vec![[0i32; FIELDS_MAX]; kinds.len()];
        ChangesReader::default()
            .read(
                &out,
                &shapes,
                kinds.len(),
                |at| kinds[at],
                |at, field, residual| read[at][field] = residual,
            )
            .unwrap();
        let mut expected = vec![[0i32; FIELDS_MAX]; kinds.len()];
        for (&(at, _), row) in changes.selected.iter().zip(&changes.residuals) {
            expected[at as usize] = *row;
        }
        assert_eq!(read, expected);
        out
    }

    proptest! {
        #[test]
        fn any_changes_come_back(members in prop::collection::vec((0u8..3, any::<bool>(), prop::array::uniform16(prop_oneof![Just(0), -300..300i32, any::<i32>()])), 1..80)) {
            let shapes = shapes();
            let kinds: Vec<u8> = members.iter().map(|member| member.0).collect();
            let mut changes = Changes::default();
            for (at, (kind, changed, row)) in members.iter().enumerate() {
                let mut row = *row;
                row[shapes[*kind].fields..].fill(0);
                if *changed {
                    changes.push(at as u32, *kind, row);
                }
            }
            prop_assume!(!changes.is_empty());
            round_trip(&kinds, &changes);
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_leave_the_member_list(bytes in prop::collection::vec(any::<u8>(), 0..200), members in 0usize..40) {
            let _ = ChangesReader::default().read(&bytes, &shapes(), members, |at| (at % 3) as u8, |at, field, _| {
                assert!(at < members && field < FIELDS_MAX);
            });
        }
    }

    #[test]
    fn one_of_two_members_with_one_field_is_the_bits_of_the_document() {
        let mut changes = Changes::default();
        let mut row = [0; FIELDS_MAX];
        row[1] = -3; // zigzag 5, three bits
        changes.push(1, 0, row);
        // mode 1 | mask 0 1 | field 0: 0 | field 1: how 1, width 3 - 1, value 5 | field 2: 0
        // lowest bit first: 1 0 | 0 1 | 0 0 | 1 0 | 0 1 0 0 0 | 1 0 1 | 0 0
        assert_eq!(round_trip(&[0, 0], &changes), [0b0100_1001, 0b1010_0010, 0b0000_0000]);
    }

    #[test]
    fn a_few_of_many_are_named_by_index() {
        let mut changes = Changes::default();
        let mut row = [0; FIELDS_MAX];
        row[0] = 1;
        changes.push(777, 0, row);
        let kinds = vec![0; 1000];
        assert!(round_trip(&kinds, &changes).len() <= 5);
    }

    #[test]
    fn one_outlier_does_not_widen_the_others() {
        let mut changes = Changes::default();
        for at in 0..32 {
            let mut row = [0; FIELDS_MAX];
            row[0] = 1;
            row[1] = if at == 5 { i32::MAX } else { 0 };
            changes.push(at, 0, row);
        }
        // 2 mode + (2 + 5 + 32 * 2) + (2 + 5 + 32 + 32) + 2 bits
        assert_eq!(round_trip(&[0; 32], &changes).len(), (2usize + 71 + 71 + 2).div_ceil(8));
    }

    #[test]
    fn the_hash_is_the_one_of_the_document() {
        // By hand with the formula: one word each for id, kind and the row.
        let id = EntityId { slot: 5, generation: 2 };
        let naive = |words: &[u32]| {
            let mut h: u64 = 0x811C_9DC5;
            for &w in words {
                h = ((h ^ w as u64) * 0x0100_0193) % (1 << 32);
                h ^= h >> 15;
            }
            h = ((h ^ (h >> 16)) * 0x7FEB_352D) % (1 << 32);
            h = ((h ^ (h >> 15)) * 0x846C_A68B) % (1 << 32);
            (h ^ (h >> 16)) as u32
        };
        assert_eq!(entity_hash(id, 3, &[-1, 7]), naive(&[5 + (2 << 24), 3, u32::MAX, 7]));
    }
    #[test]
    fn members_that_swap_a_small_number_change_the_sum() {
        let mut seen = 0;
        for pair in 0..300_000u32 {
            let id = |slot| EntityId { slot, generation: (pair >> 3) as u8 };
            let (one, other) = (id(pair % 4096), id(4096 + pair.wrapping_mul(40_503) % 4096));
            let sum = |a: i32, b: i32| {
                let row = |last| [pair as i32 % 97, last];
                entity_hash(one, 0, &row(a)).wrapping_add(entity_hash(other, 0, &row(b)))
            };
            seen += (sum(3, 4) == sum(4, 3)) as u32;
        }
        assert_eq!(seen, 0);
    }
}
