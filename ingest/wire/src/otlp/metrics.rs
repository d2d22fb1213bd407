//! Metrics as Prometheus samples.
//!
//! Gauges and non-monotonic sums become gauges, cumulative monotonic sums counters, histograms with
//! explicit bounds `_bucket`, `_sum` and `_count`, exponential ones native histograms, summaries their
//! quantiles. Delta temporality is refused and counted with the reason. Exemplars go to the series of
//! their point, of a histogram with bounds to the bucket that they fall into.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, SummaryDataPoint, metric::Data, number_data_point,
};

use super::ExportMetricsServiceRequest;
use super::exemplar::{self, Loss, PointExemplar};
use super::exponential;
use super::names::{label_name, metric_name, unit_name};
use super::value::{as_text, find};
use crate::exposition::MetricType;
use crate::histogram::NativeHistogram;
use crate::number::stale_nan;

/// Receives samples and metadata.
pub trait MetricSink {
    /// One sample. Labels include `__name__`, are sorted by name, unique, and have no empty value.
    fn sample(&mut self, labels: &[(&str, &str)], t_ms: i64, value: f64);

    /// One sample that is a native histogram; labels as of a sample.
    fn histogram(&mut self, labels: &[(&str, &str)], histogram: NativeHistogram);

    /// An exemplar of the series with these labels.
    fn exemplar(&mut self, _labels: &[(&str, &str)], _exemplar: &PointExemplar<'_>) {}

    /// The samples that follow are one data point's, up to the next call of this or of
    /// [`target_info`](Self::target_info).
    fn point(&mut self) {}

    /// The sample that follows is a resource's `target_info`, which no data point stands for.
    fn target_info(&mut self) {}

    /// What is said about a metric family.
    fn metadata(&mut self, _family: &str, _metric_type: MetricType, _help: &str, _unit: &str) {}
}

/// What the translation may be asked to do differently.
#[derive(Clone, Debug)]
pub struct MetricOptions {
    /// Resource attributes that become labels of every series of the resource, where it has them. `job`,
    /// `instance`, `target_info` and attributes whose names are labels' as they stand (`zone`) come on top.
    pub promote: Vec<String>,
    /// Adds `otel_scope_name` and `otel_scope_version`, which keep equal names of two libraries apart.
    pub scope_labels: bool,
}

impl Default for MetricOptions {
    fn default() -> Self {
        let promote = [
            "service.name",
            "service.namespace",
            "service.version",
            "deployment.environment.name",
            "greylight.track",
            "k8s.namespace.name",
            "k8s.pod.name",
        ];
        Self { promote: promote.map(str::to_owned).to_vec(), scope_labels: true }
    }
}

/// What was not stored, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Data points that were refused.
    pub n_points: usize,
    /// Exemplars that were left out, or lost their attributes; their points are stored.
    pub n_exemplars: usize,
    /// A reason for each kind of refusal, naming the first metric that it met.
    pub reasons: Vec<String>,
}

impl Refused {
    /// Counts refused points under a reason. Of each kind of reason the first stays.
    fn points(&mut self, n_points: usize, kind: &str, metric: &str) {
        if n_points == 0 {
            return;
        }
        self.n_points += n_points;
        if !self.reasons.iter().any(|reason| reason.starts_with(kind)) {
            self.reasons.push(format!("{kind} (metric {metric:?})"));
        }
    }
}

const NO_DELTA: &str =
    "delta and unspecified temporality are not supported; set the exporter's temporality to cumulative";
const NO_NAME: &str = "a metric has no name";
const NO_DATA: &str = "a metric has no data";
const NO_TIME: &str = "a data point has no time";
const NO_VALUE: &str = "a data point has no value";
const BAD_BUCKETS: &str = "a histogram has not exactly one bucket more than bounds";
const EMPTY_EXEMPLARS: &str = "exemplars without a value were left out; their data points were stored";
const CUT_EXEMPLARS: &str =
    "exemplars with more than 128 characters of labels were stored without their filtered attributes";

/// Flag bit that says "no value here": the series has gone.
const NO_RECORDED_VALUE: u32 = 1;

/// Translates a request, sample by sample.
pub fn translate_metrics(
    request: &ExportMetricsServiceRequest,
    options: &MetricOptions,
    sink: &mut impl MetricSink,
) -> Refused {
    let mut refused = Refused::default();
    let mut loss = Loss::default();
    for resource in &request.resource_metrics {
        translate_resource(resource, options, sink, (&mut refused, &mut loss));
    }
    for (count, reason) in [(loss.n_empty, EMPTY_EXEMPLARS), (loss.n_cut, CUT_EXEMPLARS)] {
        if count > 0 {
            refused.n_exemplars += count;
            refused.reasons.push(reason.to_owned());
        }
    }
    refused
}

