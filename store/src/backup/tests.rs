//! Tests of this module.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::*;
use crate::append::{LogBatch, MetricBatch};
use crate::config::StoreConfig;
use crate::logs::{Flow, LogSelect, LogSource, Order, Query};
use crate::model::{Labels, LogRecord, ManualClock, TenantId, TimeRange};
use crate::read::{Budget, Limits, MetricSource, Select, SpanMs};
use crate::store::Store;

const NOW_MS: i64 = 1_795_255_200_000;

async fn open(folder: &Path) -> Store {
    Store::open(StoreConfig::default(), StoreEnv::on_folder(folder).unwrap()).await.unwrap()
}

/// Sends sample `i` of a series and record `i`.
async fn put(store: &Store, i: i64) {
    let mut batch = MetricBatch::default();
    batch.start_sorted([("__name__", "a")]).unwrap().push(NOW_MS + i, i as f64);
    store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    let time = Timestamp::from_millis(NOW_MS + i);
    let record = LogRecord {
        time,
        observed_time: time,
        severity_number: 9,
        severity_text: String::new(),
        body: format!("line {i}"),
        labels: Labels::from_pairs([("service_name", "cart")]).unwrap(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    };
    store.appender().logs(&TenantId::default(), LogBatch { records: vec![record] }).await.unwrap();
}

/// Reads everything back: which samples there are and which records, each of which must be there once.
fn contents(store: &Store) -> (Vec<i64>, Vec<i64>) {
    let clock = ManualClock::at(Timestamp::from_millis(NOW_MS));
    let budget = Budget::new(Limits::default(), Arc::new(clock));
    let (reader, tenant) = (store.reader(), TenantId::default());
    let selection = reader.select(&tenant, &Select { matchers: &[], span: SpanMs::ALL }, &budget).unwrap();
    assert!(selection.missing().is_empty(), "{:?}", selection.missing());
    let mut samples = BTreeMap::new();
    let n = selection.series().len();
    let visited = selection.read(0..n, &budget, &mut |_, found| {
        for (t, v) in found.t_ms.iter().zip(found.values) {
            assert_eq!((t - NOW_MS) as f64, *v, "a value is what was sent");
            assert!(samples.insert(t - NOW_MS, *v).is_none(), "a sample comes once");
        }
    });
    visited.unwrap();
    let select = LogSelect { query: Query::parse("*").unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
    let mut records = Vec::new();
    let missing = reader.scan(&tenant, &select, Order::OldestFirst, &budget, &mut |found| {
        let i = found.record.time.as_millis() - NOW_MS;
        assert_eq!(found.record.body, format!("line {i}"));
        records.push(i);
        Flow::Continue
    });
    assert_eq!(missing.unwrap(), [""; 0]);
    records.sort_unstable();
    (samples.into_keys().collect(), records)
}

fn upto(n: i64) -> (Vec<i64>, Vec<i64>) {
    ((0..n).collect(), (0..n).collect())
}

/// Makes a folder with 30 samples and records, some in segments and some in the log only.
async fn folder_at_rest() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    for i in 0..30 {
        put(&store, i).await;
        if i == 19 {
            store.flush().await.unwrap();
        }
    }
    store.shutdown().await.unwrap();
    data
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_it_once() {
    let (data, backups, again) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(data.path()).await;
    let (acknowledged, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let (store, acknowledged, stop) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Acquire) {
                let i = acknowledged.load(Ordering::Acquire);
                put(&store, i).await;
                acknowledged.store(i + 1, Ordering::Release);
            }
        }
    });
    let mut expected = Vec::new();
    for round in 0..4 {
        while acknowledged.load(Ordering::Acquire) < (round + 1) * 10 {
            tokio::task::yield_now().await;
        }
        let before = acknowledged.load(Ordering::Acquire);
        let target = backups.path().join(round.to_string());
        // Merging goes on beside it, as far as a backup lets it.
        let (made, flushed) = tokio::join!(store.backup(&target), store.flush());
        flushed.unwrap();
        let report = made.unwrap();
        assert!(report.n_segments > 0 && report.n_linked > 0, "{report:?}");
        expected.push((target, before, acknowledged.load(Ordering::Acquire)));
    }
    stop.store(true, Ordering::Release);
    load.await.unwrap();
    store.shutdown().await.unwrap();
    drop(store);
    // What the server does later does not touch a backup.
    std::fs::remove_dir_all(data.path()).unwrap();
    for (target, before, after) in expected {
        let restored = again.path().join(target.file_name().unwrap());
        restore(&target, &restored, None).await.unwrap();
        let report = crate::store::verify(&StoreEnv::on_folder(&restored).unwrap()).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        let store = open(&restored).await;
        let (samples, records) = contents(&store);
        assert!(samples.len() as i64 >= before && samples.len() as i64 <= after + 1, "{before} {after}");
        assert_eq!(samples, upto(samples.len() as i64).0);
        assert!(records.len() as i64 >= before, "{} of {before}", records.len());
        assert_eq!(records, upto(records.len() as i64).1);
        let next = samples.len() as i64;
        if records.len() as i64 == next {
            put(&store, next).await;
            assert_eq!(contents(&store), upto(next + 1), "a restored store takes more");
        }
        store.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_at_rest_is_backed_up_with_its_log_and_left_as_it_was() {
    let data = folder_at_rest().await;
    let out = tempfile::tempdir().unwrap();
    let (target, restored) = (out.path().join("backup"), out.path().join("restored"));
    let wal_before: Vec<_> = files_under(&data.path().join("wal"));
    let report = backup(data.path(), None, &target).await.unwrap();
    assert_eq!(files_under(&data.path().join("wal")), wal_before);
    assert!(report.n_linked >= 4, "{report:?}");
    let links = |path: PathBuf| std::fs::metadata(path).unwrap().nlink();
    assert!(
        files_under(&target.join("tenants")).into_iter().map(links).all(|n| n == 2),
        "segments are links"
    );
    assert!(files_under(&target.join("wal")).into_iter().map(links).all(|n| n == 1), "the log is a copy");
    let again = restore(&target, &restored, None).await.unwrap();
    assert_eq!(BackupReport { n_linked: report.n_linked, ..again }, report);
    assert!(files_under(&restored).into_iter().map(links).all(|n| n == 1), "nothing is shared");
    let store = open(&restored).await;
    assert_eq!(contents(&store), upto(30));
    assert!(store.status().wal.n_replayed > 0);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_the_file_named() {
    let data = folder_at_rest().await;
    let out = tempfile::tempdir().unwrap();
    let restored = out.path().join("restored");
    let target = out.path().join("backup");
    backup(data.path(), None, &target).await.unwrap();
    let files: Vec<PathBuf> = files_under(&target).into_iter().filter(|f| !f.ends_with("LOCK")).collect();
    assert!(files.len() >= 7, "catalog, manifest, log and two segments: {files:?}");
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x80;
        // Links are broken first: this damages the backup alone.
        let rewrite = |bytes: &[u8]| {
            let disk = OsDisk::reading(file.parent().unwrap());
            disk.write_atomic(Path::new(file.file_name().unwrap()), bytes).unwrap();
        };
        rewrite(&damaged);
        let error = restore(&target, &restored, None).await.unwrap_err();
        let name = file.strip_prefix(&target).unwrap().display().to_string();
        assert!(matches!(error, BackupError::Damaged { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(&name), "{error} does not name {name}");
        assert!(!restored.exists(), "nothing is left behind");
        rewrite(&whole);
    }
    restore(&target, &restored, None).await.unwrap();
    let twice = restore(&target, &restored, None).await.unwrap_err();
    assert!(matches!(twice, BackupError::NotEmpty(_)) && twice.kind() == ErrorKind::Conflict, "{twice}");
    assert!(matches!(backup(data.path(), None, &target).await, Err(BackupError::NotEmpty(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_damaged_at_the_source_is_named_and_the_next_backup_goes_without_it() {
    let data = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    put(&store, 0).await;
    store.flush().await.unwrap();
    let file = files_under(&data.path().join("tenants/default/logs")).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[9] ^= 1;
    OsDisk::reading(file.parent().unwrap())
        .write_atomic(Path::new(file.file_name().unwrap()), &bytes)
        .unwrap();
    let error = store.backup(&out.path().join("one")).await.unwrap_err();
    assert!(matches!(&error, BackupError::Damaged { path, .. } if file.ends_with(path)), "{error}");
    assert!(!out.path().join("one").exists());
    assert_eq!(store.status().missing.len(), 1);
    let report = store.backup(&out.path().join("two")).await.unwrap();
    assert_eq!((report.n_segments, report.damaged_before.len()), (1, 1), "{report:?}");
    store.shutdown().await.unwrap();
    restore(&out.path().join("two"), &out.path().join("restored"), None).await.unwrap();
    let store = open(&out.path().join("restored")).await;
    assert_eq!(store.status().missing.len(), 1, "what is known of damage is restored as well");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_backs_up_only_below_the_folder_it_was_given() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(data.path()).await;
    assert!(matches!(store.backup_below("x").await, Err(BackupError::NoFolder)));
    store.shutdown().await.unwrap();
    drop(store);
    let config = StoreConfig { backup_folder: Some(out.path().join("backups")), ..StoreConfig::default() };
    let store = Store::open(config, StoreEnv::on_folder(data.path()).unwrap()).await.unwrap();
    for path in ["../x", "/tmp/x", "", "a/../../x", "."] {
        let error = store.backup_below(path).await.unwrap_err();
        assert!(matches!(error, BackupError::Outside(_)) && error.kind() == ErrorKind::Invalid, "{path}");
    }
    store.backup_below("daily/1").await.unwrap();
    assert!(out.path().join("backups/daily/1").join(MANIFEST).is_file());
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_or_no_data_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let (nothing, target) = (out.path().join("nothing"), out.path().join("target"));
    std::fs::create_dir(&nothing).unwrap();
    assert!(matches!(backup(&nothing, None, &target).await, Err(BackupError::Nothing { .. })));
    let error = restore(&nothing, &target, None).await.unwrap_err();
    assert!(error.to_string().contains(MANIFEST), "{error}");
    OsDisk::reading(&nothing).write_atomic(Path::new(MANIFEST), b"{\"format\": 9}").unwrap();
    let error = restore(&nothing, &target, None).await.unwrap_err();
    assert!(error.to_string().contains("format 9, this release knows up to 1"), "{error}");
    assert!(!target.exists());
}
