//! The way to the simulation: a list per poll turn, sent without waiting.
//!
//! When the channel is full, inputs stay with their sessions (four each, the oldest makes room), and an ask that must not be lost stops the
//! reading of its own socket. So a slow simulation never stops this thread, and nothing here grows with time.

use crossbeam_channel::{Sender, TrySendError};

use crate::bridge::{Ask, Command, CommandList, ConnId, Leave, RoomId};
use crate::time::Time;

/// Commands on their way to the simulation.
#[derive(Debug)]
pub struct Commands {
    sender: Sender<CommandList>,
    list: Vec<Command>,
    now: Time,
    /// Since when something waits to be sent.
    since: Option<Time>,
    /// The channel did not take the list.
    blocked: bool,
    /// Nobody is at its other end any longer.
    lost: bool,
}

impl Commands {
    /// An empty list before the channel.
    pub fn new(sender: Sender<CommandList>) -> Commands {
        let (list, now) = (Vec::new(), Time::ZERO);
        Commands { sender, list, now, since: None, blocked: false, lost: false }
    }

    /// A poll turn begins.
    pub fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// Something that was read now will be pushed before the list is sent.
    pub fn note(&mut self) {
        self.since.get_or_insert(self.now);
    }

    /// Whether an ask can be taken now.
    pub fn have_room(&self) -> bool {
        !self.blocked && self.list.len() < COMMANDS_PER_TURN_MAX
    }

    /// Whether the channel was full: come back soon.
    pub fn are_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether a list found nobody since the last call: the simulation has ended.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Adds an ask. Call [`Commands::have_room`] first.
    pub fn push(&mut self, conn: ConnId, room: RoomId, ask: Ask) {
        self.note();
        self.list.push(Command { room, conn, ask });
    }

    /// Adds a leave, which must not be lost: there is at most one per seat, so the seats bound them.
    pub fn push_leave(&mut self, conn: ConnId, room: RoomId, leave: Leave) {
        self.push(conn, room, Ask::Leave(leave));
    }

    /// Offers the channel what waits since an earlier turn. Returns whether the way is free.
    pub fn unblock(&mut self) -> bool {
        if self.blocked {
            self.send();
        }
        !self.blocked
    }

    /// Sends the list of this turn.
    pub fn send(&mut self) {
        if self.list.is_empty() {
            self.blocked = false;
            return;
        }
        let next = Vec::with_capacity(self.list.len().min(COMMANDS_PER_TURN_MAX));
        let commands = std::mem::replace(&mut self.list, next);
        let read = self.since.take().unwrap_or(self.now);
        match self.sender.try_send(CommandList { read, commands }) {
            Ok(()) => self.blocked = false,
            Err(TrySendError::Full(list)) => {
                (self.list, self.since) = (list.commands, Some(list.read));
                self.blocked = true;
            }
            Err(TrySendError::Disconnected(_)) => (self.blocked, self.lost) = (false, true),
        }
    }
}

/// Asks that a poll turn hands on; what is more waits for the next one.
const COMMANDS_PER_TURN_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId { thread: 0, slot: 1, generation: 0 };

    #[test]
    fn a_full_channel_keeps_the_list_and_its_order() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(sender);
        for number in 0..3 {
            commands.push(CONN, RoomId(0), Ask::Ack(number));
            commands.send();
        }
        assert!(commands.are_blocked() && !commands.have_room());

        commands.push_leave(CONN, RoomId(0), Leave::Left);
        let acks = |list: CommandList| -> Vec<Ask> {
            list.commands.into_iter().map(|command| command.ask).collect()
        };
        assert_eq!(acks(receiver.recv().unwrap()), [Ask::Ack(0)]);
        assert!(commands.unblock());
        assert_eq!(acks(receiver.recv().unwrap()), [Ask::Ack(1), Ask::Ack(2), Ask::Leave(Leave::Left)]);
        assert!(commands.have_room());
    }

    #[test]
    fn a_list_is_as_old_as_what_was_read_first_of_it_also_when_it_had_to_wait() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(sender);
        for second in 1..=4 {
            commands.set_now(Time::from_secs(second));
            match second {
                // An input that stays with its session for now.
                3 => commands.note(),
                _ => commands.push(CONN, RoomId(0), Ask::Ack(second as u32)),
            }
            commands.send();
        }
        let read = || receiver.try_recv().unwrap().read;
        assert_eq!(read(), Time::from_secs(1));
        commands.send();
        assert_eq!(read(), Time::from_secs(2));
        commands.set_now(Time::from_secs(5));
        commands.note();
        commands.set_now(Time::from_secs(6));
        commands.push(CONN, RoomId(0), Ask::Ack(6));
        commands.send();
        assert_eq!(read(), Time::from_secs(5));
    }

    #[test]
    fn a_list_that_nobody_takes_is_lost_and_that_is_known() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(sender);
        commands.push(CONN, RoomId(0), Ask::Ack(1));
        commands.send();
        assert!(!commands.take_lost());
        drop(receiver);
        commands.push(CONN, RoomId(0), Ask::Ack(2));
        commands.send();
        assert!(commands.take_lost() && !commands.take_lost() && !commands.are_blocked());
    }

    #[test]
    fn a_turn_that_asks_for_nothing_sends_nothing() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        Commands::new(sender).send();
        assert!(receiver.try_recv().is_err());
    }
}
