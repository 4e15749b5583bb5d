//! A bot that plays: tick messages in, inputs out. Knows messages, not frames.
//!
//! Every player listens with an [`Ear`]; a checked one also keeps a [`World`].

use crate::behaviour::Way;
use crate::clock::RoomClock;
use crate::ear::Ear;
use crate::frames::Frames;
use crate::group::Life;
use crate::measure::Tally;
use crate::mind::{Aim, Mind, REST};
use crate::random::Random;
use crate::reading::{Reading, Turn};
use crate::rooms::Room;
use crate::rules::Rules;
use crate::world::World;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tickyard::time::Time;
use tickyard_protocol::bytes::Malformed;
use tickyard_protocol::message::{Input, Pong, WANT_CELLS_MAX};
use tickyard_protocol::message::{encode_ack, encode_ping, encode_want, from_server};
use tickyard_protocol::repair::{Mender, Repair, Told};
use tickyard_protocol::tick::{Header, SKIPPED, VIEW_COMPLETE};
use tickyard_protocol::types::{Seq, Tick};

/// A ping about this often, answered or given up on before the next.
const PING_EVERY: Duration = Duration::from_secs(2);

/// A server that says nothing for this long is broken: it owes a message a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How many inputs are waited for at a time; a server that answers none of so many is behind by far more than a minute.
const WAITING_MAX: usize = 1024;

/// What a player was welcomed to.
#[derive(Clone, Debug)]
pub struct Game {
    /// Where.
    pub room: Room,
    /// What is played there.
    pub rules: Rc<Rules>,
    /// How long a tick is.
    pub step: Duration,
}

/// One player's side of the conversation.
pub struct Player {
    bot: u32,
    room: Room,
    ear: Ear,
    mind: Mind,
    world: Option<Box<World>>,
    mender: Mender,
    /// To be sent.
    repair: Option<Repair>,
    rules: Rc<Rules>,
    /// The last input sent.
    seq: Seq,
    acked: u32,
    /// Inputs that no state has yet, and when they were due.
    waiting: VecDeque<(Seq, Time)>,
    ping_at: Time,
    pinged: Option<Pinged>,
    clock: RoomClock,
    /// The newest tick at which all of the view was held.
    current: Option<Tick>,
    heard_at: Time,
    way: Way,
    reading: Reading,
    /// When it read on, until its view is complete as of a later time.
    read_on: Option<Time>,
    life: Life,
    stopping: Stopping,
}

/// A ping that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Pinged {
    due: Time,
    sent: Time,
}

/// How far a player is in coming to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// The last input is still to be sent.
    Asked,
    Done,
}

impl Player {
    /// A player that has just been welcomed. Only a `checked` one keeps a world.
    pub fn new(
        bot: u32,
        way: Way,
        Game { room, rules, step }: Game,
        checked: bool,
        mut random: Random,
        now: Time,
    ) -> Self {
        // One in ten of those that keep a world chases coins: the others would not find any.
        let chases = checked && random.below(10) == 0;
        let aim = match (way, chases) {
            // In a corner, half of what others read may be all that there is.
            (Way::Crowd | Way::HalfReader, _) => Aim::Crowd,
            (_, true) => Aim::Chase,
            (_, false) => Aim::Wander,
        };
        let ping_at = now + Duration::from_micros(random.below(PING_EVERY.as_micros() as u64));
        Player {
            bot,
            room,
            reading: Reading::new(way, random.branch()),
            mind: Mind::new(Rc::clone(&rules), random, aim, now),
            world: checked.then(|| Box::new(World::new(bot, room, Rc::clone(&rules)))),
            ear: Ear::new(bot, Rc::clone(&rules)),
            mender: Mender::default(),
            repair: None,
            rules,
            seq: Seq(0),
            acked: 0,
            waiting: VecDeque::new(),
            ping_at,
            pinged: None,
            clock: RoomClock::new(step),
            current: None,
            heard_at: now,
            way,
            read_on: None,
            life: Life::default(),
            stopping: Stopping::No,
        }
    }

    /// Takes a message from the server. An error means: close with 1002.
    pub fn handle_message(&mut self, now: Time, message: &[u8], tally: &mut Tally) -> Result<(), Malformed> {
        match message.split_first() {
            Some((&from_server::TICK, rest)) => self.hear_tick(now, rest, tally),
            Some((&from_server::PONG, rest)) => self.hear_pong(now, rest, tally),
            // A second welcome or a refusal in the middle of the game.
            Some((&from_server::CONTROL, _)) => Err(Malformed::Invalid),
            Some(_) => {
                tally.unknown += 1;
                Ok(())
            }
            None => Err(Malformed::Short),
        }
    }

