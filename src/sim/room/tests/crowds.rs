//! Crowds: what a cell says at once is bounded, everybody has a turn, and clients hold what was published.

use proptest::prelude::*;
use tickyard_protocol::replica::HeldCell;
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Tick};

use super::config;
use super::listener::{Kept, Listener, Plain, Side};
use super::stage::{Dot, Stage, conn, delta, deltas, dot, shapes};
use crate::bridge::{Ask, Rate, SharedBatch};
use crate::game::{Look, Place, Random, World};
use crate::sim::publish::turns::{ENTERS_MAX, ROWS_MAX};
use crate::sim::{AnyRoom, RoomConfig};

/// A crowd in two cells, somebody who keeps up, somebody who asks for snapshots all the time, and one who hears less often.
struct Crowd {
    stage: Stage,
    things: Vec<EntityId>,
    kept: Kept,
    /// The first keeps up, the second asks, the third hears at `rate`.
    listeners: [Listener; 3],
    rate: Rate,
}

impl Crowd {
    fn new(seed: u64) -> Crowd {
        let mut stage = Stage::with(RoomConfig { seed, ..config() });
        (0..3).for_each(|at| stage.join(conn(at)));
        let rate = Rate::ALL[seed as usize % 4];
        stage.ask(conn(2), Ask::Rate(rate));
        let (kept, listeners) = (Kept::default(), [0, 1, 2].map(|at| Listener::new(conn(at))));
        let mut crowd = Crowd { stage, things: Vec::new(), kept, listeners, rate };
        crowd.step(|_, _| ());
        crowd.step(|world, _| (1..=3).for_each(|player| world.look(PlayerId(player), Look::At(50, 0))));
        crowd
    }

    /// A tick of the room, in which this is done; then both hear of it.
    fn step(
        &mut self,
        deed: impl FnOnce(&mut World<Dot>, &mut Vec<EntityId>) + Send + 'static,
    ) -> SharedBatch {
        self.stage.ask(conn(1), Ask::Want([CellId(1), CellId(2)].into()));
        let mut things = std::mem::take(&mut self.things);
        let (things, batch) = self.stage.now(move |world| {
            deed(world, &mut things);
            things
        });
        self.things = things;
        Plain::keep(&mut self.kept, &batch);
        for listener in &mut self.listeners {
            listener.hear(&batch, &self.kept, usize::MAX);
            let counts = listener.replica.counts();
            assert_eq!((counts.violations, counts.desyncs), (0, 0));
        }
        self.compare_held(batch.tick());
        if batch.segments.publishes(self.rate) {
            self.compare_slower(batch.tick());
        }
        batch
    }

    /// Where both rates publish, who hears less often holds the same.
    fn compare_slower(&self, tick: Tick) {
        let [keeps_up, _, slower] = &self.listeners;
        let predicted = |held: &HeldCell| {
            let mut held = held.clone();
            held.predict_to(tick, &shapes());
            held
        };
        let cells = |listener: &Listener| listener.replica.cells().iter().map(predicted).collect::<Vec<_>>();
        assert_eq!(cells(keeps_up), cells(slower));
    }

    /// Deltas and predictions lead to what a snapshot says now.
    fn compare_held(&self, tick: Tick) {
        let [keeps_up, asks, _] = &self.listeners;
        for cell in asks.replica.cells().iter().filter(|cell| cell.held == tick) {
            let mut held = keeps_up.replica.cell(cell.cell).expect("they have one view").clone();
            held.predict_to(tick, &shapes());
            assert_eq!(&held, cell);
        }
    }

    /// The things that who keeps up does not see as they are.
    fn late(&self) -> Vec<EntityId> {
        let shown: Vec<_> = self.listeners[0].replica.entities().map(|e| (e.id, e.row)).collect();
        let is_late = |id: &&EntityId| {
            let Dot { row, .. } = self.stage.room.world().get(**id).expect("it is listed");
            !shown.iter().any(|(shown, as_shown)| shown == *id && as_shown[..2] == row[..])
        };
        self.things.iter().filter(is_late).copied().collect()
    }
}

