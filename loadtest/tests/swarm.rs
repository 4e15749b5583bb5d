//! The `swarm` command against the server, and against small ones that are honest and that are not.

mod fake;

use fake::{Fake, Fault};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tickyard::config::Compression;
use tickyard::game::arena::Arena;
use tickyard::{Config, Server};

fn swarm(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_swarm")).args(flags).output().expect("the swarm starts")
}

/// Sends a small swarm against a small server with this fault: the exit code, the report and the last line.
fn run(fault: Fault, bots: &str) -> (Option<i32>, Value, String) {
    let server = Fake::start(fault);
    run_against(server.address, &format!("{fault:?}"), bots)
}

fn run_against(address: SocketAddr, name: &str, bots: &str) -> (Option<i32>, Value, String) {
    run_with(address, name, bots, &[])
}

fn run_with(address: SocketAddr, name: &str, bots: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let url = format!("ws://{address}/play");
    let name = format!("swarm-{}-{name}.json", std::process::id());
    let json = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let flags =
        ["--url", &url, "--bots", bots, "--ramp", "200ms", "--for", "3s", "--json", json.to_str().unwrap()];
    let output = swarm(&[&flags, more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let report = std::fs::read(&json).unwrap_or_else(|_| panic!("a report: {:?}", output.stderr));
    let report = serde_json::from_slice(&report).unwrap();
    println!("{text}");
    (output.status.code(), report, text.lines().last().unwrap_or_default().to_string())
}

/// Nothing was wrong. On a machine that is busy with other tests a run may be invalid for being late, and says so.
fn assert_clean((code, report, verdict): &(Option<i32>, Value, String)) {
    assert_eq!(report["connected"], report["bots"], "{report:#}");
    assert_eq!((&report["errors"], &report["violations"]), (&0.into(), &0.into()), "{report:#}");
    match report["valid"] == true {
        true => assert_eq!((*code, verdict.as_str()), (Some(0), "passed")),
        false => {
            assert_eq!(*code, Some(1));
            assert!(verdict.starts_with("failed: not a valid run: sends were late by "), "{verdict}");
        }
    }
}

/// The server itself, with its arena, on a port that the kernel chose.
fn arena() -> tickyard::Running {
    arena_with(Config::default())
}

fn arena_with(config: Config) -> tickyard::Running {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen: local, admin: None, ..config };
    let (tick_rate, players) = (config.tick_rate, config.players);
    let server = Server::bind(config).unwrap().game("arena", move |_| Arena::new(tick_rate, players));
    server.start().unwrap()
}

#[test]
fn the_arena_passes() {
    let server = arena();
    let run = run_against(server.address(), "arena", "80");
    server.stop();
    assert_clean(&run);
    let report = run.1;
    assert!(report["delivered_ratio"].as_f64() > Some(0.9), "{report:#}");
    assert_eq!(report["agreement"]["bots"], 80);
    assert!(report["agreement"]["fields"].as_u64() > Some(1000), "{report:#}");
}

#[test]
fn the_arena_passes_with_its_state_compressed_and_a_server_that_does_not_compress_fails() {
    let server = arena_with(Config { deflate: Compression::State, players: 40, ..Config::default() });
    let run = run_with(server.address(), "deflate", "40", &["--deflate"]);
    server.stop();
    assert_clean(&run);
    assert_eq!(run.1["agreement"]["differences"], 0, "{:#}", run.1);

    let server = arena();
    let (code, report, _) = run_with(server.address(), "no-deflate", "2", &["--deflate"]);
    server.stop();
    assert_eq!((code, &report["connected"]), (Some(1), &0.into()), "{report:#}");
    let reason = "handshake: the server does not compress, and --deflate needs it to";
    assert_eq!(report["error_reasons"][reason], 2, "{report:#}");
}

#[test]
fn a_game_that_the_server_does_not_know_is_an_error_in_its_words() {
    let server = arena();
    let url = format!("ws://{}/play", server.address());
    let output = swarm(&["--url", &url, "--bots", "2", "--game", "chess", "--for", "1s"]);
    server.stop();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("error: 2 x refused (2): "), "{text}");
}

#[test]
fn an_honest_server_passes_and_all_worlds_are_compared() {
    let run = run(Fault::None, "60");
    assert_clean(&run);
    let report = run.1;
    assert_eq!(report["delivered_ratio"], 1.0);
    assert_eq!(report["agreement"]["bots"], 60);
    assert!(report["agreement"]["observers"].as_u64() > Some(0));
    assert!(report["agreement"]["fields"].as_u64().unwrap() > 60 * 50 * 4, "{report:#}");
    assert!(report["sums_checked"].as_u64().unwrap() > 1000);
    assert!(report["bytes_per_change"].as_f64().unwrap() > 0.5);
    assert!(report["messages_out_per_s"].as_f64().unwrap() > 500.0);
    assert!(report["input_to_state_ms"]["p50"].as_f64() < Some(200.0));
}

