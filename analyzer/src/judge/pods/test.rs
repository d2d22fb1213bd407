//! Procedure N on one value of a pod and interval, in one direction of harm or both.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::policy::Harm;
use crate::stats::births::{Birth, Fleet, Law, Noise, Part, Pods, WITHOUT_WORST, n_worst};
use crate::stats::boundary::Boundary;

use super::super::check::{Budget, Direction, directions, rescaled};
use super::super::grid::{Cells, Grid};
use super::super::means::{Answer, has_faded, is_beyond, mean_of};

/// Values by pod.
pub(in crate::judge) type Hosts = IndexMap<String, Cells<f64>>;

/// Values of pods since the phase began, on the scale of a test.
#[derive(Clone, Debug, Default)]
pub(super) struct PodValues {
    pub(super) old: Hosts,
    pub(super) canary: Hosts,
    pub(super) fresh: Hosts,
}

/// A test of one value of new pods under way.
#[derive(Clone, Debug)]
pub(super) struct PodTest {
    /// Level of each old pod relative to the others.
    levels: IndexMap<String, f64>,
    sides: Vec<Side>,
    /// Age from which the canary's pods count; `None`: births never settle within the phase.
    age: Option<usize>,
    warm_up: usize,
    n_looks: usize,
    /// Looks that are left once the pods have settled.
    t_max: usize,
    harm_levels: Arc<Boundary>,
    shown_levels: Arc<Boundary>,
    go_levels: Arc<Boundary>,
}

/// One direction of harm.
#[derive(Clone, Debug)]
struct Side {
    direction: Direction,
    fleet: Fleet,
}

/// The release's differences so far, upwards.
pub(super) struct Differences {
    /// Each pod's mean and all intervals' mean over pods.
    pub(super) canary: PodMeans,
    pub(super) fresh: PodMeans,
    pub(super) n_old: usize,
    /// Intervals that count.
    pub(super) kept: Vec<usize>,
    pub(super) settling: usize,
    pub(super) is_present: bool,
}

#[derive(Default)]
pub(super) struct PodMeans {
    pub(super) pods: Vec<f64>,
    /// The same of unclipped values.
    plain: Vec<f64>,
    by_interval: Vec<f64>,
}

/// What a [`PodTest`] is asked at a look; sizes are positive in the direction of harm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) part: Part,
    pub(super) pods: Pods,
    pub(super) noise: Noise,
    pub(super) tolerated: [f64; 2],
    pub(super) margin: Option<[f64; 2]>,
    /// Whether the unclipped values must show harm as well; then they are what is shown.
    pub(super) is_plain_too: bool,
}

impl PodTest {
    /// Prepares one of `n_tests` that share a check's budget; `None` where the old pods' history says nothing of
    /// scatter.
    ///
    /// - `old`: values of the old pods before the release, over the same intervals.
    /// - `births`: differences upwards.
    pub(super) fn new(
        harm: Harm,
        (budget, n_tests): (&Budget, f64),
        warm_up: usize,
        old: &Hosts,
        (births, is_replaced): (&[Birth], bool),
    ) -> Option<Self> {
        let differences = old_differences(old);
        let mut sides = Vec::new();
        for direction in directions(harm) {
            let signed =
                |values: &[f64]| values.iter().map(|value| direction.sign() * value).collect::<Vec<_>>();
            let births: Vec<Birth> =
                births.iter().map(|birth| Birth { event: birth.event, d: signed(&birth.d) }).collect();
            let old: Vec<Vec<f64>> = differences.iter().map(|pod| signed(pod)).collect();
            sides.push(Side {
                direction: *direction,
                fleet: Fleet::new(&old, &births, warm_up, is_replaced)?,
            });
        }
        let level = |pod: &Vec<f64>| finite_mean(pod.iter());
        Some(Self {
            levels: old.keys().cloned().zip(differences.iter().map(level)).collect(),
            age: None,
            warm_up,
            n_looks: budget.n_looks,
            t_max: budget.n_looks,
            harm_levels: budget.part(n_tests * sides.len() as f64),
            shown_levels: budget.part(1.0),
            go_levels: budget.go(),
            sides,
        })
    }

