//! Rooms as their clients see them.

mod asking;
mod cells;
mod coming;
mod crowds;
mod listener;
mod naive;
mod properties;
mod rates;
mod schema;
mod stage;
mod timers;
mod walk;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tickyard_protocol::tick::Reliable;

use self::listener::{Fanout, Listener, Plain, Side};
use self::naive::Naive;
use self::rates::Trail;
use self::walk::Walk;
use crate::bridge::{Ask, Command, ConnId, Join, Leave, Rate, RoomId, SharedBatch};
use crate::game::Random;
use crate::sim::{AnyRoom, Room, RoomConfig};
use crate::time::Time;

fn config() -> RoomConfig {
    let (name, game) = ("room".into(), "walk".into());
    RoomConfig { id: RoomId(0), name, game, tick_rate: 20, capacity: 100, seed: 7 }
}

/// A room, its clients, and what befalls them.
struct Play<S: Side> {
    room: Room<Walk>,
    random: Random,
    listeners: Vec<Listener<S>>,
    /// By io thread.
    kept: [S::Kept; 2],
    naive: Naive,
    trail: Trail,
    conns: u32,
    compared: usize,
}

/// How rough it is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// Percent of messages that a client misses.
    missed: u32,
    /// Percent of messages that hold only some cells, if the io side counts in cells.
    cut: u32,
    /// Percent of batches that an io thread does not get.
    undelivered: u32,
    /// Percent of steps in which somebody comes or goes.
    moves: u32,
    /// How often far cells are told.
    far: Rate,
    /// Percent of steps in which somebody asks for another rate.
    rates: u32,
}

