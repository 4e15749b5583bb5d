//! The cases of the Autobahn testsuite, sections 1 to 7, under its numbers, on `/echo` and on our client role.
//!
//! The suite itself wants a Python 2.7 (`tests/autobahn/run`); what it sends and expects stands here in our words, so that
//! `cargo test` alone holds us to it. Frames are written and read by a few lines of this file, not by the code they judge.

#[path = "autobahn/closing.rs"]
mod closing;
#[path = "autobahn/frames.rs"]
mod frames;
#[path = "autobahn/utf8.rs"]
mod utf8;

use tickyard::session::site::Site;
use tickyard::session::{Pulse, Session, Turn};
use tickyard::time::Time;

use super::*;

/// What is sent, and all that must come back, in this order.
struct Case {
    /// As the suite counts, such as `6.4.1`.
    number: String,
    frames: Vec<Frame>,
    answers: Vec<Answer>,
    wait: Wait,
}

/// Where the suite waits, to see that a fault is noticed as soon as it can be, and no sooner.
#[derive(Clone, Copy)]
enum Wait {
    Nowhere,
    /// After the first frame, all is well; after the second, the connection has failed.
    BetweenFrames,
    /// The same after so many bytes of the payload of the first frame.
    WithinFrame(usize, usize),
}

#[derive(Clone)]
struct Frame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// Its reason is ours to choose.
    Close(Option<u16>),
}

