//! Pages, health and metrics.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tickyard::config::Compression;
use tickyard::metrics::Role;
use tickyard_protocol::message::Hello;
use tickyard_protocol::repair::{Repair, RepairWhy};
use tickyard_protocol::types::{CellId, Tick};
use tungstenite::Message;

use crate::common::client::{Client, End, hello};
use crate::common::http::{answer, dial, fetch, upgrade_request};
use crate::common::lab::{Lab, Opener, UNWANTED};
use crate::common::{House, PATIENCE, config, until};

/// The files of a folder with these endings, as they are served: path and bytes.
fn files(folder: &str, endings: &[&str], at: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if endings.iter().any(|ending| name.ends_with(ending)) {
            files.push((format!("{at}{name}"), fs::read(path).unwrap()));
        }
    }
    files
}

#[test]
fn every_file_of_the_demo_and_the_client_is_served_with_its_type_and_its_bytes() {
    let house = House::arena(config());
    let demo = files("clients/demo", &[".html", ".js", ".css"], "/");
    let sdk = files("clients/typescript/dist", &[".js"], "/sdk/");
    assert!(demo.len() >= 3 && sdk.len() >= 13, "{} {}", demo.len(), sdk.len());

    for (path, bytes) in demo.into_iter().chain(sdk) {
        let path = if path == "/index.html" { "/" } else { path.as_str() };
        let answer = fetch(house.address(), path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body == bytes, "{path} is not what the folder holds");
        let media_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("Content-Type"), Some(media_type), "{path}");
        assert_eq!(answer.header("Content-Length"), Some(bytes.len().to_string().as_str()), "{path}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn the_page_may_load_and_reach_nothing_but_its_own_server() {
    let house = House::arena(config());
    let policy = |path| {
        let answer = fetch(house.address(), path);
        ["Content-Security-Policy", "Referrer-Policy"].map(|name| answer.header(name).map(str::to_owned))
    };
    let strict = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    assert_eq!(policy("/"), [Some(strict.to_owned()), Some("no-referrer".to_owned())]);
    // These are no documents; a page of another port may import the client.
    for path in ["/healthz", "/demo.js", "/sdk/index.js", "/style.css"] {
        assert_eq!(policy(path), [None, None], "{path}");
    }
    assert_eq!(fetch(house.address(), "/healthz").header("X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn health_is_ok_and_a_head_has_no_body() {
    let house = House::arena(config());
    assert_eq!(fetch(house.address(), "/healthz").body, b"ok\n");

    let mut stream = dial(house.address());
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let head = answer(stream);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 1000);

    let mut stream = dial(house.address());
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(answer(stream).status, 405);
}

/// The samples of the metrics page that are not 0, and those that are.
fn samples(admin: SocketAddr) -> (BTreeSet<String>, BTreeSet<String>) {
    let page = fetch(admin, "/metrics");
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let (mut moved, mut unmoved) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let (name, value) = line.rsplit_once(' ').unwrap();
        if !name.contains("_bucket") {
            let set = if value.parse::<f64>().unwrap() > 0.0 { &mut moved } else { &mut unmoved };
            set.insert(name.to_owned());
        }
    }
    (moved, unmoved)
}

/// One server, and a day on which everything happens that its metrics know.
#[test]
fn every_metric_moves_when_that_happens_what_it_counts() {
    let lab = Lab::with_dots(300);
    let gate = Arc::clone(&lab.gate);
    let flights = Path::new(env!("CARGO_TARGET_TMPDIR")).join("every-metric");
    let config = Config {
        admin: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        echo: true,
        capacity: 4,
        connections_max: 40,
        deflate: Compression::On,
        flight_dir: Some(flights.clone()),
        tick_rate: 60,
        idle_timeout: Duration::from_secs(8),
        ping_interval: Some(Duration::from_secs(3)),
        handshake_timeout: Duration::from_secs(3),
        slow_timeout: Duration::from_millis(700),
        hello_timeout: Duration::from_millis(1500),
        ..config()
    };
    let house = House::open(config, |server| {
        server.game("lab", move |_| lab.clone()).game("bad", |_| Lab::default())
    });
    let _opener = Opener(Arc::clone(&gate));
    let (address, admin) = (house.address(), house.admin_address().unwrap());
    let enter = |name: &str| Client::join(address, "lab", name);
    let mut seen = BTreeSet::new();
    let mut look = || seen.extend(samples(admin).0);

    // Plays, chats, leaves.
    let mut ada = enter("Ada");
    ada.walk(1, 1);
    (0..8).for_each(|_| ada.chat("well"));
    ada.chat("");
    ada.until("all is heard", |ada| ada.replica.message_heard() == 9);
    // An input again, a cell that is not there, and more than a tick has room for.
    ada.walk_again();
    ada.want(&[CellId(9999)]);
    ada.tell("sparks", &[255]);
    ada.until("the last is heard", |ada| ada.replica.message_heard() == 10);
    look();
    ada.leave();

    // Does not read; is skipped, wants snapshots, is dropped.
    let mut slow = Client::knock_with_small_buffer(address);
    slow.say_hello(&hello("lab", "Slow"));
    until("it is skipped", || house.metrics().skipped_updates.get() > 20);
    look();
    slow.until_it_sees_all();
    let cells = slow.replica.view().to_vec();
    slow.want(&cells);
    slow.until("its wish is counted", |_| house.metrics().wants.get() > 0);
    // Some inputs in a second: as many as there are looks would be a flood, and that another reason.
    let mut looks = 0;
    until("it is dropped", || {
        looks += 1;
        if looks % 32 == 0 {
            slow.walk(1, 1);
        }
        house.metrics().closes.get(tickyard::close_reason::CloseReason::Slow) == 1
    });

    // Does not acknowledge.
    let mut deaf = enter("Deaf");
    deaf.acknowledges = false;
    deaf.tell("many", &[255]);
    deaf.tell("many", &[255]);
    assert_eq!(deaf.until_the_end(), End::Close(1013));

    // Floods, also with inputs while the simulation is stuck.
    let mut eve = enter("Eve");
    gate.shut();
    (0..50).for_each(|_| eve.walk(1, 1));
    eve.until_answered(1);
    until("it is missed", || house.metrics().watchdog_silent.get(Role::Simulation) > 0);
    gate.open();
    (0..1000).for_each(|_| eve.walk(1, 1));
    assert_eq!(eve.until_the_end(), End::Close(1008));
    let mut eve = enter("Eve");
    eve.tell("stall", &[200]);
    eve.until("it is over", |eve| eve.replica.message_heard() == 1);
    eve.leave();
    // Not on a seat: who does not read what happens there may be dropped as slow first.
    let mut silent = Client::over(TcpStream::connect(address).unwrap(), address, "/echo");

    // A full room.
    until("seats are free", || house.metrics().players.get() == 0);
    let crowd: Vec<Client> = (0..4).map(|_| enter("")).collect();
    let mut late = Client::knock(address);
    late.say_hello(&hello("lab", "Late"));
    assert_eq!(late.until_the_end(), End::Close(1013));
    drop(crowd);

    // Who is not wanted has no seat, nor has what came behind the hello.
    until("seats are free again", || house.metrics().players.get() == 0);
    let mut uninvited = Client::knock(address);
    uninvited.say_hello(&Hello { options: UNWANTED, ..hello("lab", "") });
    uninvited.walk(1, 1);
    assert_eq!(uninvited.until_the_end(), End::Close(4001));

    // A game that fails.
    let mut bad = Client::join(address, "bad", "Bad");
    bad.tell("panic", &[]);
    assert_eq!(bad.until_the_end(), End::Close(4002));

    // All sorts of mistakes.
    for (message, code) in [
        (Message::text("x"), End::Close(1003)),
        (Message::Binary(vec![0; 5].into()), End::Close(1008)),
        (Message::Binary(vec![0; 17_000].into()), End::Close(1009)),
    ] {
        let mut client = Client::knock(address);
        client.send_message(message);
        assert_eq!(client.until_the_end(), code);
    }
    let mut unwanted = Client::knock(address);
    unwanted.say_hello(&Hello { version: 9, ..hello("lab", "") });
    assert_eq!(unwanted.until_the_end(), End::Close(4001));
    let mut strange = enter("Strange");
    for why in RepairWhy::ALL {
        let mut repair = vec![];
        Repair { why, tick: Tick(1), cells: vec![CellId(0)] }.encode(&mut repair);
        strange.send(repair);
        until("it is counted", || house.metrics().desyncs.get(why) == 1);
    }
    strange.send(vec![99]);
    assert_eq!(strange.until_the_end(), End::Close(1008));
    for bytes in [&[0x82, 0x01, 0x00][..], &[0x88, 0x83, 0, 0, 0, 0, 0x03, 0xe8, 0xff]] {
        let mut broken = Client::knock(address);
        broken.stream().write_all(bytes).unwrap();
        broken.until_the_end();
    }
    // Compressed, and not what it says.
    let mut garbled = dial(address);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let request = format!(
        "GET /play HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    garbled.write_all(request.as_bytes()).unwrap();
    garbled.write_all(&[0xc2, 0x81, 0, 0, 0, 0, 0xff]).unwrap();
    let mut said = Vec::new();
    garbled.read_to_end(&mut said).unwrap();
    assert!(said.ends_with(b"\x88\x14\x03\xefbroken compression"), "{}", said.escape_ascii());
    let mut shy = Client::knock(address);
    assert_eq!(shy.until_the_end(), End::Close(1008));
    assert_eq!(fetch(address, "/healthz").status, 200);
    assert_eq!(fetch(address, "/nowhere").status, 404);
    assert_eq!(fetch(address, "/play").status, 426);
    let raw = |bytes: &str| {
        let mut stream = dial(address);
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard.get(9..12).unwrap_or_default().to_owned()
    };
    let foreign = upgrade_request(address, "/play").replace("\r\n\r\n", "\r\nOrigin: null\r\n\r\n");
    assert_eq!(raw(&foreign), "403");
    assert_eq!(raw("GET / HTTP/1.1\r\n\r\n"), "400");
    assert_eq!(raw("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), "405");
    assert_eq!(raw(&format!("GET /{}", "x".repeat(9000))), "414");
    assert_eq!(raw("\x16\x03"), "");
    enter("Faller").vanish();

    // More connections than there may be; this one's silence ends some time.
    let streams: Vec<TcpStream> = (0..50).map(|_| dial(address)).collect();
    until("some are turned away", || house.metrics().closes.get(CloseReason::Full) > 0);
    drop(streams);
    // It would answer pings if it were read as a WebSocket.
    let mut heard = vec![];
    silent.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    silent.stream().read_to_end(&mut heard).unwrap();
    assert!(heard.starts_with(&[0x89, 0]) && heard.ends_with(b"\x88\x06\x03\xf0idle"), "{heard:?}");
    let mut half = dial(address);
    half.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(answer(half).status, 408);

    // Flight records, also when their directory is gone.
    house.write_flight("asked for").unwrap();
    fs::remove_dir_all(&flights).unwrap();
    house.write_flight("asked for").unwrap_err();

    until("all are gone", || house.metrics().connections.get() == 0);
    look();
    let (_, unmoved) = samples(admin);
    // Whether an io thread lags is up to the machine.
    let busy = ["tickyard_batches_undelivered_total", "tickyard_overtaken_updates_total"];
    // Moves in `tests/server/tls.rs`: a port speaks TLS or does not.
    let of_tls = |name: &str| ["tls_", "plain_http", "handshake\""].iter().any(|of| name.contains(of));
    let never = unmoved.iter().filter(|name| !seen.contains(*name) && !busy.contains(&name.as_str()));
    // Move in `tests/server/addresses.rs`: this machine has no limit, and is no proxy.
    let of_addresses = |name: &str| name.contains("address_limit") || name.contains("bad_proxy_header");
    let never = never.filter(|name| !of_tls(name) && !of_addresses(name));
    let never: Vec<&String> = never.collect();
    // Told at the stop; a fault of ours; a limit of the whole process. Thin connections take seconds to be found, in `tests/long slow-readers`.
    let out_of_reach = [
        "tickyard_closes_total{reason=\"going_away\"}",
        "tickyard_closes_total{reason=\"internal\"}",
        "tickyard_closes_total{reason=\"no_descriptors\"}",
        "tickyard_found_thin_total",
        "tickyard_thin_connections",
        // These hang by a fault of ours alone.
        "tickyard_watchdog_silent_total{thread=\"admin\"}",
        "tickyard_watchdog_silent_total{thread=\"io\"}",
    ];
    assert_eq!(never, out_of_reach);
    // Nobody is there: gauges are back at nothing.
    for gauge in ["tickyard_connections", "tickyard_players", "tickyard_outbox_bytes"] {
        assert!(seen.contains(gauge) && unmoved.contains(gauge), "{gauge}");
    }
}
