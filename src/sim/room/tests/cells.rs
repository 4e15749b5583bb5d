//! One test per promise: cells, views and what is said of them.

use std::sync::Arc;

use tickyard_protocol::tick::{Blocks, block};
use tickyard_protocol::types::{CellId, PlayerId, Tick};

use super::config;
use super::stage::{Dot, Stage, conn, delta, deltas, dot, members, part, shapes, snapshots, view};
use crate::bridge::{Ask, Leave};
use crate::game::{Look, Place};
use crate::sim::publish::SUM_TICKS;
use crate::sim::publish::turns::ENTERS_MAX;
use crate::sim::{AnyRoom, RoomConfig};

#[test]
fn segments_follow_what_changed_and_not_who_listens() {
    let encoded = |listeners: u32| {
        let mut stage = Stage::with(RoomConfig { capacity: 1000, ..config() });
        (0..listeners).for_each(|at| stage.join(conn(at)));
        for at in 0..listeners {
            stage.deed(move |world| world.look(PlayerId(at + 1), Look::At(150, 0)));
        }
        let id = stage.spawn(dot(150));
        stage.room.take_counts();
        let mut bytes = Vec::new();
        for x in 0..50 {
            let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] = x);
            bytes.push(batch.segments.slice(batch.segments.cell(CellId(2)).delta).to_vec());
        }
        let counts = stage.room.take_counts();
        ((counts.deltas, counts.snapshots), bytes)
    };
    assert_eq!(encoded(1), encoded(400));
    assert_eq!(encoded(1).0, (50, 0));
    assert_eq!(encoded(0).0, (0, 0));
}

#[test]
fn ten_thousand_idle_things_say_nothing() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    stage.deed(|world| (0..10_000).for_each(|at| _ = world.spawn(dot(at % 200))));
    // Two cells let them in by and by; the sum that is owed then comes within 16 ticks.
    (0..=5_000 / ENTERS_MAX as u32 + SUM_TICKS).for_each(|_| _ = stage.step());
    for _ in 0..40 {
        let batch = stage.step();
        assert!(batch.bytes.is_empty());
        assert_eq!(deltas(&batch), [0u32; 0]);
    }
}

#[test]
fn a_cell_whose_things_move_as_predicted_is_silent_but_for_the_sum_it_owes() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    let id = stage.spawn(Dot { row: [0, 3], ..dot(0) });
    let quiet = |stage: &mut Stage, v: i32| {
        let mut spoken = Vec::new();
        for _ in 0..SUM_TICKS * 3 {
            let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] += v);
            spoken.extend(deltas(&batch).iter().map(|&cell| delta(&batch, cell).sum.is_some()));
        }
        spoken
    };
    assert_eq!(quiet(&mut stage, 3), [true]);
    let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row = [1000, -2]);
    let turned = delta(&batch, 1);
    assert!(turned.changes.is_some() && turned.base > SUM_TICKS);
    assert_eq!(quiet(&mut stage, -2), [true]);
    // Nobody touches it, so it stands: that is not as predicted, once in each tick.
    assert_eq!((deltas(&stage.step()), deltas(&stage.step())), (vec![1], vec![1]));
}

#[test]
fn a_cell_that_nobody_hears_goes_on_without_being_encoded() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(Dot { row: [250, 1], ..dot(250) });
    let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] += 2);
    let entry = batch.segments.cell(CellId(3));
    assert_eq!((entry.published, entry.delta.is_empty()), (batch.tick(), true));

    let batch = stage.look(0, Look::At(250, 0));
    assert_eq!((members(&batch, 3), deltas(&batch)), (1, vec![]));
    assert_eq!(batch.segments.cell(CellId(3)).published, batch.tick());
    let batch = stage.step();
    assert_eq!((deltas(&batch), batch.segments.cell(CellId(3)).base), (vec![3], 1));
}

#[test]
fn a_wish_for_a_cell_is_granted_once_a_tick_and_only_in_view() {
    let mut stage = Stage::of(100);
    (0..100).for_each(|at| stage.ask(conn(at), Ask::Want([CellId(0), CellId(3)].into())));
    let batch = stage.step();
    assert_eq!(snapshots(&batch), [0]);
    let counts = stage.room.take_counts();
    assert_eq!((counts.snapshots, counts.commands_wrong), (1 + 1, 100), "one when they joined, one now");
    assert!(snapshots(&stage.step()).is_empty());
}

#[test]
fn walking_along_a_border_leaves_the_view_as_it_is() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(195));
    let batch = stage.look(0, Look::Follow(id));
    assert_eq!(view(&batch, conn(0)), Some(vec![0, 2, 3, 1]));
    let mut walk = |x: i32| {
        let (_, batch) = stage.now(move |world| *world.get_mut(id).unwrap() = dot(x));
        view(&batch, conn(0))
    };
    for _ in 0..10 {
        assert_eq!((walk(205), walk(195)), (None, None));
    }
    assert_eq!(walk(213), Some(vec![0, 3, 2, 4]));
    assert_eq!((walk(195), walk(190), walk(187)), (None, None, Some(vec![0, 2, 3, 1])));
}

#[test]
fn who_followed_something_that_is_gone_goes_on_looking_there() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(550));
    assert!(!part(&stage.look(0, Look::Follow(id)), conn(0)).own.is_empty());
    let (_, batch) = stage.now(move |world| world.despawn(id));
    assert!(part(&batch, conn(0)).own.is_empty());
    assert_eq!(part(&batch, conn(0)).own_changed, batch.tick());
    assert_eq!(part(&stage.step(), conn(0)).own_changed, batch.tick());
    assert_eq!(view(&batch, conn(0)), None);
    assert_eq!(view(&stage.look(0, Look::Nothing), conn(0)), Some(vec![0]));
}

