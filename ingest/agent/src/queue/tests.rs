//! Tests of this module.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::disk::{FailingDisk, MemoryDisk};

const DIR: &str = "/q";

fn options(segment_bytes: u64, bytes_max: u64, when_full: WhenFull) -> QueueOptions {
    QueueOptions { segment_bytes, bytes_max, when_full }
}

fn open(disk: &MemoryDisk, options: QueueOptions) -> Queue {
    Queue::open(Arc::new(disk.clone()), Path::new(DIR), options).unwrap()
}

fn mark(n: u32) -> Vec<Mark> {
    vec![Mark { key: 1, value: n.to_le_bytes().to_vec() }]
}

fn marked(queue: &Queue) -> u32 {
    queue.marks().find(|(key, _)| *key == 1).map_or(0, |(_, v)| u32::from_le_bytes(v.try_into().unwrap()))
}

fn payload(n: u32) -> Vec<u8> {
    format!("batch {n} ").repeat(1 + n as usize % 7).into_bytes()
}

fn drain(queue: &mut Queue) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| queue.take(Order::OldestFirst).map(|batch| batch.payload)).collect()
}

#[test]
fn batches_come_back_in_either_order_and_survive_a_restart() {
    let disk = MemoryDisk::default();
    let large = options(1 << 20, 1 << 30, WhenFull::Refuse);
    let mut queue = open(&disk, large);
    for n in 0..5 {
        queue.append(&payload(n), n, mark(n)).unwrap();
    }
    let newest = queue.take(Order::NewestFirst).unwrap();
    assert_eq!(newest, Batch { seq: 4, items: 4, payload: payload(4) });
    queue.ack(newest.seq);
    let oldest = queue.take(Order::OldestFirst).unwrap();
    assert_eq!(oldest.payload, payload(0));
    queue.release(oldest.seq);
    queue.close();
    drop(queue);
    let mut queue = open(&disk, large);
    assert_eq!(drain(&mut queue), (0..4).map(payload).collect::<Vec<_>>());
    assert_eq!(marked(&queue), 4);
    assert_eq!(queue.append(b"x", 1, Vec::new()).unwrap(), 5);
}

#[test]
fn delivered_segments_are_removed_and_their_marks_stay() {
    let disk = MemoryDisk::default();
    let small = options(256, 1 << 20, WhenFull::Refuse);
    let mut queue = open(&disk, small);
    for n in 0..200 {
        let seq = queue.append(&payload(n), 1, mark(n)).unwrap();
        assert_eq!(queue.take(Order::OldestFirst).unwrap().seq, seq);
        queue.ack(seq);
    }
    assert!(disk.used_bytes() < 2000, "{} bytes", disk.used_bytes());
    drop(queue);
    assert_eq!(marked(&open(&disk, small)), 199);
}

#[test]
fn a_full_queue_refuses_or_drops_the_oldest_as_told() {
    let disk = MemoryDisk::default();
    let mut queue = open(&disk, options(300, 1500, WhenFull::Refuse));
    let refused = (0..100).find(|&n| queue.append(&payload(n), 1, mark(n)).is_err()).unwrap();
    assert!(matches!(queue.append(b"more", 1, mark(7)), Err(QueueError::Full { .. })));
    assert_eq!(marked(&queue), refused - 1);
    while let Some(batch) = queue.take(Order::OldestFirst) {
        queue.ack(batch.seq);
    }
    queue.append(b"more", 1, mark(100)).unwrap();

    let disk = MemoryDisk::default();
    let mut queue = open(&disk, options(300, 1500, WhenFull::DropOldest));
    for n in 0..100 {
        queue.append(&payload(n), 2, mark(n)).unwrap();
    }
    let stats = queue.stats();
    assert!(stats.disk_bytes <= 1500 && disk.used_bytes() <= 1500);
    assert_eq!(stats.n_items_dropped, 2 * (100 - stats.n_pending));
    assert_eq!(drain(&mut queue).last(), Some(&payload(99)));
}

