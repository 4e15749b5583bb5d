//! The bodies of the fuzz targets (`fuzz/`), on the inputs that are kept and on a few random ones.

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use std::path::PathBuf;

use bodies::TARGETS;
use tickyard::game::Random;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

#[test]
fn every_target_holds_on_its_corpus() {
    for &(name, body) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 8, "{name}: {} inputs say little", corpus.len());
        for (file, bytes) in corpus {
            check(name, body, &bytes, &file.display().to_string());
        }
    }
}

#[test]
fn every_target_holds_near_its_corpus() {
    const INPUTS: u32 = 2000;
    for &(name, body) in TARGETS {
        let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mut random = Random::new(INPUTS.into());
        for number in 0..INPUTS {
            let bytes = mutated(&corpus, &mut random);
            check(name, body, &bytes, &format!("input {number}"));
        }
    }
}

#[test]
fn every_target_has_its_program_and_every_program_its_target() {
    let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let programs = std::fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
    let mut programs: Vec<String> =
        programs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    programs.sort();
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    assert_eq!(programs, names);
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("tickyard_fuzz::{name}(bytes)")), "{program}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
}

#[track_caller]
fn check(name: &str, body: fn(&[u8]), bytes: &[u8], what: &str) {
    let outcome = std::panic::catch_unwind(|| body(bytes));
    assert!(outcome.is_ok(), "{name} fails on {what}: \"{}\"", bytes.escape_ascii());
}

/// An input of the corpus after a few accidents.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| &corpus[random.below(corpus.len() as u32) as usize];
    let mut bytes = pick(random).clone();
    bytes.truncate(4096);
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u32 + 1) as usize;
        let end = (at + random.below(16) as usize).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, random.bits() as u8),
            3 => {
                let other = pick(random);
                let from = random.below(other.len() as u32 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 => bytes[at..end].iter_mut().for_each(|byte| *byte ^= 1 << random.below(8)),
            _ => bytes[at..end].fill([0, 0x7f, 0x80, 0xff][random.below(4) as usize]),
        }
    }
    bytes
}
