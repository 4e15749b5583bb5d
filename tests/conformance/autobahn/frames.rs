//! Sections 1 to 5: frames, pings, what is reserved, fragments.

use super::*;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const HELLO: &[u8] = b"Hello, world!";
const NO_TEXT: &[u8] = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";

pub fn frame(opcode: u8, payload: &[u8]) -> Frame {
    Frame { fin: true, reserved: 0, opcode, payload: payload.to_owned() }
}

/// More of the message follows.
fn part(opcode: u8, payload: &[u8]) -> Frame {
    Frame { fin: false, ..frame(opcode, payload) }
}

fn reserved(reserved: u8, opcode: u8, payload: &[u8]) -> Frame {
    Frame { reserved, ..frame(opcode, payload) }
}

pub fn close(code: u16, reason: &[u8]) -> Frame {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// The suite is content, and closes.
pub fn case(number: impl Into<String>, mut frames: Vec<Frame>, mut answers: Vec<Answer>) -> Case {
    frames.push(close(1000, b""));
    answers.push(Answer::Close(Some(1000)));
    Case { number: number.into(), frames, answers, wait: Wait::Nowhere }
}

/// The peer must close with this code, whatever follows.
pub fn failing(number: impl Into<String>, frames: Vec<Frame>, mut answers: Vec<Answer>, code: u16) -> Case {
    answers.push(Answer::Close(Some(code)));
    Case { number: number.into(), frames, answers, wait: Wait::Nowhere }
}

fn text(payload: &[u8]) -> Answer {
    Answer::Text(payload.to_owned())
}

fn binary(payload: &[u8]) -> Answer {
    Answer::Binary(payload.to_owned())
}

fn pong(payload: &[u8]) -> Answer {
    Answer::Pong(payload.to_owned())
}

pub fn cases() -> Vec<Case> {
    [framing(), pings(), reserved_bits(), opcodes(), fragments()].into_iter().flatten().collect()
}

/// 1: messages of each length. The last of each kind is the longest again, in chops; we cut all of them.
fn framing() -> Vec<Case> {
    const LENGTHS: [usize; 8] = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
    let mut cases = Vec::new();
    for (at, len) in LENGTHS.into_iter().enumerate() {
        let payload = vec![b'*'; len];
        cases.push(case(format!("1.1.{}", at + 1), vec![frame(TEXT, &payload)], vec![text(&payload)]));
    }
    for (at, len) in LENGTHS.into_iter().enumerate() {
        let payload = vec![0xfe; len];
        cases.push(case(format!("1.2.{}", at + 1), vec![frame(BINARY, &payload)], vec![binary(&payload)]));
    }
    cases
}

/// 2: each ping has its pong; pongs that nobody asked for have none.
fn pings() -> Vec<Case> {
    let full = [0xfe; 125];
    let ten: Vec<String> = (0..10).map(|at| format!("payload-{at}")).collect();
    let ten_pings = || ten.iter().map(|payload| frame(PING, payload.as_bytes())).collect();
    let ten_pongs = || ten.iter().map(|payload| pong(payload.as_bytes())).collect();
    let unasked = b"unsolicited pong payload";
    vec![
        case("2.1", vec![frame(PING, b"")], vec![pong(b"")]),
        case("2.2", vec![frame(PING, HELLO)], vec![pong(HELLO)]),
        case("2.3", vec![frame(PING, NO_TEXT)], vec![pong(NO_TEXT)]),
        case("2.4", vec![frame(PING, &full)], vec![pong(&full)]),
        failing("2.5", vec![frame(PING, &[0xfe; 126])], vec![], 1002),
        case("2.6", vec![frame(PING, &full)], vec![pong(&full)]),
        case("2.7", vec![frame(PONG, b"")], vec![]),
        case("2.8", vec![frame(PONG, unasked)], vec![]),
        case("2.9", vec![frame(PONG, unasked), frame(PING, b"ping payload")], vec![pong(b"ping payload")]),
        case("2.10", ten_pings(), ten_pongs()),
        case("2.11", ten_pings(), ten_pongs()),
    ]
}

/// 3: no extension gives the reserved bits a meaning. What came before is answered, what comes after is not.
fn reserved_bits() -> Vec<Case> {
    let between = |bits| vec![frame(TEXT, HELLO), reserved(bits, TEXT, HELLO), frame(PING, b"")];
    vec![
        failing("3.1", vec![reserved(1, TEXT, HELLO)], vec![], 1002),
        failing("3.2", between(2), vec![text(HELLO)], 1002),
        failing("3.3", between(3), vec![text(HELLO)], 1002),
        failing("3.4", between(4), vec![text(HELLO)], 1002),
        failing("3.5", vec![reserved(5, BINARY, NO_TEXT)], vec![], 1002),
        failing("3.6", vec![reserved(6, PING, HELLO)], vec![], 1002),
        failing("3.7", vec![reserved(7, CLOSE, b"")], vec![], 1002),
    ]
}

/// 4: opcodes without a meaning, for data and for control.
fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, first) in [(1, 3), (2, 11)] {
        let number = |at| format!("4.{kind}.{at}");
        let between = |opcode, payload| vec![frame(TEXT, HELLO), frame(opcode, payload), frame(PING, b"")];
        cases.extend([
            failing(number(1), vec![frame(first, b"")], vec![], 1002),
            failing(number(2), vec![frame(first + 1, b"reserved opcode payload")], vec![], 1002),
            failing(number(3), between(first + 2, b""), vec![text(HELLO)], 1002),
            failing(number(4), between(first + 3, HELLO), vec![text(HELLO)], 1002),
            failing(number(5), between(first + 4, HELLO), vec![text(HELLO)], 1002),
        ]);
    }
    cases
}

