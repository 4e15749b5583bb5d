//! The arena: run about, collect coins, be on the board. The game that comes with the server, and the one that its
//! figures are measured with.
//!
//! The world is 4,096 units square, a unit is 16 steps of a row. A player runs at 200 units a second in the direction of
//! the last input, and is at once as fast: the velocity in a row is exactly what the next tick adds to the position, so a
//! client predicts others without error as long as they keep their direction. All arithmetic is on whole numbers.

use std::collections::BTreeMap;

use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
use tickyard_protocol::types::{EntityId, PlayerId, Tick};

use super::{Game, Joining, Layout, Leave, Look, Place, Rate, Refusal, World};

/// Steps of a row in a unit.
pub const STEPS_PER_UNIT: i32 = 16;
/// The side of the world, in units.
pub const SIDE_UNITS: i32 = 4096;
/// How fast players run, in units a second.
pub const SPEED_UNITS: i32 = 200;
/// A coin within this distance of a player is collected, in units.
pub const REACH_UNITS: i32 = 24;
/// Coins in the world.
pub const COINS: usize = 200;
/// Lines on the board.
pub const BOARD_LINES: usize = 10;
/// An input's direction is a vector of up to this length.
pub const DIRECTION_MAX: i32 = 127;

const SIDE: i32 = SIDE_UNITS * STEPS_PER_UNIT;
const REACH: i32 = REACH_UNITS * STEPS_PER_UNIT;
/// Velocities at one tick a second, the slowest rate.
const VELOCITY_MAX: i32 = SPEED_UNITS * STEPS_PER_UNIT;
/// Entities that a view should hold when as many players are there as the room is laid out for.
const VIEW_ENTITIES: u64 = 50;
const CELL_UNITS_MIN: u32 = 64;

/// What can be seen in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Somebody who runs about.
    Player(Player),
    /// Something to collect.
    Coin(Coin),
    /// A line of the board.
    Score(Score),
}

/// Somebody who runs about. The name is the entity's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Player {
    /// Where.
    pub x: i32,
    /// Where.
    pub y: i32,
    /// What the next tick adds to `x`.
    pub vx: i32,
    /// What the next tick adds to `y`.
    pub vy: i32,
    /// Coins collected.
    pub score: i32,
}

/// Something to collect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where.
    pub x: i32,
    /// Where.
    pub y: i32,
}

/// A line of the board: one of the best. The player's name is the entity's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// Who.
    pub player: PlayerId,
    /// Coins collected.
    pub points: i32,
}

/// Where a player wants to run: a direction, kept until the next input. Longer than [`DIRECTION_MAX`] is as good as that;
/// shorter is slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// To the right.
    pub dx: i32,
    /// Down.
    pub dy: i32,
}

/// The rules.
#[derive(Debug)]
pub struct Arena {
    /// What a player's position gains each tick at full speed.
    speed: i32,
    cell: u32,
    tick_rate: u32,
    runners: BTreeMap<PlayerId, Runner>,
    coins: Coins,
    board: Board,
    far: Rate,
}

#[derive(Debug)]
struct Runner {
    entity: EntityId,
    name: String,
    run: Run,
    score: i32,
    /// Whether the direction is new, or led to motion in the last tick. Who does not move is not touched.
    is_moving: bool,
}

impl Arena {
    /// An arena that ticks so often and is laid out for so many players: the more, the smaller the cells.
    pub fn new(tick_rate: u16, players: u32) -> Arena {
        Arena {
            speed: SPEED_UNITS * STEPS_PER_UNIT / tick_rate as i32,
            cell: cell_units(players) * STEPS_PER_UNIT as u32,
            tick_rate: tick_rate as u32,
            runners: BTreeMap::new(),
            coins: Coins::default(),
            board: Board::default(),
            far: Rate::One,
        }
    }

    /// Lets far cells be told so often: see [`Layout::far`].
    pub fn with_far(self, far: Rate) -> Arena {
        Arena { far, ..self }
    }
}

