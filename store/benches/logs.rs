//! The hot paths of log records: log codec, head, sealing, merging, searching.
//!
//! `cargo bench --workspace --bench logs`, with `GREYLIGHT_BENCH_SHORT=1` for a short run. Two shapes of lines: `text`,
//! what services print, and `json`, lines of an access log with identifiers of their own. Times are for all records
//! of a set; divide by the throughput.

#![expect(missing_docs, reason = "criterion's macros make an undocumented function")]

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use greylight_store::append::LogBatch;
use greylight_store::disk::{Disk, MemDisk};
use greylight_store::logs::{
    Flow, GroupBy, Head, Intervals, LogSelect, Order, Query, Segment, SharedTemplates, TenantLogs, merge,
    segment, wal_codec,
};
use greylight_store::metrics::Target;
use greylight_store::metrics::segment::window_of;
use greylight_store::model::{
    Labels, LogRecord, Random, SeededRandom, SystemClock, TenantId, TimeRange, Timestamp,
};
use greylight_store::read::{Budget, Limits};
use greylight_store::segment::SegmentIds;

mod short;

const START_MS: i64 = 1_795_132_800_000;
const N_RECORDS: i64 = 100_000;
const A_BATCH: usize = 2000;

fn body(set: &str, n: u64, random: &dyn Random) -> String {
    let draw = random.next_u64();
    if set == "json" {
        return format!(
            r#"{{"method":"GET","path":"/cart/{}","status":{},"ms":{},"client":"10.0.{}.{}","trace":"{:016x}{:016x}"}}"#,
            draw % 977,
            if draw.is_multiple_of(50) { 500 } else { 200 },
            draw % 1013,
            n % 251,
            n % 241,
            draw,
            random.next_u64(),
        );
    }
    match draw % 5 {
        0 => format!("GET /cart/{} took {} ms", draw % 977, draw % 1013),
        1 => format!(
            "connection from 10.0.{}.{}:{} closed after {}s",
            n % 251,
            n % 241,
            draw % 60_000,
            draw % 90
        ),
        2 => format!("user {:08x} logged in from eu-west-{}", draw as u32, draw % 3),
        3 => format!("cache miss for key session:{:016x}, loading", draw),
        _ => format!("ERROR payment {} declined: insufficient funds, retry in {} ms", n, draw % 5000),
    }
}

/// Batches in order of time, of twenty streams.
fn batches(set: &str) -> Vec<LogBatch> {
    let random = SeededRandom::new(7);
    let streams: Vec<Labels> = (0..20)
        .map(|i| {
            let instance = format!("host-{i}");
            Labels::from_pairs([("service_name", "cart"), ("instance", instance.as_str())])
                .expect("names are distinct")
        })
        .collect();
    let record = |n: u64| {
        let body = body(set, n, &random);
        let time = Timestamp::from_millis(START_MS + n as i64 * 20);
        LogRecord {
            time,
            observed_time: time,
            severity_number: if body.contains("ERROR") { 17 } else { 9 },
            severity_text: String::new(),
            body,
            labels: streams[(random.next_u64() % 20) as usize].clone(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            uid: None,
        }
    };
    let all: Vec<LogRecord> = (0..short::part_of(N_RECORDS) as u64).map(record).collect();
    all.chunks(A_BATCH).map(|records| LogBatch { records: records.to_vec() }).collect()
}

fn head_of(batches: &[LogBatch]) -> Arc<Head> {
    let head = Arc::new(Head::new(Arc::default()));
    batches.iter().for_each(|batch| {
        let _ = head.append_batch(batch);
    });
    head
}

fn target() -> Target {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
    Target { disk, tenant: TenantId::default(), ids: SegmentIds::after(0), sequence: 1 }
}

fn seal(target: &Target, head: &Arc<Head>) -> Vec<Arc<Segment>> {
    let metas = segment::write(target, &head.freeze(), &[]).expect("memory takes what is written");
    metas.into_iter().map(|meta| segment::open(&target.disk, meta).expect("just written")).collect()
}

fn budget() -> Budget {
    Budget::new(Limits::default(), Arc::new(SystemClock::default()))
}

fn select(query: &str) -> LogSelect {
    LogSelect { query: Query::parse(query).expect("a query"), matchers: Vec::new(), range: TimeRange::ALL }
}

fn write_path(c: &mut Criterion, set: &str, batches: &[LogBatch], n: u64) {
    let mut group = c.benchmark_group(set);
    group.throughput(Throughput::Elements(n)).sample_size(10);
    group.bench_function("log encode", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            for batch in batches {
                out.clear();
                wal_codec::encode(batch, &mut out);
            }
        });
    });
    let mut frames = vec![Vec::new(); batches.len()];
    batches.iter().zip(&mut frames).for_each(|(batch, out)| wal_codec::encode(batch, out));
    group.bench_function("log decode", |b| {
        b.iter(|| {
            frames
                .iter()
                .map(|frame| wal_codec::decode(frame).expect("just encoded").records.len())
                .sum::<usize>()
        });
    });
    group.bench_function("append", |b| {
        b.iter_batched(
            || Head::new(Arc::default()),
            |head| {
                batches.iter().for_each(|batch| {
                    let _ = head.append_batch(batch);
                });
                head
            },
            BatchSize::PerIteration,
        );
    });
    let head = head_of(batches);
    group.bench_function("seal", |b| b.iter(|| seal(&target(), &head)));
    let (target, mut inputs) = (target(), Vec::new());
    for part in batches.chunks(batches.len().div_ceil(4)) {
        inputs.extend(seal(&target, &head_of(part)));
    }
    let day = window_of(START_MS, 86_400_000);
    group.bench_function("merge", |b| b.iter(|| merge(&target, &inputs, day, 2).expect("inputs are whole")));
    group.finish();
}

fn read_path(c: &mut Criterion, set: &str, batches: &[LogBatch], n: u64) {
    let mut group = c.benchmark_group(set);
    group.throughput(Throughput::Elements(n)).sample_size(10);
    let target = target();
    let segments = seal(&target, &head_of(batches));
    let logs = TenantLogs {
        head: Arc::new(Head::new(Arc::default())),
        frozen: Vec::new(),
        segments,
        missing: Vec::new(),
        templates: Arc::<SharedTemplates>::default(),
    };
    for (name, query) in [("scan all", "*"), ("scan a word", "declined"), ("scan for nothing", "nowhere")] {
        let select = select(query);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut n = 0;
                let found = logs.scan(&select, Order::OldestFirst, &budget(), &mut |record| {
                    n += record.record.body.len();
                    Flow::Continue
                });
                found.expect("within the limits");
                n
            });
        });
    }
    let hour = Intervals { start: Timestamp::from_millis(START_MS), step: Duration::from_secs(3600), n: 24 };
    let all = select("*");
    group.bench_function("count by hour", |b| {
        b.iter(|| logs.count(&all, hour, &[GroupBy::Severity], &budget()).expect("within the limits"));
    });
    group.finish();
}

fn logs(c: &mut Criterion) {
    for set in ["text", "json"] {
        let batches = batches(set);
        let n = batches.iter().map(|batch| batch.records.len()).sum::<usize>() as u64;
        write_path(c, set, &batches, n);
        read_path(c, set, &batches, n);
    }
}

criterion_group! { name = benches; config = short::criterion(); targets = logs }
criterion_main!(benches);
