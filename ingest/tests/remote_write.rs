//! Remote write, both versions.

use axum::body::Body;
use axum::http::Request;
use axum::{Extension, Router};
use greylight_store::model::{Caller, Scope, TenantId};
use greylight_wire::compress::{Encoding, encode};
use greylight_wire::remote_write::{Encoder, Sample};

use crate::fixture::{Answer, FUTURE_MAX, Fixture, NOW_MS, send};

/// Labels, and samples as time and value.
type SeriesOf<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

/// A request of 1.0, compressed.
fn request(series: &[SeriesOf<'_>]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for (labels, samples) in series {
        let samples: Vec<_> = samples.iter().map(|&(t_ms, value)| Sample { t_ms, value }).collect();
        encoder.series(labels.iter().copied(), &samples);
    }
    encoder.finish()
}

const UP: &[(&str, &str)] = &[("__name__", "up"), ("instance", "a")];

async fn post(fixture: &Fixture, body: Vec<u8>) -> Answer {
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
    fixture.post("/api/v1/write", &headers, body).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "{}", answer.text());
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
}

#[tokio::test]
async fn samples_are_stored_and_queryable_at_once() {
    let fixture = Fixture::new().await;
    let answer = post(&fixture, request(&[(UP, &[(NOW_MS, 1.0), (NOW_MS - 1000, 0.5)])])).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(
        fixture.samples("up"),
        [format!("up{{instance=\"a\"}} @{NOW_MS} 1"), format!("up{{instance=\"a\"}} @{} 0.5", NOW_MS - 1000)]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    let page = fixture.page();
    assert!(page.contains("greylight_ingest_samples_total{protocol=\"remote_write_1\"} 2"), "{page}");
    assert!(
        page.contains("greylight_ingest_requests_total{protocol=\"remote_write_1\",code=\"204\"} 1"),
        "{page}"
    );
}

#[tokio::test]
async fn any_age_and_order_is_taken_and_stored_once() {
    let fixture = Fixture::new().await;
    for samples in [[(NOW_MS, 1.0), (0, 2.0)], [(0, 2.0), (-5, 3.0)]] {
        assert_eq!(post(&fixture, request(&[(UP, &samples)])).await.status, 204);
    }
    assert_eq!(fixture.samples("up").len(), 3);
}

#[tokio::test]
async fn samples_far_in_the_future_are_named_and_the_rest_is_stored() {
    let fixture = Fixture::new().await;
    let edge = NOW_MS + i64::try_from(FUTURE_MAX.as_millis()).expect("small");
    let answer = post(&fixture, request(&[(UP, &[(edge, 1.0), (edge + 1, 2.0), (i64::MAX, 3.0)])])).await;
    refused(
        &answer,
        400,
        "sample of up{instance=\"a\"} at 2026-11-21T10:10:00.001Z lies more than 600s in the future",
    );
    refused(&answer, 400, "2 items refused");
    assert_eq!(fixture.samples("up"), [format!("up{{instance=\"a\"}} @{edge} 1")]);
    let answer = post(&fixture, request(&[(UP, &[(i64::MIN, 1.0)])])).await;
    refused(&answer, 400, "lies before the year 1678");
}

#[tokio::test]
async fn bad_series_are_named_and_the_rest_is_stored() {
    let long = "v".repeat(4097);
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("__name__", "m"), ("a", "1"), ("a", "2")], "label \"a\" appears twice"),
        (&[("__name__", "m"), ("", "1")], "a label with value \"1\" has an empty name"),
        (&[("a", "1")], "series {a=\"1\"} has no __name__"),
        (&[("__name__", "m"), ("a", &long)], "has 4097 bytes, the limit is 4096"),
        (&[("__name__", "")], "has no __name__"),
    ];
    for (labels, text) in cases {
        let fixture = Fixture::new().await;
        let answer = post(&fixture, request(&[(labels, &[(NOW_MS, 1.0)]), (UP, &[(NOW_MS, 1.0)])])).await;
        refused(&answer, 400, text);
        assert_eq!(fixture.samples("up").len(), 1, "{text}");
        assert!(fixture.samples("m").is_empty(), "{text}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_refused() {
    // A label of two bytes in each of name and value, of which the name's are no UTF-8.
    let label = [0x0a, 0x02, 0xff, 0xfe, 0x12, 0x02, b'o', b'k'];
    let mut series = vec![0x0a, label.len() as u8];
    series.extend(label);
    series.extend([0x12, 0x02, 0x10, 0x05]);
    let mut body = vec![0x0a, series.len() as u8];
    body.extend(series);
    refused(&Fixture::new().await.write(&body).await, 400, "is not valid UTF-8");
}

#[tokio::test]
async fn malformed_bodies_store_nothing() {
    let fixture = Fixture::new().await;
    refused(&post(&fixture, b"not snappy".to_vec()).await, 400, "the body is not valid snappy");
    refused(&post(&fixture, Vec::new()).await, 400, "the body is not valid snappy");
    let mut encoder = Encoder::default();
    encoder.series(UP.iter().copied(), &[Sample { t_ms: NOW_MS, value: 1.0 }]);
    // Good protobuf, then a message that claims more than there is.
    let mut body = greylight_wire::compress::decode(
        Encoding::Snappy,
        &encoder.finish(),
        greylight_wire::compress::Caps { decoded_bytes_max: 1000, ratio_max: 100 },
    )
    .expect("own output");
    body.extend([0x0a, 0x7f]);
    refused(&fixture.write(&body).await, 400, "malformed protobuf");
    assert!(fixture.samples("up").is_empty());
}

#[tokio::test]
async fn bombs_and_large_bodies_are_413_with_the_limit() {
    let fixture = Fixture::new().await;
    // Declares 4 GiB.
    let answer = post(&fixture, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]).await;
    refused(&answer, 413, "the body expands more than the limit of 100 times");
    let answer = post(&fixture, vec![0; (8 << 20) + 1]).await;
    refused(&answer, 413, "the body is larger than the limit of 8388608 bytes");
    // The same without a length beforehand.
    let chunks = futures::stream::iter((0..9).map(|_| Ok::<_, std::io::Error>(vec![0; 1 << 20])));
    let answer = fixture.post("/api/v1/write", &[], Body::from_stream(chunks)).await;
    refused(&answer, 413, "the body is larger than the limit of 8388608 bytes");
    assert!(fixture.samples("up").is_empty());
}

