//! Grows a check's data look by look, and finds what is new in what was read again.
//!
//! A look keeps the rows that were new in it. Together the rows of all looks are exactly what the
//! last look judged, so that a restart, or a replay, comes to the same bits.

use std::collections::HashMap;

use crate::judge::{Counts, Data, Histogram, Pattern, PatternCounts, Series, UserRow, UserRows, Values};

/// Adds rows to data; a row for a time that is there already replaces it.
pub(crate) fn append(into: &mut Option<Data>, rows: Data) {
    match (into.as_mut(), rows) {
        (None, rows) => *into = Some(rows),
        (Some(Data::Counts(a)), Data::Counts(b)) => append_counts(a, b),
        (Some(Data::Values(a)), Data::Values(b)) => append_series(a, b),
        (Some(Data::Histogram(a)), Data::Histogram(b)) => append_histogram(a, b),
        (Some(Data::Raw(a)), Data::Raw(b)) => append_values(a, b),
        (Some(Data::Patterns(a)), Data::Patterns(b)) => append_patterns(a, b),
        (Some(Data::Users(a)), Data::Users(b)) => append_users(a, b),
        (Some(Data::By(a)), Data::By(b)) => {
            for (value, rows) in b {
                let mut known = a.swap_remove(&value);
                append(&mut known, rows);
                a.extend(known.map(|data| (value, data)));
            }
            // By name, so that a restart finds them in the same order.
            a.sort_unstable_keys();
        }
        // The kind of a check is pinned with its policy, so both sides are of one kind; a histogram
        // that turned into raw values is another query and starts anew.
        (Some(_), rows) => *into = Some(rows),
    }
}

/// Returns the row of the last interval with everything that came late for earlier ones.
///
/// `read` is all intervals since the phase began, as they are stored now; `booked` is what earlier
/// looks were given. Counts of an earlier interval that came after its look enter with the last
/// interval, so that none is lost and none counts twice. Values of means correct theirs instead:
/// rows that differ are returned beside the last.
pub(crate) fn news(booked: Option<&Data>, read: Data, last: usize) -> Data {
    match (booked, read) {
        (Some(Data::Counts(booked)), Data::Counts(read)) => {
            Data::Counts(news_of_counts(Some(booked), &read, last))
        }
        (None, Data::Counts(read)) => Data::Counts(news_of_counts(None, &read, last)),
        (booked, Data::Histogram(read)) => {
            let booked = match booked {
                Some(Data::Histogram(booked)) => Some(booked),
                _ => None,
            };
            Data::Histogram(news_of_histogram(booked, &read, last))
        }
        (booked, Data::Patterns(read)) => {
            let booked = match booked {
                Some(Data::Patterns(booked)) => Some(booked),
                _ => None,
            };
            Data::Patterns(news_of_patterns(booked, &read, last))
        }
        (booked, Data::Raw(read)) => {
            let booked = match booked {
                Some(Data::Raw(booked)) => Some(booked),
                _ => None,
            };
            Data::Raw(news_of_values(booked, &read, last))
        }
        (booked, Data::By(read)) => {
            let booked = match booked {
                Some(Data::By(booked)) => Some(booked),
                _ => None,
            };
            let of_value = |(value, read): (String, Data)| {
                let data = news(booked.and_then(|booked| booked.get(&value)), read, last);
                (value, data)
            };
            Data::By(read.into_iter().map(of_value).collect())
        }
        (booked, Data::Values(read)) => {
            let booked: &[Series] = match booked {
                Some(Data::Values(booked)) => booked,
                _ => &[],
            };
            Data::Values(news_of_series(booked, read, last))
        }
        (_, read) => read,
    }
}

/// Where a look stands that reads users again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsersAt {
    /// Start of the first interval that is read: what users did since the scope last moved.
    pub(crate) base_ms: i64,
    /// Start of the look's own interval, in which everything new enters.
    pub(crate) last_ms: i64,
    /// Whether a user's value is whether they ever did something, and not a sum.
    pub(crate) is_ever: bool,
}

