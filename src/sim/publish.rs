//! What changed, as streams: one per cell, encoded once for all who hear it (PROTOCOL.md, section 5).
//!
//! The [`Publisher`] keeps every entity's row as it was published last. At a publication it looks at what was touched, at what
//! moves by itself and at what waits for its turn, and at nothing else: a world at rest costs nothing. A cell's rows, members and
//! time of publication go on whether or not somebody hears the cell; only the bytes are left out while nobody does. So
//! whoever hears it next gets a snapshot, and the stream goes on from there as if it had been heard all the time.
//!
//! A cell whose members all go on as predicted is silent. In a crowd who changed waits for its [turn](turns): clients predict on,
//! and so does the table.

use std::ops::Range;

use tickyard_protocol::delta::{Changes, Delta, Leave, Row, put_delta, put_snapshot};
use tickyard_protocol::fields::{Kinds, Shapes};
use tickyard_protocol::tick::put_transient;
use tickyard_protocol::types::{CellId, EntityId, Tick};

use table::Table;
use turns::{ENTERS_MAX, ROWS_MAX, Turn};

use super::counts::{Digest, RoomCounts};
use crate::bridge::{CellEntry, Segments, Span};
use crate::game::World;
use crate::stage::{Stage, Stages};

mod table;
pub mod turns;

/// A cell that is heard says its sum once in so many ticks, if it has changed.
pub const SUM_TICKS: u32 = 16;

/// Where an entity is that nobody can see.
pub const NOWHERE: CellId = CellId(u32::MAX);

