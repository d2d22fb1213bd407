//! What the sides of a check delivered, interval by interval: the domain form of the contract's `D`.

use indexmap::IndexMap;

/// One side's data of one check. Missing intervals are left out or `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// For kinds `ratio` and `count`.
    Counts(Counts),
    /// For kind `mean`.
    Values(Vec<Series>),
    /// For kind `distribution`, as buckets.
    Histogram(Histogram),
    /// For kind `distribution`, as raw values.
    Raw(Values),
    /// For kind `patterns`.
    Patterns(PatternCounts),
    /// For kind `users`.
    Users(UserRows),
    /// For checks with one test a value: data of each value.
    By(IndexMap<String, Data>),
}

/// One side's users.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct UserRows {
    /// In any order.
    pub users: Vec<UserRow>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct UserRow {
    /// Who it is; without it nobody can tell who was on both sides.
    pub id: Option<String>,
    /// The value so far from each of these instants on, in epoch milliseconds, ascending; the first is the
    /// first sight.
    pub updates: Vec<(i64, f64)>,
    /// The value before the release, where the user was seen before.
    pub before: Option<f64>,
}

/// Events over trials or exposure.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Counts {
    /// Starts of intervals, in epoch milliseconds, ascending.
    pub t_ms: Vec<i64>,
    /// Events of each interval.
    pub events: Vec<Option<f64>>,
    /// Trials (ratio) or exposure (count) of each interval.
    pub exposure: Vec<Option<f64>>,
    /// The same by unit, where known.
    pub units: IndexMap<String, Counts>,
}

/// Values of one instance.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Series {
    /// The unit's name.
    pub instance: String,
    /// Starts of intervals, in epoch milliseconds, ascending.
    pub t_ms: Vec<i64>,
    /// Value of each interval.
    pub v: Vec<Option<f64>>,
}

/// Bucket counts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Histogram {
    /// Starts of intervals, in epoch milliseconds, ascending.
    pub t_ms: Vec<i64>,
    /// Upper edges of the buckets, ascending, the last `+Inf`.
    pub le: Vec<f64>,
    /// A bucket's own count (not cumulated), an interval a row.
    pub counts: Vec<Option<Vec<f64>>>,
    /// The same by unit, where known.
    pub units: IndexMap<String, Histogram>,
}

/// Raw values.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Values {
    /// Starts of intervals, in epoch milliseconds, ascending.
    pub t_ms: Vec<i64>,
    /// All values of each interval.
    pub values: Vec<Option<Vec<f64>>>,
    /// The same by unit, where known.
    pub units: IndexMap<String, Values>,
}

impl Values {
    /// Puts the values of several units together, over the same intervals and in ascending order.
    pub fn of_units(t_ms: Vec<i64>, units: IndexMap<String, Self>) -> Self {
        let mut values: Vec<Option<Vec<f64>>> = vec![None; t_ms.len()];
        for unit in units.values() {
            for (t, row) in unit.t_ms.iter().zip(&unit.values) {
                if let (Ok(at), Some(row)) = (t_ms.binary_search(t), row) {
                    values[at].get_or_insert_default().extend(row);
                }
            }
        }
        values.iter_mut().flatten().for_each(|row| row.sort_by(f64::total_cmp));
        Self { t_ms, values, units }
    }
}

/// Counts of log patterns.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PatternCounts {
    /// Starts of intervals, in epoch milliseconds, ascending.
    pub t_ms: Vec<i64>,
    /// Records of each interval.
    pub records: Vec<Option<f64>>,
    /// Exposure of each interval; the records where absent.
    pub trials: Option<Vec<Option<f64>>>,
    /// Patterns by id.
    pub patterns: IndexMap<String, Pattern>,
}

/// One log pattern's counts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Pattern {
    /// The template.
    pub text: String,
    /// Its severity's word.
    pub severity: Option<String>,
    /// Records of each interval.
    pub counts: Vec<Option<f64>>,
    /// The template's patterns of stage 1 by id, where known: they tell a new value from a new template.
    pub members: IndexMap<String, PatternMember>,
    /// Log records that show it, as the log search gives them, where known.
    pub examples: Vec<serde_json::Value>,
}

/// One pattern of stage 1 of a template.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PatternMember {
    /// The pattern with `<*>` for its variables.
    pub text: String,
    /// Records of each interval.
    pub counts: Vec<Option<f64>>,
}

/// Both sides.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sides {
    /// The released version's data.
    pub baseline: Option<Data>,
    /// The candidate's data.
    pub canary: Option<Data>,
}

/// All data of one check.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CheckData {
    /// Since the phase began.
    pub run: Sides,
    /// Before the release.
    pub pre: Sides,
    /// Pods of the old version that started together with the canary, since the phase began.
    pub fresh: Option<Data>,
    /// Earlier starts of the service's pods.
    pub births: Vec<BirthData>,
}

/// An earlier start of one pod: a placebo for new ones.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct BirthData {
    /// Starts of one event came together.
    pub event: String,
    /// Difference from the settled pods of its own version by interval since its start, NaN where
    /// missing; of logarithms where the check compares those.
    pub d: Vec<f64>,
    /// Names of the settled pods it was compared with, where known.
    pub pods: Vec<String>,
    /// For kinds `ratio` and `count`: events over trials or exposure of its life.
    pub counted: Option<(f64, f64)>,
    /// For kind `distribution`: what it showed from its first whole interval on.
    pub data: Option<Data>,
    /// For kind `distribution`: what the settled pods of its own version showed together over the same intervals.
    pub peers: Option<Data>,
}

impl Data {
    /// Counts the numbers it holds.
    pub fn n_rows(&self) -> u64 {
        let rows = match self {
            Self::Counts(counts) => counts.t_ms.len(),
            Self::Values(series) => series.iter().map(|series| series.t_ms.len()).sum(),
            Self::Histogram(histogram) => histogram.t_ms.len(),
            Self::Raw(values) => values.values.iter().flatten().map(Vec::len).sum(),
            Self::Patterns(patterns) => patterns.t_ms.len() * (1 + patterns.patterns.len()),
            Self::Users(rows) => rows.users.iter().map(|user| user.updates.len()).sum(),
            Self::By(values) => return values.values().map(Self::n_rows).sum(),
        };
        rows as u64
    }

    /// Returns the first and the last start of an interval.
    pub fn span_ms(&self) -> Option<(i64, i64)> {
        let ends = |t_ms: &[i64]| Some((*t_ms.first()?, *t_ms.last()?));
        match self {
            Self::Counts(counts) => ends(&counts.t_ms),
            Self::Values(series) => (series.iter().filter_map(|series| ends(&series.t_ms)))
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
            Self::Histogram(histogram) => ends(&histogram.t_ms),
            Self::Raw(values) => ends(&values.t_ms),
            Self::Patterns(patterns) => ends(&patterns.t_ms),
            Self::By(values) => {
                (values.values().filter_map(Self::span_ms)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            }
            Self::Users(rows) => (rows.users.iter())
                .filter_map(|user| Some((user.updates.first()?.0, user.updates.last()?.0)))
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
        }
    }
}
