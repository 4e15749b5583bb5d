use super::super::kind::{Ending, Stage};
use super::cases::{BAD_HELLOS, BAD_MESSAGES, BROKEN_FRAMES};
use super::*;
use tickyard::http::HeadScan;
use tickyard::websocket::{CloseCode, Event, Limits, Role, WebSocket};
use tickyard_protocol::message::decode_client_control;
use tickyard_protocol::name::is_name;

/// The limits of a server on `/play`.
const LIMITS: Limits = Limits { message_bytes_max: 16 * 1024, fragments_max: 64 };

fn written(case: &Case) -> Vec<u8> {
    let mut out = Vec::new();
    (case.write)(&mut out);
    out
}

fn strikes(kind: Kind, case: u32, count: u32) -> Vec<u8> {
    let (mut random, mut out) = (Random::new(1, 1), Vec::new());
    let attack = Attack { kind, case, input_fields: 2 };
    (0..count).for_each(|strike| attack.strike(strike, &mut random, &mut out));
    out
}

#[test]
fn a_server_by_rfc_6455_ends_each_broken_frame_with_the_code_that_is_owed() {
    for case in BROKEN_FRAMES {
        let mut bytes = written(case);
        let text = format!("{bytes:x?}");
        let (mut socket, mut rest) = (WebSocket::new(Role::Server, LIMITS), &mut bytes[..]);
        let code = match socket.read(&mut rest) {
            Ok(Some(Event::Text(_))) => CloseCode::UNSUPPORTED,
            Err(error) => error.close_code(),
            other => panic!("{text}: {other:?}"),
        };
        assert!(case.owed.contains(&Ending::Close(Some(code.get()))), "{text}: {code:?}");
    }
}

#[test]
fn what_is_owed_a_refusal_is_a_hello_and_the_rest_is_none() {
    for case in BAD_HELLOS {
        let message = written(case);
        let hello = message.split_first().filter(|(kind, _)| **kind == 1);
        let hello = hello.and_then(|(_, rest)| decode_client_control(rest).ok());
        let refused = case.owed == [Ending::Close(Some(4001))];
        match hello {
            Some(ClientControl::Hello(hello)) => {
                let game_or_room = hello.seek == Seek::JoinOrCreate("arena");
                let granted = hello.version == VERSION && is_name(hello.name) && game_or_room;
                assert!(refused && !granted, "{hello:?}");
            }
            _ => assert!(!refused, "{message:x?}"),
        }
    }
}

#[test]
fn no_bad_message_is_longer_than_a_message_may_be() {
    assert!(BAD_MESSAGES.iter().all(|case| written(case).len() < LIMITS.message_bytes_max));
}

#[test]
fn a_header_bomb_never_ends_and_is_owed_what_its_place_says() {
    for case in 0..3 {
        let bomb = strikes(Kind::HeaderBomb, case, 4);
        assert!(bomb.len() > 24 * 1024);
        let error = HeadScan::default().find_end(&bomb).unwrap_err();
        let status = error.status().unwrap().get();
        let promise = Attack { kind: Kind::HeaderBomb, case, input_fields: 0 }.promise();
        assert!(promise.allows(Ending::Status(status)), "{case}: {status}");
    }
}

#[test]
fn each_of_the_tiny_messages_is_one_that_a_player_may_send() {
    for case in 0..4 {
        let mut bytes = strikes(Kind::MessageFlood, case, 2);
        let (mut socket, mut rest) = (WebSocket::new(Role::Server, LIMITS), &mut bytes[..]);
        let mut count = 0;
        while let Some(event) = socket.read(&mut rest).unwrap() {
            let Event::Binary(message) = event else { panic!("{event:?}") };
            assert!((2..=5).contains(&message[0]) && message.len() < 20);
            count += 1;
        }
        assert_eq!(count, 2 * MESSAGES_PER_STRIKE);
    }
}

#[test]
fn fragments_stay_fragments_until_there_are_too_many() {
    let mut bytes = strikes(Kind::FragmentFlood, 0, 2);
    let (mut socket, mut rest) = (WebSocket::new(Role::Server, LIMITS), &mut bytes[..]);
    let error = socket.read(&mut rest).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::POLICY);
}

#[test]
fn whatever_the_case_something_is_owed() {
    for kind in Kind::ALL {
        for case in 0..50 {
            let promise = Attack { kind, case, input_fields: 0 }.promise();
            let ends = promise.within().is_some();
            assert_eq!(ends, !matches!(kind, Kind::SingleBytes | Kind::RstStorm), "{kind:?}");
            let waits = kind.manner().strikes_when != Stage::Connected;
            assert!(!waits || !promise.allows(Ending::Status(400)), "an upgrade is not refused afterwards");
        }
    }
}
