//! The result, for people and for programs.
//!
//! The names in the JSON stay; new ones may be added. Times are milliseconds, rates are per second.

use crate::group::{AGAIN_MAX, Group};
use crate::measure::{Delays, SPELT_MAX};
use crate::run::{Outcome, Plan};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// All that is reported.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether all connected, nothing failed, nothing was violated, and the run is valid.
    pub passed: bool,
    /// Bots that were asked for.
    pub bots: u32,
    /// Bots that were in the game when the measurement began.
    pub connected: u64,
    /// Connections that failed or ended before their time.
    pub errors: u64,
    /// Rules of the protocol that the server broke.
    pub violations: u64,
    /// Whether the figures say something about the server.
    pub valid: bool,
    /// Bots that kept a world and compared it.
    pub checked: u32,
    /// How long was measured.
    pub seconds: f64,
    /// The share of the ticks with news that were heard in time, by those who read all.
    pub delivered_ratio: f64,
    /// Each one's own share.
    pub delivered_per_bot: PerBot,
    /// From the time at which a connect was due to the welcome.
    pub handshake_ms: Quantiles,
    /// From the time at which an input was due to the first state that has it.
    pub input_to_state_ms: Quantiles,
    /// How old the state was that a bot held, each time it was due to send.
    pub staleness_ms: Quantiles,
    /// From the time at which a ping was due to its pong.
    pub ping_ms: Quantiles,
    /// How late the swarm's own sends were.
    pub loop_lag_ms: Quantiles,
    /// How long what it read may have waited for it, at most.
    pub read_lag_ms: Quantiles,
    /// Messages that arrived.
    pub messages_in_per_s: f64,
    /// Bytes that arrived, frame headers and all.
    pub bytes_in_per_s: f64,
    /// Messages that were sent.
    pub messages_out_per_s: f64,
    /// Bytes that were sent, frame headers and all.
    pub bytes_out_per_s: f64,
    /// Bytes that checked bots received, for each visible row that changed.
    pub bytes_per_change: f64,
    /// Entities in a checked bot's view, on average.
    pub entities_in_view: f64,
    /// The swarm's own CPU time.
    pub cpu_percent: f64,
    /// The same for each message that arrived.
    pub cpu_us_per_message: f64,
    /// Bots that left while it was measured, and for whom others came.
    pub left: u64,
    /// Bots that stopped reading now and then, if there were any.
    pub slow_readers: Option<SlowReport>,
    /// Bots that read half of what came, if there were any.
    pub half_readers: Option<SlowReport>,
    /// Rooms that bots were in.
    pub rooms: usize,
    /// Ticks a second as the rooms say, and as they came.
    pub tick_rate: u32,
    /// See `tick_rate`.
    pub ticks_per_s: f64,
    /// Tick messages that said something about the world, and ticks with news that were not heard in time.
    pub heard: u64,
    /// See `heard`.
    pub missed: u64,
    /// Inputs that were not sent because the socket took no bytes.
    pub skipped_sends: u64,
    /// Inputs that no state ever had.
    pub unanswered: u64,
    /// Cell sums that differed, and all that were compared.
    pub desyncs: u64,
    /// Repairs that bots asked for, because their worlds were not the server's.
    pub repairs: u64,
    /// See `desyncs`.
    pub sums_checked: u64,
    /// Messages, blocks and classes that were skipped because nobody here knows them.
    pub unknown: u64,
    /// The comparison at the end.
    pub agreement: AgreementReport,
    /// Why connections failed, and how often.
    pub error_reasons: BTreeMap<String, u64>,
    /// How the server closed connections, and how often.
    pub closes: BTreeMap<String, u64>,
    /// The first violations.
    pub violations_spelt: Vec<String>,
    /// Why the run is not valid.
    pub invalid_reasons: Vec<String>,
    /// What was asked for, so that the run can be repeated, and of which version.
    pub version: &'static str,
    /// See `version`.
    pub url: String,
    /// See `version`.
    pub seed: u64,
    /// See `version`.
    pub game: String,
}

/// Of each bot's own share of what it should have heard.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerBot {
    /// The least.
    pub min: f64,
    /// One bot in a hundred has no more.
    pub p1: f64,
    /// Half of them have no more.
    pub p50: f64,
}

/// Bots that read less than what came.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SlowReport {
    /// How many there were.
    pub bots: u64,
    /// Of these, those whom the server never told that it had skipped something.
    pub never_skipped: u64,
    /// How often they stopped reading.
    pub stops: u64,
    /// From when one read on to a complete view as of a later moment.
    pub again_ms: Quantiles,
    /// How often that took more than a second.
    pub late_again: u64,
    /// How old the state was that they held.
    pub staleness_ms: Quantiles,
    /// From the time at which an input was due to the first state that has it.
    pub input_to_state_ms: Quantiles,
    /// The share of the ticks with news that they heard in time.
    pub delivered_ratio: f64,
}

