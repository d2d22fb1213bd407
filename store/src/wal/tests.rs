//! Tests of this module.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::recover::Recovered;
use super::*;
use crate::disk::{Disk, Fault, FaultyDisk, MemDisk, Operation};
use crate::model::{ManualClock, SeededRandom, Timestamp};
use crate::step::Steps;

type Entry = (String, Vec<u8>);

fn writer(disk: &Arc<dyn Disk>, next: u64, file_bytes: u64) -> Writer {
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let env = (Arc::clone(disk), clock as _, Arc::new(SeededRandom::new(next)) as _, Steps::default());
    Writer::new(env, file_bytes, next, ClosedFiles::default())
}

fn write(writer: &mut Writer, group: &[Entry]) -> Result<(), CommitError> {
    writer.begin()?;
    for (tenant, payload) in group {
        writer.frame(Kind::Metrics, tenant, |out| out.extend_from_slice(payload));
    }
    writer.commit().map(drop)
}

fn read(disk: &dyn Disk, covered: u64) -> (Vec<(u64, Entry)>, Recovered) {
    let mut seen = Vec::new();
    let recovered = recover(disk, covered, &mut |visit| {
        if let Visit::Frame(frame) = visit {
            seen.push((frame.sequence, (frame.tenant.to_string(), frame.payload.to_vec())));
        }
        Ok(())
    });
    (seen, recovered.unwrap())
}

fn entry(i: u64) -> Entry {
    ("t".into(), format!("payload {i} GLFR").into_bytes())
}

/// Writes frames 1 to n, one a group, and returns the disk and the log's files.
fn filled(n: u64, file_bytes: u64) -> (MemDisk, Vec<PathBuf>) {
    let memory = MemDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    let mut writer = writer(&disk, 1, file_bytes);
    for i in 1..=n {
        write(&mut writer, &[entry(i)]).unwrap();
    }
    let files = memory.files();
    (memory, files)
}

fn sequences(seen: &[(u64, Entry)]) -> Vec<u64> {
    for (sequence, found) in seen {
        assert_eq!(*found, entry(*sequence), "a frame that was not written");
    }
    seen.iter().map(|(sequence, _)| *sequence).collect()
}

#[test]
fn what_was_committed_survives_a_crash_and_the_rest_does_not_count() {
    let memory = MemDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    let mut log = writer(&disk, 1, 1 << 20);
    write(&mut log, &[entry(1), entry(2)]).unwrap();
    write(&mut log, &[entry(3)]).unwrap();
    log.begin().unwrap();
    log.frame(Kind::Logs, "t", |out| out.push(1));
    memory.crash(0);
    let (seen, recovered) = read(disk.as_ref(), 0);
    assert_eq!(sequences(&seen), [1, 2, 3]);
    assert_eq!((recovered.next_sequence, recovered.torn_bytes), (4, 0));
    assert_eq!(recovered.damage(), [""; 0]);
}

#[test]
fn every_torn_end_starts_and_gives_a_prefix() {
    let (memory, files) = filled(3, 1 << 20);
    let whole = memory.read(&files[0]).unwrap();
    for len in 0..whole.len() {
        let (memory, files) = filled(3, 1 << 20);
        memory.damage(&files[0], |bytes| bytes.truncate(len));
        let (seen, recovered) = read(&memory, 0);
        let sequences = sequences(&seen);
        let n = sequences.len() as u64;
        assert_eq!(sequences, (1..=n).collect::<Vec<_>>());
        assert_eq!(recovered.damage(), [""; 0], "a torn end is no damage, at {len}");
        assert_eq!(recovered.next_sequence, n + 1);
        let kept = memory.read(&files[0]).map_or(0, |b| b.len());
        assert_eq!(kept + recovered.torn_bytes as usize, len);
        // What was cut off stays cut off, and the log goes on where it ended.
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        write(&mut writer(&disk, n + 1, 1 << 20), &[entry(n + 1)]).unwrap();
        let (seen, recovered) = read(disk.as_ref(), 0);
        assert_eq!(self::sequences(&seen), (1..=n + 1).collect::<Vec<_>>());
        assert_eq!(recovered.torn_bytes, 0);
    }
}

