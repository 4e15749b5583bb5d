//! What a game shows and asks for, as rows of integers with a schema.
//!
//! A game writes its things as Rust types that implement [`Fields`] (one struct) or [`Kinds`] (an enum of structs). On the
//! wire each is a *row*: one `i32` per field, which a JavaScript number holds exactly. A float is quantised by its
//! field's step. The [`Schema`] travels in the welcome, so that a client needs no generated code.

use crate::codec::SERVER_CONTROL_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// A row has at most this many fields.
pub const FIELDS_MAX: usize = 16;

/// A world has at most this many kinds.
pub const KINDS_MAX: usize = 64;

/// One field of a row: `value = offset + row * step`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// What the client calls it.
    pub name: String,
    /// The value of one unit of the row. Finite and above 0.
    pub step: f64,
    /// The value of row 0. Finite.
    pub offset: f64,
    /// The smallest number the row may hold.
    pub min: i32,
    /// The largest number the row may hold.
    pub max: i32,
    /// The field of the same row that this one moves by its own number of units each tick.
    pub velocity_of: Option<u16>,
}

impl Field {
    /// A whole number from `min` to `max`.
    pub fn integer(name: &str, min: i32, max: i32) -> Field {
        Field { name: name.into(), step: 1.0, offset: 0.0, min, max, velocity_of: None }
    }

    /// A quantity in units of `step`, from `min` to `max` units.
    pub fn quantity(name: &str, step: f64, min: i32, max: i32) -> Field {
        Field { step, ..Field::integer(name, min, max) }
    }

    /// The same field as the velocity of field number `field`.
    pub fn velocity_of(self, field: u16) -> Field {
        Field { velocity_of: Some(field), ..self }
    }
}

/// A kind of entity and the fields of its row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    /// What the client calls it.
    pub name: String,
    /// In row order.
    pub fields: Vec<Field>,
}

/// All that can be seen in a room, and what can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// By kind number.
    pub kinds: Vec<Kind>,
    /// The input's row.
    pub input: Vec<Field>,
}

/// A struct whose fields are integers: a player's input.
pub trait Fields: Sized + Send + 'static {
    /// The fields in row order; at most [`FIELDS_MAX`].
    fn fields() -> Vec<Field>;

    /// Writes the row; `row` has one number per field.
    fn write(&self, row: &mut [i32]);

    /// Reads a row whose numbers lie within the fields' bounds.
    fn read(row: &[i32]) -> Self;
}

/// The things of a world: an enum of structs (or one struct).
pub trait Kinds: Sized + Send + 'static {
    /// The kinds by number; at most [`KINDS_MAX`], each with at most [`FIELDS_MAX`] fields.
    fn kinds() -> Vec<Kind>;

    /// The number of this thing's kind.
    fn kind(&self) -> u8;

    /// Writes the row; `row` has one number per field of this thing's kind.
    fn write(&self, row: &mut [i32]);
}

/// What encoding and decoding need of a schema: how many fields, and which predicts which.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shapes {
    kinds: Vec<Shape>,
}

/// The shape of one kind's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// How many fields a row has.
    pub fields: usize,
    /// Pairs `(velocity field, field it moves)`.
    pub velocities: Vec<(usize, usize)>,
}

impl Shape {
    /// Moves a row on by `ticks` (PROTOCOL.md, section 5). No velocity is moved itself, so it does not matter whether that is
    /// done in one go or in several.
    pub fn predict(&self, row: &mut [i32], ticks: u32) {
        for &(velocity, field) in &self.velocities {
            row[field] = row[field].wrapping_add(row[velocity].wrapping_mul(ticks as i32));
        }
    }

    /// Moves a row back by one tick, with the velocities that it has.
    pub fn predict_back(&self, row: &mut [i32]) {
        for &(velocity, field) in &self.velocities {
            row[field] = row[field].wrapping_sub(row[velocity]);
        }
    }

    /// Whether a row moves by itself.
    pub fn moves(&self, row: &[i32]) -> bool {
        self.velocities.iter().any(|&(velocity, _)| row[velocity] != 0)
    }
}

impl Shapes {
    /// The shapes of a schema's kinds, or why the schema is unusable.
    pub fn new(kinds: &[Kind]) -> Result<Shapes, SchemaError> {
        if kinds.len() > KINDS_MAX {
            return Err(SchemaError::TooManyKinds);
        }
        let kinds = kinds.iter().map(|kind| shape(&kind.fields)).collect::<Result<_, _>>()?;
        Ok(Shapes { kinds })
    }

    /// The shape of kind number `kind`, if there is one.
    pub fn get(&self, kind: u8) -> Option<&Shape> {
        self.kinds.get(kind as usize)
    }

    /// How many kinds there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The largest number of fields of any kind: the stride of a table of rows.
    pub fn fields_most(&self) -> usize {
        self.kinds.iter().map(|shape| shape.fields).max().unwrap_or(0)
    }
}

impl std::ops::Index<u8> for Shapes {
    type Output = Shape;

