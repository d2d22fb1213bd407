//! Native histograms: one sample that is a whole distribution.

use std::fmt;

/// Schema of histograms whose bucket bounds are given one by one.
pub const CUSTOM_BOUNDS: i32 = -53;

/// Most buckets, spans and bounds of one histogram: the finest resolution over a span of 2^256. SDKs stop at 160
/// buckets; this keeps one histogram from being larger than what a segment reads at once.
pub const BUCKETS_MAX: usize = 1 << 16;

/// A native histogram: counts of observations in buckets whose bounds its schema gives.
///
/// Under schemas -4 to 8 the bounds grow by the factor `2^(2^-schema)`: bucket `i` holds the observations in
/// `(2^((i-1)·2^-schema), 2^(i·2^-schema)]`, on the negative side mirrored; what is at most `zero_threshold` away from
/// zero is counted in `zero_count`. Under [`CUSTOM_BOUNDS`] bucket `i` ends at `custom_bounds[i]`, the one behind the
/// last bound is open, and there are neither negative nor zero buckets.
///
/// Counts are floats, as PromQL computes with them; integer counts up to 2^53 are exact.
///
/// Source: Prometheus, *Native Histograms* specification.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What is known about a reset before this sample.
    pub reset: CounterReset,
    /// Resolution, -4 to 8, or [`CUSTOM_BOUNDS`].
    pub schema: i32,
    /// Width of the zero bucket, in the observations' unit.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN among them.
    pub count: f64,
    /// Sum of the observations, in their unit.
    pub sum: f64,
    /// Buckets of positive observations.
    pub positive: Buckets,
    /// Buckets of negative observations.
    pub negative: Buckets,
    /// Upper bounds of the buckets under [`CUSTOM_BOUNDS`], rising, without the infinite one; else empty.
    pub custom_bounds: Vec<f64>,
}

/// What is known about a reset of a histogram's counts between the sample before it and itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// Nothing: counts tell.
    #[default]
    Unknown,
    /// There was one.
    Yes,
    /// There was none.
    No,
    /// The histogram goes up and down; resets mean nothing.
    Gauge,
}

/// Buckets of one side, with the empty stretches between them left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Stretches of buckets that follow one another.
    pub spans: Vec<Span>,
    /// The count of each bucket of all spans, not added up.
    pub counts: Vec<f64>,
}

/// A stretch of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Of the first span the index of its first bucket; of others the buckets left out since the span before.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Why a histogram cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HistogramError {
    /// A resolution that there is not.
    #[error("histogram schema is {0}: must be -4 to 8, or -53 for custom bounds")]
    Schema(i32),
    /// Spans and counts that do not fit each other.
    #[error("histogram has {counts} bucket counts for {buckets} buckets in its spans")]
    Counts {
        /// Counts that are there.
        counts: usize,
        /// Buckets of the spans.
        buckets: u64,
    },
    /// A span before the end of the one before it.
    #[error("histogram span {index} has offset {offset}: must not be negative")]
    Offset {
        /// Its place.
        index: usize,
        /// Its offset.
        offset: i32,
    },
    /// Buckets outside of what numbers can be.
    #[error("histogram has a bucket with index {0}: outside of what its schema can hold")]
    Index(i64),
    /// A count that is none.
    #[error("histogram has a count of {0}: must not be negative")]
    Negative(f64),
    /// More observations in buckets than in all.
    #[error("histogram has {in_buckets} observations in buckets, of {count}")]
    Sum {
        /// In buckets.
        in_buckets: f64,
        /// Its count.
        count: f64,
    },
    /// Bounds that do not rise, or that are not finite.
    #[error("histogram has custom bounds that do not rise: {0}")]
    Bounds(f64),
    /// More than one histogram may have.
    #[error("histogram has {count} {part}: at most {BUCKETS_MAX}")]
    Large {
        /// Of what there is too much.
        part: &'static str,
        /// How many there are.
        count: usize,
    },
    /// Parts that its schema has no place for.
    #[error("histogram of schema {schema} has {part}")]
    Part {
        /// Its schema.
        schema: i32,
        /// What it has.
        part: &'static str,
    },
}