/// Returns an update for each user whose value is another one than what looks were given.
///
/// `known` is what looks were given since the phase began. What a user was worth before the scope moved is part of the
/// value: a user who comes again is the same one. Users of whom nothing is stored any more keep what they had.
pub(crate) fn news_of_users(known: Option<&UserRows>, read: UserRows, at: UsersAt) -> UserRows {
    // The first users of a side are all that it has so far, the warm-up's among them.
    let Some(known) = known else { return read };
    let known: HashMap<Option<&str>, &[(i64, f64)]> =
        known.users.iter().map(|user| (user.id.as_deref(), &user.updates[..])).collect();
    let update = |user: UserRow| {
        let value = user.updates.last()?.1;
        let known = known.get(&user.id.as_deref()).copied().unwrap_or_default();
        let before = known.last().map(|update| update.1);
        let value = if at.is_ever {
            value.max(before.unwrap_or(0.0))
        } else {
            let earlier = known.iter().rfind(|(t_ms, _)| *t_ms < at.base_ms);
            value + earlier.map_or(0.0, |update| update.1)
        };
        (before != Some(value)).then(|| UserRow { updates: vec![(at.last_ms, value)], ..user })
    };
    UserRows { users: read.users.into_iter().filter_map(update).collect() }
}

fn append_users(a: &mut UserRows, b: UserRows) {
    let known: HashMap<Option<String>, usize> =
        a.users.iter().enumerate().map(|(idx, user)| (user.id.clone(), idx)).collect();
    for user in b.users {
        match known.get(&user.id) {
            Some(&idx) => a.users[idx].updates.extend(user.updates),
            None => a.users.push(user),
        }
    }
}

fn sum(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().sum()
}

/// Totals up to the last interval, less what was booked; missing where the interval itself is.
fn rest(read: &[Option<f64>], booked: Option<&[Option<f64>]>, last: usize) -> Option<f64> {
    read.get(last).copied().flatten()?;
    let total = sum(&read[..=last]) - booked.map_or(0.0, sum);
    // Deleted data cannot be taken back from looks that were made.
    Some(total.max(0.0))
}

fn news_of_counts(booked: Option<&Counts>, read: &Counts, last: usize) -> Counts {
    let units = read.units.iter().map(|(unit, read)| {
        let booked = booked.and_then(|b| b.units.get(unit));
        (unit.clone(), news_of_counts(booked, read, last))
    });
    Counts {
        t_ms: read.t_ms.get(last).copied().into_iter().collect(),
        events: vec![rest(&read.events, booked.map(|b| &b.events[..]), last)],
        exposure: vec![rest(&read.exposure, booked.map(|b| &b.exposure[..]), last)],
        units: units.collect(),
    }
}

fn news_of_histogram(booked: Option<&Histogram>, read: &Histogram, last: usize) -> Histogram {
    let row = read.counts.get(last).and_then(Option::as_ref).map(|_| {
        let total = |histogram: &Histogram, le: f64, upto: usize| -> f64 {
            let Some(i) = histogram.le.iter().position(|&edge| edge == le) else { return 0.0 };
            histogram.counts.iter().take(upto).flatten().map(|row| row[i]).sum()
        };
        let rest = |&le: &f64| total(read, le, last + 1) - booked.map_or(0.0, |b| total(b, le, usize::MAX));
        read.le.iter().map(|le| rest(le).max(0.0)).collect()
    });
    let units = read.units.iter().map(|(unit, read)| {
        let booked = booked.and_then(|b| b.units.get(unit));
        (unit.clone(), news_of_histogram(booked, read, last))
    });
    Histogram {
        t_ms: read.t_ms.get(last).copied().into_iter().collect(),
        le: read.le.clone(),
        counts: vec![row],
        units: units.collect(),
    }
}

