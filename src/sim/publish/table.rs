//! Every entity as it was published last: what clients who keep up have of it.

use tickyard_protocol::delta::{Entity, Row, entity_hash};
use tickyard_protocol::fields::{Kinds, Shape, Shapes};
use tickyard_protocol::types::{CellId, EntityId};

use super::NOWHERE;
use crate::game::World;

/// Rows by slot, as of the room's last publication: what was not said went on as predicted.
#[derive(Debug)]
pub struct Table {
    pub shapes: Shapes,
    /// How many numbers a slot's row takes.
    stride: usize,
    rows: Vec<i32>,
    slots: Vec<Published>,
}

/// Where an entity is published, and which one it is.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The cell that lists it.
    pub home: CellId,
    /// The cell where it is in the world. Another one than `home` while it waits to be let in.
    pub place: CellId,
    pub generation: u8,
    pub kind: u8,
}

impl Table {
    pub fn new(shapes: Shapes) -> Table {
        Table { stride: shapes.fields_most(), shapes, rows: Vec::new(), slots: Vec::new() }
    }

    pub fn grow(&mut self, slots: usize) {
        if slots > self.slots.len() {
            let nothing = Published { home: NOWHERE, place: NOWHERE, generation: 0, kind: 0 };
            self.slots.resize(slots, nothing);
            self.rows.resize(slots * self.stride, 0);
        }
    }

    pub fn get(&self, slot: u32) -> Option<&Published> {
        self.slots.get(slot as usize)
    }

    pub fn slot(&mut self, slot: u32) -> &mut Published {
        &mut self.slots[slot as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Published)> {
        (0..).zip(&self.slots)
    }

    /// All rows, by slot, and how many numbers each takes.
    pub fn rows(&self) -> (&[i32], usize) {
        (&self.rows, self.stride)
    }

    pub fn row(&self, slot: u32) -> &[i32] {
        let start = slot as usize * self.stride;
        &self.rows[start..start + self.shapes[self.slots[slot as usize].kind].fields]
    }

    pub fn entity<'a, T>(&'a self, world: &'a World<T>, slot: u32) -> Entity<'a> {
        let Published { generation, kind, .. } = self.slots[slot as usize];
        let id = EntityId { slot, generation };
        Entity { id, kind, row: self.row(slot), statics: world.statics(slot) }
    }

    /// The sum over some members. Said so rarely that summing up then is cheaper than keeping it with every change.
    pub fn sum(&self, members: &[u32]) -> u32 {
        members.iter().fold(0, |sum: u32, &slot| {
            let Published { generation, kind, .. } = self.slots[slot as usize];
            sum.wrapping_add(entity_hash(EntityId { slot, generation }, kind, self.row(slot)))
        })
    }

    /// What a member's row in the world is beyond what clients predict for these ticks; `None`: it is as predicted.
    pub fn residual<T: Kinds>(&self, world: &World<T>, slot: u32, ticks: u32) -> Option<Row> {
        let (_, thing) = world.at(slot).expect("who is gone has left the cell");
        let kind = self.slots[slot as usize].kind;
        assert!(thing.kind() == kind, "an entity's kind must never change");
        let shape = &self.shapes[kind];
        let mut row = Row::default();
        thing.write(&mut row[..shape.fields]);
        difference(shape, self.row(slot), ticks, row)
    }

    /// Moves a row on as clients do when they hear this residual.
    pub fn correct(&mut self, slot: u32, ticks: u32, residual: &Row) {
        let kind = self.slots[slot as usize].kind;
        let shape = &self.shapes[kind];
        let row = &mut self.rows[slot as usize * self.stride..][..shape.fields];
        shape.predict(row, ticks - 1);
        row.iter_mut().zip(residual).for_each(|(row, residual)| *row = row.wrapping_add(*residual));
        shape.predict(row, 1);
    }

    /// Moves a row on as clients do when they hear nothing.
    pub fn predict(&mut self, slot: u32, ticks: u32) {
        let shape = &self.shapes[self.slots[slot as usize].kind];
        shape.predict(&mut self.rows[slot as usize * self.stride..][..shape.fields], ticks);
    }

    /// Whether a row moves by itself.
    pub fn moves(&self, slot: u32) -> bool {
        self.shapes[self.slots[slot as usize].kind].moves(self.row(slot))
    }

    /// Takes over the row of who enters a cell.
    pub fn enter<T: Kinds>(&mut self, world: &World<T>, slot: u32) {
        let (generation, thing) = world.at(slot).expect("who is gone enters nowhere");
        let published = &mut self.slots[slot as usize];
        (published.generation, published.kind) = (generation, thing.kind());
        let fields = self.shapes[published.kind].fields;
        thing.write(&mut self.rows[slot as usize * self.stride..][..fields]);
    }
}

/// What a row is beyond what clients predict for these ticks from how it was; `None`: it is as predicted.
#[inline]
pub fn difference(shape: &Shape, before: &[i32], ticks: u32, mut row: Row) -> Option<Row> {
    let mut predicted = Row::default();
    predicted[..shape.fields].copy_from_slice(before);
    shape.predict(&mut predicted, ticks - 1);
    // The last of the ticks is moved by the new velocities: it is undone in the row.
    shape.predict_back(&mut row);
    if row == predicted {
        return None;
    }
    row.iter_mut().zip(predicted).for_each(|(row, predicted)| *row = row.wrapping_sub(predicted));
    Some(row)
}
