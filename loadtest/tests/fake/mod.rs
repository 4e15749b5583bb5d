//! A small server that can lie: what the swarm says of an honest one and of a broken one is tested with it.
//!
//! Players stand in cells of fifty, which never change; each sees only its own cell. One thread, one loop.
#![allow(clippy::disallowed_types)] // A shell: its ticks are real time.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tickyard::http::RequestHead;
use tickyard::websocket::frame::{Opcode, write_close, write_frame};
use tickyard::websocket::handshake::Upgrade;
use tickyard::websocket::{CloseCode, Event, Limits, Role, WebSocket};
use tickyard_protocol::delta::{Changes, Delta, Entity, Row, entity_hash, put_delta, put_snapshot};
use tickyard_protocol::fields::{Field, Kind, Schema, Shapes};
use tickyard_protocol::message::{
    Input, Pong, Refused, SUBPROTOCOL, ServerControl, Welcome, encode_server_control, from_client,
};
use tickyard_protocol::tick::{Header, VIEW_COMPLETE, put_age, put_self, put_view};
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Seq, Tick};

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Closes every other connection after two seconds.
    Closes,
    /// Refuses every other player.
    Refuses,
    /// Every fourth tick comes one tick late.
    SkipsTicks,
    /// Snapshots that are asked for give everybody another name.
    TellsOtherwise,
    /// What cells sum up to is wrong.
    WrongSums,
}

/// A running server; ends when it is dropped.
pub struct Fake {
    pub address: SocketAddr,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.waker.wake().expect("an eventfd takes one more wake-up");
        let result = self.thread.take().expect("only dropped once").join();
        assert!(result.is_ok() || std::thread::panicking(), "the fake server panicked");
    }
}

const TICK: Duration = Duration::from_millis(50);
const CELL_PLAYERS: usize = 50;
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

impl Fake {
    pub fn start(fault: Fault) -> Fake {
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
        let schema = schema();
        let shapes = Shapes::new(&schema.kinds).unwrap();
        let server = Server { fault, listener, poll, schema, shapes, tick: 0, peers: vec![], cells: vec![] };
        let thread = Some(std::thread::spawn(move || server.run()));
        Fake { address, waker, thread }
    }
}

struct Server {
    fault: Fault,
    listener: TcpListener,
    poll: Poll,
    schema: Schema,
    shapes: Shapes,
    tick: u32,
    peers: Vec<Peer>,
    cells: Vec<Cell>,
}

#[derive(Default)]
struct Cell {
    /// The tick of the last publication.
    published: u32,
    /// The block of the tick before, if it was held back.
    late: Vec<u8>,
}

struct Peer {
    stream: Option<TcpStream>,
    websocket: Option<WebSocket>,
    joined: bool,
    /// Whether a close frame was sent.
    closed: bool,
    /// Whether it stands in its cell. Who leaves stays where it stood.
    member: bool,
    /// Whether the view was told.
    seen: bool,
    wants: bool,
    since: u32,
    seq: u32,
    row: Row,
    input: [i32; 2],
}

fn schema() -> Schema {
    let place = |name: &str| Field::quantity(name, 0.0625, 0, 65_536);
    let fields = vec![
        place("x"),
        place("y"),
        Field::integer("vx", -127, 127).velocity_of(0),
        Field::integer("vy", -127, 127).velocity_of(1),
    ];
    let input = vec![Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)];
    Schema { kinds: vec![Kind { name: "player".into(), fields }], input }
}

fn welcome(who: usize, tick: u32, schema: &Schema) -> Welcome {
    Welcome {
        player: PlayerId(who as u32 + 1),
        resume: vec![],
        room: "r".into(),
        game: "arena".into(),
        tick: Tick(tick),
        tick_rate: 20,
        step_micros: 50_000,
        schema: schema.clone(),
        tags: vec![],
    }
}

