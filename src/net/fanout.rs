//! What one player is told of a batch: the part of the fan-out that knows no socket.
//!
//! The io thread owns, per connection, the table *cell → held*: as of which tick the client has each cell of its view. What went whole
//! into the kernel or the outbox counts as held. A [`Hearing`] is that table; [`compose`] writes the one message of a tick
//! by copying encoded segments behind a header, and moves the table on. Who missed publications gets the missing deltas
//! out of the [`History`], or a snapshot; what is not there is asked for.

use std::collections::VecDeque;

use tickyard_protocol::bytes::Reader;
use tickyard_protocol::tick::{
    HEADER_BYTES, Header, SKIPPED, VIEW_COMPLETE, block, put_age, put_block, put_heard, put_view,
};
use tickyard_protocol::types::{CellId, Seq, Tick};

use crate::bridge::{BATCHES_KEPT, Batch, CellEntry, Part, SharedBatch};
use crate::websocket::frame::{Opcode, SERVER_HEADER_BYTES_MAX, fill_server_header};

/// What a player hears and holds.
#[derive(Clone, Debug, Default)]
pub struct Hearing {
    /// The view, nearest first.
    cells: Vec<Heard>,
    /// The client has not been told of the view yet.
    view_is_new: bool,
    /// What the last message said; `None`: there was none.
    said: Option<Said>,
    reliable_sent: u32,
    /// An update was not composed because bytes still waited.
    skipped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    cell: CellId,
    /// As of when the client has the cell.
    held: Option<Tick>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    at: Tick,
    seq: Seq,
    heard: u32,
    complete: bool,
}

/// What composing found missing, to be asked of the room.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// Cells of which neither the deltas nor a snapshot is at hand.
    pub cells: Vec<CellId>,
    /// Reliable messages from this number on.
    pub reliable_from: Option<u32>,
}

impl Missing {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.reliable_from = None;
    }
}

impl Hearing {
    /// Takes a view that a batch brought, also when no message can be composed now.
    pub fn look(&mut self, batch: &Batch, part: &Part) {
        let Some(view) = part.view else { return };
        let before = std::mem::take(&mut self.cells);
        let held = |cell| before.iter().find(|heard| heard.cell == cell).and_then(|heard| heard.held);
        self.cells.extend(batch.views[view.range()].iter().map(|&cell| Heard { cell, held: held(cell) }));
        self.view_is_new = true;
    }

    /// An update was left out because bytes still waited for this client.
    pub fn skip(&mut self) {
        self.skipped = true;
    }

    /// Forgets what the client holds of these cells, because it says that it holds them no longer. Returns those in its view.
    pub fn forget(&mut self, cells: &[CellId]) -> Vec<CellId> {
        let mut known = Vec::new();
        for heard in self.cells.iter_mut().filter(|heard| cells.contains(&heard.cell)) {
            heard.held = None;
            known.push(heard.cell);
        }
        known
    }
}

/// A room's last batches, newest last.
#[derive(Debug, Default)]
pub struct History {
    batches: VecDeque<SharedBatch>,
}

impl History {
    /// Takes the newest batch and lets go of the oldest.
    pub fn push(&mut self, batch: SharedBatch) {
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    /// The newest batch.
    pub fn newest(&self) -> Option<&SharedBatch> {
        self.batches.back()
    }

    fn at(&self, tick: Tick) -> Option<&Batch> {
        self.batches.iter().rev().find(|batch| batch.tick == tick).map(|batch| &**batch)
    }

    /// The newest batch that has a snapshot of the cell.
    fn snapshot(&self, cell: CellId) -> Option<(&Batch, CellEntry)> {
        let entries = self.batches.iter().rev().map(|batch| (&**batch, batch.cell(cell)));
        entries.into_iter().find(|(_, entry)| !entry.snapshot.is_empty())
    }

    /// The deltas that lead from `held` to the newest publication of the cell, newest first; `None` if one is missing.
    fn chain(&self, cell: CellId, held: Tick) -> Option<Chain<'_>> {
        let mut chain = Chain { links: [None; BATCHES_KEPT], len: 0 };
        let mut published = self.newest()?.cell(cell).published;
        while is_after(published, held) {
            let batch = self.at(published)?;
            let entry = batch.cell(cell);
            if entry.delta.is_empty() || chain.len == BATCHES_KEPT {
                return None;
            }
            chain.links[chain.len] = Some((batch, entry));
            chain.len += 1;
            published = published.before(entry.base);
        }
        Some(chain)
    }
}

