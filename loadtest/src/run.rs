//! A run from the first connect to the last close, phase by phase.
//!
//! ```text
//! ramp ─► steady ─► settle ─► compare ─► gather ─► settle ─► leave
//!         measured  at rest   snapshots  newcomers their worlds
//! ```
//! Every phase ends by a condition, or by a deadline that says what was missing.

use crate::behaviour::{Mix, Way};
use crate::bot::{Bot, Part, Settings};
use crate::check::Pair;
use crate::churn::Churn;
use crate::measure::{LAG_P99_MAX, Tally, cpu_time};
use crate::player::Player;
use crate::progress::Progress;
use crate::record::{RECORDED_BOT, Recording};
use crate::rooms::{Newest, Room};
use crate::swarm::Swarm;
use crate::target::Target;
use crate::world::World;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tickyard::time::Time;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to, as it was asked for.
    pub url: String,
    /// Where that is.
    pub target: Target,
    /// How many bots.
    pub bots: u32,
    /// How many of them keep a world and compare it.
    pub checked: u32,
    /// How they play.
    pub mix: Mix,
    /// How many of them leave a second, and others come for them.
    pub churn: Option<u32>,
    /// Over how long the connects are spread.
    pub ramp: Duration,
    /// How long to measure, after the ramp.
    pub steady: Duration,
    /// Whether to keep what one bot hears.
    pub record: bool,
    /// What all bots share.
    pub settings: Settings,
}

#[cfg(test)]
impl Plan {
    /// Two bots for ten seconds.
    pub fn sample() -> Plan {
        Plan {
            url: "ws://127.0.0.1:7070/play".into(),
            target: Target::parse("ws://127.0.0.1:7070/play", None, None).unwrap(),
            bots: 2,
            checked: 1,
            mix: Mix::default(),
            churn: None,
            ramp: Duration::from_secs(1),
            steady: Duration::from_secs(10),
            record: false,
            settings: Settings {
                host: "h".into(),
                target: "/".into(),
                game: "arena".into(),
                seed: 9,
                deflate: false,
            },
        }
    }
}

/// What came out, beside the tally.
pub struct Outcome {
    /// What was measured.
    pub tally: Tally,
    /// Bots that were in the game when the measurement began.
    pub connected: u64,
    /// Why the run says nothing about the server.
    pub invalid: Vec<String>,
    /// CPU time used in the measurement.
    pub cpu: Duration,
    /// Ticks a second, as they came.
    pub ticks_per_second: f64,
}

/// The room is at rest when nothing has changed for this many ticks, and for as long as [`REST_MIN`].
const REST_TICKS: u32 = 10;
const REST_MIN: Duration = Duration::from_millis(500);

/// A step looks at all bots, so not every turn has one.
const STEP_EVERY: Duration = Duration::from_millis(20);

/// How often it is found out how much one who reads all reads.
const PACE_EVERY: Duration = Duration::from_secs(1);

const SETTLE_MAX: Duration = Duration::from_secs(10);
const COMPARE_MAX: Duration = Duration::from_secs(10);
const GATHER_MAX: Duration = Duration::from_secs(30);
/// Longer than a bot waits for the answer to its close.
const LEAVE_MAX: Duration = Duration::from_secs(6);

/// Fresh connections whose worlds are compared with the others', room by room.
const OBSERVERS: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ramp { until: Time },
    Steady { until: Time },
    Settle { until: Time, observed: bool },
    Compare { until: Time },
    Gather { until: Time },
    Leave { until: Time },
    Done,
}

struct Run<'a> {
    plan: &'a Plan,
    swarm: Swarm,
    phase: Phase,
    ramp_end: Time,
    connected: u64,
    invalid: Vec<String>,
    cpu: Duration,
    churn: Option<Churn>,
    /// When the stream was measured last, and how much had been read then.
    paced: (Time, u64),
    /// The newest ticks and the time when the measurement began.
    opened: (Newest, Time),
    ticks_per_second: f64,
}

