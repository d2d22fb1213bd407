//! What a team wants to know about a release, and how sure it wants to be.
//!
//! A [`Policy`] is read from YAML or JSON by [`check`] (a file, queries required) or [`parse()`]. Every
//! value is validated once, here; the rest of the crate holds types that cannot be wrong. A refusal
//! is a [`PolicyError`] that names the field's path, the value and what would have been allowed.
//!
//! Whether a check's `source` is there is not told here: this module knows no server.

mod error;
mod fields;
mod kinds;
mod parse;
mod queries;
mod span;

pub use error::{FieldProblem, PolicyError};
pub use parse::{Queries, check, document, from_document, parse};
pub use queries::check_queries;
pub(crate) use queries::replaced;
pub use span::Span;

/// Chance of an error that the policy accepts, strictly between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Alpha(f64);

impl Alpha {
    /// Takes a chance, or nothing where it is not strictly between 0 and 1 (NaN included).
    pub fn new(value: f64) -> Option<Self> {
        (0.0 < value && value < 1.0).then_some(Self(value))
    }

    /// Returns the chance.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// A release policy: what is compared, for how long, and at which error rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name, unique in a tenant.
    pub name: String,
    /// Chance that a good release is refused, over all checks, phases and looks.
    pub alpha: Alpha,
    /// Chance that a release as bad as a margin is let through.
    pub alpha_go: Alpha,
    /// Width by which data is grouped; there is a look after each.
    pub interval: Span,
    /// How long after an interval's end its look is made.
    pub delay: Span,
    /// How much history before the release is used.
    pub pre_period: Span,
    /// Canary data before this counts for nothing.
    pub warm_up: Span,
    /// Labels that name the host; the first that is present counts.
    pub unit: Vec<String>,
    /// Relative deviation of a declared traffic share that is still tolerated.
    pub share_tolerance: f64,
    /// Earlier starts of pods that are used, where the policy says so.
    pub births: Option<Births>,
    /// How long a verdict may be acted on.
    pub valid_for: Span,
    /// Steps of the release, in order; at least one.
    pub phases: Vec<Phase>,
}

/// One step of a release: its length, its share of traffic and its checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Its name, unique in the policy.
    pub name: String,
    /// Its weight in the split of alpha over phases; positive.
    pub weight: f64,
    /// No go before this long after the warm-up.
    pub at_least: Span,
    /// Longest duration after the warm-up; fixes how alpha is spent over the looks.
    pub at_most: Span,
    /// Matchers added to the cohorts' own.
    pub scope: Scope,
    /// When the phase begins.
    pub starts: Starts,
    /// Declared share of requests that the canary gets, in (0, 1); measured where absent.
    pub traffic_share: Option<f64>,
    /// Whether the canary is compared with what its own units did before the release, since nothing runs beside it.
    pub is_before: bool,
    /// Where that share is planned to rise inside of the phase: its value in equal parts of `at_most`, each in (0, 1);
    /// else empty. Counts spend alpha as the plan brings information.
    pub ramp: Vec<f64>,
    /// Its own checks, then those of the policy level.
    pub checks: Vec<Check>,
}

/// Where a phase looks: matchers added to each cohort's.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Scope {
    /// Everywhere the cohorts are.
    #[default]
    Everywhere,
    /// The same matchers for both sides.
    Both(String),
    /// Matchers of their own for each side.
    Sides {
        /// Added to the baseline's matchers.
        baseline: String,
        /// Added to the canary's matchers.
        canary: String,
    },
}

/// When a phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// As soon as the phase before it is go.
    Next,
    /// When the deploy tool says so.
    OnCall,
}

/// One comparison of the two cohorts.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Its name, unique in its phase.
    pub name: String,
    /// What is compared, and where it comes from.
    pub kind: CheckKind,
    /// Which direction is harm.
    pub harm: Harm,
    /// Harm below this is acceptable; `None` means that the check can never go.
    pub margin: Option<Margin>,
    /// Harm up to this does not refuse.
    pub tolerated: Amount,
    /// What its result may do.
    pub vote: Vote,
    /// Its weight in the split of the phase's alpha; positive.
    pub weight: f64,
    /// What ten missing intervals in a row mean.
    pub missing: Missing,
    /// Exposure of each side below which it cannot go.
    pub minimum: Minimum,
    /// One test a value, where the check asks for it.
    pub by: Option<By>,
    /// The other store that it reads, by its name in the server's settings; its own where absent.
    pub source: Option<String>,
}

