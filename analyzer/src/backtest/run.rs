//! Judges placebo releases by the judge's own code, as they were and with effects put in.

use indexmap::IndexMap;

use super::history::{Feed, History, Track};
use super::inject::inject;
use super::placebo::{Chosen, Placebo, chance, choose};
use super::plan::{Plan, Stopped};
use super::summary;
use super::wire::ReportJson;
use crate::judge::{Analysis, CheckData, Data, Look, PhaseRun, Sides, Standing, Standings};
use crate::policy::{Check, CheckKind, Harm, Phase, Policy, Vote};
use crate::stats::scores::Sheet;
use crate::stats::special::normal_isf;
use crate::verdict::{CheckResult, Decision, Effect, Measure};

/// What a placebo release came to.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// Intervals from the release's start to the decision.
    pub(super) after: Option<usize>,
    /// The phases that began, in order.
    pub(super) phases: Vec<Judgement>,
}

/// What one phase of it came to.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) decision: Decision,
    /// Intervals from the phase's start to its decision.
    pub(super) after: Option<usize>,
    pub(super) checks: Vec<Seen>,
}

/// What one check of it showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Both sides had data.
    pub(super) has_data: bool,
    pub(super) is_restless: bool,
    /// It refused the release.
    pub(super) refused: bool,
    /// Intervals from the phase's start until it let the release go.
    pub(super) goes: Option<usize>,
    /// The same of the phase, had the check had no vote.
    pub(super) goes_without: Option<usize>,
    /// The smallest margin by which it would go at the phase's last look.
    pub(super) bound: Option<Bound>,
    /// The baseline's value, in the check's unit.
    pub(super) baseline: Option<f64>,
    /// Standard deviation of the sides' difference in an interval, in the check's unit.
    pub(super) noise: Option<f64>,
    pub(super) unit: &'static str,
    /// By effect of the plan.
    pub(super) found: Vec<Found>,
}

/// A size of harm, positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) size: f64,
    pub(super) measure: Measure,
}

/// Whether an effect was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The check did not refuse before the release would have gone or the phase had ended.
    Not,
    /// It refused so many intervals after the phase's start.
    At(usize),
    /// The effect cannot be put into the check's data.
    Untested,
}

/// What watches a backtest at work.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Watch<'a> {
    /// Called before each placebo release with how many are done, and of how many.
    pub next: &'a mut dyn FnMut(usize, usize),
    /// Asked often.
    pub is_cancelled: &'a dyn Fn() -> bool,
}

/// Judges all placebo releases of a plan and counts what came of them.
///
/// Takes about `runs` times what a release takes, and a part of that again for each effect.
///
/// # Errors
/// [`Stopped`] where it was ended, or the history has no place for a release of the plan.
pub fn backtest(plan: &Plan, history: &History, watch: &mut Watch<'_>) -> Result<ReportJson, Stopped> {
    let asked = plan;
    let plan = &Plan { policy: as_placebo(&plan.policy), ..plan.clone() };
    let chosen = choose(plan, history)?;
    let mut all = Vec::with_capacity(chosen.placebos.len());
    for (run, placebo) in chosen.placebos.iter().enumerate() {
        (watch.next)(run, chosen.placebos.len());
        all.push(
            Runner { plan, history, chosen: &chosen, is_cancelled: watch.is_cancelled }
                .judge(run, placebo)?,
        );
    }
    Ok(summary::report(asked, history, &chosen, &all))
}

/// A policy for releases that get what traffic their units get: a declared share is none of theirs.
fn as_placebo(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for phase in &mut policy.phases {
        phase.traffic_share = None;
        phase.ramp.clear();
    }
    policy
}

