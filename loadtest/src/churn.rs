//! Coming and going: so many bots a second leave, and others come in their places.

use std::time::Duration;
use tickyard::time::Time;

/// Who leaves next, and when.
#[derive(Clone, Debug)]
pub struct Churn {
    every: Duration,
    due: Time,
    next: usize,
}

/// More than this a second is no coming and going, but a storm.
const PER_SECOND_MAX: u32 = 10_000;

impl Churn {
    /// So many a second, from now on.
    pub fn new(per_second: u32, now: Time) -> Self {
        let every = Duration::from_secs(1) / per_second;
        Churn { every, due: now + every, next: 0 }
    }

    /// The place of who leaves, if one is due: the next of `places` who `may`.
    pub fn take(&mut self, now: Time, places: usize, may: impl Fn(usize) -> bool) -> Option<usize> {
        if now < self.due {
            return None;
        }
        self.due = self.due + self.every;
        let place = (0..places).map(|ahead| (self.next + ahead) % places).find(|&place| may(place))?;
        self.next = place + 1;
        Some(place)
    }
}

/// Reads `50/s`.
pub fn parse(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").and_then(|number| number.parse().ok());
    number
        .filter(|number| (1..=PER_SECOND_MAX).contains(number))
        .ok_or_else(|| format!("a rate is like 50/s, from 1/s to {PER_SECOND_MAX}/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_leave_a_second_each_in_turn_and_nobody_who_may_not() {
        let mut churn = Churn::new(50, Time::ZERO);
        let mut left = Vec::new();
        for milli in 0..=1000 {
            while let Some(place) = churn.take(Time::from_micros(milli * 1000), 20, |place| place != 7) {
                left.push(place);
            }
        }
        assert_eq!(left.len(), 50);
        assert!(left[..19].iter().copied().eq((0..20).filter(|&place| place != 7)), "{left:?}");
        assert_eq!(churn.take(Time::from_secs(2), 20, |_| false), None);
    }

    #[test]
    fn a_rate_has_its_unit() {
        assert_eq!(parse("50/s"), Ok(50));
        for wrong in ["", "50", "0/s", "-1/s", "50/m", "10001/s", "1.5/s"] {
            assert!(parse(wrong).unwrap_err().contains("50/s"), "{wrong}");
        }
    }
}
