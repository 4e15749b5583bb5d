//! The knobs as people turn them: flags, variables of the environment and keys of a file, from one declaration.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::Config;
use super::explain::explain_file;
use super::values::{
    Address, Admin, Connections, Deflate, FarRate, FrameRate, Interval, LogFilter, MessageBytes, Origin,
    Phases, Players, Proxy, Rooms, Seed, Speed, Switch, Threads, TickRate, Timeout,
};
use crate::error::Error;

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
  {usage} --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem
  {usage} --tick-rate 30 --players 2000     finer ticks, laid out for 2,000
  {usage} --rooms 100 --players 50          up to 100 rooms of 50
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
        // One line a flag, however long the longest name is.
        .term_width(0)
        .help_template("{about}\n\n{before-help}Usage: {usage}\n\n{all-args}{after-help}");
    Flags::augment_args(command)
}

const DOOR: &str = "Where, and who may come";
const GAME: &str = "The game";
const COST: &str = "What each may cost";
const PROCESS: &str = "The process";

/// The knobs as flags, variables and keys at once.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Knobs {
    /// Where players connect [default: 127.0.0.1:7070]
    #[arg(long, env = "TICKYARD_LISTEN", help_heading = DOOR, hide_env = true, value_name = "ADDRESS")]
    listen: Option<Address>,
    /// Where /metrics is; "off": nowhere [default: 127.0.0.1:7071]
    #[arg(long, env = "TICKYARD_ADMIN", help_heading = DOOR, hide_env = true, value_name = "ADDRESS")]
    admin: Option<Admin>,
    /// Ticks a second, 1 to 60 [default: 20]
    #[arg(long, env = "TICKYARD_TICK_RATE", help_heading = GAME, hide_env = true, value_name = "HZ")]
    tick_rate: Option<TickRate>,
    /// Threads that serve sockets [default: 1]
    #[arg(long, env = "TICKYARD_IO_THREADS", help_heading = PROCESS, hide_env = true, value_name = "COUNT")]
    io_threads: Option<Threads>,
    /// Threads that simulate; rooms are dealt out to them [default: 1]
    #[arg(long, env = "TICKYARD_SIM_THREADS", help_heading = PROCESS, hide_env = true, value_name = "COUNT")]
    sim_threads: Option<Threads>,
    /// Spread rooms over so many phases of the tick period [default: 10]
    #[arg(long, env = "TICKYARD_PHASES", help_heading = PROCESS, hide_env = true, value_name = "COUNT")]
    phases: Option<Phases>,
    /// Add GET /echo, a WebSocket that returns each message
    #[arg(long, env = "TICKYARD_ECHO", help_heading = PROCESS, hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", hide_possible_values = true)]
    echo: Option<Switch>,
    /// Compress for clients that offer it: off, on (large messages), state (ticks too) [default: off]
    #[arg(long, env = "TICKYARD_DEFLATE", help_heading = PROCESS, hide_env = true, value_name = "WHAT", num_args = 0..=1, default_missing_value = "on")]
    deflate: Option<Deflate>,
    /// Connections open at once; more are answered 503 [default: 10000]
    #[arg(long, env = "TICKYARD_MAX_CONNECTIONS", help_heading = COST, hide_env = true, value_name = "COUNT")]
    max_connections: Option<Connections>,
    /// Connections open at once from one address, or one IPv6 /64 [default: 256]
    #[arg(long, env = "TICKYARD_MAX_CONNECTIONS_PER_ADDRESS", help_heading = COST, hide_env = true, value_name = "COUNT")]
    max_connections_per_address: Option<Connections>,
    /// Let that limit hold for this machine's own addresses too
    #[arg(long, env = "TICKYARD_LIMIT_LOOPBACK", help_heading = COST, hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", hide_possible_values = true)]
    limit_loopback: Option<Switch>,
    /// Believe this proxy, or network of proxies, whose connection it passes on; repeatable
    #[arg(long, env = "TICKYARD_TRUSTED_PROXY", help_heading = DOOR, hide_env = true, value_name = "CIDR", value_delimiter = ',')]
    trusted_proxy: Option<Vec<Proxy>>,
    /// Players that a room is laid out for; cell size follows [default: 1000]
    #[arg(long, env = "TICKYARD_PLAYERS", help_heading = GAME, hide_env = true, value_name = "COUNT")]
    players: Option<Players>,
    /// Seats in a room; with several --rooms as many as --players [default: 10000]
    #[arg(long, env = "TICKYARD_CAPACITY", help_heading = GAME, hide_env = true, value_name = "COUNT")]
    capacity: Option<Players>,
    /// Tell a player's far cells at every 1, 2, 4 or 8 ticks: fewer bytes, and far motion is seen later [default: 1]
    #[arg(long, env = "TICKYARD_FAR_RATE", help_heading = GAME, hide_env = true, value_name = "TICKS")]
    far_rate: Option<FarRate>,
    /// Rooms that may be open; another one opens when all are full [default: 1]
    #[arg(long, env = "TICKYARD_ROOMS", help_heading = GAME, hide_env = true, value_name = "COUNT")]
    rooms: Option<Rooms>,
    /// Seed of the rooms' random source [default: 1]
    #[arg(long, env = "TICKYARD_SEED", help_heading = GAME, hide_env = true, value_name = "NUMBER")]
    seed: Option<Seed>,
    /// Close a connection that sends nothing for this long [default: 30s]
    #[arg(long, env = "TICKYARD_IDLE_TIMEOUT", help_heading = COST, hide_env = true, value_name = "DURATION")]
    idle_timeout: Option<Timeout>,
    /// Ping a connection that sends nothing for this long; or "off" [default: 10s]
    #[arg(long, env = "TICKYARD_PING_INTERVAL", help_heading = COST, hide_env = true, value_name = "DURATION")]
    ping_interval: Option<Interval>,
    /// Close a connection that takes nothing for this long [default: 60s]
    #[arg(long, env = "TICKYARD_SLOW_TIMEOUT", help_heading = COST, hide_env = true, value_name = "DURATION")]
    slow_timeout: Option<Timeout>,
    /// Close a connection whose request is not there in this time [default: 10s]
    #[arg(long, env = "TICKYARD_HANDSHAKE_TIMEOUT", help_heading = COST, hide_env = true, value_name = "DURATION")]
    handshake_timeout: Option<Timeout>,
    /// Close a connection that does not say hello in this time [default: 10s]
    #[arg(long, env = "TICKYARD_HELLO_TIMEOUT", help_heading = COST, hide_env = true, value_name = "DURATION")]
    hello_timeout: Option<Timeout>,
    /// Longest message that a player may send [default: 16384]
    #[arg(long, env = "TICKYARD_MAX_MESSAGE_BYTES", help_heading = COST, hide_env = true, value_name = "BYTES")]
    max_message_bytes: Option<MessageBytes>,
    /// Messages, pings and fragments that a player may send a second [default: 150]
    #[arg(long, env = "TICKYARD_MESSAGES_PER_SECOND", help_heading = COST, hide_env = true, value_name = "COUNT")]
    messages_per_second: Option<FrameRate>,
    /// Bytes that a player may send a second [default: 32768]
    #[arg(long, env = "TICKYARD_BYTES_PER_SECOND", help_heading = COST, hide_env = true, value_name = "BYTES")]
    bytes_per_second: Option<Speed>,
    /// Besides the server's own page, let pages of this origin connect; repeatable [default: on loopback, all of this machine]
    #[arg(
        long,
        env = "TICKYARD_ALLOW_ORIGIN", help_heading = DOOR,
        hide_env = true,
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    allow_origin: Option<Vec<Origin>>,
    /// Speak TLS with this certificate chain (PEM); SIGHUP reads it again
    #[arg(long, env = "TICKYARD_TLS_CERT", help_heading = DOOR, hide_env = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, env = "TICKYARD_TLS_KEY", help_heading = DOOR, hide_env = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Tell browsers to come over https:// only, for a year
    #[arg(long, env = "TICKYARD_HSTS", help_heading = DOOR, hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", hide_possible_values = true)]
    hsts: Option<Switch>,
    /// Write to this directory what all threads did, when a tick overruns; SIGUSR1 does too
    #[arg(long, env = "TICKYARD_FLIGHT_DIR", help_heading = PROCESS, hide_env = true, value_name = "DIR")]
    flight_dir: Option<PathBuf>,
    /// Which log lines go to stderr, as in warn or info,tickyard=debug [default: info]
    #[arg(long, env = "TICKYARD_LOG", help_heading = PROCESS, hide_env = true, value_name = "FILTER")]
    log: Option<LogFilter>,
    /// Write log lines as JSON
    #[arg(long, env = "TICKYARD_LOG_JSON", help_heading = PROCESS, hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
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
            sim_threads: self.sim_threads.or(below.sim_threads),
            phases: self.phases.or(below.phases),
            echo: self.echo.or(below.echo),
            deflate: self.deflate.or(below.deflate),
            max_connections: self.max_connections.or(below.max_connections),
            max_connections_per_address: self
                .max_connections_per_address
                .or(below.max_connections_per_address),
            limit_loopback: self.limit_loopback.or(below.limit_loopback),
            trusted_proxy: self.trusted_proxy.or(below.trusted_proxy),
            players: self.players.or(below.players),
            capacity: self.capacity.or(below.capacity),
            far_rate: self.far_rate.or(below.far_rate),
            rooms: self.rooms.or(below.rooms),
            seed: self.seed.or(below.seed),
            idle_timeout: self.idle_timeout.or(below.idle_timeout),
            ping_interval: self.ping_interval.or(below.ping_interval),
            slow_timeout: self.slow_timeout.or(below.slow_timeout),
            handshake_timeout: self.handshake_timeout.or(below.handshake_timeout),
            hello_timeout: self.hello_timeout.or(below.hello_timeout),
            max_message_bytes: self.max_message_bytes.or(below.max_message_bytes),
            messages_per_second: self.messages_per_second.or(below.messages_per_second),
            bytes_per_second: self.bytes_per_second.or(below.bytes_per_second),
            allow_origin: self.allow_origin.or(below.allow_origin),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            hsts: self.hsts.or(below.hsts),
            flight_dir: self.flight_dir.or(below.flight_dir),
            log: self.log.or(below.log),
            log_json: self.log_json.or(below.log_json),
        }
    }

    /// These, and where they say nothing, what `config` says.
    fn over(self, config: Config) -> Config {
        let proxies = self.trusted_proxy.map(|list| list.into_iter().map(|proxy| proxy.0).collect());
        let origins = self.allow_origin.map(|list| list.into_iter().map(|origin| origin.0).collect());
        let players = self.players.map_or(config.players, |it| it.0 as u32);
        let rooms = self.rooms.map_or(config.rooms, |it| it.0 as u32);
        let has_several = self.rooms.is_some_and(|it| it.0 > 1);
        let capacity = if has_several { players } else { config.capacity };
        Config {
            listen: self.listen.map_or(config.listen, |it| it.0),
            admin: self.admin.map_or(config.admin, |it| it.0),
            tick_rate: self.tick_rate.map_or(config.tick_rate, |it| it.0 as u16),
            io_threads: self.io_threads.map_or(config.io_threads, |it| it.0 as usize),
            sim_threads: self.sim_threads.map_or(config.sim_threads, |it| it.0 as usize),
            phases: self.phases.map_or(config.phases, |it| it.0 as u32),
            echo: self.echo.map_or(config.echo, |it| it.0),
            deflate: self.deflate.map_or(config.deflate, |it| it.0),
            connections_max: self.max_connections.map_or(config.connections_max, |it| it.0 as usize),
            connections_per_address_max: self
                .max_connections_per_address
                .map_or(config.connections_per_address_max, |it| it.0 as usize),
            limit_loopback: self.limit_loopback.map_or(config.limit_loopback, |it| it.0),
            trusted_proxies: proxies.unwrap_or(config.trusted_proxies),
            players,
            capacity: self.capacity.map_or(capacity, |it| it.0 as u32),
            far_rate: self.far_rate.map_or(config.far_rate, |it| it.0),
            rooms,
            seed: self.seed.map_or(config.seed, |it| it.0),
            idle_timeout: self.idle_timeout.map_or(config.idle_timeout, |it| it.0),
            ping_interval: self.ping_interval.map_or(config.ping_interval, |it| it.0),
            slow_timeout: self.slow_timeout.map_or(config.slow_timeout, |it| it.0),
            handshake_timeout: self.handshake_timeout.map_or(config.handshake_timeout, |it| it.0),
            hello_timeout: self.hello_timeout.map_or(config.hello_timeout, |it| it.0),
            message_bytes_max: self.max_message_bytes.map_or(config.message_bytes_max, |it| it.0 as usize),
            messages_per_second: self
                .messages_per_second
                .map_or(config.messages_per_second, |it| it.0 as u32),
            bytes_per_second: self.bytes_per_second.map_or(config.bytes_per_second, |it| it.0 as u32),
            allow_origin: origins.unwrap_or(config.allow_origin),
            tls_cert: self.tls_cert.or(config.tls_cert),
            tls_key: self.tls_key.or(config.tls_key),
            hsts: self.hsts.map_or(config.hsts, |it| it.0),
            flight_dir: self.flight_dir.or(config.flight_dir),
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

#[cfg(test)]
mod tests;
