//! What a bot wants: to wander, to catch the nearest coin, or to be where all are.
//!
//! A wandering bot makes up its mind once a second: it stands still, or it walks on in a new direction; so half of a swarm
//! moves at a time. Kinds and fields are found by name, so that any game with the arena's words can be played.

use crate::random::Random;
use crate::rules::Rules;
use std::rc::Rc;
use std::time::Duration;
use tickyard::time::Time;
use tickyard_protocol::fields::{FIELDS_MAX, Field, Kind, Schema};
use tickyard_protocol::replica::{Own, Replica};

const TURN_EVERY: Duration = Duration::from_secs(1);

/// One bot's will.
#[derive(Clone, Debug)]
pub struct Mind {
    random: Random,
    rules: Rc<Rules>,
    aim: Aim,
    turn_at: Time,
    /// Where to: the components of a direction, at most 1 long.
    heading: [f64; 2],
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Nowhere.
    Wander,
    /// To the nearest coin that it sees.
    Chase,
    /// To the middle of the world; there it wanders.
    Crowd,
}

/// A crowd is this part of the world wide and high, either way from the middle.
const CROWD: f64 = 1.0 / 64.0;

/// Where in the rows to find what a bot needs.
#[derive(Clone, Debug, Default)]
pub struct Senses {
    /// The input's `dx` and `dy`, with their bounds.
    input: Vec<Field>,
    dx: Option<usize>,
    dy: Option<usize>,
    /// By kind: where `x` and `y` are, if it has them.
    places: Vec<Option<Place>>,
    coin: Option<u8>,
}

/// A kind's fields `x` and `y`.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: [usize; 2],
    middle: [f64; 2],
    size: [f64; 2],
}

impl Mind {
    /// A mind for this game.
    pub fn new(rules: Rc<Rules>, mut random: Random, aim: Aim, now: Time) -> Self {
        let turn_at = now + Duration::from_micros(random.below(TURN_EVERY.as_micros() as u64));
        Mind { random, rules, aim, turn_at, heading: [0.0; 2] }
    }

    /// The row of the next input. `own`: the bot's entity; `world`: if it keeps one.
    pub fn decide(&mut self, now: Time, own: Option<&Own>, world: Option<&Replica>) -> [i32; FIELDS_MAX] {
        if now >= self.turn_at {
            self.turn_at = self.turn_at + TURN_EVERY;
            self.heading = self.wander();
        }
        let senses = &self.rules.senses;
        let goal = match self.aim {
            Aim::Wander => None,
            Aim::Chase => world.and_then(|world| senses.to_nearest_coin(own?, world)),
            Aim::Crowd => own.and_then(|own| senses.to_crowd(own)),
        };
        senses.row(goal.unwrap_or(self.heading))
    }

    fn wander(&mut self) -> [f64; 2] {
        let angle = self.random.unit() * std::f64::consts::TAU;
        if self.random.below(2) == 0 { [0.0, 0.0] } else { [angle.cos(), angle.sin()] }
    }
}

/// The row of an input that asks for nothing.
pub const REST: [i32; FIELDS_MAX] = [0; FIELDS_MAX];

