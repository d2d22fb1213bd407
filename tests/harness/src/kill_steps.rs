//! Kills a process with a store in it at every named step of what it does, and counts what came through.

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
}

/// Numbers that a child stores if it is not killed before.
const NUMBERS: u64 = 3000;

/// How often a step is passed at most before it kills: those of ingest come often.
fn passes_max(step: Step) -> u64 {
    match step {
        Step::CatalogRead | Step::LogReplayed | Step::OrphansRemoved => 0,
        Step::LogWritten | Step::LogSynced | Step::HeadApplied => 60,
        _ => 4,
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
        let folder = tempfile::tempdir()?;
        let mut from = 0;
        for (place, step) in Step::ALL.into_iter().enumerate() {
            let after = chance.random_range(0..=passes_max(step));
            let child = child::Args {
                folder: folder.path().to_owned(),
                from,
                numbers: NUMBERS,
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
            from = said.acknowledged;
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
