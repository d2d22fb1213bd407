//! Rows as JSON, CSV or Arrow.

use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{self, DataType, SchemaRef, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use serde_json::{Map, Value, json};

use super::SqlError;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Arrow,
}

impl FromStr for Format {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "arrow" => Ok(Self::Arrow),
            _ => Err(()),
        }
    }
}

impl Format {
    /// Returns the media type of an answer.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Rows of an answer; at most `limit` of them are written.
#[derive(Debug)]
pub(crate) struct Output {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) limit: usize,
    pub(super) truncated: bool,
    /// What is missing because files are damaged, a sentence each.
    pub(super) missing: Vec<String>,
}

impl Output {
    /// Tells whether there were more rows than the limit.
    pub(crate) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Tells whether rows are missing because files are damaged.
    pub(crate) fn partial(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Writes the rows.
    ///
    /// # Errors
    /// [`SqlError::Execution`] when a value cannot be written.
    pub(crate) fn write(&self, format: Format) -> Result<Vec<u8>, SqlError> {
        let failed =
            |e: arrow::error::ArrowError| SqlError::Execution(format!("writing the answer failed: {e}"));
        match format {
            Format::Json => self.json().map_err(failed),
            Format::Csv => self.csv().map_err(failed),
            Format::Arrow => self.arrow().map_err(failed),
        }
    }

    /// Returns the batches, cut to the limit.
    pub(crate) fn cut(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        let mut left = self.limit;
        self.batches.iter().map_while(move |batch| {
            let n = batch.num_rows().min(left);
            left -= n;
            (n > 0).then(|| batch.slice(0, n))
        })
    }

    fn json(&self) -> Result<Vec<u8>, arrow::error::ArrowError> {
        let columns: Vec<Value> = self
            .schema
            .fields()
            .iter()
            .map(|f| json!({ "name": f.name(), "type": type_word(f.data_type()) }))
            .collect();
        let mut out = format!("{{\"columns\":{},\"rows\":[", Value::from(columns)).into_bytes();
        let mut first = true;
        for batch in self.cut() {
            for row in 0..batch.num_rows() {
                if !first {
                    out.push(b',');
                }
                first = false;
                let cells = batch.columns().iter().map(|c| cell(c, row)).collect::<Result<Vec<_>, _>>()?;
                out.extend_from_slice(Value::from(cells).to_string().as_bytes());
            }
        }
        out.extend_from_slice(
            format!("],\"truncated\":{},\"partial\":{}", self.truncated, self.partial()).as_bytes(),
        );
        if self.partial() {
            out.extend_from_slice(b",\"warnings\":");
            out.extend_from_slice(Value::from(self.missing.clone()).to_string().as_bytes());
        }
        out.push(b'}');
        Ok(out)
    }

    fn csv(&self) -> Result<Vec<u8>, arrow::error::ArrowError> {
        let mut out = String::new();
        let names: Vec<String> = self.schema.fields().iter().map(|f| quoted(f.name())).collect();
        out.push_str(&names.join(","));
        out.push_str("\r\n");
        for batch in self.cut() {
            for row in 0..batch.num_rows() {
                for (i, column) in batch.columns().iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    match cell(column, row)? {
                        Value::Null => {}
                        Value::String(text) => out.push_str(&quoted(&text)),
                        other => out.push_str(&quoted(&other.to_string())),
                    }
                }
                out.push_str("\r\n");
            }
        }
        Ok(out.into_bytes())
    }

    fn arrow(&self) -> Result<Vec<u8>, arrow::error::ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        for batch in self.cut() {
            writer.write(&batch)?;
        }
        writer.into_inner()
    }
}

/// Quotes a text for CSV where it must be (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

fn type_word(kind: &DataType) -> String {
    match kind {
        DataType::Null => "null".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "number".into(),
        kind if kind.is_integer() => "integer".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Map(..) => "map".into(),
        DataType::List(_) | DataType::LargeList(_) => "list".into(),
        DataType::Struct(_) => "struct".into(),
        DataType::Dictionary(_, values) => type_word(values),
        other => other.to_string().to_lowercase(),
    }
}

fn cell(array: &ArrayRef, row: usize) -> Result<Value, arrow::error::ArrowError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Int64 => array.as_primitive::<datatypes::Int64Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<datatypes::Int32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<datatypes::UInt64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<datatypes::UInt8Type>().value(row).into(),
        DataType::Float64 => number(array.as_primitive::<datatypes::Float64Type>().value(row)),
        DataType::Float32 => number(f64::from(array.as_primitive::<datatypes::Float32Type>().value(row))),
        DataType::Timestamp(unit, _) => time(array, *unit, row),
        DataType::Map(..) => {
            let map = array.as_map();
            let (from, to) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
            let mut object = Map::new();
            for i in from..to {
                object.insert(plain(&cell(map.keys(), i)?), cell(map.values(), i)?);
            }
            Value::Object(object)
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|i| cell(&items, i)).collect::<Result<Vec<_>, _>>()?.into()
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            let cells = fields.iter().zip(columns.columns());
            let pairs = cells.map(|(f, c)| Ok((f.name().clone(), cell(c, row)?)));
            Value::Object(pairs.collect::<Result<Map<_, _>, arrow::error::ArrowError>>()?)
        }
        _ => array_value_to_string(array, row)?.into(),
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// JSON has no word for these numbers.
fn number(v: f64) -> Value {
    match serde_json::Number::from_f64(v) {
        Some(n) => Value::Number(n),
        None if v.is_nan() => "NaN".into(),
        None if v > 0.0 => "+Inf".into(),
        None => "-Inf".into(),
    }
}

fn time(array: &ArrayRef, unit: TimeUnit, row: usize) -> Value {
    let (raw, per_unit) = match unit {
        TimeUnit::Second => {
            (array.as_primitive::<datatypes::TimestampSecondType>().value(row), 1_000_000_000)
        }
        TimeUnit::Millisecond => {
            (array.as_primitive::<datatypes::TimestampMillisecondType>().value(row), 1_000_000)
        }
        TimeUnit::Microsecond => {
            (array.as_primitive::<datatypes::TimestampMicrosecondType>().value(row), 1_000)
        }
        TimeUnit::Nanosecond => (array.as_primitive::<datatypes::TimestampNanosecondType>().value(row), 1),
    };
    match jiff::Timestamp::from_nanosecond(i128::from(raw) * per_unit) {
        Ok(t) => format!("{t:.9}").into(),
        Err(_) => raw.into(),
    }
}
