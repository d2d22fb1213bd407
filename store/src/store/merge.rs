//! From many segments to few, and from old ones to none.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::jobs::Job;
use super::plan::{DAY_MS, Eagerness, Merge, next_merge};
use super::retention::expired;
use super::snapshot::TenantView;
use super::{Inner, StoreError};
use crate::disk::Disk;
use crate::logs;
use crate::metrics::segment::{is_rollup, window_of};
use crate::model::TenantId;
use crate::read::ReadError;
use crate::segment::{SegmentId, SegmentMeta, Table};
use crate::step::{Step, Work};
use crate::wal;

/// A merge that failed is not tried again for so long: what ails it, such as a full disk or a
/// damaged file, seldom passes within seconds.
const RETRY_AFTER: Duration = Duration::from_secs(60);

fn day_of(meta: &SegmentMeta) -> (TenantId, Table, i64) {
    (meta.tenant.clone(), meta.table, window_of(meta.window.start, DAY_MS).start)
}

/// What merging remembers from one step to the next.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// Windows whose merge failed, and when they may be tried again.
    failed: HashMap<(TenantId, Table, i64), Duration>,
}

/// Writes a file, reads it and removes it.
fn try_out(disk: &dyn Disk) -> std::io::Result<()> {
    let path = Path::new(wal::FOLDER).join("trial");
    // What a trial left that was cut off.
    drop(disk.remove(&path));
    let mut file = disk.create(&path)?;
    file.write_all(b"trial")?;
    file.sync_data()?;
    let found = disk.read(&path)?;
    disk.remove(&path)?;
    if found == b"trial".as_slice() {
        Ok(())
    } else {
        Err(std::io::Error::other("the disk gives other bytes"))
    }
}

impl Inner {
    /// Does one merge, if one is due; `false` when none is.
    pub(super) async fn merge_once(self: &Arc<Self>, eagerness: Eagerness) -> Result<bool, StoreError> {
        let mut merging = self.merging.lock().await;
        if self.gate.catalog_failed.load(Ordering::Acquire) {
            return Ok(false);
        }
        let now = self.env.clock.elapsed();
        merging.failed.retain(|_, until| eagerness == Eagerness::Background && *until > now);
        let metas = self.current.snapshot.load().metas();
        // A segment that may come back must find its neighbours in the order of writes as they were.
        let aside: Vec<_> = self.current.aside().into_iter().map(|aside| day_of(&aside.meta)).collect();
        let usable = metas.iter().filter(|meta| !aside.contains(&day_of(meta))).filter(|meta| {
            !merging.failed.keys().any(|(tenant, table, start)| {
                *tenant == meta.tenant && *table == meta.table && *start == meta.window.start
            })
        });
        let now_ms = self.env.clock.now().as_millis();
        let Some(merge) = next_merge(usable, now_ms, eagerness) else { return Ok(false) };
        let result = self.merge(&merge, &merging).await;
        if result.is_err() {
            for meta in metas.iter().filter(|meta| merge.inputs.contains(&meta.id)) {
                let key = (meta.tenant.clone(), meta.table, meta.window.start);
                merging.failed.insert(key, now.saturating_add(RETRY_AFTER));
            }
        }
        result.map(|()| true)
    }

    async fn merge(self: &Arc<Self>, merge: &Merge, merging: &Merging) -> Result<(), StoreError> {
        let (inner, work) = (Arc::clone(self), merge.clone());
        let merged = tokio::task::spawn_blocking(move || inner.write_merged(&work)).await;
        let merged = merged.map_err(|_| StoreError::Died("merging"))?;
        let meta = match merged {
            Ok(meta) => meta,
            Err(error) => {
                // A damaged input would fail every merge of its window: take it out of the way.
                self.quarantine_damaged(&merge.inputs, merging).await?;
                return Err(error);
            }
        };
        let opened = self.open_segment(&meta)?;
        self.env.steps.pass(Step::Written(Work::Merge));
        self.swap(Work::Merge, &merge.inputs, vec![(meta, opened)]).await?;
        self.counters.n_merges.fetch_add(1, Ordering::Relaxed);
        self.counters.jobs.done(Job::Merge, self.env.clock.now());
        Ok(())
    }

