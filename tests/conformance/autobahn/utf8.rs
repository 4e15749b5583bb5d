//! Section 6: text is UTF-8, whole or in pieces, and a fault in it is noticed at its first byte.

use super::frames::{case, failing, frame};
use super::*;

/// Greek for "most".
const GOOD: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
/// Half a pair of UTF-16 amid text.
const SURROGATE: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
/// U+110000, one more than there is, amid text: its second byte is the fault.
const BEYOND: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";
const LATIN: &str = "Hello-µ@ßöäüàá-UTF-8!!";

/// Starts of characters that end too soon, of two to six bytes.
const CUT_OFF: [&[u8]; 10] = [
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
];

pub fn cases() -> Vec<Case> {
    let mut cases = messages();
    let sections = sections();
    for (section, texts) in (5..).zip(sections) {
        for (at, text) in texts.into_iter().enumerate() {
            cases.push(one(format!("6.{section}.{}", at + 1), vec![frame(1, &text)]));
        }
    }
    cases
}

/// A message is sent back if it is UTF-8, and fails the connection if not. `std` is the judge: it is not ours.
fn one(number: impl Into<String>, frames: Vec<Frame>) -> Case {
    let text: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
    match str::from_utf8(&text) {
        Ok(_) => case(number, frames, vec![Answer::Text(text)]),
        Err(_) => failing(number, frames, vec![], 1007),
    }
}

/// One message in these fragments.
fn fragments<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Frame> {
    let mut frames: Vec<Frame> =
        parts.into_iter().map(|part| Frame { fin: false, ..frame(0, part) }).collect();
    frames.first_mut().expect("a fragment").opcode = 1;
    frames.last_mut().expect("a fragment").fin = true;
    frames
}

/// 6.1 to 6.4.
fn messages() -> Vec<Case> {
    let (start, end) = LATIN.split_once('ü').map(|(start, _)| LATIN.split_at(start.len())).expect("an ü");
    let beyond = |wait, frames| Case { wait, ..one("", frames) };
    let waits = [
        beyond(Wait::BetweenFrames, fragments([&BEYOND[..11], &BEYOND[11..15], &BEYOND[15..]])),
        beyond(Wait::BetweenFrames, fragments([&BEYOND[..12], &BEYOND[12..13], &BEYOND[13..]])),
        beyond(Wait::WithinFrame(11, 15), vec![frame(1, BEYOND)]),
        beyond(Wait::WithinFrame(12, 13), vec![frame(1, BEYOND)]),
    ];
    let mut cases = vec![
        one("6.1.1", vec![frame(1, b"")]),
        one("6.1.2", fragments([&b""[..], b"", b""])),
        one("6.1.3", fragments([&b""[..], b"middle frame payload", b""])),
        one("6.2.1", vec![frame(1, LATIN.as_bytes())]),
        one("6.2.2", fragments([start.as_bytes(), end.as_bytes()])),
        one("6.2.3", fragments(LATIN.as_bytes().chunks(1))),
        one("6.2.4", fragments(GOOD.chunks(1))),
        one("6.3.1", vec![frame(1, SURROGATE)]),
        one("6.3.2", fragments(SURROGATE.chunks(1))),
    ];
    cases.extend((1..).zip(waits).map(|(at, wait)| Case { number: format!("6.4.{at}"), ..wait }));
    cases
}

/// 6.5 to 6.23: one message each, after Markus Kuhn's "UTF-8 decoder capability and stress test".
fn sections() -> Vec<Vec<Vec<u8>>> {
    let list = |texts: &[&[u8]]| texts.iter().map(|text| text.to_vec()).collect::<Vec<_>>();
    vec![
        // 5: good text.
        list(&[
            b"hello\x24world",
            b"hello\xc2\xa2world",
            b"hello\xe2\x82\xacworld",
            b"hello\xf0\xa4\xad\xa2world",
            GOOD,
        ]),
        // 6: all its beginnings.
        (1..=GOOD.len()).map(|len| GOOD[..len].to_vec()).collect(),
        // 7: the first character of each length;
        list(&[b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
        // 8: of five and six bytes, which there are none of.
        list(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        // 9: the last of each length;
        list(&[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
        // 10: beyond it.
        list(&[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
        // 11: around the surrogates and the end.
        list(&[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]),
        // 12: continuations of nothing.
        continuations(),
        // 13: starts alone, each before a space.
        [0xc0..0xdf, 0xe0..0xef, 0xf0..0xf7, 0xf8..0xfb, 0xfc..0xfd]
            .map(|starts| starts.flat_map(|start| [start, b' ']).collect())
            .into(),
        // 14: the last byte is missing;
        list(&CUT_OFF),
        // 15: of all of them in a row.
        vec![CUT_OFF.concat()],
        // 16: bytes that UTF-8 does not have.
        list(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        // 17: a slash in too many bytes;
        list(&[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ]),
        // 18: the last character in too many;
        list(&[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ]),
        // 19: NUL in too many.
        list(&[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ]),
        // 20: halves of UTF-16 pairs;
        list(&[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ]),
        // 21: both halves.
        list(&[
            b"\xed\xa0\x80\xed\xb0\x80",
            b"\xed\xa0\x80\xed\xbf\xbf",
            b"\xed\xad\xbf\xed\xb0\x80",
            b"\xed\xad\xbf\xed\xbf\xbf",
            b"\xed\xae\x80\xed\xb0\x80",
            b"\xed\xae\x80\xed\xbf\xbf",
            b"\xed\xaf\xbf\xed\xb0\x80",
            b"\xed\xaf\xbf\xed\xbf\xbf",
        ]),
        // 22: places that no character has, which is no fault: the last two of each plane.
        (0..=16)
            .flat_map(|plane| [0xfffe, 0xffff].map(|last| plane << 16 | last))
            .map(|code| char::from_u32(code).expect("no surrogate").to_string().into_bytes())
            .collect(),
        // 23: the specials, the character for what is no character among them.
        (0xfff9..=0xffff)
            .map(|code| char::from_u32(code).expect("no surrogate").to_string().into_bytes())
            .collect(),
    ]
}

fn continuations() -> Vec<Vec<u8>> {
    let alternating = |len| (0..len).map(|at| if at % 2 == 0 { 0x80 } else { 0xbf }).collect();
    let mut texts = vec![vec![0x80], vec![0xbf]];
    texts.extend((2..=6).map(alternating));
    texts.push((0x80..0xbf).collect());
    texts
}
