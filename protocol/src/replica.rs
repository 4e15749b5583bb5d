//! A client's world: what tick messages say, kept cell by cell (PROTOCOL.md, sections 5 to 7).
//!
//! [`Replica`] takes whole tick messages and keeps the members of each held cell, the *home* of each entity, the player's own
//! entity and the count of what was wrong. It is strict: it judges the server in the tests and in the load test.

use crate::bytes::{Malformed, Reader, whole_varint};
use crate::delta::{
    ChangesReader, Leave, ReadDelta, ReadEntity, Row, SnapshotHead, entity_hash, read_entity,
    read_entity_head, view_sum,
};
use crate::fields::Shapes;
use crate::repair::{Mismatch, RepairWhy};
use crate::tick::{Blocks, Header, Reliable, VIEW_COMPLETE, block};
use crate::types::{CellId, EntityId, Tick};
use std::collections::BTreeMap;

/// What a client knows of its room.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    shapes: Shapes,
    /// The newest header.
    header: Header,
    view: Vec<CellId>,
    /// The newest message said it.
    view_was_told: bool,
    cells: Vec<HeldCell>,
    /// Slot → which entity it is and which cell took it in at the latest tick. Invariant between messages: that cell lists
    /// it, or it is in `leaving`.
    homes: BTreeMap<u32, Home>,
    /// Slot → an entity that left its home in this message, or is on its way to another cell.
    leaving: BTreeMap<u32, Leaving>,
    /// As of the message that carried it, and the tick of that one.
    own: Option<(Own, Tick)>,
    reliable_heard: u32,
    message_heard: u32,
    /// What was found to differ, and has not been told anew: how it was found first, and which cells of the view.
    why: Option<RepairWhy>,
    wants: Vec<CellId>,
    counts: Counts,
    scratch: Scratch,
}

/// Memory kept between messages.
#[derive(Clone, Debug, Default)]
struct Scratch {
    changes: ChangesReader,
    /// The kind of each member.
    kinds: Vec<u8>,
    /// At how many ticks each member's row has changed.
    changed: Vec<u32>,
}

/// A cell as of a tick. While it is silent its members go on as predicted: see [`HeldCell::predict_to`].
#[derive(Clone, Debug, PartialEq)]
pub struct HeldCell {
    /// Which cell.
    pub cell: CellId,
    /// As of when.
    pub held: Tick,
    /// By slot ascending.
    pub members: Vec<Member>,
}

/// An entity in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Slot and generation.
    pub id: EntityId,
    /// Its kind.
    pub kind: u8,
    /// Its row as of when the cell is held; zeros behind the fields of its kind.
    pub row: Row,
    /// Text that never changes.
    pub statics: Box<str>,
}

/// The player's own entity, as of the newest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Slot and generation.
    pub id: EntityId,
    /// Its kind.
    pub kind: u8,
    /// Its row.
    pub row: Row,
}

/// What a replica has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks that broke the protocol's rules.
    pub violations: u64,
    /// Cell sums, and checks of the view, that differed.
    pub desyncs: u64,
    /// Checks of the view that were compared.
    pub checks: u64,
    /// Cell sums that were compared.
    pub sums_checked: u64,
    /// Unknown blocks that were skipped.
    pub blocks_unknown: u64,
    /// Unknown classes of reliable messages that were skipped.
    pub reliable_unknown: u64,
    /// Rows that changed in cells that were held, tick by tick, as deltas told or left to the prediction.
    pub rows_changed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Home {
    generation: u8,
    cell: CellId,
    /// The tick of the block that said so.
    since: Tick,
}

#[derive(Clone, Debug)]
struct Leaving {
    member: Member,
    from: CellId,
    to: Option<CellId>,
    at: Tick,
}

/// What a message told beyond the state of the world.
pub trait Hears {
    /// A reliable message, each once and in order.
    fn reliable(&mut self, number: u32, message: Reliable);
    /// Something that happened in a cell.
    fn transient(&mut self, _cell: CellId, _kind: &str, _payload: &[u8]) {}
}

