//! A whole connection of a server without its socket: request, hello, play or echo, goodbye.

use std::sync::Arc;
use std::time::Duration;

use tickyard::addresses::Addresses;
use tickyard::bridge::{Ask, Leave, RemovedWhy, RoomId};
use tickyard::close_reason::CloseReason;
use tickyard::config::limits::{INPUTS_MAX, REPLIES_BYTES_MAX};
use tickyard::http::ResponseHead;
use tickyard::lobby::{Hosted, Lobby};
use tickyard::protocol::fields::Field;
use tickyard::protocol::message::{
    ClientControl, Hello, Input, SUBPROTOCOL, Seek, VERSION, encode_client_control,
};
use tickyard::session::origins::Origins;
use tickyard::session::site::{Compression, Page, Site};
use tickyard::session::{Pulse, Session, Turn};
use tickyard::time::Time;
use tickyard::websocket::frame::{Header, Opcode, write_frame};
use tickyard::websocket::{self, Role, WebSocket};

use super::chunks::cuts;

/// A session says and asks the same in any chunks, answers in whole frames within its bounds, and is silent after its end.
///
/// The first byte chooses where the session stands when the bytes come; see [`super::chunks`] for the others.
pub fn session(bytes: &[u8]) {
    let Some((&start, bytes)) = bytes.split_first() else { return };
    let start = Start::ALL[usize::from(start) % Start::ALL.len()];
    let [_, _, singly] = cuts(bytes);
    let singly = story(start, &singly);
    for chunks in &cuts(bytes)[..2] {
        compare(story(start, chunks), &singly);
    }
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Accepted,
    Greeted,
    Playing,
    Echo,
}

impl Start {
    const ALL: [Start; 4] = [Start::Accepted, Start::Greeted, Start::Playing, Start::Echo];

    fn bytes(self) -> Vec<u8> {
        let mut bytes = match self {
            Start::Accepted => Vec::new(),
            Start::Greeted | Start::Playing => upgrade("/play"),
            Start::Echo => upgrade("/echo"),
        };
        if self == Start::Playing {
            bytes.extend(hello());
        }
        bytes
    }
}

/// All that a session said to the room, and how it ended.
#[derive(Debug, Default)]
struct Story {
    asks: Vec<(RoomId, Ask)>,
    inputs: Vec<Input>,
    skipped: u32,
    messages: u32,
    leave: Option<(RoomId, Leave)>,
    closing: Option<CloseReason>,
}

fn compare(story: Story, singly: &Story) {
    assert_eq!(story.asks, singly.asks);
    assert_eq!(story.leave, singly.leave);
    assert_eq!(story.closing, singly.closing);
    assert_eq!(story.messages, singly.messages);
    assert_eq!(singly.skipped, 0, "there was always room for one");
    // Inputs that come together with the end are not handed on, and long inputs come in pieces of more than a byte.
    let [heard, heard_singly] = [&story, singly].map(|story| story.inputs.len() + story.skipped as usize);
    let lost = heard.abs_diff(heard_singly);
    assert!(lost == 0 || (lost <= INPUTS_MAX && story.closing.is_some()), "{lost} inputs are lost");
    let mut all = singly.inputs.iter();
    let known = story.inputs.iter().take_while(|input| all.any(|other| other == *input)).count();
    let beyond = story.inputs.len() - known;
    assert!(beyond <= heard.saturating_sub(heard_singly), "in order");
}

fn story(start: Start, chunks: &[Vec<u8>]) -> Story {
    let mut stage = Stage::new();
    stage.hear(&start.bytes());
    for chunk in chunks {
        stage.hear(chunk);
    }
    // A last breath, for those who are waited for too long.
    stage.now = stage.now + Duration::from_secs(60);
    stage.turn(|session, turn| session.handle_timeout(turn));
    stage.settle();
    assert!(stage.session.closing().is_some(), "a silent peer is let go");
    stage.check_silence();
    check_answers(&stage.out);
    stage.story.closing = stage.session.closing();
    stage.story
}

/// A session and what is around it.
struct Stage {
    site: Site,
    session: Session,
    now: Time,
    out: Vec<u8>,
    heard: usize,
    story: Story,
}

impl Stage {
    fn new() -> Stage {
        let now = Time::from_secs(100);
        let site = site();
        // A proxy that is believed, so that what it says of its client is read too.
        let peer = site.addresses.arrive(([192, 0, 2, 1], 40_000).into()).expect("there is room");
        Stage {
            site,
            session: Session::new(now, peer),
            now,
            out: Vec::new(),
            heard: 0,
            story: Story::default(),
        }
    }

    fn turn<R>(&mut self, deed: impl FnOnce(&mut Session, &mut Turn) -> R) -> R {
        let mut turn =
            Turn { now: self.now, site: &self.site, pulse: Pulse::default(), out: &mut self.out, cost: 0 };
        deed(&mut self.session, &mut turn)
    }

