//! Those who connect: residents who play by the rules, guests who come and go, and everybody else.

use std::time::Duration;

use tickyard::bridge::ConnId;
use tickyard::game::Random;
use tickyard::protocol::fields::{FIELDS_MAX, Field};
use tickyard::protocol::message::{
    self, ClientControl, Hello, Input, Message, SUBPROTOCOL, Seek, VERSION, encode_client_control,
};
use tickyard::protocol::types::Seq;
use tickyard::time::Time;
use tickyard::websocket::CloseCode;
use tickyard::websocket::frame::{Opcode, write_close, write_frame};

use super::ear::{Ear, offer};
use super::wire::Wire;

/// One who connected.
pub struct Peer {
    pub conn: ConnId,
    pub wire: Wire,
    pub ear: Ear,
    pub manners: Manners,
    /// Bytes to send, and how many of them in one step.
    outgoing: Vec<u8>,
    tempo: usize,
    /// Bytes to read in one step.
    appetite: usize,
    /// Not reading until then.
    full_until: Time,
    random: Random,
    /// Plays once it is welcomed.
    plays: bool,
    next_input: Time,
    pub seq: u32,
    messages: u32,
    end: Option<(Time, End)>,
    pub has_ended: bool,
    is_attentive: bool,
    /// Has held all that was in view, since it looks.
    pub saw_all: bool,
    /// What `/echo` has to send back.
    echoes: Vec<Vec<u8>>,
}

/// What a peer may expect, because of how it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Plays until the server stops.
    Resident,
    /// Plays, and closes in order.
    Guest,
    /// Sends messages to `/echo`, and closes in order.
    Caller,
    /// Plays, and breaks no rule before it breaks off.
    Rude,
    /// Nothing.
    None,
}

/// How a peer ends its side.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Finish,
    Reset,
    Silence,
}

impl Peer {
    /// One who behaves, and stays.
    pub fn resident(conn: ConnId, wire: Wire, seed: u64) -> Peer {
        let mut peer = Peer::new(conn, wire, seed, Manners::Resident);
        peer.enter();
        peer
    }

    /// Anybody.
    pub fn passer_by(conn: ConnId, wire: Wire, seed: u64, now: Time) -> Peer {
        let mut peer = Peer::new(conn, wire, seed, Manners::None);
        let some = |random: &mut Random, millis| Duration::from_millis(random.below(millis).into());
        let until = now + some(&mut peer.random, 5000);
        match peer.random.below(20) {
            0..4 => {
                peer.manners = Manners::Guest;
                peer.enter();
                peer.end = Some((until, End::Close));
            }
            4..7 => {
                // In and out again, so that slots go from hand to hand.
                peer.manners = Manners::Rude;
                peer.enter();
                let ends = [End::Finish, End::Reset, End::Silence];
                let end = ends[peer.random.below(3) as usize];
                peer.end = Some((now + some(&mut peer.random, 300), end));
            }
            7 => {
                peer.manners = Manners::Rude;
                peer.enter();
                peer.full_until = until;
                peer.end = Some((until + Duration::from_secs(3600), End::Silence));
                if peer.random.below(2) == 0 {
                    peer.full_until = NEVER;
                }
            }
            8 => {
                peer.manners = Manners::Caller;
                peer.call();
                peer.end = Some((until, End::Close));
            }
            9 => {
                peer.enter();
                peer.tempo = 1;
                if peer.random.below(2) == 0 {
                    peer.outgoing.truncate(40);
                }
            }
            10 => {
                let junk = peer.junk(2000);
                peer.outgoing = junk;
            }
            11 => {
                peer.outgoing = peer.upgrade("/play");
                let junk = peer.junk(2000);
                peer.outgoing.extend(junk);
            }
            12 => {
                peer.enter();
                for number in 1..20 {
                    let input = peer.input_frame(number);
                    peer.outgoing.extend(input);
                }
                let at = peer.random.below(peer.outgoing.len() as u32) as usize;
                peer.outgoing[at] ^= 1 << peer.random.below(8);
            }
            13 => peer.ask_for_a_page(),
            14 => {
                peer.enter();
                let (opcode, len) = [(Opcode::Ping, 3), (Opcode::Pong, 0), (Opcode::Binary, 9)]
                    [peer.random.below(3) as usize];
                for _ in 0..1000 {
                    let mut payload = vec![0; len];
                    payload.fill(message::from_client::PING);
                    peer.say(opcode, &payload);
                }
            }
            15 => {
                peer.enter();
                peer.break_a_rule();
                let rest = vec![0; 400_000 * peer.random.below(2) as usize];
                peer.outgoing.extend(rest);
            }
            16 => {
                peer.outgoing = peer.upgrade("/play");
                peer.wrong_hello();
            }
            17 => {
                // Much to be sent back, and nobody who reads it.
                peer.outgoing = peer.upgrade("/echo");
                peer.tempo = 100_000;
                peer.full_until = NEVER;
                for _ in 0..100 {
                    peer.say(Opcode::Binary, &[7; 15_000]);
                }
            }
            _ => {
                // Says a part of what a player says, and then nothing.
                peer.enter();
                let len = peer.random.below(peer.outgoing.len() as u32) as usize;
                peer.outgoing.truncate(len);
                if peer.random.below(2) == 0 {
                    peer.end = Some((until, End::Finish));
                }
            }
        }
        peer
    }

