//! Many series of which a few end and as many begin all the time: does memory stay flat?
//!
//! A store in this process, on a folder of the disk, with a clock that goes by itself: each round sends a sample of
//! every series that there is, after some of them were replaced by new ones. Sealing, merging and retention go on as
//! ever. Prints memory over the hours, and what a series takes while it lives and after it ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use greylight_store::append::MetricBatch;
use greylight_store::model::{Clock, ManualClock, Matcher, SystemClock, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits, MetricSource, Select, SpanMs};
use greylight_store::{Status, Store, StoreConfig, StoreEnv};

use crate::child::moment;

/// Stores series of which some are replaced all the time, and watches memory.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Series that live at once.
    #[arg(long, default_value_t = 1_000_000)]
    series: u64,
    /// Simulated hours.
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Simulated minutes between two samples of a series; before each, some series are replaced.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Of a thousand series, so many are replaced each time.
    #[arg(long, default_value_t = 10)]
    replaced: u64,
    /// By how much of a hundred memory may grow from the second quarter of the time to the last one.
    #[arg(long, default_value_t = 15)]
    growth: u64,
}

/// 2026-11-21T00:00:00Z.
const BASE_MS: i64 = 1_795_219_200_000;
/// Series of one batch.
const A_BATCH: u64 = 10_000;
/// How often the store is looked at while it works.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib =
        line.and_then(|rest| rest.trim().strip_suffix("kB")).context("/proc/self/status has no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? << 10)
}

/// A batch with one sample of each of some series: labels as a container has them, those of a new one all new.
fn batch(ids: impl Iterator<Item = u64>, t_ms: i64) -> anyhow::Result<MetricBatch> {
    let mut batch = MetricBatch::default();
    for id in ids {
        let (container, family) = (id / 20, id % 20);
        let name = format!("container_metric_{family}_total");
        let (pod, instance) = (format!("cart-{container:08x}"), format!("10.0.{}.7:9100", container % 250));
        let labels = [
            ("__name__", name.as_str()),
            ("container", "cart"),
            ("instance", instance.as_str()),
            ("job", "kubernetes-pods"),
            ("namespace", "shop"),
            ("pod", pod.as_str()),
        ];
        batch.start_sorted(labels)?.push(t_ms, (t_ms / 1000 % 100_000 + id as i64 % 97) as f64);
    }
    Ok(batch)
}

struct Run {
    args: Args,
    store: Store,
    clock: ManualClock,
    /// The series that live are those from here on.
    first: u64,
    t_ms: i64,
}

impl Run {
    async fn send(&self, t_ms: i64) -> anyhow::Result<()> {
        let (appender, tenant) = (self.store.appender(), TenantId::default());
        let end = self.first + self.args.series;
        for from in (self.first..end).step_by(A_BATCH as usize) {
            appender.metrics(&tenant, batch(from..end.min(from + A_BATCH), t_ms)?).await?;
        }
        Ok(())
    }

    /// Lets the clock go on, and waits until segments were merged as far as is due by it.
    async fn advance(&mut self, span: Duration) -> anyhow::Result<()> {
        self.clock.advance(span);
        let now = self.clock.now();
        let real = SystemClock::default();
        let started = real.elapsed();
        loop {
            real.sleep(LOOK_EVERY).await;
            let Status { jobs, n_failures, .. } = self.store.status();
            ensure!(n_failures == 0, "work in the background failed: {jobs:?}");
            let merging = jobs.iter().find(|job| job.name == "compaction").context("there is no such job")?;
            if merging.last_at >= Some(now) {
                return Ok(());
            }
            ensure!(
                real.elapsed() - started < Duration::from_secs(600),
                "merging takes more than ten minutes"
            );
        }
    }

    /// Counts series by their newest samples: those that live, and none that ended.
    fn n_found(&self) -> anyhow::Result<usize> {
        let limits = Limits { series: u64::MAX, ..Limits::default() };
        let budget = Budget::new(limits, Arc::new(self.clock.clone()));
        let matchers = [Matcher::equal("job", "kubernetes-pods")];
        let select = Select { matchers: &matchers, span: SpanMs { start: self.t_ms, end: self.t_ms } };
        Ok(self.store.reader().select(&TenantId::default(), &select, &budget)?.series().len())
    }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Runs.
///
/// # Errors
/// When memory grows by more than is allowed, or an answer is not whole.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.minutes > 0 && args.hours >= 4,
        "a run takes four hours at least, with a minute between samples"
    );
    tokio::runtime::Runtime::new()?.block_on(simulate(args.clone()))
}

async fn simulate(args: Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = ManualClock::at(Timestamp::from_millis(BASE_MS));
    let env = StoreEnv { clock: Arc::new(clock.clone()), ..StoreEnv::on_folder(folder.path())? };
    let store = Store::open(StoreConfig::default(), env).await?;
    let empty = resident_bytes()?;
    let started = moment();
    let mut run = Run { args, store, clock, first: 0, t_ms: BASE_MS };
    let every = Duration::from_secs(60 * run.args.minutes);
    let n_rounds = run.args.hours * 60 / run.args.minutes;
    let n_replaced = run.args.series * run.args.replaced / 1000;
    let mib = |bytes: u64| bytes >> 20;
    println!("empty: {} MiB", mib(empty));
    println!(
        "{:>5} {:>10} {:>10} {:>9} {:>9} {:>9} {:>10}",
        "hour", "active", "ended", "RSS MiB", "head MiB", "segments", "series/head"
    );
    let (mut all, mut first_round) = (Vec::new(), 0);
    for round in 0..n_rounds {
        if round > 0 {
            run.first += n_replaced;
        }
        run.send(run.t_ms).await?;
        let resident = resident_bytes()?;
        all.push(resident);
        if round == 0 {
            first_round = resident;
        }
        let per_hour = 60 / run.args.minutes.min(60);
        if round % per_hour == 0 {
            let status = run.store.status();
            let segments: u64 = status.tables.iter().map(|table| table.n_segments).sum();
            println!(
                "{:>5} {:>10} {:>10} {:>9} {:>9} {:>9} {:>10}",
                round / per_hour,
                run.args.series,
                run.first,
                mib(resident),
                mib(status.head_bytes),
                segments,
                status.n_head_series
            );
        }
        run.t_ms += every.as_millis() as i64;
        run.advance(every).await?;
    }
    // Once more all that live, and nothing else.
    run.send(run.t_ms).await?;
    let n_found = run.n_found()?;
    ensure!(
        n_found as u64 == run.args.series,
        "{n_found} series have a newest sample, {} live",
        run.args.series
    );
    let quarter = all.len() / 4;
    let (early, late) = (median(all[quarter..2 * quarter].to_vec()), median(all[3 * quarter..].to_vec()));
    let n_ended = run.first;
    let ended_between = n_replaced * 2 * quarter as u64;
    println!(
        "{} samples in {:.0?}; an active series takes {} bytes, one that ended {:.1}; peak {} MiB; second quarter {} \
         MiB, last quarter {} MiB",
        run.args.series * (n_rounds + 1),
        started.elapsed(),
        first_round.saturating_sub(empty) / run.args.series,
        (late as f64 - early as f64) / ended_between.max(1) as f64,
        mib(all.iter().copied().max().unwrap_or(0)),
        mib(early),
        mib(late)
    );
    run.store.shutdown().await?;
    ensure!(
        late * 100 <= early * (100 + run.args.growth),
        "memory grew by more than {} % while {n_ended} series ended",
        run.args.growth
    );
    Ok(())
}
