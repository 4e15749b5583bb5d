//! WebSocket (RFC 6455) without sockets.
//!
//! A [`WebSocket`] is one side of a connection after its opening handshake: bytes in, [`Event`]s out. What goes
//! the other way needs no state and is written by the functions of [`frame`]. Servers and clients share all of
//! it; [`Role`] decides who masks. The opening handshake stands in [`handshake`].
//!
//! It does not know sockets, time or random numbers, it answers nothing by itself (a ping, a close: the caller
//! decides). The one extension is compression ([`deflate`]), where the handshake agreed on it.
//!
//! ```text
//! input ── head ──► frame ──┬── whole, unfragmented ──────────► Event, borrowed from the input
//!         (≤ 14 B)          ├── control, cut off ──► control ──► Event, borrowed from us
//!                           ├── cut off, fragment ──► assembly ─► Event, borrowed from us
//!                           └── compressed ──► (assembly) ──► inflate ──► the same
//! ```

mod assemble;
pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod mask;

use std::fmt;

use serde::{Deserialize, Serialize};

use assemble::Assembly;
pub use close::CloseCode;
use deflate::{Agreement, Inflate};
use frame::{FrameError, HEADER_BYTES_MAX, Header, Opcode};

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// We connected: what we read is bare, what we write is masked.
    Client,
    /// We were connected to: what we read is masked, what we write is bare.
    Server,
}

/// What a peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The payload of one message, over all of its fragments; of a compressed one what it says, and its payload may be
    /// longer by what incompressible bytes take ([`deflate::payload_bytes_max`]).
    pub message_bytes_max: usize,
    /// The frames that one message may be spread over.
    pub fragments_max: u32,
}

/// What reading took. A peer that is held to a rate pays for it, and a server divides it among its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Frames that began, also those that are no message yet.
    pub frames: u32,
    /// Bytes that compressed messages said.
    pub inflated: usize,
    /// What inflating them cost, see [`deflate::INFLATE_COST`].
    pub cost: usize,
}

/// What the peer said. A whole message each; never a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// Wants a pong with the same payload (at most 125 bytes). Answering the newest one suffices.
    Ping(&'a [u8]),
    /// An answer to a ping, or a heartbeat that nobody asked for.
    Pong(&'a [u8]),
    /// The peer ends the conversation and reads nothing but our close frame. No event follows.
    Close(Option<(CloseCode, &'a str)>),
}

/// Why the peer can not be understood any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A close frame with a code that must not be sent.
    CloseCode,
    /// A close frame whose reason is not UTF-8.
    CloseReason,
    /// A close frame of one byte: half a code.
    CloseTruncated,
    /// A frame that continues no message.
    ContinuationStray,
    /// A new message within a fragmented one.
    DataInterleaved,
    /// A compressed message that cannot be taken apart.
    Deflate,
    /// A frame that no peer may send.
    Frame(FrameError),
    /// A masked frame from a server.
    Masked,
    /// More fragments than [`Limits::fragments_max`], or a compressed message of too many streams.
    TooFragmented,
    /// More bytes than [`Limits::message_bytes_max`].
    TooLong,
    /// A bare frame from a client.
    Unmasked,
    /// Text that is not UTF-8.
    Utf8,
}

impl ReadError {
    /// The code to close the connection with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::TooFragmented => CloseCode::POLICY,
            Self::TooLong => CloseCode::TOO_BIG,
            Self::CloseReason | Self::Deflate | Self::Utf8 => CloseCode::INVALID,
            Self::CloseCode
            | Self::CloseTruncated
            | Self::ContinuationStray
            | Self::DataInterleaved
            | Self::Frame(_)
            | Self::Masked
            | Self::Unmasked => CloseCode::PROTOCOL,
        }
    }
}

impl fmt::Display for ReadError {
    /// Short enough to be the reason in a close frame.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CloseCode => "a close code that must not be sent",
            Self::CloseReason => "a close reason that is not UTF-8",
            Self::CloseTruncated => "a close frame of one byte",
            Self::ContinuationStray => "a continuation of no message",
            Self::DataInterleaved => "a message within a fragmented one",
            Self::Deflate => "a compressed message that is broken",
            Self::Frame(error) => return error.fmt(f),
            Self::Masked => "a masked frame from a server",
            Self::TooFragmented => "a message in too many fragments",
            Self::TooLong => "a message that is too long",
            Self::Unmasked => "an unmasked frame from a client",
            Self::Utf8 => "text that is not UTF-8",
        })
    }
}

impl std::error::Error for ReadError {}

