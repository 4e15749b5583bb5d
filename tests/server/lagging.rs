//! Who falls behind, and who asks again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tickyard::Config;
use tickyard::bridge::BATCHES_KEPT;
use tickyard::close_reason::CloseReason;
use tickyard_protocol::types::CellId;

use crate::common::client::{Client, End, hello, until_both, until_they_agree};
use crate::common::lab::{Lab, Notes};
use crate::common::{House, PATIENCE, config, until};

/// A world that changes by some kilobytes each tick: buffers fill at once.
fn noisy_house(config: Config) -> (House, Arc<Mutex<Notes>>) {
    let lab = Lab::with_dots(300);
    let notes = Arc::clone(&lab.notes);
    (House::open(config, |server| server.game("lab", move |_| lab.clone())), notes)
}

fn join_slowly(house: &House, name: &str) -> Client {
    let mut slow = Client::knock_with_small_buffer(house.address());
    slow.say_hello(&hello("lab", name));
    slow.until_it_sees_all();
    slow
}

#[test]
fn a_cell_that_is_wanted_again_comes_as_a_snapshot_and_other_cells_are_ignored() {
    let (house, _) = noisy_house(Config { tick_rate: 60, ..config() });
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let cells: Vec<CellId> = ada.replica.view().to_vec();
    let (before, at) = (ada.snapshots, ada.ticks.len());

    ada.want(&[CellId(77), cells[1]]);

    ada.until("the snapshot comes", |ada| ada.snapshots > before && ada.replica.view_is_complete());
    assert_eq!(ada.snapshots, before + 1);
    assert!(ada.ticks.len() < at + 60, "within a few ticks");

    // Asking twice is harmless.
    ada.want(&cells);
    ada.want(&cells);
    ada.until("both cells came", |ada| ada.snapshots >= before + 3 && ada.replica.view_is_complete());
    until("they are counted", || house.metrics().wants.get() >= 3);
    let mut bob = Client::join(house.address(), "lab", "Bob");
    until_they_agree(&mut ada, &mut bob);
}

#[test]
fn a_slow_reader_is_skipped_not_closed_and_comes_back_while_the_others_miss_nothing() {
    let (house, notes) = noisy_house(Config { tick_rate: 60, ..config() });
    let mut bob = Client::join(house.address(), "lab", "Bob");
    let mut slow = join_slowly(&house, "Slow");
    bob.until("Bob sees the slow one", |bob| bob.sees("Slow").is_some());
    let bobs_first = bob.ticks.len();

    // It reads nothing, and goes on playing, until it was skipped at so many ticks in a row that deltas are not enough. The
    // count may lag a little behind what Bob hears.
    let deadline = Instant::now() + PATIENCE;
    let (mut sent, mut skipped) = (0, vec![]);
    while !skipped.rchunks(4 * BATCHES_KEPT).next().is_some_and(was_skipped_nearly_always) {
        assert!(Instant::now() < deadline, "never skipped: {skipped:?}");
        let heard = bob.ticks.len();
        bob.until("a tick passes", |bob| bob.ticks.len() > heard);
        sent += 1;
        slow.walk(0, -1);
        skipped.push(house.metrics().skipped_updates.get());
    }
    slow.walk(0, 7);
    bob.until("its inputs count all the time", |bob| bob.sees("Slow").unwrap().row[3] == 7);
    assert!(notes.lock().unwrap().inputs > sent / 2, "inputs were applied while it did not read");
    assert!(house.metrics().outbox_bytes.get() > 0);
    slow.chat("can you hear me");
    bob.until("they are heard", |bob| bob.lines() == ["can you hear me"]);
    let gaps: Vec<u32> =
        bob.ticks[bobs_first..].windows(2).map(|two| two[1] - two[0]).filter(|&gap| gap != 1).collect();
    let caught_up = house.metrics().tick_overruns.get() > 0 || gaps.iter().all(|&gap| gap <= 4);
    assert!(caught_up, "Bob missed ticks: {gaps:?}");

    let behind = *bob.ticks.last().unwrap();
    let mut was_told = false;
    slow.until("it is back", |slow| {
        let header = slow.replica.header();
        was_told |= header.flags & tickyard_protocol::tick::SKIPPED != 0;
        header.tick.0 > behind && slow.replica.view_is_complete()
    });
    assert!(was_told, "the header says that updates were skipped");
    slow.until("what was said meanwhile has arrived", |slow| slow.lines() == ["can you hear me"]);
    until("it is counted that deltas were not enough", || house.metrics().wants.get() > 0);
    until_they_agree(&mut slow, &mut bob);
    until("nothing waits any longer", || {
        slow.listen();
        house.metrics().outbox_bytes.get() == 0
    });
}