    fn write_merged(&self, merge: &Merge) -> Result<SegmentMeta, StoreError> {
        let snapshot = self.current.snapshot.load_full();
        let view = snapshot.tenants.get(&merge.tenant).ok_or(StoreError::Died("merging"))?;
        // A reader may just have found that one cannot be read; it must not go without its rows.
        let is_whole = |n| if n == merge.inputs.len() { Ok(()) } else { Err(StoreError::Unread("merging")) };
        match merge.table {
            Table::Metrics => {
                let mut inputs: Vec<_> = view.metrics.segments.clone();
                inputs.retain(|segment| merge.inputs.contains(&segment.meta().id));
                is_whole(inputs.len())?;
                let sequence = inputs.iter().map(|s| s.meta().sequence).max().unwrap_or(0);
                let target = self.target(&merge.tenant, sequence);
                Ok(crate::metrics::merge(&target, &inputs, merge.window, merge.level)?)
            }
            Table::Logs => {
                let mut inputs: Vec<_> = view.logs.segments.clone();
                inputs.retain(|segment| merge.inputs.contains(&segment.meta().id));
                is_whole(inputs.len())?;
                let sequence = inputs.iter().map(|s| s.meta().sequence).max().unwrap_or(0);
                let target = self.target(&merge.tenant, sequence);
                crate::logs::merge(&target, &inputs, merge.window, merge.level).map_err(StoreError::Logs)
            }
        }
    }

    /// Puts segments in the place of others: in the catalog, then for readers, then on the disk.
    pub(super) async fn swap(
        &self,
        work: Work,
        removed: &[SegmentId],
        added: Vec<(SegmentMeta, super::AnySegment)>,
    ) -> Result<(), StoreError> {
        let (metas, opened): (Vec<_>, Vec<_>) = added.into_iter().unzip();
        let steps = &self.env.steps;
        let replaced = self.catalog.replace(removed, &metas, &|| steps.pass(Step::Recording(work))).await;
        replaced.inspect_err(|_| self.doubt())?;
        steps.pass(Step::Recorded(work));
        let gone = self.current.change(|snapshot| {
            let gone = snapshot.remove(removed);
            for segment in opened {
                snapshot.add(segment);
            }
            gone
        });
        steps.pass(Step::Shown(work));
        self.remove_files(&gone);
        steps.pass(Step::Removed(work));
        Ok(())
    }

