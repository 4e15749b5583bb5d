//! What is there instead of a room whose game failed when it was made: it turns everybody away.

use std::sync::Arc;

use super::{AnyRoom, RoomCounts};
use crate::bridge::{Ask, Batch, Command, Refusal, RoomId, SharedBatch};
use crate::stage::Stages;
use crate::time::Time;

/// Answers joins, so that nobody waits for a room that will not be.
#[derive(Debug)]
pub struct Unopened {
    id: RoomId,
    tick_rate: u16,
    refused: Vec<Refusal>,
    /// What the last batch said.
    told: Vec<Refusal>,
    /// Io threads that the last batch did not get to: they hear it again.
    undelivered: Vec<u16>,
}

impl Unopened {
    /// In the place of this room.
    pub fn new(id: RoomId, tick_rate: u16) -> Unopened {
        Unopened { id, tick_rate, refused: Vec::new(), told: Vec::new(), undelivered: Vec::new() }
    }
}

impl AnyRoom for Unopened {
    fn id(&self) -> RoomId {
        self.id
    }

    fn tick_rate(&self) -> u16 {
        self.tick_rate
    }

    fn command(&mut self, Command { conn, ask, .. }: Command) {
        if let Ask::Join(_) = ask {
            self.refused.push(Refusal::of_failed_room(conn));
        }
    }

    fn step(&mut self, _ticks: u32, due: Time, _stages: &mut dyn Stages) -> SharedBatch {
        self.told.retain(|refusal| self.undelivered.contains(&refusal.conn.thread));
        self.undelivered.clear();
        self.told.append(&mut self.refused);
        let refused = self.told.clone();
        Arc::new(Batch { room: Some(self.id), due, tick_rate: self.tick_rate, refused, ..Batch::default() })
    }

    fn undelivered(&mut self, thread: u16) {
        self.undelivered.push(thread);
    }

    fn sleeps(&self) -> bool {
        self.refused.is_empty() && self.undelivered.is_empty()
    }

    fn players(&self) -> usize {
        0
    }

    fn hash(&self) -> u64 {
        0
    }

    fn take_counts(&mut self) -> RoomCounts {
        RoomCounts::default()
    }
}
