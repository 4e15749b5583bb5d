use super::offer::Offer;
use super::*;
use crate::http::ResponseHead;
use crate::websocket::{Event, Limits, Spent, WebSocket};

/// What a client and a server agree on if the client says `params`.
fn agreement(params: &str) -> Agreement {
    let head = format!("HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: permessage-deflate{params}\r\n\r\n");
    let (head, _) = ResponseHead::parse(head.as_bytes()).unwrap().unwrap();
    let offer = Offer { client_max_window_bits: true, ..Offer::default() };
    offer.check(&head.headers).unwrap().unwrap()
}

const FRESH: &str = "; server_no_context_takeover; client_no_context_takeover";

fn inflate(params: &str, payloads: &[&[u8]]) -> Vec<Result<String, ReadError>> {
    let mut inflate = Inflate::new(agreement(params), Role::Server, 1000);
    let mut out = Vec::new();
    let read = |payload: &&[u8]| {
        inflate.read(payload, &mut out)?;
        Ok(String::from_utf8(out.clone()).unwrap())
    };
    payloads.iter().map(read).collect()
}

fn hello() -> Result<String, ReadError> {
    Ok("Hello".to_owned())
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 7692, 7.2.3.1 to 7.2.3.6.
    let one_block = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let taken_over = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let empty = [0x00];

    for params in ["", FRESH, "; client_max_window_bits=8"] {
        for payload in [&one_block[..], &stored, &final_block, &two_blocks] {
            assert_eq!(inflate(params, &[payload]), [hello()], "{payload:02x?}");
            assert_eq!(
                inflate(params, &[&empty, payload, &empty]),
                [Ok(String::new()), hello(), Ok(String::new())]
            );
        }
    }
    assert_eq!(inflate("", &[&one_block, &taken_over, &taken_over]), [hello(), hello(), hello()]);
    assert_eq!(inflate("", &[&final_block, &taken_over]), [hello(), hello()]);
    assert_eq!(inflate(FRESH, &[&one_block, &taken_over]), [hello(), Err(ReadError::Deflate)]);
}

#[test]
fn the_example_of_the_rfc_is_written() {
    let mut out = Vec::new();
    codec::deflate(15, &[], b"Hello", &mut out);
    assert_eq!(out, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    out.clear();
    codec::deflate(15, b"Hello", b"Hello", &mut out);
    // One reference instead of a letter and a reference: a byte less than the RFC's.
    assert_eq!(out, [0x02, 0x13, 0x00, 0x00]);
    assert_eq!(inflate("", &[&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], &out]), [hello(), hello()]);
    out.clear();
    codec::deflate(15, &[], b"", &mut out);
    assert_eq!(out, [0x00]);
}

#[test]
fn inflating_stops_one_byte_over_the_limit_and_never_has_room_for_more() {
    let bomb = |len: usize| {
        let mut out = Vec::new();
        codec::deflate(15, &[], &vec![0; len], &mut out);
        out
    };
    // Of no such size that doubling would end at the limit by itself.
    for max in [0, 1, 999, 5_000, 16 * 1024 - 1, 300_000] {
        for len in [max + 1, 2 * max + 2, 64 * 1024, 1024 * 1024] {
            let mut out = Vec::new();
            assert_eq!(codec::inflate(&[], &bomb(len.max(max + 1)), max, &mut out), Err(ReadError::TooLong));
            assert_eq!((out.len(), out.capacity()), (max + 1, max + 1), "{len} over {max}");
        }
        let mut out = Vec::new();
        assert_eq!(codec::inflate(&[], &bomb(max), max, &mut out), Ok(()));
        assert_eq!(out.len(), max);
        assert!(out.capacity() <= max + 1, "{}", out.capacity());
    }
}

#[test]
fn what_it_costs_follows_the_payload_and_compressing_the_window() {
    let mut writer = Writer::new(Some(agreement("")), Role::Client);
    let mut socket = WebSocket::new(Role::Server, LIMITS).with_deflate(Some(agreement("")));
    let message = [b'a'; 4096];
    for window in [0, 4096] {
        let (mut frame, mut spent) = (Vec::new(), Spent::default());
        assert_eq!(
            writer.write(&mut frame, Opcode::Binary, &message, Some([0; 4])),
            INFLATE_COST + window / 128 + 256
        );
        let payload = frame.len() - 6;
        let event = socket.read_counted(&mut &mut frame[..], &mut spent);
        assert_eq!(event, Ok(Some(Event::Binary(&message))));
        assert_eq!(spent, Spent { frames: 1, inflated: 4096, cost: INFLATE_COST + payload + 32 });
    }
    let mut frame = Vec::new();
    assert_eq!(writer.write(&mut frame, Opcode::Binary, &message[..63], Some([0; 4])), 0, "as it is");
    let mut spent = Spent::default();
    socket.read_counted(&mut &mut frame[..], &mut spent).unwrap();
    assert_eq!(spent, Spent { frames: 1, inflated: 0, cost: 0 });
}

const LIMITS: Limits = Limits { message_bytes_max: 16 * 1024, fragments_max: 64 };
