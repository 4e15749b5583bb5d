//! What a welcome says of the game, kept once for all bots that were told the same.
//!
//! Thousands of copies of a schema would push what matters out of the processor's caches with each message.

use crate::mind::Senses;
use std::rc::Rc;
use tickyard_protocol::fields::{Schema, Shapes};

/// A game's schema, and what follows from it.
#[derive(Debug)]
pub struct Rules {
    /// As it was told.
    pub schema: Schema,
    /// How long rows are, and what moves by itself.
    pub shapes: Shapes,
    /// Where bots look.
    pub senses: Senses,
}

/// The rules that were told of late.
#[derive(Debug, Default)]
pub struct RuleBook {
    last: Option<Rc<Rules>>,
}

impl RuleBook {
    /// The rules of this schema.
    pub fn of(&mut self, schema: Schema) -> Rc<Rules> {
        match &self.last {
            Some(rules) if rules.schema == schema => Rc::clone(rules),
            _ => {
                let shapes = Shapes::new(&schema.kinds);
                let shapes = shapes.expect("a welcome with an unusable schema is not decoded");
                let senses = Senses::new(&schema);
                Rc::clone(self.last.insert(Rc::new(Rules { schema, shapes, senses })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::schema;

    #[test]
    fn the_same_schema_is_kept_once_and_another_one_is_not_taken_for_it() {
        let mut book = RuleBook::default();
        let first = book.of(schema());
        assert!(Rc::ptr_eq(&first, &book.of(schema())));
        let mut other = schema();
        other.input[0].max -= 1;
        let other = book.of(other);
        assert_eq!(other.schema.input[0].max, first.schema.input[0].max - 1);
    }
}
