//! The stored history of a cohort, by check and unit, and the sides of a release cut out of it.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::judge::{BirthData, Counts, Data, Histogram, Pattern, PatternCounts, Series, Values};

/// The history of a cohort: intervals side by side.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Start of the first interval, in epoch milliseconds.
    pub start_ms: i64,
    /// Width of an interval, positive.
    pub step_ms: i64,
    /// How many there are.
    pub n: usize,
    /// Names of the units, sorted.
    pub units: Vec<String>,
    /// What was read; checks of several phases that ask the same share one.
    pub tracks: Vec<Track>,
    /// By phase and check: where its data is.
    pub checks: Vec<Vec<Feed>>,
    /// Starts of the service's pods that can serve as placebos, the newest event first.
    pub starts: Vec<Start>,
}

/// Where a check's data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// A place in [`History::tracks`].
    Track(usize),
    /// In the other checks of its phase.
    Others,
    /// Nowhere, and why.
    Nowhere(String),
}

/// What was read for one check.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// By unit, in the order of [`History::units`].
    pub units: Vec<Option<Data>>,
    /// Earlier starts of the service's pods.
    pub births: Vec<BirthData>,
    /// Whether the counts of single units are shown to the judge.
    pub tells_units: bool,
}

/// Pods that started together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Name of the event, as the births of the tracks have it.
    pub event: String,
    /// When the first of them was seen, in epoch milliseconds.
    pub at_ms: i64,
    /// The pods, each with the settled ones of its version; places in [`History::units`].
    pub pods: Vec<(usize, Vec<usize>)>,
}

/// Some intervals of a [`History`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) from_ms: i64,
    pub(super) step_ms: i64,
    pub(super) n: usize,
}

impl Stretch {
    fn end_ms(&self) -> i64 {
        self.from_ms + self.step_ms * self.n as i64
    }

    fn starts(&self) -> Vec<i64> {
        (0..self.n as i64).map(|i| self.from_ms + i * self.step_ms).collect()
    }

    /// Yields the place in the stretch and the place in the data of each row that lies in it.
    fn rows<'a>(&'a self, t_ms: &'a [i64]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let (first, end) =
            (t_ms.partition_point(|t| *t < self.from_ms), t_ms.partition_point(|t| *t < self.end_ms()));
        (first..end.max(first)).filter_map(move |row| {
            let place = (t_ms[row] - self.from_ms) / self.step_ms;
            Some((usize::try_from(place).ok()?, row))
        })
    }
}

impl History {
    pub(super) fn stretch(&self, from: usize, n: usize) -> Stretch {
        Stretch { from_ms: self.start_ms + from as i64 * self.step_ms, step_ms: self.step_ms, n }
    }

    /// Counts for each unit in how many of the intervals before each it showed anything.
    pub(super) fn presence(&self) -> Vec<Vec<u32>> {
        let whole = self.stretch(0, self.n);
        (0..self.units.len())
            .map(|unit| {
                let mut present = vec![false; self.n];
                for data in self.tracks.iter().filter_map(|track| track.units.get(unit)?.as_ref()) {
                    mark(data, whole, &mut present);
                }
                let mut sum = 0;
                std::iter::once(0)
                    .chain(present.into_iter().map(|is_there| {
                        sum += u32::from(is_there);
                        sum
                    }))
                    .collect()
            })
            .collect()
    }
}

fn mark(data: &Data, whole: Stretch, present: &mut [bool]) {
    let mut set = |t_ms: &[i64], is_there: &dyn Fn(usize) -> bool| {
        for (place, row) in whole.rows(t_ms) {
            present[place] |= is_there(row);
        }
    };
    match data {
        Data::Counts(counts) => set(&counts.t_ms, &|row| counts.exposure[row].is_some_and(|n| n > 0.0)),
        Data::Values(all) => {
            all.iter().for_each(|series| set(&series.t_ms, &|row| series.v[row].is_some()));
        }
        Data::Histogram(histogram) => set(&histogram.t_ms, &|row| histogram.counts[row].is_some()),
        Data::Raw(values) => set(&values.t_ms, &|row| values.values[row].is_some()),
        Data::Patterns(patterns) => set(&patterns.t_ms, &|row| patterns.records[row].is_some()),
        Data::Users(_) => {}
        Data::By(values) => values.values().for_each(|data| mark(data, whole, present)),
    }
}

impl Track {
    /// Adds up what some units showed in a stretch; nothing where none of them showed anything.
    pub(super) fn side(&self, units: &[usize], names: &[String], stretch: Stretch) -> Option<Data> {
        let of = |unit: &usize| Some((names.get(*unit)?.as_str(), self.units.get(*unit)?.as_ref()?));
        sum(&units.iter().filter_map(of).collect::<Vec<_>>(), stretch, self.tells_units)
    }

