//! One tick of the arena: half of the players run, each turning once a second, ten inputs a second each.
//!
//! `cargo bench --bench tick`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickyard::bridge::{Ask, Command, ConnId, Join, RoomId};
use tickyard::game::Random;
use tickyard::game::arena::Arena;
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard_protocol::message::Input;
use tickyard_protocol::types::Seq;

struct Crowd {
    room: Room<Arena>,
    players: u32,
    tick: u32,
    random: Random,
    directions: Vec<[i32; 2]>,
}

impl Crowd {
    fn new(players: u32) -> Crowd {
        let (name, game) = ("bench".into(), "arena".into());
        let config = RoomConfig { id: RoomId(0), name, game, tick_rate: 20, capacity: players, seed: 1 };
        let room = Room::new(config, Arena::new(20, players)).expect("the arena's schema is right");
        let directions = vec![[0; 2]; players as usize];
        let mut crowd = Crowd { room, players, tick: 0, random: Random::new(1), directions };
        for slot in 0..players {
            crowd.ask(slot, Ask::Join(Box::new(Join { name: String::new(), options: Vec::new() })));
        }
        // Until everybody who runs has begun to, and buffers have their size.
        (0..40).for_each(|_| _ = crowd.step());
        crowd
    }

    fn ask(&mut self, slot: u32, ask: Ask) {
        let conn = ConnId { thread: (slot % 2) as u16, slot: slot / 2, generation: 0 };
        self.room.command(Command { room: RoomId(0), conn, ask });
    }

    fn step(&mut self) -> usize {
        self.tick += 1;
        for slot in 0..self.players / 2 {
            if self.random.below(20) == 0 || self.tick == 1 {
                self.directions[slot as usize] = [0; 2].map(|_| self.random.below(255) as i32 - 127);
            }
        }
        for slot in (self.tick % 2..self.players).step_by(2) {
            let [dx, dy] = self.directions[slot as usize];
            let mut row = [0; 16];
            (row[0], row[1]) = (dx, dy);
            let seq = Seq(self.tick / 2 + 1);
            self.ask(slot, Ask::Input(Input { seq, ack: 0, render_tick: 0, row }));
        }
        self.room.step(1, Time::ZERO, &mut ()).segments.bytes.len()
    }
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for players in [1000, 10_000] {
        let mut crowd = Crowd::new(players);
        group.throughput(Throughput::Elements(players as u64));
        group.bench_function(BenchmarkId::from_parameter(players), |bencher| {
            bencher.iter(|| black_box(crowd.step()));
        });
    }
    group.finish();
}

criterion_group!(benches, tick);
criterion_main!(benches);
