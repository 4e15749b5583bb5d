//! Rates: a slower stream is the one of rate 1 with ticks left out, and nobody blinks who crosses between two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickyard_protocol::types::{CellId, EntityId, Tick};

use super::listener::Listener;
use super::walk::Walk;
use super::{Play, Weather};
use crate::bridge::Rate;
use crate::sim::Room;

/// Where everything was lately: what a client has to show follows from it.
#[derive(Default)]
pub struct Trail {
    /// By publication, newest last.
    places: VecDeque<(Tick, BTreeMap<EntityId, CellId>)>,
    /// Entities that crossed while a client held both cells.
    pub followed: usize,
}

/// What a client holds and shows.
pub struct Look {
    held: BTreeSet<CellId>,
    shown: BTreeSet<EntityId>,
}

impl Trail {
    pub fn push(&mut self, room: &Room<Walk>) {
        let there = room.world().iter().map(|(id, _)| id);
        let placed = there.filter_map(|id| Some((id, room.publisher.place(id)?))).collect();
        self.places.push_back((room.tick, placed));
        if self.places.len() > REMEMBERED {
            self.places.pop_front();
        }
    }

    pub fn look(&self, listener: &Listener) -> Look {
        let shown: Vec<_> = listener.replica.entities().map(|entity| entity.id).collect();
        let held = listener.replica.cells().iter().map(|held| held.cell).collect();
        let look = Look { held, shown: shown.iter().copied().collect() };
        assert_eq!(look.shown.len(), shown.len(), "each is shown once");
        look
    }

    /// Who was shown before a message, and was in cells that the client has held ever since all it holds is from, is shown
    /// after it.
    pub fn judge(&mut self, listener: &mut Listener, before: Look, complete: bool) {
        let now = self.look(listener);
        let replica = &listener.replica;
        if !listener.snapshots.is_empty() || listener.complete_at.is_none() {
            // A snapshot says nothing of where those have gone that it does not list.
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
        let mut play = Play::new(far as u64, 60, 4, far);
        for _ in 0..400 {
            play.step(Weather { missed: 20, cut: 0, undelivered: 0, moves: 2, rates: 10 });
        }
        assert!(play.trail.followed > 100, "{far:?}: {}", play.trail.followed);
        assert!(play.compared > 100, "{far:?}: {}", play.compared);
        play.check();
    }
}
