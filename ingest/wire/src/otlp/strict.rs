//! Finds out why a metric in JSON was read as having no data.

use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogram, Gauge, Histogram, Sum, Summary};
use serde::Deserialize;

/// A request as far down as its data, with each type under its name. Only whether it reads matters; what
/// it holds is known already.
#[derive(Deserialize)]
struct Request {
    #[serde(rename = "resourceMetrics", default)]
    _resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "scopeMetrics", default)]
    _scopes: Vec<Scope>,
}

#[derive(Deserialize)]
struct Scope {
    #[serde(rename = "metrics", default)]
    _metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    #[serde(rename = "gauge")]
    _gauge: Option<Gauge>,
    #[serde(rename = "sum")]
    _sum: Option<Sum>,
    #[serde(rename = "histogram")]
    _histogram: Option<Histogram>,
    #[serde(rename = "exponentialHistogram")]
    _exponential_histogram: Option<ExponentialHistogram>,
    #[serde(rename = "summary")]
    _summary: Option<Summary>,
}

/// Reads the body once more and fails at what does not read.
pub(super) fn check(body: &[u8]) -> Result<(), serde_json::Error> {
    crate::json::from_object::<Request>(body).map(drop)
}
