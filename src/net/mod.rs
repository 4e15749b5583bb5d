//! The io threads: sockets, and nothing of the game.
//!
//! An [`IoThread`] owns a poller, a table of connections, one receive buffer and the last batches of each room. One turn of
//! its loop: poll, take batches, accept, serve the run queue, fan out a slice, sweep, send the commands. Every part has a
//! budget, and what is cut off re-queues itself, because mio reports an edge only once.

// A shell: it owns sockets and looks at the clock.
#![allow(clippy::disallowed_types)]

mod acceptor;
mod commands;
mod connection;
pub mod fanout;
mod outbox;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::bridge::{Ask, BATCHES_MAX, Batch, Command, ConnId, RoomId, SharedBatch};
use crate::close_reason::CloseReason;
use crate::metrics::{Metrics, RefuseReason};
use crate::session::site::Site;
use crate::session::{Pulse, Session, Turn};
use crate::time::Time;
use crate::websocket::deflate::SharedWriter;
use acceptor::{Accepted, Acceptor};
use commands::Commands;
use connection::{Connection, Desk, Tally, Verdict};
use fanout::{History, Missing};

/// What all io threads share.
#[derive(Debug)]
pub struct Shared {
    /// Rooms, pages, rules.
    pub site: Site,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Connections of all threads that may be open at once.
    pub connections_max: usize,
    /// No write progress for this long ends a connection.
    pub slow_timeout: Duration,
    /// The origin of [`Time`], the same for all threads.
    pub origin: Instant,
    /// Set, then wake: every connection is told that the server goes away.
    pub stop: AtomicBool,
}

impl Shared {
    /// Now, for the cores.
    pub fn now(&self) -> Time {
        Time::from_micros(self.origin.elapsed().as_micros() as u64)
    }
}

/// The way into an io thread, for the acceptor and the simulation.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// New connections.
    streams: Sender<TcpStream>,
    /// Batches of rooms.
    pub batches: Sender<SharedBatch>,
    /// Wakes the thread, once per batch.
    pub waker: Arc<Waker>,
}

/// A thread that owns sockets.
#[derive(Debug)]
pub struct IoThread {
    index: u16,
    poll: Poll,
    desk: Desk,
    connections: Slab<Connection>,
    /// By slot: how often it was used.
    generations: Vec<u32>,
    run_queue: VecDeque<ConnId>,
    acceptor: Option<Acceptor>,
    /// The threads that take turns with new connections; this one's own place among them is `index`.
    entrances: Vec<Entrance>,
    next_entrance: usize,
    streams: Receiver<TcpStream>,
    batches: Receiver<SharedBatch>,
    /// By room: they are numbered from 0.
    rooms: Vec<RoomSide>,
    /// The room whose turn it is to be sent first.
    first_room: usize,
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
}

