//! A client's word that its world is not the room's: counted, and said aloud once a second at most.

use std::time::Duration;

use tickyard_protocol::repair::Repair;

use super::Shared;
use crate::addresses::Peer;
use crate::bridge::{ConnId, RoomId};
use crate::metrics::Label;
use crate::time::Time;

impl Shared {
    /// A client asks for a repair. With room and tick the journal leads to what it was told.
    pub fn note_desync(&self, now: Time, room: RoomId, conn: ConnId, peer: &Peer, repair: &Repair) {
        let Repair { why, tick, cells } = repair;
        self.metrics.desyncs.inc(*why);
        if self.desync_warned.is_due_every(now, WARN_PERIOD) {
            let ConnId { thread, slot, generation } = conn;
            let cells: Vec<u32> = cells.iter().take(CELLS_NAMED_MAX).map(|cell| cell.0).collect();
            tracing::warn!(
                why = why.name(),
                room = room.0,
                tick = tick.0,
                ?cells,
                conn = %format_args!("{thread}/{slot}/{generation}"),
                %peer,
                "a client's world is not the room's; it is told anew (tickyard_desyncs_total counts all of them)"
            );
        }
    }
}

const WARN_PERIOD: Duration = Duration::from_secs(1);
/// The client chooses how many it names; a line is to stay readable.
const CELLS_NAMED_MAX: usize = 8;
