//! The judge's door: bodies of `POST /api/v1/judge` in, looks out.

use greylight_analyzer::judge::wire::AnswerJson;
use greylight_analyzer::judge::{JudgeError, answer};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::simulate::Chance;

pub(crate) const START: i64 = 1_795_255_200_000;
const MINUTE: i64 = 60_000;

pub(crate) fn times(from: i64, n: i64) -> Vec<i64> {
    (0..n).map(|i| START + (from + i) * MINUTE).collect()
}

/// Values that look random, with standard deviation of about 5 % of the mean.
fn wobble(n: i64, seed: i64) -> Vec<f64> {
    let mut chance = Chance::new(7, seed.unsigned_abs());
    (0..n).map(|_| 100.0 * (1.0 + 0.1 * (chance.uniform() + chance.uniform() - 1.0))).collect()
}

pub(crate) fn policy(check: Value) -> Value {
    json!({ "name": "p", "warm_up": "0s",
            "phases": [{ "name": "one", "lasts": { "at_least": "12m", "at_most": "1h" }, "checks": [check] }] })
}

pub(crate) fn ratio(events: impl Fn(i64) -> f64, trials: f64, from: i64, n: i64) -> Value {
    json!({ "t_ms": times(from, n), "events": (0..n).map(events).collect::<Vec<_>>(), "trials": vec![trials; n as usize] })
}

fn series(values: &[f64], from: i64) -> Value {
    json!({ "series": [{ "instance": "x", "t_ms": times(from, values.len() as i64), "v": values }] })
}

pub(crate) fn body(check: Value, data: Value) -> Value {
    let name = check["name"].as_str().expect("the check has a name").to_owned();
    json!({ "policy": policy(check), "start_ms": START, "data": { name: data } })
}

pub(crate) fn run(body: &Value) -> AnswerJson {
    answer(body.to_string().as_bytes()).expect("the body is right")
}

#[track_caller]
pub(crate) fn refused(body: &Value, field: &str, message: &str) {
    let problem = answer(body.to_string().as_bytes()).expect_err("the body is wrong").problem();
    assert_eq!(problem.kind.as_str(), "invalid");
    assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    assert!(problem.message.contains(message), "{problem:?}");
}

pub(crate) fn first(answer: &AnswerJson, decision: &str) -> Option<usize> {
    answer.looks.iter().position(|look| look.decision == decision)
}

