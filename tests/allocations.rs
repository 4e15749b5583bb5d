//! In steady state nothing is allocated per tick, player or message: memory is kept and used again. What is left is a little for what
//! players seldom send.

// Measuring is looking at the clock.
#![allow(clippy::disallowed_types)]

#[path = "allocations/house.rs"]
mod house;

use std::sync::Arc;
use std::time::{Duration, Instant};

use house::House;
use tickyard::addresses::Peer;
use tickyard::bridge::{Ask, Command, ConnId, Join, RoomId};
use tickyard::flight::Flight;
use tickyard::game::Random;
use tickyard::game::arena::Arena;
use tickyard::lobby::{Hosted, Lobby};
use tickyard::metrics::{Metrics, Role};
use tickyard::net::fanout::{Hearing, History, Missing, compose};
use tickyard::session::site::Site;
use tickyard::session::{Pulse, Session, Turn};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::stage::{Stage, Stages};
use tickyard::time::Time;
use tickyard::websocket::frame::{Opcode, write_frame};
use tickyard_protocol::fields::Field;
use tickyard_protocol::message::{
    ClientControl, Hello, Input, SUBPROTOCOL, Seek, VERSION, encode_ack, encode_client_control, encode_ping,
    encode_want,
};
use tickyard_protocol::types::{CellId, Seq, Tick};

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
        let mut room = arena(PLAYERS);
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
        self.history.push(self.room.step(1, Time::ZERO, &mut ()));
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

#[test]
fn an_input_on_its_way_to_the_simulation_allocates_nothing() {
    let game = Hosted { name: "arena".into(), input: fields(), rooms_max: 1, seats: 1 };
    let site = Site { lobby: Arc::new(Lobby::hosting(game)), ..Site::default() };
    let mut session = Session::new(Time::ZERO, Peer::new(([192, 0, 2, 1], 40_000).into()));
    let mut out = Vec::new();
    let mut say = |session: &mut Session, at: u64, bytes: &mut [u8]| {
        let now = Time::from_micros(at * 50_000);
        let mut turn =
            Turn { now, site: &site, pulse: Pulse { tick: Tick(1), due: now }, out: &mut out, cost: 0 };
        let mut input = bytes;
        session.handle_bytes(&mut turn, &mut input);
    };
    say(&mut session, 0, &mut [upgrade(), hello()].concat());
    session.sit(ROOM);
    assert!(matches!(session.take_ask(), Some((ROOM, Ask::Join(_)))));

    let mut allocations = 0;
    for seq in 1..=TICKS {
        let mut frame = input(seq as u32, seq as u32);
        let counted = allocation_counter::measure(|| {
            say(&mut session, seq, &mut frame);
            assert!(session.take_input().is_some(), "input {seq}: {:?}", session.closing());
        });
        // The first one makes room for four.
        allocations += counted.count_total * u64::from(seq > 1);
    }
    assert_eq!(allocations, 0);
}

#[test]
fn what_a_thread_does_is_measured_and_recorded_without_an_allocation() {
    let flight = Flight::new(Instant::now(), Arc::new(Metrics::new()), Box::new(|_| None), None);
    let mut watch = Arc::new(flight).stopwatch("ticker".into(), Role::Simulation);
    let mut step = || {
        watch.enter_room(Stage::Drain, Some(ROOM));
        watch.enter(Stage::Game);
        // Long enough to be recorded.
        while watch.instant().elapsed() < Duration::from_micros(20) {}
        watch.rest();
        watch.wait(None);
    };
    // More than a thread's record holds.
    (0..17_000).for_each(|_| step());

    assert_eq!(allocation_counter::measure(|| (0..TICKS).for_each(|_| step())).count_total, 0);
}

#[test]
fn an_io_thread_and_a_room_allocate_nothing_however_many_play_and_ask() {
    for (players, inputs, turns) in [
        (50, 1, &[25, 25][..]),
        (200, 1, &[100, 100]),
        (200, 4, &[100, 100]),
        (200, 1, &[10; 20]),
        (200, 1, &[1, 199]),
    ] {
        let mut house = House::new(players);
        house.play(300, inputs, turns);
        let bill = house.play(TICKS as u32, inputs, turns);
        assert_eq!((bill.received, bill.sent), (TICKS * (players * inputs) as u64, TICKS * players as u64));
        assert!(bill.in_turns <= TICKS / 10, "{players} players, in {turns:?}: {bill:?}");
        assert!(bill.in_ticks <= TICKS / 4, "{players} players, {inputs} inputs: {bill:?}");
    }
}

#[test]
fn what_a_player_sends_beside_inputs_costs_a_few_allocations_each() {
    let frame = |opcode, encode: &dyn Fn(&mut Vec<u8>)| {
        let (mut message, mut frame) = (Vec::new(), Vec::new());
        encode(&mut message);
        write_frame(&mut frame, opcode, &message, Some([1, 2, 3, 4]));
        frame
    };
    for (before, each) in [
        // What the answer says, before it has a frame.
        (frame(Opcode::Ping, &|out| out.push(7)), 1),
        (frame(Opcode::Binary, &|out| encode_ping([7; 8], out)), 1),
        // The ask, on its way to the room: a session without one holds no memory for it.
        (frame(Opcode::Binary, &|out| encode_ack(0, out)), 1),
        (frame(Opcode::Binary, &|out| encode_want(&[CellId(0)], out)), 3),
    ] {
        let mut house = House::new(50);
        house.before = before;
        house.play(300, 1, &[25, 25]);
        let bill = house.play(TICKS as u32, 1, &[25, 25]);
        assert!(bill.in_turns <= bill.received * each + TICKS / 10, "{:?}: {bill:?}", house.before);
        assert!(bill.in_ticks <= TICKS / 4, "{:?}: {bill:?}", house.before);
    }
}

fn arena(players: u32) -> Room<Arena> {
    let (name, game) = ("arena-1".into(), "arena".into());
    let config = RoomConfig { id: ROOM, name, game, tick_rate: 20, capacity: players, seed: 1 };
    Room::new(config, Arena::new(20, players)).unwrap()
}

fn fields() -> Vec<Field> {
    vec![Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)]
}

/// A client's frame. `luck` says where it wants to go.
fn input(seq: u32, luck: u32) -> Vec<u8> {
    let mut row = [0; 16];
    row[..2]
        .copy_from_slice(&[luck as u8 as i8 as i32, (luck >> 8) as u8 as i8 as i32].map(|way| way.max(-127)));
    let (mut message, mut frame) = (Vec::new(), Vec::new());
    Input { seq: Seq(seq), ack: 0, render_tick: 0, row }.encode(2, &mut message);
    write_frame(&mut frame, Opcode::Binary, &message, Some([1, 2, 3, 4]));
    frame
}

fn upgrade() -> Vec<u8> {
    format!(
        "GET /play HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes()
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        version: VERSION,
        build: "",
        seek: Seek::JoinOrCreate("arena"),
        name: "Ada",
        options: &[],
        token: "",
        resume: &[],
        tags: Vec::new(),
    };
    let (mut message, mut frame) = (Vec::new(), Vec::new());
    encode_client_control(&ClientControl::Hello(hello), &mut message);
    write_frame(&mut frame, Opcode::Binary, &message, Some([1, 2, 3, 4]));
    frame
}
