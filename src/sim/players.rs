//! Seats: who plays, which inputs wait, and which reliable messages are not acknowledged yet.
//!
//! A seat is found by its player or by its connection. Nothing here depends on which connection that is: seats
//! are handed out, and their inputs applied, in an order that follows from the commands alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickyard_protocol::delta::Row;
use tickyard_protocol::message::Input;
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Seq, Tick};

use super::interest::View;
use crate::bridge::{ConnId, Rate as StreamRate};
use crate::game::Look;

/// Inputs of a player that wait in the room at most.
pub const INPUTS_WAITING_MAX: usize = 4;

/// So many seats are fetched at once.
pub const AHEAD: usize = 16;

/// When more than one input has waited for this many ticks, two are applied a tick.
pub const CROWDED_TICKS: u32 = 10;

/// Reliable messages that may wait for a player's acknowledgement.
pub const RELIABLE_WAITING_MAX: usize = 256;

/// Bytes of reliable messages that may wait for a player's acknowledgement.
pub const RELIABLE_WAITING_BYTES_MAX: usize = 32 * 1024;

/// A player of the room.
#[derive(Debug)]
pub struct Seat {
    pub player: PlayerId,
    pub conn: ConnId,
    pub name: String,
    pub inputs: Inputs,
    pub reliable: Reliables,
    /// The player's last message that was taken.
    pub heard: u32,
    pub look: Look,
    /// What the view is around: a square and a position in or near it.
    pub centre: Option<(CellId, i32, i32)>,
    pub view: View,
    /// Whether the view has to be computed afresh.
    pub view_is_stale: bool,
    /// Whether the io thread has to be told the view.
    pub view_is_news: bool,
    /// No cell is told more often.
    pub rate: StreamRate,
    /// Whether something was ever placed for this player only.
    pub has_private: bool,
    pub own: Own,
    pub chat: Bucket,
    /// Whether it is to lose its seat.
    pub is_doomed: bool,
    /// Its place among the seats of its thread.
    at: usize,
}

impl Seat {
    /// A word of each line; the sum says nothing.
    fn fetch(&self) -> u32 {
        let Seat { inputs, own, .. } = self;
        let input = inputs.waiting.front().map_or(0, |input| input.seq.0);
        let words = input ^ self.heard ^ self.conn.slot ^ own.at.0 ^ own.changed.0 ^ own.row[0] as u32;
        words ^ self.view.cells().len() as u32 ^ self.is_doomed as u32 ^ self.reliable.bytes as u32
    }
}

/// A player's own entity at the last publication.
#[derive(Debug, Default)]
pub struct Own {
    pub entity: Option<EntityId>,
    pub row: Row,
    pub at: Tick,
    /// When it was last not as predicted.
    pub changed: Tick,
}

/// The seats of a room.
#[derive(Debug, Default)]
pub struct Seats {
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
    by_player: BTreeMap<PlayerId, u32>,
    /// By thread: the connections of its players, by slot.
    by_conn: Vec<Vec<Sitter>>,
    /// By thread: its seats.
    by_thread: Vec<Vec<u32>>,
}

/// A connection with a seat.
#[derive(Clone, Copy, Debug)]
struct Sitter {
    slot: u32,
    generation: u32,
    seat: u32,
}

impl Seats {
    /// How many are taken.
    pub fn len(&self) -> usize {
        self.by_player.len()
    }

    /// One past the highest thread number that ever had a seat.
    pub fn threads(&self) -> usize {
        self.by_thread.len()
    }

    /// The seats of a thread's players.
    pub fn of_thread(&self, thread: usize) -> &[u32] {
        &self.by_thread[thread]
    }

    /// All seats that are taken, in the order of their players.
    pub fn taken(&self) -> impl Iterator<Item = u32> {
        self.by_player.values().copied()
    }

    /// One past the highest seat that was ever taken.
    pub fn slots(&self) -> u32 {
        self.seats.len() as u32
    }

    /// The player in a seat, if it is taken.
    pub fn get_mut(&mut self, seat: u32) -> Option<&mut Seat> {
        self.seats.get_mut(seat as usize)?.as_mut()
    }

    /// Reads what the commands and the publication of so many seats need while nothing depends on it: so their memory is waited for at
    /// once, and not for each by itself.
    pub fn fetch(&self, seats: impl Iterator<Item = u32>) {
        let found = seats.filter_map(|seat| self.seats[seat as usize].as_ref());
        std::hint::black_box(found.fold(0, |sum, seat| sum ^ seat.fetch()));
    }

    /// A player's seat.
    pub fn of_player(&self, player: PlayerId) -> Option<u32> {
        self.by_player.get(&player).copied()
    }