fn translate_resource(
    message: &ResourceMetrics,
    options: &MetricOptions,
    sink: &mut impl MetricSink,
    (refused, loss): (&mut Refused, &mut Loss),
) {
    let attributes = message.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    let resource = ResourceLabels::new(attributes, options);
    let mut latest_ms = None;
    for scope in &message.scope_metrics {
        let mut base = resource.clone();
        if options.scope_labels {
            base.add_scope(scope.scope.as_ref());
        }
        for metric in &scope.metrics {
            let mut out = Translation { base: &base, sink, refused, loss, latest_ms: &mut latest_ms };
            out.metric(metric);
        }
    }
    if let Some(t_ms) = latest_ms {
        resource.target_info(attributes, t_ms, sink);
    }
}

/// What every series of one resource and scope carries.
#[derive(Clone, Debug)]
struct ResourceLabels<'a> {
    /// `job` and `instance`: win over a point's attributes.
    identity: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The others: a point's attribute of the same name wins.
    promoted: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Attributes that `job` and `instance` are made of, which `target_info` does not repeat.
const IDENTITY: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

impl<'a> ResourceLabels<'a> {
    fn new(attributes: &'a [KeyValue], options: &MetricOptions) -> Self {
        let mut identity = Vec::new();
        if let Some(job) = find(attributes, "job").or_else(|| job(attributes)) {
            identity.push(("job".into(), job));
        }
        if let Some(instance) =
            find(attributes, "instance").or_else(|| find(attributes, "service.instance.id"))
        {
            identity.push(("instance".into(), instance));
        }
        let mut promoted: Vec<(Cow<'_, str>, Cow<'_, str>)> = options
            .promote
            .iter()
            .filter_map(|name| {
                let value = environment_or(attributes, name)?;
                Some((Cow::Owned(super::promoted_name(name).into_owned()), value))
            })
            .collect();
        promoted.extend(attributes.iter().filter(|attribute| super::is_plain(&attribute.key)).filter_map(
            |attribute| {
                let text = attribute.value.as_ref().map(as_text).filter(|text| !text.is_empty())?;
                Some((attribute.key.as_str().into(), text))
            },
        ));
        Self { identity, promoted }
    }

    fn add_scope(&mut self, scope: Option<&'a InstrumentationScope>) {
        let Some(scope) = scope else { return };
        for (name, value) in [("otel_scope_name", &scope.name), ("otel_scope_version", &scope.version)] {
            if !value.is_empty() {
                self.promoted.push((name.into(), value.as_str().into()));
            }
        }
    }

    /// Emits `target_info` with the attributes that are not in every series, if there are any and something
    /// to join them by.
    fn target_info(&self, attributes: &[KeyValue], t_ms: i64, sink: &mut impl MetricSink) {
        let rest: Vec<_> =
            attributes.iter().filter(|attribute| !IDENTITY.contains(&attribute.key.as_str())).collect();
        if self.identity.is_empty() || rest.is_empty() {
            return;
        }
        sink.target_info();
        self.with_labels(rest.into_iter(), "target_info", None, |labels| sink.sample(labels, t_ms, 1.0));
    }

    /// Builds the label set of a point and lends it to `then`.
    fn with_labels<'k>(
        &self,
        attributes: impl Iterator<Item = &'k KeyValue>,
        name: &str,
        extra: Option<(&str, &str)>,
        then: impl FnOnce(&[(&str, &str)]),
    ) {
        let fixed = |label: &str| {
            label == "__name__"
                || extra.is_some_and(|(name, _)| name == label)
                || self.identity.iter().any(|(name, _)| name == label)
        };
        let own: Vec<(Cow<'_, str>, &str, Cow<'_, str>)> = attributes
            .filter_map(|attribute| {
                let label = label_name(&attribute.key);
                let text = attribute.value.as_ref().map(as_text)?;
                (!text.is_empty() && !label.is_empty() && !fixed(&label)).then_some((
                    label,
                    attribute.key.as_str(),
                    text,
                ))
            })
            .collect();
        let own = join_equal(own);
        let mut labels: Vec<(&str, &str)> = Vec::with_capacity(own.len() + self.promoted.len() + 4);
        labels.extend(own.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        for (name, value) in &self.promoted {
            if !fixed(name) && !own.iter().any(|(other, _)| other == name) {
                labels.push((name, value));
            }
        }
        labels.extend(self.identity.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        labels.extend(extra);
        labels.push(("__name__", name));
        labels.sort_by_key(|(name, _)| *name);
        // Two promoted attributes may have ended under one name; the first stays.
        labels.dedup_by_key(|(name, _)| *name);
        then(&labels);
    }
}

/// Sorts by label name; values whose attributes ended under the same name are joined by `;` in the order of
/// the attributes' names, as Prometheus does.
fn join_equal<'a>(mut own: Vec<(Cow<'a, str>, &str, Cow<'a, str>)>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    own.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut joined: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(own.len());
    for (name, _, value) in own {
        match joined.last_mut() {
            Some((last, text)) if *last == name => {
                let text = text.to_mut();
                text.push(';');
                text.push_str(&value);
            }
            _ => joined.push((name, value)),
        }
    }
    joined
}

