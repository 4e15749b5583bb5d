//! The `swarm` command: thousands of bots that play, measure and judge a Tickyard server.
//!
//! stdout gets the result, stderr the progress and errors. Exit code 0: passed; 1: the server, or the run, is broken; 2:
//! the command line has to change.
//!
//! The way through it: [`run`] leads from phase to phase; [`swarm`] owns the sockets; a [`bot`] turns bytes into a conversation, its
//! [`player`] plays; an [`ear`] listens strictly; [`check`] compares worlds; [`measure`] and [`report`] say what came out.

#![forbid(unsafe_code)]

mod alarm;
mod behaviour;
mod bot;
mod check;
mod churn;
mod clock;
mod ear;
mod frames;
mod group;
mod hostile;
mod keys;
mod link;
mod measure;
mod mind;
mod player;
mod progress;
mod random;
mod reading;
mod record;
mod report;
mod rooms;
mod rules;
mod run;
mod socket;
mod swarm;
mod target;
#[cfg(test)]
mod testing;
mod tls;
mod tunnel;
mod wheel;
mod world;

use behaviour::{Behaviour, Mix, Way};
use bot::Settings;
use clap::Parser;
use hostile::Kind;
use progress::Progress;
use record::Recording;
use report::Report;
use run::Plan;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use target::Target;
use tickyard::descriptors;