pub(crate) fn codes(answer: &AnswerJson) -> Vec<&str> {
    answer.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

/// Half an error a minute on each side, for a day before and an hour after.
fn quiet() -> Value {
    let half = |i: i64| f64::from(u8::from((i * 7) % 13 < 6));
    json!({ "baseline": ratio(half, 1_000.0, 0, 60), "canary": ratio(|i| half(i + 5), 1_000.0, 0, 60),
            "pre": { "baseline": ratio(half, 1_000.0, -1_440, 1_440), "canary": ratio(|i| half(i + 5), 1_000.0, -1_440, 1_440) } })
}

fn errors() -> Value {
    json!({ "name": "errors", "kind": "ratio", "margin": { "absolute": 0.005 } })
}

#[test]
fn a_like_canary_goes_when_at_least_has_passed() {
    let answer = run(&body(errors(), quiet()));
    assert_eq!(answer.looks.len(), 60);
    assert_eq!(first(&answer, "go"), Some(11));
    assert_eq!(answer.looks[11].at_ms, START + 12 * MINUTE);
    assert!(answer.looks[11..].iter().all(|look| look.decision == "go" && look.is_final));
    let verdict = &answer.verdict;
    assert_eq!((verdict.decision.as_str(), verdict.is_final), ("go", true));
    assert_eq!(verdict.decided_at.as_deref(), Some("2026-11-21T10:12:00Z"));
    assert_eq!(codes(&answer), ["below_margin"]);
    assert!(verdict.score >= 95);
    let check = &verdict.checks[0];
    assert!(check.p_go.unwrap() <= check.level_go.unwrap());
    let effect = check.effect.as_ref().unwrap();
    assert!(effect.low.unwrap() < effect.estimate.unwrap() && effect.high.unwrap() < 0.005);
    assert!(verdict.evidence.as_ref().unwrap().digest.starts_with("blake3:"));
}

#[test]
fn harm_refuses_at_the_look_that_shows_it() {
    let mut data = quiet();
    data["canary"] = ratio(|i| if i >= 5 { 8.0 } else { 0.0 }, 1_000.0, 0, 60);
    let answer = run(&body(errors(), data));
    let at = first(&answer, "no_go").expect("eight errors a minute for half a one");
    assert!((5..12).contains(&at), "{at}");
    let check = &answer.looks[at].checks[0];
    assert!(check.p_harm.unwrap() <= check.level.unwrap());
    assert!(answer.looks[at - 1].checks[0].p_harm.unwrap() > answer.looks[at - 1].checks[0].level.unwrap());
    assert_eq!((answer.verdict.score, codes(&answer)), (0, vec!["harm_shown"]));
}

#[test]
fn the_same_body_gives_the_same_bits() {
    let body = body(errors(), quiet());
    assert_eq!(serde_json::to_string(&run(&body)).unwrap(), serde_json::to_string(&run(&body)).unwrap());
}

#[test]
fn later_data_does_not_change_earlier_looks() {
    let mean = json!({ "name": "cpu", "kind": "mean", "margin": { "relative": "20%" } });
    let data = |n: usize| {
        json!({ "baseline": series(&wobble(60, 1)[..n], 0), "canary": series(&wobble(60, 2)[..n], 0),
                "pre": { "baseline": series(&wobble(200, 3), -200), "canary": series(&wobble(200, 4), -200) } })
    };
    let whole = run(&body(mean.clone(), data(60)));
    for n in [1, 10, 33] {
        let part = run(&body(mean.clone(), data(n)));
        assert_eq!(part.looks, whole.looks[..n]);
    }
}

#[test]
fn missing_data_is_never_a_go() {
    let mut data = quiet();
    data["canary"] = ratio(|_| 0.0, 1_000.0, 0, 8);
    let answer = run(&body(errors(), data.clone()));
    assert_eq!(first(&answer, "go"), None);
    assert_eq!(codes(&answer), ["stale_data", "time_ran_out"]);
    assert!(answer.verdict.is_final && answer.verdict.decision == "inconclusive");

    let mut check = errors();
    check["missing"] = json!("no_go");
    let answer = run(&body(check, data));
    assert_eq!(first(&answer, "no_go"), Some(17));
    assert_eq!(codes(&answer), ["missing"]);
}

#[test]
fn a_side_without_any_data_is_named() {
    let mut data = quiet();
    data.as_object_mut().unwrap().remove("canary");
    let answer = run(&body(errors(), data));
    let reason = &answer.verdict.reasons[0];
    assert_eq!((reason.code.as_str(), reason.check.as_deref()), ("no_data", Some("errors")));
    assert!(reason.text.contains("canary"), "{}", reason.text);
}

#[test]
fn warm_up_counts_for_nothing() {
    let mut body = body(errors(), quiet());
    body["policy"]["warm_up"] = json!("5m");
    body["data"]["errors"]["canary"] = ratio(|i| if i < 5 { 500.0 } else { 0.0 }, 1_000.0, 0, 60);
    let answer = run(&body);
    assert_eq!(codes_at(&answer, 0), ["warm_up"]);
    assert_eq!(first(&answer, "go"), Some(16));
}

fn codes_at(answer: &AnswerJson, look: usize) -> Vec<&str> {
    answer.looks[look].reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn a_wrong_share_holds_up_go() {
    let mut body = body(errors(), quiet());
    body["policy"]["phases"][0]["traffic_share"] = json!(0.1);
    let answer = run(&body);
    assert_eq!(first(&answer, "go"), None);
    assert!(codes(&answer).contains(&"share_mismatch"), "{:?}", codes(&answer));
    let share = answer.verdict.validity.iter().find(|one| one.name == "share").unwrap();
    assert!(!share.ok && share.text.contains("50.0 %"), "{}", share.text);
    body["policy"]["phases"][0]["traffic_share"] = json!(0.5);
    assert_eq!(first(&run(&body), "go"), Some(11));
}

#[test]
fn means_without_history_can_refuse_and_cannot_go() {
    let check = json!({ "name": "cpu", "kind": "mean", "margin": { "relative": "20%" } });
    let canary = |factor: f64| wobble(60, 2).iter().map(|value| factor * value).collect::<Vec<_>>();
    let data =
        |factor: f64| json!({ "baseline": series(&wobble(60, 1), 0), "canary": series(&canary(factor), 0) });
    let same = run(&body(check.clone(), data(1.0)));
    assert_eq!(same.verdict.decision, "inconclusive");
    assert_eq!(codes(&same), ["no_history", "time_ran_out"]);
    let worse = run(&body(check, data(1.5)));
    let at = first(&worse, "no_go").expect("half more");
    assert!((9..30).contains(&at), "{at}");
    let effect = worse.verdict.checks[0].effect.as_ref().unwrap();
    assert_eq!((effect.measure.as_str(), effect.unit.as_str()), ("relative", "ratio"));
    assert!((effect.estimate.unwrap() - 0.5).abs() < 0.05);
}

#[test]
fn a_step_after_the_pass_still_refuses() {
    // A second check that never passes keeps the phase open.
    let mut policy = policy(json!({ "name": "cpu", "kind": "mean", "margin": { "relative": "20%" } }));
    policy["phases"][0]["checks"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "other", "kind": "mean", "margin": { "relative": "0.001%" } }));
    let canary: Vec<f64> = wobble(60, 2)
        .iter()
        .enumerate()
        .map(|(i, value)| if i >= 30 { 1.5 * value } else { *value })
        .collect();
    let pre = json!({ "baseline": series(&wobble(300, 3), -300), "canary": series(&wobble(300, 4), -300) });
    let body = json!({ "policy": policy, "start_ms": START, "data": {
        "cpu": { "baseline": series(&wobble(60, 1), 0), "canary": series(&canary, 0), "pre": pre },
        "other": { "baseline": series(&wobble(60, 5), 0), "canary": series(&wobble(60, 6), 0), "pre": pre } } });
    let answer = run(&body);
    assert_eq!(answer.looks[29].checks[0].decision, "go");
    let at = first(&answer, "no_go").expect("half more from minute 30 on");
    assert!((31..50).contains(&at), "{at}");
}

