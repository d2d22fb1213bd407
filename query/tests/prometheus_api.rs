//! The Prometheus API: envelopes, codes and what Grafana asks.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use greylight_query::QueryConfig;
use greylight_store::model::{Buckets, Histogram, Labels, Span};
use serde_json::json;
use tower::ServiceExt as _;

use crate::memory::{Damage, Memory};
use crate::server::{NOW_S, ask, ask_json, memory, router, router_with};

#[tokio::test]
async fn each_kind_of_value_has_its_shape() {
    let router = router();
    let (status, answer) = ask_json(&router, "/api/v1/query?query=1%2B1&time=4").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({ "status": "success", "data": { "resultType": "scalar", "result": [4, "2"] } })
    );
    let (_, answer) = ask_json(&router, "/api/v1/query?query=%22x%22&time=4.5").await;
    assert_eq!(answer["data"], json!({ "resultType": "string", "result": [4.5, "x"] }));
    let (_, answer) = ask_json(&router, "/api/v1/query?query=sum%20by%20(job)(http_requests_total)").await;
    let row = |job: &str, v: &str| json!({ "metric": { "job": job }, "value": [NOW_S, v] });
    assert_eq!(answer["data"]["result"], json!([row("api", "600"), row("web", "1200")]));
    let path = format!("/api/v1/query_range?query=time()&start={NOW_S}&end={}&step=1", NOW_S + 1);
    let (_, answer) = ask_json(&router, &path).await;
    let (a, b) = (NOW_S.to_string(), (NOW_S + 1).to_string());
    let want = json!([{ "metric": {}, "values": [[NOW_S, a], [NOW_S + 1, b]] }]);
    assert_eq!(answer["data"], json!({ "resultType": "matrix", "result": want }));
    let (_, answer) =
        ask_json(&router, "/api/v1/query?query=http_requests_total%7Bjob%3D%22api%22%7D%5B15s%5D").await;
    assert_eq!(answer["data"]["result"][0]["values"], json!([[NOW_S - 10, "590"], [NOW_S, "600"]]));
}

#[tokio::test]
async fn annotations_stand_beside_the_data() {
    let (_, answer) = ask_json(&router(), "/api/v1/query?query=quantile(2,http_requests_total)").await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "+Inf");
    let text = answer["warnings"][0].as_str().unwrap();
    assert!(text.starts_with("PromQL warning: quantile value should be between 0 and 1, got 2 ("), "{text}");
}

#[tokio::test]
async fn statistics_count_samples_where_they_are_asked_for() {
    let router = router();
    let ask = async |query: &str, stats: &str| {
        let path = format!("/api/v1/query?query={query}&stats={stats}");
        ask_json(&router, &path).await.1["data"]["stats"]["samples"].clone()
    };
    assert_eq!(ask("http_requests_total", "").await, json!(null));
    let rate = "rate(http_requests_total%5B1m%5D)";
    let read = json!({ "totalQueryableSamples": 12, "peakSamples": 8, "samplesRead": 12 });
    assert_eq!(ask(rate, "1").await, read);
    let steps = ask(&format!("{rate}/{rate}"), "all").await["totalQueryableSamplesPerStep"].clone();
    assert_eq!(steps, json!([[NOW_S, 24]]));
    let path = format!(
        "/api/v1/query_range?query=http_requests_total&start={}&end={NOW_S}.25&step=0.5&stats=all",
        NOW_S
    );
    let (_, answer) = ask_json(&router, &path).await;
    let samples = &answer["data"]["stats"]["samples"];
    assert_eq!(samples["totalQueryableSamplesPerStep"], json!([[NOW_S, 2]]));
    assert_eq!(samples["totalQueryableSamples"], 2);
}

