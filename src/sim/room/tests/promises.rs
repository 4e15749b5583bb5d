//! One test per promise of a room, with a game that does what the test tells it.

use std::panic;
use std::sync::Arc;

use tickyard_protocol::bytes::Reader;
use tickyard_protocol::delta::{ReadDelta, SnapshotHead};
use tickyard_protocol::fields::{Field, Fields, Kind, Kinds, Shapes};
use tickyard_protocol::message::{Input, RefusalCode, ServerControl, decode_server_control};
use tickyard_protocol::tick::{Blocks, Reliable, block};
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Seq, Tick};

use super::config;
use crate::bridge::{
    Ask, Batch, Command, ConnId, Join, Leave, Message, Part, Refusal, Removed, RemovedWhy, RoomId,
    SharedBatch,
};
use crate::game::{self, Game, Joining, Layout, Look, Place, World};
use crate::sim::players::{CROWDED_TICKS, RELIABLE_WAITING_MAX};
use crate::sim::publish::SUM_TICKS;
use crate::sim::{AnyRoom, Room, RoomConfig};
use crate::time::Time;

type Deed = Box<dyn FnOnce(&mut World<Dot>) + Send>;

/// A game that does what the test tells it, and remembers what it was told.
#[derive(Default)]
struct Puppet {
    deeds: Vec<Deed>,
    inputs: Vec<(u32, PlayerId, i32)>,
    messages: Vec<(PlayerId, String, Vec<u8>)>,
    left: Vec<(PlayerId, Leave)>,
    refuses: Option<&'static str>,
    panics_on_join: bool,
}

#[derive(Clone, Debug)]
struct Dot {
    place: Place,
    row: [i32; 2],
    kind: u8,
}

struct Push(i32);

const SIDE: u32 = 1000;

impl Game for Puppet {
    type Thing = Dot;
    type Input = Push;

    fn layout(&self) -> Layout {
        Layout { width: SIDE, height: 100, cell: 100 }
    }

    fn join(&mut self, _: &mut World<Dot>, _: PlayerId, _: &Joining) -> Result<(), game::Refusal> {
        assert!(!self.panics_on_join, "as the test asked for");
        self.refuses.map_or(Ok(()), |text| Err(game::Refusal { text: text.into() }))
    }

    fn leave(&mut self, _: &mut World<Dot>, player: PlayerId, why: Leave) {
        self.left.push((player, why));
    }

    fn input(&mut self, world: &mut World<Dot>, player: PlayerId, input: &Push) {
        self.inputs.push((world.tick().0, player, input.0));
    }

    fn tick(&mut self, world: &mut World<Dot>, _: Tick) {
        self.deeds.drain(..).for_each(|deed| deed(world));
    }

    fn place(&self, thing: &Dot) -> Place {
        thing.place
    }

    fn message(&mut self, _: &mut World<Dot>, player: PlayerId, kind: &str, payload: &[u8]) {
        self.messages.push((player, kind.into(), payload.into()));
    }
}

impl Kinds for Dot {
    fn kinds() -> Vec<Kind> {
        let fields = vec![
            Field::integer("x", i32::MIN, i32::MAX),
            Field::integer("vx", i32::MIN, i32::MAX).velocity_of(0),
        ];
        ["dot", "other"].map(|name| Kind { name: name.into(), fields: fields.clone() }).into()
    }

    fn kind(&self) -> u8 {
        self.kind
    }

    fn write(&self, row: &mut [i32]) {
        row.copy_from_slice(&self.row);
    }
}

impl Fields for Push {
    fn fields() -> Vec<Field> {
        vec![Field::integer("push", -9, 9)]
    }

    fn write(&self, row: &mut [i32]) {
        row[0] = self.0;
    }

    fn read(row: &[i32]) -> Push {
        Push(row[0])
    }
}

fn dot(x: i32) -> Dot {
    Dot { place: Place::At(x, 0), row: [x, 0], kind: 0 }
}

/// A room of puppets and the hand that holds the strings.
struct Stage {
    room: Room<Puppet>,
}

impl Stage {
    fn new() -> Stage {
        Stage::with(config())
    }

    fn with(config: RoomConfig) -> Stage {
        Stage { room: Room::new(config, Puppet::default()).unwrap() }
    }

    /// With so many players, and everything said.
    fn of(players: u32) -> Stage {
        let mut stage = Stage::new();
        (0..players).for_each(|at| stage.join(conn(at)));
        stage.step();
        stage
    }

    fn ask(&mut self, conn: ConnId, ask: Ask) {
        self.room.command(Command { room: RoomId(0), conn, ask });
    }

