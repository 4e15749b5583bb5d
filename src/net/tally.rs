//! What an io thread counts in a turn, before it is added to the metrics that all threads share.

use super::Shared;
use crate::metrics::Direction;

/// Counted without atomics, reported once per turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes that came.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Messages that came.
    pub messages_in: u64,
    /// Messages that were sent.
    pub messages_out: u64,
    /// System calls that wrote.
    pub sends: u64,
    /// Updates that were not sent.
    pub skipped: u64,
    /// Connections that were found too thin for what there is to say.
    pub found_thin: u64,
    /// How many more are so now.
    pub thin: i64,
    /// Inputs that made room for newer ones.
    pub inputs_skipped: u64,
    /// Pings that were sent.
    pub pings: u64,
    /// By how much the bytes in outboxes grew.
    pub outbox: i64,
}

impl Tally {
    /// A connection was found to be thin, or is so no longer.
    pub fn count_thin(&mut self, is_thin: bool) {
        self.found_thin += is_thin as u64;
        self.thin += if is_thin { 1 } else { -1 };
    }

    /// Adds all to the metrics and begins anew.
    pub fn report(&mut self, shared: &Shared) {
        let metrics = &shared.metrics;
        let tally = std::mem::take(self);
        if tally == Tally::default() {
            return;
        }
        metrics.bytes.inc_by(Direction::In, tally.bytes_in);
        metrics.bytes.inc_by(Direction::Out, tally.bytes_out);
        metrics.messages.inc_by(Direction::In, tally.messages_in);
        metrics.messages.inc_by(Direction::Out, tally.messages_out);
        metrics.send_syscalls.inc_by(tally.sends);
        metrics.skipped_updates.inc_by(tally.skipped);
        metrics.found_thin.inc_by(tally.found_thin);
        metrics.thin_connections.inc_by(tally.thin);
        metrics.inputs_skipped.inc_by(tally.inputs_skipped);
        metrics.pings.inc_by(tally.pings);
        metrics.outbox_bytes.inc_by(tally.outbox);
    }
}
