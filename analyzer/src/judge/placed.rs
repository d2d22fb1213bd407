//! Data of the checks, placed on the intervals of a phase.

use std::collections::BTreeSet;

use indexmap::{IndexMap, IndexSet};

use crate::policy::{Check, CheckKind};
use crate::verdict::UnitValue;

use super::counts::CountCells;
use super::data::{CheckData, Data, Sides};
use super::error::JudgeError;
use super::grid::{Grid, Stretch, align_pre};
use super::means::{self, MeanRun};
use super::patterns::{self, PatternCells};
use super::scores::{self, BucketCells, BucketRun};
use super::users::{self, UserCells};

/// Data of all checks since the phase began, placed on its intervals.
#[derive(Clone, Debug, Default)]
pub struct RunData {
    pub(super) checks: Vec<Placed>,
    /// By check: counts of single units, where they were given.
    pub(super) units: Vec<Vec<UnitCells>>,
}

/// Counts of one unit.
#[derive(Clone, Debug)]
pub(super) struct UnitCells {
    unit: String,
    pub(super) is_canary: bool,
    cells: CountCells,
}

/// Both sides of one check, as its kind wants them.
#[derive(Clone, Debug, Default)]
pub(super) enum Placed {
    #[default]
    Nothing,
    Counts([CountCells; 2]),
    Hosts(MeanRun),
    Buckets(BucketRun),
    Patterns([PatternCells; 2]),
    Users(Box<UserCells>),
    /// By value of the check's label.
    By(IndexMap<String, Placed>),
}

impl Placed {
    /// Counts the intervals present on both sides.
    pub(super) fn n_present(&self) -> usize {
        fn both<A, B>(a: impl Iterator<Item = Option<A>>, b: impl Iterator<Item = Option<B>>) -> usize {
            a.zip(b).filter(|(a, b)| a.is_some() && b.is_some()).count()
        }
        match self {
            Self::Nothing | Self::Users(_) => 0,
            Self::By(values) => values.values().map(Self::n_present).max().unwrap_or(0),
            Self::Counts([baseline, canary]) => both(baseline.iter().copied(), canary.iter().copied()),
            Self::Hosts(run) => {
                let n =
                    |side: usize| run.hosts[side].values().map(|cells| cells.iter().flatten().count()).max();
                n(0).unwrap_or(0).min(n(1).unwrap_or(0))
            }
            Self::Buckets(run) => {
                let n = |side: &BucketCells| side.cells.iter().flatten().count();
                n(&run.sides[0]).min(n(&run.sides[1]))
            }
            Self::Patterns([baseline, canary]) => {
                both(baseline.trials.iter().rev().copied(), canary.trials.iter().rev().copied())
            }
        }
    }

    /// Leaves log patterns of these ids out.
    pub(super) fn leave_out(&mut self, patterns: &BTreeSet<String>) {
        if let Self::Patterns(sides) = self {
            for side in sides {
                side.patterns.retain(|id, _| !patterns.contains(id));
            }
        }
    }

    /// Returns requests by interval and side, where the check counts them.
    pub(super) fn exposure(&self) -> Option<[Vec<Option<f64>>; 2]> {
        let sides = self.exposure_of_any();
        sides.iter().all(|side| side.iter().any(Option::is_some)).then_some(sides)
    }

    /// Returns the same where only one side has any, or none.
    pub(super) fn exposure_of_any(&self) -> [Vec<Option<f64>>; 2] {
        match self {
            Self::Counts(sides) => {
                [0, 1].map(|side| sides[side].iter().map(|cell| cell.map(|(_, n)| n)).collect())
            }
            Self::Buckets(run) => [0, 1].map(|side| {
                run.sides[side]
                    .cells
                    .iter()
                    .map(|cell| cell.as_ref().map(|counts| counts.iter().sum()))
                    .collect()
            }),
            Self::Patterns(sides) => [0, 1].map(|side| sides[side].trials.clone()),
            Self::By(values) => pooled(&values.values().collect::<Vec<_>>(), true).exposure_of_any(),
            Self::Nothing | Self::Hosts(_) | Self::Users(_) => [Vec::new(), Vec::new()],
        }
    }
}