impl From<FrameError> for ReadError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// One side of a connection after its opening handshake. Plain data: it can be written down at any moment, and goes on from there.
///
/// ```
/// use tickyard::websocket::{Event, Limits, Role, WebSocket};
///
/// let mut socket = WebSocket::new(Role::Client, Limits { message_bytes_max: 1024, fragments_max: 8 });
/// let mut received = *b"\x81\x05Hello\x81\x05World\x81\x05Part";
/// let mut input = &mut received[..];
///
/// let mut heard = Vec::new();
/// while let Some(event) = socket.read(&mut input)? {
///     let Event::Text(text) = event else { panic!("only text was sent") };
///     heard.push(text.to_owned());
/// }
/// assert_eq!(heard, ["Hello", "World"]);
/// # Ok::<(), tickyard::websocket::ReadError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebSocket {
    role: Role,
    limits: Limits,
    /// A close or an error was read; nothing after it counts.
    ended: bool,
    /// A header whose end is still to come.
    head: Head,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The payload of a control frame that was cut off; it may stand between two fragments of a message.
    control: Vec<u8>,
    assembly: Assembly,
    /// What was agreed on about compression; holds nothing between messages that do not build on each other.
    inflate: Option<Inflate>,
}

/// The start of a header. Invariant: `filled` is less than a whole header.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Head {
    bytes: [u8; HEADER_BYTES_MAX],
    filled: usize,
}

/// What is known of a frame while its payload arrives.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    /// Turned such that it begins at the next byte. Zero for bare frames.
    key: [u8; 4],
    left: u64,
    /// Some of the payload is stored, so all of it must be.
    stored: bool,
}

/// How far the input went. Keeps no borrow of the [`WebSocket`], so that a loop may return it.
enum Step<'b> {
    Starved,
    Whole(Opcode, &'b mut [u8]),
    Compressed(Opcode, &'b mut [u8]),
    Control(Opcode),
    Message,
}

impl WebSocket {
    /// A connection on which nothing was said yet. Holds no memory of its own.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            ended: false,
            head: Head::default(),
            frame: None,
            control: Vec::new(),
            assembly: Assembly::default(),
            inflate: None,
        }
    }

    /// The same with compression as the handshake agreed on.
    pub fn with_deflate(mut self, agreement: Option<Agreement>) -> Self {
        let max = self.limits.message_bytes_max;
        self.inflate = agreement.map(|agreement| Inflate::new(agreement, self.role, max));
        self
    }

    /// The same, and a compressed message may say only so many bytes.
    pub fn with_compressed_bytes_max(mut self, max: usize) -> Self {
        if let Some(inflate) = &mut self.inflate {
            inflate.bytes_max = inflate.bytes_max.min(max);
        }
        self
    }

    /// Whether messages may come compressed, which is dearer to read than others.
    pub fn may_inflate(&self) -> bool {
        self.inflate.is_some()
    }

    /// Reads the next event and moves `input` past the bytes that it took.
    ///
    /// `Ok(None)` means that all of `input` is used and more is needed. An unfragmented frame that lies whole in
    /// `input` is unmasked there and lent from there; others are collected inside. After a close or an error the
    /// rest of the input is discarded, here and in all later calls.
    #[inline]
    pub fn read<'a, 'b: 'a>(&'a mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'a>>, ReadError> {
        self.read_counted(input, &mut Spent::default())
    }

    /// Like [`Self::read`], and adds to `spent` what that took.
    pub fn read_counted<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b mut [u8],
        spent: &mut Spent,
    ) -> Result<Option<Event<'a>>, ReadError> {
        let step = if self.ended { self.discard() } else { self.advance(input, &mut spent.frames) };
        let Self { ended, control, assembly, inflate, .. } = self;
        let event = match step {
            Ok(Step::Starved) => Ok(None),
            Ok(Step::Whole(opcode, payload)) => event(opcode, payload).map(Some),
            Ok(Step::Control(opcode)) => event(opcode, control).map(Some),
            Ok(Step::Message) => assembly.deliver(inflate, spent).map(Some),
            Ok(Step::Compressed(opcode, payload)) => {
                assembly.deliver_compressed(opcode, payload, inflate, spent).map(Some)
            }
            Err(error) => Err(error),
        };
        *ended |= matches!(event, Err(_) | Ok(Some(Event::Close(_))));
        if *ended {
            *input = &mut [];
        }
        event
    }

    /// Reads on after our own close frame, and returns whether the peer's is there. All else is passed over: it is neither
    /// checked nor kept, because no data counts after a close (RFC 6455, 5.5.1 and 1.4).
    pub fn read_close(&mut self, input: &mut &mut [u8]) -> Result<bool, ReadError> {
        self.assembly = Assembly::default();
        while !self.ended {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.head.read(input, self.inflate.is_some())? {
                    Some(header) => Frame::new(header),
                    None => return Ok(false),
                },
            };
            if frame.opcode == Opcode::Close {
                self.ended = true;
                break;
            }
            frame.left -= take(input, frame.left).len() as u64;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(false);
            }
        }
        *input = &mut [];
        Ok(true)
    }

    /// Whether a close or an error was read. All further input is discarded.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The heap memory held for a message that is not complete, or kept for the next one.
    pub fn held_bytes(&self) -> usize {
        let windows = self.inflate.as_ref().map_or(0, Inflate::held_bytes);
        self.control.capacity() + self.assembly.held_bytes() + windows
    }

    /// Gives back all memory: nothing will be read again.
    fn discard<'b>(&mut self) -> Result<Step<'b>, ReadError> {
        self.control = Vec::new();
        self.assembly = Assembly::default();
        self.inflate = None;
        Ok(Step::Starved)
    }

    fn advance<'b>(&mut self, input: &mut &'b mut [u8], frames: &mut u32) -> Result<Step<'b>, ReadError> {
        self.assembly.forget_delivered();
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.head.read(input, self.inflate.is_some())? {
                    Some(header) => {
                        *frames += 1;
                        self.begin(header)?
                    }
                    None => return Ok(Step::Starved),
                },
            };
            let part = take(input, frame.left);
            frame.unmask(part);
            match frame.is_whole() {
                true if frame.compressed => return Ok(Step::Compressed(frame.opcode, part)),
                true => return Ok(Step::Whole(frame.opcode, part)),
                false => {}
            }
            self.store(&mut frame, part)?;
            match frame {
                Frame { left: 1.., .. } => {
                    self.frame = Some(frame);
                    return Ok(Step::Starved);
                }
                Frame { opcode, .. } if opcode.is_control() => return Ok(Step::Control(opcode)),
                Frame { fin: true, .. } => return Ok(Step::Message),
                Frame { fin: false, .. } => {}
            }
        }
    }

    /// Checks a header against what came before it, ahead of any byte of its payload.
    fn begin(&self, header: Header) -> Result<Frame, ReadError> {
        match (self.role, header.mask) {
            // RFC 6455, 5.1: a server closes the connection upon receiving a frame that is not masked.
            (Role::Server, None) => return Err(ReadError::Unmasked),
            // RFC 6455, 5.1: a client closes the connection if it detects a masked frame.
            (Role::Client, Some(_)) => return Err(ReadError::Masked),
            _ => {}
        }
        if !header.opcode.is_control() {
            self.assembly.check(header, self.limits, self.inflate.as_ref())?;
        }
        Ok(Frame::new(header))
    }

    fn store(&mut self, frame: &mut Frame, part: &[u8]) -> Result<(), ReadError> {
        let first = !std::mem::replace(&mut frame.stored, true);
        if !frame.opcode.is_control() {
            return self.assembly.store(frame.opcode, frame.compressed, first, part);
        }
        if first {
            self.control.clear();
        }
        self.control.extend_from_slice(part);
        Ok(())
    }
}

