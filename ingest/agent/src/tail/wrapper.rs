//! What container runtimes put around a program's lines.

use std::borrow::Cow;

use serde::Deserialize;

use super::parse::{Context, time_of};
use crate::clock::Timestamp;

/// Which runtime wrote a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wrapper {
    /// Each line is looked at.
    #[default]
    Detect,
    /// None: lines are the program's own.
    Bare,
    /// Docker's json-file driver.
    Docker,
    /// containerd and CRI-O.
    Cri,
}

/// Where a program wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// To a file of its own.
    File,
    Stdout,
    Stderr,
}

impl Stream {
    /// Returns OpenTelemetry's name for it.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::File => None,
            Self::Stdout => Some("stdout"),
            Self::Stderr => Some("stderr"),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A program's line, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unwrapped<'a> {
    pub(super) stream: Stream,
    pub(super) time: Option<Timestamp>,
    pub(super) text: Cow<'a, str>,
    /// The rest comes with the stream's next line.
    pub(super) unfinished: bool,
}

/// Takes off what the runtime put around a line; one that it did not write is bare.
pub(super) fn unwrap<'a>(line: Cow<'a, str>, wrapper: Wrapper, context: &Context<'_>) -> Unwrapped<'a> {
    let found = match &line {
        Cow::Borrowed(line) => read(line, wrapper, context),
        Cow::Owned(line) => read(line, wrapper, context).map(into_owned),
    };
    found.unwrap_or(Unwrapped { stream: Stream::File, time: None, text: line, unfinished: false })
}

fn into_owned(found: Unwrapped<'_>) -> Unwrapped<'static> {
    let Unwrapped { stream, time, text, unfinished } = found;
    Unwrapped { stream, time, text: Cow::Owned(text.into_owned()), unfinished }
}

fn read<'a>(line: &'a str, wrapper: Wrapper, context: &Context<'_>) -> Option<Unwrapped<'a>> {
    match wrapper {
        Wrapper::Bare => None,
        Wrapper::Docker => docker(line, context),
        Wrapper::Cri => cri(line, context),
        // The driver writes `log` first, always.
        Wrapper::Detect if line.starts_with("{\"log\":\"") => docker(line, context),
        Wrapper::Detect if line.starts_with(|c: char| c.is_ascii_digit()) => cri(line, context),
        Wrapper::Detect => None,
    }
}

/// `{"log":"text\n","stream":"stdout","time":"..."}`: lines above 16 KiB come in parts without the newline.
fn docker<'a>(line: &'a str, context: &Context<'_>) -> Option<Unwrapped<'a>> {
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        log: Cow<'a, str>,
        #[serde(borrow)]
        stream: Cow<'a, str>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let entry: Entry<'a> = serde_json::from_str(line).ok()?;
    let unfinished = !entry.log.ends_with('\n');
    let text = match entry.log {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(mut text) => {
            text.truncate(text.trim_end_matches('\n').len().max(text.len().saturating_sub(1)));
            if text.ends_with('\r') && !unfinished {
                text.pop();
            }
            Cow::Owned(text)
        }
    };
    let stream = Stream::from_name(&entry.stream)?;
    Some(Unwrapped { stream, time: time_of(&entry.time, context), text, unfinished })
}

/// `2026-11-21T10:00:00.123456789Z stdout F text`: `P` in the third place marks a part.
fn cri<'a>(line: &'a str, context: &Context<'_>) -> Option<Unwrapped<'a>> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ')?;
    let stream = Stream::from_name(stream)?;
    let (tags, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let unfinished = match tags.split(':').next()? {
        "P" => true,
        "F" => false,
        _ => return None,
    };
    let time = Some(time_of(time, context)?);
    Some(Unwrapped { stream, time, text: Cow::Borrowed(text), unfinished })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tail::parse::Zone;

    fn check(line: &str) -> Unwrapped<'_> {
        let zone = Zone::default();
        unwrap(Cow::Borrowed(line), Wrapper::Detect, &Context { zone: &zone, now: Timestamp::default() })
    }

    #[test]
    fn docker_and_cri_lines_are_told_apart_from_bare_ones() {
        let docker = check(r#"{"log":"a \"b\"\n","stream":"stderr","time":"2026-11-21T10:00:00.5Z"}"#);
        assert_eq!(
            (docker.text.as_ref(), docker.stream, docker.unfinished),
            ("a \"b\"", Stream::Stderr, false)
        );
        assert_eq!(docker.time, Some(Timestamp::from_millis(1_795_255_200_500)));
        let part = check(r#"{"log":"half","stream":"stdout","time":"2026-11-21T10:00:00Z"}"#);
        assert_eq!((part.text.as_ref(), part.unfinished), ("half", true));
        let empty = check(r#"{"log":"\n","stream":"stdout","time":"2026-11-21T10:00:00Z"}"#);
        assert_eq!((empty.text.as_ref(), empty.unfinished), ("", false));
        let cri = check("2026-11-21T10:00:00.5Z stdout P half a line");
        assert_eq!((cri.text.as_ref(), cri.stream, cri.unfinished), ("half a line", Stream::Stdout, true));
        let bare = check("2026-11-21T10:00:00.5Z INFO stdout F");
        assert_eq!((bare.stream, bare.time), (Stream::File, None));
        assert_eq!(check(r#"{"log":"x"}"#).stream, Stream::File);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line: String, tail in ".{0,30}") {
            check(&line);
            check(&format!("{{\"log\":\"{tail}"));
            check(&format!("2026-11-21T10:00:00Z {tail}"));
        }

        #[test]
        fn docker_text_comes_back(text in "[^\n\r]{0,40}") {
            let entry = serde_json::json!({
                "log": format!("{text}\n"), "stream": "stdout", "time": "2026-11-21T10:00:00Z",
            });
            // The driver writes `log` first, and so does serde_json, whose objects are sorted.
            let line = entry.to_string();
            let found = check(&line);
            prop_assert_eq!(found.text.as_ref(), text);
        }
    }
}