/// Places the counts of single units, where they were given.
pub(super) fn place_units(stretch: Stretch<'_>, sides: &Sides) -> Vec<UnitCells> {
    let mut units = Vec::new();
    for (data, is_canary) in [(&sides.baseline, false), (&sides.canary, true)] {
        if let Some(Data::Counts(counts)) = data {
            units.extend(counts.units.iter().map(|(unit, counts)| UnitCells {
                unit: unit.clone(),
                is_canary,
                cells: stretch.counts(counts),
            }));
        }
    }
    units
}

impl UnitCells {
    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    /// Returns events and exposure of one interval.
    pub(super) fn at(&self, idx: usize) -> Option<(f64, f64)> {
        self.cells.get(idx).copied().flatten()
    }

    /// Sums events and exposure over the intervals that count, in `0..n`.
    pub(super) fn sum(&self, n: usize, counts: impl Fn(usize) -> bool) -> (f64, f64) {
        let kept = self.cells.iter().enumerate().take(n).filter(|(idx, _)| counts(*idx));
        kept.filter_map(|(_, cell)| *cell).fold((0.0, 0.0), |(x, n), cell| (x + cell.0, n + cell.1))
    }
}

/// Computes events over exposure of each unit up to interval `i`.
pub(super) fn unit_values(units: &[UnitCells], grid: &Grid, i: usize) -> Vec<UnitValue> {
    let value = |one: &UnitCells| {
        let (events, exposure) = one.sum(i + 1, |idx| grid.is_warm(idx));
        let value = events / exposure;
        value.is_finite().then(|| UnitValue { unit: one.unit.clone(), is_canary: one.is_canary, value })
    };
    units.iter().filter_map(value).collect()
}

/// Tells whether a side holds raw values.
pub(super) fn is_raw(sides: &Sides) -> bool {
    let is_raw = |side: &Option<Data>| matches!(side, Some(Data::Raw(_)));
    is_raw(&sides.baseline) || is_raw(&sides.canary) || is_raw_by(&sides.baseline) || is_raw_by(&sides.canary)
}

/// Places both sides of a check on a stretch, if they are of its kind.
pub(super) fn place(
    check: &Check,
    stretch: Stretch<'_>,
    sides: &Sides,
    what: &str,
) -> Result<Placed, JudgeError> {
    if sides.baseline.is_none() && sides.canary.is_none() {
        return Ok(Placed::Nothing);
    }
    let wrong = || {
        JudgeError::field(
            format!("{what}.{}", check.name),
            format!("does not hold data of kind {}", check.kind.word()),
        )
    };
    let both = [&sides.baseline, &sides.canary];
    let mut placed = match check.kind {
        CheckKind::Ratio { .. } | CheckKind::Count { .. } => Placed::Counts(
            each(both, |data| match data {
                Data::Counts(counts) => Some(stretch.counts(counts)),
                _ => None,
            })
            .ok_or_else(wrong)?,
        ),
        CheckKind::Mean { .. } => Placed::Hosts(MeanRun {
            hosts: each(both, |data| match data {
                Data::Values(series) => Some(means::of_hosts(stretch, series)),
                _ => None,
            })
            .ok_or_else(wrong)?,
            ..MeanRun::default()
        }),
        CheckKind::Distribution { .. } => {
            let is_one = |data: &Data| matches!(data, Data::Histogram(_) | Data::Raw(_));
            Placed::Buckets(BucketRun {
                sides: each(both, |data| is_one(data).then(|| scores::buckets(stretch, data)))
                    .ok_or_else(wrong)?,
                pods: each(both, |data| Some(scores::pods(stretch, data))).ok_or_else(wrong)?,
                fresh: IndexMap::new(),
            })
        }
        // Users are placed by [`place_users`], and a composite has no data of its own.
        CheckKind::Users { .. } | CheckKind::Composite => Placed::Nothing,
        CheckKind::Patterns { .. } => Placed::Patterns(
            each(both, |data| match data {
                Data::Patterns(counts) => Some(patterns::patterns(stretch, counts)),
                _ => None,
            })
            .ok_or_else(wrong)?,
        ),
    };
    if let (Placed::Counts([baseline, canary]), Stretch::Pre(_)) = (&mut placed, stretch) {
        align_pre(&mut [baseline, canary]);
    }
    Ok(placed)
}

