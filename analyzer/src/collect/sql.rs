//! Values of a `mean` check that a SQL statement gives.

use std::collections::BTreeMap;

use greylight_query::sql::{Point, SqlError};
use greylight_store::model::Timestamp;

use super::metrics::is_passing;
use super::{CollectError, Collector, Question};
use crate::judge::{Data, Series};

/// Rows that one statement may answer with; a hundred units over a week of minutes.
const ROWS_MAX: usize = 1_000_000;

impl Collector {
    /// Reads the values of a side by a statement that answers with a row a unit and interval.
    pub(super) fn sql_values(&self, q: &Question<'_>, statement: &str) -> Result<Option<Data>, CollectError> {
        let wrong = |detail: String| CollectError::Query { query: statement.to_string(), detail };
        let text = q.filling.fill_sql(statement, q.grid).map_err(|e| wrong(e.to_string()))?;
        let points = self.sql.run(q.tenant, &text, ROWS_MAX, &self.budget()).map_err(|e| match e {
            SqlError::Read(error) if is_passing(&error) => CollectError::Read(error),
            error => wrong(error.to_string()),
        })?;
        let mut units: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
        for point in points {
            let unit = unit_of(&point, q.unit_names);
            if !q.units.keep(unit) || !point.value.is_finite() {
                continue;
            }
            let Some(at) = q.grid.index(point.t_ms) else { continue };
            let unit = unit.unwrap_or("").to_string();
            let values = units.entry(unit.clone()).or_insert_with(|| vec![None; q.grid.n]);
            if values[at].replace(point.value).is_some() {
                let time = Timestamp::from_millis(q.grid.start_ms + at as i64 * q.grid.step_ms);
                return Err(wrong(format!(
                    "gives more than one row for unit {unit:?} in the interval from {time}; group by both"
                )));
            }
        }
        let series = units.into_iter();
        let series: Vec<Series> =
            series.map(|(instance, v)| Series { instance, t_ms: q.grid.starts(), v }).collect();
        Ok((!series.is_empty()).then_some(Data::Values(series)))
    }
}

fn unit_of<'a>(point: &'a Point, names: &[String]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let label = point.labels.iter().find(|(label, value)| label == name && !value.is_empty());
        label.map(|(_, value)| value.as_str())
    })
}
