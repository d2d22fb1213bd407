//! A release judged again from what its looks pinned: by its own policy, by another, beside Kayenta's judge.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use axum::http::StatusCode;
use greylight_store::append::LogBatch;
use greylight_store::logs::{LogSelect, Query};
use greylight_store::metrics::Deletion;
use greylight_store::model::{Labels, LogRecord, Matcher, TenantId, TimeRange, Timestamp};
use greylight_store::read::SpanMs;
use greylight_store::records::{Expect, Transaction};
use serde_json::{Value, json};

use crate::releases::{Bench, MINUTE_MS, START_MS, body, policy};

/// The shop's policy with one phase, a mean beside the ratio, and log patterns.
fn full() -> Value {
    let mut full = policy();
    full["phases"] = json!([{ "name": "one", "lasts": { "at_least": "10m", "at_most": "40m" } }]);
    let checks = full["checks"].as_array_mut().unwrap();
    checks.push(json!({ "name": "requests", "kind": "mean", "harm": "down", "margin": { "relative": "20%" },
        "vote": "veto", "value": "sum by (instance) (rate(http_requests_total{$cohort}[$interval]))" }));
    checks.push(json!({ "name": "logs", "kind": "patterns", "logs": "{$cohort}", "vote": "none" }));
    full
}

fn request(key: &str) -> Value {
    let mut request = body(key);
    request["policy"] = full();
    request
}

/// Every host serves once a minute; the canary also runs out of connections now and then.
async fn log(bench: &Bench, minutes: std::ops::Range<i64>) {
    let mut records = Vec::new();
    for minute in minutes {
        for host in ["a", "b", "c", "d"] {
            let version = if host == "d" && minute >= 0 { "2" } else { "1" };
            let mut say = |severity_number, text: String| {
                let time =
                    Timestamp::from_millis(START_MS + minute * MINUTE_MS + 20_000 + records.len() as i64 % 9);
                let all = [("instance", host), ("service_name", "shop"), ("service_version", version)];
                records.push(LogRecord {
                    time,
                    observed_time: time,
                    severity_number,
                    severity_text: String::new(),
                    body: text,
                    labels: Labels::from_pairs(all).unwrap(),
                    attributes: Vec::new(),
                    trace_id: None,
                    span_id: None,
                    uid: None,
                });
            };
            say(9, format!("served in {} ms", 10 + minute.rem_euclid(7)));
            if version == "2" && minute % 3 == 0 {
                say(17, format!("pool exhausted after {minute} waits"));
            }
        }
    }
    bench.store.appender().logs(&TenantId::default(), LogBatch { records }).await.unwrap();
}

/// A release judged to its end; the canary has so many errors a minute, the baseline one.
async fn decided(key: &str, errors: f64) -> (Bench, String, Value) {
    let bench = Bench::start(START_MS + 60 * MINUTE_MS).await;
    bench.feed(-200, 60, errors).await;
    log(&bench, -200..60).await;
    let (status, release) = bench.ask("POST", "/api/v1/releases", request(key)).await;
    assert_eq!(status, StatusCode::CREATED, "{release:#}");
    let id = release["id"].as_str().unwrap().to_string();
    let release = bench.until(&id, |r| r["state"] == "decided").await;
    (bench, id, release)
}

async fn replay(bench: &Bench, id: &str, body: Value) -> (StatusCode, Value) {
    bench.ask("POST", &format!("/api/v1/releases/{id}/replay"), body).await
}

