//! A bot against a server that the test plays, byte by byte.

mod measured;

use super::*;
use crate::rooms::Newest;
use crate::testing::{Script, entity, framed, welcome};
use tickyard::http::RequestHead;
use tickyard::websocket::deflate::Terms;
use tickyard::websocket::frame::{Opcode, write_close, write_frame};
use tickyard::websocket::handshake::Upgrade;
use tickyard_protocol::delta::view_sum;
use tickyard_protocol::message::{
    Input, Pong, Refused, decode_client_control, encode_server_control, from_client,
};
use tickyard_protocol::repair::{Repair, RepairWhy};
use tickyard_protocol::tick::Reliable;
use tickyard_protocol::types::{CellId, Seq, Tick};

/// A bot, and a server that is played by the test.
struct Play {
    bot: Bot,
    out: Frames,
    tally: Tally,
    now: Time,
    server: WebSocket,
}

fn play(checked: bool) -> Play {
    play_with(checked, false, Way::Play)
}

fn play_with(checked: bool, deflate: bool, way: Way) -> Play {
    let (host, target, game) = ("h:1".into(), "/play".into(), "arena".into());
    let settings = Settings { host, target, game, seed: 1, deflate };
    let part = Part { number: 3, way, checked, ..Part::default() };
    let bot = Bot::new(&Rc::new(settings), part, Time::ZERO);
    let server = WebSocket::new(Role::Server, LIMITS);
    Play { bot, out: Frames::default(), tally: Tally::new(), now: Time::ZERO, server }
}

/// Answers the request; gives the bytes of the response.
fn upgraded(play: &mut Play) -> Vec<u8> {
    play.bot.handle_connected(&mut play.out);
    let (head, used) = RequestHead::parse(&play.out.bytes).unwrap().unwrap();
    assert_eq!((head.path, used), ("/play", play.out.bytes.len()));
    let mut response = Vec::new();
    Upgrade::check(&head, &[SUBPROTOCOL]).unwrap().write(&mut response);
    play.out.clear();
    response
}

/// The same by a server that compresses where that is offered.
fn upgraded_with_deflate(play: &mut Play) -> Vec<u8> {
    play.bot.handle_connected(&mut play.out);
    let (head, _) = RequestHead::parse(&play.out.bytes).unwrap().unwrap();
    let upgrade = Upgrade::check(&head, &[SUBPROTOCOL]).unwrap().with_deflate(&head, Terms::NoTakeover);
    let mut response = Vec::new();
    upgrade.write(&mut response);
    play.out.clear();
    response
}

#[test]
fn a_bot_that_needs_compression_offers_it_and_reads_it() {
    assert_eq!(OFFER.to_string(), offer::NAME);
    let mut play = play_with(false, true, Way::Play);
    let response = upgraded_with_deflate(&mut play);
    assert!(
        String::from_utf8_lossy(&response).contains("\r\nSec-WebSocket-Extensions: permessage-deflate; ")
    );
    play.hear_bytes(response);
    assert_eq!(play.said().len(), 1);

    // The welcome of this schema is too short to be worth it: a stored block says the same.
    let welcome = welcome();
    let len = welcome.len() as u16;
    let payload = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), &welcome, &[0]].concat();
    let mut frame = framed(&payload);
    frame[0] |= 0x40;
    play.hear_bytes(frame);
    assert!(play.bot.player().is_some());
    assert_eq!(play.tally.errors.count(), 0);
}

#[test]
fn a_bot_that_needs_compression_and_does_not_get_it_closes_with_1010() {
    let mut play = play_with(false, true, Way::Play);
    let response = upgraded(&mut play);
    play.hear_bytes(response);
    let mut bytes = std::mem::take(&mut play.out.bytes);
    let mut input = &mut bytes[..];
    let close = Some((CloseCode::EXTENSION, "permessage-deflate"));
    assert_eq!(play.server.read(&mut input), Ok(Some(Event::Close(close))));
    assert_eq!(play.tally.errors.count(), 1);

    let mut answer = Vec::new();
    write_close(&mut answer, Some((CloseCode::EXTENSION, "")), None);
    play.hear_bytes(answer);
    play.bot.handle_end(play.now, None, &mut play.tally);
    assert!(play.bot.is_ended());
    assert_eq!(play.tally.errors.count(), 1);
}

