//! The one table everything uses: how a budget is spent over the looks.
//!
//! A check with budget `a` and `T` looks has spent `A(t) = a min(1, t/T)^q` after its t-th look. The
//! *nominal level* `n_t` is the one-sided level of a normal test at look `t` that spends exactly
//! this: with `S_t` a sum of `t` standard normals, `c_t` is set for t = 1, 2, ... in turn so that
//! `P(S_t >= c_t, no earlier crossing) = A(t) - A(t - 1)`, and `n_t = P(N >= c_t / sqrt t)`.
//!
//! Exact for independent normal increments; positive memory between looks makes it conservative.
//! `t` counts intervals that are present, not the clock.
//!
//! Source: Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70,
//! 1983; Kim and DeMets (power family), Biometrika 74, 1987; Armitage, McPherson and Rowe
//! (recursion), J. R. Stat. Soc. A 132, 1969.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::special::{normal_isf, normal_sf};

/// Exponent of the spending function for everything but never-seen patterns.
pub const SPENDING: Spending = Spending::Square;

/// Shape of the spending function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spending {
    /// `t / T`: for never-seen log patterns, where early evidence is strong.
    Linear,
    /// `(t / T)^2`: for everything else.
    Square,
}

impl Spending {
    /// Computes what of `budget` is spent after look `t` of `n_looks`.
    pub fn spent(self, budget: f64, t: usize, n_looks: usize) -> f64 {
        self.spent_at(budget, t as f64 / n_looks as f64)
    }

    /// Computes what of `budget` is spent where this part of the information is there.
    pub fn spent_at(self, budget: f64, part: f64) -> f64 {
        let part = part.min(1.0);
        match self {
            Self::Linear => budget * part,
            Self::Square => budget * part * part,
        }
    }
}

/// How much of the information on a ratio of rates each look is planned to bring, as a part of all: in proportion to
/// `rho (1 - rho)` where the canary's share of the exposure is `rho`.
///
/// Spending by it instead of by looks keeps a ramp's early looks, which can show nothing, from using up what the later
/// ones need. The plan must be made beforehand: one that followed the events would break the level.
pub fn planned_information(shares: &[f64], n_looks: usize) -> Vec<f64> {
    let at = |look: usize| shares[look * shares.len() / n_looks];
    let information: Vec<f64> = (0..n_looks).map(|look| at(look) * (1.0 - at(look))).collect();
    let all: f64 = information.iter().sum();
    information.into_iter().map(|one| one / all).collect()
}

/// Nominal levels for one budget and number of looks.
#[derive(Debug)]
pub struct Boundary {
    budget: f64,
    levels: Vec<f64>,
}

impl Boundary {
    /// Computes the table: about 9 ms for 120 looks, 50 ms for 1,440. [`Boundary::shared`] keeps it.
    ///
    /// - `budget`: in (0, 1).
    /// - `n_looks`: at least 1.
    pub fn new(budget: f64, n_looks: usize) -> Self {
        Self { budget, levels: nominal_levels(budget, n_looks) }
    }

    /// Returns the table from memory, or computes it.
    pub fn shared(budget: f64, n_looks: usize) -> Arc<Self> {
        type Tables = HashMap<(u64, usize), Arc<Boundary>>;
        // A pure function's memory: at the cap it is emptied, which costs time only.
        const TABLES_MAX: usize = 1_000;
        static TABLES: LazyLock<Mutex<Tables>> = LazyLock::new(Mutex::default);
        let key = (budget.to_bits(), n_looks);
        if let Some(table) = TABLES.lock().get(&key) {
            return Arc::clone(table);
        }
        let table = Arc::new(Self::new(budget, n_looks));
        let mut tables = TABLES.lock();
        if tables.len() >= TABLES_MAX {
            tables.clear();
        }
        tables.insert(key, Arc::clone(&table));
        table
    }

    /// Returns `n_t`, the level of look `t` (from 1); zero before the first, and past the last,
    /// where nothing is left to spend.
    pub fn nominal(&self, t: usize) -> f64 {
        t.checked_sub(1).and_then(|idx| self.levels.get(idx)).copied().unwrap_or(0.0)
    }

    /// Returns the number of looks.
    pub fn n_looks(&self) -> usize {
        self.levels.len()
    }

    /// Returns what is spent after look `t`.
    pub fn spent(&self, t: usize) -> f64 {
        SPENDING.spent(self.budget, t, self.n_looks())
    }
}

