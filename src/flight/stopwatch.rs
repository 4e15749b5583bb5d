//! Measures a thread's stages: one look at the clock for each, however many messages it is about.

// A shell: it reads the clock.
#![allow(clippy::disallowed_types)]

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::track::{Beat, Doing, Span};
use super::{Flight, Track};
use crate::bridge::RoomId;
use crate::stage::{Stage, Stages};
use crate::time::Time;

/// A thread's stopwatch.
///
/// Reading and decoding take turns with each message, and so do composing and sending. Each such pair is measured as one, and divided as
/// it was for the messages that a [`Sampler`] looked at.
#[derive(Debug)]
pub struct Stopwatch {
    flight: Arc<Flight>,
    track: Arc<Track>,
    doing: Option<Doing>,
    /// When the clock was read last, in nanoseconds since the origin of [`Time`].
    lap: u64,
    /// How long each stage took since the last report.
    spent: [u64; Stage::ALL.len()],
    /// On their way to the track.
    spans: Vec<Span>,
    /// What is shorter is not kept.
    grain: u64,
    /// How [`Stage::Receive`] divides.
    pub reading: Sampler,
    /// How [`Stage::Compose`] divides.
    pub sending: Sampler,
}

/// What the fan-out of a batch cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fanout {
    /// In [`Stage::Compose`].
    pub compose: Duration,
    /// In [`Stage::Send`].
    pub send: Duration,
}

impl Stopwatch {
    pub(super) fn new(flight: Arc<Flight>, track: Arc<Track>) -> Stopwatch {
        Stopwatch {
            flight,
            track,
            doing: None,
            lap: 0,
            spent: [0; Stage::ALL.len()],
            spans: Vec::with_capacity(SPANS_WAITING_MAX),
            grain: 0,
            reading: Sampler::default(),
            sending: Sampler::default(),
        }
    }

    /// As [`Stages::enter`], for a room or for none: what is entered next is for that room too, until the thread rests.
    pub fn enter_room(&mut self, stage: Stage, room: Option<RoomId>) {
        self.close();
        self.begin(stage, room);
    }

    /// When the clock was read last.
    pub fn now(&self) -> Time {
        Time::from_micros(self.lap / 1000)
    }

    /// The same for who counts on from there.
    pub fn instant(&self) -> Instant {
        self.flight.origin() + Duration::from_nanos(self.lap)
    }

    /// Begins to tell players of a batch; the clock was read just now.
    pub fn begin_fanout(&mut self, room: RoomId) {
        self.begin(Stage::Compose, Some(room));
    }

    /// So many players were told of the batch.
    pub fn end_fanout(&mut self, messages: u32) -> Fanout {
        let room = self.doing.take().and_then(|doing| doing.room);
        let (start, nanos) = self.lap();
        let compose = self.sending.first_of(nanos);
        self.record(Span { stage: Stage::Compose, room, start, nanos: compose, messages });
        self.record(Span {
            stage: Stage::Send,
            room,
            start: start + compose,
            nanos: nanos - compose,
            messages,
        });
        Fanout { compose: Duration::from_nanos(compose), send: Duration::from_nanos(nanos - compose) }
    }

    /// Reports what the fan-out of a batch cost, if it is not reported yet.
    pub fn report_fanout(&self, spent: &mut Fanout) {
        let Fanout { compose, send } = std::mem::take(spent);
        if compose + send > Duration::ZERO {
            let stages = &self.flight.metrics().stages;
            stages.observe(Stage::Compose, compose);
            stages.observe(Stage::Send, send);
        }
    }

    /// The thread has done all there was. Reports how long each stage took.
    pub fn rest(&mut self) {
        self.close();
        self.track.beat(Beat { due: Some(self.now()), doing: None });
        for (stage, spent) in Stage::ALL.into_iter().zip(&mut self.spent) {
            if *spent > 0 {
                let nanos = std::mem::take(spent);
                self.flight.metrics().stages.observe(stage, Duration::from_nanos(nanos));
            }
        }
        if !self.spans.is_empty()
            && let Some(grain) = self.track.keep(&mut self.spans)
        {
            self.grain = grain;
        }
    }