/// `namespace/name`, or the name alone.
pub(super) fn job(attributes: &[KeyValue]) -> Option<Cow<'_, str>> {
    let name = find(attributes, "service.name")?;
    Some(match find(attributes, "service.namespace") {
        Some(namespace) => Cow::Owned(format!("{namespace}/{name}")),
        None => name,
    })
}

/// Finds a resource attribute; `deployment.environment.name` also under its name of before 2024.
pub(super) fn environment_or<'a>(attributes: &'a [KeyValue], name: &str) -> Option<Cow<'a, str>> {
    find(attributes, name).or_else(|| {
        (name == "deployment.environment.name").then(|| find(attributes, "deployment.environment"))?
    })
}

/// The translation of one scope's metrics.
struct Translation<'t, 'a, S> {
    base: &'t ResourceLabels<'a>,
    sink: &'t mut S,
    refused: &'t mut Refused,
    loss: &'t mut Loss,
    latest_ms: &'t mut Option<i64>,
}

impl<S: MetricSink> Translation<'_, '_, S> {
    fn metric(&mut self, metric: &Metric) {
        let Some(data) = &metric.data else {
            self.refused.points(1, NO_DATA, &metric.name);
            return;
        };
        let (metric_type, n_points, refusal) = classify(data);
        let family = metric_name(&metric.name, &metric.unit, metric_type);
        let refusal = if family.is_empty() { Some(NO_NAME) } else { refusal };
        if let Some(refusal) = refusal {
            self.refused.points(n_points, refusal, &metric.name);
            return;
        }
        self.sink.metadata(&family, metric_type, &metric.description, &unit_name(&metric.unit));
        match data {
            Data::Gauge(gauge) => self.numbers(&gauge.data_points, &family, &metric.name),
            Data::Sum(sum) => self.numbers(&sum.data_points, &family, &metric.name),
            Data::Histogram(histogram) => self.histograms(&histogram.data_points, &family, &metric.name),
            Data::Summary(summary) => self.summaries(&summary.data_points, &family, &metric.name),
            Data::ExponentialHistogram(histogram) => {
                self.exponentials(&histogram.data_points, &family, &metric.name);
            }
        }
    }

    /// Begins a point and reads its time; a point without one is refused.
    fn time(&mut self, time_unix_nano: u64, metric: &str) -> Option<i64> {
        let Some(nanos) = super::nanos(time_unix_nano) else {
            self.refused.points(1, NO_TIME, metric);
            return None;
        };
        let t_ms = nanos / 1_000_000;
        *self.latest_ms = (*self.latest_ms).max(Some(t_ms));
        self.sink.point();
        Some(t_ms)
    }

    fn emit(
        &mut self,
        attributes: &[KeyValue],
        name: &str,
        extra: Option<(&str, &str)>,
        t_ms: i64,
        value: f64,
    ) {
        let sink = &mut *self.sink;
        self.base.with_labels(attributes.iter(), name, extra, |labels| sink.sample(labels, t_ms, value));
    }