struct Runner<'a> {
    plan: &'a Plan,
    history: &'a History,
    chosen: &'a Chosen,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl Runner<'_> {
    /// Judges one placebo release, phase by phase while they go.
    fn judge(&self, run: usize, placebo: &Placebo) -> Result<Judged, Stopped> {
        let mut judged = Judged { decision: Decision::Inconclusive, after: None, phases: Vec::new() };
        let mut from = placebo.start;
        for (idx, phase) in self.plan.policy.phases.iter().enumerate() {
            let one = self.phase(run, placebo, idx, phase, from)?;
            let (decision, after) = (one.decision, one.after);
            judged.phases.push(one);
            judged.after = after.map(|after| from + after - placebo.start);
            let is_last = idx + 1 == self.plan.policy.phases.len();
            match (decision, after) {
                (Decision::Go, Some(after)) if !is_last => from += after + self.plan.n_gap(),
                _ => {
                    judged.decision = decision;
                    break;
                }
            }
        }
        Ok(judged)
    }

    fn phase(
        &self,
        run: usize,
        placebo: &Placebo,
        idx: usize,
        phase: &Phase,
        from: usize,
    ) -> Result<Judgement, Stopped> {
        let data = self.data(placebo, idx, phase, from);
        let at_ms = |interval: usize| self.history.start_ms + interval as i64 * self.history.step_ms;
        let start = PhaseRun {
            release_start_ms: at_ms(placebo.start),
            phase_start_ms: at_ms(from),
            ..PhaseRun::default()
        };
        let prepared = Analysis::new(&self.plan.policy, phase, start, &data).map_err(unfit)?;
        let looks = self.looks(&prepared, &data)?;
        let mut checks: Vec<Seen> = (0..phase.checks.len())
            .map(|check| looks.seen(check, &phase.checks[check], &data, self.plan.policy.alpha_go.get()))
            .collect();
        for (check, seen) in checks.iter_mut().enumerate() {
            for effect in 0..self.plan.effects.len() {
                let found = if seen.has_data {
                    self.found(&prepared, &data, &looks, Case { run, phase: idx, check, effect })?
                } else {
                    Found::Untested
                };
                seen.found.push(found);
            }
        }
        let decided = looks.decided();
        Ok(Judgement {
            decision: decided.map_or(Decision::Inconclusive, |(decision, _)| decision),
            after: decided.map(|(_, look)| look + 1),
            checks,
        })
    }

    /// Cuts a release's data out of the history.
    fn data(&self, placebo: &Placebo, idx: usize, phase: &Phase, from: usize) -> IndexMap<String, CheckData> {
        let run = self.history.stretch(from, self.plan.n_phase(phase));
        let n_pre = self.plan.n_pre().min(placebo.start);
        let pre = self.history.stretch(placebo.start - n_pre, n_pre);
        let names = &self.history.units;
        let side = |track: &Track, units: &[usize], stretch| match self.chosen.is_births {
            true => track.side_of_pods(units, names, stretch),
            false => track.side(units, names, stretch),
        };
        let of = |(check, feed): (&Check, &Feed)| {
            let track: Option<&Track> = match feed {
                Feed::Track(track) => self.history.tracks.get(*track),
                Feed::Others | Feed::Nowhere(_) => None,
            };
            let data = track.map_or_else(CheckData::default, |track| CheckData {
                run: Sides {
                    baseline: side(track, &placebo.baseline, run),
                    canary: side(track, &placebo.canary, run),
                },
                pre: Sides {
                    baseline: side(track, &placebo.baseline, pre),
                    // Pods that started with the release have done nothing before it.
                    canary: (!self.chosen.is_births).then(|| side(track, &placebo.canary, pre)).flatten(),
                },
                fresh: None,
                births: match &placebo.event {
                    Some(own) => track.births.iter().filter(|birth| birth.event != *own).cloned().collect(),
                    None => Vec::new(),
                },
            });
            (check.name.clone(), data)
        };
        phase.checks.iter().zip(&self.history.checks[idx]).map(of).collect()
    }

    /// Makes every look of a phase, also those after its decision: when each check goes tells what it costs.
    fn looks(&self, prepared: &Analysis, data: &IndexMap<String, CheckData>) -> Result<Looks, Stopped> {
        let mut analysis = prepared.clone();
        let placed = analysis.place(data).map_err(unfit)?;
        let mut looks = Looks { all: Vec::new(), last: None, is_restless: Vec::new() };
        for interval in 0..=analysis.last_interval() {
            self.check_cancelled()?;
            // What the limits are is asked at the end alone.
            analysis.set_quiet(interval < analysis.last_interval());
            looks.last = Some(analysis.look(interval, &placed));
            looks.all.push(analysis.standings().clone());
        }
        looks.is_restless = analysis.restless().collect();
        Ok(looks)
    }

    /// Judges a check again with an effect in the canary's data; the others stay as they were.
    fn found(
        &self,
        prepared: &Analysis,
        data: &IndexMap<String, CheckData>,
        looks: &Looks,
        case: Case,
    ) -> Result<Found, Stopped> {
        let phase = &self.plan.policy.phases[case.phase];
        let check = &phase.checks[case.check];
        if check.vote == Vote::None || matches!(check.kind, CheckKind::Users { .. }) {
            return Ok(Found::Untested);
        }
        // Harm spread over the means is what a composite looks for; any other check has data of its own.
        let is_part = |one: &Check| match check.kind {
            CheckKind::Composite => matches!(one.kind, CheckKind::Mean { .. } | CheckKind::Composite),
            _ => one.name == check.name,
        };
        let kept: Vec<usize> = (0..phase.checks.len()).filter(|idx| is_part(&phase.checks[*idx])).collect();
        let mut rng = chance(self.plan.seed, case.run);
        // Each check and effect has draws of its own: a check that is left out of the policy changes no other's.
        rng.set_word_pos(u128::from(place_of(&phase.name, &check.name, case.effect)) << 24);
        let mut changed = IndexMap::new();
        for idx in &kept {
            let one = &phase.checks[*idx];
            let Some(own) = data.get(&one.name) else { continue };
            let mut own = own.clone();
            if let Some(canary) = &own.run.canary {
                let part = self.plan.effects[case.effect].part;
                let Some(harmed) = inject(one, canary, &own.pre, part, &mut rng) else {
                    return Ok(Found::Untested);
                };
                own.run.canary = Some(harmed);
            }
            changed.insert(one.name.clone(), own);
        }
        let mut alone = prepared.only(&kept);
        alone.set_quiet(true);
        let placed = alone.place(&changed).map_err(unfit)?;
        let Some(place) = kept.iter().position(|idx| *idx == case.check) else { return Ok(Found::Untested) };
        for (interval, others) in looks.all.iter().enumerate() {
            self.check_cancelled()?;
            alone.look(interval, &placed);
            let mut all = others.clone();
            all.checks.iter_mut().for_each(|one| one.refuses = false);
            all.checks[case.check] = alone.standings().checks[place];
            match all.decision() {
                Some(Decision::NoGo) => return Ok(Found::At(interval + 1)),
                Some(_) => return Ok(Found::Not),
                None => {}
            }
        }
        Ok(Found::Not)
    }

    fn check_cancelled(&self) -> Result<(), Stopped> {
        if (self.is_cancelled)() { Err(Stopped::Cancelled) } else { Ok(()) }
    }
}

