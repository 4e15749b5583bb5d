//! Where a tick's time goes: the stages of its way through the server.
//!
//! A core says which stage it enters ([`Stages::enter`]) and knows no clock; the shell that drives it measures what lies
//! in between, and a test notes the order.

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Io thread: new connections, and what the poller reported.
    Accept,
    /// Admin port: a request.
    Answer,
    /// Simulation: commands, inputs, and what the game makes of them.
    Apply,
    /// Simulation: what the game asked for, and what changed.
    Collect,
    /// Io thread: each player's message is copied together.
    Compose,
    /// Io thread: what was received becomes messages, and these commands.
    Decode,
    /// Simulation: commands are taken from the io threads.
    Drain,
    /// Simulation: what changed becomes segments.
    Encode,
    /// Simulation: the game's timers and its tick.
    Game,
    /// Io thread: commands are handed to the simulation.
    HandIn,
    /// Simulation: the batch is handed to the io threads.
    HandOut,
    /// Io thread: TLS handshakes.
    Handshake,
    /// Io thread: the kernel is asked for what peers sent.
    Receive,
    /// Io thread: the kernel is given what players are told.
    Send,
    /// Io thread: deadlines and pings.
    Sweep,
    /// Io thread: batches are taken from the simulation.
    Take,
    /// Simulation: each player's view, and what only that player is told.
    View,
}

impl Stage {
    /// Each one, at its own place.
    pub const ALL: [Stage; 17] = [
        Stage::Accept,
        Stage::Answer,
        Stage::Apply,
        Stage::Collect,
        Stage::Compose,
        Stage::Decode,
        Stage::Drain,
        Stage::Encode,
        Stage::Game,
        Stage::HandIn,
        Stage::HandOut,
        Stage::Handshake,
        Stage::Receive,
        Stage::Send,
        Stage::Sweep,
        Stage::Take,
        Stage::View,
    ];

    /// What metrics, logs and flight records call it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Accept => "accept",
            Stage::Answer => "answer",
            Stage::Apply => "apply",
            Stage::Collect => "collect",
            Stage::Compose => "compose",
            Stage::Decode => "decode",
            Stage::Drain => "drain",
            Stage::Encode => "encode",
            Stage::Game => "game",
            Stage::HandIn => "hand_in",
            Stage::HandOut => "hand_out",
            Stage::Handshake => "handshake",
            Stage::Receive => "receive",
            Stage::Send => "send",
            Stage::Sweep => "sweep",
            Stage::Take => "take",
            Stage::View => "view",
        }
    }
}

/// Who is told where a core is.
pub trait Stages {
    /// The last stage is over and this one begins.
    fn enter(&mut self, stage: Stage);
}

/// Nobody wants to know.
impl Stages for () {
    fn enter(&mut self, _stage: Stage) {}
}
