//! `/api/v1/query_exemplars`.

use axum::http::StatusCode;
use greylight_query::QueryConfig;
use greylight_store::model::{Exemplar, Labels};
use serde_json::{Value, json};

use crate::server::{NOW_S, ask, ask_json, memory, router_with};

fn router() -> axum::Router {
    let mut memory = memory();
    for (job, le) in [("api", "0.5"), ("api", "1"), ("web", "1")] {
        let series = [("__name__", "latency_bucket"), ("job", job), ("le", le)];
        let exemplar = |seconds: i64, value: f64| Exemplar {
            labels: Labels::from_pairs([("trace_id", format!("{job}-{seconds}"))]).unwrap(),
            t_ms: (NOW_S - seconds) * 1000 + 500,
            value,
        };
        let list = vec![exemplar(60, 0.25), exemplar(30, f64::INFINITY)];
        memory.exemplars.insert(Labels::from_pairs(series).unwrap(), list);
    }
    router_with(QueryConfig::default(), memory).0
}

fn item(job: &str, le: &str, seconds: i64, value: &str) -> Value {
    json!({
        "seriesLabels": { "__name__": "latency_bucket", "job": job, "le": le },
        "exemplars": [{
            "labels": { "trace_id": format!("{job}-{seconds}") },
            "value": value,
            "timestamp": (NOW_S - seconds) as f64 + 0.5,
        }],
    })
}

#[tokio::test]
async fn exemplars_of_every_selector_are_found_in_the_span() {
    let router = router();
    let query = "histogram_quantile(0.9,sum%20by(le)(rate(latency_bucket%7Bjob=%22api%22,le=%221%22%7D%5B5m%5D%20offset%201h)))";
    let both = "%2Bsum(latency_bucket%7Bjob=%22web%22%7D)";
    let span = format!("&start={}&end={NOW_S}", NOW_S - 45);
    let path = format!("/api/v1/query_exemplars?query={query}{both}{span}");
    let (status, answer) = ask_json(&router, &path).await;
    let want = json!([item("api", "1", 30, "+Inf"), item("web", "1", 30, "+Inf")]);
    assert_eq!((status, &answer["status"], &answer["data"]), (StatusCode::OK, &json!("success"), &want));
    let form = format!("query=latency_bucket%7Ble=%220.5%22%7D&start={}&end={}", NOW_S - 61, NOW_S - 59);
    let (_, body) = ask(&router, "/api/v1/query_exemplars", Some(&form)).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["data"], json!([item("api", "0.5", 60, "0.25")]));
}

#[tokio::test]
async fn what_selects_nothing_finds_nothing_and_faults_are_told() {
    let router = router();
    for query in ["1%2B1", "test", "vector(1)"] {
        let (status, answer) = ask_json(&router, &format!("/api/v1/query_exemplars?query={query}")).await;
        assert_eq!((status, &answer["data"]), (StatusCode::OK, &json!([])), "{query}");
    }
    for (path, text) in [
        ("query=sum(", "unclosed left parenthesis"),
        ("query=up&start=x", "cannot parse"),
        ("query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
    ] {
        let (status, answer) = ask_json(&router, &format!("/api/v1/query_exemplars?{path}")).await;
        assert_eq!((status, &answer["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
        assert!(answer["error"].as_str().unwrap().contains(text), "{answer}");
    }
}
