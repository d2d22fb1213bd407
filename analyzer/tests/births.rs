//! A canary of new pods is compared with earlier starts of the service's pods, as the store has them.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use greylight_store::append::MetricBatch;
use greylight_store::model::{Labels, TenantId};
use serde_json::{Value, json};

use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// A pod: its name, its version, and the minutes in which it begins and ends.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) version: &'static str,
    pub(crate) begin: i64,
    pub(crate) end: i64,
}

/// Ten settled pods, twelve starts in six events, and a canary of two.
pub(crate) fn pods() -> Vec<Pod> {
    let pod = |name: String, version, begin, end| Pod { name, version, begin, end };
    let mut all: Vec<Pod> = (0..10).map(|n| pod(format!("old-{n}"), "1", -1400, 120)).collect();
    for event in 0..6 {
        let begin = -1200 + event * 180;
        all.extend((0..2).map(|n| pod(format!("born-{event}-{n}"), "1", begin + n, begin + 150)));
    }
    all.extend((0..2).map(|n| pod(format!("new-{n}"), "2", 0, 120)));
    all
}

/// Evenly spread over -1 to 1.
pub(crate) fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 32;
    (x % 20_001) as f64 / 10_000.0 - 1.0
}

/// Writes each pod's load twice a minute: about 100, higher in the first minutes of a life, on the canary times `factor`.
pub(crate) async fn feed(bench: &Bench, factor: f64) {
    let mut batch = MetricBatch::default();
    for (number, pod) in pods().iter().enumerate() {
        let own = 1.0 + 0.02 * noise(number as u64 + 77);
        let change = if pod.version == "2" { factor } else { 1.0 };
        let label = |name: &str| {
            let all = [
                ("__name__", name),
                ("instance", pod.name.as_str()),
                ("job", "shop"),
                ("service_name", "shop"),
                ("service_version", pod.version),
            ];
            Labels::from_pairs(all).unwrap()
        };
        let mut samples = Vec::new();
        for half in pod.begin * 2..pod.end * 2 {
            let age = (half - pod.begin * 2) as f64 / 2.0;
            let cold = 0.4 * (-age / 2.0).exp();
            let jitter = 0.05 * noise((number as u64) << 32 | (half + 100_000) as u64);
            samples.push((
                START_MS + half * MINUTE_MS / 2 + 1_000,
                100.0 * own * change * (1.0 + cold + jitter),
            ));
        }
        for name in ["up", "load"] {
            let mut writer = batch.start_labels(&label(name));
            samples.iter().for_each(|&(t, v)| writer.push(t, if name == "up" { 1.0 } else { v }));
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
}

pub(crate) fn request(key: &str, births: bool) -> Value {
    let mut request = body(key);
    request["policy"]["checks"] = json!([{ "name": "load", "kind": "mean",
        "value": "avg by (instance) (avg_over_time(load{$cohort}[$interval]))", "margin": { "relative": "20%" } }]);
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    if births {
        request["policy"]["births"] = json!({ "window": "1d", "at_most": 100 });
    }
    request
}

/// Judges to the end and returns the verdict.
async fn judged(bench: Bench, request: Value, restart: bool) -> Value {
    bench.judged(request, restart).await.1["verdict"].clone()
}

pub(crate) async fn fed(factor: f64) -> Bench {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    feed(&bench, factor).await;
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn new_pods_are_held_against_earlier_starts() {
    let good = judged(fed(1.0).await, request("good", true), false).await;
    let pods = &good["checks"][0]["new_pods"];
    assert_eq!(
        (&pods["compared_with"], &pods["births"], &pods["events"]),
        (&json!("births"), &json!(12), &json!(6))
    );
    assert_eq!((&pods["canary"], &pods["old"]), (&json!(2), &json!(10)), "{good:#}");
    assert_eq!(good["decision"], "go", "{good:#}");
    let bad = judged(fed(1.5).await, request("bad", true), false).await;
    assert_eq!(bad["decision"], "no_go", "{bad:#}");
    assert_eq!(bad["checks"][0]["new_pods"]["births"], 12, "{bad:#}");
    let again = judged(fed(1.0).await, request("good", true), true).await;
    assert_eq!(again["evidence"]["digest"], good["evidence"]["digest"], "a restart changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_them_new_pods_cannot_go() {
    let verdict = judged(fed(1.0).await, request("none", false), false).await;
    assert_eq!(verdict["decision"], "inconclusive", "{verdict:#}");
    assert_ne!(verdict["checks"][0]["new_pods"]["compared_with"], "births", "{verdict:#}");
}
