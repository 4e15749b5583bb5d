//! One connection's conversation, from its first byte to its last: request → hello → playing → closing.
//!
//! A [`Session`] turns bytes into what the rest of the server understands: an [`Ask`] for a room, an input, bytes to send back, a
//! reason to close. It is plain data: it knows no socket, no thread and no clock. The shell around it
//! ([`crate::net`]) calls it like this:
//!
//! ```text
//! handle_bytes   some bytes came      ─▶ then seeks, take_ask, take_input, closing
//! handle_end     the peer sent FIN    ─▶ then closing, take_leave
//! handle_timeout poll_timeout is over ─▶ then closing, take_leave
//! ping           from time to time, to find peers that are gone
//! joined, refused, removed            a room answered
//! ```
//! A reliable ask that nobody can take stops the reading of this session alone: `handle_bytes` leaves the rest of its input to the
//! caller. Inputs never stop it: four wait, and the oldest makes room. So does compression, when it has cost what a turn may: the caller
//! brings the rest in the next one.
//!
//! Who closes first says so in a close frame and waits for the other's ([`Session::awaits_close`]); what else still comes is
//! passed over. After an error of the peer's nothing is read at all (RFC 6455, 7.1.7).

mod echo;
mod end;
pub mod origins;
mod play;
mod rate;
mod request;
pub mod site;

use serde::{Deserialize, Serialize};
use tickyard_protocol::message::{
    Input, Pong, RefusalCode, Refused, ServerControl, close_code, encode_server_control,
};
use tickyard_protocol::types::Tick;

use crate::addresses::Peer;
use crate::bridge::{Ask, Leave, RemovedWhy, RoomId};
use crate::close_reason::CloseReason;
use crate::config::limits::{
    DEFLATE_COST_PER_CONNECTION, FRAGMENTS_MAX, HELLO_BYTES_MAX, INPUTS_MAX, REPLIES_BYTES_MAX,
};
use crate::http::HeadScan;
use crate::lobby::{NoSeat, Sought};
use crate::time::Time;
use crate::websocket::deflate::{Agreement, Writer};
use crate::websocket::frame::{Opcode, write_close, write_frame};
use crate::websocket::{self, CloseCode, Event, Role, WebSocket};
use echo::Echo;
use end::End;
use rate::{Metered, Overhead};
pub use request::write_unavailable;
use site::{Compression, Site};

/// One connection's conversation. Plain data: it can be written down between any two calls, and goes on from there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    phase: Phase,
    /// Who is at the other end. It is given back to the site's addresses when the session is over.
    pub peer: Peer,
    /// Why it is not let in, until it can be told: before a TLS handshake nobody can be told anything.
    denied: Option<CloseReason>,
    /// What exactly led to the end, if there is more to say than the reason: never a secret.
    cause: Option<Box<str>>,
    /// When the phase began.
    since: Time,
    /// When the last byte came.
    heard: Time,
    /// When the peer was asked last whether it is there.
    pinged: Time,
    /// In a box: it waits for a moment at most, and is a fifth of what a session has otherwise.
    ask: Option<Box<Ask>>,
    leave: Option<(RoomId, Leave)>,
    counts: Counts,
}

/// What a session counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages that came; control frames are none.
    pub messages_in: u32,
    /// Messages that were answered.
    pub messages_out: u32,
    /// Inputs that made room for newer ones.
    pub inputs_skipped: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    /// Reading a request.
    Request(Box<(HeadScan, Vec<u8>, Overhead)>),
    /// Upgraded on `/play`; the hello is awaited.
    Hello(Box<Greeting>),
    /// Upgraded on `/echo`.
    Echo(Box<Echo>),
    /// Has asked for a seat or sits on one.
    Play(Box<Play>),
    /// We have closed; the peer's close frame is awaited.
    Parting(CloseReason, Box<WebSocket>),
    /// All has been said; what still comes is discarded.
    Closing(CloseReason),
}

/// What a session whose hello is awaited keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Greeting {
    socket: Metered,
    writer: Writer,
    /// How many came since the upgrade.
    bytes: usize,
}

