//! The way to the simulation: a list per poll turn and simulation thread, sent without waiting.
//!
//! When a channel is full, inputs stay with their sessions (four each, the oldest makes room), and an ask that must not be lost stops the
//! reading of its own socket. So a slow simulation never stops this thread, and nothing here grows with time.

use crossbeam_channel::{Sender, TrySendError};

use crate::bridge::{Ask, Command, CommandList, ConnId, DRAINED_MAX, Leave, RoomId};
use crate::time::Time;

/// Commands on their way to the simulation: a list for each of its threads.
#[derive(Debug)]
pub struct Commands {
    lanes: Vec<Lane>,
    spare: Spare,
    now: Time,
    /// Nobody is at the other end of a channel any longer.
    lost: bool,
}

/// The way to a simulation thread.
#[derive(Debug)]
struct Lane {
    sender: Sender<CommandList>,
    list: Vec<Command>,
    /// Since when something waits to be sent.
    since: Option<Time>,
    /// The channel did not take the list.
    blocked: bool,
}

impl Commands {
    /// Empty lists before the channels, one for each thread of the simulation; at least one.
    pub fn new(senders: Vec<Sender<CommandList>>) -> Commands {
        let lane = |sender| Lane { sender, list: Vec::new(), since: None, blocked: false };
        let lanes = senders.into_iter().map(lane).collect();
        Commands { lanes, spare: Spare::default(), now: Time::ZERO, lost: false }
    }

    /// A poll turn begins.
    pub fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// Something for this room that was read now will be pushed before the list is sent.
    pub fn note(&mut self, room: RoomId) {
        let lane = self.lane(room);
        self.lanes[lane].since.get_or_insert(self.now);
    }

    /// Whether an ask of this room can be taken now; `None`: of any room.
    pub fn have_room(&self, room: Option<RoomId>) -> bool {
        match room {
            Some(room) => self.lanes[self.lane(room)].has_room(),
            None => self.lanes.iter().all(Lane::has_room),
        }
    }

    /// Whether a channel was full: come back soon.
    pub fn are_blocked(&self) -> bool {
        self.lanes.iter().any(|lane| lane.blocked)
    }

    /// Whether a list found nobody since the last call: the simulation has ended.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Adds an ask. Call [`Commands::have_room`] first.
    pub fn push(&mut self, conn: ConnId, room: RoomId, ask: Ask) {
        self.note(room);
        let lane = self.lane(room);
        self.lanes[lane].list.push(Command { room, conn, ask });
    }

    /// Adds a leave, which must not be lost: there is at most one per seat, so the seats bound them.
    pub fn push_leave(&mut self, conn: ConnId, room: RoomId, leave: Leave) {
        self.push(conn, room, Ask::Leave(leave));
    }

    /// Offers the channels what waits since an earlier turn.
    pub fn unblock(&mut self) {
        let blocked = self.lanes.iter_mut().filter(|lane| lane.blocked);
        blocked.for_each(|lane| self.lost |= lane.send(self.now, &mut self.spare));
    }

    /// Takes lists back that were drained: so in steady state none is ever made.
    pub fn take_drained(&mut self, lists: Vec<Vec<Command>>) {
        for list in lists {
            self.spare.keep(list);
        }
    }

    /// Sends the lists of this turn.
    pub fn send(&mut self) {
        self.lanes.iter_mut().for_each(|lane| self.lost |= lane.send(self.now, &mut self.spare));
    }

    /// As the simulation deals out its rooms.
    fn lane(&self, room: RoomId) -> usize {
        room.0 as usize % self.lanes.len()
    }
}

/// Empty lists, kept for their memory.
#[derive(Debug, Default)]
struct Spare {
    lists: Vec<Vec<Command>>,
    /// Commands that they have room for.
    room: usize,
}

impl Spare {
    fn take(&mut self) -> Vec<Command> {
        let list = self.lists.pop().unwrap_or_default();
        self.room -= list.capacity();
        list
    }

    fn keep(&mut self, list: Vec<Command>) {
        let room = self.room + list.capacity();
        if self.lists.len() < DRAINED_MAX && room <= SPARE_COMMANDS_MAX {
            self.lists.push(list);
            self.room = room;
        }
    }
}

impl Lane {
    fn has_room(&self) -> bool {
        !self.blocked && self.list.len() < COMMANDS_PER_TURN_MAX
    }

    /// Returns whether nobody is at the other end.
    fn send(&mut self, now: Time, spare: &mut Spare) -> bool {
        if self.list.is_empty() {
            self.blocked = false;
            return false;
        }
        let commands = std::mem::replace(&mut self.list, spare.take());
        let read = self.since.take().unwrap_or(now);
        match self.sender.try_send(CommandList { read, commands }) {
            Ok(()) => self.blocked = false,
            Err(TrySendError::Full(list)) => {
                spare.keep(std::mem::replace(&mut self.list, list.commands));
                self.since = Some(list.read);
                self.blocked = true;
            }
            Err(TrySendError::Disconnected(_)) => {
                self.blocked = false;
                return true;
            }
        }
        false
    }
}

