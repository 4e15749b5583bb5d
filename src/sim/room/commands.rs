//! What connections ask of a room, obeyed in the order in which it came in.

use tickyard_protocol::message::{NAME_BYTES_MAX, RefusalCode};
use tickyard_protocol::tick::Reliable;
use tickyard_protocol::types::{CellId, PlayerId};

use super::Room;
use crate::bridge::{Ask, Command, ConnId, Join, Leave, Message, Rate as StreamRate, Refusal};
use crate::config::limits::FULL_RETRY_MILLIS;
use crate::game::{Game, Joining, PROPERTIES_BYTES_MAX, PROPERTIES_MAX};
use crate::sim::players::{AHEAD, RELIABLE_WAITING_BYTES_MAX, RELIABLE_WAITING_MAX, Rate, Took};

/// The message kind that is the room's own.
const CHAT_KIND: &str = "chat";
const CHAT_REFUSED_KIND: &str = "chat-refused";
const CHAT_BYTES_MAX: usize = 200;
/// What one player may say.
const CHAT_RATE: Rate = Rate { per_second: 2, burst: 4 };
/// What all players together may say: each line goes to every player, and waits for each one's acknowledgement.
const ROOM_CHAT_RATE: Rate = Rate { per_second: 8, burst: 16 };
/// A line as it waits: text, name and numbers.
const CHAT_LINE_BYTES_MAX: usize = CHAT_BYTES_MAX + NAME_BYTES_MAX + 16;
// Who hears nothing for ten seconds must not lose the seat to those who talk.
const _: () = assert!(
    CHAT_LINE_BYTES_MAX * (ROOM_CHAT_RATE.burst + 10 * ROOM_CHAT_RATE.per_second) as usize
        <= RELIABLE_WAITING_BYTES_MAX
);

// All properties fit into half of what may wait for a newcomer's acknowledgement: the rest is for what comes then.
const PROPERTIES_MESSAGE_BYTES_MAX: usize = PROPERTIES_BYTES_MAX + PROPERTIES_MAX * PROPERTY_HEAD_BYTES;
/// Of the message that tells of a property: its class, its owner, the length of its key.
const PROPERTY_HEAD_BYTES: usize = 1 + 5 + 1;
const _: () = assert!(PROPERTIES_MAX <= RELIABLE_WAITING_MAX / 2);
const _: () = assert!(PROPERTIES_MESSAGE_BYTES_MAX <= RELIABLE_WAITING_BYTES_MAX / 2);

impl<G: Game> Room<G> {
    /// Obeys what came in since the last step.
    pub(super) fn obey_commands(&mut self) {
        while self.obeyed < self.commands.len() {
            if self.obeyed.is_multiple_of(AHEAD) {
                let next = self.commands[self.obeyed..].iter().take(AHEAD);
                self.seats.fetch(next.filter_map(|command| self.seats.of_conn(command.conn)));
            }
            let Command { conn, ask, .. } = &mut self.commands[self.obeyed];
            let conn = *conn;
            let ask = match ask {
                Ask::Input(input) => Ask::Input(*input),
                ask => std::mem::replace(ask, Ask::Ack(0)),
            };
            self.obey(conn, ask);
            self.obeyed += 1;
        }
    }

    fn obey(&mut self, conn: ConnId, ask: Ask) {
        if let Ask::Join(join) = ask {
            self.joining = Some(conn);
            self.join(conn, &join);
            self.joining = None;
            return;
        }
        let Some(seat) = self.seats.of_conn(conn) else {
            // A session whose seat was taken away, or that was refused, says once more that it is gone.
            self.counts.commands_stale += !matches!(ask, Ask::Leave(_)) as u64;
            return;
        };
        let sits = &mut self.seats[seat];
        let is_right = match ask {
            Ask::Ack(number) => sits.reliable.acknowledge(number),
            Ask::Input(input) => {
                self.counts.inputs += 1;
                let acknowledged = sits.reliable.acknowledge(input.ack);
                match sits.inputs.push(input) {
                    Took::Waits => self.eager.push(seat),
                    Took::Skipped => self.counts.inputs_skipped += 1,
                    Took::Repeated => self.counts.inputs_repeated += 1,
                }
                acknowledged
            }
            Ask::Join(_) => unreachable!("joins were handled above"),
            Ask::Leave(why) => {
                self.leave(seat, why);
                true
            }
            Ask::Message(message) => self.message(seat, &message),
            Ask::Rate(rate) => {
                sits.rate = rate;
                self.publisher.open(rate);
                true
            }
            Ask::Reoffer(number) => sits.reliable.reoffer(number),
            Ask::Repair(_) => {
                self.counts.wants += sits.view.cells().len() as u64;
                (0..sits.view.cells().len()).for_each(|at| self.begin_anew(seat, at));
                true
            }
            Ask::Want(cells) => self.want(seat, &cells),
        };
        self.counts.commands_wrong += !is_right as u64;
    }