/// What a session with a seat, or one that has asked for it, keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Play {
    socket: Metered,
    writer: Writer,
    /// What the hello asked for, if it is here.
    sought: Option<Sought>,
    /// Where it has a seat, or has asked for it.
    room: Option<RoomId>,
    /// The newest inputs, oldest first. Who sends none holds no memory for them.
    inputs: Vec<Input>,
}

/// The room's newest tick and when it was due, for pongs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    /// The newest tick.
    pub tick: Tick,
    /// When it was due.
    pub due: Time,
}

/// What a session works with in one turn.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Now.
    pub now: Time,
    /// What is the same for all sessions.
    pub site: &'a Site,
    /// The pulse of the session's room.
    pub pulse: Pulse,
    /// Where bytes for the peer go: what waits for it already, and more behind it.
    pub out: &'a mut Vec<u8>,
    /// What compression has cost so far, see [`INFLATE_COST`](crate::websocket::deflate::INFLATE_COST).
    pub cost: usize,
}

impl Turn<'_> {
    /// Whether it has cost what one connection's turn may: the rest of its input is for another.
    pub fn is_spent(&self) -> bool {
        self.cost >= DEFLATE_COST_PER_CONNECTION
    }
}

impl Session {
    /// A connection that has just been accepted.
    pub fn new(now: Time, peer: Peer) -> Session {
        Session {
            phase: Phase::Request(Box::default()),
            peer,
            denied: None,
            cause: None,
            since: now,
            heard: now,
            pinged: now,
            ask: None,
            leave: None,
            counts: Counts::default(),
        }
    }

    /// Reads what each turn needs, so that it is in the caches; the sum says nothing.
    pub fn fetch(&self) -> usize {
        self.counts.messages_out as usize ^ self.ask.is_some() as usize ^ self.closing().is_some() as usize
    }

    /// Reads what a player's input needs, as above.
    pub fn fetch_to_read(&self) -> usize {
        let Phase::Play(play) = &self.phase else { return 0 };
        play.socket.fetch()
            ^ play.sought.is_some() as usize
            ^ play.room.is_some() as usize
            ^ play.inputs.len()
    }

    /// Takes bytes from the peer and moves `input` past those it used. Stops early when an ask waits to be taken, and when the turn is
    /// spent.
    pub fn handle_bytes(&mut self, turn: &mut Turn, input: &mut &mut [u8]) {
        self.heard = turn.now;
        while !input.is_empty() && self.ask.is_none() && !turn.is_spent() {
            match &mut self.phase {
                Phase::Request(_) => self.read_request(turn, input),
                Phase::Hello(greeting) => match read_hello(greeting, turn, input) {
                    Ok(None) => {}
                    Ok(Some(hello)) => self.start_play(turn, hello),
                    Err(end) => self.end(turn, end),
                },
                Phase::Echo(echo) => {
                    if let Err(end) = echo.read(turn, input, &mut self.counts) {
                        self.end(turn, end);
                    }
                }
                Phase::Play(play) => match play.read(turn, input, &mut self.counts) {
                    Ok(ask) => self.ask = ask.map(Box::new),
                    Err(end) => self.end(turn, end),
                },
                Phase::Parting(reason, socket) => {
                    if !matches!(socket.read_close(input), Ok(false)) {
                        self.phase = Phase::Closing(*reason);
                    }
                }
                Phase::Closing(_) => *input = &mut [],
            }
        }
    }

    /// The peer will send nothing more.
    pub fn handle_end(&mut self) {
        self.cut(CloseReason::PeerGone);
    }

    /// The connection failed below this conversation.
    pub fn cut(&mut self, reason: CloseReason) {
        self.close(reason, Leave::Dropped);
        if let Phase::Parting(reason, _) = self.phase {
            self.phase = Phase::Closing(reason);
        }
    }

    /// It is [`Session::poll_timeout`].
    pub fn handle_timeout(&mut self, turn: &mut Turn) {
        if self.poll_timeout(turn.site).is_none_or(|at| turn.now < at) {
            return;
        }
        match &self.phase {
            Phase::Request(_) => self.request_timed_out(turn),
            Phase::Hello(_) if turn.now >= self.since + turn.site.limits.hello_timeout => {
                self.end(turn, End::policy(CloseReason::HelloTimeout, "no hello in time"));
            }
            Phase::Hello(_) | Phase::Echo(_) | Phase::Play(_) => {
                self.end(turn, End::policy(CloseReason::Idle, "idle"));
            }
            Phase::Parting(..) | Phase::Closing(_) => {}
        }
    }

