//! Errors over trials where pods do not share one rate.
//!
//! Procedure C is exact if every pod has the same error rate. Where pods differ by nature, more requests
//! do not help: a canary of one pod is a sample of one. The scatter of the pods' rates in the history (and
//! of earlier starts) says how far apart two versions' pods lie by chance: with standard deviation `s` of
//! the log rate, the log odds of an event being the canary's move by `s sqrt(1/nc + 1/nb)` times a t.
//!
//! Assumes lognormal rates of pods, and canary pods drawn as the old ones were.
//!
//! Source: DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7, 1986 (scatter
//! beyond that of counting); Anscombe, Biometrika 35, 1948 (half an event added to each count).

use super::dispersion::EventLaw;
use super::rates::{Rate, difference_level};
use super::special::{StudentTail, find_root};

/// How pods' rates scatter beyond what counting explains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSpread {
    /// Standard deviation of the log rate between pods.
    pub s: f64,
    /// Its degrees of freedom.
    pub nu: f64,
}

/// Events that a pod must have had for its rate to count.
const EVENTS_MIN: f64 = 10.0;

impl RateSpread {
    /// Learns from pods' events and exposures; `None` with under two pods of ten events or more.
    pub fn new(pods: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        const NU_LEAST: f64 = 8.0;
        let (mut logs, mut counting) = (Vec::new(), 0.0);
        for (events, exposure) in pods.filter(|(events, exposure)| *events >= EVENTS_MIN && *exposure > 0.0) {
            logs.push(((events + 0.5) / exposure).ln());
            counting += 1.0 / (events + 0.5);
        }
        let n = logs.len() as f64;
        if n < 2.0 {
            return None;
        }
        let centre = logs.iter().sum::<f64>() / n;
        let variance = logs.iter().map(|log| (log - centre).powi(2)).sum::<f64>() / (n - 1.0);
        Some(Self { s: (variance - counting / n).max(0.0).sqrt(), nu: (n - 1.0).max(NU_LEAST) })
    }

    /// Computes the chance that `events` or more of `all` fall on the canary, where each does with chance
    /// `share` if all pods are alike.
    pub fn p(&self, events: f64, all: f64, share: f64, n_canary: usize, n_baseline: usize) -> f64 {
        let split = Rate { events, exposure: all, law: EventLaw::Binomial };
        if !(share > 0.0 && share < 1.0 && all > 0.0 && n_canary > 0 && n_baseline > 0) {
            return 1.0;
        }
        let spread = self.s * (1.0 / n_canary as f64 + 1.0 / n_baseline as f64).sqrt();
        if spread <= 0.0 {
            return split.at_least(share);
        }
        // 121 nodes a sixth apart; what lies beyond them counts as certain.
        const REACH: f64 = 10.0;
        const STEPS: i32 = 60;
        let tail = StudentTail::new(self.nu);
        let half = 0.5 * REACH / f64::from(STEPS);
        let mut p = tail.sf(REACH + half);
        for step in -STEPS..=STEPS {
            let node = REACH * f64::from(step) / f64::from(STEPS);
            let weight = tail.sf(node - half) - tail.sf(node + half);
            let odds = share / (1.0 - share) * (spread * node).exp();
            p += weight * split.at_least(odds / (1.0 + odds));
        }
        if (0.0..=1.0).contains(&p) { p } else { 1.0 }
    }