fn news_of_values(booked: Option<&Values>, read: &Values, last: usize) -> Values {
    let row = read.values.get(last).and_then(Option::as_ref).map(|_| {
        let all = read.values.iter().take(last + 1).flatten().flatten();
        let mut known: HashMap<u64, usize> = HashMap::new();
        for value in booked.iter().flat_map(|b| b.values.iter().flatten().flatten()) {
            *known.entry(value.to_bits()).or_default() += 1;
        }
        let is_new = |value: &&f64| match known.get_mut(&value.to_bits()) {
            Some(n) if *n > 0 => {
                *n -= 1;
                false
            }
            _ => true,
        };
        all.filter(is_new).copied().collect()
    });
    let units = read.units.iter().map(|(unit, read)| {
        let booked = booked.and_then(|b| b.units.get(unit));
        (unit.clone(), news_of_values(booked, read, last))
    });
    Values {
        t_ms: read.t_ms.get(last).copied().into_iter().collect(),
        values: vec![row],
        units: units.collect(),
    }
}

fn news_of_patterns(booked: Option<&PatternCounts>, read: &PatternCounts, last: usize) -> PatternCounts {
    let patterns = read.patterns.iter().map(|(id, pattern)| {
        let before = booked.and_then(|b| b.patterns.get(id)).map(|p| &p.counts[..]);
        let count = rest(&pattern.counts, before, last);
        (id.clone(), Pattern { counts: vec![count], ..pattern.clone() })
    });
    let trials =
        read.trials.as_ref().map(|trials| vec![rest(trials, booked.and_then(|b| b.trials.as_deref()), last)]);
    PatternCounts {
        t_ms: read.t_ms.get(last).copied().into_iter().collect(),
        records: vec![rest(&read.records, booked.map(|b| &b.records[..]), last)],
        trials,
        // A pattern that has no record in this look needs no row.
        patterns: patterns.filter(|(_, p)| p.counts[0].is_some_and(|n| n > 0.0)).collect(),
    }
}

fn news_of_series(booked: &[Series], read: Vec<Series>, last: usize) -> Vec<Series> {
    let changed = |series: Series| {
        let before = booked.iter().find(|b| b.instance == series.instance);
        let known = |t: i64| before.and_then(|b| b.v[b.t_ms.binary_search(&t).ok()?]);
        let rows: Vec<usize> = (0..=last.min(series.t_ms.len().saturating_sub(1)))
            .filter(|&i| i == last || (series.v[i].is_some() && series.v[i] != known(series.t_ms[i])))
            .collect();
        Series {
            instance: series.instance,
            t_ms: rows.iter().map(|&i| series.t_ms[i]).collect(),
            v: rows.iter().map(|&i| series.v[i]).collect(),
        }
    };
    read.into_iter().map(changed).collect()
}

/// Puts rows into a column by time; `fill` stands where a column had no row.
fn put<T: Clone>(t_ms: &mut Vec<i64>, columns: &mut [(&mut Vec<T>, &[T])], new_t: &[i64], fill: &T) {
    for (k, &t) in new_t.iter().enumerate() {
        let at = match t_ms.binary_search(&t) {
            Ok(at) => at,
            Err(at) => {
                t_ms.insert(at, t);
                for (column, _) in columns.iter_mut() {
                    column.insert(at, fill.clone());
                }
                at
            }
        };
        for (column, rows) in columns.iter_mut() {
            if let Some(row) = rows.get(k) {
                column[at] = row.clone();
            }
        }
    }
}

fn append_counts(a: &mut Counts, b: Counts) {
    put(&mut a.t_ms, &mut [(&mut a.events, &b.events), (&mut a.exposure, &b.exposure)], &b.t_ms, &None);
    for (unit, rows) in b.units {
        append_counts(a.units.entry(unit).or_default(), rows);
    }
}

fn append_series(a: &mut Vec<Series>, b: Vec<Series>) {
    for rows in b {
        match a.iter_mut().find(|s| s.instance == rows.instance) {
            Some(series) => put(&mut series.t_ms, &mut [(&mut series.v, &rows.v)], &rows.t_ms, &None),
            None => a.push(rows),
        }
    }
}

