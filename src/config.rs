//! Every knob of a server, its default and why.
//!
//! [`Config`] is what the server runs with. [`Flags`] is the same list as people write it: each knob is a flag, an
//! environment variable and a key of the configuration file, from one declaration, so none of the three can lack
//! one. A flag wins over the environment, the environment over the file, the file over the default. Limits that
//! nobody should have to turn are constants in the modules which keep them.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::FromArgMatches;
use tracing_subscriber::EnvFilter;

use crate::error::Error;
pub use crate::session::site::Compression;

mod explain;
mod flags;
mod values;

pub use explain::explain;
pub use flags::{Flags, command};
use values::{Connections, Deflate, IoThreads, LogFilter, Origin, Players, TickRate, Timeout};

/// What a server runs with. Start from [`Config::default`] or [`Config::from_args`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where players connect. Loopback by default: a server is opened to the world on purpose, not by accident.
    pub listen: SocketAddr,
    /// Where `/metrics` is; `None`: nowhere. A port of its own, so that it can stay private when the game is public.
    pub admin: Option<SocketAddr>,
    /// Ticks a second, 1 to 60. 20 is what a walking game needs; twice the rate costs twice the bytes.
    pub tick_rate: u16,
    /// Threads that serve sockets. One carries thousands of players; more only pay where there are idle cores.
    pub io_threads: usize,
    /// Whether `GET /echo` is there, a WebSocket that returns each message. For conformance suites, so off.
    pub echo: bool,
    /// What is compressed for clients that offer it. Off: state is small and packed already, each message would cost time on the
    /// io thread, and what compresses secrets together with what others choose leaks their length.
    pub deflate: Compression,
    /// Connections open at once, those to pages included. More are turned away with 503.
    pub connections_max: usize,
    /// Players the arena is laid out for: its cell size follows, so that a view holds about 50 entities.
    pub players: u32,
    /// Seats in a room. More than `players`, since an arena that is fuller than planned is better than a closed one.
    pub capacity: u32,
    /// Seed of a room's random source. Fixed, so that two runs with the same commands are the same run.
    pub seed: u64,
    /// A connection which sends nothing for this long is closed. Clients ping every few seconds.
    pub idle_timeout: Duration,
    /// A connection which takes none of the bytes that wait for it for this long is closed. Longer than a phone needs
    /// to come out of a tunnel.
    pub slow_timeout: Duration,
    /// Time from a connection's upgrade to its hello.
    pub hello_timeout: Duration,
    /// Origins of pages that may connect beside the server's own, as in `https://game.example`. Empty: while listening on
    /// loopback, all pages from this machine.
    pub allow_origin: Vec<String>,
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
            ("io_threads", IoThreads::check(self.io_threads as u64)),
            ("connections_max", Connections::check(self.connections_max as u64)),
            ("players", Players::check(self.players.into())),
            ("capacity", Players::check(self.capacity.into())),
            ("idle_timeout", Timeout::check(self.idle_timeout)),
            ("slow_timeout", Timeout::check(self.slow_timeout)),
            ("hello_timeout", Timeout::check(self.hello_timeout)),
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

    fn check_relations(&self) -> Result<(), Error> {
        if self.players > self.capacity {
            return Err(Error::Config(format!(
                "--players {} is more than --capacity {}: raise --capacity, the number of seats",
                self.players, self.capacity
            )));
        }
        if let Some(admin) = self.admin
            && admin.port() == self.listen.port()
            && admin.port() != 0
            && (admin.ip() == self.listen.ip()
                || admin.ip().is_unspecified()
                || self.listen.ip().is_unspecified())
        {
            return Err(Error::Config(format!(
                "--admin {admin} and --listen {} need the same port: give one of them another, or pass --admin off",
                self.listen
            )));
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 7071))),
            tick_rate: 20,
            io_threads: 1,
            echo: false,
            deflate: Compression::Off,
            connections_max: 10_000,
            players: 1_000,
            capacity: 10_000,
            seed: 1,
            idle_timeout: Duration::from_secs(30),
            slow_timeout: Duration::from_secs(60),
            hello_timeout: Duration::from_secs(10),
            allow_origin: Vec::new(),
            log: "info".to_owned(),
            log_json: false,
        }
    }
}

fn colours_wanted() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
