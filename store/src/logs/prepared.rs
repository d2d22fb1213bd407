//! What can be found out about records before it is their turn to be stored, which hangs on no other record.

use std::sync::Arc;

use super::patterns::SharedTemplates;
use super::rows::id_of;
use crate::model::{Labels, LogRecord};
use crate::pattern::{Header, Span, Split, Splitter, message_start};

/// Records with their bodies split and their identities known.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    lines: Vec<Line>,
    /// Patterns of all lines, one behind the other; so are their variables.
    patterns: String,
    variables: Vec<Span>,
    /// How many headers were known before the first line was split.
    n_headers: u64,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    identity: u64,
    /// Where the message begins in the body.
    message: usize,
    message_in_pattern: usize,
    n_before: usize,
    pattern_end: usize,
    variables_end: usize,
}

impl Prepared {
    /// Splits bodies behind the headers that are known now; a line is split again where more are known when it is its
    /// turn.
    pub(super) fn new(records: &[LogRecord], templates: &SharedTemplates) -> Self {
        let mut splitter = Splitter::default();
        let mut headers: Option<(&Labels, Arc<[Header]>)> = None;
        let mut patterns = Vec::new();
        let (lines, n_headers) = (Vec::with_capacity(records.len()), templates.n_headers());
        let mut prepared = Self { lines, n_headers, ..Self::default() };
        for record in records {
            let known = match &headers {
                Some((labels, known)) if *labels == &record.labels => known,
                _ => &headers.insert((&record.labels, templates.headers(&record.labels))).1,
            };
            let body = record.body.as_bytes();
            let message = message_start(body, known);
            let split = splitter.split_behind(body, message);
            patterns.extend_from_slice(split.pattern);
            prepared.variables.extend_from_slice(split.variables);
            prepared.lines.push(Line {
                identity: identity_of(record),
                message,
                message_in_pattern: split.message,
                n_before: split.n_before,
                pattern_end: patterns.len(),
                variables_end: prepared.variables.len(),
            });
        }
        // Spans begin and end at ASCII bytes or at the ends of a body.
        prepared.patterns = String::from_utf8(patterns).expect("a text's pattern is text");
        prepared
    }

    /// What tells a record from others: those that are equal are one.
    pub(super) fn identities(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().map(|line| line.identity)
    }

    /// Returns the split of a line and where its message begins, if no header became known since.
    pub(super) fn split(&self, n: usize, n_headers: u64) -> Option<(Split<'_>, usize)> {
        let line = &self.lines[n];
        let before = n.checked_sub(1).map(|before| &self.lines[before]);
        let (pattern, variables) = before.map_or((0, 0), |line| (line.pattern_end, line.variables_end));
        let split = || Split {
            pattern: &self.patterns.as_bytes()[pattern..line.pattern_end],
            variables: &self.variables[variables..line.variables_end],
            message: line.message_in_pattern,
            n_before: line.n_before,
        };
        (self.n_headers == n_headers).then(|| (split(), line.message))
    }
}

fn identity_of(record: &LogRecord) -> u64 {
    let id = id_of(record);
    id.hash ^ (id.time.as_nanos() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
