//! What measuring costs: `cargo bench --bench stopwatch`.
//!
//! `step` is what a room's step is charged: nine stages, from the commands to the batch. `turn` is an io thread's poll turn that reads,
//! and `fan-out` a slice of 256 messages, with nothing done in between. `looks` is what one message more would be charged if each were measured:
//! two looks at the clock.

// Measures with the clock.
#![allow(clippy::disallowed_types)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use tickyard::bridge::RoomId;
use tickyard::flight::{Flight, Stopwatch};
use tickyard::metrics::{Metrics, Role};
use tickyard::stage::{Stage, Stages};

const ROOM: RoomId = RoomId(0);

fn stopwatch() -> Stopwatch {
    let flight = Flight::new(Instant::now(), Arc::new(Metrics::new()), Box::new(|_| None), None);
    Arc::new(flight).stopwatch("bench".into(), Role::Simulation)
}

fn step(watch: &mut Stopwatch) {
    const STAGES: [Stage; 8] = [
        Stage::Apply,
        Stage::Game,
        Stage::Collect,
        Stage::Collect,
        Stage::Encode,
        Stage::View,
        Stage::Encode,
        Stage::HandOut,
    ];
    watch.enter_room(Stage::Drain, Some(ROOM));
    STAGES.into_iter().for_each(|stage| watch.enter(stage));
    watch.rest();
}

fn turn(watch: &mut Stopwatch) {
    [Stage::Accept, Stage::Receive, Stage::HandIn].into_iter().for_each(|stage| watch.enter(stage));
    watch.rest();
    watch.wait(Some(watch.now()));
}

fn fan_out(watch: &mut Stopwatch) {
    watch.enter(Stage::Compose);
    watch.begin_fanout(ROOM);
    for _ in 0..256 {
        watch.sending.first();
        watch.sending.second();
        watch.sending.done();
    }
    let mut spent = watch.end_fanout(256);
    watch.report_fanout(&mut spent);
}

fn looks(_: &mut Stopwatch) {
    black_box([Instant::now(), Instant::now()]);
}

fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stopwatch");
    let deeds =
        [("step", step as fn(&mut Stopwatch)), ("turn", turn), ("fan-out", fan_out), ("looks", looks)];
    for (name, deed) in deeds {
        let mut watch = stopwatch();
        group.bench_function(name, |bencher| bencher.iter(|| deed(&mut watch)));
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
