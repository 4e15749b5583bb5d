//! What changed, as streams: one per cell, encoded once for all who hear it (PROTOCOL.md, section 5).
//!
//! The [`Publisher`] keeps every entity's row as it was published last. At a publication it looks at what was touched and at what
//! moves by itself, and at nothing else: a world at rest costs nothing. A cell's rows, members and time of publication go on
//! whether or not somebody hears the cell; only the bytes are left out while nobody does. So whoever hears
//! it next gets a snapshot, and the stream goes on from there as if it had been heard all the time.
//!
//! A cell with an entity that moves by itself publishes each time. So in a cell that was silent nothing moves, and it does
//! not matter from which tick within the silence a client predicts.

use std::ops::Range;

use tickyard_protocol::delta::{Changes, Delta, Entity, Leave, entity_hash, put_delta, put_snapshot};
use tickyard_protocol::fields::{FIELDS_MAX, Kinds, Shape, Shapes};
use tickyard_protocol::tick::put_transient;
use tickyard_protocol::types::{CellId, EntityId, Tick};

use super::counts::{Digest, RoomCounts};
use crate::bridge::{CellEntry, Segments, Span};
use crate::game::World;
use crate::stage::{Stage, Stages};

/// A cell that is heard says its sum once in so many ticks, if it has changed.
pub const SUM_TICKS: u32 = 16;

/// Where an entity is that nobody can see.
pub const NOWHERE: CellId = CellId(u32::MAX);

/// The streams of a room.
#[derive(Debug)]
pub struct Publisher {
    shapes: Shapes,
    table: Table,
    cells: Vec<Cell>,
    /// By cell: what the next batch says of it. The spans are cleared at the next publication.
    entries: Vec<CellEntry>,
    /// Cells whose entries have spans.
    spoken: Vec<CellId>,
    /// Cells that may have something to say this time, each once.
    active: Vec<CellId>,
    /// Cells of which a snapshot is wanted, each once.
    wanted: Vec<CellId>,
    /// Slots whose rows, as published, move by themselves.
    moving: Vec<u32>,
    moving_next: Vec<u32>,
    /// Cells that owe their sum, by the tick modulo [`SUM_TICKS`] at which they will say it. A cell has its own such
    /// tick, so that not all say it at once.
    sums_owed: [Vec<CellId>; SUM_TICKS as usize],
    happenings: Vec<Happening>,
    published: Tick,
    changes: Changes,
}

/// Every slot as it was published last.
#[derive(Debug, Default)]
struct Table {
    /// How many numbers a slot's row takes.
    stride: usize,
    rows: Vec<i32>,
    slots: Vec<Published>,
}

#[derive(Clone, Copy, Debug)]
struct Published {
    home: CellId,
    generation: u8,
    kind: u8,
    /// When the row changed last.
    changed: Tick,
}

#[derive(Debug, Default)]
struct Cell {
    /// Slots, ascending.
    members: Vec<u32>,
    /// Players whose view has it.
    listeners: u32,
    is_active: bool,
    is_wanted: bool,
    owes_sum: bool,
    says_sum: bool,
    /// Of this publication: members that were touched or move, who leaves and who enters.
    dirty: Vec<u32>,
    leaves: Vec<Leave>,
    enters: Vec<u32>,
}

/// A transient message on its way into its cell's segment.
#[derive(Clone, Debug)]
struct Happening {
    cell: CellId,
    kind: Range<u32>,
    payload: Range<u32>,
}

impl Publisher {
    /// No cells and no entities yet.
    pub fn new(shapes: Shapes) -> Publisher {
        let table = Table { stride: shapes.fields_most(), ..Table::default() };
        Publisher {
            shapes,
            table,
            cells: Vec::new(),
            entries: Vec::new(),
            spoken: Vec::new(),
            active: Vec::new(),
            wanted: Vec::new(),
            moving: Vec::new(),
            moving_next: Vec::new(),
            sums_owed: Default::default(),
            happenings: Vec::new(),
            published: Tick(0),
            changes: Changes::default(),
        }
    }

    /// A player hears a cell from now on.
    pub fn hear(&mut self, cell: CellId) {
        self.cell_mut(cell).listeners += 1;
    }

    /// A player hears a cell no more.
    pub fn unhear(&mut self, cell: CellId) {
        self.cell_mut(cell).listeners -= 1;
    }

    /// Somebody needs all of a cell. Asking again is harmless.
    pub fn want(&mut self, cell: CellId) {
        let wanted = &mut self.cell_mut(cell).is_wanted;
        if !std::mem::replace(wanted, true) {
            self.wanted.push(cell);
        }
    }