impl Server {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut next = Instant::now() + TICK;
        loop {
            let sleep = next.saturating_duration_since(Instant::now());
            self.poll.poll(&mut events, Some(sleep)).unwrap();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => return,
                    Token(who) => self.read(who),
                }
            }
            if Instant::now() >= next {
                next += TICK;
                self.step();
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true).unwrap();
            self.poll.registry().register(&mut stream, Token(self.peers.len()), Interest::READABLE).unwrap();
            self.peers.push(Peer::new(stream));
        }
    }

    fn read(&mut self, who: usize) {
        let mut buffer = [0; 4096];
        loop {
            let Some(stream) = &mut self.peers[who].stream else { return };
            match stream.read(&mut buffer) {
                Ok(0) => self.peers[who].stream = None,
                Ok(len) => self.hear(who, &mut buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.peers[who].stream = None,
            }
        }
    }

    fn hear(&mut self, who: usize, bytes: &mut [u8]) {
        let mut out = Vec::new();
        let Some(mut websocket) = self.peers[who].websocket.take() else {
            // Loopback delivers a request of a few hundred bytes whole.
            let (head, _) = RequestHead::parse(bytes).unwrap().unwrap();
            Upgrade::check(&head, &[SUBPROTOCOL]).unwrap().write(&mut out);
            let limits = Limits { message_bytes_max: 4096, fragments_max: 1 };
            self.peers[who].websocket = Some(WebSocket::new(Role::Server, limits));
            return self.peers[who].send(&out);
        };
        let mut rest = bytes;
        while let Some(event) = websocket.read(&mut rest).unwrap() {
            match event {
                Event::Binary(message) => self.hear_message(who, message, &mut out),
                Event::Close(_) => return self.peers[who].end(),
                event => panic!("{event:?}"),
            }
        }
        self.peers[who].websocket = Some(websocket);
        self.peers[who].send(&out);
    }

    fn hear_message(&mut self, who: usize, message: &[u8], out: &mut Vec<u8>) {
        let peer = &mut self.peers[who];
        let (&kind, rest) = message.split_first().unwrap();
        match kind {
            from_client::CONTROL if self.fault == Fault::Refuses && !who.is_multiple_of(2) => {
                let text = "no odd ones".to_string();
                let refused = Refused { code: 7, text, retry_after_millis: None, tags: vec![] };
                say(out, &ServerControl::Refused(refused));
                write_close(out, Some((CloseCode::new(4001), "refused")), None);
                peer.closed = true;
            }
            from_client::CONTROL => {
                (peer.joined, peer.since) = (true, self.tick);
                let welcome = welcome(who, self.tick, &self.schema);
                say(out, &ServerControl::Welcome(welcome));
            }
            from_client::INPUT => {
                let input = Input::decode(rest, &self.schema.input).unwrap();
                (peer.seq, peer.input) = (input.seq.0, [input.row[0], input.row[1]]);
            }
            from_client::PING => {
                let pong = Pong { stamp: rest.try_into().unwrap(), tick: Tick(self.tick), micros: 0 };
                let mut bytes = Vec::new();
                pong.encode(&mut bytes);
                write_frame(out, Opcode::Binary, &bytes, None);
            }
            from_client::WANT => peer.wants = true,
            _ => {}
        }
    }

    fn step(&mut self) {
        self.tick += 1;
        self.cells.resize_with(self.peers.len().div_ceil(CELL_PLAYERS), Cell::default);
        for cell in 0..self.cells.len() {
            let players = cell * CELL_PLAYERS..self.peers.len().min((cell + 1) * CELL_PLAYERS);
            let block = self.publish(cell, players.clone());
            self.tell(cell, players, &block);
        }
    }

    /// Moves a cell's players. The delta, or nothing if nothing has changed.
    fn publish(&mut self, cell: usize, players: Range<usize>) -> Vec<u8> {
        let (mut changes, mut moved, mut members) = (Changes::default(), false, 0);
        let mut enters = Vec::new();
        for who in players.clone() {
            let peer = &mut self.peers[who];
            if !peer.joined && !peer.member {
                continue;
            }
            if !peer.member {
                peer.member = true;
                enters.push(who);
                continue;
            }
            let before = peer.row;
            let [vx, vy] = peer.input;
            peer.row[..4].copy_from_slice(&[before[0] + vx, before[1] + vy, vx, vy]);
            moved |= before != peer.row;
            // The new velocity moves it: that is no news.
            let mut residual = [0; 16];
            (residual[2], residual[3]) = (vx - before[2], vy - before[3]);
            if residual != [0; 16] {
                changes.push(members, 0, residual);
            }
            members += 1;
        }
        if !moved && enters.is_empty() {
            return Vec::new();
        }
        let sum = Some(self.sum(&self.whole(players, false)));
        let base = self.tick - std::mem::replace(&mut self.cells[cell].published, self.tick);
        let (cell, changes, members) = (CellId(cell as u32), &changes, members as usize);
        let delta = Delta { cell, base, sum, changes, members, leaves: &[] };
        let mut block = Vec::new();
        let entered: Vec<_> = enters.into_iter().flat_map(|who| self.whole(who..who + 1, false)).collect();
        put_delta(&mut block, &self.shapes, &delta, entered.into_iter());
        block
    }

    fn tell(&mut self, cell: usize, players: Range<usize>, block: &[u8]) {
        // Never the tick of the heartbeat, which tells an idle player that its last input was applied.
        let holds_back = self.fault == Fault::SkipsTicks && self.tick % 4 == 1;
        let late = std::mem::take(&mut self.cells[cell].late);
        for who in players.clone() {
            let peer = &self.peers[who];
            if !peer.joined {
                continue;
            }
            let fresh = !peer.seen || peer.wants;
            let news = !block.is_empty() || !late.is_empty() || self.tick.is_multiple_of(20);
            if holds_back || !(fresh || news) {
                continue;
            }
            let message = self.message(who, cell, players.clone(), block, &late);
            let mut out = Vec::new();
            write_frame(&mut out, Opcode::Binary, &message, None);
            let peer = &mut self.peers[who];
            (peer.seen, peer.wants) = (true, false);
            if self.fault == Fault::Closes && who.is_multiple_of(2) && self.tick == peer.since + 40 {
                (peer.joined, peer.closed, peer.input) = (false, true, [0; 2]);
                write_close(&mut out, Some((CloseCode::TRY_LATER, "enough of you")), None);
            }
            peer.send(&out);
        }
        if holds_back {
            self.cells[cell].late = block.to_vec();
        }
    }

    fn message(&self, who: usize, cell: usize, players: Range<usize>, block: &[u8], late: &[u8]) -> Vec<u8> {
        let peer = &self.peers[who];
        let header = Header { tick: Tick(self.tick), seq: Seq(peer.seq), depth: 0, flags: VIEW_COMPLETE };
        let mut out = header.to_bytes().to_vec();
        if !peer.seen {
            put_view(&mut out, [CellId(cell as u32)].into_iter());
        }
        if !peer.seen || peer.wants {
            let lies = self.fault == Fault::TellsOtherwise && peer.seen;
            let entities = self.whole(players, lies);
            put_snapshot(&mut out, CellId(cell as u32), self.sum(&entities), entities.into_iter());
        } else {
            if !late.is_empty() {
                put_age(&mut out, 1);
                out.extend_from_slice(late);
                put_age(&mut out, 0);
            }
            out.extend_from_slice(block);
        }
        put_self(&mut out, &self.whole(who..who + 1, false)[0]);
        out
    }

    /// The members among these players.
    fn whole(&self, players: Range<usize>, lies: bool) -> Vec<Entity<'_>> {
        let members = players.filter(|&who| self.peers[who].member);
        let entity = |who: usize| {
            // The lie: it stands where it does, and is another's.
            let statics = if lies { "liar" } else { "" };
            let id = EntityId { slot: who as u32, generation: 0 };
            Entity { id, kind: 0, row: &self.peers[who].row[..4], statics }
        };
        members.map(entity).collect()
    }

    fn sum(&self, entities: &[Entity]) -> u32 {
        let wrong = (self.fault == Fault::WrongSums) as u32;
        entities.iter().fold(wrong, |sum, e| sum.wrapping_add(entity_hash(e.id, e.kind, e.row)))
    }
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        Peer {
            stream: Some(stream),
            websocket: None,
            joined: false,
            closed: false,
            member: false,
            seen: false,
            wants: false,
            since: 0,
            seq: 0,
            row: [0; 16],
            input: [0; 2],
        }
    }

    /// It has said its last word: the answer to it, unless it is one, and the end. It stands still from now on.
    fn end(&mut self) {
        if !self.closed {
            let mut out = Vec::new();
            write_close(&mut out, Some((CloseCode::NORMAL, "")), None);
            self.send(&out);
        }
        (self.stream, self.joined, self.input) = (None, false, [0; 2]);
    }

    /// What a socket does not take is lost, and so is the peer.
    fn send(&mut self, bytes: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        if stream.write(bytes).ok() != Some(bytes.len()) {
            self.stream = None;
            self.joined = false;
        }
    }
}

fn say(out: &mut Vec<u8>, message: &ServerControl) {
    let mut bytes = Vec::new();
    encode_server_control(message, &mut bytes);
    write_frame(out, Opcode::Binary, &bytes, None);
}
