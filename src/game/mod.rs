//! The plug: what a game is to the server.
//!
//! A type that implements [`Game`] holds the rules. It spawns and changes things in its [`World`]; the engine finds what changed
//! and tells everybody who can see it. A game knows no sockets, threads or clocks: it is called with a tick, a player's
//! input or a player's coming and going, always from one thread, and for the same seed and the same calls it has to
//! do the same things. So no hash maps with random order, no clock, no random source but [`World::random`].
//!
//! [`arena`] is the game that comes with the server.

pub use tickyard_protocol::fields::{Field, Fields, Kind, Kinds};
pub use tickyard_protocol::types::{EntityId, PlayerId, Tick};

pub mod arena;
mod properties;
mod random;
mod timers;
mod world;

pub use crate::bridge::{Leave, Rate};
pub use properties::{
    Owner, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, PROPERTY_KEY_BYTES_MAX, PROPERTY_VALUE_BYTES_MAX,
    PropertyError,
};
pub use random::Random;
pub use timers::{TIMERS_MAX, TooManyTimers};
pub(crate) use world::Effect;
pub use world::{PAYLOAD_BYTES_MAX, TRANSIENT_PAYLOAD_BYTES_MAX, World};

/// The rules of a room.
///
/// In each tick the engine calls, in this order: [`Game::join`], [`Game::leave`] and [`Game::message`] as they came in,
/// [`Game::input`] player by player, [`Game::timer`], then [`Game::tick`]. A panic in any of them ends the room, and no other.
pub trait Game: Send + 'static {
    /// What players can see: a struct, or an enum of structs. An entity's kind never changes.
    type Thing: Kinds;
    /// What players can ask for.
    type Input: Fields;

    /// How large the world is. Asked once, when the room opens.
    fn layout(&self) -> Layout {
        Layout::ONE_CELL
    }

    /// Somebody wants in. An error turns them away: then leave the world as it was.
    fn join(
        &mut self,
        world: &mut World<Self::Thing>,
        player: PlayerId,
        who: &Joining,
    ) -> Result<(), Refusal>;

    /// A player is gone.
    fn leave(&mut self, world: &mut World<Self::Thing>, player: PlayerId, why: Leave);

    /// A player's input: each at most once, in the order in which they were sent, usually one a tick.
    fn input(&mut self, world: &mut World<Self::Thing>, player: PlayerId, input: &Self::Input);

    /// A timer that was set with [`World::after`] is due.
    fn timer(&mut self, _world: &mut World<Self::Thing>, _timer: u64) {}

    /// A step of the simulation.
    fn tick(&mut self, world: &mut World<Self::Thing>, tick: Tick);

    /// Whether the room sleeps while nobody is in it: no tick, and timers wait, from the tick in which the last player left to
    /// the one in which somebody comes. Asked after each tick of an empty room, and when it opens. An empty room that does not sleep costs as much as
    /// its ticks do.
    fn sleeps(&self) -> bool {
        true
    }

    /// Where a thing is, which decides who sees it. Asked when a thing has been touched, so the answer must follow from
    /// the thing alone.
    fn place(&self, _thing: &Self::Thing) -> Place {
        Place::Everywhere
    }

    /// A reliable message from a player.
    fn message(&mut self, _world: &mut World<Self::Thing>, _player: PlayerId, _kind: &str, _payload: &[u8]) {}
}

/// Who wants in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining<'a> {
    /// The name to show. Never empty: the room has chosen one for who has none.
    pub name: &'a str,
    /// What the client says to the game.
    pub options: &'a [u8],
}

/// Why a game turns somebody away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub text: String,
}

/// Where a thing is.
///
/// Positions are whole numbers in the game's own units, usually those of the row that is sent: the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a position. Beyond the world's edge counts as at the edge.
    At(i32, i32),
    /// Visible to everybody.
    Everywhere,
    /// Visible to one player.
    Only(PlayerId),
}

/// What a player sees of the positions: the cell of a point and those around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What is near a position.
    At(i32, i32),
    /// What is near an entity. It is the player's own one: the client gets it each time it changes.
    Follow(EntityId),
    /// No positions, only what is everywhere and the player's own.
    Nothing,
}

/// How large a world is, in the units of [`Place::At`], and how large its cells are. A player sees 3 × 3 cells.
///
/// Those that lie farther from what the player looks at than a quarter of a cell's side are *far*. A game may let them be told
/// less often: what is said then is how things are then, and clients predict on in between. It saves most where things change
/// in ways that nobody can predict, several times in that many ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Positions have an x from 0 to below this.
    pub width: u32,
    /// Positions have a y from 0 to below this.
    pub height: u32,
    /// The side of a cell.
    pub cell: u32,
    /// How often far cells are told. [`Rate::One`]: at every tick, as near ones are.
    pub far: Rate,
}

impl Layout {
    /// All positions are in one cell.
    pub const ONE_CELL: Layout = Layout { width: 1, height: 1, cell: 1, far: Rate::One };
}
