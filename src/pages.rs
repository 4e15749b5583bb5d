//! The demo page and the TypeScript client, inside the binary: whoever has the server has the game.
//!
//! `tests/server.rs` holds this list against the folders it is taken from.

use crate::session::site::Page;

macro_rules! page {
    ($path:expr, $type:literal, $file:expr) => {
        Page {
            path: $path,
            content_type: $type,
            body: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/", $file)),
        }
    };
}

macro_rules! demo {
    ($name:literal) => {
        page!(concat!("/", $name), "text/javascript; charset=utf-8", concat!("demo/", $name))
    };
}

macro_rules! sdk {
    ($name:literal) => {
        page!(concat!("/sdk/", $name), "text/javascript; charset=utf-8", concat!("typescript/dist/", $name))
    };
}

/// What `GET` finds.
pub const PAGES: &[Page] = &[
    page!("/", "text/html; charset=utf-8", "demo/index.html"),
    demo!("demo.js"),
    demo!("map.js"),
    demo!("paint.js"),
    demo!("panels.js"),
    demo!("scene.js"),
    demo!("steering.js"),
    page!("/style.css", "text/css; charset=utf-8", "demo/style.css"),
    sdk!("changes.js"),
    sdk!("client.js"),
    sdk!("clock.js"),
    sdk!("close.js"),
    sdk!("collection.js"),
    sdk!("index.js"),
    sdk!("input.js"),
    sdk!("interpolate.js"),
    sdk!("messages.js"),
    sdk!("room.js"),
    sdk!("signal.js"),
    sdk!("socket.js"),
    sdk!("wire.js"),
    sdk!("world.js"),
];
