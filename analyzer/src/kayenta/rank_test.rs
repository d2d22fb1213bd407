//! The Mann–Whitney interval as Kayenta computes it, after R's `wilcox.test`.
//!
//! The limits are roots of the normal score `z(d)` of the samples, the canary's shifted by `d`. That is
//! a step function; where on the step the search stops depends on how it walks, so the walk is
//! followed exactly: Brent's method from the same ends with the same absolute tolerance.
//!
//! Source: Bauer, "Constructing confidence sets using rank statistics", J. Am. Stat. Assoc. 67, 1972;
//! Brent, "Algorithms for Minimization Without Derivatives", 1973, chapter 4.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::classical::{rank_sum, sorted};
use crate::stats::special::normal_isf;

/// Part of the estimated shift that the interval must clear.
pub(super) const TOLERANCE: f64 = 0.25;
/// Confidence of the interval.
const CONFIDENCE: f64 = 0.98;
/// Absolute tolerance of the search: it is blind to shifts in units much smaller.
const SEARCH_TOLERANCE: f64 = 1e-4;
/// Steps of the search at most.
const STEPS_MAX: usize = 1_001;
/// Standard deviation of the noise on constant sides, as a part of the value.
const NOISE: f64 = 1e-5;

/// How far the canary lies above the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Lower end of the 98 % interval.
    pub lower: f64,
    /// Upper end of the 98 % interval.
    pub upper: f64,
    /// The Hodges–Lehmann estimate.
    pub estimate: f64,
}

/// All values are equal at some shift that the search looks at, so that ranks say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tied;

/// Computes the interval of the shift. Neither side is empty, and not all values of both are equal.
///
/// `seed` feeds the noise that two constant sides get.
pub(super) fn shift(canary: &[f64], baseline: &[f64], seed: u64) -> Result<Shift, Tied> {
    // Kayenta's search does not end well on infinities; that is an error there too.
    if canary.iter().chain(baseline).any(|value| !value.is_finite()) {
        return Err(Tied);
    }
    let is_constant = |side: &[f64]| side.iter().all(|value| *value == side[0]);
    let (x, y) = if is_constant(canary) && is_constant(baseline) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut noisy = |side: &[f64]| -> Vec<f64> {
            let normal = |chance: &mut ChaCha8Rng| normal_isf(chance.random::<f64>().max(1e-12));
            side.iter().map(|value| value + value * NOISE * normal(&mut chance)).collect()
        };
        (noisy(canary), noisy(baseline))
    } else {
        (canary.to_vec(), baseline.to_vec())
    };
    let (x, y) = (sorted(&x), sorted(&y));
    let (Some((x_min, x_max)), Some((y_min, y_max))) = (ends(&x), ends(&y)) else { return Err(Tied) };
    let (low, high) = (x_min - y_max, x_max - y_min);
    let z = |d: f64| score(&x, &y, d);
    let (z_low, z_high) = (z(low)?, z(high)?);
    let quantile = normal_isf((1.0 - CONFIDENCE) / 2.0);
    let limit = |q: f64| -> Result<f64, Tied> {
        if z_low - q <= 0.0 {
            Ok(low)
        } else if z_high - q >= 0.0 {
            Ok(high)
        } else {
            brent((low, z_low - q), (high, z_high - q), |d| Ok(z(d)? - q))
        }
    };
    Ok(Shift {
        lower: limit(quantile)?,
        upper: limit(-quantile)?,
        estimate: brent((low, z_low), (high, z_high), z)?,
    })
}

fn ends(sorted: &[f64]) -> Option<(f64, f64)> {
    Some((*sorted.first()?, *sorted.last()?))
}

/// Returns the standardised rank sum of `x - d` among `y`, with the continuity correction.
fn score(x: &[f64], y: &[f64], d: f64) -> Result<f64, Tied> {
    let pool = rank_sum(x, y, d);
    let (excess, variance) = (pool.excess(), pool.variance());
    if variance == 0.0 || variance.is_nan() {
        return Err(Tied);
    }
    let sign = if excess > 0.0 {
        1.0
    } else if excess < 0.0 {
        -1.0
    } else {
        0.0
    };
    Ok((excess - 0.5 * sign) / variance.sqrt())
}

/// Walks from both ends towards a sign change of `f`, by interpolation where that is trusted and by
/// halving elsewhere, and returns the best point when the bracket is small.
fn brent(start: (f64, f64), end: (f64, f64), f: impl Fn(f64) -> Result<f64, Tied>) -> Result<f64, Tied> {
    if start.1 == 0.0 {
        return Ok(start.0);
    }
    if end.1 == 0.0 {
        return Ok(end.0);
    }
    // The last point, the best point, and the point across the root.
    let (mut last, mut best, mut across) = (start, end, start);
    for _ in 0..STEPS_MAX {
        let step_before = best.0 - last.0;
        if across.1.abs() < best.1.abs() {
            last = best;
            best = across;
            across = last;
        }
        let least = 2.0 * f64::EPSILON * best.0.abs() + 0.5 * SEARCH_TOLERANCE;
        let half = 0.5 * (across.0 - best.0);
        if half.abs() <= least || best.1 == 0.0 {
            return Ok(best.0);
        }
        let mut step = half;
        if step_before.abs() >= least && last.1.abs() > best.1.abs() {
            let (p, q) = interpolated(last, best, across);
            let width = across.0 - best.0;
            // Only inside three quarters of the bracket, and only while steps shrink by half.
            if p < 0.75 * width * q - 0.5 * (least * q).abs() && p < (0.5 * step_before * q).abs() {
                step = p / q;
            }
        }
        if step.abs() < least {
            step = if step > 0.0 { least } else { -least };
        }
        last = best;
        best.0 += step;
        best.1 = f(best.0)?;
        if (best.1 > 0.0 && across.1 > 0.0) || (best.1 < 0.0 && across.1 < 0.0) {
            across = last;
        }
    }
    Ok(best.0)
}

/// Returns the interpolated step from the best point as a fraction `p / q` with `p >= 0`: a secant
/// through two points, an inverse parabola through three.
fn interpolated(last: (f64, f64), best: (f64, f64), across: (f64, f64)) -> (f64, f64) {
    let width = across.0 - best.0;
    let (p, q) = if last.0 == across.0 {
        let r = best.1 / last.1;
        (width * r, 1.0 - r)
    } else {
        let (q, r, s) = (last.1 / across.1, best.1 / across.1, best.1 / last.1);
        (s * (width * q * (q - r) - (best.0 - last.0) * (r - 1.0)), (q - 1.0) * (r - 1.0) * (s - 1.0))
    };
    if p > 0.0 { (p, -q) } else { (-p, q) }
}