#[tokio::test]
async fn faults_have_prometheus_words_and_codes() {
    let router = router();
    let cases = [
        (
            "/api/v1/query?query=sum(",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis",
        ),
        (
            "/api/v1/query",
            400,
            "bad_data",
            "invalid parameter \"query\": unknown position: parse error: no expression found in input",
        ),
        (
            "/api/v1/query?query=1&time=abc",
            400,
            "bad_data",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"abc\" to a valid timestamp",
        ),
        (
            "/api/v1/query_range?query=1&start=0&end=1&step=0",
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "/api/v1/query_range?query=1&start=2&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=1&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/query_range?query=a%5B5m%5D&start=0&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
        ),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
        (
            "/api/v1/series?match[]=%7B%7D",
            400,
            "bad_data",
            "match[] must contain at least one non-empty matcher",
        ),
        ("/api/v1/query?query=topk(NaN,http_requests_total)", 422, "execution", "Parameter value is NaN"),
    ];
    for (path, code, kind, text) in cases {
        let (status, answer) = ask_json(&router, path).await;
        assert_eq!(answer, json!({ "status": "error", "errorType": kind, "error": text }), "{path}");
        assert_eq!(status.as_u16(), code, "{path}");
    }
}

#[tokio::test]
async fn what_is_there_can_be_listed() {
    let router = router();
    let (_, answer) = ask_json(&router, "/api/v1/labels").await;
    assert_eq!(answer["data"], json!(["__name__", "instance", "job"]));
    let (_, answer) = ask_json(&router, "/api/v1/label/job/values?limit=1").await;
    assert_eq!(answer["data"], json!(["api"]));
    assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
    let (_, answer) = ask_json(&router, "/api/v1/series?match[]=%7Bjob%3D%22web%22%7D").await;
    assert_eq!(
        answer["data"],
        json!([{ "__name__": "http_requests_total", "instance": "a:1", "job": "web" }])
    );
    let (_, answer) = ask_json(&router, "/api/v1/metadata").await;
    let entry = json!([{ "type": "counter", "unit": "", "help": "Requests." }]);
    assert_eq!(answer["data"], json!({ "http_requests_total": entry }));
    let (_, answer) = ask_json(&router, "/api/v1/status/tsdb").await;
    assert_eq!(answer["data"]["headStats"]["numSeries"], 2);
    assert_eq!(
        answer["data"]["seriesCountByMetricName"],
        json!([{ "name": "http_requests_total", "value": 2 }])
    );
}

/// The calls of a Grafana Prometheus data source, in its order.
#[tokio::test]
async fn a_grafana_data_source_is_served() {
    let router = router();
    let (status, body) = ask(&router, "/api/v1/query", Some("query=1%2B1&time=4")).await;
    assert_eq!((status, body[0]), (StatusCode::OK, b'{'));
    let (_, answer) = ask_json(&router, "/api/v1/status/buildinfo").await;
    assert_eq!(answer["data"]["version"], "3.5.0");
    assert!(answer["data"].get("features").is_none());
    let (status, _) = ask(&router, "/api/v1/status/buildinfo", Some("")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, answer) =
        ask_json(&router, "/api/v1/query_exemplars?query=test&start=1795255200000&end=1795258800000").await;
    assert_eq!((status, &answer["data"]), (StatusCode::OK, &json!([])));
    let path = format!("/api/v1/label/__name__/values?limit=40000&start={}&end={NOW_S}", NOW_S - 3600);
    assert_eq!(ask_json(&router, &path).await.1["data"], json!(["http_requests_total"]));
    let path = "/api/v1/series?match[]=%7B__name__!%3D%22%22%7D";
    assert_eq!(ask_json(&router, path).await.1["data"].as_array().unwrap().len(), 2);
    let form = format!("query=rate(http_requests_total%5B1m%5D)&start={}&end={NOW_S}&step=15", NOW_S - 60);
    let (_, body) = ask(&router, "/api/v1/query_range", Some(&form)).await;
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["data"]["result"][1]["values"][0], json!([NOW_S - 60, "2"]));
    let (_, answer) = ask_json(&router, "/api/v1/format_query?query=sum(a)by(b)").await;
    assert_eq!(answer["data"], "sum by (b) (a)");
}

