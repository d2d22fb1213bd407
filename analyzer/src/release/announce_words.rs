//! What an announcement says, in words and as JSON.

use serde_json::{Value, json};

use super::model::Release;
use crate::judge::{Foretold, ForetoldValue, Size};
use crate::policy::{Harm, Phase, Span, Vote};
use crate::verdict::{Measure, NewPods, percent};

/// What the words need to know of the release.
pub(super) struct Words<'a> {
    release: &'a Release,
}

impl<'a> Words<'a> {
    pub(super) fn new(release: &'a Release) -> Self {
        Self { release }
    }

    /// Writes one check.
    pub(super) fn check(&self, phase: &Phase, check: &Foretold) -> Value {
        json!({
            "name": check.check,
            "kind": check.kind,
            "vote": check.vote.word(),
            "harm": check.harm.word(),
            "method": check.method,
            "shift": check.shift.map(size),
            "margin": check.margin.map(size),
            "go_in": self.go_in(phase, check).map(|ms| Span::from_millis(ms).to_string()),
            "new_pods": check.new_pods.map(|pods| self.new_pods(check, pods)),
            "values": check.values.iter().map(|one| self.value(phase, one)).collect::<Vec<_>>(),
            "helps": check.helps.iter().map(|help| json!({
                "what": help.what,
                "text": help.text,
                "shift": help.shift.map(size),
            })).collect::<Vec<_>>(),
            "reason": check.lack.as_ref().map(|reason| json!({
                "code": reason.cause.code(),
                "text": reason.text(),
            })),
            "text": self.sentence(phase, check),
        })
    }

    /// Says when the whole phase can be expected to go.
    pub(super) fn phase(&self, phase: &Phase, checks: &[Foretold]) -> String {
        let full: Vec<&Foretold> = checks.iter().filter(|check| check.vote == Vote::Full).collect();
        if full.is_empty() {
            return "no check of this phase can say go: it can only refuse".to_owned();
        }
        if let Some(open) = full.iter().find(|check| self.go_in(phase, check).is_none()) {
            let why = open.lack.as_ref().map_or_else(
                || format!("{} is not shown to be below its margin within {}", open.check, phase.at_most),
                |reason| format!("{}: {}", open.check, reason.text()),
            );
            return format!("go is not to be expected within the phase; {why}");
        }
        let least = self.warm_up() + phase.at_least.millis();
        let slowest = full.iter().max_by_key(|check| self.go_in(phase, check));
        let ms = slowest.and_then(|check| self.go_in(phase, check)).unwrap_or(0);
        let slowest = slowest.map_or("", |check| check.check.as_str());
        if ms <= least {
            return format!(
                "an unchanged release goes in about {}, as early as the phase lets it",
                span(least)
            );
        }
        format!("an unchanged release goes in about {}; {slowest} takes longest", span(ms))
    }

    /// Returns milliseconds from the phase's start to the go that can be expected of a check.
    fn go_in(&self, phase: &Phase, check: &Foretold) -> Option<u64> {
        self.looks(phase, check.go_looks?)
    }

    fn looks(&self, phase: &Phase, looks: usize) -> Option<u64> {
        let step = self.release.policy.policy.interval.millis();
        let ms = self.warm_up() + looks as u64 * step;
        (ms <= self.warm_up() + phase.at_most.millis()).then_some(ms)
    }

    fn warm_up(&self) -> u64 {
        self.release.policy.policy.warm_up.millis()
    }

    fn value(&self, phase: &Phase, one: &ForetoldValue) -> Value {
        let go = one.go_looks.and_then(|looks| self.looks(phase, looks));
        json!({
            "value": one.value,
            "shift": one.shift.map(size),
            "go_in": go.map(|ms| Span::from_millis(ms).to_string()),
        })
    }

    fn new_pods(&self, check: &Foretold, pods: NewPods) -> Value {
        let step = self.release.policy.policy.interval.millis();
        json!({
            "compared_with": pods.compared_with,
            "canary": pods.canary,
            "old": pods.old,
            "fresh": pods.fresh,
            "births": pods.births,
            "events": pods.events,
            "settled_ms": check.settled.map(|age| age as u64 * step),
        })
    }

