//! `greylight gate`: a pipeline's step that waits for a verdict.

use std::time::Duration;

use serde_json::Value;

use super::exit;
use crate::cli::Gate;
use crate::client::{Client, encode};

/// Longest that one request waits; shorter than proxies' idle limits.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits for a final decision and says it in words and as exit code.
pub(crate) async fn run(args: Gate) -> anyhow::Result<u8> {
    let client = Client::new(&args.remote)?;
    let id = match (&args.id, &args.key) {
        (Some(id), _) => id.clone(),
        (None, Some(key)) => format!("key:{key}"),
        (None, None) => anyhow::bail!("name a release by id or --key"),
    };
    wait(&client, &id, args.phase.as_deref(), args.timeout).await
}

/// Waits for the verdict of one release.
pub(crate) async fn wait(
    client: &Client,
    id: &str,
    phase: Option<&str>,
    timeout: Duration,
) -> anyhow::Result<u8> {
    let deadline = tokio::time::Instant::now() + timeout;
    let path = format!("/api/v1/releases/{}/verdict", encode(id));
    let mut after = None::<i64>;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let wait = left.min(WAIT_MAX);
        let mut query = vec![("wait", format!("{}ms", wait.as_millis()))];
        query.extend(after.map(|revision| ("after", revision.to_string())));
        query.extend(phase.map(|phase| ("phase", phase.to_string())));
        let verdict = client.get(&path, &query).await?;
        let revision = verdict["revision"].as_i64().unwrap_or(0);
        if after != Some(revision) {
            eprintln!("{}", super::release::headline(&verdict));
        }
        after = Some(revision);
        if verdict["final"].as_bool() == Some(true) || decided(&verdict) {
            println!("{}", super::release::words(&verdict));
            return Ok(code(&verdict));
        }
        if left.is_zero() {
            println!("inconclusive: no final decision within {} s", timeout.as_secs());
            return Ok(exit::INCONCLUSIVE);
        }
    }
}

/// A no-go ends a gate at once, whether or not later looks are still made.
fn decided(verdict: &Value) -> bool {
    verdict["decision"].as_str() == Some("no_go")
}

/// Maps a decision to the exit code; an expired go is no go any more.
pub(crate) fn code(verdict: &Value) -> u8 {
    let expired = verdict["expires_at"]
        .as_str()
        .and_then(|t| t.parse::<jiff::Timestamp>().ok())
        .is_some_and(|t| t < jiff::Timestamp::now());
    match verdict["decision"].as_str() {
        Some("go") if !expired => exit::OK,
        Some("no_go") => exit::NO_GO,
        _ => exit::INCONCLUSIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_go_that_still_holds_exits_with_zero() {
        let check = |text: &str, want| assert_eq!(code(&serde_json::from_str(text).unwrap()), want, "{text}");
        check(r#"{"decision": "go", "expires_at": "2999-01-01T00:00:00Z"}"#, 0);
        check(r#"{"decision": "go", "expires_at": "2001-01-01T00:00:00Z"}"#, 2);
        check(r#"{"decision": "no_go", "expires_at": "2001-01-01T00:00:00Z"}"#, 1);
        check(r#"{"decision": "inconclusive"}"#, 2);
        check("{}", 2);
    }
}
