//! OTLP over gRPC, through a real connection on loopback.

use axum::Extension;
use greylight_ingest::IngestConfig;
use greylight_store::model::{Caller, Scope, Scopes, TenantId};
use greylight_wire::logs::{Record, Value};
use greylight_wire::otlp::{ResourceRecords, encode_logs};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};

use crate::fixture::{Fixture, NOW_MS};
use crate::otlp::{DELTA, metrics};

/// Serves the fixture's receivers to a caller and connects to them.
async fn connect(fixture: &Fixture, scopes: Scopes) -> Channel {
    let caller = Caller { tenant: TenantId::default(), scopes };
    let router = greylight_ingest::grpc::router(fixture.ingest.clone()).layer(Extension(caller));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(Server::builder().add_routes(Routes::from(router)).serve_with_incoming(incoming));
    Channel::from_shared(format!("http://{address}")).expect("an address").connect().await.expect("a server")
}

fn metrics_request(extra: &str) -> ExportMetricsServiceRequest {
    serde_json::from_str(&metrics(extra)).expect("valid JSON")
}

#[tokio::test]
async fn metrics_and_logs_are_taken() {
    let fixture = Fixture::new().await;
    let channel = connect(&fixture, Scopes::all()).await;
    let mut client = MetricsServiceClient::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    let answer = client.export(metrics_request("")).await.expect("taken").into_inner();
    assert_eq!(answer.partial_success, None);
    assert_eq!(fixture.samples("queue_length").len(), 1);
    let answer = client.export(metrics_request(DELTA)).await.expect("taken").into_inner();
    let partial = answer.partial_success.expect("two points were refused");
    assert_eq!(partial.rejected_data_points, 2);
    assert!(partial.error_message.contains("delta"), "{}", partial.error_message);

    let record = Record { time_ns: Some(NOW_MS * 1_000_000), body: "hi".into(), ..Record::default() };
    let resource = vec![("service.name".to_owned(), Value::String("cart".into()))];
    let body = encode_logs(&[ResourceRecords { resource, records: vec![record] }]);
    let request = ExportLogsServiceRequest::decode(&body[..]).expect("own output");
    LogsServiceClient::new(channel).export(request).await.expect("taken");
    assert!(fixture.page().contains("greylight_ingest_log_records_total{protocol=\"otlp_grpc\"} 1"));
}

#[tokio::test]
async fn callers_without_the_right_are_refused() {
    let fixture = Fixture::new().await;
    let channel = connect(&fixture, [Scope::Read].into_iter().collect()).await;
    let error = MetricsServiceClient::new(channel).export(metrics_request("")).await.expect_err("no right");
    assert_eq!(error.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_full_server_is_unavailable() {
    let config = IngestConfig { requests_max: 1, ..IngestConfig::default() };
    let fixture = Fixture::with(config).await;
    let channel = connect(&fixture, Scopes::all()).await;
    let busy = crate::fixture::stalled();
    let router = fixture.router();
    let request = axum::http::Request::post("/api/v1/write").body(busy).expect("a request");
    let waiting = tokio::spawn(crate::fixture::send(router, request));
    crate::fixture::settle().await;
    let error = MetricsServiceClient::new(channel).export(metrics_request("")).await.expect_err("full");
    assert_eq!(error.code(), tonic::Code::Unavailable);
    assert!(error.message().contains("the limit is 1"), "{error}");
    waiting.abort();
}
