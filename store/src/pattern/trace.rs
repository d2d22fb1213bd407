//! Stack traces inside a record: which exception, and where.
//!
//! A trace is named by the root cause's exception and the frame that threw it. Both stay in the
//! pattern as they are; messages, line numbers and all other frames are variables. So one fault is
//! one pattern, whatever it said and whoever called, and a new exception is a new pattern.

use super::split::VARIABLE;

/// What names a trace: ranges of bytes behind the first line, in order and apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// End of the first line.
    pub(super) first_line: usize,
    /// The text of the first line that stays when it is an exception itself: `java.lang.Error: `.
    pub(super) first_name: Option<usize>,
    /// Exception, where it stands behind the first line, and frame.
    pub(super) marks: [Option<(usize, usize)>; 2],
}

/// Lines of a trace that are read; deeper recursion adds nothing.
const LINES_MAX: usize = 512;
/// Prefixes of frames that belong to a language's library: the first of the program's own says more.
const LIBRARY: [&[u8]; 21] = [
    b"java.",
    b"javax.",
    b"jdk.",
    b"sun.",
    b"kotlin.",
    b"scala.",
    b"System.",
    b"Microsoft.",
    b"node:",
    b"internal/",
    b"runtime.",
    b"panic",
    b"std::",
    b"core::",
    b"alloc::",
    b"rust_",
    b"__rust",
    b"<",
    b"_",
    b"backtrace",
    b"/rustc",
];

/// What stands before a name, and stays with it.
const MARKERS: [&[u8]; 4] = [b"at ", b"in ", b"Caused by: ", b"---> "];

/// A line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A call; its name.
    Frame(usize, usize),
    /// A call in Python's order: the last one threw.
    DeepestLast(usize, usize),
    /// The exception, or what the one before was caused by, with its marker.
    Cause(usize, usize),
    /// The frames of the inner exception end.
    EndOfInner,
    Other,
}

/// Finds the trace in a record; `None` where no line behind the first is a frame.
pub(super) fn find_trace(record: &[u8]) -> Option<Trace> {
    let first_line = memchr::memchr(b'\n', record)?;
    let mut at = first_line + 1;
    let (mut cause, mut frame, mut fallback, mut is_over) = (None, None, None, false);
    let mut has_python = false;
    for _ in 0..LINES_MAX {
        if at >= record.len() {
            break;
        }
        let end = memchr::memchr(b'\n', &record[at..]).map_or(record.len(), |n| at + n);
        match line(record, at, end, has_python) {
            Line::Frame(from, to) if !is_over => {
                let is_library = LIBRARY.iter().any(|prefix| name_of(&record[from..to]).starts_with(prefix));
                if frame.is_none() && !is_library {
                    frame = Some((from, to));
                }
                fallback = fallback.or(Some((from, to)));
            }
            Line::DeepestLast(from, to) => {
                has_python = true;
                frame = Some((from, to));
            }
            Line::Cause(from, to) => {
                // Python prints its frames before, all others after the exception.
                if !has_python {
                    (frame, fallback, is_over) = (None, None, false);
                }
                cause = Some((from, to));
            }
            Line::EndOfInner => is_over = frame.or(fallback).is_some(),
            Line::Frame(..) | Line::Other => {}
        }
        at = end + 1;
    }
    let frame = frame.or(fallback)?;
    let marks = match cause {
        Some(cause) if cause.0 < frame.0 => [Some(cause), Some(frame)],
        Some(cause) => [Some(frame), Some(cause)],
        None => [Some(frame), None],
    };
    Some(Trace { first_line, first_name: exception_name(&record[..first_line], Named::ByEnding), marks })
}

