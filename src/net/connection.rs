//! One socket, its session and what waits for it: bytes in, bytes out, goodbye.

use std::io;
use std::sync::Arc;

use super::Shared;
use super::desk::Desk;
use super::fanout::{Hearing, History, compose};
use super::outbox::{Flushed, Outbox};
use super::tls::TlsError;
use super::transport::{Buffers, Received, Socket, Transport};
use crate::addresses::Peer;
use crate::bridge::{Ask, ConnId, Part, RoomId};
use crate::close_reason::CloseReason;
use crate::config::limits::{
    ANSWERS_BYTES_MAX, CLOSE_TIMEOUT, DEFLATE_COST_PER_TURN, DISCARD_BYTES_MAX, LINGER, READ_BYTES_PER_TURN,
    READ_COST_BYTES,
};
use crate::http::{Response, Status};
use crate::proxy_header::BadProxyHeader;
use crate::session::{Pulse, Session, Turn};
use crate::time::Time;
use crate::websocket::frame::SERVER_HEADER_BYTES_MAX;

mod inputs;
mod seat;

/// A socket with its session.
#[derive(Debug)]
pub struct Connection<S> {
    /// Its name for the simulation.
    pub id: ConnId,
    /// The conversation.
    pub session: Session,
    /// It is here only to be told that there is no room.
    pub turned_away: bool,
    transport: Transport<S>,
    outbox: Outbox,
    /// From the welcome to the last word.
    hearing: Option<Box<Hearing>>,
    /// Its seat in the lobby, to be given back.
    seat: Option<RoomId>,
    /// What the tally knows of the outbox.
    outbox_counted: usize,
    /// Received, but not read yet: the session waits for room for an ask.
    held_back: Vec<u8>,
    goodbye: Option<Goodbye>,
    /// The kernel may have bytes for us.
    readable: bool,
    /// The kernel takes no more, until the poller says that it does.
    full: bool,
    /// The peer will send nothing more, or the socket failed.
    ended: bool,
    /// Stands in the run queue.
    pub queued: bool,
    /// Stands in the list of those with inputs.
    pub listed: bool,
    /// It is a player's, and set up for fresh bytes.
    tuned: bool,
    /// It was counted as thin.
    thin_counted: bool,
    /// What its last input said of how far it has come; 0: nothing, or it was judged already.
    shown: u32,
}

/// A connection on which all has been said.
#[derive(Debug)]
struct Goodbye {
    since: Time,
    /// Nothing more will be said on either side but the end.
    finished: bool,
    /// Our side is shut down; we wait for the peer's end, for a reset would take the close code with it.
    shut: bool,
    discarded: usize,
}

/// What becomes of a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for the kernel.
    Waits,
    /// Its budget is used up: put it back into the run queue.
    Again,
    /// What compression may cost in this turn is used up by others: it comes first in the next one.
    Next,
    /// What it has to do next is dear: put it into the queue of those in the TLS handshake.
    Shake,
    /// It is over.
    Gone(CloseReason),
}

impl<S: Socket> Connection<S> {
    /// A socket that has just been accepted, and is registered under the slot of `id`.
    pub fn new(id: ConnId, transport: Transport<S>, peer: Peer, now: Time) -> Connection<S> {
        Connection {
            id,
            session: Session::new(now, peer),
            turned_away: false,
            transport,
            outbox: Outbox::default(),
            hearing: None,
            seat: None,
            outbox_counted: 0,
            held_back: Vec::new(),
            goodbye: None,
            readable: true,
            full: false,
            ended: false,
            queued: false,
            listed: false,
            tuned: false,
            thin_counted: false,
            shown: 0,
        }
    }

    /// Reads what [`Connection::publish`] needs, so that it is in the caches; the sum says nothing.
    pub fn fetch_to_publish(&self) -> usize {
        self.hearing.as_ref().map_or(0, |hearing| hearing.fetch())
            ^ self.outbox.len()
            ^ self.outbox_counted
            ^ self.transport.is_handshaking() as usize
            ^ self.session.fetch()
    }

    /// Reads what [`Connection::work`] needs, as above.
    pub fn fetch_to_work(&self) -> usize {
        self.outbox.len()
            ^ self.held_back.len()
            ^ self.transport.is_handshaking() as usize
            ^ self.goodbye.is_some() as usize
            ^ self.listed as usize
            ^ self.session.fetch()
            ^ self.session.fetch_to_read()
    }

