//! One bot without its socket: bytes in, bytes out, and the time as an argument.
//!
//! ```text
//! connected ─► request ─► response ─► hello ─► welcome ─► playing ─► closing ─► ended
//! ```
//! What was measured and what was wrong goes to the [`Tally`]. A bot never looks at a clock or at another bot.

use crate::frames::Frames;
use crate::measure::Tally;
use crate::player::Player;
use crate::random::Random;
use std::rc::Rc;
use std::time::Duration;
use tickyard::http::HeadScan;
use tickyard::time::Time;
use tickyard::websocket::handshake::{Request, ResponseError};
use tickyard::websocket::{CloseCode, Event, Limits, Role, WebSocket};
use tickyard_protocol::bytes::Malformed;
use tickyard_protocol::message::{
    ClientControl, Hello, RefusalCode, SUBPROTOCOL, Seek, ServerControl, VERSION, decode_server_control,
    encode_client_control, from_server,
};

/// Inputs come this far apart, give or take a fifth.
pub const INPUT_EVERY: Duration = Duration::from_millis(100);

/// From the time at which a connect was due to the welcome.
pub const JOIN_MAX: Duration = Duration::from_secs(10);

/// How long a server may take to answer a close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// PROTOCOL.md, section 1: what a client has to take.
const LIMITS: Limits = Limits { message_bytes_max: 1024 * 1024, fragments_max: 64 };

/// What all bots of a run have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name and port, for the request.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The game to join.
    pub game: String,
    /// Decides all that is random.
    pub seed: u64,
}

/// One bot.
pub struct Bot {
    websocket: WebSocket,
    talk: Talk,
}

/// All of a bot but its frames.
struct Talk {
    settings: Rc<Settings>,
    number: u32,
    checked: bool,
    /// Came to compare; a room that is full may turn it away.
    guest: bool,
    random: Random,
    /// When its connect was due.
    connect_at: Time,
    /// When its current slot began, and when within it the next send is due.
    slot_at: Time,
    due: Time,
    stage: Stage,
}

enum Stage {
    Connecting,
    Opening { key: [u8; 16], head: Vec<u8>, scan: HeadScan },
    Joining,
    Playing(Box<Player>),
    Closing { since: Time },
    Ended,
}

impl Bot {
    /// A bot whose connect is due at `connect_at`. Only a `checked` one keeps a world.
    pub fn new(settings: &Rc<Settings>, number: u32, checked: bool, guest: bool, connect_at: Time) -> Self {
        let mut random = Random::new(settings.seed, u64::from(number));
        let spread = Duration::from_millis(random.below(INPUT_EVERY.as_millis() as u64));
        let slot_at = Time::from_micros(connect_at.as_micros() / 1000 * 1000) + spread;
        let settings = Rc::clone(settings);
        let stage = Stage::Connecting;
        let talk =
            Talk { settings, number, checked, guest, random, connect_at, slot_at, due: slot_at, stage };
        Bot { websocket: WebSocket::new(Role::Client, LIMITS), talk }
    }

    /// The TCP connection stands: asks for the upgrade.
    pub fn handle_connected(&mut self, out: &mut Frames) {
        let key = self.talk.random.key();
        request(&self.talk.settings, key).write(&mut out.bytes);
        self.talk.stage = Stage::Opening { key, head: Vec::new(), scan: HeadScan::default() };
    }

    /// Bytes from the server, which are changed in place.
    pub fn handle_bytes(&mut self, now: Time, bytes: &mut [u8], out: &mut Frames, tally: &mut Tally) {
        match &mut self.talk.stage {
            Stage::Opening { .. } => self.read_response(now, bytes, out, tally),
            Stage::Connecting | Stage::Ended => {}
            _ => self.read_frames(now, bytes, out, tally),
        }
    }

    /// The socket has ended: in order, or with `error`.
    pub fn handle_end(&mut self, error: Option<String>, tally: &mut Tally) {
        let what = error.unwrap_or_else(|| "the server ended the connection".to_string());
        match self.talk.stage {
            Stage::Ended | Stage::Closing { .. } => {}
            Stage::Connecting => tally.errors.add(format!("connect: {what}")),
            Stage::Opening { .. } => tally.errors.add(format!("handshake: {what}")),
            Stage::Joining => tally.errors.add(format!("hello: {what}")),
            Stage::Playing(_) => tally.errors.add(format!("playing: {what} without a close frame")),
        }
        self.talk.stage = Stage::Ended;
    }

    /// When to call [`Bot::handle_timeout`].
    pub fn poll_timeout(&self) -> Time {
        self.talk.due
    }

