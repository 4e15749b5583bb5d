//! Deadlines of thousands of bots, one each, by the millisecond.
//!
//! A ring of buckets: setting and taking a deadline costs the same whatever their number. The order within a millisecond is
//! the order in which they were set.

use std::time::Duration;
use tickyard::time::Time;

/// The ring spans this many milliseconds; what is due later goes around once more.
const SPAN: u64 = 512;

/// Who is due when.
#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Vec<(u64, u32)>>,
    /// All before this millisecond was taken.
    next: u64,
}

impl Wheel {
    /// Nobody is due.
    pub fn new() -> Self {
        Wheel { buckets: vec![Vec::new(); SPAN as usize], next: 0 }
    }

    /// Sets a deadline. One in the past is due at once.
    pub fn set(&mut self, who: u32, due: Time) {
        // Rounded up: nobody is woken before the time.
        let due = due.as_micros().div_ceil(1000).max(self.next);
        self.buckets[(due % SPAN) as usize].push((due, who));
    }

    /// Appends those who are due by now.
    pub fn take_due(&mut self, now: Time, due: &mut impl Extend<u32>) {
        let end = now.as_micros() / 1000 + 1;
        // After a stall of more than the span, one turn over the ring finds all.
        let first = self.next.max(end.saturating_sub(SPAN));
        for millisecond in first..end {
            let bucket = &mut self.buckets[(millisecond % SPAN) as usize];
            due.extend(bucket.extract_if(.., |&mut (at, _)| at < end).map(|(_, who)| who));
        }
        self.next = self.next.max(end);
    }

    /// How long to sleep at most, so as to be in time for the next one; at most ten milliseconds.
    pub fn sleep(&self, now: Time) -> Duration {
        let waits = (self.next..self.next + 10)
            .find(|&at| self.buckets[(at % SPAN) as usize].iter().any(|&(due, _)| due == at));
        let until = waits.unwrap_or(self.next + 10);
        Time::from_micros(until * 1000).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn take(wheel: &mut Wheel, millis: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.take_due(Time::from_micros(millis * 1000), &mut due);
        due
    }

    #[test]
    fn nobody_is_due_early_and_everybody_once() {
        let mut wheel = Wheel::new();
        let mut random = Random::new(1, 1);
        let dues: Vec<u64> = (0..1000).map(|_| random.below(3_000)).collect();
        for (who, &due) in dues.iter().enumerate() {
            wheel.set(who as u32, Time::from_micros(due * 1000));
        }
        let mut taken = 0;
        for now in 0..3_000 {
            for who in take(&mut wheel, now) {
                assert_eq!(dues[who as usize], now);
                taken += 1;
            }
        }
        assert_eq!(taken, 1000);
    }

    #[test]
    fn after_a_stall_all_that_was_missed_is_due() {
        let mut wheel = Wheel::new();
        (0..2_000).for_each(|who| wheel.set(who, Time::from_micros(u64::from(who) * 1000)));
        assert_eq!(take(&mut wheel, 1_499).len(), 1_500);
        wheel.set(7, Time::ZERO);
        assert_eq!(take(&mut wheel, 1_500).len(), 2);
    }

    #[test]
    fn sleep_ends_with_the_next_deadline() {
        let mut wheel = Wheel::new();
        take(&mut wheel, 99);
        wheel.set(1, Time::from_micros(103_200));
        assert_eq!(wheel.sleep(Time::from_micros(100_000)), Duration::from_millis(4));
        assert_eq!(wheel.sleep(Time::from_micros(105_000)), Duration::ZERO);
    }
}
