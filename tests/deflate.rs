//! RFC 7692 from outside: what one side writes, the other reads, however it is fragmented and cut, within the limits of
//! memory. What the bytes mean is tried beside the code, on the RFC's own examples; here it is whole connections.
#![cfg(feature = "deflate")]

use proptest::prelude::*;
use tickyard::http::ResponseHead;
use tickyard::websocket::deflate::{Agreement, Offer, SharedWriter, Writer};
use tickyard::websocket::frame::{FrameError, Header, Opcode, write_frame};
use tickyard::websocket::{CloseCode, Event, Limits, ReadError, Role, WebSocket, mask};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: Limits = Limits { message_bytes_max: 16 * 1024, fragments_max: 64 };
const FRESH: &str = "; server_no_context_takeover; client_no_context_takeover";
const TAKEOVER: &str = "";

/// What was agreed on when a server answers with these parameters.
fn agreement(params: &str) -> Agreement {
    let response = format!("HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: permessage-deflate{params}\r\n\r\n");
    let (head, _) = ResponseHead::parse(response.as_bytes()).unwrap().unwrap();
    let offer = Offer { client_max_window_bits: true, ..Offer::default() };
    offer.check(&head.headers).unwrap().unwrap()
}

fn server(params: &str) -> WebSocket {
    WebSocket::new(Role::Server, LIMITS).with_deflate(Some(agreement(params)))
}

fn client_writer(params: &str) -> Writer {
    Writer::new(Some(agreement(params)), Role::Client)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Failed(ReadError),
}

/// Feeds pieces and writes down all that comes of them.
fn hear(socket: &mut WebSocket, pieces: &[&[u8]]) -> Vec<Heard> {
    let mut heard = Vec::new();
    for piece in pieces {
        let mut received = piece.to_vec();
        let mut input = &mut received[..];
        loop {
            heard.push(match socket.read(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => Heard::Message(text.as_bytes().to_vec()),
                Ok(Some(Event::Binary(bytes))) => Heard::Message(bytes.to_vec()),
                Ok(Some(Event::Ping(bytes))) => Heard::Ping(bytes.to_vec()),
                Ok(Some(other)) => panic!("{other:?}"),
                Err(error) => Heard::Failed(error),
            });
        }
        assert!(input.is_empty(), "whatever happens, all input is used");
    }
    heard
}

/// Feeds what makes one event.
fn hear_one(socket: &mut WebSocket, bytes: &[u8]) -> Heard {
    let mut heard = hear(socket, &[bytes]);
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard.remove(0)
}

/// A frame from a client.
fn frame(fin: bool, compressed: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Header { fin, compressed, opcode, mask: Some(KEY), len: payload.len() as u64 }.write(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], KEY);
    out
}

/// The payload of a message that a client compressed; it must be worth it.
fn compressed(writer: &mut Writer, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    writer.write(&mut out, Opcode::Binary, message, None);
    let (header, len) = Header::parse_extended(&out, true).unwrap().unwrap();
    assert!(header.compressed);
    out.split_off(len)
}

