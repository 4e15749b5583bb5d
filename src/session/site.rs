//! What is the same for all sessions of a server: its rooms, pages and rules.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tickyard_protocol::fields::Field;
use tickyard_protocol::message::RefusalCode;

use super::origins::Origins;
use crate::addresses::Addresses;
use crate::bridge::RoomId;
use crate::config::limits::Limits;
use crate::time::Time;

/// What is the same for all sessions of a server. The default has no room and no page, holds everybody to the default limits, and lets
/// pages of its own place connect.
#[derive(Debug, Default)]
pub struct Site {
    /// The rooms that can be entered.
    pub places: Vec<Place>,
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

/// A room and how it is found.
#[derive(Debug)]
pub struct Place {
    /// The room.
    pub room: RoomId,
    /// The name of its game.
    pub game: String,
    /// Its id for players.
    pub id: String,
    /// The fields of its inputs.
    pub input: Vec<Field>,
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

/// Where a hello wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whither {
    /// To a room of this game.
    Game(String),
    /// To a room of its own.
    New,
    /// To this room.
    Room(String),
}

impl Site {
    /// The place that is sought, or what to tell the player.
    pub fn find(&self, whither: &Whither) -> Result<usize, (RefusalCode, String)> {
        let position = |wanted: &dyn Fn(&Place) -> bool| self.places.iter().position(wanted);
        match whither {
            Whither::Game(game) => position(&|place| place.game == *game).ok_or_else(|| {
                (
                    RefusalCode::UnknownGame,
                    format!("there is no game {:?} here; there is {}", start_of(game), self.games()),
                )
            }),
            Whither::Room(id) => position(&|place| place.id == *id).ok_or_else(|| {
                (RefusalCode::UnknownRoom, format!("there is no room {:?} here", start_of(id)))
            }),
            Whither::New => Err((
                RefusalCode::UnknownRoom,
                "this server opens no rooms on demand: join a game".to_owned(),
            )),
        }
    }

    /// The room of a place.
    pub fn room(&self, place: usize) -> RoomId {
        self.places.get(place).map_or(RoomId(u32::MAX), |place| place.room)
    }

    /// The fields of a place's inputs.
    pub fn input_fields(&self, place: usize) -> &[Field] {
        self.places.get(place).map_or(&[], |place| &place.input)
    }

    fn games(&self) -> String {
        let names: Vec<&str> = self.places.iter().map(|place| place.game.as_str()).collect();
        names.join(", ")
    }
}

/// As much of a peer's text as is said back, or written to a log.
pub(super) fn start_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}
