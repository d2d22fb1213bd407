//! A process that is killed while it stores loses nothing that it acknowledged.
//!
//! The child is this test binary, told by a variable to be one. It says on its output what was
//! acknowledged; the parent kills it after some lines, opens the folder and looks.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::logs::{Flow, LogSelect, LogSource, Order, Query};
use greylight_store::model::{
    Labels, LogRecord, Random, SeededRandom, SystemClock, TenantId, TimeRange, Timestamp,
};
use greylight_store::read::{Budget, Limits, MetricSource, Select, SpanMs};
use greylight_store::{Store, StoreConfig, StoreEnv};

const FOLDER: &str = "GREYLIGHT_TEST_KILL_FOLDER";
const FROM: &str = "GREYLIGHT_TEST_KILL_FROM";
const BASE_MS: i64 = 1_795_255_200_000;
const A_BATCH: u64 = 10;
const ROUNDS: u64 = 12;

fn time_ms(n: u64) -> i64 {
    BASE_MS + n as i64 * 10_000
}

fn metrics(from: u64) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for n in from..from + A_BATCH {
        let series = (n % 4).to_string();
        let mut writer = batch.start_sorted([("__name__", "number"), ("series", series.as_str())]).unwrap();
        writer.push(time_ms(n), n as f64);
    }
    batch
}

fn logs(from: u64) -> LogBatch {
    let record = |n: u64| LogRecord {
        time: Timestamp::from_millis(time_ms(n)),
        observed_time: Timestamp::from_millis(time_ms(n)),
        severity_number: 9,
        severity_text: "INFO".into(),
        body: format!("number {n}"),
        labels: Labels::from_pairs([("job", "kill")]).unwrap(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    };
    LogBatch { records: (from..from + A_BATCH).map(record).collect() }
}

async fn open(folder: &Path) -> Store {
    Store::open(StoreConfig::default(), StoreEnv::on_folder(folder).unwrap()).await.unwrap()
}

/// Stores numbers until it is killed, where the parent asks for it; else it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(folder), Ok(from)) = (std::env::var(FOLDER), std::env::var(FROM)) else { return };
    let store = open(Path::new(&folder)).await;
    let flushing = store.clone();
    let tenant = TenantId::default();
    // Seals and merges go on all the time, so that the kill meets them.
    tokio::spawn(async move { while flushing.flush().await.is_ok() {} });
    let mut n: u64 = from.parse().unwrap();
    loop {
        store.appender().metrics(&tenant, metrics(n)).await.unwrap();
        store.appender().logs(&tenant, logs(n)).await.unwrap();
        n += A_BATCH;
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs the child until it has said `n_lines` times what was acknowledged, and kills it.
fn run_child(folder: &Path, from: u64, n_lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = from;
    let mut n_seen = 0;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines {
        let line = line.unwrap();
        let Some(n) = line.split("acknowledged ").nth(1) else { continue };
        acknowledged = n.trim().parse().unwrap();
        n_seen += 1;
        if n_seen == n_lines {
            // What it says between here and its end was acknowledged as well; the next round sends it again.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

/// Returns how often each number is stored, as samples and as records.
fn stored(store: &Store) -> (BTreeMap<u64, u32>, BTreeMap<u64, u32>) {
    let budget = Budget::new(Limits::default(), Arc::new(SystemClock::default()));
    let (reader, tenant) = (store.reader(), TenantId::default());
    let selection = reader.select(&tenant, &Select { matchers: &[], span: SpanMs::ALL }, &budget).unwrap();
    assert_eq!(selection.missing(), [""; 0]);
    let mut samples = BTreeMap::new();
    selection
        .read(0..selection.series().len(), &budget, &mut |_, found| {
            for (t_ms, value) in found.t_ms.iter().zip(found.values) {
                let n = *value as u64;
                assert_eq!(*t_ms, time_ms(n), "a sample has the value of another");
                *samples.entry(n).or_default() += 1;
            }
        })
        .unwrap();
    let select = LogSelect { query: Query::parse("*").unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
    let mut records = BTreeMap::new();
    let missing = reader.scan(&tenant, &select, Order::OldestFirst, &budget, &mut |found| {
        let n = found.record.body.strip_prefix("number ").unwrap().parse().unwrap();
        *records.entry(n).or_default() += 1;
        Flow::Continue
    });
    assert_eq!(missing.unwrap(), [""; 0]);
    (samples, records)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let seed = 1;
    let chance = SeededRandom::new(seed);
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let n_lines = 1 + chance.next_u64() % 60;
        let path = folder.path().to_owned();
        let ran = tokio::task::spawn_blocking(move || run_child(&path, acknowledged, n_lines));
        acknowledged = ran.await.unwrap();
        let store = open(folder.path()).await;
        let (samples, records) = stored(&store);
        for (what, found) in [("samples", &samples), ("records", &records)] {
            let lost: Vec<u64> = (0..acknowledged).filter(|n| !found.contains_key(n)).collect();
            assert!(lost.is_empty(), "round {round}, seed {seed}: lost {what} {lost:?}");
            assert!(
                found.values().all(|count| *count == 1),
                "round {round}, seed {seed}: {what} stored twice"
            );
        }
        assert!(store.verify().await.unwrap().is_clean());
        store.shutdown().await.unwrap();
    }
    println!("{ROUNDS} kills, {acknowledged} samples and as many records, none lost, none twice");
}