/// What a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing of its own.
    Nothing,
    /// Series.
    Series,
    /// Log records.
    Records,
    /// Both.
    Both,
    /// What SQL names.
    Sql,
    /// What LogQL names.
    LogQl,
}

impl Check {
    /// Says what it reads. The exposure of counts, which is the units that were there, is told by either.
    pub fn needs(&self) -> Needs {
        let of = |source: &Source| match source {
            Source::Selectors(_) => Needs::Series,
            Source::Logs(_) => Needs::Records,
            Source::Given => Needs::Nothing,
        };
        let both = |a: Needs, b: Needs| match (a, b) {
            (Needs::Nothing, one) | (one, Needs::Nothing) => one,
            (a, b) if a == b => a,
            _ => Needs::Both,
        };
        match &self.kind {
            CheckKind::Ratio { events, trials } => both(of(events), of(trials)),
            CheckKind::Count { events } => of(events),
            CheckKind::Mean { value: ValueQuery::PromQl(_) } => Needs::Series,
            CheckKind::Mean { value: ValueQuery::LogQl(_) } => Needs::LogQl,
            CheckKind::Mean { value: ValueQuery::Sql(_) } => Needs::Sql,
            CheckKind::Distribution { data: Distribution::Histogram(_) } => Needs::Series,
            CheckKind::Distribution { data: Distribution::Values(_) } => Needs::Records,
            CheckKind::Patterns { logs: Source::Given, .. } => Needs::Nothing,
            CheckKind::Patterns { trials, .. } => {
                both(Needs::Records, trials.as_ref().map_or(Needs::Nothing, of))
            }
            CheckKind::Users { users: Users::Logs { .. } } => Needs::Records,
            CheckKind::Mean { value: ValueQuery::Given }
            | CheckKind::Distribution { data: Distribution::Given }
            | CheckKind::Users { users: Users::Given }
            | CheckKind::Composite => Needs::Nothing,
        }
    }
}

/// What a check compares. The sources are [`Source::Given`] where data comes with the request.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// Events over trials.
    Ratio {
        /// What is counted.
        events: Source,
        /// How often it could have happened.
        trials: Source,
    },
    /// Events over exposure time.
    Count {
        /// What is counted.
        events: Source,
    },
    /// One value a unit and interval.
    Mean {
        /// The query of the value.
        value: ValueQuery,
    },
    /// A whole distribution: buckets of a histogram or raw values.
    Distribution {
        /// Selector of a histogram, or a log query with the field that holds the value.
        data: Distribution,
    },
    /// One value a user.
    Users {
        /// Who did what, and where it is read.
        users: Users,
    },
    /// The mean checks together: harm spread thinly over them.
    Composite,
    /// Counts of log patterns.
    Patterns {
        /// Matchers of the logs.
        logs: Source,
        /// This severity and worse count; all where absent.
        severity: Option<Severity>,
        /// Exposure; the records themselves where absent.
        trials: Option<Source>,
    },
}

impl CheckKind {
    /// Returns the word of the contract for this kind.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ratio { .. } => "ratio",
            Self::Count { .. } => "count",
            Self::Mean { .. } => "mean",
            Self::Distribution { .. } => "distribution",
            Self::Users { .. } => "users",
            Self::Composite => "composite",
            Self::Patterns { .. } => "patterns",
        }
    }
}

/// Where counts or values come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Series selectors; their counts add up.
    Selectors(Vec<String>),
    /// A log query.
    Logs(LogQuery),
    /// Nothing to query: the data is given with the request.
    Given,
}

/// A query over log records.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Words, phrases and field conditions.
    pub query: String,
    /// Label matchers.
    pub matchers: String,
    /// The field whose number is taken, where values are wanted.
    pub field: Option<String>,
}

/// The query of a `mean` check.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueQuery {
    /// A PromQL expression.
    PromQl(String),
    /// A SQL statement.
    Sql(String),
    /// A LogQL expression.
    LogQl(String),
    /// Nothing to query: the data is given with the request.
    Given,
}

/// The data of a `distribution` check.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Selector of a native histogram or the base name of `_bucket` series.
    Histogram(Vec<String>),
    /// A number from log records.
    Values(LogQuery),
    /// Nothing to query: the data is given with the request.
    Given,
}

