//! Ingest, seals, merges, deletions, retention and queries at once: every answer has every acknowledged row once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use greylight_store::Store;
use greylight_store::config::{RetentionConfig, TenantRetention};
use greylight_store::metrics::Deletion;
use greylight_store::model::{ManualClock, MatchOp, Matcher, TenantId};
use greylight_store::read::SpanMs;

use super::facts::{Facts, log_batch, metric_batch, read_all};
use super::rig::{NOW_MS, Rig};
use super::{Outcome, must};

const WRITERS: usize = 3;
const READERS: usize = 2;
/// Rows of one batch.
const ROWS: u64 = 12;

/// What was done meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) n_rows: u64,
    pub(crate) n_answers: u64,
    pub(crate) n_seals: u64,
    pub(crate) n_merges: u64,
    pub(crate) n_deletions: u64,
    pub(crate) n_dropped: u64,
}

/// How far each writer is: numbers that were sent, and numbers that were acknowledged.
type Progress = Arc<[(AtomicU64, AtomicU64); WRITERS]>;

struct Rush {
    store: Store,
    clock: ManualClock,
    progress: Progress,
    done: AtomicBool,
}

/// Has every writer store `n_batches` batches of samples and as many of log records.
pub(crate) async fn run(n_batches: u64) -> Outcome<Tally> {
    let mut rig = Rig::new()?;
    let short = TenantRetention { metrics: Some(Duration::from_secs(3600)), ..TenantRetention::default() };
    rig.config.retention =
        RetentionConfig { tenants: [("short".to_owned(), short)].into(), ..RetentionConfig::default() };
    let rush = Arc::new(Rush {
        store: rig.open().await?,
        clock: rig.clock.clone(),
        progress: Progress::default(),
        done: AtomicBool::new(false),
    });
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let rush = Arc::clone(&rush);
            tokio::task::spawn_blocking(move || rush.read())
        })
        .collect();
    let upkeep = [tokio::spawn(Arc::clone(&rush).flush()), tokio::spawn(Arc::clone(&rush).delete())];
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(Arc::clone(&rush).write(writer, n_batches))).collect();
    let mut outcome = Ok(());
    for writer in writers {
        outcome = outcome.and(writer.await?);
    }
    rush.done.store(true, Ordering::SeqCst);
    let mut tally = Tally { n_rows: WRITERS as u64 * n_batches * ROWS * 2, ..Tally::default() };
    for reader in readers {
        tally.n_answers += reader.await??;
    }
    let [flushes, deletions] = upkeep;
    tally.n_dropped = flushes.await??;
    tally.n_deletions = deletions.await??;
    outcome?;
    rush.store.flush().await?;
    rush.look()?;
    let status = rush.store.status();
    (tally.n_seals, tally.n_merges) = (status.n_seals, status.n_merges);
    must(status.n_failures == 0, || format!("work in the background failed: {:?}", status.jobs))?;
    rush.store.shutdown().await?;
    Ok(tally)
}

fn name(writer: usize, n: u64) -> String {
    format!("w{writer}_{}", n % 4)
}

/// Ever later, and every third number some windows back.
fn time(n: u64) -> i64 {
    NOW_MS + n as i64 * 10 - (n % 3) as i64 * 3 * 3_600_000
}

fn body(writer: usize, n: u64) -> String {
    format!("writer {writer} says {n} to 10.0.0.{}", n % 250)
}

impl Rush {
    async fn write(self: Arc<Self>, writer: usize, n_batches: u64) -> Outcome<()> {
        let (tenant, appender) = (TenantId::default(), self.store.appender());
        for batch in 0..n_batches {
            let numbers = batch * ROWS..(batch + 1) * ROWS;
            self.progress[writer].0.store(numbers.end, Ordering::SeqCst);
            let samples: Vec<_> =
                numbers.clone().map(|n| (name(writer, n), time(n), n as f64 + 0.5)).collect();
            appender.metrics(&tenant, metric_batch(&samples)?).await?;
            let records: Vec<_> = numbers.clone().map(|n| (time(n), body(writer, n))).collect();
            appender.logs(&tenant, log_batch(&records)?).await?;
            self.progress[writer].1.store(numbers.end, Ordering::SeqCst);
            // What was sent again is stored once; and what is deleted or dropped takes nothing with it.
            if batch % 4 == 0 {
                appender.logs(&tenant, log_batch(&records)?).await?;
                appender.metrics(&tenant, metric_batch(&[("gone".into(), time(batch), 1.0)])?).await?;
                let old =
                    [("old".to_owned(), NOW_MS - 48 * 3_600_000, 1.0), ("old".to_owned(), time(batch), 1.0)];
                appender.metrics(&TenantId::new("short")?, metric_batch(&old)?).await?;
            }
        }
        Ok(())
    }

    /// Seals and merges all the time; returns how many rows retention dropped.
    async fn flush(self: Arc<Self>) -> Outcome<u64> {
        let mut n_dropped = 0;
        while !self.done.load(Ordering::SeqCst) {
            self.store.flush().await?;
            let found = read_all(&self.store.reader(), &TenantId::new("short")?, &self.clock)?;
            let is_old = |key: &&(String, i64)| key.1 < NOW_MS - 24 * 3_600_000;
            n_dropped += u64::from(found.facts.samples.keys().filter(is_old).count() == 0);
        }
        Ok(n_dropped)
    }

    async fn delete(self: Arc<Self>) -> Outcome<u64> {
        let mut n = 0;
        while !self.done.load(Ordering::SeqCst) {
            let sets = vec![vec![Matcher::new("__name__", MatchOp::Equal, "gone")?]];
            self.store.delete_series(&TenantId::default(), Deletion { sets, span: SpanMs::ALL }).await?;
            n += 1;
        }
        Ok(n)
    }

    fn read(&self) -> Outcome<u64> {
        let mut n = 0;
        while !self.done.load(Ordering::SeqCst) {
            self.look()?;
            n += 1;
        }
        Ok(n)
    }

    /// Asks once for everything: what was acknowledged before must be there, and nothing that is sent later.
    fn look(&self) -> Outcome<()> {
        let acknowledged: Vec<u64> = self.progress.iter().map(|p| p.1.load(Ordering::SeqCst)).collect();
        let found = read_all(&self.store.reader(), &TenantId::default(), &self.clock)?;
        must(found.missing.is_empty(), || format!("answers lack {:?}", found.missing))?;
        let (mut least, mut most) = (Facts::default(), Facts::default());
        for (writer, progress) in self.progress.iter().enumerate() {
            for n in 0..progress.0.load(Ordering::SeqCst) {
                let sample = [(name(writer, n), time(n), n as f64 + 0.5)];
                let record = [(time(n), body(writer, n))];
                most.put_samples(&sample);
                most.put_records(&record);
                if n < acknowledged[writer] {
                    least.put_samples(&sample);
                    least.put_records(&record);
                }
            }
        }
        let mut facts = found.facts;
        facts.samples.retain(|key, _| key.0 != "gone");
        must(least.is_part_of(&facts), || {
            format!("of what was acknowledged, {}", least.difference(&facts, i64::MIN).unwrap_or_default())
        })?;
        must(facts.is_part_of(&most), || {
            format!("of what was sent, {}", most.difference(&facts, i64::MAX).unwrap_or_default())
        })
    }
}
