//! Whether the canary gets the share of traffic that was declared.
//!
//! A confidence sequence for a proportion: all `p` with `P_mix / P_p < 1/alpha`, where the mixture puts a
//! Dirichlet(1, 1) prior on the two sides. It holds at every look at once (Ville's inequality).
//! Assumes that requests are routed independently; the policy's tolerance takes up what routing in
//! batches adds.
//!
//! Source: Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math.
//! Stat. 41, 1970; multinomial form for sample ratio mismatch: Lindon and Malek, "Anytime-valid
//! inference for multinomial count data", NeurIPS 2022.

use super::special::{find_root, ln_beta};

/// Requests of both sides since the share was last declared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShareCount {
    /// The canary's.
    pub canary: f64,
    /// The baseline's.
    pub baseline: f64,
}

impl ShareCount {
    /// Returns the canary's share so far; `None` without requests.
    pub fn measured(&self) -> Option<f64> {
        let all = self.canary + self.baseline;
        (all > 0.0).then(|| self.canary / all)
    }

    /// Computes the confidence sequence at level `alpha`, in (0, 1).
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let Some(measured) = self.measured() else {
            return (0.0, 1.0);
        };
        let ln_mix = ln_beta(self.canary + 1.0, self.baseline + 1.0);
        let bound = -alpha.ln();
        // ln of mixture over likelihood at p: smallest at the measured share, unbounded at both ends.
        let excess = |p: f64| {
            let term = |n: f64, p: f64| if n > 0.0 { n * p.ln() } else { 0.0 };
            ln_mix - term(self.canary, p) - term(self.baseline, 1.0 - p) - bound
        };
        const EDGE: f64 = 1e-12;
        let low = if excess(EDGE) <= 0.0 { 0.0 } else { find_root(EDGE, measured.max(EDGE), excess) };
        let high = if excess(1.0 - EDGE) <= 0.0 {
            1.0
        } else {
            find_root(1.0 - EDGE, measured.min(1.0 - EDGE), excess)
        };
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_share_and_narrows() {
        let mut last = (0.0, 1.0);
        for n in [0.0, 10.0, 100.0, 1e4, 1e6] {
            let (low, high) = ShareCount { canary: 0.1 * n, baseline: 0.9 * n }.interval(0.01);
            assert!(low <= 0.1 && 0.1 <= high && low >= last.0 && high <= last.1, "{n}: {low} {high}");
            last = (low, high);
        }
        assert!(last.1 - last.0 < 0.004);
    }

    #[test]
    fn an_empty_side_leaves_its_end_open() {
        let (low, high) = ShareCount { canary: 0.0, baseline: 1000.0 }.interval(0.05);
        assert!(low == 0.0 && high < 0.02);
    }
}
