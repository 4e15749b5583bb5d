//! Where flight records go: a directory that never holds more than a few of them.

// A shell: names of files tell the time of day.
#![allow(clippy::disallowed_types)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::time::Time;

/// The directory of `--flight-dir`.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    /// When a record was written that nobody had asked for.
    last: Option<Time>,
}

impl Files {
    /// Takes a directory into use; it is made if only its last part is missing.
    pub fn open(directory: &Path) -> Result<Files, Error> {
        let probe = directory.join(format!("{PREFIX}probe{UNFINISHED}"));
        let tried = match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)),
        };
        tried.map_err(|error| {
            Error::Config(format!(
                "--flight-dir {}: cannot write there ({error}); name a directory that this user may write to",
                directory.display()
            ))
        })?;
        Ok(Files { directory: directory.to_owned(), last: None })
    }

    /// Whether it is time for a record that nobody asked for; if so, the next has to wait.
    pub fn is_time(&mut self, now: Time) -> bool {
        let is_time = self.last.is_none_or(|last| now.since(last) >= PERIOD);
        if is_time {
            self.last = Some(now);
        }
        is_time
    }

    /// Writes a record, and removes the oldest ones for it.
    pub fn write(&self, record: &str) -> io::Result<PathBuf> {
        self.write_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), record)
    }

    fn write_at(&self, since_1970: Duration, record: &str) -> io::Result<PathBuf> {
        let mut names = self.names()?;
        // Their names sort by time.
        names.sort_unstable();
        let too_many = (names.len() + 1).saturating_sub(FILES_MAX);
        for name in &names[..too_many] {
            fs::remove_file(self.directory.join(name))?;
        }
        let path = self.directory.join(format!("{PREFIX}{}{ENDING}", stamp(since_1970)));
        let unfinished = path.with_extension(&UNFINISHED[1..]);
        fs::write(&unfinished, record)?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    /// What is there of ours, what was not finished when a process ended included.
    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name()));
        let names = names.filter_map(|name| name.map(|name| name.into_string().ok()).transpose());
        names.filter(|name| name.as_ref().map_or(true, |name| is_ours(name))).collect()
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && (name.ends_with(ENDING) || name.ends_with(UNFINISHED))
}

/// A moment as `20261126T051350.123Z`.
fn stamp(since_1970: Duration) -> String {
    let (days, seconds) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{:03}Z", since_1970.subsec_millis())
}

/// The date so many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March, so that the leap day is the last; day 0 is 1 March of year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Records that a directory holds; an older one makes room.
pub const FILES_MAX: usize = 10;
/// Between two records that nobody asked for.
pub const PERIOD: Duration = Duration::from_secs(60);

const PREFIX: &str = "tickyard-flight-";
const ENDING: &str = ".json";
const UNFINISHED: &str = ".part";

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own, which is not there yet.
    fn directory(test: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("tickyard-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory
    }

    #[test]
    fn a_directory_holds_the_newest_records_and_loses_nothing_else() {
        let directory = directory("bound");
        let files = Files::open(&directory).unwrap();
        fs::write(directory.join("notes.json"), "mine").unwrap();
        fs::write(directory.join(format!("{PREFIX}20200101T000000.000Z{UNFINISHED}")), "cut").unwrap();

        let write =
            |number: u64| files.write_at(Duration::from_secs(2_000_000_000 + number), &number.to_string());
        let written: Vec<PathBuf> = (0..FILES_MAX as u64 + 3).map(|number| write(number).unwrap()).collect();

        let mut left: Vec<PathBuf> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let mut expected = vec![directory.join("notes.json")];
        expected.extend_from_slice(&written[3..]);
        assert_eq!(left, expected);
        assert_eq!(fs::read_to_string(written.last().unwrap()).unwrap(), (FILES_MAX + 2).to_string());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named_with_its_flag_and_the_reason() {
        let directory = directory("unusable");
        fs::write(&directory, "a file").unwrap();
        let error = Files::open(&directory).unwrap_err().to_string();
        let expected = format!(
            "--flight-dir {}: cannot write there (Not a directory (os error 20)); name a directory that this user may write to",
            directory.display()
        );
        assert_eq!(error, expected);
        fs::remove_file(&directory).unwrap();
        let error = Files::open(&directory.join("nor/this")).unwrap_err().to_string();
        assert!(error.contains("No such file or directory"), "{error}");
    }

    #[test]
    fn what_nobody_asked_for_is_written_once_a_minute() {
        let mut files = Files { directory: PathBuf::new(), last: None };
        let times = [0, 1, 59, 60, 61, 119, 120].map(|second| files.is_time(Time::from_secs(second)));
        assert_eq!(times, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_stamp_is_the_date_and_time_of_day() {
        let stamps = [0, 951_782_399, 951_782_400, 1_709_251_199, 4_102_444_800, 1_795_670_030];
        let stamps = stamps.map(|second| stamp(Duration::from_millis(second * 1000 + 7)));
        assert_eq!(
            stamps,
            [
                "19700101T000000.007Z",
                "20000228T235959.007Z",
                "20000229T000000.007Z",
                "20240229T235959.007Z",
                "21000101T000000.007Z",
                "20261126T051350.007Z",
            ]
        );
    }
}
