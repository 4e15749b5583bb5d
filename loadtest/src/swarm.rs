//! The sockets of all bots, in one loop on one thread: the only file that reads and writes.
//!
//! A turn serves whom a deadline has come for, sleeps until something arrives or the next deadline comes, and hands
//! out what arrived. Both in small lots: reading delays no send by more than two milliseconds or so, and a swarm that is
//! behind with its sends still reads.
#![allow(clippy::disallowed_types)] // A shell: turns `Instant` into `Time`.

use crate::alarm::Alarm;
use crate::bot::{Bot, Part, Settings};
use crate::frames::Frames;
use crate::link::Link;
use crate::measure::Tally;
use crate::socket::{connect, in_words, is_connected, send};
use crate::target::Target;
use crate::wheel::Wheel;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tickyard::time::Time;

/// Events per turn, at first. A poll that could hand out more is given more room: who has something to read waits for one turn, and
/// not for several.
const EVENTS: usize = 512;

/// Bots that read before it is looked again who is due to send: at a few microseconds each, deadlines hardly wait.
const READS_BETWEEN_SENDS: usize = 16;

/// Deadlines per turn. A bot hears twice as often as it speaks.
const DUE_MAX: usize = 256;

/// The other tokens are the bots' numbers.
const ALARM: Token = Token(usize::MAX);

/// The largest part that is read at a time; all of a server's message in most cases.
const READ_BYTES: usize = 64 * 1024;

/// The receive buffer of who reads slowly.
const RECEIVE_BYTES_SLOW: usize = 4 * 1024;

