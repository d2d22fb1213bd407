//! Mean checks, and counts too large for the binomial: procedure M on a series of differences.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::policy::{Amount, Check, Harm};
use crate::stats::boundary::Boundary;
use crate::stats::hosts::{Hosts, NU_GO, NU_MIN};
use crate::stats::means::{FIRST_LOOK, GO_HISTORY_MIN, Means, MeansLook, Sieve, median};
use crate::verdict::{Effect, Measure, Sizes, UnitValue, Values};

use super::check::{Budget, Direction, Lack, Outcome, directions, rescaled};
use super::counts::CountCells;
use super::data::Series;
use super::grid::{Cells, Grid, Stretch, align_pre};
use super::hosts;
use super::scale::Scale;

mod foretell;

/// A series of differences tested for a shift, in one direction or both.
#[derive(Clone, Debug)]
pub(super) struct ShiftTest {
    sides: Vec<(Direction, Means)>,
    levels: Arc<Boundary>,
    shown: Arc<Boundary>,
    go_levels: Arc<Boundary>,
    /// Intervals of the release that must show their own noise before it is believed.
    settled: usize,
    later: Vec<Later>,
}

/// The same test for what is so since a later interval: a step or a leak inside of a phase is thinned by what lies
/// before it, all the more the longer that is.
#[derive(Clone, Debug)]
struct Later {
    /// Present intervals of the release that it leaves out.
    from: usize,
    levels: Arc<Boundary>,
}

/// Quarters of the phase after which [`Later`] tests begin: not before the release has shown its own noise.
const LATER: [usize; 2] = [2, 3];

/// Part of the budget that each of them has. It costs the test since the release a point of power or two.
const LATER_PART: f64 = 0.05;

/// Looks of a phase below which nothing is tested from later on.
const LATER_LOOKS_MIN: usize = 20;

/// Intervals that must have passed since then: fewer do not show their noise.
const LATER_SEEN: usize = 10;

/// Intervals after which a release has shown its own noise, where nothing else tells how that changed.
const SETTLED: usize = 15;

/// What the variance is taken to have grown by until then: a release that is three times as noisy as before is not
/// refused for that, and one that is worse by far is refused before. With the noise of the history from the
/// first interval on, noise that tripled refuses one good release in twenty-five at a level of one in a thousand.
const UNSHOWN_NOISE: f64 = 9.0;

/// Intervals before which nothing is refused then: a history without any scatter knows no noise.
const SEEN: usize = 5;

/// What a [`ShiftTest`] is asked at a look; sizes are positive in the direction of harm.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// Differences since the phase began, NaN where missing or warming up.
    pub(super) values: &'a [f64],
    /// Known change of the variance since an interval; 1 for none.
    pub(super) noise: &'a dyn Fn(usize) -> f64,
    /// Whether units changed in a way whose noise is unknown.
    pub(super) is_unsettled: bool,
    pub(super) tolerated: [f64; 2],
    pub(super) margin: Option<[f64; 2]>,
    /// Whether anyone reads estimate, limits and time left; the decision needs none of them.
    pub(super) is_shown: bool,
}

/// What a [`ShiftTest`] answers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) p_harm: f64,
    pub(super) level: f64,
    pub(super) is_harm_crossed: bool,
    pub(super) p_go: Option<f64>,
    pub(super) level_go: f64,
    pub(super) is_recent_beyond: bool,
    pub(super) is_faded: bool,
    pub(super) estimate: Option<f64>,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) information: f64,
    pub(super) looks_left: Option<(usize, usize)>,
    /// The interval since which harm is shown, where the release as a whole does not show it; estimate and limits
    /// are then of what is since.
    pub(super) since: Option<usize>,
}

const RECENT: usize = 10;

