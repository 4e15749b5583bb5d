//! How many bytes a player hears: `cargo bench --bench bytes`. Counts, without a clock; the same figures on every machine.
//!
//! The arena with a thousand wandering bots: each makes up its mind once a second, to stand still or to run in any direction, so
//! half of them move; ten inputs a second. All that a bot receives, frame headers too, is divided by the entities in its
//! view whose rows changed, tick by tick, as the simulation has them and not as they were sent. And two thousand who run about
//! in one corner.

use std::collections::BTreeMap;

use tickyard::bridge::{Ask, Command, ConnId, Join, Rate, RoomId};
use tickyard::game::arena::{Arena, DIRECTION_MAX};
use tickyard::game::{Game, Place, Random};
use tickyard::net::fanout::{Hearing, History, Missing, compose};
use tickyard::sim::{AnyRoom, Room, RoomConfig};
use tickyard::time::Time;
use tickyard_protocol::fields::{FIELDS_MAX, Kinds, Shapes};
use tickyard_protocol::message::Input;
use tickyard_protocol::replica::Replica;
use tickyard_protocol::tick::{Blocks, block};
use tickyard_protocol::types::Seq;

const ROOM: RoomId = RoomId(0);
const TICK_RATE: u32 = 20;
const SECONDS: u32 = 30;
/// From one corner of the world to the other one.
const GATHER_SECONDS: u32 = 32;

/// How the bots behave.
#[derive(Clone, Copy)]
struct Manner<'a> {
    name: &'a str,
    /// Percent of the decisions that are to run.
    running: u32,
    /// Ticks from one decision to the next.
    decides: u32,
    inputs: bool,
    players: u32,
    /// So many of them keep a world; theirs are the figures.
    checked: u32,
    /// Every other decision is to go into a corner, and first all go there.
    crowds: bool,
    far: Rate,
}

/// The arena, its players, and what each of them has heard.
struct Arcade<'a> {
    manner: Manner<'a>,
    room: Room<Arena>,
    random: Random,
    tick: u32,
    history: History,
    hearings: Vec<Hearing>,
    replicas: Vec<Replica>,
    headings: Vec<[i32; 2]>,
    rows: BTreeMap<u32, [i32; FIELDS_MAX]>,
    /// Entities that changed in the newest tick, by cell.
    changed: Vec<u64>,
    sums: Sums,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    bytes: u64,
    messages: u64,
    changed: u64,
    message_max: u64,
    /// Bytes by the kind of block; in the first place frame and tick headers.
    blocks: [u64; block::CHECK as usize + 1],
}

