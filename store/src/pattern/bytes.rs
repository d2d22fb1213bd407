//! Classes of bytes, one table look-up each.

/// `0` to `9`.
pub(super) const DIGIT: u16 = 1;
/// `:`
pub(super) const COLON: u16 = 1 << 1;
/// `/`, `\` and `@`: a run that holds one is looked at again.
pub(super) const SLASH: u16 = 1 << 2;
/// `.`
pub(super) const DOT: u16 = 1 << 3;
/// ASCII letters and every byte of a multi-byte character, so that Chinese words stay constant.
pub(super) const LETTER: u16 = 1 << 4;
/// Bytes that are a token of their own.
pub(super) const STOP: u16 = 1 << 5;
/// Space, tab, CR, LF.
pub(super) const BLANK: u16 = 1 << 6;
/// Ends a URL or a path.
pub(super) const PLACE_END: u16 = 1 << 7;
/// Ends a value that is taken whole.
pub(super) const VALUE_END: u16 = 1 << 8;
/// The first byte of a day's or month's name.
pub(super) const DATE_START: u16 = 1 << 9;
/// A byte that may begin a path.
pub(super) const PATH_START: u16 = 1 << 10;

/// The classes of each byte.
pub(super) static CLASS: [u16; 256] = table();

/// Ends a run.
pub(super) const RUN_END: u16 = STOP | BLANK;

const fn table() -> [u16; 256] {
    let mut out = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let mut c = 0;
        if b.is_ascii_digit() {
            c |= DIGIT;
        }
        if b.is_ascii_alphabetic() || b >= 0x80 {
            c |= LETTER;
        }
        c |= match b {
            b' ' | b'\t' | b'\r' | b'\n' => BLANK | PLACE_END | VALUE_END,
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'"' | b'\'' | b',' | b';' | b'|' => {
                STOP | PLACE_END | VALUE_END
            }
            b'`' | b'=' => STOP | VALUE_END,
            b'!' | b'?' | b'*' | b'^' | b'#' => STOP,
            b':' => COLON,
            b'/' | b'\\' => SLASH | PATH_START,
            b'@' => SLASH,
            b'.' => DOT | PATH_START,
            b'~' => PATH_START,
            _ => 0,
        };
        c |= match b {
            b'M' | b'T' | b'W' | b'F' | b'S' | b'J' | b'A' | b'O' | b'N' | b'D' => DATE_START,
            b'0'..=b'9' => DATE_START,
            _ => 0,
        };
        out[i] = c;
        i += 1;
    }
    out
}

/// Tells whether a byte has one of the classes.
pub(super) fn is(b: u8, classes: u16) -> bool {
    CLASS[b as usize] & classes != 0
}

/// Tells whether a byte is a letter, a digit or `_`.
pub(super) fn is_word(b: u8) -> bool {
    is(b, LETTER | DIGIT) || b == b'_'
}

/// Returns where the stretch of bytes without the given classes that begins at `from` ends.
pub(super) fn find_class(line: &[u8], from: usize, classes: u16) -> usize {
    line[from..].iter().position(|&b| is(b, classes)).map_or(line.len(), |n| from + n)
}

/// Tells whether a slice holds an ASCII digit.
pub(super) fn has_digit(s: &[u8]) -> bool {
    s.iter().any(u8::is_ascii_digit)
}