/// The side of a cell, so that 3 × 3 of them hold about [`VIEW_ENTITIES`] of the players.
fn cell_units(players: u32) -> u32 {
    let area = (SIDE_UNITS as u64).pow(2) * VIEW_ENTITIES / (9 * players.max(1) as u64);
    (area.isqrt() as u32).clamp(CELL_UNITS_MIN, SIDE_UNITS as u32)
}

impl Game for Arena {
    type Thing = Thing;
    type Input = Run;

    fn layout(&self) -> Layout {
        Layout { width: SIDE as u32, height: SIDE as u32, cell: self.cell, far: self.far }
    }

    fn join(&mut self, world: &mut World<Thing>, player: PlayerId, who: &Joining) -> Result<(), Refusal> {
        let (x, y) = somewhere(world);
        let entity = world.spawn_named(Thing::Player(Player { x, y, ..Player::default() }), who.name);
        world.look(player, Look::Follow(entity));
        let runner = Runner { entity, name: who.name.into(), run: Run::default(), score: 0, is_moving: true };
        self.runners.insert(player, runner);
        self.board.is_stale = true;
        Ok(())
    }

    fn leave(&mut self, world: &mut World<Thing>, player: PlayerId, _why: Leave) {
        if let Some(runner) = self.runners.remove(&player) {
            world.despawn(runner.entity);
            self.board.is_stale = true;
        }
    }

    fn input(&mut self, _world: &mut World<Thing>, player: PlayerId, input: &Run) {
        if let Some(runner) = self.runners.get_mut(&player) {
            runner.is_moving |= runner.run != *input;
            runner.run = *input;
        }
    }

    fn tick(&mut self, world: &mut World<Thing>, tick: Tick) {
        // Who rests has taken all there was within reach, so it looks only when there are new ones.
        let are_new = self.coins.fill_up(world);
        for runner in self.runners.values_mut().filter(|runner| runner.is_moving || are_new) {
            if runner.is_moving {
                runner.advance(world, self.speed);
            }
            let Some(&Thing::Player(Player { x, y, .. })) = world.get(runner.entity) else { continue };
            let found = self.coins.collect(world, x, y);
            if found > 0 {
                runner.score += found;
                self.board.is_stale = true;
                if let Some(Thing::Player(body)) = world.get_mut(runner.entity) {
                    body.score = runner.score;
                }
            }
        }
        if tick.0.is_multiple_of(self.tick_rate.div_ceil(2)) && self.board.is_stale {
            self.board.update(world, &self.runners);
        }
    }

    fn place(&self, thing: &Thing) -> Place {
        match *thing {
            Thing::Player(Player { x, y, .. }) | Thing::Coin(Coin { x, y }) => Place::At(x, y),
            Thing::Score(_) => Place::Everywhere,
        }
    }
}

impl Runner {
    fn advance(&mut self, world: &mut World<Thing>, speed: i32) {
        let Some(Thing::Player(body)) = world.get_mut(self.entity) else { return };
        let (vx, vy) = velocity(self.run, speed);
        (body.x, body.vx) = advance(body.x, vx);
        (body.y, body.vy) = advance(body.y, vy);
        // At the edge it may want to move and cannot: nothing changes until the next input.
        self.is_moving = (body.vx, body.vy) != (0, 0);
    }
}

/// What a direction makes of the speed. Rounded towards 0, and the length upwards, so never faster than `speed`.
fn velocity(run: Run, speed: i32) -> (i32, i32) {
    let square = (run.dx * run.dx + run.dy * run.dy) as u32;
    let root = square.isqrt();
    let length = (root + (root * root < square) as u32) as i32;
    let length = length.max(DIRECTION_MAX);
    (speed * run.dx / length, speed * run.dy / length)
}

/// A step in one dimension: the new position, and the velocity that is left if there is an edge.
fn advance(position: i32, velocity: i32) -> (i32, i32) {
    let wanted = position + velocity;
    let there = wanted.clamp(0, SIDE - 1);
    (there, if there == wanted { velocity } else { 0 })
}