impl ShiftTest {
    /// - `make`: prepares the history for a direction's sign.
    /// - `n_tests`: how many tests share the check's budget.
    pub(super) fn new(harm: Harm, budget: &Budget, n_tests: f64, make: impl Fn(f64) -> Means) -> Self {
        let sides: Vec<_> = directions(harm).iter().map(|one| (*one, make(one.sign()))).collect();
        let parts = n_tests * sides.len() as f64;
        let n_looks = budget.n_looks;
        let has_later = n_looks >= LATER_LOOKS_MIN && sides[0].1.n_history() >= GO_HISTORY_MIN;
        let first = |quarters: usize| Later {
            from: n_looks * quarters / 4,
            levels: Boundary::shared(budget.alpha * LATER_PART / parts, n_looks - n_looks * quarters / 4),
        };
        let later: Vec<Later> = if has_later { LATER.map(first).to_vec() } else { Vec::new() };
        Self {
            sides,
            levels: budget.part(parts / (1.0 - LATER_PART * later.len() as f64)),
            shown: budget.part(1.0),
            go_levels: budget.go(),
            settled: 0,
            later,
        }
    }

    /// Lets the release show its own noise before it refuses, where nothing else tells how that changed.
    pub(super) fn without_known_noise(self) -> Self {
        // A phase too short for that believes its second half.
        Self { settled: SETTLED.min(self.levels.n_looks().div_ceil(2)), ..self }
    }

    /// Tells whether a look may refuse.
    fn has_seen_enough(&self, t: usize) -> bool {
        t >= SEEN.min(self.settled)
    }

    /// By what the variance may have grown at a look without having been seen to.
    fn unshown(&self, t: usize) -> f64 {
        if t < self.settled { UNSHOWN_NOISE } else { 1.0 }
    }

    pub(super) fn n_history(&self) -> usize {
        self.sides[0].1.n_history()
    }

