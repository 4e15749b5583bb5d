//! What came of a hostile run, for people and for programs.
//!
//! The names in the JSON stay; new ones may be added.

use super::kind::{Kind, Promise};
use super::tally::{Count, Tally, Verdict};
use crate::run::Plan;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// All that is reported.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether each kind got what a server owes it.
    pub passed: bool,
    /// Peers that were asked for.
    pub bots: u32,
    /// How long it went on, the ramp included.
    pub seconds: f64,
    /// Connects that were begun.
    pub connects_per_s: f64,
    /// Bytes that were handed to sockets.
    pub bytes_out_per_s: f64,
    /// The swarm's own CPU time.
    pub cpu_percent: f64,
    /// The kinds that took part.
    pub kinds: Vec<KindReport>,
    /// What was asked for, so that the run can be repeated, and of which version.
    pub version: &'static str,
    /// See `version`.
    pub url: String,
    /// See `version`.
    pub seed: u64,
}

/// What came of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct KindReport {
    /// Which.
    pub kind: &'static str,
    /// `ok`, `too short` (the run, to see what is owed) or `broken`.
    pub verdict: &'static str,
    /// Why it is broken.
    pub why: String,
    /// Peers.
    pub peers: u64,
    /// Connects that were begun, and those that succeeded.
    pub connects: u64,
    /// See `connects`.
    pub connected: u64,
    /// Answers with status 101.
    pub upgraded: u64,
    /// Welcomes.
    pub joined: u64,
    /// Bytes handed to sockets, and bytes that arrived.
    pub bytes_out: u64,
    /// See `bytes_out`.
    pub bytes_in: u64,
    /// How lives ended, and how often.
    pub endings: BTreeMap<String, u64>,
    /// Endings as they are owed.
    pub as_owed: u64,
    /// Endings for want of room.
    pub turned_away: u64,
    /// What was not owed.
    pub wrong: u64,
    /// The first of them.
    pub wrong_spelt: Vec<String>,
    /// Peers that were connected at the end.
    pub open: u64,
}

impl Report {
    /// What came of a run of this length.
    pub fn new(plan: &Plan, tally: &Tally, took: Duration, cpu: Duration) -> Report {
        let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
        let sum = |of: fn(&Count) -> u64| tally.counts().map(|(_, count)| of(count)).sum::<u64>() as f64;
        let kinds: Vec<_> = tally.counts().map(|(kind, count)| KindReport::new(kind, count, took)).collect();
        Report {
            passed: kinds.iter().all(|kind| kind.verdict != BROKEN),
            bots: plan.bots,
            seconds: round(seconds),
            connects_per_s: round(sum(|count| count.connects) / seconds),
            bytes_out_per_s: round(sum(|count| count.bytes_out) / seconds),
            cpu_percent: round(100.0 * cpu.as_secs_f64() / seconds),
            kinds,
            version: env!("CARGO_PKG_VERSION"),
            url: plan.url.clone(),
            seed: plan.settings.seed,
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, strings and maps of them always encode") + "\n"
    }

    /// The report for people; the last line is the verdict.
    pub fn to_text(&self, colored: bool) -> String {
        let mut text = format!(
            "{:<18}{:>7}{:>10}{:>10}{:>8}{:>10}{:>7}  {:<10}{}\n",
            "kind", "peers", "connects", "upgraded", "joined", "KiB out", "open", "verdict", "ended"
        );
        text.extend(self.kinds.iter().map(KindReport::to_line));
        text += &format!("{:<18}{} peers, {:.1} s\n", "hostile", self.bots, self.seconds);
        text += &format!(
            "{:<18}{:.0} connects/s, {:.0} bytes/s\n",
            "out", self.connects_per_s, self.bytes_out_per_s
        );
        text += &format!("{:<18}{:.0} %\n", "own CPU", self.cpu_percent);
        for kind in &self.kinds {
            text.extend(kind.wrong_spelt.iter().map(|wrong| format!("  wrong: {}: {wrong}\n", kind.kind)));
        }
        let paint = |code: &str, what: &str| {
            if colored { format!("\x1b[{code}m{what}\x1b[0m") } else { what.to_string() }
        };
        let failures = self.failures();
        text += &match failures.is_empty() {
            true => paint("32", "passed") + &self.too_short(),
            false => format!("{}: {}", paint("31", "failed"), failures.join("; ")),
        };
        text + "\n"
    }

    /// Why the run has not passed; empty if it has.
    fn failures(&self) -> Vec<String> {
        let broken = self.kinds.iter().filter(|kind| kind.verdict == BROKEN);
        broken.map(|kind| format!("{}: {}", kind.kind, kind.why)).collect()
    }

    fn too_short(&self) -> String {
        let kinds: Vec<_> = self.kinds.iter().filter(|kind| kind.verdict == TOO_SHORT).collect();
        if kinds.is_empty() {
            return String::new();
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.kind).collect();
        format!(", but the run was too short to see the end of: {}", names.join(", "))
    }
}

impl KindReport {
    fn new(kind: Kind, count: &Count, took: Duration) -> KindReport {
        let (verdict, why) = match count.verdict(kind, took > time_needed(kind)) {
            Verdict::Kept => ("ok", String::new()),
            Verdict::TooShort => (TOO_SHORT, String::new()),
            Verdict::Broken(why) => (BROKEN, why),
        };
        KindReport {
            kind: kind.name(),
            verdict,
            why,
            peers: count.peers,
            connects: count.connects,
            connected: count.connected,
            upgraded: count.upgraded,
            joined: count.joined,
            bytes_out: count.bytes_out,
            bytes_in: count.bytes_in,
            endings: count.endings.iter().map(|(ending, count)| (ending.to_string(), *count)).collect(),
            as_owed: count.as_owed,
            turned_away: count.turned_away,
            wrong: count.wrong.count,
            wrong_spelt: count.wrong.spelt.clone(),
            open: count.open,
        }
    }

