//! A room: one isolated instance of a game, stepped by the ticker.
//!
//! A step simulates one tick (after a stall a few) and publishes once, in this order: commands as they came in; inputs, by
//! seat; timers; [`Game::tick`]; what was touched, cell by cell; views; the batch. The list of commands between two steps is the
//! journal: the same journal and seed give the same states and the same bytes of every delta and snapshot.
//!
//! If the game panics, its room is over: every player is told, nobody gets in any more, and other rooms do not notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tickyard_protocol::SERVER_CONTROL_BYTES_MAX;
use tickyard_protocol::fields::{Fields, Kinds, Schema, SchemaError, Shapes, check_fields};
use tickyard_protocol::message::{ServerControl, Welcome, decode_server_control, encode_server_control};
use tickyard_protocol::types::{CellId, PlayerId, Tick};

use pool::Pool;
use publication::{clear, ours};

use super::counts::{Digest, RoomCounts};
use super::interest::{EVERYWHERE, Grid};
use super::players::{Bucket, Seats};
use super::publish::{NOWHERE, Publisher};
use crate::bridge::{
    Ask, Batch, Command, ConnId, Leave, Refusal, Removed, RemovedWhy, RoomId, Segments, SharedBatch,
};
use crate::game::{Effect, Game, Place, World};
use crate::stage::{Stage, Stages};
use crate::time::Time;

mod commands;
mod pool;
mod publication;
#[cfg(test)]
mod tests;

/// What the ticker needs of a room, whatever its game.
pub trait AnyRoom: Send {
    /// The room's number in its process.
    fn id(&self) -> RoomId;

    /// Steps a second.
    fn tick_rate(&self) -> u16;

    /// Takes a command in; the next step obeys it.
    fn command(&mut self, command: Command);

    /// Simulates so many ticks, at least one, and publishes once. `due` is when the last of them was due; `stages` is told where
    /// the step is.
    fn step(&mut self, ticks: u32, due: Time, stages: &mut dyn Stages) -> SharedBatch;

    /// The last batch did not get to an io thread: what that thread must not miss comes again.
    fn undelivered(&mut self, thread: u16);

    /// Whether nothing will happen here until a command comes: then it is not stepped. Its time stands still meanwhile, so its tick
    /// still follows from its journal.
    fn sleeps(&self) -> bool;

    /// How many players there are.
    fn players(&self) -> usize;

    /// A hash over the state that a journal leads to.
    fn hash(&self) -> u64;

    /// What happened since the last call.
    fn take_counts(&mut self) -> RoomCounts;
}

/// What a room is told when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomConfig {
    /// Its number in its process.
    pub id: RoomId,
    /// What clients call it.
    pub name: String,
    /// Which game is played.
    pub game: String,
    /// Steps a second, 1 to 60.
    pub tick_rate: u16,
    /// Seats.
    pub capacity: u32,
    /// Where its random source begins.
    pub seed: u64,
}

/// One instance of a game.
pub struct Room<G: Game> {
    config: RoomConfig,
    game: G,
    world: World<G::Thing>,
    tick: Tick,
    seats: Seats,
    player_last: u32,
    grid: Grid,
    publisher: Publisher,
    /// Commands for the next step, and how many of them this step has obeyed.
    commands: Vec<Command>,
    obeyed: usize,
    /// Who is being let in: if the game panics meanwhile, that connection must be answered too.
    joining: Option<ConnId>,
    /// Seats with inputs that wait; may name one twice, or one that has none any more.
    eager: Vec<u32>,
    /// Seats to be taken away.
    doomed: Vec<u32>,
    chat: Bucket,
    news: News,
    undelivered: Vec<u16>,
    input_fields: usize,
    /// With the newest player's number and tick.
    welcome: ServerControl,
    /// Kept for their memory, as are the segments, which others need for longer.
    batches: Pool<Batch>,
    segments: Pool<Segments>,
    counts: RoomCounts,
    has_failed: bool,
    /// Kept for their memory.
    effects: Vec<Effect>,
    body: Vec<u8>,
}

/// What an io thread must hear about connections: said in each batch until the thread got one.
#[derive(Debug, Default)]
struct News {
    joined: Vec<(ConnId, PlayerId)>,
    refused: Vec<Refusal>,
    removed: Vec<Removed>,
}

