//! Native histograms, booked by interval.
//!
//! Buckets of all resolutions are brought onto one lattice of four buckets a doubling, so that sides and looks have
//! edges in common. Buckets wider than that keep their own edges, which are edges of the lattice too: what was booked
//! once stays where it is, whatever resolution comes later.

use std::collections::{BTreeMap, BTreeSet};

use greylight_store::model::{CUSTOM_BOUNDS, CounterReset, Histogram as Sample};
use greylight_store::read::Samples;

use super::Grid;
use super::counter::Before;
use super::metrics::{BUCKETS_MAX, CollectError, OrdF64};
use crate::judge::Histogram;

/// The resolution of the lattice as a schema: steps of a quarter of a doubling.
const SCHEMA: i32 = 2;
/// Edges of the steps of one doubling, as parts of the edge below it.
const STEPS: [f64; 4] = [1.0, 1.189_207_115_002_721, std::f64::consts::SQRT_2, 1.681_792_830_507_429];
/// The last step whose edge is a number.
const STEP_MAX: i64 = 4 * 1023;

/// Where a bucket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bucket {
    /// At zero: values that are not above it.
    Zero,
    /// At a step of the lattice.
    Step(i64),
    /// At a bound that the histogram gives.
    Bound(OrdF64),
}

/// The counts of one sample.
#[derive(Clone, Debug)]
struct Counted {
    /// `None` before the first sample.
    schema: Option<i32>,
    zero_threshold: f64,
    counts: BTreeMap<Bucket, f64>,
}

/// What the native histograms of one unit counted in each interval.
#[derive(Clone, Debug)]
pub(super) struct Native {
    present: Vec<bool>,
    sums: BTreeMap<Bucket, Vec<f64>>,
    /// How many steps the widest bucket has that ends there.
    widths: BTreeMap<i64, i64>,
}

impl Bucket {
    fn edge(self) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::Step(step) => {
                let doublings = i32::try_from(step.div_euclid(4)).unwrap_or(i32::MAX);
                STEPS[step.rem_euclid(4) as usize] * 2f64.powi(doublings)
            }
            Self::Bound(OrdF64(bound)) => bound,
        }
    }

    /// The bucket that holds this one where buckets are as wide as that.
    fn widened(self, width: i64) -> Self {
        match self {
            Self::Step(step) => Self::Step(-(-step).div_euclid(width) * width),
            other => other,
        }
    }
}

/// Steps of the lattice that a bucket of a schema spans.
fn width(schema: i32) -> i64 {
    1 << (SCHEMA - schema).clamp(0, 16)
}

impl Counted {
    fn nothing() -> Self {
        Self { schema: None, zero_threshold: 0.0, counts: BTreeMap::new() }
    }

    fn new(sample: &Sample) -> Self {
        let mut counted =
            Self { schema: Some(sample.schema), zero_threshold: sample.zero_threshold, ..Self::nothing() };
        if sample.has_custom_bounds() {
            for (index, count) in sample.positive.iter() {
                let bound = usize::try_from(index).ok().and_then(|index| sample.custom_bounds.get(index));
                counted.add(Bucket::Bound(OrdF64(bound.copied().unwrap_or(f64::INFINITY))), count);
            }
            return counted;
        }
        for (index, count) in sample.positive.iter() {
            let index = i64::from(index);
            let step = match sample.schema - SCHEMA {
                finer if finer >= 0 => ((index - 1) >> finer) + 1,
                coarser => index << -coarser,
            };
            counted.add(Bucket::Step(step.clamp(-STEP_MAX, STEP_MAX)), count);
        }
        let negative: f64 = sample.negative.counts.iter().sum();
        counted.add(Bucket::Zero, sample.zero_count + negative);
        counted
    }

    fn add(&mut self, bucket: Bucket, count: f64) {
        if count > 0.0 {
            *self.counts.entry(bucket).or_default() += count;
        }
    }

    /// The same counts in wider buckets and above a higher threshold of zero.
    fn widened(&self, width: i64, zero_threshold: f64) -> Self {
        let mut wide = Self { schema: self.schema, zero_threshold, counts: BTreeMap::new() };
        for (bucket, count) in &self.counts {
            let wider = bucket.widened(width);
            let is_zero =
                matches!(wider, Bucket::Step(step) if Bucket::Step(step - width).edge() < zero_threshold);
            wide.add(if is_zero { Bucket::Zero } else { wider }, *count);
        }
        wide
    }

