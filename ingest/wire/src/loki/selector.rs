//! A stream's labels as text: `{app="cart", zone="a"}`.

/// What is wrong with a stream's labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// Something else than what has to come here.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What has to come.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// A name outside the allowed characters.
    #[error("invalid label name at byte {at}")]
    Name {
        /// Where.
        at: usize,
    },
    /// An escape that is not one of Go's.
    #[error("invalid escape in a label value at byte {at}")]
    Escape {
        /// Where.
        at: usize,
    },
    /// The same name twice.
    #[error("label {0:?} appears twice")]
    Duplicate(String),
}

/// Parses labels in selector syntax, with the string syntax of Go: `"..."` with escapes, `` `...` `` without.
///
/// # Errors
/// [`SelectorError`].
pub fn parse_labels(text: &str) -> Result<Vec<(String, String)>, SelectorError> {
    let mut parser = Parser { text, at: 0 };
    let mut labels: Vec<(String, String)> = Vec::new();
    parser.expect('{', "'{'")?;
    loop {
        parser.skip_blanks();
        if parser.take('}') {
            break;
        }
        let name = parser.name()?;
        parser.skip_blanks();
        parser.expect('=', "'='")?;
        parser.skip_blanks();
        let value = parser.string()?;
        if labels.iter().any(|(other, _)| *other == name) {
            return Err(SelectorError::Duplicate(name));
        }
        labels.push((name, value));
        parser.skip_blanks();
        if !parser.take(',') && !parser.rest().starts_with('}') {
            return Err(SelectorError::Expected { expected: "',' or '}'", at: parser.at });
        }
    }
    parser.skip_blanks();
    if !parser.rest().is_empty() {
        return Err(SelectorError::Expected { expected: "the end", at: parser.at });
    }
    Ok(labels)
}

/// Says whether LogQL can write a label of this name.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), SelectorError> {
        self.skip_blanks();
        if self.take(wanted) { Ok(()) } else { Err(SelectorError::Expected { expected, at: self.at }) }
    }

    fn name(&mut self) -> Result<String, SelectorError> {
        let at = self.at;
        let end = self.rest().find(|c: char| !is_name_char(c)).unwrap_or(self.rest().len());
        let name = &self.rest()[..end];
        if !is_label_name(name) {
            return Err(SelectorError::Name { at });
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn string(&mut self) -> Result<String, SelectorError> {
        let closed = SelectorError::Expected { expected: "a closed string", at: self.at };
        if self.take('`') {
            let end = self.rest().find('`').ok_or(closed)?;
            let value = self.rest()[..end].to_owned();
            self.at += end + 1;
            return Ok(value);
        }
        self.expect('"', "a quoted value")?;
        // Escaped bytes (`\xNN`) may only together be a character.
        let mut value = Vec::new();
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(closed),
                Some('"') => {
                    return String::from_utf8(value).map_err(|_| SelectorError::Escape { at });
                }
                Some('\\') => self.escape(&mut value).ok_or(SelectorError::Escape { at })?,
                Some(c) => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, value: &mut Vec<u8>) -> Option<()> {
        let byte = match self.next()? {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '"' => b'"',
            'x' => u8::try_from(self.digits(2, 16)?).ok()?,
            c @ '0'..='3' => {
                let low = self.digits(2, 8)?;
                u8::try_from(c.to_digit(8)? * 64 + low).ok()?
            }
            c @ ('u' | 'U') => {
                let c = char::from_u32(self.digits(if c == 'u' { 4 } else { 8 }, 16)?)?;
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        value.push(byte);
        Some(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..count)?;
        if !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
            return None;
        }
        self.at += count;
        u32::from_str_radix(digits, radix).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, want: &[(&str, &str)]) {
        let labels = parse_labels(text).expect("valid labels");
        let labels: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(labels, want, "{text}");
    }

    #[test]
    fn labels_are_read() {
        check("{}", &[]);
        check(r#"{app="cart", zone="a",}"#, &[("app", "cart"), ("zone", "a")]);
        check(r#" { a = "x\n\"\\\x41\u00e9\101" } "#, &[("a", "x\n\"\\AéA")]);
        check("{a=`c:\\x`}", &[("a", "c:\\x")]);
        check(r#"{a="\xe9\x95\xbf"}"#, &[("a", "长")]);
    }

    #[test]
    fn bad_labels_name_the_place() {
        let of = |text: &str| parse_labels(text).expect_err("bad labels").to_string();
        assert_eq!(of(""), "expected '{' at byte 0");
        assert_eq!(of("{a}"), "expected '=' at byte 2");
        assert_eq!(of("{a=b}"), "expected a quoted value at byte 3");
        assert_eq!(of("{1a=\"b\"}"), "invalid label name at byte 1");
        assert_eq!(of("{a-b=\"c\"}"), "expected '=' at byte 2");
        assert_eq!(of("{\"a\"=\"b\"}"), "invalid label name at byte 1");
        assert_eq!(of("{a=\"b\" c=\"d\"}"), "expected ',' or '}' at byte 7");
        assert_eq!(of("{a=\"b"), "expected a closed string at byte 3");
        assert_eq!(of("{a=\"\\q\"}"), "invalid escape in a label value at byte 4");
        assert_eq!(of("{a=\"1\",a=\"2\"}"), "label \"a\" appears twice");
        assert_eq!(of("{a=\"1\"} x"), "expected the end at byte 8");
        assert_eq!(of("{a=\"\\xff\"}"), "invalid escape in a label value at byte 8");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "(\\PC|[{}=\",\\\\`xu0-9]){0,40}") {
            let _ = parse_labels(&text);
        }

        #[test]
        fn written_labels_read_back(labels in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,5}", "\\PC{0,10}", 0..4)) {
            let written: Vec<_> = labels
                .iter()
                .map(|(n, v)| format!("{n}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            let read = parse_labels(&format!("{{{}}}", written.join(", ")));
            prop_assert_eq!(read, Ok(labels.into_iter().collect()));
        }
    }
}