    /// Computes the smallest one-sided level at which the upper limit of one side's rate less the lower limit of the
    /// other's is below `margin`, each limit moved out by the scatter of as many pods.
    pub fn difference_level(&self, high: (&Rate, usize), low: (&Rate, usize), margin: f64) -> f64 {
        let plain = difference_level(high.0, low.0, margin);
        if self.s <= 0.0 || high.1 == 0 || low.1 == 0 {
            return plain;
        }
        let tail = StudentTail::new(self.nu);
        let moved = |level: f64, n: usize| (self.s * tail.isf(level) / (n as f64).sqrt()).exp();
        // Falls as the level rises; where the limits without scatter do not do, these do not either.
        let gap = |ln_level: f64| {
            let level = ln_level.exp();
            high.0.upper(level) * moved(level, high.1) - low.0.lower(level) / moved(level, low.1) - margin
        };
        const LEAST: f64 = 1e-15;
        match (gap(0.5_f64.ln()), gap(LEAST.ln())) {
            (worst, _) if worst >= 0.0 => 1.0,
            (_, best) if best < 0.0 => LEAST,
            _ => find_root(LEAST.ln(), 0.5_f64.ln(), |ln_level| -gap(ln_level)).exp().max(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn like_pods_have_no_spread_and_give_the_plain_tail() {
        let spread = RateSpread::new((0..12).map(|_| (40.0, 1_000.0))).expect("twelve pods");
        assert_eq!((spread.s, spread.nu), (0.0, 11.0));
        let plain = Rate { events: 12.0, exposure: 30.0, law: EventLaw::Binomial }.at_least(0.2);
        assert_eq!(spread.p(12.0, 30.0, 0.2, 1, 10), plain);
        assert!(RateSpread::new([(9.0, 100.0), (40.0, 100.0)].into_iter()).is_none());
    }

    #[test]
    fn a_spread_of_rates_is_found_again() {
        // Rates e^-0.5 and e^0.5 in turn: standard deviation 0.5 sqrt(20/19), less the counting of 1,000 events.
        let pods =
            (0..20).map(|i| (1_000.0, 1_000.0 * if i % 2 == 0 { 0.5_f64.exp() } else { (-0.5_f64).exp() }));
        let spread = RateSpread::new(pods).expect("twenty pods");
        let want = (0.25 * 20.0 / 19.0 - 1.0 / 1_000.5_f64).sqrt();
        assert!((spread.s - want).abs() < 1e-12, "{}", spread.s);
    }

    // scipy 1.17.1: integrate.quad over t(8) of binom.sf(29, 60, expit(logit(0.3) + 0.3 * sqrt(1/2 + 1/10) * x)).
    #[test]
    fn the_mixture_agrees_with_quadrature() {
        let spread = RateSpread { s: 0.3, nu: 8.0 };
        let p = spread.p(30.0, 60.0, 0.3, 2, 10);
        assert!((p / 0.0156195896407 - 1.0).abs() < 3e-3, "{p}");
    }

    #[test]
    fn limits_of_pods_that_differ_meet_the_margin_later() {
        let rate = |events: f64, exposure: f64| Rate { events, exposure, law: EventLaw::Binomial };
        let (canary, baseline) = (rate(30.0, 30_000.0), rate(100.0, 100_000.0));
        let level =
            |s: f64| RateSpread { s, nu: 11.0 }.difference_level((&canary, 2), (&baseline, 10), 0.002);
        assert_eq!(level(0.0), difference_level(&canary, &baseline, 0.002));
        assert!(level(0.0) < level(0.1) && level(0.1) < level(0.3) && level(0.3) < level(1.0));
        assert!(level(1.0) < level(5.0) && level(5.0) > 0.2, "{}", level(5.0));
        let (tail, u) = (StudentTail::new(11.0), level(0.3));
        let moved = |n: f64| (0.3 * tail.isf(u) / n.sqrt()).exp();
        let met = canary.upper(u) * moved(2.0) - baseline.lower(u) / moved(10.0);
        assert!((met - 0.002).abs() < 1e-9, "{met}");
    }

    proptest! {
        #[test]
        fn more_spread_and_fewer_pods_never_make_surprising_counts_more_so(
            events in 30_u32..60, s in 0.0..1.0, n in 1_usize..6,
        ) {
            // Of 60 events six are to be expected: 30 are surprising.
            let p = |s: f64, n: usize| RateSpread { s, nu: 9.0 }.p(f64::from(events), 60.0, 0.1, n, 10);
            prop_assert!(p(s + 0.1, n) >= p(s, n) * (1.0 - 1e-9));
            prop_assert!(p(s, n) >= p(s, n + 1) * (1.0 - 1e-9));
        }
    }
}
