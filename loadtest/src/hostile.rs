//! Peers that misbehave: what they do, how a server answers, and whether that is what it owes them.
//!
//! [`run`] sends a mix of all [`Kind`]s, or some of them. A [`peer`] is a machine without a socket that lives many lives: it connects,
//! behaves for as long as its kind does, strikes with the next [`attack`], and comes back some seconds after it was closed. It [`heard`]
//! what the server said; the [`tally`] counts it; the [`report`] says which kinds got what they are owed, so that a run judges the server.
//! The [`crowd`] owns the sockets.
//!
//! The same seed means the same attacks in the same order for each peer; what happens between peers is up to the clock.

mod attack;
mod crowd;
mod heard;
mod kind;
mod peer;
mod report;
mod tally;

pub use kind::Kind;
pub use report::Report;

use crate::measure::cpu_time;
use crate::progress::Progress;
use crate::run::Plan;
use crowd::Crowd;
use peer::Peer;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Does it all. `Err`: nobody answers at that address, or the system refuses something; says what to do.
pub fn run(
    plan: &Plan,
    kinds: &[Kind],
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<Report, String> {
    let refused = |error| format!("the system refuses: {error}");
    let mut crowd = Crowd::new(plan.target.clone()).map_err(refused)?;
    let start = crowd.now();
    let settings = Rc::new(plan.settings.clone());
    for (number, &kind) in (0..plan.bots).zip(kinds.iter().cycle()) {
        let wait = plan.ramp.mul_f64(f64::from(number) / f64::from(plan.bots));
        crowd.add(Peer::new(&settings, number, kind, start + wait));
    }
    let (end, cpu) = (start + plan.ramp + plan.steady, cpu_time());
    while crowd.now() < end && !interrupted.load(Ordering::Relaxed) {
        crowd.turn().map_err(refused)?;
        if let Some(broken) = crowd.broken.take() {
            return Err(broken);
        }
        let now = crowd.now();
        if progress.is_due(now) {
            progress.show_line(now, &say(&crowd));
        }
    }
    let took = crowd.now().since(start);
    crowd.stop();
    // Whoever ends it early, with ctrl-C or beside another run, gets the report so far.
    let cpu = cpu_time().saturating_sub(cpu);
    Ok(Report::new(plan, &crowd.tally, took, cpu))
}

fn say(crowd: &Crowd) -> String {
    let of = |count: fn(&tally::Count) -> u64| crowd.tally.counts().map(|(_, kind)| count(kind)).sum::<u64>();
    format!(
        "hostile {:>6} alive {:>8} connects {:>8} ended as they should {:>5} wrong",
        crowd.alive(),
        of(|count| count.connects),
        of(|count| count.as_owed),
        of(|count| count.wrong.count)
    )
}
