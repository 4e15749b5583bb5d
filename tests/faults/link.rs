//! One player behind a link that damages what comes through it.

use std::collections::VecDeque;
use std::fmt;

use tickyard::game::Random;
use tickyard::net::fanout::Hearing;
use tickyard_protocol::fields::Shapes;
use tickyard_protocol::repair::{Mender, Repair, RepairWhy, Told};
use tickyard_protocol::replica::{HeldCell, Replica};
use tickyard_protocol::types::CellId;

use crate::surgery::{Fault, deltas};

pub struct Link {
    pub hearing: Hearing,
    pub witness: Replica,
    pub victim: Replica,
    mender: Mender,
    shapes: Shapes,
    random: Random,
    /// Ticks that a message takes, and that a repair takes.
    pub down: u32,
    pub up: u32,
    /// Composed messages on their way, and when they arrive.
    coming: VecDeque<(u32, Vec<u8>)>,
    /// Repairs on their way, and when they arrive.
    pub asking: VecDeque<(u32, Repair)>,
    wound: Option<Wound>,
    /// No fault before this tick.
    rests_until: u32,
    pub tally: Tally,
}

/// A fault that was done and is not healed.
struct Wound {
    fault: Fault,
    cell: Option<CellId>,
    done: u32,
    /// Deltas of the cell that came since, until it was found.
    publications: u32,
    found: Option<(u32, Found)>,
}

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The message was refused: the client would close and join anew.
    Malformed,
    /// A block did not fit.
    Misfit,
    /// A sum differed.
    Sum,
    /// A check differed.
    Check,
    /// The same world came of it.
    Harmless,
    /// What was wrong went by itself before it was due to be found: the cell left the view, or the rows became right.
    Passed,
    /// Only text differs, which no sum covers.
    Text,
    /// Nobody noticed.
    Never,
}

impl Link {
    pub fn new(shapes: Shapes, seed: u64) -> Link {
        let mut random = Random::new(seed);
        let replica = Replica::new(shapes.clone());
        Link {
            hearing: Hearing::default(),
            witness: replica.clone(),
            victim: replica,
            mender: Mender::default(),
            shapes,
            down: random.below(3),
            up: random.below(3),
            random,
            coming: VecDeque::new(),
            asking: VecDeque::new(),
            wound: None,
            rests_until: 0,
            tally: Tally::default(),
        }
    }

    /// A message was composed.
    pub fn send(&mut self, now: u32, message: Vec<u8>) {
        self.coming.push_back((now + self.down, message));
    }

    /// What arrives by now is heard.
    pub fn hear(&mut self, now: u32) {
        while let Some((_, message)) = self.coming.pop_front_if(|(due, _)| *due <= now) {
            self.witness.apply(&message[1..], &mut ()).expect("what was composed is well formed");
            self.hear_one(now, message);
        }
        assert_eq!((self.witness.counts().violations, self.witness.counts().desyncs), (0, 0));
        self.judge(now);
    }

    fn hear_one(&mut self, now: u32, mut message: Vec<u8>) {
        if let Some(wound) = self.wound.as_mut().filter(|wound| wound.found.is_none()) {
            wound.publications +=
                deltas(&message).iter().filter(|&&cell| Some(cell) == wound.cell).count() as u32;
        }
        if self.wound.is_none() && now >= self.rests_until && self.victim.view().len() > 1 {
            self.damage(now, &mut message);
        }
        let Some(content) = message.get(1..) else { return };
        if self.victim.apply(content, &mut ()).is_err() {
            return self.close(now, Found::Malformed);
        }
        let told = Told {
            tick: self.victim.header().tick,
            view: self.victim.view_was_told(),
            complete: self.victim.view_is_complete(),
        };
        let found = self.victim.take_mismatch();
        if let Some(repair) = self.mender.heard(told, found) {
            let wound = self.wound.as_mut().expect("nothing is found where nothing is wrong");
            let how = match repair.why {
                RepairWhy::Misfit => Found::Misfit,
                RepairWhy::Sum => Found::Sum,
                RepairWhy::Check => Found::Check,
            };
            // One fault at a time, and none in the answer. A view that changes meanwhile can look like the answer, and then it is asked
            // for once more.
            self.rests_until = now + self.down + self.up + 3;
            wound.found.get_or_insert((now, how));
            self.asking.push_back((now + self.up + 1, repair));
        }
    }

    /// What is seldom possible is tried first, half of the time.
    fn damage(&mut self, now: u32, message: &mut Vec<u8>) {
        let seldom = [Fault::DropView, Fault::DropSnapshot, Fault::DropLeave][self.random.below(3) as usize];
        let any = Fault::ALL[self.random.below(Fault::ALL.len() as u32) as usize];
        let faults = if self.random.below(2) == 0 { [seldom, any] } else { [any, any] };
        for fault in faults {
            if let Some(cell) = fault.apply(message, &self.shapes, &mut self.random) {
                self.wound = Some(Wound { fault, cell, done: now, publications: 0, found: None });
                return;
            }
        }
    }

