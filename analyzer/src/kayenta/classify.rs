//! The label of one pair of series.

use super::clean::mean;
use super::rank_test::{Shift, TOLERANCE, shift};
use super::settings::{Direction, EffectMeasure, NanStrategy, Settings};
use crate::stats::classical::{rank_sum, sorted};

/// What a pair of series came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// No difference that counts.
    Pass,
    /// The canary is higher.
    High,
    /// The canary is lower.
    Low,
    /// A side has no values.
    Nodata,
    /// A side has no values, and the metric must have some.
    NodataFailMetric,
    /// The test cannot be computed.
    Error,
}

impl Label {
    /// Returns Kayenta's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::High => "High",
            Self::Low => "Low",
            Self::Nodata => "Nodata",
            Self::NodataFailMetric => "NodataFailMetric",
            Self::Error => "Error",
        }
    }
}

/// A label with what led to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Classified {
    pub(super) label: Label,
    pub(super) is_critical: bool,
    /// Mean of the canary over mean of the baseline, NaN where a mean is 0; absent after an error.
    pub(super) ratio: Option<f64>,
    pub(super) reason: Option<String>,
    /// The test's interval, where it was computed.
    pub(super) shift: Option<Shift>,
}

/// Labels the cleaned values of both sides.
pub(super) fn classify(
    name: &str,
    canary: &[f64],
    baseline: &[f64],
    settings: &Settings,
    seed: u64,
) -> Classified {
    let plain =
        |label, is_critical, reason| Classified { label, is_critical, ratio: Some(1.0), reason, shift: None };
    if canary.is_empty() || baseline.is_empty() {
        if settings.nan_strategy == NanStrategy::Replace {
            return plain(Label::Pass, false, None);
        }
        let reason = Some(format!("{name} has no data on a side"));
        if settings.must_have_data && !settings.critical {
            return plain(Label::NodataFailMetric, false, reason);
        }
        return plain(Label::Nodata, settings.critical, reason);
    }
    let (x, y) = (sorted(canary), sorted(baseline));
    if x == y {
        return plain(Label::Pass, false, Some("both sides have the same values".to_owned()));
    }
    if x.iter().chain(&y).all(|value| *value == x[0]) {
        return plain(Label::Pass, false, None);
    }
    match shift(canary, baseline, seed) {
        Ok(shift) => compared(&x, &y, (mean_ratio(canary, baseline), shift), settings),
        Err(_) => Classified {
            label: Label::Error,
            // Whatever the setting says: Kayenta loses it on this way.
            is_critical: false,
            ratio: None,
            reason: Some("the rank test cannot be computed".to_owned()),
            shift: None,
        },
    }
}

fn compared(x: &[f64], y: &[f64], (ratio, shift): (f64, Shift), settings: &Settings) -> Classified {
    let effect = match settings.measure {
        EffectMeasure::MeanRatio => ratio,
        EffectMeasure::Cles => rank_sum(x, y, 0.0).u / (x.len() as f64 * y.len() as f64),
    };
    // An effect that is no number stands in nobody's way.
    let is_risen = |least: f64| effect.is_nan() || effect >= least;
    let is_fallen = |most: f64| effect.is_nan() || effect <= most;
    let bound = TOLERANCE * shift.estimate.abs();
    let may_rise = settings.direction != Direction::Decrease;
    let may_fall = settings.direction != Direction::Increase;
    let (label, is_critical) = if may_rise && shift.lower > bound && is_risen(settings.allowed_increase) {
        (Label::High, settings.critical && is_risen(settings.critical_increase))
    } else if may_fall && shift.upper < -bound && is_fallen(settings.allowed_decrease) {
        (Label::Low, settings.critical && is_fallen(settings.critical_decrease))
    } else {
        (Label::Pass, false)
    };
    let reason = (label != Label::Pass).then(|| {
        format!(
            "the 98 % interval of the shift, {} to {}, lies wholly {} a quarter of its estimate, {}",
            brief(shift.lower),
            brief(shift.upper),
            if label == Label::High { "above" } else { "below minus" },
            brief(shift.estimate),
        )
    });
    Classified { label, is_critical, ratio: Some(ratio), reason, shift: Some(shift) }
}

/// Mean over mean; no number where either is 0.
fn mean_ratio(canary: &[f64], baseline: &[f64]) -> f64 {
    let (canary, baseline) = (mean(canary), mean(baseline));
    if canary == 0.0 || baseline == 0.0 { f64::NAN } else { canary / baseline }
}

/// Four digits are enough for a sentence.
fn brief(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let digits = (3 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 6);
        format!("{value:.*}", digits as usize)
    } else {
        format!("{value:.3e}")
    }
}
