//! What a client does when it finds that its world is not the server's (PROTOCOL.md, section 6).
//!
//! A replica finds a [`Mismatch`]; a [`Mender`] makes one [`Repair`] of it, however many messages differ before the answer is there.

use serde::{Deserialize, Serialize};

use crate::bytes::{Malformed, Reader, put_varint};
use crate::message::{WANT_CELLS_MAX, from_client};
use crate::types::{CellId, Tick};

/// What a client says when its world is not the server's: all of its view is told anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// How it was found.
    pub why: RepairWhy,
    /// The tick of the message in which it was found.
    pub tick: Tick,
    /// The cells that differ, as far as that is known; at most [`WANT_CELLS_MAX`].
    pub cells: Vec<CellId>,
}

/// How a client found that its world is not the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum RepairWhy {
    /// A block does not fit what is held.
    Misfit = 1,
    /// The sum of a cell differs.
    Sum = 2,
    /// The cells that are held, or as of when, are not those of a `check` block.
    Check = 3,
}

impl RepairWhy {
    /// In the order of their numbers on the wire.
    pub const ALL: [RepairWhy; 3] = [RepairWhy::Misfit, RepairWhy::Sum, RepairWhy::Check];
}

impl Repair {
    /// Writes the message with its type.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let cells = &self.cells[..self.cells.len().min(WANT_CELLS_MAX)];
        out.extend_from_slice(&[from_client::REPAIR, self.why as u8]);
        out.extend_from_slice(&self.tick.0.to_le_bytes());
        put_varint(out, cells.len() as u32);
        cells.iter().for_each(|cell| put_varint(out, cell.0));
    }

    /// Reads the bytes after the type.
    pub fn decode(bytes: &[u8]) -> Result<Repair, Malformed> {
        let mut reader = Reader::new(bytes);
        let number = reader.u8()?;
        let why = RepairWhy::ALL.into_iter().find(|&why| why as u8 == number).ok_or(Malformed::Range)?;
        let tick = Tick(reader.u32()?);
        let count = reader.varint()? as usize;
        if count > WANT_CELLS_MAX {
            return Err(Malformed::Range);
        }
        let cells = (0..count).map(|_| reader.varint().map(CellId)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Repair { why, tick, cells })
    }
}

/// What was found to differ in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// How it was found first.
    pub why: RepairWhy,
    /// In which cells of the view, as far as that is known.
    pub cells: Vec<CellId>,
}

/// Asks for a repair once, until it was answered or has been waited for in vain.
#[derive(Clone, Debug, Default)]
pub struct Mender {
    asked: Option<Tick>,
    /// The answer has begun.
    answered: bool,
}

/// What a [`Mender`] has to know of a tick message.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The message's tick.
    pub tick: Tick,
    /// It said the view, as the answer to a repair does first.
    pub view: bool,
    /// Its flag *view complete*.
    pub complete: bool,
}

impl Mender {
    /// Call it after each tick message. What it returns is to be sent.
    pub fn heard(&mut self, told: Told, found: Option<Mismatch>) -> Option<Repair> {
        self.answered |= told.view;
        if self.asked.is_some_and(|asked| told.tick.since(asked) < REPAIR_TICKS) {
            if !(self.answered && told.complete) {
                return None;
            }
            self.asked = None;
        }
        let Mismatch { why, cells } = found?;
        (self.asked, self.answered) = (Some(told.tick), false);
        Some(Repair { why, tick: told.tick, cells })
    }
}

/// How long the answer to a repair is waited for before it is asked for again.
pub const REPAIR_TICKS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tick: u32, view: bool, complete: bool) -> Told {
        Told { tick: Tick(tick), view, complete }
    }

    fn found() -> Option<Mismatch> {
        Some(Mismatch { why: RepairWhy::Sum, cells: vec![CellId(3)] })
    }

    #[test]
    fn a_repair_is_asked_for_once_until_it_is_answered() {
        let mut mender = Mender::default();
        let repair = Repair { why: RepairWhy::Sum, tick: Tick(10), cells: vec![CellId(3)] };
        assert_eq!(mender.heard(told(9, true, true), None), None);
        assert_eq!(mender.heard(told(10, false, true), found()), Some(repair));
        assert_eq!(mender.heard(told(11, false, true), found()), None);
        assert_eq!(mender.heard(told(12, true, false), found()), None);
        assert_eq!(mender.heard(told(13, false, true), None), None);
        assert!(mender.heard(told(14, false, true), found()).is_some());
    }

    #[test]
    fn what_is_wrong_in_the_answer_itself_is_asked_for_again() {
        let mut mender = Mender::default();
        assert!(mender.heard(told(10, false, true), found()).is_some());
        assert!(mender.heard(told(12, true, true), found()).is_some());
    }

    #[test]
    fn an_answer_that_does_not_come_is_asked_for_again() {
        let mut mender = Mender::default();
        assert!(mender.heard(told(u32::MAX, false, true), found()).is_some());
        assert_eq!(mender.heard(told(REPAIR_TICKS - 2, false, true), found()), None);
        assert!(mender.heard(told(REPAIR_TICKS - 1, false, true), found()).is_some());
    }
}
