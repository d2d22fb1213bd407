//! Procedure N: new pods, which have no history of their own.
//!
//! How far may a new good pod lie from the old ones? The old pods' history says how much a pod's mean
//! over `t` intervals varies about its own level (`v_t`) and how levels differ between pods (`tau`). *Births*,
//! earlier starts of the service's pods, are placebos at the same age: what they had in common, such as a
//! cold start, is taken off, and their scatter is the scatter to be expected of the canary.
//! *Fresh* pods of the old version, started together with the canary, serve likewise.
//!
//! Everything is a difference `d` from the mean of the settled old pods in the same interval, of logarithms
//! where amounts are relative; harm is an increase, for a decrease the caller negates.
//!
//! Assumes near normal standing effects, the same spread of births, old pods and canary, and
//! past good starts that stand for this one. Its level is measured, not proved (`docs/statistics.md`).
//!
//! Source: variance components by analysis of variance (Searle, Casella and McCulloch, "Variance
//! Components", 1992, 3.6), degrees of freedom by Satterthwaite (Biometrics Bulletin 2, 1946).

mod variance;

use super::special::{StudentTail, normal_sf};

pub use variance::{Standing, Windows};

/// An earlier start of one pod: a placebo.
#[derive(Clone, Debug, PartialEq)]
pub struct Birth {
    /// Which starts came together; any number that is the same for them and for no others.
    pub event: usize,
    /// Difference from the settled pods of its own version by interval since its start; NaN where missing.
    pub d: Vec<f64>,
}

/// With whom a canary's pods are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// With the old pods, less what births had at the same age.
    Births,
    /// With fresh pods of the old version.
    Fresh,
    /// With the old pods alone: that new pods are settled is taken on trust.
    Old,
}

impl Part {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Births => "births",
            Self::Fresh => "fresh",
            Self::Old => "old",
        }
    }
}

/// How many pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Of the canary.
    pub canary: usize,
    /// Of the baseline, settled.
    pub old: usize,
    /// Of the old version, started together with the canary.
    pub fresh: usize,
}

/// How many times as noisy an interval of a pod is as one of the old pods was in the history, where that is known of
/// both; at least 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Of the canary's pods.
    pub canary: f64,
    /// Of those that they are compared with: the old pods, or the fresh ones.
    pub other: f64,
}

impl Noise {
    /// As in the history.
    pub const USUAL: Self = Self { canary: 1.0, other: 1.0 };
}

/// What the old pods' history and the births say.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Mean of each old pod's differences.
    standing: Vec<f64>,
    windows: Windows,
    /// Differences are clipped to this distance from the centre.
    centre: f64,
    limit: f64,
    births: Vec<Birth>,
    /// Level of each birth over its life.
    levels: Vec<f64>,
    /// Whether most pods that the births were compared with have gone since.
    is_replaced: bool,
}

/// Robust standard deviations of the old pods' differences at which differences are clipped.
const CLIP: f64 = 4.0;
/// Intervals of a birth's life that its level is taken from: six hours of minutes.
const LIFE: usize = 360;
/// Steps in which the settled age is looked for.
const AGE_STEP: usize = 5;
/// Intervals over which the births' mean must have come down.
const AGE_SPAN: usize = 10;
/// Births from which their own scatter at the canary's age is a floor.
const FLOOR_MIN: usize = 5;
/// Events that births must have come in.
const EVENTS_MIN: usize = 3;
/// Old pods that serve alone.
const OLD_MIN: usize = 5;
/// Warm-up, in intervals, that they serve alone from.
const OLD_WARM_UP_MIN: usize = 10;
/// Pods of the canary from which fresh pods are preferred where there are as many.
const FRESH_MIN: usize = 3;
/// Degrees of freedom of the pods' spread below which nothing is decided.
const DF_MIN: f64 = 4.0;
/// Degrees of freedom from which those of the parts are combined.
const DF_COMBINED: f64 = 8.0;

