//! What an ear must find, and must not.

use super::*;
use crate::rules::RuleBook;
use crate::testing::{Script, entity, schema};
use tickyard_protocol::repair::{Mismatch, RepairWhy};
use tickyard_protocol::tick::{Reliable, put_block, put_heard};

fn ear() -> Ear {
    Ear::new(3, RuleBook::default().of(schema()))
}

/// Hears messages one after the other; the violations, and what the last message said.
fn hear(messages: &[Script]) -> (Violations, Heard) {
    let (mut ear, mut wrong, mut heard) = (ear(), Violations::default(), Heard::default());
    for message in messages {
        heard = ear.hear(&message.bytes()[1..], Seq(5), &mut News::default(), &mut wrong).unwrap();
    }
    (wrong, heard)
}

fn first() -> Script {
    Script::new(10).view(&[1, 2]).snapshot(1, &[entity(4, 0)]).snapshot(2, &[])
}

fn expect_violation(messages: &[Script], text: &str) {
    let (wrong, _) = hear(messages);
    assert_eq!(wrong.count, 1, "{:?}", wrong.spelt);
    assert!(wrong.spelt[0].starts_with("bot 3: ") && wrong.spelt[0].contains(text), "{}", wrong.spelt[0]);
}

#[test]
fn an_orderly_server_is_not_accused() {
    let late = Script::new(20).age(2).delta(1, 7).age(0).delta(1, 2).seq(5);
    let (wrong, _) = hear(&[first(), Script::new(11).delta(1, 1).seq(2), late]);
    assert_eq!(wrong.spelt, Vec::<String>::new());
}

#[test]
fn headers_must_go_on() {
    expect_violation(&[first(), Script::new(10)], "tick 10 came after tick 10");
    expect_violation(&[first().seq(3), Script::new(11).seq(2)], "went back from 3 to 2");
    expect_violation(&[first().seq(6)], "input 6 was applied, and 5 sent");
}

#[test]
fn a_delta_must_apply_to_what_is_held() {
    expect_violation(&[first(), Script::new(12).delta(1, 1)], "does not apply to what is held as of 10");
    expect_violation(&[first(), Script::new(11).age(1).delta(1, 3)], "does not apply to what is held");
    expect_violation(&[first(), Script::new(11).delta(9, 1)], "which is not in view");
    let view = Script::new(10).view(&[1]);
    expect_violation(&[view, Script::new(11).delta(1, 1)], "a cell of which nothing is held");
}

#[test]
fn a_delta_that_does_not_apply_is_one_violation_and_one_mismatch_until_the_snapshot() {
    let (mut ear, mut wrong) = (ear(), Violations::default());
    for message in
        [first(), Script::new(12).delta(1, 1), Script::new(13).delta(1, 1), Script::new(14).snapshot(1, &[])]
    {
        ear.hear(&message.bytes()[1..], Seq(0), &mut News::default(), &mut wrong).unwrap();
    }
    ear.hear(&Script::new(15).delta(1, 1).bytes()[1..], Seq(0), &mut News::default(), &mut wrong).unwrap();
    assert_eq!(wrong.count, 1);
    let found = Mismatch { why: RepairWhy::Misfit, cells: vec![CellId(1)] };
    assert_eq!(ear.take_mismatch(), Some(found));
}

#[test]
fn cells_that_left_the_view_are_forgotten() {
    let messages = [first(), Script::new(11).view(&[2]), Script::new(12).view(&[2, 1]).delta(1, 2)];
    expect_violation(&messages, "a cell of which nothing is held");
    expect_violation(&[first(), Script::new(11).snapshot(3, &[])], "a snapshot of cell 3");
    let late = Script::new(11).delta(1, 1).view(&[1, 2]);
    expect_violation(&[first(), late], "the view came after a cell");
}

#[test]
fn view_self_and_heard_come_once_a_message() {
    expect_violation(&[first().own(0).own(0)], "block kind 5 came twice");
    expect_violation(&[first(), Script::new(11).view(&[1]).view(&[1])], "block kind 1 came twice");
    assert_eq!(hear(&[first(), Script::new(11).age(1).age(0)]).0.count, 0);
}

#[test]
fn messages_that_were_never_sent_can_not_be_heard() {
    let mut message = first().bytes();
    put_heard(&mut message, 1);
    let mut wrong = Violations::default();
    ear().hear(&message[1..], Seq(0), &mut News::default(), &mut wrong).unwrap();
    assert_eq!(wrong.spelt, ["bot 3: message 1 was heard, and none was sent"]);
}

#[test]
fn reliable_messages_have_no_gaps_and_may_come_twice() {
    let award = Reliable::Award { points: 5, reason: "coin" };
    let once = || Script::new(11).reliable(1, award);
    assert_eq!(hear(&[first(), once().reliable(1, award).reliable(2, award)]).0.count, 0);
    expect_violation(&[first(), once().reliable(3, award)], "reliable message 3 came, 2 did not");
}

#[test]
fn a_block_that_ends_early_or_late_is_malformed() {
    let hear = |extra: &[u8]| {
        let mut message = first().bytes();
        put_block(&mut message, block::AGE, |out| out.extend_from_slice(extra));
        ear()
            .hear(&message[1..], Seq(0), &mut News::default(), &mut Violations::default())
            .map(|heard| heard.world)
    };
    assert_eq!(hear(&[1]), Ok(true));
    assert_eq!(hear(&[]), Err(Malformed::Short));
    assert_eq!(hear(&[1, 0]), Err(Malformed::Long));
}

#[test]
fn unknown_blocks_are_skipped_and_counted() {
    let mut message = first().bytes();
    put_block(&mut message, 99, |out| out.push(7));
    let heard = ear().hear(&message[1..], Seq(0), &mut News::default(), &mut Violations::default()).unwrap();
    assert_eq!((heard.unknown, heard.world), (1, true));
}

#[test]
fn nothing_is_missed_by_a_bot_at_rest_that_hears_once_a_second() {
    let heard = |message| hear(&[first().own(0), message]).1;
    assert_eq!(heard(Script::new(30).own(0)), Heard { world: false, missed: 0, unknown: 0 });
    assert_eq!(heard(Script::new(30).own(0).delta(1, 20)), Heard { world: true, missed: 0, unknown: 0 });
}

#[test]
fn each_tick_that_comes_late_is_missed_once() {
    let late = Script::new(14).age(3).delta(1, 1).age(1).delta(1, 2).age(3).delta(2, 1).age(0).delta(1, 1);
    assert_eq!(hear(&[first(), late]).1, Heard { world: true, missed: 2, unknown: 0 });
}

#[test]
fn what_was_skipped_or_replaced_is_missed() {
    assert_eq!(hear(&[first(), Script::new(14).skipped().delta(1, 4)]).1.missed, 3);
    assert_eq!(hear(&[first(), Script::new(14).snapshot(1, &[])]).1.missed, 3);
    let entered = Script::new(14).view(&[1, 2, 3]).snapshot(3, &[]);
    assert_eq!(hear(&[first(), entered]).1.missed, 0);
}

#[test]
fn silence_is_no_miss_though_the_bot_moves() {
    assert_eq!(hear(&[first().own(5), Script::new(14).delta(1, 4)]).1.missed, 0);
}
