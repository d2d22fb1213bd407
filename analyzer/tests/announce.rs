//! What a release will be able to show, asked over a real store before it is judged.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::births;
use crate::releases::Bench;

/// Stores the policy of a request under its name, and returns the body without it.
async fn stored(bench: &Bench, mut request: Value) -> Value {
    let policy = request["policy"].take();
    let name = policy["name"].as_str().unwrap_or_else(|| panic!("{policy:#}"));
    let (status, answer) = bench.ask("PUT", &format!("/api/v1/policies/{name}"), policy.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    assert_eq!(answer["announced"], Value::Null, "it has judged nothing yet: {answer:#}");
    assert!(answer["not_announced"].as_str().is_some_and(|why| why.contains("/announce")), "{answer:#}");
    if let Some(body) = request.as_object_mut() {
        body.remove("policy");
    }
    json!({ "release": request, "name": name })
}

async fn announced(bench: &Bench, stored: &Value, more: Value) -> Value {
    let name = stored["name"].as_str().unwrap_or_default();
    let mut body = json!({ "release": stored["release"] });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    let (status, answer) = bench.ask("POST", &format!("/api/v1/policies/{name}/announce"), body).await;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    answer
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn new_pods_are_told_what_births_will_show() {
    let bench = births::fed(1.0).await;
    let stored = stored(&bench, births::request("one", true)).await;
    let answer = announced(&bench, &stored, json!({})).await;
    let check = &answer["phases"][0]["checks"][0];
    assert_eq!((&answer["cohorts"]["canary"], &answer["cohorts"]["baseline"]), (&json!(2), &json!(10)));
    let pods = &check["new_pods"];
    assert_eq!((&pods["compared_with"], &pods["births"]), (&json!("births"), &json!(12)), "{check:#}");
    let shift = number(&check["shift"]["value"]);
    assert!((0.01..0.2).contains(&shift), "{check:#}");
    assert_eq!(check["shift"]["measure"], "relative");
    assert!(check["go_in"].is_string() && check["reason"].is_null(), "{check:#}");
    let text = check["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("load: 2 new pods against 10 old ones and 12 starts in 6 events: +"), "{text}");
    assert!(text.contains("in 80 % of cases; an unchanged release goes at margin 20.0 % in about"), "{text}");
    let phase = answer["phases"][0]["text"].as_str().unwrap_or_default();
    assert!(phase.starts_with("an unchanged release goes in about"), "{phase}");
    // Three fresh pods beside three of the canary find less.
    let fresh = announced(&bench, &stored, json!({ "fresh": 3 })).await;
    assert_eq!(fresh["cohorts"]["fresh"], 3);
    // The canary's own units are known by now; what is asked for stands for units that are not.
    let (_, release) = bench.ask("POST", "/api/v1/releases", births::request("one", true)).await;
    let path = format!("/api/v1/releases/{}/announce", release["id"].as_str().unwrap_or_default());
    let (status, own) = bench.ask("GET", &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{own:#}");
    assert_eq!(own["phases"][0]["checks"][0]["shift"], check["shift"], "the same policy says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_keep_their_names_are_told_by_their_history() {
    let bench = births::fed(1.0).await;
    let mut request = births::request("one", false);
    // A version that nobody runs yet.
    request["canary"] = json!({ "name": "3" });
    let stored = stored(&bench, request).await;
    let answer = announced(&bench, &stored, json!({ "canary": 3 })).await;
    let in_place = answer["cohorts"]["in_place"].as_array().cloned().unwrap_or_default();
    assert_eq!((in_place.len(), &answer["cohorts"]["canary"]), (3, &json!(3)), "{answer:#}");
    let check = &answer["phases"][0]["checks"][0];
    let three = number(&check["shift"]["value"]);
    assert!(check["new_pods"].is_null() && check["go_in"].is_string(), "{check:#}");
    // More hosts of the canary show less.
    let one = announced(&bench, &stored, json!({ "canary": 1 })).await;
    assert!(number(&one["phases"][0]["checks"][0]["shift"]["value"]) > three, "{one:#}");
    let named = announced(&bench, &stored, json!({ "units": ["old-7"] })).await;
    assert_eq!(named["cohorts"]["in_place"], json!([]), "{named:#}");
    assert!(named["phases"][0]["checks"][0]["shift"].is_object(), "{named:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_has_judged_says_so_when_it_changes() {
    let bench = births::fed(1.0).await;
    let mut request = births::request("one", true);
    let policy = request["policy"].clone();
    let name = stored(&bench, request.clone()).await["name"].as_str().unwrap_or_default().to_owned();
    request["policy"] = json!(name);
    let (status, release) = bench.ask("POST", "/api/v1/releases", request).await;
    assert_eq!(status, StatusCode::CREATED, "{release:#}");
    let mut wider = policy;
    wider["checks"][0]["margin"] = json!({ "relative": "40%" });
    let (_, answer) = bench.ask("PUT", &format!("/api/v1/policies/{name}"), wider).await;
    let check = &answer["announced"]["phases"][0]["checks"][0];
    assert_eq!(check["margin"]["value"], 0.4, "{answer:#}");
    assert!(check["shift"].is_object(), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_nothing_is_stored() {
    let bench = births::fed(1.0).await;
    let stored = stored(&bench, births::request("one", true)).await;
    let name = stored["name"].as_str().unwrap_or_default();
    let path = format!("/api/v1/policies/{name}/announce");
    for (body, kind, field) in [
        (json!({ "release": "01UNKNOWN" }), "not_found", None),
        (json!({ "release": { "service": "shop" } }), "invalid", Some("release.baseline")),
        (json!({ "release": stored["release"], "canary": 0 }), "invalid", Some("canary")),
    ] {
        let (status, answer) = bench.ask("POST", &path, body.clone()).await;
        assert!(status.is_client_error(), "{answer:#}");
        assert_eq!(answer["error"]["kind"], kind, "{body}: {answer:#}");
        assert_eq!(answer["error"]["field"].as_str(), field, "{body}: {answer:#}");
    }
    let (status, _) =
        bench.ask("POST", "/api/v1/policies/none/announce", json!({ "release": stored["release"] })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, list) = bench.ask("GET", "/api/v1/releases", Value::Null).await;
    assert_eq!(list["releases"], json!([]), "an announcement starts nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_can_be_checked_without_being_stored() {
    let bench = births::fed(1.0).await;
    let policy = births::request("one", true)["policy"].clone();
    let (status, answer) = bench.ask("POST", "/api/v1/policies/check", policy.clone()).await;
    assert_eq!((status, &answer["name"]), (StatusCode::OK, &policy["name"]), "{answer:#}");
    let mut wrong = policy;
    wrong["checks"][0]["margin"] = json!({ "relative": "-3%" });
    let (status, answer) = bench.ask("POST", "/api/v1/policies/check", wrong).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["field"], "checks[0].margin.relative", "{answer:#}");
    let (_, list) = bench.ask("GET", "/api/v1/policies", Value::Null).await;
    assert_eq!(list["policies"], json!([]));
}
