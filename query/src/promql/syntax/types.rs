//! Checks that the parts of an expression fit together, in Prometheus's words.

use super::{AggregateOp, BinaryOp, Card, Expr, ExprKind, Function, FunctionId, Span, ValueType};

type Fault = (Span, String);

/// Checks an expression and all its parts.
pub(super) fn check(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix { .. } => {
            Ok(())
        }
        ExprKind::Paren(inner) => check(inner),
        ExprKind::Unary { expr: inner, .. } => {
            check(inner)?;
            match inner.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                other => {
                    let text =
                        "unary expression only allowed on expressions of type scalar or instant vector";
                    Err((expr.span, format!("{text}, got {:?}", other.describe())))
                }
            }
        }
        ExprKind::Subquery { expr: inner, .. } => {
            check(inner)?;
            let found = inner.value_type();
            if found == ValueType::Vector {
                return Ok(());
            }
            Err((
                expr.span,
                format!("subquery is only allowed on instant vector, got {} instead", found.as_str()),
            ))
        }
        ExprKind::Call { func, args } => check_call(expr, func, args),
        ExprKind::Aggregate { op, param, expr: inner, .. } => check_aggregate(*op, param.as_deref(), inner),
        ExprKind::Binary { .. } => check_binary(expr),
    }
}

fn expect(expr: &Expr, want: ValueType, context: &str) -> Result<(), Fault> {
    check(expr)?;
    let found = expr.value_type();
    if found == want {
        return Ok(());
    }
    Err((expr.span, format!("expected type {} in {context}, got {}", want.describe(), found.describe())))
}

fn check_aggregate(op: AggregateOp, param: Option<&Expr>, inner: &Expr) -> Result<(), Fault> {
    expect(inner, ValueType::Vector, "aggregation expression")?;
    if let Some(param) = param {
        let want = if op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        expect(param, want, "aggregation parameter")?;
    }
    Ok(())
}

fn check_call(expr: &Expr, func: &Function, args: &[Expr]) -> Result<(), Fault> {
    let (at_least, at_most) = func.arity();
    let complain = |word: &str, n: usize| {
        (expr.span, format!("expected {word}{n} argument(s) in call to {:?}, got {}", func.name, args.len()))
    };
    if func.variadic == 0 && args.len() != at_least {
        return Err(complain("", at_least));
    }
    if args.len() < at_least {
        return Err(complain("at least ", at_least));
    }
    if let Some(at_most) = at_most
        && args.len() > at_most
    {
        return Err(complain("at most ", at_most));
    }
    if func.id == FunctionId::Info
        && let Some(second) = args.get(1)
        && !matches!(second.kind, ExprKind::Vector(_))
    {
        let text = format!("expected label selectors only, got {} instead", second.value_type().describe());
        return Err((second.span, text));
    }
    for (i, arg) in args.iter().enumerate() {
        // The last type stands for all that follow.
        let want = func.args[i.min(func.args.len() - 1)];
        expect(arg, want, &format!("call to function {:?}", func.name))?;
    }
    Ok(())
}

fn check_binary(expr: &Expr) -> Result<(), Fault> {
    let ExprKind::Binary { op, lhs, rhs, matching, return_bool } = &expr.kind else { return Ok(()) };
    check(lhs)?;
    check(rhs)?;
    let (left, right) = (lhs.value_type(), rhs.value_type());
    let fault = |text: String| Err((expr.span, text));
    if *return_bool && !op.is_comparison() {
        return fault("bool modifier can only be used on comparison operators".into());
    }
    if op.is_comparison() && !return_bool && left == ValueType::Scalar && right == ValueType::Scalar {
        return fault("comparisons between scalars must use BOOL modifier".into());
    }
    if op.is_set() && matching.card != Card::ManyToMany {
        return fault(format!("no grouping allowed for {:?} operation", op.as_str()));
    }
    if matching.on
        && let Some(label) = matching.include.iter().find(|l| matching.labels.contains(l))
    {
        return fault(format!("label {label:?} must not occur in ON and GROUP clause at once"));
    }
    for side in [lhs, rhs] {
        if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
            return Err((
                side.span,
                "binary expression must contain only scalar and instant vector types".into(),
            ));
        }
    }
    if left != ValueType::Vector || right != ValueType::Vector {
        if op.is_set() {
            return fault(format!("set operator {:?} not allowed in binary scalar expression", op.as_str()));
        }
        let plain = matching.labels.is_empty() && !matching.on && matching.card == Card::OneToOne;
        if !plain || is_grouped(*op, matching.card) {
            return fault("vector matching only allowed between instant vectors".into());
        }
    }
    Ok(())
}

fn is_grouped(op: BinaryOp, card: Card) -> bool {
    !op.is_set() && !matches!(card, Card::OneToOne)
}
