//! What a tick of a large world costs, and what interest management does: `cargo bench --bench world`.
//!
//! `tick`: so many entities, ten a cell, of which half or one in a hundred move, turning once a second; 64 players look at places all over the
//! map. The cost has to follow what moves and not what exists. `crossings`: of 10,000 entities a hundred or a thousand cross into
//! the next cell at each tick. `views`: a thousand players of whom none, a tenth or all follow something that does, so that their views
//! move on at each tick.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickyard::bridge::{Ask, Command, ConnId, Join, RoomId};
use tickyard::game::{Game, Joining, Layout, Leave, Look, Place, Rate, Refusal, World};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
use tickyard_protocol::types::{EntityId, PlayerId, Tick};

const CELL: u32 = 1000;
const PER_CELL: u32 = 10;

/// Things that move, or hop between two cells.
struct Plain {
    things: u32,
    /// In how many things one moves.
    one_in: u32,
    /// They cross into the next cell and back, instead of wandering.
    hops: bool,
    ids: Vec<EntityId>,
    side: u32,
    looks: fn(&Plain, u32) -> Look,
}

struct Thing([i32; 4]);

struct Nothing;

impl Plain {
    fn new(things: u32, one_in: u32) -> Plain {
        let side = CELL * ((things / PER_CELL) as f64).sqrt().ceil() as u32;
        Plain { things, one_in, hops: false, ids: Vec::new(), side, looks: spread }
    }

    fn fill(&mut self, world: &mut World<Thing>) {
        for _ in 0..self.things {
            let [x, y] = [0; 2].map(|_| world.random().below(self.side) as i32);
            self.ids.push(world.spawn(Thing([x, y, 0, 0])));
        }
    }
}

/// All over the map.
fn spread(field: &Plain, player: u32) -> Look {
    let at = |number: u32| (player.wrapping_mul(number) % field.side) as i32;
    Look::At(at(2_654_435_761), at(2_246_822_519))
}

impl Game for Plain {
    type Thing = Thing;
    type Input = Nothing;

    fn layout(&self) -> Layout {
        Layout { width: self.side, height: self.side, cell: CELL, far: Rate::One }
    }

    fn join(&mut self, world: &mut World<Thing>, player: PlayerId, _: &Joining) -> Result<(), Refusal> {
        if self.ids.is_empty() {
            self.fill(world);
        }
        let look = (self.looks)(self, player.0);
        world.look(player, look);
        Ok(())
    }

    fn leave(&mut self, _: &mut World<Thing>, _: PlayerId, _: Leave) {}

    fn input(&mut self, _: &mut World<Thing>, _: PlayerId, _: &Nothing) {}

    fn tick(&mut self, world: &mut World<Thing>, tick: Tick) {
        for at in (0..self.ids.len()).step_by(self.one_in as usize) {
            let turns = tick.0 == 1 || world.random().below(20) == 0;
            let speed = [0; 2].map(|_| world.random().below(21) as i32 - 10);
            let Thing(row) = world.get_mut(self.ids[at]).expect("nothing dies here");
            if self.hops {
                row[0] = (row[0] + CELL as i32) % (2 * CELL as i32);
                continue;
            }
            if turns {
                row[2..].copy_from_slice(&speed);
            }
            for axis in 0..2 {
                row[axis] = (row[axis] + row[axis + 2]).clamp(0, self.side as i32 - 1);
            }
        }
    }

    fn place(&self, Thing([x, y, ..]): &Thing) -> Place {
        Place::At(*x, *y)
    }
}

impl Kinds for Thing {
    fn kinds() -> Vec<Kind> {
        let field = |name| Field::integer(name, i32::MIN, i32::MAX);
        let fields = vec![field("x"), field("y"), field("vx").velocity_of(0), field("vy").velocity_of(1)];
        vec![Kind { name: "thing".into(), fields }]
    }

    fn kind(&self) -> u8 {
        0
    }

    fn write(&self, row: &mut [i32]) {
        row.copy_from_slice(&self.0);
    }
}

impl Fields for Nothing {
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    fn write(&self, _: &mut [i32]) {}

    fn read(_: &[i32]) -> Nothing {
        Nothing
    }
}

fn room(field: Plain, players: u32) -> Room<Plain> {
    let (name, game) = ("bench".into(), "field".into());
    let config = RoomConfig { id: RoomId(0), name, game, tick_rate: 20, capacity: players, seed: 1 };
    let mut room = Room::new(config, field).expect("the schema is right");
    for slot in 0..players {
        let join = Join { name: String::new(), options: Vec::new() };
        let conn = ConnId { thread: 0, slot, generation: 0 };
        room.command(Command { room: RoomId(0), conn, ask: Ask::Join(Box::new(join)) });
    }
    // Until all is at its pace, and buffers have their size.
    (0..40).for_each(|_| _ = room.step(1, Time::ZERO, &mut ()));
    room
}

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for things in [1_000, 10_000, 50_000] {
        for (share, one_in) in [("half", 2), ("one in a hundred", 100), ("none", u32::MAX)] {
            let mut room = room(Plain::new(things, one_in), 64);
            group.throughput(Throughput::Elements(things.div_ceil(one_in) as u64));
            group.bench_function(BenchmarkId::new(share, things), |bencher| {
                bencher.iter(|| black_box(room.step(1, Time::ZERO, &mut ())));
            });
        }
    }
    group.finish();
}

fn crossings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crossings");
    for crossing in [100, 1_000] {
        let field = Plain { hops: true, ..Plain::new(10_000, 10_000 / crossing) };
        let mut room = room(field, 64);
        group.throughput(Throughput::Elements(crossing as u64));
        group.bench_function(BenchmarkId::from_parameter(crossing), |bencher| {
            bencher.iter(|| black_box(room.step(1, Time::ZERO, &mut ())));
        });
    }
    group.finish();
}

fn views(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("views");
    for (share, one_in) in [("none", u32::MAX), ("a tenth", 10), ("all", 1)] {
        let follow = |field: &Plain, player: u32| Look::Follow(field.ids[player as usize % field.ids.len()]);
        let field = Plain { hops: true, looks: follow, ..Plain::new(1_000, one_in) };
        let mut room = room(field, 1_000);
        group.throughput(Throughput::Elements(1_000));
        group.bench_function(BenchmarkId::from_parameter(share), |bencher| {
            bencher.iter(|| black_box(room.step(1, Time::ZERO, &mut ())));
        });
    }
    group.finish();
}

criterion_group!(benches, ticks, crossings, views);
criterion_main!(benches);
