//! The load of the comparison: thousands of players on one core, the same for each server.
//!
//! It does as little as a player can: it sends inputs at the times they are due, looks at nothing of a state but its length and the
//! number of the last input in it, and measures. It also watches itself: who loads a server with more than it can stand measures itself.

#![forbid(unsafe_code)]
// Measures with the clock.
#![allow(clippy::disallowed_types)]

mod client;
mod figures;
mod rooms;
mod wire;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};
use tickyard::game::Random;
use tickyard_compare::{INPUT_RATE, ROOM_PLAYERS, TICK_RATE};

use client::{Client, News, Window, write_frame};
use figures::{Figures, Report, Usage};
use rooms::Rooms;
use wire::Wire;

/// Plays with thousands of players and says what came of it, as JSON.
#[derive(Debug, Parser)]
struct Flags {
    /// Where the server listens
    #[arg(long)]
    address: SocketAddr,
    /// Its process
    #[arg(long)]
    pid: u32,
    /// What it speaks
    #[arg(long)]
    wire: Wire,
    /// How many players; a multiple of a room's
    #[arg(long)]
    players: usize,
    /// How long is measured, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long all play before that, in seconds
    #[arg(long, default_value_t = 2)]
    settle: u64,
    /// Decides where players go, and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Look at the sockets this often, in microseconds, so that a server that sends wakes nobody; 0: wait for them
    #[arg(long, default_value_t = 200)]
    doze: u64,
    /// Write the lengths of all messages to this file: a line for each tick of each room, a number for each player, 0 for no news
    #[arg(long)]
    record: Option<PathBuf>,
}

fn main() -> Result<(), String> {
    let flags = Flags::parse();
    let mut crowd = Crowd::new(&flags)?;
    let report = crowd.play(&flags)?;
    if let Some(path) = &flags.record {
        let saved =
            crowd.sizes().and_then(|sizes| std::fs::write(path, sizes).map_err(|error| error.to_string()));
        saved.map_err(|error| format!("--record {}: {error}", path.display()))?;
    }
    println!("{}", report.to_json());
    Ok(())
}

struct Crowd {
    wire: Wire,
    begin: Instant,
    poller: rustix::fd::OwnedFd,
    seats: Vec<Seat>,
    playing: usize,
    lost: usize,
    unsent: usize,
    doze: Duration,
    /// More has come than one turn took.
    is_behind: bool,
    /// When each player's next input is due.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    random: Random,
    window: Window,
    events: Vec<epoll::Event>,
    receive: Vec<u8>,
    payload: Vec<u8>,
    frame: Vec<u8>,
}

struct Seat {
    stream: TcpStream,
    client: Client,
    /// When its next input would be due without jitter.
    base: u64,
}

impl Crowd {
    fn new(flags: &Flags) -> Result<Crowd, String> {
        if flags.players == 0 || !flags.players.is_multiple_of(ROOM_PLAYERS) {
            return Err(format!("--players {}: not a multiple of {ROOM_PLAYERS}", flags.players));
        }
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        Ok(Crowd {
            wire: flags.wire,
            begin: Instant::now(),
            poller,
            seats: Vec::with_capacity(flags.players),
            playing: 0,
            lost: 0,
            unsent: 0,
            doze: Duration::from_micros(flags.doze),
            is_behind: false,
            agenda: BinaryHeap::with_capacity(flags.players),
            random: Random::new(flags.seed),
            window: Window {
                from: u64::MAX,
                to: u64::MAX,
                figures: Figures::default(),
                rooms: Rooms::default(),
                records: false,
            },
            events: Vec::with_capacity(EVENTS_PER_TURN),
            receive: vec![0; 64 * 1024],
            payload: Vec::new(),
            frame: Vec::new(),
        })
    }