    pub(super) fn look(&self, question: &Question<'_>) -> Answer {
        let t = question.values.iter().filter(|value| value.is_finite()).count();
        let (level, shown) = (self.levels.nominal(t), self.shown.nominal(t));
        let mut answer = Answer {
            p_harm: 1.0,
            level: shown,
            is_harm_crossed: false,
            p_go: question.margin.map(|_| 0.0),
            level_go: self.go_levels.nominal(t),
            is_recent_beyond: question.margin.is_none(),
            is_faded: false,
            estimate: None,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            information: 0.0,
            looks_left: question.margin.map(|_| (0, 0)),
            since: None,
        };
        for (idx, (direction, means)) in self.sides.iter().enumerate() {
            let sign = direction.sign();
            let values: Vec<f64> = question.values.iter().map(|value| sign * value).collect();
            let noise = (question.noise)(0);
            let look = means.look(&values, noise * self.unshown(t));
            let p = look.p_harm(question.tolerated[idx]);
            let may_refuse = self.has_seen_enough(t) && !(question.is_unsettled && t < FIRST_LOOK);
            answer.is_harm_crossed |= may_refuse && p <= level && level > 0.0;
            answer.p_harm = answer.p_harm.min(if may_refuse { rescaled(p, level, shown) } else { 1.0 });
            if idx == 0 && question.is_shown {
                answer.show(sign, &look, level);
            }
            if let (Some(margin), Some(p_go)) = (question.margin, answer.p_go) {
                answer.p_go = Some(p_go.max(look.p_go(margin[idx])));
                answer.is_recent_beyond |= is_beyond(&values, means.history_mean(), margin[idx]);
                answer.is_faded |= has_faded(&values, means.history_mean(), margin[idx]);
                // The noise that it will have shown by then.
                let left = || match self.unshown(t) {
                    1.0 => self.looks_left(&look, margin[idx], t),
                    _ => self.looks_left(&means.look(&values, noise), margin[idx], t),
                };
                let left = question.is_shown.then(left).flatten();
                answer.looks_left = (answer.looks_left.zip(left)).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1)));
            }
            if may_refuse && !answer.is_harm_crossed {
                self.look_later(&mut answer, (sign, means), &values, question, question.tolerated[idx]);
            }
        }
        answer
    }

    /// Looks at what is so since later intervals, where the whole does not show harm.
    fn look_later(
        &self,
        answer: &mut Answer,
        (sign, means): (f64, &Means),
        values: &[f64],
        question: &Question<'_>,
        tolerated: f64,
    ) {
        let t = values.iter().filter(|value| value.is_finite()).count();
        for (from, level) in self.laters(values, t) {
            let noise = (question.noise)(from) * self.unshown(t);
            if !means.may_cross_since(values, from, noise, tolerated, level) {
                continue;
            }
            let look = means.look_since(values, from, noise);
            let p = look.p_harm(tolerated);
            answer.p_harm = answer.p_harm.min(rescaled(p, level, answer.level));
            if p <= level && !answer.is_harm_crossed {
                answer.is_harm_crossed = true;
                answer.since = Some(from);
                if question.is_shown {
                    answer.show(sign, &look, level);
                }
            }
        }
    }

    /// Lists the later tests that have begun: each with its first interval and its level.
    fn laters(&self, values: &[f64], t: usize) -> impl Iterator<Item = (usize, f64)> {
        let begun = self.later.iter().filter(move |later| t >= later.from + LATER_SEEN);
        begun.filter_map(move |later| {
            let present = || values.iter().enumerate().filter(|(_, value)| value.is_finite());
            let (from, _) = present().nth(later.from)?;
            let level = later.levels.nominal(t - later.from);
            (level > 0.0).then_some((from, level))
        })
    }

    fn looks_left(&self, look: &MeansLook, margin: f64, t: usize) -> Option<(usize, usize)> {
        let n = self.go_levels.n_looks();
        let estimate = look.estimate()?;
        let first = |shift: f64| {
            let is_enough = |later: usize| {
                look.p_go_later(margin, shift, later as f64 / t as f64) <= self.go_levels.nominal(later)
            };
            if t >= n || !is_enough(n) {
                return None;
            }
            let (mut short, mut enough) = (t, n);
            while enough - short > 1 {
                let middle = usize::midpoint(short, enough);
                if is_enough(middle) { enough = middle } else { short = middle }
            }
            Some(enough - t)
        };
        let low = first(estimate - look.standard_error())?;
        Some((low, first(estimate).unwrap_or(n - t)))
    }

    /// Runs the harm side over a stretch of the history of `values`, as if a release had begun at `start`.
    pub(super) fn placebo_alarm(&self, values: &[f64], start: usize, tolerated: [f64; 2]) -> bool {
        (self.sides.iter().enumerate()).any(|(idx, (direction, _))| {
            let signed: Vec<f64> = values.iter().map(|value| direction.sign() * value).collect();
            // The guards are cheap and nearly always say no; the rest is prepared when they do not.
            let sieve = Sieve::new(&signed[..start], self.levels.n_looks());
            let mut means = None;
            let end = (start + self.levels.n_looks()).min(signed.len());
            let mut t = 0;
            (start..end).any(|now| {
                t += usize::from(signed[now].is_finite());
                let release = &signed[start..=now];
                let noise = self.unshown(t);
                let whole = std::iter::once((0, self.levels.nominal(t)));
                let mut tests = whole.chain(self.laters(release, t));
                self.has_seen_enough(t)
                    && tests.any(|(from, level)| {
                        sieve.may_cross(&release[from..], noise, tolerated[idx], level) && {
                            let means = means.get_or_insert_with(|| Means::new(&signed[..start]));
                            means.look_since(release, from, noise).p_harm(tolerated[idx]) <= level
                        }
                    })
            })
        })
    }
}

impl Answer {
    /// Shows what a look says in one direction: an estimate, and limits at a level.
    fn show(&mut self, sign: f64, look: &MeansLook, level: f64) {
        let (low, high) = look.interval(level);
        (self.low, self.high) = if sign > 0.0 { (low, high) } else { (-high, -low) };
        self.estimate = look.estimate().map(|estimate| sign * estimate);
        self.information = look.information();
    }
}

pub(super) fn mean_of<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

/// Tells whether the last ten intervals lie beyond the margin.
pub(super) fn is_beyond(values: &[f64], usual: f64, margin: f64) -> bool {
    let recent = values.iter().rev().filter(|value| value.is_finite()).take(RECENT);
    mean_of(recent) - usual > margin
}

/// Tells whether the first ten intervals lay beyond the margin and the last ten lie below half of it.
pub(super) fn has_faded(values: &[f64], usual: f64, margin: f64) -> bool {
    let present = || values.iter().filter(|value| value.is_finite());
    if present().count() < 2 * RECENT {
        return false;
    }
    let first = mean_of(present().take(RECENT)) - usual;
    let last = mean_of(present().rev().take(RECENT)) - usual;
    first > margin && last < 0.5 * margin
}

