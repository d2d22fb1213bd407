//! Results of range queries, kept for dashboards that ask the same again a little later.
//!
//! Steps are kept in chunks, each with a mark of the segments that its samples lie in. A chunk is good as long as the
//! store gives the same mark: nothing was written into its time, merged or deleted since. What lies in heads has no
//! mark, so the newest steps are evaluated each time.
//!
//! Warnings and infos are kept with the chunk that they came up in. An evaluation of several chunks does not tell in
//! which, so a query that had one is evaluated chunk by chunk from then on. Of what is missing nothing is kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use greylight_store::model::{Histogram, Labels, TenantId};
use greylight_store::read::{MetricSource, SpanMs};
use parking_lot::Mutex;

use super::Annotations;
use super::eval::{Block, Row, is_absent};
use super::plan::{Grid, Node, Shift, WindowSource};
use super::syntax::FunctionId;

/// Queries with fewer steps are evaluated sooner than looked up.
const STEPS_MIN: usize = 8;

/// Chunks have at least so many steps, and at least this width.
const CHUNK_STEPS: i64 = 60;
const CHUNK_MS: i64 = 2 * 3_600_000;

/// About what a chunk takes beside its plan and its rows: its places in maps and the allocator's own.
const ENTRY_BYTES: usize = 1 << 10;

/// Stands in the place of a chunk's number for what is known of all: that there was something to remark.
const NOTED: i64 = i64::MIN;

/// What a chunk is an answer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    /// The plan in words: a text may mean another one at other times.
    plan: Arc<str>,
    step_ms: i64,
    /// Times of steps are this more than multiples of the step.
    phase_ms: i64,
    lookback_ms: i64,
    chunk: i64,
}

/// Steps of one chunk that were evaluated.
#[derive(Debug)]
struct Chunk {
    start_ms: i64,
    n_steps: usize,
    /// See [`MetricSource::settled`].
    mark: Vec<u64>,
    rows: Vec<KeptRow>,
    notes: Annotations,
    /// The samples behind each step, where they were counted.
    counts: Option<Vec<u64>>,
    bytes: usize,
}

/// One series' values at the steps of a chunk.
#[derive(Debug)]
struct KeptRow {
    labels: Labels,
    values: Vec<f64>,
    histograms: Vec<(usize, Arc<Histogram>)>,
}

/// Chunks of answers, up to a number of bytes; those that were not asked for longest go first.
#[derive(Debug)]
pub(crate) struct ResultCache {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    chunks: HashMap<Key, (u64, Arc<Chunk>)>,
    bytes: usize,
    /// Counts what was asked for.
    now: u64,
}

/// What steps that follow each other gave.
#[derive(Debug)]
pub(super) struct Evaluated {
    pub(super) block: Block,
    pub(super) notes: Annotations,
    /// Data is missing, and may come back.
    pub(super) is_partial: bool,
    /// The samples behind each step, where they are counted.
    pub(super) counts: Option<Vec<u64>>,
}

/// A query over many steps, as the cache sees it.
#[derive(Debug)]
pub(super) struct Cached<'a> {
    cache: &'a ResultCache,
    source: &'a dyn MetricSource,
    tenant: &'a TenantId,
    plan: Arc<str>,
    lookback_ms: i64,
    /// How far before a step its answer looks.
    reach_ms: i64,
    grid: Grid,
    /// Whether samples are counted.
    counts: bool,
}

impl ResultCache {
    /// Makes an empty cache.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    fn get(&self, key: &Key) -> Option<Arc<Chunk>> {
        let mut held = self.held.lock();
        held.now += 1;
        let now = held.now;
        let (used, chunk) = held.chunks.get_mut(key)?;
        *used = now;
        Some(Arc::clone(chunk))
    }

    fn put(&self, key: Key, chunk: Chunk) {
        // One answer must not push out all others.
        if chunk.bytes > self.bytes_max / 8 {
            return;
        }
        let mut held = self.held.lock();
        held.now += 1;
        let now = held.now;
        held.bytes += chunk.bytes;
        if let Some((_, old)) = held.chunks.insert(key, (now, Arc::new(chunk))) {
            held.bytes -= old.bytes;
        }
        if held.bytes > self.bytes_max {
            held.shrink(self.bytes_max - self.bytes_max / 8);
        }
    }
}

