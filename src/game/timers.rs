//! Timers: what a game wants to be reminded of, at which tick.

use std::collections::BTreeMap;
use std::fmt;

/// At most this many timers wait in a room.
pub const TIMERS_MAX: usize = 65_536;

/// A timer was not set: [`TIMERS_MAX`] of them wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTimers;

impl fmt::Display for TooManyTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {TIMERS_MAX} timers wait in a room")
    }
}

impl std::error::Error for TooManyTimers {}

/// The timers of a room.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// By when they are due, then by the order in which they were set.
    waiting: BTreeMap<(u64, u64), u64>,
    /// How many ticks there were: unlike their numbers these do not wrap.
    now: u64,
    /// How many timers were ever set.
    set: u64,
}

impl Timers {
    /// So many ticks have gone by.
    pub fn advance(&mut self, ticks: u32) {
        self.now += ticks as u64;
    }

    /// Sets a timer. It is never due in the tick in which it was set, so that a tick ends.
    pub fn set(&mut self, ticks: u32, timer: u64) -> Result<(), TooManyTimers> {
        if self.waiting.len() >= TIMERS_MAX {
            return Err(TooManyTimers);
        }
        self.set += 1;
        self.waiting.insert((self.now + ticks.max(1) as u64, self.set), timer);
        Ok(())
    }

    /// The next one that is due; it waits no more.
    pub fn pop_due(&mut self) -> Option<u64> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    /// All that wait, in order: in how many ticks they are due, and what they are.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, u64)> {
        self.waiting.iter().map(|(&(due, _), &timer)| (due - self.now, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &mut Timers) -> Vec<u64> {
        std::iter::from_fn(|| timers.pop_due()).collect()
    }

    #[test]
    fn timers_come_when_they_are_due_in_the_order_in_which_they_were_set() {
        let mut timers = Timers::default();
        for (ticks, timer) in [(2, 20), (1, 10), (0, 11), (2, 21), (u32::MAX, 99), (1, 10)] {
            timers.set(ticks, timer).unwrap();
        }
        assert_eq!(due(&mut timers), [0u64; 0], "not in the tick in which they were set");
        timers.advance(1);
        assert_eq!(timers.waiting().take(2).collect::<Vec<_>>(), [(0, 10), (0, 11)]);
        assert_eq!(due(&mut timers), [10, 11, 10]);
        timers.set(1, 22).unwrap();
        timers.advance(1);
        assert_eq!(due(&mut timers), [20, 21, 22]);
        timers.advance(u32::MAX - 3);
        assert_eq!(due(&mut timers), [0u64; 0]);
        timers.advance(1);
        assert_eq!(due(&mut timers), [99]);
        assert_eq!(timers.waiting().count(), 0);
    }

    #[test]
    fn no_more_timers_wait_than_the_bound_says() {
        let mut timers = Timers::default();
        (0..TIMERS_MAX as u64).for_each(|timer| timers.set(1, timer).unwrap());
        assert_eq!(timers.set(1, 0), Err(TooManyTimers));
        timers.advance(1);
        assert_eq!(timers.pop_due(), Some(0));
        assert_eq!(timers.set(1, 0), Ok(()));
        assert_eq!(timers.set(1, 0), Err(TooManyTimers));
    }
}