impl SlowReport {
    fn new(group: &Group) -> Option<Self> {
        (group.bots > 0).then(|| SlowReport {
            bots: group.bots,
            never_skipped: group.never_skipped,
            stops: group.stops,
            again_ms: Quantiles::new(&group.again),
            late_again: group.late_again,
            staleness_ms: Quantiles::new(&group.staleness),
            input_to_state_ms: Quantiles::new(&group.input_to_state),
            delivered_ratio: group.delivery.ratio(),
        })
    }

    fn in_words(&self) -> String {
        format!(
            "{} bots, {} of them never skipped; {} stops, agreed again after p99 {:.1} ms, max {:.1} ms; staleness p95 {:.1} ms; \
             {:.1} % delivered",
            self.bots,
            self.never_skipped,
            self.stops,
            self.again_ms.p99,
            self.again_ms.max,
            self.staleness_ms.p95,
            100.0 * self.delivered_ratio
        )
    }
}

/// What was compared at rest.
#[derive(Clone, Debug, Serialize)]
pub struct AgreementReport {
    /// Bots whose worlds were compared with fresh snapshots.
    pub bots: u64,
    /// Fresh connections whose worlds were compared with the bots'.
    pub observers: u64,
    /// Pairs of cells.
    pub cells: u64,
    /// Pairs of entities.
    pub entities: u64,
    /// Pairs of fields.
    pub fields: u64,
    /// Differences.
    pub differences: u64,
    /// Cells that changed while they were compared.
    pub disturbed: u64,
}

/// A distribution of delays in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// All.
    pub max: f64,
    /// How many there were.
    pub count: u64,
}

impl Quantiles {
    fn new(delays: &Delays) -> Self {
        let quantile = |quantile| millis(delays.quantile(quantile));
        Quantiles {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: millis(delays.max()),
            count: delays.count(),
        }
    }
}

impl Report {
    /// What came of a plan.
    pub fn new(plan: &Plan, outcome: &Outcome) -> Report {
        let tally = &outcome.tally;
        let (traffic, agreement, whole) = (&tally.traffic, &tally.agreement, &tally.groups.whole);
        let seconds = tally.seconds();
        let per_second = |count: u64| round(ratio(count as f64, seconds));
        let mut report = Report {
            passed: false,
            bots: plan.bots,
            connected: outcome.connected,
            errors: tally.errors.count(),
            violations: tally.violations.count,
            valid: outcome.invalid.is_empty(),
            checked: plan.checked,
            seconds: round(seconds),
            delivered_ratio: whole.delivery.ratio(),
            delivered_per_bot: PerBot {
                min: whole.ratio_quantile(0.0),
                p1: whole.ratio_quantile(0.01),
                p50: whole.ratio_quantile(0.5),
            },
            handshake_ms: Quantiles::new(&tally.handshake),
            input_to_state_ms: Quantiles::new(&whole.input_to_state),
            staleness_ms: Quantiles::new(&whole.staleness),
            ping_ms: Quantiles::new(&tally.ping),
            loop_lag_ms: Quantiles::new(&tally.lag),
            read_lag_ms: Quantiles::new(&tally.read_lag),
            messages_in_per_s: per_second(traffic.messages_in),
            bytes_in_per_s: per_second(traffic.bytes_in),
            messages_out_per_s: per_second(traffic.messages_out),
            bytes_out_per_s: per_second(traffic.bytes_out),
            bytes_per_change: round(ratio(traffic.checked_bytes_in as f64, traffic.rows_changed as f64)),
            entities_in_view: round(ratio(traffic.in_view as f64, traffic.views as f64)),
            cpu_percent: round(100.0 * ratio(outcome.cpu.as_secs_f64(), seconds)),
            cpu_us_per_message: round(ratio(outcome.cpu.as_secs_f64() * 1e6, traffic.messages_in as f64)),
            left: tally.left,
            slow_readers: SlowReport::new(&tally.groups.slow),
            half_readers: SlowReport::new(&tally.groups.half),
            rooms: tally.rooms.len(),
            tick_rate: tally.tick_rate,
            ticks_per_s: round(outcome.ticks_per_second),
            heard: whole.delivery.heard,
            missed: whole.delivery.missed,
            skipped_sends: tally.skipped_sends,
            unanswered: tally.unanswered,
            desyncs: tally.desyncs,
            repairs: tally.repairs,
            sums_checked: tally.sums_checked,
            unknown: tally.unknown,
            agreement: AgreementReport {
                bots: agreement.bots,
                observers: agreement.observers,
                cells: agreement.cells,
                entities: agreement.entities,
                fields: agreement.fields,
                differences: agreement.differences,
                disturbed: agreement.disturbed,
            },
            error_reasons: tally.errors.0.clone(),
            closes: tally.closes.0.clone(),
            violations_spelt: tally.violations.spelt.clone(),
            invalid_reasons: outcome.invalid.clone(),
            version: env!("CARGO_PKG_VERSION"),
            url: plan.url.clone(),
            seed: plan.settings.seed,
            game: plan.settings.game.clone(),
        };
        report.passed = report.failures().is_empty();
        report
    }

