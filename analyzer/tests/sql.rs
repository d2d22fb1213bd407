//! A mean's values by SQL, beside the same ones by PromQL.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use axum::http::StatusCode;
use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Labels, LogRecord, TenantId, Timestamp};
use serde_json::{Value, json};

use crate::releases::{Bench, MINUTE_MS, START_MS};

const BY_SQL: &str = "SELECT date_bin(INTERVAL '$interval', time, $start) AS time, labels['instance'] AS instance, \
     avg(value) AS value FROM metrics WHERE name = '$metric' AND $cohort AND time >= $start AND time < $end \
     GROUP BY 1, 2";

const LINES: &str = "SELECT date_bin(INTERVAL '$interval', time, $start) AS time, labels['instance'] AS instance, \
     count(*) AS value FROM logs WHERE $cohort AND time >= $start AND time < $end GROUP BY 1, 2";

/// Host d runs the canary since minute 0, and holds `factor` times the memory since.
async fn feed(bench: &Bench, factor: f64) {
    let (mut batch, mut records) = (MetricBatch::default(), Vec::new());
    for (at, host) in ["a", "b", "c", "d"].into_iter().enumerate() {
        for version in ["1", "2"] {
            let pairs =
                [("instance", host), ("job", "shop"), ("service_name", "shop"), ("service_version", version)];
            let labels = Labels::from_pairs(pairs.into_iter().chain([("__name__", "memory_bytes")])).unwrap();
            let stream = Labels::from_pairs(pairs).unwrap();
            let mut writer = batch.start_labels(&labels);
            for minute in -240..60i64 {
                if (version == "2") != (host == "d" && minute >= 0) {
                    continue;
                }
                let t_ms = START_MS + minute * MINUTE_MS + 1_000;
                // Noise without memory that no two hosts share.
                let noise = ((minute * 7_919 + at as i64 * 104_729).rem_euclid(1_009)) as f64 / 1_009.0;
                writer.push(t_ms, (100.0 + noise) * if version == "2" { factor } else { 1.0 });
                for n in 0..2 + minute.rem_euclid(3) {
                    let time = Timestamp::from_millis(t_ms + n);
                    let record = LogRecord {
                        time,
                        observed_time: time,
                        severity_number: 9,
                        severity_text: String::new(),
                        body: format!("line {n}"),
                        labels: stream.clone(),
                        attributes: Vec::new(),
                        trace_id: None,
                        span_id: None,
                        uid: None,
                    };
                    records.push(record);
                }
            }
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
}

fn body(key: &str) -> Value {
    let mean = |name: &str, value: Value| json!({ "name": name, "kind": "mean", "value": value, "margin": { "relative": "10%" } });
    json!({ "key": key, "service": "shop", "start": "2026-11-21T10:00:00Z",
        "baseline": { "name": "1", "vars": { "metric": "memory_bytes" } },
        "canary": { "name": "2", "vars": { "metric": "memory_bytes" } },
        "policy": { "name": "memory", "unit": ["instance"], "pre_period": "4h", "warm_up": "0s",
            "phases": [{ "name": "one", "lasts": { "at_least": "10m", "at_most": "40m" }, "checks": [
                mean("by promql", json!("avg by (instance) (memory_bytes{$cohort})")),
                mean("by sql", json!({ "sql": BY_SQL })),
                mean("lines", json!({ "sql": LINES })) ] }] } })
}

async fn judged(factor: f64) -> Value {
    let bench = Bench::start(START_MS + 60 * MINUTE_MS).await;
    feed(&bench, factor).await;
    let (status, release) = bench.ask("POST", "/api/v1/releases", body("one")).await;
    assert_eq!(status, StatusCode::CREATED, "{release:#}");
    let id = release["id"].as_str().unwrap().to_string();
    let release = bench.until(&id, |r| r["state"] == "decided").await;
    bench.replays(&id).await;
    release["verdict"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_promql_judge_the_same_values_alike() {
    for (factor, decision) in [(1.0, "go"), (1.5, "no_go")] {
        let verdict = judged(factor).await;
        assert_eq!(verdict["decision"], decision, "{verdict:#}");
        let checks = verdict["checks"].as_array().unwrap();
        let of = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
        let (promql, sql) = (of("by promql"), of("by sql"));
        for field in ["decision", "values", "effect", "p_harm", "p_go", "n", "since", "units"] {
            assert_eq!(promql[field], sql[field], "{field}");
        }
        assert!(!sql["effect"]["estimate"].is_null(), "{sql:#}");
        assert!(sql["queries"][0].as_str().unwrap().starts_with("SELECT"), "{sql:#}");
        assert_eq!(of("lines")["values"]["canary"], of("lines")["values"]["baseline"], "{verdict:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_cannot_be_judged_says_why() {
    let bench = Bench::start(START_MS + 60 * MINUTE_MS).await;
    feed(&bench, 1.0).await;
    let with = |key: &str, sql: &str| {
        let mut body = body(key);
        body["policy"]["phases"][0]["checks"] =
            json!([{ "name": "x", "kind": "mean", "value": { "sql": sql }, "vote": "veto" }]);
        body
    };
    for (sql, field, said) in [
        ("SELECT time, value FROM metrics WHERE $cohort", "policy.phases[0].checks[0].value", "$start"),
        (
            "DELETE FROM metrics WHERE $cohort AND time >= $start AND time < $end",
            "policy.phases[0].checks[0].value",
            "SELECT",
        ),
    ] {
        let (status, problem) = bench.ask("POST", "/api/v1/releases", with("refused", sql)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem:#}");
        assert_eq!(problem["error"]["field"], field, "{problem:#}");
        assert!(problem["error"]["message"].as_str().unwrap().contains(said), "{problem:#}");
    }
    let all = "FROM metrics WHERE $cohort AND time >= $start AND time < $end";
    for (n, (what, said)) in [
        ("time, labels['instance'] AS instance", "no column \"value\""),
        ("time, value, labels", "should be a text"),
        ("date_bin(INTERVAL '$interval', time, $start) AS time, value", "more than one row"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = with(&format!("failed-{n}"), &format!("SELECT {what} {all}"));
        let (status, release) = bench.ask("POST", "/api/v1/releases", body).await;
        assert_eq!(status, StatusCode::CREATED, "{release:#}");
        let release = bench.until(release["id"].as_str().unwrap(), |r| r["state"] == "failed").await;
        let text = release["verdict"]["reasons"][0]["text"].as_str().unwrap();
        assert!(text.contains(said), "{text}");
    }
}
