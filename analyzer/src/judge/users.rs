//! User checks: users are the unit, however often they come.
//!
//! Conversions go through procedure C: users who convert in an interval are drawn from those of their arrival who
//! may still convert. Amounts are compared by [`crate::stats::users`].

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::policy::{Amount, Check, CheckKind, UserValue, Users};
use crate::stats::boundary::{Boundary, SPENDING};
use crate::stats::counts::{Lattice, Step};
use crate::stats::dispersion::EventLaw;
use crate::stats::rates::{Rate, difference_level};
use crate::stats::users::{Comparison, USERS_MIN, User};
use crate::verdict::{Effect, Measure, Sizes, Values};

use super::check::{Budget, Direction, Lack, Outcome, directions, relative_part, rescaled};
use super::counts::{counted_ratio, opposite, ratio_limits};
use super::data::UserRows;
use super::grid::Grid;

mod foretell;

pub(super) use foretell::UsualUsers;

/// One user of a side: the interval of the first sight, and the value from each of these intervals on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlacedUser {
    first: usize,
    updates: Vec<(usize, f64)>,
    before: Option<f64>,
}

/// The users of both sides, each on the side that saw it first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UserCells {
    sides: [Vec<PlacedUser>; 2],
    /// When users showed on the other side too.
    crossings: Vec<usize>,
    /// By interval of arrival: how many came to each side.
    arrived: BTreeMap<usize, [usize; 2]>,
    /// By interval of conversion and of arrival: how many of each side converted.
    converted: BTreeMap<(usize, usize), [usize; 2]>,
}

/// Part of the users that may cross before the comparison is of no use.
const CROSSED_MAX: f64 = 0.01;

/// Places users; what lies outside the phase is left out. History gives what users were worth before.
pub(super) fn place(grid: &Grid, run: [Option<&UserRows>; 2], pre: [Option<&UserRows>; 2]) -> UserCells {
    let before: IndexMap<&str, f64> = (pre.into_iter().flatten())
        .flat_map(|rows| &rows.users)
        .filter_map(|user| Some((user.id.as_deref()?, user.updates.last()?.1)))
        .collect();
    let mut cells = UserCells::default();
    let mut known: IndexMap<&str, (usize, usize)> = IndexMap::new();
    for (side, rows) in run.into_iter().enumerate() {
        for user in rows.iter().flat_map(|rows| &rows.users) {
            let updates: Vec<(usize, f64)> = user
                .updates
                .iter()
                .filter_map(|(t_ms, value)| Some((grid.run_idx(*t_ms)?, *value)))
                .collect();
            let Some((first, _)) = updates.first().copied() else { continue };
            let of_history = user.id.as_deref().and_then(|id| before.get(id).copied());
            let placed = PlacedUser { first, updates, before: user.before.or(of_history) };
            let twice = user.id.as_deref().and_then(|id| known.get(id).copied());
            match twice {
                Some((0, idx)) if side == 1 => cells.cross(idx, placed),
                _ => {
                    if let Some(id) = user.id.as_deref() {
                        known.insert(id, (side, cells.sides[side].len()));
                    }
                    cells.sides[side].push(placed);
                }
            }
        }
    }
    cells.count();
    cells
}

impl UserCells {
    /// Joins a user of the canary with the same one of the baseline, on the side that saw it first.
    fn cross(&mut self, idx: usize, canary: PlacedUser) {
        let baseline = &self.sides[0][idx];
        self.crossings.push(baseline.first.max(canary.first));
        let updates = joined(&baseline.updates, &canary.updates);
        let first = baseline.first.min(canary.first);
        let before = baseline.before.or(canary.before);
        let joined = PlacedUser { first, updates, before };
        if canary.first < baseline.first {
            // Its place on the baseline stays, empty: others know theirs by index.
            self.sides[0][idx] = PlacedUser { first: usize::MAX, updates: Vec::new(), before: None };
            self.sides[1].push(joined);
        } else {
            self.sides[0][idx] = joined;
        }
    }

    fn count(&mut self) {
        for (side, users) in self.sides.iter().enumerate() {
            for user in users.iter().filter(|user| user.first != usize::MAX) {
                self.arrived.entry(user.first).or_default()[side] += 1;
                if let Some(at) = user.converted() {
                    self.converted.entry((at, user.first)).or_default()[side] += 1;
                }
            }
        }
    }

    fn seen(&self, side: usize, i: usize) -> impl Iterator<Item = &PlacedUser> {
        self.sides[side].iter().filter(move |user| user.first <= i)
    }
}

