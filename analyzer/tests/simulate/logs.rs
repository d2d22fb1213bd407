//! Simulated log patterns.

use greylight_analyzer::judge::{CheckData, Data, Pattern, PatternCounts, Sides};
use indexmap::IndexMap;

use super::{Chance, Outcome, judge, times};

/// Settings of [`logs`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logs {
    /// The baseline's traffic, in canaries.
    pub(crate) baseline: f64,
    /// Chance that a canary's request writes a line that was never seen.
    pub(crate) new: f64,
    /// Alpha of the release.
    pub(crate) alpha: f64,
}

/// One pattern check: the canary has 1,000 requests a minute, 60 usual patterns come in bursts at Zipf
/// rates, and harmless new patterns appear on either side, 0.02 a minute.
pub(crate) fn logs(setting: Logs, chance: &mut Chance) -> Outcome {
    const HISTORY: usize = 180;
    const USUAL: usize = 60;
    let policy = format!(
        "name: s\nalpha: {}\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: logs, kind: patterns }}\n",
        setting.alpha
    );
    let n = HISTORY + 60;
    let sides = [1_000.0 * setting.baseline, 1_000.0];
    let mut counts = [IndexMap::new(), IndexMap::new()];
    let mut add = |side: usize, id: String, minute: usize, lines: usize| {
        let row: &mut Vec<usize> = counts[side].entry(id).or_insert_with(|| vec![0; n]);
        row[minute] += lines;
    };
    for minute in 0..n {
        for (side, requests) in sides.iter().enumerate() {
            for rank in 1..=USUAL {
                // Bursts of five lines: the bets must bear clumps.
                let bursts = chance.poisson(requests * 0.001 / rank as f64);
                add(side, format!("usual-{rank}"), minute, 5 * bursts);
            }
            let is_broken = side == 1 && minute >= HISTORY;
            let broken = if is_broken { chance.poisson(requests * setting.new) } else { 0 };
            add(side, "broken".to_owned(), minute, broken);
        }
        if chance.uniform() < 0.02 {
            let side = usize::from(chance.uniform() < 1.0 / (1.0 + setting.baseline));
            add(side, format!("harmless-{minute}"), minute, 1);
        }
    }
    let part = |side: usize, from: usize, to: usize| {
        let one = |(id, row): (&String, &Vec<usize>)| {
            let counts = row[from..to].iter().map(|count| Some(*count as f64)).collect();
            (
                id.clone(),
                Pattern {
                    text: id.clone(),
                    severity: Some("error".to_owned()),
                    counts,
                    ..Pattern::default()
                },
            )
        };
        let requests = vec![Some(sides[side]); to - from];
        Some(Data::Patterns(PatternCounts {
            t_ms: times(from as i64 - HISTORY as i64, to - from, 60_000),
            records: requests.clone(),
            trials: Some(requests),
            patterns: counts[side].iter().map(one).collect(),
        }))
    };
    let data = CheckData {
        run: Sides { baseline: part(0, HISTORY, n), canary: part(1, HISTORY, n) },
        pre: Sides { baseline: part(0, 0, HISTORY), canary: part(1, 0, HISTORY) },
        ..CheckData::default()
    };
    judge(&policy, IndexMap::from([("logs".to_owned(), data)]))
}
