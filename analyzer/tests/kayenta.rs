//! Kayenta's engine behind the judge's door, and the remote-judge contract.

use greylight_analyzer::judge::{CheckData, Data, Series, Sides, answer};
use greylight_analyzer::kayenta::report::ComparisonJson;
use greylight_analyzer::kayenta::runs::Window;
use greylight_analyzer::kayenta::{beside, remote_judge};
use greylight_analyzer::policy::{Queries, parse};
use greylight_analyzer::verdict::Decision;
use indexmap::IndexMap;
use serde_json::{Value, json};

const START: i64 = 1_795_255_200_000;
const MINUTE: i64 = 60_000;

fn series(n: i64, level: f64) -> Value {
    let t_ms: Vec<i64> = (0..n).map(|i| START + i * MINUTE).collect();
    let v: Vec<f64> = (0..n).map(|i| level + (2.3 * i as f64 + level).sin()).collect();
    json!({ "series": [{ "instance": "x", "t_ms": t_ms, "v": v }] })
}

fn body(engine: &str, canary: f64) -> Value {
    json!({
        "engine": engine,
        "policy": { "name": "p", "warm_up": "0s", "phases": [{
            "name": "one", "lasts": { "at_least": "12m", "at_most": "1h" },
            "checks": [
                { "name": "cpu", "kind": "mean", "margin": { "relative": "10%" } },
                { "name": "heap", "kind": "mean", "margin": { "relative": "10%" }, "weight": 3 },
            ] }] },
        "start_ms": START,
        "data": {
            "cpu": { "baseline": series(60, 20.0), "canary": series(60, canary) },
            "heap": { "baseline": series(60, 20.0), "canary": series(60, 20.0) },
        },
    })
}

fn judged(body: &Value) -> Value {
    serde_json::to_value(answer(body.to_string().as_bytes()).expect("the body is right"))
        .expect("an answer is JSON")
}

#[test]
fn both_engines_stand_side_by_side() {
    let answer = judged(&body("both", 26.0));
    assert_eq!(answer["looks"].as_array().unwrap().len(), 60);
    let kayenta = &answer["verdict"]["kayenta"];
    assert_eq!(kayenta["judge"], "NetflixACAJudge-v1.0");
    // One of two groups fails, with a quarter of the weight; ours is the decision of the verdict.
    assert_eq!((&kayenta["score"], &kayenta["classification"]), (&json!(75.0), &json!("Marginal")));
    assert_eq!(kayenta["decision"], "inconclusive");
    assert_eq!(kayenta["config"], "derived");
    assert_eq!(kayenta["result"]["results"][0]["classification"], "High");
    assert_eq!(kayenta["intervals"][0]["id"], "cpu");
    let tests = &kayenta["tests"][0];
    for name in ["mann_whitney", "welch", "kolmogorov_smirnov", "anderson_darling"] {
        assert!(tests[name]["p"].as_f64().unwrap() < 1e-6, "{tests}");
    }
    let alone = judged(&body("greylight", 26.0));
    assert!(alone["verdict"].get("kayenta").is_none());
    assert_eq!(alone["verdict"]["decision"], answer["verdict"]["decision"]);
}

#[test]
fn the_second_engine_decides_alone() {
    for (canary, decision) in [(20.0, "go"), (26.0, "inconclusive")] {
        let answer = judged(&body("kayenta", canary));
        assert_eq!(answer["looks"], json!([]));
        assert_eq!(answer["verdict"]["decision"], decision, "{answer}");
        assert_eq!(answer["verdict"]["final"], true);
        assert_eq!(answer["verdict"]["phases"][0]["decision"], decision);
        assert_eq!(answer["verdict"]["reasons"][0]["code"], "kayenta");
    }
    // Judged every twenty minutes, a run fails as soon as a score is marginal.
    let mut run = body("kayenta", 26.0);
    run["kayenta"] = json!({ "analysisIntervalMins": 20 });
    let answer = judged(&run);
    assert_eq!(answer["verdict"]["decision"], "no_go");
    assert_eq!(answer["verdict"]["kayenta"]["judgements"].as_array().unwrap().len(), 1);
    run["data"]["cpu"]["canary"] = series(60, 20.0);
    let answer = judged(&run);
    assert_eq!(answer["verdict"]["decision"], "go");
    assert_eq!(answer["verdict"]["kayenta"]["judgements"].as_array().unwrap().len(), 3);
}

fn config() -> Value {
    json!({
        "name": "c", "judge": { "name": "RemoteJudge-v1.0", "judgeConfigurations": {} },
        "metrics": [
            { "name": "errors", "groups": ["g"], "query": { "type": "atlas", "q": "x" }, "scopeName": "default",
              "analysisConfigurations": { "canary": { "direction": "increase", "critical": true } } },
            { "name": "latency", "groups": ["g"], "query": { "type": "atlas", "q": "y" }, "scopeName": "default" },
        ],
        "classifier": { "groupWeights": { "g": 100 } },
    })
}