    /// Does the same, and tells the units of distributions apart as well, as a comparison of new pods wants them.
    pub(super) fn side_of_pods(&self, units: &[usize], names: &[String], stretch: Stretch) -> Option<Data> {
        let mut data = self.side(units, names, stretch)?;
        for unit in units {
            let own = self.side(&[*unit], names, stretch);
            match (&mut data, own, names.get(*unit)) {
                (Data::Histogram(all), Some(Data::Histogram(own)), Some(name)) => {
                    all.units.insert(name.clone(), own);
                }
                (Data::Raw(all), Some(Data::Raw(own)), Some(name)) => {
                    all.units.insert(name.clone(), own);
                }
                _ => {}
            }
        }
        Some(data)
    }
}

/// Adds data of one kind up.
fn sum(all: &[(&str, &Data)], stretch: Stretch, tells_units: bool) -> Option<Data> {
    match all.first()?.1 {
        Data::Counts(_) => sum_counts(all, stretch, tells_units).map(Data::Counts),
        Data::Values(_) => {
            let series = all.iter().filter_map(|(_, data)| match data {
                Data::Values(series) => Some(series),
                _ => None,
            });
            let cut: Vec<Series> = series.flatten().filter_map(|one| cut(one, stretch)).collect();
            (!cut.is_empty()).then_some(Data::Values(cut))
        }
        Data::Histogram(_) => sum_histograms(all, stretch).map(Data::Histogram),
        Data::Raw(_) => sum_values(all, stretch).map(Data::Raw),
        Data::Patterns(_) => sum_patterns(all, stretch).map(Data::Patterns),
        // Users belong to no unit.
        Data::Users(_) => None,
        Data::By(_) => {
            let by = |data: &'_ Data| -> BTreeSet<String> {
                if let Data::By(values) = data { values.keys().cloned().collect() } else { BTreeSet::new() }
            };
            let names: BTreeSet<String> = all.iter().flat_map(|(_, data)| by(data)).collect();
            let of_value = |name: String| {
                let own = all.iter().filter_map(|(unit, data)| match data {
                    Data::By(values) => Some((*unit, values.get(&name)?)),
                    _ => None,
                });
                let data = sum(&own.collect::<Vec<_>>(), stretch, tells_units)?;
                Some((name, data))
            };
            let values: IndexMap<String, Data> = names.into_iter().filter_map(of_value).collect();
            (!values.is_empty()).then_some(Data::By(values))
        }
    }
}

fn sum_counts(all: &[(&str, &Data)], stretch: Stretch, tells_units: bool) -> Option<Counts> {
    let mut sums: Vec<Option<(f64, f64)>> = vec![None; stretch.n];
    let mut units = IndexMap::new();
    for (unit, data) in all {
        let Data::Counts(counts) = data else { continue };
        let mut own: Vec<Option<(f64, f64)>> = vec![None; if tells_units { stretch.n } else { 0 }];
        let mut is_there = false;
        for (place, row) in stretch.rows(&counts.t_ms) {
            let (Some(events), Some(exposure)) = (counts.events[row], counts.exposure[row]) else { continue };
            is_there = true;
            let (so_far, exposed) = sums[place].unwrap_or_default();
            sums[place] = Some((so_far + events, exposed + exposure));
            if let Some(cell) = own.get_mut(place) {
                *cell = Some((events, exposure));
            }
        }
        if tells_units && is_there {
            units.insert((*unit).to_owned(), as_counts(&own, stretch, IndexMap::new()));
        }
    }
    sums.iter().any(Option::is_some).then(|| as_counts(&sums, stretch, units))
}

fn as_counts(cells: &[Option<(f64, f64)>], stretch: Stretch, units: IndexMap<String, Counts>) -> Counts {
    Counts {
        t_ms: stretch.starts(),
        events: cells.iter().map(|cell| cell.map(|(events, _)| events)).collect(),
        exposure: cells.iter().map(|cell| cell.map(|(_, exposure)| exposure)).collect(),
        units,
    }
}

fn cut(series: &Series, stretch: Stretch) -> Option<Series> {
    let mut v = vec![None; stretch.n];
    for (place, row) in stretch.rows(&series.t_ms) {
        v[place] = series.v[row];
    }
    let is_there = v.iter().any(Option::is_some);
    is_there.then(|| Series { instance: series.instance.clone(), t_ms: stretch.starts(), v })
}

fn sum_histograms(all: &[(&str, &Data)], stretch: Stretch) -> Option<Histogram> {
    let histograms = || {
        all.iter().filter_map(|(_, data)| match data {
            Data::Histogram(histogram) => Some(histogram),
            _ => None,
        })
    };
    let mut le: Vec<f64> = Vec::new();
    for histogram in histograms() {
        if le != histogram.le {
            le.extend(histogram.le.iter().filter(|edge| !le.contains(edge)).copied().collect::<Vec<_>>());
            le.sort_by(f64::total_cmp);
        }
    }
    let mut counts: Vec<Option<Vec<f64>>> = vec![None; stretch.n];
    for histogram in histograms() {
        let places: Vec<usize> =
            histogram.le.iter().map(|edge| le.partition_point(|known| known < edge)).collect();
        for (place, row) in stretch.rows(&histogram.t_ms) {
            let Some(row) = &histogram.counts[row] else { continue };
            let sums = counts[place].get_or_insert_with(|| vec![0.0; le.len()]);
            places.iter().zip(row).for_each(|(bucket, count)| sums[*bucket] += count);
        }
    }
    let is_there = counts.iter().any(Option::is_some);
    is_there.then(|| Histogram { t_ms: stretch.starts(), le, counts, units: IndexMap::new() })
}