    /// The thread waits now, and is to be heard of again at that time; `None`: when others want something.
    pub fn wait(&mut self, until: Option<Time>) {
        self.track.beat(Beat { due: until, doing: None });
    }

    fn begin(&mut self, stage: Stage, room: Option<RoomId>) {
        let doing = Some(Doing { stage, room });
        self.doing = doing;
        self.track.beat(Beat { due: Some(self.now()), doing });
    }

    /// Reads the clock. What was being done is done.
    fn close(&mut self) {
        let doing = self.doing.take();
        let (start, nanos) = self.lap();
        let Some(Doing { stage, room }) = doing else { return };
        if stage == Stage::Receive {
            let receive = self.reading.first_of(nanos);
            self.note(Span { stage, room, start, nanos: receive, messages: 0 });
            let (start, nanos) = (start + receive, nanos - receive);
            self.note(Span { stage: Stage::Decode, room, start, nanos, messages: 0 });
        } else {
            self.note(Span { stage, room, start, nanos, messages: 0 });
        }
    }

    /// Reads the clock. Returns when it was read before, and how long ago that is.
    fn lap(&mut self) -> (u64, u64) {
        let before = std::mem::replace(&mut self.lap, self.flight.nanos());
        (before, self.lap - before)
    }

    fn note(&mut self, span: Span) {
        // Too short for the clock is not the same as never.
        self.spent[span.stage as usize] += span.nanos.max(1);
        self.record(span);
    }

    fn record(&mut self, span: Span) {
        if span.nanos >= self.grain && self.spans.len() < SPANS_WAITING_MAX {
            self.spans.push(span);
        }
    }
}

impl AddAssign for Fanout {
    fn add_assign(&mut self, other: Fanout) {
        self.compose += other.compose;
        self.send += other.send;
    }
}

impl Stages for Stopwatch {
    fn enter(&mut self, stage: Stage) {
        let room = self.doing.and_then(|doing| doing.room);
        self.close();
        self.begin(stage, room);
    }
}

/// Finds out how the time of many messages divides into a first and a second part, by timing one in a few.
#[derive(Debug, Default)]
pub struct Sampler {
    /// How many messages pass before the next is timed.
    pass: u32,
    /// When the message that is timed began.
    began: Option<Instant>,
    /// Its first part, once the second has begun.
    part: Option<Duration>,
    first: u64,
    both: u64,
    samples: u32,
}

impl Sampler {
    /// The first part of a message begins.
    pub fn first(&mut self) {
        if self.pass > 0 {
            self.pass -= 1;
            return;
        }
        self.pass = SAMPLED_EVERY - 1;
        self.began = Some(Instant::now());
        self.part = None;
    }

    /// The second part begins.
    pub fn second(&mut self) {
        if let Some(began) = self.began {
            self.part = Some(began.elapsed());
        }
    }

    /// The message is done, also when it had no second part.
    pub fn done(&mut self) {
        let Some(began) = self.began.take() else { return };
        let both = began.elapsed();
        self.add(self.part.unwrap_or(both), both);
    }

    fn add(&mut self, first: Duration, both: Duration) {
        if self.samples == SAMPLES_MAX {
            // What was long ago counts for less.
            (self.first, self.both, self.samples) = (self.first / 2, self.both / 2, SAMPLES_MAX / 2);
        }
        self.first += first.as_nanos() as u64;
        self.both += both.as_nanos() as u64;
        self.samples += 1;
    }

    /// How much of `nanos` was the first part.
    fn first_of(&self, nanos: u64) -> u64 {
        match self.both {
            0 => 0,
            both => (nanos as u128 * self.first as u128 / both as u128) as u64,
        }
    }
}

