//! Text to tokens.

use super::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tok {
    End,
    /// The text could not be read here; the message says why.
    Error,
    Ident,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Assign,
    EqRegex,
    NeRegex,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// A token and its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) span: Span,
    /// The message of an error.
    pub(super) message: String,
}

/// Splits the text; the last token is the end or an error.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, start: 0, parens: 0, braces: false, brackets: false };
    let mut out = Vec::new();
    loop {
        let (tok, message) = match lexer.next() {
            Ok(tok) => (tok, String::new()),
            Err(message) => (Tok::Error, message),
        };
        out.push(Token { tok, span: Span { start: lexer.start, end: lexer.at }, message });
        if matches!(tok, Tok::End | Tok::Error) {
            return out;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    start: usize,
    parens: usize,
    braces: bool,
    brackets: bool,
}

impl Lexer<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn char(&self) -> char {
        self.text[self.at..].chars().next().unwrap_or('\0')
    }

    fn skip_blank(&mut self) {
        loop {
            while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
                self.at += 1;
            }
            if self.byte(0) != b'#' {
                return;
            }
            while self.at < self.text.len() && self.byte(0) != b'\n' {
                self.at += 1;
            }
        }
    }

    fn next(&mut self) -> Result<Tok, String> {
        self.skip_blank();
        self.start = self.at;
        if self.at >= self.text.len() {
            return self.end();
        }
        if self.braces { self.next_in_braces() } else { self.next_outside() }
    }

    fn end(&self) -> Result<Tok, String> {
        if self.braces {
            return Err("unexpected end of input inside braces".into());
        }
        if self.brackets {
            return Err("unclosed left bracket".into());
        }
        if self.parens > 0 {
            return Err("unclosed left parenthesis".into());
        }
        Ok(Tok::End)
    }

    fn next_in_braces(&mut self) -> Result<Tok, String> {
        let one = |lexer: &mut Self, n: usize, tok: Tok| {
            lexer.at += n;
            Ok(tok)
        };
        match (self.byte(0), self.byte(1)) {
            (b'}', _) => {
                self.braces = false;
                one(self, 1, Tok::RightBrace)
            }
            (b'{', _) => Err("unexpected left brace '{'".into()),
            (b',', _) => one(self, 1, Tok::Comma),
            (b'=', b'~') => one(self, 2, Tok::EqRegex),
            (b'=', _) => one(self, 1, Tok::Assign),
            (b'!', b'~') => one(self, 2, Tok::NeRegex),
            (b'!', b'=') => one(self, 2, Tok::Ne),
            (b'!', _) => {
                Err(format!("unexpected character after '!' inside braces: {:?}", self.byte(1) as char))
            }
            (b'"' | b'\'' | b'`', _) => self.string(),
            (b, _) if b.is_ascii_alphabetic() || b == b'_' => {
                while self.byte(0).is_ascii_alphanumeric() || self.byte(0) == b'_' {
                    self.at += 1;
                }
                Ok(Tok::Ident)
            }
            _ => Err(format!("unexpected character inside braces: {:?}", self.char())),
        }
    }

    fn next_outside(&mut self) -> Result<Tok, String> {
        let (tok, n) = match (self.byte(0), self.byte(1)) {
            (b'(', _) => {
                self.parens += 1;
                (Tok::LeftParen, 1)
            }
            (b')', _) => {
                if self.parens == 0 {
                    return Err("unexpected right parenthesis ')'".into());
                }
                self.parens -= 1;
                (Tok::RightParen, 1)
            }
            (b'{', _) => {
                self.braces = true;
                (Tok::LeftBrace, 1)
            }
            (b'}', _) => return Err("unexpected right brace '}'".into()),
            (b'[', _) if self.brackets => return Err("unexpected left bracket '['".into()),
            (b'[', _) => {
                self.brackets = true;
                (Tok::LeftBracket, 1)
            }
            (b']', _) if !self.brackets => return Err("unexpected right bracket ']'".into()),
            (b']', _) => {
                self.brackets = false;
                (Tok::RightBracket, 1)
            }
            (b',', _) => (Tok::Comma, 1),
            (b'@', _) => (Tok::At, 1),
            (b'+', _) => (Tok::Add, 1),
            (b'-', _) => (Tok::Sub, 1),
            (b'*', _) => (Tok::Mul, 1),
            (b'/', _) => (Tok::Div, 1),
            (b'%', _) => (Tok::Mod, 1),
            (b'^', _) => (Tok::Pow, 1),
            (b'=', b'=') => (Tok::Eq, 2),
            (b'=', b'~') => return Err("unexpected character after '=': '~'".into()),
            (b'=', _) => (Tok::Assign, 1),
            (b'!', b'=') => (Tok::Ne, 2),
            (b'!', _) => {
                return Err(format!("unexpected character after '!': {:?}", self.byte(1) as char));
            }
            (b'<', b'=') => (Tok::Le, 2),
            (b'<', _) => (Tok::Lt, 1),
            (b'>', b'=') => (Tok::Ge, 2),
            (b'>', _) => (Tok::Gt, 1),
            (b':', _) if self.brackets => (Tok::Colon, 1),
            (b'"' | b'\'' | b'`', _) => return self.string(),
            (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => return self.number(),
            (b, _) if b.is_ascii_alphabetic() || b == b'_' || b == b':' => return Ok(self.ident()),
            _ => return Err(format!("unexpected character: {:?}", self.char())),
        };
        self.at += n;
        Ok(tok)
    }

    fn ident(&mut self) -> Tok {
        while self.byte(0).is_ascii_alphanumeric()
            || self.byte(0) == b'_'
            || (self.byte(0) == b':' && !self.brackets)
        {
            self.at += 1;
        }
        let text = &self.text[self.start..self.at];
        let number = text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("nan");
        if number { Tok::Number } else { Tok::Ident }
    }

    fn number(&mut self) -> Result<Tok, String> {
        if let Some(n) = duration_len(&self.text[self.at..]) {
            self.at += n;
            return Ok(Tok::Duration);
        }
        if self.byte(0) == b'0' && matches!(self.byte(1), b'x' | b'X') {
            self.at += 2;
            while self.byte(0).is_ascii_hexdigit() || self.byte(0) == b'_' {
                self.at += 1;
            }
        } else {
            self.digits();
            if self.byte(0) == b'.' {
                self.at += 1;
                self.digits();
            }
            let signed = usize::from(matches!(self.byte(1), b'+' | b'-'));
            if matches!(self.byte(0), b'e' | b'E') && self.byte(1 + signed).is_ascii_digit() {
                self.at += 1 + signed;
                self.digits();
            }
        }
        if self.byte(0).is_ascii_alphanumeric() || self.byte(0) == b'_' {
            while self.byte(0).is_ascii_alphanumeric() {
                self.at += 1;
            }
            return Err(format!("bad number or duration syntax: {:?}", &self.text[self.start..self.at]));
        }
        Ok(Tok::Number)
    }

    fn digits(&mut self) {
        while self.byte(0).is_ascii_digit() || (self.byte(0) == b'_' && self.byte(1).is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<Tok, String> {
        let quote = self.byte(0);
        self.at += 1;
        loop {
            match self.byte(0) {
                _ if self.at >= self.text.len() => {
                    let what =
                        if quote == b'`' { "unterminated raw string" } else { "unterminated quoted string" };
                    return Err(what.into());
                }
                b if b == quote => {
                    self.at += 1;
                    return Ok(Tok::String);
                }
                b'\\' if quote != b'`' => {
                    self.at += 1;
                    if self.at < self.text.len() {
                        self.at += self.char().len_utf8();
                    }
                }
                b'\n' if quote != b'`' => return Err("unterminated quoted string".into()),
                _ => self.at += self.char().len_utf8(),
            }
        }
    }
}

/// Length of the run `(digits unit)+` at the start, if there is one and nothing sticks to it.
fn duration_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            break;
        }
        let unit = match (bytes.get(at + digits), bytes.get(at + digits + 1)) {
            (Some(b'm'), Some(b's')) => 2,
            (Some(b's' | b'm' | b'h' | b'd' | b'w' | b'y'), _) => 1,
            _ => return None,
        };
        at += digits + unit;
    }
    let sticks = bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    (at > 0 && !sticks).then_some(at)
}

/// Reads a quoted text with Go's escapes; `None` when an escape is wrong.
pub(super) fn unquote(text: &str) -> Option<String> {
    let quote = text.chars().next()?;
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if quote == '`' {
        return Some(inner.into());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            c @ ('\'' | '"') if c == quote => out.push(c as u8),
            'x' => out.push(u8::try_from(digits(&mut chars, 2, 16)?).ok()?),
            'u' => push_char(&mut out, digits(&mut chars, 4, 16)?)?,
            'U' => push_char(&mut out, digits(&mut chars, 8, 16)?)?,
            c @ '0'..='7' => {
                let high = c.to_digit(8)?;
                out.push(u8::try_from(high * 64 + digits(&mut chars, 2, 8)?).ok()?);
            }
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

fn digits(chars: &mut std::str::Chars<'_>, n: usize, radix: u32) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..n {
        value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

fn push_char(out: &mut Vec<u8>, code: u32) -> Option<()> {
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Reads a number as Go's `ParseInt(_, 0)` or else `ParseFloat` would.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|n| n as f64);
    }
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return i64::from_str_radix(&plain, 8).ok().map(|n| n as f64);
    }
    plain.parse().ok()
}
