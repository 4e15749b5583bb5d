//! Sections 3.1 and 3.2.

use super::primitives::num;
use crate::{field_json, golden, hex, naive};
use serde_json::{Value, json};
use tickyard_protocol::fields::{FIELDS_MAX, Field, KINDS_MAX, Kind, Schema};
use tickyard_protocol::message::{
    ClientControl, Hello, Message, OwnedTag, Redirect, Refused, Seek, ServerControl, Tag, Welcome,
    decode_client_control, decode_server_control, encode_client_control, encode_server_control,
};
use tickyard_protocol::types::{PlayerId, Tick};

#[test]
fn control_messages_are_the_golden_ones() {
    golden(
        "control.json",
        &json!({
            "about": "PROTOCOL.md, sections 3.1 and 3.2: whole messages with their type byte; the bytes of options, tokens, payloads \
                and tags as hex. Tags that are unknown must be skipped. Malformed messages must be refused, and so must each \
                valid one that is cut anywhere after its type byte or has a byte more.",
            "client": client(),
            "client_malformed": client_malformed(),
            "server": server(),
            "server_malformed": server_malformed(),
        }),
    );
}

const TAGS: [Tag; 2] = [Tag { tag: 7, value: &[] }, Tag { tag: 70_000, value: &[1, 2, 3] }];

fn client() -> Value {
    let hello = |seek, name, tags| Hello {
        version: 1,
        build: "",
        seek,
        name,
        options: &[],
        token: "",
        resume: &[],
        tags,
    };
    let message =
        |number, kind, payload, tags| ClientControl::Message(Message { number, kind, payload, tags });
    let full = Hello {
        build: "2026-01",
        options: &[0, 255],
        token: "secret",
        resume: &[9; 16],
        ..hello(Seek::Room("r-17"), "Zażółć", vec![])
    };
    let all = [
        ("a hello that says little", ClientControl::Hello(hello(Seek::JoinOrCreate("arena"), "Ada", vec![]))),
        ("a hello that says nothing", ClientControl::Hello(hello(Seek::JoinOrCreate(""), "", vec![]))),
        ("to a room that exists", ClientControl::Hello(hello(Seek::Join("arena"), "Ada", vec![]))),
        ("to a new room", ClientControl::Hello(hello(Seek::Create("arena"), "Ada", vec![]))),
        ("with all fields filled", ClientControl::Hello(full)),
        ("with unknown tags", ClientControl::Hello(hello(Seek::JoinOrCreate("arena"), "Ada", TAGS.into()))),
        ("the first message", message(1, "chat", b"hello", vec![])),
        ("a message to the game", message(70_000, "build", &[0; 251], vec![])),
        ("a message with unknown tags", message(251, "x", &[], TAGS.into())),
    ];
    Value::from_iter(all.map(|(about, value)| {
        let mut out = vec![];
        encode_client_control(&value, &mut out);
        assert_eq!(decode_client_control(&out[1..]).as_ref(), Ok(&value), "{about}");
        refuses_other_ends(&out, |bytes| decode_client_control(bytes).is_err());
        json!({ "about": about, "hex": hex(&out), "value": client_json(&value) })
    }))
}

fn client_malformed() -> Value {
    let attack = num(u64::MAX);
    let hello = |seek: &[u8], rest: &[u8]| [&[0, 1, 0], seek, rest].concat();
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("a variant that does not exist", vec![2, 0]),
        ("a seek that does not exist", hello(&[4, 0], &[0, 0, 0, 0, 0])),
        ("a build of 2^64 - 1 bytes", [&[0, 1], &attack[..]].concat()),
        ("a game's name of 2^64 - 1 bytes", hello(&[0], &attack)),
        ("options of 2^64 - 1 bytes", hello(&[0, 0], &[&[0], &attack[..]].concat())),
        ("2^64 - 1 tags", hello(&[0, 0], &[&[0, 0, 0, 0], &attack[..]].concat())),
        ("a tag of 2^64 - 1 bytes", hello(&[0, 0], &[&[0, 0, 0, 0, 1, 7], &attack[..]].concat())),
        ("a payload of 2^64 - 1 bytes", [&[1, 1, 0], &attack[..]].concat()),
        ("a name that is not UTF-8", hello(&[0, 0], &[1, 0xff, 0, 0, 0, 0])),
        ("a message's kind that is not UTF-8", vec![1, 1, 2, 0xc3, 0x28, 0, 0]),
        ("options of 5 KiB: over the limit of a client's message", {
            let options = [num(5 * 1024), vec![0; 5 * 1024], vec![0, 0, 0]].concat();
            hello(&[0, 0], &[&[0], &options[..]].concat())
        }),
    ];
    Value::from_iter(all.into_iter().map(|(about, bytes)| {
        assert!(decode_client_control(&bytes).is_err(), "{about}");
        json!({ "about": about, "hex": hex(&[&[1], &bytes[..]].concat()) })
    }))
}

