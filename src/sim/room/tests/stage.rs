//! A game that does what the test tells it, and what a test reads from a batch.

use tickyard_protocol::bytes::Reader;
use tickyard_protocol::delta::{ReadDelta, SnapshotHead};
use tickyard_protocol::fields::{Field, Fields, Kind, Kinds, Shapes};
use tickyard_protocol::message::Input;
use tickyard_protocol::tick::{Blocks, Reliable, block};
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Seq, Tick};

use super::config;
use crate::bridge::{Ask, Batch, Command, ConnId, Join, Leave, Message, Part, RoomId, SharedBatch};
use crate::game::{self, Game, Joining, Layout, Look, Place, Rate, World};
use crate::sim::{AnyRoom, Room, RoomConfig};
use crate::time::Time;

pub type Deed = Box<dyn FnOnce(&mut World<Dot>) + Send>;
pub type Encounter = fn(&mut World<Dot>, PlayerId);

/// A game that does what the test tells it, and remembers what it was told.
#[derive(Default)]
pub struct Puppet {
    pub deeds: Vec<Deed>,
    pub inputs: Vec<(u32, PlayerId, i32)>,
    pub messages: Vec<(PlayerId, String, Vec<u8>)>,
    pub left: Vec<(PlayerId, Leave)>,
    /// By tick: its timers and, as `None`, its tick.
    pub rung: Vec<(u32, Option<u64>)>,
    pub on_join: Option<Encounter>,
    pub on_leave: Option<Encounter>,
    pub on_timer: Option<fn(&mut World<Dot>, u64)>,
    pub refuses: Option<&'static str>,
    pub panics_on_join: bool,
    pub far: Rate,
}

#[derive(Clone, Debug)]
pub struct Dot {
    pub place: Place,
    pub row: [i32; 2],
    pub kind: u8,
}

pub struct Push(pub i32);

pub const SIDE: u32 = 1000;

impl Game for Puppet {
    type Thing = Dot;
    type Input = Push;

    fn layout(&self) -> Layout {
        Layout { width: SIDE, height: 100, cell: 100, far: self.far }
    }

    fn join(&mut self, world: &mut World<Dot>, player: PlayerId, _: &Joining) -> Result<(), game::Refusal> {
        assert!(!self.panics_on_join, "as the test asked for");
        if let Some(on_join) = self.on_join {
            on_join(world, player);
        }
        self.refuses.map_or(Ok(()), |text| Err(game::Refusal { text: text.into() }))
    }

    fn leave(&mut self, world: &mut World<Dot>, player: PlayerId, why: Leave) {
        if let Some(on_leave) = self.on_leave {
            on_leave(world, player);
        }
        self.left.push((player, why));
    }

    fn input(&mut self, world: &mut World<Dot>, player: PlayerId, input: &Push) {
        self.inputs.push((world.tick().0, player, input.0));
    }

    fn timer(&mut self, world: &mut World<Dot>, timer: u64) {
        self.rung.push((world.tick().0, Some(timer)));
        if let Some(on_timer) = self.on_timer {
            on_timer(world, timer);
        }
    }

    fn tick(&mut self, world: &mut World<Dot>, tick: Tick) {
        self.rung.push((tick.0, None));
        self.deeds.drain(..).for_each(|deed| deed(world));
    }

    fn place(&self, thing: &Dot) -> Place {
        thing.place
    }

    fn message(&mut self, _: &mut World<Dot>, player: PlayerId, kind: &str, payload: &[u8]) {
        self.messages.push((player, kind.into(), payload.into()));
    }
}

impl Kinds for Dot {
    fn kinds() -> Vec<Kind> {
        let fields = vec![
            Field::integer("x", i32::MIN, i32::MAX),
            Field::integer("vx", i32::MIN, i32::MAX).velocity_of(0),
        ];
        ["dot", "other"].map(|name| Kind { name: name.into(), fields: fields.clone() }).into()
    }

    fn kind(&self) -> u8 {
        self.kind
    }

    fn write(&self, row: &mut [i32]) {
        row.copy_from_slice(&self.row);
    }
}

impl Fields for Push {
    fn fields() -> Vec<Field> {
        vec![Field::integer("push", -9, 9)]
    }

    fn write(&self, row: &mut [i32]) {
        row[0] = self.0;
    }

    fn read(row: &[i32]) -> Push {
        Push(row[0])
    }
}

pub fn dot(x: i32) -> Dot {
    Dot { place: Place::At(x, 0), row: [x, 0], kind: 0 }
}