    /// Why the run has not passed; empty if it has.
    pub fn failures(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.connected < u64::from(self.bots) {
            why.push(format!(
                "{} of {} bots did not get in",
                u64::from(self.bots) - self.connected,
                self.bots
            ));
        }
        if self.errors > 0 {
            why.push(format!("{} errors", self.errors));
        }
        if self.violations > 0 {
            why.push(format!("{} violations", self.violations));
        }
        if let Some(slow) = self.slow_readers.filter(|slow| slow.late_again > 0) {
            why.push(format!(
                "{} times of {} a slow reader did not agree again within {} s",
                slow.late_again,
                slow.again_ms.count,
                AGAIN_MAX.as_secs()
            ));
        }
        if !self.valid {
            why.push(format!("not a valid run: {}", self.invalid_reasons.join("; ")));
        }
        why
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, strings and maps of them always encode") + "\n"
    }

    /// The report for people; the last line is the verdict.
    pub fn to_text(&self, colored: bool) -> String {
        let mut text = String::new();
        self.write_delays(&mut text);
        self.write_counts(&mut text);
        self.write_reasons(&mut text);
        let failures = self.failures();
        let paint = |code: &str, what: &str| {
            if colored { format!("\x1b[{code}m{what}\x1b[0m") } else { what.to_string() }
        };
        let verdict = match failures.is_empty() {
            true => paint("32", "passed"),
            false => format!("{}: {}", paint("31", "failed"), failures.join("; ")),
        };
        text + &verdict + "\n"
    }

    fn write_delays(&self, text: &mut String) {
        let names = ["p50", "p90", "p95", "p99", "p99.9", "max"];
        text.push_str(&format!("{:<16}", "milliseconds"));
        text.extend(names.map(|name| format!("{name:>10}")));
        text.push('\n');
        for (name, of) in [
            ("handshake", self.handshake_ms),
            ("input to state", self.input_to_state_ms),
            ("staleness", self.staleness_ms),
            ("ping", self.ping_ms),
            ("own loop lag", self.loop_lag_ms),
            ("own read lag", self.read_lag_ms),
        ] {
            text.push_str(&format!("{name:<16}"));
            let values = [of.p50, of.p90, of.p95, of.p99, of.p999, of.max];
            text.extend(values.map(|value| format!("{value:>10.2}")));
            text.push('\n');
        }
    }

    fn write_counts(&self, text: &mut String) {
        let mut line = |name: &str, what: String| text.push_str(&format!("{name:<16} {what}\n"));
        line(
            "bots",
            format!(
                "{} of {} connected, {} checked, {:.1} s",
                self.connected, self.bots, self.checked, self.seconds
            ),
        );
        line(
            "delivered",
            format!("{:.3} % ({} heard, {} missed)", 100.0 * self.delivered_ratio, self.heard, self.missed),
        );
        let PerBot { min, p1, p50 } = self.delivered_per_bot;
        line(
            "by bot",
            format!("least {:.3} %, p1 {:.3} %, p50 {:.3} %", 100.0 * min, 100.0 * p1, 100.0 * p50),
        );
        for (name, slow) in [("slow readers", self.slow_readers), ("half readers", self.half_readers)] {
            if let Some(slow) = slow {
                line(name, slow.in_words());
            }
        }
        if self.left > 0 {
            line("churn", format!("{} left, and others came for them", self.left));
        }
        line("ticks", format!("{:.2}/s of {}/s", self.ticks_per_s, self.tick_rate));
        line("in", format!("{:.0} messages/s, {:.0} bytes/s", self.messages_in_per_s, self.bytes_in_per_s));
        line(
            "out",
            format!("{:.0} messages/s, {:.0} bytes/s", self.messages_out_per_s, self.bytes_out_per_s),
        );
        line(
            "bytes per change",
            format!("{:.2}, with {:.1} entities in view", self.bytes_per_change, self.entities_in_view),
        );
        line("own CPU", format!("{:.0} %, {:.2} us a message", self.cpu_percent, self.cpu_us_per_message));
        line(
            "sums",
            format!("{} compared, {} differed, {} repairs", self.sums_checked, self.desyncs, self.repairs),
        );
        let at_rest = &self.agreement;
        line(
            "agreement",
            format!(
                "{} bots, {} newcomers: {} cells, {} entities, {} fields compared, {} differed",
                at_rest.bots,
                at_rest.observers,
                at_rest.cells,
                at_rest.entities,
                at_rest.fields,
                at_rest.differences
            ),
        );
        line("skipped sends", format!("{}, unanswered inputs {}", self.skipped_sends, self.unanswered));
        line("errors", self.errors.to_string());
        line("violations", self.violations.to_string());
    }

