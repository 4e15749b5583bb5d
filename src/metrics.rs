//! What the server counts and measures: a closed list.
//!
//! [`Metrics`] holds one named field per metric. Everything is a plain atomic: counting never locks and never
//! allocates, so it may be done on the hot paths; a loop which does thousands of something adds them up once. Labels
//! are closed enums, never anything that a peer chose. Names follow Prometheus: `tickyard_` first, base units
//! (seconds, bytes) at the end. The list is pinned by a snapshot: dashboards and alerts hang on it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use tickyard_protocol::repair::RepairWhy;

use crate::close_reason::CloseReason;
use crate::stage::Stage;
pub use histogram::{BUCKETS_MICROS, Histogram, Histograms};

mod histogram;

/// The media type of [`Metrics::render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of a server. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Metrics {
    /// Connections open now.
    pub connections: Gauge,
    /// Connections that the kernel gave us, those included that were turned away.
    pub connections_accepted: Counter,
    /// Connections that ended, or were turned away.
    pub closes: Counters<CloseReason>,
    /// Bytes read from and written to game sockets.
    pub bytes: Counters<Direction>,
    /// WebSocket messages, control frames left out.
    pub messages: Counters<Direction>,
    /// TLS handshakes that came to an end.
    pub tls_handshakes: Counter,
    /// When the certificate runs out, in seconds since 1970.
    pub tls_certificate_expiry: Gauge,
    /// Certificates read again.
    pub tls_reloads: Counters<ReloadResult>,
    /// System calls that wrote to game sockets.
    pub send_syscalls: Counter,
    /// Bytes that wait in outboxes now.
    pub outbox_bytes: Gauge,
    /// Updates which a client did not get in time.
    pub skipped_updates: Counter,
    /// Those of them which were the server's own fault.
    pub overtaken_updates: Counter,
    /// Players who see less now because their connections carry no more.
    pub thin_connections: Gauge,
    /// How often a connection was found to be so.
    pub found_thin: Counter,
    /// Batches that an io thread's channel did not take.
    pub batches_undelivered: Counter,
    /// From when a tick was due to the last of its messages, by io thread.
    pub fanout: Histogram,
    /// Rooms open now, those whose game failed included.
    pub rooms: Gauge,
    /// Rooms that tick: an empty one sleeps.
    pub rooms_awake: Gauge,
    /// Rooms whose game failed.
    pub rooms_failed: Gauge,
    /// Clients who found that their world was not the room's, by how.
    pub desyncs: Counters<RepairWhy>,
    /// Cell snapshots asked for, by clients or because one was too far behind.
    pub wants: Counter,
    /// Players in rooms now, those whose seat waits for a resume included.
    pub players: Gauge,
    /// Inputs taken from clients.
    pub inputs: Counter,
    /// Pings sent to peers that were silent.
    pub pings: Counter,
    /// Inputs dropped because newer ones waited behind them.
    pub inputs_skipped: Counter,
    /// Inputs dropped because their number was not above the last one's.
    pub inputs_repeated: Counter,
    /// Commands dropped because their connection was no longer its player's.
    pub commands_stale: Counter,
    /// Commands that a correct client does not send.
    pub commands_wrong: Counter,
    /// Chat messages.
    pub chat: Counters<ChatResult>,
    /// Ticks simulated.
    pub ticks: Counter,
    /// Ticks skipped because too many were due at once.
    pub tick_overruns: Counter,
    /// How long a tick took.
    pub tick_duration: Histogram,
    /// How late a tick started.
    pub tick_lag: Histogram,
    /// How long a thread was in each stage of a tick's way.
    pub stages: Histograms<Stage>,
    /// How long something had waited when another thread took it.
    pub queue_age: Histograms<Queue>,
    /// How often a thread was not heard of for too long.
    pub watchdog_silent: Counters<Role>,
    /// Flight records that were to be written.
    pub flight_files: Counters<FlightResult>,
    /// Transient messages of games that were dropped.
    pub transients_dropped: Counter,
    /// Segments encoded, each one for all who see that cell.
    pub segments_encoded: Counters<SegmentKind>,
    registry: Registry,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Metrics {
        let mut list = List(Registry::with_prefix("tickyard"));
        Metrics {
            connections: list.add("connections", "Connections open now"),
            connections_accepted: list
                .add("connections_accepted", "Connections accepted, those turned away at once included"),
            closes: list.add("closes", "Connections that ended or were turned away, by reason, each once"),
            bytes: list.add(
                "bytes",
                "Bytes read from (in) and written to (out) game sockets, handshakes and frame headers included",
            ),
            messages: list
                .add("messages", "WebSocket messages received (in) and sent (out), control frames left out"),
            tls_handshakes: list.add("tls_handshakes", "TLS handshakes completed"),
            tls_certificate_expiry: list.add_seconds(
                "tls_certificate_expiry",
                "When the certificate runs out, in seconds since 1970; 0 without TLS",
            ),
            tls_reloads: list.add("tls_reloads", "How often certificate and key were read again, by result"),
            send_syscalls: list.add("send_syscalls", "System calls that wrote to game sockets"),
            outbox_bytes: list
                .add_bytes("outbox", "Bytes that wait now because clients do not read fast enough"),
            skipped_updates: list.add(
                "skipped_updates",
                "World updates a client did not get in time, because earlier bytes still waited for it or it was overtaken; it catches \
                 up later",
            ),
            overtaken_updates: list.add(
                "overtaken_updates",
                "Skipped updates for which the server is to blame: the next batch was there before this one was sent to all",
            ),
            thin_connections: list.add(
                "thin_connections",
                "Players whose connections carry less than there is to say, by what their inputs say of it: they see the nearest cells",
            ),
            found_thin: list.add("found_thin", "How often a player's connection was found to be thin"),
            batches_undelivered: list.add(
                "batches_undelivered",
                "Batches that an io thread could not take because it was too far behind; what matters comes again",
            ),
            fanout: list.add_seconds(
                "fanout",
                "From when a tick was due until an io thread had sent the last of its messages",
            ),
            rooms: list.add("rooms", "Rooms open now, those that ended because their game failed included"),
            rooms_awake: list.add("rooms_awake", "Rooms that tick now; those that nobody is in sleep, unless their game does not let them"),
            rooms_failed: list.add("rooms_failed", "Rooms that ended because their game failed"),
            desyncs: list.add(
                "desyncs",
                "Clients who found that what they hold is not what they were told, by how: a sum or a check that differs, or a block that \
                 does not fit; each was told its view again",
            ),
            wants: list.add(
                "wants",
                "Cell snapshots asked for, by clients themselves or because one was too far behind for deltas",
            ),
            players: list
                .add("players", "Players in rooms now"),
            inputs: list.add("inputs", "Inputs that reached their room"),
            pings: list.add("pings", "Pings sent to peers that had been silent for the ping interval"),
            inputs_skipped: list
                .add("inputs_skipped", "Inputs dropped because newer ones of the same player waited behind them"),
            inputs_repeated: list
                .add("inputs_repeated", "Inputs dropped because their number was not above the last one's"),
            commands_stale: list.add(
                "commands_stale",
                "Commands dropped because their connection was no longer the one of its player",
            ),
            commands_wrong: list.add(
                "commands_wrong",
                "Commands that a correct client does not send: messages out of order, wishes for cells out of sight",
            ),
            chat: list.add("chat", "Chat messages received, by what became of them"),
            ticks: list.add("ticks", "Ticks simulated"),
            tick_overruns: list
                .add("tick_overruns", "Ticks skipped because more were due at once than are caught up"),
            tick_duration: list.add_seconds("tick_duration", "How long a tick took, commands and publishing included"),
            tick_lag: list.add_seconds("tick_lag", "How late a tick started to be simulated"),
            stages: list.add_seconds(
                "stage",
                "How long a thread was in a stage: of the simulation by step, of reading by turn, of the fan-out by batch",
            ),
            queue_age: list.add_seconds(
                "queue_age",
                "How long commands had waited for the simulation since they were read, and batches for an io thread",
            ),
            watchdog_silent: list.add(
                "watchdog_silent",
                "How often a thread was not heard of for a second; the log has its name and what it was doing",
            ),
            flight_files: list.add(
                "flight_files",
                "Flight records that were to be written to --flight-dir, by result",
            ),
            transients_dropped: list.add(
                "transients_dropped",
                "Transient messages of games dropped because there was no room for them in their tick",
            ),
            segments_encoded: list.add(
                "segments_encoded",
                "Segments encoded by kind; each is encoded once, however many clients it is sent to",
            ),
            registry: list.0,
        }
    }

    /// The metrics as they stand, as OpenMetrics text ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a String takes any text");
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// Counters of one metric, one for each value of its label.
#[derive(Debug)]
pub struct Counters<L> {
    values: Arc<[AtomicU64]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Counters<L> {
    /// Adds one under `label`.
    pub fn inc(&self, label: L) {
        self.inc_by(label, 1);
    }

    /// Adds `count` under `label`.
    pub fn inc_by(&self, label: L, count: u64) {
        self.values[label.index()].fetch_add(count, Relaxed);
    }

    /// The count under `label`.
    pub fn get(&self, label: L) -> u64 {
        self.values[label.index()].load(Relaxed)
    }
}

/// A label whose values are known beforehand.
pub trait Label: Copy + Send + Sync + fmt::Debug + 'static {
    /// The label's key.
    const KEY: &'static str;
    /// Its values; the position of each is its [`Label::index`].
    const ALL: &'static [Self];

