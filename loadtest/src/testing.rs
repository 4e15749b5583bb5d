//! A server's bytes for the tests, made with the protocol crate.

use tickyard::websocket::frame::{Opcode, write_frame};
use tickyard_protocol::delta::{Changes, Delta, Entity, entity_hash, put_delta, put_snapshot};
use tickyard_protocol::fields::{Field, Kind, Schema, Shapes};
use tickyard_protocol::message::{ServerControl, Welcome, encode_server_control};
use tickyard_protocol::tick::{
    Header, Reliable, SKIPPED, VIEW_COMPLETE, put_age, put_check, put_reliable, put_self, put_view,
};
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Seq, Tick};

/// One kind, `player { x, vx }`, and one input, `dx`.
pub fn schema() -> Schema {
    let fields = vec![Field::integer("x", 0, 9999), Field::integer("vx", -99, 99).velocity_of(0)];
    Schema {
        kinds: vec![Kind { name: "player".into(), fields }],
        input: vec![Field::integer("dx", -127, 127)],
    }
}

/// A player at rest.
pub fn entity(slot: u32, x: i32) -> (EntityId, [i32; 2]) {
    (EntityId { slot, generation: 0 }, [x, 0])
}

/// The welcome of a room with that schema, as a message.
pub fn welcome() -> Vec<u8> {
    let welcome = Welcome {
        player: PlayerId(1),
        resume: vec![],
        room: "r".into(),
        game: "arena".into(),
        tick: Tick(0),
        tick_rate: 20,
        step_micros: 50_000,
        schema: schema(),
        tags: vec![],
    };
    let mut out = Vec::new();
    encode_server_control(&ServerControl::Welcome(welcome), &mut out);
    out
}

/// A message in a server's frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, Opcode::Binary, message, None);
    out
}

/// A tick message that is put together step by step.
#[derive(Clone)]
pub struct Script {
    header: Header,
    blocks: Vec<u8>,
}

impl Script {
    pub fn new(tick: u32) -> Script {
        let header = Header { tick: Tick(tick), flags: VIEW_COMPLETE, ..Header::default() };
        Script { header, blocks: Vec::new() }
    }

    pub fn seq(mut self, seq: u32) -> Script {
        self.header.seq = Seq(seq);
        self
    }

    pub fn skipped(mut self) -> Script {
        self.header.flags |= SKIPPED;
        self
    }

    pub fn view(mut self, cells: &[u32]) -> Script {
        put_view(&mut self.blocks, cells.iter().map(|&cell| CellId(cell)));
        self
    }

    pub fn check(mut self, sum: u32) -> Script {
        put_check(&mut self.blocks, sum);
        self
    }

    pub fn age(mut self, age: u32) -> Script {
        put_age(&mut self.blocks, age);
        self
    }

    pub fn snapshot(mut self, cell: u32, members: &[(EntityId, [i32; 2])]) -> Script {
        let sum = |sum: u32, (id, row): &(EntityId, [i32; 2])| sum.wrapping_add(entity_hash(*id, 0, row));
        let entities = members.iter().map(|(id, row)| Entity { id: *id, kind: 0, row, statics: "" });
        put_snapshot(&mut self.blocks, CellId(cell), members.iter().fold(0, sum), entities);
        self
    }

    /// Nothing changes but the tick.
    pub fn delta(self, cell: u32, base: u32) -> Script {
        self.delta_with_sum(cell, base, None)
    }

    pub fn delta_with_sum(mut self, cell: u32, base: u32, sum: Option<u32>) -> Script {
        let shapes = Shapes::new(&schema().kinds).unwrap();
        let changes = Changes::default();
        let delta = Delta { cell: CellId(cell), base, sum, changes: &changes, members: 0, leaves: &[] };
        put_delta(&mut self.blocks, &shapes, &delta, std::iter::empty());
        self
    }

    /// The player's own entity, with this velocity.
    pub fn own(mut self, velocity: i32) -> Script {
        let id = EntityId { slot: 4, generation: 0 };
        put_self(&mut self.blocks, &Entity { id, kind: 0, row: &[0, velocity], statics: "" });
        self
    }

    pub fn reliable(mut self, number: u32, message: Reliable) -> Script {
        let mut body = Vec::new();
        message.put(&mut body);
        put_reliable(&mut self.blocks, number, &body);
        self
    }

    /// The message with its type.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.header.to_bytes()[..], &self.blocks].concat()
    }
}