    fn write_reasons(&self, text: &mut String) {
        for (reason, count) in self.error_reasons.iter().take(SPELT_MAX) {
            text.push_str(&format!("  error: {count} x {reason}\n"));
        }
        for violation in &self.violations_spelt {
            text.push_str(&format!("  violation: {violation}\n"));
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Three digits behind the point say more than enough.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Life;
    use crate::measure::{Delivery, Tally};
    use tickyard::time::Time;

    /// Two bots for ten seconds, and nothing wrong.
    fn outcome() -> Outcome {
        let mut tally = Tally::new();
        tally.welcomed(Time::ZERO, Time::from_micros(2_500), 20);
        tally.open(Time::from_secs(1));
        tally.received(6_000, true, true);
        tally.traffic.rows_changed = 1_500;
        tally.traffic.messages_in = 400;
        (tally.traffic.in_view, tally.traffic.views) = (9_000, 200);
        let whole = &mut tally.groups.whole;
        for missed in [0, 1] {
            whole.add(Life { delivery: Delivery { heard: 200 - missed, missed }, ..Life::default() }, 20);
        }
        whole.input_to_state.record(Duration::from_millis(30));
        whole.staleness.record(Duration::from_millis(40));
        tally.close(Time::from_secs(11));
        let cpu = Duration::from_millis(500);
        Outcome { tally, connected: 2, invalid: vec![], cpu, ticks_per_second: 20.0 }
    }

    #[test]
    fn the_names_that_programs_read_are_there_with_their_numbers() {
        let json: serde_json::Value =
            serde_json::from_str(&Report::new(&Plan::sample(), &outcome()).to_json()).unwrap();
        for (name, number) in [
            ("bots", 2.0),
            ("connected", 2.0),
            ("errors", 0.0),
            ("violations", 0.0),
            ("checked", 1.0),
            ("seconds", 10.0),
            ("delivered_ratio", 0.9975),
            ("messages_in_per_s", 40.0),
            ("bytes_in_per_s", 600.0),
            ("messages_out_per_s", 0.0),
            ("bytes_out_per_s", 0.0),
            ("bytes_per_change", 4.0),
            ("entities_in_view", 45.0),
            ("cpu_percent", 5.0),
            ("cpu_us_per_message", 1250.0),
            ("left", 0.0),
        ] {
            assert_eq!(json[name].as_f64(), Some(number), "{name}");
        }
        assert_eq!((json["valid"].as_bool(), json["passed"].as_bool()), (Some(true), Some(true)));
        assert_eq!(
            [&json["delivered_per_bot"]["min"], &json["delivered_per_bot"]["p50"], &json["slow_readers"]],
            [&0.995.into(), &0.995.into(), &serde_json::Value::Null]
        );
        for name in ["handshake_ms", "input_to_state_ms", "staleness_ms", "read_lag_ms"] {
            for quantile in ["p50", "p90", "p99", "p999", "max"] {
                assert!(json[name][quantile].is_number(), "{name}.{quantile}");
            }
        }
        assert!((29.9..30.1).contains(&json["input_to_state_ms"]["p50"].as_f64().unwrap()));
    }

    #[test]
    fn the_last_line_is_the_verdict() {
        let verdict = |outcome: &Outcome| {
            let text = Report::new(&Plan::sample(), outcome).to_text(false);
            text.lines().last().unwrap().to_string()
        };
        assert_eq!(verdict(&outcome()), "passed");
        let mut failed = outcome();
        failed.connected = 1;
        failed.tally.errors.add("closed".into());
        failed.tally.violations.add(|| "wrong".into());
        failed.invalid.push("too slow".into());
        assert_eq!(
            verdict(&failed),
            "failed: 1 of 2 bots did not get in; 1 errors; 1 violations; not a valid run: too slow"
        );
    }

    #[test]
    fn people_see_the_percentiles_and_the_first_reasons() {
        let mut failed = outcome();
        failed.tally.errors.add("playing: closed with 1013".into());
        failed.tally.violations.add(|| "bot 7: the sum of a cell differs".into());
        let text = Report::new(&Plan::sample(), &failed).to_text(true);
        assert!(
            text.starts_with(
                "milliseconds           p50       p90       p95       p99     p99.9       max\n"
            )
        );
        assert!(text.contains("input to state       30."), "{text}");
        assert!(text.contains("  error: 1 x playing: closed with 1013\n"));
        assert!(text.contains("  violation: bot 7: the sum of a cell differs\n"));
        assert!(text.contains("\x1b[31mfailed\x1b[0m: "));
    }
}
