//! Every knob of a server, its default and why.
//!
//! [`Config`] is what the server runs with. [`Flags`] is the same list as people write it: each knob is a flag, an
//! environment variable and a key of the configuration file, from one declaration, so none of the three can lack
//! one. A flag wins over the environment, the environment over the file, the file over the default. Limits that
//! nobody should have to turn are constants in the modules which keep them.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, FromArgMatches};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::error::Error;

mod explain;
mod values;

pub use explain::explain;
use explain::explain_file;
use values::{
    Address, Admin, Connections, IoThreads, LogFilter, Origin, Players, Seed, Switch, TickRate, Timeout,
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
    /// Threads that serve sockets. One carries thousands of players; more only pay where there are idle cores.
    pub io_threads: usize,
    /// Whether `GET /echo` is there, a WebSocket that returns each message. For conformance suites, so off.
    pub echo: bool,
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
    /// Origins of pages that may connect, as in `https://game.example`. Empty: while listening on loopback, pages
    /// from this machine; else pages from the host that the request names.
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

/// What was said about a configuration: in flags and the environment, and in one file. `None`: nothing.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Read the flags below from this TOML file
    #[arg(long, env = "TICKYARD_CONFIG", hide_env = true, value_name = "FILE", display_order = 0)]
    config: Option<PathBuf>,
    #[command(flatten)]
    knobs: Knobs,
}

impl Flags {
    /// The configuration: flags and environment, then the file, then the defaults.
    pub fn into_config(self) -> Result<Config, Error> {
        let file = self.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let config = self.knobs.or(file).over(Config::default());
        config.check_relations()?;
        Ok(config)
    }
}

/// The command which takes [`Flags`]: `name` is the last word of the `usage` that people type.
pub fn command(name: &'static str, usage: &str) -> clap::Command {
    let examples = format!(
        "Examples:
  {usage}                                   play on this machine, at http://127.0.0.1:7070
  {usage} --listen 0.0.0.0:7070             let others in
  {usage} --tick-rate 30 --players 2000     a faster, wider arena
  {usage} --config tickyard.toml --log debug"
    );
    let command = clap::Command::new(name)
        .bin_name(usage.to_owned())
        .before_help(examples)
        .after_help(
            "Durations are written 500ms, 30s or 2m. A flag wins over its variable, that over the file.",
        )
        .help_template("{about}\n\n{before-help}Usage: {usage}\n\n{all-args}{after-help}");
    Flags::augment_args(command)
}

/// The knobs as flags, variables and keys at once.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Knobs {
    /// Where players connect [default: 127.0.0.1:7070]
    #[arg(long, env = "TICKYARD_LISTEN", hide_env = true, value_name = "ADDRESS")]
    listen: Option<Address>,
    /// Where /metrics is; "off": nowhere [default: 127.0.0.1:7071]
    #[arg(long, env = "TICKYARD_ADMIN", hide_env = true, value_name = "ADDRESS")]
    admin: Option<Admin>,
    /// Ticks a second, 1 to 60 [default: 20]
    #[arg(long, env = "TICKYARD_TICK_RATE", hide_env = true, value_name = "HZ")]
    tick_rate: Option<TickRate>,
    /// Threads that serve sockets [default: 1]
    #[arg(long, env = "TICKYARD_IO_THREADS", hide_env = true, value_name = "COUNT")]
    io_threads: Option<IoThreads>,
    /// Add GET /echo, a WebSocket that returns each message
    #[arg(long, env = "TICKYARD_ECHO", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", hide_possible_values = true)]
    echo: Option<Switch>,
    /// Connections open at once; more are answered 503 [default: 10000]
    #[arg(long, env = "TICKYARD_MAX_CONNECTIONS", hide_env = true, value_name = "COUNT")]
    max_connections: Option<Connections>,
    /// Players the arena is laid out for; cell size follows [default: 1000]
    #[arg(long, env = "TICKYARD_PLAYERS", hide_env = true, value_name = "COUNT")]
    players: Option<Players>,
    /// Seats in a room [default: 10000]
    #[arg(long, env = "TICKYARD_CAPACITY", hide_env = true, value_name = "COUNT")]
    capacity: Option<Players>,
    /// Seed of the rooms' random source [default: 1]
    #[arg(long, env = "TICKYARD_SEED", hide_env = true, value_name = "NUMBER")]
    seed: Option<Seed>,
    /// Close a connection that sends nothing for this long [default: 30s]
    #[arg(long, env = "TICKYARD_IDLE_TIMEOUT", hide_env = true, value_name = "DURATION")]
    idle_timeout: Option<Timeout>,
    /// Close a connection that takes nothing for this long [default: 60s]
    #[arg(long, env = "TICKYARD_SLOW_TIMEOUT", hide_env = true, value_name = "DURATION")]
    slow_timeout: Option<Timeout>,
    /// Close a connection that does not say hello in this time [default: 10s]
    #[arg(long, env = "TICKYARD_HELLO_TIMEOUT", hide_env = true, value_name = "DURATION")]
    hello_timeout: Option<Timeout>,
    /// Let pages of this origin connect, and no others; repeatable [default: the server's own pages,
    /// and on loopback those of this machine]
    #[arg(
        long,
        env = "TICKYARD_ALLOW_ORIGIN",
        hide_env = true,
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    allow_origin: Option<Vec<Origin>>,
    /// Which log lines go to stderr, as in warn or info,tickyard=debug [default: info]
    #[arg(long, env = "TICKYARD_LOG", hide_env = true, value_name = "FILTER")]
    log: Option<LogFilter>,
    /// Write log lines as JSON
    #[arg(long, env = "TICKYARD_LOG_JSON", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", hide_possible_values = true)]
    log_json: Option<Switch>,
}

