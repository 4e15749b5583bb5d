//! What is the same for all sessions of a server: its rooms, pages and rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::origins::Origins;
use crate::addresses::Addresses;
use crate::config::limits::Limits;
use crate::lobby::Lobby;
use crate::time::Time;

/// What is the same for all sessions of a server. The default has no game and no page, holds everybody to the default limits, and lets
/// pages of its own place connect.
#[derive(Debug, Default)]
pub struct Site {
    /// The games and their rooms.
    pub lobby: Arc<Lobby>,
    /// What `GET` finds beside the fixed paths.
    pub pages: &'static [Page],
    /// Whether `/echo` is there.
    pub echo: bool,
    /// What is compressed for clients that offer it.
    pub deflate: Compression,
    /// Whether pages tell browsers to come over TLS only.
    pub hsts: bool,
    /// Which pages may connect.
    pub origins: Origins,
    /// Whose connection is whose, and how many there may be.
    pub addresses: Addresses,
    /// What each peer is held to.
    pub limits: Limits,
    /// When the log last spoke of a refused origin.
    pub origin_warned: Warned,
    /// When the log last spoke of a trusted proxy that names no client.
    pub proxy_warned: Warned,
}

/// What is compressed for clients that offer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Nothing: offers are declined.
    #[default]
    Off,
    /// Large messages, but not the state of each tick.
    On,
    /// The state of each tick too.
    State,
}

/// When a warning was given last: whoever can cause it must not be able to fill the disk.
#[derive(Debug, Default)]
pub struct Warned(AtomicU64);

impl Warned {
    /// Whether it is time again, which is once a minute.
    pub fn is_due(&self, now: Time) -> bool {
        self.is_due_every(now, Duration::from_secs(60))
    }

    /// Whether it is time again, which is once in each `period`.
    pub fn is_due_every(&self, now: Time, period: Duration) -> bool {
        let period = period.as_micros() as u64;
        // Zero is for never.
        let now = now.as_micros() + period;
        let last = self.0.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(last) >= period;
        is_due && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A file of the demo.
#[derive(Debug)]
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What it is.
    pub body: &'static [u8],
}