    /// Where this value stands in [`Label::ALL`].
    fn index(self) -> usize;

    /// What the text says.
    fn name(self) -> &'static str;
}

/// Writes an enum and its [`Label`] from one list, so that they cannot differ.
macro_rules! label {
    ($(#[$doc:meta])* $enum:ident, $key:literal, { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum {
            $($(#[$variant_doc])* $variant),+
        }

        impl Label for $enum {
            const KEY: &'static str = $key;
            const ALL: &'static [$enum] = &[$($enum::$variant),+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self {
                    $($enum::$variant => $name),+
                }
            }
        }
    };
}

label!(
    /// Which way bytes went.
    Direction, "direction", {
        /// From a client.
        In = "in",
        /// To a client.
        Out = "out",
    }
);

label!(
    /// What came of reading the certificate and its key again.
    ReloadResult, "result", {
        /// They could not be used: those from before stay.
        Failed = "failed",
        /// New connections get the new ones.
        Ok = "ok",
    }
);

label!(
    /// What became of a flight record.
    FlightResult, "result", {
        /// It could not be written.
        Failed = "failed",
        /// It lies in its directory.
        Written = "written",
    }
);

label!(
    /// What waits between threads.
    Queue, "queue", {
        /// What a room said, for an io thread.
        Batches = "batches",
        /// What was read, for the simulation.
        Commands = "commands",
    }
);

