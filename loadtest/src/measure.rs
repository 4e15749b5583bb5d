//! What a run measures: plain numbers, added to by bots and by the loop, read by the report.
//!
//! Nothing here looks at a clock. Only what happens while the [`Tally`] is open counts, apart from the handshakes,
//! which belong to the ramp, and from what is wrong, which counts always.

use crate::check::Agreement;
use crate::ear::News;
use crate::group::Groups;
use crate::record::Recording;
use crate::rooms::RoomBook;
use crate::rules::RuleBook;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;
use tickyard::time::Time;

/// How many violations and errors are spelt out; all are counted.
pub const SPELT_MAX: usize = 10;

/// A load generator whose sends are later than this (p99) measures itself.
pub const LAG_P99_MAX: Duration = Duration::from_millis(5);

/// All that was measured.
pub struct Tally {
    window: Window,
    /// From the time at which a connect was due to the welcome.
    pub handshake: Delays,
    /// From the time at which a ping was due to its pong.
    pub ping: Delays,
    /// How late scheduled sends were done.
    pub lag: Delays,
    /// How long what was read may have lain in its socket before.
    pub read_lag: Delays,
    /// What crossed the sockets.
    pub traffic: Traffic,
    /// What bots found, by how they read.
    pub groups: Groups,
    /// Bots that were welcomed.
    pub connected: u64,
    /// Bots that left while others stayed, and who came in their places.
    pub left: u64,
    /// Ticks a second, as the welcome said.
    pub tick_rate: u32,
    /// Connections that failed or ended before their time, by reason.
    pub errors: Reasons,
    /// Close codes and reasons, as the server sent them.
    pub closes: Reasons,
    /// Rules of the protocol that the server broke.
    pub violations: Violations,
    /// Cell sums that differed.
    pub desyncs: u64,
    /// Repairs asked for.
    pub repairs: u64,
    /// Cell sums that were compared.
    pub sums_checked: u64,
    /// Messages, blocks and reliable classes that nobody here knows, and that were skipped.
    pub unknown: u64,
    /// Inputs that were due while the socket took no bytes: not sent.
    pub skipped_sends: u64,
    /// Inputs that no state had by the end.
    pub unanswered: u64,
    /// When the sockets were last read empty: what the server said until then was heard. Nobody is accused of a silence that
    /// is the swarm's own.
    pub read_all_at: Time,
    /// When a checked bot last saw the world change.
    pub changed_at: Time,
    /// The comparison at the end.
    pub agreement: Agreement,
    /// The rooms they were in.
    pub rooms: RoomBook,
    /// What bots were told of the game.
    pub rules: RuleBook,
    /// The cells of the message that is being heard.
    pub news: News,
    /// What [`crate::record::RECORDED_BOT`] hears, if that was asked for.
    pub recording: Option<Recording>,
}

/// When the measurement began and ended.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    opened: Option<Time>,
    closed: Option<Time>,
}

/// What crossed the sockets while the tally was open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Messages that arrived.
    pub messages_in: u64,
    /// Bytes that arrived, frame headers and all.
    pub bytes_in: u64,
    /// Messages that were sent.
    pub messages_out: u64,
    /// Bytes that were sent, frame headers and all.
    pub bytes_out: u64,
    /// Of `bytes_in`, those of checked bots.
    pub checked_bytes_in: u64,
    /// Rows that changed before the eyes of checked bots.
    pub rows_changed: u64,
    /// Entities in the views of checked bots, summed up over `views`.
    pub in_view: u64,
    /// Tick messages after which a view was looked at.
    pub views: u64,
    /// All that those read who read all, also while the tally is not open.
    pub whole_bytes: u64,
    /// What one who reads all reads in a second, of late.
    pub stream: f64,
}

/// Whether bots heard what their views published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    /// Tick messages that said something about the world.
    pub heard: u64,
    /// Ticks at which something was published that came late, in another form, or not at all.
    pub missed: u64,
}