    /// A connection's seat.
    pub fn of_conn(&self, conn: ConnId) -> Option<u32> {
        let sitter = self.in_slot(conn)?;
        (sitter.generation == conn.generation).then_some(sitter.seat)
    }

    /// The seat of whoever has this connection's slot, of any generation.
    pub fn of_slot(&self, conn: ConnId) -> Option<u32> {
        self.in_slot(conn).map(|sitter| sitter.seat)
    }

    /// Gives a player a seat.
    pub fn take(&mut self, player: PlayerId, conn: ConnId, name: &str) -> u32 {
        let seat = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() as u32 - 1
        });
        let thread = conn.thread as usize;
        if thread >= self.by_thread.len() {
            self.by_thread.resize_with(thread + 1, Vec::new);
            self.by_conn.resize_with(thread + 1, Vec::new);
        }
        let sitters = &mut self.by_conn[thread];
        let place = sitters.partition_point(|sitter| sitter.slot < conn.slot);
        sitters.insert(place, Sitter { slot: conn.slot, generation: conn.generation, seat });
        let at = self.by_thread[thread].len();
        self.by_thread[thread].push(seat);
        self.by_player.insert(player, seat);
        self.seats[seat as usize] = Some(Seat {
            player,
            conn,
            name: name.into(),
            inputs: Inputs::default(),
            reliable: Reliables::default(),
            heard: 0,
            look: Look::Nothing,
            centre: None,
            view: View::default(),
            view_is_stale: true,
            view_is_news: true,
            rate: StreamRate::One,
            has_private: false,
            own: Own::default(),
            chat: Bucket::default(),
            is_doomed: false,
            at,
        });
        seat
    }

    /// Frees a seat.
    pub fn free(&mut self, seat: u32) -> Seat {
        let left = self.seats[seat as usize].take().expect("a seat that is freed was taken");
        let thread = left.conn.thread as usize;
        self.by_player.remove(&left.player);
        let sitters = &mut self.by_conn[thread];
        let place = sitters.binary_search_by_key(&left.conn.slot, |sitter| sitter.slot);
        sitters.remove(place.expect("who has a seat is listed"));
        let of_thread = &mut self.by_thread[thread];
        of_thread.swap_remove(left.at);
        if let Some(&moved) = of_thread.get(left.at) {
            self.seats[moved as usize].as_mut().expect("listed seats are taken").at = left.at;
        }
        self.free.push(seat);
        left
    }

    fn in_slot(&self, conn: ConnId) -> Option<&Sitter> {
        let sitters = self.by_conn.get(conn.thread as usize)?;
        let place = sitters.binary_search_by_key(&conn.slot, |sitter| sitter.slot);
        sitters.get(place.ok()?)
    }
}

impl std::ops::Index<u32> for Seats {
    type Output = Seat;

    fn index(&self, seat: u32) -> &Seat {
        self.seats[seat as usize].as_ref().expect("the seat is taken")
    }
}

impl std::ops::IndexMut<u32> for Seats {
    fn index_mut(&mut self, seat: u32) -> &mut Seat {
        self.seats[seat as usize].as_mut().expect("the seat is taken")
    }
}

/// The inputs of a player that wait for their tick.
#[derive(Debug, Default)]
pub struct Inputs {
    waiting: VecDeque<Input>,
    applied: Seq,
    newest: Seq,
    /// For how many ticks more than one has waited.
    crowded: u32,
}

/// What became of an input that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It waits.
    Waits,
    /// It waits, and the oldest one was skipped for it.
    Skipped,
    /// It is not newer than the last one: dropped.
    Repeated,
}

impl Inputs {
    /// Takes an input in.
    pub fn push(&mut self, input: Input) -> Took {
        if !input.seq.is_after(self.newest) {
            return Took::Repeated;
        }
        self.newest = input.seq;
        let full = self.waiting.len() == INPUTS_WAITING_MAX;
        if full {
            self.waiting.pop_front();
        }
        self.waiting.push_back(input);
        if full { Took::Skipped } else { Took::Waits }
    }

    /// How many of them this tick applies.
    pub fn due(&mut self) -> usize {
        let waiting = self.waiting.len();
        let due = if self.crowded >= CROWDED_TICKS { waiting.min(2) } else { waiting.min(1) };
        self.crowded = if due < waiting { self.crowded + 1 } else { 0 };
        due
    }

    /// The next one, which is applied now.
    pub fn pop(&mut self) -> Option<Input> {
        let input = self.waiting.pop_front()?;
        self.applied = input.seq;
        Some(input)
    }

    /// The last one that was applied.
    pub fn applied(&self) -> Seq {
        self.applied
    }

    /// How many wait.
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }
}