label!(
    /// What a thread is for.
    Role, "thread", {
        /// The admin port.
        Admin = "admin",
        /// Sockets.
        Io = "io",
        /// Rooms.
        Simulation = "simulation",
    }
);

label!(
    /// What a segment is.
    SegmentKind, "kind", {
        /// What changed since the stream's previous publication.
        Delta = "delta",
        /// All there is.
        Snapshot = "snapshot",
    }
);

label!(
    /// What became of a chat message.
    ChatResult, "result", {
        /// Empty, too long or not UTF-8.
        Invalid = "invalid",
        /// Over the rate: dropped, and its sender told.
        RateLimited = "rate_limited",
        /// Handed on to the room.
        Relayed = "relayed",
    }
);

impl Label for RepairWhy {
    const KEY: &'static str = "why";
    const ALL: &'static [RepairWhy] = &RepairWhy::ALL;

    fn index(self) -> usize {
        self as usize - RepairWhy::ALL[0] as usize
    }

    fn name(self) -> &'static str {
        match self {
            RepairWhy::Misfit => "misfit",
            RepairWhy::Sum => "sum",
            RepairWhy::Check => "check",
        }
    }
}

impl Label for CloseReason {
    const KEY: &'static str = "reason";
    const ALL: &'static [CloseReason] = &CloseReason::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        CloseReason::name(self)
    }
}

