//! One player's side of a connection, without the socket: frames in, inputs out, and when each input was answered.

use tickyard::game::Random;
use tickyard::game::arena::DIRECTION_MAX;
use tickyard_compare::Input;

use crate::figures::Figures;
use crate::rooms::{Gap, Rooms};
use crate::wire::{Said, State, Wire};

/// A player who wanders: at rest half of the time, and with a new direction once a second.
#[derive(Debug)]
pub struct Client {
    random: Random,
    stage: Stage,
    /// Where it plays, a number of [`Rooms`].
    room: usize,
    /// That of the last state.
    tick: Option<u32>,
    /// The beginning of a frame, or of an answer, whose end has not come.
    partial: Vec<u8>,
    turn_at: u64,
    /// The input that goes out next.
    input: Input,
    /// The last input that a state had.
    answered: u32,
    /// When the last inputs were due, by number.
    due: [u64; INPUTS_KEPT],
    /// Ticks and lengths of the states that came in the window and had news.
    pub sizes: Vec<(u32, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Upgrading,
    Joining,
    Playing,
}

/// What reading led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing that asks for a deed.
    None,
    /// The connection is a WebSocket now.
    Upgraded,
    /// The first state came.
    Playing,
    /// It is over.
    Ended,
}

/// What is measured: inputs that are due, and messages that come, from one time to another.
#[derive(Debug)]
pub struct Window {
    /// The first microsecond.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// What was counted.
    pub figures: Figures,
    /// What was told where.
    pub rooms: Rooms,
    /// Whether lengths of messages are kept.
    pub records: bool,
}

impl Window {
    fn has(&self, micros: u64) -> bool {
        (self.from..self.to).contains(&micros)
    }
}

impl Client {
    /// A player whose will begins now, in this room unless the server says another.
    pub fn new(mut random: Random, now: u64, room: usize) -> Client {
        let turn_at = now + u64::from(random.below(TURN_MICROS as u32));
        Client {
            random,
            stage: Stage::Upgrading,
            room,
            tick: None,
            partial: Vec::new(),
            turn_at,
            input: Input { number: 1, dx: 0, dy: 0 },
            answered: 0,
            due: [0; INPUTS_KEPT],
            sizes: Vec::new(),
        }
    }

    /// Takes bytes from the server.
    pub fn handle_bytes(&mut self, wire: Wire, now: u64, bytes: &[u8], window: &mut Window) -> News {
        if self.partial.is_empty() {
            let (used, news) = self.read(wire, now, bytes, window);
            self.partial.extend_from_slice(&bytes[used..]);
            return news;
        }
        let mut bytes = {
            self.partial.extend_from_slice(bytes);
            std::mem::take(&mut self.partial)
        };
        let (used, news) = self.read(wire, now, &bytes, window);
        bytes.drain(..used);
        self.partial = bytes;
        news
    }

