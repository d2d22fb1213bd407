//! Bringing back what the log holds, when the store is opened.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::format::{FRAMES_AT, Frame, Header, HeaderError, VERSION};
use super::scan::{Scan, has_hole, n_groups_guessed, scan, torn_at};
use super::writer::ClosedFile;
use super::{FOLDER, QUARANTINE};
use crate::disk::{Disk, DiskRead};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Sequence that the next frame gets.
    pub(crate) next_sequence: u64,
    /// Files that are still needed.
    pub(crate) files: Vec<ClosedFile>,
    /// Bytes cut off torn ends.
    pub(crate) torn_bytes: u64,
    /// What was damaged, by file, a sentence each.
    pub(crate) losses: BTreeMap<PathBuf, Vec<String>>,
}

impl Recovered {
    /// Says what was damaged, a sentence each.
    pub(crate) fn damage(&self) -> Vec<String> {
        self.losses.values().flatten().cloned().collect()
    }

    fn lose(&mut self, path: &Path, said: impl IntoIterator<Item = String>) {
        self.losses.entry(path.to_owned()).or_default().extend(said);
    }
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error("reading the write-ahead log failed")]
    Io(#[from] io::Error),
    #[error("{path} has version {found}")]
    Newer { path: PathBuf, found: u32, known: u32 },
}

/// What the log holds, piece by piece.
#[derive(Debug)]
pub(crate) enum Visit<'a> {
    /// A file begins; dictionaries begin anew.
    File,
    /// A frame. Those that segments cover come too, since they may define what later ones use.
    Frame(Frame<'a>),
}

/// Reads all files in order. Frames up to `covered` are in segments already.
///
/// A torn end of the last file is cut off; damaged places are skipped, the file is copied to the
/// quarantine and the damage is reported. `visit` says what is wrong with a frame that it cannot use.
pub(crate) fn recover(
    disk: &dyn Disk,
    covered: u64,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<(), String>,
) -> Result<Recovered, RecoverError> {
    disk.create_dir_all(Path::new(FOLDER))?;
    let mut names: Vec<(u64, PathBuf)> = Vec::new();
    for name in disk.list(Path::new(FOLDER))? {
        if let Some(first) = first_sequence_of(&name) {
            names.push((first, Path::new(FOLDER).join(name)));
        }
    }
    names.sort();
    refuse_newer(disk, &names)?;
    let mut recovered = Recovered { next_sequence: covered + 1, ..Recovered::default() };
    for (i, (first, path)) in names.iter().enumerate() {
        let next_first = names.get(i + 1).map(|(first, _)| *first);
        if next_first.is_some_and(|next| next <= covered + 1) {
            disk.remove(path)?;
            continue;
        }
        if *first > recovered.next_sequence {
            let said = format!(
                "frames {} to {} are missing before {}",
                recovered.next_sequence,
                first - 1,
                path.display()
            );
            recovered.lose(path, [said]);
        }
        read_file(disk, path, next_first, &mut recovered, visit)?;
    }
    disk.sync_dir(Path::new(FOLDER))?;
    Ok(recovered)
}

fn refuse_newer(disk: &dyn Disk, names: &[(u64, PathBuf)]) -> Result<(), RecoverError> {
    for (_, path) in names {
        let file = disk.open(path)?;
        let start = file.read_at(0, FRAMES_AT.min(usize::try_from(file.len()).unwrap_or(FRAMES_AT)))?;
        if let Err(HeaderError::Newer(found)) = Header::decode(&start) {
            return Err(RecoverError::Newer { path: path.clone(), found, known: VERSION });
        }
    }
    Ok(())
}

