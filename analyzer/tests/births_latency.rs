//! Latencies of new pods are compared with earlier starts and with fresh pods, as the store has them: classic and native
//! histograms, and a field of the access log.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Buckets, Histogram, Labels, LogRecord, Span, TenantId, Timestamp};
use serde_json::{Value, json};

use crate::births::{Pod, noise, pods};
use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Where latencies are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Classic,
    Native,
    Logged,
}

const EDGES: [f64; 9] = [0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17, 0.25, 0.5];

fn labels(pod: &Pod, more: &[(&str, &str)]) -> Labels {
    let own = [
        ("instance", pod.name.as_str()),
        ("job", "shop"),
        ("service_name", "shop"),
        ("service_version", pod.version),
    ];
    Labels::from_pairs(own.into_iter().chain(more.iter().copied())).unwrap()
}

/// What a pod's requests of a half minute took: around 0.1 s, more in the first minutes, of version 2 `factor` times
/// as much.
fn took(number: usize, pod: &Pod, half: i64, n: i64, factor: f64) -> Vec<f64> {
    let own = 1.0 + 0.02 * noise(number as u64 + 77);
    let change = if pod.version == "2" { factor } else { 1.0 };
    let age = (half - pod.begin * 2) as f64 / 2.0;
    let cold = 1.0 + 0.4 * (-age / 2.0).exp();
    let one = |k: i64| {
        let seed = (number as u64) << 40 | ((half + 100_000) as u64) << 8;
        let z: f64 = (0..3).map(|j| noise(seed | (3 * k + j) as u64)).sum();
        0.1 * own * change * cold * (0.4 * z).exp()
    };
    (0..n).map(one).collect()
}

/// Writes counters of classic buckets.
fn classic(batch: &mut MetricBatch, number: usize, pod: &Pod, factor: f64) {
    let halves: Vec<i64> = (pod.begin * 2..pod.end * 2).collect();
    let all: Vec<Vec<f64>> = halves.iter().map(|half| took(number, pod, *half, 20, factor)).collect();
    for edge in EDGES.into_iter().chain([f64::INFINITY]) {
        let le = if edge.is_finite() { edge.to_string() } else { "+Inf".to_owned() };
        let mut writer =
            batch.start_labels(&labels(pod, &[("__name__", "took_seconds_bucket"), ("le", &le)]));
        let mut sum = 0.0;
        for (half, values) in halves.iter().zip(&all) {
            sum += values.iter().filter(|value| **value <= edge).count() as f64;
            writer.push(START_MS + half * MINUTE_MS / 2 + 1_000, sum);
        }
    }
}

/// Writes native histograms of schema 3.
fn native(batch: &mut MetricBatch, number: usize, pod: &Pod, factor: f64) {
    const FIRST: i32 = -60;
    let mut writer = batch.start_labels(&labels(pod, &[("__name__", "took_seconds")]));
    let mut sums = vec![0.0; 60];
    for half in pod.begin * 2..pod.end * 2 {
        for value in took(number, pod, half, 20, factor) {
            sums[((value.log2() * 8.0).ceil() as i32 - FIRST).clamp(0, 59) as usize] += 1.0;
        }
        let positive = Buckets { spans: vec![Span { offset: FIRST, length: 60 }], counts: sums.clone() };
        let count = sums.iter().sum();
        let sample = Histogram { schema: 3, count, sum: count * 0.1, positive, ..Histogram::default() };
        writer.push_histogram(START_MS + half * MINUTE_MS / 2 + 1_000, sample).unwrap();
    }
}

/// Writes an access log, two records a half minute and pod.
async fn log(bench: &Bench, number: usize, pod: &Pod, factor: f64) {
    let mut records = Vec::new();
    for half in pod.begin * 2..pod.end * 2 {
        for (k, took) in (0..).zip(took(number, pod, half, 2, factor)) {
            let time = Timestamp::from_millis(START_MS + half * MINUTE_MS / 2 + 1_000 + 10_000 * k);
            records.push(LogRecord {
                time,
                observed_time: time,
                severity_number: 9,
                severity_text: String::new(),
                body: json!({ "status": 200, "took": (took * 1e4).round() / 1e4 }).to_string(),
                labels: labels(pod, &[]),
                attributes: Vec::new(),
                trace_id: None,
                span_id: None,
                uid: None,
            });
        }
    }
    bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
}

