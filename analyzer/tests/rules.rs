//! Rule files over a real store and a clock moved by hand: series, states, restarts, errors, messages.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![expect(clippy::disallowed_methods, reason = "the tests make the rule files that they read")]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use greylight_analyzer::{Analyzer, AnalyzerConfig, AnomalyWebhook, DeliveriesConfig, RulesConfig, Running};
use greylight_query::promql::{Engine, EngineOptions, Query, Value as Found};
use greylight_store::Store;
use greylight_store::append::MetricBatch;
use greylight_store::model::{Caller, Labels, ManualClock, Scopes, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits};
use greylight_store::records::OutgoingFilter;
use greylight_wire::exposition::{Format, Writer};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::releases::opened;

const MINUTE: Duration = Duration::from_secs(60);
const START_MS: i64 = 1_795_255_200_000;

/// A server's rules over a temporary folder.
struct Bench {
    folder: tempfile::TempDir,
    clock: ManualClock,
    store: Store,
    change: Change,
    tenant: TenantId,
    analyzer: Analyzer,
    running: Running,
    router: axum::Router,
}

/// What a test changes in the settings.
type Change = fn(&mut RulesConfig);

impl Bench {
    async fn start(rules: &str) -> Self {
        Self::start_with(rules, |_| {}).await
    }

