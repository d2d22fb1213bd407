//! What is experimental in Prometheus's PromQL: on here, unless it is taken away by name.

use crate::config::ConfigError;
use crate::promql::syntax::{AggregateOp, DurationExpr, Expr, ExprKind, Function, Span};

/// Names of a metric go at the end of an evaluation; without this, with the operation that changes their values.
const DELAYED_NAMES: &str = "promql-delayed-name-removal";
/// Arithmetic of durations.
const DURATIONS: &str = "promql-duration-expr";
/// The functions and aggregations below.
const FUNCTIONS: &str = "promql-experimental-functions";

/// Functions that Prometheus 3.5 has behind a flag.
const EXPERIMENTAL: &[&str] = &[
    "double_exponential_smoothing",
    "first_over_time",
    "info",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// What is taken away: features, and single functions.
#[derive(Debug, Default)]
pub(crate) struct Disabled {
    names: Vec<String>,
}

impl Disabled {
    /// Takes names of features and functions.
    pub(crate) fn new(names: &[String]) -> Result<Self, ConfigError> {
        let is_known = |name: &str| {
            [DELAYED_NAMES, DURATIONS, FUNCTIONS].contains(&name) || Function::find(name).is_some()
        };
        match names.iter().find(|name| !is_known(name)) {
            Some(unknown) => Err(ConfigError::Feature(unknown.clone())),
            None => Ok(Self { names: names.to_vec() }),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|disabled| disabled == name)
    }

    /// Tells whether names go at the end of an evaluation.
    pub(crate) fn delays_names(&self) -> bool {
        !self.has(DELAYED_NAMES)
    }

    /// Finds what an expression has that is taken away: its place, and a sentence.
    pub(crate) fn find(&self, expr: &Expr) -> Option<(Span, String)> {
        if self.names.is_empty() {
            return None;
        }
        let mut found = None;
        expr.walk(&mut |part| {
            let why = match &part.kind {
                ExprKind::Call { func, .. } if self.has_function(func.name) => {
                    Some(format!("function {:?} is not enabled", func.name))
                }
                ExprKind::Aggregate { op: AggregateOp::Limitk | AggregateOp::LimitRatio, .. }
                    if self.has(FUNCTIONS) =>
                {
                    Some("limitk and limit_ratio are not enabled".to_owned())
                }
                _ if self.has(DURATIONS) && has_arithmetic(&part.kind) => {
                    Some("experimental duration expression is not enabled".to_owned())
                }
                _ => None,
            };
            if let Some(why) = why {
                found = Some((part.span, why));
            }
        });
        found
    }

    fn has_function(&self, name: &str) -> bool {
        self.has(name) || self.has(FUNCTIONS) && EXPERIMENTAL.contains(&name)
    }
}

fn has_arithmetic(kind: &ExprKind) -> bool {
    let is_plain = |duration: &DurationExpr| match duration {
        DurationExpr::Negative(inner) => matches!(**inner, DurationExpr::Seconds { .. }),
        DurationExpr::Seconds { .. } => true,
        _ => false,
    };
    let durations = match kind {
        ExprKind::Vector(selector) => vec![selector.offset.by.as_ref()],
        ExprKind::Matrix { selector, range, .. } => vec![selector.offset.by.as_ref(), Some(range)],
        ExprKind::Subquery { range, step, offset, .. } => {
            vec![Some(range), step.as_ref(), offset.by.as_ref()]
        }
        _ => Vec::new(),
    };
    durations.into_iter().flatten().any(|duration| !is_plain(duration))
}
