//! What is measured of a bot that reads all, and of one that does not.

use super::*;
use tickyard_protocol::types::CellId;

fn slow() -> Play {
    begin(play_with(true, false, Way::SlowReader))
}

impl Play {
    /// Time passes, slot by slot, until it is so. What it says is heard by nobody.
    fn slots_until(&mut self, what: &str, good: impl Fn(&Bot) -> bool) {
        for _ in 0..1000 {
            if good(&self.bot) {
                return;
            }
            self.slot(true);
        }
        panic!("it never comes: {what}");
    }

    /// The answer to a ping that is sent at once, and the answer comes `after`: the room is at this tick, which is due now.
    fn set_clock(&mut self, tick: u32, after: Duration) {
        let ping = loop {
            if let Some(ping) = self.slot(true).into_iter().find(|said| said[0] == from_client::PING) {
                break ping;
            }
        };
        let mut pong = Vec::new();
        Pong { stamp: ping[1..].try_into().unwrap(), tick: Tick(tick), micros: 0 }.encode(&mut pong);
        self.now = self.now + after;
        self.hear(&pong);
    }

    /// A whole view as of this tick.
    fn whole_view(&mut self, tick: u32) {
        self.hear(&Script::new(tick).view(&[8]).snapshot(8, &[entity(4, 100)]).bytes());
    }

    /// The tick that is due at this time, if tick 1000 was due at `since`.
    fn tick_at(&self, since: Time) -> u32 {
        1000 + (self.now.since(since).as_millis() / 50) as u32
    }
}

#[test]
fn staleness_is_the_time_in_the_room_less_the_newest_whole_view() {
    let mut play = playing(false);
    play.set_clock(1000, Duration::from_millis(2));
    let set = play.now;
    play.slot(true);
    assert_eq!(play.tally.groups.whole.staleness.count(), 0, "nothing is held yet");
    play.whole_view(999);
    play.slot(true);
    // A pong is half of a round trip old when it comes.
    let expected = Duration::from_millis(51) + play.now.since(set);
    let near = |a: Duration, b: Duration| a.abs_diff(b) < b / 500;
    assert_eq!(play.tally.groups.whole.staleness.count(), 1);
    assert!(near(play.tally.groups.whole.staleness.max(), expected), "{expected:?}");

    // What is not whole leaves it as it was.
    let mut part = Script::new(1030).bytes();
    part[10] = 0;
    play.hear(&part);
    play.slot(true);
    let expected = Duration::from_millis(51) + play.now.since(set);
    assert!(near(play.tally.groups.whole.staleness.max(), expected), "{expected:?}");
}

#[test]
fn each_bot_adds_its_own_delivery_once_and_only_if_it_was_measured() {
    let mut play = playing(false);
    play.whole_view(1);
    play.hear(&Script::new(4).skipped().delta(8, 3).bytes());
    play.slot(true);
    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    play.bot.handle_end(play.now, None, &mut play.tally);
    let whole = &play.tally.groups.whole;
    assert_eq!((whole.bots, whole.delivery.heard, whole.delivery.missed), (1, 2, 2));

    let mut late = playing(false);
    late.tally.close(late.now);
    late.slot(true);
    late.bot.leave(late.now, &mut late.out, &mut late.tally);
    assert_eq!(late.tally.groups.whole.bots, 0);
}

#[test]
fn a_slow_reader_reads_nothing_and_plays_on_and_nobody_is_accused_of_silence() {
    let mut play = slow();
    play.whole_view(1);
    assert_eq!(play.bot.appetite(), usize::MAX);
    play.slots_until("it stops", |bot| bot.appetite() == 0);
    let before = play.now;
    let seq = play.input().seq;
    play.slots_until("it reads on", |bot| bot.appetite() == usize::MAX);
    let stopped = play.now.since(before);
    assert!((Duration::from_secs(4)..Duration::from_secs(26)).contains(&stopped), "{stopped:?}");
    let sent = (play.input().seq.0 - seq.0) as u64;
    assert!(sent.abs_diff(stopped.as_millis() as u64 / 100) <= 2, "{sent} inputs in {stopped:?}");
    assert_eq!(play.tally.violations.spelt, Vec::<String>::new());
    assert_eq!(play.tally.groups.slow.stops, 1);
    assert_eq!(play.tally.groups.whole.input_to_state.count(), 0);
}

