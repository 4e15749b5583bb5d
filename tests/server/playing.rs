//! What players see and say.

use std::time::Instant;

use tickyard::Config;
use tickyard::game::arena::{DIRECTION_MAX, SPEED_UNITS, STEPS_PER_UNIT};
use tickyard::metrics::ChatResult;
use tickyard_protocol::types::PlayerId;

use crate::common::client::{Client, End, Heard, until_both, until_they_agree};
use crate::common::lab::Lab;
use crate::common::{House, PATIENCE, config, until};

/// What two players who share a world tell of each other. Any number of io threads.
fn two_players_share_a_world(io_threads: usize) {
    let house = House::arena(Config { tick_rate: 60, io_threads, ..config() });
    // Connections go round the threads: who comes next is on the next thread.
    let mut ada = Client::join(house.address(), "arena", "Ada");
    let mut bob = Client::join(house.address(), "arena", "Bob");
    until_both("they see each other by name", [&mut ada, &mut bob], |ada, bob| {
        ada.sees("Bob").is_some() && bob.sees("Ada").is_some()
    });

    let before = bob.sees_player("Ada");
    let dx = if before[0] < 2048 * STEPS_PER_UNIT { DIRECTION_MAX } else { -DIRECTION_MAX };
    ada.walk(dx, 0);
    until_both("Bob sees Ada run, and Ada sees herself", [&mut ada, &mut bob], |ada, bob| {
        let (own, seen) = (ada.replica.own().unwrap().row, bob.sees_player("Ada"));
        (own[0] - before[0]).abs() > 100 && (seen[0] - before[0]).abs() > 100
    });
    let seen = bob.sees_player("Ada");
    assert_eq!(seen[2].abs(), SPEED_UNITS * STEPS_PER_UNIT / 60);
    assert_eq!((seen[2].signum(), seen[1], seen[3]), (dx.signum(), before[1], 0));
    assert_eq!(ada.replica.header().seq.0, 1, "the input was applied");
    until_they_agree(&mut ada, &mut bob);

    for (speaker, line) in [(&mut ada, "hello"), (&mut bob, "hello Ada")] {
        speaker.chat(line);
        speaker.until("one's own line comes back", |client| client.lines().contains(&line));
    }
    until_both("both hear both lines", [&mut ada, &mut bob], |ada, bob| {
        ada.lines().len() == 2 && bob.lines().len() == 2
    });
    assert_eq!(ada.lines(), ["hello", "hello Ada"]);
    assert_eq!(ada.ears.heard, bob.ears.heard);

    bob.leave();
    ada.until("Bob is gone", |ada| ada.sees("Bob").is_none());
    assert!(ada.replica.counts().sums_checked > 0);
}

#[test]
fn two_players_see_and_hear_each_other() {
    two_players_share_a_world(1);
}

#[test]
fn players_on_different_io_threads_see_and_hear_each_other() {
    two_players_share_a_world(3);
}

#[test]
fn a_coin_that_is_collected_counts_for_its_finder_and_on_everybodys_board() {
    let house = House::arena(Config { tick_rate: 60, ..config() });
    let mut ada = Client::join(house.address(), "arena", "Ada");
    let mut bob = Client::join(house.address(), "arena", "Bob");

    let deadline = Instant::now() + PATIENCE;
    while ada.replica.own().unwrap().row[4] == 0 {
        assert!(Instant::now() < deadline, "no coin in time");
        let (dx, dy) = to_the_nearest_coin(&ada);
        ada.walk(dx, dy);
        let heard = ada.ticks.len();
        ada.until("a few ticks pass", |ada| ada.ticks.len() >= heard + 3);
    }
    let own = ada.replica.own().unwrap().row[4];
    ada.walk(0, 0);

    let me = ada.player();
    let points = |client: &Client| {
        let mut lines = client.replica.entities().filter(|entity| entity.kind == 2);
        lines.find(|line| line.row[0] as u32 == me.0).map(|line| (line.row[1], line.statics.to_string()))
    };
    until_both("both see it on the board", [&mut ada, &mut bob], |ada, bob| {
        [ada, bob].iter().all(|client| points(client).is_some_and(|(points, _)| points >= own))
    });
    assert_eq!(points(&bob).unwrap().1, "Ada");
    bob.until("Bob sees Ada's score on herself", |bob| bob.sees_player("Ada")[4] >= own);
    let coins = bob.replica.entities().filter(|entity| entity.kind == 1).count();
    assert_eq!(coins, 200, "a new one lies elsewhere");
}

impl Client {
    fn sees_player(&self, name: &str) -> [i32; 16] {
        let mut players = self.replica.entities().filter(|entity| entity.kind == 0);
        players.find(|player| player.statics == name).unwrap().row
    }
}

