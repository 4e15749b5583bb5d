//! The streams of a slower rate: those of [`Rate::One`] with ticks left out.
//!
//! At its own ticks a slower stream says what leads from the cell as it said it last to the cell as rate 1 has published it by now, crowds and
//! their turns included. So at each of its ticks both are the same in every row and every member, and who holds one can go
//! on with the other. It looks at nothing but the slots of which rate 1 had something to say since.
//!
//! Entities that cross between cells of different rates are the delicate part. A client takes them for [on their way] until the
//! other cell speaks. So a cell that somebody came to and left again between two of its ticks speaks all the same; and who
//! left a cell and came back is told to have done so, since the client may have taken it away meanwhile.
//!
//! [on their way]: tickyard_protocol::replica::Replica::entities

use tickyard_protocol::delta::{Changes, Leave, Row};
use tickyard_protocol::types::{CellId, Tick};

use super::NOWHERE;
use super::streams::{Streams, Words};
use super::table::{Published, Table, difference};
use crate::bridge::{Rate, Segments};
use crate::game::World;
use crate::sim::counts::RoomCounts;

/// The streams of a slower rate.
#[derive(Debug)]
pub struct Slower {
    pub rate: Rate,
    pub streams: Streams,
    /// By slot: as it was said last.
    slots: Vec<Told>,
    rows: Vec<i32>,
    stride: usize,
    /// Slots of which rate 1 has said something since, each once.
    noted: Vec<u32>,
    changes: Changes,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    /// The cell that lists it.
    home: CellId,
    generation: u8,
    kind: u8,
    is_noted: bool,
    has_moved: bool,
    /// The row is as of then, and has gone on as predicted.
    at: Tick,
}

impl Slower {
    /// As all is published now.
    pub fn new(rate: Rate, table: &Table, streams: &Streams) -> Slower {
        let at = streams.published();
        let told = |&Published { home, generation, kind, .. }: &Published| Told {
            home,
            generation,
            kind,
            is_noted: false,
            has_moved: false,
            at,
        };
        let slots = table.iter().map(|(_, published)| told(published)).collect();
        let (rows, stride) = table.rows();
        Slower {
            rate,
            streams: Streams::as_of(at, streams),
            slots,
            rows: rows.to_vec(),
            stride,
            noted: Vec::new(),
            changes: Changes::default(),
        }
    }

    /// Rate 1 said that an entity is not as predicted.
    pub fn note(&mut self, slot: u32) {
        let at = slot as usize;
        if at >= self.slots.len() {
            let nothing = Told {
                home: NOWHERE,
                generation: 0,
                kind: 0,
                is_noted: false,
                has_moved: false,
                at: Tick(0),
            };
            self.slots.resize(at + 1, nothing);
            self.rows.resize((at + 1) * self.stride, 0);
        }
        if !std::mem::replace(&mut self.slots[at].is_noted, true) {
            self.noted.push(slot);
        }
    }

    /// Rate 1 said that an entity left one cell for another; each may be [`NOWHERE`].
    pub fn note_move(&mut self, slot: u32, from: CellId, to: CellId) {
        self.note(slot);
        self.slots[slot as usize].has_moved = true;
        if from != NOWHERE && to != NOWHERE {
            self.streams.activate(to).answers = true;
        }
    }

    /// The members of a cell are nowhere from now on.
    pub fn abandon(&mut self, cell: CellId) {
        let Some(stream) = self.streams.get(cell) else { return };
        for slot in stream.members.drain(..) {
            self.slots[slot as usize].home = NOWHERE;
        }
    }

    /// Publishes as of what rate 1 has just published.
    pub fn publish<T>(
        &mut self,
        world: &World<T>,
        table: &Table,
        tick: Tick,
        segments: &mut Segments,
        counts: &mut RoomCounts,
    ) {
        self.collect(table);
        self.streams.prepare(tick);
        let active = std::mem::take(&mut self.streams.active);
        for &cell in &active {
            self.compare(table, tick, cell);
            let words = Words { world, table, changes: &self.changes };
            self.streams.say(cell, tick, words, segments, counts);
        }
        self.streams.active = active;
        self.streams.finish(tick);
    }

    /// Sorts what was noted into its cells.
    fn collect(&mut self, table: &Table) {
        let mut noted = std::mem::take(&mut self.noted);
        for slot in noted.drain(..) {
            let told = &mut self.slots[slot as usize];
            told.is_noted = false;
            let before = *told;
            let now = *table.get(slot).expect("rate 1 said something of it");
            if !std::mem::take(&mut told.has_moved) {
                if before.home != NOWHERE {
                    self.streams.activate(before.home).dirty.push(slot);
                }
                continue;
            }
            (told.home, told.generation, told.kind) = (now.home, now.generation, now.kind);
            if before.home != NOWHERE {
                let is_same = now.home != NOWHERE && now.generation == before.generation;
                let to = (is_same && now.home != before.home).then_some(now.home);
                self.streams.activate(before.home).leaves.push(Leave { slot, to });
            }
            if now.home != NOWHERE {
                self.streams.activate(now.home).enters.push(slot);
            }
        }
        self.noted = noted;
    }

    /// Finds what is not as clients predict it, and takes it over.
    fn compare(&mut self, table: &Table, tick: Tick, id: CellId) {
        let cell = self.streams.cell(id);
        self.changes.clear();
        let mut searched = 0;
        cell.dirty.sort_unstable();
        for &slot in &cell.dirty {
            let told = &mut self.slots[slot as usize];
            let now = table.row(slot);
            let before = &mut self.rows[slot as usize * self.stride..][..now.len()];
            let (shape, ticks) = (&table.shapes[told.kind], tick.since(told.at));
            let mut row = Row::default();
            row[..now.len()].copy_from_slice(now);
            let Some(residual) = difference(shape, before, ticks, row) else { continue };
            let found = cell.members[searched..].binary_search(&slot);
            searched += found.expect("who is dirty here is a member") + 1;
            self.changes.push(searched as u32 - 1, told.kind, residual);
            before.copy_from_slice(now);
            told.at = tick;
        }
        cell.enters.sort_unstable();
        for &slot in &cell.enters {
            let now = table.row(slot);
            self.rows[slot as usize * self.stride..][..now.len()].copy_from_slice(now);
            self.slots[slot as usize].at = tick;
        }
    }
}
