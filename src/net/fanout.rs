//! What one player is told of a batch: the part of the fan-out that knows no socket.
//!
//! The io thread owns, per connection, the table *cell → held*: as of which tick the client has each cell of its view. What went whole
//! into the kernel or the outbox counts as held. A [`Hearing`] is that table; [`compose`] writes the one message of a tick
//! by copying encoded segments behind a header, and moves the table on. Who missed publications gets the missing deltas
//! out of the [`History`], or a snapshot; what is not there is asked for.
//!
//! A cell is told at a rate. The room says when another one begins, always at a tick at which both publish; what is held as of then in one
//! stream is as good in the other.

use serde::{Deserialize, Serialize};
use tickyard_protocol::bytes::Reader;
use tickyard_protocol::delta::{put_silent_delta, view_sum};
use tickyard_protocol::tick::{
    HEADER_BYTES, Header, SKIPPED, VIEW_COMPLETE, block, put_age, put_block, put_check, put_heard, put_view,
};
use tickyard_protocol::types::{CellId, Seq, Tick};

use super::pace::Pace;
use crate::bridge::{Batch, Part, Rate, Segments};
use crate::websocket::frame::{Opcode, SERVER_HEADER_BYTES_MAX, fill_server_header};
use history::Chain;
pub use history::History;

mod history;

/// What a player hears and holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hearing {
    /// The view, nearest first.
    cells: Vec<Heard>,
    /// The client has not been told of the view yet.
    view_is_new: bool,
    /// What the last message said; `None`: there was none.
    said: Option<Said>,
    /// The tick of the last message with a check.
    checked: Tick,
    reliable_sent: u32,
    /// An update was not composed because bytes still waited, here or on their way.
    skipped: bool,
    pace: Pace,
    /// So many of the nearest cells are told of, as the connection is too thin for more; 0: all.
    nearest: u8,
    /// Some cells are or were told less often than others, so each one's rate has to be looked at.
    has_rates: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    cell: CellId,
    /// The client has the cell, as of `as_of`. Apart, because ten an idle player are to fit into 120 bytes.
    holds: bool,
    as_of: Tick,
    /// In how many messages on end there was no room for the cell.
    left_out: u8,
    /// Of which stream the client has it.
    rate: Rate,
    /// Of which stream it hears from now on.
    next_rate: Rate,
}

impl Heard {
    /// A cell of which the client has nothing yet.
    fn new(cell: CellId) -> Heard {
        let (rate, as_of) = (Rate::One, Tick::default());
        Heard { cell, holds: false, as_of, left_out: 0, rate, next_rate: rate }
    }

    /// As of when the client has the cell.
    fn held(&self) -> Option<Tick> {
        self.holds.then_some(self.as_of)
    }

    /// Whether the client has the cell as it is in the newest publication.
    fn is_current(&self, newest: &Segments) -> bool {
        let published = newest.stream(self.cell, self.rate).published;
        self.held().is_some_and(|held| !newest.is_later(published, held)) && self.rate == self.next_rate
    }

