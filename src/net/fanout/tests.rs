//! Batches written by hand, a player behind them, and what the replica of the protocol makes of the messages.

use super::*;
use std::sync::Arc;

use crate::bridge::{ConnId, RoomId, Span};
use crate::websocket::{Event, Limits, Role, WebSocket};
use tickyard_protocol::delta::{Changes, Delta, Entity, put_delta, put_snapshot};
use tickyard_protocol::fields::{Field, Kind, Shapes};
use tickyard_protocol::replica::{Hears, Replica};
use tickyard_protocol::tick::{Reliable, put_reliable, put_self};
use tickyard_protocol::types::EntityId;

const A: CellId = CellId(1);
const B: CellId = CellId(2);
const ONE: EntityId = EntityId { slot: 1, generation: 0 };

fn shapes() -> Shapes {
    Shapes::new(&[Kind { name: "dot".into(), fields: vec![Field::integer("x", 0, 1000)] }]).unwrap()
}

/// A room with one entity in cell A; its row is the number of publications of A.
struct Publisher {
    batches: Vec<SharedBatch>,
    /// Cell → last publication.
    published: [Tick; 3],
    x: i32,
    reliable: u32,
}

impl Publisher {
    fn new() -> Publisher {
        Publisher { batches: vec![], published: [Tick(0); 3], x: 0, reliable: 0 }
    }

    /// A batch in which A changes if `changes`; `and` adds to it.
    fn publish(&mut self, tick: u32, changes: bool, and: impl FnOnce(&mut Writer)) -> SharedBatch {
        let batch = Batch { room: Some(RoomId(0)), tick_rate: 20, ..Batch::default() };
        let cells = self.published.map(|published| CellEntry { published, ..CellEntry::default() }).into();
        let segments = Segments { tick: Tick(tick), cells, ..Segments::default() };
        let part = Part {
            conn: ConnId { thread: 0, slot: 0, generation: 0 },
            seq: Seq(0),
            depth: 0,
            heard: 0,
            own: Span::default(),
            own_changed: Tick(0),
            view: None,
            reliable: Span::default(),
            reliable_first: self.reliable + 1,
            reliable_count: 0,
        };
        let mut writer = Writer { batch, segments, part, x: self.x };
        if changes {
            writer.delta(tick - self.published[1].0);
            self.published[1] = Tick(tick);
            self.x += 1;
        }
        and(&mut writer);
        self.reliable += writer.part.reliable_count;
        writer.batch.parts = vec![writer.part];
        writer.batch.threads = vec![Span { start: 0, end: 1 }];
        writer.batch.segments = Arc::new(writer.segments);
        let batch = Arc::new(writer.batch);
        self.batches.push(Arc::clone(&batch));
        batch
    }
}

struct Writer {
    batch: Batch,
    segments: Segments,
    part: Part,
    x: i32,
}

impl Writer {
    /// For all who hear a cell.
    fn for_all(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        append(&mut self.segments.bytes, write)
    }

    /// For the player alone.
    fn for_one(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        append(&mut self.batch.bytes, write)
    }

    fn delta(&mut self, base: u32) {
        let mut changes = Changes::default();
        let mut residual = [0; 16];
        residual[0] = 1;
        changes.push(0, 0, residual);
        let delta = Delta { cell: A, base, sum: None, changes: &changes, members: 1, leaves: &[] };
        let span = self.for_all(|out| put_delta(out, &shapes(), &delta, std::iter::empty()));
        self.x += 1;
        let published = self.segments.tick;
        self.segments.cells[1] = CellEntry { published, delta: span, base, snapshot: Span::default() };
    }

    fn snapshot(&mut self, cell: CellId) {
        let row = [self.x];
        let dot = Entity { id: ONE, kind: 0, row: &row, statics: "" };
        let dots = if cell == A { vec![dot] } else { vec![] };
        let sum = dots.iter().map(|dot| tickyard_protocol::delta::entity_hash(dot.id, 0, dot.row)).sum();
        let span = self.for_all(|out| put_snapshot(out, cell, sum, dots.into_iter()));
        self.segments.cells[cell.0 as usize].snapshot = span;
    }

    fn view(&mut self, cells: &[CellId]) {
        self.batch.views = cells.to_vec();
        self.part.view = Some(Span { start: 0, end: cells.len() as u32 });
    }

    fn reliable(&mut self, first: u32, texts: &[&str]) {
        let span = self.for_one(|out| {
            for (number, text) in (first..).zip(texts) {
                let mut body = vec![];
                Reliable::Message { kind: text, payload: &[] }.put(&mut body);
                put_reliable(out, number, &body);
            }
        });
        self.part.reliable = span;
        self.part.reliable_first = first;
        self.part.reliable_count = texts.len() as u32;
    }
}

