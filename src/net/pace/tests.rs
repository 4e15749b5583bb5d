//! A link that carries so many bytes a tick, after a delay, and a player behind it who says ten times a second how far it has come.

use super::*;
use std::collections::VecDeque;

const RATE: u16 = 20;
/// Any, and such that 16 bits do not hold it.
const START: u32 = 0x1_FFF0;
const CELLS: u32 = 10;
/// Of a cell, in a tick, and as a whole.
const CHANGES: u32 = 10;
const WHOLE: u32 = 100;

struct Link {
    pace: Pace,
    /// When they went out, and how many bytes of them are still to be carried.
    queue: VecDeque<(u32, f64)>,
    /// What has arrived, and when that is known here.
    seen: VecDeque<(u32, u32)>,
    said: u32,
    held: u32,
    told: u32,
    skips: u32,
}

impl Link {
    fn new() -> Link {
        let (queue, seen) = (VecDeque::new(), VecDeque::from([(START, START)]));
        Link { pace: Pace::default(), queue, seen, said: START, held: START, told: CELLS, skips: 0 }
    }

    /// A tick, at which `room` bytes pass. What has arrived is said `delay` ticks later, every `every` ticks; 0: never. Returns how many
    /// ticks old is what the player has.
    fn step(&mut self, now: u32, room: f64, (delay, every): (u32, u32)) -> u32 {
        if self.pace.is_full(Tick(self.said), Tick(now), RATE) {
            self.skips += 1;
        } else {
            self.say(now);
        }
        self.carry(now, room, delay);
        if every > 0 && now.is_multiple_of(every) {
            self.speak(now);
        }
        now - self.held
    }

    /// What the fan-out makes of it: changes of the cells that were told of, and now and then a cell more.
    fn say(&mut self, now: u32) {
        let pause = now - self.said;
        let bytes = |cells: u32| cells * if pause < BATCHES_KEPT as u32 { pause * CHANGES } else { WHOLE };
        if self.pace.is_thin() {
            let [_, whole_max] = self.pace.bytes_max(Tick(self.said), Tick(now), RATE);
            while self.told > 1 && bytes(self.told) as usize > whole_max {
                self.told -= 1;
                self.pace.note_overflow(Tick(now), RATE);
            }
        }
        let mut all = bytes(self.told);
        if self.pace.is_thin() && self.told < CELLS && self.pace.may_grow(Tick(now)) {
            let [_, whole_max] = self.pace.bytes_max(Tick(self.said), Tick(now), RATE);
            if (all + WHOLE) as usize <= whole_max || self.pace.dares() {
                (self.told, all) = (self.told + 1, all + WHOLE);
            }
            self.pace.note_tried(Tick(now), RATE);
        }
        self.queue.push_back((now, f64::from(all)));
        self.said = now;
        self.pace.note_said(Tick(now), all as usize, RATE);
    }

    fn carry(&mut self, now: u32, mut room: f64, delay: u32) {
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
    }

    fn speak(&mut self, now: u32) {
        while self.seen.len() > 1 && self.seen[1].1 <= now {
            self.seen.pop_front();
        }
        let was_thin = self.pace.is_thin();
        if self.pace.note_seen(self.seen[0].0 << 4, Tick(self.said), Tick(now), RATE) {
            match self.told {
                CELLS => self.pace.set_free(),
                _ => self.pace.dare(),
            }
        } else if self.pace.is_thin() && !was_thin {
            self.told = 1;
        }
    }

    fn is_whole(&self) -> bool {
        !self.pace.is_thin() && self.told == CELLS
    }
}

fn seconds(count: u32) -> std::ops::Range<u32> {
    START + 1..START + count * u32::from(RATE)
}

fn at(second: u32) -> u32 {
    START + second * u32::from(RATE)
}

#[test]
fn what_a_player_behind_a_link_of_half_its_stream_has_stays_fresh() {
    let mut link = Link::new();
    let mut ages: Vec<u32> = seconds(60).map(|now| link.step(now, 50.0, (1, 2))).collect();
    ages.sort_unstable();
    let p95 = ages[ages.len() * 95 / 100];
    assert!(p95 < u32::from(RATE) / 2, "{p95} ticks");
    assert!(link.pace.is_thin() && (1..CELLS).contains(&link.told), "{} cells", link.told);
    assert!((25..=100).contains(&link.pace.rate), "{} bytes a tick", link.pace.rate);
}

#[test]
fn who_is_far_away_or_speaks_seldom_or_unevenly_is_sent_all() {
    // 150 ms away, behind a satellite, an input a second, and one that comes any time within a fifth of a second.
    for (delay, every) in [(3, 2), (16, 2), (3, 20)] {
        let mut link = Link::new();
        seconds(60).for_each(|now| _ = link.step(now, 1000.0, (delay, every)));
        assert!(link.skips == 0 && link.is_whole(), "{delay} {every}");
    }
    let mut link = Link::new();
    seconds(60).for_each(|now| _ = link.step(now, 1000.0, (1 + (now * 7919) % 4, 2)));
    assert!(link.skips == 0 && link.is_whole());
}

