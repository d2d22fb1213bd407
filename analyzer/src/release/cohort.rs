//! Turns a policy's queries into those of one side.

use std::collections::{BTreeMap, BTreeSet};

use greylight_query::promql::syntax::{SyntaxError, SyntaxLimits, parse_selector};
use greylight_store::model::{Labels, METRIC_NAME, MatchOp, Matcher, Timestamp};

use super::request::CohortRequest;
use crate::collect::Grid;
use crate::policy::{Phase, Scope, replaced};

/// Which side of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Baseline,
    Canary,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Baseline, Self::Canary];
}

/// What fills the placeholders of a policy's queries for one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filling {
    /// Replaces `$cohort`.
    pub(crate) matchers: String,
    /// Replaces `$interval`.
    pub(crate) interval: String,
    /// Replaces `$NAME`.
    pub(crate) vars: BTreeMap<String, String>,
    /// Joined by AND to log queries.
    pub(crate) filter: Option<String>,
}

impl Filling {
    /// Fills for one side within a phase; `scope` of a phase call goes over the policy's.
    pub(crate) fn new(
        side: Side,
        cohort: &CohortRequest,
        phase: &Phase,
        scope: Option<&str>,
        interval: &str,
    ) -> Self {
        let scope = match (scope, &phase.scope, side) {
            (Some(scope), ..) => scope,
            (None, Scope::Everywhere, _) => "",
            (None, Scope::Both(scope), _) => scope,
            (None, Scope::Sides { baseline, .. }, Side::Baseline) => baseline,
            (None, Scope::Sides { canary, .. }, Side::Canary) => canary,
        };
        Self {
            matchers: join(&cohort.matchers, scope),
            interval: interval.to_string(),
            vars: cohort.vars.clone(),
            filter: cohort.filter.clone(),
        }
    }

    /// The same filling with other matchers in place of the cohort's.
    pub(crate) fn with_matchers(&self, matchers: String) -> Self {
        Self { matchers, ..self.clone() }
    }

    /// Fills a query. A name that is no placeholder of ours stays as it is.
    pub(crate) fn fill(&self, query: &str) -> String {
        replaced(query, |name| match name {
            "cohort" => Some(self.matchers.as_str().into()),
            "interval" => Some(self.interval.as_str().into()),
            _ => self.vars.get(name).map(|value| value.as_str().into()),
        })
    }

    /// Fills a SQL statement: `$cohort` becomes a condition, `$interval` and the edges of the grid literals.
    ///
    /// # Errors
    /// What the reader of the cohort's matchers says.
    pub(crate) fn fill_sql(&self, statement: &str, grid: Grid) -> Result<String, SyntaxError> {
        let cohort = sql_condition(&matchers(&self.matchers)?);
        let time = |ms: i64| format!("TIMESTAMP '{}'", Timestamp::from_millis(ms));
        Ok(replaced(statement, |name| match name {
            "cohort" => Some(cohort.as_str().into()),
            "interval" => Some(format!("{} milliseconds", grid.step_ms).into()),
            "start" => Some(time(grid.start_ms).into()),
            "end" => Some(time(grid.end_ms()).into()),
            // They stand between quotes.
            _ => self.vars.get(name).map(|value| value.replace('\'', "''").into()),
        }))
    }

    /// Fills a log query and joins the cohort's own filter to it.
    pub(crate) fn fill_log_query(&self, query: &str) -> String {
        let query = self.fill(query);
        match self.filter.as_deref() {
            None => query,
            Some(filter) if matches!(query.trim(), "" | "*") => filter.to_string(),
            Some(filter) => format!("({query}) AND ({filter})"),
        }
    }
}

/// Joins two lists of matchers without braces; a scope may come with its braces.
fn join(matchers: &str, scope: &str) -> String {
    let bare = scope.trim().trim_start_matches('{').trim_end_matches('}').trim().trim_matches(',').trim();
    if bare.is_empty() { matchers.to_string() } else { format!("{matchers}, {bare}") }
}

