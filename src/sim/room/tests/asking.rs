//! One test per promise: inputs and messages.

use tickyard_protocol::types::{PlayerId, Seq, Tick};

use super::stage::{Stage, conn, part, reliable};
use crate::bridge::{Ask, Batch, Leave, Removed, RemovedWhy};
use crate::sim::AnyRoom;
use crate::sim::players::{CROWDED_TICKS, RELIABLE_WAITING_MAX};
use crate::time::Time;

#[test]
fn inputs_are_applied_one_a_tick_in_order_and_each_at_most_once() {
    let mut stage = Stage::of(2);
    [1, 2, 2, 1, 3].into_iter().for_each(|seq| stage.input(conn(1), seq));
    stage.input(conn(0), 1);
    let parts: Vec<_> =
        (0..4).map(|_| part(&stage.step(), conn(1))).map(|part| (part.seq.0, part.depth)).collect();
    assert_eq!(parts, [(1, 2), (2, 1), (3, 0), (3, 0)]);
    let (a, b) = (PlayerId(1), PlayerId(2));
    assert_eq!(stage.room.game.inputs, [(2, a, 1), (2, b, 1), (3, b, 2), (4, b, 3)]);
    assert_eq!(stage.room.take_counts().inputs_repeated, 2);
}

#[test]
fn at_most_4_inputs_wait_and_the_oldest_are_skipped() {
    let mut stage = Stage::of(1);
    (1..=6).for_each(|seq| stage.input(conn(0), seq));
    let batch = stage.step();
    assert_eq!((part(&batch, conn(0)).seq, part(&batch, conn(0)).depth), (Seq(3), 3));
    assert_eq!(stage.room.take_counts().inputs_skipped, 2);
}

#[test]
fn two_inputs_a_tick_are_applied_when_more_than_one_has_waited_for_10_ticks() {
    let mut stage = Stage::of(1);
    stage.input(conn(0), 1);
    let mut applied = Vec::new();
    for seq in 2..20 {
        stage.input(conn(0), seq);
        let before = stage.room.game.inputs.len();
        stage.step();
        applied.push(stage.room.game.inputs.len() - before);
    }
    let twice: Vec<_> = (0..applied.len()).filter(|&at| applied[at] == 2).collect();
    assert_eq!(twice, [CROWDED_TICKS as usize], "{applied:?}");
    assert!(stage.room.game.inputs.iter().map(|input| input.2).eq(1..20));
}

#[test]
fn caught_up_ticks_are_simulated_with_an_input_each_and_published_once() {
    let mut stage = Stage::of(1);
    (1..=3).for_each(|seq| stage.input(conn(0), seq));
    let batch = stage.room.step(3, Time::from_secs(9), &mut ());
    assert_eq!((batch.tick(), batch.due, part(&batch, conn(0)).seq), (Tick(4), Time::from_secs(9), Seq(3)));
    assert!(stage.room.game.inputs.iter().map(|input| input.0).eq(2..=4));
}

#[test]
fn messages_are_taken_in_order_without_gaps() {
    let mut stage = Stage::of(1);
    [2, 1, 1, 3, 2].into_iter().for_each(|number| stage.message(conn(0), number, "wave", &[number as u8]));
    let batch = stage.step();
    assert_eq!(part(&batch, conn(0)).heard, 2);
    let taken = [1, 2].map(|number| (PlayerId(1), "wave".to_string(), vec![number]));
    assert_eq!(stage.room.game.messages, taken);
    assert_eq!(stage.room.take_counts().commands_wrong, 3);
}

#[test]
fn chat_goes_to_all_with_the_senders_name() {
    let mut stage = Stage::of(2);
    stage.message(conn(0), 1, "chat", "héllo".as_bytes());
    let batch = stage.step();
    for at in 0..2 {
        assert_eq!(reliable(&batch, conn(at)), [(1, "1 Player 1: héllo".to_string())]);
    }
    assert!(stage.room.game.messages.is_empty());
    assert_eq!(stage.room.take_counts().chat_relayed, 1);
}

#[test]
fn chat_that_is_no_line_of_text_is_refused_to_its_sender_alone() {
    let mut stage = Stage::of(2);
    let wrong: [&[u8]; 5] = [b"", &[b'x'; 201], &[0xff], b"two\nlines", "\u{85}".as_bytes()];
    for (at, payload) in wrong.iter().enumerate() {
        stage.message(conn(0), at as u32 + 1, "chat", payload);
    }
    let batch = stage.step();
    assert_eq!((reliable(&batch, conn(0)).len(), reliable(&batch, conn(1)).len()), (5, 0));
    let (_, text) = &reliable(&batch, conn(0))[0];
    assert_eq!(text, "chat-refused: a line is 1 to 200 bytes of text without control characters");
    assert_eq!(stage.room.take_counts().chat_invalid, 5);
}