fn somewhere(world: &mut World<Thing>) -> (i32, i32) {
    let random = world.random();
    (random.below(SIDE as u32) as i32, random.below(SIDE as u32) as i32)
}

/// The coins that lie about, in squares, so that a player looks at those nearby and not at all.
#[derive(Debug)]
struct Coins {
    squares: Vec<Vec<(EntityId, i32, i32)>>,
    /// By row: a bit for each column whose square has coins. Most have none, and to know that without a look at them keeps them out of
    /// the caches.
    filled: [u32; SQUARES_PER_SIDE as usize],
    count: usize,
}

/// The side of a square: more than twice the reach, so that a player looks at up to four.
const SQUARE: i32 = 128 * STEPS_PER_UNIT;
const SQUARES_PER_SIDE: i32 = SIDE / SQUARE;
const _: () = assert!(SQUARE > 2 * REACH && SIDE % SQUARE == 0 && SQUARES_PER_SIDE <= u32::BITS as i32);

impl Default for Coins {
    fn default() -> Coins {
        let squares = (0..SQUARES_PER_SIDE * SQUARES_PER_SIDE).map(|_| Vec::new());
        Coins { squares: squares.collect(), filled: [0; _], count: 0 }
    }
}

impl Coins {
    /// Puts out as many as are missing; says whether there were any.
    fn fill_up(&mut self, world: &mut World<Thing>) -> bool {
        let are_missing = self.count < COINS;
        while self.count < COINS {
            let (x, y) = somewhere(world);
            let entity = world.spawn(Thing::Coin(Coin { x, y }));
            let (column, row) = (x / SQUARE, y / SQUARE);
            self.squares[square(column, row)].push((entity, x, y));
            self.filled[row as usize] |= 1 << column;
            self.count += 1;
        }
        are_missing
    }

    /// Takes away the coins within reach; returns how many.
    fn collect(&mut self, world: &mut World<Thing>, x: i32, y: i32) -> i32 {
        let near = |position: i32| {
            let square = |position: i32| position.clamp(0, SIDE - 1) / SQUARE;
            square(position - REACH)..=square(position + REACH)
        };
        let before = self.count;
        for row in near(y) {
            for column in near(x) {
                if self.filled[row as usize] & 1 << column == 0 {
                    continue;
                }
                let coins = &mut self.squares[square(column, row)];
                coins.retain(|&(entity, coin_x, coin_y)| {
                    let (dx, dy) = (coin_x - x, coin_y - y);
                    // Both are small enough only after the first test: a square is 2,048 steps wide.
                    let is_reached = dx.abs().max(dy.abs()) <= REACH && dx * dx + dy * dy <= REACH * REACH;
                    if is_reached {
                        world.despawn(entity);
                        self.count -= 1;
                    }
                    !is_reached
                });
                if coins.is_empty() {
                    self.filled[row as usize] &= !(1 << column);
                }
            }
        }
        (before - self.count) as i32
    }
}

fn square(column: i32, row: i32) -> usize {
    (row * SQUARES_PER_SIDE + column) as usize
}

/// The best, as entities that everybody sees.
#[derive(Debug, Default)]
struct Board {
    lines: Vec<(PlayerId, EntityId)>,
    is_stale: bool,
    /// Kept for its memory.
    best: Vec<(i32, PlayerId)>,
}

impl Board {
    fn update(&mut self, world: &mut World<Thing>, runners: &BTreeMap<PlayerId, Runner>) {
        self.is_stale = false;
        self.find_best(runners);
        let best = &self.best;
        self.lines.retain(|&(player, entity)| {
            let stays = best.iter().any(|&(_, other)| other == player);
            if !stays {
                world.despawn(entity);
            }
            stays
        });
        for &(points, player) in best {
            let score = Score { player, points };
            match self.lines.iter().find(|&&(other, _)| other == player) {
                Some(&(_, entity)) => {
                    if let Some(thing) = world.get_mut(entity) {
                        *thing = Thing::Score(score);
                    }
                }
                None => {
                    let entity = world.spawn_named(Thing::Score(score), &runners[&player].name);
                    self.lines.push((player, entity));
                }
            }
        }
    }

