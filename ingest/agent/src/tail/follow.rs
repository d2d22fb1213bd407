//! One open file: reads what is new in it, and notices when it is not the same file any more.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use greylight_wire::logs::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::assemble::{Assembler, Input, Output};
use super::identity::{BOUNDARIES_MAX, Boundary, FileMark, HEAD_BYTES, Inode, Stat, WINDOW_BYTES};
use super::lines::{Line, Lines};
use super::parse::Context;
use super::source::Source;

/// What a look at a file brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing new.
    Idle,
    /// This many bytes.
    Read(usize),
    /// The bytes that were read are not there any more: the file was truncated or written anew.
    Replaced,
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) id: u64,
    pub(super) source: Arc<Source>,
    pub(super) resource: Arc<[(String, Value)]>,
    pub(super) path: PathBuf,
    pub(super) at: PathBuf,
    pub(super) inode: Inode,
    pub(super) file: File,
    /// Since when no pattern has found it.
    pub(super) gone_since: Option<Duration>,
    pub(super) last_growth: Duration,
    /// The ledger does not know its state yet.
    pub(super) changed: bool,
    size: u64,
    checked: i128,
    read_to: u64,
    head: Vec<u8>,
    window: Vec<u8>,
    boundaries: Vec<Boundary>,
    /// What was known of the file when it was taken up again: more than is known here until as much is read again.
    inherited: FileMark,
    lines: Lines,
    assembler: Assembler,
}

