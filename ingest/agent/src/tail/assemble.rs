//! Makes records of lines: joins what a runtime has split and what a stack trace spreads over lines.
//!
//! Invariant: the lines before [`Assembler::offset`] and those in [`Assembler::done`] are the ones given out, so a
//! reader that begins at the one and leaves out the others gives out every line once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use smallvec::SmallVec;

use super::multiline::{self, Mode};
use super::parse::{self, Context, Format};
use super::wrapper::{self, Stream, Unwrapped, Wrapper};
use crate::clock::Timestamp;

// A record of more lines or bytes is cut in two: it is no stack trace any more.
const RECORD_LINES_MAX: usize = 500;
const RECORD_BYTES_MAX: usize = 1024 * 1024;
// Lines of one stream that may overtake a waiting one of the other; each costs eight bytes of ledger.
const DONE_MAX: usize = 1000;

/// How lines become records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) wrapper: Wrapper,
    pub(super) format: Format,
    pub(super) multiline: bool,
    /// How long a record waits for lines that may belong to it.
    pub(super) wait: Duration,
}

/// A line on its way in.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) text: Cow<'a, str>,
    pub(super) cut: bool,
    pub(super) partial: bool,
}

/// A record on its way out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Output<'a> {
    /// Offset of its first line.
    pub(super) start: u64,
    pub(super) text: &'a str,
    /// The time that the runtime noted.
    pub(super) time: Option<Timestamp>,
    pub(super) stream: Stream,
    pub(super) cut: bool,
    pub(super) partial: bool,
}

#[derive(Debug)]
struct Waiting {
    stream: Stream,
    lines: SmallVec<[u64; 4]>,
    text: String,
    time: Option<Timestamp>,
    mode: Mode,
    headed: bool,
    /// The last line is a part of one that the runtime has split.
    unfinished: bool,
    cut: bool,
    partial: bool,
    touched: Duration,
}

impl Waiting {
    fn start(&self) -> u64 {
        self.lines.first().copied().unwrap_or(u64::MAX)
    }
}

/// Joins the lines of one file.
#[derive(Debug)]
pub(super) struct Assembler {
    rules: Rules,
    /// At most one a stream.
    waiting: SmallVec<[Waiting; 2]>,
    consumed: u64,
    done: BTreeSet<u64>,
}

impl Assembler {
    /// Begins at `offset`; the lines in `done` were given out before.
    pub(super) fn new(rules: Rules, offset: u64, done: impl IntoIterator<Item = u64>) -> Self {
        Self { rules, waiting: SmallVec::new(), consumed: offset, done: done.into_iter().collect() }
    }

    /// Returns the offset before which every line was given out; `consumed` if none waits.
    pub(super) fn offset(&self, consumed: u64) -> u64 {
        self.waiting.iter().map(Waiting::start).min().unwrap_or(consumed)
    }

    /// Returns the lines behind [`offset`](Self::offset) that were given out.
    pub(super) fn done(&self) -> impl Iterator<Item = u64> {
        self.done.iter().copied()
    }