#[test]
fn a_damaged_middle_is_skipped_kept_and_reported() {
    let (memory, files) = filled(5, 1 << 20);
    memory.damage(&files[0], |bytes| {
        let at = memchr::memmem::find(bytes, b"payload 2").unwrap();
        bytes[at] ^= 1;
    });
    let (seen, recovered) = read(&memory, 0);
    assert_eq!(sequences(&seen), [1, 3, 4, 5]);
    assert_eq!(recovered.damage().len(), 1);
    assert!(recovered.damage()[0].contains("frame 2 is missing"), "{:?}", recovered.damage());
    assert!(memory.files().contains(&Path::new("quarantine/0000000000000001.wal").to_path_buf()));
}

#[test]
fn one_header_copy_is_enough_and_without_both_the_other_files_go_on() {
    let (memory, files) = filled(6, 150);
    assert!(files.len() > 2, "{files:?}");
    memory.damage(&files[0], |bytes| bytes[20] ^= 1);
    assert_eq!(sequences(&read(&memory, 0).0).len(), 6);
    memory.damage(&files[0], |bytes| bytes[70] ^= 1);
    let (seen, recovered) = read(&memory, 0);
    let second: u64 = sequences(&seen)[0];
    assert!(second > 1 && seen.last().unwrap().0 == 6);
    assert_eq!(recovered.damage().len(), 1, "{:?}", recovered.damage());
    assert!(recovered.damage()[0].contains("header"), "{:?}", recovered.damage());
}

#[test]
fn a_file_that_vanished_is_reported() {
    let (memory, files) = filled(6, 150);
    memory.remove(&files[1]).unwrap();
    let (seen, recovered) = read(&memory, 0);
    assert!(seen.len() < 6);
    assert!(recovered.damage().iter().any(|d| d.contains("missing")), "{:?}", recovered.damage());
}

#[test]
fn files_that_segments_cover_are_removed_unread() {
    let (memory, files) = filled(6, 150);
    let (seen, recovered) = read(&memory, 6);
    assert!(sequences(&seen).iter().all(|s| *s > 4), "only the last file is read");
    assert_eq!(recovered.next_sequence, 7);
    assert!(memory.files().len() < files.len());
    let closed = ClosedFiles::new(recovered.files);
    closed.remove_covered(&memory, 6).unwrap();
    assert!(memory.files().is_empty());
    assert_eq!(read(&memory, 6).1.next_sequence, 7);
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let (memory, files) = filled(2, 1 << 20);
    memory.damage(&files[0], |bytes| {
        for copy in [0, 48] {
            bytes[copy + 8] = 9;
            let sum = crc32c::crc32c(&bytes[copy..copy + 44]).to_le_bytes();
            bytes[copy + 44..copy + 48].copy_from_slice(&sum);
        }
    });
    let before = memory.read(&files[0]).unwrap();
    let error = recover(&memory, 0, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, RecoverError::Newer { found: 9, .. }), "{error:?}");
    assert_eq!(memory.read(&files[0]).unwrap(), before);
}

#[test]
fn a_full_disk_refuses_the_group_and_takes_the_next_when_there_is_room() {
    let memory = MemDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    let mut log = writer(&disk, 1, 1 << 20);
    write(&mut log, &[entry(1)]).unwrap();
    memory.set_free_bytes(Some(10));
    for _ in 0..2 {
        let refused = write(&mut log, &[entry(99)]);
        assert!(matches!(refused, Err(CommitError::Refused(_))), "{refused:?}");
    }
    memory.set_free_bytes(None);
    write(&mut log, &[entry(2)]).unwrap();
    memory.crash(0);
    let (seen, recovered) = read(disk.as_ref(), 0);
    assert_eq!(sequences(&seen), [1, 2]);
    assert_eq!(recovered.damage(), [""; 0]);
}

#[test]
fn a_write_that_was_cut_short_by_a_full_disk_leaves_no_trace() {
    let memory = MemDisk::default();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()));
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    let mut log = writer(&disk, 1, 1 << 20);
    write(&mut log, &[entry(1)]).unwrap();
    let error = io::ErrorKind::StorageFull;
    faulty.inject(Fault { operation: Operation::Write, after: 0, error, short: 11, for_ever: false });
    assert!(matches!(write(&mut log, &[entry(99)]), Err(CommitError::Refused(_))));
    write(&mut log, &[entry(2)]).unwrap();
    let (seen, recovered) = read(disk.as_ref(), 0);
    assert_eq!(sequences(&seen), [1, 2]);
    assert_eq!((recovered.torn_bytes, recovered.damage().len()), (0, 0));
}