/// Something that compresses, in letters.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b'a' + (at * at / 7 % 13) as u8).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn a_compressed_message_arrives_however_it_is_fragmented_and_cut() {
    for params in [FRESH, TAKEOVER] {
        let messages = [text(90), [text(90), b"and more".to_vec()].concat()];
        let mut writer = client_writer(params);
        let payloads = messages.clone().map(|message| compressed(&mut writer, &message));
        for split in 0..=payloads[1].len() {
            let (start, end) = payloads[1].split_at(split);
            let bytes = [
                frame(true, true, Opcode::Text, &payloads[0]),
                frame(false, true, Opcode::Binary, start),
                frame(true, false, Opcode::Ping, b"between"),
                frame(false, false, Opcode::Continuation, b""),
                frame(true, false, Opcode::Continuation, end),
                frame(true, false, Opcode::Binary, b"as it is"),
            ]
            .concat();
            let [first, second] = messages.clone().map(Heard::Message);
            let expected =
                [first, Heard::Ping(b"between".to_vec()), second, Heard::Message(b"as it is".to_vec())];
            for cut in 0..bytes.len() {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(hear(&mut server(params), &[first, second]), expected, "{split}, {cut}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(hear(&mut server(params), &singles), expected, "{split}, in single bytes");
        }
    }
}

#[test]
fn the_bit_stands_on_the_first_frame_of_a_message_and_nowhere_else() {
    let reserved = [Heard::Failed(ReadError::Frame(FrameError::ReservedBits))];
    for opcode in [Opcode::Continuation, Opcode::Ping, Opcode::Pong, Opcode::Close] {
        assert_eq!(hear(&mut server(FRESH), &[&frame(true, true, opcode, b"")]), reserved, "{opcode:?}");
    }
    let fragments =
        [frame(false, true, Opcode::Text, b"\x00"), frame(true, true, Opcode::Continuation, b"")].concat();
    assert_eq!(hear(&mut server(FRESH), &[&fragments]), reserved);
    for bits in [0x20, 0x10, 0x60, 0x70] {
        let mut other = frame(true, false, Opcode::Text, b"\x00");
        other[0] |= bits;
        assert_eq!(hear(&mut server(FRESH), &[&other]), reserved, "{bits:x}");
    }
    // At its first byte, and where nothing was agreed on.
    let mut plain = WebSocket::new(Role::Server, LIMITS);
    assert_eq!(hear(&mut plain, &[&frame(true, true, Opcode::Text, b"\x00")]), reserved);
    assert_eq!(ReadError::Frame(FrameError::ReservedBits).close_code(), CloseCode::PROTOCOL);
}

#[test]
fn a_message_that_inflates_to_the_limit_passes_and_one_byte_more_does_not() {
    for (len, passes) in [(LIMITS.message_bytes_max, true), (LIMITS.message_bytes_max + 1, false)] {
        for message in [vec![0; len], text(len)] {
            let payload = compressed(&mut client_writer(FRESH), &message);
            let expected = match passes {
                true => Heard::Message(message.clone()),
                false => Heard::Failed(ReadError::TooLong),
            };
            let (start, end) = payload.split_at(payload.len() / 2);
            let fragments =
                [frame(false, true, Opcode::Binary, start), frame(true, false, Opcode::Continuation, end)];
            let whole = frame(true, true, Opcode::Binary, &payload);
            assert_eq!(hear_one(&mut server(FRESH), &whole), expected);
            assert_eq!(hear_one(&mut server(FRESH), &fragments.concat()), expected);
        }
    }
    assert_eq!(ReadError::TooLong.close_code(), CloseCode::TOO_BIG);
}

#[test]
fn a_message_at_the_limit_passes_however_little_it_compresses_and_one_byte_more_does_not() {
    // Over 65,535 bytes stored blocks are several.
    let limits = [LIMITS, Limits { message_bytes_max: 300_000, ..LIMITS }];
    for (limits, params) in limits.into_iter().flat_map(|limits| [FRESH, TAKEOVER].map(|it| (limits, it))) {
        let max = limits.message_bytes_max;
        let fits = vec![0xf7; max];
        let spills = vec![0xf7; max + 1];
        for blocks in [(|it| stored(it, 65_535)) as Blocks, |it| stored(it, 127), fixed] {
            let mut socket = WebSocket::new(Role::Server, limits).with_deflate(Some(agreement(params)));
            let end = |payload: Vec<u8>| [&payload[..], &[0]].concat();
            let whole = end(blocks(&fits));
            assert!(whole.len() > max, "it does not compress");
            let halves = [whole[..max].to_vec(), whole[max..].to_vec()];
            for fragments in [vec![whole], halves.into(), flushed(&fits, blocks, limits.fragments_max)] {
                assert!(hear(&mut socket, &[&fragmented(&fragments)]) == [Heard::Message(fits.clone())]);
            }
            for fragments in [vec![end(blocks(&spills))], flushed(&spills, blocks, limits.fragments_max)] {
                let mut socket = socket.clone();
                let heard = hear(&mut socket, &[&fragmented(&fragments)]);
                assert!(heard == [Heard::Failed(ReadError::TooLong)]);
            }
        }
    }
}

/// A message, or a part of it, as blocks.
type Blocks = fn(&[u8]) -> Vec<u8>;

/// As fragments that are compressed each by itself and end with an empty block, of which the last four bytes are left out.
fn flushed(message: &[u8], blocks: Blocks, fragments: u32) -> Vec<Vec<u8>> {
    let parts = message.chunks(message.len().div_ceil(fragments as usize));
    let mut parts: Vec<_> = parts.map(|part| [&blocks(part)[..], &[0, 0, 0, 0xff, 0xff]].concat()).collect();
    if let Some(last) = parts.last_mut() {
        last.truncate(last.len() - 4);
    }
    parts
}

/// RFC 1951, 3.2.4: blocks of so many bytes at most that are no shorter than what they say.
fn stored(message: &[u8], block_bytes: usize) -> Vec<u8> {
    let blocks = message.chunks(block_bytes).map(|block| {
        let len = block.len() as u16;
        [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), block].concat()
    });
    blocks.collect::<Vec<_>>().concat()
}