impl Fleet {
    /// Learns from the old pods' differences, pod by pod over the same intervals (NaN where missing), and
    /// from births. `None` with under two old pods or ten intervals: nothing can be said of scatter.
    ///
    /// - `warm_up`: intervals of a birth that count for nothing.
    /// - `is_replaced`: whether under half of the pods that births were compared with are still there.
    pub fn new(old: &[Vec<f64>], births: &[Birth], warm_up: usize, is_replaced: bool) -> Option<Self> {
        const INTERVALS_MIN: usize = 10;
        let (centre, limit) = clipping(old);
        let clip = |value: &f64| (value - centre).clamp(-limit, limit) + centre;
        let clipped: Vec<Vec<f64>> = (old.iter())
            .filter(|pod| pod.iter().filter(|value| value.is_finite()).count() >= INTERVALS_MIN)
            .map(|pod| pod.iter().map(clip).collect())
            .collect();
        let windows = Windows::new(&clipped)?;
        let births: Vec<Birth> = (births.iter())
            .map(|birth| Birth { event: birth.event, d: birth.d.iter().map(clip).collect() })
            .collect();
        let mut new = Self {
            standing: clipped.iter().map(|pod| mean(pod)).collect(),
            windows,
            centre,
            limit,
            levels: Vec::new(),
            births: Vec::new(),
            is_replaced,
        };
        new.keep(births, warm_up);
        Some(new)
    }

    fn keep(&mut self, births: Vec<Birth>, warm_up: usize) {
        let level = |birth: &Birth| mean(birth.d.get(warm_up..birth.d.len().min(LIFE)).unwrap_or(&[]));
        (self.births, self.levels) = births
            .into_iter()
            .map(|birth| (level(&birth), birth))
            .filter(|(level, _)| level.is_finite())
            .map(|(level, birth)| (birth, level))
            .unzip();
    }

    /// Clips a difference as those of the history are clipped.
    pub fn clip(&self, d: f64) -> f64 {
        (d - self.centre).clamp(-self.limit, self.limit) + self.centre
    }

    /// Returns the number of births and of events that they came in.
    pub fn n_births(&self) -> (usize, usize) {
        let mut events: Vec<usize> = self.births.iter().map(|birth| birth.event).collect();
        events.sort_unstable();
        events.dedup();
        (self.births.len(), events.len())
    }

    /// Finds the age from which births are settled: the first of the warm-up, five intervals later and so on
    /// after which their mean over ten intervals lies at most half of a new pod's scatter above their
    /// level. Keeps only the births that lived to the end of `n_looks` after the warm-up. `None` if no age
    /// before that end will do.
    pub fn settle(&mut self, warm_up: usize, n_looks: usize) -> Option<usize> {
        let end = warm_up + n_looks;
        let mut births = std::mem::take(&mut self.births);
        births.retain(|birth| birth.d.len() >= end);
        self.keep(births, warm_up);
        if self.births.is_empty() {
            return Some(warm_up);
        }
        let standing = self.standing(Part::Births, 1);
        let bound = mean(&self.levels) + 0.5 * (standing.tau2 + self.windows.at(n_looks)).sqrt();
        let is_settled = |age: &usize| {
            let spans = self.births.iter().map(|birth| mean(&birth.d[*age..(*age + AGE_SPAN).min(end)]));
            mean(&spans.collect::<Vec<_>>()) <= bound
        };
        (warm_up..end).step_by(AGE_STEP).find(is_settled)
    }

    fn standing(&self, part: Part, n_canary: usize) -> Standing {
        let events: Vec<(usize, f64)> =
            self.births.iter().map(|birth| birth.event).zip(self.levels.iter().copied()).collect();
        Standing::new(part, &self.standing, &events, n_canary)
    }

