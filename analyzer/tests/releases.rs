//! Releases over a real store: looks, verdicts, restarts, calls.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use greylight_analyzer::{Analyzer, AnalyzerConfig, AnalyzerEnv, DeliveriesConfig, RulesConfig, Running};
use greylight_store::append::MetricBatch;
use greylight_store::model::{Caller, Labels, ManualClock, Scopes, SeededRandom, TenantId, Timestamp};
use greylight_store::{Store, StoreConfig, StoreEnv};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const MINUTE_MS: i64 = 60_000;
/// The release starts here; history lies before.
pub(crate) const START_MS: i64 = 1_795_255_200_000;

/// A server's analyzer over a temporary folder and a clock moved by hand.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    config: AnalyzerConfig,
    pub(crate) clock: ManualClock,
    pub(crate) store: Store,
    running: Option<Running>,
    router: axum::Router,
}

/// Opens a store in a folder, and what an analyzer over it needs.
pub(crate) async fn opened(folder: &Path, clock: &ManualClock) -> (Store, AnalyzerEnv) {
    let on_folder = StoreEnv::on_folder(folder).unwrap();
    let random = Arc::new(SeededRandom::new(1));
    let env = StoreEnv { clock: Arc::new(clock.clone()), random: random.clone(), ..on_folder };
    let store = Store::open(StoreConfig::default(), env).await.unwrap();
    let env = AnalyzerEnv {
        records: store.records(),
        metrics: Arc::new(store.reader()),
        appender: store.appender(),
        logs: Arc::new(store.reader()),
        clock: Arc::new(clock.clone()),
        random,
    };
    (store, env)
}

impl Bench {
    /// Judges a release to its end, with a restart after the second look where one is asked for; a replay says the same.
    pub(crate) async fn judged(mut self, request: Value, restart: bool) -> (Self, Value) {
        let (status, release) = self.ask("POST", "/api/v1/releases", request).await;
        assert_eq!(status, StatusCode::CREATED, "{release:#}");
        let id = release["id"].as_str().unwrap_or_else(|| panic!("{release:#}")).to_string();
        self.until(&id, |r| r["phases"][0]["looks"].as_u64() >= Some(2)).await;
        if restart {
            self = self.restart().await;
        }
        self.clock.advance(Duration::from_secs(70 * 60));
        let release = self.until(&id, |r| r["state"] != "running").await;
        assert_eq!(release["state"], "decided", "{release:#}");
        self.replays(&id).await;
        (self, release)
    }

    pub(crate) async fn start(now_ms: i64) -> Self {
        Self::start_with(now_ms, AnalyzerConfig::default()).await
    }

