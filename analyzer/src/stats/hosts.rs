//! Procedure H: hosts as the unit, where nothing has a history.
//!
//! Each host's mean since the start is one observation, so that neither the memory within a host nor standing
//! differences between hosts matter: both are inside the scatter of the hosts. A pooled t test with `hosts - 2`
//! degrees of freedom.
//!
//! Assumes independent, near normal hosts with the same scatter on both sides. Over many looks a t with few
//! degrees of freedom is not what the boundaries were made for, so below [`NU_EVERY_LOOK`] it looks six times
//! only; the levels of these looks sum to 0.79 of the budget, so that it holds at any degrees of freedom.
//!
//! Source: Student, Biometrika 6, 1908; Fisher, Metron 5, 1925.

use super::special::StudentTail;

/// Degrees of freedom from which every look may decide.
pub const NU_EVERY_LOOK: f64 = 20.0;
/// Degrees of freedom from which hosts are compared at all.
pub const NU_MIN: f64 = 4.0;
/// Degrees of freedom from which harm can be shown to be small.
pub const NU_GO: f64 = 8.0;
const LOOKS: usize = 6;

/// Both sides' hosts at a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hosts {
    /// Canary's mean less the baseline's.
    pub difference: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom.
    pub nu: f64,
}

impl Hosts {
    /// Takes each host's mean; `None` with under four degrees of freedom, or a side without hosts.
    pub fn new(baseline: &[f64], canary: &[f64]) -> Option<Self> {
        let (m, n) = (baseline.len() as f64, canary.len() as f64);
        if m < 1.0 || n < 1.0 || m + n - 2.0 < NU_MIN {
            return None;
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let squares = |values: &[f64]| {
            let centre = mean(values);
            values.iter().map(|value| (value - centre).powi(2)).sum::<f64>()
        };
        let nu = m + n - 2.0;
        let variance = (squares(baseline) + squares(canary)) / nu;
        Some(Self {
            difference: mean(canary) - mean(baseline),
            error: (variance * (1.0 / m + 1.0 / n)).sqrt(),
            nu,
        })
    }

    /// Computes the chance of such a difference or more, in the direction of `sign`, if harm is at most `x`.
    pub fn p_harm(&self, sign: f64, x: f64) -> f64 {
        self.tail((sign * self.difference - x) / self.error)
    }

    /// Computes the chance of such a difference or less if harm is at least `x`.
    pub fn p_go(&self, sign: f64, x: f64) -> f64 {
        self.tail((x - sign * self.difference) / self.error)
    }

    /// Computes how far the ends of an interval lie from the difference, each at a one-sided level.
    pub fn reach(&self, level: f64) -> f64 {
        if level > 0.0 { StudentTail::new(self.nu).isf(level.min(0.5)) * self.error } else { f64::INFINITY }
    }

    fn tail(&self, t: f64) -> f64 {
        let p = StudentTail::new(self.nu).sf(t);
        // Hosts without any scatter prove nothing.
        if self.error > 0.0 && (0.0..=1.0).contains(&p) { p } else { 1.0 }
    }

    /// Says whether the look at `t` of `n_looks` intervals may decide.
    pub fn may_decide(&self, t: usize, n_looks: usize) -> bool {
        self.nu >= NU_EVERY_LOOK || (t > 0 && LOOKS * t / n_looks > LOOKS * (t - 1) / n_looks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // scipy 1.17.1: stats.ttest_ind([1.3, 1.1, 1.6], [1.0, 1.2, 0.8, 1.1, 0.9], alternative="greater").
    #[test]
    fn the_pooled_t_agrees_with_the_reference() {
        let hosts = Hosts::new(&[1.0, 1.2, 0.8, 1.1, 0.9], &[1.3, 1.1, 1.6]).expect("eight hosts");
        assert!(
            (hosts.p_harm(1.0, 0.0) / 0.028593987302842 - 1.0).abs() < 1e-9,
            "{}",
            hosts.p_harm(1.0, 0.0)
        );
        assert!(Hosts::new(&[1.0, 2.0, 3.0], &[1.0, 2.0]).is_none());
    }

    #[test]
    fn few_hosts_decide_at_six_looks() {
        let few = Hosts { difference: 0.0, error: 1.0, nu: 6.0 };
        let decides = |n: usize| (1..=n).filter(|t| few.may_decide(*t, n)).collect::<Vec<_>>();
        assert_eq!(decides(60), [10, 20, 30, 40, 50, 60]);
        assert_eq!(decides(7).last(), Some(&7));
        assert_eq!(decides(7).len(), 6);
        assert!(Hosts { nu: 20.0, ..few }.may_decide(1, 60));
    }

    proptest! {
        #[test]
        fn swapping_the_sides_mirrors(
            a in prop::collection::vec(-9.0..9.0_f64, 3..9), b in prop::collection::vec(-9.0..9.0_f64, 3..9), x in -1.0..1.0_f64,
        ) {
            let (there, back) = (Hosts::new(&a, &b).expect("six"), Hosts::new(&b, &a).expect("six"));
            prop_assert!((there.p_harm(1.0, x) - back.p_harm(-1.0, x)).abs() < 1e-9);
            prop_assert!((there.p_harm(1.0, x) + there.p_go(1.0, x) - 1.0).abs() < 1e-9);
        }
    }
}