    /// Returns how much it used.
    fn read(&mut self, wire: Wire, now: u64, bytes: &[u8], window: &mut Window) -> (usize, News) {
        let (mut used, mut news) = (0, News::None);
        if self.stage == Stage::Upgrading {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return (0, news) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return (end, News::Ended);
            }
            (used, news, self.stage) = (end + 4, News::Upgraded, Stage::Joining);
        }
        while let Some(frame) = Frame::read(&bytes[used..]) {
            used += frame.len;
            match frame.opcode {
                BINARY => {}
                CLOSE => return (used, News::Ended),
                _ => continue,
            }
            let state = match wire.hear(frame.payload) {
                Said::Nothing => continue,
                Said::Room(id) => {
                    self.room = window.rooms.find(&id);
                    continue;
                }
                Said::State(state) => state,
            };
            if self.stage == Stage::Joining {
                // A server whose first state comes with its answer asks for no hello.
                (self.stage, news) = (Stage::Playing, News::Playing);
            }
            self.hear(now, state, &frame, window);
        }
        (used, news)
    }

    fn hear(&mut self, now: u64, state: State, frame: &Frame, window: &mut Window) {
        window.rooms.tell(self.room, state.tick);
        let before = self.tick.replace(state.tick);
        if window.has(now) {
            window.figures.messages += 1;
            window.figures.bytes += frame.len as u64;
            if let Some(after) = before.filter(|_| !state.skipped) {
                window.rooms.add(Gap { room: self.room, after, before: state.tick });
            }
            if window.records && state.has_news {
                self.sizes.push((state.tick, frame.payload.len()));
            }
        }
        while self.answered < state.number.min(self.input.number - 1) {
            self.answered += 1;
            self.count(now, window);
        }
    }

    /// Counts the latency of the input `answered`.
    fn count(&self, now: u64, window: &mut Window) {
        let due = self.due[self.answered as usize % INPUTS_KEPT];
        if window.has(due) {
            window.figures.latency.add(now - due);
        }
    }

    /// Whether each input of the window was answered.
    pub fn is_answered(&self, window: &Window) -> bool {
        let mut open = self.answered + 1..self.input.number;
        open.all(|number| !window.has(self.due[number as usize % INPUTS_KEPT]))
    }

    /// What was never answered counts as answered now.
    pub fn give_up(&mut self, now: u64, window: &mut Window) {
        while self.answered + 1 < self.input.number {
            self.answered += 1;
            self.count(now, window);
        }
    }

    /// The input that was due at a time.
    pub fn next_input(&mut self, due: u64) -> Input {
        if due >= self.turn_at {
            self.turn_at += TURN_MICROS;
            (self.input.dx, self.input.dy) = self.wander();
        }
        let input = self.input;
        self.due[input.number as usize % INPUTS_KEPT] = due;
        self.input.number += 1;
        input
    }

    fn wander(&mut self) -> (i16, i16) {
        if self.random.below(2) == 0 {
            return (0, 0);
        }
        let angle = f64::from(self.random.below(1 << 16)) * std::f64::consts::TAU / f64::from(1 << 16);
        let part = |part: f64| (part * f64::from(DIRECTION_MAX)).round() as i16;
        (part(angle.cos()), part(angle.sin()))
    }

    /// Where it plays.
    pub fn room(&self) -> usize {
        self.room
    }

    /// A random number below `end`.
    pub fn random_below(&mut self, end: u64) -> u64 {
        u64::from(self.random.below(end as u32))
    }
}

/// A frame from a server: never masked.
struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
    /// With its header.
    len: usize,
}

impl<'a> Frame<'a> {
    /// `None`: it is not whole.
    fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (start, len): (usize, usize) = match *bytes {
            [_, 126, a, b, ..] => (4, u16::from_be_bytes([a, b]) as usize),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize)
            }
            [_, len @ 0..126, ..] => (2, len as usize),
            _ => return None,
        };
        let payload = bytes.get(start..start.checked_add(len)?)?;
        Some(Frame { opcode: bytes[0] & 0x0F, payload, len: start + len })
    }
}

