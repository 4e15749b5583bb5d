//! The two wires that the generator speaks, as far as it has to.

use clap::ValueEnum;
use tickyard_compare::Input;
use tickyard_protocol::bytes::Reader;
use tickyard_protocol::fields::FIELDS_MAX;
use tickyard_protocol::message::{self, ClientControl, Hello, Seek, ServerControl, from_server};
use tickyard_protocol::tick::{Header, SKIPPED};
use tickyard_protocol::types::Seq;

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wire {
    /// What `src/lib.rs` describes.
    Plain,
    /// Tickyard's protocol; its lobby finds the room.
    Tickyard,
}

impl Wire {
    /// The opening handshake.
    pub fn request(self) -> String {
        let (path, more) = match self {
            Wire::Plain => ("/", String::new()),
            Wire::Tickyard => ("/play", format!("Sec-WebSocket-Protocol: {}\r\n", message::SUBPROTOCOL)),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    }

    /// Writes what a player says first; `false`: nothing.
    pub fn hello(self, out: &mut Vec<u8>) -> bool {
        if self == Wire::Plain {
            return false;
        }
        let hello = Hello {
            version: message::VERSION,
            build: "",
            seek: Seek::JoinOrCreate("arena"),
            name: "",
            options: &[],
            token: "",
            resume: &[],
            tags: vec![],
        };
        message::encode_client_control(&ClientControl::Hello(hello), out);
        true
    }

    /// Writes an input.
    pub fn input(self, input: Input, out: &mut Vec<u8>) {
        match self {
            Wire::Plain => out.extend_from_slice(&input.encode()),
            Wire::Tickyard => {
                let mut row = [0; FIELDS_MAX];
                row[..2].copy_from_slice(&[input.dx.into(), input.dy.into()]);
                let input = message::Input { seq: Seq(input.number), ack: 0, render_tick: 0, row };
                input.encode(2, out);
            }
        }
    }

    /// What a message says.
    pub fn hear(self, payload: &[u8]) -> Said {
        match self {
            Wire::Plain => hear_plain(payload).map_or(Said::Nothing, Said::State),
            Wire::Tickyard => match payload.split_first() {
                Some((&from_server::TICK, rest)) => hear_tick(rest).map_or(Said::Nothing, Said::State),
                Some((&from_server::CONTROL, rest)) => match message::decode_server_control(rest) {
                    Ok(ServerControl::Welcome(welcome)) => Said::Room(welcome.room),
                    _ => Said::Nothing,
                },
                _ => Said::Nothing,
            },
        }
    }
}

/// What is looked at of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The player is in this room.
    Room(String),
    /// A room's state.
    State(State),
    /// Something else.
    Nothing,
}

/// The beginning of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Counts the states of a room, those that were not sent as well.
    pub tick: u32,
    /// The last input that was applied.
    pub number: u32,
    /// States before this one were kept back because the player was slow.
    pub skipped: bool,
    /// There is more in it than this.
    pub has_news: bool,
}

fn hear_plain(payload: &[u8]) -> Option<State> {
    let (tick, rest) = payload.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (tick, number) = (u32::from_le_bytes(*tick), u32::from_le_bytes(*number));
    Some(State { tick, number, skipped: false, has_news: !rest.is_empty() })
}

fn hear_tick(payload: &[u8]) -> Option<State> {
    let mut reader = Reader::new(payload);
    let Header { tick, seq, flags, .. } = Header::read(&mut reader).ok()?;
    let has_news = !reader.rest().is_empty();
    Some(State { tick: tick.0, number: seq.0, skipped: flags & SKIPPED != 0, has_news })
}