fn append_values(a: &mut Values, b: Values) {
    put(&mut a.t_ms, &mut [(&mut a.values, &b.values)], &b.t_ms, &None);
    for (unit, rows) in b.units {
        append_values(a.units.entry(unit).or_default(), rows);
    }
}

fn append_histogram(a: &mut Histogram, b: Histogram) {
    let mut le = a.le.clone();
    le.extend(b.le.iter().filter(|edge| !a.le.contains(edge)));
    le.sort_by(f64::total_cmp);
    let widen = |histogram: &Histogram| -> Vec<Option<Vec<f64>>> {
        let place = |edge: &f64| histogram.le.iter().position(|e| e == edge);
        let places: Vec<Option<usize>> = le.iter().map(place).collect();
        let row = |row: &Vec<f64>| places.iter().map(|p| p.map_or(0.0, |i| row[i])).collect();
        histogram.counts.iter().map(|counts| counts.as_ref().map(row)).collect()
    };
    let rows = widen(&b);
    if le != a.le {
        a.counts = widen(a);
    }
    put(&mut a.t_ms, &mut [(&mut a.counts, &rows)], &b.t_ms, &None);
    a.le = le;
    for (unit, rows) in b.units {
        match a.units.get_mut(&unit) {
            Some(known) => append_histogram(known, rows),
            None => {
                a.units.insert(unit, rows);
            }
        }
    }
}

