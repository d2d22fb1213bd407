//! Exemplars: single observations that stand for the many in a sample.

use super::Labels;

/// Most characters that names and values of an exemplar's labels have together, as OpenMetrics says.
pub const EXEMPLAR_CHARS_MAX: usize = 128;

/// One observation of a series, with what tells where it came from: most often a trace id.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its own labels, such as `trace_id`; not those of its series.
    pub labels: Labels,
    /// When it was observed, in epoch milliseconds.
    pub t_ms: i64,
    /// What was observed, in the series' unit.
    pub value: f64,
}

/// Why an exemplar cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExemplarError {
    /// Labels that are too long.
    #[error("exemplar has labels of {chars} characters: at most {EXEMPLAR_CHARS_MAX}")]
    Long {
        /// Characters of names and values.
        chars: usize,
    },
}

impl Exemplar {
    /// Checks what no later step looks at again: the length of its labels.
    ///
    /// # Errors
    /// [`ExemplarError`] names what is wrong.
    pub fn check(&self) -> Result<(), ExemplarError> {
        let chars =
            self.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if chars > EXEMPLAR_CHARS_MAX {
            return Err(ExemplarError::Long { chars });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let of = |n: usize| {
            let labels = Labels::from_pairs([("id", "长".repeat(n))]).unwrap();
            Exemplar { labels, t_ms: 0, value: 0.0 }.check()
        };
        assert_eq!(of(126), Ok(()));
        assert_eq!(of(127), Err(ExemplarError::Long { chars: 129 }));
    }
}
