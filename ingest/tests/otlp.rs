//! OTLP over HTTP.

use greylight_store::model::{Buckets, Histogram, Span};
use greylight_wire::compress::{Encoding, encode};
use greylight_wire::logs::{Record, Value};
use greylight_wire::otlp::{
    ExportLogsServiceRequest, ExportLogsServiceResponse, ExportMetricsServiceRequest,
    ExportMetricsServiceResponse, ResourceRecords, encode_logs,
};
use prost::Message as _;

use crate::fixture::{Fixture, NOW_MS};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// A gauge and, if asked for, a metric that is refused.
pub(crate) fn metrics(extra: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"cart"}}}},
            {{"key":"greylight.track","value":{{"stringValue":"canary"}}}}]}},
        "scopeMetrics":[{{"metrics":[{{"name":"queue.length","gauge":{{"dataPoints":[
            {{"timeUnixNano":"{NOW_MS}000000","asInt":"7"}}]}}}}{extra}]}}]}}]}}"#
    )
}

pub(crate) const DELTA: &str = r#",{"name":"d","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
    {"timeUnixNano":"5","asInt":"1"},{"timeUnixNano":"6","asInt":"1"}]}}"#;

fn as_protobuf(json: &str) -> Vec<u8> {
    let request: ExportMetricsServiceRequest = serde_json::from_str(json).expect("valid JSON");
    request.encode_to_vec()
}

#[tokio::test]
async fn metrics_come_in_both_encodings_and_all_compressions() {
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
        let fixture = Fixture::new().await;
        let header = ("content-encoding", encoding.name());
        for path in ["/v1/metrics", "/api/v1/otlp/v1/metrics"] {
            let answer = fixture.post(path, &[JSON, header], encode(encoding, metrics("").as_bytes())).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "{}"));
            assert_eq!(answer.header("content-type"), "application/json");
            let answer =
                fixture.post(path, &[PROTOBUF, header], encode(encoding, &as_protobuf(&metrics("")))).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
            assert_eq!(answer.header("content-type"), "application/x-protobuf");
        }
        assert_eq!(
            fixture.samples("queue_length"),
            [format!("queue_length{{job=\"cart\", service_name=\"cart\", track=\"canary\"}} @{NOW_MS} 7")]
        );
        assert_eq!(fixture.samples("target_info").len(), 1);
    }
}

#[tokio::test]
async fn what_is_refused_is_a_partial_success() {
    let fixture = Fixture::new().await;
    let answer = fixture.post("/v1/metrics", &[JSON], metrics(DELTA)).await;
    assert_eq!(answer.status, 200);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["partialSuccess"]["rejectedDataPoints"], "2");
    let message = body["partialSuccess"]["errorMessage"].as_str().expect("a message");
    assert!(message.contains("delta") && message.contains("\"d\""), "{message}");
    let answer = fixture.post("/v1/metrics", &[PROTOBUF], as_protobuf(&metrics(DELTA))).await;
    let response = ExportMetricsServiceResponse::decode(&answer.body[..]).expect("protobuf");
    assert_eq!(response.partial_success.map(|partial| partial.rejected_data_points), Some(2));
    assert_eq!(fixture.samples("queue_length").len(), 1);
}

