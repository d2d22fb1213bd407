//! Fisher's exact test: events over trials of two sides, all totals given.

use super::{StatError, Tails};

/// Largest count: beyond it sums of counts lose whole numbers.
pub(super) const COUNT_MAX: u64 = 1 << 50;

/// Result of [`fisher`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FisherExact {
    /// Odds of an event on the canary over the baseline's; infinite if only the canary has events,
    /// `None` where it is 0 over 0.
    pub odds_ratio: Option<f64>,
    /// Chances of a canary at least as far out; two-sided: of tables no likelier than this one.
    pub p: Tails,
}

/// Tests whether the chances of an event differ.
///
/// - `baseline`, `canary`: `(events, trials)`, events at most trials, trials at least 1.
///
/// Takes time in proportion to the events that stand in the tails, at most to those of both sides.
///
/// # Errors
/// [`StatError::TooFew`] if a side has no trial or more events than trials,
/// [`StatError::CountTooLarge`] above 2^50.
///
/// Source: Fisher, "The logic of inductive inference", J. R. Stat. Soc. 98, 1935.
pub fn fisher(baseline: (u64, u64), canary: (u64, u64)) -> Result<FisherExact, StatError> {
    for (events, trials) in [baseline, canary] {
        if trials == 0 || events > trials {
            return Err(StatError::TooFew {
                n: usize::try_from(trials).unwrap_or(usize::MAX),
                need: usize::try_from(events.max(1)).unwrap_or(usize::MAX),
            });
        }
        if trials > COUNT_MAX {
            return Err(StatError::CountTooLarge);
        }
    }
    let table = Table { events: baseline.0 + canary.0, canary: canary.1, baseline: baseline.1 };
    let x = canary.0;
    let less = table.tail(x, Way::Down);
    let greater = table.tail(x, Way::Up);
    let two_sided = (table.tail(x, table.side_of(x)) + table.opposite(x)).min(1.0);
    let odds = |(events, trials): (u64, u64)| events as f64 / (trials - events) as f64;
    let ratio = odds(canary) / odds(baseline);
    Ok(FisherExact { odds_ratio: (!ratio.is_nan()).then_some(ratio), p: Tails { less, greater, two_sided } })
}

/// The margins of a table; what varies is the canary's events.
#[derive(Clone, Copy, Debug)]
struct Table {
    events: u64,
    canary: u64,
    baseline: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Down,
    Up,
}

impl Table {
    fn low(&self) -> u64 {
        self.events.saturating_sub(self.baseline)
    }

    fn high(&self) -> u64 {
        self.events.min(self.canary)
    }

    fn mode(&self) -> u64 {
        let all = (self.canary + self.baseline + 2) as f64;
        let mode = ((self.events + 1) as f64 * (self.canary + 1) as f64 / all).floor() as u64;
        mode.clamp(self.low(), self.high())
    }

    fn side_of(&self, x: u64) -> Way {
        if x <= self.mode() { Way::Down } else { Way::Up }
    }

    /// Computes the logarithm of a table's chance from three binomials, whose parts stay small where
    /// logarithms of factorials would cancel.
    fn ln_chance(&self, x: u64) -> f64 {
        let all = self.canary + self.baseline;
        let (p, q) = (self.events as f64 / all as f64, (all - self.events) as f64 / all as f64);
        ln_binomial(x, self.canary, p, q) + ln_binomial(self.events - x, self.baseline, p, q)
            - ln_binomial(self.events, all, p, q)
    }

    /// Returns the chance of one event more over that of `x`.
    fn step_up(&self, x: u64) -> f64 {
        let (x, events, canary) = (x as f64, self.events as f64, self.canary as f64);
        (canary - x) * (events - x) / ((x + 1.0) * (self.baseline as f64 - events + x + 1.0))
    }

    /// Adds up the chances from `x` on to one end, `x` included.
    fn tail(&self, x: u64, way: Way) -> f64 {
        // Summing away from the mode ends soon; the other tail is what is left.
        match way {
            Way::Down if x > self.mode() => {
                if x == self.high() {
                    return 1.0;
                }
                return (1.0 - self.tail(x + 1, Way::Up)).max(0.0);
            }
            Way::Up if x < self.mode() => {
                if x == self.low() {
                    return 1.0;
                }
                return (1.0 - self.tail(x - 1, Way::Down)).max(0.0);
            }
            _ => {}
        }
        let (mut at, mut term, mut sum) = (x, 1.0, 1.0);
        while at != (if way == Way::Up { self.high() } else { self.low() }) {
            if way == Way::Up {
                term *= self.step_up(at);
                at += 1;
            } else {
                at -= 1;
                term /= self.step_up(at);
            }
            sum += term;
            if term < 1e-18 * sum {
                break;
            }
        }
        (self.ln_chance(x).exp() * sum).min(1.0)
    }

    /// Adds up, on the side of the mode where `x` is not, the tables that are no likelier than `x`.
    fn opposite(&self, x: u64) -> f64 {
        // Equal chances differ by rounding; the usual allowance.
        let limit = self.ln_chance(x) + 1e-7;
        let way = if self.side_of(x) == Way::Down { Way::Up } else { Way::Down };
        let (mut near, mut far) = match way {
            Way::Up => (self.mode().max(x), self.high()),
            Way::Down => (self.mode().min(x), self.low()),
        };
        if x == far || self.ln_chance(far) > limit {
            return 0.0;
        }
        // Chances fall from the mode on, so that halving finds the first that is small enough.
        while near.abs_diff(far) > 1 {
            let middle = near.midpoint(far);
            if self.ln_chance(middle) > limit { near = middle } else { far = middle }
        }
        let first = if self.ln_chance(near) <= limit && near != x { near } else { far };
        self.tail(first, way)
    }
}

/// Computes ln P(Binomial(n, p) = x), `q = 1 - p`.
///
/// Source: Loader, "Fast and accurate computation of binomial probabilities", 2000.
fn ln_binomial(x: u64, n: u64, p: f64, q: f64) -> f64 {
    let (left, right, all) = (x as f64, (n - x) as f64, n as f64);
    if x == 0 {
        return if n == 0 { 0.0 } else { all * q.ln() };
    }
    if x == n {
        return all * p.ln();
    }
    let part = stirling_error(all)
        - stirling_error(left)
        - stirling_error(right)
        - deviance(left, all * p)
        - deviance(right, all * q);
    part + 0.5 * (all / (2.0 * std::f64::consts::PI * left * right)).ln()
}

/// Computes ln n! less Stirling's approximation of it, for whole `n >= 1`.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let ln_factorial: f64 = (2..=n as u32).map(|k| f64::from(k).ln()).sum();
        return ln_factorial - (n + 0.5) * n.ln() + n - 0.5 * (2.0 * std::f64::consts::PI).ln();
    }
    let square = n * n;
    let series = 1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / (1188.0 * square)) / square;
    (1.0 / 12.0 - (1.0 / 360.0 - series / square) / square) / n
}

/// Computes `x ln(x / mean) + mean - x` without cancellation.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() + mean - x;
    }
    let v = difference / (x + mean);
    let (mut sum, mut term) = (difference * v, 2.0 * x * v);
    for k in 1..1_000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * k + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}
