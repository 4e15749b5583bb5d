//! A token bucket for messages and one for bytes: what a player may send.

use crate::time::Time;

/// What a player has left to send.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    messages: Bucket,
    bytes: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In millionths, so that a microsecond's refill is a whole number.
    left_micro: u64,
    filled: Time,
}

impl Rate {
    /// Full buckets.
    pub fn new(now: Time) -> Rate {
        let full = |burst: u64| Bucket { left_micro: burst * MICRO, filled: now };
        Rate { messages: full(MESSAGES_BURST), bytes: full(BYTES_BURST) }
    }

    /// Takes a message of `bytes` out, if it is there.
    pub fn take(&mut self, now: Time, bytes: usize) -> bool {
        self.messages.take(now, 1, MESSAGES_PER_S, MESSAGES_BURST)
            && self.bytes.take(now, bytes as u64, BYTES_PER_S, BYTES_BURST)
    }
}

impl Bucket {
    fn take(&mut self, now: Time, amount: u64, per_s: u64, burst: u64) -> bool {
        let micros = now.since(self.filled).as_micros() as u64;
        self.filled = now;
        self.left_micro = (self.left_micro.saturating_add(micros.saturating_mul(per_s))).min(burst * MICRO);
        let Some(left) = self.left_micro.checked_sub(amount * MICRO) else { return false };
        self.left_micro = left;
        true
    }
}

/// 60 inputs a second, pings, chat and as much again for bursts.
const MESSAGES_PER_S: u64 = 150;
/// What a stalled network may deliver at once.
const MESSAGES_BURST: u64 = 600;
const BYTES_PER_S: u64 = 32 * 1024;
const BYTES_BURST: u64 = 128 * 1024;
const MICRO: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let mut now = Time::from_secs(1);
        let mut rate = Rate::new(now);
        assert!((0..MESSAGES_BURST).all(|_| rate.take(now, 10)));
        assert!(!rate.take(now, 10));
        now = now + Duration::from_secs(1);
        assert!((0..MESSAGES_PER_S).all(|_| rate.take(now, 10)));
        assert!(!rate.take(now, 10));
    }

    #[test]
    fn bytes_are_counted_too() {
        let now = Time::from_secs(1);
        let mut rate = Rate::new(now);
        assert!((0..8).all(|_| rate.take(now, 16 * 1024)));
        assert!(!rate.take(now, 1));
    }
}