    fn hold(&mut self, as_of: Tick) {
        (self.holds, self.as_of) = (true, as_of);
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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
    /// Brings into the caches what composing needs.
    pub fn fetch(&self) -> usize {
        let cells = self.cells.first().map_or(0, |heard| heard.as_of.0);
        (cells ^ self.reliable_sent) as usize
            ^ self.skipped as usize
            ^ self.said.map_or(0, |said| said.heard as usize)
            ^ self.nearest as usize
            ^ self.pace.is_thin() as usize
    }

    /// Takes a view that a batch brought, also when no message can be composed now.
    pub fn look(&mut self, batch: &Batch, part: &Part) {
        let Some(span) = part.view else { return };
        let view = &batch.views[span.range()];
        // Exactly as many as it needs: most of what a silent player costs here is this list.
        let new = view.iter().filter(|&&cell| self.cells.iter().all(|heard| heard.cell != cell));
        self.cells.reserve_exact(new.count());
        // Only the rates may have changed, of which the client is not told.
        self.view_is_new |= !self.cells.iter().map(|heard| heard.cell).eq(view.iter().copied());
        for (at, &cell) in view.iter().enumerate() {
            let known = self.cells[at..].iter().position(|heard| heard.cell == cell);
            let from = known.map_or(self.cells.len(), |behind| at + behind);
            if known.is_none() {
                self.cells.push(Heard::new(cell));
            }
            self.cells.swap(at, from);
            self.cells[at].next_rate = batch.rate(span.start as usize + at);
        }
        self.cells.truncate(view.len());
        self.has_rates =
            self.cells.iter().any(|heard| (heard.rate, heard.next_rate) != (Rate::One, Rate::One));
        self.let_go_of_hidden();
    }

    /// How many cells the client is told of.
    fn told(&self) -> usize {
        match self.nearest {
            0 => self.cells.len(),
            nearest => self.cells.len().min(nearest.into()),
        }
    }

    fn let_go_of_hidden(&mut self) {
        let told = self.told();
        self.cells[told..].iter_mut().for_each(|heard| heard.holds = false);
    }

    /// Tells of no more cells than a thin connection carries in time, the nearest always, and now and then of one more.
    fn fit(&mut self, history: &History, newest: &Batch, missing: &mut Missing) {
        let (now, tick_rate) = (newest.tick(), newest.tick_rate);
        let said = self.said.map_or(now, |said| said.at);
        let [changes_max, whole_max] = self.pace.bytes_max(said, now, tick_rate);
        let told = self.told();
        let may_grow = told < self.cells.len() && self.pace.may_grow(now);
        let (mut fit, mut changes, mut whole) = (0, 0, 0);
        for heard in &self.cells[..told + usize::from(may_grow)] {
            match history.way(heard) {
                Some(way) => {
                    whole += way.bytes();
                    changes += if way.snapshot.is_none() { way.bytes() } else { 0 };
                }
                // It is told of when it is known how large it is.
                None if fit == told => return missing.cells.push(heard.cell),
                None => {}
            }
            let is_tried = fit == told && self.pace.dares();
            if fit > 0 && (changes > changes_max || whole > whole_max) && !is_tried {
                break;
            }
            fit += 1;
        }
        if fit < told {
            self.pace.note_overflow(now, tick_rate);
        } else if may_grow {
            self.pace.note_tried(now, tick_rate);
        }
        self.tell(fit);
    }

    fn tell(&mut self, nearest: usize) {
        if nearest != self.told() {
            self.nearest = u8::try_from(nearest).unwrap_or(0);
            self.view_is_new = true;
            self.let_go_of_hidden();
        }
    }

    /// The newest batch passes without a message. Returns whether there was anything to say: only then is it an update that the client
    /// has missed, and will be told of.
    pub fn skip(&mut self, history: &History, part: &Part) -> bool {
        let Some(batch) = history.newest() else { return false };
        self.look(batch, part);
        let missed = self.has_news(batch, part);
        self.skipped |= missed;
        missed
    }

    /// Whether a batch has something for this client, but for a header that says nothing new.
    fn has_news(&self, batch: &Batch, part: &Part) -> bool {
        let said = self.said.is_some_and(|said| {
            said.seq == part.seq
                && said.heard == part.heard
                && !batch.segments.is_later(part.own_changed, said.at)
        });
        let reliable_next = part.reliable_first + part.reliable_count;
        !said
            || self.view_is_new
            || reliable_next > self.reliable_sent + 1
            || !self.cells[..self.told()].iter().all(|heard| heard.is_current(&batch.segments))
    }

    /// An input says how far its player has come. Returns whether the connection is too thin for all that there is to say.
    pub fn note_seen(&mut self, render_tick: u32, newest: &Batch) -> bool {
        let Some(said) = self.said else { return false };
        let was_thin = self.is_thin();
        if self.pace.note_seen(render_tick, said.at, newest.tick(), newest.tick_rate) {
            if self.told() == self.cells.len() {
                self.pace.set_free();
                self.nearest = 0;
            } else {
                self.pace.dare();
            }
        } else if self.is_thin() && !was_thin {
            self.tell(1);
        }
        self.is_thin()
    }

    /// Whether the connection is too thin for all that there is to say.
    pub fn is_thin(&self) -> bool {
        self.pace.is_thin()
    }

    /// Whether a message would only wait behind those that are on their way, by what the player says it has seen.
    pub fn is_paced(&self, newest: &Batch) -> bool {
        self.said.is_some_and(|said| self.pace.is_full(said.at, newest.tick(), newest.tick_rate))
    }

    /// Forgets what the client holds of these cells, because it says that it holds them no longer.
    pub fn forget(&mut self, cells: &[CellId]) {
        for heard in self.cells.iter_mut().filter(|heard| cells.contains(&heard.cell)) {
            heard.holds = false;
        }
    }

    /// The client's world is broken: it is told its view again, and all that is in it.
    pub fn forget_all(&mut self) {
        self.cells.iter_mut().for_each(|heard| heard.holds = false);
        self.view_is_new = true;
    }

    /// What the client must hold, now and then: what its sums do not cover are a view that it did not hear, and a cell of which it
    /// did not hear the last word.
    fn put_check(&mut self, tick: Tick, out: &mut Vec<u8>) {
        if tick.since(self.checked) >= CHECK_TICKS {
            self.checked = tick;
            put_check(out, view_sum(self.cells[..self.told()].iter().map(|heard| (heard.cell, heard.as_of))));
        }
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
    if hearing.is_thin() {
        hearing.fit(history, batch, missing);
    }
    out.clear();
    out.resize(PREFIX_BYTES, 0);
    put_private(batch, part, hearing, missing, out);
    let complete = put_world(history, hearing, missing, out);
    if out.len() == PREFIX_BYTES && !is_due(batch, part, hearing, complete) {
        return None;
    }
    if complete {
        hearing.put_check(batch.tick(), out);
    }
    let flags = if complete { VIEW_COMPLETE } else { 0 } | if hearing.skipped { SKIPPED } else { 0 };
    let header = Header { tick: batch.tick(), seq: part.seq, depth: part.depth, flags };
    out[SERVER_HEADER_BYTES_MAX..PREFIX_BYTES].copy_from_slice(&header.to_bytes());
    hearing.view_is_new = false;
    hearing.skipped = false;
    hearing.pace.note_said(batch.tick(), out.len(), batch.tick_rate);
    hearing.said = Some(Said { at: batch.tick(), seq: part.seq, heard: part.heard, complete });
    Some(fill_server_header(out, Opcode::Binary))
}

/// Whether a message without blocks is to be sent.
fn is_due(batch: &Batch, part: &Part, hearing: &Hearing, complete: bool) -> bool {
    hearing.said.is_none_or(|said| {
        said.seq != part.seq
            || said.complete != complete
            || hearing.skipped
            || batch.tick().since(said.at) >= batch.tick_rate as u32
    })
}

/// What is this player's alone: its view, its own entity, its reliable messages.
fn put_private(batch: &Batch, part: &Part, hearing: &mut Hearing, missing: &mut Missing, out: &mut Vec<u8>) {
    if hearing.view_is_new {
        put_view(out, hearing.cells[..hearing.told()].iter().map(|heard| heard.cell));
    }
    if hearing.said.is_none_or(|said| batch.segments.is_later(part.own_changed, said.at)) {
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
    let newest = &*newest.segments;
    let mut world = World { history, newest, start: out.len(), age: 0, may_exceed: true };
    let mut behind = false;
    let (told, has_rates) = (hearing.told(), hearing.has_rates);
    let cells = &mut hearing.cells[..told];
    for heard in cells.iter_mut() {
        behind |= !world.put_delta(heard, has_rates, out);
    }
    if !behind {
        return true;
    }
    let mut complete = true;
    for heard in cells {
        complete &= heard.is_current(world.newest) || world.catch_up(heard, missing, out);
    }
    complete
}

struct World<'a> {
    history: &'a History,
    newest: &'a Segments,
    /// Where the world bytes begin.
    start: usize,
    /// What the last age block said.
    age: u32,
    /// No cell has gone out beyond the limit yet.
    may_exceed: bool,
}

impl World<'_> {
    fn fits(&self, bytes: usize, out: &[u8]) -> bool {
        // One segment always passes, or a crowded cell would never be seen.
        out.len() == self.start || out.len() - self.start + bytes <= WORLD_BYTES_MAX
    }

    /// The usual case: the client holds the cell as of its last publication. Returns whether it is current now.
    fn put_delta(&self, heard: &mut Heard, has_rates: bool, out: &mut Vec<u8>) -> bool {
        let Some(held) = heard.held() else { return false };
        let entry = match has_rates {
            false => self.newest.cell(heard.cell),
            true if heard.rate == heard.next_rate => self.newest.stream(heard.cell, heard.rate),
            true => return false,
        };
        if !self.newest.is_later(entry.published, held) {
            return true;
        }
        let applies = !entry.delta.is_empty() && self.newest.tick.since(held) <= entry.base;
        if !applies || !self.fits(entry.delta.range().len(), out) {
            return false;
        }
        out.extend_from_slice(self.newest.slice(entry.delta));
        heard.hold(self.newest.tick);
        heard.left_out = 0;
        true
    }

    /// Tells what was missed. Returns whether the cell is current now.
    #[inline(never)]
    fn catch_up(&mut self, heard: &mut Heard, missing: &mut Missing, out: &mut Vec<u8>) -> bool {
        let Some(way) = self.history.way(heard) else {
            missing.cells.push(heard.cell);
            return false;
        };
        if !self.fits(way.bytes(), out) {
            // Where nearer cells have something to say at every tick, a large one would never find room.
            let has_waited = heard.left_out >= LEFT_OUT_MAX && std::mem::take(&mut self.may_exceed);
            if !has_waited {
                heard.left_out = heard.left_out.saturating_add(1);
                return false;
            }
        }
        heard.left_out = 0;
        if let Some((segments, entry)) = way.snapshot {
            self.put_aged(segments.tick, segments.slice(entry.snapshot), out);
            heard.hold(segments.tick);
            heard.rate = Rate::One;
        }
        self.put_chain(heard, &way.chain, out);
        if let Some((change, chain)) = way.then {
            self.change_rate(heard, change, out);
            self.put_chain(heard, &chain, out);
        }
        true
    }

    fn put_chain(&mut self, heard: &mut Heard, chain: &Chain, out: &mut Vec<u8>) {
        for (segments, entry) in chain.oldest_first() {
            self.put_aged(segments.tick, segments.slice(entry.delta), out);
            heard.hold(segments.tick);
        }
    }

    /// At a tick at which both rates publish. If the other one has said something that this one needed not say, a delta that says nothing
    /// makes the client hold the cell as of then.
    fn change_rate(&mut self, heard: &mut Heard, change: &Segments, out: &mut Vec<u8>) {
        let rate = heard.next_rate;
        if change.is_later(change.stream(heard.cell, rate).published, heard.as_of) {
            self.put_age(change.tick, out);
            put_silent_delta(out, heard.cell, change.tick.since(heard.as_of));
            heard.hold(change.tick);
        }
        heard.rate = rate;
    }

    fn put_aged(&mut self, at: Tick, segment: &[u8], out: &mut Vec<u8>) {
        self.put_age(at, out);
        out.extend_from_slice(segment);
    }

    fn put_age(&mut self, at: Tick, out: &mut Vec<u8>) {
        let age = self.newest.tick.since(at);
        if age != self.age {
            put_age(out, age);
            self.age = age;
        }
    }
}

/// World bytes of one message; a single larger segment still passes.
pub const WORLD_BYTES_MAX: usize = 32 * 1024;

/// How often a message says what the client must hold; an idle client hears it with its heartbeats.
const CHECK_TICKS: u32 = 16;

/// Left out of so many messages on end, a cell goes out beyond [`WORLD_BYTES_MAX`]; one a message.
const LEFT_OUT_MAX: u8 = 8;

/// Room for the frame header, and the tick header.
const PREFIX_BYTES: usize = SERVER_HEADER_BYTES_MAX + HEADER_BYTES;

#[cfg(test)]
mod tests;