async fn fed(kept: Kept, pods: &[Pod], factor: f64) -> Bench {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    let mut batch = MetricBatch::default();
    for (number, pod) in pods.iter().enumerate() {
        let mut writer = batch.start_labels(&labels(pod, &[("__name__", "up")]));
        let halves = pod.begin * 2..pod.end * 2;
        halves.for_each(|half| writer.push(START_MS + half * MINUTE_MS / 2 + 1_000, 1.0));
        drop(writer);
        match kept {
            Kept::Classic => classic(&mut batch, number, pod, factor),
            Kept::Native => native(&mut batch, number, pod, factor),
            Kept::Logged => log(&bench, number, pod, factor).await,
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    bench
}

fn request(key: &str, kept: Kept) -> Value {
    let mut request = body(key);
    request["policy"]["pre_period"] = json!("10h");
    let margin = json!({ "relative": "25%" });
    request["policy"]["checks"] = match kept {
        Kept::Logged => json!([{ "name": "latency", "kind": "distribution", "margin": margin,
            "values": { "logs": "*", "match": "{$cohort}", "field": "took" } }]),
        _ => json!([{ "name": "latency", "kind": "distribution", "margin": margin,
            "histogram": "took_seconds{$cohort}" }]),
    };
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    request["policy"]["births"] = json!({ "window": "1d", "at_most": 100 });
    request
}

async fn judged(kept: Kept, factor: f64, restart: bool) -> Value {
    let bench = fed(kept, &pods(), factor).await;
    let key = format!("{kept:?} {factor}").to_lowercase().replace(' ', "-");
    bench.judged(request(&key, kept), restart).await.1["verdict"].clone()
}

async fn by_births(kept: Kept) {
    let good = judged(kept, 1.0, false).await;
    let pods = &good["checks"][0]["new_pods"];
    assert_eq!(
        (&pods["compared_with"], &pods["births"], &pods["events"]),
        (&json!("births"), &json!(12), &json!(6)),
        "{good:#}"
    );
    assert_eq!((&pods["canary"], &pods["old"]), (&json!(2), &json!(10)), "{good:#}");
    assert_eq!(good["decision"], "go", "{good:#}");
    let bad = judged(kept, 1.6, false).await;
    assert_eq!(bad["decision"], "no_go", "{bad:#}");
    let estimate = bad["checks"][0]["effect"]["estimate"].as_f64().unwrap();
    assert!((0.4..0.9).contains(&estimate), "{bad:#}");
    let again = judged(kept, 1.0, true).await;
    assert_eq!(again["evidence"]["digest"], good["evidence"]["digest"], "a restart changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn classic_histograms_of_new_pods_are_held_against_earlier_starts() {
    by_births(Kept::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_of_new_pods_are_held_against_earlier_starts() {
    by_births(Kept::Native).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_logs_of_new_pods_are_held_against_earlier_starts() {
    by_births(Kept::Logged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latencies_of_new_pods_are_held_against_fresh_ones() {
    let pod = |name: String, version, begin| Pod { name, version, begin, end: 120 };
    let all = || -> Vec<Pod> {
        let old = (0..5).map(|n| pod(format!("old-{n}"), "1", -600));
        let new = (0..3).map(|n| pod(format!("new-{n}"), "2", 0));
        old.chain(new).chain((0..3).map(|n| pod(format!("fresh-{n}"), "1", 0))).collect()
    };
    let judged = async |factor: f64, restart: bool| {
        let mut request = request("fresh", Kept::Classic);
        request["policy"]["pre_period"] = json!("9h");
        request["policy"]["births"] = Value::Null;
        request["policy"].as_object_mut().unwrap().remove("births");
        let matchers = "{service_name=\"shop\", instance=~\"fresh-.*\"}";
        request["fresh"] = json!({ "name": "1 fresh", "match": matchers });
        fed(Kept::Classic, &all(), factor).await.judged(request, restart).await.1["verdict"].clone()
    };
    let good = judged(1.0, false).await;
    let pods = &good["checks"][0]["new_pods"];
    assert_eq!((&pods["compared_with"], &pods["fresh"]), (&json!("fresh"), &json!(3)), "{good:#}");
    assert_eq!((&pods["canary"], &pods["old"]), (&json!(3), &json!(5)), "{good:#}");
    assert_eq!(good["decision"], "go", "{good:#}");
    assert_eq!(judged(1.6, false).await["decision"], "no_go");
    let again = judged(1.0, true).await;
    assert_eq!(again["evidence"]["digest"], good["evidence"]["digest"], "a restart changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_births_of_latencies_will_show_is_told_beforehand() {
    let bench = fed(Kept::Classic, &pods(), 1.0).await;
    let (_, release) = bench.ask("POST", "/api/v1/releases", request("told", Kept::Classic)).await;
    let path = format!("/api/v1/releases/{}/announce", release["id"].as_str().unwrap_or_default());
    let (_, answer) = bench.ask("GET", &path, Value::Null).await;
    let check = &answer["phases"][0]["checks"][0];
    assert_eq!(check["new_pods"]["compared_with"], "births", "{answer:#}");
    let shift = check["shift"]["value"].as_f64().unwrap_or_else(|| panic!("{answer:#}"));
    assert!((0.01..0.25).contains(&shift), "{check:#}");
    assert_eq!(check["shift"]["measure"], "relative");
    assert!(check["go_in"].is_string() && check["reason"].is_null(), "{check:#}");
}
