//! No way of slicing makes a flood cheap.

use super::*;
use crate::config::limits::{
    BURST_SECONDS, BYTES_PER_SECOND, FRAGMENTS_MAX, HEAD_BYTES_MAX, HELLO_BYTES_MAX, MESSAGES_PER_SECOND,
};

const FRAMES: usize = (MESSAGES_PER_SECOND * BURST_SECONDS) as usize;

/// A frame without FIN, or a continuation.
fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(Opcode::Binary, payload);
    bytes[0] = first;
    bytes
}

#[test]
fn frames_of_every_kind_cost_the_same() {
    let mut fragmented = fragment(0x02, b"");
    (1..FRAGMENTS_MAX).for_each(|_| fragmented.extend(fragment(0x00, b"")));
    let mut ping = Vec::new();
    encode_ping([1; 8], &mut ping);
    let floods = [
        ("pings", frame(Opcode::Ping, b"").repeat(FRAMES)),
        ("pongs", frame(Opcode::Pong, b"x").repeat(FRAMES)),
        ("messages", binary(&ping).repeat(FRAMES)),
        (
            "pings in a fragmented message",
            [fragmented, frame(Opcode::Ping, b"").repeat(FRAMES - FRAGMENTS_MAX as usize)].concat(),
        ),
    ];
    for (kind, bytes) in floods {
        let mut peer = Peer::playing();
        // The hello was one.
        peer.now = START + Duration::from_secs(1);
        peer.send(&bytes);
        assert_eq!(peer.session.closing(), None, "{kind}");
        peer.send(&frame(Opcode::Pong, b""));
        assert_eq!(peer.closed(), (1008, CloseReason::Rate), "{kind}");
    }
}

#[test]
fn fragments_are_paid_for_before_their_message_is_whole() {
    // Nine such messages are six hundred frames and less than nothing to the room.
    let mut ack = Vec::new();
    encode_ack(9, &mut ack);
    let mut message = fragment(0x02, &ack[..1]);
    (2..FRAGMENTS_MAX).for_each(|_| message.extend(fragment(0x00, b"")));
    message.extend(fragment(0x80, &ack[1..]));
    let mut peer = Peer::playing();
    let mut whole = 0;
    while peer.session.closing().is_none() && whole < 20 {
        peer.send(&message);
        while peer.session.take_ask().is_some() {
            whole += 1;
        }
    }
    assert_eq!((peer.closed(), whole), ((1008, CloseReason::Rate), FRAMES / FRAGMENTS_MAX as usize));
}

#[test]
fn an_idle_second_gives_back_a_second_of_frames() {
    let mut peer = Peer::playing();
    peer.send(&frame(Opcode::Pong, b"").repeat(FRAMES - 1));
    peer.now = START + Duration::from_secs(1);
    peer.send(&frame(Opcode::Pong, b"").repeat(MESSAGES_PER_SECOND as usize));
    assert_eq!(peer.session.closing(), None);
    peer.send(&frame(Opcode::Pong, b""));
    assert_eq!(peer.closed(), (1008, CloseReason::Rate));
}

#[test]
fn headers_are_bytes_too() {
    let mut peer = Peer::playing();
    peer.site.limits.frames.burst = u32::MAX;
    peer.site.limits.frames.per_s = u32::MAX;
    peer.now = START + Duration::from_secs(1);
    let header_only = frame(Opcode::Pong, b"");
    let burst = peer.site.limits.bytes.burst as usize;
    peer.send(&header_only.repeat(burst / header_only.len()));
    assert_eq!(peer.session.closing(), None);
    peer.send(&header_only);
    assert_eq!(peer.closed(), (1008, CloseReason::Rate));
}

#[test]
fn before_the_hello_there_is_room_for_one_and_not_for_much_else() {
    let pings = frame(Opcode::Ping, &[7; 119]).repeat(HELLO_BYTES_MAX / 125);
    let mut peer = upgraded("/play");
    peer.send(&pings);
    assert_eq!(peer.session.closing(), None);
    peer.send(&hello("arena", "Ada", 1));
    assert_eq!(peer.closed(), (1008, CloseReason::BadHello));

    let mut peer = upgraded("/play");
    peer.send(&pings[..pings.len() - 1250]);
    peer.send(&hello("arena", "Ada", 1));
    assert!(peer.session.has_ask());
}

#[test]
fn a_message_over_the_limit_is_refused_from_its_header_before_a_byte_is_stored() {
    let header = |bytes: &[u8]| bytes[..8].to_vec();
    let over = header(&binary(&vec![2; MESSAGE_BYTES_MAX + 1]));
    let rest = header(&fragment(0x80, &vec![2; 6385]));
    for (before, bytes) in [(vec![], over), (fragment(0x02, &[2; 10_000]), rest)] {
        let mut peer = Peer::playing();
        peer.send(&before);
        let held = held_bytes(&peer);
        assert!(held <= 16 * 1024, "{held}");
        peer.send(&bytes[..7]);
        assert_eq!((peer.session.closing(), held_bytes(&peer)), (None, held));
        peer.send(&bytes[7..]);
        assert_eq!(peer.closed(), (1009, CloseReason::TooBig));
    }
    // As long as allowed, and one fragment less.
    let mut peer = Peer::playing();
    peer.send(&fragment(0x02, &[2; 10_000]));
    peer.send(&header(&fragment(0x80, &vec![2; 6384])));
    assert_eq!(peer.session.closing(), None);
}

fn held_bytes(peer: &Peer) -> usize {
    match &peer.session.phase {
        Phase::Play(play) => play.socket.socket.held_bytes(),
        _ => 0,
    }
}

#[test]
fn what_is_wrapped_around_bytes_costs_as_much_as_they_do() {
    let burst = (BYTES_PER_SECOND * BURST_SECONDS) as usize;
    let mut player = Peer::playing();
    player.now = START + Duration::from_secs(1);
    player.with(|session, turn| session.handle_overhead(turn, burst));
    assert_eq!(player.session.closing(), None);
    player.with(|session, turn| session.handle_overhead(turn, 1));
    assert_eq!(player.closed(), (1008, CloseReason::Rate));

    let mut stranger = Peer::new();
    stranger.upgrade("/play");
    stranger.with(|session, turn| session.handle_overhead(turn, burst + 1));
    assert_eq!(stranger.closed(), (1008, CloseReason::Rate), "before the hello too");

    let mut asking = Peer::new();
    asking.with(|session, turn| session.handle_overhead(turn, HEAD_BYTES_MAX));
    assert_eq!(asking.session.closing(), None);
    asking.with(|session, turn| session.handle_overhead(turn, 1));
    assert!(asking.answer().starts_with(b"HTTP/1.1 431 "));
    assert_eq!(asking.session.closing(), Some(CloseReason::HeadTooLarge));
}
