//! A room: one isolated instance of a game, stepped by the ticker.
//!
//! A step simulates one tick (after a stall a few) and publishes once, in this order: commands as they came in; inputs, by
//! seat; [`Game::tick`]; what was touched, cell by cell; views; the batch. The list of commands between two steps is the
//! journal: the same journal and seed give the same states and the same bytes of every delta and snapshot.
//!
//! If the game panics, its room is over: every player is told, nobody gets in any more, and other rooms do not notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tickyard_protocol::fields::{Fields, Kinds, Schema, SchemaError, Shapes, check_fields};
use tickyard_protocol::message::{RefusalCode, ServerControl, Welcome, encode_server_control};
use tickyard_protocol::tick::{Reliable, put_reliable, put_self};
use tickyard_protocol::types::{CellId, PlayerId, Tick};

use super::counts::{Digest, RoomCounts};
use super::interest::{EVERYWHERE, Grid};
use super::players::{Bucket, Rate, Seats, Took};
use super::publish::{NOWHERE, Publisher};
use crate::bridge::{
    Ask, BATCHES_KEPT, BATCHES_MAX, Batch, Command, ConnId, Join, Joined, Leave, Message, Part, Refusal,
    Removed, RemovedWhy, RoomId, SharedBatch, Span,
};
use crate::game::{Effect, Game, Joining, Look, Place, World};
use crate::time::Time;

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

    /// Simulates so many ticks, at least one, and publishes once. `due` is when the last of them was due.
    fn step(&mut self, ticks: u32, due: Time) -> SharedBatch;

    /// The last batch did not get to an io thread: what that thread must not miss comes again.
    fn undelivered(&mut self, thread: u16);

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
    /// Who is being let in: if the game panics over it, that connection must be answered too.
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
    batches: Vec<SharedBatch>,
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

/// When a player who found the room full should try again.
const FULL_RETRY_MILLIS: u32 = 5000;

/// The message kind that is the room's own.
const CHAT_KIND: &str = "chat";
const CHAT_REFUSED_KIND: &str = "chat-refused";
const CHAT_BYTES_MAX: usize = 200;
/// What one player may say.
const CHAT_RATE: Rate = Rate { per_second: 2, burst: 4 };
/// What all players together may say: each line goes to every player.
const ROOM_CHAT_RATE: Rate = Rate { per_second: 32, burst: 64 };

/// Reliable bytes for one player in one batch.
const RELIABLE_BYTES_MAX: usize = 24 * 1024;
/// Reliable bytes for all players in one batch; the rest comes in the next ones.
const RELIABLE_BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Batches kept for their memory: as many as may be in use at a time, and some.
const BATCHES_POOLED_MAX: usize = BATCHES_MAX + BATCHES_KEPT + 8;

