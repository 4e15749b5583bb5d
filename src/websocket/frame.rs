//! Frames (RFC 6455, 5.2): headers in and out, and whole frames out.
//!
//! ```text
//!  0       1       2          4             10            14
//!  ┌───────┬───────┬──────────┬─ ─ ─ ─ ─ ─ ─┬─ ─ ─ ─ ─ ─ ─┬─ ─ ─
//!  │FCRR op│M len 7│ len 16   │ or len 64   │ key, if M   │ payload
//!  └───────┴───────┴──────────┴─ ─ ─ ─ ─ ─ ─┴─ ─ ─ ─ ─ ─ ─┴─ ─ ─
//! ```
//!
//! C is RSV1, which means "compressed" where that was agreed on. Checks here what a header says by itself. What depends on the frames before it, on who sent it or on our
//! limits is up to [`WebSocket`](super::WebSocket).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CloseCode, close, mask};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of the conversation.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer.
    Pong = 0xA,
}

impl Opcode {
    /// Whether this is about the connection and no part of a message.
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }
}

/// Why no peer may send such a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A control frame in pieces.
    ControlFragmented,
    /// A control frame of more than 125 bytes.
    ControlTooLong,
    /// A length in more bytes than it needs.
    LengthNotMinimal,
    /// A length of 2^63 bytes or more.
    LengthTooLong,
    /// An opcode without a meaning.
    OpcodeUnknown,
    /// A bit of an extension that nobody agreed on.
    ReservedBits,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlFragmented => "a fragmented control frame",
            Self::ControlTooLong => "a control frame of more than 125 bytes",
            Self::LengthNotMinimal => "a length in more bytes than it needs",
            Self::LengthTooLong => "a length of 2^63 or more",
            Self::OpcodeUnknown => "an unknown opcode",
            Self::ReservedBits => "a reserved bit",
        })
    }
}

