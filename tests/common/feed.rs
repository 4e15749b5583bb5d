//! A player's side of the fan-out: what is composed for it, and the replica that hears it.

use tickyard::bridge::Part;
use tickyard::net::fanout::{Hearing, History, Missing, compose};
use tickyard::websocket::{Event, Limits, Role, WebSocket};
use tickyard_protocol::fields::Shapes;
use tickyard_protocol::replica::Replica;

pub struct Feed {
    pub replica: Replica,
    hearing: Hearing,
}

impl Feed {
    pub fn new(shapes: Shapes) -> Feed {
        Feed { replica: Replica::new(shapes), hearing: Hearing::default() }
    }

    /// The newest batch passes by.
    pub fn miss(&mut self, history: &History, part: &Part) {
        self.hearing.skip(history, part);
    }

    /// Hears of the newest batch; returns what has to be asked for.
    pub fn hear(&mut self, history: &History, part: &Part) -> Missing {
        let (mut missing, mut frame) = (Missing::default(), Vec::new());
        if let Some(start) = compose(history, part, &mut self.hearing, &mut missing, &mut frame) {
            let message = payload(&mut frame[start..]);
            self.replica.apply(&message[1..], &mut ()).expect("what was composed is well formed");
        }
        missing
    }
}

fn payload(mut frame: &mut [u8]) -> Vec<u8> {
    let limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 };
    match WebSocket::new(Role::Client, limits).read(&mut frame) {
        Ok(Some(Event::Binary(bytes))) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}
