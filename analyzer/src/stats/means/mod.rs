//! Procedure M: a shift in the mean of autocorrelated differences.
//!
//! Input is the difference canary - baseline of each interval, before the release (history) and
//! since. Its memory is unknown, so the t test is averaged over structures (AR(1) plus noise) with
//! weights that the data give; the guards ask that placebo windows of the history look
//! nothing like the release.
//!
//! Assumes memory near AR(1) plus noise, the shift as the only change at the release, and bursts
//! represented in the history. Its level is measured, not proved: no test of a mean has both level
//! and power when memory is unknown and unbounded. `docs/statistics.md` has the figures.
//!
//! Harm is an increase here; for a decrease the caller negates the differences.
//!
//! Source: Kalman filter likelihood of an AR(1) signal in noise (Harvey, "Forecasting, Structural Time
//! Series Models and the Kalman Filter", 1989, 3.4); Bayesian averaging over the nuisance memory;
//! placebo windows after conformal prediction (Vovk, Gammerman and Shafer, 2005).

mod guard;
mod structure;

use guard::{Guard, Windows};
use structure::{Segment, Structure, filter, structures};

use super::special::{StudentTail, find_root_within, normal_isf, normal_sf};

/// Which history the memory is learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learning {
    /// None: only the release's own intervals.
    None,
    /// Both sides'.
    Both,
}

/// What is known before the release, and computed once.
#[derive(Clone, Debug)]
pub struct Means {
    learning: Learning,
    structures: Vec<Structure>,
    centre: f64,
    /// Distance from the centre at which values are clipped; infinite for no clipping.
    limit: f64,
    clipped: History,
    raw: History,
    is_clipped: bool,
}

/// One version, clipped or not, of the history.
#[derive(Clone, Debug)]
struct History {
    segments: Vec<Segment>,
    windows: Windows,
}

// Below this the history says nothing that can be relied on.
const HISTORY_MIN: usize = 10;
// From here on the weights of the structures come from the history alone.
const WEIGHTS_MIN: usize = 180;
const LONG_HISTORY: usize = 600;
/// History that go of means needs on both sides.
pub const GO_HISTORY_MIN: usize = 180;
/// First look without history, and where the noise may have changed in an unknown way.
pub const FIRST_LOOK: usize = 10;

impl Means {
    /// Prepares the history of both sides: differences in the order of time, NaN where missing.
    pub fn new(history: &[f64]) -> Self {
        let present: Vec<f64> = history.iter().copied().filter(|value| value.is_finite()).collect();
        if present.len() < HISTORY_MIN {
            return Self::without_history();
        }
        let (centre, limit) = clipping(history);
        let structures = structures(match present.len() {
            n if n < LONG_HISTORY => structure::Prior::Short,
            _ => structure::Prior::Long,
        });
        let centred: Vec<f64> = history.iter().map(|value| value - centre).collect();
        let clipped: Vec<f64> = centred.iter().map(|value| clip(*value, limit)).collect();
        let is_clipped = differ(&clipped, &centred);
        let clipped = History::new(&clipped, &structures);
        let raw = if is_clipped { History::new(&centred, &structures) } else { clipped.clone() };
        Self { learning: Learning::Both, centre, limit, clipped, raw, is_clipped, structures }
    }

    /// Prepares for no history at all.
    pub fn without_history() -> Self {
        let structures = structures(structure::Prior::None);
        let none = History::new(&[], &structures);
        Self {
            learning: Learning::None,
            structures,
            centre: 0.0,
            limit: f64::INFINITY,
            clipped: none.clone(),
            raw: none,
            is_clipped: false,
        }
    }

    /// Returns the number of intervals of both sides' history.
    pub fn n_history(&self) -> usize {
        if self.learning == Learning::Both { self.raw.windows.len() } else { 0 }
    }

