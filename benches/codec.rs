//! What a cell's delta and snapshot cost to write and to read: `cargo bench --bench codec`.
//!
//! A cell of 50 players of the arena. `predicted`: all run on as before. `turned`: three took another direction. `all`: the
//! worst case, everybody did.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickyard::game::arena::Thing;
use tickyard_protocol::delta::{Changes, Delta, Entity, entity_hash, put_delta, put_snapshot};
use tickyard_protocol::fields::{FIELDS_MAX, Kinds, Shapes};
use tickyard_protocol::replica::Replica;
use tickyard_protocol::tick::{Header, put_view};
use tickyard_protocol::types::{CellId, EntityId, Seq, Tick};

const CELL: CellId = CellId(7);
const MEMBERS: u32 = 50;
const CASES: [(&str, u32); 3] = [("predicted", 0), ("turned", 3), ("all", MEMBERS)];

fn shapes() -> Shapes {
    Shapes::new(&Thing::kinds()).expect("the arena's schema is fine")
}

fn rows() -> Vec<[i32; 5]> {
    (0..MEMBERS as i32).map(|at| [30_000 + at * 37, 20_000 + at * 91, 160 - at, at * 3 - 80, at]).collect()
}

fn entities(rows: &[[i32; 5]]) -> impl ExactSizeIterator<Item = Entity<'_>> {
    (100..).step_by(3).zip(rows).map(entity).collect::<Vec<_>>().into_iter()
}

fn entity((slot, row): (u32, &[i32; 5])) -> Entity<'_> {
    Entity { id: EntityId { slot, generation: 1 }, kind: 0, row, statics: "Player 123" }
}

fn sum(rows: &[[i32; 5]]) -> u32 {
    entities(rows).fold(0, |sum, entity| sum.wrapping_add(entity_hash(entity.id, 0, entity.row)))
}

/// So many of the members turned: new velocities, and positions that the old ones did not predict.
fn changes(turned: u32) -> Changes {
    let mut changes = Changes::default();
    for at in (0..MEMBERS).filter(|at| at * turned / MEMBERS != (at + 1) * turned / MEMBERS) {
        let mut residual = [0; FIELDS_MAX];
        let turn = at as i32 * 5 - 120;
        residual[..4].copy_from_slice(&[turn, -turn, turn, -turn]);
        changes.push(at, 0, residual);
    }
    changes
}

fn put_tick(out: &mut Vec<u8>, tick: u32) {
    out.extend_from_slice(&Header { tick: Tick(tick), seq: Seq(0), depth: 0, flags: 1 }.to_bytes()[1..]);
}

/// A client that holds the cell as of tick 1.
fn replica(rows: &[[i32; 5]]) -> Replica {
    let mut message = vec![];
    put_tick(&mut message, 1);
    put_view(&mut message, [CELL].into_iter());
    put_snapshot(&mut message, CELL, sum(rows), entities(rows));
    let mut replica = Replica::new(shapes());
    replica.apply(&message, &mut ()).expect("it is well formed");
    replica
}

fn deltas(criterion: &mut Criterion) {
    let (shapes, rows) = (shapes(), rows());
    let mut group = criterion.benchmark_group("delta");
    group.throughput(Throughput::Elements(MEMBERS as u64));
    for (name, turned) in CASES {
        let changes = changes(turned);
        let delta = Delta {
            cell: CELL,
            base: 1,
            sum: None,
            changes: &changes,
            members: MEMBERS as usize,
            leaves: &[],
        };
        let mut out = Vec::with_capacity(4096);
        group.bench_function(BenchmarkId::new("write", name), |bencher| {
            bencher.iter(|| {
                out.clear();
                put_delta(&mut out, &shapes, black_box(&delta), std::iter::empty());
            });
        });
        println!("delta of {MEMBERS} members, {name}: {} bytes", out.len());

        let mut message = vec![];
        put_tick(&mut message, 2);
        message.extend_from_slice(&out);
        let held = replica(&rows);
        group.bench_function(BenchmarkId::new("read", name), |bencher| {
            bencher.iter_batched_ref(
                || held.clone(),
                |replica| replica.apply(black_box(&message), &mut ()).expect("it is well formed"),
                BatchSize::SmallInput,
            );
        });
        let mut after = held.clone();
        after.apply(&message, &mut ()).expect("it is well formed");
        assert_eq!(after.counts().violations, 0, "what is measured is the usual way");
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let rows = rows();
    let sum = sum(&rows);
    let mut group = criterion.benchmark_group("snapshot");
    group.throughput(Throughput::Elements(MEMBERS as u64));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            out.clear();
            put_snapshot(&mut out, CELL, sum, entities(black_box(&rows)));
        });
    });
    println!("snapshot of {MEMBERS} members: {} bytes", out.len());

    let mut message = vec![];
    put_tick(&mut message, 2);
    message.extend_from_slice(&out);
    let held = replica(&rows);
    group.bench_function("read", |bencher| {
        bencher.iter_batched_ref(
            || held.clone(),
            |replica| replica.apply(black_box(&message), &mut ()).expect("it is well formed"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// What a cell's sum costs: summed up over all members when it is said, which is once in 16 publications (`said`), or kept with each
/// publication in which half of the members moved, their old hashes out and their new ones in (`kept`).
fn sums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sum");
    for members in [50, 2_000] {
        let rows: Vec<[i32; 5]> = (0..members).map(|at| [at * 37, at * 91, 160 - at, at * 3, at]).collect();
        let hash =
            |at: usize, row: &[i32; 5]| entity_hash(EntityId { slot: at as u32, generation: 1 }, 0, row);
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(BenchmarkId::new("said", members), |bencher| {
            bencher.iter(|| {
                let hashes = black_box(&rows).iter().enumerate().map(|(at, row)| hash(at, row));
                hashes.fold(0, u32::wrapping_add)
            });
        });
        let mut kept: Vec<u32> = rows.iter().enumerate().map(|(at, row)| hash(at, row)).collect();
        for (share, one_in) in [("half", 2), ("one in a hundred", 100)] {
            group.bench_function(BenchmarkId::new(format!("kept, {share}"), members), |bencher| {
                bencher.iter(|| {
                    let mut sum = 0u32;
                    for at in (0..rows.len()).step_by(one_in) {
                        let old = std::mem::replace(&mut kept[at], hash(at, black_box(&rows[at])));
                        sum = sum.wrapping_sub(old).wrapping_add(kept[at]);
                    }
                    sum
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, deltas, snapshots, sums);
criterion_main!(benches);
