//! Section 3.3.

use super::control::{arena, schema_json};
use crate::{golden, hex};
use serde_json::{Value, json};
use tickyard_protocol::fields::FIELDS_MAX;
use tickyard_protocol::message::{
    Input, Pong, decode_ack, decode_want, encode_ack, encode_ping, encode_want,
};
use tickyard_protocol::repair::{Repair, RepairWhy};
use tickyard_protocol::types::{CellId, Seq, Tick};

#[test]
fn inputs_pings_acks_wants_and_repairs_are_the_golden_ones() {
    golden(
        "input.json",
        &json!({
            "about": "PROTOCOL.md, section 3.3: whole messages with their type byte; stamps as hex. valid: write these bytes for the \
                values. clamped: the server reads row. malformed: must be refused, and so must each valid one that is cut or \
                has a byte more.",
            "schema": schema_json(&arena().schema),
            "input": inputs(),
            "ping": pings(),
            "pong": pongs(),
            "ack": acks(),
            "want": wants(),
            "repair": repairs(),
        }),
    );
}

fn inputs() -> Value {
    let fields = arena().schema.input;
    let encoded = |seq, ack, render_tick, numbers: [i32; 3]| {
        let mut row = [0; FIELDS_MAX];
        row[..3].copy_from_slice(&numbers);
        let input = Input { seq: Seq(seq), ack, render_tick, row };
        let mut out = vec![];
        input.encode(3, &mut out);
        (input, out)
    };
    let plain = [
        (1, 0, 0, [0, 0, 0]),
        (2, 0, 1600, [127, -127, 1439]),
        (70_000, 3, 0x0001_0203, [-1, 1, 64]),
        (u32::MAX, u32::MAX, u32::MAX, [-64, 63, 8]),
    ];
    let valid = plain.map(|(seq, ack, render_tick, numbers)| {
        let (input, out) = encoded(seq, ack, render_tick, numbers);
        assert_eq!(Input::decode(&out[1..], &fields), Ok(input));
        refuses_other_ends(&out, |bytes| Input::decode(bytes, &fields).is_err());
        json!({ "hex": hex(&out), "seq": seq, "ack": ack, "render_tick": render_tick, "row": numbers })
    });
    let outside = [[128, -128, 1440], [i32::MAX, i32::MIN, -1], [4000, 5, i32::MIN]];
    let clamped = outside.map(|numbers| {
        let (_, out) = encoded(9, 0, 0, numbers);
        let read = Input::decode(&out[1..], &fields).expect("numbers outside are not malformed");
        assert!((0..3).all(|at| (fields[at].min..=fields[at].max).contains(&read.row[at])));
        json!({ "hex": hex(&out), "sent": numbers, "row": &read.row[..3] })
    });
    let head = [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bad: [(&str, &[u8]); 4] = [
        ("no row", &[]),
        ("a number too few", &[0, 0]),
        ("a number too many", &[0, 0, 0, 0]),
        ("a number of 33 bits", &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f]),
    ];
    let malformed = bad.map(|(about, row)| {
        let bytes = [&head, row].concat();
        assert!(Input::decode(&bytes[1..], &fields).is_err(), "{about}");
        json!({ "about": about, "hex": hex(&bytes) })
    });
    json!({ "valid": valid, "clamped": clamped, "malformed": malformed })
}

fn pings() -> Value {
    let valid = [[0; 8], [1, 2, 3, 4, 5, 6, 7, 255]].map(|stamp| {
        let mut out = vec![];
        encode_ping(stamp, &mut out);
        json!({ "hex": hex(&out), "stamp": hex(&stamp) })
    });
    json!({ "valid": valid })
}

fn pongs() -> Value {
    let all = [([0; 8], 0, 0), ([1, 2, 3, 4, 5, 6, 7, 255], 70_000, 49_999), ([255; 8], u32::MAX, u32::MAX)];
    let valid = all.map(|(stamp, tick, micros)| {
        let pong = Pong { stamp, tick: Tick(tick), micros };
        let mut out = vec![];
        pong.encode(&mut out);
        assert_eq!(Pong::decode(&out[1..]), Ok(pong));
        refuses_other_ends(&out, |bytes| Pong::decode(bytes).is_err());
        json!({ "hex": hex(&out), "stamp": hex(&stamp), "tick": tick, "micros": micros })
    });
    json!({ "valid": valid, "malformed": [
        { "about": "nothing", "hex": "03" },
        { "about": "the ping alone", "hex": "030000000000000000" },
        { "about": "a byte left over", "hex": "030000000000000000000000000000000000" },
    ] })
}

