//! Chooses releases that never were: starts in the history, and units that play the canary.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::history::{History, Start};
use super::plan::{PlaceboKind, Plan, Stopped};

/// Part of a release's intervals in which a unit must have shown something to take part.
const PRESENT_MIN: f64 = 0.9;
/// The same of the history before it.
const PRESENT_BEFORE_MIN: f64 = 0.5;
/// Draws for each placebo release, before the history is said to have no place for one.
const TRIES: usize = 200;
/// Events of starts that procedure N needs beside the one that is judged; with fewer nothing is compared with them.
pub(super) const OTHER_EVENTS_MIN: usize = 3;
/// Stream of the draws that choose; streams of runs follow.
const CHOOSING: u64 = 0;

/// A release that never was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placebo {
    /// The interval in which it starts.
    pub(super) start: usize,
    /// Units that play the canary.
    pub(super) canary: Vec<usize>,
    /// Units beside it.
    pub(super) baseline: Vec<usize>,
    /// The event whose pods the canary is, left out of the births it is compared with.
    pub(super) event: Option<String>,
}

/// All placebo releases of a backtest.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) placebos: Vec<Placebo>,
    pub(super) is_births: bool,
    /// Releases that share no interval, at most so many of them fit side by side.
    pub(super) disjoint: usize,
}

/// Returns the source of the draws of one run.
pub(super) fn chance(seed: u64, run: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(CHOOSING + 1 + run as u64);
    rng
}

/// Chooses.
///
/// # Errors
/// [`Stopped::Unfit`] where the history has no place for a release of the plan.
pub(super) fn choose(plan: &Plan, history: &History) -> Result<Chosen, Stopped> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    rng.set_stream(CHOOSING);
    let fit: Vec<&Start> =
        history.starts.iter().filter(|start| start.pods.len() >= plan.canary_hosts).collect();
    let is_births = match plan.placebos {
        PlaceboKind::Auto => fit.len() > OTHER_EVENTS_MIN,
        PlaceboKind::Splits => false,
        PlaceboKind::Births => true,
    };
    if is_births { births(plan, history, &fit, &mut rng) } else { splits(plan, history, &mut rng) }
}

fn splits(plan: &Plan, history: &History, rng: &mut ChaCha8Rng) -> Result<Chosen, Stopped> {
    let (n_pre, n_release) = (plan.n_pre(), plan.n_release());
    let least = plan.canary_hosts + 1;
    if history.units.len() < least {
        let named = history.units.join(", ");
        let text = format!(
            "{} of the cohort's units play the canary, so at least {least} must be there; found {}{}{named}",
            plan.canary_hosts,
            history.units.len(),
            if named.is_empty() { "" } else { ": " },
        );
        return Err(Stopped::Unfit { field: "canary_hosts", text });
    }
    let Some(latest) = history.n.checked_sub(n_pre.saturating_add(n_release)) else {
        let text = format!("has {} intervals, and a release needs {}", history.n, n_pre + n_release);
        return Err(Stopped::Unfit { field: "range", text });
    };
    let presence = history.presence();
    let seen = |unit: usize, from: usize, to: usize| presence[unit][to] - presence[unit][from];
    let fits = |unit: usize, start: usize| {
        let release = seen(unit, start, start + n_release);
        let before = seen(unit, start - n_pre, start);
        f64::from(release) >= PRESENT_MIN * n_release as f64
            && f64::from(before) >= PRESENT_BEFORE_MIN * n_pre as f64
    };
    let mut placebos = Vec::with_capacity(plan.runs);
    let mut tries = 0;
    while placebos.len() < plan.runs {
        if tries == TRIES * plan.runs {
            let text = format!(
                "nowhere in it were {least} units there for {n_release} intervals and half of the {n_pre} before, as \
                 a release with {} canary units needs; take another range, fewer canary_hosts or a shorter pre_period",
                plan.canary_hosts
            );
            return Err(Stopped::Unfit { field: "range", text });
        }
        tries += 1;
        let start = n_pre + rng.random_range(0..=latest);
        let mut units: Vec<usize> = (0..history.units.len()).filter(|unit| fits(*unit, start)).collect();
        if units.len() < least {
            continue;
        }
        let mut canary: Vec<usize> =
            (0..plan.canary_hosts).map(|_| units.swap_remove(rng.random_range(0..units.len()))).collect();
        canary.sort_unstable();
        // Those that come or go meanwhile belong to the baseline, as in a release.
        let baseline = (0..history.units.len())
            .filter(|unit| !canary.contains(unit) && seen(*unit, start - n_pre, start + n_release) > 0)
            .collect();
        placebos.push(Placebo { start, canary, baseline, event: None });
    }
    let disjoint = (history.n - n_pre) / n_release.max(1);
    Ok(Chosen { placebos, is_births: false, disjoint })
}

/// Each event's pods in turn, other pods of it each time, until there are as many as wanted or no other choice is left.
fn births(plan: &Plan, history: &History, fit: &[&Start], rng: &mut ChaCha8Rng) -> Result<Chosen, Stopped> {
    let n_release = plan.n_release();
    if fit.len() <= OTHER_EVENTS_MIN {
        let text = format!(
            "{} earlier starts of {} or more pods at once that lived as long as a release, beside two settled ones of \
             their version, lie in it; {} are needed, so that each has others to be compared with",
            fit.len(),
            plan.canary_hosts,
            OTHER_EVENTS_MIN + 1,
        );
        return Err(Stopped::Unfit { field: "range", text });
    }
    let mut known: BTreeSet<(usize, Vec<usize>)> = BTreeSet::new();
    let mut placebos = Vec::new();
    let mut idle = 0;
    for turn in 0.. {
        if placebos.len() == plan.runs || idle >= TRIES.max(fit.len()) {
            break;
        }
        let event = turn % fit.len();
        let start = fit[event];
        let mut pods: Vec<usize> = (0..start.pods.len()).collect();
        let mut picked: Vec<usize> =
            (0..plan.canary_hosts).map(|_| pods.swap_remove(rng.random_range(0..pods.len()))).collect();
        picked.sort_unstable();
        if !known.insert((event, picked.clone())) {
            idle += 1;
            continue;
        }
        idle = 0;
        let canary: Vec<usize> = picked.iter().map(|idx| start.pods[*idx].0).collect();
        let peers: BTreeSet<usize> =
            picked.iter().flat_map(|idx| start.pods[*idx].1.iter().copied()).collect();
        let at = (start.at_ms - history.start_ms).div_euclid(history.step_ms);
        let Some(at) = usize::try_from(at).ok().filter(|at| at + n_release <= history.n) else { continue };
        placebos.push(Placebo {
            start: at,
            baseline: peers.into_iter().filter(|unit| !canary.contains(unit)).collect(),
            canary,
            event: Some(start.event.clone()),
        });
    }
    if placebos.is_empty() {
        let text = "no start of a pod lies so far from its end that a whole release follows".to_owned();
        return Err(Stopped::Unfit { field: "range", text });
    }
    Ok(Chosen { placebos, is_births: true, disjoint: fit.len() })
}