/// Returns where what names a trace begins in a pattern: at the line end behind its first line.
pub(super) fn trace_of(pattern: &[u8]) -> Option<usize> {
    let at = memchr::memchr(b'\n', pattern)?;
    let tail = &pattern[at + 1..];
    let is_marked = |part: &[u8]| MARKERS.iter().any(|marker| part.starts_with(marker));
    let name = tail.split(|b| *b == VARIABLE).next().unwrap_or_default();
    let starts = name.is_empty() || is_marked(name) || exception_name(name, Named::ByEnding).is_some();
    // Names stand between variables without a blank at their edges; text of further lines does not.
    let mut parts = tail.split(|b| *b == VARIABLE).filter(|part| !part.is_empty()).peekable();
    let is_name = |part: &[u8]| is_marked(part) || !part.iter().any(u8::is_ascii_whitespace);
    (starts && parts.peek().is_some() && parts.all(is_name)).then_some(at)
}

fn name_of(frame: &[u8]) -> &[u8] {
    frame.iter().position(|b| *b == b' ').map_or(frame, |blank| &frame[blank + 1..])
}

fn line(record: &[u8], at: usize, end: usize, has_python: bool) -> Line {
    let text = &record[at..end];
    let indent = text.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'|')).count();
    let (from, body) = (at + indent, text[indent..].trim_ascii_end());
    let to = from + body.len();
    if let Some(rest) = body.strip_prefix(b"at ") {
        return call(rest).map_or(Line::Other, |n| Line::Frame(from, from + 3 + n));
    }
    for marker in [b"Caused by: ".as_slice(), b"---> "] {
        if let Some(rest) = body.strip_prefix(marker) {
            let n = type_len(rest);
            return if n > 0 { Line::Cause(from, from + marker.len() + n) } else { Line::Other };
        }
    }
    if body.starts_with(b"--- End of inner exception") {
        return Line::EndOfInner;
    }
    if body.starts_with(b"File \"") {
        let name = rfind(body, b", in ").map(|n| n + 2);
        return name.map_or(Line::Other, |n| Line::DeepestLast(from + n, to));
    }
    // `2: cart::total`
    let n_digits = body.iter().take_while(|b| b.is_ascii_digit()).count();
    if n_digits > 0 && body[n_digits..].starts_with(b": ") {
        let name = from + n_digits + 2;
        let n = name_len(&record[name..to]);
        let is_name = n > 0 && !record[name..name + n].contains(&b' ');
        return if is_name { Line::Frame(name, name + n) } else { Line::Other };
    }
    // `#0 /srv/cart.php(12): Cart->add()`
    if body.first() == Some(&b'#')
        && let Some(n) = rfind(body, b"): ")
    {
        let name = from + n + 3;
        return Line::Frame(name, name + name_len(&record[name..to]));
    }
    // `from /srv/cart.rb:12:in 'add'`
    if body.starts_with(b"from ")
        && let Some(n) = rfind(body, b":in ")
    {
        return Line::Frame(from + n + 1, to);
    }
    // `main.(*Cart).Add(0xc0000)` and the place of it in the next line.
    let place = record.get(end + 1..).unwrap_or_default();
    if indent == 0
        && place.first() == Some(&b'\t')
        && body.ends_with(b")")
        && let Some(n) = body.iter().rposition(|b| *b == b'(').filter(|n| *n > 0)
        && body[..n].iter().all(|b| !matches!(b, b' ' | b'\t'))
    {
        return Line::Frame(from, from + n);
    }
    let named = if has_python { Named::ByEndingOrDots } else { Named::ByEnding };
    let n_type = type_len(body);
    if indent == 0 && n_type > 0 && exception_name(body, named) == Some(n_type) {
        return Line::Cause(from, from + n_type);
    }
    Line::Other
}

/// Length of the name of a call behind `at `: `shop.Cart.add` of `shop.Cart.add(Cart.java:12)`.
fn call(rest: &[u8]) -> Option<usize> {
    let open = rest.iter().position(|b| *b == b'(');
    let n = match open {
        // Java and .NET glue the bracket; Node does not, and has a place in it.
        Some(n) if n > 0 && rest[n - 1] == b' ' => {
            let inner = &rest[n..];
            let is_place = inner.contains(&b':') || inner.starts_with(b"(<") || inner.starts_with(b"(native");
            return (is_place && n > 1).then(|| name_len(&rest[..n - 1])).filter(|n| *n > 0);
        }
        Some(n) if n > 0 => n,
        _ => rest.iter().position(|b| *b == b' ').unwrap_or(rest.len()),
    };
    let name = &rest[..n];
    let has_place = open.is_some() || name.contains(&b':') || name.contains(&b'.');
    let is_prose = name.iter().filter(|b| **b == b' ').count() > 1;
    let kept = name_len(name);
    (kept > 0 && has_place && !is_prose).then_some(kept)
}

