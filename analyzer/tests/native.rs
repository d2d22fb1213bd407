//! A release judged by native histograms in the store.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use greylight_store::append::MetricBatch;
use greylight_store::model::{Buckets, Histogram, Labels, Span, TenantId};
use serde_json::{Value, json};

use crate::releases::{Bench, MINUTE_MS, START_MS, body};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

/// Version 1 on four hosts, version 2 on the last one from the start on.
fn version(host: &str, minute: i64) -> &'static str {
    if host == "d" && minute >= 0 { "2" } else { "1" }
}

/// Requests of a minute by bucket of schema 3, eight buckets a doubling: 100 around half a second, in a pattern that
/// varies from minute to minute.
fn requests(host: &str, minute: i64) -> [f64; 5] {
    let salt = (minute * 7 + host.len() as i64 * 3 + i64::from(host.as_bytes()[0])).rem_euclid(5) as f64;
    [10.0 + salt, 20.0 - salt, 40.0, 20.0 + salt, 10.0 - salt]
}

/// Writes histograms whose observations of version 2 are `slower` buckets higher. A process counts from zero, and its
/// resolution is halved when it has counted for an hour.
async fn observe(bench: &Bench, minutes: std::ops::Range<i64>, slower: i32) {
    let mut batch = MetricBatch::default();
    for host in HOSTS {
        for version in ["1", "2"] {
            let own: Vec<i64> =
                minutes.clone().filter(|&minute| self::version(host, minute) == version).collect();
            let pairs = [
                ("__name__", "latency_seconds"),
                ("instance", host),
                ("job", "shop"),
                ("service_name", "shop"),
                ("service_version", version),
            ];
            let mut writer = batch.start_labels(&Labels::from_pairs(pairs).unwrap());
            let mut sums = [0.0; 5];
            for (n, &minute) in own.iter().enumerate() {
                sums.iter_mut().zip(requests(host, minute)).for_each(|(sum, n)| *sum += n);
                let first = if version == "2" { -8 + slower } else { -8 };
                let (schema, positive) = if n < 60 {
                    (3, Buckets { spans: vec![Span { offset: first, length: 5 }], counts: sums.to_vec() })
                } else {
                    // Two buckets of schema 3 are one of schema 2; an odd one is the first of its pair.
                    let at = |bucket: i32| (first + bucket - 1).div_euclid(2) + 1;
                    let mut counts = vec![0.0; usize::try_from(at(4) - at(0) + 1).unwrap()];
                    for (bucket, sum) in (0..).zip(&sums) {
                        counts[usize::try_from(at(bucket) - at(0)).unwrap()] += sum;
                    }
                    let span = Span { offset: at(0), length: counts.len() as u32 };
                    (2, Buckets { spans: vec![span], counts })
                };
                let count = sums.iter().sum();
                let sample = Histogram { schema, count, sum: count * 0.5, positive, ..Histogram::default() };
                writer.push_histogram(START_MS + minute * MINUTE_MS + 30_000, sample).unwrap();
            }
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
}

/// Judges a release to the end of its first phase, or until it is decided.
async fn judged(key: &str, slower: i32) -> Value {
    let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
    observe(&bench, -180..60, slower).await;
    let mut request = body(key);
    request["policy"]["checks"] = json!([{ "name": "latency", "kind": "distribution",
        "histogram": "latency_seconds{$cohort}", "margin": { "relative": 0.2, "at": [0.5] } }]);
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap_or_else(|| panic!("{release:#}")).to_string();
    bench.until(&id, |r| r["phases"][0]["looks"].as_u64() >= Some(2)).await;
    bench.clock.advance(Duration::from_secs(50 * 60));
    let is_over = |r: &Value| r["state"] == "decided" || r["phases"][0]["looks"].as_u64() >= Some(50);
    let release = bench.until(&id, is_over).await;
    bench.replays(&id).await;
    release["deciding_check"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slower_release_is_refused_by_its_native_histogram() {
    let check = judged("slower", 4).await;
    assert_eq!(check["decision"], "no_go", "{check:#}");
    let estimate = check["effect"]["estimate"].as_f64().unwrap();
    assert!((0.3..0.55).contains(&estimate), "half a doubling is 41 %: {estimate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_release_is_not() {
    let check = judged("unchanged", 0).await;
    assert_ne!(check["decision"], "no_go", "{check:#}");
    let estimate = check["effect"]["estimate"].as_f64().unwrap();
    assert!(estimate.abs() < 0.02, "{check:#}");
    let median = check["values"]["baseline"].as_f64().unwrap();
    assert!((0.45..0.65).contains(&median), "{check:#}");
}
