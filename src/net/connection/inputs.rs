//! What a player asks for with its inputs, and what they say of its connection.

use super::Connection;
use crate::bridge::Ask;
use crate::net::commands::Commands;
use crate::net::desk::Desk;
use crate::net::transport::Socket;

impl<S: Socket> Connection<S> {
    /// Hands its inputs to the simulation; `false`: there is no room, and they wait with the session.
    pub fn give_inputs(&mut self, commands: &mut Commands) -> bool {
        if !commands.have_room(self.session.room()) {
            return false;
        }
        while let Some((room, input)) = self.session.take_input() {
            self.shown = input.render_tick;
            commands.push(self.id, room, Ask::Input(input));
        }
        true
    }

    /// It is no longer among the thin ones, if it was.
    pub fn uncount_thin(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.thin_counted) {
            desk.tally.count_thin(false);
        }
    }
}
