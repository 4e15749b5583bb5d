//! The things of a room, as its game sees them.
//!
//! A [`World`] hands out entities, remembers which were touched and collects what the game wants said. Who sees what is
//! not its business: the room asks it once a tick for what was touched and said.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use tickyard_protocol::delta::STATICS_BYTES_MAX;
use tickyard_protocol::message::MESSAGE_KIND_BYTES_MAX;
use tickyard_protocol::tick::Reliable;
use tickyard_protocol::types::{EntityId, PlayerId, SLOTS_MAX, Tick};

use super::properties::Properties;
use super::timers::Timers;
use super::{Look, Owner, Place, PropertyError, Random, TooManyTimers};

/// The things of a room and what its game can do with them.
#[derive(Debug)]
pub struct World<T> {
    slots: Vec<Slot<T>>,
    alive: usize,
    /// Slots whose things changed since the last publication, each once.
    touched: Vec<u32>,
    /// Slots freed since the last publication.
    freed: Vec<u32>,
    /// Slots that were freed at a publication, oldest first.
    resting: VecDeque<(Tick, u32)>,
    tick: Tick,
    random: Random,
    timers: Timers,
    players: BTreeSet<PlayerId>,
    properties: Properties,
    effects: Vec<Effect>,
    /// The transients' kinds and payloads.
    transient_bytes: Vec<u8>,
    transients_dropped: u64,
    /// Kept for its memory.
    body: Vec<u8>,
}

#[derive(Debug)]
struct Slot<T> {
    thing: Option<T>,
    generation: u8,
    touched: bool,
    statics: Statics,
}

/// An entity's text, in its slot: a crowd's snapshots look up so many that going to the heap for each would show.
#[derive(Clone, Copy, Debug, Default)]
struct Statics {
    len: u8,
    bytes: [u8; STATICS_BYTES_MAX],
}

impl Statics {
    fn new(text: &str) -> Statics {
        assert!(text.len() <= STATICS_BYTES_MAX, "an entity's text holds at most {STATICS_BYTES_MAX} bytes");
        let mut bytes = [0; STATICS_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Statics { len: text.len() as u8, bytes }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len as usize]).expect("it was copied from a str")
    }
}

/// What a game wants said. The room carries it out after the call in which it was asked for.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A player looks elsewhere.
    Look { player: PlayerId, look: Look },
    /// A property changed: the message that tells of it, for all.
    Property { owner: Owner, body: Arc<[u8]> },
    /// A reliable message, class and content; to all without `to`.
    Reliable { to: Option<PlayerId>, body: Arc<[u8]> },
    /// Something that happened; kind and payload are ranges of the world's bytes.
    Transient { place: Place, kind: Range<u32>, payload: Range<u32> },
}

/// A freed slot rests for this many ticks: as long as a client may lag behind and still be sent deltas.
pub const SLOT_REST_TICKS: u32 = 8;

/// A reliable message's payload holds at most this many bytes: a message goes to one player whole, beside others.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// The payload of a transient message holds at most this many bytes.
pub const TRANSIENT_PAYLOAD_BYTES_MAX: usize = 256;

/// All transients between two publications hold at most this many bytes; more are dropped, as transients may be.
pub const TRANSIENT_BYTES_MAX: usize = 64 * 1024;

impl<T> World<T> {
    /// An empty world with a seed for its random source.
    pub fn new(seed: u64) -> World<T> {
        World {
            slots: Vec::new(),
            alive: 0,
            touched: Vec::new(),
            freed: Vec::new(),
            resting: VecDeque::new(),
            tick: Tick(0),
            random: Random::new(seed),
            timers: Timers::default(),
            players: BTreeSet::new(),
            properties: Properties::default(),
            effects: Vec::new(),
            transient_bytes: Vec::new(),
            transients_dropped: 0,
            body: Vec::new(),
        }
    }

    /// Puts a thing into the world.
    pub fn spawn(&mut self, thing: T) -> EntityId {
        self.spawn_named(thing, "")
    }

