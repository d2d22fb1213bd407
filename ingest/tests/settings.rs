//! Each setting changes something.

use greylight_wire::compress::{Encoding, encode};
use greylight_wire::remote_write::{Encoder, Sample};

use crate::fixture::{Answer, Fixture, NOW_MS, send, settle, stalled};

fn write(labels: &[(&str, &str)], t_ms: i64) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.series(labels.iter().copied(), &[Sample { t_ms, value: 1.0 }]);
    encoder.finish()
}

/// Posts a series to a server with this setting.
async fn of(setting: &str, labels: &[(&str, &str)], t_ms: i64) -> Answer {
    let fixture = Fixture::with_json(setting).await;
    fixture.post("/api/v1/write", &[], write(labels, t_ms)).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "{}", answer.text());
}

const UP: &[(&str, &str)] = &[("__name__", "up"), ("instance", "a")];

#[tokio::test]
async fn sizes() {
    let fixture = Fixture::with_json(r#"{"body_bytes_max":"1KiB","decoded_bytes_max":"64KiB"}"#).await;
    let answer = fixture.post("/api/v1/write", &[], vec![0; 1025]).await;
    refused(&answer, 413, "larger than the limit of 1024 bytes");
    let fixture = Fixture::with_json(r#"{"decoded_bytes_max":"64KiB","body_bytes_max":"64KiB"}"#).await;
    let answer = fixture.write(&vec![0; 65537]).await;
    refused(&answer, 413, "larger than the limit of 65536 bytes");
    let fixture = Fixture::with_json(r#"{"expansion_max":2}"#).await;
    let answer = fixture.write(&vec![0; 3 << 20]).await;
    refused(&answer, 413, "the limit of 2 times");
}

#[tokio::test]
async fn series() {
    refused(&of(r#"{"labels_max":1}"#, UP, NOW_MS).await, 400, "has 2 labels, the limit is 1");
    let long = [("__name__", "up"), ("a_name_of_19_letters", "a")];
    refused(&of(r#"{"name_bytes_max":"16B"}"#, &long, NOW_MS).await, 400, "has 20 bytes, the limit is 16");
    let long = [("__name__", "up"), ("a", "a value of 20 letters")];
    refused(&of(r#"{"label_value_bytes_max":"16B"}"#, &long, NOW_MS).await, 400, "the limit is 16");
    assert_eq!(of(r#"{"future_max":"1h"}"#, UP, NOW_MS + 3_600_000).await.status, 204);
    refused(&of(r#"{"future_max":"1s"}"#, UP, NOW_MS + 1001).await, 400, "more than 1s in the future");
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn records() {
    let push = |metadata: &str| {
        format!(
            r#"{{"streams":[{{"stream":{{"app":"x"}},"values":[["5","a line of 24 letters ...",{metadata}]]}}]}}"#
        )
    };
    let path = "/loki/api/v1/push";
    let fixture = Fixture::with_json(r#"{"attributes_max":1}"#).await;
    let answer = fixture.post(path, &[JSON], push(r#"{"a":"1","b":"2"}"#)).await;
    refused(&answer, 400, "has 2 attributes, the limit is 1");
    let fixture = Fixture::with_json(r#"{"attribute_bytes_max":"16B"}"#).await;
    let answer = fixture.post(path, &[JSON], push(r#"{"a":"0123456789abcdef"}"#)).await;
    refused(&answer, 400, "17 bytes of attributes, the limit is 16");
    // A longer line is taken and cut; the unit test of records looks at how.
    let fixture = Fixture::with_json(r#"{"line_bytes_max":"16B"}"#).await;
    assert_eq!(fixture.post(path, &[JSON], push("{}")).await.status, 204);
}

#[tokio::test]
async fn otlp_labels() {
    let body = crate::otlp::metrics("").replace("\"metrics\":", "\"scope\":{\"name\":\"lib\"},\"metrics\":");
    let of = |setting: &'static str| {
        let body = body.clone();
        async move {
            let fixture = Fixture::with_json(setting).await;
            assert_eq!(fixture.post("/v1/metrics", &[JSON], body).await.status, 200);
            fixture.samples("queue_length").concat()
        }
    };
    assert!(of("{}").await.contains("otel_scope_name=\"lib\", service_name=\"cart\", track=\"canary\""));
    assert!(!of(r#"{"otlp_scope_labels":false}"#).await.contains("lib"));
    let labels = of(r#"{"otlp_metric_labels":["greylight.track"]}"#).await;
    assert!(labels.contains("track") && !labels.contains("service_name"), "{labels}");
}

#[tokio::test]
async fn room() {
    let fixture = Fixture::with_json(r#"{"requests_max":1,"retry_after":"7s"}"#).await;
    let request = axum::http::Request::post("/api/v1/write").body(stalled()).expect("a request");
    let waiting = tokio::spawn(send(fixture.router(), request));
    settle().await;
    assert_eq!(fixture.ingest.n_requests(), 1);
    let answer = fixture.post("/api/v1/write", &[], write(UP, NOW_MS)).await;
    refused(&answer, 503, "too many requests at once, the limit is 1");
    assert_eq!(answer.header("retry-after"), "7");
    waiting.abort();
    // The request that was given up gives its place back.
    let _ = waiting.await;
    assert_eq!(fixture.post("/api/v1/write", &[], write(UP, NOW_MS)).await.status, 204);

    // One body of unknown length takes five times the cap, which is all the room there is.
    let small = r#"{"body_bytes_max":"64KiB","decoded_bytes_max":"64KiB","in_flight_bytes_max":"64KiB","room_wait_max":"0s"}"#;
    let fixture = Fixture::with_json(small).await;
    let request = axum::http::Request::post("/api/v1/write").body(stalled()).expect("a request");
    let waiting = tokio::spawn(send(fixture.router(), request));
    settle().await;
    let answer = fixture
        .post(
            "/api/v1/write",
            &[],
            axum::body::Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(write(
                UP, NOW_MS,
            ))])),
        )
        .await;
    refused(&answer, 503, "too many bytes are being received at once, the limit is 65536");
    waiting.abort();
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    let fixture = Fixture::with_json(r#"{"body_time_max":"3s"}"#).await;
    let request = axum::http::Request::post("/api/v1/write").body(stalled()).expect("a request");
    let waiting = tokio::spawn(send(fixture.router(), request));
    settle().await;
    fixture.clock.advance(std::time::Duration::from_secs(2));
    settle().await;
    assert!(!waiting.is_finished());
    fixture.clock.advance(std::time::Duration::from_secs(1));
    refused(&waiting.await.expect("answered"), 408, "did not arrive within 3s");
}

#[tokio::test]
async fn encodings_stay_apart() {
    // The caps hold for what comes out of gzip as for what comes out of snappy.
    let fixture = Fixture::with_json(r#"{"expansion_max":2}"#).await;
    let body = encode(Encoding::Gzip, &vec![b' '; 3 << 20]);
    let answer = fixture.post("/v1/logs", &[JSON, ("content-encoding", "gzip")], body).await;
    refused(&answer, 413, "the limit of 2 times");
}
