//! Tokens to a tree, by precedence climbing; then types are checked.

use greylight_store::model::{METRIC_NAME, MatchOp, Matcher};

use super::lex::{self, Tok, Token};
use super::{
    AggregateOp, BinaryOp, Card, DurationExpr, Expr, ExprKind, Function, Grouping, Matching, Offset,
    Selector, Span, types,
};

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: parse error: {message}")]
pub struct SyntaxError {
    /// `line:column`, or that it is unknown.
    pub place: String,
    /// What is wrong, in Prometheus's words where it has them.
    pub message: String,
}

/// How large an expression may be; counted while parsing, so that depth is bounded from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxLimits {
    /// Bytes of text.
    pub bytes: usize,
    /// Parts of the tree.
    pub nodes: usize,
    /// Nesting of calls, parentheses and signs.
    pub depth: usize,
}

impl Default for SyntaxLimits {
    /// 16 KiB, 500 parts, 64 levels: far beyond what people and dashboards write, far below what
    /// the smallest stack holds.
    fn default() -> Self {
        Self { bytes: 16 * 1024, nodes: 500, depth: 64 }
    }
}

pub(super) type Result<T> = std::result::Result<T, SyntaxError>;

/// Parses and checks an expression.
///
/// # Errors
/// [`SyntaxError`] with the place of the first fault.
pub fn parse(text: &str, limits: &SyntaxLimits) -> Result<Expr> {
    let mut parser = Parser::new(text, limits)?;
    if parser.peek() == Tok::End {
        return Err(SyntaxError {
            place: "unknown position".into(),
            message: "no expression found in input".into(),
        });
    }
    let expr = parser.expr(0)?;
    if parser.peek() != Tok::End {
        return Err(parser.unexpected(""));
    }
    types::check(&expr).map_err(|(span, message)| parser.error_at(span, message))?;
    Ok(expr)
}

/// Parses a single selector, as `match[]` parameters hold it.
///
/// # Errors
/// [`SyntaxError`] when it is none, or one with an offset.
pub fn parse_selector(text: &str, limits: &SyntaxLimits) -> Result<Vec<Matcher>> {
    let mut parser = Parser::new(text, limits)?;
    let start = parser.token().span;
    let name = if parser.peek() == Tok::Ident { Some(parser.take_text()) } else { None };
    if name.is_none() && parser.peek() != Tok::LeftBrace {
        return Err(parser.unexpected(""));
    }
    let selector = parser.selector(name, start)?;
    if parser.peek() != Tok::End {
        return Err(parser.unexpected(""));
    }
    Ok(selector.matchers)
}

/// Parses label matchers in braces; unlike a selector they may match everything.
///
/// # Errors
/// [`SyntaxError`] when the text is anything else.
pub fn parse_matchers(text: &str, limits: &SyntaxLimits) -> Result<Vec<Matcher>> {
    let mut parser = Parser::new(text, limits)?;
    let mut matchers = Vec::new();
    parser.expect(Tok::LeftBrace, "label matching")?;
    while parser.peek() != Tok::RightBrace {
        let mut name = None;
        parser.matcher(&mut matchers, &mut name)?;
        if name.is_some() || parser.peek() != Tok::Comma {
            break;
        }
        parser.advance();
    }
    parser.expect(Tok::RightBrace, "label matching")?;
    if parser.peek() == Tok::End { Ok(matchers) } else { Err(parser.unexpected("")) }
}

pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    pub(super) nodes: usize,
    pub(super) depth: usize,
    limits: SyntaxLimits,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, limits: &SyntaxLimits) -> Result<Self> {
        if text.len() > limits.bytes {
            let message = format!("query is {} bytes long, the limit is {}", text.len(), limits.bytes);
            return Err(SyntaxError { place: "unknown position".into(), message });
        }
        Ok(Self { text, tokens: lex::tokens(text), at: 0, nodes: 0, depth: 0, limits: *limits })
    }

    pub(super) fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    pub(super) fn peek(&self) -> Tok {
        self.token().tok
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Tok {
        self.tokens.get(self.at + ahead).map_or(Tok::End, |t| t.tok)
    }

    pub(super) fn word(&self) -> &'a str {
        let span = self.token().span;
        &self.text[span.start..span.end]
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.peek() == Tok::Ident && self.word().eq_ignore_ascii_case(word)
    }

    pub(super) fn advance(&mut self) -> Span {
        let span = self.token().span;
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        span
    }

    pub(super) fn take_text(&mut self) -> String {
        let text = self.word().to_owned();
        self.advance();
        text
    }

    pub(super) fn error_at(&self, span: Span, message: impl Into<String>) -> SyntaxError {
        SyntaxError { place: span.line_column(self.text), message: message.into() }
    }

    pub(super) fn unexpected(&self, context: &str) -> SyntaxError {
        let token = self.token();
        let word = self.word();
        let what = match token.tok {
            Tok::Error => return self.error_at(token.span, token.message.clone()),
            Tok::End => "end of input".into(),
            Tok::Ident if AggregateOp::parse(word).is_some() => format!("aggregation {word:?}"),
            Tok::Ident => format!("identifier {word:?}"),
            Tok::Number => format!("number {word:?}"),
            Tok::Duration => format!("duration {word:?}"),
            Tok::String => format!("string {word:?}"),
            _ => format!("{word:?}"),
        };
        let place = if context.is_empty() { String::new() } else { format!(" in {context}") };
        self.error_at(token.span, format!("unexpected {what}{place}"))
    }

    pub(super) fn expect(&mut self, tok: Tok, context: &str) -> Result<Span> {
        if self.peek() == tok { Ok(self.advance()) } else { Err(self.unexpected(context)) }
    }

    fn node(&mut self, kind: ExprKind, span: Span) -> Result<Expr> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let message = format!("query has more than {} parts", self.limits.nodes);
            return Err(self.error_at(span, message));
        }
        Ok(Expr { kind, span })
    }

    pub(super) fn descend(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            let message = format!("query is nested more than {} levels deep", self.limits.depth);
            return Err(self.error_at(self.token().span, message));
        }
        Ok(())
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            Tok::Add => BinaryOp::Add,
            Tok::Sub => BinaryOp::Sub,
            Tok::Mul => BinaryOp::Mul,
            Tok::Div => BinaryOp::Div,
            Tok::Mod => BinaryOp::Mod,
            Tok::Pow => BinaryOp::Pow,
            Tok::Eq => BinaryOp::Eq,
            Tok::Ne => BinaryOp::Ne,
            Tok::Lt => BinaryOp::Lt,
            Tok::Le => BinaryOp::Le,
            Tok::Gt => BinaryOp::Gt,
            Tok::Ge => BinaryOp::Ge,
            Tok::Ident if self.is_word("and") => BinaryOp::And,
            Tok::Ident if self.is_word("or") => BinaryOp::Or,
            Tok::Ident if self.is_word("unless") => BinaryOp::Unless,
            Tok::Ident if self.is_word("atan2") => BinaryOp::Atan2,
            _ => return None,
        })
    }

    /// Parses an expression of operators that bind at least as tightly as `floor`.
    fn expr(&mut self, floor: u8) -> Result<Expr> {
        self.descend()?;
        let mut lhs = self.unary()?;
        while let Some(op) = self.binary_op() {
            if op.precedence() < floor {
                break;
            }
            self.advance();
            let (matching, return_bool) = self.modifiers(op)?;
            // Only the power binds to the right.
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let rhs = self.expr(next)?;
            let span = lhs.span.to(rhs.span);
            let kind = ExprKind::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs), matching, return_bool };
            lhs = self.node(kind, span)?;
        }
        self.depth -= 1;
        Ok(lhs)
    }

    fn modifiers(&mut self, op: BinaryOp) -> Result<(Matching, bool)> {
        let mut matching = Matching::default();
        if op.is_set() {
            matching.card = Card::ManyToMany;
        }
        let return_bool = self.is_word("bool");
        if return_bool {
            self.advance();
        }
        if self.is_word("on") || self.is_word("ignoring") {
            matching.on = self.is_word("on");
            self.advance();
            matching.labels = self.label_list()?;
            if self.is_word("group_left") || self.is_word("group_right") {
                matching.card = if self.is_word("group_left") { Card::ManyToOne } else { Card::OneToMany };
                self.advance();
                if self.peek() == Tok::LeftParen {
                    matching.include = self.label_list()?;
                }
            }
        }
        Ok((matching, return_bool))
    }

    fn label_list(&mut self) -> Result<Vec<String>> {
        self.expect(Tok::LeftParen, "grouping opts")?;
        let mut labels = Vec::new();
        while self.peek() != Tok::RightParen {
            let span = self.token().span;
            match self.peek() {
                Tok::Ident => {
                    let label = self.take_text();
                    if label.contains(':') {
                        return Err(
                            self.error_at(span, format!("invalid label name for grouping: {label:?}"))
                        );
                    }
                    labels.push(label);
                }
                Tok::Number => labels.push(self.take_text()),
                Tok::String => labels.push(self.string()?),
                _ => return Err(self.unexpected("grouping opts")),
            }
            if self.peek() != Tok::Comma {
                break;
            }
            self.advance();
        }
        self.expect(Tok::RightParen, "grouping opts")?;
        Ok(labels)
    }

    fn string(&mut self) -> Result<String> {
        let span = self.token().span;
        let text = lex::unquote(self.word());
        self.advance();
        text.ok_or_else(|| self.error_at(span, "error unquoting string: invalid syntax"))
    }

    fn unary(&mut self) -> Result<Expr> {
        if !matches!(self.peek(), Tok::Add | Tok::Sub) {
            return self.postfix();
        }
        let negative = self.peek() == Tok::Sub;
        let start = self.advance();
        // A sign binds as a product does: -a^b is -(a^b), -a*b is (-a)*b.
        let operand = self.expr(BinaryOp::Pow.precedence())?;
        let span = start.to(operand.span);
        if let ExprKind::Number { value, duration } = operand.kind {
            let value = if negative { -value } else { value };
            return self.node(ExprKind::Number { value, duration }, span);
        }
        self.node(ExprKind::Unary { negative, expr: Box::new(operand) }, span)
    }

    fn postfix(&mut self) -> Result<Expr> {
        let mut expr = self.primary()?;
        loop {
            match self.peek() {
                Tok::LeftBracket => expr = self.brackets(expr)?,
                Tok::At => expr = self.at_modifier(expr)?,
                Tok::Ident if self.is_word("offset") => expr = self.offset_modifier(expr)?,
                _ => return Ok(expr),
            }
        }
    }

    fn brackets(&mut self, expr: Expr) -> Result<Expr> {
        self.advance();
        let range = self.duration(0)?;
        if let DurationExpr::Seconds { value, .. } = range
            && value <= 0.0
        {
            return Err(self.error_at(self.tokens[self.at - 1].span, "duration must be greater than 0"));
        }
        if self.peek() == Tok::Colon {
            self.advance();
            let step = if self.peek() == Tok::RightBracket { None } else { Some(self.duration(0)?) };
            let end = self.expect(Tok::RightBracket, "subquery selector")?;
            let span = expr.span.to(end);
            let kind = ExprKind::Subquery { expr: Box::new(expr), range, step, offset: Offset::default() };
            return self.node(kind, span);
        }
        let end = self.expect(Tok::RightBracket, "range selector")?;
        let span = expr.span.to(end);
        let ExprKind::Vector(selector) = expr.kind else {
            return Err(self.error_at(expr.span.to(end), "ranges only allowed for vector selectors"));
        };
        if selector.offset.by.is_some() {
            return Err(self.error_at(span, "no offset modifiers allowed before range"));
        }
        if selector.offset.at.is_some() {
            return Err(self.error_at(span, "no @ modifiers allowed before range"));
        }
        self.node(ExprKind::Matrix { selector, selector_span: expr.span, range }, span)
    }

    fn primary(&mut self) -> Result<Expr> {
        let span = self.token().span;
        match self.peek() {
            Tok::Number | Tok::Duration => {
                let (value, duration) = self.number()?;
                self.node(ExprKind::Number { value, duration }, span)
            }
            Tok::String => {
                let text = self.string()?;
                self.node(ExprKind::String(text), span)
            }
            Tok::LeftParen => {
                self.advance();
                let inner = self.expr(0)?;
                let end = self.expect(Tok::RightParen, "paren expression")?;
                self.node(ExprKind::Paren(Box::new(inner)), span.to(end))
            }
            Tok::LeftBrace => self.vector(None, span),
            Tok::Ident => self.word_expr(span),
            _ => Err(self.unexpected("")),
        }
    }

    fn word_expr(&mut self, span: Span) -> Result<Expr> {
        let word = self.word();
        if let Some(op) = AggregateOp::parse(word) {
            let grouped = self.tokens.get(self.at + 1).is_some_and(|t| {
                let next = &self.text[t.span.start..t.span.end];
                t.tok == Tok::Ident
                    && (next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"))
            });
            if grouped || self.peek_at(1) == Tok::LeftParen {
                return self.aggregate(op, span);
            }
        }
        if self.peek_at(1) == Tok::LeftParen {
            return self.call(span);
        }
        let reserved = ["on", "ignoring", "group_left", "group_right", "bool"];
        if reserved.iter().any(|r| word.eq_ignore_ascii_case(r)) {
            return Err(self.error_at(span, format!("unexpected <{}>", word.to_ascii_lowercase())));
        }
        let name = self.take_text();
        self.vector(Some(name), span)
    }

    fn vector(&mut self, name: Option<String>, span: Span) -> Result<Expr> {
        let selector = self.selector(name, span)?;
        let end = self.tokens[self.at - 1].span;
        self.node(ExprKind::Vector(selector), span.to(end))
    }

    fn selector(&mut self, name: Option<String>, start: Span) -> Result<Selector> {
        let mut matchers = Vec::new();
        let mut quoted: Option<String> = None;
        if self.peek() == Tok::LeftBrace {
            self.advance();
            while self.peek() != Tok::RightBrace {
                self.matcher(&mut matchers, &mut quoted)?;
                if self.peek() != Tok::Comma {
                    break;
                }
                self.advance();
            }
            self.expect(Tok::RightBrace, "label matching")?;
        }
        let span = start.to(self.tokens[self.at - 1].span);
        if let (Some(a), Some(b)) = (&name, &quoted) {
            return Err(self.error_at(span, format!("metric name must not be set twice: {a:?} or {b:?}")));
        }
        if let Some(name) = name.as_ref().or(quoted.as_ref()) {
            if let Some(m) = matchers.iter().find(|m: &&Matcher| m.name() == METRIC_NAME) {
                let message = format!("metric name must not be set twice: {name:?} or {:?}", m.value());
                return Err(self.error_at(span, message));
            }
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        if matchers.iter().all(Matcher::matches_empty) {
            return Err(self.error_at(span, "vector selector must contain at least one non-empty matcher"));
        }
        Ok(Selector { name: name.or(quoted), matchers, offset: Offset::default() })
    }

    fn matcher(&mut self, matchers: &mut Vec<Matcher>, quoted: &mut Option<String>) -> Result<()> {
        let span = self.token().span;
        let (label, is_quoted) = match self.peek() {
            Tok::Ident => (self.take_text(), false),
            Tok::String => (self.string()?, true),
            _ => return Err(self.unexpected("label matching")),
        };
        let op = match self.peek() {
            Tok::Assign => MatchOp::Equal,
            Tok::Ne => MatchOp::NotEqual,
            Tok::EqRegex => MatchOp::Regex,
            Tok::NeRegex => MatchOp::NotRegex,
            // A quoted text alone is the metric's name.
            Tok::Comma | Tok::RightBrace if is_quoted => {
                if let Some(before) = quoted {
                    let message = format!("metric name must not be set twice: {before:?} or {label:?}");
                    return Err(self.error_at(span, message));
                }
                *quoted = Some(label);
                return Ok(());
            }
            _ => return Err(self.unexpected("label matching")),
        };
        self.advance();
        if self.peek() != Tok::String {
            return Err(self.unexpected("label matching"));
        }
        let value = self.string()?;
        let matcher = Matcher::new(&label, op, &value).map_err(|e| {
            let cause = e.source.to_string().lines().last().unwrap_or("").trim().to_owned();
            self.error_at(span, format!("error parsing regexp: {cause}: `{}`", e.value))
        })?;
        matchers.push(matcher);
        Ok(())
    }

    fn grouping(&mut self) -> Result<Option<Grouping>> {
        if !self.is_word("by") && !self.is_word("without") {
            return Ok(None);
        }
        let without = self.is_word("without");
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    fn aggregate(&mut self, op: AggregateOp, start: Span) -> Result<Expr> {
        self.advance();
        let before = self.grouping()?;
        self.expect(Tok::LeftParen, "aggregation")?;
        let mut args = self.args("aggregation")?;
        let mut end = self.expect(Tok::RightParen, "aggregation")?;
        let after = if before.is_none() { self.grouping()? } else { None };
        if after.is_some() {
            end = self.tokens[self.at - 1].span;
        }
        let span = start.to(end);
        let want = if op.has_param() { 2 } else { 1 };
        if args.is_empty() {
            return Err(self.error_at(span, "no arguments for aggregate expression provided"));
        }
        if args.len() != want {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {want}, got {}",
                args.len()
            );
            return Err(self.error_at(span, message));
        }
        let expr = Box::new(args.pop().expect("the number of arguments was just checked"));
        let param = args.pop().map(Box::new);
        let grouping = before.or(after).unwrap_or_default();
        self.node(ExprKind::Aggregate { op, param, expr, grouping }, span)
    }

    fn args(&mut self, context: &str) -> Result<Vec<Expr>> {
        let mut args = Vec::new();
        while self.peek() != Tok::RightParen {
            args.push(self.expr(0)?);
            if self.peek() != Tok::Comma {
                break;
            }
            self.advance();
            if self.peek() == Tok::RightParen {
                return Err(
                    self.error_at(self.token().span, "trailing commas not allowed in function call args")
                );
            }
        }
        if self.peek() != Tok::RightParen {
            return Err(self.unexpected(context));
        }
        Ok(args)
    }

    fn call(&mut self, start: Span) -> Result<Expr> {
        let name = self.take_text();
        self.advance();
        let Some(func) = Function::find(&name) else {
            return Err(self.error_at(start, format!("unknown function with name {name:?}")));
        };
        let args = self.args("function call")?;
        let end = self.expect(Tok::RightParen, "function call")?;
        self.node(ExprKind::Call { func, args }, start.to(end))
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