    fn hear(&mut self, chunk: &[u8]) {
        self.heard += chunk.len();
        let (was_over, said) = (self.session.closing().is_some(), self.out.len());
        let mut bytes = chunk.to_vec();
        let mut input = &mut bytes[..];
        while !input.is_empty() {
            let before = input.len();
            let spent = self.turn(|session, turn| {
                session.handle_bytes(turn, &mut input);
                turn.is_spent()
            });
            assert!(input.is_empty() || self.session.has_ask() || spent, "it stops for nothing else");
            assert!(input.len() < before, "each call takes bytes");
            let told = self.settle();
            assert!(!told || !was_over, "no event after the end");
        }
        assert!(!was_over || said == self.out.len(), "no byte after the end");
        self.check_bounds();
    }

    /// Takes what the session has to say to the room. Returns whether there was anything.
    fn settle(&mut self) -> bool {
        if self.session.seeks().is_some() {
            self.session.sit(RoomId(7));
        }
        let ask = self.session.take_ask();
        if let Some((_, Ask::Join(_))) = &ask {
            self.session.joined(&[1, 0], &mut self.out);
        }
        let inputs = std::iter::from_fn(|| self.session.take_input()).map(|(_, input)| input);
        let inputs: Vec<Input> = inputs.collect();
        let counts = self.session.take_counts();
        let leave = self.session.take_leave();
        let told = ask.is_some() || leave.is_some() || !inputs.is_empty();
        assert!(inputs.len() <= INPUTS_MAX);
        self.story.asks.extend(ask);
        self.story.inputs.extend(inputs);
        self.story.skipped += counts.inputs_skipped;
        self.story.messages += counts.messages_in;
        if leave.is_some() {
            let joined = self.story.asks.iter().any(|(_, ask)| matches!(ask, Ask::Join(_)));
            assert!(joined, "who never asked for a seat does not leave one");
            assert_eq!(self.story.leave, None, "one leaves once");
            self.story.leave = leave;
        }
        told
    }

    /// Whatever the server has to say comes too late.
    fn check_silence(&mut self) {
        let (said, closing) = (self.out.len(), self.session.closing());
        self.session.joined(&[1, 0], &mut self.out);
        self.turn(|session, turn| session.removed(turn, RemovedWhy::RoomFailed));
        self.turn(Session::going_away);
        self.session.too_slow();
        assert_eq!((self.out.len(), self.session.closing()), (said, closing), "it has said its last word");
        assert!(self.session.take_leave().is_none() && !self.session.has_ask() && !self.session.has_input());
    }

    /// Nobody takes the answers away here.
    fn check_bounds(&self) {
        // An echo is the smallest masked frame and more, less its mask; a pong a turn, a page and a refusal are constants.
        let bound =
            if self.session.is_on_play() { REPLIES_BYTES_MAX } else { self.heard + REPLIES_BYTES_MAX };
        assert!(self.out.len() <= bound + 2048, "{} bytes wait, {} came", self.out.len(), self.heard);
    }
}

/// A response, and if it is an upgrade whole frames behind it, the last of which may be a close.
fn check_answers(out: &[u8]) {
    if out.is_empty() {
        return;
    }
    let (head, used) = ResponseHead::parse(out).unwrap().expect("a whole response");
    if head.status != 101 {
        return;
    }
    let limits = websocket::Limits { message_bytes_max: usize::MAX, fragments_max: 0 };
    let mut socket = WebSocket::new(Role::Client, limits);
    let mut frames = out[used..].to_vec();
    let mut input = &mut frames[..];
    while !socket.is_ended() {
        // A close takes all that is left: so hand in one frame's bytes at a time, by its header.
        let (header, start) = Header::parse(input).expect("a header").expect("a whole header");
        let len = start + header.len as usize;
        let (frame, rest) = std::mem::take(&mut input).split_at_mut(len);
        input = rest;
        let mut frame = frame;
        socket.read(&mut frame).expect("we write what the RFC allows").expect("one event a frame");
    }
    assert!(input.is_empty(), "nothing follows a close");
}

fn upgrade(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes()
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        version: VERSION,
        build: "",
        seek: Seek::JoinOrCreate("arena"),
        name: "Ada",
        options: &[],
        token: "",
        resume: &[],
        tags: Vec::new(),
    };
    let (mut message, mut frame) = (Vec::new(), Vec::new());
    encode_client_control(&ClientControl::Hello(hello), &mut message);
    write_frame(&mut frame, Opcode::Binary, &message, Some([1, 2, 3, 4]));
    frame
}

fn site() -> Site {
    const PAGES: &[Page] = &[Page { path: "/", content_type: "text/html", body: b"<p>hello" }];
    let input = vec![Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)];
    Site {
        lobby: Arc::new(Lobby::hosting(Hosted { name: "arena".into(), input, rooms_max: 1, seats: 1 })),
        pages: PAGES,
        echo: true,
        deflate: Compression::On,
        origins: Origins::LOOPBACK,
        addresses: Addresses::new(1, true, vec!["192.0.2.0/24".parse().expect("a network")]),
        ..Site::default()
    }
}
