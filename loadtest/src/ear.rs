//! What every bot checks of every tick message, without a world of its own: a few table look-ups per block.
//!
//! An [`Ear`] knows the header before, as of when each cell of the view is held, and the number of the last reliable
//! message. That suffices to tell a gap from a silence, which is also how delivery is measured: see [`Heard::missed`].
//! What is inside of deltas and snapshots is for bots that keep a replica: all who see a cell are told the same bytes.

use crate::measure::Violations;
use crate::rules::Rules;
use std::rc::Rc;
use tickyard_protocol::bytes::{Malformed, Reader, whole_varint};
use tickyard_protocol::delta::{DeltaHead, SnapshotHead, read_entity_head, view_sum};
use tickyard_protocol::repair::{Mismatch, RepairWhy};
use tickyard_protocol::replica::Own;
use tickyard_protocol::tick::{Blocks, Header, Reliable, SKIPPED, VIEW_COMPLETE, block};
use tickyard_protocol::types::{CellId, Seq, Tick};

/// Listens to the tick messages of one session.
#[derive(Clone, Debug)]
pub struct Ear {
    /// Whose ear it is, for the texts of violations.
    bot: u32,
    rules: Rc<Rules>,
    /// The newest header, once there was one.
    header: Option<Header>,
    /// The view, in the order in which the server told it.
    view: Vec<InView>,
    /// The player's own entity, as of the message that told it, and the tick of that one.
    own: Option<(Own, Tick)>,
    reliable_heard: u32,
    mismatch: Option<Mismatch>,
    /// The newest message said the view.
    view_was_told: bool,
}

/// The cells that one message spoke of. One of these serves all ears.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Those of its deltas.
    pub deltas: Vec<CellId>,
    /// Those of its snapshots.
    pub snapshots: Vec<CellId>,
}

#[derive(Clone, Copy, Debug)]
struct InView {
    cell: CellId,
    held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Nothing was told of this cell yet.
    Nothing,
    /// What was told did not fit; a snapshot is asked for.
    Lost,
    AsOf(Tick),
}

/// What one tick message said about the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The message carried a part of the world.
    pub world: bool,
    /// Ticks before this one at which the view published something that was not heard when it was news. The largest
    /// of what the message proves:
    ///
    /// - each age that a delta or snapshot comes under is a tick that came late;
    /// - the flag *skipped*, or a snapshot of a cell that was held: all ticks since the message before.
    ///
    /// Silence proves nothing: while all goes on as predicted there is no news.
    pub missed: u32,
    /// Blocks and reliable classes that this version does not know.
    pub unknown: u64,
}

/// What is found while a message is read.
struct Pass<'a> {
    header: Header,
    news: &'a mut News,
    /// As of when the blocks are.
    at: Tick,
    heard: Heard,
    /// The ages of what came late: bit 0 for age 1, and the last bit for all that is older.
    late: u64,
    /// A held cell came as a snapshot.
    replaced: bool,
    /// One bit for each kind of block that came.
    kinds: u32,
    check: Option<u32>,
}

impl Ear {
    /// Hears nothing yet.
    pub fn new(bot: u32, rules: Rc<Rules>) -> Self {
        Ear {
            bot,
            rules,
            header: None,
            view: Vec::new(),
            own: None,
            reliable_heard: 0,
            mismatch: None,
            view_was_told: false,
        }
    }