#[tokio::test]
async fn browsers_of_other_origins_are_answered_and_answers_are_packed() {
    let request =
        Request::builder().method(Method::OPTIONS).uri("/api/v1/query").header(header::ORIGIN, "http://x");
    let response = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let path = "/api/v1/query?query=http_requests_total";
    let request = Request::get(path).header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
}

#[tokio::test]
async fn limits_are_named() {
    let config = QueryConfig { samples_max: 50, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory());
    let (status, answer) = ask_json(&router, "/api/v1/query?query=rate(http_requests_total%5B10m%5D)").await;
    assert_eq!(status.as_u16(), 422);
    assert!(answer["error"].as_str().unwrap().contains("[query] samples_max"), "{answer}");
    let config = QueryConfig { series_max: 1, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory());
    let (_, answer) = ask_json(&router, "/api/v1/query?query=http_requests_total").await;
    assert!(answer["error"].as_str().unwrap().contains("[query] series_max"), "{answer}");
    let config = QueryConfig { values_max: 100, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory());
    let path =
        format!("/api/v1/query_range?query=http_requests_total&start={}&end={NOW_S}&step=1", NOW_S - 600);
    let (_, answer) = ask_json(&router, &path).await;
    assert!(answer["error"].as_str().unwrap().contains("[query] values_max"), "{answer}");
    let many = "/api/v1/query?query=sum_over_time(vector(1)%5B10y:1ms%5D)";
    let (status, answer) = ask_json(&router, many).await;
    assert_eq!(status.as_u16(), 422);
    assert!(answer["error"].as_str().unwrap().contains("100000 steps of a subquery"), "{answer}");
}

#[tokio::test]
async fn a_query_is_listed_while_it_runs_and_gone_when_the_client_is() {
    let mut memory = Memory::default();
    for i in 0..500 {
        let labels = Labels::from_pairs([("__name__", "x"), ("i", &i.to_string())]).unwrap();
        memory.add(labels, (0..100).map(|k| ((NOW_S - 1000 + 10 * k) * 1000, 1.0)));
    }
    let (router, queries) = router_with(QueryConfig::default(), memory);
    let tenant = greylight_store::model::TenantId::default();
    // Half a million values for each of the operands: seconds of work in a build without optimization.
    let path = format!(
        "/api/v1/query_range?query=quantile(0.5,x*on(i)group_left()x)&start={}&end={NOW_S}&step=1",
        NOW_S - 1000
    );
    let task = tokio::spawn({
        let router = router.clone();
        async move { ask(&router, &path, None).await }
    });
    while queries.running(&tenant).is_empty() {
        tokio::task::yield_now().await;
    }
    let running = queries.running(&tenant);
    assert_eq!(running[0].kind, "promql");
    assert!(!queries.end(&greylight_store::model::TenantId::new("other").unwrap(), &running[0].id));
    task.abort();
    let _ = task.await;
    assert!(queries.running(&tenant).is_empty());
    assert!(!queries.end(&tenant, &running[0].id));
}