/// A swarm of bots that tells how many players a Tickyard server carries.
#[derive(Debug, Parser)]
#[command(version, before_help = EXAMPLES, after_help = EXPLANATION)]
struct Flags {
    /// The server to play on, at ws:// or wss://
    #[arg(long, default_value = "ws://127.0.0.1:7070/play")]
    url: String,
    /// Who may vouch for a wss:// server: certificates in a PEM file [default: those that this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Go through this HTTP proxy (CONNECT), at http://host:port
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Have the server compress (permessage-deflate); one that does not fails the run
    #[arg(long)]
    deflate: bool,
    /// What they do: play; crowd (all run to one spot); slow-reader (stops reading now and then); half-reader (reads half of what comes);
    /// or a mix, such as slow-reader=5%. Or hostile, peers that misbehave and judge how the server answers, or one kind of them, whose
    /// names an unknown one lists
    #[arg(long, default_value = "play", value_parser = Behaviour::parse)]
    behaviour: Behaviour,
    /// So many bots leave, and others come for them, while it is measured: 50/s
    #[arg(long, value_name = "RATE", value_parser = churn::parse)]
    churn: Option<u32>,
    /// How many bots
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bots: u32,
    /// Spread the connects over this time [default: a second for 500 bots, at least one]
    #[arg(long, value_parser = duration)]
    ramp: Option<Duration>,
    /// Measure for this time, after the ramp
    #[arg(long = "for", default_value = "30s", value_parser = duration)]
    steady: Duration,
    /// Decides what the bots do
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many bots keep a world and compare it [default: all, up to 1000]
    #[arg(long)]
    check: Option<u32>,
    /// The game to join
    #[arg(long, default_value = "arena")]
    game: String,
    /// Write the report as JSON to this file (- for stdout)
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write all that bot 0 hears to this file, and the world it ends with to FILE.world.json
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  swarm                                             500 bots for 30 seconds against a server on this machine
  swarm --bots 5000 --ramp 10s --for 1m             more of them
  swarm --bots 20 --for 5s --json report.json       a short check for a build
  swarm --url wss://localhost:7443 --ca cert.pem    over TLS, with a certificate that nobody else trusts
  taskset -c 1 swarm --bots 5000 --check 100        on a core of its own, with fewer worlds to compare
  swarm --bots 2000 --behaviour crowd               all of them on one spot
  swarm --bots 3000 --for 10m --behaviour slow-reader=5% --churn 50/s
                                                    a soak: bots come and go, and some read slowly
  swarm --behaviour hostile --bots 1000 --for 1m    does the server stand a thousand peers who misbehave?";

const EXPLANATION: &str = "\
What is measured, after the ramp:
  input to state   from the time an input was due (not: was sent) to the first state that has it
  staleness        how old what a bot holds is: the time in the room, less the time at which the newest tick was due of
                   which it held the whole view. Looked at whenever an input is due. The time in the room comes from pings
                   and pongs, and is wrong by half of the shortest round trip at most. A world in which nothing happens is
                   heard of once a second, and seems that old.
  delivered        of the ticks at which a bot's view had news, the share that it heard in time. Missed are: a tick that
                   comes later under an age; all ticks since the message before, when the server says that it skipped
                   or sends a snapshot of a cell that was held. Silence while all goes on as predicted is no miss. Told for
                   all bots together, and of each one's own share the least, the 1st percentile and the median.
  bytes per change all bytes that the checked bots received, frame headers and all, for each row that changed before their
                   eyes, summed up over ticks
  own loop lag     how late the swarm was with what was due; at p99 more than 5 ms make a run invalid
  own read lag     how long what it read may have waited for it, at most
At the end the bots stop, and each checked world is compared with fresh snapshots and with the worlds of newcomers to its room, if that has a seat.

Slow bots have receive buffers of 4 KiB and send as often as the others; they are checked first. Who stops does so for 5 to
25 s, seeded, reads for 3 to 10 s, and has to agree with the room again within 1 s. A half reader goes to the middle, where no
stream is thin, and may read half of the bytes that one who reads all reads. Each has to be told that updates were skipped, or the run is invalid. Their figures stand apart
from those of the others.

With --behaviour hostile, what is reported is how the server ended each kind of peer. Who was ended is back within some
seconds with the next attack; together they connect at most 4,000 times and flood at most 16 MiB a second. A kind is broken
if it was ended otherwise than the protocol says, too late, or never; limits are taken to be the server's defaults.

Exit code: 0 passed, 1 the server or the run is broken (a run that the swarm spoiled itself is not valid), 2 bad usage.
";

fn main() -> ExitCode {
    let flags = Flags::parse();
    let (json, record, behaviour) = (flags.json.clone(), flags.record.clone(), flags.behaviour.clone());
    let (exit_code, result) = match (plan(flags), behaviour) {
        (Err(error), _) => (2, Err(error)),
        (Ok(plan), Behaviour::Play(_)) => (1, play(&plan, json, record)),
        (Ok(plan), Behaviour::Hostile(kinds)) => (1, attack(&plan, &kinds, json)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(exit_code)
        }
    }
}

/// Runs and reports. `Ok(false)`: not passed.
fn play(plan: &Plan, json: Option<PathBuf>, record: Option<PathBuf>) -> Result<bool, String> {
    let interrupted = listen_for_signals()?;
    let mut progress = Progress::new();
    let outcome = run::run(plan, &interrupted, &mut progress);
    progress.finish();
    let outcome = outcome?;
    if let (Some(path), Some(recording)) = (record, &outcome.tally.recording) {
        save(recording, &path)?;
    }
    let report = Report::new(plan, &outcome);
    show(|colored| report.to_text(colored), &report.to_json(), json)?;
    Ok(report.passed)
}

/// Misbehaves and reports. `Ok(false)`: the server did not do what it owes.
fn attack(plan: &Plan, kinds: &[Kind], json: Option<PathBuf>) -> Result<bool, String> {
    let interrupted = listen_for_signals()?;
    let mut progress = Progress::new();
    let report = hostile::run(plan, kinds, &interrupted, &mut progress);
    progress.finish();
    let report = report?;
    show(|colored| report.to_text(colored), &report.to_json(), json)?;
    Ok(report.passed)
}

/// True once a signal asks for the end.
fn listen_for_signals() -> Result<Arc<AtomicBool>, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // A second signal ends at once.
        let second = flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted));
        let first = flag::register(signal, Arc::clone(&interrupted));
        second.and(first).map_err(|error| format!("cannot listen for signals: {error}"))?;
    }
    Ok(interrupted)
}

fn show(text: impl Fn(bool) -> String, report: &str, json: Option<PathBuf>) -> Result<(), String> {
    let mut stdout = std::io::stdout();
    let to_stdout = json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let colored = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = if to_stdout { report.to_owned() } else { text(colored) };
    stdout.write_all(text.as_bytes()).map_err(|error| format!("cannot write the report: {error}"))?;
    match json {
        Some(path) if !to_stdout => std::fs::write(&path, report)
            .map_err(|error| format!("cannot write --json {}: {error}", path.display())),
        _ => Ok(()),
    }
}

fn save(recording: &Recording, path: &Path) -> Result<(), String> {
    let Some(world) = recording.world() else {
        return Err(format!("--record {}: bot 0 was not there at the end", path.display()));
    };
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    write(path, recording.lines())?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".world.json");
    write(Path::new(&beside), &format!("{world}\n"))
}

