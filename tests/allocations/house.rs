//! What an io thread and a room do for players who play: all of it but the kernel and the sleep, with sockets made of memory.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use crossbeam_channel::Receiver;
use tickyard::Config;
use tickyard::bridge::{CommandList, DRAINED_MAX};
use tickyard::game::arena::Arena;
use tickyard::lobby::{Hosted, Lobby};
use tickyard::net::Shared;
use tickyard::net::hub::Hub;
use tickyard::net::transport::Socket;
use tickyard::session::site::Site;
use tickyard::sim::{AnyRoom, Room};
use tickyard::time::Time;

use super::{arena, fields, hello, input, upgrade};

/// The server's end of a connection: bytes that came, and how often something was sent.
#[derive(Clone, Default)]
struct Line(Rc<RefCell<(Vec<u8>, u64)>>);

pub struct House {
    now: Time,
    hub: Hub<Line>,
    room: Room<Arena>,
    commands: Receiver<CommandList>,
    /// With their slots in the hub.
    players: Vec<(usize, Line)>,
    seq: u32,
    /// What each player sends before the inputs of a tick, if anything.
    pub before: Vec<u8>,
}

/// How often memory was asked for, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// Poll turns, and allocations of the io thread.
    pub turns: u64,
    pub in_turns: u64,
    /// Ticks, and allocations of the room.
    pub ticks: u64,
    pub in_ticks: u64,
    /// Messages from players and to them.
    pub received: u64,
    pub sent: u64,
}

impl House {
    /// Everybody has a seat.
    pub fn new(players: u32) -> House {
        let lobby = Hosted { name: "arena".into(), input: fields(), rooms_max: 1, seats: players };
        let site = Site { lobby: Arc::new(Lobby::hosting(lobby)), ..Site::default() };
        let shared = Arc::new(Shared::new(&Config::default(), site, None, None));
        let (sender, commands) = crossbeam_channel::bounded(64);
        let now = Time::from_secs(100);
        let hub = Hub::new(0, shared, vec![sender], now);
        let mut house = House {
            now,
            hub,
            room: arena(players),
            commands,
            players: Vec::new(),
            seq: 0,
            before: Vec::new(),
        };
        for _ in 0..players {
            let (slot, line) = (house.hub.next_id().slot as usize, Line::default());
            let peer = house.hub.shared().site.addresses.arrive(([127, 0, 0, 1], 40_000).into());
            house.hub.shared().metrics.connections.inc();
            house.hub.admit(line.clone(), peer.expect("there is room"));
            line.0.borrow_mut().0.extend([upgrade(), hello()].concat());
            house.players.push((slot, line));
        }
        house.turn();
        house.tick(&mut Bill::default());
        assert_eq!(house.room.players(), players as usize);
        house
    }

    /// So many ticks, in each of which every player sends so many inputs: so many players in each poll turn.
    pub fn play(&mut self, ticks: u32, inputs: u32, turns: &[usize]) -> Bill {
        let sent = |house: &House| house.players.iter().map(|(_, line)| line.0.borrow().1).sum::<u64>();
        let mut bill = Bill { sent: sent(self), ..Bill::default() };
        for _ in 0..ticks {
            let mut players = 0..self.players.len();
            for &count in turns {
                self.now = self.now + Duration::from_millis(50) / turns.len() as u32;
                for at in players.by_ref().take(count) {
                    bill.received += u64::from(inputs);
                    self.say(at, inputs);
                }
                bill.turns += 1;
                bill.in_turns += measure(|| self.turn()).count_total;
            }
            assert!(players.is_empty(), "everybody plays");
            self.seq += inputs;
            self.tick(&mut bill);
        }
        Bill { sent: sent(self) - bill.sent, ..bill }
    }

    fn say(&mut self, at: usize, inputs: u32) {
        let (slot, line) = &self.players[at];
        line.0.borrow_mut().0.extend(&self.before);
        for seq in self.seq + 1..=self.seq + inputs {
            // Another way once a second.
            line.0.borrow_mut().0.extend(input(seq, ((seq + at as u32) / 10).wrapping_mul(0x9e37_79b9)));
        }
        self.hub.wake(*slot, true, false, false);
    }

    /// A turn of the io thread's loop.
    fn turn(&mut self) {
        self.hub.set_now(self.now);
        self.hub.serve_run_queue(|_| false);
        self.hub.fan_out(|_| false);
        self.hub.sweep();
        self.hub.send_commands();
        self.hub.report();
    }

    /// A tick of the room, and the turn in which the io thread tells of it and gets its lists of commands back.
    fn tick(&mut self, bill: &mut Bill) {
        let (mut drained, mut batch) = (Vec::with_capacity(DRAINED_MAX), None);
        bill.ticks += 1;
        bill.in_ticks += measure(|| {
            for CommandList { mut commands, .. } in self.commands.try_iter() {
                commands.drain(..).for_each(|command| self.room.command(command));
                drained.push(commands);
            }
            batch = Some(self.room.step(1, self.now, &mut ()));
        })
        .count_total;
        bill.turns += 1;
        bill.in_turns += measure(|| {
            self.hub.take_batch(batch.take().expect("it was just made"));
            self.hub.take_drained(drained);
            self.turn();
        })
        .count_total;
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (coming, _) = &mut *self.0.borrow_mut();
        if coming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = coming.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&coming[..taken]);
        coming.drain(..taken);
        Ok(taken)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().1 += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Line {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn tune(&mut self) -> io::Result<()> {
        Ok(())
    }
}
