//! How long a start takes: with a full write-ahead log, and with much on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::config::ByteSize;
use greylight_store::model::{Labels, LogRecord, Matcher, SystemClock, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits, MetricSource, Select, SpanMs};
use greylight_store::{Store, StoreConfig, StoreEnv};

use crate::child::moment;
use crate::kill9::Server;
use crate::subject;

/// Fills a write-ahead log and prints the seconds that a start takes for a GiB of it.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoveryArgs {
    /// GiB of log, once of samples and once of log records.
    #[arg(long, default_value_t = 1.0)]
    gib: f64,
    /// Seconds for a GiB that are too many.
    #[arg(long, default_value_t = 2.0)]
    bar: f64,
}

/// Fills a folder and prints how long a start takes until it answers.
#[derive(Debug, clap::Args)]
pub(crate) struct ReopenArgs {
    /// Samples on the disk.
    #[arg(long, default_value_t = 20_000_000)]
    samples: u64,
    /// Log records on the disk.
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// Seconds that are too many.
    #[arg(long, default_value_t = 1.0)]
    bar: f64,
    /// The server's binary. Default: `greylight` in the folder of this command's binary, else the release build.
    #[arg(long)]
    bin: Option<PathBuf>,
}

const BASE_MS: i64 = 1_795_255_200_000;
const SERIES: u64 = 1000;
/// Samples of each series in one batch.
const STEPS: u64 = 5;
const LINES: u64 = 2000;

/// A batch as scrapers of many hosts send it: each series again and again, values that move a little.
fn metrics(batch: u64) -> anyhow::Result<MetricBatch> {
    let mut out = MetricBatch::default();
    for series in 0..SERIES {
        let (instance, cpu) = (format!("host-{}:9100", series / 8), (series % 8).to_string());
        let labels =
            [("__name__", "node_cpu_seconds_total"), ("cpu", cpu.as_str()), ("instance", instance.as_str())];
        let mut writer = out.start_sorted(labels)?;
        for step in batch * STEPS..(batch + 1) * STEPS {
            writer.push(BASE_MS + step as i64 * 15_000, (step * 15 * (series % 7 + 1)) as f64 / 100.0);
        }
    }
    Ok(out)
}

/// Lines of an access log, about 200 bytes each.
fn logs(batch: u64) -> anyhow::Result<LogBatch> {
    let labels = Labels::from_pairs([("service_name", "cart"), ("instance", "host-1")])?;
    let record = |n: u64| LogRecord {
        time: Timestamp::from_millis(BASE_MS + n as i64 * 5),
        observed_time: Timestamp::from_millis(BASE_MS + n as i64 * 5),
        severity_number: 9,
        severity_text: "INFO".into(),
        body: format!(
            r#"{{"method":"GET","path":"/cart/{}","status":200,"ms":{},"client":"10.0.{}.{}","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","request":"{:032x}"}}"#,
            n % 977,
            n * 7 % 1013,
            n % 251,
            n % 241,
            u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        ),
        labels: labels.clone(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    };
    Ok(LogBatch { records: (batch * LINES..(batch + 1) * LINES).map(record).collect() })
}

async fn open(folder: &Path, config: StoreConfig) -> anyhow::Result<Store> {
    Ok(Store::open(config, StoreEnv::on_folder(folder)?).await?)
}

/// Measures replays.
///
/// # Errors
/// When one takes longer than the bar.
pub(crate) fn recovery(args: &RecoveryArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut slowest = 0f64;
    for what in ["samples", "records"] {
        let folder = tempfile::tempdir()?;
        // Nothing is sealed, so all of it is replayed.
        let config = StoreConfig { head_bytes_max: ByteSize(1 << 40), ..StoreConfig::default() };
        let (bytes, items, took) = runtime.block_on(async {
            let store = open(folder.path(), config.clone()).await?;
            let mut batch = 0;
            while (store.status().wal.bytes_written as f64) < args.gib * (1u64 << 30) as f64 {
                match what {
                    "samples" => store.appender().metrics(&TenantId::default(), metrics(batch)?).await?,
                    _ => store.appender().logs(&TenantId::default(), logs(batch)?).await?,
                };
                batch += 1;
            }
            let status = store.status();
            store.shutdown().await?;
            drop(store);
            let started = moment();
            let store = open(folder.path(), config.clone()).await?;
            let took = started.elapsed();
            let items = status.n_samples + status.n_log_records;
            ensure!(
                store.status().n_samples + store.status().n_log_records == items,
                "the replay is not whole"
            );
            store.shutdown().await?;
            anyhow::Ok((status.wal.bytes_written, items, took))
        })?;
        let gib = bytes as f64 / (1u64 << 30) as f64;
        let rate = took.as_secs_f64() / gib;
        slowest = slowest.max(rate);
        println!(
            "{gib:.2} GiB of log with {items} {what}: open in {:.2} s, {rate:.2} s per GiB, {:.0} ns each",
            took.as_secs_f64(),
            took.as_nanos() as f64 / items as f64
        );
    }
    ensure!(slowest <= args.bar, "{slowest:.2} s per GiB are more than {} s", args.bar);
    Ok(())
}

/// Measures starts.
///
/// # Errors
/// When one takes longer than the bar, or an answer is not whole.
pub(crate) fn reopen(args: &ReopenArgs) -> anyhow::Result<()> {
    // Another part of the process may have chosen a provider already; either will do for loopback.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let n_batches = args.samples.div_ceil(SERIES * STEPS);
    runtime.block_on(async {
        let store = open(folder.path(), StoreConfig::default()).await?;
        for batch in 0..n_batches {
            store.appender().metrics(&TenantId::default(), metrics(batch)?).await?;
        }
        for batch in 0..args.lines.div_ceil(LINES) {
            store.appender().logs(&TenantId::default(), logs(batch)?).await?;
        }
        store.flush().await?;
        let status = store.status();
        let (rows, bytes) =
            status.tables.iter().fold((0, 0), |sum, table| (sum.0 + table.n_rows, sum.1 + table.bytes));
        println!("{rows} rows in {} MiB on the disk", bytes >> 20);
        store.shutdown().await?;
        anyhow::Ok(())
    })?;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let (opened, answered) = runtime.block_on(async {
            let started = moment();
            let store = open(folder.path(), StoreConfig::default()).await?;
            let opened = started.elapsed();
            let budget = Budget::new(Limits::default(), Arc::new(SystemClock::default()));
            let matchers = [Matcher::equal("instance", "host-7:9100")];
            let end = BASE_MS + (n_batches * STEPS) as i64 * 15_000;
            let select = Select { matchers: &matchers, span: SpanMs { start: end - 3_600_000, end } };
            let selection = store.reader().select(&TenantId::default(), &select, &budget)?;
            let mut n = 0;
            selection.read(0..selection.series().len(), &budget, &mut |_, found| n += found.t_ms.len())?;
            let answered = started.elapsed();
            ensure!(n > 0 && selection.missing().is_empty(), "an answer with {n} samples");
            store.shutdown().await?;
            anyhow::Ok((opened, answered))
        })?;
        println!("open in {opened:.0?}, first query answered after {answered:.0?}");
        slowest = slowest.max(answered);
    }
    let bin = subject::binary(args.bin.as_deref(), "greylight")?;
    for _ in 0..3 {
        let mut server = Server::start(&bin, folder.path())?;
        println!("{} ready in {:.0?}", bin.display(), server.ready_in);
        slowest = slowest.max(server.ready_in);
        server.kill()?;
    }
    ensure!(slowest.as_secs_f64() <= args.bar, "{slowest:.2?} are more than {} s", args.bar);
    Ok(())
}
