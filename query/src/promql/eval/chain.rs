//! Series from the store, through a window and operations on single values, piece by piece: an
//! aggregation over them never holds more than a piece of its input.

use std::sync::atomic::{AtomicUsize, Ordering};

use greylight_store::read::{Samples, Select, Selection, SpanMs, WholeBuckets};
use parking_lot::Mutex;

use super::super::plan::{Grid, Node, SeriesNode, Shift, WindowSource};
use super::super::syntax::{FunctionId, Span};
use super::block::{Block, Row, is_absent};
use super::elementwise::Op;
use super::mixed::{self, Mixed, Windows};
use super::window::{self, Numbers, Scratch, WindowSpec};
use super::{Evaluator, Result, names_are_kept, tally};

/// How a series' samples become values at steps.
#[derive(Debug)]
enum Leaf {
    Latest { grid: Grid, shift: Shift, times: bool },
    Window(WindowSpec),
}

/// Selected series and what happens to each of them.
#[derive(Debug)]
pub(super) struct Chain {
    selection: Box<dyn Selection>,
    leaf: Leaf,
    ops: Vec<Op>,
    /// Place of the argument in the text.
    span: Span,
    /// Length of the time that is read.
    span_ms: u64,
}

/// Values held while a piece is worked on: small enough for the cache of a core.
const PIECE_VALUES: usize = 64 * 1024;
/// The parts that threads share out; fixed, so that sums round alike on every machine.
const PARTS: usize = 8;
/// Fewer samples than this, at one in fifteen seconds, are not worth a second thread.
const PARALLEL_SAMPLES: u64 = 100_000;
const USUAL_GAP_MS: u64 = 15_000;

impl Chain {
    /// Opens the series behind a node, if that is what it is; `ops` are applied to each.
    pub(super) fn open(eval: &Evaluator<'_>, node: &Node, grid: &Grid, ops: Vec<Op>) -> Result<Option<Self>> {
        let (leaf, series, range_ms, span) = match node {
            Node::Series(series) | Node::Timestamps(series) => {
                let times = matches!(node, Node::Timestamps(_));
                let leaf = Leaf::Latest { grid: *grid, shift: series.shift, times };
                (leaf, series, eval.lookback_ms, Span::default())
            }
            Node::Window { func, window, params, param_span } => {
                let WindowSource::Series(series) = &window.source else { return Ok(None) };
                let spec = eval.window_spec(*func, window, series.shift, (params, *param_span), grid)?;
                (Leaf::Window(spec), series, window.range_ms, window.span)
            }
            _ => return Ok(None),
        };
        let buckets = match &leaf {
            Leaf::Latest { shift, .. } => window::buckets(None, grid, shift, None),
            Leaf::Window(spec) => window::buckets(Some(spec.func), grid, &spec.shift, Some(range_ms)),
        };
        let selection = select(eval, series, grid, range_ms, buckets)?;
        let (first, last) = series.shift.bounds(grid);
        let span_ms = first.abs_diff(last).saturating_add(range_ms.unsigned_abs());
        Ok(Some(Self { selection, leaf, ops, span, span_ms }))
    }

    /// Returns all of it.
    pub(super) fn block(&self, eval: &Evaluator<'_>, n_steps: usize) -> Result<Block> {
        // Counted as it grows, over all threads: checked at the end it would be in memory already.
        let n_values = AtomicUsize::new(0);
        let append = |all: &mut Block, piece: Block| {
            let more = piece.weight();
            eval.check_size(n_values.fetch_add(more, Ordering::Relaxed) + more)?;
            all.append(piece);
            Ok(())
        };
        let parts = self.fold(eval, n_steps, Block::new, append)?;
        let join = |mut all: Block, part| {
            all.append(part);
            all
        };
        Ok(parts.into_iter().reduce(join).unwrap_or_else(|| Block::new(n_steps)))
    }

