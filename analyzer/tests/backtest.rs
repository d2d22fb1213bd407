//! A policy tried on stored history: what it refuses, what it finds, restarts, wrong input.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use axum::http::StatusCode;
use greylight_analyzer::backtest::{Feed, History, Injection, PlaceboKind, Plan, Track, Watch, backtest};
use greylight_analyzer::judge::{Counts, Data, Series};
use greylight_analyzer::policy::{Queries, parse};
use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Labels, LogRecord, TenantId, Timestamp};
use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::births::{self, noise};
use crate::releases::{Bench, MINUTE_MS, START_MS};
use crate::simulate::Chance;

const PAGE: &str = include_str!("../../docs/backtest.md");
const HOSTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const DAY: i64 = 1440;

fn policy() -> Value {
    json!({ "name": "shop", "interval": "1m", "delay": "15s", "pre_period": "3h", "warm_up": "2m",
        "phases": [{ "name": "one", "lasts": { "at_least": "10m", "at_most": "30m" } }],
        "checks": [
            { "name": "errors", "kind": "ratio", "margin": { "absolute": 0.02 },
              "events": "http_requests_total{code=~\"5..\", $cohort}", "trials": "http_requests_total{$cohort}" },
            { "name": "load", "kind": "mean", "margin": { "relative": "10%" },
              "value": "avg by (instance) (avg_over_time(load{$cohort}[$interval]))" },
            { "name": "latency", "kind": "distribution", "histogram": "seconds{$cohort}", "margin": { "relative": "30%" } },
            { "name": "restarts", "kind": "count", "events": "restarts_total{$cohort}", "vote": "veto" },
            { "name": "conversion", "kind": "users", "vote": "veto", "users": { "logs": "*", "match": "{$cohort}",
              "user": "user", "value": { "query": "event:buy" } } } ] })
}

fn labels(name: &str, host: &str, more: (&str, &str)) -> Labels {
    let all = [("__name__", name), ("instance", host), ("job", "shop"), ("service_name", "shop"), more];
    Labels::from_pairs(all.into_iter().filter(|(name, _)| !name.is_empty())).unwrap()
}

/// A day of a calm shop before the start: 100 requests a minute and host, 1 % errors, and a load of about 100.
async fn fed() -> Bench {
    let bench = Bench::start(START_MS).await;
    let mut batch = MetricBatch::default();
    let mut chance = Chance::new(11, 0);
    for (number, host) in HOSTS.into_iter().enumerate() {
        let mut series: Vec<(Labels, Vec<(i64, f64)>)> = [
            ("up", ("", "")),
            ("http_requests_total", ("code", "200")),
            ("http_requests_total", ("code", "500")),
            ("load", ("", "")),
            ("restarts_total", ("", "")),
            ("seconds_bucket", ("le", "0.1")),
            ("seconds_bucket", ("le", "0.2")),
            ("seconds_bucket", ("le", "0.4")),
            ("seconds_bucket", ("le", "+Inf")),
        ]
        .map(|(name, more)| (labels(name, host, more), Vec::new()))
        .into();
        let mut counters = [0.0; 6];
        for minute in -DAY..0 {
            let t = START_MS + minute * MINUTE_MS + 1_000;
            let errors = chance.binomial(100, 0.01) as f64;
            counters[0] += 100.0 - errors;
            counters[1] += errors;
            let (mut below, mut left) = (0.0, 100_usize);
            for (idx, part) in [0.4, 0.6, 0.8].into_iter().enumerate() {
                let n = chance.binomial(left, part);
                below += n as f64;
                left -= n;
                counters[2 + idx] += below;
            }
            counters[5] += 100.0;
            let load = 100.0 * (1.0 + 0.02 * noise(number as u64 + 9) + 0.05 * chance.normal());
            let values = [
                1.0,
                counters[0],
                counters[1],
                load,
                0.0,
                counters[2],
                counters[3],
                counters[4],
                counters[5],
            ];
            series.iter_mut().zip(values).for_each(|((_, samples), value)| samples.push((t, value)));
        }
        for (labels, samples) in series {
            let mut writer = batch.start_labels(&labels);
            samples.into_iter().for_each(|(t, value)| writer.push(t, value));
        }
    }
    bench.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    bench
}

