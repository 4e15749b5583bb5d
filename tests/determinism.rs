//! A room's state follows from its seed and its journal alone: same hashes and the same bytes of each delta and snapshot,
//! whatever the number of io threads, the connections' places in them, and what happens to batches afterwards.

use std::collections::BTreeMap;
use std::thread;

use tickyard::bridge::{Ask, Command, ConnId, Join, Leave, Message, Rate, RoomId, SharedBatch};
use tickyard::game::Random;
use tickyard::game::arena::Arena;
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard_protocol::message::Input;
use tickyard_protocol::types::{CellId, Seq};

const PLAYERS: u32 = 50;
const TICKS: usize = 300;

/// What was asked in one step, by number of connection, and how many ticks it had.
struct Step {
    asks: Vec<(u32, Ask)>,
    ticks: u32,
}

/// A session as the journal's author knows it.
#[derive(Default)]
struct Client {
    seq: u32,
    messages: u32,
}

/// Joins, leaves, inputs, chat and wishes of about 50 players.
fn journal(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut clients: BTreeMap<u32, Client> = BTreeMap::new();
    let mut conns = 0;
    let mut steps = Vec::new();
    for at in 0..TICKS as u32 {
        let mut asks = Vec::new();
        if (clients.len() as u32) < PLAYERS && random.below(3) > 0 {
            let name = if random.below(2) == 0 { String::new() } else { format!("Ada {conns}") };
            asks.push((conns, Ask::Join(Box::new(Join { name, options: Vec::new() }))));
            clients.insert(conns, Client::default());
            conns += 1;
        }
        for (&conn, client) in &mut clients {
            match random.below(40) {
                23 => asks.push((conn, Ask::Rate(Rate::ALL[random.below(4) as usize]))),
                0 => asks.push((conn, Ask::Want([0, 5, 6, 7, 8].map(CellId).into()))),
                1 => {
                    client.messages += 1;
                    let payload = format!("line {}", client.messages).into_bytes();
                    let message = Message { number: client.messages, kind: "chat".into(), payload };
                    asks.push((conn, Ask::Message(Box::new(message))));
                }
                2 => asks.push((conn, Ask::Ack(random.below(at + 1)))),
                3..23 => {
                    client.seq += 1;
                    let mut row = [0; 16];
                    row[..2].fill_with(|| random.below(255) as i32 - 127);
                    asks.push((
                        conn,
                        Ask::Input(Input { seq: Seq(client.seq), ack: 0, render_tick: 0, row }),
                    ));
                }
                _ => {}
            }
        }
        if clients.len() > 20 && random.below(10) == 0 {
            let conn = *clients.keys().nth(random.below(20) as usize).unwrap();
            clients.remove(&conn);
            asks.push((conn, Ask::Leave(Leave::Left)));
        }
        let ticks = if random.below(30) == 0 { 3 } else { 1 };
        steps.push(Step { asks, ticks });
    }
    steps
}

/// What must not differ.
#[derive(Default, PartialEq)]
struct Trace {
    hashes: Vec<u64>,
    /// `(step, rate, cell)` → bytes.
    deltas: BTreeMap<(usize, Rate, u32), Vec<u8>>,
    snapshots: BTreeMap<(usize, Rate, u32), Vec<u8>>,
    /// Who acknowledged too little.
    removed: usize,
}

fn play(
    journal: &[Step],
    conn: impl Fn(u32) -> ConnId,
    mut after: impl FnMut(usize, &mut Room<Arena>),
) -> Trace {
    let (name, game) = ("r".into(), "arena".into());
    let config = RoomConfig { id: RoomId(0), name, game, tick_rate: 20, capacity: 100, seed: 99 };
    let mut room = Room::new(config, Arena::new(20, PLAYERS).with_far(Rate::Two)).unwrap();
    let mut trace = Trace::default();
    for (at, step) in journal.iter().enumerate() {
        for (number, ask) in &step.asks {
            room.command(Command { room: RoomId(0), conn: conn(*number), ask: ask.clone() });
        }
        let batch = room.step(step.ticks, Time::from_micros(at as u64 * 50_000), &mut ());
        trace.removed += batch.removed.len();
        trace.add(at, &batch, room.hash());
        after(at, &mut room);
    }
    assert!(room.players() > 30);
    trace
}

