//! What changed, as streams: one per cell and rate, encoded once for all who hear it (PROTOCOL.md, section 5).
//!
//! The [`Publisher`] keeps every entity's row as it was published last. At a publication it looks at what was touched, at what
//! moves by itself and at what waits for its turn, and at nothing else: a world at rest costs nothing. A cell's rows, members and
//! time of publication go on whether or not somebody hears the cell; only the bytes are left out while nobody does. So
//! whoever hears it next gets a snapshot, and the stream goes on from there as if it had been heard all the time.
//!
//! A cell whose members all go on as predicted is silent. In a crowd who changed waits for its [turn](turns): clients predict on,
//! and so does the table. [Slower](slower) rates say what rate 1 has published, and no more than that.

use std::ops::Range;

use tickyard_protocol::delta::{Changes, Leave, Row, put_snapshot};
use tickyard_protocol::fields::{Kinds, Shapes};
use tickyard_protocol::types::{CellId, EntityId, Tick};

use slower::Slower;
use streams::{Streams, Words};
use table::Table;
use turns::{ENTERS_MAX, ROWS_MAX, Turn};

use super::counts::{Digest, RoomCounts};
use crate::bridge::{Rate, Segments};
use crate::game::World;
use crate::stage::{Stage, Stages};

mod slower;
mod streams;
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
    /// Those of rate 1.
    streams: Streams,
    /// Those of other rates that are in use.
    slower: Vec<Slower>,
    /// Cells of which a snapshot is wanted, each once.
    wanted: Vec<CellId>,
    /// Slots to look at although nobody touches them: their rows as published move by themselves, or what was published is
    /// not what is in the world.
    restless: Vec<u32>,
    restless_next: Vec<u32>,
    happenings: Vec<Happening>,
    /// Kept for their memory.
    changes: Changes,
    late: Vec<(u32, Row)>,
}

/// What concerns a cell at whichever rate it is heard.
#[derive(Clone, Debug, Default)]
struct Cell {
    is_wanted: bool,
    /// The slots with which the next turns begin.
    next_row: u32,
    next_enter: u32,
}

