//! Why a verdict is what it is: numbers first, words at the edge.

use greylight_store::model::Timestamp;

/// One reason, of a check or of the whole release.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The check it is about; absent: the release.
    pub check: Option<String>,
    /// What happened.
    pub cause: Cause,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// Harm beyond what is tolerated was shown.
    HarmShown {
        /// From when on, where the release as a whole does not show it; the difference is that since then.
        since: Option<Timestamp>,
        /// Chance of such data without harm.
        p: f64,
        /// The level it had to reach.
        level: f64,
        /// The difference, in words.
        effect: String,
    },
    /// Harm was shown to be below the margin.
    BelowMargin {
        /// Chance of such data if harm equalled the margin.
        p: f64,
        /// The level it had to reach.
        level: f64,
        /// The difference, in words.
        effect: String,
    },
    /// Data of a side is absent.
    NoData {
        /// `baseline`, `canary` or `both sides`.
        side: &'static str,
        /// Missing intervals in a row.
        intervals: u64,
    },
    /// Data stopped coming.
    StaleData {
        /// The last interval that was present.
        last: Timestamp,
        /// Missing intervals in a row.
        intervals: u64,
    },
    /// The check missed its data for ten intervals and its policy refuses for that.
    Missing {
        /// Missing intervals in a row.
        intervals: u64,
    },
    /// Neither harm nor its absence was shown yet.
    NotEnoughData {
        /// What is short, in words.
        what: String,
    },
    /// A placebo release in the history alarmed.
    Restless {
        /// Placebo releases tried.
        runs: u64,
        /// How many of them alarmed.
        alarms: u64,
    },
    /// Too many users were seen on both sides.
    Crossing {
        /// How many were.
        crossed: u64,
        /// Of how many.
        users: u64,
    },
    /// Go needs history that is not there.
    NoHistory {
        /// Intervals there are on both sides.
        have: u64,
        /// Intervals there must be.
        need: u64,
    },
    /// The canary's pods are new, and too little is known of how new pods behave.
    NoBirths {
        /// What would do, in words.
        what: String,
    },
    /// The canary's pods are new, and such pods take longer to settle than the phase lasts.
    NotSettled {
        /// Age, in intervals, at which earlier starts were still far from settled.
        intervals: u64,
    },
    /// The measured traffic share contradicts the declared one.
    ShareMismatch {
        /// What the policy or the deploy tool declared.
        declared: f64,
        /// What was measured.
        measured: f64,
        /// Lower end of its confidence sequence.
        low: f64,
        /// Upper end of its confidence sequence.
        high: f64,
    },
    /// The canary is still warming up.
    WarmUp {
        /// Milliseconds until its end.
        left_ms: u64,
    },
    /// The phase may not go before `at_least`.
    TooEarly {
        /// Milliseconds until then.
        left_ms: u64,
    },
    /// The phase's longest time ran out.
    TimeRanOut,
    /// No check of the phase can say go.
    NothingCanGo,
    /// The difference that was there has faded: a cold start outlasted the warm-up.
    Faded,
    /// A person decided.
    Override {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Something else, said by another part of the analyzer.
    Other {
        /// Its code.
        code: &'static str,
        /// Its words.
        text: String,
    },
}

impl Cause {
    /// Returns the code of the contract.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HarmShown { .. } => "harm_shown",
            Self::BelowMargin { .. } => "below_margin",
            Self::NoData { .. } => "no_data",
            Self::StaleData { .. } => "stale_data",
            Self::Missing { .. } => "missing",
            Self::NotEnoughData { .. } => "not_enough_data",
            Self::Crossing { .. } | Self::Restless { .. } => "restless",
            Self::NoHistory { .. } => "no_history",
            Self::NoBirths { .. } => "no_births",
            Self::NotSettled { .. } => "not_settled",
            Self::ShareMismatch { .. } => "share_mismatch",
            Self::WarmUp { .. } => "warm_up",
            Self::TooEarly { .. } => "too_early",
            Self::TimeRanOut => "time_ran_out",
            Self::NothingCanGo => "nothing_can_go",
            Self::Faded => "faded",
            Self::Override { .. } => "override",
            Self::Other { code, .. } => code,
        }
    }
}

