//! A power loss at every change of the disk that a scripted piece of work makes.

use greylight_store::Store;
use greylight_store::metrics::Deletion;
use greylight_store::model::{MatchOp, Matcher, TenantId};
use greylight_store::read::SpanMs;

use super::facts::{Facts, Record, Sample};
use super::rig::{NOW_MS, Rig, put_records, put_samples};
use super::{Chance, Outcome, must};

/// What a number of power losses did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) n_losses: u64,
    /// Rows that were acknowledged before, and are there after.
    pub(crate) n_kept: u64,
    /// Rows that were sent and not acknowledged, and are there after.
    pub(crate) n_more: u64,
    /// Power losses that left a torn end, or holes, in the log.
    pub(crate) n_torn: u64,
}

/// What was acknowledged, and what was sent at all.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: Facts,
    sent: Facts,
    /// A deletion of the doomed rows was asked for, or answered.
    asked: bool,
    deleted: bool,
}

const HOUR_MS: i64 = 3_600_000;

/// Returns how many changes of the disk the work makes when nothing fails.
pub(crate) async fn n_changes() -> Outcome<u64> {
    let rig = Rig::new()?;
    let store = rig.open().await?;
    work(&store, &mut Ledger::default()).await?;
    store.shutdown().await?;
    Ok(rig.faulty.n_changes())
}

/// Takes the power away at the `n`th change and looks what the next start finds.
pub(crate) async fn run(n: u64, seed: u64, tally: &mut Tally) -> Outcome<()> {
    let chance = &mut Chance::new(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut rig = Rig::new()?;
    rig.die_after(n, chance.below(2000) as usize);
    let mut ledger = Ledger::default();
    let store = rig.open().await.ok();
    if let Some(store) = &store {
        // It ends where the disk dies.
        let _ = work(store, &mut ledger).await;
    }
    rig.lose_power(store, chance).await;
    tally.n_losses += 1;
    let store = rig.open().await?;
    tally.n_torn += u64::from(store.status().wal.torn_bytes > 0);
    rig.must_be_clean(&store).await?;
    for sealed in [false, true] {
        if sealed {
            store.flush().await?;
        }
        let found = rig.read(&store)?;
        must(found.missing.is_empty(), || format!("answers lack {:?}", found.missing))?;
        ledger.check(&found.facts)?;
        tally.n_kept += ledger.acknowledged.len() as u64;
        tally.n_more += found.facts.len().saturating_sub(ledger.acknowledged.len()) as u64;
    }
    // It goes on as if nothing had been.
    put_samples(&store, &[("later".into(), NOW_MS, 1.0)]).await?;
    rig.end(store).await
}

fn is_doomed(name: &str) -> bool {
    name == "doomed"
}

impl Ledger {
    fn check(&self, found: &Facts) -> Outcome<()> {
        let mut acknowledged = self.acknowledged.clone();
        let n_doomed = acknowledged.samples.keys().filter(|key| is_doomed(&key.0)).count();
        let n_found = found.samples.keys().filter(|key| is_doomed(&key.0)).count();
        if self.asked {
            // All or nothing, and nothing once it was answered.
            must(n_found == 0 || n_found >= n_doomed && !self.deleted, || {
                format!("{n_found} of {n_doomed} samples outlive their deletion")
            })?;
            acknowledged.samples.retain(|key, _| !is_doomed(&key.0));
        }
        let lost = acknowledged.difference(found, i64::MIN).filter(|_| !acknowledged.is_part_of(found));
        must(lost.is_none(), || format!("of what was acknowledged, {}", lost.unwrap_or_default()))?;
        must(found.is_part_of(&self.sent), || {
            format!("of what was sent, {}", self.sent.difference(found, i64::MAX).unwrap_or_default())
        })
    }
}

/// Ingest, seals, merges and a deletion, until something fails.
async fn work(store: &Store, ledger: &mut Ledger) -> Outcome<()> {
    let names = vec![vec![Matcher::new("__name__", MatchOp::Equal, "doomed")?]];
    for i in 0..7i64 {
        let at = NOW_MS + i * 1000;
        let mut samples: Vec<Sample> = Vec::new();
        for series in 0..4 {
            samples.push((format!("s{series}"), at - (i % 2) * 3 * HOUR_MS, i as f64 + 0.125));
        }
        samples.push(("doomed".into(), at - HOUR_MS * (i % 3), -1.0));
        // Larger than a sector, so that one can tear.
        samples.extend((0..60).map(|n| (format!("wide{n}"), at, 1.0 / (n + i + 1) as f64)));
        if ledger.asked {
            samples.retain(|sample| !is_doomed(&sample.0));
        }
        ledger.sent.put_samples(&samples);
        put_samples(store, &samples).await?;
        ledger.acknowledged.put_samples(&samples);
        let records: Vec<Record> =
            (0..9).map(|n| (at - n * HOUR_MS, format!("request {i} of cart took {n} ms"))).collect();
        ledger.sent.put_records(&records);
        put_records(store, &records).await?;
        ledger.acknowledged.put_records(&records);
        match i {
            1 | 3 => store.flush().await?,
            4 => {
                ledger.asked = true;
                let all = Deletion { sets: names.clone(), span: SpanMs::ALL };
                store.delete_series(&TenantId::default(), all).await?;
                ledger.deleted = true;
            }
            5 => store.flush().await?,
            _ => {}
        }
    }
    Ok(())
}