/// A transient message; kind and payload are ranges of the world's bytes.
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
            streams: Streams::default(),
            slower: Vec::new(),
            wanted: Vec::new(),
            restless: Vec::new(),
            restless_next: Vec::new(),
            happenings: Vec::new(),
            changes: Changes::default(),
            late: Vec::new(),
        }
    }

    /// Cells can be heard at this rate from now on. A rate that nobody uses costs nothing.
    pub fn open(&mut self, rate: Rate) {
        if rate != Rate::One && self.slower.iter().all(|slower| slower.rate != rate) {
            self.slower.push(Slower::new(rate, &self.table, &self.streams));
        }
    }

    /// A player hears a cell from now on.
    pub fn hear(&mut self, cell: CellId, rate: Rate) {
        self.of_rate(rate).cell(cell).listeners += 1;
    }

    /// A player hears a cell no more.
    pub fn unhear(&mut self, cell: CellId, rate: Rate) {
        self.of_rate(rate).cell(cell).listeners -= 1;
    }

    /// A player goes on with a cell at another rate. The sum that it was to hear it hears there.
    pub fn change_rate(&mut self, cell: CellId, before: Rate, rate: Rate) {
        self.hear(cell, rate);
        self.unhear(cell, before);
        if self.of_rate(before).owes_sum(cell) {
            self.of_rate(rate).owe_sum(cell);
        }
    }

    /// Somebody needs all of a cell. Asking again is harmless.
    pub fn want(&mut self, cell: CellId) {
        let wanted = &mut self.cell(cell).is_wanted;
        if !std::mem::replace(wanted, true) {
            self.wanted.push(cell);
        }
    }

    /// Something happens in a cell; kind and payload are ranges of the world's bytes.
    pub fn happen(&mut self, cell: CellId, kind: Range<u32>, payload: Range<u32>) {
        self.happenings.push(Happening { cell, kind, payload });
    }

    /// The members of a cell are nowhere from now on: who saw them is gone.
    pub fn abandon(&mut self, cell: CellId) {
        self.slower.iter_mut().for_each(|slower| slower.abandon(cell));
        let Some(cell) = self.streams.get(cell) else { return };
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
        self.streams.clear_entries();
        self.collect(world, place);
        self.let_in();
        self.collect_happenings(world);
        self.streams.prepare(tick);

        stages.enter(Stage::Encode);
        let active = std::mem::take(&mut self.streams.active);
        for &cell in &active {
            self.correct(world, tick, cell);
            let words = Words { world, table: &self.table, changes: &self.changes };
            self.streams.say(cell, tick, words, segments, counts);
        }
        self.streams.active = active;
        self.publish_slower(world, tick, segments, counts);
        self.streams.finish(tick);
        std::mem::swap(&mut self.restless, &mut self.restless_next);
        self.restless_next.clear();
    }

    /// Appends the snapshots that are wanted, as of the publication just made, then tells of all cells.
    pub fn finish<T>(&mut self, world: &World<T>, segments: &mut Segments, counts: &mut RoomCounts) {
        self.wanted.sort_unstable();
        for cell in self.wanted.drain(..) {
            self.cells[cell.0 as usize].is_wanted = false;
            let (table, members) = (&self.table, &self.streams.cell(cell).members);
            let start = segments.bytes.len();
            put_snapshot(
                &mut segments.bytes,
                cell,
                table.sum(members),
                members.iter().map(|&slot| table.entity(world, slot)),
            );
            self.streams.snapshot(cell, start, segments.bytes.len());
            counts.snapshots += 1;
        }
        segments.cells.extend_from_slice(self.streams.entries());
        for slower in &self.slower {
            let told = &mut segments.slower[slower.rate as usize - 1];
            told.cells.extend_from_slice(slower.streams.entries());
            told.publishes = slower.streams.published() == self.streams.published();
        }
    }

    /// Whether a rate has just published. At a tick at which two have, a cell can go from one to the other.
    pub fn publishes(&self, rate: Rate) -> bool {
        let mut slower = self.slower.iter();
        slower.all(|slower| slower.rate != rate || slower.streams.published() == self.streams.published())
    }

    /// Whether a slower rate has just published.
    pub fn publishes_slower(&self) -> bool {
        self.slower.iter().any(|slower| slower.streams.published() == self.streams.published())
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
                    self.streams.activate(to).dirty.push(slot);
                }
            } else if to == NOWHERE {
                published.home = NOWHERE;
                self.streams.activate(from).leaves.push(Leave { slot, to: None });
                self.slower.iter_mut().for_each(|slower| slower.note_move(slot, from, to));
            } else {
                if let (NOWHERE, Some((generation, _))) = (from, here) {
                    published.generation = generation;
                }
                self.streams.activate(to).enters.push(slot);
            }
        }
        self.restless = restless;
    }

    /// Lets into each cell those who come, in a crowd those whose turn it is. The others stay where they were published.
    fn let_in(&mut self) {
        for at in 0..self.streams.active.len() {
            let to = self.streams.active[at];
            if self.streams.cell(to).enters.is_empty() {
                continue;
            }
            let mut come = std::mem::take(&mut self.streams.cell(to).enters);
            come.sort_unstable();
            let turn = if come.len() > ENTERS_MAX && is_heard(&mut self.streams, &mut self.slower, to) {
                Turn::take(&mut self.cell(to).next_enter, ENTERS_MAX, come.len(), |at| come[at])
            } else {
                Turn::of_all(come.len())
            };
            let mut at = 0;
            come.retain(|&slot| {
                let enters = turn.has(at);
                at += 1;
                let from = self.table.slot(slot).home;
                if enters {
                    self.table.slot(slot).home = to;
                    self.slower.iter_mut().for_each(|slower| slower.note_move(slot, from, to));
                }
                match (from, enters) {
                    (NOWHERE, true) => {}
                    (NOWHERE, false) => self.restless_next.push(slot),
                    (_, true) => self.streams.activate(from).leaves.push(Leave { slot, to: Some(to) }),
                    (_, false) => self.streams.activate(from).dirty.push(slot),
                }
                enters
            });
            self.streams.cell(to).enters = come;
        }
    }

    fn collect_happenings<T>(&mut self, world: &World<T>) {
        for Happening { cell, kind, payload } in self.happenings.drain(..) {
            let (kind, payload) = world.transient_parts(&kind, &payload);
            self.streams.happen(cell, kind, payload);
            self.slower.iter_mut().for_each(|slower| slower.streams.happen(cell, kind, payload));
        }
    }

    /// Finds out what a cell says of its members' rows, and moves them on.
    fn correct<T: Kinds>(&mut self, world: &World<T>, tick: Tick, id: CellId) {
        let Publisher { table, cells, streams, slower, changes, late, restless_next, .. } = self;
        // Rows are as of the room's last publication.
        let ticks = tick.since(streams.published());
        late.clear();
        let stream = streams.cell(id);
        stream.dirty.sort_unstable();
        for &slot in &stream.dirty {
            if let Some(residual) = table.residual(world, slot, ticks) {
                late.push((slot, residual));
                continue;
            }
            table.predict(slot, ticks);
            if table.moves(slot) || table.slot(slot).place != id {
                restless_next.push(slot);
            }
        }
        let turn = if late.len() > ROWS_MAX && is_heard(streams, slower, id) {
            let cell = grown(cells, id);
            Turn::take(&mut cell.next_row, ROWS_MAX, late.len(), |at| late[at].0)
        } else {
            Turn::of_all(late.len())
        };
        let stream = streams.cell(id);
        changes.clear();
        let mut searched = 0;
        for (at, &(slot, ref residual)) in late.iter().enumerate() {
            if turn.has(at) {
                let found = stream.members[searched..].binary_search(&slot);
                searched += found.expect("who is dirty here is a member") + 1;
                changes.push(searched as u32 - 1, table.slot(slot).kind, *residual);
                table.correct(slot, ticks, residual);
                slower.iter_mut().for_each(|slower| slower.note(slot));
            } else {
                table.predict(slot, ticks);
            }
            if !turn.has(at) || table.moves(slot) || table.slot(slot).place != id {
                restless_next.push(slot);
            }
        }
        for &slot in &stream.enters {
            table.enter(world, slot);
            if table.moves(slot) {
                restless_next.push(slot);
            }
        }
    }

    /// The rates whose tick it is; the others say nothing now.
    fn publish_slower<T>(
        &mut self,
        world: &World<T>,
        tick: Tick,
        segments: &mut Segments,
        counts: &mut RoomCounts,
    ) {
        let last = self.streams.published();
        for slower in &mut self.slower {
            slower.streams.clear_entries();
            if slower.rate.publishes(last, tick) {
                slower.publish(world, &self.table, tick, segments, counts);
            }
        }
    }

    fn of_rate(&mut self, rate: Rate) -> &mut Streams {
        match rate {
            Rate::One => &mut self.streams,
            _ => {
                let slower = self.slower.iter_mut().find(|slower| slower.rate == rate);
                &mut slower.expect("a rate is opened before it is heard").streams
            }
        }
    }

    fn cell(&mut self, cell: CellId) -> &mut Cell {
        grown(&mut self.cells, cell)
    }
}

fn grown(cells: &mut Vec<Cell>, cell: CellId) -> &mut Cell {
    let at = cell.0 as usize;
    if at >= cells.len() {
        cells.resize(at + 1, Cell::default());
    }
    &mut cells[at]
}

/// Whether somebody hears a cell, at whichever rate.
fn is_heard(streams: &mut Streams, slower: &mut [Slower], cell: CellId) -> bool {
    let slower = slower.iter_mut().map(|slower| &mut slower.streams);
    std::iter::once(streams).chain(slower).any(|streams| streams.cell(cell).listeners > 0)
}
