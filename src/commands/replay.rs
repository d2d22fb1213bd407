//! `greylight release replay`: a verdict judged again from its pinned data, ours beside Kayenta's.

use serde_json::{Value, json};

use super::release::{check_decision, headline, number, policy_of, text};
use super::{exit, query};
use crate::cli::ReleaseReplay;
use crate::client::{Client, encode};

/// Replays and prints; exits with 1 where the record and the replay differ.
pub(super) async fn run(args: ReleaseReplay) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let mut body = json!({ "engine": args.engine.word() });
    if let Some(policy) = &args.policy {
        body["policy"] = policy_of(policy)?;
    }
    let answer = client.post(&format!("/api/v1/releases/{}/replay", encode(&args.id)), &body).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        println!("{}", words(&answer));
    }
    Ok(if answer["same"] == false { exit::NO_GO } else { exit::OK })
}

/// Puts a replay into words: whether it is the same, then both judges phase by phase.
fn words(answer: &Value) -> String {
    let mut out =
        format!("release {}, {}\n{}", text(&answer["release"]), policy_words(answer), same_words(answer));
    if !answer["verdict"].is_null() {
        out.push_str(&format!("\nGreylight: {}", headline(&answer["verdict"])));
    }
    for phase in answer["phases"].as_array().into_iter().flatten() {
        out.push_str("\n\n");
        out.push_str(&phase_words(phase));
        if phase["decision"].is_null() && answer["engine"] != "kayenta" {
            out.push_str("\nnot judged by Greylight: a phase before it is not go by this policy");
        }
    }
    out
}

fn policy_words(answer: &Value) -> String {
    let policy = &answer["policy"];
    let revision = policy["revision"].as_u64().map(|n| format!(" revision {n}")).unwrap_or_default();
    let whose = if policy["pinned"] == true { "as pinned" } else { "not the release's own" };
    format!("policy {}{revision}, {whose}", text(&policy["name"]))
}

fn same_words(answer: &Value) -> String {
    let recorded = text(&answer["recorded"]["decision"]).replace('_', "-");
    match answer["same"].as_bool() {
        Some(true) => "the same as recorded, bit for bit".into(),
        Some(false) => {
            let one = &answer["difference"];
            let place = match one["look"].as_u64() {
                Some(look) => format!("look {look} of phase {}", text(&one["phase"])),
                None => "the verdict".into(),
            };
            let field = one["field"].as_str().filter(|field| !field.is_empty());
            let field = field.map(|field| format!(", {field}")).unwrap_or_default();
            let (was, is) = (&one["recorded"], &one["replayed"]);
            format!("NOT the same as recorded: {place}{field} was {was} and is {is}")
        }
        None => format!("recorded: {recorded}"),
    }
}

fn phase_words(phase: &Value) -> String {
    let kayenta = &phase["kayenta"];
    let mut rows = vec![["PHASE".to_string(), text(&phase["name"]), String::new()]];
    if !phase["decision"].is_null() {
        let decision = text(&phase["decision"]).replace('_', "-");
        rows.push([
            "Greylight".into(),
            decision,
            format!("score {}, {} looks", phase["score"], phase["looks"]),
        ]);
    }
    match (kayenta.is_null(), phase["kayenta_error"].as_str()) {
        (false, _) => {
            let (score, class) = (number(&kayenta["score"]), text(&kayenta["classification"]));
            let decision = text(&kayenta["decision"]).replace('_', "-");
            rows.push(["Kayenta".into(), decision, format!("score {score}, {class}")]);
        }
        (true, Some(why)) => rows.push(["Kayenta".into(), "-".into(), why.into()]),
        (true, None) => {}
    }
    let mut out = query::table(&rows);
    let checks = check_rows(phase);
    if checks.len() > 1 {
        out.push_str(&query::table(&checks));
    }
    out.trim_end().to_string()
}

