//! The tree of an expression, with the place of each part in the text.

use greylight_store::model::Matcher;

use super::Function;

/// A piece of the text: byte offsets, the end is outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
}

impl Span {
    /// Returns the span from the start of this to the end of `other`.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// Returns `line:column` of the start, both from one, as Prometheus shows places.
    pub fn line_column(self, text: &str) -> String {
        let at = self.start.min(text.len());
        let before = &text.as_bytes()[..at];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = at - before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1) + 1;
        format!("{line}:{column}")
    }
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number at each step.
    Scalar,
    /// A value for each series at each step.
    Vector,
    /// The samples of each series in a window.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// Returns the type's name in error messages.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }

    /// Returns the type's name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }
}

/// One part of an expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is.
    pub span: Span,
}

/// The parts that an expression is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number; `duration` when it was written as one.
    Number {
        /// Its value, seconds for a duration.
        value: f64,
        /// Written as a duration.
        duration: bool,
    },
    /// A text.
    String(String),
    /// An instant vector selector.
    Vector(Selector),
    /// A range vector selector.
    Matrix {
        /// What is selected.
        selector: Selector,
        /// Where the selector alone stands.
        selector_span: Span,
        /// Length of the window.
        range: DurationExpr,
    },
    /// An expression evaluated on a grid of its own.
    Subquery {
        /// The expression.
        expr: Box<Expr>,
        /// Length of the window.
        range: DurationExpr,
        /// Distance of its steps; the default where it is left out.
        step: Option<DurationExpr>,
        /// How it is moved in time.
        offset: Offset,
    },
    /// A function's call.
    Call {
        /// The function.
        func: &'static Function,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// An aggregation over series.
    Aggregate {
        /// How.
        op: AggregateOp,
        /// The parameter of operators that have one.
        param: Option<Box<Expr>>,
        /// Over what.
        expr: Box<Expr>,
        /// Which series belong together.
        grouping: Grouping,
    },
    /// Two operands.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        lhs: Box<Expr>,
        /// Right operand.
        rhs: Box<Expr>,
        /// Which series belong together.
        matching: Matching,
        /// A comparison gives 0 or 1 and filters nothing.
        return_bool: bool,
    },
    /// A sign.
    Unary {
        /// Minus, not plus.
        negative: bool,
        /// The operand.
        expr: Box<Expr>,
    },
    /// Parentheses.
    Paren(Box<Expr>),
}

impl Expr {
    /// Returns the expression inside all parentheses around it.
    pub fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// Returns what the expression gives.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number { .. } => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate { .. } => ValueType::Vector,
            ExprKind::Matrix { .. } | ExprKind::Subquery { .. } => ValueType::Matrix,
            ExprKind::Call { func, .. } => func.returns,
            ExprKind::Binary { lhs, rhs, .. } => {
                let scalars = lhs.value_type() == ValueType::Scalar && rhs.value_type() == ValueType::Scalar;
                if scalars { ValueType::Scalar } else { ValueType::Vector }
            }
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => expr.value_type(),
        }
    }

    /// Calls `visit` with the expression and all parts of it, outermost first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match &self.kind {
            ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix { .. } => {
            }
            ExprKind::Subquery { expr, .. } | ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => {
                expr.walk(visit)
            }
            ExprKind::Call { args, .. } => args.iter().for_each(|arg| arg.walk(visit)),
            ExprKind::Aggregate { param, expr, .. } => {
                if let Some(param) = param {
                    param.walk(visit);
                }
                expr.walk(visit);
            }
            ExprKind::Binary { lhs, rhs, .. } => {
                lhs.walk(visit);
                rhs.walk(visit);
            }
        }
    }

    /// Returns all selectors of the expression.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        self.walk(&mut |part| match &part.kind {
            ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => found.push(selector),
            _ => {}
        });
        found
    }
}

/// Which series, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The name that was written before the braces; the matchers hold it too.
    pub name: Option<String>,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// How it is moved in time.
    pub offset: Offset,
}

/// How a selector or a subquery is moved in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offset {
    /// This much into the past.
    pub by: Option<DurationExpr>,
    /// At this time, instead of the time of evaluation.
    pub at: Option<At>,
}

/// A fixed time of evaluation.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// Start of the query.
    Start,
    /// End of the query.
    End,
}

/// A duration that may depend on the query's step and range; in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// Seconds.
    Seconds {
        /// How many.
        value: f64,
        /// Written as a duration and not as a number.
        duration: bool,
    },
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// A minus sign.
    Negative(Box<DurationExpr>),
    /// Two operands.
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    /// Parentheses.
    Paren(Box<DurationExpr>),
}

/// What joins two durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
}

/// How series are aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the operators' names")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// Every operator with its name.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Sum, "sum"),
        (Self::Avg, "avg"),
        (Self::Count, "count"),
        (Self::Min, "min"),
        (Self::Max, "max"),
        (Self::Group, "group"),
        (Self::Stddev, "stddev"),
        (Self::Stdvar, "stdvar"),
        (Self::Topk, "topk"),
        (Self::Bottomk, "bottomk"),
        (Self::Quantile, "quantile"),
        (Self::CountValues, "count_values"),
        (Self::Limitk, "limitk"),
        (Self::LimitRatio, "limit_ratio"),
    ];

    /// Finds an operator by its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| n.eq_ignore_ascii_case(name)).map(|(op, _)| *op)
    }

    /// Returns the operator's name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, n)| n)
    }

    /// Tells whether the operator takes a parameter.
    pub fn has_param(self) -> bool {
        matches!(
            self,
            Self::Topk | Self::Bottomk | Self::Quantile | Self::CountValues | Self::Limitk | Self::LimitRatio
        )
    }
}

/// Which series an aggregation takes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// All labels but these, not these alone.
    pub without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// Which series two operands take together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// How many on which side.
    pub card: Card,
    /// These labels alone, not all but these.
    pub on: bool,
    /// The labels.
    pub labels: Vec<String>,
    /// Labels that the side of the one gives to the side of the many.
    pub include: Vec<String>,
}

impl Default for Matching {
    fn default() -> Self {
        Self { card: Card::OneToOne, on: false, labels: Vec::new(), include: Vec::new() }
    }
}

/// How many series of each side belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// One and one.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// What joins two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the operators' names")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// Returns the operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Tells whether it compares.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// Tells whether it works on sets of series.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Returns how tightly it binds; higher is tighter.
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}
