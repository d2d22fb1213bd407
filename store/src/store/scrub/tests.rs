//! Tests of this module.

use std::io;

use super::*;
use crate::config::ByteSize;
use crate::disk::{Fault, Operation};
use crate::store::tests::{Model, NOW_MS, Rig, everything, found, log_batch, put, sample};
use crate::store::{JobStatus, Store};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lets time pass a second at a time until something has happened.
async fn pass_time(rig: &Rig, what: &str, mut happened: impl FnMut() -> bool) {
    let mut rounds = 0;
    while !happened() {
        rounds += 1;
        assert!(rounds < 20_000, "{what} does not happen");
        rig.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
    }
}

fn check_of(store: &Store) -> JobStatus {
    store.status().jobs.into_iter().find(|job| job.name == "check").expect("it is listed")
}

/// A store with two segments of metrics, opened anew so that a pass begins.
async fn rig_with_segments() -> (Rig, Model) {
    let rig = Rig::new();
    let store = rig.open().await;
    let mut model = Model::new();
    put(&store, &mut model, &[sample("a", NOW_MS, 1.0), sample("a", NOW_MS - 86_400_000, 2.0)]).await;
    store.flush().await.unwrap();
    store.shutdown().await.unwrap();
    (rig, model)
}

fn damage_one(rig: &Rig) {
    let files = rig.memory.files();
    let path = files.iter().find(|f| f.to_string_lossy().ends_with("samples.parquet")).unwrap();
    rig.memory.damage(path, |bytes| bytes[6] ^= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_although_nobody_reads_and_is_out_of_answers_then() {
    let (rig, model) = rig_with_segments().await;
    let store = rig.open().await;
    pass_time(&rig, "the first pass", || check_of(&store).next_at.is_some()).await;
    let status = store.status();
    let bytes: u64 = status.tables.iter().map(|table| table.bytes).sum();
    assert_eq!((status.scrubbed_bytes, status.n_damaged, check_of(&store).n_done), (bytes, 0, 2));
    assert_eq!(check_of(&store).error, None);
    damage_one(&rig);
    rig.clock.advance(DAY);
    pass_time(&rig, "finding the damage", || store.status().n_damaged == 1).await;
    let job = check_of(&store);
    assert!(job.error.as_ref().is_some_and(|e| e.contains("checksum")), "{job:?}");
    let (found, missing) = everything(&store.reader(), &rig.clock);
    assert_eq!((found.len(), missing.len()), (model.len() - 1, 1), "{missing:?}");
    store.shutdown().await.unwrap();
    let store = rig.open().await;
    assert_eq!(store.status().missing, missing, "it is remembered");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept_and_zero_means_never() {
    let (mut rig, _) = rig_with_segments().await;
    damage_one(&rig);
    rig.config.scrub_bytes_per_second = ByteSize(0);
    let store = rig.open().await;
    for _ in 0..50 {
        rig.clock.advance(DAY);
        tokio::task::yield_now().await;
    }
    assert_eq!((store.status().scrubbed_bytes, check_of(&store).last_at), (0, None));
    store.shutdown().await.unwrap();
    for rate in [64 << 10, 1 << 20] {
        let (mut rig, _) = rig_with_segments().await;
        rig.config.scrub_bytes_per_second = ByteSize(rate);
        let store = rig.open().await;
        let begun = rig.clock.elapsed();
        let bytes: u64 = store.status().tables.iter().map(|table| table.bytes).sum();
        // Steps far smaller than what the rate allows for a file, so that rounding does not show.
        let mut rounds = 0;
        while check_of(&store).next_at.is_none() {
            rounds += 1;
            assert!(rounds < 200_000, "the pass does not end");
            rig.clock.advance(Duration::from_millis(1));
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
        let took = (rig.clock.elapsed() - begun).as_secs_f64();
        assert!(took >= bytes as f64 / rate as f64, "{bytes} bytes took {took} s at {rate}");
        store.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_is_said_and_taken_for_no_damage() {
    let (rig, model) = rig_with_segments().await;
    let store = rig.open().await;
    pass_time(&rig, "the first pass", || check_of(&store).next_at.is_some()).await;
    let error = io::ErrorKind::Other;
    rig.faulty.inject(Fault { operation: Operation::Read, after: 1, error, short: 0, for_ever: false });
    rig.clock.advance(DAY);
    pass_time(&rig, "the failure", || check_of(&store).n_failed > 0).await;
    assert!(check_of(&store).error.is_some());
    assert_eq!((store.status().n_damaged, everything(&store.reader(), &rig.clock).0), (0, model));
    rig.clock.advance(DAY);
    pass_time(&rig, "a clean pass", || check_of(&store).error.is_none()).await;
    store.shutdown().await.unwrap();
}

fn index_of(rig: &Rig) -> std::path::PathBuf {
    let files = rig.memory.files();
    files.into_iter().find(|f| f.extension().is_some_and(|e| e == "index")).expect("there is an index")
}

/// What each kind of damage to an index leads to: it is made anew from the rows, and nothing is out of answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_made_anew_from_its_rows() {
    use crate::disk::Disk as _;
    let mut rig = Rig::new();
    let store = rig.open().await;
    let tenant = crate::model::TenantId::default();
    let batch = log_batch(&["one line of several words", "another 17 lines"]);
    store.appender().logs(&tenant, batch).await.unwrap();
    store.flush().await.unwrap();
    store.shutdown().await.unwrap();
    let mends = |store: &Store| store.status().missing.is_empty() && store.status().n_damaged == 0;
    // Found when the store opens: missing, or of another length. Found by the scrub: bits that flipped.
    for kind in ["missing", "cut", "flipped", "flipped, no scrub"] {
        let path = index_of(&rig);
        match kind {
            "missing" => rig.memory.remove(&path).unwrap(),
            "cut" => rig.memory.damage(&path, |bytes| bytes.truncate(bytes.len() / 2)),
            _ => rig.memory.damage(&path, |bytes| bytes[9] ^= 4),
        }
        if kind == "flipped, no scrub" {
            rig.config.scrub_bytes_per_second = ByteSize(0);
        }
        let store = rig.open().await;
        if kind == "flipped, no scrub" {
            // A search meets it.
            assert_eq!(
                found(&store.reader(), &rig.clock, "several"),
                [(NOW_MS, "one line of several words".to_owned())]
            );
        }
        let is_whole = || {
            rig.memory.read(&index_of(&rig)).is_ok_and(|bytes| {
                let metas = store.inner.current.snapshot.load().metas();
                let file = metas.iter().flat_map(|meta| &meta.files).find(|file| file.path == index_of(&rig));
                file.is_some_and(|file| {
                    *blake3::hash(&bytes).as_bytes() == file.blake3 && bytes.len() as u64 == file.bytes
                })
            })
        };
        let has_index = || rig.memory.files().iter().any(|f| f.extension().is_some_and(|e| e == "index"));
        pass_time(&rig, kind, || has_index() && is_whole()).await;
        assert!(mends(&store), "{kind}: {:?}", store.status());
        assert_eq!(
            found(&store.reader(), &rig.clock, "several"),
            [(NOW_MS, "one line of several words".to_owned())]
        );
        assert!(store.verify().await.unwrap().is_clean(), "{kind}");
        store.shutdown().await.unwrap();
    }
    // Rows that are damaged as well cannot give an index.
    let path = index_of(&rig);
    rig.memory.remove(&path).unwrap();
    rig.memory.damage(&path.with_extension("parquet"), |bytes| bytes[6] ^= 1);
    let store = rig.open().await;
    pass_time(&rig, "finding the damage", || store.status().n_damaged == 1).await;
    assert_eq!(store.status().missing.len(), 1);
    store.shutdown().await.unwrap();
}

fn rollup_of(rig: &Rig) -> Option<std::path::PathBuf> {
    rig.memory.files().into_iter().find(|f| f.extension().is_some_and(|e| e == "rollup-1h"))
}

/// What each kind of damage to a rollup leads to: it is dropped, the rows answer, and nothing is out of answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_rollup_is_dropped_and_the_rows_answer() {
    use crate::disk::Disk as _;
    use crate::read::{Budget, Limits, MetricSource as _, Select, SpanMs, WholeBuckets};
    for kind in ["missing", "cut", "flipped", "flipped, no scrub"] {
        let mut rig = Rig::new();
        let store = rig.open().await;
        let mut model = Model::new();
        let before = NOW_MS - 3 * 86_400_000;
        let samples: Vec<_> = (0..600).map(|i| sample("a", before + i * 60_000, i as f64)).collect();
        put(&store, &mut model, &samples).await;
        store.flush().await.unwrap();
        store.shutdown().await.unwrap();
        let path = rollup_of(&rig).expect("a day of minutes has a rollup by hours");
        match kind {
            "missing" => rig.memory.remove(&path).unwrap(),
            "cut" => rig.memory.damage(&path, |bytes| bytes.truncate(bytes.len() / 2)),
            _ => rig.memory.damage(&path, |bytes| bytes[30] ^= 4),
        }
        if kind == "flipped, no scrub" {
            rig.config.scrub_bytes_per_second = ByteSize(0);
        }
        let store = rig.open().await;
        let count = || {
            let tenant = crate::model::TenantId::default();
            let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
            let select = Select { matchers: &[], span: SpanMs::ALL };
            let buckets = WholeBuckets { every_ms: 3_600_000, falls: true };
            let selection = store.reader().select_buckets(&tenant, &select, buckets, &budget).unwrap();
            let mut n = 0;
            selection.read(0..1, &budget, &mut |_, samples| n += samples.t_ms.len()).unwrap();
            (n, budget.rolled())
        };
        if kind == "flipped, no scrub" {
            // A query meets it.
            assert_eq!(count(), (600, (0, 0)));
        }
        let is_dropped = || {
            let metas = store.inner.current.snapshot.load().metas();
            rollup_of(&rig).is_none() && metas.iter().all(|meta| meta.files.len() == 2)
        };
        pass_time(&rig, kind, is_dropped).await;
        assert_eq!(count(), (600, (0, 0)), "{kind}");
        assert_eq!(everything(&store.reader(), &rig.clock).0, model, "{kind}");
        let status = store.status();
        assert!(status.missing.is_empty() && status.n_damaged == 0, "{kind}: {status:?}");
        assert!(store.verify().await.unwrap().is_clean(), "{kind}");
        store.shutdown().await.unwrap();
    }
}