impl Buckets {
    /// Returns index and count of each bucket, in rising order of the index.
    pub fn iter(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let mut next = 0_i64;
        let indexes = self.spans.iter().flat_map(move |span| {
            let start = next + i64::from(span.offset);
            next = start + i64::from(span.length);
            start..next
        });
        indexes.zip(&self.counts).map(|(index, count)| (i32::try_from(index).unwrap_or(i32::MAX), *count))
    }

    fn check_spans(&self) -> Result<(), HistogramError> {
        let buckets = self.spans.iter().map(|span| u64::from(span.length)).sum();
        if self.counts.len() as u64 != buckets {
            return Err(HistogramError::Counts { counts: self.counts.len(), buckets });
        }
        let mut next = 0_i64;
        for (index, span) in self.spans.iter().enumerate() {
            if index > 0 && span.offset < 0 {
                return Err(HistogramError::Offset { index, offset: span.offset });
            }
            next += i64::from(span.offset) + i64::from(span.length);
            if i32::try_from(next).is_err() {
                return Err(HistogramError::Index(next));
            }
        }
        Ok(())
    }

    fn sum(&self) -> Result<f64, HistogramError> {
        match self.counts.iter().find(|count| **count < 0.0) {
            Some(count) => Err(HistogramError::Negative(*count)),
            None => Ok(self.counts.iter().sum()),
        }
    }
}

impl Histogram {
    /// Tells whether its bounds are given one by one.
    pub fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BOUNDS
    }

    /// Checks what no later step looks at again: the schema, that spans and counts fit, that counts are no less than
    /// zero and are not more in the buckets than in all (a little more by rounding is let pass), and that custom
    /// bounds rise.
    ///
    /// # Errors
    /// [`HistogramError`] names what is wrong.
    pub fn check(&self) -> Result<(), HistogramError> {
        self.check_layout()?;
        let (positive, negative) = (self.positive.sum()?, self.negative.sum()?);
        if self.has_custom_bounds() && self.zero_count != 0.0 {
            return Err(HistogramError::Part { schema: self.schema, part: "a zero bucket" });
        }
        for count in [self.zero_count, self.count] {
            if count < 0.0 {
                return Err(HistogramError::Negative(count));
            }
        }
        let in_buckets = positive + negative + self.zero_count;
        // Float counts that were added up elsewhere need not add up here to the last bit.
        if in_buckets > self.count * (1.0 + 1e-9) + 1e-9 {
            return Err(HistogramError::Sum { in_buckets, count: self.count });
        }
        Ok(())
    }

    /// Checks all but the counts: whoever walks the buckets relies on it. Stored histograms are held against this
    /// when they are read.
    ///
    /// # Errors
    /// [`HistogramError`] names what is wrong.
    pub(crate) fn check_layout(&self) -> Result<(), HistogramError> {
        let schema = self.schema;
        let sizes = [
            ("buckets", self.positive.counts.len() + self.negative.counts.len()),
            ("spans", self.positive.spans.len() + self.negative.spans.len()),
            ("custom bounds", self.custom_bounds.len()),
        ];
        if let Some((part, count)) = sizes.into_iter().find(|(_, count)| *count > BUCKETS_MAX) {
            return Err(HistogramError::Large { part, count });
        }
        if !(-4..=8).contains(&schema) && !self.has_custom_bounds() {
            return Err(HistogramError::Schema(schema));
        }
        self.positive.check_spans()?;
        self.negative.check_spans()?;
        if self.has_custom_bounds() {
            self.check_custom()?;
        } else if !self.custom_bounds.is_empty() {
            return Err(HistogramError::Part { schema, part: "custom bounds" });
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(HistogramError::Negative(self.zero_threshold));
        }
        Ok(())
    }

    fn check_custom(&self) -> Result<(), HistogramError> {
        let schema = self.schema;
        let part = |part| Err(HistogramError::Part { schema, part });
        if !self.negative.spans.is_empty() {
            return part("negative buckets");
        }
        if self.zero_threshold != 0.0 {
            return part("a zero bucket");
        }
        let mut before = f64::NEG_INFINITY;
        for bound in &self.custom_bounds {
            if !bound.is_finite() || *bound <= before {
                return Err(HistogramError::Bounds(*bound));
            }
            before = *bound;
        }
        let end = self.positive.iter().last().map_or(0, |(index, _)| i64::from(index));
        let start = self.positive.spans.first().map_or(0, |span| i64::from(span.offset));
        if start < 0 {
            return Err(HistogramError::Index(start));
        }
        if end > self.custom_bounds.len() as i64 {
            return Err(HistogramError::Index(end));
        }
        Ok(())
    }

    /// Tells whether two are the same to the last bit, NaN and -0 included.
    pub fn is_same(&self, other: &Self) -> bool {
        let bits = |values: &[f64], others: &[f64]| {
            values.len() == others.len() && values.iter().zip(others).all(|(a, b)| a.to_bits() == b.to_bits())
        };
        let parts = |h: &Self| [h.zero_threshold, h.zero_count, h.count, h.sum];
        self.reset == other.reset
            && self.schema == other.schema
            && bits(&parts(self), &parts(other))
            && self.positive.spans == other.positive.spans
            && self.negative.spans == other.negative.spans
            && bits(&self.positive.counts, &other.positive.counts)
            && bits(&self.negative.counts, &other.negative.counts)
            && bits(&self.custom_bounds, &other.custom_bounds)
    }
}

