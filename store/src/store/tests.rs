//! Tests of this module.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::append::{AppendError, LogBatch, MetricBatch, MetricKind};
use crate::config::{ByteSize, RetentionConfig};
use crate::disk::{Fault, FaultyDisk, MemDisk, Operation};
use crate::logs::{Flow, FoundRecord, LogSelect, LogSource, Order, Query};
use crate::model::{Labels, LogRecord, ManualClock, MatchOp, Matcher, SeededRandom, TimeRange, Timestamp};
use crate::read::{Budget, Limits, MetricSource, Select, SpanMs};
use crate::segment::Table;

pub(super) const NOW_MS: i64 = 1_795_255_200_000;

/// A folder in memory and what outlives a crash beside it.
pub(super) struct Rig {
    pub(super) memory: MemDisk,
    pub(super) faulty: FaultyDisk,
    pub(super) clock: ManualClock,
    catalog: tempfile::TempDir,
    pub(super) config: StoreConfig,
}

impl Rig {
    pub(super) fn new() -> Self {
        let memory = MemDisk::default();
        Self {
            faulty: FaultyDisk::new(Arc::new(memory.clone())),
            memory,
            clock: ManualClock::at(Timestamp::from_millis(NOW_MS)),
            catalog: tempfile::tempdir().unwrap(),
            config: StoreConfig::default(),
        }
    }

    fn env(&self) -> StoreEnv {
        StoreEnv {
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(7)),
            disk: Arc::new(self.faulty.clone()),
            catalog: CatalogAt::Sqlite(self.catalog.path().join("catalog.sqlite")),
            steps: Steps::default(),
        }
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(self.config.clone(), self.env()).await.unwrap()
    }

    /// Ends the process of a store without warning, and with the power. Whatever of it still runs
    /// finds its disk dead; the next process gets another way to the same folder.
    pub(super) async fn crash(&mut self, store: Store, keep: usize) {
        let error = io::ErrorKind::Other;
        self.faulty.inject(Fault { operation: Operation::Change, after: 0, error, short: 0, for_ever: true });
        self.memory.crash(keep);
        store.inner.stop.cancel();
        store.inner.appender.stop().await;
        store.inner.catalog.close().await;
        self.faulty = FaultyDisk::new(Arc::new(self.memory.clone()));
    }
}

pub(super) type Key = (String, i64);
pub(super) type Model = BTreeMap<Key, u64>;

fn batch(samples: &[(String, i64, f64)]) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for (name, t_ms, value) in samples {
        batch.start_sorted([("__name__", name.as_str())]).unwrap().push(*t_ms, *value);
    }
    batch
}

pub(super) fn everything(reader: &Reader, clock: &ManualClock) -> (Model, Vec<String>) {
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
    let select = Select { matchers: &[], span: SpanMs::ALL };
    let selection = reader.select(&TenantId::default(), &select, &budget).unwrap();
    let names: Vec<String> = selection.series().iter().map(|l| l.metric_name().to_string()).collect();
    let mut all = Model::new();
    selection
        .read(0..names.len(), &budget, &mut |i, samples| {
            assert!(samples.t_ms.is_sorted_by(|a, b| a < b), "times are distinct and sorted");
            for (t, v) in samples.t_ms.iter().zip(samples.values) {
                assert!(all.insert((names[i].clone(), *t), v.to_bits()).is_none(), "a series comes once");
            }
        })
        .unwrap();
    (all, selection.missing())
}

pub(super) async fn put(store: &Store, model: &mut Model, samples: &[(String, i64, f64)]) {
    store.appender().metrics(&TenantId::default(), batch(samples)).await.unwrap();
    model.extend(samples.iter().map(|(name, t, v)| ((name.clone(), *t), v.to_bits())));
}

