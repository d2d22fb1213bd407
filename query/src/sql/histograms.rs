//! Native histograms as columns: counts, sums, and the buckets with their bounds.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Float64Builder, ListBuilder, StructBuilder};
use arrow::datatypes::{DataType, Field, Fields};
use greylight_store::model::Histogram;

use super::metrics::Row;
use crate::promql::histogram::buckets;

/// Returns the columns of a histogram.
///
/// `buckets` holds those with observations, from the lowest to the highest, the zero bucket among them: each with its
/// bounds in the unit of the observations and its own count.
pub(super) fn fields() -> Vec<Field> {
    let number = |name: &str| Field::new(name, DataType::Float64, false);
    let item = Field::new("item", DataType::Struct(bucket_fields()), true);
    let buckets = Field::new("buckets", DataType::List(Arc::new(item)), false);
    vec![number("count"), number("sum"), number("zero_threshold"), number("zero_count"), buckets]
}

fn bucket_fields() -> Fields {
    Fields::from_iter(["lower", "upper", "count"].map(|name| Field::new(name, DataType::Float64, false)))
}

/// Makes one column, counted from 0.
pub(super) fn column(column: usize, rows: &[Row<Arc<Histogram>>]) -> ArrayRef {
    let number = |of: fn(&Histogram) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., histogram)| of(histogram))))
    };
    match column {
        0 => number(|histogram| histogram.count),
        1 => number(|histogram| histogram.sum),
        2 => number(|histogram| histogram.zero_threshold),
        3 => number(|histogram| histogram.zero_count),
        _ => bucket_lists(rows),
    }
}

fn bucket_lists(rows: &[Row<Arc<Histogram>>]) -> ArrayRef {
    let mut lists = ListBuilder::new(StructBuilder::from_fields(bucket_fields(), 0));
    for (.., histogram) in rows {
        let items = lists.values();
        for bucket in buckets(histogram) {
            for (idx, number) in [bucket.lower, bucket.upper, bucket.count].into_iter().enumerate() {
                if let Some(builder) = items.field_builder::<Float64Builder>(idx) {
                    builder.append_value(number);
                }
            }
            items.append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}
