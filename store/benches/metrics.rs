//! The hot paths of metrics: log codec, head, sealing, merging, reading.
//!
//! `cargo bench --workspace --bench metrics`, with `GREYLIGHT_BENCH_SHORT=1` for a short run. Two shapes of data, two hours each: `cpu`,
//! integers that walk between 0 and 100 as in TSBS cpu-only, and `node`, counters of hundredths,
//! byte gauges and histogram buckets. Times are for all samples of a set; divide by the throughput.

#![expect(missing_docs, reason = "criterion's macros make an undocumented function")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use greylight_store::append::MetricBatch;
use greylight_store::disk::{Disk, MemDisk};
use greylight_store::metrics::wal_codec::{self, WalSeriesDict, WalSeriesTable};
use greylight_store::metrics::{
    FrozenHead, Head, IndexCache, Segment, Target, TenantMetrics, merge, segment,
};
use greylight_store::model::{Labels, Matcher, Random, SeededRandom, SystemClock, TenantId};
use greylight_store::read::{Budget, Limits, Select, Selection, SpanMs};
use greylight_store::segment::{SegmentIds, SegmentMeta};

mod short;

const START_MS: i64 = 1_795_132_800_000;
const STEP_MS: i64 = 10_000;
const N_STEPS: i64 = 720;
const N_HOSTS: usize = 40;

/// How the values of a series go on.
#[derive(Clone, Copy)]
enum Shape {
    /// Between 0 and 100 by about one, cut to an integer.
    Walk,
    /// Up by hundredths.
    Counter(f64),
    /// Up by integers.
    Bucket(f64),
    /// By pages of 4096 bytes.
    Bytes,
}

struct Series {
    labels: Labels,
    shape: Shape,
    value: f64,
}