    /// A send is due, or a deadline has passed. `writable`: whether the socket takes bytes.
    pub fn handle_timeout(&mut self, now: Time, writable: bool, out: &mut Frames, tally: &mut Tally) {
        let due = self.talk.due;
        self.talk.plan_next();
        match &mut self.talk.stage {
            Stage::Playing(player) => {
                player.handle_slot(now, due, writable, &mut self.talk.random, out, tally)
            }
            Stage::Closing { since } if now.since(*since) > CLOSE_MAX => self.talk.stage = Stage::Ended,
            Stage::Closing { .. } | Stage::Ended => {}
            _ if now.since(self.talk.connect_at) > JOIN_MAX => {
                tally.errors.add(format!("{}: nothing for {JOIN_MAX:?}", self.talk.stage_name()));
                self.talk.stage = Stage::Ended;
            }
            _ => {}
        }
    }

    /// Says good-bye.
    pub fn leave(&mut self, now: Time, out: &mut Frames, tally: &mut Tally) {
        match std::mem::replace(&mut self.talk.stage, Stage::Ended) {
            Stage::Playing(mut player) => {
                player.end(now, tally);
                out.close(&mut self.talk.random, CloseCode::NORMAL, "");
                self.talk.stage = Stage::Closing { since: now };
            }
            Stage::Joining => {
                out.close(&mut self.talk.random, CloseCode::NORMAL, "");
                self.talk.stage = Stage::Closing { since: now };
            }
            stage @ Stage::Closing { .. } => self.talk.stage = stage,
            Stage::Connecting | Stage::Opening { .. } | Stage::Ended => {}
        }
    }

    /// The game, while it is played.
    pub fn player(&self) -> Option<&Player> {
        if let Stage::Playing(player) = &self.talk.stage { Some(player) } else { None }
    }

    /// The game, while it is played.
    pub fn player_mut(&mut self) -> Option<&mut Player> {
        if let Stage::Playing(player) = &mut self.talk.stage { Some(player) } else { None }
    }

    /// Whether it may still get into the game.
    pub fn is_joining(&self) -> bool {
        matches!(self.talk.stage, Stage::Connecting | Stage::Opening { .. } | Stage::Joining)
    }

    /// Whether nothing more will come, and the socket can be dropped.
    pub fn is_ended(&self) -> bool {
        matches!(self.talk.stage, Stage::Ended)
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.talk.number
    }

    /// Whether it keeps a world.
    pub fn is_checked(&self) -> bool {
        self.talk.checked
    }

    fn read_response(&mut self, now: Time, bytes: &[u8], out: &mut Frames, tally: &mut Tally) {
        let Some(opened) = self.talk.open(bytes) else { return };
        match opened {
            Ok(mut frames) => {
                self.talk.say_hello(out);
                self.read_frames(now, &mut frames, out, tally);
            }
            Err(error) => {
                tally.errors.add(format!("handshake: {error}"));
                self.talk.stage = Stage::Ended;
            }
        }
    }

    fn read_frames(&mut self, now: Time, bytes: &mut [u8], out: &mut Frames, tally: &mut Tally) {
        let Bot { websocket, talk } = self;
        let mut rest = bytes;
        loop {
            match websocket.read(&mut rest) {
                Ok(Some(event)) => talk.handle_event(now, event, out, tally),
                Ok(None) => return,
                Err(error) => {
                    let what = format!("a broken frame ({error:?})");
                    return talk.accuse(now, &what, error.close_code(), out, tally);
                }
            }
        }
    }
}

impl Talk {
    /// Takes a part of the response. `Some`: the frames after it, or why it is none.
    fn open(&mut self, bytes: &[u8]) -> Option<Result<Vec<u8>, String>> {
        let Stage::Opening { key, head, scan } = &mut self.stage else { return None };
        head.extend_from_slice(bytes);
        let (agreed, used) = match scan.response(head) {
            Ok(None) => return None,
            Ok(Some((response, used))) => (request(&self.settings, *key).check(&response), used),
            Err(error) => return Some(Err(format!("{error:?}"))),
        };
        Some(match agreed {
            Ok(()) => Ok(head.split_off(used)),
            Err(ResponseError::Status(status)) => Err(format!("HTTP status {status} instead of 101")),
            Err(error) => Err(format!("the response does not fit the request ({error:?})")),
        })
    }

