//! A client that judges all it is told.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tickyard_protocol::delta::ReadEntity;
use tickyard_protocol::fields::{FIELDS_MAX, Shapes};
use tickyard_protocol::message::{
    self as wire, ClientControl, Hello, Input, Pong, Refused, SUBPROTOCOL, Seek, ServerControl, VERSION,
    Welcome, from_server,
};
use tickyard_protocol::repair::{Mender, Repair, Told};
use tickyard_protocol::replica::{Hears, Replica};
use tickyard_protocol::tick::{Blocks, HEADER_BYTES, Reliable, VIEW_COMPLETE, block};
use tickyard_protocol::types::{CellId, PlayerId, Seq, Tick};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::PATIENCE;
use super::http::dial_with_small_buffer;
use super::tls::Wire;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A close frame with this code.
    Close(u16),
    /// A close frame without a code.
    CloseOnly,
    /// TCP ended, or was reset, without a close frame.
    Cut,
}

/// Breaks a message on its way.
pub type Damage = Box<dyn FnMut(&Replica, &mut Vec<u8>) -> bool + Send + Sync>;

/// What a reliable message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Message(String, Vec<u8>),
    Chat(PlayerId, String, String),
    Award(i32, String),
}

/// A client, from the upgrade to the end.
pub struct Client {
    socket: WebSocket<Wire>,
    pub welcome: Option<Welcome>,
    pub refused: Option<Refused>,
    pub end: Option<End>,
    /// What the close frame said.
    pub reason: String,
    pub replica: Replica,
    pub ears: Ears,
    pub pongs: Vec<Pong>,
    /// The ticks of the messages heard.
    pub ticks: Vec<u32>,
    /// Snapshots heard.
    pub snapshots: u64,
    /// By tick, for the last ones: what the world looked like when the view was complete.
    pub worlds: BTreeMap<u32, u64>,
    /// Whether reliable messages are acknowledged as they come.
    pub acknowledges: bool,
    /// What is done to a tick message before it is heard, by a replica as it was before. Returns whether it was done; then no more.
    pub damage: Option<Damage>,
    /// What it asked for because its world was broken; only who was damaged may.
    pub repairs: Vec<Repair>,
    mender: Option<Mender>,
    seq: u32,
    number: u32,
}

/// What was said beside the state of the world.
#[derive(Default)]
pub struct Ears {
    pub heard: Vec<Heard>,
    pub sparks: Vec<(String, Vec<u8>)>,
}

impl Hears for Ears {
    fn reliable(&mut self, _number: u32, message: Reliable) {
        self.heard.push(match message {
            Reliable::Message { kind, payload } => Heard::Message(kind.into(), payload.into()),
            Reliable::Chat { player, name, text } => Heard::Chat(player, name.into(), text.into()),
            Reliable::Award { points, reason } => Heard::Award(points, reason.into()),
            other => panic!("{other:?}"),
        });
    }

    fn transient(&mut self, _cell: CellId, kind: &str, payload: &[u8]) {
        self.sparks.push((kind.into(), payload.into()));
    }
}

/// A hello to a game, by name.
pub fn hello<'a>(game: &'a str, name: &'a str) -> Hello<'a> {
    let seek = Seek::JoinOrCreate(game);
    Hello { version: VERSION, build: "", seek, name, options: &[], token: "", resume: &[], tags: vec![] }
}

