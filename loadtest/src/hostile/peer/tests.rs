use super::super::kind::{Ending, SLOW_DEADLINE};
use super::*;
use crate::testing::{framed, welcome};
use tickyard::http::RequestHead;
use tickyard::websocket::frame::write_close;
use tickyard::websocket::{CloseCode, Event, Limits, Role, WebSocket};
use tickyard_protocol::message::{ClientControl, decode_client_control, from_client};

const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
const START: Time = Time::from_secs(100);

/// A peer, and all that it said and did.
struct Scene {
    peer: Peer,
    tally: Tally,
    now: Time,
    /// What it said since the last look.
    out: Vec<u8>,
    deeds: Vec<Deed>,
}

impl Scene {
    /// A peer that is about to connect.
    fn new(kind: Kind) -> Scene {
        let settings = Settings {
            host: "here".to_string(),
            target: "/play".to_string(),
            game: "arena".to_string(),
            seed: 7,
            deflate: false,
        };
        let peer = Peer::new(&Rc::new(settings), 0, kind, START);
        Scene { peer, tally: Tally::new(), now: START, out: Vec::new(), deeds: Vec::new() }
    }

    /// A peer that is connected.
    fn connected(kind: Kind) -> Scene {
        let mut scene = Scene::new(kind);
        scene.serve();
        scene.connect();
        scene
    }

    /// A peer that has a seat, and whose request and hello were looked at.
    fn joined(kind: Kind) -> Scene {
        let mut scene = Scene::connected(kind);
        scene.hear(UPGRADED);
        scene.hear(&framed(&welcome()));
        scene.out.clear();
        scene
    }

    fn connect(&mut self) {
        assert_eq!(self.deeds.pop(), Some(Deed::Connect));
        self.peer.handle_connected(self.now, &mut self.out, &mut self.tally);
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.peer.handle_bytes(self.now, &mut bytes.to_vec(), &mut self.out, &mut self.tally);
    }

    fn end(&mut self, reset: bool) {
        self.peer.handle_end(self.now, reset, None, &mut self.tally);
    }

    /// What is due is done.
    fn serve(&mut self) {
        let deed = self.peer.handle_timeout(self.now, true, &mut self.out, &mut self.tally);
        self.deeds.extend((deed != Deed::Nothing).then_some(deed));
    }

    /// All that is due in this time is done when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.peer.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.serve();
        }
        self.now = end;
    }

    fn count(&mut self) -> Count {
        self.tally.of(self.peer.kind()).clone()
    }
}

fn close(code: CloseCode) -> Vec<u8> {
    let mut out = Vec::new();
    write_close(&mut out, Some((code, "")), None);
    out
}

/// The messages and pings in a client's bytes, and whether nothing is left.
fn messages(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let limits = Limits { message_bytes_max: 1024, fragments_max: 4 };
    let (mut socket, mut rest, mut found) = (WebSocket::new(Role::Server, limits), &mut bytes[..], vec![]);
    while let Some(event) = socket.read(&mut rest).expect("frames by the rules") {
        match event {
            Event::Binary(message) => found.push(message.to_vec()),
            Event::Ping(payload) => found.push(payload.to_vec()),
            other => panic!("{other:?}"),
        }
    }
    found
}

