//! The messages outside the tick stream (PROTOCOL.md, section 3), and the types of all messages.
//!
//! What a client sends is decoded into borrowed types: nothing is copied or allocated before it has been checked.

use crate::bytes::{Malformed, Reader, put_varint, put_zigzag};
use crate::codec;
use crate::fields::Schema;
use crate::fields::{FIELDS_MAX, Field, SchemaError, Shapes, check_fields};
use crate::types::{CellId, PlayerId, Seq, Tick};
use serde::{Deserialize, Serialize};

/// The version of the wire that this crate speaks.
pub const VERSION: u16 = 1;

/// The subprotocol to offer in the opening handshake.
pub const SUBPROTOCOL: &str = "tickyard.v1";

/// A player's name holds at most this many bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// The options of a hello hold at most this many bytes.
pub const OPTIONS_BYTES_MAX: usize = 1024;
/// The kind of a reliable message holds at most this many bytes.
pub const MESSAGE_KIND_BYTES_MAX: usize = 32;
/// The payload of a reliable message from a client holds at most this many bytes.
pub const MESSAGE_PAYLOAD_BYTES_MAX: usize = 1024;
/// A want or a repair names at most this many cells.
pub const WANT_CELLS_MAX: usize = 64;

/// The first byte of a message from a client.
pub mod from_client {
    /// A [`super::ClientControl`].
    pub const CONTROL: u8 = 1;
    /// An [`super::Input`].
    pub const INPUT: u8 = 2;
    /// Eight bytes that come back.
    pub const PING: u8 = 3;
    /// The number of the last reliable message heard.
    pub const ACK: u8 = 4;
    /// Cells of which a snapshot is wanted.
    pub const WANT: u8 = 5;
    /// A [`crate::repair::Repair`].
    pub const REPAIR: u8 = 6;
}

/// The first byte of a message from the server.
pub mod from_server {
    /// A [`super::ServerControl`].
    pub const CONTROL: u8 = 1;
    /// A tick, see [`crate::tick`].
    pub const TICK: u8 = 2;
    /// A [`super::Pong`].
    pub const PONG: u8 = 3;
}

/// Close codes of our own, beside those of RFC 6455.
pub mod close_code {
    /// A `Refused` was sent just before.
    pub const REFUSED: u16 = 4001;
    /// The room's game failed.
    pub const ROOM_FAILED: u16 = 4002;
}

/// A tagged value at the end of a control message, so that it can grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag<'a> {
    /// What the value is; unknown tags are skipped.
    pub tag: u32,
    /// Its bytes.
    pub value: &'a [u8],
}

/// A tag as the client keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedTag {
    /// What the value is; unknown tags are skipped.
    pub tag: u32,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// A control message from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientControl<'a> {
    /// The first message of a connection.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// A reliable message to the room or its game.
    #[serde(borrow)]
    Message(Message<'a>),
}

/// Who comes, and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// [`VERSION`].
    pub version: u16,
    /// The build of the game that the client was made for; empty: any.
    pub build: &'a str,
    /// The room to enter.
    #[serde(borrow)]
    pub seek: Seek<'a>,
    /// The name to show; empty: the server chooses.
    pub name: &'a str,
    /// For the game.
    pub options: &'a [u8],
    /// A join token, or empty.
    pub token: &'a str,
    /// The resume token of an earlier welcome, or empty.
    pub resume: &'a [u8],
    /// Growth.
    #[serde(borrow)]
    pub tags: Vec<Tag<'a>>,
}

/// Which room to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seek<'a> {
    /// A room of this game, a new one if need be.
    JoinOrCreate(&'a str),
    /// A room of this game that exists.
    Join(&'a str),
    /// A new room of this game.
    Create(&'a str),
    /// The room with this id.
    Room(&'a str),
}

/// A reliable message from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message<'a> {
    /// 1, 2, 3 … per session.
    pub number: u32,
    /// `chat` is the room's own; every other kind goes to the game.
    pub kind: &'a str,
    /// What it says.
    pub payload: &'a [u8],
    /// Growth.
    #[serde(borrow)]
    pub tags: Vec<Tag<'a>>,
}

/// A control message from the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ServerControl {
    /// You are in.
    Welcome(Welcome),
    /// Connect there instead.
    Redirect(Redirect),
    /// You are not let in.
    Refused(Refused),
}

/// What a new player needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who you are in this room.
    pub player: PlayerId,
    /// To come back after a drop; empty: no seat is held.
    pub resume: Vec<u8>,
    /// The room's id.
    pub room: String,
    /// The game that is played.
    pub game: String,
    /// The room's tick.
    pub tick: Tick,
    /// Ticks per second.
    pub tick_rate: u16,
    /// Microseconds per tick.
    pub step_micros: u32,
    /// What can be seen and asked for.
    pub schema: Schema,
    /// Growth.
    pub tags: Vec<OwnedTag>,
}

