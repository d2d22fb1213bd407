//! Functions over the samples of a window, for all steps of one series in one pass.

use greylight_store::read::{WholeBuckets, is_stale};

use super::super::plan::{Grid, Shift};
use super::super::syntax::FunctionId;
use super::block::ABSENT;
use super::numeric;

/// What every window of one evaluation shares.
#[derive(Clone, Debug)]
pub(super) struct WindowSpec {
    pub(super) func: FunctionId,
    pub(super) grid: Grid,
    pub(super) shift: Shift,
    pub(super) range_ms: i64,
    /// A value for each step of each parameter.
    pub(super) params: Vec<Vec<f64>>,
}

/// Samples of one series that are numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers<'a> {
    pub(super) t_ms: &'a [i64],
    pub(super) values: &'a [f64],
    /// How many samples each one stands for; empty where each is just itself.
    pub(super) counts: &'a [u32],
}

impl<'a> Numbers<'a> {
    /// Takes columns of which nothing was left out.
    pub(super) fn all(t_ms: &'a [i64], values: &'a [f64]) -> Self {
        Self { t_ms, values, counts: &[] }
    }

    /// Returns how many samples those in a range stand for.
    pub(super) fn n(&self, lo: usize, hi: usize) -> usize {
        match self.counts {
            [] => hi - lo,
            counts => counts[lo..hi].iter().map(|n| *n as usize).sum(),
        }
    }
}

/// Space that is used again from series to series.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    t_ms: Vec<i64>,
    values: Vec<f64>,
    counts: Vec<u32>,
    resets: Vec<usize>,
    sorted: Vec<f64>,
}

impl Scratch {
    /// Returns the samples without the marks of staleness.
    pub(super) fn live<'a>(&'a mut self, all: Numbers<'a>) -> Numbers<'a> {
        if !all.values.iter().any(|v| is_stale(*v)) {
            return all;
        }
        self.t_ms.clear();
        self.values.clear();
        self.counts.clear();
        for (i, v) in all.values.iter().enumerate().filter(|(_, v)| !is_stale(**v)) {
            self.t_ms.push(all.t_ms[i]);
            self.values.push(*v);
            self.counts.extend(all.counts.get(i));
        }
        Numbers { t_ms: &self.t_ms, values: &self.values, counts: &self.counts }
    }
}

/// Returns what a function asks of samples at the windows of a grid, where it does not need each of them.
///
/// `range_ms` is `None` for the last sample at or before each step.
pub(super) fn buckets(
    func: Option<FunctionId>,
    grid: &Grid,
    shift: &Shift,
    range_ms: Option<i64>,
) -> Option<WholeBuckets> {
    use FunctionId as F;
    let falls = match func {
        Some(F::Rate | F::Increase | F::Resets) => true,
        None
        | Some(
            F::MinOverTime
            | F::MaxOverTime
            | F::CountOverTime
            | F::FirstOverTime
            | F::LastOverTime
            | F::PresentOverTime
            | F::AbsentOverTime
            | F::TsOfFirstOverTime
            | F::TsOfLastOverTime
            | F::Delta,
        ) => false,
        Some(_) => return None,
    };
    let step = if grid.n > 1 && shift.at.is_none() { grid.step } else { 0 };
    let every = [shift.time(grid, 0), step, range_ms.unwrap_or(0)];
    let every_ms = every.iter().fold(0, |a, b| greatest_common_divisor(a, b.unsigned_abs()));
    // Of nothing but zeros any number is a divisor; a day is more than any rollup has.
    let every_ms = if every_ms == 0 { 86_400_000 } else { i64::try_from(every_ms).ok()? };
    Some(WholeBuckets { every_ms, falls })
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The samples of a window, as the windows move on from step to step.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    lo: usize,
    hi: usize,
}

impl Cursor {
    /// Returns which samples are in the window of step `k`, which is not before the last one asked for.
    #[inline]
    pub(super) fn at(&mut self, spec: &WindowSpec, t_ms: &[i64], k: usize) -> std::ops::Range<usize> {
        // Open on the left, closed on the right.
        let end = spec.shift.time(&spec.grid, k);
        let start = end.saturating_sub(spec.range_ms);
        while self.hi < t_ms.len() && t_ms[self.hi] <= end {
            self.hi += 1;
        }
        while self.lo < self.hi && t_ms[self.lo] <= start {
            self.lo += 1;
        }
        self.lo..self.hi
    }
}

