//! The states of one rule's alerts. Pure: times and answers are handed in.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use greylight_store::model::{Labels, METRIC_NAME, Timestamp};
use greylight_store::read::is_stale;

/// A resolved alert is told for so long, so that a receiver that was away learns of it.
const RESOLVED_KEPT: Duration = Duration::from_secs(15 * 60);
/// A firing alert is told again so often.
pub(super) const RESEND: Duration = Duration::from_secs(60);
/// An alert whose `for` is shorter than this is not restored: it waits anew, which takes no longer.
pub(super) const GRACE: Duration = Duration::from_secs(10 * 60);
/// States older than this are not restored.
pub(super) const OUTAGE: Duration = Duration::from_secs(3600);

/// Most alerts of one rule whose group sets no limit: each has texts, is kept, and is sent again and again.
const ALERTS_MAX: i64 = 10_000;

/// Name of the series that says which alerts there are.
const ALERTS: &str = "ALERTS";
/// Name of the series that says since when.
pub(super) const FOR_STATE: &str = "ALERTS_FOR_STATE";

/// How an alert fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Inactive,
    Pending,
    Firing,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// Names with what they are filled in with.
pub(super) type Texts = Vec<(String, String)>;

/// What the expression of a rule found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) labels: Labels,
    pub(super) annotations: Texts,
    pub(super) value: f64,
}

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) labels: Labels,
    pub(super) annotations: Texts,
    pub(super) value: f64,
    pub(super) state: State,
    pub(super) active_at: Timestamp,
    pub(super) fired_at: Option<Timestamp>,
    pub(super) resolved_at: Option<Timestamp>,
    pub(super) keep_firing_since: Option<Timestamp>,
    last_sent_at: Option<Timestamp>,
    /// It has ended and nobody was told. Not read off the times: the clock may have been set back between them.
    is_end_untold: bool,
    /// When a receiver that hears nothing more may take it for resolved.
    pub(super) valid_until: Option<Timestamp>,
}

/// Spans of a rule that its states depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    pub(super) hold: Duration,
    pub(super) keep_firing: Duration,
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Active {
    alerts: BTreeMap<Labels, Alert>,
    /// Series are written only when what was before a restart is known.
    is_restored: bool,
}

/// More alerts than the group allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exceeded limit of {limit} with {found} alerts")]
pub(super) struct LimitError {
    limit: i64,
    found: usize,
}

impl LimitError {
    /// Holds a number of alerts against the limit of a group, 0 for none of its own.
    pub(super) fn check(found: usize, limit: i64) -> Result<(), Self> {
        let limit = if limit > 0 { limit } else { ALERTS_MAX };
        if found > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Self { limit, found });
        }
        Ok(())
    }
}

impl Active {
    /// Forgets all alerts, as when there are too many.
    pub(super) fn clear(&mut self) {
        self.alerts.clear();
    }