    fn say_hello(&mut self, out: &mut Frames) {
        self.stage = Stage::Joining;
        let hello = Hello {
            version: VERSION,
            build: "",
            seek: Seek::JoinOrCreate(&self.settings.game),
            name: &format!("bot {}", self.number),
            options: &[],
            token: "",
            resume: &[],
            tags: vec![],
        };
        out.binary(&mut self.random, |out| encode_client_control(&ClientControl::Hello(hello), out));
    }

    fn handle_event(&mut self, now: Time, event: Event, out: &mut Frames, tally: &mut Tally) {
        if matches!(self.stage, Stage::Ended | Stage::Closing { .. }) && !matches!(event, Event::Close(_)) {
            return;
        }
        let heard = match event {
            Event::Binary(message) => self.handle_message(now, message, tally),
            Event::Ping(payload) => return out.pong(&mut self.random, payload),
            Event::Pong(_) => return,
            Event::Close(close) => return self.handle_close(now, close, out, tally),
            Event::Text(_) => return self.accuse(now, "a text message", CloseCode::UNSUPPORTED, out, tally),
        };
        if let Err(error) = heard {
            self.accuse(now, &format!("a malformed message ({error})"), CloseCode::PROTOCOL, out, tally);
        }
    }

    fn handle_message(&mut self, now: Time, message: &[u8], tally: &mut Tally) -> Result<(), Malformed> {
        tally.traffic.messages_in += tally.is_open() as u64;
        match &mut self.stage {
            Stage::Playing(player) => player.handle_message(now, message, tally),
            Stage::Joining => self.handle_answer(now, message, tally),
            _ => Ok(()),
        }
    }

    fn handle_answer(&mut self, now: Time, message: &[u8], tally: &mut Tally) -> Result<(), Malformed> {
        let Some((&from_server::CONTROL, rest)) = message.split_first() else {
            return Err(Malformed::Invalid);
        };
        let failed = match decode_server_control(rest)? {
            ServerControl::Welcome(welcome) => {
                tally.welcomed(self.connect_at, now, welcome.tick_rate);
                let random = Random::new(self.settings.seed, u64::from(self.number) | 1 << 32);
                let mut player = Player::new(self.number, welcome, self.checked, random, now);
                if self.guest {
                    player.stop();
                }
                self.stage = Stage::Playing(Box::new(player));
                return Ok(());
            }
            ServerControl::Refused(refused) if self.guest && refused.code == RefusalCode::Full as u16 => {
                self.stage = Stage::Closing { since: now };
                return Ok(());
            }
            ServerControl::Refused(refused) => format!("refused ({}): {}", refused.code, refused.text),
            ServerControl::Redirect(redirect) => {
                format!("redirected: start the swarm with --url {}", redirect.url)
            }
        };
        tally.errors.add(failed);
        self.stage = Stage::Closing { since: now };
        Ok(())
    }

    fn handle_close(
        &mut self,
        now: Time,
        close: Option<(CloseCode, &str)>,
        out: &mut Frames,
        tally: &mut Tally,
    ) {
        let what = match close {
            Some((code, "")) => format!("closed with {code}"),
            Some((code, reason)) => format!("closed with {code} ({reason})"),
            None => "closed without a code".to_string(),
        };
        tally.closes.add(what.clone());
        if matches!(self.stage, Stage::Closing { .. } | Stage::Ended) {
            self.stage = Stage::Ended;
            return;
        }
        tally.errors.add(format!("{}: {what}", self.stage_name()));
        out.close(&mut self.random, close.map_or(CloseCode::NORMAL, |(code, _)| code), "");
        self.stage = Stage::Closing { since: now };
    }

    /// The server broke a rule that leaves no way to go on.
    fn accuse(&mut self, now: Time, what: &str, code: CloseCode, out: &mut Frames, tally: &mut Tally) {
        let number = self.number;
        tally.violations.add(|| format!("bot {number}: {what}"));
        out.close(&mut self.random, code, "");
        self.stage = Stage::Closing { since: now };
    }

    /// Slots follow each other at a fixed rate, however late they are served; jitter does not add up. All are due at whole
    /// milliseconds, which is how exactly the loop can be woken.
    fn plan_next(&mut self) {
        self.slot_at = self.slot_at + INPUT_EVERY;
        let jitter = INPUT_EVERY.as_millis() as u64 / 5;
        let shift = Duration::from_millis(self.random.below(2 * jitter + 1));
        self.due = self.slot_at + shift - Duration::from_millis(jitter);
    }

    fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Connecting => "connect",
            Stage::Opening { .. } => "handshake",
            Stage::Joining => "hello",
            Stage::Playing(_) => "playing",
            Stage::Closing { .. } | Stage::Ended => "closing",
        }
    }
}

