//! RFC 6455, by section: given these bytes, exactly these events, however the network cuts them.
//!
//! [`expect`] feeds each input whole, in single bytes, with one cut and with two cuts at every place; what comes
//! out must not depend on it. `peer` puts tungstenite, which is not ours, on the other end; `autobahn` has the
//! cases of the Autobahn testsuite by their numbers.

#[path = "conformance/autobahn.rs"]
mod autobahn;
#[path = "conformance/peer.rs"]
mod peer;
#[path = "conformance/random.rs"]
mod random;

use tickyard::websocket::frame::{FrameError, Header, Opcode, write_close, write_frame};
use tickyard::websocket::{CloseCode, Event, Limits, ReadError, Role, WebSocket};

const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: 64 };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event that outlives the input, or the error that ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(ReadError),
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Heard::Text(text.to_owned()),
            Event::Binary(bytes) => Heard::Binary(bytes.to_owned()),
            Event::Ping(bytes) => Heard::Ping(bytes.to_owned()),
            Event::Pong(bytes) => Heard::Pong(bytes.to_owned()),
            Event::Close(close) => Heard::Close(close.map(|(code, reason)| (code.get(), reason.to_owned()))),
        }
    }
}

/// Feeds one piece and writes down all that comes of it.
fn feed(socket: &mut WebSocket, piece: &[u8], heard: &mut Vec<Heard>) {
    let mut received = piece.to_vec();
    let mut input = &mut received[..];
    loop {
        match socket.read(&mut input) {
            Ok(Some(event)) => heard.push(event.into()),
            Ok(None) => break,
            Err(error) => heard.push(Heard::Failed(error)),
        }
    }
    assert!(input.is_empty(), "whatever happens, all input is used");
}

fn hear(role: Role, limits: Limits, pieces: &[&[u8]]) -> Vec<Heard> {
    let mut socket = WebSocket::new(role, limits);
    let mut heard = Vec::new();
    for piece in pieces {
        feed(&mut socket, piece, &mut heard);
    }
    heard
}

/// Expects exactly these events from `bytes`, however they are cut.
#[track_caller]
fn expect_with(role: Role, limits: Limits, bytes: &[u8], expected: &[Heard]) {
    assert_eq!(hear(role, limits, &[bytes]), expected, "whole");
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(hear(role, limits, &singles), expected, "in single bytes");
    let cuts = cuts(bytes.len());
    for &first in &cuts {
        let (start, rest) = bytes.split_at(first);
        assert_eq!(hear(role, limits, &[start, rest]), expected, "cut at {first}");
        for &second in cuts.iter().filter(|second| **second > first) {
            let pieces = [start, &bytes[first..second], &bytes[second..]];
            assert_eq!(hear(role, limits, &pieces), expected, "cut at {first} and {second}");
        }
    }
}

#[track_caller]
fn expect(role: Role, bytes: &[u8], expected: &[Heard]) {
    expect_with(role, LIMITS, bytes, expected);
}

/// Every place to cut a short input at; of a long one those near its ends, where headers are, and a few between.
fn cuts(len: usize) -> Vec<usize> {
    let step = (len / 8).max(1);
    (0..=len).filter(|at| len < 150 || *at < 20 || len - at < 20 || at % step < 2).collect()
}

/// A frame from a client, so masked.
fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, opcode, payload, Some(KEY));
    out[0] &= if fin { 0xff } else { 0x7f };
    out
}

/// A frame from a server, so bare.
fn bare(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, opcode, payload, None);
    out[0] &= if fin { 0xff } else { 0x7f };
    out
}

fn text(text: &str) -> Heard {
    Heard::Text(text.to_owned())
}

fn binary(bytes: &[u8]) -> Heard {
    Heard::Binary(bytes.to_owned())
}

fn failed(error: FrameError) -> Heard {
    Heard::Failed(ReadError::Frame(error))
}

mod section_5_1_masking {
    use super::*;