/// How much of a call's name stays: generated parts such as `$$Lambda$14` and numbers of lines go.
fn name_len(name: &[u8]) -> usize {
    const PARTS: &[u8] = b".$@:/";
    let end = name.iter().position(|b| *b == b'(').unwrap_or(name.len());
    let name = &name[..end];
    let generated = (0..name.len()).find(|&n| {
        matches!(name[n], b'$' | b'@' | b':' | b'/')
            && name[n + 1..].iter().take_while(|b| !PARTS.contains(b)).any(u8::is_ascii_digit)
    });
    let kept = &name[..generated.unwrap_or(name.len())];
    kept.len() - kept.iter().rev().take_while(|b| PARTS.contains(b)).count()
}

/// Length of a type's name at the start of a text.
fn type_len(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$' | b'\\')).count()
}

/// By what a type's name is known to be an exception's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    ByEnding,
    ByEndingOrDots,
}

/// Where an exception's name ends in a line that is one: `[Exception in thread "main" ]java.lang.Error: text`.
fn exception_name(line: &[u8], named: Named) -> Option<usize> {
    let start = match line.strip_prefix(b"Exception in thread \"") {
        Some(rest) => line.len() - rest.len() + rest.iter().position(|b| *b == b'"')? + 2,
        None => line.strip_prefix(b"Uncaught ").map_or(0, |_| b"Uncaught ".len()),
    };
    let rest = line.get(start..)?;
    let n = type_len(rest);
    let name = &rest[..n];
    let has_ending = [b"Exception".as_slice(), b"Error", b"Throwable", b"Interrupt", b"Warning", b"Exit"]
        .iter()
        .any(|end| name.ends_with(end));
    let is_ended = matches!(rest.get(n), None | Some(b':') | Some(b'\r')) || rest[n..].starts_with(b" [");
    let is_named = has_ending || named == Named::ByEndingOrDots && name.contains(&b'.');
    (is_ended && is_named).then_some(start + n)
}