/// Joins what both sides saw of one user: conversions count once, amounts add up.
fn joined(a: &[(usize, f64)], b: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let mut times: Vec<usize> = a.iter().chain(b).map(|(idx, _)| *idx).collect();
    times.sort_unstable();
    times.dedup();
    let is_binary = a.iter().chain(b).all(|(_, value)| *value == 0.0 || *value == 1.0);
    let at = |updates: &[(usize, f64)], now: usize| {
        updates.iter().rev().find(|(idx, _)| *idx <= now).map_or(0.0, |(_, value)| *value)
    };
    let both = |now: usize| if is_binary { at(a, now).max(at(b, now)) } else { at(a, now) + at(b, now) };
    times.into_iter().map(|now| (now, both(now))).collect()
}

impl PlacedUser {
    fn value_at(&self, i: usize) -> f64 {
        self.updates.iter().rev().find(|(idx, _)| *idx <= i).map_or(0.0, |(_, value)| *value)
    }

    /// Returns the interval in which the user converted.
    fn converted(&self) -> Option<usize> {
        self.updates.iter().find(|(_, value)| *value > 0.0).map(|(idx, _)| *idx)
    }
}

/// A user check under way.
#[derive(Clone, Debug)]
pub(super) struct UserCheck {
    budget: Budget,
    /// What the policy says is known of each user; told by the data where it says nothing.
    value: Option<ValueKind>,
    harm: Vec<(Direction, Lattice)>,
    go: Vec<(Direction, Lattice)>,
    margin: Option<Amount>,
    tolerated: f64,
    minimum: (f64, f64),
    levels: Arc<Boundary>,
    shown_levels: Arc<Boundary>,
    go_levels: Arc<Boundary>,
    /// By interval of arrival: users of each side who may still convert.
    open: BTreeMap<usize, [usize; 2]>,
    taken: usize,
    t: usize,
    is_present: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    Conversion,
    Amount,
}

/// Tests that share the budget of a direction where amounts are compared.
const AMOUNT_TESTS: f64 = 2.0;

impl UserCheck {
    pub(super) fn new(check: &Check, budget: Budget) -> Self {
        let value = match &check.kind {
            CheckKind::Users { users: Users::Logs { value: UserValue::Ever(_), .. } } => {
                Some(ValueKind::Conversion)
            }
            CheckKind::Users { users: Users::Logs { value: UserValue::Sum(_), .. } } => {
                Some(ValueKind::Amount)
            }
            _ => None,
        };
        let margin = check.margin.as_ref().map(|margin| margin.amount);
        let tolerated = relative_part(check.tolerated);
        let sides = directions(check.harm);
        let lattices = |part: f64, invert: bool| -> Vec<(Direction, Lattice)> {
            let theta = |direction: Direction| counted_ratio(direction, part);
            (sides.iter())
                .map(|one| (*one, Lattice::new(if invert { 1.0 / theta(*one) } else { theta(*one) })))
                .collect()
        };
        Self {
            harm: lattices(tolerated, false),
            go: match margin {
                Some(Amount::Relative(part)) => lattices(part, true),
                _ => Vec::new(),
            },
            value,
            margin,
            tolerated,
            minimum: (check.minimum.events, check.minimum.trials),
            levels: budget.part(AMOUNT_TESTS * sides.len() as f64),
            shown_levels: budget.part(1.0),
            go_levels: match margin {
                // Two limits, each at half.
                Some(Amount::Absolute(_)) => Boundary::shared(0.5 * budget.alpha_go, budget.n_looks),
                _ => budget.go(),
            },
            budget,
            open: BTreeMap::new(),
            taken: 0,
            t: 0,
            is_present: false,
        }
    }

    /// Returns users seen up to `i` and how many of them on both sides, where these are too many.
    pub(super) fn crossing(cells: &UserCells, i: usize) -> Option<(u64, u64)> {
        let crossed = cells.crossings.iter().filter(|idx| **idx <= i).count();
        let users = cells.seen(0, i).count() + cells.seen(1, i).count();
        (crossed as f64 > CROSSED_MAX * users as f64).then_some((crossed as u64, users as u64))
    }

    pub(super) fn look(&mut self, grid: &Grid, i: usize, cells: &UserCells) -> Outcome {
        let is_conversion = match self.value {
            Some(value) => value == ValueKind::Conversion,
            None => is_binary(cells, i),
        };
        for idx in self.taken..=i {
            self.taken = idx + 1;
            self.is_present = false;
            if grid.is_warm(idx) {
                self.take(grid, idx, cells, is_conversion);
            }
        }
        let sides = [0, 1].map(|side| kept(grid, cells, side, i).collect::<Vec<_>>());
        let mut outcome = Outcome {
            t: self.t,
            is_present: self.is_present,
            has_baseline: cells.seen(0, i).next().is_some(),
            has_canary: cells.seen(1, i).next().is_some(),
            n: Sizes {
                baseline: sides[0].len() as f64,
                canary: sides[1].len() as f64,
                effective: sides[1].len() as f64,
            },
            method: if is_conversion {
                "U: users who convert, drawn from those of their arrival who still may; exact, alpha spent as (t/T)^2"
            } else {
                "U: amounts by user, clipped, and their logarithms, each against all ways to share out the users"
            },
            ..Outcome::default()
        };
        if self.t == 0 || sides.iter().any(Vec::is_empty) {
            return outcome;
        }
        outcome.is_recent_beyond = self.margin.is_none();
        if is_conversion {
            self.conversions(&mut outcome, &sides, i);
        } else {
            self.amounts(&mut outcome, &sides, i);
        }
        outcome.lack = outcome.lack.take().or_else(|| self.minimum_lack(&sides));
        outcome
    }