impl Held {
    /// Drops what was not asked for longest until at most so many bytes are left.
    fn shrink(&mut self, bytes_max: usize) {
        let mut by_use: Vec<(u64, Key)> =
            self.chunks.iter().map(|(key, (used, _))| (*used, key.clone())).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.bytes <= bytes_max {
                return;
            }
            if let Some((_, chunk)) = self.chunks.remove(&key) {
                self.bytes -= chunk.bytes;
            }
        }
    }
}

/// Steps of a query that lie in one chunk, by their places in its grid.
type Steps = Range<usize>;

impl<'a> Cached<'a> {
    /// Looks at a query; `None` where its answer is not one that can be kept.
    pub(super) fn new(
        cache: Option<&'a ResultCache>,
        source: &'a dyn MetricSource,
        tenant: &'a TenantId,
        lookback_ms: i64,
        (text, node, grid): (&str, &Node, &Grid),
        counts: bool,
    ) -> Option<Self> {
        let cache = cache.filter(|cache| cache.bytes_max > 0 && grid.n >= STEPS_MIN)?;
        let reach_ms = reach(node, lookback_ms)?;
        let mut plan = format!("{node:?}");
        // Warnings name lines and columns, which then depend on more than the places that are in the plan.
        if text.contains('\n') || !text.is_ascii() {
            plan.push_str(text);
        }
        Some(Self { cache, source, tenant, plan: plan.into(), lookback_ms, reach_ms, grid: *grid, counts })
    }

    /// Returns the steps of the query by chunk.
    fn chunks(&self) -> Vec<(i64, Steps)> {
        let step = self.grid.step;
        let mut width = CHUNK_MS;
        while width / step < CHUNK_STEPS && width < i64::MAX / 4 {
            width *= 2;
        }
        let chunk = |k: usize| self.grid.time(k).div_euclid(width);
        let mut out: Vec<(i64, Steps)> = Vec::new();
        for k in 0..self.grid.n {
            match out.last_mut() {
                Some((last, steps)) if *last == chunk(k) => steps.end = k + 1,
                _ => out.push((chunk(k), k..k + 1)),
            }
        }
        out
    }

    fn key(&self, chunk: i64) -> Key {
        Key {
            tenant: self.tenant.clone(),
            plan: Arc::clone(&self.plan),
            step_ms: self.grid.step,
            phase_ms: self.grid.start.rem_euclid(self.grid.step),
            lookback_ms: self.lookback_ms,
            chunk,
        }
    }

    /// Returns the mark of all that steps look at.
    fn mark(&self, steps: &Steps) -> Option<Vec<u64>> {
        let start = self.grid.time(steps.start).saturating_sub(self.reach_ms);
        self.source.settled(self.tenant, SpanMs { start, end: self.grid.time(steps.end - 1) })
    }

    /// Answers from what is kept, and by `eval` for the rest; returns how many steps were kept. `eval` gets the grid of
    /// steps that follow each other.
    pub(super) fn answer<E>(
        &self,
        mut eval: impl FnMut(&Grid) -> Result<Evaluated, E>,
    ) -> Result<(Evaluated, usize), E> {
        let mut all = Merged::new(self.grid.n, self.counts);
        let mut todo: Vec<(i64, Steps, Option<Vec<u64>>)> = Vec::new();
        let mut n_kept = 0;
        let mut runs = Vec::new();
        let is_noted = self.cache.get(&self.key(NOTED)).is_some();
        for (number, steps) in self.chunks() {
            let mark = self.mark(&steps);
            let chunk = mark.as_ref().and_then(|mark| self.kept(number, &steps, mark));
            if let Some(chunk) = chunk {
                n_kept += steps.len();
                self.take(&chunk, &steps, &mut all);
                if !todo.is_empty() {
                    runs.push(std::mem::take(&mut todo));
                }
            } else {
                todo.push((number, steps, mark));
                if is_noted {
                    runs.push(std::mem::take(&mut todo));
                }
            }
        }
        runs.extend((!todo.is_empty()).then_some(todo));
        for run in runs {
            let (first, last) = (run[0].1.start, run[run.len() - 1].1.end);
            let grid = Grid { start: self.grid.time(first), step: self.grid.step, n: last - first };
            let made = eval(&grid)?;
            let has_notes = made.notes != Annotations::default();
            // Which of its chunks they are of is not known.
            let is_unclear = has_notes && run.len() > 1;
            if is_unclear {
                self.cache.put(self.key(NOTED), Chunk::empty(self.plan.len()));
            }
            let is_kept = !made.is_partial && !made.notes.is_full() && !is_unclear;
            for (number, steps, mark) in run {
                // Written to meanwhile, it may be of before or after that.
                if let Some(mark) = mark.filter(|mark| is_kept && self.mark(&steps).as_ref() == Some(mark)) {
                    let within = steps.start - first..steps.end - first;
                    let mut chunk = Chunk::of(&made, self.grid.time(steps.start), within, mark);
                    // Chunks share a plan, but each may be the last that holds it.
                    chunk.bytes += self.plan.len();
                    self.cache.put(self.key(number), chunk);
                }
            }
            all.add(first, made);
        }
        let Merged { block, notes, counts, .. } = all;
        Ok((Evaluated { block, notes, is_partial: false, counts }, n_kept))
    }

