//! Simulated releases for calibration: the judge's door with data whose truth is known.
//!
//! Shared by this crate's tests (short runs) and the harness's `calibrate` command (long ones), so that both
//! measure the same thing. Every draw comes from a seed.

use greylight_analyzer::judge::{
    CheckData, Counts, Data, Engine, Histogram, Pattern, PatternCounts, Request, Series, Sides, run,
};
use greylight_analyzer::policy::{Queries, parse};
use greylight_analyzer::verdict::Decision;
use indexmap::IndexMap;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Start of every simulated release, on an edge of every interval.
const START_MS: i64 = 1_795_255_200_000;

/// What a simulated release came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// The decision.
    pub(crate) decision: Decision,
    /// Looks after warm-up until it fell.
    pub(crate) look: Option<usize>,
    /// Checks that the placebo releases found too restless to vote.
    pub(crate) n_restless: usize,
}

/// A seeded source of draws.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    /// Starts the sequence of a run of a scenario.
    pub(crate) fn new(seed: u64, run: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(run);
        Self(rng)
    }

    /// Draws from (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0.random::<f64>().max(1e-300)
    }

    /// Draws a standard normal.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Draws how many of `n` trials succeed.
    pub(crate) fn binomial(&mut self, n: usize, p: f64) -> usize {
        // Gaps between successes are geometric: quick for the small chances used here.
        if p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        let (mut at, mut count) = (0.0, 0);
        loop {
            at += (self.uniform().ln() / (1.0 - p).ln()).floor() + 1.0;
            if at > n as f64 {
                return count;
            }
            count += 1;
        }
    }

    /// Draws a Poisson number.
    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        let (mut at, mut count) = (-self.uniform().ln(), 0);
        while at < mean {
            at -= self.uniform().ln();
            count += 1;
        }
        count
    }

    /// Draws a stationary AR(1) series with standard deviation 1.
    pub(crate) fn ar1(&mut self, n: usize, rho: f64) -> Vec<f64> {
        let mut state = self.normal();
        (0..n)
            .map(|_| {
                let now = state;
                state = rho * state + (1.0 - rho * rho).sqrt() * self.normal();
                now
            })
            .collect()
    }
}

fn times(from: i64, n: usize, interval_ms: i64) -> Vec<i64> {
    (0..n as i64).map(|i| START_MS + (from + i) * interval_ms).collect()
}

/// Judges, and says what came of it.
pub(crate) fn judge(policy: &str, data: IndexMap<String, CheckData>) -> Outcome {
    let policy = parse(policy, Queries::Optional).expect("the scenario's policy is right");
    let warm = (policy.warm_up.millis().div_ceil(policy.interval.millis())) as usize;
    let request = Request {
        policy,
        engine: Engine::Greylight,
        phase: 0,
        start_ms: START_MS,
        data,
        digest: String::new(),
    };
    let answer = run(&request).expect("the scenario's data fits its policy");
    let first = answer.looks.iter().position(|look| look.decision != Decision::Inconclusive);
    Outcome {
        decision: answer.verdict.decision,
        look: first.map(|idx| idx + 1 - warm.min(idx)),
        n_restless: answer.verdict.reasons.iter().filter(|reason| reason.cause.code() == "restless").count(),
    }
}

/// Settings of [`means`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// Number of checks.
    pub(crate) checks: usize,
    /// Coefficient of the AR(1).
    pub(crate) rho: f64,
    /// Minutes of history.
    pub(crate) history: usize,
    /// What is added to the first check's canary, in parts of the mean.
    pub(crate) shift: f64,
    /// The relative margin.
    pub(crate) margin: f64,
    /// Alpha of the release.
    pub(crate) alpha: f64,
}

/// Ten (or other) mean checks of sides whose minutes have a standard deviation of 10 % of the mean.
pub(crate) fn means(setting: Means, chance: &mut Chance) -> Outcome {
    let mut policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\npre_period: 7d\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n",
        setting.alpha
    );
    let mut data = IndexMap::new();
    for idx in 0..setting.checks {
        policy.push_str(&format!(
            "  - {{ name: m{idx}, kind: mean, margin: {{ relative: {} }} }}\n",
            setting.margin
        ));
        let mut side = |name: &str, shift: f64| {
            let values: Vec<Option<f64>> = (chance.ar1(setting.history + 60, setting.rho).iter().enumerate())
                .map(|(i, value)| {
                    let harm = if i >= setting.history { shift } else { 0.0 };
                    Some(100.0 * (0.1 * value + harm).exp())
                })
                .collect();
            let part = |from: i64, v: &[Option<f64>]| {
                Data::Values(vec![Series {
                    instance: name.to_owned(),
                    t_ms: times(from, v.len(), 60_000),
                    v: v.to_vec(),
                }])
            };
            let pre =
                (setting.history > 0).then(|| part(-(setting.history as i64), &values[..setting.history]));
            (pre, Some(part(0, &values[setting.history..])))
        };
        let (pre_baseline, baseline) = side("b", 0.0);
        let (pre_canary, canary) = side("c", if idx == 0 { setting.shift } else { 0.0 });
        data.insert(
            format!("m{idx}"),
            CheckData {
                run: Sides { baseline, canary },
                pre: Sides { baseline: pre_baseline, canary: pre_canary },
            },
        );
    }
    judge(&policy, data)
}

