//! The two wires that the generator speaks, as far as it has to.

use clap::ValueEnum;
use tickyard_compare::Input;
use tickyard_protocol::fields::FIELDS_MAX;
use tickyard_protocol::message::{self, ClientControl, Hello, Seek, from_server};
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

    /// The last input that a message has applied; `None`: it is no state.
    pub fn number(self, payload: &[u8]) -> Option<u32> {
        let header = match self {
            Wire::Plain => payload,
            Wire::Tickyard => payload.strip_prefix(&[from_server::TICK])?,
        };
        Some(u32::from_le_bytes(header.get(4..8)?.try_into().ok()?))
    }
}