    /// When [`Session::handle_timeout`] has something to do. A closing session's time is its connection's affair.
    pub fn poll_timeout(&self, site: &Site) -> Option<Time> {
        let limits = &site.limits;
        match &self.phase {
            Phase::Request(_) => Some(self.since + limits.handshake_timeout),
            Phase::Hello(_) => {
                Some((self.since + limits.hello_timeout).min(self.heard + limits.idle_timeout))
            }
            Phase::Echo(_) | Phase::Play(_) => Some(self.heard + limits.idle_timeout),
            Phase::Parting(..) | Phase::Closing(_) => None,
        }
    }

    /// Asks a peer that has been silent for the ping interval whether it is there; any byte is an answer. Returns whether it
    /// asked.
    ///
    /// The caller decides how many sessions may ask at once. While bytes wait for the peer it is not asked: the ping would only
    /// wait behind them.
    pub fn ping(&mut self, turn: &mut Turn) -> bool {
        let may_ask = self.is_upgraded() && turn.out.is_empty();
        let Some(interval) = turn.site.limits.ping_interval.filter(|_| may_ask) else { return false };
        if turn.now < self.heard.max(self.pinged) + interval {
            return false;
        }
        self.pinged = turn.now;
        write_frame(turn.out, Opcode::Ping, &[], None);
        true
    }

    /// What the session asks of its room.
    pub fn take_ask(&mut self) -> Option<(RoomId, Ask)> {
        let room = self.room()?;
        Some((room, *self.ask.take()?))
    }

    /// What a player without a room looks for: find a seat, and say so with [`Session::sit`] or [`Session::no_seat`], before the ask is taken.
    pub fn seeks(&self) -> Option<Sought> {
        match &self.phase {
            Phase::Play(play) if play.room.is_none() => play.sought,
            _ => None,
        }
    }

    /// There is a seat in this room.
    pub fn sit(&mut self, room: RoomId) {
        if let Phase::Play(play) = &mut self.phase {
            play.room = Some(room);
        }
    }

    /// There is no seat.
    pub fn no_seat(&mut self, turn: &mut Turn, why: &NoSeat) {
        self.refused(turn, why.code, &why.text, why.retry_after_millis);
    }

    /// Whether an ask waits to be taken.
    pub fn has_ask(&self) -> bool {
        self.ask.is_some()
    }

    /// The oldest input that waits.
    pub fn take_input(&mut self) -> Option<(RoomId, Input)> {
        let Phase::Play(play) = &mut self.phase else { return None };
        let room = play.room.filter(|_| !play.inputs.is_empty())?;
        Some((room, play.inputs.remove(0)))
    }

    /// Whether an input waits to be taken.
    pub fn has_input(&self) -> bool {
        matches!(&self.phase, Phase::Play(play) if !play.inputs.is_empty())
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// The room to tell that the player is gone; once.
    pub fn take_leave(&mut self) -> Option<(RoomId, Leave)> {
        self.leave.take()
    }

    /// Why the session is over, once it is: send what waits, then close.
    pub fn closing(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Parting(reason, _) | Phase::Closing(reason) => Some(reason),
            _ => None,
        }
    }

    /// What exactly led to the end, if there is more to say than the reason: words, or bytes, escaped. Never a secret.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Whether the session is over but for the peer's close frame: hand in what comes until it is there, for some seconds.
    pub fn awaits_close(&self) -> bool {
        matches!(self.phase, Phase::Parting(..))
    }

    /// The memory held for what the peer has begun to say.
    pub fn held_bytes(&self) -> usize {
        match &self.phase {
            Phase::Request(request) => request.1.capacity(),
            Phase::Hello(greeting) => greeting.socket.socket.held_bytes(),
            Phase::Echo(echo) => echo.held_bytes(),
            Phase::Parting(_, socket) => socket.held_bytes(),
            Phase::Play(play) => play.socket.socket.held_bytes(),
            Phase::Closing(_) => 0,
        }
    }