fn append(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Span {
    let start = bytes.len() as u32;
    write(bytes);
    Span { start, end: bytes.len() as u32 }
}

/// A player behind an io thread that may skip batches, and whose connection is frozen and thawed all the time.
struct Player {
    history: History,
    hearing: Hearing,
    missing: Missing,
    replica: Replica,
    reliable: Vec<String>,
}

struct Ears<'a>(&'a mut Vec<String>);

impl Hears for Ears<'_> {
    fn reliable(&mut self, _number: u32, message: Reliable) {
        let Reliable::Message { kind, .. } = message else { panic!("{message:?}") };
        self.0.push(kind.to_owned());
    }
}

impl Player {
    fn new() -> Player {
        Player {
            history: History::default(),
            hearing: Hearing::default(),
            missing: Missing::default(),
            replica: Replica::new(shapes()),
            reliable: vec![],
        }
    }

    /// Takes a batch and hears its message; how many bytes it had.
    fn hear(&mut self, batch: SharedBatch) -> Option<usize> {
        let part = batch.parts[0];
        self.freeze_and_thaw();
        self.history.push(batch);
        self.missing.clear();
        let mut out = vec![];
        let start = compose(&self.history, &part, &mut self.hearing, &mut self.missing, &mut out)?;
        let mut message = out[start..].to_vec();
        let mut input = &mut message[..];
        let limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 };
        let mut socket = WebSocket::new(Role::Client, limits);
        let Ok(Some(Event::Binary(bytes))) = socket.read(&mut input) else { panic!("one binary message") };
        self.replica.apply(&bytes[1..], &mut Ears(&mut self.reliable)).unwrap();
        assert_eq!((self.replica.counts().violations, self.replica.counts().desyncs), (0, 0));
        Some(bytes.len())
    }

    /// Takes a batch while bytes wait; whether there was anything in it.
    fn miss(&mut self, batch: SharedBatch) -> bool {
        let part = batch.parts[0];
        self.freeze_and_thaw();
        self.history.push(batch);
        self.hearing.skip(&self.history, &part)
    }

    fn freeze_and_thaw(&mut self) {
        let bytes = serde_json::to_vec(&std::mem::take(&mut self.hearing)).unwrap();
        self.hearing = serde_json::from_slice(&bytes).unwrap();
    }

    fn x(&self) -> i32 {
        self.replica.cell(A).unwrap().members[0].row[0]
    }
}

fn first_sight(publisher: &mut Publisher, tick: u32) -> SharedBatch {
    publisher.publish(tick, true, |writer| {
        writer.view(&[A, B]);
        writer.snapshot(A);
        writer.snapshot(B);
    })
}

#[test]
fn a_player_who_keeps_up_gets_each_delta_once() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    assert!(player.replica.view_is_complete());
    for tick in 11..40 {
        player.hear(publisher.publish(tick, tick % 3 == 0, |_| ()));
        assert_eq!(player.x(), publisher.x);
        assert!(player.replica.view_is_complete());
    }
}

#[test]
fn when_nothing_happens_a_message_goes_out_once_a_second() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    let heard: Vec<u32> =
        (11..71).filter(|&tick| player.hear(publisher.publish(tick, false, |_| ())).is_some()).collect();
    assert_eq!(heard, [30, 50, 70]);
}

#[test]
fn an_applied_input_is_told_at_once() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    assert!(player.hear(publisher.publish(11, false, |writer| writer.part.seq = Seq(1))).is_some());
    assert_eq!(player.replica.header().seq, Seq(1));
}

#[test]
fn who_missed_up_to_seven_publications_gets_their_deltas() {
    for missed in 1..BATCHES_KEPT as u32 {
        let (mut publisher, mut player) = (Publisher::new(), Player::new());
        player.hear(first_sight(&mut publisher, 10));
        (11..11 + missed).for_each(|tick| assert!(player.miss(publisher.publish(tick, true, |_| ()))));
        player.hear(publisher.publish(11 + missed, true, |_| ()));
        assert_eq!((player.x(), player.missing.cells.len()), (publisher.x, 0), "missed {missed}");
        assert_eq!(player.replica.header().flags, SKIPPED | VIEW_COMPLETE);
    }
}

