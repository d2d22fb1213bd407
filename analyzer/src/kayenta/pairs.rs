//! Which series of the canary is compared with which of the baseline.

use std::collections::BTreeMap;

use super::error::KayentaError;

/// One series of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSet {
    /// The metric's name.
    pub name: String,
    /// What tells it from other series of the metric.
    pub tags: BTreeMap<String, String>,
    /// Start of the stretch, in epoch milliseconds.
    pub start_ms: i64,
    /// End of the stretch, in epoch milliseconds.
    pub end_ms: i64,
    /// Distance of the values; positive.
    pub step_ms: i64,
    /// The values in time order; NaN where there is none.
    pub values: Vec<f64>,
}

/// Values of one metric on both sides. Order and time mean nothing to the judge.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSetPair {
    /// The metric's name.
    pub name: String,
    /// Its id, repeated in the result.
    pub id: String,
    /// What tells it from other pairs of the metric.
    pub tags: BTreeMap<String, String>,
    /// The baseline's values.
    pub control: Vec<f64>,
    /// The canary's values.
    pub experiment: Vec<f64>,
}

/// Pairs the series of both sides of one metric by their tags.
///
/// A tag set that one side lacks is paired with nothing but NaN. Where one side has no tags and the other
/// has, the side without lends only its times: its values are dropped, as Kayenta does.
///
/// # Errors
/// [`KayentaError::Field`] if a side has no series, or the sides' tags have different names.
pub fn pair(control: &[MetricSet], experiment: &[MetricSet]) -> Result<Vec<MetricSetPair>, KayentaError> {
    let (Some(first_control), Some(first_experiment)) = (control.first(), experiment.first()) else {
        let side = if control.is_empty() { "control" } else { "experiment" };
        return Err(KayentaError::field(side, "has no series of the metric"));
    };
    let name = &first_control.name;
    if let Some(other) = control.iter().chain(experiment).find(|set| set.name != *name) {
        return Err(KayentaError::field("name", format!("{:?} is paired with {name:?}", other.name)));
    }
    let is_tagged = |sets: &[MetricSet]| sets.iter().any(|set| !set.tags.is_empty());
    let blank = |like: &MetricSet, tags: &BTreeMap<String, String>| MetricSet {
        tags: tags.clone(),
        values: Vec::new(),
        ..like.clone()
    };
    let spread = |template: &MetricSet, other: &[MetricSet]| -> Vec<MetricSet> {
        other.iter().map(|set| blank(template, &set.tags)).collect()
    };
    let (control, experiment) = match (is_tagged(control), is_tagged(experiment)) {
        (false, true) => (spread(first_control, experiment), experiment.to_vec()),
        (true, false) => (control.to_vec(), spread(first_experiment, control)),
        _ => (control.to_vec(), experiment.to_vec()),
    };
    let names = |set: &MetricSet| set.tags.keys().cloned().collect::<Vec<_>>();
    let wanted = names(&control[0]);
    if let Some(odd) = control.iter().chain(&experiment).find(|set| names(set) != wanted) {
        let (odd, wanted) = (names(odd).join(", "), wanted.join(", "));
        return Err(KayentaError::field(
            "tags",
            format!("series of {name:?} have different tags: {odd}; {wanted}"),
        ));
    }
    let mut tag_sets: Vec<&BTreeMap<String, String>> = Vec::new();
    for set in control.iter().chain(&experiment) {
        if !tag_sets.contains(&&set.tags) {
            tag_sets.push(&set.tags);
        }
    }
    Ok((tag_sets.iter().enumerate())
        .map(|(idx, tags)| {
            let side = |sets: &[MetricSet], like: &MetricSet| {
                let own = sets.iter().find(|set| set.tags == **tags).cloned();
                padded(&own.unwrap_or_else(|| blank(like, tags)))
            };
            MetricSetPair {
                name: name.clone(),
                id: if tag_sets.len() == 1 { name.clone() } else { format!("{name}-{idx}") },
                tags: (*tags).clone(),
                control: side(&control, first_control),
                experiment: side(&experiment, first_experiment),
            }
        })
        .collect())
}

/// Appends NaN until the stretch is full; nothing is aligned by time.
fn padded(set: &MetricSet) -> Vec<f64> {
    // A year of seconds; a wrong end must not fill the memory.
    const POINTS_MAX: i64 = 31_622_400;
    let points = ((set.end_ms - set.start_ms) / set.step_ms.max(1)).clamp(0, POINTS_MAX);
    let mut values = set.values.clone();
    if let Ok(points) = usize::try_from(points)
        && values.len() < points
    {
        values.resize(points, f64::NAN);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tags: &[(&str, &str)], values: &[f64]) -> MetricSet {
        MetricSet {
            name: "m".into(),
            tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            start_ms: 0,
            end_ms: 180_000,
            step_ms: 60_000,
            values: values.to_vec(),
        }
    }

    #[track_caller]
    fn check(control: &[MetricSet], experiment: &[MetricSet], want: &[(&[f64], &[f64])]) {
        let pairs = pair(control, experiment).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let got: Vec<_> = pairs.iter().map(|one| (bits(&one.control), bits(&one.experiment))).collect();
        let want: Vec<_> =
            want.iter().map(|(control, experiment)| (bits(control), bits(experiment))).collect();
        assert_eq!(got, want, "{pairs:?}");
    }

    const NONE: [f64; 3] = [f64::NAN; 3];

    #[test]
    fn series_meet_by_their_tags_and_are_padded_at_the_end() {
        check(
            &[set(&[("pod", "a")], &[1.0, 2.0, 3.0]), set(&[("pod", "b")], &[4.0])],
            &[set(&[("pod", "b")], &[5.0, 6.0, 7.0, 8.0]), set(&[("pod", "c")], &[9.0, 9.0])],
            &[
                (&[1.0, 2.0, 3.0], &NONE),
                (&[4.0, f64::NAN, f64::NAN], &[5.0, 6.0, 7.0, 8.0]),
                (&NONE, &[9.0, 9.0, f64::NAN]),
            ],
        );
    }

    #[test]
    fn a_side_without_tags_lends_its_times_and_loses_its_values() {
        let tagged = [set(&[("pod", "a")], &[1.0, 2.0, 3.0]), set(&[("pod", "b")], &[4.0, 5.0, 6.0])];
        let plain = [set(&[], &[7.0, 8.0, 9.0])];
        check(&plain, &tagged, &[(&NONE, &[1.0, 2.0, 3.0]), (&NONE, &[4.0, 5.0, 6.0])]);
        check(&tagged, &plain, &[(&[1.0, 2.0, 3.0], &NONE), (&[4.0, 5.0, 6.0], &NONE)]);
        check(&plain, &plain, &[(&[7.0, 8.0, 9.0], &[7.0, 8.0, 9.0])]);
    }

    #[test]
    fn other_tags_and_empty_sides_are_errors() {
        assert!(pair(&[set(&[("pod", "a")], &[])], &[set(&[("zone", "a")], &[])]).is_err());
        assert!(pair(&[], &[set(&[], &[])]).is_err());
        assert!(pair(&[set(&[], &[])], &[]).is_err());
    }
}
