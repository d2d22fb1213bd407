//! The demo's two phases, simulated.

use greylight_analyzer::judge::{CheckData, Counts, Data, Histogram, Pattern, PatternCounts, Sides};
use indexmap::IndexMap;

use super::latency::{BUCKETS, Shape, Slow, latencies};
use super::{Chance, Outcome, judge, times};

/// What is wrong with a release of [`demo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One request in ten takes ten times as long and one in fifty fails with a new log line.
    Bad,
    /// One request in ten takes ten times as long.
    Slow,
    /// One request in fifty fails with a new log line.
    Errors,
}

/// The demo: 500 ms intervals, 220 of history, three instances of which one becomes the canary, error share
/// (margin 2 points), latency (25 %) and log patterns, `tenth` or `half` of the requests.
pub(crate) fn demo(requests_per_s: f64, share: f64, fault: Fault, chance: &mut Chance) -> Outcome {
    let policy = format!(
        "name: demo\ninterval: 500ms\nwarm_up: 2s\ndelay: 1s\nphases:\n\
         - name: tenth\n  traffic_share: {share}\n  lasts: {{ at_least: 5s, at_most: 30s }}\n  checks:\n  \
         - {{ name: error share, kind: ratio, margin: {{ absolute: 0.02 }} }}\n  \
         - {{ name: latency, kind: distribution, margin: {{ relative: 25% }} }}\n  \
         - {{ name: log patterns, kind: patterns, severity: warn }}\n\
         - name: half\n  starts: on_call\n  lasts: {{ at_least: 5s, at_most: 30s }}\n  checks:\n  \
         - {{ name: errors, kind: ratio, margin: {{ absolute: 0.02 }} }}\n"
    );
    const HISTORY: usize = 220;
    const PHASE: usize = 64;
    let per_interval = requests_per_s / 2.0;
    let mut canary = Side::default();
    let mut baseline = Side::default();
    for i in 0..HISTORY + PHASE {
        let is_release = i >= HISTORY;
        let to_canary = if is_release { share } else { 1.0 / 3.0 };
        let all = per_interval as usize;
        let n = chance.binomial(all, to_canary);
        canary.add(chance, n, if is_release { fault } else { Fault::None });
        baseline.add(chance, all - n, Fault::None);
    }
    let data = |pick: fn(&Side, usize, usize, i64) -> Data| CheckData {
        pre: Sides {
            baseline: Some(pick(&baseline, 0, HISTORY, -(HISTORY as i64))),
            canary: Some(pick(&canary, 0, HISTORY, -(HISTORY as i64))),
        },
        run: Sides {
            baseline: Some(pick(&baseline, HISTORY, HISTORY + PHASE, 0)),
            canary: Some(pick(&canary, HISTORY, HISTORY + PHASE, 0)),
        },
        ..CheckData::default()
    };
    judge(
        &policy,
        IndexMap::from([
            ("error share".to_owned(), data(Side::ratio)),
            ("latency".to_owned(), data(Side::histogram)),
            ("log patterns".to_owned(), data(Side::patterns)),
        ]),
    )
}

/// What one side of the demo shows, interval by interval.
#[derive(Debug, Default)]
struct Side {
    trials: Vec<Option<f64>>,
    errors: Vec<Option<f64>>,
    counts: Vec<Option<Vec<f64>>>,
    known: Vec<Option<f64>>,
    new: Vec<Option<f64>>,
}

impl Side {
    fn add(&mut self, chance: &mut Chance, n: usize, fault: Fault) {
        let usual = chance.binomial(n, 0.002);
        let failed = if matches!(fault, Fault::Bad | Fault::Errors) { chance.binomial(n, 0.02) } else { 0 };
        let part = if matches!(fault, Fault::Bad | Fault::Slow) { 0.1 } else { 0.0 };
        self.trials.push(Some(n as f64));
        self.errors.push(Some((usual + failed) as f64));
        self.known.push(Some(usual as f64));
        self.new.push(Some(failed as f64));
        self.counts.push(Some(latencies(
            chance,
            n,
            (Shape::Lognormal(0.6), &BUCKETS),
            Slow { part, factor: 10.0 },
            0.0,
        )));
    }

    fn ratio(&self, from: usize, to: usize, at: i64) -> Data {
        Data::Counts(Counts {
            t_ms: times(at, to - from, 500),
            events: self.errors[from..to].to_vec(),
            exposure: self.trials[from..to].to_vec(),
            units: IndexMap::new(),
        })
    }

    fn histogram(&self, from: usize, to: usize, at: i64) -> Data {
        Data::Histogram(Histogram {
            t_ms: times(at, to - from, 500),
            le: BUCKETS.to_vec(),
            counts: self.counts[from..to].to_vec(),
            units: IndexMap::new(),
        })
    }

    fn patterns(&self, from: usize, to: usize, at: i64) -> Data {
        let one = |text: &str, counts: &[Option<f64>]| Pattern {
            text: text.to_owned(),
            severity: Some("error".to_owned()),
            counts: counts[from..to].to_vec(),
            ..Pattern::default()
        };
        Data::Patterns(PatternCounts {
            t_ms: times(at, to - from, 500),
            records: self.trials[from..to].to_vec(),
            trials: Some(self.trials[from..to].to_vec()),
            patterns: IndexMap::from([
                ("known".to_owned(), one("request <*> failed", &self.known)),
                ("new".to_owned(), one("upstream <*> timed out", &self.new)),
            ]),
        })
    }
}
