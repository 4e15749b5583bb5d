//! One test per promise: properties.

use tickyard_protocol::types::PlayerId;

use super::stage::{Stage, conn, told};
use crate::bridge::{Ask, Leave, SharedBatch};
use crate::game::{Owner, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, PROPERTY_VALUE_BYTES_MAX, PropertyError};
use crate::sim::AnyRoom;
use crate::sim::players::RELIABLE_WAITING_MAX;

const ADA: Owner = Owner::Player(PlayerId(1));

fn set(stage: &mut Stage, owner: Owner, key: &'static str, value: &'static [u8]) -> SharedBatch {
    let (set, batch) = stage.now(move |world| world.set_property(owner, key, value));
    assert_eq!(set, Ok(()));
    batch
}

#[test]
fn a_property_that_changes_is_told_to_all_and_one_that_stays_the_same_to_nobody() {
    let mut stage = Stage::of(2);
    let batch = set(&mut stage, Owner::Room, "map", b"ice");
    assert_eq!(told(&batch, conn(0)), ["0's map = ice"]);
    assert_eq!(told(&batch, conn(1)), ["0's map = ice"]);

    let batch = set(&mut stage, Owner::Room, "map", b"ice");
    assert_eq!(told(&batch, conn(0)).len(), 0);
    assert_eq!(stage.room.world().property(Owner::Room, "map"), Some(&b"ice"[..]));

    let batch = set(&mut stage, Owner::Room, "map", b"");
    assert_eq!(told(&batch, conn(1)), ["0's map = "]);
    assert_eq!(stage.room.world().property(Owner::Room, "map"), None);
}

#[test]
fn who_joins_is_told_all_properties_before_anything_that_comes_later() {
    let mut stage = Stage::of(1);
    set(&mut stage, ADA, "team", b"red");
    set(&mut stage, Owner::Room, "map", b"ice");
    set(&mut stage, Owner::Room, "gone", b"1");
    set(&mut stage, Owner::Room, "gone", b"");

    stage.join(conn(1));
    stage.message(conn(0), 1, "chat", b"hi");
    let batch = stage.step();

    assert_eq!(batch.joined.len(), 1);
    assert_eq!(told(&batch, conn(1)), ["0's map = ice", "1's team = red", "1 Player 1: hi"]);
    assert_eq!(told(&batch, conn(0)), ["1 Player 1: hi"]);
}

#[test]
fn what_a_game_sets_while_somebody_joins_everybody_is_told_once() {
    let mut stage = Stage::of(1);
    set(&mut stage, Owner::Room, "map", b"ice");
    stage.room.game.on_join = Some(|world, player| {
        world.send(player, "first", b"");
        world.set_property(Owner::Player(player), "team", b"blue").unwrap();
        world.set_property(Owner::Room, "map", b"sand").unwrap();
    });
    stage.join(conn(1));
    let batch = stage.step();
    assert_eq!(told(&batch, conn(1)), ["0's map = ice", "first: ", "2's team = blue", "0's map = sand"]);
    assert_eq!(told(&batch, conn(0)), ["2's team = blue", "0's map = sand"]);
}

#[test]
fn a_players_properties_end_when_it_leaves() {
    let mut stage = Stage::of(2);
    set(&mut stage, ADA, "team", b"red");
    set(&mut stage, ADA, "hat", b"tall");
    set(&mut stage, Owner::Room, "map", b"ice");
    // The game may still look, and what it sets now ends as well.
    stage.room.game.on_leave = Some(|world, player| {
        assert_eq!(world.property(Owner::Player(player), "team"), Some(&b"red"[..]));
        world.set_property(Owner::Player(player), "rank", b"1").unwrap();
    });
    stage.ask(conn(0), Ask::Leave(Leave::Left));
    let batch = stage.step();
    assert_eq!(told(&batch, conn(1)), ["1's rank = 1", "1's hat = ", "1's rank = ", "1's team = "]);
    assert_eq!(stage.room.world().property(ADA, "team"), None);
    let (set, batch) = stage.now(|world| world.set_property(ADA, "team", b"red"));
    assert_eq!((set, told(&batch, conn(1)).len()), (Err(PropertyError::NoPlayer), 0));

    stage.join(conn(5));
    assert_eq!(told(&stage.step(), conn(5)), ["0's map = ice"]);
}

#[test]
fn who_is_turned_away_leaves_no_property_behind_and_those_of_others_are_known_as_they_are() {
    let mut stage = Stage::of(1);
    stage.room.game.refuses = Some("members only");
    stage.room.game.on_join = Some(|world, player| {
        world.broadcast("knock", b"");
        world.set_property(Owner::Player(player), "team", b"blue").unwrap();
        world.set_property(Owner::Room, "knocks", b"1").unwrap();
    });
    stage.join(conn(1));
    let batch = stage.step();
    assert_eq!(batch.refused.len(), 1);
    assert_eq!(told(&batch, conn(0)), ["0's knocks = 1"]);
    assert_eq!(stage.room.world().property(Owner::Player(PlayerId(2)), "team"), None);
    let (set, _) = stage.now(|world| world.set_property(Owner::Player(PlayerId(2)), "team", b"blue"));
    assert_eq!(set, Err(PropertyError::NoPlayer));
}

#[test]
fn as_many_properties_as_a_room_may_have_reach_a_newcomer_at_once_and_leave_room_for_more() {
    let mut stage = Stage::of(1);
    for at in 0..PROPERTIES_MAX as u32 {
        let owner = if at % 2 == 0 { Owner::Room } else { ADA };
        let bytes = PROPERTIES_BYTES_MAX / PROPERTIES_MAX - 5;
        let (set, _) =
            stage.now(move |world| world.set_property(owner, &format!("{at:05}"), &vec![9; bytes]));
        assert_eq!(set, Ok(()));
        stage.ask(conn(0), Ask::Ack(at));
    }
    stage.join(conn(1));
    stage.deed(|world| {
        (0..RELIABLE_WAITING_MAX / 2 - 2).for_each(|_| world.send(PlayerId(2), "more", &[0; 100]))
    });
    let batch = stage.step();
    assert_eq!(told(&batch, conn(1)).len(), PROPERTIES_MAX + RELIABLE_WAITING_MAX / 2 - 2);
    assert!(batch.removed.is_empty() && stage.step().removed.is_empty());
}

#[test]
fn properties_that_are_not_acknowledged_cost_the_seat_like_all_that_must_arrive() {
    let mut stage = Stage::of(1);
    for turn in 0..RELIABLE_WAITING_MAX as u32 + 1 {
        let value = vec![turn as u8; PROPERTY_VALUE_BYTES_MAX];
        stage.deed(move |world| world.set_property(Owner::Room, "turn", &value).unwrap());
    }
    assert_eq!(stage.step().removed.len(), 1);
}

#[test]
fn properties_are_part_of_the_state() {
    let hash = |value: &'static [u8]| {
        let mut stage = Stage::of(1);
        set(&mut stage, ADA, "team", value);
        stage.room.hash()
    };
    assert_eq!(hash(b"red"), hash(b"red"));
    assert_ne!(hash(b"red"), hash(b"rot"));
}
