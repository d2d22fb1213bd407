//! PromQL as text: tokens, tree, types.
//!
//! The grammar is our own and not a crate's: positions in the tree are needed for the text of
//! annotations, durations may be expressions, and nesting is counted while parsing, so that no
//! text can exhaust a stack.

mod ast;
mod duration;
mod function;
mod lex;
mod modifiers;
mod parse;
mod print;
mod types;

pub use ast::{
    AggregateOp, At, BinaryOp, Card, DurationExpr, DurationOp, Expr, ExprKind, Grouping, Matching, Offset,
    Selector, Span, ValueType,
};
pub use duration::{format_duration, parse_duration_ms};
pub use function::{Function, FunctionId};
pub use parse::{SyntaxError, SyntaxLimits, parse, parse_matchers, parse_selector};
pub(crate) use print::number as number_text;
pub use print::pretty;