    /// Puts a thing into the world, with a text that is sent when somebody first sees it and never changes: a name.
    ///
    /// # Panics
    /// If the text is longer than 32 bytes.
    pub fn spawn_named(&mut self, thing: T, statics: &str) -> EntityId {
        let statics = Statics::new(statics);
        let slot = self.free_slot();
        let entry = &mut self.slots[slot as usize];
        entry.thing = Some(thing);
        entry.statics = statics;
        let id = EntityId { slot, generation: entry.generation };
        self.alive += 1;
        self.touch(slot);
        id
    }

    /// A thing, if it is still there.
    pub fn get(&self, id: EntityId) -> Option<&T> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation == id.generation { slot.thing.as_ref() } else { None }
    }

    /// A thing, to be changed, if it is still there. What differs afterwards is sent to who can see it.
    pub fn get_mut(&mut self, id: EntityId) -> Option<&mut T> {
        self.get(id)?;
        self.touch(id.slot);
        self.slots[id.slot as usize].thing.as_mut()
    }

    /// Takes a thing out of the world. Its slot is not used again for a while.
    pub fn despawn(&mut self, id: EntityId) -> Option<T> {
        self.get(id)?;
        self.touch(id.slot);
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.freed.push(id.slot);
        self.alive -= 1;
        slot.thing.take()
    }

    /// All things, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, &T)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let id = EntityId { slot: at as u32, generation: slot.generation };
            Some((id, slot.thing.as_ref()?))
        })
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.alive
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.alive == 0
    }

    /// The tick that is being simulated.
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The room's random source.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Asks for [`Game::timer`](super::Game::timer) with this number in so many ticks, before that tick's
    /// [`Game::tick`](super::Game::tick); 0 is the next tick, as 1 is. Timers of one tick come in the order in which they
    /// were set. A timer cannot be taken back: a game that changed its mind ignores it.
    ///
    /// An error says that [`TIMERS_MAX`](super::TIMERS_MAX) timers wait already.
    pub fn after(&mut self, ticks: u32, timer: u64) -> Result<(), TooManyTimers> {
        self.timers.set(ticks, timer)
    }

    /// A property of the room or of a player. There is none with an empty value.
    pub fn property(&self, owner: Owner, key: &str) -> Option<&[u8]> {
        self.properties.get(owner, key)
    }

    /// Sets a property; an empty value removes it. All players are told, reliably, if that changes anything, and who joins
    /// later is told all properties there are. A player's properties end when the player leaves.
    ///
    /// An error says which bound it would break; then nothing has changed.
    pub fn set_property(&mut self, owner: Owner, key: &str, value: &[u8]) -> Result<(), PropertyError> {
        if let Owner::Player(player) = owner
            && !self.players.contains(&player)
        {
            return Err(PropertyError::NoPlayer);
        }
        if let Some(body) = self.properties.set(owner, key, value)? {
            self.effects.push(Effect::Property { owner, body });
        }
        Ok(())
    }

    /// Decides what a player sees; until then [`Look::Nothing`].
    pub fn look(&mut self, player: PlayerId, look: Look) {
        self.effects.push(Effect::Look { player, look });
    }

    /// Tells a player about points, reliably. The score itself is state: a field of a thing.
    ///
    /// # Panics
    /// If the reason is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn award(&mut self, player: PlayerId, points: i32, reason: &str) {
        assert!(reason.len() <= PAYLOAD_BYTES_MAX, "a reason holds at most {PAYLOAD_BYTES_MAX} bytes");
        self.reliable(Some(player), Reliable::Award { points, reason });
    }

    /// Sends a player a message that arrives for certain, once and in order.
    ///
    /// # Panics
    /// If the kind is longer than 32 bytes or the payload longer than [`PAYLOAD_BYTES_MAX`].
    pub fn send(&mut self, player: PlayerId, kind: &str, payload: &[u8]) {
        check_message(kind, payload, PAYLOAD_BYTES_MAX);
        self.reliable(Some(player), Reliable::Message { kind, payload });
    }

    /// Sends all players a message that arrives for certain, once and in order.
    ///
    /// # Panics
    /// If the kind is longer than 32 bytes or the payload longer than [`PAYLOAD_BYTES_MAX`].
    pub fn broadcast(&mut self, kind: &str, payload: &[u8]) {
        check_message(kind, payload, PAYLOAD_BYTES_MAX);
        self.reliable(None, Reliable::Message { kind, payload });
    }

    /// Tells who can see a place that something happened there just now. May be lost on the way.
    ///
    /// # Panics
    /// If the kind is longer than 32 bytes or the payload longer than [`TRANSIENT_PAYLOAD_BYTES_MAX`].
    pub fn transient(&mut self, place: Place, kind: &str, payload: &[u8]) {
        check_message(kind, payload, TRANSIENT_PAYLOAD_BYTES_MAX);
        if self.transient_bytes.len() + kind.len() + payload.len() > TRANSIENT_BYTES_MAX {
            self.transients_dropped += 1;
            return;
        }
        let mut put = |bytes: &[u8]| {
            let start = self.transient_bytes.len() as u32;
            self.transient_bytes.extend_from_slice(bytes);
            start..self.transient_bytes.len() as u32
        };
        let (kind, payload) = (put(kind.as_bytes()), put(payload));
        self.effects.push(Effect::Transient { place, kind, payload });
    }

    fn reliable(&mut self, to: Option<PlayerId>, message: Reliable) {
        self.body.clear();
        message.put(&mut self.body);
        self.effects.push(Effect::Reliable { to, body: self.body.as_slice().into() });
    }

    fn free_slot(&mut self) -> u32 {
        if let Some(&(freed, slot)) = self.resting.front()
            && self.tick.since(freed) > SLOT_REST_TICKS
        {
            self.resting.pop_front();
            return slot;
        }
        let slot = self.slots.len() as u32;
        assert!(slot < SLOTS_MAX, "a world has at most {SLOTS_MAX} entities");
        self.slots.push(Slot { thing: None, generation: 0, touched: false, statics: Statics::default() });
        slot
    }

    fn touch(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if !entry.touched {
            entry.touched = true;
            self.touched.push(slot);
        }
    }
}