#[test]
fn a_failed_sync_or_write_breaks_the_log() {
    for operation in [Operation::Sync, Operation::Write] {
        let faulty = FaultyDisk::new(Arc::new(MemDisk::default()));
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        disk.create_dir_all(Path::new(FOLDER)).unwrap();
        let mut log = writer(&disk, 1, 1 << 20);
        write(&mut log, &[entry(1)]).unwrap();
        faulty.inject(Fault { operation, after: 0, error: io::ErrorKind::Other, short: 0, for_ever: false });
        assert!(matches!(write(&mut log, &[entry(2)]), Err(CommitError::Broken(_))));
    }
}

#[test]
fn a_flip_in_the_last_frame_is_damage_and_no_torn_end() {
    let (whole, files) = filled(2, 1 << 20);
    let len = whole.read(&files[0]).unwrap().len();
    let last = len - entry(2).1.len() - 29;
    for bit in last * 8..len * 8 {
        let (memory, files) = filled(2, 1 << 20);
        memory.damage(&files[0], |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let (seen, recovered) = read(&memory, 0);
        assert_eq!(sequences(&seen), [1]);
        assert_eq!((recovered.torn_bytes, recovered.damage().len()), (0, 1), "bit {bit}");
        assert!(memory.files().iter().any(|f| f.starts_with(QUARANTINE)), "the damaged file is kept");
        // What was said once is not said again: the file is whole now.
        assert_eq!(read(&memory, 0).1.damage(), [""; 0]);
    }
}

#[test]
fn holes_are_torn_in_the_last_group_and_damage_before_it() {
    for (groups, torn) in [(1, true), (2, false)] {
        let memory = MemDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        disk.create_dir_all(Path::new(FOLDER)).unwrap();
        let mut log = writer(&disk, 1, 1 << 20);
        write(&mut log, &[entry(1)]).unwrap();
        let wide = |n: usize| (0..n).map(|_| ("t".to_owned(), vec![7; 900])).collect::<Vec<Entry>>();
        for _ in 0..groups {
            write(&mut log, &wide(4)).unwrap();
        }
        memory.damage(&memory.files()[0], |bytes| bytes[1024..1536].fill(0));
        let (seen, recovered) = read(&memory, 0);
        if torn {
            assert_eq!(seen.len(), 1, "nothing of a torn group counts behind the hole");
            assert!(recovered.torn_bytes > 0 && recovered.damage().is_empty(), "{:?}", recovered.damage());
        } else {
            assert!(seen.len() >= 6 && recovered.torn_bytes == 0);
            assert_eq!(recovered.damage().len(), 1, "{:?}", recovered.damage());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_give_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let memory = MemDisk::default();
        memory.create_dir_all(Path::new(FOLDER)).unwrap();
        memory.write_atomic(Path::new("wal/0000000000000001.wal"), &bytes).unwrap();
        let (seen, _) = read(&memory, 0);
        prop_assert!(seen.is_empty());
    }

    #[test]
    fn damage_never_gives_a_frame_that_was_not_written(
        n in 1u64..12,
        file_bytes in 100u64..600,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1u8..=255), 1..6),
    ) {
        let (memory, files) = filled(n, file_bytes);
        for (file, at, mask) in flips {
            memory.damage(file.get::<PathBuf>(&files), |bytes| {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            });
        }
        let (seen, recovered) = read(&memory, 0);
        let found = sequences(&seen);
        prop_assert!(found.is_sorted());
        prop_assert!(found.iter().all(|s| (1..=n).contains(s)));
        // What is missing is said, or was the end of the last file.
        let whole = found.len() as u64 == n;
        prop_assert!(whole || !recovered.damage().is_empty() || recovered.torn_bytes > 0);
        // The next frame's number was never given to a frame that is still there.
        prop_assert!(found.iter().all(|s| *s < recovered.next_sequence));
    }

    #[test]
    fn frames_inside_of_payloads_are_not_taken_for_ours(at in 0usize..40) {
        // Someone sends a copy of our own frames, from a file with another salt.
        let (foreign, foreign_files) = filled(3, 1 << 20);
        let bait = foreign.read(&foreign_files[0]).unwrap().to_vec();
        let memory = MemDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        disk.create_dir_all(Path::new(FOLDER)).unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let env = (Arc::clone(&disk), clock as _, Arc::new(SeededRandom::new(77)) as _, Steps::default());
        let mut log = Writer::new(env, 1 << 20, 1, ClosedFiles::default());
        write(&mut log, &[("t".into(), bait)]).unwrap();
        memory.damage(&memory.files()[0], |bytes| bytes[format::FRAMES_AT + at % 28] ^= 4);
        prop_assert!(read(disk.as_ref(), 0).0.is_empty());
    }
}
