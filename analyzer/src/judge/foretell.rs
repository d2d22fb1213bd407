//! What a phase will be able to show, said before it begins.
//!
//! For each check: the smallest harm that is found by the phase's last look in 80 % of cases, and how many looks an
//! unchanged release needs to go in half of them. Both come from the scatter that the history shows, put through
//! the tests of [`Analysis`]: what the phase will judge by. A shift found earlier than at the last look
//! is not counted twice, so the promise is kept or exceeded.

use indexmap::IndexMap;

use crate::policy::{Amount, Check, CheckKind, Harm, Phase, Policy, Vote};
use crate::stats::means::GO_HISTORY_MIN;
use crate::verdict::{Cause, Measure, NewPods, Reason};

use super::analysis::{Analysis, PhaseRun};
use super::check::{GO_LOOKS_MIN, Lack};
use super::data::CheckData;
use super::error::JudgeError;
use super::procedure::{CheckRun, Procedure};
use super::report::lack_of_history;
use super::users::UsualUsers;

/// The normal quantile of 80 %.
pub(super) const POWER: f64 = 0.842;

/// What is known of a release before it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Units of the canary; at least one.
    pub canary: usize,
    /// Units of the baseline beside it.
    pub baseline: usize,
    /// Pods of the old version that will start with the canary.
    pub fresh: usize,
    /// The canary's share of requests where it is declared, in (0, 1).
    pub share: Option<f64>,
}

/// What one check of a phase can be expected to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Foretold {
    /// The check's name.
    pub check: String,
    /// Its kind's word.
    pub kind: &'static str,
    /// What its result may do.
    pub vote: Vote,
    /// Which direction is harm.
    pub harm: Harm,
    /// By which procedure it will be judged.
    pub method: &'static str,
    /// The smallest harm that is found within the phase in 80 % of cases; positive.
    pub shift: Option<Size>,
    /// The margin, as the policy has it.
    pub margin: Option<Size>,
    /// Looks after which an unchanged release goes in half of the cases.
    pub go_looks: Option<usize>,
    /// With whom new pods will be compared.
    pub new_pods: Option<NewPods>,
    /// The same for each value, where there is one test a value.
    pub values: Vec<ForetoldValue>,
    /// What keeps it from going.
    pub lack: Option<Reason>,
    /// Intervals from the start after which new pods are settled: the warm-up that will be used.
    pub settled: Option<usize>,
    /// What would show smaller harm, best first.
    pub helps: Vec<Help>,
}

/// What the test of one value of a check's label can be expected to show.
#[derive(Clone, Debug, PartialEq)]
pub struct ForetoldValue {
    /// The value.
    pub value: String,
    /// As [`Foretold::shift`].
    pub shift: Option<Size>,
    /// As [`Foretold::go_looks`].
    pub go_looks: Option<usize>,
}

/// A size of harm; positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// How large, `0.1` for 10 % where it is relative.
    pub value: f64,
    /// Of the baseline, or in the check's unit.
    pub measure: Measure,
    /// The unit of an absolute size.
    pub unit: &'static str,
}

/// A change that would show smaller harm.
#[derive(Clone, Debug, PartialEq)]
pub struct Help {
    /// `fresh_pods`, `pods`, `share`, `longer` or `margin`.
    pub what: &'static str,
    /// In words.
    pub text: String,
    /// The shift that would be found with it.
    pub shift: Option<Size>,
}

/// What a procedure expects of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    pub(super) shift: Option<Size>,
    pub(super) go_looks: Option<usize>,
    pub(super) new_pods: Option<NewPods>,
    pub(super) values: Vec<ForetoldValue>,
    pub(super) lack: Option<Lack>,
    pub(super) method: &'static str,
    /// Age in intervals at which new pods are settled.
    pub(super) settled: Option<usize>,
}

