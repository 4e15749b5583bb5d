//! What strangers send to hurt. After each attack exactly one counter has moved, by as many as there were, and who plays
//! beside it has missed nothing: [`Client`] fails at the first gap.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tickyard::Config;
use tickyard::close_reason::CloseReason;

use crate::common::client::{Client, End, hello};
use crate::common::http::{dial, upgrade_request};
use crate::common::lab::Lab;
use crate::common::{House, config, until};

/// Connections that try the same.
const ATTACKERS: u64 = 3;

/// A server with somebody who plays on it.
struct Scene {
    // It goes first: the server would wait for its answer to the last close.
    bystander: Client,
    house: House,
    stamp: u64,
}

impl Scene {
    fn open(config: Config) -> Scene {
        let house = House::open(config, |server| server.game("lab", |_| Lab::with_dots(20)));
        let bystander = Client::join(house.address(), "lab", "Bystander");
        Scene { house, bystander, stamp: 0 }
    }

    fn closes(&self) -> Vec<u64> {
        CloseReason::ALL.iter().map(|&reason| self.house.metrics().closes.get(reason)).collect()
    }

    /// Does it `ATTACKERS` times at once, and looks what came of it.
    fn attack(&mut self, name: &str, reason: CloseReason, deed: impl Fn(&Scene) + Sync) {
        let mut expected = self.closes();
        expected[reason as usize] += ATTACKERS;
        let scene = &*self;
        thread::scope(|scope| {
            for _ in 0..ATTACKERS {
                scope.spawn(|| deed(scene));
            }
        });
        until(&format!("{name}: only the bystander is left"), || self.house.metrics().connections.get() == 1);
        assert_eq!(self.closes(), expected, "{name}: {reason:?} moved by {ATTACKERS}, and nothing else");
        self.stamp += 1;
        self.bystander.until_answered(self.stamp);
    }

    /// What comes back for these bytes, up to the end.
    fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let stream = dial(self.house.address());
        let mut sender = stream.try_clone().unwrap();
        let mut answer = Vec::new();
        thread::scope(|scope| {
            // Who is answered before it has said all may be cut off while it still speaks.
            scope.spawn(move || drop(sender.write_all(bytes)));
            let mut stream = stream;
            let _ = stream.read_to_end(&mut answer);
            let _ = stream.shutdown(Shutdown::Both);
        });
        answer
    }

    fn status(&self, bytes: &[u8]) -> Option<u16> {
        let answer = String::from_utf8(self.answer(bytes)).expect("an answer in text");
        answer.split(' ').nth(1).map(|status| status.parse().unwrap())
    }

    fn request(&self, path: &str) -> String {
        upgrade_request(self.house.address(), path)
    }
}

