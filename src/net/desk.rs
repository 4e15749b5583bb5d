//! What the connections of an io thread have between them, so that each holds only its own.

use std::sync::Arc;

use super::Shared;
use super::commands::Commands;
use super::fanout::Missing;
use super::tally::Tally;
use super::transport::Buffers;
use crate::bridge::ConnId;
use crate::flight::Stopwatch;
use crate::time::Time;
use crate::websocket::deflate::SharedWriter;

/// What an io thread's connections share.
#[derive(Debug)]
pub struct Desk {
    /// Now, as of this poll turn.
    pub now: Time,
    /// What all io threads share.
    pub shared: Arc<Shared>,
    /// The way to the simulation.
    pub commands: Commands,
    /// Connections with inputs that found no room on their way to the simulation.
    pub with_inputs: Vec<ConnId>,
    /// Connections that wait for room for an ask.
    pub with_asks: Vec<ConnId>,
    /// How many of them are here only to be told that there is no room.
    pub turned_away: usize,
    /// What was counted since the last report.
    pub tally: Tally,
    /// Where bytes come in, and where TLS works.
    pub buffers: Buffers,
    /// Lent to who may have something to say.
    pub spare: Vec<u8>,
    /// Where messages are composed.
    pub compose: Vec<u8>,
    /// Compresses what was composed, where `--deflate` says so.
    pub deflate: SharedWriter,
    /// What compression has cost in this turn of the loop.
    pub deflate_cost: usize,
    /// What composing found missing.
    pub missing: Missing,
    /// Pings that this sweep may still send.
    pub pings_left: usize,
    /// Measures where the time goes.
    pub watch: Stopwatch,
}