    /// The memory held for the peer: received, collected and waiting.
    pub fn held_bytes(&self) -> usize {
        self.outbox.held_bytes() + self.held_back.capacity() + self.session.held_bytes()
    }

    /// The poller reported something.
    pub fn wake(&mut self, readable: bool, writable: bool, ended: bool) {
        self.readable |= readable || ended;
        self.ended |= ended;
        self.full &= !writable;
    }

    /// Sends what waits, reads within the budget, and settles what came of it.
    pub fn work(&mut self, desk: &mut Desk, pulse: Pulse) -> Verdict {
        let mut budget = READ_BYTES_PER_TURN;
        // If that fails, what the peer said before it went is read all the same; settling finds out again.
        self.flush(desk);
        if self.is_too_dear(desk) && self.has_more() {
            return Verdict::Next;
        }
        self.outbox.lend(&mut desk.spare);
        self.go_on(desk, pulse);
        while self.may_read() && !self.is_shaking() && !self.is_too_dear(desk) && budget > 0 {
            match self.read_once(desk, pulse) {
                Ok(used) => budget = budget.saturating_sub(used),
                Err(_) => return self.fail(desk),
            }
        }
        self.settle(desk)
    }

    /// Takes the next step of the TLS handshake.
    pub fn shake(&mut self, desk: &mut Desk, pulse: Pulse) -> Verdict {
        if self.may_read() && self.read_once(desk, pulse).is_err() {
            return self.fail(desk);
        }
        self.settle(desk)
    }

    /// A room gave a seat.
    pub fn joined(&mut self, desk: &mut Desk, welcome: &[u8]) -> Verdict {
        if self.session.closing().is_none() {
            self.hearing = Some(Box::default());
        }
        self.session.joined(welcome, self.outbox.tail());
        self.settle(desk)
    }

    /// Something is said to the session that does not come from the peer.
    pub fn tell(&mut self, desk: &mut Desk, say: impl FnOnce(&mut Session, &mut Turn)) -> Verdict {
        let mut turn = turn(desk.now, &desk.shared, Pulse::default(), &mut self.outbox);
        say(&mut self.session, &mut turn);
        self.settle(desk)
    }

    /// Sends the player what a batch says, or notes that it could not be sent.
    pub fn publish(&mut self, desk: &mut Desk, room: RoomId, history: &History, part: &Part) -> Verdict {
        let Some(hearing) = &mut self.hearing else { return Verdict::Waits };
        let Some(newest) = history.newest() else { return Verdict::Waits };
        let shown = std::mem::take(&mut self.shown);
        if shown > 0 && hearing.note_seen(shown, newest) != self.thin_counted {
            self.thin_counted = hearing.is_thin();
            desk.tally.count_thin(self.thin_counted);
        }
        if hearing.is_paced(newest) || !self.outbox.is_empty() {
            self.skip(desk, history, part);
            return Verdict::Waits;
        }
        let Desk { compose: buffer, deflate, missing, buffers, watch, .. } = desk;
        missing.clear();
        watch.sending.first();
        if let Some(start) = compose(history, part, hearing, missing, buffer) {
            let compressed = self
                .session
                .state_window_bits(&desk.shared.site)
                .and_then(|bits| deflate.write(bits, &buffer[SERVER_HEADER_BYTES_MAX..]));
            let message = compressed.unwrap_or(&buffer[start..]);
            watch.sending.second();
            let sent = self.transport.send(desk.now, message, &mut buffers.sealed, &mut self.outbox);
            watch.sending.done();
            desk.tally.messages_out += 1;
            match sent {
                Ok(flushed) => self.note_flushed(desk, flushed),
                Err(_) => return self.fail(desk),
            }
        }
        // If there was nothing to say.
        desk.watch.sending.done();
        self.ask_for_missing(desk, room);
        Verdict::Waits
    }

    /// The newest batch passes without a message for this player; its view counts all the same. Returns whether it has missed
    /// anything.
    pub fn skip(&mut self, desk: &mut Desk, history: &History, part: &Part) -> bool {
        let missed = self.hearing.as_mut().is_some_and(|hearing| hearing.skip(history, part));
        desk.tally.skipped += missed as u64;
        missed
    }

