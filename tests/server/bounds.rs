//! Every bound has an answer.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tungstenite::Message;

use crate::common::client::{Client, End, hello};
use crate::common::http::{answer, dial, fetch, upgrade_request};
use crate::common::lab::{Lab, Opener};
use crate::common::{House, PATIENCE, config, until};

fn lab(config: Config) -> House {
    House::open(config, |server| server.game("lab", |_| Lab::default()))
}

#[test]
fn beyond_the_maximum_of_connections_the_answer_is_503_until_one_ends() {
    for io_threads in [1, 3] {
        let house = lab(Config { connections_max: 2, io_threads, ..config() });
        let first = Client::join(house.address(), "lab", "first");
        let _second = dial(house.address());
        until("both are there", || house.metrics().connections.get() == 2);

        for turned_away in 1..=3 {
            let mut third = dial(house.address());
            third.write_all(upgrade_request(house.address(), "/play").as_bytes()).unwrap();
            let answer = answer(third);
            assert_eq!(answer.status, 503);
            assert!(answer.header("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
            until("it is counted", || house.metrics().closes.get(CloseReason::Full) == turned_away);
        }

        first.leave();
        until("there is room", || house.metrics().connections.get() < 2);
        Client::join(house.address(), "lab", "again");
    }
}

#[test]
fn who_is_silent_for_the_idle_timeout_is_closed_with_1008_and_who_pings_is_not() {
    let house =
        lab(Config { idle_timeout: Duration::from_secs(1), ping_interval: None, tick_rate: 10, ..config() });
    let mut pings = Client::join(house.address(), "lab", "Pings");
    let mut silent = Client::join(house.address(), "lab", "Silent");
    // It has heard from us all the time; what counts is that we hear nothing.
    silent.acknowledges = false;

    let mut stamp = 0;
    silent.until("the silent one is closed", |silent| {
        stamp += 1;
        pings.until_answered(stamp);
        silent.end.is_some()
    });
    assert_eq!(silent.end, Some(End::Close(1008)));
    assert!(pings.end.is_none());
    until("it is counted", || house.metrics().closes.get(CloseReason::Idle) == 1);
    pings.until("its walker is gone", |pings| {
        pings.ping(0);
        pings.sees("Silent").is_none()
    });
}

#[test]
fn who_says_no_hello_in_time_is_closed_with_1008() {
    let house = lab(Config { hello_timeout: Duration::from_millis(300), ..config() });
    let mut shy = Client::knock(house.address());
    // Pings are no hello.
    (0..50).for_each(|stamp| shy.send_message(Message::Ping(vec![stamp].into())));
    assert_eq!(shy.until_the_end(), End::Close(1008));
    until("it is counted", || house.metrics().closes.get(CloseReason::HelloTimeout) == 1);
}

#[test]
fn a_message_over_16_kib_ends_with_1009_and_one_of_16_kib_does_not() {
    let house = lab(config());
    let mut ada = Client::join(house.address(), "lab", "Ada");
    // An unknown message, but it was read: 1008.
    ada.send(vec![99; 16 * 1024]);
    assert_eq!(ada.until_the_end(), End::Close(1008));

    let mut ada = Client::join(house.address(), "lab", "Ada");
    ada.send(vec![99; 16 * 1024 + 1]);
    assert_eq!(ada.until_the_end(), End::Close(1009));

    let mut shy = Client::knock(house.address());
    shy.send(vec![1; 16 * 1024 + 1]);
    assert_eq!(shy.until_the_end(), End::Close(1009));
    until("they are counted", || house.metrics().closes.get(CloseReason::TooBig) == 2);
}

#[test]
fn who_floods_is_closed_with_1008_and_the_others_do_not_notice() {
    let house = lab(config());
    let mut bystander = Client::join(house.address(), "lab", "Bystander");
    let mut inputs = Client::join(house.address(), "lab", "Inputs");
    let mut pings = Client::join(house.address(), "lab", "Pings");

    for stamp in 1..=2000 {
        inputs.walk(1, 1);
        pings.send_message(Message::Ping(vec![1; 8].into()));
        if stamp % 200 == 0 {
            bystander.until_answered(stamp);
        }
    }
    assert_eq!([inputs.until_the_end(), pings.until_the_end()], [End::Close(1008); 2]);
    bystander.until_answered(9999);
    let mut shy = Client::knock(house.address());
    (0..2000).for_each(|_| shy.send_message(Message::Ping(vec![1; 8].into())));
    assert_eq!(shy.until_the_end(), End::Close(1008), "before the hello too");
    until("they are counted", || house.metrics().closes.get(CloseReason::Rate) == 3);
    bystander.until("they are gone", |bystander| {
        bystander.sees("Inputs").is_none() && bystander.sees("Pings").is_none()
    });
}

#[test]
fn a_fragmented_message_has_at_most_64_fragments() {
    let house = lab(config());
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut bytes = vec![0x02, 0x80, 0, 0, 0, 0];
    (0..70).for_each(|_| bytes.extend_from_slice(&[0x00, 0x81, 0, 0, 0, 0, 3]));
    ada.stream().write_all(&bytes).unwrap();
    assert_eq!(ada.until_the_end(), End::Close(1008));
}

#[test]
fn a_request_that_is_too_long_or_no_http_ends_at_once() {
    let house = lab(config());
    let mut stream = dial(house.address());
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(9000));
    stream.write_all(long.as_bytes()).unwrap();
    assert_eq!(answer(stream).status, 431);
    assert_eq!(fetch(house.address(), "/nothing").status, 404);
    assert_eq!(fetch(house.address(), "/echo").status, 404, "only with --echo");
    assert_eq!(fetch(house.address(), "/play").status, 426);
    let closes = &house.metrics().closes;
    let counts = || {
        [CloseReason::HeadTooLarge, CloseReason::NotFound, CloseReason::BadHandshake]
            .map(|reason| closes.get(reason))
    };
    until("they are counted", || counts() == [1, 2, 1]);
}

#[test]
fn a_page_of_a_foreign_origin_may_not_connect() {
    let house = lab(config());
    let ask = |origin: &str| {
        let mut stream = dial(house.address());
        let request = upgrade_request(house.address(), "/play");
        let request = request.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"));
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut first).unwrap();
        String::from_utf8(first[9..].to_vec()).unwrap()
    };
    assert_eq!(ask("http://localhost:5173"), "101");
    assert_eq!(ask("https://evil.example"), "403");
}