    /// Whether what comes may be compressed, and so dear to read.
    pub fn may_inflate(&self) -> bool {
        match &self.phase {
            Phase::Hello(greeting) => greeting.socket.socket.may_inflate(),
            Phase::Echo(echo) => echo.socket.may_inflate(),
            Phase::Play(play) => play.socket.socket.may_inflate(),
            Phase::Request(_) | Phase::Parting(..) | Phase::Closing(_) => false,
        }
    }

    /// Whether the session is of a WebSocket.
    pub fn is_upgraded(&self) -> bool {
        matches!(self.phase, Phase::Hello(_) | Phase::Echo(_) | Phase::Play(_))
    }

    /// The room in which the session has a seat, or has asked for it.
    pub fn room(&self) -> Option<RoomId> {
        match &self.phase {
            Phase::Play(play) => play.room,
            _ => None,
        }
    }

    /// Whether the session is of a player: small buffers suit it.
    pub fn is_on_play(&self) -> bool {
        matches!(self.phase, Phase::Hello(_) | Phase::Play(_))
    }

    /// How far back a compressed tick may refer, if the state of ticks is to be compressed for this player.
    pub fn state_window_bits(&self, site: &Site) -> Option<u8> {
        match (&self.phase, site.deflate) {
            (Phase::Play(play), Compression::State) => play.writer.fresh_window_bits(),
            _ => None,
        }
    }

    /// The room gave a seat; `welcome` is the encoded message.
    pub fn joined(&mut self, welcome: &[u8], out: &mut Vec<u8>) {
        if let Phase::Play(play) = &mut self.phase {
            play.writer.write(out, Opcode::Binary, welcome, None);
            self.counts.messages_out += 1;
        }
    }

    /// The room gave no seat.
    pub fn refused(
        &mut self,
        turn: &mut Turn,
        code: RefusalCode,
        text: &str,
        retry_after_millis: Option<u32>,
    ) {
        if let Phase::Play(_) = &self.phase {
            write_refused(turn.out, code, text, retry_after_millis);
            self.counts.messages_out += 1;
            let close = match retry_after_millis {
                Some(_) => CloseCode::TRY_LATER,
                None => CloseCode::new(close_code::REFUSED),
            };
            self.end(turn, End::new(CloseReason::Refused, close, "refused"));
            self.leave = None;
        }
    }

    /// The room took the seat away.
    pub fn removed(&mut self, turn: &mut Turn, why: RemovedWhy) {
        let end = match why {
            RemovedWhy::ReliableOverflow => End::new(
                CloseReason::ReliableOverflow,
                CloseCode::TRY_LATER,
                "reliable messages were not acknowledged",
            ),
            RemovedWhy::RoomFailed => {
                End::new(CloseReason::RoomFailed, CloseCode::new(close_code::ROOM_FAILED), "the room failed")
            }
        };
        self.end(turn, end);
        self.leave = None;
    }

    /// The connection took no bytes for too long.
    pub fn too_slow(&mut self) {
        self.close(CloseReason::Slow, Leave::Removed);
    }

    /// The server stops.
    pub fn going_away(&mut self, turn: &mut Turn) {
        if let Phase::Request(request) = &self.phase {
            // Who has asked for nothing yet needs no answer.
            if !request.1.is_empty() {
                write_unavailable(turn.out, CloseReason::GoingAway);
            }
            self.close(CloseReason::GoingAway, Leave::Removed);
        }
        self.end(turn, End::new(CloseReason::GoingAway, CloseCode::AWAY, "the server is going away"));
    }

    /// The room is gone by a fault of ours.
    pub fn failed(&mut self, turn: &mut Turn) {
        if self.is_on_play() {
            self.end(turn, End::new(CloseReason::Internal, CloseCode::INTERNAL, "the server has failed"));
            self.leave = None;
        }
    }

