//! The server without its threads: the io thread's hub, a room, the channel between them, and a clock that we turn.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use tickyard::Config;
use tickyard::addresses::{self, Addresses};
use tickyard::bridge::{Ask, BATCHES_MAX, Batch, Command, CommandList, ConnId, RoomId, SharedBatch};
use tickyard::close_reason::CloseReason;
use tickyard::config::limits::{ANSWERS_BYTES_MAX, Limits, READ_BYTES_PER_TURN};
use tickyard::game::Random;
use tickyard::game::arena::Arena;
use tickyard::lobby::{Hosted, Lobby};
use tickyard::net::Shared;
use tickyard::net::hub::Hub;
use tickyard::protocol::types::PlayerId;
use tickyard::session::origins::Origins;
use tickyard::session::site::{Compression, Page, Site};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;

use super::peer::{Manners, Peer, input_fields, row};
use super::wire::{ServerEnd, Wire};

/// All of it.
pub struct Stage {
    now: Time,
    random: Random,
    shared: Arc<Shared>,
    hub: Hub<ServerEnd>,
    room: Room<Arena>,
    commands: Receiver<CommandList>,
    /// When the room steps next.
    due: Time,
    /// Batches on their way to the hub.
    batches: VecDeque<(Time, SharedBatch)>,
    peers: Vec<Peer>,
    accepted: u64,
    ledgers: BTreeMap<ConnId, Ledger>,
    seats: BTreeMap<PlayerId, ConnId>,
    /// Peers who are over, and what they heard.
    pub history: Vec<(ConnId, u64)>,
    /// Decides who is frozen and thawed, beside `random`: all else is to go on as if it did not.
    freezes: Option<Random>,
}

/// What a connection has said to the room.
#[derive(Default)]
struct Ledger {
    joined: bool,
    left: bool,
    seq: u32,
}

impl Stage {
    pub fn new(seed: u64) -> Stage {
        let shared = Arc::new(shared());
        // Small, so that it is full now and then.
        let (sender, commands) = crossbeam_channel::bounded(COMMAND_LISTS_MAX);
        let (id, name, game) = (RoomId(0), "arena-1".to_owned(), "arena".to_owned());
        let config = RoomConfig { id, name, game, tick_rate: 20, capacity: CAPACITY, seed };
        Stage {
            now: START,
            random: Random::new(seed),
            hub: Hub::new(THREAD, Arc::clone(&shared), vec![sender], START),
            shared,
            room: Room::new(config, Arena::new(20, CAPACITY)).expect("the arena opens"),
            commands,
            due: START,
            batches: VecDeque::new(),
            peers: Vec::new(),
            accepted: 0,
            ledgers: BTreeMap::new(),
            seats: BTreeMap::new(),
            history: Vec::new(),
            freezes: None,
        }
    }

    /// Conversations are written down and read again, now and then.
    pub fn freeze_and_thaw(&mut self, seed: u64) {
        self.freezes = Some(Random::new(seed));
    }

    /// Runs for so many passers-by, then stops the server.
    pub fn run(&mut self, passers_by: u64) {
        for _ in 0..RESIDENTS {
            self.connect(Peer::resident);
        }
        let all = RESIDENTS + passers_by;
        while self.accepted < all {
            for _ in 0..self.random.below(4) {
                let now = self.now;
                // When all is full, few try.
                let is_full = self.hub.len() >= CONNECTIONS_MAX && self.random.below(40) > 0;
                if !is_full && self.peers.len() < PEERS_MAX && self.accepted < all {
                    self.connect(|conn, wire, seed| Peer::passer_by(conn, wire, seed, now));
                }
            }
            self.step();
        }
        // Those who are not done yet go on for a while.
        for _ in 0..100 {
            self.step();
        }
        self.peers.iter_mut().for_each(Peer::attend);
        for _ in 0..100 {
            self.step();
        }
        self.check_worlds();
        self.hub.go_away();
        for _ in 0..400 {
            self.step();
        }
        assert_eq!(self.hub.len(), 0, "everybody is gone in the end");
        assert!(self.shared.site.addresses.is_empty(), "nobody is counted in the end");
        assert_eq!(self.room.players(), 0, "every seat is free in the end");
        assert_eq!(self.shared.metrics.outbox_bytes.get(), 0);
        self.history.sort_unstable();
    }

    /// How many connections ended for this reason.
    pub fn ended(&self, reason: CloseReason) -> u64 {
        self.shared.metrics.closes.get(reason)
    }