/// All move on, and so many of a hundred turn.
fn move_on(world: &mut World<Dot>, things: &[EntityId], turning: u32) {
    for &id in things {
        let turns = world.random().below(100) < turning;
        let velocity = world.random().below(21) as i32 - 10;
        let row = &mut world.get_mut(id).expect("it is listed").row;
        if turns {
            row[1] = velocity;
        }
        row[0] += row[1];
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_a_crowd_every_change_has_its_turn_and_clients_hold_what_is_published(
        seed: u64,
        members in 1usize..600,
        turning in prop_oneof![Just(100u32), 0u32..60],
        luck: u64,
    ) {
        let mut crowd = Crowd::new(seed);
        let mut random = Random::new(luck);
        crowd.step(move |world, things| things.extend((0..members).map(|_| world.spawn(dot(50)))));
        (0..members.div_ceil(ENTERS_MAX)).for_each(|_| _ = crowd.step(|_, _| ()));
        prop_assert_eq!(crowd.late(), []);
        let mut waits = vec![0; members];
        for _ in 0..30 {
            let turning = if random.below(8) == 0 { 0 } else { turning };
            let batch = crowd.step(move |world, things| move_on(world, things, turning));
            let late = crowd.late();
            for (waits, id) in waits.iter_mut().zip(&crowd.things) {
                *waits = if late.contains(id) { *waits + 1 } else { 0 };
                prop_assert!(*waits < members.div_ceil(ROWS_MAX), "{id:?} waits for {waits} publications");
            }
            for cell in deltas(&batch) {
                let changes = delta(&batch, cell).changes.map_or(0, <[u8]>::len);
                prop_assert!(changes <= ROWS_MAX * 3, "{changes} bytes");
            }
        }
        // Motion stops: soon all is as it is.
        crowd.step(|world, things| things.iter().for_each(|&id| world.get_mut(id).unwrap().row[1] = 0));
        (0..members.div_ceil(ROWS_MAX)).for_each(|_| _ = crowd.step(|_, _| ()));
        prop_assert_eq!(crowd.late(), []);
    }

    #[test]
    fn who_crosses_into_a_crowd_is_seen_all_the_while(seed: u64, members in 1usize..400, back in 0usize..4) {
        let mut crowd = Crowd::new(seed);
        crowd.step(move |world, things| things.extend((0..members).map(|_| world.spawn(dot(50)))));
        (0..members.div_ceil(ENTERS_MAX)).for_each(|_| _ = crowd.step(|_, _| ()));
        // Who waits at the border is on the move, and goes on.
        (0..3).for_each(|_| _ = crowd.step(|world, things| move_on(world, things, 50)));
        for step in 0..20 {
            crowd.step(move |world, things| {
                move_on(world, things, 10);
                for &id in things.iter() {
                    let thing = world.get_mut(id).unwrap();
                    if step == 0 || step == back {
                        thing.place = Place::At(if step == 0 { 150 } else { 50 }, 0);
                    }
                }
            });
            let mut seen: Vec<_> = crowd.listeners[0].replica.entities().map(|entity| entity.id).collect();
            seen.sort();
            prop_assert_eq!(&seen, &crowd.things, "after {} steps", step);
        }
        crowd.step(|world, things| things.iter().for_each(|&id| world.get_mut(id).unwrap().row[1] = 0));
        (0..members.div_ceil(ROWS_MAX)).for_each(|_| _ = crowd.step(|_, _| ()));
        prop_assert_eq!(crowd.late(), []);
    }
}

#[test]
fn two_thousand_who_appear_at_once_come_in_by_turns_and_who_is_gone_meanwhile_never_comes() {
    let mut crowd = Crowd::new(1);
    let come = 2_000usize;
    crowd.step(move |world, things| things.extend((0..come).map(|_| world.spawn(dot(50)))));
    let seen = |crowd: &Crowd| crowd.listeners[0].replica.entities().count();
    assert_eq!(seen(&crowd), ENTERS_MAX);
    crowd.step(|world, things| {
        things.drain(1_000..).for_each(|id| _ = world.despawn(id));
    });
    assert_eq!(seen(&crowd), 2 * ENTERS_MAX);
    for _ in 2..1_000usize.div_ceil(ENTERS_MAX) {
        crowd.step(|_, _| ());
    }
    assert_eq!((seen(&crowd), crowd.late()), (1_000, vec![]));
}

#[test]
fn ones_own_entity_does_not_wait() {
    let mut crowd = Crowd::new(1);
    crowd.step(|world, things| {
        things.extend((0..1_000).map(|_| world.spawn(dot(50))));
        world.look(PlayerId(1), Look::Follow(things[999]));
    });
    for _ in 0..40 {
        crowd.step(|world, things| move_on(world, things, 100));
        let row = crowd.stage.room.world().get(crowd.things[999]).unwrap().row;
        let own = crowd.listeners[0].replica.own().expect("it is told before its cell lists it");
        assert_eq!((own.id, &own.row[..2]), (crowd.things[999], &row[..]));
    }
}

#[test]
fn what_a_crowd_says_is_encoded_once_whoever_hears_it() {
    let said = |listeners: u32| {
        let mut stage = Stage::with(RoomConfig { capacity: 500, ..config() });
        (0..listeners).for_each(|at| stage.join(conn(at)));
        for at in 0..listeners {
            stage.deed(move |world| world.look(PlayerId(at + 1), Look::At(50, 0)));
        }
        stage.step();
        let (things, _) = stage.now(|world| (0..600).map(|_| world.spawn(dot(50))).collect::<Vec<_>>());
        (0..10).for_each(|_| _ = stage.step());
        stage.room.take_counts();
        let mut bytes = 0;
        for _ in 0..20 {
            let things = things.clone();
            let (_, batch) = stage.now(move |world| move_on(world, &things, 100));
            bytes += batch.segments.bytes.len();
        }
        let counts = stage.room.take_counts();
        (counts.deltas, counts.snapshots, bytes)
    };
    let (deltas, snapshots, bytes) = said(1);
    assert_eq!((deltas, snapshots), (20, 0));
    assert!(bytes / 20 < ROWS_MAX * 3 + 100, "{bytes} bytes in 20 ticks");
    assert_eq!(said(400), (deltas, snapshots, bytes));
}