/// Connections come and go so fast that answers to one arrive when another has its slot.
fn nobody_hears_what_is_for_another(io_threads: usize) {
    let house = lab(Config { tick_rate: 60, io_threads, ..config() });
    let address = house.address();
    let mut last_player = 0;
    for round in 0..60 {
        // Some ask for a seat and are gone before the answer; some have it and hear a good deal.
        for _ in 0..3 {
            let mut hasty = Client::knock(address);
            hasty.say_hello(&hello("lab", "Hasty"));
            if round % 2 == 0 {
                hasty.tell("all", b"gone");
            }
            hasty.vanish();
        }
        if round % 5 == 0 {
            Client::join(address, "lab", "Short").vanish();
        }

        // Who only connects hears nothing, whoever had the slot before.
        let mut shy = Client::knock(address);
        let name = format!("Guest {round}");
        let mut guest = Client::knock(address);
        guest.say_hello(&hello("lab", &name));
        guest.until("the greeting", |guest| {
            guest.replica.view_is_complete() && !guest.messages("hi").is_empty()
        });
        assert_eq!(guest.messages("hi"), [name.as_bytes()]);
        assert_eq!(guest.sees(&name).unwrap().id, guest.replica.own().unwrap().id);
        let player = guest.player().0;
        assert!(player > last_player, "player {player} after {last_player}");
        last_player = player;
        shy.listen();
        let shy_heard = (shy.welcome.is_some(), shy.refused.is_some(), shy.ticks.len(), shy.end);
        assert_eq!(shy_heard, (false, false, 0, None));
        if round % 2 == 0 {
            guest.vanish();
        }
        shy.vanish();
    }
    until("all seats are free", || {
        house.metrics().players.get() == 0 && house.metrics().connections.get() == 0
    });
    let accepted = house.metrics().connections_accepted.get();
    let ended: u64 = CloseReason::ALL.iter().map(|&reason| house.metrics().closes.get(reason)).sum();
    assert_eq!(ended, accepted, "each connection ends for one reason");
}

