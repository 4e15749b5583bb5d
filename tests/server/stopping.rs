//! The end of a server, and last words.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tickyard::metrics::Direction;
use tungstenite::Message;

use crate::common::client::{Client, End, hello};
use crate::common::http::{answer, dial, upgrade_request};
use crate::common::lab::{Lab, Opener};
use crate::common::{House, config, until};

/// Ends it, after which each connection that was accepted has ended for a reason, and none is open.
fn stop(house: House) {
    let metrics = house.metrics();
    let (accepted, open) = (metrics.connections_accepted.clone(), metrics.connections.clone());
    let (closes, outbox) = (metrics.closes.clone(), metrics.outbox_bytes.clone());
    house.stop();
    let ended = CloseReason::ALL.iter().map(|&reason| closes.get(reason)).sum::<u64>();
    assert_eq!((ended, open.get(), outbox.get()), (accepted.get(), 0, 0));
}

fn everyone_is_told(io_threads: usize) {
    let house = House::open(Config { io_threads, echo: true, ..config() }, |server| {
        server.game("lab", |_| Lab::default())
    });
    let address = house.address();
    let mut playing: Vec<Client> = (0..3).map(|_| Client::join(address, "lab", "")).collect();
    let mut no_hello = Client::knock(address);
    let mut echo = Client::over(TcpStream::connect(address).unwrap(), address, "/echo");
    let mut asking = dial(address);
    asking.write_all(b"GET /play HT").unwrap();
    let mut silent = dial(address);
    until("all are accepted", || house.metrics().connections.get() == 7);
    until("the half request is read", || house.metrics().messages.get(Direction::In) >= 3);

    let began = Instant::now();
    stop(house);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    for client in playing.iter_mut().chain([&mut no_hello, &mut echo]) {
        assert_eq!(client.until_the_end(), End::Close(1001));
    }
    assert_eq!(answer(asking).status, 503, "who has begun to ask is answered");
    let mut rest = vec![];
    silent.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any longer");
}

#[test]
fn a_server_that_stops_tells_everyone_with_1001() {
    everyone_is_told(1);
}

#[test]
fn a_server_with_three_io_threads_that_stops_tells_everyone_with_1001() {
    everyone_is_told(3);
}

#[test]
fn a_server_that_is_dropped_stops() {
    let house = House::arena(config());
    let address = house.address();
    let mut ada = Client::join(address, "arena", "Ada");
    drop(house);

    assert_eq!(ada.until_the_end(), End::Close(1001));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any longer");
}

#[test]
fn a_server_stops_while_its_clients_neither_read_nor_close() {
    let lab = Lab::with_dots(300);
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("lab", move |_| lab.clone()));
    let mut deaf = Client::knock_with_small_buffer(house.address());
    deaf.say_hello(&hello("lab", "Deaf"));
    until("its buffers are full", || house.metrics().skipped_updates.get() > 3);

    let began = Instant::now();
    stop(house);

    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_server_stops_while_a_game_is_stuck_as_soon_as_it_is_not() {
    let lab = Lab::default();
    let gate = Arc::clone(&lab.gate);
    let house = House::open(config(), |server| server.game("lab", move |_| lab.clone()));
    let opener = Opener(Arc::clone(&gate));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    gate.shut();
    let mut waiting = Client::knock(house.address());
    waiting.say_hello(&hello("lab", "Waiting"));

    let stopping = thread::spawn(|| house.stop());
    assert_eq!([ada.until_the_end(), waiting.until_the_end()], [End::Close(1001); 2]);
    drop(opener);
    stopping.join().unwrap();
}

#[test]
fn the_close_code_survives_what_was_sent_behind_the_mistake() {
    let house = House::open(config(), |server| server.game("lab", |_| Lab::default()));
    for _ in 0..5 {
        let mut client = Client::join(house.address(), "lab", "Ada");
        let mut bytes = vec![];
        bytes.extend_from_slice(&[0x81, 0x80, 0, 0, 0, 0]);
        for _ in 0..1500 {
            bytes.extend_from_slice(&[0x82, 0x80 | 100, 0, 0, 0, 0]);
            bytes.extend_from_slice(&[3; 100]);
        }
        client.stream().write_all(&bytes).unwrap();
        assert_eq!(client.until_the_end(), End::Close(1003));
    }
    until("they are counted", || house.metrics().closes.get(CloseReason::Unsupported) == 5);
}

#[test]
fn the_close_code_survives_also_behind_bytes_that_wait_while_more_is_sent() {
    let lab = Lab::with_dots(300);
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("lab", move |_| lab.clone()));
    let mut slow = Client::knock_with_small_buffer(house.address());
    slow.say_hello(&hello("lab", "Slow"));
    until("its buffers are full", || house.metrics().skipped_updates.get() > 0);

    slow.stream().write_all(&[0x81, 0x80, 0, 0, 0, 0]).unwrap();
    slow.until("the close comes", |slow| {
        // Had the server closed its socket already, this would be answered by a reset, which takes the close with it.
        let _ = slow.stream().write_all(&[0x82, 0x81, 0, 0, 0, 0, 3]);
        slow.end.is_some()
    });
    assert_eq!(slow.end, Some(End::Close(1003)));
}

#[test]
fn a_close_is_answered_with_its_code_and_tcp_ends_in_order() {
    let house = House::open(config(), |server| server.game("lab", |_| Lab::default()));
    let mut stream = dial(house.address());
    stream.write_all(upgrade_request(house.address(), "/play").as_bytes()).unwrap();
    // 4242, masked with zeros.
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x10, 0x92]).unwrap();

    let mut answer = vec![];
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&[0x88, 0x02, 0x10, 0x92]), "{answer:?}");

    let mut echo = Client::join(house.address(), "lab", "Ada");
    echo.send_message(Message::Close(None));
    assert_eq!(echo.until_the_end(), End::CloseOnly);
}
