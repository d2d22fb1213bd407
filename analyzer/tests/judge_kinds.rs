//! The judge's door: new pods, users, one test a value, the composite.

use greylight_analyzer::judge::wire::AnswerJson;
use serde_json::{Value, json};

use crate::judge::{START, body, codes, first, policy, ratio, refused, run, times};
use crate::simulate::Chance;

const MINUTE: i64 = 60_000;

/// Pods around a level, with a scatter of 5 % a minute and 2 % between pods.
fn pods(name: &str, n: usize, from: i64, minutes: i64, factor: f64, seed: u64) -> Value {
    let one = |pod: usize| {
        let mut chance = Chance::new(seed, pod as u64);
        let level = 100.0 * factor * (1.0 + 0.02 * chance.normal());
        let values: Vec<f64> = (0..minutes).map(|_| level * (1.0 + 0.05 * chance.normal())).collect();
        json!({ "instance": format!("{name}{pod}"), "t_ms": times(from, minutes), "v": values })
    };
    json!({ "series": (0..n).map(one).collect::<Vec<_>>() })
}

fn births(n: usize, n_events: usize) -> Value {
    let one = |idx: usize| {
        let mut chance = Chance::new(17, idx as u64);
        let level = 0.02 * chance.normal();
        let d: Vec<f64> = (0..120).map(|_| level + 0.05 * chance.normal()).collect();
        json!({ "event": format!("e{}", idx % n_events), "d": d })
    };
    Value::Array((0..n).map(one).collect())
}

fn cpu() -> Value {
    json!({ "name": "cpu", "kind": "mean", "margin": { "relative": "20%" } })
}

fn new_pods(factor: f64) -> Value {
    json!({ "baseline": pods("b", 6, 0, 60, 1.0, 1), "canary": pods("c", 2, 0, 60, factor, 2),
            "pre": { "baseline": pods("b", 6, -300, 300, 1.0, 1) }, "births": births(12, 6) })
}

#[test]
fn new_pods_go_and_are_refused_by_births() {
    let same = run(&body(cpu(), new_pods(1.0)));
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    let pods = same.verdict.checks[0].new_pods.as_ref().expect("they are new");
    assert_eq!((pods.compared_with.as_str(), pods.births, pods.events), ("births", 12, 6));
    assert_eq!((pods.canary, pods.old, pods.settled.as_deref()), (2, 6, Some("0s")));
    let announced = pods.announced.expect("births tell");
    assert!((0.02..0.2).contains(&announced), "{announced}");
    let worse = run(&body(cpu(), new_pods(1.3)));
    let at = first(&worse, "no_go").expect("30 % more");
    assert!(at < 10, "{at}");
    assert_eq!(codes(&worse), ["harm_shown"]);
}

#[test]
fn new_pods_go_by_fresh_ones() {
    let mut data = new_pods(1.0);
    data.as_object_mut().expect("an object").remove("births");
    data["fresh"] = pods("f", 3, 0, 60, 1.0, 3);
    let answer = run(&body(cpu(), data));
    assert_eq!(answer.verdict.checks[0].new_pods.as_ref().expect("they are new").compared_with, "fresh");
    assert_eq!(answer.verdict.decision, "go", "{:?}", answer.verdict.reasons);
}

#[test]
fn without_births_new_pods_have_no_vote_and_the_text_says_what_would_do() {
    let mut data = new_pods(1.5);
    data["births"] = births(2, 2);
    let answer = run(&body(cpu(), data));
    assert_eq!(codes(&answer), ["no_births", "time_ran_out"]);
    let text = &answer.verdict.reasons[0].text;
    assert!(text.contains("fresh pods of the old version") && text.contains("no vote"), "{text}");
    let check = &answer.verdict.checks[0];
    assert_eq!((check.p_harm, check.new_pods.as_ref().expect("new").compared_with.as_str()), (None, "none"));
}

#[test]
fn a_history_that_began_later_is_one_with_gaps() {
    let of = |pad: bool| {
        let mut data = new_pods(1.0);
        let late = &mut data["pre"]["baseline"]["series"][2];
        for name in ["t_ms", "v"] {
            let all = late[name].as_array_mut().expect("a list");
            match (name, pad) {
                ("v", true) => all[..200].iter_mut().for_each(|value| *value = Value::Null),
                (_, true) => {}
                (_, false) => drop(all.drain(..200)),
            }
        }
        run(&body(cpu(), data)).looks
    };
    assert_eq!(of(true), of(false));
}

#[test]
fn later_data_does_not_change_looks_at_hosts() {
    let of = |n: i64| {
        let data = json!({ "baseline": pods("b", 6, 0, n, 1.0, 1), "canary": pods("c", 2, 0, n, 1.05, 2) });
        run(&body(cpu(), data)).looks
    };
    let whole = of(60);
    assert!(whole[59].checks[0].method.starts_with("H:"), "{}", whole[59].checks[0].method);
    for n in [5, 20, 41] {
        assert_eq!(of(n), whole[..n as usize]);
    }
}