    fn to_line(&self) -> String {
        let mut endings: Vec<_> = self.endings.iter().collect();
        endings.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let endings: Vec<_> = endings.iter().map(|(ending, count)| format!("{count} × {ending}")).collect();
        let line = format!(
            "{:<18}{:>7}{:>10}{:>10}{:>8}{:>10}{:>7}  {:<10}{}",
            self.kind,
            self.peers,
            self.connects,
            self.upgraded,
            self.joined,
            self.bytes_out / 1024,
            self.open,
            self.verdict,
            endings.join(", ")
        );
        format!("{}\n", line.trim_end())
    }
}

/// A run that is longer has seen what this kind is owed, unless that did not come.
fn time_needed(kind: Kind) -> Duration {
    let promise = super::attack::Attack { kind, case: 0, input_fields: 0 }.promise();
    let within = if promise == Promise::Plays { Some(super::kind::DEADLINE) } else { promise.within() };
    within.unwrap_or_default() + super::kind::AT_ONCE
}

/// Three digits behind the point say more than enough.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

const BROKEN: &str = "broken";
const TOO_SHORT: &str = "too short";

#[cfg(test)]
mod tests {
    use super::super::kind::Ending;
    use super::*;

    fn report(seconds: u64, change: impl FnOnce(&mut Tally)) -> Report {
        let plan = Plan { bots: 4, checked: 0, ..Plan::sample() };
        let mut tally = Tally::new();
        let silent = tally.of(Kind::Silent);
        (silent.peers, silent.connects, silent.connected, silent.bytes_out) = (4, 40, 40, 4096);
        change(&mut tally);
        Report::new(&plan, &tally, Duration::from_secs(seconds), Duration::from_secs(1))
    }

    fn ended(tally: &mut Tally) {
        let silent = tally.of(Kind::Silent);
        silent.as_owed = 3;
        silent.endings = [(Ending::Status(408), 3)].into();
    }

    fn last_line(report: &Report) -> String {
        report.to_text(false).lines().last().unwrap().to_string()
    }

    #[test]
    fn a_kind_that_ended_as_it_is_owed_passes_and_stands_in_both_reports() {
        let report = report(40, ended);
        assert_eq!(last_line(&report), "passed");
        let line = report.to_text(false).lines().nth(1).unwrap().to_string();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["silent", "4", "40", "0", "0", "4", "0", "ok", "3", "×", "status", "408"]);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["passed"], true);
        assert_eq!(json["connects_per_s"], 1.0);
        assert_eq!(json["cpu_percent"], 2.5);
        assert_eq!(json["kinds"].as_array().unwrap().len(), 1, "only those that took part");
        let kind = &json["kinds"][0];
        assert_eq!((&kind["kind"], &kind["verdict"]), (&"silent".into(), &"ok".into()));
        assert_eq!(kind["endings"]["status 408"], 3);
    }

    #[test]
    fn a_kind_that_never_had_what_it_is_owed_fails_if_there_was_time() {
        let long = report(40, |_| {});
        assert!(!long.passed);
        assert_eq!(last_line(&long), "failed: silent: never had what it is owed");
        let short = report(5, |_| {});
        assert!(short.passed);
        assert_eq!(last_line(&short), "passed, but the run was too short to see the end of: silent");
    }

    #[test]
    fn what_was_wrong_is_spelt_out() {
        let report = report(40, |tally| {
            ended(tally);
            tally.of(Kind::Silent).wrong.add(|| "close 1011".to_string());
        });
        assert_eq!(last_line(&report), "failed: silent: 1 of close 1011");
        assert!(report.to_text(false).contains("\n  wrong: silent: close 1011\n"));
        assert_eq!(
            report.to_text(true).lines().last().unwrap(),
            "\x1b[31mfailed\x1b[0m: silent: 1 of close 1011"
        );
    }
}