    /// Returns the alerts that are pending or firing, by labels.
    pub(super) fn current(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.resolved_at.is_none())
    }

    /// Returns the worst state of all alerts.
    pub(super) fn state(&self) -> State {
        self.alerts.values().map(|alert| alert.state).max().unwrap_or(State::Inactive)
    }

    pub(super) fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// Takes what an evaluation found, and returns the series to be written with their values.
    pub(super) fn update(
        &mut self,
        at: Timestamp,
        found: Vec<Found>,
        spans: Spans,
        limit: i64,
    ) -> Result<Vec<(Labels, f64)>, LimitError> {
        let mut is_found: HashMap<Labels, ()> = HashMap::with_capacity(found.len());
        for Found { labels, annotations, value } in found {
            is_found.insert(labels.clone(), ());
            match self.alerts.get_mut(&labels) {
                Some(alert) if alert.state != State::Inactive => {
                    alert.value = value;
                    alert.annotations = annotations;
                }
                _ => {
                    let alert = Alert {
                        labels: labels.clone(),
                        annotations,
                        value,
                        state: State::Pending,
                        active_at: at,
                        fired_at: None,
                        resolved_at: None,
                        keep_firing_since: None,
                        last_sent_at: None,
                        is_end_untold: false,
                        valid_until: None,
                    };
                    self.alerts.insert(labels, alert);
                }
            }
        }
        let mut series = Vec::new();
        let mut n_active = 0;
        let is_restored = self.is_restored;
        self.alerts.retain(|labels, alert| {
            alert.keep_up_with(at);
            if is_found.contains_key(labels) {
                alert.keep_firing_since = None;
            } else if !alert.goes_on(at, spans.keep_firing) {
                return alert.resolve(at);
            }
            n_active += 1;
            if alert.state == State::Pending && at.since(alert.active_at) >= spans.hold {
                alert.state = State::Firing;
                alert.fired_at = Some(at);
            }
            if is_restored {
                series.extend(alert.series());
            }
            true
        });
        LimitError::check(n_active, limit).inspect_err(|_| self.alerts.clear())?;
        Ok(series)
    }

    /// Returns the alerts that are to be told now, and notes that they are.
    pub(super) fn due(&mut self, at: Timestamp, interval: Duration) -> Vec<Alert> {
        let mut due = Vec::new();
        for alert in self.alerts.values_mut().filter(|alert| alert.is_due(at)) {
            alert.last_sent_at = Some(at);
            alert.is_end_untold = false;
            // Two evaluations or two messages may fail.
            alert.valid_until = Some(at.saturating_add(4 * interval.max(RESEND)));
            due.push(alert.clone());
        }
        due
    }

    /// Puts the waiting of alerts back to what it was before a restart.
    ///
    /// - `now`: when the states were read.
    /// - `stored`: the last sample of each series of states, in milliseconds, by its labels without the name.
    pub(super) fn restore(&mut self, now: Timestamp, hold: Duration, stored: &HashMap<Labels, (i64, f64)>) {
        self.is_restored = true;
        if hold < GRACE {
            return;
        }
        for alert in self.alerts.values_mut() {
            let Some(&(t_ms, since_s)) = stored.get(&alert.labels) else { continue };
            // A mark says that the alert was not active when the server went down.
            if is_stale(since_s) || !since_s.is_finite() {
                continue;
            }
            let down_at = Timestamp::from_millis(t_ms);
            let active_at = Timestamp::from_millis((since_s.trunc() * 1000.0) as i64);
            let spent = down_at.since(active_at);
            alert.active_at = match hold.checked_sub(spent).filter(|left| !left.is_zero()) {
                // It was firing, and fires again at the next evaluation.
                None => active_at,
                Some(left) if left < GRACE => now.saturating_add(GRACE).saturating_sub(hold),
                Some(_) => active_at.saturating_add(now.since(down_at)),
            };
        }
    }
}

impl Alert {
    /// Pulls times that lie ahead since the clock was set back to now: each wait would last until the old time.
    fn keep_up_with(&mut self, at: Timestamp) {
        self.active_at = self.active_at.min(at);
        for time in [&mut self.fired_at, &mut self.resolved_at, &mut self.keep_firing_since] {
            *time = time.map(|t| t.min(at));
        }
        self.last_sent_at = self.last_sent_at.filter(|sent| *sent <= at);
    }

    /// Tells whether an alert that was not found goes on firing.
    fn goes_on(&mut self, at: Timestamp, keep_firing: Duration) -> bool {
        if self.state != State::Firing || keep_firing.is_zero() {
            return false;
        }
        let since = *self.keep_firing_since.get_or_insert(at);
        at.since(since) < keep_firing
    }

    /// Ends an alert that was not found; tells whether it is kept to be told.
    fn resolve(&mut self, at: Timestamp) -> bool {
        let is_old = self.resolved_at.is_some_and(|resolved| at.since(resolved) > RESOLVED_KEPT);
        if self.state == State::Pending || is_old {
            return false;
        }
        if self.state != State::Inactive {
            self.state = State::Inactive;
            self.resolved_at = Some(at);
            self.is_end_untold = true;
        }
        true
    }

    fn is_due(&self, at: Timestamp) -> bool {
        if self.state == State::Pending {
            return false;
        }
        self.is_end_untold || self.last_sent_at.is_none_or(|sent| sent.saturating_add(RESEND) < at)
    }