impl Head {
    /// Reads up to the end of a header; `None` if all of `input` is used and there is more to it.
    #[inline(always)]
    fn read(&mut self, input: &mut &mut [u8], deflate: bool) -> Result<Option<Header>, FrameError> {
        if self.filled == 0
            && let Some((header, used)) = Header::parse_extended(input, deflate)?
        {
            take(input, used as u64);
            return Ok(Some(header));
        }
        // So ends each input that was read to its end.
        if input.is_empty() {
            return Ok(None);
        }
        self.read_cut(input, deflate)
    }

    /// The same of a header that does not lie whole in the input.
    #[cold]
    fn read_cut(&mut self, input: &mut &mut [u8], deflate: bool) -> Result<Option<Header>, FrameError> {
        let room = &mut self.bytes[self.filled..];
        let copied = room.len().min(input.len());
        room[..copied].copy_from_slice(&input[..copied]);
        let Some((header, used)) = Header::parse_extended(&self.bytes[..self.filled + copied], deflate)?
        else {
            self.filled += copied;
            take(input, copied as u64);
            return Ok(None);
        };
        take(input, (used - self.filled) as u64);
        self.filled = 0;
        Ok(Some(header))
    }
}

impl Frame {
    fn new(header: Header) -> Self {
        let Header { fin, compressed, opcode, mask, len: left } = header;
        Self { opcode, fin, compressed, key: mask.unwrap_or_default(), left, stored: false }
    }

    fn unmask(&mut self, part: &mut [u8]) {
        if self.key != [0; 4] {
            mask::apply(part, self.key);
            self.key = u32::from_be_bytes(self.key).rotate_left(part.len() as u32 % 4 * 8).to_be_bytes();
        }
        self.left -= part.len() as u64;
    }

    /// Whether the payload just read is all there is to a message, so that nobody needs to keep it.
    fn is_whole(&self) -> bool {
        self.left == 0 && !self.stored && self.fin && self.opcode != Opcode::Continuation
    }
}

fn event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ReadError> {
    match opcode {
        // RFC 6455, 8.1: text that is not UTF-8 fails the connection.
        Opcode::Text => str::from_utf8(payload).map(Event::Text).map_err(|_| ReadError::Utf8),
        Opcode::Binary => Ok(Event::Binary(payload)),
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        Opcode::Close => close::parse(payload).map(Event::Close),
        Opcode::Continuation => unreachable!("a continuation is never a whole message"),
    }
}

/// Cuts at most `max` bytes off the front of `input`.
fn take<'b>(input: &mut &'b mut [u8], max: u64) -> &'b mut [u8] {
    let len = usize::try_from(max).map_or(input.len(), |max| max.min(input.len()));
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}