#[test]
fn who_stood_still_is_told_of_all_as_soon_as_it_is_back() {
    // It reads nothing for ten seconds, and says so; then all at once.
    let mut link = Link::new();
    for now in seconds(60) {
        let room = if (at(10)..at(20)).contains(&now) { 0.0 } else { 10_000.0 };
        let age = link.step(now, room, (1, 2));
        assert!(now < at(20) + 10 || age < 10, "{age} ticks at {now}");
        assert!(link.is_whole(), "at {now}");
        if now == at(21) {
            assert!(link.skips > 100);
            link.skips = 0;
        }
    }
    assert_eq!(link.skips, 0);
}

#[test]
fn a_machine_that_stands_still_again_and_again_makes_nobody_look_thin_or_late() {
    // Nothing comes and nothing is said, for a second in each two; the first input then does not know yet what came.
    let mut link = Link::new();
    for now in seconds(60) {
        // It begins with a message on the way.
        let stands = (now + 1) / 20 % 2 == 1;
        let speaks = if stands { 0 } else { 2 };
        if (now + 1).is_multiple_of(40) {
            link.speak(now);
        }
        link.step(now, if stands { 0.0 } else { 10_000.0 }, (1, speaks));
        assert!(link.is_whole(), "at {now}");
    }
    assert_eq!(link.skips, 0);
}

#[test]
fn a_packet_that_is_lost_now_and_then_costs_updates_and_no_cells() {
    // Inputs go on, and what was held up for half a second comes faster than it was sent.
    let mut link = Link::new();
    for now in seconds(60) {
        let held_up = now % 60 < 10;
        let age = link.step(now, if held_up { 0.0 } else { 250.0 }, (1, 1));
        assert!(link.is_whole() && age < 16, "{age} ticks at {now}");
    }
    assert!(link.skips > 0);
}

#[test]
fn one_large_message_after_another_measures_a_thin_link_as_well() {
    // 1000 bytes a second, over a link that carries 400.
    let mut pace = Pace::default();
    let (mut said, mut seen, mut left) = (START, START, 0.0);
    for now in seconds(20) {
        if now.is_multiple_of(20) && !pace.is_full(Tick(said), Tick(now), RATE) && left <= 0.0 {
            (said, left) = (now, 1000.0);
            pace.note_said(Tick(now), 1000, RATE);
        }
        left -= 20.0;
        if left <= 0.0 {
            seen = said;
        }
        if now.is_multiple_of(2) {
            pace.note_seen(seen << 4, Tick(said), Tick(now), RATE);
        }
    }
    // Its delay seems longer than it is.
    assert!((15..=40).contains(&pace.rate), "{} bytes a tick", pace.rate);
}

#[test]
fn who_has_a_better_link_again_is_told_of_all_again_in_time() {
    let mut link = Link::new();
    for now in seconds(300) {
        link.step(now, if now < at(30) { 50.0 } else { 10_000.0 }, (1, 2));
        assert!(link.pace.is_thin() || !(at(5)..at(30)).contains(&now));
    }
    assert!(link.is_whole(), "{} cells, {} bytes a tick", link.told, link.pace.rate);
}

#[test]
fn who_says_nothing_of_it_or_nothing_any_more_is_sent_all() {
    let mut pace = Pace::default();
    for now in 1..1000 {
        pace.note_said(Tick(now), 100, RATE);
        pace.note_seen(0, Tick(now), Tick(now), RATE);
        assert!(!pace.is_full(Tick(now), Tick(now + 1), RATE));
    }
    // Once it said that it was behind.
    pace.note_seen(999 << 4, Tick(999), Tick(999), RATE);
    pace.note_said(Tick(1000), 100, RATE);
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
        if !pace.is_full(Tick(said), Tick(now), RATE) {
            messages += u32::from(now > 1100);
            said = now;
            pace.note_said(Tick(now), 100, RATE);
        }
    }
    assert_eq!(messages, 900 / (u32::from(RATE) * PAUSE_SECONDS_MAX));
}

#[test]
fn who_claims_to_have_seen_more_than_was_sent_is_sent_all() {
    let mut pace = Pace::default();
    for now in 1..1000 {
        pace.note_said(Tick(now), 100, RATE);
        pace.note_seen((now + 1000) << 4, Tick(now), Tick(now), RATE);
        assert!(!pace.is_full(Tick(now), Tick(now + 1), RATE) && !pace.is_thin());
    }
}

#[test]
fn any_words_of_a_player_are_taken() {
    let mut pace = Pace::default();
    let mut random = 1u64;
    let mut said = START;
    for now in START..START + 200_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = (random >> 33) as u32;
        let rate = [0, 1, 20, 60][word as usize % 4];
        if pace.note_seen(word.rotate_left(word % 32), Tick(said), Tick(now), rate) {
            pace.dare();
        }
        if !pace.is_full(Tick(said), Tick(now), rate) {
            said = now;
            pace.note_said(Tick(now), word as usize % 70_000, rate);
        }
        assert!(pace.bytes_max(Tick(said), Tick(now), rate)[1] <= 6 * 65_535);
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<Pace>() <= 36, "{}", size_of::<Pace>());
}
