//! What is known of one thread: its last stages and its sign of life.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::KEPT;
use crate::bridge::RoomId;
use crate::metrics::Role;
use crate::stage::Stage;
use crate::time::Time;

/// A thread, as others see it.
#[derive(Debug)]
pub struct Track {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub role: Role,
    ring: Mutex<Ring>,
    /// When it has to be heard of at the latest, in microseconds.
    due: AtomicU64,
    /// What it is doing, see [`word`].
    doing: AtomicU64,
}

/// One stage, from beginning to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which.
    pub stage: Stage,
    /// The room it was for, if it was for one.
    pub room: Option<RoomId>,
    /// When it began, in nanoseconds since the origin of [`Time`].
    pub start: u64,
    /// How long it took.
    pub nanos: u64,
    /// How many messages it was about; 0 where messages are not counted.
    pub messages: u32,
}

/// What a thread does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// The stage it is in.
    pub stage: Stage,
    /// The room it is for, if it is for one.
    pub room: Option<RoomId>,
}

/// A thread's sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When it was to be heard of again at the latest: when its stage began, or when its wait was to end. `None`: it waits for others.
    pub due: Option<Time>,
    /// What it is doing; `None`: it waits.
    pub doing: Option<Doing>,
}

impl Track {
    /// A thread that has not begun.
    pub(super) fn new(name: String, role: Role) -> Track {
        let (due, doing) = (AtomicU64::new(FOR_EVER), AtomicU64::new(word(None)));
        Track { name, role, ring: Mutex::new(Ring::new()), due, doing }
    }

    /// The thread is alive.
    pub(super) fn beat(&self, beat: Beat) {
        // Who reads one of them new and the other old sees a thread that was heard of just now.
        self.due.store(beat.due.map_or(FOR_EVER, Time::as_micros), Relaxed);
        self.doing.store(word(beat.doing), Relaxed);
    }

    /// When and in what the thread was heard of last.
    pub fn last_beat(&self) -> Beat {
        let due = self.due.load(Relaxed);
        let due = (due != FOR_EVER).then(|| Time::from_micros(due));
        Beat { due, doing: doing(self.doing.load(Relaxed)) }
    }

    /// Takes what was done, unless somebody is reading: then it stays where it is. Returns how long a stage has to be to be kept.
    pub(crate) fn keep(&self, spans: &mut Vec<Span>) -> Option<u64> {
        let mut ring = self.ring.try_lock().ok()?;
        spans.drain(..).for_each(|span| ring.push(span));
        Some(ring.grain)
    }

    /// What was done in the last half minute, and how short a stage is left out.
    pub(super) fn spans(&self) -> (Vec<Span>, Duration) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        (ring.spans.iter().copied().collect(), Duration::from_nanos(ring.grain))
    }
}

/// A beat's stage and room in one number.
fn word(doing: Option<Doing>) -> u64 {
    let Some(Doing { stage, room }) = doing else { return 0 };
    let room = room.map_or(0, |room| room.0 as u64 + 1);
    room << 8 | (stage as u64 + 1)
}

fn doing(word: u64) -> Option<Doing> {
    let stage = *Stage::ALL.get((word as u8).checked_sub(1)? as usize)?;
    Some(Doing { stage, room: (word >> 8).checked_sub(1).map(|room| RoomId(room as u32)) })
}

const FOR_EVER: u64 = u64::MAX;

/// The stages of the last half minute. When they do not fit, the shortest are left out, so that it is always half a minute.
#[derive(Debug)]
struct Ring {
    spans: VecDeque<Span>,
    /// What is shorter is not kept.
    grain: u64,
    /// When the grain was changed last.
    changed: u64,
}

impl Ring {
    fn new() -> Ring {
        Ring { spans: VecDeque::with_capacity(SPANS_MAX), grain: GRAIN_MIN, changed: 0 }
    }