    async fn start_with(rules: &str, change: Change) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
        Self::open(folder, ManualClock::at(Timestamp::from_millis(START_MS)), change).await
    }

    async fn open(folder: tempfile::TempDir, clock: ManualClock, change: Change) -> Self {
        let (store, env) = opened(&folder.path().join("data"), &clock).await;
        // Nobody listens there: what is to be sent stays in the outbox.
        let webhook = AnomalyWebhook { url: "http://127.0.0.1:9/hook".into(), secret: None };
        let mut rules = RulesConfig {
            files: vec!["*.yml".into()],
            webhooks: vec![webhook],
            folder: folder.path().to_owned(),
            ..RulesConfig::default()
        };
        change(&mut rules);
        let tenant = TenantId::new(&rules.tenant).unwrap();
        let (config, deliveries) = (AnalyzerConfig::default(), DeliveriesConfig::default());
        let analyzer = Analyzer::new(env, &config, &deliveries, &[], &rules).unwrap();
        let router = greylight_analyzer::http::router(&analyzer);
        let running = analyzer.start().await.unwrap();
        analyzer.set_address("http://greylight.test");
        Self { folder, clock, store, change, tenant, analyzer, running, router }
    }

    /// Ends everything, waits, and opens it again on the same folder.
    async fn restart(self, away: Duration) -> Self {
        let Self { folder, clock, store, change, analyzer, running, router, .. } = self;
        running.shutdown().await;
        store.shutdown().await.unwrap();
        drop((store, router, analyzer));
        clock.advance(away);
        Self::open(folder, clock, change).await
    }

    async fn ask(&self, path: &str) -> (StatusCode, Value) {
        let caller = Caller { tenant: self.tenant.clone(), scopes: Scopes::all() };
        let request = Request::builder().uri(path).extension(caller).body(Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 64 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn groups(&self, query: &str) -> Value {
        let (status, answer) = self.ask(&format!("/api/v1/rules{query}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"]["groups"].clone()
    }

    /// Goes on a minute and waits until every group was evaluated.
    async fn minute(&self) {
        self.clock.advance(MINUTE);
        let now = json!(self.clock_now().to_string());
        self.until(|groups| groups.as_array().unwrap().iter().all(|group| group["lastEvaluation"] == now))
            .await;
    }

    /// Waits until the list of groups is as it should be.
    async fn until(&self, enough: impl Fn(&Value) -> bool) {
        for _ in 0..2000 {
            if enough(&self.groups("").await) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
        }
        panic!("not evaluated: {:#}", self.groups("").await);
    }

    fn clock_now(&self) -> Timestamp {
        greylight_store::model::Clock::now(&self.clock)
    }

    async fn put(&self, pairs: &[(&str, &str)], value: f64) {
        let mut batch = MetricBatch::default();
        let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
        batch.start_labels(&labels).push(self.clock_now().as_millis(), value);
        self.store.appender().metrics(&self.tenant, batch).await.unwrap();
    }

    /// Evaluates an expression now; series and values, a line each.
    fn query(&self, expr: &str) -> String {
        let engine = Engine::new(Arc::new(self.store.reader()), EngineOptions::default());
        let budget = Budget::new(Limits::default(), Arc::new(self.clock.clone()));
        let query = Query::parse(expr).unwrap();
        let answer = engine.instant(&self.tenant, &query, self.clock_now(), &budget).unwrap();
        let Found::Vector(samples) = answer.value else { panic!("no vector") };
        let mut lines: Vec<String> = samples.iter().map(|s| format!("{} {}", s.labels, s.value)).collect();
        lines.sort();
        lines.join("\n")
    }

    /// Returns the messages in the outbox: status and labels of each alert.
    async fn told(&self) -> Vec<String> {
        let items = self.store.records().outgoing(&self.tenant, OutgoingFilter::default()).await.unwrap();
        let mut told = Vec::new();
        for item in items {
            let item: Value = serde_json::from_slice(&item.body).unwrap();
            let body: Value = serde_json::from_str(item["body"].as_str().unwrap()).unwrap();
            assert_eq!(body["type"], "rules.alerts");
            for alert in body["data"]["alerts"].as_array().unwrap() {
                told.push(format!("{} {}", alert["status"].as_str().unwrap(), alert["labels"]["x"]));
            }
        }
        told
    }

    async fn end(self) {
        self.running.shutdown().await;
        self.store.shutdown().await.unwrap();
    }
}

const RULES: &str = r#"
groups:
- name: g
  labels: {team: a}
  rules:
  - {record: "m:double", expr: m * 2}
  - {record: "m:sum", expr: "sum(m:double)", labels: {kind: total}}
  - {record: bad, expr: n + on(nothing) n}
  - alert: High
    expr: m:double > 4
    for: 1m
    labels: {severity: '{{ if gt $value 8.0 }}page{{ else }}mail{{ end }}'}
    annotations: {text: '{{ $labels.x }} is {{ $value }}, all are {{ with query "sum(m)" }}{{ . | first | value }}{{ end }}'}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_group_build_on_one_another_and_what_is_gone_is_marked() {
    let bench = Bench::start(RULES).await;
    for minute in 0..4 {
        for (x, value) in [("1", 5.0), ("2", 1.0)] {
            bench.put(&[("__name__", "n"), ("x", x)], value).await;
            if x == "1" || minute < 2 {
                bench.put(&[("__name__", "m"), ("x", x)], value).await;
            } else {
                let gone = f64::from_bits(greylight_store::read::STALE_NAN_BITS);
                bench.put(&[("__name__", "m"), ("x", x)], gone).await;
            }
        }
        bench.minute().await;
    }
    assert_eq!(
        bench.query("{__name__=~\"m:.*\"}"),
        "m:double{team=\"a\", x=\"1\"} 10\nm:sum{kind=\"total\", team=\"a\"} 10"
    );
    let alerts = bench.query("{__name__=~\"ALERTS.*\"}");
    assert!(
        alerts.starts_with(
            "ALERTS_FOR_STATE{alertname=\"High\", severity=\"page\", team=\"a\", x=\"1\"} 17952552"
        ) && alerts.ends_with(
            "\nALERTS{alertname=\"High\", alertstate=\"firing\", severity=\"page\", team=\"a\", x=\"1\"} 1"
        ) && alerts.lines().count() == 2,
        "{alerts}"
    );
    let groups = bench.groups("").await;
    let rules = &groups[0]["rules"];
    assert_eq!(rules[2]["health"], "err");
    assert!(rules[2]["lastError"].as_str().unwrap().contains("many"), "{rules:#}");
    let alert = &rules[3]["alerts"][0];
    assert_eq!(alert["annotations"], json!({ "text": "1 is 10, all are 5" }));
    assert_eq!((&alert["state"], &alert["value"]), (&json!("firing"), &json!("1e+01")));
    assert_eq!((&rules[3]["duration"], &rules[3]["type"]), (&json!(60), &json!("alerting")));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_goes_on_over_a_restart_and_nothing_is_told_twice() {
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: Long, expr: m > 0, for: 20m}\n  - {alert: Now, expr: m > 0}\n";
    let mut bench = Bench::start(rules).await;
    for _ in 0..15 {
        bench.put(&[("__name__", "m"), ("x", "1")], 1.0).await;
        bench.minute().await;
    }
    let state = |groups: &Value, i: usize| groups[0]["rules"][i]["state"].as_str().unwrap().to_owned();
    assert_eq!(state(&bench.groups("").await, 0), "pending");
    assert_eq!(bench.told().await, ["firing \"1\""]);
    bench = bench.restart(5 * MINUTE).await;
    let mut fired = None;
    for minute in 1..=15 {
        bench.put(&[("__name__", "m"), ("x", "1")], 1.0).await;
        bench.minute().await;
        if fired.is_none() && state(&bench.groups("").await, 0) == "firing" {
            fired = Some(minute);
        }
    }
    // About five minutes were left, and at least ten are waited after a restart, from the second evaluation on.
    assert!(matches!(fired, Some(12..=13)), "{fired:?}");
    assert_eq!(bench.told().await, ["firing \"1\"", "firing \"1\""]);
    // What ends while the server is away is told when it is back and has waited for those who send to it.
    bench = bench.restart(10 * MINUTE).await;
    for _ in 0..4 {
        bench.minute().await;
    }
    assert_eq!(bench.told().await.len(), 2, "data may still be missing");
    for _ in 0..2 {
        bench.minute().await;
    }
    let (_, alerts) = bench.ask("/prometheus/api/v1/alerts").await;
    assert_eq!(alerts["data"], json!({ "alerts": [] }));
    assert_eq!(bench.told().await[2..], ["resolved \"1\"", "resolved \"1\""]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_data_comes_late_after_a_restart_or_whose_rule_fails_is_not_told_to_have_ended() {
    let rules =
        "groups:\n- name: g\n  rules: [{alert: Late, expr: m > 0}, {alert: Bad, expr: m + on() n > 0}]\n";
    let mut bench = Bench::start(rules).await;
    for minute in 1..=15 {
        if !(4..=6).contains(&minute) {
            bench.put(&[("__name__", "m"), ("x", "1")], 1.0).await;
        }
        // From the restart on the second rule finds two series for one, and fails.
        for x in if minute > 3 { ["1", "2"].as_slice() } else { &["1"] } {
            bench.put(&[("__name__", "n"), ("x", x)], 1.0).await;
            if minute > 3 {
                bench.put(&[("__name__", "m"), ("x", "2")], 0.0).await;
            }
        }
        bench.minute().await;
        if minute == 3 {
            bench = bench.restart(10 * MINUTE).await;
        }
    }
    let groups = bench.groups("").await;
    assert_eq!(
        (&groups[0]["rules"][0]["health"], &groups[0]["rules"][1]["health"]),
        (&json!("ok"), &json!("err"))
    );
    let told = bench.told().await;
    assert!(told.len() == 2 && told.iter().all(|one| one.starts_with("firing")), "{told:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_two_rules_of_one_name_are_both_told() {
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: Same, expr: m > 0, labels: {x: a}}\n  \
                 - {alert: Same, expr: m > 1, labels: {x: b}}\n";
    let bench = Bench::start(rules).await;
    for _ in 0..3 {
        bench.put(&[("__name__", "m")], 2.0).await;
        bench.minute().await;
    }
    assert_eq!(bench.told().await, ["firing \"a\"", "firing \"b\""]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_fail_a_rule_and_series_of_offset_groups_lie_in_the_past() {
    let rules = "groups:\n- name: late\n  query_offset: 2m\n  rules: [{record: late, expr: m}]\n- name: few\n  limit: 1\n  \
                 rules: [{record: few, expr: m}, {alert: Few, expr: m > 0}, {record: one, expr: 'sum(m)'}]\n";
    let bench = Bench::start(rules).await;
    for _ in 0..4 {
        for x in ["1", "2"] {
            bench.put(&[("__name__", "m"), ("x", x)], 3.0).await;
        }
        bench.minute().await;
    }
    assert_eq!(bench.query("{__name__=~\"few|one|late\"}"), "late{x=\"1\"} 3\nlate{x=\"2\"} 3\none{} 6");
    let age: f64 = bench.query("max(time() - timestamp(late))").rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((120.0..=180.0).contains(&age), "{age}");
    let groups = bench.groups("?rule_group[]=few").await;
    let errors: Vec<&str> =
        groups[0]["rules"].as_array().unwrap().iter().filter_map(|r| r["lastError"].as_str()).collect();
    assert_eq!(errors, ["exceeded limit of 1 with 2 series", "exceeded limit of 1 with 2 alerts"]);
    assert_eq!(groups[0]["limit"], 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_and_paged() {
    let rules = "groups:\n- name: a\n  interval: 1m30s\n  rules:\n  - {record: r, expr: m, labels: {team: x}}\n  \
                 - {alert: A, expr: m, keep_firing_for: 5m}\n- name: b\n  rules: [{record: s, expr: m}]\n- name: empty\n";
    let bench = Bench::start(rules).await;
    let names = |groups: &Value| -> Vec<String> {
        let groups = groups.as_array().unwrap().iter();
        let rules = groups.flat_map(|g| g["rules"].as_array().unwrap().iter());
        rules.map(|r| r["name"].as_str().unwrap().to_owned()).collect()
    };
    for (query, want) in [
        ("", vec!["r", "A", "s"]),
        ("?type=alert", vec!["A"]),
        ("?type=record", vec!["r", "s"]),
        ("?rule_name[]=s&rule_name[]=r", vec!["r", "s"]),
        ("?rule_group[]=b", vec!["s"]),
        ("?file[]=nowhere", vec![]),
        ("?match[]=%7Bteam%3D%22x%22%7D", vec!["r"]),
    ] {
        assert_eq!(names(&bench.groups(query).await), want, "{query}");
    }
    let groups = bench.groups("?exclude_alerts=true&type=alert").await;
    let rule = &groups[0]["rules"][0];
    assert_eq!(
        (&rule["alerts"], &rule["health"], &rule["state"], &rule["keepFiringFor"], &rule["lastEvaluation"]),
        (&Value::Null, &json!("unknown"), &json!("inactive"), &json!(300), &json!("0001-01-01T00:00:00Z"))
    );
    assert_eq!((&groups[0]["interval"], &groups[0]["limit"]), (&json!(90), &json!(0)));
    let (_, first) = bench.ask("/api/v1/rules?group_limit=1").await;
    assert_eq!(names(&first["data"]["groups"]), ["r", "A"]);
    let token = first["data"]["groupNextToken"].as_str().unwrap();
    let (_, second) = bench.ask(&format!("/api/v1/rules?group_limit=1&group_next_token={token}")).await;
    assert_eq!(names(&second["data"]["groups"]), ["s"]);
    assert_eq!(second["data"].get("groupNextToken"), None);
    let (status, answer) = bench.ask("/api/v1/rules?group_limit=1&group_next_token=x").await;
    assert_eq!((status, &answer["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
    let (status, answer) = bench.ask("/api/v1/rules?type=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"], "invalid parameter \"type\": not supported value \"x\"");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_section_stand_in_for_what_groups_do_not_say() {
    let rules = "groups:\n- name: g\n  rules: [{record: r, expr: m}, {alert: A, expr: m > 0}]\n- name: own\n  \
                 interval: 1m\n  query_offset: 0s\n  rules: [{record: s, expr: m}]\n";
    let bench = Bench::start_with(rules, |config| {
        config.tenant = "shop".into();
        config.interval = Duration::from_secs(30);
        config.query_offset = 2 * MINUTE;
        config.external_url = Some("https://watch.example/gl/".into());
        config.external_labels.insert("site".into(), "east".into());
    })
    .await;
    for _ in 0..5 {
        bench.put(&[("__name__", "m"), ("x", "1")], 3.0).await;
        bench.clock.advance(Duration::from_secs(30));
        bench.until(|groups| groups[0]["lastEvaluation"] == json!(bench.clock_now().to_string())).await;
        bench.clock.advance(Duration::from_secs(30));
        bench.until(|groups| groups[0]["lastEvaluation"] == json!(bench.clock_now().to_string())).await;
    }
    let groups = bench.groups("").await;
    assert_eq!((&groups[0]["interval"], &groups[1]["interval"]), (&json!(30), &json!(60)));
    let age = |name: &str| -> f64 {
        bench.query(&format!("time() - timestamp({name})")).rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!((120.0..150.0).contains(&age("r")) && age("s") <= 60.0, "{} {}", age("r"), age("s"));
    let items = bench.store.records().outgoing(&bench.tenant, OutgoingFilter::default()).await.unwrap();
    let item: Value = serde_json::from_slice(&items[0].body).unwrap();
    let body: Value = serde_json::from_str(item["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["data"]["generator_url"], "https://watch.example/gl/graph?g0.expr=m+%3E+0&g0.tab=1");
    assert_eq!(body["data"]["external_labels"], json!({ "site": "east" }));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_that_were_missed_are_counted_and_not_made_up_for() {
    let bench = Bench::start("groups:\n- name: g\n  rules: [{record: r, expr: '1'}]\n").await;
    bench.minute().await;
    let count = || {
        let mut page = Writer::new(Format::PrometheusText);
        bench.analyzer.render(&mut page);
        let page = page.finish();
        let of = |name: &str| -> f64 {
            let line = page.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        let names = ["iterations_total", "iterations_missed_total", "last_evaluation_samples"];
        let [due, missed, samples] = names.map(|name| of(&format!("prometheus_rule_group_{name}")));
        (due, missed, samples, of("prometheus_rule_evaluations_total"))
    };
    assert_eq!(count(), (1.0, 0.0, 1.0, 1.0));
    // Seen as one late evaluation and, for all the others, the last one.
    bench.clock.advance(10 * MINUTE);
    for _ in 0..2000 {
        if count().3 >= 3.0 {
            break;
        }
        let _ = tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
    }
    assert_eq!(count(), (11.0, 8.0, 1.0, 3.0));
    bench.end().await;
}
