//! The numbers that name things on the wire, each a type of its own so that no two can be mixed up.

use serde::{Deserialize, Serialize};

/// A simulation step of a room. Wraps after 2^32 ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tick(pub u32);

impl Tick {
    /// How many ticks this one lies after `earlier`, wrapping.
    pub fn since(self, earlier: Tick) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The tick `ticks` before this one, wrapping.
    pub fn before(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_sub(ticks))
    }

    /// The tick `ticks` after this one, wrapping.
    pub fn after(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }
}

/// The number of an input: 1, 2, 3 … per session. Wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seq(pub u32);

impl Seq {
    /// Whether this input was sent after `other` (RFC 1982 serial number arithmetic).
    pub fn is_after(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) > 0
    }
}

/// A player of a room; at least 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlayerId(pub u32);

/// A cell: one stream of entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellId(pub u32);

/// An entity: a slot and how often that slot was used before. A reused slot is another entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityId {
    /// Less than [`SLOTS_MAX`].
    pub slot: u32,
    /// Wraps after 256 uses of the slot.
    pub generation: u8,
}

impl EntityId {
    /// Slot and generation as one word, as the cell sum takes them.
    pub fn word(self) -> u32 {
        self.slot | (self.generation as u32) << 24
    }
}

/// Slots are numbered below this.
pub const SLOTS_MAX: u32 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_keep_their_order_across_the_wrap() {
        assert!(Seq(1).is_after(Seq(0)));
        assert!(!Seq(1).is_after(Seq(1)));
        assert!(Seq(2).is_after(Seq(u32::MAX)));
        assert!(!Seq(u32::MAX).is_after(Seq(2)));
    }

    #[test]
    fn ticks_count_across_the_wrap() {
        assert_eq!(Tick(2).since(Tick(u32::MAX)), 3);
        assert_eq!(Tick(1).before(3), Tick(u32::MAX - 1));
    }
}
