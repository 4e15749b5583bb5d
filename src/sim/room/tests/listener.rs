//! Clients, and the io side that tells them what batches say: late, in parts or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickyard_protocol::delta::put_silent_delta;
use tickyard_protocol::fields::Shapes;
use tickyard_protocol::message::{ServerControl, decode_server_control};
use tickyard_protocol::replica::{Hears, Replica};
use tickyard_protocol::tick::{
    Blocks, HEADER_BYTES, Header, Reliable, VIEW_COMPLETE, block, put_age, put_block, put_heard, put_view,
};
use tickyard_protocol::types::{CellId, PlayerId, Tick};

use crate::bridge::{Ask, BATCHES_KEPT, ConnId, Part, Rate, Segments, SharedBatch};
use crate::net::fanout::{Hearing, History, Missing, compose};
use crate::websocket::{Event, Limits, Role, WebSocket};

/// One connection with its client behind it.
pub struct Listener<S = Plain> {
    pub conn: ConnId,
    pub player: Option<PlayerId>,
    pub replica: Replica,
    pub heard: Heard,
    /// Whether a cell came whole in the newest message.
    pub came_whole: bool,
    /// When its view was complete last, if nothing came whole since.
    pub complete_at: Option<Tick>,
    /// What it asks of the room next.
    pub asks: Vec<Ask>,
    side: S,
}

/// What an io thread knows of one connection.
pub trait Side: Default {
    /// An io thread's memory of a room.
    type Kept: Default;

    fn keep(kept: &mut Self::Kept, batch: &SharedBatch);

    /// The newest batch passes without a message.
    fn miss(&mut self, kept: &Self::Kept, batch: &SharedBatch, part: &Part);

    /// The tick message of the newest batch, with its type byte; `None`: there is nothing to say. `cells_max` is how many cells fit.
    fn write(
        &mut self,
        kept: &Self::Kept,
        batch: &SharedBatch,
        part: &Part,
        cells_max: usize,
        asks: &mut Vec<Ask>,
    ) -> Option<Vec<u8>>;
}

/// What a client heard beyond the state.
#[derive(Default)]
pub struct Heard {
    pub reliable: Vec<(u32, String)>,
    pub transients: Vec<(CellId, Vec<u8>)>,
    pub properties: BTreeMap<(PlayerId, String), Vec<u8>>,
}

impl Hears for Heard {
    fn reliable(&mut self, number: u32, message: Reliable) {
        if let Reliable::Property { owner, key, value } = message {
            let key = (owner, key.to_string());
            match value.is_empty() {
                true => assert!(self.properties.remove(&key).is_some(), "{key:?} was never told"),
                false => assert!(self.properties.insert(key, value.into()).as_deref() != Some(value)),
            }
        }
        let text = match message {
            Reliable::Message { kind, payload } => format!("{kind}: {}", String::from_utf8_lossy(payload)),
            Reliable::Chat { player, name, text } => format!("{} {name}: {text}", player.0),
            other => format!("{other:?}"),
        };
        self.reliable.push((number, text));
    }

    fn transient(&mut self, cell: CellId, _kind: &str, payload: &[u8]) {
        self.transients.push((cell, payload.into()));
    }
}

impl<S: Side> Listener<S> {
    pub fn new(conn: ConnId) -> Listener<S> {
        Listener {
            conn,
            player: None,
            replica: Replica::default(),
            heard: Heard::default(),
            came_whole: false,
            complete_at: None,
            asks: Vec::new(),
            side: S::default(),
        }
    }

    /// A batch of which the client hears nothing.
    pub fn miss(&mut self, batch: &SharedBatch, kept: &S::Kept) {
        self.sit(batch);
        if let Some(part) = self.part(batch) {
            self.side.miss(kept, batch, &part);
        }
    }

