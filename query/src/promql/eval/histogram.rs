//! Quantiles and fractions of classic histograms: one series a bucket, its bound in the label `le`.

use std::collections::HashMap;

use greylight_store::model::Labels;

use super::super::syntax::Span;
use super::block::{Block, Row, is_absent};
use super::{Evaluator, Result};

const BUCKET_LABEL: &str = "le";
/// Counts that differ by less than this share differ by rounding alone.
const SMALL_DELTA: f64 = 1e-12;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// Reads a bound as Go's `ParseFloat` does.
fn parse_bound(text: &str) -> Option<f64> {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = !number.starts_with(['+', '-']) && !text.is_empty();
    if plain { text.parse().ok() } else { None }
}

/// One histogram: its labels and the rows of its buckets.
type Histogram = (Labels, Vec<(usize, f64)>);

fn histograms(eval: &Evaluator<'_>, block: &Block, span: Span) -> Vec<Histogram> {
    let mut at: HashMap<Labels, usize> = HashMap::new();
    let mut out: Vec<Histogram> = Vec::new();
    for (i, row) in block.rows.iter().enumerate() {
        let le = row.labels.get(BUCKET_LABEL).unwrap_or("");
        let Some(bound) = parse_bound(le) else {
            let name = row.labels.metric_name();
            let of = if name.is_empty() { String::new() } else { format!(" for metric name {name:?}") };
            let text = format!("bucket label \"le\" is missing or has a malformed value of {le:?}{of}");
            eval.warn_at(&text, span);
            continue;
        };
        let labels = row.labels.to_builder().remove(BUCKET_LABEL).build();
        let group = *at.entry(labels).or_insert_with_key(|labels| {
            out.push((labels.clone(), Vec::new()));
            out.len() - 1
        });
        out[group].1.push((i, bound));
    }
    for (_, rows) in &mut out {
        rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    }
    out
}

/// Calls `value` with the buckets of each histogram at each step, in rising order of bounds.
fn each(
    eval: &Evaluator<'_>,
    block: &Block,
    span: Span,
    mut value: impl FnMut(usize, &str, &mut Vec<Bucket>) -> f64,
) -> Result<Block> {
    let mut out = Block::new(block.n_steps);
    let mut buckets = Vec::new();
    for (labels, rows) in histograms(eval, block, span) {
        eval.check()?;
        let name = labels.metric_name().to_owned();
        let at = out.push_absent(Row { labels, drop_name: true });
        for k in 0..block.n_steps {
            buckets.clear();
            let there = rows.iter().map(|(i, bound)| Bucket { bound: *bound, count: block.row(*i)[k] });
            buckets.extend(there.filter(|b| !is_absent(b.count)));
            if !buckets.is_empty() {
                out.row_mut(at)[k] = value(k, &name, &mut buckets);
            }
        }
    }
    out.drop_empty();
    Ok(out)
}

/// `histogram_quantile`
pub(super) fn quantile(eval: &Evaluator<'_>, q: &[f64], block: &Block, spans: (Span, Span)) -> Result<Block> {
    eval.note_quantile(q, spans.0);
    each(eval, block, spans.1, |k, name, buckets| {
        let (value, forced) = bucket_quantile(q[k], buckets);
        if forced {
            let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                        https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
            let of = if name.is_empty() { String::new() } else { format!(" for metric name {name:?}") };
            eval.info_at(&format!("{text}{of}"), spans.1);
        }
        value
    })
}

/// `histogram_fraction`
pub(super) fn fraction(
    eval: &Evaluator<'_>,
    bounds: (&[f64], &[f64]),
    block: &Block,
    span: Span,
) -> Result<Block> {
    each(eval, block, span, |k, _, buckets| bucket_fraction(bounds.0[k], bounds.1[k], buckets))
}

/// Adds up buckets of one bound: the same number may be written in several ways.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|b, kept| {
        let same = b.bound == kept.bound;
        if same {
            kept.count += b.count;
        }
        same
    });
}

/// Lifts counts that fall; says whether one fell by more than rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if almost_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            forced = true;
        } else {
            before = bucket.count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if buckets[buckets.len() - 1].bound != f64::INFINITY {
        return (f64::NAN, false);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if buckets.len() < 2 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let rank = q * observations;
    let b = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
    if b == last {
        return (buckets[last - 1].bound, forced);
    }
    if b == 0 && buckets[0].bound <= 0.0 {
        return (buckets[0].bound, forced);
    }
    let (start, below) = if b > 0 { (buckets[b - 1].bound, buckets[b - 1].count) } else { (0.0, 0.0) };
    let value = start + (buckets[b].bound - start) * ((rank - below) / (buckets[b].count - below));
    (value, forced)
}

fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets[buckets.len() - 1].bound != f64::INFINITY {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (low, high) = (rank_at(lower, buckets).min(count), rank_at(upper, buckets).min(count));
    (high - low) / count
}

/// How many observations lie below a value, interpolated within its bucket.
fn rank_at(value: f64, buckets: &[Bucket]) -> f64 {
    let mut rank = 0.0;
    let mut low = f64::NEG_INFINITY;
    for bucket in buckets {
        if low >= value {
            return rank;
        }
        if bucket.bound > value {
            // The lowest bucket is taken to begin at zero where it ends above it.
            let from = if low == f64::NEG_INFINITY && bucket.bound > 0.0 { 0.0 } else { low };
            if value <= from {
                return rank;
            }
            if bucket.bound.is_infinite() {
                return rank;
            }
            return rank + (bucket.count - rank) * (value - from) / (bucket.bound - from);
        }
        rank = bucket.count;
        low = bucket.bound;
    }
    rank
}
