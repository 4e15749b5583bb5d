//! One hostile peer without its socket: bytes in, bytes out, and the time as an argument.
//!
//! ```text
//! resting ─► connecting ─► behaving ─► striking ─► resting …
//! ```
//! Each turn through is a life with an attack of its own. How it ended goes to the [`Tally`].

use super::attack::{Attack, frame, hello, rest};
use super::heard::Heard;
use super::kind::{AT_ONCE, DEADLINE, Ending, GOODBYE, Kind, Promise, Stage};
use super::tally::{Count, Tally};
use crate::bot::Settings;
use crate::random::Random;
use std::rc::Rc;
use std::time::Duration;
use tickyard::time::Time;
use tickyard::websocket::CloseCode;
use tickyard::websocket::frame::write_close;
use tickyard::websocket::handshake::Request;
use tickyard_protocol::message::SUBPROTOCOL;

/// One peer.
pub struct Peer {
    settings: Rc<Settings>,
    kind: Kind,
    random: Random,
    phase: Phase,
    /// When the phase began.
    since: Time,
    /// The next connect or strike; `None`: there is none in this life.
    next: Option<Time>,
    /// How often it has come back.
    life: u32,
    strikes: u32,
    heard: Heard,
    /// When the server had said its last word.
    answered: Option<Time>,
    /// What goes out byte by byte.
    script: Vec<u8>,
    said: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Resting,
    Connecting,
    Behaving,
    Striking,
}

/// What the socket's owner is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing but to send what was written.
    Nothing,
    /// Connect.
    Connect,
    /// Send what was written, then reset the connection.
    Reset,
}

impl Peer {
    /// A peer that connects at `connect_at`. Peers of a kind begin with different cases.
    pub fn new(settings: &Rc<Settings>, number: u32, kind: Kind, connect_at: Time) -> Peer {
        let random = Random::new(settings.seed, u64::from(number));
        Peer {
            settings: Rc::clone(settings),
            kind,
            random,
            phase: Phase::Resting,
            since: connect_at,
            next: Some(connect_at),
            life: number / Kind::ALL.len() as u32,
            strikes: 0,
            heard: Heard::new(),
            answered: None,
            script: Vec::new(),
            said: 0,
        }
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is between a connect and an end.
    pub fn is_alive(&self) -> bool {
        self.phase != Phase::Resting
    }

    /// Whether it reads. At the end of its connection everybody does.
    pub fn reads(&self) -> bool {
        self.phase != Phase::Striking || self.kind.manner().reads
    }

    /// The TCP connection stands.
    pub fn handle_connected(&mut self, now: Time, out: &mut Vec<u8>, tally: &mut Tally) {
        tally.of(self.kind).connected += 1;
        if self.kind.manner().strikes_when == Stage::Connected {
            return self.strike_from(now);
        }
        self.enter(Phase::Behaving, now);
        self.ask(out);
    }

    /// Bytes from the server, which are changed in place.
    pub fn handle_bytes(&mut self, now: Time, bytes: &mut [u8], out: &mut Vec<u8>, tally: &mut Tally) {
        let count = tally.of(self.kind);
        count.bytes_in += bytes.len() as u64;
        let (upgraded, joined) = (self.is_upgraded(), self.heard.welcome.is_some());
        self.heard.take(bytes);
        let just_upgraded = !upgraded && self.is_upgraded();
        let just_joined = !joined && self.heard.welcome.is_some();
        count.upgraded += u64::from(just_upgraded);
        count.joined += u64::from(just_joined);
        if self.answered.is_none() && self.heard.is_over() {
            self.answered = Some(now);
            self.answer(out);
        }
        if self.phase != Phase::Behaving {
            return;
        }
        match self.kind.manner().strikes_when {
            Stage::Upgraded if just_upgraded => self.strike_from(now),
            Stage::Joined if just_joined => self.strike_from(now),
            Stage::Joined if just_upgraded => {
                frame(&mut self.random, out, |out| hello(&self.settings.game, out));
            }
            _ => {}
        }
    }

    /// The socket has ended: in order, by a reset, or it could not connect for this reason.
    pub fn handle_end(&mut self, now: Time, reset: bool, failed: Option<String>, tally: &mut Tally) {
        if self.phase == Phase::Resting {
            return;
        }
        let count = tally.of(self.kind);
        match failed {
            Some(why) if self.phase == Phase::Connecting => count.wrong.add(|| format!("connect: {why}")),
            _ => self.judge(self.heard.ending(reset), count),
        }
        self.rest(now);
    }

    /// When to call [`Peer::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Time> {
        match (self.next, self.deadline()) {
            (Some(next), Some(deadline)) => Some(next.min(deadline)),
            (next, deadline) => next.or(deadline),
        }
    }

