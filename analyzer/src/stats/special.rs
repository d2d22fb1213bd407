//! Distribution functions and their inverses, accurate far out in the tails.

use statrs::function::{erf, gamma};

/// Computes P(N >= z) for a standard normal N. Relative error under 1e-12 down to 1e-300; NaN gives NaN.
pub fn normal_sf(z: f64) -> f64 {
    0.5 * erf::erfc(z / std::f64::consts::SQRT_2)
}

/// Computes the z with P(N >= z) = p, for `p` in (0, 1); infinite at the ends.
///
/// One step of Halley's method on top of the library's inverse keeps the tails exact.
pub fn normal_isf(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::INFINITY;
    }
    if p >= 1.0 {
        return f64::NEG_INFINITY;
    }
    let mut z = std::f64::consts::SQRT_2 * erf::erfc_inv(2.0 * p);
    for _ in 0..2 {
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let error = (normal_sf(z) - p) / density;
        if !error.is_finite() {
            break;
        }
        z += error / (1.0 - 0.5 * z * error);
    }
    z
}

/// The beta distribution, with its constant kept for many evaluations.
///
/// Source: continued fraction of DLMF 8.17.22, evaluated by the modified Lentz algorithm (Lentz
/// 1976; Thompson and Barnett 1986).
#[derive(Clone, Copy, Debug)]
pub struct Beta {
    a: f64,
    b: f64,
    ln_beta: f64,
}

impl Beta {
    /// Makes the distribution; both shapes positive and finite.
    pub fn new(a: f64, b: f64) -> Self {
        debug_assert!(a > 0.0 && b > 0.0, "shapes of a beta distribution are positive");
        Self { a, b, ln_beta: gamma::ln_gamma(a) + gamma::ln_gamma(b) - gamma::ln_gamma(a + b) }
    }

    /// Computes P(X <= x).
    pub fn cdf(&self, x: f64) -> f64 {
        self.lower(x, 1.0 - x)
    }

    /// Computes P(X >= x).
    pub fn sf(&self, x: f64) -> f64 {
        Self { a: self.b, b: self.a, ln_beta: self.ln_beta }.lower(1.0 - x, x)
    }

    /// Takes both `x` and `y = 1 - x`, so that neither loses digits near 1.
    fn lower(&self, x: f64, y: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        if y <= 0.0 {
            return 1.0;
        }
        let front = (self.a * x.ln() + self.b * y.ln() - self.ln_beta).exp();
        if x < (self.a + 1.0) / (self.a + self.b + 2.0) {
            front * fraction(self.a, self.b, x) / self.a
        } else {
            1.0 - front * fraction(self.b, self.a, y) / self.b
        }
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const STEPS_MAX: u32 = 10_000;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for step in 1..STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        let factor = d * c;
        h *= factor;
        if (factor - 1.0).abs() < 1e-14 {
            break;
        }
    }
    h
}

/// Tails of Student's t with a fixed number of degrees of freedom.
#[derive(Clone, Copy, Debug)]
pub struct StudentTail {
    nu: f64,
    beta: Beta,
}

impl StudentTail {
    /// Makes the distribution; `nu` positive.
    pub fn new(nu: f64) -> Self {
        Self { nu, beta: Beta::new(0.5 * nu, 0.5) }
    }

    /// Computes P(T >= t); NaN gives NaN.
    pub fn sf(&self, t: f64) -> f64 {
        if t.is_nan() {
            return t;
        }
        let square = t * t;
        if square.is_infinite() {
            return if t > 0.0 { 0.0 } else { 1.0 };
        }
        let half = 0.5 * self.beta.lower(self.nu / (self.nu + square), square / (self.nu + square));
        if t >= 0.0 { half } else { 1.0 - half }
    }

    /// Computes the t with P(T >= t) = p, for `p` in (0, 1/2].
    pub fn isf(&self, p: f64) -> f64 {
        let normal = normal_isf(p).max(0.0);
        let mut high = normal.max(1.0);
        while self.sf(high) > p && high < 1e200 {
            high *= 2.0;
        }
        let ln_p = p.ln();
        find_root(0.0, high, |t| self.sf(t).ln() - ln_p)
    }
}

/// Finds a zero of a monotone function between `low` and `high`, by the Illinois variant of the
/// false position, with bisection where that stalls. Returns the nearer end if there is no change
/// of sign.
///
/// Source: Dowell and Jarratt, "A modified regula falsi method", BIT 11, 1971.
pub fn find_root(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    find_root_within(low, high, 0.0, f)
}

/// Finds a zero as [`find_root`] does, and is content with a bracket of width `tolerance`.
pub fn find_root_within(low: f64, high: f64, tolerance: f64, f: impl Fn(f64) -> f64) -> f64 {
    let clamp = |value: f64| value.clamp(-1e300, 1e300);
    let (mut a, mut b) = (low, high);
    let (mut fa, mut fb) = (clamp(f(a)), clamp(f(b)));
    if fa == 0.0 {
        return a;
    }
    if fb == 0.0 || (fa > 0.0) == (fb > 0.0) {
        return if fa.abs() < fb.abs() { a } else { b };
    }
    for step in 0..200 {
        let width = b - a;
        if width.abs() <= tolerance.max(1e-13 * (a.abs() + b.abs()) + 1e-300) {
            break;
        }
        let falsi = b - fb * width / (fb - fa);
        // Every fourth step halves the bracket, so that a hundred steps always suffice.
        let x = if step % 4 == 3 || !falsi.is_finite() { a + 0.5 * width } else { falsi };
        let fx = clamp(f(x));
        if fx == 0.0 {
            return x;
        }
        if (fx > 0.0) == (fb > 0.0) {
            b = x;
            fb = fx;
            fa *= 0.5;
        } else {
            // The end that stays twice in a row is halved; here the roles change.
            a = b;
            fa = fb;
            b = x;
            fb = fx;
        }
    }
    b
}

/// Computes P(Poisson(mean) >= k) for real `k > 0`.
pub fn poisson_sf(k: f64, mean: f64) -> f64 {
    if mean <= 0.0 {
        0.0
    } else if mean.is_infinite() {
        1.0
    } else {
        gamma::gamma_lr(k, mean)
    }
}

/// Computes P(Poisson(mean) <= k) for real `k >= 0`.
pub fn poisson_cdf(k: f64, mean: f64) -> f64 {
    if mean <= 0.0 {
        1.0
    } else if mean.is_infinite() {
        0.0
    } else {
        gamma::gamma_ur(k + 1.0, mean)
    }
}

/// Computes P(chi-square with `df` degrees of freedom >= x).
pub fn chi_square_sf(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma::gamma_ur(0.5 * df, 0.5 * x) }
}

/// Computes ln of the beta function.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    gamma::ln_gamma(a) + gamma::ln_gamma(b) - gamma::ln_gamma(a + b)
}
