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
  {usage} --tick-rate 30 --players 2000     finer ticks, laid out for 2,000
  {usage} --config tickyard.toml --log debug"
    );
    let command = clap::Command::new(name)
        .bin_name(usage.to_owned())
        .before_help(examples)
        .after_help(
            "Durations are written 500ms, 30s or 2m. Each flag is also a variable, as in TICKYARD_TICK_RATE=30,\n\
             and a key of the file, as in tick-rate = 30. A flag wins over its variable, that over the file.",
        )
        // So that a minus sign is met by "not a whole number" and not by "there is no -1".
        .allow_negative_numbers(true)
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
    /// Besides the server's own page, let pages of this origin connect; repeatable [default: on loopback, all of this machine]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every knob, with a value that is not its default.
    const EVERY_KNOB: [(&str, &str); 15] = [
        ("listen", "0.0.0.0:8000"),
        ("admin", "[::1]:8001"),
        ("tick-rate", "60"),
        ("io-threads", "4"),
        ("echo", "true"),
        ("max-connections", "20000"),
        ("players", "500"),
        ("capacity", "600"),
        ("seed", "18446744073709551615"),
        ("idle-timeout", "500ms"),
        ("slow-timeout", "2m"),
        ("hello-timeout", "1s"),
        ("allow-origin", "https://game.example"),
        ("log", "warn"),
        ("log-json", "true"),
    ];

    fn every_knob_turned() -> Config {
        Config {
            listen: "0.0.0.0:8000".parse().unwrap(),
            admin: Some("[::1]:8001".parse().unwrap()),
            tick_rate: 60,
            io_threads: 4,
            echo: true,
            connections_max: 20_000,
            players: 500,
            capacity: 600,
            seed: u64::MAX,
            idle_timeout: Duration::from_millis(500),
            slow_timeout: Duration::from_secs(120),
            hello_timeout: Duration::from_secs(1),
            allow_origin: vec!["https://game.example".to_owned()],
            log: "warn".to_owned(),
            log_json: true,
        }
    }

    fn flags(args: &[String]) -> Flags {
        let args = std::iter::once("server".to_owned()).chain(args.iter().cloned());
        Flags::from_arg_matches(&command("server", "server").get_matches_from(args)).unwrap()
    }

    fn file(text: &str) -> Result<Knobs, String> {
        toml::from_str(text).map_err(|error| explain_file(&"a.toml", text, error).to_string())
    }

    #[test]
    fn every_knob_can_be_turned_by_its_flag() {
        let args: Vec<String> = EVERY_KNOB.iter().map(|(name, value)| format!("--{name}={value}")).collect();

        assert_eq!(flags(&args).into_config().unwrap(), every_knob_turned());
    }

    #[test]
    fn every_knob_can_be_turned_by_its_key_in_the_file() {
        let lines = EVERY_KNOB.iter().map(|(name, value)| match *name {
            "allow-origin" => format!("{name} = [\"{value}\"]\n"),
            _ => format!("{name} = \"{value}\"\n"),
        });

        let knobs = file(&lines.collect::<String>()).unwrap();

        assert_eq!(knobs.over(Config::default()), every_knob_turned());
    }

    #[test]
    fn numbers_and_truth_are_written_in_the_file_as_toml_has_them() {
        let knobs = file("tick-rate = 30\necho = true\nadmin = \"off\"\n").unwrap();

        let expected = Config { tick_rate: 30, echo: true, admin: None, ..Config::default() };
        assert_eq!(knobs.over(Config::default()), expected);
    }

    #[test]
    fn the_list_of_knobs_in_these_tests_is_complete() {
        let command = command("server", "server");
        let flags: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();

        let listed = std::iter::once("config").chain(EVERY_KNOB.iter().map(|(name, _)| *name));
        assert_eq!(flags, listed.collect::<Vec<_>>());
    }

    #[test]
    fn every_knob_has_the_variable_of_its_name() {
        for arg in command("server", "server").get_arguments().filter(|arg| arg.get_long().is_some()) {
            let name = arg.get_long().unwrap().to_uppercase().replace('-', "_");
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            assert_eq!(variable, Some(format!("TICKYARD_{name}")));
        }
    }

    #[test]
    fn the_defaults_that_help_promises_are_the_defaults() {
        let mut args = Vec::new();
        for arg in command("server", "server").get_arguments() {
            let help = arg.get_help().map(|help| help.to_string()).unwrap_or_default();
            let default = help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
            match (arg.get_long(), default) {
                (Some("config" | "echo" | "allow-origin" | "log-json"), _) | (None, _) => {}
                (Some(name), Some(default)) => args.push(format!("--{name}={default}")),
                (Some(name), None) => panic!("--{name} promises no default"),
            }
        }

        assert_eq!(args.len(), EVERY_KNOB.len() - 3);
        assert_eq!(flags(&args).into_config().unwrap(), Config::default());
    }

    #[test]
    fn nothing_said_is_the_default_and_the_default_is_fine() {
        assert_eq!(flags(&[]).into_config().unwrap(), Config::default());
        assert_eq!(Config::default().check().map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn a_flag_wins_over_the_file_for_every_knob() {
        for (name, value) in EVERY_KNOB {
            let above = flags(&[format!("--{name}={value}")]).knobs;
            let lines = "listen = \"127.0.0.1:1\"\nadmin = \"off\"\ntick-rate = 1\nio-threads = 2\necho = false\n\
                         max-connections = 1\nplayers = 1\ncapacity = 1\nseed = 2\nidle-timeout = \"1s\"\n\
                         slow-timeout = \"1s\"\nhello-timeout = \"2s\"\nallow-origin = []\nlog = \"error\"\n\
                         log-json = false\n";
            let below = file(lines).unwrap();
            let both = above.clone().or(below.clone()).over(Config::default());

            let of_flag = above.over(below.over(Config::default()));
            assert_eq!(both, of_flag, "--{name}");
            assert_ne!(both, file(lines).unwrap().over(Config::default()), "--{name}");
        }
    }

    #[test]
    fn a_switch_can_be_turned_on_and_off_again() {
        let echo = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
            flags(&args).into_config().unwrap().echo
        };

        assert!(!echo(&[]));
        assert!(echo(&["--echo"]));
        assert!(echo(&["--echo", "--seed", "2"]));
        assert!(!echo(&["--echo=false"]));
    }

    #[test]
    fn several_origins_may_be_allowed() {
        let args = ["--allow-origin=https://a.example", "--allow-origin", "http://[::1]:80,null://b"];
        let args = args.map(str::to_owned);

        let expected = ["https://a.example", "http://[::1]:80", "null://b"];
        assert_eq!(flags(&args).into_config().unwrap().allow_origin, expected);
    }

    #[test]
    fn a_mistake_in_the_file_is_told_with_its_line_and_key() {
        let error = |text: &str| file(text).map(|_| ()).unwrap_err();

        assert_eq!(
            error("# a comment\n\ntick-rate = 0\n"),
            "a.toml, line 3, tick-rate: \"0\" is not a whole number from 1 to 60"
        );
        assert_eq!(
            error("seed = 1\nidle-timeout = 30\n"),
            "a.toml, line 2, idle-timeout: \"30\" is not a duration: write a whole number and its unit, as in 500ms, 30s \
             or 2m"
        );
        assert!(
            error("\ntickrate = 20")
                .starts_with("a.toml, line 2: unknown key `tickrate`, expected one of `listen`")
        );
        assert!(error("seed = \n").starts_with("a.toml, line 1: "));
        assert!(error("seed = 1\nseed = 2\n").starts_with("a.toml, line 2: duplicate key"));
        assert!(error("allow-origin = [\n\"https://A\"]").starts_with("a.toml, line 1, allow-origin: "));
        assert!(error("echo = [true]\n").starts_with("a.toml, line 1, echo: invalid type: sequence"));
    }

    #[test]
    fn a_configuration_built_by_hand_is_held_to_the_same_ranges() {
        let why = |config: Config| config.check().unwrap_err().to_string();
        let fine = Config::default;

        assert_eq!(
            why(Config { tick_rate: 61, ..fine() }),
            "tick_rate: \"61\" is not a whole number from 1 to 60"
        );
        assert_eq!(
            why(Config { io_threads: 0, ..fine() }),
            "io_threads: \"0\" is not a whole number from 1 to 64"
        );
        assert!(why(Config { connections_max: 0, ..fine() }).starts_with("connections_max: "));
        assert!(why(Config { players: 0, ..fine() }).starts_with("players: "));
        assert!(why(Config { capacity: 0, ..fine() }).starts_with("capacity: "));
        assert!(why(Config { idle_timeout: Duration::ZERO, ..fine() }).starts_with("idle_timeout: "));
        assert!(why(Config { slow_timeout: Duration::MAX, ..fine() }).starts_with("slow_timeout: "));
        assert!(why(Config { hello_timeout: Duration::ZERO, ..fine() }).starts_with("hello_timeout: "));
        assert!(why(Config { allow_origin: vec!["*".to_owned()], ..fine() }).starts_with("allow_origin: "));
        assert!(why(Config { log: "a=b=c".to_owned(), ..fine() }).starts_with("log: "));
        assert!(
            why(Config { players: 20_000, ..fine() })
                .starts_with("--players 20000 is more than --capacity 10000")
        );
    }

    #[test]
    fn the_two_ports_must_differ_wherever_they_meet() {
        let meet = |listen: &str, admin: &str| {
            let config = Config {
                listen: listen.parse().unwrap(),
                admin: Some(admin.parse().unwrap()),
                ..Config::default()
            };
            config.check().is_err()
        };

        assert!(meet("127.0.0.1:7070", "127.0.0.1:7070"));
        assert!(meet("0.0.0.0:7070", "127.0.0.1:7070"));
        assert!(meet("127.0.0.1:7070", "[::]:7070"));
        assert!(!meet("127.0.0.1:7070", "127.0.0.2:7070"));
        assert!(!meet("127.0.0.1:0", "127.0.0.1:0"));
    }
}
