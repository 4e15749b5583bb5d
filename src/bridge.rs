//! All that crosses threads: commands from the io threads to the simulation, batches back.
//!
//! ```text
//! io thread ──CommandList──▶ bounded channel, one send per poll turn ──▶ simulation thread ──▶ rooms
//! io thread ◀──Delivery, one wake── bounded channel, one send per phase ◀── simulation thread ◀── rooms
//! ```
//! A command is addressed to a room and comes from a connection; a batch is what one room has to say at one publication, shared by
//! all io threads. Neither side ever waits for the other; `docs/architecture.md` says what happens when a channel is full.

use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use tickyard_protocol::message::{Input, RefusalCode};
use tickyard_protocol::repair::Repair;
use tickyard_protocol::types::{CellId, PlayerId, Seq, Tick};

use crate::time::Time;

/// A connection of an io thread. Slots are reused, so a generation tells their users apart: a late batch must
/// never reach a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The io thread that owns the socket.
    pub thread: u16,
    /// Its place in that thread's table.
    pub slot: u32,
    /// How often that place was used before.
    pub generation: u32,
}

/// A room of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoomId(pub u32);

/// What an io thread asks of a room. The list of commands that a room drains in a tick is its journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The room it is for.
    pub room: RoomId,
    /// Who asks.
    pub conn: ConnId,
    /// What is asked.
    pub ask: Ask,
}

/// The commands of a poll turn, on their way to the simulation.
#[derive(Debug, Default)]
pub struct CommandList {
    /// When the first of them was read.
    pub read: Time,
    /// In the order in which they were read.
    pub commands: Vec<Command>,
}

/// What is asked of a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Reliable messages up to this number were heard.
    Ack(u32),
    /// An input, to be applied in the order of its number.
    Input(Input),
    /// A seat, please. Answered by [`Joined`] or [`Refusal`].
    Join(Box<Join>),
    /// The connection is gone, or its player left.
    Leave(Leave),
    /// A reliable message.
    Message(Box<Message>),
    /// No cell more often than this, please.
    Rate(Rate),
    /// Reliable messages from this number on did not get out: offer them again.
    Reoffer(u32),
    /// The client's world is not ours: snapshots of all of its view, please.
    Repair(Box<Repair>),
    /// Snapshots of these cells, please. Asking again is harmless.
    Want(Box<[CellId]>),
}

/// How often a cell is told: at every tick, or at every second, fourth or eighth.
///
/// A slower stream is the one of rate [`Rate::One`] with ticks left out: what it says at its ticks is how things are then. So
/// whoever holds a cell at a tick at which two rates publish can go on with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rate {
    /// At every tick.
    #[default]
    One,
    /// At every second tick.
    Two,
    /// At every fourth tick.
    Four,
    /// At every eighth tick.
    Eight,
}

impl Rate {
    /// From the most often to the least often.
    pub const ALL: [Rate; 4] = [Rate::One, Rate::Two, Rate::Four, Rate::Eight];

    /// At each how-many-th tick it publishes.
    pub const fn ticks(self) -> u32 {
        1 << self as u32
    }

    /// Whether it publishes at `now` when the room published last at `last`: in a step of several ticks also one that passes a
    /// tick of this rate.
    pub fn publishes(self, last: Tick, now: Tick) -> bool {
        now.0 % self.ticks() < now.since(last)
    }
}

/// Who wants in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The name to show; empty: the room chooses.
    pub name: String,
    /// For the game.
    pub options: Vec<u8>,
}

/// How a player left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leave {
    /// The connection ended without a word.
    Dropped,
    /// The player closed with 1000 or 1001.
    Left,
    /// The server ended it: a broken rule, a time-out, a drain.
    Removed,
}

/// A reliable message from a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// 1, 2, 3 … per session.
    pub number: u32,
    /// What it is about.
    pub kind: String,
    /// What it says.
    pub payload: Vec<u8>,
}

/// A range of bytes, [`Batch::views`] or [`Batch::parts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