/// The streams of a room.
#[derive(Debug)]
pub struct Publisher {
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
    /// Slots to look at although nobody touches them: their rows as published move by themselves, or what was published is
    /// not what is in the world.
    restless: Vec<u32>,
    restless_next: Vec<u32>,
    /// Cells that owe their sum, by the tick modulo [`SUM_TICKS`] at which they will say it. A cell has its own such
    /// tick, so that not all say it at once.
    sums_owed: [Vec<CellId>; SUM_TICKS as usize],
    happenings: Vec<Happening>,
    published: Tick,
    /// Kept for their memory.
    changes: Changes,
    late: Vec<(u32, Row)>,
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
    /// Of this publication: members that were touched or are restless, who leaves and who enters.
    dirty: Vec<u32>,
    leaves: Vec<Leave>,
    enters: Vec<u32>,
    /// The slots with which the next turns begin.
    next_row: u32,
    next_enter: u32,
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
        Publisher {
            table: Table::new(shapes),
            cells: Vec::new(),
            entries: Vec::new(),
            spoken: Vec::new(),
            active: Vec::new(),
            wanted: Vec::new(),
            restless: Vec::new(),
            restless_next: Vec::new(),
            sums_owed: Default::default(),
            happenings: Vec::new(),
            published: Tick(0),
            changes: Changes::default(),
            late: Vec::new(),
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
        for slot in cell.members.drain(..) {
            let published = self.table.slot(slot);
            (published.home, published.place) = (NOWHERE, NOWHERE);
        }
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
        self.let_in();
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
        std::mem::swap(&mut self.restless, &mut self.restless_next);
        self.restless_next.clear();
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
                table.sum(members),
                members.iter().map(|&slot| table.entity(world, slot)),
            );
            self.entries[cell.0 as usize].snapshot = span(start, segments.bytes.len());
            self.spoken.push(cell);
            counts.snapshots += 1;
        }
        segments.cells.extend_from_slice(&self.entries);
    }

    /// The cell in which an entity is, though it may be published elsewhere yet; `None`: nobody can see it.
    pub fn place(&self, id: EntityId) -> Option<CellId> {
        let slot = self.table.get(id.slot)?;
        (slot.place != NOWHERE && slot.generation == id.generation).then_some(slot.place)
    }

    /// The shapes of all rows.
    pub fn shapes(&self) -> &Shapes {
        &self.table.shapes
    }

    /// Adds all that was published to a digest.
    pub fn digest(&self, digest: &mut Digest) {
        for (slot, published) in self.table.iter().filter(|(_, published)| published.home != NOWHERE) {
            digest.add(EntityId { slot, generation: published.generation }.word() as u64);
            digest.add((published.home.0 as u64) << 8 | published.kind as u64);
            self.table.row(slot).iter().for_each(|&value| digest.add(value as u32 as u64));
        }
    }

    /// Looks at what was touched or is restless, and sorts it into its cells.
    fn collect<T: Kinds>(&mut self, world: &World<T>, mut place: impl FnMut(&T) -> CellId) {
        self.table.grow(world.slots());
        let restless = std::mem::take(&mut self.restless);
        let untouched = restless.iter().filter(|&&slot| !world.is_touched(slot));
        for &slot in world.touched().iter().chain(untouched) {
            let here = world.at(slot);
            let to = here.map_or(NOWHERE, |(_, thing)| place(thing));
            let published = self.table.slot(slot);
            published.place = to;
            let from = published.home;
            if from == to {
                if to != NOWHERE {
                    self.activate(to).dirty.push(slot);
                }
            } else if to == NOWHERE {
                published.home = NOWHERE;
                self.activate(from).leaves.push(Leave { slot, to: None });
            } else {
                if let (NOWHERE, Some((generation, _))) = (from, here) {
                    published.generation = generation;
                }
                self.activate(to).enters.push(slot);
            }
        }
        self.restless = restless;
    }

    /// Lets into each cell those who come, in a crowd those whose turn it is. The others stay where they were published.
    fn let_in(&mut self) {
        for at in 0..self.active.len() {
            let to = self.active[at];
            let cell = &mut self.cells[to.0 as usize];
            if cell.enters.is_empty() {
                continue;
            }
            let mut come = std::mem::take(&mut cell.enters);
            come.sort_unstable();
            let turn = match cell.listeners {
                0 => Turn::of_all(come.len()),
                _ => Turn::take(&mut cell.next_enter, ENTERS_MAX, come.len(), |at| come[at]),
            };
            let mut at = 0;
            come.retain(|&slot| {
                let enters = turn.has(at);
                at += 1;
                let from = self.table.slot(slot).home;
                if enters {
                    self.table.slot(slot).home = to;
                }
                match (from, enters) {
                    (NOWHERE, true) => {}
                    (NOWHERE, false) => self.restless_next.push(slot),
                    (_, true) => self.activate(from).leaves.push(Leave { slot, to: Some(to) }),
                    (_, false) => self.activate(from).dirty.push(slot),
                }
                enters
            });
            self.cells[to.0 as usize].enters = come;
        }
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
        let Publisher { table, cells, entries, changes, late, restless_next, .. } = self;
        let (cell, entry) = (&mut cells[id.0 as usize], &mut entries[id.0 as usize]);
        let is_heard = cell.listeners > 0;
        // Rows are as of the room's last publication, the stream may have been silent for longer.
        let (ticks, base) = (tick.since(self.published), tick.since(entry.published));

        late.clear();
        cell.dirty.sort_unstable();
        for &slot in &cell.dirty {
            if let Some(residual) = table.residual(world, slot, ticks) {
                late.push((slot, residual));
                continue;
            }
            table.predict(slot, ticks);
            if table.moves(slot) || table.slot(slot).place != id {
                restless_next.push(slot);
            }
        }
        let turn = match is_heard {
            true => Turn::take(&mut cell.next_row, ROWS_MAX, late.len(), |at| late[at].0),
            false => Turn::of_all(late.len()),
        };
        changes.clear();
        let mut searched = 0;
        for (at, &(slot, ref residual)) in late.iter().enumerate() {
            if turn.has(at) {
                let found = cell.members[searched..].binary_search(&slot);
                searched += found.expect("who is dirty here is a member") + 1;
                changes.push(searched as u32 - 1, table.slot(slot).kind, *residual);
                table.correct(slot, ticks, residual);
            } else {
                table.predict(slot, ticks);
            }
            if !turn.has(at) || table.moves(slot) || table.slot(slot).place != id {
                restless_next.push(slot);
            }
        }
        let members_before = cell.members.len();
        cell.leaves.sort_unstable_by_key(|leave| leave.slot);
        remove_sorted(&mut cell.members, &cell.leaves);
        insert_sorted(&mut cell.members, &cell.enters);
        for &slot in &cell.enters {
            table.enter(world, slot);
            if table.moves(slot) {
                restless_next.push(slot);
            }
        }

        let says_sum = std::mem::take(&mut cell.says_sum) && is_heard;
        let changed = says_sum
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
                base,
                sum: says_sum.then(|| table.sum(&cell.members)),
                changes,
                members: members_before,
                leaves: &cell.leaves,
            };
            let enters = cell.enters.iter().map(|&slot| table.entity(world, slot));
            put_delta(&mut segments.bytes, &table.shapes, &delta, enters);
            for Happening { kind, payload, .. } in happened {
                let (kind, payload) = world.transient_parts(kind, payload);
                put_transient(&mut segments.bytes, id, kind, payload);
            }
            entry.delta = span(start, segments.bytes.len());
            entry.base = base;
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
