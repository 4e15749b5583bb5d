//! Encoded once per cell and publication, whoever listens; and a live run that can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tickyard::Config;
use tickyard::bridge::{Ask, Batch, Command, ConnId, RoomId, SharedBatch};
use tickyard::game::Game;
use tickyard::game::arena::{Arena, DIRECTION_MAX, Run};
use tickyard::sim::{AnyRoom, Room, RoomConfig, RoomCounts};
use tickyard::stage::Stages;
use tickyard::time::Time;
use tickyard_protocol::message::Hello;

use crate::common::client::{Client, hello};
use crate::common::lab::{Lab, WATCH, Walk};
use crate::common::{House, config};

/// What happened in a room, step by step.
#[derive(Default)]
struct Journal {
    config: Option<RoomConfig>,
    steps: Vec<Step>,
    /// Commands since the last step.
    commands: Vec<Command>,
    /// Io threads that did not get the last batch.
    undelivered: Vec<u16>,
    /// The threads that stepped it.
    stepped_by: BTreeSet<String>,
}

struct Step {
    undelivered: Vec<u16>,
    commands: Vec<Command>,
    ticks: u32,
    due: Time,
    hash: u64,
    segments: Segments,
    counts: RoomCounts,
}

/// By cell: delta and snapshot.
type Segments = BTreeMap<u32, (Vec<u8>, Vec<u8>)>;

/// A room that keeps a journal.
struct Recorder {
    room: Box<dyn AnyRoom>,
    journal: Arc<Mutex<Journal>>,
}

impl Recorder {
    fn open<G: Game>(config: RoomConfig, game: G, journal: &Arc<Mutex<Journal>>) -> Box<dyn AnyRoom> {
        journal.lock().unwrap().config = Some(config.clone());
        let room = Box::new(Room::new(config, game).unwrap());
        Box::new(Recorder { room, journal: Arc::clone(journal) })
    }
}

impl AnyRoom for Recorder {
    fn id(&self) -> RoomId {
        self.room.id()
    }

    fn tick_rate(&self) -> u16 {
        self.room.tick_rate()
    }

    fn command(&mut self, command: Command) {
        self.journal.lock().unwrap().commands.push(command.clone());
        self.room.command(command);
    }

    fn step(&mut self, ticks: u32, due: Time, stages: &mut dyn Stages) -> SharedBatch {
        let batch = self.room.step(ticks, due, stages);
        let journal = &mut *self.journal.lock().unwrap();
        journal.stepped_by.extend(std::thread::current().name().map(str::to_owned));
        let (commands, undelivered) =
            (std::mem::take(&mut journal.commands), std::mem::take(&mut journal.undelivered));
        let (hash, segments) = (self.room.hash(), segments(&batch));
        let counts = RoomCounts::default();
        journal.steps.push(Step { undelivered, commands, ticks, due, hash, segments, counts });
        batch
    }

    fn undelivered(&mut self, thread: u16) {
        self.journal.lock().unwrap().undelivered.push(thread);
        self.room.undelivered(thread);
    }

    fn sleeps(&self) -> bool {
        self.room.sleeps()
    }

    fn players(&self) -> usize {
        self.room.players()
    }

    fn hash(&self) -> u64 {
        self.room.hash()
    }

    fn take_counts(&mut self) -> RoomCounts {
        let counts = self.room.take_counts();
        if let Some(step) = self.journal.lock().unwrap().steps.last_mut() {
            step.counts = counts;
        }
        counts
    }
}

fn segments(batch: &Batch) -> Segments {
    let cells = batch.segments.cells.iter().enumerate();
    let spoken = cells.filter(|(_, entry)| !entry.delta.is_empty() || !entry.snapshot.is_empty());
    let bytes = |span| batch.segments.slice(span).to_vec();
    spoken.map(|(cell, entry)| (cell as u32, (bytes(entry.delta), bytes(entry.snapshot)))).collect()
}

#[test]
fn a_cell_is_encoded_once_a_publication_for_one_listener_and_for_four_hundred() {
    let journal = Arc::new(Mutex::new(Journal::default()));
    let recorded = Arc::clone(&journal);
    let house = House::open(config(), |server| {
        server.room::<Walk>("lab", move |config| Recorder::open(config, Lab::with_dots(10), &recorded))
    });
    let watch = Hello { options: WATCH, ..hello("lab", "") };
    let mut first = Client::knock(house.address());
    first.say_hello(&watch);
    first.until("a second passes", |first| first.ticks.len() > 20);
    let alone = journal.lock().unwrap().steps.len();

    let mut crowd: Vec<Client> = (1..400).map(|_| Client::knock(house.address())).collect();
    crowd.iter_mut().for_each(|client| client.say_hello(&watch));
    for client in &mut crowd {
        client.until_it_sees_all();
        // One more: a delta, not the snapshot that a newcomer gets.
        let snapshots = client.snapshots;
        client.until("a delta comes", |client| client.replica.counts().rows_changed > 0);
        assert_eq!(client.snapshots, snapshots);
    }
    let heard = first.ticks.len();
    first.until("the first one still hears each tick", |first| first.ticks.len() > heard + 20);

    // Taken out, so that an assertion that fails holds no lock. The last step may not be counted yet.
    let mut steps = std::mem::take(&mut journal.lock().unwrap().steps);
    steps.pop();
    let joined = steps.iter().position(|step| step.counts.snapshots > 0).unwrap();
    assert!(alone > joined + 10 && steps.len() > alone + 10);
    let steps = &steps[joined + 1..];
    assert!(steps.iter().all(|step| step.counts.deltas == 1), "one cell changes, so one delta a step");
    let cells = first.replica.view().len() as u64;
    assert!(steps.iter().all(|step| step.counts.snapshots <= cells), "however many join at once");
    assert_eq!(house.metrics().players.get(), 400);
}