fn server() -> Value {
    let tags = || TAGS.map(|tag| OwnedTag { tag: tag.tag, value: tag.value.into() }).to_vec();
    let refused = |code, text: &str, retry_after_millis, tags| {
        ServerControl::Refused(Refused { code, text: text.into(), retry_after_millis, tags })
    };
    let all = [
        ("a welcome without anything to see", ServerControl::Welcome(welcome(vec![], vec![]))),
        ("a welcome with the schema of stream.json", ServerControl::Welcome(arena())),
        ("a welcome with unknown tags", ServerControl::Welcome(Welcome { tags: tags(), ..arena() })),
        (
            "a redirect",
            ServerControl::Redirect(Redirect { url: "wss://b.example/play".into(), tags: vec![] }),
        ),
        (
            "a redirect with unknown tags",
            ServerControl::Redirect(Redirect { url: "ws://127.0.0.1:7070/play".into(), tags: tags() }),
        ),
        ("outdated, with no time to wait", refused(1, "this server speaks version 1", None, vec![])),
        ("full, come back in 5 seconds", refused(4, "the room is full", Some(5000), vec![])),
        ("draining, with unknown tags", refused(8, "", Some(0), tags())),
        ("a code of a later version", refused(300, "żółw", None, vec![])),
    ];
    Value::from_iter(all.map(|(about, value)| {
        let mut out = vec![];
        encode_server_control(&value, &mut out);
        assert_eq!(decode_server_control(&out[1..]).as_ref(), Ok(&value), "{about}");
        refuses_other_ends(&out, |bytes| decode_server_control(bytes).is_err());
        json!({ "about": about, "hex": hex(&out), "value": server_json(&value) })
    }))
}

fn server_malformed() -> Value {
    let attack = num(u64::MAX);
    let refused = |rest: &[u8]| [&[2, 1], rest].concat();
    let ok = Field::integer("f", 0, 1);
    let with = |fields: Vec<Field>| encoded(welcome(vec![Kind { name: "k".into(), fields }], vec![]));
    let without_schema = encoded(welcome(vec![], vec![]));
    let without_schema = &without_schema[..without_schema.len() - 3];
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("a variant that does not exist", vec![3, 0]),
        ("a URL of 2^64 - 1 bytes", [&[1], &attack[..]].concat()),
        ("a URL that is not UTF-8", vec![1, 1, 0xff, 0]),
        ("2^64 - 1 tags", [&[1, 0], &attack[..]].concat()),
        ("a tag of 2^64 - 1 bytes", [&[1, 0, 1, 7], &attack[..]].concat()),
        ("2^32 - 1 tags", [&[1, 0], &num(u32::MAX as u64)[..]].concat()),
        ("a text of 2^64 - 1 bytes", refused(&attack)),
        ("a retry after that is neither there nor not", refused(&[0, 2, 0])),
        ("a resume token of 2^64 - 1 bytes", [&[0, 1], &attack[..]].concat()),
        ("2^64 - 1 kinds", [without_schema, &attack].concat()),
        ("2^64 - 1 fields", [without_schema, &[1, 0], &attack].concat()),
        ("a step that is not a number", with(vec![Field { step: f64::NAN, ..ok.clone() }])),
        ("an infinite step", with(vec![Field { step: f64::INFINITY, ..ok.clone() }])),
        ("a step of 0", with(vec![Field { step: 0.0, ..ok.clone() }])),
        ("a step below 0", with(vec![Field { step: -1.0, ..ok.clone() }])),
        ("an infinite offset", with(vec![Field { offset: f64::INFINITY, ..ok.clone() }])),
        ("an offset of -infinity", with(vec![Field { offset: f64::NEG_INFINITY, ..ok.clone() }])),
        ("a min above the max", with(vec![Field::integer("f", 1, 0)])),
        ("a velocity of itself", with(vec![ok.clone().velocity_of(0)])),
        (
            "a velocity of a velocity",
            with(vec![ok.clone(), ok.clone().velocity_of(0), ok.clone().velocity_of(1)]),
        ),
        ("a velocity of a field that is not there", with(vec![ok.clone(), ok.clone().velocity_of(2)])),
        ("17 fields", with(vec![ok.clone(); FIELDS_MAX + 1])),
        (
            "65 kinds",
            encoded(welcome(vec![Kind { name: "k".into(), fields: vec![] }; KINDS_MAX + 1], vec![])),
        ),
        ("an input with an infinite offset", {
            encoded(welcome(vec![], vec![Field { offset: f64::INFINITY, ..ok.clone() }]))
        }),
    ];
    Value::from_iter(all.into_iter().map(|(about, bytes)| {
        assert!(decode_server_control(&bytes).is_err(), "{about}");
        json!({ "about": about, "hex": hex(&[&[1], &bytes[..]].concat()) })
    }))
}