    /// Chooses with whom to compare, before anything is seen of the canary: with fresh pods where there
    /// are as many as of a canary of three or more, else with births or fresh pods, whichever finds the
    /// smaller shift, else with five or more old pods after a long warm-up. `None`: no test would hold.
    pub fn choose(&self, pods: Pods, warm_up: usize, age: usize, n_looks: usize, level: f64) -> Option<Part> {
        let announced = |part| self.announced(part, pods, age, n_looks, level);
        let fresh = (pods.fresh > 0).then(|| announced(Part::Fresh)).flatten();
        let births = (self.n_births().1 >= EVENTS_MIN).then(|| announced(Part::Births)).flatten();
        let prefers_fresh = pods.canary >= FRESH_MIN && pods.fresh >= pods.canary;
        match (births, fresh) {
            (_, Some(_)) if prefers_fresh => Some(Part::Fresh),
            (Some(births), Some(fresh)) if fresh < births => Some(Part::Fresh),
            (Some(_), _) => Some(Part::Births),
            (None, Some(_)) => Some(Part::Fresh),
            (None, None) => {
                let serves = pods.old >= OLD_MIN && warm_up >= OLD_WARM_UP_MIN;
                announced(Part::Old).filter(|_| serves).map(|_| Part::Old)
            }
        }
    }

    /// Computes the shift that is found by the last look in 80 % of cases.
    pub fn announced(&self, part: Part, pods: Pods, age: usize, n_looks: usize, level: f64) -> Option<f64> {
        Some(self.law(part, pods, age, n_looks)?.announced(level))
    }

    /// Computes what is to be taken off the canary's mean over `t` intervals from the settled age on, and
    /// how far a good canary's lies from it. `None` where too little is known to decide anything.
    pub fn law(&self, part: Part, pods: Pods, age: usize, t: usize) -> Option<Law> {
        self.law_amid(part, pods, age, t, Noise::USUAL)
    }

    /// Does the same where intervals are known to be noisier than the old pods' were.
    pub fn law_amid(&self, part: Part, pods: Pods, age: usize, t: usize, noise: Noise) -> Option<Law> {
        if pods.canary == 0 || pods.old == 0 || t == 0 {
            return None;
        }
        let standing = self.standing(part, pods.canary);
        let (n_canary, n_old) = (pods.canary as f64, pods.old as f64);
        let (v, v_df) = (self.windows.at(t), self.windows.df(t));
        let same_age: Vec<f64> = self.births.iter().map(|birth| mean_of_first(&birth.d[age..], t)).collect();
        let n_births = same_age.len() as f64;
        let (n_of_tau, n_of_omega, n_of_v) = match part {
            Part::Births => {
                let n_of_omega = 1.0 + standing.event_weight;
                let n_of_tau = if standing.tells {
                    1.0 / n_canary + 1.0 / n_births
                } else {
                    1.0 + 1.0 / standing.n_events
                };
                let replaced = if self.is_replaced { 2.0 / n_old } else { 0.0 };
                let n_of_v = noise.canary / n_canary + 1.0 / n_births + noise.other / n_old;
                (n_of_tau + replaced, n_of_omega, n_of_v)
            }
            Part::Fresh | Part::Old => {
                let n_other = if part == Part::Fresh { pods.fresh as f64 } else { n_old };
                let n_of_v = noise.canary / n_canary + noise.other / n_other;
                (1.0 / n_canary + 1.0 / n_other, 0.0, n_of_v)
            }
        };
        let omega2 = if standing.tells { standing.omega2 } else { 0.0 };
        let parts = [
            (standing.tau2 * n_of_tau, standing.df),
            (omega2 * n_of_omega, standing.omega_df),
            (v * n_of_v, v_df),
        ];
        let variance: f64 = parts.iter().map(|(part, _)| part).sum();
        let nu = match standing.df {
            df if df < DF_MIN => return None,
            df if df < DF_COMBINED => df,
            _ => {
                let squares = parts.iter().filter(|(part, _)| *part > 0.0).map(|(part, df)| part * part / df);
                variance * variance / squares.sum::<f64>()
            }
        };
        let floor = if part != Part::Old && same_age.len() >= FLOOR_MIN {
            let expected = standing.tau2 + omega2 + v * (1.0 + 1.0 / n_old);
            (sample_variance(&same_age) / expected).max(1.0)
        } else {
            1.0
        };
        let taken_off = if part == Part::Births { mean(&same_age) } else { 0.0 };
        let law = Law { taken_off, variance: variance * floor, nu };
        (law.variance > 0.0 && law.variance.is_finite() && law.nu.is_finite()).then_some(law)
    }