#[test]
fn bots_come_and_go_and_their_worlds_are_compared_all_the_same() {
    let server = arena();
    let run = run_with(server.address(), "churn", "40", &["--churn", "20/s", "--behaviour", "crowd"]);
    server.stop();
    assert_clean(&run);
    let report = run.1;
    let left = report["left"].as_u64().unwrap();
    assert!((20..=60).contains(&left), "{report:#}");
    assert!(report["handshake_ms"]["count"].as_u64() >= Some(40 + left / 2), "{report:#}");
    assert_eq!(report["agreement"]["bots"], 40);
    assert_eq!(report["slow_readers"], Value::Null);
    let staleness = &report["staleness_ms"];
    assert!(
        staleness["count"].as_u64() > Some(100) && staleness["p50"].as_f64() < Some(500.0),
        "{staleness:#}"
    );
    assert!(report["entities_in_view"].as_f64() > Some(1.0), "{report:#}");
}

#[test]
fn worlds_are_compared_with_those_of_the_same_room() {
    let server = arena_with(Config { rooms: 3, capacity: 20, players: 20, ..Config::default() });
    let run = run_with(server.address(), "rooms", "50", &[]);
    server.stop();
    assert_clean(&run);
    let report = run.1;
    assert_eq!((&report["rooms"], &report["agreement"]["bots"]), (&3.into(), &50.into()), "{report:#}");
    // The other two rooms are full.
    assert!((1..=2).contains(&report["agreement"]["observers"].as_u64().unwrap()), "{report:#}");
    assert_eq!(report["agreement"]["differences"], 0, "{report:#}");
    assert!(report["delivered_ratio"].as_f64() > Some(0.9), "{report:#}");
    assert!((15.0..25.0).contains(&report["ticks_per_s"].as_f64().unwrap()), "{report:#}");
}

#[test]
fn slow_readers_that_were_never_skipped_prove_nothing() {
    let server = Fake::start(Fault::None);
    let flags = ["--behaviour", "slow-reader=5%", "--for", "10s"];
    let url = format!("ws://{}/play", server.address);
    let output =
        swarm(&[&["--url", &url, "--bots", "40", "--ramp", "200ms", "--json", "-"], &flags[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["violations"]), (Some(1), &0.into()), "{report:#}");
    let slow = &report["slow_readers"];
    assert_eq!([&slow["bots"], &slow["never_skipped"]], [&Value::from(2), &Value::from(2)]);
    assert!(slow["stops"].as_u64() >= Some(2), "{slow:#}");
    let why = report["invalid_reasons"][0].as_str().unwrap();
    assert!(why.starts_with("2 of 2 of the slow-readers were never skipped"), "{why}");
}

#[test]
fn ticks_that_come_late_lower_the_delivered_ratio_and_nothing_else() {
    let run = run(Fault::SkipsTicks, "20");
    assert_clean(&run);
    let report = run.1;
    let each = &report["delivered_per_bot"];
    for delivered in [&report["delivered_ratio"], &each["min"], &each["p50"]] {
        assert!((0.70..0.80).contains(&delivered.as_f64().unwrap()), "{delivered}");
    }
}

#[test]
fn wrong_sums_fail_the_run() {
    let (code, report, verdict) = run(Fault::WrongSums, "20");
    assert_eq!(code, Some(1));
    assert!(report["desyncs"].as_u64().unwrap() > 10);
    assert!(verdict.starts_with("failed: ") && verdict.contains("violations"), "{verdict}");
}

#[test]
fn a_snapshot_that_differs_from_what_is_held_fails_the_run() {
    let (code, report, _) = run(Fault::TellsOtherwise, "20");
    assert_eq!(code, Some(1));
    assert_eq!(report["desyncs"], 0);
    assert!(report["agreement"]["differences"].as_u64().unwrap() >= 20, "{report:#}");
    let spelt = report["violations_spelt"][0].as_str().unwrap();
    assert!(spelt.contains("is told with the statics \"liar\""), "{spelt}");
}

#[test]
fn connections_that_the_server_closes_are_errors_with_their_reason() {
    let (code, report, verdict) = run(Fault::Closes, "20");
    assert_eq!(code, Some(1));
    assert_eq!(report["error_reasons"]["playing: closed with 1013 (enough of you)"], 10);
    assert!(verdict.contains("10 errors"), "{verdict}");
}

#[test]
fn a_signal_ends_a_run_early_with_the_report_so_far() {
    let server = Fake::start(Fault::None);
    let url = format!("ws://{}/play", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
    command.args(["--url", &url, "--bots", "10", "--ramp", "100ms", "--for", "5m"]);
    let mut swarm = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(swarm.stderr.take().unwrap()).lines();
    assert!(progress.any(|line| line.unwrap().contains("steady")));
    let pid = rustix::process::Pid::from_child(&swarm);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = swarm.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("10 of 10 connected"), "{text}");
    let verdict = text.lines().last().unwrap();
    assert!(verdict.starts_with("failed: not a valid run: interrupted in phase steady"), "{verdict}");
}

#[test]
fn players_that_are_refused_are_missing_and_told_why() {
    let (code, report, verdict) = run(Fault::Refuses, "20");
    assert_eq!((code, report["connected"].as_u64()), (Some(1), Some(10)));
    assert!(report["error_reasons"]["refused (7): no odd ones"].as_u64() >= Some(10));
    assert!(verdict.contains("10 of 20 bots did not get in"), "{verdict}");
}

#[test]
fn a_server_that_is_not_there_is_said_in_one_line() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = swarm(&["--url", &format!("ws://127.0.0.1:{port}/play"), "--bots", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "error: cannot connect to 127.0.0.1:{port}: connection refused; is the server running? start it with: cargo run \
             --release -- serve\n"
        )
    );
    assert!(output.stdout.is_empty());
}

