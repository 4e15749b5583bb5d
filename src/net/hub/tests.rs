//! A hub among sockets made of memory: what it does in a turn, by hand and under a clock of our own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use super::*;
use crate::bridge::{Part, Segments, Span};
use crate::config::Config;
use crate::config::limits::CLOSE_TIMEOUT;
use crate::session::tests::site;
use tickyard_protocol::types::{Seq, Tick};

#[cfg(feature = "deflate")]
mod compressed;
mod rooms;
mod silence;

/// One end of a connection; the test holds the other.
#[derive(Clone, Default)]
struct Line(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    /// To the server.
    coming: VecDeque<u8>,
    /// The peer sends nothing more.
    ended: bool,
    /// From the server.
    going: Vec<u8>,
    /// How much more of it the kernel takes.
    room: usize,
    shut: bool,
    aborted: bool,
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ends = self.0.borrow_mut();
        if ends.coming.is_empty() && !ends.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        ends.coming.read(buffer)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut ends = self.0.borrow_mut();
        let taken = bytes.len().min(ends.room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        ends.room -= taken;
        ends.going.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Line {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shut = true;
        Ok(())
    }

    fn abort(&mut self) -> io::Result<()> {
        self.0.borrow_mut().aborted = true;
        Ok(())
    }

    fn tune(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Line {
    fn wide() -> Line {
        let line = Line::default();
        line.0.borrow_mut().room = usize::MAX;
        line
    }

    fn say(&self, bytes: &[u8]) {
        self.0.borrow_mut().coming.extend(bytes);
    }

    fn end(&self) {
        self.0.borrow_mut().ended = true;
    }

    fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().going)
    }
}

const START: Time = Time::from_secs(100);

fn hub(tls: Option<Identity>) -> Hub<Line> {
    let shared = Shared::new(&Config::default(), site(), tls, None);
    // Whatever is asked of the simulation gets lost.
    let (commands, _) = crossbeam_channel::unbounded();
    Hub::new(0, Arc::new(shared), vec![commands], START)
}

fn admit(hub: &mut Hub<Line>, line: &Line) -> usize {
    let slot = hub.next_id().slot as usize;
    hub.shared().metrics.connections.inc();
    let peer = hub.shared().site.addresses.arrive("127.0.0.1:40000".parse().unwrap()).unwrap();
    hub.admit(line.clone(), peer);
    slot
}

/// All but the fan-out.
fn turn(hub: &mut Hub<Line>, now: Time) {
    hub.set_now(now);
    hub.serve_run_queue(|_| false);
    hub.shake_hands(|_| false);
    hub.sweep();
    hub.report();
}

/// Somebody who is gone.
const NOBODY: ConnId = ConnId { thread: 0, slot: 9999, generation: 0 };

/// So many updates, all for one connection.
fn batch_for(conn: ConnId, room: RoomId, updates: usize, tick: u32) -> SharedBatch {
    let part = Part {
        conn,
        seq: Seq(0),
        depth: 0,
        heard: 0,
        own: Span::default(),
        own_changed: Tick(0),
        view: None,
        reliable: Span::default(),
        reliable_first: 1,
        reliable_count: 0,
    };
    Arc::new(Batch {
        room: Some(room),
        segments: Arc::new(Segments { tick: Tick(tick), ..Segments::default() }),
        tick_rate: 20,
        parts: vec![part; updates],
        threads: vec![Span { start: 0, end: updates as u32 }],
        ..Batch::default()
    })
}

fn counted(hub: &Hub<Line>, reason: CloseReason) -> u64 {
    hub.shared().metrics.closes.get(reason)
}

#[test]
fn pings_are_spread_over_half_an_interval() {
    let seconds = |secs| Some(Duration::from_secs(secs));
    assert_eq!(pings_of_a_sweep(10_000, seconds(10)), 200);
    assert_eq!(pings_of_a_sweep(10_001, seconds(10)), 201);
    assert_eq!(pings_of_a_sweep(100, seconds(10)), PINGS_PER_SWEEP_MIN);
    assert_eq!(pings_of_a_sweep(10_000, Some(Duration::from_millis(100))), 20_000);
    assert_eq!(pings_of_a_sweep(10_000, None), 0);
}

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_request_is_answered_and_the_line_closed() {
    let mut hub = hub(None);
    let line = Line::wide();
    let slot = admit(&mut hub, &line);
    line.say(ASK);
    turn(&mut hub, START);
    let page = line.heard();
    assert!(page.starts_with(b"HTTP/1.1 200 ") && page.ends_with(b"ok\n"));
    assert!(line.0.borrow().shut && hub.len() == 1);

    line.end();
    hub.wake(slot, true, false, true);
    turn(&mut hub, START);
    assert!(hub.is_empty() && !hub.is_busy());
    assert_eq!(counted(&hub, CloseReason::HttpDone), 1);
    assert_eq!(hub.shared().metrics.connections.get(), 0);
}

#[test]
fn what_is_not_taken_by_the_end_of_the_goodbye_is_thrown_away_and_what_was_taken_is_not() {
    let mut hub = hub(None);
    let (full, wide) = (Line::default(), Line::wide());
    for line in [&full, &wide] {
        line.say(ASK);
        admit(&mut hub, line);
    }
    turn(&mut hub, START);
    assert_eq!(hub.len(), 2);

    let mut now = START;
    while now < START + CLOSE_TIMEOUT {
        assert!(!full.0.borrow().aborted);
        now = now + Duration::from_millis(100);
        turn(&mut hub, now);
    }
    for _ in 0..30 {
        now = now + Duration::from_millis(100);
        turn(&mut hub, now);
    }
    assert!(hub.is_empty());
    assert!(full.0.borrow().aborted && !wide.0.borrow().aborted);
}

#[test]
fn a_player_who_takes_the_last_word_and_stays_is_reset_in_the_end() {
    let mut hub = hub(None);
    let line = Line::wide();
    line.say(
        b"GET /play HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let slot = admit(&mut hub, &line);
    turn(&mut hub, START);
    // A frame without a mask.
    line.say(&[0x82, 0x00]);
    hub.wake(slot, true, false, false);
    turn(&mut hub, START);
    assert!(line.0.borrow().shut);

    // Perhaps it has not read yet, and the kernel holds what was said.
    let mut now = START;
    while now < START + CLOSE_TIMEOUT {
        assert!(!line.0.borrow().aborted && hub.len() == 1);
        turn(&mut hub, now);
        now = now + Duration::from_millis(100);
    }
    for _ in 0..20 {
        turn(&mut hub, now);
        now = now + Duration::from_millis(100);
    }
    assert!(line.0.borrow().aborted && hub.is_empty());
    assert_eq!(counted(&hub, CloseReason::ProtocolError), 1);
}

#[test]
fn however_many_have_said_something_reading_ends_in_time_and_goes_on_in_their_order() {
    let mut hub = hub(None);
    let lines: Vec<Line> = (0..3).map(|_| Line::wide()).collect();
    for line in &lines {
        line.say(ASK);
        admit(&mut hub, line);
    }
    for served in 1..=lines.len() {
        assert!(hub.is_busy());
        hub.serve_run_queue(|_| true);
        let answered: Vec<bool> = lines.iter().map(|line| !line.0.borrow().going.is_empty()).collect();
        let expected: Vec<bool> = (0..lines.len()).map(|at| at < served).collect();
        assert_eq!(answered, expected);
    }
    assert!(!hub.is_busy());
}

#[cfg(feature = "tls")]
mod over_tls {
    use super::*;
    use crate::config::limits::HANDSHAKE_TIMEOUT;
    use crate::net::tls::tests::{client, flight, identity, read};
    use rustls::ClientConnection;
    use rustls::version::TLS13;

    fn said_hello(hub: &mut Hub<Line>) -> Line {
        let line = Line::wide();
        line.say(&flight(&mut client(&TLS13, &[])));
        admit(hub, &line);
        line
    }

    fn answered(lines: &[Line]) -> usize {
        lines.iter().filter(|line| !line.0.borrow().going.is_empty()).count()
    }

    #[test]
    fn a_flood_of_hellos_gets_a_budget_a_turn_and_one_while_updates_wait() {
        let mut hub = hub(Some(identity("hub-flood")));
        let lines: Vec<Line> = (0..2 * TLS_HANDSHAKES_PER_TURN + 9).map(|_| said_hello(&mut hub)).collect();
        hub.serve_run_queue(|_| false);
        assert_eq!(answered(&lines), 0, "they stand in the other queue now");
        assert!(hub.is_busy());

        hub.shake_hands(|_| false);
        assert_eq!(answered(&lines), TLS_HANDSHAKES_PER_TURN);
        hub.shake_hands(|_| true);
        assert_eq!(answered(&lines), TLS_HANDSHAKES_PER_TURN + 1, "at least one");

        hub.take_batch(batch_for(NOBODY, RoomId(0), 1, 1));
        hub.shake_hands(|_| false);
        assert_eq!(answered(&lines), TLS_HANDSHAKES_PER_TURN + 2, "players come first");

        hub.fan_out(|_| false);
        for _ in 0..2 {
            turn(&mut hub, START);
        }
        assert_eq!(answered(&lines), lines.len());
        assert!(!hub.is_busy());
    }

    #[test]
    fn a_handshake_that_drips_is_cut_at_the_same_time_as_one_that_is_silent() {
        let mut hub = hub(Some(identity("hub-drip")));
        let (dripping, silent) = (Line::wide(), Line::wide());
        let slot = admit(&mut hub, &dripping);
        admit(&mut hub, &silent);
        let hello = flight(&mut client(&TLS13, &[]));
        let mut now = START;
        for &byte in &hello[..99] {
            dripping.say(&[byte]);
            hub.wake(slot, true, false, false);
            turn(&mut hub, now);
            now = now + Duration::from_millis(100);
        }
        assert_eq!(counted(&hub, CloseReason::HandshakeTimeout), 0);
        assert!(now < START + HANDSHAKE_TIMEOUT);

        for _ in 0..30 {
            now = now + Duration::from_millis(100);
            turn(&mut hub, now);
        }
        // Without keys there is nothing that could be said.
        assert!(dripping.0.borrow().shut && silent.0.borrow().shut);
        assert_eq!([dripping.heard(), silent.heard()], [b"", b""]);
        assert_eq!(counted(&hub, CloseReason::HandshakeTimeout), 2);
        assert!(hub.is_empty());
    }

    /// A client that has its keys, and its line.
    fn connected(hub: &mut Hub<Line>) -> (Line, ClientConnection, usize) {
        let (line, mut client) = (Line::wide(), client(&TLS13, &["http/1.1"]));
        let slot = admit(hub, &line);
        while client.is_handshaking() {
            line.say(&flight(&mut client));
            hub.wake(slot, true, false, false);
            turn(hub, START);
            read(&mut client, &line.heard());
        }
        line.say(&flight(&mut client));
        hub.wake(slot, true, false, false);
        turn(hub, START);
        (line, client, slot)
    }

    #[test]
    fn records_that_say_nothing_are_paid_for() {
        let mut hub = hub(Some(identity("hub-rekeying")));
        let (line, mut client, slot) = connected(&mut hub);
        // New keys again and again, and a byte in between, because rustls puts up with 32 in a row.
        for &byte in &ASK[..20] {
            (0..30).for_each(|_| client.refresh_traffic_keys().unwrap());
            client.writer().write_all(&[byte]).unwrap();
            line.say(&flight(&mut client));
            hub.wake(slot, true, false, false);
            turn(&mut hub, START);
        }
        let answer = read(&mut client, &line.heard());
        assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
        line.end();
        hub.wake(slot, true, false, true);
        turn(&mut hub, START);
        assert_eq!(counted(&hub, CloseReason::HeadTooLarge), 1);
        assert!(hub.is_empty());
    }

    #[test]
    fn what_a_slow_reader_asked_for_comes_whole_and_ends_with_a_goodbye() {
        let mut hub = hub(Some(identity("hub-slow")));
        let (line, mut client, slot) = connected(&mut hub);
        assert_eq!(hub.shared().metrics.tls_handshakes.get(), 1);
        line.0.borrow_mut().room = 0;
        client.writer().write_all(ASK).unwrap();
        line.say(&flight(&mut client));
        hub.wake(slot, true, false, false);
        turn(&mut hub, START);
        let waiting = hub.shared().metrics.outbox_bytes.get();
        assert!(waiting > 0);

        let mut page = vec![];
        for taken in 0..waiting {
            assert!(!line.0.borrow().shut, "after {taken} bytes of {waiting}");
            line.0.borrow_mut().room = 1;
            hub.wake(slot, false, true, false);
            turn(&mut hub, START);
            page.extend(read(&mut client, &line.heard()));
        }
        assert!(page.starts_with(b"HTTP/1.1 200 ") && page.ends_with(b"ok\n"));
        assert!(client.process_new_packets().unwrap().peer_has_closed());
        assert!(line.0.borrow().shut);
        assert_eq!(hub.shared().metrics.outbox_bytes.get(), 0);
    }

    #[test]
    fn what_is_answered_while_the_peer_takes_nothing_comes_in_order() {
        let mut hub = hub(Some(identity("hub-full")));
        let (line, mut client, slot) = connected(&mut hub);
        let say = |hub: &mut Hub<Line>, client: &mut ClientConnection, bytes: &[u8]| {
            client.writer().write_all(bytes).unwrap();
            line.say(&flight(client));
            hub.wake(slot, true, false, false);
            turn(hub, START);
            read(client, &line.heard())
        };
        let upgrade =
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        assert!(say(&mut hub, &mut client, upgrade).starts_with(b"HTTP/1.1 101 "));

        line.0.borrow_mut().room = 0;
        for byte in b"abcd" {
            // A text of one byte, masked with zeros.
            assert_eq!(say(&mut hub, &mut client, &[0x81, 0x81, 0, 0, 0, 0, *byte]), b"");
        }
        line.0.borrow_mut().room = usize::MAX;
        hub.wake(slot, false, true, false);
        turn(&mut hub, START);
        let echoes = b"\x81\x01a\x81\x01b\x81\x01c\x81\x01d";
        assert_eq!(read(&mut client, &line.heard()), echoes);
    }

    #[test]
    fn a_goodbye_of_tls_is_the_end_though_tcp_goes_on() {
        let mut hub = hub(Some(identity("hub-goodbye")));
        let (line, mut client, slot) = connected(&mut hub);
        client.send_close_notify();
        line.say(&flight(&mut client));
        hub.wake(slot, true, false, false);
        turn(&mut hub, START);
        assert!(hub.is_empty() && line.0.borrow().shut);
        assert_eq!(counted(&hub, CloseReason::PeerGone), 1);
        read(&mut client, &line.heard());
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }

    #[test]
    fn many_records_of_one_read_are_all_answered_though_no_edge_comes() {
        let mut hub = hub(Some(identity("hub-records")));
        let (line, mut client, slot) = connected(&mut hub);
        for part in ASK.chunks(3) {
            client.writer().write_all(part).unwrap();
        }
        line.say(&flight(&mut client));
        hub.wake(slot, true, false, false);
        turn(&mut hub, START);
        assert!(read(&mut client, &line.heard()).ends_with(b"ok\n"));
    }
}
