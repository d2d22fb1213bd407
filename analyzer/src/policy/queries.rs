//! Whether a policy's queries can be asked, before a release depends on them.
//!
//! A policy that is stored already is not asked again: later releases of ours may refuse more.

use std::borrow::Cow;

use greylight_query::promql::{self, syntax};
use greylight_query::sql::PointQueries;
use greylight_store::read::LogQuery as Search;
use serde_json::Value;

use super::error::{FieldProblem, PolicyError};
use super::fields::Field;
use super::kinds;
use super::parse::Queries;
use super::{CheckKind, Distribution, LogQuery, Source, UserValue, Users, ValueQuery};

/// Replaces each `$NAME` by what `value` gives for the name; where that is nothing it stays as it is.
pub(crate) fn replaced<'a>(query: &str, mut value: impl FnMut(&str) -> Option<Cow<'a, str>>) -> String {
    let mut out = String::with_capacity(query.len() + 64);
    let mut rest = query;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let name_len = rest[at + 1..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let (named, behind) = rest[at..].split_at(1 + name_len);
        match value(&named[1..]) {
            Some(value) => out.push_str(&value),
            None => out.push_str(named),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Reads every query of a policy, filled as for a cohort.
///
/// # Errors
/// [`PolicyError::Field`] with the path of the first that is none, and what its reader says. What depends on a
/// cohort's own `vars` is told only by the release.
pub fn check_queries(document: &Value) -> Result<(), PolicyError> {
    let root = Field::root(document);
    let mut checks = root.child("checks").map_or(Ok(Vec::new()), |field| field.items())?;
    for phase in root.child("phases").map_or(Ok(Vec::new()), |field| field.items())? {
        checks.extend(phase.child("checks").map_or(Ok(Vec::new()), |field| field.items())?);
    }
    checks.iter().try_for_each(check)
}

fn check(field: &Field<'_>) -> Result<(), PolicyError> {
    let source = |key: &str, source: &Source| match source {
        Source::Selectors(selectors) => selectors.iter().try_for_each(|one| at(field, key, one, selector)),
        Source::Logs(query) => logs(field, key, query),
        Source::Given => Ok(()),
    };
    match &kinds::kind(&field.as_fields()?, Queries::Required)? {
        CheckKind::Ratio { events, trials } => {
            source("events", events)?;
            source("trials", trials)
        }
        CheckKind::Count { events } => source("events", events),
        CheckKind::Mean { value: ValueQuery::PromQl(query) } => at(field, "value", query, |query| {
            promql::Query::parse(query).map(drop).map_err(|e| e.to_string())
        }),
        CheckKind::Mean { value: ValueQuery::Sql(query) } => sql(field, query),
        CheckKind::Mean { value: ValueQuery::LogQl(_) } => match field.child("value") {
            Some(value) => Err(value.not_yet("`logql` (a value in LogQL; `sql` reads log records too)")),
            None => Ok(()),
        },
        CheckKind::Mean { value: ValueQuery::Given } | CheckKind::Composite => Ok(()),
        CheckKind::Distribution { data: Distribution::Histogram(names) } => {
            names.iter().try_for_each(|name| at(field, "histogram", name, selector))
        }
        CheckKind::Distribution { data: Distribution::Values(query) } => logs(field, "values", query),
        CheckKind::Distribution { data: Distribution::Given } => Ok(()),
        CheckKind::Users { users: Users::Logs { query, value, .. } } => {
            logs(field, "users", query)?;
            match value {
                UserValue::Ever(query) => at(field, "users", query, search),
                UserValue::Sum(_) => Ok(()),
            }
        }
        CheckKind::Users { users: Users::Given } => Ok(()),
        CheckKind::Patterns { logs: records, trials, .. } => {
            source("logs", records)?;
            trials.iter().try_for_each(|trials| source("trials", trials))
        }
    }
}

fn logs(field: &Field<'_>, key: &str, query: &LogQuery) -> Result<(), PolicyError> {
    at(field, key, &query.query, search)?;
    at(field, key, &query.matchers, |matchers| {
        let inner = matchers.trim().trim_start_matches('{').trim_end_matches('}');
        selector(&format!("{{{inner}}}"))
    })
}

fn sql(field: &Field<'_>, query: &str) -> Result<(), PolicyError> {
    let missing = ["$cohort", "$start", "$end"].into_iter().find(|name| !query.contains(name));
    match (missing, field.child("value")) {
        (Some(name), Some(value)) => Err(value.wants(&format!(
            "a statement with $cohort, $start and $end, which say whose rows of which time are read; {name} is \
             not in it"
        ))),
        _ => at(field, "value", query, |query| PointQueries::check(query).map_err(|e| e.to_string())),
    }
}

fn selector(text: &str) -> Result<(), String> {
    syntax::parse_selector(text, &syntax::SyntaxLimits::default()).map(drop).map_err(|e| e.to_string())
}

fn search(text: &str) -> Result<(), String> {
    Search::parse(text).map(drop).map_err(|e| e.to_string())
}

fn at(
    field: &Field<'_>,
    key: &str,
    query: &str,
    read: impl Fn(&str) -> Result<(), String>,
) -> Result<(), PolicyError> {
    let mut is_known = true;
    let filled = replaced(query, |name| match name {
        "cohort" => Some("service_name=\"service\"".into()),
        "interval" => Some("1m".into()),
        "start" | "end" => Some("time".into()),
        _ => {
            is_known = false;
            None
        }
    });
    // In SQL the cohort is a condition, not a list of matchers: both read as one there.
    match (read(&filled), field.child(key)) {
        (Err(detail), Some(value)) if is_known => {
            Err(value.error(FieldProblem::Query { query: query.to_owned(), detail }))
        }
        _ => Ok(()),
    }
}
