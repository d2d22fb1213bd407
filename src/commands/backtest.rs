//! `greylight backtest`: what a policy would have done, by placebo releases in stored history.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::release::{number, policy_of, text};
use super::{exit, query};
use crate::cli::Backtest;
use crate::client::{Client, encode};

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Starts a backtest, tells its progress, and prints what it came to; exits with 3 where it came to nothing.
pub(super) async fn run(args: Backtest) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let started = client.post("/api/v1/backtests", &body(&args)?).await?;
    let id = started["id"].as_str().context("the server's answer names no backtest")?;
    eprintln!("backtest {id}");
    let answer = wait(&client, id).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    }
    if answer["state"] != "done" {
        let field = answer["error"]["field"].as_str().map(|field| format!("{field}: ")).unwrap_or_default();
        let why =
            answer["error"]["message"].as_str().map(|why| format!(": {field}{why}")).unwrap_or_default();
        bail!("the backtest is {}{why}", text(&answer["state"]));
    }
    if !args.json {
        println!("{}", words(&answer));
    }
    Ok(exit::OK)
}

fn body(args: &Backtest) -> anyhow::Result<Value> {
    let range = match (&args.range, args.last) {
        (Some(range), _) => {
            let ends = range.split_once("..");
            let (from, to) = ends.with_context(|| format!("--range {range:?} is not written FROM..TO"))?;
            [from.trim().to_owned(), to.trim().to_owned()]
        }
        (None, Some(last)) => {
            let now = jiff::Timestamp::now();
            let from = now.checked_sub(last).with_context(|| format!("--last {last:?} is too long"))?;
            [from.to_string(), now.to_string()]
        }
        (None, None) => bail!("say --range FROM..TO or --last SPAN"),
    };
    let effects: Vec<&String> = args.effects.iter().filter(|effect| !effect.is_empty()).collect();
    Ok(json!({
        "policy": policy_of(&args.policy)?, "match": args.r#match, "range": range, "split_by": args.split_by,
        "canary_hosts": args.canary_hosts, "runs": args.runs, "seed": args.seed, "effects": effects,
        "placebos": args.placebos,
    }))
}

