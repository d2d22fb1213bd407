//! Fills a batch with log records, holding each against the limits.

use greylight_store::append::LogBatch;
use greylight_store::model::{AttributeValue, Labels, LogRecord, Timestamp};
use greylight_wire::logs::{Record, Stream, Value};

use crate::limits::{Limits, show};
use crate::refusal::{Reason, Refusals};

/// Attribute that keeps the length of a body that was cut.
const TRUNCATED: &str = "greylight.truncated_bytes";

/// Turns streams into a batch; what does not fit the limits is refused, the rest kept.
pub(crate) fn intake(streams: Vec<Stream>, limits: &Limits) -> (LogBatch, Refusals) {
    let mut batch = LogBatch::default();
    let mut refusals = Refusals::default();
    batch.records.reserve(streams.iter().map(|stream| stream.records.len()).sum());
    for stream in streams {
        let pairs: Vec<(&str, &str)> =
            stream.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let checked = limits
            .check_labels(&pairs)
            .and_then(|()| Labels::from_pairs(pairs.iter().copied()).map_err(|error| error.to_string()));
        let labels = match checked {
            Ok(labels) => labels,
            Err(text) => {
                refusals.add(Reason::Labels, stream.records.len(), || text);
                continue;
            }
        };
        for record in stream.records {
            match convert(record, &labels, &pairs, limits) {
                Ok(record) => batch.records.push(record),
                Err((reason, text)) => refusals.add(reason, 1, || text),
            }
        }
    }
    (batch, refusals)
}

fn convert(
    mut record: Record,
    labels: &Labels,
    pairs: &[(&str, &str)],
    limits: &Limits,
) -> Result<LogRecord, (Reason, String)> {
    let observed = record.observed_ns.map(Timestamp::from_nanos);
    let time = record.time_ns.map(Timestamp::from_nanos).or(observed).unwrap_or(limits.now);
    if time > limits.latest {
        return Err((Reason::Time, limits.explain_time("log record", pairs, time)));
    }
    check_attributes(&record.attributes, pairs, limits).map_err(|text| (Reason::Attributes, text))?;
    if record.body.len() > limits.line_bytes {
        let whole = i64::try_from(record.body.len()).unwrap_or(i64::MAX);
        record.body.truncate(record.body.floor_char_boundary(limits.line_bytes));
        record.attributes.retain(|(name, _)| name != TRUNCATED);
        record.attributes.push((TRUNCATED.to_owned(), Value::Int(whole)));
    }
    Ok(LogRecord {
        time,
        // A collector's clock that runs ahead says nothing that is worth keeping.
        observed_time: observed.filter(|observed| *observed <= limits.latest).unwrap_or(limits.now),
        severity_number: record.severity_number,
        severity_text: record.severity_text,
        body: record.body,
        labels: labels.clone(),
        attributes: record.attributes.into_iter().map(|(name, value)| (name, attribute(value))).collect(),
        trace_id: record.trace_id,
        span_id: record.span_id,
        uid: record.uid,
    })
}

fn check_attributes(
    attributes: &[(String, Value)],
    pairs: &[(&str, &str)],
    limits: &Limits,
) -> Result<(), String> {
    let of = || format!("log record of {}", show(pairs));
    if attributes.len() > limits.attributes {
        return Err(format!(
            "{} has {} attributes, the limit is {}",
            of(),
            attributes.len(),
            limits.attributes
        ));
    }
    let mut total = 0;
    for (name, value) in attributes {
        if name.is_empty() || name.len() > limits.name_bytes {
            let length = name.len();
            return Err(format!(
                "{} has an attribute name of {length} bytes, allowed are 1 to {}",
                of(),
                limits.name_bytes
            ));
        }
        total += name.len() + length(value);
    }
    if total > limits.attribute_bytes {
        return Err(format!(
            "{} has {total} bytes of attributes, the limit is {}",
            of(),
            limits.attribute_bytes
        ));
    }
    Ok(())
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Int(_) | Value::Double(_) => 8,
        Value::Bool(_) | Value::Null => 1,
    }
}

fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::String(text) => AttributeValue::String(text),
        Value::Int(value) => AttributeValue::Int(value),
        Value::Double(value) => AttributeValue::Double(value),
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Bytes(bytes) => AttributeValue::Bytes(bytes),
        Value::Json(text) => AttributeValue::Json(text),
        Value::Null => AttributeValue::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IngestConfig;
    use greylight_store::ByteSize;

    const NOW: Timestamp = Timestamp::from_millis(1_795_255_200_000);

    fn one(record: Record, config: &IngestConfig) -> Result<LogRecord, String> {
        let labels = vec![("app".to_owned(), "cart".to_owned())];
        let stream = Stream { labels, records: vec![record] };
        let (mut batch, refusals) = intake(vec![stream], &Limits::new(config, NOW));
        batch.records.pop().ok_or_else(|| refusals.message())
    }

    #[test]
    fn times_fall_back_to_observed_and_then_to_now() {
        let config = IngestConfig::default();
        let of = |time_ns, observed_ns| {
            let record = one(Record { time_ns, observed_ns, ..Record::default() }, &config).expect("taken");
            (record.time.as_nanos(), record.observed_time.as_nanos())
        };
        assert_eq!(of(Some(5), Some(7)), (5, 7));
        assert_eq!(of(None, Some(7)), (7, 7));
        assert_eq!(of(None, None), (NOW.as_nanos(), NOW.as_nanos()));
        assert_eq!(of(Some(-5), Some(i64::MAX)), (-5, NOW.as_nanos()));
    }

    #[test]
    fn records_far_in_the_future_are_refused() {
        let config = IngestConfig::default();
        let at = |ms: i64| {
            let record = Record { time_ns: Some(NOW.as_nanos() + ms * 1_000_000), ..Record::default() };
            one(record, &config)
        };
        at(600_000).expect("ten minutes are taken");
        assert_eq!(
            at(600_001),
            Err("log record of {app=\"cart\"} at 2026-11-21T10:10:00.001Z lies more than 600s in the future of \
                 2026-11-21T10:00:00Z"
                .into())
        );
    }

    #[test]
    fn long_bodies_are_cut_and_flagged() {
        let config = IngestConfig { line_bytes_max: ByteSize(16), ..IngestConfig::default() };
        let body = "长".repeat(7);
        let record = one(Record { body, ..Record::default() }, &config).expect("taken");
        assert_eq!(record.body, "长".repeat(5));
        assert_eq!(record.attributes, [(TRUNCATED.to_owned(), AttributeValue::Int(21))]);
    }

    #[test]
    fn attributes_over_the_limits_are_refused() {
        let config =
            IngestConfig { attributes_max: 2, attribute_bytes_max: ByteSize(20), ..IngestConfig::default() };
        let of = |pairs: &[(&str, &str)]| {
            let attributes =
                pairs.iter().map(|(n, v)| ((*n).to_owned(), Value::String((*v).to_owned()))).collect();
            one(Record { attributes, ..Record::default() }, &config).map(|record| record.attributes.len())
        };
        assert_eq!(of(&[("a", "1"), ("b", "2")]), Ok(2));
        assert!(
            of(&[("a", "1"), ("b", "2"), ("c", "3")])
                .expect_err("three")
                .contains("has 3 attributes, the limit is 2")
        );
        assert!(
            of(&[("a", &"v".repeat(20))])
                .expect_err("21 bytes")
                .contains("21 bytes of attributes, the limit is 20")
        );
        assert!(of(&[("", "1")]).expect_err("no name").contains("name of 0 bytes"));
    }
}
