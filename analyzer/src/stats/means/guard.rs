//! Guards from the history: what its own windows of the same length do.

use crate::stats::special::normal_sf;

/// Running sums over the present values of a history.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    sums: Vec<f64>,
}

impl Windows {
    /// Takes values in the order of time; missing ones (NaN) are left out, so that windows hold as many
    /// values as they say.
    pub(super) fn new(values: &[f64]) -> Self {
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for value in values.iter().filter(|value| value.is_finite()) {
            sum += value;
            sums.push(sum);
        }
        Self { sums }
    }

    pub(super) fn len(&self) -> usize {
        self.sums.len() - 1
    }

    pub(super) fn mean(&self) -> f64 {
        self.sums[self.len()] / self.len() as f64
    }

    /// Returns the largest mean of `t` values, less the history's mean; nothing where the history is not longer.
    pub(super) fn largest(&self, t: usize) -> Option<f64> {
        (t < self.len()).then(|| self.centred_means(t).fold(f64::NEG_INFINITY, f64::max))
    }

    /// Yields the means of all windows of `k` values, less the history's mean.
    fn centred_means(&self, k: usize) -> impl Iterator<Item = f64> {
        let mean = self.mean();
        self.sums
            .iter()
            .zip(&self.sums[k.min(self.sums.len())..])
            .map(move |(from, to)| (to - from) / k as f64 - mean)
    }
}

/// The release's plain mean against windows of its history.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Mean of the release less mean of the history.
    difference: f64,
    /// Standard deviation that windows of this length have.
    spread: f64,
    /// Largest window of this length; absent where the history is not longer.
    largest: Option<f64>,
}

/// What a history's windows of so many values do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    variance: f64,
    largest: Option<f64>,
}

impl Shown {
    /// Goes through the windows of `t` values.
    pub(super) fn new(windows: &Windows, t: usize) -> Self {
        let n = windows.len() as f64;
        let k = t.min(windows.len() / 10).max(1);
        let (sum, count) = windows
            .centred_means(k)
            .fold((0.0, 0.0), |(sum, count), value| (sum + value * value, count + 1.0));
        let (k, t_real) = (k as f64, t as f64);
        let scale = (k / t_real) * (1.0 + t_real / n) / (1.0 - k / n);
        Self { variance: sum / count * scale, largest: windows.largest(t) }
    }
}

impl Guard {
    /// - `mean`: the mean of the release's `t` present intervals.
    /// - `growth`: factor by which the variance has grown at the release, as far as the data show.
    /// - `noise`: the part of it that was known beforehand; only that widens the placebo windows.
    pub(super) fn new(windows: &Windows, mean: f64, t: usize, growth: f64, noise: f64) -> Self {
        let shown = Shown::new(windows, t);
        Self {
            difference: mean - windows.mean(),
            spread: (shown.variance * growth).sqrt(),
            largest: shown.largest.map(|largest| largest * noise.sqrt()),
        }
    }

    pub(super) fn p_harm(&self, x: f64) -> f64 {
        match self.largest {
            Some(largest) if self.difference - x <= largest => 1.0,
            _ => probability(normal_sf((self.difference - x) / self.spread)),
        }
    }

    pub(super) fn p_go(&self, x: f64) -> f64 {
        probability(normal_sf((x - self.difference) / self.spread))
    }

    pub(super) fn low(&self, z: f64) -> f64 {
        let low = self.difference - z * self.spread;
        self.largest.map_or(low, |largest| low.min(self.difference - largest))
    }

    pub(super) fn high(&self, z: f64) -> f64 {
        self.difference + z * self.spread
    }
}

fn probability(p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { p } else { 1.0 }
}