/// The data of a `users` check.
#[derive(Clone, Debug, PartialEq)]
pub enum Users {
    /// Records that name their users.
    Logs {
        /// The records that make a user seen, or give a value.
        query: LogQuery,
        /// The field that names the user.
        user: String,
        /// What is known of each.
        value: UserValue,
    },
    /// Nothing to query: the data is given with the request.
    Given,
}

/// What is known of each user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserValue {
    /// Whether the user ever made a record that this query finds.
    Ever(String),
    /// The sum of this field over the user's records.
    Sum(String),
}

/// One test a value of a label or field, inside a check's alpha.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The label or field.
    pub name: String,
    /// How many values, the largest, are tested singly; the rest is pooled.
    pub limit: usize,
}

/// Which earlier starts of the service's pods serve as placebos for new ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Births {
    /// How far back they are looked for.
    pub window: Span,
    /// How many of them at most, the newest.
    pub at_most: usize,
}

/// Severity of a log record, as OpenTelemetry groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Severity numbers 1 to 4.
    Trace,
    /// Severity numbers 5 to 8.
    Debug,
    /// Severity numbers 9 to 12.
    Info,
    /// Severity numbers 13 to 16.
    Warn,
    /// Severity numbers 17 to 20.
    Error,
    /// Severity numbers 21 to 24.
    Fatal,
}

impl Severity {
    /// Reads a severity word, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "information" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" => Self::Error,
            "fatal" | "critical" | "crit" | "alert" | "emergency" => Self::Fatal,
            _ => return None,
        })
    }

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// Returns the lowest OpenTelemetry severity number of the group.
    pub fn number(self) -> u8 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

/// Which direction of a difference is harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// More is worse.
    Up,
    /// Less is worse.
    Down,
    /// Any change is worse; each direction gets half of the budget.
    Either,
}

impl Harm {
    /// Returns the word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Either => "either",
        }
    }
}

/// A size of harm, in the check's unit or as a part of the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// In the unit of the values.
    Absolute(f64),
    /// As a part of the baseline, `0.1` for 10 %.
    Relative(f64),
}

impl Amount {
    /// Returns the number, whatever it is measured in.
    pub fn number(self) -> f64 {
        match self {
            Self::Absolute(number) | Self::Relative(number) => number,
        }
    }
}

/// The largest harm that is acceptable.
#[derive(Clone, Debug, PartialEq)]
pub struct Margin {
    /// Its size; positive.
    pub amount: Amount,
    /// Quantiles that a distribution is held to; empty: all of them.
    pub at: Vec<f64>,
}

/// What a check's result may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// Its harm refuses, and go waits for it.
    Full,
    /// Its harm refuses, go does not wait for it.
    Veto,
    /// Only shown.
    None,
}

impl Vote {
    /// Returns the word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Veto => "veto",
            Self::None => "none",
        }
    }
}

/// What ten missing intervals in a row mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Data may return until the phase ends.
    Inconclusive,
    /// The release is refused at once.
    NoGo,
}

/// Exposure of each side below which a check cannot go.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Minimum {
    /// Events of each side.
    pub events: f64,
    /// Trials, exposure or values of each side.
    pub trials: f64,
}

impl Phase {
    /// Returns the number of looks over which a check spends its budget: `at_most / interval`.
    pub fn n_looks(&self, interval: &Span) -> usize {
        let looks = self.at_most.millis() / interval.millis();
        usize::try_from(looks).unwrap_or(usize::MAX).max(1)
    }
}

impl Policy {
    /// Returns the part of alpha that one check may spend: the phase's share of the phases'
    /// weights times the check's share of its phase's weights.
    pub fn budget(&self, phase: &Phase, check: &Check) -> f64 {
        let phases: f64 = self.phases.iter().map(|phase| phase.weight).sum();
        let checks: f64 = phase.checks.iter().map(|check| check.weight).sum();
        self.alpha.get() * (phase.weight / phases) * (check.weight / checks)
    }

    /// Names the other stores that its checks read.
    pub fn sources(&self) -> std::collections::BTreeSet<&str> {
        let checks = self.phases.iter().flat_map(|phase| &phase.checks);
        checks.filter_map(|check| check.source.as_deref()).collect()
    }

    /// Finds a phase by its name.
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

#[cfg(test)]
mod tests;
