//! What the last publications of a room said, to catch clients up.

use std::collections::VecDeque;
use std::sync::Arc;

use tickyard_protocol::types::{CellId, Tick};

use super::Heard;
use crate::bridge::{BATCHES_KEPT, CellEntry, Rate, Segments, SharedBatch};

/// A room's newest batch, and what the last ones said of the world.
#[derive(Debug, Default)]
pub struct History {
    newest: Option<SharedBatch>,
    /// Newest last; that one is the newest batch's.
    segments: VecDeque<Arc<Segments>>,
}

impl History {
    /// Takes the newest batch and lets go of the oldest segments.
    pub fn push(&mut self, batch: SharedBatch) {
        if self.segments.len() == BATCHES_KEPT {
            self.segments.pop_front();
        }
        self.segments.push_back(Arc::clone(&batch.segments));
        self.newest = Some(batch);
    }

    /// The newest batch.
    pub fn newest(&self) -> Option<&SharedBatch> {
        self.newest.as_ref()
    }

    fn at(&self, tick: Tick) -> Option<&Segments> {
        self.newest_first().find(|segments| segments.tick == tick)
    }

    /// The segments that have a snapshot of the cell, the newest first.
    fn snapshots(&self, cell: CellId) -> impl Iterator<Item = (&Segments, CellEntry)> {
        let entries = self.newest_first().map(move |segments| (segments, segments.cell(cell)));
        entries.filter(|(_, entry)| !entry.snapshot.is_empty())
    }

    fn newest_first(&self) -> impl Iterator<Item = &Segments> {
        self.segments.iter().rev().map(Arc::as_ref)
    }

    /// The deltas that lead from what is held as of `held` in the stream of a rate to what that had published by `until`, newest first;
    /// `None` if one is missing.
    fn chain(&self, until: &Segments, cell: CellId, rate: Rate, held: Tick) -> Option<Chain<'_>> {
        let mut chain = Chain { links: [None; BATCHES_KEPT], len: 0 };
        let mut published = until.stream(cell, rate).published;
        while until.is_later(published, held) {
            let segments = self.at(published)?;
            let entry = segments.stream(cell, rate);
            if entry.delta.is_empty() || chain.len == BATCHES_KEPT {
                return None;
            }
            chain.links[chain.len] = Some((segments, entry));
            chain.len += 1;
            published = published.before(entry.base);
        }
        Some(chain)
    }

    /// The deltas that were missed, or a snapshot and what came after it.
    pub(super) fn way(&self, heard: &Heard) -> Option<Way<'_>> {
        let deltas = heard.held().and_then(|held| self.deltas(heard, heard.rate, held));
        deltas.or_else(|| {
            let mut snapshots = self.snapshots(heard.cell);
            snapshots.find_map(|snapshot| {
                let deltas = self.deltas(heard, Rate::One, snapshot.0.tick)?;
                Some(Way { snapshot: Some(snapshot), ..deltas })
            })
        })
    }

    /// What leads from there to what the cell has published by now in the stream in which the client is to hear it.
    fn deltas(&self, heard: &Heard, rate: Rate, held: Tick) -> Option<Way<'_>> {
        let newest = &*self.newest()?.segments;
        let (cell, next, snapshot) = (heard.cell, heard.next_rate, None);
        if rate == next {
            return Some(Way { snapshot, chain: self.chain(newest, cell, rate, held)?, then: None });
        }
        let mut common =
            self.newest_first().filter(|segments| segments.publishes(rate) && segments.publishes(next));
        common.find_map(|change| {
            if newest.is_later(held, change.tick) {
                return None;
            }
            let chain = self.chain(change, cell, rate, held)?;
            let then = self.chain(newest, cell, next, change.tick)?;
            Some(Way { snapshot, chain, then: Some((change, then)) })
        })
    }
}

/// What makes a cell current for a client.
pub(super) struct Way<'a> {
    pub(super) snapshot: Option<(&'a Segments, CellEntry)>,
    /// Deltas from there, or from what the client holds.
    pub(super) chain: Chain<'a>,
    /// Where it goes over to another rate, and what comes then.
    pub(super) then: Option<(&'a Segments, Chain<'a>)>,
}

impl Way<'_> {
    /// How large it is.
    pub(super) fn bytes(&self) -> usize {
        let snapshot = self.snapshot.map_or(0, |(_, entry)| entry.snapshot.range().len());
        let then = self.then.as_ref().map_or(0, |(_, chain)| chain.bytes() + SILENT_DELTA_BYTES_MAX);
        snapshot + self.chain.bytes() + then
    }
}

/// Deltas that follow upon each other.
pub(super) struct Chain<'a> {
    /// Newest first.
    links: [Option<(&'a Segments, CellEntry)>; BATCHES_KEPT],
    len: usize,
}

impl<'a> Chain<'a> {
    /// The deltas, and which segments each is in.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (&'a Segments, CellEntry)> {
        self.links[..self.len].iter().rev().map(|link| link.expect("the first len links are set"))
    }

    fn bytes(&self) -> usize {
        self.oldest_first().map(|(_, entry)| entry.delta.range().len()).sum()
    }
}

/// A delta that says nothing, with its age.
const SILENT_DELTA_BYTES_MAX: usize = 24;
