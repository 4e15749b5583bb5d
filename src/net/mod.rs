//! The io threads: sockets, and nothing of the game.
//!
//! An [`IoThread`] owns a poller, the listening socket, and a [`Hub`]: its connections, one receive buffer and the last batches of
//! each room. One turn of its loop: poll, take batches, accept, serve the run queue, fan out a slice, sweep, send the commands. Every
//! part has a budget, and what is cut off re-queues itself, because mio reports an edge only once.

// A shell: it owns sockets and looks at the clock.
#![allow(clippy::disallowed_types)]

mod acceptor;
mod commands;
mod connection;
mod desk;
mod desyncs;
mod ends;
pub mod fanout;
// Public for the simulation of the edge alone, which puts its own sockets in.
#[doc(hidden)]
pub mod hub;
mod outbox;
mod pace;
mod table;
mod tally;
#[cfg_attr(not(feature = "tls"), path = "without_tls.rs")]
pub mod tls;
#[doc(hidden)]
pub mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::addresses::{Peer, TooMany};
use crate::bridge::{CommandList, Delivery, RoomId};
use crate::close_reason::CloseReason;
use crate::config::Config;
use crate::config::limits::ACCEPTS_PER_TURN;
use crate::flight::Flight;
use crate::flight::files::Files;
use crate::metrics::{Metrics, Queue};
use crate::session::site::{Site, Warned};
use crate::stage::{Stage, Stages};
use crate::time::Time;
use acceptor::{Accepted, Acceptor};
use ends::Ends;
use hub::{Hub, SWEEP_PERIOD};

/// What all io threads share.
#[derive(Debug)]
pub struct Shared {
    /// Rooms, pages, rules.
    pub site: Site,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Connections of all threads that may be open at once.
    pub connections_max: usize,
    /// With which certificate new connections are met; `None`: without TLS.
    pub tls: Option<tls::Identity>,
    /// No write progress for this long ends a connection.
    pub slow_timeout: Duration,
    /// What all threads do, and the origin of [`Time`].
    pub flight: Arc<Flight>,
    /// When it was last said that connections are turned away.
    pub ends: Ends,
    /// When a client's desync was last told.
    pub desync_warned: Warned,
    /// Set, then wake: every connection is told that the server goes away.
    pub stop: AtomicBool,
}

impl Shared {
    /// What a configuration says of all io threads. [`Time`] begins now.
    pub fn new(config: &Config, site: Site, tls: Option<tls::Identity>, files: Option<Files>) -> Shared {
        let metrics = Arc::<Metrics>::default();
        let lobby = Arc::clone(&site.lobby);
        let namer = Box::new(move |room: RoomId| Some(lobby.opening(room)?.name));
        let flight = Flight::new(Instant::now(), Arc::clone(&metrics), namer, files);
        Shared {
            site,
            metrics,
            connections_max: config.connections_max,
            tls,
            slow_timeout: config.slow_timeout,
            flight: Arc::new(flight),
            ends: Ends::default(),
            desync_warned: Warned::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Now, for the cores.
    pub fn now(&self) -> Time {
        self.flight.now()
    }

    /// Takes a connection out of the counts of those that are open.
    fn uncount(&self, peer: &mut Peer) {
        self.metrics.connections.dec();
        self.site.addresses.leave(peer);
    }
}

/// The way into an io thread, for the acceptor and the simulation.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// New connections.
    streams: Sender<Arrival>,
    /// Batches of rooms.
    pub batches: Sender<Delivery>,
    /// Wakes the thread, once per delivery.
    pub waker: Arc<Waker>,
}

/// A new connection on its way to its thread. It is counted as open, and its peer among the addresses.
#[derive(Debug)]
struct Arrival {
    stream: TcpStream,
    peer: Peer,
}

/// The connections that were on their way to a thread that has ended.
#[derive(Debug)]
pub struct Arrivals(Receiver<Arrival>);

impl Arrivals {
    /// Ends them. When all threads have ended, no more can come.
    pub fn end(self, shared: &Shared) {
        for Arrival { stream, mut peer } in self.0.try_iter() {
            drop(stream);
            shared.uncount(&mut peer);
            shared.note_end(shared.now(), CloseReason::GoingAway, &peer, None);
        }
    }
}

/// A thread that owns sockets.
#[derive(Debug)]
pub struct IoThread {
    index: u16,
    poll: Poll,
    hub: Hub<TcpStream>,
    acceptor: Option<Acceptor>,
    /// The threads that take turns with new connections; this one's own place among them is `index`.
    entrances: Vec<Entrance>,
    next_entrance: usize,
    streams: Receiver<Arrival>,
    batches: Receiver<Delivery>,
}

impl IoThread {
    /// A thread's state and the way into it; so many deliveries may wait for it.
    pub fn new(
        index: u16,
        shared: Arc<Shared>,
        commands: Vec<Sender<CommandList>>,
        deliveries_max: usize,
    ) -> io::Result<(IoThread, Entrance)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (streams_in, streams) = crossbeam_channel::bounded(STREAMS_MAX);
        let (batches_in, batches) = crossbeam_channel::bounded(deliveries_max);
        let now = shared.now();
        let hub = Hub::new(index, shared, commands, now);
        let entrance = Entrance { streams: streams_in, batches: batches_in, waker };
        let (acceptor, entrances) = (None, Vec::new());
        let thread = IoThread { index, poll, hub, acceptor, entrances, next_entrance: 0, streams, batches };
        Ok((thread, entrance))
    }

