//! Silence, at the scale at which it matters.

use super::*;
use crate::config::limits::{CLOSE_TIMEOUT, IDLE_TIMEOUT, PING_INTERVAL};

const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const PING: [u8; 2] = [0x89, 0];
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// Peers who were upgraded at the same moment.
struct Crowd {
    hub: Hub<Line>,
    lines: Vec<Line>,
    now: Time,
}

impl Crowd {
    fn of(count: usize) -> Crowd {
        let mut hub = hub(None);
        let lines: Vec<Line> = (0..count).map(|_| Line::wide()).collect();
        for (at, line) in lines.iter().enumerate() {
            line.say(UPGRADE);
            assert_eq!(admit(&mut hub, line), at);
        }
        turn(&mut hub, START);
        assert!(lines.iter().all(|line| line.heard().starts_with(b"HTTP/1.1 101 ")));
        Crowd { hub, lines, now: START }
    }

    /// Goes on for some time; peers that `answer` pings do so at once. How many pings each sweep sent.
    fn pass(&mut self, time: Duration, answers: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..sweeps(time)).map(|_| self.sweep(&answers)).collect()
    }

    fn sweep(&mut self, answers: impl Fn(usize) -> bool) -> usize {
        self.now = self.now + SWEEP_PERIOD;
        turn(&mut self.hub, self.now);
        let asked: Vec<usize> = (0..self.lines.len()).filter(|&at| self.lines[at].heard() == PING).collect();
        for &at in asked.iter().filter(|&&at| answers(at)) {
            self.lines[at].say(&PONG);
            self.hub.wake(at, true, false, false);
        }
        self.hub.serve_run_queue(|_| false);
        asked.len()
    }
}

fn sweeps(time: Duration) -> usize {
    (time.as_millis() / SWEEP_PERIOD.as_millis()) as usize
}

#[test]
fn ten_thousand_silent_peers_are_asked_one_after_the_other_and_stay() {
    const COUNT: usize = 10_000;
    let mut crowd = Crowd::of(COUNT);
    let before = crowd.pass(PING_INTERVAL - SWEEP_PERIOD, |_| true);
    assert_eq!(before.iter().sum::<usize>(), 0);
    let first = crowd.pass(PING_INTERVAL, |_| true);
    assert_eq!(first.iter().sum::<usize>(), COUNT, "each is asked once in an interval");
    let most = COUNT * PINGS_OVER_EVEN as usize / sweeps(PING_INTERVAL);
    assert_eq!(first.iter().max(), Some(&most), "{first:?}");

    let later = crowd.pass(3 * PING_INTERVAL, |_| true);
    assert!(later.iter().max() <= Some(&most), "{later:?}");
    assert_eq!((crowd.hub.len(), counted(&crowd.hub, CloseReason::Idle)), (COUNT, 0));
    let sent = crowd.hub.shared().metrics.pings.get() as usize;
    assert_eq!(sent, COUNT + later.iter().sum::<usize>());
}

#[test]
fn who_vanished_is_ended_at_the_idle_timeout_whether_bytes_wait_for_it_or_not() {
    let mut crowd = Crowd::of(3);
    // One answers; one has gone; and one has gone while its echo was on the way.
    crowd.lines[2].0.borrow_mut().room = 0;
    crowd.lines[2].say(&[0x82, 0x81, 0, 0, 0, 0, 7]);
    crowd.hub.wake(2, true, false, false);
    crowd.hub.serve_run_queue(|_| false);

    let pings: usize = crowd.pass(IDLE_TIMEOUT - SWEEP_PERIOD, |at| at == 0).iter().sum();
    assert!(pings >= 4, "{pings}: two are asked, and asked again");
    assert_eq!(crowd.hub.len(), 3);
    // Two seconds for the sweep to come round, and the time for which a close frame is waited for.
    crowd.pass(CLOSE_TIMEOUT + Duration::from_secs(2), |at| at == 0);
    assert_eq!((crowd.hub.len(), counted(&crowd.hub, CloseReason::Idle)), (1, 2));
}