impl Follower {
    /// Follows a file as `mark` describes it, which the caller has compared with the file.
    pub(super) fn new(
        mark: FileMark,
        source: Arc<Source>,
        resource: Arc<[(String, Value)]>,
        file: File,
        now: Duration,
    ) -> io::Result<Self> {
        let stat = Stat::of(&file.metadata()?);
        // Reading begins at the first line that is not queued; lines behind it that are will be left out.
        let read_to = mark.offset;
        let mut head = vec![0; usize::try_from(read_to).unwrap_or(HEAD_BYTES).min(HEAD_BYTES)];
        file.read_exact_at(&mut head, 0)?;
        let mut window = vec![0; usize::try_from(read_to).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES)];
        let window_start = read_to - window.len() as u64;
        file.read_exact_at(&mut window, window_start)?;
        let mut inherited = mark.clone();
        // A copy may be shorter than what was read of its original.
        inherited.boundaries.retain(|boundary| boundary.at <= stat.size);
        let mut boundaries = mark.boundaries;
        boundaries.retain(|boundary| boundary.at < read_to);
        if read_to > 0 {
            boundaries.push(Boundary { at: read_to, hash: xxh3_64(&window) });
        }
        Ok(Self {
            id: mark.id,
            lines: Lines::new(mark.offset, mark.cutting, source.config.line_bytes_max),
            assembler: Assembler::new(source.rules(), mark.offset, mark.done),
            source,
            resource,
            path: mark.path,
            at: mark.at,
            inode: stat.inode,
            file,
            gone_since: None,
            last_growth: now,
            changed: true,
            size: stat.size,
            checked: stat.changed,
            read_to,
            head,
            window,
            boundaries,
            inherited,
        })
    }

    /// Returns what the ledger should hold of it.
    pub(super) fn mark(&self) -> FileMark {
        let consumed = self.lines.start();
        let offset = self.assembler.offset(consumed);
        let (head_len, head_hash, boundaries) = if self.inherited.read_to() > self.read_to {
            (self.inherited.head_len, self.inherited.head_hash, self.inherited.boundaries.clone())
        } else {
            let head_len = u16::try_from(self.head.len()).unwrap_or(u16::MAX);
            (head_len, xxh3_64(&self.head), self.boundaries.clone())
        };
        FileMark {
            id: self.id,
            path: self.path.clone(),
            at: self.at.clone(),
            inode: self.inode,
            offset,
            done: self.assembler.done().collect(),
            cutting: offset == consumed && self.lines.cutting(),
            head_len,
            head_hash,
            boundaries,
            ended: None,
        }
    }

    /// Returns how many bytes are known to be left.
    pub(super) fn lag(&self) -> u64 {
        self.size.saturating_sub(self.read_to)
    }

    /// Returns the file's size when it was last looked at.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns up to where the file was read.
    pub(super) fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Reads once into `buf` and gives out the records that this completes.
    pub(super) fn read(
        &mut self,
        buf: &mut [u8],
        context: &Context<'_>,
        now: Duration,
        give: &mut dyn FnMut(Output<'_>),
    ) -> io::Result<Progress> {
        let n = self.file.read_at(buf, self.read_to)?;
        let stat = Stat::of(&self.file.metadata()?);
        self.size = stat.size;
        if stat.size < self.read_to + n as u64 {
            return Ok(Progress::Replaced);
        }
        // Looked at after reading: what a truncation before it has put there is then not taken for the next line.
        if (n > 0 || stat.changed != self.checked) && !self.is_as_read()? {
            return Ok(Progress::Replaced);
        }
        self.checked = stat.changed;
        if n == 0 {
            return Ok(Progress::Idle);
        }
        self.remember(&buf[..n]);
        self.last_growth = now;
        self.changed = true;
        let Self { lines, assembler, source, .. } = self;
        lines.push(&buf[..n], |line| take_line(line, source.encoding, assembler, context, now, give));
        Ok(Progress::Read(n))
    }

    /// Gives out what has waited long enough: a record for more lines, a line for its newline.
    pub(super) fn expire(
        &mut self,
        partial_after: Duration,
        context: &Context<'_>,
        now: Duration,
        give: &mut dyn FnMut(Output<'_>),
    ) {
        let before = self.assembler.offset(self.lines.start());
        if self.lines.has_rest() && now.saturating_sub(self.last_growth) >= partial_after {
            self.finish_line(context, now, give);
        }
        self.assembler.expire(now, &mut *give);
        self.changed |= self.assembler.offset(self.lines.start()) != before;
    }

    /// Gives out everything, as nothing will follow.
    pub(super) fn finish(&mut self, context: &Context<'_>, now: Duration, give: &mut dyn FnMut(Output<'_>)) {
        self.finish_line(context, now, give);
        self.assembler.finish(&mut *give);
        self.changed = true;
    }

    fn finish_line(&mut self, context: &Context<'_>, now: Duration, give: &mut dyn FnMut(Output<'_>)) {
        let Self { lines, assembler, source, .. } = self;
        lines.finish(|line| take_line(line, source.encoding, assembler, context, now, give));
    }

    /// Tells whether the bytes that were read are still there.
    fn is_as_read(&self) -> io::Result<bool> {
        let mut bytes = [0; HEAD_BYTES];
        for (expected, at) in [(&self.head, 0), (&self.window, self.read_to - self.window.len() as u64)] {
            let bytes = &mut bytes[..expected.len()];
            match self.file.read_exact_at(bytes, at) {
                Ok(()) if bytes == expected.as_slice() => {}
                Ok(()) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    fn remember(&mut self, bytes: &[u8]) {
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        if bytes.len() >= WINDOW_BYTES {
            self.window.clear();
            self.window.extend_from_slice(&bytes[bytes.len() - WINDOW_BYTES..]);
        } else {
            let over = (self.window.len() + bytes.len()).saturating_sub(WINDOW_BYTES);
            self.window.drain(..over);
            self.window.extend_from_slice(bytes);
        }
        self.read_to += bytes.len() as u64;
        if self.boundaries.len() == BOUNDARIES_MAX {
            self.boundaries.remove(0);
        }
        self.boundaries.push(Boundary { at: self.read_to, hash: xxh3_64(&self.window) });
    }
}

fn take_line(
    line: Line<'_>,
    encoding: &'static Encoding,
    assembler: &mut Assembler,
    context: &Context<'_>,
    now: Duration,
    give: &mut dyn FnMut(Output<'_>),
) {
    let text = if encoding == UTF_8 {
        // As `decode` does, but it would also take off a byte order mark, which is the line's.
        String::from_utf8_lossy(line.bytes)
    } else {
        encoding.decode_without_bom_handling(line.bytes).0
    };
    // A byte order mark before the first line of a file is no part of its text.
    let text = match text {
        Cow::Borrowed(text) if line.start == 0 => {
            Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text))
        }
        other => other,
    };
    let Line { start, end, cut, partial, .. } = line;
    assembler.push(Input { start, end, text, cut, partial }, context, now, give);
}
