//! `greylight check`: finds mistakes in files before they are used.

use std::path::Path;

use anyhow::Context;

use super::exit;
use crate::cli::Check;
use crate::config::{Config, folder_of};

/// Checks each file and says what is wrong; exits 1 when any is.
pub(crate) fn run(args: Check) -> anyhow::Result<u8> {
    let mut worst = exit::OK;
    for path in &args.files {
        match check(path) {
            Ok(what) => println!("{}: a valid {what}", path.display()),
            Err(error) => {
                worst = exit::NO_GO;
                println!("{}: {error:#}", path.display());
            }
        }
    }
    Ok(worst)
}

fn check(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).context("cannot be read")?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("yaml" | "yml" | "json") if greylight_analyzer::is_rule_file(&text) => {
            let n = greylight_analyzer::check_rules(&text)?;
            Ok(format!("rule file, {n} rules"))
        }
        Some("yaml" | "yml" | "json") => {
            greylight_analyzer::policy::check(&text)?;
            Ok("policy".into())
        }
        Some("toml") if text.lines().any(|line| line.trim_start().starts_with("[agent")) => {
            greylight_agent::AgentConfig::parse(&text)?;
            Ok("agent configuration".into())
        }
        Some("toml") => {
            let mut config = Config::parse(&text, &[])?;
            config.rules.folder = folder_of(Some(path));
            config.rules.check()?;
            Ok("server configuration".into())
        }
        _ => anyhow::bail!("what is it? name a .toml, .yaml, .yml or .json file"),
    }
}
