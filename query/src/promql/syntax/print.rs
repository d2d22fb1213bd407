//! An expression as text again, as Prometheus writes it.

use std::fmt;

use greylight_store::model::METRIC_NAME;
use greylight_wire::exposition::is_plain_name;

use super::{
    At, Card, DurationExpr, DurationOp, Expr, ExprKind, Matching, Offset, Selector, format_duration,
};

/// Lines longer than this are broken.
const LINE_CHARS_MAX: usize = 100;

/// Writes a number as Go's `strconv.FormatFloat(v, 'f', -1, 64)` does.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        format!("{value}")
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds { value, duration: true } => {
                f.write_str(&format_duration((value * 1000.0).round() as i64))
            }
            Self::Seconds { value, duration: false } => match (value * 1000.0).round() {
                ms if ms.abs() < 9.2e15 => f.write_str(&format_duration(ms as i64)),
                _ => f.write_str(&number(*value)),
            },
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Negative(inner) => write!(f, "-{inner}"),
            Self::Paren(inner) => write!(f, "({inner})"),
            Self::Binary(op, a, b) => {
                let word = match op {
                    DurationOp::Add => "+",
                    DurationOp::Sub => "-",
                    DurationOp::Mul => "*",
                    DurationOp::Div => "/",
                    DurationOp::Mod => "%",
                    DurationOp::Pow => "^",
                    DurationOp::Min => return write!(f, "min({a}, {b})"),
                    DurationOp::Max => return write!(f, "max({a}, {b})"),
                };
                write!(f, "{a} {word} {b}")
            }
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(At::Time(ms)) => write!(f, " @ {:.3}", *ms as f64 / 1000.0)?,
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            None => {}
        }
        match &self.by {
            Some(by) => write!(f, " offset {by}"),
            None => Ok(()),
        }
    }
}

fn label_name(name: &str) -> String {
    if is_plain_name(name) && !name.contains(':') { name.into() } else { format!("{name:?}") }
}

fn label_names(names: &[String]) -> String {
    names.iter().map(|n| label_name(n)).collect::<Vec<_>>().join(", ")
}

fn write_selector(f: &mut fmt::Formatter<'_>, selector: &Selector) -> fmt::Result {
    let mut parts = Vec::new();
    let mut plain = None;
    for m in &selector.matchers {
        if m.name() == METRIC_NAME && selector.name.as_deref() == Some(m.value()) {
            if is_plain_name(m.value()) {
                plain = Some(m.value());
            } else {
                parts.insert(0, format!("{:?}", m.value()));
            }
            continue;
        }
        parts.push(format!("{}{}{:?}", label_name(m.name()), m.op().as_str(), m.value()));
    }
    f.write_str(plain.unwrap_or(""))?;
    if parts.is_empty() { Ok(()) } else { write!(f, "{{{}}}", parts.join(",")) }
}

fn matching_text(matching: &Matching) -> String {
    let mut out = String::new();
    if matching.on || !matching.labels.is_empty() {
        let word = if matching.on { "on" } else { "ignoring" };
        out = format!(" {word} ({})", label_names(&matching.labels));
    }
    let side = match matching.card {
        Card::ManyToOne => "group_left",
        Card::OneToMany => "group_right",
        Card::OneToOne | Card::ManyToMany => return out,
    };
    format!("{out} {side} ({})", label_names(&matching.include))
}

fn head(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Aggregate { op, grouping, .. } => {
            let labels = label_names(&grouping.labels);
            match (grouping.without, grouping.labels.is_empty()) {
                (true, _) => format!("{} without ({labels}) ", op.as_str()),
                (false, false) => format!("{} by ({labels}) ", op.as_str()),
                (false, true) => op.as_str().into(),
            }
        }
        ExprKind::Binary { op, matching, return_bool, .. } => {
            let bool_word = if *return_bool { " bool" } else { "" };
            format!("{}{bool_word}{}", op.as_str(), matching_text(matching))
        }
        ExprKind::Call { func, .. } => func.name.into(),
        _ => String::new(),
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number { value, duration: true } => {
                f.write_str(&format_duration((value * 1000.0) as i64))
            }
            ExprKind::Number { value, .. } => f.write_str(&number(*value)),
            ExprKind::String(text) => write!(f, "{text:?}"),
            ExprKind::Vector(selector) => {
                write_selector(f, selector)?;
                write!(f, "{}", selector.offset)
            }
            ExprKind::Matrix { selector, range, .. } => {
                write_selector(f, selector)?;
                write!(f, "[{range}]{}", selector.offset)
            }
            ExprKind::Subquery { expr, range, step, offset } => match step {
                Some(step) => write!(f, "{expr}[{range}:{step}]{offset}"),
                None => write!(f, "{expr}[{range}:]{offset}"),
            },
            ExprKind::Call { args, .. } => {
                write!(f, "{}(", head(self))?;
                for (i, arg) in args.iter().enumerate() {
                    write!(f, "{}{arg}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            ExprKind::Aggregate { param, expr, .. } => match param {
                Some(param) => write!(f, "{}({param}, {expr})", head(self)),
                None => write!(f, "{}({expr})", head(self)),
            },
            ExprKind::Binary { lhs, rhs, .. } => write!(f, "{lhs} {} {rhs}", head(self)),
            ExprKind::Unary { negative, expr } => write!(f, "{}{expr}", if *negative { "-" } else { "+" }),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// Writes an expression over as many lines as it needs.
pub fn pretty(expr: &Expr) -> String {
    indented(expr, 0)
}

fn indented(expr: &Expr, level: usize) -> String {
    let pad = "  ".repeat(level);
    let line = expr.to_string();
    if line.len() <= LINE_CHARS_MAX {
        return format!("{pad}{line}");
    }
    let list =
        |args: &[&Expr]| args.iter().map(|arg| indented(arg, level + 1)).collect::<Vec<_>>().join(",\n");
    match &expr.kind {
        ExprKind::Call { args, .. } => {
            format!("{pad}{}(\n{}\n{pad})", head(expr), list(&args.iter().collect::<Vec<_>>()))
        }
        ExprKind::Aggregate { param, expr: inner, .. } => {
            let mut args: Vec<&Expr> = param.iter().map(|p| &**p).collect();
            args.push(inner);
            format!("{pad}{}(\n{}\n{pad})", head(expr), list(&args))
        }
        ExprKind::Binary { lhs, rhs, .. } => {
            format!("{}\n{pad}{}\n{}", indented(lhs, level + 1), head(expr), indented(rhs, level + 1))
        }
        ExprKind::Paren(inner) => format!("{pad}(\n{}\n{pad})", indented(inner, level + 1)),
        ExprKind::Unary { negative, expr: inner } => {
            format!("{pad}{}{}", if *negative { "-" } else { "+" }, indented(inner, level).trim_start())
        }
        ExprKind::Subquery { expr: inner, range, step, offset } => {
            let step = step.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{}[{range}:{step}]{offset}", indented(inner, level))
        }
        _ => format!("{pad}{line}"),
    }
}