    /// Finds the age from which births are settled in every direction.
    pub(super) fn settle(&mut self) -> Option<usize> {
        let (warm_up, n_looks) = (self.warm_up, self.n_looks);
        let ages: Vec<Option<usize>> =
            self.sides.iter_mut().map(|side| side.fleet.settle(warm_up, n_looks)).collect();
        ages.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Lets pods count from an age on; what is spent is spent over the looks that are left by then.
    pub(super) fn count_from(&mut self, age: Option<usize>) {
        self.age = age;
        self.t_max = self.n_looks - age.map_or(0, |age| age - self.warm_up);
    }

    /// Tells of each birth whether it alarms as a canary of one against the others.
    pub(super) fn placebo_alarms(&self) -> Vec<bool> {
        let Some(age) = self.age else { return Vec::new() };
        let mut alarms: Vec<bool> = Vec::new();
        for side in &self.sides {
            let own = side.fleet.placebo_alarms(age, self.t_max, self.level());
            alarms.resize(own.len().max(alarms.len()), false);
            alarms.iter_mut().zip(own).for_each(|(any, own)| *any |= own);
        }
        alarms
    }

    /// Returns the nominal level of the last look, in one direction.
    pub(super) fn level(&self) -> f64 {
        self.harm_levels.nominal(self.t_max)
    }

    pub(super) fn n_sides(&self) -> usize {
        self.sides.len()
    }

    pub(super) fn t_max(&self) -> usize {
        self.t_max
    }

    /// Returns births, and the events that they came in.
    pub(super) fn n_births(&self) -> (usize, usize) {
        self.sides[0].fleet.n_births()
    }

    pub(super) fn choose(&self, pods: Pods) -> Option<Part> {
        self.sides[0].fleet.choose(pods, self.warm_up, self.age?, self.t_max, self.level())
    }

    /// Computes the shift that is found by the last look in 80 % of cases.
    pub(super) fn announced(&self, part: Part, pods: Pods, noise: Noise) -> Option<f64> {
        let law = |side: &Side| side.fleet.law_amid(part, pods, self.age?, self.t_max, noise);
        let shifts = self.sides.iter().map(|side| Some(law(side)?.announced(self.level())));
        shifts.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)
    }

    /// Tells whether a canary that is like the old pods goes at a look.
    pub(super) fn would_go(&self, t: usize, question: &Question) -> bool {
        let (Some(age), Some(margin)) = (self.age, question.margin) else { return false };
        let Question { part, pods, noise, .. } = *question;
        let p = self.sides.iter().zip(margin).map(|(side, margin)| {
            side.fleet.law_amid(part, pods, age, t, noise).map_or(1.0, |law| law.p_go(0.0, margin))
        });
        p.fold(0.0, f64::max) <= self.go_levels.nominal(t)
    }

