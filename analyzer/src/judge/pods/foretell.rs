//! What a comparison of new pods will be able to show.

use crate::stats::births::{Part, Pods};
use crate::verdict::{Measure, NewPods};

use super::super::check::directions;
use super::super::foretell::{Expected, Reach, Size, first_look};
use super::super::scale::Scale;
use super::PodCheck;

impl PodCheck {
    pub(in crate::judge) fn foretell(&self, expected: &Expected) -> Reach {
        let pods = Pods { canary: expected.canary, old: expected.baseline, fresh: expected.fresh };
        let mut run = self.clone();
        run.part = None;
        run.choose(pods);
        let part = run.part.flatten();
        let shift = part.and_then(|part| run.announced(part, pods));
        let margin = run.margin.map(|margin| run.scale.sizes(run.harm, margin, run.baseline_mean));
        let goes = |t: usize| run.would_go(part?, pods, t, margin?);
        let serves = matches!(part, Some(Part::Births | Part::Fresh));
        // Looks are counted from the warm-up on: pods that are still settling take theirs.
        let settling = run.age.map_or(0, |age| age - run.warm_up);
        let go = first_look(run.t_max, |t| goes(t) == Some(true)).filter(|_| serves);
        let (births, events) = run.sides[0].fleet.n_births();
        Reach {
            shift: shift.map(|shift| run.size(shift)),
            go_looks: go.map(|looks| looks + settling),
            lack: run.lack(pods),
            method: run.method(),
            new_pods: Some(NewPods {
                compared_with: part.map_or("none", Part::word),
                canary: pods.canary as u64,
                old: pods.old as u64,
                fresh: pods.fresh as u64,
                births: births as u64,
                events: events as u64,
                settled_ms: None,
                announced: shift.map(|shift| run.scale.shown(shift)),
            }),
            settled: run.age,
            ..Reach::default()
        }
    }

    /// Tells whether a canary that is like the old pods goes at a look.
    fn would_go(&self, part: Part, pods: Pods, t: usize, margin: [f64; 2]) -> Option<bool> {
        let age = self.age?;
        let p = self.sides.iter().enumerate().map(|(idx, side)| {
            side.fleet.law(part, pods, age, t).map_or(1.0, |law| law.p_go(0.0, margin[idx]))
        });
        Some(p.fold(0.0, f64::max) <= self.go_levels.nominal(t))
    }

    fn size(&self, shift: f64) -> Size {
        match self.scale {
            Scale::Log { .. } => Size::relative((directions(self.harm)[0].sign() * shift).exp_m1().abs()),
            Scale::Linear => Size { value: shift, measure: Measure::Difference, unit: "value" },
        }
    }
}
