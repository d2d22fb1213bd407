//! Exemplars of data points.

use std::borrow::Cow;

use opentelemetry_proto::tonic::metrics::v1::{Exemplar, exemplar};

use super::names::label_name;
use super::value::as_text;

/// Most characters of names and values together, as OpenMetrics says.
const CHARS_MAX: usize = 128;

/// An exemplar as Prometheus has it.
#[derive(Clone, Debug, PartialEq)]
pub struct PointExemplar<'a> {
    /// `trace_id` and `span_id` in hexadecimal digits, and the attributes that the point lacks. Names are distinct, in
    /// any order.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Epoch milliseconds.
    pub t_ms: i64,
    /// What was observed.
    pub value: f64,
}

/// What of exemplars could not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Loss {
    /// Exemplars without a value.
    pub(super) n_empty: usize,
    /// Exemplars whose attributes make them too long, and were left out.
    pub(super) n_cut: usize,
}

/// Translates the exemplars of a point; one without a time has the point's.
pub(super) fn translate<'a>(
    exemplars: &'a [Exemplar],
    point_ms: i64,
    loss: &mut Loss,
) -> Vec<PointExemplar<'a>> {
    let mut out = Vec::with_capacity(exemplars.len());
    for exemplar in exemplars {
        let value = match exemplar.value {
            Some(exemplar::Value::AsDouble(value)) => value,
            Some(exemplar::Value::AsInt(value)) => value as f64,
            None => {
                loss.n_empty += 1;
                continue;
            }
        };
        let t_ms = super::nanos(exemplar.time_unix_nano).map_or(point_ms, |nanos| nanos / 1_000_000);
        let mut labels: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, id) in [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)] {
            if id.iter().any(|byte| *byte != 0) {
                labels.push((name.into(), hex(id).into()));
            }
        }
        let n_ids = labels.len();
        for attribute in &exemplar.filtered_attributes {
            let name = label_name(&attribute.key);
            let text = attribute.value.as_ref().map(as_text).unwrap_or_default();
            // Of several attributes under one name the first stays.
            if !name.is_empty() && !text.is_empty() && !labels.iter().any(|(other, _)| *other == name) {
                labels.push((name, text));
            }
        }
        let chars = |labels: &[(Cow<'_, str>, Cow<'_, str>)]| -> usize {
            labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
        };
        if chars(&labels) > CHARS_MAX {
            labels.truncate(n_ids);
            loss.n_cut += 1;
        }
        out.push(PointExemplar { labels, t_ms, value });
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|d| char::from_digit(d.into(), 16))
        .collect()
}