fn append_patterns(a: &mut PatternCounts, b: PatternCounts) {
    let before = a.t_ms.clone();
    let mut trials = a.trials.take().unwrap_or_else(|| vec![None; before.len()]);
    let new_trials = b.trials.clone().unwrap_or_else(|| vec![None; b.t_ms.len()]);
    put(&mut a.t_ms, &mut [(&mut a.records, &b.records), (&mut trials, &new_trials)], &b.t_ms, &None);
    a.trials = (b.trials.is_some() || trials.iter().any(Option::is_some)).then_some(trials);
    for (id, rows) in &b.patterns {
        let known = a.patterns.entry(id.clone());
        known.or_insert_with(|| Pattern { counts: vec![Some(0.0); before.len()], ..rows.clone() });
    }
    for (id, pattern) in &mut a.patterns {
        // No row means that the pattern had no record in a look that was made.
        let rows = b.patterns.get(id).map_or_else(|| vec![Some(0.0); b.t_ms.len()], |p| p.counts.clone());
        let mut t_ms = before.clone();
        put(&mut t_ms, &mut [(&mut pattern.counts, &rows)], &b.t_ms, &Some(0.0));
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    fn counts(events: &[Option<f64>]) -> Counts {
        let n = events.len();
        Counts {
            t_ms: (0..n as i64).collect(),
            events: events.to_vec(),
            exposure: vec![Some(10.0); n],
            units: IndexMap::new(),
        }
    }

    #[test]
    fn late_counts_enter_with_the_next_interval_and_none_twice() {
        let mut booked = None;
        append(&mut booked, news(None, Data::Counts(counts(&[Some(1.0)])), 0));
        // One more event of interval 0 came late.
        let read = Data::Counts(counts(&[Some(2.0), Some(3.0)]));
        let row = news(booked.as_ref(), read, 1);
        append(&mut booked, row);
        let Some(Data::Counts(c)) = booked else { panic!("counts stay counts") };
        assert_eq!(c.events, [Some(1.0), Some(4.0)]);
        assert_eq!(c.t_ms, [0, 1]);
    }

    #[test]
    fn late_values_of_means_correct_theirs() {
        let series = |v: &[Option<f64>]| {
            Data::Values(vec![Series {
                instance: "a".into(),
                t_ms: (0..v.len() as i64).collect(),
                v: v.to_vec(),
            }])
        };
        let mut booked = Some(series(&[Some(1.0), None]));
        let row = news(booked.as_ref(), series(&[Some(1.0), Some(2.0), Some(3.0)]), 2);
        append(&mut booked, row);
        assert_eq!(booked, Some(series(&[Some(1.0), Some(2.0), Some(3.0)])));
    }

    fn users(all: &[(&str, &[(i64, f64)])]) -> UserRows {
        let row = |(id, updates): &(&str, &[(i64, f64)])| UserRow {
            id: Some((*id).into()),
            updates: updates.to_vec(),
            before: None,
        };
        UserRows { users: all.iter().map(row).collect() }
    }

    #[test]
    fn users_whose_value_is_new_enter_with_the_last_interval() {
        let at = UsersAt { base_ms: 0, last_ms: 20, is_ever: false };
        let first = users(&[("a", &[(0, 1.0)]), ("b", &[(10, 2.0)])]);
        let mut booked = Some(Data::Users(news_of_users(None, first.clone(), at)));
        // `a` spent more in interval 0, which came late, `c` is new, `b` is gone from the store.
        let read = users(&[("a", &[(0, 3.0)]), ("c", &[(10, 0.0), (20, 5.0)])]);
        let rows = news_of_users(Some(&first), read, at);
        assert_eq!(rows, users(&[("a", &[(20, 3.0)]), ("c", &[(20, 5.0)])]));
        append(&mut booked, Data::Users(rows));
        let all = users(&[("a", &[(0, 1.0), (20, 3.0)]), ("b", &[(10, 2.0)]), ("c", &[(20, 5.0)])]);
        assert_eq!(booked, Some(Data::Users(all.clone())));
        assert_eq!(news_of_users(Some(&all), all.clone(), at), UserRows::default());
    }

    #[test]
    fn users_keep_what_they_were_worth_before_the_scope_moved() {
        let known = users(&[("a", &[(0, 1.0), (20, 3.0)])]);
        let read = users(&[("a", &[(20, 2.0)])]);
        let at = |is_ever| UsersAt { base_ms: 20, last_ms: 30, is_ever };
        // One before the move, two since.
        assert_eq!(news_of_users(Some(&known), read.clone(), at(false)), UserRows::default());
        let more = users(&[("a", &[(20, 2.5)])]);
        assert_eq!(news_of_users(Some(&known), more, at(false)), users(&[("a", &[(30, 3.5)])]));
        let did = users(&[("a", &[(0, 1.0)])]);
        let idle = users(&[("a", &[(20, 0.0)])]);
        assert_eq!(news_of_users(Some(&did), idle, at(true)), UserRows::default());
    }

    #[test]
    fn histograms_with_other_buckets_are_joined() {
        let h = |le: &[f64], t: i64, row: &[f64]| Histogram {
            t_ms: vec![t],
            le: le.to_vec(),
            counts: vec![Some(row.to_vec())],
            units: IndexMap::new(),
        };
        let mut a = h(&[1.0, f64::INFINITY], 0, &[1.0, 2.0]);
        append_histogram(&mut a, h(&[1.0, 5.0, f64::INFINITY], 1, &[3.0, 4.0, 5.0]));
        assert_eq!(a.le, [1.0, 5.0, f64::INFINITY]);
        assert_eq!(a.counts, [Some(vec![1.0, 0.0, 2.0]), Some(vec![3.0, 4.0, 5.0])]);
    }

    #[test]
    fn patterns_without_a_row_had_no_record() {
        let p = |t: i64, n: &[(&str, f64)]| PatternCounts {
            t_ms: vec![t],
            records: vec![Some(9.0)],
            trials: None,
            patterns: n
                .iter()
                .map(|(id, n)| (id.to_string(), Pattern { counts: vec![Some(*n)], ..Pattern::default() }))
                .collect(),
        };
        let mut all = Some(Data::Patterns(p(0, &[("a", 1.0)])));
        append(&mut all, Data::Patterns(p(1, &[("b", 2.0)])));
        append(&mut all, Data::Patterns(p(2, &[])));
        let Some(Data::Patterns(all)) = all else { panic!("patterns stay patterns") };
        assert_eq!(all.patterns["a"].counts, [Some(1.0), Some(0.0), Some(0.0)]);
        assert_eq!(all.patterns["b"].counts, [Some(0.0), Some(2.0), Some(0.0)]);
        assert_eq!(all.trials, None);
    }
}
