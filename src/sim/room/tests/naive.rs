//! The twin of all that is encoded once and shared: to each client, at each publication, the whole of what it must see.
//!
//! It looks at the things in the world, where the game says that they are, and where the game lets each player look. It knows no
//! cells' streams, no segments and nothing of what was said before. In a crowd it does not know either whose turn it is: there it says what
//! the bound of turns allows, and wherever so few are that nobody waits, exactly one world.

use std::collections::{BTreeMap, VecDeque};

use tickyard_protocol::delta::Row;
use tickyard_protocol::fields::Kinds;
use tickyard_protocol::replica::Replica;
use tickyard_protocol::types::{EntityId, PlayerId, Tick};

use super::walk::{Walk, Walker};
use crate::game::{Game, Layout, Look, Place, World};
use crate::sim::publish::turns::{ENTERS_MAX, ROWS_MAX};

pub struct Naive {
    layout: Layout,
    /// By kind and field: which field it is the velocity of.
    kinds: Vec<Vec<Option<u16>>>,
    looks: BTreeMap<PlayerId, Look>,
    /// The square around which a player sees squares.
    centres: BTreeMap<PlayerId, Square>,
    /// The last publications, as many as a row may wait for its turn. The newest is the last.
    scenes: VecDeque<Scene>,
    /// How many slots were ever used: turns go round by slot.
    slots: usize,
    /// How often something could be one way or another, because somebody may be waiting.
    pub doubts: usize,
}

/// Column and row.
type Square = (i64, i64);

/// The world at a publication.
struct Scene {
    tick: Tick,
    things: BTreeMap<EntityId, Thing>,
}

#[derive(Clone, Debug)]
struct Thing {
    kind: u8,
    row: Row,
    statics: String,
    spot: Spot,
    /// For how many publications it has been there.
    stays: usize,
    /// Where clients may have it: there, but while it may be waiting to be let in also where it was.
    homes: Vec<Spot>,
    /// For how many publications its row may be waiting.
    waits: usize,
}

/// Where a thing is, as far as it matters for who sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Everywhere,
    Nowhere,
    Only(PlayerId),
    Square(Square),
}

impl Naive {
    pub fn new(game: &Walk) -> Naive {
        let fields = Walker::kinds().into_iter().map(|kind| kind.fields);
        Naive {
            layout: game.layout(),
            kinds: fields.map(|fields| fields.iter().map(|field| field.velocity_of).collect()).collect(),
            looks: BTreeMap::new(),
            centres: BTreeMap::new(),
            scenes: VecDeque::new(),
            slots: 0,
            doubts: 0,
        }
    }

    /// Takes in the world as it is at a publication.
    pub fn look(&mut self, tick: Tick, world: &World<Walker>, game: &Walk) {
        self.looks.clone_from(&game.looks);
        self.move_centres(world);
        let mut things: BTreeMap<_, _> =
            world.iter().map(|(id, walker)| (id, self.thing(walker, world.statics(id.slot)))).collect();
        let slots = things.keys().map(|id| id.slot as usize + 1).max();
        self.slots = self.slots.max(slots.unwrap_or(0));
        self.let_in(&mut things);
        self.correct(tick, &mut things);
        self.scenes.push_back(Scene { tick, things });
        if self.scenes.len() > self.rounds(ROWS_MAX) {
            self.scenes.pop_front();
        }
    }

    /// What a client shows is what it must see. It has all of its view, as of the newest publication.
    pub fn compare(&mut self, player: PlayerId, replica: &Replica) {
        let newest = self.scenes.back().expect("there was a publication");
        let here = format!("at {:?}, {player:?}", newest.tick);
        let mut shown = BTreeMap::new();
        for entity in replica.entities_at(newest.tick) {
            assert!(shown.insert(entity.id, entity).is_none(), "{:?} is shown twice {here}", entity.id);
        }
        for (id, thing) in &newest.things {
            let seen = thing.homes.iter().filter(|&&home| self.sees(player, home)).count();
            let Some(entity) = shown.remove(id) else {
                assert!(seen < thing.homes.len(), "{id:?} is not shown {here}: {thing:?}");
                self.doubts += usize::from(seen > 0);
                continue;
            };
            assert!(seen > 0, "{id:?} is shown {here}: {thing:?}");
            self.doubts += usize::from(seen < thing.homes.len() || thing.waits > 0);
            assert_eq!((entity.kind, entity.statics), (thing.kind, &*thing.statics), "{id:?} {here}");
            let mut rows = self.rows(*id, thing.waits + 1, newest.tick);
            assert!(rows.any(|row| row == entity.row), "{id:?} is {:?} {here}: {thing:?}", entity.row);
        }
        assert!(shown.is_empty(), "shown and not there {here}: {shown:?}");

        let mut own = replica.own().map(|own| (own.id, own.kind, own.row));
        if let Some((_, kind, row)) = &mut own {
            self.predict(*kind, row, newest.tick.since(replica.header().tick));
        }
        assert_eq!(own, self.own(player), "its own entity {here}");
    }

    /// The player's own entity, which waits for nobody.
    fn own(&self, player: PlayerId) -> Option<(EntityId, u8, Row)> {
        let Look::Follow(id) = *self.looks.get(&player)? else { return None };
        let thing = self.scenes.back()?.things.get(&id)?;
        (thing.spot != Spot::Nowhere).then_some((id, thing.kind, thing.row))
    }

