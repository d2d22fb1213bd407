//! Limits of single rates, and whether the difference of two lies below a margin.
//!
//! Limits of a proportion are Clopper and Pearson's (Biometrika 26, 1934), those of a rate over
//! exposure Garwood's (Biometrika 28, 1936): exact, conservative, and useful with no event at all.

use super::dispersion::EventLaw;
use super::special::{Beta, find_root, poisson_cdf, poisson_sf};

/// Events seen over an exposure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Events; need not be whole where counts were divided by their dispersion.
    pub events: f64,
    /// Trials or exposure; positive.
    pub exposure: f64,
    /// What kind of exposure it is.
    pub law: EventLaw,
}

impl Rate {
    /// Returns events over exposure.
    pub fn estimate(&self) -> f64 {
        self.events / self.exposure
    }

    /// Computes the chance of so few events or fewer at a true rate.
    pub fn at_most(&self, rate: f64) -> f64 {
        match self.law {
            EventLaw::Binomial if self.events >= self.exposure => 1.0,
            EventLaw::Binomial => {
                Beta::new(self.events + 1.0, self.exposure - self.events).sf(rate.clamp(0.0, 1.0))
            }
            EventLaw::Poisson => poisson_cdf(self.events, rate * self.exposure),
        }
    }

    /// Computes the chance of so many events or more at a true rate.
    pub fn at_least(&self, rate: f64) -> f64 {
        if self.events <= 0.0 {
            return 1.0;
        }
        match self.law {
            EventLaw::Binomial => {
                let misses = (self.exposure - self.events).max(0.0);
                Beta::new(self.events, misses + 1.0).cdf(rate.clamp(0.0, 1.0))
            }
            EventLaw::Poisson => poisson_sf(self.events, rate * self.exposure),
        }
    }

    /// Computes the upper limit at a one-sided level.
    pub fn upper(&self, level: f64) -> f64 {
        let most = self.ceiling();
        if self.at_most(most) >= level {
            return most;
        }
        find_root(self.estimate(), most, |rate| self.at_most(rate).max(1e-300).ln() - level.ln())
    }

    /// Computes the lower limit at a one-sided level.
    pub fn lower(&self, level: f64) -> f64 {
        if self.events <= 0.0 {
            return 0.0;
        }
        find_root(0.0, self.estimate(), |rate| self.at_least(rate).max(1e-300).ln() - level.ln())
    }

    /// A rate that no data would leave possible.
    fn ceiling(&self) -> f64 {
        match self.law {
            EventLaw::Binomial => 1.0,
            EventLaw::Poisson => (2.0 * self.events + 1_500.0) / self.exposure,
        }
    }
}

/// Computes the smallest one-sided level `u` at which the upper limit of `high` less the lower limit of
/// `low` is below `margin`. Each limit errs with chance `u`, so the difference reaches the margin
/// although it seems not to with chance at most `2 u`.
///
/// `u` solves `P(high's events or fewer at U) = u = P(low's events or more at U - margin)`: two monotone
/// functions of `U`, so one root.
pub fn difference_level(high: &Rate, low: &Rate, margin: f64) -> f64 {
    if !(high.exposure > 0.0 && low.exposure > 0.0) {
        return 1.0;
    }
    if low.events <= 0.0 {
        return high.at_most(margin);
    }
    // No limit of a share of one is above one.
    if high.law == EventLaw::Binomial && high.events >= high.exposure {
        return low.at_least((1.0 - margin).max(0.0));
    }
    // The unknown is `U - margin`, which may be many orders of magnitude smaller than `U`.
    let most = high.ceiling().max(low.ceiling());
    let gap = |rate: f64| high.at_most(rate + margin).max(1e-300).ln() - low.at_least(rate).max(1e-300).ln();
    let rate = find_root(0.0, most, gap);
    high.at_most(rate + margin).max(low.at_least(rate)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(events: f64, exposure: f64) -> Rate {
        Rate { events, exposure, law: EventLaw::Binomial }
    }

    #[test]
    fn no_event_bounds_the_rate_by_three_over_n() {
        assert!((rate(0.0, 1000.0).upper(0.05) - (1.0 - 0.05_f64.powf(0.001))).abs() < 1e-12);
        assert_eq!(rate(0.0, 1000.0).lower(0.05), 0.0);
        let poisson = Rate { events: 0.0, exposure: 10.0, law: EventLaw::Poisson };
        assert!((poisson.upper(0.05) - 20.0_f64.ln() / 10.0).abs() < 1e-10);
    }

    #[test]
    fn shares_of_one_are_close_to_each_other() {
        let level = difference_level(&rate(1000.0, 1000.0), &rate(1000.0, 1000.0), 0.02);
        assert!((level / 0.98_f64.powi(1000) - 1.0).abs() < 1e-9, "{level}");
    }

    proptest! {
        #[test]
        fn successes_and_failures_say_the_same(
            x in 0_u32..40, y in 0_u32..40, n in 500_u32..5000, m in 500_u32..5000, d in 0.002..0.1,
        ) {
            let failed = difference_level(&rate(x.into(), n.into()), &rate(y.into(), m.into()), d);
            let without = |x: u32, n: u32| rate(f64::from(n - x), n.into());
            let succeeded = difference_level(&without(y, m), &without(x, n), d);
            prop_assert!((failed - succeeded).abs() <= 1e-6 * failed + 1e-9, "{} {}", failed, succeeded);
        }

        #[test]
        fn the_level_is_where_the_limits_just_meet_the_margin(
            x in 0_u32..40, y in 1_u32..40, n in 500_u32..5000, m in 500_u32..5000, d in 0.002..0.1,
        ) {
            let (high, low) = (rate(x.into(), n.into()), rate(y.into(), m.into()));
            let u = difference_level(&high, &low, d);
            if u > 1e-12 && u < 0.4 {
                prop_assert!((high.upper(u) - low.lower(u) - d).abs() < 1e-7 * (1.0 + d));
            }
        }

        #[test]
        fn limits_hold_the_estimate_and_narrow_with_the_level(x in 0_u32..50, n in 50_u32..5000) {
            let one = rate(x.into(), n.into());
            prop_assert!(one.lower(0.01) <= one.lower(0.1) && one.lower(0.1) <= one.estimate());
            prop_assert!(one.upper(0.01) >= one.upper(0.1) && one.upper(0.1) >= one.estimate());
        }
    }
}
