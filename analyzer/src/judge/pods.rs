//! Mean checks of new pods, which have no history of their own: procedure N.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::policy::{Amount, Check, Harm};
use crate::stats::births::{Birth, Fleet, Law, Part, Pods, WITHOUT_WORST, n_worst};
use crate::stats::boundary::Boundary;
use crate::verdict::{Effect, Measure, NewPods, Sizes, Values};

use super::check::{Budget, Direction, Lack, Outcome, directions};
use super::data::BirthData;
use super::grid::{Cells, Grid};
use super::means::{MeanRun, has_faded, is_beyond, mean_of, n_present, plain_mean, units};
use super::scale::Scale;

mod foretell;

type Hosts = IndexMap<String, Cells<f64>>;

/// A mean check on new pods under way.
#[derive(Clone, Debug)]
pub(super) struct PodCheck {
    harm: Harm,
    tolerated: Amount,
    margin: Option<Amount>,
    scale: Scale,
    baseline_mean: f64,
    /// Level of each old pod relative to the others.
    levels: IndexMap<String, f64>,
    sides: Vec<Side>,
    /// Age from which the canary's pods count; `None`: births never settle within the phase.
    age: Option<usize>,
    warm_up: usize,
    /// Looks that are left once the pods have settled.
    t_max: usize,
    harm_levels: Arc<Boundary>,
    shown_levels: Arc<Boundary>,
    go_levels: Arc<Boundary>,
    alarms: (usize, usize),
    /// With whom the canary is compared; fixed when it first shows.
    part: Option<Option<Part>>,
}

/// One direction of harm.
#[derive(Clone, Debug)]
struct Side {
    direction: Direction,
    fleet: Fleet,
}

/// The release's differences so far, upwards.
struct Differences {
    /// Each pod's mean and all intervals' mean over pods.
    canary: PodMeans,
    fresh: PodMeans,
    n_old: usize,
    t: usize,
    settling: usize,
    is_present: bool,
}

#[derive(Default)]
struct PodMeans {
    pods: Vec<f64>,
    /// The same of unclipped values.
    plain: Vec<f64>,
    by_interval: Vec<f64>,
}