fn playing(checked: bool) -> Play {
    begin(play(checked))
}

/// In the game, and measured.
fn begin(mut play: Play) -> Play {
    let response = upgraded(&mut play);
    play.hear_bytes(response);
    assert_eq!(play.said().len(), 1);
    play.hear(&welcome());
    play.tally.open(play.now);
    play
}

impl Play {
    fn hear_bytes(&mut self, mut bytes: Vec<u8>) {
        self.bot.handle_bytes(self.now, &mut bytes, &mut self.out, &mut self.tally);
    }

    fn hear(&mut self, message: &[u8]) {
        self.hear_bytes(framed(message));
    }

    /// The next slot comes.
    fn slot(&mut self, writable: bool) -> Vec<Vec<u8>> {
        self.now = self.bot.poll_timeout();
        self.tally.read_all_at = self.now;
        self.bot.handle_timeout(self.now, writable, &mut self.out, &mut self.tally);
        self.said()
    }

    /// The messages that the bot has said since.
    fn said(&mut self) -> Vec<Vec<u8>> {
        let mut rest = &mut self.out.bytes[..];
        let mut messages = Vec::new();
        while let Some(event) = self.server.read(&mut rest).unwrap() {
            match event {
                Event::Binary(message) => messages.push(message.to_vec()),
                Event::Close(close) => messages.push(format!("close {}", close.unwrap().0).into_bytes()),
                Event::Pong(payload) => messages.push(payload.to_vec()),
                event => panic!("{event:?}"),
            }
        }
        self.out.clear();
        messages
    }

    fn input(&mut self) -> Input {
        let said = self.slot(true);
        let input = said.iter().find(|message| message[0] == from_client::INPUT).expect("an input");
        Input::decode(&input[1..], &crate::testing::schema().input).unwrap()
    }
}

#[test]
fn a_bot_asks_for_the_upgrade_says_hello_and_plays() {
    let mut play = play(false);
    let mut response = upgraded(&mut play);
    // The welcome may come in the same segment as the response, and either in pieces.
    response.extend(framed(&welcome()));
    play.now = Time::from_micros(700);
    for byte in response {
        play.hear_bytes(vec![byte]);
    }
    let said = play.said();
    let Ok(ClientControl::Hello(hello)) = decode_client_control(&said[0][1..]) else { panic!("a hello") };
    assert_eq!((hello.seek, hello.name), (Seek::JoinOrCreate("arena"), "bot 3"));
    assert_eq!(said.len(), 1);
    assert!(play.bot.player().is_some());
    assert_eq!((play.tally.connected, play.tally.handshake.max()), (1, Duration::from_micros(700)));
}

