//! Tickyard: a multiplayer game state relay server.

pub mod bridge;
pub mod http;
pub mod time;
pub mod websocket;