impl Label for Stage {
    const KEY: &'static str = "stage";
    const ALL: &'static [Stage] = &Stage::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        Stage::name(self)
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Counters<L> {
        Counters { values: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), label: PhantomData }
    }
}

impl<L> Clone for Counters<L> {
    fn clone(&self) -> Counters<L> {
        Counters { values: Arc::clone(&self.values), label: PhantomData }
    }
}

impl<L: Label> TypedMetric for Counters<L> {
    const TYPE: MetricType = MetricType::Counter;
}

impl<L: Label> EncodeMetric for Counters<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for &label in L::ALL {
            let labels = [(L::KEY, label.name())];
            ConstCounter::new(self.get(label)).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The registry while the list is being written.
struct List(Registry);

impl List {
    fn add<M: Registered>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn add_bytes<M: Registered>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register_with_unit(name, help, Unit::Bytes, metric.clone());
        metric
    }

    fn add_seconds<M: Registered>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }
}

/// A metric whose clones count together.
trait Registered: Clone + Default + prometheus_client::registry::Metric {}

impl<M: Clone + Default + prometheus_client::registry::Metric> Registered for M {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of the sample `name`, labels included.
    fn sample(text: &str, name: &str) -> String {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no sample {name} in\n{text}")).to_owned()
    }

    #[test]
    fn the_list_of_metrics_stays_as_dashboards_know_it() {
        insta::assert_snapshot!(Metrics::new().render());
    }

    #[test]
    fn what_is_counted_is_what_is_shown() {
        let metrics = Metrics::new();

        metrics.connections.inc();
        metrics.bytes.inc_by(Direction::Out, 230);
        metrics.closes.inc(CloseReason::BadHandshake);
        metrics.closes.inc(CloseReason::Unsupported);
        metrics.outbox_bytes.inc_by(100);
        metrics.outbox_bytes.dec_by(40);

        let text = metrics.render();
        assert_eq!(sample(&text, "tickyard_connections"), "1");
        assert_eq!(sample(&text, "tickyard_bytes_total{direction=\"in\"}"), "0");
        assert_eq!(sample(&text, "tickyard_bytes_total{direction=\"out\"}"), "230");
        assert_eq!(sample(&text, "tickyard_closes_total{reason=\"bad_handshake\"}"), "1");
        assert_eq!(sample(&text, "tickyard_closes_total{reason=\"idle\"}"), "0");
        assert_eq!(sample(&text, "tickyard_closes_total{reason=\"unsupported\"}"), "1");
        assert_eq!(sample(&text, "tickyard_outbox_bytes"), "60");
        assert_eq!(metrics.closes.get(CloseReason::BadHandshake), 1);
    }

    #[test]
    fn every_label_stands_at_its_own_index_under_its_own_name() {
        fn check<L: Label>() {
            for (index, label) in L::ALL.iter().enumerate() {
                assert_eq!(label.index(), index, "{label:?}");
                let same = L::ALL.iter().filter(|other| other.name() == label.name());
                assert_eq!(same.count(), 1, "{label:?}");
            }
        }
        check::<ChatResult>();
        check::<CloseReason>();
        check::<Direction>();
        check::<FlightResult>();
        check::<Queue>();
        check::<Role>();
        check::<SegmentKind>();
        check::<Stage>();
    }
}