    fn join(&mut self, conn: ConnId) {
        self.ask(conn, Ask::Join(Box::new(Join { name: String::new(), options: Vec::new() })));
    }

    fn input(&mut self, conn: ConnId, seq: u32) {
        let mut row = [0; 16];
        row[0] = seq as i32;
        self.ask(conn, Ask::Input(Input { seq: Seq(seq), ack: 0, render_tick: 0, row }));
    }

    fn message(&mut self, conn: ConnId, number: u32, kind: &str, payload: &[u8]) {
        let message = Message { number, kind: kind.into(), payload: payload.into() };
        self.ask(conn, Ask::Message(Box::new(message)));
    }

    fn deed(&mut self, deed: impl FnOnce(&mut World<Dot>) + Send + 'static) {
        self.room.game.deeds.push(Box::new(deed));
    }

    fn step(&mut self) -> SharedBatch {
        self.room.step(1, Time::ZERO)
    }

    /// Does it within a step, and returns what the deed returned with the batch.
    fn now<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut World<Dot>) -> T + Send + 'static,
    ) -> (T, SharedBatch) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.deed(move |world| sender.send(deed(world)).unwrap());
        let batch = self.step();
        (receiver.try_recv().unwrap(), batch)
    }

    fn spawn(&mut self, dot: Dot) -> EntityId {
        self.now(|world| world.spawn(dot)).0
    }

    /// Lets player `at + 1` look there.
    fn look(&mut self, at: u32, look: Look) -> SharedBatch {
        self.now(move |world| world.look(PlayerId(at + 1), look)).1
    }
}

fn conn(at: u32) -> ConnId {
    ConnId { thread: 0, slot: at, generation: 0 }
}

fn part(batch: &Batch, conn: ConnId) -> Part {
    *batch.parts_of(conn.thread).iter().find(|part| part.conn == conn).expect("it has a part")
}

fn view(batch: &Batch, conn: ConnId) -> Option<Vec<u32>> {
    part(batch, conn).view.map(|span| batch.views[span.range()].iter().map(|cell| cell.0).collect())
}

/// The reliable messages in a part, as numbers and text.
fn reliable(batch: &Batch, conn: ConnId) -> Vec<(u32, String)> {
    let part = part(batch, conn);
    let blocks = Blocks::new(batch.slice(part.reliable)).map(|block| {
        let (kind, bytes) = block.unwrap();
        assert_eq!(kind, block::RELIABLE);
        let mut reader = Reader::new(bytes);
        let number = reader.varint().unwrap();
        let text = match Reliable::read(reader.rest()).unwrap() {
            Reliable::Message { kind, payload } => format!("{kind}: {}", String::from_utf8_lossy(payload)),
            Reliable::Chat { player, name, text } => format!("{} {name}: {text}", player.0),
            other => format!("{other:?}"),
        };
        (number, text)
    });
    let list: Vec<_> = blocks.collect();
    assert_eq!(list.len(), part.reliable_count as usize);
    assert!(list.first().is_none_or(|&(number, _)| number == part.reliable_first));
    list
}

fn deltas(batch: &Batch) -> Vec<u32> {
    let cells = batch.cells.iter().enumerate();
    cells.filter(|(_, entry)| !entry.delta.is_empty()).map(|(cell, _)| cell as u32).collect()
}

fn snapshots(batch: &Batch) -> Vec<u32> {
    let cells = batch.cells.iter().enumerate();
    cells.filter(|(_, entry)| !entry.snapshot.is_empty()).map(|(cell, _)| cell as u32).collect()
}

fn delta(batch: &Batch, cell: u32) -> ReadDelta<'_> {
    let mut blocks = Blocks::new(batch.slice(batch.cell(CellId(cell)).delta));
    let (kind, bytes) = blocks.next().expect("it published").unwrap();
    assert_eq!(kind, block::DELTA);
    ReadDelta::read(bytes).unwrap()
}

fn members(batch: &Batch, cell: u32) -> u32 {
    let mut blocks = Blocks::new(batch.slice(batch.cell(CellId(cell)).snapshot));
    SnapshotHead::read(blocks.next().expect("there is a snapshot").unwrap().1).unwrap().count
}

// Coming and going.

