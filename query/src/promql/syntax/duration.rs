//! Durations as Prometheus writes them: `1h30m`, units falling, each at most once.

/// Units from long to short, with their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses a duration into milliseconds; `None` when it is none or does not fit.
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0i64;
    let mut next_unit = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let at = UNITS.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        if at < next_unit {
            return None;
        }
        next_unit = at + 1;
        total = total.checked_add(number.checked_mul(UNITS[at].1)?)?;
        rest = &rest[letters..];
    }
    // Go holds durations in nanoseconds, and refuses what does not fit there.
    total.checked_mul(1_000_000).map(|_| total)
}

/// Writes milliseconds as a duration; years, weeks and days only where they divide it.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut out = String::new();
    let mut rest = ms.unsigned_abs();
    if ms < 0 {
        out.push('-');
    }
    for (unit, len) in UNITS {
        let len = len.unsigned_abs();
        let whole_only = matches!(unit, "y" | "w" | "d");
        if rest < len || (whole_only && !rest.is_multiple_of(len)) {
            continue;
        }
        out.push_str(&format!("{}{unit}", rest / len));
        rest %= len;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_fall_and_come_once() {
        assert_eq!(parse_duration_ms("1h30m"), Some(5_400_000));
        assert_eq!(parse_duration_ms("10s53ms"), Some(10_053));
        assert_eq!(parse_duration_ms("1m1h"), None);
        assert_eq!(parse_duration_ms("1m1m"), None);
        assert_eq!(parse_duration_ms("5"), None);
        assert_eq!(parse_duration_ms("999999999y"), None);
        assert_eq!(format_duration(90_000), "1m30s");
        assert_eq!(format_duration(86_400_000), "1d");
        assert_eq!(format_duration(90_000_000), "25h");
    }

    proptest! {
        #[test]
        fn written_durations_read_back(ms in 0i64..9_000_000_000_000) {
            let text = format_duration(ms);
            prop_assert_eq!(parse_duration_ms(&text), Some(ms));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            parse_duration_ms(&text);
        }
    }
}