    /// A deed is due. `may_act`: all it sent before is gone, and what all peers share is not used up. Else it is put off.
    pub fn handle_timeout(&mut self, now: Time, may_act: bool, out: &mut Vec<u8>, tally: &mut Tally) -> Deed {
        if self.phase == Phase::Resting && self.next.is_some_and(|next| now >= next) {
            if !may_act {
                self.next = Some(now + PUT_OFF);
                return Deed::Nothing;
            }
            tally.of(self.kind).connects += 1;
            self.next = None;
            self.enter(Phase::Connecting, now);
            return Deed::Connect;
        }
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            let waited = now.since(self.since).as_secs();
            let what = format!("{} in {waited} s{}", self.lacking(), self.case_in_words());
            tally.of(self.kind).wrong.add(|| what);
            self.rest(now);
            return Deed::Reset;
        }
        if self.phase == Phase::Striking && self.next.is_some_and(|next| now >= next) {
            return self.strike(now, may_act, out);
        }
        Deed::Nothing
    }

    /// All floods together have used up what they may send. If a strike is due, but not the first of this life, it is left out, and
    /// returns true: what was not done needs no answer, so the time to answer stands still as well.
    pub fn hold_back(&mut self, now: Time) -> bool {
        let goes_on = self.phase == Phase::Striking && self.strikes > 0 && self.answered.is_none();
        let due = self.next.filter(|next| goes_on && now >= *next);
        let (Some(due), Some(every)) = (due, self.kind.manner().every) else { return false };
        let next = now + every;
        self.since = self.since + next.since(due);
        self.next = Some(next);
        true
    }

    /// Whether a life is going on at the end of the run.
    pub fn handle_stop(&mut self, tally: &mut Tally) {
        tally.of(self.kind).open += u64::from(matches!(self.phase, Phase::Behaving | Phase::Striking));
        if let Some(what) = self.heard.violation.take() {
            tally.of(self.kind).wrong.add(|| what);
        }
    }

    fn strike(&mut self, now: Time, may_act: bool, out: &mut Vec<u8>) -> Deed {
        // Strikes follow each other at a fixed rate; those that come late are not made up for.
        self.next = self.kind.manner().every.map(|every| now + every);
        if !may_act {
            return Deed::Nothing;
        }
        match self.kind {
            Kind::SingleBytes | Kind::SlowHandshake => self.drip(out),
            _ => self.attack().strike(self.strikes, &mut self.random, out),
        }
        self.strikes += 1;
        if self.kind == Kind::RstStorm {
            self.rest(now);
            return Deed::Reset;
        }
        Deed::Nothing
    }

    /// The next byte; a new sentence when all is said.
    fn drip(&mut self, out: &mut Vec<u8>) {
        if self.said == self.script.len() {
            let mut script = std::mem::take(&mut self.script);
            script.clear();
            self.said = 0;
            self.continue_script(&mut script);
            self.script = script;
        }
        out.extend(self.script.get(self.said));
        self.said = (self.said + 1).min(self.script.len());
    }

    fn continue_script(&mut self, out: &mut Vec<u8>) {
        match (self.kind, self.strikes) {
            (Kind::SlowHandshake, 0) => {
                out.extend_from_slice(b"GET /play HTTP/1.1\r\nHost: here\r\nX-Slow: ")
            }
            (Kind::SlowHandshake, _) => out.push(b'z'),
            (_, 0) => {
                self.ask(out);
                frame(&mut self.random, out, |out| hello(&self.settings.game, out));
            }
            _ => {
                let Some(welcome) = &self.heard.welcome else { return };
                let fields = welcome.schema.input.len();
                frame(&mut self.random, out, |out| rest(self.strikes, fields, out));
            }
        }
    }

    /// The opening handshake.
    fn ask(&mut self, out: &mut Vec<u8>) {
        let key = self.random.key();
        let Settings { host, target, .. } = &*self.settings;
        Request { host, target, protocol: Some(SUBPROTOCOL), key, headers: &[] }.write(out);
    }

    /// RFC 6455, 5.5.1: a close frame is answered with one. Every other time it is; a server ends it all the same.
    fn answer(&mut self, out: &mut Vec<u8>) {
        if let (Some(code), 0) = (self.heard.close, self.life % 2) {
            let close = code.and_then(CloseCode::from_wire).map(|code| (code, ""));
            write_close(out, close, Some(self.random.mask()));
        }
    }

    fn attack(&self) -> Attack {
        let input_fields = self.heard.welcome.as_ref().map_or(0, |welcome| welcome.schema.input.len());
        Attack { kind: self.kind, case: self.life, input_fields }
    }

    fn promise(&self) -> Promise {
        self.attack().promise()
    }

    /// When something has to have happened.
    fn deadline(&self) -> Option<Time> {
        if let Some(answered) = self.answered {
            return Some(answered + GOODBYE);
        }
        let within = match (self.phase, self.promise()) {
            (Phase::Resting, _) => None,
            (Phase::Connecting | Phase::Behaving, _) => Some(AT_ONCE * 2),
            (Phase::Striking, Promise::Plays) if self.heard.welcome.is_none() => Some(DEADLINE),
            (Phase::Striking, promise) => promise.within(),
        };
        within.map(|within| self.since + within)
    }

    fn lacking(&self) -> &'static str {
        match (self.phase, self.is_upgraded()) {
            _ if self.answered.is_some() => "told the end, and not dropped",
            (Phase::Connecting, _) => "not connected",
            (Phase::Behaving, false) => "not upgraded",
            (Phase::Behaving, true) => "not welcomed",
            (_, _) if self.kind == Kind::SingleBytes => "not welcomed",
            _ => "not closed",
        }
    }

    fn judge(&mut self, ending: Ending, count: &mut Count) {
        *count.endings.entry(ending).or_default() += 1;
        let no_room = matches!(ending, Ending::Status(503) | Ending::Close(Some(1013)));
        let wrong = match (self.heard.violation.take(), self.phase) {
            (Some(violation), _) => violation,
            (None, _) if no_room || self.heard.full => return count.turned_away += 1,
            (None, Phase::Striking) if self.promise().allows(ending) => return count.as_owed += 1,
            (None, Phase::Striking) => ending.to_string(),
            (None, _) => format!("{ending} before it did any wrong"),
        };
        count.wrong.add(|| format!("{wrong}{}", self.case_in_words()));
    }

    fn case_in_words(&self) -> String {
        format!(" (attempt {} of seed {})", self.life, self.settings.seed)
    }

    fn strike_from(&mut self, now: Time) {
        self.enter(Phase::Striking, now);
        self.next = Some(now);
    }

    fn rest(&mut self, now: Time) {
        let pause = self.kind.manner().pause;
        let spread = self.random.below(pause.as_millis() as u64 + 1);
        self.enter(Phase::Resting, now);
        self.next = Some(now + pause / 2 + Duration::from_millis(spread));
        self.life = self.life.wrapping_add(1);
        self.strikes = 0;
        self.said = 0;
        self.script = Vec::new();
        self.answered = None;
        self.heard = Heard::new();
    }

    fn enter(&mut self, phase: Phase, now: Time) {
        self.phase = phase;
        self.since = now;
    }

    fn is_upgraded(&self) -> bool {
        self.heard.status == Some(101)
    }
}

/// A connect for which the budget was used up is tried again after this time.
const PUT_OFF: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
