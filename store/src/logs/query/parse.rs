//! Text to search.

use super::test::{Compare, Test, regex};
use super::{Node, Query, QueryError};

/// Parses a search; see the table of [`super`].
pub(super) fn parse(text: &str) -> Result<Node, QueryError> {
    if text.len() > Query::BYTES_MAX {
        return Err(QueryError::TooLarge { what: "bytes", limit: Query::BYTES_MAX });
    }
    let mut parser = Parser { chars: text.chars().collect(), at: 0, n_terms: 0, n_expressions: 0 };
    parser.skip_blanks();
    if parser.at == parser.chars.len() {
        return Ok(Node::All);
    }
    let node = parser.either(None, 0)?;
    match parser.peek() {
        None => Ok(node),
        Some(c) => Err(parser.fault(format!("{c:?} closes nothing"))),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    n_terms: usize,
    n_expressions: usize,
}

impl Parser {
    fn either(&mut self, field: Option<&str>, depth: usize) -> Result<Node, QueryError> {
        let mut parts = vec![self.both(field, depth)?];
        while self.keyword("OR") {
            parts.push(self.both(field, depth)?);
        }
        Ok(joined(parts, Node::Or))
    }

    fn both(&mut self, field: Option<&str>, depth: usize) -> Result<Node, QueryError> {
        let mut parts = vec![self.single(field, depth)?];
        loop {
            self.skip_blanks();
            let ends = self.peek().is_none_or(|c| c == ')') || self.sees_keyword("OR");
            if !self.keyword("AND") && ends {
                return Ok(joined(parts, Node::And));
            }
            parts.push(self.single(field, depth)?);
        }
    }

    fn single(&mut self, field: Option<&str>, depth: usize) -> Result<Node, QueryError> {
        if depth > Query::DEPTH_MAX {
            return Err(QueryError::TooLarge { what: "levels", limit: Query::DEPTH_MAX });
        }
        if self.keyword("NOT") {
            return Ok(Node::Not(Box::new(self.single(field, depth + 1)?)));
        }
        self.skip_blanks();
        if self.peek() == Some('(') {
            let open = self.at;
            self.at += 1;
            let node = self.either(field, depth + 1)?;
            self.skip_blanks();
            if self.peek() != Some(')') {
                return Err(QueryError::Syntax {
                    at: open,
                    message: "this parenthesis is not closed".into(),
                });
            }
            self.at += 1;
            return Ok(node);
        }
        self.n_terms += 1;
        if self.n_terms > Query::TERMS_MAX {
            return Err(QueryError::TooLarge { what: "terms", limit: Query::TERMS_MAX });
        }
        if field.is_none()
            && let Some(name) = self.field_name()
        {
            if self.peek() == Some('(') {
                return self.single(Some(&name), depth + 1);
            }
            return self.term(Some(&name));
        }
        self.term(field)
    }

    /// A field's name with its colon, if one stands here.
    fn field_name(&mut self) -> Option<String> {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '/');
        let rest = &self.chars[self.at..];
        let n = rest.iter().take_while(|&&c| is_name(c)).count();
        let starts = rest.first().is_some_and(|&c| c.is_alphabetic() || matches!(c, '_' | '@'));
        // A URL's scheme is no field.
        let is_url = rest.get(n + 1) == Some(&'/') && rest.get(n + 2) == Some(&'/');
        if !starts || rest.get(n) != Some(&':') || is_url {
            return None;
        }
        let name = rest[..n].iter().collect();
        self.at += n + 1;
        Some(name)
    }

    fn term(&mut self, field: Option<&str>) -> Result<Node, QueryError> {
        let start = self.at;
        let test = match self.peek() {
            None => return Err(self.fault("something to look for is missing".into())),
            Some(c) if c.is_whitespace() || c == ')' => {
                return Err(self.fault("something to look for is missing".into()));
            }
            Some('"') => self.quoted()?,
            Some('/') => match self.regex()? {
                Some(test) => test,
                None => self.bare()?,
            },
            Some('>' | '<') if field.is_some() => self.comparison()?,
            Some('=') if field.is_some() => {
                self.at += 1;
                Test::exact(if self.peek() == Some('"') { self.quoted_text()? } else { self.bare_text() })
            }
            Some('*') if self.chars.get(self.at + 1).is_none_or(|c| c.is_whitespace() || *c == ')') => {
                self.at += 1;
                return Ok(field.map_or(Node::All, |name| Node::Field(name.into(), Test::Exists)));
            }
            Some(_) => self.bare()?,
        };
        debug_assert!(self.at > start, "a term takes at least one character");
        self.n_expressions += usize::from(matches!(test, Test::Regex(_)));
        if self.n_expressions > Query::EXPRESSIONS_MAX {
            let what = "regular expressions and wildcards";
            return Err(QueryError::TooLarge { what, limit: Query::EXPRESSIONS_MAX });
        }
        Ok(match field {
            Some("body") | None => Node::Body(test),
            Some(name) => Node::Field(name.into(), test),
        })
    }

    fn quoted(&mut self) -> Result<Test, QueryError> {
        let text = self.quoted_text()?;
        if self.peek() == Some('*') {
            self.at += 1;
            return Ok(Test::of_prefix(&text));
        }
        Ok(if text.is_empty() { Test::exact(String::new()) } else { Test::of_words(&text) })
    }

    fn quoted_text(&mut self) -> Result<String, QueryError> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.next() else {
                return Err(QueryError::Syntax { at: open, message: "this quote is not closed".into() });
            };
            match c {
                '"' => return Ok(text),
                '\\' if matches!(self.peek(), Some('"' | '\\')) => text.extend(self.next()),
                c => text.push(c),
            }
        }
    }

    /// `/regex/`; `None` when no slash closes it, so that paths can be written bare.
    fn regex(&mut self) -> Result<Option<Test>, QueryError> {
        let open = self.at;
        let mut expression = String::new();
        let mut at = open + 1;
        while let Some(&c) = self.chars.get(at) {
            match c {
                '\\' if self.chars.get(at + 1) == Some(&'/') => {
                    expression.push('/');
                    at += 1;
                }
                '\\' => {
                    expression.push('\\');
                    at += 1;
                    expression.extend(self.chars.get(at));
                }
                '/' if self.chars.get(at + 1).is_none_or(|c| c.is_whitespace() || *c == ')') => {
                    self.at = at + 1;
                    return regex(&expression, open).map(Some);
                }
                c => expression.push(c),
            }
            at += 1;
        }
        Ok(None)
    }

    fn comparison(&mut self) -> Result<Test, QueryError> {
        let is_less = self.next() == Some('<');
        let or_equal = self.peek() == Some('=');
        self.at += usize::from(or_equal);
        let at = self.at;
        let text = self.bare_text();
        let limit = super::test::number(&text).ok_or_else(|| QueryError::Syntax {
            at,
            message: format!("{text:?} is no number; quote it to look for it as text"),
        })?;
        let compare = match (is_less, or_equal) {
            (true, true) => Compare::LessOrEqual,
            (true, false) => Compare::Less,
            (false, true) => Compare::GreaterOrEqual,
            (false, false) => Compare::Greater,
        };
        Ok(Test::Number(compare, limit))
    }

    fn bare(&mut self) -> Result<Test, QueryError> {
        let at = self.at;
        let text = self.bare_text();
        let start = text.strip_suffix('*').filter(|start| !start.is_empty());
        Ok(match start {
            _ if is_glob(start.unwrap_or(&text)) => Test::of_glob(&text, at)?,
            Some(start) => Test::of_prefix(start),
            None => Test::of_words(&text),
        })
    }

    fn bare_text(&mut self) -> String {
        let rest = &self.chars[self.at..];
        let n = rest.iter().take_while(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '"')).count();
        // A quote or parenthesis inside a word is taken as it is, so that every term moves on.
        let n = if n == 0 { rest.len().min(1) } else { n };
        self.at += n;
        rest[..n].iter().collect()
    }

    fn keyword(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let sees = self.sees_keyword(word);
        if sees {
            self.at += word.len();
            self.skip_blanks();
        }
        sees
    }

    fn sees_keyword(&self, word: &str) -> bool {
        let rest = &self.chars[self.at..];
        let ends = rest.get(word.len()).is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')'));
        ends && rest.iter().take(word.len()).copied().eq(word.chars())
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn fault(&self, message: String) -> QueryError {
        QueryError::Syntax { at: self.at, message }
    }
}