    /// Ends what has waited too long. Called by the sweep.
    pub fn check_time(&mut self, desk: &mut Desk) -> Verdict {
        if let Some(goodbye) = &self.goodbye {
            let patience = if goodbye.shut && !self.tuned { LINGER } else { CLOSE_TIMEOUT };
            if desk.now >= goodbye.since + patience {
                self.abandon();
                return self.gone();
            }
        }
        let slow = desk.shared.slow_timeout;
        if self.outbox.stuck_since().is_some_and(|since| desk.now >= since + slow) {
            self.session.too_slow();
            self.abandon();
            return self.fail(desk);
        }
        let mut turn = turn(desk.now, &desk.shared, Pulse::default(), &mut self.outbox);
        self.session.handle_timeout(&mut turn);
        if desk.pings_left > 0 && self.session.ping(&mut turn) {
            desk.pings_left -= 1;
            desk.tally.pings += 1;
        }
        self.settle(desk)
    }

    /// Room for an ask came up: goes on with what was held back.
    pub fn resume(&mut self, desk: &mut Desk, pulse: Pulse) -> Verdict {
        let mut held_back = std::mem::take(&mut self.held_back);
        self.hand_in(desk, pulse, &mut held_back);
        if self.session.has_ask() { Verdict::Waits } else { Verdict::Again }
    }

    /// Goes on with what the last turn was spent before.
    fn go_on(&mut self, desk: &mut Desk, pulse: Pulse) {
        if self.has_more() && !self.held_back.is_empty() {
            let mut held_back = std::mem::take(&mut self.held_back);
            self.hand_in(desk, pulse, &mut held_back);
        }
    }

    /// Whether there is something to hand in, and nothing to wait for before.
    fn has_more(&self) -> bool {
        // Who reads slowly while we answer every message (an echo, a page) is not read until the answers are gone. A player is:
        // updates are skipped for a slow one, and its inputs still count.
        let may_answer = self.session.is_on_play() || self.outbox.len() <= ANSWERS_BYTES_MAX;
        (self.readable || !self.held_back.is_empty()) && !self.session.has_ask() && may_answer
    }

    fn may_read(&self) -> bool {
        self.has_more() && self.held_back.is_empty()
    }

    /// Whether what it says may be compressed, and others have had all of that of this turn.
    fn is_too_dear(&self, desk: &Desk) -> bool {
        desk.deflate_cost >= DEFLATE_COST_PER_TURN && self.session.may_inflate()
    }

    /// Whether the next bytes are of a TLS handshake that is to be answered.
    fn is_shaking(&self) -> bool {
        self.goodbye.is_none() && self.transport.is_handshaking()
    }

    /// Returns what it costs of the budget.
    fn read_once(&mut self, desk: &mut Desk, pulse: Pulse) -> io::Result<usize> {
        let mut buffers = std::mem::take(&mut desk.buffers);
        desk.watch.reading.first();
        let read = match self.goodbye.is_some() && !self.session.awaits_close() {
            true => self.discard_once(&mut buffers),
            false => self.receive_once(desk, pulse, &mut buffers),
        };
        desk.buffers = buffers;
        desk.watch.reading.done();
        let Some((len, filled)) = read? else {
            self.readable = false;
            return Ok(0);
        };
        desk.tally.bytes_in += len as u64;
        if let Some(goodbye) = &mut self.goodbye {
            goodbye.discarded += len;
        }
        // After a short read nothing is left, unless the end is there to be read.
        self.readable &= filled || self.ended;
        Ok(len.max(READ_COST_BYTES))
    }

    /// Returns how much came, and whether there may be more.
    fn receive_once(
        &mut self,
        desk: &mut Desk,
        pulse: Pulse,
        buffers: &mut Buffers,
    ) -> io::Result<Option<(usize, bool)>> {
        let was_shaking = self.is_shaking();
        let received = self.transport.receive(buffers, &mut self.outbox);
        desk.watch.reading.second();
        let Some(received) = received? else { return Ok(None) };
        let Received { wire, filled, introduced, bytes, overhead, ended, fault } = received;
        if was_shaking && !self.is_shaking() {
            desk.shared.metrics.tls_handshakes.inc();
        }
        match introduced {
            Some(Err(BadProxyHeader)) => self.session.badly_introduced(bytes),
            Some(Ok(client)) => {
                let mut turn = turn(desk.now, &desk.shared, pulse, &mut self.outbox);
                self.session.introduced(&mut turn, client);
                self.hand_in(desk, pulse, bytes);
            }
            None if bytes.is_empty() => {}
            None => self.hand_in(desk, pulse, bytes),
        }
        if overhead > 0 {
            let mut turn = turn(desk.now, &desk.shared, pulse, &mut self.outbox);
            self.session.handle_overhead(&mut turn, overhead);
        }
        if ended {
            self.handle_end();
        }
        if let Some(fault) = fault {
            self.handle_fault(&fault);
        }
        Ok(Some((wire, filled)))
    }