/// Settings of [`errors`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    /// Events a minute of each side in the history and of the baseline since; for the canary since.
    pub(crate) rates: (f64, f64),
    /// Minutes of history.
    pub(crate) history: usize,
    /// How many events come at once.
    pub(crate) clump: usize,
    /// The canary's share of the trials.
    pub(crate) share: f64,
    /// Alpha of the release.
    pub(crate) alpha: f64,
    /// What the check is held to, as the policy writes it, such as `vote: veto` or a margin.
    pub(crate) held_to: &'static str,
}

/// One ratio check with 2,000 trials a minute.
pub(crate) fn errors(setting: Errors, chance: &mut Chance) -> Outcome {
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: errors, kind: ratio, {} }}\n",
        setting.alpha, setting.held_to
    );
    const TRIALS: f64 = 2_000.0;
    let side = |chance: &mut Chance, from: i64, n: usize, rate: f64, share: f64| {
        let draw = |_| Some((setting.clump * chance.poisson(rate / setting.clump as f64)) as f64);
        Some(Data::Counts(Counts {
            t_ms: times(from, n, 60_000),
            events: (0..n).map(draw).collect(),
            exposure: vec![Some(TRIALS * share); n],
            units: IndexMap::new(),
        }))
    };
    let (share, before) = (setting.share, setting.history);
    let scale = |rate: f64, share: f64| 2.0 * rate * share;
    let from = -(before as i64);
    let (normal, changed) = setting.rates;
    let data = CheckData {
        pre: Sides {
            baseline: side(chance, from, before, scale(normal, 1.0 - share), 1.0 - share),
            canary: side(chance, from, before, scale(normal, share), share),
        },
        run: Sides {
            baseline: side(chance, 0, 60, scale(normal, 1.0 - share), 1.0 - share),
            canary: side(chance, 0, 60, scale(changed, share), share),
        },
    };
    judge(&policy, IndexMap::from([("errors".to_owned(), data)]))
}

/// Settings of [`logs`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logs {
    /// The baseline's traffic, in canaries.
    pub(crate) baseline: f64,
    /// Chance that a canary's request writes a line that was never seen.
    pub(crate) new: f64,
    /// Alpha of the release.
    pub(crate) alpha: f64,
}

/// One pattern check: the canary has 1,000 requests a minute, 60 usual patterns come in bursts at Zipf
/// rates, and harmless new patterns appear on either side, 0.02 a minute.
pub(crate) fn logs(setting: Logs, chance: &mut Chance) -> Outcome {
    const HISTORY: usize = 180;
    const USUAL: usize = 60;
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: logs, kind: patterns }}\n",
        setting.alpha
    );
    let n = HISTORY + 60;
    let sides = [1_000.0 * setting.baseline, 1_000.0];
    let mut counts = [IndexMap::new(), IndexMap::new()];
    let mut add = |side: usize, id: String, minute: usize, lines: usize| {
        let row: &mut Vec<usize> = counts[side].entry(id).or_insert_with(|| vec![0; n]);
        row[minute] += lines;
    };
    for minute in 0..n {
        for (side, requests) in sides.iter().enumerate() {
            for rank in 1..=USUAL {
                // Bursts of five lines: the bets must bear clumps.
                let bursts = chance.poisson(requests * 0.001 / rank as f64);
                add(side, format!("usual-{rank}"), minute, 5 * bursts);
            }
            let is_broken = side == 1 && minute >= HISTORY;
            let broken = if is_broken { chance.poisson(requests * setting.new) } else { 0 };
            add(side, "broken".to_owned(), minute, broken);
        }
        if chance.uniform() < 0.02 {
            let side = usize::from(chance.uniform() < 1.0 / (1.0 + setting.baseline));
            add(side, format!("harmless-{minute}"), minute, 1);
        }
    }
    let part = |side: usize, from: usize, to: usize| {
        let one = |(id, row): (&String, &Vec<usize>)| {
            let counts = row[from..to].iter().map(|count| Some(*count as f64)).collect();
            let severity = Some("error".to_owned());
            (id.clone(), Pattern { text: id.clone(), severity, counts, ..Pattern::default() })
        };
        let requests = vec![Some(sides[side]); to - from];
        Some(Data::Patterns(PatternCounts {
            t_ms: times(from as i64 - HISTORY as i64, to - from, 60_000),
            records: requests.clone(),
            trials: Some(requests),
            patterns: counts[side].iter().map(one).collect(),
        }))
    };
    let data = CheckData {
        run: Sides { baseline: part(0, HISTORY, n), canary: part(1, HISTORY, n) },
        pre: Sides { baseline: part(0, 0, HISTORY), canary: part(1, 0, HISTORY) },
    };
    judge(&policy, IndexMap::from([("logs".to_owned(), data)]))
}