/// A check on means under way.
#[derive(Clone, Debug)]
pub(super) struct MeanCheck {
    harm: Harm,
    tolerated: Amount,
    margin: Option<Amount>,
    budget: Budget,
    /// History by host (or one stand-in host for counts) and side.
    pre: [IndexMap<String, Cells<f64>>; 2],
    /// What `1/n` was in the history, for counted things.
    pre_noise: Option<f64>,
    has_history: [bool; 2],
    scale: Scale,
    test: ShiftTest,
    /// Differences of the history.
    pre_values: Vec<f64>,
    /// Differences of the release, as of the last look.
    values: Vec<f64>,
    /// Whether single hosts have bursts in their history: then the hosts must show harm as well.
    has_bursts: bool,
    /// Whether hosts are the unit: where nothing has a history and there are enough of them, as of the first look
    /// that had both sides.
    is_by_hosts: Option<bool>,
    /// Whether nobody reads what a look shows beside its decision.
    pub(super) is_quiet: bool,
    unit: &'static str,
}

/// The run's data of a [`MeanCheck`]: values by host and side, and for counted things `1/n` an interval.
#[derive(Clone, Debug, Default)]
pub(super) struct MeanRun {
    pub(super) hosts: [IndexMap<String, Cells<f64>>; 2],
    /// Pods of the old version that started together with the canary.
    pub(super) fresh: IndexMap<String, Cells<f64>>,
    pub(super) inverse_n: Option<Vec<f64>>,
    /// Whether the baseline is what the canary's units did before: no host of it can be compared.
    pub(super) is_before: bool,
}

/// Places the series of one side by instance.
pub(super) fn of_hosts(stretch: Stretch<'_>, series: &[Series]) -> IndexMap<String, Cells<f64>> {
    series.iter().map(|one| (one.instance.clone(), stretch.series(one))).collect()
}

/// Turns counts into the interval's shares, one stand-in host a side.
pub(super) fn shares(sides: &[CountCells; 2]) -> MeanRun {
    let share = |cells: &CountCells| -> IndexMap<String, Cells<f64>> {
        let values = cells.iter().map(|cell| cell.filter(|(_, n)| *n > 0.0).map(|(x, n)| x / n)).collect();
        IndexMap::from([(String::new(), values)])
    };
    let inverse = sides[0].iter().zip(&sides[1]).map(|pair| match pair {
        (Some((_, baseline)), Some((_, canary))) if *baseline > 0.0 && *canary > 0.0 => {
            1.0 / baseline + 1.0 / canary
        }
        _ => f64::NAN,
    });
    MeanRun {
        inverse_n: Some(inverse.collect()),
        hosts: [share(&sides[0]), share(&sides[1])],
        ..MeanRun::default()
    }
}

impl MeanCheck {
    pub(super) fn new(check: &Check, budget: Budget, pre: MeanRun, unit: &'static str) -> Self {
        let MeanRun { hosts: mut sides, inverse_n, is_before, .. } = pre;
        let [baseline, canary] = &mut sides;
        align_pre(&mut baseline.values_mut().chain(canary.values_mut()).collect::<Vec<_>>());
        let has_history = [0, 1].map(|side| n_present(&sides[side]) > 0);
        let margin = check.margin.as_ref().map(|margin| margin.amount);
        let mut new = Self {
            harm: check.harm,
            tolerated: check.tolerated,
            margin,
            test: ShiftTest::new(check.harm, &budget, 1.0, |_| Means::without_history()),
            budget,
            pre_noise: inverse_n.map(|values| mean_of(values.iter().filter(|value| value.is_finite()))),
            has_history,
            scale: Scale::Linear,
            pre: sides,
            pre_values: Vec::new(),
            values: Vec::new(),
            has_bursts: false,
            is_by_hosts: None,
            is_quiet: false,
            unit,
        };
        if has_history[0] {
            new.scale = new.scale_of([&new.pre[0], &new.pre[1]]);
        }
        if has_history == [true, true] {
            let n = new.pre.iter().flat_map(IndexMap::values).map(Vec::len).max().unwrap_or(0);
            new.pre_values = new.differences(&new.pre, n);
            let values = &new.pre_values;
            new.test = ShiftTest::new(check.harm, &new.budget, 1.0, |sign| {
                Means::new(&values.iter().map(|value| sign * value).collect::<Vec<_>>())
            });
            if new.pre_noise.is_none() {
                new.test = new.test.without_known_noise();
                new.has_bursts = !is_before && has_bursts(&new.pre, new.harm);
            }
        }
        new
    }

