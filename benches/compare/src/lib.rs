//! The work that is compared: what it consists of, and the rules that servers without a game of their own play by.
//!
//! Players sit in rooms of [`ROOM_PLAYERS`]. A room ticks [`TICK_RATE`] times a second: it moves who wants to move, and tells each
//! player in one message which of its players changed. A player says [`INPUT_RATE`] times a second where to. Each message carries the
//! number of the last input that was applied for its reader, so that the way from an input to the state that has it can be timed.
//!
//! Tickyard does this with its arena and its protocol. The others move by the same rules with [`Room`], and speak the plainest wire that does the job:
//!
//! ```text
//! input  u32 number | u32 0 | u32 0 | i16 dx | i16 dy                      as long as Tickyard's
//! state  u32 tick | u32 number | (u16 who | u16 x | u16 y | i16 vx | i16 vy | u16 score) × changed
//! ```

#![forbid(unsafe_code)]

use tickyard::game::Random;
use tickyard::game::arena::{DIRECTION_MAX, SIDE_UNITS, SPEED_UNITS, STEPS_PER_UNIT};

/// Players in a room.
pub const ROOM_PLAYERS: usize = 50;
/// Ticks a second.
pub const TICK_RATE: u32 = 20;
/// Inputs a second and player.
pub const INPUT_RATE: u32 = 10;
/// The plain wire's input, without its frame.
pub const INPUT_BYTES: usize = 16;
/// What comes before the changed players in the plain wire's state.
pub const STATE_HEADER_BYTES: usize = 8;
/// What Tickyard says when an input was applied and there is no other news.
pub const NO_NEWS_BYTES: usize = 11;
/// A changed player in it.
pub const ROW_BYTES: usize = 12;

const SIDE: i32 = SIDE_UNITS * STEPS_PER_UNIT;
const SPEED: i32 = SPEED_UNITS * STEPS_PER_UNIT / TICK_RATE as i32;

/// An input on the plain wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Counts from 1.
    pub number: u32,
    /// Where to.
    pub dx: i16,
    /// Where to.
    pub dy: i16,
}

impl Input {
    /// As bytes.
    pub fn encode(self) -> [u8; INPUT_BYTES] {
        let mut bytes = [0; INPUT_BYTES];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.dx.to_le_bytes());
        bytes[14..].copy_from_slice(&self.dy.to_le_bytes());
        bytes
    }

    /// From bytes; `None`: too few or too many.
    pub fn decode(bytes: &[u8]) -> Option<Input> {
        let bytes: &[u8; INPUT_BYTES] = bytes.try_into().ok()?;
        let [a, b, c, d, .., x, x_high, y, y_high] = *bytes;
        let number = u32::from_le_bytes([a, b, c, d]);
        Some(Input { number, dx: i16::from_le_bytes([x, x_high]), dy: i16::from_le_bytes([y, y_high]) })
    }
}

/// A room of the servers that bring no game.
#[derive(Clone, Debug, Default)]
pub struct Room {
    players: Vec<Player>,
    tick: u32,
    /// The changed players of this tick, as they go on the wire.
    rows: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Player {
    at: [i32; 2],
    velocity: [i32; 2],
    input: Input,
}

impl Room {
    /// Somebody comes in; returns its seat.
    pub fn join(&mut self, random: &mut Random) -> usize {
        let at = [0, 1].map(|_| random.below(SIDE as u32) as i32);
        self.players.push(Player { at, ..Player::default() });
        self.players.len() - 1
    }

    /// From now on a player wants to go there.
    pub fn input(&mut self, seat: usize, input: Input) {
        if let Some(player) = self.players.get_mut(seat) {
            player.input = input;
        }
    }

    /// A tick passes: everybody moves, and who changed is written down.
    pub fn step(&mut self) {
        self.tick += 1;
        self.rows.clear();
        for (seat, player) in self.players.iter_mut().enumerate() {
            let before = (player.at, player.velocity);
            player.advance();
            if before == (player.at, player.velocity) {
                continue;
            }
            let [x, y] = player.at.map(|at| at as u16);
            let [vx, vy] = player.velocity.map(|velocity| velocity as u16);
            for number in [seat as u16, x, y, vx, vy, 0] {
                self.rows.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// What a player is told of the tick.
    pub fn message(&self, seat: usize) -> Vec<u8> {
        let mut message = Vec::with_capacity(STATE_HEADER_BYTES + self.rows.len());
        message.extend_from_slice(&self.tick.to_le_bytes());
        message.extend_from_slice(&self.players[seat].input.number.to_le_bytes());
        message.extend_from_slice(&self.rows);
        message
    }
}

impl Player {
    /// The arena's motion: at once as fast as the input asks for, and no further than the edge.
    fn advance(&mut self) {
        let run = [self.input.dx, self.input.dy].map(i32::from);
        let length = f64::from(run[0]).hypot(f64::from(run[1])).ceil() as i32;
        for ((at, velocity), run) in self.at.iter_mut().zip(&mut self.velocity).zip(run) {
            let wanted = SPEED * run / length.max(DIRECTION_MAX);
            let there = (*at + wanted).clamp(0, SIDE - 1);
            *velocity = if there == *at + wanted { wanted } else { 0 };
            *at = there;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_read_as_it_was_written() {
        let input = Input { number: 70_000, dx: -127, dy: 3 };
        assert_eq!(Input::decode(&input.encode()), Some(input));
        assert_eq!(Input::decode(&input.encode()[1..]), None);
    }

    #[test]
    fn who_moves_is_in_the_message_and_nobody_else() {
        let (mut room, mut random) = (Room::default(), Random::new(1));
        let seats: Vec<usize> = (0..ROOM_PLAYERS).map(|_| room.join(&mut random)).collect();
        room.players.iter_mut().for_each(|player| player.at = [SIDE / 2; 2]);
        for &seat in &seats[..25] {
            room.input(seat, Input { number: 7, dx: 127, dy: 0 });
        }
        room.step();

        let message = room.message(seats[0]);
        assert_eq!(message.len(), 308);
        assert_eq!(message[..8], [1, 0, 0, 0, 7, 0, 0, 0]);
        let middle = (SIDE / 2) as u16;
        let rows = message[8..].chunks(ROW_BYTES).map(|row| (row[0], u16::from_le_bytes([row[2], row[3]])));
        assert!(rows.eq((0..25).map(|seat| (seat, middle + SPEED as u16))));
        assert_eq!(room.message(seats[30])[4..8], [0; 4]);
    }

    #[test]
    fn at_the_edge_a_player_stands_and_then_says_no_more() {
        let (mut room, mut random) = (Room::default(), Random::new(1));
        let seat = room.join(&mut random);
        room.players[seat].at = [SIDE - 1 - SPEED, 0];
        room.input(seat, Input { number: 1, dx: 127, dy: 0 });
        let lengths: Vec<usize> = std::iter::repeat_with(|| {
            room.step();
            room.message(seat).len() - STATE_HEADER_BYTES
        })
        .take(3)
        .collect();
        assert_eq!(lengths, [ROW_BYTES, ROW_BYTES, 0]);
    }
}