fn rfind(text: &[u8], part: &[u8]) -> Option<usize> {
    (0..=text.len().checked_sub(part.len())?).rev().find(|&n| text[n..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::super::{Splitter, restore};

    /// Splits a record, checks that nothing is lost, and shows the pattern.
    fn pattern(record: &str) -> String {
        let mut splitter = Splitter::default();
        let split = splitter.split(record.as_bytes());
        let mut back = Vec::new();
        let variables = split.variables.iter().map(|span| span.of(record.as_bytes()));
        assert!(restore(split.pattern, variables, &mut back) && back == record.as_bytes(), "{record}");
        String::from_utf8(split.pattern.to_vec()).unwrap().replace('\0', "<*>")
    }

    #[track_caller]
    fn check(record: &str, want: &str) {
        assert_eq!(pattern(record), want);
    }

    #[test]
    fn java_is_named_by_its_root_cause_and_the_programs_own_frame() {
        check(
            "order 17 failed\n\
             shop.OrderException: card 4711 refused\n\
             \tat shop.Orders.place(Orders.java:88)\n\
             \tat shop.Main.main(Main.java:3)\n\
             Caused by: java.net.SocketTimeoutException: Read timed out\n\
             \tat java.net.SocketInputStream.read(SocketInputStream.java:150)\n\
             \tat shop.Cards$Client.charge(Cards.java:41)\n\
             \t... 12 more\n",
            "order <*> failed\n<*>Caused by: java.net.SocketTimeoutException<*>at shop.Cards$Client.charge<*>",
        );
        check(
            "cannot save cart 7\njava.io.IOException: disk full\n\tat shop.Disk.write(Disk.java:3)\n",
            "cannot save cart <*>\njava.io.IOException<*>at shop.Disk.write<*>",
        );
        check(
            "Exception in thread \"worker-7\" java.lang.IllegalStateException: no cart for 12\n\
             \tat shop.Cart$$EnhancerBySpring$$1f2e.add(<generated>)\n\tat shop.Main.run(Main.java:9)",
            "Exception in thread \"<*>\" java.lang.IllegalStateException<*>\n<*>at shop.Cart$$EnhancerBySpring<*>",
        );
    }

    #[test]
    fn other_languages_are_known() {
        check(
            "Traceback (most recent call last):\n  File \"/srv/cart.py\", line 12, in add\n    x = y[i]\n\
             IndexError: list index out of range",
            "Traceback (most recent call last):\n<*>in add<*>IndexError<*>",
        );
        check(
            "TypeError: Cannot read properties of undefined (reading 'price')\n\
             \x20   at Cart.total (/srv/cart.js:41:17)\n    at process.processTicksAndRejections (node:internal:95:5)",
            "TypeError<*>\n<*>at Cart.total<*>",
        );
        check(
            "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\n\
             panic({0x48, 0x49})\n\t/go/panic.go:884 +0x1\nmain.(*Cart).Add(0xc000012)\n\t/srv/cart.go:12 +0x5\n",
            "panic: runtime error: index out of range [<*>] with length <*>\n<*>main.(*Cart).Add<*>",
        );
        check(
            "Unhandled exception. System.InvalidOperationException: outer\n\
             \x20---> System.IO.IOException: disk 3 full\n   at Shop.Cart.Save(String path) in /srv/Cart.cs:line 7\n\
             \x20  --- End of inner exception stack trace ---\n   at Shop.Main.Run()\n",
            "Unhandled exception. System.InvalidOperationException: outer\n<*>---> System.IO.IOException<*>at Shop.Cart.Save<*>",
        );
        check(
            "PHP Fatal error: Uncaught Error: no price in /srv/cart.php:3\nStack trace:\n\
             #0 /srv/cart.php(12): Cart->price(4)\n#1 {main}",
            "PHP Fatal error: Uncaught Error: no price in <*>\n<*>Cart->price<*>",
        );
        check(
            "thread 'main' panicked at src/main.rs:4:5:\nno price\nstack backtrace:\n   0: rust_begin_unwind\n\
             \x20            at /rustc/a1b2/library/std/src/panicking.rs:597:5\n   1: core::panicking::panic_fmt\n\
             \x20  2: cart::total::h0a1b2c3d\n             at ./src/main.rs:4:5\n",
            "thread 'main' panicked at src/main.rs:<*>:\n<*>cart::total<*>",
        );
        check(
            "/srv/cart.rb:12:in 'add': no price (ArgumentError)\n\tfrom /srv/main.rb:3:in 'run'\n",
            "<*> 'add': no price (ArgumentError)\n<*>in 'run'<*>",
        );
    }

    #[test]
    fn records_of_many_lines_without_frames_are_split_as_before() {
        let record = "SELECT a\nFROM carts\nWHERE id = 12";
        assert_eq!(pattern(record), "SELECT a\nFROM carts\nWHERE id = <*>");
        assert_eq!(pattern("meet\nat noon (or later)"), "meet\nat noon (or later)");
    }

    #[test]
    fn what_was_said_and_who_called_makes_no_new_pattern() {
        let record = |said: &str, caller: &str| {
            format!(
                "java.lang.IllegalStateException: {said}\n\tat shop.Cart.add(Cart.java:1)\n\tat {caller}(X.java:3)"
            )
        };
        let first = pattern(&record("no cart", "shop.A.run"));
        assert_eq!(first, pattern(&record("cart 12 is gone: try again", "shop.B.run")));
        assert_ne!(
            first,
            pattern(&record("no cart", "shop.A.run").replace("IllegalState", "IllegalArgument"))
        );
        assert_ne!(first, pattern(&record("no cart", "shop.A.run").replace("Cart.add", "Cart.drop")));
    }
}