/// For who listens to the state alone.
impl Hears for () {
    fn reliable(&mut self, _number: u32, _message: Reliable) {}
}

impl Replica {
    /// A client that has just been welcomed.
    pub fn new(shapes: Shapes) -> Self {
        Replica { shapes, ..Replica::default() }
    }

    /// Takes a tick message, without its type byte. An error means the message is malformed: close with 1002.
    /// What the replica says after an error is of no use.
    pub fn apply(&mut self, message: &[u8], hears: &mut impl Hears) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        self.header = Header::read(&mut reader)?;
        self.view_was_told = false;
        let (mut at, mut check) = (self.header.tick, None);
        for block in Blocks::new(reader.rest()) {
            let (kind, bytes) = block?;
            match kind {
                block::VIEW => self.apply_view(bytes)?,
                block::DELTA => self.apply_delta(bytes, at)?,
                block::SNAPSHOT => self.apply_snapshot(bytes, at)?,
                block::AGE => at = self.header.tick.before(whole_varint(bytes)?),
                block::SELF => self.apply_self(bytes)?,
                block::RELIABLE => self.apply_reliable(bytes, hears)?,
                block::HEARD => self.message_heard = whole_varint(bytes)?,
                block::TRANSIENT => {
                    let mut reader = Reader::new(bytes);
                    let cell = CellId(reader.varint()?);
                    hears.transient(cell, reader.str8()?, reader.take_rest());
                }
                block::CHECK => {
                    let mut reader = Reader::new(bytes);
                    check = Some(reader.u32()?);
                    reader.finish()?;
                }
                _ => self.counts.blocks_unknown += 1,
            }
        }
        self.remove_the_left();
        if let Some(sum) = check {
            self.check_view(sum);
        }
        Ok(())
    }

    /// The newest header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Whether each cell of the view is held and current, as the server says.
    pub fn view_is_complete(&self) -> bool {
        self.header.flags & VIEW_COMPLETE != 0
    }

    /// The view as the server said it last, nearest first.
    pub fn view(&self) -> &[CellId] {
        &self.view
    }

    /// The cells that are held, by id.
    pub fn cells(&self) -> &[HeldCell] {
        &self.cells
    }

    /// The cell, if it is held.
    pub fn cell(&self, cell: CellId) -> Option<&HeldCell> {
        self.find(cell).ok().map(|at| &self.cells[at])
    }

    /// The player's own entity.
    pub fn own(&self) -> Option<Own> {
        let (mut own, at) = self.own?;
        self.shapes[own.kind].predict(&mut own.row, self.header.tick.since(at));
        Some(own)
    }

    /// All that a client shows as of the newest message: each entity once, those on their way between two cells too.
    pub fn entities(&self) -> impl Iterator<Item = ReadEntity<'_>> {
        self.entities_at(self.header.tick)
    }

    /// The same as of a later tick, if the server has nothing to say until then.
    pub fn entities_at(&self, tick: Tick) -> impl Iterator<Item = ReadEntity<'_>> {
        let at_home = self.cells.iter().flat_map(|held| {
            let members = held.members.iter().filter(|member| is_home(&self.homes, member.id, held.cell));
            members.map(|member| (member, held.held))
        });
        let leaving = self.leaving.values().map(|leaving| (&leaving.member, leaving.at));
        at_home.chain(leaving).map(move |(member, at)| {
            let mut row = member.row;
            self.shapes[member.kind].predict(&mut row, tick.since(at));
            ReadEntity { id: member.id, kind: member.kind, row, statics: &member.statics }
        })
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The number of the last reliable message heard: what to acknowledge.
    pub fn reliable_heard(&self) -> u32 {
        self.reliable_heard
    }

    /// The number of the last of our own messages that the room took.
    pub fn message_heard(&self) -> u32 {
        self.message_heard
    }

    /// What was found to differ from the server's world since the last call: for a [`crate::repair::Mender`].
    pub fn take_mismatch(&mut self) -> Option<Mismatch> {
        let why = self.why.take()?;
        Some(Mismatch { why, cells: std::mem::take(&mut self.wants) })
    }

    /// Whether the newest message said the view.
    pub fn view_was_told(&self) -> bool {
        self.view_was_told
    }

    fn find(&self, cell: CellId) -> Result<usize, usize> {
        self.cells.binary_search_by_key(&cell, |held| held.cell)
    }

    fn violation(&mut self, cell: CellId) {
        self.counts.violations += 1;
        self.differs(RepairWhy::Misfit, cell);
    }

    /// Names only cells of the view: a hostile server must not make the list grow.
    fn differs(&mut self, why: RepairWhy, cell: CellId) {
        self.why.get_or_insert(why);
        if self.view.contains(&cell) && !self.wants.contains(&cell) {
            self.wants.push(cell);
        }
    }

    /// Cells that were to be told anew have been, or are seen no longer.
    fn settled(&mut self, is_settled: impl Fn(&CellId) -> bool) {
        let before = self.wants.len();
        self.wants.retain(|cell| !is_settled(cell));
        if before > 0 && self.wants.is_empty() {
            self.why = None;
        }
    }

    fn check_view(&mut self, sum: u32) {
        self.counts.checks += 1;
        if view_sum(self.cells.iter().map(|held| (held.cell, held.held))) == sum {
            return;
        }
        self.counts.desyncs += 1;
        self.why.get_or_insert(RepairWhy::Check);
        for at in 0..self.view.len() {
            let cell = self.view[at];
            if self.cell(cell).is_none() {
                self.differs(RepairWhy::Check, cell);
            }
        }
    }

    fn apply_view(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        let count = reader.varint()?;
        self.view.clear();
        for _ in 0..count {
            self.view.push(CellId(reader.varint()?));
        }
        reader.finish()?;
        let at = self.header.tick;
        let mut left = Vec::new();
        self.cells.retain_mut(|held| {
            let keep = self.view.contains(&held.cell);
            if !keep {
                left.extend(held.members.drain(..).map(|member| (held.cell, member)));
            }
            keep
        });
        for (from, member) in left {
            self.part(Leaving { member, from, to: None, at });
        }
        let view = std::mem::take(&mut self.view);
        self.settled(|cell| !view.contains(cell));
        self.view = view;
        self.view_was_told = true;
        Ok(())
    }

    fn apply_snapshot(&mut self, bytes: &[u8], at: Tick) -> Result<(), Malformed> {
        let head = SnapshotHead::read(bytes)?;
        let mut reader = head.entities;
        let mut members: Vec<Member> = Vec::new();
        for _ in 0..head.count {
            let entity = read_entity(&mut reader, &self.shapes)?;
            if members.last().is_some_and(|last| last.id.slot >= entity.id.slot) {
                return Err(Malformed::Invalid);
            }
            members.push(member(&entity));
        }
        reader.finish()?;
        if !self.view.contains(&head.cell) {
            self.violation(head.cell);
            return Ok(());
        }
        let index = match self.find(head.cell) {
            Ok(index) => index,
            Err(index) => {
                self.cells.insert(index, HeldCell { cell: head.cell, held: at, members: Vec::new() });
                index
            }
        };
        let before = std::mem::replace(&mut self.cells[index].members, members);
        self.cells[index].held = at;
        for member in before {
            if !self.is_member(head.cell, member.id) {
                self.part(Leaving { member, from: head.cell, to: None, at });
            }
        }
        for member in &self.cells[index].members {
            take_home(&mut self.homes, member.id, head.cell, at);
        }
        self.settled(|&cell| cell == head.cell);
        self.check_sum(index, head.sum);
        Ok(())
    }

    fn apply_delta(&mut self, bytes: &[u8], at: Tick) -> Result<(), Malformed> {
        let delta = ReadDelta::read(bytes, &self.shapes)?;
        let cell = delta.cell;
        let Ok(index) = self.find(cell) else {
            self.violation(cell);
            return Ok(());
        };
        let behind = at.since(self.cells[index].held);
        if behind == 0 || behind > delta.base {
            self.violation(cell);
            return Ok(());
        }
        match self.cells[index].advance(&self.shapes, behind, delta.changes, &mut self.scratch) {
            Ok(changed) => self.counts.rows_changed += changed,
            Err(_) => {
                self.lose(index, at);
                return Ok(());
            }
        }

        let mut broken = false;
        for leave in delta.leaves() {
            broken |= !self.leave(index, leave, at);
        }
        let shapes = std::mem::take(&mut self.shapes);
        for entity in delta.enters(&shapes) {
            broken |= !self.enter(index, &entity, at);
        }
        self.shapes = shapes;
        self.cells[index].held = at;
        if broken {
            self.violation(cell);
        }
        if let Some(sum) = delta.sum {
            self.check_sum(index, sum);
        }
        Ok(())
    }

    /// The members are not those that the server means, and half changed by now: the cell is not held any more.
    fn lose(&mut self, index: usize, at: Tick) {
        let HeldCell { cell, members, .. } = self.cells.remove(index);
        members.into_iter().for_each(|member| self.part(Leaving { member, from: cell, to: None, at }));
        self.violation(cell);
    }

    fn leave(&mut self, index: usize, leave: Leave, at: Tick) -> bool {
        let held = &mut self.cells[index];
        let Ok(place) = held.members.binary_search_by_key(&leave.slot, |member| member.id.slot) else {
            return false;
        };
        let member = held.members.remove(place);
        let from = held.cell;
        self.part(Leaving { member, from, to: leave.to, at });
        true
    }

    /// Notes that an entity left a cell, if that cell is its home. An older note of the same slot is of an earlier home.
    fn part(&mut self, leaving: Leaving) {
        let id = leaving.member.id;
        if is_home(&self.homes, id, leaving.from) {
            self.leaving.insert(id.slot, leaving);
        }
    }

    fn enter(&mut self, index: usize, entity: &ReadEntity, at: Tick) -> bool {
        let held = &mut self.cells[index];
        let Err(place) = held.members.binary_search_by_key(&entity.id.slot, |member| member.id.slot) else {
            return false;
        };
        held.members.insert(place, member(entity));
        take_home(&mut self.homes, entity.id, held.cell, at);
        true
    }

    fn apply_self(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.is_empty() {
            self.own = None;
            return Ok(());
        }
        let mut reader = Reader::new(bytes);
        let entity = read_entity_head(&mut reader, &self.shapes)?;
        reader.finish()?;
        self.own = Some((Own { id: entity.id, kind: entity.kind, row: entity.row }, self.header.tick));
        Ok(())
    }

    fn apply_reliable(&mut self, bytes: &[u8], hears: &mut impl Hears) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        let number = reader.varint()?;
        let message = Reliable::read(reader.rest())?;
        let next = self.reliable_heard.wrapping_add(1);
        if number > next {
            self.counts.violations += 1;
        }
        if number == next {
            self.reliable_heard = number;
            if matches!(message, Reliable::Unknown { .. }) {
                self.counts.reliable_unknown += 1;
            }
            hears.reliable(number, message);
        }
        Ok(())
    }

    fn check_sum(&mut self, index: usize, sum: u32) {
        self.counts.sums_checked += 1;
        if self.cells[index].sum(&self.shapes) != sum {
            self.counts.desyncs += 1;
            self.differs(RepairWhy::Sum, self.cells[index].cell);
        }
    }

    /// Section 5, home and removal: what left is removed by its home alone, and not while it is on its way.
    fn remove_the_left(&mut self) {
        let (now, is_complete) = (self.header.tick, self.view_is_complete());
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain(|slot, left| {
            if !is_home(&self.homes, left.member.id, left.from) || self.is_member(left.from, left.member.id) {
                return false;
            }
            let to = left.to.and_then(|to| self.cell(to)).map(|to| (to.cell, to.held));
            // Who does not arrive where all is current was never on its way.
            let is_lost = is_complete && now.since(left.at) > ON_ITS_WAY_TICKS_MAX;
            let on_its_way = !is_lost && to.is_some_and(|(_, held)| is_before(held, left.at));
            if on_its_way {
                return true;
            }
            // It may have left and come back between two publications of that cell, which then says nothing about it.
            match to.filter(|&(cell, _)| self.is_member(cell, left.member.id)) {
                Some((cell, at)) => {
                    self.homes.insert(*slot, Home { generation: left.member.id.generation, cell, since: at });
                }
                None => {
                    self.homes.remove(slot);
                }
            }
            false
        });
        self.leaving = leaving;
    }

    fn is_member(&self, cell: CellId, id: EntityId) -> bool {
        self.cell(cell).is_some_and(|held| {
            held.members
                .binary_search_by_key(&id.slot, |m| m.id.slot)
                .is_ok_and(|at| held.members[at].id == id)
        })
    }
}