fn patterns(lines: &[(&str, &dyn Fn(i64) -> f64)], trials: f64, from: i64, n: i64) -> Value {
    let one = |(id, count): &(&str, &dyn Fn(i64) -> f64)| {
        let counts: Vec<f64> = (0..n).map(count).collect();
        ((*id).to_owned(), json!({ "text": format!("{id} <*>"), "severity": "error", "counts": counts }))
    };
    let all: serde_json::Map<String, Value> = lines.iter().map(one).collect();
    json!({ "t_ms": times(from, n), "records": vec![trials; n as usize], "trials": vec![trials; n as usize], "patterns": all })
}

fn log_check() -> Value {
    json!({ "name": "logs", "kind": "patterns" })
}

#[test]
fn a_new_pattern_on_the_canary_refuses_and_is_named() {
    let usual = |i: i64| f64::from(u8::from(i % 3 == 0));
    let data = json!({
        "baseline": patterns(&[("usual", &usual)], 900.0, 0, 60),
        "canary": patterns(&[("usual", &|_| 0.0), ("boom", &|i| f64::from(u8::from(i >= 4)))], 100.0, 0, 60),
        "pre": { "baseline": patterns(&[("usual", &usual)], 900.0, -200, 200), "canary": patterns(&[("usual", &|_| 0.0)], 100.0, -200, 200) } });
    let answer = run(&body(log_check(), data));
    let at = first(&answer, "no_go").expect("a new line each minute at a tenth of the traffic");
    assert!((5..12).contains(&at), "{at}");
    let found = &answer.looks[at].checks[0].patterns[0];
    assert_eq!((found.id.as_str(), found.change.as_str(), found.baseline), ("boom", "new", 0));
    assert_eq!(found.counts_by_interval.len(), at + 1);
    assert_eq!(found.first_seen.as_deref(), Some("2026-11-21T10:04:00Z"));
    assert!(answer.verdict.reasons[0].text.contains("boom"));
}

