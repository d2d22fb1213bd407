//! Earlier starts of a service's pods: placebos for a canary whose pods are new.
//!
//! A pod that starts is compared with settled pods of its own version over the same intervals, as a canary is with the
//! baseline. What they show is pinned with the history of the phase that they are used in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use greylight_store::read::SpanMs;
use indexmap::IndexMap;

use super::metrics::{presence, present};
use super::{CollectError, Collector, Grid, Question};
use crate::judge::{BirthData, Counts, Data, Histogram, Scale, Series, Values, coarse_histogram};
use crate::release::cohort::{Units, unit_of};

/// Starts that follow one another no later than this are one event.
const EVENT_MS: i64 = 10 * 60 * 1000;
/// Births that one event gives at most, so that a rollout does not crowd out the rest.
const EVENT_BIRTHS_MAX: usize = 10;
/// How much older than a birth the pods are that it is compared with.
const SETTLED_MS: i64 = 10 * 60 * 1000;
/// How much of a life is read: what its level is taken from.
const LIFE_MS: i64 = 6 * 3600 * 1000;
/// Intervals of a life that are kept of a distribution, which has many numbers in each.
const LIFE_ROWS: usize = 360;
/// Pods that a birth is compared with, at least.
const PEERS_MIN: usize = 2;

/// When a pod was there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    /// Its first sample.
    pub(crate) first_ms: i64,
    /// Its last one.
    pub(crate) last_ms: i64,
    pub(crate) unit: String,
    pub(crate) version: String,
}

/// Which births count.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// They began since.
    pub(crate) since_ms: i64,
    /// What they are needed for ended before.
    pub(crate) before_ms: i64,
    /// They lived so long, and those that they are compared with all that time.
    pub(crate) lived_ms: i64,
    /// The newest of them.
    pub(crate) at_most: usize,
    /// Versions that were refused: their pods are no good ones.
    pub(crate) refused: BTreeSet<String>,
}

/// Pods that started together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) births: Vec<Birth>,
}

/// A pod that started, and the settled ones that it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) life: Life,
    pub(crate) peers: Vec<String>,
}

/// Finds the births that count among the lives of a service's pods: the newest events first.
pub(crate) fn events(mut lives: Vec<Life>, wanted: &Wanted) -> Vec<Event> {
    lives.sort();
    let counts = |life: &&Life| {
        let needed = life.first_ms.saturating_add(wanted.lived_ms);
        life.first_ms >= wanted.since_ms
            && needed <= life.last_ms
            && needed <= wanted.before_ms
            && !wanted.refused.contains(&life.version)
    };
    let peers = |life: &Life| -> Vec<String> {
        let settled = |peer: &&Life| {
            peer.version == life.version
                && peer.unit != life.unit
                && peer.first_ms <= life.first_ms - SETTLED_MS
                && peer.last_ms >= life.first_ms + wanted.lived_ms
        };
        lives.iter().filter(settled).map(|peer| peer.unit.clone()).collect()
    };
    let mut found = Vec::new();
    let mut n_left = wanted.at_most;
    for starts in lives.chunk_by(|a, b| b.first_ms - a.first_ms <= EVENT_MS).rev() {
        let births: Vec<Birth> = starts
            .iter()
            .rev()
            .filter(counts)
            .map(|life| Birth { life: life.clone(), peers: peers(life) })
            .filter(|birth| birth.peers.len() >= PEERS_MIN)
            .take(EVENT_BIRTHS_MAX.min(n_left))
            .collect();
        n_left -= births.len();
        if !births.is_empty() {
            found.push(Event { births });
        }
    }
    found
}

impl Collector {
    /// Finds when each pod of a service was there, by what it says of being up, else by any of its series.
    ///
    /// `q.filling` selects the service in all its versions; the label `service_version` tells them apart.
    pub(crate) fn lives(&self, q: &Question<'_>, span: SpanMs) -> Result<Vec<Life>, CollectError> {
        self.at(q)?.lives_here(q, span)
    }

