//! Windows over series that have histograms, alone or among numbers.

use std::ops::Range;
use std::sync::Arc;

use greylight_store::model::{CounterReset, Histogram};
use greylight_store::read::is_stale;

use super::super::histogram::{self, Mismatch};
use super::super::plan::{Grid, Shift};
use super::super::syntax::{FunctionId, Span};
use super::Evaluator;
use super::block::{ABSENT, HISTOGRAM, Histograms};
use super::window::{self, Cursor, Numbers, Scratch, WindowSpec};

/// Samples of a series, the numbers and the histograms apart, without the marks of staleness.
#[derive(Debug, Default)]
pub(super) struct Mixed {
    t_ms: Vec<i64>,
    values: Vec<f64>,
    histogram_t_ms: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
}

impl Mixed {
    /// Takes columns apart; `histograms` come with their places in them, rising.
    pub(super) fn split<'a>(
        t_ms: &[i64],
        values: &[f64],
        histograms: impl Iterator<Item = (usize, &'a Arc<Histogram>)>,
    ) -> Self {
        let mut out = Self::default();
        let mut histograms = histograms.peekable();
        for (k, (t, v)) in t_ms.iter().zip(values).enumerate() {
            if let Some((_, histogram)) = histograms.next_if(|(at, _)| *at == k) {
                out.histogram_t_ms.push(*t);
                out.histograms.push(histogram.clone());
            } else if !is_stale(*v) {
                out.t_ms.push(*t);
                out.values.push(*v);
            }
        }
        out
    }

    pub(super) fn numbers(&self) -> Numbers<'_> {
        Numbers::all(&self.t_ms, &self.values)
    }

    /// Returns the times of the histograms, and these.
    pub(super) fn histograms(&self) -> (&[i64], &[Arc<Histogram>]) {
        (&self.histogram_t_ms, &self.histograms)
    }
}

/// Finds the last live sample at or before each step, no older than the lookback; or its time in seconds.
pub(super) fn latest_row(
    (grid, shift, lookback_ms): (&Grid, &Shift, i64),
    samples: greylight_store::read::Samples<'_>,
    times: bool,
    row: &mut Histograms,
    out: &mut [f64],
) {
    let columns = (samples.t_ms, samples.values);
    window::latest_row(grid, shift, lookback_ms, columns, times, out);
    let (mut hi, mut next) = (0, 0);
    for (k, slot) in out.iter_mut().enumerate() {
        let at = shift.time(grid, k);
        while hi < samples.t_ms.len() && samples.t_ms[hi] <= at {
            hi += 1;
        }
        while next < samples.histograms.len() && samples.histograms[next].0 < hi {
            next += 1;
        }
        if next == 0 || samples.histograms[next - 1].0 + 1 != hi {
            continue;
        }
        let t = samples.t_ms[hi - 1];
        if t <= at.saturating_sub(lookback_ms) {
            continue;
        }
        if times {
            *slot = t as f64 / 1000.0;
        } else {
            *slot = HISTOGRAM;
            row.put(k, samples.histograms[next - 1].1.clone());
        }
    }
}

/// What a window with a histogram in it gives.
enum Found {
    /// What its numbers alone give.
    Numbers,
    Nothing,
    Number(f64),
    Histogram(Arc<Histogram>),
}

impl Found {
    fn made(mut histogram: Histogram) -> Self {
        histogram::compact(&mut histogram);
        Self::Histogram(Arc::new(histogram))
    }
}

/// What there is to say of a series.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Mixed,
    Ignored,
    NotCounter,
    NotGauge,
    Mismatch(Mismatch),
}

/// One sample of a window.
#[derive(Clone, Copy)]
enum Point {
    Number(f64),
    /// The place of a histogram.
    Histogram(usize),
}

/// The windows of one series.
pub(super) struct Windows<'a> {
    spec: &'a WindowSpec,
    samples: &'a Mixed,
    /// Of each histogram, whether it is a reset after the one before it; for `changes`, whether it is another.
    breaks: Vec<bool>,
    notes: Vec<Note>,
}

