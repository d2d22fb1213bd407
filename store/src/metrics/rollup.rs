//! Rollups: the few samples of a series that decide what whole buckets of time answer.
//!
//! A rollup keeps samples as they are, it does not compute from them. Of each bucket it keeps the first and
//! the last, and either the least and the greatest or, of a series that seldom falls, both sides of each
//! fall. With the number of samples that each one kept stands for, windows of whole buckets give bit by bit
//! what all samples give: for counters, extremes, ends and counts alike. Stale markers are all kept.
//!
//! Buckets are open on the left and closed on the right, as windows are in PromQL.

use std::ops::Range;

use super::samples::Columns;
use crate::read::{Samples, is_stale};

/// Widths of buckets, in milliseconds: a minute and an hour.
pub(super) const WIDTHS_MS: [i64; 2] = [60_000, 3_600_000];

/// A series with fewer samples a bucket is read from its rows: its rollup would be nearly as large.
const SAMPLES_A_BUCKET: usize = 16;

/// Samples that are kept of a bucket, on average at most.
const KEPT_A_BUCKET: usize = 4;

/// What is kept of the inside of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Both sides of each pair of samples that falls, or that cannot be compared; so the extremes too.
    Falls,
    /// The least and the greatest sample of each bucket.
    Extremes,
}

/// The samples kept of one series.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) t_ms: Vec<i64>,
    pub(super) values: Vec<f64>,
    /// How many samples each stands for: itself and those left out since the one before. 0 for stale markers.
    pub(super) counts: Vec<u32>,
    keep: Vec<bool>,
    /// Places of the samples that are no stale markers.
    live: Vec<u32>,
    /// Where among these each bucket ends.
    ends: Vec<usize>,
    /// Places of samples that fall, and of those that they fall from.
    fallen: Vec<u32>,
}

impl Kept {
    /// Appends some of the samples to columns of samples that each say what they stand for.
    pub(super) fn append_to(&self, within: Range<usize>, columns: &mut Columns) {
        columns.t_ms.extend_from_slice(&self.t_ms[within.clone()]);
        columns.values.extend_from_slice(&self.values[within.clone()]);
        columns.counts.extend_from_slice(&self.counts[within]);
    }

    /// Forgets the samples and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.t_ms.clear();
        self.values.clear();
        self.counts.clear();
    }

    /// Chooses what to keep of a series with buckets of a width; `None` where that is not worth it, or
    /// where there are histograms.
    pub(super) fn fill(&mut self, width_ms: i64, samples: Samples<'_>) -> Option<Keeps> {
        let (t_ms, values) = (samples.t_ms, samples.values);
        if !samples.histograms.is_empty() || !self.find_buckets(width_ms, t_ms, values) {
            return None;
        }
        let n_buckets = self.ends.len();
        self.keep.clear();
        self.keep.resize(values.len(), false);
        if self.live.len() < values.len() {
            self.keep.iter_mut().zip(values).for_each(|(keep, value)| *keep = is_stale(*value));
        }
        let mut start = 0;
        for &end in &self.ends {
            for at in [start, end - 1] {
                self.keep[self.live[at] as usize] = true;
            }
            start = end;
        }
        let keeps = if self.mark_falls(values, KEPT_A_BUCKET * n_buckets) {
            Keeps::Falls
        } else {
            let mut start = 0;
            for &end in &self.ends {
                let bucket = &self.live[start..end];
                self.keep[extreme(values, bucket, |a, b| a < b) as usize] = true;
                self.keep[extreme(values, bucket, |a, b| a > b) as usize] = true;
                start = end;
            }
            Keeps::Extremes
        };
        self.take(t_ms, values);
        Some(keeps)
    }

    /// Finds the samples that are no stale markers, and where among them each bucket ends; `false` where there are too
    /// few samples a bucket.
    fn find_buckets(&mut self, width_ms: i64, t_ms: &[i64], values: &[f64]) -> bool {
        let n_buckets_max = t_ms.len() / SAMPLES_A_BUCKET;
        self.live.clear();
        self.ends.clear();
        let mut bucket_end = None;
        for (i, (t_ms, value)) in t_ms.iter().zip(values).enumerate() {
            if is_stale(*value) {
                continue;
            }
            if bucket_end.is_none_or(|end| *t_ms > end) {
                if bucket_end.is_some() {
                    self.ends.push(self.live.len());
                }
                // Most series have too few, and show it long before their end.
                if self.ends.len() >= n_buckets_max {
                    return false;
                }
                let bucket = t_ms.saturating_sub(1).div_euclid(width_ms);
                bucket_end = Some(bucket.saturating_add(1).saturating_mul(width_ms));
            }
            self.live.push(i as u32);
        }
        self.ends.push(self.live.len());
        let n_stale = t_ms.len() - self.live.len();
        self.live.len() >= SAMPLES_A_BUCKET * self.ends.len() && n_stale <= self.ends.len()
    }

    /// Marks both sides of each fall; `false`, with nothing marked, where that would keep too much.
    fn mark_falls(&mut self, values: &[f64], n_kept_max: usize) -> bool {
        // Zeros of either sign are equal, but a maximum is the one that comes first.
        let falls = |pair: &[u32]| {
            let (a, b) = (values[pair[0] as usize], values[pair[1] as usize]);
            !(a < b || a.to_bits() == b.to_bits())
        };
        let mut n_kept = 2 * self.ends.len();
        for pair in self.live.windows(2).filter(|pair| falls(pair)) {
            n_kept += 2;
            if n_kept > n_kept_max {
                self.fallen.clear();
                return false;
            }
            self.fallen.extend_from_slice(pair);
        }
        self.fallen.drain(..).for_each(|i| self.keep[i as usize] = true);
        true
    }

    fn take(&mut self, t_ms: &[i64], values: &[f64]) {
        self.clear();
        let mut since = 0;
        for (i, keep) in self.keep.iter().enumerate() {
            let is_live = !is_stale(values[i]);
            since += u32::from(is_live);
            if *keep {
                self.t_ms.push(t_ms[i]);
                self.values.push(values[i]);
                self.counts.push(if is_live { std::mem::take(&mut since) } else { 0 });
            }
        }
    }
}