    fn index(&self, kind: u8) -> &Shape {
        &self.kinds[kind as usize]
    }
}

/// Why a schema cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// A step or offset that is not a usable number.
    BadNumber,
    /// A velocity of a field that is not in the row, of itself, or of another velocity.
    BadVelocity,
    /// A welcome with this schema is longer than a client takes.
    TooLong,
    /// More than [`FIELDS_MAX`] fields.
    TooManyFields,
    /// More than [`KINDS_MAX`] kinds.
    TooManyKinds,
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SchemaError::BadNumber => {
                f.write_str("a field's step must be finite and above 0, its offset finite, min <= max")
            }
            SchemaError::BadVelocity => f.write_str(
                "velocity_of must name another field of the same row, which is no velocity itself",
            ),
            SchemaError::TooLong => write!(
                f,
                "its welcome is longer than the {SERVER_CONTROL_BYTES_MAX} bytes that clients take; use shorter names"
            ),
            SchemaError::TooManyFields => write!(f, "a row has at most {FIELDS_MAX} fields"),
            SchemaError::TooManyKinds => write!(f, "a world has at most {KINDS_MAX} kinds"),
        }
    }
}

impl std::error::Error for SchemaError {}

fn shape(fields: &[Field]) -> Result<Shape, SchemaError> {
    check_fields(fields)?;
    let pairs = fields.iter().enumerate().filter_map(|(at, field)| Some((at, field.velocity_of? as usize)));
    Ok(Shape { fields: fields.len(), velocities: pairs.collect() })
}

/// Checks the fields of one row.
pub fn check_fields(fields: &[Field]) -> Result<(), SchemaError> {
    if fields.len() > FIELDS_MAX {
        return Err(SchemaError::TooManyFields);
    }
    for (at, field) in fields.iter().enumerate() {
        let usable = field.step.is_finite() && field.step > 0.0 && field.offset.is_finite();
        if !usable || field.min > field.max {
            return Err(SchemaError::BadNumber);
        }
        let Some(of) = field.velocity_of else { continue };
        if of as usize == at || fields.get(of as usize).is_none_or(|moved| moved.velocity_of.is_some()) {
            return Err(SchemaError::BadVelocity);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mover() -> Shape {
        let fields = [
            Field::quantity("x", 0.0625, 0, 65536),
            Field::quantity("vx", 1.25, -200, 200).velocity_of(0),
            Field::integer("score", 0, i32::MAX),
        ];
        Shapes::new(&[Kind { name: "mover".into(), fields: fields.into() }]).unwrap()[0].clone()
    }

    #[test]
    fn prediction_moves_a_field_by_its_velocity_and_nothing_else() {
        let mut row = [100, -3, 7];
        mover().predict(&mut row, 4);
        assert_eq!(row, [88, -3, 7]);
    }

    #[test]
    fn prediction_wraps() {
        let mut row = [i32::MAX, 1, 0];
        mover().predict(&mut row, 1);
        assert_eq!(row, [i32::MIN, 1, 0]);
    }

    #[test]
    fn a_field_may_have_two_velocities_and_in_steps_it_is_where_it_is_at_once() {
        let fields = vec![
            Field::integer("x", 0, 9),
            Field::integer("v", 0, 9).velocity_of(0),
            Field::integer("wind", 0, 9).velocity_of(0),
        ];
        let shapes = Shapes::new(&[Kind { name: "k".into(), fields }]).unwrap();
        let (mut row, mut steps) = ([7, i32::MAX, -5], [7, i32::MAX, -5]);
        shapes[0].predict(&mut row, 5);
        [1, 0, 3, 1].iter().for_each(|&ticks| shapes[0].predict(&mut steps, ticks));
        assert_eq!(row, [7i32.wrapping_add(i32::MAX.wrapping_mul(5)).wrapping_sub(25), i32::MAX, -5]);
        assert_eq!(steps, row);
    }

    #[test]
    fn a_schema_that_cannot_be_used_says_why() {
        let field = Field::integer("x", 0, 1);
        assert_eq!(check_fields(&[Field { step: f64::NAN, ..field.clone() }]), Err(SchemaError::BadNumber));
        assert_eq!(check_fields(&[Field { step: 0.0, ..field.clone() }]), Err(SchemaError::BadNumber));
        assert_eq!(
            check_fields(&[Field { offset: f64::INFINITY, ..field.clone() }]),
            Err(SchemaError::BadNumber)
        );
        assert_eq!(check_fields(&[field.clone().velocity_of(0)]), Err(SchemaError::BadVelocity));
        let chain = [field.clone(), field.clone().velocity_of(0), field.clone().velocity_of(1)];
        assert_eq!(check_fields(&chain), Err(SchemaError::BadVelocity));
        assert_eq!(check_fields(&[field.clone().velocity_of(1)]), Err(SchemaError::BadVelocity));
        assert_eq!(check_fields(&vec![field; FIELDS_MAX + 1]), Err(SchemaError::TooManyFields));
    }
}