/// Does it all. `Err`: nobody answers at that address, or the system refuses something; says what to do.
pub fn run(plan: &Plan, interrupted: &AtomicBool, progress: &mut Progress) -> Result<Outcome, String> {
    let refused = |error| format!("the system refuses: {error}");
    let swarm = Swarm::new(plan.target.clone(), plan.settings.clone()).map_err(refused)?;
    let ramp_end = swarm.now() + plan.ramp;
    let mut run = Run {
        plan,
        swarm,
        phase: Phase::Ramp { until: ramp_end + GATHER_MAX },
        ramp_end,
        connected: 0,
        invalid: Vec::new(),
        cpu: Duration::ZERO,
        churn: None,
        paced: (Time::ZERO, 0),
        opened: (Newest::default(), Time::ZERO),
        ticks_per_second: 0.0,
    };
    run.swarm.tally.recording = plan.record.then(Recording::default);
    run.add_bots();
    let mut step_at = Time::ZERO;
    while run.phase != Phase::Done {
        run.swarm.turn().map_err(refused)?;
        if let Some(broken) = run.swarm.broken.take() {
            return Err(broken);
        }
        if interrupted.load(Ordering::Relaxed) {
            run.interrupt();
        }
        let now = run.swarm.now();
        if now >= step_at {
            step_at = now + STEP_EVERY;
            run.step();
        }
        if progress.is_due(now) {
            progress.show(now, run.phase.name(), run.playing(), &run.swarm.tally);
        }
    }
    Ok(run.outcome())
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Ramp { .. } => "ramp",
            Phase::Steady { .. } => "steady",
            Phase::Settle { .. } => "settle",
            Phase::Compare { .. } => "compare",
            Phase::Gather { .. } => "gather",
            Phase::Leave { .. } | Phase::Done => "leave",
        }
    }
}