/// What the room needs of its world.
impl<T> World<T> {
    /// The next tick begins.
    pub(crate) fn begin(&mut self, tick: Tick) {
        self.timers.advance(tick.since(self.tick));
        self.tick = tick;
    }

    /// The next timer that is due; it waits no more.
    pub(crate) fn pop_timer(&mut self) -> Option<u64> {
        self.timers.pop_due()
    }

    /// The timers that wait, in order: in how many ticks, and which.
    pub(crate) fn timers(&self) -> impl Iterator<Item = (u64, u64)> {
        self.timers.waiting()
    }

    /// A player is about to join, and may have properties from now on.
    pub(crate) fn admit(&mut self, player: PlayerId) {
        self.players.insert(player);
    }

    /// A player is gone, and so are its properties: all are told.
    pub(crate) fn dismiss(&mut self, player: PlayerId) {
        self.players.remove(&player);
        let owner = Owner::Player(player);
        self.effects.extend(self.properties.end(owner).map(|body| Effect::Property { owner, body }));
    }

    /// The game did not let a player in: nothing that it wanted said about it is said. What it did to other properties
    /// is, since those are as they are now.
    pub(crate) fn turn_away(&mut self, player: PlayerId) {
        self.dismiss(player);
        self.effects.retain(
            |effect| matches!(effect, Effect::Property { owner, .. } if *owner != Owner::Player(player)),
        );
    }

    /// What tells of all properties, as reliable messages.
    pub(crate) fn property_bodies(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.properties.bodies()
    }

    /// How many slots were ever used.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The thing in a slot and its generation.
    pub(crate) fn at(&self, slot: u32) -> Option<(u8, &T)> {
        let slot = &self.slots[slot as usize];
        Some((slot.generation, slot.thing.as_ref()?))
    }

    /// The text of the thing in a slot.
    pub(crate) fn statics(&self, slot: u32) -> &str {
        self.slots[slot as usize].statics.text()
    }

    /// Which slots were touched since the last publication, each once, in the order of the first touch.
    pub(crate) fn touched(&self) -> &[u32] {
        &self.touched
    }

