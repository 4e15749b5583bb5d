//! Silence, at the scale at which it matters.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::config::limits::{CLOSE_TIMEOUT, IDLE_TIMEOUT, Limits, PING_INTERVAL};
use crate::session::site::{Origins, Site, Warned};

const START: Time = Time::from_secs(100);
const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const PING: [u8; 2] = [0x89, 0];
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// A socket as its peer sees it.
#[derive(Default)]
struct Wire {
    up: Vec<u8>,
    down: Vec<u8>,
    /// The peer takes nothing, and the kernel neither.
    stuck: bool,
}

#[derive(Clone, Default)]
struct Line(Rc<RefCell<Wire>>);

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let up = &mut self.0.borrow_mut().up;
        if up.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = up.len().min(buffer.len());
        buffer[..len].copy_from_slice(&up[..len]);
        up.drain(..len);
        Ok(len)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.stuck {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wire.down.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Line {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn tune(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// Peers who were upgraded at the same moment.
struct Crowd {
    hub: Hub<Line>,
    lines: Vec<Line>,
}

impl Crowd {
    fn of(count: usize) -> Crowd {
        let site = Site {
            places: vec![],
            pages: &[],
            echo: true,
            origins: Origins::Loopback,
            limits: Limits::default(),
            origin_warned: Warned::default(),
        };
        let shared = Shared {
            site,
            metrics: Arc::new(Metrics::new()),
            connections_max: count,
            tls: None,
            slow_timeout: Duration::from_secs(60),
            origin: Instant::now(),
            stop: AtomicBool::new(false),
        };
        let (commands, _) = crossbeam_channel::bounded(1);
        let mut hub = Hub::new(0, Arc::new(shared), commands, START);
        let lines: Vec<Line> = (0..count).map(|_| Line::default()).collect();
        for line in &lines {
            line.0.borrow_mut().up.extend_from_slice(UPGRADE);
            hub.shared().metrics.connections.inc();
            hub.admit(line.clone());
        }
        hub.serve_run_queue();
        let heard = lines.iter().map(|line| std::mem::take(&mut line.0.borrow_mut().down));
        assert!(heard.into_iter().all(|down| down.starts_with(b"HTTP/1.1 101 ")));
        Crowd { hub, lines }
    }

    /// Goes on in steps of a sweep; peers that `answer` say so at once. How many pings each sweep sent.
    fn pass(&mut self, sweeps: usize, answers: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..sweeps).map(|_| self.sweep(&answers)).collect()
    }

    fn sweep(&mut self, answers: impl Fn(usize) -> bool) -> usize {
        self.hub.set_now(self.hub.now() + SWEEP_PERIOD);
        assert!(self.hub.sweep());
        let mut pings = 0;
        for (slot, line) in self.lines.iter().enumerate() {
            let mut wire = line.0.borrow_mut();
            if std::mem::take(&mut wire.down) == PING {
                pings += 1;
                if answers(slot) {
                    wire.up.extend_from_slice(&PONG);
                    drop(wire);
                    self.hub.wake(slot, true, false, false);
                }
            }
        }
        self.hub.serve_run_queue();
        self.hub.report();
        pings
    }

    fn idle(&self) -> u64 {
        self.hub.shared().metrics.closes.get(CloseReason::Idle)
    }
}

#[test]
fn ten_thousand_silent_peers_are_asked_one_after_the_other_and_stay() {
    const COUNT: usize = 10_000;
    let sweeps = |time: Duration| (time.as_millis() / SWEEP_PERIOD.as_millis()) as usize;
    let mut crowd = Crowd::of(COUNT);
    assert_eq!(crowd.pass(sweeps(PING_INTERVAL) - 1, |_| true).iter().sum::<usize>(), 0);
    let first = crowd.pass(sweeps(PING_INTERVAL), |_| true);
    assert_eq!(first.iter().sum::<usize>(), COUNT, "each is asked once in an interval");
    let most = COUNT * PINGS_OVER_EVEN as usize / sweeps(PING_INTERVAL);
    assert_eq!(first.iter().max(), Some(&most), "{first:?}");

    let later = crowd.pass(3 * sweeps(PING_INTERVAL), |_| true);
    assert!(later.iter().max() <= Some(&most), "{later:?}");
    assert_eq!((crowd.hub.len(), crowd.idle()), (COUNT, 0));
    let sent = crowd.hub.shared().metrics.pings.get() as usize;
    assert_eq!(sent, COUNT + later.iter().sum::<usize>());
}

#[test]
fn who_vanished_is_ended_at_the_idle_timeout_whether_bytes_wait_for_it_or_not() {
    let mut crowd = Crowd::of(3);
    // One answers; one has gone; and one has gone when an echo of its own was on its way.
    let echo = [0x82, 0x81, 0, 0, 0, 0, 7];
    crowd.lines[2].0.borrow_mut().up.extend_from_slice(&echo);
    crowd.lines[2].0.borrow_mut().stuck = true;
    crowd.hub.wake(2, true, false, false);
    crowd.hub.serve_run_queue();

    let sweeps = |time: Duration| (time.as_millis() / SWEEP_PERIOD.as_millis()) as usize;
    let pings: usize = crowd.pass(sweeps(IDLE_TIMEOUT) - 1, |slot| slot == 0).iter().sum();
    assert!(pings >= 4, "{pings}: two are asked, and asked again");
    assert_eq!(crowd.hub.len(), 3);
    // A second for the sweep to come round, and the time that a close frame is waited for.
    crowd.pass(sweeps(CLOSE_TIMEOUT) + 2 * SWEEP_PARTS, |slot| slot == 0);
    assert_eq!((crowd.hub.len(), crowd.idle()), (1, 2));
}

#[test]
fn the_share_of_a_sweep_follows_the_table_and_the_interval() {
    let seconds = |secs| Some(Duration::from_secs(secs));
    assert_eq!(pings_of_a_sweep(10_000, seconds(10)), 200);
    assert_eq!(pings_of_a_sweep(10_001, seconds(10)), 201);
    assert_eq!(pings_of_a_sweep(100, seconds(10)), PINGS_PER_SWEEP_MIN);
    assert_eq!(pings_of_a_sweep(10_000, Some(Duration::from_millis(100))), 20_000);
    assert_eq!(pings_of_a_sweep(10_000, None), 0);
}