fn sum_values(all: &[(&str, &Data)], stretch: Stretch) -> Option<Values> {
    let mut values: Vec<Option<Vec<f64>>> = vec![None; stretch.n];
    for (_, data) in all {
        let Data::Raw(raw) = data else { continue };
        for (place, row) in stretch.rows(&raw.t_ms) {
            if let Some(row) = &raw.values[row] {
                values[place].get_or_insert_default().extend(row);
            }
        }
    }
    values.iter_mut().flatten().for_each(|row| row.sort_by(f64::total_cmp));
    let is_there = values.iter().any(Option::is_some);
    is_there.then(|| Values { t_ms: stretch.starts(), values, units: IndexMap::new() })
}

fn sum_patterns(all: &[(&str, &Data)], stretch: Stretch) -> Option<PatternCounts> {
    let mut records: Vec<Option<f64>> = vec![None; stretch.n];
    let mut trials: Option<Vec<Option<f64>>> = None;
    let mut patterns: IndexMap<String, Pattern> = IndexMap::new();
    let add = |sums: &mut [Option<f64>], t_ms: &[i64], own: &[Option<f64>]| {
        for (place, row) in stretch.rows(t_ms) {
            if let Some(n) = own[row] {
                *sums[place].get_or_insert(0.0) += n;
            }
        }
    };
    for (_, data) in all {
        let Data::Patterns(counts) = data else { continue };
        add(&mut records, &counts.t_ms, &counts.records);
        if let Some(own) = &counts.trials {
            add(trials.get_or_insert_with(|| vec![None; stretch.n]), &counts.t_ms, own);
        }
        for (id, pattern) in &counts.patterns {
            let is_seen = |(_, row): (usize, usize)| pattern.counts[row].is_some_and(|n| n > 0.0);
            if !stretch.rows(&counts.t_ms).any(is_seen) {
                continue;
            }
            let sum = patterns
                .entry(id.clone())
                .or_insert_with(|| Pattern { counts: vec![None; stretch.n], ..pattern.clone() });
            add(&mut sum.counts, &counts.t_ms, &pattern.counts);
        }
    }
    // Where the side was there, a pattern without a record was seen zero times.
    for pattern in patterns.values_mut() {
        for (count, record) in pattern.counts.iter_mut().zip(&records) {
            *count = count.or(record.map(|_| 0.0));
        }
    }
    patterns.sort_unstable_keys();
    let t_ms = stretch.starts();
    records.iter().any(Option::is_some).then_some(PatternCounts { t_ms, records, trials, patterns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(t_ms: &[i64], events: &[f64]) -> Option<Data> {
        Some(Data::Counts(Counts {
            t_ms: t_ms.to_vec(),
            events: events.iter().copied().map(Some).collect(),
            exposure: vec![Some(10.0); t_ms.len()],
            units: IndexMap::new(),
        }))
    }

    #[test]
    fn a_side_is_the_sum_of_its_units_where_they_were_there() {
        let track = Track {
            units: vec![counts(&[0, 10, 20], &[1.0, 2.0, 3.0]), counts(&[20, 30], &[5.0, 7.0]), None],
            births: Vec::new(),
            tells_units: true,
        };
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let stretch = Stretch { from_ms: 10, step_ms: 10, n: 4 };
        let Some(Data::Counts(sum)) = track.side(&[0, 1, 2], &names, stretch) else {
            panic!("two units counted")
        };
        assert_eq!(sum.t_ms, [10, 20, 30, 40]);
        assert_eq!(sum.events, [Some(2.0), Some(8.0), Some(7.0), None]);
        assert_eq!(sum.exposure, [Some(10.0), Some(20.0), Some(10.0), None]);
        assert_eq!(sum.units.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(sum.units["b"].events, [None, Some(5.0), Some(7.0), None]);
        assert_eq!(track.side(&[2], &names, stretch), None);
    }

    #[test]
    fn units_with_other_buckets_are_added_by_edge() {
        let one = |le: &[f64], row: &[f64]| {
            Some(Data::Histogram(Histogram {
                t_ms: vec![0],
                le: le.to_vec(),
                counts: vec![Some(row.to_vec())],
                units: IndexMap::new(),
            }))
        };
        let inf = f64::INFINITY;
        let units = vec![one(&[1.0, inf], &[1.0, 2.0]), one(&[1.0, 5.0, inf], &[3.0, 4.0, 5.0])];
        let track = Track { units, births: Vec::new(), tells_units: false };
        let names = ["a", "b"].map(String::from).to_vec();
        let stretch = Stretch { from_ms: 0, step_ms: 10, n: 1 };
        let Some(Data::Histogram(sum)) = track.side(&[0, 1], &names, stretch) else { panic!("two units") };
        assert_eq!(sum.le, [1.0, 5.0, inf]);
        assert_eq!(sum.counts, [Some(vec![4.0, 4.0, 7.0])]);
    }
}
