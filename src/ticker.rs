//! The simulation thread: sleeps until a room is due, drains commands, steps the room, hands out the batch.
//!
//! The thread is woken by the clock alone: commands wait for the tick, which would not make use of them earlier. It
//! never waits for anybody: a batch that an io thread's channel does not take is given up, and the room says again what
//! that thread must not miss. A flood of commands holds up a tick by one channel's worth at most.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::bridge::{Batch, COMMAND_LISTS_MAX, CommandList, Delivery};
use crate::flight::{Flight, Overrun, Stopwatch};
use crate::metrics::{ChatResult, Metrics, Queue, Role, SegmentKind};
use crate::sim::clock::Due;
use crate::sim::{AnyRoom, Clock, RoomCounts};
use crate::stage::{Stage, Stages};
use crate::time::Time;

/// The way to an io thread.
pub struct Output {
    /// Takes batches; bounded.
    pub sender: Sender<Delivery>,
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
    /// `flight` knows the time and what is counted; it must be the same for all threads.
    ///
    /// # Panics
    /// If the rooms are not numbered 0, 1, 2 …
    pub fn spawn(
        rooms: Vec<Box<dyn AnyRoom>>,
        commands: Receiver<CommandList>,
        outputs: Vec<Output>,
        flight: &Arc<Flight>,
    ) -> io::Result<Ticker> {
        assert!(rooms.iter().enumerate().all(|(at, room)| room.id().0 as usize == at), "rooms count from 0");
        let stop = Arc::new(AtomicBool::new(false));
        let mut shell = Shell::new(rooms, commands, outputs, flight);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("ticker".into()).spawn(move || shell.run(&stopped))?;
        Ok(Ticker { thread, stop })
    }

    /// Whether the thread has ended, which it does not do by itself.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the thread after the tick it is in.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.thread().unpark();
        // A panic in there was printed when it happened. A game's panic is none: it ends its room.
        let _ = self.thread.join();
    }
}

