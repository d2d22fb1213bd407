//! Simulated gauges: mean checks under many kinds of noise.

use std::fmt::Write as _;

use greylight_analyzer::judge::{CheckData, Data, Expected, Series, Sides};
use indexmap::IndexMap;

use super::{Chance, Outcome, as_foretold, judge, times};

/// What a side's minutes look like; their standard deviation is a tenth of the mean but where said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Noise {
    /// AR(1) with this coefficient.
    Ar(f64),
    /// AR(1) 0.6 with a daily wave of 30 % and shocks that both sides share.
    Shared,
    /// Half of the variance AR(1) 0.9, half white.
    HalfWhite,
    /// Lognormal with sigma 1, AR(1) 0.6 in its logarithm.
    Lognormal,
    /// Three hosts against five, one of each side half as high again.
    SlowHost,
    /// AR(1) 0.6 and a standing difference of one standard deviation.
    Standing,
    /// Independent, and each side as a whole has a burst of 5 standard deviations for 5 minutes once an hour.
    Bursts,
    /// Five hosts a side; once an hour a host has a burst of 5 of its standard deviations for 10 minutes.
    HostBursts,
    /// Hosts of the canary and of the baseline, each with memory and a standing difference of its own.
    Hosts(Hosts),
}

/// Settings of [`Noise::Hosts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hosts {
    /// Hosts of the canary and of the baseline.
    pub(crate) n: (usize, usize),
    /// AR(1) coefficient of a host.
    pub(crate) rho: f64,
    /// Standing differences between hosts, in standard deviations of a host's minute.
    pub(crate) tau: f64,
    /// Whether a host's minutes are lognormal with sigma 1.
    pub(crate) is_skewed: bool,
}

/// Settings of [`means`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// Number of checks.
    pub(crate) checks: usize,
    /// What the minutes look like.
    pub(crate) noise: Noise,
    /// Minutes of history.
    pub(crate) history: usize,
    /// What is added to the first check's canary, in parts of the mean ...
    pub(crate) shift: f64,
    /// ... from this minute on.
    pub(crate) from: usize,
    /// The margin, in parts of the mean.
    pub(crate) margin: f64,
    /// Alpha of the release.
    pub(crate) alpha: f64,
    /// Factor of the noise at the release.
    pub(crate) growth: f64,
    /// Minutes from and to which nothing came.
    pub(crate) gap: (usize, usize),
    /// Minutes after which the canary is silent.
    pub(crate) until: usize,
    /// Whether the release may not go before the hour is over.
    pub(crate) is_held: bool,
    /// Whether the canary is held against its own history, nothing running beside it.
    pub(crate) is_before: bool,
}

impl Default for Means {
    fn default() -> Self {
        Self {
            checks: 1,
            noise: Noise::Ar(0.0),
            history: 180,
            shift: 0.0,
            from: 0,
            margin: 0.1,
            alpha: 0.01,
            growth: 1.0,
            gap: (0, 0),
            until: 60,
            is_held: false,
            is_before: false,
        }
    }
}

/// Mean checks of sides whose minutes have a standard deviation of 10 % of the mean.
pub(crate) fn means(setting: Means, chance: &mut Chance) -> Outcome {
    let (policy, data) = release(setting, chance);
    judge(&policy, data)
}

/// The same with a shift as large as was foretold.
pub(crate) fn means_as_foretold(setting: Means, chance: &mut Chance) -> Outcome {
    let expected = Expected { canary: 1, baseline: 1, fresh: 0, share: None };
    // Margins are absolute, so the shift is in the unit of values, whose mean is 100.
    let worse = |shift: f64, chance: &mut Chance| release(Means { shift: shift / 100.0, ..setting }, chance);
    as_foretold(chance, expected, worse)
}

fn release(setting: Means, chance: &mut Chance) -> (String, IndexMap<String, CheckData>) {
    let mut policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\npre_period: 7d\nphases:\n- name: p\n  lasts: {{ at_least: {}, at_most: 1h }}\n{}  \
         checks:\n",
        setting.alpha,
        if setting.is_held { "1h" } else { "0s" },
        if setting.is_before { "  baseline: { when: before }\n" } else { "" },
    );
    let mut data = IndexMap::new();
    for idx in 0..setting.checks {
        writeln!(
            policy,
            "  - {{ name: m{idx}, kind: mean, margin: {{ absolute: {} }} }}",
            100.0 * setting.margin
        )
        .expect("a string takes what is written");
        data.insert(format!("m{idx}"), one_check(&setting, idx == 0, chance));
    }
    (policy, data)
}