fn uniform(random: &dyn Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

// The sum of twelve uniform numbers is near enough to a normal one.
fn normal(random: &dyn Random) -> f64 {
    (0..12).map(|_| uniform(random)).sum::<f64>() - 6.0
}

impl Series {
    fn next(&mut self, random: &dyn Random) -> f64 {
        match self.shape {
            Shape::Walk => {
                self.value = (self.value + normal(random)).clamp(0.0, 100.0);
                self.value.trunc()
            }
            Shape::Counter(rate) => {
                self.value += (uniform(random) * rate * 1_000.0).round() / 100.0;
                (self.value * 100.0).round() / 100.0
            }
            Shape::Bucket(rate) => {
                self.value += (uniform(random) * rate).trunc();
                self.value
            }
            Shape::Bytes => {
                self.value = (self.value + normal(random) * 3e6).max(0.0);
                (self.value / 4096.0).trunc() * 4096.0
            }
        }
    }
}

fn series(set: &str, random: &dyn Random) -> Vec<Series> {
    let mut all = Vec::new();
    for host in 0..N_HOSTS {
        let mut add = |name: &str, extra: (&str, String), shape: Shape| {
            let (host, region) = (format!("host_{host}"), format!("region-{}", host % 9));
            let tags =
                [("hostname", host), ("region", region), ("team", "SF".into()), ("arch", "x64".into())];
            let pairs = tags.into_iter().chain([("__name__", name.to_string()), extra]);
            let labels = Labels::from_pairs(pairs).expect("names are distinct");
            all.push(Series { labels, shape, value: (uniform(random) * 100.0).trunc() });
        };
        for i in 0..40 {
            if set == "cpu" {
                add(&format!("cpu_usage_{i}"), ("os", "Ubuntu".into()), Shape::Walk);
                continue;
            }
            let (name, shape) = match i % 4 {
                0 | 1 => ("node_cpu_seconds_total", Shape::Counter(uniform(random) * 0.3)),
                2 => ("http_request_duration_seconds_bucket", Shape::Bucket(uniform(random) * 20.0)),
                _ => ("node_memory_Active_bytes", Shape::Bytes),
            };
            add(name, ("mode", i.to_string()), shape);
        }
    }
    all
}

/// A batch for each step.
fn batches(set: &str) -> Vec<MetricBatch> {
    let random = SeededRandom::new(7);
    let mut series = series(set, &random);
    let batch = |step: i64| {
        let mut batch = MetricBatch::default();
        for one in &mut series {
            let value = one.next(&random);
            batch.start_labels(&one.labels).push(START_MS + step * STEP_MS, value);
        }
        batch
    };
    (0..short::part_of(N_STEPS)).map(batch).collect()
}

fn head_of(batches: &[MetricBatch]) -> Arc<Head> {
    let head = Arc::new(Head::new());
    batches.iter().for_each(|batch| {
        let _ = head.append_batch(batch);
    });
    head
}

fn target() -> Target {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
    Target { disk, tenant: TenantId::default(), ids: SegmentIds::after(0), sequence: 1 }
}

fn open(target: &Target, metas: impl IntoIterator<Item = SegmentMeta>) -> Vec<Arc<Segment>> {
    let cache = Arc::new(IndexCache::new(256 << 20));
    let open = |meta| segment::open(&target.disk, meta, &cache).expect("just written");
    metas.into_iter().map(open).collect()
}

fn seal(target: &Target, frozen: &FrozenHead) -> Vec<Arc<Segment>> {
    open(target, segment::write(target, frozen).expect("memory takes what is written"))
}

fn read(metrics: &TenantMetrics, matchers: &[Matcher], span: SpanMs) -> usize {
    let budget = Budget::new(Limits::default(), Arc::new(SystemClock::default()));
    let selection: Box<dyn Selection> =
        metrics.select(&Select { matchers, span }, None, &budget).expect("within the limits");
    let mut n = 0;
    let all = 0..selection.series().len();
    selection.read(all, &budget, &mut |_, samples| n += samples.t_ms.len()).expect("within the limits");
    n
}

fn write_path(c: &mut Criterion, set: &str, batches: &[MetricBatch], n: u64) {
    let mut group = c.benchmark_group(set);
    group.throughput(Throughput::Elements(n)).sample_size(10);
    group.bench_function("log encode", |b| {
        let (mut dict, mut out) = (WalSeriesDict::default(), Vec::new());
        b.iter(|| {
            for batch in batches {
                out.clear();
                wal_codec::encode(batch, &mut dict, &mut out);
            }
        });
    });
    let (mut dict, mut records) = (WalSeriesDict::default(), vec![Vec::new(); batches.len()]);
    batches.iter().zip(&mut records).for_each(|(batch, out)| wal_codec::encode(batch, &mut dict, out));
    group.bench_function("log decode", |b| {
        let mut back = MetricBatch::default();
        b.iter(|| {
            let mut table = WalSeriesTable::default();
            for record in &records {
                wal_codec::decode(record, &mut table, &mut back).expect("just encoded");
            }
        });
    });
    let warm = head_of(&batches[..1]);
    group.bench_function("append", |b| {
        b.iter_batched(
            || warm.successor(),
            |head| {
                batches.iter().for_each(|batch| {
                    let _ = head.append_batch(batch);
                });
                head
            },
            BatchSize::PerIteration,
        );
    });
    let frozen = head_of(batches).freeze();
    group.bench_function("seal", |b| b.iter(|| seal(&target(), &frozen)));
    let (target, mut inputs) = (target(), Vec::new());
    for part in batches.chunks(batches.len() / 4) {
        inputs.extend(seal(&target, &head_of(part).freeze()));
    }
    let day = segment::window_of(START_MS, 86_400_000);
    // Opened each time: what was just sealed has not been read before it is merged.
    group.bench_function("merge", |b| {
        b.iter_batched(
            || open(&target, inputs.iter().map(|segment| segment.meta().clone())),
            |inputs| merge(&target, &inputs, day, 2).expect("inputs are whole"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn read_path(c: &mut Criterion, set: &str, batches: &[MetricBatch], n: u64) {
    let mut group = c.benchmark_group(set);
    group.throughput(Throughput::Elements(n)).sample_size(20);
    let head = head_of(batches);
    let of_head = TenantMetrics { head, frozen: Vec::new(), segments: Vec::new(), missing: Vec::new() };
    group.bench_function("scan head", |b| b.iter(|| read(&of_head, &[], SpanMs::ALL)));
    let segments = seal(&target(), &of_head.head.freeze());
    let sealed = TenantMetrics { head: Arc::new(Head::new()), segments, ..of_head };
    group.bench_function("scan segments", |b| b.iter(|| read(&sealed, &[], SpanMs::ALL)));
    let span = SpanMs { start: START_MS, end: START_MS + 3_600_000 };
    let one = [Matcher::equal("hostname", "host_7")];
    group.throughput(Throughput::Elements(read(&sealed, &one, span) as u64));
    group.bench_function("one host, one hour", |b| b.iter(|| read(&sealed, &one, span)));
    group.finish();
}

fn metrics(c: &mut Criterion) {
    for set in ["cpu", "node"] {
        let batches = batches(set);
        let n = batches.iter().map(MetricBatch::n_samples).sum::<usize>() as u64;
        write_path(c, set, &batches, n);
        read_path(c, set, &batches, n);
    }
}

criterion_group! { name = benches; config = short::criterion(); targets = metrics }
criterion_main!(benches);