#[tokio::test]
async fn a_query_that_meets_damage_is_answered_without_it() {
    let start = NOW_S - 60;
    for path in [
        format!("/api/v1/query?query=http_requests_total&time={NOW_S}"),
        format!("/api/v1/query_range?query=rate(http_requests_total[1m])&start={start}&end={NOW_S}&step=30"),
    ] {
        let damaged = |n_files| Memory { damage: Damage::of(n_files), ..memory() };
        let (router, _) = router_with(QueryConfig::default(), damaged(3));
        let (status, answer) = ask_json(&router, &path).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["data"]["result"].as_array().map(Vec::len), Some(2), "{answer}");
        assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(3), "{answer}");
        // A store that finds new damage with every read is a fault of ours, and must not hold a thread for ever.
        let (router, _) = router_with(QueryConfig::default(), damaged(1000));
        assert_eq!(ask_json(&router, &path).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn native_histograms_come_with_their_buckets() {
    let mut memory = Memory::default();
    let span = |offset, length| Span { offset, length };
    let histogram = |n: f64| Histogram {
        zero_threshold: 0.5,
        zero_count: 1.0,
        count: 4.0 * n + 1.0,
        sum: 2.5 * n,
        positive: Buckets { spans: vec![span(1, 1), span(1, 1)], counts: vec![2.0 * n, n] },
        negative: Buckets { spans: vec![span(0, 2)], counts: vec![0.0, n] },
        ..Histogram::default()
    };
    let labels = Labels::from_pairs([("__name__", "latency")]).unwrap();
    let samples = (0..3).map(|i| ((NOW_S - 120 + 60 * i) * 1000, Arc::new(histogram(i as f64 + 1.0))));
    memory.add_histograms(labels.clone(), samples);
    memory.add(labels, [((NOW_S - 180) * 1000, 7.0)]);
    let (router, _) = router_with(QueryConfig::default(), memory);
    let (_, answer) = ask_json(&router, &format!("/api/v1/query?query=latency&time={NOW_S}")).await;
    let buckets =
        json!([[1, "-2", "-1", "3"], [3, "-0.5", "0.5", "1"], [0, "1", "2", "6"], [0, "4", "8", "3"]]);
    let want = json!({ "count": "13", "sum": "7.5", "buckets": buckets });
    let vector = json!([{ "metric": { "__name__": "latency" }, "histogram": [NOW_S, want] }]);
    assert_eq!(answer["data"], json!({ "resultType": "vector", "result": vector }));
    let (_, answer) = ask_json(&router, &format!("/api/v1/query?query=latency[5m]&time={NOW_S}")).await;
    let series = &answer["data"]["result"][0];
    assert_eq!(series["values"], json!([[NOW_S - 180, "7"]]));
    assert_eq!(series["histograms"].as_array().map(Vec::len), Some(3));
    let range = format!("start={}&end={NOW_S}&step=60", NOW_S - 60);
    let (_, answer) = ask_json(&router, &format!("/api/v1/query_range?query=latency&{range}")).await;
    let series = &answer["data"]["result"][0];
    assert_eq!((series.get("values"), &series["histograms"][1][1]), (None, &want));
    let (_, answer) = ask_json(&router, &format!("/api/v1/query?query=latency*0&time={NOW_S}")).await;
    assert_eq!(answer["data"]["result"][0]["histogram"][1], json!({ "count": "0", "sum": "0" }));
    let query = "histogram_quantile(0.5,latency)";
    let (_, answer) = ask_json(&router, &format!("/api/v1/query?query={query}&time={NOW_S}")).await;
    assert_eq!(answer["data"]["result"][0]["value"][1].as_str().map(|v| &v[..4]), Some("1.33"));
}

#[tokio::test]
async fn histograms_count_against_the_limit_of_values() {
    let histogram = |n: f64| {
        let positive = Buckets { spans: vec![Span { offset: 0, length: 200 }], counts: vec![n; 200] };
        Arc::new(Histogram { count: 200.0 * n, positive, ..Histogram::default() })
    };
    let samples = [((NOW_S - 60) * 1000, histogram(1.0)), (NOW_S * 1000, histogram(2.0))];
    let mut memory = Memory::default();
    for i in 0..20 {
        let labels = Labels::from_pairs([("__name__", "h"), ("i", &i.to_string())]).unwrap();
        memory.add_histograms(labels, samples.clone());
    }
    let config = QueryConfig { values_max: 2000, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory);
    for query in ["rate(h[5m])", "sum by (i) (h)", "h + h", "-h", "sum_over_time(h[5m:1m])"] {
        let path =
            format!("/api/v1/query?time={NOW_S}&query={}", query.replace('+', "%2B").replace(' ', "%20"));
        let (status, answer) = ask_json(&router, &path).await;
        assert_eq!(status.as_u16(), 422, "{query}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("[query] values_max"), "{answer}");
    }
    let path = format!("/api/v1/query?time={NOW_S}&query=sum(rate(h[5m]))");
    assert_eq!(ask_json(&router, &path).await.0, StatusCode::OK);
}
