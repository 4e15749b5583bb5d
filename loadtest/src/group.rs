//! What was measured of bots that read alike: of those who read all, and of the slow ones, who must not spoil the others' figures.

use crate::behaviour::Way;
use crate::measure::{Delays, Delivery};
use std::time::Duration;

/// After it has read on, a slow reader agrees with the room again within this time.
pub const AGAIN_MAX: Duration = Duration::from_secs(1);

/// Those who read alike.
#[derive(Default)]
pub struct Group {
    /// How many there were, those who left before the end included.
    pub bots: u64,
    /// From the time at which an input was due to the first state that has it.
    pub input_to_state: Delays,
    /// How old the state was that a bot had, each time it was due to send.
    pub staleness: Delays,
    /// Whether they heard what their views published.
    pub delivery: Delivery,
    /// Each one's own share of it.
    ratios: Vec<f64>,
    /// How often they stopped reading.
    pub stops: u64,
    /// From when one read on to a complete view as of a later moment.
    pub again: Delays,
    /// How often that took too long.
    pub late_again: u64,
    /// Bots that the server never told that it had skipped something.
    pub never_skipped: u64,
}

/// What was measured of one bot, for its group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Whether it heard what its view published.
    pub delivery: Delivery,
    /// Messages that said that something had been skipped before.
    pub skips: u64,
    /// How often it was due to send while it was measured.
    pub slots: u64,
}

/// All bots by how they read.
#[derive(Default)]
pub struct Groups {
    /// Those who read all that comes.
    pub whole: Group,
    /// Those who stop.
    pub slow: Group,
    /// Those who read half.
    pub half: Group,
}

impl Group {
    /// Adds a bot whose measurement is over. `due_min`: who had news at fewer ticks has no ratio of its own.
    pub fn add(&mut self, life: Life, due_min: u64) {
        self.bots += 1;
        self.delivery.heard += life.delivery.heard;
        self.delivery.missed += life.delivery.missed;
        self.never_skipped += u64::from(life.skips == 0);
        if life.delivery.heard + life.delivery.missed >= due_min {
            self.ratios.push(life.delivery.ratio());
        }
    }

    /// One agrees again after so long, or after so long still does not.
    pub fn agrees_again(&mut self, after: Duration) {
        self.again.record(after);
        self.late_again += u64::from(after > AGAIN_MAX);
    }

    /// The delivered ratio that a share of `quantile` of the bots does not exceed; 1 if nobody has one.
    pub fn ratio_quantile(&self, quantile: f64) -> f64 {
        let mut sorted = self.ratios.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (quantile * sorted.len() as f64).ceil() as usize;
        sorted.get(at.max(1) - 1).copied().unwrap_or(1.0)
    }
}

impl Groups {
    /// The group of those who play in this way.
    pub fn of(&mut self, way: Way) -> &mut Group {
        match way {
            Way::Play | Way::Crowd => &mut self.whole,
            Way::SlowReader => &mut self.slow,
            Way::HalfReader => &mut self.half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(heard: u64, missed: u64) -> Life {
        Life { delivery: Delivery { heard, missed }, skips: missed, slots: 1 }
    }

    #[test]
    fn one_bot_that_hears_little_shows_in_the_least_ratio_and_hardly_in_the_total() {
        let mut group = Group::default();
        (0..199).for_each(|_| group.add(life(100, 0), 20));
        group.add(life(25, 75), 20);
        assert_eq!(group.ratio_quantile(0.0), 0.25);
        assert_eq!((group.ratio_quantile(0.01), group.ratio_quantile(0.5)), (1.0, 1.0));
        assert!((group.delivery.ratio() - 0.99625).abs() < 1e-9);
        assert_eq!((group.bots, group.never_skipped), (200, 199));
    }

    #[test]
    fn who_was_there_for_a_moment_has_no_ratio_of_its_own() {
        let mut group = Group::default();
        assert_eq!(group.ratio_quantile(0.0), 1.0);
        group.add(life(1, 18), 20);
        assert_eq!((group.ratio_quantile(0.0), group.delivery.missed), (1.0, 18));
    }

    #[test]
    fn more_than_a_second_until_they_agree_is_too_long() {
        let mut group = Group::default();
        group.agrees_again(AGAIN_MAX);
        assert_eq!(group.late_again, 0);
        group.agrees_again(AGAIN_MAX + Duration::from_micros(1));
        assert_eq!((group.late_again, group.again.count()), (1, 2));
    }
}
