//! The flight recorder: what each thread did in the last half minute, and when it was heard of last.
//!
//! Each thread has a [`Stopwatch`] that it tells which [stage](crate::stage) it is in. The stopwatch reads the clock once a stage, never
//! once a message; it feeds the histograms, keeps the longer stages in a ring of fixed size (`track`), and leaves a sign of life. A
//! [`Flight`] holds what all stopwatches of a server share, and writes it down as a trace for a viewer (`chrome`).
//! When that happens, and who is accused of silence, is for [`crate::watchdog`]; where it goes, for [`files`].

// A shell: this is where stages meet the clock.
#![allow(clippy::disallowed_types)]

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::bridge::RoomId;
use crate::error::Error;
use crate::metrics::{FlightResult, Metrics, Role};
use crate::time::Time;
use files::Files;
pub use stopwatch::{Fanout, Sampler, Stopwatch};
pub use track::{Beat, Doing, Span, Track};

mod chrome;
pub mod files;
mod stopwatch;
mod track;

/// What the stopwatches of a server share.
pub struct Flight {
    origin: Instant,
    metrics: Arc<Metrics>,
    rooms: Namer,
    tracks: Mutex<Vec<Arc<Track>>>,
    files: Option<Mutex<Files>>,
    overruns: (Sender<Overrun>, Receiver<Overrun>),
}

/// Knows what a room is called.
pub type Namer = Box<dyn Fn(RoomId) -> Option<String> + Send + Sync>;

/// A tick that took longer than its period, or ticks that were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Whose: of the rooms that ticked together, the one that took longest.
    pub room: RoomId,
    /// How long their step took, commands and handing out included.
    pub took: Duration,
    /// How many ticks were skipped before it.
    pub skipped: u64,
}

impl Flight {
    /// Nothing is recorded yet. [`Time`] begins at `origin`; records are written to `files`.
    pub fn new(origin: Instant, metrics: Arc<Metrics>, rooms: Namer, files: Option<Files>) -> Flight {
        // One is enough: what comes while a record is written is in it, or too soon for the next.
        let overruns = crossbeam_channel::bounded(1);
        Flight { origin, metrics, rooms, tracks: Mutex::default(), files: files.map(Mutex::new), overruns }
    }

    /// The stopwatch of a thread, which is called `thread` in logs and records.
    pub fn stopwatch(self: &Arc<Flight>, thread: String, role: Role) -> Stopwatch {
        let track = Arc::new(Track::new(thread, role));
        lock(&self.tracks).push(Arc::clone(&track));
        Stopwatch::new(Arc::clone(self), track)
    }

    /// What is measured goes here.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// When [`Time`] begins.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Now, for the cores.
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// What a room is called.
    pub fn room(&self, room: RoomId) -> String {
        (self.rooms)(room).unwrap_or_else(|| format!("room {}", room.0))
    }

    /// The threads that have a stopwatch.
    pub fn tracks(&self) -> Vec<Arc<Track>> {
        lock(&self.tracks).clone()
    }

    /// Says that a tick overran; never waits.
    pub fn overran(&self, overrun: Overrun) {
        let _ = self.overruns.0.try_send(overrun);
    }

    /// Where that is heard.
    pub fn overruns(&self) -> Receiver<Overrun> {
        self.overruns.1.clone()
    }

    /// What all threads did in the last half minute, as a trace in the format of `chrome://tracing`; `reason` stands in it.
    pub fn render(&self, reason: &str) -> String {
        chrome::render(self, reason)
    }

    /// Writes a record into the directory, because somebody asks for it.
    pub fn write(&self, reason: &str) -> Result<PathBuf, Error> {
        let Some(files) = &self.files else {
            let why =
                "without --flight-dir there is nowhere to write; /debug/flight on the admin port has it too";
            return Err(Error::Config(why.to_owned()));
        };
        let record = self.render(reason);
        let written = lock(files).write(&record);
        let result = if written.is_ok() { FlightResult::Written } else { FlightResult::Failed };
        self.metrics.flight_files.inc(result);
        written.map_err(|source| Error::System { doing: "write a flight record", source })
    }

    /// The same because something went wrong: unless there is nowhere to write, or it was done a moment ago.
    pub fn write_unasked(&self, reason: &str) {
        let is_time = self.files.as_ref().is_some_and(|files| lock(files).is_time(self.now()));
        if is_time {
            self.write_and_log(reason);
        }
    }

    /// Writes a record, and says so in the log.
    pub fn write_and_log(&self, reason: &str) {
        match self.write(reason) {
            Ok(path) => {
                tracing::info!("a flight record is in {}: {reason}; ui.perfetto.dev opens it", path.display())
            }
            Err(error) => tracing::warn!("no flight record: {error}"),
        }
    }

    fn nanos(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Flight")
            .field("tracks", &self.tracks)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Whoever panicked while holding it has left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So much of the past is recorded.
pub const KEPT: Duration = Duration::from_secs(30);