    /// A send is due. `due` is when it was, `writable` whether the socket takes bytes.
    pub fn handle_slot(&mut self, now: Time, due: Time, writable: bool, out: &mut Frames, tally: &mut Tally) {
        self.turn_reading(now, tally);
        self.look_at_the_clock(now, tally);
        if tally.read_all_at.since(self.heard_at) > SILENCE_MAX && !self.way.is_slow() {
            tally.violations.add(|| format!("bot {}: heard nothing for {SILENCE_MAX:?}", self.bot));
            self.heard_at = now;
        }
        if !writable {
            tally.skipped_sends += (self.stopping == Stopping::No && tally.is_open()) as u64;
            return;
        }
        self.send_input(now, due, out);
        self.send_wants(out);
        if now >= self.ping_at && self.pinged.is_none() {
            self.ping_at = now + PING_EVERY;
            self.pinged = Some(Pinged { due, sent: now });
            out.binary(|out| encode_ping(due.as_micros().to_le_bytes(), out));
        }
    }

    /// From the next slot on: one input that asks for nothing, then none.
    pub fn stop(&mut self) {
        self.stopping = Stopping::Asked;
    }

    /// Whether the last input was sent and has been applied.
    pub fn is_stopped(&self) -> bool {
        self.stopping == Stopping::Done && self.waiting.is_empty()
    }

    /// Whether nothing of the view is missing, as the server says and, with a world, as we see it.
    pub fn is_complete(&self) -> bool {
        self.ear.view_is_complete() && self.world.as_ref().is_none_or(|world| world.is_complete())
    }

    /// Where it plays.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The newest tick heard.
    pub fn newest(&self) -> Option<Tick> {
        self.ear.header().map(|header| header.tick)
    }

    /// The world, if one is kept.
    pub fn world(&self) -> Option<&World> {
        self.world.as_deref()
    }

    /// The world, if one is kept.
    pub fn world_mut(&mut self) -> Option<&mut World> {
        self.world.as_deref_mut()
    }

    /// How many bytes it may read now.
    pub fn appetite(&self) -> usize {
        self.reading.appetite()
    }

    /// So many bytes were read.
    pub fn took(&mut self, bytes: usize) {
        self.reading.took(bytes);
    }

    /// The measurement is over; `newest` is the newest tick that anybody in the room heard. Counts what never came.
    pub fn end_window(&mut self, newest: Tick, tally: &mut Tally) {
        let behind = self.newest().map_or(0, |last| newest.since(last));
        // There is a message each second at least, and it may be on its way for half a second.
        if behind as i32 > (tally.tick_rate + tally.tick_rate / 2).max(3) as i32 {
            self.life.delivery.missed += u64::from(behind);
        }
    }

    /// It plays no longer: inputs that were never answered count with the time they have waited.
    pub fn end(&mut self, now: Time, tally: &mut Tally) {
        for (_, due) in self.waiting.drain(..) {
            if tally.covers(due) {
                tally.unanswered += 1;
                tally.groups.of(self.way).input_to_state.record(now.since(due));
            }
        }
        if let Some(read_on) = self.read_on {
            tally.groups.of(self.way).agrees_again(now.since(read_on));
        }
        if self.life.slots > 0 {
            let a_second = u64::from(tally.tick_rate);
            tally.groups.of(self.way).add(self.life, a_second);
        }
    }

    fn turn_reading(&mut self, now: Time, tally: &mut Tally) {
        self.life.slots += u64::from(tally.is_open());
        match self.reading.handle_slot(now, tally.is_open(), tally.traffic.stream) {
            Some(Turn::Stops) => tally.groups.of(self.way).stops += 1,
            Some(Turn::ReadsOn) => self.read_on = Some(now),
            None => {}
        }
    }

    /// A sample of how old the state is that is held. Slots are not in step with ticks, so samples are of all ages.
    fn look_at_the_clock(&self, now: Time, tally: &mut Tally) {
        let age = self.current.and_then(|current| self.clock.age(now, current));
        if let Some(age) = age.filter(|_| tally.is_open()) {
            tally.groups.of(self.way).staleness.record(age);
        }
    }

