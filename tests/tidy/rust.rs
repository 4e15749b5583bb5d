//! Reads Rust far enough to say which paths a file names: comments and literals are blanked, `use` trees spread
//! out, `self`, `super` and aliases followed. It does not know types, macros or inline modules.

use std::collections::BTreeMap;

/// The source with comments, strings and characters blanked. Lines stay where they are.
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal_or_comment(bytes, at) {
            Some(end) => end.min(bytes.len()),
            None => {
                at += 1;
                continue;
            }
        };
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(out).expect("whole literals were blanked")
}

/// The end of the literal or comment that starts here.
fn literal_or_comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => Some(at + 1 + quoted(&rest[1..], b'"')),
        [b'\'', b'\\', ..] => Some(at + 1 + quoted(&rest[1..], b'\'')),
        [b'\'', first, ..] => {
            // A character is closed right behind; a lifetime is not.
            let end = 1 + utf8_length(*first);
            (rest.get(end) == Some(&b'\'')).then_some(at + end + 1)
        }
        [b'r', b'"' | b'#', ..] if !is_within_word(bytes, at) => raw_string(rest).map(|length| at + length),
        _ => None,
    }
}

fn is_within_word(bytes: &[u8], at: usize) -> bool {
    // The `b` and `c` of `br""` and `cr""` belong to the literal.
    let prefix = usize::from(at > 0 && matches!(bytes[at - 1], b'b' | b'c'));
    let before = at.checked_sub(1 + prefix).map(|at| bytes[at]);
    before.is_some_and(is_word)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn utf8_length(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of a raw string; `None` for a raw identifier.
fn raw_string(bytes: &[u8]) -> Option<usize> {
    let hashes = bytes[1..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &bytes[hashes + 2..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(hashes + 2 + end.map_or(body.len(), |end| end + close.len()))
}

/// Code (see [`code`]) with each item blanked that is compiled only for tests.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    while let Some(start) = out.find(MARK) {
        let end = item_end(out.as_bytes(), start + MARK.len());
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// The end of the item from `at` on: its `;`, or the brace that closes its first one.
fn item_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// A path that a file names, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub path: String,
}

/// Every path of two names or more in code (see [`code`]), and all that is imported. `module` is the file's own
/// path, as in `crate::net::outbox`.
pub fn paths(code: &str, module: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut walk = Walk { tokens: &tokens, at: 0, imports: Vec::new(), inline: Vec::new() };
    walk.file();
    let Walk { imports, inline, .. } = walk;
    let mut aliases = BTreeMap::new();
    let mut found = Vec::new();
    for Import { line, segments, name } in imports {
        let path = resolve(&segments, module, &BTreeMap::new());
        aliases.insert(name, path.clone());
        found.push(Named { line, path });
    }
    let inline = inline.into_iter();
    found.extend(inline.map(|(line, segments)| Named { line, path: resolve(&segments, module, &aliases) }));
    found
}

fn resolve(segments: &[String], module: &str, aliases: &BTreeMap<String, String>) -> String {
    let mut base: Vec<&str> = Vec::new();
    let mut rest = segments;
    match rest.first().map(String::as_str) {
        Some("self" | "super") => base.extend(module.split("::")),
        Some(first) if aliases.contains_key(first) => {
            base.extend(aliases[first].split("::"));
            rest = &rest[1..];
        }
        _ => {}
    }
    for segment in rest {
        match segment.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            name => base.push(name),
        }
    }
    base.join("::")
}

struct Import {
    line: usize,
    segments: Vec<String>,
    /// Under which name it is known here.
    name: String,
}

struct Walk<'a> {
    tokens: &'a [(usize, &'a str)],
    at: usize,
    imports: Vec<Import>,
    inline: Vec<(usize, Vec<String>)>,
}