fn request(runs: u64) -> Value {
    json!({ "policy": policy(), "match": "{service_name=\"shop\"}", "split_by": "instance",
        "range": ["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z"], "runs": runs, "seed": 5,
        "effects": ["0.1%", "300%"] })
}

async fn started(bench: &Bench, request: &Value) -> String {
    let (status, answer) = bench.ask("POST", "/api/v1/backtests", request.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer:#}");
    answer["id"].as_str().unwrap().to_owned()
}

async fn until(bench: &Bench, id: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..60_000 {
        let (status, answer) = bench.ask("GET", &format!("/api/v1/backtests/{id}"), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{answer:#}");
        if enough(&answer) {
            return answer;
        }
        last = answer;
        let _ = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
    }
    panic!("the backtest never got there: {last:#}");
}

fn has_ended(answer: &Value) -> bool {
    !["waiting", "running"].contains(&answer["state"].as_str().unwrap())
}

async fn done(bench: &Bench, request: &Value) -> Value {
    let id = started(bench, request).await;
    until(bench, &id, has_ended).await
}

/// Opens everything again, later: ids come of the clock and of a seed that begins anew.
async fn restarted(bench: Bench) -> Bench {
    let bench = bench.restart().await;
    bench.clock.advance(Duration::from_secs(1));
    bench
}

/// A report without what names this one run.
fn report(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for field in ["id", "created_at", "ended_at"] {
        answer.as_object_mut().unwrap().remove(field);
    }
    answer
}

fn found(answer: &Value, check: &str, effect: &str) -> f64 {
    let power = answer["power"].as_array().unwrap();
    let one = power.iter().find(|one| one["check"] == check && one["effect"] == effect);
    one.and_then(|one| one["found"].as_f64()).unwrap_or_else(|| panic!("{check} {effect}: {answer:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn good_releases_go_and_only_what_can_be_found_is_found() {
    let bench = fed().await;
    let answer = done(&bench, &request(40)).await;
    assert_eq!((&answer["state"], &answer["runs"]), (&json!("done"), &json!(40)), "{answer:#}");
    // Alpha is 1 %: its interval holds what was seen.
    assert!(answer["refused"]["low"].as_f64().unwrap() <= 0.01, "{answer:#}");
    assert!(answer["go"]["share"].as_f64().unwrap() >= 0.8, "{answer:#}");
    let shares = ["refused", "go", "inconclusive"].map(|name| answer[name]["share"].as_f64().unwrap());
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    for check in ["one/load", "one/errors", "one/latency"] {
        let (small, large) = (found(&answer, check, "0.1%"), found(&answer, check, "300%"));
        assert!(small <= 0.1 && large >= 0.9, "{check}: {small} {large}\n{answer:#}");
    }
    let checks = answer["checks"].as_array().unwrap();
    let load = checks.iter().find(|check| check["name"] == "one/load").unwrap();
    assert!((load["value"].as_f64().unwrap() - 100.0).abs() < 3.0, "{load:#}");
    // One host against five, 5 % each, averaged over the four scrapes of `$interval`.
    let sd = 5.0 / 2.0 * (1.0_f64 + 0.2).sqrt();
    assert!((load["noise"].as_f64().unwrap() / sd - 1.0).abs() < 0.15, "{load:#}");
    let suggested = load["suggested_margin"]["relative"].as_f64().unwrap();
    assert!((0.005..0.1).contains(&suggested), "it goes by 10 %, so less would do: {load:#}");
    let untested = answer["untested"].to_string();
    assert!(untested.contains("one/conversion") && untested.contains("users"), "{untested}");
    assert_eq!(answer["placebos"]["kind"], "splits", "{answer:#}");
    // The same seed gives the same answer, also in another process; another seed another one.
    let id = answer["id"].as_str().unwrap().to_owned();
    let bench = restarted(bench).await;
    let (_, kept) = bench.ask("GET", &format!("/api/v1/backtests/{id}"), Value::Null).await;
    assert_eq!(kept, answer, "it outlives a restart");
    assert_eq!(report(&done(&bench, &request(40)).await), report(&answer));
    let (_, list) = bench.ask("GET", "/api/v1/backtests", Value::Null).await;
    let list = list["backtests"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    assert_eq!((&list[1]["id"], &list[1]["power"]), (&json!(id), &Value::Null), "a list is short: {list:#?}");
    // The margin that was suggested lets about as many go as it said.
    let mut narrow = request(40);
    narrow["effects"] = json!([]);
    narrow["policy"]["checks"] = json!([policy()["checks"][1]]);
    narrow["policy"]["checks"][0]["margin"] = json!({ "relative": suggested });
    let answer = done(&bench, &narrow).await;
    let goes = answer["checks"][0]["go"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&goes), "{goes} by {suggested}: {answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn births_play_the_canary_where_pods_are_replaced() {
    let bench = Bench::start(START_MS).await;
    births::feed(&bench, 1.0).await;
    let mut request = request(50);
    request["policy"] = json!({ "name": "pods", "interval": "1m", "pre_period": "3h", "warm_up": "2m",
        "births": { "window": "1d", "at_most": 100 },
        "phases": [{ "name": "one", "lasts": { "at_least": "10m", "at_most": "1h" } }],
        "checks": [{ "name": "load", "kind": "mean", "margin": { "relative": "30%" },
            "value": "avg by (instance) (avg_over_time(load{$cohort}[$interval]))" }] });
    request["effects"] = json!(["1%", "100%"]);
    let answer = done(&bench, &request).await;
    assert_eq!(answer["state"], "done", "{answer:#}");
    assert_eq!(answer["placebos"]["kind"], "births", "{answer:#}");
    // Six events of two pods: one at a time gives twelve, whatever was asked for.
    assert_eq!((&answer["runs"], &answer["placebos"]["disjoint"]), (&json!(12), &json!(6)), "{answer:#}");
    assert_eq!(answer["refused"]["count"], 0, "{answer:#}");
    assert!(answer["go"]["share"].as_f64().unwrap() > 0.5, "{answer:#}");
    assert!(found(&answer, "one/load", "100%") > 0.9 && found(&answer, "one/load", "1%") < 0.1, "{answer:#}");
    request["canary_hosts"] = json!(3);
    request["placebos"] = json!("births");
    let answer = done(&bench, &request).await;
    assert_eq!(
        (&answer["state"], &answer["error"]["field"]),
        (&json!("failed"), &json!("range")),
        "{answer:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pattern_is_found_in_log_records_of_units() {
    let bench = Bench::start(START_MS).await;
    let mut records = Vec::new();
    for minute in -420..0 {
        for host in HOSTS {
            let time = Timestamp::from_millis(START_MS + minute * MINUTE_MS + 20_000);
            let all = [("instance", host), ("service_name", "shop")];
            records.extend((0..4).map(|n| LogRecord {
                time: time.saturating_add(Duration::from_millis(n)),
                observed_time: time,
                severity_number: 9,
                severity_text: String::new(),
                body: format!("served in {} ms", 10 + (minute + n as i64).rem_euclid(7)),
                labels: Labels::from_pairs(all).unwrap(),
                attributes: Vec::new(),
                trace_id: None,
                span_id: None,
                uid: None,
            }));
        }
    }
    bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
    let mut request = request(10);
    request["range"] = json!(["2026-11-21T03:00:00Z", "2026-11-21T10:00:00Z"]);
    request["policy"]["checks"] =
        json!([{ "name": "logs", "kind": "patterns", "logs": "{$cohort}", "vote": "veto" }]);
    request["effects"] = json!(["0.001%", "100%"]);
    let answer = done(&bench, &request).await;
    assert_eq!(answer["state"], "done", "{answer:#}");
    assert_eq!(answer["refused"]["count"], 0, "{answer:#}");
    assert!(
        found(&answer, "one/logs", "100%") > 0.9 && found(&answer, "one/logs", "0.001%") < 0.1,
        "{answer:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ran_at_a_restart_says_so_and_one_can_be_ended() {
    let bench = fed().await;
    let id = started(&bench, &request(2000)).await;
    let waiting = started(&bench, &request(2000)).await;
    let now = until(&bench, &id, |answer| answer["progress"]["work"] == "judging").await;
    assert_eq!((&now["state"], &now["progress"]["of"]), (&json!("running"), &json!(2000)), "{now:#}");
    let other = until(&bench, &waiting, |_| true).await;
    assert_eq!(other["state"], "waiting", "one runs at a time: {other:#}");
    let bench = restarted(bench).await;
    for id in [&id, &waiting] {
        let answer = until(&bench, id, |_| true).await;
        assert_eq!(answer["state"], "interrupted", "{answer:#}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("ask for it again"), "{answer:#}");
    }
    // Ended by hand: it says so, then it can be removed.
    let id = started(&bench, &request(2000)).await;
    let path = format!("/api/v1/backtests/{id}");
    until(&bench, &id, |answer| answer["progress"]["work"] == "judging").await;
    let (status, answer) = bench.ask("DELETE", &path, Value::Null).await;
    assert_eq!((status, &answer["state"]), (StatusCode::OK, &json!("cancelled")), "{answer:#}");
    assert_eq!(bench.ask("DELETE", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(bench.ask("GET", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
    // Others wait, and too many are refused.
    for _ in 0..8 {
        started(&bench, &request(2000)).await;
    }
    let (status, answer) = bench.ask("POST", "/api/v1/backtests", request(1)).await;
    assert_eq!((status, &answer["error"]["limit"]), (StatusCode::TOO_MANY_REQUESTS, &json!(8)), "{answer:#}");
    // Ends them: a runtime waits for what it runs.
    restarted(bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_by_its_field() {
    let bench = fed().await;
    let refused = async |field: &str, change: &dyn Fn(&mut Value), text: &str| {
        let mut body = request(1);
        change(&mut body);
        let (status, answer) = bench.ask("POST", "/api/v1/backtests", body).await;
        let error = &answer["error"];
        assert_eq!(error["field"], field, "{answer:#}");
        assert!(status.is_client_error(), "{status}");
        assert!(error["message"].as_str().unwrap().contains(text), "{answer:#}");
    };
    refused("range", &|b| b["range"] = json!(["2026-11-21T07:00:00Z", "2026-11-21T10:00:00Z"]), "3h32m")
        .await;
    refused("range", &|b| b["range"] = json!(["2025-11-21T07:00:00Z", "2026-11-21T10:00:00Z"]), "50000")
        .await;
    refused("range[1]", &|b| b["range"][1] = json!("2026-11-22T10:00:00Z"), "future").await;
    refused("policy", &|b| b["policy"] = json!("nobody"), "nobody").await;
    refused("policy.checks[0].margin", &|b| b["policy"]["checks"][0]["margin"] = json!(-1), "").await;
    refused("policy.phases", &|b| b["policy"]["phases"][0]["lasts"]["at_most"] = json!("90h"), "5000").await;
    refused("effects[1]", &|b| b["effects"][1] = json!("lots"), "percentage").await;
    // What only the stored data can tell ends it, and names the field too.
    for (field, change, text) in [
        ("canary_hosts", json!(6), "at least 7"),
        ("match", json!("{service_name=\"nobody\"}"), "selects nothing"),
        ("split_by", json!("zone"), "zone"),
    ] {
        let mut body = request(1);
        body[field] = change;
        let answer = done(&bench, &body).await;
        assert_eq!(answer["state"], "failed", "{answer:#}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(text), "{answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_right() {
    let bench = fed().await;
    let body = policy().to_string();
    let (status, stored) = bench.ask("PUT", "/api/v1/policies/shop", policy()).await;
    assert_eq!(status, StatusCode::OK, "{stored:#} {body}");
    let blocks: Vec<Value> = PAGE
        .split("\n\n")
        .filter(|block| block.starts_with("    { \""))
        .map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}\n{block}")))
        .collect();
    let [asked, shown] = blocks.as_slice() else { panic!("a request and an answer: {blocks:#?}") };
    let mut asked = asked.clone();
    asked["runs"] = json!(4);
    let answer = done(&bench, &asked).await;
    assert_eq!(answer["state"], "done", "{answer:#}");
    let keys =
        |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(keys(shown), keys(&answer));
    for list in ["phases", "power", "checks", "untested"] {
        assert_eq!(keys(&shown[list][0]), keys(&answer[list][0]), "{list}");
    }
    for object in ["refused", "go", "placebos"] {
        assert_eq!(keys(&shown[object]), keys(&answer[object]), "{object}");
    }
}

/// A history in which every unit and minute is like every other.
fn exchangeable(plan: &Plan, n: usize, seed: u64) -> History {
    let mut chance = Chance::new(seed, 1);
    let t_ms: Vec<i64> = (0..n as i64).map(|i| START_MS + i * MINUTE_MS).collect();
    let units = 6;
    let mut of = |kind: &str, unit: usize| match kind {
        "mean" => {
            let v = (0..n).map(|_| Some(100.0 + 10.0 * chance.normal())).collect();
            Data::Values(vec![Series { instance: unit.to_string(), t_ms: t_ms.clone(), v }])
        }
        _ => Data::Counts(Counts {
            t_ms: t_ms.clone(),
            events: (0..n).map(|_| Some(chance.binomial(50, 0.05) as f64)).collect(),
            exposure: vec![Some(50.0); n],
            units: IndexMap::new(),
        }),
    };
    let checks = &plan.policy.phases[0].checks;
    let track = |check: &greylight_analyzer::policy::Check| Track {
        units: (0..units).map(|unit| Some(of(check.kind.word(), unit))).collect(),
        births: Vec::new(),
        tells_units: true,
    };
    History {
        start_ms: START_MS,
        step_ms: MINUTE_MS,
        n,
        units: (0..units).map(|unit| unit.to_string()).collect(),
        tracks: checks.iter().map(track).collect(),
        checks: vec![(0..checks.len()).map(Feed::Track).collect()],
        starts: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn good_releases_of_exchangeable_units_are_refused_within_alpha(seed in 0_u64..1000) {
        let text = "{ name: p, alpha: 0.05, interval: 1m, pre_period: 3h, warm_up: 1m,
            phases: [{ name: one, lasts: { at_least: 10m, at_most: 20m } }],
            checks: [{ name: errors, kind: ratio, margin: { absolute: 0.02 } },
                     { name: load, kind: mean, margin: { relative: 10% } }] }";
        let plan = Plan {
            policy: parse(text, Queries::Optional).unwrap(),
            canary_hosts: 2,
            runs: 40,
            seed,
            effects: vec![Injection { text: "100%".to_owned(), part: 1.0 }],
            placebos: PlaceboKind::Auto,
        };
        let history = exchangeable(&plan, 1440, seed);
        let run = || {
            let mut next = |_, _| {};
            backtest(&plan, &history, &mut Watch { next: &mut next, is_cancelled: &|| false }).unwrap()
        };
        let report = run();
        prop_assert!(report.refused.low <= 0.05, "{:?}", report);
        prop_assert!(report.power.iter().all(|one| one.found > Some(0.9)), "{:?}", report.power);
        prop_assert_eq!(&run(), &report);
        let ended = {
            let mut next = |_, _| {};
            backtest(&plan, &history, &mut Watch { next: &mut next, is_cancelled: &|| true })
        };
        prop_assert!(ended.is_err());
    }
}