    fn new(conn: ConnId, wire: Wire, seed: u64, manners: Manners) -> Peer {
        let mut random = Random::new(seed);
        let tempo = [7, 100, 4000, 100_000][random.below(4) as usize];
        let appetite = [200, 2000, 100_000, 100_000][random.below(4) as usize];
        Peer {
            conn,
            wire,
            ear: Ear::new(),
            manners,
            outgoing: Vec::new(),
            tempo,
            appetite,
            full_until: Time::ZERO,
            random,
            plays: false,
            next_input: Time::ZERO,
            seq: 0,
            messages: 0,
            end: None,
            has_ended: false,
            is_attentive: false,
            saw_all: false,
            echoes: Vec::new(),
        }
    }

    /// A proxy says something before all else.
    pub fn introduce(&mut self, header: &str) {
        self.outgoing.splice(..0, header.bytes());
    }

    /// Does what it does in a step of time.
    pub fn act(&mut self, now: Time) {
        // What it says may cross what it is told.
        if self.random.below(2) == 0 {
            self.send();
        }
        self.listen(now);
        if self.ear.closed.is_some() && self.manners != Manners::None && !self.has_ended {
            // RFC 6455, 5.5.1: a close is answered with one; RFC 6455, 7.1.1: the server ends TCP first.
            if !matches!(self.end, Some((_, End::Close))) && self.wire.may_send() {
                self.write_close(None);
            }
            self.has_ended = true;
        }
        if self.plays && self.ear.player.is_some() && !self.has_ended {
            self.play(now);
        }
        self.send();
        match self.end {
            Some((at, end)) if now >= at && !self.has_ended && self.may_end(end) => self.finish(end),
            _ => {}
        }
        if self.wire.is_at_end() && self.wire.may_send() && self.outgoing.is_empty() {
            self.wire.finish();
        }
    }

    /// Who keeps to the rules waits until its last message is out, and for the welcome.
    fn may_end(&self, end: End) -> bool {
        match end {
            End::Close => {
                let is_in = self.ear.player.is_some() || self.manners == Manners::Caller;
                self.outgoing.is_empty() && is_in && self.ear.echoes.len() == self.echoes.len()
            }
            _ => true,
        }
    }

    fn finish(&mut self, end: End) {
        self.has_ended = true;
        match end {
            End::Close => self.write_close(Some((CloseCode::NORMAL, ""))),
            End::Finish => self.wire.finish(),
            End::Reset => self.wire.reset(),
            End::Silence => self.full_until = NEVER,
        }
    }

    fn listen(&mut self, now: Time) {
        if now < self.full_until {
            return;
        }
        let bytes = self.wire.receive(self.appetite);
        self.ear.hear(&bytes, !self.echoes.is_empty());
        if let Some(replica) = &self.ear.replica {
            self.saw_all |= replica.view_is_complete() && replica.view().len() == replica.cells().len();
        }
        if self.manners == Manners::Resident && !self.is_attentive && self.random.below(100) == 0 {
            self.full_until = now + Duration::from_millis(self.random.below(2000).into());
        }
    }