    fn scale_of(&self, sides: [&IndexMap<String, Cells<f64>>; 2]) -> Scale {
        let values = sides.into_iter().flat_map(IndexMap::values).flatten().flatten();
        Scale::choose(self.margin, self.tolerated, values.copied())
    }

    /// Averages a side's hosts interval by interval, each host less its own mean in the history, so that
    /// a host which comes or goes does not bring its standing difference into the mean.
    fn side(&self, side: usize, hosts: &IndexMap<String, Cells<f64>>, n: usize) -> Vec<f64> {
        const OWN_MIN: usize = 10;
        let pre_mean = |cells: &Cells<f64>| {
            let values: Vec<f64> = cells.iter().flatten().map(|value| self.scale.apply(*value)).collect();
            (values.len() >= OWN_MIN).then(|| mean_of(values.iter()))
        };
        let pre: IndexMap<&str, f64> = (self.pre[side].iter())
            .filter_map(|(name, cells)| Some((name.as_str(), pre_mean(cells)?)))
            .collect();
        let level = if pre.is_empty() { 0.0 } else { mean_of(pre.values()) };
        let (mut sums, mut counts) = (vec![0.0; n], vec![0.0; n]);
        for (name, cells) in hosts {
            let own = pre.get(name.as_str()).copied().unwrap_or(level);
            for (idx, value) in cells.iter().enumerate().take(n) {
                if let Some(value) = value {
                    sums[idx] += self.scale.apply(*value) - own;
                    counts[idx] += 1.0;
                }
            }
        }
        // No host present divides zero by zero: missing.
        sums.iter().zip(counts).map(|(sum, count)| sum / count + level).collect()
    }

    fn differences(&self, sides: &[IndexMap<String, Cells<f64>>; 2], n: usize) -> Vec<f64> {
        let (baseline, canary) = (self.side(0, &sides[0], n), self.side(1, &sides[1], n));
        baseline.iter().zip(canary).map(|(baseline, canary)| canary - baseline).collect()
    }

    fn sizes(&self, amount: Amount, baseline_mean: f64) -> [f64; 2] {
        self.scale.sizes(self.harm, amount, baseline_mean)
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, run: &MeanRun) -> Outcome {
        let n = i + 1;
        if !self.has_history[0] {
            self.scale = self.scale_of([&warm(grid, &run.hosts[0], n), &warm(grid, &run.hosts[1], n)]);
        }
        let n_hosts = [0, 1].map(|side| {
            run.hosts[side].values().filter(|cells| cells.iter().take(n).any(Option::is_some)).count()
        });
        let mut values = self.differences(&run.hosts, n);
        for (idx, value) in values.iter_mut().enumerate().filter(|(idx, _)| !grid.is_warm(*idx)) {
            debug_assert!(idx < n);
            *value = f64::NAN;
        }
        let t = values.iter().filter(|value| value.is_finite()).count();
        let means = [0, 1].map(|side| plain_mean(grid, &run.hosts[side], n));
        let mut outcome = Outcome {
            t,
            is_present: values.last().is_some_and(|value| value.is_finite()),
            has_baseline: means[0].is_some(),
            has_canary: means[1].is_some(),
            method: self.method(),
            ..Outcome::default()
        };
        if t > 0 {
            let enough = (n_hosts[0] + n_hosts[1]) as f64 >= NU_MIN + 2.0;
            let is_without = self.has_history != [true, true];
            if *self.is_by_hosts.get_or_insert(enough && is_without && run.inverse_n.is_none()) {
                outcome.method = "H: hosts as the unit, a t test of their means since the start";
                self.host_outcome(&mut outcome, grid, run, (means, n));
            } else {
                self.test_outcome(&mut outcome, run, &values, means, n_hosts);
                if self.has_bursts {
                    self.hold_to_hosts(&mut outcome, grid, run, n);
                }
            }
            outcome.units = units(grid, run, n);
        }
        self.values = values;
        outcome
    }