    fn series(&self) -> [(Labels, f64); 2] {
        let alerts = self.labels.to_builder().set(METRIC_NAME, ALERTS).set("alertstate", self.state.word());
        let since = self.labels.to_builder().set(METRIC_NAME, FOR_STATE);
        let seconds = self.active_at.as_nanos().div_euclid(1_000_000_000);
        [(alerts.build(), 1.0), (since.build(), seconds as f64)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_millis(1_795_255_200_000).saturating_add(MINUTE * u32::try_from(minute).unwrap())
    }

    fn labels(x: &str) -> Labels {
        Labels::from_pairs([("alertname", "A"), ("x", x)]).unwrap()
    }

    fn found(xs: &[&str]) -> Vec<Found> {
        xs.iter().map(|x| Found { labels: labels(x), annotations: vec![], value: 2.0 }).collect()
    }

    /// A rule under test: what it finds minute by minute, and the states that follow.
    struct Rule {
        active: Active,
        spans: Spans,
    }

    impl Rule {
        fn new(hold: u32, keep_firing: u32) -> Self {
            let active = Active { is_restored: true, ..Active::default() };
            Self { active, spans: Spans { hold: MINUTE * hold, keep_firing: MINUTE * keep_firing } }
        }

        #[track_caller]
        fn check(&mut self, minute: u64, xs: &[&str], want: &str) {
            let series = self.active.update(at(minute), found(xs), self.spans, 0).unwrap();
            let states: Vec<String> = self
                .active
                .alerts
                .values()
                .map(|a| format!("{}={}", a.labels.get("x").unwrap(), a.state.word()))
                .collect();
            assert_eq!(states.join(" "), want, "minute {minute}");
            let n_active = self.active.current().count();
            assert_eq!(series.len(), 2 * n_active, "{series:?}");
        }
    }

    #[test]
    fn an_alert_waits_fires_goes_on_and_resolves() {
        let mut rule = Rule::new(2, 3);
        rule.check(0, &["1"], "1=pending");
        rule.check(1, &["1", "2"], "1=pending 2=pending");
        rule.check(2, &["1"], "1=firing");
        rule.check(3, &["1"], "1=firing");
        rule.check(4, &[], "1=firing");
        rule.check(6, &[], "1=firing");
        rule.check(7, &[], "1=inactive");
        assert_eq!(rule.active.state(), State::Inactive);
        assert_eq!(rule.active.current().count(), 0);
        // Again while it is remembered: it waits anew.
        rule.check(8, &["1"], "1=pending");
        rule.check(9, &[], "");
    }

    #[test]
    fn without_a_wait_it_fires_at_once_and_is_forgotten_after_a_while() {
        let mut rule = Rule::new(0, 0);
        rule.check(0, &["1"], "1=firing");
        rule.check(1, &[], "1=inactive");
        rule.check(16, &[], "1=inactive");
        rule.check(17, &[], "");
    }

    #[test]
    fn going_on_ends_when_the_expression_holds_again() {
        let mut rule = Rule::new(0, 5);
        rule.check(0, &["1"], "1=firing");
        rule.check(1, &[], "1=firing");
        rule.check(4, &["1"], "1=firing");
        rule.check(5, &[], "1=firing");
        rule.check(9, &[], "1=firing");
        rule.check(10, &[], "1=inactive");
    }

    #[test]
    fn series_say_state_and_since_when() {
        let mut rule = Rule::new(2, 0);
        let series = rule.active.update(at(0), found(&["1"]), rule.spans, 0).unwrap();
        assert_eq!(
            series[0].0.to_string(),
            "ALERTS{alertname=\"A\", alertstate=\"pending\", x=\"1\"}",
            "{series:?}"
        );
        assert_eq!(series[1].0.to_string(), "ALERTS_FOR_STATE{alertname=\"A\", x=\"1\"}");
        assert_eq!((series[0].1, series[1].1), (1.0, 1_795_255_200.0));
        let mut young = Active::default();
        assert!(young.update(at(0), found(&["1"]), rule.spans, 0).unwrap().is_empty());
    }

    #[test]
    fn more_alerts_than_the_limit_are_an_error_and_none_is_kept() {
        let mut active = Active::default();
        assert!(active.update(at(0), found(&["1", "2"]), Spans::default(), 2).is_ok());
        let error = active.update(at(1), found(&["1", "2", "3"]), Spans::default(), 2).unwrap_err();
        assert_eq!(error.to_string(), "exceeded limit of 2 with 3 alerts");
        assert_eq!(active.current().count(), 0);
        // Without a limit of the group's own.
        assert_eq!(LimitError::check(10_000, 0), Ok(()));
        let error = LimitError::check(10_001, 0).unwrap_err();
        assert_eq!(error.to_string(), "exceeded limit of 10000 with 10001 alerts");
    }

    #[test]
    fn firing_alerts_are_told_each_minute_and_resolved_ones_for_a_while() {
        let mut rule = Rule::new(1, 0);
        rule.check(0, &["1"], "1=pending");
        assert!(rule.active.due(at(0), MINUTE).is_empty());
        rule.check(1, &["1"], "1=firing");
        let told = rule.active.due(at(1), MINUTE);
        assert_eq!((told.len(), told[0].fired_at, told[0].valid_until), (1, Some(at(1)), Some(at(5))));
        rule.check(2, &["1"], "1=firing");
        assert!(rule.active.due(at(2), MINUTE).is_empty(), "a minute has not passed");
        rule.check(3, &["1"], "1=firing");
        assert_eq!(rule.active.due(at(3), 3 * MINUTE)[0].valid_until, Some(at(15)));
        rule.check(4, &[], "1=inactive");
        assert_eq!(rule.active.due(at(4), MINUTE)[0].resolved_at, Some(at(4)));
        assert_eq!(rule.active.due(at(6), MINUTE).len(), 1, "told again");
    }

    #[test]
    fn a_clock_set_back_delays_neither_messages_nor_waits() {
        let mut rule = Rule::new(2, 0);
        rule.check(60, &["1", "2"], "1=pending 2=pending");
        rule.check(62, &["1", "2"], "1=firing 2=firing");
        assert_eq!(rule.active.due(at(62), MINUTE).len(), 2);
        rule.check(63, &["1", "2", "3"], "1=firing 2=firing 3=pending");
        rule.check(3, &["1", "3"], "1=firing 2=inactive 3=pending");
        let told = rule.active.due(at(3), MINUTE);
        let ends: Vec<_> = told.iter().map(|alert| (alert.resolved_at, alert.valid_until)).collect();
        assert_eq!(ends, [(None, Some(at(7))), (Some(at(3)), Some(at(7)))]);
        rule.check(5, &["1", "3"], "1=firing 2=inactive 3=firing");
        rule.check(19, &["1"], "1=firing 3=inactive");
    }

    #[track_caller]
    fn check_restored(hold_min: u32, since_min: u64, down_min: u64, now_min: u64, want: Timestamp) {
        let mut rule = Rule::new(hold_min, 0);
        rule.active.is_restored = false;
        rule.check_restored_update(now_min);
        let since_s = at(since_min).as_millis() as f64 / 1000.0;
        let stored = HashMap::from([(labels("1"), (at(down_min).as_millis(), since_s))]);
        rule.active.restore(at(now_min), rule.spans.hold, &stored);
        assert_eq!(rule.active.alerts[&labels("1")].active_at, want);
        assert!(rule.active.is_restored());
    }

    impl Rule {
        fn check_restored_update(&mut self, minute: u64) {
            self.active.update(at(minute), found(&["1"]), self.spans, 0).unwrap();
        }
    }

    #[test]
    fn waiting_goes_on_after_a_restart() {
        // Nothing is restored for a short wait.
        check_restored(5, 0, 3, 10, at(10));
        // It was firing.
        check_restored(20, 0, 25, 30, at(0));
        // Little was left: ten minutes from now.
        check_restored(20, 0, 15, 30, at(20));
        // The time of the outage does not count.
        check_restored(60, 0, 15, 30, at(15));
    }

    #[test]
    fn an_alert_that_had_ended_is_not_restored() {
        let mut rule = Rule::new(60, 0);
        rule.check_restored_update(30);
        let mark = f64::from_bits(greylight_store::read::STALE_NAN_BITS);
        let stored = HashMap::from([(labels("1"), (at(10).as_millis(), mark))]);
        rule.active.restore(at(30), rule.spans.hold, &stored);
        assert_eq!(rule.active.alerts[&labels("1")].active_at, at(30));
    }
}
