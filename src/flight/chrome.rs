//! A flight record as text: the trace event format of `chrome://tracing`, which ui.perfetto.dev opens too.

use std::fmt::{self, Display, Formatter, Write};

use super::track::{Beat, Span};
use super::{Flight, KEPT, Track};

/// What all threads did in the last half minute, those stages included that are not over.
pub fn render(flight: &Flight, reason: &str) -> String {
    let now = flight.nanos();
    let mut text = String::with_capacity(TEXT_BYTES_MIN);
    let (reason, version) = (Quoted(reason), env!("CARGO_PKG_VERSION"));
    put(
        &mut text,
        format_args!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"tickyard\":\"{version}\"}},"),
    );
    put(&mut text, format_args!("\"traceEvents\":[\n"));
    for (at, track) in flight.tracks().iter().enumerate() {
        put_thread(&mut text, flight, at + 1, track, now);
    }
    let now = Micros(now);
    put(
        &mut text,
        format_args!(
            "{{\"ph\":\"i\",\"s\":\"g\",\"pid\":1,\"tid\":1,\"ts\":{now},\"name\":{reason}}}\n]}}\n"
        ),
    );
    text
}

fn put_thread(text: &mut String, flight: &Flight, tid: usize, track: &Track, now: u64) {
    let (spans, grain) = track.spans();
    let name = Quoted(&track.name);
    let label = format!("without stages under {grain:?}");
    for (what, key, value) in [("thread_name", "name", name), ("thread_labels", "labels", Quoted(&label))] {
        put(text, format_args!("{{\"ph\":\"M\",\"pid\":1,\"tid\":{tid},\"name\":\"{what}\","));
        put(text, format_args!("\"args\":{{\"{key}\":{value}}}}},\n"));
    }
    let since = now.saturating_sub(KEPT.as_nanos() as u64);
    for span in spans.iter().filter(|span| span.start + span.nanos >= since) {
        put_span(text, flight, tid, span, true);
    }
    if let Beat { due: Some(start), doing: Some(doing) } = track.last_beat() {
        let start = start.as_micros() * 1000;
        let nanos = now.saturating_sub(start);
        put_span(
            text,
            flight,
            tid,
            &Span { stage: doing.stage, room: doing.room, start, nanos, messages: 0 },
            false,
        );
    }
}

fn put_span(text: &mut String, flight: &Flight, tid: usize, span: &Span, is_over: bool) {
    let (name, start, took) = (span.stage.name(), Micros(span.start), Micros(span.nanos));
    put(
        text,
        format_args!(
            "{{\"ph\":\"X\",\"pid\":1,\"tid\":{tid},\"ts\":{start},\"dur\":{took},\"name\":\"{name}\",\"args\":{{"
        ),
    );
    let mut comma = "";
    if let Some(room) = span.room {
        put(text, format_args!("\"room\":{}", Quoted(&flight.room(room))));
        comma = ",";
    }
    if span.messages > 0 {
        put(text, format_args!("{comma}\"messages\":{}", span.messages));
        comma = ",";
    }
    if !is_over {
        put(text, format_args!("{comma}\"unfinished\":true"));
    }
    text.push_str("}},\n");
}

fn put(text: &mut String, what: fmt::Arguments) {
    text.write_fmt(what).expect("a String takes any text");
}

/// Nanoseconds, as the microseconds that the format wants.
struct Micros(u64);

impl Display for Micros {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A string of JSON (RFC 8259, 7).
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                '\0'..='\x1f' => write!(f, "\\u{:04x}", letter as u32)?,
                _ => f.write_char(letter)?,
            }
        }
        f.write_char('"')
    }
}

const TEXT_BYTES_MIN: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    // The clock is what is recorded.
    #![allow(clippy::disallowed_types)]

    use super::*;

    use std::sync::Arc;
    use std::time::Instant;

    use crate::bridge::RoomId;
    use crate::metrics::{Metrics, Role};
    use crate::stage::Stage;

    #[test]
    fn a_record_is_json_that_shows_each_thread_its_stages_and_what_is_not_over() {
        // A process that has been there for longer than the past that is kept.
        let origin = Instant::now() - 2 * KEPT;
        let names = Box::new(|room| (room == RoomId(0)).then(|| "the \"first\"\n".to_owned()));
        let flight = Arc::new(Flight::new(origin, Arc::new(Metrics::new()), names, None));
        let mut ticker = flight.stopwatch("ticker".into(), Role::Simulation);
        flight.stopwatch("io-0".into(), Role::Io);
        let span = |stage, room, messages| {
            let (start, nanos) = (flight.nanos(), 20_000_500);
            vec![Span { stage, room: Some(RoomId(room)), start, nanos, messages }]
        };
        flight.tracks()[0].keep(&mut span(Stage::Drain, 0, 0));
        flight.tracks()[1].keep(&mut span(Stage::Send, 9, 3));
        ticker.enter_room(Stage::Game, Some(RoomId(0)));

        let record: serde_json::Value = serde_json::from_str(&flight.render("asked \\ for")).unwrap();
        let events = record["traceEvents"].as_array().unwrap();
        let names = |thread| {
            let of = events.iter().filter(|event| event["tid"] == thread && event["ph"] == "X");
            of.map(|event| event["name"].as_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((names(1), names(2)), (vec!["drain", "game"], vec!["send"]));
        let threads = events.iter().filter(|event| event["name"] == "thread_name");
        assert_eq!(threads.map(|event| &event["args"]["name"]).collect::<Vec<_>>(), ["ticker", "io-0"]);
        let game = events.iter().find(|event| event["name"] == "game").unwrap();
        assert_eq!(game["args"], serde_json::json!({ "room": "the \"first\"\n", "unfinished": true }));
        let send = events.iter().find(|event| event["name"] == "send").unwrap();
        assert_eq!(send["args"], serde_json::json!({ "room": "room 9", "messages": 3 }));
        assert_eq!(send["dur"], 20_000.5);
        let last = events.last().unwrap();
        assert_eq!((&last["ph"], &last["name"]), (&"i".into(), &"asked \\ for".into()));
        let micros = (2 * KEPT).as_micros() as f64;
        assert!(last["ts"].as_f64().unwrap() >= micros);
        assert!(game["ts"].as_f64().unwrap() >= micros);
    }

    #[test]
    fn what_is_older_than_half_a_minute_is_left_out() {
        let flight = Arc::new(Flight::new(
            Instant::now() - 2 * KEPT,
            Arc::new(Metrics::new()),
            Box::new(|_| None),
            None,
        ));
        flight.stopwatch("ticker".into(), Role::Simulation);
        let old = Span { stage: Stage::Sweep, room: None, start: 0, nanos: 1_000_000, messages: 0 };
        flight.tracks()[0].keep(&mut vec![old]);
        assert!(!flight.render("").contains("sweep"));
        let fresh = Span { start: flight.nanos(), ..old };
        flight.tracks()[0].keep(&mut vec![fresh]);
        assert!(flight.render("").contains("sweep"));
    }
}
