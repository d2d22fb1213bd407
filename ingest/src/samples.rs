//! Fills a batch with samples, holding each series against the limits.

use greylight_store::append::{MetricBatch, MetricKind, MetricMetadata};
use greylight_store::model::{
    Buckets, CounterReset, Exemplar, Histogram, Labels, METRIC_NAME, Span, Timestamp,
};
use greylight_wire::exposition::MetricType;
use greylight_wire::histogram::{NativeBuckets, NativeHistogram, ResetHint};
use greylight_wire::number::STALE_NAN_BITS;
use greylight_wire::otlp::{MetricSink, PointExemplar};
use greylight_wire::remote_write::{self, DecodeError, LabelError, Sample, Series};

use crate::limits::{EARLIEST_MS, Limits, show};
use crate::refusal::{Reason, Refusals};

/// A batch being filled.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) batch: MetricBatch,
    pub(crate) refusals: Refusals,
    /// Histograms that say that their series is gone, which the batch has as floats.
    pub(crate) n_stale_histograms: usize,
    limits: Limits,
    /// Where OTLP's samples come from at the moment.
    within: Within,
}

/// What the samples of OTLP that follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Point,
    /// A point of which a sample was refused already; it counts once.
    RefusedPoint,
    TargetInfo,
}

impl Intake {
    /// Starts to fill `batch`, which is empty.
    pub(crate) fn new(batch: MetricBatch, limits: Limits) -> Self {
        Self { batch, refusals: Refusals::default(), n_stale_histograms: 0, limits, within: Within::Point }
    }

    /// Adds a series whose labels are as nearly every sender writes them, looking at each once. Says whether
    /// it did; if not, nothing was added, and [`add`](Self::add) finds out why.
    fn add_walking(&mut self, series: &Series<'_, '_>) -> bool {
        let Some(mut walk) = series.walk() else { return false };
        let limits = &self.limits;
        let (mut fits, mut named, mut n_labels) = (true, false, 0);
        let looked_at = walk.by_ref().inspect(|(name, value)| {
            n_labels += 1;
            named |= *name == METRIC_NAME;
            fits &= name.len() <= limits.name_bytes && value.len() <= limits.label_value_bytes;
        });
        let Ok(mut writer) = self.batch.start_sorted(looked_at) else { return false };
        let latest_ms = limits.latest.as_millis();
        let timely = series.samples().iter().all(|sample| (EARLIEST_MS..=latest_ms).contains(&sample.t_ms));
        if !(walk.is_complete() && fits && named && n_labels <= limits.labels && timely) {
            // A series without a sample does not count.
            return false;
        }
        for sample in series.samples() {
            writer.push(sample.t_ms, sample.value);
        }
        true
    }

    /// Adds a series whatever its labels are like, or says why not.
    fn add_gathering(&mut self, series: &mut Series<'_, '_>) -> Result<(), DecodeError> {
        let n_samples = series.samples().len();
        let refused = match series.labels_and_samples() {
            Ok((labels, samples)) => self.add(labels, samples),
            Err(LabelError::Malformed(error)) => return Err(error),
            Err(error) => Some((Reason::Labels, n_samples.max(1), error.to_string())),
        };
        if let Some((reason, count, text)) = refused {
            self.refusals.add(reason, count, || text);
        }
        Ok(())
    }

    /// Adds a series; says how many samples were refused and why the first was.
    fn add(&mut self, labels: &[(&str, &str)], samples: &[Sample]) -> Option<(Reason, usize, String)> {
        if let Err(text) = self.limits.check_series(labels) {
            return Some((Reason::Labels, samples.len(), text));
        }
        let mut writer = match self.batch.start_sorted(labels.iter().copied()) {
            Ok(writer) => writer,
            Err(error) => {
                return Some((Reason::Labels, samples.len(), format!("{}: {error}", show(labels))));
            }
        };
        let latest_ms = self.limits.latest.as_millis();
        let mut bad: Option<(usize, i64)> = None;
        for sample in samples {
            if (EARLIEST_MS..=latest_ms).contains(&sample.t_ms) {
                writer.push(sample.t_ms, sample.value);
            } else {
                let (count, first) = bad.unwrap_or((0, sample.t_ms));
                bad = Some((count + 1, first));
            }
        }
        drop(writer);
        bad.map(|(count, t_ms)| (Reason::Time, count, self.explain_time(labels, t_ms)))
    }