impl<G: Game> Room<G> {
    /// Opens a room; an error says what is wrong with the game's schema.
    pub fn new(config: RoomConfig, game: G) -> Result<Room<G>, SchemaError> {
        let schema = Schema { kinds: G::Thing::kinds(), input: G::Input::fields() };
        let shapes = Shapes::new(&schema.kinds)?;
        check_fields(&schema.input)?;
        let input_fields = schema.input.len();
        let welcome = ServerControl::Welcome(Welcome {
            player: PlayerId(0),
            resume: Vec::new(),
            room: config.name.clone(),
            game: config.game.clone(),
            tick: Tick(0),
            tick_rate: config.tick_rate,
            step_micros: 1_000_000 / config.tick_rate as u32,
            schema,
            tags: Vec::new(),
        });
        Ok(Room {
            world: World::new(config.seed),
            tick: Tick(0),
            seats: Seats::default(),
            player_last: 0,
            grid: Grid::new(game.layout()),
            publisher: Publisher::new(shapes),
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
            batches: Vec::new(),
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

    fn step(&mut self, ticks: u32, due: Time) -> SharedBatch {
        assert!(ticks > 0, "a step is at least one tick");
        let mut shared = self.unused_batch();
        let batch = Arc::get_mut(&mut shared).expect("nobody else has an unused batch");
        self.forget_old_news();
        if !self.has_failed {
            // What a panic leaves behind half done is not looked at again.
            let step = catch_unwind(AssertUnwindSafe(|| {
                self.simulate(ticks);
                self.publish(batch);
            }));
            if step.is_err() {
                self.fail();
                batch.clear();
            }
        }
        if self.has_failed {
            self.refuse_all();
        }
        self.commands.clear();
        self.obeyed = 0;
        batch.room = Some(self.config.id);
        (batch.tick, batch.due, batch.tick_rate) = (self.tick, due, self.config.tick_rate);
        self.tell_news(batch);
        if self.batches.len() < BATCHES_POOLED_MAX {
            self.batches.push(Arc::clone(&shared));
        }
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
            seat.view.cells().iter().for_each(|cell| digest.add(cell.0 as u64));
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
    fn simulate(&mut self, ticks: u32) {
        for step in 0..ticks {
            self.tick = self.tick.after(1);
            self.world.begin(self.tick);
            if step == 0 {
                self.obey_commands();
            }
            self.apply_inputs();
            self.game.tick(&mut self.world, self.tick);
            self.carry_out();
            self.free_the_doomed();
        }
    }

    fn obey_commands(&mut self) {
        while self.obeyed < self.commands.len() {
            let conn = self.commands[self.obeyed].conn;
            let ask = std::mem::replace(&mut self.commands[self.obeyed].ask, Ask::Ack(0));
            self.obey(conn, ask);
            self.obeyed += 1;
        }
    }

    fn obey(&mut self, conn: ConnId, ask: Ask) {
        if let Ask::Join(join) = ask {
            return self.join(conn, &join);
        }
        let Some(seat) = self.seats.of_conn(conn) else {
            self.counts.commands_stale += 1;
            return;
        };
        let sits = &mut self.seats[seat];
        let is_right = match ask {
            Ask::Ack(number) => sits.reliable.acknowledge(number),
            Ask::Input(input) => {
                self.counts.inputs += 1;
                let acknowledged = sits.reliable.acknowledge(input.ack);
                match sits.inputs.push(input) {
                    Took::Waits => self.eager.push(seat),
                    Took::Skipped => self.counts.inputs_skipped += 1,
                    Took::Repeated => self.counts.inputs_repeated += 1,
                }
                acknowledged
            }
            Ask::Join(_) => unreachable!("joins were handled above"),
            Ask::Leave(why) => {
                self.leave(seat, why);
                true
            }
            Ask::Message(message) => self.message(seat, &message),
            Ask::Reoffer(number) => sits.reliable.reoffer(number),
            Ask::Want(cells) => self.want(seat, &cells),
        };
        self.counts.commands_wrong += !is_right as u64;
    }

    fn join(&mut self, conn: ConnId, join: &Join) {
        if self.seats.of_conn(conn).is_some() {
            self.counts.commands_wrong += 1;
            return;
        }
        if let Some(seat) = self.seats.of_slot(conn) {
            // The slot is used anew, so who had it before is gone.
            self.leave(seat, Leave::Dropped);
        }
        if self.seats.len() >= self.config.capacity as usize {
            let text = format!("the room is full: all {} seats are taken", self.config.capacity);
            return self.refuse(conn, RefusalCode::Full, text, Some(FULL_RETRY_MILLIS));
        }
        self.player_last += 1;
        let player = PlayerId(self.player_last);
        let chosen;
        let name = if join.name.is_empty() {
            chosen = format!("Player {}", player.0);
            &chosen
        } else {
            &join.name
        };
        self.joining = Some(conn);
        let answer = self.game.join(&mut self.world, player, &Joining { name, options: &join.options });
        self.joining = None;
        match answer {
            Ok(()) => {
                self.seats.take(player, conn, name);
                self.news.joined.push((conn, player));
                self.carry_out();
            }
            Err(refusal) => {
                self.world.drop_effects();
                self.refuse(conn, RefusalCode::Game, refusal.text, None);
            }
        }
    }

    fn leave(&mut self, seat: u32, why: Leave) {
        let left = self.seats.free(seat);
        left.view.cells().iter().for_each(|&cell| self.publisher.unhear(cell));
        self.publisher.abandon(self.grid.private(seat));
        self.game.leave(&mut self.world, left.player, why);
        self.carry_out();
    }

    fn refuse(&mut self, conn: ConnId, code: RefusalCode, text: String, retry_after_millis: Option<u32>) {
        self.news.refused.push(Refusal { conn, code, text, retry_after_millis });
    }

    fn message(&mut self, seat: u32, message: &Message) -> bool {
        let sits = &mut self.seats[seat];
        if message.number != sits.heard.wrapping_add(1) {
            return false;
        }
        sits.heard = message.number;
        if message.kind == CHAT_KIND {
            self.say(seat, &message.payload);
        } else {
            self.game.message(&mut self.world, sits.player, &message.kind, &message.payload);
            self.carry_out();
        }
        true
    }

    fn say(&mut self, seat: u32, payload: &[u8]) {
        let sits = &mut self.seats[seat];
        let Some(text) = chat_text(payload) else {
            self.counts.chat_invalid += 1;
            return self.refuse_chat(seat, "a line is 1 to 200 bytes of text without control characters");
        };
        let rate = self.config.tick_rate;
        if !sits.chat.take(CHAT_RATE, self.tick, rate) {
            self.counts.chat_limited += 1;
            return self.refuse_chat(seat, "too fast: two lines a second");
        }
        if !self.chat.take(ROOM_CHAT_RATE, self.tick, rate) {
            self.counts.chat_limited += 1;
            return self.refuse_chat(seat, "too many are talking in this room");
        }
        self.counts.chat_relayed += 1;
        self.body.clear();
        Reliable::Chat { player: sits.player, name: &sits.name, text }.put(&mut self.body);
        self.send(None, self.body.as_slice().into());
    }

    fn refuse_chat(&mut self, seat: u32, why: &str) {
        self.body.clear();
        Reliable::Message { kind: CHAT_REFUSED_KIND, payload: why.as_bytes() }.put(&mut self.body);
        self.send(Some(seat), self.body.as_slice().into());
    }

    fn want(&mut self, seat: u32, cells: &[CellId]) -> bool {
        let view = &self.seats[seat].view;
        let mut in_view = true;
        for &cell in cells {
            if view.contains(cell) {
                self.counts.wants += 1;
                self.publisher.want(cell);
            } else {
                in_view = false;
            }
        }
        in_view
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
                Effect::Reliable { to: None, body } => self.send(None, body),
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
            self.counts.reliable_overflows += 1;
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
                let (code, text) = (RefusalCode::Game, "this room has ended: its game failed".into());
                self.news.refused.push(Refusal { conn, code, text, retry_after_millis: None });
            }
        }
    }
}

/// The publication.
impl<G: Game> Room<G> {
    fn publish(&mut self, batch: &mut Batch) {
        let Room { game, world, seats, grid, publisher, counts, tick, .. } = self;
        let place = |thing: &G::Thing| cell_of(game.place(thing), grid, seats);
        publisher.publish(world, *tick, place, batch, counts);
        world.published(*tick);

        let mut reliable_bytes = RELIABLE_BATCH_BYTES_MAX;
        for thread in 0..self.seats.threads() {
            let start = batch.parts.len() as u32;
            for at in 0..self.seats.of_thread(thread).len() {
                let seat = self.seats.of_thread(thread)[at];
                self.update_view(seat);
                let part = self.part(seat, batch, &mut reliable_bytes);
                batch.parts.push(part);
            }
            batch.threads.push(Span { start, end: batch.parts.len() as u32 });
        }
        // Last, since new views want snapshots.
        self.publisher.finish(&self.world, batch, &mut self.counts);
    }

    /// Moves a player's view on if what it looks at has moved far enough.
    fn update_view(&mut self, seat: u32) {
        let Room { game, world, seats, grid, publisher, .. } = self;
        let sits = &mut seats[seat];
        let centre = sits.centre.map(|(cell, ..)| cell);
        if !sits.view_is_stale {
            let Look::Follow(entity) = sits.look else { return };
            if publisher.home(entity) == centre {
                return;
            }
        }
        let position = match sits.look {
            Look::At(x, y) => Some((x, y)),
            Look::Follow(entity) => match world.get(entity).map(|thing| game.place(thing)) {
                Some(Place::At(x, y)) => Some((x, y)),
                Some(_) => None,
                // What it followed is gone: it goes on looking there.
                None => sits.centre.map(|(_, x, y)| (x, y)),
            },
            Look::Nothing => None,
        };
        let stays = match (sits.centre, position) {
            (Some((cell, ..)), Some((x, y))) => !grid.strays(cell, x, y),
            (None, None) => true,
            _ => false,
        };
        if stays && !sits.view_is_stale {
            return;
        }
        sits.view_is_stale = false;
        sits.centre = position.map(|(x, y)| {
            let cell = centre.filter(|_| stays).unwrap_or_else(|| grid.cell_at(x, y));
            (cell, x, y)
        });
        let private = sits.has_private.then(|| grid.private(seat));
        let before = std::mem::replace(&mut sits.view, grid.view(sits.centre, private));
        sits.view_is_news |= sits.view.cells() != before.cells();
        for &cell in sits.view.cells() {
            publisher.hear(cell);
            if !before.contains(cell) {
                publisher.want(cell);
            }
        }
        before.cells().iter().for_each(|&cell| publisher.unhear(cell));
    }

    fn part(&mut self, seat: u32, batch: &mut Batch, reliable_bytes: &mut usize) -> Part {
        let sits = &mut self.seats[seat];
        let followed = if let Look::Follow(entity) = sits.look { Some(entity) } else { None };
        let own = &mut sits.own;
        match followed.and_then(|entity| self.publisher.entity(entity)) {
            Some((entity, changed)) => {
                let is_another = own.entity != Some(entity.id);
                if is_another || changed == self.tick {
                    own.entity = Some(entity.id);
                    own.changed = self.tick;
                    own.bytes.clear();
                    put_self(&mut own.bytes, &entity);
                }
            }
            None => {
                if own.entity.take().is_some() {
                    own.changed = self.tick;
                }
                own.bytes.clear();
            }
        }
        let own_span = append(batch, |bytes| bytes.extend_from_slice(&own.bytes));

        let view = std::mem::take(&mut sits.view_is_news).then(|| {
            let start = batch.views.len() as u32;
            batch.views.extend_from_slice(sits.view.cells());
            Span { start, end: batch.views.len() as u32 }
        });

        let (mut reliable_first, mut reliable_count) = (0, 0);
        let reliable = append(batch, |bytes| {
            let bytes_max = RELIABLE_BYTES_MAX.min(*reliable_bytes);
            let start = bytes.len();
            (reliable_first, reliable_count) =
                sits.reliable.offer(bytes_max, |number, body| put_reliable(bytes, number, body));
            *reliable_bytes = reliable_bytes.saturating_sub(bytes.len() - start);
        });
        Part {
            conn: sits.conn,
            seq: sits.inputs.applied(),
            depth: sits.inputs.depth() as u8,
            heard: sits.heard,
            own: own_span,
            own_changed: own.changed,
            view,
            reliable,
            reliable_first,
            reliable_count,
        }
    }

    fn forget_old_news(&mut self) {
        let again = |conn: ConnId| self.undelivered.contains(&conn.thread);
        self.news.joined.retain(|&(conn, _)| again(conn));
        self.news.refused.retain(|refusal| again(refusal.conn));
        self.news.removed.retain(|removed| again(removed.conn));
        self.undelivered.clear();
    }

    fn tell_news(&mut self, batch: &mut Batch) {
        // Who left again before it could be told needs no welcome.
        let seats = &self.seats;
        self.news.joined.retain(|&(conn, player)| {
            seats.of_player(player).is_some_and(|seat| seats.of_conn(conn) == Some(seat))
        });
        for &(conn, player) in &self.news.joined {
            let ServerControl::Welcome(welcome) = &mut self.welcome else { unreachable!("it is a welcome") };
            (welcome.player, welcome.tick) = (player, self.tick);
            let welcome = append(batch, |bytes| encode_server_control(&self.welcome, bytes));
            batch.joined.push(Joined { conn, player, welcome });
        }
        batch.refused.extend_from_slice(&self.news.refused);
        batch.removed.extend_from_slice(&self.news.removed);
    }

    fn unused_batch(&mut self) -> SharedBatch {
        let unused = self.batches.iter_mut().position(|batch| Arc::get_mut(batch).is_some());
        let mut shared = unused.map_or_else(SharedBatch::default, |at| self.batches.swap_remove(at));
        Arc::get_mut(&mut shared).expect("it was just found to be ours alone").clear();
        shared
    }
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

fn chat_text(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let is_right = (1..=CHAT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_right.then_some(text)
}

fn append(batch: &mut Batch, write: impl FnOnce(&mut Vec<u8>)) -> Span {
    let start = batch.bytes.len() as u32;
    write(&mut batch.bytes);
    Span { start, end: batch.bytes.len() as u32 }
}
