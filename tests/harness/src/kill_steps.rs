//! Kills a process with a store in it at every named step of what it does, and counts what came through.

use std::path::PathBuf;

use anyhow::ensure;
use greylight_store::step::Step;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::child::{self, Verdict};
use crate::subject;

/// Kills a process with a store at each named step of ingest, seal, merge, deletion, retention and start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kills at each step; each round has a folder of its own.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Repeats a run as far as timing allows. Default: drawn, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the folders are made. Default: where temporary ones are. What a process left in the memory of the
    /// kernel survives its death, so a folder in memory shows the same and is quicker.
    #[arg(long)]
    within: Option<PathBuf>,
}

/// Seconds after which a child gives up that has not passed its step.
const SECONDS: u64 = 20;

/// How often a step is passed at most before it kills: those of ingest come often.
fn passes_max(step: Step) -> u64 {
    match step {
        Step::CatalogRead | Step::LogReplayed | Step::OrphansRemoved => 0,
        Step::LogWritten | Step::LogSynced | Step::HeadApplied => 60,
        _ => 2,
    }
}

/// Runs it and prints a table.
///
/// # Errors
/// When something acknowledged was lost, doubled or changed, or a step never killed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(subject::drawn_seed);
    println!("seed {seed}");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut kills = vec![0; Step::ALL.len()];
    let mut all = Verdict::default();
    let mut acknowledged = 0;
    for _ in 0..args.rounds {
        let folder = match &args.within {
            Some(within) => tempfile::tempdir_in(within)?,
            None => tempfile::tempdir()?,
        };
        let (mut from, mut sent) = (0, 0);
        for (place, step) in Step::ALL.into_iter().enumerate() {
            let after = chance.random_range(0..=passes_max(step));
            let child = child::Args {
                folder: folder.path().to_owned(),
                from,
                sent,
                seconds: SECONDS,
                step: Some(place),
                after,
            };
            let said = child.listen(child.start()?)?;
            let verdict = child::check(folder.path(), said)?;
            kills[place] += u64::from(said.was_killed);
            all.lost += verdict.lost;
            all.doubled += verdict.doubled;
            all.wrong += verdict.wrong;
            all.open = all.open.max(verdict.open);
            acknowledged += said.acknowledged - from;
            // What was sent and not acknowledged is sent again, as senders do.
            (from, sent) = (said.acknowledged, said.sent);
        }
    }
    println!("{:<24} {:>6}", "step", "kills");
    for (step, kills) in Step::ALL.iter().zip(&kills) {
        println!("{:<24} {kills:>6}", step.to_string());
    }
    println!(
        "kills {}, acknowledged {acknowledged} samples and as many records, lost {}, doubled {}, wrong {}, slowest \
         open {:.0?}",
        kills.iter().sum::<u64>(),
        all.lost,
        all.doubled,
        all.wrong,
        all.open
    );
    ensure!(all.lost + all.doubled + all.wrong == 0, "a promise was broken");
    ensure!(kills.iter().all(|n| *n > 0), "a step never killed, so it was not tested");
    Ok(())
}