    fn join(&mut self, conn: ConnId, join: &Join) {
        if self.seats.of_conn(conn).is_some() {
            self.counts.commands_wrong += 1;
            return;
        }
        if let Some(seat) = self.seats.of_slot(conn) {
            // The slot is used anew, so who had it before is gone.
            self.leave(seat, Leave::Dropped);
        }
        if self.seats.len() >= self.config.capacity as usize {
            let text = format!("the room is full: all {} seats are taken", self.config.capacity);
            return self.refuse(conn, RefusalCode::Full, text, Some(FULL_RETRY_MILLIS));
        }
        self.player_last += 1;
        let player = PlayerId(self.player_last);
        let chosen;
        let name = if join.name.is_empty() {
            chosen = format!("Player {}", player.0);
            &chosen
        } else {
            &join.name
        };
        // What the game sets now the newcomer hears with all others.
        let properties: Vec<_> = self.world.property_bodies().cloned().collect();
        self.world.admit(player);
        let answer = self.game.join(&mut self.world, player, &Joining { name, options: &join.options });
        match answer {
            Ok(()) => {
                let seat = self.seats.take(player, conn, name);
                self.news.joined.push((conn, player));
                properties.into_iter().for_each(|body| self.send(Some(seat), body));
                self.carry_out();
            }
            Err(refusal) => {
                self.world.turn_away(player);
                self.carry_out();
                self.refuse(conn, RefusalCode::Game, refusal.text, None);
            }
        }
    }

    /// Frees a seat, and tells the game.
    pub(super) fn leave(&mut self, seat: u32, why: Leave) {
        let left = self.seats.free(seat);
        left.view.iter().for_each(|(cell, rate)| self.publisher.unhear(cell, rate));
        self.publisher.abandon(self.grid.private(seat));
        self.game.leave(&mut self.world, left.player, why);
        self.world.dismiss(left.player);
        self.carry_out();
    }

    fn refuse(&mut self, conn: ConnId, code: RefusalCode, text: String, retry_after_millis: Option<u32>) {
        self.news.refused.push(Refusal { conn, code, text, retry_after_millis });
    }

    fn message(&mut self, seat: u32, message: &Message) -> bool {
        let sits = &mut self.seats[seat];
        if message.number != sits.heard.wrapping_add(1) {
            return false;
        }
        sits.heard = message.number;
        if message.kind == CHAT_KIND {
            self.say(seat, &message.payload);
        } else {
            self.game.message(&mut self.world, sits.player, &message.kind, &message.payload);
            self.carry_out();
        }
        true
    }

    fn say(&mut self, seat: u32, payload: &[u8]) {
        let sits = &mut self.seats[seat];
        let Some(text) = chat_text(payload) else {
            self.counts.chat_invalid += 1;
            return self.refuse_chat(seat, "a line is 1 to 200 bytes of text without control characters");
        };
        let rate = self.config.tick_rate;
        if !sits.chat.take(CHAT_RATE, self.tick, rate) {
            self.counts.chat_limited += 1;
            return self.refuse_chat(seat, "too fast: two lines a second");
        }
        if !self.chat.take(ROOM_CHAT_RATE, self.tick, rate) {
            self.counts.chat_limited += 1;
            return self.refuse_chat(seat, "too many are talking in this room");
        }
        self.counts.chat_relayed += 1;
        self.body.clear();
        Reliable::Chat { player: sits.player, name: &sits.name, text }.put(&mut self.body);
        self.send(None, self.body.as_slice().into());
    }

    fn refuse_chat(&mut self, seat: u32, why: &str) {
        self.body.clear();
        Reliable::Message { kind: CHAT_REFUSED_KIND, payload: why.as_bytes() }.put(&mut self.body);
        self.send(Some(seat), self.body.as_slice().into());
    }

    fn want(&mut self, seat: u32, cells: &[CellId]) -> bool {
        let mut in_view = true;
        for cell in cells {
            let place = self.seats[seat].view.cells().iter().position(|seen| seen == cell);
            if let Some(at) = place {
                self.counts.wants += 1;
                self.begin_anew(seat, at);
            } else {
                in_view = false;
            }
        }
        in_view
    }

    /// A cell of a view is told afresh: at every tick, until its own rate publishes.
    fn begin_anew(&mut self, seat: u32, at: usize) {
        let sits = &mut self.seats[seat];
        let cell = sits.view.cells()[at];
        let rate = sits.view.set_rate(at, StreamRate::One);
        if rate != StreamRate::One {
            self.publisher.hear(cell, StreamRate::One);
            self.publisher.unhear(cell, rate);
            sits.view_is_news = true;
        }
        self.publisher.want(cell);
    }
}

fn chat_text(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let is_right = (1..=CHAT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_right.then_some(text)
}
