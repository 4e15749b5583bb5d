//! A game that does at random whatever a game can do: for comparing what clients see with what is there.

use std::collections::BTreeMap;

use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
use tickyard_protocol::types::{EntityId, PlayerId, Tick};

use crate::game::{Game, Joining, Layout, Leave, Look, Owner, Place, PropertyError, Rate, Refusal, World};

pub const SIDE: u32 = 600;

pub struct Walk {
    pub things: Vec<EntityId>,
    pub players: Vec<(PlayerId, EntityId)>,
    /// Where each player looks.
    pub looks: BTreeMap<PlayerId, Look>,
    /// Things it tends towards.
    pub crowd: u32,
    /// Deeds per tick.
    pub deeds: u32,
    pub told: u32,
    far: Rate,
    /// The newest player.
    joined: u32,
}

#[derive(Clone, Debug)]
pub struct Walker {
    pub place: Place,
    pub row: [i32; 5],
    pub is_stone: bool,
}

#[derive(Debug)]
pub struct Nothing;

/// What befalls all things at once does so in one of so many times that its turn comes.
const RARE: u32 = 6;

impl Walk {
    pub fn new(crowd: u32, deeds: u32, far: Rate) -> Walk {
        let (things, players, looks) = Default::default();
        Walk { things, players, looks, crowd, deeds, told: 0, far, joined: 0 }
    }

    fn deed(&mut self, world: &mut World<Walker>) {
        let dice = world.random().below(100);
        match dice {
            0..6 if self.things.len() < self.crowd as usize => {
                let walker = self.anyone(world);
                let text = ["", "Ada", "a text of exactly 32 bytes, yes!"][world.random().below(3) as usize];
                self.things.push(world.spawn_named(walker, text));
            }
            6..9 if !self.things.is_empty() => {
                let at = self.any(world);
                let id = self.things.swap_remove(at);
                world.despawn(id);
            }
            9..12 => self.change(world, |walker, new| walker.place = new.place),
            12..16 => self.change(world, |walker, new| walker.row = new.row),
            16..24 => self.change(world, |walker, new| walker.row[2..].copy_from_slice(&new.row[2..])),
            24..30 => self.change(world, |walker, _| walker.row[2..4].fill(0)),
            30..34 => self.change(world, |_, _| {}),
            34..36 => {
                let place = self.anyone(world).place;
                world.transient(place, "spark", &[1, 2, 3]);
            }
            36..38 => {
                self.told += 1;
                world.broadcast("told", self.told.to_string().as_bytes());
            }
            38..41 if !self.players.is_empty() => {
                let at = world.random().below(self.players.len() as u32) as usize;
                let (player, own) = self.players[at];
                let look = match world.random().below(5) {
                    0 => Look::Nothing,
                    1 => Look::At(some(world), some(world)),
                    2 if !self.things.is_empty() => Look::Follow(self.things[self.any(world)]),
                    _ => Look::Follow(own),
                };
                self.look(world, player, look);
            }
            41..43 if !self.things.is_empty() => {
                // Here and gone within a tick.
                let walker = self.anyone(world);
                let id = world.spawn(walker);
                world.despawn(id);
            }
            43..46 => {
                let player = PlayerId(1 + world.random().below(self.joined.max(1)));
                let owner = if dice == 43 { Owner::Room } else { Owner::Player(player) };
                let key = ["map", "team", "hat"][world.random().below(3) as usize];
                let value = ["", "red", "blue"][world.random().below(3) as usize];
                match world.set_property(owner, key, value.as_bytes()) {
                    Ok(()) => assert_eq!(world.property(owner, key).unwrap_or_default(), value.as_bytes()),
                    Err(error) => assert_eq!(error, PropertyError::NoPlayer),
                }
            }
            46 if world.random().below(RARE) == 0 => {
                let walker = self.anyone(world);
                while self.things.len() < self.crowd as usize {
                    self.things.push(world.spawn(walker.clone()));
                }
            }
            47 if world.random().below(RARE) == 0 => {
                // Where all are everywhere they stay together, however they walk.
                let meets = world.random().below(2) == 0;
                let Walker { place, row: [x, y, ..], .. } = self.anyone(world);
                self.change_all(world, |walker, _| {
                    walker.place = if meets { Place::Everywhere } else { place };
                    walker.row[..2].copy_from_slice(&[x, y]);
                });
            }
            48 if world.random().below(RARE) == 0 => {
                self.change_all(world, |walker, new| walker.row[2..].copy_from_slice(&new.row[2..]));
            }
            _ => {}
        }
    }

