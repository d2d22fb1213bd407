//! Exponential histograms as native ones.
//!
//! Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", "Exponential Histograms".

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

use crate::histogram::{NativeBuckets, NativeHistogram};

/// Finest resolution of native histograms; finer ones have their buckets merged.
const SCHEMA_MAX: i32 = 8;
/// Coarsest resolution of native histograms.
const SCHEMA_MIN: i32 = -4;

/// Width of the zero bucket where the sender does not say: what Prometheus takes.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Empty buckets up to so many are written out: a further span would take more.
const GAP_MAX: i64 = 2;

pub(super) const BAD_SCALE: &str =
    "an exponential histogram has a scale below -4, which is coarser than can be stored";
pub(super) const BAD_INDEX: &str = "an exponential histogram has a bucket outside of what its scale can hold";

/// Translates a point with a value.
///
/// A sum that is absent is not known, so NaN.
///
/// # Errors
/// The reason, for a point that has no form as a native histogram.
pub(super) fn native(
    point: &ExponentialHistogramDataPoint,
    t_ms: i64,
) -> Result<NativeHistogram, &'static str> {
    if point.scale < SCHEMA_MIN {
        return Err(BAD_SCALE);
    }
    let schema = point.scale.min(SCHEMA_MAX);
    // Beyond 31 steps all buckets of a side are one.
    let down = point.scale.saturating_sub(schema).min(63);
    let side = |buckets: &Option<Buckets>| {
        buckets.as_ref().map_or(Ok(NativeBuckets::default()), |b| merged(b, down))
    };
    Ok(NativeHistogram {
        t_ms,
        schema,
        zero_threshold: if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD },
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        sum: point.sum.unwrap_or(f64::NAN),
        positive: side(&point.positive)?,
        negative: side(&point.negative)?,
        ..NativeHistogram::default()
    })
}

/// Lays out the buckets of one side at a resolution that is `down` steps coarser: `2^down` of them become one.
fn merged(buckets: &Buckets, down: i32) -> Result<NativeBuckets, &'static str> {
    let mut out = NativeBuckets::default();
    // The bucket being filled and its count, and the one after the last that was written.
    let (mut open, mut next): (Option<(i64, u128)>, Option<i64>) = (None, None);
    let numbered = (i64::from(buckets.offset)..).zip(&buckets.bucket_counts).filter(|(_, count)| **count > 0);
    for (index, count) in numbered {
        // Upper bounds are inside here, and bucket 0 ends at 1: one further than over there.
        let index = (index >> down) + 1;
        match &mut open {
            Some((at, sum)) if *at == index => *sum += u128::from(*count),
            _ => {
                write(&mut out, open.replace((index, u128::from(*count))), &mut next)?;
            }
        }
    }
    write(&mut out, open, &mut next)?;
    Ok(out)
}

fn write(
    out: &mut NativeBuckets,
    bucket: Option<(i64, u128)>,
    next: &mut Option<i64>,
) -> Result<(), &'static str> {
    let Some((index, count)) = bucket else { return Ok(()) };
    // Indexes rise, so that this is no less than 0 but for the first.
    let gap = next.map_or(index, |next| index - next);
    match out.spans.last_mut().filter(|_| gap <= GAP_MAX) {
        Some((_, length)) => {
            *length += gap as u32 + 1;
            out.counts.extend((0..gap).map(|_| 0.0));
        }
        None => out.spans.push((i32::try_from(gap).map_err(|_| BAD_INDEX)?, 1)),
    }
    out.counts.push(count as f64);
    *next = Some(index + 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn point(scale: i32, offset: i32, counts: &[u64]) -> ExponentialHistogramDataPoint {
        let buckets = Buckets { offset, bucket_counts: counts.to_vec() };
        ExponentialHistogramDataPoint {
            scale,
            positive: Some(buckets),
            ..ExponentialHistogramDataPoint::default()
        }
    }

    #[track_caller]
    fn check(scale: i32, offset: i32, counts: &[u64], want: (i32, &[(i32, u32)], &[f64])) {
        let native = native(&point(scale, offset, counts), 5).expect("can be translated");
        let got = (native.schema, &native.positive.spans[..], &native.positive.counts[..]);
        assert_eq!(got, want);
    }

    #[test]
    fn buckets_move_by_one_and_gaps_make_spans() {
        check(0, 0, &[1, 2], (0, &[(1, 2)], &[1.0, 2.0]));
        check(0, -3, &[1, 0, 0, 2], (0, &[(-2, 4)], &[1.0, 0.0, 0.0, 2.0]));
        check(0, -3, &[0, 1, 0, 0, 0, 2, 0], (0, &[(-1, 1), (3, 1)], &[1.0, 2.0]));
        check(0, 7, &[0, 0], (0, &[], &[]));
    }

    #[test]
    fn finer_scales_are_merged_and_coarser_ones_refused() {
        // Of scale 9, two buckets make one of scale 8: -2 and -1 become one, 0 and 1 the next.
        check(9, -3, &[1, 2, 4, 8, 16], (8, &[(-1, 3)], &[1.0, 6.0, 24.0]));
        check(20, 0, &[1; 4096], (8, &[(1, 1)], &[4096.0]));
        check(i32::MAX, -2, &[1, 2, 4], (8, &[(0, 2)], &[3.0, 4.0]));
        assert_eq!(native(&point(-5, 0, &[1]), 0), Err(BAD_SCALE));
        assert_eq!(native(&point(0, i32::MAX, &[1]), 0), Err(BAD_INDEX));
    }

    #[test]
    fn what_is_absent_is_said_so() {
        let absent = native(&ExponentialHistogramDataPoint::default(), 5).expect("can be translated");
        assert_eq!((absent.zero_threshold, absent.t_ms), (1e-128, 5));
        assert!(absent.sum.is_nan());
        let there = ExponentialHistogramDataPoint {
            zero_threshold: 0.5,
            sum: Some(2.0),
            zero_count: 3,
            count: 4,
            ..ExponentialHistogramDataPoint::default()
        };
        let native = native(&there, 5).expect("can be translated");
        assert_eq!(
            (native.zero_threshold, native.sum, native.zero_count, native.count),
            (0.5, 2.0, 3.0, 4.0)
        );
    }

    proptest! {
        #[test]
        fn each_observation_lands_in_the_bucket_that_holds_it(
            scale in -4..24, offset in -5000..5000, counts in proptest::collection::vec(0u64..4, 0..80),
        ) {
            let native = native(&point(scale, offset, &counts), 0).expect("can be translated");
            let mut want: BTreeMap<i64, f64> = BTreeMap::new();
            for (index, count) in (i64::from(offset)..).zip(&counts) {
                // The upper bound of a bucket decides: 2^((i+1)·2^-scale) in 2^((j-1)·2^-schema)..=2^(j·2^-schema).
                let steps = 1_i64 << (scale - native.schema);
                *want.entry((index + 1 + steps - 1).div_euclid(steps)).or_default() += *count as f64;
            }
            let mut got = BTreeMap::new();
            let (mut at, mut counts) = (0, native.positive.counts.iter());
            for (offset, length) in &native.positive.spans {
                at += i64::from(*offset);
                for count in counts.by_ref().take(*length as usize) {
                    got.insert(at, *count);
                    at += 1;
                }
            }
            prop_assert!(counts.next().is_none());
            got.retain(|_, count| *count > 0.0);
            want.retain(|_, count| *count > 0.0);
            prop_assert_eq!(got, want);
        }
    }
}
