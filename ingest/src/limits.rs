//! What one series or record may look like.

use std::time::Duration;

use greylight_store::model::{METRIC_NAME, Timestamp};

use crate::config::{IngestConfig, bytes};

/// Limits on series and records, from the settings, as one request sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) labels: usize,
    pub(crate) name_bytes: usize,
    pub(crate) label_value_bytes: usize,
    pub(crate) line_bytes: usize,
    pub(crate) attributes: usize,
    pub(crate) attribute_bytes: usize,
    pub(crate) future: Duration,
    /// When the request came.
    pub(crate) now: Timestamp,
    /// The latest time that is taken.
    pub(crate) latest: Timestamp,
}

/// The earliest millisecond that nanoseconds in 64 bits can name, in the year 1677.
pub(crate) const EARLIEST_MS: i64 = i64::MIN / 1_000_000;

/// How much of a series is shown in a message.
const SHOWN_BYTES: usize = 300;

impl Limits {
    pub(crate) fn new(config: &IngestConfig, now: Timestamp) -> Self {
        Self {
            labels: config.labels_max,
            name_bytes: bytes(config.name_bytes_max),
            label_value_bytes: bytes(config.label_value_bytes_max),
            line_bytes: bytes(config.line_bytes_max),
            attributes: config.attributes_max,
            attribute_bytes: bytes(config.attribute_bytes_max),
            future: config.future_max,
            now,
            latest: now.saturating_add(config.future_max),
        }
    }

    /// Holds sorted labels against the limits and says what is wrong with them.
    pub(crate) fn check_labels(&self, labels: &[(&str, &str)]) -> Result<(), String> {
        let fits = labels.len() <= self.labels
            && labels
                .iter()
                .all(|(name, value)| name.len() <= self.name_bytes && value.len() <= self.label_value_bytes);
        if fits { Ok(()) } else { Err(self.explain(labels)) }
    }

    /// As [`check_labels`](Self::check_labels), for a metric's series, which has a name.
    pub(crate) fn check_series(&self, labels: &[(&str, &str)]) -> Result<(), String> {
        if !labels.iter().any(|(name, _)| *name == METRIC_NAME) {
            return Err(format!("series {} has no {METRIC_NAME}", show(labels)));
        }
        self.check_labels(labels)
    }

    #[cold]
    fn explain(&self, labels: &[(&str, &str)]) -> String {
        let series = show(labels);
        if labels.len() > self.labels {
            return format!("{series} has {} labels, the limit is {}", labels.len(), self.labels);
        }
        for (name, value) in labels {
            for (what, length, limit) in
                [("name", name.len(), self.name_bytes), ("value", value.len(), self.label_value_bytes)]
            {
                if length > limit {
                    let name = cut(name, 64);
                    return format!(
                        "the {what} of label {name:?} of {series} has {length} bytes, the limit is {limit}"
                    );
                }
            }
        }
        format!("{series} is over a limit")
    }

    /// Explains a time that is not taken.
    #[cold]
    pub(crate) fn explain_time(&self, what: &str, labels: &[(&str, &str)], time: Timestamp) -> String {
        let limit = self.future;
        let of = show(labels);
        format!("{what} of {of} at {time} lies more than {limit:?} in the future of {}", self.now)
    }
}

/// Shows a series as Prometheus does, cut to a readable length.
pub(crate) fn show(labels: &[(&str, &str)]) -> String {
    let mut shown = String::new();
    if let Some((_, name)) = labels.iter().find(|(name, _)| *name == METRIC_NAME) {
        shown.push_str(cut(name, SHOWN_BYTES));
    }
    let others: Vec<_> = labels
        .iter()
        .filter(|(name, _)| *name != METRIC_NAME)
        .take(16)
        .map(|(name, value)| format!("{}={:?}", cut(name, 64), cut(value, 64)))
        .collect();
    shown.push('{');
    shown.push_str(&others.join(", "));
    shown.push('}');
    cut(&shown, SHOWN_BYTES).to_owned()
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::new(&IngestConfig::default(), Timestamp::from_millis(0))
    }

    #[test]
    fn labels_at_the_limits_are_taken_and_one_more_is_not() {
        let names: Vec<String> = (0..65).map(|i| format!("l{i:02}")).collect();
        let labels: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "v")).collect();
        assert_eq!(limits().check_labels(&labels[..64]), Ok(()));
        let message = limits().check_labels(&labels).expect_err("too many");
        assert!(message.ends_with("has 65 labels, the limit is 64"), "{message}");
        let (name, value) = ("n".repeat(256), "v".repeat(4096));
        assert_eq!(limits().check_labels(&[(&name, &value)]), Ok(()));
        let message = limits().check_labels(&[("a", &"v".repeat(4097))]).expect_err("too long");
        assert!(message.starts_with("the value of label \"a\" of {a="), "{message}");
        assert!(message.ends_with("has 4097 bytes, the limit is 4096"), "{message}");
        assert!(
            limits().check_labels(&[(&"n".repeat(257), "v")]).expect_err("too long").contains("257 bytes")
        );
    }

    #[test]
    fn a_series_needs_a_name() {
        assert_eq!(limits().check_series(&[("a", "b")]), Err("series {a=\"b\"} has no __name__".into()));
        assert_eq!(limits().check_series(&[("A", "b"), (METRIC_NAME, "up")]), Ok(()));
    }

    #[test]
    fn long_series_are_shown_short() {
        let value = "长".repeat(1000);
        let labels: Vec<_> = (0..30).map(|_| ("a", value.as_str())).collect();
        assert!(show(&labels).len() <= SHOWN_BYTES);
    }
}
