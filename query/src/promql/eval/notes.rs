//! What an evaluation has to say beside its values, in Prometheus' words.

use super::super::histogram::Mismatch;
use super::super::syntax::{BinaryOp, Span};
use super::{Evaluator, numeric};

impl Evaluator<'_> {
    pub(super) fn warn(&self, text: String) {
        self.notes.lock().warn(text);
    }

    pub(super) fn warn_at(&self, text: &str, span: Span) {
        self.warn(format!("PromQL warning: {text} ({})", span.line_column(self.text)));
    }

    pub(super) fn info_at(&self, text: &str, span: Span) {
        let text = format!("PromQL info: {text} ({})", span.line_column(self.text));
        self.notes.lock().info(text);
    }

    pub(super) fn note_quantile(&self, q: &[f64], span: Span) {
        for q in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            let got = numeric::format_g(*q);
            self.warn_at(&format!("quantile value should be between 0 and 1, got {got}"), span);
        }
    }

    pub(super) fn note_counter_name(&self, name: &str, span: Span) {
        if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) {
            let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
            self.info_at(&format!("{text}: {name:?}"), span);
        }
    }

    /// Says that an operator has no answer for its operands.
    pub(super) fn note_types(&self, left: &str, op: BinaryOp, right: &str, span: Span) {
        let op = op.as_str();
        let text = "incompatible sample types encountered for binary operator";
        self.info_at(&format!("{text} {op:?}: {left} {op} {right}"), span);
    }

    /// Says that histograms on both sides of an operator have bounds that do not go together.
    pub(super) fn note_layouts(&self, op: BinaryOp, span: Span) {
        let op = op.as_str();
        self.warn_at(&format!("incompatible bucket layout encountered for binary operator {op}"), span);
    }

    /// Says that histograms of one aggregation or window have bounds that do not go together.
    pub(super) fn note_mismatch(&self, mismatch: Mismatch, name: &str, span: Span) {
        let what = match mismatch {
            Mismatch::Schema => "a mix of histograms with exponential and custom buckets schemas",
            Mismatch::Bounds => "histograms with incompatible custom buckets",
        };
        self.warn_at(&format!("vector contains {what} for metric name {name:?}"), span);
    }

    /// Says that numbers and histograms met where they have no sum.
    pub(super) fn note_mixed(&self, name: &str, span: Span) {
        let text = "encountered a mix of histograms and floats for metric name";
        self.warn_at(&format!("{text} {name:?}"), span);
    }

    pub(super) fn note_mixed_aggregation(&self, span: Span) {
        self.warn_at("encountered a mix of histograms and floats for aggregation", span);
    }

    /// Says that an aggregation of numbers passed over histograms.
    pub(super) fn note_ignored_in_aggregation(&self, op: &str, span: Span) {
        self.info_at(&format!("ignored histogram in {op} aggregation"), span);
    }

    /// Says that a function of numbers passed over the histograms among them.
    pub(super) fn note_ignored_in_range(&self, name: &str, span: Span) {
        let text = "ignored histograms in a range containing both floats and histograms for metric name";
        self.info_at(&format!("{text} {name:?}"), span);
    }

    pub(super) fn note_not_counter(&self, name: &str, span: Span) {
        self.warn_at(&format!("this native histogram metric is not a counter: {name:?}"), span);
    }

    pub(super) fn note_not_gauge(&self, name: &str, span: Span) {
        self.warn_at(&format!("this native histogram metric is not a gauge: {name:?}"), span);
    }
}

/// Ends a text with a metric's name, if it has one.
pub(super) fn of_metric(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric name {name:?}") }
}
