//! Remote read and federation, by messages that are written down here once more.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use greylight_query::QueryConfig;
use greylight_store::model::{Buckets, Histogram, Labels, Span};
use greylight_wire::compress::{Caps, Encoding, decode, encode};
use prost::Message;
use tower::ServiceExt as _;

use crate::server::{NOW_S, ask, memory, router, router_with};

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<ReadQuery>,
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadQuery {
    #[prost(int64, tag = "1")]
    start_ms: i64,
    #[prost(int64, tag = "2")]
    end_ms: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<LabelMatcher>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMatcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<NativeHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    t_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct NativeHistogram {
    #[prost(double, tag = "2")]
    count: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, repeated, tag = "13")]
    positive: Vec<f64>,
    #[prost(int64, tag = "15")]
    t_ms: i64,
}

fn query(kind: i32, name: &str, value: &str) -> ReadQuery {
    let matcher = LabelMatcher { kind, name: name.into(), value: value.into() };
    ReadQuery { start_ms: (NOW_S - 20) * 1000, end_ms: NOW_S * 1000, matchers: vec![matcher] }
}

async fn read(router: &axum::Router, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
    let request = Request::post("/api/v1/read").body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn ask_read(router: &axum::Router, request: ReadRequest) -> (StatusCode, Vec<u8>) {
    read(router, encode(Encoding::Snappy, &request.encode_to_vec())).await
}

fn response(body: &[u8]) -> ReadResponse {
    let caps = Caps { decoded_bytes_max: 1 << 20, ratio_max: 100 };
    ReadResponse::decode(decode(Encoding::Snappy, body, caps).unwrap().as_slice()).unwrap()
}

#[tokio::test]
async fn each_query_of_a_remote_read_has_its_result() {
    let mut memory = memory();
    let positive = Buckets { spans: vec![Span { offset: 1, length: 2 }], counts: vec![1.0, 3.0] };
    let histogram = Histogram { count: 4.0, sum: 9.0, positive, ..Histogram::default() };
    let labels = Labels::from_pairs([("__name__", "h"), ("job", "api")]).unwrap();
    memory.add_histograms(labels, [(1000 * NOW_S, Arc::new(histogram))]);
    let (router, _) = router_with(QueryConfig::default(), memory);
    let queries = vec![query(2, "job", "a.i"), query(0, "job", "none"), query(3, "job", "a.i")];
    let (status, body) = ask_read(&router, ReadRequest { queries, accepted: vec![1, 0] }).await;
    assert_eq!(status, StatusCode::OK);
    let results = response(&body).results;
    assert_eq!(results.iter().map(|r| r.series.len()).collect::<Vec<_>>(), [2, 0, 1]);
    let [h, requests] = &results[0].series[..] else { panic!() };
    assert_eq!(h.histograms[0].positive, [1.0, 3.0]);
    assert_eq!((h.histograms[0].count, h.histograms[0].t_ms, h.samples.len()), (4.0, 1000 * NOW_S, 0));
    let names: Vec<&str> = requests.labels.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["__name__", "instance", "job"]);
    let points: Vec<(i64, f64)> = requests.samples.iter().map(|s| (s.t_ms / 1000 - NOW_S, s.value)).collect();
    assert_eq!(points, [(-20, 580.0), (-10, 590.0), (0, 600.0)]);
    assert_eq!(results[2].series[0].samples.last().unwrap().value, 1200.0);
}

#[tokio::test]
async fn a_wrong_remote_read_is_told_what_is_wrong() {
    let router = router();
    let request = |accepted: Vec<i32>, query| ReadRequest { queries: vec![query], accepted };
    let many = ReadRequest { queries: vec![query(0, "a", "b"); 65], accepted: vec![] };
    let cases = [
        (request(vec![1], query(0, "a", "b")), "does not support any of the requested response types"),
        (request(vec![], query(7, "a", "b")), "matcher type 7"),
        (request(vec![], query(2, "a", "(")), "("),
        (many, "65 queries in one request; the limit is 64"),
    ];
    for (request, want) in cases {
        let (status, body) = ask_read(&router, request).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        assert!(text.contains(want), "{text}");
    }
    assert_eq!(read(&router, b"no snappy".to_vec()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(read(&router, vec![0; (1 << 20) + 1]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let config = QueryConfig { memory_bytes_max: 100, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory());
    let (status, body) = ask_read(&router, request(vec![], query(1, "job", ""))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(String::from_utf8(body).unwrap().contains("query.memory_bytes_max"));
}

#[tokio::test]
async fn federation_shows_the_newest_sample_of_each_series() {
    let mut memory = memory();
    let now_ms = 1000 * NOW_S;
    let labels = |name: &str, more: &[(&str, &str)]| {
        Labels::from_pairs([("__name__", name)].iter().chain(more).copied()).unwrap()
    };
    memory.add(labels("a.b", &[("x.y", "z")]), [(now_ms - 1, 2.5)]);
    memory.add(labels("gone", &[]), [(now_ms - 1, f64::from_bits(greylight_store::read::STALE_NAN_BITS))]);
    memory.add(labels("old", &[]), [(now_ms - 300_000, 1.0)]);
    let histogram = Histogram { count: 4.0, sum: 9.0, ..Histogram::default() };
    memory.add_histograms(labels("h", &[("instance", "i")]), [(now_ms, Arc::new(histogram))]);
    let (router, _) = router_with(QueryConfig::default(), memory);
    let path =
        "/federate?match[]=%7B__name__%3D~%22a.b|h|old|gone%22%7D&match[]=http_requests_total&match[]=h";
    let (status, page) = ask(&router, path, None).await;
    assert_eq!(status, StatusCode::OK);
    let t = now_ms;
    let want = format!(
        "# TYPE a_b untyped\na_b{{x_y=\"z\",instance=\"\"}} 2.5 {}\n\
         # TYPE h histogram\nh_bucket{{instance=\"i\",le=\"+Inf\"}} 4 {t}\nh_sum{{instance=\"i\"}} 9 {t}\nh_count{{instance=\"i\"}} 4 {t}\n\
         # TYPE http_requests_total untyped\nhttp_requests_total{{instance=\"a:1\",job=\"api\"}} 600 {t}\n\
         http_requests_total{{instance=\"a:1\",job=\"web\"}} 1200 {t}\n",
        t - 1
    );
    assert_eq!(String::from_utf8(page).unwrap(), want);
    let request = Request::get(path).header("accept", "text/plain;version=1.0.0;escaping=allow-utf-8");
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let page = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(page.starts_with(b"# TYPE \"a.b\" untyped\n{\"a.b\",\"x.y\"=\"z\",instance=\"\"} 2.5 "));
}
