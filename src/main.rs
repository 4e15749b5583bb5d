//! The `tickyard` command: flags in, a running server out.
//!
//! stdout says where the server is; logs and errors go to stderr. Exit code 2 means that the configuration has to
//! change, 1 that the server could not run.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::FromArgMatches;
use tickyard::config::{self, Config, Flags};
use tickyard::game::arena::Arena;
use tickyard::{Error, Server};

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
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for line in config::unknown_variables(&config::command("serve", "serve"), names) {
        tracing::warn!("{line}");
    }
    serve(config)
}

fn serve(config: Config) -> Result<(), Error> {
    let (tick_rate, players, far) = (config.tick_rate, config.players, config.far_rate);
    Server::bind(config)?.game("arena", move |_| Arena::new(tick_rate, players).with_far(far)).run()
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