pub(super) fn sample(name: &str, t_ms: i64, value: f64) -> (String, i64, f64) {
    (name.into(), t_ms, value)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_seen_at_once_and_after_a_crash() {
    let mut rig = Rig::new();
    let store = rig.open().await;
    let mut model = Model::new();
    put(&store, &mut model, &[sample("a", NOW_MS, 1.0), sample("b", NOW_MS, 2.5)]).await;
    put(&store, &mut model, &[sample("a", NOW_MS + 1, f64::from_bits(crate::read::STALE_NAN_BITS))]).await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock), (model, Vec::new()));
    assert_eq!(store.status().wal.n_replayed, 2);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_data_leaves_the_log_and_stays() {
    let mut rig = Rig::new();
    let store = rig.open().await;
    let mut model = Model::new();
    for i in 0..5 {
        put(
            &store,
            &mut model,
            &[sample("a", NOW_MS + i, i as f64), sample("b", NOW_MS - i * 3_600_000, 1.0)],
        )
        .await;
        store.flush().await.unwrap();
    }
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    assert!(rig.memory.files().iter().all(|f| !f.starts_with("wal")), "{:?}", rig.memory.files());
    let status = store.status();
    assert_eq!((status.head_bytes, status.tables[0].n_rows), (0, model.len() as u64));
    assert!(store.verify().await.unwrap().is_clean());
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    assert_eq!(store.status().wal.n_replayed, 0);
    // A later write of the same key answers, whether it is in the head or sealed.
    put(&store, &mut model, &[sample("a", NOW_MS, 77.0)]).await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_known_after_a_crash_and_after_a_seal() {
    let rig = Rig::new();
    let store = rig.open().await;
    let up =
        MetricMetadata { name: "up".into(), kind: MetricKind::Gauge, help: "h".into(), unit: String::new() };
    let mut batch = MetricBatch::default();
    batch.push_metadata(up.clone());
    store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    for flush in [false, true, false] {
        let store = rig.open().await;
        assert_eq!(
            store.reader().metadata(&TenantId::default(), Some("up")).unwrap(),
            std::slice::from_ref(&up)
        );
        if flush {
            store.flush().await.unwrap();
        }
        store.shutdown().await.unwrap();
    }
    assert_eq!(store.reader().metadata(&TenantId::new("other").unwrap(), None).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_one_another() {
    let rig = Rig::new();
    let store = rig.open().await;
    let other = TenantId::new("other").unwrap();
    store.appender().metrics(&other, batch(&[sample("a", NOW_MS, 1.0)])).await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, Model::new());
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, Model::new());
    assert_eq!(store.reader().tenants(), [other]);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_makes_the_store_read_only_for_ever() {
    let mut rig = Rig::new();
    let store = rig.open().await;
    let mut model = Model::new();
    put(&store, &mut model, &[sample("a", NOW_MS, 1.0)]).await;
    let error = io::ErrorKind::Other;
    rig.faulty.inject(Fault { operation: Operation::Sync, after: 0, error, short: 0, for_ever: false });
    for _ in 0..3 {
        let refused =
            store.appender().metrics(&TenantId::default(), batch(&[sample("a", NOW_MS + 1, 2.0)])).await;
        assert!(matches!(refused, Err(AppendError::ReadOnly)), "{refused:?}");
    }
    assert!(store.status().read_only);
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    put(&store, &mut model, &[sample("a", NOW_MS + 2, 2.0)]).await;
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_ingest_until_there_is_room() {
    let mut rig = Rig::new();
    rig.config.disk_free_min = ByteSize(1000);
    let store = rig.open().await;
    let mut model = Model::new();
    put(&store, &mut model, &[sample("a", NOW_MS, 1.0)]).await;
    rig.memory.set_free_bytes(Some(900));
    store.inner.watch_disk();
    let one = || batch(&[sample("a", NOW_MS + 1, 2.0)]);
    let refused = store.appender().metrics(&TenantId::default(), one()).await;
    assert!(
        matches!(refused, Err(AppendError::DiskFull { free_bytes: 900, needed_bytes: 1000 })),
        "{refused:?}"
    );
    assert!(store.status().refusing.unwrap().contains("900 bytes free"));
    // Not seen coming: the log itself finds no room.
    store.inner.gate.free_bytes.store(u64::MAX, Ordering::Relaxed);
    rig.memory.set_free_bytes(Some(5));
    let refused = store.appender().metrics(&TenantId::default(), one()).await;
    assert!(matches!(refused, Err(AppendError::DiskFull { .. })), "{refused:?}");
    rig.memory.set_free_bytes(None);
    put(&store, &mut model, &[sample("a", NOW_MS + 1, 3.0)]).await;
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_takes_nothing_and_a_large_head_makes_senders_wait() {
    let rig = Rig::new();
    let store = rig.open().await;
    // Whoever seals weighs the heads, which would let a waiting sender in before its time.
    let sealing = store.inner.sealing.lock().await;
    store.inner.gate.head_bytes.store(u64::MAX, Ordering::Relaxed);
    let one = || batch(&[sample("a", NOW_MS, 2.0)]);
    let appender = store.appender();
    let tenant = TenantId::default();
    let mut waiting = std::pin::pin!(appender.metrics(&tenant, one()));
    assert!(futures::poll!(waiting.as_mut()).is_pending(), "it waits for the heads to be sealed");
    rig.clock.advance(Duration::from_secs(9));
    let refused = waiting.await;
    assert!(matches!(refused, Err(AppendError::Overloaded { .. })), "{refused:?}");
    let mut waiting = std::pin::pin!(appender.metrics(&tenant, one()));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    store.inner.shared.weigh();
    waiting.await.unwrap();
    drop(sealing);
    store.shutdown().await.unwrap();
    assert!(matches!(appender.metrics(&TenantId::default(), one()).await, Err(AppendError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_is_out_of_answers_which_say_so() {
    let rig = Rig::new();
    let store = rig.open().await;
    let mut model = Model::new();
    put(&store, &mut model, &[sample("a", NOW_MS, 1.0), sample("a", NOW_MS - 7_200_000, 2.0)]).await;
    store.flush().await.unwrap();
    let path = rig.memory.files().into_iter().find(|f| f.starts_with("tenants")).unwrap();
    rig.memory.damage(&path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    });
    let report = store.verify().await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    for restart in [false, true] {
        let store = if restart { rig.open().await } else { store.clone() };
        let (found, missing) = everything(&store.reader(), &rig.clock);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|(key, value)| model.get(key) == Some(value)));
        assert!(missing.len() == 1 && missing[0].contains("checksum"), "{missing:?}");
        assert_eq!(store.status().missing, missing);
        store.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_drops_whole_segments_by_the_data_and_not_by_a_mad_clock() {
    let mut rig = Rig::new();
    let day = Duration::from_secs(86_400);
    rig.config.retention = RetentionConfig { metrics: Some(day * 7), ..RetentionConfig::default() };
    let store = rig.open().await;
    let mut model = Model::new();
    let days_ago = |n: i64| NOW_MS - n * 86_400_000;
    put(&store, &mut model, &[sample("a", NOW_MS, 1.0), sample("a", days_ago(5), 1.0)]).await;
    store.appender().metrics(&TenantId::default(), batch(&[sample("a", days_ago(9), 1.0)])).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    rig.clock.advance(day * 3650);
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, model, "ten years at once are not believed");
    put(&store, &mut Model::new(), &[sample("a", NOW_MS + 86_400_000 * 3, 1.0)]).await;
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0.len(), 2);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_size_drops_the_oldest_files_of_the_table_that_is_too_large() {
    let mut rig = Rig::new();
    let days_ago = |n: i64| NOW_MS - n * 86_400_000;
    let store = rig.open().await;
    let mut model = Model::new();
    for day in [3, 2, 1, 0] {
        put(&store, &mut model, &[sample("a", days_ago(day), 1.0)]).await;
    }
    let old = LogBatch { records: vec![log_record(days_ago(9), "an old line")] };
    store.appender().logs(&TenantId::default(), old).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, model, "nothing goes without a setting");
    let table = |store: &Store| {
        let tables = store.status().tables;
        tables.into_iter().find(|table| table.table == Table::Metrics).expect("it has segments")
    };
    let (bytes, n_segments) = (table(&store).bytes, table(&store).n_segments);
    assert_eq!(n_segments, 4);
    store.shutdown().await.unwrap();
    rig.config.retention.metrics_bytes = Some(ByteSize(bytes - 1));
    let store = rig.open().await;
    store.flush().await.unwrap();
    assert_eq!(table(&store).n_segments, 3);
    model.retain(|(_, t), _| *t > days_ago(3));
    assert_eq!(everything(&store.reader(), &rig.clock), (model, Vec::new()));
    assert_eq!(bodies(&store.reader(), &rig.clock), ["an old line"], "logs have a size of their own");
    assert!(store.verify().await.unwrap().is_clean());
    let files = rig.memory.files();
    assert_eq!(files.iter().filter(|f| f.to_string_lossy().contains("/metrics/")).count(), 6, "{files:?}");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_nobody_knows_are_removed_at_the_start() {
    let rig = Rig::new();
    let store = rig.open().await;
    put(&store, &mut Model::new(), &[sample("a", NOW_MS, 1.0)]).await;
    store.flush().await.unwrap();
    store.shutdown().await.unwrap();
    let before = rig.memory.files();
    let folder = before.iter().find(|f| f.starts_with("tenants")).unwrap().parent().unwrap().to_owned();
    rig.memory.write_atomic(&folder.join("00000000000000ff.samples.parquet"), b"half").unwrap();
    let store = rig.open().await;
    assert_eq!(rig.memory.files(), before);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_sealed_by_age_and_by_size_without_being_asked() {
    for by_age in [true, false] {
        let mut rig = Rig::new();
        rig.config.head_bytes_max = ByteSize(1 << 20);
        let store = rig.open().await;
        let mut model = Model::new();
        put(&store, &mut model, &[sample("a", NOW_MS, 1.0)]).await;
        if !by_age {
            let many: Vec<_> =
                (0..20_000).map(|i| sample(&format!("m{i}"), NOW_MS, f64::from(i) / 7.0)).collect();
            put(&store, &mut model, &many).await;
        }
        let mut rounds = 0;
        while store.status().n_seals == 0 {
            rounds += 1;
            assert!(rounds < 10_000, "nothing is sealed: {:?}", store.status());
            rig.clock.advance(if by_age { Duration::from_secs(60) } else { Duration::from_secs(1) });
            // The work is done on other threads, which a busy machine lets run late.
            let _ = tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
        }
        assert_eq!(everything(&store.reader(), &rig.clock).0, model);
        store.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_every_row_once_while_all_else_goes_on() {
    let rig = Rig::new();
    let store = rig.open().await;
    let stop = CancellationToken::new();
    let (reader, clock, done) = (store.reader(), rig.clock.clone(), stop.clone());
    let watch = tokio::task::spawn_blocking(move || {
        let mut before = 0;
        let mut n_looks = 0;
        while !done.is_cancelled() {
            // Every look asserts that no key comes twice; rows are only ever added.
            let (now, missing) = everything(&reader, &clock);
            assert!(now.len() >= before, "{} rows after {before}", now.len());
            assert!(missing.is_empty(), "{missing:?}");
            before = now.len();
            n_looks += 1;
        }
        n_looks
    });
    let mut model = Model::new();
    for i in 0..60i64 {
        let samples: Vec<_> = (0..50)
            .map(|s| sample(&format!("s{s}"), NOW_MS + i * 1000 - (s % 3) * 7_200_000, i as f64))
            .collect();
        put(&store, &mut model, &samples).await;
        if i % 5 == 0 {
            store.flush().await.unwrap();
        }
    }
    stop.cancel();
    assert!(watch.await.unwrap() > 0);
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_cannot_have_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = StoreEnv::on_folder(folder.path()).unwrap();
    let second = StoreEnv::on_folder(folder.path()).unwrap_err();
    let text = std::error::Error::source(&second).unwrap().to_string();
    assert!(
        text.contains("in use by another process") && text.contains(&std::process::id().to_string()),
        "{text}"
    );
    assert_eq!(second.kind(), crate::model::ErrorKind::Conflict);
    drop(first);
    StoreEnv::on_folder(folder.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_folder_works_and_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let clock = ManualClock::at(Timestamp::from_millis(NOW_MS));
    for i in 0..3 {
        let env = StoreEnv::on_folder(folder.path()).unwrap();
        let store = Store::open(StoreConfig::default(), env).await.unwrap();
        assert_eq!(everything(&store.reader(), &clock).0, model);
        put(&store, &mut model, &[sample("a", NOW_MS + i, 1.0), sample("b", NOW_MS, i as f64)]).await;
        if i == 1 {
            store.flush().await.unwrap();
        }
        store.shutdown().await.unwrap();
        drop(store);
    }
    let env = StoreEnv::on_folder(folder.path()).unwrap();
    let report = verify(&env).await.unwrap();
    assert!(report.is_clean() && report.n_segments == 1 && report.bytes > 0, "{report:?}");
}

#[test]
fn selectors_reach_the_head_and_segments() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let rig = Rig::new();
        let store = rig.open().await;
        put(&store, &mut Model::new(), &[sample("a", NOW_MS, 1.0), sample("b", NOW_MS, 1.0)]).await;
        store.flush().await.unwrap();
        put(&store, &mut Model::new(), &[sample("ab", NOW_MS, 1.0)]).await;
        let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
        let matchers = [Matcher::new("__name__", MatchOp::Regex, "a.*").unwrap()];
        let select = Select { matchers: &matchers, span: SpanMs::ALL };
        let selection = store.reader().select(&TenantId::default(), &select, &budget).unwrap();
        let want: Vec<Labels> = ["a", "ab"].map(|n| Labels::from_pairs([("__name__", n)]).unwrap()).to_vec();
        assert_eq!(selection.series(), want);
        let sets = [];
        let names =
            store.reader().label_values(&TenantId::default(), "__name__", &sets, SpanMs::ALL, &budget);
        assert_eq!(names.unwrap(), ["a", "ab", "b"]);
        store.shutdown().await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_meets_damage_makes_it_known() {
    let mut rig = Rig::new();
    let store = rig.open().await;
    put(&store, &mut Model::new(), &[sample("a", NOW_MS, 1.0), sample("b", NOW_MS - 7_200_000, 2.0)]).await;
    store.flush().await.unwrap();
    for path in rig.memory.files().iter().filter(|f| f.starts_with("tenants")).take(2) {
        rig.memory.damage(path, |bytes| bytes.iter_mut().for_each(|b| *b ^= 0x55));
    }
    let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
    let select = Select { matchers: &[], span: SpanMs::ALL };
    // Whether the index or the rows are met first, the second look is partial and says so.
    if let Ok(first) = store.reader().select(&TenantId::default(), &select, &budget) {
        let n = first.series().len();
        let _ = first.read(0..n, &budget, &mut |_, _| {});
    }
    let (found, missing) = everything(&store.reader(), &rig.clock);
    assert_eq!((found.len(), missing.len()), (1, 1), "{missing:?}");
    store.inner.note_suspects().await.unwrap();
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, found);
    assert_eq!(store.status().missing.len(), 1);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_log_segments_is_met_once_and_every_answer_says_so() {
    for at_footer in [false, true] {
        let mut rig = Rig::new();
        let store = rig.open().await;
        let tenant = TenantId::default();
        let old = LogBatch { records: vec![log_record(NOW_MS - 7_200_000, "an old line")] };
        store.appender().logs(&tenant, old).await.unwrap();
        store.appender().logs(&tenant, log_batch(&["a new line"])).await.unwrap();
        store.flush().await.unwrap();
        let is_rows = |f: &std::path::Path| f.extension().is_some_and(|e| e == "parquet");
        let files = rig.memory.files();
        let path = files.iter().find(|f| f.starts_with("tenants") && is_rows(f)).expect("rows of logs");
        rig.memory.damage(path, |bytes| {
            let n = bytes.len();
            let damaged = if at_footer { n - 40..n } else { 4..n / 3 };
            bytes[damaged].iter_mut().for_each(|b| *b ^= 0x55);
        });
        let reader = store.reader();
        let clock = rig.clock.clone();
        let budget = || Budget::new(Limits::default(), Arc::new(clock.clone()));
        let select =
            LogSelect { query: Query::parse("line").unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
        let mut bodies = Vec::new();
        let missing = reader.scan(&tenant, &select, Order::OldestFirst, &budget(), &mut |record| {
            bodies.push(record.record.body);
            Flow::Continue
        });
        // The first answer is as good as any later one.
        assert_eq!((bodies.len(), missing.unwrap().len()), (1, 1), "{bodies:?}");
        let page = crate::logs::PageRequest { order: Order::NewestFirst, limit: 10, after: None };
        let found = reader.search(&tenant, &select, &page, &budget()).unwrap();
        assert_eq!((found.records.len(), found.missing.len()), (1, 1), "{:?}", found.missing);
        assert!(found.missing[0].contains("1 rows of logs in segment"), "{:?}", found.missing);
        let patterns = reader.patterns(&tenant, &select, 10, &budget()).unwrap();
        assert_eq!((patterns.patterns.len(), patterns.missing.len()), (1, 1));
        assert_eq!(reader.streams(&tenant, &[], TimeRange::ALL, &budget()).unwrap().len(), 1);
        store.inner.note_suspects().await.unwrap();
        assert_eq!(store.status().missing.len(), 1);
        rig.crash(store, 0).await;
        let store = rig.open().await;
        assert_eq!(store.status().missing.len(), 1, "it is remembered over a restart");
        let found = store.reader().search(&tenant, &select, &page, &budget()).unwrap();
        assert_eq!((found.records.len(), found.missing.len()), (1, 1), "{:?}", found.missing);
        store.shutdown().await.unwrap();
    }
}

pub(super) fn log_batch(bodies: &[&str]) -> LogBatch {
    LogBatch { records: bodies.iter().map(|body| log_record(NOW_MS, body)).collect() }
}

pub(super) fn log_record(t_ms: i64, body: &str) -> LogRecord {
    LogRecord {
        time: Timestamp::from_millis(t_ms),
        observed_time: Timestamp::from_millis(NOW_MS),
        severity_number: 9,
        severity_text: "INFO".into(),
        body: body.into(),
        labels: Labels::from_pairs([("service_name", "cart")]).unwrap(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    }
}

/// Every record: its time and body, sorted; one that is stored twice is here twice.
pub(super) fn records(reader: &Reader, clock: &ManualClock) -> Vec<(i64, String)> {
    found(reader, clock, "*")
}

/// Times and bodies of the records that a search finds.
pub(super) fn found(reader: &Reader, clock: &ManualClock, query: &str) -> Vec<(i64, String)> {
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
    let select =
        LogSelect { query: Query::parse(query).unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
    let mut found = Vec::new();
    let mut sink = |record: FoundRecord| {
        found.push((record.record.time.as_millis(), record.record.body.clone()));
        Flow::Continue
    };
    let missing = reader.scan(&TenantId::default(), &select, Order::OldestFirst, &budget, &mut sink).unwrap();
    assert_eq!(missing, [""; 0]);
    found.sort();
    found
}

fn bodies(reader: &Reader, clock: &ManualClock) -> Vec<String> {
    let mut bodies: Vec<String> = records(reader, clock).into_iter().map(|(_, body)| body).collect();
    bodies.sort();
    bodies
}

/// Log records about the same moments as samples, so that they are as late and as repeated.
fn records_of(samples: &[(String, i64, f64)]) -> LogBatch {
    let record =
        |(name, t_ms, value): &(String, i64, f64)| log_record(*t_ms, &format!("{name} took {value} ms"));
    LogBatch { records: samples.iter().map(record).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_records_survive_what_samples_survive_and_are_stored_once() {
    let mut rig = Rig::new();
    let store = rig.open().await;
    let tenant = TenantId::default();
    let send = async |store: &Store, bodies: &[&str]| {
        store.appender().logs(&tenant, log_batch(bodies)).await.unwrap()
    };
    assert_eq!(send(&store, &["one", "two"]).await.n_items, 2);
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(bodies(&store.reader(), &rig.clock), ["one", "two"]);
    send(&store, &["two", "three"]).await;
    assert_eq!(bodies(&store.reader(), &rig.clock), ["one", "three", "two"]);
    store.flush().await.unwrap();
    assert_eq!(bodies(&store.reader(), &rig.clock), ["one", "three", "two"]);
    send(&store, &["one", "four"]).await;
    assert_eq!(bodies(&store.reader(), &rig.clock), ["four", "one", "three", "two"]);
    store.flush().await.unwrap();
    assert!(store.verify().await.unwrap().is_clean());
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(bodies(&store.reader(), &rig.clock), ["four", "one", "three", "two"]);
    store.shutdown().await.unwrap();
}

/// One thing that happens to a store.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(u8, u16, u8)>),
    Seal,
    Flush,
    Merge,
    Advance(u8),
    Restart,
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = proptest::collection::vec((0u8..5, any::<u16>(), any::<u8>()), 1..20).prop_map(Step::Put);
    let step = prop_oneof![
        8 => put,
        2 => Just(Step::Seal),
        1 => Just(Step::Flush),
        2 => Just(Step::Merge),
        1 => (0u8..50).prop_map(Step::Advance),
        1 => Just(Step::Restart),
        2 => (0usize..100).prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..20)
}

/// Times over two days, so that windows and days are crossed, with many repeated.
fn samples_of(raw: &[(u8, u16, u8)]) -> Vec<(String, i64, f64)> {
    raw.iter()
        .map(|&(s, t, v)| (format!("s{s}"), NOW_MS - i64::from(t % 500) * 345_600, f64::from(v) / 4.0))
        .collect()
}

async fn run_model(steps: &[Step]) {
    let mut rig = Rig::new();
    let mut store = rig.open().await;
    let mut model = Model::new();
    let mut logs = BTreeSet::new();
    for step in steps {
        match step {
            Step::Put(raw) => {
                let samples = samples_of(raw);
                put(&store, &mut model, &samples).await;
                let batch = records_of(&samples);
                logs.extend(batch.records.iter().map(|r| (r.time.as_millis(), r.body.clone())));
                store.appender().logs(&TenantId::default(), batch).await.unwrap();
            }
            Step::Seal => drop(store.inner.seal().await.unwrap()),
            Step::Flush => store.flush().await.unwrap(),
            Step::Merge => drop(store.inner.merge_once(Eagerness::Background).await.unwrap()),
            Step::Advance(hours) => rig.clock.advance(Duration::from_secs(3600 * u64::from(*hours))),
            Step::Restart => {
                store.shutdown().await.unwrap();
                store = rig.open().await;
            }
            Step::Crash(keep) => {
                rig.crash(store, *keep).await;
                store = rig.open().await;
            }
        }
        let (found, missing) = everything(&store.reader(), &rig.clock);
        assert_eq!(found, model, "after {step:?}");
        assert_eq!(records(&store.reader(), &rig.clock), Vec::from_iter(logs.clone()), "after {step:?}");
        assert_eq!(missing, [""; 0]);
    }
    assert!(store.verify().await.unwrap().is_clean());
    store.shutdown().await.unwrap();
    assert!(rig.memory.files().iter().all(|f| f.extension().is_none_or(|e| e != "tmp")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_store_is_a_map_whatever_happens(steps in steps()) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(run_model(&steps));
    }
}

/// What was sent and what was acknowledged before the disk died at its `n`th change.
async fn run_until_death(n: u64) -> bool {
    let mut rig = Rig::new();
    let error = io::ErrorKind::Other;
    rig.faulty.inject(Fault { operation: Operation::Change, after: n, error, short: 3, for_ever: true });
    let mut died = true;
    let (mut sent, mut kept) = (Model::new(), Model::new());
    let (mut sent_logs, mut kept_logs) = (BTreeSet::new(), BTreeSet::new());
    if let Ok(store) = Store::open(rig.config.clone(), rig.env()).await {
        for i in 0..6i64 {
            let samples =
                [sample("a", NOW_MS + i, i as f64), sample("b", NOW_MS + i - (i % 2) * 7_200_000, 0.5)];
            let keys = || samples.iter().map(|(name, t, v)| ((name.clone(), *t), v.to_bits()));
            sent.extend(keys());
            if store.appender().metrics(&TenantId::default(), batch(&samples)).await.is_ok() {
                kept.extend(keys());
            }
            let batch = records_of(&samples);
            let keys: Vec<_> = batch.records.iter().map(|r| (r.time.as_millis(), r.body.clone())).collect();
            sent_logs.extend(keys.clone());
            if store.appender().logs(&TenantId::default(), batch).await.is_ok() {
                kept_logs.extend(keys);
            }
            if i % 2 == 1 {
                let _ = store.flush().await;
            }
        }
        died = rig.faulty.n_changes() > n;
        rig.crash(store, 0).await;
    }
    rig.faulty.heal();
    let store = rig.open().await;
    let (found, missing) = everything(&store.reader(), &rig.clock);
    for (key, value) in &kept {
        assert_eq!(found.get(key), Some(value), "lost {key:?} after death at change {n}");
    }
    for (key, value) in &found {
        assert_eq!(sent.get(key), Some(value), "invented {key:?} after death at change {n}");
    }
    let found = records(&store.reader(), &rig.clock);
    assert!(found.is_sorted_by(|a, b| a < b), "a record twice after death at change {n}");
    assert!(kept_logs.iter().all(|key| found.contains(key)), "lost a record after death at change {n}");
    assert!(found.iter().all(|key| sent_logs.contains(key)), "invented a record after death at change {n}");
    assert_eq!(missing, [""; 0]);
    store.flush().await.unwrap();
    assert!(store.verify().await.unwrap().is_clean());
    store.shutdown().await.unwrap();
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_any_change_of_the_disk_loses_nothing_acknowledged() {
    // Several at a time, since each mostly waits for the catalog's syncs. The first changes are all
    // tried, later ones, which repeat what came before, in steps that no period divides.
    const AT_ONCE: usize = 8;
    const ALL_UP_TO: u64 = 48;
    const STEP: u64 = 7;
    let mut points = (0..ALL_UP_TO).chain((ALL_UP_TO..).step_by(STEP as usize));
    let mut all_died = true;
    while all_died {
        let runs = points.by_ref().take(AT_ONCE).map(|n| tokio::spawn(run_until_death(n)));
        for run in runs.collect::<Vec<_>>() {
            all_died &= run.await.unwrap();
        }
    }
    assert!(points.next() > Some(ALL_UP_TO), "the work is too short to test anything");
}

#[test]
fn the_first_file_of_the_log_needs_no_folder_beforehand() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let rig = Rig::new();
        let store = rig.open().await;
        put(&store, &mut Model::new(), &[sample("a", NOW_MS, 1.0)]).await;
        assert!(rig.memory.open(Path::new("wal/0000000000000001.wal")).is_ok());
        store.shutdown().await.unwrap();
    });
}