/// Places users, each on the side that saw it first; history says what users were worth before.
pub(super) fn place_users(check: &Check, grid: &Grid, data: &CheckData) -> Result<Placed, JudgeError> {
    let of = |data: &Option<Data>| match data {
        None => Ok(None),
        Some(Data::Users(rows)) => Ok(Some(rows.clone())),
        Some(_) => Err(JudgeError::field(
            format!("data.{}", check.name),
            format!("does not hold data of kind {}", check.kind.word()),
        )),
    };
    let run = [of(&data.run.baseline)?, of(&data.run.canary)?];
    let pre = [of(&data.pre.baseline)?, of(&data.pre.canary)?];
    let cells = users::place(grid, run.each_ref().map(Option::as_ref), pre.each_ref().map(Option::as_ref));
    Ok(Placed::Users(Box::new(cells)))
}

/// Places pods of the old version that started with the canary; means and distributions are compared with them.
pub(super) fn place_fresh(placed: &mut Placed, stretch: Stretch<'_>, fresh: Option<&Data>) {
    match (placed, fresh) {
        (Placed::Hosts(run), Some(Data::Values(series))) => run.fresh = means::of_hosts(stretch, series),
        (Placed::Buckets(run), Some(data)) => run.fresh = scores::pods(stretch, data),
        _ => {}
    }
}

/// Adds up counts or buckets of several values.
pub(super) fn pooled(values: &[&Placed], is_raw: bool) -> Placed {
    let counts = |side: usize| {
        let mut sums: CountCells = Vec::new();
        for value in values {
            let Placed::Counts(sides) = value else { continue };
            sums.resize(sums.len().max(sides[side].len()), None);
            for (sum, cell) in sums.iter_mut().zip(&sides[side]) {
                if let Some((events, exposure)) = cell {
                    let (so_far, exposed) = sum.unwrap_or_default();
                    *sum = Some((so_far + events, exposed + exposure));
                }
            }
        }
        sums
    };
    match values.first() {
        Some(Placed::Counts(_)) => Placed::Counts([counts(0), counts(1)]),
        Some(Placed::Buckets(_)) => {
            let all = values.iter().filter_map(|value| match value {
                Placed::Buckets(run) => Some(&run.sides),
                _ => None,
            });
            Placed::Buckets(BucketRun { sides: scores::pool(all, is_raw), ..BucketRun::default() })
        }
        _ => Placed::Nothing,
    }
}

/// Places the data of each value, for a check with one test a value.
pub(super) fn place_by(
    check: &Check,
    stretch: Stretch<'_>,
    sides: &Sides,
    what: &str,
) -> Result<Placed, JudgeError> {
    let of = |data: &Option<Data>| match data {
        None => Ok(IndexMap::new()),
        Some(Data::By(values)) => Ok(values.clone()),
        Some(_) => Err(JudgeError::field(
            format!("{what}.{}", check.name),
            "needs `by`, since its check has one test a value",
        )),
    };
    let (mut baseline, mut canary) = (of(&sides.baseline)?, of(&sides.canary)?);
    let names: IndexSet<String> = baseline.keys().chain(canary.keys()).cloned().collect();
    let mut placed = IndexMap::with_capacity(names.len());
    for value in names {
        let sides = Sides { baseline: baseline.swap_remove(&value), canary: canary.swap_remove(&value) };
        placed.insert(value, place(check, stretch, &sides, what)?);
    }
    if let Stretch::Pre(_) = stretch {
        align_values(&mut placed);
    }
    Ok(Placed::By(placed))
}

/// Lets the histories of all values end at the release with the same number of intervals, as pooling needs.
fn align_values(values: &mut IndexMap<String, Placed>) {
    let mut counts: Vec<&mut CountCells> = Vec::new();
    let mut buckets = Vec::new();
    for value in values.values_mut() {
        match value {
            Placed::Counts(sides) => counts.extend(sides),
            Placed::Buckets(run) => buckets.extend(run.sides.iter_mut().map(|side| &mut side.cells)),
            _ => {}
        }
    }
    align_pre(&mut counts);
    align_pre(&mut buckets);
}

/// Tells whether raw values come under any value.
fn is_raw_by(data: &Option<Data>) -> bool {
    match data {
        Some(Data::By(values)) => values.values().any(|one| matches!(one, Data::Raw(_))),
        _ => false,
    }
}

/// Places each side; a side that is absent has nothing. `None` if one is of another kind.
fn each<T: Default>(sides: [&Option<Data>; 2], place: impl Fn(&Data) -> Option<T>) -> Option<[T; 2]> {
    let [baseline, canary] = sides;
    let one = |side: &Option<Data>| side.as_ref().map_or_else(|| Some(T::default()), &place);
    Some([one(baseline)?, one(canary)?])
}
