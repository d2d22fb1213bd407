//! Fills a batch with samples, holding each series against the limits.

use greylight_store::append::{MetricBatch, MetricKind, MetricMetadata};
use greylight_store::model::{METRIC_NAME, Timestamp};
use greylight_wire::exposition::MetricType;
use greylight_wire::otlp::MetricSink;
use greylight_wire::remote_write::{self, DecodeError, LabelError, Sample, Series};

use crate::limits::{EARLIEST_MS, Limits, show};
use crate::refusal::{Reason, Refusals};

const NO_HISTOGRAMS: &str =
    "native histograms are not supported yet; send classic histograms (scrape_native_histograms: false)";
const NO_EXEMPLARS: &str =
    "exemplars are not supported yet, their samples were stored; set send_exemplars: false";

/// A batch being filled.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) batch: MetricBatch,
    pub(crate) refusals: Refusals,
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
    pub(crate) fn new(limits: Limits) -> Self {
        Self { batch: MetricBatch::default(), refusals: Refusals::default(), limits, within: Within::Point }
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
        self.refusals.add(Reason::Histogram, series.n_histograms(), || NO_HISTOGRAMS.to_owned());
        self.refusals.add(Reason::Exemplar, series.n_exemplars(), || NO_EXEMPLARS.to_owned());
        if self.add_walking(series) { Ok(()) } else { self.add_gathering(series) }
    }

    fn metadata(&mut self, metadata: remote_write::Metadata<'a>) {
        self.add_metadata(metadata.family, metadata.metric_type, metadata.help, metadata.unit);
    }
}

impl MetricSink for Intake {
    fn sample(&mut self, labels: &[(&str, &str)], t_ms: i64, value: f64) {
        let Some((reason, _, text)) = self.add(labels, &[Sample { t_ms, value }]) else { return };
        match self.within {
            Within::Point => {
                self.within = Within::RefusedPoint;
                self.refusals.add(reason, 1, || text);
            }
            Within::RefusedPoint => {}
            Within::TargetInfo => self.refusals.add(Reason::TargetInfo, 1, || text),
        }
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
        Intake::new(Limits::new(&config, Timestamp::from_millis(0)))
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
