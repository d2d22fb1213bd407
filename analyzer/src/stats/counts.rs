//! Procedure C: events of two sides compared exactly, conditional on the totals.
//!
//! If the canary's rate is `theta` times the baseline's, each event of interval `t` is the canary's
//! with chance `r = rho theta / (rho theta + 1 - rho)`, `rho` being its share of the exposure. So, given
//! the totals, the canary's count is a sum of binomials, and [`Lattice`] carries the law of that sum
//! over all paths that have not crossed yet. At each look the upper tail is cut off as far as the
//! spending function allows; a path in what was cut has crossed. What the lattice leaves unspent
//! carries over to later looks.
//!
//! Exact at every look, whatever the rate does over time and also when the share changes, as long as
//! (i) events fall on the sides independently, given the totals, and (ii) later totals and shares do not
//! react to who got the earlier events. [`Step::Swap`] drops (i): where the sides have equal shares and
//! are exchangeable interval by interval, an interval's events change sides as a whole, so clumps
//! inside an interval do no harm. [`Step::Among`] is the same for unequal shares: the canary's hosts change places with
//! groups of as many of the baseline's.
//!
//! Source: Przyborowski and Wilenski, Biometrika 31, 1940 (conditional binomial); Fisher, "The Design of
//! Experiments", 1935 (exactness by changing sides); Mantel, Cancer Chemotherapy Reports 50, 1966 (draws from those
//! at risk); spending as in [`super::boundary`].

/// How the events of one interval may fall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// Independently, each on the canary with this chance when there is no harm (`theta` = 1).
    Share(f64),
    /// All as seen, or all on the other side, half each.
    Swap,
    /// As one of these, each as likely: what groups of hosts of equal size had, the counted side's among them.
    Among(&'a [usize]),
    /// Each from another of so many that may still have one, of the counted and of the other side: users, who
    /// convert once. Where `theta` is not 1 as [`Step::Share`], whose law is the wider one.
    Draw {
        /// Of the counted side.
        counted: usize,
        /// Of the other side.
        other: usize,
    },
}

/// The law of one side's count over the paths that have not crossed.
#[derive(Clone, Debug)]
pub struct Lattice {
    theta: f64,
    low: usize,
    law: Vec<f64>,
    gone: f64,
    seen: usize,
    p: f64,
    is_crossed: bool,
}

// States rarer than this are dropped at both ends; levels are above 1e-12.
const NEGLIGIBLE: f64 = 1e-30;

impl Lattice {
    /// Starts with no event, testing "the counted side's rate is at most `theta` times the other's".
    ///
    /// For the lower tail count the other side, with shares `1 - rho` and `1 / theta`.
    pub fn new(theta: f64) -> Self {
        Self { theta, low: 0, law: vec![1.0], gone: 0.0, seen: 0, p: 1.0, is_crossed: false }
    }

    /// Adds an interval in which the counted side had `x` of `m` events, and looks: `allowed` is what may
    /// be spent up to now.
    pub fn push(&mut self, x: usize, m: usize, step: Step<'_>, allowed: f64) {
        self.add(x, m, step);
        self.look(allowed);
    }

    /// Adds events without a look.
    pub fn add(&mut self, x: usize, m: usize, step: Step<'_>) {
        debug_assert!(x <= m, "a side has no more events than both together");
        if m == 0 {
            return;
        }
        let of_share = |share: f64| share * self.theta / (share * self.theta + 1.0 - share);
        let (from, jumps) = match step {
            Step::Share(share) => binomial(m, of_share(share)),
            Step::Swap => swap(x, m),
            Step::Among(counts) => among(counts),
            Step::Draw { counted, other } if self.theta == 1.0 && m <= counted + other => {
                hypergeometric(m, counted, other)
            }
            Step::Draw { counted, other } => {
                binomial(m, of_share(counted as f64 / (counted + other).max(1) as f64))
            }
        };
        self.law = convolve(&self.law, &jumps);
        self.low += from;
        self.seen += x;
        self.trim();
    }

    /// Looks: `allowed` is what may be spent up to now.
    pub fn look(&mut self, allowed: f64) {
        let above = self.seen.saturating_sub(self.low).min(self.law.len());
        self.p = (self.gone + self.law[above..].iter().rev().sum::<f64>()).min(1.0);
        self.cut(allowed);
    }

    /// Cuts the upper tail while what is gone stays within what is allowed.
    fn cut(&mut self, allowed: f64) {
        let mut tail = 0.0;
        let mut keep = self.law.len();
        while keep > 0 && self.gone + tail + self.law[keep - 1] <= allowed {
            tail += self.law[keep - 1];
            keep -= 1;
        }
        self.law.truncate(keep);
        self.gone += tail;
        self.is_crossed |= self.seen >= self.low + keep && self.p <= allowed;
    }

