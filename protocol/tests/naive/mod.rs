//! Cells as plain maps, and a publisher that writes what happened between two states of one: nothing kept, nothing clever.

use std::collections::BTreeMap;
use tickyard_protocol::delta::{Changes, Delta, Entity, Leave, Row, entity_hash, put_delta, put_snapshot};
use tickyard_protocol::fields::{Field, Kind, Shapes};
use tickyard_protocol::types::{CellId, EntityId, Tick};

/// A thing as a client should see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub id: EntityId,
    pub kind: u8,
    pub row: Row,
    pub statics: String,
}

/// The members of a cell by slot.
pub type Members = BTreeMap<u32, Thing>;

/// A thing whose row has these numbers and zeros behind them.
pub fn thing(slot: u32, generation: u8, kind: u8, numbers: &[i32], statics: &str) -> Thing {
    let mut row = Row::default();
    row[..numbers.len()].copy_from_slice(numbers);
    Thing { id: EntityId { slot, generation }, kind, row, statics: statics.into() }
}

/// The kinds of all tests: one that moves and is written well, one that never moves, one without fields, and one
/// that two velocities move.
pub fn kinds() -> Vec<Kind> {
    let kind = |name: &str, fields: Vec<Field>| Kind { name: name.into(), fields };
    vec![
        kind(
            "mover",
            vec![
                Field::quantity("x", 0.0625, 0, 65535),
                Field::quantity("y", 0.0625, 0, 65535),
                Field::quantity("vx", 1.25, -200, 200).velocity_of(0),
                Field::quantity("vy", 1.25, -200, 200).velocity_of(1),
                Field::integer("score", 0, i32::MAX),
            ],
        ),
        kind("coin", vec![Field::integer("value", i32::MIN, i32::MAX)]),
        kind("flag", vec![]),
        kind(
            "rocket",
            vec![
                Field { offset: -100.0, ..Field::quantity("height", 0.5, i32::MIN, i32::MAX) },
                Field::integer("speed", i32::MIN, i32::MAX).velocity_of(0),
                Field::integer("wind", i32::MIN, i32::MAX).velocity_of(0),
            ],
        ),
    ]
}

/// The shapes of [`kinds`].
pub fn shapes() -> Shapes {
    Shapes::new(&kinds()).expect("the tests' kinds are usable")
}

impl Thing {
    /// The row's numbers without the zeros behind them.
    pub fn numbers(&self) -> &[i32] {
        &self.row[..kinds()[self.kind as usize].fields.len()]
    }

    fn entity(&self) -> Entity<'_> {
        Entity { id: self.id, kind: self.kind, row: self.numbers(), statics: &self.statics }
    }
}

/// The sum of a cell.
pub fn sum(members: &Members) -> u32 {
    members
        .values()
        .fold(0, |sum, thing| sum.wrapping_add(entity_hash(thing.id, thing.kind, thing.numbers())))
}

/// Appends all of a cell.
pub fn snapshot(out: &mut Vec<u8>, cell: CellId, members: &Members) {
    put_snapshot(out, cell, sum(members), members.values().map(Thing::entity));
}

/// A cell's change from one tick to another.
pub struct Step<'a> {
    pub cell: CellId,
    /// The tick of the stream's previous publication, as of which `before` is.
    pub from: Tick,
    /// The tick of this one, as of which `after` is.
    pub to: Tick,
    pub before: &'a Members,
    pub after: &'a Members,
    /// Where the things that are in `before` but not in `after` went.
    pub moved: &'a dyn Fn(EntityId) -> Option<CellId>,
    pub with_sum: bool,
}

/// Appends what happened. The rows of things that left are predicted, without residuals.
pub fn delta(out: &mut Vec<u8>, step: &Step) {
    let shapes = shapes();
    let ticks = step.to.since(step.from);
    let mut changes = Changes::default();
    let mut leaves = Vec::new();
    for (index, (&slot, old)) in step.before.iter().enumerate() {
        let Some(new) = step.after.get(&slot).filter(|new| new.id == old.id) else {
            leaves.push(Leave { slot, to: (step.moved)(old.id) });
            continue;
        };
        let residual = residual(old, new, ticks);
        if residual != Row::default() {
            changes.push(index as u32, old.kind, residual);
        }
    }
    let stayed = |new: &Thing| step.before.get(&new.id.slot).is_some_and(|old| old.id == new.id);
    let enters: Vec<Entity> = step.after.values().filter(|&new| !stayed(new)).map(Thing::entity).collect();
    let delta = Delta {
        cell: step.cell,
        base: ticks,
        sum: step.with_sum.then(|| sum(step.after)),
        changes: &changes,
        members: step.before.len(),
        leaves: &leaves,
    };
    put_delta(out, &shapes, &delta, enters.into_iter());
}

/// What the prediction misses: the old velocities move a row on to the tick before, the new ones to this one.
fn residual(old: &Thing, new: &Thing, ticks: u32) -> Row {
    let (mut predicted, mut step) = (old.row, new.row);
    predict(old.kind, &mut predicted, ticks - 1);
    predict(old.kind, &mut step, 1);
    std::array::from_fn(|at| {
        let gain = step[at].wrapping_sub(new.row[at]);
        new.row[at].wrapping_sub(predicted[at].wrapping_add(gain))
    })
}

/// The prediction, from the fields themselves.
pub fn predict(kind: u8, row: &mut Row, ticks: u32) {
    let old = *row;
    for (at, field) in kinds()[kind as usize].fields.iter().enumerate() {
        if let Some(of) = field.velocity_of {
            let of = of as usize;
            row[of] = row[of].wrapping_add(old[at].wrapping_mul(ticks as i32));
        }
    }
}
