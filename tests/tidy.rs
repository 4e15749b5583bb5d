//! Keeps the house as it is drawn: who imports whom, reasons beside dependencies, nothing of one machine in a file,
//! banned words, sizes, links.
//!
//! Each check is a function from text to complaints, tried on small strings first, then on every file of ours.

use std::path::{Path, PathBuf};

use tickyard::close_reason::CloseReason;

#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/words.rs"]
mod words;

// ----------------------------------------------------------------------------------------------- who imports whom

/// Files that may not name some paths.
struct Boundary {
    /// Starts of file names; those with `/` or `.rs` at the end are meant as they stand.
    within: &'static [&'static str],
    except: &'static [&'static str],
    /// Paths that may not be named, nor what is below them …
    never: &'static [&'static str],
    /// … but these may.
    but: &'static [&'static str],
    why: &'static str,
}

const CORES: &[&str] = &[
    "src/websocket/",
    "src/session/",
    "src/game/",
    "src/sim/",
    "src/http/",
    "src/stage.rs",
    "src/time.rs",
    "src/addresses.rs",
    "src/lobby.rs",
    "src/proxy_header.rs",
    "src/config/limits.rs",
    "protocol/src/",
];

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        within: &["src/net/"],
        except: &[],
        never: &["crate::sim", "crate::game"],
        but: &[],
        why: "net knows segments and batches, never the simulation or a game: cross over in bridge.rs",
    },
    Boundary {
        within: CORES,
        except: &[],
        never: &[
            "crate::net",
            "crate::ticker",
            "crate::server",
            "crate::admin",
            "crate::descriptors",
            "mio",
            "socket2",
            "rustix",
            "signal_hook",
            "crossbeam_channel",
            "std::net",
            "std::os",
            "std::fs",
            "std::env",
            "std::process",
        ],
        // Addresses are values.
        but: &["std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr", "std::net::SocketAddr"],
        why: "a core takes bytes and values and returns events: it names no socket, file or process",
    },
    Boundary {
        within: CORES,
        except: &[],
        never: &["std::thread", "std::sync::mpsc", "std::time::Instant", "std::time::SystemTime"],
        but: &[],
        why: "a core names no thread and no clock: the time is an argument",
    },
    Boundary {
        within: CORES,
        except: &[],
        never: &[
            "std::hash::RandomState",
            "std::collections::hash_map",
            "std::collections::HashMap",
            "std::collections::HashSet",
        ],
        but: &[],
        why: "a core is the same in each run: no random source, no order that depends on one",
    },
    Boundary {
        within: &["src/"],
        except: &["src/main.rs", "src/lib.rs", "src/server.rs", "src/server/"],
        never: &["crate::server", "crate::Server", "tickyard::server", "tickyard::Server"],
        but: &[],
        why: "server knows everyone, so nobody may know server",
    },
    Boundary {
        within: &[""],
        except: &["protocol/src/codec.rs"],
        never: &["bincode"],
        but: &[],
        why: "only protocol/src/codec.rs names bincode, so that it can be replaced",
    },
    Boundary {
        within: &["src/", "loadtest/src/"],
        except: &["src/net/tls.rs", "src/net/tls/", "loadtest/src/tls.rs"],
        never: &["rustls"],
        but: &[],
        why: "TLS stands in one place each for server and swarm, so that it can be replaced",
    },
];

impl Boundary {
    fn guards(&self, file: &str) -> bool {
        let among = |list: &[&str]| list.iter().any(|start| file.starts_with(start));
        among(self.within) && !among(self.except)
    }

