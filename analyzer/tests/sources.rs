//! Checks that read other stores: the same decisions and numbers as from the own one, faults of the network, refusals.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod prometheus;
mod servers;

use std::time::Duration;

use axum::http::StatusCode;
use greylight_analyzer::{AnalyzerConfig, SourceConfig, SourceKind};
use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Labels, LogRecord, TenantId, Timestamp};
use serde_json::{Value, json};

use crate::births::noise;
use crate::releases::{Bench, MINUTE_MS, START_MS, body};
use prometheus::Prometheus;
use servers::{Fault, Server};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];
const HISTORY_MIN: i64 = -185;
const END_MIN: i64 = 70;

/// Version 1 on four hosts, version 2 on the last one from the start on.
fn version(host: &str, minute: i64) -> &'static str {
    if host == "d" && minute >= 0 { "2" } else { "1" }
}

fn seed(host: &str, k: i64, salt: i64) -> u64 {
    ((k + 100_000) * 1_000_003 + i64::from(host.as_bytes()[0]) * 7_919 + salt * 104_729).unsigned_abs()
}

fn labels(host: &str, version: &str, more: &[(&'static str, &str)]) -> Labels {
    let own = [("instance", host), ("job", "shop"), ("service_name", "shop"), ("service_version", version)];
    Labels::from_pairs(own.iter().chain(more).copied()).unwrap()
}

/// Samples of four hosts, one each 15 s; the canary fails `factor` times as often.
fn samples(from_min: i64, factor: f64) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for host in HOSTS {
        for side in ["1", "2"] {
            let times: Vec<i64> =
                (from_min * 4..END_MIN * 4).filter(|k| version(host, k.div_euclid(4)) == side).collect();
            let mut columns: Vec<(Labels, Vec<(i64, f64)>)> = Vec::new();
            let mut add =
                |name: &'static str, more: &[(&'static str, &str)], value: &mut dyn FnMut(i64) -> f64| {
                    let more: Vec<(&'static str, &str)> =
                        [("__name__", name)].iter().chain(more).copied().collect();
                    let at = |k: i64| START_MS + k * MINUTE_MS / 4 + 1_001;
                    let column = times.iter().map(|k| (at(*k), value(*k))).collect();
                    columns.push((labels(host, side, &more), column));
                };
            add("up", &[], &mut |_| 1.0);
            let (mut ok, mut failed, mut seconds) = (0.0, 0.0, 0.0);
            add("requests_total", &[("code", "200")], &mut |k| {
                ok += 25.0 + (5.0 * noise(seed(host, k, 1))).round();
                ok
            });
            let often = if side == "2" { factor } else { 1.0 };
            add("requests_total", &[("code", "500")], &mut |k| {
                failed += (often * (1.0 + noise(seed(host, k, 2)))).round().max(0.0);
                failed
            });
            add("cpu_seconds_total", &[], &mut |k| {
                seconds += 3.0 + 0.3 * noise(seed(host, k, 3));
                seconds
            });
            for (le, share) in [("0.1", 0.5), ("0.5", 0.9), ("+Inf", 1.0)] {
                let mut count = 0.0;
                add("took_seconds_bucket", &[("le", le)], &mut |k| {
                    count += ((25.0 + 5.0 * noise(seed(host, k, 4))) * share).round();
                    count
                });
            }
            add("restarts_total", &[], &mut |k| (k.div_euclid(97)) as f64);
            for (labels, samples) in columns.into_iter().filter(|(_, samples)| !samples.is_empty()) {
                let mut writer = batch.start_labels(&labels);
                samples.into_iter().for_each(|(t, value)| writer.push(t, value));
            }
        }
    }
    // A host that tried version 2 long before the release: it is no unit of the canary, whatever lists its series.
    for code in ["200", "500"] {
        let mut writer =
            batch.start_labels(&labels("z", "2", &[("__name__", "requests_total"), ("code", code)]));
        (-170 * 4..-150 * 4).for_each(|k| writer.push(START_MS + k * MINUTE_MS / 4 + 1_001, k as f64));
    }
    batch
}