    pub(crate) async fn start_with(now_ms: i64, config: AnalyzerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(now_ms));
        Self::open(folder, clock, config).await
    }

    async fn open(folder: tempfile::TempDir, clock: ManualClock, config: AnalyzerConfig) -> Self {
        let (store, env) = opened(folder.path(), &clock).await;
        let deliveries = DeliveriesConfig::default();
        let analyzer = Analyzer::new(env, &config, &deliveries, &[], &RulesConfig::default()).unwrap();
        let router = greylight_analyzer::http::router(&analyzer);
        let running = Some(analyzer.start().await.unwrap());
        Self { folder, config, clock, store, running, router }
    }

    /// Ends everything and opens it again on the same folder.
    pub(crate) async fn restart(mut self) -> Self {
        self.running.take().unwrap().shutdown().await;
        self.store.shutdown().await.unwrap();
        let Self { folder, config, clock, store, router, .. } = self;
        drop((store, router));
        Self::open(folder, clock, config).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let caller = Caller { tenant: TenantId::default(), scopes: Scopes::all() };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).extension(caller).body(body).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 64 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Waits until a release's state is no longer live, or a revision came that is good enough.
    pub(crate) async fn until(&self, id: &str, enough: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..2000 {
            let (status, release) = self.ask("GET", &format!("/api/v1/releases/{id}"), Value::Null).await;
            assert_eq!(status, StatusCode::OK, "{release}");
            if enough(&release) {
                return release;
            }
            // The runner works on other threads. Time creeps on, so that a nap begun just after a jump ends too.
            self.clock.advance(Duration::from_millis(20));
            let _ = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        }
        let (_, release) = self.ask("GET", &format!("/api/v1/releases/{id}"), Value::Null).await;
        panic!("the release never got there: {release:#}");
    }

    /// Checks that a release judged again from what it pinned is what it was, to the bit.
    pub(crate) async fn replays(&self, id: &str) {
        let (status, replay) = self.ask("POST", &format!("/api/v1/releases/{id}/replay"), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{replay:#}");
        assert_eq!((&replay["same"], &replay["difference"]), (&json!(true), &Value::Null), "{replay:#}");
        assert!(replay["looks"].as_array().is_some_and(|looks| !looks.is_empty()), "{replay:#}");
    }

    /// Writes the shop's counters, one sample each half minute: 100 requests a minute and host.
    pub(crate) async fn feed(&self, from_min: i64, to_min: i64, canary_errors_per_minute: f64) {
        let mut batch = MetricBatch::default();
        for host in ["a", "b", "c", "d"] {
            // Host d runs the canary since minute 0; its process began anew then.
            let versions: &[(&str, i64, i64)] = if host == "d" {
                &[("1", i64::MIN, 0), ("2", 0, i64::MAX)]
            } else {
                &[("1", i64::MIN, i64::MAX)]
            };
            for &(version, first, last) in versions {
                let (mut up, mut ok, mut errors) = (Vec::new(), Vec::new(), Vec::new());
                for half in from_min * 2..to_min * 2 {
                    let minute = half as f64 / 2.0;
                    if (minute as i64) < first
                        || (minute as i64) >= last
                        || (half < 0 && last == 0 && minute >= 0.0)
                    {
                        continue;
                    }
                    let since = if version == "2" { minute } else { minute + 10_000.0 };
                    let rate = if version == "2" { canary_errors_per_minute } else { 1.0 };
                    let t = START_MS + half * MINUTE_MS / 2 + 1_000;
                    up.push((t, 1.0));
                    ok.push((t, (since * 100.0).floor()));
                    errors.push((t, (since * rate).floor()));
                }
                let label = |name: &str, code: &str| {
                    let all = [
                        ("__name__", name),
                        ("code", code),
                        ("instance", host),
                        ("job", "shop"),
                        ("service_name", "shop"),
                        ("service_version", version),
                    ];
                    Labels::from_pairs(all).unwrap()
                };
                for (labels, samples) in [
                    (label("up", ""), up),
                    (label("http_requests_total", "200"), ok),
                    (label("http_requests_total", "500"), errors),
                ] {
                    let mut writer = batch.start_labels(&labels);
                    samples.into_iter().for_each(|(t, v)| writer.push(t, v));
                }
            }
        }
        self.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    }
}

pub(crate) fn policy() -> Value {
    json!({ "name": "shop", "interval": "1m", "delay": "15s", "pre_period": "3h", "warm_up": "2m",
        "phases": [
            { "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } },
            { "name": "two", "starts": "on_call", "lasts": { "at_least": "5m", "at_most": "30m" } } ],
        "checks": [{ "name": "error share", "kind": "ratio",
            "events": "http_requests_total{code=~\"5..\", $cohort}", "trials": "http_requests_total{$cohort}",
            "margin": { "absolute": 0.02 } }] })
}

pub(crate) fn body(key: &str) -> Value {
    json!({ "key": key, "service": "shop", "baseline": { "name": "1" }, "canary": { "name": "2" },
        "policy": policy(), "start": "2026-11-21T10:00:00Z",
        "webhooks": [{ "url": "http://127.0.0.1:9/verdict", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_refused_with_its_evidence() {
    let bench = Bench::start(START_MS + 60 * MINUTE_MS).await;
    bench.feed(-200, 60, 10.0).await;
    let (status, release) = bench.ask("POST", "/api/v1/releases", body("bad")).await;
    assert_eq!(status, StatusCode::CREATED, "{release}");
    let id = release["id"].as_str().unwrap();
    let release = bench.until(id, |r| r["state"] == "decided").await;
    let verdict = &release["verdict"];
    assert_eq!((&verdict["decision"], &verdict["final"]), (&json!("no_go"), &json!(true)), "{verdict:#}");
    assert_eq!(verdict["reasons"][0]["code"], "harm_shown", "{verdict:#}");
    assert!(verdict["evidence"]["digest"].as_str().unwrap().starts_with("blake3:"), "{verdict:#}");
    assert_eq!(verdict["cohorts"]["canary"]["units"], 1, "{verdict:#}");
    assert_eq!(verdict["cohorts"]["baseline"]["units"], 3, "{verdict:#}");
    let (_, looks) = bench.ask("GET", &format!("/api/v1/releases/{id}/looks"), Value::Null).await;
    let looks = looks["looks"].as_array().unwrap();
    assert!(looks[0]["data"].is_null(), "{}", looks[0]);
    let phase = looks[0]["phase"].as_str().unwrap();
    let check = looks[0]["checks"][0]["name"].as_str().unwrap();
    let path = format!("/api/v1/releases/{id}/looks?data={phase}/{}", check.replace(' ', "%20"));
    let (_, with_data) = bench.ask("GET", &path, Value::Null).await;
    assert!(with_data["looks"][0]["data"][check]["canary"].is_object(), "{with_data:#}");
    let path = format!("/api/v1/releases/{id}/looks?data={phase}");
    assert_eq!(bench.ask("GET", &path, Value::Null).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(looks.last().unwrap()["decision"], "no_go");
    let (_, deliveries) = bench.ask("GET", &format!("/api/v1/releases/{id}/deliveries"), Value::Null).await;
    let sent = deliveries["deliveries"].as_array().unwrap();
    assert!(sent.iter().any(|d| d["decision"] == "no_go"), "{deliveries:#}");
    assert!(!deliveries.to_string().contains("whsec_"), "secrets are never returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_go_on_after_a_restart_to_the_same_bits() {
    let mut verdicts = Vec::new();
    for restarts in [0, 2] {
        let mut bench = Bench::start(START_MS + 5 * MINUTE_MS).await;
        bench.feed(-200, 60, 1.0).await;
        let (_, release) = bench.ask("POST", "/api/v1/releases", body("good")).await;
        let id = release["id"].as_str().unwrap().to_string();
        for step in 0..2 {
            bench.until(&id, |r| r["phases"][0]["looks"].as_u64() >= Some(1 + 3 * step)).await;
            if step < restarts {
                bench = bench.restart().await;
            }
            bench.clock.advance(Duration::from_secs(5 * 60));
        }
        bench.clock.advance(Duration::from_secs(40 * 60));
        let release = bench.until(&id, |r| r["phases"][0]["decision"] != "inconclusive").await;
        assert_eq!(release["phases"][0]["decision"], "go", "{release:#}");
        assert_eq!(release["phases"][1]["decision"], "waiting", "{release:#}");
        let (_, looks) = bench.ask("GET", &format!("/api/v1/releases/{id}/looks"), Value::Null).await;
        let numbers: Vec<u64> =
            looks["looks"].as_array().unwrap().iter().map(|l| l["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no look is lost or made twice");
        bench.replays(&id).await;
        verdicts.push((looks["looks"].clone(), release["verdict"]["evidence"]["digest"].clone()));
    }
    assert_eq!(verdicts[0], verdicts[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn phases_follow_the_deploy_tools_calls() {
    let bench = Bench::start(START_MS + 50 * MINUTE_MS).await;
    bench.feed(-200, 120, 1.0).await;
    let (_, release) = bench.ask("POST", "/api/v1/releases", body("phases")).await;
    let id = release["id"].as_str().unwrap();
    let call = json!({ "phase": "two", "traffic_share": 0.25 });
    bench.until(id, |r| r["phases"][0]["decision"] == "go").await;
    let (status, answer) = bench.ask("POST", &format!("/api/v1/releases/{id}/phase"), call.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let started = answer["phases"][1]["started_at"].as_str().unwrap();
    assert!(
        started > "2026-11-21T10:50" && started.ends_with(":00Z"),
        "on an edge after the call: {answer:#}"
    );
    bench.clock.advance(Duration::from_secs(60 * 60));
    let release = bench.until(id, |r| r["state"] == "decided").await;
    assert_eq!(release["verdict"]["decision"], "go", "{release:#}");
    bench.replays(id).await;
    let outcome = json!({ "action": "promoted", "traffic_share": 1.0 });
    let (status, _) = bench.ask("POST", &format!("/api/v1/releases/{id}/outcome"), outcome).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_release_and_wrong_calls_are_refused() {
    let bench = Bench::start(START_MS + MINUTE_MS).await;
    let (first, release) = bench.ask("POST", "/api/v1/releases", body("k")).await;
    let (again, same) = bench.ask("POST", "/api/v1/releases", body("k")).await;
    assert_eq!((first, again), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(release["id"], same["id"]);
    let mut other = body("k");
    other["canary"]["name"] = json!("3");
    assert_eq!(bench.ask("POST", "/api/v1/releases", other).await.0, StatusCode::CONFLICT);
    let by_key = bench.ask("GET", "/api/v1/releases/key:k", Value::Null).await;
    assert_eq!(by_key.1["id"], release["id"]);
    let early = json!({ "phase": "two" });
    assert_eq!(bench.ask("POST", "/api/v1/releases/key:k/phase", early).await.0, StatusCode::CONFLICT);
    let unknown = json!({ "phase": "three" });
    assert_eq!(bench.ask("POST", "/api/v1/releases/key:k/phase", unknown).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(bench.ask("DELETE", "/api/v1/releases/key:k", Value::Null).await.1["state"], "cancelled");
    let (status, problem) = bench.ask("GET", "/api/v1/releases?stat=running", Value::Null).await;
    assert_eq!((status, &problem["error"]["field"]), (StatusCode::BAD_REQUEST, &json!("stat")));
    assert_eq!(bench.ask("GET", "/api/v1/releases/nope", Value::Null).await.0, StatusCode::NOT_FOUND);
    let (status, problem) = bench.ask("GET", "/api/v1/releases?decision=maybe", Value::Null).await;
    assert_eq!((status, &problem["error"]["value"]), (StatusCode::BAD_REQUEST, &json!("maybe")));
    let large = json!({ "key": "x".repeat(2 << 20) });
    let (status, problem) = bench.ask("POST", "/api/v1/releases", large).await;
    assert_eq!((status, &problem["error"]["kind"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large")));
    assert!(problem["error"]["limit"].is_u64(), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_whose_metric_has_no_data_is_inconclusive_with_the_reason() {
    let bench = Bench::start(START_MS + 3 * 60 * MINUTE_MS).await;
    let (_, release) = bench.ask("POST", "/api/v1/releases", body("nothing")).await;
    let id = release["id"].as_str().unwrap();
    let release = bench.until(id, |r| r["state"] == "decided").await;
    let verdict = &release["verdict"];
    assert_eq!(
        (&verdict["decision"], &verdict["final"]),
        (&json!("inconclusive"), &json!(true)),
        "{verdict:#}"
    );
    let codes: Vec<&str> =
        verdict["reasons"].as_array().unwrap().iter().filter_map(|r| r["code"].as_str()).collect();
    assert!(codes.contains(&"no_data"), "{verdict:#}");
    bench.replays(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_stored_with_revisions() {
    let bench = Bench::start(START_MS).await;
    let (status, stored) = bench.ask("PUT", "/api/v1/policies/shop", policy()).await;
    assert_eq!((status, &stored["revision"]), (StatusCode::OK, &json!(1)), "{stored}");
    assert_eq!(bench.ask("PUT", "/api/v1/policies/shop", policy()).await.1["revision"], 1);
    assert_eq!(stored["text"].as_str(), Some(policy().to_string().as_str()), "{stored:#}");
    let mut changed = policy();
    changed["alpha"] = json!(0.02);
    assert_eq!(bench.ask("PUT", "/api/v1/policies/shop", changed).await.1["revision"], 2);
    let mut wrong = policy();
    wrong["phases"][0]["weigth"] = json!(1);
    let (status, problem) = bench.ask("PUT", "/api/v1/policies/shop", wrong).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["error"]["field"], "phases[0].weigth", "{problem}");
    assert_eq!(bench.ask("DELETE", "/api/v1/policies/shop", Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(bench.ask("GET", "/api/v1/policies/shop", Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_made_early_once_every_unit_has_later_samples() {
    let bench = Bench::start(START_MS + 6 * MINUTE_MS).await;
    // The last samples lie in minute 4, so minutes 2 and 3 are whole and minute 4 may not be.
    bench.feed(-200, 5, 1.0).await;
    let mut request = body("early");
    request["policy"]["delay"] = json!("30m");
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap();
    let looks = |r: &Value| r["phases"][0]["looks"].as_u64().unwrap();
    bench.until(id, |r| looks(r) == 2).await;
    for _ in 0..50 {
        bench.clock.advance(Duration::from_secs(2));
        let (_, release) = bench.ask("GET", &format!("/api/v1/releases/{id}"), Value::Null).await;
        assert_eq!(looks(&release), 2, "minute 4 waits for its delay or for later samples");
    }
    bench.feed(5, 6, 1.0).await;
    bench.until(id, |r| looks(r) == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_releases_own_pre_period_goes_over_the_policys() {
    let bench = Bench::start(START_MS + 8 * MINUTE_MS).await;
    bench.feed(-100, 9, 1.0).await;
    let mut rows = Vec::new();
    for (key, pre_period) in [("short", "30m"), ("long", "90m")] {
        let mut request = body(key);
        request["pre_period"] = json!(pre_period);
        let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
        assert_eq!(release["pre_period"], pre_period, "{release:#}");
        let id = release["id"].as_str().unwrap();
        let release = bench.until(id, |r| r["phases"][0]["looks"].as_u64() >= Some(1)).await;
        let range = &release["verdict"]["evidence"]["range"];
        rows.push(range[0].as_str().unwrap().to_string());
    }
    assert_eq!(rows, ["2026-11-21T09:30:00Z", "2026-11-21T08:30:00Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_sent_again_on_request() {
    let bench = Bench::start(START_MS + 60 * MINUTE_MS).await;
    bench.feed(-200, 60, 10.0).await;
    let (_, release) = bench.ask("POST", "/api/v1/releases", body("again")).await;
    let id = release["id"].as_str().unwrap();
    bench.until(id, |r| r["state"] == "decided").await;
    let path = format!("/api/v1/releases/{id}/deliveries");
    let (_, list) = bench.ask("GET", &path, Value::Null).await;
    let delivery = list["deliveries"][0].clone();
    let message = delivery["id"].as_str().unwrap();
    let (status, again) = bench.ask("POST", &format!("{path}/{message}/resend"), Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{again}");
    assert_eq!((&again["id"], &again["state"]), (&delivery["id"], &json!("waiting")), "{again}");
    let (status, _) = bench.ask("POST", &format!("{path}/msg_none/resend"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
