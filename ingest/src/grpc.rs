//! OpenTelemetry's metrics and logs services over gRPC.
//!
//! The binary serves [`router`] on the gRPC listener, behind its authentication, which puts a
//! [`Caller`] into each request. gzip is taken; zstd is not, since nothing here bounds its window.

use axum::extract::{Request as HttpRequest, State};
use axum::middleware::Next;
use axum::response::Response as HttpResponse;
use greylight_store::model::Caller;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::config::bytes;
use crate::error::IngestError;
use crate::receive::{Ingest, authorise};
use crate::stats::Protocol;

/// Memory that a call may take while it is received: gRPC tells a message's size only once it is read.
/// Exporters send a few hundred KiB; the OpenTelemetry Collector takes 4 MiB by default.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Makes the router of both services.
pub fn router(ingest: Ingest) -> axum::Router {
    let message_bytes_max = message_bytes_max(&ingest);
    let metrics = MetricsServiceServer::new(Receiver { ingest: ingest.clone() })
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(message_bytes_max);
    let logs = LogsServiceServer::new(Receiver { ingest: ingest.clone() })
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(message_bytes_max);
    Routes::new(metrics)
        .add_service(logs)
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(ingest, admit))
}

fn message_bytes_max(ingest: &Ingest) -> usize {
    bytes(ingest.config().decoded_bytes_max).min(MESSAGE_BYTES_MAX)
}

/// Lets a call in before its message is read.
async fn admit(State(ingest): State<Ingest>, request: HttpRequest, next: Next) -> HttpResponse {
    let caller = request.extensions().get::<Caller>().cloned();
    let admitted = async {
        authorise(caller.as_ref())?;
        ingest.store_ready().await?;
        ingest.admission().enter(message_bytes_max(&ingest)).await
    }
    .await;
    match admitted {
        Ok(_admitted) => next.run(request).await,
        Err(error) => {
            tracing::warn!(%error, "call refused");
            let status = status(&error);
            ingest.stats().answered(Protocol::OtlpGrpc, error.kind().status());
            ingest.note(Protocol::OtlpGrpc, None, &Err(error));
            status.into_http()
        }
    }
}

/// Both services.
#[derive(Debug)]
struct Receiver {
    ingest: Ingest,
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let caller = authorise(request.extensions().get::<Caller>()).cloned().map_err(|e| status(&e))?;
        let outcome = self.ingest.otlp_metrics_message(&caller.tenant, request.into_inner()).await;
        self.ingest.note(Protocol::OtlpGrpc, None, &outcome);
        let outcome = outcome.map_err(|error| self.refuse(&error))?;
        self.ingest.stats().answered(Protocol::OtlpGrpc, 200);
        let partial_success = (!outcome.refusals.is_empty()).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: i64::try_from(outcome.refusals.n_items()).unwrap_or(i64::MAX),
            error_message: outcome.refusals.message(),
        });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let caller = authorise(request.extensions().get::<Caller>()).cloned().map_err(|e| status(&e))?;
        let outcome = self.ingest.otlp_logs_message(&caller.tenant, request.into_inner()).await;
        self.ingest.note(Protocol::OtlpGrpc, None, &outcome);
        let outcome = outcome.map_err(|error| self.refuse(&error))?;
        self.ingest.stats().answered(Protocol::OtlpGrpc, 200);
        let partial_success = (!outcome.refusals.is_empty()).then(|| ExportLogsPartialSuccess {
            rejected_log_records: i64::try_from(outcome.refusals.n_items()).unwrap_or(i64::MAX),
            error_message: outcome.refusals.message(),
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

impl Receiver {
    fn refuse(&self, error: &IngestError) -> Status {
        tracing::warn!(%error, "call failed");
        self.ingest.stats().answered(Protocol::OtlpGrpc, error.kind().status());
        status(error)
    }
}

fn status(error: &IngestError) -> Status {
    Status::new(Code::from_i32(error.kind().grpc_code()), error.to_string())
}