/// Where to go instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// A WebSocket URL.
    pub url: String,
    /// Growth.
    pub tags: Vec<OwnedTag>,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A [`RefusalCode`], as a number since the list grows.
    pub code: u16,
    /// For people.
    pub text: String,
    /// When trying again makes sense, in milliseconds.
    pub retry_after_millis: Option<u32>,
    /// Growth.
    pub tags: Vec<OwnedTag>,
}

/// The reasons for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RefusalCode {
    /// The server does not speak this version.
    Outdated = 1,
    /// No game of this name.
    UnknownGame = 2,
    /// No room of this id.
    UnknownRoom = 3,
    /// All seats are taken.
    Full = 4,
    /// The join token is not valid.
    BadToken = 5,
    /// The name is not allowed.
    BadName = 6,
    /// The game said no.
    Game = 7,
    /// The server takes no new players.
    Draining = 8,
    /// The seat is gone.
    ResumeExpired = 9,
}

/// Writes a client's control message with its type.
pub fn encode_client_control(message: &ClientControl, out: &mut Vec<u8>) {
    out.push(from_client::CONTROL);
    codec::encode(message, out);
}

/// Reads a client's control message, the bytes after the type.
pub fn decode_client_control(bytes: &[u8]) -> Result<ClientControl<'_>, Malformed> {
    codec::decode_client(bytes)
}

/// Writes a server's control message with its type.
pub fn encode_server_control(message: &ServerControl, out: &mut Vec<u8>) {
    out.push(from_server::CONTROL);
    codec::encode(message, out);
}

/// Reads a server's control message, the bytes after the type; a schema that cannot be used is an error.
pub fn decode_server_control(bytes: &[u8]) -> Result<ServerControl, Malformed> {
    let message = codec::decode_server(bytes)?;
    if let ServerControl::Welcome(welcome) = &message {
        check_schema(&welcome.schema).map_err(|_| Malformed::Range)?;
    }
    Ok(message)
}

fn check_schema(schema: &Schema) -> Result<(), SchemaError> {
    Shapes::new(&schema.kinds)?;
    check_fields(&schema.input)
}

/// What a player does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// 1, 2, 3 … per session.
    pub seq: Seq,
    /// The last reliable message heard.
    pub ack: u32,
    /// What was on the screen, in 1/16 ticks; 0: not known.
    pub render_tick: u32,
    /// The fields of the schema's input; those beyond are 0.
    pub row: [i32; FIELDS_MAX],
}

impl Input {
    /// Writes the message with its type; `fields` is the number of fields of the input.
    pub fn encode(&self, fields: usize, out: &mut Vec<u8>) {
        out.push(from_client::INPUT);
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&self.ack.to_le_bytes());
        out.extend_from_slice(&self.render_tick.to_le_bytes());
        for &value in &self.row[..fields] {
            put_zigzag(out, value);
        }
    }

    /// Reads the bytes after the type. Values outside of a field's bounds are clamped.
    pub fn decode(bytes: &[u8], fields: &[Field]) -> Result<Input, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut input = Input {
            seq: Seq(reader.u32()?),
            ack: reader.u32()?,
            render_tick: reader.u32()?,
            row: [0; FIELDS_MAX],
        };
        for (value, field) in input.row.iter_mut().zip(fields) {
            *value = reader.zigzag()?.clamp(field.min, field.max);
        }
        reader.finish()?;
        Ok(input)
    }
}

/// Writes a client's ping.
pub fn encode_ping(stamp: [u8; 8], out: &mut Vec<u8>) {
    out.push(from_client::PING);
    out.extend_from_slice(&stamp);
}

/// The answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The ping's bytes.
    pub stamp: [u8; 8],
    /// The room's newest tick.
    pub tick: Tick,
    /// Microseconds since that tick was due.
    pub micros: u32,
}

impl Pong {
    /// Writes the message with its type.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(from_server::PONG);
        out.extend_from_slice(&self.stamp);
        out.extend_from_slice(&self.tick.0.to_le_bytes());
        out.extend_from_slice(&self.micros.to_le_bytes());
    }

    /// Reads the bytes after the type.
    pub fn decode(bytes: &[u8]) -> Result<Pong, Malformed> {
        let mut reader = Reader::new(bytes);
        let stamp = reader.take(8)?.try_into().expect("eight bytes were taken");
        let pong = Pong { stamp, tick: Tick(reader.u32()?), micros: reader.u32()? };
        reader.finish()?;
        Ok(pong)
    }
}

