//! Simulated error counts.

use greylight_analyzer::judge::{CheckData, Counts, Data, Expected, Sides};
use indexmap::IndexMap;

use super::{Chance, Outcome, as_foretold, judge, times};

/// Settings of [`errors`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    /// Events a minute of each side in the history and of the baseline since; for the canary since.
    pub(crate) rates: (f64, f64),
    /// Minutes of history.
    pub(crate) history: usize,
    /// How many events come at once.
    pub(crate) clump: usize,
    /// The canary's share of the trials, before and since.
    pub(crate) share: Share,
    /// Whether the policy tells beforehand how the share goes.
    pub(crate) is_planned: bool,
    /// Hosts of the canary and of the baseline, if counts are told by host; the share is then theirs.
    pub(crate) hosts: (usize, usize),
    /// Standard deviation of the logarithm of the canary's own rate, AR(1) 0.95.
    pub(crate) wander: f64,
    /// Alpha of the release.
    pub(crate) alpha: f64,
    /// What the check is held to, as the policy writes it, such as `vote: veto` or a margin.
    pub(crate) held_to: &'static str,
}

/// How the canary's share of the trials goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    /// The same all along.
    Fixed(f64),
    /// Rising from 2 to 32 % in the hour, in equal factors.
    Ramp,
    /// A quarter of an hour each at 1, 5, 25 and 50 %.
    Steps,
}

impl Share {
    pub(super) fn at(self, minute: usize) -> f64 {
        match self {
            Self::Fixed(share) => share,
            Self::Ramp => 0.02 * 16.0_f64.powf(minute as f64 / 59.0),
            Self::Steps => [0.01, 0.05, 0.25, 0.5][(minute / 15).min(3)],
        }
    }

    pub(super) fn before(self) -> f64 {
        match self {
            Self::Fixed(share) => share,
            Self::Ramp | Self::Steps => 0.5,
        }
    }
}

impl Default for Errors {
    fn default() -> Self {
        Self {
            rates: (5.0, 5.0),
            history: 1_440,
            clump: 1,
            share: Share::Fixed(0.5),
            is_planned: false,
            hosts: (0, 0),
            wander: 0.0,
            alpha: 0.01,
            held_to: "vote: veto",
        }
    }
}

/// One ratio check with 4,000 trials a minute on both sides together, and twice the rate in events.
pub(crate) fn errors(setting: Errors, chance: &mut Chance) -> Outcome {
    let (policy, data) = release(setting, chance);
    judge(&policy, data)
}

/// The same with a rate of the canary as much higher as was foretold.
pub(crate) fn errors_as_foretold(setting: Errors, chance: &mut Chance) -> Outcome {
    let (canary, baseline) = setting.hosts;
    let share = match setting.share {
        Share::Fixed(share) => Some(share),
        Share::Ramp | Share::Steps => None,
    };
    let expected = Expected { canary: canary.max(1), baseline: baseline.max(1), fresh: 0, share };
    let worse = |shift: f64, chance: &mut Chance| {
        release(Errors { rates: (setting.rates.0, setting.rates.0 * (1.0 + shift)), ..setting }, chance)
    };
    as_foretold(chance, expected, worse)
}

fn release(setting: Errors, chance: &mut Chance) -> (String, IndexMap<String, CheckData>) {
    let ramp = match setting.is_planned {
        true => format!("  ramp: {:?}\n", (0..60).map(|minute| setting.share.at(minute)).collect::<Vec<_>>()),
        false => String::new(),
    };
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n{ramp}  checks:\n  \
         - {{ name: errors, kind: ratio, {} }}\n",
        setting.alpha, setting.held_to
    );
    const TRIALS: f64 = 4_000.0;
    let before = setting.history;
    let wander = chance.ar1(before + 60, 0.95);
    let mut side = |is_canary: bool, from: usize, to: usize| {
        let part = |minute: usize| {
            let share = match minute.checked_sub(before) {
                Some(since) => setting.share.at(since),
                None => setting.share.before(),
            };
            if is_canary { share } else { 1.0 - share }
        };
        let mut draw = |minute: usize, hosts: f64| {
            let rate = if is_canary && minute >= before { setting.rates.1 } else { setting.rates.0 };
            let own = if is_canary { (setting.wander * wander[minute]).exp() } else { 1.0 };
            let mean = 2.0 * rate * own * part(minute) / (setting.clump as f64 * hosts);
            Some((setting.clump * chance.poisson(mean)) as f64)
        };
        let n_hosts = if is_canary { setting.hosts.0 } else { setting.hosts.1 };
        let mut host = |_| {
            let hosts = n_hosts.max(1) as f64;
            Counts {
                t_ms: times(from as i64 - before as i64, to - from, 60_000),
                events: (from..to).map(|minute| draw(minute, hosts)).collect(),
                exposure: (from..to).map(|minute| Some((TRIALS * part(minute) / hosts).round())).collect(),
                units: IndexMap::new(),
            }
        };
        (to > from).then(|| {
            if n_hosts == 0 {
                return Data::Counts(host(0));
            }
            let hosts: Vec<Counts> = (0..n_hosts).map(host).collect();
            let sum = |of: fn(&Counts) -> &Vec<Option<f64>>, minute: usize| {
                Some(hosts.iter().filter_map(|host| of(host)[minute]).sum())
            };
            Data::Counts(Counts {
                t_ms: hosts[0].t_ms.clone(),
                events: (0..to - from).map(|minute| sum(|host| &host.events, minute)).collect(),
                exposure: (0..to - from).map(|minute| sum(|host| &host.exposure, minute)).collect(),
                units: hosts
                    .into_iter()
                    .enumerate()
                    .map(|(n, host)| (format!("{is_canary}{n}"), host))
                    .collect(),
            })
        })
    };
    let data = CheckData {
        pre: Sides { baseline: side(false, 0, before), canary: side(true, 0, before) },
        run: Sides { baseline: side(false, before, before + 60), canary: side(true, before, before + 60) },
        ..CheckData::default()
    };
    (policy, IndexMap::from([("errors".to_owned(), data)]))
}