    /// What was counted since an earlier sample: all of it, where the counts began anew. That is said by the sample, or
    /// seen: counts that fell, and a resolution that only a new process has.
    fn since(&self, earlier: &Self, reset: CounterReset) -> Self {
        let (Some(schema), Some(before)) = (self.schema, earlier.schema) else { return self.clone() };
        let is_finer = schema > before || self.zero_threshold < earlier.zero_threshold;
        let is_other_kind = (schema == CUSTOM_BOUNDS) != (before == CUSTOM_BOUNDS);
        if reset == CounterReset::Yes || is_other_kind || is_finer && reset != CounterReset::No {
            return self.clone();
        }
        let earlier =
            earlier.widened(if schema == CUSTOM_BOUNDS { 1 } else { width(schema) }, self.zero_threshold);
        let is_less = |(bucket, count): (&Bucket, &f64)| self.counts.get(bucket).is_none_or(|n| n < count);
        if reset != CounterReset::No && earlier.counts.iter().any(is_less) {
            return self.clone();
        }
        let mut new = self.clone();
        for (bucket, count) in earlier.counts {
            if let Some(n) = new.counts.get_mut(&bucket) {
                *n = (*n - count).max(0.0);
            }
        }
        new
    }
}

impl Native {
    pub(super) fn new(n: usize) -> Self {
        Self { present: vec![false; n], sums: BTreeMap::new(), widths: BTreeMap::new() }
    }

    /// Adds the increases of one series of histograms to the intervals where the later sample of each pair lies.
    ///
    /// # Errors
    /// [`CollectError::Unsupported`] for histograms that go up and down.
    pub(super) fn book(
        &mut self,
        samples: Samples<'_>,
        before: &Before,
        grid: &Grid,
    ) -> Result<(), CollectError> {
        let mut last = match before {
            Before::Histogram(sample) => Some(Counted::new(sample)),
            Before::Zero => Some(Counted::nothing()),
            Before::Unknown | Before::Value(_) => None,
        };
        for (at, sample) in samples.histograms {
            if sample.reset == CounterReset::Gauge {
                let text = "the native histogram goes up and down (a gauge): it has no counts of an interval";
                return Err(CollectError::Unsupported(text.into()));
            }
            let now = Counted::new(sample);
            if let Some(i) = grid.index(samples.t_ms[*at]) {
                self.present[i] = true;
                if let Some(last) = &last {
                    let new = now.since(last, sample.reset);
                    for (bucket, count) in new.counts {
                        if let (Bucket::Step(step), Some(schema)) = (bucket, new.schema) {
                            let widest = self.widths.entry(step).or_insert(1);
                            *widest = width(schema).max(*widest);
                        }
                        self.sums.entry(bucket).or_insert_with(|| vec![0.0; grid.n])[i] += count;
                    }
                }
            }
            last = Some(now);
        }
        Ok(())
    }

    pub(super) fn has_samples(&self) -> bool {
        self.present.contains(&true)
    }
}

/// Finds the edges of the buckets that histograms of several units have counts in.
///
/// # Errors
/// [`CollectError::Unsupported`] where there are too many, or buckets of both kinds.
pub(super) fn edges<'n>(all: impl Iterator<Item = &'n Native> + Clone) -> Result<Vec<f64>, CollectError> {
    let mut buckets: BTreeSet<Bucket> = all.clone().flat_map(|native| native.sums.keys().copied()).collect();
    let n_bounds = buckets.iter().filter(|bucket| matches!(bucket, Bucket::Bound(_))).count();
    if n_bounds > 0 && n_bounds < buckets.len() {
        let text =
            "some native histograms have bounds of their own and others have not: their buckets differ";
        return Err(CollectError::Unsupported(text.into()));
    }
    // Where a bucket begins is where the one below it ends.
    buckets.extend(all.flat_map(|native| &native.widths).map(|(step, width)| Bucket::Step(step - width)));
    if buckets.len() > BUCKETS_MAX {
        return Err(CollectError::Unsupported(format!(
            "the native histogram has {} buckets, more than {BUCKETS_MAX}",
            buckets.len()
        )));
    }
    let mut edges: Vec<f64> = buckets.into_iter().map(Bucket::edge).collect();
    if edges.last() != Some(&f64::INFINITY) {
        edges.push(f64::INFINITY);
    }
    Ok(edges)
}

