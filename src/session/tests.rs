//! A session as a table of what is said and what must be answered.

use std::sync::Arc;
use std::time::Duration;

use tickyard_protocol::fields::Field;
use tickyard_protocol::message::{
    ClientControl, Hello, Message as WireMessage, SUBPROTOCOL, Seek, decode_server_control, encode_ack,
    encode_client_control, encode_ping, encode_want,
};
use tickyard_protocol::types::{CellId, Seq};

use super::origins::Origins;
use super::site::{Page, Warned};
use super::*;
use crate::bridge::{Join, Message};
use crate::config::limits::{HANDSHAKE_TIMEOUT, MESSAGE_BYTES_MAX};
use crate::lobby::{Hosted, Lobby};

mod closing;
mod flooding;
mod freezing;
mod heartbeat;

const START: Time = Time::from_secs(100);
const MASK: [u8; 4] = [1, 2, 3, 4];

pub(crate) fn site() -> Site {
    const PAGES: &[Page] = &[Page { path: "/", content_type: "text/html", body: b"<p>hello" }];
    Site {
        lobby: Arc::new(Lobby::hosting(Hosted {
            name: "arena".into(),
            input: vec![Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)],
            rooms_max: 1,
            seats: 100,
        })),
        pages: PAGES,
        echo: true,
        origins: Origins::LOOPBACK,
        ..Site::default()
    }
}

fn nobody() -> crate::addresses::Peer {
    crate::addresses::Peer::new(([192, 0, 2, 1], 40_000).into())
}

/// A session, its site and all that it answered.
struct Peer {
    site: Site,
    session: Session,
    now: Time,
    out: Vec<u8>,
}

impl Peer {
    fn new() -> Peer {
        Peer { site: site(), session: Session::new(START, nobody()), now: START, out: Vec::new() }
    }

    fn with<R>(&mut self, deed: impl FnOnce(&mut Session, &mut Turn) -> R) -> R {
        let pulse = Pulse { tick: Tick(5), due: Time::ZERO };
        let mut turn = Turn { now: self.now, site: &self.site, pulse, out: &mut self.out, cost: 0 };
        deed(&mut self.session, &mut turn)
    }

    /// Hands in bytes and returns those that were not used.
    fn send(&mut self, bytes: &[u8]) -> usize {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        self.with(|session, turn| session.handle_bytes(turn, &mut input));
        input.len()
    }

    fn answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn upgrade(&mut self, path: &str) {
        self.send(upgrade(path, "").as_bytes());
        let answer = String::from_utf8(self.answer()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    }

    /// A player on a seat.
    fn playing() -> Peer {
        let mut peer = Peer::new();
        peer.upgrade("/play");
        peer.send(&hello("arena", "Ada", 1));
        peer.sit();
        assert!(matches!(peer.session.take_ask(), Some((RoomId(7), Ask::Join(_)))));
        peer.session.joined(&[1, 0], &mut peer.out);
        assert_eq!(peer.answer(), [0x82, 2, 1, 0]);
        peer
    }

    /// A seat is found.
    fn sit(&mut self) {
        assert!(self.session.seeks().is_some());
        self.session.sit(RoomId(7));
        assert!(self.session.seeks().is_none());
    }

    /// The close code that was sent last, and why the session is over.
    fn closed(&mut self) -> (u16, CloseReason) {
        let answer = self.answer();
        let at = answer.iter().rposition(|&byte| byte == 0x88).expect("a close frame");
        (u16::from_be_bytes([answer[at + 2], answer[at + 3]]), self.session.closing().expect("closing"))
    }
}

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:7070\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{more}\r\n"
    )
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, opcode, payload, Some(MASK));
    out
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(Opcode::Binary, payload)
}

fn control(message: &ClientControl) -> Vec<u8> {
    let mut out = Vec::new();
    encode_client_control(message, &mut out);
    binary(&out)
}

fn hello(game: &str, name: &str, version: u16) -> Vec<u8> {
    let seek = Seek::JoinOrCreate(game);
    let hello = Hello { version, build: "", seek, name, options: b"o", token: "", resume: &[], tags: vec![] };
    control(&ClientControl::Hello(hello))
}

fn input(seq: u32) -> Vec<u8> {
    let mut out = Vec::new();
    Input { seq: Seq(seq), ack: 0, render_tick: 0, row: [0; 16] }.encode(2, &mut out);
    binary(&out)
}

