//! How fast a player takes what it is sent, by what it says of it.
//!
//! The kernel's buffers hold seconds of a thin stream, and nothing waits in the outbox meanwhile. But each input says how far its player
//! has come, so the time from a message to the first input that knows it shows whether messages pile up. Then nothing more is sent until
//! all that is on its way was seen, and how that comes tells why it was late. What was merely held up, by a machine that stood still or by
//! a lost packet, comes at once. What comes no faster than it was sent comes through a thin connection, and measures it: from then on
//! its player is sent no more than it carries.
//!
//! Ticks are the clock. Of each the low 16 bits are kept: the room for it is short, and what is compared is seconds old.

use serde::{Deserialize, Serialize};
use tickyard_protocol::types::Tick;

use crate::bridge::BATCHES_KEPT;

/// What a player said lately of what it has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pace {
    /// The bytes of all messages, and without the mark and what went out behind it; both wrap.
    sent: u32,
    before: u32,
    /// A message that the player has not said to have seen, if `waits`, and when it went out by `clock`.
    mark: u16,
    marked_at: u16,
    /// When the player spoke last, by the room's ticks and by its own: silences count little, for who stands still says nothing.
    spoke: u16,
    clock: u16,
    /// How large the mark is.
    bytes: u16,
    /// What the connection carries, in bytes a tick; 0: all.
    rate: u16,
    /// Before these ticks there is no next message, and no further cell, on a thin connection.
    next: u16,
    grow_at: u16,
    /// The least lag of this stretch of time and of the one before.
    least: [u8; 2],
    stretch: u8,
    /// How many stretches of time on end have been in time, and how often it was found thin before.
    calm: u8,
    found: u8,
    /// How many seconds to wait before a further cell is tried.
    patience: u8,
    stage: Stage,
    waits: bool,
    /// A thin connection has been in time for so long that it may carry more: a further cell is tried, however large.
    dares: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// All is in time.
    Free,
    /// The mark was not seen when it should have been. Nothing more is sent.
    Late,
    /// It was seen, and what went out behind it is not. The mark is the last that was seen.
    Drains,
    /// All came at once. One message at a time until one is in time.
    Alone,
}

impl Default for Pace {
    fn default() -> Pace {
        let [sent, before] = [0; 2];
        let [mark, marked_at, spoke, clock, bytes, rate, next, grow_at] = [0; 8];
        let (least, [stretch, calm, found], patience) = ([u8::MAX; 2], [0; 3], PATIENCE_MIN);
        let (stage, waits, dares) = (Stage::Free, false, false);
        Pace {
            sent,
            before,
            mark,
            marked_at,
            spoke,
            clock,
            bytes,
            rate,
            next,
            grow_at,
            least,
            stretch,
            calm,
            found,
            patience,
            stage,
            waits,
            dares,
        }
    }
}

impl Pace {
    /// A message of so many bytes went out with this tick.
    pub(super) fn note_said(&mut self, at: Tick, bytes: usize, tick_rate: u16) {
        let bytes = bytes as u32;
        if !self.waits {
            let clock = self.clock_at(at, tick_rate);
            (self.mark, self.marked_at, self.before, self.waits) = (low(at), clock, self.sent, true);
            self.bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        }
        self.sent = self.sent.wrapping_add(bytes);
        if let Some(ticks) = bytes.checked_div(self.rate.into()) {
            self.next = low(at).wrapping_add(ticks.min(u32::from(tick_rate) * PAUSE_SECONDS_MAX) as u16);
        }
    }

    /// An input came that says what its player has seen, in 1/16 ticks. `said` is the tick of the last message, `now` the newest one.
    /// Returns whether a thin connection has been in time for so long that it may carry more.
    pub(super) fn note_seen(&mut self, render_tick: u32, said: Tick, now: Tick, tick_rate: u16) -> bool {
        if render_tick == 0 {
            return false;
        }
        (self.clock, self.spoke) = (self.clock_at(now, tick_rate), low(now));
        let may_carry_more = self.turn(now, tick_rate) && self.is_thin();
        if self.waits {
            self.judge((render_tick >> 4) as u16, low(said), now, tick_rate);
        }
        may_carry_more
    }

    /// Whether another message would only wait behind those that are on their way.
    #[inline]
    pub(super) fn is_full(&self, said: Tick, now: Tick, tick_rate: u16) -> bool {
        (self.stage != Stage::Free || self.is_thin()) && self.must_wait(said, now, tick_rate)
    }

