//! The `tickyard` command: flags in, a running server out.
//!
//! stdout says where the server is; logs and errors go to stderr. Exit code 2 means that the configuration has to
//! change, 1 that the server could not run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use clap::FromArgMatches;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tickyard::admin::Admin;
use tickyard::config::{self, Config, Flags};
use tickyard::descriptors;
use tickyard::error::Error;
use tickyard::metrics::Metrics;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics when nobody reads stderr.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), Error> {
    let help = match std::env::args_os().nth(1) {
        Some(word) if word == "serve" => "tickyard serve --help",
        _ => "tickyard --help",
    };
    let matches = command().try_get_matches().map_err(|error| config::explain(error, help))?;
    // `serve` is the only command, and clap insists on one.
    let (_, of_serve) = matches.subcommand().expect("a command");
    let flags = Flags::from_arg_matches(of_serve).map_err(|error| config::explain(error, help))?;
    let config = flags.into_config()?;
    config.log_to_stderr()?;
    if let Some(warning) = descriptors::shortage(descriptors::raise(), config.connections_max) {
        tracing::warn!("{warning}");
    }
    serve(config)
}

fn serve(config: Config) -> Result<(), Error> {
    let not_listening = |source| Error::Listen { flag: "--listen", address: config.listen, source };
    let listener = TcpListener::bind(config.listen).map_err(not_listening)?;
    let listen = listener.local_addr().map_err(not_listening)?;
    let metrics = Arc::new(Metrics::new());
    let admin = config.admin.map(|address| Admin::start(address, Arc::clone(&metrics))).transpose()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|source| Error::System { doing: "listen for signals", source })?;
    print(&banner(&config, listen, admin.as_ref().map(Admin::address)));
    signals.forever().next();
    if let Some(admin) = admin {
        admin.stop();
    }
    Ok(())
}

fn command() -> clap::Command {
    let examples = "\
Examples:
  tickyard serve                            play on this machine, at http://127.0.0.1:7070
  tickyard serve --listen 0.0.0.0:7070      let others in
  tickyard serve --help                     every flag";
    clap::Command::new("tickyard")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A multiplayer game state relay server.")
        .before_help(examples)
        .help_template("{about}\n\n{before-help}Usage: {usage}\n\n{all-args}")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            config::command("serve", "tickyard serve").about("Runs the arena, the game that is built in."),
        )
}

/// What a person who has just started the server wants to know: where everything is, and what to look out for.
/// `listen` and `admin` carry the real ports, also where 0 was asked for.
fn banner(config: &Config, listen: SocketAddr, admin: Option<SocketAddr>) -> String {
    let here = reachable(listen);
    let mut text = format!("tickyard {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<9}{value}");
    };
    line("play", format!("http://{here}/"));
    line("clients", format!("ws://{here}/play"));
    if config.echo {
        line("echo", format!("ws://{here}/echo"));
    }
    line("health", format!("http://{here}/healthz"));
    match admin {
        Some(admin) => line("metrics", format!("http://{}/metrics", reachable(admin))),
        None => line("metrics", "off".to_owned()),
    }
    line(
        "room",
        format!("{} ticks a second, {} seats, seed {}", config.tick_rate, config.capacity, config.seed),
    );
    for note in notes(listen, admin) {
        let _ = write!(text, "\n{note}\n");
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}

fn notes(listen: SocketAddr, admin: Option<SocketAddr>) -> Vec<String> {
    let mut notes = Vec::new();
    if listen.ip().is_unspecified() {
        let port = listen.port();
        notes.push(format!(
            "It listens on every address of this machine: others play at http://<this machine's address>:{port}/"
        ));
    }
    if let Some(admin) = admin
        && !admin.ip().is_loopback()
    {
        notes.push(format!(
            "The admin port {admin} is not on loopback: whoever reaches it can read the metrics."
        ));
    }
    notes
}

/// The address under which a browser on this machine reaches `address`; the unspecified one is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn print(text: &str) {
    // Not `print!`, which panics when nobody reads stdout: that is no reason for a server to end.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_every_place_with_its_real_port() {
        let config = Config { echo: true, ..Config::default() };
        let listen = ([127, 0, 0, 1], 40_001).into();
        let admin = ([127, 0, 0, 1], 40_002).into();

        assert_eq!(
            banner(&config, listen, Some(admin)),
            "tickyard 0.1.0

  play     http://127.0.0.1:40001/
  clients  ws://127.0.0.1:40001/play
  echo     ws://127.0.0.1:40001/echo
  health   http://127.0.0.1:40001/healthz
  metrics  http://127.0.0.1:40002/metrics
  room     20 ticks a second, 10000 seats, seed 1

Ctrl-C stops it.
"
        );
    }

    #[test]
    fn a_server_open_to_others_says_so() {
        let config = Config::default();
        let listen = ([0, 0, 0, 0], 7070).into();
        let admin = "[::]:7071".parse().unwrap();

        let text = banner(&config, listen, Some(admin));

        assert!(text.contains("play     http://127.0.0.1:7070/\n"), "{text}");
        assert!(text.contains("metrics  http://[::1]:7071/metrics\n"), "{text}");
        assert!(text.contains("http://<this machine's address>:7070/\n"), "{text}");
        assert!(text.contains("The admin port [::]:7071 is not on loopback"), "{text}");
    }

    #[test]
    fn without_an_admin_port_the_metrics_are_off() {
        let text = banner(&Config::default(), ([127, 0, 0, 1], 7070).into(), None);

        assert!(text.contains("  metrics  off\n"), "{text}");
        assert!(!text.contains("echo"), "{text}");
    }
}
