//! Tickyard: a multiplayer game state relay server.
pub mod time;
pub mod websocket;
