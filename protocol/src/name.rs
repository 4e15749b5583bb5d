//! What a player may be called.
//!
//! Names stand beside other text: in lists, in chat, above heads. So none may hide, break a line, or turn the direction of what stands
//! around it (`U+202E` and its kin). Whether two names look alike is not judged: a name says nothing about who somebody is.

use crate::message::NAME_BYTES_MAX;

/// Whether a player may be called this: at most [`NAME_BYTES_MAX`] bytes, something to see among them, and nothing that is refused by
/// `PROTOCOL.md`. The empty name is one: it asks the server to choose.
pub fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && !name.chars().any(is_refused)
        && (name.is_empty() || name.chars().any(is_visible))
}

/// Controls, line and paragraph separators, annotations, and what Unicode 16 calls default ignorable, all that turns the direction of
/// text among it. Not joiners and variation selectors: words of many scripts, and emoji, are spelt with them.
fn is_refused(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}')
}

/// Not white space, the blank braille pattern, a joiner or a variation selector.
fn is_visible(c: char) -> bool {
    let is_blank = matches!(c,
        '\u{180b}'..='\u{180f}' | '\u{200c}'..='\u{200d}' | '\u{2800}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    !is_blank && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_seen_and_stays_in_its_place() {
        let long = "x".repeat(NAME_BYTES_MAX);
        let cases: &[(&str, bool)] = &[
            ("", true),
            ("Ada", true),
            ("Ada Lovelace", true),
            (&long, true),
            ("Zoë ß Łukasz", true),
            ("\u{65e5}\u{672c}\u{8a9e}", true),
            ("\u{645}\u{631}\u{62d}\u{628}\u{627}", true),
            // Persian, spelt with a non-joiner; Sinhala, spelt with a joiner.
            ("\u{639}\u{644}\u{6cc}\u{200c}\u{631}\u{636}\u{627}", true),
            ("\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}", true),
            // A heart in colour, a family.
            ("\u{2764}\u{fe0f}", true),
            ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", true),
            (&format!("{long}x"), false),
            // Nothing to see.
            (" ", false),
            ("\u{3000}\u{a0}", false),
            ("\u{2800}", false),
            ("\u{200d}", false),
            ("\u{fe0f} \u{180b}\u{e0100}", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_name(name), *expected, "{:?}", name.escape_unicode().to_string());
        }
    }

    #[test]
    fn what_hides_breaks_a_line_or_turns_text_is_in_no_name() {
        let refused = [
            0x0..=0x1f,
            0x7f..=0x9f,
            0xad..=0xad,
            0x34f..=0x34f,
            0x61c..=0x61c,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180e..=0x180e,
            0x200b..=0x200b,
            0x200e..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xfff0..=0xfffb,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0000..=0xe00ff,
            0xe01f0..=0xe0fff,
        ];
        for c in (0..=char::MAX as u32).filter_map(char::from_u32) {
            let expected = !refused.iter().any(|range| range.contains(&(c as u32)));
            for name in [format!("A{c}a"), format!("Ada{c}"), format!("{c}Ada")] {
                assert_eq!(is_name(&name), expected, "U+{:04X}", c as u32);
            }
        }
    }
}
