//! What of a request was not stored, and why.

use std::fmt::Write as _;

/// A kind of reason. Of each kind the first case is told in full, the others are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Labels that are no label set, or go over a limit.
    Labels,
    /// A time that cannot be named, or lies too far in the future.
    Time,
    /// More or larger attributes than a record may have.
    Attributes,
    /// A native histogram whose parts do not fit each other.
    Histogram,
    /// An exemplar, or a part of it; the samples of its series are stored.
    Exemplar,
    /// An OTLP data point that has no form as samples.
    Point,
    /// A resource's `target_info`; its points are stored.
    TargetInfo,
}

impl Reason {
    /// Every kind.
    pub(crate) const ALL: [Self; 7] = [
        Self::Labels,
        Self::Time,
        Self::Attributes,
        Self::Histogram,
        Self::Exemplar,
        Self::Point,
        Self::TargetInfo,
    ];

    /// The kind's name in our metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Time => "time",
            Self::Attributes => "attributes",
            Self::Histogram => "histogram",
            Self::Exemplar => "exemplar",
            Self::Point => "data_point",
            Self::TargetInfo => "target_info",
        }
    }

    /// Says whether a refusal of this kind is one of a sample, record or data point, as against something
    /// that came along with it.
    fn is_item(self) -> bool {
        !matches!(self, Self::Exemplar | Self::TargetInfo)
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Exemplar => "exemplars",
            Self::Histogram => "histograms",
            Self::TargetInfo => "target_info",
            Self::Labels | Self::Time | Self::Attributes | Self::Point => "items",
        }
    }
}

/// What of a request was not stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    cases: Vec<Case>,
}

#[derive(Clone, Debug)]
struct Case {
    reason: Reason,
    count: usize,
    first: String,
}

impl Refusals {
    /// Counts `count` things refused for a reason; `text` is asked only for the first.
    pub(crate) fn add(&mut self, reason: Reason, count: usize, text: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        match self.cases.iter_mut().find(|case| case.reason == reason) {
            Some(case) => case.count += count,
            None => self.cases.push(Case { reason, count, first: text() }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Says how many samples, records or data points were refused.
    pub(crate) fn n_items(&self) -> usize {
        self.cases.iter().filter(|case| case.reason.is_item()).map(|case| case.count).sum()
    }

    /// Each kind, and how many of it.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Reason, usize)> + '_ {
        self.cases.iter().map(|case| (case.reason, case.count))
    }

    /// One sentence for the sender.
    pub(crate) fn message(&self) -> String {
        let mut message = String::new();
        for case in &self.cases {
            if !message.is_empty() {
                message.push_str("; ");
            }
            message.push_str(&case.first);
            if case.count > 1 {
                write!(message, " ({} {} refused for such a reason)", case.count, case.reason.noun())
                    .expect("writing to a string cannot fail");
            }
        }
        message
    }
}

/// What became of a request that was taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Samples or records that are durable now.
    pub(crate) n_stored: usize,
    /// Native histograms among the samples.
    pub(crate) n_histograms: usize,
    /// Exemplars that are durable now.
    pub(crate) n_exemplars: usize,
    pub(crate) refusals: Refusals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_told_and_the_rest_counted() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_empty());
        refusals.add(Reason::Time, 1, || "a is late".into());
        refusals.add(Reason::Time, 2, || unreachable!("only the first is told"));
        refusals.add(Reason::Exemplar, 1, || "no exemplars".into());
        refusals.add(Reason::Labels, 0, || unreachable!("nothing was refused"));
        assert_eq!(refusals.n_items(), 3);
        assert_eq!(refusals.message(), "a is late (3 items refused for such a reason); no exemplars");
    }
}
