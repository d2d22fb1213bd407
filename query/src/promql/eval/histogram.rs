//! Functions of histograms. Native ones are values; classic ones are several series, one a bucket, with its bound in
//! the label `le`.

use std::collections::HashMap;

use greylight_store::model::{Histogram as Native, Labels};

use super::super::histogram::{self, NanEffect};
use super::super::syntax::{FunctionId, Span};
use super::block::{ABSENT, Block, Row, is_absent};
use super::notes::of_metric;
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
        if !row.histograms.is_empty() && !block.has_number(i) {
            continue;
        }
        let le = row.labels.get(BUCKET_LABEL).unwrap_or("");
        let Some(bound) = parse_bound(le) else {
            let text = format!("bucket label \"le\" is missing or has a malformed value of {le:?}");
            eval.warn_at(&of_metric(&text, row.labels.metric_name()), span);
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

/// Calls `classic` with the buckets of each classic histogram at each step, in rising order of bounds, and `native`
/// with each native one. Where both are there under the same labels there is no answer.
fn each(
    eval: &Evaluator<'_>,
    block: &Block,
    span: Span,
    mut classic: impl FnMut(usize, &str, &mut Vec<Bucket>) -> f64,
    mut native: impl FnMut(usize, &str, &Native) -> f64,
) -> Result<Block> {
    let mut out = Block::new(block.n_steps);
    let mut at: HashMap<&Labels, usize> = HashMap::new();
    for (row, values) in block.iter().filter(|(row, _)| !row.histograms.is_empty()) {
        eval.check()?;
        let to =
            *at.entry(&row.labels).or_insert_with(|| out.push_absent(Row::new(row.labels.clone(), true)));
        for (k, histogram) in row.histograms.iter(values) {
            out.row_mut(to)[k] = native(k, row.labels.metric_name(), histogram);
        }
    }
    let mut buckets = Vec::new();
    for (labels, rows) in histograms(eval, block, span) {
        eval.check()?;
        let name = labels.metric_name().to_owned();
        let to = at.get(&labels).copied().unwrap_or_else(|| out.push_absent(Row::new(labels, true)));
        for k in 0..block.n_steps {
            buckets.clear();
            let there = rows.iter().map(|(i, bound)| (*i, Bucket { bound: *bound, count: block.row(*i)[k] }));
            let numbers = there
                .filter(|(i, b)| !is_absent(b.count) && block.rows[*i].histograms.at(k, b.count).is_none());
            buckets.extend(numbers.map(|(_, bucket)| bucket));
            if buckets.is_empty() {
                continue;
            }
            let slot = &mut out.row_mut(to)[k];
            if is_absent(*slot) {
                *slot = classic(k, &name, &mut buckets);
            } else {
                *slot = ABSENT;
                let text = "vector contains a mix of classic and native histograms";
                eval.warn_at(&of_metric(text, &name), span);
            }
        }
    }
    out.drop_empty();
    Ok(out)
}

/// `histogram_count`, `histogram_sum` and others that give one number for each native histogram.
pub(super) fn number(func: FunctionId, block: Block) -> Block {
    let f: fn(&Native) -> f64 = match func {
        FunctionId::HistogramCount => |h| h.count,
        FunctionId::HistogramSum => |h| h.sum,
        FunctionId::HistogramAvg => |h| h.sum / h.count,
        FunctionId::HistogramStdvar => histogram::variance,
        _ => |h| histogram::variance(h).sqrt(),
    };
    let mut out = Block::new(block.n_steps);
    for (row, values) in block.iter().filter(|(row, _)| !row.histograms.is_empty()) {
        let to = out.push_absent(Row::new(row.labels.clone(), true));
        row.histograms.iter(values).for_each(|(k, histogram)| out.row_mut(to)[k] = f(histogram));
    }
    out.drop_empty();
    out
}

/// `histogram_quantile`
pub(super) fn quantile(eval: &Evaluator<'_>, q: &[f64], block: &Block, spans: (Span, Span)) -> Result<Block> {
    eval.note_quantile(q, spans.0);
    let classic = |k: usize, name: &str, buckets: &mut Vec<Bucket>| {
        let (value, forced) = bucket_quantile(q[k], buckets);
        if forced {
            let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                        https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
            eval.info_at(&of_metric(text, name), spans.1);
        }
        value
    };
    each(eval, block, spans.1, classic, |k, name, histogram| {
        let (value, effect) = histogram::quantile(q[k], histogram);
        let result = match effect {
            NanEffect::None => return value,
            NanEffect::Result => "result is NaN",
            NanEffect::Skew => "result is skewed higher",
        };
        let text = format!("input to histogram_quantile has NaN observations, {result}");
        eval.info_at(&of_metric(&text, name), spans.1);
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
    let classic =
        |k: usize, _: &str, buckets: &mut Vec<Bucket>| bucket_fraction(bounds.0[k], bounds.1[k], buckets);
    each(eval, block, span, classic, |k, name, histogram| {
        if histogram.sum.is_nan() {
            let text =
                "input to histogram_fraction has NaN observations, which are excluded from all fractions";
            eval.info_at(&of_metric(text, name), span);
        }
        histogram::fraction(bounds.0[k], bounds.1[k], histogram)
    })
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
            if value <= from || bucket.bound.is_infinite() {
                return rank;
            }
            if from == f64::NEG_INFINITY {
                // Without a lower end nothing can be said of them but that they lie below the upper one.
                return bucket.count;
            }
            return rank + (bucket.count - rank) * (value - from) / (bucket.bound - from);
        }
        rank = bucket.count;
        low = bucket.bound;
    }
    rank
}
