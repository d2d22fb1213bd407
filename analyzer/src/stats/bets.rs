//! The share bet: evidence against "the canary has no more than its share" that holds for ever.
//!
//! `E_t = mean over g of prod (1 + (g / rho_t)(x_t / m_t - rho_t))` with g in {0.1, 0.3, 0.6, 0.9}, where
//! the canary has `x_t` of the `m_t` events of interval `t` and `rho_t` of the exposure. By Ville's
//! inequality `P(E_t >= 1/a at any t) <= a`.
//!
//! Assumes only that the canary's expected share of an interval's events, given the past and the
//! total, is at most `rho_t`: events may come in clumps of any size, and the end may be open.
//!
//! Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
//! J. R. Stat. Soc. B 86, 2024.

/// Sizes of the bets, as parts of the largest that cannot ruin.
const STAKES: [f64; 4] = [0.1, 0.3, 0.6, 0.9];

/// One bet's winnings so far, kept as logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShareBet {
    log_wealth: [f64; 4],
}

impl ShareBet {
    /// Adds an interval: `x` of `m` events where `share`, in (0, 1), was to be expected.
    pub fn push(&mut self, x: f64, m: f64, share: f64) {
        if m <= 0.0 || !(share > 0.0 && share < 1.0) {
            return;
        }
        let surplus = (x / m - share) / share;
        for (wealth, stake) in self.log_wealth.iter_mut().zip(STAKES) {
            *wealth += (stake * surplus).ln_1p();
        }
    }

    /// Returns the natural logarithm of the e-value.
    pub fn ln_e(&self) -> f64 {
        ln_mean_exp(&self.log_wealth)
    }
}

fn ln_mean_exp(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| (log - most).exp()).sum();
    most + (sum / logs.len() as f64).ln()
}

/// Computes `ln sum_j v_j E_j` from pairs of weight and `ln E_j`; minus infinity for none.
pub fn ln_weighted_sum(bets: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let most = bets.clone().map(|(_, ln_e)| ln_e).fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + bets.map(|(weight, ln_e)| weight * (ln_e - most).exp()).sum::<f64>().ln()
}

/// Chooses which of many e-values stand out with a false discovery rate of at most `level`, whatever
/// their dependence. Takes `ln E_j`, returns a flag for each.
///
/// Source: Wang and Ramdas, "False discovery rate control with e-values", J. R. Stat. Soc. B 84, 2022.
pub fn e_bh(ln_e: &[f64], level: f64) -> Vec<bool> {
    let n = ln_e.len() as f64;
    let mut order: Vec<usize> = (0..ln_e.len()).collect();
    order.sort_by(|a, b| ln_e[*b].total_cmp(&ln_e[*a]));
    let enough = |(rank, idx): &(usize, &usize)| ln_e[**idx] >= (n / (level * (*rank as f64 + 1.0))).ln();
    let chosen = order.iter().enumerate().filter(enough).map(|(rank, _)| rank + 1).max().unwrap_or(0);
    let mut flags = vec![false; ln_e.len()];
    for idx in &order[..chosen] {
        flags[*idx] = true;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fair_interval_leaves_the_wealth_unchanged_on_average() {
        // Over the two outcomes of one event the expected factor is exactly one, at any share.
        for share in [0.01, 0.1, 0.5, 0.9] {
            let value = |x: f64| {
                let mut bet = ShareBet::default();
                bet.push(x, 1.0, share);
                bet.ln_e().exp()
            };
            assert!((share * value(1.0) + (1.0 - share) * value(0.0) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn e_bh_takes_the_largest_set_that_is_backed() {
        let ln_e: Vec<f64> = [500.0_f64, 1.0, 300.0, 0.5].iter().map(|e| e.ln()).collect();
        assert_eq!(e_bh(&ln_e, 0.01), [true, false, true, false]);
        assert_eq!(e_bh(&ln_e, 0.001), [false; 4]);
        assert!(e_bh(&[], 0.1).is_empty());
    }

    proptest! {
        #[test]
        fn more_on_the_canary_is_never_less_evidence(x in 0_u32..50, more in 0_u32..50, rest in 1_u32..50, share in 0.01..0.99) {
            let value = |x: u32| {
                let mut bet = ShareBet::default();
                let m = f64::from(x.max(1) + rest + more);
                bet.push(f64::from(x), m, share);
                bet.ln_e()
            };
            prop_assert!(value(x + more.min(rest)) >= value(x) - 1e-9 || x == 0);
            prop_assert!(value(x).is_finite());
        }
    }
}
