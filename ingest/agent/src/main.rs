//! The agent alone, for hosts on which nothing else of Greylight runs.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use greylight_agent::AgentConfig;

/// Ships this host's metrics and logs to a Greylight server.
#[derive(Debug, Parser)]
#[command(name = "greylight-agent", version)]
struct Cli {
    /// TOML file with an `[agent]` section.
    #[arg(long, value_name = "FILE", env = "GREYLIGHT_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// Read the settings, say whether they can be used, and exit.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    match act(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let mut text = e.to_string();
            let mut cause = e.source();
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            eprintln!("greylight-agent: {text}");
            ExitCode::FAILURE
        }
    }
}

fn act(cli: &Cli) -> Result<(), Box<dyn Error>> {
    if cli.check {
        AgentConfig::load(cli.config.as_deref(), std::env::vars())?;
        println!("the settings can be used");
        return Ok(());
    }
    Ok(greylight_agent::run(cli.config.as_deref())?)
}
