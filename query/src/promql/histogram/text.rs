//! Histograms as Prometheus writes them.

use std::fmt;

use greylight_store::model::Histogram;

use super::layout::buckets;
use crate::promql::eval::numeric::format_g;

/// Writes a histogram as `{count:4, sum:5, (0.5,1]:1, (1,2]:3}`: populated buckets from the lowest to the highest, a
/// bracket for an end that belongs to its bucket.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub(crate) &'a Histogram);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_g(self.0.count), format_g(self.0.sum))?;
        for bucket in buckets(self.0) {
            let left = if bucket.lower_inclusive { '[' } else { '(' };
            let right = if bucket.upper_inclusive { ']' } else { ')' };
            let (lower, upper) = (format_g(bucket.lower), format_g(bucket.upper));
            write!(f, ", {left}{lower},{upper}{right}:{}", format_g(bucket.count))?;
        }
        f.write_str("}")
    }
}
