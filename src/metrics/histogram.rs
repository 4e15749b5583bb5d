//! How long things took, in buckets that all histograms share.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::Label;

/// How long things took, counted in buckets of [`BUCKETS_MICROS`].
///
/// The library's histogram takes a lock for each observation; this one is two atomic additions.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Arc<State>);

impl Histogram {
    /// Counts one more that took `duration`.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration, 1);
    }

    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.0.count()
    }
}

/// Histograms of one metric, one for each value of its label.
#[derive(Debug)]
pub struct Histograms<L> {
    states: Arc<[State]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Histograms<L> {
    /// Counts one more under `label` that took `duration`.
    pub fn observe(&self, label: L, duration: Duration) {
        self.observe_each(label, duration, 1);
    }

    /// Counts so many more under `label`, each of which took `duration`.
    pub fn observe_each(&self, label: L, duration: Duration, count: u64) {
        self.states[label.index()].observe(duration, count);
    }

    /// How many were observed under `label`.
    pub fn count(&self, label: L) -> u64 {
        self.states[label.index()].count()
    }
}

/// The upper edges of a histogram's buckets; one more bucket takes the rest. From a hundredth of a millisecond, in which a quiet
/// poll turn reads, to a second, the longest period a room can have.
pub const BUCKETS_MICROS: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 16_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000,
];

#[derive(Debug, Default)]
struct State {
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

impl State {
    fn observe(&self, duration: Duration, count: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|&upper| upper * 1000 < nanos);
        self.buckets[bucket].fetch_add(count, Relaxed);
        self.sum_nanos.fetch_add(nanos.saturating_mul(count), Relaxed);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // The sum is read first: a sum that lags its count is an average that is a little low, never an absurd one.
        let sum = self.sum_nanos.load(Relaxed) as f64 / 1e9;
        let edges = BUCKETS_MICROS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> =
            edges.zip(&self.buckets).map(|(edge, bucket)| (edge, bucket.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl<L: Label> Default for Histograms<L> {
    fn default() -> Histograms<L> {
        Histograms { states: L::ALL.iter().map(|_| State::default()).collect(), label: PhantomData }
    }
}

impl<L> Clone for Histograms<L> {
    fn clone(&self) -> Histograms<L> {
        Histograms { states: Arc::clone(&self.states), label: PhantomData }
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl<L: Label> TypedMetric for Histograms<L> {
    const TYPE: MetricType = MetricType::Histogram;
}

impl<L: Label> EncodeMetric for Histograms<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for &label in L::ALL {
            let labels = [(L::KEY, label.name())];
            self.states[label.index()].encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Queue};

    /// The value of the sample `name`, labels included.
    fn sample(metrics: &Metrics, name: &str) -> String {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no sample {name} in\n{text}")).to_owned()
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        let metrics = Metrics::new();

        for micros in [0, 100, 101, 1_000_000, 1_000_001] {
            metrics.tick_lag.observe(Duration::from_micros(micros));
        }
        metrics.tick_lag.observe(Duration::from_nanos(10_001));

        let bucket =
            |edge: &str| sample(&metrics, &format!("tickyard_tick_lag_seconds_bucket{{le=\"{edge}\"}}"));
        assert_eq!(["0.00001", "0.000025", "0.0001", "0.00025"].map(bucket), ["1", "2", "3", "4"]);
        assert_eq!(["0.25", "1.0", "+Inf"].map(bucket), ["4", "5", "6"]);
        assert_eq!(sample(&metrics, "tickyard_tick_lag_seconds_count"), "6");
        assert_eq!(sample(&metrics, "tickyard_tick_lag_seconds_sum"), "2.000212001");
        assert_eq!(metrics.tick_lag.count(), 6);
    }

    #[test]
    fn what_is_observed_under_a_label_is_shown_under_it() {
        let metrics = Metrics::new();

        metrics.queue_age.observe_each(Queue::Commands, Duration::from_millis(20), 3);
        metrics.queue_age.observe(Queue::Batches, Duration::from_micros(7));

        let of = |what: &str| sample(&metrics, &format!("tickyard_queue_age_seconds_{what}"));
        assert_eq!(of("bucket{le=\"0.016\",queue=\"commands\"}"), "0");
        assert_eq!(of("bucket{le=\"0.025\",queue=\"commands\"}"), "3");
        assert_eq!(of("sum{queue=\"commands\"}"), "0.06");
        assert_eq!(of("count{queue=\"batches\"}"), "1");
        assert_eq!(metrics.queue_age.count(Queue::Commands), 3);
    }
}
