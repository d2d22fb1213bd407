//! Releases whose checks have one test a value: of a field of log records, and of a label of series.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Labels, LogRecord, TenantId, Timestamp};
use serde_json::{Value, json};

use crate::births::noise;
use crate::releases::{Bench, MINUTE_MS, START_MS, body};

/// Requests of one route that one host answers in a minute.
const REQUESTS: i64 = 12;

fn labels(host: &str, version: &str) -> Vec<(&'static str, String)> {
    vec![
        ("instance", host.to_owned()),
        ("job", "shop".to_owned()),
        ("service_name", "shop".to_owned()),
        ("service_version", version.to_owned()),
    ]
}

/// Version 1 on four hosts, version 2 on the last one from the start on.
fn version(host: &str, minute: i64) -> &'static str {
    if host == "d" && minute >= 0 { "2" } else { "1" }
}

/// Failed requests of a minute: of the payments of version 2 four times as many.
fn failed(route: &str, version: &str, minute: i64) -> i64 {
    match (route, version) {
        ("/pay", "2") => 4,
        ("/pay", _) => 1,
        _ => i64::from(minute.rem_euclid(4) == 0),
    }
}

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];
const ROUTES: [&str; 2] = ["/cart", "/pay"];

/// Writes an access log, a record a request.
///
/// Each takes about 0.2 s; payments of version 2 take `slow` times as long.
async fn log(bench: &Bench, minutes: std::ops::Range<i64>, slow: f64) {
    for minute in minutes {
        let mut records = Vec::new();
        for host in HOSTS {
            let version = version(host, minute);
            for route in ROUTES {
                for n in 0..REQUESTS {
                    let status = if n < failed(route, version, minute) { 500 } else { 200 };
                    let time = Timestamp::from_millis(START_MS + minute * MINUTE_MS + n * 4_000 + 7);
                    let seed = (minute + 1_000) * 1_000_003 + n * 1_009 + i64::from(host.as_bytes()[0]) * 7;
                    let change = if route == "/pay" && version == "2" { slow } else { 1.0 };
                    let took = 0.2 * change * (1.0 + 0.3 * noise(seed.unsigned_abs()));
                    records.push(LogRecord {
                        time,
                        observed_time: time,
                        severity_number: 9,
                        severity_text: String::new(),
                        body: json!({ "route": route, "status": status, "n": n, "took": took }).to_string(),
                        labels: Labels::from_pairs(labels(host, version)).unwrap(),
                        attributes: Vec::new(),
                        trace_id: None,
                        span_id: None,
                        uid: None,
                    });
                }
            }
        }
        bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
    }
}

