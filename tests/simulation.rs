//! The edge under one seed: the code that serves players, on sockets, time and a network that we made up.
//!
//! Thousands of connections come and go: residents who play, guests, and all sorts of others, whose bytes come in pieces, stall, break off or are
//! no protocol at all. After each step of time the promises of `stage` and `ear` must hold. A failure prints its seed;
//! `TICKYARD_SIMULATION_SEED=7 cargo test --test simulation` repeats it, and `TICKYARD_SIMULATION_SEEDS=1000` tries so many more.

#[path = "simulation/ear.rs"]
mod ear;
#[path = "simulation/peer.rs"]
mod peer;
#[path = "simulation/stage.rs"]
mod stage;
#[path = "simulation/wire.rs"]
mod wire;

use std::collections::BTreeMap;

use stage::Stage;
use tickyard::close_reason::CloseReason;

#[test]
fn the_edge_holds_whoever_comes() {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds() {
        let stage = run(seed, PASSERS_BY);
        for reason in CloseReason::ALL {
            *reasons.entry(reason.name()).or_default() += stage.ended(reason);
        }
    }
    println!("{reasons:?}");
    // Faults of ours, a game that fails, a process out of descriptors, and what only TLS can: its keys come from no seed.
    for never in ["internal", "no_descriptors", "plain_http", "room_failed", "tls_failed"] {
        assert_eq!(reasons.remove(never), Some(0), "{never}");
    }
    // Chat enough for it does not come together in every seed.
    reasons.remove("reliable_overflow");
    let missing: Vec<_> = reasons.iter().filter(|(_, count)| **count == 0).collect();
    assert!(missing.is_empty() || seeds().len() < 3, "nobody ended like this: {missing:?}");
}

#[test]
fn the_same_seed_is_the_same_story_and_who_is_frozen_and_thawed_meanwhile_does_not_notice() {
    const SOME: u64 = 200;
    let [one, other] = [1, 1].map(|seed| run(seed, SOME).history);
    assert!(one == other, "the same seed, the same story");
    assert!(one != run(2, SOME).history, "another seed, another story");

    let mut stage = Stage::new(1);
    stage.freeze_and_thaw(9);
    stage.run(SOME);
    assert!(one == stage.history, "whoever was frozen heard the same bytes");
}

fn run(seed: u64, passers_by: u64) -> Stage {
    println!("seed {seed}");
    let mut stage = Stage::new(seed);
    stage.run(passers_by);
    stage
}

/// Those of every run, or those that were asked for.
fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match (number("TICKYARD_SIMULATION_SEED"), number("TICKYARD_SIMULATION_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(seeds)) => (0..seeds).collect(),
        (None, None) => vec![0, 1, 2],
    }
}

const PASSERS_BY: u64 = 500;
