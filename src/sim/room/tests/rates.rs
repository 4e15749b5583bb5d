//! Rates: a slower stream is the one of rate 1 with ticks left out, and nobody blinks who crosses between two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickyard_protocol::repair::{Repair, RepairWhy};
use tickyard_protocol::tick::Blocks;
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Tick};

use super::listener::{Fanout, Listener};
use super::stage::{Stage, conn, dot, part, snapshots};
use super::walk::Walk;
use super::{CALM, Play, Weather};
use crate::bridge::{Ask, Rate, Segments};
use crate::game::{self, Place};
use crate::sim::{AnyRoom, Room};

/// Where everything was lately: what a client has to show follows from it.
#[derive(Default)]
pub struct Trail {
    /// By publication, newest last.
    places: VecDeque<(Tick, BTreeMap<EntityId, CellId>)>,
    /// Some cells are told less often than others.
    has_slower: bool,
    /// Entities that crossed while a client held both cells.
    pub followed: usize,
}

/// What a client holds and shows.
pub struct Look {
    held: BTreeSet<CellId>,
    shown: BTreeSet<EntityId>,
}

impl Trail {
    pub fn push(&mut self, room: &Room<Walk>, segments: &Segments) {
        let there = room.world().iter().map(|(id, _)| id);
        let placed = there.filter_map(|id| Some((id, room.publisher.place(id)?))).collect();
        self.places.push_back((room.tick, placed));
        self.has_slower = segments.slower.iter().any(|slower| !slower.cells.is_empty());
        if self.places.len() > REMEMBERED {
            self.places.pop_front();
        }
    }

    pub fn look<S>(&self, listener: &Listener<S>) -> Look {
        let shown: Vec<_> = listener.replica.entities().map(|entity| entity.id).collect();
        let held = listener.replica.cells().iter().map(|held| held.cell).collect();
        let look = Look { held, shown: shown.iter().copied().collect() };
        assert_eq!(look.shown.len(), shown.len(), "each is shown once");
        look
    }

    /// Who was shown before a message, and was in cells that the client has held ever since all it holds is from, is shown
    /// after it.
    pub fn judge<S>(&mut self, listener: &mut Listener<S>, before: Look, complete: bool) {
        let now = self.look(listener);
        let replica = &listener.replica;
        let is_even = complete || !self.has_slower;
        if listener.came_whole || !is_even || listener.complete_at.is_none() {
            // A snapshot says nothing of where those have gone that it does not list. Nor does a slower cell of those who were in it between
            // two of its ticks: where they are by then another cell says, for which there was no room.
            listener.complete_at = complete.then(|| replica.header().tick);
            return;
        }
        let (_, newest) = self.places.back().expect("a publication was heard");
        for &id in &before.shown {
            let since = listener.complete_at.expect("it is set");
            let lately = self
                .places
                .iter()
                .rev()
                .take_while(|(tick, _)| (since.before(LATE_TICKS).since(*tick) as i32) <= 0);
            let mut cells = BTreeSet::new();
            let is_followed = newest.contains_key(&id)
                && lately.map(|(_, places)| places.get(&id)).all(|cell| {
                    cell.is_some_and(|cell| {
                        cells.insert(*cell);
                        before.held.contains(cell) && now.held.contains(cell)
                    })
                });
            if is_followed {
                assert!(now.shown.contains(&id), "{id:?} blinks at {:?}", replica.header().tick);
                self.followed += (cells.len() > 1) as usize;
            }
        }
        if complete {
            listener.complete_at = Some(replica.header().tick);
        }
    }
}

/// Longer ago than any stream is behind, when all that it has said is known.
const LATE_TICKS: u32 = 16;
const REMEMBERED: usize = 200;

#[test]
fn who_crosses_between_cells_of_different_rates_is_shown_all_the_while() {
    for far in [Rate::Two, Rate::Four, Rate::Eight] {
        let mut play = Play::<Fanout>::new(far as u64, 60, 4, far);
        for _ in 0..400 {
            play.step(Weather { missed: 20, rates: 10, moves: 2, ..CALM });
        }
        play.step(CALM);
        assert!(play.trail.followed > 100, "{far:?}: {}", play.trail.followed);
        assert!(play.compared > 100, "{far:?}: {}", play.compared);
        play.check();
    }
}

#[test]
fn who_keeps_up_needs_no_snapshot_when_a_rate_changes() {
    for seed in 0..8 {
        let mut play = Play::<Fanout>::new(seed, 60, 4, Rate::ALL[seed as usize % 4]);
        for _ in 0..300 {
            play.step(Weather { rates: 30, moves: 2, ..CALM });
        }
        play.check();
        assert_eq!(play.room.counts.wants, 0);
    }
}