impl Trace {
    fn add(&mut self, step: usize, batch: &SharedBatch, hash: u64) {
        self.hashes.push(hash);
        let slower = batch.segments.slower.iter().map(|slower| &slower.cells);
        for (rate, cells) in Rate::ALL.into_iter().zip([&batch.segments.cells].into_iter().chain(slower)) {
            for (cell, entry) in cells.iter().enumerate() {
                let key = (step, rate, cell as u32);
                if !entry.delta.is_empty() {
                    self.deltas.insert(key, batch.segments.slice(entry.delta).to_vec());
                }
                if !entry.snapshot.is_empty() {
                    self.snapshots.insert(key, batch.segments.slice(entry.snapshot).to_vec());
                }
            }
        }
    }
}

fn one_thread(number: u32) -> ConnId {
    ConnId { thread: 0, slot: number, generation: 0 }
}

fn three_threads(number: u32) -> ConnId {
    ConnId { thread: (number % 3) as u16, slot: 1000 - number, generation: number * 7 }
}

#[test]
fn the_same_journal_gives_the_same_hashes_and_bytes_whatever_the_threads() {
    let journal = journal(5);
    let first = play(&journal, one_thread, |_, _| {});
    assert!(first.deltas.len() > 1000 && first.snapshots.len() > 300);
    for rate in Rate::ALL {
        assert!(first.deltas.keys().any(|&(_, of, _)| of == rate), "{rate:?}");
    }
    let distinct: std::collections::BTreeSet<_> = first.hashes.iter().collect();
    assert_eq!(distinct.len(), TICKS, "the hash tells states apart");

    assert!(play(&journal, one_thread, |_, _| {}) == first, "twice the same");
    assert!(play(&journal, three_threads, |_, _| {}) == first, "the same on three threads");
}

/// What each of some rooms does, which are dealt out to so many threads of the simulation.
fn play_on(threads: usize, journals: &[Vec<Step>]) -> Vec<Trace> {
    let mut traces: Vec<Trace> = journals.iter().map(|_| Trace::default()).collect();
    let mut dealt: Vec<Vec<(&Vec<Step>, &mut Trace)>> = (0..threads).map(|_| Vec::new()).collect();
    for (room, rooms) in journals.iter().zip(&mut traces).enumerate() {
        dealt[room % threads].push(rooms);
    }
    thread::scope(|scope| {
        for rooms in dealt {
            scope.spawn(|| {
                for (journal, trace) in rooms {
                    *trace = play(journal, three_threads, |_, _| {});
                }
            });
        }
    });
    traces
}

#[test]
fn the_same_log_gives_the_same_hashes_and_bytes_on_one_thread_of_the_simulation_and_on_four() {
    let log: Vec<Vec<Step>> = (10..18).map(journal).collect();
    let (one, four) = (play_on(1, &log), play_on(4, &log));
    for (room, (one, four)) in one.iter().zip(&four).enumerate() {
        assert!(one.hashes == four.hashes, "the states of room {room}");
        assert!(one == four && one.deltas.len() > 1000, "the bytes of room {room}");
    }
    assert!(one[0].hashes != one[1].hashes, "rooms differ");
}

#[test]
fn batches_that_do_not_get_through_change_nothing_but_what_is_said_again() {
    let journal = journal(6);
    let first = play(&journal, three_threads, |_, _| {});
    let mut random = Random::new(1);
    let second = play(&journal, three_threads, |_, room| {
        if random.below(3) == 0 {
            room.undelivered(random.below(3) as u16);
        }
    });
    assert!(second.hashes == first.hashes);
    assert!(second.deltas == first.deltas);
    assert!(second.snapshots.len() > first.snapshots.len());
    for (key, bytes) in &first.snapshots {
        assert_eq!(second.snapshots.get(key), Some(bytes));
    }
}

#[test]
fn another_seed_is_another_game() {
    let journal = journal(5);
    let hashes = |seed| {
        let (name, game) = ("r".into(), "arena".into());
        let config = RoomConfig { id: RoomId(0), name, game, tick_rate: 20, capacity: 100, seed };
        let mut room = Room::new(config, Arena::new(20, PLAYERS)).unwrap();
        for (number, ask) in &journal[0].asks {
            room.command(Command { room: RoomId(0), conn: one_thread(*number), ask: ask.clone() });
        }
        room.step(1, Time::ZERO, &mut ());
        room.hash()
    };
    assert_ne!(hashes(1), hashes(2));
    assert_eq!(hashes(1), hashes(1));
}