    /// One message to the client, if there is anything to say; `cells_max` is how many cells fit. Says whether the client then has
    /// all of its view.
    pub fn hear(&mut self, batch: &SharedBatch, kept: &S::Kept, cells_max: usize) -> bool {
        self.sit(batch);
        let Some(part) = self.part(batch) else { return false };
        self.came_whole = false;
        if let Some(message) = self.side.write(kept, batch, &part, cells_max, &mut self.asks) {
            let told = self.replica.apply(&message[1..], &mut self.heard);
            told.expect("the server's messages are well formed");
            let mut blocks = Blocks::new(&message[HEADER_BYTES..]).map(Result::unwrap);
            self.came_whole = blocks.any(|(kind, _)| kind == block::SNAPSHOT);
        }
        self.replica.view_is_complete()
    }

    fn sit(&mut self, batch: &SharedBatch) {
        let Some(joined) = batch.joined.iter().find(|joined| joined.conn == self.conn) else { return };
        let ServerControl::Welcome(welcome) =
            decode_server_control(&batch.slice(joined.welcome)[1..]).unwrap()
        else {
            panic!("a welcome")
        };
        assert_eq!((welcome.player, welcome.tick), (joined.player, batch.tick()));
        self.player = Some(joined.player);
        self.replica = Replica::new(Shapes::new(&welcome.schema.kinds).unwrap());
    }

    fn part(&self, batch: &SharedBatch) -> Option<Part> {
        batch.parts_of(self.conn.thread).iter().find(|part| part.conn == self.conn).copied()
    }
}

/// The io side, naively: each cell by itself, nothing left out that says nothing new.
#[derive(Default)]
pub struct Plain {
    view: Vec<CellId>,
    view_is_news: bool,
    /// How often a cell is told, and from which tick on.
    rates: BTreeMap<CellId, (Rate, Tick)>,
    /// As of when, and of which stream.
    held: BTreeMap<CellId, (Tick, Rate)>,
    own_sent: Option<Tick>,
    reliable_sent: u32,
}

/// What the naive io side keeps.
#[derive(Default)]
pub struct Kept(VecDeque<Arc<Segments>>);

impl Side for Plain {
    type Kept = Kept;

    fn keep(kept: &mut Kept, batch: &SharedBatch) {
        kept.0.push_back(Arc::clone(&batch.segments));
        if kept.0.len() > BATCHES_KEPT {
            kept.0.pop_front();
        }
    }

    fn miss(&mut self, _kept: &Kept, batch: &SharedBatch, part: &Part) {
        self.look(batch, part);
    }

    fn write(
        &mut self,
        kept: &Kept,
        batch: &SharedBatch,
        part: &Part,
        cells_max: usize,
        asks: &mut Vec<Ask>,
    ) -> Option<Vec<u8>> {
        self.look(batch, part);
        let mut blocks = Vec::new();
        if std::mem::take(&mut self.view_is_news) {
            put_view(&mut blocks, self.view.iter().copied());
        }
        put_heard(&mut blocks, part.heard);
        if self.own_sent.is_none_or(|sent| part.own_changed.since(sent) as i32 > 0) {
            match part.own.is_empty() {
                true => put_block(&mut blocks, block::SELF, |_| {}),
                false => blocks.extend_from_slice(batch.slice(part.own)),
            }
            self.own_sent = Some(batch.tick());
        }
        if part.reliable_first > self.reliable_sent + 1 {
            asks.push(Ask::Reoffer(self.reliable_sent + 1));
        } else {
            // Those that it has already are skipped by the client.
            blocks.extend_from_slice(batch.slice(part.reliable));
            self.reliable_sent = self.reliable_sent.max(part.reliable_first + part.reliable_count - 1);
        }
        let complete = self.put_cells(&mut blocks, batch, kept, cells_max, asks);
        let header = Header {
            tick: batch.tick(),
            seq: part.seq,
            depth: part.depth,
            flags: if complete { VIEW_COMPLETE } else { 0 },
        };
        Some([header.to_bytes().to_vec(), blocks].concat())
    }
}

impl Plain {
    fn look(&mut self, batch: &SharedBatch, part: &Part) {
        if let Some(view) = part.view {
            self.view = batch.views[view.range()].to_vec();
            self.view_is_news = true;
            self.rates.retain(|cell, _| self.view.contains(cell));
            for (at, &cell) in view.range().zip(&self.view) {
                let rate = (batch.rate(at), batch.tick());
                let known = self.rates.entry(cell).or_insert(rate);
                if known.0 != rate.0 {
                    *known = rate;
                }
            }
            self.held.retain(|cell, _| self.view.contains(cell));
        }
    }