    /// Adds what a series has beside floats; each refusal is told under its reason.
    #[cold]
    fn add_beside(&mut self, series: &mut Series<'_, '_>) -> Result<(), DecodeError> {
        let (n_histograms, n_exemplars) = (series.histograms().len(), series.exemplars().len());
        let checked = match series.labels() {
            Ok(labels) => self.limits.check_series(labels).and_then(|()| set_of(labels)),
            Err(LabelError::Malformed(error)) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let labels = match checked {
            Ok(labels) => labels,
            Err(text) => {
                // The exemplars of a series that has samples are told with these.
                let count =
                    n_histograms + if n_histograms + series.samples().len() == 0 { n_exemplars } else { 0 };
                self.refusals.add(Reason::Labels, count, || text);
                return Ok(());
            }
        };
        for histogram in series.histograms() {
            if let Some((reason, text)) = self.add_histogram(&labels, histogram.clone()) {
                self.refusals.add(reason, 1, || text);
            }
        }
        for exemplar in series.exemplars() {
            let own = exemplar.labels.clone().map_err(|error| error.to_string());
            let own = own.and_then(|own| Labels::from_pairs(own).map_err(|error| error.to_string()));
            self.add_exemplar(&labels, own, exemplar.t_ms, exemplar.value);
        }
        Ok(())
    }

    /// Adds a histogram of a series whose labels are checked, or says why not.
    fn add_histogram(&mut self, labels: &Labels, histogram: NativeHistogram) -> Option<(Reason, String)> {
        let t_ms = histogram.t_ms;
        if let Some(text) = self.bad_time("histogram", labels, t_ms) {
            return Some((Reason::Time, text));
        }
        let stale = histogram.sum.to_bits() == STALE_NAN_BITS;
        let added = self.batch.start_labels(labels).push_histogram(t_ms, stored(histogram));
        if let Err(error) = added {
            return Some((Reason::Histogram, format!("{} at {t_ms} ms: {error}", shown(labels))));
        }
        self.n_stale_histograms += usize::from(stale);
        None
    }

    /// Adds an exemplar of a series whose labels are checked, or tells why not.
    fn add_exemplar(&mut self, series: &Labels, own: Result<Labels, String>, t_ms: i64, value: f64) {
        let refused = match (self.bad_time("exemplar", series, t_ms), own) {
            (Some(text), _) => Some(text),
            (None, Err(text)) => Some(format!("exemplar of {}: {text}", shown(series))),
            (None, Ok(labels)) => {
                let added = self.batch.push_exemplar(series.clone(), Exemplar { labels, t_ms, value });
                added.err().map(|error| format!("{}: {error}", shown(series)))
            }
        };
        if let Some(text) = refused {
            self.refusals.add(Reason::Exemplar, 1, || text);
        }
    }

    fn bad_time(&self, what: &str, labels: &Labels, t_ms: i64) -> Option<String> {
        if (EARLIEST_MS..=self.limits.latest.as_millis()).contains(&t_ms) {
            return None;
        }
        let pairs: Vec<_> = labels.iter().collect();
        if t_ms < EARLIEST_MS {
            return Some(format!("{what} of {} at {t_ms} ms lies before the year 1678", show(&pairs)));
        }
        Some(self.limits.explain_time(what, &pairs, Timestamp::from_millis(t_ms)))
    }

    fn explain_time(&self, labels: &[(&str, &str)], t_ms: i64) -> String {
        if t_ms < EARLIEST_MS {
            return format!("sample of {} at {t_ms} ms lies before the year 1678", show(labels));
        }
        self.limits.explain_time("sample", labels, Timestamp::from_millis(t_ms))
    }

    fn add_metadata(&mut self, family: &str, metric_type: MetricType, help: &str, unit: &str) {
        if family.is_empty() || family.len() > self.limits.name_bytes {
            return;
        }
        self.batch.push_metadata(MetricMetadata {
            name: family.to_owned(),
            kind: kind(metric_type),
            help: help[..help.floor_char_boundary(self.limits.label_value_bytes)].to_owned(),
            unit: unit[..unit.floor_char_boundary(self.limits.name_bytes)].to_owned(),
        });
    }
}

impl<'a> remote_write::Sink<'a> for Intake {
    fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
        if !series.histograms().is_empty() || !series.exemplars().is_empty() {
            self.add_beside(series)?;
            if series.samples().is_empty() {
                return Ok(());
            }
        }
        if self.add_walking(series) { Ok(()) } else { self.add_gathering(series) }
    }

    fn metadata(&mut self, metadata: remote_write::Metadata<'a>) {
        self.add_metadata(metadata.family, metadata.metric_type, metadata.help, metadata.unit);
    }
}

impl MetricSink for Intake {
    fn sample(&mut self, labels: &[(&str, &str)], t_ms: i64, value: f64) {
        let Some((reason, _, text)) = self.add(labels, &[Sample { t_ms, value }]) else { return };
        self.refuse(reason, text);
    }

    fn histogram(&mut self, labels: &[(&str, &str)], histogram: NativeHistogram) {
        let checked = self.limits.check_series(labels).and_then(|()| set_of(labels));
        let refused = match checked {
            Ok(labels) => self.add_histogram(&labels, histogram),
            Err(text) => Some((Reason::Labels, text)),
        };
        if let Some((reason, text)) = refused {
            self.refuse(reason, text);
        }
    }