/// Walks the windows of all steps: `f(step, from, to)` gets the samples `from..to`, which may be none.
fn each_window(spec: &WindowSpec, t_ms: &[i64], mut f: impl FnMut(usize, usize, usize)) {
    let mut cursor = Cursor::default();
    for k in 0..spec.grid.n {
        let window = cursor.at(spec, t_ms, k);
        f(k, window.start, window.end);
    }
}

/// Evaluates the function at each step; steps without an answer are left as they are, absent.
/// The samples hold no mark of staleness.
pub(super) fn eval_row(spec: &WindowSpec, samples: Numbers<'_>, out: &mut [f64], scratch: &mut Scratch) {
    use FunctionId as F;
    let Numbers { t_ms, values, .. } = samples;
    if t_ms.is_empty() {
        return;
    }
    match spec.func {
        F::Rate | F::Increase | F::Delta => extrapolated(spec, samples, out, &mut scratch.resets),
        F::Irate | F::Idelta => instant_delta(spec, t_ms, values, out),
        F::CountOverTime => each_window(spec, t_ms, |k, lo, hi| {
            if lo < hi {
                out[k] = samples.n(lo, hi) as f64;
            }
        }),
        F::QuantileOverTime => {
            let sorted = &mut scratch.sorted;
            each_window(spec, t_ms, |k, lo, hi| {
                if lo < hi {
                    sorted.clear();
                    sorted.extend_from_slice(&values[lo..hi]);
                    out[k] = numeric::quantile(spec.params[0][k], sorted);
                }
            });
        }
        F::MadOverTime => {
            let sorted = &mut scratch.sorted;
            each_window(spec, t_ms, |k, lo, hi| {
                if lo < hi {
                    sorted.clear();
                    sorted.extend_from_slice(&values[lo..hi]);
                    let median = numeric::quantile(0.5, sorted);
                    sorted.iter_mut().for_each(|v| *v = (*v - median).abs());
                    out[k] = numeric::quantile(0.5, sorted);
                }
            });
        }
        F::PredictLinear => each_window(spec, t_ms, |k, lo, hi| {
            if hi - lo >= 2 {
                let (slope, intercept) =
                    numeric::linear_regression(&t_ms[lo..hi], &values[lo..hi], spec.grid.time(k));
                out[k] = slope * spec.params[0][k] + intercept;
            }
        }),
        F::DoubleExponentialSmoothing => each_window(spec, t_ms, |k, lo, hi| {
            if hi - lo >= 2 {
                out[k] = smooth(&values[lo..hi], spec.params[0][k], spec.params[1][k]);
            }
        }),
        func => each_window(spec, t_ms, |k, lo, hi| {
            if lo < hi {
                out[k] = plain(func, &t_ms[lo..hi], &values[lo..hi]);
            }
        }),
    }
}

/// Functions of the window's samples alone; at least one sample.
fn plain(func: FunctionId, t_ms: &[i64], v: &[f64]) -> f64 {
    use FunctionId as F;
    match func {
        F::AvgOverTime => numeric::mean(v),
        F::SumOverTime => numeric::sum(v),
        F::MinOverTime => v.iter().skip(1).fold(v[0], |m, x| if *x < m || m.is_nan() { *x } else { m }),
        F::MaxOverTime => v.iter().skip(1).fold(v[0], |m, x| if *x > m || m.is_nan() { *x } else { m }),
        F::StddevOverTime => numeric::variance(v).sqrt(),
        F::StdvarOverTime => numeric::variance(v),
        F::LastOverTime => v[v.len() - 1],
        F::FirstOverTime => v[0],
        F::PresentOverTime | F::AbsentOverTime => 1.0,
        F::Changes => {
            v.windows(2).filter(|w| w[0] != w[1] && !(w[0].is_nan() && w[1].is_nan())).count() as f64
        }
        F::Resets => v.windows(2).filter(|w| w[1] < w[0]).count() as f64,
        F::Deriv if v.len() >= 2 => numeric::linear_regression(t_ms, v, t_ms[0]).0,
        F::TsOfFirstOverTime => t_ms[0] as f64 / 1000.0,
        F::TsOfLastOverTime => t_ms[t_ms.len() - 1] as f64 / 1000.0,
        F::TsOfMinOverTime => time_of(t_ms, v, |x, m| x <= m),
        F::TsOfMaxOverTime => time_of(t_ms, v, |x, m| x >= m),
        _ => ABSENT,
    }
}

fn time_of(t_ms: &[i64], v: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = 0;
    for i in 1..v.len() {
        if better(v[i], v[best]) || v[best].is_nan() {
            best = i;
        }
    }
    t_ms[best] as f64 / 1000.0
}

