//! Simulated latencies of new pods.

use greylight_analyzer::judge::{BirthData, CheckData, Data, Expected, Histogram, Sides};
use greylight_analyzer::stats::special::normal_sf;
use indexmap::IndexMap;

use super::latency::{BUCKETS, Slow};
use super::{Chance, Outcome, as_foretold, judge, times};

/// Settings of [`pod_latency`]. Levels are of logarithms of latencies, which are lognormal with sigma 0.6.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodLatency {
    /// Pods of the canary, settled old ones, fresh old ones.
    pub(crate) n: (usize, usize, usize),
    /// Births, and the events that they came in.
    pub(crate) births: (usize, usize),
    /// Requests of a pod in a minute: of a pod of the canary, and of any other.
    pub(crate) requests: (usize, usize),
    /// AR(1) coefficient of a pod's minutes.
    pub(crate) rho: f64,
    /// Standing differences between pods, in standard deviations of a pod's minute.
    pub(crate) tau: f64,
    /// Standard deviation of a pod's minute, and of what all pods share in a minute.
    pub(crate) sd: (f64, f64),
    /// How much slower a pod is at its start, in parts, and the minutes in which half of it goes; half as much again as
    /// standard deviation between pods.
    pub(crate) cold: (f64, f64),
    /// What is wrong with the canary.
    pub(crate) slow: Slow,
    /// Minutes of the old pods' history, and of a birth's life.
    pub(crate) history: (usize, usize),
    /// Minutes of warm-up.
    pub(crate) warm_up: usize,
    /// Alpha of the release.
    pub(crate) alpha: f64,
    /// What the check is held to, as the policy writes it.
    pub(crate) held_to: &'static str,
}

impl Default for PodLatency {
    fn default() -> Self {
        Self {
            n: (2, 10, 0),
            births: (12, 6),
            requests: (100, 100),
            rho: 0.6,
            tau: 0.3,
            sd: (0.1, 0.1),
            cold: (0.0, 1.0),
            slow: Slow { part: 0.0, factor: 1.0 },
            history: (1_440, 360),
            warm_up: 2,
            alpha: 0.01,
            held_to: "margin: { relative: 20% }",
        }
    }
}

/// One distribution check with buckets by pod.
pub(crate) fn pod_latency(setting: PodLatency, chance: &mut Chance) -> Outcome {
    let (policy, data) = release(setting, chance);
    judge(&policy, data)
}

/// The same with all of the canary's requests as much slower as was foretold.
pub(crate) fn pod_latency_as_foretold(setting: PodLatency, chance: &mut Chance) -> Outcome {
    let (canary, baseline, fresh) = setting.n;
    let expected = Expected { canary, baseline, fresh, share: None };
    let worse = |shift: f64, chance: &mut Chance| {
        let slow = Slow { part: 1.0, factor: 1.0 + shift };
        release(PodLatency { slow, ..setting }, chance)
    };
    as_foretold(chance, expected, worse)
}

fn release(setting: PodLatency, chance: &mut Chance) -> (String, IndexMap<String, CheckData>) {
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: {}m\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: latency, kind: distribution, {} }}\n",
        setting.alpha, setting.warm_up, setting.held_to
    );
    let (history, run) = (setting.history.0, setting.warm_up + 60);
    let common = shared(&setting, history + run, chance);
    let same = Slow { part: 0.0, factor: 1.0 };
    let (n_canary, n_old, n_fresh) = setting.n;
    let old: Vec<Pod> = (0..n_old).map(|_| Pod::new(&setting, history + run, false, chance)).collect();
    let mut young = |n: usize| -> Vec<Pod> {
        (0..n).map(|_| Pod { before: history, ..Pod::new(&setting, run, true, chance) }).collect()
    };
    let (canary, fresh) = (young(n_canary), young(n_fresh));
    let mut side = |name: &str, pods: &[Pod], (from, to): (usize, usize), requests: usize, slow: Slow| {
        let start = from as i64 - history as i64;
        let one = |(idx, pod): (usize, &Pod)| {
            let rows = (from..to).map(|at| pod.minute(at, common[at], requests, slow, chance)).collect();
            (format!("{name}{idx}"), histogram(start, rows, IndexMap::new()))
        };
        let units: IndexMap<String, Histogram> = pods.iter().enumerate().map(one).collect();
        let sums = (0..to - from).map(|at| Some(sum(units.values().map(|unit| &unit.counts[at])))).collect();
        (!pods.is_empty()).then(|| Data::Histogram(histogram(start, sums, units)))
    };
    let (before, since) = ((0, history), (history, history + run));
    let usual = setting.requests.1;
    let pre = Sides { baseline: side("b", &old, before, usual, same), canary: None };
    let baseline = side("b", &old, since, usual, same);
    let canary = side("c", &canary, since, setting.requests.0, setting.slow);
    let fresh = side("f", &fresh, since, usual, same);
    let (n_births, n_events) = setting.births;
    let births = (0..n_births).map(|idx| birth(&setting, idx % n_events, chance)).collect();
    let data = CheckData { pre, run: Sides { baseline, canary }, fresh, births };
    (policy, IndexMap::from([("latency".to_owned(), data)]))
}

