//! The language of log searches.
//!
//! | written | finds records |
//! |---|---|
//! | `word` | whose body has the word, in any case |
//! | `"two words"` | whose body has the words one behind the other |
//! | `pre*`, `"two wor"*` | with a word that begins so |
//! | `t*out`, `err?r`, `/api/*/orders` | with words in which `*` stands for any letters and digits, `?` for one |
//! | `/regex/` | whose body matches, case and all; `\/` for a slash |
//! | `field:word`, `field:"two words"`, `field:pre*`, `field:/regex/` | whose field does so |
//! | `field:=text` | whose field is exactly this text |
//! | `field:>5`, `>=`, `<`, `<=` | whose field is a number that compares so |
//! | `field:*`, `*` | that have the field; all |
//! | `a b`, `a AND b`, `a OR b`, `NOT a`, `(a)`, `field:(a OR b)` | both, either, not |
//!
//! NOT binds closest, then AND, then OR. A field is an attribute, else a field of a JSON or logfmt
//! body, else a label; `severity`, `trace_id`, `span_id` and `body` name the record's own parts, and
//! `pattern` also the id of its template, as answers give it: `pattern:01a2b3c4d5e6f708`.
//! Words are cut as [`words`](crate::pattern::words) cuts them, so Chinese is found by its pairs.

mod anchor;
mod parse;
mod test;

use crate::model::ErrorKind;

pub(crate) use anchor::{Anchor, Found, Letters};
pub(crate) use test::{Scratch, Test, number};

/// A parsed search.
#[derive(Clone, Debug)]
pub struct Query {
    root: Node,
}

/// A part of a search.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Every record.
    All,
    /// The body passes.
    Body(Test),
    /// A field passes; a record without it does not.
    Field(String, Test),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

/// Why a text is no search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Something else should stand there.
    #[error("search: at character {at}: {message}")]
    Syntax {
        /// Characters before the fault.
        at: usize,
        /// What is wrong.
        message: String,
    },
    /// It is too long or too deep.
    #[error("search has more than {limit} {what}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl QueryError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Query {
    /// Longest search in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;
    /// Most terms in a search.
    pub const TERMS_MAX: usize = 1024;
    /// Most regular expressions and texts with wildcards in a search.
    pub const EXPRESSIONS_MAX: usize = 32;
    /// Most parentheses and NOTs inside one another.
    pub const DEPTH_MAX: usize = 64;

    /// Parses a search; an empty text finds everything.
    ///
    /// # Errors
    /// [`QueryError`] with the place of the fault.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// Finds everything.
    pub fn all() -> Self {
        Self { root: Node::All }
    }

    /// Finds bodies that hold a text, byte for byte.
    pub fn contains(text: &str) -> Self {
        Self { root: if text.is_empty() { Node::All } else { Node::Body(Test::contains(text)) } }
    }

    /// Finds bodies that match a regular expression somewhere.
    ///
    /// # Errors
    /// [`QueryError::Syntax`] when it does not parse or compiles to more than 1 MiB.
    pub fn regex(expression: &str) -> Result<Self, QueryError> {
        test::regex(expression, 0).map(|test| Self { root: Node::Body(test) })
    }

    /// Finds what both find.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.root, other.root) {
            (Node::All, root) | (root, Node::All) => Self { root },
            (Node::And(mut all), root) => {
                all.push(root);
                Self { root: Node::And(all) }
            }
            (a, b) => Self { root: Node::And(vec![a, b]) },
        }
    }

    /// Finds what either finds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { root: Node::Or(vec![self.root, other.root]) }
    }

    /// Finds what this does not find.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { root: Node::Not(Box::new(self.root)) }
    }

    /// Tells whether it finds everything.
    pub fn is_all(&self) -> bool {
        matches!(self.root, Node::All)
    }

    /// Tells whether it asks for a field of this name.
    pub(crate) fn names_field(&self, name: &str) -> bool {
        self.root.names_field(name)
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

impl Node {
    fn names_field(&self, name: &str) -> bool {
        match self {
            Self::All | Self::Body(_) => false,
            Self::Field(field, _) => field == name,
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.names_field(name)),
            Self::Not(part) => part.names_field(name),
        }
    }
}
