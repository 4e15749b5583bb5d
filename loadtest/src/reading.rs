//! How much of what comes a bot reads, and when: all of it at once, all of it but for long pauses, or a share of the stream.
//!
//! A limit holds only while it is measured: before, a bot has to get in; after, all come to rest and compare worlds.

use crate::behaviour::Way;
use crate::random::Random;
use std::time::Duration;
use tickyard::time::Time;

/// Who stops reading does so for a time in between these.
pub const STOP: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(25)];

/// And reads again for a time in between these.
const READ: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(10)];

/// The first stop comes within this time.
const FIRST: [Duration; 2] = [Duration::ZERO, Duration::from_secs(3)];

/// A measurement of at least this long has a whole stop of each.
pub const MEASURED_MIN: Duration = Duration::from_secs(10);

/// What is not read for so long may be read later at once, and no more.
const SAVED: Duration = Duration::from_millis(200);

/// One bot's way of reading.
#[derive(Clone, Debug)]
pub enum Reading {
    /// All, at once.
    Whole,
    /// All, with pauses.
    Stops(Stops),
    /// Half of what others get.
    Half(Half),
}

/// Reads, stops, reads, stops.
#[derive(Clone, Debug)]
pub struct Stops {
    random: Random,
    is_stopped: bool,
    /// When that changes; `None`: it is not measured.
    until: Option<Time>,
}

/// May read so many bytes, which grow with time.
#[derive(Clone, Debug, Default)]
pub struct Half {
    bytes: f64,
    /// Until when it was allotted; `None`: it is not measured.
    since: Option<Time>,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It reads no more.
    Stops,
    /// It reads on.
    ReadsOn,
}

impl Reading {
    /// How a bot of this way reads.
    pub fn new(way: Way, random: Random) -> Self {
        match way {
            Way::Play | Way::Crowd => Reading::Whole,
            Way::SlowReader => Reading::Stops(Stops { random, is_stopped: false, until: None }),
            Way::HalfReader => Reading::Half(Half::default()),
        }
    }

    /// Time has passed. `stream` is what others read, in bytes a second.
    pub fn handle_slot(&mut self, now: Time, measured: bool, stream: f64) -> Option<Turn> {
        match self {
            Reading::Whole => None,
            Reading::Stops(stops) => stops.handle_slot(now, measured),
            Reading::Half(half) => {
                half.handle_slot(now, measured, stream);
                None
            }
        }
    }

    /// How many bytes may be read now.
    pub fn appetite(&self) -> usize {
        match self {
            Reading::Stops(Stops { is_stopped: true, .. }) => 0,
            Reading::Half(Half { since: Some(_), bytes }) => *bytes as usize,
            _ => usize::MAX,
        }
    }

    /// So many were.
    pub fn took(&mut self, bytes: usize) {
        if let Reading::Half(half) = self {
            half.bytes = (half.bytes - bytes as f64).max(0.0);
        }
    }
}

impl Stops {
    fn handle_slot(&mut self, now: Time, measured: bool) -> Option<Turn> {
        if !measured {
            self.until = None;
            return std::mem::take(&mut self.is_stopped).then_some(Turn::ReadsOn);
        }
        let Some(until) = self.until else {
            self.until = Some(now + self.within(FIRST));
            return None;
        };
        if now < until {
            return None;
        }
        self.is_stopped = !self.is_stopped;
        self.until = Some(now + self.within(if self.is_stopped { STOP } else { READ }));
        Some(if self.is_stopped { Turn::Stops } else { Turn::ReadsOn })
    }

    fn within(&mut self, [least, most]: [Duration; 2]) -> Duration {
        least + Duration::from_micros(self.random.below((most - least).as_micros() as u64))
    }
}

impl Half {
    fn handle_slot(&mut self, now: Time, measured: bool, stream: f64) {
        if !measured {
            *self = Half::default();
            return;
        }
        let passed = self.since.replace(now).map_or(Duration::ZERO, |since| now.since(since));
        let rate = stream / 2.0;
        self.bytes = (self.bytes + rate * passed.as_secs_f64()).min(rate * SAVED.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenth: u64) -> Time {
        Time::from_micros(tenth * 100_000)
    }

    /// When it stops and when it reads on, in tenths of a second, over ten minutes.
    fn turns(seed: u64) -> Vec<(u64, Turn)> {
        let mut reading = Reading::new(Way::SlowReader, Random::new(seed, 0));
        (0..6000)
            .filter_map(|tenth| {
                let turn = reading.handle_slot(at(tenth), true, 0.0);
                let reads = reading.appetite() > 0;
                assert!(turn.is_none_or(|turn| reads == (turn == Turn::ReadsOn)));
                Some((tenth, turn?))
            })
            .collect()
    }

    #[test]
    fn a_slow_reader_stops_for_five_to_twenty_five_seconds_as_the_seed_says() {
        let found = turns(1);
        assert!(found[0].0 <= 30, "{found:?}");
        for (before, after) in found.iter().zip(&found[1..]) {
            let took = after.0 - before.0;
            let range = if before.1 == Turn::Stops { 50..=251 } else { 30..=101 };
            assert!(before.1 != after.1 && range.contains(&took), "{before:?} {after:?}");
        }
        assert!(found.len() > 30);
        assert_eq!(found, turns(1));
        assert_ne!(found, turns(2));
    }

    #[test]
    fn a_slow_reader_reads_on_when_the_measurement_ends() {
        let mut reading = Reading::new(Way::SlowReader, Random::new(1, 0));
        assert_eq!(reading.handle_slot(at(0), false, 0.0), None);
        let stops = (1..).find(|&tenth| reading.handle_slot(at(tenth), true, 0.0).is_some()).unwrap();
        assert_eq!(reading.appetite(), 0);
        assert_eq!(reading.handle_slot(at(stops + 1), false, 0.0), Some(Turn::ReadsOn));
        assert_eq!(reading.appetite(), usize::MAX);
    }

    #[test]
    fn a_half_reader_reads_half_of_what_others_do_and_saves_little() {
        let mut reading = Reading::new(Way::HalfReader, Random::new(1, 0));
        assert_eq!(reading.appetite(), usize::MAX);
        reading.handle_slot(at(10), true, 4000.0);
        assert_eq!(reading.appetite(), 0);
        let mut taken = 0;
        for tenth in 11..=110 {
            reading.handle_slot(at(tenth), true, 4000.0);
            taken += reading.appetite();
            reading.took(reading.appetite());
        }
        assert_eq!(taken, 20_000);
        reading.handle_slot(at(200), true, 4000.0);
        assert_eq!(reading.appetite(), 400);
        reading.handle_slot(at(201), false, 4000.0);
        assert_eq!(reading.appetite(), usize::MAX);
    }
}
