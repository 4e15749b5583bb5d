use std::time::Duration;

use clap::FromArgMatches;

use super::super::limits;
use super::*;
use crate::bridge::Rate;
use crate::config::Compression;

/// Every knob, with a value that is not its default.
const EVERY_KNOB: [(&str, &str); 32] = [
    ("listen", "0.0.0.0:8000"),
    ("admin", "[::1]:8001"),
    ("tick-rate", "60"),
    ("io-threads", "4"),
    ("sim-threads", "3"),
    ("phases", "5"),
    ("echo", "true"),
    ("deflate", "state"),
    ("max-connections", "20000"),
    ("max-connections-per-address", "10"),
    ("limit-loopback", "true"),
    ("trusted-proxy", "10.0.0.0/8"),
    ("players", "500"),
    ("capacity", "600"),
    ("far-rate", "4"),
    ("rooms", "20"),
    ("seed", "18446744073709551615"),
    ("idle-timeout", "500ms"),
    ("ping-interval", "100ms"),
    ("slow-timeout", "2m"),
    ("handshake-timeout", "3s"),
    ("hello-timeout", "1s"),
    ("max-message-bytes", "65536"),
    ("messages-per-second", "300"),
    ("bytes-per-second", "65536"),
    ("allow-origin", "https://game.example"),
    ("tls-cert", "cert.pem"),
    ("tls-key", "key.pem"),
    ("hsts", "true"),
    ("flight-dir", "flights"),
    ("log", "warn"),
    ("log-json", "true"),
];

fn every_knob_turned() -> Config {
    Config {
        listen: "0.0.0.0:8000".parse().unwrap(),
        admin: Some("[::1]:8001".parse().unwrap()),
        tick_rate: 60,
        io_threads: 4,
        sim_threads: 3,
        phases: 5,
        echo: true,
        deflate: Compression::State,
        connections_max: 20_000,
        connections_per_address_max: 10,
        limit_loopback: true,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        players: 500,
        capacity: 600,
        far_rate: Rate::Four,
        rooms: 20,
        seed: u64::MAX,
        idle_timeout: Duration::from_millis(500),
        ping_interval: Some(Duration::from_millis(100)),
        slow_timeout: Duration::from_secs(120),
        handshake_timeout: Duration::from_secs(3),
        hello_timeout: Duration::from_secs(1),
        message_bytes_max: 65_536,
        messages_per_second: 300,
        bytes_per_second: 65_536,
        allow_origin: vec!["https://game.example".to_owned()],
        tls_cert: Some("cert.pem".into()),
        tls_key: Some("key.pem".into()),
        hsts: true,
        flight_dir: Some("flights".into()),
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
        "allow-origin" | "trusted-proxy" => format!("{name} = [\"{value}\"]\n"),
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
fn several_rooms_have_as_many_seats_as_they_are_laid_out_for_unless_it_is_said() {
    let seats = |text: &str| file(text).unwrap().over(Config::default()).capacity;
    assert_eq!(seats("players = 50\n"), 10_000);
    assert_eq!(seats("players = 50\nrooms = 1\n"), 10_000);
    assert_eq!(seats("players = 50\nrooms = 2\n"), 50);
    assert_eq!(seats("players = 50\nrooms = 2\ncapacity = 60\n"), 60);
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
            (
                Some(
                    "config" | "echo" | "limit-loopback" | "trusted-proxy" | "allow-origin" | "tls-cert"
                    | "tls-key" | "hsts" | "flight-dir" | "log-json",
                ),
                _,
            )
            | (None, _) => {}
            (Some(name), Some(default)) => args.push(format!("--{name}={default}")),
            (Some(name), None) => panic!("--{name} promises no default"),
        }
    }

    assert_eq!(args.len(), EVERY_KNOB.len() - 9);
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
        let lines = "listen = \"127.0.0.1:1\"\nadmin = \"off\"\ntick-rate = 1\nio-threads = 2\nsim-threads = 2\nphases = 2\necho = false\n\
                     max-connections = 1\nmax-connections-per-address = 1\nlimit-loopback = false\n\
                     trusted-proxy = []\nplayers = 1\ncapacity = 1\nfar-rate = 2\nrooms = 3\nseed = 2\nidle-timeout = \"1s\"\n\
                     ping-interval = \"off\"\nslow-timeout = \"1s\"\nhandshake-timeout = \"4s\"\n\
                     hello-timeout = \"2s\"\nmax-message-bytes = 8192\nmessages-per-second = 10\n\
                     bytes-per-second = 4096\nallow-origin = []\ntls-cert = \"a.pem\"\n\
                     tls-key = \"b.pem\"\nhsts = false\nlog = \"error\"\n\
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
    assert_eq!(
        error("trusted-proxy = \"10.0.0.7\"\n"),
        "a.toml, line 1, trusted-proxy: invalid type: string \"10.0.0.7\", expected a list, as in [\"…\"]"
    );
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
    assert!(
        why(Config { connections_per_address_max: 0, ..fine() }).starts_with("connections_per_address_max: ")
    );
    assert!(why(Config { players: 0, ..fine() }).starts_with("players: "));
    assert!(why(Config { capacity: 0, ..fine() }).starts_with("capacity: "));
    assert!(why(Config { idle_timeout: Duration::ZERO, ..fine() }).starts_with("idle_timeout: "));
    assert!(why(Config { slow_timeout: Duration::MAX, ..fine() }).starts_with("slow_timeout: "));
    assert!(why(Config { hello_timeout: Duration::ZERO, ..fine() }).starts_with("hello_timeout: "));
    assert!(
        why(Config { ping_interval: Some(Duration::ZERO), ..fine() }).starts_with("ping_interval: \"0ns\"")
    );
    assert!(why(Config { handshake_timeout: Duration::ZERO, ..fine() }).starts_with("handshake_timeout: "));
    assert!(why(Config { message_bytes_max: 8191, ..fine() }).starts_with("message_bytes_max: "));
    assert!(why(Config { messages_per_second: 9, ..fine() }).starts_with("messages_per_second: "));
    assert!(why(Config { bytes_per_second: 1023, ..fine() }).starts_with("bytes_per_second: "));
    assert!(why(Config { allow_origin: vec!["**".to_owned()], ..fine() }).starts_with("allow_origin: "));
    assert!(why(Config { log: "a=b=c".to_owned(), ..fine() }).starts_with("log: "));
    assert!(
        why(Config { players: 20_000, ..fine() })
            .starts_with("--players 20000 is more than --capacity 10000")
    );
}