    fn play(&mut self, flags: &Flags) -> Result<Report, String> {
        let idle = Usage::of(flags.pid)?;
        self.come(flags)?;
        self.turns_until(self.now() + flags.settle * SECOND)?;

        let (begun, own_begun) = (Usage::of(flags.pid)?, own_cpu());
        let from = self.now();
        self.window.records = flags.record.is_some();
        (self.window.from, self.window.to) = (from, from + flags.seconds * SECOND);
        self.turns_until(self.window.to)?;
        let (ended, own_ended) = (Usage::of(flags.pid)?, own_cpu());
        // Later than meant if a turn was long.
        let window = Duration::from_micros(self.now() - from);

        let patience = self.now() + ANSWER_MICROS_MAX;
        while self.now() < patience && !self.seats.iter().all(|seat| seat.client.is_answered(&self.window)) {
            self.turns_until(self.now() + SECOND / 20)?;
        }
        let now = self.now();
        self.seats.iter_mut().for_each(|seat| seat.client.give_up(now, &mut self.window));
        Ok(Report {
            clients: flags.players,
            window,
            expected: flags.players as u64 * u64::from(TICK_RATE) * flags.seconds,
            figures: std::mem::take(&mut self.window.figures),
            silent: self.window.rooms.silent(),
            server: [idle, begun, ended],
            own_cpu: own_ended - own_begun,
            lost: self.lost,
            unsent: self.unsent,
        })
    }

