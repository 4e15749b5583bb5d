//! Crowds: how much a cell says at once, and who comes next.
//!
//! A bound per listener would need an encoding per listener, so it is the cell that is bounded: all who hear it get the same
//! segment. What does not fit waits for its turn. Meanwhile a row goes on as clients predict it and an entity stays where it
//! was published, in the publisher's table as well, so sums hold and nothing is ever undone. Turns go round by slot.

/// Rows that a cell corrects in one publication. An arena's row takes 5 to 8 bytes, so a cell says about 1 KiB a tick at most. Of
/// 2,000 players in a cell who turn once a second about 75 turn in a tick: all of them still come at once.
pub const ROWS_MAX: usize = 128;

/// Entities that enter a cell in one publication. One takes about 25 bytes, so that is 1.6 KiB: somebody who comes to a crowd by
/// a snapshot gets the same in more bytes, and 2,000 who appear at once are there after 32 publications.
pub const ENTERS_MAX: usize = 64;

/// Whose turn it is, of a list by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    start: usize,
    taken: usize,
    len: usize,
}

impl Turn {
    /// All of them.
    pub fn of_all(len: usize) -> Turn {
        Turn { start: 0, taken: len, len }
    }

    /// The first `max` from slot `next` on, round the list; then `next` is moved on behind them.
    pub fn take(next: &mut u32, max: usize, len: usize, slot: impl Fn(usize) -> u32) -> Turn {
        if len <= max {
            return Turn::of_all(len);
        }
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low.midpoint(high);
            if slot(middle) < *next { low = middle + 1 } else { high = middle }
        }
        let turn = Turn { start: low % len, taken: max, len };
        *next = slot((turn.start + max - 1) % len) + 1;
        turn
    }

    /// Whether it is the turn of the one at this place of the list.
    pub fn has(self, at: usize) -> bool {
        (at + self.len - self.start) % self.len < self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn took(next: &mut u32, max: usize, slots: &[u32]) -> Vec<u32> {
        let turn = Turn::take(next, max, slots.len(), |at| slots[at]);
        (0..slots.len()).filter(|&at| turn.has(at)).map(|at| slots[at]).collect()
    }

    #[test]
    fn turns_go_round_and_who_comes_behind_is_not_overtaken_twice() {
        let mut next = 0;
        assert_eq!(took(&mut next, 2, &[1, 5, 9]), [1, 5]);
        assert_eq!(took(&mut next, 2, &[1, 5, 7, 9]), [7, 9]);
        assert_eq!(took(&mut next, 2, &[1, 5, 7]), [1, 5]);
        assert_eq!(took(&mut next, 2, &[1, 2, 8]), [1, 8]);
        assert_eq!(took(&mut next, 3, &[1, 2, 8]), [1, 2, 8]);
    }

    proptest! {
        #[test]
        fn whoever_waits_has_a_turn_before_anybody_has_two(
            slots in prop::collection::btree_set(0u32..1000, 1..60),
            max in 1usize..20,
            mut next in 0u32..1100,
        ) {
            let slots: Vec<u32> = slots.into_iter().collect();
            let mut turns = vec![0; slots.len()];
            for _ in 0..slots.len().div_ceil(max) {
                for slot in took(&mut next, max, &slots) {
                    turns[slots.binary_search(&slot).unwrap()] += 1;
                }
            }
            prop_assert!(turns.iter().all(|&turns| (1..=2).contains(&turns)), "{turns:?}");
        }
    }
}
