//! Procedures M and H: shifts of means.

use crate::stats::births::Pods;
use crate::stats::hosts::{Hosts, NU_GO, NU_MIN};
use crate::stats::means::{GO_HISTORY_MIN, median};
use crate::verdict::Measure;

use super::super::check::{Lack, directions};
use super::super::counts::Usual;
use super::super::foretell::{Expected, POWER, Reach, Size, first_look};
use super::super::grid::Cells;
use super::super::scale::Scale;
use super::{MeanCheck, ShiftTest, mean_of};

/// Stretches of the history that stand for the release, the latest: each gives an answer, and their median counts.
const STRETCHES: usize = 5;

/// What a test of a series will show, on the scale of its values.
#[derive(Clone, Copy, Debug)]
pub(in crate::judge) struct Found {
    pub(in crate::judge) shift: f64,
    pub(in crate::judge) go_looks: Option<usize>,
}

/// Cuts the latest stretches of so many intervals, one behind the other; a history that is too short for one is
/// repeated.
fn stretches(history: &[f64], n: usize) -> Vec<Vec<f64>> {
    if history.len() < n {
        return vec![history.iter().copied().cycle().take(n).collect()];
    }
    history.rchunks_exact(n).take(STRETCHES).map(<[f64]>::to_vec).collect()
}

/// Moves a stretch to a mean, and its scatter by a factor of the variance.
fn centred(values: &[f64], mean: f64, noise: f64) -> Vec<f64> {
    let own = mean_of(values.iter().filter(|value| value.is_finite()));
    values.iter().map(|value| mean + (value - own) * noise.sqrt()).collect()
}

impl ShiftTest {
    /// Says which shift the last look finds in 80 % of cases, and when a release without one goes.
    ///
    /// - `history`: differences before the release.
    /// - `noise`: by what the variance will change at the release.
    pub(in crate::judge) fn foretell(
        &self,
        history: &[f64],
        noise: f64,
        tolerated: [f64; 2],
        margin: Option<[f64; 2]>,
    ) -> Option<Found> {
        let n_looks = self.levels.n_looks();
        let stretches = stretches(history, n_looks);
        let mut shift: f64 = 0.0;
        let mut go = margin.map(|_| 0);
        for (idx, (direction, means)) in self.sides.iter().enumerate() {
            let sign = direction.sign();
            let usual = means.history_mean();
            let signed = |values: &[f64]| values.iter().map(|value| sign * value).collect::<Vec<_>>();
            let signed: Vec<Vec<f64>> = stretches.iter().map(|one| signed(one)).collect();
            let level = self.levels.nominal(n_looks);
            let reaches: Vec<f64> = (signed.iter())
                .filter_map(|values| {
                    let look = means.look(&centred(values, usual, noise), noise);
                    let reach = look.estimate()? - look.interval(level).0;
                    Some(reach + POWER * look.standard_error()).filter(|reach| reach.is_finite())
                })
                .collect();
            shift = shift.max(tolerated[idx] + Some(median(&reaches)).filter(|one| one.is_finite())?);
            let goes = |margin: f64| {
                let first = |values: &Vec<f64>| {
                    let holds = |t: usize| {
                        let so_far = centred(&values[..t], usual, noise);
                        means.look(&so_far, noise).p_go(margin) <= self.go_levels.nominal(t)
                    };
                    first_look(n_looks, holds).map_or(f64::INFINITY, |looks| looks as f64)
                };
                let looks = median(&signed.iter().map(first).collect::<Vec<_>>());
                looks.is_finite().then_some(looks.ceil() as usize)
            };
            go = go.zip(margin.and_then(|margin| goes(margin[idx]))).map(|(a, b): (usize, usize)| a.max(b));
        }
        Some(Found { shift, go_looks: go.filter(|_| self.n_history() >= GO_HISTORY_MIN) })
    }
}

