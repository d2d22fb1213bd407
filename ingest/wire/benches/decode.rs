//! Decoding what senders push: remote write, exposition text, Loki.
//!
//! `cargo bench --workspace --bench decode`, with `GREYLIGHT_BENCH_SHORT=1` for a short run. Times are for all samples or
//! lines of a body; divide by the throughput.

#![expect(missing_docs, reason = "criterion's macros make an undocumented function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use greylight_wire::compress::{Caps, Encoding, decode_into};
use greylight_wire::exposition::{self, Format, Visitor};
use greylight_wire::loki::{LokiOptions, decode_json};
use greylight_wire::remote_write::{DecodeError, Encoder, Sample, Series, Sink, decode_v1};

#[path = "../../../store/benches/short/mod.rs"]
mod short;

const START_MS: i64 = 1_795_132_800_000;
const N_SERIES: i64 = 10_000;
const N_LINES: i64 = 10_000;
const CAPS: Caps = Caps { decoded_bytes_max: 64 << 20, ratio_max: 1000 };

fn labels(i: i64) -> [(&'static str, String); 6] {
    [
        ("__name__", format!("container_metric_{}_total", i % 20)),
        ("container", "cart".into()),
        ("instance", format!("10.0.{}.7:9100", i % 250)),
        ("job", "kubernetes-pods".into()),
        ("namespace", "shop".into()),
        ("pod", format!("cart-{:08x}", i / 20)),
    ]
}

fn value(i: i64) -> f64 {
    (i * 7 % 100_000) as f64 / 4.0
}

/// Looks at each label once, as the receiver does.
#[derive(Default)]
struct Walked {
    n_bytes: usize,
    n_samples: usize,
}

impl<'a> Sink<'a> for Walked {
    fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
        let walk = series.walk().into_iter().flatten();
        self.n_bytes += walk.map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.n_samples += series.samples().len();
        Ok(())
    }
}

impl Visitor for Walked {
    fn sample(&mut self, sample: &exposition::Sample<'_>) {
        self.n_bytes += sample.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.n_samples += 1;
    }
}

fn remote_write(c: &mut Criterion) {
    let n = short::part_of(N_SERIES);
    let mut encoder = Encoder::default();
    for i in 0..n {
        let labels = labels(i);
        let pairs = labels.iter().map(|(name, value)| (*name, value.as_str()));
        encoder.series(pairs, &[Sample { t_ms: START_MS, value: value(i) }]);
    }
    let body = encoder.finish();
    let mut group = c.benchmark_group("remote write");
    group.throughput(Throughput::Elements(n as u64)).sample_size(20);
    let mut plain = Vec::new();
    group.bench_function("decompress", |b| {
        b.iter(|| decode_into(Encoding::Snappy, &body, CAPS, &mut plain).expect("just encoded"));
    });
    decode_into(Encoding::Snappy, &body, CAPS, &mut plain).expect("just encoded");
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut walked = Walked::default();
            decode_v1(&plain, &mut walked).expect("just encoded");
            assert_eq!(walked.n_samples as i64, n);
            walked.n_bytes
        });
    });
    group.finish();
}

fn exposition_text(c: &mut Criterion) {
    let n = short::part_of(N_SERIES);
    let line = |i: i64| {
        let labels = labels(i);
        let [(_, name), rest @ ..] = &labels;
        let pairs: Vec<String> = rest.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        format!("{name}{{{}}} {}\n", pairs.join(","), value(i))
    };
    let page: String = (0..n).map(line).collect();
    let mut group = c.benchmark_group("exposition");
    group.throughput(Throughput::Elements(n as u64)).sample_size(20);
    group.bench_function("parse", |b| {
        b.iter(|| {
            let mut walked = Walked::default();
            exposition::parse(page.as_bytes(), Format::PrometheusText, &mut walked).expect("a page");
            assert_eq!(walked.n_samples as i64, n);
            walked.n_bytes
        });
    });
    group.finish();
}

fn loki(c: &mut Criterion) {
    let n = short::part_of(N_LINES);
    let values: Vec<String> = (0..n)
        .map(|i| {
            let line =
                format!("GET /cart/{} took {} ms from 10.0.{}.{}", i % 977, i % 1013, i % 251, i % 241);
            format!(r#"["{}","{line}"]"#, START_MS * 1_000_000 + i)
        })
        .collect();
    let body = format!(r#"{{"streams":[{{"stream":{{"job":"cart"}},"values":[{}]}}]}}"#, values.join(","));
    let mut group = c.benchmark_group("loki");
    group.throughput(Throughput::Elements(n as u64)).sample_size(20);
    group.bench_function("decode JSON", |b| {
        b.iter(|| {
            let streams = decode_json(body.as_bytes(), LokiOptions::default()).expect("a push");
            assert_eq!(streams.iter().map(|stream| stream.records.len() as i64).sum::<i64>(), n);
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = short::criterion(); targets = remote_write, exposition_text, loki }
criterion_main!(benches);
