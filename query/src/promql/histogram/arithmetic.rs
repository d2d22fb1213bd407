//! Sums, differences and multiples of histograms; what is the same, and what is a reset.

use greylight_store::model::{Buckets, CounterReset, Histogram};

use super::layout::{Bounds, Indexed, at_schema, collect};

/// Why two histograms cannot be added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// One has bounds that grow exponentially, the other has bounds that are given.
    Schema,
    /// Both have bounds that are given, and not the same ones.
    Bounds,
}

/// Adds `other` to `histogram`, at the lower of the two resolutions and with the wider zero bucket.
///
/// # Errors
/// [`Mismatch`], and `histogram` stays as it is.
pub(crate) fn add(histogram: &mut Histogram, other: &Histogram) -> Result<(), Mismatch> {
    let reset = sum_reset(histogram.reset, other.reset);
    combine(histogram, other, 1.0)?;
    histogram.reset = reset;
    Ok(())
}

/// Subtracts `other` from `histogram`; a difference is a gauge.
///
/// # Errors
/// [`Mismatch`], and `histogram` stays as it is.
pub(crate) fn subtract(histogram: &mut Histogram, other: &Histogram) -> Result<(), Mismatch> {
    combine(histogram, other, -1.0)?;
    histogram.reset = CounterReset::Gauge;
    Ok(())
}

/// Multiplies all counts and the sum; by a negative number it becomes a gauge.
pub(crate) fn scale(histogram: &mut Histogram, factor: f64) {
    each_number(histogram, |v| v * factor);
    if factor < 0.0 {
        histogram.reset = CounterReset::Gauge;
    }
}

/// Divides all counts and the sum. By zero no bucket is left: they would have no end.
pub(crate) fn divide(histogram: &mut Histogram, by: f64) {
    each_number(histogram, |v| v / by);
    if by == 0.0 {
        histogram.positive = Buckets::default();
        histogram.negative = Buckets::default();
    }
    if by < 0.0 {
        histogram.reset = CounterReset::Gauge;
    }
}

/// Reduces the resolution to `schema`, if it is higher.
pub(crate) fn reduce(histogram: &mut Histogram, schema: i32) {
    let from = histogram.schema;
    if histogram.has_custom_bounds() || schema >= from || schema < -4 {
        return;
    }
    for side in [&mut histogram.positive, &mut histogram.negative] {
        *side = collect(at_schema(side.iter(), from, schema));
    }
    histogram.schema = schema;
}

/// Tells whether the counts fell between two samples of a series, or are not comparable.
pub(crate) fn is_reset(before: &Histogram, now: &Histogram) -> bool {
    match now.reset {
        CounterReset::Yes => return true,
        CounterReset::No => return false,
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
    if mismatch(before, now).is_some() || now.count < before.count {
        return true;
    }
    if now.has_custom_bounds() {
        return falls(before.positive.iter(), now.positive.iter());
    }
    // A counter only ever gives up resolution and only ever widens its zero bucket.
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    let threshold = now.zero_threshold;
    if threshold_from(before, threshold) != threshold || now.zero_count < zero_count_at(before, threshold) {
        return true;
    }
    let side = |earlier: &Buckets, later: &Buckets| {
        let earlier = beyond(before, earlier, threshold);
        falls(at_schema(earlier, before.schema, now.schema), later.iter())
    };
    side(&before.positive, &now.positive) || side(&before.negative, &now.negative)
}

/// Tells whether two are the same distribution: buckets without observations do not count, nor does what is known of
/// resets.
pub(crate) fn is_equal(a: &Histogram, b: &Histogram) -> bool {
    let numbers = |h: &Histogram| [h.count, h.sum, h.zero_threshold, h.zero_count].map(f64::to_bits);
    let same = |a: &Buckets, b: &Buckets| {
        let populated = |side: &Buckets| -> Vec<(i32, u64)> {
            let there = side.iter().filter(|(_, count)| *count != 0.0);
            there.map(|(index, count)| (index, count.to_bits())).collect()
        };
        populated(a) == populated(b)
    };
    a.schema == b.schema
        && numbers(a) == numbers(b)
        && a.custom_bounds == b.custom_bounds
        && same(&a.positive, &b.positive)
        && same(&a.negative, &b.negative)
}

fn mismatch(a: &Histogram, b: &Histogram) -> Option<Mismatch> {
    match (a.has_custom_bounds(), b.has_custom_bounds()) {
        (true, true) if a.custom_bounds != b.custom_bounds => Some(Mismatch::Bounds),
        (true, false) | (false, true) => Some(Mismatch::Schema),
        _ => None,
    }
}

fn each_number(histogram: &mut Histogram, f: impl Fn(f64) -> f64) {
    let buckets = histogram.positive.counts.iter_mut().chain(&mut histogram.negative.counts);
    let others = [&mut histogram.zero_count, &mut histogram.count, &mut histogram.sum];
    buckets.chain(others).for_each(|v| *v = f(*v));
}

/// What is known of a reset before the sum of two.
fn sum_reset(a: CounterReset, b: CounterReset) -> CounterReset {
    match (a, b) {
        (a, b) if a == b => a,
        (CounterReset::Gauge, _) | (_, CounterReset::Gauge) => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}

fn combine(histogram: &mut Histogram, other: &Histogram, sign: f64) -> Result<(), Mismatch> {
    if let Some(mismatch) = mismatch(histogram, other) {
        return Err(mismatch);
    }
    let same_layout = histogram.schema == other.schema
        && histogram.zero_threshold == other.zero_threshold
        && histogram.positive.spans == other.positive.spans
        && histogram.negative.spans == other.negative.spans;
    if same_layout {
        let mine = histogram.positive.counts.iter_mut().chain(&mut histogram.negative.counts);
        let theirs = other.positive.counts.iter().chain(&other.negative.counts);
        mine.zip(theirs).for_each(|(a, b)| *a += sign * b);
        histogram.zero_count += sign * other.zero_count;
    } else if histogram.has_custom_bounds() {
        histogram.positive = merged(histogram.positive.iter(), other.positive.iter(), sign);
    } else {
        let threshold = common_threshold(histogram, other);
        let schema = histogram.schema.min(other.schema);
        let side = |a: &Buckets, b: &Buckets| {
            let mine = at_schema(beyond(histogram, a, threshold), histogram.schema, schema);
            let theirs = at_schema(beyond(other, b, threshold), other.schema, schema);
            merged(mine, theirs, sign)
        };
        let positive = side(&histogram.positive, &other.positive);
        let negative = side(&histogram.negative, &other.negative);
        histogram.zero_count = zero_count_at(histogram, threshold) + sign * zero_count_at(other, threshold);
        (histogram.positive, histogram.negative) = (positive, negative);
        (histogram.zero_threshold, histogram.schema) = (threshold, schema);
    }
    histogram.count += sign * other.count;
    histogram.sum += sign * other.sum;
    Ok(())
}

fn merged(a: impl Iterator<Item = Indexed>, b: impl Iterator<Item = Indexed>, sign: f64) -> Buckets {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    collect(std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some((i, _)), Some((j, _))) if i == j => match (a.next(), b.next()) {
            (Some((index, mine)), Some((_, theirs))) => Some((index, mine + sign * theirs)),
            _ => None,
        },
        (Some((i, _)), Some((j, _))) if i > j => b.next().map(|(index, count)| (index, sign * count)),
        (Some(_), _) => a.next(),
        (None, _) => b.next().map(|(index, count)| (index, sign * count)),
    }))
}

