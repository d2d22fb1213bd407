//! Users as the unit: sums of amounts, however heavy their tails.
//!
//! Users come to a side by chance, so that, if the canary changes nothing, every way to share out the users'
//! values is as likely as any other. Two scores are compared, each a function of all users' values that
//! does not know who was where:
//! - the amount, clipped at the largest but a thousandth of the users (ten at least): one large
//!   customer is no evidence;
//! - the logarithm of the amount among users who have one: where amounts spread over orders of magnitude it sees
//!   what their mean cannot.
//!
//! The canary's sum of scores is near normal under exchange, with known mean, variance and skewness
//! (Cornish and Fisher's first term, used where it makes p larger).
//!
//! Where a user's amount before the release is known, what it explains is taken off first (CUPED).
//!
//! Assumes that users are assigned independently and stay on their side; crossing is counted elsewhere.
//!
//! Source: Pitman, "Significance tests which may be applied to samples from any populations", Suppl. J. R. Stat.
//! Soc. 4, 1937 (exchange); Cornish and Fisher, Rev. Int. Stat. Inst. 5, 1937; Deng, Xu, Kohavi and
//! Walker, WSDM 2013 (CUPED); Fieller, J. R. Stat. Soc. B 16, 1954 (ratio of means).

use super::special::{normal_isf, normal_sf};

/// One user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct User {
    /// The value so far.
    pub value: f64,
    /// The value before the release, where the user was seen before.
    pub before: Option<f64>,
}

/// The users of both sides at a look.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Amounts with what history explains taken off, and as they are.
    baseline: Vec<(f64, f64)>,
    canary: Vec<(f64, f64)>,
}

/// Users of each side below which nothing is said: normal laws need more than a handful.
pub const USERS_MIN: usize = 50;
/// Part of the users that is clipped, and how many at least.
const CLIPPED: f64 = 0.001;
const CLIPPED_MIN: usize = 10;

impl Comparison {
    /// Takes the users of both sides; `None` with too few on one.
    pub fn new(baseline: &[User], canary: &[User]) -> Option<Self> {
        if baseline.len().min(canary.len()) < USERS_MIN {
            return None;
        }
        let explained = Explained::new(baseline.iter().chain(canary));
        let side = |users: &[User]| users.iter().map(|user| (explained.rest(user), user.value)).collect();
        Some(Self { baseline: side(baseline), canary: side(canary) })
    }

    /// Computes the p of harm in either score, for harm beyond a ratio `theta` of canary to baseline in the
    /// direction of `sign`. Each is a test of its own: the budget is shared between them.
    pub fn p_harm(&self, sign: f64, theta: f64) -> [f64; 2] {
        let scaled: Vec<f64> = self.canary.iter().map(|(amount, _)| amount / theta).collect();
        let baseline: Vec<f64> = self.baseline.iter().map(|(amount, _)| *amount).collect();
        let (low, high) = clips(&baseline, &scaled);
        let clipped = |values: &[f64]| values.iter().map(|value| value.clamp(low, high)).collect::<Vec<_>>();
        let logs = |values: &[(f64, f64)], theta: f64| {
            let positive = values.iter().map(|(_, value)| value / theta).filter(|value| *value > 0.0);
            positive.map(f64::ln).collect::<Vec<_>>()
        };
        [
            exchange_p(&clipped(&baseline), &clipped(&scaled), sign),
            exchange_p(&logs(&self.baseline, 1.0), &logs(&self.canary, theta), sign),
        ]
    }

    /// Computes the p of "harm is a ratio `theta` or more in the direction of `sign`" against less: the larger of
    /// the clipped and the plain means, since clipping hides part of a large harm.
    pub fn p_go(&self, sign: f64, theta: f64) -> f64 {
        self.worst(|baseline, canary| {
            let gap = sign * (theta * baseline.mean - canary.mean);
            gap / (canary.error2() + theta * theta * baseline.error2()).sqrt()
        })
    }

    /// As [`Comparison::p_go`], for a difference of means of `size`, positive in the direction of harm.
    pub fn p_go_by(&self, sign: f64, size: f64) -> f64 {
        self.worst(|baseline, canary| {
            let gap = size - sign * (canary.mean - baseline.mean);
            gap / (canary.error2() + baseline.error2()).sqrt()
        })
    }