/// 5: messages in fragments, with and without pings between them, and what is no message. The suite counts each way
/// of chopping the same bytes; we cut each in all of them.
fn fragments() -> Vec<Case> {
    let halves = || vec![part(TEXT, b"fragment1"), frame(CONTINUATION, b"fragment2")];
    let with_ping =
        || vec![part(TEXT, b"fragment1"), frame(PING, b"ping payload"), frame(CONTINUATION, b"fragment2")];
    let whole = || text(b"fragment1fragment2");
    let stray = |fin| {
        let stray = Frame { fin, ..frame(CONTINUATION, b"non-continuation payload") };
        vec![stray, frame(TEXT, HELLO)]
    };
    let stray_twice = |fin| {
        let stray = Frame { fin, ..frame(CONTINUATION, b"fragment1") };
        let once = vec![stray, part(TEXT, b"fragment2"), frame(CONTINUATION, b"fragment3")];
        [once.clone(), once].concat()
    };
    let after_a_message =
        [halves(), vec![part(CONTINUATION, b"fragment3"), frame(TEXT, b"fragment4")]].concat();
    let five = || {
        vec![
            part(TEXT, b"fragment1"),
            part(CONTINUATION, b"fragment2"),
            frame(PING, b"pongme 1!"),
            part(CONTINUATION, b"fragment3"),
            part(CONTINUATION, b"fragment4"),
            frame(PING, b"pongme 2!"),
            frame(CONTINUATION, b"fragment5"),
        ]
    };
    let five_answers = || {
        let message = text(b"fragment1fragment2fragment3fragment4fragment5");
        vec![pong(b"pongme 1!"), pong(b"pongme 2!"), message]
    };
    let split_control = |opcode| vec![part(opcode, b"fragment1"), frame(CONTINUATION, b"fragment2")];
    let two_starts = vec![part(TEXT, b"fragment1"), frame(TEXT, b"fragment2")];
    vec![
        failing("5.1", split_control(PING), vec![], 1002),
        failing("5.2", split_control(PONG), vec![], 1002),
        case("5.3", halves(), vec![whole()]),
        case("5.4", halves(), vec![whole()]),
        case("5.5", halves(), vec![whole()]),
        case("5.6", with_ping(), vec![pong(b"ping payload"), whole()]),
        case("5.7", with_ping(), vec![pong(b"ping payload"), whole()]),
        case("5.8", with_ping(), vec![pong(b"ping payload"), whole()]),
        failing("5.9", stray(true), vec![], 1002),
        failing("5.10", stray(true), vec![], 1002),
        failing("5.11", stray(true), vec![], 1002),
        failing("5.12", stray(false), vec![], 1002),
        failing("5.13", stray(false), vec![], 1002),
        failing("5.14", stray(false), vec![], 1002),
        failing("5.15", after_a_message, vec![whole()], 1002),
        failing("5.16", stray_twice(false), vec![], 1002),
        failing("5.17", stray_twice(true), vec![], 1002),
        failing("5.18", two_starts, vec![], 1002),
        case("5.19", five(), five_answers()),
        case("5.20", five(), five_answers()),
    ]
}
