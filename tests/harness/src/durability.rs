//! The proofs of the store's own tests, run for long, with their figures.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use tokio::runtime::Runtime;

use crate::proof::{Chance, Outcome, damage, faults, model, power, rush, seed, seeded};

/// Does random things to a store in memory, power losses among them, and compares it with a map after each.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// Sequences; each has a seed of its own, which is printed when it finds something.
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// Things done in one sequence.
    #[arg(long, default_value_t = 60)]
    steps: u64,
}

/// Takes the power of a store in memory away at every change of the disk that a piece of work makes.
#[derive(Debug, clap::Args)]
pub(crate) struct PowerArgs {
    /// Power losses, at least; every change gets as many as it takes.
    #[arg(long, default_value_t = 1000)]
    losses: u64,
}

/// Stores, seals, merges, deletes and asks at once: every answer has every acknowledged row once.
#[derive(Debug, clap::Args)]
pub(crate) struct RushArgs {
    /// Batches of samples, and as many of log records, of each of three writers.
    #[arg(long, default_value_t = 400)]
    batches: u64,
    /// Runs, each over a new folder.
    #[arg(long, default_value_t = 5)]
    runs: u64,
}

/// Tears the log at every byte, and flips bits in everything that a store keeps.
#[derive(Debug, clap::Args)]
pub(crate) struct DamageArgs {
    /// Flips of each kind of file; a kind with fewer bits has each of its bits flipped.
    #[arg(long, default_value_t = 2000)]
    flips: u64,
    /// Cuts of each kind of file.
    #[arg(long, default_value_t = 200)]
    cuts: u64,
}

/// Lets the disk fill up, fail or stand still at every operation.
#[derive(Debug, clap::Args)]
pub(crate) struct FaultArgs {
    /// Reads that fail once, one after the other.
    #[arg(long, default_value_t = 60)]
    reads: u64,
}

fn finish<T>(outcome: Outcome<T>) -> anyhow::Result<T> {
    outcome.map_err(|e| anyhow!("a promise is broken: {e}"))
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes is one of its figures")]
fn timed<T>(runtime: &Runtime, work: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    (runtime.block_on(work), started.elapsed())
}

pub(crate) fn model(args: &ModelArgs) -> anyhow::Result<()> {
    let (runtime, seed) = (Runtime::new()?, seed());
    let mut all = BTreeMap::new();
    let (done, took) = timed(&runtime, async {
        for n in 0..args.runs {
            for (what, count) in seeded(seed + n, model::run(seed + n, args.steps).await)? {
                *all.entry(what).or_insert(0) += count;
            }
        }
        Ok(())
    });
    finish(done)?;
    println!("{} runs in {took:.1?}, lost 0, doubled 0, wrong 0", args.runs);
    for (what, count) in all {
        println!("{count:>8} {what}");
    }
    Ok(())
}

pub(crate) fn power(args: &PowerArgs) -> anyhow::Result<()> {
    let (runtime, seed) = (Runtime::new()?, seed());
    let mut tally = power::Tally::default();
    let n_changes = finish(runtime.block_on(power::n_changes()))?;
    let (done, took) = timed(&runtime, async {
        let mut round = 0;
        while tally.n_losses < args.losses {
            for n in 0..=n_changes {
                seeded(seed + round, power::run(n, seed + round, &mut tally).await)
                    .map_err(|e| format!("at change {n}: {e}"))?;
            }
            round += 1;
        }
        Ok(())
    });
    finish(done)?;
    println!(
        "{} power losses at each of {} changes in {took:.1?}: lost 0, doubled 0, wrong 0; {} rows that were \
         acknowledged read back, {} more that were not; {} logs with a torn end",
        tally.n_losses, n_changes, tally.n_kept, tally.n_more, tally.n_torn
    );
    Ok(())
}

pub(crate) fn rush(args: &RushArgs) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    for run in 1..=args.runs {
        let (done, took) = timed(&runtime, rush::run(args.batches));
        let tally = finish(done)?;
        println!(
            "run {run} in {took:.1?}: {} rows stored, {} answers with every acknowledged row once; {} seals, {} \
             merges, {} deletions, {} answers after retention",
            tally.n_rows, tally.n_answers, tally.n_seals, tally.n_merges, tally.n_deletions, tally.n_dropped
        );
        ensure!(tally.n_answers > 0 && tally.n_seals > 0, "nothing was asked, so nothing was tested");
    }
    Ok(())
}