    /// Takes a tick message without its type byte; `sent` is the last input. An error means: close with 1002.
    pub fn hear(
        &mut self,
        message: &[u8],
        sent: Seq,
        news: &mut News,
        wrong: &mut Violations,
    ) -> Result<Heard, Malformed> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader)?;
        self.check_header(header, sent, wrong);
        news.deltas.clear();
        news.snapshots.clear();
        let mut pass = Pass::new(header, news);
        for block in Blocks::new(reader.rest()) {
            let (kind, bytes) = block?;
            pass.check_once(kind, self.bot, wrong);
            self.hear_block(kind, bytes, &mut pass, wrong)?;
        }
        let silent = self.header.map_or(0, |before| header.tick.since(before.tick).saturating_sub(1));
        self.header = Some(header);
        if let Some(sum) = pass.check {
            self.check_view(sum, wrong);
        }
        self.view_was_told = pass.kinds & 1 << block::VIEW != 0;
        Ok(Heard { missed: pass.missed(silent), ..pass.heard })
    }

    /// The newest header.
    pub fn header(&self) -> Option<Header> {
        self.header
    }

    /// Whether each cell of the view is held and current, as the server says.
    pub fn view_is_complete(&self) -> bool {
        self.header.is_some_and(|header| header.flags & VIEW_COMPLETE != 0)
    }

    /// The player's own entity, as of the newest message.
    pub fn own(&self) -> Option<Own> {
        let (mut own, at) = self.own?;
        self.rules.shapes[own.kind].predict(&mut own.row, self.header?.tick.since(at));
        Some(own)
    }

    /// The number of the last reliable message: what to acknowledge.
    pub fn reliable_heard(&self) -> u32 {
        self.reliable_heard
    }

    /// Whether the newest message said the view.
    pub fn view_was_told(&self) -> bool {
        self.view_was_told
    }

    /// What did not fit since the last call.
    pub fn take_mismatch(&mut self) -> Option<Mismatch> {
        self.mismatch.take()
    }

    fn check_header(&self, header: Header, sent: Seq, wrong: &mut Violations) {
        let bot = self.bot;
        if header.seq.is_after(sent) {
            wrong.add(|| format!("bot {bot}: input {} was applied, and {} sent", header.seq.0, sent.0));
        }
        let Some(before) = self.header else { return };
        if header.tick.since(before.tick) as i32 <= 0 {
            wrong.add(|| format!("bot {bot}: tick {} came after tick {}", header.tick.0, before.tick.0));
        }
        if before.seq.is_after(header.seq) {
            wrong.add(|| {
                format!("bot {bot}: the applied input went back from {} to {}", before.seq.0, header.seq.0)
            });
        }
    }

    fn hear_block(
        &mut self,
        kind: u32,
        bytes: &[u8],
        pass: &mut Pass,
        wrong: &mut Violations,
    ) -> Result<(), Malformed> {
        match kind {
            block::VIEW => self.hear_view(bytes, pass, wrong)?,
            block::DELTA => self.hear_delta(bytes, pass, wrong)?,
            block::SNAPSHOT => self.hear_snapshot(bytes, pass, wrong)?,
            block::AGE => pass.at = pass.header.tick.before(whole_varint(bytes)?),
            block::SELF => self.hear_self(bytes, pass.header.tick)?,
            block::RELIABLE => pass.heard.unknown += self.hear_reliable(bytes, wrong)?,
            block::HEARD => self.hear_heard(bytes, wrong)?,
            block::TRANSIENT => hear_transient(bytes)?,
            block::CHECK => pass.check = Some(read_check(bytes)?),
            _ => pass.heard.unknown += 1,
        }
        Ok(())
    }

    /// What is held, and as of when, must be what the server says it is.
    fn check_view(&mut self, sum: u32, wrong: &mut Violations) {
        let held = self.view.iter().filter_map(|known| match known.held {
            Held::AsOf(held) => Some((known.cell, held)),
            Held::Nothing | Held::Lost => None,
        });
        if view_sum(held) != sum {
            let (bot, tick) = (self.bot, self.header.unwrap_or_default().tick);
            differs(&mut self.mismatch, RepairWhy::Check, None);
            wrong.add(|| format!("bot {bot}: the check of the view differs at tick {}", tick.0));
        }
    }

    fn hear_view(&mut self, bytes: &[u8], pass: &Pass, wrong: &mut Violations) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        let before = std::mem::take(&mut self.view);
        for _ in 0..reader.varint()? {
            let cell = CellId(reader.varint()?);
            let held =
                before.iter().find(|known| known.cell == cell).map_or(Held::Nothing, |known| known.held);
            self.view.push(InView { cell, held });
        }
        if pass.heard.world {
            wrong.add(|| format!("bot {}: the view came after a cell at tick {}", self.bot, pass.at.0));
        }
        reader.finish()
    }

    fn hear_delta(&mut self, bytes: &[u8], pass: &mut Pass, wrong: &mut Violations) -> Result<(), Malformed> {
        let DeltaHead { cell, base, .. } = DeltaHead::read(bytes)?;
        pass.told_the_world();
        pass.news.deltas.push(cell);
        let (bot, at) = (self.bot, pass.at);
        let known = self.view.iter_mut().find(|known| known.cell == cell);
        let Some(known) = known else {
            differs(&mut self.mismatch, RepairWhy::Misfit, None);
            wrong.add(|| {
                format!("bot {bot}: a delta of cell {}, which is not in view, at tick {}", cell.0, at.0)
            });
            return Ok(());
        };
        match known.held {
            Held::AsOf(held) if applies(at, base, held) => known.held = Held::AsOf(at),
            Held::Lost => {}
            held => {
                known.held = Held::Lost;
                differs(&mut self.mismatch, RepairWhy::Misfit, Some(cell));
                wrong.add(|| {
                    format!(
                        "bot {bot}: the delta of cell {} at tick {} with base {} does not apply to {}",
                        cell.0,
                        at.0,
                        at.before(base).0,
                        in_words(held)
                    )
                });
            }
        }
        Ok(())
    }

    fn hear_snapshot(
        &mut self,
        bytes: &[u8],
        pass: &mut Pass,
        wrong: &mut Violations,
    ) -> Result<(), Malformed> {
        let head = SnapshotHead::read(bytes)?;
        pass.told_the_world();
        pass.news.snapshots.push(head.cell);
        let (bot, at) = (self.bot, pass.at);
        match self.view.iter_mut().find(|known| known.cell == head.cell) {
            Some(known) => {
                pass.replaced |= matches!(known.held, Held::AsOf(_));
                known.held = Held::AsOf(at);
            }
            None => {
                differs(&mut self.mismatch, RepairWhy::Misfit, None);
                wrong.add(|| {
                    format!(
                        "bot {bot}: a snapshot of cell {}, which is not in view, at tick {}",
                        head.cell.0, at.0
                    )
                });
            }
        }
        Ok(())
    }

    fn hear_self(&mut self, bytes: &[u8], at: Tick) -> Result<(), Malformed> {
        // No bytes: there is no own entity.
        if bytes.is_empty() {
            self.own = None;
            return Ok(());
        }
        let mut reader = Reader::new(bytes);
        let own = read_entity_head(&mut reader, &self.rules.shapes)?;
        self.own = Some((Own { id: own.id, kind: own.kind, row: own.row }, at));
        reader.finish()
    }

    fn hear_heard(&self, bytes: &[u8], wrong: &mut Violations) -> Result<(), Malformed> {
        let number = whole_varint(bytes)?;
        if number > 0 {
            wrong.add(|| format!("bot {}: message {number} was heard, and none was sent", self.bot));
        }
        Ok(())
    }

    fn hear_reliable(&mut self, bytes: &[u8], wrong: &mut Violations) -> Result<u64, Malformed> {
        let mut reader = Reader::new(bytes);
        let number = reader.varint()?;
        let message = Reliable::read(reader.rest())?;
        let next = self.reliable_heard + 1;
        if number > next {
            wrong.add(|| format!("bot {}: reliable message {number} came, {next} did not", self.bot));
        }
        if number != next {
            return Ok(0);
        }
        self.reliable_heard = number;
        Ok(matches!(message, Reliable::Unknown { .. }) as u64)
    }
}