impl HeldCell {
    /// The sum over the members.
    pub fn sum(&self, shapes: &Shapes) -> u32 {
        self.members.iter().fold(0, |sum: u32, member| {
            let fields = shapes[member.kind].fields;
            sum.wrapping_add(entity_hash(member.id, member.kind, &member.row[..fields]))
        })
    }

    /// Moves the members on to a tick before which the cell has nothing to say.
    pub fn predict_to(&mut self, tick: Tick, shapes: &Shapes) {
        let ticks = tick.since(self.held);
        for member in &mut self.members {
            shapes[member.kind].predict(&mut member.row, ticks);
        }
        self.held = tick;
    }

    /// Steps 1 to 3 of a delta: prediction and residuals. Returns how many rows changed, tick by tick.
    fn advance(
        &mut self,
        shapes: &Shapes,
        ticks: u32,
        changes: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<u64, Malformed> {
        let Scratch { changes: reader, kinds, changed } = scratch;
        kinds.clear();
        changed.clear();
        for member in &mut self.members {
            let shape = &shapes[member.kind];
            kinds.push(member.kind);
            changed.push(if shape.moves(&member.row) { ticks } else { 0 });
            shape.predict(&mut member.row, ticks - 1);
        }
        if let Some(bytes) = changes {
            let members = &mut self.members;
            reader.read(
                bytes,
                shapes,
                kinds.len(),
                |at| kinds[at],
                |at, field, residual| {
                    if residual != 0 {
                        changed[at] = changed[at].max(1);
                    }
                    members[at].row[field] = members[at].row[field].wrapping_add(residual);
                },
            )?;
        }
        for member in &mut self.members {
            shapes[member.kind].predict(&mut member.row, 1);
        }
        Ok(changed.iter().map(|&ticks| ticks as u64).sum())
    }
}

/// Longer than any stream is silent between two publications, so that who is on its way has arrived by then.
const ON_ITS_WAY_TICKS_MAX: u32 = 16;

fn member(entity: &ReadEntity) -> Member {
    Member { id: entity.id, kind: entity.kind, row: entity.row, statics: entity.statics.into() }
}

/// Makes `cell` the entity's home, unless another cell took it in at a later tick: streams of cells may be of different
/// ages, and what an older one says of an entity must not undo what a newer one said.
fn take_home(homes: &mut BTreeMap<u32, Home>, id: EntityId, cell: CellId, since: Tick) {
    let home = Home { generation: id.generation, cell, since };
    let now = homes.entry(id.slot).or_insert(home);
    if now.cell == cell || !is_before(since, now.since) {
        *now = home;
    }
}

fn is_home(homes: &BTreeMap<u32, Home>, id: EntityId, cell: CellId) -> bool {
    homes.get(&id.slot).is_some_and(|home| home.cell == cell && home.generation == id.generation)
}

fn is_before(held: Tick, at: Tick) -> bool {
    (at.since(held) as i32) > 0
}
