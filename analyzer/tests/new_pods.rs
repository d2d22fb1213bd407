//! The judge's door: distributions of new pods, by births, by fresh pods, and by pods alone.

use greylight_analyzer::judge::wire::AnswerJson;
use greylight_analyzer::stats::scores::{Change, Score, Sheet};
use serde_json::{Value, json};

use crate::judge::{START, body, codes, first, refused, run, times};
use crate::simulate::Chance;

const MINUTE: i64 = 60_000;

/// Bucket counts of a pod in some minutes: 60 requests around 0.1, of a pod with a level of its own.
struct Pod {
    seed: u64,
    factor: f64,
    requests: usize,
}

const EDGES: [f64; 9] = [0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17, 0.25, 0.5];

fn le() -> Vec<Value> {
    EDGES.iter().map(|edge| json!(edge)).chain([json!("+Inf")]).collect()
}

impl Pod {
    fn new(seed: u64, factor: f64) -> Self {
        Self { seed, factor, requests: 60 }
    }

    fn values(&self, n: i64) -> Vec<Vec<f64>> {
        let mut chance = Chance::new(71, self.seed);
        let level = self.factor * (0.03 * chance.normal()).exp();
        let minute = |_| {
            let level = level * (0.05 * chance.normal()).exp();
            (0..self.requests).map(|_| 0.1 * level * (0.4 * chance.normal()).exp()).collect()
        };
        (0..n).map(minute).collect()
    }

    fn rows(&self, n: i64) -> Vec<Vec<f64>> {
        self.values(n).iter().map(|values| buckets(values)).collect()
    }
}

fn buckets(values: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; EDGES.len() + 1];
    values.iter().for_each(|value| counts[EDGES.partition_point(|edge| edge < value)] += 1.0);
    counts
}

fn sum(all: &[Vec<Vec<f64>>]) -> Vec<Vec<f64>> {
    let n = all.first().map_or(0, Vec::len);
    let row = |i: usize| (0..=EDGES.len()).map(|j| all.iter().map(|rows| rows[i][j]).sum()).collect();
    (0..n).map(row).collect()
}

/// Data of a side with its pods.
fn side(name: &str, pods: &[Pod], from: i64, n: i64) -> Value {
    let rows: Vec<Vec<Vec<f64>>> = pods.iter().map(|pod| pod.rows(n)).collect();
    let data = |rows: &[Vec<f64>]| json!({ "t_ms": times(from, n), "le": le(), "counts": rows });
    let units: serde_json::Map<String, Value> =
        rows.iter().enumerate().map(|(idx, rows)| (format!("{name}{idx}"), data(rows))).collect();
    let mut all = data(&sum(&rows));
    all["units"] = Value::Object(units);
    all
}

fn pods(n: u64, seed: u64, factor: f64) -> Vec<Pod> {
    (0..n).map(|idx| Pod::new(100 * seed + idx, factor)).collect()
}

fn births(n: u64, n_events: u64) -> Value {
    let one = |idx: u64| {
        let own = Pod::new(9_000 + idx, 1.0).rows(90);
        let peers: Vec<Vec<Vec<f64>>> = pods(6, 200 + idx, 1.0).iter().map(|pod| pod.rows(90)).collect();
        let data = |rows: &[Vec<f64>]| json!({ "t_ms": times(-9_000, 90), "le": le(), "counts": rows });
        json!({ "event": format!("e{}", idx % n_events), "data": data(&own), "peers": data(&sum(&peers)) })
    };
    Value::Array((0..n).map(one).collect())
}

fn latency() -> Value {
    json!({ "name": "latency", "kind": "distribution", "margin": { "relative": "20%" } })
}

/// Six old pods and two new ones, which are so much slower.
fn new_pods(factor: f64) -> Value {
    json!({ "baseline": side("b", &pods(6, 1, 1.0), 0, 60), "canary": side("c", &pods(2, 2, factor), 0, 60),
            "pre": { "baseline": side("b", &pods(6, 1, 1.0), -300, 300) }, "births": births(12, 6) })
}

fn judged(data: Value) -> AnswerJson {
    run(&body(latency(), data))
}