#[test]
fn who_joins_gets_a_welcome_a_view_and_all_its_cells_in_one_batch() {
    let mut stage = Stage::new();
    stage.spawn(dot(150));
    stage.join(conn(0));
    stage.deed(|world| world.look(PlayerId(1), Look::At(150, 0)));

    let batch = stage.step();

    let [joined] = batch.joined[..] else { panic!("{:?}", batch.joined) };
    assert_eq!((joined.conn, joined.player), (conn(0), PlayerId(1)));
    let Ok(ServerControl::Welcome(welcome)) = decode_server_control(&batch.slice(joined.welcome)[1..]) else {
        panic!("a welcome")
    };
    assert_eq!((welcome.player, welcome.tick, welcome.tick_rate), (PlayerId(1), batch.tick, 20));
    assert_eq!((welcome.step_micros, &*welcome.room, &*welcome.game), (50_000, "room", "walk"));
    assert_eq!(welcome.schema.input.len(), 1);
    assert_eq!(view(&batch, conn(0)), Some(vec![0, 2, 3, 1]));
    assert_eq!(snapshots(&batch), [0, 1, 2, 3]);
    assert_eq!([0, 1, 2, 3].map(|cell| members(&batch, cell)), [0, 0, 1, 0]);
    let next = stage.step();
    assert!(next.joined.is_empty() && snapshots(&next).is_empty());
    assert_eq!(view(&next, conn(0)), None);
}

#[test]
fn a_full_room_says_when_to_try_again_and_no_player_number_is_used_twice() {
    let mut stage = Stage::with(RoomConfig { capacity: 1, ..config() });
    stage.join(conn(0));
    stage.join(conn(1));
    let batch = stage.step();
    let text = "the room is full: all 1 seats are taken".into();
    let full = Refusal { conn: conn(1), code: RefusalCode::Full, text, retry_after_millis: Some(5000) };
    assert_eq!((batch.joined.len(), &batch.refused[..]), (1, &[full][..]));
    assert_eq!(stage.room.players(), 1);

    stage.ask(conn(0), Ask::Leave(Leave::Left));
    stage.join(conn(1));
    let batch = stage.step();
    assert_eq!(batch.joined[0].player, PlayerId(2));
    assert!(batch.refused.is_empty());
    assert_eq!(stage.room.game.left, [(PlayerId(1), Leave::Left)]);
}

#[test]
fn the_games_refusal_is_passed_on() {
    let mut stage = Stage::new();
    stage.room.game.refuses = Some("members only");
    stage.join(conn(0));
    let batch = stage.step();
    let text = "members only".into();
    let refusal = Refusal { conn: conn(0), code: RefusalCode::Game, text, retry_after_millis: None };
    assert_eq!(batch.refused, [refusal]);
    assert_eq!(stage.room.players(), 0);
}

#[test]
fn commands_from_a_connection_without_a_seat_are_dropped_and_counted() {
    let mut stage = Stage::of(1);
    let stranger = ConnId { generation: 1, ..conn(0) };
    stage.input(stranger, 1);
    stage.message(stranger, 1, "chat", b"boo");
    stage.ask(stranger, Ask::Leave(Leave::Left));
    stage.ask(ConnId { thread: 7, ..conn(0) }, Ask::Ack(0));
    stage.ask(conn(99), Ask::Ack(0));
    stage.step();
    assert_eq!(stage.room.take_counts().commands_stale, 5);
    assert!(stage.room.game.inputs.is_empty());
    assert_eq!(stage.room.players(), 1);
}

#[test]
fn a_second_join_of_a_connection_is_wrong_and_one_of_its_slots_next_user_frees_the_seat() {
    let mut stage = Stage::of(1);
    stage.join(conn(0));
    assert!(stage.step().joined.is_empty());
    assert_eq!(stage.room.take_counts().commands_wrong, 1);

    let next = ConnId { generation: 1, ..conn(0) };
    stage.join(next);
    let batch = stage.step();
    assert_eq!((batch.joined[0].conn, batch.joined[0].player), (next, PlayerId(2)));
    assert_eq!(stage.room.game.left, [(PlayerId(1), Leave::Dropped)]);
    assert_eq!(batch.parts.len(), 1);
}

#[test]
fn every_player_has_a_part_and_parts_are_grouped_by_thread() {
    let mut stage = Stage::new();
    let conns = [(1, 0), (0, 3), (1, 5), (3, 0)].map(|(thread, slot)| ConnId { thread, slot, generation: 0 });
    conns.iter().for_each(|&conn| stage.join(conn));
    let batch = stage.step();
    let of = |thread: u16| batch.parts_of(thread).iter().map(|part| part.conn).collect::<Vec<_>>();
    assert_eq!(
        [of(0), of(1), of(2), of(3), of(4)],
        [vec![conns[1]], vec![conns[0], conns[2]], vec![], vec![conns[3]], vec![]]
    );

    stage.ask(conns[0], Ask::Leave(Leave::Left));
    let batch = stage.step();
    assert_eq!(batch.parts_of(1).iter().map(|part| part.conn).collect::<Vec<_>>(), [conns[2]]);
}