    fn emit_exemplars(
        &mut self,
        attributes: &[KeyValue],
        name: &str,
        extra: Option<(&str, &str)>,
        exemplars: &[PointExemplar<'_>],
    ) {
        if exemplars.is_empty() {
            return;
        }
        let sink = &mut *self.sink;
        self.base.with_labels(attributes.iter(), name, extra, |labels| {
            exemplars.iter().for_each(|exemplar| sink.exemplar(labels, exemplar));
        });
    }

    fn translated<'e>(&mut self, exemplars: &'e [Exemplar], t_ms: i64) -> Vec<PointExemplar<'e>> {
        exemplar::translate(exemplars, t_ms, self.loss)
    }

    fn numbers(&mut self, points: &[NumberDataPoint], family: &str, metric: &str) {
        for point in points {
            let value = match point.value {
                _ if point.flags & NO_RECORDED_VALUE != 0 => stale_nan(),
                Some(number_data_point::Value::AsDouble(value)) => value,
                Some(number_data_point::Value::AsInt(value)) => value as f64,
                None => {
                    self.refused.points(1, NO_VALUE, metric);
                    continue;
                }
            };
            let Some(t_ms) = self.time(point.time_unix_nano, metric) else { continue };
            self.emit(&point.attributes, family, None, t_ms, value);
            let exemplars = self.translated(&point.exemplars, t_ms);
            self.emit_exemplars(&point.attributes, family, None, &exemplars);
        }
    }

    fn exponentials(&mut self, points: &[ExponentialHistogramDataPoint], family: &str, metric: &str) {
        for point in points {
            let stale = point.flags & NO_RECORDED_VALUE != 0;
            let native = if stale { None } else { Some(exponential::native(point, 0)) };
            if let Some(Err(reason)) = native {
                self.refused.points(1, reason, metric);
                continue;
            }
            let Some(t_ms) = self.time(point.time_unix_nano, metric) else { continue };
            let Some(Ok(native)) = native else {
                self.emit(&point.attributes, family, None, t_ms, stale_nan());
                continue;
            };
            let sink = &mut *self.sink;
            self.base.with_labels(point.attributes.iter(), family, None, |labels| {
                sink.histogram(labels, NativeHistogram { t_ms, ..native });
            });
            let exemplars = self.translated(&point.exemplars, t_ms);
            self.emit_exemplars(&point.attributes, family, None, &exemplars);
        }
    }

    fn histograms(&mut self, points: &[HistogramDataPoint], family: &str, metric: &str) {
        let (bucket, sum, count) =
            (format!("{family}_bucket"), format!("{family}_sum"), format!("{family}_count"));
        for point in points {
            let stale = point.flags & NO_RECORDED_VALUE != 0;
            let n_counts = point.bucket_counts.len();
            let bounds = &point.explicit_bounds[..];
            let complete = n_counts == bounds.len() + 1 || (n_counts == 0 && bounds.is_empty());
            if !(stale || complete) {
                self.refused.points(1, BAD_BUCKETS, metric);
                continue;
            }
            let Some(t_ms) = self.time(point.time_unix_nano, metric) else { continue };
            let mut exemplars = self.translated(&point.exemplars, t_ms);
            let or_stale = |value: f64| if stale { stale_nan() } else { value };
            let mut up_to = 0_u64;
            for (bound, n) in
                bounds.iter().zip(point.bucket_counts.iter().copied().chain(std::iter::repeat(0)))
            {
                up_to = up_to.saturating_add(n);
                let le = bound.to_string();
                // An explicit bound of infinity is the bucket that comes below.
                if bound.is_finite() {
                    self.emit(&point.attributes, &bucket, Some(("le", &le)), t_ms, or_stale(up_to as f64));
                    let fall_into: Vec<_> = exemplars.extract_if(.., |e| e.value <= *bound).collect();
                    self.emit_exemplars(&point.attributes, &bucket, Some(("le", &le)), &fall_into);
                }
            }
            self.emit_exemplars(&point.attributes, &bucket, Some(("le", "+Inf")), &exemplars);
            let total = or_stale(point.count as f64);
            self.emit(&point.attributes, &bucket, Some(("le", "+Inf")), t_ms, total);
            if let Some(value) = point.sum.or(stale.then_some(0.0)) {
                self.emit(&point.attributes, &sum, None, t_ms, or_stale(value));
            }
            self.emit(&point.attributes, &count, None, t_ms, total);
        }
    }

    fn summaries(&mut self, points: &[SummaryDataPoint], family: &str, metric: &str) {
        let (sum, count) = (format!("{family}_sum"), format!("{family}_count"));
        for point in points {
            let stale = point.flags & NO_RECORDED_VALUE != 0;
            let Some(t_ms) = self.time(point.time_unix_nano, metric) else { continue };
            let or_stale = |value: f64| if stale { stale_nan() } else { value };
            for quantile in &point.quantile_values {
                let q = quantile.quantile.to_string();
                let value = or_stale(quantile.value);
                self.emit(&point.attributes, family, Some(("quantile", &q)), t_ms, value);
            }
            self.emit(&point.attributes, &sum, None, t_ms, or_stale(point.sum));
            self.emit(&point.attributes, &count, None, t_ms, or_stale(point.count as f64));
        }
    }
}

/// Says what a metric is in Prometheus, how many points it has and why they are refused, if they are.
fn classify(data: &Data) -> (MetricType, usize, Option<&'static str>) {
    let delta =
        |temporality: i32| (temporality != AggregationTemporality::Cumulative as i32).then_some(NO_DELTA);
    match data {
        Data::Gauge(gauge) => (MetricType::Gauge, gauge.data_points.len(), None),
        Data::Sum(sum) => {
            let metric_type = if sum.is_monotonic { MetricType::Counter } else { MetricType::Gauge };
            (metric_type, sum.data_points.len(), delta(sum.aggregation_temporality))
        }
        Data::Histogram(histogram) => {
            (MetricType::Histogram, histogram.data_points.len(), delta(histogram.aggregation_temporality))
        }
        Data::Summary(summary) => (MetricType::Summary, summary.data_points.len(), None),
        Data::ExponentialHistogram(histogram) => {
            (MetricType::Histogram, histogram.data_points.len(), delta(histogram.aggregation_temporality))
        }
    }
}