impl Span {
    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// As indices.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What a room says at one publication, for all its players. Encoded once, shared by all io threads.
///
/// What is said to players is of no use once the next batch is there, and grows with their number; what is said of the world is kept
/// for clients who fall behind. So a batch only refers to its [`Segments`].
#[derive(Debug, Default)]
pub struct Batch {
    /// Which room.
    pub room: Option<RoomId>,
    /// When the tick that is published was due.
    pub due: Time,
    /// Ticks per second of the room: a player who has nothing to hear hears from us after this many ticks.
    pub tick_rate: u16,
    /// The world.
    pub segments: Arc<Segments>,
    /// What is encoded for one player each; the spans below point here.
    pub bytes: Vec<u8>,
    /// One part per player, grouped by io thread.
    pub parts: Vec<Part>,
    /// By io thread: its parts. A thread beyond the end has none.
    pub threads: Vec<Span>,
    /// The cells of new views; [`Part::view`] points here.
    pub views: Vec<CellId>,
    /// How often each of them is told from now on. Empty where all are told at every tick.
    pub rates: Vec<Rate>,
    /// Players who got a seat.
    pub joined: Vec<Joined>,
    /// Players who did not.
    pub refused: Vec<Refusal>,
    /// Players the room has to be rid of.
    pub removed: Vec<Removed>,
}

/// What a batch says of the world, to whoever hears it.
#[derive(Debug, Default)]
pub struct Segments {
    /// The tick that is published.
    pub tick: Tick,
    /// All encoded blocks; the spans of cells point here.
    pub bytes: Vec<u8>,
    /// By cell id: when it published last, and what it says now.
    pub cells: Vec<CellEntry>,
    /// The same of the slower rates that are in use, [`Rate::Two`] first.
    pub slower: [SlowerSegments; Rate::ALL.len() - 1],
}

/// What a slower rate says of the world. Snapshots stand in [`Segments::cells`] alone.
#[derive(Debug, Default)]
pub struct SlowerSegments {
    /// Whether this is one of its ticks: then who holds a cell at this rate has it as at any other that publishes now.
    pub publishes: bool,
    /// By cell id. Empty: the rate is not in use.
    pub cells: Vec<CellEntry>,
}

/// A cell in [`Segments`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellEntry {
    /// When the cell published last: who holds it as of then or later is current.
    pub published: Tick,
    /// The delta of this publication, with the transient blocks behind it. Empty: the cell is silent, or nobody heard it so
    /// far, and then `published` moves on all the same.
    pub delta: Span,
    /// How many ticks before this one the delta begins; a delta applies to who holds the cell as of then or later.
    pub base: u32,
    /// The cell as a whole as of this tick; empty: nobody asked.
    pub snapshot: Span,
}

/// What a batch says to one player.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The player's connection.
    pub conn: ConnId,
    /// The last input applied.
    pub seq: Seq,
    /// How many inputs wait in the room.
    pub depth: u8,
    /// The number of the player's last message that the room took.
    pub heard: u32,
    /// The `self` block; empty: the player follows no entity.
    pub own: Span,
    /// The tick at which the own entity's row changed last.
    pub own_changed: Tick,
    /// The cells the player hears from now on, nearest first, if that or their rates changed.
    pub view: Option<Span>,
    /// Reliable blocks, in order.
    pub reliable: Span,
    /// The number of the first of them; if there are none, the number that comes next.
    pub reliable_first: u32,
    /// How many they are.
    pub reliable_count: u32,
}

/// A player got a seat. The player's part in this batch has the first view.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// The connection that asked.
    pub conn: ConnId,
    /// Who it is now.
    pub player: PlayerId,
    /// The encoded `Welcome`, type byte included.
    pub welcome: Span,
}

/// A player did not get a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The connection that asked.
    pub conn: ConnId,
    /// Why.
    pub code: RefusalCode,
    /// Why, for people.
    pub text: String,
    /// When to try again, in milliseconds.
    pub retry_after_millis: Option<u32>,
}

impl Refusal {
    /// The room's game failed, or did not even begin.
    pub fn of_failed_room(conn: ConnId) -> Refusal {
        let text = "this room has ended: its game failed".to_owned();
        Refusal { conn, code: RefusalCode::Game, text, retry_after_millis: None }
    }
}

/// A player whose seat the room took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The player's connection.
    pub conn: ConnId,
    /// Why.
    pub why: RemovedWhy,
}

/// Why a room takes a seat away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedWhy {
    /// Too much is waiting for the client's acknowledgement.
    ReliableOverflow,
    /// The room's game failed.
    RoomFailed,
}