impl Frame {
    /// As a client sends it, with a mask, or a server, without.
    fn write(&self, role: Role, out: &mut Vec<u8>) {
        let len = self.payload.len();
        let masked = if role == Role::Server { 0x80 } else { 0 };
        out.push(u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode);
        match len {
            0..=125 => out.push(masked | len as u8),
            126..=0xffff => out.extend([masked | 126, (len >> 8) as u8, len as u8]),
            _ => {
                out.push(masked | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        if role == Role::Server {
            out.extend(KEY);
            out.extend(self.payload.iter().enumerate().map(|(at, byte)| byte ^ KEY[at % 4]));
        } else {
            out.extend(&self.payload);
        }
    }
}

impl Case {
    /// The bytes for whoever plays `role`, and where each frame ends in them.
    fn bytes(&self, role: Role) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for frame in &self.frames {
            frame.write(role, &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    /// Cut in many ways: whole, by frame, by byte, in the suite's chops of 997, and once at every place of a short one.
    fn hold(&self, role: Role) {
        let (bytes, ends) = self.bytes(role);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let by_frame: Vec<&[u8]> = starts.zip(&ends).map(|(start, &end)| &bytes[start..end]).collect();
        let chop = if bytes.len() < 4096 { 1 } else { 997 };
        let mut ways = vec![vec![&bytes[..]], by_frame, bytes.chunks(chop).collect()];
        ways.extend((1..bytes.len().min(160)).map(|at| vec![&bytes[..at], &bytes[at..]]));
        for pieces in ways {
            let mut peer = Peer::new(role);
            pieces.iter().for_each(|piece| peer.hear(piece));
            let lens: Vec<usize> = pieces.iter().take(3).map(|piece| piece.len()).collect();
            assert!(
                peer.answers() == self.answers,
                "{} as a {role:?}, in {} pieces ({lens:?} …)",
                self.number,
                pieces.len()
            );
        }
    }

    /// Nothing is answered before the fault, and all is answered with it.
    fn hold_wait(&self, role: Role) {
        let (bytes, ends) = self.bytes(role);
        let (good, bad) = match self.wait {
            Wait::Nowhere => return,
            Wait::BetweenFrames => (ends[0], ends[1]),
            Wait::WithinFrame(good, bad) => {
                let header = ends[0] - self.frames[0].payload.len();
                (header + good, header + bad)
            }
        };
        let mut peer = Peer::new(role);
        peer.hear(&bytes[..good]);
        assert_eq!(peer.answers(), [], "{} as a {role:?}, before its fault", self.number);
        peer.hear(&bytes[good..bad]);
        assert_eq!(peer.answers(), self.answers, "{} as a {role:?}, at its fault", self.number);
    }
}

/// Whoever is judged.
enum Peer {
    Server { session: Box<Session>, site: Box<Site>, out: Vec<u8> },
    Client { socket: Box<WebSocket>, heard: Vec<Heard> },
}

const NOW: Time = Time::from_secs(100);

impl Peer {
    fn new(role: Role) -> Peer {
        if role == Role::Client {
            let socket = Box::new(WebSocket::new(role, LIMITS));
            return Peer::Client { socket, heard: Vec::new() };
        }
        let mut peer = Peer::Server {
            session: Box::new(Session::new(
                NOW,
                tickyard::addresses::Peer::new(([192, 0, 2, 1], 40_000).into()),
            )),
            site: Box::new(site()),
            out: Vec::new(),
        };
        peer.hear(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let Peer::Server { out, .. } = &mut peer else { unreachable!() };
        assert!(out.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(out));
        out.clear();
        peer
    }

    fn hear(&mut self, piece: &[u8]) {
        match self {
            Peer::Server { session, site, out } => {
                let mut turn = Turn { now: NOW, site, pulse: Pulse::default(), out, cost: 0 };
                session.handle_bytes(&mut turn, &mut &mut piece.to_vec()[..]);
            }
            Peer::Client { socket, heard } => feed(socket, piece, heard),
        }
    }

    /// All that it said. A client core says nothing by itself: what it heard says what its owner has to answer.
    fn answers(&self) -> Vec<Answer> {
        match self {
            Peer::Server { out, .. } => read_answers(out),
            Peer::Client { heard, .. } => heard.iter().filter_map(answer_to).collect(),
        }
    }
}

fn site() -> Site {
    Site { echo: true, ..Site::default() }
}

fn answer_to(heard: &Heard) -> Option<Answer> {
    Some(match heard {
        Heard::Text(text) => Answer::Text(text.clone().into_bytes()),
        Heard::Binary(bytes) => Answer::Binary(bytes.clone()),
        Heard::Ping(bytes) => Answer::Pong(bytes.clone()),
        Heard::Pong(_) => return None,
        Heard::Close(close) => Answer::Close(close.as_ref().map(|(code, _)| *code)),
        Heard::Failed(error) => Answer::Close(Some(error.close_code().get())),
    })
}

/// Takes a server's frames apart: none is masked, reserved or in fragments.
fn read_answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (len, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            len => (usize::from(*len), rest),
        };
        let (payload, rest) = rest.split_at(len);
        bytes = rest;
        answers.push(match first {
            0x81 => Answer::Text(payload.to_owned()),
            0x82 => Answer::Binary(payload.to_owned()),
            0x88 => Answer::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            0x8a => Answer::Pong(payload.to_owned()),
            _ => panic!("a frame that begins with {first:#x}"),
        });
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:x?}");
    answers
}

#[track_caller]
fn hold_section(section: &str) {
    let cases = cases();
    let asked = cases.iter().filter(|case| case.number.split('.').next() == Some(section));
    for case in asked {
        for role in [Role::Server, Role::Client] {
            case.hold(role);
            case.hold_wait(role);
        }
    }
}

fn cases() -> Vec<Case> {
    [frames::cases(), utf8::cases(), closing::cases()].into_iter().flatten().collect()
}

#[test]
fn no_case_of_the_suite_is_left_out() {
    let numbers: Vec<Vec<u32>> = cases()
        .iter()
        .map(|case| case.number.split('.').map(|part| part.parse().unwrap()).collect())
        .collect();
    let counts: Vec<usize> =
        (1..=7).map(|section| numbers.iter().filter(|number| number[0] == section).count()).collect();
    assert_eq!(counts, [16, 11, 7, 10, 20, 145, 37]);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
}

#[test]
fn autobahn_section_1_framing() {
    hold_section("1");
}

#[test]
fn autobahn_section_2_pings_and_pongs() {
    hold_section("2");
}

#[test]
fn autobahn_section_3_reserved_bits() {
    hold_section("3");
}

#[test]
fn autobahn_section_4_opcodes() {
    hold_section("4");
}

#[test]
fn autobahn_section_5_fragmentation() {
    hold_section("5");
}

#[test]
fn autobahn_section_6_utf_8() {
    hold_section("6");
}

#[test]
fn autobahn_section_7_closing() {
    hold_section("7");
}
