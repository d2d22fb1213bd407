//! The Delta tables are read back by the `deltalake` package of Python, which has an engine of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use greylight_store::append::MetricBatch;
use greylight_store::metrics::Deletion;
use greylight_store::model::{ManualClock, MatchOp, Matcher, TenantId, Timestamp};
use greylight_store::read::SpanMs;
use greylight_store::{Store, StoreConfig, StoreEnv};

const BASE_MS: i64 = 1_795_255_200_000;

/// Prints name, instance, milliseconds and bits of the value of each sample, the last write of each.
const SCRIPT: &str = r#"
import struct, sys
from deltalake import DeltaTable, QueryBuilder

root = sys.argv[1]
query = QueryBuilder()
for name in ("samples", "series"):
    query = query.register(name, DeltaTable(f"{root}/{name}"))
rows = query.execute("""
    SELECT s.labels['__name__'] AS name, s.labels['instance'] AS instance,
           CAST(to_timestamp_millis(m.time_ms) AS BIGINT) AS t_ms, m.sequence AS sequence, m.raw AS raw,
           m.mantissa AS mantissa, m.scale AS scale
    FROM samples m JOIN series s ON m.segment = s.segment AND m.series_id = s.series_id
    ORDER BY m.sequence
""").read_all()
column = lambda name: [value.as_py() for value in rows[name]]
found = {}
for name, instance, t, raw, mantissa, scale in zip(*map(column, ("name", "instance", "t_ms", "raw", "mantissa", "scale"))):
    value = raw if raw is not None else mantissa / 10.0 ** scale
    found[name, instance, t] = struct.unpack("<Q", struct.pack("<d", value))[0]
for (name, instance, t), bits in sorted(found.items()):
    print("row", name, instance, t, bits)
print("versions", DeltaTable(f"{root}/samples").version())
"#;

/// Finds a Python that has the package: the one that `GREYLIGHT_TEST_PYTHON` names, else that of the machine.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("GREYLIGHT_TEST_PYTHON").map(PathBuf::from);
    named.into_iter().chain(["python3".into()]).find(|python| {
        let tried = Command::new(python).args(["-c", "import deltalake"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

type Rows = BTreeMap<(String, String, i64), u64>;

/// Reads the tables back; also says how many commits there were.
fn read(python: &Path, folder: &Path) -> (Rows, u64) {
    let root = folder.join("delta/default");
    let output = Command::new(python).arg("-c").arg(SCRIPT).arg(&root).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let (mut rows, mut n_commits) = (Rows::new(), 0);
    for line in said.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["row", name, instance, t_ms, bits] => {
                let key = ((*name).to_owned(), (*instance).to_owned(), t_ms.parse().unwrap());
                assert!(rows.insert(key, bits.parse().unwrap()).is_none());
            }
            ["versions", last] => n_commits = last.parse::<u64>().unwrap() + 1,
            _ => {}
        }
    }
    (rows, n_commits)
}

async fn put(store: &Store, rows: &mut Rows, n: i64) {
    let mut batch = MetricBatch::default();
    for (name, instance) in [("cpu", "a"), ("cpu", "b"), ("gone", "a")] {
        // Decimals, a float that is none, and a sample that the next round writes again.
        let samples =
            [(n * 15_000, n as f64 / 4.0), (n * 15_000 + 5, 1.0 / (n + 3) as f64), (-n - 7_200_000, -0.0)];
        let again = (n * 15_000 + 15_000, f64::INFINITY);
        let mut writer = batch.start_sorted([("__name__", name), ("instance", instance)]).unwrap();
        for (t_ms, value) in samples.into_iter().chain([again]) {
            writer.push(BASE_MS + t_ms, value);
            rows.insert((name.into(), instance.into(), BASE_MS + t_ms), value.to_bits());
        }
    }
    store.appender().metrics(&TenantId::default(), batch).await.unwrap();
}

/// Seals and does not merge: a deletion seals first, and this one has nothing to delete.
async fn seal(store: &Store) {
    let nothing = Deletion { sets: vec![Vec::new()], span: SpanMs::ALL };
    store.delete_series(&TenantId::new("nobody").unwrap(), nothing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_reads_what_was_stored() {
    let Some(python) = python() else {
        println!("passed over: no Python here has the package deltalake");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { delta_keep: Duration::ZERO, ..StoreConfig::default() };
    // While its windows are not over, nothing is merged unasked.
    let clock = ManualClock::at(Timestamp::from_millis(BASE_MS - 7_200_000));
    let env = StoreEnv { clock: Arc::new(clock.clone()), ..StoreEnv::on_folder(folder.path()).unwrap() };
    let store = Store::open(config, env).await.unwrap();
    let mut rows = Rows::new();
    for n in 0..4 {
        put(&store, &mut rows, n).await;
        seal(&store).await;
        assert!(store.publish_delta().await.unwrap().n_added > 0);
        assert_eq!(read(&python, folder.path()).0, rows, "after {n}");
    }
    store.flush().await.unwrap();
    let merged = store.publish_delta().await.unwrap();
    assert!(merged.n_added > 0 && merged.n_removed > merged.n_added, "{merged:?}");
    assert_eq!(read(&python, folder.path()), (rows.clone(), 5));

    let gone = vec![vec![Matcher::new("__name__", MatchOp::Equal, "gone").unwrap()]];
    store.delete_series(&TenantId::default(), Deletion { sets: gone, span: SpanMs::ALL }).await.unwrap();
    rows.retain(|key, _| key.0 != "gone");
    store.publish_delta().await.unwrap();
    assert_eq!(read(&python, folder.path()).0, rows);

    // Past a checkpoint, and read from it.
    for n in 4..40 {
        put(&store, &mut rows, n).await;
        seal(&store).await;
        clock.advance(Duration::from_millis(1));
        store.publish_delta().await.unwrap();
    }
    let logs = folder.path().join("delta/default/samples/_delta_log");
    assert!(logs.join("_last_checkpoint").exists());
    for name in std::fs::read_dir(&logs).unwrap() {
        let path = name.unwrap().path();
        let version: Option<u64> = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        // Without the commits before it, the checkpoint must do.
        if version.is_some_and(|version| version < 31) {
            remove(&path);
        }
    }
    let (found, n_commits) = read(&python, folder.path());
    let differs = rows.iter().find(|(key, value)| found.get(*key) != Some(value));
    assert!(
        differs.is_none() && found.len() == rows.len(),
        "{differs:?}, {} of {} rows",
        found.len(),
        rows.len()
    );
    assert_eq!(n_commits, 42);
    store.shutdown().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "what the table's readers do without is no part of a store")]
fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}
