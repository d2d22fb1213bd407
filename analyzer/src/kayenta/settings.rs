//! What a metric's `analysisConfigurations.canary` says.

use serde_json::{Map, Value};

use super::config::Reader;
use super::error::KayentaError;

/// Which direction of a difference counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Only a larger canary.
    Increase,
    /// Only a smaller canary.
    Decrease,
    /// Both.
    #[default]
    Either,
}

/// What becomes of values that are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NanStrategy {
    /// They are left out.
    #[default]
    Remove,
    /// They count as 0.
    Replace,
}

/// How the size of a difference is measured before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EffectMeasure {
    /// Mean of the canary over mean of the baseline.
    #[default]
    MeanRatio,
    /// Chance that a canary value exceeds a baseline one, ties one half.
    Cles,
}

/// Settings of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which direction counts.
    pub direction: Direction,
    /// What becomes of NaN.
    pub nan_strategy: NanStrategy,
    /// Width of the fences beyond which values are left out, in interquartile ranges; `None` keeps all.
    pub outlier_factor: Option<f64>,
    /// Whether a failure of this metric alone fails the whole.
    pub critical: bool,
    /// Whether missing data counts as a failure of the metric.
    pub must_have_data: bool,
    /// Whether the metric is left out of the score.
    pub muted: bool,
    /// How effects are measured.
    pub measure: EffectMeasure,
    /// Effect from which a rise counts.
    pub allowed_increase: f64,
    /// Effect down from which a fall counts.
    pub allowed_decrease: f64,
    /// Effect from which a rise is critical.
    pub critical_increase: f64,
    /// Effect down from which a fall is critical.
    pub critical_decrease: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            direction: Direction::Either,
            nan_strategy: NanStrategy::Remove,
            outlier_factor: None,
            critical: false,
            must_have_data: false,
            muted: false,
            measure: EffectMeasure::MeanRatio,
            allowed_increase: 1.0,
            allowed_decrease: 1.0,
            critical_increase: 1.0,
            critical_decrease: 1.0,
        }
    }
}

/// Width of the fences where the configuration gives none.
const OUTLIER_FACTOR: f64 = 3.0;

impl Settings {
    /// Reads `analysisConfigurations.canary`. An unknown word means the default, as in Kayenta, and is
    /// warned about.
    pub(super) fn read(
        fields: &Map<String, Value>,
        path: &str,
        reader: &mut Reader,
    ) -> Result<Self, KayentaError> {
        const KNOWN: [&str; 7] =
            ["direction", "nanStrategy", "outliers", "critical", "mustHaveData", "muted", "effectSize"];
        reader.warn_of_strangers(fields, &KNOWN, path);
        let direction =
            reader.word(fields, "direction", path, &["increase", "decrease", "either"]).unwrap_or("either");
        let nan = reader.word(fields, "nanStrategy", path, &["remove", "replace"]).unwrap_or("remove");
        let mut settings = Self {
            direction: match direction {
                "increase" => Direction::Increase,
                "decrease" => Direction::Decrease,
                _ => Direction::Either,
            },
            nan_strategy: if nan == "replace" { NanStrategy::Replace } else { NanStrategy::Remove },
            critical: reader.flag(fields, "critical", path)?,
            must_have_data: reader.flag(fields, "mustHaveData", path)?,
            muted: reader.flag(fields, "muted", path)?,
            ..Self::default()
        };
        settings.outlier_factor = outliers(fields, path, reader)?;
        if let Some(effect) = reader.object(fields, "effectSize", path)? {
            settings.read_effect(effect, &format!("{path}.effectSize"), reader)?;
        }
        Ok(settings)
    }

    fn read_effect(
        &mut self,
        fields: &Map<String, Value>,
        path: &str,
        reader: &mut Reader,
    ) -> Result<(), KayentaError> {
        const KNOWN: [&str; 5] =
            ["measure", "allowedIncrease", "allowedDecrease", "criticalIncrease", "criticalDecrease"];
        reader.warn_of_strangers(fields, &KNOWN, path);
        let is_cles = reader.word(fields, "measure", path, &["meanRatio", "cles"]) == Some("cles");
        self.measure = if is_cles { EffectMeasure::Cles } else { EffectMeasure::MeanRatio };
        let nothing = if is_cles { 0.5 } else { 1.0 };
        for (name, slot) in [
            ("allowedIncrease", &mut self.allowed_increase),
            ("allowedDecrease", &mut self.allowed_decrease),
            ("criticalIncrease", &mut self.critical_increase),
            ("criticalDecrease", &mut self.critical_decrease),
        ] {
            *slot = reader.number(fields, name, path)?.unwrap_or(nothing);
        }
        Ok(())
    }
}

fn outliers(
    fields: &Map<String, Value>,
    path: &str,
    reader: &mut Reader,
) -> Result<Option<f64>, KayentaError> {
    let Some(outliers) = reader.object(fields, "outliers", path)? else { return Ok(None) };
    let path = format!("{path}.outliers");
    reader.warn_of_strangers(outliers, &["strategy", "outlierFactor"], &path);
    let factor = reader.number(outliers, "outlierFactor", &path)?.unwrap_or(OUTLIER_FACTOR);
    // Refused also where outliers are kept: Kayenta makes its detector before it asks.
    if factor.is_nan() || factor <= 0.0 {
        return Err(KayentaError::field(format!("{path}.outlierFactor"), "must be above 0"));
    }
    let is_removing = reader.word(outliers, "strategy", &path, &["keep", "remove"]) == Some("remove");
    Ok(is_removing.then_some(factor))
}
