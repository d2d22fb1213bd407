//! From labels to one score.

use indexmap::IndexMap;

use super::classify::Label;

/// Scores from which a judgement passes, or passes marginally.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// At least this passes.
    pub pass: f64,
    /// At least this is marginal; in a run of judgements it must be exceeded.
    pub marginal: f64,
}

impl Default for Thresholds {
    /// The values that the Spinnaker guide begins with.
    fn default() -> Self {
        Self { pass: 95.0, marginal: 75.0 }
    }
}

/// What a score comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// At least the pass threshold.
    Pass,
    /// At least the marginal threshold.
    Marginal,
    /// Below both.
    Fail,
}

impl Class {
    /// Returns Kayenta's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Marginal => "Marginal",
            Self::Fail => "Fail",
        }
    }
}

/// The summary of a judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0 to 100, two decimals; group weights that do not add up to 100 can leave that range.
    pub score: f64,
    /// What it comes to.
    pub class: Class,
    /// Why it is 0, where a rule made it so.
    pub reason: Option<String>,
}

/// The score of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupScore {
    /// The group's name.
    pub name: String,
    /// Share of passes among the labels that count, times 100; 0 where none counts.
    pub score: f64,
    /// Whether no label counts; such a group adds 100 to the summary.
    pub has_no_data: bool,
}

/// One result as the score sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    pub(super) name: &'a str,
    pub(super) groups: &'a [String],
    pub(super) label: Label,
    pub(super) is_critical: bool,
    pub(super) is_muted: bool,
}

/// Folds results into group scores and the summary.
pub(super) fn score(
    results: &[Counted<'_>],
    weights: &IndexMap<String, f64>,
    thresholds: &Thresholds,
) -> (Score, Vec<GroupScore>) {
    let heard: Vec<&Counted<'_>> = results.iter().filter(|result| !result.is_muted).collect();
    let groups = group_scores(&heard);
    let failed: Vec<&str> = (heard.iter())
        .filter(|result| result.is_critical && result.label != Label::Pass)
        .map(|result| result.name)
        .collect();
    let n_nodata = heard.iter().filter(|result| result.label == Label::Nodata).count();
    let (number, reason) = if !failed.is_empty() {
        (0.0, Some(format!("critical metrics failed: {}", failed.join(", "))))
    } else if !heard.is_empty() && 2 * n_nodata >= heard.len() {
        (0.0, Some(format!("{n_nodata} of {} metrics have no data", heard.len())))
    } else {
        (summary(&groups, weights), None)
    };
    let number = round_half_up(number);
    let class = if number >= thresholds.pass {
        Class::Pass
    } else if number >= thresholds.marginal {
        Class::Marginal
    } else {
        Class::Fail
    };
    (Score { score: number, class, reason }, groups)
}

fn group_scores(heard: &[&Counted<'_>]) -> Vec<GroupScore> {
    let mut tallies: IndexMap<&str, (u32, u32)> = IndexMap::new();
    for result in heard {
        for group in result.groups {
            let (passed, counted) = tallies.entry(group).or_default();
            match result.label {
                Label::Pass => (*passed, *counted) = (*passed + 1, *counted + 1),
                Label::High | Label::Low | Label::NodataFailMetric => *counted += 1,
                Label::Nodata | Label::Error => {}
            }
        }
    }
    (tallies.into_iter())
        .map(|(name, (passed, counted))| GroupScore {
            name: name.to_owned(),
            score: if counted == 0 { 0.0 } else { f64::from(passed) / f64::from(counted) * 100.0 },
            has_no_data: counted == 0,
        })
        .collect()
}

fn summary(groups: &[GroupScore], weights: &IndexMap<String, f64>) -> f64 {
    let n_unweighted = groups.iter().filter(|group| !weights.contains_key(&group.name)).count();
    // All weights count here, also those of groups without results.
    let left = (100.0 - weights.values().sum::<f64>()) / n_unweighted as f64;
    (groups.iter())
        .map(|group| {
            let score = if group.has_no_data { 100.0 } else { group.score };
            score * (weights.get(&group.name).copied().unwrap_or(left) / 100.0)
        })
        .sum()
}

/// Rounds to two decimals, halves away from zero, by the number's shortest decimal form: 2.675 has a
/// half there although its binary value lies below.
fn round_half_up(value: f64) -> f64 {
    let text = format!("{:?}", value.abs());
    let Some((whole, part)) = text.split_once('.').filter(|_| !text.contains('e')) else { return value };
    let Some(third) = part.as_bytes().get(2) else { return value };
    let hundredths = format!("{whole}{}", &part[..2]).parse::<f64>().unwrap_or(f64::NAN);
    let rounded = (hundredths + f64::from(u8::from(*third >= b'5'))) / 100.0;
    if value < 0.0 { -rounded } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_up_as_they_are_written() {
        for (value, want) in [
            (2.675, 2.68),
            (94.994_999_999, 94.99),
            (94.995, 95.0),
            (100.0, 100.0),
            (-0.125, -0.13),
            (66.666_666_666_666_67, 66.67),
            (0.0, 0.0),
            (33.3, 33.3),
        ] {
            assert_eq!(round_half_up(value), want, "{value}");
        }
    }
}