    pub(super) fn harm(&self) -> Harm {
        self.harm
    }

    /// Tells whether single hosts have bursts, so that their means alone show nothing.
    pub(super) fn has_bursts(&self) -> bool {
        self.has_bursts
    }

    /// Returns the differences of the history; empty without one of both sides.
    pub(super) fn pre_values(&self) -> &[f64] {
        &self.pre_values
    }

    /// Returns the differences of the release as of the last look, NaN where missing.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    fn test_outcome(
        &self,
        outcome: &mut Outcome,
        run: &MeanRun,
        values: &[f64],
        means: [Option<f64>; 2],
        n_hosts: [usize; 2],
    ) {
        let t = outcome.t;
        let noise = |from: usize| {
            let (inverse, before) = run.inverse_n.as_ref().zip(self.pre_noise)?;
            let since = inverse.iter().zip(values).skip(from);
            let noise = mean_of(since.filter(|(_, value)| value.is_finite()).map(|(one, _)| one)) / before;
            Some(noise).filter(|noise| *noise > 0.0 && noise.is_finite())
        };
        let baseline_mean = match n_present(&self.pre[0]) {
            0 => means[0].unwrap_or(0.0),
            _ => mean_of(self.pre[0].values().flatten().flatten()),
        };
        let is_unsettled = run.inverse_n.as_ref().zip(self.pre_noise).is_none()
            && self.has_history == [true, true]
            && [0, 1].into_iter().any(|side| n_hosts[side] != self.pre[side].len());
        let answer = self.test.look(&Question {
            values,
            noise: &|from| noise(from).unwrap_or(1.0),
            is_unsettled,
            tolerated: self.sizes(self.tolerated, baseline_mean),
            margin: self.margin.map(|margin| self.sizes(margin, baseline_mean)),
            is_shown: !self.is_quiet,
        });
        outcome.p_harm = Some(answer.p_harm);
        outcome.level = Some(answer.level);
        outcome.is_harm_crossed = answer.is_harm_crossed;
        outcome.p_go = answer.p_go;
        outcome.level_go = answer.p_go.map(|_| answer.level_go);
        outcome.is_go_crossed = answer.p_go.is_some_and(|p| p <= answer.level_go);
        outcome.is_recent_beyond = answer.is_recent_beyond;
        outcome.is_faded = answer.is_faded;
        outcome.harm_since = answer.since;
        outcome.looks_left = answer.looks_left;
        outcome.spent = self.budget.part(1.0).spent(t);
        outcome.n = Sizes { baseline: t as f64, canary: t as f64, effective: answer.information };
        outcome.values = Some(Values { baseline: means[0], canary: means[1], unit: self.unit });
        outcome.effect = Some(self.effect(&answer));
        let have = self.test.n_history();
        outcome.lack = (have < GO_HISTORY_MIN).then_some(Lack::History { have, need: GO_HISTORY_MIN });
    }

    /// Where single hosts have bursts, asks in addition that the hosts show harm, each held to its own history: one host's
    /// burst is one host's.
    fn hold_to_hosts(&self, outcome: &mut Outcome, grid: &Grid, run: &MeanRun, n: usize) {
        let (Some(p_harm), Some(shown)) = (outcome.p_harm, outcome.level) else { return };
        let since =
            |side: usize| self.host_means(grid, &run.hosts[side], n, outcome.t, Some(&self.pre[side]));
        let Some(hosts) = Hosts::new(&since(0), &since(1)) else { return };
        let baseline_mean = mean_of(self.pre[0].values().flatten().flatten());
        let tolerated = self.sizes(self.tolerated, baseline_mean);
        let sides = directions(self.harm);
        let p = (sides.iter().enumerate())
            .map(|(idx, one)| hosts.p_harm(one.sign(), tolerated[idx]))
            .fold(1.0, f64::min);
        let level = self.budget.part(sides.len() as f64).nominal(outcome.t);
        let may_decide = outcome.is_present && hosts.may_decide(outcome.t, self.budget.n_looks);
        outcome.is_harm_crossed &= may_decide && p <= level;
        outcome.harm_since = outcome.harm_since.filter(|_| outcome.is_harm_crossed);
        outcome.p_harm = Some(if may_decide { p_harm.max(rescaled(p, level, shown)) } else { 1.0 });
        outcome.method = "M: shift of the mean, and H: hosts as the unit, since single hosts have bursts";
    }

    /// Compares hosts' means: procedure H.
    fn host_outcome(
        &self,
        outcome: &mut Outcome,
        grid: &Grid,
        run: &MeanRun,
        (means, n): ([Option<f64>; 2], usize),
    ) {
        let t = outcome.t;
        outcome.values = Some(Values { baseline: means[0], canary: means[1], unit: self.unit });
        outcome.n = Sizes { baseline: t as f64, canary: t as f64, effective: 0.0 };
        let side = |side: usize| self.host_means(grid, &run.hosts[side], n, t, None);
        let Some(hosts) = Hosts::new(&side(0), &side(1)) else { return };
        let may_decide = outcome.is_present && hosts.may_decide(t, self.budget.n_looks);
        let baseline_mean = means[0].unwrap_or(0.0);
        let question = hosts::Question {
            harm: self.harm,
            n_tests: 1.0,
            t,
            may_decide,
            tolerated: self.sizes(self.tolerated, baseline_mean),
            margin: self.margin.map(|margin| self.sizes(margin, baseline_mean)),
        };
        let answer = hosts::answer(&hosts, &self.budget, &question);
        outcome.is_harm_crossed = answer.is_harm_crossed;
        outcome.p_harm = Some(answer.p_harm);
        outcome.level = Some(answer.level);
        outcome.spent = self.budget.part(1.0).spent(t);
        outcome.n.effective = answer.information;
        outcome.is_recent_beyond = answer.is_recent_beyond;
        outcome.p_go = answer.p_go;
        outcome.level_go = answer.p_go.map(|_| answer.level_go);
        outcome.is_go_crossed = may_decide && answer.p_go.is_some_and(|p| p <= answer.level_go);
        outcome.effect = Some(self.effect(&answer));
        outcome.lack =
            (hosts.nu < NU_GO).then_some(Lack::History { have: self.test.n_history(), need: GO_HISTORY_MIN });
    }

    /// Averages each host that was there in half of the intervals, less its own history's mean where one is given.
    fn host_means(
        &self,
        grid: &Grid,
        hosts: &IndexMap<String, Cells<f64>>,
        n: usize,
        t: usize,
        pre: Option<&IndexMap<String, Cells<f64>>>,
    ) -> Vec<f64> {
        let usual = |name: &str| {
            let cells = pre.map(|pre| pre.get(name));
            cells.map_or(0.0, |cells| {
                let values = cells.into_iter().flatten().flatten().map(|value| self.scale.apply(*value));
                mean_of(values.collect::<Vec<_>>().iter())
            })
        };
        let mean = |(name, cells): (&String, &Cells<f64>)| {
            let values = warm_values(grid, cells, n).map(|value| self.scale.apply(value));
            let values: Vec<f64> = values.collect();
            (2 * values.len() >= t && !values.is_empty()).then(|| mean_of(values.iter()) - usual(name))
        };
        // A host without a history of its own has nothing to be held to.
        hosts.iter().filter_map(mean).filter(|mean| mean.is_finite()).collect()
    }

    fn unit_of_effect(&self) -> (&'static str, Measure) {
        match self.scale {
            Scale::Linear => (self.unit, Measure::Difference),
            Scale::Log { .. } => ("ratio", Measure::Relative),
        }
    }

    fn effect(&self, answer: &Answer) -> Effect {
        let (unit, measure) = self.unit_of_effect();
        let shown = |difference| self.scale.shown(difference);
        Effect {
            estimate: answer.estimate.map(shown),
            low: Some(answer.low).filter(|low| low.is_finite()).map(shown),
            high: Some(answer.high).filter(|high| high.is_finite()).map(shown),
            unit,
            measure,
        }
    }

    fn method(&self) -> &'static str {
        match (self.has_history, self.test.n_history()) {
            ([true, true], n) if n > 0 => {
                "M: shift of the mean, t averaged over unknown memory, guarded by placebo windows of the history"
            }
            _ => "M: shift of the mean, t averaged over unknown memory, without history",
        }
    }

    /// Tells whether a placebo release at `start` of the history alarms.
    pub(super) fn placebo_alarm(&self, start: usize) -> bool {
        let baseline_mean = mean_of(self.pre[0].values().flatten().flatten());
        self.test.placebo_alarm(&self.pre_values, start, self.sizes(self.tolerated, baseline_mean))
    }

    /// Returns the number of intervals of the history in which placebo releases can lie.
    pub(super) fn n_placebo(&self) -> usize {
        self.pre_values.len()
    }
}

