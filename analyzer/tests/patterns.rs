//! What a verdict reports of log patterns: which, in which order, and what was to be expected.

use greylight_analyzer::judge::answer;
use serde_json::{Map, Value, json};

use crate::simulate::Chance;

const START: i64 = 1_795_255_200_000;
const MINUTE: i64 = 60_000;
const PRE: i64 = 200;

/// One pattern's counts a minute on baseline and canary, before and after the start.
struct Line {
    id: &'static str,
    severity: &'static str,
    before: f64,
    baseline: f64,
    canary: f64,
}

fn line(id: &'static str, severity: &'static str, before: f64, baseline: f64, canary: f64) -> Line {
    Line { id, severity, before, baseline, canary }
}

fn side(patterns: Map<String, Value>, from: i64, n: i64) -> Value {
    let t_ms: Vec<i64> = (0..n).map(|i| START + (from + i) * MINUTE).collect();
    let thousand = vec![1_000.0; t_ms.len()];
    json!({ "t_ms": t_ms, "records": thousand, "trials": thousand, "patterns": patterns })
}

fn body(lines: &[Line], extra: impl Fn(&str, &Line, i64) -> Value) -> Value {
    let part = |name: &str, from: i64, n: i64, count: &dyn Fn(&Line) -> f64| {
        let patterns = lines.iter().filter(|line| count(line) > 0.0).map(|line| {
            let mut one = json!({ "text": format!("{} <*>", line.id), "severity": line.severity,
                                  "counts": vec![count(line); n as usize] });
            for (key, value) in extra(name, line, n).as_object().into_iter().flatten() {
                one[key] = value.clone();
            }
            (line.id.to_owned(), one)
        });
        side(patterns.collect(), from, n)
    };
    json!({
        "policy": { "name": "p", "warm_up": "0s", "phases": [{ "name": "one", "lasts": { "at_most": "1h" },
            "checks": [{ "name": "logs", "kind": "patterns" }] }] },
        "start_ms": START,
        "data": { "logs": {
            "baseline": part("baseline", 0, 60, &|line| line.baseline),
            "canary": part("canary", 0, 60, &|line| line.canary),
            "pre": { "baseline": part("before", -PRE, PRE, &|line| line.before),
                     "canary": part("before", -PRE, PRE, &|line| line.before) },
        } },
    })
}

fn check(body: &Value) -> Value {
    let answer = serde_json::to_value(answer(body.to_string().as_bytes()).expect("the body is right"))
        .expect("an answer is JSON");
    answer["verdict"]["checks"][0].clone()
}

fn nothing(_: &str, _: &Line, _: i64) -> Value {
    json!({})
}

fn changes(check: &Value) -> Vec<(&str, &str)> {
    fn text(one: &Value) -> &str {
        one.as_str().unwrap_or_default()
    }
    let patterns = check["patterns"].as_array().expect("there is a list");
    patterns.iter().map(|one| (text(&one["id"]), text(&one["change"]))).collect()
}

#[test]
fn changes_are_told_apart_and_the_worst_come_first() {
    let lines = [
        line("same", "info", 20.0, 20.0, 20.0),
        line("more", "warn", 5.0, 5.0, 25.0),
        line("fewer", "info", 30.0, 30.0, 3.0),
        line("gone", "error", 20.0, 20.0, 0.0),
        line("new", "info", 0.0, 0.0, 9.0),
        line("boom", "fatal", 0.0, 0.0, 9.0),
    ];
    let check = check(&body(&lines, nothing));
    assert_eq!(
        changes(&check),
        [("boom", "new"), ("gone", "gone"), ("more", "more"), ("new", "new"), ("fewer", "fewer")]
    );
    for one in check["patterns"].as_array().unwrap() {
        assert_eq!(one["stands_out"], true, "{one}");
        assert!(one["e_value"].as_f64().is_none_or(|e| e > 100.0), "{one}");
        assert_eq!(one["counts_by_interval"].as_array().unwrap().len(), 60);
    }
    let more = &check["patterns"][2];
    assert_eq!((&more["baseline"], &more["canary"]), (&json!(300), &json!(1_500)));
    let (low, high) = (more["low"].as_f64().unwrap(), more["high"].as_f64().unwrap());
    assert!(low > 3.5 && low < 5.0 && high > 5.0 && high < 7.0, "{more}");
    let tally = |severity, new, more, fewer, gone| json!({ "severity": severity, "new": new, "more": more, "fewer": fewer, "gone": gone });
    assert_eq!(
        check["logs"]["by_severity"],
        json!([
            tally("fatal", 1, 0, 0, 0),
            tally("error", 0, 0, 0, 1),
            tally("warn", 0, 1, 0, 0),
            tally("info", 1, 0, 1, 0)
        ])
    );
    assert_eq!(check["logs"]["more_not_listed"], 0);
}