/// Tells whether a bucket of `before` has fewer observations in `now`; both rise by index.
fn falls(before: impl Iterator<Item = Indexed>, now: impl Iterator<Item = Indexed>) -> bool {
    let mut now = now.peekable();
    let mut before = before.filter(|(_, count)| *count != 0.0);
    before.any(|(index, count)| {
        while now.next_if(|(i, _)| *i < index).is_some() {}
        let later = now.next_if(|(i, _)| *i == index).map_or(0.0, |(_, count)| count);
        later < count
    })
}

/// Returns the distances from zero at which a bucket begins and ends.
fn reach(bounds: &Bounds<'_>, index: i32) -> (f64, f64) {
    (bounds.upper(i64::from(index) - 1), bounds.upper(index.into()))
}

/// Returns the least width of the zero bucket that is no less than `threshold` and cuts through no populated bucket.
fn threshold_from(histogram: &Histogram, threshold: f64) -> f64 {
    if threshold == histogram.zero_threshold {
        return threshold;
    }
    let bounds = Bounds::of(histogram);
    let mut out = threshold;
    // Each side by itself is done in one pass, as indexes rise; what one of them moves the other may have to follow.
    loop {
        let before = out;
        for side in [&histogram.positive, &histogram.negative] {
            for (index, _) in side.iter().filter(|(_, count)| *count != 0.0) {
                let (start, end) = reach(&bounds, index);
                if start < out && out < end {
                    out = end;
                }
            }
        }
        // By bits, so that NaN ends it too.
        if out.to_bits() == before.to_bits() {
            return out;
        }
    }
}

/// Returns the least width of the zero bucket that suits both.
fn common_threshold(a: &Histogram, b: &Histogram) -> f64 {
    let mut out = a.zero_threshold.max(b.zero_threshold);
    loop {
        let wider = threshold_from(b, threshold_from(a, out));
        if wider.to_bits() == out.to_bits() {
            return out;
        }
        out = wider;
    }
}

/// Returns what the zero bucket would hold if it were as wide as `threshold`.
fn zero_count_at(histogram: &Histogram, threshold: f64) -> f64 {
    if threshold == histogram.zero_threshold {
        return histogram.zero_count;
    }
    let bounds = Bounds::of(histogram);
    let all = histogram.positive.iter().chain(histogram.negative.iter());
    let inside = all.filter(|(index, _)| reach(&bounds, *index).0 < threshold);
    histogram.zero_count + inside.map(|(_, count)| count).sum::<f64>()
}

/// Walks the buckets that a zero bucket as wide as `threshold` leaves.
fn beyond<'a>(
    histogram: &'a Histogram,
    side: &'a Buckets,
    threshold: f64,
) -> impl Iterator<Item = Indexed> + use<'a> {
    let bounds = Bounds::of(histogram);
    let all = threshold == histogram.zero_threshold;
    side.iter().filter(move |(index, _)| all || reach(&bounds, *index).0 >= threshold)
}
