//! From the JSON form of a side's data to the domain's: every length, time and sign is checked here.

use indexmap::IndexMap;

use super::data::{
    Counts, Data, Histogram, Pattern, PatternCounts, PatternMember, Series, UserRow, UserRows, Values,
};
use super::error::JudgeError;
use super::wire::{DataJson, EdgeJson, Numbers, UserJson};

impl DataJson {
    /// Turns the JSON form into the domain's, for a kind's word.
    ///
    /// # Errors
    /// [`JudgeError::Field`] if a field is missing, of another length, negative where it counts, or unknown
    /// to this kind.
    pub fn into_data(self, kind: &str, path: &str) -> Result<Data, JudgeError> {
        if self.by.is_some() {
            return self.into_by(kind, path).map(Data::By);
        }
        self.refuse_strangers(kind, path)?;
        match kind {
            "ratio" | "count" => self.into_counts(kind, path).map(Data::Counts),
            "mean" => self.into_series(path).map(Data::Values),
            "distribution" if self.is_raw() => self.into_values(path).map(Data::Raw),
            "distribution" => self.into_histogram(path).map(Data::Histogram),
            "users" => self.into_users(path).map(Data::Users),
            "composite" => {
                Err(JudgeError::field(path, "a composite check takes its data from the mean checks"))
            }
            _ => self.into_patterns(path).map(Data::Patterns),
        }
    }

    /// Refuses fields that belong to another kind, which would otherwise be ignored in silence.
    fn refuse_strangers(&self, kind: &str, path: &str) -> Result<(), JudgeError> {
        let known: &[&str] = match kind {
            "ratio" => &["t_ms", "events", "trials", "units"],
            "count" => &["t_ms", "events", "exposure", "units"],
            "mean" => &["series"],
            "distribution" => &["t_ms", "le", "counts", "values", "units"],
            "users" => &["users", "updates"],
            "composite" => &[],
            _ => &["t_ms", "records", "trials", "patterns"],
        };
        let given = [
            ("t_ms", self.t_ms.is_some()),
            ("events", self.events.is_some()),
            ("trials", self.trials.is_some()),
            ("exposure", self.exposure.is_some()),
            ("units", self.units.is_some()),
            ("series", self.series.is_some()),
            ("le", self.le.is_some()),
            ("counts", self.counts.is_some()),
            ("values", self.values.is_some()),
            ("records", self.records.is_some()),
            ("patterns", self.patterns.is_some()),
            ("users", self.users.is_some()),
            ("updates", self.updates.is_some()),
            ("by", self.by.is_some()),
        ];
        match given.iter().find(|(name, is_given)| *is_given && !known.contains(name)) {
            Some((name, _)) => Err(JudgeError::field(
                format!("{path}.{name}"),
                format!("does not belong to kind {kind}, which has {}", known.join(", ")),
            )),
            None => Ok(()),
        }
    }