#[test]
fn a_request_that_is_no_upgrade_gets_its_status_and_never_becomes_frames() {
    let mut scene = Scene::open(config());
    let good = scene.request("/play");
    let with = |old: &str, new: &str| good.replace(old, new).into_bytes();
    let host = good.lines().nth(1).unwrap();
    let and = |line: &str| with("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    // A close frame, masked with zeros: as a frame it would be answered.
    let body = [and("Content-Length: 6"), b"\x88\x80\0\0\0\0".to_vec()].concat();
    let chunked = [and("Transfer-Encoding: chunked"), b"\x88\x80\0\0\0\0".to_vec()].concat();
    for (name, bytes, status, reason) in [
        ("version 12", with("Version: 13", "Version: 12"), 426, CloseReason::BadHandshake),
        (
            "a key of 15 bytes",
            with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
            400,
            CloseReason::BadHandshake,
        ),
        ("POST", with("GET ", "POST "), 405, CloseReason::BadHandshake),
        ("HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), 505, CloseReason::BadHandshake),
        ("no Host", with(&format!("{host}\r\n"), ""), 400, CloseReason::BadRequest),
        ("two of Host", and(host), 400, CloseReason::BadRequest),
        ("a NUL", and("X: a\0b"), 400, CloseReason::BadRequest),
        ("a lone CR", and("X: a\rb"), 400, CloseReason::BadRequest),
        ("a space before a colon", and("X : a"), 400, CloseReason::BadRequest),
        ("a body", body, 400, CloseReason::BadHandshake),
        ("a body in chunks", chunked, 400, CloseReason::BadHandshake),
        ("a foreign page", and("Origin: https://evil.example"), 403, CloseReason::ForbiddenOrigin),
        ("a page without an origin", and("Origin: null"), 403, CloseReason::ForbiddenOrigin),
    ] {
        scene.attack(name, reason, |scene| {
            assert_eq!(scene.status(&bytes), Some(status), "{name}");
        });
    }
}

#[test]
fn a_request_without_end_is_answered_at_its_limit_and_not_read_further() {
    let mut scene = Scene::open(config());
    let start = "GET /play HTTP/1.1\r\nHost: x\r\n";
    for (name, bytes, status) in [
        ("a header of 20 MB", [start, "X: ", &"y".repeat(20_000_000)].concat(), 431),
        ("50,000 headers", [start, &"X: y\r\n".repeat(50_000)].concat(), 431),
        ("a target of 200 KB", format!("GET /{} HTTP/1.1\r\n", "x".repeat(200_000)), 414),
    ] {
        scene.attack(name, CloseReason::HeadTooLarge, |scene| {
            assert_eq!(scene.status(bytes.as_bytes()), Some(status), "{name}");
        });
    }
}

#[test]
fn what_is_not_http_is_dropped_without_a_word() {
    let mut scene = Scene::open(config());
    for (name, bytes) in [
        ("a TLS hello", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..]),
        ("noise", b"\x00\x9f\xe3\x01\xff\xff\x80"),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        scene.attack(name, CloseReason::NotHttp, |scene| {
            assert_eq!(scene.answer(bytes), b"", "{name}");
        });
    }
}

#[test]
fn an_offer_of_extensions_that_is_huge_changes_nothing_and_what_is_none_is_refused() {
    let mut scene = Scene::open(config());
    let huge = "permessage-deflate; server_max_window_bits=99, ".repeat(150);
    for offer in [";;;,,,", "permessage-deflate; x=\"", "\""] {
        let request = with_offer(&scene.request("/play"), offer);
        scene.attack(offer, CloseReason::BadHandshake, |scene| {
            let answer = scene.answer(request.as_bytes());
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{offer}: {answer:?}");
        });
    }
    for offer in ["permessage-deflate; x=1", "x-unheard-of; a=b", &huge] {
        let request = with_offer(&scene.request("/play"), offer);
        scene.attack(offer, CloseReason::NormalByPeer, |scene| {
            // A close without a code.
            let answer = scene.answer(&[request.as_bytes(), b"\x88\x80\0\0\0\0"].concat());
            assert!(answer.ends_with(b"\r\n\r\n\x88\x00"), "{offer}: {answer:?}");
            let head = String::from_utf8_lossy(&answer);
            assert!(head.starts_with("HTTP/1.1 101 "), "{offer}: {head}");
            assert!(!head.to_lowercase().contains("extensions"), "{offer}: {head}");
        });
    }
}

fn with_offer(request: &str, offer: &str) -> String {
    request.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"))
}

#[test]
fn a_handshake_in_single_bytes_is_one_and_a_frame_right_behind_it_is_answered_after_it() {
    let mut scene = Scene::open(Config { echo: true, ..config() });
    let request = scene.request("/echo");
    // "hi", and a close without a code.
    let bytes = [request.as_bytes(), b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0"].concat();
    let expected: &[u8] = b"\r\n\r\n\x81\x02hi\x88\x00";
    scene.attack("in one piece", CloseReason::NormalByPeer, |scene| {
        assert!(scene.answer(&bytes).ends_with(expected));
    });
    scene.attack("in single bytes", CloseReason::NormalByPeer, |scene| {
        let mut stream = dial(scene.house.address());
        bytes.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(expected), "{answer:?}");
    });
}

/// Frames are masked with zeros, so that they can be read here.
#[test]
fn each_broken_frame_is_closed_with_its_code_and_nothing_of_it_is_played() {
    let mut scene = Scene::open(Config { echo: true, ..config() });
    let fragments =
        |count: usize, fragment: &[u8]| [&b"\x02\x80\0\0\0\0"[..], &fragment.repeat(count)].concat();
    let long =
        [&b"\x02\xfe\x30\x00\0\0\0\0"[..], &[7; 0x3000], b"\x80\xfe\x30\x00\0\0\0\0", &[7; 0x3000]].concat();
    let bad = |code: u16| [&b"\x88\x82\0\0\0\0"[..], &code.to_be_bytes()].concat();
    let protocol = |bytes: &[u8]| ("/play", bytes.to_vec(), 1002, CloseReason::ProtocolError);
    let mut attacks = vec![
        ("an unmasked frame", protocol(b"\x82\x01\x01")),
        ("opcode 3", protocol(b"\x83\x80\0\0\0\0")),
        ("opcode 11", protocol(b"\x8b\x80\0\0\0\0")),
        ("a reserved bit", protocol(b"\xc2\x80\0\0\0\0")),
        ("half a ping", protocol(b"\x09\x80\0\0\0\0")),
        ("a ping of 126 bytes", protocol(b"\x89\xfe\x00\x7e\0\0\0\0")),
        ("a continuation of nothing", protocol(b"\x80\x80\0\0\0\0")),
        ("2^63 bytes", protocol(b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0")),
        ("2^64 - 1 bytes", protocol(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")),
        ("half a close code", protocol(b"\x88\x81\0\0\0\0\x03")),
        ("2^62 bytes", ("/play", b"\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0".to_vec(), 1009, CloseReason::TooBig)),
        ("2^32 bytes", ("/echo", b"\x82\xff\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec(), 1009, CloseReason::TooBig)),
        ("24 KiB in two pieces", ("/play", long, 1009, CloseReason::TooBig)),
        ("30,000 fragments", ("/play", fragments(30_000, b"\x00\x81\0\0\0\0\x03"), 1008, CloseReason::Rate)),
        (
            "30,000 empty fragments",
            ("/play", fragments(30_000, b"\x00\x80\0\0\0\0"), 1008, CloseReason::Rate),
        ),
        ("text that is none", ("/echo", b"\x81\x81\0\0\0\0\xff".to_vec(), 1007, CloseReason::InvalidUtf8)),
        (
            "a reason that is no text",
            ("/play", b"\x88\x83\0\0\0\0\x03\xe8\xff".to_vec(), 1007, CloseReason::InvalidUtf8),
        ),
        ("text", ("/play", b"\x81\x82\0\0\0\0hi".to_vec(), 1003, CloseReason::Unsupported)),
    ];
    attacks.extend([0, 999, 1005, 1006, 2999, 65_535].map(|code| ("a close code", protocol(&bad(code)))));
    for (name, (path, bytes, code, reason)) in attacks {
        scene.attack(name, reason, |scene| {
            let address = scene.house.address();
            let mut client = Client::over(TcpStream::connect(address).unwrap(), address, path);
            client.stream().write_all(&bytes).unwrap();
            assert_eq!(client.until_the_end(), End::Close(code), "{name}");
        });
    }
}

#[test]
fn a_message_that_no_game_understands_ends_its_sender_and_never_reaches_the_game() {
    let lab = Lab::default();
    let notes = std::sync::Arc::clone(&lab.notes);
    let house = House::open(config(), |server| server.game("lab", move |_| lab.clone()));
    let bystander = Client::join(house.address(), "lab", "Bystander");
    let mut scene = Scene { house, bystander, stamp: 0 };
    // An input of the lab is two numbers from -100 to 100; 255 in a varint is beyond them, a cut off one is none.
    for (name, message) in [
        ("nothing", vec![]),
        ("an unknown type", vec![99]),
        ("an input without its fields", vec![2, 1, 0, 0]),
        ("an input beyond its range", vec![2, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a want that is cut off", vec![5, 200]),
    ] {
        scene.attack(name, CloseReason::BadMessage, |scene| {
            let mut client = Client::join(scene.house.address(), "lab", "Eve");
            client.send(message.clone());
            assert_eq!(client.until_the_end(), End::Close(1008), "{name}");
        });
    }
    let notes = notes.lock().unwrap();
    assert_eq!((notes.inputs, notes.messages.len()), (0, 0), "the game heard of nothing");
}

#[test]
fn who_ends_tcp_in_the_handshake_or_amid_a_frame_is_gone() {
    let mut scene = Scene::open(config());
    let upgrade = scene.request("/play").into_bytes();
    for (name, bytes) in [
        ("before a byte", vec![]),
        ("within the request", upgrade[..40].to_vec()),
        ("within a header", [&upgrade[..], b"\x82\xfe"].concat()),
        ("within a payload", [&upgrade[..], b"\x82\x8a\0\0\0\0\x01"].concat()),
    ] {
        scene.attack(name, CloseReason::PeerGone, |scene| {
            let mut stream = dial(scene.house.address());
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(!answer.contains(&0x88), "{name}: no close frame, as nobody would read it: {answer:?}");
        });
    }
}

#[test]
fn after_a_storm_of_resets_every_slot_is_free_again() {
    let room = 40;
    let mut scene = Scene::open(Config { connections_max: room, ..config() });
    let address = scene.house.address();
    let upgrade = scene.request("/play").into_bytes();
    for round in 0..2000 {
        let mut stream = dial(address);
        let said = [0, 20, upgrade.len()][round % 3];
        let _ = stream.write_all(&upgrade[..said]);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    until("only the bystander is left", || scene.house.metrics().connections.get() == 1);
    scene.bystander.until_answered(1);

    let mut crowd: Vec<Client> = (1..room).map(|_| Client::knock(address)).collect();
    assert_eq!(scene.house.metrics().connections.get(), room as i64);
    crowd.last_mut().unwrap().say_hello(&hello("lab", "Last"));
    crowd.last_mut().unwrap().until_it_sees_all();
    // And one more than there is room for is told so.
    let before = scene.house.metrics().closes.get(CloseReason::Full);
    assert_eq!(scene.status(&upgrade), Some(503));
    until("it is counted", || scene.house.metrics().closes.get(CloseReason::Full) == before + 1);
}