impl PodCheck {
    /// Prepares for new pods; `None` where the old pods' history says nothing of scatter.
    pub(super) fn new(
        check: &Check,
        budget: &Budget,
        warm_up: usize,
        pre: &Hosts,
        births: &[BirthData],
    ) -> Option<Self> {
        let margin = check.margin.as_ref().map(|margin| margin.amount);
        let values = || pre.values().flatten().flatten().copied();
        let scale = Scale::of_pods(check, values());
        let old = old_differences(pre, scale);
        let ids: Vec<&str> = births.iter().map(|birth| birth.event.as_str()).collect();
        let event_of = |event: &str| ids.iter().position(|id| *id == event).unwrap_or(0);
        let replaced = is_replaced(births, pre);
        let n_looks = budget.n_looks;
        let mut sides = Vec::new();
        for direction in directions(check.harm) {
            let sign = direction.sign();
            let signed = |values: &[f64]| values.iter().map(|value| sign * value).collect::<Vec<_>>();
            let births: Vec<Birth> = (births.iter())
                .map(|birth| Birth { event: event_of(&birth.event), d: signed(&birth.d) })
                .collect();
            let old: Vec<Vec<f64>> = old.iter().map(|pod| signed(pod)).collect();
            sides.push(Side { direction: *direction, fleet: Fleet::new(&old, &births, warm_up, replaced)? });
        }
        let ages: Vec<Option<usize>> =
            sides.iter_mut().map(|side| side.fleet.settle(warm_up, n_looks)).collect();
        let age = ages.into_iter().collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().max());
        let parts = sides.len() as f64;
        let harm_levels = budget.part(parts);
        // What is left of the looks once the pods have settled.
        let t_max = n_looks - age.map_or(0, |age| age - warm_up);
        let level = harm_levels.nominal(t_max);
        let alarms = age.map_or((0, 0), |age| {
            let alarms = sides.iter().map(|side| side.fleet.placebo_alarms(age, t_max, level));
            alarms.fold((0, 0), |sum, one| (sum.0.max(one.0), sum.1 + one.1))
        });
        Some(Self {
            harm: check.harm,
            tolerated: check.tolerated,
            margin,
            scale,
            baseline_mean: mean_of(values().collect::<Vec<_>>().iter()),
            levels: pre.keys().cloned().zip(old.iter().map(|pod| finite_mean(pod.iter()))).collect(),
            sides,
            age,
            warm_up,
            t_max,
            harm_levels,
            shown_levels: budget.part(1.0),
            go_levels: budget.go(),
            alarms,
            part: None,
        })
    }

    /// Returns births tried as a canary of one against the others, how many alarmed, and at which level.
    pub(super) fn placebo(&self) -> (usize, usize, f64) {
        (self.alarms.0, self.alarms.1, self.harm_levels.nominal(self.t_max) * self.sides.len() as f64)
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, run: &MeanRun) -> Outcome {
        let seen = self.differences(grid, i, run);
        let means = [0, 1].map(|side| plain_mean(grid, &run.hosts[side], i + 1));
        let has = [0, 1]
            .map(|side| run.hosts[side].values().any(|cells| cells.iter().take(i + 1).any(Option::is_some)));
        let mut outcome = Outcome {
            t: seen.t,
            settling: seen.settling,
            is_present: seen.is_present,
            has_baseline: has[0],
            has_canary: has[1],
            method: self.method(),
            n: Sizes {
                baseline: seen.t as f64,
                canary: seen.t as f64,
                effective: seen.canary.pods.len() as f64,
            },
            ..Outcome::default()
        };
        if has != [true, true] {
            return outcome;
        }
        let pods = self.pods(i, run, &seen);
        self.choose(pods);
        outcome.method = self.method();
        outcome.values = Some(Values { baseline: means[0], canary: means[1], unit: "value" });
        outcome.units = units(grid, run, i + 1);
        outcome.new_pods = Some(self.described(grid, pods));
        outcome.lack = self.lack(pods);
        if let (Some(Some(part)), Some(age)) = (self.part, self.age) {
            self.test(&mut outcome, part, age, pods, &seen);
        }
        outcome
    }

    /// Counts pods: those of the canary that have shown in half of its intervals; before any counts, all.
    fn pods(&self, i: usize, run: &MeanRun, seen: &Differences) -> Pods {
        let shown = |hosts: &Hosts| {
            hosts.values().filter(|cells| cells.iter().take(i + 1).any(Option::is_some)).count()
        };
        let count = |means: &PodMeans, hosts: &Hosts| match means.pods.len() {
            0 => shown(hosts),
            n => n,
        };
        Pods {
            canary: count(&seen.canary, &run.hosts[1]),
            old: if seen.n_old > 0 { seen.n_old } else { shown(&run.hosts[0]) },
            fresh: count(&seen.fresh, &run.fresh),
        }
    }

    /// Chooses with whom to compare, once: the choice must not follow what the canary shows.
    fn choose(&mut self, pods: Pods) {
        if self.part.is_none() {
            let level = self.harm_levels.nominal(self.t_max);
            let side = &self.sides[0];
            self.part =
                Some(self.age.and_then(|age| side.fleet.choose(pods, self.warm_up, age, self.t_max, level)));
        }
    }

    fn test(&self, outcome: &mut Outcome, part: Part, age: usize, pods: Pods, seen: &Differences) {
        let t = seen.t;
        let (level, shown) = (self.harm_levels.nominal(t), self.shown_levels.nominal(t));
        let tolerated = self.scale.sizes(self.harm, self.tolerated, self.baseline_mean);
        let margin = self.margin.map(|margin| self.scale.sizes(self.harm, margin, self.baseline_mean));
        outcome.level = Some(shown);
        outcome.level_go = margin.map(|_| self.go_levels.nominal(t));
        outcome.spent = self.shown_levels.spent(t);
        outcome.is_recent_beyond = margin.is_none();
        let mut p_go = margin.map(|_| 0.0_f64);
        let mut looks_left = margin.map(|_| (0, 0));
        for (idx, side) in self.sides.iter().enumerate() {
            let Some(law) = side.fleet.law(part, pods, age, t) else { return };
            let sign = side.direction.sign();
            let against = self.against(part, side, seen) + law.taken_off;
            let b = side.mean_of(&seen.canary.pods) - against;
            let p =
                law.p_harm(b, tolerated[idx]).max(without_worst(side, &law, seen, against, tolerated[idx]));
            outcome.is_harm_crossed |= p <= level && level > 0.0;
            let p = super::check::rescaled(p, level, shown);
            outcome.p_harm = Some(outcome.p_harm.map_or(p, |least| least.min(p)));
            if idx == 0 {
                outcome.effect = Some(self.effect(sign, b, law.reach(level)));
            }
            let Some(margin) = margin.map(|margin| margin[idx]) else { continue };
            // Clipping hides harm that is large beside the old pods' scatter: go takes the worse of both.
            let worse = b.max(self.plain_difference(part, side, seen) - law.taken_off);
            p_go = p_go.map(|most| most.max(law.p_go(worse, margin)));
            let series: Vec<f64> =
                seen.canary.by_interval.iter().map(|d| side.fleet.clip(sign * d) - against).collect();
            outcome.is_recent_beyond |= is_beyond(&series, 0.0, margin);
            outcome.is_faded |= has_faded(&series, 0.0, margin);
            let left = self.looks_left(side, part, pods, age, (t, worse, margin));
            looks_left = looks_left.zip(left).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1)));
        }
        outcome.p_go = p_go;
        outcome.is_go_crossed = p_go.zip(outcome.level_go).is_some_and(|(p, level)| p <= level);
        outcome.looks_left = looks_left;
    }

    /// Returns what the canary's mean is held against, but for births.
    fn against(&self, part: Part, side: &Side, seen: &Differences) -> f64 {
        if part == Part::Fresh { side.mean_of(&seen.fresh.pods) } else { 0.0 }
    }

    /// Returns the canary's unclipped mean less what it is held against, but for births.
    fn plain_difference(&self, part: Part, side: &Side, seen: &Differences) -> f64 {
        let fresh = if part == Part::Fresh { side.mean_of(&seen.fresh.plain) } else { 0.0 };
        side.mean_of(&seen.canary.plain) - fresh
    }

    fn looks_left(
        &self,
        side: &Side,
        part: Part,
        pods: Pods,
        age: usize,
        (t, b, margin): (usize, f64, f64),
    ) -> Option<(usize, usize)> {
        let is_enough = |later: usize, b: f64| {
            let law = side.fleet.law(part, pods, age, later);
            law.is_some_and(|law| law.p_go(b, margin) <= self.go_levels.nominal(later))
        };
        let first = |b: f64| {
            if t >= self.t_max || !is_enough(self.t_max, b) {
                return None;
            }
            let (mut short, mut enough) = (t, self.t_max);
            while enough - short > 1 {
                let middle = usize::midpoint(short, enough);
                if is_enough(middle, b) { enough = middle } else { short = middle }
            }
            Some(enough - t)
        };
        let deviation = side.fleet.law(part, pods, age, t)?.variance.sqrt();
        let low = first(b - deviation)?;
        Some((low, first(b).unwrap_or(self.t_max - t)))
    }

    fn effect(&self, sign: f64, b: f64, reach: f64) -> Effect {
        let (unit, measure) = match self.scale {
            Scale::Linear => ("value", Measure::Difference),
            Scale::Log { .. } => ("ratio", Measure::Relative),
        };
        let end =
            |value: f64| Some(value).filter(|value| value.is_finite()).map(|value| self.scale.shown(value));
        Effect {
            estimate: end(sign * b),
            low: end(sign * b - reach),
            high: end(sign * b + reach),
            unit,
            measure,
        }
    }

    fn announced(&self, part: Part, pods: Pods) -> Option<f64> {
        let level = self.harm_levels.nominal(self.t_max);
        let shifts =
            self.sides.iter().map(|side| side.fleet.announced(part, pods, self.age?, self.t_max, level));
        shifts.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)
    }

    fn described(&self, grid: &Grid, pods: Pods) -> NewPods {
        let (births, events) = self.sides[0].fleet.n_births();
        let part = self.part.flatten();
        NewPods {
            compared_with: part.map_or("none", Part::word),
            canary: pods.canary as u64,
            old: pods.old as u64,
            fresh: pods.fresh as u64,
            births: births as u64,
            events: events as u64,
            settled_ms: self.age.map(|age| age as u64 * grid.interval_ms()),
            announced: part.and_then(|part| self.announced(part, pods)).map(|shift| self.scale.shown(shift)),
        }
    }

    fn lack(&self, pods: Pods) -> Option<Lack> {
        if self.age.is_none() {
            return Some(Lack::Unsettled { intervals: self.warm_up + self.t_max });
        }
        let trust = match self.part.flatten() {
            Some(Part::Births | Part::Fresh) => return None,
            Some(Part::Old) => {
                "that new pods are settled by then is taken on trust, so they can be refused and cannot go"
            }
            None => "so they have no vote",
        };
        let (births, events) = self.sides[0].fleet.n_births();
        Some(Lack::Births {
            what: format!(
                "the canary's {} pods are new, and {births} earlier starts in {events} events are known, of 3 events \
                 that are needed: {trust}; {}",
                pods.canary,
                self.would_do(pods)
            ),
        })
    }

    /// Says how many fresh pods would show harm below the margin.
    fn would_do(&self, pods: Pods) -> String {
        const FRESH_MAX: usize = 100;
        let wanted = self.margin.map(|margin| self.scale.sizes(self.harm, margin, self.baseline_mean)[0]);
        let finds = |fresh: &usize| {
            let found = self.announced(Part::Fresh, Pods { fresh: *fresh, ..pods });
            found.zip(wanted).is_some_and(|(found, wanted)| found <= wanted)
        };
        let fresh = match (pods.canary.max(1)..=FRESH_MAX).find(finds) {
            Some(fresh) => {
                format!("{fresh} fresh pods of the old version, started together with the canary,")
            }
            None => "more pods of the canary and as many fresh ones of the old version".to_owned(),
        };
        format!("{fresh} or 12 starts in 6 events would do")
    }

    fn differences(&self, grid: &Grid, i: usize, run: &MeanRun) -> Differences {
        let usual = self.usual(&run.hosts[0], i + 1);
        let age = self.age.unwrap_or(usize::MAX);
        let is_settled = |idx: usize| grid.is_warm(idx) && grid.age(idx) >= age;
        let any = |idx: usize| run.hosts[1].values().any(|cells| value_at(cells, idx).is_some());
        let counts = |idx: usize| is_settled(idx) && usual[idx].is_finite() && any(idx);
        let kept: Vec<usize> = (0..=i).filter(|idx| counts(*idx)).collect();
        let n_old = |cells: &&Cells<f64>| {
            2 * kept.iter().filter(|idx| value_at(cells, **idx).is_some()).count() >= kept.len()
        };
        Differences {
            canary: self.pod_means(&run.hosts[1], &usual, &kept),
            fresh: self.pod_means(&run.fresh, &usual, &kept),
            n_old: if kept.is_empty() { 0 } else { run.hosts[0].values().filter(n_old).count() },
            t: kept.len(),
            settling: (0..=i).filter(|idx| grid.is_warm(*idx) && grid.age(*idx) < age).count(),
            is_present: usual[i].is_finite() && any(i),
        }
    }

    /// Averages the old pods interval by interval, each less its own level, so that one which leaves does
    /// not take its standing difference along.
    fn usual(&self, old: &Hosts, n: usize) -> Vec<f64> {
        let at = |idx: usize| {
            let values = old.iter().filter_map(|(name, cells)| {
                let level = self.levels.get(name).copied().filter(|level| level.is_finite()).unwrap_or(0.0);
                Some(self.scale.apply(value_at(cells, idx)?) - level)
            });
            finite_mean(values.collect::<Vec<_>>().iter())
        };
        (0..n).map(at).collect()
    }

    fn pod_means(&self, hosts: &Hosts, usual: &[f64], kept: &[usize]) -> PodMeans {
        let d = |cells: &Cells<f64>, idx: usize| Some(self.scale.apply(value_at(cells, idx)?) - usual[idx]);
        let means = hosts.values().filter_map(|cells| {
            let values: Vec<f64> = kept.iter().filter_map(|idx| d(cells, *idx)).collect();
            let clipped: Vec<f64> = values.iter().map(|d| self.sides[0].clipped(*d)).collect();
            let is_there = 2 * values.len() >= kept.len() && !values.is_empty();
            is_there.then(|| (mean_of(clipped.iter()), mean_of(values.iter())))
        });
        let (pods, plain) = means.unzip();
        let all = |idx: &usize| {
            finite_mean(hosts.values().filter_map(|cells| d(cells, *idx)).collect::<Vec<_>>().iter())
        };
        PodMeans { pods, plain, by_interval: kept.iter().map(all).collect() }
    }

    fn method(&self) -> &'static str {
        match self.part.flatten() {
            Some(Part::Births) => {
                "N: new pods against the old ones, less what earlier starts had at the same age"
            }
            Some(Part::Fresh) => "N: new pods against fresh ones of the old version, spread from history",
            Some(Part::Old) => "N: new pods against the old ones, taken to be settled after the warm-up",
            None => "N: new pods; no births, no fresh pods, nothing that a test could rest on",
        }
    }
}

