//! The simulation threads: each sleeps until a phase is due, drains commands, steps the phase's rooms, hands out their batches.
//!
//! Rooms are dealt out to the threads, and on each thread to phases, which lie evenly in the tick period: so the last room's
//! updates do not have to wait for everybody else's. The rooms of a phase are stepped together, and make one list for each io thread, and
//! one wake. Threads share nothing but the opening of rooms: what a room does follows from its commands alone, whoever steps it.
//!
//! A thread is woken by the clock alone: commands wait for the tick, which would not make use of them earlier. It never waits for
//! anybody: a list of batches that an io thread's channel does not take is given up, and the rooms say again what that thread
//! must not miss. A flood of commands holds up a tick by one channel's worth at most. A room that sleeps ([`AnyRoom::sleeps`]) is not
//! stepped until a command comes for it.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::bridge::{COMMAND_LISTS_MAX, Command, CommandList, DRAINED_MAX, Delivery, RoomId, SharedBatch};
use crate::flight::{Flight, Overrun, Stopwatch};
use crate::lobby::Lobby;
use crate::metrics::{ChatResult, Metrics, Queue, Role, SegmentKind};
use crate::sim::clock::Due;
use crate::sim::{AnyRoom, Clock, RoomCounts, Unopened};
use crate::stage::{Stage, Stages};
use crate::time::Time;

/// The way to an io thread.
#[derive(Clone)]
pub struct Output {
    /// Takes batches; bounded.
    pub sender: Sender<Delivery>,
    /// Wakes the thread, after batches were put there.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// The rooms of a server, for the simulation.
pub struct Rooms {
    /// Those that are open from the start.
    pub open: Vec<Box<dyn AnyRoom>>,
    /// Opens one that commands come for; `None`: there is no such room.
    pub opener: Opener,
    /// Is told when one fails.
    pub lobby: Arc<Lobby>,
    /// Over how many phases of the tick period they are spread, at least 1.
    pub phases: u32,
    /// At which rate commands are looked for while no room ticks.
    pub tick_rate: u16,
}

/// Opens a room by its number in the process.
pub type Opener = Box<dyn FnMut(RoomId) -> Option<Box<dyn AnyRoom>> + Send>;

/// The running simulation threads.
#[derive(Debug)]
pub struct Ticker {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Ticker {
    /// Starts a thread for each of `commands`; room `n` is stepped by thread `n % threads`. The first tick of a room comes within two periods
    /// after it opened.
    ///
    /// `flight` knows the time and what is counted; it must be the same for all threads.
    pub fn spawn(
        rooms: Rooms,
        commands: Vec<Receiver<CommandList>>,
        outputs: &[Output],
        flight: &Arc<Flight>,
    ) -> io::Result<Ticker> {
        let Rooms { open, opener, lobby, phases, tick_rate } = rooms;
        let (opener, threads, start) = (Arc::new(Mutex::new(opener)), commands.len(), flight.now());
        let name = |index| if threads == 1 { "ticker".to_owned() } else { format!("ticker-{index}") };
        let shell = |(index, commands)| Shell {
            threads,
            rooms: Vec::new(),
            spread: phases,
            phases: Vec::new(),
            agenda: BinaryHeap::new(),
            opener: Arc::clone(&opener),
            lobby: Arc::clone(&lobby),
            commands,
            outputs: outputs.to_vec(),
            lists: vec![Vec::new(); outputs.len()],
            drained: vec![Vec::new(); outputs.len()],
            metrics: Arc::clone(flight.metrics()),
            watch: flight.stopwatch(name(index), Role::Simulation),
            flight: Arc::clone(flight),
            tick_rate,
            start,
        };
        let mut shells: Vec<Shell> = commands.into_iter().enumerate().map(shell).collect();
        // So that each thread looks for commands.
        shells.iter_mut().for_each(|shell| _ = shell.phase(tick_rate, 0));
        open.into_iter().for_each(|room| shells[room.id().0 as usize % threads].take_in(room));
        let mut ticker = Ticker { threads: Vec::new(), stop: Arc::default() };
        for (index, mut shell) in shells.into_iter().enumerate() {
            let stop = Arc::clone(&ticker.stop);
            let spawned = thread::Builder::new().name(name(index)).spawn(move || shell.run(&stop));
            match spawned {
                Ok(thread) => ticker.threads.push(thread),
                Err(error) => {
                    ticker.stop();
                    return Err(error);
                }
            }
        }
        Ok(ticker)
    }

    /// Whether a thread has ended, which none does by itself.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends each thread after the tick it is in.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            thread.thread().unpark();
            // A panic in there was printed when it happened. A game's panic is none: it ends its room.
            let _ = thread.join();
        }
    }
}

