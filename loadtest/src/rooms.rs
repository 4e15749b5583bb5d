//! The rooms that bots are in: ticks and cells of one say nothing about another.

use std::collections::BTreeMap;
use std::rc::Rc;
use tickyard_protocol::types::Tick;

/// A room, by the order in which they were heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room(usize);

/// All rooms that anybody was welcomed to.
#[derive(Debug, Default)]
pub struct RoomBook {
    ids: Vec<Rc<str>>,
    rooms: BTreeMap<Rc<str>, Room>,
}

/// The newest tick of each room.
#[derive(Clone, Debug, Default)]
pub struct Newest(Vec<Option<Tick>>);

impl RoomBook {
    /// The room with this id.
    pub fn of(&mut self, id: &str) -> Room {
        if let Some(&room) = self.rooms.get(id) {
            return room;
        }
        let (room, id) = (Room(self.ids.len()), Rc::<str>::from(id));
        self.ids.push(Rc::clone(&id));
        self.rooms.insert(id, room);
        room
    }

    /// Its id.
    pub fn id(&self, room: Room) -> Rc<str> {
        Rc::clone(&self.ids[room.0])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }
}

impl Newest {
    /// A room has come as far as this tick.
    pub fn hear(&mut self, room: Room, tick: Tick) {
        if room.0 >= self.0.len() {
            self.0.resize(room.0 + 1, None);
        }
        let newest = self.0[room.0].get_or_insert(tick);
        if tick.since(*newest) as i32 > 0 {
            *newest = tick;
        }
    }

    /// How far a room has come, if anybody has heard it.
    pub fn of(&self, room: Room) -> Option<Tick> {
        self.0.get(room.0).copied().flatten()
    }

    /// How many ticks the rooms have lived since `before`, those that were heard then and now, on average.
    pub fn since(&self, before: &Newest) -> f64 {
        let both = self.0.iter().zip(&before.0).filter_map(|(now, before)| Some((*now)?.since((*before)?)));
        let (rooms, ticks) =
            both.fold((0, 0.0), |(rooms, ticks), lived| (rooms + 1, ticks + f64::from(lived)));
        ticks / f64::from(rooms.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_one_number_and_its_own_newest_tick() {
        let (mut book, mut newest) = (RoomBook::default(), Newest::default());
        let [a, b] = ["a", "b"].map(|id| book.of(id));
        assert_eq!((book.of("a"), &*book.id(b), book.len()), (a, "b", 2));
        newest.hear(b, Tick(1000));
        newest.hear(a, Tick(7));
        newest.hear(a, Tick(5));
        assert_eq!([a, b, Room(2)].map(|room| newest.of(room)), [Some(Tick(7)), Some(Tick(1000)), None]);
    }

    #[test]
    fn rooms_live_their_ticks_side_by_side() {
        let (mut before, mut now) = (Newest::default(), Newest::default());
        before.hear(Room(0), Tick(u32::MAX));
        before.hear(Room(1), Tick(500));
        [(0, 199), (1, 600), (2, 50)].into_iter().for_each(|(room, tick)| now.hear(Room(room), Tick(tick)));
        assert_eq!(now.since(&before), 150.0);
        assert_eq!(now.since(&Newest::default()), 0.0);
    }
}
