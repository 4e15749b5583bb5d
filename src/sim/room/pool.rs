//! Memory that is used again once nobody reads it any more.
//!
//! What a room publishes is shared with io threads, and each lets go of it in its own time. A [`Pool`] keeps all that it handed out, and
//! hands it out again when nobody else has it. After a burst, or when a thread was held up, that is more than is needed: what was
//! spare at each of the last [`TURNS`] turns is given back.

use std::sync::Arc;

use crate::bridge::{BATCHES_KEPT, BATCHES_MAX};

/// Shared things, kept for their memory. One is taken and one kept in each turn.
#[derive(Debug)]
pub(super) struct Pool<T> {
    kept: Vec<Arc<T>>,
    /// How many were spare in each turn of this while.
    spare: usize,
    turns: u32,
}

impl<T: Default> Pool<T> {
    /// Keeps nothing yet.
    pub fn new() -> Pool<T> {
        Pool { kept: Vec::new(), spare: usize::MAX, turns: 0 }
    }

    /// One that nobody else has, new or as its last users left it.
    pub fn take(&mut self) -> Arc<T> {
        let at = self.kept.iter_mut().position(is_unused);
        let taken = at.map(|at| self.kept.swap_remove(at));
        let spare = self.kept.iter_mut().map(is_unused).filter(|&unused| unused).count();
        self.spare = self.spare.min(spare);
        self.turns += 1;
        if self.turns == TURNS {
            self.give_back();
        }
        taken.unwrap_or_default()
    }

    /// Keeps it for when all others are done with it.
    pub fn keep(&mut self, shared: &Arc<T>) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(Arc::clone(shared));
        }
    }

    /// How many it keeps.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    fn give_back(&mut self) {
        let mut spare = std::mem::replace(&mut self.spare, usize::MAX);
        self.turns = 0;
        self.kept.retain_mut(|shared| {
            let goes = spare > 0 && is_unused(shared);
            spare -= goes as usize;
            !goes
        });
    }
}

fn is_unused<T>(shared: &mut Arc<T>) -> bool {
    Arc::get_mut(shared).is_some()
}

/// After so many turns it is known what is spare: some seconds of a room.
const TURNS: u32 = 64;

/// As many as may be in use at a time, and some.
const KEPT_MAX: usize = BATCHES_MAX + BATCHES_KEPT + 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// One turn: whoever reads it is left with it.
    fn turn(pool: &mut Pool<Vec<u8>>) -> Arc<Vec<u8>> {
        let mut taken = pool.take();
        Arc::get_mut(&mut taken).expect("nobody else has it").push(1);
        pool.keep(&taken);
        taken
    }

    #[test]
    fn what_all_have_read_is_used_again() {
        let mut pool = Pool::new();
        let (first, second) = (turn(&mut pool), turn(&mut pool));
        assert_eq!((first.len(), second.len()), (1, 1));
        drop(first);
        assert_eq!(turn(&mut pool).len(), 2);
        assert_eq!(second.len(), 1);
    }

    #[test]
    fn what_a_held_up_reader_had_is_given_back_once_it_was_spare_for_a_while() {
        let mut pool = Pool::new();
        let held_up: Vec<_> = (0..20).map(|_| turn(&mut pool)).collect();
        assert_eq!(pool.len(), 20);
        drop(held_up);
        // The while in which it was held up, and the one after it.
        (0..2 * TURNS).for_each(|_| _ = turn(&mut pool));
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn what_is_needed_now_and_then_is_kept() {
        let mut pool = Pool::new();
        let mut two = Vec::new();
        for at in 0..10 * TURNS {
            let taken = turn(&mut pool);
            two.push(taken);
            // For one turn in ten it is read for longer.
            if at % 10 != 0 {
                two.clear();
            }
            assert!(pool.len() <= 2);
        }
        assert_eq!(pool.len(), 2);
        assert_eq!(pool.kept.iter().map(|shared| shared.len() as u32).sum::<u32>(), 10 * TURNS, "no new one");
    }

    #[test]
    fn of_those_that_nobody_lets_go_of_it_keeps_so_many() {
        let mut pool = Pool::new();
        let all: Vec<_> = (0..2 * KEPT_MAX).map(|_| turn(&mut pool)).collect();
        assert_eq!((all.len(), pool.len()), (2 * KEPT_MAX, KEPT_MAX));
    }
}
