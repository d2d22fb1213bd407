//! Decides which files are followed: what is new, what has moved, what is a copy of what was read.
//!
//! The rules, in their order, for a file that no follower has open:
//!
//! 1. Its inode is known, and it holds what was read: it goes on where reading stopped.
//! 2. A file of an earlier run has not been found so: its rest is looked for beside it, under another name.
//! 3. Its name is that of a rotated copy, and it holds what was read of another file: it continues that one if that
//!    was truncated, and is left alone while that one is still there.
//! 4. It is new, and is read from its start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::follow::Follower;
use super::identity::{FileMark, HEAD_BYTES, Inode, Likeness, Relation, Stat, WINDOW_BYTES};
use super::source::{Source, StartAt};
use super::{Tailer, format, glob};
use crate::queue::Mark;

// A copy in the making grows; one that has not grown for this long is no copy.
const HOLD: Duration = Duration::from_secs(2);
// Until then a copy of a finished file is recognised. In nanoseconds.
const REMEMBER_NS: i64 = 3600 * 1_000_000_000;

/// A file that a pattern has found.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    source: Arc<Source>,
    stat: Stat,
}

impl Tailer {
    /// Looks at all folders, and decides about every file in them.
    pub(super) fn discover(&mut self, now: Duration) {
        let candidates = self.candidates();
        for follower in self.followers.values_mut() {
            match candidates.iter().find(|candidate| candidate.stat.inode == follower.inode) {
                Some(found) => {
                    follower.gone_since = None;
                    if follower.at != found.path {
                        follower.at.clone_from(&found.path);
                        follower.changed = true;
                    }
                }
                None => {
                    follower.gone_since.get_or_insert(now);
                }
            }
        }
        let at_first = self.first_discovery && self.known.is_empty();
        let mut rest = Vec::new();
        for candidate in candidates {
            if !self.needs_nothing(&candidate) && !self.resume_own(&candidate, now) {
                rest.push(candidate);
            }
        }
        self.resume_moved(now);
        for candidate in rest {
            // Its inode may have been taken up by `resume_moved`.
            if !self.needs_nothing(&candidate) && !self.is_copy(&candidate, now) {
                self.start(&candidate, at_first, now);
            }
        }
        self.first_discovery = false;
        self.forget_old();
    }

    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for source in &self.sources {
            for pattern in &source.config.paths {
                glob::expand(pattern, |path| {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    if source.config.exclude.iter().any(|pattern| glob::matches(pattern, name)) {
                        return;
                    }
                    let Ok(metadata) = std::fs::metadata(&path) else { return };
                    let stat = Stat::of(&metadata);
                    // Links and overlapping patterns lead to the same file; the first source has it.
                    if seen.insert(stat.inode) {
                        candidates.push(Candidate { path, source: Arc::clone(source), stat });
                    }
                });
            }
        }
        candidates
    }

    fn needs_nothing(&self, candidate: &Candidate) -> bool {
        // An empty file is like any other; it is decided when it has a byte.
        candidate.stat.size == 0
            || self.is_followed(candidate.stat.inode)
            || self.settled.get(&candidate.stat.inode) == Some(&candidate.stat)
    }

    fn is_followed(&self, inode: Inode) -> bool {
        self.followers.values().any(|follower| follower.inode == inode)
    }

    /// Rule 1.
    fn resume_own(&mut self, candidate: &Candidate, now: Duration) -> bool {
        let inode = candidate.stat.inode;
        // Of several the one that is not finished, else the last: inodes are used again.
        let own = self.known.values().filter(|mark| mark.inode == inode);
        let Some(mark) = own.max_by_key(|mark| (mark.ended.is_none(), mark.ended)).cloned() else {
            return false;
        };
        let Ok(file) = File::open(&candidate.path) else { return false };
        if mark.compare(&file, candidate.stat.size) != Likeness::Whole {
            return false;
        }
        if mark.ended.is_some() && candidate.stat.size == mark.read_to() {
            self.settled.insert(inode, candidate.stat);
            return true;
        }
        self.resume(mark, &candidate.path, &candidate.source, file, now)
    }

    /// Rule 2: for each file of an earlier run that was not found (or of which a read failed), looks beside where
    /// it was.
    fn resume_moved(&mut self, now: Duration) {
        let unfound: Vec<FileMark> =
            self.known.values().filter(|mark| mark.ended.is_none()).cloned().collect();
        for mark in unfound {
            let resumed = match self.source_of(&mark.path) {
                Some(source) => self.continue_elsewhere(&mark, &source, now),
                None => false,
            };
            if !resumed {
                self.end(mark);
            }
        }
    }

    /// Looks beside a file for another that holds what was read of it, and goes on there.
    fn continue_elsewhere(&mut self, mark: &FileMark, source: &Arc<Source>, now: Duration) -> bool {
        let mut part = None;
        for (path, stat) in siblings(mark) {
            if self.is_followed(stat.inode) {
                continue;
            }
            let own = stat.inode == mark.inode;
            if !own && !relation(mark, &path).is_convincing(mark.read_to()) {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            match mark.compare(&file, stat.size) {
                Likeness::Whole => return self.resume(mark.clone(), &path, source, file, now),
                Likeness::Part if stat.size > mark.offset => part = Some((path, file)),
                Likeness::Part | Likeness::Other => {}
            }
        }
        // A copy that was made before the last lines were read still has those that wait in no memory now.
        match part {
            Some((path, file)) if self.known.contains_key(&mark.id) => {
                self.resume(mark.clone(), &path, source, file, now)
            }
            Some((path, file)) => {
                self.note_copy(mark, &path, &file);
                false
            }
            None => false,
        }
    }

    /// Rule 3: tells whether the file holds bytes that were read elsewhere.
    fn is_copy(&mut self, candidate: &Candidate, now: Duration) -> bool {
        let Ok(file) = File::open(&candidate.path) else { return true };
        let (inode, size) = (candidate.stat.inode, candidate.stat.size);
        let live: Vec<u64> = self.followers.keys().copied().collect();
        for id in live {
            let Some(original) = self.followers.get(&id) else { continue };
            // A file under the name of one that was renamed is its successor, whatever it begins with.
            let mark = original.mark();
            // By what is there now, and by what was: the original may have been truncated a moment ago.
            let alike = || mark.compare(&file, size) != Likeness::Other || is_prefix(original, &file, size);
            let relation = relation(&mark, &candidate.path);
            if original.path == candidate.path || relation == Relation::None || !alike() {
                continue;
            }
            if relation.is_convincing(size.min(original.read_to())) {
                if has_diverged(original, size) {
                    // What both hold is queued or will be by the original; only the rest is the copy's.
                    let id = self.new_mark(&candidate.path, inode, 0).id;
                    let at = candidate.path.clone();
                    let fork = FileMark { id, path: at.clone(), at, ..mark };
                    self.follow(fork, &candidate.source, file, now);
                }
                return true;
            }
            let since = *self.held.entry(inode).or_insert(now);
            if now.saturating_sub(since) < HOLD {
                return true;
            }
        }
        self.held.remove(&inode);
        let ended: Vec<FileMark> = self.known.values().filter(|mark| mark.ended.is_some()).cloned().collect();
        for mark in ended {
            if !relation(&mark, &candidate.path).is_convincing(mark.read_to()) {
                continue;
            }
            match mark.compare(&file, size) {
                Likeness::Other => {}
                Likeness::Whole if size > mark.read_to() => {
                    return self.resume(mark, &candidate.path, &candidate.source, file, now);
                }
                Likeness::Whole | Likeness::Part => {
                    self.note_copy(&mark, &candidate.path, &file);
                    return true;
                }
            }
        }
        false
    }

    /// Rule 4.
    fn start(&mut self, candidate: &Candidate, at_first: bool, now: Duration) {
        let Ok(file) = File::open(&candidate.path) else { return };
        let at_end = at_first && candidate.source.config.start_at == StartAt::End;
        let offset = if at_end { candidate.stat.size } else { 0 };
        let mark = self.new_mark(&candidate.path, candidate.stat.inode, offset);
        self.follow(mark, &candidate.source, file, now);
    }

    /// The bytes that a follower has read are gone: their rest is in a copy, or nowhere; what is in the file now
    /// is read from its start.
    pub(super) fn replaced(&mut self, id: u64, now: Duration) {
        let Some(mut follower) = self.followers.remove(&id) else { return };
        self.parts.counters.tail_truncations.add(1);
        let mark = follower.mark();
        let source = Arc::clone(&follower.source);
        if !self.continue_elsewhere(&mark, &source, now) {
            self.finish(&mut follower, now);
            self.end(follower.mark());
        }
        let at = follower.at.clone();
        let fresh = self.new_mark(&at, follower.inode, 0);
        self.follow(fresh, &source, follower.file, now);
    }

    fn resume(
        &mut self,
        mut mark: FileMark,
        at: &Path,
        source: &Arc<Source>,
        file: File,
        now: Duration,
    ) -> bool {
        mark.ended = None;
        mark.at = at.to_owned();
        let (id, inode) = (mark.id, mark.inode);
        self.follow(mark, source, file, now);
        let resumed = self.followers.contains_key(&id);
        if resumed {
            self.known.remove(&id);
            self.settled.remove(&inode);
        }
        resumed
    }

    fn follow(&mut self, mark: FileMark, source: &Arc<Source>, file: File, now: Duration) {
        let resource = source.resource(&mark.path, &self.parts).into();
        let path = mark.at.clone();
        match Follower::new(mark, Arc::clone(source), resource, file, now) {
            Ok(follower) => {
                tracing::debug!(path = %path.display(), offset = follower.read_to(), "following a log file");
                self.followers.insert(follower.id, follower);
            }
            // It changed while it was opened; the next look decides anew.
            Err(e) => tracing::debug!(path = %path.display(), error = %e, "a log file could not be followed"),
        }
    }

    /// Remembers a copy of what was read, so that it is not read.
    fn note_copy(&mut self, original: &FileMark, path: &Path, file: &File) {
        let Ok(metadata) = file.metadata() else { return };
        let stat = Stat::of(&metadata);
        let mut mark = self.new_mark(path, stat.inode, stat.size);
        let known = original.boundaries.iter().filter(|boundary| boundary.at <= stat.size);
        mark.boundaries = known.copied().collect();
        if let Some(hash) = super::identity::window_hash(file, stat.size) {
            mark.boundaries.push(super::identity::Boundary { at: stat.size, hash });
        }
        (mark.head_len, mark.head_hash) = (original.head_len, original.head_hash);
        self.settled.insert(stat.inode, stat);
        self.end(mark);
    }

    fn new_mark(&mut self, path: &Path, inode: Inode, offset: u64) -> FileMark {
        self.n_ids += 1;
        self.urgent = true;
        let mut seed = Vec::new();
        let now = self.parts.clock.now().as_nanos().cast_unsigned();
        for number in [inode.dev, inode.ino, now, self.n_ids] {
            seed.extend_from_slice(&number.to_le_bytes());
        }
        let id = xxh3_64(&seed);
        let (path, at) = (path.to_owned(), path.to_owned());
        let head_hash = xxh3_64(b"");
        FileMark {
            id,
            path,
            at,
            inode,
            offset,
            done: Vec::new(),
            cutting: false,
            head_len: 0,
            head_hash,
            boundaries: Vec::new(),
            ended: None,
        }
    }

    fn source_of(&self, path: &Path) -> Option<Arc<Source>> {
        let finds = |source: &&Arc<Source>| source.config.paths.iter().any(|p| glob::could_find(p, path));
        self.sources.iter().find(finds).cloned()
    }

    /// Forgets files that ended long ago and are not there any more.
    fn forget_old(&mut self) {
        let now = self.parts.clock.now().as_nanos();
        let is_old = |mark: &&FileMark| {
            mark.ended.is_some_and(|ended| now.saturating_sub(ended) > REMEMBER_NS)
                && std::fs::metadata(&mark.at).map_or(true, |found| Stat::of(&found).inode != mark.inode)
                && !self.settled.contains_key(&mark.inode)
        };
        let old: Vec<u64> = self.known.values().filter(is_old).map(|mark| mark.id).collect();
        for id in old {
            self.known.remove(&id);
            self.marks.insert(id, Mark { key: id, value: Vec::new() });
        }
        debug_assert!(
            self.marks
                .values()
                .all(|mark| { mark.value.is_empty() || format::read(mark.key, &mark.value).is_some() })
        );
    }
}