    fn worst(&self, z: impl Fn(&Moments, &Moments) -> f64) -> f64 {
        let plain =
            [&self.baseline, &self.canary].map(|side| side.iter().map(|(a, _)| *a).collect::<Vec<_>>());
        let (low, high) = clips(&plain[0], &plain[1]);
        let of = |low: f64, high: f64| {
            let [baseline, canary] = [0, 1]
                .map(|side: usize| Moments::new(plain[side].iter().map(|value| value.clamp(low, high))));
            sound(normal_sf(z(&baseline, &canary)))
        };
        of(low, high).max(of(f64::NEG_INFINITY, f64::INFINITY))
    }

    /// Returns both sides' means as they are: baseline, canary.
    pub fn means(&self) -> [f64; 2] {
        [&self.baseline, &self.canary].map(|side| Moments::new(side.iter().map(|(_, value)| *value)).mean)
    }

    /// Computes estimate and limits of the difference of means, each limit at a one-sided level.
    pub fn difference(&self, level: f64) -> (f64, f64, f64) {
        let [baseline, canary] =
            [&self.baseline, &self.canary].map(|side| Moments::new(side.iter().map(|(amount, _)| *amount)));
        let reach = normal_isf(level) * (baseline.error2() + canary.error2()).sqrt();
        let estimate = canary.mean - baseline.mean;
        (estimate, estimate - reach, estimate + reach)
    }
}

/// What amounts before the release explain of those since.
struct Explained {
    slope: f64,
    centre: f64,
}

impl Explained {
    fn new<'a>(users: impl Iterator<Item = &'a User>) -> Self {
        let pairs: Vec<(f64, f64)> = users.filter_map(|user| Some((user.before?, user.value))).collect();
        let n = pairs.len() as f64;
        let (x, y) = pairs.iter().fold((0.0, 0.0), |(x, y), pair| (x + pair.0 / n, y + pair.1 / n));
        let (xx, xy) = pairs
            .iter()
            .fold((0.0, 0.0), |(xx, xy), pair| (xx + (pair.0 - x).powi(2), xy + (pair.0 - x) * (pair.1 - y)));
        if xx > 0.0 { Self { slope: xy / xx, centre: x } } else { Self { slope: 0.0, centre: 0.0 } }
    }

    fn rest(&self, user: &User) -> f64 {
        user.value - user.before.map_or(0.0, |before| self.slope * (before - self.centre))
    }
}

/// Mean and variance of one side.
struct Moments {
    n: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn new(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (sum, n) = values.clone().fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
        let mean = sum / n;
        let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { n, mean, variance }
    }

    fn error2(&self) -> f64 {
        self.variance / self.n
    }
}

/// Finds the ends at which amounts are clipped: the outermost thousandth of all users on either end.
fn clips(baseline: &[f64], canary: &[f64]) -> (f64, f64) {
    let mut all: Vec<f64> = baseline.iter().chain(canary).copied().collect();
    let k = ((CLIPPED * all.len() as f64) as usize).max(CLIPPED_MIN).min(all.len() / 2);
    let n = all.len();
    let (_, low, _) = all.select_nth_unstable_by(k, f64::total_cmp);
    let low = *low;
    let (_, high, _) = all.select_nth_unstable_by(n - 1 - k, f64::total_cmp);
    // Amounts of which most are zero must not lose their lower end to a clip above it.
    (low, high.max(low))
}

/// Computes the chance, over all ways to share out the scores, that the canary's sum lies as far in the direction
/// of `sign`; 1 where a side has too few scores or none differ.
fn exchange_p(baseline: &[f64], canary: &[f64], sign: f64) -> f64 {
    let (n_baseline, n_canary) = (baseline.len() as f64, canary.len() as f64);
    let n = n_baseline + n_canary;
    if baseline.len().min(canary.len()) < USERS_MIN {
        return 1.0;
    }
    let all = || baseline.iter().chain(canary);
    let centre = all().sum::<f64>() / n;
    let (squares, cubes) = all().fold((0.0, 0.0), |(squares, cubes), value| {
        let off = value - centre;
        (squares + off * off, cubes + off * off * off)
    });
    let share = n_canary / n;
    // The variance of a sum drawn without replacement.
    let variance = share * (1.0 - share) * squares * n / (n - 1.0);
    let sum = sign * canary.iter().map(|value| value - centre).sum::<f64>();
    let z = sum / variance.sqrt();
    let skewness = sign * share * (1.0 - share) * (1.0 - 2.0 * share) * cubes / variance.powf(1.5);
    let corrected = z - (skewness * (z * z - 1.0) / 6.0).max(0.0);
    sound(normal_sf(corrected))
}