    /// Folds the series piece by piece; one result for each part, in the order of series.
    pub(super) fn fold<T: Send>(
        &self,
        eval: &Evaluator<'_>,
        n_steps: usize,
        start: impl Fn(usize) -> T + Sync,
        step: impl Fn(&mut T, Block) -> Result<()> + Sync,
    ) -> Result<Vec<T>> {
        let n = self.selection.series().len();
        let n_samples = (self.span_ms / USUAL_GAP_MS + 1).saturating_mul(n as u64);
        let parts = if n >= PARTS && n_samples >= PARALLEL_SAMPLES { PARTS } else { 1 };
        let run = |part: usize| -> Result<T> {
            let mut folded = start(n_steps);
            let mut piece = Piece::new(self, eval, n_steps);
            let mut fault = None;
            // One read for the whole part: opening a part of a segment costs, going on in it does not.
            self.selection.read(
                n * part / parts..n * (part + 1) / parts,
                eval.budget,
                &mut |i, samples| {
                    if fault.is_some() {
                        return;
                    }
                    piece.add(i, samples);
                    if piece.block.values.len() + piece.weight >= PIECE_VALUES {
                        fault = step(&mut folded, piece.take()).err();
                    }
                },
            )?;
            eval.tally.add(&piece.counts);
            eval.tally.hold(piece.peak);
            match fault {
                Some(fault) => Err(fault),
                None => step(&mut folded, piece.take()).map(|()| folded),
            }
        };
        in_parallel(parts, eval.n_threads, run)
    }

    fn note_name(&self, eval: &Evaluator<'_>, func: FunctionId, name: &str, noted: &mut String) {
        if matches!(func, FunctionId::Rate | FunctionId::Increase)
            && !name.is_empty()
            && name != noted.as_str()
        {
            name.clone_into(noted);
            eval.note_counter_name(name, self.span);
        }
    }
}

/// Rows that gather until there are enough of them to go on with.
struct Piece<'a> {
    chain: &'a Chain,
    eval: &'a Evaluator<'a>,
    block: Block,
    scratch: Scratch,
    live: Scratch,
    /// The last name that a note was made of.
    noted: String,
    /// Space of the histograms among its values.
    weight: usize,
    /// Samples behind each step; empty where they are not counted.
    counts: Vec<u64>,
    /// The most values and samples that were held at once.
    peak: usize,
}

impl<'a> Piece<'a> {
    fn new(chain: &'a Chain, eval: &'a Evaluator<'a>, n_steps: usize) -> Self {
        let (scratch, live) = (Scratch::default(), Scratch::default());
        let counts = if eval.tally.is_on() { vec![0; n_steps] } else { Vec::new() };
        let (block, noted) = (Block::new(n_steps), String::new());
        Self { chain, eval, block, scratch, live, noted, weight: 0, counts, peak: 0 }
    }

    fn take(&mut self) -> Block {
        self.weight = 0;
        let empty = Block::new(self.block.n_steps);
        std::mem::replace(&mut self.block, empty)
    }

