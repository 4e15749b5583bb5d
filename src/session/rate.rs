//! A WebSocket whose peer may send so many frames and so many bytes: two token buckets.
//!
//! Every frame costs, whatever it is (RFC 6455, 5.4 allows empty fragments, and control frames within a message), and so does every
//! byte as it stood on the wire: no way of slicing makes a flood cheap. A compressed message pays for what it says as well.

use serde::{Deserialize, Serialize};

use super::{End, Phase, Session, Turn};
use crate::close_reason::CloseReason;
use crate::config::limits::{Budget, HEAD_BYTES_MAX, Limits};
use crate::time::Time;
use crate::websocket::{Event, Spent, WebSocket};

/// A WebSocket and what its peer has left to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Metered {
    pub(super) socket: WebSocket,
    rate: Rate,
}

impl Metered {
    /// With full buckets.
    pub(super) fn new(socket: WebSocket, limits: &Limits, now: Time) -> Metered {
        Metered { socket, rate: Rate::new(limits, now) }
    }

    /// Reads what the next event needs, so that it is in the caches; the sum says nothing.
    pub(super) fn fetch(&self) -> usize {
        self.rate.bytes_micro as usize
            ^ self.socket.held_bytes()
            ^ self.socket.is_ended() as usize
            ^ self.socket.may_inflate() as usize
    }

    /// Reads the next event, if the peer may send what that took.
    #[inline(always)]
    pub(super) fn read<'a, 'b: 'a>(
        &'a mut self,
        turn: &mut Turn,
        input: &mut &'b mut [u8],
    ) -> Result<Option<Event<'a>>, End> {
        let (before, mut spent) = (input.len(), Spent::default());
        let event = self.socket.read_counted(input, &mut spent);
        turn.cost += spent.cost;
        let bytes = before - input.len() + spent.inflated;
        let mut pay = || match self.rate.take(&turn.site.limits, turn.now, spent.frames, bytes) {
            true => Ok(()),
            false => Err(End::policy(CloseReason::Rate, "too many messages")),
        };
        match event {
            // As nearly all do, by itself: handed on together with the others it goes through memory in other pieces than it was written
            // in, which waits for all that was written before.
            Ok(Some(Event::Binary(bytes))) => pay().map(|()| Some(Event::Binary(bytes))),
            // Nothing comes after a close, so nobody needs to know what it cost.
            Ok(Some(Event::Close(_))) => Ok(event?),
            Ok(event) => pay().map(|()| event),
            Err(error) => Err(error.into()),
        }
    }
}

/// What came around a request.
pub(super) type Overhead = usize;

impl Session {
    /// Bytes came that say nothing: what TLS has around the others, records that are empty or change keys. They cost what bytes cost; a
    /// request may have as many around it as it may have itself.
    pub fn handle_overhead(&mut self, turn: &mut Turn, bytes: usize) {
        let metered = match &mut self.phase {
            Phase::Request(request) => {
                request.2 += bytes;
                if request.2 > HEAD_BYTES_MAX {
                    self.wrapped_too_much(turn);
                }
                return;
            }
            Phase::Hello(greeting) => &mut greeting.socket,
            Phase::Play(play) => &mut play.socket,
            Phase::Echo(_) | Phase::Parting(..) | Phase::Closing(_) => return,
        };
        if !metered.rate.take(&turn.site.limits, turn.now, 0, bytes) {
            self.end(turn, End::policy(CloseReason::Rate, "too many bytes"));
        }
    }
}

/// What a peer has left to send, in millionths, so that a microsecond's refill is a whole number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rate {
    frames_micro: u64,
    bytes_micro: u64,
    filled: Time,
}

impl Rate {
    fn new(limits: &Limits, now: Time) -> Rate {
        Rate { frames_micro: full(limits.frames), bytes_micro: full(limits.bytes), filled: now }
    }

    /// Takes frames and their bytes out, if they are there.
    fn take(&mut self, limits: &Limits, now: Time, frames: u32, bytes: usize) -> bool {
        let micros = now.since(self.filled).as_micros() as u64;
        self.filled = now;
        let refill = |left: u64, budget: Budget| {
            left.saturating_add(micros.saturating_mul(budget.per_s.into())).min(full(budget))
        };
        let frames_left = refill(self.frames_micro, limits.frames).checked_sub(frames as u64 * MICRO);
        let bytes_left = refill(self.bytes_micro, limits.bytes).checked_sub(bytes as u64 * MICRO);
        let (Some(frames_micro), Some(bytes_micro)) = (frames_left, bytes_left) else { return false };
        (self.frames_micro, self.bytes_micro) = (frames_micro, bytes_micro);
        true
    }
}

fn full(budget: Budget) -> u64 {
    budget.burst as u64 * MICRO
}

const MICRO: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits = Limits {
        handshake_timeout: Duration::ZERO,
        hello_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        ping_interval: None,
        message_bytes_max: 0,
        frames: Budget { per_s: 150, burst: 600 },
        bytes: Budget { per_s: 1000, burst: 8000 },
    };

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let mut now = Time::from_secs(1);
        let mut rate = Rate::new(&LIMITS, now);
        assert!((0..600).all(|_| rate.take(&LIMITS, now, 1, 10)));
        assert!(!rate.take(&LIMITS, now, 1, 0));
        now = now + Duration::from_secs(1);
        assert!((0..150).all(|_| rate.take(&LIMITS, now, 1, 0)));
        assert!(!rate.take(&LIMITS, now, 1, 0));
        now = now + Duration::from_secs(60 * 60 * 24 * 365);
        assert!(rate.take(&LIMITS, now, 600, 0), "a year of silence");
        assert!(!rate.take(&LIMITS, now, 1, 0), "is no more than a burst");
    }

    #[test]
    fn bytes_are_counted_too() {
        let now = Time::from_secs(1);
        let mut rate = Rate::new(&LIMITS, now);
        assert!((0..8).all(|_| rate.take(&LIMITS, now, 0, 1000)));
        assert!(!rate.take(&LIMITS, now, 0, 1));
        assert!(rate.take(&LIMITS, now + Duration::from_millis(1), 0, 1));
    }
}