impl Walk<'_> {
    fn file(&mut self) {
        while self.at < self.tokens.len() {
            match (self.peek(), self.peek_at(1)) {
                ("use", _) => {
                    self.at += 1;
                    self.tree(&[]);
                }
                ("extern", "crate") => {
                    self.at += 2;
                    self.tree(&[]);
                }
                (token, _) if is_name(token) => {
                    let line = self.tokens[self.at].0;
                    let segments = self.segments();
                    if segments.len() > 1 {
                        self.inline.push((line, segments));
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn peek(&self) -> &str {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.1)
    }

    /// Names with `::` between them; stands behind them afterwards, before a `::` that leads elsewhere.
    fn segments(&mut self) -> Vec<String> {
        let mut segments = vec![self.peek().to_owned()];
        self.at += 1;
        while self.peek() == "::" && is_name(self.peek_at(1)) {
            segments.push(self.peek_at(1).to_owned());
            self.at += 2;
        }
        segments
    }

    /// A `use` tree below `prefix`.
    fn tree(&mut self, prefix: &[String]) {
        if self.peek() == "::" {
            self.at += 1;
        }
        let line = self.tokens.get(self.at).map_or(0, |token| token.0);
        let mut segments = prefix.to_vec();
        if is_name(self.peek()) {
            segments.extend(self.segments());
        }
        if self.peek() == "::" {
            self.at += 1;
        }
        match self.peek() {
            "{" => {
                self.at += 1;
                while !matches!(self.peek(), "}" | "") {
                    let before = self.at;
                    self.tree(&segments);
                    // A comma, or something that is no tree: either way on.
                    self.at += usize::from(self.peek() == "," || self.at == before);
                }
                self.at += 1;
            }
            "*" => {
                self.at += 1;
                segments.push("*".to_owned());
                self.imports.push(Import { line, segments, name: "*".to_owned() });
            }
            _ if segments.len() > prefix.len() => {
                if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
                    segments.pop();
                }
                let mut name = segments.last().cloned().unwrap_or_default();
                if self.peek() == "as" {
                    name = self.peek_at(1).to_owned();
                    self.at += 2;
                }
                self.imports.push(Import { line, segments, name });
            }
            _ => {}
        }
    }
}

fn is_name(token: &str) -> bool {
    token.bytes().next().is_some_and(|first| is_word(first) && !first.is_ascii_digit()) && token != "as"
}

/// Words, `::` and single signs, with their lines. A raw identifier is its word.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            rest = rest.strip_prefix("r#").unwrap_or(rest);
            let word = rest.bytes().take_while(|&byte| is_word(byte)).count();
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            tokens.push((line + 1, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        paths(&code(source), "crate::sim::room").into_iter().map(|named| named.path).collect()
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        for source in [
            "// use mio::Poll;",
            "/* use mio::Poll; /* nested */ use mio::Poll; */",
            "/// [`mio::Poll`]",
            "\"use mio::Poll; \\\" mio::Poll\"",
            "r#\"mio::Poll \" mio::Poll\"#",
            "b\"mio::Poll\"",
            "br##\"mio::Poll\"# mio::Poll\"##",
            "['\"', 'x', '\\'', '\\u{1F600}', 'ÿ'] // mio::Poll",
        ] {
            assert_eq!(found(source), [""; 0], "{source}");
        }
    }

    #[test]
    fn what_stands_behind_a_literal_is_seen() {
        for source in [
            "/* a */ mio::Poll",
            "\"\\\\\" mio::Poll",
            "r\"\\\" mio::Poll",
            "'\"' mio::Poll '\"'",
            "fn f<'a>(x: &'a str) { mio::Poll }",
            "b'\\'' mio::Poll",
            "// a\nmio::Poll",
        ] {
            assert_eq!(found(source), ["mio::Poll"], "{source}");
        }
    }

    #[test]
    fn each_way_to_name_a_path_leads_to_the_same_path() {
        for (source, expected) in [
            ("use std::net::TcpStream;", "std::net::TcpStream"),
            ("pub(crate) use ::std::net::TcpStream as S;", "std::net::TcpStream"),
            ("use std::{io, net::{self, TcpStream}};", "std::net::TcpStream"),
            ("use std::{\n    // a comment\n    net::TcpStream,\n};", "std::net::TcpStream"),
            ("use std::net; fn f(_: net::TcpStream) {}", "std::net::TcpStream"),
            ("use std as s; fn f(_: s::net::TcpStream) {}", "std::net::TcpStream"),
            ("extern crate std as s; fn f(_: s::net::TcpStream) {}", "std::net::TcpStream"),
            ("use std::{net as wire}; fn f(_: wire::TcpStream) {}", "std::net::TcpStream"),
            ("let s = std :: net :: TcpStream::connect::<u8>(a);", "std::net::TcpStream::connect"),
            ("use r#std::r#net::TcpStream;", "std::net::TcpStream"),
            ("use super::super::net::Fanout;", "crate::net::Fanout"),
            ("use super::{super::net::Fanout, clock};", "crate::net::Fanout"),
            ("use self::inner::Thing;", "crate::sim::room::inner::Thing"),
            ("fn f() -> crate::net::Fanout {}", "crate::net::Fanout"),
            ("use std::net::*;", "std::net::*"),
        ] {
            assert!(found(source).iter().any(|path| path == expected), "{source}: {:?}", found(source));
        }
    }

    #[test]
    fn a_path_comes_with_its_line() {
        assert_eq!(paths("\n\nuse mio::Poll;", "crate"), [Named { line: 3, path: "mio::Poll".to_owned() }]);
    }

    #[test]
    fn items_for_tests_go_and_the_rest_stays() {
        let source =
            "use a::B;\n#[cfg(test)]\nmod tests {\n    fn f() { c::D }\n}\n#[cfg(test)] mod more;\nuse e::F;";
        let rest = without_tests(&code(source));

        assert_eq!(rest.lines().count(), source.lines().count());
        assert_eq!(rest.split_whitespace().collect::<Vec<_>>().join(" "), "use a::B; use e::F;");
    }
}