impl<'a> Arcade<'a> {
    fn new(manner: Manner<'a>) -> Arcade<'a> {
        let config = RoomConfig {
            id: ROOM,
            name: "arena-1".into(),
            game: "arena".into(),
            tick_rate: TICK_RATE as u16,
            capacity: manner.players,
            seed: 1,
        };
        let arena = Arena::new(TICK_RATE as u16, manner.players).with_far(manner.far);
        let room = Room::new(config, arena).expect("the arena's schema is fine");
        let shapes = Shapes::new(&<Arena as Game>::Thing::kinds()).expect("the arena's kinds are fine");
        let mut arcade = Arcade {
            manner,
            room,
            random: Random::new(7),
            tick: 0,
            history: History::default(),
            hearings: vec![Hearing::default(); manner.players as usize],
            replicas: vec![Replica::new(shapes); manner.checked as usize],
            headings: vec![[0; 2]; manner.players as usize],
            rows: BTreeMap::new(),
            changed: Vec::new(),
            sums: Sums::default(),
        };
        for slot in 0..manner.players {
            let join = Join { name: format!("bot-{slot}"), options: vec![] };
            arcade.ask(slot, Ask::Join(Box::new(join)));
        }
        arcade
    }

    fn ask(&mut self, slot: u32, ask: Ask) {
        self.room.command(Command { room: ROOM, conn: ConnId { thread: 0, slot, generation: 1 }, ask });
    }

    fn run(&mut self, ticks: u32) -> Sums {
        self.sums = Sums::default();
        for _ in 0..ticks {
            self.step();
        }
        self.sums
    }

    fn step(&mut self) {
        self.tick += 1;
        for slot in 0..self.manner.players {
            if (slot + self.tick).is_multiple_of(self.manner.decides) {
                self.turn(slot);
            }
            if self.manner.inputs && (slot / TICK_RATE + self.tick).is_multiple_of(2) {
                let mut row = [0; FIELDS_MAX];
                row[..2].copy_from_slice(&self.headings[slot as usize]);
                self.ask(slot, Ask::Input(Input { seq: Seq(self.tick), ack: 0, render_tick: 0, row }));
            }
        }
        let batch = self.room.step(1, Time::ZERO, &mut ());
        self.history.push(batch);
        self.look_around();
        self.tell_all();
    }

    fn turn(&mut self, slot: u32) {
        let angle = self.random.below(3600) as f64 / 3600.0 * std::f64::consts::TAU;
        let runs = self.random.below(100) < self.manner.running;
        let part = |part: f64| (part * DIRECTION_MAX as f64).round() as i32;
        let second = self.tick / TICK_RATE;
        let returns = self.manner.crowds && (second < GATHER_SECONDS || second.is_multiple_of(2));
        self.headings[slot as usize] = match (returns, runs) {
            (true, _) => [-DIRECTION_MAX; 2],
            (false, true) => [part(angle.cos()), part(angle.sin())],
            (false, false) => [0, 0],
        };
    }

    /// Counts what changed, by cell.
    fn look_around(&mut self) {
        let layout = self.room.game().layout();
        let columns = layout.width.div_ceil(layout.cell);
        self.changed.clear();
        self.changed.resize(1 + (columns * columns) as usize, 0);
        let mut rows = BTreeMap::new();
        for (id, thing) in self.room.world().iter() {
            let mut row = [0; FIELDS_MAX];
            let fields = [5, 2, 2][thing.kind() as usize];
            thing.write(&mut row[..fields]);
            rows.insert(id.word(), row);
            if self.rows.get(&id.word()).is_none_or(|before| *before == row) {
                continue;
            }
            let cell = match self.room.game().place(thing) {
                Place::At(x, y) => 1 + y as u32 / layout.cell * columns + x as u32 / layout.cell,
                _ => 0,
            };
            self.changed[cell as usize] += 1;
        }
        self.rows = rows;
    }

    fn tell_all(&mut self) {
        let batch = self.history.newest().cloned().expect("it was pushed");
        let (mut missing, mut out) = (Missing::default(), Vec::new());
        for part in batch.parts_of(0) {
            let slot = part.conn.slot as usize;
            missing.clear();
            let told = compose(&self.history, part, &mut self.hearings[slot], &mut missing, &mut out);
            if !missing.cells.is_empty() {
                // Where snapshots did not fit into a message.
                let (conn, cells) = (part.conn, missing.cells.as_slice());
                self.room.command(Command { room: ROOM, conn, ask: Ask::Want(cells.into()) });
            }
            let Some(replica) = self.replicas.get_mut(slot) else { continue };
            if let Some(start) = told {
                self.sums.messages += 1;
                self.sums.bytes += (out.len() - start) as u64;
                self.sums.message_max = self.sums.message_max.max((out.len() - start) as u64);
                self.sums.blocks[0] += (out.len() - start) as u64;
                // A frame of the server has no mask: its header ends where ours begins.
                let message = &out[tickyard::websocket::frame::SERVER_HEADER_BYTES_MAX..];
                let blocks = &message[tickyard_protocol::tick::HEADER_BYTES..];
                for block in Blocks::new(blocks) {
                    let (kind, content) = block.expect("blocks are whole");
                    let bytes = (content.len() + if content.len() < 128 { 2 } else { 3 }) as u64;
                    self.sums.blocks[kind as usize] += bytes;
                    self.sums.blocks[0] -= bytes;
                }
                replica.apply(&message[1..], &mut ()).expect("messages are well formed");
            }
            let view = replica.view().iter();
            self.sums.changed +=
                view.map(|cell| self.changed.get(cell.0 as usize).copied().unwrap_or(0)).sum::<u64>();
        }
    }

    fn print(&mut self) {
        let first = self.run(TICK_RATE);
        self.run(TICK_RATE * if self.manner.crowds { GATHER_SECONDS + 3 } else { 9 });
        self.room.take_counts();
        let sums = self.run(SECONDS * TICK_RATE);
        let counts = self.room.take_counts();
        println!("{}", self.manner.name);
        if sums.changed > 0 {
            let per = |bytes: u64| bytes as f64 / sums.changed as f64;
            let [headers, view, delta, snapshot, _, own, ..] = sums.blocks.map(per);
            println!("  {:.2} bytes a visible changed entity and tick", per(sums.bytes));
            println!(
                "  headers {headers:.2}, views {view:.2}, deltas {delta:.2}, snapshots {snapshot:.2}, self {own:.2}"
            );
        }
        let seconds = (SECONDS * self.manner.checked) as f64;
        println!(
            "  {:.0} bytes a second and player in {:.1} messages, {:.1} changed entities in view",
            sums.bytes as f64 / seconds,
            sums.messages as f64 / seconds,
            sums.changed as f64 / seconds / TICK_RATE as f64,
        );
        println!("  {:.0} bytes in a joiner's first second", first.bytes as f64 / self.manner.checked as f64);
        let ticks = (SECONDS * TICK_RATE) as f64;
        println!(
            "  longest message {} bytes; {:.1} deltas and {:.1} snapshots encoded in a tick",
            sums.message_max,
            counts.deltas as f64 / ticks,
            counts.snapshots as f64 / ticks,
        );
        let counts = self.replicas.iter().map(Replica::counts);
        let (mut checked, mut wrong) = (0, 0);
        for counts in counts {
            checked += counts.sums_checked;
            wrong += counts.violations + counts.desyncs;
        }
        println!("  {checked} sums checked, {wrong} wrong");
    }
}

fn main() {
    let half = Manner {
        name: "half of them move",
        running: 50,
        decides: TICK_RATE,
        inputs: true,
        players: 1000,
        checked: 1000,
        crowds: false,
        far: Rate::One,
    };
    let all = Manner { name: "all move", running: 100, ..half };
    let idle = Manner { name: "nobody moves, nobody says anything", running: 0, inputs: false, ..half };
    let crowd = Manner { name: "two thousand in a corner", players: 2000, checked: 50, crowds: true, ..half };
    for manner in [half, all, idle, crowd] {
        Arcade::new(manner).print();
    }
    // What far cells save that are told less often.
    let steering = Manner { decides: 2, ..all };
    for (manner, who) in
        [(half, "half of them move"), (all, "all move"), (steering, "all turn ten times a second")]
    {
        for far in Rate::ALL {
            let name = &format!("{who}, far cells at rate {}", far.ticks());
            Arcade::new(Manner { far, name, ..manner }).print();
        }
    }
}