struct Chain<'a> {
    links: [Option<(&'a Batch, CellEntry)>; BATCHES_KEPT],
    len: usize,
}

impl<'a> Chain<'a> {
    fn oldest_first(&self) -> impl Iterator<Item = (&'a Batch, CellEntry)> {
        self.links[..self.len].iter().rev().map(|link| link.expect("the first len links are set"))
    }

    fn bytes(&self) -> usize {
        self.oldest_first().map(|(_, entry)| entry.delta.range().len()).sum()
    }
}

/// Composes the message of a tick into `out`, frame header included, and returns where it begins; `None`: there is nothing to say.
///
/// Call it only when nothing waits for this client, and send all that it wrote: the table says that the client holds it.
pub fn compose(
    history: &History,
    part: &Part,
    hearing: &mut Hearing,
    missing: &mut Missing,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let batch = &**history.newest()?;
    hearing.look(batch, part);
    out.clear();
    out.resize(PREFIX_BYTES, 0);
    put_private(batch, part, hearing, missing, out);
    let complete = put_world(history, hearing, missing, out);
    if out.len() == PREFIX_BYTES && !is_due(batch, part, hearing, complete) {
        return None;
    }
    let flags = if complete { VIEW_COMPLETE } else { 0 } | if hearing.skipped { SKIPPED } else { 0 };
    let header = Header { tick: batch.tick, seq: part.seq, depth: part.depth, flags };
    out[SERVER_HEADER_BYTES_MAX..PREFIX_BYTES].copy_from_slice(&header.to_bytes());
    hearing.view_is_new = false;
    hearing.skipped = false;
    hearing.said = Some(Said { at: batch.tick, seq: part.seq, heard: part.heard, complete });
    Some(fill_server_header(out, Opcode::Binary))
}

/// Whether a message without blocks is to be sent.
fn is_due(batch: &Batch, part: &Part, hearing: &Hearing, complete: bool) -> bool {
    hearing.said.is_none_or(|said| {
        said.seq != part.seq
            || said.complete != complete
            || hearing.skipped
            || batch.tick.since(said.at) >= batch.tick_rate as u32
    })
}

/// What is this player's alone: its view, its own entity, its reliable messages.
fn put_private(batch: &Batch, part: &Part, hearing: &mut Hearing, missing: &mut Missing, out: &mut Vec<u8>) {
    if hearing.view_is_new {
        put_view(out, hearing.cells.iter().map(|heard| heard.cell));
    }
    if hearing.said.is_none_or(|said| is_after(part.own_changed, said.at)) {
        match part.own.is_empty() {
            true => put_block(out, block::SELF, |_| {}),
            false => out.extend_from_slice(batch.slice(part.own)),
        }
    }
    if part.heard != hearing.said.map_or(0, |said| said.heard) {
        put_heard(out, part.heard);
    }
    put_reliable(batch, part, hearing, missing, out);
}

fn put_reliable(batch: &Batch, part: &Part, hearing: &mut Hearing, missing: &mut Missing, out: &mut Vec<u8>) {
    let next = hearing.reliable_sent + 1;
    if part.reliable_first > next {
        missing.reliable_from = Some(next);
        return;
    }
    let known = next - part.reliable_first;
    if known >= part.reliable_count {
        return;
    }
    let mut blocks = Reader::new(batch.slice(part.reliable));
    for _ in 0..known {
        skip_block(&mut blocks);
    }
    out.extend_from_slice(blocks.rest());
    hearing.reliable_sent = part.reliable_first + part.reliable_count - 1;
}

fn skip_block(blocks: &mut Reader) {
    let mut skip = || {
        blocks.varint()?;
        let len = blocks.varint()?;
        blocks.take(len as usize)
    };
    skip().expect("the simulation wrote whole blocks");
}

/// The cells of the view, as far as they fit. Returns whether the client then holds all of them as they are.
fn put_world(history: &History, hearing: &mut Hearing, missing: &mut Missing, out: &mut Vec<u8>) -> bool {
    let Some(newest) = history.newest() else { return false };
    let mut world = World { history, newest, start: out.len(), age: 0 };
    let mut behind = false;
    for heard in &mut hearing.cells {
        behind |= !world.put_delta(heard, out);
    }
    if !behind {
        return true;
    }
    let mut complete = true;
    for heard in &mut hearing.cells {
        complete &= world.is_current(heard) || world.catch_up(heard, missing, out);
    }
    complete
}

struct World<'a> {
    history: &'a History,
    newest: &'a Batch,
    /// Where the world bytes begin.
    start: usize,
    /// What the last age block said.
    age: u32,
}