impl IoThread {
    /// A thread's state and the way into it.
    pub fn new(
        index: u16,
        shared: Arc<Shared>,
        commands: Sender<Vec<Command>>,
    ) -> io::Result<(IoThread, Entrance)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (streams_in, streams) = crossbeam_channel::bounded(STREAMS_MAX);
        let (batches_in, batches) = crossbeam_channel::bounded(BATCHES_MAX);
        let desk = Desk {
            now: shared.now(),
            commands: Commands::new(commands),
            with_inputs: Vec::new(),
            with_asks: Vec::new(),
            registry: poll.registry().try_clone()?,
            tally: Tally::default(),
            receive: vec![0; RECEIVE_BYTES].into(),
            compose: Vec::new(),
            deflate: SharedWriter::default(),
            missing: Missing::default(),
            shared,
        };
        let entrance = Entrance { streams: streams_in, batches: batches_in, waker };
        let thread = IoThread {
            index,
            poll,
            swept: desk.now,
            desk,
            connections: Slab::new(),
            generations: Vec::new(),
            run_queue: VecDeque::new(),
            acceptor: None,
            entrances: Vec::new(),
            next_entrance: 0,
            streams,
            batches,
            rooms: Vec::new(),
            first_room: 0,
            sweep_from: 0,
            stopping: None,
        };
        Ok((thread, entrance))
    }

    /// Makes this the thread that accepts, and hands connections round.
    pub fn listen(&mut self, listener: TcpListener, entrances: Vec<Entrance>) -> io::Result<()> {
        let mut acceptor = Acceptor::new(listener);
        self.poll.registry().register(acceptor.listener(), LISTENER, Interest::READABLE)?;
        self.acceptor = Some(acceptor);
        self.entrances = entrances;
        Ok(())
    }

    /// Serves until the server stops and every connection is closed.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.is_done() {
            match self.poll.poll(&mut events, Some(self.patience())) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot poll: this io thread ends");
                    return;
                }
            }
            let now = self.desk.shared.now();
            if now.since(self.desk.now) > STALL {
                // The process was held up: hear first what came meanwhile, before anybody is accused of silence.
                self.swept = now + STALL;
            }
            self.desk.now = now;
            self.turn(&events);
        }
    }

    fn turn(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                LISTENER => self.acceptor.iter_mut().for_each(Acceptor::wake),
                WAKER => {}
                Token(slot) => {
                    if let Some(connection) = self.connections.get_mut(slot) {
                        let ended = event.is_read_closed() || event.is_error();
                        connection.wake(event.is_readable(), event.is_writable(), ended);
                        enqueue(&mut self.run_queue, connection);
                    }
                }
            }
        }
        self.stop_if_told();
        self.take_batches();
        self.take_streams();
        self.accept();
        self.serve_run_queue();
        self.fan_out();
        self.sweep();
        self.send_commands();
        self.desk.tally.report(&self.desk.shared);
    }

    fn patience(&self) -> Duration {
        let busy = !self.run_queue.is_empty()
            || self.rooms.iter().any(|room| room.left > 0)
            || self.acceptor.as_ref().is_some_and(Acceptor::is_ready);
        if busy {
            return Duration::ZERO;
        }
        let asks_wait = self.desk.commands.are_blocked() || !self.desk.with_asks.is_empty();
        if asks_wait { BLOCKED_RETRY } else { SWEEP_PERIOD }
    }

    fn take_batches(&mut self) {
        for _ in 0..BATCHES_MAX {
            let Ok(batch) = self.batches.try_recv() else { return };
            self.take_news(&batch);
            self.start_fanout(batch);
        }
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
            self.desk.shared.metrics.overtaken_updates.inc_by(side.left as u64);
            for at in 0..side.left {
                let part = &parts[(side.next + at) % parts.len()];
                if let Some(connection) = find(&mut self.connections, part.conn) {
                    connection.skip(&mut self.desk, last, part);
                }
            }
        }
        let parts = batch.parts_of(self.index).len();
        side.next = if side.left == 0 || parts == 0 { 0 } else { side.next % parts };
        side.left = parts;
        side.history.push(batch);
    }

    /// Sends a slice of what is to be sent, so that reading goes on in between.
    fn fan_out(&mut self) {
        let started = Instant::now();
        let mut sent = 0;
        // In turns: a room that is never done must not keep the others waiting.
        let Some(first) = (self.first_room + 1).checked_rem(self.rooms.len()) else { return };
        self.first_room = first;
        for at in (first..self.rooms.len()).chain(0..first) {
            let side = &mut self.rooms[at];
            if side.left == 0 {
                continue;
            }
            let Some(batch) = side.history.newest().cloned() else { continue };
            let parts = batch.parts_of(self.index);
            while side.left > 0 {
                if sent == SENDS_PER_SLICE || (sent % 32 == 31 && started.elapsed() >= SLICE) {
                    return;
                }
                let part = &parts[side.next];
                side.next = (side.next + 1) % parts.len();
                side.left -= 1;
                sent += 1;
                let Some(connection) = find(&mut self.connections, part.conn) else { continue };
                let room = RoomId(at as u32);
                if let Verdict::Gone(reason) = connection.publish(&mut self.desk, room, &side.history, part) {
                    remove(&mut self.connections, &mut self.desk, part.conn, reason);
                }
            }
            let shared = &self.desk.shared;
            shared.metrics.fanout.observe(shared.now().since(batch.due));
        }
    }

    fn take_streams(&mut self) {
        while let Ok(stream) = self.streams.try_recv() {
            self.admit(stream);
        }
    }

    fn accept(&mut self) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        for _ in 0..ACCEPTS_PER_TURN {
            if !acceptor.is_ready() {
                break;
            }
            match acceptor.accept() {
                Accepted::Stream(stream) => self.place(stream),
                Accepted::NoDescriptor => self.count_refused(RefuseReason::NoDescriptors),
                Accepted::Nobody | Accepted::Later => break,
            }
        }
        self.acceptor = Some(acceptor);
    }

    /// Gives a new connection to the thread whose turn it is.
    fn place(&mut self, stream: TcpStream) {
        let metrics = &self.desk.shared.metrics;
        if metrics.connections.get() >= self.desk.shared.connections_max as i64 {
            self.count_refused(RefuseReason::Full);
            return acceptor::refuse(stream);
        }
        let at = self.next_entrance;
        self.next_entrance = (at + 1) % self.entrances.len().max(1);
        // Counted before it is handed on: its thread may be done with it before this one goes on.
        metrics.connections.inc();
        if at == self.index as usize {
            metrics.connections_accepted.inc();
            return self.admit(stream);
        }
        let entrance = &self.entrances[at];
        if let Err(error) = entrance.streams.try_send(stream) {
            metrics.connections.dec();
            self.count_refused(RefuseReason::Full);
            return acceptor::refuse(error.into_inner());
        }
        metrics.connections_accepted.inc();
        if let Err(error) = entrance.waker.wake() {
            tracing::error!(%error, "cannot wake an io thread");
        }
    }

    fn admit(&mut self, mut stream: TcpStream) {
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        // Once for both directions: edges cost nothing while nobody waits for them.
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.desk.registry.register(&mut stream, Token(slot), interest) {
            tracing::error!(%error, "cannot register a socket");
            count_end(&self.desk.shared.metrics, CloseReason::Internal);
            return;
        }
        if slot == self.generations.len() {
            self.generations.push(0);
        }
        self.generations[slot] = self.generations[slot].wrapping_add(1);
        let id = ConnId { thread: self.index, slot: slot as u32, generation: self.generations[slot] };
        let connection = entry.insert(Connection::new(id, stream, self.desk.now));
        if self.stopping.is_some() {
            connection.tell(&mut self.desk, Session::going_away);
        }
        // Most requests are there already: no need to wait for the poller to say so.
        enqueue(&mut self.run_queue, connection);
    }

    fn count_refused(&mut self, reason: RefuseReason) {
        self.desk.shared.metrics.connections_refused.inc(reason);
    }

    /// Each connection that stood in the queue gets one turn.
    fn serve_run_queue(&mut self) {
        for _ in 0..self.run_queue.len() {
            let Some(conn) = self.run_queue.pop_front() else { return };
            let Some(connection) = find(&mut self.connections, conn) else { continue };
            connection.queued = false;
            let pulse = pulse(&self.rooms, connection);
            let verdict = connection.work(&mut self.desk, pulse);
            self.carry_out(conn, verdict);
        }
    }

    fn carry_out(&mut self, conn: ConnId, verdict: Verdict) {
        match verdict {
            Verdict::Waits => {}
            Verdict::Again => {
                if let Some(connection) = find(&mut self.connections, conn) {
                    enqueue(&mut self.run_queue, connection);
                }
            }
            Verdict::Gone(reason) => remove(&mut self.connections, &mut self.desk, conn, reason),
        }
    }

    /// One send per turn: inputs are collected last, so that the newest ones go.
    fn send_commands(&mut self) {
        if !self.desk.commands.unblock() {
            return;
        }
        for conn in std::mem::take(&mut self.desk.with_asks) {
            let Some(connection) = find(&mut self.connections, conn) else { continue };
            let pulse = pulse(&self.rooms, connection);
            let verdict = connection.resume(&mut self.desk, pulse);
            self.carry_out(conn, verdict);
        }
        let mut with_inputs = std::mem::take(&mut self.desk.with_inputs);
        for conn in with_inputs.drain(..) {
            let Some(connection) = find(&mut self.connections, conn) else { continue };
            connection.listed = false;
            while let Some((room, input)) = connection.session.take_input() {
                self.desk.commands.push(connection.id, room, Ask::Input(input));
            }
        }
        self.desk.with_inputs = with_inputs;
        self.desk.commands.send();
    }

    /// Deadlines are coarse: a tenth of the table each tenth of a second.
    fn sweep(&mut self) {
        if self.desk.now < self.swept + SWEEP_PERIOD {
            return;
        }
        self.swept = self.desk.now;
        self.acceptor.iter_mut().for_each(Acceptor::retry);
        let slots = self.generations.len();
        let until = (self.sweep_from + slots.div_ceil(SWEEP_PARTS)).min(slots);
        let share = if self.stopping.is_some() { 0..slots } else { self.sweep_from..until };
        self.sweep_from = if until == slots { 0 } else { until };
        for slot in share {
            if let Some(connection) = self.connections.get_mut(slot) {
                let (conn, verdict) = (connection.id, connection.check_time(&mut self.desk));
                self.carry_out(conn, verdict);
            }
        }
    }

    fn stop_if_told(&mut self) {
        if self.stopping.is_some() || !self.desk.shared.stop.load(Ordering::Acquire) {
            return;
        }
        self.stopping = Some(self.desk.now);
        self.acceptor = None;
        for slot in 0..self.generations.len() {
            if let Some(connection) = self.connections.get_mut(slot) {
                let (conn, verdict) = (connection.id, connection.tell(&mut self.desk, Session::going_away));
                self.carry_out(conn, verdict);
            }
        }
    }

    fn is_done(&self) -> bool {
        let out_of_time = self.stopping.is_some_and(|since| self.desk.now >= since + STOP_TIME);
        self.stopping.is_some() && (self.connections.is_empty() || out_of_time)
    }

    fn tell(&mut self, conn: ConnId, say: impl FnOnce(&mut Session, &mut Turn)) {
        self.with(conn, |connection, desk| connection.tell(desk, say));
    }

    fn with(&mut self, conn: ConnId, deed: impl FnOnce(&mut Connection, &mut Desk) -> Verdict) {
        if let Some(connection) = find(&mut self.connections, conn) {
            let verdict = deed(connection, &mut self.desk);
            self.carry_out(conn, verdict);
        }
    }
}