fn acks() -> Value {
    let valid = [0, 1, 70_000, u32::MAX].map(|number| {
        let mut out = vec![];
        encode_ack(number, &mut out);
        assert_eq!(decode_ack(&out[1..]), Ok(number));
        refuses_other_ends(&out, |bytes| decode_ack(bytes).is_err());
        json!({ "hex": hex(&out), "ack": number })
    });
    json!({ "valid": valid })
}

fn wants() -> Value {
    let most: Vec<u32> = (100..164).collect();
    let read = |bytes: &[u8]| {
        let mut cells = vec![];
        decode_want(bytes, |cell| cells.push(cell.0)).map(|()| cells)
    };
    let valid = [&[0][..], &[7, 300, u32::MAX], &most].map(|cells| {
        let mut out = vec![];
        encode_want(&cells.iter().map(|&cell| CellId(cell)).collect::<Vec<_>>(), &mut out);
        assert_eq!(read(&out[1..]).as_deref(), Ok(cells));
        refuses_other_ends(&out, |bytes| read(bytes).is_err());
        json!({ "hex": hex(&out), "cells": cells })
    });
    let over = [&[5, 65][..], &[1; 65]].concat();
    let bad: [(&str, &[u8]); 4] = [
        ("no cell", &[5, 0]),
        ("65 cells", &over),
        ("2^32 - 1 cells are announced", &[5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a cell of 33 bits", &[5, 1, 0xff, 0xff, 0xff, 0xff, 0x1f]),
    ];
    let malformed = bad.map(|(about, bytes)| {
        assert!(read(&bytes[1..]).is_err(), "{about}");
        json!({ "about": about, "hex": hex(bytes) })
    });
    json!({ "valid": valid, "malformed": malformed })
}

fn repairs() -> Value {
    let most: Vec<u32> = (100..164).collect();
    let all = [
        (RepairWhy::Misfit, 0, &[0][..]),
        (RepairWhy::Sum, 70_000, &[7, 300, u32::MAX]),
        (RepairWhy::Check, u32::MAX, &[]),
        (RepairWhy::Check, 1, &most),
    ];
    let valid = all.map(|(why, tick, cells)| {
        let named = cells.iter().map(|&cell| CellId(cell)).collect();
        let repair = Repair { why, tick: Tick(tick), cells: named };
        let mut out = vec![];
        repair.encode(&mut out);
        assert_eq!(Repair::decode(&out[1..]), Ok(repair));
        refuses_other_ends(&out, |bytes| Repair::decode(bytes).is_err());
        json!({ "hex": hex(&out), "why": why as u8, "tick": tick, "cells": cells })
    });
    let over = [&[6, 1, 0, 0, 0, 0, 65][..], &[1; 65]].concat();
    let bad: [(&str, &[u8]); 4] = [
        ("why is 0", &[6, 0, 0, 0, 0, 0, 0]),
        ("why is 4", &[6, 4, 0, 0, 0, 0, 0]),
        ("65 cells", &over),
        ("a cell of 33 bits", &[6, 1, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x1f]),
    ];
    let malformed = bad.map(|(about, bytes)| {
        assert!(Repair::decode(&bytes[1..]).is_err(), "{about}");
        json!({ "about": about, "hex": hex(bytes) })
    });
    json!({ "valid": valid, "malformed": malformed })
}

/// Each prefix, and a byte more.
fn refuses_other_ends(message: &[u8], is_refused: impl Fn(&[u8]) -> bool) {
    for cut in 1..message.len() {
        assert!(is_refused(&message[1..cut]), "cut to {cut} bytes");
    }
    assert!(is_refused(&[&message[1..], &[0]].concat()));
}