    /// Removes the files of segments that are in no snapshot any more. Readers of older snapshots
    /// hold them open; what cannot be removed now is removed at the next start, so it is no reason to
    /// say that what the catalog has did not happen.
    fn remove_files(&self, metas: &[SegmentMeta]) {
        for file in metas.iter().flat_map(|meta| &meta.files) {
            match self.env.disk.remove(&file.path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    let doing = "removing files of segments that are not needed any more";
                    self.note_failure(Job::Merge, &StoreError::Disk { doing, source });
                }
                _ => {}
            }
        }
    }

    /// Checks segments in full and takes those that are damaged out of answers; where only an index is damaged, it is
    /// made anew. Whoever holds
    /// `merging` keeps files from being merged away meanwhile, which would look like damage. Returns
    /// how many were damaged.
    pub(super) async fn quarantine_damaged(
        self: &Arc<Self>,
        ids: &[SegmentId],
        _merging: &Merging,
    ) -> Result<usize, StoreError> {
        let mut n_damaged = 0;
        let mut metas = self.current.snapshot.load().metas();
        metas.retain(|meta| ids.contains(&meta.id));
        for meta in metas {
            if let Err(error) = self.verify_segment(&meta).await?
                && self.is_lasting(&error).await?
                && !self.mend_index(&meta).await?
                && !self.drop_rollups(&meta).await?
            {
                let why = meta.loss(&error);
                tracing::error!(segment = %meta.id, why, "a segment is damaged and out of answers");
                self.catalog.quarantine(meta.id, &why).await?;
                self.current.change(|snapshot| {
                    snapshot.remove(&[meta.id]);
                    snapshot.miss(&meta, why.clone());
                });
                self.note_damage(why);
                n_damaged += 1;
            }
        }
        Ok(n_damaged)
    }

    /// Makes the index of a segment of log records anew; `false` when there is none to make, or the rows themselves are
    /// not what they were. Whoever calls this holds `merging`.
    async fn mend_index(self: &Arc<Self>, meta: &SegmentMeta) -> Result<bool, StoreError> {
        let (inner, old) = (Arc::clone(self), meta.clone());
        let made = tokio::task::spawn_blocking(move || inner.write_index(&old)).await;
        let Some(meta) = made.map_err(|_| StoreError::Died("making an index"))?? else { return Ok(false) };
        let opened = self.open_segment(&meta)?;
        let replaced = self.catalog.replace(&[meta.id], std::slice::from_ref(&meta), &|| {}).await;
        replaced.inspect_err(|_| self.doubt())?;
        self.current.change(|snapshot| {
            snapshot.remove(&[meta.id]);
            snapshot.add(opened);
        });
        tracing::warn!(segment = %meta.id, "a text index was missing or damaged and is made anew from the rows");
        Ok(true)
    }

    /// Lets go of the rollups of a segment of metrics of which one is missing or damaged: the rows have all that is in
    /// them. `false` when it has none, or the rows themselves are not what they were. Whoever calls this holds
    /// `merging`.
    async fn drop_rollups(self: &Arc<Self>, meta: &SegmentMeta) -> Result<bool, StoreError> {
        let mut left = meta.clone();
        left.files.retain(|file| !is_rollup(file));
        if meta.table != Table::Metrics || left == *meta || self.verify_segment(&left).await?.is_err() {
            return Ok(false);
        }
        let opened = self.open_segment(&left)?;
        self.catalog.replace(&[meta.id], std::slice::from_ref(&left), &|| {}).await?;
        self.current.change(|snapshot| {
            snapshot.remove(&[meta.id]);
            snapshot.add(opened);
        });
        let mut gone = meta.clone();
        gone.files.retain(is_rollup);
        self.remove_files(&[gone]);
        tracing::warn!(segment = %meta.id, "a rollup was missing or damaged and is dropped; the rows answer");
        Ok(true)
    }

    fn write_index(&self, meta: &SegmentMeta) -> Result<Option<SegmentMeta>, StoreError> {
        let snapshot = self.current.snapshot.load_full();
        let of_tenant = snapshot.tenants.get(&meta.tenant).map_or(&[][..], |view| &view.logs.segments);
        let segment = of_tenant.iter().find(|segment| segment.meta() == meta);
        let Some(segment) = segment.filter(|_| meta.files.len() == 2) else { return Ok(None) };
        match meta.files[0].verify(self.env.disk.as_ref()) {
            Ok(()) => logs::segment::rebuild_index(segment).map(Some).map_err(StoreError::Logs),
            Err(_) => Ok(None),
        }
    }

    /// Mends the indexes that were found missing or damaged when the store was opened, or by a search since, and lets go
    /// of such rollups.
    pub(super) async fn mend_indexes(self: &Arc<Self>) -> Result<(), StoreError> {
        let of_view = |view: &Arc<TenantView>| -> Vec<SegmentMeta> {
            let logs = view.logs.segments.iter().filter(|segment| segment.takes_index());
            let metrics = view.metrics.segments.iter().filter(|segment| segment.has_lost_rollup());
            let logs = logs.map(|segment| segment.meta().clone());
            logs.chain(metrics.map(|segment| segment.meta().clone())).collect()
        };
        let metas: Vec<SegmentMeta> =
            self.current.snapshot.load().tenants.values().flat_map(of_view).collect();
        if metas.is_empty() {
            return Ok(());
        }
        let merging = self.merging.lock().await;
        for meta in metas {
            if !self.mend_index(&meta).await? && !self.drop_rollups(&meta).await? {
                self.quarantine_damaged(&[meta.id], &merging).await?;
            }
        }
        Ok(())
    }

    fn note_damage(&self, why: String) {
        self.counters.n_damaged.fetch_add(1, Ordering::Relaxed);
        self.counters.jobs.failed(Job::Check, self.env.clock.now(), why);
    }

    /// Reads again what readers could not read. What is damaged, or still does not come off the disk, is remembered
    /// by the catalog and stays out of answers; what can be read after all comes back. A segment whose checksums hold
    /// and that makes no sense is only out of answers until a restart: the fault may be ours.
    pub(super) async fn note_suspects(self: &Arc<Self>) -> Result<(), StoreError> {
        let undecided = || self.current.aside().into_iter().filter(|aside| !aside.is_puzzle);
        if undecided().next().is_none() {
            return Ok(());
        }
        // What is read here is not merged away meanwhile.
        let _merging = self.merging.lock().await;
        for aside in undecided() {
            let id = aside.meta.id;
            // An index is never in the way of an answer.
            let mut rows = aside.meta.clone();
            if rows.table == Table::Logs {
                rows.files.truncate(1);
            }
            match self.verify_segment(&rows).await? {
                Err(error) if self.is_lasting(&error).await? => {
                    let why = aside.meta.loss(&error);
                    self.catalog.quarantine(id, &why).await?;
                    self.current.give_up(id);
                    self.note_damage(why);
                }
                Err(error) => tracing::warn!(segment = %id, %error, "a segment cannot be read for now"),
                Ok(()) if aside.is_unread => {
                    let segment = self.open_segment(&aside.meta)?;
                    self.current.put_back(&aside, segment);
                    tracing::warn!(segment = %id, why = aside.why, "a segment can be read again");
                }
                Ok(()) => {
                    tracing::error!(segment = %id, why = aside.why, "a segment has right checksums and cannot be read");
                    self.current.puzzle(id);
                }
            }
        }
        Ok(())
    }

    /// Tells whether an error will be the same tomorrow: a damaged file, or one that the disk does not give although
    /// it takes and gives others. A disk that does nothing at all may be there again after a restart, with everything
    /// on it.
    async fn is_lasting(&self, error: &ReadError) -> Result<bool, StoreError> {
        match error {
            ReadError::Corrupt { .. } => Ok(true),
            error if error.bad_file().is_some() => {
                let disk = Arc::clone(&self.env.disk);
                let works = tokio::task::spawn_blocking(move || try_out(disk.as_ref()).is_ok()).await;
                works.map_err(|_| StoreError::Died("trying out the disk"))
            }
            _ => Ok(false),
        }
    }

    async fn verify_segment(&self, meta: &SegmentMeta) -> Result<Result<(), ReadError>, StoreError> {
        let (disk, meta) = (Arc::clone(&self.env.disk), meta.clone());
        let checked = tokio::task::spawn_blocking(move || meta.verify(disk.as_ref())).await;
        checked.map_err(|_| StoreError::Died("checking a segment"))
    }

    /// Drops segments that are past the age or beyond the size that their tenant keeps.
    pub(super) async fn retire(self: &Arc<Self>) -> Result<(), StoreError> {
        let _merging = self.merging.lock().await;
        let metas = self.current.snapshot.load().metas();
        let ids = expired(&metas, &self.config.retention, self.env.clock.now());
        if ids.is_empty() {
            self.counters.jobs.idle(Job::Retire, self.env.clock.now());
            return Ok(());
        }
        tracing::info!(n_segments = ids.len(), "dropping segments at the end of their retention");
        self.swap(Work::Retire, &ids, Vec::new()).await?;
        self.counters.jobs.done(Job::Retire, self.env.clock.now());
        Ok(())
    }
}
