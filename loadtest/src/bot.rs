//! One bot without its socket: bytes in, bytes out, and the time as an argument.
//!
//! ```text
//! connected ─► request ─► response ─► hello ─► welcome ─► playing ─► closing ─► ended
//! ```
//! What was measured and what was wrong goes to the [`Tally`]. A bot never looks at a clock or at another bot.

use crate::behaviour::Way;
use crate::frames::Frames;
use crate::measure::Tally;
use crate::player::{Game, Player};
use crate::random::Random;
use crate::record::RECORDED_BOT;
use std::rc::Rc;
use std::time::Duration;
use tickyard::http::{HeadScan, HttpError};
use tickyard::time::Time;
use tickyard::websocket::deflate::{Agreement, Offer, offer};
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
    /// Whether the server has to compress.
    pub deflate: bool,
}

/// Which bot it is, and what is its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Its number in the run.
    pub number: u32,
    /// How many bots had this number before.
    pub life: u32,
    /// How it plays.
    pub way: Way,
    /// Whether it keeps a world.
    pub checked: bool,
}

/// One bot.
pub struct Bot {
    websocket: WebSocket,
    talk: Talk,
}

/// All of a bot but its frames.
struct Talk {
    settings: Rc<Settings>,
    part: Part,
    /// The room that it asks for, to compare worlds there; one that is full may turn it away.
    visits: Option<Rc<str>>,
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
    Opening {
        key: [u8; 16],
        head: Vec<u8>,
        scan: HeadScan,
    },
    Joining,
    Playing(Box<Player>),
    /// Waiting for the end; `said`: our close frame went out.
    Closing {
        since: Time,
        said: bool,
    },
    Ended,
}

impl Bot {
    /// A bot whose connect is due at `connect_at`.
    pub fn new(settings: &Rc<Settings>, part: Part, connect_at: Time) -> Self {
        let random = Random::new(settings.seed, part.stream());
        let slot_at = first_slot(part.number, connect_at);
        let settings = Rc::clone(settings);
        let stage = Stage::Connecting;
        let talk = Talk { settings, part, visits: None, random, connect_at, slot_at, due: slot_at, stage };
        Bot { websocket: WebSocket::new(Role::Client, LIMITS), talk }
    }

    /// It does not play, but looks at the room with this id.
    pub fn visiting(mut self, room: Rc<str>) -> Self {
        self.talk.visits = Some(room);
        self
    }

    /// The TCP connection stands: asks for the upgrade.
    pub fn handle_connected(&mut self, out: &mut Frames) {
        let key = out.handshake_key();
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
    pub fn handle_end(&mut self, now: Time, error: Option<String>, tally: &mut Tally) {
        let what = error.unwrap_or_else(|| "the server ended the connection".to_string());
        match self.talk.stage {
            Stage::Ended | Stage::Closing { .. } => {}
            Stage::Connecting => tally.errors.add(format!("connect: {what}")),
            Stage::Opening { .. } => tally.errors.add(format!("handshake: {what}")),
            Stage::Joining => tally.errors.add(format!("hello: {what}")),
            Stage::Playing(_) => tally.errors.add(format!("playing: {what} without a close frame")),
        }
        self.talk.turn_to(Stage::Ended, now, tally);
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
            Stage::Playing(player) => player.handle_slot(now, due, writable, out, tally),
            Stage::Closing { since, .. } if tally.read_all_at.since(*since) > CLOSE_MAX => {
                tally.errors.add(format!("closing: no end within {CLOSE_MAX:?}"));
                self.talk.stage = Stage::Ended;
            }
            Stage::Closing { .. } | Stage::Ended => {}
            _ if tally.read_all_at.since(self.talk.connect_at) > JOIN_MAX => {
                tally.errors.add(format!("{}: nothing for {JOIN_MAX:?}", self.talk.stage_name()));
                self.talk.stage = Stage::Ended;
            }
            _ => {}
        }
    }