    /// Something happens in a cell; kind and payload are ranges of the world's bytes.
    pub fn happen(&mut self, cell: CellId, kind: Range<u32>, payload: Range<u32>) {
        self.activate(cell);
        self.happenings.push(Happening { cell, kind, payload });
    }

    /// The members of a cell are nowhere from now on: who saw them is gone.
    pub fn abandon(&mut self, cell: CellId) {
        let Some(cell) = self.cells.get_mut(cell.0 as usize) else { return };
        cell.members.drain(..).for_each(|slot| self.table.slots[slot as usize].home = NOWHERE);
    }

    /// Publishes what changed since the last time: advances every row and appends the deltas of cells that are heard.
    ///
    /// `place` says in which cell a thing is; [`NOWHERE`] if nobody can see it.
    pub fn publish<T: Kinds>(
        &mut self,
        world: &World<T>,
        tick: Tick,
        place: impl FnMut(&T) -> CellId,
        segments: &mut Segments,
        counts: &mut RoomCounts,
        stages: &mut dyn Stages,
    ) {
        for cell in self.spoken.drain(..) {
            let entry = &mut self.entries[cell.0 as usize];
            *entry = CellEntry { published: entry.published, ..CellEntry::default() };
        }
        self.collect(world, place);
        self.collect_sums(tick);

        stages.enter(Stage::Encode);
        self.active.sort_unstable();
        // By cell, then as they happened: the ranges ascend. A stable sort would allocate.
        self.happenings.sort_unstable_by_key(|happening| (happening.cell, happening.payload.end));
        let (active, happenings) = (std::mem::take(&mut self.active), std::mem::take(&mut self.happenings));
        let mut happened = happenings.as_slice();
        for &cell in &active {
            let here = happened.iter().take_while(|happening| happening.cell == cell).count();
            let (here, later) = happened.split_at(here);
            happened = later;
            self.publish_cell(world, tick, cell, here, segments, counts);
        }
        (self.active, self.happenings) = (active, happenings);
        self.active.clear();
        self.happenings.clear();
        std::mem::swap(&mut self.moving, &mut self.moving_next);
        self.moving_next.clear();
        self.published = tick;
    }

    /// Appends the snapshots that are wanted, as of the publication just made, then tells of all cells.
    pub fn finish<T>(&mut self, world: &World<T>, segments: &mut Segments, counts: &mut RoomCounts) {
        self.wanted.sort_unstable();
        for cell in self.wanted.drain(..) {
            let Cell { members, is_wanted, .. } = &mut self.cells[cell.0 as usize];
            *is_wanted = false;
            let table = &self.table;
            let start = segments.bytes.len();
            put_snapshot(
                &mut segments.bytes,
                cell,
                table.sum(&self.shapes, members),
                members.iter().map(|&slot| table.entity(&self.shapes, world, slot)),
            );
            self.entries[cell.0 as usize].snapshot = span(start, segments.bytes.len());
            self.spoken.push(cell);
            counts.snapshots += 1;
        }
        segments.cells.extend_from_slice(&self.entries);
    }

    /// An entity as it was published, without its text, and when its row changed last.
    pub fn entity(&self, id: EntityId) -> Option<(Entity<'_>, Tick)> {
        let slot = self.table.slots.get(id.slot as usize)?;
        if slot.home == NOWHERE || slot.generation != id.generation {
            return None;
        }
        let row = self.table.row(&self.shapes, id.slot);
        Some((Entity { id, kind: slot.kind, row, statics: "" }, slot.changed))
    }

    /// The cell in which an entity was published.
    pub fn home(&self, id: EntityId) -> Option<CellId> {
        let slot = self.table.slots.get(id.slot as usize)?;
        (slot.home != NOWHERE && slot.generation == id.generation).then_some(slot.home)
    }

    /// Adds all that was published to a digest.
    pub fn digest(&self, digest: &mut Digest) {
        for (at, slot) in self.table.slots.iter().enumerate() {
            if slot.home == NOWHERE {
                continue;
            }
            let id = EntityId { slot: at as u32, generation: slot.generation };
            digest.add(id.word() as u64);
            digest.add((slot.home.0 as u64) << 8 | slot.kind as u64);
            self.table.row(&self.shapes, id.slot).iter().for_each(|&value| digest.add(value as u32 as u64));
        }
    }

