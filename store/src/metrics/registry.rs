//! Which series there are: found by their label bytes when samples come in, by matchers when
//! queries do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::hashing::IdentityState;
use super::series_table::{SeriesTable, SeriesTableBuilder};
use crate::append::{BatchSeries, SeriesKey};
use crate::model::Labels;

/// Parts that are locked apart from each other; enough for the threads of a large machine.
pub(super) const N_SHARDS: usize = 16;

/// Where a series is: its shard and its position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The shard.
    pub(super) shard: u8,
    /// The position.
    pub(super) at: u32,
}

/// Series of one tenant; heads that follow each other share it.
#[derive(Debug, Default)]
pub(super) struct Registry {
    shards: [Mutex<RegistryShard>; N_SHARDS],
    n_series: AtomicUsize,
    view: RwLock<Arc<IndexView>>,
}

/// Series whose key falls into one shard.
#[derive(Debug, Default)]
pub(super) struct RegistryShard {
    by_key: HashMap<SeriesKey, u32, IdentityState>,
    series: Vec<Labels>,
}

/// The series as they were at one moment, for matchers.
#[derive(Debug, Default)]
pub(super) struct IndexView {
    /// Most of the series.
    pub(super) table: Arc<SeriesTable>,
    /// Where each series of the table is.
    pub(super) slots: Arc<Vec<Slot>>,
    /// The newest ones, too few yet to make the table again.
    pub(super) fresh: Vec<(Labels, Slot)>,
    n_seen: [usize; N_SHARDS],
}

impl RegistryShard {
    /// Finds a series by its key, or adds it.
    #[inline]
    pub(super) fn find_or_add(&mut self, series: &BatchSeries<'_>) -> (u32, bool) {
        match self.by_key.get(&series.key) {
            Some(&at) => (at, false),
            None => (self.add(series), true),
        }
    }

    #[cold]
    fn add(&mut self, series: &BatchSeries<'_>) -> u32 {
        let labels = Labels::from_bytes(series.labels).expect("a batch holds canonical label bytes");
        let at = u32::try_from(self.series.len()).expect("memory ends before four billion series");
        self.by_key.insert(series.key, at);
        self.series.push(labels);
        at
    }
}

impl Registry {
    /// Returns a shard.
    pub(super) fn shard(&self, i: usize) -> &Mutex<RegistryShard> {
        &self.shards[i]
    }

    /// Counts series that were added, while their shard is still locked: a view that saw as many
    /// series as are counted has then seen them all.
    pub(super) fn added(&self, n: usize) {
        self.n_series.fetch_add(n, Ordering::Release);
    }

    /// Returns how many series there are.
    pub(super) fn n_series(&self) -> usize {
        self.n_series.load(Ordering::Acquire)
    }

    /// Returns the series that were there when this was called, and maybe some more.
    pub(super) fn view(&self) -> Arc<IndexView> {
        self.view_within(|n_table| (n_table / 32).max(256))
    }

    /// Returns the series as [`view`](Self::view) does, all of them in the table.
    pub(super) fn whole_view(&self) -> Arc<IndexView> {
        self.view_within(|_| 0)
    }

    fn view_within(&self, n_fresh_max: impl Fn(usize) -> usize) -> Arc<IndexView> {
        let serves = |view: &IndexView| {
            view.n_seen.iter().sum::<usize>() == self.n_series()
                && view.fresh.len() <= n_fresh_max(view.table.len())
        };
        let view = self.view.read().clone();
        if serves(&view) {
            return view;
        }
        let mut current = self.view.write();
        if !serves(&current) {
            *current = Arc::new(self.renewed(&current, n_fresh_max));
        }
        current.clone()
    }

    fn renewed(&self, old: &IndexView, n_fresh_max: impl Fn(usize) -> usize) -> IndexView {
        let mut fresh = old.fresh.clone();
        let mut n_seen = old.n_seen;
        for (shard, n_seen) in n_seen.iter_mut().enumerate() {
            let names = self.shards[shard].lock();
            for (at, labels) in names.series.iter().enumerate().skip(*n_seen) {
                fresh.push((labels.clone(), Slot { shard: shard as u8, at: at as u32 }));
            }
            *n_seen = names.series.len();
        }
        let table_len = old.table.len();
        if fresh.len() <= n_fresh_max(table_len) && table_len > 0 {
            return IndexView { table: old.table.clone(), slots: old.slots.clone(), fresh, n_seen };
        }
        let mut builder = SeriesTableBuilder::default();
        let mut added: Vec<Slot> = old.slots.to_vec();
        (0..table_len as u32).for_each(|i| builder.push(&old.table.labels(i)));
        for (labels, slot) in &fresh {
            builder.push(labels);
            added.push(*slot);
        }
        let (table, order) = builder.finish();
        let slots = order.iter().map(|&i| added[i as usize]).collect();
        IndexView { table: Arc::new(table), slots: Arc::new(slots), fresh: Vec::new(), n_seen }
    }
}
