//! Phases of all traffic: the canary against what its own units did before.

use axum::http::StatusCode;
use greylight_store::append::MetricBatch;
use greylight_store::model::{Labels, TenantId};
use serde_json::{Value, json};

use crate::births::noise;
use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Writes four hosts' load twice a minute for a day and two hours: version 1 before the release, 2 since, times `factor`.
async fn fed(factor: f64) -> Bench {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    let mut batch = MetricBatch::default();
    for host in 0..4_u64 {
        let name = format!("host-{host}");
        for (version, range) in [("1", -2_880..0), ("2", 0..240)] {
            let all = [
                ("__name__", "load"),
                ("instance", name.as_str()),
                ("service_name", "shop"),
                ("service_version", version),
            ];
            let labels = Labels::from_pairs(all).unwrap_or_else(|e| panic!("{e}"));
            let change = if version == "2" { factor } else { 1.0 };
            let mut writer = batch.start_labels(&labels);
            for half in range {
                let jitter = 0.1 * noise(host << 32 | (half + 100_000_i64) as u64);
                let value = 100.0 * (1.0 + 0.3 * host as f64) * change * (1.0 + jitter);
                writer.push(START_MS + half * MINUTE_MS / 2 + 1_000, value);
            }
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap_or_else(|e| panic!("{e}"));
    bench
}

fn request(key: &str) -> Value {
    let mut request = body(key);
    request["policy"]["checks"] = json!([{ "name": "load", "kind": "mean",
        "value": "avg by (instance) (avg_over_time(load{$cohort}[$interval]))", "margin": { "relative": "10%" } }]);
    request["policy"]["phases"] = json!([{ "name": "all", "traffic_share": 1, "baseline": { "when": "before" },
        "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hosts_are_held_against_their_own_past() {
    let (_, good) = fed(1.0).await.judged(request("good"), true).await;
    let verdict = &good["verdict"];
    assert_eq!(verdict["decision"], "go", "{verdict:#}");
    let baseline = verdict["checks"][0]["values"]["baseline"].as_f64();
    assert!(baseline.is_some_and(|mean| (mean - 145.0).abs() < 3.0), "{verdict:#}");
    assert!(verdict["validity"].to_string().contains("stand in for the baseline"), "{verdict:#}");
    let (_, bad) = fed(1.3).await.judged(request("bad"), false).await;
    assert_eq!(bad["verdict"]["decision"], "no_go", "{bad:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_without_a_past_cannot_go() {
    let mut request = request("new");
    // Nothing was of this version: there is no before.
    request["baseline"] = json!({ "name": "0" });
    let (_, release) = fed(1.0).await.judged(request, false).await;
    let verdict = &release["verdict"];
    assert_eq!(verdict["decision"], "inconclusive", "{verdict:#}");
    assert_eq!(verdict["reasons"][0]["code"], "no_history", "{verdict:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_need_a_baseline_at_the_same_time() {
    let bench = fed(1.0).await;
    let mut request = request("counts");
    request["policy"]["checks"] = json!([{ "name": "errors", "kind": "ratio", "events": "e{$cohort}", "trials": "t{$cohort}", "vote": "veto" }]);
    let (status, answer) = bench.ask("POST", "/api/v1/releases", request).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer:#}");
    assert_eq!(answer["error"]["field"], "policy.phases[0]", "{answer:#}");
}
