//! The sockets of all hostile peers, in one loop on one thread.
//!
//! A turn does what is due, sleeps until something arrives or the next deed is due, and hands out what arrived. Nothing is kept
//! for a socket that takes no bytes but the rest of one strike, and floods share one budget: this program takes no more of a
//! machine than is said here, whatever the server lets pass.
#![allow(clippy::disallowed_types)] // A shell: turns `Instant` into `Time`.

use super::peer::{Deed, Peer};
use super::tally::Tally;
use crate::socket::{connect, in_words, is_connected, send};
use crate::target::Target;
use crate::wheel::Wheel;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Poll};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};
use tickyard::time::Time;

/// All peers of a run and their sockets.
pub struct Crowd {
    /// What came of them.
    pub tally: Tally,
    /// Why the run makes no sense: nobody answers at that address.
    pub broken: Option<String>,
    target: Target,
    start: Instant,
    poll: Poll,
    events: Events,
    wheel: Wheel,
    due: VecDeque<u32>,
    connections: Vec<Connection>,
    flood_bytes: Budget,
    connects: Budget,
    /// Whether any connect succeeded.
    reached: bool,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

struct Connection {
    peer: Peer,
    stream: Option<TcpStream>,
    connected: bool,
    /// The rest of the last strike.
    unsent: Vec<u8>,
    /// When the wheel brings it; what it brings earlier is stale.
    scheduled: Option<Time>,
}

/// What all peers together may do in a second.
struct Budget {
    per_s: u64,
    /// Below zero after a deed that took more than was left.
    left: i64,
    filled: Time,
}

impl Crowd {
    /// No peers yet.
    pub fn new(target: Target) -> io::Result<Crowd> {
        Ok(Crowd {
            tally: Tally::new(),
            broken: None,
            target,
            start: Instant::now(),
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_MAX),
            wheel: Wheel::new(),
            due: VecDeque::new(),
            connections: Vec::new(),
            flood_bytes: Budget::new(FLOOD_BYTES_PER_S),
            connects: Budget::new(CONNECTS_PER_S),
            reached: false,
            buffer: vec![0; READ_BYTES],
            out: Vec::new(),
        })
    }

    /// The time of this run.
    pub fn now(&self) -> Time {
        Time::from_micros(self.start.elapsed().as_micros() as u64)
    }

    /// Adds a peer.
    pub fn add(&mut self, peer: Peer) {
        self.tally.of(peer.kind()).peers += 1;
        let connection =
            Connection { peer, stream: None, connected: false, unsent: Vec::new(), scheduled: None };
        self.connections.push(connection);
        self.schedule(self.connections.len() - 1);
    }

    /// How many peers are connected, or try to be.
    pub fn alive(&self) -> usize {
        self.connections.iter().filter(|connection| connection.peer.is_alive()).count()
    }