impl<G: Game> Room<G> {
    /// Opens a room; an error says what is wrong with the game's schema.
    pub fn new(config: RoomConfig, game: G) -> Result<Room<G>, SchemaError> {
        let schema = Schema { kinds: G::Thing::kinds(), input: G::Input::fields() };
        let shapes = Shapes::new(&schema.kinds)?;
        check_fields(&schema.input)?;
        let input_fields = schema.input.len();
        // Player and tick with as many bytes as they will ever take.
        let welcome = ServerControl::Welcome(Welcome {
            player: PlayerId(u32::MAX),
            resume: Vec::new(),
            room: config.name.clone(),
            game: config.game.clone(),
            tick: Tick(u32::MAX),
            tick_rate: config.tick_rate,
            step_micros: 1_000_000 / config.tick_rate as u32,
            schema,
            tags: Vec::new(),
        });
        check_length(&welcome)?;
        let grid = Grid::new(game.layout());
        let mut publisher = Publisher::new(shapes);
        publisher.open(grid.far());
        Ok(Room {
            world: World::new(config.seed),
            tick: Tick(0),
            seats: Seats::default(),
            player_last: 0,
            grid,
            publisher,
            commands: Vec::new(),
            obeyed: 0,
            joining: None,
            eager: Vec::new(),
            doomed: Vec::new(),
            chat: Bucket::default(),
            news: News::default(),
            undelivered: Vec::new(),
            input_fields,
            welcome,
            batches: Pool::new(),
            segments: Pool::new(),
            counts: RoomCounts::default(),
            has_failed: false,
            effects: Vec::new(),
            body: Vec::new(),
            config,
            game,
        })
    }

    /// The world as the game sees it.
    pub fn world(&self) -> &World<G::Thing> {
        &self.world
    }

    /// The game.
    pub fn game(&self) -> &G {
        &self.game
    }
}

impl<G: Game> AnyRoom for Room<G> {
    fn id(&self) -> RoomId {
        self.config.id
    }

    fn tick_rate(&self) -> u16 {
        self.config.tick_rate
    }

    fn command(&mut self, command: Command) {
        self.commands.push(command);
    }

    fn step(&mut self, ticks: u32, due: Time, stages: &mut dyn Stages) -> SharedBatch {
        assert!(ticks > 0, "a step is at least one tick");
        let mut shared = self.unused_batch();
        let batch = ours(&mut shared);
        self.forget_old_news();
        if !self.has_failed {
            // What a panic leaves behind half done is not looked at again.
            let step = catch_unwind(AssertUnwindSafe(|| {
                self.simulate(ticks, stages);
                self.publish(batch, stages);
            }));
            if step.is_err() {
                self.fail();
                clear(batch);
            }
        }
        if self.has_failed {
            self.refuse_all();
        }
        self.commands.clear();
        self.obeyed = 0;
        batch.room = Some(self.config.id);
        (batch.due, batch.tick_rate) = (due, self.config.tick_rate);
        ours(&mut batch.segments).tick = self.tick;
        self.tell_news(batch);
        self.keep_memory(&shared);
        shared
    }

    fn undelivered(&mut self, thread: u16) {
        if (thread as usize) < self.seats.threads() {
            for &seat in self.seats.of_thread(thread as usize).to_vec().iter() {
                let seat = &mut self.seats[seat];
                seat.view_is_news = true;
                seat.reliable.reoffer_last();
            }
        }
        for (conn, _) in self.news.joined.iter().filter(|(conn, _)| conn.thread == thread) {
            let Some(seat) = self.seats.of_conn(*conn) else { continue };
            self.seats[seat].view.cells().iter().for_each(|&cell| self.publisher.want(cell));
        }
        self.undelivered.push(thread);
    }

    fn sleeps(&self) -> bool {
        let is_empty = self.seats.len() == 0 && self.commands.is_empty();
        // A thread that missed the last batch has to be told again.
        is_empty && self.undelivered.is_empty() && (self.has_failed || self.game.sleeps())
    }

    fn players(&self) -> usize {
        self.seats.len()
    }

    fn hash(&self) -> u64 {
        let mut digest = Digest::new();
        digest.add(self.tick.0 as u64);
        digest.add(self.world.random_digest());
        digest.add(self.player_last as u64);
        for seat in self.seats.taken() {
            let seat = &self.seats[seat];
            digest.add(seat.player.0 as u64);
            digest.add_bytes(seat.name.as_bytes());
            digest.add((seat.inputs.applied().0 as u64) << 8 | seat.inputs.depth() as u64);
            digest.add((seat.heard as u64) << 32 | seat.reliable.upcoming() as u64);
            seat.view.iter().for_each(|(cell, rate)| digest.add((rate as u64) << 32 | cell.0 as u64));
        }
        self.world.property_bodies().for_each(|body| digest.add_bytes(body));
        for (ticks, timer) in self.world.timers() {
            digest.add(ticks);
            digest.add(timer);
        }
        self.publisher.digest(&mut digest);
        digest.value()
    }

    fn take_counts(&mut self) -> RoomCounts {
        self.counts.transients_dropped += self.world.take_transients_dropped();
        std::mem::take(&mut self.counts)
    }
}

/// The simulation.
impl<G: Game> Room<G> {
    fn simulate(&mut self, ticks: u32, stages: &mut dyn Stages) {
        for step in 0..ticks {
            stages.enter(Stage::Apply);
            self.tick = self.tick.after(1);
            self.world.begin(self.tick);
            if step == 0 {
                self.obey_commands();
            }
            self.apply_inputs();
            stages.enter(Stage::Game);
            self.ring_timers();
            self.game.tick(&mut self.world, self.tick);
            stages.enter(Stage::Collect);
            self.carry_out();
            self.free_the_doomed();
        }
    }