/// Each kind of hostile peer, and how its lives have to end against the real server: nothing else may stand there.
const HOSTILE: [(&str, &[&str]); 16] = [
    ("bad-hellos", &["close 1008", "close 4001"]),
    ("bad-messages", &["close 1008"]),
    ("broken-frames", &["close 1002", "close 1003", "close 1007", "close 1009"]),
    ("fragment-flood", &["close 1008"]),
    ("garbage", &["dropped", "status 400"]),
    ("garbage-frames", &["close 1002", "close 1003", "close 1007", "close 1008", "close 1009"]),
    ("header-bomb", &["status 414", "status 431"]),
    ("message-flood", &["close 1008"]),
    ("never-reading", &["reset"]),
    ("ping-flood", &["close 1008"]),
    ("ping-flood-unread", &["close 1008", "dropped", "reset"]),
    ("rst-storm", &[]),
    ("silent", &["status 408"]),
    ("silent-upgraded", &["close 1008"]),
    ("single-bytes", &[]),
    ("slow-handshake", &["status 408"]),
];

#[test]
fn each_kind_of_hostile_peer_is_answered_as_the_protocol_says() {
    // Small limits where the default ones take longer than a test should.
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let short = Duration::from_secs(2);
    let config =
        Config { listen: local, admin: None, hello_timeout: short, slow_timeout: short, ..Config::default() };
    let tick_rate = config.tick_rate;
    let server =
        Server::bind(config).unwrap().game("arena", move |_| Arena::new(tick_rate, 20)).start().unwrap();

    let (code, report) = run_hostile(server.address(), "hostile", &["--bots", "48", "--for", "17s"]);
    server.stop();

    assert_eq!((code, &report["passed"]), (Some(0), &true.into()), "{report:#}");
    let kinds = report["kinds"].as_array().unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(names, HOSTILE.map(|(name, _)| name));
    for (kind, (name, endings)) in kinds.iter().zip(HOSTILE) {
        let found: Vec<_> = kind["endings"].as_object().unwrap().keys().collect();
        assert!(found.iter().all(|ending| endings.contains(&ending.as_str())), "{kind:#}");
        assert!(!found.is_empty() || endings.is_empty(), "{kind:#}");
        assert_eq!((&kind["verdict"], &kind["turned_away"]), (&"ok".into(), &0.into()), "{name}");
        assert_eq!(kind["peers"], 3);
        assert!(kind["connected"].as_u64() >= Some(3), "{kind:#}");
    }
    let joined =
        |name: &str| kinds[names.iter().position(|&other| other == name).unwrap()]["joined"].as_u64();
    assert_eq!(joined("single-bytes"), Some(3), "who keeps to the rules gets in, and stays");
}

#[test]
fn a_server_that_lets_hostile_peers_go_on_fails_the_run() {
    let server = Fake::start(Fault::None);
    let (code, report) = run_hostile(server.address, "message-flood", &["--bots", "1", "--for", "8s"]);
    assert_eq!((code, &report["passed"]), (Some(1), &false.into()), "{report:#}");
    assert_eq!(report["kinds"][0]["verdict"], "broken");
    let why = report["kinds"][0]["why"].as_str().unwrap();
    assert!(why.contains("not closed in 5 s"), "{why}");
}

/// Sends peers of this behaviour: the exit code and the report.
fn run_hostile(address: SocketAddr, behaviour: &str, flags: &[&str]) -> (Option<i32>, Value) {
    let url = format!("ws://{address}/play");
    let common = ["--url", &url, "--behaviour", behaviour, "--ramp", "200ms", "--json", "-"];
    let output = swarm(&[&common, flags].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("a report"))
}

#[test]
fn bad_usage_exits_with_2_and_says_what_is_wrong() {
    for (flags, text) in [
        (["--bots", "0"], "--bots"),
        (["--for", "10"], "a time is like 10s"),
        (["--url", "http://127.0.0.1"], "a URL begins with ws://"),
        (["--bots", "1000000"], "descriptors"),
        (["--behaviour", "rude"], "and hostile (a mix of all that follow), bad-hellos, "),
        (["--behaviour", "slow-reader=150%"], "a share is like 5%"),
        (["--behaviour", "half-reader"], "let some others play"),
        (["--churn", "50"], "a rate is like 50/s"),
    ] {
        let output = swarm(&flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?} {error}");
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn the_help_begins_with_examples() {
    let output = swarm(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.starts_with("Examples:\n  swarm "), "{help}");
    assert!(help.contains("delivered") && help.contains("Exit code"), "{help}");
}