fn enqueue(run_queue: &mut VecDeque<ConnId>, connection: &mut Connection) {
    if !connection.queued {
        connection.queued = true;
        run_queue.push_back(connection.id);
    }
}

/// The connection, if its slot has not gone to somebody else.
fn find(connections: &mut Slab<Connection>, conn: ConnId) -> Option<&mut Connection> {
    connections.get_mut(conn.slot as usize).filter(|connection| connection.id == conn)
}

fn remove(connections: &mut Slab<Connection>, desk: &mut Desk, conn: ConnId, reason: CloseReason) {
    if find(connections, conn).is_none() {
        return;
    }
    let mut connection = connections.remove(conn.slot as usize);
    if let Err(error) = desk.registry.deregister(connection.stream()) {
        tracing::debug!(%error, "cannot deregister a socket");
    }
    connection.count_outbox_as(desk, 0);
    count_end(&desk.shared.metrics, reason);
    tracing::debug!(reason = reason.name(), slot = conn.slot, "a connection ended");
}

fn count_end(metrics: &Metrics, reason: CloseReason) {
    metrics.connections.dec();
    metrics.closes.inc(reason);
}

fn pulse(rooms: &[RoomSide], connection: &Connection) -> Pulse {
    let side = connection.session.room().and_then(|room| rooms.get(room.0 as usize));
    let newest = side.and_then(|side| side.history.newest());
    newest.map_or(Pulse::default(), |batch| Pulse { tick: batch.tick, due: batch.due })
}

const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);

const EVENTS_PER_TURN: usize = 1024;
/// One receive buffer per thread; what is cut off at its end is kept by its session.
const RECEIVE_BYTES: usize = 64 * 1024;
const ACCEPTS_PER_TURN: usize = 128;
/// New connections on their way to another io thread; more are answered 503.
const STREAMS_MAX: usize = 1024;
const SENDS_PER_SLICE: usize = 256;
const SLICE: Duration = Duration::from_millis(2);
const SWEEP_PERIOD: Duration = Duration::from_millis(100);
const SWEEP_PARTS: usize = 10;
/// When the simulation's channel was full.
const BLOCKED_RETRY: Duration = Duration::from_millis(5);
/// A turn that comes so late was held up by something else.
const STALL: Duration = Duration::from_secs(1);
/// Closing handshakes may take this long when the server stops.
const STOP_TIME: Duration = Duration::from_secs(2);