    /// What the io thread does with a new connection.
    fn connect(&mut self, make: impl FnOnce(ConnId, Wire, u64) -> Peer) {
        let (wire, server_end) = Wire::new(4096 << self.random.below(4));
        let conn = self.hub.next_id();
        let mut peer = make(conn, wire, self.random.bits());
        let address = self.address(&mut peer);
        let Shared { metrics, connections_max, site, .. } = &*self.shared;
        if metrics.connections.get() >= *connections_max as i64 {
            self.hub.turn_away(server_end, addresses::Peer::new(address), CloseReason::Full);
        } else if let Ok(counted) = site.addresses.arrive(address) {
            metrics.connections.inc();
            self.hub.admit(server_end, counted);
        } else {
            self.hub.turn_away(server_end, addresses::Peer::new(address), CloseReason::AddressLimit);
        }
        self.accepted += 1;
        let earlier = self.ledgers.insert(conn, Ledger::default());
        assert!(earlier.is_none(), "each connection has an id of its own");
        self.peers.push(peer);
    }

    /// Where a peer comes from. Every second passer-by comes through a proxy, which may say whose connection it is.
    fn address(&mut self, peer: &mut Peer) -> SocketAddr {
        if peer.manners == Manners::Resident {
            return ([127, 0, 0, 1], 40_000).into();
        }
        let host = self.random.below(4) as u8;
        if self.random.below(2) == 0 {
            return ([192, 0, 2, host], 40_000).into();
        }
        match self.random.below(8) {
            0..4 => peer.introduce(&format!("PROXY TCP4 192.0.2.{host} 192.0.2.9 1 2\r\n")),
            4 if peer.manners == Manners::None => peer.introduce("PROXY TCP4 nobody\r\n"),
            _ => {}
        }
        ([10, 0, 0, 1], 40_000).into()
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(5 + u64::from(self.random.below(30)));
        if self.random.below(400) == 0 {
            // The process was held up.
            self.now = self.now + Duration::from_millis(1500);
        }
        for peer in &mut self.peers {
            peer.act(self.now);
        }
        self.turn();
        self.freeze_some();
        if self.now >= self.due {
            self.step_room();
        }
        self.check();
    }

    /// A turn of the io thread's loop.
    fn turn(&mut self) {
        self.hub.set_now(self.now);
        for peer in &self.peers {
            // The poller may be late; and it knows nothing of sockets that are closed.
            if peer.wire.is_closed() || self.random.below(8) == 0 {
                continue;
            }
            let edges = peer.wire.take_edges();
            if edges != Default::default() || self.random.below(50) == 0 {
                self.hub.wake(peer.conn.slot as usize, edges.readable, edges.writable, edges.ended);
            }
        }
        while self.batches.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, batch)) = self.batches.pop_front() else { break };
            self.hub.take_batch(batch);
        }
        for _ in 0..1 + self.random.below(3) {
            self.hub.serve_run_queue(|_| false);
            self.hub.fan_out(|_| false);
        }
        self.hub.sweep();
        self.hub.send_commands();
        self.hub.report();
    }

    fn freeze_some(&mut self) {
        let Some(random) = &mut self.freezes else { return };
        for session in self.hub.sessions().filter(|_| random.below(8) == 0) {
            let written = serde_json::to_vec(session).expect("a session can be written down");
            *session = serde_json::from_slice(&written).expect("and read again");
        }
    }

    fn step_room(&mut self) {
        let ticks = 1 + (self.now.since(self.due).as_millis() / 50) as u32;
        for command in self.commands.try_iter().flat_map(|list| list.commands).collect::<Vec<_>>() {
            self.note(&command);
            self.room.command(command);
        }
        let batch = self.room.step(ticks.min(5), self.now, &mut ());
        for joined in &batch.joined {
            let earlier = self.seats.insert(joined.player, joined.conn);
            assert!(earlier.is_none_or(|conn| conn == joined.conn), "a player has one connection");
        }
        if concerns(&batch) {
            if self.batches.len() < BATCHES_MAX {
                let late = self.batches.back().map_or(self.now, |(at, _)| *at);
                let delay = Duration::from_millis([0, 0, 20, 200][self.random.below(4) as usize]);
                self.batches.push_back((late.max(self.now + delay), batch));
            } else {
                self.room.undelivered(THREAD);
            }
        }
        let stall = if self.random.below(100) == 0 { 1000 } else { 0 };
        self.due = self.now + Duration::from_millis(50 + stall);
    }

    /// What reaches the room: nothing before the join, nothing after the leave, inputs once and in order.
    fn note(&mut self, command: &Command) {
        assert_eq!(command.room, RoomId(0));
        let conn = command.conn;
        let ledger = self.ledgers.get_mut(&conn).expect("somebody who connected");
        let is_join = matches!(command.ask, Ask::Join(_));
        assert_ne!(ledger.joined, is_join, "{conn:?}: a join comes first, and once: {command:?}");
        assert!(!ledger.left, "{conn:?}: nothing comes after the leave: {command:?}");
        ledger.joined = true;
        match &command.ask {
            Ask::Leave(_) => ledger.left = true,
            Ask::Input(input) => {
                let Some(peer) = self.peers.iter().find(|peer| peer.conn == conn) else { return };
                if peer.manners == Manners::None {
                    return;
                }
                assert!(input.seq.0 > ledger.seq, "inputs come once and in order");
                assert!(input.seq.0 <= peer.seq && input.row == row(input.seq.0), "inputs come as they were");
                ledger.seq = input.seq.0;
            }
            _ => {}
        }
    }

    /// What holds after each step.
    fn check(&mut self) {
        let metrics = &self.shared.metrics;
        let ended: u64 = CloseReason::ALL.iter().map(|&reason| metrics.closes.get(reason)).sum();
        let open = self.hub.len() as u64;
        assert_eq!(self.accepted, open + ended, "each connection is open, or ended for one reason");
        assert_eq!(metrics.connections.get(), (self.hub.len() - self.hub.turned_away()) as i64);
        let closed = self.peers.iter().filter(|peer| peer.wire.is_closed()).count() as u64;
        assert_eq!(closed + self.history.len() as u64, ended, "what ended is closed, and nothing else");
        let held = self.hub.held_bytes().max().unwrap_or_default();
        assert!(held <= HELD_BYTES_MAX, "{held} bytes are held for one peer");
        for peer in &self.peers {
            self.check_peer(peer);
        }
        let (over, peers) = std::mem::take(&mut self.peers).into_iter().partition(Peer::is_over);
        self.peers = peers;
        for peer in over {
            peer.check_end();
            let ledger = &self.ledgers[&peer.conn];
            assert!(!ledger.left || ledger.joined);
            self.history.push((peer.conn, peer.ear.digest));
        }
    }

    /// Who had time to listen holds all that is in view, and no two hold a cell differently.
    fn check_worlds(&self) {
        let mut cells = BTreeMap::new();
        for peer in self.peers.iter().filter(|peer| peer.manners == Manners::Resident) {
            let replica = peer.ear.replica.as_ref().expect("a resident is in");
            assert!(peer.saw_all, "{:?} has not seen all that is in view", peer.conn);
            assert!(replica.own().is_some() && replica.counts().sums_checked > 10);
            for cell in replica.cells() {
                let members = cells.entry((cell.cell, cell.held.0)).or_insert(&cell.members);
                assert_eq!(*members, &cell.members, "{:?} as of {:?}", cell.cell, cell.held);
            }
        }
    }

    fn check_peer(&self, peer: &Peer) {
        assert!(peer.ear.agrees(), "{:?} hears a world that contradicts itself", peer.conn);
        if let Some(player) = peer.ear.player {
            assert_eq!(self.seats.get(&player), Some(&peer.conn), "everybody is welcomed in his own seat");
        }
        if let Some(replica) = &peer.ear.replica {
            assert!(peer.manners == Manners::None || replica.header().seq.0 <= peer.seq);
        }
        if peer.manners == Manners::Resident && self.hub.stopping().is_none() {
            let (is_closed, closed) = (peer.wire.is_closed(), peer.ear.closed);
            assert!(!is_closed && closed.is_none(), "{:?} behaves, and was closed: {closed:?}", peer.conn);
        }
    }
}

