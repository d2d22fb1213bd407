//! A canary of new pods is compared with pods of the old version that started together with it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use axum::http::StatusCode;
use greylight_store::append::MetricBatch;
use greylight_store::model::{Labels, TenantId};
use serde_json::{Value, json};

use crate::births::noise;
use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Name, version, track and first minute: five settled pods, three of the canary, three fresh ones.
fn pods() -> Vec<(String, &'static str, &'static str, i64)> {
    let mut all: Vec<_> = (0..5).map(|n| (format!("old-{n}"), "1", "stable", -600)).collect();
    all.extend((0..3).map(|n| (format!("new-{n}"), "2", "canary", 0)));
    all.extend((0..3).map(|n| (format!("fresh-{n}"), "1", "fresh", 0)));
    all
}

/// Writes each pod's load twice a minute: new pods carry 5 % more than old ones, the canary `factor` times as much.
async fn feed(bench: &Bench, factor: f64) {
    let mut batch = MetricBatch::default();
    for (number, (name, version, track, begin)) in pods().iter().enumerate() {
        let own = 1.0 + 0.02 * noise(number as u64 + 177);
        let young = if *begin == 0 { 1.05 } else { 1.0 };
        let change = if *version == "2" { factor } else { 1.0 };
        let jitter = |half: i64| 0.2 * noise((number as u64) << 32 | (half + 100_000) as u64);
        for metric in ["up", "load"] {
            let labels = [
                ("__name__", metric),
                ("instance", name.as_str()),
                ("job", "shop"),
                ("service_name", "shop"),
                ("service_version", version),
                ("track", track),
            ];
            let labels = Labels::from_pairs(labels).unwrap();
            let mut writer = batch.start_labels(&labels);
            for half in begin * 2..120 * 2 {
                let load = 100.0 * own * young * change * (1.0 + jitter(half));
                let value = if metric == "up" { 1.0 } else { load };
                writer.push(START_MS + half * MINUTE_MS / 2 + 1_000, value);
            }
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
}

fn request(key: &str, has_fresh: bool) -> Value {
    let mut request = body(key);
    request["policy"]["pre_period"] = json!("9h");
    request["policy"]["checks"] = json!([{ "name": "load", "kind": "mean",
        "value": "avg by (instance) (avg_over_time(load{$cohort}[$interval]))", "margin": { "relative": "20%" } }]);
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    if has_fresh {
        request["fresh"] = json!({ "name": "1 fresh", "match": "{service_name=\"shop\", track=\"fresh\"}" });
    }
    request
}

/// Judges to the end, with a restart after the second look where one is asked for, and returns the verdict.
async fn judged(factor: f64, request: Value, restart: bool) -> Value {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    feed(&bench, factor).await;
    let (_, release) = bench.judged(request.clone(), restart).await;
    assert_eq!(release["fresh"]["match"], request["fresh"]["match"], "{release:#}");
    release["verdict"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_pods_are_held_against_fresh_ones_of_the_old_version() {
    let good = judged(1.0, request("good", true), false).await;
    let pods = &good["checks"][0]["new_pods"];
    assert_eq!((&pods["compared_with"], &pods["fresh"]), (&json!("fresh"), &json!(3)), "{good:#}");
    assert_eq!((&pods["canary"], &pods["old"]), (&json!(3), &json!(5)), "{good:#}");
    assert_eq!(good["decision"], "go", "{good:#}");
    let cohorts = &good["cohorts"];
    assert_eq!((&cohorts["fresh"]["name"], &cohorts["fresh"]["units"]), (&json!("1 fresh"), &json!(3)));
    assert_eq!((&cohorts["baseline"]["units"], &cohorts["canary"]["units"]), (&json!(5), &json!(3)));
    let bad = judged(1.5, request("bad", true), false).await;
    assert_eq!(bad["decision"], "no_go", "{bad:#}");
    assert_eq!(bad["checks"][0]["new_pods"]["compared_with"], "fresh", "{bad:#}");
    let again = judged(1.0, request("good", true), true).await;
    assert_eq!(again["evidence"]["digest"], good["evidence"]["digest"], "a restart changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_cohort_they_are_old_pods_and_nothing_can_go() {
    let verdict = judged(1.0, request("none", false), false).await;
    assert_eq!(verdict["decision"], "inconclusive", "{verdict:#}");
    assert_eq!(verdict["cohorts"]["fresh"], Value::Null, "{verdict:#}");
    assert_eq!(verdict["cohorts"]["baseline"]["units"], 8, "{verdict:#}");
    assert_ne!(verdict["checks"][0]["new_pods"]["compared_with"], "fresh", "{verdict:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_pods_that_are_a_side_again_are_refused() {
    let bench = Bench::start(START_MS).await;
    let mut same = request("same", true);
    same["fresh"] = json!({ "name": "1" });
    let (status, problem) = bench.ask("POST", "/api/v1/releases", same).await;
    assert_eq!((status, &problem["error"]["field"]), (StatusCode::BAD_REQUEST, &json!("fresh.match")));
}