// Inputs.

#[test]
fn inputs_are_applied_one_a_tick_in_order_and_each_at_most_once() {
    let mut stage = Stage::of(2);
    [1, 2, 2, 1, 3].into_iter().for_each(|seq| stage.input(conn(1), seq));
    stage.input(conn(0), 1);
    let parts: Vec<_> =
        (0..4).map(|_| part(&stage.step(), conn(1))).map(|part| (part.seq.0, part.depth)).collect();
    assert_eq!(parts, [(1, 2), (2, 1), (3, 0), (3, 0)]);
    let (a, b) = (PlayerId(1), PlayerId(2));
    assert_eq!(stage.room.game.inputs, [(2, a, 1), (2, b, 1), (3, b, 2), (4, b, 3)]);
    assert_eq!(stage.room.take_counts().inputs_repeated, 2);
}

#[test]
fn at_most_4_inputs_wait_and_the_oldest_are_skipped() {
    let mut stage = Stage::of(1);
    (1..=6).for_each(|seq| stage.input(conn(0), seq));
    let batch = stage.step();
    assert_eq!((part(&batch, conn(0)).seq, part(&batch, conn(0)).depth), (Seq(3), 3));
    assert_eq!(stage.room.take_counts().inputs_skipped, 2);
}

#[test]
fn two_inputs_a_tick_are_applied_when_more_than_one_has_waited_for_10_ticks() {
    let mut stage = Stage::of(1);
    stage.input(conn(0), 1);
    let mut applied = Vec::new();
    for seq in 2..20 {
        stage.input(conn(0), seq);
        let before = stage.room.game.inputs.len();
        stage.step();
        applied.push(stage.room.game.inputs.len() - before);
    }
    let twice: Vec<_> = (0..applied.len()).filter(|&at| applied[at] == 2).collect();
    assert_eq!(twice, [CROWDED_TICKS as usize], "{applied:?}");
    assert!(stage.room.game.inputs.iter().map(|input| input.2).eq(1..20));
}

#[test]
fn caught_up_ticks_are_simulated_with_an_input_each_and_published_once() {
    let mut stage = Stage::of(1);
    (1..=3).for_each(|seq| stage.input(conn(0), seq));
    let batch = stage.room.step(3, Time::from_secs(9));
    assert_eq!((batch.tick, batch.due, part(&batch, conn(0)).seq), (Tick(4), Time::from_secs(9), Seq(3)));
    assert!(stage.room.game.inputs.iter().map(|input| input.0).eq(2..=4));
}

// Messages.

#[test]
fn messages_are_taken_in_order_without_gaps() {
    let mut stage = Stage::of(1);
    [2, 1, 1, 3, 2].into_iter().for_each(|number| stage.message(conn(0), number, "wave", &[number as u8]));
    let batch = stage.step();
    assert_eq!(part(&batch, conn(0)).heard, 2);
    let taken = [1, 2].map(|number| (PlayerId(1), "wave".to_string(), vec![number]));
    assert_eq!(stage.room.game.messages, taken);
    assert_eq!(stage.room.take_counts().commands_wrong, 3);
}

#[test]
fn chat_goes_to_all_with_the_senders_name() {
    let mut stage = Stage::of(2);
    stage.message(conn(0), 1, "chat", "héllo".as_bytes());
    let batch = stage.step();
    for at in 0..2 {
        assert_eq!(reliable(&batch, conn(at)), [(1, "1 Player 1: héllo".to_string())]);
    }
    assert!(stage.room.game.messages.is_empty());
    assert_eq!(stage.room.take_counts().chat_relayed, 1);
}

#[test]
fn chat_that_is_no_line_of_text_is_refused_to_its_sender_alone() {
    let mut stage = Stage::of(2);
    let wrong: [&[u8]; 5] = [b"", &[b'x'; 201], &[0xff], b"two\nlines", "\u{85}".as_bytes()];
    for (at, payload) in wrong.iter().enumerate() {
        stage.message(conn(0), at as u32 + 1, "chat", payload);
    }
    let batch = stage.step();
    assert_eq!((reliable(&batch, conn(0)).len(), reliable(&batch, conn(1)).len()), (5, 0));
    let (_, text) = &reliable(&batch, conn(0))[0];
    assert_eq!(text, "chat-refused: a line is 1 to 200 bytes of text without control characters");
    assert_eq!(stage.room.take_counts().chat_invalid, 5);
}

