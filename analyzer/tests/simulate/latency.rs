//! Simulated latencies.

use greylight_analyzer::judge::{CheckData, Data, Expected, Histogram, Sides};
use indexmap::IndexMap;

use super::counts::Share;
use super::{Chance, Outcome, as_foretold, judge, times};

/// How a canary's latencies differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    /// This part of the requests ...
    pub(crate) part: f64,
    /// ... takes this many times as long.
    pub(crate) factor: f64,
}

pub(super) const BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

/// Buckets a factor of 1.15 apart, from 1 ms to 20 s.
pub(super) fn fine_buckets() -> Vec<f64> {
    let mut edges: Vec<f64> = (0..72).map(|k| 0.001 * 1.15_f64.powi(k)).collect();
    edges.push(f64::INFINITY);
    edges
}

/// The law of latencies, around 80 ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Lognormal with this sigma.
    Lognormal(f64),
    /// Exponential.
    Exponential,
    /// Nine in ten around 40 ms, one in ten around 400 ms.
    Bimodal,
    /// Pareto with this index.
    Pareto(f64),
}

impl Shape {
    fn draw(self, chance: &mut Chance) -> f64 {
        match self {
            Self::Lognormal(sigma) => 0.08 * (sigma * chance.normal()).exp(),
            Self::Exponential => -0.115 * chance.uniform().ln(),
            Self::Bimodal => {
                let middle = if chance.uniform() < 0.1 { 0.4 } else { 0.04 };
                middle * (0.3 * chance.normal()).exp()
            }
            Self::Pareto(index) => 0.04 * chance.uniform().powf(-1.0 / index),
        }
    }
}

/// Draws bucket counts of latencies.
pub(super) fn latencies(
    chance: &mut Chance,
    n_requests: usize,
    (shape, edges): (Shape, &[f64]),
    slow: Slow,
    shift: f64,
) -> Vec<f64> {
    let mut counts = vec![0.0; edges.len()];
    for _ in 0..n_requests {
        let factor = if chance.uniform() < slow.part { slow.factor } else { 1.0 };
        let value = shape.draw(chance) * shift.exp() * factor;
        counts[edges.partition_point(|edge| *edge < value)] += 1.0;
    }
    counts
}

/// Settings of [`latency`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Requests a minute of both sides together.
    pub(crate) requests: usize,
    /// The canary's share of them in the history, and how it goes since.
    pub(crate) share: (f64, Share),
    /// Minutes of history.
    pub(crate) history: usize,
    /// The law of the latencies.
    pub(crate) shape: Shape,
    /// Whether buckets are fine, or Prometheus's default.
    pub(crate) is_fine: bool,
    /// What is wrong with the canary.
    pub(crate) slow: Slow,
    /// AR(1) coefficient and standard deviation of each minute's own level.
    pub(crate) wander: (f64, f64),
    /// Alpha of the release.
    pub(crate) alpha: f64,
    /// What the check is held to, as the policy writes it.
    pub(crate) held_to: &'static str,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            requests: 200,
            share: (0.5, Share::Fixed(0.5)),
            history: 180,
            shape: Shape::Lognormal(0.6),
            is_fine: false,
            slow: Slow { part: 0.0, factor: 1.0 },
            wander: (0.0, 0.0),
            alpha: 0.01,
            held_to: "margin: { relative: 10% }",
        }
    }
}

/// One distribution check.
pub(crate) fn latency(setting: Latency, chance: &mut Chance) -> Outcome {
    let (policy, data) = release(setting, chance);
    judge(&policy, data)
}

/// The same with all of the canary's requests as much slower as was foretold.
pub(crate) fn latency_as_foretold(setting: Latency, chance: &mut Chance) -> Outcome {
    let expected = Expected { canary: 1, baseline: 1, fresh: 0, share: None };
    let worse = |shift: f64, chance: &mut Chance| {
        let slow = Slow { part: 1.0, factor: 1.0 + shift };
        release(Latency { slow, ..setting }, chance)
    };
    as_foretold(chance, expected, worse)
}

fn release(setting: Latency, chance: &mut Chance) -> (String, IndexMap<String, CheckData>) {
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: latency, kind: distribution, {} }}\n",
        setting.alpha, setting.held_to
    );
    let edges = if setting.is_fine { fine_buckets() } else { BUCKETS.to_vec() };
    let before = setting.history;
    let n = before + 60;
    let mut side = |is_canary: bool| {
        let levels = chance.ar1(n, setting.wander.0);
        let counts: Vec<Option<Vec<f64>>> = (0..n)
            .map(|i| {
                let share = match i.checked_sub(before) {
                    Some(since) => setting.share.1.at(since),
                    None => setting.share.0,
                };
                let part = if is_canary { share } else { 1.0 - share };
                let requests = (setting.requests as f64 * part).round() as usize;
                let is_slow = is_canary && i >= before;
                let slow = if is_slow { setting.slow } else { Slow { part: 0.0, factor: 1.0 } };
                Some(latencies(chance, requests, (setting.shape, &edges), slow, setting.wander.1 * levels[i]))
            })
            .collect();
        let part = |from: i64, counts: &[Option<Vec<f64>>]| {
            Data::Histogram(Histogram {
                t_ms: times(from, counts.len(), 60_000),
                le: edges.clone(),
                counts: counts.to_vec(),
                units: IndexMap::new(),
            })
        };
        let pre = (before > 0).then(|| part(-(before as i64), &counts[..before]));
        (pre, Some(part(0, &counts[before..])))
    };
    let (pre_baseline, baseline) = side(false);
    let (pre_canary, canary) = side(true);
    let data = CheckData {
        run: Sides { baseline, canary },
        pre: Sides { baseline: pre_baseline, canary: pre_canary },
        ..CheckData::default()
    };
    (policy, IndexMap::from([("latency".to_owned(), data)]))
}