fn plan(flags: Flags) -> Result<Plan, String> {
    let available = descriptors::raise();
    let needed = u64::from(flags.bots) + DESCRIPTORS_RESERVED;
    if needed > available {
        return Err(format!(
            "--bots {} needs {needed} descriptors and this process may have {available}: raise the limit (ulimit -n {needed}) \
             or run at most {} bots",
            flags.bots,
            available.saturating_sub(DESCRIPTORS_RESERVED)
        ));
    }
    let checked = flags.check.unwrap_or(1000).min(flags.bots);
    if flags.record.is_some() && checked == 0 {
        return Err("--record needs a bot that keeps a world: raise --check".to_string());
    }
    let target = Target::parse(&flags.url, flags.proxy.as_deref(), flags.ca.as_deref())?;
    let mix = match &flags.behaviour {
        Behaviour::Play(mix) => mix.clone(),
        Behaviour::Hostile(_) => {
            check_hostile(&flags, &target)?;
            Mix::default()
        }
    };
    check_slow(&mix, flags.steady)?;
    let settings = Settings {
        host: target.host.clone(),
        target: target.path.clone(),
        game: flags.game,
        seed: flags.seed,
        deflate: flags.deflate,
    };
    Ok(Plan {
        url: flags.url,
        target,
        bots: flags.bots,
        checked,
        mix,
        churn: flags.churn,
        ramp: flags.ramp.unwrap_or(Duration::from_secs(1).mul_f64(f64::from(flags.bots.max(500)) / 500.0)),
        steady: flags.steady,
        record: flags.record.is_some(),
        settings,
    })
}

fn check_hostile(flags: &Flags, target: &Target) -> Result<(), String> {
    if target.route.tunnel_to.is_some() || target.route.tls.is_some() {
        return Err(
            "--behaviour: who misbehaves does so on the socket itself, at a ws:// URL without --proxy"
                .to_string(),
        );
    }
    if flags.record.is_some() {
        return Err("--record needs a bot that plays: leave --behaviour out".to_string());
    }
    if flags.churn.is_some() {
        return Err("--churn is for bots that play: who misbehaves comes and goes anyway".to_string());
    }
    Ok(())
}

/// Whether what slow readers are to show can be seen.
fn check_slow(mix: &Mix, steady: Duration) -> Result<(), String> {
    if mix.has(Way::SlowReader) && steady < reading::MEASURED_MIN {
        return Err(format!(
            "--behaviour slow-reader stops reading for {} to {} s: measure for at least {} s (--for)",
            reading::STOP[0].as_secs(),
            reading::STOP[1].as_secs(),
            reading::MEASURED_MIN.as_secs()
        ));
    }
    if mix.has(Way::HalfReader) && !mix.has(Way::Play) && !mix.has(Way::Crowd) {
        return Err("--behaviour half-reader reads half of what others do: let some others play \
                    (half-reader=50%)"
            .to_string());
    }
    Ok(())
}

/// Descriptors that are no bots: files, the poller, the newcomers who compare worlds at the end.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Longer than any run, and far from where sums of times overflow.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// `10s`, `1m30s`, `500ms`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is like 10s, 500ms, 1m or 1m30s".to_string();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = match &tail[..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        let number = u32::try_from(number).map_err(|_| wrong())?;
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &tail[unit_end..];
    }
    if total.is_zero() || total > DURATION_MAX { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(flags: &[&str]) -> Result<Plan, String> {
        plan(Flags::try_parse_from([&["swarm"], flags].concat()).map_err(|error| error.to_string())?)
    }

    #[test]
    fn what_slow_readers_are_to_show_has_to_be_measured_long_enough_and_beside_others() {
        assert!(planned(&["--behaviour", "slow-reader=5%", "--for", "10s", "--churn", "50/s"]).is_ok());
        for (flags, why) in [
            (&["--behaviour", "slow-reader=5%", "--for", "9s"][..], "measure for at least 10 s (--for)"),
            (&["--behaviour", "half-reader"], "let some others play"),
            (&["--behaviour", "half-reader=50%,slow-reader"], "let some others play"),
            (&["--behaviour", "silent", "--churn", "5/s"], "--churn is for bots that play"),
            (&["--churn", "5"], "a rate is like 50/s"),
            (&["--behaviour", "silent=5%"], "in a run of its own"),
        ] {
            let error = planned(flags).unwrap_err();
            assert!(error.contains(why), "{flags:?}: {error}");
        }
    }

    #[test]
    fn times_have_units_and_add_up() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "10", "s", "10 s", "1d", "0s", "99999999999999999999s", "4000000000h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Flags::command().debug_assert();
    }
}