/// Whether a batch has anything for the io thread.
fn concerns(batch: &Batch) -> bool {
    !batch.parts_of(THREAD).is_empty()
        || !batch.joined.is_empty()
        || !batch.refused.is_empty()
        || !batch.removed.is_empty()
}

fn shared() -> Shared {
    const PAGES: &[Page] = &[Page { path: "/", content_type: "text/html", body: b"<p>hello" }];
    let game = Hosted { name: "arena".to_owned(), input: input_fields(), rooms_max: 1, seats: CAPACITY };
    let site = Site {
        lobby: Arc::new(Lobby::hosting(game)),
        pages: PAGES,
        echo: true,
        deflate: Compression::State,
        origins: Origins::LOOPBACK,
        addresses: Addresses::new(ADDRESS_MAX, false, vec!["10.0.0.0/8".parse().expect("a network")]),
        limits: Limits {
            hello_timeout: Duration::from_secs(3),
            ping_interval: Some(Duration::from_millis(1500)),
            idle_timeout: Duration::from_secs(5),
            ..Limits::default()
        },
        ..Site::default()
    };
    let slow_timeout = Duration::from_secs(4);
    let config = Config { connections_max: CONNECTIONS_MAX, slow_timeout, ..Config::default() };
    Shared::new(&config, site, None, None)
}

const START: Time = Time::from_secs(100);
const THREAD: u16 = 3;
const RESIDENTS: u64 = 6;
const PEERS_MAX: usize = 60;
const CONNECTIONS_MAX: usize = 52;
const ADDRESS_MAX: usize = 12;
/// Not enough for all of them.
const CAPACITY: u32 = 50;
const COMMAND_LISTS_MAX: usize = 16;
/// What a peer may make the server hold: answers to one who does not read them, and what was in the one receive buffer when an ask
/// found no room; as much again, because a `Vec` grows by doubling.
const HELD_BYTES_MAX: usize = 2 * (ANSWERS_BYTES_MAX + READ_BYTES_PER_TURN + ECHO_BYTES_MAX);
/// The longest message that anybody begins here.
const ECHO_BYTES_MAX: usize = 16 * 1024;