    fn trim(&mut self) {
        let above = self.law.iter().rev().take_while(|mass| **mass < NEGLIGIBLE).count();
        self.law.truncate(self.law.len() - above);
        let below = self.law.iter().take_while(|mass| **mass < NEGLIGIBLE).count();
        self.law.drain(..below);
        self.low += below;
    }

    /// Returns the ratio of rates that is tested.
    pub fn theta(&self) -> f64 {
        self.theta
    }

    /// Returns the chance, if the ratio is `theta`, to have crossed before or to have so many events now.
    /// A crossing at this look is `p <= allowed`.
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Returns what has been spent.
    pub fn spent(&self) -> f64 {
        self.gone
    }

    /// Tells whether the counts seen have crossed, now or at an earlier look.
    pub fn is_crossed(&self) -> bool {
        self.is_crossed
    }
}

fn swap(x: usize, m: usize) -> (usize, Vec<f64>) {
    let (few, many) = (x.min(m - x), x.max(m - x));
    let mut jumps = vec![0.0; many - few + 1];
    jumps[0] += 0.5;
    jumps[many - few] += 0.5;
    (few, jumps)
}

fn among(counts: &[usize]) -> (usize, Vec<f64>) {
    let (few, many) = counts.iter().fold((usize::MAX, 0), |(few, many), one| (few.min(*one), many.max(*one)));
    let mut jumps = vec![0.0; many - few.min(many) + 1];
    for one in counts {
        jumps[one - few] += 1.0 / counts.len() as f64;
    }
    (few, jumps)
}

/// Computes a binomial law around its mode, down to where it is negligible: its first state and masses.
fn binomial(m: usize, r: f64) -> (usize, Vec<f64>) {
    if r <= 0.0 {
        return (0, vec![1.0]);
    }
    if r >= 1.0 {
        return (m, vec![1.0]);
    }
    let mode = (((m + 1) as f64 * r) as usize).min(m);
    let odds = r / (1.0 - r);
    around(mode, m, |k| odds * (m - k) as f64 / (k + 1) as f64)
}

/// Computes the law of the counted side's part of `m` drawn without replacement, likewise.
fn hypergeometric(m: usize, counted: usize, other: usize) -> (usize, Vec<f64>) {
    let (least, most) = (m.saturating_sub(other), m.min(counted));
    let mode = ((m + 1) as f64 * (counted + 1) as f64 / (counted + other + 2) as f64) as usize;
    around(mode.clamp(least, most), most, |k| {
        // From a state below the least possible one there is no way up: the ratio is infinite and the mass none.
        let (up, down) = ((m - k) as f64 * (counted - k) as f64, (k + 1) as f64);
        up / (down * ((other + k + 1) as f64 - m as f64).max(0.0))
    })
}

/// Computes a law from the ratios of the masses of `k + 1` and `k`, outwards from its mode up to `most`.
fn around(mode: usize, most: usize, ratio: impl Fn(usize) -> f64) -> (usize, Vec<f64>) {
    let mut above = vec![1.0];
    for k in mode..most {
        let next = above[above.len() - 1] * ratio(k);
        if next < NEGLIGIBLE {
            break;
        }
        above.push(next);
    }
    let mut below = Vec::new();
    let mut mass = 1.0;
    for k in (0..mode).rev() {
        mass /= ratio(k);
        if mass < NEGLIGIBLE {
            break;
        }
        below.push(mass);
    }
    let low = mode - below.len();
    below.reverse();
    below.extend(above);
    let total: f64 = below.iter().sum();
    below.iter_mut().for_each(|mass| *mass /= total);
    (low, below)
}

