//! Long commands that test a whole Greylight: faults, load, calibration.
//!
//! Each prints its figures and its seed, and exits with 1 when a promise was broken.

mod calibrate;
mod kill9;

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
    /// Judges simulated releases and prints how many good ones are refused and bad ones found.
    Calibrate(calibrate::Args),
    /// Kills a loaded server with SIGKILL and checks that what it acknowledged is there, once.
    Kill9(kill9::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Kill9(args) => kill9::run(&args),
    }
}
