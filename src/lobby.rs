//! The games of a server, their rooms, and where a seat is free.
//!
//! One [`Lobby`] is shared by all threads. An io thread takes a seat in it before it hands a join on, and gives it back with the leave,
//! so a room is never asked for more seats than it has, however many join at once. Who wants a game gets into the fullest of its
//! rooms that has a seat: few rooms are played in, and those well. When none has, the next one opens, as long as there may be more. The lock is
//! held for a few steps through a tree, and only when somebody comes or goes.
//!
//! The lobby only says which rooms there are. The simulation opens one when its first command comes, by [`Lobby::opening`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tickyard_protocol::fields::Field;
use tickyard_protocol::message::{RefusalCode, Seek};

use crate::bridge::RoomId;
use crate::config::limits::FULL_RETRY_MILLIS;

/// The games of a server and their rooms. The default has none.
#[derive(Debug, Default)]
pub struct Lobby {
    games: Vec<Hosted>,
    rooms: Mutex<Rooms>,
}

/// A game that can be played here.
#[derive(Clone, Debug, PartialEq)]
pub struct Hosted {
    /// The name by which clients ask for it.
    pub name: String,
    /// The fields of its inputs.
    pub input: Vec<Field>,
    /// Rooms that may be open, at least one.
    pub rooms_max: u32,
    /// Seats in each.
    pub seats: u32,
}

/// What a hello asks for, once it is known to be there. A game by its place in the lobby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    game: usize,
    wish: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Wish {
    /// Any room, a new one if need be.
    AnyOrNew,
    /// Any room that is open.
    Any,
    This(RoomId),
}

/// Why there is no seat, for the player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSeat {
    /// For the client.
    pub code: RefusalCode,
    /// For people.
    pub text: String,
    /// When to try again, in milliseconds.
    pub retry_after_millis: Option<u32>,
}

/// What the simulation has to know of a room that it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The game's place in the lobby.
    pub game: usize,
    /// Its name.
    pub game_name: String,
    /// 1, 2, 3 … among the rooms of the game.
    pub number: u32,
    /// What clients call it.
    pub name: String,
}

#[derive(Debug, Default)]
struct Rooms {
    /// By id.
    all: Vec<Room>,
    /// By game.
    of: Vec<OfGame>,
}

#[derive(Debug)]
struct Room {
    game: usize,
    number: u32,
    taken: u32,
    /// Its game failed: nobody gets in any more.
    has_ended: bool,
}

#[derive(Debug, Default)]
struct OfGame {
    /// In the order in which they opened.
    ids: Vec<RoomId>,
    /// Those with free seats, by how many: the first is the fullest, and of those the oldest.
    free: BTreeSet<(u32, RoomId)>,
    ended: usize,
}

impl Lobby {
    /// With one game.
    pub fn hosting(game: Hosted) -> Lobby {
        let mut lobby = Lobby::default();
        lobby.add(game);
        lobby
    }

    /// Adds a game with one room, which is returned.
    pub fn add(&mut self, game: Hosted) -> RoomId {
        let at = self.games.len();
        self.games.push(game);
        let rooms = self.rooms.get_mut().unwrap_or_else(PoisonError::into_inner);
        rooms.of.push(OfGame::default());
        rooms.open(at, self.games[at].seats)
    }

    /// How many rooms there may be, of all games.
    pub fn rooms_max(&self) -> u32 {
        self.games.iter().fold(0, |sum: u32, game| sum.saturating_add(game.rooms_max))
    }

    /// Whether what a hello asks for is here.
    pub fn find(&self, seek: &Seek) -> Result<Sought, NoSeat> {
        let (name, wish) = match *seek {
            Seek::JoinOrCreate(name) => (name, Wish::AnyOrNew),
            Seek::Join(name) => (name, Wish::Any),
            Seek::Room(name) => return self.find_room(name),
            Seek::Create(_) => {
                let text = "this server opens a room only when all others are full: join a game";
                return Err(no_seat(RefusalCode::UnknownRoom, text.to_owned()));
            }
        };
        let game = self.games.iter().position(|game| game.name == name);
        let game = game.ok_or_else(|| {
            let text = format!("there is no game {:?} here; there is {}", start_of(name), self.names());
            no_seat(RefusalCode::UnknownGame, text)
        })?;
        Ok(Sought { game, wish })
    }

    /// Takes a seat; it is given back with [`Lobby::give_back`].
    pub fn take_seat(&self, sought: Sought) -> Result<RoomId, NoSeat> {
        let game = &self.games[sought.game];
        let rooms = &mut *self.lock();
        let of = &rooms.of[sought.game];
        let fullest = of.free.first().map(|&(_, room)| room);
        let may_open = of.ids.len() < game.rooms_max as usize;
        let room = match sought.wish {
            Wish::This(room) => Some(room).filter(|&room| rooms.all[room.0 as usize].is_free(game.seats)),
            Wish::AnyOrNew if fullest.is_none() && may_open => Some(rooms.open(sought.game, game.seats)),
            Wish::AnyOrNew | Wish::Any => fullest,
        };
        let Some(room) = room else { return Err(rooms.why_not(game, sought)) };
        rooms.change(room, game.seats, |taken| taken + 1);
        Ok(room)
    }

