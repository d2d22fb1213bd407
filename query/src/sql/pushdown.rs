//! What of a `WHERE` the store can decide itself: equal labels, and times.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use greylight_store::model::{METRIC_NAME, Matcher};

/// The part of a filter that the store decides; the rest, and this again, is filtered afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) matchers: Vec<Matcher>,
    /// Nanoseconds, both inside.
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
}

impl Wanted {
    /// Takes what can be taken from filters that are joined by AND.
    ///
    /// `own` are the labels that have columns of their own.
    pub(super) fn from_filters(filters: &[Expr], own: &[String]) -> Self {
        let mut wanted = Self::default();
        filters.iter().for_each(|filter| wanted.add(filter, own));
        wanted
    }

    /// Tells whether anything of a filter can be decided by the store.
    pub(super) fn helps(filter: &Expr, own: &[String]) -> bool {
        let wanted = Self::from_filters(std::slice::from_ref(filter), own);
        !wanted.matchers.is_empty() || wanted.start.is_some() || wanted.end.is_some()
    }

    fn add(&mut self, filter: &Expr, own: &[String]) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(left, own);
                self.add(right, own);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (literal(left), literal(right)) {
                (None, Some(value)) => self.compare(left, *op, value, own),
                (Some(value), None) => {
                    if let Some(op) = op.swap() {
                        self.compare(right, op, value, own);
                    }
                }
                _ => {}
            },
            Expr::Between(between) if !between.negated => {
                if let (Some(low), Some(high)) = (literal(&between.low), literal(&between.high)) {
                    self.compare(&between.expr, Operator::GtEq, low, own);
                    self.compare(&between.expr, Operator::LtEq, high, own);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, side: &Expr, op: Operator, value: &ScalarValue, own: &[String]) {
        if let Some(label) = label(side, own) {
            // An empty value means that the label is absent, which SQL sees as NULL, not as equal.
            if let (Operator::Eq, Some(Some(text))) = (op, value.try_as_str())
                && !text.is_empty()
            {
                self.matchers.push(Matcher::equal(label, text));
            }
            return;
        }
        let (Some("time"), Some(t)) = (column(side), nanos(value)) else { return };
        match op {
            Operator::Gt | Operator::GtEq => self.start = Some(self.start.map_or(t, |s| s.max(t))),
            Operator::Lt | Operator::LtEq => self.end = Some(self.end.map_or(t, |e| e.min(t))),
            Operator::Eq => {
                self.start = Some(self.start.map_or(t, |s| s.max(t)));
                self.end = Some(self.end.map_or(t, |e| e.min(t)));
            }
            _ => {}
        }
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// Returns the label that an expression reads: `name`, a label's own column, or `labels['x']`.
fn label<'a>(expr: &'a Expr, own: &[String]) -> Option<&'a str> {
    match column(expr) {
        Some("name") => return Some(METRIC_NAME),
        Some(name) if own.iter().any(|label| label == name) => return Some(name),
        _ => {}
    }
    let Expr::ScalarFunction(call) = expr else { return None };
    match call.args.as_slice() {
        [of, Expr::Literal(name, _)] if call.name() == "get_field" && column(of) == Some("labels") => {
            name.try_as_str().flatten()
        }
        _ => None,
    }
}

fn nanos(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(t, _) => *t,
        ScalarValue::TimestampMicrosecond(t, _) => t.and_then(|t| t.checked_mul(1000)),
        ScalarValue::TimestampMillisecond(t, _) => t.and_then(|t| t.checked_mul(1_000_000)),
        ScalarValue::TimestampSecond(t, _) => t.and_then(|t| t.checked_mul(1_000_000_000)),
        _ => None,
    }
}
