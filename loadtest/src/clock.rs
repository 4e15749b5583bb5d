//! What time it is in the room, as far as a client can know: from the pings that it sends and the pongs that come.
//!
//! A pong says how far the room is (PROTOCOL.md, section 3.3) at some moment between ping and pong: the middle is taken, and half of the
//! round trip is the error. The best pong so far counts, until it is so old that two clocks may have drifted apart, or until a new
//! one contradicts it: a room that was late and left ticks out is on another timeline than before.

use std::time::Duration;
use tickyard::time::Time;
use tickyard_protocol::message::Pong;
use tickyard_protocol::types::Tick;

/// Two clocks drift apart by a ten-thousandth at most.
const DRIFT: u32 = 10_000;

/// The clock of one room.
#[derive(Clone, Copy, Debug)]
pub struct RoomClock {
    /// How long a tick is.
    step: Duration,
    best: Option<Reading>,
}

/// What one pong said.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// When it came.
    at: Time,
    /// The tick that was the newest then.
    tick: Tick,
    /// How long ago that tick was due then.
    since_due: Duration,
    /// It may be wrong by this much either way.
    error: Duration,
}

impl RoomClock {
    /// Not set; `step` is a tick.
    pub fn new(step: Duration) -> Self {
        RoomClock { step, best: None }
    }

    /// Takes the answer to a ping.
    pub fn hear(&mut self, sent: Time, now: Time, pong: &Pong) {
        let error = now.since(sent) / 2;
        let since_due = Duration::from_micros(u64::from(pong.micros)) + error;
        let new = Reading { at: now, tick: pong.tick, since_due, error };
        let is_better = |best: Reading| {
            let apart = best.age_micros(now, pong.tick, self.step) - since_due.as_micros() as i64;
            let error_then = best.error_at(now);
            error <= error_then || apart.unsigned_abs() > (error + error_then).as_micros() as u64
        };
        if self.best.is_none_or(is_better) {
            self.best = Some(new);
        }
    }

    /// How long before `now` this tick was due; zero if it lies ahead. `None`: no pong has come yet.
    pub fn age(&self, now: Time, tick: Tick) -> Option<Duration> {
        let age = self.best?.age_micros(now, tick, self.step);
        Some(Duration::from_micros(age.max(0) as u64))
    }
}

impl Reading {
    fn age_micros(&self, now: Time, tick: Tick, step: Duration) -> i64 {
        let ticks = i64::from(self.tick.since(tick) as i32);
        let since_due = (self.since_due + now.since(self.at)).as_micros() as i64;
        ticks * step.as_micros() as i64 + since_due
    }

    fn error_at(&self, now: Time) -> Duration {
        self.error + now.since(self.at) / DRIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn pong(tick: u32, millis: u32) -> Pong {
        Pong { stamp: [0; 8], tick: Tick(tick), micros: millis * 1000 }
    }

    fn age(clock: &RoomClock, now: u64, tick: u32) -> u128 {
        clock.age(at(now), Tick(tick)).unwrap().as_millis()
    }

    #[test]
    fn a_tick_is_as_old_as_the_room_says_and_half_of_the_way() {
        let mut clock = RoomClock::new(STEP);
        assert_eq!(clock.age(at(1), Tick(1)), None);
        clock.hear(at(1000), at(1008), &pong(20, 10));
        assert_eq!(age(&clock, 1008, 20), 14);
        assert_eq!(age(&clock, 1100, 20), 106);
        assert_eq!(age(&clock, 1100, 18), 206);
        // It lies ahead.
        assert_eq!(age(&clock, 1008, 21), 0);
    }

    #[test]
    fn the_pong_of_the_shortest_way_counts_until_clocks_may_have_drifted() {
        let mut clock = RoomClock::new(STEP);
        clock.hear(at(1000), at(1008), &pong(20, 10));
        // Its answer was given early, and took long to come: by itself it would say 60 ms too little.
        clock.hear(at(1100), at(1300), &pong(22, 10));
        assert_eq!(age(&clock, 1300, 20), 306);
        clock.hear(at(2000), at(2002), &pong(40, 0));
        assert_eq!(age(&clock, 2002, 40), 1);
        // Ten minutes later an error of 50 ms is less than a drift of 60 may be.
        clock.hear(at(602_000), at(602_100), &pong(12_040, 0));
        assert_eq!(age(&clock, 602_100, 12_040), 50);
    }

    #[test]
    fn a_pong_that_contradicts_the_best_one_replaces_it() {
        let mut clock = RoomClock::new(STEP);
        clock.hear(at(1000), at(1002), &pong(20, 0));
        // The room left ten ticks out meanwhile.
        clock.hear(at(3000), at(3020), &pong(50, 0));
        assert_eq!(age(&clock, 3020, 50), 10);
    }
}