/// Says what each check of a phase can be expected to show.
///
/// - `data`: by check name; only history and births are read.
///
/// Takes about a tenth of a second a check for a day of one-minute intervals, most of it for the histories of
/// distributions.
///
/// # Errors
/// [`JudgeError::Field`] if data does not fit its check's kind.
pub fn foretell(
    policy: &Policy,
    phase: &Phase,
    run: &PhaseRun,
    data: &IndexMap<String, CheckData>,
    expected: &Expected,
) -> Result<Vec<Foretold>, JudgeError> {
    let step_ms = policy.interval.millis() as f64;
    let now = Analysis::new(policy, phase, run.clone(), data)?;
    let mut all: Vec<Foretold> = now
        .checks
        .iter()
        .map(|check| foretold(check, data.get(&check.check.name), expected, step_ms))
        .collect();
    let longer = Phase { at_most: phase.at_most.times(2), ..phase.clone() };
    let long = Analysis::new(policy, &longer, run.clone(), data)?;
    for (idx, one) in all.iter_mut().enumerate() {
        let data = data.get(&one.check);
        let of = |analysis: &Analysis, expected: &Expected| {
            analysis.checks.get(idx).and_then(|check| reach(check, data, expected, step_ms).shift)
        };
        let mut helps = Vec::new();
        let mut add = |what: &'static str, text: String, shift: Option<Size>| {
            if shift.is_some_and(|shift| helps_much(one.shift, shift)) {
                helps.push(Help { what, text, shift });
            }
        };
        if one.new_pods.is_some() {
            let fresh = expected.canary.max(3);
            let more = Expected { canary: fresh, fresh, ..*expected };
            if expected.fresh < fresh {
                add("fresh_pods", format!("{fresh} canary and {fresh} fresh pods"), of(&now, &more));
            }
        }
        if one.new_pods.is_some() || expected.share.is_none() {
            let canary = 2 * expected.canary;
            add("pods", format!("{canary} canary units"), of(&now, &Expected { canary, ..*expected }));
        }
        if let Some(share) = expected.share.filter(|share| *share < 0.5) {
            let share = (2.0 * share).min(0.5);
            let more = Expected { share: Some(share), ..*expected };
            add("share", format!("a share of {} %", rounded(100.0 * share)), of(&now, &more));
        }
        add("longer", format!("a phase of {}", longer.at_most), of(&long, expected));
        helps.sort_by(|a, b| {
            let size = |help: &Help| help.shift.map_or(f64::INFINITY, |shift| shift.value);
            size(a).total_cmp(&size(b))
        });
        if let (Some(shift), Some(margin)) = (one.shift, one.margin)
            && shift.measure == margin.measure
            && shift.value > margin.value
        {
            let text = "a margin as wide as what can be found".to_owned();
            helps.push(Help { what: "margin", text, shift: Some(shift) });
        }
        one.helps = helps;
    }
    Ok(all)
}