impl Delivery {
    /// The share that was heard in time; 1 when nothing was published.
    pub fn ratio(&self) -> f64 {
        match self.heard + self.missed {
            0 => 1.0,
            all => self.heard as f64 / all as f64,
        }
    }
}

impl Tally {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Tally {
            window: Window::default(),
            handshake: Delays::new(),
            ping: Delays::new(),
            lag: Delays::new(),
            read_lag: Delays::new(),
            traffic: Traffic::default(),
            groups: Groups::default(),
            connected: 0,
            left: 0,
            tick_rate: 20,
            errors: Reasons::default(),
            closes: Reasons::default(),
            violations: Violations::default(),
            desyncs: 0,
            repairs: 0,
            sums_checked: 0,
            unknown: 0,
            skipped_sends: 0,
            unanswered: 0,
            read_all_at: Time::ZERO,
            changed_at: Time::ZERO,
            agreement: Agreement::default(),
            rooms: RoomBook::default(),
            rules: RuleBook::default(),
            news: News::default(),
            recording: None,
        }
    }

    /// The ramp is over: from now on all counts.
    pub fn open(&mut self, now: Time) {
        self.window.opened = Some(now);
    }

    /// Nothing more counts.
    pub fn close(&mut self, now: Time) {
        self.window.closed.get_or_insert(now);
    }

    /// Whether what happens now counts.
    pub fn is_open(&self) -> bool {
        self.window.opened.is_some() && self.window.closed.is_none()
    }

    /// Whether the measurement is over.
    pub fn is_over(&self) -> bool {
        self.window.closed.is_some()
    }

    /// Whether something that was due at `time` counts, even if it is done only now.
    pub fn covers(&self, time: Time) -> bool {
        self.window.opened.is_some_and(|opened| time >= opened)
            && self.window.closed.is_none_or(|closed| time < closed)
    }

    /// How long the measurement took.
    pub fn seconds(&self) -> f64 {
        match (self.window.opened, self.window.closed) {
            (Some(opened), Some(closed)) => closed.since(opened).as_secs_f64(),
            _ => 0.0,
        }
    }

    /// Somebody got in who was to connect at `connect_at`. Newcomers after the measurement are another matter.
    pub fn welcomed(&mut self, connect_at: Time, now: Time, tick_rate: u16) {
        self.connected += 1;
        self.tick_rate = u32::from(tick_rate.max(1));
        if self.window.closed.is_none() {
            self.handshake.record(now.since(connect_at));
        }
    }

    /// Bytes arrived. `whole`: for one who reads all.
    pub fn received(&mut self, bytes: usize, checked: bool, whole: bool) {
        self.traffic.whole_bytes += if whole { bytes as u64 } else { 0 };
        if self.is_open() {
            self.traffic.bytes_in += bytes as u64;
            self.traffic.checked_bytes_in += if checked { bytes as u64 } else { 0 };
        }
    }

    /// Messages were handed to a socket.
    pub fn sent(&mut self, messages: u64, bytes: usize) {
        if self.is_open() {
            self.traffic.messages_out += messages;
            self.traffic.bytes_out += bytes as u64;
        }
    }

    /// Whether the sends were so late that the figures say more about this program than about the server.
    pub fn is_spoiled(&self) -> bool {
        self.lag.quantile(0.99) > LAG_P99_MAX
    }
}

/// A histogram of delays, in microseconds, exact to a tenth of a per cent.
pub struct Delays(Histogram<u64>);

impl Default for Delays {
    fn default() -> Self {
        Delays::new()
    }
}

