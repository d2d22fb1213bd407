//! `greylight store`: looks after a data folder.

use anyhow::Context;
use greylight_store::{BackupReport, StoreEnv};
use serde_json::json;

use super::{block_on, exit};
use crate::cli::{Remote, StoreBackup, StoreCommand, StoreRestore, StoreVerify};
use crate::client::Client;

/// Runs one of the store commands.
pub(crate) fn run(command: StoreCommand) -> anyhow::Result<u8> {
    match command {
        StoreCommand::Verify(args) => block_on(verify(args)),
        StoreCommand::Backup(args) => block_on(backup(args)),
        StoreCommand::Restore(args) => block_on(restore(args)),
    }
}

async fn backup(args: StoreBackup) -> anyhow::Result<u8> {
    if let Some(server) = args.server {
        let client = Client::new(&Remote { server, token: args.token, tenant: None })?;
        let answer = client.post_and_wait("/api/v1/admin/backup", &json!({ "path": args.target })).await?;
        println!("{answer}");
        return Ok(exit::OK);
    }
    let data = args.data.context("say --data or --server")?;
    anyhow::ensure!(data.is_dir(), "there is no folder {}", data.display());
    let made = greylight_store::backup(&data, args.catalog.catalog.as_ref(), args.target.as_ref()).await;
    let report = made.with_context(|| format!("backing up {} to {}", data.display(), args.target))?;
    println!("{}", report_json(&report, &args.target));
    Ok(exit::OK)
}

async fn restore(args: StoreRestore) -> anyhow::Result<u8> {
    let restored = greylight_store::restore(&args.backup, &args.data, args.catalog.catalog.as_ref()).await;
    let report = restored
        .with_context(|| format!("restoring {} to {}", args.backup.display(), args.data.display()))?;
    println!("{}", report_json(&report, &args.data.display().to_string()));
    // Read again from where the server will read it.
    verify(StoreVerify { data: args.data, catalog: args.catalog }).await
}

/// Says what a backup holds.
pub(crate) fn report_json(report: &BackupReport, path: &str) -> serde_json::Value {
    json!({
        "path": path, "created_at": report.created_at.to_string(), "segments": report.n_segments,
        "files": report.n_files, "bytes": report.bytes, "linked": report.n_linked,
        "damaged_before": report.damaged_before,
    })
}

/// Checks every file against the catalog; exits 1 when any is missing or damaged.
async fn verify(args: StoreVerify) -> anyhow::Result<u8> {
    anyhow::ensure!(args.data.is_dir(), "there is no folder {}", args.data.display());
    let env = StoreEnv::on_folder(&args.data).with_context(|| format!("opening {}", args.data.display()))?;
    let env = env.with_catalog(args.catalog.catalog.as_ref());
    eprintln!("checking {}", args.data.display());
    let report =
        greylight_store::verify(&env).await.with_context(|| format!("checking {}", args.data.display()))?;
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
