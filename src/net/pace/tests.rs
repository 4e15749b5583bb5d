//! A link that carries so many bytes a tick, after a delay, and a player behind it who says ten times a second how far it has come.

use super::*;
use std::collections::VecDeque;

const RATE: u16 = 20;
/// Any, and such that 16 bits do not hold it.
const START: u32 = 0x1_FFF0;

struct Link {
    pace: Pace,
    /// When they went out, and how many bytes of them are still to be carried.
    queue: VecDeque<(u32, f64)>,
    /// What has arrived, and when.
    seen: VecDeque<(u32, u32)>,
    said: u32,
    held: u32,
    parts: f64,
    skips: u32,
}

impl Link {
    fn new() -> Link {
        let (queue, seen) = (VecDeque::new(), VecDeque::from([(START, START)]));
        Link { pace: Pace::default(), queue, seen, said: START, held: START, parts: 1.0, skips: 0 }
    }

    /// A tick, at which a message of `bytes` is due if the player is told of all, and `room` bytes pass. What it says it has seen comes back
    /// `delay` ticks after it was there, every `every` ticks. Returns how many ticks old is what the player has.
    fn step(&mut self, now: u32, bytes: f64, room: f64, (delay, every): (u32, u32)) -> u32 {
        if self.pace.is_full(Tick(self.said), Tick(now), RATE) {
            self.skips += 1;
        } else {
            // What was missed is replayed, or comes as a snapshot.
            self.queue.push_back((now, bytes * self.parts * f64::from((now - self.said).min(10))));
            self.said = now;
            self.pace.note_said(Tick(now));
        }
        let mut room = room;
        while let Some((at, bytes)) = self.queue.front_mut() {
            let carried = bytes.min(room);
            (room, *bytes) = (room - carried, *bytes - carried);
            if *bytes > 0.0 {
                break;
            }
            self.held = *at;
            self.seen.push_back((*at, now + delay));
            self.queue.pop_front();
        }
        if now.is_multiple_of(every) {
            while self.seen.len() > 1 && self.seen[1].1 <= now {
                self.seen.pop_front();
            }
            let render_tick = self.seen[0].0 << 4;
            match self.pace.note_seen(render_tick, Tick(self.said), Tick(now), RATE) {
                Some(Change::Less { allowed, took }) => self.parts *= f64::from(allowed) / f64::from(took),
                Some(Change::Least) => self.parts = 0.1,
                Some(Change::More) => self.parts = (self.parts + 0.1).min(1.0),
                Some(Change::MuchMore) => self.parts = (self.parts * 1.5).min(1.0),
                None => {}
            }
        }
        now - self.held
    }
}

fn minute() -> std::ops::Range<u32> {
    START + 1..START + 60 * u32::from(RATE)
}

#[test]
fn what_a_player_behind_a_link_of_half_its_stream_has_stays_fresh() {
    let mut link = Link::new();
    let mut ages: Vec<u32> = minute().map(|now| link.step(now, 100.0, 50.0, (1, 2))).collect();
    ages.sort_unstable();
    let p95 = ages[ages.len() * 95 / 100];
    assert!(p95 < u32::from(RATE) / 2 && link.skips > 0, "{p95} ticks, {} skipped", link.skips);
    assert!(link.queue.len() < 20, "{:?}", link.queue);
}

#[test]
fn who_is_far_away_or_speaks_seldom_or_unevenly_is_sent_all() {
    // 150 ms and half a second away, an input a second, and one that comes any time within a fifth of a second.
    for (delay, every) in [(3, 2), (10, 2), (3, 20)] {
        let mut link = Link::new();
        minute().for_each(|now| _ = link.step(now, 100.0, 1000.0, (delay, every)));
        assert_eq!((link.skips, link.parts), (0, 1.0), "{delay} {every}");
    }
    let mut link = Link::new();
    minute().for_each(|now| _ = link.step(now, 100.0, 1000.0, (1 + (now * 7919) % 4, 2)));
    assert_eq!((link.skips, link.parts), (0, 1.0));
}

#[test]
fn who_stood_still_and_comes_back_is_told_of_all_again_within_two_seconds() {
    let mut link = Link::new();
    let [stop, back] = [10, 20].map(|second| START + second * u32::from(RATE));
    for now in minute() {
        let room = if (stop..back).contains(&now) { 0.0 } else { 10_000.0 };
        let age = link.step(now, 100.0, room, (1, 2));
        assert!(now < back + 10 || age < 10, "{age} ticks at {now}");
        if now == back + 2 * u32::from(RATE) {
            assert_eq!(link.parts, 1.0);
            assert!(link.skips > 100);
            link.skips = 0;
        }
    }
    assert_eq!(link.skips, 0);
}

#[test]
fn who_says_nothing_of_it_or_nothing_any_more_is_sent_all() {
    let mut pace = Pace::default();
    for now in 1..1000 {
        pace.note_said(Tick(now));
        pace.note_seen(0, Tick(now), Tick(now), RATE);
        assert!(!pace.is_full(Tick(now), Tick(now + 1), RATE));
    }
    // Once it said that it was behind.
    pace.note_seen(999 << 4, Tick(999), Tick(999), RATE);
    pace.note_said(Tick(1000));
    for now in 1000..1060 {
        pace.note_seen(500 << 4, Tick(1000), Tick(now), RATE);
    }
    assert!(pace.is_full(Tick(1000), Tick(1059), RATE));
    assert!(!pace.is_full(Tick(1000), Tick(1070), RATE));
}

#[test]
fn who_says_the_same_for_ever_still_gets_a_message_now_and_then() {
    let mut pace = Pace::default();
    let mut said = 1000;
    let mut messages = 0;
    for now in 1001..2001 {
        pace.note_seen(500 << 4, Tick(said), Tick(now), RATE);
        if now > 1100 && !pace.is_full(Tick(said), Tick(now), RATE) {
            messages += 1;
        }
        if !pace.is_full(Tick(said), Tick(now), RATE) {
            said = now;
            pace.note_said(Tick(now));
        }
    }
    assert_eq!(messages, 900 / (u32::from(RATE) * PACED_SECONDS_MAX));
}