#[test]
fn a_common_fault_is_no_novelty_of_the_canary() {
    let data = json!({
        "baseline": patterns(&[("flood", &|i| if i >= 4 { 90.0 } else { 0.0 })], 900.0, 0, 60),
        "canary": patterns(&[("flood", &|i| if i >= 4 { 10.0 } else { 0.0 })], 100.0, 0, 60),
        "pre": { "baseline": patterns(&[], 900.0, -200, 200), "canary": patterns(&[], 100.0, -200, 200) } });
    let answer = run(&body(log_check(), data));
    assert_eq!(answer.verdict.decision, "inconclusive");
    assert_eq!(answer.verdict.checks[0].vote, "veto");
    assert!(codes(&answer).contains(&"time_ran_out"));
}

#[test]
fn latency_names_its_quantiles() {
    let check = json!({ "name": "latency", "kind": "distribution", "margin": { "relative": "25%", "at": [0.5, 0.99] } });
    let buckets = |slow: f64, from: i64, n: i64, seed: f64| {
        let row = |i: i64| {
            let wave = 5.0 * ((i as f64 + seed) * 1.7).sin();
            // Where nothing ever varies nothing is known of what chance does.
            let tail = 2.0 * ((i as f64 + seed) * 2.9).sin();
            vec![100.0 + wave, 200.0 - wave, 60.0 - slow - tail, 10.0 + slow + tail, 0.0]
        };
        json!({ "t_ms": times(from, n), "le": [0.05, 0.1, 0.25, 1.0, "+Inf"], "counts": (0..n).map(row).collect::<Vec<_>>() })
    };
    let data = |slow: f64| {
        json!({ "baseline": buckets(0.0, 0, 60, 1.0), "canary": buckets(slow, 0, 60, 2.0),
                "pre": { "baseline": buckets(0.0, -240, 240, 3.0), "canary": buckets(0.0, -240, 240, 4.0) } })
    };
    let same = run(&body(check.clone(), data(0.0)));
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    let worse = run(&body(check, data(30.0)));
    assert_eq!(worse.verdict.decision, "no_go");
    let effects = &worse.verdict.checks[0].effects;
    assert_eq!(effects.iter().map(|one| one.at).collect::<Vec<_>>(), [0.5, 0.99]);
    assert!(effects[1].effect.estimate.unwrap() > 0.25);
    assert!(effects[0].baseline < effects[1].baseline, "each quantile shows its own values: {effects:?}");
    assert!(effects[1].canary > effects[1].baseline, "{effects:?}");
}

