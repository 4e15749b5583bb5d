//! What hostile peers did and what they were given for it, kind by kind; and whether that is what a server owes.

use super::kind::{Ending, Kind};
use crate::measure::Violations;
use std::collections::BTreeMap;

/// What the peers of a kind did, and how they ended.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// How many there are.
    pub peers: u64,
    /// Connects that were begun, and those that succeeded.
    pub connects: u64,
    /// See `connects`.
    pub connected: u64,
    /// Answers with status 101.
    pub upgraded: u64,
    /// Welcomes.
    pub joined: u64,
    /// Bytes that were handed to sockets.
    pub bytes_out: u64,
    /// Bytes that arrived.
    pub bytes_in: u64,
    /// How lives ended.
    pub endings: BTreeMap<Ending, u64>,
    /// Endings as the server owes them.
    pub as_owed: u64,
    /// Lives for which there was no room: 503, 1013.
    pub turned_away: u64,
    /// Other endings, missing ones, and rules that the server broke.
    pub wrong: Violations,
    /// Peers that were connected at the end.
    pub open: u64,
}

/// The counts of all kinds.
pub struct Tally {
    counts: [Count; Kind::ALL.len()],
}

/// Whether a kind got what it was owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Kept,
    /// Nothing was wrong, and the time was too short to see it all.
    TooShort,
    /// It did not.
    Broken(String),
}

impl Tally {
    /// Nothing has happened.
    pub fn new() -> Tally {
        Tally { counts: std::array::from_fn(|_| Count::default()) }
    }

    /// The count of a kind.
    pub fn of(&mut self, kind: Kind) -> &mut Count {
        &mut self.counts[kind as usize]
    }

    /// The kinds that took part, with their counts.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, &Count)> {
        Kind::ALL.into_iter().zip(&self.counts).filter(|(_, count)| count.peers > 0)
    }
}

impl Count {
    /// What came of this kind. `complete`: the run was long enough to see what it is owed.
    pub fn verdict(&self, kind: Kind, complete: bool) -> Verdict {
        let seen = match kind {
            Kind::SingleBytes => self.joined,
            Kind::RstStorm => self.connected,
            _ => self.as_owed,
        };
        match (self.wrong.spelt.first(), seen) {
            (Some(first), _) => Verdict::Broken(format!("{} of {first}", self.wrong.count)),
            (None, 0) if complete => Verdict::Broken("never had what it is owed".to_string()),
            (None, 0) => Verdict::TooShort,
            (None, _) => Verdict::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_kept_once_it_had_what_it_is_owed_and_nothing_else() {
        let mut count = Count { peers: 2, ..Count::default() };
        let never = Verdict::Broken("never had what it is owed".to_string());
        assert_eq!(count.verdict(Kind::Silent, true), never);
        assert_eq!(count.verdict(Kind::Silent, false), Verdict::TooShort);
        count.as_owed = 1;
        assert_eq!(count.verdict(Kind::Silent, true), Verdict::Kept);
        count.wrong.add(|| "close 1011".to_string());
        count.wrong.add(|| "reset".to_string());
        assert_eq!(count.verdict(Kind::Silent, true), Verdict::Broken("2 of close 1011".to_string()));
    }

    #[test]
    fn who_plays_by_the_rules_has_to_get_in_and_who_storms_has_to_be_accepted() {
        let mut count = Count { peers: 1, as_owed: 1, ..Count::default() };
        assert!(matches!(count.verdict(Kind::SingleBytes, true), Verdict::Broken(_)));
        assert!(matches!(count.verdict(Kind::RstStorm, true), Verdict::Broken(_)));
        (count.joined, count.connected) = (1, 1);
        assert_eq!(count.verdict(Kind::SingleBytes, true), Verdict::Kept);
        assert_eq!(count.verdict(Kind::RstStorm, true), Verdict::Kept);
    }
}