fn helps_much(now: Option<Size>, then: Size) -> bool {
    const LEAST: f64 = 0.95;
    now.is_none_or(|now| now.measure == then.measure && then.value <= LEAST * now.value)
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn foretold(run: &CheckRun, data: Option<&CheckData>, expected: &Expected, step_ms: f64) -> Foretold {
    let reach = reach(run, data, expected, step_ms);
    let check = &run.check;
    let restless =
        run.is_restless().then_some(Cause::Restless { runs: run.placebo.runs, alarms: run.placebo.alarms });
    Foretold {
        check: check.name.clone(),
        kind: check.kind.word(),
        vote: check.vote,
        harm: check.harm,
        method: reach.method,
        shift: reach.shift,
        margin: margin(check),
        go_looks: reach.go_looks.filter(|_| check.vote != Vote::None && restless.is_none()),
        new_pods: reach.new_pods,
        values: reach.values,
        lack: restless
            .or_else(|| reach.lack.as_ref().and_then(cause_of))
            .map(|cause| Reason::of_check(&check.name, cause)),
        settled: reach.settled,
        helps: Vec::new(),
    }
}

/// Says what the whole phase will lack for a go.
fn cause_of(lack: &Lack) -> Option<Cause> {
    let what = match lack {
        Lack::Events { have, need } => format!(
            "about {have:.0} events are to be expected within the phase, of about {need:.0} that go needs"
        ),
        Lack::Trials { have, need } => format!(
            "about {have:.0} trials of the canary are to be expected within the phase, of {need:.0} that go needs"
        ),
        Lack::Values { what } => what.clone(),
        Lack::History { .. } | Lack::Births { .. } | Lack::Unsettled { .. } => return lack_of_history(lack),
    };
    Some(Cause::NotEnoughData { what })
}

fn margin(check: &Check) -> Option<Size> {
    let unit = match check.kind {
        CheckKind::Ratio { .. } => "ratio",
        CheckKind::Count { .. } => "per exposure",
        _ => "value",
    };
    Some(match check.margin.as_ref()?.amount {
        Amount::Absolute(value) => Size { value, measure: Measure::Difference, unit },
        Amount::Relative(value) => Size { value, measure: Measure::Relative, unit: "ratio" },
    })
}

/// Asks a check's procedure.
fn reach(run: &CheckRun, data: Option<&CheckData>, expected: &Expected, step_ms: f64) -> Reach {
    match &run.procedure {
        Procedure::Counts(check) => match &run.usual {
            Some(usual) => check.foretell(usual, expected),
            None => Reach { lack: Some(NO_HISTORY), ..Reach::default() },
        },
        Procedure::Means(check) => check.foretell(run.usual.as_ref(), expected),
        Procedure::Pods(check) => check.foretell(expected),
        Procedure::Scores(check) => check.foretell(expected),
        Procedure::PodScores(check) => check.foretell(expected),
        Procedure::Users(check) => {
            let usual = data.and_then(|data| UsualUsers::new(data.pre.baseline.as_ref()?));
            usual.map_or(Reach { lack: Some(NO_HISTORY), ..Reach::default() }, |usual| {
                check.foretell(&usual, expected, step_ms)
            })
        }
        Procedure::By(check) => by(check.tests(), data, expected, step_ms),
        // An exact test of what was never seen: no history is needed, and no power can be told before it is seen.
        Procedure::Patterns(check) => check.foretell(expected),
        Procedure::Composite(_) => Reach { method: "M on all mean checks together", ..Reach::default() },
    }
}

/// Nothing is known before the release: said by the reason's own words.
const NO_HISTORY: Lack = Lack::History { have: 0, need: GO_HISTORY_MIN };

/// Puts the tests of all values together: the harm that is found at the largest value, and go when the last goes.
fn by<'a>(
    tests: impl Iterator<Item = (&'a str, &'a CheckRun)>,
    data: Option<&CheckData>,
    expected: &Expected,
    step_ms: f64,
) -> Reach {
    let mut whole = Reach::default();
    let mut slowest = Some(0);
    for (value, run) in tests {
        let one = reach(run, data, expected, step_ms);
        if whole.values.is_empty() {
            (whole.shift, whole.method) = (one.shift, one.method);
        }
        slowest = slowest.zip(one.go_looks).map(|(a, b): (usize, usize)| a.max(b));
        whole.lack = whole.lack.or(one.lack);
        whole.values.push(ForetoldValue {
            value: value.to_owned(),
            shift: one.shift,
            go_looks: one.go_looks,
        });
    }
    Reach { go_looks: slowest.filter(|looks| *looks > 0), ..whole }
}

/// Finds the first look at which something holds that holds from then on.
pub(super) fn first_look(n_looks: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
    if n_looks < GO_LOOKS_MIN || !holds(n_looks) {
        return None;
    }
    let (mut short, mut enough) = (GO_LOOKS_MIN - 1, n_looks);
    while enough - short > 1 {
        let middle = usize::midpoint(short, enough);
        if holds(middle) { enough = middle } else { short = middle }
    }
    Some(enough)
}

/// Finds the least harm, as the logarithm of a ratio, whose power is 80 %.
pub(super) fn least(power: impl Fn(f64) -> f64) -> Option<f64> {
    const MOST: f64 = 9.2;
    const WANTED: f64 = 0.8;
    if power(MOST) < WANTED {
        return None;
    }
    let (mut small, mut enough) = (0.0, MOST);
    for _ in 0..40 {
        let middle = 0.5 * (small + enough);
        if power(middle) >= WANTED { enough = middle } else { small = middle }
    }
    Some(enough)
}

impl Size {
    pub(super) fn relative(value: f64) -> Self {
        Self { value, measure: Measure::Relative, unit: "ratio" }
    }
}