    fn into_counts(self, kind: &str, path: &str) -> Result<Counts, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let events = counted(required(self.events, path, "events")?, &t_ms, path, "events")?;
        let (exposure, name) =
            if kind == "ratio" { (self.trials, "trials") } else { (self.exposure, "exposure") };
        let exposure = counted(required(exposure, path, name)?, &t_ms, path, name)?;
        let units = (self.units.unwrap_or_default().into_iter())
            .map(|(unit, data)| Ok((unit.clone(), data.into_counts(kind, &format!("{path}.units.{unit}"))?)))
            .collect::<Result<_, JudgeError>>()?;
        Ok(Counts { t_ms, events, exposure, units })
    }

    fn into_series(self, path: &str) -> Result<Vec<Series>, JudgeError> {
        let series = required(self.series, path, "series")?;
        (series.into_iter().enumerate())
            .map(|(idx, one)| {
                let path = format!("{path}.series[{idx}]");
                let t_ms = instants(one.t_ms, &path)?;
                let v = sized(one.v, &t_ms, &path, "v")?;
                Ok(Series { instance: one.instance, t_ms, v })
            })
            .collect()
    }

    /// Tells whether a distribution comes as values, and not as buckets.
    fn is_raw(&self) -> bool {
        let has_raw_units = || {
            let mut units = self.units.iter().flat_map(IndexMap::values);
            units.any(|unit| unit.values.is_some())
        };
        self.values.is_some() || (self.le.is_none() && self.counts.is_none() && has_raw_units())
    }

    fn into_values(self, path: &str) -> Result<Values, JudgeError> {
        if self.le.is_some() || self.counts.is_some() {
            let name = if self.le.is_some() { "le" } else { "counts" };
            let problem = "belongs to buckets, and `values` are given";
            return Err(JudgeError::field(format!("{path}.{name}"), problem));
        }
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let units: IndexMap<String, Values> = (self.units.unwrap_or_default().into_iter())
            .map(|(unit, data)| {
                let path = format!("{path}.units.{unit}");
                data.refuse_strangers("distribution", &path)?;
                Ok((unit, data.into_values(&path)?))
            })
            .collect::<Result<_, JudgeError>>()?;
        match self.values {
            // The units' values are all that there are.
            None if !units.is_empty() => Ok(Values::of_units(t_ms, units)),
            values => {
                let values = sized(required(values, path, "values")?, &t_ms, path, "values")?;
                Ok(Values { t_ms, values, units })
            }
        }
    }

    fn into_histogram(self, path: &str) -> Result<Histogram, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let le = edges(required(self.le, path, "le")?, path)?;
        let counts = sized(required(self.counts, path, "counts")?, &t_ms, path, "counts")?;
        for (idx, row) in counts.iter().enumerate() {
            let Some(row) = row else { continue };
            let field = format!("{path}.counts[{idx}]");
            if row.len() != le.len() {
                return Err(JudgeError::field(
                    field,
                    format!("has {} buckets, and le has {}", row.len(), le.len()),
                ));
            }
            if row.iter().any(|count| *count < 0.0) {
                return Err(JudgeError::field(field, "holds a negative count"));
            }
        }
        let units = (self.units.unwrap_or_default().into_iter())
            .map(|(unit, data)| Ok((unit.clone(), data.into_histogram(&format!("{path}.units.{unit}"))?)))
            .collect::<Result<_, JudgeError>>()?;
        Ok(Histogram { t_ms, le, counts, units })
    }

    fn into_by(mut self, kind: &str, path: &str) -> Result<IndexMap<String, Data>, JudgeError> {
        let field = format!("{path}.by");
        if !["ratio", "count", "distribution"].contains(&kind) {
            return Err(JudgeError::field(field, format!("does not belong to kind {kind}")));
        }
        let values = self.by.take().unwrap_or_default();
        if self != Self::default() {
            return Err(JudgeError::field(field, "stands alone: the data of each value is inside"));
        }
        (values.into_iter())
            .map(|(value, data)| {
                let path = format!("{field}.{value}");
                if data.by.is_some() {
                    return Err(JudgeError::field(path, "has `by` inside of `by`"));
                }
                Ok((value, data.into_data(kind, &path)?))
            })
            .collect()
    }

    fn into_users(self, path: &str) -> Result<UserRows, JudgeError> {
        let finite = |field: String, values: Vec<f64>| match values.iter().find(|value| !value.is_finite()) {
            Some(wrong) => Err(JudgeError::field(field, format!("finite values, not {wrong}"))),
            None => Ok(()),
        };
        match (self.users, self.updates) {
            (Some(users), None) => {
                let field = format!("{path}.users");
                instants(users.iter().map(|user| user.first_ms).collect(), &field)?;
                finite(
                    field,
                    users.iter().flat_map(|user| [user.value, user.before.unwrap_or(0.0)]).collect(),
                )?;
                let row = |user: UserJson| UserRow {
                    id: None,
                    updates: vec![(user.first_ms, user.value)],
                    before: user.before,
                };
                Ok(UserRows { users: users.into_iter().map(row).collect() })
            }
            (None, Some(mut updates)) => {
                let field = format!("{path}.updates");
                instants(updates.iter().map(|update| update.t_ms).collect(), &field)?;
                finite(field, updates.iter().map(|update| update.value).collect())?;
                updates.sort_by_key(|update| update.t_ms);
                let mut users: IndexMap<String, UserRow> = IndexMap::new();
                for update in updates {
                    let row = users
                        .entry(update.user.clone())
                        .or_insert_with(|| UserRow { id: Some(update.user), ..UserRow::default() });
                    row.updates.push((update.t_ms, update.value));
                }
                Ok(UserRows { users: users.into_values().collect() })
            }
            _ => Err(JudgeError::field(path, "needs either `users` or `updates`")),
        }
    }

    fn into_patterns(self, path: &str) -> Result<PatternCounts, JudgeError> {
        let t_ms = instants(required(self.t_ms, path, "t_ms")?, path)?;
        let records = counted(required(self.records, path, "records")?, &t_ms, path, "records")?;
        let trials = self.trials.map(|trials| counted(trials, &t_ms, path, "trials")).transpose()?;
        let patterns = (self.patterns.unwrap_or_default().into_iter())
            .map(|(id, one)| {
                let path = format!("{path}.patterns.{id}");
                let counts = counted(one.counts, &t_ms, &path, "counts")?;
                let members = (one.members.into_iter())
                    .map(|(member, one)| {
                        let path = format!("{path}.members.{member}");
                        let counts = counted(one.counts, &t_ms, &path, "counts")?;
                        Ok((member, PatternMember { text: one.text, counts }))
                    })
                    .collect::<Result<_, JudgeError>>()?;
                let (text, severity, examples) = (one.text, one.severity, one.examples);
                Ok((id, Pattern { text, severity, counts, members, examples }))
            })
            .collect::<Result<_, JudgeError>>()?;
        Ok(PatternCounts { t_ms, records, trials, patterns })
    }
}