/// Writes the same as counters by route; the trials have no label for it.
async fn count(bench: &Bench, minutes: std::ops::Range<i64>) {
    let mut batch = MetricBatch::default();
    for host in HOSTS {
        for version in ["1", "2"] {
            let own: Vec<i64> =
                minutes.clone().filter(|&minute| self::version(host, minute) == version).collect();
            let mut push = |name: &str, route: Option<&str>, value: &dyn Fn(i64) -> i64| {
                let mut all = labels(host, version);
                all.push(("__name__", name.to_owned()));
                all.extend(route.map(|route| ("route", route.to_owned())));
                let labels = Labels::from_pairs(all).unwrap();
                let mut writer = batch.start_labels(&labels);
                let mut sum = 0;
                for &minute in &own {
                    sum += value(minute);
                    writer.push(START_MS + minute * MINUTE_MS + 30_000, sum as f64);
                }
            };
            push("requests_total", None, &|_| 2 * REQUESTS);
            for route in ROUTES {
                push("failures_total", Some(route), &|minute| failed(route, version, minute));
            }
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
}

fn request(key: &str, events: Value, trials: Value) -> Value {
    let mut request = body(key);
    request["policy"]["checks"] = json!([{ "name": "errors by route", "kind": "ratio", "events": events,
        "trials": trials, "by": "route", "by_limit": 5, "margin": { "absolute": 0.05 } }]);
    request
}

/// Checks that the payments refuse the release and the cart does not, and returns the digest of the evidence.
async fn refused_by_payments(mut bench: Bench, request: Value, restart: bool) -> Value {
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap_or_else(|| panic!("{release:#}")).to_string();
    bench.until(&id, |r| r["phases"][0]["looks"].as_u64() >= Some(2)).await;
    if restart {
        bench = bench.restart().await;
    }
    bench.clock.advance(Duration::from_secs(55 * 60));
    let release = bench.until(&id, |r| r["state"] == "decided").await;
    let verdict = &release["verdict"];
    assert_eq!(verdict["decision"], "no_go", "{verdict:#}");
    let check = &verdict["checks"][0];
    let decisions: Vec<(&str, &str)> = (check["by"].as_array().unwrap().iter())
        .map(|one| (one["value"].as_str().unwrap(), one["decision"].as_str().unwrap()))
        .collect();
    assert!(decisions.contains(&("/pay", "no_go")), "{check:#}");
    assert!(decisions.iter().any(|(value, decision)| *value == "/cart" && *decision != "no_go"), "{check:#}");
    let path = format!("/api/v1/releases/{id}");
    let (_, whole) = bench.ask("GET", &path, Value::Null).await;
    assert!(whole.to_string().contains("/pay"), "{whole:#}");
    bench.replays(&id).await;
    verdict["evidence"]["digest"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_route_of_an_access_log_refuses_a_release() {
    let mut digests = Vec::new();
    for restart in [false, true] {
        let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
        log(&bench, -180..60, 1.0).await;
        let events = json!({ "logs": "status:>=500", "match": "{$cohort}" });
        let trials = json!({ "logs": "*", "match": "{$cohort}" });
        digests.push(refused_by_payments(bench, request("logs", events, trials), restart).await);
    }
    assert_eq!(digests[0], digests[1], "a restart changes nothing");
}

fn request_of_values(key: &str) -> Value {
    let mut request = body(key);
    request["policy"]["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }]);
    request["policy"]["checks"] = json!([{ "name": "time by route", "kind": "distribution",
        "values": { "logs": "*", "match": "{$cohort}", "field": "took" }, "by": "route",
        "margin": { "relative": "30%" } }]);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_route_refuses_a_release() {
    let mut digests = Vec::new();
    for restart in [false, true] {
        let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
        log(&bench, -180..60, 1.6).await;
        digests.push(refused_by_payments(bench, request_of_values("slow"), restart).await);
    }
    assert_eq!(digests[0], digests[1], "a restart changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_as_fast_as_before_let_a_release_go() {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    log(&bench, -200..70, 1.0).await;
    let mut request = request_of_values("same");
    request["pre_period"] = json!("200m");
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap_or_else(|| panic!("{release:#}"));
    bench.clock.advance(Duration::from_secs(70 * 60));
    let release = bench.until(id, |r| r["state"] != "running").await;
    let verdict = &release["verdict"];
    assert_eq!(verdict["decision"], "go", "{verdict:#}");
    let by = verdict["checks"][0]["by"].as_array().unwrap();
    let mut values: Vec<&str> = by.iter().map(|one| one["value"].as_str().unwrap()).collect();
    values.sort_unstable();
    assert!(values.starts_with(&["/cart", "/pay"]), "{by:#?}");
    bench.replays(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_without_the_label_are_those_of_each_value() {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    count(&bench, -180..60).await;
    let events = json!("failures_total{$cohort}");
    let trials = json!("requests_total{$cohort}");
    refused_by_payments(bench, request("labels", events, trials), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_with_too_many_values_is_named() {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    let mut records = Vec::new();
    for n in 0..2_500 {
        let time = Timestamp::from_millis(START_MS - 600_000 + n * 200);
        records.push(LogRecord {
            time,
            observed_time: time,
            severity_number: 9,
            severity_text: String::new(),
            body: json!({ "route": format!("/{n}"), "status": 200 }).to_string(),
            labels: Labels::from_pairs(labels("a", "1")).unwrap(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            uid: None,
        });
    }
    bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
    let events = json!({ "logs": "status:>=500", "match": "{$cohort}" });
    let trials = json!({ "logs": "*", "match": "{$cohort}" });
    let (_, release) = bench.ask("POST", "/api/v1/releases", request("many", events, trials)).await;
    let id = release["id"].as_str().unwrap();
    let release = bench.until(id, |r| r["state"] != "running").await;
    assert!(release.to_string().contains("has 2500 values, more than 2000"), "{release:#}");
}
