//! Cuts a file's bytes into lines.

/// A line as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Offset of its first byte.
    pub(super) start: u64,
    /// Offset behind its newline.
    pub(super) end: u64,
    /// Its bytes without the newline; only the first ones if it was cut.
    pub(super) bytes: &'a [u8],
    /// It was longer than allowed.
    pub(super) cut: bool,
    /// It had no newline when its file ended or rested.
    pub(super) partial: bool,
}

/// Cuts bytes that come in pieces into lines; holds at most one unfinished line.
#[derive(Debug)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Offset of the first byte that belongs to no line given out yet.
    start: u64,
    cutting: bool,
    line_bytes_max: usize,
}

impl Lines {
    /// Begins at `start`; `cutting` if that lies in a line of which the beginning was given out.
    pub(super) fn new(start: u64, cutting: bool, line_bytes_max: usize) -> Self {
        Self { held: Vec::new(), start, cutting, line_bytes_max }
    }

    /// Returns the offset of the first byte that belongs to no line given out.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Tells whether [`start`](Self::start) lies in a line that was cut.
    pub(super) fn cutting(&self) -> bool {
        self.cutting
    }

    /// Tells whether an unfinished line is held.
    pub(super) fn has_rest(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the next bytes of the file.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut give: impl FnMut(Line<'_>)) {
        while let Some(newline) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..newline], &bytes[newline + 1..]);
            if self.cutting {
                self.cutting = false;
                self.start += line.len() as u64 + 1;
            } else if self.held.is_empty() {
                self.give(line, 1, &mut give);
            } else {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(line);
                self.give(&held, 1, &mut give);
                held.clear();
                self.held = held;
            }
            bytes = rest;
        }
        if self.cutting {
            self.start += bytes.len() as u64;
            return;
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() > self.line_bytes_max {
            let held = std::mem::take(&mut self.held);
            self.give(&held, 0, &mut give);
            self.cutting = true;
        } else if self.held.is_empty() {
            // One long line must not keep its memory for good.
            self.held.shrink_to(4096);
        }
    }

    /// Gives out the unfinished line, if there is one.
    pub(super) fn finish(&mut self, mut give: impl FnMut(Line<'_>)) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            let (start, end) = (self.start, self.start + held.len() as u64);
            self.start = end;
            give(Line { start, end, bytes: &held, cut: false, partial: true });
        }
    }

    fn give(&mut self, line: &[u8], newline_bytes: u64, give: &mut impl FnMut(Line<'_>)) {
        let (start, end) = (self.start, self.start + line.len() as u64 + newline_bytes);
        self.start = end;
        let cut = line.len() > self.line_bytes_max;
        let kept = if cut { &line[..self.line_bytes_max] } else { line };
        let kept = if cut { kept } else { kept.strip_suffix(b"\r").unwrap_or(kept) };
        give(Line { start, end, bytes: kept, cut, partial: false });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut_up(bytes: &[u8], pieces: &[usize], max: usize) -> Vec<(u64, u64, Vec<u8>, bool)> {
        let mut lines = Lines::new(0, false, max);
        let mut found = Vec::new();
        let mut rest = bytes;
        for &n in pieces.iter().chain([&usize::MAX]) {
            let (piece, after) = rest.split_at(n.min(rest.len()));
            lines.push(piece, |line| found.push((line.start, line.end, line.bytes.to_vec(), line.cut)));
            rest = after;
        }
        lines.finish(|line| found.push((line.start, line.end, line.bytes.to_vec(), line.cut)));
        found
    }

    #[test]
    fn a_long_line_is_cut_once_and_its_rest_is_skipped() {
        let found = cut_up(b"abcdefghij\nxy\r\nz", &[3, 3, 1], 4);
        let show: Vec<_> =
            found.iter().map(|(_, _, b, cut)| (std::str::from_utf8(b).unwrap(), *cut)).collect();
        assert_eq!(show, [("abcd", true), ("xy", false), ("z", false)]);
        assert_eq!(found[1].0, 11);
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200),
            pieces in proptest::collection::vec(0_usize..20, 0..30),
        ) {
            let whole = cut_up(&bytes, &[], 1000);
            prop_assert_eq!(&cut_up(&bytes, &pieces, 1000), &whole);
            let n_lines = bytes.split(|b| *b == b'\n').count() - usize::from(bytes.last().is_none_or(|b| *b == b'\n'));
            prop_assert_eq!(whole.len(), n_lines);
            let starts = |pieces: &[usize]| -> Vec<u64> { cut_up(&bytes, pieces, 5).iter().map(|l| l.0).collect() };
            prop_assert_eq!(starts(&pieces), starts(&[]));
        }
    }
}
