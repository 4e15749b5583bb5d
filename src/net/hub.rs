//! All connections of an io thread and the rooms they hear: the work of its loop, without the poller.
//!
//! The io thread tells a [`Hub`] what the poller and the channels brought, and calls the parts of a turn in order. The sockets may be
//! anything that is a [`Socket`], so a test drives the same code without a kernel. [`Hub::set_now`] brings the time; the clock
//! is looked at only to measure.

// A shell: it looks at the clock through its stopwatch alone.
#![allow(clippy::disallowed_types)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::Shared;
use super::commands::Commands;
use super::connection::{Connection, Verdict};
use super::desk::Desk;
use super::fanout::{History, Missing};
use super::table::Table;
use super::tally::Tally;
use super::tls::Identity;
use super::transport::{Buffers, Socket, Transport};
use crate::addresses::Peer;
use crate::bridge::{Batch, Command, CommandList, ConnId, RoomId, SharedBatch};
use crate::close_reason::CloseReason;
use crate::config::limits::{PINGS_OVER_EVEN, PINGS_PER_SWEEP_MIN, TLS_HANDSHAKES_PER_TURN};
use crate::flight::{Fanout, Stopwatch};
use crate::metrics::Role;
use crate::session::{Pulse, Session, Turn};
use crate::stage::{Stage, Stages};
use crate::time::Time;
use crate::websocket::deflate::SharedWriter;

/// The connections of an io thread, and what it knows of the rooms.
#[derive(Debug)]
pub struct Hub<S> {
    index: u16,
    desk: Desk,
    connections: Table<Connection<S>>,
    run_queue: VecDeque<ConnId>,
    /// Those in the TLS handshake with something to read. A connection stands in one of the two queues, and once.
    handshakes: VecDeque<ConnId>,
    /// By room: they are numbered from 0.
    rooms: Vec<RoomSide>,
    /// Rooms with something to send, in the order in which their batches came; each once.
    sending: VecDeque<RoomId>,
    swept: Time,
    sweep_from: usize,
    stopping: Option<Time>,
}

/// A room as an io thread knows it.
#[derive(Debug, Default)]
struct RoomSide {
    history: History,
    /// The next part of the newest batch to be sent, and how many are left; it wraps, so that who was last is first.
    next: usize,
    left: usize,
    /// Stands in the queue of those with something to send.
    is_queued: bool,
    /// What sending it has cost so far.
    spent: Fanout,
}

impl<S: Socket> Hub<S> {
    /// Nobody there yet; `commands` are the ways to the threads of the simulation.
    pub fn new(index: u16, shared: Arc<Shared>, commands: Vec<Sender<CommandList>>, now: Time) -> Hub<S> {
        let watch = shared.flight.stopwatch(format!("io-{index}"), Role::Io);
        let desk = Desk {
            now,
            commands: Commands::new(commands),
            with_inputs: Vec::new(),
            with_asks: Vec::new(),
            turned_away: 0,
            tally: Tally::default(),
            buffers: Buffers::new(),
            spare: Vec::new(),
            compose: Vec::new(),
            deflate: SharedWriter::default(),
            deflate_cost: 0,
            missing: Missing::default(),
            pings_left: 0,
            watch,
            shared,
        };
        Hub {
            index,
            desk,
            connections: Table::new(index),
            run_queue: VecDeque::new(),
            handshakes: VecDeque::new(),
            rooms: Vec::new(),
            sending: VecDeque::new(),
            swept: now,
            sweep_from: 0,
            stopping: None,
        }
    }

