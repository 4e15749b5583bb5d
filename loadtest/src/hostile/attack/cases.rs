//! Frames and messages that a server has to refuse, each with the code that it has to say.
//!
//! Frames are masked with zeros, so that what they carry can be read here.

use super::super::kind::Ending;
use super::{Case, greet, rest, say};
use tickyard_protocol::message::{Seek, VERSION};

const PROTOCOL: &[Ending] = &[Ending::Close(Some(1002))];
const UNSUPPORTED: &[Ending] = &[Ending::Close(Some(1003))];
const INVALID: &[Ending] = &[Ending::Close(Some(1007))];
const POLICY: &[Ending] = &[Ending::Close(Some(1008))];
const TOO_BIG: &[Ending] = &[Ending::Close(Some(1009))];
const REFUSED: &[Ending] = &[Ending::Close(Some(4001))];

/// After the upgrade.
pub const BROKEN_FRAMES: &[Case] = &[
    // RFC 6455, 5.1: a client masks.
    Case { write: |out| out.extend([0x82, 1, 1]), owed: PROTOCOL },
    // 5.2: reserved bits, reserved opcodes, lengths in more bytes than they need or with the highest bit.
    Case { write: |out| out.extend([0xC2, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0xA2, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x92, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x83, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x8B, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x82, 0xFE, 0, 5, 0, 0, 0, 0]), owed: PROTOCOL },
    Case {
        write: |out| out.extend([0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        owed: &[Ending::Close(Some(1002)), Ending::Close(Some(1009))],
    },
    // 5.4: fragments out of order.
    Case { write: |out| out.extend([0x80, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    // 5.5: control frames are whole and short.
    Case { write: |out| out.extend([0x09, 0x80, 0, 0, 0, 0]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x89, 0xFE, 0, 126, 0, 0, 0, 0]), owed: PROTOCOL },
    // 5.6: text, which nobody here speaks, and text that is none.
    Case { write: |out| out.extend([0x81, 0x81, 0, 0, 0, 0, b'x']), owed: UNSUPPORTED },
    Case {
        write: |out| out.extend([0x81, 0x81, 0, 0, 0, 0, 0xFF]),
        owed: &[Ending::Close(Some(1003)), Ending::Close(Some(1007))],
    },
    // 7.4: codes that are not sent; a code of one byte; a reason that is no UTF-8.
    Case { write: |out| out.extend([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE7]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x88, 0x82, 0, 0, 0, 0, 0xFF, 0xFF]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x88, 0x81, 0, 0, 0, 0, 0x03]), owed: PROTOCOL },
    Case { write: |out| out.extend([0x88, 0x83, 0, 0, 0, 0, 0x03, 0xE8, 0xFF]), owed: INVALID },
    // 10.4: a byte over the limit, and a terabyte.
    Case { write: |out| out.extend([0x82, 0xFE, 0x40, 0x01, 0, 0, 0, 0]), owed: TOO_BIG },
    Case { write: |out| out.extend([0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), owed: TOO_BIG },
];

/// Instead of a hello.
pub const BAD_HELLOS: &[Case] = &[
    Case { write: |_| {}, owed: POLICY },
    Case { write: |out| out.push(1), owed: POLICY },
    Case { write: |out| out.push(0xFF), owed: POLICY },
    Case { write: |out| rest(1, 2, out), owed: POLICY },
    Case { write: |out| say("chat", b"first", out), owed: POLICY },
    // A text of 2^62 bytes is announced.
    Case { write: |out| out.extend([1, 0, 1, 253, 0, 0, 0, 0, 0, 0, 0, 64]), owed: POLICY },
    Case {
        write: |out| {
            greet(VERSION, Seek::JoinOrCreate("arena"), "cut", out);
            out.pop();
        },
        owed: POLICY,
    },
    Case {
        write: |out| {
            greet(VERSION, Seek::JoinOrCreate("arena"), "more", out);
            out.push(0);
        },
        owed: POLICY,
    },
    Case { write: |out| greet(999, Seek::JoinOrCreate("arena"), "old", out), owed: REFUSED },
    Case { write: |out| greet(VERSION, Seek::JoinOrCreate("no such game"), "lost", out), owed: REFUSED },
    Case { write: |out| greet(VERSION, Seek::Room("no such room"), "lost", out), owed: REFUSED },
    Case { write: |out| greet(VERSION, Seek::JoinOrCreate("arena"), "\u{1b}[2J", out), owed: REFUSED },
];

/// From a player who has a seat.
pub const BAD_MESSAGES: &[Case] = &[
    Case { write: |_| {}, owed: POLICY },
    Case { write: |out| out.push(200), owed: POLICY },
    Case { write: |out| out.push(1), owed: POLICY },
    // An input, a ping, an acknowledgement: cut short, and too long.
    Case { write: |out| out.extend([2, 1, 0]), owed: POLICY },
    Case { write: |out| out.extend([2; 200]), owed: POLICY },
    Case { write: |out| out.extend([3, 1, 2, 3]), owed: POLICY },
    Case { write: |out| out.extend([3; 10]), owed: POLICY },
    Case { write: |out| out.extend([4, 1]), owed: POLICY },
    // Wishes for no cell, and for one more than may be wished for.
    Case { write: |out| out.extend([5, 0]), owed: POLICY },
    Case { write: |out| out.extend([&[5, 65][..], &[0; 65]].concat()), owed: POLICY },
    Case { write: |out| greet(VERSION, Seek::JoinOrCreate("arena"), "again", out), owed: POLICY },
    Case { write: |out| say("", b"", out), owed: POLICY },
    Case { write: |out| say("game", &[0; 2_000], out), owed: POLICY },
];