#[test]
fn who_was_passed_over_when_there_was_nothing_to_say_is_not_told_of_it() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    // Nor does it help to be told once a second: that message is only late.
    assert!((11..31).all(|tick| !player.miss(publisher.publish(tick, false, |_| ()))));
    assert!(player.hear(publisher.publish(31, false, |_| ())).is_some());
    assert_eq!(player.replica.header().flags, VIEW_COMPLETE);

    let news: [fn(&mut Writer); 5] = [
        |writer| writer.part.seq = Seq(1),
        |writer| writer.part.heard = 1,
        |writer| writer.part.own_changed = Tick(11),
        |writer| writer.view(&[B, A]),
        |writer| writer.reliable(1, &["a"]),
    ];
    for news in news {
        let (mut publisher, mut player) = (Publisher::new(), Player::new());
        player.hear(first_sight(&mut publisher, 10));
        assert!(player.miss(publisher.publish(11, false, news)));
        player.hear(publisher.publish(12, false, |_| ()));
        assert_eq!(player.replica.header().flags, SKIPPED | VIEW_COMPLETE);
    }
}

#[test]
fn who_is_further_behind_asks_until_a_snapshot_comes() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    (11..19).for_each(|tick| assert!(player.miss(publisher.publish(tick, true, |_| ()))));
    for tick in 19..22 {
        player.hear(publisher.publish(tick, true, |_| ()));
        assert_eq!(player.missing.cells, [A]);
        assert!(!player.replica.view_is_complete());
    }
    player.hear(publisher.publish(22, true, |writer| writer.snapshot(A)));
    assert_eq!((player.x(), player.missing.cells.len()), (publisher.x, 0));
    assert!(player.replica.view_is_complete());
}

#[test]
fn a_snapshot_made_for_somebody_else_serves_with_the_deltas_after_it() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    (11..20).for_each(|tick| assert!(player.miss(publisher.publish(tick, true, |_| ()))));
    assert!(player.miss(publisher.publish(20, true, |writer| writer.snapshot(A))));
    (21..24).for_each(|tick| assert!(player.miss(publisher.publish(tick, true, |_| ()))));
    player.hear(publisher.publish(24, true, |_| ()));
    assert_eq!((player.x(), player.missing.cells.len()), (publisher.x, 0));
}

#[test]
fn a_view_that_came_while_bytes_waited_is_told_later() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    assert!(player.miss(publisher.publish(11, true, |writer| writer.view(&[A]))));
    player.hear(publisher.publish(12, true, |_| ()));
    assert_eq!(player.replica.view(), [A]);
    assert_eq!(player.replica.cell(B), None);
}

#[test]
fn cells_that_do_not_fit_come_later_and_the_nearest_first() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    let padding = vec![0; WORLD_BYTES_MAX - 20];
    player.hear(publisher.publish(10, true, |writer| {
        writer.view(&[B, A]);
        writer.snapshot(B);
        let snapshot = writer.segments.cells[2].snapshot;
        // Something large that belongs to the nearest cell.
        let padded = writer.for_all(|out| tickyard_protocol::tick::put_transient(out, B, "x", &padding));
        assert_eq!(snapshot.end, padded.start);
        writer.segments.cells[2].snapshot.end = padded.end;
        writer.snapshot(A);
    }));
    assert!(player.replica.cell(B).is_some() && player.replica.cell(A).is_none());
    assert!(!player.replica.view_is_complete());
    player.hear(publisher.publish(11, false, |_| ()));
    assert_eq!(player.x(), publisher.x);
    assert!(player.replica.view_is_complete());
}

#[test]
fn a_cell_larger_than_a_message_comes_although_a_nearer_one_speaks_at_every_tick() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    let crowded = |writer: &mut Writer| {
        writer.snapshot(B);
        let padding = vec![0; WORLD_BYTES_MAX];
        let padded = writer.for_all(|out| tickyard_protocol::tick::put_transient(out, B, "x", &padding));
        writer.segments.cells[2].snapshot.end = padded.end;
    };
    player.hear(publisher.publish(10, true, |writer| {
        writer.view(&[A, B]);
        writer.snapshot(A);
        crowded(writer);
    }));
    for tick in 11..30 {
        let asks = player.missing.cells.contains(&B);
        player.hear(publisher.publish(tick, true, |writer| {
            if asks {
                crowded(writer);
            }
        }));
    }
    assert!(player.replica.cell(B).is_some() && player.replica.view_is_complete());
    assert_eq!(player.x(), publisher.x);
}

#[test]
fn what_a_client_says_it_lost_comes_as_a_snapshot() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    for tick in 11..20 {
        player.hear(publisher.publish(tick, true, |_| ()));
    }
    player.hearing.forget(&[A, CellId(99)]);
    player.hear(publisher.publish(20, true, |_| ()));
    assert_eq!(player.missing.cells, [A]);
    player.hear(publisher.publish(21, true, |writer| writer.snapshot(A)));
    assert_eq!(player.x(), publisher.x);
}

