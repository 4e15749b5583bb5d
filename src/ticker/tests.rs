//! Simulation threads between channels of our own.

// A shell: it runs on the clock.
#![allow(clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
use tickyard_protocol::message::{RefusalCode, Seek};
use tickyard_protocol::types::{PlayerId, Tick};

use super::*;
use crate::bridge::{Ask, ConnId, Join, Leave};
use crate::game::{Game, Joining, Refusal, World};
use crate::lobby::Hosted;
use crate::sim::clock::CATCH_UP_MAX;
use crate::sim::{Room, RoomConfig};

/// A game without things, which holds up one of its ticks.
struct Stall {
    stall_at: u32,
    /// Hears nothing and so waits until the time is up.
    held_up_by: Receiver<()>,
    for_long: Duration,
    /// Goes on while nobody is there.
    is_sleepless: bool,
}

impl Stall {
    /// Never.
    fn none() -> Stall {
        Stall {
            stall_at: 0,
            held_up_by: crossbeam_channel::never(),
            for_long: Duration::ZERO,
            is_sleepless: false,
        }
    }
}

struct Nothing;

impl Game for Stall {
    type Thing = Nothing;
    type Input = Nothing;

    fn join(&mut self, _: &mut World<Nothing>, _: PlayerId, _: &Joining) -> Result<(), Refusal> {
        Ok(())
    }

    fn leave(&mut self, _: &mut World<Nothing>, _: PlayerId, _: Leave) {}

    fn input(&mut self, _: &mut World<Nothing>, _: PlayerId, _: &Nothing) {}

    fn sleeps(&self) -> bool {
        !self.is_sleepless
    }

    fn tick(&mut self, _: &mut World<Nothing>, tick: Tick) {
        if tick.0 == self.stall_at {
            let _ = self.held_up_by.recv_timeout(self.for_long);
        }
    }
}

impl Kinds for Nothing {
    fn kinds() -> Vec<Kind> {
        vec![]
    }

    fn kind(&self) -> u8 {
        0
    }

    fn write(&self, _: &mut [i32]) {}
}

impl Fields for Nothing {
    fn fields() -> Vec<Field> {
        vec![]
    }

    fn write(&self, _: &mut [i32]) {}

    fn read(_: &[i32]) -> Nothing {
        Nothing
    }
}

/// Simulation threads with rooms at 60 Hz, and as many io threads as there are channels.
struct Rig {
    ticker: Ticker,
    /// By simulation thread.
    commands: Vec<Sender<CommandList>>,
    batches: Vec<Receiver<Delivery>>,
    wakes: Receiver<usize>,
    metrics: Arc<Metrics>,
    lobby: Arc<Lobby>,
    /// Keeps the stall waiting.
    _hold: Sender<()>,
}

/// The first room is there from the start, the others open.
const ROOMS: u32 = 20;
/// Its game fails when it is made.
const BROKEN: RoomId = RoomId(13);

impl Rig {
    fn new(channels: &[usize], stall_at: u32, for_long: Duration) -> Rig {
        Rig::with_threads(1, 10, channels, Stall { stall_at, for_long, ..Stall::none() })
    }

    fn with_threads(threads: usize, phases: u32, channels: &[usize], stall: Stall) -> Rig {
        let (_hold, held_up_by) = bounded(0);
        let opener = |id: RoomId| {
            assert!(id != BROKEN, "a game that cannot even begin");
            (id.0 < ROOMS).then(|| room(id, Stall::none()))
        };
        let (commands, drained) = (0..threads).map(|_| bounded(COMMAND_LISTS_MAX)).unzip();
        let (waking, wakes) = unbounded();
        let (mut outputs, mut batches) = (Vec::new(), Vec::new());
        for (thread, &capacity) in channels.iter().enumerate() {
            let (sender, receiver) = bounded(capacity);
            let waking = waking.clone();
            outputs.push(Output { sender, wake: Arc::new(move || waking.send(thread).unwrap()) });
            batches.push(receiver);
        }
        let metrics = Arc::new(Metrics::new());
        let hosted = Hosted { name: "stall".into(), input: vec![], rooms_max: ROOMS, seats: 1 };
        let lobby = Arc::new(Lobby::hosting(hosted));
        let seek = lobby.find(&Seek::JoinOrCreate("stall")).unwrap();
        (0..ROOMS).for_each(|_| _ = lobby.take_seat(seek).unwrap());
        let open = vec![room(RoomId(0), Stall { held_up_by, ..stall })];
        let lobby_too = Arc::clone(&lobby);
        let flight = Flight::new(Instant::now(), Arc::clone(&metrics), Box::new(|_| None), None);
        let rooms = Rooms { open, opener: Box::new(opener), lobby: lobby_too, phases, tick_rate: 60 };
        let ticker = Ticker::spawn(rooms, drained, &outputs, &Arc::new(flight)).unwrap();
        Rig { ticker, commands, batches, wakes, metrics, lobby, _hold }
    }