    fn kept(&self, number: i64, steps: &Steps, mark: &[u64]) -> Option<Arc<Chunk>> {
        let chunk = self.cache.get(&self.key(number))?;
        let (first, last) = (self.grid.time(steps.start), self.grid.time(steps.end - 1));
        let end = chunk.start_ms.saturating_add(self.grid.step.saturating_mul(chunk.n_steps as i64));
        // Of a part of its steps the mark may be another, so only all of them, or the last, can be told to be good.
        let is_within = chunk.start_ms <= first && last < end;
        let own = || {
            let start = chunk.start_ms.saturating_sub(self.reach_ms);
            let span = SpanMs { start, end: end.saturating_sub(self.grid.step) };
            self.source.settled(self.tenant, span)
        };
        // Of a part of its steps there may be less to remark.
        let is_all = chunk.start_ms == first && chunk.n_steps == steps.len();
        if !is_all && chunk.notes != Annotations::default() {
            return None;
        }
        let is_counted = !self.counts || chunk.counts.is_some();
        let is_good = is_within && is_counted && (chunk.mark == mark || own().as_ref() == Some(&chunk.mark));
        is_good.then_some(chunk)
    }

    /// Copies the steps of a chunk into the answer.
    fn take(&self, chunk: &Chunk, steps: &Steps, all: &mut Merged) {
        let before = self.grid.time(steps.start).saturating_sub(chunk.start_ms) / self.grid.step;
        let from = usize::try_from(before).unwrap_or(0);
        all.notes.merge(&chunk.notes);
        if let Some(counts) = &chunk.counts {
            all.count(steps.start, &counts[from..from + steps.len()]);
        }
        for KeptRow { labels, values, histograms } in &chunk.rows {
            let values = &values[from..from + steps.len()];
            let histograms = histograms.iter().filter(|(k, _)| (from..from + steps.len()).contains(k));
            all.put(labels, steps.start, values, histograms.map(|(k, histogram)| (k - from, histogram)));
        }
    }
}

impl Chunk {
    /// Takes some of the steps of a block.
    fn of(made: &Evaluated, start_ms: i64, steps: Steps, mark: Vec<u64>) -> Self {
        let counts = made.counts.as_ref().map(|counts| counts[steps.clone()].to_vec());
        let mut bytes = size_of::<Key>() + ENTRY_BYTES + size_of::<Self>() + 8 * mark.len();
        bytes += made.notes.bytes();
        bytes += counts.as_ref().map_or(0, |counts| 8 * counts.len());
        let mut rows = Vec::new();
        for (row, values) in made.block.iter() {
            let own = &values[steps.clone()];
            if own.iter().all(|value| is_absent(*value)) {
                continue;
            }
            let histograms: Vec<_> = row
                .histograms
                .iter(values)
                .filter(|(k, _)| steps.contains(k))
                .map(|(k, histogram)| (k - steps.start, Arc::clone(histogram)))
                .collect();
            bytes += 64 + 8 * own.len() + row.labels.as_bytes().len() + 8 * row.histograms.weight();
            rows.push(KeptRow { labels: row.labels.clone(), values: own.to_vec(), histograms });
        }
        Self { start_ms, n_steps: steps.len(), mark, rows, notes: made.notes.clone(), counts, bytes }
    }

