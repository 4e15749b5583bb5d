//! Which ticks were told in each room, and which of the others were not told to a player because there was nothing to tell.
//!
//! A server may say nothing to a player for whom all goes on as predicted. So a tick without a message counts as delivered if the next
//! message does not say that something was kept back, and if somebody else in the room was told that tick. What a server left out, or made up
//! for later, was told to nobody.

use std::collections::BTreeMap;

use tickyard_compare::TICK_RATE;

/// The rooms of all players.
#[derive(Debug, Default)]
pub struct Rooms {
    numbers: BTreeMap<String, usize>,
    told: Vec<Told>,
    gaps: Vec<Gap>,
}

/// The ticks that somebody in a room was told.
#[derive(Debug, Default)]
struct Told {
    first: Option<u32>,
    /// From the first on.
    ticks: Vec<bool>,
}

/// Ticks between two messages to one player, the second of which owns up to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The player's.
    pub room: usize,
    /// The tick of the message before.
    pub after: u32,
    /// The tick of the next message.
    pub before: u32,
}

impl Rooms {
    /// The number of the room with this id.
    pub fn find(&mut self, id: &str) -> usize {
        let next = self.told.len();
        let number = *self.numbers.entry(id.to_owned()).or_insert(next);
        if number == next {
            self.told.push(Told::default());
        }
        number
    }

    /// Somebody in a room was told a tick.
    pub fn tell(&mut self, room: usize, tick: u32) {
        let told = &mut self.told[room];
        let at = tick.wrapping_sub(*told.first.get_or_insert(tick)) as usize;
        if at >= TICKS_MAX {
            return;
        }
        if at >= told.ticks.len() {
            told.ticks.resize(at + 1, false);
        }
        told.ticks[at] = true;
    }

    /// A player heard nothing between two messages. Silence is broken once a second at least: more than that is none.
    pub fn add(&mut self, gap: Gap) {
        if (1..TICK_RATE).contains(&gap.ticks()) {
            self.gaps.push(gap);
        }
    }

    /// Over all gaps, the ticks at which there was nothing to tell.
    pub fn silent(&self) -> u64 {
        let lived = |gap: &Gap| {
            let told = &self.told[gap.room];
            let missing = (1..=gap.ticks()).filter(|ahead| told.has(gap.after.wrapping_add(*ahead)));
            missing.count() as u64
        };
        self.gaps.iter().map(lived).sum()
    }
}

impl Gap {
    fn ticks(&self) -> u32 {
        self.before.wrapping_sub(self.after).wrapping_sub(1)
    }
}

impl Told {
    fn has(&self, tick: u32) -> bool {
        let at = self.first.map(|first| tick.wrapping_sub(first) as usize);
        at.and_then(|at| self.ticks.get(at)).is_some_and(|&told| told)
    }
}

/// Of one room, an hour of them: a run is over by then.
const TICKS_MAX: usize = 3600 * TICK_RATE as usize;

#[cfg(test)]
mod tests {
    use super::*;

    /// A room that told these ticks to somebody.
    fn told(ticks: &[u32]) -> (Rooms, usize) {
        let mut rooms = Rooms::default();
        rooms.find("another");
        let room = rooms.find("arena-1");
        ticks.iter().for_each(|&tick| rooms.tell(room, tick));
        (rooms, room)
    }

    fn silent(ticks: &[u32], after: u32, before: u32) -> u64 {
        let (mut rooms, room) = told(ticks);
        rooms.add(Gap { room, after, before });
        rooms.silent()
    }

    #[test]
    fn a_tick_that_others_were_told_was_silence() {
        assert_eq!(silent(&[10, 11, 12, 13], 10, 13), 2);
        assert_eq!(silent(&[10, 11], 10, 11), 0);
    }

    #[test]
    fn a_tick_that_nobody_was_told_is_not_delivered() {
        // Four ticks made up for at once, and told once.
        assert_eq!(silent(&[10, 14], 10, 14), 0);
        assert_eq!(silent(&[10, 12, 14], 10, 14), 1);
    }

    #[test]
    fn who_hears_nothing_for_a_second_was_not_told() {
        let ticks: Vec<u32> = (0..=40).collect();
        assert_eq!(silent(&ticks, 0, TICK_RATE), u64::from(TICK_RATE) - 1);
        assert_eq!(silent(&ticks, 0, TICK_RATE + 1), 0);
        assert_eq!(silent(&ticks, 10, 9), 0);
    }

    #[test]
    fn ticks_are_those_of_one_room_and_wrap() {
        let (mut rooms, room) = told(&[u32::MAX, 0, 1]);
        let other = rooms.find("another");
        rooms.tell(other, u32::MAX);
        for room in [room, other] {
            rooms.add(Gap { room, after: u32::MAX, before: 1 });
        }
        assert_eq!(rooms.silent(), 1);
        assert_eq!((rooms.find("another"), rooms.find("arena-1")), (other, room));
    }
}