    fn send(&mut self) {
        if self.outgoing.is_empty() || !self.wire.may_send() {
            return;
        }
        let len = self.outgoing.len().min(1 + self.random.below(self.tempo as u32) as usize);
        let taken = self.wire.send(&self.outgoing[..len]);
        self.outgoing.drain(..taken);
    }

    fn play(&mut self, now: Time) {
        if now < self.next_input || self.outgoing.len() > 256 {
            return;
        }
        self.next_input = now + Duration::from_millis(80 + u64::from(self.random.below(40)));
        self.seq += 1;
        let input = self.input_frame(self.seq);
        self.outgoing.extend(input);
        let found = self.ear.replica.as_mut().and_then(|replica| replica.take_mismatch());
        assert_eq!(found, None, "nothing differed");
        match self.random.below(60) {
            0 => {
                let mut message = Vec::new();
                let cells = self.ear.replica.as_ref().map(|replica| replica.view().to_vec());
                let cells = cells.unwrap_or_default();
                if !cells.is_empty() {
                    message::encode_want(&cells, &mut message);
                    self.say(Opcode::Binary, &message);
                }
            }
            1 => {
                self.messages += 1;
                let mut message = Vec::new();
                let payload = format!("line {}", self.messages);
                let said = Message {
                    number: self.messages,
                    kind: "chat",
                    payload: payload.as_bytes(),
                    tags: Vec::new(),
                };
                encode_client_control(&ClientControl::Message(said), &mut message);
                self.say(Opcode::Binary, &message);
            }
            2 => {
                let mut message = Vec::new();
                message::encode_ping([self.seq as u8; 8], &mut message);
                self.say(Opcode::Binary, &message);
            }
            3 => self.say(Opcode::Ping, b"there?"),
            _ => {}
        }
    }

    fn enter(&mut self) {
        self.plays = true;
        self.outgoing = self.upgrade("/play");
        let hello = hello(VERSION, Seek::JoinOrCreate("arena"), "Ada");
        self.say(Opcode::Binary, &hello);
    }

    fn upgrade(&mut self, path: &str) -> Vec<u8> {
        let offer = match self.random.below(2) {
            0 => String::new(),
            _ => format!("Sec-WebSocket-Extensions: {}\r\n", offer()),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{offer}\r\n"
        )
        .into_bytes()
    }

    fn call(&mut self) {
        self.outgoing = self.upgrade("/echo");
        for number in 0..1 + self.random.below(20) {
            let len = self.random.below(3000) as usize;
            let payload = vec![number as u8; len];
            self.say(Opcode::Binary, &payload);
            self.echoes.push(payload);
        }
    }