    #[test]
    fn a_bare_frame_from_a_client_is_refused_and_nothing_after_it_is_heard() {
        let input = [
            masked(true, Opcode::Text, b"a"),
            bare(true, Opcode::Text, b"b"),
            masked(true, Opcode::Text, b"c"),
        ];
        expect(Role::Server, &input.concat(), &[text("a"), Heard::Failed(ReadError::Unmasked)]);
        expect(Role::Server, &bare(true, Opcode::Ping, b""), &[Heard::Failed(ReadError::Unmasked)]);
    }

    #[test]
    fn a_masked_frame_from_a_server_is_refused_and_nothing_after_it_is_heard() {
        let input = [
            bare(true, Opcode::Text, b"a"),
            masked(true, Opcode::Text, b"b"),
            bare(true, Opcode::Text, b"c"),
        ];
        expect(Role::Client, &input.concat(), &[text("a"), Heard::Failed(ReadError::Masked)]);
    }

    #[test]
    fn a_key_of_zeros_is_a_key() {
        expect(Role::Server, b"\x82\x83\0\0\0\0abc", &[binary(b"abc")]);
    }
}

mod section_5_2_base_framing {
    use super::*;

    #[test]
    fn each_reserved_bit_is_refused() {
        for bit in [0x40, 0x20, 0x10] {
            let mut input = [masked(true, Opcode::Binary, b"a"), masked(true, Opcode::Binary, b"b")].concat();
            let second = input.len() / 2;
            input[second] |= bit;
            expect(Role::Server, &input, &[binary(b"a"), failed(FrameError::ReservedBits)]);
        }
    }

    #[test]
    fn each_unknown_opcode_is_refused() {
        for opcode in (0x3..=0x7).chain(0xb..=0xf) {
            let input = [0x80 | opcode, 0x80, 1, 2, 3, 4];
            expect(Role::Server, &input, &[failed(FrameError::OpcodeUnknown)]);
        }
    }