    fn discard_once(&mut self, buffers: &mut Buffers) -> io::Result<Option<(usize, bool)>> {
        let Some((len, filled)) = self.transport.discard(buffers)? else { return Ok(None) };
        if len == 0 {
            self.handle_end();
        }
        Ok(Some((len, filled)))
    }

    fn handle_fault(&mut self, fault: &TlsError) {
        match fault {
            TlsError::PlainHttp => {
                self.outbox.seal(|_, out| write_https_wanted(out));
                self.session.cut(CloseReason::PlainHttp);
            }
            _ => self.session.cut(CloseReason::TlsFailed),
        }
    }

    fn handle_end(&mut self) {
        self.readable = false;
        self.ended = true;
        self.session.handle_end();
    }

    /// Gives bytes to the session; what it cannot take while an ask waits, or because the turn is spent, is held back.
    fn hand_in(&mut self, desk: &mut Desk, pulse: Pulse, mut bytes: &mut [u8]) {
        let mut cost = 0;
        loop {
            if !self.forward_ask(desk) {
                self.held_back.extend_from_slice(bytes);
                desk.with_asks.push(self.id);
                return;
            }
            if bytes.is_empty() {
                return;
            }
            let mut turn = Turn { cost, ..turn(desk.now, &desk.shared, pulse, &mut self.outbox) };
            self.session.handle_bytes(&mut turn, &mut bytes);
            desk.deflate_cost += turn.cost - cost;
            cost = turn.cost;
            if turn.is_spent() && !self.session.has_ask() {
                self.held_back.extend_from_slice(bytes);
                return;
            }
        }
    }

    /// Returns whether no ask waits any longer.
    fn forward_ask(&mut self, desk: &mut Desk) -> bool {
        if !self.session.has_ask() {
            return true;
        }
        if !desk.commands.have_room(self.session.room()) {
            return false;
        }
        self.find_seat(desk);
        if let Some((room, ask)) = self.session.take_ask() {
            self.note_ask(desk, room, &ask);
            desk.commands.push(self.id, room, ask);
        }
        true
    }

    /// A client that asks for cells says that it does not hold them.
    fn note_ask(&mut self, desk: &Desk, room: RoomId, ask: &Ask) {
        let Some(hearing) = &mut self.hearing else { return };
        match ask {
            Ask::Want(cells) => hearing.forget(cells),
            Ask::Repair(repair) => {
                hearing.forget_all();
                desk.shared.note_desync(desk.now, room, self.id, &self.session.peer, repair);
            }
            _ => {}
        }
    }

    /// Hands on what the session said, sends what waits, and sees whether it is over.
    fn settle(&mut self, desk: &mut Desk) -> Verdict {
        self.hand_on(desk);
        if self.session.has_input() && !self.listed && !self.give_inputs(&mut desk.commands) {
            self.listed = true;
            self.session.room().into_iter().for_each(|room| desk.commands.note(room));
            desk.with_inputs.push(self.id);
        }
        self.tune();
        if self.session.closing().is_some() && self.goodbye.is_none() {
            self.goodbye = Some(Goodbye { since: desk.now, finished: false, shut: false, discarded: 0 });
            self.hearing = None;
            // The peer's own close may be among it.
            let mut held_back = std::mem::take(&mut self.held_back);
            self.hand_in(desk, Pulse::default(), &mut held_back);
        }
        self.finish();
        if !self.flush(desk) {
            return self.fail(desk);
        }
        if self.goodbye.is_some() {
            return self.say_goodbye(desk);
        }
        self.rest()
    }

    /// Once the closing handshake is over, what belongs below it follows.
    fn finish(&mut self) {
        if let Some(goodbye) = &mut self.goodbye
            && !goodbye.finished
            && !self.session.awaits_close()
        {
            goodbye.finished = true;
            self.transport.finish(&mut self.outbox);
        }
    }

    /// Whether it has more to do at once.
    fn rest(&self) -> Verdict {
        match self.has_more() {
            true if self.is_shaking() => Verdict::Shake,
            true => Verdict::Again,
            false => Verdict::Waits,
        }
    }

