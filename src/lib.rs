//! Tickyard: a multiplayer game state relay server.
//!
//! Browsers and native clients speak WebSocket to it, a fixed-tick simulation takes their inputs, and what changed goes back out,
//! encoded once for all who see it. This crate is the server as a library: implement [`game::Game`] and hand it to a
//! [`Server`]; [`game::arena`] is a whole game to start from. `docs/architecture.md` says what is where; `protocol/PROTOCOL.md` what crosses the wire.

#![forbid(unsafe_code)]

pub mod addresses;
pub mod admin;
mod banner;
pub mod bridge;
pub mod close_reason;
pub mod config;
pub mod descriptors;
pub mod error;
pub mod flight;
pub mod game;
pub mod http;
pub mod lobby;
pub mod metrics;
pub mod net;
mod pages;
pub mod proxy_header;
pub mod server;
pub mod session;
pub mod sim;
pub mod stage;
pub mod ticker;
pub mod time;
pub mod watchdog;
pub mod websocket;

pub use config::Config;
pub use error::Error;
pub use server::{Running, Server};
/// The wire: what a game's things and inputs are made of, and what a native client needs.
pub use tickyard_protocol as protocol;