/// Writes a client's acknowledgement of reliable messages.
pub fn encode_ack(number: u32, out: &mut Vec<u8>) {
    out.push(from_client::ACK);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Reads the bytes of an acknowledgement after the type.
pub fn decode_ack(bytes: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader::new(bytes);
    let number = reader.u32()?;
    reader.finish()?;
    Ok(number)
}

/// Writes a client's wish for snapshots of `cells`, at most [`WANT_CELLS_MAX`] of them.
pub fn encode_want(cells: &[CellId], out: &mut Vec<u8>) {
    let cells = &cells[..cells.len().min(WANT_CELLS_MAX)];
    out.push(from_client::WANT);
    put_varint(out, cells.len() as u32);
    for cell in cells {
        put_varint(out, cell.0);
    }
}

/// Reads the bytes of a want after the type and hands each cell on.
pub fn decode_want(bytes: &[u8], mut cell: impl FnMut(CellId)) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    let count = reader.varint()? as usize;
    if count == 0 || count > WANT_CELLS_MAX {
        return Err(Malformed::Range);
    }
    for _ in 0..count {
        cell(CellId(reader.varint()?));
    }
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello<'a>() -> ClientControl<'a> {
        ClientControl::Hello(Hello {
            version: VERSION,
            build: "",
            seek: Seek::JoinOrCreate("arena"),
            name: "Ada",
            options: &[1, 2],
            token: "",
            resume: &[],
            tags: vec![Tag { tag: 300, value: &[9] }],
        })
    }

    #[test]
    fn a_hello_is_the_bytes_of_the_document() {
        let mut out = Vec::new();
        encode_client_control(&hello(), &mut out);
        assert_eq!(out, b"\x01\x00\x01\x00\x00\x05arena\x03Ada\x02\x01\x02\x00\x00\x01\xfb\x2c\x01\x01\x09");
        assert_eq!(decode_client_control(&out[1..]), Ok(hello()));
    }

    #[test]
    fn every_prefix_of_a_hello_is_refused() {
        let mut out = Vec::new();
        encode_client_control(&hello(), &mut out);
        for cut in 1..out.len() {
            assert!(decode_client_control(&out[1..cut]).is_err(), "prefix of {cut} bytes");
        }
        out.push(0);
        assert_eq!(decode_client_control(&out[1..]), Err(Malformed::Long));
    }

    #[test]
    fn a_hello_of_nine_bytes_that_announce_2_to_the_64_is_refused() {
        let mut attack = vec![0, 1, 253];
        attack.extend([0xff; 8]);
        assert!(decode_client_control(&attack).is_err());
    }

    #[test]
    fn inputs_are_clamped_to_the_schema_and_must_end() {
        let fields = [Field::integer("dx", -127, 127), Field::integer("dy", -127, 127)];
        let mut row = [0; FIELDS_MAX];
        row[0] = -4000;
        row[1] = 5;
        let input = Input { seq: Seq(7), ack: 3, render_tick: 160, row };
        let mut out = Vec::new();
        input.encode(2, &mut out);
        let decoded = Input::decode(&out[1..], &fields).unwrap();
        assert_eq!((decoded.seq, decoded.ack, decoded.render_tick), (Seq(7), 3, 160));
        assert_eq!(&decoded.row[..3], &[-127, 5, 0]);
        for cut in 1..out.len() {
            assert_eq!(Input::decode(&out[1..cut], &fields), Err(Malformed::Short));
        }
        out.push(0);
        assert_eq!(Input::decode(&out[1..], &fields), Err(Malformed::Long));
    }

    #[test]
    fn a_want_is_bounded() {
        let mut out = Vec::new();
        encode_want(&[CellId(3); 100], &mut out);
        let mut cells = 0;
        assert_eq!(decode_want(&out[1..], |_| cells += 1), Ok(()));
        assert_eq!(cells, WANT_CELLS_MAX);
        assert_eq!(decode_want(&[65], |_| ()), Err(Malformed::Range));
        assert_eq!(decode_want(&[0], |_| ()), Err(Malformed::Range));
    }

    #[test]
    fn a_welcome_with_a_step_that_is_not_a_number_is_refused() {
        let field = Field { step: f64::NAN, ..Field::integer("dx", 0, 1) };
        let welcome = Welcome {
            player: PlayerId(1),
            resume: vec![],
            room: "r".into(),
            game: "g".into(),
            tick: Tick(0),
            tick_rate: 20,
            step_micros: 50_000,
            schema: Schema { kinds: vec![], input: vec![field] },
            tags: vec![],
        };
        let mut out = Vec::new();
        encode_server_control(&ServerControl::Welcome(welcome), &mut out);
        assert_eq!(decode_server_control(&out[1..]), Err(Malformed::Range));
    }
}
