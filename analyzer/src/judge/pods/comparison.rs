//! What all checks on new pods share: one age from which they count, and one choice of whom they are compared with.

use crate::stats::births::{Noise, Part, Pods};
use crate::verdict::NewPods;

use super::super::check::Lack;
use super::super::data::BirthData;
use super::super::foretell::{Expected, Reach, Size};
use super::super::grid::Grid;
use super::test::{Differences, Hosts, PodTest, PodValues};

/// The tests of one check on new pods: one of a mean, one a score of a distribution.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) tests: Vec<PodTest>,
    age: Option<usize>,
    warm_up: usize,
    /// With whom the canary is compared; fixed when it first shows.
    part: Option<Option<Part>>,
}

impl Comparison {
    /// Puts tests together: pods count from the largest age at which any of them finds births settled.
    pub(super) fn new(mut tests: Vec<PodTest>, warm_up: usize) -> Self {
        let ages: Vec<Option<usize>> = tests.iter_mut().map(PodTest::settle).collect();
        let age = ages.into_iter().collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().max());
        tests.iter_mut().for_each(|test| test.count_from(age));
        Self { tests, age, warm_up, part: None }
    }

    /// Takes age and choice from before the tests were prepared anew: neither may follow what the canary shows.
    pub(super) fn keep(&mut self, before: &Self) {
        (self.age, self.part) = (before.age, before.part);
        self.tests.iter_mut().for_each(|test| test.count_from(before.age));
    }

    /// Leaves the choice open again.
    pub(super) fn forget(&mut self) {
        self.part = None;
    }

    /// Returns births tried as a canary of one against the others, how many alarmed, and at which level.
    pub(super) fn placebo(&self) -> (usize, usize, f64) {
        let mut any: Vec<bool> = Vec::new();
        let mut level = 0.0;
        for test in &self.tests {
            let own = test.placebo_alarms();
            any.resize(own.len().max(any.len()), false);
            any.iter_mut().zip(own).for_each(|(any, own)| *any |= own);
            level += test.level() * test.n_sides() as f64;
        }
        (any.len(), any.iter().filter(|alarmed| **alarmed).count(), level)
    }

    /// Counts pods: those of the canary that have shown in half of its intervals; before any counts, all.
    pub(super) fn pods(&self, i: usize, run: &PodValues, seen: &Differences) -> Pods {
        let shown = |hosts: &Hosts| {
            hosts.values().filter(|cells| cells.iter().take(i + 1).any(Option::is_some)).count()
        };
        let count = |n: usize, hosts: &Hosts| if n == 0 { shown(hosts) } else { n };
        Pods {
            canary: count(seen.canary.pods.len(), &run.canary),
            old: count(seen.n_old, &run.old),
            fresh: count(seen.fresh.pods.len(), &run.fresh),
        }
    }

    /// Chooses with whom to compare, once: the choice must not follow what the canary shows.
    pub(super) fn choose(&mut self, pods: Pods) {
        if self.part.is_none() {
            self.part = Some(self.tests.iter().find_map(|test| test.choose(pods)));
        }
    }

    /// Returns with whom the canary is compared, once that is chosen.
    pub(super) fn part(&self) -> Option<Part> {
        self.part.flatten()
    }

    pub(super) fn described(&self, grid: &Grid, pods: Pods, announced: Option<f64>) -> NewPods {
        let settled_ms = self.age.map(|age| age as u64 * grid.interval_ms());
        NewPods { settled_ms, ..self.new_pods(pods, announced) }
    }

    fn new_pods(&self, pods: Pods, announced: Option<f64>) -> NewPods {
        let (births, events) = self.tests[0].n_births();
        NewPods {
            compared_with: self.part().map_or("none", Part::word),
            canary: pods.canary as u64,
            old: pods.old as u64,
            fresh: pods.fresh as u64,
            births: births as u64,
            events: events as u64,
            settled_ms: None,
            announced,
        }
    }

    /// Says what keeps new pods from going.
    ///
    /// - `finds`: whether so many pods would show harm below the margin by fresh ones.
    pub(super) fn lack(&self, pods: Pods, finds: impl Fn(Pods) -> bool) -> Option<Lack> {
        if self.age.is_none() {
            return Some(Lack::Unsettled { intervals: self.warm_up + self.tests[0].t_max() });
        }
        let trust = match self.part() {
            Some(Part::Births | Part::Fresh) => return None,
            Some(Part::Old) => {
                "that new pods are settled by then is taken on trust, so they can be refused and cannot go"
            }
            None => "so they have no vote",
        };
        let (births, events) = self.tests[0].n_births();
        Some(Lack::Births {
            what: format!(
                "the canary's {} pods are new, and {births} earlier starts in {events} events are known, of 3 events \
                 that are needed: {trust}; {}",
                pods.canary,
                would_do(pods, finds)
            ),
        })
    }

    /// Says what is to be expected of new pods, once with whom they will be compared is chosen.
    ///
    /// - `shift`: what will be found, as a size and as a verdict writes it.
    /// - `goes`: whether an unchanged canary goes at a look.
    pub(super) fn reach(
        &self,
        pods: Pods,
        shift: Option<(Size, f64)>,
        goes: impl Fn(usize) -> bool,
        lack: Option<Lack>,
    ) -> Reach {
        let serves = matches!(self.part(), Some(Part::Births | Part::Fresh));
        // Looks are counted from the warm-up on: pods that are still settling take theirs.
        let settling = self.age.map_or(0, |age| age - self.warm_up);
        let go = super::super::foretell::first_look(self.tests[0].t_max(), goes).filter(|_| serves);
        Reach {
            shift: shift.map(|(size, _)| size),
            go_looks: go.map(|looks| looks + settling),
            lack,
            new_pods: Some(self.new_pods(pods, shift.map(|(_, shown)| shown))),
            settled: self.age,
            ..Reach::default()
        }
    }
}

/// Says how many fresh pods would show harm below the margin.
fn would_do(pods: Pods, finds: impl Fn(Pods) -> bool) -> String {
    const FRESH_MAX: usize = 100;
    let fresh = match (pods.canary.max(1)..=FRESH_MAX).find(|fresh| finds(Pods { fresh: *fresh, ..pods })) {
        Some(fresh) => {
            format!("{fresh} fresh pods of the old version, started together with the canary,")
        }
        None => "more pods of the canary and as many fresh ones of the old version".to_owned(),
    };
    format!("{fresh} or 12 starts in 6 events would do")
}

/// Counts the pods that are to be expected.
pub(super) fn expected_pods(expected: &Expected) -> Pods {
    Pods { canary: expected.canary, old: expected.baseline, fresh: expected.fresh }
}

/// Says how much noisier pods will be that get another share of the requests than the old ones had.
pub(super) fn expected_noise(expected: &Expected) -> Noise {
    let canary = expected.share.map_or(1.0, |share| {
        let of_old = (1.0 - share) / expected.baseline as f64;
        of_old * expected.canary as f64 / share
    });
    Noise { canary: canary.max(1.0), ..Noise::USUAL }
}

/// Numbers the events of births in the order in which they come.
pub(super) fn event_of(births: &[BirthData], event: &str) -> usize {
    births.iter().position(|birth| birth.event == event).unwrap_or(0)
}

/// Tells whether under half of the pods that births were compared with are still there, where births name them.
pub(super) fn is_replaced(births: &[BirthData], is_there: impl Fn(&str) -> bool) -> bool {
    let named: Vec<&String> = births.iter().flat_map(|birth| &birth.pods).collect();
    let still = named.iter().filter(|pod| is_there(pod)).count();
    2 * still < named.len()
}
