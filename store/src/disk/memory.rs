//! A disk in memory that forgets on demand what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskFile, DiskRead};

/// A folder tree in memory, for tests. Clones share it.
///
/// It keeps what the programs see apart from what a power loss would leave: bytes count once their
/// file is synced, names once their folder is synced.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
    /// The life of the machine that this is for; `None` for all of them.
    life: Option<u64>,
}

type Inode = Arc<Mutex<Content>>;

#[derive(Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    seen: BTreeMap<PathBuf, Inode>,
    durable: BTreeMap<PathBuf, Inode>,
    /// Changes of names that no sync of their folder has made durable, in order.
    unsynced: Vec<NameChange>,
    folders: BTreeSet<PathBuf>,
    free_bytes: Option<u64>,
    n_lives: u64,
}

/// One change of names; a power loss leaves it whole or not at all.
#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, Inode),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        path.parent().unwrap_or(Path::new("")) == folder
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Inode>) {
        match self {
            Self::Add(path, inode) => drop(names.insert(path, inode)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

impl Content {
    /// Leaves of the unsynced bytes what chance leaves: none, all, a first part, or some sectors
    /// with zeros between them.
    fn lose(&mut self, draw: &mut dyn FnMut(u64) -> u64) {
        let synced = self.durable.len();
        if !self.seen.starts_with(&self.durable) || self.seen.len() == synced {
            return;
        }
        let mut left = self.seen[synced..].to_vec();
        match draw(4) {
            0 => left.clear(),
            1 => {}
            2 => left.truncate(usize::try_from(draw(left.len() as u64 + 1)).unwrap_or(0)),
            _ => {
                // Sectors are those of the file, not of its tail.
                let mut at = 0;
                while at < left.len() {
                    let end = left.len().min(at + SECTOR - (synced + at) % SECTOR);
                    if draw(2) == 0 {
                        left[at..end].fill(0);
                    }
                    at = end;
                }
            }
        }
        self.durable.extend_from_slice(&left);
    }
}

impl MemDisk {
    /// Loses the power: unsynced bytes and unsynced names are gone. With `keep`, of each file that
    /// many of its unsynced bytes had reached the disk by chance.
    pub fn crash(&self, keep: usize) {
        let mut state = self.state.lock();
        state.unsynced.clear();
        for inode in state.durable.values() {
            let mut content = inode.lock();
            let content = &mut *content;
            if content.seen.starts_with(&content.durable) {
                let until = content.seen.len().min(content.durable.len() + keep);
                content.durable.extend_from_slice(&content.seen[content.durable.len()..until]);
            }
        }
        state.start_anew();
    }

    /// Loses the power, and chance decides what had reached the disk by itself: of each file's unsynced bytes a
    /// part, also one with holes, and any of the unsynced changes of names. `draw` returns a number below its
    /// argument.
    pub fn lose_power(&self, draw: &mut dyn FnMut(u64) -> u64) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let keep = draw(4);
        for change in std::mem::take(&mut state.unsynced) {
            if keep == 0 || keep > 1 && draw(2) == 0 {
                change.apply(&mut state.durable);
            }
        }
        for inode in state.durable.values() {
            inode.lock().lose(draw);
        }
        state.start_anew();
    }

    /// Returns the disk as a process sees it that dies with the next power loss: from then on it can change nothing.
    pub fn until_power_loss(&self) -> Self {
        let life = Some(self.state.lock().n_lives);
        Self { state: Arc::clone(&self.state), life }
    }

    /// The state, if this life of the machine is not over.
    fn alive(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        match self.life {
            Some(life) if life != state.n_lives => Err(io::Error::other("the machine lost its power")),
            _ => Ok(state),
        }
    }

    /// Says how much space is left from now on; `None` for endless.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.state.lock().free_bytes = bytes;
    }

    /// Changes bytes of a file behind everyone's back, as a failing disk does.
    ///
    /// # Panics
    /// Panics where there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let inode = self.state.lock().seen.get(path).cloned().expect("the test names a file that is there");
        let mut content = inode.lock();
        change(&mut content.seen);
        content.durable = content.seen.clone();
    }

    /// Lists all files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state.lock().seen.keys().cloned().collect()
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.alive()?.seen.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl State {
    /// Goes on with what is durable, after a power loss.
    fn start_anew(&mut self) {
        self.n_lives += 1;
        // Files that are open keep their old content, as those of a dead process do.
        let survivors = self.durable.iter().map(|(path, inode)| {
            let durable = inode.lock().durable.clone();
            (path.clone(), Arc::new(Mutex::new(Content { seen: durable.clone(), durable })))
        });
        let survivors: BTreeMap<_, _> = survivors.collect();
        self.seen = survivors.clone();
        self.durable = survivors;
    }
}

impl Disk for MemDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        state.folders.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.alive()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        if !folder.as_os_str().is_empty() && !state.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Inode::default();
        state.seen.insert(path.into(), Arc::clone(&inode));
        state.unsynced.push(NameChange::Add(path.into(), Arc::clone(&inode)));
        Ok(Box::new(MemFile { inode, disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        let inode = self.inode(path)?;
        let len = inode.lock().seen.len() as u64;
        Ok(Arc::new(MemRead { inode, len }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        let inode = state.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.seen.insert(to.into(), inode);
        state.unsynced.push(NameChange::Rename(from.into(), to.into()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        let inode = Arc::clone(state.seen.get(from).ok_or(io::ErrorKind::NotFound)?);
        if state.seen.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.seen.insert(to.into(), Arc::clone(&inode));
        state.unsynced.push(NameChange::Add(to.into(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        let inode = state.seen.remove(path).ok_or(io::ErrorKind::NotFound)?;
        if let Some(free) = &mut state.free_bytes {
            *free = free.saturating_add(inode.lock().seen.len() as u64);
        }
        state.unsynced.push(NameChange::Remove(path.into()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        let state = &mut *state;
        for change in state.unsynced.extract_if(.., |change| change.is_in(path)) {
            change.apply(&mut state.durable);
        }
        Ok(())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let inode = self.inode(path)?;
        let mut content = inode.lock();
        content.seen.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        content.durable = content.seen.clone();
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state.lock();
        let all = state.seen.keys().chain(&state.folders).filter(|p| p.parent() == Some(path));
        Ok(all.filter_map(|p| p.file_name().map(PathBuf::from)).collect())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().free_bytes.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct MemFile {
    inode: Inode,
    disk: MemDisk,
}

impl DiskFile for MemFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reserve(bytes.len() as u64)?;
        let mut state = self.disk.alive()?;
        if let Some(free) = &mut state.free_bytes {
            *free = free.saturating_sub(bytes.len() as u64);
        }
        self.inode.lock().seen.extend_from_slice(bytes);
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let free = self.disk.alive()?.free_bytes;
        if free.is_some_and(|free| free < bytes) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let _alive = self.disk.alive()?;
        let mut content = self.inode.lock();
        let content = &mut *content;
        if content.seen.len() >= content.durable.len() {
            content.durable.extend_from_slice(&content.seen[content.durable.len()..]);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemRead {
    inode: Inode,
    len: u64,
}

impl DiskRead for MemRead {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let content = self.inode.lock();
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = content.seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }
}
