//! Durations as Prometheus writes them.

use std::fmt;
use std::time::Duration;

/// A duration with the text it was written in, so that answers repeat the user's words.
///
/// Equality is that of the duration, not of the text.
#[derive(Clone, Debug)]
pub struct Span {
    text: String,
    millis: u64,
}

/// Units from the largest down, as Prometheus orders them, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    /// Reads `90s`, `1h30m`, `500ms`, `0`: whole numbers with units from the largest to the smallest,
    /// each at most once. `None` for anything else and for more than 292 years.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self { text: text.to_owned(), millis: 0 });
        }
        let mut rest = text;
        let mut millis = 0_u64;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let unit = rest.get(..letters)?;
            rest = rest.get(letters..)?;
            let position = UNITS.iter().position(|(name, _)| *name == unit)?;
            if position < next_unit {
                return None;
            }
            next_unit = position + 1;
            millis = millis.checked_add(number.checked_mul(UNITS[position].1)?)?;
        }
        const MILLIS_MAX: u64 = i64::MAX as u64 / 1_000_000;
        (!text.is_empty() && millis <= MILLIS_MAX).then(|| Self { text: text.to_owned(), millis })
    }

    /// Writes a duration in the largest units that keep it whole.
    pub fn from_millis(millis: u64) -> Self {
        let mut text = String::new();
        let mut rest = millis;
        for (unit, size) in UNITS.iter().skip(2) {
            if rest >= *size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        if text.is_empty() {
            text.push_str("0s");
        }
        Self { text, millis }
    }

    /// Returns a duration so many times as long.
    pub fn times(&self, n: u64) -> Self {
        Self::from_millis(self.millis.saturating_mul(n))
    }

    /// Returns the text it was written in.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whole milliseconds.
    pub fn millis(&self) -> u64 {
        self.millis
    }

    /// Returns the duration.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.millis)
    }
}

impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        self.millis == other.millis
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