#[test]
fn a_hello_becomes_a_join_at_every_split_of_the_bytes() {
    let mut all = upgrade("/play", "").into_bytes();
    all.extend(hello("arena", "Ada", 1));
    for cut in 0..all.len() {
        let mut peer = Peer::new();
        peer.send(&all[..cut]);
        peer.send(&all[cut..]);
        let join = Join { name: "Ada".into(), options: b"o".to_vec() };
        peer.sit();
        assert_eq!(peer.session.take_ask(), Some((RoomId(7), Ask::Join(Box::new(join)))), "cut at {cut}");
        assert!(peer.answer().starts_with(b"HTTP/1.1 101 "));
        assert_eq!((peer.session.take_ask(), peer.session.closing()), (None, None));
    }
}

#[test]
fn what_a_player_must_understand_is_refused_after_the_upgrade() {
    let cases = [
        (hello("chess", "Ada", 1), RefusalCode::UnknownGame),
        (hello("arena", "Ada", 2), RefusalCode::Outdated),
        (hello("arena", "a\nb", 1), RefusalCode::BadName),
        (hello("arena", "Ada\u{202e}", 1), RefusalCode::BadName),
        (hello("arena", &"x".repeat(33), 1), RefusalCode::BadName),
    ];
    for (bytes, code) in cases {
        let mut peer = Peer::new();
        peer.upgrade("/play");
        peer.send(&bytes);
        let answer = peer.out.clone();
        let len = answer[1] as usize;
        let Ok(ServerControl::Refused(refused)) = decode_server_control(&answer[3..2 + len]) else {
            panic!("not a refusal: {answer:?}")
        };
        assert_eq!(refused.code, code as u16);
        assert!(!refused.text.is_empty());
        assert_eq!(peer.closed(), (4001, CloseReason::Refused));
        assert_eq!((peer.session.take_ask(), peer.session.take_leave()), (None, None));
    }
}

#[test]
fn a_full_room_says_when_to_come_back_and_closes_with_1013() {
    let mut peer = Peer::new();
    peer.upgrade("/play");
    peer.send(&hello("arena", "", 1));
    peer.session.take_ask();
    peer.with(|session, turn| session.refused(turn, RefusalCode::Full, "full", Some(5000)));
    assert_eq!(peer.closed(), (1013, CloseReason::Refused));
    assert_eq!(peer.session.take_leave(), None);
}