    /// Adds the row of a series, unless it has no value at any step.
    fn add(&mut self, i: usize, samples: Samples<'_>) {
        let labels = &self.chain.selection.series()[i];
        let n_steps = self.block.n_steps;
        let drop_name = match &self.chain.leaf {
            Leaf::Latest { times, .. } => *times,
            Leaf::Window(spec) => !names_are_kept(spec.func),
        };
        let at = self.block.push_absent(Row::new(labels.clone(), drop_name));
        self.peak = self.peak.max(samples.t_ms.len() + self.block.values.len() + self.weight);
        let values = &mut self.block.values[at * n_steps..];
        match &self.chain.leaf {
            Leaf::Latest { grid, shift, times } if !samples.histograms.is_empty() => {
                let row = &mut self.block.rows[at].histograms;
                mixed::latest_row((grid, shift, self.eval.lookback_ms), samples, *times, row, values);
            }
            Leaf::Window(spec) if !samples.histograms.is_empty() => {
                let histograms = samples.histograms.iter().map(|(k, histogram)| (*k, histogram));
                let split = Mixed::split(samples.t_ms, samples.values, histograms);
                if self.eval.tally.is_on() {
                    tally::add_mixed_windows(&mut self.counts, spec, &split);
                }
                let to = (&mut self.block.rows[at].histograms, &mut *values);
                let of = (labels.metric_name(), self.chain.span);
                Windows::eval(self.eval, spec, &split, of, to, &mut self.scratch);
            }
            Leaf::Latest { grid, shift, times } => {
                let samples = (samples.t_ms, samples.values);
                window::latest_row(grid, shift, self.eval.lookback_ms, samples, *times, values);
            }
            Leaf::Window(spec) => {
                let Samples { t_ms, values: v, counts, .. } = samples;
                let numbers = self.live.live(Numbers { t_ms, values: v, counts });
                if self.eval.tally.is_on() {
                    tally::add_windows(&mut self.counts, spec, numbers);
                }
                window::eval_row(spec, numbers, values, &mut self.scratch);
            }
        }
        if let (Leaf::Latest { .. }, true) = (&self.chain.leaf, self.eval.tally.is_on()) {
            tally::add_row(&mut self.counts, &self.block.rows[at].histograms, values);
        }
        if values.iter().all(|v| is_absent(*v)) {
            self.block.rows.pop();
            self.block.values.truncate(at * n_steps);
            return;
        }
        let is_numbers = self.block.rows[at].histograms.is_empty() || self.block.has_number(at);
        if let (Leaf::Window(spec), true) = (&self.chain.leaf, is_numbers) {
            self.chain.note_name(self.eval, spec.func, labels.metric_name(), &mut self.noted);
        }
        for op in &self.chain.ops {
            op.apply(self.eval, &mut self.block.rows[at], &mut self.block.values[at * n_steps..]);
        }
        self.weight += self.block.rows[at].histograms.weight();
    }
}

/// Selects what the windows of a grid may reach.
pub(super) fn select(
    eval: &Evaluator<'_>,
    series: &SeriesNode,
    grid: &Grid,
    range_ms: i64,
    buckets: Option<WholeBuckets>,
) -> Result<Box<dyn Selection>> {
    let (first, last) = series.shift.bounds(grid);
    // Windows are open on the left.
    let span = SpanMs { start: first.saturating_sub(range_ms).saturating_add(1), end: last };
    let select = Select { matchers: &series.matchers, span };
    let selection = match buckets {
        Some(buckets) => eval.source.select_buckets(eval.tenant, &select, buckets, eval.budget)?,
        None => eval.source.select(eval.tenant, &select, eval.budget)?,
    };
    for text in selection.missing() {
        eval.is_partial.store(true, Ordering::Relaxed);
        eval.warn(format!("data is missing from this answer: {text}"));
    }
    Ok(selection)
}

/// Runs `n` jobs on at most `n_threads` threads; results come in order, the first fault ends all.
fn in_parallel<T: Send>(
    n: usize,
    n_threads: usize,
    run: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if n <= 1 || n_threads <= 1 {
        return (0..n).map(run).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<T>>>> = Mutex::new((0..n).map(|_| None).collect());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return;
            }
            let result = run(i);
            if result.is_err() {
                next.store(n, Ordering::Relaxed);
            }
            done.lock()[i] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..n_threads.min(n) {
            scope.spawn(work);
        }
        work();
    });
    let mut out = Vec::with_capacity(n);
    let mut results = done.into_inner();
    // A fault may lie behind jobs that were then never started.
    if let Some(at) = results.iter().position(|r| matches!(r, Some(Err(_)))) {
        results.swap(0, at);
    }
    for result in results.into_iter().flatten() {
        out.push(result?);
    }
    Ok(out)
}