    /// Tells of each birth whether it would have been refused at `level` as a canary of one against the others; of none
    /// where these are too few.
    pub fn placebo_alarms(&self, age: usize, n_looks: usize, level: f64) -> Vec<bool> {
        let (n, events) = self.n_births();
        if events <= EVENTS_MIN {
            return Vec::new();
        }
        let pods = Pods { canary: 1, old: self.standing.len(), fresh: 0 };
        let alarm = |idx: usize| {
            let mut others = self.clone();
            let birth = others.births.remove(idx);
            others.levels.remove(idx);
            let law = others.law(Part::Births, pods, age, n_looks)?;
            let b = mean_of_first(&birth.d[age..], n_looks) - law.taken_off;
            Some(law.p_harm(b, 0.0) <= level)
        };
        (0..n).map(|idx| alarm(idx) == Some(true)).collect()
    }
}

/// How far the mean difference of a good canary lies from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// What births had at the same age.
    pub taken_off: f64,
    /// Variance of the difference.
    pub variance: f64,
    /// Degrees of freedom of the variance.
    pub nu: f64,
}

impl Law {
    /// Computes the chance of a difference of `b` or more if the shift is at most `x`.
    pub fn p_harm(&self, b: f64, x: f64) -> f64 {
        sound(StudentTail::new(self.nu).sf((b - x) / self.variance.sqrt()))
    }

    /// Computes the chance of a difference of `b` or less if the shift is at least `x`.
    pub fn p_go(&self, b: f64, x: f64) -> f64 {
        sound(StudentTail::new(self.nu).sf((x - b) / self.variance.sqrt()))
    }

    /// Computes the shift that is found at a level in 80 % of cases.
    pub fn announced(&self, level: f64) -> f64 {
        // The normal quantile of 80 %.
        const POWER: f64 = 0.842;
        (StudentTail::new(self.nu).isf(level) + POWER) * self.variance.sqrt()
    }

    /// Computes how far the ends of an interval lie from `b`, each at a one-sided level.
    pub fn reach(&self, level: f64) -> f64 {
        if level > 0.0 {
            StudentTail::new(self.nu).isf(level.min(0.5)) * self.variance.sqrt()
        } else {
            f64::INFINITY
        }
    }

    /// Computes a p for "the canary without its worst third is no worse either": small unless one bad pod
    /// alone makes the difference, in which case it is no fault of the version.
    ///
    /// - `b`: the difference of the pods that are left, `left` of `all`.
    pub fn p_without_worst(&self, b: f64, x: f64, left: usize, all: usize) -> f64 {
        sound(normal_sf((b - x) / (self.variance * all as f64 / left as f64).sqrt()))
    }
}

/// Level at which the canary without its worst third must be worse too.
pub const WITHOUT_WORST: f64 = 0.05;

/// Returns how many of a canary's pods are left out as its worst.
pub fn n_worst(n_canary: usize) -> usize {
    if n_canary > 1 { n_canary.div_ceil(3) } else { 0 }
}

fn sound(p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { p } else { 1.0 }
}

/// Averages what is finite; NaN where nothing is.
pub(super) fn mean(values: &[f64]) -> f64 {
    mean_of_first(values, usize::MAX)
}

/// Averages the first `t` finite values.
fn mean_of_first(values: &[f64], t: usize) -> f64 {
    let present = values.iter().filter(|value| value.is_finite()).take(t);
    let (sum, n) = present.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

fn sample_variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

/// Finds centre and clipping distance of the old pods' differences.
fn clipping(old: &[Vec<f64>]) -> (f64, f64) {
    let all: Vec<f64> = old.iter().flatten().copied().filter(|value| value.is_finite()).collect();
    let centre = super::means::median(&all);
    let deviations: Vec<f64> = all.iter().map(|value| (value - centre).abs()).collect();
    match CLIP * 1.4826 * super::means::median(&deviations) {
        limit if limit > 0.0 => (centre, limit),
        // An idle or discrete gauge is not clipped: that would erase it.
        _ => (if centre.is_finite() { centre } else { 0.0 }, f64::INFINITY),
    }
}

#[cfg(test)]
mod tests;