    fn lives_here(&self, q: &Question<'_>, span: SpanMs) -> Result<Vec<Life>, CollectError> {
        for selector in presence(q) {
            let mut lives: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
            self.each_series(q, &selector, span, |labels, samples| {
                let Some(unit) = unit_of(labels, q.unit_names) else { return };
                let mut seen = present(samples).map(|at| samples.t_ms[at]);
                let Some(first) = seen.next() else { return };
                let last = seen.next_back().unwrap_or(first);
                let version = labels.get("service_version").unwrap_or_default();
                let life = lives.entry((unit.to_owned(), version.to_owned())).or_insert((first, last));
                *life = (life.0.min(first), life.1.max(last));
            })?;
            if !lives.is_empty() {
                let life = |((unit, version), (first_ms, last_ms))| Life { first_ms, last_ms, unit, version };
                return Ok(lives.into_iter().map(life).collect());
            }
        }
        Ok(Vec::new())
    }

    /// Reads what births showed, for one check. `q.grid` gives the width of intervals; nothing at or after `before_ms`
    /// is read.
    pub(crate) fn births(
        &self,
        q: &Question<'_>,
        events: &[Event],
        scale: Scale,
        before_ms: i64,
    ) -> Result<Vec<BirthData>, CollectError> {
        let mut found = Vec::new();
        for event in events {
            let starts = || event.births.iter().map(|birth| birth.life.first_ms);
            let (Some(first), Some(last)) = (starts().min(), starts().max()) else { continue };
            let step_ms = q.grid.step_ms;
            let start_ms = first.div_euclid(step_ms) * step_ms;
            let end_ms = last.saturating_add(LIFE_MS).min(before_ms);
            let n = usize::try_from((end_ms - start_ms) / step_ms).unwrap_or(0);
            if n == 0 {
                continue;
            }
            let grid = Grid { start_ms, step_ms, n };
            let pods = event.births.iter().flat_map(|birth| birth.peers.iter().chain([&birth.life.unit]));
            let units = Units::Only(pods.cloned().collect());
            let data = self.collect(&Question { grid, units: &units, ..*q })?;
            for birth in &event.births {
                let mut shown = BirthData { event: first.to_string(), ..BirthData::default() };
                match &data {
                    Some(Data::Values(series)) => {
                        shown.d = differences(birth, grid, series, scale);
                        shown.pods.clone_from(&birth.peers);
                    }
                    Some(Data::Counts(counts)) => shown.counted = counted(birth, counts),
                    Some(Data::Histogram(histogram)) => {
                        (shown.data, shown.peers) = buckets(birth, grid, histogram).unzip();
                        shown.pods.clone_from(&birth.peers);
                    }
                    Some(Data::Raw(values)) => {
                        (shown.data, shown.peers) = numbers(birth, grid, values).unzip();
                        shown.pods.clone_from(&birth.peers);
                    }
                    _ => continue,
                }
                let has_shown = shown.d.iter().any(|d| d.is_finite()) || shown.data.is_some();
                if shown.counted.is_some() || has_shown {
                    found.push(shown);
                }
            }
        }
        Ok(found)
    }
}

/// A birth's difference from its peers in each interval of its life, from the first whole one on.
fn differences(birth: &Birth, grid: Grid, series: &[Series], scale: Scale) -> Vec<f64> {
    let of = |unit: &str| series.iter().find(|series| series.instance == unit);
    let Some(own) = of(&birth.life.unit) else { return Vec::new() };
    let peers: Vec<&Series> = birth.peers.iter().filter_map(|unit| of(unit)).collect();
    let value = |series: &Series, i: usize| series.v.get(i).copied().flatten().map(|v| scale.apply(v));
    let difference = |i: usize| {
        let own = value(own, i)?;
        let others: Vec<f64> = peers.iter().filter_map(|peer| value(peer, i)).collect();
        let mean = others.iter().sum::<f64>() / others.len() as f64;
        (others.len() >= PEERS_MIN).then_some(own - mean)
    };
    whole(birth, grid).map(|i| difference(i).unwrap_or(f64::NAN)).collect()
}