#[test]
fn new_pods_go_and_are_refused_by_births() {
    let same = judged(new_pods(1.0));
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    let check = &same.verdict.checks[0];
    let pods = check.new_pods.as_ref().expect("they are new");
    assert_eq!((pods.compared_with.as_str(), pods.births, pods.events), ("births", 12, 6));
    assert_eq!((pods.canary, pods.old, pods.settled.as_deref()), (2, 6, Some("0s")));
    let announced = pods.announced.expect("births tell");
    assert!((0.02..0.25).contains(&announced), "{announced}");
    assert_eq!(check.effects.len(), 3);
    for effect in &check.effects {
        let (low, high) = (effect.effect.low.expect("shown"), effect.effect.high.expect("shown"));
        assert!(low < 0.1 && high > -0.1 && low < high, "{effect:?}");
    }
    assert_eq!(check.units.len(), 8);
    let worse = judged(new_pods(1.5));
    let at = first(&worse, "no_go").expect("half as slow again");
    assert!(at < 10, "{at}");
    assert_eq!(codes(&worse), ["harm_shown"]);
    let effect = worse.looks[at].checks[0].effect.as_ref().expect("shown");
    let estimate = effect.estimate.expect("shown");
    assert!((0.35..0.7).contains(&estimate), "{estimate}");
}

#[test]
fn new_pods_go_and_are_refused_by_fresh_ones() {
    let by_fresh = |factor: f64| {
        let mut data = new_pods(factor);
        data.as_object_mut().expect("an object").remove("births");
        data["canary"] = side("c", &pods(3, 2, factor), 0, 60);
        // What both kinds of new pods have in common is no harm.
        data["fresh"] = side("f", &pods(3, 3, 1.0), 0, 60);
        judged(data)
    };
    let same = by_fresh(1.0);
    assert_eq!(same.verdict.checks[0].new_pods.as_ref().expect("they are new").compared_with, "fresh");
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    assert_eq!(by_fresh(1.5).verdict.decision, "no_go");
}

#[test]
fn one_slow_pod_of_three_is_no_fault_of_the_version() {
    let mut data = new_pods(1.0);
    let mut three = pods(3, 2, 1.0);
    // However many of the requests it has.
    three[1] = Pod { requests: 300, ..Pod::new(77, 3.0) };
    data["canary"] = side("c", &three, 0, 60);
    let answer = judged(data);
    assert_ne!(answer.verdict.decision, "no_go", "{:?}", answer.verdict.reasons);
    assert_ne!(answer.verdict.decision, "go");
}

#[test]
fn values_and_buckets_of_any_unit_say_the_same() {
    let one = judged(new_pods(1.1));
    let text = new_pods(1.1).to_string();
    let mut data: Value = serde_json::from_str(&text).expect("it is JSON");
    // The order of pods and births says nothing, nor do names.
    for side in ["/baseline/units", "/canary/units", "/pre/baseline/units"] {
        let units = data.pointer_mut(side).expect("it has units").as_object_mut().expect("an object");
        let turned: Vec<_> =
            units.iter().rev().map(|(name, data)| (format!("z{name}"), data.clone())).collect();
        *units = turned.into_iter().collect();
    }
    data["births"].as_array_mut().expect("a list").reverse();
    let other = judged(data);
    for (one, other) in one.looks.iter().zip(&other.looks) {
        let p =
            |look: &greylight_analyzer::judge::wire::LookJson| (look.checks[0].p_harm, look.checks[0].p_go);
        let ((harm, go), (harm_of_other, go_of_other)) = (p(one), p(other));
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1e-12),
            (a, b) => a == b,
        };
        assert!(near(harm, harm_of_other) && near(go, go_of_other), "{harm:?} {harm_of_other:?}");
    }
}