/// Asks that a poll turn hands on; what is more waits for the next one.
const COMMANDS_PER_TURN_MAX: usize = 16 * 1024;

/// Commands that all spare lists have room for: after an outburst it is not kept.
const SPARE_COMMANDS_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId { thread: 0, slot: 1, generation: 0 };

    #[test]
    fn a_full_channel_keeps_the_list_and_its_order() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(vec![sender]);
        for number in 0..3 {
            commands.push(CONN, RoomId(0), Ask::Ack(number));
            commands.send();
        }
        assert!(commands.are_blocked() && !commands.have_room(None));

        commands.push_leave(CONN, RoomId(0), Leave::Left);
        let acks = |list: CommandList| -> Vec<Ask> {
            list.commands.into_iter().map(|command| command.ask).collect()
        };
        assert_eq!(acks(receiver.recv().unwrap()), [Ask::Ack(0)]);
        commands.unblock();
        assert!(!commands.are_blocked());
        assert_eq!(acks(receiver.recv().unwrap()), [Ask::Ack(1), Ask::Ack(2), Ask::Leave(Leave::Left)]);
        assert!(commands.have_room(None));
    }

    #[test]
    fn each_thread_of_the_simulation_gets_the_asks_of_its_rooms_and_one_that_is_held_up_holds_up_no_other() {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| crossbeam_channel::bounded(1)).unzip();
        let mut commands = Commands::new(senders);
        for room in 0..7 {
            commands.push(CONN, RoomId(room), Ask::Ack(room));
        }
        commands.send();
        let rooms = |at: usize| -> Vec<u32> {
            receivers[at]
                .try_iter()
                .flat_map(|list: CommandList| list.commands)
                .map(|command| command.room.0)
                .collect()
        };
        assert_eq!([rooms(0), rooms(2)], [vec![0, 3, 6], vec![2, 5]]);

        // Nobody has taken the second one's list.
        (0..3).for_each(|room| commands.push(CONN, RoomId(room), Ask::Ack(room)));
        commands.send();
        let free = [0, 1, 2].map(|room| commands.have_room(Some(RoomId(room))));
        assert_eq!(
            (free, commands.have_room(None), commands.are_blocked()),
            ([true, false, true], false, true)
        );
        assert_eq!([rooms(0), rooms(1), rooms(2)], [vec![0], vec![1, 4], vec![2]]);
        commands.unblock();
        assert_eq!((rooms(1), commands.have_room(None)), (vec![1], true));
    }

    #[test]
    fn a_list_is_as_old_as_what_was_read_first_of_it_also_when_it_had_to_wait() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(vec![sender]);
        for second in 1..=4 {
            commands.set_now(Time::from_secs(second));
            match second {
                // An input that stays with its session for now.
                3 => commands.note(RoomId(0)),
                _ => commands.push(CONN, RoomId(0), Ask::Ack(second as u32)),
            }
            commands.send();
        }
        let read = || receiver.try_recv().unwrap().read;
        assert_eq!(read(), Time::from_secs(1));
        commands.send();
        assert_eq!(read(), Time::from_secs(2));
        commands.set_now(Time::from_secs(5));
        commands.note(RoomId(0));
        commands.set_now(Time::from_secs(6));
        commands.push(CONN, RoomId(0), Ask::Ack(6));
        commands.send();
        assert_eq!(read(), Time::from_secs(5));
    }

    #[test]
    fn the_memory_of_drained_lists_is_used_again_but_not_of_an_outburst_nor_of_more_than_are_needed() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(vec![sender]);
        let mut at = Vec::new();
        for _ in 0..4 {
            commands.push(CONN, RoomId(0), Ask::Ack(1));
            commands.send();
            let mut list = receiver.recv().unwrap().commands;
            at.push(list.as_ptr());
            list.clear();
            commands.take_drained(vec![list]);
        }
        assert_eq!((at[0], at[1]), (at[2], at[3]), "one is filled while the other one is drained");

        commands.take_drained(vec![Vec::with_capacity(SPARE_COMMANDS_MAX + 1)]);
        assert_eq!(commands.spare.lists.len(), 1);
        commands.take_drained(vec![Vec::new(); 2 * DRAINED_MAX]);
        assert_eq!(commands.spare.lists.len(), DRAINED_MAX);
    }

    #[test]
    fn a_list_that_nobody_takes_is_lost_and_that_is_known() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut commands = Commands::new(vec![sender]);
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
        Commands::new(vec![sender]).send();
        assert!(receiver.try_recv().is_err());
    }
}