#[test]
fn a_late_batch_never_reaches_a_stranger() {
    nobody_hears_what_is_for_another(1);
}

#[test]
fn a_late_batch_never_reaches_a_stranger_on_any_of_three_threads() {
    nobody_hears_what_is_for_another(3);
}

#[test]
fn while_the_simulation_is_stuck_reading_goes_on_and_nothing_reliable_is_lost() {
    let lab = Lab::default();
    let (gate, notes) = (Arc::clone(&lab.gate), Arc::clone(&lab.notes));
    let house = House::open(config(), |server| server.game("lab", move |_| lab.clone()));
    let _opener = Opener(Arc::clone(&gate));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut bystander = Client::join(house.address(), "lab", "Bystander");

    gate.shut();
    for number in 0..100u8 {
        ada.walk(number as i32, 0);
        ada.walk(number as i32, 1);
        ada.tell("echo", &[number]);
        if number % 20 == 19 {
            ada.until_answered(number as u64);
            bystander.until_answered(number as u64);
        }
    }
    assert!(ada.messages("echo").is_empty());
    gate.open();

    ada.until("all is answered", |ada| ada.messages("echo").len() == 100);
    let numbers: Vec<u8> = ada.messages("echo").iter().map(|payload| payload[0]).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    ada.until("the last input is applied", |ada| ada.replica.header().seq.0 == 200);
    assert_eq!(ada.replica.own().unwrap().row[2..4], [99, 1]);
    let skipped = || house.metrics().inputs_skipped.get();
    until("inputs were skipped and counted", || {
        skipped() > 0 && notes.lock().unwrap().inputs + skipped() == 200
    });
}

#[test]
fn when_the_way_to_the_simulation_is_full_only_who_asks_for_something_reliable_waits() {
    let lab = Lab::default();
    let gate = Arc::clone(&lab.gate);
    let house = House::open(config(), |server| server.game("lab", move |_| lab.clone()));
    let _opener = Opener(Arc::clone(&gate));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut crowd: Vec<Client> = (0..20).map(|_| Client::join(house.address(), "lab", "")).collect();

    gate.shut();
    // Each input that is known to be read was a turn of the io thread, and a list in the channel. Ada asks now and then,
    // and one day is not answered any more: then the channel is full.
    let deadline = Instant::now() + PATIENCE;
    let (mut stamp, mut asked) = (0, 0);
    let full = 'filling: loop {
        for client in &mut crowd {
            assert!(Instant::now() < deadline, "the channel never filled");
            stamp += 1;
            client.walk(1, 0);
            client.until_answered(stamp);
            client.pongs.clear();
        }
        if stamp % 200 == 0 && asked < 200 {
            asked += 1;
            ada.tell("echo", &[asked]);
            ada.ping(stamp);
            // The crowd's answer comes a turn later: if Ada's is not there by then, she is not read.
            crowd[0].until_answered(u64::MAX);
            crowd[0].pongs.clear();
            crowd[0].until_answered(u64::MAX - 1);
            while ada.listen() {}
            if !ada.has_pong(stamp) {
                break 'filling stamp;
            }
        }
    };
    // The others are read as before, and what they do not need to say twice makes room.
    for client in &mut crowd {
        for dx in 2..10 {
            client.walk(dx, 0);
        }
        client.until_answered(1);
    }
    assert!(!ada.has_pong(full));
    gate.open();

    ada.until("she is read again", |ada| ada.has_pong(full));
    ada.until("nothing is lost", |ada| ada.messages("echo").len() == asked as usize);
    let numbers: Vec<u8> = ada.messages("echo").iter().map(|payload| payload[0]).collect();
    assert_eq!(numbers, (1..=asked).collect::<Vec<u8>>());
    for client in &mut crowd {
        client.until("the newest input counts", |client| client.replica.own().unwrap().row[2] == 9);
    }
}

#[test]
fn connections_that_ask_for_nothing_cost_no_seat() {
    let house = lab(config());
    let streams: Vec<TcpStream> = (0..50).map(|_| dial(house.address())).collect();
    until("all are accepted", || house.metrics().connections.get() == 50);
    Client::join(house.address(), "lab", "Ada");
    drop(streams);
    until("all are gone", || house.metrics().connections.get() == 0 && house.metrics().players.get() == 0);
}
