//! Simulated error counts of new pods whose rates differ by nature.

use greylight_analyzer::judge::{BirthData, CheckData, Counts, Data, Sides};
use indexmap::IndexMap;

use super::{Chance, Outcome, judge, times};

/// Settings of [`pod_errors`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodErrors {
    /// Pods of the canary and settled old ones.
    pub(crate) n: (usize, usize),
    /// Births.
    pub(crate) births: usize,
    /// Errors of a pod in a minute.
    pub(crate) rate: f64,
    /// Standard deviation of the log rate between pods.
    pub(crate) tau: f64,
    /// Factor of the canary's rate.
    pub(crate) factor: f64,
    /// How many times as many errors a new pod has at its start beyond its own, and the minutes in which half of
    /// that goes.
    pub(crate) cold: (f64, f64),
    /// Alpha of the release.
    pub(crate) alpha: f64,
    /// What the check is held to, as the policy writes it, such as `vote: veto` or a margin.
    pub(crate) held_to: &'static str,
}

/// One ratio check with counts by pod.
pub(crate) fn pod_errors(setting: PodErrors, chance: &mut Chance) -> Outcome {
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: errors, kind: ratio, {} }}\n",
        setting.alpha, setting.held_to
    );
    const TRIALS: f64 = 1_000.0;
    const HISTORY: usize = 1_440;
    const LIFE: usize = 360;
    let (n_canary, n_old) = setting.n;
    let mut rates = |n: usize, factor: f64| -> Vec<f64> {
        (0..n).map(|_| factor * setting.rate * (setting.tau * chance.normal()).exp()).collect()
    };
    let (old, canary, births) =
        (rates(n_old, 1.0), rates(n_canary, setting.factor), rates(setting.births, 1.0));
    let mut side = |name: &str, rates: &[f64], from: i64, n: usize| {
        let one = |(idx, rate): (usize, &f64)| {
            let (height, half_life) = if name == "c" { setting.cold } else { (0.0, 1.0) };
            let cold = |age: usize| 1.0 + height * 0.5_f64.powf(age as f64 / half_life);
            let events = (0..n).map(|age| Some(chance.poisson(*rate * cold(age)) as f64)).collect();
            let (t_ms, exposure) = (times(from, n, 60_000), vec![Some(TRIALS); n]);
            (format!("{name}{idx}"), Counts { t_ms, events, exposure, units: IndexMap::new() })
        };
        let units: IndexMap<String, Counts> = rates.iter().enumerate().map(one).collect();
        let all = |minute: usize| Some(units.values().filter_map(|unit| unit.events[minute]).sum());
        Some(Data::Counts(Counts {
            t_ms: times(from, n, 60_000),
            events: (0..n).map(all).collect(),
            exposure: vec![Some(TRIALS * rates.len() as f64); n],
            units,
        }))
    };
    let pre = Sides { baseline: side("b", &old, -(HISTORY as i64), HISTORY), canary: None };
    let run = Sides { baseline: side("b", &old, 0, 60), canary: side("c", &canary, 0, 60) };
    let birth = |rate: &f64| {
        let counted = Some((chance.poisson(rate * LIFE as f64) as f64, TRIALS * LIFE as f64));
        BirthData { counted, ..BirthData::default() }
    };
    let births = births.iter().map(birth).collect();
    let data = CheckData { pre, run, births, ..CheckData::default() };
    judge(&policy, IndexMap::from([("errors".to_owned(), data)]))
}
