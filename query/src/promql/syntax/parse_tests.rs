//! What is an expression, how it is written back, and what refuses one.

use proptest::prelude::*;

use super::super::{ValueType, pretty};
use super::*;

fn ok(text: &str) -> Expr {
    parse(text, &SyntaxLimits::default()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(ok(text).to_string(), want);
}

#[track_caller]
fn refused(text: &str, want: &str) {
    let found = parse(text, &SyntaxLimits::default()).map(|e| e.to_string()).unwrap_err().to_string();
    assert_eq!(found, want, "{text}");
}

#[test]
fn operators_bind_as_in_prometheus() {
    let tree = |text: &str| {
        fn show(e: &Expr) -> String {
            match &e.kind {
                ExprKind::Binary { op, lhs, rhs, .. } => {
                    format!("({} {} {})", show(lhs), op.as_str(), show(rhs))
                }
                ExprKind::Unary { expr, .. } => format!("-{}", show(expr)),
                _ => e.to_string(),
            }
        }
        show(&ok(text))
    };
    assert_eq!(tree("-a^b*c"), "(-(a ^ b) * c)");
    assert_eq!(tree("a^b^c"), "(a ^ (b ^ c))");
    assert_eq!(tree("a or b and c unless d"), "(a or ((b and c) unless d))");
    assert_eq!(tree("a - b - c % d atan2 e"), "((a - b) - ((c % d) atan2 e))");
    assert_eq!(tree("a > bool b + c"), "(a > (b + c))");
}

#[test]
fn expressions_are_written_as_prometheus_writes_them() {
    check("sum(rate(foo{a='b',c!~\"d.*\"}[5m])) by (x)", "sum by (x) (rate(foo{a=\"b\",c!~\"d.*\"}[5m]))");
    check("foo offset -1h @ 10", "foo @ 10.000 offset -1h");
    check("a * on(x) group_left(y) b", "a * on (x) group_left (y) b");
    check("foo[1h:]", "foo[1h:]");
    check("{\"http.requests\", \"service.name\"=\"a\"}", "{\"http.requests\",\"service.name\"=\"a\"}");
    check("topk(5, x)", "topk(5, x)");
    check("rate(x[5m + 1m])", "rate(x[5m + 1m])");
    check("sum by (on, offset) (by)", "sum by (on, offset) (by)");
    check("1e-3 + 0x10 + 1_000 + Inf", "0.001 + 16 + 1000 + +Inf");
}

#[test]
fn faults_are_named_with_their_place() {
    refused("sum(", "1:5: parse error: unclosed left parenthesis");
    refused("", "unknown position: parse error: no expression found in input");
    refused(
        "rate(foo)",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    );
    refused("nope(foo)", "1:1: parse error: unknown function with name \"nope\"");
    refused("1 > 2", "1:1: parse error: comparisons between scalars must use BOOL modifier");
    refused("foo and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression");
    refused("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher");
    refused("(foo)[5m]", "1:1: parse error: ranges only allowed for vector selectors");
    refused("foo)", "1:4: parse error: unexpected right parenthesis ')'");
    refused("foo{a=\"b\"", "1:10: parse error: unexpected end of input inside braces");
    assert_eq!(ok("foo").value_type(), ValueType::Vector);
}

#[test]
fn deep_and_large_texts_are_refused_and_not_run() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse(&deep, &SyntaxLimits::default()).unwrap_err().message.contains("64 levels"));
    let signs = format!("{}1", "-".repeat(5000));
    assert!(parse(&signs, &SyntaxLimits::default()).unwrap_err().message.contains("64 levels"));
    let wide = vec!["a"; 600].join("+");
    assert!(parse(&wide, &SyntaxLimits::default()).unwrap_err().message.contains("500 parts"));
    let durations = format!("a[{}1{}]", "(".repeat(500), ")".repeat(500));
    assert!(parse(&durations, &SyntaxLimits::default()).unwrap_err().message.contains("64 levels"));
    let long = "a".repeat(20_000);
    assert!(parse(&long, &SyntaxLimits::default()).unwrap_err().message.contains("16384"));
}

/// The grammar of another parser agrees with ours on what is an expression.
#[test]
fn another_parser_agrees() {
    for text in [
        "a",
        "a{b=\"c\"}[5m]",
        "sum without (a) (b)",
        "a + on () b",
        "-a",
        "a[5m] offset 1w",
        "a @ start()",
        "rate(a[5m:1m] offset -1m)",
        "count_values(\"x\", a)",
        "quantile(0.9, a) by (b)",
        "a[",
        "a b",
        "sum(a) by",
        "by",
        "offset offset 5m",
        "1 == bool 2",
        "a{b=~\"[\"}",
        "a{,}",
        "{a=\"\"}",
        "a offset",
        "a @",
        "\"x\"",
        "label_replace(a, \"b\", \"c\", \"d\", \"e\")",
        "a / ignoring (b) group_left c",
        "a[5m] + 1",
        "+a",
        "start",
    ] {
        let ours = parse(text, &SyntaxLimits::default()).is_ok();
        let theirs = promql_parser::parser::parse(text).is_ok();
        assert_eq!(ours, theirs, "{text}");
    }
}

const PARTS: [&str; 40] = [
    "a",
    "foo",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    "=",
    "=~",
    "\"x\"",
    "5m",
    "1",
    "+",
    "-",
    "^",
    " and ",
    " or ",
    "sum",
    " by ",
    " on ",
    " offset ",
    "@",
    ":",
    "rate",
    "5",
    "bool",
    "==",
    "<",
    "'",
    "\\",
    "#",
    "\n",
    "topk",
    "1h:",
    "start()",
    "time",
    "group_left",
    "é",
];

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = parse(&text, &SyntaxLimits::default());
    }

    #[test]
    fn no_sequence_of_tokens_panics_and_what_parses_is_written_back(parts in proptest::collection::vec(0..PARTS.len(), 0..14)) {
        let text: String = parts.into_iter().map(|i| PARTS[i]).collect();
        if let Ok(expr) = parse(&text, &SyntaxLimits::default()) {
            let again = ok(&expr.to_string());
            prop_assert_eq!(again.to_string(), expr.to_string());
            prop_assert_eq!(ok(&pretty(&expr)).to_string(), expr.to_string());
        }
    }
}
