//! The golden vectors: bytes and what they mean, for Rust, TypeScript and whoever else writes a client.
//!
//! Each test builds one file of `vectors/` and compares it with what lies there, to the byte; `UPDATE_VECTORS=1` writes instead.
//! What a file says is checked on the way: valid bytes are decoded and encoded again, malformed bytes must be refused, and
//! scripts state beforehand what must be seen.

mod naive;
mod vectors {
    pub mod control;
    pub mod input;
    pub mod primitives;
    pub mod stream;
}

use serde_json::Value;
use tickyard_protocol::fields::Field;

/// Compares a file of `vectors/` with what it should be, or writes it.
fn golden(name: &str, value: &Value) {
    let path = format!("{}/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    layout(value, 0, &mut text);
    text.push('\n');
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        return std::fs::write(&path, text).expect("vectors/ can be written");
    }
    let there = std::fs::read_to_string(&path).expect("the vectors lie beside the tests");
    for (number, (there, now)) in there.lines().zip(text.lines()).enumerate() {
        assert_eq!(there, now, "{name}, line {}; UPDATE_VECTORS=1 accepts", number + 1);
    }
    assert_eq!(there.len(), text.len(), "{name} has more or fewer lines; UPDATE_VECTORS=1 accepts");
}

/// JSON with what is short on one line.
fn layout(value: &Value, depth: usize, out: &mut String) {
    let flat = value.to_string();
    let (open, close, items): (_, _, Vec<(String, &Value)>) = match value {
        Value::Array(items) => ('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
        Value::Object(items) => {
            let key = |key: &str| format!("{}: ", Value::from(key));
            ('{', '}', items.iter().map(|(name, item)| (key(name), item)).collect())
        }
        _ => return out.push_str(&flat),
    };
    if flat.len() <= 140 {
        return out.push_str(&flat);
    }
    out.push(open);
    for (at, (key, item)) in items.into_iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        out.push_str(&key);
        layout(item, depth + 1, out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn field_json(field: &Field) -> Value {
    serde_json::json!({
        "name": field.name, "step": field.step, "offset": field.offset,
        "min": field.min, "max": field.max, "velocity_of": field.velocity_of,
    })
}
