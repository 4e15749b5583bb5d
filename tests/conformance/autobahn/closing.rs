//! Section 7: closing, its codes and reasons, and what is said after it.

use super::frames::{case, close, failing, frame};
use super::*;

const CODES_GOOD: [u16; 13] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const CODES_BAD: [u16; 9] = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
/// Nobody knows them. The suite leaves them to us, and we refuse them.
const CODES_UNKNOWN: [u16; 2] = [5000, 65_535];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("7.1.1", vec![frame(1, b"Hello World!")], vec![Answer::Text(b"Hello World!".to_vec())]),
        after_close("7.1.2", frame(8, b"")),
        after_close("7.1.3", frame(9, b"")),
        after_close("7.1.4", frame(1, b"Hello World!")),
        amid_fragments("7.1.5"),
        behind_a_long_message("7.1.6"),
        answered("7.3.1", frame(8, b""), None),
        failing("7.3.2", vec![frame(8, b"a")], vec![], 1002),
        answered("7.3.3", close(1000, b""), Some(1000)),
        answered("7.3.4", close(1000, b"Hello World!"), Some(1000)),
        answered("7.3.5", close(1000, &[b'*'; 123]), Some(1000)),
        failing("7.3.6", vec![close(1000, &[b'*'; 124])], vec![], 1002),
        failing(
            "7.5.1",
            vec![close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited")],
            vec![],
            1007,
        ),
    ];
    cases.extend(
        CODES_GOOD
            .iter()
            .enumerate()
            .map(|(at, &code)| answered(&format!("7.7.{}", at + 1), close(code, b""), Some(code))),
    );
    for (section, codes) in [("7.9", &CODES_BAD[..]), ("7.13", &CODES_UNKNOWN)] {
        cases.extend(codes.iter().enumerate().map(|(at, &code)| {
            failing(format!("{section}.{}", at + 1), vec![close(code, b"")], vec![], 1002)
        }));
    }
    cases
}

/// A close that is answered with its own code.
fn answered(number: &str, close: Frame, code: Option<u16>) -> Case {
    Case {
        number: number.into(),
        frames: vec![close],
        answers: vec![Answer::Close(code)],
        wait: Wait::Nowhere,
    }
}

fn after_close(number: &str, after: Frame) -> Case {
    let frames = vec![close(1000, b""), after];
    Case { frames, ..answered(number, close(1000, b""), Some(1000)) }
}

fn amid_fragments(number: &str) -> Case {
    let first = Frame { fin: false, ..frame(1, b"fragment1") };
    let frames = vec![first, close(1000, b""), frame(0, b"fragment2")];
    Case { frames, ..answered(number, close(1000, b""), Some(1000)) }
}

/// The suite would take a lost message too; we lose none.
fn behind_a_long_message(number: &str) -> Case {
    let long: Vec<u8> = b"BAsd7&jh23".iter().copied().cycle().take(256 * 1024).collect();
    let frames = vec![frame(1, &long), frame(1, b"Hello World!"), close(1000, b""), frame(9, b"")];
    let answers = vec![Answer::Text(long), Answer::Text(b"Hello World!".to_vec()), Answer::Close(Some(1000))];
    Case { number: number.into(), frames, answers, wait: Wait::Nowhere }
}
