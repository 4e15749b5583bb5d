//! Compression as a session has it: agreed on in the request, and within its limits afterwards.

use super::*;
use crate::websocket::deflate::payload_bytes_max;
use crate::websocket::frame::Header;

/// A peer that upgraded with an offer of compression, and the parameters of the answer; `None`: it was declined.
fn offered(deflate: Compression, path: &str, offer: &str) -> (Peer, Option<String>) {
    let mut peer = Peer::new();
    peer.site.deflate = deflate;
    let field = format!("Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n");
    assert_eq!(peer.send(upgrade(path, &field).as_bytes()), 0);
    let answer = String::from_utf8(peer.answer()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let field = "\r\nSec-WebSocket-Extensions: permessage-deflate";
    let params =
        answer.split_once(field).map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default().to_owned());
    (peer, params)
}

/// A compressed message in one frame.
fn compressed(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(opcode, payload);
    bytes[0] |= 0x40;
    bytes
}

/// A payload that says `message` without making it shorter.
fn stored(message: &[u8]) -> Vec<u8> {
    let len = message.len() as u16;
    [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), message, &[0]].concat()
}

/// The payload of a hello, out of its frame.
fn hello_message() -> Vec<u8> {
    let mut bytes = hello("arena", "Ada", 1);
    let (_, at) = Header::parse(&bytes).unwrap().unwrap();
    crate::websocket::mask::apply(&mut bytes[at..], MASK);
    bytes.split_off(at)
}

#[test]
fn an_offer_is_declined_unless_the_server_is_to_compress() {
    let (mut peer, params) = offered(Compression::Off, "/play", "");
    assert_eq!(params, None);
    peer.send(&compressed(Opcode::Binary, &stored(&hello_message())));
    assert_eq!(peer.closed(), (1002, CloseReason::ProtocolError));
    for deflate in [Compression::On, Compression::State] {
        let mut silent = Peer::new();
        silent.site.deflate = deflate;
        silent.send(upgrade("/play", "").as_bytes());
        let answer = String::from_utf8(silent.answer()).unwrap();
        assert!(!answer.contains("Extensions"), "who offers nothing gets nothing: {answer}");
        assert_eq!(offered(deflate, "/echo", "").1.as_deref(), Some(""));
        assert_eq!(
            offered(deflate, "/echo", "; server_max_window_bits=10").1.as_deref(),
            Some("; server_max_window_bits=10")
        );
        assert_eq!(
            offered(deflate, "/play", "; client_max_window_bits").1.as_deref(),
            Some("; server_no_context_takeover; client_no_context_takeover")
        );
    }
}

#[test]
fn a_player_may_compress_and_gets_a_large_welcome_compressed() {
    for (deflate, state) in [(Compression::On, None), (Compression::State, Some(15))] {
        let (mut peer, _) = offered(deflate, "/play", "");
        peer.send(&compressed(Opcode::Binary, &stored(&hello_message())));
        peer.sit();
        assert!(matches!(peer.session.take_ask(), Some((RoomId(7), Ask::Join(_)))));
        let welcome = [1; 500];
        peer.session.joined(&welcome, &mut peer.out);
        let answer = peer.answer();
        assert_eq!(answer[0], 0xc2);
        assert!(answer.len() < 50, "{}", answer.len());
        assert_eq!(peer.session.state_window_bits(&peer.site), state);
    }
    let mut plain = Peer::playing();
    plain.site.deflate = Compression::State;
    assert_eq!(plain.session.state_window_bits(&plain.site), None, "who offered nothing gets nothing");
}

#[test]
fn a_bomb_a_broken_message_and_text_close_with_their_codes() {
    let mut bomb = Vec::with_capacity(2048);
    let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
    deflater.compress_vec(&[0; 1024 * 1024], &mut bomb, flate2::FlushCompress::Sync).unwrap();
    assert!(bomb.len() < 1100, "a MiB in a kB");
    for (opcode, payload, close) in [
        (Opcode::Binary, bomb, (1009, CloseReason::TooBig)),
        (Opcode::Binary, vec![0xff; 9], (1007, CloseReason::InvalidDeflate)),
        (Opcode::Text, stored(b"hello"), (1003, CloseReason::Unsupported)),
        (Opcode::Text, stored(b"\xff"), (1007, CloseReason::InvalidUtf8)),
        (Opcode::Ping, vec![], (1002, CloseReason::ProtocolError)),
    ] {
        let (mut peer, _) = offered(Compression::On, "/play", "");
        peer.send(&compressed(opcode, &payload));
        assert_eq!(peer.closed(), close);
    }
}