#[test]
fn reliable_messages_arrive_once_and_in_order_whatever_was_skipped() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    player.hear(publisher.publish(11, false, |writer| writer.reliable(1, &["a", "b"])));
    assert!(player.miss(publisher.publish(12, false, |writer| writer.reliable(3, &["c"]))));
    player.hear(publisher.publish(13, false, |writer| writer.reliable(4, &["d"])));
    assert_eq!(player.missing.reliable_from, Some(3));
    player.hear(publisher.publish(14, false, |writer| {
        writer.reliable(2, &["b", "c", "d"]);
        writer.part.reliable_count = 3;
    }));
    assert_eq!(player.reliable, ["a", "b", "c", "d"]);
}

#[test]
fn the_own_entity_comes_when_it_changed_and_not_before() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    let own = |writer: &mut Writer, x: i32, changed: u32| {
        let entity = Entity { id: ONE, kind: 0, row: &[x], statics: "" };
        writer.part.own = writer.for_one(|out| put_self(out, &entity));
        writer.part.own_changed = Tick(changed);
    };
    player.hear(publisher.publish(10, false, |writer| own(writer, 5, 3)));
    assert_eq!(player.replica.own().unwrap().row[0], 5);
    assert_eq!(player.hear(publisher.publish(11, false, |writer| own(writer, 5, 3))), None);
    player.miss(publisher.publish(12, false, |writer| own(writer, 6, 12)));
    player.hear(publisher.publish(13, false, |writer| own(writer, 6, 12)));
    assert_eq!(player.replica.own().unwrap().row[0], 6);
    player.hear(publisher.publish(14, false, |writer| writer.part.own_changed = Tick(14)));
    assert_eq!(player.replica.own(), None);
}

#[test]
fn a_cell_that_was_silent_for_years_is_still_held() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 10));
    for tick in [1 << 30, 1 << 31, (1 << 31) + (1 << 30)] {
        player.hear(publisher.publish(tick, false, |_| ()));
        assert!(player.replica.view_is_complete() && player.missing.cells.is_empty(), "tick {tick}");
    }
}

#[test]
fn what_was_said_to_players_is_let_go_with_the_next_batch_and_the_segments_are_kept() {
    let (mut publisher, mut history) = (Publisher::new(), History::default());
    for tick in 1..=10 {
        history.push(publisher.publish(tick, true, |_| ()));
    }
    // Who wrote them has each once.
    let held: Vec<_> = publisher.batches.iter().map(|batch| Arc::strong_count(batch) - 1).collect();
    assert_eq!(held, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let segments = publisher.batches.iter().map(|batch| Arc::strong_count(&batch.segments) - 1);
    assert_eq!(segments.collect::<Vec<_>>(), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
}

/// A player behind a link that carries so many bytes a tick, who says all the time how far it has come.
fn behind_a_link(
    player: &mut Player,
    publisher: &mut Publisher,
    ticks: std::ops::Range<u32>,
    room: usize,
) -> u32 {
    let (mut queue, mut skipped, mut carried) = (VecDeque::<(u32, usize)>::new(), 0, 0);
    let mut seen = ticks.start - 1;
    for tick in ticks {
        let batch = publisher.publish(tick, true, |writer| {
            writer.snapshot(A);
            writer.snapshot(B);
        });
        carried = if queue.is_empty() { 0 } else { carried + room };
        while let Some((at, _)) = queue.pop_front_if(|&mut (_, bytes)| bytes <= carried) {
            seen = at;
            carried = 0;
        }
        player.hearing.note_seen(seen << 4, &batch);
        if player.hearing.is_paced(&batch) {
            skipped += u32::from(player.miss(batch));
        } else if let Some(bytes) = player.hear(batch) {
            queue.push_back((tick, bytes));
        }
    }
    skipped
}

#[test]
fn who_has_a_thin_connection_is_told_of_the_nearest_cells_whole_and_current() {
    let (mut publisher, mut player) = (Publisher::new(), Player::new());
    player.hear(first_sight(&mut publisher, 100));
    let skipped = behind_a_link(&mut player, &mut publisher, 101..400, 5);
    assert!(skipped > 100, "{skipped}");
    assert!(player.hearing.is_thin());
    assert_eq!(player.replica.view(), [A]);
    assert!(player.replica.view_is_complete() && player.replica.cell(B).is_none());

    // When the connection is better it is told of all after a while.
    behind_a_link(&mut player, &mut publisher, 400..6000, 1000);
    assert!(!player.hearing.is_thin());
    assert_eq!(player.replica.view(), [A, B]);
    assert!(player.replica.view_is_complete());
}
