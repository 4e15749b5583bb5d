//! What is counted in the window that is measured.

use std::time::Duration;

use serde_json::{Value, json};
use tickyard_compare::{INPUT_RATE, TICK_RATE};

/// Counts of the window.
#[derive(Debug, Default)]
pub struct Figures {
    /// State messages that came.
    pub messages: u64,
    /// Their bytes, frames included.
    pub bytes: u64,
    /// From when an input was due to the first message that has it.
    pub latency: Histogram,
    /// From when an input was due to when it was sent.
    pub lag: Histogram,
}

/// Durations in steps of 10 µs, up to 10 s.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; STEPS], total: 0 }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, micros: u64) {
        self.counts[(micros / STEP_MICROS).min(STEPS as u64 - 1) as usize] += 1;
        self.total += 1;
    }

    /// The shortest duration that so many of 1,000 do not exceed, in milliseconds.
    pub fn permille(&self, permille: u64) -> f64 {
        let wanted = (self.total * permille).div_ceil(1000);
        let mut below = 0;
        let at = self.counts.iter().position(|&count| {
            below += u64::from(count);
            below >= wanted
        });
        (at.unwrap_or_default() as u64 * STEP_MICROS) as f64 / 1000.0
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }
}

const STEP_MICROS: u64 = 10;
const STEPS: usize = 1_000_000;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// In user mode and in the kernel.
    pub cpu: Duration,
    /// Resident memory.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of a process.
    pub fn of(pid: u32) -> Result<Usage, String> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}; is the server gone?"))
        };
        let (stat, statm) = (read("stat")?, read("statm")?);
        // The name of the program may have blanks.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let ticks = number(fields.get(11)) + number(fields.get(12));
        let pages: Vec<&str> = statm.split_whitespace().collect();
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
            rss_bytes: number(pages.get(1)) * rustix::param::page_size() as u64,
        })
    }
}

/// What was measured, and of what.
#[derive(Debug)]
pub struct Report {
    /// How many players.
    pub clients: usize,
    /// How long the window was.
    pub window: Duration,
    /// What came.
    pub figures: Figures,
    /// Ticks at which a player was told nothing because there was nothing to tell.
    pub silent: u64,
    /// Ticks of all players: messages that should have come, but for silence.
    pub expected: u64,
    /// Of the server: before anybody came, at the beginning and at the end of the window.
    pub server: [Usage; 3],
    /// The generator's own CPU time in the window.
    pub own_cpu: Duration,
    /// Connections that ended.
    pub lost: usize,
    /// Inputs that the kernel did not take at once.
    pub unsent: usize,
}

impl Report {
    /// As JSON. `invalid` says why the figures do not count.
    pub fn to_json(&self) -> Value {
        let Figures { messages, bytes, latency, lag } = &self.figures;
        let [idle, begin, end] = self.server;
        let own_cpu = self.own_cpu.as_secs_f64() / self.window.as_secs_f64();
        let cpu = (end.cpu - begin.cpu).as_secs_f64();
        let per_message = |amount: f64| amount / (*messages).max(1) as f64;
        // Both counts are of the same seconds.
        let sent = lag.total() as f64 / (self.expected * INPUT_RATE as u64 / TICK_RATE as u64) as f64;
        let reasons = [
            (own_cpu >= CPU_MAX, format!("the generator used {:.0} % of its core", own_cpu * 100.0)),
            (lag.permille(990) > LAG_MILLIS_MAX, format!("it sent {:.1} ms late (p99)", lag.permille(990))),
            (self.lost > 0, format!("{} connections were lost", self.lost)),
            (sent < INPUTS_MIN, format!("only {:.0} % of the inputs went out", sent * 100.0)),
            (self.unsent > 0, format!("{} inputs did not go out", self.unsent)),
        ];
        let invalid: Vec<&String> =
            reasons.iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect();
        json!({
            "clients": self.clients,
            "seconds": self.window.as_secs_f64(),
            "messages": messages,
            "silent": self.silent,
            "delivered": (messages + self.silent) as f64 / self.expected as f64,
            "bytes_per_message": per_message(*bytes as f64),
            "inputs": latency.total(),
            "p50_ms": latency.permille(500),
            "p99_ms": latency.permille(990),
            "server_cpu": cpu / self.window.as_secs_f64(),
            "cpu_us_per_message": per_message(cpu * 1e6),
            "rss_kib_per_connection": end.rss_bytes.saturating_sub(idle.rss_bytes) as f64 / 1024.0 / self.clients as f64,
            "generator_cpu": own_cpu,
            "generator_lag_p99_ms": lag.permille(990),
            "invalid": invalid,
        })
    }
}

/// Of the inputs that are due; jitter moves a few in or out of the window.
const INPUTS_MIN: f64 = 0.98;
/// Above this the generator is a part of what is measured.
const CPU_MAX: f64 = 0.8;
/// A stall of its core makes all servers look slower, and shows in the report; much more of it says nothing about any.
const LAG_MILLIS_MAX: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_fell_behind_says_so() {
        let mut report = Report {
            clients: 50,
            window: Duration::from_secs(1),
            figures: Figures { messages: 1000, ..Figures::default() },
            silent: 0,
            expected: 1000,
            server: [Usage::default(); 3],
            own_cpu: Duration::ZERO,
            lost: 0,
            unsent: 0,
        };
        assert_eq!(report.to_json()["invalid"], json!(["only 0 % of the inputs went out"]));
        (0..495).for_each(|_| report.figures.lag.add(100));
        assert_eq!(report.to_json()["invalid"], json!([]));
        (0..5).for_each(|_| report.figures.lag.add(30_000));
        assert_eq!(report.to_json()["invalid"], json!([]));
        report.figures.lag.add(30_000);
        assert_eq!(report.to_json()["invalid"], json!(["it sent 30.0 ms late (p99)"]));
        report.lost = 1;
        assert_eq!(report.to_json()["invalid"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|millis| histogram.add(millis * 1000));
        assert_eq!(histogram.permille(500), 500.0);
        assert_eq!(histogram.permille(990), 990.0);
        histogram.add(u64::MAX);
        assert_eq!(histogram.permille(1000), 9999.99);
        assert_eq!(Histogram::default().permille(990), 0.0);
    }
}