#[test]
fn each_broken_rule_closes_with_its_code_and_reason() {
    let hello_first = [
        (binary(&[9]), 1008, CloseReason::BadHello),
        (binary(&[]), 1008, CloseReason::BadHello),
        (binary(&[1, 0, 253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 1008, CloseReason::BadHello),
        (frame(Opcode::Text, b"hi"), 1003, CloseReason::Unsupported),
        (frame(Opcode::Text, &[0xff]), 1007, CloseReason::InvalidUtf8),
        (
            frame(Opcode::Ping, b"")[..2].iter().map(|b| b & 0x7f | 0x10).collect(),
            1002,
            CloseReason::ProtocolError,
        ),
    ];
    for (bytes, code, reason) in hello_first {
        let mut peer = Peer::new();
        peer.upgrade("/play");
        peer.send(&bytes);
        assert_eq!(peer.closed(), (code, reason), "{bytes:?}");
    }
    let playing = [
        (binary(&[77]), 1008, CloseReason::BadMessage),
        (binary(&[]), 1008, CloseReason::BadMessage),
        (binary(&[2, 1, 0]), 1008, CloseReason::BadMessage),
        (binary(&[3, 1]), 1008, CloseReason::BadMessage),
        (binary(&[5, 0]), 1008, CloseReason::BadMessage),
        (hello("arena", "", 1), 1008, CloseReason::BadMessage),
        (frame(Opcode::Text, b"hi"), 1003, CloseReason::Unsupported),
        (binary(&vec![2; MESSAGE_BYTES_MAX + 1])[..8].to_vec(), 1009, CloseReason::TooBig),
    ];
    for (bytes, code, reason) in playing {
        let mut peer = Peer::playing();
        peer.send(&bytes);
        assert_eq!(peer.closed(), (code, reason), "{bytes:?}");
        assert_eq!(peer.session.take_leave(), Some((RoomId(7), Leave::Removed)));
        assert_eq!(peer.session.take_leave(), None);
    }
}

#[test]
fn an_ask_that_nobody_takes_stops_the_reading_and_loses_nothing() {
    let mut peer = Peer::playing();
    let mut bytes = Vec::new();
    for number in 1..=2 {
        let message = WireMessage { number, kind: "chat", payload: b"hi", tags: vec![] };
        bytes.extend(control(&ClientControl::Message(message)));
    }
    let left = peer.send(&bytes);
    assert_eq!(left, bytes.len() / 2);
    assert!(peer.session.has_ask());
    assert_eq!(peer.send(&bytes[bytes.len() - left..]), left, "nothing is read while an ask waits");

    let ask =
        |number| Ask::Message(Box::new(Message { number, kind: "chat".into(), payload: b"hi".to_vec() }));
    assert_eq!(peer.session.take_ask(), Some((RoomId(7), ask(1))));
    assert_eq!(peer.send(&bytes[bytes.len() - left..]), 0);
    assert_eq!(peer.session.take_ask(), Some((RoomId(7), ask(2))));
}

#[test]
fn inputs_never_stop_the_reading_and_the_oldest_makes_room() {
    let mut peer = Peer::playing();
    for seq in 1..=6 {
        assert_eq!(peer.send(&input(seq)), 0);
    }
    let counts = Counts { messages_in: 7, messages_out: 1, inputs_skipped: 2 };
    assert_eq!(peer.session.take_counts(), counts, "hello and welcome are messages too");
    let seqs: Vec<u32> =
        std::iter::from_fn(|| peer.session.take_input()).map(|(_, input)| input.seq.0).collect();
    assert_eq!(seqs, [3, 4, 5, 6]);
}

#[test]
fn acks_and_wants_reach_the_room() {
    let mut peer = Peer::playing();
    let mut message = Vec::new();
    encode_ack(9, &mut message);
    peer.send(&binary(&message));
    assert_eq!(peer.session.take_ask(), Some((RoomId(7), Ask::Ack(9))));
    message.clear();
    encode_want(&[CellId(4), CellId(5)], &mut message);
    peer.send(&binary(&message));
    assert_eq!(peer.session.take_ask(), Some((RoomId(7), Ask::Want([CellId(4), CellId(5)].into()))));
}

#[test]
fn of_many_pings_only_the_newest_is_answered() {
    let mut peer = Peer::playing();
    let mut bytes = Vec::new();
    for at in 0..3u8 {
        bytes.extend(frame(Opcode::Ping, &[at]));
        let mut ping = Vec::new();
        encode_ping([at; 8], &mut ping);
        bytes.extend(binary(&ping));
    }
    peer.send(&bytes);
    let mut expected = vec![0x8a, 1, 2, 0x82, 17, 3];
    expected.extend([2; 8]);
    expected.extend(5u32.to_le_bytes());
    expected.extend((START.as_micros() as u32).to_le_bytes());
    assert_eq!(peer.answer(), expected);
}

#[test]
fn a_peer_that_does_not_read_gets_no_more_pongs() {
    let mut peer = Peer::playing();
    peer.out = vec![0; REPLIES_BYTES_MAX + 1];
    peer.send(&frame(Opcode::Ping, b"x"));
    assert_eq!(peer.out.len(), REPLIES_BYTES_MAX + 1);
}

#[test]
fn a_flood_is_ended_with_1008_before_it_reaches_the_room() {
    let mut peer = Peer::playing();
    let mut sent = 0;
    while peer.session.closing().is_none() {
        peer.send(&input(sent));
        sent += 1;
        assert!(sent < 10_000);
    }
    assert_eq!(peer.closed(), (1008, CloseReason::Rate));
}

#[test]
fn a_close_is_answered_with_its_code_and_the_player_has_left() {
    let mut peer = Peer::playing();
    let mut bytes = Vec::new();
    write_close(&mut bytes, Some((CloseCode::AWAY, "bye")), Some(MASK));
    bytes.extend(input(1));
    assert_eq!(peer.send(&bytes), 0);
    assert_eq!(peer.answer(), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(peer.session.closing(), Some(CloseReason::NormalByPeer));
    assert_eq!(peer.session.take_leave(), Some((RoomId(7), Leave::Left)));
    assert_eq!(peer.session.take_input(), None, "nothing counts after a close");
}

#[test]
fn each_wait_has_its_end() {
    type Case = (fn() -> Peer, Duration, CloseReason);
    let cases: [Case; 4] = [
        (Peer::new, HANDSHAKE_TIMEOUT, CloseReason::HandshakeTimeout),
        (|| upgraded("/play"), Duration::from_secs(10), CloseReason::HelloTimeout),
        (|| upgraded("/echo"), Duration::from_secs(30), CloseReason::Idle),
        (Peer::playing, Duration::from_secs(30), CloseReason::Idle),
    ];
    for (peer, patience, reason) in cases {
        let mut peer = peer();
        assert_eq!(peer.session.poll_timeout(&peer.site), Some(START + patience));
        peer.now = START + patience - Duration::from_micros(1);
        peer.with(|session, turn| session.handle_timeout(turn));
        assert_eq!(peer.session.closing(), None);
        peer.now = START + patience;
        peer.with(|session, turn| session.handle_timeout(turn));
        assert_eq!(peer.session.closing(), Some(reason));
        assert_eq!(peer.session.poll_timeout(&peer.site), None);
    }
}

fn upgraded(path: &str) -> Peer {
    let mut peer = Peer::new();
    peer.upgrade(path);
    peer
}

#[test]
fn a_ping_flood_before_the_hello_is_ended_with_1008() {
    for opcode in [Opcode::Ping, Opcode::Pong] {
        let mut peer = Peer::new();
        peer.upgrade("/play");
        peer.send(&frame(opcode, b"p").repeat(600));
        assert_eq!(peer.session.closing(), None);
        peer.answer();
        peer.send(&frame(opcode, b"p"));
        assert_eq!(peer.closed(), (1008, CloseReason::Rate));
    }
}

#[test]
fn dripping_a_request_extends_nothing() {
    let mut peer = Peer::new();
    peer.now = START + Duration::from_secs(9);
    peer.send(b"G");
    peer.now = START + HANDSHAKE_TIMEOUT;
    peer.with(|session, turn| session.handle_timeout(turn));
    assert!(peer.answer().starts_with(b"HTTP/1.1 408 "));
    assert_eq!(peer.session.closing(), Some(CloseReason::HandshakeTimeout));
}

#[test]
fn a_refused_origin_is_logged_once_a_minute() {
    let warned = Warned::default();
    let start = Time::ZERO;
    assert!(warned.is_due(start));
    assert!(!warned.is_due(start + Duration::from_secs(59)));
    assert!(warned.is_due(start + Duration::from_secs(60)));
    assert!(!warned.is_due(start + Duration::from_secs(61)));
}

#[test]
fn a_refusal_says_little_of_what_it_was_asked() {
    let mut peer = upgraded("/play");
    peer.send(&hello(&"\u{1}".repeat(3000), "", 1));
    assert!(peer.answer().len() < 1000);
}

#[test]
fn a_large_echo_that_waits_does_not_swallow_the_pong_behind_it() {
    let mut peer = upgraded("/echo");
    let mut bytes = binary(&vec![7; REPLIES_BYTES_MAX + 1]);
    bytes.extend(frame(Opcode::Ping, b"x"));
    peer.send(&bytes);
    assert!(peer.answer().ends_with(&[0x8a, 1, b'x']));
}

#[test]
fn the_echo_returns_each_message_as_it_came() {
    let mut peer = upgraded("/echo");
    let mut bytes = frame(Opcode::Text, "ä".as_bytes());
    bytes.extend(binary(&[0, 1]));
    bytes.extend(frame(Opcode::Ping, b"p"));
    peer.send(&bytes);
    assert_eq!(peer.answer(), [0x81, 2, 0xc3, 0xa4, 0x82, 2, 0, 1, 0x8a, 1, b'p']);
}

#[test]
fn a_peer_that_is_gone_frees_its_seat_once() {
    let mut peer = Peer::playing();
    peer.session.handle_end();
    peer.session.handle_end();
    assert_eq!(peer.session.take_leave(), Some((RoomId(7), Leave::Dropped)));
    assert_eq!((peer.session.take_leave(), peer.session.closing()), (None, Some(CloseReason::PeerGone)));
}

#[test]
fn a_join_that_never_left_this_thread_needs_no_leave() {
    let mut peer = Peer::new();
    peer.upgrade("/play");
    peer.send(&hello("arena", "Ada", 1));
    peer.session.handle_end();
    assert_eq!((peer.session.take_ask(), peer.session.take_leave()), (None, None));
}

#[test]
fn every_answer_that_is_no_control_frame_counts_as_a_message() {
    let mut peer = Peer::playing();
    peer.session.take_counts();
    let mut game_ping = vec![];
    encode_ping([7; 8], &mut game_ping);
    for (opcode, payload) in [(Opcode::Binary, &game_ping[..]), (Opcode::Ping, b"?")] {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, opcode, payload, Some(MASK));
        peer.send(&bytes);
    }
    let counts = Counts { messages_in: 1, messages_out: 1, inputs_skipped: 0 };
    assert_eq!(peer.session.take_counts(), counts);
}

#[cfg(feature = "deflate")]
mod deflate;
