//! `greylight release`: starts, lists, shows and steers releases, and puts verdicts into words.

use anyhow::Context;
use serde_json::{Value, json};

use super::{exit, replay};
use crate::cli::{
    OverrideDecision, Release, ReleaseAnnounce, ReleaseBody, ReleaseList, ReleaseOverride, ReleaseRef,
    ReleaseStart,
};
use crate::client::{Client, encode};

/// Runs one of the release commands.
pub(crate) async fn run(command: Release) -> anyhow::Result<u8> {
    match command {
        Release::Start(args) => start(args).await,
        Release::Announce(args) => announce(args).await,
        Release::List(args) => list(args).await,
        Release::Show(args) => show(args).await,
        Release::Cancel(args) => cancel(args).await,
        Release::Override(args) => put_over(args).await,
        Release::Replay(args) => replay::run(args).await,
    }
}

async fn start(args: ReleaseStart) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let mut body = body(&args.release)?;
    if let (Some(policy), Some(map)) = (&args.policy, body.as_object_mut()) {
        map.insert("policy".into(), policy_of(policy)?);
    }
    let release = client.post("/api/v1/releases", &body).await?;
    let id = release["id"].as_str().context("the server's answer names no release")?;
    eprintln!("release {id}: {}/ui/releases/{id}", client.base());
    if let (Some(taken), Some(left)) =
        (release["packs"]["taken"].as_array(), release["packs"]["left"].as_array())
    {
        let names: Vec<String> = taken.iter().map(|one| text(&one["check"])).collect();
        eprintln!("policy made of packs: {} ({} checks do not apply)", names.join(", "), left.len());
    }
    if args.wait {
        return super::gate::wait(&client, id, None, std::time::Duration::from_secs(7 * 86_400)).await;
    }
    println!("{id}");
    Ok(exit::OK)
}

/// Says beforehand what a release will be able to show.
async fn announce(args: ReleaseAnnounce) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let answer = match (&args.id, &args.policy) {
        (Some(id), None) => client.get(&format!("/api/v1/releases/{}/announce", encode(id)), &[]).await?,
        (id, policy) => {
            let release = match id {
                Some(id) => json!(id),
                None => body(&args.release)?,
            };
            let mut asked = json!({ "release": release });
            for (name, value) in [("canary", args.canary_units), ("fresh", args.fresh_units)] {
                if let Some(value) = value {
                    asked[name] = json!(value);
                }
            }
            let policy = policy.as_deref().unwrap_or_default();
            client.post(&format!("/api/v1/policies/{}/announce", encode(policy)), &asked).await?
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print!("{}", announcement(&answer));
    }
    Ok(exit::OK)
}

/// Puts an announcement into words: by phase what can be expected of it, then a sentence a check.
fn announcement(answer: &Value) -> String {
    let cohorts = &answer["cohorts"];
    let mut out = format!(
        "policy {}: {} canary and {} baseline units\n",
        text(&answer["policy"]["name"]),
        cohorts["canary"],
        cohorts["baseline"]
    );
    let in_place: Vec<String> = cohorts["in_place"].as_array().into_iter().flatten().map(text).collect();
    if !in_place.is_empty() {
        let names = in_place.join(", ");
        out.push_str(&format!("the canary does not run yet; taken as if it ran on {names}\n"));
    }
    for phase in answer["phases"].as_array().into_iter().flatten() {
        out.push_str(&format!("\nphase {}: {}\n", text(&phase["name"]), text(&phase["text"])));
        for check in phase["checks"].as_array().into_iter().flatten() {
            out.push_str(&format!("  {}\n", text(&check["text"])));
        }
    }
    out
}

fn body(args: &ReleaseBody) -> anyhow::Result<Value> {
    let mut body = match &args.file {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?
        }
        None => json!({}),
    };
    let map = body.as_object_mut().context("the release file must hold one JSON object")?;
    for (name, value) in [("key", &args.key), ("service", &args.service)] {
        if let Some(value) = value {
            map.insert(name.into(), value.clone().into());
        }
    }
    for (name, value) in [("baseline", &args.baseline), ("canary", &args.canary)] {
        if let Some(value) = value {
            map.insert(name.into(), json!({ "name": value }));
        }
    }
    if let Some(name) = &args.fresh {
        let fresh = match &args.fresh_match {
            Some(matchers) => json!({ "name": name, "match": matchers }),
            None => json!({ "name": name }),
        };
        map.insert("fresh".into(), fresh);
    }
    Ok(body)
}

/// Reads a policy from the file of this name; without such a file it is the name of a stored one.
pub(super) fn policy_of(name: &str) -> anyhow::Result<Value> {
    if std::path::Path::new(name).is_file() { policy_file(name) } else { Ok(name.into()) }
}

fn policy_file(path: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    // Checked here, so that a mistake is found with the file's name; sent as it was written.
    greylight_analyzer::policy::check(&text).with_context(|| format!("policy {path}"))?;
    greylight_analyzer::policy::document(&text).with_context(|| format!("policy {path}"))
}