    /// Is it healed, or overdue?
    fn judge(&mut self, now: u32) {
        let Some(wound) = &self.wound else { return };
        let (same, same_but_text) = (self.is_same(false), self.is_same(true));
        match wound.found {
            None if same => {
                let outcome = if wound.done == now { Found::Harmless } else { Found::Passed };
                self.close(now, outcome);
            }
            None if same_but_text && now - wound.done > FOUND_TICKS_MAX => self.close(now, Found::Text),
            None => {
                if now - wound.done > FOUND_TICKS_MAX {
                    println!("{:?} in {:?} at {}, not found by {now}", wound.fault, wound.cell, wound.done);
                    let [ours, theirs] = [&self.victim, &self.witness].map(shown);
                    let lone = |one: &[(u32, Vec<i32>)], other: &[(u32, Vec<i32>)]| {
                        one.iter().filter(|entity| !other.contains(entity)).cloned().collect::<Vec<_>>()
                    };
                    println!("  shown here alone: {:?}", lone(&ours, &theirs));
                    println!("  not shown here: {:?}", lone(&theirs, &ours));
                    self.close(now, Found::Never);
                }
            }
            Some((found, how)) => {
                if same {
                    assert!(
                        wound.publications <= 16,
                        "{:?}: {} publications",
                        wound.fault,
                        wound.publications
                    );
                    self.close(now, how);
                } else {
                    let round_trip = self.down + self.up;
                    assert!(
                        now - found < round_trip + 2,
                        "{:?} was not healed in {} ticks",
                        wound.fault,
                        now - found
                    );
                }
            }
        }
    }

    fn close(&mut self, now: u32, outcome: Found) {
        let Some(wound) = self.wound.take() else { panic!("{outcome:?} without a fault") };
        let waited = wound.found.map_or(0, |(found, _)| found - wound.done);
        self.tally.note(wound.fault, outcome, waited);
        if matches!(outcome, Found::Malformed | Found::Text | Found::Never) {
            self.victim = self.witness.clone();
            self.mender = Mender::default();
        }
        self.rests_until = self.rests_until.max(now + 2 + self.random.below(12));
    }

    fn is_same(&self, but_for_text: bool) -> bool {
        let view = |replica: &Replica| replica.view().to_vec();
        view(&self.victim) == view(&self.witness)
            && cells(&self.victim, but_for_text) == cells(&self.witness, but_for_text)
            && shown(&self.victim) == shown(&self.witness)
    }
}

fn cells(replica: &Replica, but_for_text: bool) -> Vec<HeldCell> {
    let mut cells = replica.cells().to_vec();
    if but_for_text {
        cells.iter_mut().flat_map(|cell| &mut cell.members).for_each(|member| member.statics = "".into());
    }
    cells
}

fn shown(replica: &Replica) -> Vec<(u32, Vec<i32>)> {
    let mut shown: Vec<_> =
        replica.entities().map(|entity| (entity.id.word(), entity.row.to_vec())).collect();
    shown.sort_unstable();
    shown
}

/// What became of all faults, by fault and outcome.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: [[u32; OUTCOMES.len()]; Fault::ALL.len()],
    /// The longest time until one was found, in ticks.
    waited_most: [u32; OUTCOMES.len()],
}

impl Tally {
    fn note(&mut self, fault: Fault, outcome: Found, waited: u32) {
        self.counts[fault as usize][outcome as usize] += 1;
        let most = &mut self.waited_most[outcome as usize];
        *most = waited.max(*most);
    }

    pub fn add(&mut self, other: &Tally) {
        for (row, others) in self.counts.iter_mut().zip(&other.counts) {
            row.iter_mut().zip(others).for_each(|(count, more)| *count += more);
        }
        self.waited_most
            .iter_mut()
            .zip(&other.waited_most)
            .for_each(|(most, other)| *most = (*most).max(*other));
    }

    pub fn of(&self, fault: Fault, outcome: Found) -> u32 {
        self.counts[fault as usize][outcome as usize]
    }

    /// Those that were to be found.
    pub fn harmful(&self, fault: Fault) -> u32 {
        let found = [Found::Malformed, Found::Misfit, Found::Sum, Found::Check, Found::Never];
        found.into_iter().map(|outcome| self.of(fault, outcome)).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{:>14}", "")?;
        OUTCOMES.iter().try_for_each(|outcome| write!(out, "{:>11}", format!("{outcome:?}")))?;
        for fault in Fault::ALL {
            write!(out, "\n{:>14}", format!("{fault:?}"))?;
            OUTCOMES.iter().try_for_each(|&outcome| write!(out, "{:>11}", self.of(fault, outcome)))?;
        }
        write!(out, "\n{:>14}", "ticks at most")?;
        self.waited_most.iter().try_for_each(|ticks| write!(out, "{ticks:>11}"))
    }
}

const OUTCOMES: [Found; 8] = [
    Found::Malformed,
    Found::Misfit,
    Found::Sum,
    Found::Check,
    Found::Harmless,
    Found::Passed,
    Found::Text,
    Found::Never,
];

/// 16 publications of a cell that publishes at each tick; a client that is told nothing hears a check with its heartbeats.
const FOUND_TICKS_MAX: u32 = 40;
