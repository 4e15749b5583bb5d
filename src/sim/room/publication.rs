//! What a room says at a publication: streams, views and each player's part, and who came and went.

use std::sync::Arc;

use tickyard_protocol::delta::{Entity, Row};
use tickyard_protocol::fields::Kinds;
use tickyard_protocol::message::{ServerControl, encode_server_control};
use tickyard_protocol::tick::{put_reliable, put_self};

use super::super::players::{AHEAD, Seat};
use super::{Room, cell_of};
use crate::bridge::{Batch, ConnId, Joined, Part, Rate, SharedBatch, Span};
use crate::game::{Game, Look, Place, World};
use crate::stage::{Stage, Stages};

/// Reliable bytes for one player in one batch.
const RELIABLE_BYTES_MAX: usize = 24 * 1024;
/// Reliable bytes for all players in one batch; the rest comes in the next ones.
const RELIABLE_BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

impl<G: Game> Room<G> {
    /// Says what changed since the last publication, and to each player its part.
    pub(super) fn publish(&mut self, batch: &mut Batch, stages: &mut dyn Stages) {
        let Room { game, world, seats, grid, publisher, counts, tick, .. } = self;
        let place = |thing: &G::Thing| cell_of(game.place(thing), grid, seats);
        publisher.publish(world, *tick, place, ours(&mut batch.segments), counts, stages);
        world.published(*tick);

        stages.enter(Stage::View);
        let is_common = publisher.publishes_slower();
        let mut reliable_bytes = RELIABLE_BATCH_BYTES_MAX;
        for thread in 0..self.seats.threads() {
            let start = batch.parts.len() as u32;
            for at in 0..self.seats.of_thread(thread).len() {
                if at.is_multiple_of(AHEAD) {
                    self.seats.fetch(self.seats.of_thread(thread)[at..].iter().take(AHEAD).copied());
                }
                let seat = self.seats.of_thread(thread)[at];
                self.update_view(seat);
                if is_common {
                    self.update_rates(seat);
                }
                let part = self.part(seat, batch, &mut reliable_bytes);
                batch.parts.push(part);
            }
            batch.threads.push(Span { start, end: batch.parts.len() as u32 });
        }
        // Last, since new views want snapshots.
        stages.enter(Stage::Encode);
        self.publisher.finish(&self.world, ours(&mut batch.segments), &mut self.counts);
    }

    /// Moves a player's view on if what it looks at has moved far enough.
    fn update_view(&mut self, seat: u32) {
        let Room { game, world, seats, grid, publisher, .. } = self;
        let sits = &mut seats[seat];
        let centre = sits.centre.map(|(cell, ..)| cell);
        if !sits.view_is_stale {
            let Look::Follow(entity) = sits.look else { return };
            if publisher.place(entity) == centre {
                return;
            }
        }
        let position = position(sits, world, game);
        let stays = match (sits.centre, position) {
            (Some((cell, ..)), Some((x, y))) => !grid.strays(cell, x, y),
            (None, None) => true,
            _ => false,
        };
        if stays && !sits.view_is_stale {
            return;
        }
        sits.view_is_stale = false;
        sits.centre = position.map(|(x, y)| {
            let cell = centre.filter(|_| stays).unwrap_or_else(|| grid.cell_at(x, y));
            (cell, x, y)
        });
        let private = sits.has_private.then(|| grid.private(seat));
        let before = std::mem::replace(&mut sits.view, grid.view(sits.centre, private));
        sits.view_is_news |= sits.view.cells() != before.cells();
        // What is new is told at every tick until its own rate publishes: so it is there at once.
        sits.view.keep(&before);
        for (cell, rate) in sits.view.iter() {
            publisher.hear(cell, rate);
            if !before.contains(cell) {
                publisher.want(cell);
            }
        }
        before.iter().for_each(|(cell, rate)| publisher.unhear(cell, rate));
    }

    /// Lets each cell of a player's view be told as often as it should. Between two rates it can go where both publish: at
    /// such a tick they are the same.
    fn update_rates(&mut self, seat: u32) {
        let Room { game, world, seats, grid, publisher, .. } = self;
        let sits = &mut seats[seat];
        if grid.far() != Rate::One
            && let Some((x, y)) = position(sits, world, game)
        {
            grid.look_far(&mut sits.view, x, y);
        }
        for at in 0..sits.view.cells().len() {
            let (cell, before) = (sits.view.cells()[at], sits.view.rates()[at]);
            let rate = sits.rate.max(grid.rate(&sits.view, at));
            if rate != before && publisher.publishes(rate) && publisher.publishes(before) {
                sits.view.set_rate(at, rate);
                publisher.change_rate(cell, before, rate);
                sits.view_is_news = true;
            }
        }
    }

