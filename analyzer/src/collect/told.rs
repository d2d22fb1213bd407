//! Reads what texts of log records tell: users and what they did, and numbers by a field.
//!
//! Records are counted by the texts of their fields, some intervals at a time: what a read holds is in proportion
//! to what these show, and what is kept of users in proportion to the users.

use std::collections::BTreeMap;

use greylight_store::read::GroupBy;
use indexmap::IndexMap;

use super::metrics::{check_values, shown};
use super::{CollectError, Collector, Grid, Question};
use crate::judge::{Data, UserRow, UserRows, Values};
use crate::policy::{LogQuery, UserValue, Users};

/// Intervals that are read at once.
const SLICE: usize = 5;
/// Intervals of history that are read at once, where only totals matter.
const SLICE_BEFORE: usize = 30;
/// Users of one side of one check.
const USERS_MAX: usize = 200_000;

/// How often records with the same texts came.
struct Told {
    texts: Vec<String>,
    /// By interval of the slice.
    counts: Vec<u64>,
}

/// When a user was first seen and when it did what is asked for, as intervals of the grid.
#[derive(Clone, Copy)]
struct Sight {
    first: usize,
    did: Option<usize>,
}

impl Collector {
    /// Collects the users of one side, each with what is known of it so far; nothing where none was seen. An update
    /// is placed at the start of its interval.
    pub(super) fn users(&self, q: &Question<'_>, users: &Users) -> Result<Option<Data>, CollectError> {
        let Users::Logs { query, user, value } = users else { return Ok(None) };
        let updates = match value {
            UserValue::Ever(did) => self.sights(q, query, user, did)?,
            UserValue::Sum(field) => self.sums(q, query, user, field, SLICE)?,
        };
        let at = |i: usize| q.grid.start_ms + i as i64 * q.grid.step_ms;
        let row = |(id, updates): (String, Vec<(usize, f64)>)| UserRow {
            id: Some(id),
            updates: updates.into_iter().map(|(i, value)| (at(i), value)).collect(),
            before: None,
        };
        let mut users: Vec<UserRow> = updates.into_iter().map(row).collect();
        // In the order in which pinned updates are read.
        users.sort_by_key(|user| user.updates.first().map(|update| update.0));
        Ok((!users.is_empty()).then_some(Data::Users(UserRows { users })))
    }

    /// Collects what users were worth before a release, which the grid ends at: one update each, at the first sight.
    /// Nothing where only a deed counts, which says nothing of another one.
    pub(crate) fn users_before(&self, q: &Question<'_>, users: &Users) -> Result<Option<Data>, CollectError> {
        let Users::Logs { query, user, value: UserValue::Sum(field) } = users else { return Ok(None) };
        let worth = |(id, updates): (String, Vec<(usize, f64)>)| {
            let (first, total) = (updates.first()?.0, updates.last()?.1);
            let first_ms = q.grid.start_ms + first as i64 * q.grid.step_ms;
            Some(UserRow { id: Some(id), updates: vec![(first_ms, total)], before: None })
        };
        let sums = self.at(q)?.sums(q, query, user, field, SLICE_BEFORE)?;
        let users: Vec<UserRow> = sums.into_iter().filter_map(worth).collect();
        Ok((!users.is_empty()).then_some(Data::Users(UserRows { users })))
    }

    /// Finds when users were first seen, and which of them made a record that `did` finds: such a record before the
    /// first sight counts from there on.
    fn sights(
        &self,
        q: &Question<'_>,
        query: &LogQuery,
        user: &str,
        did: &str,
    ) -> Result<BTreeMap<String, Vec<(usize, f64)>>, CollectError> {
        let mut sights: BTreeMap<String, Sight> = BTreeMap::new();
        let first = |from: usize, told: &Told| told.counts.iter().position(|n| *n > 0).map(|i| from + i);
        self.each_slice(q, query, &[user], SLICE, |from, all| {
            for mut told in all {
                let Some(i) = first(from, &told) else { continue };
                let sight = sights.entry(told.texts.swap_remove(0)).or_insert(Sight { first: i, did: None });
                sight.first = sight.first.min(i);
            }
            check_users(user, sights.len())
        })?;
        let did = LogQuery { query: did.to_owned(), ..query.clone() };
        self.each_slice(q, &did, &[user], SLICE, |from, all| {
            for told in all {
                let Some(i) = first(from, &told) else { continue };
                if let Some(sight) = sights.get_mut(&told.texts[0]) {
                    sight.did = Some(sight.did.map_or(i, |known| known.min(i)).max(sight.first));
                }
            }
            Ok(())
        })?;
        let updates = |Sight { first, did }: Sight| match did {
            Some(at) if at == first => vec![(first, 1.0)],
            Some(at) => vec![(first, 0.0), (at, 1.0)],
            None => vec![(first, 0.0)],
        };
        Ok(sights.into_iter().map(|(user, sight)| (user, updates(sight))).collect())
    }