    /// Makes one without steps.
    fn empty(plan_bytes: usize) -> Self {
        let bytes = size_of::<Key>() + ENTRY_BYTES + size_of::<Self>() + plan_bytes;
        let (mark, rows, notes) = (Vec::new(), Vec::new(), Annotations::default());
        Self { start_ms: 0, n_steps: 0, mark, rows, notes, counts: None, bytes }
    }
}

/// Rows gathered from several parts of the time.
struct Merged {
    block: Block,
    places: HashMap<Labels, usize>,
    notes: Annotations,
    counts: Option<Vec<u64>>,
}

impl Merged {
    fn new(n_steps: usize, counts: bool) -> Self {
        let counts = counts.then(|| vec![0; n_steps]);
        let (block, notes) = (Block::new(n_steps), Annotations::default());
        Self { block, places: HashMap::new(), notes, counts }
    }

    /// Takes the samples behind steps.
    fn count(&mut self, first: usize, counts: &[u64]) {
        if let Some(all) = &mut self.counts {
            all[first..first + counts.len()].copy_from_slice(counts);
        }
    }

    fn add(&mut self, first: usize, made: Evaluated) {
        let Evaluated { block, notes, counts, .. } = made;
        self.notes.merge(&notes);
        self.count(first, counts.as_deref().unwrap_or_default());
        if first == 0 && block.n_steps == self.block.n_steps {
            self.block = block;
            return;
        }
        for (row, values) in block.iter() {
            self.put(&row.labels, first, values, row.histograms.iter(values));
        }
    }

    fn put<'h>(
        &mut self,
        labels: &Labels,
        first: usize,
        values: &[f64],
        histograms: impl Iterator<Item = (usize, &'h Arc<Histogram>)>,
    ) {
        if values.iter().all(|value| is_absent(*value)) {
            return;
        }
        let at = match self.places.get(labels) {
            Some(at) => *at,
            None => {
                let at = self.block.push_absent(Row::new(labels.clone(), false));
                self.places.insert(labels.clone(), at);
                at
            }
        };
        self.block.row_mut(at)[first..first + values.len()].copy_from_slice(values);
        for (k, histogram) in histograms {
            self.block.put(at, first + k, Arc::clone(histogram));
        }
    }
}

/// Returns how far before its step an answer looks; `None` where it looks elsewhere, or its steps are not each for
/// themselves.
fn reach(node: &Node, lookback_ms: i64) -> Option<i64> {
    let within = |shift: &Shift, range_ms: i64| -> Option<i64> {
        let is_back = shift.at.is_none() && shift.offset_ms >= 0;
        is_back.then(|| shift.offset_ms.saturating_add(range_ms))
    };
    let most = |nodes: &[Node]| -> Option<i64> {
        nodes.iter().try_fold(0, |most, node| Some(reach(node, lookback_ms)?.max(most)))
    };
    match node {
        Node::Number(_) | Node::Text(_) | Node::Time => Some(0),
        Node::Series(series) | Node::Timestamps(series) => within(&series.shift, lookback_ms),
        Node::Raw(_) => None,
        Node::Window { window, params, .. } => {
            let own = match &window.source {
                WindowSource::Series(series) => within(&series.shift, window.range_ms)?,
                WindowSource::Subquery { node, step_ms, shift } => within(shift, window.range_ms)?
                    .saturating_add(*step_ms)
                    .saturating_add(reach(node, lookback_ms)?),
            };
            Some(own.max(most(params)?))
        }
        // What it reads beside its argument is not in the tree.
        Node::Call { func: FunctionId::Info, .. } => None,
        Node::Call { args, .. } => most(args),
        Node::Aggregate { param, expr, .. } => {
            let param = param.as_ref().map_or(Some(0), |param| reach(param, lookback_ms))?;
            Some(param.max(reach(expr, lookback_ms)?))
        }
        Node::Binary { lhs, rhs, .. } => Some(reach(lhs, lookback_ms)?.max(reach(rhs, lookback_ms)?)),
        Node::Negate(inner) | Node::Fixed(inner) => reach(inner, lookback_ms),
    }
}
