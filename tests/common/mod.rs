//! What server tests share: a server on a port of its own, a client that judges all it is told, and a game to try things with.
//!
//! A [`Client`] speaks through `tungstenite`, which is not ours, and keeps its world in a `Replica`, which is strict: a
//! message that breaks the protocol, a delta that does not apply or a sum that differs fails the test at once.

pub mod client;
pub mod http;
pub mod lab;
pub mod tls;

use std::net::SocketAddr;
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use tickyard::game::arena::Arena;
use tickyard::{Config, Running, Server};

/// Far more than anything takes: a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Ports of the kernel's choice, no admin port, and one cell for all, so that everybody sees everybody.
pub fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), admin: None, players: 1, ..Config::default() }
}

/// A server, which stops when this goes, also when the test fails.
pub struct House(Running);

impl House {
    /// Starts a server with what `furnish` adds to it.
    pub fn open(config: Config, furnish: impl FnOnce(Server) -> Server) -> House {
        House(furnish(Server::bind(config).unwrap()).start().unwrap())
    }

    /// A server with the arena.
    pub fn arena(config: Config) -> House {
        let (tick_rate, players, far) = (config.tick_rate, config.players, config.far_rate);
        House::open(config, |server| {
            server.game("arena", move |_| Arena::new(tick_rate, players).with_far(far))
        })
    }

    /// Ends it and waits for that.
    pub fn stop(self) {
        self.0.stop();
    }
}

impl Deref for House {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

/// Looks again and again until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