    fn join(&self, conn: ConnId) {
        self.ask(RoomId(0), conn, join());
    }

    fn ask(&self, room: RoomId, conn: ConnId, ask: Ask) {
        let commands = &self.commands[room.0 as usize % self.commands.len()];
        commands.send(list_of(vec![Command { room, conn, ask }])).unwrap();
    }

    fn list(&self, thread: usize) -> Vec<SharedBatch> {
        self.batches[thread].recv_timeout(PATIENCE).expect("batches come every tick").batches
    }

    /// Of the only room.
    fn batch(&self, thread: usize) -> SharedBatch {
        let list = self.list(thread);
        assert_eq!(list.len(), 1);
        list[0].clone()
    }

    fn wake(&self) -> usize {
        self.wakes.recv_timeout(PATIENCE).expect("a wake comes with every list")
    }

    /// Waits until so many phases were stepped.
    fn until(&self, is_so: impl Fn(&Metrics) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.metrics) {
            assert!(Instant::now() < deadline, "not in time");
            self.batches.iter().for_each(|batches| batches.try_iter().for_each(drop));
            thread::yield_now();
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn room(id: RoomId, game: Stall) -> Box<dyn AnyRoom> {
    let (name, kind) = (format!("stall-{}", id.0 + 1), "stall".into());
    let config = RoomConfig { id, name, game: kind, tick_rate: 60, capacity: 9, seed: 0 };
    Box::new(Room::new(config, game).unwrap())
}

fn join() -> Ask {
    Ask::Join(Box::new(Join { name: "Ada".into(), options: vec![] }))
}

fn list_of(commands: Vec<Command>) -> CommandList {
    CommandList { commands, ..CommandList::default() }
}

fn conn(thread: u16, slot: u32) -> ConnId {
    ConnId { thread, slot, generation: 0 }
}

#[test]
fn a_batch_goes_to_the_threads_that_it_concerns_and_wakes_each_once() {
    let rig = Rig::new(&[64, 64], 0, Duration::ZERO);
    rig.join(conn(1, 0));
    let first = rig.batch(1);
    assert_eq!(first.joined[0].conn, conn(1, 0));
    rig.ask(RoomId(ROOMS), conn(0, 0), Ask::Ack(0));
    let (mut last, mut heard) = (first, 1);
    while rig.metrics.commands_stale.get() == 0 || heard < 4 {
        (last, heard) = (rig.batch(1), heard + 1);
    }
    rig.ticker.stop();
    assert_eq!(rig.batches[0].len(), 0);
    let wakes: Vec<usize> = rig.wakes.try_iter().collect();
    assert!(wakes.iter().all(|&thread| thread == 1));
    assert_eq!(wakes.len(), heard + rig.batches[1].len());
    assert_eq!((rig.metrics.players.get(), rig.metrics.commands_stale.get()), (1, 1));
    assert!(rig.metrics.ticks.get() >= last.tick().0 as u64);
    assert!(rig.metrics.tick_lag.count() >= 4 && rig.metrics.tick_duration.count() >= 4);
}

#[test]
fn a_thread_that_does_not_keep_up_hears_later_what_it_must_not_miss() {
    let rig = Rig::new(&[1], 0, Duration::ZERO);
    rig.join(conn(0, 0));
    rig.wake();
    rig.join(conn(0, 1));
    // The first batch fills the channel; meanwhile the second player was let in.
    while rig.metrics.players.get() < 2 {
        rig.wake();
    }
    assert_eq!(rig.batch(0).joined.len(), 1);
    let second = rig.batch(0);
    assert_eq!(second.joined.iter().map(|joined| joined.conn).collect::<Vec<_>>(), [conn(0, 1)]);
    assert!(second.parts.iter().all(|part| part.view.is_some()), "views come again");
    rig.ticker.stop();
}

#[test]
fn after_a_stall_a_few_ticks_are_caught_up_at_once_and_the_others_are_counted() {
    let rig = Rig::new(&[64], 4, Duration::from_millis(300));
    rig.join(conn(0, 0));
    let mut batches: Vec<SharedBatch> = Vec::new();
    while batches.len() < 6 || rig.metrics.tick_overruns.get() == 0 {
        batches.push(rig.batch(0));
    }
    rig.ticker.stop();
    let steps = batches.windows(2).map(|pair| pair[1].tick().since(pair[0].tick()));
    assert!(steps.clone().all(|step| (1..=CATCH_UP_MAX).contains(&step)), "{:?}", steps.collect::<Vec<_>>());
    // 300 ms are 18 periods.
    assert!(rig.metrics.tick_overruns.get() >= 18 - CATCH_UP_MAX as u64 - 1);
}

#[test]
fn a_flood_of_commands_does_not_hold_up_the_ticks() {
    let rig = Rig::new(&[64], 0, Duration::ZERO);
    rig.join(conn(0, 0));
    let first = rig.batch(0).tick();
    let flood: Vec<_> =
        (0..100).map(|_| Command { room: RoomId(0), conn: conn(0, 7), ask: Ask::Ack(0) }).collect();
    while rig.batches[0].is_empty() || rig.batch(0).tick().since(first) < 20 {
        let _ = rig.commands[0].try_send(list_of(flood.clone()));
    }
    rig.ticker.stop();
    assert!(rig.metrics.commands_stale.get() > 1000);
}

#[test]
fn each_phase_gets_as_many_rooms_as_any_other_and_few_rooms_lie_far_apart() {
    for phases in 1..=100 {
        let mut rooms = vec![0; phases as usize];
        (0..3 * phases).for_each(|room| rooms[phase_of(room, phases) as usize] += 1);
        assert!(rooms.iter().all(|&rooms| rooms == 3), "{phases}: {rooms:?}");
    }
    assert_eq!([0, 1, 2, 3, 4].map(|room| phase_of(room, 10)), [0, 7, 4, 1, 8]);
    assert_eq!([0, 1].map(|room| phase_of(room, 2)), [0, 1]);
}

#[test]
fn rooms_of_a_phase_come_together_and_phases_lie_evenly_in_the_period() {
    let rig = Rig::with_threads(1, 10, &[1000, 1000], Stall::none());
    let (played, lists) = ([0, 1, 2, 10, 11, 12, 17], 200);
    // Both io threads have a player in each room.
    for (room, thread) in played.iter().flat_map(|&room| [(room, 0), (room, 1)]) {
        rig.ask(RoomId(room), conn(thread, room), join());
    }
    rig.until(|metrics| metrics.players.get() == 14);
    rig.wakes.try_iter().for_each(drop);
    let mut offsets = BTreeMap::new();
    for _ in 0..lists {
        let list = rig.list(0);
        let rooms: Vec<u32> = list.iter().filter_map(|batch| batch.room).map(|room| room.0).collect();
        let phase = phase_of(rooms[0], 10);
        assert!(rooms.iter().all(|&room| phase_of(room, 10) == phase), "{rooms:?}");
        let all = played.iter().filter(|&&room| phase_of(room, 10) == phase).count();
        assert_eq!(rooms.len(), all, "all of the phase: {rooms:?}");
        assert!(list.iter().all(|batch| batch.due == list[0].due));
        offsets.entry(phase).or_insert(list[0].due.as_micros());
    }
    rig.ticker.stop();
    // 0, 7, 4 and 9, of which each has two rooms but the last.
    let period = 1_000_000 / 60;
    let first = offsets[&0];
    for (phase, due) in offsets {
        let behind = (due as i64 - first as i64).rem_euclid(period);
        let (expected, next) = (period * phase as i64 / 10, period - 20);
        assert!((behind - expected).abs() <= 20 || behind >= next && phase == 0, "{phase}: {behind}");
    }
    let taken = lists + rig.batches[0].len();
    let wakes = rig.wakes.try_iter().filter(|&thread| thread == 0).count();
    // Some lists came before the wakes were counted.
    assert!((taken - 20..=taken).contains(&wakes), "{wakes} wakes for {taken} lists");
}

#[test]
fn rooms_are_dealt_out_to_the_threads_and_each_steps_its_own() {
    let rig = Rig::with_threads(3, 2, &[1000], Stall::none());
    for room in 0..9 {
        rig.ask(RoomId(room), conn(0, room), join());
    }
    rig.until(|metrics| metrics.players.get() == 9);
    let mut heard = BTreeMap::new();
    while heard.len() < 9 || heard.values().any(|&count| count < 5) {
        let list = rig.list(0);
        let rooms: Vec<u32> = list.iter().filter_map(|batch| batch.room).map(|room| room.0).collect();
        assert!(rooms.iter().all(|room| room % 3 == rooms[0] % 3), "a list is of one thread: {rooms:?}");
        rooms.into_iter().for_each(|room| *heard.entry(room).or_insert(0) += 1);
    }
    assert_eq!(rig.metrics.rooms.get(), 9);
    let (ticker, batches) = (rig.ticker, rig.batches);
    ticker.stop();
    batches[0].try_iter().for_each(drop);
    assert!(batches[0].is_empty(), "all threads have ended");
}

#[test]
fn a_room_that_stalls_its_thread_does_not_hold_up_those_of_another() {
    let stall = Stall { stall_at: 2, for_long: PATIENCE, ..Stall::none() };
    let rig = Rig::with_threads(2, 1, &[1000], stall);
    rig.ask(RoomId(0), conn(0, 0), join());
    rig.ask(RoomId(1), conn(0, 1), join());
    let of_other = |list: &[SharedBatch]| list.iter().any(|batch| batch.room == Some(RoomId(1)));
    let mut heard = 0;
    while heard < 30 {
        heard += of_other(&rig.list(0)) as u32;
    }
    drop(rig._hold);
    rig.ticker.stop();
}

#[test]
fn an_empty_room_sleeps_and_its_ticks_go_on_where_they_stood() {
    let rig = Rig::new(&[1000], 0, Duration::ZERO);
    let awake = |metrics: &Metrics| metrics.rooms_awake.get();
    assert_eq!((awake(&rig.metrics), rig.metrics.rooms.get()), (0, 1), "nobody has come yet");
    rig.join(conn(0, 0));
    let first = rig.batch(0);
    assert_eq!(first.joined.len(), 1);
    rig.ask(RoomId(0), conn(0, 0), Ask::Leave(Leave::Left));
    rig.until(|metrics| awake(metrics) == 0);
    let slept_at = rig.metrics.ticks.get();

    // Another room ticks meanwhile.
    rig.ask(RoomId(1), conn(0, 1), join());
    rig.until(|metrics| metrics.ticks.get() > slept_at + 30);
    rig.ask(RoomId(1), conn(0, 1), Ask::Leave(Leave::Left));
    rig.until(|metrics| awake(metrics) == 0);

    rig.join(conn(0, 2));
    let again = rig.batch(0);
    assert_eq!((again.room, again.joined.len()), (Some(RoomId(0)), 1));
    let lived = again.tick().0 - slept_at as u32;
    assert!((1..=CATCH_UP_MAX).contains(&lived), "{lived} ticks after {slept_at}");
    rig.ticker.stop();
}

#[test]
fn a_game_that_does_not_sleep_ticks_without_anybody() {
    let rig = Rig::with_threads(1, 1, &[1000], Stall { is_sleepless: true, ..Stall::none() });
    rig.until(|metrics| metrics.ticks.get() > 10);
    assert_eq!(rig.metrics.rooms_awake.get(), 1);
    rig.ticker.stop();
}

#[test]
fn who_comes_and_goes_while_a_thread_is_held_up_is_told_before_the_room_sleeps() {
    let rig = Rig::new(&[1], 0, Duration::ZERO);
    // Fills the channel.
    rig.ask(RoomId(1), conn(0, 1), join());
    rig.wake();
    // It turns everybody away, and nobody is in it.
    rig.ask(BROKEN, conn(0, 0), join());
    let deadline = Instant::now() + PATIENCE;
    while rig.metrics.rooms_failed.get() == 0 {
        assert!(Instant::now() < deadline);
        rig.wake();
    }
    (0..5).for_each(|_| _ = rig.wake());
    let refused = loop {
        let list = rig.list(0);
        if let Some(batch) = list.iter().find(|batch| batch.room == Some(BROKEN)) {
            break batch.refused.clone();
        }
    };
    assert_eq!((refused[0].conn, refused[0].code), (conn(0, 0), RefusalCode::Game));
    rig.until(|metrics| metrics.rooms_awake.get() == 1);
    rig.ticker.stop();
}

#[test]
fn a_game_that_fails_when_it_is_made_ends_its_own_room_only() {
    let rig = Rig::new(&[1000], 0, Duration::ZERO);
    rig.ask(BROKEN, conn(0, 0), Ask::Ack(1));
    rig.ask(BROKEN, conn(0, 0), join());
    let list = rig.list(0);
    assert_eq!((list[0].room, list[0].refused.len(), list[0].joined.len()), (Some(BROKEN), 1, 0));
    assert_eq!(list[0].refused[0], crate::bridge::Refusal::of_failed_room(conn(0, 0)));
    rig.until(|metrics| metrics.rooms_awake.get() == 0);
    assert_eq!(rig.metrics.rooms_failed.get(), 1);
    let this = rig.lobby.find(&Seek::Room("stall-14")).unwrap();
    assert_eq!(
        rig.lobby.take_seat(this).unwrap_err().code,
        RefusalCode::Game,
        "nobody is sent there any more"
    );
    rig.join(conn(0, 1));
    assert_eq!(rig.batch(0).joined.len(), 1);
    rig.ticker.stop();
}
