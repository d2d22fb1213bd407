//! Fills a batch with samples, holding each series against the limits.

use greylight_store::append::{MetricBatch, MetricKind, MetricMetadata};
use greylight_store::model::Timestamp;
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
