//! Quantiles, fractions and spread, interpolated within buckets.

use greylight_store::model::Histogram;

use super::layout::{Bucket, buckets};
use crate::promql::eval::numeric::kahan_add;

/// What observations of NaN, which are in no bucket, did to a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanEffect {
    /// There were none.
    None,
    /// It lies among them.
    Result,
    /// They were taken to lie above all others.
    Skew,
}

/// Returns the `q`-quantile: NaN without observations, infinite for a `q` outside of 0 to 1.
///
/// Within a bucket it goes exponentially where bounds do; linearly in the zero bucket and in buckets whose bounds are
/// given. The zero bucket ends at zero on a side that has no buckets.
pub(crate) fn quantile(q: f64, histogram: &Histogram) -> (f64, NanEffect) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, NanEffect::None);
    }
    if q > 1.0 {
        return (f64::INFINITY, NanEffect::None);
    }
    if q.is_nan() || histogram.count == 0.0 {
        return (f64::NAN, NanEffect::None);
    }
    let has_nan = histogram.sum.is_nan();
    let mut buckets = buckets(histogram);
    // From the nearer end less is added up. What is NaN counts as above all, and so must be come to last.
    let upwards = has_nan || q < 0.5;
    if !upwards {
        buckets.reverse();
    }
    let rank = histogram.count * if upwards { q } else { 1.0 - q };
    let mut seen = 0.0;
    let found = buckets.iter().find(|bucket| {
        seen += bucket.count;
        seen >= rank
    });
    let Some(bucket) = found else {
        return (f64::NAN, if has_nan { NanEffect::Result } else { NanEffect::None });
    };
    let before = seen - bucket.count;
    // Rounding may lead past all there are.
    let into = if upwards { rank - before } else { seen.min(histogram.count) - rank };
    let share = into / bucket.count;
    let effect = if has_nan { NanEffect::Skew } else { NanEffect::None };
    (within(histogram, &ends(histogram, bucket), share), effect)
}

/// Returns the share of all observations between two values; NaN without observations. Observations of NaN are in no
/// share, but are among all.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut rank = 0.0;
    let mut ranks = [None, None];
    for bucket in buckets(histogram) {
        let bucket = ends(histogram, &bucket);
        for (slot, bound) in ranks.iter_mut().zip([lower, upper]) {
            if slot.is_none() && bucket.lower >= bound {
                *slot = Some(rank);
            } else if slot.is_none() && bucket.upper > bound {
                *slot = Some(rank + bucket.count * share_below(histogram, &bucket, bound));
            }
        }
        rank += bucket.count;
    }
    let all = if histogram.sum.is_nan() { rank } else { histogram.count };
    let [low, high] = ranks.map(|rank| rank.filter(|r| *r <= all).unwrap_or(all));
    (high - low) / histogram.count
}

/// Returns the variance: each bucket's observations are taken to lie in its middle, geometric where bounds grow
/// exponentially; those in the zero bucket at zero.
pub(crate) fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let (mut sum, mut c) = (0.0, 0.0);
    for bucket in buckets(histogram) {
        let middle = if histogram.has_custom_bounds() {
            f64::midpoint(bucket.lower, bucket.upper)
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.lower * bucket.upper).sqrt().copysign(bucket.upper)
        };
        (sum, c) = kahan_add(bucket.count * (middle - mean) * (middle - mean), sum, c);
    }
    (sum + c) / histogram.count
}

/// Returns a bucket with the ends that its observations are taken to lie between.
fn ends(histogram: &Histogram, bucket: &Bucket) -> Bucket {
    let mut out = *bucket;
    if histogram.has_custom_bounds() {
        if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
            out.lower = 0.0;
        }
    } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
        let populated = |counts: &[f64]| counts.iter().any(|count| *count != 0.0);
        match (populated(&histogram.negative.counts), populated(&histogram.positive.counts)) {
            (false, true) => out.lower = 0.0,
            (true, false) => out.upper = 0.0,
            _ => {}
        }
    }
    out
}

fn is_linear(histogram: &Histogram, bucket: &Bucket) -> bool {
    histogram.has_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0)
}

/// Returns the value that a share of a bucket's observations lies below.
fn within(histogram: &Histogram, bucket: &Bucket, share: f64) -> f64 {
    let Bucket { lower, upper, .. } = *bucket;
    // A bucket without an end among given bounds says no more than where its other end is; one that grows
    // exponentially has none because its observations are infinite.
    match (lower == f64::NEG_INFINITY, upper == f64::INFINITY) {
        (true, _) => return if histogram.has_custom_bounds() { upper } else { lower },
        (_, true) => return if histogram.has_custom_bounds() { lower } else { upper },
        _ => {}
    }
    if is_linear(histogram, bucket) {
        return lower + (upper - lower) * share;
    }
    // On a logarithmic scale buckets are all as wide, and half of one is a bucket of the next resolution.
    let (low, high) = (lower.abs().log2(), upper.abs().log2());
    (low + (high - low) * share).exp2().copysign(upper)
}

/// Returns the share of a bucket's observations below a value inside it; the inverse of [`within`].
fn share_below(histogram: &Histogram, bucket: &Bucket, value: f64) -> f64 {
    let Bucket { lower, upper, .. } = *bucket;
    if lower == f64::NEG_INFINITY {
        // Without a lower end nothing can be said of them but that they lie below the upper one.
        return 1.0;
    }
    if upper == f64::INFINITY {
        return 0.0;
    }
    if is_linear(histogram, bucket) {
        return (value - lower) / (upper - lower);
    }
    let (low, high, at) = (lower.abs().log2(), upper.abs().log2(), value.abs().log2());
    (at - low) / (high - low)
}