#[test]
fn a_player_may_say_four_lines_at_once_and_two_a_second() {
    let mut stage = Stage::of(1);
    let mut number = 0;
    let mut say = |stage: &mut Stage, lines: u32| {
        for _ in 0..lines {
            number += 1;
            stage.message(conn(0), number, "chat", b"hi");
        }
        let said = stage.room.counts.chat_relayed;
        stage.step();
        (stage.room.counts.chat_relayed - said) as u32
    };
    assert_eq!(say(&mut stage, 6), 4);
    // 20 ticks: a second.
    assert_eq!((0..20).map(|_| say(&mut stage, 1)).sum::<u32>(), 2);
    assert_eq!((0..40).map(|_| say(&mut stage, 0)).sum::<u32>(), 0);
    assert_eq!(say(&mut stage, 6), 4);
    assert_eq!(stage.room.counts.chat_limited, 2 + 18 + 2);
}

#[test]
fn a_room_takes_so_many_lines_from_all_its_players_together() {
    let mut stage = Stage::of(100);
    (0..100).for_each(|at| stage.message(conn(at), 1, "chat", b"hi"));
    let batch = stage.step();
    assert_eq!(stage.room.take_counts().chat_relayed, 64);
    let (_, last) = reliable(&batch, conn(99)).pop().unwrap();
    assert_eq!(last, "chat-refused: too many are talking in this room");
}

#[test]
fn reliable_messages_are_offered_once_and_again_on_demand_until_acknowledged() {
    let mut stage = Stage::of(1);
    let numbers =
        |batch: &Batch| reliable(batch, conn(0)).iter().map(|(number, _)| *number).collect::<Vec<_>>();
    stage.deed(|world| (0..3).for_each(|_| world.send(PlayerId(1), "a", b"b")));
    assert_eq!(numbers(&stage.step()), [1, 2, 3]);
    assert_eq!(numbers(&stage.step()), [0u32; 0]);
    stage.ask(conn(0), Ask::Reoffer(2));
    assert_eq!(numbers(&stage.step()), [2, 3]);
    stage.ask(conn(0), Ask::Ack(2));
    stage.ask(conn(0), Ask::Reoffer(1));
    assert_eq!(numbers(&stage.step()), [3]);
    assert_eq!(stage.room.counts.commands_wrong, 0);
    stage.ask(conn(0), Ask::Ack(4));
    stage.ask(conn(0), Ask::Reoffer(5));
    assert_eq!(numbers(&stage.step()), [0u32; 0]);
    assert_eq!(stage.room.counts.commands_wrong, 2);
}

#[test]
fn a_batch_offers_24_kib_to_a_player_and_the_rest_comes_next() {
    let mut stage = Stage::of(1);
    stage.deed(|world| (0..7).for_each(|_| world.send(PlayerId(1), "", &[0; 4096])));
    let batch = stage.step();
    let (first, second) = (part(&batch, conn(0)), part(&stage.step(), conn(0)));
    assert_eq!((first.reliable_first, first.reliable_count), (1, 5));
    assert!(first.reliable.range().len() <= 24 * 1024);
    assert_eq!((second.reliable_first, second.reliable_count), (6, 2));
}

#[test]
fn who_does_not_acknowledge_loses_the_seat() {
    let mut stage = Stage::of(2);
    stage.ask(conn(1), Ask::Ack(0));
    stage.deed(|world| (0..RELIABLE_WAITING_MAX).for_each(|_| world.broadcast("a", b"")));
    assert!(stage.step().removed.is_empty());
    stage.ask(conn(1), Ask::Ack(1));
    stage.deed(|world| world.broadcast("a", b""));

    let batch = stage.step();

    assert_eq!(batch.removed, [Removed { conn: conn(0), why: RemovedWhy::ReliableOverflow }]);
    assert_eq!(batch.parts.len(), 1);
    assert_eq!(stage.room.game.left, [(PlayerId(1), Leave::Removed)]);
    assert_eq!(stage.room.take_counts().reliable_overflows, 1);
}

#[test]
fn bytes_that_are_not_acknowledged_are_bounded_too() {
    let mut stage = Stage::of(1);
    stage.deed(|world| (0..9).for_each(|_| world.award(PlayerId(1), 5, &"x".repeat(4000))));
    assert_eq!(stage.step().removed.len(), 1);
}

// What an io thread did not get.