    fn look(&mut self, world: &mut World<Walker>, player: PlayerId, look: Look) {
        self.looks.insert(player, look);
        world.look(player, look);
    }

    fn any(&self, world: &mut World<Walker>) -> usize {
        world.random().below(self.things.len() as u32) as usize
    }

    fn change(&self, world: &mut World<Walker>, change: impl Fn(&mut Walker, &Walker)) {
        if self.things.is_empty() {
            return;
        }
        let new = self.anyone(world);
        let id = self.things[self.any(world)];
        change(world.get_mut(id).expect("it is listed"), &new);
    }

    fn change_all(&self, world: &mut World<Walker>, change: impl Fn(&mut Walker, &Walker)) {
        for &id in &self.things {
            let new = self.anyone(world);
            change(world.get_mut(id).expect("it is listed"), &new);
        }
    }

    fn anyone(&self, world: &mut World<Walker>) -> Walker {
        let (x, y) = (some(world), some(world));
        let dice = world.random().below(20);
        let place = match dice {
            0 => Place::Everywhere,
            // For a player who left long ago, too.
            1..4 if self.joined > 0 => Place::Only(PlayerId(1 + world.random().below(self.joined))),
            _ => Place::At(x, y),
        };
        let mut velocity = || world.random().below(41) as i32 - 20;
        let row = [x, y, velocity(), velocity(), velocity().wrapping_mul(100_000_000)];
        Walker { place, row, is_stone: dice.is_multiple_of(3) }
    }
}

fn some(world: &mut World<Walker>) -> i32 {
    world.random().below(SIDE + 100) as i32 - 50
}

impl Game for Walk {
    type Thing = Walker;
    type Input = Nothing;

    fn layout(&self) -> Layout {
        Layout { width: SIDE, height: SIDE, cell: 100, far: self.far }
    }

    fn join(&mut self, world: &mut World<Walker>, player: PlayerId, who: &Joining) -> Result<(), Refusal> {
        let walker = Walker { place: Place::At(0, 0), is_stone: false, ..self.anyone(world) };
        let own = world.spawn_named(walker, who.name);
        self.players.push((player, own));
        self.joined = player.0;
        self.things.push(own);
        self.look(world, player, Look::Follow(own));
        Ok(())
    }

    fn leave(&mut self, world: &mut World<Walker>, player: PlayerId, _why: Leave) {
        self.looks.remove(&player);
        self.players.retain(|&(other, own)| {
            if other == player {
                world.despawn(own);
                self.things.retain(|&id| id != own);
            }
            other != player
        });
    }

    fn input(&mut self, _world: &mut World<Walker>, _player: PlayerId, _input: &Nothing) {}

    fn tick(&mut self, world: &mut World<Walker>, _tick: Tick) {
        for _ in 0..self.deeds {
            self.deed(world);
        }
        for &id in &self.things {
            // Some stand still although their velocity says otherwise.
            if world.random().below(8) == 0 {
                continue;
            }
            let Some(Walker { row: [_, _, vx, vy, _], is_stone: false, .. }) = world.get(id) else {
                continue;
            };
            if (*vx, *vy) == (0, 0) {
                continue;
            }
            let walker = world.get_mut(id).expect("it is there");
            walker.row[0] += walker.row[2];
            walker.row[1] += walker.row[3];
            if let Place::At(..) = walker.place {
                walker.place = Place::At(walker.row[0], walker.row[1]);
            }
        }
    }

    fn place(&self, thing: &Walker) -> Place {
        thing.place
    }
}

impl Kinds for Walker {
    fn kinds() -> Vec<Kind> {
        let field = |name| Field::integer(name, i32::MIN, i32::MAX);
        let walker = vec![
            field("x"),
            field("y"),
            field("vx").velocity_of(0),
            field("vy").velocity_of(1),
            field("mood"),
        ];
        let stone = vec![field("weight")];
        vec![Kind { name: "walker".into(), fields: walker }, Kind { name: "stone".into(), fields: stone }]
    }

    fn kind(&self) -> u8 {
        self.is_stone as u8
    }

    fn write(&self, row: &mut [i32]) {
        if self.is_stone {
            row[0] = self.row[4];
        } else {
            row.copy_from_slice(&self.row);
        }
    }
}

impl Fields for Nothing {
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    fn write(&self, _row: &mut [i32]) {}

    fn read(_row: &[i32]) -> Nothing {
        Nothing
    }
}