    /// What all io threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.desk.shared
    }

    /// Now, as of this turn.
    pub fn now(&self) -> Time {
        self.desk.now
    }

    /// A turn begins.
    pub fn set_now(&mut self, now: Time) {
        if now.since(self.desk.now) > STALL {
            // The process was held up: hear first what came meanwhile, before anybody is accused of silence.
            self.swept = now + STALL;
        }
        self.desk.now = now;
        self.desk.commands.set_now(now);
    }

    /// The stopwatch of this thread.
    pub fn watch(&mut self) -> &mut Stopwatch {
        &mut self.desk.watch
    }

    /// The id that the next connection gets; its slot is the poller's token.
    pub fn next_id(&self) -> ConnId {
        self.connections.next_id()
    }

    /// Takes a connection under [`Hub::next_id`]. It is already counted as open, and its peer among the addresses.
    pub fn admit(&mut self, socket: S, peer: Peer) {
        let connection = insert(&mut self.connections, &self.desk, socket, peer);
        if self.stopping.is_some() {
            connection.tell(&mut self.desk, Session::going_away);
        }
        // Most requests are there already: no need to wait for the poller to say so.
        enqueue(&mut self.run_queue, connection);
    }

    /// Takes a connection under [`Hub::next_id`] only to tell it that there is no room. It is not counted as open.
    pub fn turn_away(&mut self, socket: S, peer: Peer, reason: CloseReason) {
        let connection = insert(&mut self.connections, &self.desk, socket, peer);
        connection.turned_away = true;
        self.desk.turned_away += 1;
        let verdict = connection.tell(&mut self.desk, |session, turn| session.turn_away(turn, reason));
        let conn = connection.id;
        enqueue(&mut self.run_queue, connection);
        self.carry_out(conn, verdict);
    }

    /// How many are here only to be told that there is no room.
    pub fn turned_away(&self) -> usize {
        self.desk.turned_away
    }

    /// The poller reported something about a slot.
    pub fn wake(&mut self, slot: usize, readable: bool, writable: bool, ended: bool) {
        if let Some(connection) = self.connections.at(slot) {
            connection.wake(readable, writable, ended);
            enqueue(&mut self.run_queue, connection);
        }
    }

    /// Takes what a room has said: its news at once, the rest with the fan-out.
    pub fn take_batch(&mut self, batch: SharedBatch) {
        self.take_news(&batch);
        self.start_fanout(batch);
    }

    /// Takes lists of commands back, for their memory.
    pub fn take_drained(&mut self, lists: Vec<Vec<Command>>) {
        self.desk.commands.take_drained(lists);
    }

    /// Whether there is work that waits for nothing.
    pub fn is_busy(&self) -> bool {
        !self.run_queue.is_empty() || !self.handshakes.is_empty() || self.is_fanning_out()
    }

    fn is_fanning_out(&self) -> bool {
        !self.sending.is_empty()
    }

    /// Whether the simulation did not take everything: try again soon.
    pub fn asks_wait(&self) -> bool {
        self.desk.commands.are_blocked() || !self.desk.with_asks.is_empty()
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Every conversation, to be written down and read again.
    pub fn sessions(&mut self) -> impl Iterator<Item = &mut Session> {
        self.connections.iter_mut().map(|connection| &mut connection.session)
    }

    /// The memory that each connection holds for its peer: received, collected and waiting.
    pub fn held_bytes(&self) -> impl Iterator<Item = usize> {
        self.connections.iter().map(Connection::held_bytes)
    }

    /// Since when every connection knows that the server goes away.
    pub fn stopping(&self) -> Option<Time> {
        self.stopping
    }

    /// Each connection that stood in the queue gets one turn, until `out_of_time`: however many flood, updates go out in between. Who had
    /// none comes first in the next.
    pub fn serve_run_queue(&mut self, out_of_time: impl Fn(Instant) -> bool) {
        self.desk.deflate_cost = 0;
        if self.run_queue.is_empty() {
            return;
        }
        self.desk.watch.enter(Stage::Receive);
        let started = self.desk.watch.instant();
        let mut next = Vec::new();
        for step in 0..self.run_queue.len() {
            if step > 0 && out_of_time(started) {
                break;
            }
            if step.is_multiple_of(AHEAD) {
                fetch(&self.connections, self.run_queue.iter(), Connection::fetch_to_work);
            }
            let Some(conn) = self.run_queue.pop_front() else { break };
            let Some(connection) = self.connections.find(conn) else { continue };
            connection.queued = false;
            let pulse = pulse(&self.rooms, connection);
            match connection.work(&mut self.desk, pulse) {
                Verdict::Next => {
                    connection.queued = true;
                    next.push(conn);
                }
                verdict => self.carry_out(conn, verdict),
            }
        }
        // In their order, ahead of those who had their turn.
        next.into_iter().rev().for_each(|conn| self.run_queue.push_front(conn));
    }

    /// Sends a slice of what is to be sent, so that reading goes on in between; `out_of_time` ends it early.
    pub fn fan_out(&mut self, out_of_time: impl Fn(Instant) -> bool) {
        if !self.is_fanning_out() {
            return;
        }
        let mut sent = 0u32;
        self.desk.watch.enter(Stage::Compose);
        let started = self.desk.watch.instant();
        while let Some(&room) = self.sending.front() {
            let side = &mut self.rooms[room.0 as usize];
            let Some(batch) = side.history.newest().cloned() else { return };
            let parts = batch.parts_of(self.index);
            let sent_before = sent;
            self.desk.watch.begin_fanout(room);
            while side.left > 0 {
                if sent == SENDS_PER_SLICE || (sent % 32 == 31 && out_of_time(started)) {
                    side.spent += self.desk.watch.end_fanout(sent - sent_before);
                    return;
                }
                if (sent - sent_before).is_multiple_of(AHEAD as u32) {
                    let (before, after) = parts.split_at(side.next);
                    let next = after.iter().chain(before).take(side.left).map(|part| &part.conn);
                    fetch(&self.connections, next, Connection::fetch_to_publish);
                }
                let part = &parts[side.next];
                side.next = (side.next + 1) % parts.len();
                side.left -= 1;
                sent += 1;
                let Some(connection) = self.connections.find(part.conn) else { continue };
                if let Verdict::Gone(reason) = connection.publish(&mut self.desk, room, &side.history, part) {
                    remove(&mut self.connections, &mut self.desk, part.conn, reason);
                }
            }
            side.is_queued = false;
            self.sending.pop_front();
            side.spent += self.desk.watch.end_fanout(sent - sent_before);
            self.desk.shared.metrics.fanout.observe(self.desk.watch.now().since(batch.due));
            self.desk.watch.report_fanout(&mut side.spent);
        }
    }

    /// TLS handshakes, until `out_of_time`: each is dear, and a flood of them must not delay who plays. While updates wait to be sent
    /// there is one a turn.
    pub fn shake_hands(&mut self, out_of_time: impl Fn(Instant) -> bool) {
        if self.handshakes.is_empty() {
            return;
        }
        self.desk.watch.enter(Stage::Handshake);
        let started = self.desk.watch.instant();
        let most = if self.is_fanning_out() { 1 } else { TLS_HANDSHAKES_PER_TURN };
        for step in 0..self.handshakes.len().min(most) {
            if step > 0 && out_of_time(started) {
                return;
            }
            let Some(conn) = self.handshakes.pop_front() else { return };
            let Some(connection) = self.connections.find(conn) else { continue };
            connection.queued = false;
            let verdict = connection.shake(&mut self.desk, Pulse::default());
            self.carry_out(conn, verdict);
        }
    }

    /// One send per turn. Inputs that found no room are offered again: by now they are the newest ones.
    pub fn send_commands(&mut self) {
        self.desk.watch.enter(Stage::HandIn);
        self.desk.commands.unblock();
        for conn in std::mem::take(&mut self.desk.with_asks) {
            let Some(connection) = self.connections.find(conn) else { continue };
            if !self.desk.commands.have_room(connection.session.room()) {
                self.desk.with_asks.push(conn);
                continue;
            }
            let pulse = pulse(&self.rooms, connection);
            let verdict = connection.resume(&mut self.desk, pulse);
            self.carry_out(conn, verdict);
        }
        let mut with_inputs = std::mem::take(&mut self.desk.with_inputs);
        with_inputs.retain(|&conn| {
            let Some(connection) = self.connections.find(conn) else { return false };
            connection.listed = !connection.give_inputs(&mut self.desk.commands);
            connection.listed
        });
        self.desk.with_inputs = with_inputs;
        self.desk.commands.send();
        if self.desk.commands.take_lost() {
            // The simulation has ended, which it does not do by itself: a frozen game behind an open connection is worse than none.
            self.tell_all(Session::failed);
        }
    }

    /// Deadlines are coarse: a tenth of the table each tenth of a second. Returns whether it was time for that.
    pub fn sweep(&mut self) -> bool {
        if self.desk.now < self.swept + SWEEP_PERIOD {
            return false;
        }
        self.desk.watch.enter(Stage::Sweep);
        self.swept = self.desk.now;
        let slots = self.connections.slots();
        let until = (self.sweep_from + slots.div_ceil(SWEEP_PARTS)).min(slots);
        let share = if self.stopping.is_some() { 0..slots } else { self.sweep_from..until };
        self.sweep_from = if until == slots { 0 } else { until };
        self.desk.pings_left = pings_of_a_sweep(slots, self.desk.shared.site.limits.ping_interval);
        for slot in share {
            if let Some(connection) = self.connections.at(slot) {
                let (conn, verdict) = (connection.id, connection.check_time(&mut self.desk));
                self.carry_out(conn, verdict);
            }
        }
        true
    }

    /// Tells every connection that the server goes away.
    pub fn go_away(&mut self) {
        self.stopping = Some(self.desk.now);
        self.tell_all(Session::going_away);
    }

    /// Cuts off those who are still there when the time to stop is over.
    pub fn end_all(&mut self) {
        for slot in 0..self.connections.slots() {
            let Some(connection) = self.connections.at(slot) else { continue };
            let reason = connection.session.closing().unwrap_or(CloseReason::GoingAway);
            let conn = connection.id;
            remove(&mut self.connections, &mut self.desk, conn, reason);
        }
    }

    /// Adds what was counted and measured in this turn to the metrics.
    pub fn report(&mut self) {
        self.desk.tally.report(&self.desk.shared);
        self.desk.watch.rest();
    }

    /// Seats given, refused and taken away come first: they must not be lost with a batch that is overtaken.
    fn take_news(&mut self, batch: &Batch) {
        let index = self.index;
        for joined in batch.joined.iter().filter(|joined| joined.conn.thread == index) {
            self.with(joined.conn, |connection, desk| connection.joined(desk, batch.slice(joined.welcome)));
        }
        for refused in batch.refused.iter().filter(|refused| refused.conn.thread == index) {
            self.tell(refused.conn, |session, turn| {
                session.refused(turn, refused.code, &refused.text, refused.retry_after_millis);
            });
        }
        for removed in batch.removed.iter().filter(|removed| removed.conn.thread == index) {
            self.tell(removed.conn, |session, turn| session.removed(turn, removed.why));
        }
    }

    /// Makes a batch the one that is sent. Whom the last one has not reached is served from this one.
    fn start_fanout(&mut self, batch: SharedBatch) {
        let Some(room) = batch.room else { return };
        let at = room.0 as usize;
        if at >= self.rooms.len() {
            self.rooms.resize_with(at + 1, RoomSide::default);
        }
        let side = &mut self.rooms[at];
        if let Some(last) = side.history.newest() {
            let parts = last.parts_of(self.index);
            self.desk.watch.report_fanout(&mut side.spent);
            if (1..parts.len()).contains(&side.left) && self.sending.front() == Some(&room) {
                // A room that is never done must not keep the others waiting.
                self.sending.rotate_left(1);
            }
            let mut missed = 0;
            for at in 0..side.left {
                let part = &parts[(side.next + at) % parts.len()];
                let connection = self.connections.find(part.conn);
                missed +=
                    connection.is_some_and(|found| found.skip(&mut self.desk, &side.history, part)) as u64;
            }
            self.desk.shared.metrics.overtaken_updates.inc_by(missed);
        }
        let parts = batch.parts_of(self.index).len();
        side.next = if side.left == 0 || parts == 0 { 0 } else { side.next % parts };
        side.left = parts;
        side.history.push(batch);
        if parts > 0 && !std::mem::replace(&mut side.is_queued, true) {
            self.sending.push_back(room);
        }
    }

    fn carry_out(&mut self, conn: ConnId, verdict: Verdict) {
        match verdict {
            Verdict::Waits => {}
            Verdict::Again | Verdict::Next => {
                if let Some(connection) = self.connections.find(conn) {
                    enqueue(&mut self.run_queue, connection);
                }
            }
            Verdict::Shake => {
                if let Some(connection) = self.connections.find(conn) {
                    enqueue(&mut self.handshakes, connection);
                }
            }
            Verdict::Gone(reason) => remove(&mut self.connections, &mut self.desk, conn, reason),
        }
    }

    fn tell_all(&mut self, say: impl Fn(&mut Session, &mut Turn)) {
        for slot in 0..self.connections.slots() {
            if let Some(connection) = self.connections.at(slot) {
                let (conn, verdict) = (connection.id, connection.tell(&mut self.desk, &say));
                self.carry_out(conn, verdict);
            }
        }
    }

    fn tell(&mut self, conn: ConnId, say: impl FnOnce(&mut Session, &mut Turn)) {
        self.with(conn, |connection, desk| connection.tell(desk, say));
    }

    fn with(&mut self, conn: ConnId, deed: impl FnOnce(&mut Connection<S>, &mut Desk) -> Verdict) {
        if let Some(connection) = self.connections.find(conn) {
            let verdict = deed(connection, &mut self.desk);
            self.carry_out(conn, verdict);
        }
    }
}

