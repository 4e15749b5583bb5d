//! Who is silent is asked, and who does not answer is ended.

use std::time::Duration;

use super::*;
use crate::config::limits::{IDLE_TIMEOUT, PING_INTERVAL};

const PING: [u8; 2] = [0x89, 0];
const TICK: Duration = Duration::from_micros(1);

impl Peer {
    fn ping_at(&mut self, now: Time) -> Vec<u8> {
        self.now = now;
        let before = self.out.len();
        let pinged = self.with(|session, turn| session.ping(turn));
        assert_eq!(pinged, self.out.len() > before);
        self.answer()
    }
}

#[test]
fn a_silent_peer_is_pinged_once_per_interval_whatever_it_is_doing() {
    let peers: [fn() -> Peer; 3] = [|| upgraded("/play"), || upgraded("/echo"), Peer::playing];
    for peer in peers {
        let mut peer = peer();
        peer.session.take_counts();
        assert_eq!(peer.ping_at(START + PING_INTERVAL - TICK), b"");
        assert_eq!(peer.ping_at(START + PING_INTERVAL), PING);
        assert_eq!(peer.ping_at(START + 2 * PING_INTERVAL - TICK), b"");
        assert_eq!(peer.ping_at(START + 2 * PING_INTERVAL), PING);
        assert_eq!(peer.session.take_counts().messages_out, 0, "pings are no messages");
    }
}

#[test]
fn any_byte_is_an_answer() {
    let mut peer = Peer::playing();
    assert_eq!(peer.ping_at(START + PING_INTERVAL), PING);
    let heard = START + PING_INTERVAL + Duration::from_secs(3);
    peer.now = heard;
    peer.send(&frame(Opcode::Pong, b"")[..1]);
    assert_eq!(peer.session.poll_timeout(&peer.site), Some(heard + IDLE_TIMEOUT));
    assert_eq!(peer.ping_at(heard + PING_INTERVAL - TICK), b"");
    assert_eq!(peer.ping_at(heard + PING_INTERVAL), PING);
}

#[test]
fn no_answer_within_the_idle_timeout_is_the_end_however_often_it_was_asked() {
    let mut peer = Peer::playing();
    for asked in 1..3 {
        assert_eq!(peer.ping_at(START + asked * PING_INTERVAL), PING);
    }
    peer.now = START + IDLE_TIMEOUT;
    peer.with(|session, turn| session.handle_timeout(turn));
    assert_eq!(peer.closed(), (1008, CloseReason::Idle));
    assert_eq!(peer.session.take_leave(), Some((RoomId(7), Leave::Removed)));
}

#[test]
fn a_ping_is_left_out_while_bytes_wait_and_made_up_for_afterwards() {
    let mut peer = Peer::playing();
    peer.out = vec![0];
    assert_eq!(peer.ping_at(START + PING_INTERVAL), [0]);
    assert_eq!(peer.ping_at(START + PING_INTERVAL + TICK), PING);
}

#[test]
fn nobody_is_pinged_before_the_upgrade_after_the_close_or_when_it_is_off() {
    let later = START + IDLE_TIMEOUT;
    assert_eq!(Peer::new().ping_at(later), b"");

    let mut off = Peer::playing();
    off.site.limits.ping_interval = None;
    assert_eq!(off.ping_at(later), b"");

    let mut closing = Peer::playing();
    closing.with(|session, turn| session.going_away(turn));
    closing.answer();
    assert_eq!(closing.ping_at(later), b"");
    closing.send(&frame(Opcode::Close, b""));
    assert_eq!(closing.ping_at(later), b"");
}