#[test]
fn limits_that_contradict_each_other_are_refused_with_the_way_out() {
    let said = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        flags(&args).into_config().map(|config| config.warnings()).map_err(|error| error.to_string())
    };

    assert_eq!(
        said(&["--idle-timeout=8s"]).unwrap_err(),
        "--ping-interval 10s is not below --idle-timeout 8s, so silent players would be closed unasked: a third of it is \
         right, or pass --ping-interval off"
    );
    assert!(said(&["--ping-interval=30s"]).is_err());
    assert_eq!(said(&["--idle-timeout=8s", "--ping-interval=off"]), Ok(vec![]));
    assert_eq!(said(&["--ping-interval=15s"]), Ok(vec![]));
    assert_eq!(
        said(&["--ping-interval=16s"]),
        Ok(vec![
            "--ping-interval 16s is more than half of --idle-timeout 30s: one late answer ends a silent player".to_owned()
        ])
    );
    assert_eq!(
        said(&["--max-message-bytes=131073"]).unwrap_err(),
        "--max-message-bytes 131073 could never be sent: it is more than the 131072 bytes that --bytes-per-second 32768 \
         lets through at once"
    );
    assert_eq!(said(&["--max-message-bytes=131072"]), Ok(vec![]));
}

#[test]
fn what_opens_a_door_wider_than_it_seems_is_said() {
    let said = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        flags(&args).into_config().unwrap().warnings()
    };

    assert_eq!(said(&["--echo", "--trusted-proxy=10.0.0.0/8"]), [""; 0]);
    assert_eq!(said(&["--listen=0.0.0.0:7070"]), [""; 0]);
    assert_eq!(
        said(&["--echo", "--listen=[::]:7070"]),
        ["--echo has no rates, and others can reach it: whoever does may use your bandwidth"]
    );
    assert_eq!(
        said(&["--trusted-proxy=127.0.0.1", "--trusted-proxy=::/0"]),
        ["--trusted-proxy ::/0 believes everybody: whoever connects says whose connection it is"]
    );
}

#[test]
fn the_limits_of_a_session_are_those_of_the_knobs() {
    assert_eq!(Config::default().limits(), limits::Limits::default());
    let turned = every_knob_turned().limits();
    assert_eq!(turned.frames, limits::Budget { per_s: 300, burst: 1200 });
    assert_eq!(turned.bytes, limits::Budget { per_s: 65_536, burst: 262_144 });
    let timeouts = [turned.handshake_timeout, turned.hello_timeout, turned.idle_timeout];
    assert_eq!(timeouts, [3000, 1000, 500].map(Duration::from_millis));
    assert_eq!((turned.ping_interval, turned.message_bytes_max), (Some(Duration::from_millis(100)), 65_536));
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
