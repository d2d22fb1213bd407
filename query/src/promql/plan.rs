//! A checked expression made ready to run: times are numbers, what does not change from step to
//! step is known, and each function is one of a few shapes.

use greylight_store::model::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::EvalError;
use super::syntax::{
    AggregateOp, At, BinaryOp, DurationExpr, DurationOp, Expr, ExprKind, FunctionId, Grouping, Matching,
    Offset, Selector, Span, ValueType,
};

/// The steps of an evaluation, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) n: usize,
}

impl Grid {
    pub(super) fn instant(t: i64) -> Self {
        Self { start: t, step: 1, n: 1 }
    }

    pub(super) fn time(&self, k: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(k as i64))
    }
}

/// Where a selector or subquery looks, seen from a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) offset_ms: i64,
    pub(super) at: Option<i64>,
}

impl Shift {
    /// Returns the time that is looked at from step `k`.
    pub(super) fn time(&self, grid: &Grid, k: usize) -> i64 {
        self.at.unwrap_or_else(|| grid.time(k)).saturating_sub(self.offset_ms)
    }

    /// Returns the first and the last time that is looked at.
    pub(super) fn bounds(&self, grid: &Grid) -> (i64, i64) {
        (self.time(grid, 0), self.time(grid, grid.n.saturating_sub(1)))
    }
}

#[derive(Clone, Debug)]
pub(super) struct SeriesNode {
    pub(super) matchers: Vec<Matcher>,
    pub(super) shift: Shift,
}

#[derive(Debug)]
pub(super) enum WindowSource {
    Series(SeriesNode),
    Subquery { node: Box<Node>, step_ms: i64, shift: Shift },
}

#[derive(Debug)]
pub(super) struct Window {
    pub(super) source: WindowSource,
    pub(super) range_ms: i64,
    /// What `absent_over_time` gives its answer.
    pub(super) absent_labels: Labels,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    Time,
    Series(SeriesNode),
    /// A range vector that is the whole query.
    Raw(Window),
    /// The times of the samples that a selector finds.
    Timestamps(SeriesNode),
    Window {
        func: FunctionId,
        window: Window,
        params: Vec<Node>,
        param_span: Span,
    },
    Call {
        func: FunctionId,
        args: Vec<Node>,
        spans: Vec<Span>,
        absent_labels: Labels,
    },
    Aggregate {
        op: AggregateOp,
        param: Option<Box<Node>>,
        expr: Box<Node>,
        grouping: Grouping,
        span: Span,
    },
    Binary {
        op: BinaryOp,
        lhs: Box<Node>,
        rhs: Box<Node>,
        matching: Matching,
        return_bool: bool,
        span: Span,
    },
    Negate(Box<Node>),
    /// The same at each step: evaluated once.
    Fixed(Box<Node>),
}

/// What lowering needs to know about the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Zero for an instant query.
    pub(super) step: i64,
    pub(super) subquery_step_ms: i64,
}

type Result<T> = std::result::Result<T, EvalError>;

/// Makes an expression ready to run.
pub(super) fn lower(expr: &Expr, context: &Context) -> Result<Node> {
    let (node, fixed) = context.lower(expr)?;
    Ok(wrap(node, fixed))
}

fn wrap(node: Node, fixed: bool) -> Node {
    match node {
        Node::Number(_) | Node::Text(_) | Node::Fixed(_) | Node::Raw(_) => node,
        _ if fixed => Node::Fixed(Box::new(node)),
        _ => node,
    }
}

