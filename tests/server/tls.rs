//! Players over TLS: the same promises, and those that TLS adds.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tickyard::metrics::ReloadResult;
use tickyard::stage::Stage;
use tungstenite::Message;

use crate::common::client::{Client, End, hello, until_they_agree};
use crate::common::http::{answer, dial, dial_with_small_buffer, fetch};
use crate::common::lab::Lab;
use crate::common::tls::Certificate;
use crate::common::{House, config, until};

fn lab(certificate: &Certificate) -> House {
    lab_with(certificate, config(), Lab::default())
}

fn lab_with(certificate: &Certificate, config: Config, lab: Lab) -> House {
    House::open(certificate.configure(config), |server| server.game("lab", move |_| lab.clone()))
}

fn join(house: &House, certificate: &Certificate, versions: &[&'static SupportedProtocolVersion]) -> Client {
    let stream = certificate.connect_with(house.address(), versions);
    let mut client = Client::over(stream, house.address(), "/play");
    client.say_hello(&hello("lab", "Ada"));
    client.until_it_sees_all();
    client
}

#[test]
fn players_agree_on_the_world_over_either_version_and_leave_in_order() {
    let certificate = Certificate::new("tls-play");
    let house = lab(&certificate);
    let (mut ada, mut bob) = (join(&house, &certificate, &[&TLS13]), join(&house, &certificate, &[&TLS12]));
    ada.walk(3, 4);
    bob.walk(5, 6);
    until_they_agree(&mut ada, &mut bob);
    assert_eq!(house.metrics().tls_handshakes.get(), 2);
    until("their time is counted", || house.metrics().stages.count(Stage::Handshake) > 0);
    ada.leave();
    bob.leave();
    until("they are counted", || house.metrics().closes.get(CloseReason::NormalByPeer) == 2);
}

#[test]
fn a_page_comes_whole_and_ends_with_a_goodbye() {
    let certificate = Certificate::new("tls-page");
    let house = lab(&certificate);
    for (version, name) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let mut stream = certificate.connect_with(house.address(), &[version]);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut page = String::new();
        // Without close_notify this would be an error: the page might be cut.
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\nok\n"), "{page}");
        assert!(!page.contains("Strict-Transport-Security"), "only when asked for: {page}");
        assert_eq!(stream.conn.protocol_version(), Some(name));
    }
    until("they are counted", || house.metrics().closes.get(CloseReason::HttpDone) == 2);
}

#[test]
fn browsers_are_told_to_come_over_tls_only_if_that_is_wanted() {
    let certificate = Certificate::new("tls-hsts");
    let house = lab_with(&certificate, Config { hsts: true, ..config() }, Lab::default());
    let mut stream = certificate.connect(house.address());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("\r\nStrict-Transport-Security: max-age=31536000\r\n"), "{page}");
}

#[test]
fn each_update_is_one_send() {
    let certificate = Certificate::new("tls-sends");
    let house = lab_with(&certificate, config(), Lab::with_dots(10));
    let mut players: Vec<Client> = (0..10).map(|_| join(&house, &certificate, &[&TLS13])).collect();
    let ticks = |player: &Client| player.ticks.len();
    let before: Vec<usize> = players.iter().map(ticks).collect();
    let sends = house.metrics().send_syscalls.get();
    for (player, before) in players.iter_mut().zip(&before) {
        player.until("two seconds pass", |player| ticks(player) >= before + 40);
    }
    let sent = house.metrics().send_syscalls.get() - sends;
    let heard: usize = players.iter().zip(&before).map(|(player, before)| ticks(player) - before).sum();
    // What is under way at either end of the count makes a tick or two a player.
    assert!(sent as usize <= heard + 2 * players.len(), "{sent} sends for {heard} messages");
}