    /// Says what a look at differences says; `None` where too little is known to decide anything.
    pub(super) fn look(&self, question: &Question, seen: &Differences) -> Option<Answer> {
        let (age, t) = (self.age?, seen.kept.len());
        let Question { part, pods, noise, margin, .. } = *question;
        let level = self.harm_levels.nominal(t);
        let mut answer = self.silent(t, margin.is_some());
        answer.information = seen.canary.pods.len() as f64;
        answer.p_go = margin.map(|_| 0.0);
        answer.looks_left = margin.map(|_| (0, 0));
        for (idx, side) in self.sides.iter().enumerate() {
            let law = side.fleet.law_amid(part, pods, age, t, noise)?;
            let (sign, tolerated) = (side.direction.sign(), question.tolerated[idx]);
            let against = against(part, side, seen) + law.taken_off;
            let b = side.mean_of(&seen.canary.pods) - against;
            let plain = plain_difference(part, side, seen) - law.taken_off;
            let mut p = law.p_harm(b, tolerated).max(without_worst(side, &law, seen, against, tolerated));
            if question.is_plain_too {
                p = p.max(law.p_harm(plain, tolerated));
            }
            answer.is_harm_crossed |= p <= level && level > 0.0;
            answer.p_harm = answer.p_harm.min(rescaled(p, level, answer.level));
            if idx == 0 {
                let (shown, reach) = (if question.is_plain_too { plain } else { b }, law.reach(level));
                answer.estimate = Some(sign * shown).filter(|shown| shown.is_finite());
                (answer.low, answer.high) = (sign * shown - reach, sign * shown + reach);
            }
            let Some(margin) = margin.map(|margin| margin[idx]) else { continue };
            // Clipping hides harm that is large beside the old pods' scatter: go takes the worse of both.
            let worse = b.max(plain);
            answer.p_go = answer.p_go.map(|most| most.max(law.p_go(worse, margin)));
            let series: Vec<f64> =
                seen.canary.by_interval.iter().map(|d| side.fleet.clip(sign * d) - against).collect();
            answer.is_recent_beyond |= is_beyond(&series, 0.0, margin);
            answer.is_faded |= has_faded(&series, 0.0, margin);
            let left = self.looks_left(side, age, question, (t, worse, margin));
            answer.looks_left = answer.looks_left.zip(left).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1)));
        }
        Some(answer)
    }

    /// Returns the answer that says nothing.
    pub(super) fn silent(&self, t: usize, has_margin: bool) -> Answer {
        Answer {
            p_harm: 1.0,
            level: self.shown_levels.nominal(t),
            is_harm_crossed: false,
            p_go: has_margin.then_some(1.0),
            level_go: self.go_levels.nominal(t),
            is_recent_beyond: !has_margin,
            is_faded: false,
            estimate: None,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            information: 0.0,
            looks_left: None,
            since: None,
        }
    }

    pub(super) fn spent(&self, t: usize) -> f64 {
        self.shown_levels.spent(t)
    }

    fn looks_left(
        &self,
        side: &Side,
        age: usize,
        question: &Question,
        (t, b, margin): (usize, f64, f64),
    ) -> Option<(usize, usize)> {
        let Question { part, pods, noise, .. } = *question;
        let law = |t: usize| side.fleet.law_amid(part, pods, age, t, noise);
        let is_enough = |later: usize, b: f64| {
            law(later).is_some_and(|law| law.p_go(b, margin) <= self.go_levels.nominal(later))
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
        let low = first(b - law(t)?.variance.sqrt())?;
        Some((low, first(b).unwrap_or(self.t_max - t)))
    }

    pub(super) fn differences(&self, grid: &Grid, i: usize, run: &PodValues) -> Differences {
        let usual = self.usual(&run.old, i + 1);
        let age = self.age.unwrap_or(usize::MAX);
        let is_settled = |idx: usize| grid.is_warm(idx) && grid.age(idx) >= age;
        let any = |idx: usize| run.canary.values().any(|cells| value_at(cells, idx).is_some());
        let counts = |idx: usize| is_settled(idx) && usual[idx].is_finite() && any(idx);
        let kept: Vec<usize> = (0..=i).filter(|idx| counts(*idx)).collect();
        let n_old = |cells: &&Cells<f64>| {
            2 * kept.iter().filter(|idx| value_at(cells, **idx).is_some()).count() >= kept.len()
        };
        Differences {
            canary: self.pod_means(&run.canary, &usual, &kept),
            fresh: self.pod_means(&run.fresh, &usual, &kept),
            n_old: if kept.is_empty() { 0 } else { run.old.values().filter(n_old).count() },
            settling: (0..=i).filter(|idx| grid.is_warm(*idx) && grid.age(*idx) < age).count(),
            is_present: usual[i].is_finite() && any(i),
            kept,
        }
    }

    /// Averages the old pods interval by interval, each less its own level, so that one which leaves does
    /// not take its standing difference along.
    fn usual(&self, old: &Hosts, n: usize) -> Vec<f64> {
        let at = |idx: usize| {
            let values = old.iter().filter_map(|(name, cells)| {
                let level = self.levels.get(name).copied().filter(|level| level.is_finite()).unwrap_or(0.0);
                Some(value_at(cells, idx)? - level)
            });
            finite_mean(values.collect::<Vec<_>>().iter())
        };
        (0..n).map(at).collect()
    }

    fn pod_means(&self, hosts: &Hosts, usual: &[f64], kept: &[usize]) -> PodMeans {
        let d = |cells: &Cells<f64>, idx: usize| Some(value_at(cells, idx)? - usual[idx]);
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

/// Returns what the canary's mean is held against, but for births.
fn against(part: Part, side: &Side, seen: &Differences) -> f64 {
    if part == Part::Fresh { side.mean_of(&seen.fresh.pods) } else { 0.0 }
}

/// Returns the canary's unclipped mean less what it is held against, but for births.
fn plain_difference(part: Part, side: &Side, seen: &Differences) -> f64 {
    let fresh = if part == Part::Fresh { side.mean_of(&seen.fresh.plain) } else { 0.0 };
    side.mean_of(&seen.canary.plain) - fresh
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
fn old_differences(old: &Hosts) -> Vec<Vec<f64>> {
    let n = old.values().map(Vec::len).max().unwrap_or(0);
    let mut means = vec![(0.0, 0.0); n];
    for cells in old.values() {
        for (sum, value) in means.iter_mut().zip(cells) {
            if let Some(value) = value {
                *sum = (sum.0 + value, sum.1 + 1.0);
            }
        }
    }
    // A pod that is alone in an interval has nobody to differ from.
    let usual: Vec<f64> = means.iter().map(|(sum, n)| if *n >= 2.0 { sum / n } else { f64::NAN }).collect();
    let d = |cells: &Cells<f64>| {
        (0..n).map(|idx| value_at(cells, idx).map_or(f64::NAN, |value| value - usual[idx])).collect()
    };
    old.values().map(d).collect()
}

pub(super) fn value_at(cells: &Cells<f64>, idx: usize) -> Option<f64> {
    cells.get(idx).copied().flatten()
}

fn finite_mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    mean_of(values.filter(|value| value.is_finite()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::analysis::PhaseRun;
    use crate::policy::{Queries, parse};

    const LOOKS: usize = 40;

    fn grid() -> Grid {
        let text = "{ name: p, warm_up: 0s, phases: [{ name: one, lasts: { at_most: 40m },
            checks: [{ name: x, kind: mean, vote: veto }] }] }";
        let policy = parse(text, Queries::Optional).expect("the policy is right");
        Grid::new(&policy, &policy.phases[0], &PhaseRun::default())
    }

    /// Pods with a value in most intervals; of no law in particular.
    fn hosts(name: &str, n: usize, len: usize, seed: u64) -> Hosts {
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((x >> 33) as f64) / f64::from(1_u32 << 31) - 0.5
        };
        let cells = |next: &mut dyn FnMut() -> f64| {
            let level = 0.3 * next();
            (0..len).map(|_| (next() < 0.48).then(|| level + next())).collect()
        };
        (0..n).map(|idx| (format!("{name}{idx}"), cells(&mut next))).collect()
    }

    fn signed(hosts: &Hosts, sign: f64) -> Hosts {
        let cells = |cells: &Cells<f64>| cells.iter().map(|value| value.map(|value| sign * value)).collect();
        hosts.iter().map(|(name, own)| (name.clone(), cells(own))).collect()
    }

    fn answer(harm: Harm, sign: f64, part: Part, shift: f64, seed: u64) -> Option<Answer> {
        let budget = Budget { alpha: 0.05, alpha_go: 0.05, n_looks: LOOKS, plan: None };
        let old = hosts("b", 6, 200, seed);
        let births: Vec<Birth> = (hosts("n", 8, 60, seed ^ 5).into_values().enumerate())
            .map(|(idx, cells)| {
                let d = cells.into_iter().map(|value| value.map_or(f64::NAN, |value| sign * value)).collect();
                Birth { event: idx % 4, d }
            })
            .collect();
        let mut test = PodTest::new(harm, (&budget, 3.0), 0, &signed(&old, sign), (&births, false))?;
        test.count_from(Some(0));
        let mut canary = hosts("c", 2, LOOKS, seed ^ 9);
        canary.values_mut().flatten().flatten().for_each(|value| *value += shift);
        let run = PodValues {
            old: signed(&hosts("b", 6, LOOKS, seed ^ 3), sign),
            canary: signed(&canary, sign),
            fresh: signed(&hosts("f", 3, LOOKS, seed ^ 11), sign),
        };
        let seen = test.differences(&grid(), LOOKS - 1, &run);
        let pods = Pods { canary: 2, old: 6, fresh: 3 };
        let (noise, is_plain_too) = (Noise::USUAL, true);
        let (tolerated, margin) = ([0.0; 2], Some([0.3; 2]));
        test.look(&Question { part, pods, noise, tolerated, margin, is_plain_too }, &seen)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn harm_down_is_harm_up_in_a_mirror(
            seed in any::<u64>(), shift in -0.5..0.5_f64, part in prop::sample::select(vec![Part::Births, Part::Fresh, Part::Old]),
        ) {
            let up = answer(Harm::Up, 1.0, part, shift, seed).expect("enough is known");
            let down = answer(Harm::Down, -1.0, part, shift, seed).expect("enough is known");
            prop_assert!((up.p_harm - down.p_harm).abs() < 1e-9 && up.is_harm_crossed == down.is_harm_crossed);
            let (go, other) = (up.p_go.expect("a margin"), down.p_go.expect("a margin"));
            prop_assert!((go - other).abs() < 1e-9, "{go} {other}");
            let sum = up.estimate.expect("shown") + down.estimate.expect("shown");
            prop_assert!(sum.abs() < 1e-9 && (up.low + down.high).abs() < 1e-9);
            prop_assert_eq!(up.looks_left, down.looks_left);
        }
    }
}