#[test]
fn segments_are_encoded_for_each_rate_that_somebody_hears_and_each_once() {
    let encoded = |listeners: [u32; 4]| {
        let mut stage = Stage::new();
        let rates = Rate::ALL.iter().zip(listeners);
        let rates: Vec<Rate> =
            rates.flat_map(|(&rate, count)| std::iter::repeat_n(rate, count as usize)).collect();
        for (at, &rate) in (0..).zip(&rates) {
            stage.join(conn(at));
            stage.ask(conn(at), Ask::Rate(rate));
            stage.deed(move |world| world.look(PlayerId(at + 1), game::Look::At(150, 0)));
        }
        let id = stage.spawn(dot(150));
        // Until each hears it at its own rate.
        (0..15).for_each(|_| _ = stage.step());
        stage.room.take_counts();
        for x in 0..48 {
            stage.now(move |world| world.get_mut(id).unwrap().row[0] = x);
        }
        stage.room.take_counts().deltas
    };
    assert_eq!(encoded([0, 0, 0, 0]), 0);
    assert_eq!(encoded([1, 0, 0, 0]), 48);
    assert_eq!(encoded([0, 0, 1, 0]), 12);
    assert_eq!(encoded([1, 1, 1, 1]), 48 + 24 + 12 + 6);
    assert_eq!(encoded([9, 20, 0, 40]), 48 + 24 + 6);
}

#[test]
fn a_slower_cell_says_at_its_tick_what_happened_since() {
    let mut stage = Stage::of(1);
    stage.ask(conn(0), Ask::Rate(Rate::Four));
    stage.look(0, game::Look::At(50, 0));
    while !stage.room.tick.0.is_multiple_of(4) {
        stage.step();
    }
    let mut happened = Vec::new();
    for number in 0..8 {
        let (_, batch) = stage.now(move |world| world.transient(Place::At(50, 0), "", &[number]));
        let entry = batch.segments.stream(CellId(1), Rate::Four);
        let blocks = Blocks::new(batch.segments.slice(entry.delta)).map(Result::unwrap);
        happened.push(blocks.skip(1).map(|(_, bytes)| bytes[2]).collect::<Vec<_>>());
        assert!(batch.segments.cell(CellId(1)).delta.is_empty());
    }
    let nothing = vec![];
    assert_eq!(happened[..4], [nothing.clone(), nothing.clone(), nothing, vec![0, 1, 2, 3]]);
    assert_eq!(happened[7], [4, 5, 6, 7]);
}

#[test]
fn what_is_near_is_told_at_every_tick_and_what_is_far_as_the_game_says() {
    let mut stage = Stage::far(Rate::Four);
    stage.join(conn(0));
    stage.deed(|world| world.look(PlayerId(1), game::Look::At(250, 0)));
    stage.step();
    let told_at = |stage: &mut Stage, x: i32| {
        stage.deed(move |world| world.look(PlayerId(1), game::Look::At(x, 0)));
        (0..4).for_each(|_| _ = stage.step());
        let seat = &stage.room.seats[0];
        let mut told: Vec<_> = seat.view.iter().map(|(cell, rate)| (cell.0, rate.ticks())).collect();
        told.sort();
        told
    };
    // The square from 200 to 299 is cell 3.
    assert_eq!(told_at(&mut stage, 250), [(0, 1), (2, 4), (3, 1), (4, 4)]);
    assert_eq!(told_at(&mut stage, 274), [(0, 1), (2, 4), (3, 1), (4, 4)]);
    assert_eq!(told_at(&mut stage, 275), [(0, 1), (2, 4), (3, 1), (4, 1)]);
    // Near stays near for another eighth of a cell.
    assert_eq!(told_at(&mut stage, 263), [(0, 1), (2, 4), (3, 1), (4, 1)]);
    assert_eq!(told_at(&mut stage, 262), [(0, 1), (2, 4), (3, 1), (4, 4)]);
    assert_eq!(told_at(&mut stage, 350), [(0, 1), (3, 4), (4, 1), (5, 4)]);
}

#[test]
fn a_repair_tells_all_cells_within_a_tick_also_those_that_are_heard_less_often() {
    let mut stage = Stage::of(1);
    stage.ask(conn(0), Ask::Rate(Rate::Eight));
    stage.look(0, game::Look::At(150, 0));
    while stage.room.tick != Tick(10) {
        stage.step();
    }
    let repair = Repair { why: RepairWhy::Sum, tick: stage.room.tick, cells: Vec::new() };
    stage.ask(conn(0), Ask::Repair(Box::new(repair)));
    let batch = stage.step();
    assert_eq!(snapshots(&batch), [0, 1, 2, 3]);
    let view = part(&batch, conn(0)).view.expect("its rates have changed").range();
    assert!(view.map(|at| batch.rate(at)).all(|rate| rate == Rate::One));
    let batch = (0..5).map(|_| stage.step()).last().unwrap();
    let view = part(&batch, conn(0)).view.expect("and change again").range();
    assert!(view.map(|at| batch.rate(at)).all(|rate| rate == Rate::Eight));
}

#[test]
fn a_step_of_several_ticks_publishes_what_it_passes() {
    let publishes = |last, now| Rate::ALL.map(|rate| rate.publishes(Tick(last), Tick(now)));
    assert_eq!(publishes(15, 16), [true; 4]);
    assert_eq!(publishes(14, 17), [true; 4]);
    assert_eq!(publishes(16, 17), [true, false, false, false]);
    assert_eq!(publishes(17, 19), [true, true, false, false]);
    assert_eq!(publishes(17, 21), [true, true, true, false]);
    assert_eq!(publishes(u32::MAX, 0), [true; 4]);
}