pub(crate) fn damage(args: &DamageArgs) -> anyhow::Result<()> {
    let (runtime, seed) = (Runtime::new()?, seed());
    let chance = &mut Chance::new(seed);
    let subject = finish(runtime.block_on(damage::Subject::new()))?;
    let (done, took) = timed(&runtime, async {
        for len in 0..subject.tail_bytes() {
            subject.tear(len).await?;
        }
        Ok(())
    });
    finish(done)?;
    println!("log torn at each of {} bytes in {took:.1?}: what came before is there", subject.tail_bytes());
    println!("{:>10} {:>8} {:>8} {:>8} {:>8}", "flipped", "trials", "whole", "partial", "refused");
    let bytes = subject.bytes();
    for kind in damage::Kind::ALL {
        let (mut tally, n_bits) = (damage::Tally::default(), bytes.get(&kind).copied().unwrap_or(0) * 8);
        let (done, _) = timed(&runtime, async {
            // Spread over all bits, beginning anywhere.
            let n = args.flips.min(n_bits);
            let first = chance.below(n_bits);
            for i in 0..n {
                let bit = (first + i * n_bits / n) % n_bits;
                seeded(seed, subject.flip(kind, bit, &mut tally).await)?;
            }
            if kind != damage::Kind::Catalog {
                for _ in 0..args.cuts {
                    seeded(seed, subject.cut(kind, chance, &mut tally).await)?;
                }
            }
            Ok(())
        });
        finish(done)?;
        let damage::Tally { n_trials, n_whole, n_partial, n_refused } = tally;
        println!("{:>10} {n_trials:>8} {n_whole:>8} {n_partial:>8} {n_refused:>8}", format!("{kind:?}"));
    }
    println!("wrong 0, missing in silence 0, panics 0");
    Ok(())
}

pub(crate) fn faults(args: &FaultArgs) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    println!("{:>18} {:>8} {:>8} {:>8} {:>10}", "fails once", "faults", "refused", "delayed", "read-only");
    for kind in faults::Kind::ALL {
        let mut tally = faults::Tally::default();
        let done = runtime.block_on(async {
            let mut after = 0;
            while faults::once(kind, after, &mut tally).await.map_err(|e| format!("{kind:?} {after}: {e}"))? {
                after += 1;
            }
            Ok(())
        });
        finish(done)?;
        let faults::Tally { n_faults, n_refused, n_delayed, n_read_only } = tally;
        println!("{:>18} {n_faults:>8} {n_refused:>8} {n_delayed:>8} {n_read_only:>10}", format!("{kind:?}"));
    }
    for free_bytes in (0..1000).step_by(50) {
        finish(runtime.block_on(faults::full_for_a_while(free_bytes)))?;
    }
    println!("20 times full for a while: refused, read from, and taken from again without a restart");
    let n_files = finish(runtime.block_on(faults::unreadable()))?;
    println!("{n_files} files that cannot be read: answers say so and have the rest");
    let mut n_came = 0;
    for n in 0..args.reads {
        n_came += u64::from(finish(runtime.block_on(faults::read_error(n)))?);
    }
    println!("{} reads that fail once, {n_came} met by an answer: whole again before long", args.reads);
    finish(runtime.block_on(faults::standing_still()))?;
    println!("a disk that stands still: senders wait, readers do not, lost 0");
    println!("acknowledged and lost 0, wrong 0");
    Ok(())
}
