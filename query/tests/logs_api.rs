//! The log endpoints: parameters and shapes.

use axum::http::StatusCode;
use serde_json::json;

use crate::server::{NOW_S, ask_json, post_json, router};

#[tokio::test]
async fn records_come_in_pages() {
    let router = router();
    let (status, answer) = ask_json(&router, "/api/v1/logs/search?limit=2").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let record = &answer["records"][0];
    assert_eq!(record["body"], "connection refused");
    assert_eq!(record["severity"], "error");
    assert_eq!(record["labels"], json!({ "service_name": "cart" }));
    assert_eq!(record["attributes"], json!({ "code": 503 }));
    assert_eq!(record["trace_id"], "01010101010101010101010101010101");
    assert_eq!(answer["partial"], false);
    let cursor = answer["cursor"].as_str().unwrap();
    let (_, answer) = ask_json(&router, &format!("/api/v1/logs/search?limit=2&cursor={cursor}")).await;
    assert_eq!(answer["records"].as_array().unwrap().len(), 1);
    assert_eq!(answer["cursor"], json!(null));
    let body =
        json!({ "match": "{service_name=\"web\"}", "order": "oldest", "start": "2026-11-21T09:00:00Z" });
    let (_, answer) = post_json(&router, "/api/v1/logs/search", body).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["records"][0]["time"], "2026-11-21T09:59:50Z");
}

#[tokio::test]
async fn counts_come_in_round_intervals() {
    let router = router();
    let path = format!("/api/v1/logs/histogram?start={}&end={NOW_S}&step=60s&by=severity", NOW_S - 120);
    let (_, answer) = ask_json(&router, &path).await;
    assert_eq!(answer["step"], "1m");
    assert_eq!(answer["total"], 3);
    assert_eq!(answer["buckets"][1], json!({ "time": "2026-11-21T09:59:00Z", "count": 3, "by": { "": 3 } }));
    let (status, answer) = ask_json(&router, "/api/v1/logs/histogram?start=0&end=100000&step=1s").await;
    assert_eq!((status.as_u16(), &answer["error"]["kind"]), (422, &json!("limit")));
}

#[tokio::test]
async fn neighbours_and_faults() {
    let router = router();
    let (_, answer) = ask_json(&router, "/api/v1/logs/search?limit=2").await;
    let id = answer["records"][1]["id"].as_str().unwrap();
    let (_, answer) = ask_json(&router, &format!("/api/v1/logs/context?id={id}")).await;
    assert_eq!(answer["record"]["id"], id);
    assert_eq!(answer["before"].as_array().unwrap().len(), 1);
    assert_eq!(answer["after"].as_array().unwrap().len(), 1);
    let (status, answer) = ask_json(&router, "/api/v1/logs/context?id=5-00000000000000ff").await;
    assert_eq!((status.as_u16(), &answer["error"]["kind"]), (404, &json!("not_found")));
    let (status, answer) = ask_json(&router, "/api/v1/logs/search?query=%22open").await;
    assert_eq!((status.as_u16(), &answer["error"]["field"]), (400, &json!("query")));
    let (status, answer) = ask_json(&router, "/api/v1/logs/search?limit=9999").await;
    assert_eq!((status.as_u16(), &answer["error"]["limit"]), (422, &json!(5000)));
}