fn sound(p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { p } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn users(values: impl Iterator<Item = f64>) -> Vec<User> {
        values.map(|value| User { value, before: None }).collect()
    }

    #[test]
    fn one_large_customer_is_no_evidence() {
        let plain = |i: i32| f64::from(i % 10);
        let baseline = users((0..400).map(plain));
        let canary = users((0..400).map(|i| if i == 7 { 1e6 } else { plain(i) }));
        let comparison = Comparison::new(&baseline, &canary).expect("enough users");
        let [amounts, logs] = comparison.p_harm(1.0, 1.0);
        assert!(amounts > 0.2 && logs > 0.2, "{amounts} {logs}");
        // Yet it keeps harm from being shown small.
        assert!(comparison.p_go(1.0, 1.1) > 0.5);
    }

    #[test]
    fn what_was_before_is_taken_off() {
        let value = |i: i32, off: f64| User {
            value: f64::from(i % 100) + off + 0.1 * f64::from(i % 7),
            before: Some(f64::from(i % 100)),
        };
        let baseline: Vec<User> = (0..500).map(|i| value(i, 0.0)).collect();
        let canary: Vec<User> = (0..500).map(|i| value(i, 0.2)).collect();
        let with = Comparison::new(&baseline, &canary).expect("enough users").p_harm(1.0, 1.0)[0];
        let blind =
            |users: &[User]| users.iter().map(|user| User { before: None, ..*user }).collect::<Vec<_>>();
        let without =
            Comparison::new(&blind(&baseline), &blind(&canary)).expect("enough users").p_harm(1.0, 1.0)[0];
        assert!(with < 1e-6 && without > 0.3, "{with} {without}");
    }

    // scipy 1.17.1: the exact law of a hypergeometric sum of zeros and ones.
    #[test]
    fn the_exchange_law_is_near_the_exact_one() {
        let side = |ones: usize, n: usize| (0..n).map(|i| f64::from(u8::from(i < ones))).collect::<Vec<_>>();
        for (canary, baseline, exact) in
            [((30, 100), (180, 900), 0.016_305), ((60, 500), (40, 500), 0.022_381)]
        {
            let p = exchange_p(&side(baseline.0, baseline.1), &side(canary.0, canary.1), 1.0);
            assert!((p / exact - 1.0).abs() < 0.35, "{p} for {exact}");
        }
    }

    proptest! {
        #[test]
        fn swapping_the_sides_mirrors_the_amounts(
            a in prop::collection::vec(0.0..100.0_f64, 60..120), b in prop::collection::vec(0.0..100.0_f64, 60..120),
        ) {
            let (a, b) = (users(a.into_iter()), users(b.into_iter()));
            let there = Comparison::new(&a, &b).expect("enough users");
            let back = Comparison::new(&b, &a).expect("enough users");
            prop_assert!((there.p_go_by(1.0, 3.0) - back.p_go_by(-1.0, 3.0)).abs() < 1e-9);
            for (x, y) in there.p_harm(1.0, 1.0).iter().zip(back.p_harm(-1.0, 1.0)) {
                prop_assert!((x - y).abs() < 1e-9, "{x} {y}");
            }
        }

        #[test]
        fn the_unit_of_the_amounts_does_not_matter(
            a in prop::collection::vec(0.0..100.0_f64, 60..90), b in prop::collection::vec(0.0..100.0_f64, 60..90), unit in 0.01_f64..100.0,
        ) {
            let p = |unit: f64| {
                let side = |values: &[f64]| users(values.iter().map(|value| unit * value));
                Comparison::new(&side(&a), &side(&b)).expect("enough users").p_harm(1.0, 1.1)
            };
            for (x, y) in p(1.0).iter().zip(p(unit)) {
                prop_assert!((x - y).abs() < 1e-7, "{x} {y}");
            }
        }
    }
}
