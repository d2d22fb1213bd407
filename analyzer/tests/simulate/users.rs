//! Simulated users: conversions and amounts.

use greylight_analyzer::judge::{CheckData, Data, Sides, UserRow, UserRows};
use indexmap::IndexMap;

use super::counts::Share;
use super::{Chance, Outcome, START_MS, judge};

/// Settings of [`users`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Users {
    /// New users a minute on both sides together.
    pub(crate) per_minute: usize,
    /// How the canary's share of them goes.
    pub(crate) share: Share,
    /// What is known of a user.
    pub(crate) value: UserValue,
    /// What is done to the canary: a factor of the chance to convert, or of the amount.
    pub(crate) factor: f64,
    /// What the check is held to, as the policy writes it.
    pub(crate) held_to: &'static str,
}

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum UserValue {
    /// Converts with this chance, some minutes after the first sight.
    Converts(f64),
    /// Spends a lognormal amount with this sigma.
    Spends(f64),
}

/// One user check at 1 %, harm down.
pub(crate) fn users(setting: Users, chance: &mut Chance) -> Outcome {
    let policy = format!(
        "name: s\nwarm_up: 0s\nphases:\n- name: p\n  lasts: {{ at_most: 1h }}\n  checks:\n  \
         - {{ name: users, kind: users, harm: down, {} }}\n",
        setting.held_to
    );
    let mut sides = [UserRows::default(), UserRows::default()];
    for minute in 0..60 {
        for _ in 0..setting.per_minute {
            let is_canary = chance.uniform() < setting.share.at(minute);
            let factor = if is_canary { setting.factor } else { 1.0 };
            let first = START_MS + minute as i64 * 60_000;
            let updates = match setting.value {
                UserValue::Spends(sigma) => vec![(first, factor * (sigma * chance.normal()).exp())],
                UserValue::Converts(part) => {
                    let mut updates = vec![(first, 0.0)];
                    // Half of those who convert do so within two minutes.
                    let after = (-chance.uniform().ln() / 0.35) as i64;
                    if chance.uniform() < factor * part && minute as i64 + after < 60 {
                        updates.push((first + after * 60_000, 1.0));
                    }
                    updates
                }
            };
            sides[usize::from(is_canary)].users.push(UserRow { id: None, updates, before: None });
        }
    }
    let [baseline, canary] = sides.map(|side| Some(Data::Users(side)));
    let data = CheckData { run: Sides { baseline, canary }, ..CheckData::default() };
    judge(&policy, IndexMap::from([("users".to_owned(), data)]))
}