    /// Returns the history's mean difference, clipped; zero without one.
    pub fn history_mean(&self) -> f64 {
        if self.learning == Learning::Both { self.centre + self.clipped.windows.mean() } else { 0.0 }
    }

    /// Looks at the release's differences so far, NaN where missing.
    ///
    /// - `noise`: by what factor the variance of a difference is known to have changed at the release
    ///   (other traffic share, other counts); 1 where nothing is known.
    ///
    /// Takes time in proportion to the release's intervals times the 55 structures.
    pub fn look(&self, release: &[f64], noise: f64) -> MeansLook {
        self.look_since(release, 0, noise)
    }

    /// Looks at what is so since the interval at `from` of the release, as if it had begun there: a step later
    /// than the release is thinned by what lies before it.
    ///
    /// Before and since it the release may have levels of their own; its noise is learnt from both.
    pub fn look_since(&self, release: &[f64], from: usize, noise: f64) -> MeansLook {
        let limit = self.limit * noise.sqrt();
        let centred: Vec<f64> = release.iter().map(|value| value - self.centre).collect();
        let clipped: Vec<f64> = centred.iter().map(|value| clip(*value, limit)).collect();
        let clipped_mix = self.mixture(&self.clipped, clipped.split_at(from), noise);
        // Where nothing was clipped the plain series is the same.
        let has_raw = self.is_clipped || differ(&clipped, &centred);
        let raw_mix = has_raw.then(|| self.mixture(&self.raw, centred.split_at(from), noise));
        MeansLook { clipped: clipped_mix, raw: raw_mix }
    }

    /// Says whether `p_harm(x)` of [`Means::look_since`] may be at most `level`, by the cheap guard alone.
    pub fn may_cross_since(&self, release: &[f64], from: usize, noise: f64, x: f64, level: f64) -> bool {
        let limit = self.limit * noise.sqrt();
        let values = release[from..].iter().map(|value| clip(value - self.centre, limit));
        let (sum, n) = sum_of(values);
        n > 0
            && (self.learning == Learning::None
                || Guard::new(&self.clipped.windows, sum / n as f64, n, noise, noise).p_harm(x) <= level)
    }

    fn mixture(&self, history: &History, (before, since): (&[f64], &[f64]), noise: f64) -> Mixture {
        let (sum, n) = sum_of(since.iter().copied());
        let is_early = self.learning == Learning::None && n < FIRST_LOOK;
        if n == 0 || is_early {
            return Mixture::unknown();
        }
        let filtered = |values: &[f64]| -> Vec<Segment> {
            self.structures.iter().map(|one| filter(values, one)).collect()
        };
        let parts = self.parts(history, &filtered(before), &filtered(since), noise);
        let Some(nu) = self.degrees(history, n) else {
            return Mixture::unknown();
        };
        let mut mixture = Mixture::new(parts, nu);
        if self.learning == Learning::Both {
            mixture.guard = Some(Guard::new(&history.windows, sum / n as f64, n, mixture.growth, noise));
        }
        mixture
    }

    fn degrees(&self, history: &History, n: usize) -> Option<f64> {
        let before = history.windows.len();
        let nu = match self.learning {
            Learning::None => n as f64 - 1.0,
            Learning::Both => (before + n) as f64 - 2.0,
        };
        (nu >= 1.0).then_some(nu)
    }

    /// - `early`: the release before what is looked at, empty but for looks since a later interval.
    fn parts(&self, history: &History, early: &[Segment], release: &[Segment], noise: f64) -> Vec<Part> {
        let n0 = history.windows.len() as f64;
        let log_weight = |one: &Structure, before: &Segment, since: &Segment| -> f64 {
            let (rss, nu, terms) = match self.learning {
                Learning::None => (since.rss(), since.n - 1.0, since.log_terms()),
                // Later values would let a step inside the release pass for memory.
                Learning::Both if n0 >= WEIGHTS_MIN as f64 => (before.rss(), n0 - 1.0, before.log_terms()),
                _ => (
                    before.rss() + since.rss() / noise,
                    n0 + since.n - 2.0,
                    before.log_terms() + since.log_terms(),
                ),
            };
            -0.5 * terms - 0.5 * nu * rss.ln() + one.log_prior
        };
        (self.structures.iter().zip(&history.segments).zip(early.iter().zip(release)))
            .map(|((one, before), (early, since))| {
                let log_weight = log_weight(one, before, since);
                self.part(log_weight, before, (early, since), n0, noise)
            })
            .collect()
    }