/// Tells whether a text has wildcards. A question mark in what may be a URL or an expression is none.
fn is_glob(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '*' | '?' | '.' | '-' | '_');
    text.contains(char::is_alphanumeric)
        && (text.contains('*') || text.contains('?') && text.chars().all(is_plain))
}

fn joined(mut parts: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => join(parts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(node: &Node) -> String {
        let list = |parts: &[Node], sep: &str| {
            format!("({})", parts.iter().map(shown).collect::<Vec<_>>().join(sep))
        };
        let test = |test: &Test| match test {
            Test::Words(w) => w.join("+"),
            Test::Id([w], _) => format!("#{w}"),
            Test::Prefix(w, last) => {
                format!("{}{last}~", w.iter().map(|w| format!("{w}+")).collect::<String>())
            }
            Test::Regex(e) => format!("/{}/", e.regex),
            Test::Contains(part) => format!("<{}>", part.text),
            Test::Exact(t, _) => format!("={t}"),
            Test::Number(c, n) => format!("{c:?} {n}"),
            Test::Exists => "exists".into(),
        };
        match node {
            Node::All => "*".into(),
            Node::Body(t) => test(t),
            Node::Field(name, t) => format!("{name}:{}", test(t)),
            Node::And(parts) => list(parts, " & "),
            Node::Or(parts) => list(parts, " | "),
            Node::Not(part) => format!("!{}", shown(part)),
        }
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(shown(&parse(text).unwrap()), want, "{text:?}");
    }

    #[test]
    fn each_form_is_understood() {
        check("", "*");
        check("*", "*");
        check("Time out", "(time & out)");
        check(r#""time out" OR NOT error"#, "(time+out | !error)");
        check("a b OR c AND d", "((a & b) | (c & d))");
        check(
            "status:>=500 route:/api/v1 level:error*",
            "(status:GreaterOrEqual 500 & route:api+v1 & level:error~)",
        );
        check("time:/[0-9]+ms$/", "time:/[0-9]+ms$/");
        check(r"/a\/b/", "/a/b/");
        check("http://x/y", "http+x+y");
        check("level:(warn OR error)", "(level:warn | level:error)");
        check("user:* x:=Exact", "(user:exists & x:=Exact)");
        check(r#"x:="a b" "say \"hi\"""#, "(x:=a b & say+hi)");
        check("ORDER NOTE ANDY", "(order & note & andy)");
        check("body:hello", "hello");
        check("deadbeef trace:DEADBEEF", "(#deadbeef & trace:#deadbeef)");
        assert!(shown(&parse("t*out err?r*").unwrap()).starts_with("(/(?:^|"));
        check("path?x=1 *** \"t*t\"", "(path+x+1 & <**> & t+t)");
        check("event:visit OR event:purchase", "(event:visit | event:purchase)");
    }

    #[track_caller]
    fn refused(text: &str, want: &str) {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(want), "{text:?} gave {message}");
    }

    #[test]
    fn faults_are_named_with_their_place() {
        refused("a (b", "character 2: this parenthesis is not closed");
        refused("a \"b", "character 2: this quote is not closed");
        refused("a)", "closes nothing");
        refused("NOT", "missing");
        refused("a OR", "missing");
        refused("x:", "missing");
        refused("x:>many", "is no number");
        refused("/a(/", "unclosed group");
        refused(&"(".repeat(200), "more than 64 levels");
        refused(&"a OR ".repeat(20_000), "more than 65536 bytes");
        refused(&"a ".repeat(2000), "more than 1024 terms");
        refused(&"/a/ b*c ".repeat(20), "more than 32 regular expressions and wildcards");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_is_parsed_or_refused(text in "([a-z]{1,3}|[:\"/*()><= \\\\]|AND|OR|NOT|\\PC){0,20}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_quoted_text_is_found_in_itself(text in "\\PC{1,30}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let Node::Body(test) = parse(&quoted).unwrap() else { panic!("a phrase is a test of the body") };
            prop_assert!(test.matches(&text, &mut Default::default()), "{:?}", test);
        }
    }
}