#[test]
fn raw_values_are_judged_as_buckets_are() {
    let check = json!({ "name": "time", "kind": "distribution", "margin": { "relative": "25%" } });
    let rows = |factor: f64, from: i64, n: i64, seed: i64| {
        let row = |i: i64| {
            wobble(50, seed + i).iter().map(|value| factor * value * value / 1e4).collect::<Vec<_>>()
        };
        json!({ "t_ms": times(from, n), "values": (0..n).map(row).collect::<Vec<_>>() })
    };
    let data = |factor: f64| {
        json!({ "baseline": rows(1.0, 0, 40, 1), "canary": rows(factor, 0, 40, 1_000),
                "pre": { "baseline": rows(1.0, -200, 200, 2_000), "canary": rows(1.0, -200, 200, 5_000) } })
    };
    assert_eq!(run(&body(check.clone(), data(1.0))).verdict.decision, "go");
    assert_eq!(run(&body(check, data(1.5))).verdict.decision, "no_go");
}

#[test]
fn raw_values_without_history_share_their_lattice() {
    let check = json!({ "name": "time", "kind": "distribution", "vote": "veto" });
    let rows = |factor: f64, seed: i64| {
        let row = |i: i64| {
            wobble(50, seed + i).iter().map(|value| factor * value * value / 1e4).collect::<Vec<_>>()
        };
        json!({ "t_ms": times(0, 60), "values": (0..60).map(row).collect::<Vec<_>>() })
    };
    let run = |factor: f64| {
        run(&body(check.clone(), json!({ "baseline": rows(1.0, 1), "canary": rows(factor, 1_000) })))
    };
    let superiority = |factor: f64| {
        let shown = run(factor).verdict.checks[0].superiority.clone().expect("a distribution has one");
        (shown.estimate.unwrap(), shown.low.unwrap(), shown.high.unwrap())
    };
    let (alike, low, high) = superiority(1.0);
    assert!((alike - 0.5).abs() < 0.02 && low <= 0.5 && 0.5 <= high, "{alike} {low} {high}");
    let (larger, low, _) = superiority(1.5);
    // All values of the one side lie above those of the other.
    assert!(larger > 0.95 && low > 0.5, "{larger} {low}");
    assert_eq!(run(1.0).verdict.decision, "inconclusive");
    assert_eq!(run(1.5).verdict.decision, "no_go");
}

#[test]
fn examples_of_the_documents_work() {
    let example = answer(include_bytes!("../../docs/examples/judge.json")).expect("the example is right");
    assert_eq!(example.verdict.decision, "no_go");
    greylight_analyzer::policy::check(include_str!("../../docs/examples/policy.yaml"))
        .expect("the policy is right");
}

/// Harm that is gone by the end: the reason is still that of the look that refused.
#[test]
fn a_refusal_keeps_its_reason() {
    let check = json!({ "name": "cpu", "kind": "mean", "vote": "veto" });
    let side = |factor: f64, seed: i64, from: i64, n: i64| {
        let value = |(i, v): (usize, f64)| if i < 15 { factor * v } else { v };
        let v: Vec<f64> = wobble(n, seed).into_iter().enumerate().map(value).collect();
        json!({ "series": [{ "instance": "one", "t_ms": times(from, n), "v": v }] })
    };
    let data = json!({
        "pre": { "baseline": side(1.0, 1, -240, 240), "canary": side(1.0, 2, -240, 240) },
        "baseline": side(1.0, 3, 0, 60), "canary": side(1.5, 4, 0, 60),
    });
    let answer = run(&body(check, data));
    assert_eq!(answer.verdict.decision, "no_go");
    let at = |look: usize| answer.looks[look].reasons.clone();
    let first = answer.looks.iter().position(|look| look.decision == "no_go").expect("it is refused");
    assert!(first < 15, "{first}");
    assert_eq!(at(first)[0].text, at(59)[0].text);
    assert!(at(59)[0].text.contains("harm shown"), "{}", at(59)[0].text);
}

