//! Hello and welcome, refusals, leaving.

use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tickyard_protocol::message::{Hello, RefusalCode, Seek};
use tungstenite::Message;

use crate::common::client::{Client, End, hello};
use crate::common::lab::{Lab, UNWANTED};
use crate::common::{House, config, until};

#[test]
fn a_hello_is_answered_with_a_welcome_and_then_with_all_there_is_to_see() {
    let house = House::arena(Config { tick_rate: 30, ..config() });

    let ada = Client::join(house.address(), "arena", "Ada");

    let welcome = ada.welcome.as_ref().unwrap();
    assert_eq!((welcome.player.0, welcome.game.as_str(), welcome.room.as_str()), (1, "arena", "arena-1"));
    assert_eq!((welcome.tick_rate, welcome.step_micros, welcome.resume.len()), (30, 33_333, 0));
    let kinds: Vec<&str> = welcome.schema.kinds.iter().map(|kind| kind.name.as_str()).collect();
    assert_eq!(kinds, ["player", "coin", "score"]);
    assert!(ada.ticks[0] >= welcome.tick.0);

    let view = ada.replica.view();
    assert_eq!(view.len(), 2, "what is everywhere, and the one square of this world");
    assert!(view.iter().all(|&cell| ada.replica.cell(cell).is_some()));
    let coins = ada.replica.entities().filter(|entity| entity.kind == 1).count();
    assert_eq!(coins, 200);
    assert_eq!(ada.sees("Ada").unwrap().id, ada.replica.own().unwrap().id);
}

#[test]
fn who_gives_no_name_gets_one() {
    let house = House::arena(config());

    let nameless = Client::join(house.address(), "arena", "");

    assert!(nameless.sees("Player 1").is_some());
}

#[test]
fn a_room_is_found_by_its_id_too() {
    let house = House::open(config(), |server| {
        server.game("lab", |_| Lab::default()).game("lab two", |_| Lab::default())
    });

    for (seek, room) in [(Seek::Room("lab two-1"), "lab two-1"), (Seek::Join("lab"), "lab-1")] {
        let mut client = Client::knock(house.address());
        client.say_hello(&Hello { seek, ..hello("", "Ada") });
        client.until_it_sees_all();
        assert_eq!(client.welcome.unwrap().room, room);
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_code_and_then_closed_with_4001() {
    let house = House::open(config(), |server| server.game("lab", |_| Lab::default()));
    let base = || hello("lab", "Ada");
    let cases = [
        (Hello { version: 2, ..base() }, RefusalCode::Outdated),
        (hello("chess", "Ada"), RefusalCode::UnknownGame),
        (Hello { seek: Seek::Create("lab"), ..base() }, RefusalCode::UnknownRoom),
        (Hello { seek: Seek::Room("lab-2"), ..base() }, RefusalCode::UnknownRoom),
        (hello("lab", "A\nda"), RefusalCode::BadName),
        (hello("lab", "\u{202e}adA"), RefusalCode::BadName),
        (hello("lab", " "), RefusalCode::BadName),
        (hello("lab", "thirty-three bytes are one more.."), RefusalCode::BadName),
        (Hello { options: UNWANTED, ..base() }, RefusalCode::Game),
    ];
    for (hello, code) in &cases {
        let mut client = Client::knock(house.address());
        client.say_hello(hello);

        assert_eq!(client.until_the_end(), End::Close(4001), "{code:?}");
        let refused = client.refused.unwrap();
        assert_eq!((refused.code, refused.retry_after_millis), (*code as u16, None));
        assert!(!refused.text.is_empty() && client.welcome.is_none());
    }
    until("all are counted", || house.metrics().closes.get(CloseReason::Refused) == cases.len() as u64);
}

#[test]
fn a_full_room_says_when_to_come_again_and_a_seat_that_is_left_is_free() {
    let house =
        House::open(Config { capacity: 1, ..config() }, |server| server.game("lab", |_| Lab::default()));
    let first = Client::join(house.address(), "lab", "first");

    let mut second = Client::knock(house.address());
    second.say_hello(&hello("lab", "second"));
    assert_eq!(second.until_the_end(), End::Close(1013));
    let refused = second.refused.unwrap();
    assert_eq!((refused.code, refused.retry_after_millis), (RefusalCode::Full as u16, Some(5000)));

    first.leave();
    until("the seat is free", || house.metrics().players.get() == 0);
    Client::join(house.address(), "lab", "third");
}

#[test]
fn who_leaves_is_gone_for_the_others_and_who_is_cut_off_too() {
    let house = House::arena(Config { tick_rate: 60, ..config() });
    let mut ada = Client::join(house.address(), "arena", "Ada");
    let leaver = Client::join(house.address(), "arena", "Leaver");
    let faller = Client::join(house.address(), "arena", "Faller");
    let halver = Client::join(house.address(), "arena", "Halver");
    ada.until("all are seen", |ada| {
        ["Leaver", "Faller", "Halver"].iter().all(|name| ada.sees(name).is_some())
    });

    leaver.leave();
    ada.until("who left is gone", |ada| ada.sees("Leaver").is_none());
    faller.vanish();
    ada.until("who was reset is gone", |ada| ada.sees("Faller").is_none());
    drop(halver);
    ada.until("who ended TCP is gone", |ada| ada.sees("Halver").is_none());

    assert!(ada.sees("Ada").is_some());
    until("seats are free", || house.metrics().players.get() == 1 && house.metrics().connections.get() == 1);
    let closes = &house.metrics().closes;
    assert_eq!((closes.get(CloseReason::NormalByPeer), closes.get(CloseReason::PeerGone)), (1, 2));
}

#[test]
fn what_is_no_hello_and_what_is_no_message_ends_with_its_code() {
    let house = House::open(config(), |server| server.game("lab", |_| Lab::default()));
    let metrics = house.metrics();
    let cases: [(Message, u16, CloseReason); 4] = [
        (Message::text("hello"), 1003, CloseReason::Unsupported),
        (Message::Binary(vec![].into()), 1008, CloseReason::BadHello),
        (
            Message::Binary(vec![1, 0, 1, 253, 255, 255, 255, 255, 255, 255, 255, 255].into()),
            1008,
            CloseReason::BadHello,
        ),
        (Message::Binary(vec![2; 20].into()), 1008, CloseReason::BadHello),
    ];
    for (message, code, reason) in cases {
        let before = metrics.closes.get(reason);
        let mut client = Client::knock(house.address());
        client.send_message(message);
        assert_eq!(client.until_the_end(), End::Close(code));
        drop(client);
        until("it is counted", || metrics.closes.get(reason) == before + 1);
    }
    let bad: [Message; 5] = [
        Message::Binary(vec![].into()),
        Message::Binary(vec![99].into()),
        Message::Binary(vec![2, 1, 0, 0, 0].into()),
        Message::Binary(vec![3, 1].into()),
        Message::Binary(vec![5, 0].into()),
    ];
    for (at, message) in bad.into_iter().enumerate() {
        let mut client = Client::join(house.address(), "lab", "Ada");
        client.send_message(message);
        assert_eq!(client.until_the_end(), End::Close(1008), "message {at}");
    }
    until("they are counted", || metrics.closes.get(CloseReason::BadMessage) == 5);
    let mut client = Client::join(house.address(), "lab", "Ada");
    client.send_message(Message::text("hello"));
    assert_eq!(client.until_the_end(), End::Close(1003));
    until("nobody is left", || metrics.players.get() == 0);
}