/// Holt's double exponential smoothing.
fn smooth(v: &[f64], sf: f64, tf: f64) -> f64 {
    let (mut s0, mut s1, mut b) = (0.0, v[0], v[1] - v[0]);
    for (i, value) in v.iter().enumerate().skip(1) {
        if i > 1 {
            b = tf * (s1 - s0) + (1.0 - tf) * b;
        }
        let y = (1.0 - sf) * (s1 + b);
        (s0, s1) = (s1, sf * value + y);
    }
    s1
}

/// `rate`, `increase`, `delta`: the change between the first and the last sample, stretched to the window.
fn extrapolated(spec: &WindowSpec, samples: Numbers<'_>, out: &mut [f64], resets: &mut Vec<usize>) {
    let Numbers { t_ms, values: v, .. } = samples;
    resets.clear();
    if spec.func != FunctionId::Delta {
        resets.extend((1..v.len()).filter(|i| v[*i] < v[*i - 1]));
    }
    let mut first_reset = 0;
    each_window(spec, t_ms, |k, lo, hi| {
        if hi - lo < 2 {
            return;
        }
        let (first, last) = (lo, hi - 1);
        let mut change = v[last] - v[first];
        while first_reset < resets.len() && resets[first_reset] <= first {
            first_reset += 1;
        }
        for i in resets[first_reset..].iter().take_while(|i| **i <= last) {
            change += v[i - 1];
        }
        let n = samples.n(lo, hi);
        out[k] = change * stretch(spec, k, (t_ms[first], t_ms[last]), n, Some((v[first], change)));
    });
}

/// Returns the factor that makes the change between the first and the last of `n` samples, at least two, the answer
/// of `rate`, `increase` or `delta`. `rise` is the first value and the change, by which a counter is traced back to
/// where it was zero; histograms are not, as in Prometheus 3.5.
#[inline]
pub(super) fn stretch(
    spec: &WindowSpec,
    k: usize,
    (t_first, t_last): (i64, i64),
    n: usize,
    rise: Option<(f64, f64)>,
) -> f64 {
    let end = spec.shift.time(&spec.grid, k);
    let start = end.saturating_sub(spec.range_ms);
    let mut to_start = (t_first - start) as f64 / 1000.0;
    let mut to_end = (end - t_last) as f64 / 1000.0;
    let sampled = (t_last - t_first) as f64 / 1000.0;
    let between = sampled / (n - 1) as f64;
    // A gap longer than this means that the series begins or ends inside the window.
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if let Some((first, change)) = rise
        && spec.func != FunctionId::Delta
        && change > 0.0
        && first >= 0.0
    {
        // A counter cannot have been below zero.
        let to_zero = sampled * (first / change);
        to_start = if to_zero < to_start { to_zero } else { to_start };
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    if spec.func == FunctionId::Rate { factor / (spec.range_ms as f64 / 1000.0) } else { factor }
}

/// `irate`, `idelta`: the change between the last two samples.
fn instant_delta(spec: &WindowSpec, t_ms: &[i64], v: &[f64], out: &mut [f64]) {
    let is_rate = spec.func == FunctionId::Irate;
    each_window(spec, t_ms, |k, lo, hi| {
        if hi - lo < 2 {
            return;
        }
        let (a, b) = (hi - 2, hi - 1);
        let change = if is_rate && v[b] < v[a] { v[b] } else { v[b] - v[a] };
        out[k] = if is_rate { change / ((t_ms[b] - t_ms[a]) as f64 / 1000.0) } else { change };
    });
}

/// The last live sample at or before each step, no older than the lookback; or its time in seconds.
pub(super) fn latest_row(
    grid: &Grid,
    shift: &Shift,
    lookback_ms: i64,
    (t_ms, values): (&[i64], &[f64]),
    times: bool,
    out: &mut [f64],
) {
    let mut hi = 0;
    for (k, slot) in out.iter_mut().enumerate() {
        let at = shift.time(grid, k);
        while hi < t_ms.len() && t_ms[hi] <= at {
            hi += 1;
        }
        if hi == 0 || t_ms[hi - 1] <= at.saturating_sub(lookback_ms) {
            continue;
        }
        // A mark of staleness has the bits of an absent value, and so needs no test of its own.
        let value = values[hi - 1];
        *slot = if times && !super::block::is_absent(value) { t_ms[hi - 1] as f64 / 1000.0 } else { value };
    }
}
