//! Attribute values: as text for labels, as typed values for records.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};

use crate::logs::Value;

/// Writes a value as a label's text. Lists and maps become JSON, bytes base64, nothing the empty string.
pub(super) fn as_text(value: &AnyValue) -> Cow<'_, str> {
    match &value.value {
        Some(Any::StringValue(text)) => Cow::Borrowed(text),
        Some(Any::BoolValue(value)) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Some(Any::IntValue(value)) => Cow::Owned(value.to_string()),
        Some(Any::BytesValue(bytes)) => Cow::Owned(BASE64.encode(bytes)),
        Some(Any::StringValueStrindex(_)) | None => Cow::Borrowed(""),
        Some(Any::DoubleValue(_) | Any::ArrayValue(_) | Any::KvlistValue(_)) => {
            Cow::Owned(to_json(value).to_string())
        }
    }
}

/// Moves a value into a record's attribute.
pub(super) fn into_value(value: Option<AnyValue>) -> Value {
    let Some(value) = value else { return Value::Null };
    match value.value {
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(value)) => Value::Int(value),
        Some(Any::DoubleValue(value)) => Value::Double(value),
        Some(Any::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(Any::ArrayValue(_) | Any::KvlistValue(_)) => Value::Json(to_json(&value).to_string()),
        // Index into a table that only the profiles signal has.
        Some(Any::StringValueStrindex(_)) | None => Value::Null,
    }
}

/// Makes the message of an attribute.
pub(super) fn from_value(value: &Value) -> AnyValue {
    let value = match value {
        Value::String(text) | Value::Json(text) => Some(Any::StringValue(text.clone())),
        Value::Int(value) => Some(Any::IntValue(*value)),
        Value::Double(value) => Some(Any::DoubleValue(*value)),
        Value::Bool(value) => Some(Any::BoolValue(*value)),
        Value::Bytes(bytes) => Some(Any::BytesValue(bytes.clone())),
        Value::Null => None,
    };
    AnyValue { value }
}

/// Finds the attribute of this name.
pub(super) fn find<'a>(attributes: &'a [KeyValue], name: &str) -> Option<Cow<'a, str>> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref().map(as_text).filter(|text| !text.is_empty())
}

/// Nesting is bounded by the decoders: prost stops at 100 levels, serde_json at 128.
fn to_json(value: &AnyValue) -> serde_json::Value {
    use serde_json::Value as Json;
    match &value.value {
        Some(Any::StringValue(text)) => Json::String(text.clone()),
        Some(Any::BoolValue(value)) => Json::Bool(*value),
        Some(Any::IntValue(value)) => Json::from(*value),
        Some(Any::DoubleValue(value)) => {
            // JSON has no word for these; text keeps them readable.
            serde_json::Number::from_f64(*value).map_or_else(|| Json::String(value.to_string()), Json::Number)
        }
        Some(Any::BytesValue(bytes)) => Json::String(BASE64.encode(bytes)),
        Some(Any::ArrayValue(list)) => Json::Array(list.values.iter().map(to_json).collect()),
        Some(Any::KvlistValue(map)) => Json::Object(
            map.values
                .iter()
                .map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Json::Null, to_json)))
                .collect(),
        ),
        Some(Any::StringValueStrindex(_)) | None => Json::Null,
    }
}
