//! A checkpoint: all actions that count, as rows of a Parquet file.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn texts_by_text(name: &str) -> Field {
    let entries: Fields =
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into();
    let entries = Field::new("key_value", DataType::Struct(entries), false);
    Field::new(name, DataType::Map(Arc::new(entries), false), true)
}

fn group(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::Struct(fields.into()), true)
}

fn schema() -> Arc<Schema> {
    let version = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let list = Field::new("element", DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        group("protocol", vec![version("minReaderVersion"), version("minWriterVersion")]),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                group("format", vec![text("provider"), texts_by_text("options")]),
                text("schemaString"),
                Field::new("partitionColumns", DataType::List(Arc::new(list)), true),
                texts_by_text("configuration"),
                number("createdTime"),
            ],
        ),
        group(
            "add",
            vec![
                text("path"),
                texts_by_text("partitionValues"),
                number("size"),
                number("modificationTime"),
                flag("dataChange"),
                text("stats"),
            ],
        ),
        group("remove", vec![text("path"), number("deletionTimestamp"), flag("dataChange")]),
    ]))
}

/// Writes actions as a file.
pub(super) fn encode(actions: &[Value]) -> Result<Vec<u8>, String> {
    let mut decoder = ReaderBuilder::new(schema())
        .with_batch_size(actions.len().max(1))
        .with_strict_mode(true)
        .build_decoder()
        .map_err(|e| e.to_string())?;
    decoder.serialize(actions).map_err(|e| e.to_string())?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).map_err(|e| e.to_string())?;
    if let Some(batch) = decoder.flush().map_err(|e| e.to_string())? {
        writer.write(&batch).map_err(|e| e.to_string())?;
    }
    writer.into_inner().map_err(|e| e.to_string())
}

/// Reads the actions of a file.
pub(super) fn decode(bytes: Bytes) -> Result<Vec<Value>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| e.to_string())?;
    let mut lines = LineDelimitedWriter::new(Vec::new());
    for batch in reader.build().map_err(|e| e.to_string())? {
        lines.write(&batch.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    lines.finish().map_err(|e| e.to_string())?;
    let lines = lines.into_inner();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|e| e.to_string())).collect()
}