#[test]
fn who_speaks_http_is_told_to_speak_https() {
    let certificate = Certificate::new("tls-http");
    let house = lab(&certificate);
    let told = fetch(house.address(), "/");
    assert_eq!(told.status, 400);
    assert_eq!(told.body, b"This port speaks TLS only: use https:// or wss://.\n");
    until("it is counted", || house.metrics().closes.get(CloseReason::PlainHttp) == 1);
}

#[test]
fn noise_gets_an_alert_and_nobody_else_notices() {
    let certificate = Certificate::new("tls-noise");
    let house = lab(&certificate);
    let mut ada = join(&house, &certificate, &[&TLS13]);
    let noises: [&[u8]; 4] =
        [b"\0\0\0\0\0\0\0\0", b"\x16\x03\x01\xff\xff", &[0x16; 100], b"\x16\x03\x01\x00\x02\x01\x00"];
    for noise in noises {
        let mut stream = dial(house.address());
        stream.write_all(noise).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = vec![];
        stream.read_to_end(&mut told).unwrap();
        // An alert, fatal; or nothing, where a hello was cut off.
        assert!(told.is_empty() || told.starts_with(&[21, 3, 3, 0, 2, 2]), "{told:?}");
    }
    until("they are counted", || {
        let closes = &house.metrics().closes;
        closes.get(CloseReason::TlsFailed) == 3 && closes.get(CloseReason::PeerGone) == 1
    });
    let heard = ada.ticks.len();
    ada.until("the game goes on", |ada| ada.ticks.len() > heard + 3);
}