/// Writes a masked frame.
pub fn write_frame(payload: &[u8], key: u32, out: &mut Vec<u8>) {
    assert!(payload.len() < 126, "what a player says is short");
    let key = key.to_le_bytes();
    out.extend_from_slice(&[0x80 | BINARY, 0x80 | payload.len() as u8]);
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const TURN_MICROS: u64 = 1_000_000;
/// Older inputs without an answer count by the due time of a newer one: they are seconds late.
const INPUTS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use tickyard_protocol::fields::Schema;
    use tickyard_protocol::message::{self, ServerControl, Welcome};
    use tickyard_protocol::tick::{Header, SKIPPED};
    use tickyard_protocol::types::{PlayerId, Seq, Tick};

    /// Of a tick with the same number.
    fn state(number: u32, len: usize) -> Vec<u8> {
        let mut frame = vec![0x82, 126];
        frame.extend_from_slice(&(len as u16).to_be_bytes());
        frame.extend_from_slice(&number.to_le_bytes());
        frame.extend_from_slice(&number.to_le_bytes());
        frame.resize(4 + len, 0);
        frame
    }

    fn window() -> Window {
        let (figures, mut rooms) = (Figures::default(), Rooms::default());
        rooms.find("0");
        Window { from: 1_000, to: 500_000, figures, rooms, records: true }
    }

    fn client() -> Client {
        Client::new(Random::new(1), 0, 0)
    }

    #[test]
    fn an_input_is_answered_by_the_first_state_that_has_it_however_the_bytes_are_cut() {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        [0, 1, 1, 2].iter().for_each(|&number| bytes.extend(state(number, 308)));
        for cut in 1..bytes.len() {
            let (mut client, mut window) = (client(), window());
            client.next_input(10_000);
            client.next_input(20_000);
            client.handle_bytes(Wire::Plain, 30_000, &bytes[..cut], &mut window);
            assert!(!client.is_answered(&window), "{cut}");
            let news = client.handle_bytes(Wire::Plain, 60_000, &bytes[cut..], &mut window);
            assert_ne!(news, News::Ended);
            assert!(client.is_answered(&window));
            assert_eq!((window.figures.messages, window.figures.latency.total()), (4, 2));
            assert_eq!(window.figures.latency.permille(1000), if cut < 36 + 312 * 2 { 50.0 } else { 40.0 });
        }
    }

    #[test]
    fn what_is_outside_of_the_window_does_not_count_and_what_is_never_answered_does() {
        let (mut client, mut window) = (client(), window());
        client.handle_bytes(Wire::Plain, 0, b"HTTP/1.1 101 \r\n\r\n", &mut window);
        for due in [500, 400_000, 600_000] {
            client.next_input(due);
        }
        client.handle_bytes(Wire::Plain, 700_000, &state(1, 8), &mut window);
        assert_eq!((window.figures.messages, window.figures.latency.total()), (0, 0));
        assert!(!client.is_answered(&window));
        client.give_up(2_400_000, &mut window);
        assert_eq!(window.figures.latency.total(), 1);
        assert_eq!(window.figures.latency.permille(500), 2000.0);
    }

    /// A frame of Tickyard's.
    fn frame(payload: &[u8]) -> Vec<u8> {
        [&[0x82, payload.len() as u8], payload].concat()
    }

    fn tick(tick: u32, flags: u8) -> Vec<u8> {
        let header = Header { tick: Tick(tick), seq: Seq(0), depth: 0, flags };
        frame(&header.to_bytes())
    }

    fn welcome(room: &str) -> Vec<u8> {
        let schema = Schema { kinds: vec![], input: vec![] };
        let welcome = Welcome {
            player: PlayerId(1),
            resume: vec![],
            room: room.into(),
            game: "arena".into(),
            tick: Tick(0),
            tick_rate: 20,
            step_micros: 50_000,
            schema,
            tags: vec![],
        };
        let mut payload = vec![];
        message::encode_server_control(&ServerControl::Welcome(welcome), &mut payload);
        frame(&payload)
    }

    #[test]
    fn a_silent_tick_is_delivered_and_one_that_was_kept_back_or_told_to_nobody_is_not() {
        let mut window = window();
        let hear = |window: &mut Window, room: &str, messages: &[Vec<u8>]| {
            let mut client = client();
            client.handle_bytes(Wire::Tickyard, 0, b"HTTP/1.1 101 \r\n\r\n", window);
            client.handle_bytes(Wire::Tickyard, 0, &welcome(room), window);
            messages.iter().for_each(|bytes| {
                client.handle_bytes(Wire::Tickyard, 50_000, bytes, window);
            });
        };
        hear(&mut window, "a", &[1, 2, 3, 4, 5, 6, 7].map(|at| tick(at, 0)));
        assert_eq!((window.figures.messages, window.rooms.silent()), (7, 0));
        hear(&mut window, "a", &[tick(1, 0), tick(4, 0), tick(7, SKIPPED)]);
        assert_eq!((window.figures.messages, window.rooms.silent()), (10, 2));
        // In another room nobody was told tick 2.
        hear(&mut window, "b", &[tick(1, 0), tick(3, 0)]);
        assert_eq!((window.figures.messages, window.rooms.silent()), (12, 2));
    }

    #[test]
    fn a_message_without_news_is_recorded_as_none() {
        let (mut client, mut window) = (client(), window());
        client.handle_bytes(Wire::Plain, 0, b"HTTP/1.1 101 \r\n\r\n", &mut window);
        for (tick, len) in [(1, 20), (2, 8), (4, 32)] {
            client.handle_bytes(Wire::Plain, 50_000, &state(tick, len), &mut window);
        }
        assert_eq!(client.sizes, [(1, 20), (4, 32)]);
    }

    #[test]
    fn half_of_the_players_move() {
        let mut moving = 0;
        for seed in 0..1000 {
            let mut client = Client::new(Random::new(seed), 0, 0);
            let input = (0..30).map(|tenth| client.next_input(tenth * 100_000)).last().unwrap();
            moving += u32::from((input.dx, input.dy) != (0, 0));
        }
        assert!((450..550).contains(&moving), "{moving}");
    }
}