impl Senses {
    /// For this game.
    pub fn new(schema: &Schema) -> Self {
        Senses {
            dx: find(&schema.input, "dx"),
            dy: find(&schema.input, "dy"),
            input: schema.input.clone(),
            places: schema.kinds.iter().map(Place::new).collect(),
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

    fn to_nearest_coin(&self, own: &Own, world: &Replica) -> Option<[f64; 2]> {
        let here = self.place(own.kind)?.of(&own.row);
        let coins = world.entities().filter(|member| Some(member.kind) == self.coin);
        let ways = coins.filter_map(|coin| {
            let there = self.place(coin.kind)?.of(&coin.row);
            Some([there[0] - here[0], there[1] - here[1]])
        });
        let length = |way: [f64; 2]| way[0].hypot(way[1]);
        ways.min_by(|&a, &b| length(a).total_cmp(&length(b))).map(direction)
    }

    /// `None`: it is there.
    fn to_crowd(&self, own: &Own) -> Option<[f64; 2]> {
        let place = self.place(own.kind)?;
        let here = place.of(&own.row);
        let way = [place.middle[0] - here[0], place.middle[1] - here[1]];
        let is_there = (0..2).all(|side| way[side].abs() <= place.size[side] * CROWD);
        (!is_there).then(|| direction(way))
    }

    fn place(&self, kind: u8) -> Option<&Place> {
        self.places.get(kind as usize)?.as_ref()
    }
}

impl Place {
    fn new(kind: &Kind) -> Option<Place> {
        let at = [find(&kind.fields, "x")?, find(&kind.fields, "y")?];
        let bounds = at.map(|at| [kind.fields[at].min, kind.fields[at].max].map(f64::from));
        let middle = bounds.map(|[min, max]| (min + max) / 2.0);
        Some(Place { at, middle, size: bounds.map(|[min, max]| max - min) })
    }

    fn of(&self, row: &[i32]) -> [f64; 2] {
        self.at.map(|at| f64::from(row[at]))
    }
}

fn find(fields: &[Field], name: &str) -> Option<usize> {
    fields.iter().position(|field| field.name == name)
}

/// At most 1 long.
fn direction(way: [f64; 2]) -> [f64; 2] {
    let whole = way[0].hypot(way[1]).max(1.0);
    way.map(|part| part / whole)
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

    fn mind(aim: Aim) -> Mind {
        let rules = crate::rules::RuleBook::default().of(schema());
        Mind::new(rules, Random::new(3, 4), aim, Time::ZERO)
    }

    #[test]
    fn a_wanderer_turns_once_a_second_and_walks_half_of_the_time() {
        let mut mind = mind(Aim::Wander);
        let rows: Vec<_> =
            (0..10_000).map(|tenth| mind.decide(Time::from_micros(tenth * 100_000), None, None)).collect();
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

        let own = world.own();
        let own = own.as_ref();
        assert_eq!(mind(Aim::Chase).decide(Time::ZERO, own, Some(&world))[..2], [0, -127]);
        assert_eq!(mind(Aim::Wander).decide(Time::ZERO, own, Some(&world))[..2], [0, 0]);
    }

    #[test]
    fn a_crowd_runs_to_the_middle_and_mills_about_there() {
        let own = |x, y| {
            let mut row = REST;
            row[..2].copy_from_slice(&[x, y]);
            Own { id: EntityId { slot: 1, generation: 0 }, kind: 0, row }
        };
        let mut crowd = mind(Aim::Crowd);
        let mut heading = |own: &Own| crowd.decide(Time::ZERO, Some(own), None)[..2].to_vec();
        assert_eq!(heading(&own(5000, 0)), [0, 127]);
        assert_eq!(heading(&own(9000, 5000)), [-127, 0]);
        // 9999 / 64 either way of 4999.5.
        assert_eq!(heading(&own(5155, 4844)), [0, 0]);
        assert_eq!(heading(&own(5156, 5000)), [-127, 0]);

        // Walks at the speed of its input, 127 a tenth of a second, and stays.
        let (mut crowd, mut here) = (mind(Aim::Crowd), own(100, 9000));
        let mut moved_there = 0;
        for tenth in 0..600 {
            let row = crowd.decide(Time::from_micros(tenth * 100_000), Some(&here), None);
            (here.row[0], here.row[1]) = (here.row[0] + row[0], here.row[1] + row[1]);
            if tenth > 100 {
                assert!((here.row[0] - 5000).abs() < 300 && (here.row[1] - 5000).abs() < 300, "{here:?}");
                moved_there += (row != REST) as u32;
            }
        }
        assert!(moved_there > 100, "{moved_there}");
    }
}