#[test]
fn a_slow_reader_agrees_again_with_a_whole_view_as_of_a_moment_after_it_read_on() {
    let mut play = slow();
    play.set_clock(1000, Duration::from_millis(2));
    let set = play.now;
    play.whole_view(1000);
    play.slots_until("it stops", |bot| bot.appetite() == 0);
    play.slots_until("it reads on", |bot| bot.appetite() > 0);
    let read_on = play.now;

    // Old news, from before it read on.
    let old = play.tick_at(set) - 3;
    play.hear(&Script::new(old).skipped().snapshot(8, &[entity(4, 100)]).bytes());
    assert_eq!(play.tally.groups.slow.again.count(), 0);
    // News, but not all of the view.
    play.now = play.now + Duration::from_millis(300);
    let mut part = Script::new(play.tick_at(set)).bytes();
    part[10] = 0;
    play.hear(&part);
    assert_eq!(play.tally.groups.slow.again.count(), 0);
    play.now = play.now + Duration::from_millis(300);
    play.hear(&Script::new(play.tick_at(set)).skipped().snapshot(8, &[entity(4, 100)]).bytes());
    let slow = &play.tally.groups.slow;
    assert_eq!((slow.again.count(), slow.again.max().as_millis(), slow.late_again), (1, 600, 0));
    assert_eq!(play.now.since(read_on).as_millis(), 600);

    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    assert_eq!((play.tally.groups.slow.bots, play.tally.groups.slow.never_skipped), (1, 0));
}

#[test]
fn a_slow_reader_that_never_agrees_again_or_was_never_skipped_is_counted() {
    let mut play = slow();
    play.set_clock(1000, Duration::from_millis(2));
    play.whole_view(1000);
    play.slots_until("it stops", |bot| bot.appetite() == 0);
    play.slots_until("it reads on", |bot| bot.appetite() > 0);
    play.now = play.now + Duration::from_secs(2);
    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    let slow = &play.tally.groups.slow;
    assert_eq!((slow.late_again, slow.again.count(), slow.never_skipped), (1, 1, 1));
}

#[test]
fn a_half_reader_wants_half_of_what_others_read() {
    let mut play = begin(play_with(false, false, Way::HalfReader));
    play.tally.traffic.stream = 4000.0;
    play.slot(true);
    let before = play.now;
    play.slot(true);
    let expected = 2000.0 * play.now.since(before).as_secs_f64();
    assert!((play.bot.appetite() as f64 - expected).abs() < 2.0, "{} {expected}", play.bot.appetite());
    play.bot.took(play.bot.appetite());
    assert_eq!(play.bot.appetite(), 0);
}

#[test]
fn who_comes_for_another_plays_otherwise() {
    let headings = |life| {
        let mut play = playing(false);
        play.bot = Bot::new(&play.bot.talk.settings, Part { number: 3, life, ..Part::default() }, Time::ZERO);
        let mut play = begin(play);
        (0..40).map(|_| play.input().row[0]).collect::<Vec<_>>()
    };
    assert_eq!(headings(0), headings(0));
    assert_ne!(headings(0), headings(1));
}

#[test]
fn entities_in_view_are_counted_with_each_message() {
    let mut play = playing(true);
    play.hear(
        &Script::new(1).view(&[8, 9]).snapshot(8, &[entity(4, 1)]).snapshot(9, &[entity(5, 1)]).bytes(),
    );
    play.hear(&Script::new(2).view(&[8]).bytes());
    assert_eq!((play.tally.traffic.in_view, play.tally.traffic.views), (3, 2));
    assert!(play.bot.player().unwrap().world().unwrap().replica().cell(CellId(9)).is_none());
}
