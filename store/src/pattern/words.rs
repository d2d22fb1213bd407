//! Cuts text into words, the same way for the index and for queries.
//!
//! A word is a stretch of letters and digits, lower case; `_` and all other bytes part words.
//! Chinese, Japanese and Korean letters, written without blanks, become pairs of neighbours.

/// Longest word in bytes that is told apart; what is longer is cut here.
pub(crate) const WORD_BYTES_MAX: usize = 128;

/// Calls `on_word` for each word of a text, in order. `buffer` is memory to reuse.
pub fn for_each_word(text: &str, buffer: &mut String, on_word: &mut dyn FnMut(&str)) {
    let mut rest = text;
    loop {
        let Some(start) = rest.find(char::is_alphanumeric) else { return };
        rest = &rest[start..];
        let first = first_char(rest);
        if is_cjk(first) {
            rest = pairs(rest, on_word);
            continue;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() || is_cjk(c)).unwrap_or(rest.len());
        on_word(folded(cut(&rest[..end]), buffer));
        rest = &rest[end..];
    }
}

/// Returns the words of a text.
pub fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for_each_word(text, &mut String::new(), &mut |word| out.push(word.to_owned()));
    out
}

/// Where an index keeps a word of a variable. A query's word is asked the same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordPlace {
    /// In a bloom filter: it is more like an identifier than a word. Hexadecimal with a digit from seven bytes on, six
    /// or more digits, or 24 or more bytes with three digits.
    Filter,
    /// Among the words that have postings.
    Posting,
    /// Nowhere: numbers, and numbers with a unit.
    Nowhere,
}

/// Says where an index keeps a word.
pub(crate) fn word_place(word: &str) -> WordPlace {
    classify(word).0
}

/// Says where an index keeps a word, and whether it has letters that a search may be for and that no posting finds: it
/// has none, or only for its beginning.
pub(crate) fn classify(word: &str) -> (WordPlace, bool) {
    let (mut n_digits, mut is_hex) = (0, true);
    for b in word.bytes() {
        n_digits += usize::from(b.is_ascii_digit());
        is_hex &= b.is_ascii_hexdigit();
    }
    let n = word.len();
    // Of what is cut the end is in no posting.
    let may_be_cut = n + 4 > WORD_BYTES_MAX;
    let hides = || may_be_cut || !is_hex && shows_letters(word);
    if n_digits >= 6 || n_digits >= 3 && n >= 24 || n_digits >= 1 && n >= 7 && is_hex {
        (WordPlace::Filter, hides())
    } else if n_digits == n || is_measure(word) {
        (WordPlace::Nowhere, hides())
    } else {
        (WordPlace::Posting, may_be_cut)
    }
}

/// Digits with at most three letters behind them, as in `250ms`, and parts of dates like `03T10`.
fn is_measure(word: &str) -> bool {
    let n_digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let unit = &word[n_digits..];
    n_digits > 0 && unit.len() <= 3 && unit.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Tells whether letters are such that a word with them either has a posting or hides letters, as [`classify`] says:
/// three that follow one another, not all of them hexadecimal digits.
pub(crate) fn shows_letters(text: &str) -> bool {
    let (mut n_letters, mut is_hex) = (0, true);
    text.bytes().any(|b| {
        if b.is_ascii_alphabetic() {
            n_letters += 1;
            is_hex &= b.is_ascii_hexdigit();
        } else {
            (n_letters, is_hex) = (0, true);
        }
        n_letters >= 3 && !is_hex
    })
}

fn first_char(text: &str) -> char {
    text.chars().next().unwrap_or('\0')
}

fn folded<'a>(word: &'a str, buffer: &'a mut String) -> &'a str {
    if word.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return word;
    }
    buffer.clear();
    if word.is_ascii() {
        buffer.push_str(word);
        buffer.make_ascii_lowercase();
    } else {
        buffer.extend(word.chars().flat_map(char::to_lowercase));
    }
    buffer
}

fn cut(word: &str) -> &str {
    if word.len() <= WORD_BYTES_MAX {
        return word;
    }
    let end = (0..=WORD_BYTES_MAX).rev().find(|&n| word.is_char_boundary(n)).unwrap_or(0);
    &word[..end]
}

/// Reports the pairs of a stretch that starts `text`, or its only letter, and returns the rest.
fn pairs<'a>(text: &'a str, on_word: &mut dyn FnMut(&str)) -> &'a str {
    let end = text.find(|c: char| !is_cjk(c)).unwrap_or(text.len());
    let run = &text[..end];
    let starts = || run.char_indices().map(|(at, c)| (at, at + c.len_utf8()));
    if starts().nth(1).is_none() {
        on_word(run);
    }
    for ((from, _), (_, to)) in starts().zip(starts().skip(1)) {
        on_word(&run[from..to]);
    }
    &text[end..]
}

/// Ideographs, kana and hangul.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3134f)
        && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::Splitter;

    #[test]
    fn chinese_becomes_pairs_and_latin_becomes_words() {
        assert_eq!(
            words("用户 登录失败: User_ID=42 ÄRGER"),
            ["用户", "登录", "录失", "失败", "user", "id", "42", "ärger"]
        );
        assert_eq!(words("中 a中b"), ["中", "a", "中", "b"]);
    }

    #[test]
    fn identifiers_and_numbers_get_no_posting() {
        for id in ["4bf92f3577b34da6a3ce929d0e0e4736", "1234567", "deadbe1", "user123456"] {
            assert_eq!(word_place(id), WordPlace::Filter, "{id}");
        }
        for number in ["12", "250ms", "2026", "03t"] {
            assert_eq!(word_place(number), WordPlace::Nowhere, "{number}");
        }
        for word in ["error", "user42", "defaced", "登录"] {
            assert_eq!(word_place(word), WordPlace::Posting, "{word}");
        }
        for (word, hides) in
            [("user123456", true), ("4bf92f3577b34da6", false), ("15min", true), ("250ms", false)]
        {
            assert_eq!(classify(word).1, hides, "{word}");
        }
        assert_eq!(classify(&"word".repeat(40)[..128]), (WordPlace::Posting, true));
    }

    proptest! {
        #[test]
        fn no_word_crosses_the_edge_of_a_variable(line in "([ -~]|[a-z0-9=:@./\\\\\"' ]|[\u{4e00}-\u{4e20}]){0,60}") {
            let mut splitter = Splitter::default();
            let split = splitter.split(line.as_bytes());
            let mut pieces = Vec::new();
            let mut at = 0;
            for span in split.variables {
                pieces.extend(words(&line[at..span.start as usize]));
                pieces.extend(words(&line[span.start as usize..span.end as usize]));
                at = span.end as usize;
            }
            pieces.extend(words(&line[at..]));
            prop_assert_eq!(pieces, words(&line), "{:?}", split.pattern);
        }
    }
}
