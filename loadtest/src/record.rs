//! What one bot heard, message by message, and the world it made of it: for judges in other languages.
//!
//! The recording is JSON lines: `{"from":"server","hex":"…"}`, one a message, from the welcome on. The world stands beside it, in the
//! form in which `tests/foreign/player.py --decode` prints its own.

use serde_json::{Value, json};
use std::fmt::Write;
use tickyard_protocol::fields::Shapes;
use tickyard_protocol::replica::Replica;

/// The bot that is recorded.
pub const RECORDED_BOT: u32 = 0;

/// A recording in progress, or a finished one.
#[derive(Debug, Default)]
pub struct Recording {
    lines: String,
    world: Option<Value>,
}

impl Recording {
    /// The server said this.
    pub fn hear(&mut self, message: &[u8]) {
        if self.world.is_some() {
            return;
        }
        self.lines.push_str("{\"from\":\"server\",\"hex\":\"");
        for byte in message {
            let _ = write!(self.lines, "{byte:02x}");
        }
        self.lines.push_str("\"}\n");
    }

    /// Ends the recording with what the bot holds after all that it heard.
    pub fn finish(&mut self, replica: &Replica, shapes: &Shapes) {
        self.world.get_or_insert_with(|| world(replica, shapes));
    }

    /// The lines.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// The world, if the recording was finished.
    pub fn world(&self) -> Option<&Value> {
        self.world.as_ref()
    }
}

fn world(replica: &Replica, shapes: &Shapes) -> Value {
    let cells = replica.cells().iter().map(|held| {
        let members = held.members.iter().map(|member| {
            json!({
                "slot": member.id.slot,
                "generation": member.id.generation,
                "kind": member.kind,
                "row": member.row[..shapes[member.kind].fields],
                "statics": *member.statics,
            })
        });
        (held.cell.0.to_string(), json!({ "held": held.held.0, "members": members.collect::<Vec<_>>() }))
    });
    let counts = replica.counts();
    json!({
        "tick": replica.header().tick.0,
        "cells": cells.collect::<serde_json::Map<_, _>>(),
        "violations": counts.violations,
        "desyncs": counts.desyncs,
        "sums_checked": counts.sums_checked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_ends_with_the_world_and_takes_nothing_after_it() {
        let mut recording = Recording::default();
        recording.hear(&[1, 0xab]);
        assert_eq!(recording.world(), None);
        recording.finish(&Replica::default(), &Shapes::default());
        recording.hear(&[2]);
        assert_eq!(recording.lines(), "{\"from\":\"server\",\"hex\":\"01ab\"}\n");
        let world = json!({ "tick": 0, "cells": {}, "violations": 0, "desyncs": 0, "sums_checked": 0 });
        assert_eq!(recording.world(), Some(&world));
    }
}