    fn thing(&self, walker: &Walker, statics: &str) -> Thing {
        let kind = walker.kind();
        let mut row = Row::default();
        walker.write(&mut row[..self.kinds[kind as usize].len()]);
        let spot = match walker.place {
            Place::At(x, y) => Spot::Square(self.square(x, y)),
            Place::Everywhere => Spot::Everywhere,
            Place::Only(player) if self.looks.contains_key(&player) => Spot::Only(player),
            Place::Only(_) => Spot::Nowhere,
        };
        Thing { kind, row, statics: statics.into(), spot, stays: 1, homes: vec![Spot::Nowhere], waits: 0 }
    }

    /// Who is nowhere any more is so at once. Into a spot that so many may be about to enter come those whose turn it is.
    fn let_in(&self, things: &mut BTreeMap<EntityId, Thing>) {
        let mut outside: BTreeMap<Spot, usize> = BTreeMap::new();
        for (id, thing) in things.iter_mut() {
            if let Some(before) = self.before(*id) {
                thing.homes.clone_from(&before.homes);
                thing.stays += if before.spot == thing.spot { before.stays } else { 0 };
            }
            *outside.entry(thing.spot).or_default() += usize::from(thing.homes != [thing.spot]);
        }
        for thing in things.values_mut() {
            let is_in = thing.spot == Spot::Nowhere
                || outside[&thing.spot] <= ENTERS_MAX
                || thing.stays >= self.rounds(ENTERS_MAX);
            if is_in {
                thing.homes.clear();
            }
            if !thing.homes.contains(&thing.spot) {
                thing.homes.push(thing.spot);
            }
        }
    }

    /// In a spot in which the rows of so many may not be as clients predict them those are told whose turn it is.
    fn correct(&self, tick: Tick, things: &mut BTreeMap<EntityId, Thing>) {
        let waits = |id, thing: &Thing| {
            let waits = self.before(id)?.waits + 1;
            self.rows(id, waits, tick).any(|row| row != thing.row).then_some(waits)
        };
        let waits: BTreeMap<_, _> =
            things.iter().filter_map(|(&id, thing)| Some((id, waits(id, thing)?))).collect();
        let mut late: BTreeMap<Spot, usize> = BTreeMap::new();
        for home in waits.keys().flat_map(|id| &things[id].homes) {
            *late.entry(*home).or_default() += 1;
        }
        for (id, waits) in waits {
            let thing = things.get_mut(&id).expect("it is one of them");
            if thing.homes.iter().any(|home| late[home] > ROWS_MAX) {
                thing.waits = waits.min(self.rounds(ROWS_MAX) - 1);
            }
        }
    }

    fn before(&self, id: EntityId) -> Option<&Thing> {
        self.scenes.back()?.things.get(&id)
    }

    /// After how many publications everybody has had a turn.
    fn rounds(&self, max: usize) -> usize {
        self.slots.div_ceil(max).max(1)
    }

    /// A thing's row at each of the last publications, predicted on.
    fn rows(&self, id: EntityId, publications: usize, tick: Tick) -> impl Iterator<Item = Row> {
        let scenes = self.scenes.iter().rev().take(publications);
        scenes.map_while(move |scene| {
            let Thing { kind, mut row, .. } = *scene.things.get(&id)?;
            self.predict(kind, &mut row, tick.since(scene.tick));
            Some(row)
        })
    }

    fn predict(&self, kind: u8, row: &mut Row, ticks: u32) {
        for (at, of) in self.kinds[kind as usize].iter().enumerate() {
            if let Some(of) = *of {
                row[of as usize] = row[of as usize].wrapping_add(row[at].wrapping_mul(ticks as i32));
            }
        }
    }

    fn sees(&self, player: PlayerId, spot: Spot) -> bool {
        match spot {
            Spot::Everywhere => true,
            Spot::Nowhere => false,
            Spot::Only(whose) => whose == player,
            Spot::Square(square) => self
                .centres
                .get(&player)
                .is_some_and(|centre| (square.0 - centre.0).abs() <= 1 && (square.1 - centre.1).abs() <= 1),
        }
    }

    fn move_centres(&mut self, world: &World<Walker>) {
        self.centres.retain(|player, _| self.looks.contains_key(player));
        for (&player, look) in &self.looks {
            let position = match *look {
                Look::At(x, y) => Some((x, y)),
                Look::Follow(id) => match world.get(id).map(|walker| walker.place) {
                    Some(Place::At(x, y)) => Some((x, y)),
                    Some(_) => None,
                    // What it followed is gone: it goes on looking there.
                    None => continue,
                },
                Look::Nothing => None,
            };
            let stays = |centre: &&Square| position.is_some_and(|(x, y)| self.is_near(**centre, x, y));
            let centre = self.centres.get(&player).filter(stays).copied();
            match centre.or(position.map(|(x, y)| self.square(x, y))) {
                Some(centre) => _ = self.centres.insert(player, centre),
                None => _ = self.centres.remove(&player),
            }
        }
    }

    fn square(&self, x: i32, y: i32) -> Square {
        let (x, y) = self.inside(x, y);
        (x / self.layout.cell as i64, y / self.layout.cell as i64)
    }

    /// Beyond the world's edge counts as at the edge.
    fn inside(&self, x: i32, y: i32) -> (i64, i64) {
        (x.clamp(0, self.layout.width as i32 - 1) as i64, y.clamp(0, self.layout.height as i32 - 1) as i64)
    }

    /// Whether a position is in a square, or outside of it by no more than an eighth of its side.
    fn is_near(&self, square: Square, x: i32, y: i32) -> bool {
        let (cell, (x, y)) = (self.layout.cell as i64, self.inside(x, y));
        let slack = cell / 8;
        let is_near =
            |at: i64, position: i64| (at * cell - slack..(at + 1) * cell + slack).contains(&position);
        is_near(square.0, x) && is_near(square.1, y)
    }
}
