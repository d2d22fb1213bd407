//! How rarely a residual is as large as this: peaks over a threshold.

use std::collections::VecDeque;

/// Absolute residuals that are kept: the newest.
const KEPT: usize = 4_000;
/// Share of residuals below the threshold over which the tail is fitted.
const THRESHOLD: f64 = 0.98;
/// Peaks that a fit needs.
const PEAKS_MIN: usize = 10;
/// A fit is made anew after so many residuals.
const REFIT_EVERY: usize = 20;
/// The shape is held in this range: below it a few peaks would make one believe that the tail ends, above it the
/// mean would not exist.
const SHAPE: (f64, f64) = (0.0, 0.9);

/// Learns the upper tail of |residual| and tells how rare a value is.
///
/// Source: generalized Pareto tail fitted by probability-weighted moments, Hosking and Wallis,
/// "Parameter and Quantile Estimation for the Generalized Pareto Distribution", Technometrics 29
/// (1987). Assumes that residuals of the kept window come from one distribution.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<f64>,
    since_fit: usize,
    fit: Option<Fit>,
}

#[derive(Clone, Debug)]
struct Fit {
    sorted: Vec<f64>,
    threshold: f64,
    /// Share of residuals above the threshold.
    zeta: f64,
    shape: f64,
    scale: f64,
}

impl Tail {
    /// Returns the chance of a residual at least as large, in `(0, 1]`; nothing while too little is known.
    pub(super) fn chance(&self, residual: f64) -> Option<f64> {
        let fit = self.fit.as_ref()?;
        let x = residual.abs();
        if x <= fit.threshold {
            let above = fit.sorted.len() - fit.sorted.partition_point(|&v| v < x);
            return Some((above as f64 / fit.sorted.len() as f64).max(1.0 - THRESHOLD));
        }
        let y = (x - fit.threshold) / fit.scale;
        let survival = if fit.shape.abs() < 1e-9 {
            (-y).exp()
        } else {
            (1.0 + fit.shape * y).max(0.0).powf(-1.0 / fit.shape)
        };
        Some((fit.zeta * survival).max(1e-16))
    }

    /// Learns one residual.
    pub(super) fn learn(&mut self, residual: f64) {
        self.kept.push_back(residual.abs());
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        self.since_fit += 1;
        if self.since_fit >= REFIT_EVERY {
            self.since_fit = 0;
            self.fit = fit(&self.kept);
        }
    }
}

fn fit(kept: &VecDeque<f64>) -> Option<Fit> {
    let mut sorted: Vec<f64> = kept.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // At least ten peaks, however little is known: the threshold moves down for that.
    let n_peaks = ((n as f64 * (1.0 - THRESHOLD)) as usize).max(PEAKS_MIN);
    if n < 5 * PEAKS_MIN {
        return None;
    }
    let threshold = sorted[n - n_peaks - 1];
    let peaks: Vec<f64> = sorted[n - n_peaks..].iter().map(|v| v - threshold).collect();
    let count = peaks.len() as f64;
    let mean = peaks.iter().sum::<f64>() / count;
    let weighted: f64 =
        peaks.iter().enumerate().map(|(i, y)| y * (count - 1.0 - i as f64) / (count - 1.0)).sum();
    let a = weighted / count;
    let shape =
        if mean > 2.0 * a { (2.0 - mean / (mean - 2.0 * a)).clamp(SHAPE.0, SHAPE.1) } else { SHAPE.1 };
    // A constant series has no spread: one step of its resolution is then the scale.
    let largest = sorted[n - 1];
    let floor = (largest.abs() * 1e-9).max(1e-12);
    let scale = (mean * (1.0 - shape)).max(floor);
    Some(Fit { threshold, zeta: n_peaks as f64 / n as f64, shape, scale, sorted })
}

#[cfg(test)]
mod tests {
    use greylight_store::model::{Random, SeededRandom};

    use super::*;

    #[test]
    fn chances_of_exponential_tails_are_about_right() {
        let random = SeededRandom::new(3);
        let mut tail = Tail::default();
        for _ in 0..KEPT {
            let u = ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            tail.learn(-u.ln());
        }
        // Exact: exp(-8) = 3.4e-4. A fit on thirty peaks is right within a factor of a few.
        let p = tail.chance(8.0).unwrap();
        assert!((3e-5..3e-3).contains(&p), "{p}");
        assert!(tail.chance(20.0).unwrap() < p);
        assert!(tail.chance(0.1).unwrap() > 0.5);
    }

    #[test]
    fn nothing_is_said_before_enough_is_known() {
        let mut tail = Tail::default();
        for i in 0..39 {
            tail.learn(f64::from(i));
        }
        assert_eq!(tail.chance(100.0), None);
    }
}
