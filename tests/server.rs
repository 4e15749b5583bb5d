//! The real thing on a port of its own: each public promise once, through real sockets.
//!
//! Nothing here sleeps to wait for a result: clients listen until it is so, or until their patience ends.

// Tests are shells: they look at the clock to give up in time.
#![allow(clippy::disallowed_types)]

#[path = "server/addresses.rs"]
mod addresses;
#[path = "server/attacks.rs"]
mod attacks;
#[path = "server/bounds.rs"]
mod bounds;
#[path = "server/closing.rs"]
mod closing;
mod common;
#[path = "server/flight.rs"]
mod flight;
#[path = "server/getting_in.rs"]
mod getting_in;
#[path = "server/heartbeat.rs"]
mod heartbeat;
#[path = "server/lagging.rs"]
mod lagging;
#[path = "server/playing.rs"]
mod playing;
#[cfg(feature = "tls")]
#[path = "server/reloading.rs"]
mod reloading;
#[path = "server/repairing.rs"]
mod repairing;
#[path = "server/rooms.rs"]
mod rooms;
#[path = "server/serving.rs"]
mod serving;
#[path = "server/sharing.rs"]
mod sharing;
#[path = "server/stopping.rs"]
mod stopping;
#[path = "faults/surgery.rs"]
mod surgery;
#[path = "server/ticking.rs"]
mod ticking;
#[cfg(feature = "tls")]
#[path = "server/tls.rs"]
mod tls;