#[test]
fn pods_that_never_settle_are_named() {
    let mut data = new_pods(1.0);
    for birth in data["births"].as_array_mut().expect("a list") {
        for (age, d) in birth["d"].as_array_mut().expect("a list").iter_mut().enumerate() {
            *d = json!(d.as_f64().expect("a number") + if age < 70 { 0.5 } else { -0.5 });
        }
    }
    let answer = run(&body(cpu(), data));
    assert_eq!(codes(&answer), ["not_settled", "time_ran_out"]);
}

#[test]
fn wrong_data_of_new_pods_names_the_field() {
    let mut data = new_pods(1.0);
    data["births"][3] = json!({ "event": "x", "d": [], "events": 3 });
    refused(&body(cpu(), data), "data.cpu.births[3]", "`trials`");
    let mut errors = json!({ "fresh": ratio(|_| 1.0, 10.0, 0, 60), "baseline": ratio(|_| 1.0, 10.0, 0, 60) });
    errors["canary"] = errors["baseline"].clone();
    let check = json!({ "name": "errors", "kind": "ratio", "vote": "veto" });
    refused(&body(check, errors), "data.errors.fresh", "only kind mean");
}

/// Users, of whom one in `every` converts a minute later.
fn users(n: i64, every: i64, prefix: &str) -> Value {
    let updates = (0..n).flat_map(|idx| {
        let (t_ms, user) = (START + idx % 60 * MINUTE, format!("{prefix}{idx}"));
        let seen = json!({ "t_ms": t_ms, "user": user, "value": 0 });
        let converts = idx % every == 0 && idx % 60 < 59;
        let bought = converts.then(|| json!({ "t_ms": t_ms + MINUTE, "user": user, "value": 1 }));
        std::iter::once(seen).chain(bought)
    });
    json!({ "updates": updates.collect::<Vec<_>>() })
}

fn conversion() -> Value {
    json!({ "name": "conversion", "kind": "users", "harm": "down", "margin": { "relative": "20%" } })
}

#[test]
fn fewer_conversions_refuse_and_as_many_go() {
    let same =
        run(&body(conversion(), json!({ "baseline": users(8_000, 7, "b"), "canary": users(8_000, 7, "c") })));
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    let check = &same.verdict.checks[0];
    assert_eq!((check.n.baseline, check.n.canary), (8_000.0, 8_000.0));
    assert!((check.values.as_ref().expect("counted").canary.expect("counted") - 1.0 / 7.0).abs() < 0.01);
    let fewer = run(&body(
        conversion(),
        json!({ "baseline": users(8_000, 7, "b"), "canary": users(8_000, 11, "c") }),
    ));
    assert_eq!(fewer.verdict.decision, "no_go");
    let effect = fewer.verdict.checks[0].effect.as_ref().expect("shown");
    assert!(
        effect.high.expect("bounded") < 0.0 && (effect.estimate.expect("shown") + 4.0 / 11.0).abs() < 0.05
    );
}

#[test]
fn amounts_are_compared_by_user() {
    let side = |factor: f64, seed: u64| {
        let mut chance = Chance::new(seed, 0);
        let users: Vec<Value> = (0..6_000)
            .map(|idx| json!({ "first_ms": START + idx % 60 * MINUTE, "value": factor * chance.normal().exp() }))
            .collect();
        json!({ "users": users })
    };
    let answer = |factor: f64| {
        run(&body(conversion(), json!({ "baseline": side(1.0, 1), "canary": side(factor, 2) })))
    };
    assert_eq!(answer(1.0).verdict.decision, "go", "{:?}", answer(1.0).verdict.reasons);
    assert_eq!(answer(0.75).verdict.decision, "no_go");
}

#[test]
fn users_on_both_sides_take_the_vote() {
    let answer = run(&body(
        conversion(),
        json!({ "baseline": users(2_000, 7, "x"), "canary": users(2_000, 1_999, "x") }),
    ));
    assert_eq!(answer.verdict.decision, "inconclusive");
    let restless = answer.verdict.reasons.iter().find(|reason| reason.code == "restless").expect("all cross");
    assert!(restless.text.contains("2000 of 2000 users"), "{}", restless.text);
}

fn by_route() -> Value {
    json!({ "name": "errors", "kind": "ratio", "by": "route", "by_limit": 2, "margin": { "absolute": 0.02 } })
}