/// Steps the density of the sum that has not crossed yet on a grid of 0.005 sqrt T.
fn nominal_levels(budget: f64, n_looks: usize) -> Vec<f64> {
    // The step of one look has standard deviation 1; beyond half of it the grid misses the layer at
    // the boundary. The kernel is cut where it is below 1e-15.
    let step = (0.005 * (n_looks as f64).sqrt()).min(0.5);
    const REACH: f64 = 8.3;
    let radius = (REACH / step).ceil() as i64;
    let kernel: Vec<f64> = (-radius..=radius).map(|i| density(i as f64 * step)).collect();
    let mut levels = Vec::with_capacity(n_looks);
    let mut crossing = normal_isf(SPENDING.spent(budget, 1, n_looks));
    levels.push(normal_sf(crossing));
    let mut low = (-9.0 / step).floor() as i64;
    let mut high = (crossing / step).floor() as i64 + 1;
    let mut values: Vec<f64> = (low..=high).map(|i| density(i as f64 * step)).collect();
    for t in 2..=n_looks {
        let increment = SPENDING.spent(budget, t, n_looks) - SPENDING.spent(budget, t - 1, n_looks);
        weigh(&mut values, crossing / step - (high - 1) as f64, step);
        let reach = 9.0 * (t as f64).sqrt() / step;
        let (next_low, next_high) =
            ((low - radius).max(-reach as i64), (high + radius).min(reach as i64 + 1));
        values = convolve(&values, low, &kernel, radius, next_low, next_high);
        let cell = crossing_cell(&values, step, increment);
        crossing = next_low as f64 * step + cell;
        levels.push(normal_sf(crossing / (t as f64).sqrt()));
        low = next_low;
        high = (crossing / step).floor() as i64 + 1;
        values.truncate(usize::try_from(high - low + 1).unwrap_or(0));
    }
    levels
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Turns densities at grid points into weights of the trapezoid rule up to the boundary, which lies
/// `part` of a cell above the last but one point.
fn weigh(values: &mut [f64], part: f64, step: f64) {
    let n = values.len();
    for (idx, value) in values.iter_mut().enumerate() {
        *value *= if idx + 1 == n {
            0.5 * step * part * part
        } else if idx + 2 == n {
            step * (0.5 + part * (1.0 - 0.5 * part))
        } else {
            step
        };
    }
}

fn convolve(
    weights: &[f64],
    low: i64,
    kernel: &[f64],
    radius: i64,
    next_low: i64,
    next_high: i64,
) -> Vec<f64> {
    let n = usize::try_from(next_high - next_low + 1).unwrap_or(0);
    let mut next = vec![0.0; n];
    for (idx, weight) in weights.iter().enumerate() {
        let at = low + idx as i64;
        let from = (at - radius).max(next_low);
        let to = (at + radius).min(next_high);
        if from > to {
            continue;
        }
        let out = &mut next[(from - next_low) as usize..=(to - next_low) as usize];
        let factors = &kernel[(from - at + radius) as usize..];
        for (value, factor) in out.iter_mut().zip(factors) {
            *value += weight * factor;
        }
    }
    next
}

/// Finds how far above the first grid point the upper tail holds `wanted`, taking the density to
/// fall exponentially inside a cell.
fn crossing_cell(values: &[f64], step: f64, wanted: f64) -> f64 {
    let mut tail = 0.0;
    for idx in (0..values.len().saturating_sub(1)).rev() {
        let (left, right) = (values[idx], values[idx + 1]);
        let rate = if right > 0.0 && left > 0.0 { (left / right).ln() / step } else { 0.0 };
        let mass = if rate.abs() * step < 1e-6 { 0.5 * (left + right) * step } else { (left - right) / rate };
        if tail + mass >= wanted {
            let need = wanted - tail;
            let back =
                if rate.abs() * step < 1e-6 { need / right } else { (need * rate / right).ln_1p() / rate };
            return (idx + 1) as f64 * step - back;
        }
        tail += mass;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(budget: f64, want: [(usize, f64); 8]) {
        let table = Boundary::new(budget, 60);
        for (t, want) in want {
            let got = table.nominal(t);
            assert!((got / want - 1.0).abs() < 0.006, "a = {budget}, t = {t}: {got:e}, not {want:e}");
        }
    }

    // Published table, three digits, T = 60; checked there with 400,000 simulated walks.
    #[test]
    fn levels_agree_with_the_published_table() {
        check(
            0.0001,
            [
                (1, 2.78e-8),
                (5, 3.12e-7),
                (10, 9.34e-7),
                (20, 3.13e-6),
                (30, 6.63e-6),
                (40, 1.15e-5),
                (50, 1.78e-5),
                (60, 2.55e-5),
            ],
        );
        check(
            0.001,
            [
                (1, 2.78e-7),
                (5, 3.28e-6),
                (10, 1.02e-5),
                (20, 3.56e-5),
                (30, 7.74e-5),
                (40, 1.37e-4),
                (50, 2.14e-4),
                (60, 3.12e-4),
            ],
        );
        check(
            0.01,
            [
                (1, 2.78e-6),
                (5, 3.51e-5),
                (10, 1.15e-4),
                (20, 4.22e-4),
                (30, 9.47e-4),
                (40, 1.71e-3),
                (50, 2.75e-3),
                (60, 4.06e-3),
            ],
        );
        check(
            0.05,
            [
                (1, 1.39e-5),
                (5, 1.86e-4),
                (10, 6.37e-4),
                (20, 2.45e-3),
                (30, 5.69e-3),
                (40, 1.06e-2),
                (50, 1.73e-2),
                (60, 2.61e-2),
            ],
        );
    }

    #[test]
    fn one_look_spends_everything() {
        assert!((Boundary::new(0.01, 1).nominal(1) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn levels_rise_with_budget_and_look_and_end_with_the_phase() {
        for n_looks in [2, 7, 60, 300] {
            let (small, large) = (Boundary::new(0.002, n_looks), Boundary::new(0.01, n_looks));
            for t in 1..=n_looks {
                assert!(small.nominal(t) < large.nominal(t));
                assert!(small.nominal(t) <= 0.002 && small.nominal(t) > 0.0);
                assert!(t == 1 || small.nominal(t) > small.nominal(t - 1), "T = {n_looks}, t = {t}");
            }
            assert_eq!(small.nominal(n_looks + 1), 0.0);
            assert_eq!(small.nominal(0), 0.0);
        }
    }
}