    /// Most points first; among equals who came first.
    fn find_best(&mut self, runners: &BTreeMap<PlayerId, Runner>) {
        self.best.clear();
        for (&player, runner) in runners {
            let at = self.best.partition_point(|&(points, _)| points >= runner.score);
            if at < BOARD_LINES {
                self.best.truncate(BOARD_LINES - 1);
                self.best.insert(at, (runner.score, player));
            }
        }
    }
}

impl Kinds for Thing {
    fn kinds() -> Vec<Kind> {
        let step = 1.0 / STEPS_PER_UNIT as f64;
        let position = |name| Field::quantity(name, step, 0, SIDE - 1);
        let velocity = |name, of| Field::quantity(name, step, -VELOCITY_MAX, VELOCITY_MAX).velocity_of(of);
        let number = |name| Field::integer(name, 0, i32::MAX);
        let kind = |name: &str, fields: Vec<Field>| Kind { name: name.into(), fields };
        vec![
            kind(
                "player",
                vec![position("x"), position("y"), velocity("vx", 0), velocity("vy", 1), number("score")],
            ),
            kind("coin", vec![position("x"), position("y")]),
            kind("score", vec![number("player"), number("points")]),
        ]
    }

    fn kind(&self) -> u8 {
        match self {
            Thing::Player(_) => 0,
            Thing::Coin(_) => 1,
            Thing::Score(_) => 2,
        }
    }

    fn write(&self, row: &mut [i32]) {
        match *self {
            Thing::Player(Player { x, y, vx, vy, score }) => row.copy_from_slice(&[x, y, vx, vy, score]),
            Thing::Coin(Coin { x, y }) => row.copy_from_slice(&[x, y]),
            Thing::Score(Score { player, points }) => row.copy_from_slice(&[player.0 as i32, points]),
        }
    }
}

impl Fields for Run {
    fn fields() -> Vec<Field> {
        let step = 1.0 / DIRECTION_MAX as f64;
        ["dx", "dy"].map(|name| Field::quantity(name, step, -DIRECTION_MAX, DIRECTION_MAX)).into()
    }

    fn write(&self, row: &mut [i32]) {
        row.copy_from_slice(&[self.dx, self.dy]);
    }

