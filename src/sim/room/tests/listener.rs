//! The io side, naively: one client that is told what batches say, late, in parts or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickyard_protocol::fields::Shapes;
use tickyard_protocol::message::{ServerControl, decode_server_control};
use tickyard_protocol::replica::{Hears, Replica};
use tickyard_protocol::tick::{
    Header, Reliable, VIEW_COMPLETE, block, put_age, put_block, put_heard, put_view,
};
use tickyard_protocol::types::{CellId, PlayerId, Tick};

use crate::bridge::{Ask, BATCHES_KEPT, ConnId, Part, Segments, SharedBatch, Span};

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
    /// What it asks of the room next.
    pub asks: Vec<Ask>,
    view: Vec<CellId>,
    view_is_news: bool,
    held: BTreeMap<CellId, Tick>,
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
            asks: Vec::new(),
            view: Vec::new(),
            view_is_news: false,
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
        // By tick: the spans that go out as of then, oldest first.
        let mut spans: BTreeMap<u32, Vec<(&Segments, Span)>> = BTreeMap::new();
        let mut wants = Vec::new();
        let mut complete = true;
        let late = |tick: Tick| batch.tick().since(tick);
        for (at, &cell) in self.view.iter().enumerate() {
            let entry = batch.segments.cell(cell);
            let held = self.held.get(&cell).copied();
            if held.is_some_and(|held| late(held) <= late(entry.published)) {
                continue;
            }
            if at >= cells_max {
                complete = false;
                continue;
            }
            let mut now = held;
            let mut chain = Vec::new();
            for old in &kept.0 {
                let entry = old.cell(cell);
                let applies = |held: Tick| late(held) > late(old.tick) && old.tick.since(held) <= entry.base;
                if !entry.delta.is_empty() && now.is_some_and(applies) {
                    chain.push((old, entry.delta));
                    now = Some(old.tick);
                }
            }
            if now.is_some_and(|now| late(now) <= late(entry.published)) {
                for (old, span) in chain {
                    spans.entry(u32::MAX - late(old.tick)).or_default().push((old, span));
                }
                self.held.insert(cell, now.unwrap());
            } else if !entry.snapshot.is_empty() {
                spans.entry(u32::MAX).or_default().push((&batch.segments, entry.snapshot));
                self.held.insert(cell, batch.tick());
            } else {
                wants.push(cell);
                complete = false;
            }
        }
        for (age, spans) in spans {
            if age != u32::MAX {
                put_age(out, u32::MAX - age);
            } else {
                put_age(out, 0);
            }
            spans.iter().for_each(|(old, span)| out.extend_from_slice(old.slice(*span)));
        }
        if !wants.is_empty() {
            self.asks.push(Ask::Want(wants.into()));
        }
        complete
    }

    fn part(&self, batch: &SharedBatch) -> Option<Part> {
        batch.parts_of(self.conn.thread).iter().find(|part| part.conn == self.conn).copied()
    }
}