#[test]
fn the_remote_judge_answers_in_kayentas_form() {
    let side = |level: f64| -> Vec<Value> {
        (0..30).map(|i| json!(level + (1.7 * f64::from(i)).sin())).chain([json!("NaN")]).collect()
    };
    let body = json!({
        "canaryConfig": config(),
        "scoreThresholds": { "pass": 95, "marginal": 75 },
        "metricSetPairList": [
            { "name": "errors", "id": "1", "tags": { "zone": "a" },
              "values": { "control": side(5.0), "experiment": side(9.0) },
              "scopes": { "control": { "startTimeMillis": 0 }, "experiment": {} }, "attributes": {} },
            { "name": "latency", "id": "2", "tags": {}, "values": { "control": ["NaN"], "experiment": side(0.0) } },
        ],
    });
    let result = serde_json::to_value(remote_judge(body.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(result["judgeName"], "NetflixACAJudge-v1.0");
    assert_eq!(result["score"]["score"], 0.0);
    assert_eq!(result["score"]["classification"], "Fail");
    assert!(result["score"]["classificationReason"].as_str().unwrap().contains("errors"));
    assert_eq!(
        result["groupScores"],
        json!([{ "name": "g", "score": 0.0, "classification": "", "classificationReason": "" }])
    );
    let first = &result["results"][0];
    assert_eq!(
        (&first["name"], &first["id"], &first["tags"]["zone"]),
        (&json!("errors"), &json!("1"), &json!("a"))
    );
    assert_eq!(
        (&first["classification"], &first["critical"], &first["muted"]),
        (&json!("High"), &json!(true), &json!(false))
    );
    assert_eq!(first["controlMetadata"]["stats"]["count"], 30);
    assert!((first["resultMetadata"]["ratio"].as_f64().unwrap() - 1.8).abs() < 0.01);
    let second = &result["results"][1];
    assert_eq!(second["classification"], "Nodata");
    assert_eq!(
        second["controlMetadata"]["stats"],
        json!({ "min": 0.0, "max": 0.0, "mean": 0.0, "std": 0.0, "count": 0 })
    );
}

#[test]
fn a_wrong_remote_judge_call_is_refused() {
    for (body, part) in [
        (json!({}), "canaryConfig"),
        (json!({ "canaryConfig": config(), "metricSetPairList": [] }), "scoreThresholds"),
        (
            json!({ "canaryConfig": config(), "scoreThresholds": { "pass": 95 }, "metricSetPairList": [] }),
            "scoreThresholds.marginal",
        ),
        (
            json!({ "canaryConfig": config(), "scoreThresholds": { "pass": 95, "marginal": 75 },
                    "metricSetPairList": [{ "name": "x", "values": { "control": [], "experiment": [] } }] }),
            "metricSetPairList[0].name",
        ),
    ] {
        let error = remote_judge(body.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn configuration_and_series_may_come_in_kayentas_form() {
    let set = |name: &str, zone: Option<&str>, level: f64| {
        let values: Vec<f64> = (0..60).map(|i| level + (1.7 * f64::from(i)).sin()).collect();
        let tags = zone.map_or(json!({}), |zone| json!({ "zone": zone }));
        json!({ "name": name, "tags": tags, "startTimeMillis": START, "stepMillis": MINUTE, "values": values })
    };
    let request = json!({ "engine": "kayenta", "kayenta": {
        "canaryConfig": config(), "scoreThresholds": { "pass": 90, "marginal": 50 },
        "metricSets": {
            "control": [set("errors", Some("a"), 5.0), set("errors", Some("b"), 5.0), set("latency", None, 9.0)],
            "experiment": [set("errors", Some("b"), 5.0), set("errors", Some("a"), 5.0), set("latency", None, 9.5)],
        } } });
    let answer = judged(&request);
    let kayenta = &answer["verdict"]["kayenta"];
    assert_eq!(kayenta["result"]["results"].as_array().unwrap().len(), 3);
    assert_eq!((&kayenta["score"], &kayenta["config"]), (&json!(66.67), &json!("given")));
    assert_eq!(answer["verdict"]["decision"], "inconclusive");
}

#[test]
fn a_release_can_show_kayenta_beside_its_own_verdict() {
    let policy = body("both", 26.0)["policy"].to_string();
    let policy = parse(&policy, Queries::Optional).expect("the policy is right");
    let side = |level: f64| {
        let t_ms: Vec<i64> = (0..60).map(|i| START + i * MINUTE).collect();
        let v = (0..60).map(|i| Some(level + (2.3 * f64::from(i) + level).sin())).collect();
        Some(Data::Values(vec![Series { instance: "x".to_owned(), t_ms, v }]))
    };
    let run = |canary: f64| CheckData {
        run: Sides { baseline: side(20.0), canary: side(canary) },
        ..CheckData::default()
    };
    let data = IndexMap::from([("cpu".to_owned(), run(26.0)), ("heap".to_owned(), run(20.0))]);
    let window = Window { start_ms: START, end_ms: START + 40 * MINUTE };
    let found = beside(&policy.phases[0], &data, MINUTE, window).expect("both sides have data");
    assert_eq!((found.result.score.score, found.decision), (75.0, Decision::Inconclusive));
    assert_eq!(found.result.results[0].control.count, 40);
    let json = ComparisonJson::from(&found);
    assert_eq!((json.tests.len(), json.warnings.len()), (2, 1));
    assert!(beside(&policy.phases[0], &IndexMap::new(), MINUTE, window).is_err());
}

#[test]
fn a_wrong_request_is_named() {
    for (change, field) in [
        (json!({ "engine": "dredd" }), "engine"),
        (json!({ "engine": "greylight", "kayenta": {} }), "kayenta"),
        (json!({ "engine": "both", "kayenta": { "canaryConfg": {} } }), "kayenta"),
        (json!({ "engine": "both", "kayenta": { "canaryConfig": {} } }), "kayenta.canaryConfig.classifier"),
        (json!({ "engine": "kayenta", "policy": null }), "policy"),
        (json!({ "engine": "kayenta", "policy": null, "data": {} }), "kayenta.canaryConfig"),
    ] {
        let mut request = body("both", 20.0);
        for (key, value) in change.as_object().unwrap() {
            request[key] = value.clone();
        }
        let problem = answer(request.to_string().as_bytes()).unwrap_err().problem();
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    }
}