/// RFC 1951, 3.2.6: bytes from 144 on in the fixed code, in blocks of 255 as zlib's smallest buffers make them, and an empty stored
/// block that ends with its byte.
fn fixed(message: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for block in message.chunks(255) {
        // Not the final block, of type 1, and at the end 7 zeros.
        bits.extend([false, true, false]);
        for byte in block {
            let code = 0b1_1001_0000 + u16::from(byte - 144);
            bits.extend((0..9).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.extend([false; 7]);
    }
    bits.extend([false; 3]);
    let bytes =
        bits.chunks(8).map(|bits| bits.iter().rev().fold(0_u8, |byte, &bit| byte << 1 | u8::from(bit)));
    bytes.chain([0, 0, 0xff, 0xff]).collect()
}

/// A compressed binary message whose payload comes in these parts.
fn fragmented(parts: &[Vec<u8>]) -> Vec<u8> {
    let frames = parts.iter().enumerate().map(|(at, part)| {
        let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
        frame(at + 1 == parts.len(), at == 0, opcode, part)
    });
    frames.collect::<Vec<_>>().concat()
}

#[test]
fn a_bomb_takes_no_more_memory_than_the_largest_message() {
    let bomb = frame(true, true, Opcode::Binary, &compressed(&mut client_writer(FRESH), &[0; 1024 * 1024]));
    assert!(bomb.len() < 11 * 1024, "it is small: {}", bomb.len());
    let mut socket = None;
    let mut received = bomb;
    let memory = allocation_counter::measure(|| {
        let socket = socket.insert(server(FRESH));
        let mut input = &mut received[..];
        assert_eq!(socket.read(&mut input), Err(ReadError::TooLong));
        assert_eq!(socket.read(&mut input), Ok(None));
    });
    assert!(memory.bytes_max <= (LIMITS.message_bytes_max * 3 / 2 + INFLATER_BYTES) as u64, "{memory:?}");
    assert_eq!((memory.bytes_current, socket.unwrap().held_bytes()), (0, 0), "all of it is given back");
}

#[test]
fn between_two_messages_nothing_is_kept_but_the_windows_that_were_agreed_on() {
    let message = text(10_000);
    for (params, kept) in [(FRESH, 0), ("; client_max_window_bits=9", 512), (TAKEOVER, 10_000)] {
        let mut writer = client_writer(params);
        let mut socket = server(params);
        let payload = compressed(&mut writer, &message);
        for part in
            [&frame(true, true, Opcode::Binary, &payload)[..], &frame(true, false, Opcode::Ping, b"x")]
        {
            hear(&mut socket, &[part]);
        }
        assert_eq!((socket.held_bytes(), writer.held_bytes()), (kept, kept), "{params}");
        // The bytes that arrive later take the place of the oldest ones.
        for _ in 0..10 {
            let payload = compressed(&mut writer, &message);
            hear(&mut socket, &[&frame(true, true, Opcode::Binary, &payload)]);
        }
        hear(&mut socket, &[&frame(true, false, Opcode::Ping, b"x")]);
        let full = if params == TAKEOVER { 32 * 1024 } else { kept };
        assert_eq!((socket.held_bytes(), writer.held_bytes()), (full, full), "{params}");
    }
}

#[test]
fn final_blocks_in_any_number_are_not_put_up_with() {
    // RFC 7692, 7.2.3.4: an empty final block, and another one behind it.
    let few = [[0x03, 0x00].repeat(7), vec![0x00]].concat();
    assert_eq!(hear(&mut server(FRESH), &[&frame(true, true, Opcode::Text, &few)]), [Heard::Message(vec![])]);
    let many = [[0x03, 0x00].repeat(8_000), vec![0x00]].concat();
    assert_eq!(
        hear(&mut server(FRESH), &[&frame(true, true, Opcode::Text, &many)]),
        [Heard::Failed(ReadError::TooFragmented)]
    );
}

#[test]
fn what_is_no_deflate_or_has_no_end_is_refused() {
    let message = text(300);
    let payload = compressed(&mut client_writer(FRESH), &message);
    for len in 1..payload.len() {
        let cut = frame(true, true, Opcode::Binary, &payload[..len]);
        assert_eq!(hear(&mut server(FRESH), &[&cut]), [Heard::Failed(ReadError::Deflate)], "{len}");
    }
    let broken = Heard::Failed(ReadError::Deflate);
    // The third: a stored block of 20 bytes, of which one is there.
    for wrong in [
        &b"\x07"[..],
        b"\xff\xff\xff\xff",
        b"\x00\x14\x00\xeb\xff\x61",
        b"\x00\x01\x00\xff\xff\x61\x00",
        b"\x02\x13\x00\x00",
    ] {
        assert_eq!(hear_one(&mut server(FRESH), &frame(true, true, Opcode::Text, wrong)), broken);
    }
    assert_eq!(ReadError::Deflate.close_code(), CloseCode::INVALID);
}

#[test]
fn text_has_to_be_text_once_it_is_inflated() {
    let block = |bytes: &[u8]| {
        let len = bytes.len() as u16;
        [&[0x00][..], &len.to_le_bytes(), &(!len).to_le_bytes(), bytes, &[0x00]].concat()
    };
    for (opcode, bytes, expected) in [
        (Opcode::Text, &b"\xce\xba"[..], Heard::Message(b"\xce\xba".to_vec())),
        (Opcode::Text, b"\xce", Heard::Failed(ReadError::Utf8)),
        (Opcode::Text, b"a\xff", Heard::Failed(ReadError::Utf8)),
        (Opcode::Binary, b"a\xff", Heard::Message(b"a\xff".to_vec())),
    ] {
        let payload = block(bytes);
        let (start, end) = payload.split_at(6);
        let fragments =
            [frame(false, true, opcode, start), frame(true, false, Opcode::Continuation, end)].concat();
        assert_eq!(hear_one(&mut server(FRESH), &frame(true, true, opcode, &payload)), expected);
        assert_eq!(hear_one(&mut server(FRESH), &fragments), expected);
    }
}

#[test]
fn what_is_not_worth_it_is_written_as_it_is() {
    for message in [text(63), noise(5_000), text(1024 * 1024 + 1)] {
        let (mut written, mut plain) = (Vec::new(), Vec::new());
        client_writer(TAKEOVER).write(&mut written, Opcode::Binary, &message, Some(KEY));
        write_frame(&mut plain, Opcode::Binary, &message, Some(KEY));
        assert!(written == plain, "{}", message.len());
    }
    // The other side does not expect it either: what was not compressed is in nobody's window.
    let (mut writer, mut socket) = (client_writer(TAKEOVER), server(TAKEOVER));
    for message in [text(200), noise(200), text(200), [noise(200), text(200)].concat()] {
        let mut out = Vec::new();
        writer.write(&mut out, Opcode::Binary, &message, Some(KEY));
        assert_eq!(hear(&mut socket, &[&out]), [Heard::Message(message)]);
    }
}

#[test]
fn no_reference_reaches_beyond_the_window_that_was_agreed_on() {
    // RFC 7692, 7.1.2.1 and 7.1.2.2. Noise that comes twice, so far apart that only the next larger window sees it.
    for bits in 9..15_u8 {
        let once = noise((1 << bits) + 1);
        let twice = once.repeat(2);
        let compresses = |role: Role, bits: u8, messages: &[&[u8]]| {
            let side = if role == Role::Client { "client" } else { "server" };
            let mut writer = Writer::new(Some(agreement(&format!("; {side}_max_window_bits={bits}"))), role);
            let mut out = Vec::new();
            for message in messages {
                out.clear();
                writer.write(&mut out, Opcode::Binary, message, None);
            }
            Header::parse_extended(&out, true).unwrap().unwrap().0.compressed
        };
        for role in [Role::Client, Role::Server] {
            assert!(!compresses(role, bits, &[&twice]), "{bits} within a message");
            assert!(compresses(role, bits + 1, &[&twice]), "{bits} within a message");
            // The first one has to compress, or it is in no window.
            let first = [&once[..], &text(once.len())].concat();
            assert!(!compresses(role, bits, &[&first, &once]), "{bits} over two");
        }
        let first = [&noise(1000)[..], &text(2000)].concat();
        assert!(compresses(Role::Client, 13, &[&first, &noise(1000)]), "over two, within the window");
    }
}

#[test]
fn one_writer_serves_clients_with_any_window() {
    let mut shared = SharedWriter::default();
    for bits in 8..=15 {
        let params = format!("; server_no_context_takeover; server_max_window_bits={bits}");
        let mut client = WebSocket::new(Role::Client, LIMITS).with_deflate(Some(agreement(&params)));
        for len in [255, 256, 257, 512, 5_000, 16_000] {
            let message = text(len);
            let compressed = shared.write(bits, &message).map(<[u8]>::to_vec);
            assert_eq!(compressed.is_some(), len >= 256 && len <= 1 << bits, "{bits}, {len}");
            if let Some(bytes) = compressed {
                assert!(bytes.len() < len);
                assert_eq!(hear(&mut client, &[&bytes]), [Heard::Message(message)]);
            }
        }
        assert_eq!(shared.write(bits, &noise(1 << bits)), None, "noise does not compress");
    }
}

#[test]
fn one_writer_allocates_nothing_once_it_has_begun() {
    let mut shared = SharedWriter::default();
    let message = text(10_000);
    shared.write(15, &message).unwrap();
    let memory = allocation_counter::measure(|| {
        for len in [300, 1_000, 10_000] {
            shared.write(15, &message[..len]).unwrap();
        }
    });
    assert_eq!(memory.count_total, 0);
}

/// Parameters of each kind, in all combinations.
fn any_params() -> impl Strategy<Value = String> {
    let flag = |text: &'static str| prop_oneof![Just(String::new()), Just(text.to_owned())];
    let bits = |text: &'static str| {
        prop_oneof![Just(String::new()), (8..=15).prop_map(move |bits| format!("; {text}={bits}"))]
    };
    (
        flag("; server_no_context_takeover"),
        flag("; client_no_context_takeover"),
        bits("server_max_window_bits"),
        bits("client_max_window_bits"),
    )
        .prop_map(|(a, b, c, d)| a + &b + &c + &d)
}

/// Messages that repeat themselves and each other, and some that do not.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(0..40_usize, 0..200)
        .prop_map(|words| words.iter().flat_map(|at| text(500)[at * 7..at * 9].to_vec()).collect());
    prop_oneof![4 => words, 1 => prop::collection::vec(any::<u8>(), 0..3_000), 1 => (0..16_000_usize).prop_map(noise)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_whatever_was_agreed_on(
        params in any_params(),
        messages in prop::collection::vec(any_message(), 1..12),
        thawed_at in 0..12_usize,
    ) {
        let agreement = agreement(&params);
        for (role, mask) in [(Role::Client, Some(KEY)), (Role::Server, None)] {
            let reader = if role == Role::Client { Role::Server } else { Role::Client };
            let mut writer = Writer::new(Some(agreement), role);
            let mut socket = WebSocket::new(reader, LIMITS).with_deflate(Some(agreement));
            for (at, message) in messages.iter().enumerate() {
                if at == thawed_at {
                    // Plain data: a copy goes on where the original was.
                    (writer, socket) = (writer.clone(), socket.clone());
                }
                let mut out = Vec::new();
                writer.write(&mut out, Opcode::Binary, message, mask);
                prop_assert!(hear(&mut socket, &[&out]) == [Heard::Message(message.clone())], "{}", params);
            }
        }
    }

    #[test]
    fn any_payload_is_a_message_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut socket = server(TAKEOVER);
        let heard = hear(&mut socket, &[&frame(true, true, Opcode::Binary, &payload)]);
        prop_assert!(matches!(
            &heard[..],
            [Heard::Message(_) | Heard::Failed(ReadError::Deflate | ReadError::TooLong)]
        ));
    }
}

/// What zlib needs to inflate anything: a window of 32 KiB, and its tables.
const INFLATER_BYTES: usize = 64 * 1024;
