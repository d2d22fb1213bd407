//! What follows a selector: offsets, fixed times, and durations with their arithmetic.

use super::lex::{self, Tok};
use super::parse::{Parser, Result};
use super::{At, DurationExpr, DurationOp, Expr, ExprKind, Offset, parse_duration_ms};

impl Parser<'_> {
    pub(super) fn offset_modifier(&mut self, mut expr: Expr) -> Result<Expr> {
        let word = self.advance();
        let by = self.offset_duration()?;
        let end = self.tokens[self.at - 1].span;
        let span = expr.span.to(end);
        let Some(offset) = offset_of(&mut expr) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.error_at(expr.span, message));
        };
        if offset.by.is_some() {
            return Err(self.error_at(word, "offset may not be set multiple times"));
        }
        offset.by = Some(by);
        expr.span = span;
        Ok(expr)
    }

    pub(super) fn at_modifier(&mut self, mut expr: Expr) -> Result<Expr> {
        let sign = self.advance();
        let at = self.at_time()?;
        let end = self.tokens[self.at - 1].span;
        let span = expr.span.to(end);
        let Some(offset) = offset_of(&mut expr) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.error_at(expr.span, message));
        };
        if offset.at.is_some() {
            return Err(self.error_at(sign, "@ <timestamp> may not be set multiple times"));
        }
        offset.at = Some(at);
        expr.span = span;
        Ok(expr)
    }

    pub(super) fn at_time(&mut self) -> Result<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_word(word) && self.peek_at(1) == Tok::LeftParen {
                self.advance();
                self.advance();
                self.expect(Tok::RightParen, "@ modifier")?;
                return Ok(at);
            }
        }
        let mut sign = 1.0;
        if matches!(self.peek(), Tok::Add | Tok::Sub) {
            sign = if self.peek() == Tok::Sub { -1.0 } else { 1.0 };
            self.advance();
        }
        let span = self.token().span;
        let seconds = match self.peek() {
            Tok::Number | Tok::Duration => self.number()?.0 * sign,
            _ => return Err(self.unexpected("@ modifier")),
        };
        let ms = (seconds * 1000.0).round();
        // The bounds are those of milliseconds in 64 bits.
        if ms.is_nan() || ms.abs() >= 9.2e18 {
            return Err(self.error_at(span, format!("timestamp out of bounds for @ modifier: {seconds:.6}")));
        }
        Ok(At::Time(ms as i64))
    }

    /// Reads a number or a duration, in seconds.
    pub(super) fn number(&mut self) -> Result<(f64, bool)> {
        let (tok, span, word) = (self.peek(), self.token().span, self.word());
        self.advance();
        if tok == Tok::Duration {
            return match parse_duration_ms(word) {
                Some(ms) => Ok((ms as f64 / 1000.0, true)),
                None => Err(self.error_at(span, format!("not a valid duration string: {word:?}"))),
            };
        }
        match lex::number(word) {
            Some(value) => Ok((value, false)),
            None => Err(self.error_at(span, format!("error parsing number: {word:?}"))),
        }
    }

    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr> {
        match self.peek() {
            Tok::Sub => {
                self.advance();
                Ok(DurationExpr::Negative(Box::new(self.duration_primary()?)))
            }
            Tok::Add => {
                self.advance();
                self.duration_primary()
            }
            _ => self.duration_primary(),
        }
    }

    pub(super) fn duration(&mut self, floor: u8) -> Result<DurationExpr> {
        self.descend()?;
        let mut lhs = match self.peek() {
            Tok::Sub => {
                self.advance();
                DurationExpr::Negative(Box::new(self.duration(3)?))
            }
            Tok::Add => {
                self.advance();
                self.duration(3)?
            }
            _ => self.duration_primary()?,
        };
        loop {
            let (op, precedence) = match self.peek() {
                Tok::Add => (DurationOp::Add, 1),
                Tok::Sub => (DurationOp::Sub, 1),
                Tok::Mul => (DurationOp::Mul, 2),
                Tok::Div => (DurationOp::Div, 2),
                Tok::Mod => (DurationOp::Mod, 2),
                Tok::Pow => (DurationOp::Pow, 3),
                _ => break,
            };
            if precedence < floor {
                break;
            }
            self.advance();
            let rhs = self.duration(if op == DurationOp::Pow { precedence } else { precedence + 1 })?;
            self.nodes += 1;
            lhs = DurationExpr::Binary(op, Box::new(lhs), Box::new(rhs));
        }
        self.depth -= 1;
        Ok(lhs)
    }

    pub(super) fn duration_primary(&mut self) -> Result<DurationExpr> {
        match self.peek() {
            Tok::Number | Tok::Duration => {
                let (value, duration) = self.number()?;
                Ok(DurationExpr::Seconds { value, duration })
            }
            Tok::LeftParen => {
                self.advance();
                let inner = self.duration(0)?;
                self.expect(Tok::RightParen, "duration expression")?;
                Ok(DurationExpr::Paren(Box::new(inner)))
            }
            Tok::Ident if self.peek_at(1) == Tok::LeftParen => self.duration_call(),
            _ => Err(self.unexpected("duration expression")),
        }
    }

    pub(super) fn duration_call(&mut self) -> Result<DurationExpr> {
        let span = self.token().span;
        let name = self.take_text().to_ascii_lowercase();
        self.advance();
        let call = match name.as_str() {
            "step" => DurationExpr::Step,
            "range" => DurationExpr::Range,
            "min" | "max" | "min_of" | "max_of" => {
                let a = self.duration(0)?;
                self.expect(Tok::Comma, "duration expression")?;
                let b = self.duration(0)?;
                let op = if name.starts_with("min") { DurationOp::Min } else { DurationOp::Max };
                DurationExpr::Binary(op, Box::new(a), Box::new(b))
            }
            _ => {
                return Err(
                    self.error_at(span, format!("unexpected identifier {name:?} in duration expression"))
                );
            }
        };
        self.expect(Tok::RightParen, "duration expression")?;
        Ok(call)
    }
}

fn offset_of(expr: &mut Expr) -> Option<&mut Offset> {
    match &mut expr.kind {
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => Some(&mut selector.offset),
        ExprKind::Subquery { offset, .. } => Some(offset),
        _ => None,
    }
}
