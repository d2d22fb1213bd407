//! `greylight store`: looks after a data folder.

use anyhow::Context;
use greylight_store::StoreEnv;

use super::exit;
use crate::cli::{StoreCommand, StoreVerify};

/// Runs one of the store commands.
pub(crate) fn run(command: StoreCommand) -> anyhow::Result<u8> {
    match command {
        StoreCommand::Verify(args) => verify(&args),
    }
}

/// Checks every file against the catalog; exits 1 when any is missing or damaged.
fn verify(args: &StoreVerify) -> anyhow::Result<u8> {
    anyhow::ensure!(args.data.is_dir(), "there is no folder {}", args.data.display());
    let env = StoreEnv::on_folder(&args.data).with_context(|| format!("opening {}", args.data.display()))?;
    eprintln!("checking {}", args.data.display());
    let runtime = tokio::runtime::Runtime::new()?;
    let checked = runtime.block_on(greylight_store::verify(&env));
    let report = checked.with_context(|| format!("checking {}", args.data.display()))?;
    for problem in &report.problems {
        println!("{problem}");
    }
    println!(
        "{} segments, {} files, {} bytes, {} problems",
        report.n_segments,
        report.n_files,
        report.bytes,
        report.problems.len()
    );
    Ok(if report.is_clean() { exit::OK } else { exit::NO_GO })
}
