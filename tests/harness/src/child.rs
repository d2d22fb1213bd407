//! A process with a store in it that numbers what it stores, says what was acknowledged, and dies where it is told.
//!
//! Samples and log records of one number go together. Beside them go samples that are deleted again and samples
//! that are past their retention, so that every kind of work goes on all the time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::config::{RetentionConfig, TenantRetention};
use greylight_store::logs::{Flow, LogSelect, LogSource, Order, Query};
use greylight_store::metrics::Deletion;
use greylight_store::model::{
    Labels, LogRecord, MatchOp, Matcher, SystemClock, TenantId, TimeRange, Timestamp,
};
use greylight_store::read::{Budget, Limits, MetricSource, Select, SpanMs};
use greylight_store::step::{Step, Steps};
use greylight_store::{Store, StoreConfig, StoreEnv};

/// Stores numbers until it dies. Started by other commands.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// The first number.
    #[arg(long)]
    pub(crate) from: u64,
    /// Numbers below may have been sent by those before it, and be there although nobody was told so.
    #[arg(skip)]
    pub(crate) sent: u64,
    /// Seconds after which it ends by itself.
    #[arg(long)]
    pub(crate) seconds: u64,
    /// The step at which it kills itself, by its place among all.
    #[arg(long)]
    pub(crate) step: Option<usize>,
    /// How often the step is passed before.
    #[arg(long, default_value_t = 0)]
    pub(crate) after: u64,
}

/// Numbers of one batch.
const A_BATCH: u64 = 10;
const BASE_MS: i64 = 1_795_255_200_000;

fn time_ms(n: u64) -> i64 {
    BASE_MS + n as i64 * 10_000
}

/// What a child said before it died.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// Numbers below are acknowledged.
    pub(crate) acknowledged: u64,
    /// Numbers below may have been sent.
    pub(crate) sent: u64,
    /// Whether it was killed, rather than ended by itself.
    pub(crate) was_killed: bool,
}

impl Args {
    /// Starts this command as a process of its own.
    pub(crate) fn start(&self) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["store-child", "--folder"]).arg(&self.folder);
        command.args(["--from", &self.from.to_string(), "--seconds", &self.seconds.to_string()]);
        if let Some(step) = self.step {
            command.args(["--step", &step.to_string(), "--after", &self.after.to_string()]);
        }
        // Logs of failing disks would drown the figures.
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("starting a process with a store")
    }

    /// Reads what a child says until it is gone.
    pub(crate) fn listen(&self, mut child: Child) -> anyhow::Result<Said> {
        let stdout = child.stdout.take().context("what it says is read")?;
        let sent = self.sent.max(self.from);
        let mut said = Said { acknowledged: self.from, sent, was_killed: false };
        for line in BufReader::new(stdout).lines() {
            // The last line of a process that is killed may be cut short.
            let Ok(line) = line else { break };
            let number = |word: &str| line.strip_prefix(word).and_then(|n| n.strip_suffix('.'));
            if let Some(n) = number("sending ") {
                said.sent = sent.max(n.parse()?);
            } else if let Some(n) = number("acknowledged ") {
                said.acknowledged = n.parse()?;
            }
        }
        let status = child.wait()?;
        said.was_killed = status.code().is_none();
        ensure!(said.was_killed || status.success(), "the process with the store failed: {status}");
        Ok(said)
    }
}

fn config() -> StoreConfig {
    let short = TenantRetention { metrics: Some(Duration::from_secs(3600)), ..TenantRetention::default() };
    let retention =
        RetentionConfig { tenants: [("short".to_owned(), short)].into(), ..RetentionConfig::default() };
    StoreConfig { retention, ..StoreConfig::default() }
}

async fn open(folder: &Path, steps: Steps) -> anyhow::Result<Store> {
    let env = StoreEnv { steps, ..StoreEnv::on_folder(folder)? };
    Ok(Store::open(config(), env).await?)
}

/// Runs the child.
///
/// # Errors
/// When the store does not open or does not take; by then it was mostly killed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(work(args))
}