/// A player's reliable messages: numbered, offered to the io thread, kept until acknowledged.
#[derive(Debug)]
pub struct Reliables {
    waiting: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// The number of the first that waits.
    first: u32,
    /// The number of the first that the next batch offers.
    next: u32,
    /// The number of the first that the last batch offered.
    offered: u32,
}

impl Default for Reliables {
    fn default() -> Reliables {
        Reliables { waiting: VecDeque::new(), bytes: 0, first: 1, next: 1, offered: 1 }
    }
}

impl Reliables {
    /// Adds a message; false: too much waits already.
    pub fn push(&mut self, body: Arc<[u8]>) -> bool {
        let fits = self.waiting.len() < RELIABLE_WAITING_MAX
            && self.bytes + body.len() <= RELIABLE_WAITING_BYTES_MAX;
        if fits {
            self.bytes += body.len();
            self.waiting.push_back(body);
        }
        fits
    }

    /// All messages up to this number were heard; false: it was never offered.
    pub fn acknowledge(&mut self, number: u32) -> bool {
        if number >= self.next {
            return false;
        }
        while self.first <= number {
            let heard = self.waiting.pop_front().expect("what was offered waits until it is acknowledged");
            self.bytes -= heard.len();
            self.first += 1;
        }
        true
    }

    /// Messages from this number on did not get out; false: they were never offered.
    pub fn reoffer(&mut self, number: u32) -> bool {
        if number > self.next {
            return false;
        }
        self.next = number.max(self.first);
        true
    }

    /// A whole batch did not get out.
    pub fn reoffer_last(&mut self) {
        self.next = self.next.min(self.offered).max(self.first);
    }

    /// Hands on what is not offered yet, with its numbers, as far as it fits into `bytes_max`; at least one message.
    /// Returns the first number and how many there were.
    pub fn offer(&mut self, bytes_max: usize, mut each: impl FnMut(u32, &[u8])) -> (u32, u32) {
        let first = self.next;
        self.offered = first;
        let mut bytes = 0;
        while let Some(body) = self.waiting.get((self.next - self.first) as usize) {
            bytes += body.len() + BLOCK_HEAD_BYTES;
            if bytes > bytes_max && self.next > first {
                break;
            }
            each(self.next, body);
            self.next += 1;
        }
        (first, self.next - first)
    }

    /// The number that the next message gets.
    pub fn upcoming(&self) -> u32 {
        self.first + self.waiting.len() as u32
    }
}

/// Block kind, length and number of a reliable message take at most this.
const BLOCK_HEAD_BYTES: usize = 1 + 3 + 5;

/// A rate: so many a second, with bursts. Counts in parts of a message, as many as there are ticks in a second, so that
/// nothing is ever rounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    used: u32,
    at: Tick,
}

impl Bucket {
    /// Takes one if there is one.
    pub fn take(&mut self, rate: Rate, now: Tick, tick_rate: u16) -> bool {
        let regained = now.since(self.at).saturating_mul(rate.per_second);
        self.used = self.used.saturating_sub(regained);
        self.at = now;
        let used = self.used + tick_rate as u32;
        let there_is = used <= rate.burst * tick_rate as u32;
        if there_is {
            self.used = used;
        }
        there_is
    }
}

/// How many, and how many at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_found_by_its_connection_alone_and_costs_nothing_for_those_of_other_rooms() {
        let conn = |slot, generation| ConnId { thread: 1, slot, generation };
        let mut seats = Seats::default();
        for (player, slot) in [(1, 4_000_000), (2, 7), (3, u32::MAX)] {
            seats.take(PlayerId(player), conn(slot, 5), "");
        }
        assert!(seats.by_conn[1].capacity() <= 4, "room for those who sit here");
        assert_eq!(
            [7, 4_000_000, u32::MAX].map(|slot| seats.of_conn(conn(slot, 5))),
            [Some(1), Some(0), Some(2)]
        );
        assert_eq!((seats.of_conn(conn(7, 6)), seats.of_slot(conn(7, 6))), (None, Some(1)), "slot used anew");
        assert_eq!((seats.of_conn(conn(8, 5)), seats.of_slot(conn(8, 5))), (None, None));
        assert_eq!(seats.of_conn(ConnId { thread: 2, ..conn(7, 5) }), None);

        seats.free(0);
        assert_eq!(
            [7, 4_000_000, u32::MAX].map(|slot| seats.of_conn(conn(slot, 5))),
            [Some(1), None, Some(2)]
        );
        assert_eq!(seats.take(PlayerId(4), conn(9, 0), ""), 0);
        assert_eq!(seats.of_conn(conn(9, 0)), Some(0));
    }
}
