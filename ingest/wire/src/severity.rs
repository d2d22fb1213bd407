//! Finds how severe a log line is where its sender does not say.
//!
//! First a field that is named like a level, in JSON or logfmt; else the first level word near the start
//! of the line that stands in capitals or brackets, since "no error found" is no error.

/// How far into a line words are looked for; levels stand at the front, and long lines stay cheap.
const SCAN_BYTES: usize = 160;

/// How far into a line a field is looked for.
const FIELD_SCAN_BYTES: usize = 1024;

/// Names under which a level is sent as label, metadata or field.
const FIELD_NAMES: [&str; 6] = ["level", "lvl", "severity", "loglevel", "log_level", "detected_level"];

/// Says whether a label, metadata key or field of this name holds a level.
pub fn is_level_name(name: &str) -> bool {
    FIELD_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Turns a level word into OpenTelemetry's severity number; `None` if it is not one.
pub fn from_word(word: &str) -> Option<u8> {
    const WORDS: [(&str, u8); 26] = [
        ("trace", 1),
        ("trc", 1),
        ("finest", 1),
        ("debug", 5),
        ("dbg", 5),
        ("fine", 5),
        ("verbose", 5),
        ("info", 9),
        ("inf", 9),
        ("information", 9),
        ("informational", 9),
        ("notice", 10),
        ("warn", 13),
        ("warning", 13),
        ("wrn", 13),
        ("error", 17),
        ("err", 17),
        ("eror", 17),
        ("severe", 17),
        ("critical", 21),
        ("crit", 21),
        ("fatal", 21),
        ("panic", 21),
        ("alert", 21),
        ("emerg", 21),
        ("emergency", 21),
    ];
    WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)).map(|(_, number)| *number)
}

/// Finds a line's severity: its number and the word as it stands in the line.
pub fn detect(line: &str) -> Option<(u8, &str)> {
    field(cut(line, FIELD_SCAN_BYTES)).or_else(|| bare_word(cut(line, SCAN_BYTES)))
}

/// Cuts at a character's border.
fn cut(line: &str, bytes: usize) -> &str {
    &line[..line.floor_char_boundary(bytes)]
}

/// Looks for `"level":"error"`, `level=error` and `level="error"`.
fn field(line: &str) -> Option<(u8, &str)> {
    let bytes = line.as_bytes();
    memchr::memchr2_iter(b':', b'=', bytes).find_map(|at| {
        let before = line[..at].trim_end_matches([' ', '"']);
        let start = before
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(0, |last| last + before[last..].chars().next().map_or(1, char::len_utf8));
        if !is_level_name(&before[start..]) {
            return None;
        }
        let after = line[at + 1..].trim_start_matches([' ', '"']);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        from_word(&after[..end]).map(|number| (number, &after[..end]))
    })
}

/// Looks for a level in capitals (`ERROR`) or in brackets (`[error]`, `<warn>`).
fn bare_word(line: &str) -> Option<(u8, &str)> {
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(bytes.len() - at);
        let word = &line[at..at + length];
        let previous = at.checked_sub(1).map(|i| bytes[i]);
        let next = bytes.get(at + length).copied();
        let joined =
            |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'/');
        let bracketed = matches!((previous, next), (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')));
        let capitals = length > 2 && word.bytes().all(|b| b.is_ascii_uppercase());
        if (bracketed || capitals && !joined(previous) && !joined(next))
            && let Some(number) = from_word(word)
        {
            return Some((number, word));
        }
        at += length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(line: &str, want: Option<(u8, &str)>) {
        assert_eq!(detect(line), want, "{line}");
    }

    #[test]
    fn levels_are_found() {
        check(r#"{"ts":"2026-11-21","level":"error","msg":"no INFO here"}"#, Some((17, "error")));
        check(r#"{"Level" : "Warn"}"#, Some((13, "Warn")));
        check("time=12:00 level=info msg=\"ERROR in text\"", Some((9, "info")));
        check("2026-11-21 10:00:00 ERROR upstream timed out", Some((17, "ERROR")));
        check("2026/11/21 10:00:00 [error] 7#7: *1 connect() failed", Some((17, "error")));
        check("E1121 panic", None);
        check("no error found", None);
        check("GET /ERROR/1 200", None);
        check("WARNING_COUNT 3", None);
        check("服务 启动 FATAL 失败", Some((21, "FATAL")));
        check("", None);
    }

    #[test]
    fn names_and_words_ignore_case() {
        assert!(is_level_name("LEVEL") && is_level_name("detected_level") && !is_level_name("elevel"));
        assert_eq!(from_word("Warning"), Some(13));
        assert_eq!(from_word("warned"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in "(\\PC|[\\[\\]<>:=\" ]|ERROR|level){0,80}") {
            if let Some((number, word)) = detect(&line) {
                prop_assert_eq!(from_word(word), Some(number));
                prop_assert!(line.contains(word));
            }
        }
    }
}
