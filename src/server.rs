//! A whole server: builds every part, knows them all, and ends them in order.
//!
//! [`Server`] is the plan, [`Running`] the thing itself. Everything else in this crate knows at most its neighbours; this is
//! the only file that knows everyone. Shutting down goes with the stream of the data: the io threads say goodbye to their
//! peers and end, then the simulation threads, then the admin port closes.

// A shell: it owns threads and looks at the clock.
#![allow(clippy::disallowed_types)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio::net::TcpListener;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use socket2::{Domain, Protocol, Socket, Type};
use tickyard_protocol::fields::Fields;

use crate::addresses::Addresses;
use crate::admin::Admin;
use crate::banner::banner;
use crate::bridge::{BATCHES_MAX, COMMAND_LISTS_MAX, RoomId};
use crate::config::Config;
use crate::descriptors;
use crate::error::Error;
use crate::flight::files::Files;
use crate::game::Game;
use crate::lobby::{Hosted, Lobby, Opening};
use crate::metrics::{Metrics, ReloadResult};
use crate::net::tls::Identity;
use crate::net::{Arrivals, Entrance, IoThread, Shared};
use crate::pages::PAGES;
use crate::session::origins::Origins;
use crate::session::site::Site;
use crate::sim::{AnyRoom, Room, RoomConfig};
use crate::ticker::{self, Opener, Rooms, Ticker};
use crate::watchdog::Watchdog;

/// A server that listens, but does not serve yet.
///
/// ```no_run
/// use tickyard::{Config, Server, game::arena::Arena};
///
/// fn main() -> Result<(), tickyard::Error> {
///     let config = Config::from_args()?;
///     let (tick_rate, players) = (config.tick_rate, config.players);
///     Server::bind(config)?.game("arena", move |_| Arena::new(tick_rate, players)).run()
/// }
/// ```
pub struct Server {
    config: Config,
    listener: Socket,
    address: SocketAddr,
    tls: Option<Identity>,
    files: Option<Files>,
    lobby: Lobby,
    /// By game.
    openers: Vec<GameOpener>,
    /// The first one of each game.
    rooms: Vec<Box<dyn AnyRoom>>,
}

/// Opens a room of a game.
type GameOpener = Box<dyn FnMut(RoomConfig) -> Box<dyn AnyRoom> + Send>;

/// A server that serves, until [`Running::stop`] or until this is dropped.
pub struct Running {
    address: SocketAddr,
    admin: Option<Admin>,
    shared: Arc<Shared>,
    entrances: Vec<Entrance>,
    io_threads: Vec<JoinHandle<Option<Arrivals>>>,
    ticker: Option<Ticker>,
    watchdog: Option<Watchdog>,
}