fn insert<'a, S: Socket>(
    connections: &'a mut Table<Connection<S>>,
    desk: &Desk,
    socket: S,
    peer: Peer,
) -> &'a mut Connection<S> {
    let Desk { now, shared, .. } = desk;
    let tls = shared.tls.as_ref().map(Identity::meet);
    let peer = if tls.is_some() { peer.secured() } else { peer };
    let by_proxy = peer.is_proxy();
    connections.insert(|id| Connection::new(id, Transport::new(socket, tls, by_proxy), peer, *now))
}

/// Reads what the next connections need while nothing depends on it: so their memory is waited for at once, and not for each by itself.
fn fetch<'a, S: 'a>(
    connections: &Table<Connection<S>>,
    next: impl Iterator<Item = &'a ConnId>,
    read: impl Fn(&Connection<S>) -> usize,
) {
    let found = next.take(AHEAD).filter_map(|&conn| connections.get(conn));
    std::hint::black_box(found.fold(0, |sum, connection| sum ^ read(connection)));
}

fn enqueue<S>(queue: &mut VecDeque<ConnId>, connection: &mut Connection<S>) {
    if !connection.queued {
        connection.queued = true;
        queue.push_back(connection.id);
    }
}

/// Closing a socket also takes it off the poller.
fn remove<S: Socket>(
    connections: &mut Table<Connection<S>>,
    desk: &mut Desk,
    conn: ConnId,
    reason: CloseReason,
) {
    let Some(mut connection) = connections.remove(conn) else { return };
    connection.count_outbox_as(desk, 0);
    connection.uncount_thin(desk);
    let session = &mut connection.session;
    let shared = &desk.shared;
    if connection.turned_away {
        desk.turned_away -= 1;
    } else {
        shared.uncount(&mut session.peer);
    }
    shared.note_end(desk.now, reason, &session.peer, session.cause());
}

fn pulse<S>(rooms: &[RoomSide], connection: &Connection<S>) -> Pulse {
    let side = connection.session.room().and_then(|room| rooms.get(room.0 as usize));
    let newest = side.and_then(|side| side.history.newest());
    newest.map_or(Pulse::default(), |batch| Pulse { tick: batch.tick(), due: batch.due })
}

/// Peers that fell silent together are not asked together: somewhat more than the even share of all slots, for each sweep.
fn pings_of_a_sweep(slots: usize, interval: Option<Duration>) -> usize {
    let Some(interval) = interval else { return 0 };
    let sweeps = (interval.as_micros() / SWEEP_PERIOD.as_micros()).max(1) as usize;
    (slots * PINGS_OVER_EVEN as usize).div_ceil(sweeps).max(PINGS_PER_SWEEP_MIN)
}

const SENDS_PER_SLICE: u32 = 256;
/// So many connections' memory is waited for at once. What the kernel reads and writes to send to as many must not push it out again.
const AHEAD: usize = 16;
/// How often the sweep looks at a share of the table.
pub const SWEEP_PERIOD: Duration = Duration::from_millis(100);
const SWEEP_PARTS: usize = 10;
/// A turn that comes so late was held up by something else.
const STALL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
