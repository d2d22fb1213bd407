//! Several releases at once, and changes that are none: what a verdict says of them.

use std::time::Duration;

use axum::http::StatusCode;
use greylight_store::append::MetricBatch;
use greylight_store::model::{Labels, TenantId};
use serde_json::{Value, json};

use crate::births::noise;
use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Six hosts' load for three hours and one: e runs version 2 and f version 3 since the start, each times its factor.
///
/// - `minute`: what the clock says; before the fourth no look is due yet.
async fn fed(minute: i64, second: f64, third: f64) -> Bench {
    let bench = Bench::start(START_MS + minute * MINUTE_MS).await;
    let mut batch = MetricBatch::default();
    for (n, host) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        let since = match host {
            "e" => ("2", second),
            "f" => ("3", third),
            _ => ("1", 1.0),
        };
        for ((version, factor), range) in [(("1", 1.0), -400..0), (since, 0..140)] {
            // Every host answers for the same tier, whichever version it runs.
            let all = [
                ("__name__", "load"),
                ("instance", host),
                ("service_name", "shop"),
                ("service_version", version),
                ("tier", "web"),
            ];
            let labels = Labels::from_pairs(all).unwrap_or_else(|e| panic!("{e}"));
            let mut writer = batch.start_labels(&labels);
            for half in range {
                let jitter = 0.1 * noise((n as u64) << 32 | (half + 100_000_i64) as u64);
                writer.push(START_MS + half * MINUTE_MS / 2 + 1_000, 100.0 * factor * (1.0 + jitter));
            }
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap_or_else(|e| panic!("{e}"));
    bench
}

fn request(key: &str, canary: &Value) -> Value {
    let mut request = body(key);
    request["policy"]["checks"] = json!([{ "name": "load", "kind": "mean",
        "value": "avg by (instance) (avg_over_time(load{$cohort}[$interval]))", "margin": { "relative": "20%" } }]);
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    // All of the tier is the baseline, but for the units that run a canary.
    request["baseline"] = json!({ "name": "1", "match": "{service_name=\"shop\", tier=\"web\"}" });
    request["canary"] = canary.clone();
    request
}

async fn both(bench: &Bench, other: &Value) -> [Value; 2] {
    let mut ids = Vec::new();
    for (key, canary) in [("two", &json!({ "name": "2" })), ("other", other)] {
        let (status, release) = bench.ask("POST", "/api/v1/releases", request(key, canary)).await;
        assert_eq!(status, StatusCode::CREATED, "{release:#}");
        ids.push(release["id"].as_str().unwrap_or_default().to_owned());
    }
    bench.clock.advance(Duration::from_secs(70 * 60));
    let mut all = Vec::new();
    for id in ids {
        let release = bench.until(&id, |r| r["state"] != "running").await;
        bench.replays(&id).await;
        all.push(release["verdict"].clone());
    }
    [all.remove(0), all.remove(0)]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_canaries_are_judged_apart() {
    // The third version is so much worse that it would hide the second's harm, were it part of the baseline.
    let bench = fed(1, 1.5, 4.0).await;
    let [second, third] = both(&bench, &json!({ "name": "3" })).await;
    assert_eq!((&second["decision"], &third["decision"]), (&json!("no_go"), &json!("no_go")), "{second:#}");
    for verdict in [&second, &third] {
        let baseline = verdict["checks"][0]["values"]["baseline"].as_f64().unwrap_or_default();
        assert!((baseline - 100.0).abs() < 3.0, "only version 1 is the baseline: {verdict:#}");
        let overlap = &verdict["overlaps"][0];
        assert_eq!((&overlap["blame"], &overlap["shared_units"]), (&json!("own"), &json!(0)), "{verdict:#}");
    }
    assert_eq!(second["overlaps"][0]["canary"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_of_the_same_units_cannot_be_told_apart() {
    let bench = fed(1, 1.5, 1.0).await;
    let flag = json!({ "name": "flag", "match": "{service_name=\"shop\", service_version=~\"2|9\"}" });
    let [second, flag] = both(&bench, &flag).await;
    for verdict in [&second, &flag] {
        let overlap = &verdict["overlaps"][0];
        assert_eq!(
            (&overlap["blame"], &overlap["shared_units"]),
            (&json!("undecidable"), &json!(1)),
            "{verdict:#}"
        );
        let text = overlap["text"].as_str().unwrap_or_default();
        assert!(text.contains("cannot be decided"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_named_in_the_verdicts_of_their_time() {
    let bench = fed(4, 1.0, 1.0).await;
    let at = |minute: i64| format!("2026-11-21T10:{minute:02}:00Z");
    for (kind, service, minute) in
        [("flag", Some("shop"), 1), ("migration", None, 2), ("flag", Some("other"), 3)]
    {
        let body =
            json!({ "kind": kind, "service": service, "time": at(minute), "by": "ada", "text": "prices" });
        let (status, answer) = bench.ask("POST", "/api/v1/changes", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer:#}");
    }
    let (_, list) = bench.ask("GET", "/api/v1/changes?start=2026-11-21T10:02:00Z", Value::Null).await;
    assert_eq!(list["changes"].as_array().map(Vec::len), Some(2), "{list:#}");
    let (bench, release) = bench.judged(request("one", &json!({ "name": "2" })), false).await;
    let changes = release["verdict"]["changes"].as_array().cloned().unwrap_or_default();
    let kinds: Vec<&Value> = changes.iter().map(|change| &change["kind"]).collect();
    assert_eq!(kinds, ["flag", "migration"], "{release:#}");
    let (status, answer) = bench.ask("POST", "/api/v1/changes", json!({ "kind": "flag" })).await;
    assert_eq!((status, &answer["error"]["field"]), (StatusCode::BAD_REQUEST, &json!("text")), "{answer:#}");
}