    fn sentence(&self, phase: &Phase, check: &Foretold) -> String {
        let mut text = self.found(phase, check);
        if let Some(value) = check.values.first() {
            text.push_str(&format!(
                " (at {}, of {} that are tested singly)",
                value.value,
                check.values.len()
            ));
        }
        text.push_str(&self.goes(phase, check));
        if let (Some(pods), Some(age)) = (check.new_pods, check.settled)
            && pods.compared_with != "none"
        {
            let settled = span(age as u64 * self.release.policy.policy.interval.millis());
            let warm_up = &self.release.policy.policy.warm_up;
            text.push_str(&format!(
                ". New pods settle after {settled}: that is the warm-up used (policy: {warm_up})"
            ));
        }
        if let Some(help) = check.helps.first() {
            match help.shift.filter(|_| help.what != "margin") {
                Some(shift) => text.push_str(&format!(
                    ". {} would find {}",
                    capital(&help.text),
                    amount(check.harm, shift)
                )),
                None => text.push_str(&format!(". {} would do", capital(&help.text))),
            }
        }
        text.push('.');
        text
    }

    fn found(&self, phase: &Phase, check: &Foretold) -> String {
        let name = &check.check;
        if check.kind == "composite" {
            return format!("{name}: harm spread thinly over the mean checks, judged from what they show");
        }
        let Some(shift) = check.shift else {
            return format!("{name}: what can be found is not known beforehand");
        };
        if check.kind == "patterns" {
            let n = shift.value;
            return format!(
                "{name}: a pattern that nobody had before is refused after {n} pattern-minutes on the canary alone"
            );
        }
        let who = check.new_pods.map_or_else(String::new, |pods| format!("{}: ", compared(&pods)));
        let amount = amount(check.harm, shift);
        format!("{name}: {who}{amount} is found within {} in 80 % of cases", phase.at_most)
    }

    fn goes(&self, phase: &Phase, check: &Foretold) -> String {
        let Some(margin) = check.margin else { return String::new() };
        match (self.go_in(phase, check), &check.lack) {
            (Some(ms), _) => {
                format!("; an unchanged release goes at margin {} in about {}", plain(margin), span(ms))
            }
            (None, Some(reason)) => format!("; {}", reason.text()),
            (None, None) if check.vote == Vote::None => String::new(),
            (None, None) => {
                format!("; go at margin {} is not to be expected within the phase", plain(margin))
            }
        }
    }
}

fn compared(pods: &NewPods) -> String {
    let canary = format!("{} new pods", pods.canary);
    match pods.compared_with {
        "fresh" => format!("{canary} against {} fresh ones of the old version", pods.fresh),
        "births" => format!(
            "{canary} against {} old ones and {} starts in {} events",
            pods.old, pods.births, pods.events
        ),
        _ => format!("{canary} against {} old ones", pods.old),
    }
}

fn size(size: Size) -> Value {
    json!({ "value": size.value, "measure": size.measure.word(), "unit": size.unit })
}

/// Writes a size with the sign of harm.
fn amount(harm: Harm, size: Size) -> String {
    let sign = match harm {
        Harm::Up => "+",
        Harm::Down => "-",
        Harm::Either => "±",
    };
    format!("{sign}{}", plain(size))
}

fn plain(size: Size) -> String {
    match (size.measure, size.unit) {
        (Measure::Relative, _) => percent(size.value),
        (_, "ratio") => format!("{} percentage points", percent(size.value).trim_end_matches(" %")),
        (_, unit) => format!("{:.4} ({unit})", size.value),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Writes milliseconds in whole units that matter.
fn span(ms: u64) -> String {
    const MINUTE: u64 = 60_000;
    let rounded = if ms >= 10 * MINUTE { ms.div_ceil(MINUTE) * MINUTE } else { ms };
    Span::from_millis(rounded).to_string()
}
