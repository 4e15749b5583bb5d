//! A player's seat in the lobby: taken before the join is handed on, given back with the leave.

use super::{Connection, Desk, turn};
use crate::net::transport::Socket;
use crate::session::Pulse;

impl<S: Socket> Connection<S> {
    /// Takes a seat for a player who has none yet.
    pub(super) fn find_seat(&mut self, desk: &mut Desk) {
        let Some(sought) = self.session.seeks() else { return };
        match desk.shared.site.lobby.take_seat(sought) {
            Ok(room) => {
                self.session.sit(room);
                self.seat = Some(room);
            }
            Err(why) => {
                let mut turn = turn(desk.now, &desk.shared, Pulse::default(), &mut self.outbox);
                self.session.no_seat(&mut turn, &why);
            }
        }
    }

    /// Gives the seat back once the session is over.
    pub(super) fn give_up_seat(&mut self, desk: &Desk) {
        if self.session.closing().is_some()
            && let Some(room) = self.seat.take()
        {
            desk.shared.site.lobby.give_back(room);
        }
    }
}
