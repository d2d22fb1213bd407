//! The HTTP doors: remote write, OTLP, Loki push, each with its protocol's own answers.
//!
//! The binary authenticates and puts a [`Caller`] into each request; without one a request is refused.

mod answer;
mod body;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::post;
use greylight_store::model::Caller;
use greylight_wire::compress::Encoding;
use greylight_wire::otlp;
use greylight_wire::remote_write::Version;

use crate::agents::{NAME_HEADER, PRODUCT, Sender};
use crate::error::IngestError;
use crate::receive::Ingest;
use crate::refusal::Outcome;
use crate::stats::Protocol;

/// Makes the router of every HTTP door. Paths are from the root.
///
/// | path | protocol | success |
/// |---|---|---|
/// | `/api/v1/write` | remote write 1.0 and 2.0 | 204 |
/// | `/v1/metrics`, `/api/v1/otlp/v1/metrics` | OTLP metrics | 200 |
/// | `/v1/logs`, `/otlp/v1/logs` | OTLP logs | 200 |
/// | `/loki/api/v1/push` | Loki push | 204 |
pub fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/api/v1/write", post(remote_write))
        .route("/v1/metrics", post(otlp_metrics))
        .route("/api/v1/otlp/v1/metrics", post(otlp_metrics))
        .route("/v1/logs", post(otlp_logs))
        .route("/otlp/v1/logs", post(otlp_logs))
        .route("/loki/api/v1/push", post(loki_push))
        .with_state(ingest)
}

#[tracing::instrument(skip_all)]
async fn remote_write(State(ingest): State<Ingest>, request: Request) -> Response {
    // What cannot be told apart is answered as 1.0, whose answers have nothing that 2.0 lacks.
    let version = Version::from_content_type(content_type(request.headers()));
    let answered_as = version.unwrap_or(Version::V1);
    let sender = sender(&request);
    let outcome = async {
        let version = version.ok_or_else(|| {
            unsupported_type(
                request.headers(),
                "application/x-protobuf, application/x-protobuf;proto=prometheus.WriteRequest or \
                 application/x-protobuf;proto=io.prometheus.write.v2.Request",
            )
        })?;
        match content_encoding(request.headers()) {
            "" | "snappy" => {}
            found => return Err(IngestError::ContentEncoding { found: found.to_owned(), allowed: "snappy" }),
        }
        let caller = authorise(&request)?;
        let (body, _admitted) = body::read(&ingest, request).await?;
        ingest.remote_write(&caller.tenant, version, body).await
    }
    .await;
    let protocol = match answered_as {
        Version::V1 => Protocol::RemoteWrite1,
        Version::V2 => Protocol::RemoteWrite2,
    };
    ingest.note(protocol, sender, &outcome);
    let response = answer::remote_write(ingest.config(), answered_as, outcome);
    ingest.stats().answered(protocol, response.status().as_u16());
    response
}

#[tracing::instrument(skip_all)]
async fn otlp_metrics(State(ingest): State<Ingest>, request: Request) -> Response {
    let (format, outcome) = otlp(&ingest, request, Signal::Metrics).await;
    let response = answer::otlp(ingest.config(), format, "rejectedDataPoints", outcome);
    ingest.stats().answered(Protocol::OtlpHttp, response.status().as_u16());
    response
}

#[tracing::instrument(skip_all)]
async fn otlp_logs(State(ingest): State<Ingest>, request: Request) -> Response {
    let (format, outcome) = otlp(&ingest, request, Signal::Logs).await;
    let response = answer::otlp(ingest.config(), format, "rejectedLogRecords", outcome);
    ingest.stats().answered(Protocol::OtlpHttp, response.status().as_u16());
    response
}

#[derive(Clone, Copy, Debug)]
enum Signal {
    Metrics,
    Logs,
}

/// Receives either signal; the answer goes out in the returned encoding.
async fn otlp(
    ingest: &Ingest,
    request: Request,
    signal: Signal,
) -> (otlp::Encoding, Result<Outcome, IngestError>) {
    let found = otlp::Encoding::from_content_type(content_type(request.headers()).unwrap_or(""));
    // An agent sends no metrics by this door, so what it brings is records.
    let sender = sender(&request).filter(|_| matches!(signal, Signal::Logs));
    let outcome = async {
        let format = found.ok_or_else(|| {
            unsupported_type(request.headers(), "application/x-protobuf or application/json")
        })?;
        let encoding = content_encoding(request.headers());
        let encoding = Encoding::from_header(encoding)
            .filter(|encoding| *encoding != Encoding::Snappy)
            .ok_or_else(|| IngestError::ContentEncoding {
                found: encoding.to_owned(),
                allowed: "gzip, zstd, deflate or identity",
            })?;
        let caller = authorise(&request)?;
        let (body, _admitted) = body::read(ingest, request).await?;
        match signal {
            Signal::Metrics => ingest.otlp_metrics(&caller.tenant, format, encoding, body).await,
            Signal::Logs => ingest.otlp_logs(&caller.tenant, format, encoding, body).await,
        }
    }
    .await;
    ingest.note(Protocol::OtlpHttp, sender, &outcome);
    (found.unwrap_or(otlp::Encoding::Json), outcome)
}

#[tracing::instrument(skip_all)]
async fn loki_push(State(ingest): State<Ingest>, request: Request) -> Response {
    let outcome = async {
        // Loki parses a media type, whatever it is; only JSON's is told apart.
        let media = content_type(request.headers()).filter(|media| !media.trim().is_empty());
        let media = media.ok_or_else(|| {
            unsupported_type(request.headers(), "application/json or application/x-protobuf")
        })?;
        let format = match otlp::Encoding::from_content_type(media) {
            Some(otlp::Encoding::Json) => otlp::Encoding::Json,
            _ => otlp::Encoding::Protobuf,
        };
        let found = content_encoding(request.headers());
        let encoding = match Encoding::from_header(found) {
            // Protobuf is in snappy anyway, whether the header says so or not.
            Some(Encoding::Snappy) if format == otlp::Encoding::Protobuf => Encoding::Identity,
            Some(encoding @ (Encoding::Identity | Encoding::Gzip | Encoding::Deflate)) => encoding,
            _ => {
                let allowed = "gzip, deflate or, for protobuf, snappy";
                return Err(IngestError::ContentEncoding { found: found.to_owned(), allowed });
            }
        };
        let caller = authorise(&request)?;
        let (body, _admitted) = body::read(&ingest, request).await?;
        ingest.loki(&caller.tenant, format, encoding, body).await
    }
    .await;
    ingest.note(Protocol::Loki, None, &outcome);
    let response = answer::loki(ingest.config(), outcome);
    ingest.stats().answered(Protocol::Loki, response.status().as_u16());
    response
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    // A value that is no text matches no media type.
    headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"))
}

fn content_encoding(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?").trim())
}

fn unsupported_type(headers: &HeaderMap, allowed: &'static str) -> IngestError {
    IngestError::ContentType { found: content_type(headers).unwrap_or("").to_owned(), allowed }
}

/// Finds out whether an agent of ours sends this, and which.
fn sender(request: &Request) -> Option<Sender> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let version = header(header::USER_AGENT.as_str())?.strip_prefix(PRODUCT)?;
    let caller = request.extensions().get::<Caller>()?;
    Some(Sender::new(caller.tenant.clone(), header(NAME_HEADER).unwrap_or(""), version))
}

fn authorise(request: &Request) -> Result<Caller, IngestError> {
    crate::receive::authorise(request.extensions().get::<Caller>()).cloned()
}