impl Server {
    /// Takes the address that the configuration names; from now on it is this server's. Reads the certificate, if there is to be TLS, and
    /// makes sure that flight records can be written, if they are to be.
    pub fn bind(config: Config) -> Result<Server, Error> {
        config.check()?;
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(Identity::load(certificate, key)?),
            _ => None,
        };
        let files = config.flight_dir.as_deref().map(Files::open).transpose()?;
        let not_listening = |source| Error::Listen { flag: "--listen", address: config.listen, source };
        let listener = listen(config.listen).map_err(not_listening)?;
        let address = listener.local_addr().map_err(not_listening)?;
        let address = address.as_socket().unwrap_or(config.listen);
        Ok(Server {
            config,
            listener,
            address,
            tls,
            files,
            lobby: Lobby::default(),
            openers: Vec::new(),
            rooms: Vec::new(),
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a game under the name by which clients ask for it. `make` is called for each room that opens: for the first one now, for
    /// others while the server runs, when all are full, as long as there may be more ([`Config::rooms`]).
    ///
    /// # Panics
    /// If the game's schema cannot be used: too many fields, a step that is no number.
    pub fn game<G: Game>(self, name: &str, mut make: impl FnMut(RoomId) -> G + Send + 'static) -> Server {
        let named = name.to_owned();
        self.room::<G::Input>(name, move |config| {
            let game = make(config.id);
            match Room::new(config, game) {
                Ok(room) => Box::new(room),
                Err(error) => panic!("the schema of the game {named:?}: {error}"),
            }
        })
    }

    /// Adds a game whose rooms `open` opens; `I` is what its players may ask for.
    ///
    /// [`Server::game`] is this with a [`Room`]. Who wraps one sees all that goes in and comes out: a recorder of journals,
    /// a test.
    pub fn room<I: Fields>(
        mut self,
        game: &str,
        open: impl FnMut(RoomConfig) -> Box<dyn AnyRoom> + Send + 'static,
    ) -> Server {
        let Config { rooms: rooms_max, capacity: seats, .. } = self.config;
        let hosted = Hosted { name: game.to_owned(), input: I::fields(), rooms_max, seats };
        let first = self.lobby.add(hosted);
        let mut open: GameOpener = Box::new(open);
        if let Some((_, config)) = room_config(&self.config, &self.lobby, first) {
            self.rooms.push(open(config));
        }
        self.openers.push(open);
        self
    }

    /// Serves until SIGINT or SIGTERM, having printed where. A second signal ends the process at once. SIGHUP reads the certificate again,
    /// SIGUSR1 writes a flight record.
    pub fn run(self) -> Result<(), Error> {
        let signals = |source| Error::System { doing: "listen for signals", source };
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stopping))
                .map_err(signals)?;
        }
        let mut waiting = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1]).map_err(signals)?;
        let (signalled, signal) = crossbeam_channel::bounded(1);
        let wait = move || {
            waiting.forever().try_for_each(|signal| signalled.send(signal)).unwrap_or_default();
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(signals)?;

        let config = self.config.clone();
        let running = self.start()?;
        print(&banner(&config, running.address(), running.admin_address()));
        // A frozen game behind an open port is worse than none: whoever started us can start us again.
        let ended = loop {
            match signal.recv_timeout(HEALTH_PERIOD) {
                Ok(SIGHUP) => running.reload_tls_and_log(),
                Ok(SIGUSR1) => running.shared.flight.write_and_log("SIGUSR1"),
                Ok(_) => break Ok(()),
                Err(_) => {}
            }
            if let Some(fault) = running.fault() {
                break Err(Error::System { doing: "go on serving", source: std::io::Error::other(fault) });
            }
        };
        stopping.store(true, Ordering::Release);
        tracing::info!("stopping: every connection is told that the server goes away");
        running.stop();
        ended
    }

    /// Serves on threads of its own from now on.
    pub fn start(self) -> Result<Running, Error> {
        let Server { config, listener, address, tls, files, lobby, openers, rooms } = self;
        let lobby = Arc::new(lobby);
        let system = |doing| move |source| Error::System { doing, source };
        let reserved = descriptors::reserved(config.io_threads, config.admin.is_some());
        if let Some(warning) = descriptors::shortage(descriptors::raise(), reserved, config.connections_max) {
            tracing::warn!("{warning}");
        }
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let shared = Arc::new(Shared::new(&config, site(&config, address, Arc::clone(&lobby)), tls, files));
        let metrics = Arc::clone(&shared.metrics);
        shared.tls.iter().for_each(|tls| note_expiry(tls, &metrics));
        let admin = config.admin.map(|address| Admin::start(address, &shared.flight)).transpose()?;

        let (commands, drained): (Vec<_>, Vec<_>) =
            (0..config.sim_threads).map(|_| crossbeam_channel::bounded(COMMAND_LISTS_MAX)).unzip();
        // More than one room each has no use for.
        let phases = config.phases.min(lobby.rooms_max().div_ceil(config.sim_threads as u32)).max(1);
        let deliveries_max = BATCHES_MAX * phases as usize * config.sim_threads;
        let mut threads = Vec::new();
        let mut entrances = Vec::new();
        for index in 0..config.io_threads as u16 {
            let (thread, entrance) =
                IoThread::new(index, Arc::clone(&shared), commands.clone(), deliveries_max)
                    .map_err(system("set up an io thread"))?;
            threads.push(thread);
            entrances.push(entrance);
        }
        let listener = TcpListener::from_std(listener.into());
        threads[0].listen(listener, entrances.clone()).map_err(system("watch the listening socket"))?;

        let outputs: Vec<_> = entrances.iter().map(output).collect();
        let (flight, io_threads) = (Arc::clone(&shared.flight), Vec::new());
        // From here on an early return drops it, and so ends the threads that have started.
        let mut running =
            Running { address, admin, shared, entrances, io_threads, ticker: None, watchdog: None };
        let tick_rate = config.tick_rate;
        let opener = opener(config, Arc::clone(&lobby), openers);
        let rooms = Rooms { open: rooms, opener, lobby, phases, tick_rate };
        let ticker = Ticker::spawn(rooms, drained, &outputs, &flight);
        running.ticker = Some(ticker.map_err(system("start a simulation thread"))?);
        for (index, thread) in threads.into_iter().enumerate() {
            let spawned = thread::Builder::new().name(format!("io-{index}")).spawn(|| thread.run());
            running.io_threads.push(spawned.map_err(system("start an io thread"))?);
        }
        running.watchdog = Some(Watchdog::start(flight).map_err(system("start the watchdog"))?);
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
        Ok(running)
    }
}