    fn read(row: &[i32]) -> Run {
        Run { dx: row[0], dy: row[1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An arena at 20 Hz with its world.
    struct Run20 {
        arena: Arena,
        world: World<Thing>,
    }

    impl Run20 {
        fn new(players: u32) -> Run20 {
            let mut run = Run20 { arena: Arena::new(20, players), world: World::new(1) };
            (1..=players).for_each(|player| run.join(player));
            run.tick();
            run
        }

        fn join(&mut self, player: u32) {
            let who = Joining { name: &format!("P{player}"), options: &[] };
            self.arena.join(&mut self.world, PlayerId(player), &who).unwrap();
        }

        fn run(&mut self, player: u32, dx: i32, dy: i32) {
            self.arena.input(&mut self.world, PlayerId(player), &Run { dx, dy });
        }

        fn tick(&mut self) {
            let tick = self.world.tick().after(1);
            self.world.begin(tick);
            self.arena.tick(&mut self.world, tick);
            self.world.published(tick);
        }

        fn body(&mut self, player: u32) -> &mut Player {
            let entity = self.arena.runners[&PlayerId(player)].entity;
            let Some(Thing::Player(body)) = self.world.get_mut(entity) else { panic!("a player") };
            body
        }

        fn put(&mut self, player: u32, x: i32, y: i32) {
            (self.body(player).x, self.body(player).y) = (x, y);
        }

        fn coins(&self) -> Vec<(i32, i32)> {
            let things = self.world.iter();
            things
                .filter_map(
                    |(_, thing)| if let Thing::Coin(Coin { x, y }) = thing { Some((*x, *y)) } else { None },
                )
                .collect()
        }

        fn board(&self) -> Vec<(u32, i32, &str)> {
            let lines = self.world.iter().filter_map(|(id, thing)| match thing {
                Thing::Score(score) => Some((score.player.0, score.points, self.world.statics(id.slot))),
                _ => None,
            });
            let mut lines: Vec<_> = lines.collect();
            lines.sort_by_key(|line| (-line.1, line.0));
            lines
        }
    }

    proptest! {
        #[test]
        fn nobody_is_faster_than_the_speed(dx in -127i32..=127, dy in -127i32..=127, rate in 1i32..=60) {
            let speed = SPEED_UNITS * STEPS_PER_UNIT / rate;
            let (vx, vy) = velocity(Run { dx, dy }, speed);
            prop_assert!(vx * vx + vy * vy <= speed * speed);
            prop_assert!(vx.signum() * dx.signum() >= 0 && vy.signum() * dy.signum() >= 0);
            // And not slower than rounding makes it.
            let length = ((dx * dx + dy * dy) as f64).sqrt();
            let wanted = speed as f64 * (length / DIRECTION_MAX as f64).min(1.0);
            prop_assert!(((vx * vx + vy * vy) as f64).sqrt() > wanted * 0.99 - 2.0);
        }

        #[test]
        fn coins_are_found_as_by_looking_at_all_of_them(x in 0..SIDE, y in 0..SIDE, corner: bool) {
            let mut run = Run20::new(0);
            // Often near a coin, where it matters.
            let (x, y) = if corner { (x, y) } else {
                let (coin_x, coin_y) = run.coins()[(x % COINS as i32) as usize];
                ((coin_x + x % 500 - 250).clamp(0, SIDE - 1), (coin_y + y % 500 - 250).clamp(0, SIDE - 1))
            };
            let reached = |&&(coin_x, coin_y): &&(i32, i32)| {
                let (dx, dy) = ((coin_x - x) as i64, (coin_y - y) as i64);
                dx * dx + dy * dy <= (REACH as i64).pow(2)
            };
            let before = run.coins();
            let found = run.arena.coins.collect(&mut run.world, x, y);
            prop_assert_eq!(found as usize, before.iter().filter(reached).count());
            prop_assert_eq!(run.coins().iter().filter(reached).count(), 0);
            prop_assert_eq!(run.coins().len(), COINS - found as usize);
        }
    }

    #[test]
    fn a_direction_is_kept_and_the_velocity_is_what_the_next_tick_adds() {
        let mut run = Run20::new(1);
        run.put(1, 1000, 1000);
        run.run(1, 127, 0);
        for step in 1..=5 {
            run.tick();
            let body = run.body(1);
            assert_eq!((body.x, body.y, body.vx, body.vy), (1000 + 160 * step, 1000, 160, 0));
        }
        run.run(1, -127, 127);
        run.tick();
        let body = run.body(1).clone();
        assert_eq!((body.x, body.y, body.vx, body.vy), (1800 - 112, 1112, -112, 112));
        run.run(1, 0, 0);
        run.tick();
        assert_eq!(*run.body(1), Player { vx: 0, vy: 0, ..body });
    }

    #[test]
    fn at_the_edge_the_velocity_into_it_is_gone_and_the_one_along_it_stays() {
        let mut run = Run20::new(1);
        run.put(1, SIDE - 100, 500);
        run.run(1, 127, 127);
        for y in [612, 724] {
            run.tick();
            let body = run.body(1);
            assert_eq!((body.x, body.y, body.vx, body.vy), (SIDE - 1, y, 0, 112));
        }
        run.run(1, 127, 0);
        run.tick();
        run.world.published(Tick(0));
        run.tick();
        assert!(run.world.touched().is_empty(), "who stands at the edge is at rest");
    }

    #[test]
    fn who_rests_is_not_touched() {
        let mut run = Run20::new(3);
        run.run(2, 127, 0);
        run.tick();
        run.run(2, 0, 0);
        run.tick();
        let tick = run.world.tick().after(1);
        run.world.begin(tick);
        run.arena.tick(&mut run.world, tick);
        assert!(run.world.touched().is_empty());
    }

    #[test]
    fn a_coin_counts_for_the_player_and_another_one_appears() {
        let mut run = Run20::new(1);
        let (x, y) = run.coins()[17];
        run.put(1, (x - 100).max(0), y);
        run.run(1, 127, 0);
        run.tick();
        assert!(run.body(1).score >= 1);
        let score = run.body(1).score;
        assert_eq!(run.coins().len(), COINS - score as usize);
        run.run(1, 0, 0);
        run.tick();
        assert_eq!(run.coins().len(), COINS);
        assert_eq!(run.world.len(), COINS + 1 + run.board().len());
    }

    #[test]
    fn a_coin_that_appears_within_reach_of_a_player_who_rests_is_collected() {
        let mut run = Run20::new(0);
        // As many as it takes that new coins hit some of them.
        (1..=3000).for_each(|player| run.join(player));
        let mut found = Vec::new();
        for _ in 0..10 {
            run.tick();
            found.push(COINS - run.coins().len());
            let bodies: Vec<_> = (1..=3000).map(|player| run.body(player).clone()).collect();
            for (x, y) in run.coins() {
                let reaches = |body: &Player| {
                    let (dx, dy) = ((body.x - x) as i64, (body.y - y) as i64);
                    dx * dx + dy * dy <= (REACH as i64).pow(2)
                };
                assert!(!bodies.iter().any(reaches), "a coin lies at {x}, {y} before somebody's feet");
            }
        }
        assert!(found[1] > 0, "new ones appeared at somebody's feet: {found:?}");
        let scores: i32 = (1..=3000).map(|player| run.body(player).score).sum();
        assert_eq!(scores as usize, found.iter().sum::<usize>());
    }

    #[test]
    fn the_board_holds_the_ten_best_and_changes_at_most_twice_a_second() {
        let mut run = Run20::new(12);
        // Whoever began on a coin has it already.
        run.arena.runners.values_mut().for_each(|runner| runner.score = 0);
        while !run.world.tick().0.is_multiple_of(10) {
            run.tick();
        }
        assert!(run.board().iter().map(|line| line.0).eq(1..=10));
        assert_eq!(run.board()[0], (1, 0, "P1"));

        let mut changes = Vec::new();
        for _ in 0..40 {
            let before = run.board().iter().map(|line| (line.0, line.1)).collect::<Vec<_>>();
            run.arena.runners.get_mut(&PlayerId(12)).unwrap().score += 1;
            run.arena.board.is_stale = true;
            run.tick();
            if run.board().iter().map(|line| (line.0, line.1)).ne(before) {
                changes.push(run.world.tick().0);
            }
        }
        assert_eq!(changes, [20, 30, 40, 50]);
        assert_eq!(run.board()[0], (12, 40, "P12"));
        assert_eq!(run.board().len(), BOARD_LINES);
        assert!(run.board().iter().all(|line| line.0 != 10), "the line that dropped out is gone");

        run.arena.leave(&mut run.world, PlayerId(12), Leave::Left);
        (0..10).for_each(|_| run.tick());
        assert!(run.board().iter().map(|line| line.0).eq(1..=10));
    }

    #[test]
    fn nine_cells_hold_about_fifty_players_whatever_the_room_is_laid_out_for() {
        assert_eq!([1, 5, 6].map(cell_units), [4096, 4096, 3941]);
        for players in [100u32, 1000, 10_000] {
            let share = 9.0 * (cell_units(players) as f64 / SIDE_UNITS as f64).powi(2);
            let seen = players as f64 * share;
            assert!((49.0..=50.0).contains(&seen), "{players} players: {seen}");
        }
        assert_eq!(cell_units(u32::MAX), CELL_UNITS_MIN);
    }
}