/// Three routes and a rare one; `worse` gets that many errors a minute on the canary.
fn routes(worse: &str, errors: f64) -> Value {
    let side = |from: i64, n: i64, is_canary: bool| {
        let route = |name: &str, trials: f64| {
            let usual = move |i: i64| f64::from(u8::from((i * 7) % 13 < 3));
            let more = if is_canary && name == worse && from >= 0 { errors } else { 0.0 };
            ratio(move |i| usual(i + i64::from(is_canary)) + more, trials, from, n)
        };
        json!({ "by": { "/a": route("/a", 2_000.0), "/b": route("/b", 1_000.0), "/c": route("/c", 500.0), "/d": route("/d", 400.0) } })
    };
    json!({ "baseline": side(0, 60, false), "canary": side(0, 60, true),
            "pre": { "baseline": side(-1_440, 1_440, false), "canary": side(-1_440, 1_440, true) } })
}

fn value<'a>(answer: &'a AnswerJson, name: &str) -> &'a greylight_analyzer::verdict::wire::ByValueJson {
    answer.verdict.checks[0].by.iter().find(|one| one.value == name).expect("it is listed")
}

#[test]
fn values_are_tested_singly_and_the_rest_as_other() {
    let same = run(&body(by_route(), routes("", 0.0)));
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    let names: Vec<&str> = same.verdict.checks[0].by.iter().map(|one| one.value.as_str()).collect();
    assert_eq!(names, ["/a", "/b", "other"]);
    assert_eq!(value(&same, "other").n.canary, 60.0 * 900.0);
    for (route, shown) in [("/b", "/b"), ("/d", "other")] {
        let worse = run(&body(by_route(), routes(route, 40.0)));
        assert_eq!(worse.verdict.decision, "no_go");
        assert_eq!(value(&worse, shown).decision, "no_go");
        assert!(
            worse.verdict.reasons[0].text.contains(&format!("route {shown}: ")),
            "{}",
            worse.verdict.reasons[0].text
        );
        let check = &worse.verdict.checks[0];
        assert!(check.p_harm.expect("tested") <= check.level.expect("tested"));
    }
}

#[test]
fn values_without_the_trials_of_the_margin_count_in_other_for_go() {
    // 3 / 0.02 = 150 trials: /b alone never has them, and go does not wait for it.
    let mut data = routes("", 0.0);
    for side in ["/baseline", "/canary", "/pre/baseline", "/pre/canary"] {
        let route = data.pointer_mut(&format!("{side}/by/~1b")).expect("it is there");
        let n = route["t_ms"].as_array().expect("a list").len();
        let trials = if side.starts_with("/pre") { 1_000.0 } else { 2.0 };
        route["events"] = json!(vec![0.0; n]);
        route["trials"] = json!(vec![trials; n]);
    }
    let answer = run(&body(by_route(), data));
    assert_eq!(answer.verdict.decision, "go", "{:?}", answer.verdict.reasons);
    assert_eq!(value(&answer, "/b").decision, "inconclusive");
}

#[test]
fn data_of_values_must_fit_the_check() {
    let mut plain = by_route();
    plain.as_object_mut().expect("an object").remove("by_limit");
    plain.as_object_mut().expect("an object").remove("by");
    refused(&body(plain, routes("", 0.0)), "pre.errors", "does not hold data");
    let mut data = routes("", 0.0);
    data["canary"] = ratio(|_| 0.0, 10.0, 0, 60);
    refused(&body(by_route(), data), "data.errors", "needs `by`");
    let mut data = routes("", 0.0);
    data["canary"]["t_ms"] = json!([START]);
    refused(&body(by_route(), data), "data.errors.canary.by", "stands alone");
}

#[test]
fn thin_harm_is_found_by_the_composite_alone() {
    let checks: Vec<Value> = (0..8)
        .map(|idx| json!({ "name": format!("m{idx}"), "kind": "mean", "vote": "veto" }))
        .chain([json!({ "name": "together", "kind": "composite" })])
        .collect();
    let series = |from: i64, n: i64, seed: u64, shift: f64| {
        let mut chance = Chance::new(seed, 0);
        let values: Vec<f64> = (0..n).map(|_| 100.0 + 10.0 * chance.normal() + shift).collect();
        json!({ "series": [{ "instance": "x", "t_ms": times(from, n), "v": values }] })
    };
    let answer = |shift: f64| {
        let mut data = serde_json::Map::new();
        for idx in 0..8 {
            let seed = |part: u64| 100 * idx + part;
            let one = json!({
                "baseline": series(0, 60, seed(1), 0.0), "canary": series(0, 60, seed(2), shift),
                "pre": { "baseline": series(-600, 600, seed(3), 0.0), "canary": series(-600, 600, seed(4), 0.0) } });
            data.insert(format!("m{idx}"), one);
        }
        let mut policy = policy(checks[0].clone());
        policy["phases"][0]["checks"] = json!(checks);
        run(&json!({ "policy": policy, "start_ms": START, "data": data }))
    };
    let worse = answer(3.0);
    assert_eq!(worse.verdict.decision, "no_go");
    let refusing: Vec<_> =
        worse.verdict.reasons.iter().filter_map(|reason| reason.check.as_deref()).collect();
    assert_eq!(refusing, ["together"]);
    assert_eq!(answer(0.0).verdict.decision, "inconclusive");
}
