//! The streams of one rate, one per cell: who is listed, who hears it, and what is said.

use std::ops::Range;

use tickyard_protocol::delta::{Changes, Delta, Leave, put_delta};
use tickyard_protocol::tick::put_transient;
use tickyard_protocol::types::{CellId, Tick};

use super::SUM_TICKS;
use super::table::Table;
use crate::bridge::{CellEntry, Segments, Span};
use crate::game::World;
use crate::sim::counts::RoomCounts;

/// The streams of a rate.
#[derive(Debug, Default)]
pub struct Streams {
    cells: Vec<Stream>,
    /// By cell: what the next batch says of it. The spans are cleared at the next publication.
    entries: Vec<CellEntry>,
    /// Cells whose entries have spans.
    spoken: Vec<CellId>,
    /// Cells that may have something to say this time, each once.
    pub active: Vec<CellId>,
    /// Cells that owe their sum, by the tick modulo [`SUM_TICKS`] at which they will say it. A cell has its own such
    /// tick, so that not all say it at once.
    sums_owed: [Vec<CellId>; SUM_TICKS as usize],
    happenings: Vec<Happening>,
    happened: Vec<u8>,
    /// Happenings that have been said.
    told: usize,
    published: Tick,
}

/// A cell, as those know it who hear it at this rate.
#[derive(Debug, Default)]
pub struct Stream {
    /// Slots, ascending.
    pub members: Vec<u32>,
    /// Players who hear it at this rate.
    pub listeners: u32,
    is_active: bool,
    owes_sum: bool,
    says_sum: bool,
    /// It has to say that it is as of now, though nothing may have changed.
    pub answers: bool,
    /// Of this publication: members that may differ from the prediction, who leaves and who enters.
    pub dirty: Vec<u32>,
    pub leaves: Vec<Leave>,
    pub enters: Vec<u32>,
}

/// A transient block on its way into its cell's segment.
#[derive(Clone, Debug)]
struct Happening {
    cell: CellId,
    block: Range<u32>,
}

/// What a cell says, beside who comes and who goes.
pub struct Words<'a, T> {
    pub world: &'a World<T>,
    /// With all rows as of now.
    pub table: &'a Table,
    pub changes: &'a Changes,
}

impl Streams {
    /// As of a tick: members as others list them, and nobody who listens.
    pub fn as_of(published: Tick, others: &Streams) -> Streams {
        let stream = |other: &Stream| Stream { members: other.members.clone(), ..Stream::default() };
        let cells = others.cells.iter().map(stream).collect();
        let entry = CellEntry { published, ..CellEntry::default() };
        Streams { cells, entries: vec![entry; others.entries.len()], published, ..Streams::default() }
    }

    /// When they were told last what to say.
    pub fn published(&self) -> Tick {
        self.published
    }

    pub fn get(&mut self, cell: CellId) -> Option<&mut Stream> {
        self.cells.get_mut(cell.0 as usize)
    }

    pub fn cell(&mut self, cell: CellId) -> &mut Stream {
        let at = cell.0 as usize;
        if at >= self.cells.len() {
            self.cells.resize_with(at + 1, Stream::default);
            self.entries.resize(at + 1, CellEntry::default());
        }
        &mut self.cells[at]
    }

    /// A cell that may have something to say.
    pub fn activate(&mut self, id: CellId) -> &mut Stream {
        if !std::mem::replace(&mut self.cell(id).is_active, true) {
            self.active.push(id);
        }
        &mut self.cells[id.0 as usize]
    }

    /// Something happens in a cell.
    pub fn happen(&mut self, cell: CellId, kind: &str, payload: &[u8]) {
        if self.activate(cell).listeners > 0 {
            let start = self.happened.len() as u32;
            put_transient(&mut self.happened, cell, kind, payload);
            self.happenings.push(Happening { cell, block: start..self.happened.len() as u32 });
        }
    }

    /// What the last batch said is not said again.
    pub fn clear_entries(&mut self) {
        for cell in self.spoken.drain(..) {
            let entry = &mut self.entries[cell.0 as usize];
            *entry = CellEntry { published: entry.published, ..CellEntry::default() };
        }
    }

    /// Puts what there is to say in order, cell by cell, with the sums that are due. Then [`Streams::say`] is to be called for each
    /// cell of `active`, in that order, and [`Streams::finish`].
    pub fn prepare(&mut self, tick: Tick) {
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
        self.active.sort_unstable();
        // By cell, then as they happened. A stable sort would allocate.
        self.happenings.sort_unstable_by_key(|happening| (happening.cell, happening.block.end));
        self.told = 0;
    }

    /// Moves a cell's members on, and appends its delta if there is anything to say and somebody who hears it.
    pub fn say<T>(
        &mut self,
        id: CellId,
        tick: Tick,
        words: Words<T>,
        segments: &mut Segments,
        counts: &mut RoomCounts,
    ) {
        let Words { world, table, changes } = words;
        let (cell, entry) = (&mut self.cells[id.0 as usize], &mut self.entries[id.0 as usize]);
        let here = self.happenings[self.told..].iter().take_while(|happening| happening.cell == id).count();
        let happened = &self.happenings[self.told..][..here];
        self.told += here;

        let members_before = cell.members.len();
        cell.leaves.sort_unstable_by_key(|leave| leave.slot);
        remove_sorted(&mut cell.members, &cell.leaves);
        insert_sorted(&mut cell.members, &cell.enters);

        let is_heard = cell.listeners > 0;
        let says_sum = std::mem::take(&mut cell.says_sum) && is_heard;
        let has_changed =
            !(changes.is_empty() && cell.leaves.is_empty() && cell.enters.is_empty() && happened.is_empty());
        let publishes = std::mem::take(&mut cell.answers) || says_sum || has_changed;
        let has_spoken = publishes && is_heard;
        if publishes {
            // The stream may have been silent for longer than the room.
            let base = tick.since(entry.published);
            entry.published = tick;
            if is_heard {
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
                for Happening { block, .. } in happened {
                    let block = &self.happened[block.start as usize..block.end as usize];
                    segments.bytes.extend_from_slice(block);
                }
                entry.delta = span(start, segments.bytes.len());
                entry.base = base;
                self.spoken.push(id);
                counts.deltas += 1;
            }
        }
        cell.is_active = false;
        cell.dirty.clear();
        cell.leaves.clear();
        cell.enters.clear();
        if has_spoken && !says_sum {
            self.owe_sum(id);
        }
    }

    /// Whether who hears a cell is still to hear its sum.
    pub fn owes_sum(&mut self, cell: CellId) -> bool {
        self.cell(cell).owes_sum
    }

    /// A cell will say its sum when it is its turn.
    pub fn owe_sum(&mut self, cell: CellId) {
        if !std::mem::replace(&mut self.cell(cell).owes_sum, true) {
            self.sums_owed[(cell.0 % SUM_TICKS) as usize].push(cell);
        }
    }

    /// All has been said as of a tick.
    pub fn finish(&mut self, tick: Tick) {
        self.active.clear();
        self.happenings.clear();
        self.happened.clear();
        self.published = tick;
    }

    /// A snapshot of the cell was appended.
    pub fn snapshot(&mut self, cell: CellId, start: usize, end: usize) {
        self.entries[cell.0 as usize].snapshot = span(start, end);
        self.spoken.push(cell);
    }

    pub fn entries(&self) -> &[CellEntry] {
        &self.entries
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