#[tokio::test]
async fn exponential_histograms_and_exemplars_are_stored() {
    for format in [JSON, PROTOBUF] {
        let fixture = Fixture::new().await;
        let histogram = format!(
            r#",{{"name":"h","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{NOW_MS}000000",
            "count":"6","sum":2.5,"scale":9,"zeroCount":"1","positive":{{"offset":-3,"bucketCounts":["1","2","2"]}},
            "exemplars":[{{"timeUnixNano":"5000000","asDouble":1.5,"traceId":"5b8efff798038103d269b633813fc60c"}}]}}]}}}}"#
        );
        let json = metrics(&histogram);
        let body = if format == JSON { json.into_bytes() } else { as_protobuf(&json) };
        let answer = fixture.post("/v1/metrics", &[format], body).await;
        assert_eq!(answer.status, 200);
        assert!(matches!(answer.body.as_slice(), b"{}" | b""), "{}", answer.text());
        let want = Histogram {
            schema: 8,
            zero_threshold: 1e-128,
            zero_count: 1.0,
            count: 6.0,
            sum: 2.5,
            positive: Buckets { spans: vec![Span { offset: -1, length: 2 }], counts: vec![1.0, 4.0] },
            ..Histogram::default()
        };
        assert_eq!(fixture.histograms("h"), [(NOW_MS, want)]);
        assert_eq!(
            fixture.exemplars(),
            ["h{job=\"cart\", service_name=\"cart\", track=\"canary\"} \
              {trace_id=\"5b8efff798038103d269b633813fc60c\"} @5 1.5"]
        );
        let page = fixture.page();
        assert!(page.contains("greylight_ingest_histograms_total{protocol=\"otlp_http\"} 1\n"), "{page}");
        assert!(page.contains("greylight_ingest_exemplars_total{protocol=\"otlp_http\"} 1\n"), "{page}");
    }
}

#[tokio::test]
async fn histograms_that_make_no_sense_are_a_partial_success() {
    let fixture = Fixture::new().await;
    let histogram = r#",{"name":"h","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
        {"timeUnixNano":"5000000","count":"1","positive":{"bucketCounts":["7"]},"exemplars":[{"asInt":"1"}]},
        {"timeUnixNano":"6000000","count":"1","scale":-5},{"timeUnixNano":"7000000","count":"1"}]}}"#;
    let answer = fixture.post("/v1/metrics", &[JSON], metrics(histogram)).await;
    assert!(answer.text().contains(r#""rejectedDataPoints":"2""#), "{}", answer.text());
    assert!(answer.text().contains("7 observations in buckets, of 1"), "{}", answer.text());
    assert!(answer.text().contains("scale below -4"), "{}", answer.text());
    assert_eq!(fixture.histograms("h").len(), 1);
    assert_eq!(fixture.exemplars(), [""; 0]);
    assert_eq!(fixture.samples("queue_length").len(), 1);
}

#[tokio::test]
async fn points_in_the_future_count_once() {
    let fixture = Fixture::new().await;
    let histogram = format!(
        r#",{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{}",
        "count":"1","sum":1.0,"bucketCounts":["1","0"],"explicitBounds":[1.0]}}]}}}}"#,
        u64::MAX
    );
    let answer = fixture.post("/v1/metrics", &[JSON], metrics(&histogram)).await;
    assert!(answer.text().contains(r#""rejectedDataPoints":"1""#), "{}", answer.text());
    assert!(answer.text().contains("in the future"), "{}", answer.text());
    assert_eq!(fixture.samples("queue_length").len(), 1);
}

#[tokio::test]
async fn errors_are_a_status_in_the_request_s_encoding() {
    let fixture = Fixture::new().await;
    let broken: [(&str, &str); 3] = [
        ("{", "malformed JSON: EOF"),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"soon"}]}}]}]}]}"#,
            "malformed JSON: timeUnixNano: \"soon\" is not an unsigned integer in range at line 1 column",
        ),
        ("[]", "malformed JSON: invalid type: sequence, expected an object at line 1 column"),
    ];
    for (body, text) in broken {
        let answer = fixture.post("/v1/metrics", &[JSON], body).await;
        assert_eq!(answer.status, 400);
        let status: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(status["code"], 3);
        assert!(status["message"].as_str().is_some_and(|message| message.contains(text)), "{status}");
    }
    let answer = fixture.post("/v1/logs", &[PROTOBUF], vec![0x0a, 0x7f]).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "application/x-protobuf"));
    // Field 1, code 3; field 2, the message.
    assert_eq!(answer.body[..3], [0x08, 0x03, 0x12]);
    assert!(String::from_utf8_lossy(&answer.body).contains("malformed protobuf"));
}

