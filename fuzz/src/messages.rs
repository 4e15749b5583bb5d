//! The game's protocol: control messages, inputs, and tick messages into a replica.

use tickyard::protocol::fields::{Field, Kind, Shapes};
use tickyard::protocol::message::{self, Input, Pong, WANT_CELLS_MAX};
use tickyard::protocol::repair::Repair;
use tickyard::protocol::replica::{Hears, Replica};
use tickyard::protocol::tick::Reliable;
use tickyard::protocol::types::CellId;

/// Whatever decodes is written such that it decodes to the same.
///
/// The first byte chooses the sender, the second is the type.
pub fn protocol(bytes: &[u8]) {
    let [sender, kind, rest @ ..] = bytes else { return };
    match (sender & 1, kind) {
        (0, &message::from_client::CONTROL) => client_control(rest),
        (0, &message::from_client::INPUT) => input(rest),
        (0, &message::from_client::ACK) => {
            if let Ok(number) = message::decode_ack(rest) {
                assert_eq!(rest, number.to_le_bytes());
            }
        }
        (0, &message::from_client::WANT) => want(rest),
        (0, &message::from_client::REPAIR) => repair(rest),
        (1, &message::from_server::CONTROL) => server_control(rest),
        (1, &message::from_server::PONG) => {
            if let Ok(pong) = Pong::decode(rest) {
                let mut out = Vec::new();
                pong.encode(&mut out);
                assert_eq!(&out[1..], rest);
            }
        }
        _ => {}
    }
}

fn client_control(bytes: &[u8]) {
    let Ok(control) = message::decode_client_control(bytes) else { return };
    let mut out = Vec::new();
    message::encode_client_control(&control, &mut out);
    assert_eq!(message::decode_client_control(&out[1..]), Ok(control));
}

fn server_control(bytes: &[u8]) {
    let Ok(control) = message::decode_server_control(bytes) else { return };
    let mut out = Vec::new();
    message::encode_server_control(&control, &mut out);
    assert_eq!(message::decode_server_control(&out[1..]), Ok(control));
}

fn input(bytes: &[u8]) {
    let fields = [Field::integer("dx", -127, 127), Field::integer("aim", 0, 1439)];
    let Ok(input) = Input::decode(bytes, &fields) else { return };
    for (at, &value) in input.row.iter().enumerate() {
        let (min, max) = fields.get(at).map_or((0, 0), |field| (field.min, field.max));
        assert!((min..=max).contains(&value), "the game sees {value} in field {at}");
    }
    let mut out = Vec::new();
    input.encode(fields.len(), &mut out);
    assert_eq!(Input::decode(&out[1..], &fields), Ok(input));
}

fn want(bytes: &[u8]) {
    let mut cells = Vec::new();
    if message::decode_want(bytes, |cell| cells.push(cell)).is_ok() {
        let mut out = Vec::new();
        message::encode_want(&cells, &mut out);
        let mut again = Vec::new();
        message::decode_want(&out[1..], |cell| again.push(cell)).unwrap();
        assert_eq!(cells, again);
    }
    assert!(cells.len() <= WANT_CELLS_MAX);
}

fn repair(bytes: &[u8]) {
    let Ok(repair) = Repair::decode(bytes) else { return };
    assert!(repair.cells.len() <= WANT_CELLS_MAX);
    let mut out = Vec::new();
    repair.encode(&mut out);
    assert_eq!(Repair::decode(&out[1..]), Ok(repair));
}

/// Tick messages of a hostile server: a replica stays in order, and grows no faster than what it is sent.
///
/// Each message stands behind its length in two bytes, the lower one first.
pub fn replica(mut bytes: &[u8]) {
    let total = bytes.len();
    let mut replica = Replica::new(shapes());
    let mut ear = Ear::default();
    while let [low, high, rest @ ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (message, rest) = rest.split_at(len);
        bytes = rest;
        ear.last = replica.reliable_heard();
        if replica.apply(message, &mut ear).is_err() {
            return;
        }
        check_replica(&replica, total);
        let cells = replica.take_mismatch().map(|found| found.cells).unwrap_or_default();
        assert!(cells.iter().all(|cell| replica.view().contains(cell)));
    }
}

fn check_replica(replica: &Replica, total: usize) {
    let cells = replica.cells();
    assert!(cells.is_sorted_by(|one, next| one.cell < next.cell), "each cell once, by id");
    assert!(replica.view().len() <= total && cells.len() <= total);
    for cell in cells {
        assert!(replica.view().contains(&cell.cell), "only what is in view is held");
        assert!(cell.members.is_sorted_by(|one, next| one.id.slot < next.id.slot), "each slot once");
    }
    let members: usize = cells.iter().map(|cell| cell.members.len()).sum();
    assert!(members <= total, "{members} members of {total} bytes");
    let mut shown: Vec<u32> = replica.entities().map(|member| member.id.slot).collect();
    shown.sort_unstable();
    assert!(shown.is_sorted_by(|one, next| one < next), "each entity is shown once");
    assert!(shown.len() <= total);
}

/// Hears reliable messages in order, each once.
#[derive(Default)]
struct Ear {
    last: u32,
}

impl Hears for Ear {
    fn reliable(&mut self, number: u32, _: Reliable) {
        assert_eq!(number, self.last.wrapping_add(1));
        self.last = number;
    }

    fn transient(&mut self, _: CellId, kind: &str, _: &[u8]) {
        assert!(kind.len() <= 255);
    }
}

/// The schema of `protocol/vectors/stream.json`.
fn shapes() -> Shapes {
    let number = |name| Field::integer(name, i32::MIN, i32::MAX);
    let kind = |name: &str, fields| Kind { name: name.to_owned(), fields };
    let mover = vec![
        number("x"),
        number("y"),
        number("vx").velocity_of(0),
        number("vy").velocity_of(1),
        number("score"),
    ];
    let rocket = vec![number("height"), number("speed").velocity_of(0), number("wind").velocity_of(0)];
    Shapes::new(&[
        kind("mover", mover),
        kind("coin", vec![number("value")]),
        kind("flag", Vec::new()),
        kind("rocket", rocket),
    ])
    .expect("the schema is sound")
}
