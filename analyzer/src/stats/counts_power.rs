//! How often a difference of two rates is found: the power of procedure C at one look.
//!
//! Conditional on all events those of one side are binomial, so the least count that is too many is known for
//! each total, and totals are Poisson. A look at the level that the boundary has at its last look finds at most what
//! all looks together find.
//!
//! Source: Przyborowski and Wilenski, Biometrika 31, 1940 (the conditional test); power by summing over totals.

use super::dispersion::EventLaw;
use super::pod_rates::RateSpread;
use super::rates::Rate;
use super::special::{StudentTail, normal_sf, poisson_cdf};

/// Events to come, and how they fall on the sides without harm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Events of both sides together without harm.
    pub events: f64,
    /// The canary's share of the exposure.
    pub share: f64,
    /// Whether more events on the canary are harm; else fewer.
    pub is_up: bool,
    /// The ratio of rates, counted side over the other, that is tolerated; 1 for none.
    pub tolerated: f64,
}

/// Computes the chance that harm is found whose rates differ by `e^shift` in its direction.
///
/// - `level`: of a one-sided test.
/// - `spread`: how pods' rates scatter by nature, with the pods of canary and baseline.
pub fn power(split: &Split, shift: f64, level: f64, spread: Option<(RateSpread, usize, usize)>) -> f64 {
    let ratio = if split.is_up { shift.exp() } else { (-shift).exp() };
    let (canary, baseline) = (split.share * split.events * ratio, (1.0 - split.share) * split.events);
    let (own, own_share) = if split.is_up { (canary, split.share) } else { (baseline, 1.0 - split.share) };
    let mean = canary + baseline;
    if !(mean > 0.0 && level > 0.0) {
        return 0.0;
    }
    let odds = own_share / (1.0 - own_share) * split.tolerated;
    let null = odds / (1.0 + odds);
    let exact: f64 = totals(mean).map(|(all, weight)| weight * found(all, null, own / mean, level)).sum();
    let Some((spread, n_canary, n_baseline)) = spread.filter(|(spread, ..)| spread.s > 0.0) else {
        return exact;
    };
    // Beside it the logarithm of the ratio must stand out of the pods' own scatter.
    let of_pods = spread.s.powi(2) * (1.0 / n_canary.max(1) as f64 + 1.0 / n_baseline.max(1) as f64);
    let error = (of_pods + 1.0 / canary.max(0.5) + 1.0 / baseline.max(0.5)).sqrt();
    let needed = StudentTail::new(spread.nu).isf(level.min(0.5));
    exact.min(normal_sf(needed - (shift - split.tolerated.ln()) / error))
}

/// Lists totals with their chances: all that matter of a Poisson law, or for large means a lattice of them.
fn totals(mean: f64) -> impl Iterator<Item = (f64, f64)> {
    const NODES: f64 = 80.0;
    let reach = 5.0 * mean.sqrt() + 5.0;
    let low = (mean - reach).max(0.0).floor();
    let high = (mean + reach).ceil();
    let step = ((high - low) / NODES).ceil().max(1.0);
    let n = ((high - low) / step).ceil() as usize;
    (0..=n).map(move |k| {
        let last = low + k as f64 * step;
        let below = if k == 0 { 0.0 } else { poisson_cdf(last - step, mean) };
        // The middle of the totals that this node stands for.
        ((last - 0.5 * (step - 1.0)).max(0.0).round(), (poisson_cdf(last, mean) - below).max(0.0))
    })
}

/// Computes the chance that of `all` events so many are the counted side's that a test at `level` rejects `null`.
fn found(all: f64, null: f64, share: f64, level: f64) -> f64 {
    let at_least = |events: f64, share: f64| {
        if events > all {
            0.0
        } else {
            Rate { events, exposure: all, law: EventLaw::Binomial }.at_least(share)
        }
    };
    if all < 1.0 || at_least(all, null) > level {
        return 0.0;
    }
    let (mut few, mut many) = (0.0, all);
    while many - few > 1.0 {
        let middle = (0.5 * (few + many)).floor();
        if at_least(middle, null) <= level { many = middle } else { few = middle }
    }
    at_least(many, share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(events: f64, share: f64) -> Split {
        Split { events, share, is_up: true, tolerated: 1.0 }
    }

    // Exact sums in Python 3.12: over n of Poisson(n; 40) * P(Bin(n, 2/3) >= k_n), k_n the least count with
    // P(Bin(n, 1/2) >= k_n) <= 0.01.
    #[test]
    fn the_power_agrees_with_the_reference() {
        let power = power(&split(26.666_666_666_666_668, 0.5), 2.0_f64.ln(), 0.01, None);
        assert!((power - 0.357_292_937).abs() < 1e-3, "{power}");
    }

    #[test]
    fn pods_that_differ_by_nature_hide_harm() {
        let shift = 1.5_f64.ln();
        let of = |s: f64| power(&split(4_000.0, 0.1), shift, 1e-3, Some((RateSpread { s, nu: 10.0 }, 1, 9)));
        assert!(of(0.0) > 0.99 && of(0.1) > of(0.2) && of(0.3) < 0.3, "{} {} {}", of(0.1), of(0.2), of(0.3));
    }

    proptest! {
        #[test]
        fn more_harm_is_found_more_often(events in 5.0..3_000.0_f64, share in 0.05..0.95_f64, is_up: bool) {
            let split = Split { is_up, ..split(events, share) };
            let of = |shift: f64| power(&split, shift, 1e-3, None);
            prop_assert!(of(0.0) <= 1.2e-3, "{}", of(0.0));
            prop_assert!(of(0.5) <= of(1.0) + 1e-5 && of(1.0) <= of(2.0) + 1e-5);
        }
    }
}