    /// Computes one structure's shift and standard error, with the guard against noise that grows at
    /// the release (fewer hosts, less traffic).
    fn part(
        &self,
        log_weight: f64,
        before: &Segment,
        (early, since): (&Segment, &Segment),
        n0: f64,
        noise: f64,
    ) -> Part {
        let n1 = since.n;
        let (rss, nu) = match self.learning {
            Learning::None => (since.rss(), n1 - 1.0),
            _ => (before.rss() + since.rss() / noise, n0 + n1 - 2.0),
        };
        let variance = rss / nu;
        // Squares about a mean each, and the history's variance four times. Noise may also have grown inside of the
        // release, with what is looked at.
        let known = 4.0 * variance * noise;
        let all = (since.rss() + early.rss() + known) / (n1 - 1.0 + (early.n - 1.0).max(0.0) + 4.0);
        let own = all.max((since.rss() + known) / (n1 + 3.0));
        let growth = match self.learning {
            Learning::None => 1.0,
            _ => noise.max(own / variance),
        };
        let (shift, error) = match self.learning {
            Learning::Both => {
                (since.mean() - before.mean(), variance / before.a + variance * growth / since.a)
            }
            _ => (since.mean(), variance * growth / since.a),
        };
        Part { log_weight, shift, se: error.sqrt(), growth, information: since.a, is_sound: rss > 0.0 }
    }
}

impl History {
    fn new(values: &[f64], structures: &[Structure]) -> Self {
        Self {
            segments: structures.iter().map(|one| filter(values, one)).collect(),
            windows: Windows::new(values),
        }
    }
}

/// The guards of a history alone: cheap, and enough to say that a release cannot cross.
#[derive(Clone, Debug)]
pub struct Sieve {
    centre: f64,
    limit: f64,
    windows: Windows,
    /// The largest window of so many values, from one on.
    largest: Vec<Option<f64>>,
}

impl Sieve {
    /// Prepares the history of both sides as [`Means::new`] does, without its filters, for looks at up to so many
    /// intervals.
    pub fn new(history: &[f64], n_looks: usize) -> Self {
        let (centre, limit) = clipping(history);
        let clipped: Vec<f64> = history.iter().map(|value| clip(value - centre, limit)).collect();
        let windows = Windows::new(&clipped);
        let largest = (1..=n_looks).map(|t| windows.largest(t)).collect();
        Self { centre, limit, windows, largest }
    }

    /// Says whether `p_harm(x)` of a [look](Means::look) at this release, or of one since some interval of it, under
    /// such noise may be at most `level`.
    pub fn may_cross(&self, release: &[f64], noise: f64, x: f64, level: f64) -> bool {
        let limit = self.limit * noise.sqrt();
        let (sum, n) = sum_of(release.iter().map(|value| clip(value - self.centre, limit)));
        if n == 0 || self.windows.len() < HISTORY_MIN {
            return n > 0;
        }
        let mean = sum / n as f64;
        // Most releases lie below some window of their history, and what all windows do need not be known.
        let largest = self.largest.get(n - 1).copied().unwrap_or_else(|| self.windows.largest(n));
        let is_exceeded =
            largest.is_some_and(|largest| mean - self.windows.mean() - x <= largest * noise.sqrt());
        if is_exceeded && level < 1.0 {
            return false;
        }
        Guard::new(&self.windows, mean, n, noise, noise).p_harm(x) <= level
    }
}