/// Whether a count that was read at each of many ticks rose with nearly all of them.
fn was_skipped_nearly_always(counts: &[u64]) -> bool {
    let rose = counts[counts.len() - 1] - counts[0];
    counts.len() == 4 * BATCHES_KEPT && rose as usize >= counts.len() - 4
}

#[test]
fn who_takes_nothing_for_the_slow_timeout_is_dropped_however_much_it_sends() {
    let (house, _) =
        noisy_house(Config { tick_rate: 60, slow_timeout: Duration::from_millis(500), ..config() });
    let mut bob = Client::join(house.address(), "lab", "Bob");
    let mut slow = join_slowly(&house, "Slow");

    let deadline = Instant::now() + PATIENCE;
    while house.metrics().closes.get(CloseReason::Slow) == 0 {
        assert!(Instant::now() < deadline, "never dropped");
        let heard = bob.ticks.len();
        bob.until("a tick passes", |bob| bob.ticks.len() > heard);
        slow.walk(1, 1);
    }

    bob.until("it is gone for the others", |bob| bob.sees("Slow").is_none());
    until("its seat is free", || house.metrics().players.get() == 1);
    until("nothing waits for it", || house.metrics().outbox_bytes.get() == 0);
    assert_eq!(slow.until_the_end(), End::Cut);
}

#[test]
fn who_is_dropped_as_slow_learns_of_it_though_it_neither_reads_nor_speaks() {
    let (house, _) =
        noisy_house(Config { tick_rate: 60, slow_timeout: Duration::from_millis(500), ..config() });
    let mut slow = join_slowly(&house, "Slow");

    // Only a reset gets past what it has not read.
    until("it is told", || slow.stream().take_error().unwrap().is_some());
    assert_eq!(house.metrics().closes.get(CloseReason::Slow), 1);
}

#[test]
fn who_walked_away_while_it_did_not_read_sees_what_is_there_and_not_where_it_was() {
    let (house, _) = noisy_house(Config { tick_rate: 60, ..config() });
    let mut slow = join_slowly(&house, "Slow");
    let mut bob = Client::join(house.address(), "lab", "Bob");
    let there = Client::over_there(&house);
    let first_view = slow.replica.view().to_vec();
    until("its buffers are full", || house.metrics().skipped_updates.get() > 3);

    // Through several cells, each a new view of which it is not told.
    slow.walk(50, 0);
    bob.until("it is out of sight", |bob| bob.sees("Slow").is_none());
    bob.walk(50, 0);
    let mut there = there;
    until_both("both are there", [&mut bob, &mut there], |_, there| {
        ["Slow", "Bob"].iter().all(|name| there.sees(name).is_some_and(|seen| seen.row[0] > 900))
    });

    slow.until("it sees where it is", |slow| {
        slow.replica.view_is_complete() && slow.sees("There").is_some() && slow.replica.view() != first_view
    });
    assert!(slow.replica.entities().all(|entity| entity.kind == 0), "no dots here");
    until_both("the same view", [&mut slow, &mut there], |slow, there| {
        slow.replica.view().len() == there.replica.view().len()
    });
    until_they_agree(&mut slow, &mut there);
}

impl Client {
    /// Somebody at the far end of the world.
    fn over_there(house: &House) -> Client {
        let mut there = Client::join(house.address(), "lab", "There");
        there.walk(50, 0);
        there.until("it is there", |there| there.replica.own().unwrap().row[0] > 1000);
        there
    }
}

#[test]
fn a_crowd_that_joins_at_once_agrees_on_the_world() {
    let (house, _) = noisy_house(Config { tick_rate: 60, ..config() });
    let names: Vec<String> = (0..8).map(|at| format!("P{at}")).collect();
    let mut crowd: Vec<Client> = names.iter().map(|_| Client::knock(house.address())).collect();
    for (client, name) in crowd.iter_mut().zip(&names) {
        client.say_hello(&hello("lab", name));
    }
    for client in &mut crowd {
        client.until_it_sees_all();
        client.until("everybody is there", |client| names.iter().all(|name| client.sees(name).is_some()));
    }
    let (first, others) = crowd.split_first_mut().unwrap();
    for other in others {
        until_both("the same view", [first, other], |one, other| one.replica.view() == other.replica.view());
        until_they_agree(first, other);
    }
}
