//! Releases without a policy: packs choose the checks by what both cohorts show in the store.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::ops::Range;
use std::time::Duration;

use axum::http::StatusCode;
use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Clock, Labels, LogRecord, TenantId, Timestamp};
use serde_json::{Value, json};

use crate::births::noise;
use crate::releases::{Bench, MINUTE_MS, START_MS, policy};

const OLD: &str = "1.4.2";
const NEW: &str = "1.5.0";
/// Data ends here, behind the longest phases.
const UNTIL: i64 = 450;
/// Half minutes between which samples lie.
const HALF_MS: i64 = MINUTE_MS / 2;

/// Samples to be written together.
#[derive(Default)]
struct Feed(MetricBatch);

impl Feed {
    /// Adds a series with a sample each half minute.
    fn add(&mut self, labels: &[(&str, &str)], minutes: Range<i64>, value: impl Fn(i64) -> f64) {
        let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
        let mut writer = self.0.start_labels(&labels);
        for half in minutes.start * 2..minutes.end * 2 {
            writer.push(START_MS + half * HALF_MS + 1_000, value(half));
        }
    }

    async fn write(self, bench: &Bench) {
        bench.store.appender().metrics(&TenantId::default(), self.0).await.unwrap();
    }
}

/// Three hosts of the old version since long ago, two of the new one since the start.
const HOSTS: [(&str, &str, i64); 5] =
    [("a", OLD, -260), ("b", OLD, -260), ("c", OLD, -260), ("d", NEW, 0), ("e", NEW, 0)];

/// How the new version differs.
#[derive(Clone, Copy)]
struct Change {
    /// Failed requests of 10,000.
    failed: f64,
    /// Requests of 1,000 that take longer than 0.25 s.
    slow: f64,
}

const NONE: Change = Change { failed: 5.0, slow: 80.0 };

/// Writes what a Go service with the Prometheus client shows: 3,000 requests a half minute and host.
async fn go_service(bench: &Bench, change: Change, until: i64) {
    let mut feed = Feed::default();
    for (n, (host, version, begin)) in HOSTS.into_iter().enumerate() {
        let change = if version == NEW { change } else { NONE };
        let minutes = begin..until;
        let own = |name, more: &[(&'static str, &'static str)]| {
            let mut all = vec![
                ("__name__", name),
                ("instance", host),
                ("job", "cart"),
                ("service_name", "cart"),
                ("service_version", version),
            ];
            all.extend(more);
            all
        };
        let since = |half: i64| (half - begin * 2 + 1) as f64;
        let jitter = |half: i64| 1.0 + 0.05 * noise((n as u64) << 32 | (half + 100_000) as u64);
        feed.add(&own("up", &[]), minutes.clone(), |_| 1.0);
        let failed = |half: i64| (since(half) * 0.3 * change.failed).floor();
        feed.add(&own("http_requests_total", &[("code", "200")]), minutes.clone(), |half| {
            since(half) * 3_000.0 - failed(half)
        });
        feed.add(&own("http_requests_total", &[("code", "500")]), minutes.clone(), failed);
        for (le, per_1000) in
            [("0.1", 700.0), ("0.25", 1000.0 - change.slow), ("0.5", 999.0), ("+Inf", 1000.0)]
        {
            let name = "http_request_duration_seconds_bucket";
            feed.add(&own(name, &[("le", le)]), minutes.clone(), |half| since(half) * 3.0 * per_1000);
        }
        feed.add(&own("process_cpu_seconds_total", &[]), minutes.clone(), |half| since(half) * 5.0);
        feed.add(&own("process_resident_memory_bytes", &[]), minutes.clone(), |half| 1e8 * jitter(half));
        feed.add(&own("go_goroutines", &[]), minutes, |half| (40.0 * jitter(half)).round());
    }
    feed.write(bench).await;
}

