//! The clock, and what happens when a game holds it up or fails.

use std::time::Instant;

use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tickyard::sim::clock::CATCH_UP_MAX;
use tickyard_protocol::message::RefusalCode;

use crate::common::client::{Client, End, hello};
use crate::common::lab::Lab;
use crate::common::{House, config, until};

#[test]
fn a_tick_that_was_held_up_is_caught_up_by_four_and_the_rest_is_counted() {
    const RATE: u64 = 20;
    let house = House::open(Config { tick_rate: RATE as u16, ..config() }, |server| {
        server.game("lab", |_| Lab::with_dots(1))
    });
    let mut ada = Client::join(house.address(), "lab", "Ada");
    // Until somebody came the room slept.
    let periods = || house.metrics().ticks.get() + house.metrics().tick_overruns.get();
    let (begun, before) = (Instant::now(), periods());
    let overruns = house.metrics().tick_overruns.get();

    ada.tell("stall", &600u32.to_le_bytes());

    ada.until("the room goes on", |ada| ada.replica.message_heard() == 1 && ada.ticks.len() > 20);
    // Twelve periods passed within the stall: four are lived, at least seven are not.
    until("the rest is counted", || house.metrics().tick_overruns.get() >= overruns + 7);
    // The stalled tick and those caught up may come as one message, and a busy machine may join more to it.
    let gaps: Vec<u32> = ada.ticks.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().any(|gap| *gap >= CATCH_UP_MAX), "{gaps:?}");

    // Lived or not, each period is counted: the clock neither loses nor gains any.
    let due = begun.elapsed().as_millis() as u64 * RATE / 1000;
    until("all periods that are due are counted", || periods() - before + 3 >= due);
    let counted = periods() - before;
    assert!(counted <= begun.elapsed().as_millis() as u64 * RATE / 1000 + 1);
}

#[test]
fn a_game_that_fails_ends_its_own_room_and_no_other() {
    let house = House::open(Config { tick_rate: 60, ..config() }, |server| {
        server.game("bad", |_| Lab::default()).game("good", |_| Lab::with_dots(1))
    });
    let mut ada = Client::join(house.address(), "bad", "Ada");
    let mut bob = Client::join(house.address(), "bad", "Bob");
    let mut eve = Client::join(house.address(), "good", "Eve");

    ada.tell("panic", &[]);

    assert_eq!([ada.until_the_end(), bob.until_the_end()], [End::Close(4002); 2]);
    let mut late = Client::knock(house.address());
    late.say_hello(&hello("bad", "Late"));
    assert_eq!(late.until_the_end(), End::Close(4001));
    assert_eq!(late.refused.unwrap().code, RefusalCode::Game as u16);

    let heard = eve.ticks.len();
    eve.until("the other game goes on", |eve| eve.ticks.len() > heard + 30);
    Client::join(house.address(), "good", "Newcomer");
    until("all is counted", || house.metrics().closes.get(CloseReason::RoomFailed) == 2);
    until("seats are free", || house.metrics().players.get() == 1);
    assert_eq!((house.metrics().rooms_failed.get(), house.fault()), (1, None), "one game is left");
}

#[test]
fn a_server_whose_last_game_failed_says_that_it_is_of_no_use() {
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("bad", |_| Lab::default()));
    assert_eq!(house.fault(), None);
    let mut ada = Client::join(house.address(), "bad", "Ada");

    ada.tell("panic", &[]);

    assert_eq!(ada.until_the_end(), End::Close(4002));
    until("it says so", || house.fault() == Some("every room's game has failed"));
}