/// How a canary's latencies differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    /// This part of the requests ...
    pub(crate) part: f64,
    /// ... takes this many times as long.
    pub(crate) factor: f64,
}

const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

/// Draws bucket counts of lognormal latencies around 80 ms, sigma 0.6.
fn latencies(chance: &mut Chance, n_requests: usize, slow: Slow, shift: f64) -> Vec<f64> {
    let mut counts = vec![0.0; BUCKETS.len()];
    for _ in 0..n_requests {
        let factor = if chance.uniform() < slow.part { slow.factor } else { 1.0 };
        let value = 0.08 * (0.6 * chance.normal() + shift).exp() * factor;
        counts[BUCKETS.partition_point(|edge| *edge < value)] += 1.0;
    }
    counts
}

/// Settings of [`latency`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Requests a minute of each side.
    pub(crate) requests: usize,
    /// Minutes of history.
    pub(crate) history: usize,
    /// What is wrong with the canary.
    pub(crate) slow: Slow,
    /// AR(1) coefficient and standard deviation of each minute's own level.
    pub(crate) wander: (f64, f64),
    /// Alpha of the release.
    pub(crate) alpha: f64,
}

/// One distribution check on the default buckets of Prometheus, margin 10 %.
pub(crate) fn latency(setting: Latency, chance: &mut Chance) -> Outcome {
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: latency, kind: distribution, margin: {{ relative: 10% }} }}\n",
        setting.alpha
    );
    let n = setting.history + 60;
    let mut side = |slow: Slow| {
        let levels = chance.ar1(n, setting.wander.0);
        let counts: Vec<Option<Vec<f64>>> = (0..n)
            .map(|i| {
                let slow = if i >= setting.history { slow } else { Slow { part: 0.0, factor: 1.0 } };
                Some(latencies(chance, setting.requests, slow, setting.wander.1 * levels[i]))
            })
            .collect();
        let part = |from: i64, counts: &[Option<Vec<f64>>]| {
            Data::Histogram(Histogram {
                t_ms: times(from, counts.len(), 60_000),
                le: BUCKETS.to_vec(),
                counts: counts.to_vec(),
                units: IndexMap::new(),
            })
        };
        let pre = (setting.history > 0).then(|| part(-(setting.history as i64), &counts[..setting.history]));
        (pre, Some(part(0, &counts[setting.history..])))
    };
    let (pre_baseline, baseline) = side(Slow { part: 0.0, factor: 1.0 });
    let (pre_canary, canary) = side(setting.slow);
    let data = CheckData {
        run: Sides { baseline, canary },
        pre: Sides { baseline: pre_baseline, canary: pre_canary },
    };
    judge(&policy, IndexMap::from([("latency".to_owned(), data)]))
}

/// What is wrong with a release of [`demo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One request in ten takes ten times as long and one in fifty fails with a new log line.
    Bad,
    /// One request in ten takes ten times as long.
    Slow,
    /// One request in fifty fails with a new log line.
    Errors,
}

