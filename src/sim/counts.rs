//! What a room counts, and the hash of its state.

use std::ops::AddAssign;

/// What happened in a room, since the counts were taken last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// Inputs that came in.
    pub inputs: u64,
    /// Inputs dropped because newer ones waited behind them.
    pub inputs_skipped: u64,
    /// Inputs dropped because their number was not above the last one's.
    pub inputs_repeated: u64,
    /// Commands from connections that had no seat, but for their leaving.
    pub commands_stale: u64,
    /// Commands that a correct session does not send: an acknowledgement of what was never offered, a message out of
    /// order, a wish for a cell out of sight, a second join.
    pub commands_wrong: u64,
    /// Deltas encoded.
    pub deltas: u64,
    /// Snapshots encoded.
    pub snapshots: u64,
    /// Cells asked for by clients who were too far behind.
    pub wants: u64,
    /// Lines of chat handed on.
    pub chat_relayed: u64,
    /// Lines of chat over the rate.
    pub chat_limited: u64,
    /// Lines of chat that were empty, too long or no text.
    pub chat_invalid: u64,
    /// Transient messages for which there was no room.
    pub transients_dropped: u64,
    /// 1 if the game has just failed.
    pub failures: u64,
}

impl AddAssign for RoomCounts {
    fn add_assign(&mut self, more: RoomCounts) {
        self.inputs += more.inputs;
        self.inputs_skipped += more.inputs_skipped;
        self.inputs_repeated += more.inputs_repeated;
        self.commands_stale += more.commands_stale;
        self.commands_wrong += more.commands_wrong;
        self.deltas += more.deltas;
        self.snapshots += more.snapshots;
        self.wants += more.wants;
        self.chat_relayed += more.chat_relayed;
        self.chat_limited += more.chat_limited;
        self.chat_invalid += more.chat_invalid;
        self.transients_dropped += more.transients_dropped;
        self.failures += more.failures;
    }
}

/// A hash that is the same on every machine, for comparing states.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Digest {
    /// Of nothing.
    pub fn new() -> Digest {
        Digest(0xCBF2_9CE4_8422_2325)
    }

    /// Adds a word.
    pub fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 29;
    }

    /// Adds bytes and their number.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        bytes.iter().for_each(|&byte| self.add(byte as u64));
    }

    /// Of all that was added.
    pub fn value(self) -> u64 {
        self.0
    }
}