fn read_file(
    disk: &dyn Disk,
    path: &Path,
    next_first: Option<u64>,
    recovered: &mut Recovered,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<(), String>,
) -> Result<(), RecoverError> {
    let mut file = disk.open(path)?;
    let start = file.read_at(0, FRAMES_AT.min(usize::try_from(file.len()).unwrap_or(FRAMES_AT)))?;
    let Ok(header) = Header::decode(&start) else {
        return Ok(without_header(disk, path, file.as_ref(), next_first, recovered)?);
    };
    let mut unusable: Option<(Range<u64>, String)> = None;
    let mut note = |sequence: u64, result: Result<(), String>| {
        if let Err(why) = result {
            let range = unusable.get_or_insert((sequence..sequence + 1, why));
            range.0.end = sequence + 1;
        }
    };
    note(0, visit(Visit::File));
    let is_last = next_first.is_none();
    // In the last file it must be known first whether what comes behind a damaged place counts.
    let mut some_wait = false;
    let mut found = scan(file.as_ref(), &header, |frame, is_past_damage| {
        if is_last && is_past_damage {
            some_wait = true;
        } else {
            note(frame.sequence, visit(Visit::Frame(frame)));
        }
    })?;
    if is_last && let Some(end) = torn_at(file.as_ref(), &header, &found)? {
        recovered.torn_bytes += file.len() - end;
        disk.truncate(path, end)?;
        file = disk.open(path)?;
        found.tail_bytes = 0;
    }
    if some_wait {
        found = scan(file.as_ref(), &header, |frame, is_past_damage| {
            if is_past_damage {
                note(frame.sequence, visit(Visit::Frame(frame)));
            }
        })?;
    }
    let scan = found;
    let mut damage: Vec<String> = scan.bad.iter().map(|bad| describe(path, &bad.bytes, &bad.lost)).collect();
    if let Some((frames, why)) = unusable {
        let text = format!(
            "{}: of frames {} to {} some cannot be used: {why}",
            path.display(),
            frames.start,
            frames.end - 1
        );
        damage.push(text);
    }
    let last = scan.last_sequence.max(recovered.next_sequence.saturating_sub(1));
    match next_first {
        None if scan.tail_bytes > 0 => {
            // How many frames these were is not known: there was at least one.
            damage.push(describe(path, &(scan.end..scan.end + scan.tail_bytes), &(last + 1..last + 2)));
        }
        None => {}
        Some(next) if scan.tail_bytes > 0 || last + 1 < next => {
            damage.push(describe(path, &(scan.end..scan.end + scan.tail_bytes), &(last + 1..next)));
        }
        Some(_) => {}
    }
    if !damage.is_empty() {
        quarantine(disk, path)?;
        recovered.lose(path, damage);
    }
    if next_first.is_none() {
        cut_tail(disk, path, &scan)?;
    }
    recovered.next_sequence = last + 1;
    if scan.end > FRAMES_AT as u64 || next_first.is_some() {
        recovered.files.push(ClosedFile { path: path.into(), last_sequence: last });
    } else {
        // A header without frames: the process ended between making the file and filling it.
        recovered.torn_bytes += scan.end;
        disk.remove(path)?;
    }
    Ok(())
}

/// Deals with a file whose header is gone: the torn begin of the last file, or damage.
fn without_header(
    disk: &dyn Disk,
    path: &Path,
    file: &dyn DiskRead,
    next_first: Option<u64>,
    recovered: &mut Recovered,
) -> io::Result<()> {
    let len = file.len();
    // A file gets its header together with its first frames, so one without frames was never acknowledged. Nor was
    // one whose begin is a hole that a power loss left, if there is no group after the first.
    let is_torn = len <= FRAMES_AT as u64
        || has_hole(file, 0..len.min(FRAMES_AT as u64))? && n_groups_guessed(file)? < 2;
    if next_first.is_none() && is_torn {
        recovered.torn_bytes += len;
        return disk.remove(path);
    }
    quarantine(disk, path)?;
    recovered.lose(path, [format!("{}: its header is damaged, {len} bytes cannot be read", path.display())]);
    let last_sequence = next_first.map_or(recovered.next_sequence, |next| next.saturating_sub(1));
    recovered.files.push(ClosedFile { path: path.into(), last_sequence });
    recovered.next_sequence = last_sequence + 1;
    Ok(())
}

fn cut_tail(disk: &dyn Disk, path: &Path, scan: &Scan) -> io::Result<()> {
    if scan.tail_bytes > 0 {
        disk.truncate(path, scan.end)?;
    }
    Ok(())
}

fn describe(path: &Path, bytes: &Range<u64>, lost: &Range<u64>) -> String {
    let n = lost.end.saturating_sub(lost.start);
    let frames = match n {
        0 => "no frame is missing".to_string(),
        1 => format!("frame {} is missing", lost.start),
        _ => format!("frames {} to {} are missing", lost.start, lost.end - 1),
    };
    format!("{}: bytes {} to {} are damaged, {frames}", path.display(), bytes.start, bytes.end)
}

/// Keeps a copy of a damaged file for people to look at; the log's own file goes when it is sealed.
fn quarantine(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let folder = Path::new(QUARANTINE);
    let copy = folder.join(path.file_name().unwrap_or_default());
    disk.create_dir_all(folder)?;
    if disk.open(&copy).is_ok() {
        return Ok(());
    }
    disk.write_atomic(&copy, &disk.read(path)?)
}

pub(super) fn file_name(first_sequence: u64) -> PathBuf {
    Path::new(FOLDER).join(format!("{first_sequence:016x}.wal"))
}

fn first_sequence_of(name: &Path) -> Option<u64> {
    u64::from_str_radix(name.to_str()?.strip_suffix(".wal")?, 16).ok()
}