struct Shell {
    rooms: Vec<TimedRoom>,
    /// When each room is due, soonest first.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    commands: Receiver<CommandList>,
    outputs: Vec<Output>,
    metrics: Arc<Metrics>,
    flight: Arc<Flight>,
    watch: Stopwatch,
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
        commands: Receiver<CommandList>,
        outputs: Vec<Output>,
        flight: &Arc<Flight>,
    ) -> Shell {
        let watch = flight.stopwatch("ticker".to_owned(), Role::Simulation);
        let (metrics, flight) = (Arc::clone(flight.metrics()), Arc::clone(flight));
        let (timed, agenda) = (Vec::new(), BinaryHeap::new());
        let mut shell = Shell { rooms: timed, agenda, commands, outputs, metrics, flight, watch };
        let now = shell.flight.now();
        for (at, room) in rooms.into_iter().enumerate() {
            let clock = Clock::in_phase(now, room.tick_rate(), at as u32);
            shell.agenda.push(Reverse((clock.next_due(), at)));
            shell.rooms.push(TimedRoom { room, clock, players: 0 });
        }
        shell
    }

    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            let Some(&Reverse((due, at))) = self.agenda.peek() else {
                self.watch.wait(None);
                thread::park();
                continue;
            };
            let now = self.flight.now();
            if now < due {
                self.watch.wait(Some(due));
                thread::park_timeout(due.since(now));
                continue;
            }
            self.agenda.pop();
            let clock = &mut self.rooms[at].clock;
            let due = clock.poll(now);
            self.agenda.push(Reverse((clock.next_due(), at)));
            if let Some(due) = due {
                self.step(at, due);
            }
        }
    }

    /// Hands each waiting command to its room; what comes in meanwhile waits for the next time.
    fn drain(&mut self) {
        let now = self.watch.now();
        for CommandList { read, commands } in self.commands.try_iter().take(COMMAND_LISTS_MAX) {
            let age = now.since(read);
            self.metrics.queue_age.observe_each(Queue::Commands, age, commands.len() as u64);
            for command in commands {
                match self.rooms.get_mut(command.room.0 as usize) {
                    Some(timed) => timed.room.command(command),
                    None => _ = self.metrics.commands_stale.inc(),
                }
            }
        }
    }

    fn step(&mut self, at: usize, due: Due) {
        let id = self.rooms[at].room.id();
        self.watch.enter_room(Stage::Drain, id);
        let started = self.watch.now();
        self.drain();
        let TimedRoom { room, players, .. } = &mut self.rooms[at];
        let batch = room.step(due.ticks, due.at, &mut self.watch);
        self.watch.enter(Stage::HandOut);
        let handed_out = self.watch.now();
        for (thread, output) in self.outputs.iter().enumerate() {
            let thread = thread as u16;
            if !concerns(&batch, thread) {
                continue;
            }
            if let Err(TrySendError::Full(_)) =
                output.sender.try_send(Delivery { handed_out, batch: Arc::clone(&batch) })
            {
                room.undelivered(thread);
                self.metrics.batches_undelivered.inc();
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
            metrics.rooms_failed.inc();
        }
        count(metrics, &counts);
        let period = Duration::from_secs(1) / room.tick_rate() as u32;
        self.watch.rest();
        let took = self.watch.now().since(started);
        metrics.tick_duration.observe(took);
        if due.skipped > 0 || took > period * due.ticks {
            self.flight.overran(Overrun { room: id, took, skipped: due.skipped });
        }
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
    metrics.inputs_repeated.inc_by(counts.inputs_repeated);
    metrics.commands_stale.inc_by(counts.commands_stale);
    metrics.commands_wrong.inc_by(counts.commands_wrong);
    metrics.transients_dropped.inc_by(counts.transients_dropped);
    metrics.wants.inc_by(counts.wants);
    metrics.chat.inc_by(ChatResult::Relayed, counts.chat_relayed);
    metrics.chat.inc_by(ChatResult::RateLimited, counts.chat_limited);
    metrics.chat.inc_by(ChatResult::Invalid, counts.chat_invalid);
    metrics.segments_encoded.inc_by(SegmentKind::Delta, counts.deltas);
    metrics.segments_encoded.inc_by(SegmentKind::Snapshot, counts.snapshots);
}

#[cfg(test)]
mod tests {
    // A shell: it runs on the clock.
    #![allow(clippy::disallowed_types)]

    use super::*;

    use std::time::Instant;

    use crossbeam_channel::{bounded, unbounded};
    use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
    use tickyard_protocol::types::{PlayerId, Tick};

    use crate::bridge::{Ask, Command, ConnId, Join, Leave, RoomId, SharedBatch};
    use crate::game::{Game, Joining, Refusal, World};
    use crate::sim::clock::CATCH_UP_MAX;
    use crate::sim::{Room, RoomConfig};

    /// A game without things, which holds up one of its ticks.
    struct Stall {
        at: Tick,
        /// Hears nothing and so waits until the time is up.
        held_up_by: Receiver<()>,
        for_long: Duration,
    }

    struct Nothing;

    impl Game for Stall {
        type Thing = Nothing;
        type Input = Nothing;

        fn join(&mut self, _: &mut World<Nothing>, _: PlayerId, _: &Joining) -> Result<(), Refusal> {
            Ok(())
        }

        fn leave(&mut self, _: &mut World<Nothing>, _: PlayerId, _: Leave) {}

        fn input(&mut self, _: &mut World<Nothing>, _: PlayerId, _: &Nothing) {}

        fn tick(&mut self, _: &mut World<Nothing>, tick: Tick) {
            if tick == self.at {
                let _ = self.held_up_by.recv_timeout(self.for_long);
            }
        }
    }

    impl Kinds for Nothing {
        fn kinds() -> Vec<Kind> {
            vec![]
        }

        fn kind(&self) -> u8 {
            0
        }

        fn write(&self, _: &mut [i32]) {}
    }

    impl Fields for Nothing {
        fn fields() -> Vec<Field> {
            vec![]
        }

        fn write(&self, _: &mut [i32]) {}

        fn read(_: &[i32]) -> Nothing {
            Nothing
        }
    }

    /// A ticker with one room at 60 Hz and as many io threads as there are channels.
    struct Rig {
        ticker: Ticker,
        commands: Sender<CommandList>,
        batches: Vec<Receiver<Delivery>>,
        wakes: Receiver<usize>,
        metrics: Arc<Metrics>,
        /// Keeps the stall waiting.
        _hold: Sender<()>,
    }

    impl Rig {
        fn new(channels: &[usize], stall_at: u32, for_long: Duration) -> Rig {
            let (_hold, held_up_by) = bounded(0);
            let game = Stall { at: Tick(stall_at), held_up_by, for_long };
            let (name, kind) = ("r".into(), "stall".into());
            let config = RoomConfig { id: RoomId(0), name, game: kind, tick_rate: 60, capacity: 9, seed: 0 };
            let room: Box<dyn AnyRoom> = Box::new(Room::new(config, game).unwrap());
            let (commands, drained) = bounded(COMMAND_LISTS_MAX);
            let (waking, wakes) = unbounded();
            let (mut outputs, mut batches) = (Vec::new(), Vec::new());
            for (thread, &capacity) in channels.iter().enumerate() {
                let (sender, receiver) = bounded(capacity);
                let waking = waking.clone();
                outputs.push(Output { sender, wake: Box::new(move || waking.send(thread).unwrap()) });
                batches.push(receiver);
            }
            let metrics = Arc::new(Metrics::new());
            let flight = Flight::new(Instant::now(), Arc::clone(&metrics), Box::new(|_| None), None);
            let flight = Arc::new(flight);
            let ticker = Ticker::spawn(vec![room], drained, outputs, &flight).unwrap();
            Rig { ticker, commands, batches, wakes, metrics, _hold }
        }

        fn join(&self, conn: ConnId) {
            let ask = Ask::Join(Box::new(Join { name: "Ada".into(), options: vec![] }));
            self.send(Command { room: RoomId(0), conn, ask });
        }

        fn send(&self, command: Command) {
            self.commands.send(CommandList { commands: vec![command], ..CommandList::default() }).unwrap();
        }

        fn batch(&self, thread: usize) -> SharedBatch {
            let delivery = self.batches[thread].recv_timeout(Duration::from_secs(10));
            delivery.expect("a batch comes every tick").batch
        }

        fn wake(&self) -> usize {
            self.wakes.recv_timeout(Duration::from_secs(10)).expect("a wake comes with every batch")
        }
    }

    fn conn(thread: u16, slot: u32) -> ConnId {
        ConnId { thread, slot, generation: 0 }
    }

    #[test]
    fn a_batch_goes_to_the_threads_that_it_concerns_and_wakes_each_once() {
        let rig = Rig::new(&[64, 64], 0, Duration::ZERO);
        rig.join(conn(1, 0));
        let first = rig.batch(1);
        assert_eq!(first.joined[0].conn, conn(1, 0));
        rig.send(Command { room: RoomId(9), conn: conn(0, 0), ask: Ask::Ack(0) });
        let (mut last, mut heard) = (first, 1);
        while rig.metrics.commands_stale.get() == 0 || heard < 4 {
            (last, heard) = (rig.batch(1), heard + 1);
        }
        rig.ticker.stop();
        assert_eq!(rig.batches[0].len(), 0);
        let wakes: Vec<usize> = rig.wakes.try_iter().collect();
        assert!(wakes.iter().all(|&thread| thread == 1));
        assert_eq!(wakes.len(), heard + rig.batches[1].len());
        assert_eq!((rig.metrics.players.get(), rig.metrics.commands_stale.get()), (1, 1));
        assert!(rig.metrics.ticks.get() >= last.tick().0 as u64);
        assert!(rig.metrics.tick_lag.count() >= 4 && rig.metrics.tick_duration.count() >= 4);
    }

    #[test]
    fn a_thread_that_does_not_keep_up_hears_later_what_it_must_not_miss() {
        let rig = Rig::new(&[1], 0, Duration::ZERO);
        rig.join(conn(0, 0));
        rig.wake();
        rig.join(conn(0, 1));
        // The first batch fills the channel; meanwhile the second player was let in.
        while rig.metrics.players.get() < 2 {
            rig.wake();
        }
        assert_eq!(rig.batch(0).joined.len(), 1);
        let second = rig.batch(0);
        assert_eq!(second.joined.iter().map(|joined| joined.conn).collect::<Vec<_>>(), [conn(0, 1)]);
        assert!(second.parts.iter().all(|part| part.view.is_some()), "views come again");
        rig.ticker.stop();
    }

    #[test]
    fn after_a_stall_a_few_ticks_are_caught_up_at_once_and_the_others_are_counted() {
        let rig = Rig::new(&[64], 4, Duration::from_millis(300));
        rig.join(conn(0, 0));
        let mut batches: Vec<SharedBatch> = Vec::new();
        while batches.len() < 6 || rig.metrics.tick_overruns.get() == 0 {
            batches.push(rig.batch(0));
        }
        rig.ticker.stop();
        let steps = batches.windows(2).map(|pair| pair[1].tick().since(pair[0].tick()));
        assert!(
            steps.clone().all(|step| (1..=CATCH_UP_MAX).contains(&step)),
            "{:?}",
            steps.collect::<Vec<_>>()
        );
        // 300 ms are 18 periods.
        assert!(rig.metrics.tick_overruns.get() >= 18 - CATCH_UP_MAX as u64 - 1);
    }

    #[test]
    fn a_flood_of_commands_does_not_hold_up_the_ticks() {
        let rig = Rig::new(&[64], 0, Duration::ZERO);
        rig.join(conn(0, 0));
        let first = rig.batch(0).tick();
        let flood: Vec<_> =
            (0..100).map(|_| Command { room: RoomId(0), conn: conn(0, 7), ask: Ask::Ack(0) }).collect();
        while rig.batches[0].is_empty() || rig.batch(0).tick().since(first) < 20 {
            let _ = rig.commands.try_send(CommandList { commands: flood.clone(), ..CommandList::default() });
        }
        rig.ticker.stop();
        assert!(rig.metrics.commands_stale.get() > 1000);
    }
}