#[test]
fn a_response_that_is_no_upgrade_is_an_error_with_its_status() {
    let mut play = play(false);
    upgraded(&mut play);
    play.hear_bytes(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n".to_vec());
    assert!(play.bot.is_ended());
    assert_eq!(play.tally.errors.0["handshake: HTTP status 503 instead of 101"], 1);
}

#[test]
fn ten_inputs_a_second_are_due_and_their_jitter_does_not_add_up() {
    let mut play = playing(false);
    let start = play.bot.poll_timeout();
    for number in 1..=100 {
        let due = play.bot.poll_timeout();
        assert_eq!(play.input().seq, Seq(number));
        let ideal = start + INPUT_EVERY * (number - 1);
        let off = due.as_micros().abs_diff(ideal.as_micros());
        assert!(off <= 40_000, "input {number} is off by {off} us");
    }
}

#[test]
fn slots_are_spread_evenly_over_the_time_between_inputs_whenever_bots_come() {
    let after = |number, connect_at| {
        let connect_at = Time::from_micros(connect_at);
        let first = first_slot(number, connect_at);
        assert!(first.since(connect_at) < INPUT_EVERY && first >= connect_at);
        first.as_micros() % 100_000 / 1000
    };
    for bots in [10, 20, 100] {
        let mut slots: Vec<u64> =
            (0..bots).map(|number| after(number, u64::from(number) * 2_345_678)).collect();
        slots.sort_unstable();
        slots.push(slots[0] + 100);
        let gap = slots.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(gap <= Some(2 * 100 / u64::from(bots)), "{bots} bots: {slots:?}");
    }
}

#[test]
fn latency_counts_from_when_the_input_was_due_to_the_first_state_that_has_it() {
    let mut play = playing(false);
    let due = play.bot.poll_timeout();
    play.now = due + Duration::from_millis(30);
    play.bot.handle_timeout(play.now, true, &mut play.out, &mut play.tally);
    play.said();
    play.hear(&Script::new(1).bytes());
    assert_eq!(play.tally.groups.whole.input_to_state.count(), 0);
    play.now = due + Duration::from_millis(80);
    play.hear(&Script::new(2).seq(1).bytes());
    assert_eq!(play.tally.groups.whole.input_to_state.count(), 1);
    assert_eq!(play.tally.groups.whole.input_to_state.max().as_millis(), 80);
}

#[test]
fn an_input_that_never_shows_up_counts_with_its_whole_wait() {
    let mut play = playing(false);
    play.input();
    play.now = play.now + Duration::from_secs(3);
    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    assert_eq!((play.tally.unanswered, play.tally.groups.whole.input_to_state.max().as_secs()), (1, 3));
}

#[test]
fn an_input_is_skipped_and_counted_while_the_socket_takes_nothing() {
    let mut play = playing(false);
    assert_eq!(play.slot(false), Vec::<Vec<u8>>::new());
    assert_eq!(play.tally.skipped_sends, 1);
    assert_eq!(play.input().seq, Seq(1));
}

#[test]
fn reliable_messages_are_acknowledged_with_an_input_or_without() {
    let mut play = playing(false);
    let award = Reliable::Award { points: 1, reason: "" };
    play.hear(&Script::new(1).reliable(1, award).bytes());
    assert_eq!(play.input().ack, 1);
    play.bot.player_mut().unwrap().stop();
    assert_eq!(play.input().row, [0; 16]);
    play.hear(&Script::new(2).seq(2).reliable(2, award).bytes());
    assert!(play.bot.player().unwrap().is_stopped());
    assert!(play.slot(true).contains(&vec![from_client::ACK, 2, 0, 0, 0]));
}

#[test]
fn pings_come_about_every_two_seconds_and_pongs_are_measured() {
    let mut play = playing(false);
    let mut pings = Vec::new();
    for tick in 1..=60 {
        let said = play.slot(true);
        if let Some(ping) = said.iter().find(|message| message[0] == from_client::PING) {
            pings.push(play.now.as_micros() / 1000);
            let mut pong = Vec::new();
            let stamp = ping[1..].try_into().unwrap();
            Pong { stamp, tick: Tick(0), micros: 0 }.encode(&mut pong);
            play.now = play.now + Duration::from_millis(4);
            play.hear(&pong);
        }
        play.hear(&Script::new(tick).bytes());
    }
    assert!(pings.windows(2).all(|pair| (1900..2300).contains(&(pair[1] - pair[0]))), "{pings:?}");
    assert_eq!((play.tally.ping.count(), play.tally.ping.max().as_millis()), (pings.len() as u64, 4));
    assert_eq!(play.tally.violations.count, 0);
}

#[test]
fn a_checked_bot_finds_a_sum_that_differs_and_asks_for_a_repair() {
    let mut play = playing(true);
    play.hear(&Script::new(1).view(&[8]).snapshot(8, &[entity(4, 100)]).bytes());
    play.hear(&Script::new(2).delta_with_sum(8, 1, Some(12345)).bytes());
    assert_eq!((play.tally.desyncs, play.tally.sums_checked, play.tally.violations.count), (1, 2, 1));
    let repair = play.slot(true).into_iter().find(|message| message[0] == from_client::REPAIR);
    let told = Repair { why: RepairWhy::Sum, tick: Tick(2), cells: vec![CellId(8)] };
    assert_eq!((Repair::decode(&repair.expect("a repair")[1..]), play.tally.repairs), (Ok(told), 1));
}

#[test]
fn every_bot_finds_a_check_that_differs_and_asks_for_a_repair() {
    for checked in [false, true] {
        let mut play = playing(checked);
        play.hear(&Script::new(1).view(&[8, 9]).snapshot(8, &[]).snapshot(9, &[]).bytes());
        let right = view_sum([(CellId(8), Tick(1)), (CellId(9), Tick(1))].into_iter());
        play.hear(&Script::new(2).check(right).bytes());
        assert_eq!(play.tally.violations.count, 0);
        // The last word of cell 9 was at tick 2, and it did not come.
        let wrong = view_sum([(CellId(8), Tick(1)), (CellId(9), Tick(2))].into_iter());
        play.hear(&Script::new(3).check(wrong).bytes());
        let asked = play.slot(true).into_iter().filter(|message| message[0] == from_client::REPAIR);
        assert!(asked.count() == 1 && play.tally.violations.count > 0);
    }
}

#[test]
fn a_frozen_cell_is_compared_with_the_snapshot_that_was_asked_for() {
    for (told, differences) in [(100, 0), (101, 1)] {
        let mut play = playing(true);
        play.hear(&Script::new(1).view(&[8]).snapshot(8, &[entity(4, 100)]).bytes());
        let mut newest = Newest::default();
        newest.hear(play.bot.player().unwrap().room(), Tick(1));
        play.tally.agreement.begin(newest);
        play.bot.player_mut().unwrap().world_mut().unwrap().freeze(&mut play.tally);
        assert!(play.slot(true).iter().any(|message| message[0] == from_client::WANT));
        assert_eq!(play.bot.player().unwrap().world().unwrap().awaited(), 1);
        play.hear(&Script::new(9).snapshot(8, &[entity(4, told)]).bytes());
        assert_eq!(play.bot.player().unwrap().world().unwrap().awaited(), 0);
        let Tally { agreement, violations, .. } = &mut play.tally;
        agreement.judge(violations);
        assert_eq!((agreement.cells, agreement.fields), (1, 5));
        assert_eq!((agreement.differences, violations.count), (differences, differences));
    }
}

#[test]
fn a_malformed_message_is_a_violation_and_closes_with_1002() {
    let mut play = playing(false);
    let mut message = Script::new(1).bytes();
    message.push(2);
    play.hear(&message);
    assert_eq!(play.said(), [b"close 1002"]);
    assert_eq!((play.tally.violations.count, play.tally.errors.count()), (1, 0));
    let mut play = playing(false);
    play.hear_bytes(b"\x83\x00".to_vec());
    assert_eq!(play.said(), [b"close 1002"]);
}

#[test]
fn a_masked_frame_from_a_server_fails_the_connection_and_nothing_after_it_counts() {
    let mut play = playing(false);
    let mut masked = Vec::new();
    write_frame(&mut masked, Opcode::Binary, &Script::new(1).bytes(), Some([1, 2, 3, 4]));
    // RFC 6455, 7.1.7: not even a close is processed any more.
    write_close(&mut masked, Some((CloseCode::NORMAL, "")), None);
    play.hear_bytes(masked);
    assert_eq!(play.said(), [b"close 1002"]);
    assert_eq!(play.tally.violations.spelt, ["bot 3: a broken frame (Masked)"]);
    assert_eq!((play.tally.closes.count(), play.tally.traffic.messages_in), (0, 0));
    assert!(!play.bot.is_ended());
    play.bot.handle_end(play.now, None, &mut play.tally);
    assert!(play.bot.is_ended() && play.tally.errors.count() == 0);
}

#[test]
fn a_response_that_any_check_finds_wrong_opens_nothing() {
    let good = String::from_utf8(upgraded(&mut play(false))).unwrap();
    for (from, to, why) in [
        ("Upgrade: websocket", "Upgrade: h2c", "Upgrade"),
        ("Connection: Upgrade", "Connection: close", "Connection"),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: A", "Accept"),
        ("Sec-WebSocket-Protocol: tickyard.v1\r\n", "", "Protocol"),
        (
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol",
            "Extension",
        ),
        ("HTTP/1.1", "HTTP/3.1", "answered with an unknown version of HTTP"),
        // An alert: it speaks TLS.
        ("HTTP/1.1", "\x15\x03\x01\x00\x02\x02\x0a", "is it wss://?"),
    ] {
        let mut play = play(false);
        let response = String::from_utf8(upgraded(&mut play)).unwrap();
        assert!(response.contains(from) && response.len() == good.len(), "{from}");
        play.hear_bytes(response.replacen(from, to, 1).into_bytes());
        assert!(play.bot.is_ended() && play.said().is_empty(), "{from} -> {to}");
        let told = play.tally.errors.0.keys().next().unwrap();
        assert!(told.starts_with("handshake: ") && told.contains(why), "{told}");
    }
}

#[test]
fn a_close_that_nobody_asked_for_is_an_error_with_its_reason() {
    let mut play = playing(false);
    let mut close = Vec::new();
    write_close(&mut close, Some((CloseCode::TRY_LATER, "too slow")), None);
    play.hear_bytes(close);
    assert_eq!(play.said(), [b"close 1013"]);
    assert_eq!(play.tally.errors.0["playing: closed with 1013 (too slow)"], 1);
    play.bot.handle_end(play.now, None, &mut play.tally);
    assert!(play.bot.is_ended() && play.tally.errors.count() == 1);
}

#[test]
fn a_good_bye_is_answered_and_no_error() {
    let mut play = playing(false);
    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    assert_eq!(play.said(), [b"close 1000"]);
    let mut close = Vec::new();
    write_close(&mut close, Some((CloseCode::NORMAL, "")), None);
    play.hear_bytes(close);
    // The server ends the connection, so that it is the one that remembers it.
    assert!(!play.bot.is_ended());
    play.bot.handle_end(play.now, None, &mut play.tally);
    assert!(play.bot.is_ended());
    assert_eq!((play.tally.errors.count(), play.tally.closes.0["closed with 1000"]), (0, 1));
}

#[test]
fn only_one_close_is_sent_whatever_comes_after_it() {
    let mut play = playing(false);
    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    assert_eq!(play.said(), [b"close 1000"]);
    // A ping, a message without a type, a text, a frame that no server may send.
    play.hear_bytes(b"\x89\x00\x82\x00\x81\x01a\x83\x00".to_vec());
    assert_eq!(play.out.bytes, b"");
    assert_eq!(play.tally.violations.count, 1);
}

#[test]
fn a_close_that_is_not_answered_is_an_error() {
    let mut play = playing(false);
    play.bot.leave(play.now, &mut play.out, &mut play.tally);
    (0..60).for_each(|_| drop(play.slot(true)));
    assert!(play.bot.is_ended());
    assert_eq!(play.tally.errors.0["closing: no end within 5s"], 1);
}

#[test]
fn a_refusal_is_told_in_its_words_and_the_close_after_it_answered() {
    let mut play = play(false);
    let response = upgraded(&mut play);
    play.hear_bytes(response);
    play.said();
    let refused = Refused { code: 4, text: "full".into(), retry_after_millis: None, tags: vec![] };
    let mut message = Vec::new();
    encode_server_control(&ServerControl::Refused(refused), &mut message);
    play.hear(&message);
    let mut close = Vec::new();
    write_close(&mut close, Some((CloseCode::new(4001), "full")), None);
    play.hear_bytes(close);
    assert_eq!(play.said(), [b"close 4001"]);
    assert_eq!(play.tally.errors.0.iter().collect::<Vec<_>>(), [(&"refused (4): full".to_string(), &1)]);
}

#[test]
fn a_server_that_falls_silent_is_reported() {
    let mut play = playing(false);
    (0..70).for_each(|_| drop(play.slot(true)));
    assert_eq!(play.tally.violations.spelt, ["bot 3: heard nothing for 5s"]);
}