/// Records of an access log; of the canary's requests `factor` times as many fail.
fn records(minutes: std::ops::Range<i64>, factor: i64) -> Vec<LogRecord> {
    let mut all = Vec::new();
    for minute in minutes {
        for n in 0..12 {
            for host in HOSTS {
                let version = version(host, minute);
                for route in ["/cart", "/pay"] {
                    let often = if version == "2" { factor } else { 1 };
                    let is_bad = n < often && minute.rem_euclid(2) == 0;
                    let took = 0.2 * (1.0 + 0.3 * noise(seed(host, minute * 12 + n, 9)));
                    let level = if is_bad { "error" } else { "info" };
                    let body = json!({ "level": level, "route": route, "status": if is_bad { 500 } else { 200 },
                        "took": took, "user_id": format!("u{host}-{}-{n}", minute.rem_euclid(60)),
                        "event": if n % 3 == 0 { "purchase" } else { "visit" } });
                    // Hosts write at the same nanosecond.
                    let time = Timestamp::from_millis(START_MS + minute * MINUTE_MS + n * 4_000 + 7);
                    all.push(LogRecord {
                        time,
                        observed_time: time,
                        severity_number: if is_bad { 17 } else { 9 },
                        severity_text: level.into(),
                        body: body.to_string(),
                        labels: labels(host, version, &[]),
                        attributes: Vec::new(),
                        trace_id: None,
                        span_id: None,
                        uid: None,
                    });
                }
            }
        }
    }
    all
}

fn source(kind: SourceKind, url: &str) -> SourceConfig {
    SourceConfig {
        name: "other".into(),
        kind,
        url: url.into(),
        headers: [("X-Scope-OrgID".to_owned(), "team".to_owned())].into(),
        index: None,
        tenants: None,
    }
}

fn config(source: SourceConfig) -> AnalyzerConfig {
    AnalyzerConfig { sources: vec![source], ..AnalyzerConfig::default() }
}

/// A release with these checks; each of `source`, where one is named.
fn request(key: &str, mut checks: Value, source: Option<&str>) -> Value {
    if let Some(source) = source {
        checks.as_array_mut().unwrap().iter_mut().for_each(|check| check["source"] = json!(source));
    }
    let mut request = body(key);
    request["policy"]["phases"] =
        json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "30m" } }]);
    request["policy"]["checks"] = checks;
    request
}

fn metric_checks() -> Value {
    json!([
        { "name": "errors", "kind": "ratio", "events": "requests_total{code=~\"5..\", $cohort}",
          "trials": "requests_total{$cohort}", "margin": { "absolute": 0.05 } },
        { "name": "restarts", "kind": "count", "events": "restarts_total{$cohort}", "vote": "veto" },
        { "name": "cpu", "kind": "mean", "margin": { "relative": "10%" }, "value":
          "sum by (instance) (rate(cpu_seconds_total{$cohort}[$interval])) / sum by (instance) (rate(requests_total{$cohort}[$interval]))" },
        { "name": "took", "kind": "distribution", "histogram": "took_seconds{$cohort}",
          "margin": { "relative": "10%", "at": [0.5] } },
    ])
}

fn log_checks() -> Value {
    json!([
        { "name": "errors", "kind": "ratio", "events": { "logs": "status:>=500" }, "trials": { "logs": "*" },
          "by": "route", "margin": { "absolute": 0.1 } },
        { "name": "failures", "kind": "count", "events": { "logs": "status:>=500" }, "vote": "veto" },
        { "name": "took", "kind": "distribution", "values": { "logs": "*", "field": "took" }, "vote": "veto" },
        { "name": "patterns", "kind": "patterns", "logs": "{$cohort}", "severity": "warn" },
        { "name": "buyers", "kind": "users", "harm": "down", "margin": { "relative": "30%" },
          "users": { "logs": "event:*", "user": "user_id", "value": { "query": "event:purchase" } } },
    ])
}

/// What two verdicts must have in common: everything but which release it was and how records are named.
fn judged(release: &Value) -> Value {
    let verdict = &release["verdict"];
    let mut checks = verdict["checks"].clone();
    for check in checks.as_array_mut().unwrap() {
        check.as_object_mut().unwrap().remove("queries");
        for pattern in check["patterns"].as_array_mut().into_iter().flatten() {
            pattern.as_object_mut().unwrap().remove("examples");
        }
    }
    json!({ "decision": verdict["decision"], "checks": checks, "decided_at": verdict["decided_at"],
        "cohorts": verdict["cohorts"], "reasons": verdict["reasons"], "validity": verdict["validity"],
        "phases": verdict["phases"], "rows": verdict["evidence"]["rows"], "range": verdict["evidence"]["range"] })
}

/// When the records were that a verdict shows, and what they are taken for.
fn examples(release: &Value) -> Vec<String> {
    let checks = release["verdict"]["checks"].as_array().unwrap();
    let patterns = checks.iter().flat_map(|check| check["patterns"].as_array().into_iter().flatten());
    let records = patterns.flat_map(|pattern| pattern["examples"].as_array().into_iter().flatten());
    records.map(|one| format!("{} {} {}", one["time"], one["severity"], one["pattern"])).collect()
}

