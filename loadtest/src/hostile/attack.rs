//! What hostile peers send, and what a server owes them for it.
//!
//! A peer comes back many times, and each time with the next case of its kind.

use super::kind::{AT_ONCE, DEADLINE, Ending, Kind, Promise, SLOW_DEADLINE};
use crate::random::Random;
use tickyard::websocket::frame::{Opcode, write_frame};
use tickyard_protocol::message::{
    ClientControl, Hello, Input, Message, Seek, VERSION, WANT_CELLS_MAX, encode_ack, encode_client_control,
    encode_ping, encode_want,
};
use tickyard_protocol::types::{CellId, Seq};

mod cases;

use cases::{BAD_HELLOS, BAD_MESSAGES, BROKEN_FRAMES};

/// One attempt of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// What it does.
    pub kind: Kind,
    /// Which case of it.
    pub case: u32,
    /// Fields of the game's input.
    pub input_fields: usize,
}

impl Attack {
    /// What a server with the limits it has by default owes this.
    pub fn promise(&self) -> Promise {
        use Ending::{Dropped, Reset, Status};
        match self.kind {
            Kind::BadHellos => Promise::Ends(case(BAD_HELLOS, self.case).owed, AT_ONCE),
            Kind::BadMessages => Promise::Ends(case(BAD_MESSAGES, self.case).owed, AT_ONCE),
            Kind::BrokenFrames => Promise::Ends(case(BROKEN_FRAMES, self.case).owed, AT_ONCE),
            Kind::FragmentFlood => Promise::Ends(&[POLICY, TOO_BIG], AT_ONCE),
            Kind::Garbage => Promise::Ends(&[Status(400), Status(505), Status(431), Dropped], DEADLINE),
            // Noise may begin with the frame of a long message, and is no more than a slow sender then.
            Kind::GarbageFrames => Promise::Closes(DEADLINE),
            Kind::HeaderBomb => match Bomb::of(self.case) {
                Bomb::Target => Promise::Ends(&[Status(414)], AT_ONCE),
                Bomb::Header | Bomb::Headers => Promise::Ends(&[Status(431)], AT_ONCE),
            },
            Kind::MessageFlood | Kind::PingFlood => Promise::Ends(&[POLICY], AT_ONCE),
            // It hears of its close only when it is dropped for not answering it, or for what it sent meanwhile.
            Kind::PingFloodUnread => Promise::Ends(&[POLICY, Dropped, Reset], DEADLINE),
            Kind::NeverReading => Promise::Ends(&[POLICY, Dropped, Reset], SLOW_DEADLINE),
            Kind::RstStorm => Promise::Accepted,
            Kind::Silent => Promise::Ends(&[Status(408), Dropped], DEADLINE),
            Kind::SilentUpgraded => Promise::Ends(&[POLICY], DEADLINE),
            Kind::SingleBytes => Promise::Plays,
            Kind::SlowHandshake => Promise::Ends(&[Status(408)], DEADLINE),
        }
    }

    /// Writes what is sent at strike number `strike` of this attempt.
    pub fn strike(&self, strike: u32, random: &mut Random, out: &mut Vec<u8>) {
        match self.kind {
            Kind::BadHellos => frame(random, out, |out| (case(BAD_HELLOS, self.case).write)(out)),
            Kind::BadMessages => frame(random, out, |out| (case(BAD_MESSAGES, self.case).write)(out)),
            Kind::BrokenFrames => (case(BROKEN_FRAMES, self.case).write)(out),
            Kind::FragmentFlood => fragments(strike, random, out),
            Kind::Garbage => garbage(self.case, random, out),
            Kind::GarbageFrames => noise(random, out),
            Kind::HeaderBomb => Bomb::of(self.case).write(strike, out),
            Kind::MessageFlood => self.messages(strike, random, out),
            Kind::NeverReading => wants(random, out),
            Kind::PingFlood | Kind::PingFloodUnread => pings(random, out),
            Kind::RstStorm if self.case % 2 == 1 => out.extend_from_slice(b"GET /play HTTP/1.1\r\n"),
            Kind::RstStorm | Kind::Silent | Kind::SilentUpgraded => {}
            Kind::SingleBytes | Kind::SlowHandshake => {}
        }
    }

