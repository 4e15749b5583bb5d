//! One test per promise: coming and going, what an io thread did not get, and failure.

use std::panic;

use tickyard_protocol::message::{RefusalCode, ServerControl, decode_server_control};
use tickyard_protocol::types::PlayerId;

use super::config;
use super::stage::{Stage, conn, dot, members, part, snapshots, view};
use crate::bridge::{Ask, ConnId, Leave, Refusal, Removed, RemovedWhy};
use crate::game::Look;
use crate::sim::players::RELIABLE_WAITING_MAX;
use crate::sim::{AnyRoom, RoomConfig};

#[test]
fn who_joins_gets_a_welcome_a_view_and_all_its_cells_in_one_batch() {
    let mut stage = Stage::new();
    stage.spawn(dot(150));
    stage.join(conn(0));
    stage.deed(|world| world.look(PlayerId(1), Look::At(150, 0)));

    let batch = stage.step();

    let [joined] = batch.joined[..] else { panic!("{:?}", batch.joined) };
    assert_eq!((joined.conn, joined.player), (conn(0), PlayerId(1)));
    let Ok(ServerControl::Welcome(welcome)) = decode_server_control(&batch.slice(joined.welcome)[1..]) else {
        panic!("a welcome")
    };
    assert_eq!((welcome.player, welcome.tick, welcome.tick_rate), (PlayerId(1), batch.tick(), 20));
    assert_eq!((welcome.step_micros, &*welcome.room, &*welcome.game), (50_000, "room", "walk"));
    assert_eq!(welcome.schema.input.len(), 1);
    assert_eq!(view(&batch, conn(0)), Some(vec![0, 2, 3, 1]));
    assert_eq!(snapshots(&batch), [0, 1, 2, 3]);
    assert_eq!([0, 1, 2, 3].map(|cell| members(&batch, cell)), [0, 0, 1, 0]);
    let next = stage.step();
    assert!(next.joined.is_empty() && snapshots(&next).is_empty());
    assert_eq!(view(&next, conn(0)), None);
}

#[test]
fn a_full_room_says_when_to_try_again_and_no_player_number_is_used_twice() {
    let mut stage = Stage::with(RoomConfig { capacity: 1, ..config() });
    stage.join(conn(0));
    stage.join(conn(1));
    let batch = stage.step();
    let text = "the room is full: all 1 seats are taken".into();
    let full = Refusal { conn: conn(1), code: RefusalCode::Full, text, retry_after_millis: Some(5000) };
    assert_eq!((batch.joined.len(), &batch.refused[..]), (1, &[full][..]));
    assert_eq!(stage.room.players(), 1);

    stage.ask(conn(0), Ask::Leave(Leave::Left));
    stage.join(conn(1));
    let batch = stage.step();
    assert_eq!(batch.joined[0].player, PlayerId(2));
    assert!(batch.refused.is_empty());
    assert_eq!(stage.room.game.left, [(PlayerId(1), Leave::Left)]);
}

#[test]
fn the_games_refusal_is_passed_on() {
    let mut stage = Stage::new();
    stage.room.game.refuses = Some("members only");
    stage.join(conn(0));
    let batch = stage.step();
    let text = "members only".into();
    let refusal = Refusal { conn: conn(0), code: RefusalCode::Game, text, retry_after_millis: None };
    assert_eq!(batch.refused, [refusal]);
    assert_eq!(stage.room.players(), 0);
}

#[test]
fn commands_from_a_connection_without_a_seat_are_dropped_and_counted() {
    let mut stage = Stage::of(1);
    let stranger = ConnId { generation: 1, ..conn(0) };
    stage.input(stranger, 1);
    stage.message(stranger, 1, "chat", b"boo");
    stage.ask(stranger, Ask::Leave(Leave::Left));
    stage.ask(ConnId { thread: 7, ..conn(0) }, Ask::Ack(0));
    stage.ask(conn(99), Ask::Ack(0));
    stage.step();
    assert_eq!(stage.room.take_counts().commands_stale, 4);
    assert!(stage.room.game.inputs.is_empty());
    assert_eq!(stage.room.players(), 1);
}

#[test]
fn who_was_removed_and_then_leaves_is_not_counted_as_stale() {
    let mut stage = Stage::with(RoomConfig { capacity: 1, ..config() });
    stage.join(conn(0));
    stage.join(conn(1));
    stage.deed(|world| (0..RELIABLE_WAITING_MAX + 1).for_each(|_| world.broadcast("a", b"")));
    let batch = stage.step();
    assert_eq!((batch.removed.len(), batch.refused.len()), (1, 1));
    // What their sessions do next.
    (0..2).for_each(|at| stage.ask(conn(at), Ask::Leave(Leave::Removed)));
    stage.step();
    assert_eq!(stage.room.take_counts().commands_stale, 0);
}

#[test]
fn a_second_join_of_a_connection_is_wrong_and_one_of_its_slots_next_user_frees_the_seat() {
    let mut stage = Stage::of(1);
    stage.join(conn(0));
    assert!(stage.step().joined.is_empty());
    assert_eq!(stage.room.take_counts().commands_wrong, 1);

    let next = ConnId { generation: 1, ..conn(0) };
    stage.join(next);
    let batch = stage.step();
    assert_eq!((batch.joined[0].conn, batch.joined[0].player), (next, PlayerId(2)));
    assert_eq!(stage.room.game.left, [(PlayerId(1), Leave::Dropped)]);
    assert_eq!(batch.parts.len(), 1);
}

