//! In which order rooms are sent.

use super::*;

const SLICE: usize = SENDS_PER_SLICE as usize;

/// For players who are gone: they count as sent.
fn batch(room: u32, updates: usize, tick: u32) -> SharedBatch {
    batch_for(NOBODY, RoomId(room), updates, tick)
}

/// Updates that wait, by room.
fn left(hub: &Hub<Line>) -> Vec<usize> {
    hub.rooms.iter().map(|side| side.left).collect()
}

#[test]
fn rooms_are_sent_in_the_order_in_which_their_batches_came() {
    let mut hub = hub(None);
    for room in [2, 0, 1] {
        hub.take_batch(batch(room, SLICE - 1, 1));
    }
    let most = SLICE - 1;
    assert_eq!(left(&hub), [most; 3]);
    hub.fan_out(|_| false);
    assert_eq!(left(&hub), [most - 1, most, 0], "one of the next room is in the same slice");
    hub.fan_out(|_| false);
    assert_eq!(left(&hub), [0, most - 2, 0]);
    hub.take_batch(batch(2, 1, 2));
    hub.fan_out(|_| false);
    assert_eq!(left(&hub), [0, 0, 0]);
    assert!(!hub.is_busy());
}

#[test]
fn a_room_that_is_never_done_lets_the_others_pass_and_one_that_waits_keeps_its_place() {
    let mut hub = hub(None);
    let many = 3 * SLICE;
    hub.take_batch(batch(0, many, 1));
    hub.take_batch(batch(1, 10, 1));
    hub.take_batch(batch(2, 10, 1));
    hub.fan_out(|_| false);
    assert_eq!(left(&hub), [many - SLICE, 10, 10]);

    // The next tick is there before the first room is done, and before the second one's turn.
    hub.take_batch(batch(0, many, 2));
    hub.take_batch(batch(1, 20, 2));
    hub.fan_out(|_| false);
    assert_eq!(left(&hub), [many - (SLICE - 30), 0, 0]);
    hub.take_batch(batch(1, 0, 3));
    hub.take_batch(batch(1, 5, 4));
    while hub.is_busy() {
        hub.fan_out(|_| false);
    }
    assert_eq!(left(&hub), [0, 0, 0]);
}