/// Deletes every sample and record of the shop.
async fn drop_raw_data(bench: &Bench) {
    let everything = SpanMs { start: START_MS - 300 * MINUTE_MS, end: START_MS + 300 * MINUTE_MS };
    let shop = Matcher::equal("service_name", "shop");
    let deletion = Deletion { sets: vec![vec![shop]], span: everything };
    let deleted = bench.store.delete_series(&TenantId::default(), deletion).await.unwrap();
    assert!(deleted.n_rows > 1000, "the shop's samples were there: {deleted:?}");
    let all = LogSelect { query: Query::parse("*").unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
    let deleted = bench.store.delete_records(&TenantId::default(), all).await.unwrap();
    assert!(deleted.n_rows > 1000, "and its records: {deleted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_the_same_after_raw_data_and_process_are_gone() {
    let (bench, id, release) = decided("gone", 10.0).await;
    assert_eq!(release["verdict"]["decision"], "no_go", "{release:#}");
    bench.replays(&id).await;
    drop_raw_data(&bench).await;
    let bench = bench.restart().await;
    bench.replays(&id).await;
    let (_, again) = replay(&bench, &id, json!({ "engine": "greylight" })).await;
    let (judged, recorded) = (&again["verdict"], &release["verdict"]);
    for field in
        ["decision", "final", "checks", "reasons", "evidence", "alpha_spent", "cohorts", "validity", "score"]
    {
        // Pages get lines to draw with the checks of a verdict; the verdict itself has none.
        let mut recorded = recorded[field].clone();
        recorded
            .as_array_mut()
            .into_iter()
            .flatten()
            .for_each(|one| drop(one.as_object_mut().map(|o| o.remove("history"))));
        assert_eq!(judged[field], recorded, "{field}");
    }
    assert_eq!(again["policy"]["pinned"], true, "{again:#}");
    assert_eq!(again["phases"][0]["kayenta"], Value::Null, "nobody asked Kayenta's judge: {again:#}");
    let (_, after) = bench.ask("GET", &format!("/api/v1/releases/{id}"), Value::Null).await;
    assert_eq!(after["verdict"], release["verdict"], "a replay changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_margin_judges_the_same_data_anew() {
    let (bench, id, release) = decided("stricter", 1.0).await;
    assert_eq!(release["verdict"]["decision"], "go", "{release:#}");
    let mut strict = full();
    strict["interval"] = json!("60s");
    strict["checks"][0]["margin"]["absolute"] = json!(0.0001);
    strict["checks"].as_array_mut().unwrap().truncate(1);
    let (status, answer) = replay(&bench, &id, json!({ "policy": strict })).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    assert_eq!((&answer["same"], &answer["policy"]["pinned"]), (&Value::Null, &json!(false)), "{answer:#}");
    assert_ne!(answer["verdict"]["decision"], "go", "so few requests cannot show that: {answer:#}");
    assert_eq!(answer["recorded"]["decision"], "go", "{answer:#}");
    assert_eq!(answer["phases"][0]["checks"].as_array().unwrap().len(), 1, "{answer:#}");

    let (bench, id, release) = decided("refused", 10.0).await;
    assert_eq!(release["verdict"]["decision"], "no_go", "{release:#}");
    let mut loose = full();
    loose["name"] = json!("loose");
    loose["checks"][0]["margin"] = json!({ "absolute": 0.5 });
    loose["checks"][0]["tolerated"] = json!({ "relative": "5000%" });
    assert_eq!(bench.ask("PUT", "/api/v1/policies/loose", loose).await.0, StatusCode::OK);
    let (status, answer) = replay(&bench, &id, json!({ "policy": "loose" })).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    assert_eq!(answer["policy"], json!({ "name": "loose", "revision": 1, "pinned": false }));
    assert_eq!(
        answer["verdict"]["decision"], "inconclusive",
        "it was refused before a go could come: {answer:#}"
    );
    assert_eq!(answer["verdict"]["reasons"][0]["code"], "pinned_data_ends", "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_judge_the_same_data() {
    let (bench, id, release) = decided("both", 10.0).await;
    drop_raw_data(&bench).await;
    let (status, answer) = replay(&bench, &id, json!({ "engine": "both" })).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    assert_eq!(answer["same"], true, "{:#}", answer["difference"]);
    let phase = &answer["phases"][0];
    assert_eq!(phase["decision"], release["verdict"]["decision"], "{phase:#}");
    let kayenta = &phase["kayenta"];
    assert_eq!(kayenta["judge"], "NetflixACAJudge-v1.0", "{phase:#}");
    let results = kayenta["result"]["results"].as_array().unwrap();
    let of = |name: &str| results.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of("error share")["classification"], "High", "ten times the errors: {kayenta:#}");
    assert_eq!(of("error share")["groups"], json!(["error share"]), "a group is named as its check");
    assert_eq!(of("logs")["muted"], true, "a check without a vote is muted: {kayenta:#}");
    let (_, alone) = replay(&bench, &id, json!({ "engine": "kayenta" })).await;
    assert_eq!(alone["phases"][0]["kayenta"], *kayenta);
    assert_eq!(
        (&alone["same"], &alone["verdict"], &alone["looks"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_first_is_named() {
    let (bench, id, _) = decided("altered", 10.0).await;
    let (tenant, records) = (TenantId::default(), bench.store.records());
    let look = format!("{id}/00000002");
    let document = records.get(&tenant, "release_look", &look).await.unwrap().unwrap();
    let mut altered: Value = serde_json::from_slice(&document.body).unwrap();
    altered["checks"][0]["p_harm"] = json!(0.123_456);
    let transaction = Transaction::default().put("release_look", look, Expect::Any, altered.to_string());
    records.commit(&tenant, transaction).await.unwrap();
    let (_, answer) = replay(&bench, &id, Value::Null).await;
    assert_eq!(answer["same"], false);
    let difference = &answer["difference"];
    assert_eq!((&difference["look"], &difference["phase"]), (&json!(2), &json!("one")), "{difference:#}");
    assert_eq!(difference["field"], "checks[0].p_harm", "{difference:#}");
    assert_eq!(difference["recorded"], 0.123_456, "{difference:#}");
    assert_ne!(difference["replayed"], 0.123_456, "{difference:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overridden_or_ended_release_is_the_same_below_that() {
    let (bench, id, _) = decided("over", 10.0).await;
    let over = json!({ "decision": "go", "by": "lin", "why": "known" });
    bench.ask("POST", &format!("/api/v1/releases/{id}/override"), over).await;
    let (_, answer) = replay(&bench, &id, Value::Null).await;
    assert_eq!(answer["same"], true, "{:#}", answer["difference"]);
    assert_eq!(
        (&answer["recorded"]["decision"], &answer["recorded"]["overridden"]),
        (&json!("go"), &json!(true))
    );
    assert_eq!(answer["verdict"]["decision"], "no_go", "the statistics stay what they were");

    let bench = Bench::start(START_MS + 8 * MINUTE_MS).await;
    bench.feed(-200, 60, 1.0).await;
    let mut request = request("ended");
    request["end"] = json!("2026-11-21T10:12:00Z");
    let (_, release) = bench.ask("POST", "/api/v1/releases", request).await;
    let id = release["id"].as_str().unwrap();
    bench.until(id, |r| r["phases"][0]["looks"].as_u64() >= Some(3)).await;
    bench.replays(id).await;
    bench.clock.advance(std::time::Duration::from_secs(3600));
    let release = bench.until(id, |r| r["state"] == "decided").await;
    assert_eq!(release["verdict"]["reasons"][0]["code"], "time_ran_out", "{release:#}");
    bench.replays(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_within_a_phase_are_followed() {
    let bench = Bench::start(START_MS + 8 * MINUTE_MS).await;
    bench.feed(-200, 60, 1.0).await;
    let (_, release) = bench.ask("POST", "/api/v1/releases", request("moved")).await;
    let id = release["id"].as_str().unwrap();
    bench.until(id, |r| r["phases"][0]["looks"].as_u64() >= Some(5)).await;
    let call = json!({ "phase": "one", "traffic_share": 0.5, "scope": "{instance=~\"a|d\"}" });
    let (status, answer) = bench.ask("POST", &format!("/api/v1/releases/{id}/phase"), call).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    bench.clock.advance(std::time::Duration::from_secs(3600));
    let release = bench.until(id, |r| r["state"] == "decided").await;
    assert_eq!(release["phases"][0]["moves"].as_array().unwrap().len(), 1, "{release:#}");
    bench.replays(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_refused_by_name() {
    let (bench, id, _) = decided("errors", 10.0).await;
    let refused = async |id: &str, body: Value| {
        let (status, problem) = replay(&bench, id, body).await;
        let error = &problem["error"];
        (
            status,
            error["field"].as_str().unwrap_or_default().to_string(),
            error["message"].as_str().unwrap().to_string(),
        )
    };
    assert_eq!(refused("nope", Value::Null).await.0, StatusCode::NOT_FOUND);
    let bad = StatusCode::BAD_REQUEST;
    for (body, field) in [
        (json!({ "engine": "kayentta" }), "engine"),
        (json!({ "policy": 7 }), "policy"),
        (json!({ "polcy": "shop" }), "polcy"),
        (json!({ "policy": { "name": "x" } }), "policy.phases"),
    ] {
        let (status, named, message) = refused(&id, body).await;
        assert_eq!((status, named.as_str()), (bad, field), "{message}");
    }
    let (status, field, _) = refused(&id, json!({ "policy": "none such" })).await;
    assert_eq!((status, field.as_str()), (StatusCode::NOT_FOUND, "policy"));

    let with = |change: &dyn Fn(&mut Value)| {
        let mut policy = full();
        change(&mut policy);
        json!({ "policy": policy })
    };
    let extra =
        json!({ "name": "restarts", "kind": "count", "events": "restarts_total{$cohort}", "vote": "veto" });
    for (body, field, said) in [
        (
            with(&|p| p["checks"].as_array_mut().unwrap().push(extra.clone())),
            "policy.phases[0].checks",
            "restarts",
        ),
        (
            with(&|p| {
                p["checks"][0] =
                    json!({ "name": "error share", "kind": "mean", "value": "up{$cohort}", "vote": "none" })
            }),
            "policy.phases[0].checks",
            "for kind ratio, not mean",
        ),
        (
            with(&|p| p["checks"][0]["trials"] = json!("up{$cohort}")),
            "policy.phases[0].checks",
            "another query",
        ),
        (with(&|p| p["checks"][0]["by"] = json!("code")), "policy.phases[0].checks", "`by`"),
        (with(&|p| p["phases"][0]["name"] = json!("two")), "policy.phases[0].name", "two"),
        (with(&|p| p["phases"][0]["scope"] = json!("{zone=\"z\"}")), "policy.phases[0].scope", "scope"),
        (with(&|p| p["interval"] = json!("2m")), "policy.interval", "1m"),
        (with(&|p| p["warm_up"] = json!("3m")), "policy.warm_up", "2m"),
        (with(&|p| p["pre_period"] = json!("2h")), "policy.pre_period", "3h"),
        (with(&|p| p["unit"] = json!(["pod"])), "policy.unit", "instance"),
    ] {
        let (status, named, message) = refused(&id, body).await;
        assert_eq!((status, named.as_str()), (bad, field), "{message}");
        assert!(message.contains(said), "{message} says nothing of {said}");
    }

    let early = Bench::start(START_MS + MINUTE_MS).await;
    early.ask("POST", "/api/v1/releases", request("early")).await;
    let (status, problem) = replay(&early, "key:early", Value::Null).await;
    assert_eq!((status, &problem["error"]["kind"]), (StatusCode::CONFLICT, &json!("conflict")), "{problem}");
}