#[derive(Clone, Copy, Debug)]
struct Part {
    log_weight: f64,
    shift: f64,
    se: f64,
    growth: f64,
    information: f64,
    is_sound: bool,
}

/// A shift's law, averaged over structures.
#[derive(Clone, Debug)]
struct Mixture {
    /// Weight, shift and standard error.
    parts: Vec<(f64, f64, f64)>,
    tail: Option<StudentTail>,
    guard: Option<Guard>,
    /// Averaged growth of the variance at the release.
    growth: f64,
    information: f64,
}

impl Mixture {
    fn unknown() -> Self {
        Self { parts: Vec::new(), tail: None, guard: None, growth: 1.0, information: 0.0 }
    }

    fn new(parts: Vec<Part>, nu: f64) -> Self {
        let most = parts.iter().map(|part| part.log_weight).fold(f64::NEG_INFINITY, f64::max);
        if !most.is_finite() || parts.iter().any(|part| !part.is_sound) {
            return Self::unknown();
        }
        let weights: Vec<f64> = parts.iter().map(|part| (part.log_weight - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut mixture = Self { tail: Some(StudentTail::new(nu)), growth: 0.0, ..Self::unknown() };
        for (part, weight) in parts.iter().zip(weights) {
            let weight = weight / total;
            mixture.growth += weight * part.growth;
            mixture.information += weight * part.information;
            // What is lost by leaving these out is far below any level: p is exact to 1e-15.
            if weight >= 1e-17 {
                mixture.parts.push((weight, part.shift, part.se));
            }
        }
        mixture
    }

    /// Computes P(shift <= x), averaged.
    fn upper(&self, x: f64) -> f64 {
        let Some(tail) = self.tail else { return 1.0 };
        sound(self.parts.iter().map(|(weight, shift, se)| weight * tail.sf((shift - x) / se)).sum())
    }

    /// Computes P(shift >= x), averaged.
    fn lower(&self, x: f64) -> f64 {
        let Some(tail) = self.tail else { return 1.0 };
        sound(self.parts.iter().map(|(weight, shift, se)| weight * tail.sf((x - shift) / se)).sum())
    }

    fn shift(&self) -> Option<f64> {
        self.tail.map(|_| self.parts.iter().map(|(weight, shift, _)| weight * shift).sum())
    }

    fn se(&self) -> f64 {
        self.parts.iter().map(|(weight, _, se)| weight * se * se).sum::<f64>().sqrt()
    }

    /// Finds the x with `upper(x) = level`: between the limits of the single structures.
    fn low(&self, level: f64) -> f64 {
        -self.solve(level, -1.0)
    }

    /// Finds the x with `lower(x) = level`.
    fn high(&self, level: f64) -> f64 {
        self.solve(level, 1.0)
    }

    /// Finds the upper limit of the shift times `sign`.
    fn solve(&self, level: f64, sign: f64) -> f64 {
        let Some(tail) = self.tail else { return f64::INFINITY };
        let q = tail.isf(level.min(0.5));
        // Structures that weigh less than this cannot move the limit by a thousandth of the level.
        let kept: Vec<_> = self.parts.iter().filter(|(weight, ..)| *weight > 1e-5 * level).collect();
        let ends = kept.iter().map(|(_, shift, se)| sign * shift + q * se);
        let (a, b) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), end| (a.min(end), b.max(end)));
        let p = |x: f64| {
            kept.iter().map(|(weight, shift, se)| weight * tail.sf((x - sign * shift) / se)).sum::<f64>()
        };
        find_root_within(a, b, 1e-6 * self.se(), |x| (level / p(x)).ln())
    }
}

/// A probability, or 1 where it could not be computed.
fn sound(p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { p } else { 1.0 }
}

/// One look at a shift.
#[derive(Clone, Debug)]
pub struct MeansLook {
    clipped: Mixture,
    raw: Option<Mixture>,
}

