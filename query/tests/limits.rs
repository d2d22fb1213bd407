//! Each limit of a query ends it with an error that names the limit.

use greylight_query::QueryConfig;
use serde_json::json;

use crate::memory::Memory;
use crate::server::{NOW_S, ask_json, memory, post_json, router_with, router_without};

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Asks over an hour, every `step` seconds, and returns status and error.
async fn range(config: QueryConfig, memory: Memory, query: &str, step: f64) -> (u16, String) {
    let (router, _) = router_with(config, memory);
    let (start, query) = (NOW_S - 3600, encoded(query));
    let path = format!("/api/v1/query_range?query={query}&start={start}&end={NOW_S}&step={step}");
    let (status, answer) = ask_json(&router, &path).await;
    let said =
        format!("{}: {}", answer["errorType"].as_str().unwrap_or(""), answer["error"].as_str().unwrap_or(""));
    (status.as_u16(), said)
}

#[tokio::test]
async fn limits_of_promql_are_named() {
    let few = QueryConfig::default;
    let cases: Vec<(QueryConfig, String, f64, u16, &str)> = vec![
        (few(), format!("x{{a=\"{}\"}}", "a".repeat(17_000)), 60.0, 400, "bytes long, the limit is 16384"),
        (few(), vec!["1"; 600].join("+"), 60.0, 400, "more than 500 parts"),
        (few(), format!("{}1{}", "(".repeat(80), ")".repeat(80)), 60.0, 400, "more than 64 levels"),
        (few(), "x".into(), 0.3, 400, "exceeded maximum resolution of 11,000 points"),
        (
            QueryConfig { points_max: 10, ..few() },
            "x".into(),
            60.0,
            400,
            "exceeded maximum resolution of 10 points",
        ),
        (
            few(),
            "count_over_time(vector(1)[3d:1s])".into(),
            60.0,
            422,
            "more than 100000 steps of a subquery",
        ),
        (
            QueryConfig { series_max: 1, ..few() },
            "http_requests_total".into(),
            60.0,
            422,
            "more than 1 series; narrow its selector or its time range, or raise [query] series_max",
        ),
        (
            QueryConfig { samples_max: 20, ..few() },
            "http_requests_total".into(),
            60.0,
            422,
            "more than 20 samples; narrow its selector or its time range, or raise [query] samples_max",
        ),
        (
            QueryConfig { values_max: 50, ..few() },
            "http_requests_total".into(),
            60.0,
            422,
            "more than 50 values of an intermediate result ([query] values_max)",
        ),
    ];
    for (config, query, step, status, why) in cases {
        let (found, said) = range(config, memory(), &query, step).await;
        let shown: String = query.chars().take(60).collect();
        assert!(found == status && said.contains(why), "{shown}: {found} {said}");
    }
}

#[tokio::test]
async fn a_regular_expression_that_is_too_large_is_named() {
    let query = "x{a=~\"(a{1000}){1000}\"}";
    let (status, said) = range(QueryConfig::default(), memory(), query, 60.0).await;
    assert!(status == 400 && said.contains("1048576"), "{status} {said}");
}

#[tokio::test]
async fn limits_of_log_search_are_named() {
    let (router, _) = router_with(QueryConfig::default(), memory());
    let long = "a ".repeat(40_000);
    let deep = format!("{}a{}", "(".repeat(80), ")".repeat(80));
    let cases = [
        (json!({ "query": long }), "65536"),
        (json!({ "query": vec!["a"; 2000].join(" OR ") }), "1024"),
        (json!({ "query": deep }), "64"),
        (json!({ "query": "a", "limit": 5001 }), "5000"),
    ];
    for (body, why) in cases {
        let (status, answer) = post_json(&router, "/api/v1/logs/search", body).await;
        let said = String::from_utf8(answer).unwrap();
        assert!(status.is_client_error() && said.contains(why), "{why}: {status} {said}");
    }
    let body = json!({ "query": "a", "start": NOW_S - 36_000, "end": NOW_S, "step": "1s" });
    let (status, answer) = post_json(&router, "/api/v1/logs/histogram", body).await;
    let said = String::from_utf8(answer).unwrap();
    assert!(status.is_client_error() && said.contains("more than 11000"), "{status} {said}");
}

#[tokio::test]
async fn limits_of_sql_are_named() {
    let tight = QueryConfig { memory_bytes_max: 1 << 20, series_max: 1, ..QueryConfig::default() };
    let cases = [
        (QueryConfig::default(), format!("SELECT '{}'", "a".repeat(17_000)), "16384 bytes"),
        (QueryConfig::default(), format!("SELECT {}", vec!["1"; 900].join("+")), "500 parts"),
        (QueryConfig::default(), format!("SELECT {}1{}", "(".repeat(80), ")".repeat(80)), "64 levels"),
        (tight.clone(), "SELECT count(*) FROM metrics".into(), "series_max"),
    ];
    for (config, query, why) in cases {
        let (router, _) = router_with(config, memory());
        let (status, answer) = post_json(&router, "/api/v1/sql", json!({ "query": query })).await;
        let said = String::from_utf8(answer).unwrap();
        assert!(status.is_client_error() && said.contains(why), "{why}: {status} {said}");
    }
}

/// What is experimental in Prometheus is on, and can be taken away by name.
#[tokio::test]
async fn features_are_on_unless_they_are_taken_away() {
    let with = |disabled: &[&str]| {
        let disabled: Vec<String> = disabled.iter().map(|name| (*name).to_owned()).collect();
        let (router, _) = router_without(&disabled);
        async move |query: &str| {
            let path = format!("/api/v1/query?query={}&time={NOW_S}", encoded(query));
            let (_, answer) = ask_json(&router, &path).await;
            answer
        }
    };
    let duration = "sum(rate(http_requests_total[2m+3m]))";
    let functions = "sum(mad_over_time(http_requests_total[5m]))";
    let both = "label_replace(rate(http_requests_total[5m]), \"was\", \"$1\", \"__name__\", \"(.*)\")";
    for query in [duration, functions, both, "limitk(1, http_requests_total)"] {
        assert_eq!(with(&[])(query).await["status"], "success", "{query}");
    }
    for (feature, query, why) in [
        ("promql-duration-expr", duration, "duration expression is not enabled"),
        ("promql-duration-expr", "http_requests_total offset (1m*2)", "duration expression is not enabled"),
        ("promql-experimental-functions", functions, "function \"mad_over_time\" is not enabled"),
        ("promql-experimental-functions", "limitk(1, http_requests_total)", "limitk"),
        ("rate", duration, "function \"rate\" is not enabled"),
    ] {
        let answer = with(&[feature])(query).await;
        assert_eq!(answer["errorType"], "bad_data", "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
        assert_eq!(with(&[feature])("http_requests_total offset -1m").await["status"], "success");
    }
    let was = |answer: &serde_json::Value| answer["data"]["result"][0]["metric"]["was"].clone();
    assert_eq!(was(&with(&[])(both).await), "http_requests_total");
    let at_once = with(&["promql-delayed-name-removal"]);
    assert_eq!(was(&at_once(both).await), serde_json::Value::Null);
    let n = |answer: serde_json::Value| answer["data"]["result"].as_array().map(Vec::len);
    assert_eq!(n(at_once("sum(rate(http_requests_total[5m])) by (job)").await), Some(2));
}