fn convolve(law: &[f64], jumps: &[f64]) -> Vec<f64> {
    let mut next = vec![0.0; law.len() + jumps.len() - 1];
    let (long, short) = if law.len() >= jumps.len() { (law, jumps) } else { (jumps, law) };
    for (idx, factor) in short.iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
        for (value, mass) in next[idx..].iter_mut().zip(long) {
            *value += factor * mass;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::boundary::Spending;
    use proptest::prelude::*;

    // All 2^n ways in which n single events fall, each interval one event.
    fn brute_force(theta: f64, shares: &[f64], budget: f64) -> f64 {
        let n = shares.len();
        let mut crossed = 0.0;
        for path in 0..1_u32 << n {
            let mut lattice = Lattice::new(theta);
            let mut chance = 1.0;
            for (t, share) in shares.iter().enumerate() {
                let is_canary = path >> t & 1 == 1;
                let r = share * theta / (share * theta + 1.0 - share);
                chance *= if is_canary { r } else { 1.0 - r };
                let allowed = Spending::Square.spent(budget, t + 1, n);
                lattice.push(usize::from(is_canary), 1, Step::Share(*share), allowed);
            }
            crossed += if lattice.is_crossed() { chance } else { 0.0 };
        }
        crossed
    }

    #[test]
    fn exactly_what_was_spent_crosses() {
        for (theta, budget) in [(1.0, 0.05), (2.0, 0.2), (1.0, 0.001)] {
            let shares: Vec<f64> = (0..14).map(|t| 0.1 + 0.05 * f64::from(t)).collect();
            let mut lattice = Lattice::new(theta);
            for (t, share) in shares.iter().enumerate() {
                lattice.push(0, 1, Step::Share(*share), Spending::Square.spent(budget, t + 1, shares.len()));
            }
            let crossed = brute_force(theta, &shares, budget);
            assert!((crossed - lattice.spent()).abs() < 1e-12, "{crossed} {}", lattice.spent());
            assert!(crossed <= budget && crossed > 0.0);
        }
    }

    // scipy 1.17.1: stats.hypergeom(50, 20, 12).pmf and sf; the least state of the second is 7.
    #[test]
    fn draws_follow_the_hypergeometric_law() {
        let (low, masses) = hypergeometric(12, 20, 30);
        let at = |k: usize| masses[k - low];
        assert!((at(5) / 0.259992865828 - 1.0).abs() < 1e-8, "{}", at(5));
        assert!((at(12) / 1.03764713373e-06 - 1.0).abs() < 1e-8, "{}", at(12));
        let (low, masses) = hypergeometric(12, 20, 5);
        assert_eq!((low, masses.len()), (7, 6));
        let mut lattice = Lattice::new(1.0);
        lattice.push(9, 12, Step::Draw { counted: 20, other: 30 }, 0.0);
        assert!((lattice.p() / 0.00632169222107 - 1.0).abs() < 1e-8, "{}", lattice.p());
    }

    #[test]
    fn swapped_clumps_count_once() {
        let mut lattice = Lattice::new(1.0);
        for t in 1..=6 {
            lattice.push(500, 500, Step::Swap, Spending::Square.spent(0.02, t, 6));
        }
        assert_eq!(lattice.p(), 0.5_f64.powi(6));
        assert!(lattice.is_crossed());
    }

    // Whatever the counts are: who of four groups is the canary is drawn anew each interval.
    #[test]
    fn groups_that_change_places_cross_as_often_as_allowed() {
        let intervals =
            [[0, 0, 5, 0], [5, 0, 0, 10], [0, 5, 0, 0], [1, 0, 2, 30], [0, 0, 0, 5], [7, 7, 0, 0]];
        let mut n_crossed = 0;
        for path in 0..4_usize.pow(6) {
            let mut lattice = Lattice::new(1.0);
            for (t, counts) in intervals.iter().enumerate() {
                let own = path / 4_usize.pow(t as u32) % 4;
                let all = counts.iter().sum();
                let allowed = Spending::Square.spent(0.05, t + 1, 6);
                lattice.push(counts[own], all, Step::Among(counts), allowed);
            }
            n_crossed += usize::from(lattice.is_crossed());
            if path == 0 {
                assert!(lattice.spent() <= 0.05);
            }
        }
        let crossed = n_crossed as f64 / 4_f64.powi(6);
        assert!(crossed <= 0.05 && crossed > 0.01, "{crossed}");
    }

    proptest! {
        #[test]
        fn more_events_never_raise_p(
            counts in prop::collection::vec((0_usize..20, 0_usize..20), 1..30), share in 0.02..0.98, at in 0_usize..30,
        ) {
            let p = |more: usize| {
                let mut lattice = Lattice::new(1.0);
                for (t, (x, y)) in counts.iter().enumerate() {
                    // One event moves from the other side, so that the totals stay.
                    let moved = if t == at % counts.len() { more.min(*y) } else { 0 };
                    lattice.push(x + moved, x + y, Step::Share(share), 0.0);
                }
                lattice.p()
            };
            prop_assert!(p(1) <= p(0) + 1e-12);
        }

        #[test]
        fn laws_sum_to_one(m in 0_usize..3_000, r in 0.0..1.0) {
            let (_, masses) = binomial(m, r);
            prop_assert!((masses.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