    /// Writes the `self` block, a player's own entity as it is in the world, and notes if that is not as the client predicts it.
    fn put_own(&mut self, seat: u32, out: &mut Vec<u8>) {
        let Room { world, seats, publisher, tick, .. } = self;
        let Seat { look, own, .. } = &mut seats[seat];
        let followed = if let Look::Follow(entity) = *look { Some(entity) } else { None };
        let seen = followed.filter(|&entity| publisher.place(entity).is_some());
        let Some((id, thing)) = seen.and_then(|entity| Some((entity, world.get(entity)?))) else {
            if own.entity.take().is_some() {
                own.changed = *tick;
            }
            return;
        };
        let kind = thing.kind();
        let shape = &publisher.shapes()[kind];
        let mut row = Row::default();
        thing.write(&mut row[..shape.fields]);
        let is_another = own.entity.replace(id) != Some(id);
        let mut predicted = own.row;
        shape.predict(&mut predicted, tick.since(own.at));
        if is_another || row != predicted {
            own.changed = *tick;
        }
        put_self(out, &Entity { id, kind, row: &row[..shape.fields], statics: "" });
        (own.row, own.at) = (row, *tick);
    }

    fn part(&mut self, seat: u32, batch: &mut Batch, reliable_bytes: &mut usize) -> Part {
        let own = append(batch, |bytes| self.put_own(seat, bytes));
        let sits = &mut self.seats[seat];
        let view = std::mem::take(&mut sits.view_is_news).then(|| {
            let start = batch.views.len() as u32;
            batch.views.extend_from_slice(sits.view.cells());
            if sits.view.rates().iter().any(|&rate| rate != Rate::One) {
                batch.rates.resize(start as usize, Rate::One);
                batch.rates.extend_from_slice(sits.view.rates());
            }
            Span { start, end: batch.views.len() as u32 }
        });

        let (mut reliable_first, mut reliable_count) = (0, 0);
        let reliable = append(batch, |bytes| {
            let bytes_max = RELIABLE_BYTES_MAX.min(*reliable_bytes);
            let start = bytes.len();
            (reliable_first, reliable_count) =
                sits.reliable.offer(bytes_max, |number, body| put_reliable(bytes, number, body));
            *reliable_bytes = reliable_bytes.saturating_sub(bytes.len() - start);
        });
        Part {
            conn: sits.conn,
            seq: sits.inputs.applied(),
            depth: sits.inputs.depth() as u8,
            heard: sits.heard,
            own,
            own_changed: sits.own.changed,
            view,
            reliable,
            reliable_first,
            reliable_count,
        }
    }

    /// What all threads have got is news no more.
    pub(super) fn forget_old_news(&mut self) {
        let again = |conn: ConnId| self.undelivered.contains(&conn.thread);
        self.news.joined.retain(|&(conn, _)| again(conn));
        self.news.refused.retain(|refusal| again(refusal.conn));
        self.news.removed.retain(|removed| again(removed.conn));
        self.undelivered.clear();
    }

    /// Tells who came, who was refused and who was removed.
    pub(super) fn tell_news(&mut self, batch: &mut Batch) {
        // Who left again before it could be told needs no welcome.
        let seats = &self.seats;
        self.news.joined.retain(|&(conn, player)| {
            seats.of_player(player).is_some_and(|seat| seats.of_conn(conn) == Some(seat))
        });
        for &(conn, player) in &self.news.joined {
            let ServerControl::Welcome(welcome) = &mut self.welcome else { unreachable!("it is a welcome") };
            (welcome.player, welcome.tick) = (player, self.tick);
            let welcome = append(batch, |bytes| encode_server_control(&self.welcome, bytes));
            batch.joined.push(Joined { conn, player, welcome });
        }
        batch.refused.extend_from_slice(&self.news.refused);
        batch.removed.extend_from_slice(&self.news.removed);
    }

    /// An empty batch; its memory is that of one that nobody reads any more.
    pub(super) fn unused_batch(&mut self) -> SharedBatch {
        let mut batch = self.batches.take();
        ours(&mut batch).segments = self.segments.take();
        clear(ours(&mut batch));
        batch
    }

    /// Keeps a batch's memory for when all have read it.
    pub(super) fn keep_memory(&mut self, batch: &SharedBatch) {
        self.batches.keep(batch);
        self.segments.keep(&batch.segments);
    }
}

/// Where a player looks now.
fn position<G: Game>(sits: &Seat, world: &World<G::Thing>, game: &G) -> Option<(i32, i32)> {
    match sits.look {
        Look::At(x, y) => Some((x, y)),
        Look::Follow(entity) => match world.get(entity).map(|thing| game.place(thing)) {
            Some(Place::At(x, y)) => Some((x, y)),
            Some(_) => None,
            // What it followed is gone: it goes on looking there.
            None => sits.centre.map(|(_, x, y)| (x, y)),
        },
        Look::Nothing => None,
    }
}

/// What is not shared yet.
pub(super) fn ours<T>(shared: &mut Arc<T>) -> &mut T {
    Arc::get_mut(shared).expect("nobody else has an unused batch")
}

/// Empties a batch that is not shared yet.
pub(super) fn clear(batch: &mut Batch) {
    batch.clear();
    ours(&mut batch.segments).clear();
}

fn append(batch: &mut Batch, write: impl FnOnce(&mut Vec<u8>)) -> Span {
    let start = batch.bytes.len() as u32;
    write(&mut batch.bytes);
    Span { start, end: batch.bytes.len() as u32 }
}