#[test]
fn what_is_under_way_when_a_peer_makes_a_mistake_of_tls_still_counts() {
    let certificate = Certificate::new("tls-mistake");
    let house = lab(&certificate);
    let mut ada = join(&house, &certificate, &[&TLS13]);
    let mut bob = join(&house, &certificate, &[&TLS13]);
    bob.chat("last words");
    // A record that nobody encrypted.
    bob.stream()
        .write_all(&[23, 3, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .unwrap();
    ada.until("they are heard", |ada| ada.lines() == ["last words"]);
    assert_eq!(bob.until_the_end(), End::Cut);
    until("it is counted", || house.metrics().closes.get(CloseReason::TlsFailed) == 1);
}

#[test]
fn a_peer_that_only_ends_tcp_is_gone_like_any_other() {
    let certificate = Certificate::new("tls-cut");
    let house = lab(&certificate);
    let mut ada = join(&house, &certificate, &[&TLS13]);
    ada.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(ada.until_the_end(), End::Cut);
    until("it is counted", || house.metrics().closes.get(CloseReason::PeerGone) == 1);
    until("its seat is free", || house.metrics().players.get() == 0);
}

#[test]
fn a_large_echo_arrives_through_a_narrow_pipe() {
    let certificate = Certificate::new("tls-echo");
    let house = lab_with(&certificate, Config { echo: true, ..config() }, Lab::default());
    let mut client = Client::over(certificate.connect(house.address()), house.address(), "/echo");
    let message = Message::Binary((0..3_000_000u32).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into());
    let socket = client.socket();
    socket.get_mut().tcp().set_read_timeout(None).unwrap();
    for _ in 0..3 {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "it came back changed");
    }
    client.leave();
    until("nothing waits", || house.metrics().outbox_bytes.get() == 0);
}

#[test]
fn who_takes_nothing_is_dropped_and_the_others_miss_nothing() {
    let certificate = Certificate::new("tls-slow");
    let config = Config { tick_rate: 60, slow_timeout: Duration::from_millis(500), ..config() };
    let house = lab_with(&certificate, config, Lab::with_dots(300));
    let mut bob = join(&house, &certificate, &[&TLS13]);
    let stream = certificate.over(dial_with_small_buffer(house.address()), &[&TLS13]);
    let mut slow = Client::over(stream, house.address(), "/play");
    slow.say_hello(&hello("lab", "Slow"));
    bob.until("the slow one is gone", |_| house.metrics().closes.get(CloseReason::Slow) == 1);
    drop(slow);
    let heard = bob.ticks.len();
    bob.until("the game goes on", |bob| bob.ticks.len() > heard + 20);
    until("nothing waits for it", || house.metrics().outbox_bytes.get() == 0);
}

#[test]
fn a_server_that_stops_tells_everyone_with_1001_and_says_goodbye_below_as_well() {
    let certificate = Certificate::new("tls-stop");
    let house = lab(&certificate);
    let mut ada = join(&house, &certificate, &[&TLS13]);
    let mut waiting = certificate.connect(house.address());
    waiting.conn.complete_io(&mut waiting.sock).unwrap();
    let handshaking = dial(house.address());
    until("all are there", || house.metrics().connections.get() == 3);

    let stopping = std::thread::spawn(|| house.stop());
    assert_eq!(ada.until_the_end(), End::Close(1001));
    assert_eq!(waiting.read(&mut [0]).unwrap(), 0, "close_notify");
    assert_eq!((&handshaking).read(&mut [0]).unwrap(), 0);
    drop((waiting, handshaking));
    stopping.join().unwrap();
}

#[test]
fn the_close_code_survives_what_was_sent_behind_the_mistake() {
    let certificate = Certificate::new("tls-close");
    let house = lab(&certificate);
    for _ in 0..5 {
        let mut client = join(&house, &certificate, &[&TLS13]);
        // A text, and then 150 KB of something.
        let mut bytes = vec![0x81, 0x80, 0, 0, 0, 0];
        bytes.resize(150_000, 3);
        client.socket().get_mut().write_all(&bytes).unwrap();
        assert_eq!(client.until_the_end(), End::Close(1003));
    }
    until("they are counted", || house.metrics().closes.get(CloseReason::Unsupported) == 5);
}

#[test]
fn a_new_certificate_is_for_new_connections_and_one_that_cannot_be_used_for_nobody() {
    let old = Certificate::new("tls-reload");
    let house = lab(&old);
    let mut ada = join(&house, &old, &[&TLS13]);

    let new = Certificate::new("tls-reload");
    assert!(
        old.is_shown_at(house.address()) && !new.is_shown_at(house.address()),
        "nobody said that there is a new one"
    );
    house.reload_tls().unwrap();
    assert!(new.is_shown_at(house.address()) && !old.is_shown_at(house.address()));
    let heard = ada.ticks.len();
    ada.until("who was there plays on", |ada| ada.ticks.len() > heard + 3);

    std::fs::write(&new.key, "-----BEGIN PRIVATE KEY-----\nhalf a").unwrap();
    let error = house.reload_tls().unwrap_err().to_string();
    assert_eq!(error, format!("--tls-key {}: it is broken PEM", new.key.display()));
    assert!(new.is_shown_at(house.address()));
    let other = Certificate::new("tls-reload-other");
    std::fs::copy(&other.key, &new.key).unwrap();
    let error = house.reload_tls().unwrap_err().to_string();
    assert!(error.contains("this key does not belong to the certificate in "), "{error}");
    assert!(new.is_shown_at(house.address()));

    let counts =
        [ReloadResult::Ok, ReloadResult::Failed].map(|result| house.metrics().tls_reloads.get(result));
    assert_eq!(counts, [1, 2]);
    // As rcgen makes them.
    assert_eq!(house.metrics().tls_certificate_expiry.get(), 67_090_118_400);
    ada.leave();
}

#[test]
fn without_tls_a_hello_of_tls_is_dropped_and_there_is_nothing_to_read_again() {
    let certificate = Certificate::new("tls-none");
    let house = House::open(config(), |server| server.game("lab", |_| Lab::default()));
    let mut stream = certificate.connect(house.address());
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    house.reload_tls().unwrap();
    assert_eq!(house.metrics().tls_reloads.get(ReloadResult::Ok), 0);
    let plain = answer({
        let mut stream = dial(house.address());
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    });
    assert_eq!(plain.status, 200);
}
