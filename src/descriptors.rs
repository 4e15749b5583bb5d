//! Descriptors: each connection is one, and systems hand out few by default.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are no connections: listeners, pollers, wakers, logs, the admin port, and one spare.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Raises the soft limit to the hard one, and says how many descriptors this process may have.
///
/// The soft limit is low for the sake of programs that use `select`; any other may lift it up to the hard one.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}

/// One line if `available` descriptors do not suffice for `connections_max`.
pub fn shortage(available: u64, connections_max: usize) -> Option<String> {
    let needed = connections_max as u64 + DESCRIPTORS_RESERVED;
    if available >= needed {
        return None;
    }
    Some(format!(
        "--max-connections {connections_max} needs {needed} descriptors and this process may have {available}: beyond \
         {} connections it will turn players away; raise the limit (ulimit -n {needed}) or lower --max-connections",
        available.saturating_sub(DESCRIPTORS_RESERVED)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_raising_the_soft_limit_is_the_hard_one() {
        let available = raise();

        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(available, limit.current.unwrap_or(u64::MAX));
    }

    #[test]
    fn a_shortage_names_the_numbers_and_what_to_do() {
        assert_eq!(shortage(10_064, 10_000), None);
        assert_eq!(
            shortage(1_024, 10_000).as_deref(),
            Some(
                "--max-connections 10000 needs 10064 descriptors and this process may have 1024: beyond 960 connections \
                 it will turn players away; raise the limit (ulimit -n 10064) or lower --max-connections"
            )
        );
        assert!(shortage(10, 1).is_some_and(|line| line.contains("beyond 0 connections")));
    }
}