impl Delays {
    fn new() -> Self {
        Delays(Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are fit for a histogram"))
    }

    /// Adds one.
    pub fn record(&mut self, delay: Duration) {
        self.0.saturating_record(delay.as_micros() as u64);
    }

    /// The delay that a share of `quantile` does not exceed; zero if there is none.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(quantile))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

/// Why something ended, and how often.
#[derive(Clone, Debug, Default)]
pub struct Reasons(pub BTreeMap<String, u64>);

impl Reasons {
    /// Adds one. After a hundred different reasons, new ones are counted together.
    pub fn add(&mut self, reason: String) {
        let reason = printable(&reason);
        let full = self.0.len() >= 100 && !self.0.contains_key(&reason);
        let reason = if full { "other".to_string() } else { reason };
        *self.0.entry(reason).or_default() += 1;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Rules that were broken: all counted, the first ones spelt out.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// How many.
    pub count: u64,
    /// The first ones.
    pub spelt: Vec<String>,
}

impl Violations {
    /// Adds one.
    pub fn add(&mut self, say: impl FnOnce() -> String) {
        self.count += 1;
        if self.spelt.len() < SPELT_MAX {
            self.spelt.push(printable(&say()));
        }
    }
}

/// What a server says may be long, and may be meant for the terminal.
fn printable(text: &str) -> String {
    let shown = text.chars().take(TEXT_CHARS_MAX);
    shown.map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

const TEXT_CHARS_MAX: usize = 300;

/// The CPU time that this process has used.
pub fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_due_while_the_tally_was_open_counts() {
        let mut tally = Tally::new();
        tally.received(10, true, true);
        tally.open(Time::from_secs(1));
        tally.received(100, true, false);
        tally.received(1000, false, true);
        tally.sent(2, 50);
        assert!(tally.covers(Time::from_secs(2)) && !tally.covers(Time::ZERO));
        tally.close(Time::from_secs(3));
        tally.received(7, false, true);
        tally.sent(1, 1);

        assert_eq!((tally.traffic.bytes_in, tally.traffic.checked_bytes_in), (1100, 100));
        assert_eq!(tally.traffic.whole_bytes, 1017);
        assert_eq!((tally.traffic.messages_out, tally.traffic.bytes_out), (2, 50));
        assert!(tally.covers(Time::from_secs(2)) && !tally.covers(Time::from_secs(3)));
        assert_eq!(tally.seconds(), 2.0);
    }

    #[test]
    fn a_run_is_spoiled_when_one_send_in_fifty_is_late() {
        let mut tally = Tally::new();
        (0..980).for_each(|_| tally.lag.record(Duration::from_micros(900)));
        assert!(!tally.is_spoiled());
        (0..20).for_each(|_| tally.lag.record(Duration::from_millis(6)));
        assert!(tally.is_spoiled());
    }

    #[test]
    fn delivery_is_whole_until_something_is_missed() {
        assert_eq!(Delivery::default().ratio(), 1.0);
        assert_eq!(Delivery { heard: 3, missed: 1 }.ratio(), 0.75);
    }

    #[test]
    fn violations_are_all_counted_and_the_first_ones_spelt_out() {
        let mut violations = Violations::default();
        (0..25).for_each(|number| violations.add(|| format!("number {number}")));
        assert_eq!((violations.count, violations.spelt.len()), (25, SPELT_MAX));
        assert_eq!(violations.spelt[0], "number 0");
    }

    #[test]
    fn what_a_server_says_is_shown_in_one_line_of_some_length() {
        let mut reasons = Reasons::default();
        reasons.add("refused: \x1b[2Jgone\r\n".to_string());
        reasons.add("é".repeat(10_000));
        let told: Vec<_> = reasons.0.keys().map(String::as_str).collect();
        assert_eq!(told, ["refused: \u{FFFD}[2Jgone\u{FFFD}\u{FFFD}", &"é".repeat(300)]);
        let mut violations = Violations::default();
        violations.add(|| "a\u{9b}b".to_string());
        assert_eq!(violations.spelt, ["a\u{FFFD}b"]);
    }

    #[test]
    fn reasons_stay_few() {
        let mut reasons = Reasons::default();
        (0..300).for_each(|number| reasons.add(format!("reason {number}")));
        assert_eq!(reasons.count(), 300);
        assert_eq!(reasons.0.len(), 101);
        assert_eq!(reasons.0["other"], 200);
    }
}