async fn list(args: ReleaseList) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.service.map(|v| ("service", v)));
    query.extend(args.state.map(|v| ("state", v)));
    let answer = client.get("/api/v1/releases", &query).await?;
    let mut rows =
        vec![["ID", "SERVICE", "BASELINE", "CANARY", "STATE", "DECISION", "WHY"].map(String::from)];
    for release in answer["releases"].as_array().into_iter().flatten() {
        rows.push([
            text(&release["id"]),
            text(&release["service"]),
            text(&release["baseline"]["name"]),
            text(&release["canary"]["name"]),
            text(&release["state"]),
            text(&release["decision"]).replace('_', "-"),
            text(&release["evidence_line"]),
        ]);
    }
    print!("{}", super::query::table(&rows));
    Ok(exit::OK)
}

async fn show(args: ReleaseRef) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let path = format!("/api/v1/releases/{}", encode(&args.id));
    let release = client.get(&path, &[]).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&release)?);
        return Ok(exit::OK);
    }
    println!("release {}  {}  {}", text(&release["id"]), text(&release["service"]), text(&release["state"]));
    println!("baseline {}   canary {}", text(&release["baseline"]["name"]), text(&release["canary"]["name"]));
    println!("{}", words(&release["verdict"]));
    Ok(exit::OK)
}

async fn cancel(args: ReleaseRef) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    client.delete(&format!("/api/v1/releases/{}", encode(&args.id))).await?;
    println!("cancelled {}", args.id);
    Ok(exit::OK)
}

async fn put_over(args: ReleaseOverride) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let decision = match args.decision {
        OverrideDecision::Go => "go",
        OverrideDecision::NoGo => "no_go",
    };
    let body = json!({ "decision": decision, "by": args.by, "why": args.why });
    client.post(&format!("/api/v1/releases/{}/override", encode(&args.id)), &body).await?;
    println!("{} is now {}", args.id, decision.replace('_', "-"));
    Ok(exit::OK)
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// Puts a verdict into one line for progress.
pub(crate) fn headline(verdict: &Value) -> String {
    let decision = text(&verdict["decision"]).replace('_', "-");
    let phase = verdict["phase"].as_str().map(|p| format!(" in phase {p}")).unwrap_or_default();
    let first = verdict["reasons"][0]["text"].as_str().map(|t| format!(": {t}")).unwrap_or_default();
    format!("{decision}{phase}{first}")
}

/// Puts a verdict with its evidence into words: the decision, its reasons, one line a check.
pub(crate) fn words(verdict: &Value) -> String {
    let mut out = headline(verdict);
    for reason in verdict["reasons"].as_array().into_iter().flatten().skip(1) {
        out.push_str(&format!("\n  also: {}", text(&reason["text"])));
    }
    let mut rows = vec![
        ["CHECK", "PHASE", "DECISION", "BASELINE", "CANARY", "EFFECT", "AT ALL LOOKS"].map(String::from),
    ];
    for check in verdict["checks"].as_array().into_iter().flatten() {
        rows.push([
            text(&check["name"]),
            text(&check["phase"]),
            check_decision(check),
            number(&check["values"]["baseline"]),
            number(&check["values"]["canary"]),
            number(&check["effect"]["estimate"]),
            format!("{} to {}", number(&check["effect"]["low"]), number(&check["effect"]["high"])),
        ]);
    }
    if rows.len() > 1 {
        out.push('\n');
        out.push_str(super::query::table(&rows).trim_end());
    }
    out
}

/// A check without a margin cannot go: until it refuses it has shown no harm.
pub(super) fn check_decision(check: &Value) -> String {
    let cannot_go = check["margin"].is_null() && check["decision"].as_str() == Some("inconclusive");
    if cannot_go { "no harm shown".into() } else { text(&check["decision"]).replace('_', "-") }
}

pub(super) fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(0.0) => "0".into(),
        Some(v) if v.abs() >= 0.001 && v.abs() < 1e6 => {
            let digits = (3 - v.abs().log10().floor() as i32).clamp(0, 6) as usize;
            let fixed = format!("{v:.digits$}");
            if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.').into() } else { fixed }
        }
        Some(v) => format!("{v:.2e}"),
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_said_with_its_evidence() {
        let verdict = json!({ "decision": "no_go", "phase": "tenth",
            "reasons": [{ "code": "harm_shown", "text": "error share rose by 1.9 points" }],
            "checks": [{ "name": "error share", "phase": "tenth", "decision": "no_go", "margin": 0.02,
                "values": { "baseline": 0.0001, "canary": 0.0201 },
                "effect": { "estimate": 0.02, "low": 0.012, "high": null } }] });
        let said = words(&verdict);
        assert!(said.starts_with("no-go in phase tenth: error share rose by 1.9 points"), "{said}");
        assert!(said.contains("1.00e-4") && said.contains("0.012 to -"), "{said}");
    }

    #[test]
    fn numbers_keep_four_digits() {
        let check = |v: f64, want: &str| assert_eq!(number(&json!(v)), want);
        check(0.020_123, "0.02012");
        check(1234.5, "1234");
        check(12.0, "12");
        check(0.0, "0");
    }
}