#[tokio::test]
async fn wrong_types_and_encodings_are_415() {
    let fixture = Fixture::new().await;
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-type", "application/x-protobuf;proto=other.Message"),
        ("content-encoding", "gzip"),
    ] {
        let answer =
            fixture.post("/api/v1/write", &[(name, value)], request(&[(UP, &[(NOW_MS, 1.0)])])).await;
        refused(&answer, 415, &format!("{value:?} is not supported, use "));
    }
    assert!(fixture.samples("up").is_empty());
}

#[tokio::test]
async fn callers_without_the_right_are_refused() {
    let fixture = Fixture::new().await;
    let bare = greylight_ingest::http::router(fixture.ingest.clone());
    let reader = Caller { tenant: TenantId::default(), scopes: [Scope::Read].into_iter().collect() };
    for (router, status) in [(bare.clone(), 401), (bare.layer(Extension(reader)), 403)] {
        let router: Router = router;
        let body = Body::from(request(&[(UP, &[(NOW_MS, 1.0)])]));
        let answer = send(router, Request::post("/api/v1/write").body(body).expect("a request")).await;
        refused(&answer, status, "scope write");
    }
    assert!(fixture.samples("up").is_empty());
}

/// A request of 2.0 with one series of two samples, its labels as references.
fn version_two(references: &[u8], t_ms: [u8; 2]) -> Vec<u8> {
    let mut body = Vec::new();
    for symbol in ["", "__name__", "m"] {
        body.extend([0x22, symbol.len() as u8]);
        body.extend(symbol.as_bytes());
    }
    let mut series = vec![0x0a, references.len() as u8];
    series.extend(references);
    series.extend([0x12, 0x02, 0x10, t_ms[0], 0x12, 0x02, 0x10, t_ms[1]]);
    body.extend([0x2a, series.len() as u8]);
    body.extend(series);
    encode(Encoding::Snappy, &body)
}

#[tokio::test]
async fn version_two_tells_what_was_written() {
    let fixture = Fixture::new().await;
    let headers = [("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")];
    let written = |answer: &Answer| {
        ["samples", "histograms", "exemplars"]
            .map(|what| answer.header(&format!("x-prometheus-remote-write-{what}-written")).to_owned())
    };
    let answer = fixture.post("/api/v1/write", &headers, version_two(&[1, 2], [5, 6])).await;
    assert_eq!(answer.status, 204);
    assert_eq!(written(&answer), ["2", "0", "0"]);
    assert_eq!(fixture.samples("m"), ["m{} @5 0", "m{} @6 0"]);
    let answer = fixture.post("/api/v1/write", &headers, version_two(&[1, 9], [7, 8])).await;
    refused(&answer, 400, "symbol reference 9 is out of range, the table has 3 entries");
    assert_eq!(written(&answer), ["0", "0", "0"]);
    assert_eq!(fixture.samples("m").len(), 2);
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_503_with_retry_after() {
    let fixture = Fixture::new().await;
    fixture.store.shutdown().await.expect("a clean end");
    let answer = post(&fixture, request(&[(UP, &[(NOW_MS, 1.0)])])).await;
    refused(&answer, 503, "shutting down");
    assert_eq!(answer.header("retry-after"), "5");
}

#[tokio::test]
async fn other_methods_are_405() {
    let fixture = Fixture::new().await;
    let request = Request::get("/api/v1/write").body(Body::empty()).expect("a request");
    assert_eq!(send(fixture.router(), request).await.status, 405);
}
