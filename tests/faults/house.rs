//! A room of the arena whose players run, stand, come and go, and an io thread's side of it.

use tickyard::bridge::{Ask, Command, ConnId, Join, Leave, Rate, RoomId};
use tickyard::game::Random;
use tickyard::game::arena::{Arena, DIRECTION_MAX, Thing};
use tickyard::net::fanout::{History, Missing, compose};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard::websocket::{Event, Limits, Role, WebSocket};
use tickyard_protocol::fields::{FIELDS_MAX, Kinds, Shapes};
use tickyard_protocol::message::Input;
use tickyard_protocol::types::Seq;

use crate::link::{Link, Tally};

pub struct House {
    room: Room<Arena>,
    random: Random,
    history: History,
    missing: Missing,
    now: u32,
    links: Vec<Link>,
    /// Players who come and go.
    guests: u32,
    generation: u32,
}

impl House {
    pub fn new(seed: u64, far: Rate, players: u32) -> House {
        let (name, game) = ("r".into(), "arena".into());
        let config = RoomConfig { id: ROOM, name, game, tick_rate: 20, capacity: 1000, seed };
        // Small cells: much crosses, views move on, and many a cell rests.
        let arena = Arena::new(20, 20 * players).with_far(far);
        let room = Room::new(config, arena).expect("the arena's schema is right");
        let shapes = Shapes::new(&Thing::kinds()).expect("the same");
        let link = |slot| Link::new(shapes.clone(), seed << 16 | slot as u64);
        let mut house = House {
            room,
            random: Random::new(seed),
            history: History::default(),
            missing: Missing::default(),
            now: 0,
            links: (0..players).map(link).collect(),
            guests: players,
            generation: 0,
        };
        (0..2 * players).for_each(|slot| house.join(slot));
        house
    }

    pub fn tick(&mut self) {
        self.now += 1;
        self.steer();
        self.take_repairs();
        let batch = self.room.step(1, Time::ZERO, &mut ());
        self.history.push(batch.clone());
        for part in batch.parts_of(0) {
            let Some(link) = self.links.get_mut(part.conn.slot as usize) else { continue };
            self.missing.clear();
            let mut frame = Vec::new();
            if let Some(start) =
                compose(&self.history, part, &mut link.hearing, &mut self.missing, &mut frame)
            {
                link.send(self.now, payload(&mut frame[start..]));
            }
            let mut ask = |ask| self.room.command(Command { room: ROOM, conn: part.conn, ask });
            if !self.missing.cells.is_empty() {
                ask(Ask::Want(self.missing.cells.as_slice().into()));
            }
            ask(Ask::Ack(link.witness.reliable_heard()));
        }
        self.links.iter_mut().for_each(|link| link.hear(self.now));
    }

    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.links.iter().for_each(|link| tally.add(&link.tally));
        tally
    }

    /// Each turns about once a second; half of the time to stand still. A guest leaves, and another comes.
    fn steer(&mut self) {
        for slot in 0..self.guests * 2 {
            if self.random.below(20) == 0 {
                let mut row = [0; FIELDS_MAX];
                if self.random.below(2) == 0 {
                    row[..2]
                        .fill_with(|| self.random.below(2 * DIRECTION_MAX as u32 + 1) as i32 - DIRECTION_MAX);
                }
                let input = Input { seq: Seq(self.now), ack: 0, render_tick: 0, row };
                self.ask(slot, Ask::Input(input));
            }
        }
        if self.now.is_multiple_of(4) {
            let slot = self.guests + self.now / 4 % self.guests;
            self.ask(slot, Ask::Leave(Leave::Left));
            if slot == self.guests {
                self.generation += 1;
            }
            self.join(slot);
        }
    }

    fn take_repairs(&mut self) {
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            let due = link.asking.pop_front_if(|(due, _)| *due <= self.now);
            let Some((_, repair)) = due else { continue };
            link.hearing.forget_all();
            self.ask(at as u32, Ask::Repair(Box::new(repair)));
        }
    }

    fn join(&mut self, slot: u32) {
        self.ask(slot, Ask::Join(Box::new(Join { name: format!("Ada {slot}"), options: Vec::new() })));
    }

    fn ask(&mut self, slot: u32, ask: Ask) {
        let generation = if slot < self.guests { 0 } else { self.generation };
        self.room.command(Command { room: ROOM, conn: ConnId { thread: 0, slot, generation }, ask });
    }
}

fn payload(mut frame: &mut [u8]) -> Vec<u8> {
    let limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 };
    match WebSocket::new(Role::Client, limits).read(&mut frame) {
        Ok(Some(Event::Binary(bytes))) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

const ROOM: RoomId = RoomId(0);
