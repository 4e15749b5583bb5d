//! The simulation thread: sleeps until a room is due, drains commands, steps the room, hands out the batch.
//!
//! The thread is woken by the clock alone: commands wait for the tick, which would not make use of them earlier. It
//! never waits for anybody: a batch that an io thread's channel does not take is given up, and the room says again what
//! that thread must not miss. A flood of commands holds up a tick by one channel's worth at most.
#![allow(clippy::disallowed_types)] // A shell: here a clock turns into `Time`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::bridge::{Batch, COMMAND_LISTS_MAX, Command, SharedBatch};
use crate::metrics::{ChatResult, Metrics, SegmentKind};
use crate::sim::clock::Due;
use crate::sim::{AnyRoom, Clock, RoomCounts};
use crate::time::Time;

/// The way to an io thread.
pub struct Output {
    /// Takes batches; bounded.
    pub sender: Sender<SharedBatch>,
    /// Wakes the thread, after a batch was put there.
    pub wake: Box<dyn Fn() + Send>,
}

/// The running simulation thread.
#[derive(Debug)]
pub struct Ticker {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Ticker {
    /// Starts the thread. Rooms are numbered from 0; their first ticks come within two periods from now.
    ///
    /// `origin` is [`Time::ZERO`], and must be the same for all threads.
    ///
    /// # Panics
    /// If the rooms are not numbered 0, 1, 2 …
    pub fn spawn(
        rooms: Vec<Box<dyn AnyRoom>>,
        commands: Receiver<Vec<Command>>,
        outputs: Vec<Output>,
        metrics: Arc<Metrics>,
        origin: Instant,
    ) -> io::Result<Ticker> {
        assert!(rooms.iter().enumerate().all(|(at, room)| room.id().0 as usize == at), "rooms count from 0");
        let stop = Arc::new(AtomicBool::new(false));
        let mut shell = Shell::new(rooms, commands, outputs, metrics, origin);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("ticker".into()).spawn(move || shell.run(&stopped))?;
        Ok(Ticker { thread, stop })
    }

    /// Ends the thread after the tick it is in.
    ///
    /// # Panics
    /// If the thread has panicked. A game's panic does not do that: it ends its room.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.thread().unpark();
        self.thread.join().expect("the simulation thread panicked");
    }
}

struct Shell {
    rooms: Vec<TimedRoom>,
    /// When each room is due, soonest first.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    commands: Receiver<Vec<Command>>,
    outputs: Vec<Output>,
    metrics: Arc<Metrics>,
    origin: Instant,
}

struct TimedRoom {
    room: Box<dyn AnyRoom>,
    clock: Clock,
    /// How many of the players in the gauge are this room's.
    players: usize,
}

impl Shell {
    fn new(
        rooms: Vec<Box<dyn AnyRoom>>,
        commands: Receiver<Vec<Command>>,
        outputs: Vec<Output>,
        metrics: Arc<Metrics>,
        origin: Instant,
    ) -> Shell {
        let mut shell =
            Shell { rooms: Vec::new(), agenda: BinaryHeap::new(), commands, outputs, metrics, origin };
        let now = shell.now();
        for (at, room) in rooms.into_iter().enumerate() {
            let clock = Clock::in_phase(now, room.tick_rate(), at as u32);
            shell.agenda.push(Reverse((clock.next_due(), at)));
            shell.rooms.push(TimedRoom { room, clock, players: 0 });
        }
        shell
    }

    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            let Some(&Reverse((due, at))) = self.agenda.peek() else { return thread::park() };
            let now = self.now();
            if now < due {
                thread::park_timeout(due.since(now));
                continue;
            }
            self.agenda.pop();
            let clock = &mut self.rooms[at].clock;
            let due = clock.poll(now);
            self.agenda.push(Reverse((clock.next_due(), at)));
            if let Some(due) = due {
                self.drain();
                self.step(at, due);
            }
        }
    }

    /// Hands each waiting command to its room; what comes in meanwhile waits for the next time.
    fn drain(&mut self) {
        for commands in self.commands.try_iter().take(COMMAND_LISTS_MAX) {
            for command in commands {
                match self.rooms.get_mut(command.room.0 as usize) {
                    Some(timed) => timed.room.command(command),
                    None => _ = self.metrics.commands_stale.inc(),
                }
            }
        }
    }

    fn step(&mut self, at: usize, due: Due) {
        let started = self.now();
        let TimedRoom { room, players, .. } = &mut self.rooms[at];
        let batch = room.step(due.ticks, due.at);
        for (thread, output) in self.outputs.iter().enumerate() {
            let thread = thread as u16;
            if !concerns(&batch, thread) {
                continue;
            }
            if let Err(TrySendError::Full(_)) = output.sender.try_send(Arc::clone(&batch)) {
                room.undelivered(thread);
            }
            (output.wake)();
        }

        let metrics = &self.metrics;
        metrics.ticks.inc_by(due.ticks as u64);
        metrics.tick_overruns.inc_by(due.skipped);
        metrics.tick_lag.observe(started.since(due.at));
        let now = room.players();
        metrics.players.inc_by(now as i64 - *players as i64);
        *players = now;
        let counts = room.take_counts();
        if counts.failures > 0 {
            tracing::error!(room = at, "the room's game panicked; its players are sent away");
        }
        count(metrics, &counts);
        metrics.tick_duration.observe(self.now().since(started));
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }
}

/// Whether a batch has anything for an io thread.
fn concerns(batch: &Batch, thread: u16) -> bool {
    !batch.parts_of(thread).is_empty()
        || batch.joined.iter().any(|joined| joined.conn.thread == thread)
        || batch.refused.iter().any(|refusal| refusal.conn.thread == thread)
        || batch.removed.iter().any(|removed| removed.conn.thread == thread)
}

fn count(metrics: &Metrics, counts: &RoomCounts) {
    metrics.inputs.inc_by(counts.inputs);
    metrics.inputs_skipped.inc_by(counts.inputs_skipped);
    metrics.commands_stale.inc_by(counts.commands_stale);
    metrics.wants.inc_by(counts.wants);
    metrics.chat.inc_by(ChatResult::Relayed, counts.chat_relayed);
    metrics.chat.inc_by(ChatResult::RateLimited, counts.chat_limited);
    metrics.chat.inc_by(ChatResult::Invalid, counts.chat_invalid);
    metrics.segments_encoded.inc_by(SegmentKind::Delta, counts.deltas);
    metrics.segments_encoded.inc_by(SegmentKind::Snapshot, counts.snapshots);
}
