//! The simulation: rooms that turn commands into batches, tick by tick.
//!
//! A [`Room`] owns a game, its world, its players' seats and the streams of its cells. It knows no sockets, threads or clocks: it is
//! given commands and told to step, and its state follows from its seed and the commands alone: not from who was
//! connected through which thread, nor from what happens to a batch afterwards. [`AnyRoom`] is what the ticker
//! needs of it.
//!
//! - [`room`]: a tick in order; in files of its own what it does with commands, and the publication;
//! - `players`: seats, their inputs and their reliable messages;
//! - `interest`: the grid, and what each player's view is;
//! - `publish`: what changed, as deltas and snapshots;
//! - [`clock`]: when a tick is due;
//! - [`Unopened`]: stands in for a room whose game did not even begin.

pub mod clock;
mod counts;
mod interest;
mod players;
mod publish;
pub mod room;
mod unopened;

pub use clock::Clock;
pub use counts::RoomCounts;
pub use room::{AnyRoom, Room, RoomConfig};
pub use unopened::Unopened;