#[test]
fn ten_are_listed_and_the_rest_counted() {
    const IDS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
    let lines: Vec<Line> = IDS.iter().map(|id| line(id, "error", 0.0, 0.0, 3.0)).collect();
    let check = check(&body(&lines, nothing));
    assert_eq!(check["patterns"].as_array().unwrap().len(), 10);
    assert_eq!(check["logs"]["more_not_listed"], 4);
    assert_eq!(check["logs"]["by_severity"][0]["new"], 14);
    // Nothing was seen before, so that nothing can be expected.
    assert_eq!(check["logs"]["novelty"], Value::Null);
}

#[test]
fn expected_novelty_is_shown_beside_what_came() {
    // Each of 30 patterns was seen once in the history of a side.
    const IDS: [&str; 10] = ["q", "r", "s", "t", "u", "v", "w", "x", "y", "z"];
    let mut lines: Vec<Line> = IDS.iter().map(|id| line(id, "info", 1.0 / PRE as f64, 0.0, 0.0)).collect();
    lines.push(line("usual", "info", 4.0, 4.0, 4.0));
    lines.push(line("new", "info", 0.0, 0.0, 1.0));
    let mut body = body(&lines, nothing);
    // Counts are whole: one record on the baseline's side alone.
    for side in ["baseline", "canary"] {
        let patterns = body["data"]["logs"]["pre"][side]["patterns"].as_object_mut().unwrap();
        for id in IDS {
            let mut counts = vec![0.0; PRE as usize];
            counts[7] = f64::from(u8::from(side == "baseline"));
            patterns[id]["counts"] = json!(counts);
        }
    }
    let novelty = check(&body)["logs"]["novelty"].clone();
    let n = 2.0 * 4.0 * PRE as f64 + 10.0 + 4.0 * 60.0;
    assert!((novelty["share"].as_f64().unwrap() - 10.0 / n).abs() < 1e-9, "{novelty}");
    let expected = novelty["expected"].as_f64().unwrap();
    assert!(expected > 1.0 && expected < 300.0 * 10.0 / n, "{novelty}");
    assert_eq!(novelty["seen"], 1);
}

#[test]
fn a_new_value_of_a_known_template_is_said_apart() {
    let lines = [line("login", "info", 5.0, 5.0, 5.0), line("boom", "error", 0.0, 0.0, 2.0)];
    let body = body(&lines, |part, line, n| match (line.id, part) {
        ("login", "canary") => json!({ "members": {
            "p1": { "text": "login by user ann", "counts": vec![4.0; n as usize] },
            "p2": { "text": "login by user eve", "counts": vec![1.0; n as usize] } } }),
        ("login", _) => {
            json!({ "members": { "p1": { "text": "login by user ann", "counts": vec![5.0; n as usize] } } })
        }
        ("boom", "canary") => json!({
            "members": { "p3": { "text": "boom", "counts": vec![2.0; n as usize] } },
            "examples": [{ "body": "boom 1" }, { "body": "boom 2" }, { "body": "boom 3" }, { "body": "boom 4" }] }),
        _ => json!({}),
    });
    let check = check(&body);
    assert_eq!(changes(&check), [("boom", "new")]);
    assert_eq!(check["patterns"][0]["examples"].as_array().unwrap().len(), 3);
    assert_eq!(
        check["logs"]["new_values"],
        json!([{ "template": "login", "pattern": "p2", "text": "login by user eve", "canary": 60 }])
    );
}

/// Where nothing changed, the list holds an entry that stands out in at most alpha of the runs.
#[test]
fn the_list_of_an_unchanged_release_stays_empty() {
    const RUNS: u64 = 120;
    let mut wrong = 0;
    for run in 0..RUNS {
        let mut chance = Chance::new(11, run);
        let mut side_of = |from: i64, n: i64| {
            let patterns = (1..=30).map(|rank| {
                // Bursts of five lines.
                let counts: Vec<f64> =
                    (0..n).map(|_| 5.0 * chance.poisson(1.0 / f64::from(rank)) as f64).collect();
                (format!("p{rank}"), json!({ "text": "t", "severity": "error", "counts": counts }))
            });
            side(patterns.collect(), from, n)
        };
        let (baseline, canary) = (side_of(0, 60), side_of(0, 60));
        let pre = json!({ "baseline": side_of(-PRE, PRE), "canary": side_of(-PRE, PRE) });
        let mut body = body(&[], nothing);
        body["policy"]["alpha"] = json!(0.1);
        body["data"]["logs"] = json!({ "baseline": baseline, "canary": canary, "pre": pre });
        let check = check(&body);
        let out = check["patterns"].as_array().unwrap().iter().filter(|one| one["stands_out"] == true);
        wrong += u64::from(out.count() > 0);
    }
    // Alpha 10 %, and three standard errors of 120 runs.
    assert!(wrong <= 22, "{wrong} of {RUNS} runs list something");
}
