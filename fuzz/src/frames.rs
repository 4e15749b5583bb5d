//! RFC 6455 below the session: headers, and one side of a connection.

use tickyard::websocket::frame::{
    FrameError, HEADER_BYTES_MAX, Header, SERVER_HEADER_BYTES_MAX, fill_server_header, write_frame,
};
use tickyard::websocket::{CloseCode, Event, Limits, ReadError, Role, WebSocket, mask};

use super::chunks::cuts;

/// A header is read alike from any number of its bytes, and written as it was read.
pub fn frame(bytes: &[u8]) {
    let mut known = None;
    for end in 0..=bytes.len().min(HEADER_BYTES_MAX + 1) {
        let read = Header::parse(&bytes[..end]);
        match known {
            None if read == Ok(None) => {}
            None => known = Some(read),
            Some(known) => assert_eq!(read, known, "more bytes change nothing"),
        }
    }
    match known {
        Some(Ok(Some((header, used)))) => check_header(header, used, bytes),
        Some(Err(error)) => check_refusal(error, bytes),
        _ => assert!(bytes.len() < HEADER_BYTES_MAX, "a header was not understood in all its bytes"),
    }
}

fn check_header(header: Header, used: usize, bytes: &[u8]) {
    let mut written = Vec::new();
    header.write(&mut written);
    assert_eq!(written, bytes[..used], "there is one way to write a header");
    let payload = &bytes[used..];
    if header.opcode.is_control() {
        assert!(header.fin && header.len <= 125);
        return;
    }
    let mut frame = Vec::new();
    write_frame(&mut frame, header.opcode, payload, header.mask);
    let (read, start) = Header::parse(&frame).unwrap().unwrap();
    assert_eq!(read, Header { fin: true, len: payload.len() as u64, ..header });
    let (mut fast, mut naive) = (frame[start..].to_vec(), frame[start..].to_vec());
    mask::apply(&mut fast, header.mask.unwrap_or_default());
    mask::apply_naive(&mut naive, header.mask.unwrap_or_default());
    assert_eq!((&fast[..], &naive[..]), (payload, payload));
    if header.mask.is_none() {
        let mut composed = [&[0; SERVER_HEADER_BYTES_MAX], payload].concat();
        let start = fill_server_header(&mut composed, header.opcode);
        assert_eq!(composed[start..], frame);
    }
}

fn check_refusal(error: FrameError, bytes: &[u8]) {
    let (first, second) = (bytes[0], bytes[1]);
    let is_control = first & 0x08 != 0;
    let holds = match error {
        FrameError::ControlFragmented => is_control && first & 0x80 == 0,
        FrameError::ControlTooLong => is_control && second & 0x7f > 125,
        FrameError::LengthNotMinimal | FrameError::LengthTooLong => second & 0x7f > 125,
        FrameError::OpcodeUnknown => !matches!(first & 0x0f, 0..=2 | 8..=10),
        FrameError::ReservedBits => first & 0x70 != 0,
    };
    assert!(holds, "{error:?} for {first:02x} {second:02x}");
}

/// A peer is heard alike in any chunks, holds no more than the limit, and is not heard after its end.
///
/// The first byte chooses the role; see [`super::chunks`] for the others.
pub fn websocket(bytes: &[u8]) {
    let Some((&role, bytes)) = bytes.split_first() else { return };
    let role = if role & 1 == 0 { Role::Server } else { Role::Client };
    let [first, others @ ..] =
        cuts(bytes).map(|chunks| hear(WebSocket::new(role, LIMITS), LIMITS, 0, &chunks));
    for other in others {
        assert_eq!(first, other, "the same, however it is cut");
    }
}

/// An event that outlives its input, or the error that ended it.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame.
    Close(Option<(CloseCode, String)>),
    /// What cannot be understood.
    Failed(ReadError),
}

impl Heard {
    /// Whether a control frame said it.
    pub fn is_control(&self) -> bool {
        matches!(self, Heard::Ping(_) | Heard::Pong(_) | Heard::Close(_))
    }
}

impl From<Event<'_>> for Heard {
    fn from(event: Event) -> Heard {
        match event {
            Event::Text(text) => Heard::Text(text.to_owned()),
            Event::Binary(bytes) => Heard::Binary(bytes.to_owned()),
            Event::Ping(bytes) => Heard::Ping(bytes.to_owned()),
            Event::Pong(bytes) => Heard::Pong(bytes.to_owned()),
            Event::Close(close) => Heard::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

/// What a WebSocket with these limits hears; beside the message it may hold `windows` bytes.
pub fn hear(mut socket: WebSocket, limits: Limits, windows: usize, chunks: &[Vec<u8>]) -> Vec<Heard> {
    let mut heard = Vec::new();
    for chunk in chunks {
        let was_ended = socket.is_ended();
        let before = heard.len();
        read_all(&mut socket, chunk, &mut heard);
        assert!(!was_ended || heard.len() == before, "nothing is heard after the end");
        // A Vec grows to at most twice what it holds; the control frame is beside the message.
        let most = 2 * limits.message_bytes_max + 2 * 125 + windows;
        assert!(socket.held_bytes() <= most, "{}", socket.held_bytes());
        assert!(!was_ended || socket.held_bytes() == 0, "an ended socket holds nothing");
    }
    for event in &heard {
        if let Heard::Text(_) | Heard::Binary(_) = event {
            assert!(len(event) <= limits.message_bytes_max);
        }
    }
    heard
}

/// Hands in one chunk and writes down all that comes of it.
pub fn read_all(socket: &mut WebSocket, chunk: &[u8], heard: &mut Vec<Heard>) {
    let mut received = chunk.to_vec();
    let mut input = &mut received[..];
    loop {
        match socket.read(&mut input) {
            Ok(None) => break,
            Ok(Some(event)) => heard.push(event.into()),
            Err(error) => heard.push(Heard::Failed(error)),
        }
    }
    assert!(input.is_empty(), "all input is used");
}

fn len(event: &Heard) -> usize {
    match event {
        Heard::Text(text) => text.len(),
        Heard::Binary(bytes) | Heard::Ping(bytes) | Heard::Pong(bytes) => bytes.len(),
        Heard::Close(_) | Heard::Failed(_) => 0,
    }
}

/// Small, so that short inputs reach them.
const LIMITS: Limits = Limits { message_bytes_max: 300, fragments_max: 4 };
