//! The real thing on a port of its own: each public promise once, through real sockets.
//!
//! Nothing here sleeps to wait for a result: clients listen until it is so, or until their patience ends.

// Tests are shells: they look at the clock to give up in time.
#![allow(clippy::disallowed_types)]

mod common;
#[path = "server/getting_in.rs"]
mod getting_in;
#[path = "server/playing.rs"]
mod playing;
