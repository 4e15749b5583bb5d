//! How fast a player takes what it is sent, by what it says of it.
//!
//! The kernel's buffers hold seconds of a thin stream, and nothing waits in the outbox meanwhile. But each input says how far its player
//! has come, so the time from a message to the first input that knows it shows whether messages pile up. Who is late is sent one at a
//! time, the next when the last was seen, until one is seen in time.
//!
//! Ticks are the clock. Of each the low 16 bits are kept: the room for it is short, and what is compared is seconds old.

use serde::{Deserialize, Serialize};
use tickyard_protocol::types::Tick;

/// What a player said lately of what it has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pace {
    /// A message that the player has not said to have seen, if `waits`.
    mark: u16,
    /// When the player spoke last.
    spoke: u16,
    /// The least lag of this stretch of time and of the one before.
    least: [u8; 2],
    stretch: u8,
    waits: bool,
    /// The player was heard not to have seen the mark when it should have.
    is_late: bool,
    /// One message at a time.
    is_paced: bool,
    /// The mark went out alone.
    is_alone: bool,
    /// It has begun with little, and may say more with each message that is seen in time.
    is_starting: bool,
    /// How many stretches of time on end have been in time, and how many have to be before more is said.
    calm: u8,
    patience: u8,
}

/// What to do about the player's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A message alone took `took` ticks, and should have taken at most `allowed`: say less.
    Less { allowed: u16, took: u16 },
    /// So much was on its way that most of it is of no use any longer: begin with little.
    Least,
    /// All was in time for a while: say somewhat more.
    More,
    /// All is in time after a beginning with little: say more.
    MuchMore,
}

impl Default for Pace {
    fn default() -> Pace {
        let least = [u8::MAX; 2];
        let [waits, is_late, is_paced, is_alone, is_starting] = [false; 5];
        let (mark, spoke, stretch, calm, patience) = (0, 0, 0, 0, PATIENCE_MIN);
        Pace { mark, spoke, least, stretch, waits, is_late, is_paced, is_alone, is_starting, calm, patience }
    }
}

impl Pace {
    /// A message of this tick went out.
    pub(super) fn note_said(&mut self, at: Tick) {
        if !self.waits {
            (self.mark, self.waits, self.is_alone) = (low(at), true, self.is_paced);
        }
    }

    /// An input came that says what its player has seen, in 1/16 ticks. `said` is the tick of the last message, `now` the newest one.
    pub(super) fn note_seen(
        &mut self,
        render_tick: u32,
        said: Tick,
        now: Tick,
        tick_rate: u16,
    ) -> Option<Change> {
        if render_tick == 0 {
            return None;
        }
        self.spoke = low(now);
        let change = self.turn(now, tick_rate).then_some(Change::More);
        if !self.waits {
            return change;
        }
        let lag = low(now).wrapping_sub(self.mark);
        let allowed = self.allowed(tick_rate);
        let seen = (render_tick >> 4) as u16;
        if (seen.wrapping_sub(self.mark) as i16) >= 0 {
            self.least[0] = self.least[0].min(u8::try_from(lag).unwrap_or(u8::MAX));
            self.is_paced = std::mem::take(&mut self.is_late);
            self.waits = false;
            if !self.is_paced {
                return if self.is_starting { Some(Change::MuchMore) } else { change };
            }
            let is_long = lag > tick_rate / DELAY_PART_MAX;
            if is_long && !self.is_alone && !self.is_starting && self.patience == PATIENCE_MIN {
                self.is_starting = true;
                return Some(Change::Least);
            }
            if is_long || self.is_alone || self.is_starting {
                self.is_starting = false;
                self.patience = (2 * self.patience).min(PATIENCE_MAX);
                return Some(Change::Less { allowed, took: lag.max(1) });
            }
        } else if lag > allowed {
            (self.is_late, self.calm) = (true, 0);
            if !std::mem::replace(&mut self.is_paced, true) {
                // What is on its way already is waited for as a whole.
                self.mark = low(said);
            }
        }
        change
    }

    /// Whether another message would only wait behind the last one.
    pub(super) fn is_full(&self, said: Tick, now: Tick, tick_rate: u16) -> bool {
        let speaks = low(now).wrapping_sub(self.spoke) < tick_rate / SPEAKS_PART;
        let may_wait = now.since(said) < u32::from(tick_rate) * PACED_SECONDS_MAX;
        self.is_paced && self.waits && speaks && may_wait
    }

    /// How many ticks after a message an input may still not know it.
    fn allowed(&self, tick_rate: u16) -> u16 {
        let least = u16::from(self.least[0].min(self.least[1])).min(tick_rate / DELAY_PART_MAX);
        least + (tick_rate / LATE_PART).max(1)
    }

    /// Forgets lags of long ago. Returns whether all was in time for long enough.
    fn turn(&mut self, now: Tick, tick_rate: u16) -> bool {
        let stretch = (now.0 / (u32::from(tick_rate.max(1)) * STRETCH_SECONDS)) as u8;
        if stretch == self.stretch {
            return false;
        }
        self.stretch = stretch;
        self.least = [u8::MAX, self.least[0]];
        self.calm += 1;
        if self.calm <= self.patience {
            return false;
        }
        (self.calm, self.patience) = (0, (self.patience / 2).max(PATIENCE_MIN));
        true
    }
}

fn low(tick: Tick) -> u16 {
    tick.0 as u16
}

/// So much later than usual is late: a fifth of a second.
const LATE_PART: u16 = 5;

/// More than half a second is never usual, or a queue that stands long enough would be.
const DELAY_PART_MAX: u16 = 2;

/// Who has not spoken for half a second is not judged by what it said before.
const SPEAKS_PART: u16 = 2;

/// What is usual is the least of so many seconds, or up to twice as many.
const STRETCH_SECONDS: u32 = 4;

/// So many stretches have to be in time before more is tried. Each time that less had to be said they are twice as many.
const PATIENCE_MIN: u8 = 4;
const PATIENCE_MAX: u8 = 16;

/// Nobody goes without a message for longer because of what its inputs say.
const PACED_SECONDS_MAX: u32 = 5;

#[cfg(test)]
mod tests;
