//! Long commands that test a whole Greylight: faults, load, calibration.
//!
//! Each prints its figures and its seed, and exits with 1 when a promise was broken.

mod agent_kill;
mod calibrate;
mod kill9;
mod subject;

use clap::{Parser, Subcommand};

/// Fault, load and calibration runs against a built Greylight.
#[derive(Parser)]
#[command(name = "greylight-harness")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kills an agent with SIGKILL while its file grows and rotates, and checks that each line comes once.
    AgentKill(agent_kill::Args),
    /// Judges simulated releases and prints how many good ones are refused and bad ones found.
    Calibrate(calibrate::Args),
    /// Kills a loaded server with SIGKILL and checks that what it acknowledged is there, once.
    Kill9(kill9::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::AgentKill(args) => agent_kill::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Kill9(args) => kill9::run(&args),
    }
}
