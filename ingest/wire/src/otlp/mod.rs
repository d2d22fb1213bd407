//! OpenTelemetry's protocol: metrics as Prometheus samples, logs as [records](crate::logs), and an encoder
//! for log exports.
//!
//! The messages are those of `opentelemetry-proto`; [`decode`] reads them from either encoding.

mod names;
mod strict;
mod value;
mod metrics;
mod logs;

pub use logs::{LogOptions, ResourceRecords, encode_logs, translate_logs};
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

/// Decodes a request from either encoding. An empty protobuf body is an empty request.
///
/// # Errors
/// [`OtlpError`] with the decoder's position.
pub fn decode<M>(encoding: Encoding, body: &[u8]) -> Result<M, OtlpError>
where
    M: prost::Message + Default + serde::de::DeserializeOwned,
{
    Ok(match encoding {
        Encoding::Protobuf => M::decode(body)?,
        Encoding::Json => crate::json::from_object(body)?,
    })
}

/// Decodes a metrics request. JSON whose numbers are none is refused here, with line and column, while
/// [`decode`] would leave out the whole metric: its types are read as alternatives, and one that does not
/// read counts as absent.
///
/// # Errors
/// [`OtlpError`] with the decoder's position.
pub fn decode_metrics(encoding: Encoding, body: &[u8]) -> Result<ExportMetricsServiceRequest, OtlpError> {
    let request: ExportMetricsServiceRequest = decode(encoding, body)?;
    let mut metrics = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics);
    if encoding == Encoding::Json && metrics.any(|metric| metric.data.is_none()) {
        strict::check(body)?;
    }
    Ok(request)
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
