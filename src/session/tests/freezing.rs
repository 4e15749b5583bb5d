//! A session is written down and read again after each byte, and nobody notices.

use super::*;

/// As bytes and back; the old one is dropped.
fn freeze_and_thaw(session: &mut Session) {
    let bytes = serde_json::to_vec(session).unwrap();
    *session = Session::new(Time::ZERO, nobody());
    *session = serde_json::from_slice(&bytes).unwrap();
}

/// All that a session lets out.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    out: Vec<u8>,
    asks: Vec<(RoomId, Ask)>,
    inputs: Vec<(RoomId, Input)>,
    leaves: Vec<(RoomId, Leave)>,
    messages: (u32, u32),
    closing: Option<CloseReason>,
    awaits_close: bool,
    timeouts: Vec<Option<Time>>,
}

/// Says `bytes`, one by one, with `between` before each; some time passes with each of them.
fn converse(bytes: &[u8], site: Site, mut between: impl FnMut(&mut Session)) -> Heard {
    let mut peer = Peer { site, ..Peer::new() };
    let mut heard = Heard::default();
    for byte in bytes {
        between(&mut peer.session);
        peer.now = peer.now + Duration::from_millis(1);
        peer.with(|session, turn| session.ping(turn));
        assert_eq!(peer.send(&[*byte]), 0);
        between(&mut peer.session);
        if peer.session.seeks().is_some() {
            peer.sit();
        }
        while let Some(ask) = peer.session.take_ask() {
            if matches!(ask.1, Ask::Join(_)) {
                peer.session.joined(&[1, 0], &mut peer.out);
            }
            heard.asks.push(ask);
        }
        // Inputs stay for a while, so that some are frozen.
        if byte % 7 == 0 {
            heard.inputs.extend(peer.session.take_input());
        }
        let counts = peer.session.take_counts();
        heard.messages.0 += counts.messages_in;
        heard.messages.1 += counts.messages_out;
        heard.leaves.extend(peer.session.take_leave());
        heard.timeouts.push(peer.session.poll_timeout(&peer.site));
    }
    heard.closing = peer.session.closing();
    heard.awaits_close = peer.session.awaits_close();
    heard.out = peer.answer();
    heard
}

fn a_day_of_a_player() -> Vec<u8> {
    let mut bytes = upgrade("/play", "").into_bytes();
    bytes.extend(frame(Opcode::Ping, b"early"));
    bytes.extend(hello("arena", "Ada", 1));
    (1..=6).for_each(|seq| bytes.extend(input(seq)));
    let chat = WireMessage { number: 1, kind: "chat", payload: &[b'x'; 200], tags: vec![] };
    let mut message = vec![];
    encode_client_control(&ClientControl::Message(chat), &mut message);
    // In three pieces, with a ping between them.
    let mut pieces = [binary(&message[..90]), binary(&message[90..91]), binary(&message[91..])];
    (pieces[0][0], pieces[1][0], pieces[2][0]) = (0x02, 0x00, 0x80);
    bytes.extend_from_slice(&pieces[0]);
    bytes.extend(frame(Opcode::Ping, b"between"));
    bytes.extend_from_slice(&pieces[1]);
    bytes.extend_from_slice(&pieces[2]);
    let mut ping = Vec::new();
    encode_ping([5; 8], &mut ping);
    bytes.extend(binary(&ping));
    bytes
}

fn close(code: u16) -> Vec<u8> {
    frame(Opcode::Close, &code.to_be_bytes())
}

#[test]
fn a_conversation_that_is_frozen_and_thawed_after_each_byte_is_the_same_conversation() {
    let with = |more: &[&[u8]]| [&a_day_of_a_player()[..], &more.concat()].concat();
    let text = frame(Opcode::Text, "a text of some length, with an ä in it".as_bytes());
    let conversations = [
        ("closed by the peer", with(&[&close(1000)])),
        ("a broken frame", with(&[&[0xf2]])),
        ("text, then what is passed over, then the peer's close", with(&[&text, &input(9), &close(1003)])),
        ("text, and no close", with(&[&text, &input(9), &[0x82]])),
        ("a flood", with(&[&frame(Opcode::Pong, b"").repeat(700)])),
        ("an echo", [upgrade("/echo", "").as_bytes(), &text, &binary(&[7; 300]), &close(1001)].concat()),
        ("half of a text", [upgrade("/echo", "").as_bytes(), &text[..text.len() - 3]].concat()),
        ("a page", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nand more".to_vec()),
    ];
    for (name, bytes) in conversations {
        let lively = || {
            let mut site = site();
            site.limits.ping_interval = Some(Duration::from_micros(900));
            site
        };
        let expected = converse(&bytes, lively(), |_| {});
        assert_eq!(converse(&bytes, lively(), freeze_and_thaw), expected, "{name}");
        assert!(!expected.out.is_empty());
    }
}