#[test]
fn every_player_has_a_part_and_parts_are_grouped_by_thread() {
    let mut stage = Stage::new();
    let conns = [(1, 0), (0, 3), (1, 5), (3, 0)].map(|(thread, slot)| ConnId { thread, slot, generation: 0 });
    conns.iter().for_each(|&conn| stage.join(conn));
    let batch = stage.step();
    let of = |thread: u16| batch.parts_of(thread).iter().map(|part| part.conn).collect::<Vec<_>>();
    assert_eq!(
        [of(0), of(1), of(2), of(3), of(4)],
        [vec![conns[1]], vec![conns[0], conns[2]], vec![], vec![conns[3]], vec![]]
    );

    stage.ask(conns[0], Ask::Leave(Leave::Left));
    let batch = stage.step();
    assert_eq!(batch.parts_of(1).iter().map(|part| part.conn).collect::<Vec<_>>(), [conns[2]]);
}

#[test]
fn what_a_thread_must_not_miss_comes_again_until_it_got_it() {
    let mut stage = Stage::with(RoomConfig { capacity: 2, ..config() });
    let other = ConnId { thread: 1, slot: 0, generation: 0 };
    [conn(0), other, conn(2)].into_iter().for_each(|conn| stage.join(conn));
    stage.deed(|world| world.broadcast("a", b""));
    let batch = stage.step();
    assert_eq!((batch.joined.len(), batch.refused.len()), (2, 1));

    for _ in 0..2 {
        stage.room.undelivered(0);
        stage.deed(|world| world.broadcast("b", b""));
        let batch = stage.step();
        assert_eq!(batch.joined.iter().map(|joined| joined.conn).collect::<Vec<_>>(), [conn(0)]);
        assert_eq!(batch.refused.iter().map(|refusal| refusal.conn).collect::<Vec<_>>(), [conn(2)]);
        assert_eq!((view(&batch, conn(0)), view(&batch, other)), (Some(vec![0]), None));
        assert_eq!(part(&batch, conn(0)).reliable_first, 1);
        assert_eq!(part(&batch, other).reliable_count, 1);
        assert_eq!(snapshots(&batch), [0]);
    }
    let batch = stage.step();
    assert!(batch.joined.is_empty() && batch.refused.is_empty() && view(&batch, conn(0)).is_none());
}

#[test]
fn a_removal_that_was_not_delivered_comes_again() {
    let mut stage = Stage::of(1);
    stage.deed(|world| (0..RELIABLE_WAITING_MAX + 1).for_each(|_| world.broadcast("a", b"")));
    let removed = [Removed { conn: conn(0), why: RemovedWhy::ReliableOverflow }];
    assert_eq!(stage.step().removed, removed);
    stage.room.undelivered(0);
    assert_eq!(stage.step().removed, removed);
    assert_eq!(stage.step().removed, []);
}

#[test]
fn who_left_before_the_welcome_got_through_gets_none() {
    let mut stage = Stage::of(1);
    stage.room.undelivered(0);
    stage.ask(conn(0), Ask::Leave(Leave::Dropped));
    assert!(stage.step().joined.is_empty());
}

/// Without the panic's message on the screen.
fn quietly<T>(deed: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = deed();
    panic::set_hook(hook);
    result
}

#[test]
fn a_panic_of_the_game_ends_the_room_for_all_and_for_good() {
    let mut stage = Stage::of(2);
    stage.deed(|_| panic!("as the test asked for"));
    stage.join(conn(2));
    let batch = quietly(|| stage.step());
    let mut gone: Vec<_> = batch.removed.iter().map(|removed| (removed.conn, removed.why)).collect();
    gone.sort_by_key(|gone| gone.0);
    assert_eq!(gone, [0, 1, 2].map(|at| (conn(at), RemovedWhy::RoomFailed)));
    assert!(batch.joined.is_empty() && batch.parts.is_empty());
    assert_eq!((stage.room.players(), stage.room.take_counts().failures), (0, 1));

    stage.join(conn(3));
    stage.input(conn(0), 1);
    let batch = stage.step();
    assert_eq!((batch.refused[0].conn, batch.refused[0].code), (conn(3), RefusalCode::Game));
    assert!(batch.removed.is_empty());
    assert_eq!(stage.room.take_counts().failures, 0);
}

#[test]
fn who_was_being_let_in_and_who_waited_behind_are_refused_when_the_game_panics() {
    let mut stage = Stage::of(1);
    stage.room.game.panics_on_join = true;
    (1..4).for_each(|at| stage.join(conn(at)));
    let batch = quietly(|| stage.step());
    assert_eq!(batch.refused.iter().map(|refusal| refusal.conn).collect::<Vec<_>>(), [1, 2, 3].map(conn));
    assert_eq!(batch.removed, [Removed { conn: conn(0), why: RemovedWhy::RoomFailed }]);
}

#[test]
fn who_comes_in_the_slot_of_another_is_refused_when_the_game_panics_over_the_other() {
    let mut stage = Stage::of(1);
    stage.room.game.on_leave = Some(|_, _| panic!("as the test asked for"));
    let reused = ConnId { generation: 1, ..conn(0) };
    stage.join(reused);
    let batch = quietly(|| stage.step());
    assert_eq!(batch.refused.iter().map(|refusal| refusal.conn).collect::<Vec<_>>(), [reused]);
    assert!(batch.removed.is_empty());
}

#[test]
fn a_thing_that_changes_its_kind_is_the_games_failure() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(0));
    stage.deed(move |world| world.get_mut(id).unwrap().kind = 1);
    assert_eq!(quietly(|| stage.step()).removed.len(), 1);
}