/// The demo: 500 ms intervals, 220 of history, three instances of which one becomes the canary, error share
/// (margin 2 points), latency (25 %) and log patterns, `tenth` or `half` of the requests.
pub(crate) fn demo(requests_per_s: f64, share: f64, fault: Fault, chance: &mut Chance) -> Outcome {
    let policy = format!(
        "name: demo\ninterval: 500ms\nwarm_up: 2s\ndelay: 1s\nphases:\n\
         - name: tenth\n  traffic_share: {share}\n  lasts: {{ at_least: 5s, at_most: 30s }}\n  checks:\n  \
         - {{ name: error share, kind: ratio, margin: {{ absolute: 0.02 }} }}\n  \
         - {{ name: latency, kind: distribution, margin: {{ relative: 25% }} }}\n  \
         - {{ name: log patterns, kind: patterns, severity: warn }}\n\
         - name: half\n  starts: on_call\n  lasts: {{ at_least: 5s, at_most: 30s }}\n  checks:\n  \
         - {{ name: errors, kind: ratio, margin: {{ absolute: 0.02 }} }}\n"
    );
    const HISTORY: usize = 220;
    const PHASE: usize = 64;
    let per_interval = requests_per_s / 2.0;
    let mut canary = Side::default();
    let mut baseline = Side::default();
    for i in 0..HISTORY + PHASE {
        let is_release = i >= HISTORY;
        let to_canary = if is_release { share } else { 1.0 / 3.0 };
        let all = per_interval as usize;
        let n = chance.binomial(all, to_canary);
        canary.add(chance, n, if is_release { fault } else { Fault::None });
        baseline.add(chance, all - n, Fault::None);
    }
    let data = |pick: fn(&Side, usize, usize, i64) -> Data| CheckData {
        pre: Sides {
            baseline: Some(pick(&baseline, 0, HISTORY, -(HISTORY as i64))),
            canary: Some(pick(&canary, 0, HISTORY, -(HISTORY as i64))),
        },
        run: Sides {
            baseline: Some(pick(&baseline, HISTORY, HISTORY + PHASE, 0)),
            canary: Some(pick(&canary, HISTORY, HISTORY + PHASE, 0)),
        },
    };
    judge(
        &policy,
        IndexMap::from([
            ("error share".to_owned(), data(Side::ratio)),
            ("latency".to_owned(), data(Side::histogram)),
            ("log patterns".to_owned(), data(Side::patterns)),
        ]),
    )
}

/// What one side of the demo shows, interval by interval.
#[derive(Debug, Default)]
struct Side {
    trials: Vec<Option<f64>>,
    errors: Vec<Option<f64>>,
    counts: Vec<Option<Vec<f64>>>,
    known: Vec<Option<f64>>,
    new: Vec<Option<f64>>,
}

impl Side {
    fn add(&mut self, chance: &mut Chance, n: usize, fault: Fault) {
        let usual = chance.binomial(n, 0.002);
        let failed = if matches!(fault, Fault::Bad | Fault::Errors) { chance.binomial(n, 0.02) } else { 0 };
        let part = if matches!(fault, Fault::Bad | Fault::Slow) { 0.1 } else { 0.0 };
        self.trials.push(Some(n as f64));
        self.errors.push(Some((usual + failed) as f64));
        self.known.push(Some(usual as f64));
        self.new.push(Some(failed as f64));
        self.counts.push(Some(latencies(chance, n, Slow { part, factor: 10.0 }, 0.0)));
    }

    fn ratio(&self, from: usize, to: usize, at: i64) -> Data {
        Data::Counts(Counts {
            t_ms: times(at, to - from, 500),
            events: self.errors[from..to].to_vec(),
            exposure: self.trials[from..to].to_vec(),
            units: IndexMap::new(),
        })
    }

    fn histogram(&self, from: usize, to: usize, at: i64) -> Data {
        Data::Histogram(Histogram {
            t_ms: times(at, to - from, 500),
            le: BUCKETS.to_vec(),
            counts: self.counts[from..to].to_vec(),
            units: IndexMap::new(),
        })
    }

    fn patterns(&self, from: usize, to: usize, at: i64) -> Data {
        let one = |text: &str, counts: &[Option<f64>]| Pattern {
            text: text.to_owned(),
            severity: Some("error".to_owned()),
            counts: counts[from..to].to_vec(),
            ..Pattern::default()
        };
        Data::Patterns(PatternCounts {
            t_ms: times(at, to - from, 500),
            records: self.trials[from..to].to_vec(),
            trials: Some(self.trials[from..to].to_vec()),
            patterns: IndexMap::from([
                ("known".to_owned(), one("request <*> failed", &self.known)),
                ("new".to_owned(), one("upstream <*> timed out", &self.new)),
            ]),
        })
    }
}

/// A share of runs, in percent, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    /// Percent.
    pub(crate) percent: f64,
    /// One standard error of it, taking at least one run for seen and one for unseen.
    pub(crate) error: f64,
}

/// Computes the share of runs of which something holds.
pub(crate) fn share(runs: &[Outcome], holds: impl Fn(&Outcome) -> bool) -> Share {
    let n = runs.len() as f64;
    let seen = runs.iter().filter(|run| holds(run)).count() as f64;
    let part = ((seen + 1.0) / (n + 2.0)).clamp(0.0, 1.0);
    Share { percent: 100.0 * seen / n, error: 100.0 * (part * (1.0 - part) / n).sqrt() }
}