/// With a bucket for each value, one request a minute and one score, it is N on the scores as values.
#[test]
fn one_score_is_a_mean_of_that_score() {
    let value = |pod: &Pod, n: i64| -> Vec<f64> { pod.values(n).iter().map(|values| values[0]).collect() };
    let lone =
        |pods: Vec<Pod>| -> Vec<Pod> { pods.into_iter().map(|pod| Pod { requests: 1, ..pod }).collect() };
    let (old, before) = (lone(pods(6, 1, 1.0)), lone(pods(6, 4, 1.0)));
    let canary = lone(pods(2, 2, 1.05));
    let born: Vec<(Pod, Pod)> = (0..12)
        .map(|idx| {
            (Pod { requests: 1, ..Pod::new(900 + idx, 1.0) }, Pod { requests: 1, ..Pod::new(950 + idx, 1.0) })
        })
        .collect();
    let mut edges: Vec<f64> = before.iter().flat_map(|pod| value(pod, 100)).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges.push(f64::INFINITY);
    let sheet = Sheet::new(&edges, &vec![1.0; edges.len() - 1].into_iter().chain([0.0]).collect::<Vec<_>>());
    let sheet = sheet.expect("it has values");
    let le: Vec<Value> =
        edges.iter().map(|edge| if edge.is_finite() { json!(edge) } else { json!("+Inf") }).collect();
    let row = |value: f64| {
        let mut row = vec![0; edges.len()];
        row[edges.partition_point(|edge| *edge < value)] = 1;
        row
    };
    let rows = |values: &[f64], from: i64| {
        let counts: Vec<_> = values.iter().map(|value| row(*value)).collect();
        json!({ "t_ms": times(from, values.len() as i64), "le": le, "counts": counts })
    };
    let units = |name: &str, pods: &[Pod], from: i64, n: i64| {
        let units: serde_json::Map<String, Value> = (pods.iter().enumerate())
            .map(|(idx, pod)| (format!("{name}{idx}"), rows(&value(pod, n), from)))
            .collect();
        let nothing = vec![Value::Null; n as usize];
        json!({ "t_ms": times(from, n), "le": ["+Inf"], "counts": nothing, "units": units })
    };
    let births: Vec<Value> = (born.iter().enumerate())
        .map(|(idx, (own, peer))| {
            let (own, peers) = (rows(&value(own, 70), -9_000), rows(&value(peer, 70), -9_000));
            json!({ "event": format!("e{}", idx % 6), "data": own, "peers": peers })
        })
        .collect();
    let distribution = json!({
        "baseline": units("b", &old, 0, 60), "canary": units("c", &canary, 0, 60),
        "pre": { "baseline": units("b", &before, -100, 100) }, "births": births });
    let check = json!({ "name": "x", "kind": "distribution", "margin": { "relative": 0.2, "at": [0.5] } });
    let by_scores = run(&body(check, distribution));

    let score =
        |value: f64| sheet.scores_at(Score::Rank, &edges)[edges.partition_point(|edge| *edge < value)];
    let scores = |pod: &Pod, n: i64| -> Vec<f64> { value(pod, n).into_iter().map(score).collect() };
    let series = |name: &str, pods: &[Pod], from: i64, n: i64| {
        let one = |(idx, pod): (usize, &Pod)| json!({ "instance": format!("{name}{idx}"), "t_ms": times(from, n), "v": scores(pod, n) });
        json!({ "series": pods.iter().enumerate().map(one).collect::<Vec<_>>() })
    };
    let births: Vec<Value> = (born.iter().enumerate())
        .map(|(idx, (own, peer))| {
            let pairs = scores(own, 70).into_iter().zip(scores(peer, 70));
            json!({ "event": format!("e{}", idx % 6), "d": pairs.map(|(own, peer)| own - peer).collect::<Vec<_>>() })
        })
        .collect();
    let means = json!({
        "baseline": series("b", &old, 0, 60), "canary": series("c", &canary, 0, 60),
        "pre": { "baseline": series("b", &before, -100, 100) }, "births": births });
    let margin = sheet.shift(Score::Rank, Change::Times(1.2));
    let check = json!({ "name": "x", "kind": "mean", "margin": { "absolute": margin } });
    let by_means = run(&body(check, means));

    let mut n_compared = 0;
    for (one, other) in by_scores.looks.iter().zip(&by_means.looks) {
        let (one, other) = (&one.checks[0], &other.checks[0]);
        assert_eq!(
            one.new_pods.as_ref().map(|pods| pods.births),
            other.new_pods.as_ref().map(|pods| pods.births)
        );
        if let (Some(p), Some(q)) = (one.p_go, other.p_go) {
            assert!((p / q - 1.0).abs() < 1e-6, "{p} {q}");
            n_compared += 1;
        }
    }
    assert!(n_compared > 50, "{n_compared}");
}