    /// Takes a line, and gives out what it completes.
    pub(super) fn push(
        &mut self,
        line: Input<'_>,
        context: &Context<'_>,
        now: Duration,
        mut give: impl FnMut(Output<'_>),
    ) {
        self.consumed = line.end;
        if self.done.contains(&line.start) {
            return;
        }
        let Input { start, cut, partial, .. } = line;
        let unwrapped = wrapper::unwrap(line.text, self.rules.wrapper, context);
        let slot = self.waiting.iter().position(|waiting| waiting.stream == unwrapped.stream);
        if let Some(slot) = slot {
            if self.extend(slot, start, &unwrapped, now) {
                return;
            }
            self.give_slot(slot, &mut give);
        }
        let Unwrapped { stream, time, text, unfinished } = unwrapped;
        let alone = !unfinished && (!self.rules.multiline || parse::is_whole(&text, self.rules.format));
        if alone {
            give(Output { start, text: &text, time, stream, cut, partial });
            return self.note_done([start], &mut give);
        }
        self.waiting.push(Waiting {
            stream,
            lines: SmallVec::from_slice(&[start]),
            mode: multiline::begin(&text),
            headed: parse::starts_with_time(&text) || time.is_some(),
            text: text.into_owned(),
            time,
            unfinished,
            cut,
            partial,
            touched: now,
        });
    }

    /// Adds a line to what waits in `slot` if it belongs there.
    fn extend(&mut self, slot: usize, start: u64, line: &Unwrapped<'_>, now: Duration) -> bool {
        let waiting = &mut self.waiting[slot];
        if waiting.lines.len() >= RECORD_LINES_MAX || waiting.text.len() + line.text.len() > RECORD_BYTES_MAX
        {
            return false;
        }
        if !waiting.unfinished {
            let more = multiline::goes_on(&line.text, waiting.mode, waiting.headed, self.rules.format);
            match more.filter(|_| self.rules.multiline) {
                Some(mode) => waiting.mode = mode,
                None => return false,
            }
            waiting.text.push('\n');
        }
        waiting.text.push_str(&line.text);
        waiting.lines.push(start);
        waiting.unfinished = line.unfinished;
        waiting.touched = now;
        true
    }

    /// Gives out what has waited long enough.
    pub(super) fn expire(&mut self, now: Duration, mut give: impl FnMut(Output<'_>)) {
        while let Some(slot) =
            self.waiting.iter().position(|waiting| now.saturating_sub(waiting.touched) >= self.rules.wait)
        {
            self.give_slot(slot, &mut give);
        }
    }

    /// Gives out everything that waits.
    pub(super) fn finish(&mut self, mut give: impl FnMut(Output<'_>)) {
        while !self.waiting.is_empty() {
            self.give_slot(0, &mut give);
        }
    }

    fn give_slot(&mut self, slot: usize, give: &mut impl FnMut(Output<'_>)) {
        let waiting = self.waiting.remove(slot);
        let Waiting { lines, text, time, stream, cut, partial, unfinished, .. } = waiting;
        let partial = partial || unfinished;
        give(Output { start: lines[0], text: &text, time, stream, cut, partial });
        self.note_done(lines, give);
    }

    fn note_done(&mut self, lines: impl IntoIterator<Item = u64>, give: &mut impl FnMut(Output<'_>)) {
        if self.waiting.is_empty() {
            return self.done.clear();
        }
        self.done.extend(lines);
        self.prune();
        if self.done.len() > DONE_MAX {
            let oldest = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.start());
            if let Some((slot, _)) = oldest {
                self.give_slot(slot, give);
            }
        }
    }

    /// Forgets the lines that lie before the offset.
    fn prune(&mut self) {
        let offset = self.offset(self.consumed);
        if self.done.first().is_some_and(|&first| first < offset) {
            self.done = self.done.split_off(&offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tail::parse::Zone;

    const RULES: Rules = Rules {
        wrapper: Wrapper::Detect,
        format: Format::Auto,
        multiline: true,
        wait: Duration::from_millis(500),
    };

    fn feed(assembler: &mut Assembler, text: &str, from: u64, now_ms: u64) -> Vec<(u64, String)> {
        let zone = Zone::default();
        let context = Context { zone: &zone, now: Timestamp::default() };
        let now = Duration::from_millis(now_ms);
        let mut out = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let end = start + line.len() as u64;
            let text = Cow::Borrowed(line.trim_end_matches('\n'));
            if start >= from {
                let input = Input { start, end, text, cut: false, partial: false };
                assembler.push(input, &context, now, |o| out.push((o.start, o.text.to_owned())));
            }
            start = end;
        }
        out
    }

    #[test]
    fn parts_of_a_line_and_lines_of_a_trace_are_joined_by_stream() {
        let text = "2026-11-21T10:00:00Z stderr F java.lang.Error: x\n\
            2026-11-21T10:00:00Z stdout P one \n\
            2026-11-21T10:00:00Z stderr F \tat A.b(A.java:1)\n\
            2026-11-21T10:00:00Z stdout F line\n\
            2026-11-21T10:00:00Z stdout F next\n";
        let mut assembler = Assembler::new(RULES, 0, []);
        let mut out = feed(&mut assembler, text, 0, 0);
        assert_eq!(out.iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>(), ["one line"]);
        assert_eq!(assembler.offset(text.len() as u64), 0);
        assert_eq!(assembler.done().count(), 2);
        assembler.expire(Duration::from_millis(499), |_| panic!("too early"));
        assembler.expire(Duration::from_millis(500), |o| out.push((o.start, o.text.to_owned())));
        assert_eq!(out[1].1, "java.lang.Error: x\n\tat A.b(A.java:1)");
        assert_eq!(out[2].1, "next");
        assert_eq!(assembler.offset(text.len() as u64), text.len() as u64);
        assert_eq!(assembler.done().count(), 0);
    }

    #[test]
    fn a_record_ends_at_its_cap() {
        let text = format!("head\n{}", " more\n".repeat(1200));
        let mut assembler = Assembler::new(RULES, 0, []);
        let mut out = feed(&mut assembler, &text, 0, 0);
        assembler.finish(|o| out.push((o.start, o.text.to_owned())));
        let lines: Vec<usize> = out.iter().map(|(_, t)| t.lines().count()).collect();
        assert_eq!(lines, [500, 500, 201]);
    }

    proptest! {
        #[test]
        fn a_restart_anywhere_gives_out_every_line_once(
            lines in proptest::collection::vec((0_usize..2, 0_usize..4, any::<bool>()), 1..40),
            stop in 0_usize..40, expire: bool,
        ) {
            let mut text = String::new();
            for (i, (stream, kind, part)) in lines.iter().enumerate() {
                let stream = ["stdout", "stderr"][*stream];
                let tag = if *part { "P" } else { "F" };
                let body = ["plain", " indented", "{\"a\":1}", "Traceback (most recent call last):"][*kind];
                text.push_str(&format!("2026-11-21T10:00:00Z {stream} {tag} {body} #{i}#\n"));
            }
            let cut: usize = text.split_inclusive('\n').take(stop).map(str::len).sum();
            let mut first = Assembler::new(RULES, 0, []);
            let mut out = feed(&mut first, &text[..cut], 0, 0);
            if expire {
                first.expire(Duration::from_secs(1), |o| out.push((o.start, o.text.to_owned())));
            }
            let offset = first.offset(cut as u64);
            let mut second = Assembler::new(RULES, offset, first.done());
            out.extend(feed(&mut second, &text, offset, 2000));
            second.finish(|o| out.push((o.start, o.text.to_owned())));
            let all: String = out.iter().map(|(_, text)| text.as_str()).collect();
            for i in 0..lines.len() {
                prop_assert_eq!(all.matches(&format!("#{i}#")).count(), 1, "line {}", i);
            }
        }
    }
}