impl Client {
    /// Connects and upgrades; no hello yet.
    pub fn knock(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).unwrap(), address, "/play")
    }

    /// Like [`Client::knock`], with a receive buffer as small as the kernel allows: who reads no more is noticed soon.
    pub fn knock_with_small_buffer(address: SocketAddr) -> Client {
        Client::over(dial_with_small_buffer(address), address, "/play")
    }

    /// Upgrades on a path.
    pub fn over(stream: impl Into<Wire>, address: SocketAddr, path: &str) -> Client {
        let mut stream = stream.into();
        stream.tcp().set_nodelay(true).unwrap();
        stream.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        if path == "/play" {
            request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
        }
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let (mut socket, _) = tungstenite::client::client_with_config(request, stream, Some(config)).unwrap();
        socket.get_mut().tcp().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Client {
            socket,
            welcome: None,
            refused: None,
            end: None,
            reason: String::new(),
            replica: Replica::default(),
            ears: Ears::default(),
            pongs: vec![],
            ticks: vec![],
            snapshots: 0,
            worlds: BTreeMap::new(),
            acknowledges: true,
            damage: None,
            repairs: vec![],
            mender: None,
            seq: 0,
            number: 0,
        }
    }

    /// Gets in and sees all there is to see.
    pub fn join(address: SocketAddr, game: &str, name: &str) -> Client {
        let mut client = Client::knock(address);
        client.say_hello(&hello(game, name));
        client.until_it_sees_all();
        client
    }

    pub fn say_hello(&mut self, hello: &Hello) {
        self.control(&ClientControl::Hello(hello.clone()));
    }

    /// Who it is.
    pub fn player(&self) -> PlayerId {
        self.welcome.as_ref().expect("it was welcomed").player
    }

    /// Sends an input.
    pub fn walk(&mut self, dx: i32, dy: i32) {
        self.seq += 1;
        let mut row = [0; FIELDS_MAX];
        (row[0], row[1]) = (dx, dy);
        let ack = self.replica.reliable_heard();
        let mut bytes = vec![];
        Input { seq: Seq(self.seq), ack, render_tick: 0, row }.encode(2, &mut bytes);
        self.send(bytes);
    }

    /// Sends an input under the number of the last one.
    pub fn walk_again(&mut self) {
        self.seq -= 1;
        self.walk(0, 0);
    }

    /// Sends a reliable message.
    pub fn tell(&mut self, kind: &str, payload: &[u8]) {
        self.number += 1;
        let message = wire::Message { number: self.number, kind, payload, tags: vec![] };
        self.control(&ClientControl::Message(message));
    }

    pub fn chat(&mut self, text: &str) {
        self.tell("chat", text.as_bytes());
    }

    pub fn ping(&mut self, stamp: u64) {
        let mut bytes = vec![];
        wire::encode_ping(stamp.to_le_bytes(), &mut bytes);
        self.send(bytes);
    }

    pub fn want(&mut self, cells: &[CellId]) {
        let mut bytes = vec![];
        wire::encode_want(cells, &mut bytes);
        self.send(bytes);
    }

    /// Sends a message as it is. A connection that is closed already takes nothing.
    pub fn send(&mut self, bytes: Vec<u8>) {
        self.send_message(Message::Binary(bytes.into()));
    }

    pub fn send_message(&mut self, message: Message) {
        match self.socket.send(message) {
            Ok(())
            | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Protocol(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The socket itself, for bytes that no WebSocket sends.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut().tcp()
    }

    /// The WebSocket itself, for what a player does not do.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub fn socket(&mut self) -> &mut WebSocket<Wire> {
        &mut self.socket
    }

    /// Leaves in order.
    pub fn leave(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
        self.socket.close(Some(frame)).unwrap();
        self.until("the close is answered", |client| client.end.is_some());
        assert_eq!(self.end, Some(End::Close(1000)));
    }

    /// Ends TCP at once, with a reset.
    pub fn vanish(mut self) {
        SockRef::from(&*self.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Takes one message, if one is there soon.
    pub fn listen(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        match self.socket.read() {
            Ok(message) => {
                let is_close = message.is_close();
                self.take(message);
                if is_close {
                    // Its answer to the close is written, but waits for the next call.
                    let _ = self.socket.flush();
                }
            }
            Err(Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                return false;
            }
            Err(_) => self.end = Some(End::Cut),
        }
        true
    }

    /// Listens until it is so.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Client) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            assert!(self.listen() || self.end.is_none(), "ended with {:?} before: {what}", self.end);
        }
    }

    pub fn until_it_sees_all(&mut self) {
        self.until("the view is complete", |client| {
            !client.ticks.is_empty() && client.replica.view_is_complete()
        });
    }

    /// Listens to the end, and says how it was.
    pub fn until_the_end(&mut self) -> End {
        self.until("the connection ends", |client| client.end.is_some());
        self.end.unwrap()
    }

    /// Listens until everything that was sent before has been worked on and answered.
    pub fn until_answered(&mut self, stamp: u64) {
        self.ping(stamp);
        self.until("the ping is answered", |client| client.has_pong(stamp));
    }

    pub fn has_pong(&self, stamp: u64) -> bool {
        self.pongs.iter().any(|pong| pong.stamp == stamp.to_le_bytes())
    }

    /// An entity by its name.
    pub fn sees(&self, name: &str) -> Option<ReadEntity<'_>> {
        self.replica.entities().find(|entity| entity.statics == name)
    }

    /// Lines of chat heard so far.
    pub fn lines(&self) -> Vec<&str> {
        let text = |heard: &'_ Heard| matches!(heard, Heard::Chat(..));
        self.ears.heard.iter().filter(|heard| text(heard)).map(Heard::text).collect()
    }

    /// Reliable messages of a kind heard so far.
    pub fn messages(&self, wanted: &str) -> Vec<&[u8]> {
        let messages = self.ears.heard.iter().filter_map(|heard| match heard {
            Heard::Message(kind, payload) => Some((kind, payload.as_slice())),
            _ => None,
        });
        messages.filter(|(kind, _)| *kind == wanted).map(|(_, payload)| payload).collect()
    }

    fn control(&mut self, message: &ClientControl) {
        let mut bytes = vec![];
        wire::encode_client_control(message, &mut bytes);
        self.send(bytes);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Binary(bytes) => self.take_binary(&bytes),
            Message::Close(Some(frame)) => {
                self.end = Some(End::Close(frame.code.into()));
                self.reason = frame.reason.to_string();
            }
            Message::Close(None) => self.end = Some(End::CloseOnly),
            // tungstenite answers pings by itself, with the next message or read.
            Message::Pong(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn take_binary(&mut self, bytes: &[u8]) {
        match bytes[0] {
            from_server::CONTROL => match wire::decode_server_control(&bytes[1..]).unwrap() {
                ServerControl::Welcome(welcome) => {
                    assert!(self.welcome.is_none(), "a second welcome");
                    assert!(self.ticks.is_empty(), "the welcome comes first");
                    self.replica = Replica::new(Shapes::new(&welcome.schema.kinds).unwrap());
                    self.welcome = Some(welcome);
                }
                ServerControl::Refused(refused) => self.refused = Some(refused),
                other => panic!("{other:?}"),
            },
            from_server::TICK => self.take_damaged(bytes.to_vec()),
            from_server::PONG => self.pongs.push(Pong::decode(&bytes[1..]).unwrap()),
            other => panic!("a message of type {other}"),
        }
    }

    fn take_damaged(&mut self, mut bytes: Vec<u8>) {
        if let Some(mut damage) = self.damage.take() {
            match damage(&self.replica, &mut bytes) {
                true => self.mender = Some(Mender::default()),
                false => self.damage = Some(damage),
            }
        }
        if !bytes.is_empty() {
            self.take_tick(&bytes);
        }
    }

    /// Who was damaged may find something, and asks for a repair.
    fn mend(&mut self) {
        let (tick, view) = (self.replica.header().tick, self.replica.view_was_told());
        let told = Told { tick, view, complete: self.replica.view_is_complete() };
        let found = self.replica.take_mismatch();
        let Some(mender) = &mut self.mender else { return assert_eq!(found, None, "at tick {}", tick.0) };
        if let Some(repair) = mender.heard(told, found) {
            let mut bytes = vec![];
            repair.encode(&mut bytes);
            self.send(bytes);
            self.repairs.push(repair);
        }
    }

    fn take_tick(&mut self, bytes: &[u8]) {
        assert!(self.welcome.is_some(), "a tick before the welcome");
        let before = self.replica.reliable_heard();
        self.note_silence(bytes);
        self.replica.apply(&bytes[1..], &mut self.ears).unwrap();
        let counts = self.replica.counts();
        let wrong = [counts.violations, counts.desyncs, counts.blocks_unknown, counts.reliable_unknown];
        let is_right = wrong == [0; 4] || self.mender.is_some();
        assert!(is_right, "violations, desyncs, unknown blocks, unknown reliable messages: {wrong:?}");
        self.mend();
        let tick = self.replica.header().tick;
        if let Some(&last) = self.ticks.last() {
            assert!((tick.since(Tick(last)) as i32) > 0, "tick {} after tick {last}", tick.0);
        }
        self.ticks.push(tick.0);
        let blocks = Blocks::new(&bytes[HEADER_BYTES..]).map(Result::unwrap);
        self.snapshots += blocks.filter(|&(kind, _)| kind == block::SNAPSHOT).count() as u64;
        if self.replica.view_is_complete() {
            self.worlds.insert(tick.0, self.world(tick));
        }
        while self.worlds.len() > WORLDS_MAX {
            self.worlds.pop_first();
        }
        let heard = self.replica.reliable_heard();
        if heard > before && self.acknowledges {
            let mut bytes = vec![];
            wire::encode_ack(heard, &mut bytes);
            self.send(bytes);
        }
    }

    /// In the ticks between two messages all went on as predicted, if the second brings nothing that was missed.
    fn note_silence(&mut self, bytes: &[u8]) {
        let mut blocks = Blocks::new(&bytes[HEADER_BYTES..]).map(Result::unwrap);
        let is_news = blocks.all(|(kind, _)| ![block::VIEW, block::SNAPSHOT, block::AGE].contains(&kind));
        if !self.replica.view_is_complete() || !is_news || bytes[HEADER_BYTES - 1] != VIEW_COMPLETE {
            return;
        }
        let (last, next) = (self.replica.header().tick, u32::from_le_bytes(bytes[1..5].try_into().unwrap()));
        for tick in (last.0 + 1)..next {
            self.worlds.insert(tick, self.world(Tick(tick)));
        }
    }

    /// All that it sees at a tick, as one number.
    fn world(&self, tick: Tick) -> u64 {
        let mut entities: Vec<_> = self
            .replica
            .entities_at(tick)
            .map(|entity| (entity.id, entity.kind, entity.row, entity.statics))
            .collect();
        entities.sort_by_key(|(id, ..)| id.slot);
        let mut hasher = DefaultHasher::new();
        entities.hash(&mut hasher);
        hasher.finish()
    }
}

impl Heard {
    /// The text of a line of chat, a message as text.
    pub fn text(&self) -> &str {
        match self {
            Heard::Message(_, payload) => std::str::from_utf8(payload).unwrap(),
            Heard::Chat(_, _, text) | Heard::Award(_, text) => text,
        }
    }
}

/// Listens to two until both are so.
pub fn until_both(what: &str, two: [&mut Client; 2], mut is_so: impl FnMut(&Client, &Client) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let [one, other] = two;
    while !is_so(one, other) {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        one.listen();
        other.listen();
        assert!(one.end.is_none() && other.end.is_none(), "{:?} {:?} before: {what}", one.end, other.end);
    }
}

/// Two clients with the same view agree on the world at a tick that both heard from now on.
pub fn until_they_agree(one: &mut Client, other: &mut Client) {
    assert_eq!(one.replica.view(), other.replica.view());
    let from = *one.ticks.last().unwrap().max(other.ticks.last().unwrap());
    let mut agreed = 0;
    until_both("both have seen the world at the same ticks", [one, other], |one, other| {
        let both = |tick: &u32| Some((one.worlds.get(tick)?, other.worlds.get(tick)?));
        agreed = one.worlds.range(from + 1..).filter_map(|(tick, _)| both(tick)).count();
        agreed >= 10
    });
    for (tick, world) in one.worlds.range(from + 1..) {
        assert!(other.worlds.get(tick).is_none_or(|theirs| theirs == world), "they differ at tick {tick}");
    }
}

const WORLDS_MAX: usize = 128;