    /// Makes this the thread that accepts, and hands connections round.
    pub fn listen(&mut self, listener: TcpListener, entrances: Vec<Entrance>) -> io::Result<()> {
        let mut acceptor = Acceptor::new(listener, self.hub.shared().tls.is_some());
        self.poll.registry().register(acceptor.listener(), LISTENER, Interest::READABLE)?;
        self.acceptor = Some(acceptor);
        self.entrances = entrances;
        Ok(())
    }

    /// Serves until the server stops and every connection is closed. What is returned stays open for a thread that accepts a moment
    /// longer; `None` after a fault.
    pub fn run(mut self) -> Option<Arrivals> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.is_done() {
            let patience = self.patience();
            let until = self.hub.watch().now() + patience;
            self.hub.watch().wait(Some(until));
            match self.poll.poll(&mut events, Some(patience)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot poll: this io thread ends");
                    return None;
                }
            }
            self.turn(&events);
        }
        self.hub.end_all();
        self.hub.report();
        Some(Arrivals(self.streams))
    }

    fn turn(&mut self, events: &Events) {
        self.hub.watch().enter(Stage::Accept);
        let now = self.hub.watch().now();
        self.hub.set_now(now);
        for event in events {
            match event.token() {
                LISTENER => self.acceptor.iter_mut().for_each(Acceptor::wake),
                WAKER => {}
                Token(slot) => {
                    let ended = event.is_read_closed() || event.is_error();
                    self.hub.wake(slot, event.is_readable(), event.is_writable(), ended);
                }
            }
        }
        self.stop_if_told();
        self.take_batches();
        self.take_streams();
        self.accept();
        let out_of_time = |started: Instant| started.elapsed() >= SLICE;
        self.hub.serve_run_queue(out_of_time);
        self.hub.fan_out(out_of_time);
        self.hub.shake_hands(out_of_time);
        if self.hub.sweep() {
            self.acceptor.iter_mut().for_each(Acceptor::retry);
        }
        self.hub.send_commands();
        self.hub.report();
    }

    fn patience(&self) -> Duration {
        if self.hub.is_busy() || self.acceptor.as_ref().is_some_and(Acceptor::is_ready) {
            return Duration::ZERO;
        }
        if self.hub.asks_wait() { BLOCKED_RETRY } else { SWEEP_PERIOD }
    }

    fn take_batches(&mut self) {
        if self.batches.is_empty() {
            return;
        }
        self.hub.watch().enter(Stage::Take);
        let now = self.hub.watch().now();
        for _ in 0..self.batches.len() {
            let Ok(Delivery { handed_out, batches, drained }) = self.batches.try_recv() else { break };
            let (age, count) = (now.since(handed_out), batches.len() as u64);
            self.hub.shared().metrics.queue_age.observe_each(Queue::Batches, age, count);
            batches.into_iter().for_each(|batch| self.hub.take_batch(batch));
            self.hub.take_drained(drained);
        }
        self.hub.watch().enter(Stage::Accept);
    }

    fn take_streams(&mut self) {
        while let Ok(arrival) = self.streams.try_recv() {
            self.admit(arrival);
        }
    }

    fn accept(&mut self) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        for _ in 0..ACCEPTS_PER_TURN {
            if !acceptor.is_ready() {
                break;
            }
            match acceptor.accept() {
                Accepted::Stream(stream, address) => self.place(&acceptor, stream, address),
                Accepted::NoDescriptor(address) => {
                    self.hub.shared().metrics.connections_accepted.inc();
                    self.note_end(CloseReason::NoDescriptors, &Peer::new(address));
                }
                Accepted::Nobody | Accepted::Later => break,
            }
        }
        self.acceptor = Some(acceptor);
    }

    /// Lets a new connection in, or turns it away.
    fn place(&mut self, acceptor: &Acceptor, stream: TcpStream, address: SocketAddr) {
        let Shared { metrics, connections_max, site, .. } = &**self.hub.shared();
        metrics.connections_accepted.inc();
        if metrics.connections.get() >= *connections_max as i64 {
            return self.turn_away(acceptor, stream, Peer::new(address), CloseReason::Full);
        }
        match site.addresses.arrive(address) {
            Ok(peer) => self.hand_on(acceptor, Arrival { stream, peer }),
            Err(TooMany) => self.turn_away(acceptor, stream, Peer::new(address), CloseReason::AddressLimit),
        }
    }

    /// Gives a new connection to the thread whose turn it is.
    fn hand_on(&mut self, acceptor: &Acceptor, arrival: Arrival) {
        let at = self.next_entrance;
        self.next_entrance = (at + 1) % self.entrances.len().max(1);
        // Counted before it is handed on: its thread may be done with it before this one goes on.
        self.hub.shared().metrics.connections.inc();
        if at == self.index as usize {
            return self.admit(arrival);
        }
        let entrance = &self.entrances[at];
        match entrance.streams.try_send(arrival) {
            Ok(()) => {
                if let Err(error) = entrance.waker.wake() {
                    tracing::error!(%error, "cannot wake an io thread");
                }
            }
            Err(error) => {
                let Arrival { stream, mut peer } = error.into_inner();
                self.hub.shared().uncount(&mut peer);
                self.turn_away(acceptor, stream, peer, CloseReason::Full);
            }
        }
    }

    fn admit(&mut self, Arrival { mut stream, mut peer }: Arrival) {
        match self.register(&mut stream) {
            Ok(()) => self.hub.admit(stream, peer),
            Err(error) => {
                tracing::error!(%error, "cannot register a socket");
                self.hub.shared().uncount(&mut peer);
                self.note_end(CloseReason::Internal, &peer);
            }
        }
    }

    /// Answers 503. So that no reset takes the answer away it waits like any other for the peer to read it and go, as long as few
    /// do; the others are answered in passing.
    fn turn_away(&mut self, acceptor: &Acceptor, mut stream: TcpStream, peer: Peer, reason: CloseReason) {
        if self.hub.turned_away() < TURNED_AWAY_MAX && self.register(&mut stream).is_ok() {
            return self.hub.turn_away(stream, peer, reason);
        }
        acceptor.refuse(stream, reason);
        self.note_end(reason, &peer);
    }

    fn register(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let slot = Token(self.hub.next_id().slot as usize);
        // Once for both directions: edges cost nothing while nobody waits for them.
        self.poll.registry().register(stream, slot, Interest::READABLE | Interest::WRITABLE)
    }

    fn note_end(&self, reason: CloseReason, peer: &Peer) {
        self.hub.shared().note_end(self.hub.now(), reason, peer, None);
    }

    fn stop_if_told(&mut self) {
        if self.hub.stopping().is_none() && self.hub.shared().stop.load(Ordering::Acquire) {
            self.acceptor = None;
            self.hub.go_away();
        }
    }

    fn is_done(&self) -> bool {
        let Some(since) = self.hub.stopping() else { return false };
        self.hub.is_empty() || self.hub.now() >= since + STOP_TIME
    }
}

const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);

const EVENTS_PER_TURN: usize = 1024;
/// New connections on their way to another io thread; more are answered 503.
const STREAMS_MAX: usize = 1024;
/// Those who were answered 503 and have not gone yet; they come on top of `--max-connections`, each for a second or so. No
/// descriptors are set aside for them: when none is left, who comes next is answered in passing.
const TURNED_AWAY_MAX: usize = 128;
/// A slice of the run queue, of the fan-out, or of TLS handshakes.
const SLICE: Duration = Duration::from_millis(2);
/// When the simulation's channel was full.
const BLOCKED_RETRY: Duration = Duration::from_millis(5);
/// Closing handshakes may take this long when the server stops.
const STOP_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