impl World<'_> {
    fn is_current(&self, heard: &Heard) -> bool {
        heard.held.is_some_and(|held| !is_after(self.newest.cell(heard.cell).published, held))
    }

    fn fits(&self, bytes: usize, out: &[u8]) -> bool {
        // One segment always passes, or a crowded cell would never be seen.
        out.len() == self.start || out.len() - self.start + bytes <= WORLD_BYTES_MAX
    }

    /// The usual case: the client holds the cell as of its last publication. Returns whether it is current now.
    fn put_delta(&self, heard: &mut Heard, out: &mut Vec<u8>) -> bool {
        let Some(held) = heard.held else { return false };
        let entry = self.newest.cell(heard.cell);
        if !is_after(entry.published, held) {
            return true;
        }
        let applies = !entry.delta.is_empty() && self.newest.tick.since(held) <= entry.base;
        if !applies || !self.fits(entry.delta.range().len(), out) {
            return false;
        }
        out.extend_from_slice(self.newest.slice(entry.delta));
        heard.held = Some(self.newest.tick);
        true
    }

    /// The deltas that were missed, or a snapshot and what came after it. Returns whether the cell is current now.
    fn catch_up(&mut self, heard: &mut Heard, missing: &mut Missing, out: &mut Vec<u8>) -> bool {
        let chain = heard.held.and_then(|held| self.history.chain(heard.cell, held));
        let (snapshot, chain) = match chain {
            Some(chain) => (None, chain),
            None => {
                let snapshot = self.history.snapshot(heard.cell);
                let chain = snapshot.and_then(|(batch, _)| self.history.chain(heard.cell, batch.tick));
                let Some(chain) = chain else {
                    missing.cells.push(heard.cell);
                    return false;
                };
                (snapshot, chain)
            }
        };
        let bytes = chain.bytes() + snapshot.map_or(0, |(_, entry)| entry.snapshot.range().len());
        if !self.fits(bytes, out) {
            return false;
        }
        if let Some((batch, entry)) = snapshot {
            self.put_aged(batch.tick, batch.slice(entry.snapshot), out);
            heard.held = Some(batch.tick);
        }
        for (batch, entry) in chain.oldest_first() {
            self.put_aged(batch.tick, batch.slice(entry.delta), out);
            heard.held = Some(batch.tick);
        }
        true
    }

    fn put_aged(&mut self, at: Tick, segment: &[u8], out: &mut Vec<u8>) {
        let age = self.newest.tick.since(at);
        if age != self.age {
            put_age(out, age);
            self.age = age;
        }
        out.extend_from_slice(segment);
    }
}

fn is_after(tick: Tick, other: Tick) -> bool {
    (tick.since(other) as i32) > 0
}

/// World bytes of one message; a single larger segment still passes.
pub const WORLD_BYTES_MAX: usize = 32 * 1024;

/// Room for the frame header, and the tick header.
const PREFIX_BYTES: usize = SERVER_HEADER_BYTES_MAX + HEADER_BYTES;