#[test]
fn what_a_thread_must_not_miss_comes_again_until_it_got_it() {
    let mut stage = Stage::with(RoomConfig { capacity: 2, ..config() });
    let other = ConnId { thread: 1, slot: 0, generation: 0 };
    [conn(0), other, conn(2)].into_iter().for_each(|conn| stage.join(conn));
    stage.deed(|world| world.broadcast("a", b""));
    let batch = stage.step();
    assert_eq!((batch.joined.len(), batch.refused.len()), (2, 1));

    for _ in 0..2 {
        stage.room.undelivered(0);
        stage.deed(|world| world.broadcast("b", b""));
        let batch = stage.step();
        assert_eq!(batch.joined.iter().map(|joined| joined.conn).collect::<Vec<_>>(), [conn(0)]);
        assert_eq!(batch.refused.iter().map(|refusal| refusal.conn).collect::<Vec<_>>(), [conn(2)]);
        assert_eq!((view(&batch, conn(0)), view(&batch, other)), (Some(vec![0]), None));
        assert_eq!(part(&batch, conn(0)).reliable_first, 1);
        assert_eq!(part(&batch, other).reliable_count, 1);
        assert_eq!(snapshots(&batch), [0]);
    }
    let batch = stage.step();
    assert!(batch.joined.is_empty() && batch.refused.is_empty() && view(&batch, conn(0)).is_none());
}

#[test]
fn a_removal_that_was_not_delivered_comes_again() {
    let mut stage = Stage::of(1);
    stage.deed(|world| (0..RELIABLE_WAITING_MAX + 1).for_each(|_| world.broadcast("a", b"")));
    let removed = [Removed { conn: conn(0), why: RemovedWhy::ReliableOverflow }];
    assert_eq!(stage.step().removed, removed);
    stage.room.undelivered(0);
    assert_eq!(stage.step().removed, removed);
    assert_eq!(stage.step().removed, []);
}

#[test]
fn who_left_before_the_welcome_got_through_gets_none() {
    let mut stage = Stage::of(1);
    stage.room.undelivered(0);
    stage.ask(conn(0), Ask::Leave(Leave::Dropped));
    assert!(stage.step().joined.is_empty());
}

// Failure.

/// Without the panic's message on the screen.
fn quietly<T>(deed: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = deed();
    panic::set_hook(hook);
    result
}

#[test]
fn a_panic_of_the_game_ends_the_room_for_all_and_for_good() {
    let mut stage = Stage::of(2);
    stage.deed(|_| panic!("as the test asked for"));
    stage.join(conn(2));
    let batch = quietly(|| stage.step());
    let mut gone: Vec<_> = batch.removed.iter().map(|removed| (removed.conn, removed.why)).collect();
    gone.sort_by_key(|gone| gone.0);
    assert_eq!(gone, [0, 1, 2].map(|at| (conn(at), RemovedWhy::RoomFailed)));
    assert!(batch.joined.is_empty() && batch.parts.is_empty());
    assert_eq!((stage.room.players(), stage.room.take_counts().failures), (0, 1));

    stage.join(conn(3));
    stage.input(conn(0), 1);
    let batch = stage.step();
    assert_eq!((batch.refused[0].conn, batch.refused[0].code), (conn(3), RefusalCode::Game));
    assert!(batch.removed.is_empty());
    assert_eq!(stage.room.take_counts().failures, 0);
}

#[test]
fn who_was_being_let_in_and_who_waited_behind_are_refused_when_the_game_panics() {
    let mut stage = Stage::of(1);
    stage.room.game.panics_on_join = true;
    (1..4).for_each(|at| stage.join(conn(at)));
    let batch = quietly(|| stage.step());
    assert_eq!(batch.refused.iter().map(|refusal| refusal.conn).collect::<Vec<_>>(), [1, 2, 3].map(conn));
    assert_eq!(batch.removed, [Removed { conn: conn(0), why: RemovedWhy::RoomFailed }]);
}

#[test]
fn a_thing_that_changes_its_kind_is_the_games_failure() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(0));
    stage.deed(move |world| world.get_mut(id).unwrap().kind = 1);
    assert_eq!(quietly(|| stage.step()).removed.len(), 1);
}

// Cells.

#[test]
fn segments_follow_what_changed_and_not_who_listens() {
    let encoded = |listeners: u32| {
        let mut stage = Stage::with(RoomConfig { capacity: 1000, ..config() });
        (0..listeners).for_each(|at| stage.join(conn(at)));
        for at in 0..listeners {
            stage.deed(move |world| world.look(PlayerId(at + 1), Look::At(150, 0)));
        }
        let id = stage.spawn(dot(150));
        stage.room.take_counts();
        let mut bytes = Vec::new();
        for x in 0..50 {
            let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] = x);
            bytes.push(batch.slice(batch.cell(CellId(2)).delta).to_vec());
        }
        let counts = stage.room.take_counts();
        ((counts.deltas, counts.snapshots), bytes)
    };
    assert_eq!(encoded(1), encoded(400));
    assert_eq!(encoded(1).0, (50, 0));
    assert_eq!(encoded(0).0, (0, 0));
}