    /// Tiny messages that a player may send, only not so many.
    fn messages(&self, strike: u32, random: &mut Random, out: &mut Vec<u8>) {
        for number in 0..MESSAGES_PER_STRIKE {
            let seq = strike * MESSAGES_PER_STRIKE + number + 1;
            frame(random, out, |out| match self.case % 4 {
                0 => rest(seq, self.input_fields, out),
                1 => encode_ack(0, out),
                2 => encode_ping(u64::from(seq).to_le_bytes(), out),
                _ => encode_want(&[CellId(seq % 64)], out),
            });
        }
    }
}

/// A case of an attack that has many.
struct Case {
    write: fn(&mut Vec<u8>),
    owed: &'static [Ending],
}

fn case(cases: &'static [Case], number: u32) -> &'static Case {
    &cases[number as usize % cases.len()]
}

/// A message in a frame of its own.
pub fn frame(random: &mut Random, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    write_frame(out, Opcode::Binary, &message, Some(random.mask()));
}

/// A hello that any server of this game grants.
pub fn hello(game: &str, out: &mut Vec<u8>) {
    greet(VERSION, Seek::JoinOrCreate(game), "hostile", out);
}

/// An input that asks for nothing: a peer that plays by the rules does not disturb a room at rest.
pub fn rest(seq: u32, fields: usize, out: &mut Vec<u8>) {
    let row = [0; tickyard_protocol::fields::FIELDS_MAX];
    Input { seq: Seq(seq), ack: 0, render_tick: 0, row }.encode(fields, out);
}

fn greet(version: u16, seek: Seek, name: &str, out: &mut Vec<u8>) {
    let hello = Hello { version, build: "", seek, name, options: &[], token: "", resume: &[], tags: vec![] };
    encode_client_control(&ClientControl::Hello(hello), out);
}

fn say(kind: &str, payload: &[u8], out: &mut Vec<u8>) {
    let message = Message { number: 1, kind, payload, tags: vec![] };
    encode_client_control(&ClientControl::Message(message), out);
}

/// The first fragment of a message, and then more of them.
fn fragments(strike: u32, random: &mut Random, out: &mut Vec<u8>) {
    for number in 0..MESSAGES_PER_STRIKE {
        let first = if strike == 0 && number == 0 { 0x02 } else { 0x00 };
        out.extend_from_slice(&[first, 0x81]);
        out.extend_from_slice(&random.mask());
        out.push(0);
    }
}

/// The cells of a world for 1,000 players, all of them: who never reads asks for more.
fn wants(random: &mut Random, out: &mut Vec<u8>) {
    for first in (0..256).step_by(WANT_CELLS_MAX) {
        let cells: Vec<CellId> = (first..).take(WANT_CELLS_MAX).map(CellId).collect();
        frame(random, out, |out| encode_want(&cells, out));
    }
}

fn pings(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..PINGS_PER_STRIKE {
        write_frame(out, Opcode::Ping, &[b'p'; 125], Some(random.mask()));
    }
}

/// What comes to a port by mistake or to see what happens: noise, TLS, HTTP/2, text.
fn garbage(case: u32, random: &mut Random, out: &mut Vec<u8>) {
    match case % 4 {
        0 => noise(random, out),
        1 => out.extend_from_slice(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]),
        2 => out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        _ => out.extend_from_slice(b"GET /play HTTP/1.1\r\nHost : here\r\n\0\r\n\r\n"),
    }
}

fn noise(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..8 + random.below(56) {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
}

/// The head of a request that has no end.
#[derive(Clone, Copy)]
enum Bomb {
    Header,
    Headers,
    Target,
}

impl Bomb {
    fn of(case: u32) -> Bomb {
        [Bomb::Header, Bomb::Headers, Bomb::Target][case as usize % 3]
    }

    fn write(self, strike: u32, out: &mut Vec<u8>) {
        match (self, strike) {
            (Bomb::Target, 0) => out.extend_from_slice(b"GET /play?"),
            (_, 0) => out.extend_from_slice(b"GET /play HTTP/1.1\r\nHost: here\r\nX-Bomb: "),
            _ => {}
        }
        match self {
            Bomb::Headers => out.extend((0..1024).flat_map(|_| *b"x: y\r\nz:")),
            Bomb::Header | Bomb::Target => out.resize(out.len() + 8 * 1024, b'a'),
        }
    }
}

const POLICY: Ending = Ending::Close(Some(1008));
const TOO_BIG: Ending = Ending::Close(Some(1009));

/// At 200 strikes a second, 250,000 messages.
const MESSAGES_PER_STRIKE: u32 = 1_250;

/// At 200 strikes a second, 50,000 pings of 131 bytes.
const PINGS_PER_STRIKE: u32 = 250;

#[cfg(test)]
mod tests;