impl<S: Side> Play<S> {
    fn new(seed: u64, crowd: u32, deeds: u32, far: Rate) -> Play<S> {
        let walk = Walk::new(crowd, deeds, far);
        let room = Room::new(RoomConfig { seed, ..config() }, walk).unwrap();
        let naive = Naive::new(room.game());
        let kept = Default::default();
        Play {
            room,
            random: Random::new(seed),
            listeners: Vec::new(),
            kept,
            naive,
            trail: Trail::default(),
            conns: 0,
            compared: 0,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.below(100) < percent
    }

    fn ask(&mut self, conn: ConnId, ask: Ask) {
        self.room.command(Command { room: RoomId(0), conn, ask });
    }

    fn join(&mut self) {
        let conn =
            ConnId { thread: (self.conns % 2) as u16, slot: self.conns % 7, generation: self.conns / 7 };
        // A slot is used anew only once its last user has left.
        if self.listeners.iter().any(|other| (other.conn.thread, other.conn.slot) == (conn.thread, conn.slot))
        {
            return;
        }
        self.conns += 1;
        self.ask(conn, Ask::Join(Box::new(Join { name: String::new(), options: Vec::new() })));
        self.listeners.push(Listener::new(conn));
    }

    fn leave(&mut self) {
        let at = self.random.below(self.listeners.len() as u32) as usize;
        let left = self.listeners.swap_remove(at);
        self.ask(left.conn, Ask::Leave(Leave::Left));
    }

    fn step(&mut self, weather: Weather) {
        if self.listeners.is_empty() || self.chance(weather.moves) {
            self.join();
        }
        if self.listeners.len() > 1 && self.chance(weather.moves / 2) {
            self.leave();
        }
        if self.chance(weather.rates) {
            let at = self.random.below(self.listeners.len() as u32) as usize;
            let rate = Rate::ALL[self.random.below(4) as usize];
            self.ask(self.listeners[at].conn, Ask::Rate(rate));
        }
        for at in 0..self.listeners.len() {
            let listener = &mut self.listeners[at];
            let ack = Ask::Ack(listener.replica.reliable_heard());
            let (conn, asks) = (listener.conn, std::mem::take(&mut listener.asks));
            asks.into_iter().chain([ack]).for_each(|ask| self.ask(conn, ask));
        }
        let ticks = if self.chance(5) { 1 + self.random.below(4) } else { 1 };
        let batch = self.room.step(ticks, Time::ZERO, &mut ());
        assert!(batch.removed.is_empty() && batch.refused.is_empty());
        self.naive.look(batch.tick(), self.room.world(), self.room.game());
        self.trail.push(&self.room, &batch.segments);
        for thread in 0..2u16 {
            if self.chance(weather.undelivered) {
                self.room.undelivered(thread);
                continue;
            }
            S::keep(&mut self.kept[thread as usize], &batch);
            for at in (0..self.listeners.len())
                .filter(|&at| self.listeners[at].conn.thread == thread)
                .collect::<Vec<_>>()
            {
                let is_missed = self.chance(weather.missed);
                let is_cut = self.chance(weather.cut);
                let cells_max = if is_cut { self.random.below(6) as usize } else { usize::MAX };
                let (listener, kept) = (&mut self.listeners[at], &self.kept[thread as usize]);
                if is_missed {
                    listener.miss(&batch, kept);
                    continue;
                }
                let before = self.trail.look(listener);
                let complete = listener.hear(&batch, kept, cells_max);
                self.trail.judge(listener, before, complete);
                if complete && publishes_all(&batch) {
                    self.naive.compare(listener.player.expect("it plays"), &listener.replica);
                    self.compared += 1;
                }
            }
        }
    }

    /// What must hold in the end.
    fn check(&self) {
        for listener in &self.listeners {
            let counts = listener.replica.counts();
            assert_eq!((counts.violations, counts.desyncs, counts.blocks_unknown), (0, 0, 0));
            let numbers = listener.heard.reliable.iter().map(|(number, _)| *number);
            assert!(numbers.eq(1..=listener.heard.reliable.len() as u32));
        }
        let counts = self.room.counts;
        assert_eq!((counts.commands_wrong, counts.commands_stale), (0, 0));
        let sums: u64 = self.listeners.iter().map(|listener| listener.replica.counts().sums_checked).sum();
        assert!(sums > 0);
        let properties = self.room.world().property_bodies().map(|body| match Reliable::read(body) {
            Ok(Reliable::Property { owner, key, value }) => ((owner, key.to_string()), value.to_vec()),
            other => panic!("{other:?}"),
        });
        let properties: BTreeMap<_, _> = properties.collect();
        for listener in &self.listeners {
            assert_eq!(listener.heard.properties, properties);
            let told = listener.heard.reliable.iter().rev().find(|(_, text)| text.starts_with("told"));
            assert!(told.is_none_or(|(_, last)| *last == format!("told: {}", self.room.game().told)));
        }
    }
}

/// Whether all rates that are in use publish now: then what a client shows is the world.
fn publishes_all(batch: &SharedBatch) -> bool {
    batch.segments.slower.iter().all(|slower| slower.publishes || slower.cells.is_empty())
}

/// Rough weather, then a quiet end in which everybody catches up.
fn play<S: Side>(seed: u64, crowd: u32, deeds: u32, steps: u32, weather: Weather) -> Play<S> {
    let mut play = Play::new(seed, crowd, deeds, weather.far);
    (0..steps).for_each(|_| play.step(weather));
    play.room.game.deeds = 0;
    for _ in 0..24 {
        play.step(CALM);
    }
    assert!(play.compared >= play.listeners.len());
    play.check();
    play
}

const CALM: Weather = Weather { missed: 0, cut: 0, undelivered: 0, moves: 0, far: Rate::One, rates: 0 };

fn weathers() -> impl Strategy<Value = Weather> {
    (
        prop_oneof![Just(0u32), 0u32..95],
        prop_oneof![Just(0u32), 0u32..90],
        prop_oneof![Just(0u32), 0u32..40],
        0u32..40,
        prop::sample::select(Rate::ALL.to_vec()),
        prop_oneof![Just(0u32), 0u32..40],
    )
        .prop_map(|(missed, cut, undelivered, moves, far, rates)| Weather {
            missed,
            cut,
            undelivered,
            moves,
            far,
            rates,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_who_miss_and_lag_see_what_is_there_once_their_view_is_complete(
        seed: u64,
        crowd in 1u32..120,
        deeds in 0u32..30,
        weather in weathers(),
    ) {
        play::<Plain>(seed, crowd, deeds, 150, weather);
    }

    #[test]
    fn what_the_fan_out_composes_is_the_world_that_a_naive_encoder_tells_each_client(
        seed: u64,
        crowd in 1u32..50,
        deeds in 0u32..30,
        weather in weathers(),
    ) {
        let play = play::<Fanout>(seed, crowd, deeds, 150, weather);
        prop_assert_eq!(play.naive.doubts, 0, "nobody has to wait where so few are");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_crowds_it_is_that_world_as_it_was_so_few_turns_ago(
        seed: u64,
        crowd in 100u32..600,
        deeds in 0u32..30,
        weather in weathers(),
    ) {
        play::<Fanout>(seed, crowd, deeds, 80, weather);
    }
}