#[test]
fn ten_thousand_idle_things_say_nothing() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    stage.deed(|world| (0..10_000).for_each(|at| _ = world.spawn(dot(at % 200))));
    // The sum that is owed after the spawns comes within 16 ticks.
    (0..=SUM_TICKS).for_each(|_| _ = stage.step());
    for _ in 0..40 {
        let batch = stage.step();
        assert!(batch.bytes.is_empty());
        assert_eq!(deltas(&batch), [0u32; 0]);
    }
}

#[test]
fn a_cell_publishes_while_something_moves_by_itself_and_says_its_sum_every_16_ticks() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    let id = stage.spawn(Dot { row: [0, 3], ..dot(0) });
    let mut sums = 0;
    for _ in 0..SUM_TICKS * 3 {
        let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] += 3);
        let delta = delta(&batch, 1);
        assert_eq!((delta.changes, delta.base), (None, 1));
        sums += delta.sum.is_some() as u32;
    }
    assert_eq!(sums, 3);
    stage.now(move |world| world.get_mut(id).unwrap().row[1] = 0);
    let quiet: Vec<_> =
        (0..SUM_TICKS * 3).map(|_| stage.step()).filter(|batch| !deltas(batch).is_empty()).collect();
    assert!(quiet.len() <= 1 && quiet.iter().all(|batch| delta(batch, 1).sum.is_some()));
}

#[test]
fn a_cell_that_nobody_hears_goes_on_without_being_encoded() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(Dot { row: [250, 1], ..dot(250) });
    let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] += 1);
    let entry = batch.cell(CellId(3));
    assert_eq!((entry.published, entry.delta.is_empty()), (batch.tick, true));

    let batch = stage.look(0, Look::At(250, 0));
    assert_eq!((members(&batch, 3), deltas(&batch)), (1, vec![]));
    assert_eq!(batch.cell(CellId(3)).published, batch.tick);
    let batch = stage.step();
    assert_eq!((deltas(&batch), batch.cell(CellId(3)).base), (vec![3], 1));
}

#[test]
fn a_wish_for_a_cell_is_granted_once_a_tick_and_only_in_view() {
    let mut stage = Stage::of(100);
    (0..100).for_each(|at| stage.ask(conn(at), Ask::Want([CellId(0), CellId(3)].into())));
    let batch = stage.step();
    assert_eq!(snapshots(&batch), [0]);
    let counts = stage.room.take_counts();
    assert_eq!((counts.snapshots, counts.commands_wrong), (1 + 1, 100), "one when they joined, one now");
    assert!(snapshots(&stage.step()).is_empty());
}

#[test]
fn walking_along_a_border_leaves_the_view_as_it_is() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(195));
    let batch = stage.look(0, Look::Follow(id));
    assert_eq!(view(&batch, conn(0)), Some(vec![0, 2, 3, 1]));
    let mut walk = |x: i32| {
        let (_, batch) = stage.now(move |world| *world.get_mut(id).unwrap() = dot(x));
        view(&batch, conn(0))
    };
    for _ in 0..10 {
        assert_eq!((walk(205), walk(195)), (None, None));
    }
    assert_eq!(walk(213), Some(vec![0, 3, 2, 4]));
    assert_eq!((walk(195), walk(190), walk(187)), (None, None, Some(vec![0, 2, 3, 1])));
}

#[test]
fn who_followed_something_that_is_gone_goes_on_looking_there() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(550));
    assert!(!part(&stage.look(0, Look::Follow(id)), conn(0)).own.is_empty());
    let (_, batch) = stage.now(move |world| world.despawn(id));
    assert!(part(&batch, conn(0)).own.is_empty());
    assert_eq!(part(&batch, conn(0)).own_changed, batch.tick);
    assert_eq!(part(&stage.step(), conn(0)).own_changed, batch.tick);
    assert_eq!(view(&batch, conn(0)), None);
    assert_eq!(view(&stage.look(0, Look::Nothing), conn(0)), Some(vec![0]));
}

