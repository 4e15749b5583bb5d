//! One test per promise: timers.

use super::stage::{Stage, conn, told};
use crate::bridge::{Ask, Leave};
use crate::game::{TIMERS_MAX, TooManyTimers};
use crate::sim::AnyRoom;
use crate::time::Time;

#[test]
fn timers_come_before_the_tick_in_which_they_are_due_in_the_order_in_which_they_were_set() {
    let mut stage = Stage::new();
    stage.deed(|world| {
        for (ticks, timer) in [(3, 30), (0, 10), (1, 11), (3, 31)] {
            world.after(ticks, timer).unwrap();
        }
    });
    (0..2).for_each(|_| _ = stage.step());
    stage.deed(|world| world.after(1, 32).unwrap());
    (0..2).for_each(|_| _ = stage.step());
    let (tick, timer) = (|tick| (tick, None), |tick, timer| (tick, Some(timer)));
    let expected = [
        tick(1),
        timer(2, 10),
        timer(2, 11),
        tick(2),
        tick(3),
        timer(4, 30),
        timer(4, 31),
        timer(4, 32),
        tick(4),
    ];
    assert_eq!(stage.room.game.rung, expected);
}

#[test]
fn a_timer_that_sets_itself_anew_comes_in_each_tick_that_is_caught_up_and_once() {
    let mut stage = Stage::of(1);
    stage.room.game.on_timer = Some(|world, timer| {
        world.after(0, timer + 1).unwrap();
        world.broadcast("timer", timer.to_string().as_bytes());
    });
    stage.deed(|world| world.after(0, 0).unwrap());
    stage.step();
    let batch = stage.room.step(3, Time::ZERO, &mut ());
    assert_eq!(told(&batch, conn(0)), ["timer: 0", "timer: 1", "timer: 2"]);
}

#[test]
fn a_timer_set_by_who_comes_or_goes_is_due_in_the_next_tick_and_not_in_this_one() {
    let mut stage = Stage::new();
    stage.room.game.on_join = Some(|world, player| world.after(0, player.0 as u64).unwrap());
    stage.room.game.on_leave = Some(|world, player| world.after(0, 100 + player.0 as u64).unwrap());
    stage.join(conn(0));
    stage.step();
    assert_eq!(stage.room.game.rung, [(1, None)]);
    stage.ask(conn(0), Ask::Leave(Leave::Left));
    (0..2).for_each(|_| _ = stage.step());
    assert_eq!(stage.room.game.rung[1..], [(2, Some(1)), (2, None), (3, Some(101)), (3, None)]);
}

#[test]
fn a_room_takes_so_many_timers_and_says_so() {
    let mut stage = Stage::new();
    let (last, _) = stage.now(|world| {
        (0..TIMERS_MAX as u64).for_each(|timer| world.after(1, timer).unwrap());
        world.after(1, 0)
    });
    assert_eq!(last, Err(TooManyTimers));
    assert_eq!(TooManyTimers.to_string(), "at most 65536 timers wait in a room");
    stage.step();
    assert_eq!(stage.room.game.rung.len(), 1 + TIMERS_MAX + 1);
}

#[test]
fn timers_are_part_of_the_state() {
    let hash = |ticks: u32, timer: u64| {
        let mut stage = Stage::new();
        stage.deed(move |world| world.after(ticks, timer).unwrap());
        stage.step();
        stage.room.hash()
    };
    assert_eq!(hash(5, 7), hash(5, 7));
    assert!(hash(5, 7) != hash(6, 7) && hash(5, 7) != hash(5, 8));
}
