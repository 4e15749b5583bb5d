//! Tickyard with rooms of 50: the arena that comes with it, laid out so that everybody in a room sees all of it.

#![forbid(unsafe_code)]

use clap::Parser;
use tickyard::game::arena::Arena;
use tickyard::{Config, Server};
use tickyard_compare::{ROOM_PLAYERS, TICK_RATE};

/// Tickyard, for the comparison.
#[derive(Debug, Parser)]
struct Flags {
    /// So many are to play
    #[arg(long)]
    players: u32,
}

fn main() -> Result<(), tickyard::Error> {
    let players = Flags::parse().players;
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: None,
        tick_rate: TICK_RATE as u16,
        connections_max: players as usize,
        rooms: players.div_ceil(ROOM_PLAYERS as u32),
        players: ROOM_PLAYERS as u32,
        capacity: ROOM_PLAYERS as u32,
        log: "warn".to_owned(),
        ..Config::default()
    };
    config.log_to_stderr()?;
    // Laid out for one player it is a single cell.
    let server = Server::bind(config)?.game("arena", |_| Arena::new(TICK_RATE as u16, 1));
    println!("listening {}", server.address());
    server.run()
}