    /// Looks at what was touched or moves by itself, and sorts it into its cells.
    fn collect<T>(&mut self, world: &World<T>, mut place: impl FnMut(&T) -> CellId) {
        self.table.grow(world.slots());
        let moving = std::mem::take(&mut self.moving);
        let untouched = moving.iter().filter(|&&slot| !world.is_touched(slot));
        for &slot in world.touched().iter().chain(untouched) {
            let to = world.at(slot).map_or(NOWHERE, |(_, thing)| place(thing));
            let from = std::mem::replace(&mut self.table.slots[slot as usize].home, to);
            if from == to {
                if to != NOWHERE {
                    self.activate(to).dirty.push(slot);
                }
                continue;
            }
            if from != NOWHERE {
                let to = if to == NOWHERE { None } else { Some(to) };
                self.activate(from).leaves.push(Leave { slot, to });
            }
            if to != NOWHERE {
                self.activate(to).enters.push(slot);
            }
        }
        self.moving = moving;
    }

    /// Finds the cells whose turn it is to say the sum they owe.
    fn collect_sums(&mut self, tick: Tick) {
        for ago in 0..tick.since(self.published).min(SUM_TICKS) {
            let turn = (tick.before(ago).0 % SUM_TICKS) as usize;
            let mut owing = std::mem::take(&mut self.sums_owed[turn]);
            for cell in owing.drain(..) {
                let cell = self.activate(cell);
                cell.owes_sum = false;
                cell.says_sum = true;
            }
            self.sums_owed[turn] = owing;
        }
    }

    fn publish_cell<T: Kinds>(
        &mut self,
        world: &World<T>,
        tick: Tick,
        id: CellId,
        happened: &[Happening],
        segments: &mut Segments,
        counts: &mut RoomCounts,
    ) {
        let Publisher { shapes, table, cells, entries, changes, moving_next, .. } = self;
        let (cell, entry) = (&mut cells[id.0 as usize], &mut entries[id.0 as usize]);
        let ticks = tick.since(entry.published);

        changes.clear();
        cell.dirty.sort_unstable();
        let mut moved = false;
        let mut searched = 0;
        for &slot in &cell.dirty {
            let step = table.advance(shapes, world, slot, tick, ticks);
            moved |= step.moved;
            if step.moves {
                moving_next.push(slot);
            }
            if step.residual != [0; FIELDS_MAX] {
                let found = cell.members[searched..].binary_search(&slot);
                searched += found.expect("who is dirty here is a member") + 1;
                changes.push(searched as u32 - 1, table.slots[slot as usize].kind, step.residual);
            }
        }
        let members_before = cell.members.len();
        cell.leaves.sort_unstable_by_key(|leave| leave.slot);
        cell.enters.sort_unstable();
        remove_sorted(&mut cell.members, &cell.leaves);
        insert_sorted(&mut cell.members, &cell.enters);
        for &slot in &cell.enters {
            if table.enter(shapes, world, slot, tick) {
                moving_next.push(slot);
            }
        }

        let is_heard = cell.listeners > 0;
        let says_sum = std::mem::take(&mut cell.says_sum) && is_heard;
        let changed = moved
            || says_sum
            || !(changes.is_empty()
                && cell.leaves.is_empty()
                && cell.enters.is_empty()
                && happened.is_empty());
        if changed {
            entry.published = tick;
        }
        if changed && is_heard {
            let start = segments.bytes.len();
            let delta = Delta {
                cell: id,
                base: ticks,
                sum: says_sum.then(|| table.sum(shapes, &cell.members)),
                changes,
                members: members_before,
                leaves: &cell.leaves,
            };
            let enters = cell.enters.iter().map(|&slot| table.entity(shapes, world, slot));
            put_delta(&mut segments.bytes, shapes, &delta, enters);
            for Happening { kind, payload, .. } in happened {
                let (kind, payload) = world.transient_parts(kind, payload);
                put_transient(&mut segments.bytes, id, kind, payload);
            }
            entry.delta = span(start, segments.bytes.len());
            entry.base = ticks;
            self.spoken.push(id);
            counts.deltas += 1;
            if !says_sum && !std::mem::replace(&mut cell.owes_sum, true) {
                self.sums_owed[(id.0 % SUM_TICKS) as usize].push(id);
            }
        }
        cell.is_active = false;
        cell.dirty.clear();
        cell.leaves.clear();
        cell.enters.clear();
    }

    fn activate(&mut self, id: CellId) -> &mut Cell {
        if !self.cell_mut(id).is_active {
            self.active.push(id);
        }
        let cell = self.cell_mut(id);
        cell.is_active = true;
        cell
    }