    fn put_cells(
        &mut self,
        out: &mut Vec<u8>,
        batch: &SharedBatch,
        kept: &Kept,
        cells_max: usize,
        asks: &mut Vec<Ask>,
    ) -> bool {
        // By tick: the blocks that go out as of then, oldest first.
        let mut blocks: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        let mut wants = Vec::new();
        let mut complete = true;
        let late = |tick: Tick| batch.tick().since(tick);
        for (at, &cell) in self.view.iter().enumerate() {
            let (rate, since) = self.rates[&cell];
            let is_current = |held: Option<&(Tick, Rate)>| {
                held.is_some_and(|&(held, of)| {
                    of == rate && late(held) <= late(batch.segments.stream(cell, rate).published)
                })
            };
            if is_current(self.held.get(&cell)) {
                continue;
            }
            if at >= cells_max {
                complete = false;
                continue;
            }
            let mut now = self.held.get(&cell).copied();
            let mut chain = Vec::new();
            for old in &kept.0 {
                let Some((held, of)) = &mut now else { break };
                let entry = old.stream(cell, *of);
                if !entry.delta.is_empty()
                    && late(*held) > late(old.tick)
                    && old.tick.since(*held) <= entry.base
                {
                    chain.push((old.tick, old.slice(entry.delta).to_vec()));
                    *held = old.tick;
                }
                // Where one rate ends and another begins both are the same.
                let is_common = old.tick == since && old.publishes(*of) && old.publishes(rate);
                if *of != rate && is_common && late(*held) <= late(entry.published) {
                    if late(*held) > late(old.stream(cell, rate).published) {
                        let mut silent = Vec::new();
                        put_silent_delta(&mut silent, cell, old.tick.since(*held));
                        chain.push((old.tick, silent));
                        *held = old.tick;
                    }
                    *of = rate;
                }
            }
            let snapshot = batch.segments.cell(cell).snapshot;
            if is_current(now.as_ref()) {
                for (tick, block) in chain {
                    blocks.entry(u32::MAX - late(tick)).or_default().push(block);
                }
                self.held.insert(cell, now.unwrap());
            } else if !snapshot.is_empty() && batch.segments.publishes(rate) {
                let block = batch.segments.slice(snapshot).to_vec();
                blocks.entry(u32::MAX).or_default().push(block);
                self.held.insert(cell, (batch.tick(), rate));
            } else {
                wants.push(cell);
                complete = false;
            }
        }
        for (age, blocks) in blocks {
            put_age(out, u32::MAX - age);
            blocks.iter().for_each(|block| out.extend_from_slice(block));
        }
        if !wants.is_empty() {
            asks.push(Ask::Want(wants.into()));
        }
        complete
    }
}

/// The io side as it is: what an io thread does between a batch and its send.
#[derive(Default)]
pub struct Fanout {
    hearing: Hearing,
    missing: Missing,
}

impl Side for Fanout {
    type Kept = History;

    fn keep(kept: &mut History, batch: &SharedBatch) {
        kept.push(Arc::clone(batch));
    }

    fn miss(&mut self, kept: &History, _batch: &SharedBatch, part: &Part) {
        self.hearing.skip(kept, part);
    }

    /// Its limit is in bytes, whatever the number of cells.
    fn write(
        &mut self,
        kept: &History,
        _batch: &SharedBatch,
        part: &Part,
        _cells_max: usize,
        asks: &mut Vec<Ask>,
    ) -> Option<Vec<u8>> {
        self.missing.clear();
        let mut out = Vec::new();
        let start = compose(kept, part, &mut self.hearing, &mut self.missing, &mut out);
        if !self.missing.cells.is_empty() {
            asks.push(Ask::Want(self.missing.cells.as_slice().into()));
        }
        asks.extend(self.missing.reliable_from.map(Ask::Reoffer));
        let mut frame = &mut out[start?..];
        let limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 };
        let mut socket = WebSocket::new(Role::Client, limits);
        let Ok(Some(Event::Binary(message))) = socket.read(&mut frame) else { panic!("one binary message") };
        Some(message.to_vec())
    }
}