    /// What the session counted, and whether its player leaves.
    fn hand_on(&mut self, desk: &mut Desk) {
        let counts = self.session.take_counts();
        desk.tally.messages_in += counts.messages_in as u64;
        desk.tally.messages_out += counts.messages_out as u64;
        desk.tally.inputs_skipped += counts.inputs_skipped as u64;
        if let Some((room, leave)) = self.session.take_leave() {
            desk.commands.push_leave(self.id, room, leave);
        }
        self.give_up_seat(desk);
    }

    /// Shuts down our side once all is said on both, and is over once the peer has shut down its own.
    fn say_goodbye(&mut self, desk: &mut Desk) -> Verdict {
        let Some(goodbye) = &mut self.goodbye else { return Verdict::Waits };
        // RFC 6455, 7.1.1: the server closes TCP first, after the peer's close frame.
        if self.outbox.is_empty() && !goodbye.shut && goodbye.finished {
            let _ = self.transport.shutdown_write();
            *goodbye = Goodbye { since: desk.now, shut: true, ..*goodbye };
        }
        let heard_the_end = self.ended && !self.readable;
        let over = goodbye.shut && heard_the_end;
        let floods = goodbye.discarded > DISCARD_BYTES_MAX;
        if floods {
            self.abandon();
        }
        if over || floods {
            return self.gone();
        }
        self.rest()
    }

    /// Returns whether the socket still works.
    fn flush(&mut self, desk: &mut Desk) -> bool {
        if self.outbox.is_empty() || self.full {
            self.outbox.give_back(&mut desk.spare);
            return true;
        }
        match self.transport.flush(desk.now, &mut self.outbox) {
            Ok(flushed) => {
                self.note_flushed(desk, flushed);
                self.outbox.give_back(&mut desk.spare);
                true
            }
            Err(_) => false,
        }
    }

    fn note_flushed(&mut self, desk: &mut Desk, flushed: Flushed) {
        desk.tally.bytes_out += flushed.bytes as u64;
        desk.tally.sends += flushed.calls as u64;
        self.count_outbox_as(desk, self.outbox.len());
        self.full = !self.outbox.is_empty();
    }

    /// Tells the tally how many bytes wait here.
    pub fn count_outbox_as(&mut self, desk: &mut Desk, bytes: usize) {
        desk.tally.outbox += bytes as i64 - self.outbox_counted as i64;
        self.outbox_counted = bytes;
    }

    fn ask_for_missing(&mut self, desk: &mut Desk, room: RoomId) {
        // When there is no room they are found missing again with the next batch.
        let have_room = desk.commands.have_room(Some(room));
        if !desk.missing.cells.is_empty() && have_room {
            desk.commands.push(self.id, room, Ask::Want(desk.missing.cells.as_slice().into()));
        }
        if let Some(from) = desk.missing.reliable_from
            && have_room
        {
            desk.commands.push(self.id, room, Ask::Reoffer(from));
        }
    }

    /// Freshness needs small buffers: with the default ones the kernel swallows minutes of updates of a stalled reader.
    fn tune(&mut self) {
        if self.tuned || !self.session.is_on_play() {
            return;
        }
        self.tuned = true;
        if let Err(error) = self.transport.tune() {
            tracing::debug!(%error, "cannot set a socket option");
        }
    }

    /// Gives up what the peer does not take. A socket that is just closed lives on in the kernel behind a peer that does not read,
    /// and that peer, if it says nothing, never learns that it was closed.
    fn abandon(&mut self) {
        // A page is not thrown away: the kernel may need longer than we for a slow network.
        if self.tuned || !self.outbox.is_empty() {
            // If that fails, it is closed as any other.
            let _ = self.transport.abort();
        }
    }

    /// The socket failed, or the peer is cut off without a word.
    fn fail(&mut self, desk: &mut Desk) -> Verdict {
        self.session.handle_end();
        self.hand_on(desk);
        self.gone()
    }

    fn gone(&self) -> Verdict {
        Verdict::Gone(self.session.closing().unwrap_or(CloseReason::PeerGone))
    }
}

fn turn<'a>(now: Time, shared: &'a Arc<Shared>, pulse: Pulse, outbox: &'a mut Outbox) -> Turn<'a> {
    Turn { now, site: &shared.site, pulse, out: outbox.tail(), cost: 0 }
}

/// Who asks without TLS is told, rather than left with the bytes of an alert.
fn write_https_wanted(out: &mut Vec<u8>) {
    let content_type = "text/plain; charset=utf-8";
    let body = b"This port speaks TLS only: use https:// or wss://.\n";
    Response { status: Status::BAD_REQUEST, content_type, headers: &[] }.write(out, body);
}