    /// Takes one interval: it is present once either side has seen a user.
    fn take(&mut self, grid: &Grid, idx: usize, cells: &UserCells, is_conversion: bool) {
        if [0, 1].iter().any(|side| cells.seen(*side, idx).next().is_none()) {
            return;
        }
        self.is_present = true;
        self.t += 1;
        if is_conversion {
            self.draw(grid, idx, cells);
        }
        let spent = |alpha: f64| SPENDING.spent(alpha, self.t, self.budget.n_looks);
        let allowed = spent(self.budget.alpha / self.harm.len() as f64);
        self.harm.iter_mut().for_each(|(_, lattice)| lattice.look(allowed));
        let allowed = spent(self.budget.alpha_go);
        self.go.iter_mut().for_each(|(_, lattice)| lattice.look(allowed));
    }

    /// Adds those who convert in one interval, arrival by arrival: users of one arrival are alike.
    fn draw(&mut self, grid: &Grid, idx: usize, cells: &UserCells) {
        for ((_, arrival), now) in cells.converted.range((idx, 0)..=(idx, idx)) {
            if !grid.is_warm(*arrival) {
                continue;
            }
            let arrived = cells.arrived.get(arrival).copied().unwrap_or_default();
            let open = self.open.entry(*arrival).or_insert(arrived);
            let all = now[0] + now[1];
            let push = |direction: Direction, lattice: &mut Lattice| {
                let (counted, other) = match direction {
                    Direction::Up => (1, 0),
                    Direction::Down => (0, 1),
                };
                let step = Step::Draw { counted: open[counted], other: open[other] };
                lattice.add(now[counted], all, step);
            };
            if open[0] > 0 && open[1] > 0 {
                self.harm.iter_mut().for_each(|(direction, lattice)| push(*direction, lattice));
                self.go.iter_mut().for_each(|(direction, lattice)| push(opposite(*direction), lattice));
            }
            *open = [0, 1].map(|side: usize| open[side].saturating_sub(now[side]));
        }
    }

    fn conversions(&self, outcome: &mut Outcome, sides: &[Vec<&PlacedUser>; 2], i: usize) {
        let parts = self.harm.len() as f64;
        let p = self.harm.iter().map(|(_, lattice)| lattice.p()).fold(1.0, f64::min);
        outcome.p_harm = Some((parts * p).min(1.0));
        outcome.level = Some(SPENDING.spent(self.budget.alpha, self.t, self.budget.n_looks));
        outcome.spent = self.harm.iter().map(|(_, lattice)| lattice.spent()).sum();
        outcome.is_harm_crossed = self.harm.iter().any(|(_, lattice)| lattice.is_crossed());
        let [baseline, canary] = [0, 1].map(|side: usize| Rate {
            events: sides[side].iter().filter(|user| user.value_at(i) > 0.0).count() as f64,
            exposure: sides[side].len() as f64,
            law: EventLaw::Binomial,
        });
        let rates = (baseline.estimate(), canary.estimate());
        outcome.values = Some(Values { baseline: Some(rates.0), canary: Some(rates.1), unit: "ratio" });
        match self.margin {
            Some(Amount::Relative(part)) => {
                outcome.p_go = Some(self.go.iter().map(|(_, lattice)| lattice.p()).fold(0.0, f64::max));
                outcome.level_go = Some(SPENDING.spent(self.budget.alpha_go, self.t, self.budget.n_looks));
                outcome.is_go_crossed = self.go.iter().all(|(_, lattice)| lattice.is_crossed());
                outcome.is_recent_beyond |= (self.harm.iter()).any(|(direction, _)| {
                    direction.sign() * (rates.1 - rates.0 * direction.ratio(part)) > 0.0
                });
            }
            Some(Amount::Absolute(margin)) => {
                let worst = |direction: &Direction| match direction {
                    Direction::Up => difference_level(&canary, &baseline, margin),
                    Direction::Down => difference_level(&baseline, &canary, margin),
                };
                let p = 2.0 * self.harm.iter().map(|(direction, _)| worst(direction)).fold(0.0, f64::max);
                let level = 2.0 * self.go_levels.nominal(self.t);
                outcome.p_go = Some(p.min(1.0));
                outcome.level_go = Some(level);
                outcome.is_go_crossed = p <= level;
                let need = (3.0 / margin).ceil();
                if canary.exposure < need {
                    outcome.lack = Some(Lack::Trials { have: canary.exposure, need });
                }
                outcome.is_recent_beyond |=
                    self.harm.iter().any(|(direction, _)| direction.sign() * (rates.1 - rates.0) > margin);
            }
            None => {}
        }
        let level = self.budget.part(parts).nominal(self.t);
        let (low, high) = ratio_limits(&baseline, &canary, level);
        outcome.effect = Some(Effect {
            estimate: Some(rates.1 / rates.0 - 1.0).filter(|ratio| ratio.is_finite()),
            low: Some(low - 1.0),
            high: Some(high - 1.0).filter(|high| high.is_finite()),
            unit: "ratio",
            measure: Measure::Relative,
        });
    }