    /// One turn.
    pub fn turn(&mut self) -> io::Result<()> {
        self.serve_due();
        let sleep = if self.due.is_empty() { self.wheel.sleep(self.now()) } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(sleep)) {
            // A signal: whoever asked for it looks at its flag.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.handle_event(event);
        }
        self.events = events;
        Ok(())
    }

    /// The run is over: all sockets are dropped.
    pub fn stop(&mut self) {
        for connection in &mut self.connections {
            connection.peer.handle_stop(&mut self.tally);
            connection.stream = None;
        }
    }

    fn serve_due(&mut self) {
        self.wheel.take_due(self.now(), &mut self.due);
        for _ in 0..DUE_MAX {
            let Some(who) = self.due.pop_front() else { return };
            self.serve(who as usize);
        }
    }

    fn serve(&mut self, who: usize) {
        let now = self.now();
        let connection = &mut self.connections[who];
        if connection.scheduled.is_none_or(|scheduled| now < scheduled) {
            return;
        }
        connection.scheduled = None;
        let flood = connection.peer.kind().is_flood();
        let sent = connection.unsent.is_empty();
        if flood && sent && !self.flood_bytes.has_some(now) && connection.peer.hold_back(now) {
            return self.schedule(who);
        }
        let may_act = match connection.peer.is_alive() {
            true => sent,
            false => self.connects.has_some(now),
        };
        match connection.peer.handle_timeout(now, may_act, &mut self.out, &mut self.tally) {
            Deed::Nothing => self.flush(who),
            Deed::Connect => {
                self.connects.spend(1);
                self.connect(who);
            }
            Deed::Reset => {
                self.flush(who);
                self.reset(who);
            }
        }
        self.schedule(who);
    }

    /// Sees to it that the wheel brings this one in time.
    fn schedule(&mut self, who: usize) {
        let connection = &mut self.connections[who];
        let Some(timeout) = connection.peer.poll_timeout() else { return };
        if connection.scheduled.is_none_or(|scheduled| timeout < scheduled) {
            connection.scheduled = Some(timeout);
            self.wheel.set(who as u32, timeout);
        }
    }

    fn connect(&mut self, who: usize) {
        let unread = !self.connections[who].peer.kind().manner().reads;
        let stream = connect(&self.target, self.poll.registry(), who, unread.then_some(RECEIVE_BYTES_UNREAD));
        let connection = &mut self.connections[who];
        (connection.connected, connection.unsent) = (false, Vec::new());
        match stream {
            Ok(stream) => connection.stream = Some(stream),
            Err(error) => self.end(who, Some(error)),
        }
    }

    fn handle_event(&mut self, event: &Event) {
        let who = event.token().0;
        let now = self.now();
        let connection = &mut self.connections[who];
        let Some(stream) = &connection.stream else { return };
        if !connection.connected {
            match is_connected(stream) {
                Err(error) => return self.end(who, Some(error)),
                Ok(false) => return,
                Ok(true) => {}
            }
            connection.connected = true;
            self.reached = true;
            connection.peer.handle_connected(now, &mut self.out, &mut self.tally);
        }
        self.flush(who);
        let ending = event.is_read_closed() || event.is_error();
        if ending || (event.is_readable() && self.connections[who].peer.reads()) {
            self.read(who, ending);
        }
        self.schedule(who);
    }

    /// Reads until nothing is left, or the peer has decided to read no more.
    fn read(&mut self, who: usize, ending: bool) {
        loop {
            let now = self.now();
            let connection = &mut self.connections[who];
            let Some(stream) = &mut connection.stream else { return };
            match stream.read(&mut self.buffer) {
                Ok(0) => return self.end(who, None),
                Ok(len) => {
                    let bytes = &mut self.buffer[..len];
                    connection.peer.handle_bytes(now, bytes, &mut self.out, &mut self.tally);
                    let reads = connection.peer.reads();
                    self.flush(who);
                    if !ending && (len < READ_BYTES || !reads) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.end(who, Some(error)),
            }
        }
    }

    /// Sends what the peer has to say, behind what is left from before. A socket that fails is read to its end: what the server
    /// said before it went counts.
    fn flush(&mut self, who: usize) {
        let connection = &mut self.connections[who];
        connection.unsent.append(&mut self.out);
        let Some(stream) = &mut connection.stream else { return connection.unsent.clear() };
        if connection.unsent.is_empty() || !connection.connected {
            return;
        }
        match send(stream, &connection.unsent) {
            Ok(sent) => {
                connection.unsent.drain(..sent);
                if connection.unsent.is_empty() {
                    connection.unsent = Vec::new();
                }
                self.tally.of(connection.peer.kind()).bytes_out += sent as u64;
                if connection.peer.kind().is_flood() {
                    self.flood_bytes.spend(sent as u64);
                }
            }
            Err(_) => {
                connection.unsent.clear();
                self.read(who, true);
            }
        }
    }

    fn end(&mut self, who: usize, error: Option<io::Error>) {
        let now = self.now();
        let connection = &mut self.connections[who];
        connection.stream = None;
        connection.unsent = Vec::new();
        if !self.reached
            && let Some(error) = &error
        {
            self.broken.get_or_insert_with(|| self.target.cannot_connect(error));
        }
        let failed = error.as_ref().filter(|_| !connection.connected).map(in_words);
        connection.peer.handle_end(now, error.is_some(), failed, &mut self.tally);
        self.schedule(who);
    }

    /// Ends a connection without a good-bye.
    fn reset(&mut self, who: usize) {
        let connection = &mut self.connections[who];
        connection.unsent = Vec::new();
        if let Some(stream) = connection.stream.take() {
            // If it cannot be set, the connection ends with a FIN, which is hostile enough.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Budget {
    fn new(per_s: u64) -> Budget {
        Budget { per_s, left: 0, filled: Time::ZERO }
    }

    /// It fills with time, up to what a sixteenth of a second brings.
    fn has_some(&mut self, now: Time) -> bool {
        let micros = now.since(self.filled).as_micros() as u64;
        let more = micros * self.per_s / 1_000_000;
        if more > 0 {
            self.filled = now;
            self.left = self.left.saturating_add_unsigned(more).min(self.per_s as i64 / 16);
        }
        self.left > 0
    }

    fn spend(&mut self, amount: u64) {
        self.left = self.left.saturating_sub_unsigned(amount);
    }
}

/// What the peers of [`super::Kind::is_flood`] may send together: 16 MiB a second, more than a million tiny messages.
const FLOOD_BYTES_PER_S: u64 = 16 * 1024 * 1024;

/// What all peers together may connect; the storm is most of it.
const CONNECTS_PER_S: u64 = 4_000;

/// The receive buffer of who does not read. The kernel doubles it.
const RECEIVE_BYTES_UNREAD: usize = 2 * 1024;

const EVENTS_MAX: usize = 512;

/// Deeds in one turn, so that reading is never put off for long.
const DUE_MAX: usize = 256;

const READ_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    #[test]
    fn a_budget_fills_with_time_up_to_a_bound() {
        let mut budget = Budget::new(4_000);
        assert!(!budget.has_some(Time::ZERO));
        assert!(!budget.has_some(Time::from_micros(200)));
        assert!(budget.has_some(Time::from_micros(300)), "however often it is asked");
        budget.spend(1);
        assert!(!budget.has_some(Time::from_micros(400)));
        assert!(budget.has_some(Time::from_secs(100)));
        assert_eq!(budget.left, 250);
        budget.spend(250 + 8);
        assert!(!budget.has_some(Time::from_micros(100_002_000)), "what was overdrawn is paid back first");
        assert!(budget.has_some(Time::from_micros(100_002_250)));
    }

    #[test]
    fn the_budget_is_more_than_one_peer_can_use() {
        assert!(Kind::MessageFlood.is_flood());
        // 250,000 inputs of 21 bytes.
        const { assert!(FLOOD_BYTES_PER_S > 250_000 * 21) };
    }
}
