//! What a bot wants: to wander, or to catch the nearest coin.
//!
//! A wandering bot makes up its mind once a second: it stands still, or it walks on in a new direction; so half of a swarm
//! moves at a time. Kinds and fields are found by name, so that any game with the arena's words can be played.

use crate::random::Random;
use std::time::Duration;
use tickyard::time::Time;
use tickyard_protocol::fields::{FIELDS_MAX, Field, Kind, Schema};
use tickyard_protocol::replica::Replica;

const TURN_EVERY: Duration = Duration::from_secs(1);

/// One bot's will.
#[derive(Clone, Debug)]
pub struct Mind {
    random: Random,
    senses: Senses,
    /// Whether it goes for coins when it sees one.
    chases: bool,
    turn_at: Time,
    /// Where to: the components of a direction, at most 1 long.
    heading: [f64; 2],
}

/// Where in the rows to find what a bot needs.
#[derive(Clone, Debug, Default)]
struct Senses {
    /// The input's `dx` and `dy`, with their bounds.
    input: Vec<Field>,
    dx: Option<usize>,
    dy: Option<usize>,
    /// By kind: where `x` and `y` are, if it has them.
    places: Vec<Option<[usize; 2]>>,
    coin: Option<u8>,
}

impl Mind {
    /// A mind for this game.
    pub fn new(schema: &Schema, mut random: Random, chases: bool, now: Time) -> Self {
        let turn_at = now + Duration::from_micros(random.below(TURN_EVERY.as_micros() as u64));
        Mind { random, senses: Senses::new(schema), chases, turn_at, heading: [0.0; 2] }
    }

    /// The row of the next input.
    pub fn decide(&mut self, now: Time, world: Option<&Replica>) -> [i32; FIELDS_MAX] {
        if now >= self.turn_at {
            self.turn_at = self.turn_at + TURN_EVERY;
            self.heading = self.wander();
        }
        let prey = world.filter(|_| self.chases).and_then(|world| self.senses.to_nearest_coin(world));
        self.senses.row(prey.unwrap_or(self.heading))
    }

    fn wander(&mut self) -> [f64; 2] {
        let angle = self.random.unit() * std::f64::consts::TAU;
        if self.random.below(2) == 0 { [0.0, 0.0] } else { [angle.cos(), angle.sin()] }
    }
}

/// The row of an input that asks for nothing.
pub const REST: [i32; FIELDS_MAX] = [0; FIELDS_MAX];

impl Senses {
    fn new(schema: &Schema) -> Self {
        let find = |fields: &[Field], name: &str| fields.iter().position(|field| field.name == name);
        let place = |kind: &Kind| Some([find(&kind.fields, "x")?, find(&kind.fields, "y")?]);
        Senses {
            dx: find(&schema.input, "dx"),
            dy: find(&schema.input, "dy"),
            input: schema.input.clone(),
            places: schema.kinds.iter().map(place).collect(),
            coin: schema.kinds.iter().position(|kind| kind.name == "coin").map(|kind| kind as u8),
        }
    }

    /// The largest step in this direction that the fields' bounds allow.
    fn row(&self, heading: [f64; 2]) -> [i32; FIELDS_MAX] {
        let mut row = REST;
        for (at, part) in [self.dx, self.dy].into_iter().zip(heading) {
            let Some(at) = at else { continue };
            let field = &self.input[at];
            row[at] = ((part * f64::from(field.max)).round() as i32).clamp(field.min, field.max);
        }
        row
    }

    fn to_nearest_coin(&self, world: &Replica) -> Option<[f64; 2]> {
        let own = world.own()?;
        let place = |kind: u8, row: &[i32]| {
            let [x, y] = (*self.places.get(kind as usize)?)?;
            Some([f64::from(row[x]), f64::from(row[y])])
        };
        let here = place(own.kind, &own.row)?;
        let coins = world.entities().filter(|member| Some(member.kind) == self.coin);
        let ways = coins.filter_map(|coin| {
            let there = place(coin.kind, &coin.row)?;
            Some([there[0] - here[0], there[1] - here[1]])
        });
        let length = |way: [f64; 2]| way[0].hypot(way[1]);
        let way = ways.min_by(|&a, &b| length(a).total_cmp(&length(b)))?;
        let whole = length(way).max(1.0);
        Some([way[0] / whole, way[1] / whole])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickyard_protocol::delta::{Entity, entity_hash, put_snapshot};
    use tickyard_protocol::fields::Shapes;
    use tickyard_protocol::tick::{Header, put_self, put_view};
    use tickyard_protocol::types::{CellId, EntityId, Tick};

    fn schema() -> Schema {
        let place = || vec![Field::integer("x", 0, 9999), Field::integer("y", 0, 9999)];
        Schema {
            kinds: vec![
                Kind { name: "player".into(), fields: place() },
                Kind { name: "coin".into(), fields: place() },
            ],
            input: vec![Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)],
        }
    }

    fn mind(chases: bool) -> Mind {
        Mind::new(&schema(), Random::new(3, 4), chases, Time::ZERO)
    }

    #[test]
    fn a_wanderer_turns_once_a_second_and_walks_half_of_the_time() {
        let mut mind = mind(false);
        let rows: Vec<_> =
            (0..10_000).map(|tenth| mind.decide(Time::from_micros(tenth * 100_000), None)).collect();
        let turns = rows.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let walking = rows.iter().filter(|&&row| row != REST).count();
        assert!((600..900).contains(&turns), "{turns}");
        assert!((4_000..6_000).contains(&walking), "{walking}");
        assert!(rows.iter().all(|row| (row[0] as f64).hypot(row[1] as f64) < 128.0));
    }

    #[test]
    fn a_chaser_goes_straight_for_the_nearest_coin() {
        let mut message = Header { tick: Tick(1), ..Header::default() }.to_bytes().to_vec();
        let entity =
            |slot, kind, row| Entity { id: EntityId { slot, generation: 0 }, kind, row, statics: "" };
        let things = [entity(1, 0, &[500, 500]), entity(2, 1, &[500, 400]), entity(3, 1, &[900, 900])];
        let sum = things.iter().fold(0u32, |sum, e| sum.wrapping_add(entity_hash(e.id, e.kind, e.row)));
        put_view(&mut message, [CellId(0)].into_iter());
        put_snapshot(&mut message, CellId(0), sum, things.into_iter());
        put_self(&mut message, &things[0]);
        let mut world = Replica::new(Shapes::new(&schema().kinds).unwrap());
        world.apply(&message[1..], &mut ()).unwrap();

        assert_eq!(mind(true).decide(Time::ZERO, Some(&world))[..2], [0, -127]);
        assert_eq!(mind(false).decide(Time::ZERO, Some(&world))[..2], [0, 0]);
    }
}