/// An earlier start beside as many settled pods as there are old ones now.
fn birth(setting: &PodLatency, event: usize, chance: &mut Chance) -> BirthData {
    let life = setting.history.1;
    let common = shared(setting, life, chance);
    let same = Slow { part: 0.0, factor: 1.0 };
    let pod = Pod::new(setting, life, true, chance);
    let peers: Vec<Pod> = (0..setting.n.1).map(|_| Pod::new(setting, life, false, chance)).collect();
    let mut all = |pods: &[Pod]| {
        let row = |at: usize, chance: &mut Chance| {
            let rows: Vec<Option<Vec<f64>>> =
                pods.iter().map(|pod| pod.minute(at, common[at], setting.requests.1, same, chance)).collect();
            Some(sum(rows.iter()))
        };
        let rows = (0..life).map(|at| row(at, chance)).collect();
        Some(Data::Histogram(histogram(-100_000, rows, IndexMap::new())))
    };
    BirthData {
        event: format!("e{event}"),
        data: all(std::slice::from_ref(&pod)),
        peers: all(&peers),
        ..BirthData::default()
    }
}

fn shared(setting: &PodLatency, n: usize, chance: &mut Chance) -> Vec<f64> {
    chance.ar1(n, 0.9).into_iter().map(|noise| setting.sd.1 * noise).collect()
}

/// A pod's level by minute of its life.
struct Pod {
    levels: Vec<f64>,
    /// Minutes that passed before it began.
    before: usize,
}

impl Pod {
    fn new(setting: &PodLatency, n: usize, is_young: bool, chance: &mut Chance) -> Self {
        let standing = setting.tau * chance.normal();
        let height = setting.cold.0 * (1.0 + 0.5 * chance.normal()).max(0.0);
        let cold =
            |age: usize| if is_young { height * 0.5_f64.powf(age as f64 / setting.cold.1) } else { 0.0 };
        let noise = chance.ar1(n, setting.rho).into_iter().enumerate();
        let levels =
            noise.map(|(age, noise)| setting.sd.0 * (standing + noise) + cold(age).ln_1p()).collect();
        Self { levels, before: 0 }
    }

    /// Draws the buckets of a minute.
    fn minute(&self, at: usize, common: f64, n: usize, slow: Slow, chance: &mut Chance) -> Option<Vec<f64>> {
        const MIDDLE: f64 = 0.08;
        const SIGMA: f64 = 0.6;
        let level = self.levels[at - self.before] + common;
        let below = |edge: f64, factor: f64| {
            let z = ((edge / MIDDLE).ln() - level - factor.ln()) / SIGMA;
            if edge.is_finite() { 1.0 - normal_sf(z) } else { 1.0 }
        };
        let part = slow.part;
        let cumulated = BUCKETS.map(|edge| {
            let usual = if part < 1.0 { (1.0 - part) * below(edge, 1.0) } else { 0.0 };
            usual + if part > 0.0 { part * below(edge, slow.factor) } else { 0.0 }
        });
        let mut counts = vec![0.0; BUCKETS.len()];
        for _ in 0..n {
            let u = chance.uniform();
            counts[cumulated.partition_point(|share| *share < u).min(BUCKETS.len() - 1)] += 1.0;
        }
        Some(counts)
    }
}

fn sum<'a>(rows: impl Iterator<Item = &'a Option<Vec<f64>>>) -> Vec<f64> {
    let mut sum = vec![0.0; BUCKETS.len()];
    rows.flatten().for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, n)| *sum += n));
    sum
}

fn histogram(from: i64, counts: Vec<Option<Vec<f64>>>, units: IndexMap<String, Histogram>) -> Histogram {
    Histogram { t_ms: times(from, counts.len(), 60_000), le: BUCKETS.to_vec(), counts, units }
}
