//! Phases without a baseline beside the canary: what its own units did before stands in for one.
//!
//! The comparison is that of a series with its own history: the stand-in is the history's mean, the same in each
//! interval, so that all scatter is the canary's own. What the day does to both sides alike is not taken off here:
//! the history must show it, as placebo windows and A/A runs do.

use indexmap::IndexMap;

use super::grid::Cells;
use super::means::{MeanRun, mean_of};
use super::placed::Placed;
use super::scores::{BucketCells, BucketRun};

/// The unit that stands in for the baseline.
const UNIT: &str = "before";

/// What the canary's units did before.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Before {
    /// The mean of all values.
    Mean(f64),
    /// The sum of all buckets.
    Buckets { edges: Vec<f64>, counts: Vec<f64> },
}

impl Before {
    /// Learns from a history, which is the canary's where both sides have one, and puts the stand-in into it; `None`
    /// where there is none.
    pub(super) fn learn(pre: &mut Placed) -> Option<Self> {
        let before = match pre {
            Placed::Hosts(run) => {
                if run.hosts[1].values().all(|cells| cells.iter().all(Option::is_none)) {
                    run.hosts.swap(0, 1);
                }
                let values: Vec<f64> = run.hosts[1].values().flatten().flatten().copied().collect();
                Some(Self::Mean(mean_of(values.iter()))).filter(|_| !values.is_empty())
            }
            Placed::Buckets(run) => {
                let sides = &mut run.sides;
                if sides[1].cells.iter().all(Option::is_none) {
                    sides.swap(0, 1);
                }
                let mut sums = vec![0.0; sides[1].edges.len()];
                for counts in sides[1].cells.iter().flatten() {
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
                let is_there = sums.iter().sum::<f64>() > 0.0;
                is_there.then(|| Self::Buckets { edges: sides[1].edges.clone(), counts: sums })
            }
            _ => None,
        }?;
        before.stand_in(pre);
        Some(before)
    }

    /// Puts the stand-in beside the canary, in each interval that this one has.
    pub(super) fn stand_in(&self, placed: &mut Placed) {
        match (self, placed) {
            (Self::Mean(mean), Placed::Hosts(run)) => {
                let n = run.hosts[1].values().map(Vec::len).max().unwrap_or(0);
                let has = |idx: usize| {
                    run.hosts[1].values().any(|cells| cells.get(idx).is_some_and(Option::is_some))
                };
                let cells: Cells<f64> = (0..n).map(|idx| has(idx).then_some(*mean)).collect();
                let canary = std::mem::take(&mut run.hosts[1]);
                *run = MeanRun {
                    hosts: [IndexMap::from([(UNIT.to_owned(), cells)]), canary],
                    is_before: true,
                    ..MeanRun::default()
                };
            }
            (Self::Buckets { edges, counts }, Placed::Buckets(run)) => {
                let [_, canary] = std::mem::take(&mut run.sides);
                let cells = canary.cells.iter().map(|cell| cell.as_ref().map(|_| counts.clone())).collect();
                let baseline = BucketCells { edges: edges.clone(), cells };
                *run = BucketRun { sides: [baseline, canary], ..BucketRun::default() };
            }
            _ => {}
        }
    }

    /// Returns how many values the stand-in is made of, where these are counted.
    pub(super) fn n_values(&self) -> Option<f64> {
        match self {
            Self::Mean(_) => None,
            Self::Buckets { counts, .. } => Some(counts.iter().sum()),
        }
    }
}