    /// Whether it was found to carry less than there is to say.
    pub(super) fn is_thin(&self) -> bool {
        self.rate > 0
    }

    /// How many bytes of what changed since `said` may be in the next message to a thin connection, and of the world in all.
    pub(super) fn bytes_max(&self, said: Tick, now: Tick, tick_rate: u16) -> [usize; 2] {
        let whole = u32::from(tick_rate * 3 / 10).clamp(1, TICKS_MAX);
        // After a pause there is more to say, and less again the next time.
        let changes = now.since(said).clamp(whole.div_ceil(2), whole);
        [changes, whole].map(|ticks| ticks as usize * usize::from(self.rate))
    }

    /// Whether a further cell may be tried.
    pub(super) fn may_grow(&self, now: Tick) -> bool {
        self.stage == Stage::Free && is_reached(low(now), self.grow_at)
    }

    /// However large.
    pub(super) fn dares(&self) -> bool {
        self.dares
    }

    /// A cell more was told of, or did not fit.
    pub(super) fn note_tried(&mut self, now: Tick, tick_rate: u16) {
        self.grow_at = low(now).wrapping_add(u16::from(self.patience) * tick_rate);
        self.dares = false;
    }

    /// Not all fitted any longer.
    pub(super) fn note_overflow(&mut self, now: Tick, tick_rate: u16) {
        self.patience = (2 * self.patience).min(PATIENCE_MAX);
        self.note_tried(now, tick_rate);
    }

    /// Tries a higher rate, and whether it carries much more.
    pub(super) fn dare(&mut self) {
        self.rate = self.rate.saturating_add(self.rate.div_ceil(4));
        self.dares = true;
    }

    /// Tries all.
    pub(super) fn set_free(&mut self) {
        self.rate = 0;
    }

    fn judge(&mut self, seen: u16, said: u16, now: Tick, tick_rate: u16) {
        let lag = self.clock.wrapping_sub(self.marked_at);
        let allowed = self.allowed(tick_rate);
        match self.stage {
            Stage::Free | Stage::Alone if is_reached(seen, self.mark) => {
                self.waits = false;
                self.least[0] = self.least[0].min(u8::try_from(lag).unwrap_or(u8::MAX));
                let is_late = self.stage == Stage::Alone && lag > allowed;
                self.stage = Stage::Free;
                if is_late {
                    self.thin(lag - self.least(tick_rate), now, tick_rate);
                } else if self.is_thin() {
                    self.measure(lag.saturating_sub(self.least(tick_rate)));
                }
            }
            Stage::Free if lag > allowed => self.stage = Stage::Late,
            Stage::Late if self.is_thin() && is_reached(seen, said) => {
                (self.stage, self.waits) = (Stage::Free, false);
                let rate = self.rate;
                self.thin(lag.saturating_sub(self.least(tick_rate)), now, tick_rate);
                // If that was a pause, it carries much more than it seems.
                self.rate = self.rate.clamp(rate.div_ceil(2), rate);
            }
            Stage::Late if !self.is_thin() && is_reached(seen, self.mark) => {
                if is_reached(seen, said) {
                    (self.stage, self.waits) = (Stage::Alone, false);
                } else {
                    let [behind, all] = [seen, self.mark.wrapping_sub(1)].map(|from| said.wrapping_sub(from));
                    let bytes = self.sent.wrapping_sub(self.before);
                    let bytes = u64::from(bytes) * u64::from(behind) / u64::from(all.max(1));
                    self.before = self.sent.wrapping_sub(bytes as u32);
                    (self.stage, self.mark, self.marked_at) = (Stage::Drains, seen, self.clock);
                }
            }
            Stage::Drains if is_reached(seen, said) => {
                (self.stage, self.waits) = (Stage::Alone, false);
                if lag > said.wrapping_sub(self.mark) {
                    self.stage = Stage::Free;
                    self.thin(lag, now, tick_rate);
                }
            }
            _ => {}
        }
    }

    /// What is said of since the mark took so many ticks.
    fn thin(&mut self, took: u16, now: Tick, tick_rate: u16) {
        let bytes = self.sent.wrapping_sub(self.before);
        self.rate = u16::try_from(bytes / u32::from(took.max(1))).unwrap_or(u16::MAX).max(1);
        (self.calm, self.found) = (0, (self.found + 1).min(FOUND_MAX));
        self.note_overflow(now, tick_rate);
    }

