//! Where buckets lie: bounds, order, resolution.

use greylight_store::model::{Buckets, Histogram, Span};

/// A bucket with its bounds, in the unit of the observations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) lower_inclusive: bool,
    pub(crate) upper_inclusive: bool,
    pub(crate) count: f64,
}

/// A bucket of one side: its index, and how many observations it has.
pub(super) type Indexed = (i32, f64);

/// The bounds of a histogram's buckets on the positive side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds<'a> {
    /// They grow by the factor `2^(2^-schema)`.
    Exponential(i32),
    /// Each is given.
    Custom(&'a [f64]),
}

impl<'a> Bounds<'a> {
    pub(super) fn of(histogram: &'a Histogram) -> Self {
        if histogram.has_custom_bounds() {
            Self::Custom(&histogram.custom_bounds)
        } else {
            Self::Exponential(histogram.schema.clamp(-4, 8))
        }
    }

    /// Returns where the bucket of an index ends; the bucket before it ends where this one begins.
    pub(super) fn upper(&self, index: i64) -> f64 {
        match self {
            Self::Exponential(schema) => exponential(*schema, index),
            Self::Custom(bounds) => match usize::try_from(index) {
                Ok(i) => bounds.get(i).copied().unwrap_or(f64::INFINITY),
                Err(_) => f64::NEG_INFINITY,
            },
        }
    }
}

fn exponential(schema: i32, index: i64) -> f64 {
    let (octave, part) = if schema <= 0 {
        (index << -schema, 0.0)
    } else {
        let per_octave = 1_i64 << schema;
        (index.div_euclid(per_octave), index.rem_euclid(per_octave) as f64 / per_octave as f64)
    };
    // Finite values end with the largest of them, which is a little less than the bound would be; the bucket behind
    // holds the infinite ones.
    if octave == 1024 && part == 0.0 {
        return f64::MAX;
    }
    // Outside of these a power of two is zero or infinite.
    part.exp2() * (octave.clamp(-1100, 1025) as f64).exp2()
}

/// Returns the populated buckets from the lowest to the highest, the zero bucket among them.
pub(crate) fn buckets(histogram: &Histogram) -> Vec<Bucket> {
    let bounds = Bounds::of(histogram);
    let custom = histogram.has_custom_bounds();
    let n = histogram.negative.counts.len() + histogram.positive.counts.len() + 1;
    let mut out = Vec::with_capacity(n);
    for (index, count) in histogram.negative.iter().filter(|(_, count)| *count != 0.0) {
        let (lower, upper) = (-bounds.upper(index.into()), -bounds.upper(i64::from(index) - 1));
        out.push(Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count });
    }
    // The index grows with the distance from zero.
    out.reverse();
    if histogram.zero_count != 0.0 {
        let (lower, upper) = (-histogram.zero_threshold, histogram.zero_threshold);
        let count = histogram.zero_count;
        out.push(Bucket { lower, upper, lower_inclusive: true, upper_inclusive: true, count });
    }
    for (index, count) in histogram.positive.iter().filter(|(_, count)| *count != 0.0) {
        let (lower, upper) = (bounds.upper(i64::from(index) - 1), bounds.upper(index.into()));
        // The first of the given buckets holds all below its bound, the lowest number there is among them.
        let lower_inclusive = if custom { index == 0 } else { lower < 0.0 };
        out.push(Bucket { lower, upper, lower_inclusive, upper_inclusive: custom || upper > 0.0, count });
    }
    out
}

/// Makes buckets of indexes, rising, and counts.
pub(super) fn collect(indexed: impl Iterator<Item = Indexed>) -> Buckets {
    let mut out = Buckets::default();
    let mut end = 0_i64;
    for (index, count) in indexed {
        let gap = i64::from(index) - end;
        match out.spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            _ => {
                // A gap can be twice as wide as an offset can say; a span without buckets bridges it.
                let mut rest = gap;
                while rest > i64::from(i32::MAX) {
                    out.spans.push(Span { offset: i32::MAX, length: 0 });
                    rest -= i64::from(i32::MAX);
                }
                out.spans.push(Span { offset: i32::try_from(rest).unwrap_or(i32::MIN), length: 1 });
            }
        }
        out.counts.push(count);
        end = i64::from(index) + 1;
    }
    out
}

/// Walks the buckets of a side as a resolution of `to` has them, which is no higher than `from`.
pub(super) fn at_schema(
    indexed: impl Iterator<Item = Indexed>,
    from: i32,
    to: i32,
) -> impl Iterator<Item = Indexed> {
    let mut indexed = indexed.peekable();
    let by = from.saturating_sub(to).clamp(0, 31);
    // Bucket `i` ends at its bound, so that the first two buckets above zero fall into the first one.
    let coarse = move |index: i32| (((i64::from(index) - 1) >> by) + 1) as i32;
    std::iter::from_fn(move || {
        let (index, mut count) = indexed.next()?;
        let index = coarse(index);
        while let Some((_, more)) = indexed.next_if(|(next, _)| coarse(*next) == index) {
            count += more;
        }
        Some((index, count))
    })
}

/// Drops buckets without observations.
pub(crate) fn compact(histogram: &mut Histogram) {
    for side in [&mut histogram.positive, &mut histogram.negative] {
        if side.counts.contains(&0.0) {
            *side = collect(side.iter().filter(|(_, count)| *count != 0.0));
        }
    }
}