/// One row a check with its first metric, one more for each further metric; only columns of who was asked.
fn check_rows(phase: &Value) -> Vec<Vec<String>> {
    let asks_us = !phase["decision"].is_null();
    let results = phase["kayenta"]["result"]["results"].as_array();
    let asks_kayenta = results.is_some();
    let results = results.map(Vec::as_slice).unwrap_or_default();
    let row = |[check, decision, effect, metric, label]: [String; 5]| {
        let mut row = vec![check];
        row.extend(asks_us.then_some([decision, effect]).into_iter().flatten());
        row.extend(asks_kayenta.then_some([metric, label]).into_iter().flatten());
        row
    };
    let label = |one: &Value| {
        let muted = if one["muted"] == true { " (muted)" } else { "" };
        [text(&one["name"]), format!("{}{muted}", text(&one["classification"]))]
    };
    let mut rows = vec![row(["CHECK", "GREYLIGHT", "EFFECT", "METRIC", "KAYENTA"].map(String::from))];
    let mut named = Vec::new();
    for check in phase["checks"].as_array().into_iter().flatten() {
        let own: Vec<&Value> = results.iter().filter(|one| one["groups"][0] == check["name"]).collect();
        let none = own.is_empty().then(|| ["-", "-"].map(String::from));
        let mut left = [text(&check["name"]), check_decision(check), number(&check["effect"]["estimate"])];
        for [metric, class] in own.into_iter().map(label).chain(none) {
            let [check, decision, effect] = std::mem::take(&mut left);
            rows.push(row([check, decision, effect, metric, class]));
        }
        named.push(text(&check["name"]));
    }
    // With engine kayenta alone there are metrics and no checks of ours.
    for one in results.iter().filter(|one| !named.contains(&text(&one["groups"][0]))) {
        let [metric, class] = label(one);
        rows.push(row([text(&one["groups"][0]), "-".into(), "-".into(), metric, class]));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({ "release": "01J", "engine": "both", "policy": { "name": "shop", "revision": 3, "pinned": true },
            "same": true, "difference": null, "recorded": { "decision": "go" },
            "verdict": { "decision": "go", "phase": "one", "reasons": [] },
            "phases": [{ "name": "one", "decision": "go", "score": 97, "looks": 11,
                "checks": [
                    { "name": "latency", "decision": "go", "margin": 0.1, "effect": { "estimate": 0.012 } },
                    { "name": "everything", "decision": "inconclusive", "margin": null, "effect": null } ],
                "kayenta": { "decision": "no_go", "score": 50.0, "classification": "Fail", "result": { "results": [
                    { "name": "latency at 0.5", "groups": ["latency"], "classification": "Pass", "muted": false },
                    { "name": "latency at 0.99", "groups": ["latency"], "classification": "High", "muted": true } ] } } }] })
    }

    #[test]
    fn both_judges_stand_side_by_side() {
        let said = words(&answer());
        let lines: Vec<String> =
            said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for want in [
            "release 01J, policy shop revision 3, as pinned",
            "the same as recorded, bit for bit",
            "Greylight go score 97, 11 looks",
            "Kayenta no-go score 50, Fail",
            "latency go 0.012 latency at 0.5 Pass",
            "latency at 0.99 High (muted)",
            "everything no harm shown - - -",
        ] {
            assert!(lines.iter().any(|line| line == want), "{want} is missing in\n{said}");
        }
    }

    #[test]
    fn a_phase_that_would_not_have_begun_is_said_so() {
        let mut answer = answer();
        let later = json!({ "name": "two", "decision": null, "looks": 0, "checks": [], "kayenta": null });
        answer["phases"].as_array_mut().unwrap().push(later);
        assert!(
            words(&answer)
                .ends_with("PHASE  two\nnot judged by Greylight: a phase before it is not go by this policy")
        );
        answer["engine"] = json!("kayenta");
        assert!(words(&answer).ends_with("PHASE  two"));
    }

    #[test]
    fn who_was_not_asked_has_no_column() {
        let phase = &answer()["phases"][0];
        let mut ours = phase.clone();
        ours["kayenta"] = Value::Null;
        assert_eq!(check_rows(&ours)[1], ["latency", "go", "0.012"]);
        let mut theirs = phase.clone();
        (theirs["decision"], theirs["checks"]) = (Value::Null, json!([]));
        assert_eq!(check_rows(&theirs)[1], ["latency", "latency at 0.5", "Pass"]);
    }

    #[test]
    fn what_differs_is_said() {
        let mut answer = answer();
        answer["same"] = json!(false);
        answer["difference"] = json!({ "look": 4, "phase": "one", "field": "checks[0].p_harm", "recorded": 0.5, "replayed": 0.25 });
        let said = words(&answer);
        assert!(
            said.contains(
                "NOT the same as recorded: look 4 of phase one, checks[0].p_harm was 0.5 and is 0.25"
            ),
            "{said}"
        );
    }
}