#[test]
fn raw_values_are_judged_like_buckets() {
    let raw = |name: &str, pods: &[Pod], from: i64, n: i64| {
        let units: serde_json::Map<String, Value> = (pods.iter().enumerate())
            .map(|(idx, pod)| {
                (format!("{name}{idx}"), json!({ "t_ms": times(from, n), "values": pod.values(n) }))
            })
            .collect();
        // What the units have is all that there is.
        json!({ "t_ms": times(from, n), "units": units })
    };
    let births: Vec<Value> = (0..12)
        .map(|idx| {
            let peers: Vec<Vec<Vec<f64>>> =
                pods(6, 200 + idx, 1.0).iter().map(|pod| pod.values(90)).collect();
            let peers: Vec<Vec<f64>> =
                (0..90).map(|i| peers.iter().flat_map(|values| values[i].clone()).collect()).collect();
            let data = |values: Vec<Vec<f64>>| json!({ "t_ms": times(-9_000, 90), "values": values });
            let own = Pod::new(9_000 + idx, 1.0).values(90);
            json!({ "event": format!("e{}", idx % 6), "data": data(own), "peers": data(peers) })
        })
        .collect();
    let of = |factor: f64| {
        json!({ "baseline": raw("b", &pods(6, 1, 1.0), 0, 60), "canary": raw("c", &pods(2, 2, factor), 0, 60),
                "pre": { "baseline": raw("b", &pods(6, 1, 1.0), -300, 300) }, "births": births })
    };
    let same = judged(of(1.0));
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    assert_eq!(same.verdict.checks[0].new_pods.as_ref().expect("they are new").births, 12);
    let worse = judged(of(1.5));
    assert_eq!(worse.verdict.decision, "no_go");
    let estimate = worse.verdict.checks[0].effect.as_ref().and_then(|effect| effect.estimate);
    assert!((0.35..0.65).contains(&estimate.expect("shown")), "{estimate:?}");
}

#[test]
fn buckets_that_the_canary_lacks_are_not_compared() {
    let mut data = new_pods(1.5);
    let units = data["canary"]["units"].as_object_mut().expect("an object");
    let mut all = vec![Value::Null; 1];
    all.extend(units.values_mut().map(Value::take));
    // The new version has every other edge.
    let fewer = |mut one: Value| {
        let keeps = |idx: &usize| idx % 2 == 1;
        let le: Vec<Value> =
            le().into_iter().enumerate().filter(|(idx, _)| keeps(idx)).map(|(_, le)| le).collect();
        one["le"] = json!(le);
        for row in one["counts"].as_array_mut().expect("a list") {
            let counts: Vec<f64> =
                row.as_array().expect("a list").iter().map(|n| n.as_f64().expect("a number")).collect();
            *row = json!(counts.chunks(2).map(|pair| pair.iter().sum::<f64>()).collect::<Vec<_>>());
        }
        one
    };
    let names = ["c0", "c1"];
    let pods: Vec<Value> = all.into_iter().skip(1).map(fewer).collect();
    let units: serde_json::Map<String, Value> =
        names.iter().map(|name| (*name).to_owned()).zip(pods).collect();
    data["canary"]["units"] = Value::Object(units);
    let answer = judged(data);
    assert_eq!(answer.verdict.decision, "no_go", "{:?}", answer.verdict.reasons);
    let estimate = answer.verdict.checks[0].effect.as_ref().and_then(|effect| effect.estimate);
    assert!((0.3..0.75).contains(&estimate.expect("shown")), "{estimate:?}");
}

#[test]
fn a_canary_with_few_requests_is_told_less_of() {
    let announced_go = |requests: usize| {
        let mut data = new_pods(1.0);
        let canary: Vec<Pod> = pods(2, 2, 1.0).into_iter().map(|pod| Pod { requests, ..pod }).collect();
        data["canary"] = side("c", &canary, 0, 60);
        // Early on, before what pods differ by for good outweighs the noise.
        judged(data).looks[4].checks[0].effects[0].effect.clone()
    };
    let width = |effect: greylight_analyzer::verdict::wire::EffectJson| {
        effect.high.expect("shown") - effect.low.expect("shown")
    };
    assert!(width(announced_go(2)) > 1.5 * width(announced_go(60)));
}