/// The intervals of a birth's life: that in which it began is not whole, nor is the one in which it ended.
fn whole(birth: &Birth, grid: Grid) -> Range<usize> {
    let whole = |from: i64| usize::try_from((from - grid.start_ms).div_euclid(grid.step_ms)).unwrap_or(0);
    let begin = whole(birth.life.first_ms + grid.step_ms - 1);
    let life = usize::try_from(LIFE_MS / grid.step_ms).unwrap_or(0);
    begin..whole(birth.life.last_ms).min(grid.n).min(begin + life).max(begin)
}

/// Starts of intervals, and what a birth and its peers showed in them.
type Rows<T> = (Vec<i64>, [Vec<Option<T>>; 2]);

/// What a birth and its peers, these together, showed in each interval of its life; nothing where the birth has no row.
fn rows<'a, T: Clone + 'a>(
    birth: &Birth,
    grid: Grid,
    of: impl Fn(&str) -> Option<&'a [Option<T>]>,
    sum: impl Fn(Vec<&'a T>) -> T,
) -> Option<Rows<T>> {
    let mut life = whole(birth, grid);
    life.end = life.end.min(life.start + LIFE_ROWS);
    let own = of(&birth.life.unit)?;
    let peers: Vec<&[Option<T>]> = birth.peers.iter().filter_map(|unit| of(unit)).collect();
    let together = |i: usize| {
        let there: Vec<&T> = peers.iter().filter_map(|peer| peer.get(i)?.as_ref()).collect();
        (there.len() >= PEERS_MIN).then(|| sum(there))
    };
    let own: Vec<Option<T>> = life.clone().map(|i| own.get(i)?.clone()).collect();
    let starts = life.clone().map(|i| grid.start_ms + i as i64 * grid.step_ms).collect();
    own.iter().any(Option::is_some).then(|| (starts, [own, life.map(together).collect()]))
}

/// The buckets that a birth and its peers filled.
fn buckets(birth: &Birth, grid: Grid, histogram: &Histogram) -> Option<(Data, Data)> {
    let of = |unit: &str| histogram.units.get(unit).map(|one| &one.counts[..]);
    let add = |mut sum: Vec<f64>, row: &Vec<f64>| {
        sum.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
        sum
    };
    let sum = |all: Vec<&Vec<f64>>| all.into_iter().fold(vec![0.0; histogram.le.len()], add);
    let (t_ms, both) = rows(birth, grid, of, sum)?;
    let [own, peers] = both.map(|counts| {
        let le = histogram.le.clone();
        Data::Histogram(filled(Histogram { t_ms: t_ms.clone(), le, counts, units: IndexMap::new() }))
    });
    Some((own, peers))
}

/// The same of raw values, which are put into the buckets by which they are compared: these are fewer.
fn numbers(birth: &Birth, grid: Grid, values: &Values) -> Option<(Data, Data)> {
    let of = |unit: &str| values.units.get(unit).map(|one| &one.values[..]);
    let sum = |all: Vec<&Vec<f64>>| all.into_iter().flatten().copied().collect::<Vec<f64>>();
    let (t_ms, both) = rows(birth, grid, of, sum)?;
    let [own, peers] = both.map(|values| {
        Data::Histogram(coarse_histogram(&Values { t_ms: t_ms.clone(), values, units: IndexMap::new() }))
    });
    Some((own, peers))
}

/// Leaves out edges that have nothing on either side: whoever has them all finds the values in the same place.
fn filled(histogram: Histogram) -> Histogram {
    let n = histogram.le.len();
    let mut has = vec![false; n];
    for row in histogram.counts.iter().flatten() {
        has.iter_mut().zip(row).for_each(|(has, n)| *has |= *n > 0.0);
    }
    let keeps: Vec<usize> =
        (0..n).filter(|&j| has[j] || j + 1 == n || has.get(j + 1) == Some(&true)).collect();
    let row = |row: Vec<f64>| keeps.iter().map(|&j| row[j]).collect();
    Histogram {
        le: keeps.iter().map(|&j| histogram.le[j]).collect(),
        counts: histogram.counts.into_iter().map(|counts| counts.map(row)).collect(),
        ..histogram
    }
}

/// Events over trials of a birth's life.
fn counted(birth: &Birth, counts: &Counts) -> Option<(f64, f64)> {
    let own = counts.units.get(&birth.life.unit)?;
    let (events, trials) = (own.events.iter().flatten().sum::<f64>(), own.exposure.iter().flatten().sum());
    (trials > 0.0).then_some((events, trials))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn life(unit: &str, version: &str, first: i64, last: i64) -> Life {
        let at = |minute: i64| minute * MINUTE_MS;
        Life { first_ms: at(first), last_ms: at(last), unit: unit.into(), version: version.into() }
    }

    fn wanted(at_most: usize) -> Wanted {
        Wanted {
            since_ms: 0,
            before_ms: 1000 * MINUTE_MS,
            lived_ms: 60 * MINUTE_MS,
            at_most,
            refused: BTreeSet::from(["bad".to_owned()]),
        }
    }

    fn found(lives: &[Life], at_most: usize) -> Vec<Vec<String>> {
        let unit = |birth: &Birth| birth.life.unit.clone();
        let found = events(lives.to_vec(), &wanted(at_most));
        found.iter().map(|event| event.births.iter().map(unit).collect()).collect()
    }

    #[test]
    fn only_whole_lives_beside_settled_pods_of_their_version_count() {
        let mut lives = vec![
            life("old-1", "1", -500, 1000),
            life("old-2", "1", -400, 900),
            life("old-3", "1", -400, 150),
            life("counts", "1", 100, 400),
            life("short", "1", 102, 140),
            life("other version", "2", 104, 400),
            life("bad-1", "bad", -500, 1000),
            life("bad-2", "bad", -500, 1000),
            life("refused", "bad", 104, 400),
            life("too late", "1", 950, 1000),
        ];
        assert_eq!(found(&lives, 9), [["counts"]]);
        let peers = events(lives.clone(), &wanted(9))[0].births[0].peers.clone();
        assert_eq!(peers, ["old-1", "old-2"]);
        // What was settled for too short, or went too early, is no peer.
        lives[0].last_ms = 150 * MINUTE_MS;
        assert_eq!(found(&lives, 9), [[""; 0]; 0]);
        lives[0].last_ms = 1000 * MINUTE_MS;
        lives[1].first_ms = 95 * MINUTE_MS;
        assert_eq!(found(&lives, 9), [[""; 0]; 0]);
    }

    #[test]
    fn starts_that_follow_closely_are_one_event_and_the_newest_come_first() {
        let mut lives = vec![life("old-1", "1", -500, 1000), life("old-2", "1", -400, 1000)];
        for (n, start) in [100, 105, 112, 200, 300, 301].into_iter().enumerate() {
            lives.push(life(&format!("p{n}"), "1", start, start + 90));
        }
        assert_eq!(found(&lives, 9), [vec!["p5", "p4"], vec!["p3"], vec!["p2", "p1", "p0"]]);
        assert_eq!(found(&lives, 4), [vec!["p5", "p4"], vec!["p3"], vec!["p2"]]);
        lives.extend((0..30).map(|n| life(&format!("many{n:02}"), "1", 400, 600)));
        assert_eq!(found(&lives, 99)[0].len(), EVENT_BIRTHS_MAX);
    }

    #[test]
    fn differences_begin_with_the_first_whole_interval_and_need_two_peers() {
        let grid = Grid { start_ms: 0, step_ms: 10, n: 6 };
        let series = |unit: &str, v: [Option<f64>; 6]| Series {
            instance: unit.into(),
            t_ms: grid.starts(),
            v: v.to_vec(),
        };
        let all = [
            series("new", [Some(9.0), Some(5.0), Some(6.0), Some(7.0), None, Some(1.0)]),
            series("a", [Some(1.0); 6]),
            series("b", [Some(3.0), Some(3.0), None, Some(3.0), Some(3.0), Some(3.0)]),
        ];
        let life = Life { first_ms: 4, last_ms: 55, unit: "new".into(), version: String::new() };
        let birth = Birth { life, peers: vec!["a".into(), "b".into()] };
        let d = differences(&birth, grid, &all, Scale::Linear);
        let shown: Vec<Option<f64>> = d.iter().map(|d| d.is_finite().then_some(*d)).collect();
        assert_eq!(shown, [Some(3.0), None, Some(5.0), None]);
    }
}
