//! Loki's push, JSON and protobuf, into streams of [records](crate::logs).
//!
//! A stream's labels become the labels, structured metadata the attributes. Two things that Loki itself
//! adds are settings ([`LokiOptions`]): a `service_name` label and a severity found in the line.

mod selector;
mod json;
mod protobuf;

use crate::logs::{Record, Stream, Value, sort_labels};
use crate::proto::DecodeError;
use crate::severity;

pub use selector::{SelectorError, parse_labels};

/// What is added to what was sent.
#[derive(Clone, Copy, Debug)]
pub struct LokiOptions {
    /// Adds a `service_name` label where there is none, from the first of the labels that usually name a
    /// service, else `unknown_service`.
    pub discover_service_name: bool,
    /// Finds the severity in level-like labels and metadata, then in the line.
    pub detect_severity: bool,
}

impl Default for LokiOptions {
    fn default() -> Self {
        Self { discover_service_name: true, detect_severity: true }
    }
}

/// Why a push was refused as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LokiError {
    /// Not the JSON that it should be, a timestamp that is no number among it.
    #[error("malformed push: {0}")]
    Json(#[from] serde_json::Error),
    /// Not the protobuf message that it should be.
    #[error(transparent)]
    Protobuf(#[from] DecodeError),
    /// Labels that do not parse.
    #[error("invalid stream labels {labels:?}: {source}")]
    Labels {
        /// The labels, cut to 200 characters.
        labels: String,
        /// What is wrong.
        source: SelectorError,
    },
    /// A label name that LogQL could not write.
    #[error("invalid label name {name:?}: names are letters, digits and '_' and do not begin with a digit")]
    LabelName {
        /// The name, cut to 200 characters.
        name: String,
    },
    /// A time outside of what nanoseconds since the epoch can name.
    #[error("timestamp of {seconds} seconds is out of range")]
    Timestamp {
        /// The time as sent.
        seconds: i64,
    },
}

/// Decodes a JSON push.
///
/// # Errors
/// [`LokiError`], with line and column of what is wrong.
pub fn decode_json(body: &[u8], options: LokiOptions) -> Result<Vec<Stream>, LokiError> {
    Ok(finish(json::decode(body)?, options))
}

/// Decodes a `logproto.PushRequest`, decompressed.
///
/// # Errors
/// [`LokiError`].
pub fn decode_protobuf(body: &[u8], options: LokiOptions) -> Result<Vec<Stream>, LokiError> {
    Ok(finish(protobuf::decode(body)?, options))
}

/// Labels and metadata that name a service, the most telling first.
const SERVICE_LABELS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Sorts labels and adds what the options say, as to what was pushed. Streams without records are left out.
pub fn finish(mut streams: Vec<Stream>, options: LokiOptions) -> Vec<Stream> {
    streams.retain(|stream| !stream.records.is_empty());
    for stream in &mut streams {
        if options.discover_service_name {
            add_service_name(&mut stream.labels);
        }
        sort_labels(&mut stream.labels);
        if options.detect_severity {
            let of_stream = stream.labels.iter().find(|(name, _)| severity::is_level_name(name));
            let of_stream = of_stream.map(|(_, word)| word.as_str());
            for record in &mut stream.records {
                set_severity(record, of_stream);
            }
        }
    }
    streams
}

fn add_service_name(labels: &mut Vec<(String, String)>) {
    let get = |wanted: &str| {
        labels.iter().find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value)
    };
    if get("service_name").is_some() {
        return;
    }
    let service = SERVICE_LABELS.iter().find_map(|name| get(name)).map_or("unknown_service", String::as_str);
    let service = service.to_owned();
    labels.retain(|(name, _)| name != "service_name");
    labels.push(("service_name".to_owned(), service));
}

fn set_severity(record: &mut Record, of_stream: Option<&str>) {
    let of_metadata = record.attributes.iter().find_map(|(name, value)| match value {
        Value::String(word) if severity::is_level_name(name) => Some(word.as_str()),
        _ => None,
    });
    let told = of_metadata.or(of_stream).map(|word| (severity::from_word(word).unwrap_or(0), word));
    if let Some((number, word)) = told.or_else(|| severity::detect(&record.body)) {
        record.severity_number = number;
        record.severity_text = word.to_owned();
    }
}

#[cfg(test)]
mod tests;
