//! The world of a bot that is checked: kept from tick messages, summed up, and compared at the end.
//!
//! A [`World`] takes what an [`Ear`](crate::ear::Ear) has heard already. At rest it is frozen: each cell is copied and asked for again, and the
//! snapshot that comes is compared with the copy.

use crate::check::Pair;
use crate::measure::Tally;
use crate::rooms::Room;
use crate::rules::Rules;
use std::rc::Rc;
use tickyard::time::Time;
use tickyard_protocol::bytes::Malformed;
use tickyard_protocol::fields::{Kind, Shapes};
use tickyard_protocol::repair::Mismatch;
use tickyard_protocol::replica::{Counts, HeldCell, Replica};
use tickyard_protocol::types::{CellId, Tick};

/// What a checked bot knows of its room.
pub struct World {
    bot: u32,
    room: Room,
    replica: Replica,
    counts: Counts,
    rules: Rc<Rules>,
    /// Copies of the cells of which a snapshot is awaited.
    frozen: Vec<HeldCell>,
    wants: Vec<CellId>,
}

impl World {
    /// Nothing is known yet.
    pub fn new(bot: u32, room: Room, rules: Rc<Rules>) -> Self {
        let (replica, counts) = (Replica::new(rules.shapes.clone()), Counts::default());
        World { bot, room, replica, counts, rules, frozen: Vec::new(), wants: Vec::new() }
    }

    /// The world itself.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// How long the rows in it are.
    pub fn shapes(&self) -> &Shapes {
        &self.rules.shapes
    }

    /// How to speak of what is in it.
    pub fn kinds(&self) -> &[Kind] {
        &self.rules.schema.kinds
    }

    /// Whether each cell of the view is held.
    pub fn is_complete(&self) -> bool {
        self.replica.view().iter().all(|&cell| self.replica.cell(cell).is_some())
    }

    /// Keeps a copy of each cell and wants all of them again. What was told of the own entity must be as in its cell.
    pub fn freeze(&mut self, tally: &mut Tally) {
        self.frozen = self.replica.cells().to_vec();
        self.wants = self.frozen.iter().map(|held| held.cell).collect();
        let Some(own) = self.replica.own() else { return };
        let listed = self.replica.entities().find(|member| member.id == own.id);
        if listed.is_some_and(|listed| listed.row != own.row) {
            let (bot, slot) = (self.bot, own.id.slot);
            tally
                .violations
                .add(|| format!("bot {bot}: its own entity {slot} differs from the one in its cell"));
        }
    }

    /// The cells that were asked for and have not come.
    pub fn awaited(&self) -> usize {
        self.frozen.len()
    }

    /// Cells of which a snapshot is wanted for the comparison; empties the list.
    pub fn take_wants(&mut self) -> Vec<CellId> {
        std::mem::take(&mut self.wants)
    }

    /// What did not agree with the server since the last call.
    pub fn take_mismatch(&mut self) -> Option<Mismatch> {
        self.replica.take_mismatch()
    }

    /// Takes what the ear has heard already; `found` is how many violations it found in it.
    pub fn hear(
        &mut self,
        now: Time,
        message: &[u8],
        found: u64,
        tally: &mut Tally,
    ) -> Result<(), Malformed> {
        let bot = self.bot;
        self.replica.apply(message, &mut ())?;
        let counts = self.replica.counts();
        let before = std::mem::replace(&mut self.counts, counts);
        let tick = self.replica.header().tick;
        for _ in found..counts.violations - before.violations {
            tally
                .violations
                .add(|| format!("bot {bot}: a block at tick {} does not fit the world that is held", tick.0));
        }
        for _ in before.desyncs..counts.desyncs {
            tally.violations.add(|| format!("bot {bot}: a sum differs at tick {}", tick.0));
        }
        tally.desyncs += counts.desyncs - before.desyncs;
        tally.sums_checked += counts.sums_checked - before.sums_checked;
        if tally.is_open() {
            tally.traffic.rows_changed += counts.rows_changed - before.rows_changed;
            let in_view = self.replica.cells().iter().map(|held| held.members.len() as u64);
            tally.traffic.in_view += in_view.sum::<u64>();
            tally.traffic.views += 1;
        }
        if !tally.news.deltas.is_empty() {
            tally.changed_at = now;
        }
        self.agree(tick, tally);
        Ok(())
    }

    /// Compares what was asked for with the copies, and renews the copies of what went on.
    fn agree(&mut self, tick: Tick, tally: &mut Tally) {
        let Tally { agreement, news, .. } = tally;
        for &cell in &news.deltas {
            agreement.saw_change(self.room, cell, tick);
        }
        if self.frozen.is_empty() {
            return;
        }
        let who = format_args!("bot {}", self.bot);
        for &cell in &news.snapshots {
            let Some(at) = self.frozen.iter().position(|held| held.cell == cell) else { continue };
            let mut held = self.frozen.swap_remove(at);
            let Some(told) = self.replica.cell(cell) else { continue };
            held.predict_to(told.held, &self.rules.shapes);
            let kinds = &self.rules.schema.kinds;
            agreement.compare(&Pair { who: &who, room: self.room, held: &held, told, kinds });
        }
        for held in self.frozen.iter_mut().filter(|held| news.deltas.contains(&held.cell)) {
            if let Some(now) = self.replica.cell(held.cell) {
                held.clone_from(now);
            }
        }
        self.frozen.retain(|held| self.replica.view().contains(&held.cell));
    }
}