    fn forbids(&self, path: &str) -> bool {
        let below = |list: &[&str]| list.iter().any(|top| is_below(path, top));
        // `use std::*` brings std::net as well.
        let glob = path.strip_suffix("::*");
        let brings = glob.is_some_and(|open| self.never.iter().any(|never| is_below(never, open)));
        (below(self.never) && !below(self.but)) || brings
    }
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn trespasses(file: &str, source: &str) -> Vec<String> {
    if is_test_file(file) && !file.starts_with("tests/") {
        return Vec::new();
    }
    let code = rust::without_tests(&rust::code(source));
    let mut complaints = Vec::new();
    for named in rust::paths(&code, &module(file)) {
        for boundary in BOUNDARIES.iter().filter(|b| b.guards(file) && b.forbids(&named.path)) {
            complaints.push(format!("{file}:{}: names {}: {}", named.line, named.path, boundary.why));
        }
    }
    complaints
}

/// The path of a file's module, as in `crate::net::outbox`.
fn module(file: &str) -> String {
    let inside = file.split_once("src/").map_or("", |(_, inside)| inside);
    let stem = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    match stem {
        "" | "lib" | "main" => "crate".to_owned(),
        stem => format!("crate::{}", stem.replace('/', "::")),
    }
}

fn is_test_file(file: &str) -> bool {
    file.contains("tests/") || file.ends_with("/tests.rs")
}

#[test]
fn a_boundary_is_seen_in_each_way_to_cross_it() {
    for (file, source) in [
        ("src/net/fanout.rs", "use crate::sim::Room;"),
        ("src/net/mod.rs", "use crate::{bridge, game::Arena};"),
        ("src/net/fanout.rs", "fn f() { super::super::sim::step() }"),
        ("src/net/fanout.rs", "use crate::*;"),
        ("src/sim/room.rs", "use mio::Token;"),
        ("src/sim/mod.rs", "use crate::net::Fanout;"),
        ("src/sim/room.rs", "fn f(_: std::net::TcpStream) {}"),
        ("src/sim/room.rs", "use std::net::{IpAddr, UdpSocket};"),
        ("src/sim/room.rs", "use std::net;"),
        ("src/game/arena.rs", "use std::time::{Duration, Instant};"),
        ("src/game/arena.rs", "use std::time; fn f() { time::SystemTime::now(); }"),
        ("src/websocket/mask.rs", "fn f() { std::thread::yield_now() }"),
        ("src/session/mod.rs", "use std::*;"),
        ("protocol/src/delta.rs", "use std::collections::HashMap;"),
        ("protocol/src/delta.rs", "use bincode::config;"),
        ("loadtest/src/bot.rs", "let c = bincode::config::standard();"),
        ("src/net/mod.rs", "use crate::server::Server;"),
        ("src/ticker.rs", "use crate::Server;"),
        ("src/net/transport.rs", "use rustls::Error;"),
        ("loadtest/src/bot.rs", "fn f(_: rustls::ClientConfig) {}"),
    ] {
        assert!(!trespasses(file, source).is_empty(), "{file}: {source}");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (file, source) in [
        ("src/net/fanout.rs", "use crate::bridge::Batch; use super::outbox::Outbox;"),
        ("src/net/fanout.rs", "// crate::sim does this\nlet s = \"use crate::sim\";"),
        ("src/net/fanout.rs", "use crate::simple::Thing;"),
        ("src/session/site.rs", "fn f(_: std::net::IpAddr) {}"),
        ("src/sim/room.rs", "use std::time::Duration;"),
        ("src/sim/room.rs", "#[cfg(test)]\nmod tests { use std::time::Instant; }"),
        ("src/session/tests.rs", "use std::time::Instant;"),
        ("protocol/src/codec.rs", "use bincode::config;"),
        ("src/main.rs", "use tickyard::server::Server;"),
        ("src/ticker.rs", "use std::time::Instant;"),
    ] {
        assert_eq!(trespasses(file, source), [""; 0], "{file}: {source}");
    }
}

#[test]
fn every_file_keeps_to_its_side_of_each_boundary() {
    nobody_complains(ours(&["rs"]).flat_map(|(file, text)| trespasses(&file, &text)));
}

// ---------------------------------------------------------------------------------------------------- our files

#[test]
fn each_dependency_has_its_reason_beside_it() {
    nobody_complains(ours(&["Cargo.toml"]).flat_map(|(file, text)| manifests::without_reason(&file, &text)));
}

#[test]
fn lock_files_say_what_and_never_from_where() {
    let locks = ours(&["Cargo.lock", "package-lock.json", "requirements.txt"]);
    nobody_complains(locks.flat_map(|(file, text)| manifests::addresses(&file, &text)));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    nobody_complains(ours(&[""]).flat_map(|(file, text)| words::of_one_machine(&file, &text)));
}

#[test]
fn no_file_has_a_banned_word() {
    nobody_complains(ours(&[""]).flat_map(|(file, text)| words::banned(&file, &text)));
}

#[test]
fn no_source_file_is_too_long() {
    let sources = ours(&["rs", "ts", "js", "mjs", "py"])
        .filter(|(file, _)| !is_test_file(file) && !file.contains("/dist/"));
    nobody_complains(sources.flat_map(|(file, text)| pages::too_long(&file, &text)));
}

#[test]
fn the_readme_is_short() {
    nobody_complains(ours(&["README.md"]).flat_map(|(file, text)| pages::long_readme(&file, &text)));
}

#[test]
fn each_page_is_linked_and_each_link_leads_somewhere() {
    let pages: Vec<(String, String)> = ours(&["md"]).collect();
    nobody_complains(pages::dead_links(&pages, &files()).into_iter().chain(pages::unlinked(&pages)));
}

#[test]
fn each_test_that_a_page_names_is_there() {
    let sources: Vec<(String, String)> = ours(&[".rs", "tests/long"]).collect();
    let page = "`tests/tidy::no_such`, `tests/tidy::the_readme_is_short`, `tests/long never`, `tests/long slow`, `loadtest/src/keys::never`";
    let missing = pages::missing_tests("page", page, &sources);
    let expected = ["tests/tidy::no_such", "tests/long never", "loadtest/src/keys::never"];
    assert_eq!(missing, expected.map(|name| format!("page: there is no {name}")));
    let pages = ours(&["docs/security.md", "docs/rfc6455.md"]);
    nobody_complains(pages.flat_map(|(page, text)| pages::missing_tests(&page, &text, &sources)));
}

#[test]
fn each_reason_for_an_end_is_explained_to_the_operator() {
    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, limits) = page.split_once("\n## Limits\n").expect("the limits");
    let (limits, _) = limits.split_once("\n## ").expect("what comes behind them");
    let names = CloseReason::ALL.iter().map(|reason| reason.name());
    let missing = names.filter(|name| !limits.contains(&format!("`{name}`")));
    nobody_complains(missing.map(|name| format!("docs/operations.md: {name} is not among the limits")));
}

fn nobody_complains(complaints: impl Iterator<Item = String>) {
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Our text files whose names end in one of `ends`, with their text.
fn ours(ends: &'static [&'static str]) -> impl Iterator<Item = (String, String)> {
    // A corpus holds any bytes.
    let wanted =
        move |file: &String| !file.starts_with("fuzz/corpus/") && ends.iter().any(|end| file.ends_with(end));
    files().into_iter().filter(wanted).filter_map(|file| {
        // What is not UTF-8 is a picture.
        let text = std::fs::read_to_string(root().join(&file)).ok()?;
        Some((file, text))
    })
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all files that belong to the project, as seen from its root.
fn files() -> Vec<String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = std::process::Command::new("git").args(list).current_dir(root()).output();
    let mut files: Vec<String> = match output {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).expect("names are UTF-8");
            names.split_terminator('\0').map(str::to_owned).collect()
        }
        // No repository, or one that git does not trust: an unpacked archive is as good.
        _ => walk(&root()),
    };
    files.retain(|file| root().join(file).is_file());
    assert!(files.iter().any(|file| file == "tests/tidy.rs"), "not the project's files: {files:?}");
    files.sort();
    files
}

fn walk(top: &Path) -> Vec<String> {
    const NOT_OURS: [&str; 5] = [".git", ".venv", "__pycache__", "node_modules", "target"];
    let (mut files, mut open) = (Vec::new(), vec![top.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.is_dir() {
                true if NOT_OURS.contains(&name.as_str()) => {}
                true => open.push(path),
                false => files.push(path.strip_prefix(top).unwrap().to_string_lossy().into_owned()),
            }
        }
    }
    files
}
