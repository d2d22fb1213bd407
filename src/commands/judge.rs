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
    }
    Ok(match answer["verdict"]["decision"].as_str() {
        Some("go") => exit::OK,
        Some("no_go") => exit::NO_GO,
        _ => exit::INCONCLUSIVE,
    })
}