#[track_caller]
fn same(own: &Value, other: &Value) {
    let (own, other) = (judged(own), judged(other));
    for key in own.as_object().unwrap().keys() {
        assert_eq!(own[key], other[key], "{key}");
    }
}

/// Each check's queries begin with the source.
#[track_caller]
fn names_its_source(release: &Value) {
    for check in release["verdict"]["checks"].as_array().unwrap() {
        let queries = check["queries"].as_array().unwrap();
        assert!(!queries.is_empty());
        assert!(
            queries.iter().all(|query| query.as_str().unwrap().starts_with("source other: ")),
            "{queries:?}"
        );
    }
}

const NOW_MS: i64 = START_MS + 5 * MINUTE_MS;

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_gives_the_same_verdict_as_the_own_store() {
    for (factor, want) in [(1.0, "go"), (4.0, "no_go")] {
        let folder = tempfile::tempdir().unwrap();
        let Some(peer) = Prometheus::start(folder.path()).await else { return };
        peer.write(&samples(HISTORY_MIN, factor)).await;
        let bench = Bench::start(NOW_MS).await;
        bench.store.appender().metrics(&TenantId::default(), samples(HISTORY_MIN, factor)).await.unwrap();
        let (_, own) = bench.judged(request("own", metric_checks(), None), false).await;
        assert_eq!(own["verdict"]["decision"], want, "{own:#}");
        let bench = Bench::start_with(NOW_MS, config(source(SourceKind::Prometheus, &peer.url))).await;
        let (_, other) = bench.judged(request("other", metric_checks(), Some("other")), true).await;
        same(&own, &other);
        names_its_source(&other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_history_is_read_from_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let Some(peer) = Prometheus::start(folder.path()).await else { return };
    peer.write(&samples(-24 * 60, 1.0)).await;
    let bench = Bench::start_with(NOW_MS, config(source(SourceKind::Prometheus, &peer.url))).await;
    let mut request = request("day", metric_checks(), Some("other"));
    request["policy"]["pre_period"] = json!("24h");
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap();
    let release = bench.until(id, |r| r["phases"][0]["looks"].as_u64() >= Some(1)).await;
    let verdict = &release["verdict"];
    assert_eq!(verdict["evidence"]["range"][0], "2026-11-20T10:00:00Z", "{verdict:#}");
    // Five checks' minutes of both sides.
    assert!(verdict["evidence"]["rows"].as_u64() > Some(5 * 1440), "{verdict:#}");
}

async fn log_verdicts(kind: SourceKind) {
    for (factor, want) in [(1, "go"), (6, "no_go")] {
        let bench = Bench::start(NOW_MS).await;
        let batch = LogBatch { records: records(HISTORY_MIN..END_MIN, factor) };
        bench.store.appender().logs(&TenantId::default(), batch).await.unwrap();
        // What tells the own store that the hosts were there.
        bench.store.appender().metrics(&TenantId::default(), samples(HISTORY_MIN, 1.0)).await.unwrap();
        let (_, own) = bench.judged(request("own", log_checks(), None), false).await;
        assert_eq!(own["verdict"]["decision"], want, "{own:#}");
        let server = Server::start(kind, records(HISTORY_MIN..END_MIN, factor)).await;
        server.fail([Fault::Status(429), Fault::Status(500), Fault::Cut, Fault::Status(503), Fault::Cut]);
        let bench = Bench::start_with(NOW_MS, config(source(kind, &server.url))).await;
        let (_, other) = bench.judged(request("other", log_checks(), Some("other")), true).await;
        same(&own, &other);
        names_its_source(&other);
        assert_eq!(server.n_faults_left(), 0);
        assert!(server.n_paged() > 0, "pages were full");
        assert_eq!(examples(&own), examples(&other));
        assert!(want == "go" || !examples(&other).is_empty(), "{other:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loki_gives_the_same_verdict_as_the_own_store() {
    log_verdicts(SourceKind::Loki).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_gives_the_same_verdict_as_the_own_store() {
    log_verdicts(SourceKind::Elasticsearch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_refuses_ends_the_release_and_one_that_is_away_does_not() {
    let server = Server::start(SourceKind::Loki, records(-20..10, 1)).await;
    let checks = || json!([log_checks()[0]]);
    server.fail(std::iter::repeat_n(Fault::Status(403), 1000));
    let bench = Bench::start_with(NOW_MS, config(source(SourceKind::Loki, &server.url))).await;
    let (_, release) = bench.ask("POST", "/api/v1/releases", request("no", checks(), Some("other"))).await;
    let id = release["id"].as_str().unwrap();
    let release = bench.until(id, |r| r["state"] != "running").await;
    assert_eq!(release["state"], "failed", "{release:#}");
    let text = release["verdict"]["reasons"].to_string();
    assert!(text.contains("source \\\"other\\\": answered 403 Forbidden: no: status 403"), "{text}");
    assert!(!text.contains("team"), "{text}");

    // Nobody listens any more: looks are tried again until the release ends.
    let gone = server.end().await;
    let bench = Bench::start_with(NOW_MS, config(source(SourceKind::Loki, &gone))).await;
    let mut request = request("away", checks(), Some("other"));
    request["end"] = json!("2026-11-21T10:20:00Z");
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap();
    for _ in 0..20 {
        bench.clock.advance(Duration::from_secs(2));
        let (_, release) = bench.ask("GET", &format!("/api/v1/releases/{id}"), Value::Null).await;
        assert_eq!((&release["state"], &release["phases"][0]["looks"]), (&json!("running"), &json!(0)));
        let _ = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
    }
    bench.clock.advance(Duration::from_secs(20 * 60));
    let release = bench.until(id, |r| r["state"] != "running").await;
    assert_eq!(
        (&release["state"], &release["verdict"]["decision"]),
        (&json!("decided"), &json!("inconclusive"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_made_early_once_the_source_has_later_records() {
    for kind in [SourceKind::Loki, SourceKind::Elasticsearch] {
        // The last records lie in minute 4, so minutes 2 and 3 are whole and minute 4 may not be.
        let server = Server::start(kind, records(-20..5, 1)).await;
        let bench = Bench::start_with(START_MS + 6 * MINUTE_MS, config(source(kind, &server.url))).await;
        let mut request = request("early", json!([log_checks()[0]]), Some("other"));
        request["policy"]["delay"] = json!("30m");
        let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
        let id = release["id"].as_str().unwrap();
        let looks = |r: &Value| r["phases"][0]["looks"].as_u64().unwrap();
        bench.until(id, |r| looks(r) == 2).await;
        for _ in 0..20 {
            bench.clock.advance(Duration::from_secs(2));
            let (_, release) = bench.ask("GET", &format!("/api/v1/releases/{id}"), Value::Null).await;
            assert_eq!(looks(&release), 2, "minute 4 waits for its delay or for later records");
        }
        server.put(records(5..6, 1));
        bench.clock.advance(Duration::from_secs(240));
        bench.until(id, |r| looks(r) == 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_cannot_serve_are_refused_with_their_path() {
    let mut logs = source(SourceKind::Loki, "http://127.0.0.1:9");
    logs.name = "logs".into();
    let mut foreign = source(SourceKind::Prometheus, "http://127.0.0.1:9");
    (foreign.name, foreign.tenants) = ("foreign".into(), Some(vec!["shop".into()]));
    let sources = vec![source(SourceKind::Prometheus, "http://127.0.0.1:9"), logs, foreign];
    let bench = Bench::start_with(NOW_MS, AnalyzerConfig { sources, ..AnalyzerConfig::default() }).await;
    let metrics = |source: &str| request("k", json!([metric_checks()[0]]), Some(source))["policy"].clone();
    let (status, _) = bench.ask("PUT", "/api/v1/policies/shop", metrics("other")).await;
    assert_eq!(status, StatusCode::OK);
    let logs = request("k", json!([log_checks()[0]]), Some("other"))["policy"].clone();
    for (policy, value, want) in [
        (metrics("nowhere"), "nowhere", "no source is called \"nowhere\"; there are logs, other"),
        (metrics("foreign"), "foreign", "no source is called \"foreign\"; there are logs, other"),
        (metrics("logs"), "logs", "is of kind loki and has log records only"),
        (logs, "other", "is of kind prometheus and has series only"),
    ] {
        let check = |problem: &Value, path: &str| {
            let error = &problem["error"];
            assert_eq!((&error["field"], &error["value"]), (&json!(path), &json!(value)), "{problem}");
            assert!(error["message"].as_str().unwrap().contains(want), "{problem}");
        };
        for (method, path) in [("PUT", "/api/v1/policies/shop"), ("POST", "/api/v1/policies/check")] {
            let (status, problem) = bench.ask(method, path, policy.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
            check(&problem, "checks[0].source");
        }
        let mut own = policy.clone();
        own["phases"][0]["checks"] = json!([own["checks"][0]]);
        own.as_object_mut().unwrap().remove("checks");
        let mut release = body("k");
        release["policy"] = own;
        let (status, problem) = bench.ask("POST", "/api/v1/releases", release).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        check(&problem, "policy.phases[0].checks[0].source");
    }
}
