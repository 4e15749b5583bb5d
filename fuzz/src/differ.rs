//! Us and tungstenite, on the same bytes: both understand the same, or both refuse.

use std::io::{self, Cursor, Read, Write};

use tickyard::websocket::frame::{FrameError, Header};
use tickyard::websocket::{CloseCode, Limits, ReadError, Role, WebSocket};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message};

use super::frames::{Heard, read_all};

/// Headers.
///
/// We refuse earlier: what they refuse one layer up (reserved bits, control frames that are fragmented or too long) is no header for us.
/// And we refuse more: lengths in more bytes than needed, and of 2^63 or more (RFC 6455, 5.2: both MUST not be).
pub fn differ_frames(bytes: &[u8]) {
    let mut cursor = Cursor::new(bytes);
    let theirs = FrameHeader::parse(&mut cursor);
    match (Header::parse(bytes), theirs) {
        (Ok(None), theirs) => assert!(matches!(theirs, Ok(None)), "they know more: {theirs:?}"),
        (Ok(Some((ours, used))), Ok(Some((theirs, len)))) => {
            assert_eq!((used as u64, ours.len), (cursor.position(), len));
            assert_eq!((ours.fin, ours.mask), (theirs.is_final, theirs.mask));
            assert_eq!(ours.opcode as u8, u8::from(theirs.opcode));
            let (mut our_bytes, mut their_bytes) = (Vec::new(), Vec::new());
            ours.write(&mut our_bytes);
            theirs.format(len, &mut their_bytes).unwrap();
            assert_eq!(our_bytes, their_bytes);
        }
        (Ok(Some(ours)), theirs) => panic!("only we read {ours:?}; they: {theirs:?}"),
        // They look at the opcode once the header is complete.
        (Err(FrameError::OpcodeUnknown), theirs) => assert!(!matches!(theirs, Ok(Some(_))), "{theirs:?}"),
        (Err(FrameError::ReservedBits), Ok(Some((theirs, _)))) => {
            assert!(theirs.rsv1 || theirs.rsv2 || theirs.rsv3);
        }
        (Err(FrameError::ControlFragmented), Ok(Some((theirs, _)))) => assert!(!theirs.is_final),
        (Err(FrameError::ControlTooLong), Ok(Some((_, len)))) => {
            // Or a short length in long form.
            assert!(len > 125 || cursor.position() > 6 || bytes[1] & 0x7f > 125);
        }
        (Err(FrameError::LengthNotMinimal), Ok(Some((theirs, len)))) => {
            assert!((theirs.len(len) as u64) < cursor.position());
        }
        (Err(FrameError::LengthTooLong), Ok(Some((_, len)))) => assert!(len > i64::MAX as u64),
        (Err(_), Ok(None) | Err(_)) => {}
    }
}

/// Messages. The first byte chooses the role.
///
/// Where we differ: we refuse lengths that are not minimal. A close frame whose code must not be sent is refused by us, and turned by them
/// into one that says 1002; so is 1014, which came to IANA's registry after the others and which we let pass.
pub fn differ_messages(bytes: &[u8]) {
    let Some((&role, bytes)) = bytes.split_first() else { return };
    let (our_role, their_role) =
        if role & 1 == 0 { (Role::Server, TheirRole::Server) } else { (Role::Client, TheirRole::Client) };
    // They look at a frame when it is complete, we at its first bytes: so each frame gets its payload. What follows is no frame.
    let padded = [bytes, &[0xff; PADDING]].concat();
    let (ours, theirs) = (ours(our_role, &padded), theirs(their_role, padded));
    if ours == theirs {
        return;
    }
    let Some((last, before)) = ours.split_last() else { panic!("we heard nothing, they {theirs:?}") };
    assert!(theirs.starts_with(before), "we heard {ours:?}, they {theirs:?}");
    match last {
        Heard::Failed(ReadError::Frame(FrameError::LengthNotMinimal)) => {}
        // A control frame's length in more than one byte is too long for us, whatever it says.
        Heard::Failed(ReadError::Frame(FrameError::ControlTooLong)) => {
            let next = &theirs[before.len()];
            assert!(*next == REFUSED || next.is_control(), "they heard {next:?}");
        }
        Heard::Failed(ReadError::CloseCode) => {
            // Or the reason is not UTF-8 either.
            let theirs = &theirs[before.len()..];
            assert!(theirs == [violation()] || theirs == [REFUSED], "they heard {theirs:?}");
        }
        Heard::Close(Some((code, _))) if code.get() == 1014 => {
            assert_eq!(theirs[before.len()..], [violation()]);
        }
        Heard::Failed(_) => {
            assert_eq!(theirs[before.len()..], [REFUSED], "we heard {ours:?}");
        }
        _ => panic!("we heard {ours:?}, they {theirs:?}"),
    }
}

/// What they make of a code that must not be sent.
fn violation() -> Heard {
    Heard::Close(Some((CloseCode::PROTOCOL, "Protocol violation".to_owned())))
}

fn ours(role: Role, bytes: &[u8]) -> Vec<Heard> {
    let mut socket = WebSocket::new(role, LIMITS);
    let mut heard = Vec::new();
    read_all(&mut socket, bytes, &mut heard);
    heard
}

/// All until their first error or close.
fn theirs(role: TheirRole, bytes: Vec<u8>) -> Vec<Heard> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(LIMITS.message_bytes_max))
        .max_frame_size(Some(LIMITS.message_bytes_max));
    let mut socket = tungstenite::WebSocket::from_raw_socket(OneWay(Cursor::new(bytes)), role, Some(config));
    let mut heard = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Message::Text(text)) => Heard::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Heard::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Heard::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Heard::Pong(bytes.to_vec()),
            Ok(Message::Close(close)) => Heard::Close(close.map(|close| {
                let code = CloseCode::from_wire(close.code.into()).expect("a code that may be sent");
                (code, close.reason.as_str().to_owned())
            })),
            Ok(Message::Frame(_)) => unreachable!("nobody reads these"),
            Err(Error::Io(error)) => panic!("a cursor does not fail: {error}"),
            Err(_) => REFUSED,
        };
        let is_over = matches!(event, Heard::Close(_) | Heard::Failed(_));
        heard.push(event);
        if is_over {
            return heard;
        }
    }
}

/// Gives bytes and swallows answers.
struct OneWay(Cursor<Vec<u8>>);

impl Read for OneWay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for OneWay {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// They have no limit for fragments, so neither have we here.
const LIMITS: Limits = Limits { message_bytes_max: 1000, fragments_max: u32::MAX };
/// Completes the longest header and payload.
const PADDING: usize = LIMITS.message_bytes_max + 14;
/// Some error of theirs: only that they refuse counts.
const REFUSED: Heard = Heard::Failed(ReadError::Frame(FrameError::OpcodeUnknown));