#[test]
fn a_private_cell_comes_into_view_when_it_is_used_first_and_is_empty_for_the_next_player() {
    let mut stage = Stage::of(2);
    let secret = Dot { place: Place::Only(PlayerId(2)), ..dot(0) };
    let (_, batch) = stage.now(move |world| world.spawn(secret));
    let cell = stage.room.grid.private(stage.room.seats.of_player(PlayerId(2)).unwrap()).0;
    assert_eq!((view(&batch, conn(0)), view(&batch, conn(1))), (None, Some(vec![0, cell])));
    assert_eq!(members(&batch, cell), 1);

    stage.ask(conn(1), Ask::Leave(Leave::Left));
    stage.join(conn(5));
    let secret = Dot { place: Place::Only(PlayerId(3)), ..dot(0) };
    let (_, batch) = stage.now(move |world| world.spawn(secret));
    assert_eq!(view(&batch, conn(5)), Some(vec![0, cell]));
    assert_eq!(members(&batch, cell), 1);
}

#[test]
fn the_own_block_says_when_it_changed_last() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(5));
    let batch = stage.look(0, Look::Follow(id));
    let first = (part(&batch, conn(0)).own_changed, batch.slice(part(&batch, conn(0)).own).to_vec());
    assert_eq!(first.0, batch.tick);
    let batch = stage.step();
    assert_eq!((part(&batch, conn(0)).own_changed, batch.slice(part(&batch, conn(0)).own).to_vec()), first);
    let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] = 6);
    assert_eq!(part(&batch, conn(0)).own_changed, batch.tick);
    assert_ne!(batch.slice(part(&batch, conn(0)).own), first.1);
}

#[test]
fn transients_ride_in_their_cells_segment() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    stage.deed(|world| {
        world.transient(Place::At(150, 0), "spark", &[7]);
        world.transient(Place::At(50, 0), "a", &[1]);
        world.transient(Place::At(50, 0), "b", &[2]);
        world.transient(Place::Only(PlayerId(99)), "nobody", &[]);
    });
    let batch = stage.step();
    assert_eq!(deltas(&batch), [1, 2]);
    let happened = |cell| {
        let blocks = Blocks::new(batch.slice(batch.cell(CellId(cell)).delta)).skip(1);
        blocks.map(|block| block.unwrap()).map(|(kind, bytes)| (kind, bytes.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(
        happened(1),
        [(block::TRANSIENT, vec![1, 1, b'a', 1]), (block::TRANSIENT, vec![1, 1, b'b', 2])]
    );
    assert_eq!(happened(2), [(block::TRANSIENT, b"\x02\x05spark\x07".to_vec())]);
}

#[test]
fn a_batch_that_nobody_reads_any_more_is_used_again() {
    let mut stage = Stage::of(1);
    let kept = stage.step();
    let first = Arc::as_ptr(&stage.step());
    for _ in 0..50 {
        stage.step();
    }
    assert!((0..3).any(|_| Arc::as_ptr(&stage.step()) == first));
    assert!(stage.room.batches.len() <= 3);
    assert_eq!(kept.tick, Tick(2));
}

#[test]
fn who_leaves_a_cell_says_where_to_and_who_is_gone_says_so() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(150, 0));
    let (walks, dies) = (stage.spawn(dot(50)), stage.spawn(dot(60)));
    let (_, batch) = stage.now(move |world| {
        *world.get_mut(walks).unwrap() = dot(250);
        world.despawn(dies);
    });
    let mut left = Vec::new();
    let mut from = delta(&batch, 1);
    from.leaves(|leave| {
        left.push((leave.slot, leave.to));
        Ok(())
    })
    .unwrap();
    assert_eq!(left, [(walks.slot, Some(CellId(3))), (dies.slot, None)]);
    let mut entered = Vec::new();
    let mut to = delta(&batch, 3);
    to.leaves(|_| Ok(())).unwrap();
    to.enters(&Shapes::new(&Dot::kinds()).unwrap(), |entity| {
        entered.push((entity.id, entity.row[0]));
        Ok(())
    })
    .unwrap();
    assert_eq!(entered, [(walks, 250)]);
}

#[test]
fn a_cell_that_nobody_hears_any_more_is_encoded_no_more() {
    let mut stage = Stage::of(2);
    let id = stage.spawn(dot(150));
    let change = |stage: &mut Stage| {
        let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] += 1);
        deltas(&batch)
    };
    stage.look(0, Look::At(150, 0));
    stage.look(1, Look::At(150, 0));
    assert_eq!(change(&mut stage), [2]);
    stage.look(0, Look::At(850, 0));
    assert_eq!(change(&mut stage), [2]);
    stage.ask(conn(1), Ask::Leave(Leave::Left));
    assert_eq!(change(&mut stage), [0u32; 0]);
}