#[tokio::test]
async fn types_encodings_and_sizes_are_checked() {
    let fixture = Fixture::new().await;
    let of = |headers: Vec<(&'static str, &'static str)>, body: Vec<u8>| {
        let fixture = &fixture;
        async move { fixture.post("/v1/logs", &headers, body).await }
    };
    let answer = of(vec![("content-type", "text/plain")], Vec::new()).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("content type \\\"text/plain\\\" is not supported"), "{}", answer.text());
    assert_eq!(of(vec![], Vec::new()).await.status, 415);
    let answer = of(vec![JSON, ("content-encoding", "br")], Vec::new()).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("use gzip, zstd, deflate or identity"), "{}", answer.text());
    let bomb = encode(Encoding::Gzip, &vec![b' '; 20 << 20]);
    let answer = of(vec![JSON, ("content-encoding", "gzip")], bomb).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("the limit of 100 times"), "{}", answer.text());
    let answer = of(vec![JSON, ("content-encoding", "gzip")], b"not gzip".to_vec()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("not valid gzip"), "{}", answer.text());
    assert_eq!(of(vec![PROTOBUF], Vec::new()).await.status, 200);
}

fn export(times_ns: &[i64]) -> Vec<u8> {
    let records = times_ns
        .iter()
        .enumerate()
        .map(|(i, time_ns)| Record {
            time_ns: Some(*time_ns),
            body: format!("line {i}"),
            uid: Some(format!("u{i}")),
            ..Record::default()
        })
        .collect();
    let resource = vec![("service.name".to_owned(), Value::String("cart".into()))];
    encode_logs(&[ResourceRecords { resource, records }])
}

#[tokio::test]
async fn logs_are_taken_and_those_of_the_future_refused() {
    let fixture = Fixture::new().await;
    let now = NOW_MS * 1_000_000;
    let answer = fixture.post("/v1/logs", &[PROTOBUF], export(&[now, 1, now - 1])).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    let answer = fixture.post("/otlp/v1/logs", &[PROTOBUF], export(&[now, now + 601_000_000_000])).await;
    let response = ExportLogsServiceResponse::decode(&answer.body[..]).expect("protobuf");
    let partial = response.partial_success.expect("one was refused");
    assert_eq!(partial.rejected_log_records, 1);
    assert!(
        partial
            .error_message
            .starts_with("log record of {job=\"cart\", service_name=\"cart\"} at 2026-11-21T10:10:01Z")
    );
    assert!(fixture.page().contains("greylight_ingest_log_records_total{protocol=\"otlp_http\"} 4"));
    assert!(fixture.page().contains("greylight_ingest_log_records_refused_total{protocol=\"otlp_http\"} 1"));
}

#[tokio::test]
async fn json_logs_are_taken() {
    let fixture = Fixture::new().await;
    let request = ExportLogsServiceRequest::decode(&export(&[5])[..]).expect("own output");
    let json = serde_json::to_string(&request).expect("JSON");
    let answer = fixture.post("/v1/logs", &[JSON], json).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{}"));
}

#[tokio::test]
async fn agents_that_send_are_known_and_refusals_counted_by_reason() {
    use greylight_store::model::TenantId;
    let fixture = Fixture::new().await;
    let agent = [("user-agent", "greylight-agent/0.1.0"), ("x-greylight-agent", "host-1")];
    let now = NOW_MS * 1_000_000;
    let headers: Vec<_> = agent.into_iter().chain([PROTOBUF]).collect();
    fixture.post("/v1/logs", &headers, export(&[now, now + 601_000_000_000])).await;
    // Others are not listed, whatever they send.
    fixture.post("/v1/logs", &[PROTOBUF, ("user-agent", "OTel-Collector/1")], export(&[now - 1])).await;
    fixture.post("/v1/logs", &[PROTOBUF], vec![0x0a, 0x7f]).await;
    let agents = fixture.ingest.agents(&TenantId::default());
    let [only] = &agents[..] else { panic!("{agents:?}") };
    assert_eq!((only.name.as_str(), only.version.as_str()), ("host-1", "0.1.0"));
    assert_eq!((only.n_samples, only.n_records, only.n_refused), (0, 1, 1));
    let refusals = fixture.ingest.stats().refusals_of(greylight_ingest::Protocol::OtlpHttp);
    let shown: Vec<_> = refusals.iter().map(|r| (r.reason, r.is_request, r.count)).collect();
    assert_eq!(shown, [("time", false, 1), ("malformed", true, 1)]);
}
