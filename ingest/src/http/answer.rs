//! Each protocol's answers.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use greylight_store::model::ErrorKind;
use greylight_wire::otlp;
use greylight_wire::remote_write::Version;
use prost::Message as _;

use crate::config::IngestConfig;
use crate::error::IngestError;
use crate::refusal::Outcome;

/// Answers remote write: 204; 400 with the reason if anything was refused, after the rest was stored; else
/// the error as text. 2.0's senders also want to be told what was written, whatever the answer. Those of 1.0
/// are told about samples as well, since 400 alone does not say how many are lost.
pub(super) fn remote_write(
    config: &IngestConfig,
    version: Version,
    outcome: Result<Outcome, IngestError>,
) -> Response {
    let (n_stored, n_histograms, n_exemplars) = outcome
        .as_ref()
        .map_or((0, 0, 0), |outcome| (outcome.n_stored, outcome.n_histograms, outcome.n_exemplars));
    let mut response = plain(config, outcome, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let headers = response.headers_mut();
    headers.insert("x-prometheus-remote-write-samples-written", HeaderValue::from(n_stored - n_histograms));
    if version == Version::V2 {
        headers.insert("x-prometheus-remote-write-histograms-written", HeaderValue::from(n_histograms));
        headers.insert("x-prometheus-remote-write-exemplars-written", HeaderValue::from(n_exemplars));
    }
    response
}

/// Answers a Loki push: 204; 400 with the reason if anything was refused, after the rest was stored. Loki
/// says 400 also to types and encodings that it does not know.
pub(super) fn loki(config: &IngestConfig, outcome: Result<Outcome, IngestError>) -> Response {
    plain(config, outcome, StatusCode::BAD_REQUEST)
}

fn plain(config: &IngestConfig, outcome: Result<Outcome, IngestError>, unsupported: StatusCode) -> Response {
    match outcome {
        Ok(outcome) if outcome.refusals.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(outcome) => {
            let message = outcome.refusals.message();
            tracing::debug!(n_stored = outcome.n_stored, message, "part of a request refused");
            text(StatusCode::BAD_REQUEST, message)
        }
        Err(error) => {
            let status = status(&error, unsupported);
            let response = text(status, error.to_string());
            retry_after(config, &error, response)
        }
    }
}

fn text(status: StatusCode, message: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, message + "\n").into_response()
}

/// Answers OTLP: 200, with `partial_success` if anything was refused; else a `google.rpc.Status`. Both in
/// the request's encoding.
///
/// - `rejected`: the JSON name of the message's count; in protobuf it is field 1 of both signals.
pub(super) fn otlp(
    config: &IngestConfig,
    format: otlp::Encoding,
    rejected: &'static str,
    outcome: Result<Outcome, IngestError>,
) -> Response {
    match outcome {
        Ok(outcome) => {
            let body = if outcome.refusals.is_empty() {
                match format {
                    otlp::Encoding::Protobuf => Vec::new(),
                    otlp::Encoding::Json => b"{}".to_vec(),
                }
            } else {
                let message = outcome.refusals.message();
                tracing::debug!(n_stored = outcome.n_stored, message, "part of a request refused");
                partial_success(format, rejected, outcome.refusals.n_items(), message)
            };
            encoded(StatusCode::OK, format, body)
        }
        Err(error) => {
            let status = status(&error, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            let rpc = RpcStatus { code: rpc_code(error.kind()), message: error.to_string() };
            let body = match format {
                otlp::Encoding::Protobuf => rpc.encode_to_vec(),
                otlp::Encoding::Json => {
                    serde_json::json!({ "code": rpc.code, "message": rpc.message }).to_string().into_bytes()
                }
            };
            retry_after(config, &error, encoded(status, format, body))
        }
    }
}

fn encoded(status: StatusCode, format: otlp::Encoding, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, format.content_type())], Body::from(body)).into_response()
}

fn partial_success(format: otlp::Encoding, rejected: &str, n_rejected: usize, message: String) -> Vec<u8> {
    match format {
        otlp::Encoding::Protobuf => {
            let rejected_items = i64::try_from(n_rejected).unwrap_or(i64::MAX);
            let partial = PartialSuccess { rejected_items, error_message: message };
            ExportResponse { partial_success: Some(partial) }.encode_to_vec()
        }
        // 64-bit integers are strings in protobuf's JSON.
        otlp::Encoding::Json => {
            serde_json::json!({ "partialSuccess": { rejected: n_rejected.to_string(), "errorMessage": message } })
                .to_string()
                .into_bytes()
        }
    }
}

/// The response of both signals, which differ in nothing but a field's name.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_items: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Numbers of `google.rpc.Code`.
fn rpc_code(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::Invalid => 3,
        ErrorKind::NotFound => 5,
        ErrorKind::Forbidden => 7,
        ErrorKind::TooLarge | ErrorKind::Limit | ErrorKind::RateLimited => 8,
        ErrorKind::Conflict => 9,
        ErrorKind::Internal => 13,
        ErrorKind::Unavailable => 14,
        ErrorKind::Unauthorized => 16,
    }
}

/// The statuses that HTTP has a word for and errors have no kind; any other is the kind's.
fn status(error: &IngestError, unsupported: StatusCode) -> StatusCode {
    match error {
        IngestError::ContentType { .. } | IngestError::ContentEncoding { .. } => unsupported,
        IngestError::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
        error => StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Tells a sender that may come again when to; logs what a person should know of.
fn retry_after(config: &IngestConfig, error: &IngestError, mut response: Response) -> Response {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::RateLimited => {
            let seconds = HeaderValue::from(config.retry_after.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            tracing::warn!(%error, "request refused for now");
        }
        ErrorKind::Internal => tracing::error!(%error, "request failed"),
        _ => tracing::debug!(%error, "request refused"),
    }
    response
}