fn killing(args: &Args) -> anyhow::Result<Steps> {
    let Some(step) = args.step else { return Ok(Steps::default()) };
    let deadly = *Step::ALL.get(step).context("there is no such step")?;
    let left = AtomicU64::new(args.after);
    Ok(Steps::told_to(move |step| {
        if step == deadly
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err()
        {
            let own = rustix::process::getpid();
            // Nothing runs after it: no destructor, no buffer, no other thread.
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }))
}

async fn work(args: &Args) -> anyhow::Result<()> {
    let store = open(&args.folder, killing(args)?).await?;
    let upkeep = {
        let store = store.clone();
        tokio::spawn(async move {
            while store.flush().await.is_ok() {
                let sets = vec![vec![Matcher::equal("__name__", "gone")]];
                let deletion = Deletion { sets, span: SpanMs::ALL };
                if store.delete_series(&TenantId::default(), deletion).await.is_err() {
                    return;
                }
            }
        })
    };
    let (mut n, started) = (args.from, moment());
    while started.elapsed().as_secs() < args.seconds {
        say("sending", n + A_BATCH)?;
        store.appender().metrics(&TenantId::default(), metrics(n)?).await?;
        store.appender().logs(&TenantId::default(), logs(n)?).await?;
        store.appender().metrics(&TenantId::new("short")?, old(n)?).await?;
        n += A_BATCH;
        say("acknowledged", n)?;
        pause().await;
    }
    upkeep.abort();
    store.shutdown().await?;
    Ok(())
}

/// Leaves some of the machine to seals and merges, which the kill is to meet too.
#[expect(clippy::disallowed_methods, reason = "the process under test runs in real time")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

fn say(what: &str, n: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {n}.")?;
    Ok(out.flush()?)
}

fn metrics(from: u64) -> anyhow::Result<MetricBatch> {
    let mut batch = MetricBatch::default();
    for n in from..from + A_BATCH {
        let series = (n % 4).to_string();
        batch
            .start_sorted([("__name__", "number"), ("series", series.as_str())])?
            .push(time_ms(n), n as f64 + 0.5);
    }
    batch.start_sorted([("__name__", "gone")])?.push(time_ms(from), -1.0);
    Ok(batch)
}

/// A sample that is past its retention, and one that says so.
fn old(from: u64) -> anyhow::Result<MetricBatch> {
    let mut batch = MetricBatch::default();
    batch.start_sorted([("__name__", "old")])?.push(time_ms(from) - 100 * 3_600_000, 1.0);
    batch.start_sorted([("__name__", "old")])?.push(time_ms(from), 1.0);
    Ok(batch)
}

fn logs(from: u64) -> anyhow::Result<LogBatch> {
    let labels = Labels::from_pairs([("job", "kill")])?;
    let record = |n: u64| LogRecord {
        time: Timestamp::from_millis(time_ms(n)),
        observed_time: Timestamp::from_millis(time_ms(n)),
        severity_number: 9,
        severity_text: "INFO".into(),
        body: format!("number {n}"),
        labels: labels.clone(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    };
    Ok(LogBatch { records: (from..from + A_BATCH).map(record).collect() })
}

/// What a check of a folder found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) wrong: u64,
    /// How long opening took.
    pub(crate) open: Duration,
}

/// Opens the folder of a child that is gone and counts what is not as it should be.
pub(crate) fn check(folder: &Path, said: Said) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let started = moment();
        let store = open(folder, Steps::default()).await?;
        let mut verdict = Verdict { open: started.elapsed(), ..Verdict::default() };
        let (samples, records) = stored(&store, &mut verdict)?;
        for found in [&samples, &records] {
            verdict.lost += (0..said.acknowledged).filter(|n| !found.contains_key(n)).count() as u64;
            verdict.doubled += found.values().filter(|count| **count > 1).count() as u64;
            verdict.wrong += found.keys().filter(|n| **n >= said.sent).count() as u64;
        }
        let report = store.verify().await?;
        ensure!(report.is_clean(), "verify finds {:?}", report.problems);
        ensure!(store.status().missing.is_empty(), "answers lack {:?}", store.status().missing);
        store.shutdown().await?;
        Ok(verdict)
    })
}

#[expect(clippy::disallowed_methods, reason = "how long a real start takes is a figure of these runs")]
pub(crate) fn moment() -> std::time::Instant {
    std::time::Instant::now()
}

type Counts = HashMap<u64, u32>;

/// Returns how often each number is stored, as samples and as records.
fn stored(store: &Store, verdict: &mut Verdict) -> anyhow::Result<(Counts, Counts)> {
    let budget = Budget::new(Limits::default(), Arc::new(SystemClock::default()));
    let (reader, tenant) = (store.reader(), TenantId::default());
    let matchers = [Matcher::new("__name__", MatchOp::Equal, "number")?];
    let selection = reader.select(&tenant, &Select { matchers: &matchers, span: SpanMs::ALL }, &budget)?;
    let (mut samples, mut records) = (Counts::new(), Counts::new());
    selection.read(0..selection.series().len(), &budget, &mut |_, found| {
        for (t_ms, value) in found.t_ms.iter().zip(found.values) {
            let n = *value as u64;
            if *t_ms != time_ms(n) || *value != n as f64 + 0.5 {
                verdict.wrong += 1;
            }
            *samples.entry(n).or_default() += 1;
        }
    })?;
    let select = LogSelect { query: Query::parse("*")?, matchers: Vec::new(), range: TimeRange::ALL };
    reader.scan(&tenant, &select, Order::OldestFirst, &budget, &mut |found| {
        let number = found.record.body.strip_prefix("number ").and_then(|n| n.parse().ok());
        match number.filter(|n| found.record.time.as_millis() == time_ms(*n)) {
            Some(n) => *records.entry(n).or_default() += 1,
            None => verdict.wrong += 1,
        }
        Flow::Continue
    })?;
    Ok((samples, records))
}
