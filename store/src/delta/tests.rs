//! Tests of this module.

use std::sync::Arc;

use super::*;
use crate::disk::{Fault, FaultyDisk, MemDisk, Operation};
use crate::model::SeededRandom;
use crate::read::SpanMs;
use crate::segment::{SegmentFile, SegmentId};

const HOUR_MS: i64 = 3_600_000;

fn segment(disk: &dyn Disk, id: u64) -> SegmentMeta {
    let folder = Path::new("tenants/shop/metrics/date=2026-11-21");
    disk.create_dir_all(folder).unwrap();
    let file = |end: &str| {
        let path = folder.join(format!("{id:016x}.{end}.parquet"));
        if disk.open(&path).is_err() {
            disk.write_atomic(&path, end.as_bytes()).unwrap();
        }
        SegmentFile { path, bytes: end.len() as u64, blake3: [0; 32] }
    };
    let span = SpanMs { start: 1_795_255_200_000, end: 1_795_255_260_000 };
    SegmentMeta {
        id: SegmentId(id),
        tenant: TenantId::new("shop").unwrap(),
        table: Table::Metrics,
        level: 0,
        window: span,
        span,
        n_rows: 3,
        n_series: 1,
        sequence: id,
        files: vec![file("samples"), file("series")],
    }
}

fn publish(disk: &dyn Disk, segments: &[SegmentMeta], now_h: i64) -> Result<Published, DeltaError> {
    let now = Timestamp::from_millis(1_795_255_200_000 + now_h * HOUR_MS);
    let random = SeededRandom::new(1);
    Publisher { disk, random: &random, now, keep: Duration::from_secs(3600) }.publish(segments)
}

/// Files that a table has, by its log.
fn files(disk: &dyn Disk, kind: Kind) -> Vec<String> {
    Log::read(disk, &Path::new("delta/shop").join(kind.name())).unwrap().paths().cloned().collect()
}

fn links(disk: &MemDisk) -> usize {
    disk.files()
        .iter()
        .filter(|f| {
            f.starts_with("delta")
                && f.extension().is_some_and(|e| e == "parquet")
                && !f.to_string_lossy().contains("checkpoint")
        })
        .count()
}

#[test]
fn a_table_has_the_files_of_the_segments_and_lets_go_of_them_later() {
    let disk = MemDisk::default();
    let (a, b) = (segment(&disk, 1), segment(&disk, 2));
    let done = publish(&disk, &[a.clone(), b.clone()], 0).unwrap();
    assert_eq!(done, Published { n_tables: 2, n_added: 4, n_removed: 0 });
    assert_eq!(files(&disk, Kind::Series).len(), 2);
    assert_eq!(files(&disk, Kind::Samples)[0], "date=2026-11-21/0000000000000001.samples.parquet");
    let linked = Path::new("delta/shop/samples/date=2026-11-21/0000000000000001.samples.parquet");
    assert_eq!(disk.read(linked).unwrap(), b"samples".as_slice());
    // Nothing new: no commit.
    publish(&disk, &[a.clone(), b.clone()], 0).unwrap();
    assert_eq!(Log::read(&disk, Path::new("delta/shop/samples")).unwrap().version(), Some(0));
    let done = publish(&disk, std::slice::from_ref(&b), 1).unwrap();
    assert_eq!((done.n_added, done.n_removed, links(&disk)), (0, 2, 4));
    publish(&disk, std::slice::from_ref(&b), 3).unwrap();
    assert_eq!((files(&disk, Kind::Samples).len(), links(&disk)), (1, 2), "an hour later nobody reads it");
    let done = publish(&disk, &[], 3).unwrap();
    assert_eq!((done.n_tables, done.n_removed), (2, 2));
    // Out of answers for a while, and back.
    publish(&disk, &[b], 4).unwrap();
    assert_eq!(files(&disk, Kind::Samples).len(), 1);
}

#[test]
fn checkpoints_keep_the_log_short_and_say_the_same() {
    let disk = MemDisk::default();
    let mut live = vec![segment(&disk, 1)];
    for n in 2..=100 {
        publish(&disk, &live, 0).unwrap();
        live.push(segment(&disk, n));
        if n % 3 == 0 {
            live.remove(0);
        }
    }
    publish(&disk, &live, 0).unwrap();
    let log = Log::read(&disk, Path::new("delta/shop/samples")).unwrap();
    assert_eq!((log.version(), log.paths().count()), (Some(99), live.len()));
    let want: Vec<Value> =
        live.iter().map(|meta| Kind::Samples.add(meta, Timestamp::from_millis(0)).unwrap().1).collect();
    for add in want {
        let path = add["add"]["path"].as_str().unwrap();
        assert!(log.has(path), "{path}");
    }
    let n = |end: &str| {
        disk.files()
            .iter()
            .filter(|f| f.starts_with("delta/shop/samples/_delta_log") && f.to_string_lossy().ends_with(end))
            .count()
    };
    assert_eq!(n(".checkpoint.parquet"), 2);
    assert!(n(".json") < 80, "{} commits", n(".json"));
}

#[test]
fn a_death_at_any_change_leaves_a_table_that_the_next_publication_makes_right() {
    for after in 0.. {
        let memory = MemDisk::default();
        let segments = [segment(&memory, 1), segment(&memory, 2)];
        publish(&memory, &segments[..1], 0).unwrap();
        let faulty = FaultyDisk::new(Arc::new(memory.clone()));
        let error = io::ErrorKind::Other;
        faulty.inject(Fault { operation: Operation::Change, after, error, short: 3, for_ever: true });
        let done = publish(&faulty, &segments[1..], 0);
        memory.crash(0);
        for kind in Kind::ALL {
            let found = files(&memory, kind);
            let all_there = found
                .iter()
                .all(|file| memory.open(&Path::new("delta/shop").join(kind.name()).join(file)).is_ok());
            assert!(found.len() == 1 && all_there, "after {after}: {found:?}");
        }
        publish(&memory, &segments, 0).unwrap();
        assert_eq!(files(&memory, Kind::Samples).len(), 2);
        if done.is_ok() {
            assert!(after > 4, "nothing was tried");
            return;
        }
    }
}

#[test]
fn a_damaged_log_is_named_with_the_way_out() {
    let disk = MemDisk::default();
    publish(&disk, &[segment(&disk, 1)], 0).unwrap();
    let path = Path::new("delta/shop/series/_delta_log/00000000000000000000.json");
    disk.damage(path, |bytes| bytes[0] = b'x');
    let error = publish(&disk, &[segment(&disk, 1)], 0).unwrap_err().to_string();
    assert!(error.contains("remove the folder delta/shop/series"), "{error}");
    disk.remove(path).unwrap();
    assert_eq!(publish(&disk, &[segment(&disk, 1)], 0).unwrap().n_added, 1);
}