impl Native {
    /// Puts the counts into buckets that end at edges from [`edges`].
    pub(super) fn counts(&self, grid: Grid, edges: &[f64]) -> Histogram {
        let mut counts: Vec<Option<Vec<f64>>> =
            self.present.iter().map(|present| present.then(|| vec![0.0; edges.len()])).collect();
        for (bucket, sums) in &self.sums {
            let edge = bucket.edge();
            let at = edges.partition_point(|e| *e < edge).min(edges.len() - 1);
            for (row, n) in counts.iter_mut().zip(sums) {
                if let Some(row) = row {
                    row[at] += n;
                }
            }
        }
        Histogram { t_ms: grid.starts(), le: edges.to_vec(), counts, units: indexmap::IndexMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use greylight_store::model::{Buckets, Span};
    use proptest::prelude::*;

    use super::*;

    const GRID: Grid = Grid { start_ms: 0, step_ms: 10, n: 3 };

    fn sample(schema: i32, offset: i32, counts: &[f64], reset: CounterReset) -> (usize, Arc<Sample>) {
        let spans = vec![Span { offset, length: counts.len() as u32 }];
        let positive = Buckets { spans, counts: counts.to_vec() };
        let count = counts.iter().sum();
        (0, Arc::new(Sample { reset, schema, count, positive, ..Sample::default() }))
    }

    fn booked(list: &[(i64, (usize, Arc<Sample>))], before: &Before) -> Histogram {
        let t_ms: Vec<i64> = list.iter().map(|one| one.0).collect();
        let histograms: Vec<_> =
            list.iter().enumerate().map(|(at, one)| (at, Arc::clone(&one.1.1))).collect();
        let values = vec![f64::NAN; list.len()];
        let mut native = Native::new(GRID.n);
        let samples = Samples { t_ms: &t_ms, values: &values, histograms: &histograms, counts: &[] };
        native.book(samples, before, &GRID).unwrap();
        let edges = edges(std::iter::once(&native)).unwrap();
        native.counts(GRID, &edges)
    }

    #[test]
    fn increases_are_booked_where_the_later_sample_lies() {
        let unknown = CounterReset::Unknown;
        let list = [
            (-5, sample(0, 0, &[1.0, 2.0], unknown)),
            (5, sample(0, 0, &[1.0, 4.0, 1.0], unknown)),
            // It began anew.
            (25, sample(0, 0, &[3.0], unknown)),
        ];
        let got = booked(&list, &Before::Unknown);
        assert_eq!(got.le, [0.5, 1.0, 2.0, 4.0, f64::INFINITY]);
        let want = [Some(vec![0.0, 0.0, 2.0, 1.0, 0.0]), None, Some(vec![0.0, 3.0, 0.0, 0.0, 0.0])];
        assert_eq!(got.counts, want);
    }

    #[test]
    fn resolutions_are_brought_together() {
        let unknown = CounterReset::Unknown;
        // Schema 3 has eight buckets a doubling: 9 to 16 are those above 2 up to 4.
        let fine = sample(3, 9, &[1.0; 8], unknown);
        let coarse = sample(0, 2, &[10.0], unknown);
        let got = booked(&[(1, fine.clone()), (11, coarse)], &Before::Zero);
        // What was booked stays where it is; the new counts are those of the wide bucket.
        assert_eq!(got.counts[0], Some(vec![0.0, 2.0, 2.0, 2.0, 2.0, 0.0]));
        assert_eq!(got.counts[1], Some(vec![0.0, 0.0, 0.0, 0.0, 2.0, 0.0]));
        assert_eq!((got.le[0], got.le[4], got.le.len()), (2.0, 4.0, 6));
        let wide = booked(&[(1, sample(0, 2, &[3.0], unknown))], &Before::Zero);
        assert_eq!((wide.le, &wide.counts[0]), (vec![2.0, 4.0, f64::INFINITY], &Some(vec![0.0, 3.0, 0.0])));
    }

    #[test]
    fn a_wider_zero_is_no_reset_and_a_finer_resolution_is_one() {
        let small = |zero_threshold: f64, zero_count: f64, counts: &[f64], reset: CounterReset| {
            let (_, sample) = sample(0, -9, counts, reset);
            (0, Arc::new(Sample { zero_threshold, zero_count, ..(*sample).clone() }))
        };
        let (unknown, no) = (CounterReset::Unknown, CounterReset::No);
        // Three values above 2^-10 become zeros when zero goes up to 2^-8.
        let before = small(0.0, 0.0, &[3.0, 0.0, 100.0], unknown);
        for reset in [unknown, no] {
            let after = small(2f64.powi(-8), 4.0, &[0.0, 0.0, 110.0], reset);
            let got = booked(&[(1, before.clone()), (11, after)], &Before::Unknown);
            assert_eq!(got.counts[1].as_ref().map(|row| row.iter().sum()), Some(11.0), "{reset}");
        }
        let finer = sample(3, 1, &[12.0], unknown);
        let got = booked(&[(1, sample(0, 1, &[10.0], unknown)), (11, finer)], &Before::Unknown);
        assert_eq!(got.counts[1].as_ref().map(|row| row.iter().sum()), Some(12.0));
    }

    #[test]
    fn one_far_value_is_one_bucket_more() {
        let near = sample(8, 0, &[5.0], CounterReset::Unknown);
        let (_, far) = sample(8, 1024 * 256 + 1, &[1.0], CounterReset::Unknown);
        let mut both = (*near.1).clone();
        both.positive.spans.push(Span { offset: 1024 * 256, length: 1 });
        both.positive.counts.push(far.positive.counts[0]);
        let got = booked(&[(1, (0, Arc::new(both)))], &Before::Zero);
        assert_eq!(got.counts[0].as_ref().map(|row| row.iter().sum()), Some(6.0));
        assert!(got.le.len() <= 6, "{:?}", got.le);
    }

    #[test]
    fn gauges_and_kinds_that_do_not_fit_are_named() {
        let mut native = Native::new(GRID.n);
        let (_, gauge) = sample(0, 0, &[1.0], CounterReset::Gauge);
        let samples = Samples { t_ms: &[1], values: &[f64::NAN], histograms: &[(0, gauge)], counts: &[] };
        let error = native.book(samples, &Before::Zero, &GRID).unwrap_err();
        assert!(error.to_string().contains("a gauge"), "{error}");
        let mut bounds = Native::new(1);
        bounds.sums.insert(Bucket::Bound(OrdF64(1.0)), vec![1.0]);
        let mut steps = Native::new(1);
        steps.sums.insert(Bucket::Step(4), vec![1.0]);
        let error = edges([&bounds, &steps].into_iter()).unwrap_err();
        assert!(error.to_string().contains("bounds of their own"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_values_stay_below_their_edges(
            schema in -4..=8i32,
            index in -40..40i32,
            steps in proptest::collection::vec(0u32..50, 1..6),
        ) {
            let mut total = 0.0;
            let list: Vec<_> = (0..).map(|n| n * 5).zip(&steps).map(|(t, step)| {
                total += f64::from(*step);
                (t, sample(schema, index, &[total], CounterReset::Unknown))
            }).collect();
            let got = booked(&list, &Before::Zero);
            let rows: Vec<&Vec<f64>> = got.counts.iter().flatten().collect();
            let within: f64 = list.iter().filter(|one| one.0 < 30).count() as f64;
            prop_assert!(within > 0.0);
            let counted: f64 = rows.iter().flat_map(|row| row.iter()).sum();
            let last = list.iter().rfind(|one| one.0 < 30).unwrap();
            prop_assert_eq!(counted, last.1.1.count);
            // The bucket's own upper bound lies in the bucket that counts it.
            let upper = 2f64.powf(f64::from(index) * 2f64.powi(-schema));
            for row in rows {
                if let Some(at) = row.iter().position(|n| *n > 0.0) {
                    prop_assert!(got.le[at] >= upper * (1.0 - 1e-12), "{} {upper}", got.le[at]);
                    prop_assert!(at > 0 && got.le[at - 1] < upper * (1.0 + 1e-12));
                }
            }
        }
    }
}
