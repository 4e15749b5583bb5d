//! Cells told at rates 1, 2, 4 and 8, as connections hear them that miss messages: what the fan-out composes leads every client to the world.
//!
//! A room of the arena, the fan-out and strict replicas, without sockets, under one seed. Players run about, so near cells become far and far ones
//! near; some ask for a slower rate for all they see, and most pass over messages now and then.

#[path = "common/feed.rs"]
mod feed;

use feed::Feed;
use tickyard::bridge::{Ask, Command, ConnId, Join, Rate, RoomId};
use tickyard::game::arena::{Arena, DIRECTION_MAX, Thing};
use tickyard::game::{Game, Place, Random};
use tickyard::net::fanout::History;
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard_protocol::delta::Row;
use tickyard_protocol::fields::{FIELDS_MAX, Kinds, Shapes};
use tickyard_protocol::message::Input;
use tickyard_protocol::types::{CellId, EntityId, Seq};

#[test]
fn who_misses_a_few_messages_goes_from_rate_to_rate_without_a_snapshot() {
    for far in Rate::ALL {
        let mut house = House::new(far, 5);
        (0..TICKS).for_each(|_| house.tick());
        assert_eq!(house.wants, 0, "{far:?}");
        assert!(house.compared > 2_000, "{far:?}: compared {} times", house.compared);
        house.judge();
    }
}

#[test]
fn who_misses_many_messages_comes_to_the_same_world() {
    for far in Rate::ALL {
        let mut house = House::new(far, 30);
        (0..TICKS).for_each(|_| house.tick());
        assert!(house.wants > 100, "{far:?}: nobody was so far behind");
        assert!(house.compared > 500, "{far:?}: compared {} times", house.compared);
        house.judge();
    }
}

struct House {
    room: Room<Arena>,
    random: Random,
    history: History,
    links: Vec<Link>,
    now: u32,
    wants: usize,
    /// How often a client's world was compared with the room's.
    compared: u32,
}

struct Link {
    feed: Feed,
    /// In so many ticks on end it takes no message.
    misses_max: u32,
    busy: u32,
}

impl House {
    fn new(far: Rate, misses_max: u32) -> House {
        let (name, game) = ("r".into(), "arena".into());
        let config = RoomConfig { id: ROOM, name, game, tick_rate: 20, capacity: 1000, seed: 5 };
        // Small cells: much crosses, and views move on.
        let arena = Arena::new(20, 20 * PLAYERS).with_far(far);
        let shapes = Shapes::new(&Thing::kinds()).expect("the arena's kinds are fine");
        let link = |slot| {
            // The first one misses nothing.
            let misses_max = if slot == 0 { 0 } else { misses_max };
            Link { feed: Feed::new(shapes.clone()), misses_max, busy: 0 }
        };
        let mut house = House {
            room: Room::new(config, arena).expect("the arena's schema is right"),
            random: Random::new(far as u64 + 1),
            history: History::default(),
            links: (0..PLAYERS).map(link).collect(),
            now: 0,
            wants: 0,
            compared: 0,
        };
        for slot in 0..PLAYERS {
            let join = Join { name: format!("Ada {slot}"), options: Vec::new() };
            house.ask(slot, Ask::Join(Box::new(join)));
        }
        house
    }

    fn ask(&mut self, slot: u32, ask: Ask) {
        self.room.command(Command { room: ROOM, conn: ConnId { thread: 0, slot, generation: 0 }, ask });
    }

    fn tick(&mut self) {
        self.now += 1;
        self.steer();
        let batch = self.room.step(1, Time::ZERO, &mut ());
        self.history.push(batch.clone());
        let there = self.there();
        for part in batch.parts_of(0) {
            let link = &mut self.links[part.conn.slot as usize];
            if link.busy > 0 {
                link.busy -= 1;
                link.feed.miss(&self.history, part);
                continue;
            }
            if self.random.below(4) == 0 {
                link.busy = self.random.below(link.misses_max + 1);
            }
            let missing = link.feed.hear(&self.history, part);
            self.wants += missing.cells.len();
            if !missing.cells.is_empty() {
                let (conn, cells) = (part.conn, missing.cells.as_slice());
                self.room.command(Command { room: ROOM, conn, ask: Ask::Want(cells.into()) });
            }
            let replica = &link.feed.replica;
            let ack = Ask::Ack(replica.reliable_heard());
            self.room.command(Command { room: ROOM, conn: part.conn, ask: ack });
            // At such a tick all rates publish.
            if self.now.is_multiple_of(8)
                && replica.header().tick == batch.tick()
                && replica.view_is_complete()
            {
                let mut shown: Vec<_> = replica.entities().map(|it| (it.id, it.kind, it.row)).collect();
                shown.sort();
                let seen = there.iter().filter(|(cell, ..)| replica.view().contains(cell));
                let seen: Vec<_> = seen.map(|&(_, id, kind, row)| (id, kind, row)).collect();
                assert_eq!(shown, seen, "player {} at {:?}", part.conn.slot, batch.tick());
                self.compared += 1;
            }
        }
    }

    /// Each turns about once a second, and now and then somebody is content with less.
    fn steer(&mut self) {
        for slot in 0..PLAYERS {
            if self.random.below(20) == 0 {
                let mut row = [0; FIELDS_MAX];
                row[..2].fill_with(|| self.random.below(2 * DIRECTION_MAX as u32 + 1) as i32 - DIRECTION_MAX);
                let input = Input { seq: Seq(self.now), ack: 0, render_tick: 0, row };
                self.ask(slot, Ask::Input(input));
            }
            if self.random.below(200) == 0 {
                let rate = Rate::ALL[self.random.below(4) as usize];
                self.ask(slot, Ask::Rate(rate));
            }
        }
    }

    /// All that is in the world, by slot, and its cell.
    fn there(&self) -> Vec<(CellId, EntityId, u8, Row)> {
        let layout = self.room.game().layout();
        let columns = layout.width.div_ceil(layout.cell);
        let things = self.room.world().iter().map(|(id, thing)| {
            let cell = match self.room.game().place(thing) {
                Place::At(x, y) => 1 + y as u32 / layout.cell * columns + x as u32 / layout.cell,
                _ => 0,
            };
            let mut row = Row::default();
            thing.write(&mut row[..Thing::kinds()[thing.kind() as usize].fields.len()]);
            (CellId(cell), id, thing.kind(), row)
        });
        let mut things: Vec<_> = things.collect();
        things.sort_by_key(|&(_, id, ..)| id);
        things
    }

    fn judge(&self) {
        for link in &self.links {
            let counts = link.feed.replica.counts();
            assert_eq!((counts.violations, counts.desyncs, counts.blocks_unknown), (0, 0, 0));
            assert!(counts.sums_checked > 0 && counts.checks > 0);
        }
    }
}

const ROOM: RoomId = RoomId(0);
const PLAYERS: u32 = 40;
const TICKS: u32 = 1_000;