impl fmt::Display for CounterReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Yes => "reset",
            Self::No => "not_reset",
            Self::Gauge => "gauge",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
        let spans = spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
        Buckets { spans, counts: counts.to_vec() }
    }

    fn plain() -> Histogram {
        let positive = of(&[(-2, 2), (3, 1)], &[1.0, 2.0, 3.0]);
        Histogram { schema: 3, zero_count: 1.0, count: 7.0, sum: 5.5, positive, ..Histogram::default() }
    }

    #[test]
    fn buckets_are_where_spans_say() {
        let indexes: Vec<_> = plain().positive.iter().collect();
        assert_eq!(indexes, [(-2, 1.0), (-1, 2.0), (3, 3.0)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert_eq!(plain().check(), Ok(()));
        let with = |change: fn(&mut Histogram)| {
            let mut histogram = plain();
            change(&mut histogram);
            histogram.check().map_err(|e| e.to_string())
        };
        assert!(with(|h| h.schema = 9).unwrap_err().contains("schema is 9"));
        assert!(with(|h| h.positive.counts.truncate(2)).unwrap_err().contains("2 bucket counts for 3"));
        assert!(with(|h| h.positive.spans[1].offset = -1).unwrap_err().contains("span 1 has offset -1"));
        assert!(with(|h| h.positive.counts[0] = -1.0).unwrap_err().contains("count of -1"));
        assert!(with(|h| h.count = 6.0).unwrap_err().contains("7 observations in buckets, of 6"));
        assert!(with(|h| h.custom_bounds.push(1.0)).unwrap_err().contains("has custom bounds"));
        assert!(with(|h| h.positive.spans[1].offset = i32::MAX).unwrap_err().contains("index"));
        assert!(with(|h| h.zero_threshold = f64::NAN).is_err());
        let many = with(|h| h.positive.spans.resize(BUCKETS_MAX + 1, Span::default()));
        assert!(many.unwrap_err().contains("65537 spans: at most 65536"));
    }

    #[test]
    fn custom_bounds_have_their_own_rules() {
        let custom = |bounds: &[f64], spans: &[(i32, u32)]| {
            let n: u32 = spans.iter().map(|(_, length)| length).sum();
            let counts = vec![1.0; n as usize];
            let h = Histogram {
                schema: CUSTOM_BOUNDS,
                count: f64::from(n),
                positive: of(spans, &counts),
                custom_bounds: bounds.to_vec(),
                ..Histogram::default()
            };
            h.check().is_ok()
        };
        assert!(custom(&[1.0, 2.0], &[(0, 3)]));
        assert!(custom(&[], &[(0, 1)]));
        assert!(!custom(&[1.0, 2.0], &[(0, 4)]), "behind the open bucket");
        assert!(!custom(&[1.0, 2.0], &[(-1, 1)]));
        assert!(!custom(&[2.0, 2.0], &[(0, 1)]));
        assert!(!custom(&[2.0, f64::INFINITY], &[(0, 1)]));
    }

    #[test]
    fn the_same_is_by_bits() {
        let nan = Histogram { sum: f64::NAN, ..plain() };
        assert!(nan.is_same(&nan.clone()) && nan != nan.clone());
        let zero = |sum| Histogram { sum, ..plain() };
        assert!(!zero(0.0).is_same(&zero(-0.0)));
    }
}
