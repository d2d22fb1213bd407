//! Text with a time and a level in front, perhaps.

use super::{Context, Parsed, Severity, severity, time};

// Headers are short; a level word further right is part of the message.
const HEADER_BYTES_MAX: usize = 160;
const HEADER_WORDS_MAX: usize = 8;

/// Reads time and level off a line's header.
pub(super) fn parse<'a>(line: &'a str, context: &Context<'_>) -> Parsed<'a> {
    let mut parsed = Parsed::default();
    let start = usize::from(line.starts_with('['));
    let mut header = line;
    if let Some(prefix) = time::Prefix::read(&line.as_bytes()[start..]) {
        parsed.time = prefix.resolve(context);
        header = line.get(start + prefix.len..).unwrap_or_default();
    }
    parsed.severity = klog_level(line).or_else(|| level(header));
    parsed
}

/// Finds a level: an upper-case word, or one of any case in brackets, before a colon or a bar.
fn level(header: &str) -> Option<Severity<'_>> {
    let end = header.floor_char_boundary(HEADER_BYTES_MAX.min(header.len()));
    for word in header[..end].split([' ', '\t']).filter(|word| !word.is_empty()).take(HEADER_WORDS_MAX) {
        let marked = word.starts_with(['[', '<', '(']) || word.ends_with([':', '|', ']']);
        let bare = word.trim_matches(|c: char| "[]<>()|:,".contains(c));
        // Apache writes `[core:error]`.
        let bare = if word.starts_with('[') { bare.rsplit(':').next().unwrap_or(bare) } else { bare };
        let upper = bare.bytes().all(|b| b.is_ascii_uppercase());
        if (upper || marked)
            && let Some(found) = severity::from_word(bare)
        {
            return Some(found);
        }
    }
    None
}

/// Reads `I1121 10:00:00.000000`, as Kubernetes' own programs begin their lines.
fn klog_level(line: &str) -> Option<Severity<'_>> {
    let digits = line.as_bytes().get(1..5)?;
    if !digits.iter().all(u8::is_ascii_digit) || line.as_bytes().get(5) != Some(&b' ') {
        return None;
    }
    let number = match line.as_bytes()[0] {
        b'I' => 9,
        b'W' => 13,
        b'E' => 17,
        b'F' => 21,
        _ => return None,
    };
    Some(Severity { number, text: line[..1].into() })
}
