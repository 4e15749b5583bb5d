//! The io side, naively: one client that is told what batches say, late, in parts or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickyard_protocol::delta::put_silent_delta;
use tickyard_protocol::fields::Shapes;
use tickyard_protocol::message::{ServerControl, decode_server_control};
use tickyard_protocol::replica::{Hears, Replica};
use tickyard_protocol::tick::{
    Header, Reliable, VIEW_COMPLETE, block, put_age, put_block, put_heard, put_view,
};
use tickyard_protocol::types::{CellId, PlayerId, Tick};

use crate::bridge::{Ask, BATCHES_KEPT, ConnId, Part, Rate, Segments, SharedBatch};

/// An io thread's memory of a room.
#[derive(Default)]
pub struct Kept(VecDeque<Arc<Segments>>);

impl Kept {
    pub fn push(&mut self, batch: &SharedBatch) {
        self.0.push_back(Arc::clone(&batch.segments));
        if self.0.len() > BATCHES_KEPT {
            self.0.pop_front();
        }
    }
}

/// One connection with its client behind it.
pub struct Listener {
    pub conn: ConnId,
    pub player: Option<PlayerId>,
    pub replica: Replica,
    pub heard: Heard,
    /// When its view was complete last, and nothing came whole since.
    pub complete_at: Option<Tick>,
    /// What it asks of the room next.
    pub asks: Vec<Ask>,
    /// Cells that came whole in the newest message.
    pub snapshots: Vec<CellId>,
    view: Vec<CellId>,
    view_is_news: bool,
    /// How often a cell is told, and from which tick on.
    rates: BTreeMap<CellId, (Rate, Tick)>,
    /// As of when, and of which stream.
    held: BTreeMap<CellId, (Tick, Rate)>,
    own_sent: Option<Tick>,
    reliable_sent: u32,
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

impl Listener {
    pub fn new(conn: ConnId) -> Listener {
        Listener {
            conn,
            player: None,
            replica: Replica::default(),
            heard: Heard::default(),
            complete_at: None,
            asks: Vec::new(),
            snapshots: Vec::new(),
            view: Vec::new(),
            view_is_news: false,
            rates: BTreeMap::new(),
            held: BTreeMap::new(),
            own_sent: None,
            reliable_sent: 0,
        }
    }

    /// What the io thread must never overlook in a batch, whether or not it writes to this client now.
    pub fn note(&mut self, batch: &SharedBatch) {
        if let Some(joined) = batch.joined.iter().find(|joined| joined.conn == self.conn) {
            let ServerControl::Welcome(welcome) =
                decode_server_control(&batch.slice(joined.welcome)[1..]).unwrap()
            else {
                panic!("a welcome")
            };
            assert_eq!((welcome.player, welcome.tick), (joined.player, batch.tick()));
            self.player = Some(joined.player);
            self.replica = Replica::new(Shapes::new(&welcome.schema.kinds).unwrap());
        }
        let Some(part) = self.part(batch) else { return };
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

    /// One message to the client; `cells_max` is how many cells fit. Says whether the view is complete.
    pub fn hear(&mut self, batch: &SharedBatch, kept: &Kept, cells_max: usize) -> bool {
        let Some(part) = self.part(batch) else { return false };
        let mut message = Vec::new();
        if std::mem::take(&mut self.view_is_news) {
            put_view(&mut message, self.view.iter().copied());
        }
        put_heard(&mut message, part.heard);
        if self.own_sent.is_none_or(|sent| part.own_changed.since(sent) as i32 > 0) {
            match part.own.is_empty() {
                true => put_block(&mut message, block::SELF, |_| {}),
                false => message.extend_from_slice(batch.slice(part.own)),
            }
            self.own_sent = Some(batch.tick());
        }
        if part.reliable_first > self.reliable_sent + 1 {
            self.asks.push(Ask::Reoffer(self.reliable_sent + 1));
        } else {
            // Those that it has already are skipped by the client.
            message.extend_from_slice(batch.slice(part.reliable));
            self.reliable_sent = self.reliable_sent.max(part.reliable_first + part.reliable_count - 1);
        }
        let complete = self.put_cells(&mut message, batch, kept, cells_max);
        let header = Header {
            tick: batch.tick(),
            seq: part.seq,
            depth: part.depth,
            flags: if complete { VIEW_COMPLETE } else { 0 },
        };
        let mut whole = header.to_bytes()[1..].to_vec();
        whole.extend(message);
        self.replica.apply(&whole, &mut self.heard).expect("the server's messages are well formed");
        complete
    }

    fn put_cells(&mut self, out: &mut Vec<u8>, batch: &SharedBatch, kept: &Kept, cells_max: usize) -> bool {
        // By tick: the blocks that go out as of then, oldest first.
        let mut blocks: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        let mut wants = Vec::new();
        let mut complete = true;
        self.snapshots.clear();
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
                self.snapshots.push(cell);
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
            self.asks.push(Ask::Want(wants.into()));
        }
        complete
    }

    /// Whether all that it hears publishes now, at whichever rate.
    pub fn hears_all_of(&self, batch: &SharedBatch) -> bool {
        self.rates.values().all(|&(rate, _)| batch.segments.publishes(rate))
    }

    fn part(&self, batch: &SharedBatch) -> Option<Part> {
        batch.parts_of(self.conn.thread).iter().find(|part| part.conn == self.conn).copied()
    }
}