    /// Says good-bye.
    pub fn leave(&mut self, now: Time, out: &mut Frames, tally: &mut Tally) {
        match self.talk.stage {
            Stage::Playing(_) | Stage::Joining => {
                out.close(CloseCode::NORMAL, "");
                self.talk.turn_to(Stage::Closing { since: now, said: true }, now, tally);
            }
            Stage::Closing { .. } => {}
            Stage::Connecting | Stage::Opening { .. } | Stage::Ended => self.talk.stage = Stage::Ended,
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

    /// Which one it is.
    pub fn part(&self) -> &Part {
        &self.talk.part
    }

    /// How many bytes it wants to read now. Who reads less than comes is to be asked again after each timeout.
    pub fn appetite(&self) -> usize {
        self.player().map_or(usize::MAX, Player::appetite)
    }

    /// So many bytes were read for it.
    pub fn took(&mut self, bytes: usize) {
        if let Some(player) = self.player_mut().filter(|_| bytes > 0) {
            player.took(bytes);
        }
    }

    fn read_response(&mut self, now: Time, bytes: &[u8], out: &mut Frames, tally: &mut Tally) {
        let Some(opened) = self.talk.open(bytes) else { return };
        match opened {
            Ok((mut frames, agreement)) => {
                if agreement.is_none() && self.talk.settings.deflate {
                    self.talk.miss_deflate(now, out, tally);
                } else {
                    let websocket = WebSocket::new(Role::Client, LIMITS);
                    self.websocket = websocket.with_deflate(agreement);
                    self.talk.say_hello(out);
                }
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

/// The frames behind the response, and what was agreed on about compression.
type Opened = (Vec<u8>, Option<Agreement>);

impl Part {
    /// Where its random numbers come from.
    fn stream(&self) -> u64 {
        u64::from(self.number) | u64::from(self.life) << 33
    }
}

impl Talk {
    /// Goes on to closing or the end.
    fn turn_to(&mut self, stage: Stage, now: Time, tally: &mut Tally) {
        if let Stage::Playing(mut player) = std::mem::replace(&mut self.stage, stage) {
            player.end(now, tally);
        }
    }

    /// Takes a part of the response. `Some`: what it opened, or why nothing.
    fn open(&mut self, bytes: &[u8]) -> Option<Result<Opened, String>> {
        let Stage::Opening { key, head, scan } = &mut self.stage else { return None };
        head.extend_from_slice(bytes);
        let (agreed, used) = match scan.response(head) {
            Ok(None) => return None,
            Ok(Some((response, used))) => {
                let request = request(&self.settings, *key);
                let agreed = match self.settings.deflate {
                    true => request.check_offer(&response, OFFER),
                    false => request.check(&response).map(|()| None),
                };
                (agreed, used)
            }
            Err(HttpError::NotHttp) => {
                return Some(Err("the server does not speak HTTP there: is it wss://?".into()));
            }
            Err(error) => return Some(Err(format!("the server answered with {error}"))),
        };
        Some(match agreed {
            Ok(agreement) => Ok((head.split_off(used), agreement)),
            Err(ResponseError::Status(status)) => Err(format!("HTTP status {status} instead of 101")),
            Err(error) => Err(format!("the response does not fit the request ({error:?})")),
        })
    }

    /// RFC 6455, 7.4.1: a client that goes without an extension which it needs says which.
    fn miss_deflate(&mut self, now: Time, out: &mut Frames, tally: &mut Tally) {
        tally.errors.add("handshake: the server does not compress, and --deflate needs it to".to_string());
        out.close(CloseCode::EXTENSION, offer::NAME);
        self.stage = Stage::Closing { since: now, said: true };
    }

    fn say_hello(&mut self, out: &mut Frames) {
        self.stage = Stage::Joining;
        let seek = self.visits.as_deref().map_or(Seek::JoinOrCreate(&self.settings.game), Seek::Room);
        let hello = Hello {
            version: VERSION,
            build: "",
            seek,
            name: &format!("bot {}", self.part.number),
            options: &[],
            token: "",
            resume: &[],
            tags: vec![],
        };
        out.binary(|out| encode_client_control(&ClientControl::Hello(hello), out));
    }

    fn handle_event(&mut self, now: Time, event: Event, out: &mut Frames, tally: &mut Tally) {
        if matches!(self.stage, Stage::Ended | Stage::Closing { .. }) && !matches!(event, Event::Close(_)) {
            return;
        }
        let heard = match event {
            Event::Binary(message) => self.handle_message(now, message, tally),
            Event::Ping(payload) => return out.pong(payload),
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
        if let Some(recording) = tally.recording.as_mut().filter(|_| self.part.number == RECORDED_BOT) {
            recording.hear(message);
        }
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
                let Part { number, way, checked, .. } = self.part;
                let random = Random::new(self.settings.seed, self.part.stream() | 1 << 32);
                let step = Duration::from_micros(u64::from(welcome.step_micros));
                let room = tally.rooms.of(&welcome.room);
                let game = Game { room, rules: tally.rules.of(welcome.schema), step };
                let mut player = Player::new(number, way, game, checked, random, now);
                if self.visits.is_some() || tally.is_over() {
                    player.stop();
                }
                self.stage = Stage::Playing(Box::new(player));
                return Ok(());
            }
            ServerControl::Refused(refused)
                if self.visits.is_some() && refused.code == RefusalCode::Full as u16 =>
            {
                self.stage = Stage::Closing { since: now, said: false };
                return Ok(());
            }
            ServerControl::Refused(refused) => format!("refused ({}): {}", refused.code, refused.text),
            ServerControl::Redirect(redirect) => {
                format!("redirected: start the swarm with --url {}", redirect.url)
            }
        };
        tally.errors.add(failed);
        self.stage = Stage::Closing { since: now, said: false };
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
        let code = close.map_or(CloseCode::NORMAL, |(code, _)| code);
        match self.stage {
            // RFC 6455, 7.1.1: now the server ends the connection; a client waits for it.
            Stage::Closing { said: true, .. } | Stage::Ended => return,
            Stage::Closing { said: false, .. } => {}
            _ => tally.errors.add(format!("{}: {what}", self.stage_name())),
        }
        out.close(code, "");
        self.turn_to(Stage::Closing { since: now, said: true }, now, tally);
    }

    /// The server broke a rule that leaves no way to go on.
    fn accuse(&mut self, now: Time, what: &str, code: CloseCode, out: &mut Frames, tally: &mut Tally) {
        let number = self.part.number;
        tally.violations.add(|| format!("bot {number}: {what}"));
        // RFC 6455, 5.5.1: nothing is sent after a close frame, another one neither.
        if !matches!(self.stage, Stage::Closing { said: true, .. } | Stage::Ended) {
            out.close(code, "");
            self.turn_to(Stage::Closing { since: now, said: true }, now, tally);
        }
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

/// Slots lie on a grid, and bots are spread evenly over its mesh, whenever they come: by the golden ratio, so that any row of numbers is.
fn first_slot(number: u32, connect_at: Time) -> Time {
    let every = INPUT_EVERY.as_millis() as u64;
    let spread = u64::from(number) * 618_034 % 1_000_000 * every / 1_000_000;
    let mesh = connect_at.as_micros() / 1000 / every * every;
    let slot_at = Time::from_micros((mesh + spread) * 1000);
    if slot_at < connect_at { slot_at + INPUT_EVERY } else { slot_at }
}

/// What is said where `--deflate` asks for it: the extension without a parameter.
const OFFER: Offer = Offer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: false,
};

fn request(settings: &Settings, key: [u8; 16]) -> Request<'_> {
    let headers: &[_] = if settings.deflate { &[(offer::FIELD, offer::NAME)] } else { &[] };
    Request { host: &settings.host, target: &settings.target, protocol: Some(SUBPROTOCOL), key, headers }
}

#[cfg(test)]
mod tests;