impl<'a> Pass<'a> {
    fn new(header: Header, news: &'a mut News) -> Self {
        let heard = Heard::default();
        Pass { header, news, at: header.tick, heard, late: 0, replaced: false, kinds: 0, check: None }
    }

    /// PROTOCOL.md, section 4: `view`, `self` and `heard` come at most once in a message.
    fn check_once(&mut self, kind: u32, bot: u32, wrong: &mut Violations) {
        const ONCE: u32 = 1 << block::VIEW | 1 << block::SELF | 1 << block::HEARD;
        let bit = 1u32.checked_shl(kind).unwrap_or(0) & ONCE;
        if self.kinds & bit != 0 {
            let tick = self.header.tick.0;
            wrong.add(|| format!("bot {bot}: block kind {kind} came twice in the message of tick {tick}"));
        }
        self.kinds |= bit;
    }

    /// A delta or a snapshot came.
    fn told_the_world(&mut self) {
        self.heard.world = true;
        let age = self.header.tick.since(self.at);
        if age > 0 {
            self.late |= 1 << (age - 1).min(63);
        }
    }

    fn missed(&self, silent: u32) -> u32 {
        let replaced = self.replaced || self.header.flags & SKIPPED != 0;
        let proven = if replaced { silent.max(1) } else { 0 };
        self.late.count_ones().max(proven)
    }
}

fn differs(mismatch: &mut Option<Mismatch>, why: RepairWhy, cell: Option<CellId>) {
    mismatch.get_or_insert_with(|| Mismatch { why, cells: Vec::new() }).cells.extend(cell);
}

fn read_check(bytes: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader::new(bytes);
    let sum = reader.u32()?;
    reader.finish()?;
    Ok(sum)
}

/// PROTOCOL.md, section 5: a delta applies if and only if `base tick <= held < block tick`.
fn applies(at: Tick, base: u32, held: Tick) -> bool {
    (1..=base).contains(&at.since(held))
}

fn in_words(held: Held) -> String {
    match held {
        Held::Nothing => "a cell of which nothing is held".to_string(),
        Held::Lost => "a cell that is lost".to_string(),
        Held::AsOf(tick) => format!("what is held as of {}", tick.0),
    }
}

fn hear_transient(bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    reader.varint()?;
    reader.str8().map(drop)
}

#[cfg(test)]
mod tests;
