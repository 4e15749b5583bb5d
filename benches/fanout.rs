//! What telling everybody of a tick costs: `cargo bench --bench fanout`.
//!
//! An arena at the density that all figures are for: views of about 50 entities, half of the players run, each turns once a
//! second. A room steps for real; timed is what an io thread does with its batch, message by message, without the
//! system call. `copied` adds a copy of each message, about what the kernel does with it first; `deflated` what `--deflate state`
//! does with it.

// Measures with the clock.
#![allow(clippy::disallowed_types)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickyard::bridge::{Ask, Command, ConnId, Join, RoomId};
use tickyard::game::Random;
use tickyard::game::arena::{Arena, DIRECTION_MAX};
use tickyard::net::fanout::{Hearing, History, Missing, compose};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard::websocket::deflate::SharedWriter;
use tickyard::websocket::frame::SERVER_HEADER_BYTES_MAX;
use tickyard_protocol::fields::FIELDS_MAX;
use tickyard_protocol::message::Input;
use tickyard_protocol::types::Seq;

const ROOM: RoomId = RoomId(0);
const TICK_RATE: u16 = 20;

/// A room with its players, and an io thread's side of them.
struct Arcade {
    room: Room<Arena>,
    random: Random,
    seq: u32,
    players: u32,
    history: History,
    hearings: Vec<Hearing>,
    missing: Missing,
    buffer: Vec<u8>,
    sink: Vec<u8>,
    deflate: SharedWriter,
    deflated_bytes: u64,
    messages: u64,
    bytes: u64,
}

impl Arcade {
    fn new(players: u32) -> Arcade {
        let config = RoomConfig {
            id: ROOM,
            name: "arena-1".into(),
            game: "arena".into(),
            tick_rate: TICK_RATE,
            capacity: players,
            seed: 1,
        };
        let mut room = Room::new(config, Arena::new(TICK_RATE, players)).expect("the arena's schema is fine");
        for slot in 0..players {
            let join = Join { name: String::new(), options: vec![] };
            room.command(command(slot, Ask::Join(Box::new(join))));
        }
        let mut arcade = Arcade {
            room,
            random: Random::new(7),
            seq: 0,
            players,
            history: History::default(),
            hearings: vec![Hearing::default(); players as usize],
            missing: Missing::default(),
            buffer: Vec::new(),
            sink: Vec::new(),
            deflate: SharedWriter::default(),
            deflated_bytes: 0,
            messages: 0,
            bytes: 0,
        };
        for _ in 0..4 * TICK_RATE {
            arcade.step();
            arcade.tell_all(Then::Nothing);
        }
        (arcade.messages, arcade.bytes) = (0, 0);
        arcade
    }

    /// A tick of the room. Each player turns once a second; every other time to stand still.
    fn step(&mut self) {
        self.seq += 1;
        for slot in (0..self.players).filter(|slot| (slot + self.seq).is_multiple_of(TICK_RATE as u32)) {
            let mut row = [0; FIELDS_MAX];
            if self.random.below(2) == 0 {
                let mut any = || self.random.below(2 * DIRECTION_MAX as u32 + 1) as i32 - DIRECTION_MAX;
                (row[0], row[1]) = (any(), any());
            }
            let input = Input { seq: Seq(self.seq), ack: 0, render_tick: 0, row };
            self.room.command(command(slot, Ask::Input(input)));
        }
        let batch = self.room.step(1, Time::ZERO, &mut ());
        self.history.push(batch);
    }

    /// What an io thread does with a batch.
    fn tell_all(&mut self, then: Then) {
        let Some(batch) = self.history.newest().cloned() else { return };
        for part in batch.parts_of(0) {
            let hearing = &mut self.hearings[part.conn.slot as usize];
            self.missing.clear();
            let start = compose(&self.history, part, hearing, &mut self.missing, &mut self.buffer);
            assert!(self.missing.cells.is_empty(), "nobody is behind");
            let Some(start) = start else { continue };
            let message = black_box(&self.buffer[start..]);
            self.messages += 1;
            self.bytes += message.len() as u64;
            match then {
                Then::Nothing => {}
                Then::Copy => {
                    if self.sink.len() > SINK_BYTES {
                        self.sink.clear();
                    }
                    self.sink.extend_from_slice(message);
                }
                Then::Deflate => {
                    let compressed = self.deflate.write(15, &self.buffer[SERVER_HEADER_BYTES_MAX..]);
                    self.deflated_bytes += compressed.unwrap_or(message).len() as u64;
                }
            }
        }
    }

    fn time(&mut self, then: Then, ticks: u64) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..ticks {
            self.step();
            let started = started();
            self.tell_all(then);
            total += started.elapsed();
        }
        total
    }
}

/// What is done with a message once it is composed.
#[derive(Clone, Copy)]
enum Then {
    Nothing,
    Copy,
    Deflate,
}

fn command(slot: u32, ask: Ask) -> Command {
    Command { room: ROOM, conn: ConnId { thread: 0, slot, generation: 1 }, ask }
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods)] // A bench looks at the clock.
fn started() -> Instant {
    Instant::now()
}

fn fanout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    group.sample_size(20);
    for players in [1_000, 10_000] {
        let mut arcade = Arcade::new(players);
        group.throughput(Throughput::Elements(players as u64));
        group.bench_function(BenchmarkId::new("composed", players), |bencher| {
            bencher.iter_custom(|ticks| arcade.time(Then::Nothing, ticks));
        });
        group.bench_function(BenchmarkId::new("copied", players), |bencher| {
            bencher.iter_custom(|ticks| arcade.time(Then::Copy, ticks));
        });
        let bytes = arcade.bytes as f64 / arcade.messages.max(1) as f64;
        println!("{players} players: {bytes:.0} bytes a message, {} messages", arcade.messages);
        (arcade.messages, arcade.deflated_bytes) = (0, 0);
        group.bench_function(BenchmarkId::new("deflated", players), |bencher| {
            bencher.iter_custom(|ticks| arcade.time(Then::Deflate, ticks));
        });
        let bytes = arcade.deflated_bytes as f64 / arcade.messages.max(1) as f64;
        println!("{players} players: {bytes:.0} bytes a message, deflated");
    }
    group.finish();
}

/// As much as a core's cache holds: a kernel's buffers are as warm.
const SINK_BYTES: usize = 1 << 20;

criterion_group!(benches, fanout);
criterion_main!(benches);