impl Side {
    /// Clips an upward difference.
    fn clipped(&self, d: f64) -> f64 {
        let sign = self.direction.sign();
        sign * self.fleet.clip(sign * d)
    }

    fn mean_of(&self, pods: &[f64]) -> f64 {
        self.direction.sign() * mean_of(pods.iter())
    }
}

/// Computes 0 where the canary without its worst third is worse as well, else what keeps it from crossing.
fn without_worst(side: &Side, law: &Law, seen: &Differences, against: f64, tolerated: f64) -> f64 {
    let all = seen.canary.pods.len();
    let worst = n_worst(all);
    if worst == 0 {
        return 0.0;
    }
    let mut pods: Vec<f64> = seen.canary.pods.iter().map(|d| side.direction.sign() * d).collect();
    pods.sort_by(f64::total_cmp);
    let left = &pods[..all - worst];
    let p = law.p_without_worst(mean_of(left.iter()) - against, tolerated, left.len(), all);
    if p <= WITHOUT_WORST { 0.0 } else { p }
}

/// Computes each old pod's differences from the mean of those present.
fn old_differences(pre: &Hosts, scale: Scale) -> Vec<Vec<f64>> {
    let n = pre.values().map(Vec::len).max().unwrap_or(0);
    let mut means = vec![(0.0, 0.0); n];
    for cells in pre.values() {
        for (sum, value) in means.iter_mut().zip(cells) {
            if let Some(value) = value {
                *sum = (sum.0 + scale.apply(*value), sum.1 + 1.0);
            }
        }
    }
    // A pod that is alone in an interval has nobody to differ from.
    let usual: Vec<f64> = means.iter().map(|(sum, n)| if *n >= 2.0 { sum / n } else { f64::NAN }).collect();
    let d = |cells: &Cells<f64>| {
        (0..n)
            .map(|idx| value_at(cells, idx).map_or(f64::NAN, |value| scale.apply(value) - usual[idx]))
            .collect()
    };
    pre.values().map(d).collect()
}

/// Tells whether under half of the pods that births were compared with are still there, where births name them.
fn is_replaced(births: &[BirthData], old: &Hosts) -> bool {
    let named: Vec<&String> = births.iter().flat_map(|birth| &birth.pods).collect();
    let still = named.iter().filter(|pod| old.contains_key(pod.as_str())).count();
    2 * still < named.len()
}

fn value_at(cells: &Cells<f64>, idx: usize) -> Option<f64> {
    cells.get(idx).copied().flatten()
}

fn finite_mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    mean_of(values.filter(|value| value.is_finite()))
}

/// Tells whether procedure N is called for: the baseline's pods have a history and the canary's have none.
pub(super) fn is_new(pre: &[Hosts; 2]) -> bool {
    n_present(&pre[0]) > 0 && n_present(&pre[1]) == 0
}