    fn exemplar(&mut self, labels: &[(&str, &str)], exemplar: &PointExemplar<'_>) {
        // Where the series itself is refused, its point says so.
        if self.within != Within::Point || self.limits.check_series(labels).is_err() {
            return;
        }
        let Ok(series) = set_of(labels) else { return };
        let own =
            Labels::from_pairs(exemplar.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        self.add_exemplar(&series, own.map_err(|error| error.to_string()), exemplar.t_ms, exemplar.value);
    }

    fn point(&mut self) {
        self.within = Within::Point;
    }

    fn target_info(&mut self) {
        self.within = Within::TargetInfo;
    }

    fn metadata(&mut self, family: &str, metric_type: MetricType, help: &str, unit: &str) {
        self.add_metadata(family, metric_type, help, unit);
    }
}

impl Intake {
    /// Counts a refused sample of OTLP, once for each point.
    fn refuse(&mut self, reason: Reason, text: String) {
        match self.within {
            Within::Point => {
                self.within = Within::RefusedPoint;
                self.refusals.add(reason, 1, || text);
            }
            Within::RefusedPoint => {}
            Within::TargetInfo => self.refusals.add(Reason::TargetInfo, 1, || text),
        }
    }
}

fn set_of(labels: &[(&str, &str)]) -> Result<Labels, String> {
    Labels::from_pairs(labels.iter().copied()).map_err(|error| format!("{}: {error}", show(labels)))
}

fn shown(labels: &Labels) -> String {
    show(&labels.iter().collect::<Vec<_>>())
}

/// Makes the store's histogram of the wire's.
fn stored(histogram: NativeHistogram) -> Histogram {
    let NativeHistogram { reset, schema, zero_threshold, zero_count, count, sum, .. } = histogram;
    let reset = match reset {
        ResetHint::Unknown => CounterReset::Unknown,
        ResetHint::Yes => CounterReset::Yes,
        ResetHint::No => CounterReset::No,
        ResetHint::Gauge => CounterReset::Gauge,
    };
    let side = |NativeBuckets { spans, counts }| Buckets {
        spans: spans.into_iter().map(|(offset, length)| Span { offset, length }).collect(),
        counts,
    };
    Histogram {
        reset,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive: side(histogram.positive),
        negative: side(histogram.negative),
        custom_bounds: histogram.custom_bounds,
    }
}

fn kind(metric_type: MetricType) -> MetricKind {
    match metric_type {
        MetricType::Unknown => MetricKind::Unknown,
        MetricType::Counter => MetricKind::Counter,
        MetricType::Gauge => MetricKind::Gauge,
        MetricType::Histogram => MetricKind::Histogram,
        MetricType::GaugeHistogram => MetricKind::GaugeHistogram,
        MetricType::Summary => MetricKind::Summary,
        MetricType::Info => MetricKind::Info,
        MetricType::StateSet => MetricKind::StateSet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IngestConfig;
    use greylight_wire::compress::{Caps, Encoding, decode};
    use greylight_wire::remote_write::{Encoder, decode_v1};
    use proptest::prelude::*;

    /// Takes every series the long way.
    struct Gathering(Intake);

    impl<'a> remote_write::Sink<'a> for Gathering {
        fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
            self.0.add_gathering(series)
        }
    }

    fn intake() -> Intake {
        let config = IngestConfig { labels_max: 4, ..IngestConfig::default() };
        Intake::new(MetricBatch::default(), Limits::new(&config, Timestamp::from_millis(0)))
    }

    fn held(intake: &Intake) -> Vec<(Vec<u8>, Vec<i64>, Vec<u64>)> {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect();
        intake
            .batch
            .iter()
            .map(|(labels, t_ms, values)| (labels.to_vec(), t_ms.to_vec(), bits(values)))
            .collect()
    }

    proptest! {
        #[test]
        fn walking_and_gathering_agree(
            series in proptest::collection::vec(
                (
                    proptest::collection::vec(("(__name__|[ab]?|é|[a-z]{120,300})", "(|[xy]|长|[xy]{120,140})"), 0..6),
                    proptest::collection::vec((prop_oneof![Just(0), Just(i64::MAX), any::<i64>()], any::<f64>()), 0..3),
                ),
                0..6,
            ),
        ) {
            let mut encoder = Encoder::default();
            for (labels, samples) in &series {
                let samples: Vec<_> = samples.iter().map(|&(t_ms, value)| Sample { t_ms, value }).collect();
                encoder.series(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), &samples);
            }
            let caps = Caps { decoded_bytes_max: 1 << 20, ratio_max: 100 };
            let body = decode(Encoding::Snappy, &encoder.finish(), caps).expect("own output");
            let (mut walking, mut gathering) = (intake(), Gathering(intake()));
            decode_v1(&body, &mut walking).expect("valid");
            decode_v1(&body, &mut gathering).expect("valid");
            prop_assert_eq!(held(&walking), held(&gathering.0));
            prop_assert_eq!(walking.refusals.message(), gathering.0.refusals.message());
            prop_assert_eq!(walking.refusals.n_items(), gathering.0.refusals.n_items());
        }
    }
}