/// Asks until the backtest has ended.
async fn wait(client: &Client, id: &str) -> anyhow::Result<Value> {
    let mut told = String::new();
    loop {
        let answer = client.get(&format!("/api/v1/backtests/{}", encode(id)), &[]).await?;
        if !["waiting", "running"].contains(&answer["state"].as_str().unwrap_or_default()) {
            return Ok(answer);
        }
        let progress = &answer["progress"];
        let now = format!("{} {} of {}", text(&progress["work"]), progress["done"], progress["of"]);
        if now != told && progress["of"].as_u64() > Some(0) {
            eprintln!("{now}");
        }
        told = now;
        wait_a_little().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a command waits by the machine's clock")]
async fn wait_a_little() {
    tokio::time::sleep(ASK_EVERY).await;
}

/// Puts a backtest into words: what good releases would have met, what harm is found, what each check costs.
fn words(answer: &Value) -> String {
    let (request, placebos) = (&answer["request"], &answer["placebos"]);
    let whose = match placebos["kind"].as_str() {
        Some("births") => "pods that started as the canary",
        _ => "of them as the canary",
    };
    let mut out = format!(
        "policy {} on {} from {} to {}\n{} placebo releases with {} units, {} {whose}; each up to {} long after {} of \
         history\n\n",
        text(&answer["policy"]["name"]),
        text(&request["match"]),
        text(&request["range"][0]),
        text(&request["range"][1]),
        answer["runs"],
        placebos["units"],
        placebos["canary_hosts"],
        text(&placebos["lasts"]),
        text(&placebos["pre_period"]),
    );
    out.push_str(&format!("This policy would have refused {} of good releases", share(&answer["refused"])));
    out.push_str(&format!(", let {} go{}", share(&answer["go"]), after(&answer["go"])));
    out.push_str(&format!(", and run out of time in {}.\n", share(&answer["inconclusive"])));
    if placebos["disjoint"].as_u64() < answer["runs"].as_u64() {
        let disjoint = &placebos["disjoint"];
        let what = match placebos["kind"].as_str() {
            Some("births") => format!("They come from {disjoint} starts"),
            _ => format!("Only {disjoint} of them fit into the history side by side"),
        };
        out.push_str(&format!("{what}: read the limits in brackets as a little too narrow.\n"));
    }
    let (power, checks) = (power_rows(answer), check_rows(answer));
    if power.len() > 1 {
        out.push_str("\nHarm that is found, and how soon\n");
        out.push_str(&query::table(&power));
    }
    out.push_str("\nWhat the checks cost\n");
    out.push_str(&query::table(&checks));
    for one in answer["restless"].as_array().into_iter().flatten() {
        let text = format!(
            "{} lost its vote in {} of them: A/A runs alarmed\n",
            text(&one["check"]),
            percent(&one["share"])
        );
        out.push_str(&text);
    }
    for one in answer["untested"].as_array().into_iter().flatten() {
        let check = one["check"].as_str().map(|check| format!("{check}: ")).unwrap_or_default();
        out.push_str(&format!("not tested: {check}{}\n", text(&one["why"])));
    }
    out.trim_end().to_string()
}

fn percent(share: &Value) -> String {
    match share.as_f64() {
        Some(share) => {
            let shown = format!("{:.1}", 100.0 * share);
            format!("{} %", shown.strip_suffix(".0").unwrap_or(&shown))
        }
        None => "-".to_owned(),
    }
}

/// A share with its limits, which keep their digit.
fn share(one: &Value) -> String {
    let limit = |value: &Value| format!("{:.1}", 100.0 * value.as_f64().unwrap_or(f64::NAN));
    format!("{} ({} to {})", percent(&one["share"]), limit(&one["low"]), limit(&one["high"]))
}

fn after(one: &Value) -> String {
    one["median"].as_str().map(|median| format!(" (half of them within {median})")).unwrap_or_default()
}

/// One row a check, one column an effect.
fn power_rows(answer: &Value) -> Vec<Vec<String>> {
    let power = answer["power"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut effects: Vec<&Value> = Vec::new();
    let mut checks: Vec<&Value> = Vec::new();
    for one in power {
        if !effects.contains(&&one["effect"]) {
            effects.push(&one["effect"]);
        }
        if !checks.contains(&&one["check"]) {
            checks.push(&one["check"]);
        }
    }
    let cell = |check: &Value, effect: &Value| {
        let one = power.iter().find(|one| one["check"] == *check && one["effect"] == *effect);
        one.map_or("-".to_owned(), |one| {
            let median = one["median"].as_str().map(|median| format!(" in {median}")).unwrap_or_default();
            format!("{}{median}", percent(&one["found"]))
        })
    };
    let mut rows =
        vec![std::iter::once("CHECK".to_owned()).chain(effects.iter().map(|one| text(one))).collect()];
    for check in checks {
        rows.push(
            std::iter::once(text(check)).chain(effects.iter().map(|effect| cell(check, effect))).collect(),
        );
    }
    rows
}

fn check_rows(answer: &Value) -> Vec<[String; 8]> {
    let names = ["CHECK", "ALARMS", "GOES", "IN", "LAST", "GO WITHOUT IT", "MARGIN", "80 % GO AT"];
    let mut rows = vec![names.map(String::from)];
    for check in answer["checks"].as_array().into_iter().flatten() {
        let without = &check["without"];
        let without = match without["go"].as_f64() {
            Some(_) => format!("{} in {}", percent(&without["go"]), text(&without["median"])),
            None => "-".to_owned(),
        };
        rows.push([
            text(&check["name"]),
            text(&check["alarms"]),
            percent(&check["go"]),
            text(&check["go_median"]),
            percent(&check["slowest"]),
            without,
            margin(&check["margin"], check),
            margin(&check["suggested_margin"], check),
        ]);
    }
    rows
}

/// A margin in the measures that are known: of the baseline, in the unit, in noise.
fn margin(margin: &Value, check: &Value) -> String {
    let parts = [
        margin["relative"].as_f64().map(|_| percent(&margin["relative"])),
        margin["absolute"]
            .as_f64()
            .map(|_| format!("{} {}", number(&margin["absolute"]), text(&check["unit"]))),
        margin["in_noise"].as_f64().map(|noise| format!("{noise:.1} sd")),
    ];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { "-".to_owned() } else { known.join(", ") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(line: &[&str]) -> Result<Backtest, String> {
        let args = ["greylight", "backtest"].iter().chain(line);
        match Cli::try_parse_from(args).map_err(|e| e.to_string())?.command {
            Command::Backtest(args) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn flags_become_the_servers_body() {
        let args = parsed(&[
            "cart",
            "--match",
            "{a=\"b\"}",
            "--range",
            "2026-11-14T00:00:00Z..2026-11-21T00:00:00Z",
        ]);
        let body = body(&args.unwrap()).unwrap();
        assert_eq!(body["policy"], "cart");
        assert_eq!(body["range"], json!(["2026-11-14T00:00:00Z", "2026-11-21T00:00:00Z"]));
        assert_eq!(body["effects"], json!(["5%", "10%", "20%"]));
        assert_eq!((&body["runs"], &body["seed"]), (&json!(200), &json!(1)));
        assert!(parsed(&["cart", "--match", "{a=\"b\"}"]).is_err(), "a range is needed");
        assert!(
            parsed(&["cart", "--match", "{}", "--last", "7d", "--range", "a..b"]).is_err(),
            "and only one"
        );
    }

    /// Every command of the page is taken as it stands there.
    #[test]
    fn commands_of_the_page_are_right() {
        let page = include_str!("../../docs/backtest.md");
        let lines: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("    greylight backtest ")).collect();
        assert!(lines.len() >= 2, "{lines:?}");
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
            let args = parsed(&words).unwrap_or_else(|e| panic!("{line}: {e}"));
            body(&args).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn a_report_reads_as_a_sentence_and_two_tables() {
        let page = include_str!("../../docs/backtest.md");
        let block = page.split("\n\n").find(|block| block.starts_with("    { \"id\""));
        let answer: Value = serde_json::from_str(block.unwrap()).unwrap();
        let said = words(&answer);
        for want in [
            "This policy would have refused 0.5 % (0.0 to 2.8) of good releases, let 96 % (92.3 to 98.3) go",
            "(half of them within 14m)",
            "Only 36 of them fit",
            "not tested: one/conversion: users come",
        ] {
            assert!(said.contains(want), "{want} is missing in\n{said}");
        }
        let lines: Vec<String> =
            said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for want in [
            "CHECK 10% 100%",
            "one/load 81.5 % in 21m 100 % in 3m",
            "one/load 0 97.5 % 13m 88 % 99 % in 12m 10 %, 10 value, 1.8 sd 8.4 %, 8.4 value, 1.5 sd",
        ] {
            assert!(lines.iter().any(|line| line == want), "{want} is missing in\n{said}");
        }
    }
}
