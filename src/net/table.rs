//! The table of an io thread's connections.
//!
//! Slots are reused, so each entry has a generation beside it: whoever asks for a connection that is gone finds nobody, and
//! never the stranger who sits in its slot now.

use slab::Slab;

use crate::bridge::ConnId;

/// Things by [`ConnId`].
#[derive(Debug)]
pub struct Table<T> {
    thread: u16,
    entries: Slab<T>,
    /// By slot: how often it was used. Invariant: as long as the highest slot that ever was in use.
    generations: Vec<u32>,
}

impl<T> Table<T> {
    /// The empty table of an io thread.
    pub fn new(thread: u16) -> Table<T> {
        Table { thread, entries: Slab::new(), generations: Vec::new() }
    }

    /// The id that the next one gets.
    pub fn next_id(&self) -> ConnId {
        let slot = self.entries.vacant_key();
        let generation = self.generations.get(slot).map_or(0, |used| used.wrapping_add(1));
        ConnId { thread: self.thread, slot: slot as u32, generation }
    }

    /// Puts in what `make` makes under its id, which is [`Table::next_id`].
    pub fn insert(&mut self, make: impl FnOnce(ConnId) -> T) -> &mut T {
        let id = self.next_id();
        let entry = self.entries.vacant_entry();
        if entry.key() == self.generations.len() {
            self.generations.push(0);
        }
        self.generations[entry.key()] = id.generation;
        entry.insert(make(id))
    }

    /// Who has this id, if he is still there.
    pub fn find(&mut self, id: ConnId) -> Option<&mut T> {
        if self.is_his(id) { self.entries.get_mut(id.slot as usize) } else { None }
    }

    /// The same, to look at.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        if self.is_his(id) { self.entries.get(id.slot as usize) } else { None }
    }

    fn is_his(&self, id: ConnId) -> bool {
        id.thread == self.thread && self.generations.get(id.slot as usize) == Some(&id.generation)
    }

    /// Who sits in this slot now.
    pub fn at(&mut self, slot: usize) -> Option<&mut T> {
        self.entries.get_mut(slot)
    }

    /// Takes out who has this id, if he is still there.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        self.find(id)?;
        self.entries.try_remove(id.slot as usize)
    }

    /// Everybody, by slot.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Everybody, by slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }

    /// How many slots there are, the empty ones included.
    pub fn slots(&self) -> usize {
        self.generations.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are there.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_past_finds_nobody_and_never_who_sits_there_now() {
        let mut table = Table::new(3);
        let expected = table.next_id();
        assert_eq!(expected, ConnId { thread: 3, slot: 0, generation: 0 });
        assert_eq!(*table.insert(|id| id), expected);
        assert_eq!(table.remove(expected), Some(expected));
        assert_eq!(table.find(expected), None);

        let stranger = *table.insert(|id| id);
        assert_eq!(stranger, ConnId { thread: 3, slot: 0, generation: 1 });
        assert_eq!(table.find(expected), None);
        assert_eq!(table.remove(expected), None);
        assert_eq!(table.find(stranger).copied(), Some(stranger));
        assert_eq!(table.find(ConnId { thread: 4, ..stranger }), None);
        assert_eq!((table.len(), table.slots()), (1, 1));
    }

    #[test]
    fn a_generation_that_runs_over_begins_anew() {
        let mut table = Table::new(0);
        let first = *table.insert(|id| id);
        table.remove(first);
        table.generations[0] = u32::MAX;
        assert_eq!(*table.insert(|id| id), first);
    }
}