fn to_the_nearest_coin(ada: &Client) -> (i32, i32) {
    let own = ada.replica.own().unwrap().row;
    let coins = ada.replica.entities().filter(|entity| entity.kind == 1);
    let ways = coins.map(|coin| (coin.row[0] - own[0], coin.row[1] - own[1]));
    let (dx, dy) = ways.min_by_key(|&(dx, dy)| dx as i64 * dx as i64 + dy as i64 * dy as i64).unwrap();
    let longest = dx.abs().max(dy.abs()).max(1);
    (dx * DIRECTION_MAX / longest, dy * DIRECTION_MAX / longest)
}

#[test]
fn chat_is_heard_by_all_in_order_with_its_speaker_and_acknowledged() {
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("lab", |_| Lab::default()));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut bob = Client::join(house.address(), "lab", "Bob");

    let lines = ["one", "two", "drei ✓", "four"];
    lines.iter().for_each(|line| ada.chat(line));

    until_both("both hear all lines", [&mut ada, &mut bob], |ada, bob| {
        ada.lines().len() == 4 && bob.lines().len() == 4 && ada.replica.message_heard() == 4
    });
    assert_eq!(ada.lines(), lines);
    let said = Heard::Chat(PlayerId(1), "Ada".into(), "one".into());
    assert!(bob.ears.heard.contains(&said));
    assert_eq!(bob.lines(), lines);
}

#[test]
fn chat_over_the_rate_and_what_is_no_line_is_refused_and_the_speaker_is_told() {
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("lab", |_| Lab::default()));
    let mut ada = Client::join(house.address(), "lab", "Ada");

    let too_long = "x".repeat(201);
    for bad in ["", "tab\there", &too_long] {
        ada.chat(bad);
    }
    ada.tell("chat", &[0xff, 0xfe]);
    ada.until("four refusals", |ada| ada.messages("chat-refused").len() == 4);
    // A burst of four, then two a second: not all of these can pass.
    (0..12).for_each(|line| ada.chat(&line.to_string()));
    ada.until("all are taken", |ada| {
        ada.replica.message_heard() == 16 && ada.lines().len() + ada.messages("chat-refused").len() == 16
    });

    let (passed, refused) = (ada.lines().len(), ada.messages("chat-refused").len() - 4);
    assert!((4..=8).contains(&passed), "{passed} lines passed");
    assert_eq!(ada.lines()[..4], ["0", "1", "2", "3"]);
    assert!(ada.messages("chat-refused").iter().all(|why| !why.is_empty()));
    let chat = &house.metrics().chat;
    until("all are counted", || {
        [ChatResult::Relayed, ChatResult::RateLimited, ChatResult::Invalid].map(|result| chat.get(result))
            == [passed as u64, refused as u64, 4]
    });
}

#[test]
fn a_games_own_messages_reach_it_in_order_and_its_answers_come_back() {
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("lab", |_| Lab::default()));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut bob = Client::join(house.address(), "lab", "Bob");

    for number in 0..20u8 {
        ada.tell("echo", &[number]);
    }
    ada.tell("all", b"to all");
    ada.tell("award", &[7]);
    ada.tell("spark", b"bright");

    until_both("all has arrived", [&mut ada, &mut bob], |ada, bob| {
        ada.replica.message_heard() == 23
            && ada.ears.heard.contains(&Heard::Award(7, "well done".into()))
            && bob.messages("all").len() == 1
            && [ada, bob].iter().all(|client| client.ears.sparks.len() == 1)
    });
    assert_eq!(ada.messages("hi"), [b"Ada"]);
    let numbers: Vec<u8> = ada.messages("echo").iter().map(|payload| payload[0]).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<u8>>());
    assert!(bob.messages("echo").is_empty());
    assert_eq!(bob.ears.sparks, [("spark".to_owned(), b"bright".to_vec())]);
}

#[test]
fn who_does_not_acknowledge_is_sent_away_with_1013() {
    let house =
        House::open(Config { tick_rate: 60, ..config() }, |server| server.game("lab", |_| Lab::default()));
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut bob = Client::join(house.address(), "lab", "Bob");
    bob.acknowledges = false;

    // 256 may wait. Ada's are acknowledged as they come.
    for client in [&mut ada, &mut bob] {
        client.tell("many", &[200]);
        client.until("they have come", |client| client.messages("many").len() == 200);
        client.tell("many", &[100]);
    }
    assert_eq!(bob.until_the_end(), End::Close(1013));
    ada.until("Ada got all", |ada| ada.messages("many").len() == 300 && ada.sees("Bob").is_none());
}
