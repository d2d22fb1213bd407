//! One evaluation of one rule: an expression to series, or to alerts with their texts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use greylight_query::promql::{Engine, EvalError, Query, Sample, SyntaxError, Value};
use greylight_store::model::{Histogram, Labels, METRIC_NAME, TenantId, Timestamp};
use greylight_store::read::{Budget, ReadError};

use super::alert::{Found, LimitError};
use super::file::{Alerting, Kind, Rule};
use super::template::{self, Ask, Data, Measured, Template};

/// Evaluates rules of one tenant. Blocks.
pub(super) struct Evaluator<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) engine: &'a Engine,
    /// What the expression and the queries of all its templates may use together.
    pub(super) budget: &'a Budget,
    pub(super) external_labels: Arc<BTreeMap<String, String>>,
    pub(super) external_url: String,
}

/// One series to be written.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) labels: Labels,
    pub(super) value: f64,
    pub(super) histogram: Option<Arc<Histogram>>,
}

impl Point {
    pub(super) fn float(labels: Labels, value: f64) -> Self {
        Self { labels, value, histogram: None }
    }
}

/// What a rule gave.
#[derive(Debug)]
pub(super) enum Evaluated {
    /// The series of a recording rule.
    Points(Vec<Point>),
    /// The alerts for which an alerting rule's expression holds.
    Alerts(Vec<Found>),
}

/// Why an evaluation gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum EvaluateError {
    /// The expression failed.
    #[error(transparent)]
    Query(#[from] EvalError),
    /// The expression and the queries of its templates took too much together.
    #[error(transparent)]
    Budget(#[from] ReadError),
    /// A query of a template is none.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It is of another kind.
    #[error("rule result is not a vector or scalar")]
    Kind,
    /// Two results have the same labels.
    #[error("vector contains metrics with the same labelset after applying {0} labels")]
    Same(&'static str),
    /// More alerts than the group allows, or than any may have.
    #[error(transparent)]
    Alerts(#[from] LimitError),
    /// More series than the group allows.
    #[error("exceeded limit of {limit} with {found} series")]
    Limit { limit: i64, found: usize },
}

impl Evaluator<'_> {
    /// Evaluates a rule as of `at`, less the offset of its group.
    pub(super) fn run(
        &self,
        rule: &Rule,
        at: Timestamp,
        query_offset: Duration,
        limit: i64,
    ) -> Result<Evaluated, EvaluateError> {
        let samples = self.ask(&rule.query, at.saturating_sub(query_offset))?;
        match &rule.kind {
            Kind::Recording => recorded(rule, samples, limit).map(Evaluated::Points),
            Kind::Alerting(alerting) => {
                // Before the texts are made: they are what takes time and memory.
                LimitError::check(samples.len(), limit)?;
                self.alerts(rule, alerting, samples, at).map(Evaluated::Alerts)
            }
        }
    }

    fn ask(&self, query: &Query, at: Timestamp) -> Result<Vec<Sample>, EvaluateError> {
        match self.engine.instant(self.tenant, query, at, self.budget)?.value {
            Value::Vector(samples) => Ok(samples),
            Value::Scalar { t_ms, value } => {
                Ok(vec![Sample { labels: Labels::default(), t_ms, value, histogram: None }])
            }
            _ => Err(EvaluateError::Kind),
        }
    }

    fn alerts(
        &self,
        rule: &Rule,
        alerting: &Alerting,
        samples: Vec<Sample>,
        at: Timestamp,
    ) -> Result<Vec<Found>, EvaluateError> {
        let asker = Asker { evaluator: self, at };
        let mut seen = HashSet::with_capacity(samples.len());
        let mut found = Vec::with_capacity(samples.len());
        for sample in samples {
            let pairs = sample.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
            let value = match &sample.histogram {
                Some(histogram) => {
                    Measured::Histogram(format!("{{count:{}, sum:{}}}", histogram.count, histogram.sum))
                }
                None => Measured::Float(sample.value),
            };
            let data = Data {
                labels: Arc::new(pairs.collect()),
                external_labels: self.external_labels.clone(),
                external_url: self.external_url.clone(),
                value,
            };
            let mut labels = sample.labels.to_builder().remove(METRIC_NAME);
            for (name, template) in &alerting.labels {
                labels = labels.set(name, &expanded(rule, template, &data, &asker));
            }
            let labels = labels.set("alertname", &rule.name).build();
            let fill = |(name, _, template): &(String, String, Template)| {
                (name.clone(), expanded(rule, template, &data, &asker))
            };
            let annotations = alerting.annotations.iter().map(fill).collect();
            if !seen.insert(labels.clone()) {
                return Err(EvaluateError::Same("alert"));
            }
            let value = if sample.histogram.is_some() { 0.0 } else { sample.value };
            found.push(Found { labels, annotations, value });
            // Without this the mistake would stand in texts, in those of labels too, which name other alerts then.
            self.budget.charge_series(0)?;
            self.budget.charge_samples(0)?;
        }
        Ok(found)
    }
}

/// Fills in a template. A mistake stands in the text, as in Prometheus, so that the alert itself is not lost.
fn expanded(rule: &Rule, template: &Template, data: &Data, ask: &dyn Ask) -> String {
    template.expand(data, ask).unwrap_or_else(|error| {
        tracing::warn!(alert = rule.name, %error, "a template of an alert failed");
        format!("<error expanding template: {error}>")
    })
}

fn recorded(rule: &Rule, samples: Vec<Sample>, limit: i64) -> Result<Vec<Point>, EvaluateError> {
    let mut seen = HashSet::with_capacity(samples.len());
    let mut points = Vec::with_capacity(samples.len());
    for sample in samples {
        let mut labels = sample.labels.to_builder().set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels = labels.set(name, value);
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(EvaluateError::Same("rule"));
        }
        points.push(Point { labels, value: sample.value, histogram: sample.histogram });
    }
    if limit > 0 && points.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
        return Err(EvaluateError::Limit { limit, found: points.len() });
    }
    Ok(points)
}

/// Asks for templates, as of the evaluation.
struct Asker<'a> {
    evaluator: &'a Evaluator<'a>,
    at: Timestamp,
}

impl Ask for Asker<'_> {
    fn ask(&self, expr: &str) -> Result<Vec<template::Sample>, String> {
        let query = Query::parse(expr).map_err(|e| e.to_string())?;
        let samples = self.evaluator.ask(&query, self.at).map_err(|e| e.to_string())?;
        let of = |sample: Sample| {
            let pairs = sample.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
            template::Sample { labels: Arc::new(pairs.collect()), value: sample.value }
        };
        Ok(samples.into_iter().map(of).collect())
    }
}
