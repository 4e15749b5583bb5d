//! In steady state nothing is allocated per tick, player or message: memory is kept and used again.

use tickyard::bridge::{Ask, Command, ConnId, Join, RoomId};
use tickyard::game::Random;
use tickyard::game::arena::Arena;
use tickyard::net::fanout::{Hearing, History, Missing, compose};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard_protocol::message::Input;
use tickyard_protocol::types::Seq;

const ROOM: RoomId = RoomId(0);
const PLAYERS: u32 = 300;
const TICKS: u64 = 200;

/// An arena in which everybody turns once a second, and an io thread's side of it.
struct Arcade {
    room: Room<Arena>,
    random: Random,
    seq: u32,
    history: History,
    hearings: Vec<Hearing>,
    missing: Missing,
    buffer: Vec<u8>,
    messages: u64,
}

impl Arcade {
    fn new() -> Arcade {
        let (name, game) = ("arena-1".into(), "arena".into());
        let config = RoomConfig { id: ROOM, name, game, tick_rate: 20, capacity: PLAYERS, seed: 1 };
        let mut room = Room::new(config, Arena::new(20, PLAYERS)).unwrap();
        for slot in 0..PLAYERS {
            let join = Join { name: String::new(), options: Vec::new() };
            room.command(command(slot, Ask::Join(Box::new(join))));
        }
        Arcade {
            room,
            random: Random::new(7),
            seq: 0,
            history: History::default(),
            hearings: vec![Hearing::default(); PLAYERS as usize],
            missing: Missing::default(),
            buffer: Vec::new(),
            messages: 0,
        }
    }

    fn step(&mut self) {
        self.seq += 1;
        for slot in (0..PLAYERS).filter(|slot| (slot + self.seq).is_multiple_of(20)) {
            let mut row = [0; 16];
            row[..2].fill_with(|| self.random.below(255) as i32 - 127);
            let input = Input { seq: Seq(self.seq), ack: 0, render_tick: 0, row };
            self.room.command(command(slot, Ask::Input(input)));
        }
        self.history.push(self.room.step(1, Time::ZERO));
    }

    fn tell_all(&mut self) {
        let batch = self.history.newest().cloned().unwrap();
        for part in batch.parts_of(0) {
            let hearing = &mut self.hearings[part.conn.slot as usize];
            self.missing.clear();
            let told = compose(&self.history, part, hearing, &mut self.missing, &mut self.buffer);
            self.messages += told.is_some() as u64;
        }
    }
}

fn command(slot: u32, ask: Ask) -> Command {
    Command { room: ROOM, conn: ConnId { thread: 0, slot, generation: 1 }, ask }
}

#[test]
fn a_tick_with_300_messages_allocates_less_than_once() {
    let mut arcade = Arcade::new();
    // Until lists have about the size that they will ever need.
    for _ in 0..600 {
        arcade.step();
        arcade.tell_all();
    }
    let messages_before = arcade.messages;
    let mut allocations = 0;
    for _ in 0..TICKS {
        allocations += allocation_counter::measure(|| arcade.step()).count_total;
        allocations += allocation_counter::measure(|| arcade.tell_all()).count_total;
    }
    let messages = arcade.messages - messages_before;
    assert!(messages > TICKS * PLAYERS as u64 * 9 / 10);
    // Now and then a cell or a view holds more than ever before, and its list grows.
    assert!(allocations < TICKS, "{allocations} allocations in {TICKS} ticks with {messages} messages");
}