impl std::error::Error for FrameError {}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends here.
    pub fin: bool,
    /// RSV1, once it has a meaning: this frame begins a message that is compressed (RFC 7692, 6).
    pub compressed: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The masking key: always from a client, never from a server.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload.
    pub len: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, and its length. `Ok(None)` asks for more bytes.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        Self::parse_extended(bytes, false)
    }

    /// The same on a connection on which compression may have been agreed on.
    #[inline]
    pub fn parse_extended(bytes: &[u8], deflate: bool) -> Result<Option<(Self, usize)>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (fin, compressed, opcode) = parse_first(*first, deflate)?;
        if opcode.is_control() {
            check_control(fin, second & LEN_BITS)?;
        }
        let Some((len, rest)) = parse_len(second & LEN_BITS, rest)? else { return Ok(None) };
        let (mask, rest) = match rest.split_first_chunk() {
            _ if second & MASK_BIT == 0 => (None, rest),
            Some((key, rest)) => (Some(*key), rest),
            None => return Ok(None),
        };
        Ok(Some((Self { fin, compressed, opcode, mask, len }, bytes.len() - rest.len())))
    }

    /// Writes the header to the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (bytes, len) = self.encode();
        out.extend_from_slice(&bytes[..len]);
    }

    /// The header's bytes, and how many of them there are.
    fn encode(&self) -> ([u8; HEADER_BYTES_MAX], usize) {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = self.opcode as u8
            | if self.fin { FIN_BIT } else { 0 }
            | if self.compressed { COMPRESSED_BIT } else { 0 };
        // RFC 6455, 5.2: the minimal number of bytes must be used to encode the length.
        let mut filled = match self.len {
            0..=125 => {
                bytes[1] = self.len as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = LEN_IS_16;
                bytes[2..4].copy_from_slice(&(self.len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = LEN_IS_64;
                bytes[2..10].copy_from_slice(&self.len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            bytes[1] |= MASK_BIT;
            bytes[filled..filled + 4].copy_from_slice(&key);
            filled += 4;
        }
        (bytes, filled)
    }
}

/// Writes an unfragmented frame to the end of `out`. A client gives a key that nobody can guess.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX);
    write_payload(out, false, opcode, payload, mask);
}

/// The same for a message whose payload was compressed.
pub(super) fn write_compressed(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    write_payload(out, true, opcode, payload, mask);
}

fn write_payload(out: &mut Vec<u8>, compressed: bool, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    Header { fin: true, compressed, opcode, mask, len: payload.len() as u64 }.write(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        mask::apply(&mut out[start..], key);
    }
}

/// Writes a close frame to the end of `out`. A reason longer than 123 bytes is cut.
pub fn write_close(out: &mut Vec<u8>, close: Option<(CloseCode, &str)>, mask: Option<[u8; 4]>) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let mut filled = 0;
    if let Some((code, reason)) = close {
        let reason = close::fitting(reason).as_bytes();
        filled = 2 + reason.len();
        payload[..2].copy_from_slice(&code.get().to_be_bytes());
        payload[2..filled].copy_from_slice(reason);
    }
    write_frame(out, Opcode::Close, &payload[..filled], mask);
}

/// Completes a frame that was composed in place: `buffer` is [`SERVER_HEADER_BYTES_MAX`] spare bytes and then the
/// payload. Puts the header of a server right before the payload and returns where it begins; what is before
/// that is not part of the frame.
///
/// ```
/// use tickyard::websocket::frame::{Opcode, SERVER_HEADER_BYTES_MAX, fill_server_header};
///
/// let mut buffer = vec![0; SERVER_HEADER_BYTES_MAX];
/// buffer.extend_from_slice(b"Hello");
/// let start = fill_server_header(&mut buffer, Opcode::Text);
/// assert_eq!(&buffer[start..], b"\x81\x05Hello");
/// ```
///
/// # Panics
///
/// If there is no room for the header.
pub fn fill_server_header(buffer: &mut [u8], opcode: Opcode) -> usize {
    fill_header(buffer, false, opcode)
}

/// The same for a message whose payload was compressed.
pub(super) fn fill_compressed_header(buffer: &mut [u8], opcode: Opcode) -> usize {
    fill_header(buffer, true, opcode)
}

fn fill_header(buffer: &mut [u8], compressed: bool, opcode: Opcode) -> usize {
    let (space, payload) = buffer.split_at_mut(SERVER_HEADER_BYTES_MAX);
    let (bytes, len) =
        Header { fin: true, compressed, opcode, mask: None, len: payload.len() as u64 }.encode();
    let start = SERVER_HEADER_BYTES_MAX - len;
    space[start..].copy_from_slice(&bytes[..len]);
    start
}

fn parse_first(byte: u8, deflate: bool) -> Result<(bool, bool, Opcode), FrameError> {
    let opcode = Opcode::from_bits(byte & OPCODE_BITS);
    let begins_message = matches!(opcode, Some(Opcode::Text | Opcode::Binary));
    // RFC 6455, 5.2: reserved bits are zero unless an extension gives them a meaning.
    // RFC 7692, 6.1: compression gives RSV1 one, on the first frame of a message and on no control frame.
    let known_bits = if deflate && begins_message { COMPRESSED_BIT } else { 0 };
    if byte & RESERVED_BITS & !known_bits != 0 {
        return Err(FrameError::ReservedBits);
    }
    // RFC 6455, 5.2: an unknown opcode fails the connection.
    let opcode = opcode.ok_or(FrameError::OpcodeUnknown)?;
    Ok((byte & FIN_BIT != 0, byte & COMPRESSED_BIT != 0, opcode))
}

fn check_control(fin: bool, len: u8) -> Result<(), FrameError> {
    // RFC 6455, 5.5: control frames are never fragmented and carry at most 125 bytes.
    if !fin {
        return Err(FrameError::ControlFragmented);
    }
    if usize::from(len) > CONTROL_BYTES_MAX {
        return Err(FrameError::ControlTooLong);
    }
    Ok(())
}

/// Reads the length, whose short form is `short`; returns what follows it.
fn parse_len(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    let (len, rest) = match short {
        LEN_IS_16 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), rest)
        }
        LEN_IS_64 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), rest)
        }
        _ => return Ok(Some((u64::from(short), rest))),
    };
    // RFC 6455, 5.2: the most significant bit of a 64-bit length is zero.
    if len > LEN_MAX {
        return Err(FrameError::LengthTooLong);
    }
    // RFC 6455, 5.2: the minimal number of bytes must be used to encode the length.
    if len <= CONTROL_BYTES_MAX as u64 || (short == LEN_IS_64 && len <= u64::from(u16::MAX)) {
        return Err(FrameError::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}

/// The longest header: two bytes, a 64-bit length and a key.
pub const HEADER_BYTES_MAX: usize = 14;
/// The longest header that a server writes: it has no key.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;
/// The longest payload of a control frame.
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN_BIT: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const COMPRESSED_BIT: u8 = 0x40;
const OPCODE_BITS: u8 = 0x0F;
const MASK_BIT: u8 = 0x80;
const LEN_BITS: u8 = 0x7F;
const LEN_IS_16: u8 = 126;
const LEN_IS_64: u8 = 127;
const LEN_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use Opcode::*;

    fn header(fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, len: u64) -> Header {
        Header { fin, compressed: false, opcode, mask, len }
    }

    /// Headers of all forms, with the bytes they have.
    fn examples() -> Vec<(Header, Vec<u8>)> {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        vec![
            (header(true, Text, None, 5), vec![0x81, 0x05]),
            (header(true, Text, Some(key), 5), vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]),
            (header(false, Text, None, 3), vec![0x01, 0x03]),
            (header(true, Continuation, None, 2), vec![0x80, 0x02]),
            (header(true, Ping, None, 125), vec![0x89, 0x7d]),
            (header(true, Pong, Some(key), 5), vec![0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d]),
            (header(true, Close, None, 0), vec![0x88, 0x00]),
            (header(true, Binary, None, 125), vec![0x82, 0x7d]),
            (header(true, Binary, None, 126), vec![0x82, 0x7e, 0x00, 0x7e]),
            (header(true, Binary, None, 256), vec![0x82, 0x7e, 0x01, 0x00]),
            (header(true, Binary, None, 65535), vec![0x82, 0x7e, 0xff, 0xff]),
            (header(true, Binary, None, 65536), vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
            (
                header(false, Binary, Some(key), u64::MAX >> 1),
                vec![0x02, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0x37, 0xfa, 0x21, 0x3d],
            ),
        ]
    }

    #[test]
    fn headers_are_read_and_written_alike() {
        for (header, bytes) in examples() {
            let mut written = Vec::new();
            header.write(&mut written);
            assert_eq!(written, bytes);

            let followed = [&bytes[..], b"payload"].concat();
            assert_eq!(Header::parse(&followed), Ok(Some((header, bytes.len()))));
        }
    }

    #[test]
    fn every_prefix_of_a_header_asks_for_more() {
        for (_, bytes) in examples() {
            for end in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..end]), Ok(None), "{:02x?}", &bytes[..end]);
            }
        }
    }

    #[test]
    fn each_first_byte_is_a_frame_or_a_reason() {
        for first in 0..=255_u8 {
            let expected = match (first & 0x70, first & 0x0f) {
                (1.., _) => Some(FrameError::ReservedBits),
                (_, 0x3..=0x7 | 0xb..=0xf) => Some(FrameError::OpcodeUnknown),
                (_, 0x8..) if first & 0x80 == 0 => Some(FrameError::ControlFragmented),
                _ => None,
            };
            assert_eq!(Header::parse(&[first, 0]).err(), expected, "{first:02x}");
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_refused() {
        for bytes in [
            &[0x82, 0x7e, 0x00, 0x00][..],
            &[0x82, 0x7e, 0x00, 0x7d],
            &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0x00, 0x7d],
            &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        ] {
            assert_eq!(Header::parse(bytes), Err(FrameError::LengthNotMinimal), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_length_of_64_bits_is_refused() {
        let bytes = [0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Header::parse(&bytes), Err(FrameError::LengthTooLong));
        assert_eq!(
            Header::parse(&[[0x82, 0x7f].as_slice(), &[0xff; 8]].concat()),
            Err(FrameError::LengthTooLong)
        );
    }

    #[test]
    fn a_control_frame_with_a_long_length_is_refused_before_the_length() {
        for second in [0x7e, 0x7f, 0xfe, 0xff] {
            assert_eq!(Header::parse(&[0x89, second]), Err(FrameError::ControlTooLong));
        }
    }

    #[test]
    fn frames_are_written_as_in_the_rfc() {
        // RFC 6455, 5.7.
        let mut out = Vec::new();
        write_frame(&mut out, Text, b"Hello", None);
        write_frame(&mut out, Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, b"\x81\x05Hello\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn closes_are_written_with_a_code_or_without() {
        let mut out = Vec::new();
        write_close(&mut out, None, None);
        write_close(&mut out, Some((CloseCode::AWAY, "bye")), None);
        write_close(&mut out, Some((CloseCode::NORMAL, "")), Some([1, 2, 3, 4]));
        assert_eq!(out, b"\x88\x00\x88\x05\x03\xe9bye\x88\x82\x01\x02\x03\x04\x02\xea");
    }

    #[test]
    fn a_reason_of_any_length_makes_a_valid_close() {
        let mut out = Vec::new();
        write_close(&mut out, Some((CloseCode::NORMAL, &"é".repeat(1000))), None);
        assert_eq!(out.len(), 2 + 124);
        assert_eq!(Header::parse(&out), Ok(Some((header(true, Close, None, 124), 2))));
    }

    #[test]
    fn a_frame_composed_in_place_equals_a_written_one() {
        for len in [0, 1, 125, 126, 127, 65535, 65536] {
            let payload = vec![7; len];
            let mut written = Vec::new();
            write_frame(&mut written, Binary, &payload, None);

            let mut composed = vec![0; SERVER_HEADER_BYTES_MAX];
            composed.extend_from_slice(&payload);
            let start = fill_server_header(&mut composed, Binary);
            assert_eq!(composed[start..], written, "{len}");
        }
    }
}
