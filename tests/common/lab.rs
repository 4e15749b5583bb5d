//! A game to try things with: walkers who do as they are told, dots that never rest, and messages that make it do what a
//! good game never does.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tickyard::game::{Game, Joining, Layout, Leave, Look, Place, Rate, Refusal, World};
use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
use tickyard_protocol::types::{EntityId, PlayerId, Tick};

/// Hello options: watch, without a body.
pub const WATCH: &[u8] = b"watch";
/// Hello options: be turned away.
pub const UNWANTED: &[u8] = b"unwanted";

/// The rules. A row of ten cells; everything begins in the first, and the dots stay there.
#[derive(Clone, Default)]
pub struct Lab {
    dots: u32,
    pub gate: Arc<Gate>,
    pub notes: Arc<Mutex<Notes>>,
    entities: Vec<EntityId>,
    walkers: BTreeMap<PlayerId, EntityId>,
}

/// What the game saw.
#[derive(Default)]
pub struct Notes {
    pub inputs: u64,
    pub messages: Vec<(PlayerId, String, Vec<u8>)>,
}

/// Holds up the simulation while it is shut.
#[derive(Default)]
pub struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// Opens the gate when it goes, so that a test that fails does not hang the server's end.
pub struct Opener(pub Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

pub enum Thing {
    Walker { x: i32, y: i32, vx: i32, vy: i32 },
    Dot([i32; 4]),
}

pub struct Walk {
    dx: i32,
    dy: i32,
}

impl Lab {
    /// With so many dots that never rest.
    pub fn with_dots(dots: u32) -> Lab {
        Lab { dots, ..Lab::default() }
    }
}

impl Game for Lab {
    type Thing = Thing;
    type Input = Walk;

    fn layout(&self) -> Layout {
        Layout { width: 1000, height: 1, cell: 100, far: Rate::One }
    }

    fn join(&mut self, world: &mut World<Thing>, player: PlayerId, who: &Joining) -> Result<(), Refusal> {
        if who.options == UNWANTED {
            return Err(Refusal { text: "not you".into() });
        }
        if who.options == WATCH {
            world.look(player, Look::At(0, 0));
            return Ok(());
        }
        let walker = world.spawn_named(Thing::Walker { x: 0, y: 0, vx: 0, vy: 0 }, who.name);
        world.look(player, Look::Follow(walker));
        world.send(player, "hi", who.name.as_bytes());
        self.walkers.insert(player, walker);
        Ok(())
    }

    fn leave(&mut self, world: &mut World<Thing>, player: PlayerId, _why: Leave) {
        if let Some(walker) = self.walkers.remove(&player) {
            world.despawn(walker);
        }
    }

    fn input(&mut self, world: &mut World<Thing>, player: PlayerId, input: &Walk) {
        self.notes.lock().unwrap().inputs += 1;
        let walker = self.walkers.get(&player).and_then(|&walker| world.get_mut(walker));
        if let Some(Thing::Walker { vx, vy, .. }) = walker {
            (*vx, *vy) = (input.dx, input.dy);
        }
    }

    fn message(&mut self, world: &mut World<Thing>, player: PlayerId, kind: &str, payload: &[u8]) {
        self.notes.lock().unwrap().messages.push((player, kind.into(), payload.into()));
        let number = || payload.iter().rev().fold(0, |number, &byte| number << 8 | byte as u64);
        match kind {
            "echo" => world.send(player, "echo", payload),
            "all" => world.broadcast("all", payload),
            "award" => world.award(player, number() as i32, "well done"),
            "spark" => world.transient(Place::At(0, 0), "spark", payload),
            "sparks" => (0..number()).for_each(|_| world.transient(Place::At(0, 0), "spark", &[0; 256])),
            "many" => (0..number()).for_each(|_| world.send(player, "many", &[])),
            "stall" => thread::sleep(Duration::from_millis(number())),
            // Without the panic hook, which would write to stderr.
            "panic" => std::panic::resume_unwind(Box::new("a game that fails")),
            _ => {}
        }
    }

    fn tick(&mut self, world: &mut World<Thing>, _tick: Tick) {
        self.gate.pass();
        while (self.entities.len() as u32) < self.dots {
            self.entities.push(world.spawn(Thing::Dot([0; 4])));
        }
        for &dot in &self.entities {
            let row = std::array::from_fn(|_| world.random().below(1 << 20) as i32);
            *world.get_mut(dot).unwrap() = Thing::Dot(row);
        }
        for &walker in self.walkers.values() {
            if let Some(Thing::Walker { x, y, vx, vy }) = world.get_mut(walker) {
                (*x, *y) = (x.wrapping_add(*vx), y.wrapping_add(*vy));
            }
        }
    }

    fn place(&self, thing: &Thing) -> Place {
        match thing {
            Thing::Walker { x, y, .. } => Place::At(*x, *y),
            Thing::Dot(_) => Place::At(0, 0),
        }
    }
}

impl Kinds for Thing {
    fn kinds() -> Vec<Kind> {
        let any = |name| Field::integer(name, i32::MIN, i32::MAX);
        let walker = vec![any("x"), any("y"), any("vx").velocity_of(0), any("vy").velocity_of(1)];
        let dot = vec![any("a"), any("b"), any("c"), any("d")];
        vec![Kind { name: "walker".into(), fields: walker }, Kind { name: "dot".into(), fields: dot }]
    }

    fn kind(&self) -> u8 {
        match self {
            Thing::Walker { .. } => 0,
            Thing::Dot(_) => 1,
        }
    }

    fn write(&self, row: &mut [i32]) {
        match *self {
            Thing::Walker { x, y, vx, vy } => row.copy_from_slice(&[x, y, vx, vy]),
            Thing::Dot(dot) => row.copy_from_slice(&dot),
        }
    }
}

impl Fields for Walk {
    fn fields() -> Vec<Field> {
        ["dx", "dy"].map(|name| Field::integer(name, -100, 100)).into()
    }

    fn write(&self, row: &mut [i32]) {
        row.copy_from_slice(&[self.dx, self.dy]);
    }

    fn read(row: &[i32]) -> Walk {
        Walk { dx: row[0], dy: row[1] }
    }
}