fn request(key: &str) -> Value {
    json!({ "key": key, "service": "cart", "baseline": { "name": OLD }, "canary": { "name": NEW },
        "start": "2026-11-21T10:00:00Z", "pre_period": "4h" })
}

async fn preview(bench: &Bench, release: Value) -> (StatusCode, Value) {
    bench.ask("POST", "/api/v1/policies/default/preview", json!({ "release": release })).await
}

/// Judges through all phases, with a restart after the first looks where one is asked for; a replay says the same.
async fn judged(mut bench: Bench, request: Value, restart: bool) -> (Bench, Value) {
    let (status, mut release) = bench.ask("POST", "/api/v1/releases", request).await;
    assert_eq!(status, StatusCode::CREATED, "{release:#}");
    let id = release["id"].as_str().unwrap().to_string();
    // Every look that is due behind the warm-up: the clock must not jump while one is made, which has its deadline by it.
    let n_due = (bench.clock.now().as_millis() - START_MS) as u64 / MINUTE_MS as u64 - 2;
    let is_begun = |r: &Value| r["state"] != "running" || r["phases"][0]["looks"].as_u64() >= Some(n_due);
    release = bench.until(&id, is_begun).await;
    if restart {
        bench = bench.restart().await;
    }
    let n_gone = |release: &Value| {
        let phases = release["phases"].as_array().unwrap().iter();
        phases.filter(|phase| phase["decision"] == "go").count()
    };
    while release["state"] == "running" {
        // Longer than any phase: each is decided before the clock moves on.
        bench.clock.advance(Duration::from_secs(130 * 60));
        let known = n_gone(&release);
        release = bench.until(&id, |r| r["state"] != "running" || n_gone(r) > known).await;
    }
    bench.replays(&id).await;
    (bench, release)
}

/// The checks that were taken, by name.
fn taken(packs: &Value) -> Vec<&str> {
    packs["taken"].as_array().unwrap().iter().map(|one| one["check"].as_str().unwrap()).collect()
}