/// Says in SQL what matchers say; a label that is absent is empty.
fn sql_condition(matchers: &[Matcher]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let each = |matcher: &Matcher| {
        let label = match matcher.name() {
            METRIC_NAME => "name".to_string(),
            name => format!("labels[{}]", quoted(name)),
        };
        let given = format!("coalesce({label}, '')");
        let value = quoted(matcher.value());
        let whole = || quoted(&format!("^(?s:{})$", matcher.value()));
        match matcher.op() {
            // So the store can decide it.
            MatchOp::Equal if !matcher.value().is_empty() => format!("{label} = {value}"),
            MatchOp::Equal => format!("{given} = ''"),
            MatchOp::NotEqual => format!("{given} <> {value}"),
            MatchOp::Regex => format!("regexp_like({given}, {})", whole()),
            MatchOp::NotRegex => format!("NOT regexp_like({given}, {})", whole()),
        }
    };
    let all: Vec<String> = matchers.iter().map(each).collect();
    if all.is_empty() { "TRUE".to_string() } else { format!("({})", all.join(" AND ")) }
}

/// Parses matchers written without braces.
pub(crate) fn matchers(inner: &str) -> Result<Vec<Matcher>, SyntaxError> {
    parse_selector(&format!("{{{inner}}}"), &SyntaxLimits::default())
}

/// Returns the first of the labels that is there: the unit's name.
pub(crate) fn unit_of<'a>(labels: &'a Labels, names: &[String]) -> Option<&'a str> {
    names.iter().find_map(|name| labels.get(name))
}

/// Which units a read keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    /// All but these: those that run the canary are no baseline, before and after.
    AllBut(BTreeSet<String>),
    /// Only these: the canary's history is what its units did before.
    Only(BTreeSet<String>),
}

impl Units {
    /// Keeps every unit.
    pub(crate) fn all() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    /// Tells whether a series or record of this unit is kept; one without a unit belongs to no unit.
    pub(crate) fn keep(&self, unit: Option<&str>) -> bool {
        match (self, unit) {
            (Self::AllBut(out), Some(unit)) => !out.contains(unit),
            (Self::AllBut(_), None) => true,
            (Self::Only(only), Some(unit)) => only.contains(unit),
            (Self::Only(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filling() -> Filling {
        Filling {
            matchers: "a=\"1\"".into(),
            interval: "1m".into(),
            vars: [("hash".to_string(), "5c9b".to_string())].into(),
            filter: None,
        }
    }

    #[test]
    fn placeholders_are_filled_and_dollars_in_regular_expressions_stay() {
        let check = |query: &str, want: &str| assert_eq!(filling().fill(query), want);
        check("x{$cohort, b=~\"y$\"}", "x{a=\"1\", b=~\"y$\"}");
        check("rate(x{pod=~\"cart-$hash-.*\"}[$interval])", "rate(x{pod=~\"cart-5c9b-.*\"}[1m])");
        check("$other $", "$other $");
    }

    #[test]
    fn a_cohorts_filter_joins_log_queries() {
        let mut filling = filling();
        assert_eq!(filling.fill_log_query("*"), "*");
        filling.filter = Some("upstream:b".into());
        assert_eq!(filling.fill_log_query("*"), "upstream:b");
        assert_eq!(filling.fill_log_query("x OR y"), "(x OR y) AND (upstream:b)");
    }

    #[test]
    fn a_scope_is_joined_with_or_without_braces() {
        assert_eq!(join("a=\"1\"", "{zone=\"z\"}"), "a=\"1\", zone=\"z\"");
        assert_eq!(join("a=\"1\"", ""), "a=\"1\"");
    }

    #[test]
    fn the_canarys_units_are_no_baseline() {
        let canary: BTreeSet<String> = ["b".to_string()].into();
        assert!(!Units::AllBut(canary.clone()).keep(Some("b")));
        assert!(Units::AllBut(canary.clone()).keep(None));
        assert!(Units::Only(canary.clone()).keep(Some("b")));
        assert!(!Units::Only(canary).keep(None));
    }
}