impl<'a> Windows<'a> {
    /// Evaluates the function of `spec` at each step; steps without an answer stay absent.
    pub(super) fn eval(
        eval: &Evaluator<'_>,
        spec: &'a WindowSpec,
        samples: &'a Mixed,
        (name, span): (&str, Span),
        (row, out): (&mut Histograms, &mut [f64]),
        scratch: &mut Scratch,
    ) {
        use FunctionId as F;
        let breaks = |f: fn(&Histogram, &Histogram) -> bool| {
            let pairs = samples.histograms.windows(2).map(|pair| f(&pair[0], &pair[1]));
            std::iter::once(false).chain(pairs).collect()
        };
        let breaks = match spec.func {
            F::Rate | F::Increase | F::Irate | F::Resets => breaks(histogram::is_reset),
            F::Changes => breaks(|before, now| !histogram::is_equal(before, now)),
            _ => Vec::new(),
        };
        let mut windows = Self { spec, samples, breaks, notes: Vec::new() };
        // As if there were numbers alone; what histograms change is changed after that.
        window::eval_row(spec, Numbers::all(&samples.t_ms, &samples.values), out, scratch);
        let (mut numbers, mut histograms) = (Cursor::default(), Cursor::default());
        for (k, slot) in out.iter_mut().enumerate() {
            let numbers = numbers.at(spec, &samples.t_ms, k);
            let histograms = histograms.at(spec, &samples.histogram_t_ms, k);
            if histograms.is_empty() {
                continue;
            }
            match windows.at(k, numbers, histograms) {
                Found::Numbers => {}
                Found::Nothing => *slot = ABSENT,
                Found::Number(value) => *slot = value,
                Found::Histogram(histogram) => {
                    *slot = HISTOGRAM;
                    row.put(k, histogram);
                }
            }
        }
        for note in windows.notes {
            match note {
                Note::Mixed => eval.note_mixed(name, span),
                Note::Ignored => eval.note_ignored_in_range(name, span),
                Note::NotCounter => eval.note_not_counter(name, span),
                Note::NotGauge => eval.note_not_gauge(name, span),
                Note::Mismatch(mismatch) => eval.note_mismatch(mismatch, name, span),
            }
        }
    }

    fn note(&mut self, note: Note) -> Found {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        Found::Nothing
    }

    /// Evaluates one window, which has at least one histogram.
    fn at(&mut self, k: usize, numbers: Range<usize>, histograms: Range<usize>) -> Found {
        use FunctionId as F;
        let Mixed { t_ms, histogram_t_ms, histograms: all, .. } = self.samples;
        let n = (numbers.len() + histograms.len()) as f64;
        // Of two samples of a series no two are at one time.
        let histogram_is_first = numbers.is_empty() || histogram_t_ms[histograms.start] < t_ms[numbers.start];
        let histogram_is_last =
            numbers.is_empty() || histogram_t_ms[histograms.end - 1] > t_ms[numbers.end - 1];
        match self.spec.func {
            F::Rate | F::Increase | F::Delta | F::SumOverTime | F::AvgOverTime if !numbers.is_empty() => {
                self.note(Note::Mixed)
            }
            F::Rate | F::Increase | F::Delta => self.extrapolated(k, histograms),
            F::SumOverTime | F::AvgOverTime => self.sum(histograms),
            F::Irate | F::Idelta => self.instant_delta(numbers, histograms),
            F::CountOverTime => Found::Number(n),
            F::PresentOverTime | F::AbsentOverTime => Found::Number(1.0),
            F::FirstOverTime if histogram_is_first => Found::Histogram(all[histograms.start].clone()),
            F::LastOverTime if histogram_is_last => Found::Histogram(all[histograms.end - 1].clone()),
            F::TsOfFirstOverTime if histogram_is_first => {
                Found::Number(histogram_t_ms[histograms.start] as f64 / 1000.0)
            }
            F::TsOfLastOverTime if histogram_is_last => {
                Found::Number(histogram_t_ms[histograms.end - 1] as f64 / 1000.0)
            }
            F::FirstOverTime | F::LastOverTime | F::TsOfFirstOverTime | F::TsOfLastOverTime => Found::Numbers,
            F::Changes | F::Resets => Found::Number(self.breaks_within(numbers, histograms)),
            // All others are of numbers.
            _ => {
                if !numbers.is_empty() {
                    self.note(Note::Ignored);
                }
                Found::Numbers
            }
        }
    }

    /// `rate`, `increase`, `delta`
    fn extrapolated(&mut self, k: usize, place: Range<usize>) -> Found {
        let is_counter = self.spec.func != FunctionId::Delta;
        let window = &self.samples.histograms[place.clone()];
        let [first, .., last] = window else { return Found::Nothing };
        let is_gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
        if is_counter && window.iter().any(|h| is_gauge(h)) {
            self.note(Note::NotCounter);
        }
        match self.change(place.clone(), is_counter) {
            Ok(mut change) => {
                if !is_counter && (!is_gauge(first) || !is_gauge(last)) {
                    self.note(Note::NotGauge);
                }
                let t_ms = &self.samples.histogram_t_ms;
                let times = (t_ms[place.start], t_ms[place.end - 1]);
                let n = place.len();
                let factor = window::stretch(self.spec, k, times, n, None);
                histogram::scale(&mut change, factor);
                change.reset = CounterReset::Gauge;
                Found::made(change)
            }
            Err(mismatch) => self.note(Note::Mismatch(mismatch)),
        }
    }

