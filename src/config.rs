//! Every knob of a server, its default and why.
//!
//! [`Config`] is what the server runs with. [`Flags`] is the same list as people write it: each knob is a flag, an
//! environment variable and a key of the configuration file, from one declaration, so none of the three can lack
//! one. A flag wins over the environment, the environment over the file, the file over the default. What one peer may cost
//! stands in [`limits`], also what nobody should have to turn.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::FromArgMatches;
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::bridge::Rate;
use crate::error::Error;
pub use crate::session::site::Compression;

mod explain;
mod flags;
pub mod limits;
mod relations;
mod values;

pub use explain::{explain, unknown_variables};
pub use flags::{Flags, command};
use limits::{Budget, Limits};
use values::{
    Connections, Deflate, FrameRate, LogFilter, MessageBytes, Origin, Phases, Players, Rooms, Speed, Threads,
    TickRate, Timeout,
};

/// What a server runs with. Start from [`Config::default`] or [`Config::from_args`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where players connect. Loopback by default: a server is opened to the world on purpose, not by accident.
    pub listen: SocketAddr,
    /// Where `/metrics` is; `None`: nowhere. A port of its own, so that it can stay private when the game is public.
    pub admin: Option<SocketAddr>,
    /// Ticks a second, 1 to 60. 20 is what a walking game needs; twice the rate costs twice the bytes.
    pub tick_rate: u16,
    /// Over how many phases of the tick period rooms are spread. Rooms that all tick at once leave the last player waiting for everybody else's update; ten
    /// phases of 5 ms are what is left of that, and each wakes every thread once.
    pub phases: u32,
    /// Threads that simulate. Rooms are dealt out to them, so more pay only with several rooms and idle cores.
    pub sim_threads: usize,
    /// Threads that serve sockets. One carries thousands of players; more only pay where there are idle cores.
    pub io_threads: usize,
    /// Whether `GET /echo` is there, a WebSocket that returns each message. For conformance suites, so off.
    pub echo: bool,
    /// What is compressed for clients that offer it. Off: state is small and packed already, each message would cost time on the
    /// io thread, and what compresses secrets together with what others choose leaks their length.
    pub deflate: Compression,
    /// Connections open at once, those to pages included. More are turned away with 503.
    pub connections_max: usize,
    /// Connections that one address may have open; an IPv6 network of 64 bits counts as one address. So nobody fills the
    /// server alone, while a school behind one address can play.
    pub connections_per_address_max: usize,
    /// Whether that limit holds for this machine's own addresses too. Off, so that a swarm of bots here meets the other limits.
    pub limit_loopback: bool,
    /// Proxies that are believed when they say whose connection they pass on: by `X-Forwarded-For` or a PROXY header.
    pub trusted_proxies: Vec<IpNet>,
    /// Players the arena is laid out for: its cell size follows, so that a view holds about 50 entities.
    pub players: u32,
    /// How often the arena tells a player's far cells: see [`Layout::far`](crate::game::Layout::far). At every tick by default.
    pub far_rate: Rate,
    /// Seats in a room. With one room more than `players`, since an arena that is fuller than planned is better than a closed one; with
    /// several as many, since then the next one opens.
    pub capacity: u32,
    /// Rooms of a game that may be open. One by default: whoever comes meets everybody. The first opens with the server, another one whenever
    /// all are full.
    pub rooms: u32,
    /// Seed of a room's random source. Fixed, so that two runs with the same commands are the same run.
    pub seed: u64,
    /// A connection which sends nothing for this long is closed.
    pub idle_timeout: Duration,
    /// A WebSocket from which nothing was heard for this long is sent a ping, which clients answer by themselves; `None`:
    /// nobody is asked, and who has nothing to say is closed after `idle_timeout`. At most a third of that is wise.
    pub ping_interval: Option<Duration>,
    /// A connection which takes none of the bytes that wait for it for this long is closed.
    pub slow_timeout: Duration,
    /// Time from the accept to the end of the request.
    pub handshake_timeout: Duration,
    /// Time from a connection's upgrade to its hello.
    pub hello_timeout: Duration,
    /// The longest message that a player may send, over all of its fragments.
    pub message_bytes_max: usize,
    /// Frames that a player may send per second, of any kind: an unfragmented message is one, so is a ping. Four seconds' worth
    /// may come at once.
    pub messages_per_second: u32,
    /// Bytes that a player may send per second, as they stand on the wire: frame headers and TLS records too. Four seconds' worth may come
    /// at once.
    pub bytes_per_second: u32,
    /// Origins of pages that may connect beside the server's own, as in `https://game.example`; `*`: any. Empty: while listening
    /// on loopback, all pages from this machine.
    pub allow_origin: Vec<String>,
    /// The certificate chain, as PEM, with which players are met over TLS; needs [`Config::tls_key`]. Without the two players connect over plain
    /// TCP: fine on one machine, and behind a proxy that speaks TLS for us.
    pub tls_cert: Option<PathBuf>,
    /// The private key of [`Config::tls_cert`], as PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether pages tell browsers to use `https://` for this host name for a year (HSTS). Off: that holds for all of its ports, and
    /// cannot be taken back.
    pub hsts: bool,
    /// Where flight records are written when a tick overruns or a thread falls silent; `None`: nowhere. Off, because a server that was not told
    /// to write files should not.
    pub flight_dir: Option<PathBuf>,
    /// Which log lines are written, as in `info` or `tickyard=debug`.
    pub log: String,
    /// Whether log lines are JSON objects.
    pub log_json: bool,
}

