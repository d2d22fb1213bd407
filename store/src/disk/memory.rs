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
    folders: BTreeSet<PathBuf>,
    free_bytes: Option<u64>,
}

impl MemDisk {
    /// Loses the power: unsynced bytes and unsynced names are gone. With `keep`, of each file that
    /// many of its unsynced bytes had reached the disk by chance.
    pub fn crash(&self, keep: usize) {
        let mut state = self.state.lock();
        for inode in state.durable.values() {
            let mut content = inode.lock();
            let content = &mut *content;
            if content.seen.starts_with(&content.durable) {
                let until = content.seen.len().min(content.durable.len() + keep);
                content.durable.extend_from_slice(&content.seen[content.durable.len()..until]);
            }
        }
        // Files that are open keep their old content, as those of a dead process do.
        let survivors = state.durable.iter().map(|(path, inode)| {
            let durable = inode.lock().durable.clone();
            (path.clone(), Arc::new(Mutex::new(Content { seen: durable.clone(), durable })))
        });
        let survivors: BTreeMap<_, _> = survivors.collect();
        state.seen = survivors.clone();
        state.durable = survivors;
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
        self.state.lock().seen.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.folders.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let folder = path.parent().unwrap_or(Path::new(""));
        if !folder.as_os_str().is_empty() && !state.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Inode::default();
        state.seen.insert(path.into(), Arc::clone(&inode));
        Ok(Box::new(MemFile { inode, disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        let inode = self.inode(path)?;
        let len = inode.lock().seen.len() as u64;
        Ok(Arc::new(MemRead { inode, len }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.seen.insert(to.into(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state.lock().seen.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let inside = |file: &Path| file.parent().unwrap_or(Path::new("")) == path;
        state.durable.retain(|file, _| !inside(file));
        let names: Vec<_> =
            state.seen.iter().filter(|(file, _)| inside(file)).map(|(f, i)| (f.clone(), i.clone())).collect();
        state.durable.extend(names);
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
        let mut state = self.disk.state.lock();
        if let Some(free) = &mut state.free_bytes {
            *free -= bytes.len() as u64;
        }
        self.inode.lock().seen.extend_from_slice(bytes);
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let free = self.disk.state.lock().free_bytes;
        if free.is_some_and(|free| free < bytes) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&mut self) -> io::Result<()> {
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
