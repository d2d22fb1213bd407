//! Simulated releases for calibration: the judge's door with data whose truth is known.
//!
//! Shared by this crate's tests (short runs) and the harness's `calibrate` command (long ones), so that both
//! measure the same thing. Every draw comes from a seed.

mod counts;
mod demo;
mod latency;
mod logs;
mod means;
mod pod_errors;
mod pod_latency;
mod pods;
mod users;

use greylight_analyzer::judge::{Answer, CheckData, Engine, Expected, PhaseRun, Request, foretell, run};
use greylight_analyzer::policy::{Queries, parse};
use greylight_analyzer::verdict::Decision;
use indexmap::IndexMap;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) use counts::{Errors, Share as TrafficShare, errors, errors_as_foretold};
pub(crate) use demo::{Fault, demo};
pub(crate) use latency::{Latency, Shape, Slow, latency, latency_as_foretold};
pub(crate) use logs::{Logs, logs};
pub(crate) use means::{Hosts, Means, Noise, means, means_as_foretold};
pub(crate) use pod_errors::{PodErrors, pod_errors};
pub(crate) use pod_latency::{PodLatency, pod_latency, pod_latency_as_foretold};
pub(crate) use pods::{Pods, pods};
pub(crate) use users::{UserValue, Users, users};

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
#[derive(Clone, Debug)]
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
    let (answer, warm) = answer(policy, data);
    let first = answer.looks.iter().position(|look| look.decision != Decision::Inconclusive);
    Outcome {
        decision: answer.verdict.decision,
        look: first.map(|idx| idx + 1 - warm.min(idx)),
        n_restless: answer.verdict.reasons.iter().filter(|reason| reason.cause.code() == "restless").count(),
    }
}

/// Simulates a release that is as much worse as was said of it beforehand.
///
/// - `release`: policy and data of one that is so much worse.
fn as_foretold(
    chance: &mut Chance,
    expected: Expected,
    release: impl Fn(f64, &mut Chance) -> (String, IndexMap<String, CheckData>),
) -> Outcome {
    let (policy, data) = release(0.0, &mut chance.clone());
    let parsed = parse(&policy, Queries::Optional).expect("the scenario's policy is right");
    let phase = PhaseRun { release_start_ms: START_MS, phase_start_ms: START_MS, ..PhaseRun::default() };
    let all = foretell(&parsed, &parsed.phases[0], &phase, &data, &expected);
    let all = all.expect("the scenario's data fits its policy");
    let shift = all[0].shift.expect("a shift is foretold").value;
    let (policy, data) = release(shift, chance);
    judge(&policy, data)
}

/// Judges; says how many looks the warm-up takes.
fn answer(policy: &str, data: IndexMap<String, CheckData>) -> (Answer, usize) {
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
    (run(&request).expect("the scenario's data fits its policy"), warm)
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