fn one_check(setting: &Means, is_worse: bool, chance: &mut Chance) -> CheckData {
    let n = setting.history + 60;
    let common = common(setting.noise, n, chance);
    let mut sides = [false, true].map(|is_canary| {
        let mut hosts = hosts(setting.noise, is_canary, n, chance);
        for value in hosts.iter_mut().flat_map(|host| host.iter_mut().skip(setting.history)) {
            *value *= setting.growth;
        }
        if is_canary && is_worse {
            let from = setting.history + setting.from;
            hosts
                .iter_mut()
                .flat_map(|host| host.iter_mut().skip(from))
                .for_each(|v| *v += 10.0 * setting.shift);
        }
        (is_canary, hosts)
    });
    let mut place = |side: usize, from: usize, to: usize| {
        let (is_canary, hosts) = &mut sides[side];
        let series = hosts.iter().enumerate().map(|(host, noise)| {
            let minutes = (from..to).filter(|i| {
                let since = i.wrapping_sub(setting.history);
                let is_gap = *i >= setting.history && (setting.gap.0..setting.gap.1).contains(&since);
                let is_silent = *is_canary && *i >= setting.history && since >= setting.until;
                !(is_gap || is_silent)
            });
            let at = minutes.clone().flat_map(|i| times(i as i64 - setting.history as i64, 1, 60_000));
            Series {
                instance: format!("{}{host}", if *is_canary { "c" } else { "b" }),
                t_ms: at.collect(),
                v: minutes.map(|i| Some((100.0 * (1.0 + 0.1 * noise[i]) * common[i]).max(0.1))).collect(),
            }
        });
        (to > from).then(|| Data::Values(series.collect()))
    };
    let mut data = CheckData {
        pre: Sides { baseline: place(0, 0, setting.history), canary: place(1, 0, setting.history) },
        run: Sides { baseline: place(0, setting.history, n), canary: place(1, setting.history, n) },
        ..CheckData::default()
    };
    if setting.is_before {
        (data.pre.baseline, data.run.baseline) = (None, None);
    }
    data
}

/// What multiplies both sides.
fn common(noise: Noise, n: usize, chance: &mut Chance) -> Vec<f64> {
    if noise != Noise::Shared {
        return vec![1.0; n];
    }
    let shocks = chance.ar1(n, 0.8);
    let wave = |i: usize| 0.3 * (std::f64::consts::TAU * i as f64 / 1_440.0).sin();
    (0..n).map(|i| (wave(i) + 0.1 * shocks[i]).exp()).collect()
}

/// The noise of each host of a side, in standard deviations of the side.
fn hosts(noise: Noise, is_canary: bool, n: usize, chance: &mut Chance) -> Vec<Vec<f64>> {
    match noise {
        Noise::Ar(rho) => vec![chance.ar1(n, rho)],
        Noise::Shared => vec![chance.ar1(n, 0.6)],
        Noise::Standing => {
            let standing = if is_canary { 1.0 } else { 0.0 };
            vec![chance.ar1(n, 0.6).into_iter().map(|value| value + standing).collect()]
        }
        Noise::HalfWhite => {
            let slow = chance.ar1(n, 0.9);
            vec![slow.into_iter().map(|value| 0.5_f64.sqrt() * (value + chance.normal())).collect()]
        }
        Noise::Lognormal => {
            vec![chance.ar1(n, 0.6).into_iter().map(skewed).collect()]
        }
        Noise::SlowHost => {
            let n_hosts = if is_canary { 3 } else { 5 };
            let one = |host: usize, chance: &mut Chance| {
                let slow = if host == 0 { 5.0 } else { 0.0 };
                let own = (n_hosts as f64).sqrt();
                chance.ar1(n, 0.6).into_iter().map(|value| own * value + slow).collect()
            };
            (0..n_hosts).map(|host| one(host, chance)).collect()
        }
        Noise::Hosts(hosts) => {
            let Hosts { n: (n_canary, n_baseline), rho, tau, is_skewed } = hosts;
            // So that the difference of the sides scatters as elsewhere.
            let own = (2.0 / (1.0 / n_canary as f64 + 1.0 / n_baseline as f64)).sqrt();
            let one = |chance: &mut Chance| {
                let standing = tau * chance.normal();
                let minutes = chance.ar1(n, rho).into_iter();
                minutes
                    .map(|value| own * (standing + if is_skewed { skewed(value) } else { value }))
                    .collect()
            };
            (0..if is_canary { n_canary } else { n_baseline }).map(|_| one(chance)).collect()
        }
        Noise::Bursts => {
            let burst = bursts(n, 5, chance);
            vec![burst.into_iter().map(|burst| burst + chance.normal()).collect()]
        }
        Noise::HostBursts => {
            let one = |chance: &mut Chance| {
                // Each of five hosts has a fifth of the side's bursts.
                let burst = bursts_at(n, 10, 1.0 / 300.0, chance);
                burst.into_iter().map(|burst| 5.0_f64.sqrt() * (burst + chance.normal())).collect()
            };
            (0..5).map(|_| one(chance)).collect()
        }
    }
}

/// Turns a standard normal into a lognormal with sigma 1, mean 0 and standard deviation 1.
fn skewed(value: f64) -> f64 {
    let (mean, sd) = (0.5_f64.exp(), (1.0_f64.exp() * (1.0_f64.exp() - 1.0)).sqrt());
    (value.exp() - mean) / sd
}

fn bursts(n: usize, minutes: usize, chance: &mut Chance) -> Vec<f64> {
    bursts_at(n, minutes, 1.0 / 60.0, chance)
}

/// Bursts of 5 standard deviations that begin in a minute with this chance.
fn bursts_at(n: usize, minutes: usize, start: f64, chance: &mut Chance) -> Vec<f64> {
    let mut left = 0;
    (0..n)
        .map(|_| {
            if chance.uniform() < start {
                left = minutes;
            }
            let is_on = left > 0;
            left -= usize::from(is_on);
            if is_on { 5.0 } else { 0.0 }
        })
        .collect()
}
