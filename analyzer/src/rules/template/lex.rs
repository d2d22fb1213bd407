//! Text to plain parts and tokens of actions.

use super::TemplateError;

/// One part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// Text that stands for itself.
    Text(String),
    /// What stood between braces, with its line.
    Action(usize, Vec<Token>),
}

/// A token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// White space stood before it: `.a .b` are two operands, `.a.b` is one.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Word(String),
    /// `.name`
    Field(String),
    Dot,
    /// `$` or `$name`, without the sign.
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    Pipe,
    Comma,
    Declare,
    Assign,
    Open,
    Close,
}

impl Kind {
    /// Returns the token as it is named in errors.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Field(name) => format!(".{name}"),
            Self::Dot => ".".into(),
            Self::Variable(name) => format!("${name}"),
            Self::Text(text) => format!("{text:?}"),
            Self::Int(n) => n.to_string(),
            Self::Float(n) => n.to_string(),
            Self::Pipe => "|".into(),
            Self::Comma => ",".into(),
            Self::Declare => ":=".into(),
            Self::Assign => "=".into(),
            Self::Open => "(".into(),
            Self::Close => ")".into(),
        }
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a text into its parts, white space trimmed where markers ask for it.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut parts = Vec::new();
    let mut trims_next = false;
    while lexer.at < text.len() {
        let rest = &text[lexer.at..];
        let (plain, is_last) = match rest.find("{{") {
            Some(end) => (&rest[..end], false),
            None => (rest, true),
        };
        lexer.at += plain.len();
        let mut plain = if trims_next { plain.trim_start_matches(SPACES) } else { plain };
        if !is_last {
            lexer.at += 2;
            if lexer.rest().starts_with('-') && lexer.rest()[1..].starts_with(SPACES) {
                lexer.at += 1;
                plain = plain.trim_end_matches(SPACES);
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain.to_owned()));
        }
        if !is_last {
            let line = lexer.line();
            let (tokens, trims) = lexer.action()?;
            trims_next = trims;
            parts.extend(tokens.map(|tokens| Part::Action(line, tokens)));
        }
    }
    Ok(parts)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn line(&self) -> usize {
        1 + self.text[..self.at].bytes().filter(|b| *b == b'\n').count()
    }

    fn wrong(&self, detail: impl Into<String>) -> TemplateError {
        TemplateError { line: self.line(), detail: detail.into() }
    }

    /// Reads up to the closing braces: tokens, none for a comment, and whether the text behind is trimmed.
    fn action(&mut self) -> Result<(Option<Vec<Token>>, bool), TemplateError> {
        let before = self.skip_spaces();
        if self.rest().starts_with("/*") {
            return self.comment().map(|trims| (None, trims));
        }
        let mut tokens = Vec::new();
        let mut spaced = before;
        loop {
            if let Some(trims) = self.end(spaced) {
                return Ok((Some(tokens), trims));
            }
            let kind = self.token()?;
            tokens.push(Token { kind, spaced });
            spaced = self.skip_spaces();
        }
    }

    fn skip_spaces(&mut self) -> bool {
        let n = self.rest().len() - self.rest().trim_start_matches(SPACES).len();
        self.at += n;
        n > 0
    }

    /// Passes the closing braces, if they are next; tells whether they trim.
    fn end(&mut self, spaced: bool) -> Option<bool> {
        let trims = spaced && self.rest().starts_with("-}}");
        if trims || self.rest().starts_with("}}") {
            self.at += if trims { 3 } else { 2 };
            return Some(trims);
        }
        None
    }

    fn comment(&mut self) -> Result<bool, TemplateError> {
        let Some(end) = self.rest().find("*/") else { return Err(self.wrong("unclosed comment")) };
        self.at += end + 2;
        let spaced = self.skip_spaces();
        match self.end(spaced) {
            Some(trims) if trims || !spaced => Ok(trims),
            _ => Err(self.wrong("comment ends before closing delimiter")),
        }
    }

    fn token(&mut self) -> Result<Kind, TemplateError> {
        let Some(first) = self.rest().chars().next() else { return Err(self.wrong("unclosed action")) };
        let single = match first {
            '|' => Some(Kind::Pipe),
            ',' => Some(Kind::Comma),
            '(' => Some(Kind::Open),
            ')' => Some(Kind::Close),
            '=' => Some(Kind::Assign),
            _ => None,
        };
        if let Some(kind) = single {
            self.at += 1;
            return Ok(kind);
        }
        if self.rest().starts_with(":=") {
            self.at += 2;
            return Ok(Kind::Declare);
        }
        let second = self.rest()[first.len_utf8()..].chars().next();
        match first {
            '"' => self.quoted(),
            '`' => self.raw(),
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                self.at += 1;
                let name = self.word();
                Ok(if name.is_empty() { Kind::Dot } else { Kind::Field(name) })
            }
            '$' => {
                self.at += 1;
                Ok(Kind::Variable(self.word()))
            }
            '0'..='9' | '.' => self.number(),
            '+' | '-' if second.is_some_and(|c| c.is_ascii_digit() || c == '.') => self.number(),
            c if is_letter(c) => Ok(Kind::Word(self.word())),
            '\'' => Err(self.wrong("character constants are not supported")),
            c => Err(self.wrong(format!("unexpected {c:?} in an action"))),
        }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_letter(c) && !c.is_numeric()).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        self.at += end;
        word
    }

    fn number(&mut self) -> Result<Kind, TemplateError> {
        let rest = self.rest();
        let mut before = ' ';
        let is_part = |(i, c): (usize, char)| {
            let signed = matches!(c, '+' | '-') && (i == 0 || matches!(before, 'e' | 'E'));
            before = c;
            (!(signed || c.is_ascii_alphanumeric() || c == '.' || c == '_')).then_some(i)
        };
        let end = rest.char_indices().find_map(is_part).unwrap_or(rest.len());
        let word = &rest[..end];
        let plain = word.strip_prefix('+').unwrap_or(word);
        let kind = if let Ok(n) = plain.parse::<i64>() {
            Some(Kind::Int(n))
        } else if plain.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
            plain.parse::<f64>().ok().filter(|n| n.is_finite()).map(Kind::Float)
        } else {
            None
        };
        match kind {
            Some(kind) => {
                self.at += end;
                Ok(kind)
            }
            None => Err(self.wrong(format!("bad number syntax: {word:?}"))),
        }
    }

    fn raw(&mut self) -> Result<Kind, TemplateError> {
        let Some(end) = self.rest()[1..].find('`') else {
            return Err(self.wrong("unterminated raw quoted string"));
        };
        let text = self.rest()[1..=end].replace('\r', "");
        self.at += end + 2;
        Ok(Kind::Text(text))
    }

    fn quoted(&mut self) -> Result<Kind, TemplateError> {
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 2;
                    return Ok(Kind::Text(text));
                }
                '\n' => break,
                '\\' => match chars.next().and_then(|(_, c)| escaped(c, &mut chars)) {
                    Some(c) => text.push(c),
                    None => return Err(self.wrong("a quoted string has an escape that is not supported")),
                },
                c => text.push(c),
            }
        }
        Err(self.wrong("unterminated quoted string"))
    }
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn escaped(c: char, rest: &mut std::str::CharIndices<'_>) -> Option<char> {
    let mut hex = |n: usize| {
        let digits: String = rest.by_ref().take(n).map(|(_, c)| c).collect();
        (digits.len() == n).then(|| u32::from_str_radix(&digits, 16).ok()).flatten().and_then(char::from_u32)
    };
    match c {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'v' => Some('\u{b}'),
        '\\' | '"' => Some(c),
        // Above this a byte would be no character.
        'x' => hex(2).filter(char::is_ascii),
        'u' => hex(4),
        'U' => hex(8),
        _ => None,
    }
}
