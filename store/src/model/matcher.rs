//! Label matchers with Prometheus's meaning: anchored, and an absent label is the empty string.

use std::fmt;

use super::Labels;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// Returns the operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    // Present exactly for the two regex operators, anchored at both ends.
    regex: Option<regex::Regex>,
}

/// Why a matcher could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("matcher {name}: invalid regular expression {value:?}")]
pub struct MatcherError {
    /// The label's name.
    pub name: String,
    /// The refused expression, cut to 200 characters.
    pub value: String,
    /// What the expression's parser said.
    #[source]
    pub source: Box<regex::Error>,
}

impl Matcher {
    /// Longest regular expression in bytes; longer ones are refused.
    pub const REGEX_BYTES_MAX: usize = 16 * 1024;

    /// Makes a matcher; regular expressions must match the whole value, and `.` matches a newline.
    ///
    /// # Errors
    /// [`MatcherError`] when a regular expression does not parse, or compiles to more than 1 MiB.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(name, value)?),
        };
        Ok(Self { name: name.into(), op, value: value.into(), regex })
    }

    /// Makes the matcher `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Returns the label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// Returns the text that it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Tells whether a label of this value matches; pass `""` for an absent label.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }

    /// Tells whether a label set matches.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// Tells whether series without the label match.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

fn anchored(name: &str, value: &str) -> Result<regex::Regex, MatcherError> {
    let failed = |source| MatcherError {
        name: name.into(),
        value: value.chars().take(200).collect(),
        source: Box::new(source),
    };
    if value.len() > Matcher::REGEX_BYTES_MAX {
        return Err(failed(regex::Error::CompiledTooBig(Matcher::REGEX_BYTES_MAX)));
    }
    // Parsed alone first: otherwise `a)(b` would close our own group.
    regex_parse(value).map_err(failed)?;
    regex::RegexBuilder::new(&format!("^(?s:{value})$")).size_limit(1 << 20).build().map_err(failed)
}

fn regex_parse(value: &str) -> Result<(), regex::Error> {
    regex::RegexBuilder::new(value).size_limit(1 << 20).build().map(drop)
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(op: MatchOp, value: &str, candidate: &str, want: bool) {
        let matcher = Matcher::new("l", op, value).unwrap();
        assert_eq!(matcher.matches(candidate), want, "{matcher} on {candidate:?}");
    }

    #[test]
    fn regular_expressions_match_the_whole_value() {
        check(MatchOp::Regex, "a|b", "a", true);
        check(MatchOp::Regex, "a|b", "ab", false);
        check(MatchOp::Regex, "a.c", "a\nc", true);
        check(MatchOp::NotRegex, "a.*", "b", true);
        check(MatchOp::Regex, "", "", true);
        check(MatchOp::NotEqual, "a", "", true);
    }

    #[test]
    fn an_expression_cannot_leave_its_anchors() {
        assert!(Matcher::new("l", MatchOp::Regex, "a)|(b").is_err());
        assert!(Matcher::new("l", MatchOp::Regex, "a{1000}{1000}").is_err());
    }
}