/// A room of puppets and the hand that holds the strings.
pub struct Stage {
    pub room: Room<Puppet>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(config())
    }

    pub fn with(config: RoomConfig) -> Stage {
        Stage { room: Room::new(config, Puppet::default()).unwrap() }
    }

    /// Its far cells are told so often.
    pub fn far(far: Rate) -> Stage {
        Stage { room: Room::new(config(), Puppet { far, ..Puppet::default() }).unwrap() }
    }

    /// With so many players, and everything said.
    pub fn of(players: u32) -> Stage {
        let mut stage = Stage::new();
        (0..players).for_each(|at| stage.join(conn(at)));
        stage.step();
        stage
    }

    pub fn ask(&mut self, conn: ConnId, ask: Ask) {
        self.room.command(Command { room: RoomId(0), conn, ask });
    }

    pub fn join(&mut self, conn: ConnId) {
        self.ask(conn, Ask::Join(Box::new(Join { name: String::new(), options: Vec::new() })));
    }

    pub fn input(&mut self, conn: ConnId, seq: u32) {
        let mut row = [0; 16];
        row[0] = seq as i32;
        self.ask(conn, Ask::Input(Input { seq: Seq(seq), ack: 0, render_tick: 0, row }));
    }

    pub fn message(&mut self, conn: ConnId, number: u32, kind: &str, payload: &[u8]) {
        let message = Message { number, kind: kind.into(), payload: payload.into() };
        self.ask(conn, Ask::Message(Box::new(message)));
    }

    pub fn deed(&mut self, deed: impl FnOnce(&mut World<Dot>) + Send + 'static) {
        self.room.game.deeds.push(Box::new(deed));
    }

    pub fn step(&mut self) -> SharedBatch {
        self.room.step(1, Time::ZERO, &mut ())
    }

    /// Does it within a step, and returns what the deed returned with the batch.
    pub fn now<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut World<Dot>) -> T + Send + 'static,
    ) -> (T, SharedBatch) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.deed(move |world| sender.send(deed(world)).unwrap());
        let batch = self.step();
        (receiver.try_recv().unwrap(), batch)
    }

    pub fn spawn(&mut self, dot: Dot) -> EntityId {
        self.now(|world| world.spawn(dot)).0
    }

    /// Lets player `at + 1` look there.
    pub fn look(&mut self, at: u32, look: Look) -> SharedBatch {
        self.now(move |world| world.look(PlayerId(at + 1), look)).1
    }
}

pub fn conn(at: u32) -> ConnId {
    ConnId { thread: 0, slot: at, generation: 0 }
}

pub fn part(batch: &Batch, conn: ConnId) -> Part {
    *batch.parts_of(conn.thread).iter().find(|part| part.conn == conn).expect("it has a part")
}

pub fn view(batch: &Batch, conn: ConnId) -> Option<Vec<u32>> {
    part(batch, conn).view.map(|span| batch.views[span.range()].iter().map(|cell| cell.0).collect())
}

/// What the reliable messages in a part say.
pub fn told(batch: &Batch, conn: ConnId) -> Vec<String> {
    reliable(batch, conn).into_iter().map(|(_, text)| text).collect()
}

/// The reliable messages in a part, as numbers and text.
pub fn reliable(batch: &Batch, conn: ConnId) -> Vec<(u32, String)> {
    let part = part(batch, conn);
    let blocks = Blocks::new(batch.slice(part.reliable)).map(|block| {
        let (kind, bytes) = block.unwrap();
        assert_eq!(kind, block::RELIABLE);
        let mut reader = Reader::new(bytes);
        let number = reader.varint().unwrap();
        let text = match Reliable::read(reader.rest()).unwrap() {
            Reliable::Message { kind, payload } => format!("{kind}: {}", String::from_utf8_lossy(payload)),
            Reliable::Chat { player, name, text } => format!("{} {name}: {text}", player.0),
            Reliable::Property { owner, key, value } => {
                format!("{}'s {key} = {}", owner.0, String::from_utf8_lossy(value))
            }
            other => format!("{other:?}"),
        };
        (number, text)
    });
    let list: Vec<_> = blocks.collect();
    assert_eq!(list.len(), part.reliable_count as usize);
    assert!(list.first().is_none_or(|&(number, _)| number == part.reliable_first));
    list
}

pub fn deltas(batch: &Batch) -> Vec<u32> {
    let cells = batch.segments.cells.iter().enumerate();
    cells.filter(|(_, entry)| !entry.delta.is_empty()).map(|(cell, _)| cell as u32).collect()
}

pub fn snapshots(batch: &Batch) -> Vec<u32> {
    let cells = batch.segments.cells.iter().enumerate();
    cells.filter(|(_, entry)| !entry.snapshot.is_empty()).map(|(cell, _)| cell as u32).collect()
}

pub fn delta(batch: &Batch, cell: u32) -> ReadDelta<'_> {
    let mut blocks = Blocks::new(batch.segments.slice(batch.segments.cell(CellId(cell)).delta));
    let (kind, bytes) = blocks.next().expect("it published").unwrap();
    assert_eq!(kind, block::DELTA);
    ReadDelta::read(bytes, &shapes()).unwrap()
}

pub fn shapes() -> Shapes {
    Shapes::new(&Dot::kinds()).unwrap()
}

pub fn members(batch: &Batch, cell: u32) -> u32 {
    let mut blocks = Blocks::new(batch.segments.slice(batch.segments.cell(CellId(cell)).snapshot));
    SnapshotHead::read(blocks.next().expect("there is a snapshot").unwrap().1).unwrap().count
}
