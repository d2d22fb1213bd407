//! Which lines belong to the record before them.
//!
//! Stack traces of Java, Python, Go, .NET and Node are known by their shape; everything that is indented belongs
//! to what is above it. A line that begins with a time, or is a whole record by its format, begins another.

use super::parse::{self, Format};

/// What the lines of a record so far let one expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing in particular.
    Any,
    /// A Python traceback whose last line, which is not indented, is still to come.
    Python,
    /// A Python traceback that is complete, but for another that it caused.
    PythonEnd,
    /// A Go panic and its goroutines.
    Go,
    /// A Node error with its source line and caret, before the error itself.
    Node,
}

/// Returns what `line`, the first of a record, lets one expect.
pub(super) fn begin(line: &str) -> Mode {
    if line.starts_with("Traceback (most recent call last):")
        || line.ends_with("Traceback (most recent call last):")
    {
        Mode::Python
    } else if line.starts_with("panic: ") || line.starts_with("fatal error: ") || is_goroutine(line) {
        Mode::Go
    } else {
        Mode::Any
    }
}

/// Tells whether `line` goes on with a record in `mode`, and in which mode that leaves it.
///
/// - `headed`: the record's first line began with a time or a level, so that an exception's name behind it is its
///   own; without, each such name is a record of its own.
pub(super) fn goes_on(line: &str, mode: Mode, headed: bool, format: Format) -> Option<Mode> {
    if parse::starts_with_time(line) || (!line.starts_with([' ', '\t']) && parse::is_whole(line, format)) {
        return None;
    }
    match mode {
        Mode::Go if is_go_frame(line) => return Some(Mode::Go),
        Mode::Python if line.starts_with([' ', '\t']) || line.is_empty() => return Some(Mode::Python),
        Mode::Python => return Some(Mode::PythonEnd),
        Mode::PythonEnd if line.is_empty() || is_python_link(line) => return Some(Mode::PythonEnd),
        Mode::PythonEnd if begin(line) == Mode::Python => return Some(Mode::Python),
        Mode::Node if line.is_empty() || is_exception(line) => return Some(Mode::Node),
        _ => {}
    }
    if line.starts_with([' ', '\t']) && !line.trim().is_empty() {
        let caret = line.trim().bytes().all(|b| b == b'^');
        return Some(if caret && mode == Mode::Any { Mode::Node } else { mode });
    }
    let more = line.starts_with("Caused by: ")
        || line.starts_with("Suppressed: ")
        || line.starts_with("--- End of ")
        || (line.starts_with("... ") && line.ends_with(" more"))
        || matches!(line, "}" | ")" | "]" | "};" | "})" | "],")
        || (headed && (is_exception(line) || begin(line) != Mode::Any));
    if !more {
        return None;
    }
    Some(if headed && begin(line) != Mode::Any { begin(line) } else { mode })
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.ends_with("]:")
}

fn is_go_frame(line: &str) -> bool {
    line.is_empty()
        || is_goroutine(line)
        || line.starts_with("created by ")
        || line.starts_with("[signal ")
        || line.starts_with("exit status ")
        || line.starts_with("\tpanic: ")
        || (line.ends_with(')') && line.contains('(') && !line.contains(": "))
}

fn is_python_link(line: &str) -> bool {
    line.starts_with("During handling of the above exception")
        || line.starts_with("The above exception was the direct cause")
}

