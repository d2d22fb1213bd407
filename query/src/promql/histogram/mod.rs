//! Native histograms as values: where their buckets lie, sums and differences, resets, quantiles, text.
//!
//! All of it is pure. Results are floats that may be below zero: only what is stored has to be a count.
//!
//! Source: Prometheus, *Native Histograms* specification, sections "Data model" and "PromQL".

mod layout;
mod arithmetic;
mod estimate;
mod text;
#[cfg(test)]
mod tests;

use greylight_store::model::Histogram;

pub(crate) use arithmetic::{Mismatch, add, divide, is_equal, is_reset, reduce, scale, subtract};
pub(crate) use estimate::{NanEffect, fraction, quantile, variance};
pub(crate) use layout::{Bucket, buckets, compact};
pub(crate) use text::Text;

/// Returns the space that a histogram takes, in floats, as limits count it.
pub(crate) fn weight(histogram: &Histogram) -> usize {
    n_elements(histogram) + size_of::<Histogram>() / size_of::<f64>()
}

/// Returns how many spans, buckets and bounds a histogram has.
pub(crate) fn n_elements(histogram: &Histogram) -> usize {
    let side = |side: &greylight_store::model::Buckets| side.spans.len() + side.counts.len();
    side(&histogram.positive) + side(&histogram.negative) + histogram.custom_bounds.len()
}