impl Context {
    /// Returns the node, and whether it is the same at each step.
    fn lower(&self, expr: &Expr) -> Result<(Node, bool)> {
        match &expr.kind {
            ExprKind::Number { value, .. } => Ok((Node::Number(*value), true)),
            ExprKind::String(text) => Ok((Node::Text(text.clone()), true)),
            ExprKind::Paren(inner) => self.lower(inner),
            ExprKind::Vector(selector) => {
                let node = self.series(selector)?;
                let fixed = node.shift.at.is_some();
                Ok((Node::Series(node), fixed))
            }
            ExprKind::Matrix { .. } | ExprKind::Subquery { .. } => {
                let (window, fixed) = self.window(expr)?;
                Ok((Node::Raw(window), fixed))
            }
            ExprKind::Unary { negative, expr: inner } => {
                let (node, fixed) = self.lower(inner)?;
                Ok((if *negative { Node::Negate(Box::new(node)) } else { node }, fixed))
            }
            ExprKind::Binary { op, lhs, rhs, matching, return_bool } => {
                let (mut nodes, fixed) = self.all(&[lhs, rhs])?;
                let (rhs, lhs) = (nodes.pop(), nodes.pop());
                let (Some(lhs), Some(rhs)) = (lhs, rhs) else { return Err(EvalError::internal("operand")) };
                let (lhs, rhs) = (Box::new(lhs), Box::new(rhs));
                let (op, matching, return_bool, span) = (*op, matching.clone(), *return_bool, expr.span);
                Ok((Node::Binary { op, lhs, rhs, matching, return_bool, span }, fixed))
            }
            ExprKind::Aggregate { op, param, expr: inner, grouping } => {
                let mut parts = vec![&**inner];
                parts.extend(param.as_deref());
                let (mut nodes, fixed) = self.all(&parts)?;
                let param = if param.is_some() { nodes.pop().map(Box::new) } else { None };
                let Some(inner_node) = nodes.pop() else { return Err(EvalError::internal("operand")) };
                let mut grouping = grouping.clone();
                grouping.labels.sort();
                grouping.labels.dedup();
                let span = inner.span;
                Ok((Node::Aggregate { op: *op, param, expr: Box::new(inner_node), grouping, span }, fixed))
            }
            ExprKind::Call { .. } => self.call(expr),
        }
    }

    /// Lowers parts that are together fixed or not: in the second case the fixed ones are wrapped.
    fn all(&self, parts: &[&Expr]) -> Result<(Vec<Node>, bool)> {
        let lowered: Vec<(Node, bool)> = parts.iter().map(|part| self.lower(part)).collect::<Result<_>>()?;
        let fixed = lowered.iter().all(|(_, fixed)| *fixed);
        let nodes = lowered.into_iter().map(|(node, f)| if fixed { node } else { wrap(node, f) }).collect();
        Ok((nodes, fixed))
    }

