//! What must hold for any bytes at all.
//!
//! Each body takes bytes and panics if a promise is broken. The fuzzer looks for such bytes (`fuzz/README.md`), and `tests/fuzz.rs`
//! gives each body what was found before, and a little of what was not, in every run of the tests.

mod chunks;
mod deflates;
mod differ;
mod frames;
mod heads;
mod messages;
mod proxies;
mod sessions;

pub use deflates::deflate;
pub use differ::{differ_frames, differ_messages};
pub use frames::{frame, websocket};
pub use heads::handshake;
pub use messages::{protocol, replica};
pub use proxies::proxy_header;
pub use sessions::session;

/// A name and what it checks.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the names of their files and corpora.
pub const TARGETS: &[Target] = &[
    ("deflate", deflate),
    ("differ_frames", differ_frames),
    ("differ_messages", differ_messages),
    ("frame", frame),
    ("handshake", handshake),
    ("protocol", protocol),
    ("proxy_header", proxy_header),
    ("replica", replica),
    ("session", session),
    ("websocket", websocket),
];