#[test]
fn who_drips_a_request_sends_a_byte_a_second_and_is_owed_a_408() {
    let mut scene = Scene::connected(Kind::SlowHandshake);
    scene.pass(Duration::from_millis(8_500));
    assert_eq!(scene.out, b"GET /play");
    scene.hear(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
    scene.end(false);
    let count = scene.count();
    assert_eq!((count.as_owed, count.wrong.count), (1, 0));
    assert_eq!(count.endings, [(Ending::Status(408), 1)].into());
}

#[test]
fn a_dripped_request_has_no_end() {
    let mut scene = Scene::connected(Kind::SlowHandshake);
    for _ in 0..100 {
        let at = scene.peer.next.unwrap();
        scene.peer.since = at;
        scene.now = at;
        scene.serve();
    }
    assert_eq!(scene.out.len(), 100);
    assert!(RequestHead::parse(&scene.out).unwrap().is_none());
}

#[test]
fn single_bytes_are_a_request_a_hello_and_inputs_by_the_rules() {
    let mut scene = Scene::connected(Kind::SingleBytes);
    let mut said = Vec::new();
    for _ in 0..700 {
        scene.now = scene.peer.next.unwrap();
        scene.serve();
        assert!(scene.out.len() <= 1, "one byte at a time");
        said.append(&mut scene.out);
        if said.ends_with(b"\r\n\r\n") {
            scene.hear(UPGRADED);
            scene.hear(&framed(&welcome()));
        }
    }
    let (head, used) = RequestHead::parse(&said).unwrap().expect("a whole request");
    assert_eq!((head.path, head.headers.get("host")), ("/play", Some("here")));
    let found = messages(said.split_off(used));
    let hello = decode_client_control(&found[0][1..]);
    assert!(matches!(&hello, Ok(ClientControl::Hello(hello)) if hello.name == "hostile"), "{hello:?}");
    assert!(found.len() > 3 && found[1..].iter().all(|message| message[0] == from_client::INPUT));
    assert_eq!(scene.count().wrong.count, 0);
}

#[test]
fn who_plays_in_single_bytes_must_not_be_closed() {
    let mut scene = Scene::connected(Kind::SingleBytes);
    scene.hear(UPGRADED);
    scene.hear(&framed(&welcome()));
    scene.hear(&close(CloseCode::POLICY));
    scene.end(false);
    let count = scene.count();
    assert_eq!((count.upgraded, count.joined, count.as_owed), (1, 1, 0));
    assert_eq!(count.wrong.spelt, ["close 1008 (attempt 0 of seed 7)"]);
}

#[test]
fn who_never_reads_stops_with_the_welcome_and_stays_heard() {
    let mut scene = Scene::connected(Kind::NeverReading);
    scene.hear(UPGRADED);
    assert!(scene.peer.reads());
    scene.hear(&framed(&welcome()));
    assert!(!scene.peer.reads());
    scene.out.clear();
    scene.pass(Duration::from_millis(700));
    let wants = messages(std::mem::take(&mut scene.out));
    assert_eq!(wants.iter().map(|want| want[0]).collect::<Vec<_>>(), [from_client::WANT; 3 * 4]);

    scene.pass(SLOW_DEADLINE);
    assert_eq!(scene.count().wrong.spelt, ["not closed in 90 s (attempt 0 of seed 7)"]);
}

#[test]
fn a_flood_is_a_quarter_million_tiny_messages_a_second() {
    let mut scene = Scene::joined(Kind::MessageFlood);
    scene.pass(Duration::from_millis(99));
    let found = messages(std::mem::take(&mut scene.out));
    assert_eq!(found.len(), 25_000);
    assert!(found.iter().all(|message| message[0] == from_client::INPUT && message.len() < 16));
}

#[test]
fn a_flood_leaves_a_strike_out_while_the_one_before_waits() {
    let mut scene = Scene::joined(Kind::PingFlood);
    let deed = scene.peer.handle_timeout(scene.now, false, &mut scene.out, &mut scene.tally);
    assert_eq!((deed, scene.out.len()), (Deed::Nothing, 0));
    assert!(scene.peer.next > Some(scene.now));
    scene.pass(Duration::from_millis(5));
    assert_eq!(messages(std::mem::take(&mut scene.out)).len(), 250);
}

#[test]
fn a_flood_that_the_shared_budget_holds_back_is_owed_nothing_meanwhile() {
    let mut scene = Scene::joined(Kind::MessageFlood);
    assert!(!scene.peer.hold_back(scene.now), "the first strike is made in any case");
    scene.serve();
    assert_eq!(messages(std::mem::take(&mut scene.out)).len(), 1_250);

    let begun = scene.now;
    while scene.now < begun + Duration::from_secs(50) {
        scene.now = scene.peer.next.expect("a flood goes on");
        assert!(scene.peer.hold_back(scene.now));
        assert!(!scene.peer.hold_back(scene.now), "the next one is not due yet");
        scene.serve();
    }
    assert!(scene.count().wrong.spelt.is_empty() && scene.out.is_empty());

    scene.pass(Duration::from_secs(6));
    assert_eq!(scene.count().wrong.spelt, ["not closed in 5 s (attempt 0 of seed 7)"]);
}

#[test]
fn a_storm_connects_and_resets_and_is_back_soon() {
    let mut scene = Scene::new(Kind::RstStorm);
    for _ in 0..20 {
        scene.pass(Duration::from_millis(150));
        if scene.deeds.last() == Some(&Deed::Connect) {
            scene.connect();
            scene.serve();
            assert_eq!(scene.deeds.pop(), Some(Deed::Reset));
        }
    }
    let count = scene.count();
    assert_eq!((count.connects, count.connected, count.wrong.count), (20, 20, 0));
}

#[test]
fn a_connect_is_put_off_while_there_are_too_many() {
    let mut scene = Scene::new(Kind::RstStorm);
    let deed = scene.peer.handle_timeout(scene.now, false, &mut scene.out, &mut scene.tally);
    assert_eq!((deed, scene.count().connects), (Deed::Nothing, 0));
    assert_eq!(scene.peer.poll_timeout(), Some(START + PUT_OFF));
    scene.pass(PUT_OFF);
    assert_eq!(scene.deeds, [Deed::Connect]);
}

#[test]
fn who_was_closed_comes_back_after_a_pause_with_the_next_attack() {
    let mut scene = Scene::connected(Kind::BrokenFrames);
    scene.hear(UPGRADED);
    scene.out.clear();
    scene.serve();
    let first = std::mem::take(&mut scene.out);
    scene.hear(&close(CloseCode::PROTOCOL));
    scene.end(false);
    assert!(!scene.peer.is_alive());
    scene.pass(Duration::from_millis(749));
    assert_eq!(scene.deeds, []);
    scene.pass(Duration::from_millis(1_501));
    scene.connect();
    scene.hear(UPGRADED);
    scene.out.clear();
    scene.serve();
    assert!(!scene.out.is_empty() && scene.out != first);
    assert_eq!(scene.count().as_owed, 1);
}

#[test]
fn a_seed_decides_what_a_peer_says() {
    let noise = |kind| {
        let mut scene = Scene::connected(kind);
        scene.pass(Duration::from_secs(1));
        scene.out
    };
    assert_eq!(noise(Kind::Garbage), noise(Kind::Garbage));
    assert!(noise(Kind::Garbage).len() > 600);
}

#[test]
fn another_code_than_the_one_owed_is_wrong() {
    let mut scene = Scene::joined(Kind::BadMessages);
    scene.serve();
    scene.hear(&close(CloseCode::INTERNAL));
    scene.end(false);
    let count = scene.count();
    assert_eq!((count.as_owed, count.turned_away), (0, 0));
    assert_eq!(count.wrong.spelt, ["close 1011 (attempt 0 of seed 7)"]);
}

#[test]
fn every_other_close_is_answered_and_each_is_followed_by_a_drop() {
    let mut scene = Scene::connected(Kind::BrokenFrames);
    for life in 0..2 {
        scene.hear(UPGRADED);
        scene.serve();
        scene.out.clear();
        scene.hear(&close(CloseCode::PROTOCOL));
        let mask = scene.out.get(2..6).map(|mask| mask.try_into().unwrap());
        let mut answer = Vec::new();
        write_close(&mut answer, Some((CloseCode::PROTOCOL, "")), mask);
        assert_eq!(scene.out, if life == 0 { answer } else { vec![] });
        scene.pass(GOODBYE - Duration::from_millis(1));
        assert_eq!(scene.count().wrong.count, life);
        scene.pass(Duration::from_millis(1));
        assert_eq!(scene.deeds.pop(), Some(Deed::Reset));
        scene.pass(Duration::from_millis(2_300));
        scene.connect();
    }
    let wrong = scene.count().wrong;
    assert_eq!(wrong.spelt[0], "told the end, and not dropped in 12 s (attempt 0 of seed 7)");
}

#[test]
fn an_end_before_any_wrong_was_done_is_wrong() {
    let mut scene = Scene::connected(Kind::PingFlood);
    scene.hear(UPGRADED);
    scene.end(true);
    assert_eq!(scene.count().wrong.spelt, ["reset before it did any wrong (attempt 0 of seed 7)"]);
}

#[test]
fn for_want_of_room_nobody_is_accused() {
    let mut full = Scene::connected(Kind::PingFlood);
    full.hear(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    full.end(false);
    let count = full.count();
    assert_eq!((count.turned_away, count.wrong.count, count.as_owed), (1, 0, 0));
}

#[test]
fn who_is_silent_is_owed_an_end_in_time() {
    let mut scene = Scene::connected(Kind::Silent);
    scene.pass(DEADLINE - Duration::from_millis(1));
    assert_eq!((scene.deeds.len(), scene.out.len()), (0, 0));
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.deeds, [Deed::Reset]);
    assert_eq!(scene.count().wrong.spelt, ["not closed in 16 s (attempt 0 of seed 7)"]);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut scene = Scene::connected(Kind::BrokenFrames);
    scene.pass(Duration::from_secs(10));
    assert_eq!(scene.count().wrong.spelt, ["not upgraded in 10 s (attempt 0 of seed 7)"]);
    assert_eq!(scene.deeds, [Deed::Reset]);
}

#[test]
fn a_connect_that_fails_is_wrong() {
    let mut scene = Scene::new(Kind::Silent);
    scene.serve();
    scene.peer.handle_end(scene.now, true, Some("connection refused".to_string()), &mut scene.tally);
    assert_eq!(scene.count().wrong.spelt, ["connect: connection refused"]);
    assert_eq!(scene.count().connected, 0);
}