#[test]
fn an_echo_follows_what_was_agreed_on() {
    let message = b"Hello, hello, hello, hello, hello, hello, hello, hello, hello, hello, hello!";
    for (offer, shorter) in [("", true), ("; server_no_context_takeover", false)] {
        let (mut peer, _) = offered(Compression::On, "/echo", offer);
        let answers = [(); 2].map(|()| {
            peer.send(&compressed(Opcode::Text, &stored(message)));
            peer.answer()
        });
        assert_eq!((answers[0][0], answers[1][0]), (0xc1, 0xc1));
        assert_eq!(answers[1].len() < answers[0].len(), shorter, "{answers:?}");
    }
}

#[test]
fn a_compressed_message_over_the_limit_is_refused_from_its_header_before_a_byte_is_stored() {
    let max = crate::config::limits::ECHO_COMPRESSED_BYTES_MAX;
    for (path, max) in [("/echo", max), ("/play", 16 * 1024)] {
        for (compressed, over) in [(true, true), (true, false), (false, true)] {
            let max = if compressed { payload_bytes_max(max) } else { max };
            let (mut peer, _) = offered(Compression::On, path, "");
            let header = |fin: bool, opcode: Opcode, len: usize| {
                let mut out = Vec::new();
                let compressed = compressed && opcode != Opcode::Continuation;
                Header { fin, compressed, opcode, mask: Some(MASK), len: len as u64 }.write(&mut out);
                out
            };
            peer.send(&header(false, Opcode::Binary, 4));
            peer.send(&[0; 4]);
            peer.send(&header(true, Opcode::Continuation, if over { max - 3 } else { max - 4 }));
            if !over || path == "/echo" && !compressed {
                assert_eq!(peer.session.closing(), None, "within the limit; 16 MiB for what comes as it is");
                continue;
            }
            assert_eq!(peer.closed(), (1009, CloseReason::TooBig));
            assert_eq!(peer.session.held_bytes(), 0);
        }
    }
    // What it says may be as long and no longer.
    for (len, fits) in [(max, true), (max + 1, false)] {
        let (mut peer, _) = offered(Compression::On, "/echo", "");
        let mut payload = Vec::with_capacity(4096);
        let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
        deflater.compress_vec(&vec![0; len], &mut payload, flate2::FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - 4);
        peer.send(&compressed(Opcode::Binary, &payload));
        assert_eq!(peer.session.closing().is_none(), fits);
    }
}

#[test]
fn a_compressed_message_pays_for_what_it_says_too() {
    let mut payload = Vec::with_capacity(4096);
    let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
    let ping = [&[tickyard_protocol::message::from_client::PING][..], &[0; 8]].concat();
    deflater.compress_vec(&ping, &mut payload, flate2::FlushCompress::Sync).unwrap();
    payload.truncate(payload.len() - 4);
    let message = compressed(Opcode::Binary, &payload);

    let (mut peer, _) = offered(Compression::On, "/play", "");
    peer.site.limits.bytes = crate::config::limits::Budget { per_s: 1, burst: 4000 };
    peer.now = peer.now + std::time::Duration::from_secs(1);
    peer.send(&compressed(Opcode::Binary, &stored(&hello_message())));
    peer.sit();
    peer.session.take_ask();
    let hello = hello_message().len();
    let paid = stored(&hello_message()).len() + 6 + hello;
    let passing = (4000 - paid) / (message.len() + ping.len());
    for _ in 0..passing {
        peer.send(&message);
    }
    assert_eq!(peer.session.closing(), None);
    peer.send(&message);
    assert_eq!(peer.closed(), (1008, CloseReason::Rate));
}

#[test]
fn a_turn_stops_once_compression_has_cost_what_it_may_and_the_next_one_goes_on() {
    let (mut peer, _) = offered(Compression::On, "/echo", "");
    let bytes = compressed(Opcode::Text, &stored(b"Hello")).repeat(200);
    let (mut left, mut turns) = (bytes.len(), 0);
    while left > 0 {
        left = peer.send(&bytes[bytes.len() - left..]);
        turns += 1;
    }
    assert_eq!(peer.answer(), b"\x81\x05Hello".repeat(200));
    // Each costs 64 and its 11 bytes; a turn has 4,096.
    assert_eq!(turns, 4);
}