    /// Whether a slot was touched since the last publication.
    pub(crate) fn is_touched(&self, slot: u32) -> bool {
        self.slots[slot as usize].touched
    }

    /// A publication has told everything: nothing is touched, what was freed begins to rest.
    pub(crate) fn published(&mut self, tick: Tick) {
        for slot in self.touched.drain(..) {
            self.slots[slot as usize].touched = false;
        }
        self.resting.extend(self.freed.drain(..).map(|slot| (tick, slot)));
        self.transient_bytes.clear();
    }

    /// Whether the game wants something said.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Exchanges what the game wants said for an empty list.
    pub(crate) fn swap_effects(&mut self, effects: &mut Vec<Effect>) {
        debug_assert!(effects.is_empty());
        std::mem::swap(&mut self.effects, effects);
    }

    /// A transient's kind and payload.
    pub(crate) fn transient_parts(&self, kind: &Range<u32>, payload: &Range<u32>) -> (&str, &[u8]) {
        let bytes = |range: &Range<u32>| &self.transient_bytes[range.start as usize..range.end as usize];
        (std::str::from_utf8(bytes(kind)).expect("it was copied from a str"), bytes(payload))
    }

    /// How many transients found no room, since the last call.
    pub(crate) fn take_transients_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.transients_dropped)
    }

    /// The random source's state as one word.
    pub(crate) fn random_digest(&self) -> u64 {
        self.random.digest()
    }
}

fn check_message(kind: &str, payload: &[u8], payload_max: usize) {
    assert!(kind.len() <= MESSAGE_KIND_BYTES_MAX, "a kind holds at most {MESSAGE_KIND_BYTES_MAX} bytes");
    assert!(payload.len() <= payload_max, "the payload holds at most {payload_max} bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_tick(world: &mut World<u8>, tick: u32) {
        world.published(Tick(tick));
        world.begin(Tick(tick + 1));
    }

    #[test]
    fn a_freed_slot_rests_for_8_ticks_and_comes_back_as_another_entity() {
        let mut world = World::new(1);
        let first = world.spawn(7u8);
        end_tick(&mut world, 0);

        assert_eq!(world.despawn(first), Some(7));
        let mut others = Vec::new();
        for tick in 1..=SLOT_REST_TICKS + 1 {
            others.push(world.spawn(8).slot);
            end_tick(&mut world, tick);
        }
        assert!(!others.contains(&first.slot), "{others:?}");

        let again = world.spawn(9);
        assert_eq!(again, EntityId { slot: first.slot, generation: 1 });
        assert_eq!(world.get(first), None);
        assert_eq!(world.get(again), Some(&9));
    }

    #[test]
    fn what_was_despawned_cannot_be_touched() {
        let mut world = World::new(1);
        let id = world.spawn(7u8);
        world.despawn(id);
        assert_eq!(world.get_mut(id), None);
        assert_eq!(world.despawn(id), None);
        assert_eq!((world.len(), world.is_empty(), world.iter().count()), (0, true, 0));
    }

    #[test]
    fn a_thing_is_touched_once_until_it_was_published() {
        let mut world = World::new(1);
        let id = world.spawn(7u8);
        *world.get_mut(id).unwrap() = 8;
        assert_eq!(world.touched(), [id.slot]);
        end_tick(&mut world, 0);
        assert!(world.touched().is_empty());
        world.get(id);
        assert!(world.touched().is_empty());
        world.get_mut(id);
        assert_eq!(world.touched(), [id.slot]);
    }

    #[test]
    fn transients_beyond_the_bound_are_dropped_and_counted() {
        let mut world = World::<u8>::new(1);
        let payload = [0; TRANSIENT_PAYLOAD_BYTES_MAX];
        (0..TRANSIENT_BYTES_MAX / payload.len() + 3)
            .for_each(|_| world.transient(Place::Everywhere, "", &payload));
        assert_eq!(world.effects.len(), TRANSIENT_BYTES_MAX / payload.len());
        assert_eq!(world.take_transients_dropped(), 3);
    }
}