fn one<'a>(packs: &'a Value, list: &str, check: &str) -> &'a Value {
    let all = packs[list].as_array().unwrap();
    all.iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("{check} is not {list}: {packs:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_standard_names_needs_no_policy() {
    let bench = Bench::start(START_MS + 40 * MINUTE_MS).await;
    go_service(&bench, NONE, 40).await;
    let (status, answer) = preview(&bench, request("p")).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    let packs = &answer["packs"];
    assert_eq!(
        taken(packs),
        [
            "error share",
            "refused requests",
            "response codes",
            "served in time",
            "latency",
            "cpu per request",
            "resident memory",
            "goroutines",
            "everything together"
        ],
        "{packs:#}"
    );
    let share = one(packs, "taken", "error share");
    assert_eq!(share["source"], "Prometheus client, http_requests_total by code");
    assert_eq!(share["reads"]["trials"], "http_requests_total{code!=\"\", $cohort}");
    // Nine of ten requests of the baseline take a quarter of a second at most.
    let served = one(packs, "taken", "served in time");
    assert_eq!(served["reads"]["events"], "http_request_duration_seconds_bucket{le=\"0.25\", $cohort}");
    // New hosts have no history.
    assert_eq!((&one(packs, "taken", "latency")["vote"], &served["vote"]), (&json!("veto"), &json!("full")));
    let why = one(packs, "left", "gc time")["why"].as_str().unwrap();
    assert!(why.starts_with("no jvm_gc_duration_seconds_sum, jvm_gc_pause_seconds_sum"), "{why}");
    assert!(one(packs, "left", "container cpu")["why"].as_str().unwrap().contains("on the baseline"));
    assert_eq!(answer["policy"]["unit"], json!(["pod", "k8s_pod_name", "upstream_addr", "instance"]));
    let (status, releases) = bench.ask("GET", "/api/v1/releases", Value::Null).await;
    assert_eq!((status, &releases["releases"]), (StatusCode::OK, &json!([])), "a preview starts nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_packs_chose_is_pinned_and_judged() {
    let ended = async |change: Change, restart: bool| {
        let bench = Bench::start(START_MS + 4 * MINUTE_MS).await;
        go_service(&bench, change, UNTIL).await;
        judged(bench, request("r"), restart).await
    };
    let (bench, good) = ended(NONE, false).await;
    assert_eq!(good["verdict"]["decision"], "go", "{:#}", good["verdict"]);
    assert_eq!((&good["policy"]["name"], &good["policy"]["revision"]), (&json!("default"), &Value::Null));
    // Its canary was four minutes old, and its packs are kept with the release.
    assert!(taken(&good["packs"]).contains(&"served in time"), "{:#}", good["packs"]);
    let path = format!("/api/v1/releases/{}/replay", good["id"].as_str().unwrap());
    let (_, replay) = bench.ask("POST", &path, json!({ "policy": "default" })).await;
    assert_eq!((&replay["policy"]["pinned"], &replay["same"]), (&json!(true), &json!(true)), "{replay:#}");
    let (_, again) = ended(NONE, true).await;
    assert_eq!(again["verdict"]["evidence"], good["verdict"]["evidence"], "a restart changes nothing");
    assert_eq!(again["packs"], good["packs"]);
    for (change, check) in
        [(Change { failed: 60.0, ..NONE }, "error share"), (Change { slow: 200.0, ..NONE }, "served in time")]
    {
        let (_, bad) = ended(change, false).await;
        assert_eq!(bad["verdict"]["decision"], "no_go", "{:#}", bad["verdict"]);
        assert_eq!(bad["verdict"]["reasons"][0]["check"], check, "{:#}", bad["verdict"]["reasons"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_default_wins_and_nothing_is_invented() {
    let bench = Bench::start(START_MS + 40 * MINUTE_MS).await;
    let mut feed = Feed::default();
    for version in [OLD, NEW] {
        let labels = [("__name__", "queue_depth"), ("service_name", "cart"), ("service_version", version)];
        feed.add(&labels, -60..40, |_| 1.0);
    }
    feed.write(&bench).await;
    let (status, problem) = bench.ask("POST", "/api/v1/releases", request("x")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let text = problem["error"]["message"].as_str().unwrap();
    assert_eq!(problem["error"]["field"], "policy");
    assert!(
        text.contains("no pack fits: http, grpc, container") && text.contains("the series queue_depth"),
        "{text}"
    );
    let mut stored = policy();
    stored["name"] = json!("default");
    let (status, _) = bench.ask("PUT", "/api/v1/policies/default", stored).await;
    assert_eq!(status, StatusCode::OK);
    let (status, release) = bench.ask("POST", "/api/v1/releases", request("x")).await;
    assert_eq!(status, StatusCode::CREATED, "{release}");
    assert_eq!((&release["policy"]["revision"], &release["packs"]), (&json!(1), &Value::Null), "{release:#}");
    let (status, problem) = preview(&bench, json!({ "service": "cart" })).await;
    assert_eq!((status, &problem["error"]["field"]), (StatusCode::BAD_REQUEST, &json!("release.baseline")));
}

fn upstream(version: &str) -> &'static str {
    if version == NEW { "10.0.4.1:8080" } else { "10.0.3.7:8080" }
}

/// Writes an access log of one proxy for both versions, 400 requests a minute each.
async fn access_log(bench: &Bench, failed: i64, has_upstream: bool, until: i64) {
    for minute in -200..until {
        let mut records = Vec::new();
        for version in [OLD, NEW].into_iter().filter(|version| *version == OLD || minute >= 0) {
            for n in 0..400_i64 {
                let time = Timestamp::from_millis(START_MS + minute * MINUTE_MS + n * 140 + 7);
                let seed = (minute + 1_000) as u64 * 1_000_003 + n as u64 * 1_009 + version.len() as u64;
                let is_new = version == NEW;
                let is_failed = (is_new && n < failed) || n == 399 - minute.rem_euclid(200);
                let status = if is_failed { 502 } else { 200 };
                let route = if is_new && n % 40 == 3 {
                    "/v2/pay"
                } else if n % 4 == 0 {
                    "/pay"
                } else {
                    "/cart"
                };
                let took = (100.0 * (1.0 + 0.4 * noise(seed))).round() / 1000.0;
                let mut body = json!({ "status": status, "route": route, "request_time": took });
                if has_upstream {
                    body["upstream_addr"] = json!(upstream(version));
                }
                records.push(LogRecord {
                    time,
                    observed_time: time,
                    severity_number: 9,
                    severity_text: String::new(),
                    body: body.to_string(),
                    labels: Labels::from_pairs([
                        ("instance", "edge-1"),
                        ("service_name", "cart"),
                        ("service_version", version),
                    ])
                    .unwrap(),
                    attributes: Vec::new(),
                    trace_id: None,
                    span_id: None,
                    uid: None,
                });
            }
        }
        bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_alone_is_enough() {
    let bench = Bench::start(START_MS + 9 * MINUTE_MS).await;
    access_log(&bench, 12, false, 150).await;
    let (_, release) = judged(bench, request("log"), false).await;
    let packs = &release["packs"];
    assert_eq!(one(packs, "taken", "error share")["source"], "access log, field status", "{packs:#}");
    let served = &one(packs, "taken", "served in time")["reads"]["events"]["logs"];
    assert!(served.as_str().unwrap().starts_with("request_time:>0.1"), "{served}");
    assert_eq!(one(packs, "taken", "successes by route")["source"], "access log, field status, by route");
    assert!(
        one(packs, "left", "cpu per request")["why"].as_str().unwrap().contains("log records"),
        "{packs:#}"
    );
    // Both versions answer behind one proxy: its name tells nothing apart.
    assert_eq!(release["policy_document"]["unit"], json!(["pod", "k8s_pod_name", "upstream_addr"]));
    assert_eq!(release["verdict"]["decision"], "no_go", "{:#}", release["verdict"]);
    assert_eq!(release["verdict"]["reasons"][0]["check"], "error share");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_of_one_proxys_log_are_told_apart_by_where() {
    let mut request = request("where");
    for (side, version) in [("baseline", OLD), ("canary", NEW)] {
        request[side]["match"] = json!("{service_name=\"cart\"}");
        request[side]["where"] = json!(format!("upstream_addr:\"{}\"", upstream(version)));
    }
    for (failed, want) in [(12, "no_go"), (0, "go")] {
        let bench = Bench::start(START_MS + 9 * MINUTE_MS).await;
        access_log(&bench, failed, true, UNTIL).await;
        // Series of both sides say nothing of either.
        let mut feed = Feed::default();
        for name in ["up", "process_resident_memory_bytes"] {
            let labels = [("__name__", name), ("service_name", "cart"), ("instance", "edge-1")];
            feed.add(&labels, -200..UNTIL, |_| 1.0);
        }
        feed.write(&bench).await;
        let (_, release) = judged(bench, request.clone(), false).await;
        let (packs, verdict) = (&release["packs"], &release["verdict"]);
        assert!(
            one(packs, "left", "resident memory")["why"].as_str().unwrap().contains("one `match`"),
            "{packs:#}"
        );
        assert_eq!(verdict["decision"], want, "{verdict:#}");
        let requests = &verdict["cohorts"]["canary"]["requests"];
        assert!(requests.as_f64().is_some_and(|n| n > 0.0 && n % 400.0 == 0.0), "{verdict:#}");
        request["key"] = json!("where again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_one_side_alone_are_shown_from_pinned_data() {
    let mut request = request("routes");
    request["policy"] = policy();
    request["policy"]["phases"] =
        json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "30m" } }]);
    request["policy"]["unit"] = json!(["pod"]);
    request["policy"]["checks"] = json!([
        { "name": "successes by route", "kind": "ratio", "harm": "down", "by": "route", "margin": { "absolute": 0.02 },
          "events": { "logs": "status:<400" }, "trials": { "logs": "status:>=100" } },
        { "name": "templates", "kind": "patterns", "logs": "{$cohort}", "severity": "info", "vote": "none" } ]);
    let bench = Bench::start(START_MS + 9 * MINUTE_MS).await;
    access_log(&bench, 0, false, 80).await;
    let (bench, release) = judged(bench, request, false).await;
    let path = format!("/api/v1/releases/{}/compatibility", release["id"].as_str().unwrap());
    let (status, table) = bench.ask("GET", &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{table}");
    let check = &table["checks"][0];
    assert_eq!(
        (&check["check"], &check["by"], &check["harm"]),
        (&json!("successes by route"), &json!("route"), &json!("down"))
    );
    let rows: Vec<(&str, &Value)> = (check["values"].as_array().unwrap().iter())
        .map(|row| (row["value"].as_str().unwrap(), &row["only_on"]))
        .collect();
    assert_eq!(
        rows,
        [("/v2/pay", &json!("canary")), ("/cart", &Value::Null), ("/pay", &Value::Null)],
        "{check:#}"
    );
    let new = &check["values"][0];
    assert_eq!((&new["baseline"]["trials"], &new["before"]["trials"]), (&json!(0.0), &json!(0.0)), "{new:#}");
    assert_eq!(new["canary"]["trials"].as_f64().unwrap() % 10.0, 0.0, "{new:#}");
    let cart = &check["values"][1];
    assert!(
        cart["is_tested"] == true && cart["decision"].is_string() && cart["effect"].is_object(),
        "{cart:#}"
    );
    assert!(cart["baseline"]["share"].as_f64().unwrap() > 0.99, "{cart:#}");
    // The templates of both sides are the same, but for what only the new one writes, if anything.
    assert!(table["patterns"].as_array().unwrap().iter().all(|row| row["change"] != "gone"), "{table:#}");
}

/// What tells the pods of each version.
#[derive(Clone, Copy, Debug)]
enum ToldBy {
    /// The service's own series have the pod beside the cohort's labels.
    OwnSeries,
    /// `kube_pod_labels` has them; the service's own series have the cohort's labels alone.
    KubePodLabels,
    /// `target_info` has job and instance, and the pod; nothing else has the cohort's labels.
    TargetInfo,
}

/// Writes a service in Kubernetes: its requests, and cAdvisor's and kube-state-metrics' series of its pods and others.
async fn kubernetes(bench: &Bench, told: ToldBy, until: i64) {
    let mut feed = Feed::default();
    let pods =
        [("cart-old-1", OLD, -260), ("cart-old-2", OLD, -260), ("cart-new-1", NEW, 0), ("mail-1", "9", -260)];
    for (n, (pod, version, begin)) in pods.into_iter().enumerate() {
        let service = if pod == "mail-1" { "mail" } else { "cart" };
        let since = |half: i64| (half - begin * 2 + 1) as f64;
        let minutes = begin..until;
        let cohort = [("service_name", service), ("service_version", version)];
        let instance = format!("10.0.0.{n}:8080");
        let target = [("job", service), ("instance", instance.as_str())];
        let own: Vec<(&str, &str)> = match told {
            ToldBy::OwnSeries => [&cohort[..], &target[..], &[("namespace", "shop"), ("pod", pod)]].concat(),
            ToldBy::KubePodLabels => [&cohort[..], &target[..]].concat(),
            ToldBy::TargetInfo => target.to_vec(),
        };
        for (code, per_half) in [("200", 2_990.0), ("500", 3.0)] {
            let named = [("__name__", "http_requests_total"), ("code", code)];
            feed.add(&[&named[..], &own[..]].concat(), minutes.clone(), |half| since(half) * per_half);
        }
        let version_label =
            [("label_app_kubernetes_io_name", service), ("label_app_kubernetes_io_version", version)];
        let in_pod = [("namespace", "shop"), ("pod", pod)];
        if !matches!(told, ToldBy::TargetInfo) {
            // A sidecar counts failures of its own under the same name.
            let sidecar = [("__name__", "http_requests_total"), ("code", "503"), ("job", "sidecar")];
            feed.add(&[&sidecar[..], &in_pod[..]].concat(), minutes.clone(), |half| since(half) * 900.0);
        }
        match told {
            ToldBy::OwnSeries => {}
            ToldBy::KubePodLabels => {
                let named = [
                    ("__name__", "kube_pod_labels"),
                    ("job", "kube-state-metrics"),
                    ("instance", "ksm:8080"),
                ];
                feed.add(&[&named[..], &in_pod[..], &version_label[..]].concat(), minutes.clone(), |_| 1.0);
            }
            ToldBy::TargetInfo => {
                let named = [("__name__", "target_info"), ("service_version", version)];
                let pod_names = [("k8s_namespace_name", "shop"), ("k8s_pod_name", pod)];
                feed.add(&[&named[..], &target[..], &pod_names[..]].concat(), minutes.clone(), |_| 1.0);
            }
        }
        let node = [("job", "kubelet"), ("instance", "node-1"), ("container", "app")];
        let memory = match version {
            OLD => 1.0e8,
            NEW => 1.5e8,
            _ => 9.0e9,
        };
        let jitter = |half: i64| 1.0 + 0.02 * noise((n as u64) << 32 | (half + 100_000) as u64);
        let named = |name| [&[("__name__", name)][..], &node[..], &in_pod[..]].concat();
        feed.add(&named("container_memory_working_set_bytes"), minutes.clone(), |half| memory * jitter(half));
        feed.add(&named("container_cpu_usage_seconds_total"), minutes.clone(), |half| since(half) * 3.0);
        let ksm = [
            ("__name__", "kube_pod_container_status_restarts_total"),
            ("job", "kube-state-metrics"),
            ("instance", "ksm:8080"),
        ];
        feed.add(&[&ksm[..], &in_pod[..]].concat(), minutes, |_| 0.0);
    }
    feed.write(bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn series_that_name_pods_or_targets_alone_belong_to_the_cohort() {
    for told in [ToldBy::OwnSeries, ToldBy::KubePodLabels, ToldBy::TargetInfo] {
        let mut evidence = Vec::new();
        for restart in [false, true] {
            let bench = Bench::start(START_MS + 9 * MINUTE_MS).await;
            kubernetes(&bench, told, 120).await;
            let mut request = request("pods");
            request["policy"] = policy();
            request["policy"]["phases"] =
                json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "30m" } }]);
            request["policy"]["checks"] = json!([
                { "name": "error share", "kind": "ratio", "events": "http_requests_total{code=~\"5..\", $cohort}",
                  "trials": "http_requests_total{$cohort}", "margin": { "absolute": 0.01 } },
                { "name": "unavailable", "kind": "ratio", "vote": "veto",
                  "events": "http_requests_total{code=\"503\", $cohort}", "trials": "http_requests_total{$cohort}" },
                { "name": "memory", "kind": "mean", "vote": "none", "margin": { "relative": "10%" },
                  "value": "sum by (pod) (container_memory_working_set_bytes{$cohort})" },
                { "name": "restarts", "kind": "count", "vote": "veto",
                  "events": "kube_pod_container_status_restarts_total{$cohort}" } ]);
            let (bench, release) = judged(bench, request, restart).await;
            let announce = format!("/api/v1/releases/{}/announce", release["id"].as_str().unwrap());
            let (_, announced) = bench.ask("GET", &announce, Value::Null).await;
            let units = &announced["cohorts"];
            assert_eq!(
                (&units["canary"], &units["baseline"]),
                (&json!(1), &json!(2)),
                "{told:?} {announced:#}"
            );
            let verdict = &release["verdict"];
            let check = |name: &str| {
                let all = verdict["checks"].as_array().unwrap();
                all.iter().find(|check| check["name"] == name).unwrap().clone()
            };
            // Requests and memory are those of the cohort's two old pods and one new one, and of nothing else.
            let memory = check("memory");
            let value =
                |side: &str| memory["values"][side].as_f64().unwrap_or_else(|| panic!("{told:?} {memory:#}"));
            assert!((value("baseline") / 1.0e8 - 1.0).abs() < 0.05, "{told:?} {memory:#}");
            assert!((value("canary") / 1.5e8 - 1.0).abs() < 0.05, "{told:?} {memory:#}");
            let units: Vec<&str> =
                memory["units"].as_array().unwrap().iter().map(|one| one["unit"].as_str().unwrap()).collect();
            assert_eq!(
                units.iter().filter(|unit| unit.starts_with("cart-")).count(),
                3,
                "{told:?} {memory:#}"
            );
            assert_eq!(units.len(), 3, "{told:?} {memory:#}");
            let share = check("error share");
            assert_eq!(share["decision"], "go", "{told:?} {share:#}");
            let [old, new] = ["baseline", "canary"].map(|side| share["n"][side].as_f64().unwrap());
            assert!((old / new - 2.0).abs() < 0.1, "{told:?} {share:#}");
            assert_eq!(check("unavailable")["values"]["canary"], 0.0, "{told:?}");
            assert_eq!(check("restarts")["decision"], "inconclusive", "{told:?}");
            evidence.push(verdict["evidence"]["digest"].clone());
        }
        assert_eq!(evidence[0], evidence[1], "{told:?}: a restart changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_take_what_pods_show() {
    let bench = Bench::start(START_MS + 40 * MINUTE_MS).await;
    kubernetes(&bench, ToldBy::OwnSeries, 40).await;
    let (status, answer) = preview(&bench, request("p")).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    let names = taken(&answer["packs"]);
    for check in ["error share", "restarts", "container cpu per request", "container memory"] {
        assert!(names.contains(&check), "{check}: {:#}", answer["packs"]);
    }
    // Without pods on the requests there is no cpu a request by pod.
    let bench = Bench::start(START_MS + 40 * MINUTE_MS).await;
    kubernetes(&bench, ToldBy::KubePodLabels, 40).await;
    let (_, answer) = preview(&bench, request("p")).await;
    assert!(taken(&answer["packs"]).contains(&"container cpu"), "{:#}", answer["packs"]);
}

/// The bodies of the page are taken, for a service that shows what they name.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_the_page_are_right() {
    let page = include_str!("../../docs/packs.md");
    assert!(page.contains("greylight release start --service cart --baseline 1.4.2 --canary 1.5.0\n"));
    let bench = Bench::start(START_MS + 40 * MINUTE_MS).await;
    go_service(&bench, NONE, 40).await;
    let body = page.lines().find(|line| line.starts_with("    { \"release\": { \"service\"")).unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap();
    let (status, answer) = bench.ask("POST", "/api/v1/policies/default/preview", body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    for entry in ["taken", "left"] {
        for (field, _) in answer["packs"][entry][0].as_object().unwrap() {
            assert!(page.contains(&format!("`{field}`")), "{field} is not on the page");
        }
    }
    // What the command sends is the release alone.
    let (status, release) = bench.ask("POST", "/api/v1/releases", body["release"].take()).await;
    assert_eq!(status, StatusCode::CREATED, "{release:#}");
    assert_eq!(release["policy"]["name"], "default");
    // What was chosen can be kept under another name.
    let mut own = answer["policy"].clone();
    own["name"] = json!("cart");
    let (status, stored) = bench.ask("PUT", "/api/v1/policies/cart", own).await;
    assert_eq!(status, StatusCode::OK, "{stored:#}");
}