/// Each body of the judge's page is taken, and each of its checks is judged.
#[test]
fn bodies_of_the_page_are_right() {
    let page = include_str!("../../docs/judge.md");
    let mut n_bodies = 0;
    for block in page.split("\n\n").filter(|block| block.starts_with("    { \"policy\"")) {
        if block.contains("..") {
            continue;
        }
        let answer = answer(block.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{block}"));
        assert_eq!(answer.verdict.decision, "inconclusive", "{block}");
        assert_eq!(answer.verdict.checks.len(), block.matches("\"kind\"").count(), "{block}");
        n_bodies += 1;
    }
    assert_eq!(n_bodies, 8);
}

#[test]
fn instants_out_of_range_are_refused() {
    for wrong in [i64::MAX, i64::MIN] {
        let mut far = body(errors(), quiet());
        far["data"]["errors"]["canary"]["t_ms"][59] = json!(wrong);
        refused(&far, "data.errors.canary.t_ms", "year 9999");
        let mut far = body(errors(), json!({}));
        far["start_ms"] = json!(wrong);
        refused(&far, "start_ms", "year 9999");
    }
    let mut late = body(errors(), quiet());
    late["data"]["errors"]["pre"]["canary"]["t_ms"][1_439] = json!(START);
    refused(&late, "start_ms", "does not belong in `pre`");
}

#[test]
fn counts_are_judged_over_their_exposure() {
    let check = json!({ "name": "restarts", "kind": "count", "vote": "veto" });
    let count = |events: f64, from: i64, n: i64| json!({ "t_ms": times(from, n), "events": vec![events; n as usize], "exposure": vec![60.0; n as usize] });
    let data = json!({ "baseline": count(0.0, 0, 60), "canary": count(1.0, 0, 60) });
    let answer = run(&body(check, data));
    assert_eq!(answer.verdict.decision, "no_go");
    assert_eq!(
        answer.verdict.checks[0].method,
        "C: intervals change sides as a whole (clumped events, equal shares), alpha spent as (t/T)^2"
    );
}

#[test]
fn a_small_quiet_side_is_not_a_silent_one() {
    let trials =
        |each: i64, n: i64| -> Vec<f64> { (0..n).map(|i| f64::from(u8::from(i % each == 0))).collect() };
    let side = |trials: Vec<f64>, from: i64| {
        let n = trials.len();
        json!({ "t_ms": times(from, n as i64), "events": vec![0.0; n], "trials": trials })
    };
    let check = json!({ "name": "errors", "kind": "ratio", "margin": { "absolute": 0.2 } });
    let data = |canary: Vec<f64>| json!({ "baseline": side(vec![4.0; 60], 0), "canary": side(canary, 0) });
    // One request every other minute, where the baseline has four a minute: all intervals count.
    let small = run(&body(check.clone(), data(trials(2, 60))));
    assert_eq!(small.verdict.decision, "go", "{:?}", small.verdict.reasons);
    // As many as the baseline for a while, then none: silence.
    let silent = run(&body(check, data([vec![40.0; 8], vec![0.0; 52]].concat())));
    assert_eq!(codes(&silent), ["stale_data", "time_ran_out"]);
}

#[test]
fn units_are_shown_where_they_are_given() {
    let mut data = quiet();
    data["canary"]["units"] = json!({ "c1": ratio(|_| 2.0, 400.0, 0, 60) });
    let answer = run(&body(errors(), data));
    let unit = &answer.verdict.checks[0].units[0];
    assert_eq!((unit.unit.as_str(), unit.cohort.as_str(), unit.value), ("c1", "canary", 0.005));
}

#[test]
fn wrong_bodies_name_the_field() {
    let good = body(errors(), quiet());
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(path).expect("the path is there") = value;
        body
    };
    refused(
        &with("/policy/phases/0/checks/0/kind", json!("users")),
        "data.errors.baseline.t_ms",
        "does not belong to kind users",
    );
    refused(&with("/data", json!({ "other": {} })), "data.other", "no check of this name");
    refused(&with("/data/errors/canary/events", json!([1.0])), "data.errors.canary.events", "1 entries");
    refused(&with("/data/errors/canary/events", json!(vec![-1.0; 60])), "data.errors.canary.events", "-1");
    refused(&with("/start_ms", json!(START + MINUTE)), "start_ms", "belongs in `pre`");
    let mut body = good.clone();
    body["engine"] = json!("dredd");
    refused(&body, "engine", "dredd");
    let mut body = good.clone();
    body["phase"] = json!("two");
    refused(&body, "phase", "two");
    let mut body = good.clone();
    body["data"]["errors"]["births"] = json!([{ "event": "e", "d": [], "age": 3 }]);
    assert!(matches!(answer(body.to_string().as_bytes()), Err(JudgeError::Syntax { .. })));
    let mut body = good;
    body["data"]["errors"]["canary"]["records"] = json!([]);
    refused(&body, "data.errors.canary.records", "does not belong");
    assert!(matches!(answer(b"{"), Err(JudgeError::Syntax { .. })));
}