    /// Returns the change from the first to the last histogram, resets taken out where it is a counter.
    fn change(&self, place: Range<usize>, is_counter: bool) -> Result<Histogram, Mismatch> {
        let window = &self.samples.histograms[place.clone()];
        let [first, inner @ .., last] = window else { return Err(Mismatch::Schema) };
        // Of what was before a reset nothing is left to subtract from, and so its layout does not matter.
        let starts_anew = is_counter && self.breaks[place.start + 1];
        let base = if starts_anew { &window[1] } else { first };
        let looked_at = if is_counter { inner } else { &[] };
        let others = looked_at.iter().chain([last]);
        if others.clone().any(|h| h.has_custom_bounds() != base.has_custom_bounds()) {
            return Err(Mismatch::Schema);
        }
        let schema = others.map(|h| h.schema).fold(base.schema, i32::min);
        let mut change = Histogram::clone(last);
        histogram::reduce(&mut change, schema);
        if !starts_anew {
            histogram::subtract(&mut change, first)?;
        }
        if is_counter {
            for i in (place.start + 1 + usize::from(starts_anew)..place.end).filter(|i| self.breaks[*i]) {
                histogram::add(&mut change, &self.samples.histograms[i - 1])?;
            }
        }
        Ok(change)
    }

    /// `sum_over_time`, `avg_over_time`
    fn sum(&mut self, place: Range<usize>) -> Found {
        let window = &self.samples.histograms[place];
        let mut sum = Histogram::clone(&window[0]);
        for histogram in &window[1..] {
            if let Err(mismatch) = histogram::add(&mut sum, histogram) {
                return self.note(Note::Mismatch(mismatch));
            }
        }
        if self.spec.func == FunctionId::AvgOverTime {
            histogram::divide(&mut sum, window.len() as f64);
        }
        // It goes up and down with the window.
        sum.reset = CounterReset::Gauge;
        Found::made(sum)
    }

    /// `irate`, `idelta`
    fn instant_delta(&mut self, numbers: Range<usize>, place: Range<usize>) -> Found {
        let Mixed { t_ms, histogram_t_ms, histograms, .. } = self.samples;
        let is_rate = self.spec.func == FunctionId::Irate;
        let last_of = |range: &Range<usize>| range.end.saturating_sub(2).max(range.start)..range.end;
        let mut points: Vec<(i64, Option<usize>)> = last_of(&numbers).map(|i| (t_ms[i], None)).collect();
        points.extend(last_of(&place).map(|i| (histogram_t_ms[i], Some(i))));
        points.sort_by_key(|(t, _)| *t);
        let [.., (before, a), (now, b)] = points[..] else { return Found::Nothing };
        match (a, b) {
            (None, None) => Found::Numbers,
            (Some(a), Some(b)) => {
                let is_gauge = |i: usize| histograms[i].reset == CounterReset::Gauge;
                if is_rate && (is_gauge(a) || is_gauge(b)) {
                    self.note(Note::NotCounter);
                }
                if !is_rate && (!is_gauge(a) || !is_gauge(b)) {
                    self.note(Note::NotGauge);
                }
                let mut change = Histogram::clone(&histograms[b]);
                let is_reset = is_rate && self.breaks[b];
                if !is_reset && let Err(mismatch) = histogram::subtract(&mut change, &histograms[a]) {
                    return self.note(Note::Mismatch(mismatch));
                }
                if is_rate {
                    histogram::divide(&mut change, (now - before) as f64 / 1000.0);
                }
                change.reset = CounterReset::Gauge;
                Found::made(change)
            }
            _ => self.note(Note::Mixed),
        }
    }

    /// `changes`, `resets`: counts the samples that break with the one before; a number after a histogram does, and a
    /// histogram after a number.
    fn breaks_within(&self, numbers: Range<usize>, place: Range<usize>) -> f64 {
        let Mixed { t_ms, values, histogram_t_ms, .. } = self.samples;
        let (mut i, mut j) = (numbers.start, place.start);
        let mut before: Option<Point> = None;
        let mut n = 0;
        while i < numbers.end || j < place.end {
            let is_number = i < numbers.end && (j == place.end || t_ms[i] < histogram_t_ms[j]);
            let now = if is_number {
                i += 1;
                Point::Number(values[i - 1])
            } else {
                j += 1;
                Point::Histogram(j - 1)
            };
            n += usize::from(before.is_some_and(|before| self.is_break(before, now)));
            before = Some(now);
        }
        n as f64
    }

    fn is_break(&self, before: Point, now: Point) -> bool {
        match (before, now) {
            (Point::Number(a), Point::Number(b)) if self.spec.func == FunctionId::Resets => b < a,
            (Point::Number(a), Point::Number(b)) => a != b && !(a.is_nan() && b.is_nan()),
            // Nothing lies between them, so they follow one another among histograms too.
            (Point::Histogram(_), Point::Histogram(now)) => self.breaks[now],
            _ => true,
        }
    }
}