impl Run<'_> {
    /// Connects are spread evenly over the ramp, and those that are checked over all bots; the slow ones are checked first.
    fn add_bots(&mut self) {
        let (bots, now) = (self.plan.bots, self.swarm.now());
        let ways: Vec<Way> = self.plan.mix.ways().take(bots as usize).collect();
        let slow = ways.iter().filter(|way| way.is_slow()).count() as u64;
        let all = [slow, u64::from(bots) - slow];
        let slow_checked = slow.min(u64::from(self.plan.checked));
        let checked = [slow_checked, u64::from(self.plan.checked) - slow_checked];
        let mut seen = [0, 0];
        for (number, way) in (0..bots).zip(ways) {
            let kind = usize::from(!way.is_slow());
            let checked_before = |seen: u64| seen * checked[kind] / all[kind];
            let is_checked = checked_before(seen[kind] + 1) > checked_before(seen[kind]);
            seen[kind] += 1;
            let wait = self.plan.ramp.mul_f64(f64::from(number) / f64::from(bots));
            self.swarm.add(now + wait, Part { way, checked: is_checked, ..Part::default() });
        }
    }

    fn step(&mut self) {
        let now = self.swarm.now();
        self.pace(now);
        self.churn(now);
        match self.phase {
            Phase::Ramp { until } if now >= self.ramp_end && !self.is_joining(now, until) => self.open(now),
            Phase::Steady { until } if now >= until || self.playing() == 0 => self.close(now),
            Phase::Settle { until, observed } => self.settle(now, until, observed),
            Phase::Compare { until } => self.compare(now, until),
            Phase::Gather { until } if !self.is_joining(now, until) => {
                self.phase = Phase::Settle { until: now + SETTLE_MAX, observed: true };
            }
            Phase::Leave { until } if now >= until || self.swarm.bots().all(Bot::is_ended) => {
                self.phase = Phase::Done;
            }
            _ => {}
        }
    }

    /// How much one who reads all reads: what a half reader has half of.
    fn pace(&mut self, now: Time) {
        let (since, read) = self.paced;
        if now.since(since) < PACE_EVERY {
            return;
        }
        let readers = self.swarm.bots().filter(|bot| bot.player().is_some() && !bot.part().way.is_slow());
        let readers = readers.count().max(1) as f64;
        let traffic = &mut self.swarm.tally.traffic;
        traffic.stream = (traffic.whole_bytes - read) as f64 / now.since(since).as_secs_f64() / readers;
        self.paced = (now, traffic.whole_bytes);
    }

    /// Lets those leave whose turn it is. The slow ones stay, to be seen agreeing again, and so does who is recorded.
    fn churn(&mut self, now: Time) {
        let (Some(churn), true) = (&mut self.churn, self.swarm.tally.is_open()) else { return };
        loop {
            let may = |place: usize| {
                let bot = self.swarm.bot(place);
                let Part { number, way, .. } = *bot.part();
                bot.player().is_some() && !way.is_slow() && number != RECORDED_BOT
            };
            let Some(place) = churn.take(now, self.plan.bots as usize, may) else { return };
            self.swarm.replace(place);
        }
    }

    fn open(&mut self, now: Time) {
        self.churn = self.plan.churn.map(|per_second| Churn::new(per_second, now));
        self.connected = self.swarm.tally.connected;
        self.opened = (self.newest(), now);
        self.swarm.tally.open(now);
        self.cpu = cpu_time();
        self.phase = Phase::Steady { until: now + self.plan.steady };
    }

    fn close(&mut self, now: Time) {
        let newest = self.newest();
        let (opened_at, opened) = &self.opened;
        self.ticks_per_second = newest.since(opened_at) / now.since(*opened).as_secs_f64();
        self.cpu = cpu_time().saturating_sub(self.cpu);
        let (bots, tally) = self.swarm.bots_mut();
        tally.close(now);
        for player in bots.filter_map(Bot::player_mut) {
            if let Some(newest) = newest.of(player.room()) {
                player.end_window(newest, tally);
            }
            player.stop();
        }
        self.phase = Phase::Settle { until: now + SETTLE_MAX, observed: false };
        if !self.swarm.bots().any(|bot| bot.part().checked && bot.player().is_some()) {
            self.leave(now);
        }
    }

    fn settle(&mut self, now: Time, until: Time, observed: bool) {
        let rest = REST_MIN.max(Duration::from_secs(1) * REST_TICKS / self.swarm.tally.tick_rate);
        let all_done = !self.swarm.bots().any(Bot::is_joining)
            && self.players().all(|player| player.is_stopped() && player.is_complete());
        if all_done && now.since(self.swarm.tally.changed_at) >= rest {
            if observed { self.compare_observers(now) } else { self.freeze(now) }
        } else if now >= until {
            let stopped = self.players().filter(|player| player.is_stopped()).count();
            let complete = self.players().filter(|player| player.is_complete()).count();
            let all = self.players().count();
            self.invalid.push(format!(
                "the room did not come to rest within {SETTLE_MAX:?} (of {all} bots {stopped} have stopped and {complete} have \
                 all of their view), so worlds could not be compared: is somebody else playing?"
            ));
            self.leave(now);
        }
    }

    fn freeze(&mut self, now: Time) {
        let newest = self.newest();
        let (bots, tally) = self.swarm.bots_mut();
        tally.agreement.begin(newest);
        for world in bots.filter_map(Bot::player_mut).filter_map(Player::world_mut) {
            world.freeze(tally);
            tally.agreement.bots += 1;
        }
        self.phase = Phase::Compare { until: now + COMPARE_MAX };
    }

    fn compare(&mut self, now: Time, until: Time) {
        let awaited: usize = self.players().filter_map(Player::world).map(World::awaited).sum();
        if awaited > 0 && now < until {
            return;
        }
        let tally = &mut self.swarm.tally;
        if awaited > 0 {
            tally
                .violations
                .add(|| format!("{awaited} snapshots that were asked for did not come in {COMPARE_MAX:?}"));
        }
        tally.agreement.judge(&mut tally.violations);
        let mut rooms: Vec<Room> =
            self.players().filter(|player| player.world().is_some()).map(Player::room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        for (observer, &room) in (0..OBSERVERS.min(self.plan.checked)).zip(rooms.iter().cycle()) {
            let id = self.swarm.tally.rooms.id(room);
            self.swarm.add_visitor(now + Duration::from_millis(50) * observer, id);
        }
        self.phase = Phase::Gather { until: now + GATHER_MAX };
    }

    fn compare_observers(&mut self, now: Time) {
        let newest = self.newest();
        let (bots, tally) = self.swarm.bots_mut();
        let all: Vec<&Bot> = bots.map(|bot| &*bot).collect();
        let (residents, observers) = all.split_at(self.plan.bots as usize);
        tally.agreement.begin(newest);
        for observer in observers {
            let Some(visitor) = observer.player() else { continue };
            let (room, Some(told)) = (visitor.room(), visitor.world()) else { continue };
            tally.agreement.observers += 1;
            let beside = |player: &&Player| player.room() == room;
            for resident in residents {
                let Some(world) = resident.player().filter(beside).and_then(Player::world) else { continue };
                let who = format_args!(
                    "bot {} against newcomer {}",
                    resident.part().number,
                    observer.part().number
                );
                for cell in told.replica().cells() {
                    let Some(held) = world.replica().cell(cell.cell) else { continue };
                    tally.agreement.compare(&Pair { who: &who, room, held, told: cell, kinds: told.kinds() });
                }
            }
        }
        tally.agreement.judge(&mut tally.violations);
        self.leave(now);
    }

    fn leave(&mut self, now: Time) {
        let tally = &mut self.swarm.tally;
        if self.plan.checked > 0 && tally.agreement.fields == 0 && self.invalid.is_empty() {
            tally.violations.add(|| "no field of any world was compared".to_string());
        }
        self.say_good_bye(now);
    }

    fn say_good_bye(&mut self, now: Time) {
        self.finish_recording();
        self.swarm.tally.close(now);
        self.swarm.leave();
        self.phase = Phase::Leave { until: now + LEAVE_MAX };
    }

    fn finish_recording(&mut self) {
        let (bots, tally) = self.swarm.bots_mut();
        let mut recorded =
            bots.filter(|bot| bot.part().number == RECORDED_BOT).filter_map(|bot| bot.player()?.world());
        if let (Some(recording), Some(world)) = (&mut tally.recording, recorded.next()) {
            recording.finish(world.replica(), world.shapes());
        }
    }

    fn interrupt(&mut self) {
        if matches!(self.phase, Phase::Leave { .. } | Phase::Done) {
            return;
        }
        self.invalid.push(format!("interrupted in phase {}", self.phase.name()));
        let now = self.swarm.now();
        if matches!(self.phase, Phase::Steady { .. }) {
            self.close(now);
        }
        self.say_good_bye(now);
    }

    fn players(&self) -> impl Iterator<Item = &Player> {
        self.swarm.bots().filter_map(Bot::player)
    }

    fn playing(&self) -> usize {
        self.players().count()
    }

    /// Each bot has its own deadline, which waits for a swarm that is behind with reading; `until` does not.
    fn is_joining(&self, now: Time, until: Time) -> bool {
        now < until && self.swarm.bots().any(Bot::is_joining)
    }

    fn newest(&self) -> Newest {
        let mut newest = Newest::default();
        let ticks = self.players().filter_map(|player| Some((player.room(), player.newest()?)));
        ticks.for_each(|(room, tick)| newest.hear(room, tick));
        newest
    }

    fn outcome(mut self) -> Outcome {
        let tally = self.swarm.tally;
        for (group, way) in [(&tally.groups.slow, Way::SlowReader), (&tally.groups.half, Way::HalfReader)] {
            if group.never_skipped > 0 {
                self.invalid.push(format!(
                    "{} of {} of the {}s were never skipped, so they prove nothing: give them more to read (more bots, \
                     crowd), or more time",
                    group.never_skipped,
                    group.bots,
                    way.name()
                ));
            }
        }
        if tally.is_spoiled() {
            let share = 100.0 * self.cpu.as_secs_f64() / tally.seconds().max(f64::MIN_POSITIVE);
            self.invalid.push(format!(
                "sends were late by {:.1} ms (p99), more than {} ms: the swarm itself was too slow, with {share:.0} % of a core; run \
                 fewer bots, give it a core of its own (taskset -c 1 swarm …), or check fewer worlds (--check 100)",
                tally.lag.quantile(0.99).as_secs_f64() * 1e3,
                LAG_P99_MAX.as_millis()
            ));
        }
        Outcome {
            tally,
            connected: self.connected,
            invalid: self.invalid,
            cpu: self.cpu,
            ticks_per_second: self.ticks_per_second,
        }
    }
}