/// Tells whether a copy has got lines of its own while its original goes on.
fn has_diverged(original: &Follower, copy_size: u64) -> bool {
    let Ok(size) = original.file.metadata().map(|metadata| metadata.len()) else { return false };
    // Asked for after the copy's size was: an original that is shorter than what was read of it was truncated, and
    // the copy is where it goes on; one that is read to its end, and yet shorter than its copy, did not write that.
    size >= original.read_to() && size == original.size() && original.lag() == 0 && copy_size > size
}

/// Compares a name with both names that a file has had.
fn relation(mark: &FileMark, path: &Path) -> Relation {
    match Relation::of(&mark.path, path) {
        Relation::Rotated => Relation::Rotated,
        first => match Relation::of(&mark.at, path) {
            Relation::None => first,
            second => second,
        },
    }
}

/// Returns the files in the folder of `mark`, those with its own inode first.
fn siblings(mark: &FileMark) -> Vec<(PathBuf, Stat)> {
    let Some(entries) = mark.at.parent().and_then(|dir| std::fs::read_dir(dir).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<(PathBuf, Stat)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
            Some((path, Stat::of(&metadata)))
        })
        .collect();
    found.sort_by_key(|(path, stat)| (stat.inode != mark.inode, path.clone()));
    found
}

/// Tells whether what `copy` holds is, at its start and at its end, what `original` holds there.
fn is_prefix(original: &Follower, copy: &File, size: u64) -> bool {
    let (Ok(head), Ok(window)) = (usize::try_from(size), usize::try_from(size)) else { return false };
    let (head, window) = (head.min(HEAD_BYTES), window.min(WINDOW_BYTES));
    // Beyond what the original holds there is nothing to compare; up to there it must be equal.
    let Ok(shared) = original.file.metadata().map(|metadata| metadata.len().min(size)) else { return false };
    let Ok(shared_len) = usize::try_from(shared) else { return false };
    let (head, window) = (head.min(shared_len), window.min(shared_len));
    if shared == 0 {
        return false;
    }
    let equal = |at: u64, len: usize| {
        let (mut a, mut b) = ([0; HEAD_BYTES], [0; HEAD_BYTES]);
        let (a, b) = (&mut a[..len], &mut b[..len]);
        original.file.read_exact_at(a, at).is_ok() && copy.read_exact_at(b, at).is_ok() && a == b
    };
    equal(0, head) && equal(shared - window as u64, window)
}