impl Running {
    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin port is, if it is on.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Reads the certificate and its key again. New connections are met with the new ones, the others go on as they are. If they cannot be used,
    /// those from before stay, and the error says why. Without TLS there is nothing to do.
    pub fn reload_tls(&self) -> Result<(), Error> {
        let Some(tls) = &self.shared.tls else { return Ok(()) };
        let read = tls.reload();
        note_expiry(tls, &self.shared.metrics);
        let result = if read.is_ok() { ReloadResult::Ok } else { ReloadResult::Failed };
        self.shared.metrics.tls_reloads.inc(result);
        read
    }

    fn reload_tls_and_log(&self) {
        match self.reload_tls() {
            _ if self.shared.tls.is_none() => {
                tracing::info!("SIGHUP: without --tls-cert there is nothing to read again")
            }
            Ok(()) => tracing::info!("the certificate was read again; new connections get it"),
            Err(error) => tracing::warn!("the certificate stays as it was: {error}"),
        }
    }

    /// Why it is of no use any longer, if that is so: a thread has ended by a fault of ours, or no game is left.
    pub fn fault(&self) -> Option<&'static str> {
        let ticks = self.ticker.as_ref().is_some_and(|ticker| !ticker.is_finished());
        if !ticks || self.io_threads.iter().any(JoinHandle::is_finished) {
            return Some("one of its threads has ended");
        }
        self.shared.site.lobby.is_over().then_some("every room's game has failed")
    }

    /// Writes into `--flight-dir` what all threads did in the last half minute; `reason` stands in the record.
    pub fn write_flight(&self, reason: &str) -> Result<PathBuf, Error> {
        self.shared.flight.write(reason)
    }

    /// Closes every connection with 1001 and waits until all threads have ended.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        // Threads that end are not silent.
        self.watchdog = None;
        self.shared.stop.store(true, Ordering::Release);
        for entrance in &self.entrances {
            let _ = entrance.waker.wake();
        }
        // A panic in there was printed when it happened.
        let ended = self.io_threads.drain(..).map(JoinHandle::join).collect::<Vec<_>>();
        ended.into_iter().flatten().flatten().for_each(|arrivals| arrivals.end(&self.shared));
        if let Some(ticker) = self.ticker.take() {
            ticker.stop();
        }
    }
}

/// How a room is opened, and which game it is of; `None`: the lobby knows no such room.
fn room_config(config: &Config, lobby: &Lobby, room: RoomId) -> Option<(usize, RoomConfig)> {
    let Opening { game, game_name, number, name } = lobby.opening(room)?;
    let &Config { tick_rate, capacity, seed, .. } = config;
    // The rooms of a game are alike and not the same.
    let seed = seed.wrapping_add(number as u64 - 1);
    Some((game, RoomConfig { id: room, name, game: game_name, tick_rate, capacity, seed }))
}

fn opener(config: Config, lobby: Arc<Lobby>, mut openers: Vec<GameOpener>) -> Opener {
    Box::new(move |room| {
        let (game, config) = room_config(&config, &lobby, room)?;
        Some(openers[game](config))
    })
}

fn note_expiry(tls: &Identity, metrics: &Metrics) {
    let Some(expires) = tls.expires() else { return };
    metrics.tls_certificate_expiry.set(expires);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if expires < now.as_secs() as i64 {
        tracing::warn!("the certificate has run out: clients will refuse it");
    }
}

fn site(config: &Config, address: SocketAddr, lobby: Arc<Lobby>) -> Site {
    let origins = Origins {
        any: config.allow_origin.iter().any(|origin| origin == "*"),
        listed: config.allow_origin.clone(),
        on_loopback: address.ip().to_canonical().is_loopback(),
    };
    let per_address_max = config.connections_per_address_max;
    Site {
        lobby,
        pages: PAGES,
        echo: config.echo,
        deflate: config.deflate,
        hsts: config.hsts,
        origins,
        addresses: Addresses::new(per_address_max, config.limit_loopback, config.trusted_proxies.clone()),
        limits: config.limits(),
        ..Site::default()
    }
}

fn listen(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn output(entrance: &Entrance) -> ticker::Output {
    let waker = Arc::clone(&entrance.waker);
    let wake = move || {
        if let Err(error) = waker.wake() {
            tracing::error!(%error, "cannot wake an io thread");
        }
    };
    ticker::Output { sender: entrance.batches.clone(), wake: Arc::new(wake) }
}

fn print(text: &str) {
    // Not `print!`, which panics when nobody reads stdout.
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// How often it is looked whether all threads run.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// Handshakes that the kernel keeps for us: a restart brings all players back at once.
const BACKLOG: i32 = 4096;