fn request(settings: &Settings, key: [u8; 16]) -> Request<'_> {
    Request { host: &settings.host, target: &settings.target, protocol: Some(SUBPROTOCOL), key, headers: &[] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, entity, framed, welcome};
    use tickyard::http::RequestHead;
    use tickyard::websocket::frame::write_close;
    use tickyard::websocket::handshake::Upgrade;
    use tickyard_protocol::message::{Input, Pong, decode_client_control, decode_want, from_client};
    use tickyard_protocol::tick::Reliable;
    use tickyard_protocol::types::{Seq, Tick};

    /// A bot, and a server that is played by the test.
    struct Play {
        bot: Bot,
        out: Frames,
        tally: Tally,
        now: Time,
        server: WebSocket,
    }

    fn play(checked: bool) -> Play {
        let settings = Settings { host: "h:1".into(), target: "/play".into(), game: "arena".into(), seed: 1 };
        let bot = Bot::new(&Rc::new(settings), 3, checked, false, Time::ZERO);
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

    fn playing(checked: bool) -> Play {
        let mut play = play(checked);
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
    fn latency_counts_from_when_the_input_was_due_to_the_first_state_that_has_it() {
        let mut play = playing(false);
        let due = play.bot.poll_timeout();
        play.now = due + Duration::from_millis(30);
        play.bot.handle_timeout(play.now, true, &mut play.out, &mut play.tally);
        play.said();
        play.hear(&Script::new(1).bytes());
        assert_eq!(play.tally.input_to_state.count(), 0);
        play.now = due + Duration::from_millis(80);
        play.hear(&Script::new(2).seq(1).bytes());
        assert_eq!(play.tally.input_to_state.count(), 1);
        assert_eq!(play.tally.input_to_state.max().as_millis(), 80);
    }

    #[test]
    fn an_input_that_never_shows_up_counts_with_its_whole_wait() {
        let mut play = playing(false);
        play.input();
        play.now = play.now + Duration::from_secs(3);
        play.bot.leave(play.now, &mut play.out, &mut play.tally);
        assert_eq!((play.tally.unanswered, play.tally.input_to_state.max().as_secs()), (1, 3));
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
    fn a_checked_bot_finds_a_sum_that_differs_and_asks_for_the_cell() {
        let mut play = playing(true);
        play.hear(&Script::new(1).view(&[8]).snapshot(8, &[entity(4, 100)]).bytes());
        play.hear(&Script::new(2).delta_with_sum(8, 1, Some(12345)).bytes());
        assert_eq!((play.tally.desyncs, play.tally.sums_checked, play.tally.violations.count), (1, 2, 1));
        let want =
            play.slot(true).into_iter().find(|message| message[0] == from_client::WANT).expect("a want");
        let mut cells = Vec::new();
        decode_want(&want[1..], |cell| cells.push(cell.0)).unwrap();
        assert_eq!(cells, [8]);
    }

    #[test]
    fn a_frozen_cell_is_compared_with_the_snapshot_that_was_asked_for() {
        for (told, differences) in [(100, 0), (101, 1)] {
            let mut play = playing(true);
            play.hear(&Script::new(1).view(&[8]).snapshot(8, &[entity(4, 100)]).bytes());
            play.tally.agreement.begin(Tick(1));
            assert!(play.bot.player_mut().unwrap().freeze());
            assert!(play.slot(true).iter().any(|message| message[0] == from_client::WANT));
            assert_eq!(play.bot.player().unwrap().awaited().count(), 1);
            play.hear(&Script::new(9).snapshot(8, &[entity(4, told)]).bytes());
            assert_eq!(play.bot.player().unwrap().awaited().count(), 0);
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
    fn a_close_that_nobody_asked_for_is_an_error_with_its_reason() {
        let mut play = playing(false);
        let mut close = Vec::new();
        write_close(&mut close, Some((CloseCode::TRY_LATER, "too slow")), None);
        play.hear_bytes(close);
        assert_eq!(play.said(), [b"close 1013"]);
        assert_eq!(play.tally.errors.0["playing: closed with 1013 (too slow)"], 1);
        play.bot.handle_end(None, &mut play.tally);
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
        assert!(play.bot.is_ended());
        assert_eq!((play.tally.errors.count(), play.tally.closes.0["closed with 1000"]), (0, 1));
    }

    #[test]
    fn a_server_that_falls_silent_is_reported() {
        let mut play = playing(false);
        (0..70).for_each(|_| drop(play.slot(true)));
        assert_eq!(play.tally.violations.spelt, ["bot 3: heard nothing for 5s"]);
    }
}