    fn amounts(&self, outcome: &mut Outcome, sides: &[Vec<&PlacedUser>; 2], i: usize) {
        let users = |side: usize| -> Vec<User> {
            sides[side].iter().map(|user| User { value: user.value_at(i), before: user.before }).collect()
        };
        let least = sides[0].len().min(sides[1].len());
        let Some(comparison) = Comparison::new(&users(0), &users(1)) else {
            outcome.lack = Some(Lack::Trials { have: least as f64, need: USERS_MIN as f64 });
            return;
        };
        let (level, shown) = (self.levels.nominal(self.t), self.shown_levels.nominal(self.t));
        let p = (self.harm.iter())
            .flat_map(|(direction, _)| comparison.p_harm(direction.sign(), direction.ratio(self.tolerated)))
            .fold(1.0, f64::min);
        outcome.is_harm_crossed = p <= level && level > 0.0;
        outcome.p_harm = Some(rescaled(p, level, shown));
        outcome.level = Some(shown);
        outcome.spent = self.shown_levels.spent(self.t);
        let [baseline, canary] = comparison.means();
        outcome.values = Some(Values { baseline: Some(baseline), canary: Some(canary), unit: "per user" });
        if let Some(margin) = self.margin {
            let p_go = |direction: &Direction| match margin {
                Amount::Relative(part) => comparison.p_go(direction.sign(), direction.ratio(part)),
                Amount::Absolute(size) => comparison.p_go_by(direction.sign(), size),
            };
            let p = self.harm.iter().map(|(direction, _)| p_go(direction)).fold(0.0, f64::max);
            outcome.p_go = Some(p);
            outcome.level_go = Some(self.budget.go().nominal(self.t));
            outcome.is_go_crossed = outcome.level_go.is_some_and(|level| p <= level);
            outcome.is_recent_beyond |= self.harm.iter().any(|(direction, _)| match margin {
                Amount::Relative(part) => {
                    direction.sign() * (canary - baseline * direction.ratio(part)) > 0.0
                }
                Amount::Absolute(size) => direction.sign() * (canary - baseline) > size,
            });
        }
        let (estimate, low, high) =
            comparison.difference(self.budget.part(self.harm.len() as f64).nominal(self.t));
        let is_relative = !matches!(self.margin, Some(Amount::Absolute(_))) && baseline > 0.0;
        let shown = |value: f64| if is_relative { value / baseline } else { value };
        outcome.effect = Some(Effect {
            estimate: Some(shown(estimate)),
            low: Some(shown(low)).filter(|low| low.is_finite()),
            high: Some(shown(high)).filter(|high| high.is_finite()),
            unit: if is_relative { "ratio" } else { "per user" },
            measure: if is_relative { Measure::Relative } else { Measure::Difference },
        });
    }

    fn minimum_lack(&self, sides: &[Vec<&PlacedUser>; 2]) -> Option<Lack> {
        let (events, trials) = self.minimum;
        let least =
            |count: &dyn Fn(&Vec<&PlacedUser>) -> usize| count(&sides[0]).min(count(&sides[1])) as f64;
        let users = least(&|side| side.len());
        let converted = least(&|side| side.iter().filter(|user| user.converted().is_some()).count());
        if users < trials {
            Some(Lack::Trials { have: users, need: trials })
        } else if converted < events {
            Some(Lack::Events { have: converted, need: events })
        } else {
            None
        }
    }
}

/// Users who arrived after warm-up.
fn kept<'a>(
    grid: &'a Grid,
    cells: &'a UserCells,
    side: usize,
    i: usize,
) -> impl Iterator<Item = &'a PlacedUser> {
    cells.seen(side, i).filter(|user| grid.is_warm(user.first))
}

fn is_binary(cells: &UserCells, i: usize) -> bool {
    let updates = cells.sides.iter().flatten().flat_map(|user| &user.updates);
    updates.filter(|(idx, _)| *idx <= i).all(|(_, value)| *value == 0.0 || *value == 1.0)
}