/// A prime, so that it is not always the same player.
const SAMPLED_EVERY: u32 = 31;
/// As many as the shares follow from, more or less.
const SAMPLES_MAX: u32 = 64;
/// Stages that wait for the track while somebody reads it, or for the end of a turn; more are left out.
const SPANS_WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Role};

    fn stopwatch() -> Stopwatch {
        let flight = Flight::new(Instant::now(), Arc::new(Metrics::new()), Box::new(|_| None), None);
        Arc::new(flight).stopwatch("t".into(), Role::Simulation)
    }

    fn counts(watch: &Stopwatch) -> Vec<(Stage, u64)> {
        let of = |stage| (stage, watch.flight.metrics().stages.count(stage));
        Stage::ALL.map(of).into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn stages_are_observed_once_a_report_however_often_they_were_entered() {
        let mut watch = stopwatch();
        watch.enter_room(Stage::Drain, Some(RoomId(0)));
        for _ in 0..3 {
            watch.enter(Stage::Apply);
            watch.enter(Stage::Game);
        }
        assert_eq!(counts(&watch), []);
        watch.rest();
        assert_eq!(counts(&watch), [(Stage::Apply, 1), (Stage::Drain, 1), (Stage::Game, 1)]);
        watch.rest();
        assert_eq!(counts(&watch).len(), 3);
    }

    #[test]
    fn stages_follow_each_other_without_a_gap_and_know_their_room() {
        let mut watch = stopwatch();
        watch.enter_room(Stage::Drain, Some(RoomId(0)));
        [Stage::Apply, Stage::Game, Stage::Collect].into_iter().for_each(|stage| watch.enter(stage));
        watch.close();
        let ends = |span: &Span| span.start + span.nanos;
        assert!(watch.spans.windows(2).all(|two| ends(&two[0]) == two[1].start));
        assert!(watch.spans.iter().all(|span| span.room == Some(RoomId(0))));
        assert_eq!(watch.spans.len(), 4);

        watch.rest();
        watch.enter(Stage::Sweep);
        assert_eq!(watch.doing, Some(Doing { stage: Stage::Sweep, room: None }));
        assert_eq!(watch.track.last_beat().doing, watch.doing);
    }

    #[test]
    fn reading_divides_into_receiving_and_decoding() {
        let mut watch = stopwatch();
        watch.reading.add(Duration::from_nanos(1), Duration::from_nanos(4));
        watch.enter(Stage::Receive);
        watch.close();
        let [receive, decode] = watch.spans[..] else { panic!("{:?}", watch.spans) };
        assert_eq!([receive.stage, decode.stage], [Stage::Receive, Stage::Decode]);
        assert_eq!(receive.nanos, (receive.nanos + decode.nanos) / 4);
        assert_eq!(decode.start, receive.start + receive.nanos);
    }

    #[test]
    fn a_fan_out_is_counted_by_whoever_knows_when_its_batch_is_done() {
        let mut watch = stopwatch();
        watch.sending.add(Duration::from_nanos(1), Duration::from_nanos(2));
        watch.enter(Stage::Take);
        watch.begin_fanout(RoomId(0));
        let fanout = watch.end_fanout(7);
        let [compose, send] = watch.spans[..] else { panic!("{:?}", watch.spans) };
        assert_eq!((compose.messages, send.messages, send.room), (7, 7, Some(RoomId(0))));
        let spans = [compose.nanos, send.nanos].map(Duration::from_nanos);
        assert_eq!([fanout.compose, fanout.send], spans);
        watch.rest();
        assert_eq!(counts(&watch), []);
        let mut spent = fanout;
        (0..2).for_each(|_| watch.report_fanout(&mut spent));
        assert_eq!(counts(&watch), [(Stage::Compose, 1), (Stage::Send, 1)]);
    }

    #[test]
    fn one_message_in_31_is_timed_and_the_newer_ones_count_for_more() {
        let mut sampler = Sampler::default();
        for number in 0..100 {
            sampler.first();
            assert_eq!(sampler.began.is_some(), number % SAMPLED_EVERY == 0, "{number}");
            sampler.second();
            sampler.done();
        }
        let mut sampler = Sampler::default();
        assert_eq!(sampler.first_of(1000), 0);
        (0..1000).for_each(|_| sampler.add(Duration::from_micros(3), Duration::from_micros(4)));
        assert_eq!(sampler.first_of(1000), 750);
        (0..1000).for_each(|_| sampler.add(Duration::from_micros(1), Duration::from_micros(4)));
        assert_eq!(sampler.first_of(1000), 250);
    }
}
