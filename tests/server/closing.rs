//! The last words of a connection, in both directions.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tickyard::Config;
use tickyard::bridge::{Command, RoomId, SharedBatch};
use tickyard::close_reason::CloseReason;
use tickyard::sim::{AnyRoom, Room, RoomCounts};
use tickyard::stage::Stages;
use tickyard::time::Time;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::common::client::{Client, End, hello};
use crate::common::lab::{Lab, Walk};
use crate::common::{House, PATIENCE, config, until};

/// A room whose thread ends by a fault that is not the game's.
struct Faulty(Room<Lab>, Arc<AtomicBool>);

impl AnyRoom for Faulty {
    fn id(&self) -> RoomId {
        self.0.id()
    }

    fn tick_rate(&self) -> u16 {
        self.0.tick_rate()
    }

    fn command(&mut self, command: Command) {
        self.0.command(command);
    }

    fn step(&mut self, ticks: u32, due: Time, stages: &mut dyn Stages) -> SharedBatch {
        assert!(!self.1.load(Ordering::Relaxed), "a fault, as the test wants it");
        self.0.step(ticks, due, stages)
    }

    fn undelivered(&mut self, thread: u16) {
        self.0.undelivered(thread);
    }

    fn sleeps(&self) -> bool {
        self.0.sleeps()
    }

    fn players(&self) -> usize {
        self.0.players()
    }

    fn hash(&self) -> u64 {
        self.0.hash()
    }

    fn take_counts(&mut self) -> RoomCounts {
        self.0.take_counts()
    }
}

fn house(config: Config) -> (House, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&broken);
    let house = House::open(config, |server| {
        server.room::<Walk>("lab", move |config| {
            Box::new(Faulty(Room::new(config, Lab::default()).unwrap(), Arc::clone(&switch)))
        })
    });
    (house, broken)
}

/// Upgraded on `/play`, and from there on as bytes.
fn raw(house: &House) -> (Client, TcpStream) {
    let mut client = Client::knock(house.address());
    let stream = client.stream().try_clone().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, stream)
}

#[test]
fn each_close_code_that_a_server_may_send_is_sent_where_it_belongs() {
    let (house, broken) = house(Config { echo: true, capacity: 5, ..config() });
    let address = house.address();
    let join = |name: &str| Client::join(address, "lab", name);
    let echo = || Client::over(TcpStream::connect(address).unwrap(), address, "/echo");
    let closes = |reason| house.metrics().closes.get(reason);

    let said = |mut client: Client, message: Message| {
        client.send_message(message);
        client.until_the_end()
    };
    let sent = |mut client: Client, bytes: &[u8]| {
        client.stream().write_all(bytes).unwrap();
        client.until_the_end()
    };
    let close =
        |code: u16| Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: "bye".into() }));
    // The peer's own code comes back.
    for code in [1000, 1001, 3000, 4999] {
        assert_eq!(said(echo(), close(code)), End::Close(code));
        assert_eq!(said(join("Ada"), close(code)), End::Close(code));
    }
    assert_eq!(said(echo(), Message::Close(None)), End::CloseOnly);
    // An unmasked frame, and a code that no peer may send.
    assert_eq!(sent(echo(), &[0x82, 0x00]), End::Close(1002));
    assert_eq!(sent(join("Bob"), &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed]), End::Close(1002));
    assert_eq!(said(join("Cleo"), Message::text("hi")), End::Close(1003));
    // A text, and a close reason, that are not UTF-8.
    assert_eq!(sent(echo(), &[0x81, 0x81, 0, 0, 0, 0, 0xff]), End::Close(1007));
    assert_eq!(sent(join("Dan"), &[0x88, 0x83, 0, 0, 0, 0, 0x03, 0xe8, 0xff]), End::Close(1007));
    assert_eq!(said(join("Eve"), Message::Binary(vec![99].into())), End::Close(1008));
    // From the header alone, of a frame and of a fragment.
    assert_eq!(sent(join("Finn"), &[0x82, 0xfe, 0x40, 0x01, 0, 0, 0, 0]), End::Close(1009));
    assert_eq!(
        sent(join("Gus"), &[0x02, 0x81, 0, 0, 0, 0, 9, 0x80, 0xfe, 0x40, 0x00, 0, 0, 0, 0]),
        End::Close(1009)
    );
    until("seats are free", || house.metrics().players.get() == 0);
    let mut crowd: Vec<Client> = (0..5).map(|_| join("")).collect();
    let mut late = Client::knock(address);
    late.say_hello(&hello("lab", "Late"));
    assert_eq!(late.until_the_end(), End::Close(1013));

    // A fault of ours, which is noticed with the next word of anybody; and who comes then cannot play either.
    let mut shy = Client::knock(address);
    let mut other = echo();
    broken.store(true, Ordering::Relaxed);
    crowd[0].until("the fault is noticed", |client| {
        client.walk(1, 1);
        client.end.is_some()
    });
    for client in &mut crowd {
        assert_eq!(client.until_the_end(), End::Close(1011));
        assert_eq!(client.reason, "the server has failed");
    }
    assert_eq!(shy.until_the_end(), End::Close(1011));
    let mut last = Client::knock(address);
    last.say_hello(&hello("lab", "Last"));
    assert_eq!(last.until_the_end(), End::Close(1011));
    until("they are counted", || closes(CloseReason::Internal) == 7);
    assert!(house.fault().is_some());

    // Who does not play is told when the server stops.
    house.stop();
    assert_eq!(other.until_the_end(), End::Close(1001));
}

#[test]
fn who_is_closed_may_answer_in_its_own_time_and_then_the_server_ends_tcp() {
    let (house, _) = house(config());
    let (mut client, mut stream) = raw(&house);
    client.send(vec![99]);
    let mut close = [0; 2];
    stream.read_exact(&mut close).unwrap();
    assert_eq!(close[0], 0x88);
    let mut reason = vec![0; close[1] as usize];
    stream.read_exact(&mut reason).unwrap();
    assert_eq!(reason[..2], [0x03, 0xf0]);

    // Neither the end of TCP nor an answer to what a close has overtaken.
    stream.write_all(&[0x89, 0x80, 0, 0, 0, 0, 0x82, 0x81, 0, 0, 0, 0, 99]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let quiet = stream.read(&mut [0; 1]).unwrap_err().kind();
    assert!(matches!(quiet, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{quiet:?}");
    assert_eq!(house.metrics().connections.get(), 1);

    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the server ends TCP first");
    drop((client, stream));
    until("it is over", || house.metrics().closes.get(CloseReason::BadHello) == 1);
}

#[test]
fn who_never_answers_a_close_is_cut_after_five_seconds() {
    let (house, _) = house(config());
    let (mut client, mut stream) = raw(&house);
    let began = Instant::now();
    client.send(vec![99]);
    let mut heard = vec![];
    // A cut is the end or a reset.
    let _ = stream.read_to_end(&mut heard);
    assert!(heard.starts_with(&[0x88]));
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    until("it is over", || house.metrics().closes.get(CloseReason::BadHello) == 1);
}

#[test]
fn who_breaks_the_protocol_hears_why_and_then_at_once_the_end() {
    let (house, _) = house(config());
    let (_client, mut stream) = raw(&house);
    let began = Instant::now();
    stream.write_all(&[0x83, 0x80, 0, 0, 0, 0]).unwrap();
    let mut heard = vec![];
    stream.read_to_end(&mut heard).unwrap();
    assert_eq!(heard[..4], [0x88, heard[1], 0x03, 0xea]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