#[test]
fn later_data_does_not_change_earlier_looks() {
    let cut = |data: &Value, n: usize| {
        let mut data = data.clone();
        for side in ["baseline", "canary"] {
            let cut = |one: &mut Value| {
                for name in ["t_ms", "counts"] {
                    one[name].as_array_mut().expect("a list").truncate(n);
                }
            };
            cut(&mut data[side]);
            data[side]["units"].as_object_mut().expect("an object").values_mut().for_each(cut);
        }
        data
    };
    // By births, and by pods alone where nothing has a history.
    let mut alone = new_pods(1.2);
    alone
        .as_object_mut()
        .expect("an object")
        .retain(|name, _| ["baseline", "canary"].contains(&name.as_str()));
    for data in [new_pods(1.0), alone] {
        let whole = judged(data.clone());
        for n in [1, 12, 33] {
            assert_eq!(judged(cut(&data, n)).looks, whole.looks[..n]);
        }
    }
}

#[test]
fn without_births_new_pods_have_no_vote_and_the_text_says_what_would_do() {
    let mut data = new_pods(1.5);
    data["births"] = births(2, 2);
    data["baseline"] = side("b", &pods(4, 1, 1.0), 0, 60);
    let answer = judged(data);
    assert_eq!(codes(&answer), ["no_births", "time_ran_out"]);
    let text = &answer.verdict.reasons[0].text;
    assert!(text.contains("fresh pods of the old version") && text.contains("no vote"), "{text}");
    let check = &answer.verdict.checks[0];
    assert_eq!((check.p_harm, check.new_pods.as_ref().expect("new").compared_with.as_str()), (None, "none"));
    assert!(check.values.as_ref().is_some_and(|values| values.canary > values.baseline), "{check:?}");
}

#[test]
fn pods_without_any_history_are_the_unit_where_they_are_enough() {
    let of = |factor: f64, n: u64| {
        judged(
            json!({ "baseline": side("b", &pods(n, 1, 1.0), 0, 60), "canary": side("c", &pods(n, 2, factor), 0, 60) }),
        )
    };
    let same = of(1.0, 8);
    assert!(
        same.verdict.checks[0].method.starts_with("H: pods as the unit"),
        "{}",
        same.verdict.checks[0].method
    );
    assert_eq!(same.verdict.decision, "go", "{:?}", same.verdict.reasons);
    assert_eq!(of(1.5, 8).verdict.decision, "no_go");
    let few = of(1.0, 2);
    assert!(few.verdict.checks[0].method.starts_with("D:"), "{}", few.verdict.checks[0].method);
    assert_ne!(few.verdict.decision, "go");
}

#[test]
fn wrong_births_name_the_field() {
    let with = |field: &str, value: Value| {
        let mut data = new_pods(1.0);
        data["births"][3][field] = value;
        body(latency(), data)
    };
    refused(&with("d", json!([0.1])), "data.latency.births[3].d", "takes data and peers");
    refused(&with("peers", Value::Null), "data.latency.births[3].peers", "is required");
    refused(
        &with("data", json!({ "t_ms": [1], "le": [1.0], "counts": [[1]] })),
        "data.latency.births[3].data.le",
        "+Inf",
    );
    refused(&with("data", json!({ "units": {} })), "data.latency.births[3].data", "shown together");
    let mut both = with("events", json!(1));
    both["data"]["latency"]["births"][3]["trials"] = json!(5);
    refused(&both, "data.latency.births[3].events", "kind distribution");
    let mean = json!({ "name": "cpu", "kind": "mean", "margin": { "relative": "20%" } });
    let birth = json!({ "event": "e", "data": { "t_ms": [START], "values": [[1.0]] } });
    refused(&body(mean, json!({ "births": [birth] })), "data.cpu.births[0].data", "takes d");
    let mut data = new_pods(1.0);
    data["canary"]["units"] = json!({ "c0": { "t_ms": [START], "values": [[-1.0]] } });
    refused(&body(latency(), data), "data.latency.canary.units.c0.le", "is required");
    let mixed = json!({ "baseline": { "t_ms": [START, START + MINUTE], "values": [[1.0], [2.0]],
        "units": { "b": { "t_ms": [START], "le": ["+Inf"], "counts": [[1]] } } } });
    refused(&body(latency(), mixed), "data.latency.baseline.units.b.le", "belongs to buckets");
    let by = json!({ "name": "latency", "kind": "distribution", "by": "route", "vote": "veto" });
    let fresh = json!({ "fresh": { "by": { "/": { "t_ms": [START], "values": [[1.0]] } } } });
    refused(&body(by, fresh), "data.latency.fresh", "with `by`");
}
