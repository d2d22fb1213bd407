//! What a comparison of new pods will be able to show.

use crate::stats::births::Noise;
use crate::verdict::Measure;

use super::super::check::directions;
use super::super::foretell::{Expected, Reach, Size};
use super::super::scale::Scale;
use super::comparison::{expected_noise, expected_pods};
use super::{PodCheck, PodScores, Question};

impl PodCheck {
    pub(in crate::judge) fn foretell(&self, expected: &Expected) -> Reach {
        let pods = expected_pods(expected);
        let mut run = self.clone();
        run.comparison.forget();
        run.comparison.choose(pods);
        let shift = run.announced(pods, Noise::USUAL);
        let (test, margin) = (&run.comparison.tests[0], run.margin());
        let goes = |t: usize| {
            run.comparison.part().is_some_and(|part| {
                let noise = Noise::USUAL;
                let question =
                    Question { part, pods, noise, tolerated: [0.0; 2], margin, is_plain_too: false };
                test.would_go(t, &question)
            })
        };
        let shift = shift.map(|shift| (run.size(shift), run.scale.shown(shift)));
        let lack = run.comparison.lack(pods, |pods| run.finds(pods));
        Reach { method: run.method(), ..run.comparison.reach(pods, shift, goes, lack) }
    }

    fn size(&self, shift: f64) -> Size {
        match self.scale {
            Scale::Log { .. } => Size::relative((directions(self.harm)[0].sign() * shift).exp_m1().abs()),
            Scale::Linear => Size { value: shift, measure: Measure::Difference, unit: "value" },
        }
    }
}

impl PodScores {
    /// The shift is one of all values: found by whichever score finds the smallest.
    pub(in crate::judge) fn foretell(&self, expected: &Expected) -> Reach {
        let (pods, noise) = (expected_pods(expected), expected_noise(expected));
        let mut run = self.clone();
        run.comparison.forget();
        run.comparison.choose(pods);
        let shift = run.announced(pods, noise).map(|shift| (Size::relative(shift.abs()), shift));
        let goes = |t: usize| run.comparison.part().is_some_and(|part| run.would_go(t, (part, pods, noise)));
        let lack = run.comparison.lack(pods, |pods| run.finds(pods));
        Reach { method: run.method(), ..run.comparison.reach(pods, shift, goes, lack) }
    }
}