    fn apply_inputs(&mut self) {
        let mut eager = std::mem::take(&mut self.eager);
        // By seat, so that it does not matter which thread's commands were drained first.
        eager.sort_unstable();
        eager.dedup();
        eager.retain(|&seat| {
            let Some(sits) = self.seats.get_mut(seat) else { return false };
            for _ in 0..sits.inputs.due() {
                let input = sits.inputs.pop().expect("as many wait as are due");
                let input = G::Input::read(&input.row[..self.input_fields]);
                self.game.input(&mut self.world, sits.player, &input);
            }
            sits.inputs.depth() > 0
        });
        self.eager = eager;
        self.carry_out();
    }

    /// Ends: a timer that is set now is due in a later tick.
    fn ring_timers(&mut self) {
        while let Some(timer) = self.world.pop_timer() {
            self.game.timer(&mut self.world, timer);
        }
    }

    /// Does what the game asked the world for.
    fn carry_out(&mut self) {
        if !self.world.has_effects() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.world.swap_effects(&mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Look { player, look } => {
                    if let Some(seat) = self.seats.of_player(player) {
                        let sits = &mut self.seats[seat];
                        (sits.look, sits.view_is_stale) = (look, true);
                    }
                }
                Effect::Property { body, .. } | Effect::Reliable { to: None, body } => self.send(None, body),
                Effect::Reliable { to: Some(player), body } => {
                    if let Some(seat) = self.seats.of_player(player) {
                        self.send(Some(seat), body);
                    }
                }
                Effect::Transient { place, kind, payload } => {
                    let cell = cell_of(place, &self.grid, &mut self.seats);
                    if cell != NOWHERE {
                        self.publisher.happen(cell, kind, payload);
                    }
                }
            }
        }
        self.effects = effects;
    }

    /// Queues a reliable message for one seat or for all.
    fn send(&mut self, to: Option<u32>, body: Arc<[u8]>) {
        match to {
            Some(seat) => queue(&mut self.seats, seat, body, &mut self.doomed),
            None => {
                for at in 0..self.seats.slots() {
                    if self.seats.get_mut(at).is_some() {
                        queue(&mut self.seats, at, Arc::clone(&body), &mut self.doomed);
                    }
                }
            }
        }
    }

    /// Takes away the seats of players who did not acknowledge. What the game says about it may doom others.
    fn free_the_doomed(&mut self) {
        while let Some(seat) = self.doomed.pop() {
            // Doomed and then left within one tick: nobody is there, or somebody else.
            let Some(sits) = self.seats.get_mut(seat).filter(|sits| sits.is_doomed) else { continue };
            self.news.removed.push(Removed { conn: sits.conn, why: RemovedWhy::ReliableOverflow });
            self.leave(seat, Leave::Removed);
        }
    }

    fn fail(&mut self) {
        self.has_failed = true;
        self.counts.failures += 1;
        self.news.joined.clear();
        for seat in self.seats.taken() {
            self.news.removed.push(Removed { conn: self.seats[seat].conn, why: RemovedWhy::RoomFailed });
        }
    }

    /// Answers whoever asks a failed room for a seat.
    fn refuse_all(&mut self) {
        let seats = std::mem::take(&mut self.seats);
        let later = self.commands.drain(self.obeyed..).filter(|command| matches!(command.ask, Ask::Join(_)));
        for conn in self.joining.take().into_iter().chain(later.map(|command| command.conn)) {
            if seats.of_conn(conn).is_none() {
                self.news.refused.push(Refusal::of_failed_room(conn));
            }
        }
    }
}

/// A welcome that no client takes would turn everybody away: better that the room does not open. A client's limit is not
/// on the bytes alone, so its own decoder is asked.
fn check_length(welcome: &ServerControl) -> Result<(), SchemaError> {
    let mut bytes = Vec::new();
    encode_server_control(welcome, &mut bytes);
    let fits = bytes.len() <= SERVER_CONTROL_BYTES_MAX && decode_server_control(&bytes[1..]).is_ok();
    if fits { Ok(()) } else { Err(SchemaError::TooLong) }
}

/// In which cell a place is; [`NOWHERE`] if it is for a player who is gone.
fn cell_of(place: Place, grid: &Grid, seats: &mut Seats) -> CellId {
    match place {
        Place::At(x, y) => grid.cell_at(x, y),
        Place::Everywhere => EVERYWHERE,
        Place::Only(player) => {
            let Some(seat) = seats.of_player(player) else { return NOWHERE };
            let sits = &mut seats[seat];
            sits.view_is_stale |= !sits.has_private;
            sits.has_private = true;
            grid.private(seat)
        }
    }
}

fn queue(seats: &mut Seats, seat: u32, body: Arc<[u8]>, doomed: &mut Vec<u32>) {
    let sits = &mut seats[seat];
    if !sits.is_doomed && !sits.reliable.push(body) {
        sits.is_doomed = true;
        doomed.push(seat);
    }
}