    fn call(&self, expr: &Expr) -> Result<(Node, bool)> {
        let ExprKind::Call { func, args } = &expr.kind else { return Err(EvalError::internal("call")) };
        if func.id == FunctionId::Time {
            return Ok((Node::Time, false));
        }
        if func.id == FunctionId::Timestamp
            && let ExprKind::Vector(selector) = &args[0].unwrap_parens().kind
        {
            return Ok((Node::Timestamps(self.series(selector)?), false));
        }
        let spans: Vec<Span> = args.iter().map(|a| a.span).collect();
        if let Some(at) = args.iter().position(|a| a.value_type() == ValueType::Matrix) {
            let (window, window_fixed) = self.window(args[at].unwrap_parens())?;
            let rest: Vec<&Expr> =
                args.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, a)| a).collect();
            let (params, params_fixed) = self.all(&rest)?;
            let window = Window { span: args[at].span, ..window };
            let fixed = window_fixed && params_fixed && func.id != FunctionId::PredictLinear;
            let params =
                if fixed { params } else { params.into_iter().map(|p| wrap(p, params_fixed)).collect() };
            let param_span = rest.first().map_or(expr.span, |p| p.span);
            return Ok((Node::Window { func: func.id, window, params, param_span }, fixed));
        }
        let absent_labels = match args.first().map(|a| &a.unwrap_parens().kind) {
            Some(ExprKind::Vector(selector)) => absent_labels(&selector.matchers),
            _ => Labels::default(),
        };
        let (nodes, fixed) = self.all(&args.iter().collect::<Vec<_>>())?;
        // Without an argument, or by their nature, these look at the time of the step.
        let unsafe_at = reads_step_time(func.id);
        let nodes = if unsafe_at { nodes.into_iter().map(|n| wrap(n, fixed)).collect() } else { nodes };
        Ok((Node::Call { func: func.id, args: nodes, spans, absent_labels }, fixed && !unsafe_at))
    }

    fn series(&self, selector: &Selector) -> Result<SeriesNode> {
        Ok(SeriesNode { matchers: selector.matchers.clone(), shift: self.shift(&selector.offset)? })
    }

    fn shift(&self, offset: &Offset) -> Result<Shift> {
        let offset_ms = match &offset.by {
            Some(by) => self.duration_ms(by)?,
            None => 0,
        };
        let at = offset.at.as_ref().map(|at| match at {
            At::Time(ms) => *ms,
            At::Start => self.start,
            At::End => self.end,
        });
        Ok(Shift { offset_ms, at })
    }

    fn window(&self, expr: &Expr) -> Result<(Window, bool)> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Matrix { selector, range, .. } => {
                let node = self.series(selector)?;
                let fixed = node.shift.at.is_some();
                let absent_labels = absent_labels(&selector.matchers);
                let range_ms = self.positive_ms(range)?;
                Ok((Window { source: WindowSource::Series(node), range_ms, absent_labels, span }, fixed))
            }
            ExprKind::Subquery { expr: inner, range, step, offset } => {
                let shift = self.shift(offset)?;
                let step_ms = match step {
                    Some(step) => self.positive_ms(step)?,
                    None => self.subquery_step_ms,
                };
                let (node, fixed) = self.lower(inner)?;
                let node = Box::new(wrap(node, fixed));
                let range_ms = self.positive_ms(range)?;
                let source = WindowSource::Subquery { node, step_ms, shift };
                Ok((Window { source, range_ms, absent_labels: Labels::default(), span }, shift.at.is_some()))
            }
            _ => Err(EvalError::internal("window")),
        }
    }

    fn positive_ms(&self, duration: &DurationExpr) -> Result<i64> {
        let ms = self.duration_ms(duration)?;
        if ms > 0 { Ok(ms) } else { Err(EvalError::Invalid("duration must be greater than 0".into())) }
    }

    fn duration_ms(&self, duration: &DurationExpr) -> Result<i64> {
        let seconds = self.seconds(duration)?;
        // Go holds durations in nanoseconds; what does not fit there is refused.
        if seconds.is_nan() || seconds.abs() >= 9.2e9 {
            return Err(EvalError::Invalid(format!("duration out of range: {duration}")));
        }
        Ok((seconds * 1000.0).round() as i64)
    }

    fn seconds(&self, duration: &DurationExpr) -> Result<f64> {
        Ok(match duration {
            DurationExpr::Seconds { value, .. } => *value,
            DurationExpr::Step => self.step as f64 / 1000.0,
            DurationExpr::Range => self.end.saturating_sub(self.start) as f64 / 1000.0,
            DurationExpr::Negative(inner) => -self.seconds(inner)?,
            DurationExpr::Paren(inner) => self.seconds(inner)?,
            DurationExpr::Binary(op, a, b) => {
                let (a, b) = (self.seconds(a)?, self.seconds(b)?);
                match op {
                    DurationOp::Add => a + b,
                    DurationOp::Sub => a - b,
                    DurationOp::Mul => a * b,
                    DurationOp::Div if b == 0.0 => return Err(EvalError::Invalid("division by zero".into())),
                    DurationOp::Mod if b == 0.0 => return Err(EvalError::Invalid("modulo by zero".into())),
                    DurationOp::Div => a / b,
                    DurationOp::Mod => a % b,
                    DurationOp::Pow => a.powf(b),
                    DurationOp::Min => a.min(b),
                    DurationOp::Max => a.max(b),
                }
            }
        })
    }
}

fn reads_step_time(func: FunctionId) -> bool {
    use FunctionId as F;
    matches!(
        func,
        F::DaysInMonth
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::Timestamp
            | F::Time
    )
}

/// Labels that `absent` can know: those that are matched by equality, and once.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut labels = Labels::default().to_builder();
    let mut seen: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        if m.op() == MatchOp::Equal && !seen.contains(&m.name()) {
            labels = labels.set(m.name(), m.value());
            seen.push(m.name());
        } else {
            labels = labels.remove(m.name());
        }
    }
    labels.build()
}
