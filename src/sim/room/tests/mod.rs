//! Rooms as their clients see them.

mod asking;
mod cells;
mod coming;
mod crowds;
mod listener;
mod properties;
mod rates;
mod schema;
mod stage;
mod timers;
mod walk;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tickyard_protocol::delta::Row;
use tickyard_protocol::fields::Kinds;
use tickyard_protocol::tick::Reliable;
use tickyard_protocol::types::EntityId;

use self::listener::{Kept, Listener};
use self::walk::{Walk, Walker};
use crate::bridge::{Ask, Command, ConnId, Join, Leave, Rate, RoomId, SharedBatch};
use crate::game::{Look, Place, Random};
use crate::sim::interest::EVERYWHERE;
use crate::sim::{AnyRoom, Room, RoomConfig};
use crate::time::Time;

fn config() -> RoomConfig {
    let (name, game) = ("room".into(), "walk".into());
    RoomConfig { id: RoomId(0), name, game, tick_rate: 20, capacity: 100, seed: 7 }
}

/// A room, its clients, and what befalls them.
struct Play {
    room: Room<Walk>,
    random: Random,
    listeners: Vec<Listener>,
    /// By io thread.
    kept: [Kept; 2],
    conns: u32,
    compared: usize,
    trail: rates::Trail,
}

/// How rough it is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// Percent of messages that a client misses.
    missed: u32,
    /// Percent of messages that hold only some cells.
    cut: u32,
    /// Percent of batches that an io thread does not get.
    undelivered: u32,
    /// Percent of steps in which somebody comes or goes.
    moves: u32,
    /// Percent of steps in which somebody asks for another rate.
    rates: u32,
}

impl Play {
    fn new(seed: u64, crowd: u32, deeds: u32, far: Rate) -> Play {
        let walk = Walk::new(crowd, deeds, far);
        Play {
            room: Room::new(RoomConfig { seed, ..config() }, walk).unwrap(),
            random: Random::new(seed),
            listeners: Vec::new(),
            kept: Default::default(),
            conns: 0,
            compared: 0,
            trail: rates::Trail::default(),
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
        self.trail.push(&self.room);
        for thread in 0..2u16 {
            if self.chance(weather.undelivered) {
                self.room.undelivered(thread);
                continue;
            }
            self.kept[thread as usize].push(&batch);
            for at in (0..self.listeners.len())
                .filter(|&at| self.listeners[at].conn.thread == thread)
                .collect::<Vec<_>>()
            {
                self.listeners[at].note(&batch);
                if self.chance(weather.missed) {
                    continue;
                }
                let cells_max =
                    if self.chance(weather.cut) { self.random.below(6) as usize } else { usize::MAX };
                self.hear(at, &batch, cells_max);
            }
        }
    }

    fn hear(&mut self, at: usize, batch: &SharedBatch, cells_max: usize) {
        let listener = &mut self.listeners[at];
        let before = self.trail.look(listener);
        let complete = listener.hear(batch, &self.kept[listener.conn.thread as usize], cells_max);
        self.trail.judge(listener, before, complete);
        if complete && listener.hears_all_of(batch) {
            self.compare(at);
        }
    }

    /// What the client shows is what is there.
    fn compare(&mut self, at: usize) {
        let listener = &self.listeners[at];
        let seen = listener
            .replica
            .entities()
            .map(|member| (member.id, member.kind, member.row, member.statics.to_string()));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|entity| entity.0);
        let view = listener.replica.view();
        let there = self.room.world().iter().filter(|(_, thing)| {
            let cell = match thing.place {
                Place::At(x, y) => Some(self.room.grid.cell_at(x, y)),
                Place::Everywhere => Some(EVERYWHERE),
                Place::Only(player) => {
                    self.room.seats.of_player(player).map(|seat| self.room.grid.private(seat))
                }
            };
            cell.is_some_and(|cell| view.contains(&cell))
        });
        let mut there: Vec<_> = there.map(|(id, thing)| self.truth(id, thing)).collect();
        there.sort_by_key(|entity| entity.0);
        assert_eq!(seen, there, "at {:?}, player {:?}", self.room.tick, listener.player);
        let seat = &self.room.seats[self.room.seats.of_conn(listener.conn).expect("it plays")];
        let follows = if let Look::Follow(id) = seat.look {
            self.room.world().get(id).map(|thing| (id, thing))
        } else {
            None
        };
        // What is placed for somebody who is gone, nobody sees.
        let follows = follows.filter(|(id, _)| self.room.publisher.place(*id).is_some());
        let own = listener.replica.own().map(|own| (own.id, own.kind, own.row));
        let truth =
            follows.map(|(id, thing)| self.truth(id, thing)).map(|(id, kind, row, _)| (id, kind, row));
        assert_eq!(own, truth, "its own entity, at {:?}, player {:?}", self.room.tick, listener.player);
        self.compared += 1;
    }

    fn truth(&self, id: EntityId, thing: &Walker) -> (EntityId, u8, Row, String) {
        let mut row = [0; 16];
        thing.write(&mut row[..if thing.is_stone { 1 } else { 5 }]);
        (id, thing.kind(), row, self.room.world().statics(id.slot).to_string())
    }

    fn check(&self) {
        for listener in &self.listeners {
            let counts = listener.replica.counts();
            assert_eq!((counts.violations, counts.desyncs, counts.blocks_unknown), (0, 0, 0));
            let numbers = listener.heard.reliable.iter().map(|(number, _)| *number);
            assert!(numbers.eq(1..=listener.heard.reliable.len() as u32));
        }
        let counts = self.room.counts;
        assert_eq!((counts.commands_wrong, counts.commands_stale), (0, 0));
    }
}

proptest! {
    #[test]
    fn clients_who_miss_and_lag_see_what_is_there_once_their_view_is_complete(
        seed: u64,
        crowd in 1u32..120,
        deeds in 0u32..30,
        missed in prop_oneof![Just(0u32), 0u32..95],
        cut in prop_oneof![Just(0u32), 0u32..90],
        undelivered in prop_oneof![Just(0u32), 0u32..40],
        moves in 0u32..40,
        far in prop::sample::select(Rate::ALL.to_vec()),
        rates in prop_oneof![Just(0u32), 0u32..40],
    ) {
        let mut play = Play::new(seed, crowd, deeds, far);
        for _ in 0..150 {
            play.step(Weather { missed, cut, undelivered, moves, rates });
        }
        // A quiet end, in which everybody catches up.
        play.room.game.deeds = 0;
        for _ in 0..24 {
            play.step(Weather { missed: 0, cut: 0, undelivered: 0, moves: 0, rates: 0 });
        }
        prop_assert!(play.compared >= play.listeners.len());
        play.check();
        let sums: u64 = play.listeners.iter().map(|listener| listener.replica.counts().sums_checked).sum();
        prop_assert!(sums > 0);
        let properties = play.room.world().property_bodies().map(|body| match Reliable::read(body) {
            Ok(Reliable::Property { owner, key, value }) => ((owner, key.to_string()), value.to_vec()),
            other => panic!("{other:?}"),
        });
        let properties: BTreeMap<_, _> = properties.collect();
        for listener in &play.listeners {
            prop_assert_eq!(&listener.heard.properties, &properties);
        }
        let told = play.listeners.iter().filter_map(|listener| {
            listener.heard.reliable.iter().rev().find(|(_, text)| text.starts_with("told"))
        });
        for (_, last) in told {
            prop_assert_eq!(last, &format!("told: {}", play.room.game().told));
        }
    }
}
