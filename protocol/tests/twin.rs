//! A naive world of cells beside a replica that hears of it in random pieces: some ticks, some cells, catching up by deltas or
//! snapshots, in any order that keeps each cell's own. And hostile bytes, which must never do more than be refused.

mod naive;

use naive::{Members, Step, Thing, delta, kinds, predict, shapes, snapshot, thing};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tickyard_protocol::delta::ReadEntity;
use tickyard_protocol::message::{
    Input, Pong, decode_ack, decode_client_control, decode_server_control, decode_want,
};
use tickyard_protocol::replica::Replica;
use tickyard_protocol::tick::{Blocks, HEADER_BYTES, Header, put_age, put_view};
use tickyard_protocol::types::{CellId, EntityId, Tick};

const CELLS: u32 = 5;
/// So many publications are kept for who has missed them.
const KEPT: usize = 8;
/// A freed slot rests for so many ticks.
const REST: usize = 8;

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_misses_what_it_may_sees_the_world(
        seed in any::<u64>(),
        start in prop_oneof![Just(1), Just(u32::MAX - 20)],
        ticks in 1..120usize,
        luck in lucks(),
    ) {
        let mut run = Run::new(seed, start, luck);
        for _ in 0..ticks {
            run.tick();
        }
    }

    #[test]
    fn mutated_messages_never_panic_and_show_each_slot_once(
        seed in any::<u64>(),
        cuts in prop::collection::vec((0usize..40, any::<prop::sample::Index>(), any::<u8>()), 1..12),
        luck in lucks(),
    ) {
        let mut run = Run::new(seed, 1, luck);
        let messages: Vec<_> = (0..40).map(|_| run.tick()).collect();
        let mut replica = Replica::new(shapes());
        let mut whole = true;
        for (number, message) in messages.into_iter().enumerate() {
            let Some(mut message) = message else { continue };
            for (_, at, byte) in cuts.iter().filter(|cut| cut.0 == number) {
                let at = at.index(message.len());
                message[at] = *byte;
            }
            // After a refusal the connection closes and what is shown no longer counts; a panic would.
            whole &= replica.apply(&message[1..], &mut ()).is_ok();
            if whole {
                each_slot_once(&replica);
                let cells = replica.take_mismatch().map(|found| found.cells).unwrap_or_default();
                prop_assert!(cells.iter().all(|cell| replica.view().contains(cell)));
            }
        }
    }

    #[test]
    fn every_prefix_of_a_message_is_refused_unless_it_ends_with_a_block(seed in any::<u64>(), luck in lucks()) {
        let mut run = Run::new(seed, 1, luck);
        for _ in 0..10 {
            run.tick();
        }
        let before = run.replica.clone();
        let Some(message) = run.tick() else { return Ok(()) };
        for cut in 1..message.len() {
            let mut replica = before.clone();
            let whole = cut >= HEADER_BYTES && Blocks::new(&message[HEADER_BYTES..cut]).all(|block| block.is_ok());
            prop_assert_eq!(replica.apply(&message[1..cut], &mut ()).is_ok(), whole, "cut to {}", cut);
            if whole {
                each_slot_once(&replica);
                prop_assert_eq!((replica.counts().violations, replica.counts().desyncs), (0, 0));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
    ) {
        let fields = kinds().swap_remove(0).fields;
        let mut replica = Replica::new(shapes());
        for bytes in &messages {
            let _ = decode_client_control(bytes);
            let _ = decode_server_control(bytes);
            let _ = decode_want(bytes, |_| ());
            let _ = decode_ack(bytes);
            let _ = Pong::decode(bytes);
            let _ = Input::decode(bytes, &fields);
            let _ = replica.apply(bytes, &mut ());
        }
    }

    #[test]
    fn blocks_of_arbitrary_bytes_never_panic(
        blocks in prop::collection::vec((1u32..9, prop::collection::vec(small_bytes(), 0..60)), 0..30),
    ) {
        let mut replica = Replica::new(shapes());
        for (kind, content) in blocks {
            let mut message = Header::default().to_bytes().to_vec();
            put_view(&mut message, [0, 1, 2, 3].map(CellId).into_iter());
            tickyard_protocol::tick::put_block(&mut message, kind, |out| out.extend(content));
            if replica.apply(&message[1..], &mut ()).is_err() {
                break;
            }
            each_slot_once(&replica);
        }
    }
}

/// Bytes of which many are valid numbers of cells, kinds, slots and counts.
fn small_bytes() -> impl Strategy<Value = u8> {
    prop_oneof![3 => 0u8..4, 1 => any::<u8>()]
}

/// How often things happen to a connection, in percent.
#[derive(Clone, Copy, Debug)]
struct Luck {
    /// A tick without a message.
    missed: u64,
    /// A cell left out of a message.
    left_out: u64,
    /// A snapshot where deltas would do.
    snapshots: u64,
    /// Another view.
    views: u64,
}

fn lucks() -> impl Strategy<Value = Luck> {
    let percent = || prop_oneof![Just(0u64), Just(10), Just(40), Just(80)];
    let rarely = || prop_oneof![Just(0u64), Just(0), Just(5), Just(30)];
    (percent(), percent(), rarely(), rarely()).prop_map(|(missed, left_out, snapshots, views)| Luck {
        missed,
        left_out,
        snapshots,
        views,
    })
}

// ---- the world ----

/// The cells at one tick.
type Cells = BTreeMap<CellId, Members>;

/// What a cell published.
struct Publication {
    /// The index of the tick in [`Run::history`].
    at: usize,
    cell: CellId,
    block: Vec<u8>,
}

struct Run {
    random: Random,
    luck: Luck,
    start: Tick,
    /// The world at each tick so far.
    history: Vec<Cells>,
    /// Slot → when it was freed last and its next generation.
    freed: BTreeMap<u32, (usize, u8)>,
    published: Vec<Publication>,
    /// What the client holds and as of when, as its server believes.
    table: BTreeMap<CellId, usize>,
    view: Vec<CellId>,
    replica: Replica,
    /// Whom the client showed after the message before.
    shown: Vec<EntityId>,
    /// The client had all of its view at some message, and nothing but deltas since. A snapshot does not tell where those
    /// went whom it no longer lists.
    followed: bool,
}

impl Run {
    fn new(seed: u64, start: u32, luck: Luck) -> Self {
        let cells = (0..CELLS).map(|cell| (CellId(cell), Members::new())).collect();
        Run {
            random: Random(seed | 1),
            luck,
            start: Tick(start),
            history: vec![cells],
            freed: BTreeMap::new(),
            published: vec![],
            table: BTreeMap::new(),
            view: vec![],
            replica: Replica::new(shapes()),
            shown: vec![],
            followed: false,
        }
    }

    /// One tick of the world, perhaps a message to the client, and all that must hold then.
    fn tick(&mut self) -> Option<Vec<u8>> {
        self.step_world();
        self.publish();
        if self.random.percent(self.luck.missed) {
            return None;
        }
        let before = self.table.clone();
        let (message, deltas_alone) = self.compose();
        self.replica.apply(&message[1..], &mut ()).expect("a valid message");
        self.judge(&before, deltas_alone);
        Some(message)
    }

    fn now(&self) -> usize {
        self.history.len() - 1
    }

    fn at(&self, index: usize) -> Tick {
        self.start.after(index as u32)
    }

    fn step_world(&mut self) {
        let now = self.history.len();
        let random = &mut self.random;
        let mut cells: Cells = (0..CELLS).map(|cell| (CellId(cell), Members::new())).collect();
        // Some ticks pass in which nobody does anything, or all go on as they were.
        let quiet = random.percent(40);
        let glides = random.percent(50);
        for (&cell, members) in self.history.last().expect("never empty") {
            for thing in members.values() {
                let mut thing = thing.clone();
                let mut cell = cell;
                if quiet && glides {
                    predict(thing.kind, &mut thing.row, 1);
                }
                if !quiet {
                    if random.percent(3) {
                        self.freed.insert(thing.id.slot, (now, thing.id.generation.wrapping_add(1)));
                        continue;
                    }
                    change_row(random, &mut thing);
                    if random.percent(12) {
                        cell = CellId(random.below(CELLS as u64) as u32);
                    }
                }
                cells.get_mut(&cell).expect("a cell").insert(thing.id.slot, thing);
            }
        }
        if !quiet && random.percent(30) {
            let slot = random.below(24) as u32;
            let (freed, generation) = self.freed.get(&slot).copied().unwrap_or((0, 0));
            let taken = cells.values().any(|members| members.contains_key(&slot));
            if !taken && now >= freed + REST {
                let kind = random.below(kinds().len() as u64) as u8;
                let mut new =
                    thing(slot, generation, kind, &[], ["", "Ada", "żółw"][random.below(3) as usize]);
                change_row(random, &mut new);
                cells.get_mut(&CellId(random.below(CELLS as u64) as u32)).expect("a cell").insert(slot, new);
            }
        }
        self.history.push(cells);
    }

    fn publish(&mut self) {
        let now = self.now();
        for cell in (0..CELLS).map(CellId) {
            let last = self.published.iter().rev().find(|one| one.cell == cell).map_or(0, |one| one.at);
            let (before, after) = (&self.history[last][&cell], &self.history[now][&cell]);
            let mut predicted = before.clone();
            predicted.values_mut().for_each(|thing| predict(thing.kind, &mut thing.row, (now - last) as u32));
            if predicted == *after && !self.random.percent(25) {
                continue;
            }
            let everywhere = &self.history[now];
            let moved = |id: EntityId| {
                let there = |members: &&Members| members.get(&id.slot).is_some_and(|thing| thing.id == id);
                everywhere.iter().find(|(_, members)| there(members)).map(|(&cell, _)| cell)
            };
            let step = Step {
                cell,
                from: self.at(last),
                to: self.at(now),
                before,
                after,
                moved: &moved,
                with_sum: self.random.0 & 64 != 0,
            };
            let mut block = vec![];
            delta(&mut block, &step);
            self.published.push(Publication { at: now, cell, block });
        }
    }

    /// A message, and whether it holds deltas alone.
    fn compose(&mut self) -> (Vec<u8>, bool) {
        let now = self.now();
        let mut message = Header { tick: self.at(now), ..Header::default() }.to_bytes().to_vec();
        let mut deltas_alone = true;
        if self.view.is_empty() || self.random.percent(self.luck.views) {
            let pick = 1 + self.random.below((1 << CELLS) - 1);
            self.view = (0..CELLS).filter(|cell| pick & 1 << cell != 0).map(CellId).collect();
            self.table.retain(|cell, _| self.view.contains(cell));
            put_view(&mut message, self.view.iter().copied());
            deltas_alone = false;
        }
        let mut queues = vec![];
        for cell in self.view.clone() {
            if self.random.percent(self.luck.left_out) {
                continue;
            }
            let (blocks, with_snapshot) = self.catch_up(cell);
            deltas_alone &= !with_snapshot;
            queues.push(blocks);
        }
        // Any order that keeps each cell's own.
        let mut age = 0;
        while queues.iter().any(|queue| !queue.is_empty()) {
            let pick = self.random.below(queues.len() as u64) as usize;
            if queues[pick].is_empty() {
                continue;
            }
            let (at, block) = queues[pick].remove(0);
            if age != now - at {
                age = now - at;
                put_age(&mut message, age as u32);
            }
            message.extend(block);
        }
        (message, deltas_alone)
    }

    /// Blocks that bring a cell on, with the ticks they are as of, and whether a snapshot is among them.
    fn catch_up(&mut self, cell: CellId) -> (Vec<(usize, Vec<u8>)>, bool) {
        let now = self.now();
        let missed =
            |held: usize| self.published.iter().filter(|one| one.cell == cell && one.at > held).count();
        let held = self.table.get(&cell).copied();
        let whole = held.is_none_or(|held| missed(held) > KEPT) || self.random.percent(self.luck.snapshots);
        let mut blocks = vec![];
        let mut held = held.unwrap_or(0);
        if whole {
            // As of now, or a little older.
            held = now - self.random.below(4).min(now as u64) as usize;
            let mut block = vec![];
            snapshot(&mut block, cell, &self.history[held][&cell]);
            blocks.push((held, block));
        }
        for one in self.published.iter().filter(|one| one.cell == cell && one.at > held) {
            if self.random.percent(self.luck.left_out / 4) {
                break;
            }
            blocks.push((one.at, one.block.clone()));
        }
        if let Some((at, _)) = blocks.last() {
            self.table.insert(cell, *at);
        }
        (blocks, whole)
    }

    // ---- what must hold ----

    fn judge(&mut self, before: &BTreeMap<CellId, usize>, deltas_alone: bool) {
        let counts = self.replica.counts();
        assert_eq!((counts.violations, counts.desyncs), (0, 0));
        assert_eq!(self.replica.take_mismatch(), None);
        each_slot_once(&self.replica);
        self.judge_cells();
        let visible = visible(&self.replica);
        self.followed &= deltas_alone;
        let followed = self.followed;
        if self.view.iter().all(|cell| self.is_current(*cell)) {
            let world = self.view.iter().flat_map(|cell| self.history[self.now()][cell].values());
            let mut world: Vec<_> = world.cloned().collect();
            world.sort_by_key(|thing| thing.id);
            assert_eq!(visible, world);
            self.followed = true;
        }
        let oldest = before.values().chain(self.table.values()).min().copied().unwrap_or(0);
        for thing in &visible {
            assert!((oldest..=self.now()).any(|at| self.place(thing.id, at).is_some()), "a ghost: {thing:?}");
        }
        let shown: Vec<_> = visible.iter().map(|thing| thing.id).collect();
        if followed {
            for &id in &self.shown {
                let stayed = |at| self.place(id, at).is_some_and(|cell| self.table.contains_key(&cell));
                assert!(!(oldest..=self.now()).all(stayed) || shown.contains(&id), "{id:?} blinks");
            }
        }
        self.shown = shown;
    }

    /// Each cell that is held is as the world was then.
    fn judge_cells(&self) {
        let held: Vec<_> = self.replica.cells().iter().map(|held| (held.cell, held.held)).collect();
        let table: Vec<_> = self.table.iter().map(|(&cell, &at)| (cell, self.at(at))).collect();
        assert_eq!(held, table);
        for held in self.replica.cells() {
            let members: Vec<_> = held.members.iter().map(as_thing).collect();
            let then: Vec<_> = self.history[self.table[&held.cell]][&held.cell].values().cloned().collect();
            assert_eq!(members, then, "{:?}", held.cell);
        }
    }

    fn is_current(&self, cell: CellId) -> bool {
        let held = self.table.get(&cell);
        held.is_some_and(|&held| !self.published.iter().any(|one| one.cell == cell && one.at > held))
    }

    fn place(&self, id: EntityId, at: usize) -> Option<CellId> {
        let there = |members: &Members| members.get(&id.slot).is_some_and(|thing| thing.id == id);
        self.history[at].iter().find(|(_, members)| there(members)).map(|(&cell, _)| cell)
    }
}

/// As predicted, standing still, or anywhere.
fn change_row(random: &mut Random, thing: &mut Thing) {
    if random.percent(60) {
        predict(thing.kind, &mut thing.row, 1);
    }
    let fields = thing.numbers().len();
    if fields > 0 && random.percent(30) {
        let field = random.below(fields as u64) as usize;
        thing.row[field] = match random.below(4) {
            0 => 0,
            1 => random.0 as i32,
            _ => thing.row[field].wrapping_add(random.below(9) as i32 - 4),
        };
    }
}

fn as_thing(member: &tickyard_protocol::replica::Member) -> Thing {
    Thing { id: member.id, kind: member.kind, row: member.row, statics: member.statics.to_string() }
}

fn as_shown(entity: ReadEntity) -> Thing {
    Thing { id: entity.id, kind: entity.kind, row: entity.row, statics: entity.statics.into() }
}

fn visible(replica: &Replica) -> Vec<Thing> {
    let mut visible: Vec<_> = replica.entities().map(as_shown).collect();
    visible.sort_by_key(|thing| thing.id);
    visible
}

fn each_slot_once(replica: &Replica) {
    let visible = visible(replica);
    assert!(visible.windows(2).all(|pair| pair[0].id.slot < pair[1].id.slot), "{visible:?}");
}

/// Marsaglia's xorshift: the test's own dice, so that a seed says all.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