/// What may wait for a socket that takes nothing.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// All bots of a run and their sockets.
pub struct Swarm {
    /// What is measured.
    pub tally: Tally,
    /// Why the run makes no sense: nobody answers at that address.
    pub broken: Option<String>,
    target: Target,
    settings: Rc<Settings>,
    start: Instant,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    wheel: Wheel,
    connections: Vec<Connection>,
    /// Whether any connect succeeded.
    reached: bool,
    /// Whose deadlines have come, first come first.
    due: VecDeque<u32>,
    /// The last poll ended then, and what is read after it came after that time.
    polled_at: Time,
    came_after: Time,
    buffer: Vec<u8>,
    frames: Frames,
    /// For bots with a link: what the socket's bytes mean, and what goes to the socket.
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

struct Connection {
    bot: Bot,
    stream: Option<TcpStream>,
    connected: bool,
    /// A proxy's tunnel and TLS, for those who need them.
    link: Option<Box<Link>>,
    /// What the socket did not take. While there is any, inputs are skipped.
    unsent: Vec<u8>,
    /// Somebody else comes in its place.
    replaced: bool,
}

/// Who was woken later than this had nothing to read before.
const ASLEEP: Duration = Duration::from_micros(20);

impl Swarm {
    /// No bots yet.
    pub fn new(target: Target, settings: Settings) -> io::Result<Swarm> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Swarm {
            tally: Tally::new(),
            broken: None,
            target,
            settings: Rc::new(settings),
            start: Instant::now(),
            poll,
            events: Events::with_capacity(EVENTS),
            alarm,
            wheel: Wheel::new(),
            connections: Vec::new(),
            reached: false,
            due: VecDeque::new(),
            polled_at: Time::ZERO,
            came_after: Time::ZERO,
            buffer: vec![0; READ_BYTES],
            frames: Frames::default(),
            plain: Vec::new(),
            sealed: Vec::new(),
        })
    }

    /// The time of this run.
    pub fn now(&self) -> Time {
        Time::from_micros(self.start.elapsed().as_micros() as u64)
    }

    /// Adds a bot that connects at `connect_at`; its number follows from those before it.
    pub fn add(&mut self, connect_at: Time, part: Part) {
        let number = self.connections.len() as u32;
        self.take_in(Bot::new(&self.settings, Part { number, ..part }, connect_at), connect_at);
    }

    /// Adds one that looks at the room with this id.
    pub fn add_visitor(&mut self, connect_at: Time, room: Rc<str>) {
        let number = self.connections.len() as u32;
        let part = Part { number, checked: true, ..Part::default() };
        self.take_in(Bot::new(&self.settings, part, connect_at).visiting(room), connect_at);
    }

    fn take_in(&mut self, bot: Bot, connect_at: Time) {
        let number = bot.part().number;
        self.connections.push(Connection {
            bot,
            stream: None,
            connected: false,
            link: None,
            unsent: Vec::new(),
            replaced: false,
        });
        self.wheel.set(number, connect_at);
    }

    /// Lets a bot that plays say good-bye, and another one connect in its place once it is gone.
    pub fn replace(&mut self, who: usize) {
        self.connections[who].replaced = true;
        self.tally.left += 1;
        self.let_leave(who);
    }

    /// The bot with this number.
    pub fn bot(&self, number: usize) -> &Bot {
        &self.connections[number].bot
    }

    /// All bots by number.
    pub fn bots(&self) -> impl Iterator<Item = &Bot> {
        self.connections.iter().map(|connection| &connection.bot)
    }

    /// All bots by number, and the tally.
    pub fn bots_mut(&mut self) -> (impl Iterator<Item = &mut Bot>, &mut Tally) {
        (self.connections.iter_mut().map(|connection| &mut connection.bot), &mut self.tally)
    }

    /// One turn.
    pub fn turn(&mut self) -> io::Result<()> {
        self.serve_due();
        let sleep = if self.due.is_empty() { self.wheel.sleep(self.now()) } else { Duration::ZERO };
        if !sleep.is_zero() {
            self.alarm.set(sleep)?;
        }
        let timeout = if sleep.is_zero() { Some(sleep) } else { None };
        let asleep = self.now();
        match self.poll.poll(&mut self.events, timeout) {
            // A signal: whoever asked for it looks at its flag.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled_at = self.now();
        // Who had to sleep had read all.
        self.came_after = if polled_at.since(asleep) > ASLEEP { polled_at } else { self.polled_at };
        self.polled_at = polled_at;
        for (at, event) in events.iter().filter(|event| event.token() != ALARM).enumerate() {
            // A tick reaches all bots at once: what is due meanwhile must not wait until all have read theirs.
            if at % READS_BETWEEN_SENDS == READS_BETWEEN_SENDS - 1 {
                self.serve_due();
            }
            self.handle_event(event);
        }
        self.events = match events.iter().count() < events.capacity() {
            true => {
                self.tally.read_all_at = self.now();
                events
            }
            false => Events::with_capacity(2 * events.capacity()),
        };
        Ok(())
    }

    /// Lets all bots say good-bye.
    pub fn leave(&mut self) {
        for who in 0..self.connections.len() {
            self.let_leave(who);
        }
    }

    fn let_leave(&mut self, who: usize) {
        let now = self.now();
        let read_less = self.connections[who].bot.appetite() < usize::MAX;
        self.connections[who].bot.leave(now, &mut self.frames, &mut self.tally);
        self.flush(who);
        if read_less {
            // What came and was left unread is not announced again.
            self.read(who, false);
        }
    }

    fn serve_due(&mut self) {
        self.wheel.take_due(self.now(), &mut self.due);
        for _ in 0..DUE_MAX {
            let Some(who) = self.due.pop_front() else { return };
            self.serve(who);
        }
    }

    fn serve(&mut self, who: u32) {
        let now = self.now();
        let connection = &mut self.connections[who as usize];
        if connection.stream.is_none() && connection.bot.is_joining() {
            self.connect(who);
        } else {
            let due = connection.bot.poll_timeout();
            if connection.bot.player().is_some() && self.tally.covers(due) {
                self.tally.lag.record(now.since(due));
            }
            let writable = connection.unsent.is_empty();
            connection.bot.handle_timeout(now, writable, &mut self.frames, &mut self.tally);
            let is_slow = connection.bot.part().way.is_slow();
            self.flush(who as usize);
            if is_slow {
                self.read(who as usize, false);
            }
        }
        let bot = &self.connections[who as usize].bot;
        if !bot.is_ended() {
            self.wheel.set(who, bot.poll_timeout());
        }
    }

    fn connect(&mut self, who: u32) {
        let is_slow = self.connections[who as usize].bot.part().way.is_slow();
        let (who, buffer) = (who as usize, is_slow.then_some(RECEIVE_BYTES_SLOW));
        match connect(&self.target, self.poll.registry(), who, buffer) {
            Ok(stream) => self.connections[who].stream = Some(stream),
            Err(error) => self.end(who, Some(error)),
        }
    }

    fn handle_event(&mut self, event: &Event) {
        let who = event.token().0;
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
            connection.link = self.target.route.begin(&mut self.sealed);
            if connection.link.is_none() {
                connection.bot.handle_connected(&mut self.frames);
            }
            self.flush(who);
        } else if event.is_writable() && !connection.unsent.is_empty() {
            self.flush(who);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(who, event.is_read_closed() || event.is_error());
        }
    }

    /// Reads until nothing is left. A short read says so without another call, unless the end is near.
    fn read(&mut self, who: usize, ending: bool) {
        loop {
            let now = self.now();
            let connection = &mut self.connections[who];
            let Some(stream) = &mut connection.stream else { return };
            let appetite = connection.bot.appetite().min(READ_BYTES);
            if appetite == 0 {
                return;
            }
            match stream.read(&mut self.buffer[..appetite]) {
                Ok(0) => return self.end(who, None),
                Ok(len) => {
                    let part = *connection.bot.part();
                    connection.bot.took(len);
                    self.tally.received(len, part.checked, !part.way.is_slow());
                    if self.tally.is_open() && !part.way.is_slow() {
                        self.tally.read_lag.record(now.since(self.came_after));
                    }
                    if connection.link.is_some() {
                        self.read_through_link(who, now, len);
                    } else {
                        let bytes = &mut self.buffer[..len];
                        connection.bot.handle_bytes(now, bytes, &mut self.frames, &mut self.tally);
                        self.flush(who);
                    }
                    if len < appetite && !ending {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.end(who, Some(error)),
            }
        }
    }

    /// The socket's bytes are sealed, or are still about the way to the server.
    fn read_through_link(&mut self, who: usize, now: Time, len: usize) {
        let Connection { bot, link: Some(link), .. } = &mut self.connections[who] else { return };
        let was_open = link.is_open();
        self.plain.clear();
        let result = link.receive(&self.buffer[..len], &mut self.plain);
        let peer_closed = link.has_peer_closed();
        if link.is_open() && !was_open && result.is_ok() {
            bot.handle_connected(&mut self.frames);
        }
        bot.handle_bytes(now, &mut self.plain, &mut self.frames, &mut self.tally);
        self.flush(who);
        match result {
            Err(error) => self.hang_up(who, Some(error)),
            Ok(()) if peer_closed => self.end(who, None),
            Ok(()) => {}
        }
    }

    /// Sends what the bot and its link have to say, behind what is left from before.
    fn flush(&mut self, who: usize) {
        let connection = &mut self.connections[who];
        let bytes = match &mut connection.link {
            None => &self.frames.bytes,
            Some(link) => {
                link.send(&self.frames.bytes, &mut self.sealed);
                &self.sealed
            }
        };
        let result = connection.send(bytes);
        if !bytes.is_empty() {
            self.tally.sent(self.frames.messages, bytes.len());
        }
        self.frames.clear();
        self.sealed.clear();
        match result {
            Err(error) => self.end(who, Some(error)),
            Ok(()) if connection.bot.is_ended() => self.hang_up(who, None),
            Ok(()) => {}
        }
    }

    /// The socket has ended: in order, or with `error`.
    fn end(&mut self, who: usize, error: Option<io::Error>) {
        let mut text = error.as_ref().map(in_words);
        if !self.reached
            && let Some(error) = error
        {
            self.broken.get_or_insert_with(|| self.target.cannot_connect(&error));
        }
        if let Some(place) = self.connections[who].link.as_ref().and_then(|link| link.place()) {
            let what = text.as_deref().unwrap_or("the connection was closed");
            text = Some(format!("{what} {place}"));
        }
        self.hang_up(who, text);
    }

    /// Gives the socket back. `why`: it ends before its time.
    fn hang_up(&mut self, who: usize, why: Option<String>) {
        let connection = &mut self.connections[who];
        if let Some(link) = connection.link.take() {
            link.close(&mut self.sealed);
            // Nobody waits for it.
            let _ = connection.send(&self.sealed);
            self.sealed.clear();
        }
        connection.stream = None;
        connection.unsent = Vec::new();
        let now = Time::from_micros(self.start.elapsed().as_micros() as u64);
        connection.bot.handle_end(now, why, &mut self.tally);
        if std::mem::take(&mut connection.replaced) {
            let before = &connection.bot;
            let part = Part { life: before.part().life + 1, ..*before.part() };
            // The wheel brings its number then.
            let connect_at = before.poll_timeout();
            connection.connected = false;
            connection.bot = Bot::new(&self.settings, part, connect_at);
        }
    }
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            let sent = send(stream, &self.unsent)?;
            self.unsent.drain(..sent);
        } else if !bytes.is_empty() {
            let sent = send(stream, bytes)?;
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
        // Inputs wait for the socket; answers to pings that nobody reads do not.
        if self.unsent.len() > UNSENT_BYTES_MAX {
            return Err(io::Error::other("the server asks and does not read the answers"));
        }
        Ok(())
    }
}
