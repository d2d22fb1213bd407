//! Simulated canaries of new pods.

use std::fmt::Write as _;

use greylight_analyzer::judge::{BirthData, CheckData, Data, Series, Sides};
use indexmap::IndexMap;

use super::{Chance, Outcome, answer, judge, times};

/// Settings of [`pods`]. Sizes are in standard deviations of a pod's minute where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pods {
    /// Pods of the canary, settled old ones, fresh old ones.
    pub(crate) n: (usize, usize, usize),
    /// Births, and the events that they came in.
    pub(crate) births: (usize, usize),
    /// AR(1) coefficient of a pod.
    pub(crate) rho: f64,
    /// Standing differences between pods.
    pub(crate) tau: f64,
    /// Standard deviation of a pod's minute, in parts of the mean.
    pub(crate) sd: f64,
    /// What starts of one event share.
    pub(crate) omega: f64,
    /// How much higher a pod is at its start, in parts of the mean, and the minutes in which half of it goes; half
    /// as much again as standard deviation between pods.
    pub(crate) cold: (f64, f64),
    /// Factor of the canary in the first check; 0: as much worse as the verdict of an unchanged one announces.
    pub(crate) factor: f64,
    /// Number of checks.
    pub(crate) checks: usize,
    /// The relative margin.
    pub(crate) margin: f64,
    /// Minutes of warm-up.
    pub(crate) warm_up: usize,
    /// Alpha of the release.
    pub(crate) alpha: f64,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            n: (1, 10, 0),
            births: (12, 12),
            rho: 0.6,
            tau: 0.3,
            sd: 0.1,
            omega: 0.0,
            cold: (0.0, 1.0),
            factor: 1.0,
            checks: 10,
            margin: 0.1,
            warm_up: 2,
            alpha: 0.01,
        }
    }
}

/// Minutes of the old pods' history.
const HISTORY: usize = 1_440;
/// Minutes of a birth's life.
const LIFE: usize = 360;

/// Mean checks of new pods against old ones, with births.
pub(crate) fn pods(setting: Pods, chance: &mut Chance) -> Outcome {
    let mut setting = setting;
    if setting.factor == 0.0 {
        setting.factor = 1.0;
        let (policy, data) = releases(&setting, &mut chance.clone());
        let (answer, _) = answer(&policy, data);
        let new_pods = answer.verdict.checks[0].new_pods;
        setting.factor += new_pods.and_then(|pods| pods.announced).expect("a shift is announced");
    }
    let (policy, data) = releases(&setting, chance);
    judge(&policy, data)
}

fn releases(setting: &Pods, chance: &mut Chance) -> (String, IndexMap<String, CheckData>) {
    let mut policy = format!(
        "name: s\nalpha: {}\nwarm_up: {}m\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n",
        setting.alpha, setting.warm_up
    );
    let mut data = IndexMap::new();
    for idx in 0..setting.checks {
        writeln!(policy, "  - {{ name: m{idx}, kind: mean, margin: {{ relative: {} }} }}", setting.margin)
            .expect("a string takes what is written");
        data.insert(format!("m{idx}"), one_check(setting, idx == 0, chance));
    }
    (policy, data)
}

fn one_check(setting: &Pods, is_worse: bool, chance: &mut Chance) -> CheckData {
    let (n_canary, n_old, n_fresh) = setting.n;
    let run = setting.warm_up + 60;
    let old: Vec<Vec<f64>> =
        (0..n_old).map(|_| course(setting, Start::Before, HISTORY + run, 0.0, chance)).collect();
    let shared = setting.omega * chance.normal();
    let series = |name: &str, from: i64, logs: &[Vec<f64>], factor: f64| {
        let one = |(idx, log): (usize, &Vec<f64>)| Series {
            instance: format!("{name}{idx}"),
            t_ms: times(from, log.len(), 60_000),
            v: log.iter().map(|log| Some(100.0 * factor * (setting.sd * log).exp())).collect(),
        };
        Some(Data::Values(logs.iter().enumerate().map(one).collect()))
    };
    let mut new = |n: usize| -> Vec<Vec<f64>> {
        (0..n).map(|_| course(setting, Start::Now, run, shared, chance)).collect()
    };
    let (canary, fresh) = (new(n_canary), new(n_fresh));
    let levels: Vec<f64> = old.iter().map(|pod| pod.iter().sum::<f64>() / pod.len() as f64).collect();
    let level = levels.iter().sum::<f64>() / n_old as f64;
    let births = births(setting, level, chance);
    let before: Vec<Vec<f64>> = old.iter().map(|pod| pod[..HISTORY].to_vec()).collect();
    let since: Vec<Vec<f64>> = old.iter().map(|pod| pod[HISTORY..].to_vec()).collect();
    CheckData {
        run: Sides {
            baseline: series("b", 0, &since, 1.0),
            canary: series("c", 0, &canary, if is_worse { setting.factor } else { 1.0 }),
        },
        pre: Sides { baseline: series("b", -(HISTORY as i64), &before, 1.0), canary: None },
        fresh: if n_fresh > 0 { series("f", 0, &fresh, 1.0) } else { None },
        births,
    }
}

/// When a pod started.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Before,
    Now,
}

/// A pod's logarithms, in standard deviations of its minutes.
fn course(setting: &Pods, start: Start, n: usize, shared: f64, chance: &mut Chance) -> Vec<f64> {
    let standing = setting.tau * chance.normal() + shared;
    let (height, half_life) = setting.cold;
    let height = height / setting.sd * (1.0 + 0.5 * chance.normal());
    let cold = |age: usize| match start {
        Start::Before => 0.0,
        Start::Now => height * 0.5_f64.powf(age as f64 / half_life),
    };
    chance
        .ar1(n, setting.rho)
        .into_iter()
        .enumerate()
        .map(|(age, noise)| standing + noise + cold(age))
        .collect()
}

/// Starts of like pods, as differences from the mean of the old ones, whose level is known.
fn births(setting: &Pods, level: f64, chance: &mut Chance) -> Vec<BirthData> {
    let (n, n_events) = setting.births;
    let shared: Vec<f64> = (0..n_events).map(|_| setting.omega * chance.normal()).collect();
    (0..n)
        .map(|idx| {
            let event = idx % n_events;
            let own = course(setting, Start::Now, LIFE, shared[event], chance);
            // The mean of n like AR(1) is an AR(1) again.
            let mean = chance.ar1(LIFE, setting.rho);
            let few = (setting.n.1 as f64).sqrt();
            let d = own.iter().zip(mean).map(|(own, mean)| setting.sd * (own - level - mean / few)).collect();
            BirthData { event: format!("e{event}"), d, ..BirthData::default() }
        })
        .collect()
}
