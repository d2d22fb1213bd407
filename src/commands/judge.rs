//! `greylight judge`: the judge alone, on a file.

use std::io::Read;

use anyhow::Context;

use super::{exit, release};
use crate::cli::Judge;

/// Judges a file and prints the verdict; exits as `gate` does, but knows no expiry.
pub(crate) fn run(args: Judge) -> anyhow::Result<u8> {
    let mut body = Vec::new();
    if args.file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body).context("reading standard input")?;
    } else {
        body = std::fs::read(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    }
    let answer = serde_json::to_value(greylight_analyzer::judge::answer(&body)?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        println!("{}", release::words(&answer["verdict"]));
        if let Some(kayenta) = answer["verdict"].get("kayenta") {
            println!("{}", kayenta_words(kayenta));
        }
    }
    Ok(match answer["verdict"]["decision"].as_str() {
        Some("go") => exit::OK,
        Some("no_go") => exit::NO_GO,
        _ => exit::INCONCLUSIVE,
    })
}

/// One line on what Kayenta's judge says of the same data, and one for each metric that did not pass.
fn kayenta_words(kayenta: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let mut out = format!("Kayenta: {}, score {}", text(&kayenta["classification"]), kayenta["score"]);
    for result in kayenta["result"]["results"].as_array().into_iter().flatten() {
        let label = text(&result["classification"]);
        if label != "Pass" {
            let reason = text(&result["classificationReason"]);
            out.push_str(&format!("\n  {}: {label}, {reason}", text(&result["name"])));
        }
    }
    out
}