    /// Adds up a field's numbers by user: the sum so far from each interval on in which it changed.
    fn sums(
        &self,
        q: &Question<'_>,
        query: &LogQuery,
        user: &str,
        field: &str,
        slice: usize,
    ) -> Result<BTreeMap<String, Vec<(usize, f64)>>, CollectError> {
        let mut sums: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
        self.each_slice(q, query, &[user, field], slice, |from, all| {
            let mut new: BTreeMap<String, BTreeMap<usize, f64>> = BTreeMap::new();
            for mut told in all {
                let amount = number(&told.texts[1]).unwrap_or(0.0);
                let by_interval = new.entry(told.texts.swap_remove(0)).or_default();
                for (i, n) in told.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                    *by_interval.entry(from + i).or_default() += amount * *n as f64;
                }
            }
            for (user, by_interval) in new {
                let updates = sums.entry(user).or_default();
                for (i, sum) in by_interval {
                    match updates.last() {
                        None => updates.push((i, sum)),
                        Some((_, before)) if sum != 0.0 => updates.push((i, before + sum)),
                        Some(_) => {}
                    }
                }
            }
            check_users(user, sums.len())
        })?;
        Ok(sums)
    }

    /// Collects a field's numbers by the values of the check's `by`.
    pub(super) fn values_by(
        &self,
        q: &Question<'_>,
        query: &LogQuery,
        field: &str,
        by: &str,
    ) -> Result<Option<Data>, CollectError> {
        let mut values: BTreeMap<String, Vec<Option<Vec<f64>>>> = BTreeMap::new();
        // Records without the field of `by` are of a value too, so the number stands first.
        self.each_slice(q, query, &[field, by], SLICE, |from, all| {
            for mut told in all {
                let Some(number) = number(&told.texts[0]) else { continue };
                let rows = values.entry(told.texts.swap_remove(1)).or_insert_with(|| vec![None; q.grid.n]);
                for (i, n) in told.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                    let row = rows[from + i].get_or_insert_default();
                    row.extend(std::iter::repeat_n(number, usize::try_from(*n).unwrap_or(usize::MAX)));
                }
            }
            check_values(Some(by), values.len())
        })?;
        let of_value = |(value, mut rows): (String, Vec<Option<Vec<f64>>>)| {
            // Sorted: a pinned list must not depend on the order in which files were read.
            rows.iter_mut().flatten().for_each(|row| row.sort_by(f64::total_cmp));
            (shown(&value), Data::Raw(Values { t_ms: q.grid.starts(), values: rows, units: IndexMap::new() }))
        };
        Ok((!values.is_empty()).then(|| Data::By(values.into_iter().map(of_value).collect())))
    }

    /// Hands on what records tell, slice by slice: the first interval of each, and the texts of the fields with their
    /// counts, in the order of the texts, so that sums do not depend on how slices end. Records without the
    /// first field are left out.
    fn each_slice(
        &self,
        q: &Question<'_>,
        query: &LogQuery,
        fields: &[&str],
        slice: usize,
        mut sink: impl FnMut(usize, Vec<Told>) -> Result<(), CollectError>,
    ) -> Result<(), CollectError> {
        for from in (0..q.grid.n).step_by(slice) {
            let start_ms = q.grid.start_ms + from as i64 * q.grid.step_ms;
            let grid = Grid { start_ms, n: slice.min(q.grid.n - from), ..q.grid };
            let mut all = self.told(&Question { grid, ..*q }, query, fields)?;
            all.retain(|told| !told.texts[0].is_empty());
            all.sort_by(|a, b| a.texts.cmp(&b.texts));
            // The same texts of several units.
            all.dedup_by(|next, kept| {
                let is_same = next.texts == kept.texts;
                if is_same {
                    kept.counts.iter_mut().zip(&next.counts).for_each(|(sum, n)| *sum += n);
                }
                is_same
            });
            sink(from, all)?;
        }
        Ok(())
    }

    fn told(&self, q: &Question<'_>, query: &LogQuery, fields: &[&str]) -> Result<Vec<Told>, CollectError> {
        let by: Vec<GroupBy> = fields.iter().map(|name| GroupBy::Field((*name).to_owned())).collect();
        let rows = self.counted(q, &query.query, &query.matchers, &by)?;
        Ok(rows.into_iter().map(|(key, counts)| Told { texts: key.more, counts }).collect())
    }
}

fn check_users(field: &str, n: usize) -> Result<(), CollectError> {
    if n <= USERS_MAX {
        return Ok(());
    }
    Err(CollectError::Unsupported(format!(
        "`user: {field}` names more than {USERS_MAX} users on one side; narrow the log query to a part of them, \
         or shorten the phase or its pre_period"
    )))
}

/// A text that is a number and nothing else, as log searches read it.
fn number(text: &str) -> Option<f64> {
    let first = text.bytes().next()?;
    let may_be = first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.');
    may_be.then(|| text.parse().ok()).flatten().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_texts_are_numbers() {
        for (text, want) in [
            ("4.5", Some(4.5)),
            ("-1e3", Some(-1e3)),
            ("", None),
            ("6ms", None),
            ("inf", None),
            ("1e999", None),
        ] {
            assert_eq!(number(text), want, "{text:?}");
        }
    }

    #[test]
    fn too_many_users_are_named_with_their_field() {
        assert!(check_users("user_id", USERS_MAX).is_ok());
        let error = check_users("user_id", USERS_MAX + 1).unwrap_err().to_string();
        assert!(error.starts_with("`user: user_id` names more than 200000 users on one side"), "{error}");
    }
}
