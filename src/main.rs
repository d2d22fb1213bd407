//! The `greylight` binary: command line, configuration, wiring, shutdown.
//!
//! Everything that it serves lives in the crates below it; here they are joined, and nowhere else.

mod admin;
mod auth;
mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod own_metrics;
mod serve;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // One crypto provider for the process; a second call in tests is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("greylight: {error:#}");
            ExitCode::from(commands::exit::ERROR)
        }
    }
}