    fn push(&mut self, span: Span) {
        if span.nanos < self.grain {
            return;
        }
        let now = span.start + span.nanos;
        let kept = KEPT.as_nanos() as u64;
        while self.spans.front().is_some_and(|first| first.start + first.nanos + kept < now) {
            self.spans.pop_front();
        }
        while self.spans.len() == SPANS_MAX {
            self.grain *= 2;
            self.changed = now;
            self.spans.retain(|span| span.nanos >= self.grain);
        }
        if self.grain > GRAIN_MIN && self.spans.len() < SPANS_MAX / 4 && now > self.changed + kept {
            self.grain /= 2;
            self.changed = now;
        }
        self.spans.push_back(span);
    }
}

/// Stages kept of one thread: half a megabyte. So many fit in half a minute if each takes two milliseconds, so the ring finds room.
const SPANS_MAX: usize = 16 * 1024;
const _: () = assert!(KEPT.as_millis() / 2 <= SPANS_MAX as u128);

/// What takes less than ten microseconds explains no late tick.
const GRAIN_MIN: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, nanos: u64) -> Span {
        Span { stage: Stage::Game, room: Some(RoomId(0)), start, nanos, messages: 0 }
    }

    #[test]
    fn a_beat_is_read_as_it_was_left() {
        let track = Track::new("t".into(), Role::Io);
        assert_eq!(track.last_beat(), Beat { due: None, doing: None });
        for stage in Stage::ALL {
            for room in [None, Some(RoomId(0)), Some(RoomId(u32::MAX))] {
                let beat = Beat { due: Some(Time::from_micros(7)), doing: Some(Doing { stage, room }) };
                track.beat(beat);
                assert_eq!(track.last_beat(), beat);
            }
        }
        let waits = Beat { due: Some(Time::from_secs(9)), doing: None };
        track.beat(waits);
        assert_eq!(track.last_beat(), waits);
    }

    #[test]
    fn what_is_older_than_half_a_minute_is_forgotten_and_what_is_short_never_kept() {
        let mut ring = Ring::new();
        const SECOND: u64 = 1_000_000_000;
        for at in 0..100 {
            ring.push(span(at * SECOND, GRAIN_MIN));
            ring.push(span(at * SECOND + GRAIN_MIN, GRAIN_MIN - 1));
        }
        let starts: Vec<u64> = ring.spans.iter().map(|span| span.start / SECOND).collect();
        assert_eq!(starts, (69..100).collect::<Vec<u64>>());
    }

    #[test]
    fn a_busy_thread_keeps_half_a_minute_of_its_longer_stages() {
        let mut ring = Ring::new();
        let mut at = 0;
        // A minute of stages of 12 µs, each hundredth of 3 ms.
        for number in 0u64.. {
            let nanos = if number.is_multiple_of(100) { 3_000_000 } else { 12_000 };
            ring.push(span(at, nanos));
            at += nanos;
            if at > 60_000_000_000 {
                break;
            }
        }
        let first = ring.spans.front().unwrap().start;
        assert!(at - first > 29_900_000_000, "it reaches back {} ms", (at - first) / 1_000_000);
        assert!(ring.spans.len() < SPANS_MAX && ring.spans.capacity() == SPANS_MAX);
        let long = ring.spans.iter().filter(|span| span.nanos == 3_000_000).count();
        assert!(long > 7_000, "{long}");

        // Idle again, it becomes finer again.
        let coarse = ring.grain;
        assert!(coarse > GRAIN_MIN);
        (0..1_000).for_each(|second| ring.push(span(at + second * 1_000_000_000, coarse)));
        assert_eq!(ring.grain, GRAIN_MIN);
    }

    #[test]
    fn who_reads_holds_up_nobody() {
        let track = Track::new("t".into(), Role::Io);
        let mut spans = vec![span(0, GRAIN_MIN)];
        let reading = track.ring.lock().unwrap();
        assert_eq!(track.keep(&mut spans), None);
        assert_eq!(spans.len(), 1);
        drop(reading);
        assert_eq!(track.keep(&mut spans), Some(GRAIN_MIN));
        assert_eq!((spans.len(), track.spans().0.len()), (0, 1));
    }
}
