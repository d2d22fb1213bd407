//! The Mann–Whitney U test, with ties, exact for small samples.

use super::super::special::normal_sf;
use super::{Law, StatError, Tails, check};

/// Steps that filling the table of the exact distribution may take: pools of 80 at any split, or 8
/// against 350, in some tens of milliseconds.
const EXACT_STEPS_MAX: usize = 1 << 25;

/// Result of [`mann_whitney`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the canary's value is larger, ties counted one half; from 0 to `m n`.
    pub u: f64,
    /// `u / (m n)`: the chance that a canary value exceeds a baseline one (Vargha and Delaney's A).
    pub superiority: f64,
    /// Chances of a `u` at least as far out.
    pub p: Tails,
    /// Whether `p` is exact.
    pub law: Law,
}

/// Tests whether canary values tend to be larger or smaller than baseline ones.
///
/// - `baseline`, `canary`: one or more finite values each, any order, same unit.
///
/// Exact, also with ties, while the pool is small; then by the normal limit with the variance
/// corrected for ties and a continuity correction. Takes `O((m + n) log(m + n))` time beyond the
/// exact table.
///
/// # Errors
/// [`StatError`] if a side is empty or not finite, or all values of both sides are equal.
///
/// Source: Mann and Whitney, "On a test of whether one of two random variables is stochastically
/// larger than the other", Ann. Math. Stat. 18, 1947; ties: Lehmann, "Nonparametrics", 1975, 1.4.
pub fn mann_whitney(baseline: &[f64], canary: &[f64]) -> Result<MannWhitney, StatError> {
    check(baseline, 1)?;
    check(canary, 1)?;
    let (baseline, canary) = (sorted(baseline), sorted(canary));
    let pool = rank_sum(&canary, &baseline, 0.0);
    if pool.variance() <= 0.0 {
        return Err(StatError::NoSpread);
    }
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let (p, law) = match exact(&canary, &baseline) {
        Some(p) => (p, Law::Exact),
        None => (limit(&pool), Law::Limit),
    };
    Ok(MannWhitney { u: pool.u, superiority: pool.u / (m * n), p, law })
}

/// Sorts finite values.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// What the ranks of two pooled samples say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RankSum {
    m: f64,
    n: f64,
    /// Sum of the first sample's ranks less its smallest possible.
    pub(crate) u: f64,
    /// Sum of `t^3 - t` over groups of `t` equal values.
    ties: f64,
}

impl RankSum {
    /// Returns how far `u` lies above its mean if nothing differs.
    pub(crate) fn excess(&self) -> f64 {
        self.u - 0.5 * self.m * self.n
    }

    /// Returns the variance of `u` if nothing differs; 0 when all values are equal.
    pub(crate) fn variance(&self) -> f64 {
        let all = self.m + self.n;
        self.m * self.n / 12.0 * (all + 1.0 - self.ties / (all * (all - 1.0)))
    }
}

/// Ranks `x - shift` and `y` together; both sorted. Subtracting keeps the order, so that one merge
/// is enough.
pub(crate) fn rank_sum(x: &[f64], y: &[f64], shift: f64) -> RankSum {
    let (m, n) = (x.len() as f64, y.len() as f64);
    let (mut i, mut j, mut sum, mut ties) = (0, 0, 0.0, 0.0);
    while i < x.len() || j < y.len() {
        let next_x = x.get(i).map_or(f64::INFINITY, |value| value - shift);
        let next_y = y.get(j).copied().unwrap_or(f64::INFINITY);
        let value = next_x.min(next_y);
        let from_x = x[i..].iter().take_while(|x| **x - shift == value).count();
        let from_y = y[j..].iter().take_while(|y| **y == value).count();
        let t = (from_x + from_y) as f64;
        // Ranks i + j + 1 to i + j + t share their mean.
        sum += from_x as f64 * ((i + j) as f64 + 0.5 * (t + 1.0));
        ties += t * t * t - t;
        i += from_x;
        j += from_y;
    }
    RankSum { m, n, u: sum - 0.5 * m * (m + 1.0), ties }
}

fn limit(pool: &RankSum) -> Tails {
    let (excess, sd) = (pool.excess(), pool.variance().sqrt());
    let tail = |excess: f64| normal_sf((excess - 0.5) / sd);
    Tails::doubled(tail(-excess), tail(excess))
}

/// Computes the tails over all ways to deal the pooled ranks, ties included; `None` if there are too
/// many.
///
/// Counts, by dynamic programming, the subsets of the smaller side's size with each sum of doubled
/// ranks, which are whole numbers also with ties.
fn exact(canary: &[f64], baseline: &[f64]) -> Option<Tails> {
    let (small, large) = if canary.len() <= baseline.len() { (canary, baseline) } else { (baseline, canary) };
    let (k, all) = (small.len(), small.len() + large.len());
    let sum_max = k.checked_mul(2 * all - k + 1)?;
    if all.checked_mul(k)?.checked_mul(sum_max)? > EXACT_STEPS_MAX {
        return None;
    }
    let ranks = doubled_ranks(small, large);
    let seen: usize = ranks.iter().filter(|(_, is_small)| *is_small).map(|(rank, _)| rank).sum();
    // ways[c][s]: subsets of c ranks with sum s among those taken so far.
    let width = sum_max + 1;
    let mut ways = vec![0.0; (k + 1) * width];
    ways[0] = 1.0;
    for (taken, (rank, _)) in ranks.iter().enumerate() {
        for c in (1..=k.min(taken + 1)).rev() {
            let (fewer, row) = ways.split_at_mut(c * width);
            let fewer = &fewer[(c - 1) * width..];
            for (to, from) in row[*rank..width].iter_mut().zip(fewer) {
                *to += from;
            }
        }
    }
    let row = &ways[k * width..];
    let total: f64 = row.iter().sum();
    let low = row[..=seen].iter().sum::<f64>() / total;
    let high = row[seen..].iter().sum::<f64>() / total;
    Some(if canary.len() <= baseline.len() { Tails::doubled(low, high) } else { Tails::doubled(high, low) })
}

/// Returns twice the mean rank of each pooled value, and whether it is the smaller side's.
fn doubled_ranks(small: &[f64], large: &[f64]) -> Vec<(usize, bool)> {
    let mut pool: Vec<(f64, bool)> =
        small.iter().map(|v| (*v, true)).chain(large.iter().map(|v| (*v, false))).collect();
    pool.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = Vec::with_capacity(pool.len());
    for group in pool.chunk_by(|a, b| a.0 == b.0) {
        let doubled = 2 * ranks.len() + group.len() + 1;
        ranks.extend(group.iter().map(|(_, is_small)| (doubled, *is_small)));
    }
    ranks
}