/// Tells whether a host has a burst in its history in a direction of harm: five intervals in a row more than four robust
/// standard deviations off its usual place among the hosts. A day of minutes with memory 0.9 has one by chance once in
/// fifty hosts. Where hosts are too few for H nothing is asked.
fn has_bursts(pre: &[IndexMap<String, Cells<f64>>; 2], harm: Harm) -> bool {
    let hosts: Vec<&Cells<f64>> = pre.iter().flat_map(IndexMap::values).collect();
    if (hosts.len() as f64) < NU_MIN + 2.0 {
        return false;
    }
    let n = hosts.iter().map(|cells| cells.len()).max().unwrap_or(0);
    // What all hosts have in common, such as a daily peak, is no burst of one.
    let common: Vec<f64> = (0..n)
        .map(|idx| median(&hosts.iter().filter_map(|cells| *cells.get(idx)?).collect::<Vec<_>>()))
        .collect();
    let own = |cells: &Cells<f64>| -> Vec<f64> {
        cells
            .iter()
            .zip(&common)
            .map(|(cell, common)| cell.map_or(f64::NAN, |value| value - common))
            .collect()
    };
    hosts.iter().any(|cells| has_burst(&own(cells), harm))
}

fn has_burst(values: &[f64], harm: Harm) -> bool {
    const IN_A_ROW: usize = 5;
    const FAR: f64 = 4.0 * 1.4826;
    let present: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let centre = median(&present);
    let far = FAR * median(&present.iter().map(|value| (value - centre).abs()).collect::<Vec<_>>());
    directions(harm).iter().any(|direction| {
        let is_far = |value: &f64| direction.sign() * (value - centre) > far;
        far > 0.0 && values.windows(IN_A_ROW).any(|some| some.iter().all(is_far))
    })
}