    /// Whoever had a seat is gone, or never sat down.
    pub fn give_back(&self, room: RoomId) {
        let rooms = &mut *self.lock();
        let seats = self.games[rooms.all[room.0 as usize].game].seats;
        rooms.change(room, seats, |taken| taken - 1);
    }

    /// A room's game failed: nobody is sent there any more.
    pub fn end(&self, room: RoomId) {
        let rooms = &mut *self.lock();
        let ends = &mut rooms.all[room.0 as usize];
        let seats = self.games[ends.game].seats;
        let was_open = !std::mem::replace(&mut ends.has_ended, true);
        let of = &mut rooms.of[ends.game];
        of.free.remove(&(seats - ends.taken, room));
        of.ended += was_open as usize;
    }

    /// Whether every game has failed in all of its rooms.
    pub fn is_over(&self) -> bool {
        let rooms = self.lock();
        let is_over = |(game, of): (&Hosted, &OfGame)| of.ended == game.rooms_max as usize;
        !self.games.is_empty() && self.games.iter().zip(&rooms.of).all(is_over)
    }

    /// What a room is opened as; `None`: there is none of that number.
    pub fn opening(&self, room: RoomId) -> Option<Opening> {
        let rooms = self.lock();
        let &Room { game, number, .. } = rooms.all.get(room.0 as usize)?;
        let game_name = self.games[game].name.clone();
        Some(Opening { game, number, name: room_name(&game_name, number), game_name })
    }

    /// The fields of the inputs of what is sought.
    pub fn input_fields(&self, sought: Sought) -> &[Field] {
        &self.games[sought.game].input
    }

    fn find_room(&self, name: &str) -> Result<Sought, NoSeat> {
        let found = name.rsplit_once('-').and_then(|(game, number)| {
            let game = self.games.iter().position(|hosted| hosted.name == game)?;
            let index = number.parse::<usize>().ok()?.checked_sub(1)?;
            let room = *self.lock().of[game].ids.get(index)?;
            // "arena-01" and "arena-+1" are numbers too.
            (room_name(&self.games[game].name, index as u32 + 1) == name)
                .then_some(Sought { game, wish: Wish::This(room) })
        });
        found.ok_or_else(|| {
            no_seat(RefusalCode::UnknownRoom, format!("there is no room {:?} here", start_of(name)))
        })
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.games.iter().map(|game| game.name.as_str()).collect();
        names.join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Each change is whole before anything can panic.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    fn open(&mut self, game: usize, seats: u32) -> RoomId {
        let room = RoomId(self.all.len() as u32);
        let of = &mut self.of[game];
        of.ids.push(room);
        of.free.insert((seats, room));
        self.all.push(Room { game, number: of.ids.len() as u32, taken: 0, has_ended: false });
        room
    }

    fn change(&mut self, id: RoomId, seats: u32, taken: impl FnOnce(u32) -> u32) {
        let room = &mut self.all[id.0 as usize];
        let before = seats - room.taken;
        room.taken = taken(room.taken);
        let free = &mut self.of[room.game].free;
        free.remove(&(before, id));
        if room.is_free(seats) {
            free.insert((seats - room.taken, id));
        }
    }

    fn why_not(&self, game: &Hosted, sought: Sought) -> NoSeat {
        let of = &self.of[sought.game];
        let (open, seats) = (of.ids.len() - of.ended, game.seats);
        let has_ended = match sought.wish {
            Wish::This(room) => self.all[room.0 as usize].has_ended,
            Wish::AnyOrNew | Wish::Any => open == 0,
        };
        if has_ended {
            return no_seat(RefusalCode::Game, "this room has ended: its game failed".to_owned());
        }
        let text = match sought.wish {
            Wish::AnyOrNew | Wish::Any if open > 1 => {
                format!("all {open} rooms are full, with {seats} seats each")
            }
            _ => format!("the room is full: all {seats} seats are taken"),
        };
        NoSeat { retry_after_millis: Some(FULL_RETRY_MILLIS), ..no_seat(RefusalCode::Full, text) }
    }
}

impl Room {
    fn is_free(&self, seats: u32) -> bool {
        !self.has_ended && self.taken < seats
    }
}

fn room_name(game: &str, number: u32) -> String {
    format!("{game}-{number}")
}

fn no_seat(code: RefusalCode, text: String) -> NoSeat {
    NoSeat { code, text, retry_after_millis: None }
}

/// As much of a peer's text as is said back, or written to a log.
fn start_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}

#[cfg(test)]
mod tests;