#[test]
fn a_private_cell_comes_into_view_when_it_is_used_first_and_is_empty_for_the_next_player() {
    let mut stage = Stage::of(2);
    let secret = Dot { place: Place::Only(PlayerId(2)), ..dot(0) };
    let (_, batch) = stage.now(move |world| world.spawn(secret));
    let cell = stage.room.grid.private(stage.room.seats.of_player(PlayerId(2)).unwrap()).0;
    assert_eq!((view(&batch, conn(0)), view(&batch, conn(1))), (None, Some(vec![0, cell])));
    assert_eq!(members(&batch, cell), 1);

    stage.ask(conn(1), Ask::Leave(Leave::Left));
    stage.join(conn(5));
    let secret = Dot { place: Place::Only(PlayerId(3)), ..dot(0) };
    let (_, batch) = stage.now(move |world| world.spawn(secret));
    assert_eq!(view(&batch, conn(5)), Some(vec![0, cell]));
    assert_eq!(members(&batch, cell), 1);
}

#[test]
fn the_own_block_says_when_it_changed_last() {
    let mut stage = Stage::of(1);
    let id = stage.spawn(dot(5));
    let batch = stage.look(0, Look::Follow(id));
    let first = (part(&batch, conn(0)).own_changed, batch.slice(part(&batch, conn(0)).own).to_vec());
    assert_eq!(first.0, batch.tick());
    let batch = stage.step();
    assert_eq!((part(&batch, conn(0)).own_changed, batch.slice(part(&batch, conn(0)).own).to_vec()), first);
    let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] = 6);
    assert_eq!(part(&batch, conn(0)).own_changed, batch.tick());
    assert_ne!(batch.slice(part(&batch, conn(0)).own), first.1);
}

#[test]
fn transients_ride_in_their_cells_segment() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    stage.deed(|world| {
        world.transient(Place::At(150, 0), "spark", &[7]);
        world.transient(Place::At(50, 0), "a", &[1]);
        world.transient(Place::At(50, 0), "b", &[2]);
        world.transient(Place::Only(PlayerId(99)), "nobody", &[]);
    });
    let batch = stage.step();
    assert_eq!(deltas(&batch), [1, 2]);
    let happened = |cell| {
        let blocks = Blocks::new(batch.segments.slice(batch.segments.cell(CellId(cell)).delta)).skip(1);
        blocks.map(|block| block.unwrap()).map(|(kind, bytes)| (kind, bytes.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(
        happened(1),
        [(block::TRANSIENT, vec![1, 1, b'a', 1]), (block::TRANSIENT, vec![1, 1, b'b', 2])]
    );
    assert_eq!(happened(2), [(block::TRANSIENT, b"\x02\x05spark\x07".to_vec())]);
}

#[test]
fn a_hundred_transients_of_a_cell_come_as_they_happened() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(0, 0));
    stage.deed(|world| (0..200).for_each(|at| world.transient(Place::At(at % 2 * 150, 0), "", &[at as u8])));
    let batch = stage.step();
    for cell in [1, 2] {
        let blocks = Blocks::new(batch.segments.slice(batch.segments.cell(CellId(cell)).delta)).skip(1);
        let happened: Vec<_> = blocks.map(|block| *block.unwrap().1.last().unwrap()).collect();
        assert_eq!(happened, (cell as u8 - 1..200).step_by(2).collect::<Vec<_>>());
    }
}

#[test]
fn a_batch_that_nobody_reads_any_more_is_used_again() {
    let mut stage = Stage::of(1);
    let kept = stage.step();
    let first = Arc::as_ptr(&stage.step());
    for _ in 0..50 {
        stage.step();
    }
    assert!((0..3).any(|_| Arc::as_ptr(&stage.step()) == first));
    assert!(stage.room.batches.len() <= 3 && stage.room.segments.len() <= 3);
    assert_eq!(kept.tick(), Tick(2));
}

#[test]
fn who_leaves_a_cell_says_where_to_and_who_is_gone_says_so() {
    let mut stage = Stage::of(1);
    stage.look(0, Look::At(150, 0));
    let (walks, dies) = (stage.spawn(dot(50)), stage.spawn(dot(60)));
    let (_, batch) = stage.now(move |world| {
        *world.get_mut(walks).unwrap() = dot(250);
        world.despawn(dies);
    });
    let left: Vec<_> = delta(&batch, 1).leaves().map(|leave| (leave.slot, leave.to)).collect();
    assert_eq!(left, [(walks.slot, Some(CellId(3))), (dies.slot, None)]);
    let (to, shapes) = (delta(&batch, 3), shapes());
    let entered: Vec<_> = to.enters(&shapes).map(|entity| (entity.id, entity.row[0])).collect();
    assert_eq!(entered, [(walks, 250)]);
}

#[test]
fn a_cell_that_nobody_hears_any_more_is_encoded_no_more() {
    let mut stage = Stage::of(2);
    let id = stage.spawn(dot(150));
    let change = |stage: &mut Stage| {
        let (_, batch) = stage.now(move |world| world.get_mut(id).unwrap().row[0] += 1);
        deltas(&batch)
    };
    stage.look(0, Look::At(150, 0));
    stage.look(1, Look::At(150, 0));
    assert_eq!(change(&mut stage), [2]);
    stage.look(0, Look::At(850, 0));
    assert_eq!(change(&mut stage), [2]);
    stage.ask(conn(1), Ask::Leave(Leave::Left));
    assert_eq!(change(&mut stage), [0u32; 0]);
}
