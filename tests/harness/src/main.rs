//! Long commands that test a whole Greylight: faults, load, calibration.
//!
//! Each prints its figures and its seed, and exits with 1 when a promise was broken.

mod agent_kill;
mod backtest;
mod calibrate;
mod child;
mod churn;
mod durability;
mod kill9;
mod kill_steps;
mod power_cut;
#[path = "../../../store/tests/proof/mod.rs"]
mod proof;
mod reopen;
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
    /// Tries a policy of ten checks on a week of made minutes, and prints how long that took.
    Backtest(backtest::Args),
    /// Judges simulated releases and prints how many good ones are refused and bad ones found.
    Calibrate(calibrate::Args),
    /// Stores series of which some are replaced all the time, and watches memory.
    Churn(churn::Args),
    /// Flips bits and cuts files of a store: nothing is wrong, and nothing is missing in silence.
    Damage(durability::DamageArgs),
    /// Lets a store's disk fill up, fail or stand still at every operation.
    Faults(durability::FaultArgs),
    /// Kills a loaded server with SIGKILL and checks that what it acknowledged is there, once.
    Kill9(kill9::Args),
    /// Kills a process with a store at each named step of its work.
    KillSteps(kill_steps::Args),
    /// Does random things to a store, power losses among them, and compares it with a map.
    Model(durability::ModelArgs),
    /// Takes the power away at every change of a disk in memory.
    Power(durability::PowerArgs),
    /// Takes the power of a real file system away under a store; needs the right to mount.
    PowerCut(power_cut::Args),
    /// Measures a start with a full write-ahead log.
    Recovery(reopen::RecoveryArgs),
    /// Measures a start with much on the disk.
    Reopen(reopen::ReopenArgs),
    /// Stores, seals, merges, deletes and asks at once: every answer has every row once.
    Rush(durability::RushArgs),
    /// The process that other commands kill.
    #[command(hide = true)]
    StoreChild(child::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::AgentKill(args) => agent_kill::run(&args),
        Command::Backtest(args) => backtest::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Churn(args) => churn::run(&args),
        Command::Damage(args) => durability::damage(&args),
        Command::Faults(args) => durability::faults(&args),
        Command::Kill9(args) => kill9::run(&args),
        Command::KillSteps(args) => kill_steps::run(&args),
        Command::Model(args) => durability::model(&args),
        Command::Power(args) => durability::power(&args),
        Command::PowerCut(args) => power_cut::run(&args),
        Command::Recovery(args) => reopen::recovery(&args),
        Command::Reopen(args) => reopen::reopen(&args),
        Command::Rush(args) => durability::rush(&args),
        Command::StoreChild(args) => child::run(&args),
    }
}
