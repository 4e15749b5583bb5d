//! The kinds of hostile peers: what each does, and what a server owes it.

use std::fmt;
use std::time::Duration;

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A first message that is no hello, or one that cannot be granted.
    BadHellos,
    /// Has a seat, and sends messages that the protocol does not know.
    BadMessages,
    /// Frames that RFC 6455 forbids.
    BrokenFrames,
    /// A message in fragments of a byte, without an end.
    FragmentFlood,
    /// Noise instead of a request.
    Garbage,
    /// Noise instead of frames.
    GarbageFrames,
    /// A request with a header without end, or with 50,000, or with a huge target.
    HeaderBomb,
    /// Tiny messages, 250,000 a second.
    MessageFlood,
    /// A player who never reads, behind a small receive buffer.
    NeverReading,
    /// Pings, 50,000 a second, and the answers are read.
    PingFlood,
    /// The same, and no answer is read.
    PingFloodUnread,
    /// Connects and resets.
    RstStorm,
    /// Connects and says nothing.
    Silent,
    /// Upgrades and says nothing.
    SilentUpgraded,
    /// Plays by the rules, but each byte comes alone.
    SingleBytes,
    /// A request of a byte a second, without an end.
    SlowHandshake,
}

/// How far a peer behaves before it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is connected.
    Connected,
    /// It has upgraded.
    Upgraded,
    /// It has a seat.
    Joined,
}

/// How a peer goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It behaves until then.
    pub strikes_when: Stage,
    /// Time between two strikes; `None`: there is one.
    pub every: Option<Duration>,
    /// Whether it goes on reading when it strikes.
    pub reads: bool,
    /// Time until it comes back, give or take a half.
    pub pause: Duration,
}

/// How a life of a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// An HTTP status other than 101.
    Status(u16),
    /// A close frame, perhaps with a code.
    Close(Option<u16>),
    /// FIN, and not a word.
    Dropped,
    /// A reset, and not a word.
    Reset,
}

/// What a server owes a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// One of these endings, so soon after the peer began to strike.
    Ends(&'static [Ending], Duration),
    /// Any close frame, so soon after the peer began to strike.
    Closes(Duration),
    /// It plays, and is not closed.
    Plays,
    /// It is accepted.
    Accepted,
}

impl Kind {
    /// All of them, in the order of the enum.
    pub const ALL: [Kind; Kind::SlowHandshake as usize + 1] = [
        Kind::BadHellos,
        Kind::BadMessages,
        Kind::BrokenFrames,
        Kind::FragmentFlood,
        Kind::Garbage,
        Kind::GarbageFrames,
        Kind::HeaderBomb,
        Kind::MessageFlood,
        Kind::NeverReading,
        Kind::PingFlood,
        Kind::PingFloodUnread,
        Kind::RstStorm,
        Kind::Silent,
        Kind::SilentUpgraded,
        Kind::SingleBytes,
        Kind::SlowHandshake,
    ];

