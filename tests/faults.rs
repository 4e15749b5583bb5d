//! Faults after encoding: bytes of one client are damaged on their way, and the tripwire must find each that did harm.
//!
//! A room, the fan-out and replicas, without sockets, under one seed. Each player has two replicas: the *witness* hears what was composed, the
//! *victim* hears it with faults, one at a time. A fault that leaves them different has to be found within 16 publications of its cell, and be healed
//! a round trip and two ticks later. `TICKYARD_FAULTS_SEED=7` repeats a seed, `TICKYARD_FAULTS_SEEDS=100` tries so many.

#[path = "faults/house.rs"]
mod house;
#[path = "faults/link.rs"]
mod link;
#[path = "faults/surgery.rs"]
mod surgery;

use house::House;
use link::Found;
use surgery::Fault;
use tickyard::bridge::Rate;

#[test]
fn every_fault_that_did_harm_is_found_within_16_publications_and_healed_in_a_round_trip_and_two_ticks() {
    let mut total = link::Tally::default();
    for seed in seeds() {
        for far in [Rate::One, Rate::Four] {
            println!("seed {seed}, far cells at rate {}", far.ticks());
            let mut house = House::new(seed, far, PLAYERS);
            (0..TICKS).for_each(|_| house.tick());
            total.add(&house.tally());
        }
    }
    println!("{total}");
    for fault in Fault::ALL {
        assert!(total.of(fault, Found::Never) == 0, "{fault:?} was not found");
        assert!(total.harmful(fault) > 0, "{fault:?} was not tried");
    }
    assert!(total.of(Fault::FlipChange, Found::Sum) > 0 && total.of(Fault::DropDelta, Found::Check) > 0);
}

/// Those of every run, or those that were asked for.
fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match (number("TICKYARD_FAULTS_SEED"), number("TICKYARD_FAULTS_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(seeds)) => (0..seeds).collect(),
        (None, None) => vec![1],
    }
}

const PLAYERS: u32 = 40;
const TICKS: u32 = 1200;
