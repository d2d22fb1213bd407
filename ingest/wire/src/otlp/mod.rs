//! OpenTelemetry's protocol: metrics as Prometheus samples, native histograms and exemplars, logs as [records](crate::logs), and an encoder
//! for log exports.
//!
//! The messages are those of `opentelemetry-proto`; [`decode`] reads them from either encoding.

mod names;
mod json;
mod value;
mod exemplar;
mod exponential;
mod metrics;
mod logs;

pub use exemplar::PointExemplar;
pub use logs::{LogOptions, ResourceRecords, encode_logs, split_logs, translate_logs};
pub use metrics::{MetricOptions, MetricSink, Refused, translate_metrics};
pub use names::{label_name, metric_name};
pub use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse},
};

/// The two encodings of OTLP over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// Reads the encoding off a `Content-Type`; parameters are ignored. `None` for any other media type.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or("").trim();
        if media.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Self::Protobuf)
        } else if media.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// The media type, which the answer has too.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Why a body is no OTLP request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// Not the protobuf message that it should be.
    #[error("malformed protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Not the JSON that it should be.
    #[error("malformed JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A request of OTLP that [`decode`] reads; the messages of metrics and logs are.
pub trait Export: prost::Message + Default + sealed::Described {}

impl Export for ExportMetricsServiceRequest {}
impl Export for ExportLogsServiceRequest {}

mod sealed {
    use super::json;

    /// Knows what its JSON looks like.
    pub trait Described {
        /// Returns the table that describes it.
        fn schema() -> &'static json::Message;
    }

    impl Described for super::ExportMetricsServiceRequest {
        fn schema() -> &'static json::Message {
            &json::EXPORT_METRICS
        }
    }

    impl Described for super::ExportLogsServiceRequest {
        fn schema() -> &'static json::Message {
            &json::EXPORT_LOGS
        }
    }
}

/// Decodes a request from either encoding. An empty protobuf body is an empty request.
///
/// # Errors
/// [`OtlpError`] with the decoder's position.
pub fn decode<M: Export>(encoding: Encoding, body: &[u8]) -> Result<M, OtlpError> {
    Ok(match encoding {
        Encoding::Protobuf => M::decode(body)?,
        Encoding::Json => M::decode(json::to_protobuf(M::schema(), body)?.as_slice())?,
    })
}

/// Clamps OTLP's unsigned times. What lies past the year 2262 becomes the last instant that can be named,
/// which receivers refuse as lying in the future.
fn nanos(time: u64) -> Option<i64> {
    (time != 0).then(|| i64::try_from(time).unwrap_or(i64::MAX))
}

/// The attribute that names which side of a release a process runs; becomes the label `track`.
const TRACK: &str = "greylight.track";

/// Says whether a resource attribute's name is a label's as it stands. OpenTelemetry's own names have a dot, so
/// this one was given by hand (`zone`, `instance`), by someone who wants to select by it.
fn is_plain(attribute: &str) -> bool {
    let mut bytes = attribute.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Names the label for a resource attribute.
fn promoted_name(attribute: &str) -> std::borrow::Cow<'_, str> {
    if attribute == TRACK { "track".into() } else { label_name(attribute) }
}

#[cfg(test)]
mod tests;
