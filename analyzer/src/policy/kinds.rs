//! What a check compares, and where its data comes from.

use serde_json::Value;

use super::error::{FieldProblem, PolicyError};
use super::fields::{Field, Fields};
use super::parse::Queries;
use super::{CheckKind, Distribution, LogQuery, Severity, Source, UserValue, Users, ValueQuery};

pub(super) fn kind(fields: &Fields<'_>, queries: Queries) -> Result<CheckKind, PolicyError> {
    let source = |key: &str| match (fields.get(key), queries) {
        (Some(field), _) => source(&field),
        (None, Queries::Optional) => Ok(Source::Given),
        (None, Queries::Required) => fields.required(key).and_then(|field| source(&field)),
    };
    let field = fields.required("kind")?;
    let word = field.word(&[
        ("ratio", "ratio"),
        ("count", "count"),
        ("mean", "mean"),
        ("distribution", "distribution"),
        ("users", "users"),
        ("composite", "composite"),
        ("patterns", "patterns"),
    ])?;
    Ok(match word {
        "ratio" => CheckKind::Ratio { events: source("events")?, trials: source("trials")? },
        "count" => CheckKind::Count { events: source("events")? },
        "mean" => CheckKind::Mean { value: value_query(fields, queries)? },
        "distribution" => CheckKind::Distribution { data: distribution(fields, &field, queries)? },
        "users" => CheckKind::Users { users: users(fields, queries)? },
        "composite" => CheckKind::Composite,
        _ => CheckKind::Patterns {
            logs: match (fields.get("logs"), queries) {
                (Some(field), _) => logs(&field)?,
                (None, Queries::Optional) => Source::Given,
                (None, Queries::Required) => logs(&fields.required("logs")?)?,
            },
            severity: fields.get("severity").map(|field| severity(&field)).transpose()?,
            trials: fields.get("trials").map(|_| source("trials")).transpose()?,
        },
    })
}

fn severity(field: &Field<'_>) -> Result<Severity, PolicyError> {
    let word = field.value().as_str().and_then(Severity::from_word);
    word.ok_or_else(|| field.wants("trace | debug | info | warn | error | fatal"))
}

fn logs(field: &Field<'_>) -> Result<Source, PolicyError> {
    if field.value().get("match").is_some() || field.value().get("query").is_some() {
        let fields = field.fields(&["query", "match"])?;
        let query = fields.get("query").map(|field| field.string()).transpose()?;
        return Ok(Source::Logs(LogQuery {
            query: query.unwrap_or_else(|| "*".to_owned()),
            matchers: fields.required("match")?.string()?,
            field: None,
        }));
    }
    Ok(Source::Logs(LogQuery { query: "*".to_owned(), matchers: field.string()?, field: None }))
}

fn source(field: &Field<'_>) -> Result<Source, PolicyError> {
    match field.value() {
        Value::Object(map) if map.contains_key("logs") => Ok(Source::Logs(log_query(field, false)?)),
        _ => Ok(Source::Selectors(field.strings()?)),
    }
}

fn log_query(field: &Field<'_>, with_field: bool) -> Result<LogQuery, PolicyError> {
    let fields = field.fields(if with_field { &["logs", "match", "field"] } else { &["logs", "match"] })?;
    Ok(LogQuery {
        query: fields.required("logs")?.string()?,
        matchers: match fields.get("match") {
            Some(field) => field.string()?,
            None => "{$cohort}".to_owned(),
        },
        field: if with_field { Some(fields.required("field")?.string()?) } else { None },
    })
}

fn value_query(fields: &Fields<'_>, queries: Queries) -> Result<ValueQuery, PolicyError> {
    let field = match (fields.get("value"), queries) {
        (Some(field), _) => field,
        (None, Queries::Optional) => return Ok(ValueQuery::Given),
        (None, Queries::Required) => fields.required("value")?,
    };
    let Value::Object(map) = field.value() else {
        return Ok(ValueQuery::PromQl(field.string()?));
    };
    if !["promql", "sql", "logql"].iter().any(|key| map.contains_key(*key)) {
        return Err(field.error(FieldProblem::QuoteIt));
    }
    let inner = field.fields(&["promql", "sql", "logql"])?;
    match (inner.get("promql"), inner.get("sql"), inner.get("logql")) {
        (Some(query), None, None) => Ok(ValueQuery::PromQl(query.string()?)),
        (None, Some(query), None) => Ok(ValueQuery::Sql(query.string()?)),
        (None, None, Some(query)) => Ok(ValueQuery::LogQl(query.string()?)),
        _ => Err(field.wants("one of promql, sql and logql")),
    }
}

fn distribution(
    fields: &Fields<'_>,
    kind: &Field<'_>,
    queries: Queries,
) -> Result<Distribution, PolicyError> {
    match (fields.get("histogram"), fields.get("values")) {
        (Some(histogram), None) => Ok(Distribution::Histogram(histogram.strings()?)),
        (None, Some(values)) => Ok(Distribution::Values(log_query(&values, true)?)),
        (None, None) if queries == Queries::Optional => Ok(Distribution::Given),
        (None, None) => Err(kind.conflict("a distribution needs `histogram` or `values`")),
        (Some(histogram), Some(_)) => Err(histogram.conflict("`histogram` and `values` exclude each other")),
    }
}

fn users(fields: &Fields<'_>, queries: Queries) -> Result<Users, PolicyError> {
    let field = match (fields.get("users"), queries) {
        (Some(field), _) => field,
        (None, Queries::Optional) => return Ok(Users::Given),
        (None, Queries::Required) => fields.required("users")?,
    };
    let inner = field.fields(&["logs", "match", "user", "value"])?;
    let value = inner.required("value")?;
    let of = value.fields(&["query", "field"])?;
    Ok(Users::Logs {
        query: LogQuery {
            query: inner.required("logs")?.string()?,
            matchers: inner.get("match").map_or(Ok("{$cohort}".to_owned()), |field| field.string())?,
            field: None,
        },
        user: inner.required("user")?.string()?,
        value: match (of.get("query"), of.get("field")) {
            (Some(query), None) => UserValue::Ever(query.string()?),
            (None, Some(field)) => UserValue::Sum(field.string()?),
            _ => return Err(value.wants("either `query` (did the user ever) or `field` (the sum)")),
        },
    })
}
