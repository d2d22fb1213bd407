//! A log record as JSON, the same wherever our own API shows one.

use greylight_store::model::{AttributeValue, Labels, LogRecord, hex, severity_word};
use greylight_store::read::FoundRecord;
use serde_json::{Map, Value, json};

fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.into(), value.into())).collect())
}

fn attribute_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::String(text) => text.as_str().into(),
        AttributeValue::Int(n) => (*n).into(),
        AttributeValue::Double(n) => (*n).into(),
        AttributeValue::Bool(b) => (*b).into(),
        AttributeValue::Bytes(bytes) => hex(bytes).into(),
        AttributeValue::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        AttributeValue::Null => Value::Null,
    }
}

/// Writes a log record as log searches and verdicts give it.
pub fn record_json(found: &FoundRecord) -> Value {
    let record: &LogRecord = &found.record;
    let word = severity_word(record.severity_number);
    let severity = if word.is_empty() { record.severity_text.as_str() } else { word };
    let attributes: Map<String, Value> =
        record.attributes.iter().map(|(name, value)| (name.clone(), attribute_json(value))).collect();
    json!({
        "time": record.time.to_string(),
        "observed_time": record.observed_time.to_string(),
        "severity": severity,
        "severity_number": record.severity_number,
        "body": record.body,
        "labels": labels_json(&record.labels),
        "attributes": attributes,
        "trace_id": record.trace_id.map(|id| hex(&id)),
        "span_id": record.span_id.map(|id| hex(&id)),
        "pattern": found.template.to_string(),
        "id": found.id.to_string(),
    })
}
