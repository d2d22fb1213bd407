//! A log template that a person accepted refuses no release of its service again.

use axum::http::StatusCode;
use greylight_store::append::LogBatch;
use greylight_store::model::{Labels, LogRecord, TenantId, Timestamp};
use serde_json::{Value, json};

use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Four hosts log a request each four seconds; since the release host d runs version 2 and says something new.
async fn fed() -> Bench {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    let mut records = Vec::new();
    for second in (-200 * 60..60 * 60).step_by(4) {
        for (n, host) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let is_new = host == "d" && second >= 0;
            let time = Timestamp::from_millis(START_MS + second * 1_000 + n as i64);
            let version = if is_new { "2" } else { "1" };
            let labels =
                [("instance", host), ("job", "shop"), ("service_name", "shop"), ("service_version", version)];
            let said = match is_new && second % 60 == 0 {
                true => "upstream pool drained unexpectedly while settling",
                false => "request served from cache without delay",
            };
            records.push(LogRecord {
                time,
                observed_time: time,
                severity_number: 13,
                severity_text: String::new(),
                body: said.to_owned(),
                labels: Labels::from_pairs(labels).unwrap_or_else(|e| panic!("{e}")),
                attributes: Vec::new(),
                trace_id: None,
                span_id: None,
                uid: None,
            });
        }
    }
    bench
        .store
        .appender()
        .logs(&TenantId::default(), LogBatch { records })
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    bench
}

fn request(key: &str) -> Value {
    let mut request = body(key);
    request["policy"]["checks"] = json!([{ "name": "logs", "kind": "patterns", "logs": "{$cohort}" }]);
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_most": "30m" } }]);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_template_refuses_nothing() {
    let (bench, refused) = fed().await.judged(request("first"), false).await;
    let verdict = &refused["verdict"];
    assert_eq!(verdict["decision"], "no_go", "{verdict:#}");
    let id = verdict["checks"][0]["patterns"][0]["id"].as_str().unwrap_or_else(|| panic!("{verdict:#}"));
    let accept = json!({ "service": "shop", "pattern": id, "by": "ada", "why": "said at every start now" });
    let (status, answer) = bench.ask("POST", "/api/v1/patterns/accept", accept.clone()).await;
    assert_eq!((status, &answer["pattern"]), (StatusCode::CREATED, &json!(id)), "{answer:#}");
    let (_, list) = bench.ask("GET", "/api/v1/patterns/accept?service=shop", Value::Null).await;
    assert_eq!(list["patterns"][0]["why"], "said at every start now", "{list:#}");
    let (_, none) = bench.ask("GET", "/api/v1/patterns/accept?service=other", Value::Null).await;
    assert_eq!(none["patterns"], json!([]));
    let (bench, accepted) = bench.judged(request("second"), true).await;
    assert_eq!(accepted["verdict"]["decision"], "inconclusive", "{accepted:#}");
    // Taken back, it refuses again; what was pinned before is judged as it was.
    let path = format!("/api/v1/patterns/accept?service=shop&pattern={id}");
    let (status, _) = bench.ask("DELETE", &path, Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = bench.ask("DELETE", &path, Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    bench.replays(accepted["id"].as_str().unwrap_or_default()).await;
    let (_, again) = bench.judged(request("third"), false).await;
    assert_eq!(again["verdict"]["decision"], "no_go", "{again:#}");
    let mut wrong = accept;
    wrong["why"] = json!("");
    let (status, answer) = fed().await.ask("POST", "/api/v1/patterns/accept", wrong).await;
    assert_eq!((status, &answer["error"]["field"]), (StatusCode::BAD_REQUEST, &json!("why")));
}
