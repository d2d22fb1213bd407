//! One suite that every disk passes.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Disk, Fault, FaultyDisk, MemDisk, Operation, OsDisk};

fn contract(disk: &dyn Disk) {
    let (folder, path) = (Path::new("a/b"), Path::new("a/b/file"));
    assert_eq!(disk.open(path).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(disk.create(path).is_err(), "no folder, no file");
    disk.create_dir_all(folder).unwrap();
    disk.create_dir_all(folder).unwrap();
    let mut file = disk.create(path).unwrap();
    assert_eq!(disk.create(path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    file.reserve(100).unwrap();
    file.write_all(b"hello ").unwrap();
    file.write_all(b"world").unwrap();
    file.sync_data().unwrap();
    drop(file);
    disk.sync_dir(folder).unwrap();
    assert_eq!(disk.read(path).unwrap(), "hello world");
    let open = disk.open(path).unwrap();
    assert_eq!((open.len(), open.is_empty()), (11, false));
    assert_eq!(open.read_at(6, 3).unwrap(), "wor");
    assert_eq!(open.read_at(11, 0).unwrap(), "");
    for (offset, len) in [(6, 6), (12, 0), (u64::MAX, 1), (0, usize::MAX)] {
        assert_eq!(
            open.read_at(offset, len).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof,
            "{offset} {len}"
        );
    }
    disk.truncate(path, 5).unwrap();
    assert_eq!(disk.read(path).unwrap(), "hello");
    disk.write_atomic(path, b"new").unwrap();
    assert_eq!(disk.read(path).unwrap(), "new");
    let open = disk.open(path).unwrap();
    disk.rename(path, Path::new("a/other")).unwrap();
    assert!(disk.open(path).is_err());
    disk.remove(Path::new("a/other")).unwrap();
    assert_eq!(disk.remove(Path::new("a/other")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(open.read_at(0, 3).unwrap(), "new", "an open file outlives its name");
    assert_eq!(disk.list(Path::new("a")).unwrap(), [Path::new("b")]);
    assert!(disk.list(Path::new("nowhere")).unwrap().is_empty());
    assert!(disk.free_bytes().unwrap() > 0);
}

#[test]
fn every_disk_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract(&OsDisk::open(folder.path()).unwrap());
    contract(&MemDisk::default());
    contract(&FaultyDisk::new(Arc::new(MemDisk::default())));
}

#[test]
fn reserved_room_does_not_change_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    let mut file = disk.create(Path::new("f")).unwrap();
    file.reserve(1 << 20).unwrap();
    file.write_all(b"abc").unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.read(Path::new("f")).unwrap(), "abc");
    drop(file);
    assert_eq!(disk.read(Path::new("f")).unwrap(), "abc");
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(folder.path().join("f")).unwrap());
    assert!(blocks * 512 <= 64 << 10, "{blocks} blocks stay taken");
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = MemDisk::default();
    disk.create_dir_all(Path::new("d")).unwrap();
    let write = |name: &str, sync: bool| {
        let mut file = disk.create(Path::new(name)).unwrap();
        file.write_all(b"one").unwrap();
        if sync {
            file.sync_data().unwrap();
            file.write_all(b"two").unwrap();
        }
    };
    write("d/named", true);
    write("d/empty", false);
    disk.sync_dir(Path::new("d")).unwrap();
    write("d/nameless", true);
    disk.crash(2);
    assert_eq!(disk.read(Path::new("d/named")).unwrap(), "onetw");
    assert_eq!(disk.read(Path::new("d/empty")).unwrap(), "on");
    assert!(disk.open(Path::new("d/nameless")).is_err());
    disk.remove(Path::new("d/named")).unwrap();
    disk.crash(0);
    assert_eq!(disk.read(Path::new("d/named")).unwrap(), "onetw", "the removal was not synced");
}

#[test]
fn faults_come_when_they_were_planned() {
    let disk = FaultyDisk::new(Arc::new(MemDisk::default()));
    let error = io::ErrorKind::StorageFull;
    disk.inject(Fault { operation: Operation::Write, after: 1, error, short: 2, for_ever: false });
    let mut file = disk.create(Path::new("f")).unwrap();
    file.write_all(b"abc").unwrap();
    assert_eq!(file.write_all(b"def").unwrap_err().kind(), error);
    assert_eq!(disk.read(Path::new("f")).unwrap(), "abcde");
    file.write_all(b"f").unwrap();
    disk.inject(Fault { operation: Operation::Change, after: 0, error, short: 0, for_ever: true });
    assert!(file.sync_data().is_err());
    assert!(disk.read(Path::new("f")).is_err(), "a dead disk does not read either");
    disk.heal();
    assert_eq!(disk.read(Path::new("f")).unwrap(), "abcdef");
}

#[test]
fn a_power_loss_leaves_any_part_of_what_was_not_synced_and_all_of_what_was() {
    let chance = crate::model::SeededRandom::new(5);
    let mut draw = |n: u64| crate::model::Random::next_u64(&chance) % n.max(1);
    let (mut ends, mut renamed) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for _ in 0..200 {
        let memory = MemDisk::default();
        let disk = memory.until_power_loss();
        disk.create_dir_all(Path::new("d")).unwrap();
        let mut file = disk.create(Path::new("d/f")).unwrap();
        file.write_all(&[1; 700]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        file.write_all(&[2; 2000]).unwrap();
        disk.rename(Path::new("d/f"), Path::new("d/g")).unwrap();
        memory.lose_power(&mut draw);
        assert!(file.sync_data().is_err() && disk.list(Path::new("d")).is_ok());
        assert!(disk.create(Path::new("d/h")).is_err(), "a dead process changes nothing");
        let names = memory.files();
        assert_eq!(names.len(), 1, "a rename is whole or was not: {names:?}");
        renamed.insert(names[0].clone());
        let left = memory.read(&names[0]).unwrap();
        assert_eq!(left[..700], [1; 700]);
        assert!(left[700..].iter().all(|b| *b == 2 || *b == 0));
        ends.insert((left.len() == 700, left.len() == 2700, left.contains(&0)));
    }
    assert_eq!(renamed.len(), 2);
    assert!(ends.len() >= 4, "nothing, all, a part and holes: {ends:?}");
}

#[test]
fn what_hangs_goes_on_when_it_is_let_go_and_a_bad_file_is_bad_until_then() {
    let disk = FaultyDisk::new(Arc::new(MemDisk::default()));
    disk.write_atomic(Path::new("f"), b"abc").unwrap();
    let open = disk.open(Path::new("f")).unwrap();
    disk.make_unreadable(Path::new("f"));
    assert!(open.read_at(0, 1).is_err() && disk.read(Path::new("f")).is_err());
    disk.hold(Operation::Folder);
    let other = disk.clone();
    let hanging = std::thread::spawn(move || other.remove(Path::new("f")));
    while disk.n_waiting() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(open.len(), 3, "other operations go on");
    disk.heal();
    hanging.join().unwrap().unwrap();
}
