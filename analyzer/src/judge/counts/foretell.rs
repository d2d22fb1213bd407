//! What counts will be able to show.

use crate::stats::counts_power::{Split, power};
use crate::verdict::Measure;

use super::super::check::{Direction, Lack};
use super::super::foretell::{Expected, Reach, Size, first_look, least};
use super::{CountCells, CountCheck, GoTest, Treatment, events_needed, tolerated_share};
use crate::stats::dispersion::EventLaw;
use crate::stats::rates::Rate;

/// What was counted before the release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::judge) struct Usual {
    /// Events of both sides over all intervals.
    events: f64,
    /// Trials or exposure of each side over all intervals.
    exposure: [f64; 2],
    /// Intervals that either side has.
    n: f64,
}

impl Usual {
    /// Sums up a history; `None` without any exposure.
    pub(in crate::judge) fn new(pre: &[CountCells; 2]) -> Option<Self> {
        let present = |side: &CountCells| side.iter().flatten().filter(|cell| cell.1 > 0.0).count();
        let sums = [0, 1].map(|side: usize| {
            pre[side].iter().flatten().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1))
        });
        let n = present(&pre[0]).max(present(&pre[1])) as f64;
        let exposure = [sums[0].1, sums[1].1];
        (n > 0.0).then_some(Self { events: sums[0].0 + sums[1].0, exposure, n })
    }

    /// Exposure of both sides in one interval.
    fn by_interval(&self) -> f64 {
        (self.exposure[0] + self.exposure[1]) / self.n
    }

    /// Events over exposure.
    fn rate(&self) -> f64 {
        self.events / (self.exposure[0] + self.exposure[1])
    }

    /// Returns the canary's share: as declared, else what its units had, else its part of the units.
    fn share(&self, expected: &Expected) -> f64 {
        let of_history = self.exposure[1] / (self.exposure[0] + self.exposure[1]);
        let of_units = expected.canary as f64 / (expected.canary + expected.baseline).max(1) as f64;
        let usual = if 0.0 < of_history && of_history < 1.0 { of_history } else { of_units };
        expected.share.unwrap_or(usual).clamp(1e-6, 1.0 - 1e-6)
    }

    /// Returns what `1/n` of both sides will be at a share.
    pub(in crate::judge) fn inverse_n(&self, share: f64) -> Option<f64> {
        let all = self.by_interval();
        Some(1.0 / (share * all) + 1.0 / ((1.0 - share) * all)).filter(|inverse| inverse.is_finite())
    }
}

impl CountCheck {
    /// - `usual`: the history's counts.
    pub(in crate::judge) fn foretell(&self, usual: &Usual, expected: &Expected) -> Reach {
        let share = self.declared_share.unwrap_or_else(|| usual.share(expected));
        let n_looks = self.budget.n_looks;
        // Where the history shows no event, its rate is taken as what half of one would make it.
        let rate = usual.rate().max(0.5 / (usual.exposure[0] + usual.exposure[1]));
        let events = rate * usual.by_interval() * n_looks as f64;
        let spread = self.spread.map(|spread| (spread, expected.canary, expected.baseline));
        let found: Option<Vec<f64>> = (self.harm.iter())
            .map(|side| {
                let is_up = side.direction == Direction::Up;
                let tolerated = side.lattice.theta();
                let split = Split { events: events / self.clump, share, is_up, tolerated };
                least(|shift| power(&split, shift, self.fixed_level(share), spread))
            })
            .collect();
        let shift = found.and_then(|all| all.into_iter().reduce(f64::max));
        let relative = shift.map(|log| match self.harm[0].direction {
            Direction::Up => log.exp_m1(),
            Direction::Down => -(-log).exp_m1(),
        });
        let sums = |t: usize| {
            let all = usual.by_interval() * t as f64;
            [1.0 - share, share].map(|part| (usual.rate() * part * all, part * all))
        };
        let goes = |t: usize| {
            let mut run = self.clone();
            [run.seen.baseline, run.seen.canary] = sums(t);
            run.would_go(t, expected) && run.lack_then().is_none()
        };
        let mut last = self.clone();
        [last.seen.baseline, last.seen.canary] = sums(n_looks);
        let has_margin = !matches!(self.go, GoTest::Never);
        Reach {
            shift: relative.map(|part| self.size(part, rate)),
            go_looks: has_margin.then(|| first_look(n_looks, goes)).flatten(),
            lack: has_margin.then(|| last.lack_then()).flatten(),
            method: self.method(),
            ..Reach::default()
        }
    }

    /// Writes a relative shift as the margin is written.
    fn size(&self, part: f64, rate: f64) -> Size {
        let unit = if self.law == EventLaw::Binomial { "ratio" } else { "per exposure" };
        match self.go {
            GoTest::Absolute { .. } => Size { value: part * rate, measure: Measure::Difference, unit },
            _ => Size::relative(part),
        }
    }

    /// Returns the level of one test at the last look that finds as much as all looks do.
    fn fixed_level(&self, share: f64) -> f64 {
        let level = self.budget.part(self.harm.len() as f64).nominal(self.budget.n_looks);
        let is_even = (0.48..=0.52).contains(&share);
        match self.treatment {
            Treatment::Binomial => level,
            Treatment::Clumps | Treatment::Swap | Treatment::Groups if is_even => level,
            // A bet against alpha: its e-value must reach 1 / alpha, which a test at this level does as often.
            _ => (0.2 * level * level.sqrt()).min(level),
        }
    }

    /// Tells whether such counts would be a go at a look.
    fn would_go(&self, t: usize, expected: &Expected) -> bool {
        let [baseline, canary] = self.rates(1.0);
        let pods = (expected.baseline, expected.canary);
        match &self.go {
            GoTest::Never => false,
            GoTest::Absolute { margin, levels } => {
                let worst = self.worst_level(*margin, 1.0).max(self.spread.map_or(0.0, |spread| {
                    spread.difference_level((&canary, pods.1), (&baseline, pods.0), *margin)
                }));
                worst <= levels.nominal(t)
            }
            GoTest::Relative { sides, .. } => sides.iter().all(|(direction, lattice)| {
                // The side whose surplus speaks for go.
                let (own, other) = match direction {
                    Direction::Up => (&baseline, &canary),
                    Direction::Down => (&canary, &baseline),
                };
                let share = own.exposure / (own.exposure + other.exposure);
                let all = own.events + other.events;
                let share = tolerated_share(share, lattice.theta());
                let split = Rate { events: own.events, exposure: all, law: EventLaw::Binomial };
                let p = match self.spread {
                    Some(spread) => spread.p(own.events, all, share, pods.1, pods.0),
                    None => split.at_least(share),
                };
                p <= self.budget.go().nominal(t)
            }),
        }
    }

    /// Says what such counts lack for a go.
    fn lack_then(&self) -> Option<Lack> {
        let need = match &self.go {
            GoTest::Never => return None,
            GoTest::Absolute { margin, .. } => {
                let need = (3.0 / margin).ceil();
                (self.seen.canary.1 < need).then_some(Lack::Trials { have: self.seen.canary.1, need })
            }
            GoTest::Relative { part, .. } => {
                let (need, have) = (events_needed(*part), self.seen.canary.0 + self.seen.baseline.0);
                (have < need).then_some(Lack::Events { have, need })
            }
        };
        need.or_else(|| self.minimum_lack())
    }
}
