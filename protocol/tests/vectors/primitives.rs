//! Section 2, the first table by the crate's readers and writers, the second by way of control messages that carry one value.

use crate::{golden, hex};
use serde_json::{Value, json};
use tickyard_protocol::bits::{BitReader, BitWriter};
use tickyard_protocol::bytes::{Malformed, Reader, put_str8, put_varint, put_zigzag};
use tickyard_protocol::delta::entity_hash;
use tickyard_protocol::fields::{Field, Kind, Schema};
use tickyard_protocol::message::{
    Redirect, Refused, ServerControl, Welcome, decode_server_control, encode_server_control,
};
use tickyard_protocol::types::{EntityId, PlayerId, Tick};

#[test]
fn primitives_are_the_golden_ones() {
    golden(
        "primitives.json",
        &json!({
            "about": "PROTOCOL.md, section 2. valid: hex is what to write for the value and reads as it. longer: not what to \
                write, but reads as the value. malformed: must be refused. A value must fill its bytes.",
            "varint": varints(),
            "zigzag": zigzags(),
            "str8": str8s(),
            "bits": bits(),
            "num": nums(),
            "int": ints(),
            "f64": f64s(),
            "string": strings(),
            "option": options(),
            "entity_hash": hashes(),
        }),
    );
}

fn varints() -> Value {
    let numbers =
        [0, 1, 127, 128, 300, 16383, 16384, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 0x1000_0000, u32::MAX];
    let valid = numbers.map(|value| {
        let mut out = vec![];
        put_varint(&mut out, value);
        assert_eq!(whole(&out, Reader::varint), Ok(value));
        json!({ "hex": hex(&out), "value": value })
    });
    let longer = [(&[0x80, 0x00][..], 0), (&[0x81, 0x80, 0x80, 0x80, 0x00], 1)].map(|(bytes, value)| {
        assert_eq!(whole(bytes, Reader::varint), Ok(value));
        json!({ "hex": hex(bytes), "value": value })
    });
    let malformed = malformed(
        &[
            ("no byte", &[]),
            ("ends while more is announced", &[0x80]),
            ("ends after four bytes of five", &[0xff, 0xff, 0xff, 0xff]),
            ("2^32", &[0x80, 0x80, 0x80, 0x80, 0x10]),
            ("six bytes", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            ("a byte left over", &[0x00, 0x00]),
        ],
        |bytes| whole(bytes, Reader::varint).is_err(),
    );
    json!({ "valid": valid, "longer": longer, "malformed": malformed })
}

fn zigzags() -> Value {
    let numbers = [0, -1, 1, -2, 2, 63, -64, 64, -65, 8191, -8192, i32::MAX, i32::MIN];
    let valid = numbers.map(|value| {
        let mut out = vec![];
        put_zigzag(&mut out, value);
        assert_eq!(whole(&out, Reader::zigzag), Ok(value));
        json!({ "hex": hex(&out), "value": value })
    });
    json!({ "valid": valid })
}

fn str8s() -> Value {
    let long = "x".repeat(255);
    let valid = ["", "Ada", "żółw", "🦀", "\0", &long].map(|value| {
        let mut out = vec![];
        put_str8(&mut out, value);
        assert_eq!(whole(&out, Reader::str8), Ok(value));
        json!({ "hex": hex(&out), "value": value })
    });
    let malformed = malformed(
        &[
            ("no length", &[]),
            ("ends inside the text", &[3, b'A', b'd']),
            ("a lone continuation byte", &[1, 0x80]),
            ("a sequence that ends early", &[2, b'a', 0xc3]),
            ("a surrogate", &[3, 0xed, 0xa0, 0x80]),
            ("an overlong slash", &[2, 0xc0, 0xaf]),
            ("a byte left over", &[0, 0]),
        ],
        |bytes| whole(bytes, Reader::str8).is_err(),
    );
    json!({ "valid": valid, "malformed": malformed })
}

fn bits() -> Value {
    let all: [&[(u32, u32)]; 5] = [
        &[],
        &[(1, 1), (0b10, 2), (0x1ff, 9)],
        &[(0, 0), (1, 1), (0, 0), (0x7fff_ffff, 31)],
        &[(5, 3), (u32::MAX, 32), (0, 5), (1, 1)],
        &[(0xabc, 12), (0xd, 4)],
    ];
    let valid = all.map(|numbers| {
        let mut out = vec![];
        let mut writer = BitWriter::new(&mut out);
        numbers.iter().for_each(|&(value, width)| writer.put(value, width));
        writer.finish();
        let widths: Vec<_> = numbers.iter().map(|&(_, width)| width).collect();
        let values: Vec<_> = numbers.iter().map(|&(value, _)| value).collect();
        assert_eq!(whole_bits(&out, &widths), Ok(values.clone()));
        json!({ "hex": hex(&out), "widths": widths, "values": values })
    });
    let bad: [(&str, &[u8], &[u32]); 5] = [
        ("ends inside a number", &[0xff], &[4, 5]),
        ("no byte at all", &[], &[1]),
        ("padding that is not zero", &[0b0001_0000], &[4]),
        ("a byte of padding too many", &[0x0f, 0x00], &[4]),
        ("a byte of padding after nothing", &[0x00], &[]),
    ];
    let malformed = bad.map(|(about, bytes, widths)| {
        assert!(whole_bits(bytes, widths).is_err(), "{about}");
        json!({ "about": about, "hex": hex(bytes), "widths": widths })
    });
    json!({ "valid": valid, "malformed": malformed })
}

fn nums() -> Value {
    let numbers = [0, 1, 250, 251, 255, 256, 65535, 65536, u32::MAX];
    let valid = numbers.map(|value| {
        let bytes = num(value as u64);
        assert_eq!(read_num(&bytes), Some(value));
        assert_eq!(written(&refused(Some(value))), [&[2, 0, 0, 1], &bytes[..], &[0]].concat());
        json!({ "hex": hex(&bytes), "value": value })
    });
    let longer = [(&[251, 5, 0][..], 5), (&[252, 0, 1, 0, 0], 256)].map(|(bytes, value)| {
        assert_eq!(read_num(bytes), Some(value));
        json!({ "hex": hex(bytes), "value": value })
    });
    let malformed = malformed(
        &[
            ("no byte", &[]),
            ("ends inside a u16", &[251, 0]),
            ("ends inside a u32", &[252, 0, 0, 0]),
            ("254 is not used", &[254, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("255 is not used", &[255]),
            ("2^32, which is too large for each number of version 1", &[253, 0, 0, 0, 0, 1, 0, 0, 0]),
        ],
        |bytes| read_num(bytes).is_none(),
    );
    json!({ "valid": valid, "longer": longer, "malformed": malformed })
}

fn ints() -> Value {
    let valid = [0, -1, 1, 125, -126, 126, 32767, -32768, 32768, i32::MAX, i32::MIN].map(|value: i32| {
        let bytes = num(if value < 0 { !(value as i64) as u64 * 2 + 1 } else { value as u64 * 2 });
        let field = Field::integer("", value, i32::MAX);
        let whole = written(&welcome(field));
        // What stands before `min`: see the `welcome` of this file.
        assert_eq!(whole[FIELD_AT + 16..][..bytes.len()], bytes);
        json!({ "hex": hex(&bytes), "value": value })
    });
    json!({ "valid": valid })
}

fn f64s() -> Value {
    let valid = [1.0, 0.0625, 1.25, 1e-9, f64::MAX, f64::MIN_POSITIVE].map(|value: f64| {
        let whole = written(&welcome(Field::quantity("", value, 0, 1)));
        assert_eq!(whole[FIELD_AT..][..8], value.to_le_bytes());
        json!({ "hex": hex(&value.to_le_bytes()), "value": value })
    });
    let bad = [("NaN", f64::NAN), ("infinity", f64::INFINITY), ("-infinity", f64::NEG_INFINITY)];
    let malformed = bad.map(|(about, value)| {
        let step = Field::quantity("", value, 0, 1);
        let offset = Field { offset: value, ..Field::integer("", 0, 1) };
        for field in [step, offset] {
            assert!(decode_server_control(&written(&welcome(field))).is_err());
        }
        json!({ "about": about, "hex": hex(&value.to_le_bytes()) })
    });
    json!({ "valid": valid, "malformed": malformed })
}

fn strings() -> Value {
    let long = "y".repeat(251);
    let valid = ["", "arena", "żółw", &long].map(|value| {
        let bytes = [num(value.len() as u64), value.as_bytes().to_vec()].concat();
        let message = ServerControl::Redirect(Redirect { url: value.into(), tags: vec![] });
        assert_eq!(written(&message), [&[1], &bytes[..], &[0]].concat());
        assert_eq!(decode_server_control(&written(&message)), Ok(message));
        json!({ "hex": hex(&bytes), "value": value })
    });
    let malformed = malformed(
        &[
            ("no length", &[]),
            ("ends inside the text", &[3, b'A', b'd']),
            ("not UTF-8", &[2, 0xc3, 0x28]),
            (
                "2^64 - 1 bytes are announced: an error, not an allocation",
                &[253, 255, 255, 255, 255, 255, 255, 255, 255],
            ),
            ("2^32 - 1 bytes are announced", &[252, 255, 255, 255, 255]),
        ],
        |bytes| decode_server_control(&[&[1], bytes, &[0]].concat()).is_err(),
    );
    json!({ "valid": valid, "malformed": malformed })
}

fn options() -> Value {
    let valid = [(&[0][..], None), (&[1, 7], Some(7)), (&[1, 251, 0, 1], Some(256))].map(|(bytes, value)| {
        assert_eq!(written(&refused(value)), [&[2, 0, 0], bytes, &[0]].concat());
        json!({ "hex": hex(bytes), "value": value })
    });
    let malformed = malformed(
        &[("no byte", &[]), ("neither 0 nor 1", &[2, 7]), ("announced but not there", &[1])],
        |bytes| decode_server_control(&[&[2, 0, 0], bytes, &[0]].concat()).is_err(),
    );
    json!({ "about": "option of num", "valid": valid, "malformed": malformed })
}

fn hashes() -> Value {
    let all: [(u32, u8, u8, &[i32]); 5] = [
        (0, 0, 0, &[]),
        (5, 2, 3, &[-1, 7]),
        (0xff_ffff, 255, 63, &[i32::MIN, i32::MAX, 0, -1]),
        (1, 0, 0, &[100, 200, -3, 4, 0]),
        (1, 1, 0, &[100, 200, -3, 4, 0]),
    ];
    Value::from(all.map(|(slot, generation, kind, row)| {
        let hash = entity_hash(EntityId { slot, generation }, kind, row);
        assert_eq!(hash, naive_hash(slot, generation, kind, row));
        json!({ "slot": slot, "generation": generation, "kind": kind, "row": row, "hash": hash })
    }))
}

/// Section 5, in numbers that are too wide to wrap.
fn naive_hash(slot: u32, generation: u8, kind: u8, row: &[i32]) -> u32 {
    let head = [slot as u64 + ((generation as u64) << 24), kind as u64];
    let row = row.iter().map(|&value| (value as i64).rem_euclid(1 << 32) as u64);
    let hash = head.into_iter().chain(row).fold(0x811C_9DC5u64, |hash, word| {
        let hash = ((hash ^ word) * 0x0100_0193) % (1 << 32);
        hash ^ (hash >> 15)
    });
    let hash = ((hash ^ (hash >> 16)) * 0x7FEB_352D) % (1 << 32);
    let hash = ((hash ^ (hash >> 15)) * 0x846C_A68B) % (1 << 32);
    (hash ^ (hash >> 16)) as u32
}

fn malformed(all: &[(&str, &[u8])], is_refused: impl Fn(&[u8]) -> bool) -> Vec<Value> {
    let entry = |&(about, bytes): &(&str, &[u8])| {
        assert!(is_refused(bytes), "{about}");
        json!({ "about": about, "hex": hex(bytes) })
    };
    all.iter().map(entry).collect()
}

fn whole<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

fn whole_bits(bytes: &[u8], widths: &[u32]) -> Result<Vec<u32>, Malformed> {
    let mut reader = BitReader::new(bytes);
    let values = widths.iter().map(|&width| reader.take(width)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(values)
}

/// A `num` by the table of the document.
pub fn num(value: u64) -> Vec<u8> {
    match value {
        0..251 => vec![value as u8],
        251..0x1_0000 => [&[251], &(value as u16).to_le_bytes()[..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[252], &(value as u32).to_le_bytes()[..]].concat(),
        _ => [&[253], &value.to_le_bytes()[..]].concat(),
    }
}

fn read_num(bytes: &[u8]) -> Option<u32> {
    match decode_server_control(&[&[2, 0, 0, 1], bytes, &[0]].concat()) {
        Ok(ServerControl::Refused(refused)) => refused.retry_after_millis,
        _ => None,
    }
}

fn refused(retry_after_millis: Option<u32>) -> ServerControl {
    ServerControl::Refused(Refused { code: 0, text: String::new(), retry_after_millis, tags: vec![] })
}

/// Where the step of the only field stands in [`welcome`]: after the variant, seven fields of one byte each, the number of kinds, the
/// kind's empty name, the number of fields and the field's empty name.
const FIELD_AT: usize = 1 + 7 + 4;

fn welcome(field: Field) -> ServerControl {
    ServerControl::Welcome(Welcome {
        player: PlayerId(1),
        resume: vec![],
        room: String::new(),
        game: String::new(),
        tick: Tick(0),
        tick_rate: 20,
        step_micros: 1,
        schema: Schema { kinds: vec![Kind { name: String::new(), fields: vec![field] }], input: vec![] },
        tags: vec![],
    })
}

/// A control message without its type.
fn written(message: &ServerControl) -> Vec<u8> {
    let mut out = vec![];
    encode_server_control(message, &mut out);
    out.split_off(1)
}