impl Batch {
    /// How often the cell at this place of [`Batch::views`] is told.
    pub fn rate(&self, at: usize) -> Rate {
        self.rates.get(at).copied().unwrap_or_default()
    }

    /// The parts of one io thread's players.
    pub fn parts_of(&self, thread: u16) -> &[Part] {
        let span = self.threads.get(thread as usize).copied().unwrap_or_default();
        &self.parts[span.range()]
    }

    /// Whether it has anything for an io thread.
    pub fn concerns(&self, thread: u16) -> bool {
        !self.parts_of(thread).is_empty()
            || self.joined.iter().any(|joined| joined.conn.thread == thread)
            || self.refused.iter().any(|refusal| refusal.conn.thread == thread)
            || self.removed.iter().any(|removed| removed.conn.thread == thread)
    }

    /// The tick that is published.
    pub fn tick(&self) -> Tick {
        self.segments.tick
    }

    /// What is encoded for one player.
    pub fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    /// Empties the batch but for its segments and keeps its memory, but not what a single outburst needed.
    pub fn clear(&mut self) {
        let Batch { bytes, parts, threads, views, rates, joined, refused, removed, .. } = self;
        empty_bytes(bytes);
        parts.clear();
        threads.clear();
        views.clear();
        rates.clear();
        joined.clear();
        refused.clear();
        removed.clear();
    }
}

impl Segments {
    /// The entry of a cell; a cell that never published has the default one.
    pub fn cell(&self, cell: CellId) -> CellEntry {
        self.cells.get(cell.0 as usize).copied().unwrap_or_default()
    }

    /// The entry of a cell in the stream of a rate.
    pub fn stream(&self, cell: CellId, rate: Rate) -> CellEntry {
        match self.of_rate(rate) {
            None => self.cell(cell),
            Some(slower) => slower.cells.get(cell.0 as usize).copied().unwrap_or_default(),
        }
    }

    /// Whether a rate publishes now.
    pub fn publishes(&self, rate: Rate) -> bool {
        self.of_rate(rate).is_none_or(|slower| slower.publishes)
    }

    fn of_rate(&self, rate: Rate) -> Option<&SlowerSegments> {
        (rate as usize).checked_sub(1).map(|at| &self.slower[at])
    }

    /// Whether one tick of the past is later than another. Counted back from the tick that is published, so that a cell which has
    /// been silent for years does not seem to lie in the future.
    pub fn is_later(&self, tick: Tick, other: Tick) -> bool {
        self.tick.since(tick) < self.tick.since(other)
    }

    /// Encoded blocks of a cell.
    pub fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    /// As [`Batch::clear`].
    pub fn clear(&mut self) {
        empty_bytes(&mut self.bytes);
        self.cells.clear();
        for slower in &mut self.slower {
            slower.cells.clear();
            slower.publishes = false;
        }
    }
}

fn empty_bytes(bytes: &mut Vec<u8>) {
    bytes.shrink_to(2 * bytes.len().max(BYTES_KEPT_MIN));
    bytes.clear();
}

/// Room that a batch keeps at least, when it has been emptied.
const BYTES_KEPT_MIN: usize = 16 * 1024;

/// A batch that others read as well.
pub type SharedBatch = Arc<Batch>;

/// What the rooms of a phase say, on its way to an io thread.
#[derive(Debug)]
pub struct Delivery {
    /// When the simulation handed it out.
    pub handed_out: Time,
    /// In the order in which they are to be sent.
    pub batches: Vec<SharedBatch>,
    /// Lists of commands of that thread that were drained: their memory is for the next ones.
    pub drained: Vec<Vec<Command>>,
}

/// Poll turns' worth of commands that may wait for a simulation thread. It drains once per phase, and a busy io thread takes
/// ten thousand turns a second: this is room for a tick of 60 Hz to 4 Hz. Beyond it inputs wait with their sessions.
pub const COMMAND_LISTS_MAX: usize = 4096;

/// Lists of commands whose memory is kept for the next ones: more than a busy io thread sends between two drains.
pub const DRAINED_MAX: usize = 256;

/// Batches of a room that may wait for an io thread. A thread that is further behind is served later from the room's state.
pub const BATCHES_MAX: usize = 16;

/// A room's batches whose segments an io thread keeps, to catch clients up without a snapshot.
pub const BATCHES_KEPT: usize = 8;