/// One effect in one check of one phase of one release.
#[derive(Clone, Copy, Debug)]
struct Case {
    run: usize,
    phase: usize,
    check: usize,
    effect: usize,
}

/// A number of a check and effect, for the place of its draws.
fn place_of(phase: &str, check: &str, effect: usize) -> u32 {
    let hash = blake3::hash(format!("{phase}\u{0}{check}\u{0}{effect}").as_bytes());
    let bytes = hash.as_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn unfit(error: crate::judge::JudgeError) -> Stopped {
    Stopped::Unfit { field: "policy", text: error.to_string() }
}

/// All looks of a phase.
struct Looks {
    all: Vec<Standings>,
    last: Option<Look>,
    is_restless: Vec<bool>,
}

impl Looks {
    /// Returns the phase's first of two, and its look.
    fn decided(&self) -> Option<(Decision, usize)> {
        self.all.iter().enumerate().find_map(|(look, one)| Some((one.decision()?, look)))
    }

    fn seen(&self, idx: usize, check: &Check, data: &IndexMap<String, CheckData>, alpha_go: f64) -> Seen {
        let own = data.get(&check.name);
        let both = own.is_some_and(|own| own.run.baseline.is_some() && own.run.canary.is_some());
        let is_fed = matches!(check.kind, CheckKind::Composite) || both;
        let result = self.last.as_ref().and_then(|look| look.checks.get(idx));
        let decided = self.decided();
        let at = |look: usize| self.all[look].checks[idx];
        let without = |one: &Standings| {
            let mut one = one.clone();
            one.checks[idx] = Standing { is_full: false, refuses: false, ..one.checks[idx] };
            one.decision()
        };
        let free = self.all.iter().enumerate().find_map(|(look, one)| Some((without(one)?, look)));
        Seen {
            has_data: is_fed,
            is_restless: self.is_restless.get(idx).copied().unwrap_or(false),
            refused: decided.is_some_and(|(decision, look)| decision == Decision::NoGo && at(look).refuses),
            goes: (0..self.all.len()).find(|look| at(*look).goes).map(|look| look + 1),
            goes_without: free.filter(|(decision, _)| *decision == Decision::Go).map(|(_, look)| look + 1),
            bound: result.and_then(|result| bound(result, alpha_go)),
            baseline: result.and_then(|result| result.values?.baseline),
            noise: own.and_then(|own| noise(&own.run)),
            unit: result.and_then(|result| result.values).map_or("", |values| values.unit),
            found: Vec::new(),
        }
    }
}

/// The smallest margin by which a check would go, from its estimate and limits: the limits hold at the level of no-go,
/// and go asks for less.
fn bound(result: &CheckResult, alpha_go: f64) -> Option<Bound> {
    let level = result.level.filter(|level| *level > 0.0 && *level < 0.5)?;
    let level_go = result.level_go.filter(|level| *level > 0.0).unwrap_or(alpha_go).min(0.5);
    let reach = normal_isf(level_go) / normal_isf(level);
    let of_quantiles = result.effects.iter().map(|one| one.effect);
    let of_values = result.by.iter().filter_map(|value| value.effect);
    let mut all: Vec<Effect> = of_quantiles.chain(of_values).collect();
    if all.is_empty() {
        all.extend(result.effect);
    }
    all.iter().map(|effect| bound_of(effect, result.harm, reach)).reduce(|a, b| {
        let (a, b) = (a?, b?);
        Some(if a.size >= b.size { a } else { b })
    })?
}

fn bound_of(effect: &Effect, harm: Harm, reach: f64) -> Option<Bound> {
    let is_relative = effect.measure == Measure::Relative;
    let scale = |value: f64| if is_relative { value.ln_1p() } else { value };
    let back = |value: f64| if is_relative { value.exp_m1() } else { value };
    let estimate = scale(effect.estimate?);
    let up = || Some(back(estimate + (scale(effect.high?) - estimate) * reach));
    let down = || Some(-back(estimate - (estimate - scale(effect.low?)) * reach));
    let size = match harm {
        Harm::Up => up()?,
        Harm::Down => down()?,
        Harm::Either => up()?.max(down()?),
    };
    size.is_finite().then_some(Bound { size, measure: effect.measure })
}

/// Computes the standard deviation of the sides' difference in an interval, in the check's own unit; of medians for
/// distributions.
fn noise(sides: &Sides) -> Option<f64> {
    let (baseline, canary) = (values(sides.baseline.as_ref()?)?, values(sides.canary.as_ref()?)?);
    let differences: Vec<f64> =
        baseline.iter().zip(&canary).filter_map(|(a, b)| Some((*b)? - (*a)?)).collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let sum: f64 = differences.iter().map(|one| (one - mean).powi(2)).sum();
    Some((sum / (n - 1.0)).sqrt()).filter(|sd| sd.is_finite())
}

/// Returns a side's value in each interval.
fn values(data: &Data) -> Option<Vec<Option<f64>>> {
    Some(match data {
        Data::Counts(counts) => {
            let share = |(events, exposure): (&Option<f64>, &Option<f64>)| {
                Some((*events)? / (*exposure)?).filter(|share| share.is_finite())
            };
            counts.events.iter().zip(&counts.exposure).map(share).collect()
        }
        Data::Values(series) => {
            let n = series.iter().map(|one| one.v.len()).max()?;
            let mean = |i: usize| {
                let now: Vec<f64> = series.iter().filter_map(|one| *one.v.get(i)?).collect();
                (!now.is_empty()).then(|| now.iter().sum::<f64>() / now.len() as f64)
            };
            (0..n).map(mean).collect()
        }
        Data::Histogram(histogram) => {
            let median = |row: &Option<Vec<f64>>| {
                let row = row.as_ref()?;
                Sheet::new(&histogram.le, row)?.quantile(row, 0.5)
            };
            histogram.counts.iter().map(median).collect()
        }
        Data::Raw(raw) => {
            let median =
                |row: &Option<Vec<f64>>| row.as_ref().and_then(|row| row.get(row.len() / 2)).copied();
            raw.values.iter().map(median).collect()
        }
        Data::Patterns(_) | Data::Users(_) | Data::By(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Counts, Histogram, Series};
    use crate::policy::{Queries, parse};

    const POLICY: &str = "{ name: p, interval: 1m, pre_period: 4h, warm_up: 2m,
        phases: [{ name: one, lasts: { at_least: 10m, at_most: 40m } }],
        checks: [{ name: errors, kind: ratio, margin: { absolute: 0.05 } },
                 { name: load, kind: mean, margin: { relative: 10% } },
                 { name: latency, kind: distribution, margin: { relative: 20% } }] }";

    /// Each check's data from minute `from` on; `harm` is added to what is bad.
    fn data(from: i64, n: i64, salt: u64, harm: f64) -> [Data; 3] {
        let t_ms: Vec<i64> = (from..from + n).map(|i| i * 60_000).collect();
        let noise = |i: usize, k: u64| {
            let x = (i as u64 * 7 + k + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((x >> 40) % 1000) as f64 / 1000.0
        };
        let n = t_ms.len();
        let events = (0..n).map(|i| Some((3.0 * noise(i, 1) + 8.0 * harm).floor())).collect();
        let v = (0..n).map(|i| Some(100.0 + 10.0 * noise(i, 2) + 30.0 * harm)).collect();
        let row = |i: usize| {
            let slow = (20.0 * noise(i, 3) + 30.0 * harm).floor();
            Some(vec![60.0 - slow, 40.0, slow])
        };
        let le = vec![0.1, 0.2, f64::INFINITY];
        [
            Data::Counts(Counts {
                t_ms: t_ms.clone(),
                events,
                exposure: vec![Some(100.0); n],
                units: IndexMap::new(),
            }),
            Data::Values(vec![Series { instance: salt.to_string(), t_ms: t_ms.clone(), v }]),
            Data::Histogram(Histogram {
                t_ms,
                le,
                counts: (0..n).map(row).collect(),
                units: IndexMap::new(),
            }),
        ]
    }

    #[test]
    fn quiet_looks_decide_as_others_do() {
        let policy = parse(POLICY, Queries::Optional).unwrap();
        let phase = &policy.phases[0];
        for harm in [0.0, 0.4] {
            let sides = |from, n, harm| {
                let [baseline, canary] = [data(from, n, 5, 0.0), data(from, n, 6, harm)];
                baseline.map(Some).into_iter().zip(canary.map(Some))
            };
            let all = phase.checks.iter().zip(sides(-240, 240, 0.0).zip(sides(0, 42, harm)));
            let data: IndexMap<String, CheckData> = all
                .map(|(check, (pre, run))| {
                    let sides = |(baseline, canary)| Sides { baseline, canary };
                    let data = CheckData { run: sides(run), pre: sides(pre), ..CheckData::default() };
                    (check.name.clone(), data)
                })
                .collect();
            let start = PhaseRun::default();
            let mut loud = Analysis::new(&policy, phase, start, &data).unwrap();
            let mut quiet = loud.clone();
            quiet.set_quiet(true);
            let placed = loud.place(&data).unwrap();
            let mut decided = None;
            for interval in 0..=loud.last_interval() {
                let [one, other] = [loud.look(interval, &placed), quiet.look(interval, &placed)];
                assert_eq!(loud.standings(), quiet.standings(), "{interval}");
                for (one, other) in one.checks.iter().zip(&other.checks) {
                    assert_eq!((one.p_harm, one.p_go), (other.p_harm, other.p_go), "{} {interval}", one.name);
                }
                decided = decided.or(loud.standings().decision());
            }
            assert_eq!(decided == Some(Decision::NoGo), harm > 0.0, "{decided:?}");
        }
    }
}