    fn cell_mut(&mut self, cell: CellId) -> &mut Cell {
        let at = cell.0 as usize;
        if at >= self.cells.len() {
            self.cells.resize_with(at + 1, Cell::default);
            self.entries.resize(at + 1, CellEntry::default());
        }
        &mut self.cells[at]
    }
}

/// What a member did since the cell's last publication.
struct Step {
    /// What the prediction missed.
    residual: [i32; FIELDS_MAX],
    /// Whether its row moved by itself.
    moved: bool,
    /// Whether its row moves by itself from now on.
    moves: bool,
}

impl Table {
    fn grow(&mut self, slots: usize) {
        if slots > self.slots.len() {
            self.slots
                .resize(slots, Published { home: NOWHERE, generation: 0, kind: 0, changed: Tick::default() });
            self.rows.resize(slots * self.stride, 0);
        }
    }

    fn row(&self, shapes: &Shapes, slot: u32) -> &[i32] {
        let start = slot as usize * self.stride;
        &self.rows[start..start + shapes[self.slots[slot as usize].kind].fields]
    }

    fn entity<'a, T>(&'a self, shapes: &Shapes, world: &'a World<T>, slot: u32) -> Entity<'a> {
        let Published { generation, kind, .. } = self.slots[slot as usize];
        let id = EntityId { slot, generation };
        Entity { id, kind, row: self.row(shapes, slot), statics: world.statics(slot) }
    }

    /// The sum over some members. Said so rarely that summing up then is cheaper than keeping it with every change.
    fn sum(&self, shapes: &Shapes, members: &[u32]) -> u32 {
        members.iter().fold(0, |sum: u32, &slot| {
            let Published { generation, kind, .. } = self.slots[slot as usize];
            sum.wrapping_add(entity_hash(EntityId { slot, generation }, kind, self.row(shapes, slot)))
        })
    }

    /// Takes over a member's row and says how it differs from what a client predicts.
    fn advance<T: Kinds>(
        &mut self,
        shapes: &Shapes,
        world: &World<T>,
        slot: u32,
        tick: Tick,
        ticks: u32,
    ) -> Step {
        let (_, thing) = world.at(slot).expect("who is gone has left the cell");
        let published = &mut self.slots[slot as usize];
        assert!(thing.kind() == published.kind, "an entity's kind must never change");
        let shape: &Shape = &shapes[published.kind];
        let old = &mut self.rows[slot as usize * self.stride..][..shape.fields];

        let (mut row, mut residual) = ([0; FIELDS_MAX], [0; FIELDS_MAX]);
        thing.write(&mut row[..shape.fields]);
        let (moved, moves) = (shape.moves(old), shape.moves(&row));
        let mut predicted = [0; FIELDS_MAX];
        predicted[..shape.fields].copy_from_slice(old);
        if moved {
            shape.predict(&mut predicted, ticks);
        }
        if *old != row[..shape.fields] {
            published.changed = tick;
            old.copy_from_slice(&row[..shape.fields]);
        }
        for at in 0..FIELDS_MAX {
            residual[at] = row[at].wrapping_sub(predicted[at]);
        }
        Step { residual, moved, moves }
    }

    /// Takes in who enters a cell; true if its row moves by itself.
    fn enter<T: Kinds>(&mut self, shapes: &Shapes, world: &World<T>, slot: u32, tick: Tick) -> bool {
        let (generation, thing) = world.at(slot).expect("who is gone enters nowhere");
        let published = &mut self.slots[slot as usize];
        *published = Published { generation, kind: thing.kind(), changed: tick, home: published.home };
        let shape = &shapes[published.kind];
        let row = &mut self.rows[slot as usize * self.stride..][..shape.fields];
        thing.write(row);
        shape.moves(row)
    }
}

fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// Takes who left out of a sorted list; `leaves` is sorted too.
fn remove_sorted(members: &mut Vec<u32>, leaves: &[Leave]) {
    if leaves.is_empty() {
        return;
    }
    let mut leaves = leaves.iter().peekable();
    members.retain(|&slot| leaves.next_if(|leave| leave.slot == slot).is_none());
    debug_assert!(leaves.next().is_none(), "who left was a member");
}

/// Merges sorted numbers into a sorted list, from behind.
fn insert_sorted(members: &mut Vec<u32>, enters: &[u32]) {
    let mut from = members.len();
    members.extend_from_slice(enters);
    let mut to = members.len();
    for &slot in enters.iter().rev() {
        while from > 0 && members[from - 1] > slot {
            to -= 1;
            from -= 1;
            members[to] = members[from];
        }
        to -= 1;
        members[to] = slot;
    }
}
