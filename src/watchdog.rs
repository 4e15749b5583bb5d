//! The watchdog: names a thread of which nothing is heard, and has a flight record written when that happens or a tick overruns.
//!
//! [`Silences`] decides who is silent, from signs of life and the time; [`Watchdog`] is the thread that looks, logs and counts.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::flight::{Beat, Doing, Flight, Overrun};
use crate::time::Time;

/// The running watchdog, until this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    thread: Option<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

impl Watchdog {
    /// Starts to watch the threads that have a stopwatch now.
    pub fn start(flight: Arc<Flight>) -> std::io::Result<Watchdog> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let watch = move || run(&flight, &stopped);
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Watchdog { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn run(flight: &Flight, stopped: &Receiver<()>) {
    let tracks = flight.tracks();
    let overruns = flight.overruns();
    let mut silences = Silences::new(flight.now(), tracks.len());
    loop {
        crossbeam_channel::select! {
            recv(stopped) -> _ => return,
            recv(overruns) -> overrun => overrun.iter().for_each(|overrun| report_overrun(flight, overrun)),
            default(LOOK_PERIOD) => {}
        }
        let beats: Vec<Beat> = tracks.iter().map(|track| track.last_beat()).collect();
        for notice in silences.look(flight.now(), &beats) {
            let name = |thread: usize| &*tracks[thread].name;
            let text = notice.text(name, |doing| place(flight, doing));
            tracing::warn!("{text}");
            if let Notice::Silent { thread, .. } = notice {
                flight.metrics().watchdog_silent.inc(tracks[thread].role);
                flight.write_unasked(&text);
            }
        }
    }
}

fn report_overrun(flight: &Flight, overrun: &Overrun) {
    let Overrun { room, took, skipped } = overrun;
    let name = flight.room(*room);
    flight.write_unasked(&format!("a tick of {name} took {took:.1?}, and {skipped} were skipped before it"));
}

/// Where a thread is, for people.
fn place(flight: &Flight, doing: Option<Doing>) -> String {
    match doing {
        Some(Doing { stage, room: Some(room) }) => {
            format!("in the stage {} for {}", stage.name(), flight.room(room))
        }
        Some(Doing { stage, room: None }) => format!("in the stage {}", stage.name()),
        None => "asleep, and should have woken".to_owned(),
    }
}

/// Who is silent, as far as it has been said.
#[derive(Debug)]
pub struct Silences {
    looked: Time,
    /// When the whole process went on after it had stood still: silence before that is nobody's fault.
    went_on: Time,
    /// By thread: since when it is silent, and where.
    silent: Vec<Option<(Time, Option<Doing>)>>,
}

/// What has to be said about silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A thread that was silent goes on.
    Back {
        /// Which.
        thread: usize,
        /// For how long it was silent, about.
        after: Duration,
        /// What it was doing meanwhile; `None`: it was to be woken.
        doing: Option<Doing>,
    },
    /// A thread is silent.
    Silent {
        /// Which.
        thread: usize,
        /// For how long so far.
        silent_for: Duration,
        /// What it is doing; `None`: it was to be woken.
        doing: Option<Doing>,
    },
    /// The watchdog itself could not look for so long: nobody is to blame.
    StoodStill(Duration),
}

impl Silences {
    /// Nobody of so many threads is silent.
    pub fn new(now: Time, threads: usize) -> Silences {
        Silences { looked: now, went_on: now, silent: vec![None; threads] }
    }

