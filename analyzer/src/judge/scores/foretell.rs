//! What distributions will be able to show.

use crate::stats::means::GO_HISTORY_MIN;
use crate::stats::scores::Score;

use super::super::check::{Lack, directions};
use super::super::foretell::{Expected, Reach, Size};
use super::terms::scaling;
use super::{BucketCells, ScoreCheck, total};

impl ScoreCheck {
    /// The shift is one of all values: found by whichever score finds the smallest.
    pub(in crate::judge) fn foretell(&self, expected: &Expected) -> Reach {
        let prepared = self.clone().ensure(&mut [BucketCells::default(), BucketCells::default()]);
        let have = if prepared.pre_noise.is_some() { prepared.tests[0].n_history() } else { 0 };
        let lack = (have < GO_HISTORY_MIN).then_some(Lack::History { have, need: GO_HISTORY_MIN });
        let method =
            "D: rank, exponential and tail scores, each a shift of the mean by M against its history";
        let (Some(sheet), Some(before)) = (&prepared.sheet, prepared.pre_noise) else {
            return Reach { lack, method, ..Reach::default() };
        };
        let noise = expected.share.and_then(|share| Some(self.inverse_n_at(share)? / before)).unwrap_or(1.0);
        let sign = directions(self.terms.harm)[0].sign();
        let (mut shift, mut go) = (None::<f64>, self.terms.margin.map(|_| 0));
        for (idx, score) in Score::ALL.into_iter().enumerate() {
            let margin = self.terms.margin.filter(|_| self.terms.is_picked(score));
            let found = prepared.tests[idx].foretell(
                &prepared.pre_values[idx],
                noise,
                self.terms.sizes(sheet, score, self.terms.tolerated),
                margin.map(|margin| self.terms.sizes(sheet, score, margin)),
            );
            if margin.is_some() {
                let looks = found.and_then(|found| found.go_looks);
                go = go.zip(looks).map(|(a, b): (usize, usize)| a.max(b));
            }
            let part = found.and_then(|found| scaling(sheet, score, sign * found.shift));
            shift = match (shift, part.map(f64::abs)) {
                (Some(least), Some(one)) => Some(least.min(one)),
                (least, one) => least.or(one),
            };
        }
        Reach { shift: shift.map(Size::relative), go_looks: go, lack, method, ..Reach::default() }
    }

    /// Returns what `1/n` of both sides will be at a share.
    fn inverse_n_at(&self, share: f64) -> Option<f64> {
        let sums = self.pre.iter().flat_map(|side| side.cells.iter().flatten()).map(|counts| total(counts));
        let n = self.pre.iter().map(|side| side.cells.iter().flatten().count()).max()? as f64;
        let all = sums.sum::<f64>() / n;
        Some(1.0 / (share * all) + 1.0 / ((1.0 - share) * all)).filter(|inverse| inverse.is_finite())
    }
}