    /// All connect, and the first state of each is awaited.
    fn come(&mut self, flags: &Flags) -> Result<(), String> {
        let patience = self.now() + JOIN_MICROS_MAX + flags.players as u64 * CONNECT_MICROS;
        while self.playing < flags.players {
            if self.seats.len() < flags.players {
                self.connect(flags.address).map_err(|error| format!("cannot connect: {error}"))?;
            }
            self.turns_until(self.now() + CONNECT_MICROS)?;
            if self.now() > patience || self.lost > 0 {
                let (playing, wanted, lost) = (self.playing, flags.players, self.lost);
                return Err(format!("{playing} of {wanted} players got in, {lost} connections were lost"));
            }
        }
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(self.wire.request().as_bytes())?;
        stream.set_nonblocking(true)?;
        let at = epoll::EventData::new_u64(self.seats.len() as u64);
        epoll::add(&self.poller, &stream, at, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        let room = self.window.rooms.find(&(self.seats.len() / ROOM_PLAYERS).to_string());
        let client = Client::new(Random::new(self.random.bits()), self.now(), room);
        self.seats.push(Seat { stream, client, base: 0 });
        Ok(())
    }

    fn turns_until(&mut self, until: u64) -> Result<(), String> {
        loop {
            self.send_inputs();
            let now = self.now();
            if now >= until {
                return Ok(());
            }
            let next = self.agenda.peek().map_or(until, |&Reverse((due, _))| due.min(until));
            self.turn(next.saturating_sub(now)).map_err(|error| format!("epoll: {error}"))?;
        }
    }

    fn turn(&mut self, patience_micros: u64) -> Result<(), rustix::io::Errno> {
        if !self.doze.is_zero() && patience_micros > 0 && !self.is_behind {
            std::thread::sleep(self.doze);
        }
        let patience_micros = if self.doze.is_zero() { patience_micros } else { 0 };
        let patience = Timespec {
            tv_sec: (patience_micros / SECOND) as i64,
            tv_nsec: (patience_micros % SECOND * 1000) as i64,
        };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in &events {
            self.read(event.data.u64() as usize);
        }
        self.is_behind = events.len() == EVENTS_PER_TURN;
        self.events = events;
        Ok(())
    }

    fn read(&mut self, at: usize) {
        let now = self.now();
        loop {
            let seat = &mut self.seats[at];
            let len = match seat.stream.read(&mut self.receive) {
                Ok(0) => return self.lose(at),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.lose(at),
            };
            let bytes = &self.receive[..len];
            match seat.client.handle_bytes(self.wire, now, bytes, &mut self.window) {
                News::None => {}
                News::Upgraded => self.greet(at),
                News::Playing => self.start(at),
                News::Ended => return self.lose(at),
            }
            // After a short read nothing is left.
            if len < self.receive.len() {
                return;
            }
        }
    }

    fn greet(&mut self, at: usize) {
        self.payload.clear();
        if self.wire.hello(&mut self.payload) {
            self.send(at);
        }
    }

    fn start(&mut self, at: usize) {
        self.playing += 1;
        let base = self.now() + PERIOD_MICROS + self.seats[at].client.random_below(PERIOD_MICROS);
        self.seats[at].base = base;
        self.schedule(at);
    }

    /// Inputs come a fifth of a period early or late, and the errors do not add up.
    fn schedule(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        seat.base += PERIOD_MICROS;
        let due = seat.base - JITTER_MICROS + seat.client.random_below(2 * JITTER_MICROS);
        self.agenda.push(Reverse((due, at)));
    }

    fn send_inputs(&mut self) {
        for _ in 0..SENDS_PER_TURN {
            let now = self.now();
            let Some(&Reverse((due, at))) = self.agenda.peek().filter(|Reverse((due, _))| *due <= now) else {
                return;
            };
            self.agenda.pop();
            if (self.window.from..self.window.to).contains(&due) {
                self.window.figures.lag.add(now - due);
            }
            let input = self.seats[at].client.next_input(due);
            self.payload.clear();
            self.wire.input(input, &mut self.payload);
            self.send(at);
            self.schedule(at);
        }
    }

    fn send(&mut self, at: usize) {
        self.frame.clear();
        write_frame(&self.payload, self.random.bits() as u32, &mut self.frame);
        match self.seats[at].stream.write(&self.frame) {
            Ok(len) if len == self.frame.len() => {}
            _ => self.unsent += 1,
        }
    }

    /// One lost connection spoils the run, so it is only counted.
    fn lose(&mut self, at: usize) {
        self.lost += 1;
        let _ = epoll::delete(&self.poller, &self.seats[at].stream);
    }

    /// By room, and by tick of the window.
    fn sizes(&self) -> Result<String, String> {
        self.seats.chunks(ROOM_PLAYERS).map(sizes_of).collect()
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }
}

/// Of a room: by tick and seat.
fn sizes_of(seats: &[Seat]) -> Result<String, String> {
    if seats.iter().any(|seat| seat.client.room() != seats[0].client.room()) {
        return Err("players who came one after the other are not in one room".to_string());
    }
    let ticks = || seats.iter().flat_map(|seat| &seat.client.sizes).map(|&(tick, _)| tick);
    let (Some(first), Some(last)) = (ticks().min(), ticks().max()) else {
        return Err("a room had no news".to_string());
    };
    let mut told: Vec<_> = seats.iter().map(|seat| seat.client.sizes.iter().peekable()).collect();
    let mut text = String::new();
    for tick in first..last {
        for sizes in &mut told {
            let size = sizes.next_if(|(at, _)| *at == tick).map_or(0, |&(_, size)| size);
            // The window may have begun in the middle of the first one.
            if tick > first {
                text += &format!("{size} ");
            }
        }
        text += if tick > first { "\n" } else { "" };
    }
    Ok(text)
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const SECOND: u64 = 1_000_000;
const PERIOD_MICROS: u64 = SECOND / INPUT_RATE as u64;
const JITTER_MICROS: u64 = PERIOD_MICROS / 5;
/// Between two connects.
const CONNECT_MICROS: u64 = 500;
/// All are to play this long after the last connect.
const JOIN_MICROS_MAX: u64 = 20 * SECOND;
/// What is not answered by then is not waited for.
const ANSWER_MICROS_MAX: u64 = 2 * SECOND;
/// Few, so that inputs in between are not late.
const EVENTS_PER_TURN: usize = 128;
const SENDS_PER_TURN: usize = 32;