#[test]
fn a_player_may_say_four_lines_at_once_and_two_a_second() {
    let mut stage = Stage::of(1);
    let mut number = 0;
    let mut say = |stage: &mut Stage, lines: u32| {
        for _ in 0..lines {
            number += 1;
            stage.message(conn(0), number, "chat", b"hi");
        }
        let said = stage.room.counts.chat_relayed;
        stage.step();
        (stage.room.counts.chat_relayed - said) as u32
    };
    assert_eq!(say(&mut stage, 6), 4);
    // 20 ticks: a second.
    assert_eq!((0..20).map(|_| say(&mut stage, 1)).sum::<u32>(), 2);
    assert_eq!((0..40).map(|_| say(&mut stage, 0)).sum::<u32>(), 0);
    assert_eq!(say(&mut stage, 6), 4);
    assert_eq!(stage.room.counts.chat_limited, 2 + 18 + 2);
}

#[test]
fn a_room_takes_so_many_lines_from_all_its_players_together() {
    let mut stage = Stage::of(100);
    (0..100).for_each(|at| stage.message(conn(at), 1, "chat", b"hi"));
    let batch = stage.step();
    assert_eq!(stage.room.take_counts().chat_relayed, 16);
    let (_, last) = reliable(&batch, conn(99)).pop().unwrap();
    assert_eq!(last, "chat-refused: too many are talking in this room");
}

#[test]
fn reliable_messages_are_offered_once_and_again_on_demand_until_acknowledged() {
    let mut stage = Stage::of(1);
    let numbers =
        |batch: &Batch| reliable(batch, conn(0)).iter().map(|(number, _)| *number).collect::<Vec<_>>();
    stage.deed(|world| (0..3).for_each(|_| world.send(PlayerId(1), "a", b"b")));
    assert_eq!(numbers(&stage.step()), [1, 2, 3]);
    assert_eq!(numbers(&stage.step()), [0u32; 0]);
    stage.ask(conn(0), Ask::Reoffer(2));
    assert_eq!(numbers(&stage.step()), [2, 3]);
    stage.ask(conn(0), Ask::Ack(2));
    stage.ask(conn(0), Ask::Reoffer(1));
    assert_eq!(numbers(&stage.step()), [3]);
    assert_eq!(stage.room.counts.commands_wrong, 0);
    stage.ask(conn(0), Ask::Ack(4));
    stage.ask(conn(0), Ask::Reoffer(5));
    assert_eq!(numbers(&stage.step()), [0u32; 0]);
    assert_eq!(stage.room.counts.commands_wrong, 2);
}

#[test]
fn a_batch_offers_24_kib_to_a_player_and_the_rest_comes_next() {
    let mut stage = Stage::of(1);
    stage.deed(|world| (0..7).for_each(|_| world.send(PlayerId(1), "", &[0; 4096])));
    let batch = stage.step();
    let (first, second) = (part(&batch, conn(0)), part(&stage.step(), conn(0)));
    assert_eq!((first.reliable_first, first.reliable_count), (1, 5));
    assert!(first.reliable.range().len() <= 24 * 1024);
    assert_eq!((second.reliable_first, second.reliable_count), (6, 2));
}

#[test]
fn who_does_not_acknowledge_loses_the_seat() {
    let mut stage = Stage::of(2);
    stage.ask(conn(1), Ask::Ack(0));
    stage.deed(|world| (0..RELIABLE_WAITING_MAX).for_each(|_| world.broadcast("a", b"")));
    assert!(stage.step().removed.is_empty());
    stage.ask(conn(1), Ask::Ack(1));
    stage.deed(|world| world.broadcast("a", b""));

    let batch = stage.step();

    assert_eq!(batch.removed, [Removed { conn: conn(0), why: RemovedWhy::ReliableOverflow }]);
    assert_eq!(batch.parts.len(), 1);
    assert_eq!(stage.room.game.left, [(PlayerId(1), Leave::Removed)]);
}

#[test]
fn bytes_that_are_not_acknowledged_are_bounded_too() {
    let mut stage = Stage::of(1);
    stage.deed(|world| (0..9).for_each(|_| world.award(PlayerId(1), 5, &"x".repeat(4000))));
    assert_eq!(stage.step().removed.len(), 1);
}