    #[test]
    fn payloads_of_all_three_lengths_arrive() {
        for len in [0, 1, 2, 125, 126, 127, 128, 65535, 65536, 65537] {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            for (role, frame) in [(Role::Server, masked as fn(_, _, _) -> _), (Role::Client, bare)] {
                let input =
                    [frame(true, Opcode::Binary, &payload), frame(true, Opcode::Ping, b"after")].concat();
                let expected = [binary(&payload), Heard::Ping(b"after".to_vec())];
                if len < 1000 {
                    expect(role, &input, &expected);
                } else {
                    // Two cuts at every place would take minutes.
                    for cut in cuts(input.len()) {
                        let (start, rest) = input.split_at(cut);
                        assert_eq!(hear(role, LIMITS, &[start, rest]), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_length_in_too_many_bytes_is_refused() {
        for header in
            [&b"\x82\xfe\x00\x05"[..], b"\x82\xff\0\0\0\0\0\0\0\x05", b"\x82\xff\0\0\0\0\0\0\xff\xff"]
        {
            let input = [header, &KEY, b"12345"].concat();
            expect(Role::Server, &input, &[failed(FrameError::LengthNotMinimal)]);
        }
    }

    #[test]
    fn a_length_of_2_to_the_63_is_refused_from_its_header() {
        expect(Role::Server, b"\x82\xff\x80\0\0\0\0\0\0\0", &[failed(FrameError::LengthTooLong)]);
        expect(
            Role::Server,
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            &[failed(FrameError::LengthTooLong)],
        );
    }

    #[test]
    fn a_length_over_the_limit_is_refused_from_its_header() {
        for len in [LIMITS.message_bytes_max as u64 + 1, u64::from(u32::MAX) + 1, i64::MAX as u64] {
            let mut header = Vec::new();
            Header { fin: true, compressed: false, opcode: Opcode::Binary, mask: Some(KEY), len }
                .write(&mut header);
            expect(Role::Server, &header, &[Heard::Failed(ReadError::TooLong)]);
        }
    }
}

mod section_5_4_fragmentation {
    use super::*;

    #[test]
    fn fragments_become_one_message_with_control_frames_before_it() {
        let input = [
            masked(false, Opcode::Text, b"Hel"),
            masked(true, Opcode::Ping, b"1"),
            masked(false, Opcode::Continuation, b""),
            masked(true, Opcode::Pong, b"2"),
            masked(true, Opcode::Continuation, b"lo"),
            masked(true, Opcode::Binary, b"next"),
        ];
        let expected =
            [Heard::Ping(b"1".to_vec()), Heard::Pong(b"2".to_vec()), text("Hello"), binary(b"next")];
        expect(Role::Server, &input.concat(), &expected);
    }

    #[test]
    fn fragments_may_all_be_empty() {
        let input = [bare(false, Opcode::Binary, b""), bare(true, Opcode::Continuation, b"")];
        expect(Role::Client, &input.concat(), &[binary(b"")]);
        let input = [bare(false, Opcode::Text, b""), bare(true, Opcode::Continuation, b"")];
        expect(Role::Client, &input.concat(), &[text("")]);
    }

    #[test]
    fn a_continuation_of_nothing_is_refused() {
        for fin in [false, true] {
            let stray = masked(fin, Opcode::Continuation, b"x");
            expect(Role::Server, &stray, &[Heard::Failed(ReadError::ContinuationStray)]);
            let after_a_message = [masked(true, Opcode::Text, b"a"), stray].concat();
            expect(Role::Server, &after_a_message, &[text("a"), Heard::Failed(ReadError::ContinuationStray)]);
        }
    }

    #[test]
    fn a_continuation_after_the_last_is_refused() {
        let input = [
            masked(false, Opcode::Text, b"a"),
            masked(true, Opcode::Continuation, b"b"),
            masked(true, Opcode::Continuation, b"c"),
        ];
        expect(Role::Server, &input.concat(), &[text("ab"), Heard::Failed(ReadError::ContinuationStray)]);
    }

    #[test]
    fn a_message_within_a_message_is_refused() {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let input = [masked(false, Opcode::Text, b"a"), masked(true, opcode, b"b")].concat();
            expect(Role::Server, &input, &[Heard::Failed(ReadError::DataInterleaved)]);
        }
    }

    #[test]
    fn as_many_fragments_as_allowed_pass_and_one_more_is_refused() {
        let limits = Limits { fragments_max: 3, ..LIMITS };
        let message = |continuations| {
            let mut frames = vec![masked(false, Opcode::Binary, b"0")];
            frames.extend((0..continuations).map(|_| masked(false, Opcode::Continuation, b"1")));
            *frames.last_mut().unwrap() = masked(true, Opcode::Continuation, b"2");
            frames.concat()
        };
        let passing = [message(2), message(2)].concat();
        expect_with(Role::Server, limits, &passing, &[binary(b"012"), binary(b"012")]);
        expect_with(Role::Server, limits, &message(3), &[Heard::Failed(ReadError::TooFragmented)]);
    }

    #[test]
    fn a_message_may_fill_its_limit_over_its_fragments_but_not_more() {
        let limits = Limits { message_bytes_max: 8, ..LIMITS };
        let message =
            |end| [bare(false, Opcode::Text, b"12345"), bare(true, Opcode::Continuation, end)].concat();
        expect_with(Role::Client, limits, &message(b"678"), &[text("12345678")]);
        expect_with(Role::Client, limits, &message(b"6789"), &[Heard::Failed(ReadError::TooLong)]);
        expect_with(Role::Client, limits, &bare(true, Opcode::Binary, b"12345678"), &[binary(b"12345678")]);
        expect_with(
            Role::Client,
            limits,
            &bare(true, Opcode::Binary, b"123456789"),
            &[Heard::Failed(ReadError::TooLong)],
        );
    }
}

mod section_5_5_control_frames {
    use super::*;

    #[test]
    fn control_frames_carry_up_to_125_bytes() {
        let payload = [0x55; 125];
        expect(Role::Server, &masked(true, Opcode::Ping, &payload), &[Heard::Ping(payload.to_vec())]);
        expect(Role::Client, &bare(true, Opcode::Pong, &payload), &[Heard::Pong(payload.to_vec())]);
        expect(Role::Client, &bare(true, Opcode::Ping, b""), &[Heard::Ping(vec![])]);
    }

    #[test]
    fn a_longer_one_is_refused() {
        for opcode in [0x88, 0x89, 0x8a] {
            let input = [&[opcode, 0xfe, 0x00, 0x7e], &KEY[..], &[0; 126]].concat();
            expect(Role::Server, &input, &[failed(FrameError::ControlTooLong)]);
        }
    }

    #[test]
    fn a_fragmented_one_is_refused() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
            expect(Role::Server, &masked(false, opcode, b""), &[failed(FrameError::ControlFragmented)]);
        }
    }

    #[test]
    fn the_limits_of_messages_are_not_theirs() {
        let limits = Limits { message_bytes_max: 2, fragments_max: 1 };
        let input = [bare(false, Opcode::Text, b"ab"), bare(true, Opcode::Ping, b"12345")].concat();
        expect_with(Role::Client, limits, &input, &[Heard::Ping(b"12345".to_vec())]);
    }
}

mod section_5_5_1_and_7_4_close {
    use super::*;

    fn close(payload: &[u8]) -> Vec<u8> {
        // A peer that goes on after its close, which must not be heard.
        [masked(true, Opcode::Close, payload), masked(true, Opcode::Text, b"and another thing")].concat()
    }

    #[test]
    fn a_close_is_heard_and_nothing_after_it() {
        expect(Role::Server, &close(b""), &[Heard::Close(None)]);
        expect(Role::Server, &close(b"\x03\xe8bye"), &[Heard::Close(Some((1000, "bye".to_owned())))]);
        let longest = [b"\x0f\xa0", "é".repeat(61).as_bytes(), b"!"].concat();
        expect(Role::Server, &close(&longest), &[Heard::Close(Some((4000, "é".repeat(61) + "!")))]);
    }

    #[test]
    fn a_close_amid_fragments_ends_the_message() {
        let input = [masked(false, Opcode::Text, b"half a"), close(b"\x03\xe9")].concat();
        expect(Role::Server, &input, &[Heard::Close(Some((1001, String::new())))]);
    }

    #[test]
    fn a_body_of_one_byte_is_refused() {
        expect(Role::Server, &close(b"\x03"), &[Heard::Failed(ReadError::CloseTruncated)]);
    }

    #[test]
    fn each_code_is_heard_or_refused() {
        for code in [
            1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
            4999,
        ] {
            expect(Role::Server, &close(&code.to_be_bytes()), &[Heard::Close(Some((code, String::new())))]);
        }
        for code in [0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            expect(Role::Server, &close(&code.to_be_bytes()), &[Heard::Failed(ReadError::CloseCode)]);
        }
    }

    #[test]
    fn a_reason_that_is_not_utf_8_is_refused() {
        for reason in [&b"\x80"[..], b"ok\xc3", b"\xed\xa0\x80"] {
            let input = close(&[b"\x03\xe8", reason].concat());
            expect(Role::Server, &input, &[Heard::Failed(ReadError::CloseReason)]);
        }
    }

    #[test]
    fn errors_close_with_the_code_of_their_kind() {
        for (error, code) in [
            (ReadError::Frame(FrameError::ReservedBits), CloseCode::PROTOCOL),
            (ReadError::Unmasked, CloseCode::PROTOCOL),
            (ReadError::CloseCode, CloseCode::PROTOCOL),
            (ReadError::CloseReason, CloseCode::INVALID),
            (ReadError::Utf8, CloseCode::INVALID),
            (ReadError::TooFragmented, CloseCode::POLICY),
            (ReadError::TooLong, CloseCode::TOO_BIG),
        ] {
            assert_eq!(error.close_code(), code);
        }
    }

    #[test]
    fn an_error_says_its_reason_to_the_peer() {
        let (mut out, error) = (Vec::new(), ReadError::Frame(FrameError::LengthNotMinimal));
        write_close(&mut out, Some((error.close_code(), &error.to_string())), None);
        let reason = "a length in more bytes than it needs".to_owned();
        expect(Role::Client, &out, &[Heard::Close(Some((1002, reason)))]);
    }

    #[test]
    fn what_one_side_writes_the_other_hears() {
        for (role, mask) in [(Role::Server, Some(KEY)), (Role::Client, None)] {
            let mut out = Vec::new();
            write_close(&mut out, Some((CloseCode::TRY_LATER, "full")), mask);
            expect(role, &out, &[Heard::Close(Some((1013, "full".to_owned())))]);
        }
    }
}

mod section_5_7_examples {
    use super::*;

    #[test]
    fn the_examples_are_heard() {
        expect(Role::Client, b"\x81\x05\x48\x65\x6c\x6c\x6f", &[text("Hello")]);
        expect(Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[text("Hello")]);
        expect(Role::Client, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", &[text("Hello")]);
        expect(Role::Client, b"\x89\x05\x48\x65\x6c\x6c\x6f", &[Heard::Ping(b"Hello".to_vec())]);
        expect(
            Role::Server,
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            &[Heard::Pong(b"Hello".to_vec())],
        );
        let medium = [b"\x82\x7e\x01\x00", &[0xaa; 256][..]].concat();
        expect(Role::Client, &medium, &[binary(&[0xaa; 256])]);
        let long = [b"\x82\x7f\0\0\0\0\0\x01\0\0", &[0xbb; 65536][..]].concat();
        assert_eq!(hear(Role::Client, LIMITS, &[&long]), [binary(&[0xbb; 65536])]);
    }
}

mod section_8_1_text {
    use super::*;

    /// Characters of all lengths, and the last before each border.
    const VALID: &str = "κόσμε \u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}";

    /// Bytes that no text has, each followed by what might hide it.
    const INVALID: [&[u8]; 9] = [
        b"\x80",
        b"\xc0\xaf",
        b"\xc3(",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf0\x80\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xff",
    ];

    #[test]
    fn text_is_heard_however_its_characters_are_cut() {
        expect(Role::Server, &masked(true, Opcode::Text, VALID.as_bytes()), &[text(VALID)]);
        for cut in 0..VALID.len() {
            let (start, end) = VALID.as_bytes().split_at(cut);
            let input =
                [masked(false, Opcode::Text, start), masked(true, Opcode::Continuation, end)].concat();
            expect(Role::Server, &input, &[text(VALID)]);
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused_whole_and_in_fragments() {
        for invalid in INVALID {
            let payload = [b"ok ", invalid, b" ok"].concat();
            expect(Role::Server, &masked(true, Opcode::Text, &payload), &[Heard::Failed(ReadError::Utf8)]);
            for cut in 0..payload.len() {
                let (start, end) = payload.split_at(cut);
                let input =
                    [masked(false, Opcode::Text, start), masked(true, Opcode::Continuation, end)].concat();
                expect(Role::Server, &input, &[Heard::Failed(ReadError::Utf8)]);
            }
        }
    }

    #[test]
    fn text_that_ends_within_a_character_is_refused() {
        for end in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98"] {
            expect(Role::Client, &bare(true, Opcode::Text, end), &[Heard::Failed(ReadError::Utf8)]);
            let input = [bare(false, Opcode::Text, b"ok"), bare(true, Opcode::Continuation, end)].concat();
            expect(Role::Client, &input, &[Heard::Failed(ReadError::Utf8)]);
        }
    }

    #[test]
    fn the_first_wrong_byte_of_a_cut_off_frame_is_refused_at_once() {
        for (start, wrong) in
            [(&b"ok"[..], 0xff), (b"\xc3", b'('), (b"\xed", 0xa0), (b"\xf4", 0x90), (b"\xe2\x82", 0xe2)]
        {
            let frame = bare(true, Opcode::Text, &[start, &[wrong], &[b'x'; 50]].concat());
            let (before, rest) = frame.split_at(2 + start.len());
            assert_eq!(hear(Role::Client, LIMITS, &[before]), []);
            let expected = [Heard::Failed(ReadError::Utf8)];
            assert_eq!(hear(Role::Client, LIMITS, &[before, &rest[..1]]), expected, "{start:02x?}");
        }
    }

    #[test]
    fn binary_is_not_looked_at() {
        for bytes in INVALID {
            expect(Role::Server, &masked(true, Opcode::Binary, bytes), &[binary(bytes)]);
        }
    }
}

mod section_10_4_limits {
    use super::*;

    fn socket(role: Role) -> WebSocket {
        WebSocket::new(role, LIMITS)
    }

    fn feed_quietly(socket: &mut WebSocket, bytes: &[u8]) {
        let mut heard = Vec::new();
        feed(socket, bytes, &mut heard);
        assert_eq!(heard, []);
    }

    #[test]
    fn memory_follows_the_bytes_received_and_not_those_announced() {
        let mut socket = socket(Role::Server);
        assert_eq!(socket.held_bytes(), 0);
        let frame = masked(true, Opcode::Binary, &vec![1; LIMITS.message_bytes_max]);
        let (header, mut payload) = frame.split_at(14);
        feed_quietly(&mut socket, header);
        assert_eq!(socket.held_bytes(), 0, "a header alone takes nothing");
        let mut received = 0;
        for len in [10, 100, 1000, 10_000, 100_000] {
            let (piece, rest) = payload.split_at(len);
            feed_quietly(&mut socket, piece);
            (received, payload) = (received + len, rest);
            assert!(socket.held_bytes() <= 2 * received, "{} for {received}", socket.held_bytes());
        }
    }

    #[test]
    fn whole_messages_take_no_memory() {
        let mut socket = socket(Role::Server);
        let mut heard = Vec::new();
        feed(&mut socket, &masked(true, Opcode::Binary, &[1; 100_000]), &mut heard);
        feed(&mut socket, &masked(true, Opcode::Ping, &[1; 100]), &mut heard);
        assert_eq!((heard.len(), socket.held_bytes()), (2, 0));
    }

    #[test]
    fn the_memory_of_a_big_message_is_given_back_when_it_is_heard() {
        let mut socket = socket(Role::Server);
        let frame = masked(true, Opcode::Binary, &[1; 100_000]);
        let mut heard = Vec::new();
        feed(&mut socket, &frame[..90_000], &mut heard);
        assert!(socket.held_bytes() >= 80_000);
        feed(&mut socket, &frame[90_000..], &mut heard);
        assert_eq!(heard.len(), 1);
        assert!(socket.held_bytes() <= 4096, "{}", socket.held_bytes());
    }

    #[test]
    fn the_memory_of_a_broken_message_is_given_back() {
        let mut socket = socket(Role::Server);
        feed_quietly(&mut socket, &masked(false, Opcode::Text, &[b'x'; 10_000]));
        feed(&mut socket, b"\xff\xff", &mut Vec::new());
        assert!(socket.is_ended());
        assert_eq!(socket.held_bytes(), 0);
    }

    #[test]
    fn tiny_fragments_take_one_buffer() {
        let limits = Limits { fragments_max: 200_000, ..LIMITS };
        let mut socket = WebSocket::new(Role::Server, limits);
        feed_quietly(&mut socket, &masked(false, Opcode::Text, b"x"));
        feed_quietly(&mut socket, &masked(false, Opcode::Continuation, b"x").repeat(130_000));
        assert!(socket.held_bytes() <= 300_000, "{}", socket.held_bytes());
    }
}
