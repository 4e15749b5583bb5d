//! Tickyard: a multiplayer game state relay server.

pub mod admin;
pub mod bridge;
pub mod close_reason;
pub mod config;
pub mod descriptors;
pub mod error;
pub mod game;
pub mod http;
pub mod metrics;
pub mod sim;
pub mod ticker;
pub mod time;
pub mod websocket;