pub(super) fn n_present(hosts: &IndexMap<String, Cells<f64>>) -> usize {
    hosts.values().flatten().flatten().count()
}

fn warm(grid: &Grid, hosts: &IndexMap<String, Cells<f64>>, n: usize) -> IndexMap<String, Cells<f64>> {
    let keep = |cells: &Cells<f64>| {
        cells.iter().take(n).enumerate().map(|(idx, value)| value.filter(|_| grid.is_warm(idx))).collect()
    };
    hosts.iter().map(|(name, cells)| (name.clone(), keep(cells))).collect()
}

/// Yields the values of one host after warm-up.
fn warm_values<'a>(grid: &'a Grid, cells: &'a Cells<f64>, n: usize) -> impl Iterator<Item = f64> + 'a {
    cells.iter().take(n).enumerate().filter(|(idx, _)| grid.is_warm(*idx)).filter_map(|(_, value)| *value)
}

pub(super) fn plain_mean(grid: &Grid, hosts: &IndexMap<String, Cells<f64>>, n: usize) -> Option<f64> {
    let warm = hosts.values().flat_map(|cells| cells.iter().take(n).enumerate());
    let values = warm.filter(|(idx, _)| grid.is_warm(*idx)).filter_map(|(_, value)| value.as_ref());
    Some(mean_of(values)).filter(|mean| mean.is_finite())
}

pub(super) fn units(grid: &Grid, run: &MeanRun, n: usize) -> Vec<UnitValue> {
    if run.inverse_n.is_some() {
        return Vec::new();
    }
    let side = |side: usize| {
        run.hosts[side].iter().filter_map(move |(name, cells)| {
            let one = IndexMap::from([(name.clone(), cells.clone())]);
            let value = plain_mean(grid, &one, n)?;
            Some(UnitValue { unit: name.clone(), is_canary: side == 1, value })
        })
    };
    side(0).chain(side(1)).collect()
}