/// Finds the extreme as PromQL does: the first of equal ones, and NaN only where there is nothing else.
fn extreme(values: &[f64], bucket: &[u32], better: impl Fn(f64, f64) -> bool) -> u32 {
    let mut best = bucket[0];
    for &i in &bucket[1..] {
        if better(values[i as usize], values[best as usize]) || values[best as usize].is_nan() {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::STALE_NAN_BITS;

    const WIDTH: i64 = 1000;

    /// What windows are asked, computed from samples and what each stands for.
    fn answers(t_ms: &[i64], values: &[f64], counts: Option<&[u32]>, falls: bool) -> Vec<u64> {
        let live: Vec<usize> = (0..t_ms.len()).filter(|&i| !is_stale(values[i])).collect();
        let n: u64 = live.iter().map(|&i| counts.map_or(1, |c| u64::from(c[i]))).sum();
        let v: Vec<f64> = live.iter().map(|&i| values[i]).collect();
        let Some((&first, &last)) = live.first().zip(live.last()) else { return vec![n] };
        let all: Vec<u32> = (0..v.len() as u32).collect();
        let mut out =
            vec![n, t_ms[first] as u64, t_ms[last] as u64, v[0].to_bits(), v[v.len() - 1].to_bits()];
        out.push(v[extreme(&v, &all, |a, b| a < b) as usize].to_bits());
        out.push(v[extreme(&v, &all, |a, b| a > b) as usize].to_bits());
        out.extend([t_ms[t_ms.len() - 1] as u64, values[values.len() - 1].to_bits()]);
        if falls {
            let mut change = v[v.len() - 1] - v[0];
            let mut n_falls = 0;
            for pair in v.windows(2).filter(|pair| pair[1] < pair[0]) {
                change += pair[0];
                n_falls += 1;
            }
            // Which NaN a sum gives is nobody's business.
            out.extend([if change.is_nan() { 0 } else { change.to_bits() }, n_falls]);
        }
        out
    }

    fn cut<'a, T>(t_ms: &[i64], column: &'a [T], from: i64, to: i64) -> &'a [T] {
        &column[t_ms.partition_point(|t| *t <= from)..t_ms.partition_point(|t| *t <= to)]
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            20 => (-3..4i32).prop_map(f64::from),
            4 => any::<f64>(),
            1 => Just(f64::from_bits(STALE_NAN_BITS)),
            1 => Just(f64::NAN),
            1 => Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn whole_buckets_answer_as_all_samples_do(
            start in -3000..3000i64,
            steps in proptest::collection::vec(1..90i64, 16..400),
            values in proptest::collection::vec(value(), 400),
            counter in any::<bool>(),
            windows in proptest::collection::vec((-5..40i64, 1..9i64), 1..20),
        ) {
            let mut t = start;
            let t_ms: Vec<i64> = steps.iter().map(|step| { t += step; t }).collect();
            let mut total = 0.0;
            let values: Vec<f64> = values[..t_ms.len()].iter().map(|v| {
                if !counter || is_stale(*v) || v.is_nan() {
                    return *v;
                }
                total = if *v == -3.0 { 0.0 } else { total + v.abs() };
                total
            }).collect();
            let mut kept = Kept::default();
            let samples = Samples { t_ms: &t_ms, values: &values, histograms: &[], counts: &[] };
            if let Some(keeps) = kept.fill(WIDTH, samples) {
                let falls = keeps == Keeps::Falls;
                for (from, n) in windows {
                    let (from, to) = (from * WIDTH, (from + n) * WIDTH);
                    let raw = answers(cut(&t_ms, &t_ms, from, to), cut(&t_ms, &values, from, to), None, falls);
                    let of = |c: &[f64]| cut(&kept.t_ms, c, from, to).to_vec();
                    let counts = cut(&kept.t_ms, &kept.counts, from, to);
                    let rolled = answers(cut(&kept.t_ms, &kept.t_ms, from, to), &of(&kept.values), Some(counts), falls);
                    prop_assert_eq!(raw, rolled, "{:?} {} {}", keeps, from, to);
                }
            }
        }
    }

    #[test]
    fn a_counter_keeps_two_samples_a_bucket_and_a_gauge_four() {
        let t_ms: Vec<i64> = (0..240 * 24).map(|i| i * 15_000 + 7).collect();
        let mut kept = Kept::default();
        let mut check = |f: fn(usize) -> f64, want: (Keeps, usize)| {
            let values: Vec<f64> = (0..t_ms.len()).map(f).collect();
            let samples = Samples { t_ms: &t_ms, values: &values, histograms: &[], counts: &[] };
            assert_eq!(kept.fill(WIDTHS_MS[0], samples), None, "four samples a minute");
            assert_eq!(kept.fill(WIDTHS_MS[1], samples), Some(want.0));
            assert_eq!(kept.t_ms.len(), want.1);
            assert_eq!(kept.counts.iter().sum::<u32>() as usize, t_ms.len());
        };
        check(|i| i as f64, (Keeps::Falls, 48));
        check(|_| 3.5, (Keeps::Falls, 48));
        check(|i| ((i * 7919) % 1009) as f64, (Keeps::Extremes, 95));
    }
}
