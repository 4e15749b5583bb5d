//! What an operator finds when a tick was late or a thread hangs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tickyard::Config;
use tickyard::metrics::{FlightResult, Role};

use crate::common::client::Client;
use crate::common::http::fetch;
use crate::common::lab::{Lab, Opener};
use crate::common::{House, config, until};

/// A directory of this test's own, which is not there yet.
fn directory(test: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&directory);
    directory
}

/// The records of a directory, as events.
fn records(directory: &Path) -> Vec<Vec<Value>> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let records = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    records.map(|path| events(&fs::read(path).unwrap())).collect()
}

/// The events of a record. It has to be what viewers take: complete events, each of a thread that has a name.
fn events(record: &[u8]) -> Vec<Value> {
    let record: Value = serde_json::from_slice(record).unwrap();
    let events = record["traceEvents"].as_array().unwrap().clone();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(event["ts"].is_number() && event["dur"].is_number() && event["name"].is_string(), "{event}");
        thread(&events, event);
    }
    events
}

/// The name of an event's thread.
fn thread<'a>(events: &'a [Value], event: &Value) -> &'a str {
    let names = events.iter().filter(|name| name["name"] == "thread_name" && name["tid"] == event["tid"]);
    let names: Vec<&str> = names.map(|name| name["args"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 1, "{event}");
    names[0]
}

#[test]
fn an_overrun_leaves_one_record_that_shows_the_stage_that_took_so_long_and_its_room() {
    let directory = directory("overrun");
    let config = Config { tick_rate: 2, flight_dir: Some(directory.clone()), ..config() };
    let house = House::open(config, |server| {
        server.game("idle", |_| Lab::default()).game("lab", |_| Lab::with_dots(1))
    });
    let mut ada = Client::join(house.address(), "lab", "Ada");

    for stall in 1..=2 {
        ada.tell("stall", &800u32.to_le_bytes());
        let heard = ada.ticks.len();
        ada.until("it goes on", |ada| ada.replica.message_heard() == stall && ada.ticks.len() > heard + 2);
    }

    until("it is written", || house.metrics().flight_files.get(FlightResult::Written) == 1);
    drop(house);
    let records = records(&directory);
    assert_eq!(records.len(), 1, "the second comes too soon");
    let events = &records[0];
    let long: Vec<&Value> =
        events.iter().filter(|event| event["dur"].as_f64().is_some_and(|micros| micros >= 800e3)).collect();
    assert_eq!(long.len(), 1, "{long:#?}");
    assert_eq!((&long[0]["name"], &long[0]["args"]["room"]), (&"apply".into(), &"lab-1".into()));
    assert_eq!(thread(events, long[0]), "ticker");
    let why = events.last().unwrap()["name"].as_str().unwrap();
    assert!(
        why.starts_with("a tick of lab-1 took ") && why.ends_with("and 0 were skipped before it"),
        "{why}"
    );
}

#[test]
fn a_thread_that_hangs_is_counted_once_and_a_record_shows_what_it_is_at() {
    let directory = directory("hangs");
    let lab = Lab::with_dots(1);
    let gate = Arc::clone(&lab.gate);
    let config = Config { flight_dir: Some(directory.clone()), ..config() };
    let house = House::open(config, |server| server.game("lab", move |_| lab.clone()));
    let _opener = Opener(Arc::clone(&gate));
    let mut ada = Client::join(house.address(), "lab", "Ada");

    gate.shut();
    until("it is written", || house.metrics().flight_files.get(FlightResult::Written) == 1);
    let records = records(&directory);
    let unfinished: Vec<&Value> =
        records[0].iter().filter(|event| event["args"]["unfinished"] == true).collect();
    let game = unfinished.iter().find(|event| thread(&records[0], event) == "ticker").unwrap();
    assert_eq!((&game["name"], &game["args"]["room"]), (&"game".into(), &"lab-1".into()));
    assert!(game["dur"].as_f64().unwrap() >= 1e6, "{game}");
    let why = records[0].last().unwrap()["name"].as_str().unwrap();
    assert!(
        why.starts_with("ticker has been silent for 1.") && why.contains("in the stage game for lab-1"),
        "{why}"
    );

    gate.open();
    let heard = ada.ticks.len();
    ada.until("it goes on", |ada| ada.ticks.len() > heard + 5);
    let silent = |role| house.metrics().watchdog_silent.get(role);
    assert_eq!([Role::Admin, Role::Io, Role::Simulation].map(silent), [0, 0, 1]);
}

#[test]
fn the_admin_port_tells_what_all_threads_did() {
    let admin = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let house =
        House::open(Config { admin, ..config() }, |server| server.game("lab", |_| Lab::with_dots(50)));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let record = |ada: &mut Client| {
        let heard = ada.ticks.len();
        ada.until("some ticks pass", |ada| ada.ticks.len() > heard + 5);
        let answer = fetch(house.admin_address().unwrap(), "/debug/flight");
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
        events(&answer.body)
    };
    // What is too short to be recorded depends on the machine: at some time it is not.
    let mut seen = record(&mut ada);
    until("each thread has done something", || {
        let busy = seen.iter().filter(|event| event["ph"] == "X");
        let mut busy: Vec<&str> = busy.map(|event| thread(&seen, event)).collect();
        busy.sort_unstable();
        busy.dedup();
        let all = busy == ["admin", "io-0", "ticker"];
        if !all {
            seen = record(&mut ada);
        }
        all
    });
    assert!(house.write_flight("why").unwrap_err().to_string().contains("without --flight-dir"));
}
