//! Several rooms of a game: who gets where, and that each is a world of its own.

use std::collections::BTreeMap;

use tickyard::Config;
use tickyard_protocol::message::{Hello, RefusalCode, Seek};

use crate::common::client::{Client, End, hello};
use crate::common::lab::Lab;
use crate::common::{House, config, until};

fn house(rooms: u32, capacity: u32, io_threads: usize) -> House {
    let config = Config { rooms, capacity, io_threads, tick_rate: 60, ..config() };
    House::open(config, |server| server.game("lab", |_| Lab::default()))
}

fn room(client: &Client) -> &str {
    &client.welcome.as_ref().expect("it is in").room
}

fn refusal(house: &House, hello: &Hello) -> u16 {
    let mut client = Client::knock(house.address());
    client.say_hello(hello);
    assert!(matches!(client.until_the_end(), End::Close(1013 | 4001)));
    client.refused.unwrap().code
}

#[test]
fn a_full_room_is_followed_by_the_next_one_and_who_leaves_makes_room_in_his_own() {
    let house = house(2, 2, 1);
    let metrics = house.metrics();
    assert_eq!(metrics.rooms.get(), 1, "the others open when they are needed");

    let mut players: Vec<Client> =
        ["Ada", "Bob", "Eve"].iter().map(|name| Client::join(house.address(), "lab", name)).collect();
    assert_eq!(players.iter().map(room).collect::<Vec<_>>(), ["lab-1", "lab-1", "lab-2"]);
    assert_eq!(metrics.rooms.get(), 2);
    players.push(Client::join(house.address(), "lab", "Kim"));
    assert_eq!(refusal(&house, &hello("lab", "Late")), RefusalCode::Full as u16);

    players[1].until("they see each other", |bob| bob.sees("Ada").is_some());
    players[3].until("and those of the other room", |kim| kim.sees("Eve").is_some());
    assert!(players[1].sees("Eve").is_none() && players[3].sees("Ada").is_none(), "two worlds");

    players.remove(0).leave();
    until("the seat is free", || metrics.players.get() == 3);
    assert_eq!(room(&Client::join(house.address(), "lab", "Newcomer")), "lab-1");
}

#[test]
fn who_asks_for_a_room_by_its_id_gets_into_it_or_nowhere() {
    let house = house(3, 2, 1);
    let into = |seek: Seek<'static>, name: &'static str| {
        let mut client = Client::knock(house.address());
        client.say_hello(&Hello { seek, ..hello("", name) });
        client.until_it_sees_all();
        client
    };
    let first: Vec<Client> = (0..2).map(|_| into(Seek::JoinOrCreate("lab"), "first")).collect();
    let full = |seek| refusal(&house, &Hello { seek, ..hello("", "Late") });
    assert_eq!(full(Seek::Join("lab")), RefusalCode::Full as u16, "it would not have a room opened");
    assert_eq!(full(Seek::Room("lab-2")), RefusalCode::UnknownRoom as u16, "not yet");

    let second = into(Seek::JoinOrCreate("lab"), "second");
    let friend = into(Seek::Room("lab-2"), "friend");
    assert_eq!([room(&second), room(&friend)], ["lab-2"; 2]);
    assert_eq!(full(Seek::Room("lab-2")), RefusalCode::Full as u16, "though a third could open");
    drop(first);
}

#[test]
fn however_many_join_at_once_through_several_threads_no_room_has_more_than_its_seats() {
    const SEATS: usize = 5;
    const ROOMS: usize = 4;
    let house = house(ROOMS as u32, SEATS as u32, 3);
    let mut crowd: Vec<Client> = (0..SEATS * ROOMS + 7).map(|_| Client::knock(house.address())).collect();
    crowd.iter_mut().for_each(|client| client.say_hello(&hello("lab", "")));

    let mut rooms: BTreeMap<String, usize> = BTreeMap::new();
    for client in &mut crowd {
        client.until("there is an answer", |client| client.welcome.is_some() || client.refused.is_some());
        if client.welcome.is_some() {
            *rooms.entry(room(client).to_owned()).or_default() += 1;
        }
    }
    let names: Vec<&str> = rooms.keys().map(String::as_str).collect();
    assert_eq!(names, ["lab-1", "lab-2", "lab-3", "lab-4"]);
    assert!(rooms.values().all(|&players| players == SEATS), "{rooms:?}");
    assert_eq!(crowd.iter().filter(|client| client.refused.is_some()).count(), 7);
    assert_eq!(house.metrics().rooms.get(), ROOMS as i64);
}

#[test]
fn a_room_that_failed_is_replaced_by_another_as_long_as_there_may_be_more() {
    let house = house(2, 10, 1);
    for (name, fault) in [("lab-1", None), ("lab-2", Some("every room's game has failed"))] {
        let mut ada = Client::join(house.address(), "lab", "Ada");
        assert_eq!(room(&ada), name);
        ada.tell("panic", &[]);
        assert_eq!(ada.until_the_end(), End::Close(4002));
        until("it is known", || house.fault() == fault);
    }
    assert_eq!(refusal(&house, &hello("lab", "Late")), RefusalCode::Game as u16);
    assert_eq!(house.metrics().rooms_failed.get(), 2);
}