/// Each prefix, and a byte more.
fn refuses_other_ends(message: &[u8], is_refused: impl Fn(&[u8]) -> bool) {
    for cut in 1..message.len() {
        assert!(is_refused(&message[1..cut]), "cut to {cut} bytes");
    }
    assert!(is_refused(&[&message[1..], &[0]].concat()));
}

fn welcome(kinds: Vec<Kind>, input: Vec<Field>) -> Welcome {
    Welcome {
        player: PlayerId(1),
        resume: vec![],
        room: "r".into(),
        game: "g".into(),
        tick: Tick(0),
        tick_rate: 20,
        step_micros: 50_000,
        schema: Schema { kinds, input },
        tags: vec![],
    }
}

/// The welcome of the other files.
pub fn arena() -> Welcome {
    let input = vec![
        Field::integer("dx", -127, 127),
        Field::integer("dy", -127, 127),
        Field { offset: 0.5, ..Field::quantity("aim", 0.25, 0, 1439) },
    ];
    Welcome {
        player: PlayerId(300),
        resume: vec![1, 2, 254, 255],
        room: "arena-1".into(),
        game: "arena".into(),
        tick: Tick(70_000),
        ..welcome(naive::kinds(), input)
    }
}

fn encoded(welcome: Welcome) -> Vec<u8> {
    let mut out = vec![];
    encode_server_control(&ServerControl::Welcome(welcome), &mut out);
    out.split_off(1)
}

fn tag_json(tag: u32, value: &[u8]) -> Value {
    json!({ "tag": tag, "value": hex(value) })
}

fn client_json(message: &ClientControl) -> Value {
    match message {
        ClientControl::Hello(hello) => {
            let (how, what) = match hello.seek {
                Seek::JoinOrCreate(game) => ("join_or_create", game),
                Seek::Join(game) => ("join", game),
                Seek::Create(game) => ("create", game),
                Seek::Room(room) => ("room", room),
            };
            json!({ "hello": {
                "version": hello.version, "build": hello.build, "seek": { how: what }, "name": hello.name,
                "options": hex(hello.options), "token": hello.token, "resume": hex(hello.resume),
                "tags": Value::from_iter(hello.tags.iter().map(|tag| tag_json(tag.tag, tag.value))),
            } })
        }
        ClientControl::Message(message) => json!({ "message": {
            "number": message.number, "kind": message.kind, "payload": hex(message.payload),
            "tags": Value::from_iter(message.tags.iter().map(|tag| tag_json(tag.tag, tag.value))),
        } }),
    }
}

fn server_json(message: &ServerControl) -> Value {
    let tags = |tags: &[OwnedTag]| Value::from_iter(tags.iter().map(|tag| tag_json(tag.tag, &tag.value)));
    match message {
        ServerControl::Welcome(welcome) => json!({ "welcome": {
            "player": welcome.player.0, "resume": hex(&welcome.resume), "room": welcome.room, "game": welcome.game,
            "tick": welcome.tick.0, "tick_rate": welcome.tick_rate, "step_micros": welcome.step_micros,
            "schema": schema_json(&welcome.schema), "tags": tags(&welcome.tags),
        } }),
        ServerControl::Redirect(redirect) => {
            json!({ "redirect": { "url": redirect.url, "tags": tags(&redirect.tags) } })
        }
        ServerControl::Refused(refused) => json!({ "refused": {
            "code": refused.code, "text": refused.text, "retry_after_millis": refused.retry_after_millis,
            "tags": tags(&refused.tags),
        } }),
    }
}

/// A schema as the files spell it.
pub fn schema_json(schema: &Schema) -> Value {
    let fields = |fields: &[Field]| Value::from_iter(fields.iter().map(field_json));
    let kind = |kind: &Kind| json!({ "name": kind.name, "fields": fields(&kind.fields) });
    json!({ "kinds": Value::from_iter(schema.kinds.iter().map(kind)), "input": fields(&schema.input) })
}
