//! Words that have no place in a file.
//!
//! They are written here in two halves, so that this file may be read like any other.

use super::rust;

/// Paths of somebody's machine, and hosts that packages come from: both are another's business.
pub fn of_one_machine(file: &str, text: &str) -> Vec<String> {
    const PATHS: &[&str] = &[
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
    ];
    const REGISTRIES: &[&str] = &[
        concat!("registry.npm", "js."),
        concat!("registry.yarn", "pkg."),
        concat!("py", "pi.org"),
        concat!("python", "hosted."),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("deb.", "debian.org"),
        concat!("index-", "url"),
        concat!("extra-", "index"),
        concat!("replace-", "with"),
    ];
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Inside a longer path it is a folder of ours, at its start one of a machine.
        let path = PATHS.iter().find(|path| line.match_indices(*path).any(|(at, _)| starts_here(line, at)));
        let registry = REGISTRIES.iter().find(|name| line.contains(*name));
        for what in path.into_iter().chain(registry) {
            complaints.push(format!("{file}:{}: names {what}", number + 1));
        }
    }
    complaints
}

fn starts_here(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    before.is_none_or(|before| !before.is_alphanumeric() && !"._-/*$}>".contains(before))
}

/// What is not finished, or was left behind.
pub fn banned(file: &str, text: &str) -> Vec<String> {
    const ANYWHERE: &[&str] = &[concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];
    const IN_RUST: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut complaints = Vec::new();
    let mut look = |text: &str, words: &[&str]| {
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                complaints.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    };
    look(text, ANYWHERE);
    if file.ends_with(".rs") {
        look(&rust::code(text), IN_RUST);
    }
    complaints
}

fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let ends = !word.ends_with(is_word) || !after.is_some_and(is_word);
        !before.is_some_and(is_word) && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_machines_folder_or_of_a_registry_is_found() {
        for text in [
            concat!("cd /ho", "me/somebody/tickyard"),
            concat!("\"/ro", "ot/.cargo\""),
            concat!("path=/tm", "p/a"),
            concat!("npm --registry https://registry.npm", "js.example"),
            concat!("pip install --index-", "url=a"),
        ] {
            assert_eq!(of_one_machine("a", text).len(), 1, "{text}");
        }
        for text in ["src/work/mod.rs", "target/tmp/a", "http://127.0.0.1:7070/home/", "$HOME/work/a"] {
            assert_eq!(of_one_machine("a", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_is_not_finished_is_found() {
        for (file, text) in [
            ("a.md", concat!("FIX", "ME later")),
            ("a.ts", concat!("// TO", "DO: more")),
            ("a.rs", concat!("// XX", "X")),
            ("a.rs", concat!("fn f() { to", "do!() }")),
            ("a.rs", concat!("fn f() { unim", "plemented!() }")),
            ("a.rs", concat!("db", "g!(x);")),
            ("a.rs", concat!("#[ig", "nore = \"slow\"]")),
        ] {
            assert_eq!(banned(file, text).len(), 1, "{text}");
        }
        for (file, text) in [
            ("a.rs", "// dbg!(x) prints\nlet s = \"todo!\";"),
            ("a.rs", "let MAXXX = 1;"),
            ("a.md", "the dbg! macro"),
        ] {
            assert_eq!(banned(file, text), [""; 0], "{text}");
        }
    }
}