#[cfg(test)]
mod tests {
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
            let mut batch =
                Batch { room: Some(RoomId(0)), tick: Tick(tick), tick_rate: 20, ..Batch::default() };
            batch.cells =
                self.published.map(|published| CellEntry { published, ..CellEntry::default() }).into();
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
            let mut writer = Writer { batch, part, x: self.x };
            if changes {
                writer.delta(tick - self.published[1].0);
                self.published[1] = Tick(tick);
                self.x += 1;
            }
            and(&mut writer);
            self.reliable += writer.part.reliable_count;
            writer.batch.parts = vec![writer.part];
            writer.batch.threads = vec![Span { start: 0, end: 1 }];
            let batch = Arc::new(writer.batch);
            self.batches.push(Arc::clone(&batch));
            batch
        }
    }

    struct Writer {
        batch: Batch,
        part: Part,
        x: i32,
    }

    impl Writer {
        fn span(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
            let start = self.batch.bytes.len() as u32;
            write(&mut self.batch.bytes);
            Span { start, end: self.batch.bytes.len() as u32 }
        }

        fn delta(&mut self, base: u32) {
            let mut changes = Changes::default();
            let mut residual = [0; 16];
            residual[0] = 1;
            changes.push(0, 0, residual);
            let delta = Delta { cell: A, base, sum: None, changes: &changes, members: 1, leaves: &[] };
            let span = self.span(|out| put_delta(out, &shapes(), &delta, std::iter::empty()));
            self.x += 1;
            let published = self.batch.tick;
            self.batch.cells[1] = CellEntry { published, delta: span, base, snapshot: Span::default() };
        }

        fn snapshot(&mut self, cell: CellId) {
            let row = [self.x];
            let dot = Entity { id: ONE, kind: 0, row: &row, statics: "" };
            let dots = if cell == A { vec![dot] } else { vec![] };
            let sum = dots.iter().map(|dot| tickyard_protocol::delta::entity_hash(dot.id, 0, dot.row)).sum();
            let span = self.span(|out| put_snapshot(out, cell, sum, dots.into_iter()));
            self.batch.cells[cell.0 as usize].snapshot = span;
        }

        fn view(&mut self, cells: &[CellId]) {
            self.batch.views = cells.to_vec();
            self.part.view = Some(Span { start: 0, end: cells.len() as u32 });
        }

        fn reliable(&mut self, first: u32, texts: &[&str]) {
            let span = self.span(|out| {
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

    /// A player behind an io thread that may skip batches.
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
            self.history.push(batch);
            self.missing.clear();
            let mut out = vec![];
            let start = compose(&self.history, &part, &mut self.hearing, &mut self.missing, &mut out)?;
            let mut message = out[start..].to_vec();
            let mut input = &mut message[..];
            let limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 };
            let mut socket = WebSocket::new(Role::Client, limits);
            let Ok(Some(Event::Binary(bytes))) = socket.read(&mut input) else {
                panic!("one binary message")
            };
            self.replica.apply(&bytes[1..], &mut Ears(&mut self.reliable)).unwrap();
            assert_eq!((self.replica.counts().violations, self.replica.counts().desyncs), (0, 0));
            Some(bytes.len())
        }

        /// Takes a batch while bytes wait.
        fn miss(&mut self, batch: SharedBatch) {
            let part = batch.parts[0];
            self.hearing.look(&batch, &part);
            self.hearing.skip();
            self.history.push(batch);
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
            (11..11 + missed).for_each(|tick| player.miss(publisher.publish(tick, true, |_| ())));
            player.hear(publisher.publish(11 + missed, true, |_| ()));
            assert_eq!((player.x(), player.missing.cells.len()), (publisher.x, 0), "missed {missed}");
            assert_eq!(player.replica.header().flags, SKIPPED | VIEW_COMPLETE);
        }
    }

    #[test]
    fn who_is_further_behind_asks_until_a_snapshot_comes() {
        let (mut publisher, mut player) = (Publisher::new(), Player::new());
        player.hear(first_sight(&mut publisher, 10));
        (11..19).for_each(|tick| player.miss(publisher.publish(tick, true, |_| ())));
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
        (11..20).for_each(|tick| player.miss(publisher.publish(tick, true, |_| ())));
        player.miss(publisher.publish(20, true, |writer| writer.snapshot(A)));
        (21..24).for_each(|tick| player.miss(publisher.publish(tick, true, |_| ())));
        player.hear(publisher.publish(24, true, |_| ()));
        assert_eq!((player.x(), player.missing.cells.len()), (publisher.x, 0));
    }

    #[test]
    fn a_view_that_came_while_bytes_waited_is_told_later() {
        let (mut publisher, mut player) = (Publisher::new(), Player::new());
        player.hear(first_sight(&mut publisher, 10));
        player.miss(publisher.publish(11, true, |writer| writer.view(&[A])));
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
            let snapshot = writer.batch.cells[2].snapshot;
            // Something large that belongs to the nearest cell.
            let padded = writer.span(|out| tickyard_protocol::tick::put_transient(out, B, "x", &padding));
            assert_eq!(snapshot.end, padded.start);
            writer.batch.cells[2].snapshot.end = padded.end;
            writer.snapshot(A);
        }));
        assert!(player.replica.cell(B).is_some() && player.replica.cell(A).is_none());
        assert!(!player.replica.view_is_complete());
        player.hear(publisher.publish(11, false, |_| ()));
        assert_eq!(player.x(), publisher.x);
        assert!(player.replica.view_is_complete());
    }

    #[test]
    fn what_a_client_says_it_lost_comes_as_a_snapshot() {
        let (mut publisher, mut player) = (Publisher::new(), Player::new());
        player.hear(first_sight(&mut publisher, 10));
        for tick in 11..20 {
            player.hear(publisher.publish(tick, true, |_| ()));
        }
        assert_eq!(player.hearing.forget(&[A, CellId(99)]), [A]);
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
        player.miss(publisher.publish(12, false, |writer| writer.reliable(3, &["c"])));
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
            writer.part.own = writer.span(|out| put_self(out, &entity));
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
}
