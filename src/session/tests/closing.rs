//! Closing, in both directions (RFC 6455, 5.5.1, 7.1 and 7.4).

use super::*;

/// Who is closed by us, with the code that was sent.
fn leaving() -> [(&'static str, Peer, u16); 5] {
    let away = |mut peer: Peer| {
        peer.with(|session, turn| session.going_away(turn));
        peer
    };
    let mut text = Peer::playing();
    text.send(&frame(Opcode::Text, b"hi"));
    let mut failed = Peer::playing();
    failed.with(|session, turn| session.failed(turn));
    [
        ("a hello awaited", away(upgraded("/play")), 1001),
        ("an echo", away(upgraded("/echo")), 1001),
        ("a player", away(Peer::playing()), 1001),
        ("a text message", text, 1003),
        ("a fault of ours", failed, 1011),
    ]
}

#[test]
fn who_closes_waits_for_the_peers_close_frame_at_every_split_of_the_bytes() {
    // What was on its way, a message in pieces with the answer in its midst, and what no peer may send any more.
    let mut before = binary(&[77; 300]);
    before.extend(frame(Opcode::Ping, b"?"));
    before.extend(frame(Opcode::Text, &[0xff]));
    let mut piece = binary(b"piece");
    piece[0] = 0x02;
    before.extend(piece);
    let mut all = before.clone();
    all.extend(frame(Opcode::Close, &[0x03, 0xe8]));
    let close_header = before.len() + 6;
    all.extend(binary(b"after"));
    for cut in 0..=all.len() {
        for (who, mut peer, code) in leaving() {
            assert_eq!(peer.closed().0, code, "{who}");
            peer.session.take_counts();
            assert_eq!(peer.send(&all[..cut]), 0);
            assert_eq!(peer.session.awaits_close(), cut < close_header, "{who}, cut at {cut}");
            assert_eq!(peer.send(&all[cut..]), 0);
            assert!(!peer.session.awaits_close(), "{who}, cut at {cut}");
            assert_eq!(peer.answer(), b"", "{who}: nothing is said after a close");
            assert_eq!(peer.session.take_counts(), Counts::default(), "{who}: nothing counts after a close");
            assert_eq!((peer.session.take_ask(), peer.session.take_input()), (None, None));
        }
    }
}

#[test]
fn what_came_before_our_close_in_the_same_message_is_read_on_from_where_it_was() {
    let message = binary(&[77; 300]);
    for cut in 1..message.len() {
        let mut peer = Peer::playing();
        peer.send(&message[..cut]);
        peer.with(|session, turn| session.going_away(turn));
        assert_eq!(peer.closed(), (1001, CloseReason::GoingAway));
        peer.send(&message[cut..]);
        assert!(peer.session.awaits_close());
        peer.send(&frame(Opcode::Close, b""));
        assert!(!peer.session.awaits_close(), "cut at {cut}");
    }
}

#[test]
fn who_breaks_the_protocol_is_not_listened_to_any_longer() {
    for bytes in
        [vec![0xc2, 0x80], vec![0x82, 0x01], frame(Opcode::Close, &[0x03]), frame(Opcode::Text, &[0xff])]
    {
        let mut peer = upgraded("/echo");
        peer.send(&bytes);
        assert!(peer.session.closing().is_some());
        assert!(!peer.session.awaits_close(), "{bytes:?}");
    }
}

#[test]
fn a_peer_that_closes_first_is_answered_and_that_is_all() {
    for (payload, answer) in [
        (vec![], vec![0x88, 0]),
        (vec![0x03, 0xe8], vec![0x88, 2, 0x03, 0xe8]),
        (b"\x0f\xa0bye".to_vec(), vec![0x88, 2, 0x0f, 0xa0]),
    ] {
        let mut peer = Peer::playing();
        peer.send(&frame(Opcode::Close, &payload));
        assert_eq!(peer.answer(), answer);
        peer.with(|session, turn| session.going_away(turn));
        assert_eq!(peer.answer(), b"", "one close frame is enough");
        assert!(!peer.session.awaits_close());
    }
}

#[test]
fn garbage_and_the_end_of_tcp_are_no_close_frame_but_an_end() {
    for (who, mut peer, _) in leaving() {
        peer.send(&[0xff; 20]);
        assert!(!peer.session.awaits_close(), "{who}");
    }
    for (who, mut peer, code) in leaving() {
        let closed = peer.closed();
        peer.session.handle_end();
        assert_eq!(closed.0, code);
        assert_eq!(peer.session.closing(), Some(closed.1), "{who}: the first reason counts");
        assert!(!peer.session.awaits_close());
    }
}

#[test]
fn a_fault_of_ours_is_1011_for_players_and_none_of_the_others_business() {
    let mut echo = upgraded("/echo");
    echo.with(|session, turn| session.failed(turn));
    assert_eq!((echo.answer(), echo.session.closing()), (vec![], None));

    let mut player = Peer::playing();
    player.with(|session, turn| session.failed(turn));
    assert_eq!(player.closed(), (1011, CloseReason::Internal));
    assert_eq!(player.session.take_leave(), None, "nobody is there to hear it");
}
