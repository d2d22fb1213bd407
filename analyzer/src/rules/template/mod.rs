//! Templates of labels and annotations: the part of Go's text/template that alerts use.
//!
//! [`lex`] cuts a text into plain parts and actions, [`parse`] makes a tree whose functions, variables and counts of
//! arguments are known to be right, [`eval`] walks it. What is not supported is refused by name when the file is read.
//! Depth, steps, questions and size of what comes out are bounded, so that no template holds up its group.

mod eval;
mod format;
mod function;
mod lex;
mod parse;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use format::exponent_text;
pub(super) use function::link;

use eval::Eval;
use parse::Node;

/// Longest text of one template in bytes; what people write has some hundred.
pub(super) const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Most that one expansion writes, in bytes: far above what a message or a label holds.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Most parts that one expansion walks, repetitions counted.
const STEPS_MAX: usize = 100_000;
/// Most questions that one expansion asks; each has the limits of a query.
const QUERIES_MAX: usize = 20;

/// A template that was read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// Why a text is no template, or no template of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub(crate) struct TemplateError {
    /// Line of the text, from 1.
    line: usize,
    /// What is wrong.
    detail: String,
}

/// Why an expansion ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ExpandError(String);

/// Label sets as templates see them.
pub(crate) type Map = Arc<BTreeMap<String, String>>;

/// One answer of the function `query`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Map,
    pub(crate) value: f64,
}

/// The value of an alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measured {
    /// A number.
    Float(f64),
    /// A native histogram, written out.
    Histogram(String),
}

/// What a template speaks about.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// `$labels`
    pub(crate) labels: Map,
    /// `$externalLabels`
    pub(crate) external_labels: Map,
    /// `$externalURL`
    pub(crate) external_url: String,
    /// `$value`
    pub(crate) value: Measured,
}

/// Answers the function `query`, at the time of the evaluation.
pub(crate) trait Ask {
    /// Evaluates an expression.
    fn ask(&self, expr: &str) -> Result<Vec<Sample>, String>;
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] with the line and what is wrong or not supported.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let detail =
                format!("the template is {} bytes long, the limit is {TEMPLATE_BYTES_MAX}", text.len());
            return Err(TemplateError { line: 1, detail });
        }
        Ok(Self { nodes: parse::parse(text)? })
    }

    /// Fills in a template.
    ///
    /// # Errors
    /// [`ExpandError`] where a value is not of the kind that is asked for, or a limit is passed.
    pub(crate) fn expand(&self, data: &Data, ask: &dyn Ask) -> Result<String, ExpandError> {
        Eval::new(data, ask).run(&self.nodes)
    }
}

#[cfg(test)]
mod tests;