    /// Looks at the signs of life of all threads.
    pub fn look(&mut self, now: Time, beats: &[Beat]) -> Vec<Notice> {
        let pause = now.since(std::mem::replace(&mut self.looked, now));
        if pause >= LOOK_PERIOD + SILENT_AFTER {
            // All are late then: they get as long as ever to be heard of.
            self.went_on = now;
            return vec![Notice::StoodStill(pause)];
        }
        let went_on = self.went_on;
        let threads = self.silent.iter_mut().zip(beats).enumerate();
        let notices = threads.filter_map(|(thread, (silent, beat))| {
            let silent_for = beat.due.map_or(Duration::ZERO, |due| now.since(due.max(went_on)));
            match (*silent, silent_for >= SILENT_AFTER) {
                (None, true) => {
                    let doing = beat.doing;
                    *silent = Some((beat.due.unwrap_or(now), doing));
                    Some(Notice::Silent { thread, silent_for, doing })
                }
                (Some((since, doing)), false) => {
                    *silent = None;
                    Some(Notice::Back { thread, after: now.since(since), doing })
                }
                _ => None,
            }
        });
        notices.collect()
    }
}

impl Notice {
    fn text<'a>(&self, name: impl Fn(usize) -> &'a str, place: impl Fn(Option<Doing>) -> String) -> String {
        match *self {
            Notice::Back { thread, after, doing } => {
                format!("{} is back after {after:.1?}: it was {}", name(thread), place(doing))
            }
            Notice::Silent { thread, silent_for, doing } => {
                format!("{} has been silent for {silent_for:.1?}: it is {}", name(thread), place(doing))
            }
            Notice::StoodStill(pause) => {
                format!(
                    "the whole process stood still for {pause:.1?}: it was suspended, or got no processor"
                )
            }
        }
    }
}

/// How often it looks.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// No stage takes this long while all is well.
const SILENT_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bridge::RoomId;
    use crate::stage::Stage;

    const START: Time = Time::from_secs(100);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn busy(since: Time) -> Beat {
        Beat { due: Some(since), doing: GAME }
    }

    const GAME: Option<Doing> = Some(Doing { stage: Stage::Game, room: Some(RoomId(0)) });

    /// All notices, when one looks every quarter of a second for so long.
    fn looked(
        silences: &mut Silences,
        from: Time,
        millis: u64,
        beats: impl Fn(Time) -> Vec<Beat>,
    ) -> Vec<Notice> {
        let times = (1..=millis / 250).map(|quarter| from + Duration::from_millis(quarter * 250));
        times.flat_map(|now| silences.look(now, &beats(now))).collect()
    }

    #[test]
    fn a_thread_is_named_once_when_it_falls_silent_and_once_when_it_is_back() {
        let mut silences = Silences::new(START, 2);
        let stuck = looked(&mut silences, START, 5_000, |now| vec![busy(now), busy(START)]);
        assert_eq!(stuck, [Notice::Silent { thread: 1, silent_for: millis(1_000), doing: GAME }]);

        let now = START + millis(5_000);
        let back = looked(&mut silences, now, 5_000, |now| vec![busy(now), busy(now)]);
        assert_eq!(back, [Notice::Back { thread: 1, after: millis(5_250), doing: GAME }]);
    }

    #[test]
    fn who_waits_is_silent_only_when_it_oversleeps() {
        let mut silences = Silences::new(START, 2);
        let waits = |due| Beat { due, doing: None };
        let notices =
            looked(&mut silences, START, 5_000, |_| vec![waits(None), waits(Some(START + millis(3_000)))]);
        assert_eq!(notices, [Notice::Silent { thread: 1, silent_for: millis(1_000), doing: None }]);
    }

    #[test]
    fn when_all_stood_still_nobody_is_accused_unless_it_stays_silent() {
        let mut silences = Silences::new(START, 1);
        let woken = START + millis(9_000);
        assert_eq!(silences.look(woken, &[busy(START)]), [Notice::StoodStill(millis(9_000))]);
        // Looks come sooner when ticks overrun.
        assert_eq!(silences.look(woken + millis(4), &[busy(START)]), []);

        let notice = Notice::Silent { thread: 0, silent_for: millis(1_000), doing: GAME };
        assert_eq!(looked(&mut silences, woken, 2_000, |_| vec![busy(START)]), [notice]);
    }

    #[test]
    fn what_is_said_names_the_thread_how_long_and_where() {
        let text = |notice: Notice| {
            notice.text(
                |_| "ticker",
                |doing| {
                    if doing.is_some() { "in the stage game for arena-1".into() } else { "asleep".into() }
                },
            )
        };
        assert_eq!(
            [
                text(Notice::Silent { thread: 0, silent_for: millis(1_240), doing: GAME }),
                text(Notice::Back { thread: 0, after: millis(61_500), doing: GAME }),
            ],
            [
                "ticker has been silent for 1.2s: it is in the stage game for arena-1",
                "ticker is back after 61.5s: it was in the stage game for arena-1",
            ]
        );
    }
}
