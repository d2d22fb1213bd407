//! One module a command.

mod backtest;
mod check;
mod gate;
mod judge;
mod chart;
mod query;
mod release;
mod replay;
mod store;
mod token;

use std::process::ExitCode;

pub(crate) use release::words;
pub(crate) use store::report_json;

use crate::cli::{Cli, Command};

/// Exit codes that pipelines rely on.
pub(crate) mod exit {
    /// Done; for `gate`, go.
    pub(crate) const OK: u8 = 0;
    /// For `gate`, no-go; elsewhere, the check that was asked for failed.
    pub(crate) const NO_GO: u8 = 1;
    /// Inconclusive, expired, or the wait ended.
    pub(crate) const INCONCLUSIVE: u8 = 2;
    /// The command could not do its work.
    pub(crate) const ERROR: u8 = 3;
}

/// Runs one command to its end.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let code = match cli.command {
        Command::Serve(args) => crate::serve::run(args)?,
        Command::Agent(args) => crate::serve::run_agent(args)?,
        Command::Demo(args) => block_on(crate::demo::run(args))?,
        Command::Gate(args) => block_on(gate::run(args))?,
        Command::Release(args) => block_on(release::run(args))?,
        Command::Judge(args) => judge::run(args)?,
        Command::Backtest(args) => block_on(backtest::run(args))?,
        Command::Query(args) => block_on(query::run(args))?,
        Command::Store(args) => store::run(args)?,
        Command::Check(args) => check::run(args)?,
        Command::Token(args) => token::run(args)?,
    };
    Ok(ExitCode::from(code))
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Runtime::new()?.block_on(work)
}
