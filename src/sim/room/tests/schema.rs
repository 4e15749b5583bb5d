//! Games whose schema no client could use: their rooms do not open.

use std::cell::RefCell;

use tickyard_protocol::fields::{FIELDS_MAX, Field, Fields, KINDS_MAX, Kind, Kinds, Schema, SchemaError};
use tickyard_protocol::types::{PlayerId, Tick};

use super::config;
use crate::game::{Game, Joining, Leave, Refusal, World};
use crate::sim::{AnyRoom, Room};
use crate::time::Time;

thread_local! {
    /// What the game of this test says that it shows and asks for.
    static SCHEMA: RefCell<Schema> = const { RefCell::new(Schema { kinds: Vec::new(), input: Vec::new() }) };
}

struct Told;

impl Kinds for Told {
    fn kinds() -> Vec<Kind> {
        SCHEMA.with_borrow(|schema| schema.kinds.clone())
    }

    fn kind(&self) -> u8 {
        0
    }

    fn write(&self, _row: &mut [i32]) {}
}

impl Fields for Told {
    fn fields() -> Vec<Field> {
        SCHEMA.with_borrow(|schema| schema.input.clone())
    }

    fn write(&self, _row: &mut [i32]) {}

    fn read(_row: &[i32]) -> Told {
        Told
    }
}

impl Game for Told {
    type Thing = Told;
    type Input = Told;

    fn join(&mut self, _: &mut World<Told>, _: PlayerId, _: &Joining) -> Result<(), Refusal> {
        Ok(())
    }

    fn leave(&mut self, _: &mut World<Told>, _: PlayerId, _: Leave) {}

    fn input(&mut self, _: &mut World<Told>, _: PlayerId, _: &Told) {}

    fn tick(&mut self, _: &mut World<Told>, _: Tick) {}
}

fn open(kinds: Vec<Kind>, input: Vec<Field>) -> Result<Room<Told>, SchemaError> {
    SCHEMA.set(Schema { kinds, input });
    Room::new(config(), Told)
}

#[test]
fn a_room_whose_input_has_a_field_with_min_above_max_does_not_open() {
    let error = open(Vec::new(), vec![Field::integer("dx", 1, 1), Field::integer("dy", 1, 0)]).err();
    assert_eq!(error, Some(SchemaError::BadNumber));
}

#[test]
fn a_room_whose_welcome_is_longer_than_clients_take_does_not_open() {
    let kinds = |name_bytes: usize| {
        let field = Field::integer(&"n".repeat(name_bytes), i32::MIN, i32::MAX);
        let kind = Kind { name: "kind".into(), fields: vec![field; FIELDS_MAX] };
        vec![kind; KINDS_MAX]
    };
    let opens = |name_bytes: usize| match open(kinds(name_bytes), Vec::new()) {
        Ok(mut room) => {
            room.step(1, Time::ZERO, &mut ());
            true
        }
        Err(error) => {
            assert_eq!(error, SchemaError::TooLong);
            false
        }
    };
    assert!(opens(10) && !opens(1000));
    let shortest_that_does_not = (10..1000).find(|&bytes| !opens(bytes)).unwrap();
    // 1,024 fields of 28 bytes each beside their names.
    assert!((20..40).contains(&shortest_that_does_not), "{shortest_that_does_not}");
}