/// Plays for a while on a real server, and gives back what its rooms saw.
fn live(io_threads: usize, sim_threads: usize, rooms: u32) -> Vec<Journal> {
    let opened: Arc<Mutex<Vec<Arc<Mutex<Journal>>>>> = Arc::default();
    // Of several rooms each has one seat.
    let capacity = if rooms > 1 { 1 } else { 10 };
    let config = Config { io_threads, sim_threads, rooms, capacity, tick_rate: 60, seed: 42, ..config() };
    let recorded = Arc::clone(&opened);
    let house = House::open(config, |server| {
        server.room::<Run>("arena", move |config| {
            let journal = Arc::default();
            recorded.lock().unwrap().push(Arc::clone(&journal));
            // Small cells, so that views change and entities cross.
            Recorder::open(config, Arena::new(60, 10_000), &journal)
        })
    });
    let mut players: Vec<Client> = ["Ada", "Bob", "Eve"].iter().map(|name| join(&house, name)).collect();
    for round in 0..12i32 {
        for (at, player) in (0..).zip(&mut players) {
            let (dx, dy) = ((round * 3 + at) % 5 - 2, (round + at * 2) % 5 - 2);
            player.walk(dx * DIRECTION_MAX, dy * DIRECTION_MAX);
            if round % 4 == at {
                player.chat("here I am");
                let cells: Vec<_> = player.replica.view().to_vec();
                player.want(&cells);
            }
            let heard = player.ticks.len();
            player.until("it runs for a while", |player| player.ticks.len() > heard + 4);
        }
        match round % 3 {
            0 => players.push(join(&house, "")),
            1 => players.remove(0).vanish(),
            _ => players.remove(0).leave(),
        }
        if players.len() < 3 {
            players.push(join(&house, "Newcomer"));
        }
    }
    house.stop();
    let journals = Arc::into_inner(opened).unwrap().into_inner().unwrap();
    journals.into_iter().map(|journal| Arc::into_inner(journal).unwrap().into_inner().unwrap()).collect()
}

fn join(house: &House, name: &str) -> Client {
    Client::join(house.address(), "arena", name)
}

fn replay(journal: &Journal, conn: impl Fn(ConnId) -> ConnId) {
    let config = journal.config.clone().unwrap();
    let mut room = Room::new(config, Arena::new(60, 10_000)).unwrap();
    for (at, step) in journal.steps.iter().enumerate() {
        step.undelivered.iter().for_each(|&thread| room.undelivered(thread));
        for command in &step.commands {
            room.command(Command { conn: conn(command.conn), ..command.clone() });
        }
        // Whatever was due when: only how many ticks it was counts.
        let batch = room.step(step.ticks, Time::ZERO, &mut ());
        assert_eq!(room.hash(), step.hash, "the state after step {at}");
        assert_eq!(segments(&batch), step.segments, "the bytes of step {at}");
    }
}

fn a_live_run_can_be_repeated(io_threads: usize, sim_threads: usize, rooms: u32) {
    let journals = live(io_threads, sim_threads, rooms);
    let steps: Vec<&Step> = journals.iter().flat_map(|journal| &journal.steps).collect();
    assert!(steps.len() > 60 && steps.iter().any(|step| step.due > Time::ZERO));
    let commands: Vec<&Command> = steps.iter().flat_map(|step| &step.commands).collect();
    let asked = |is: fn(&Ask) -> bool| commands.iter().filter(|command| is(&command.ask)).count();
    assert!(asked(|ask| matches!(ask, Ask::Join(_))) > 5 && asked(|ask| matches!(ask, Ask::Leave(_))) > 3);
    assert!(asked(|ask| matches!(ask, Ask::Input(_))) > 30 && asked(|ask| matches!(ask, Ask::Want(_))) > 5);
    let threads: BTreeSet<u16> = commands.iter().map(|command| command.conn.thread).collect();
    assert_eq!(threads.len(), io_threads, "all io threads took part");
    let stepped_by: BTreeSet<&String> = journals.iter().flat_map(|journal| &journal.stepped_by).collect();
    assert_eq!(stepped_by.len(), sim_threads, "and all of the simulation");

    for journal in &journals {
        replay(journal, |conn| conn);
        // And with the connections dealt out to other threads. A thread that missed a batch would make a difference.
        if journal.steps.iter().all(|step| step.undelivered.is_empty()) {
            replay(journal, |conn| ConnId {
                thread: 6 - (conn.slot as u16 + conn.thread) % 7,
                slot: conn.slot * 4 + conn.thread as u32,
                ..conn
            });
        }
    }
}

#[test]
fn the_journal_of_a_live_run_repeats_it_hash_by_hash_and_byte_by_byte() {
    a_live_run_can_be_repeated(1, 1, 1);
}

#[test]
fn the_journal_of_a_live_run_on_three_io_threads_repeats_it_hash_by_hash_and_byte_by_byte() {
    a_live_run_can_be_repeated(3, 1, 1);
}

#[test]
fn the_journals_of_rooms_on_four_simulation_threads_repeat_them_on_one_hash_by_hash_and_byte_by_byte() {
    a_live_run_can_be_repeated(2, 4, 8);
}