    /// The mark took a thin connection so many ticks: if it was large that says what it carries. A link may let pass at once what it
    /// saved before.
    fn measure(&mut self, took: u16) {
        // An input may come a tick or two after what it says was seen.
        let took = took.saturating_sub(1).max(1);
        let usual = u32::from(self.rate) * LARGE_TICKS_MIN;
        let bytes = u32::from(self.bytes);
        let least = bytes.saturating_sub(usual) / u32::from(took);
        let most = bytes / u32::from(took);
        let rate = match u32::from(self.rate) {
            _ if bytes < usual => return,
            rate if most < rate => rate.midpoint(most),
            rate if bytes > 2 * usual && least > rate => least.min(4 * rate),
            _ => return,
        };
        self.rate = u16::try_from(rate).unwrap_or(u16::MAX).max(1);
    }

    fn must_wait(&self, said: Tick, now: Tick, tick_rate: u16) -> bool {
        let speaks = low(now).wrapping_sub(self.spoke) < tick_rate / SPEAKS_PART;
        let may_wait = now.since(said) < u32::from(tick_rate) * PAUSE_SECONDS_MAX;
        let waits = match self.stage {
            Stage::Free => !is_reached(low(now), self.next),
            Stage::Late | Stage::Drains | Stage::Alone => self.waits && speaks,
        };
        waits && may_wait
    }

    /// How many ticks after a message an input may still not know it.
    fn allowed(&self, tick_rate: u16) -> u16 {
        let bytes = self.sent.wrapping_sub(self.before);
        let ticks = bytes.checked_div(self.rate.into()).unwrap_or(0);
        self.least(tick_rate) + (tick_rate / LATE_PART).max(1) + ticks.min(u32::from(tick_rate)) as u16
    }

    fn least(&self, tick_rate: u16) -> u16 {
        u16::from(self.least[0].min(self.least[1])).min(tick_rate * DELAY_SECONDS_MAX)
    }

    /// The player's own time: ticks, of which those of a silence count only as far as it is usual between two inputs.
    fn clock_at(&self, now: Tick, tick_rate: u16) -> u16 {
        let silence = low(now).wrapping_sub(self.spoke);
        self.clock.wrapping_add(silence.min((tick_rate / SILENCE_PART).max(1)))
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
        if self.calm < CALM_MIN << self.found.saturating_sub(1) {
            return false;
        }
        self.calm = 0;
        self.found = self.found.saturating_sub(1);
        self.patience = PATIENCE_MIN;
        true
    }
}

fn low(tick: Tick) -> u16 {
    tick.0 as u16
}

/// Whether `now` is `tick` or later, of two ticks that lie close together.
fn is_reached(now: u16, tick: u16) -> bool {
    now.wrapping_sub(tick) as i16 >= 0
}

/// So much later than usual is late: a fifth of a second.
const LATE_PART: u16 = 5;

/// More than a second is never usual, or a queue that stands long enough would be.
const DELAY_SECONDS_MAX: u16 = 1;

/// A sixth of a second without a word is usual; of a longer silence the rest does not count. It is less than what is late, so that a
/// silence alone makes nobody late.
const SILENCE_PART: u16 = 6;
const _: () = assert!(SILENCE_PART > LATE_PART);

/// Who has not spoken for half a second is not judged by what it said before.
const SPEAKS_PART: u16 = 2;

/// A message takes a thin connection three tenths of a second at most, and not so many ticks that the next finds some of the deltas
/// gone; half of that, unless there was a pause before it or a cell is new to the player.
const TICKS_MAX: u32 = BATCHES_KEPT as u32 - 2;

/// A message that takes so many ticks is large.
const LARGE_TICKS_MIN: u32 = 4;

/// What is usual is the least of so many seconds, or up to twice as many.
const STRETCH_SECONDS: u32 = 4;

/// So many seconds until a further cell is tried. Each time that less had to be said they are twice as many.
const PATIENCE_MIN: u8 = 1;
const PATIENCE_MAX: u8 = 32;

/// So many stretches have to be in time before more is tried, twice as many each time that it was found thin again.
const CALM_MIN: u8 = 8;
const FOUND_MAX: u8 = 4;

/// Nobody goes without a message for longer because of what its inputs say.
const PAUSE_SECONDS_MAX: u32 = 5;

#[cfg(test)]
mod tests;
