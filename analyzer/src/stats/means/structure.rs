//! Memories that differences may have, and the likelihood of data under each.

/// One memory: a part `f` of the variance follows an AR(1) with coefficient `rho`, the rest is white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Structure {
    pub(super) rho: f64,
    pub(super) f: f64,
    pub(super) log_prior: f64,
}

/// Which prior weights the structures get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prior {
    /// No history.
    None,
    /// Under 600 intervals of history.
    Short,
    /// From 600 intervals of history.
    Long,
}

const N_RHO: usize = 19;

/// Lists the structures with their prior weights.
///
/// `rho_k = (1.3^k - 1) / (1.3^k + 1)`: steps of 1.3 in the long-run variance. A coarser grid let four
/// times its share through at a level of 0.1 %.
pub(super) fn structures(prior: Prior) -> Vec<Structure> {
    let shares: &[(f64, f64)] = match prior {
        Prior::None => &[(1.0, 0.85), (0.6, 0.15)],
        Prior::Short => &[(1.0, 0.95), (0.6, 0.05)],
        Prior::Long => &[(1.0, 0.85), (0.6, 0.10), (0.3, 0.05)],
    };
    let rho = |k: usize| {
        let power = 1.3_f64.powi(k as i32);
        (power - 1.0) / (power + 1.0)
    };
    let mut all = vec![Structure { rho: 0.0, f: 1.0, log_prior: rho(1).ln() }];
    for k in 1..N_RHO {
        let width = if k + 1 < N_RHO { 0.5 * (rho(k + 1) - rho(k - 1)) } else { 0.5 * (1.0 - rho(k - 1)) };
        // Without history long memories could explain any difference away; they get less.
        let factor = if prior == Prior::None { (1.0 - rho(k)).powf(-0.3) } else { 1.0 };
        for (f, share) in shares {
            all.push(Structure { rho: rho(k), f: *f, log_prior: (width * share * factor).ln() });
        }
    }
    all
}

/// Sums of one stretch of data under one structure with unit total variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    /// Information on the mean: intervals' worth, were they independent.
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) c: f64,
    pub(super) log_f: f64,
    pub(super) n: f64,
}

impl Segment {
    /// Returns the weighted mean.
    pub(super) fn mean(&self) -> f64 {
        self.b / self.a
    }

    /// Returns the residual sum of squares; zero for an empty stretch.
    pub(super) fn rss(&self) -> f64 {
        if self.n > 0.0 { (self.c - self.b * self.b / self.a).max(0.0) } else { 0.0 }
    }

    /// Returns the logarithms that enter the likelihood beside the residuals.
    pub(super) fn log_terms(&self) -> f64 {
        if self.n > 0.0 { self.a.ln() + self.log_f } else { 0.0 }
    }
}

/// Filters a stretch from a fresh start; NaN is missing: predicted, not updated.
pub(super) fn filter(values: &[f64], one: &Structure) -> Segment {
    let Structure { rho, f, .. } = *one;
    let mut segment = Segment { a: 0.0, b: 0.0, c: 0.0, log_f: 0.0, n: 0.0 };
    let (mut p, mut mean_y, mut mean_c) = (f, 0.0, 0.0);
    let fresh = f * (1.0 - rho * rho);
    // Logarithms are dear: thirty factors of at most 1 and at least 0.1 cannot underflow.
    let mut product = 1.0;
    let mut factors = 0;
    for y in values {
        if y.is_nan() {
            mean_y *= rho;
            mean_c *= rho;
            p = rho * rho * p + fresh;
            continue;
        }
        let variance = p + 1.0 - f;
        let (e, c) = (y - mean_y, 1.0 - mean_c);
        let inverse = 1.0 / variance;
        segment.a += c * c * inverse;
        segment.b += c * e * inverse;
        segment.c += e * e * inverse;
        segment.n += 1.0;
        product *= variance;
        factors += 1;
        if factors == 30 {
            segment.log_f += f64::ln(product);
            product = 1.0;
            factors = 0;
        }
        let gain = p * inverse;
        mean_y = rho * (mean_y + gain * e);
        mean_c = rho * (mean_c + gain * c);
        p = rho * rho * p * (1.0 - gain) + fresh;
    }
    segment.log_f += f64::ln(product);
    segment
}