impl MeansLook {
    /// Computes the chance of such data or more if the shift is at most `x`; 1 where a placebo
    /// window of the history lies as high.
    pub fn p_harm(&self, x: f64) -> f64 {
        let guard = self.clipped.guard.as_ref().map_or(0.0, |guard| guard.p_harm(x));
        sound(self.clipped.upper(x).max(guard))
    }

    /// Computes the chance of such data or less if the shift is at least `x`: the larger of the clipped
    /// and the plain series, since clipping hides part of a large harm.
    pub fn p_go(&self, x: f64) -> f64 {
        let one = |mixture: &Mixture| {
            let guard = mixture.guard.as_ref().map_or(0.0, |guard| guard.p_go(x));
            sound(mixture.lower(x).max(guard))
        };
        let clipped = one(&self.clipped);
        self.raw.as_ref().map_or(clipped, |raw| clipped.max(one(raw)))
    }

    /// Returns the estimated shift.
    pub fn estimate(&self) -> Option<f64> {
        self.clipped.shift()
    }

    /// Returns the standard error, averaged over structures.
    pub fn standard_error(&self) -> f64 {
        self.clipped.se()
    }

    /// Returns how many independent intervals the release's intervals are worth.
    pub fn information(&self) -> f64 {
        self.clipped.information
    }

    /// Computes the shifts that are not rejected at `level` on either side.
    pub fn interval(&self, level: f64) -> (f64, f64) {
        if self.clipped.tail.is_none() || level <= 0.0 {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        let z = normal_isf(level);
        let mut low = self.clipped.low(level);
        if let Some(guard) = &self.clipped.guard {
            low = low.min(guard.low(z));
        }
        let high = |mixture: &Mixture| {
            let high = mixture.high(level);
            mixture.guard.as_ref().map_or(high, |guard| high.max(guard.high(z)))
        };
        let clipped = high(&self.clipped);
        (low, self.raw.as_ref().map_or(clipped, |raw| clipped.max(high(raw))))
    }

    /// Estimates `p_go(x)` at a later look, were the shift to stay at `shift`: `more` times as many
    /// intervals, the same variance.
    pub fn p_go_later(&self, x: f64, shift: f64, more: f64) -> f64 {
        normal_sf((x - shift) / (self.standard_error() / more.sqrt()))
    }
}

/// Finds the centre of a history, and how far from it values are clipped.
///
/// Clipping keeps single spikes from passing for a shift; tails are procedure D's to see. A gauge that is
/// idle or discrete, most of its values being equal, is not clipped: that would erase it.
fn clipping(history: &[f64]) -> (f64, f64) {
    let present: Vec<f64> = history.iter().copied().filter(|value| value.is_finite()).collect();
    let centre = median(&present);
    let deviations: Vec<f64> = present.iter().map(|value| (value - centre).abs()).collect();
    match 4.0 * 1.4826 * median(&deviations) {
        limit if limit > 0.0 => (centre, limit),
        _ => (centre, f64::INFINITY),
    }
}

/// Adds up what is present, and counts it.
fn sum_of(values: impl Iterator<Item = f64>) -> (f64, usize) {
    values.filter(|value| value.is_finite()).fold((0.0, 0), |(sum, n), value| (sum + value, n + 1))
}

/// Tells whether two series differ anywhere; NaN equals NaN.
fn differ(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).any(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
}

fn clip(value: f64, limit: f64) -> f64 {
    // `clamp` would turn the NaN of a missing interval into itself, which is what is wanted.
    if limit.is_finite() { value.clamp(-limit, limit) } else { value }
}

/// Computes the median of finite values; the mean of the middle two for an even number.
pub fn median(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut values = values.to_vec();
    let n = values.len();
    // Placebo releases ask for medians of all their histories: only the middle is put in its place.
    let (below, middle, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(before) if n.is_multiple_of(2) => 0.5 * (before + *middle),
        _ => *middle,
    }
}

#[cfg(test)]
mod tests;
