//! Reads every file of every segment over and over, at a bounded rate, so that damage is known while
//! a backup can still mend it, and not when someone asks for what is damaged.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::jobs::Job;
use super::{Inner, StoreError};
use crate::disk::DiskRead;
use crate::model::Clock;
use crate::segment::{SegmentFile, SegmentMeta};

/// Read at once; with the slowest rate that is allowed the next one comes after 16 seconds.
const STEP_BYTES: u64 = 1 << 20;

/// Passes begin this far apart at least: disks rot over months, and a small store would be read all
/// the time otherwise.
const PASS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Goes over all segments again and again; the first pass begins at once, since much can have
/// happened to the files while the process was away.
pub(super) async fn scrub(inner: Weak<Inner>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let begun = clock.elapsed();
        let work = pass(&inner, clock.as_ref());
        tokio::select! {
            () = stop.cancelled() => return,
            alive = work => if alive.is_none() { return },
        }
        let next = begun.saturating_add(PASS_EVERY);
        if let Some(inner) = inner.upgrade() {
            inner.counters.jobs.next(Job::Check, Some(next));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(next.saturating_sub(clock.elapsed())) => {}
        }
    }
}

/// Checks all segments once; `None` when the store is gone.
async fn pass(inner: &Weak<Inner>, clock: &dyn Clock) -> Option<()> {
    let metas = inner.upgrade()?.current.snapshot.load().metas();
    let mut is_clean = true;
    for meta in metas {
        match check(inner, clock, &meta).await? {
            Ok(true) => inner.upgrade()?.counters.jobs.progress(Job::Check, clock.now()),
            Ok(false) => is_clean = false,
            Err(error) => {
                is_clean = false;
                inner.upgrade()?.note_failure(Job::Check, &error);
            }
        }
    }
    let inner = inner.upgrade()?;
    if is_clean {
        inner.counters.jobs.idle(Job::Check, clock.now());
    }
    Some(())
}

/// Checks one segment; `Ok(false)` when it is damaged and out of answers now.
async fn check(
    inner: &Weak<Inner>,
    clock: &dyn Clock,
    meta: &SegmentMeta,
) -> Option<Result<bool, StoreError>> {
    let files = inner.upgrade()?.open_for_check(meta).await;
    let read = match files {
        // Merged away since the pass began.
        None => return Some(Ok(true)),
        Some(Ok(files)) => {
            let mut read = Ok(true);
            for (meta, file) in files {
                match read_slowly(inner, clock, meta, file).await? {
                    Ok(true) => {}
                    other => read = other,
                }
            }
            read
        }
        Some(Err(error)) => Err(error),
    };
    match read {
        Ok(true) => return Some(Ok(true)),
        Ok(false) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {}
        Err(source) => {
            // The disk may answer when it is asked once more: only what it fails to give twice is taken out.
            let failed = StoreError::Disk { doing: "reading stored files again", source };
            return Some(
                again(inner, meta).await?.and_then(|is_well| if is_well { Err(failed) } else { Ok(false) }),
            );
        }
    }
    again(inner, meta).await
}

/// Reads a segment again in one go, under the lock, and takes it out of answers if it is damaged for certain.
async fn again(inner: &Weak<Inner>, meta: &SegmentMeta) -> Option<Result<bool, StoreError>> {
    let inner = inner.upgrade()?;
    let merging = inner.merging.lock().await;
    Some(inner.quarantine_damaged(&[meta.id], &merging).await.map(|n_damaged| n_damaged == 0))
}

/// Reads a file step by step at the rate that the settings allow, and says whether it is what it was.
async fn read_slowly(
    inner: &Weak<Inner>,
    clock: &dyn Clock,
    meta: SegmentFile,
    file: Arc<dyn DiskRead>,
) -> Option<std::io::Result<bool>> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < meta.bytes {
        let n = STEP_BYTES.min(meta.bytes - at);
        let source = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = source.read_at(at, usize::try_from(n).map_err(std::io::Error::other)?)?;
            hasher.update(&bytes);
            Ok::<_, std::io::Error>(hasher)
        });
        match read.await.map_err(std::io::Error::other).flatten() {
            Ok(hashed) => hasher = hashed,
            Err(error) => return Some(Err(error)),
        }
        at += n;
        let rate = {
            let inner = inner.upgrade()?;
            inner.counters.scrubbed_bytes.fetch_add(n, Ordering::Relaxed);
            inner.config.scrub_bytes_per_second.0
        };
        clock.sleep(Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate.max(1))).await;
    }
    Some(Ok(file.len() == meta.bytes && *hasher.finalize().as_bytes() == meta.blake3))
}

impl Inner {
    /// Opens the files of a segment, so that they can be read also after they are merged away;
    /// `None` when that has happened already.
    async fn open_for_check(
        &self,
        meta: &SegmentMeta,
    ) -> Option<std::io::Result<Vec<(SegmentFile, Arc<dyn DiskRead>)>>> {
        // Files are only removed under this lock, so one that is not there is damage.
        let _merging = self.merging.lock().await;
        if !self.current.snapshot.load().metas().iter().any(|known| known.id == meta.id) {
            return None;
        }
        let open = |file: &SegmentFile| Ok((file.clone(), self.env.disk.open(&file.path)?));
        Some(meta.files.iter().map(open).collect())
    }
}

#[cfg(test)]
mod tests;
