//! Descriptors: each connection is one, and systems hand out few by default.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are no connections.
pub fn reserved(io_threads: usize, admin: bool) -> u64 {
    OTHERS + PER_IO_THREAD * io_threads as u64 + if admin { ADMIN } else { 0 }
}

/// stdin, stdout, stderr, two for signals, the listener, the acceptor's reserve, and one for what we forgot.
const OTHERS: u64 = 8;
/// A poller, its registry and its waker.
const PER_IO_THREAD: u64 = 3;
/// Listener, poller, waker, and one who asks.
const ADMIN: u64 = 4;

/// Raises the soft limit to the hard one, and says how many descriptors this process may have.
///
/// The soft limit is low for the sake of programs that use `select`; any other may lift it up to the hard one.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}

/// One line if `available` descriptors, less those that are `reserved`, do not suffice for `connections_max`.
pub fn shortage(available: u64, reserved: u64, connections_max: usize) -> Option<String> {
    let needed = connections_max as u64 + reserved;
    if available >= needed {
        return None;
    }
    Some(format!(
        "--max-connections {connections_max} needs {needed} descriptors and this process may have {available}: beyond about \
         {} connections it will turn players away; raise the limit (ulimit -n {needed}) or lower --max-connections",
        available.saturating_sub(reserved)
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
    fn with_few_descriptors_most_are_left_for_connections() {
        assert_eq!(64 - reserved(2, true), 46);
        assert_eq!(64 - reserved(1, false), 53);
    }

    #[test]
    fn a_shortage_names_the_numbers_and_what_to_do() {
        assert_eq!(shortage(10_014, 14, 10_000), None);
        assert_eq!(
            shortage(1_024, 14, 10_000).as_deref(),
            Some(
                "--max-connections 10000 needs 10014 descriptors and this process may have 1024: beyond about \
                 1010 connections it will turn players away; raise the limit (ulimit -n 10014) or lower --max-connections"
            )
        );
        assert!(shortage(10, 14, 1).is_some_and(|line| line.contains("beyond about 0 connections")));
    }
}