    fn ask_for_a_page(&mut self) {
        let from_nowhere = String::from_utf8(self.upgrade("/play")).expect("a head is text");
        let requests = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "GET /play HTTP/1.1\r\nHost: a\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01",
            "GET / HTTP/1.1\r\n\r\n",
            &format!("GET /{}", "x".repeat(9000)),
            &from_nowhere.replace("\r\n\r\n", "\r\nOrigin: null\r\n\r\n"),
        ];
        self.outgoing = requests[self.random.below(9) as usize].as_bytes().to_vec();
    }

    fn break_a_rule(&mut self) {
        match self.random.below(9) {
            0 => self.say(Opcode::Text, b"hello"),
            8 => {
                // Compressed, and no compression: for who did not offer it, a reserved bit.
                let at = self.outgoing.len();
                self.say(Opcode::Binary, &[0xff; 9]);
                self.outgoing[at] |= 0x40;
            }
            1 => self.say(Opcode::Text, b"\xff"),
            2 => self.say(Opcode::Binary, &[2; 20_000]),
            3 => self.say(Opcode::Binary, &[9, 9, 9]),
            4 => self.say(Opcode::Continuation, b"stray"),
            5 => {
                for number in 0..100 {
                    let at = self.outgoing.len();
                    self.say(if number == 0 { Opcode::Binary } else { Opcode::Continuation }, b"x");
                    self.outgoing[at] &= 0x7f;
                }
            }
            6 => write_frame(&mut self.outgoing, Opcode::Binary, b"bare", None),
            _ => self.say(Opcode::Close, b"\x03\xed"),
        }
    }

    fn wrong_hello(&mut self) {
        let hello = match self.random.below(5) {
            0 => hello(VERSION + 1, Seek::JoinOrCreate("arena"), "Ada"),
            1 => hello(VERSION, Seek::Join("chess"), "Ada"),
            2 => hello(VERSION, Seek::Room("nowhere"), "Ada"),
            3 => hello(VERSION, Seek::JoinOrCreate("arena"), "a\nb"),
            _ => vec![1, 0, 0xff],
        };
        self.say(Opcode::Binary, &hello);
    }

    fn input_frame(&mut self, seq: u32) -> Vec<u8> {
        let ack = self.ear.replica.as_ref().map_or(0, |replica| replica.reliable_heard());
        let input = Input { seq: Seq(seq), ack, render_tick: 0, row: row(seq) };
        let (mut message, mut frame) = (Vec::new(), Vec::new());
        input.encode(input_fields().len(), &mut message);
        write_frame(&mut frame, Opcode::Binary, &message, Some(self.key()));
        frame
    }

    fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        let key = self.key();
        write_frame(&mut self.outgoing, opcode, payload, Some(key));
    }

    fn write_close(&mut self, close: Option<(CloseCode, &str)>) {
        let key = self.key();
        write_close(&mut self.outgoing, close, Some(key));
    }

    fn key(&mut self) -> [u8; 4] {
        (self.random.bits() as u32).to_le_bytes()
    }

    fn junk(&mut self, max: u32) -> Vec<u8> {
        let len = 1 + self.random.below(max);
        (0..len).map(|_| self.random.bits() as u8).collect()
    }

    /// A resident does not look away any more: the server waits for a second for who has not heard its last word.
    pub fn attend(&mut self) {
        if self.manners == Manners::Resident {
            self.is_attentive = true;
            self.saw_all = false;
            self.full_until = Time::ZERO;
        }
    }

    /// Whether it has heard all that it will hear.
    pub fn is_over(&self) -> bool {
        self.wire.is_closed() && (self.wire.is_at_end() || self.full_until == NEVER)
    }

    /// Looks back, when all is over.
    pub fn check_end(&self) {
        if self.ear.status == Some(503) {
            // At the door: nobody who is in is told this.
            assert!(self.manners != Manners::Resident && self.ear.player.is_none());
            return;
        }
        match self.manners {
            Manners::Resident => assert_eq!(self.ear.closed, Some(Some(1001)), "the server went away"),
            Manners::Guest => {
                let closed = self.ear.closed.expect("a guest is told goodbye");
                let expected = if self.ear.refused { [1013, 1013] } else { [1000, 1001] };
                assert!(closed.is_some_and(|code| expected.contains(&code)), "{closed:?}");
            }
            Manners::Caller => {
                assert!(matches!(self.ear.closed, Some(Some(1000 | 1001))), "{:?}", self.ear.closed);
                let echoes = &self.ear.echoes;
                assert!(self.echoes.starts_with(echoes), "echoes come in order and whole");
                assert!(self.ear.closed == Some(Some(1001)) || *echoes == self.echoes);
            }
            Manners::Rude | Manners::None => {}
        }
    }
}

/// The input of this number: what reaches the room can be told from what did not.
pub fn row(seq: u32) -> [i32; FIELDS_MAX] {
    let mut row = [0; FIELDS_MAX];
    row[0] = (seq.wrapping_mul(31) % 255) as i32 - 127;
    row[1] = (seq.wrapping_mul(17) % 255) as i32 - 127;
    row
}

/// The fields of the arena's input.
pub fn input_fields() -> Vec<Field> {
    vec![Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)]
}

fn hello(version: u16, seek: Seek, name: &str) -> Vec<u8> {
    let (build, token) = ("", "");
    let hello = Hello { version, build, seek, name, options: &[], token, resume: &[], tags: Vec::new() };
    let mut message = Vec::new();
    encode_client_control(&ClientControl::Hello(hello), &mut message);
    message
}

const NEVER: Time = Time::from_secs(1 << 30);
