//! When a tick is due.
//!
//! A [`Clock`] divides time into periods that begin at `origin + n / rate`, computed from `n` each time, so that no error adds
//! up, at 60 Hz either. Usually one period makes one tick. After a stall a few are simulated at once; the others are skipped:
//! time goes on for the players, but the room does not live it. Ticks are numbered by the steps that were simulated, so
//! a game never sees a gap.

use crate::time::Time;
use std::time::Duration;

/// A room's periods.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Time,
    rate: u16,
    /// The first period that has not been handed out.
    next: u64,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Steps to simulate, at least 1, at most [`CATCH_UP_MAX`].
    pub ticks: u32,
    /// Steps that were due as well and will not be simulated.
    pub skipped: u64,
    /// When the last of them was due.
    pub at: Time,
}

/// After a stall at most this many steps are simulated at once: at 20 Hz a fifth of a second, which a player can
/// still make sense of, and short enough that catching up does not cause the next stall.
pub const CATCH_UP_MAX: u32 = 4;

impl Clock {
    /// Periods of 1/`rate` seconds; the first one ends, and makes the first tick due, one period after `origin`.
    ///
    /// # Panics
    /// If the rate is not 1 to 60.
    pub fn new(origin: Time, rate: u16) -> Clock {
        assert!((1..=60).contains(&rate), "a room ticks 1 to 60 times a second");
        Clock { origin, rate, next: 1 }
    }

    /// The clock of one of so many phases, which lie evenly in the period: rooms are spread over them, so that nobody has to wait for
    /// everybody else's fan-out.
    pub fn in_phase(start: Time, rate: u16, phase: u32, phases: u32) -> Clock {
        let behind = 1_000_000 * phase as u64 / (rate as u64 * phases as u64);
        Clock::new(start + Duration::from_micros(behind), rate)
    }

    /// When to come back.
    pub fn next_due(&self) -> Time {
        self.begins(self.next)
    }

    /// What is due by now, if anything; hands it out once.
    pub fn poll(&mut self, now: Time) -> Option<Due> {
        if now < self.next_due() {
            return None;
        }
        let last = self.period_at(now);
        let due = last - self.next + 1;
        self.next = last + 1;
        let ticks = due.min(CATCH_UP_MAX as u64);
        Some(Due { ticks: ticks as u32, skipped: due - ticks, at: self.begins(last) })
    }

    fn begins(&self, period: u64) -> Time {
        self.origin + Duration::from_micros(period * 1_000_000 / self.rate as u64)
    }

    /// The last period that has begun: the largest `n` with `n * 1_000_000 / rate <= elapsed`.
    fn period_at(&self, now: Time) -> u64 {
        let elapsed = now.since(self.origin).as_micros() as u64;
        ((elapsed + 1) * self.rate as u64).div_ceil(1_000_000) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn a_minute_at_any_rate_has_exactly_as_many_ticks_as_it_should() {
        for rate in 1..=60 {
            let mut clock = Clock::new(Time::from_secs(5), rate);
            let mut ticks = 0;
            while clock.next_due() <= Time::from_secs(65) {
                let due = clock.poll(clock.next_due()).unwrap();
                assert_eq!((due.ticks, due.skipped), (1, 0));
                ticks += 1;
            }
            assert_eq!(ticks, 60 * rate as u32);
            assert!(clock.next_due().since(Time::from_secs(65)) <= Duration::from_secs(1));
        }
    }

    #[test]
    fn being_late_by_less_than_a_period_shifts_nothing() {
        let mut clock = Clock::new(Time::ZERO, 20);
        assert_eq!(clock.poll(millis(49)), None);
        assert_eq!(clock.poll(millis(97)), Some(Due { ticks: 1, skipped: 0, at: millis(50) }));
        assert_eq!(clock.next_due(), millis(100));
    }

    #[test]
    fn after_a_stall_of_half_a_second_four_ticks_are_caught_up_and_the_rest_is_counted() {
        let mut clock = Clock::new(Time::ZERO, 20);
        clock.poll(millis(50));
        assert_eq!(clock.poll(millis(560)), Some(Due { ticks: 4, skipped: 6, at: millis(550) }));
        assert_eq!(clock.poll(millis(560)), None);
        assert_eq!(clock.next_due(), millis(600));
    }

    #[test]
    fn phases_lie_evenly_in_the_period() {
        let due = |phases, phase| Clock::in_phase(Time::ZERO, 20, phase, phases).next_due().as_micros();
        assert_eq!([0, 1, 2, 3].map(|phase| due(4, phase)), [50_000, 62_500, 75_000, 87_500]);
        assert_eq!((due(1, 0), due(1000, 999)), (50_000, 99_950));
    }

    proptest! {
        #[test]
        fn no_period_is_lost_or_handed_out_twice(rate in 1u16..=60, steps in prop::collection::vec(0u64..300_000, 1..200)) {
            let mut clock = Clock::new(Time::ZERO, rate);
            let (mut now, mut periods) = (0, 0);
            for step in steps {
                now += step;
                if let Some(due) = clock.poll(Time::from_micros(now)) {
                    periods += due.ticks as u64 + due.skipped;
                    prop_assert!(due.at <= Time::from_micros(now));
                }
                prop_assert!(clock.next_due() > Time::from_micros(now));
            }
            // The definition, counted out.
            let begun = (1u64..).take_while(|n| n * 1_000_000 / rate as u64 <= now).count() as u64;
            prop_assert_eq!(periods, begun);
        }
    }
}