    fn hear_tick(&mut self, now: Time, message: &[u8], tally: &mut Tally) -> Result<(), Malformed> {
        self.heard_at = now;
        let found_before = tally.violations.count;
        let heard = self.ear.hear(message, self.seq, &mut tally.news, &mut tally.violations)?;
        tally.unknown += heard.unknown;
        if tally.is_open() {
            self.life.delivery.heard += u64::from(heard.world);
            self.life.delivery.missed += u64::from(heard.missed);
        }
        self.answer_inputs(now, tally);
        let found = tally.violations.count - found_before;
        if let Some(world) = &mut self.world {
            world.hear(now, message, found, tally)?;
        }
        self.mend(tally);
        self.hold(now, tally);
        Ok(())
    }

    /// What is held after a message: all of the view or not, and whether that is news for one who had stopped reading.
    fn hold(&mut self, now: Time, tally: &mut Tally) {
        let Some(header) = self.ear.header() else { return };
        self.life.skips += u64::from(header.flags & SKIPPED != 0);
        if !self.is_complete() {
            return;
        }
        self.current = Some(header.tick);
        let Some(read_on) = self.read_on else { return };
        // A tick from before it read on proves nothing.
        if self.clock.age(now, header.tick).is_some_and(|age| age <= now.since(read_on)) {
            tally.groups.of(self.way).agrees_again(now.since(read_on));
            self.read_on = None;
        }
    }

    /// Asks to be told anew if anything differs.
    fn mend(&mut self, tally: &mut Tally) {
        let Some(Header { tick, flags, .. }) = self.ear.header() else { return };
        let complete = flags & VIEW_COMPLETE != 0;
        let told = Told { tick, view: self.ear.view_was_told(), complete };
        let heard = self.ear.take_mismatch();
        let found = self.world.as_mut().and_then(|world| world.take_mismatch()).or(heard);
        if let Some(repair) = self.mender.heard(told, found) {
            tally.repairs += 1;
            self.repair = Some(repair);
        }
    }

    fn answer_inputs(&mut self, now: Time, tally: &mut Tally) {
        let Some(header) = self.ear.header() else { return };
        while let Some(&(seq, due)) = self.waiting.front() {
            if seq.is_after(header.seq) {
                break;
            }
            self.waiting.pop_front();
            if tally.covers(due) {
                tally.groups.of(self.way).input_to_state.record(now.since(due));
            }
        }
    }

    fn hear_pong(&mut self, now: Time, bytes: &[u8], tally: &mut Tally) -> Result<(), Malformed> {
        let pong = Pong::decode(bytes)?;
        match self.pinged.take() {
            Some(Pinged { due, sent }) if due.as_micros().to_le_bytes() == pong.stamp => {
                self.clock.hear(sent, now, &pong);
                if tally.covers(due) && !self.way.is_slow() {
                    tally.ping.record(now.since(due));
                }
            }
            _ => tally.violations.add(|| format!("bot {}: a pong to no ping: {:?}", self.bot, pong.stamp)),
        }
        Ok(())
    }

    fn send_input(&mut self, now: Time, due: Time, out: &mut Frames) {
        let row = match self.stopping {
            Stopping::No => self.mind.decide(
                now,
                self.ear.own().as_ref(),
                self.world.as_ref().map(|world| world.replica()),
            ),
            Stopping::Asked => REST,
            Stopping::Done => return self.send_ack(out),
        };
        if self.stopping == Stopping::Asked {
            self.stopping = Stopping::Done;
        }
        self.seq = Seq(self.seq.0.wrapping_add(1));
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((self.seq, due));
        }
        self.acked = self.ear.reliable_heard();
        let shown = self.newest().map_or(0, |tick| tick.0 << 4);
        let input = Input { seq: self.seq, ack: self.acked, render_tick: shown, row };
        let fields = self.rules.schema.input.len();
        out.binary(|out| input.encode(fields, out));
    }

    fn send_ack(&mut self, out: &mut Frames) {
        if self.acked != self.ear.reliable_heard() {
            self.acked = self.ear.reliable_heard();
            out.binary(|out| encode_ack(self.acked, out));
        }
    }

    fn send_wants(&mut self, out: &mut Frames) {
        if let Some(repair) = self.repair.take() {
            out.binary(|out| repair.encode(out));
        }
        let wants = self.world.as_mut().map(|world| world.take_wants()).unwrap_or_default();
        for cells in wants.chunks(WANT_CELLS_MAX) {
            out.binary(|out| encode_want(cells, out));
        }
    }
}