impl MeanCheck {
    /// - `usual`: the counts of the history, for shares of counted things.
    pub(in crate::judge) fn foretell(&self, usual: Option<&Usual>, expected: &Expected) -> Reach {
        let method = self.method();
        let baseline_mean = self.usual_mean();
        let tolerated = self.sizes(self.tolerated, baseline_mean);
        let margin = self.margin.map(|margin| self.sizes(margin, baseline_mean));
        if self.pre_values.is_empty() {
            return self.foretell_by_hosts(expected, tolerated, margin);
        }
        // A declared share other than the history's changes the noise of shares.
        let noise = usual.zip(self.pre_noise).zip(expected.share);
        let noise = noise.and_then(|((usual, before), share)| Some(usual.inverse_n(share)? / before));
        let found = self.test.foretell(&self.pre_values, noise.unwrap_or(1.0), tolerated, margin);
        let have = self.test.n_history();
        Reach {
            shift: found.map(|found| self.size(found.shift)),
            go_looks: found.and_then(|found| found.go_looks),
            lack: (have < GO_HISTORY_MIN).then_some(Lack::History { have, need: GO_HISTORY_MIN }),
            method,
            ..Reach::default()
        }
    }

    /// The baseline's mean in the history.
    fn usual_mean(&self) -> f64 {
        Some(mean_of(self.pre[0].values().flatten().flatten())).filter(|mean| mean.is_finite()).unwrap_or(0.0)
    }

    fn size(&self, shift: f64) -> Size {
        let sign = directions(self.harm)[0].sign();
        match self.scale {
            Scale::Log { .. } => Size::relative((sign * shift).exp_m1().abs()),
            Scale::Linear => Size { value: shift, measure: Measure::Difference, unit: self.unit },
        }
    }

    /// Where only the baseline has a history its hosts tell how far hosts' means lie apart.
    fn foretell_by_hosts(&self, expected: &Expected, tolerated: [f64; 2], margin: Option<[f64; 2]>) -> Reach {
        let none = |have: usize| Reach {
            lack: Some(Lack::History { have, need: GO_HISTORY_MIN }),
            method: self.method(),
            ..Reach::default()
        };
        let hosts = &self.pre[0];
        let n_looks = self.test.levels.n_looks();
        if (expected.canary + expected.baseline) as f64 - 2.0 < NU_MIN || hosts.len() < 2 {
            return none(0);
        }
        let length = hosts.values().map(Vec::len).max().unwrap_or(0);
        let means_of = |from: usize, to: usize| -> Vec<f64> {
            let mean = |cells: &Cells<f64>| {
                let values = cells.get(from..to.min(cells.len())).unwrap_or_default();
                let values: Vec<f64> =
                    values.iter().flatten().map(|value| self.scale.apply(*value)).collect();
                (2 * values.len() >= to - from).then(|| mean_of(values.iter()))
            };
            hosts.values().filter_map(mean).collect()
        };
        let variance = |t: usize| {
            let windows = length / t.max(1);
            let all = (0..windows.min(STRETCHES)).map(|idx| {
                let to = length - idx * t;
                let means = means_of(to - t, to);
                let centre = mean_of(means.iter());
                let squares: f64 = means.iter().map(|mean| (mean - centre).powi(2)).sum();
                squares / (means.len() as f64 - 1.0)
            });
            median(&all.filter(|one| one.is_finite()).collect::<Vec<_>>())
        };
        let pods = Pods { canary: expected.canary, old: expected.baseline, fresh: 0 };
        let at = |t: usize| Hosts {
            difference: 0.0,
            error: (variance(t) * (1.0 / pods.canary as f64 + 1.0 / pods.old as f64)).sqrt(),
            nu: (pods.canary + pods.old) as f64 - 2.0,
        };
        let last = at(n_looks.min(length));
        if last.error.is_nan() || last.error <= 0.0 {
            return none(length);
        }
        let shift = tolerated[0] + last.reach(self.test.levels.nominal(n_looks)) + POWER * last.error;
        let go = margin.and_then(|margin| {
            let holds = |t: usize| {
                let hosts = at(t.min(length));
                hosts.error > 0.0 && hosts.p_go(1.0, margin[0]) <= self.test.go_levels.nominal(t)
            };
            first_look(n_looks, holds)
        });
        Reach {
            shift: Some(self.size(shift)),
            go_looks: go.filter(|_| last.nu >= NU_GO),
            lack: (last.nu < NU_GO).then_some(Lack::History { have: 0, need: GO_HISTORY_MIN }),
            method: "H: hosts as the unit, a t test of their means since the start",
            ..Reach::default()
        }
    }
}
