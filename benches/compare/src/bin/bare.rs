//! The floor: a program that only receives and sends, in an order as good as we know.
//!
//! It parses nothing, plays nothing, encodes nothing and survives nothing: it counts the bytes that a player sent, which gives the number of
//! the last input, since all have the same length, and writes that number into a frame that lies ready. With `--groups 10` its rooms tick in ten phases over
//! the period, with `--sizes` its frames are as long as those that the players of a recorded room got, and as few: where there was no news,
//! it says no more than that an input came, if one did.

#![forbid(unsafe_code)]
// Measures with the clock.
#![allow(clippy::disallowed_types)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::{Timespec, epoll};
use tickyard_compare::{INPUT_BYTES, NO_NEWS_BYTES, ROOM_PLAYERS, ROW_BYTES, STATE_HEADER_BYTES, TICK_RATE};

/// A sender that cuts every corner, to know what the kernel alone costs.
#[derive(Debug, Parser)]
struct Flags {
    /// Over so many phases the rooms are spread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    groups: u32,
    /// Lengths of messages: a line for each tick, a number for each seat of a room, 0 for no news [default: half of the players changed]
    #[arg(long)]
    sizes: Option<PathBuf>,
}

fn main() -> Result<(), String> {
    let flags = Flags::parse();
    let sizes = match &flags.sizes {
        Some(path) => read_sizes(path)?,
        None => vec![[(STATE_HEADER_BYTES + ROOM_PLAYERS / 2 * ROW_BYTES) as u16; ROOM_PLAYERS]],
    };
    let fault = |error: std::io::Error| format!("bare: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(fault)?;
    println!("listening {}", listener.local_addr().map_err(fault)?);
    serve(&listener, flags.groups, &sizes).map_err(fault)
}

/// What the players of a room are told at a tick.
type Lengths = [u16; ROOM_PLAYERS];

fn read_sizes(path: &PathBuf) -> Result<Vec<Lengths>, String> {
    let wrong = |why: String| format!("--sizes {}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let fits = |size: &u16| *size == 0 || (STATE_HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&(*size).into());
    let line = |line: &str| {
        let sizes: Vec<u16> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        sizes.try_into().ok().filter(|sizes: &Lengths| sizes.iter().all(fits))
    };
    let sizes: Option<Vec<Lengths>> = text.lines().map(line).collect();
    let sizes = sizes.filter(|sizes| !sizes.is_empty());
    sizes.ok_or_else(|| wrong(format!("not lines of {ROOM_PLAYERS} lengths up to {MESSAGE_BYTES_MAX}")))
}

struct Player {
    stream: TcpStream,
    /// Bytes of inputs that came; `None`: it has not asked yet.
    received: Option<usize>,
    /// The number of the last input that it was told of.
    told: u32,
}

fn serve(listener: &TcpListener, groups: u32, sizes: &[Lengths]) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poller, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut players: Vec<Player> = Vec::new();
    let mut events = Vec::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    let begin = Instant::now();
    let period = Duration::from_secs(1) / TICK_RATE;
    // The steps are groups within ticks: 0 is the first group of tick 0.
    let mut step = 0;
    loop {
        while begin + period * step / groups <= Instant::now() {
            let (tick, group) = (step / groups, step % groups);
            for (room, seats) in players.chunks_mut(ROOM_PLAYERS).enumerate() {
                if room as u32 % groups == group {
                    let sizes = &sizes[(tick as usize + room * APART) % sizes.len()];
                    send_room(seats, tick, sizes, &mut buffer);
                }
            }
            step += 1;
            // Who is late by more than a period skips what nobody waits for any longer.
            if begin + period * (step + groups) / groups < Instant::now() {
                step += groups;
            }
        }
        let patience = (begin + period * step / groups).saturating_duration_since(Instant::now());
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => accept(listener, &poller, &mut players)?,
                at => receive(&mut players[at as usize], &mut buffer),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poller: impl std::os::fd::AsFd,
    players: &mut Vec<Player>,
) -> std::io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let at = epoll::EventData::new_u64(players.len() as u64);
        epoll::add(&poller, &stream, at, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        players.push(Player { stream, received: None, told: 0 });
    }
}

/// One read: after a short one there is nothing left.
fn receive(player: &mut Player, buffer: &mut [u8]) {
    // A player that is gone is sent to all the same: the run is over anyway.
    let Ok(len) = player.stream.read(buffer) else { return };
    match &mut player.received {
        Some(received) => *received += len,
        None => {
            let _ = player.stream.write(ANSWER);
            player.received = Some(0);
        }
    }
}

fn send_room(seats: &mut [Player], tick: u32, sizes: &Lengths, buffer: &mut [u8]) {
    for (player, &size) in seats.iter_mut().zip(sizes) {
        let Some(received) = player.received else { continue };
        let number = (received / INPUT_FRAME_BYTES) as u32;
        let has_input = number != std::mem::replace(&mut player.told, number);
        let size = match size as usize {
            0 if has_input => NO_NEWS_BYTES,
            0 => continue,
            size => size,
        };
        let start = match size {
            0..=125 => {
                buffer[..2].copy_from_slice(&[0x82, size as u8]);
                2
            }
            _ => {
                buffer[..2].copy_from_slice(&[0x82, 126]);
                buffer[2..4].copy_from_slice(&(size as u16).to_be_bytes());
                4
            }
        };
        buffer[start..start + 4].copy_from_slice(&tick.to_le_bytes());
        buffer[start + 4..start + 8].copy_from_slice(&number.to_le_bytes());
        // What the kernel does not take now is lost.
        let _ = player.stream.write(&buffer[..start + size]);
    }
}

const LISTENER: u64 = u64::MAX;
/// Rooms are not in the same recorded tick, which would make all of them silent at once.
const APART: usize = 13;
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// With a client's header.
const INPUT_FRAME_BYTES: usize = 6 + INPUT_BYTES;
/// The generator knows that nobody computed the key.
const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