struct Shell {
    /// How many threads there are.
    threads: usize,
    /// By number, divided by the number of threads.
    rooms: Vec<Option<Seated>>,
    /// Over how many phases rooms are spread.
    spread: u32,
    phases: Vec<Phase>,
    /// When each phase is due, soonest first.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    opener: Arc<Mutex<Opener>>,
    lobby: Arc<Lobby>,
    commands: Receiver<CommandList>,
    outputs: Vec<Output>,
    /// By io thread: what is handed out after this step.
    lists: Vec<Vec<SharedBatch>>,
    /// By io thread: lists of commands to be given back with that.
    drained: Vec<Vec<Vec<Command>>>,
    metrics: Arc<Metrics>,
    flight: Arc<Flight>,
    watch: Stopwatch,
    tick_rate: u16,
    /// When the first period of the first phase began.
    start: Time,
}

/// Rooms that tick together.
struct Phase {
    rate: u16,
    number: u32,
    clock: Clock,
    /// Those that do not sleep.
    awake: Vec<usize>,
}

/// A room with its place in the periods.
struct Seated {
    room: Box<dyn AnyRoom>,
    phase: usize,
    is_awake: bool,
    /// How many of the players in the gauge are this room's.
    players: usize,
}

impl Shell {
    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            let Some(&Reverse((due, at))) = self.agenda.peek() else { return };
            let now = self.flight.now();
            if now < due {
                self.watch.wait(Some(due));
                thread::park_timeout(due.since(now));
                continue;
            }
            self.agenda.pop();
            let clock = &mut self.phases[at].clock;
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
        for _ in 0..COMMAND_LISTS_MAX {
            let Ok(CommandList { read, mut commands }) = self.commands.try_recv() else { return };
            self.metrics.queue_age.observe_each(Queue::Commands, now.since(read), commands.len() as u64);
            let thread = commands.first().map(|command| command.conn.thread);
            commands.drain(..).for_each(|command| self.hand_on(command));
            if let Some(drained) = thread.and_then(|thread| self.drained.get_mut(thread as usize))
                && drained.len() < DRAINED_MAX
            {
                drained.push(commands);
            }
        }
    }

    fn hand_on(&mut self, command: Command) {
        let at = command.room.0 as usize / self.threads;
        if self.rooms.get(at).is_none_or(Option::is_none) {
            self.open(command.room);
        }
        let Some(Some(seated)) = self.rooms.get_mut(at) else {
            self.metrics.commands_stale.inc();
            return;
        };
        seated.room.command(command);
        if !std::mem::replace(&mut seated.is_awake, true) {
            self.phases[seated.phase].awake.push(at);
            self.metrics.rooms_awake.inc();
        }
    }

    fn open(&mut self, id: RoomId) {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let opener = &mut *self.opener.lock().unwrap_or_else(PoisonError::into_inner);
            opener(id)
        }));
        match opened {
            Ok(Some(room)) => self.take_in(room),
            Ok(None) => {}
            Err(_) => {
                self.note_failure(id);
                self.take_in(Box::new(Unopened::new(id, self.tick_rate)));
            }
        }
    }

    /// A room is there from now on. It sleeps until something is asked of it, or begins to tick.
    fn take_in(&mut self, room: Box<dyn AnyRoom>) {
        let at = room.id().0 as usize / self.threads;
        let phase = self.phase(room.tick_rate(), phase_of(at as u32, self.spread));
        if at >= self.rooms.len() {
            self.rooms.resize_with(at + 1, || None);
        }
        let is_awake = !room.sleeps();
        if is_awake {
            self.phases[phase].awake.push(at);
            self.metrics.rooms_awake.inc();
        }
        self.rooms[at] = Some(Seated { room, phase, is_awake, players: 0 });
        self.metrics.rooms.inc();
    }

    /// The phase of a rate and number, made now if it is the first time.
    fn phase(&mut self, rate: u16, number: u32) -> usize {
        let known = self.phases.iter().position(|phase| (phase.rate, phase.number) == (rate, number));
        known.unwrap_or_else(|| {
            let at = self.phases.len();
            let mut clock = Clock::in_phase(self.start, rate, number, self.spread);
            // What is past was nobody's.
            clock.poll(self.flight.now());
            self.agenda.push(Reverse((clock.next_due(), at)));
            self.phases.push(Phase { rate, number, clock, awake: Vec::new() });
            at
        })
    }

    fn step(&mut self, phase: usize, due: Due) {
        self.watch.enter_room(Stage::Drain, None);
        let started = self.watch.now();
        self.drain();
        let mut awake = std::mem::take(&mut self.phases[phase].awake);
        let mut slowest = None;
        if !awake.is_empty() {
            let mut counts = RoomCounts::default();
            for &at in &awake {
                slowest = slowest.max(self.step_room(at, due, &mut counts));
            }
            self.watch.enter_room(Stage::HandOut, None);
            self.hand_out();
            self.count(&counts, due, awake.len() as u64);
            self.metrics.tick_lag.observe(started.since(due.at));
        }
        self.watch.rest();
        if let Some((_, room)) = slowest {
            let took = self.watch.now().since(started);
            self.metrics.tick_duration.observe(took);
            let period = Duration::from_secs(1) / self.phases[phase].rate as u32;
            if due.skipped > 0 || took > period * due.ticks {
                self.flight.overran(Overrun { room, took, skipped: due.skipped });
            }
        }
        awake.retain(|&at| self.stays_awake(at));
        self.phases[phase].awake = awake;
        self.watch.rest();
    }

    /// Returns how long it took.
    fn step_room(&mut self, at: usize, due: Due, counts: &mut RoomCounts) -> Option<(Duration, RoomId)> {
        let Seated { room, players, .. } = self.rooms[at].as_mut()?;
        let id = room.id();
        self.watch.enter_room(Stage::Apply, Some(id));
        let started = self.watch.now();
        let batch = room.step(due.ticks, due.at, &mut self.watch);
        self.watch.enter(Stage::HandOut);
        for (thread, list) in self.lists.iter_mut().enumerate() {
            if batch.concerns(thread as u16) {
                list.push(SharedBatch::clone(&batch));
            }
        }
        let now = room.players();
        if now != *players {
            self.metrics.players.inc_by(now as i64 - *players as i64);
            *players = now;
        }
        let happened = room.take_counts();
        if happened.failures > 0 {
            self.note_failure(id);
        }
        *counts += happened;
        Some((self.watch.now().since(started), id))
    }

    /// One list and one wake for each io thread that the rooms' batches concern.
    fn hand_out(&mut self) {
        let handed_out = self.watch.now();
        for (thread, output) in self.outputs.iter().enumerate() {
            let list = &mut self.lists[thread];
            if list.is_empty() {
                continue;
            }
            let next = Vec::with_capacity(list.len());
            let batches = std::mem::replace(list, next);
            let drained = &mut self.drained[thread];
            let next = Vec::with_capacity(drained.len());
            let drained = std::mem::replace(drained, next);
            let delivery = Delivery { handed_out, batches, drained };
            if let Err(TrySendError::Full(Delivery { batches, .. })) = output.sender.try_send(delivery) {
                self.metrics.batches_undelivered.inc_by(batches.len() as u64);
                for room in batches.iter().filter_map(|batch| batch.room) {
                    if let Some(seated) = &mut self.rooms[room.0 as usize / self.threads] {
                        seated.room.undelivered(thread as u16);
                    }
                }
            }
            (output.wake)();
        }
    }

    fn stays_awake(&mut self, at: usize) -> bool {
        let Some(seated) = &mut self.rooms[at] else { return false };
        seated.is_awake = !seated.room.sleeps();
        if !seated.is_awake {
            self.metrics.rooms_awake.dec();
        }
        seated.is_awake
    }

    fn note_failure(&self, room: RoomId) {
        tracing::error!(room = self.flight.room(room), "the room's game panicked; its players are sent away");
        self.metrics.rooms_failed.inc();
        self.lobby.end(room);
    }

    fn count(&self, counts: &RoomCounts, due: Due, rooms: u64) {
        let metrics = &self.metrics;
        metrics.ticks.inc_by(due.ticks as u64 * rooms);
        metrics.tick_overruns.inc_by(due.skipped * rooms);
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
}

/// The phase of a thread's room. Each phase gets as many rooms as any other, one more or less, and few rooms lie far apart.
fn phase_of(room: u32, phases: u32) -> u32 {
    // Steps of about the golden section of the period, which have no factor in common with it, come to every phase before the first one again.
    let divides = |factor: u32, stride: u32| phases.is_multiple_of(factor) && stride.is_multiple_of(factor);
    let has_none = |stride: &u32| !(2..=*stride).any(|factor| divides(factor, *stride));
    let far = |stride: &u32| (stride * 1000).abs_diff(phases * 618);
    let stride = (1..=phases).filter(has_none).min_by_key(far).unwrap_or(1);
    (room as u64 * stride as u64 % phases as u64) as u32
}

#[cfg(test)]
mod tests;