impl Reason {
    /// Makes a reason about one check.
    pub fn of_check(check: &str, cause: Cause) -> Self {
        Self { check: Some(check.to_owned()), cause }
    }

    /// Makes a reason about the whole release.
    pub fn of_release(cause: Cause) -> Self {
        Self { check: None, cause }
    }

    /// Says it in words.
    pub fn text(&self) -> String {
        match &self.cause {
            Cause::HarmShown { since, p, level, effect } => {
                let since = since.map_or_else(String::new, |since| format!(" since {since}"));
                format!("harm shown{since}: {effect} (p {} at level {})", short(*p), short(*level))
            }
            Cause::BelowMargin { p, level, effect } => {
                format!("harm is below the margin: {effect} (p {} at level {})", short(*p), short(*level))
            }
            Cause::NoData { side, intervals } => format!("no data of {side} for {intervals} intervals"),
            Cause::StaleData { last, intervals } => {
                format!("no data since {last}, {intervals} intervals ago")
            }
            Cause::Missing { intervals } => {
                format!("data missing for {intervals} intervals in a row, and the policy refuses for that")
            }
            Cause::NotEnoughData { what } => what.clone(),
            Cause::Restless { runs, alarms } => format!(
                "too restless to vote: {alarms} of {runs} placebo releases in its history alarmed; longer \
                 history, more hosts or a wider margin would help"
            ),
            Cause::Crossing { crossed, users } => format!(
                "{crossed} of {users} users were seen on both sides, and above 1 % the sides are not compared: \
                 let each user stay on one side"
            ),
            Cause::NoHistory { have, need } => format!(
                "go needs {need} intervals of history of both sides, and there are {have}; harm can refuse meanwhile"
            ),
            Cause::NoBirths { what } => what.clone(),
            Cause::NotSettled { intervals } => format!(
                "earlier starts of such pods were not settled after {intervals} intervals: a longer phase, a longer \
                 warm-up or fresh pods of the old version, started together with the canary, would do"
            ),
            Cause::ShareMismatch { declared, measured, low, high } => format!(
                "the canary gets {} of the requests ({} to {}), and {} was declared",
                percent(*measured),
                percent(*low),
                percent(*high),
                percent(*declared)
            ),
            Cause::WarmUp { left_ms } => format!("warming up for another {}", seconds(*left_ms)),
            Cause::TooEarly { left_ms } => format!("go may come in {} at the earliest", seconds(*left_ms)),
            Cause::TimeRanOut => "the phase's longest time ran out before anything was shown".to_owned(),
            Cause::NothingCanGo => "no check of this phase can say go: it can only refuse".to_owned(),
            Cause::Faded => {
                "the difference of the first intervals has faded: a cold start may have outlasted the warm-up"
                    .to_owned()
            }
            Cause::Override { by, why } => format!("decided by {by}: {why}"),
            Cause::Other { text, .. } => text.clone(),
        }
    }
}

/// Writes a probability with two digits that matter.
pub(crate) fn short(p: f64) -> String {
    if p == 0.0 || p >= 0.001 { format!("{p:.4}") } else { format!("{p:.1e}") }
}

/// Writes a part of one as a percentage with two digits that matter.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    match percent.abs() {
        size if size >= 10.0 => format!("{percent:.1} %"),
        size if size >= 0.1 => format!("{percent:.2} %"),
        0.0 => "0 %".to_owned(),
        _ => format!("{percent:.4} %"),
    }
}

fn seconds(ms: u64) -> String {
    crate::policy::Span::from_millis(ms.div_ceil(1000) * 1000).to_string()
}