impl Config {
    /// The configuration from the flags of this process, `TICKYARD_*` and the file that `--config` names.
    ///
    /// Prints and exits on `--help`, as people expect of a flag.
    pub fn from_args() -> Result<Config, Error> {
        let program = PathBuf::from(std::env::args_os().next().unwrap_or_default());
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        let help = format!("{program} --help");

        let command = command("server", &program).about("A Tickyard game server.");
        let matches = command.try_get_matches().map_err(|error| explain(error, &help))?;
        Flags::from_arg_matches(&matches).map_err(|error| explain(error, &help))?.into_config()
    }

    /// Refuses values which no flag can have. For a configuration that was built by hand.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |name: &str, why: String| Err(Error::Config(format!("{name}: {why}")));
        let ranges = [
            ("tick_rate", TickRate::check(self.tick_rate.into())),
            ("io_threads", Threads::check(self.io_threads as u64)),
            ("phases", Phases::check(self.phases.into())),
            ("sim_threads", Threads::check(self.sim_threads as u64)),
            ("connections_max", Connections::check(self.connections_max as u64)),
            ("connections_per_address_max", Connections::check(self.connections_per_address_max as u64)),
            ("players", Players::check(self.players.into())),
            ("capacity", Players::check(self.capacity.into())),
            ("rooms", Rooms::check(self.rooms.into())),
            ("idle_timeout", Timeout::check(self.idle_timeout)),
            ("slow_timeout", Timeout::check(self.slow_timeout)),
            ("ping_interval", self.ping_interval.map_or(Ok(()), Timeout::check)),
            ("handshake_timeout", Timeout::check(self.handshake_timeout)),
            ("hello_timeout", Timeout::check(self.hello_timeout)),
            ("message_bytes_max", MessageBytes::check(self.message_bytes_max as u64)),
            ("messages_per_second", FrameRate::check(self.messages_per_second.into())),
            ("bytes_per_second", Speed::check(self.bytes_per_second.into())),
        ];
        for (name, result) in ranges {
            result.or_else(|why| wrong(name, why))?;
        }
        for origin in &self.allow_origin {
            origin
                .parse::<Origin>()
                .or_else(|why| wrong("allow_origin", why).map(|()| Origin(String::new())))?;
        }
        Deflate::check(self.deflate).or_else(|why| wrong("deflate", why))?;
        LogFilter::check(&self.log).or_else(|why| wrong("log", why))?;
        self.check_relations()
    }

    /// Sends log lines to stderr from now on, as `log` and `log_json` say. The `tickyard` command does; a program that
    /// hosts the server may, or may set up `tracing` its own way.
    pub fn log_to_stderr(&self) -> Result<(), Error> {
        let filter =
            EnvFilter::try_new(&self.log).map_err(|error| Error::Config(format!("--log: {error}")))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // It fails only if logs go somewhere already, and then they do what was asked for.
        let _ = if self.log_json {
            lines.json().try_init()
        } else {
            lines.with_ansi(colours_wanted()).try_init()
        };
        Ok(())
    }

    /// What a session is held to.
    pub fn limits(&self) -> Limits {
        Limits {
            handshake_timeout: self.handshake_timeout,
            hello_timeout: self.hello_timeout,
            idle_timeout: self.idle_timeout,
            ping_interval: self.ping_interval,
            message_bytes_max: self.message_bytes_max,
            frames: Budget::per_second(self.messages_per_second),
            bytes: Budget::per_second(self.bytes_per_second),
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 7071))),
            tick_rate: 20,
            phases: 10,
            sim_threads: 1,
            io_threads: 1,
            echo: false,
            deflate: Compression::Off,
            connections_max: 10_000,
            connections_per_address_max: 256,
            limit_loopback: false,
            trusted_proxies: Vec::new(),
            players: 1_000,
            far_rate: Rate::One,
            capacity: 10_000,
            rooms: 1,
            seed: 1,
            idle_timeout: limits::IDLE_TIMEOUT,
            ping_interval: Some(limits::PING_INTERVAL),
            slow_timeout: limits::SLOW_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            hello_timeout: limits::HELLO_TIMEOUT,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            messages_per_second: limits::MESSAGES_PER_SECOND,
            bytes_per_second: limits::BYTES_PER_SECOND,
            allow_origin: Vec::new(),
            tls_cert: None,
            tls_key: None,
            hsts: false,
            flight_dir: None,
            log: "info".to_owned(),
            log_json: false,
        }
    }
}

fn colours_wanted() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