/// Takes starts of intervals between the years 0 and 9999, in which arithmetic cannot overflow.
fn instants(t_ms: Vec<i64>, path: &str) -> Result<Vec<i64>, JudgeError> {
    const MS_MIN: i64 = -62_167_219_200_000;
    const MS_MAX: i64 = 253_402_300_799_999;
    match t_ms.iter().find(|t_ms| !(MS_MIN..=MS_MAX).contains(*t_ms)) {
        Some(wrong) => Err(JudgeError::field(
            format!("{path}.t_ms"),
            format!("epoch milliseconds up to the year 9999, not {wrong}"),
        )),
        None => Ok(t_ms),
    }
}

fn required<T>(value: Option<T>, path: &str, name: &str) -> Result<T, JudgeError> {
    value.ok_or_else(|| JudgeError::field(format!("{path}.{name}"), "is required"))
}

fn sized<T>(values: Vec<T>, t_ms: &[i64], path: &str, name: &str) -> Result<Vec<T>, JudgeError> {
    if values.len() == t_ms.len() {
        return Ok(values);
    }
    Err(JudgeError::field(
        format!("{path}.{name}"),
        format!("has {} entries, and t_ms has {}", values.len(), t_ms.len()),
    ))
}

fn counted(values: Numbers, t_ms: &[i64], path: &str, name: &str) -> Result<Numbers, JudgeError> {
    // Sums of counts beyond this lose whole numbers, and no real count comes near.
    const COUNT_MAX: f64 = 1e12;
    let values = sized(values, t_ms, path, name)?;
    match values.iter().flatten().find(|value| !(0.0..=COUNT_MAX).contains(*value)) {
        Some(value) => {
            Err(JudgeError::field(format!("{path}.{name}"), format!("counts from 0 to 1e12, not {value}")))
        }
        None => Ok(values),
    }
}

fn edges(le: Vec<EdgeJson>, path: &str) -> Result<Vec<f64>, JudgeError> {
    let wrong = |problem: String| JudgeError::field(format!("{path}.le"), problem);
    let mut edges = Vec::with_capacity(le.len());
    for edge in le {
        edges.push(match edge {
            EdgeJson::Number(number) => number,
            EdgeJson::Text(text) => {
                text.parse().map_err(|_| wrong(format!("{text:?} is no number and not \"+Inf\"")))?
            }
        });
    }
    if edges.iter().any(|edge| edge.is_nan()) || edges.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(wrong("edges must rise".to_owned()));
    }
    match edges.last() {
        Some(edge) if *edge == f64::INFINITY => Ok(edges),
        _ => Err(wrong("the last edge must be \"+Inf\"".to_owned())),
    }
}