    /// The name on the command line and in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::BadHellos => "bad-hellos",
            Kind::BadMessages => "bad-messages",
            Kind::BrokenFrames => "broken-frames",
            Kind::FragmentFlood => "fragment-flood",
            Kind::Garbage => "garbage",
            Kind::GarbageFrames => "garbage-frames",
            Kind::HeaderBomb => "header-bomb",
            Kind::MessageFlood => "message-flood",
            Kind::NeverReading => "never-reading",
            Kind::PingFlood => "ping-flood",
            Kind::PingFloodUnread => "ping-flood-unread",
            Kind::RstStorm => "rst-storm",
            Kind::Silent => "silent",
            Kind::SilentUpgraded => "silent-upgraded",
            Kind::SingleBytes => "single-bytes",
            Kind::SlowHandshake => "slow-handshake",
        }
    }

    /// How a peer of this kind goes about it. The rates are those of a real attack; what bounds them is that a server ends each
    /// flood at its first strike, and that all of them share a budget.
    pub fn manner(self) -> Manner {
        let at = |strikes_when, every: Option<u64>| Manner {
            strikes_when,
            every: every.map(Duration::from_millis),
            reads: true,
            pause: PAUSE,
        };
        match self {
            Kind::BadMessages => at(Stage::Joined, None),
            Kind::BadHellos | Kind::BrokenFrames => at(Stage::Upgraded, None),
            Kind::FragmentFlood => at(Stage::Upgraded, Some(FLOOD_EVERY_MS)),
            Kind::Garbage => at(Stage::Connected, Some(100)),
            Kind::GarbageFrames => at(Stage::Upgraded, Some(100)),
            Kind::HeaderBomb => at(Stage::Connected, Some(FLOOD_EVERY_MS)),
            Kind::MessageFlood | Kind::PingFlood => at(Stage::Joined, Some(FLOOD_EVERY_MS)),
            Kind::PingFloodUnread => Manner { reads: false, ..at(Stage::Joined, Some(FLOOD_EVERY_MS)) },
            Kind::NeverReading => Manner { reads: false, ..at(Stage::Joined, Some(250)) },
            Kind::RstStorm => Manner { pause: STORM_PAUSE, ..at(Stage::Connected, None) },
            Kind::Silent => at(Stage::Connected, None),
            Kind::SilentUpgraded => at(Stage::Upgraded, None),
            Kind::SingleBytes => at(Stage::Connected, Some(20)),
            Kind::SlowHandshake => at(Stage::Connected, Some(1_000)),
        }
    }

    /// Whether it sends as fast as it can, and draws from the budget that all such peers share.
    pub fn is_flood(self) -> bool {
        self.manner().every == Some(Duration::from_millis(FLOOD_EVERY_MS))
    }
}

impl Promise {
    /// Whether this ending was promised.
    pub fn allows(self, ending: Ending) -> bool {
        match self {
            Promise::Ends(endings, _) => endings.contains(&ending),
            Promise::Closes(_) => matches!(ending, Ending::Close(_)),
            Promise::Plays | Promise::Accepted => false,
        }
    }

    /// How soon after the peer began to strike.
    pub fn within(self) -> Option<Duration> {
        match self {
            Promise::Ends(_, within) | Promise::Closes(within) => Some(within),
            Promise::Plays | Promise::Accepted => None,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Status(status) => write!(f, "status {status}"),
            Ending::Close(Some(code)) => write!(f, "close {code}"),
            Ending::Close(None) => f.write_str("close without a code"),
            Ending::Dropped => f.write_str("dropped"),
            Ending::Reset => f.write_str("reset"),
        }
    }
}

/// A server answers at once; a machine that is busy does so in this time.
pub const AT_ONCE: Duration = Duration::from_secs(5);

/// The server's deadlines for a request and for the hello are ten seconds, which it looks at once a second.
pub const DEADLINE: Duration = Duration::from_secs(11 + AT_ONCE.as_secs());

/// Five seconds for the peer's close frame, and one for its FIN; then it is dropped.
pub const GOODBYE: Duration = Duration::from_secs(7 + AT_ONCE.as_secs());

/// Who takes no bytes is dropped after 60 s, once buffers are full.
pub const SLOW_DEADLINE: Duration = Duration::from_secs(90);

/// Time until a peer that was closed comes back, give or take a half.
const PAUSE: Duration = Duration::from_millis(1_500);

/// The same in a storm of connects.
const STORM_PAUSE: Duration = Duration::from_millis(30);

const FLOOD_EVERY_MS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_stands_at_its_own_index_under_its_own_name() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(Kind::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
        }
    }

    #[test]
    fn only_peers_that_send_without_pause_are_floods() {
        let floods: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.is_flood()).map(Kind::name).collect();
        assert_eq!(
            floods,
            ["fragment-flood", "header-bomb", "message-flood", "ping-flood", "ping-flood-unread"]
        );
    }
}
