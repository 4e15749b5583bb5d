//! Tickyard: a multiplayer game state relay server.
pub mod http;
pub mod time;
pub mod websocket;
