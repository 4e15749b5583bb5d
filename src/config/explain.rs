//! What people read when a flag, a variable or a file cannot be used: one line that names it and says what to write.

use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::Error;

/// One line for each `TICKYARD_*` variable that no flag of `command` has, with the name that may be meant.
pub fn unknown_variables(command: &clap::Command, names: impl Iterator<Item = String>) -> Vec<String> {
    let known = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
    let known: Vec<&str> = known.collect();
    let unknown = names.filter(|name| name.starts_with("TICKYARD_") && !known.contains(&name.as_str()));
    let line = |name: String| {
        let nearest = known.iter().min_by_key(|other| distance(&name, other));
        match nearest.filter(|other| distance(&name, other) <= 3) {
            Some(other) => format!("{name} is no setting and changes nothing; did you mean {other}?"),
            None => format!("{name} is no setting and changes nothing"),
        }
    };
    unknown.map(line).collect()
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, known) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != known);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// One line for what is wrong with a file: where, which key, why.
pub(super) fn explain_file(name: &dyn fmt::Display, text: &str, mut error: toml::de::Error) -> Error {
    let line = match error.span() {
        Some(span) => {
            text.as_bytes()[..span.start.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
        }
        None => 1,
    };
    // Without the text, the error's last line is the key it belongs to, if any: "in `tick-rate`".
    error.set_input(None);
    let shown = error.to_string();
    let key = shown.lines().last().and_then(|last| last.strip_prefix("in `")?.strip_suffix('`'));
    let why = error
        .message()
        .replace('\n', " ")
        .replace("unknown field", "unknown key")
        .replace("expected a sequence", "expected a list, as in [\"…\"]");
    Error::Config(match key {
        Some(key) if !why.starts_with("unknown key") => format!("{name}, line {line}, {key}: {why}"),
        _ => format!("{name}, line {line}: {why}"),
    })
}

/// One line for what is wrong with the command line or the environment. Prints and exits if help or the version was
/// asked for; `help` is the command that shows the flags.
pub fn explain(error: clap::Error, help: &str) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    // "--tick-rate <HZ>", or "--echo[=<BOOL>]"
    let flag = context(ContextKind::InvalidArg).map(|arg| arg.split([' ', '[', '=']).next().unwrap_or(arg));
    Error::Config(match (error.kind(), flag) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _) => error.exit(),
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => error.exit(),
        (ErrorKind::ValueValidation, Some(flag)) => {
            let why = std::error::Error::source(&error).map(|why| why.to_string()).unwrap_or_default();
            match was_given(flag) {
                true => format!("{flag}: {why}"),
                false => format!(
                    "TICKYARD_{}: {why}",
                    flag.trim_start_matches('-').replace('-', "_").to_uppercase()
                ),
            }
        }
        (ErrorKind::InvalidValue, Some(flag)) => format!("{flag} needs a value; see {help}"),
        (ErrorKind::UnknownArgument, Some(word)) if !word.starts_with('-') => {
            format!("\"{word}\" is one word too many; see {help}")
        }
        // The library's idea of similar is wide: a flag that does not even begin alike confuses.
        (ErrorKind::UnknownArgument, Some(flag)) => match context(ContextKind::SuggestedArg)
            .filter(|other| other.as_bytes().get(2) == flag.as_bytes().get(2))
        {
            Some(other) => format!("there is no {flag}; did you mean {other}? See {help}"),
            None => format!("there is no {flag}; see {help}"),
        },
        (ErrorKind::InvalidSubcommand, _) => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("there is no command \"{word}\"; see {help}")
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            format!("{}; see {help}", line.trim_start_matches("error: "))
        }
    })
}

/// Whether a flag stands on the command line; if it does not, its value came from the environment.
fn was_given(flag: &str) -> bool {
    std::env::args_os()
        .filter_map(|arg| arg.into_string().ok())
        .any(|arg| arg.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_no_setting_is_named_with_the_nearest_one() {
        let lines = |names: &[&str]| {
            let names = names.iter().map(|name| name.to_string());
            unknown_variables(&crate::config::command("serve", "serve"), names)
        };
        assert_eq!(lines(&["TICKYARD_LISTEN", "TICKYARD_LOG_JSON", "HOME", "LISTEN"]), [""; 0]);
        assert_eq!(
            lines(&["TICKYARD_MAX_CONECTIONS", "TICKYARD_NOTHING_LIKE_IT"]),
            [
                "TICKYARD_MAX_CONECTIONS is no setting and changes nothing; did you mean TICKYARD_MAX_CONNECTIONS?",
                "TICKYARD_NOTHING_LIKE_IT is no setting and changes nothing",
            ]
        );
    }

    #[test]
    fn a_distance_counts_letters() {
        for (one, other, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected));
        }
    }
}
