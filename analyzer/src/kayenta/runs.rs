//! A series of judgements over the life of a canary, and what it comes to.

use super::score::Thresholds;

/// When judgements are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Start of the canary, in epoch milliseconds.
    pub start_ms: i64,
    /// Time left out after the start, in milliseconds; not used where an end is given.
    pub warm_up_ms: i64,
    /// How long it lives, in milliseconds.
    pub lifetime_ms: i64,
    /// Distance of judgements, in milliseconds.
    pub interval_ms: i64,
    /// How much each looks at, in milliseconds; 0 for all since the start.
    pub lookback_ms: i64,
    /// Whether the end was given, so that the past is judged.
    pub has_end: bool,
}

/// The stretch that one judgement looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Start, in epoch milliseconds.
    pub start_ms: i64,
    /// End, in epoch milliseconds.
    pub end_ms: i64,
}

impl Plan {
    /// Returns the stretches that are judged, in order: as many as whole intervals fit, in whole minutes.
    pub fn windows(&self) -> Vec<Window> {
        const MINUTE_MS: i64 = 60_000;
        // A year of minutes: more judgements than that are a slip of the pen.
        const JUDGEMENTS_MAX: i64 = 527_040;
        let (lifetime, interval) = (self.lifetime_ms / MINUTE_MS, self.interval_ms / MINUTE_MS);
        if interval <= 0 || lifetime < interval {
            return Vec::new();
        }
        let start = self.start_ms + if self.has_end { 0 } else { self.warm_up_ms };
        (1..=(lifetime / interval).min(JUDGEMENTS_MAX))
            .map(|i| {
                let end_ms = start + i * interval * MINUTE_MS;
                let start_ms = if self.lookback_ms > 0 { end_ms - self.lookback_ms } else { start };
                Window { start_ms, end_ms }
            })
            .collect()
    }
}

/// What the judgements so far mean for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The next judgement is due.
    Running,
    /// It ended well.
    Passed,
    /// It failed, at the end or before.
    Failed,
}

/// Follows the scores of the judgements made so far, in order.
///
/// A score at or below `marginal` ends the run; so "marginal" in the label is not enough here. At the end
/// only the last score is held to `pass`.
pub fn progress(scores: &[f64], n_judgements: usize, thresholds: &Thresholds) -> Progress {
    if scores.iter().any(|score| *score <= thresholds.marginal) {
        return Progress::Failed;
    }
    match scores.last() {
        Some(last) if scores.len() >= n_judgements => {
            if *last >= thresholds.pass {
                Progress::Passed
            } else {
                Progress::Failed
            }
        }
        _ => Progress::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn plan() -> Plan {
        Plan {
            start_ms: 1_000 * MINUTE,
            warm_up_ms: 5 * MINUTE,
            lifetime_ms: 180 * MINUTE,
            interval_ms: 50 * MINUTE,
            lookback_ms: 0,
            has_end: false,
        }
    }

    #[test]
    fn whole_intervals_are_judged_growing_or_sliding() {
        let spans = |plan: Plan| -> Vec<(i64, i64)> {
            let minutes = |ms: i64| ms / MINUTE - 1_000;
            plan.windows().iter().map(|one| (minutes(one.start_ms), minutes(one.end_ms))).collect()
        };
        assert_eq!(spans(plan()), [(5, 55), (5, 105), (5, 155)]);
        assert_eq!(spans(Plan { lookback_ms: 30 * MINUTE, ..plan() }), [(25, 55), (75, 105), (125, 155)]);
        assert_eq!(spans(Plan { has_end: true, ..plan() }), [(0, 50), (0, 100), (0, 150)]);
        assert!(spans(Plan { interval_ms: 0, ..plan() }).is_empty());
    }

    #[test]
    fn marginal_must_be_exceeded_and_only_the_last_score_must_pass() {
        let by = Thresholds::default();
        assert_eq!(progress(&[80.0], 3, &by), Progress::Running);
        assert_eq!(progress(&[80.0, 75.0], 3, &by), Progress::Failed);
        assert_eq!(progress(&[80.0, 76.0, 95.0], 3, &by), Progress::Passed);
        assert_eq!(progress(&[100.0, 100.0, 94.99], 3, &by), Progress::Failed);
    }
}