/// Tells whether a line is `java.lang.IllegalStateException: text`, `TypeError: text` or the like.
fn is_exception(line: &str) -> bool {
    let line = line.strip_prefix("Uncaught ").unwrap_or(line);
    let end = line.find([':', ' ']).unwrap_or(line.len());
    let name = &line[..end];
    let rest = &line[end..];
    let named = name.ends_with("Exception") || name.ends_with("Error") || name.ends_with("Throwable");
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'));
    named && word && (rest.is_empty() || rest.starts_with(':') || rest.starts_with(" ["))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Joins lines as the assembler does; returns how many lines each record has.
    fn join(text: &str) -> Vec<usize> {
        let mut records: Vec<usize> = Vec::new();
        let mut state = None;
        for line in text.lines() {
            let more = state.and_then(|(mode, headed)| goes_on(line, mode, headed, Format::Auto));
            match (more, records.last_mut()) {
                (Some(mode), Some(n)) => {
                    *n += 1;
                    state = state.map(|(_, headed)| (mode, headed));
                }
                _ => {
                    records.push(1);
                    state = Some((begin(line), parse::starts_with_time(line)));
                }
            }
        }
        records
    }

    #[test]
    fn java() {
        let text = "2026-11-21 10:00:00,000 ERROR cart failed\n\
            java.lang.IllegalStateException: no stock\n\tat com.shop.Cart.add(Cart.java:17)\n\
            \tat com.shop.Main.main(Main.java:3)\nCaused by: java.sql.SQLException: gone\n\
            \tat com.shop.Db.get(Db.java:9)\n\t... 2 more\n2026-11-21 10:00:01,000 INFO next\n";
        assert_eq!(join(text), [7, 1]);
        let bare = "Exception in thread \"main\" java.lang.Error: x\n\tat A.b(A.java:1)\nnext\n";
        assert_eq!(join(bare), [2, 1]);
    }

    #[test]
    fn python() {
        let text = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n\
            KeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n\
            Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    g()\n\
            ValueError: b\nnext line\n";
        assert_eq!(join(text), [11, 1]);
        let logged = "2026-11-21 10:00:00,000 ERROR failed\nTraceback (most recent call last):\n  File \"a.py\"\n\
            ValueError: b\n2026-11-21 10:00:01,000 INFO next\n";
        assert_eq!(join(logged), [4, 1]);
    }

    #[test]
    fn go() {
        let text = "panic: runtime error: index out of range [5]\n\ngoroutine 1 [running]:\n\
            main.f(0x1, 0x2)\n\t/src/main.go:10 +0x1d\nmain.main()\n\t/src/main.go:5 +0x20\n\
            created by main.start\n\t/src/main.go:2 +0x1\nexit status 2\nlevel=info msg=next\n";
        assert_eq!(join(text), [10, 1]);
    }

    #[test]
    fn dotnet() {
        let text = "2026-11-21T10:00:00Z [ERR] failed\nSystem.InvalidOperationException: no\n\
            \x20---> System.Exception: inner\n   at Shop.Cart.Add() in /src/Cart.cs:line 7\n\
            \x20  --- End of inner exception stack trace ---\n   at Shop.Main()\n\
            --- End of stack trace from previous location ---\n   at Shop.Run()\n2026-11-21T10:00:01Z next\n";
        assert_eq!(join(text), [8, 1]);
    }

    #[test]
    fn node() {
        let text = "/app/cart.js:3\n    throw new Error('no')\n    ^\n\nError: no\n    at f (/app/cart.js:3:9)\n\
            \x20   at Module._compile (node:internal:1:2) {\n  code: 'E_NO'\n}\nnext line\n";
        assert_eq!(join(text), [9, 1]);
        assert_eq!(join("TypeError: x is not a function\n    at f (/a.js:1:2)\nTypeError: y\n"), [2, 1]);
    }

    #[test]
    fn ordinary_lines_stay_alone() {
        assert_eq!(join("one\ntwo\n{\"a\":1}\nlevel=info msg=x\n\nthree\n"), [1, 1, 1, 1, 1, 1]);
        assert_eq!(join("an Error: is told\nError: again\n"), [1, 1]);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line: String) {
            begin(&line);
            for mode in [Mode::Any, Mode::Python, Mode::PythonEnd, Mode::Go, Mode::Node] {
                goes_on(&line, mode, true, Format::Auto);
            }
        }
    }
}