    /// Says goodbye and closes.
    fn end(&mut self, turn: &mut Turn, end: End) {
        if self.closing().is_some() {
            return;
        }
        if let Some(code) = end.code {
            write_close(turn.out, Some((code, end.text)), None);
        } else {
            write_close(turn.out, None, None);
        }
        self.cause = end.cause;
        let socket = self.close(end.reason, end.leave);
        // RFC 6455, 7.1.7: who fails the connection does not even look at the answer to its close frame.
        if let Some(socket) = socket.filter(|socket| !socket.is_ended()) {
            self.phase = Phase::Parting(end.reason, Box::new(socket));
        }
    }

    /// Ends the conversation and returns the WebSocket, if there was one.
    fn close(&mut self, reason: CloseReason, leave: Leave) -> Option<WebSocket> {
        if self.closing().is_some() {
            return None;
        }
        let left = self.room().map(|room| (room, leave));
        let reason = self.denied.unwrap_or(reason);
        // A join that was never handed on needs no leave.
        let never_asked = self.ask.take().is_some_and(|ask| matches!(*ask, Ask::Join(_)));
        self.leave = left.filter(|_| !never_asked);
        match std::mem::replace(&mut self.phase, Phase::Closing(reason)) {
            Phase::Hello(greeting) => Some(greeting.socket.socket),
            Phase::Echo(echo) => Some(echo.socket),
            Phase::Play(play) => Some(play.socket.socket),
            Phase::Request(_) | Phase::Parting(..) | Phase::Closing(_) => None,
        }
    }
}

fn read_hello(
    greeting: &mut Greeting,
    turn: &mut Turn,
    input: &mut &mut [u8],
) -> Result<Option<play::Hello>, End> {
    let Greeting { socket, bytes, .. } = greeting;
    let before = input.len();
    let event = socket.read(turn, input)?;
    *bytes += before - input.len();
    match event {
        Some(Event::Close(close)) => Err(End::by_peer(close.map(|(code, _)| code))),
        _ if *bytes > HELLO_BYTES_MAX => Err(End::policy(CloseReason::BadHello, "too much before the hello")),
        None | Some(Event::Pong(_)) => Ok(None),
        Some(Event::Ping(payload)) => {
            write_pong(turn.out, Some(payload.to_vec()));
            Ok(None)
        }
        Some(Event::Text(_)) => Err(play::text_message()),
        Some(Event::Binary(bytes)) => play::Hello::read(bytes, turn.site).map(Some),
    }
}

fn write_pong(out: &mut Vec<u8>, payload: Option<Vec<u8>>) {
    if let Some(payload) = payload
        && out.len() <= REPLIES_BYTES_MAX
    {
        write_frame(out, Opcode::Pong, &payload, None);
    }
}

fn write_refused(out: &mut Vec<u8>, code: RefusalCode, text: &str, retry_after_millis: Option<u32>) {
    let refused = Refused { code: code as u16, text: text.to_owned(), retry_after_millis, tags: Vec::new() };
    let mut message = Vec::new();
    encode_server_control(&ServerControl::Refused(refused), &mut message);
    write_frame(out, Opcode::Binary, &message, None);
}

fn write_game_pong(turn: &mut Turn, stamp: [u8; 8], counts: &mut Counts) {
    // A peer that does not read gets no more answers.
    if turn.out.len() > REPLIES_BYTES_MAX {
        return;
    }
    let micros = turn.now.since(turn.pulse.due).as_micros().min(u32::MAX as u128) as u32;
    let mut message = Vec::with_capacity(17);
    Pong { stamp, tick: turn.pulse.tick, micros }.encode(&mut message);
    write_frame(turn.out, Opcode::Binary, &message, None);
    counts.messages_out += 1;
}

fn greeting(turn: &Turn, deflate: Option<Agreement>) -> Box<Greeting> {
    let limits = &turn.site.limits;
    let sizes =
        websocket::Limits { message_bytes_max: limits.message_bytes_max, fragments_max: FRAGMENTS_MAX };
    let socket = WebSocket::new(Role::Server, sizes).with_deflate(deflate);
    let socket = Metered::new(socket, limits, turn.now);
    Box::new(Greeting { socket, writer: Writer::new(deflate, Role::Server), bytes: 0 })
}

#[cfg(test)]
pub(crate) mod tests;