#[test]
fn data_comes_back_from_json_unchanged() {
    use greylight_analyzer::judge::wire::DataJson;
    let cases = [
        ("ratio", quiet()["canary"].clone()),
        ("mean", series(&[1.0, 2.5], 0)),
        ("distribution", json!({ "t_ms": [START], "le": [0.5, "+Inf"], "counts": [[1.0, 2.0]] })),
        ("distribution", json!({ "t_ms": [START], "values": [[0.5, 0.25]] })),
        (
            "distribution",
            json!({ "t_ms": [START], "units": { "a": { "t_ms": [START], "values": [[0.5, 0.25]] } } }),
        ),
        (
            "distribution",
            json!({ "t_ms": [START], "values": [[0.5, 0.75]],
                    "units": { "a": { "t_ms": [START], "values": [[0.5]] } } }),
        ),
        ("patterns", patterns(&[("a", &|_| 1.0)], 10.0, 0, 2)),
        ("count", json!({ "t_ms": [START], "events": [null], "exposure": [60.0] })),
        (
            "users",
            json!({ "users": [{ "first_ms": START, "value": 1.0 }, { "first_ms": START, "value": 0.5, "before": 2.0 }] }),
        ),
        (
            "users",
            json!({ "updates": [{ "t_ms": START, "user": "u", "value": 0.0 }, { "t_ms": START + 1, "user": "u", "value": 3.0 }] }),
        ),
        ("ratio", json!({ "by": { "/a": quiet()["canary"].clone() } })),
    ];
    for (kind, json) in cases {
        let read: DataJson = serde_json::from_value(json).unwrap();
        let data = read.clone().into_data(kind, "data").unwrap();
        assert_eq!(DataJson::from_data(&data, kind), read);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = answer(&bytes);
    }

    #[test]
    fn odd_data_never_goes_wrong(
        events in prop::collection::vec(prop::option::of(0_u32..50), 30),
        trials in prop::collection::vec(prop::option::of(0_u32..100), 30),
        values in prop::collection::vec(prop::option::of(-5.0..5.0_f64), 30),
    ) {
        let ratio = json!({ "t_ms": times(0, 30), "events": events, "trials": trials });
        let mut all = body(errors(), json!({ "baseline": quiet()["baseline"], "canary": ratio }));
        let mean = json!({ "name": "mean", "kind": "mean", "harm": "either", "margin": { "relative": "10%" } });
        all["policy"]["phases"][0]["checks"].as_array_mut().unwrap().push(mean);
        let odd = json!({ "series": [{ "instance": "x", "t_ms": times(0, 30), "v": values }] });
        let pre = json!({ "series": [{ "instance": "x", "t_ms": times(-30, 30), "v": values }] });
        all["data"]["mean"] = json!({ "baseline": series(&wobble(30, 1), 0), "canary": odd, "pre": { "baseline": pre, "canary": pre } });
        for look in run(&all).looks {
            for check in look.checks {
                for p in [check.p_harm, check.p_go].into_iter().flatten() {
                    prop_assert!((0.0..=1.0).contains(&p));
                }
            }
        }
    }
}
