//! One line a second on stderr, so that nobody wonders whether anything happens.

use crate::measure::Tally;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tickyard::time::Time;

const EVERY: Duration = Duration::from_secs(1);

/// Shows how a run goes. On a terminal each line replaces the one before.
pub struct Progress {
    terminal: bool,
    next: Time,
    messages_in: u64,
    messages_out: u64,
}

impl Progress {
    /// To stderr.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Progress { terminal, next: Time::ZERO + EVERY, messages_in: 0, messages_out: 0 }
    }

    /// Whether it is time for a line.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.next
    }

    /// Shows a line.
    pub fn show(&mut self, now: Time, phase: &str, playing: usize, tally: &Tally) {
        let line = format!(
            "{phase:<7} {playing:>6} playing {:>8} in/s {:>7} out/s  p99 {:>7.1} ms  errors {}  violations {}",
            tally.traffic.messages_in - self.messages_in,
            tally.traffic.messages_out - self.messages_out,
            tally.groups.whole.input_to_state.quantile(0.99).as_secs_f64() * 1e3,
            tally.errors.count(),
            tally.violations.count
        );
        self.messages_in = tally.traffic.messages_in;
        self.messages_out = tally.traffic.messages_out;
        self.show_line(now, &line);
    }

    /// Shows a line that says this.
    pub fn show_line(&mut self, now: Time, what: &str) {
        self.next = now + EVERY;
        let seconds = now.as_micros() as f64 / 1e6;
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Not `eprint!`, which panics when nobody reads stderr.
        let _ = write!(std::io::stderr(), "{before}{seconds:6.1} s  {what}{after}");
    }

    /// Leaves the terminal as it was found.
    pub fn finish(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