impl Knobs {
    /// These, and where they say nothing, `below`.
    fn or(self, below: Knobs) -> Knobs {
        Knobs {
            listen: self.listen.or(below.listen),
            admin: self.admin.or(below.admin),
            tick_rate: self.tick_rate.or(below.tick_rate),
            io_threads: self.io_threads.or(below.io_threads),
            echo: self.echo.or(below.echo),
            max_connections: self.max_connections.or(below.max_connections),
            players: self.players.or(below.players),
            capacity: self.capacity.or(below.capacity),
            seed: self.seed.or(below.seed),
            idle_timeout: self.idle_timeout.or(below.idle_timeout),
            slow_timeout: self.slow_timeout.or(below.slow_timeout),
            hello_timeout: self.hello_timeout.or(below.hello_timeout),
            allow_origin: self.allow_origin.or(below.allow_origin),
            log: self.log.or(below.log),
            log_json: self.log_json.or(below.log_json),
        }
    }

    /// These, and where they say nothing, what `config` says.
    fn over(self, config: Config) -> Config {
        let origins = self.allow_origin.map(|list| list.into_iter().map(|origin| origin.0).collect());
        Config {
            listen: self.listen.map_or(config.listen, |it| it.0),
            admin: self.admin.map_or(config.admin, |it| it.0),
            tick_rate: self.tick_rate.map_or(config.tick_rate, |it| it.0 as u16),
            io_threads: self.io_threads.map_or(config.io_threads, |it| it.0 as usize),
            echo: self.echo.map_or(config.echo, |it| it.0),
            connections_max: self.max_connections.map_or(config.connections_max, |it| it.0 as usize),
            players: self.players.map_or(config.players, |it| it.0 as u32),
            capacity: self.capacity.map_or(config.capacity, |it| it.0 as u32),
            seed: self.seed.map_or(config.seed, |it| it.0),
            idle_timeout: self.idle_timeout.map_or(config.idle_timeout, |it| it.0),
            slow_timeout: self.slow_timeout.map_or(config.slow_timeout, |it| it.0),
            hello_timeout: self.hello_timeout.map_or(config.hello_timeout, |it| it.0),
            allow_origin: origins.unwrap_or(config.allow_origin),
            log: self.log.map_or(config.log, |it| it.0),
            log_json: self.log_json.map_or(config.log_json, |it| it.0),
        }
    }
}

/// A configuration file is a page of text; what is longer is some other file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

fn read_file(path: &Path) -> Result<Knobs, Error> {
    let name = path.display();
    let unreadable =
        |error| Error::Config(format!("cannot read the configuration file {name}: {error}; see --config"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::Config(format!(
            "the configuration file {name} is larger than 1 MiB; see --config"
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Config(format!("the configuration file {name} is not UTF-8; see --config")))?;
    toml::from_str(&text).map_err(|error| explain_file(&name, &text, error))
}

fn colours_wanted() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