#[test]
fn damage_in_the_middle_costs_that_frame_alone() {
    let disk = MemoryDisk::default();
    let large = options(1 << 20, 1 << 30, WhenFull::Refuse);
    let mut queue = open(&disk, large);
    for n in 0..3 {
        queue.append(&payload(n), 1, mark(n)).unwrap();
    }
    drop(queue);
    let path = Path::new(DIR).join(recover::segment_name(0));
    disk.damage(&path, |bytes| {
        let at = memchr::memmem::find(bytes, b"batch 1").unwrap();
        bytes[at] ^= 1;
    });
    let mut queue = open(&disk, large);
    assert_eq!(drain(&mut queue), vec![payload(0), payload(2)]);
    assert!(queue.stats().damaged_bytes > 0);
}

#[test]
fn a_failing_disk_refuses_and_later_appends_go_to_a_new_file() {
    let memory = MemoryDisk::default();
    for allowed in 0..8 {
        let disk = FailingDisk::new(Arc::new(memory.clone()));
        let dir = PathBuf::from(format!("/q{allowed}"));
        let large = options(1 << 20, 1 << 30, WhenFull::Refuse);
        let mut queue = Queue::open(Arc::new(disk.clone()), &dir, large).unwrap();
        disk.fail_after(allowed);
        let accepted: Vec<u32> = (0..4).filter(|&n| queue.append(&payload(n), 1, mark(n)).is_ok()).collect();
        disk.heal();
        queue.append(&payload(9), 1, mark(9)).unwrap();
        drop(queue);
        let mut queue = Queue::open(Arc::new(disk), &dir, large).unwrap();
        let found = drain(&mut queue);
        for n in accepted.into_iter().chain([9]) {
            assert_eq!(found.iter().filter(|p| **p == payload(n)).count(), 1, "batch {n} of {allowed}");
        }
        assert_eq!(marked(&queue), 9);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append,
    Deliver { newest: bool },
    Release,
    Close,
    Crash { keep: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Append),
        4 => any::<bool>().prop_map(|newest| Step::Deliver { newest }),
        1 => Just(Step::Release),
        1 => Just(Step::Close),
        2 => (0_usize..80).prop_map(|keep| Step::Crash { keep }),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn nothing_accepted_is_lost_or_changed_by_crashes(steps in steps()) {
        let disk = MemoryDisk::default();
        let small = options(400, 1 << 30, WhenFull::Refuse);
        let mut queue = open(&disk, small);
        let mut waiting: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut delivered: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut n = 0;
        for step in steps {
            match step {
                Step::Append => {
                    n += 1;
                    let seq = queue.append(&payload(n), 1, mark(n)).unwrap();
                    prop_assert!(!delivered.contains_key(&seq), "sequence {seq} was given twice");
                    prop_assert!(waiting.insert(seq, payload(n)).is_none());
                }
                Step::Deliver { newest } => {
                    let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
                    if let Some(batch) = queue.take(order) {
                        queue.ack(batch.seq);
                        // One that was delivered before a crash may come again, as it was.
                        let known = waiting.remove(&batch.seq).or(delivered.get(&batch.seq).cloned());
                        prop_assert_eq!(known, Some(batch.payload.clone()));
                        delivered.insert(batch.seq, batch.payload);
                    }
                }
                Step::Release => {
                    if let Some(batch) = queue.take(Order::OldestFirst) {
                        queue.release(batch.seq);
                    }
                }
                Step::Close => queue.close(),
                Step::Crash { keep } => {
                    drop(queue);
                    disk.crash(|_| keep);
                    queue = open(&disk, small);
                    prop_assert_eq!(marked(&queue), n);
                }
            }
        }
        while let Some(batch) = queue.take(Order::OldestFirst) {
            queue.ack(batch.seq);
            let known = waiting.remove(&batch.seq).or(delivered.remove(&batch.seq));
            prop_assert_eq!(known, Some(batch.payload));
        }
        prop_assert!(waiting.is_empty(), "lost {:?}", waiting.keys());
    }
}
