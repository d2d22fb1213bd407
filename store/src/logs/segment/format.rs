//! What a log segment says about itself: the value of key `greylight.logs` in its Parquet footer.
//!
//! JSON, compressed with zstd, in base64. Unknown versions are refused. Columns of the file:
//!
//! | column | content |
//! |---|---|
//! | `time` | nanoseconds since the epoch |
//! | `observed` | observed time less `time`, nanoseconds |
//! | `severity` | OpenTelemetry's severity number |
//! | `severity_text` | the severity as its source wrote it |
//! | `stream` | number of the label set in `streams` |
//! | `pattern` | XXH3-64 of the message's pattern |
//! | `trace_id`, `span_id` | raw bytes, with bloom filters |
//! | `i0`, `i1`, ... | numbers of slots |
//! | `s0`, `s1`, ... | texts of slots |
//! | `x0`, `x1`, ... | bytes of slots |
//!
//! A row's *slots* are the variables of its body in order, then the values of its attributes, then those of rare names
//! together, then the sender's uid. Rows of a row group are ordered by (shape, stream, time); `groups` says for
//! each run of one shape in which columns its slots are and how to read them. A body is its
//! pattern with each byte 0 replaced by the next variable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use serde::{Deserialize, Serialize};

use super::codec::{Codec, Form, TimeForm};
use crate::logs::rows::{Kind, Shape, Tables, Tail};
use crate::model::Labels;

/// Key in the Parquet footer.
pub(super) const KEY: &str = "greylight.logs";
/// Key of the checksums in the Parquet footer.
pub(super) const SUMS_KEY: &str = "greylight.sums";
/// Version 1 has no shapes with `rest`, version 2 none with `message`.
const VERSION: u32 = 3;
/// Rows of one row group at most.
const ROWS_MAX: usize = 1 << 24;

#[derive(Serialize, Deserialize)]
struct LayoutDoc {
    version: u32,
    streams: Vec<Vec<(String, String)>>,
    shapes: Vec<ShapeDoc>,
    severity_texts: Vec<String>,
    groups: Vec<GroupDoc>,
}

#[derive(Serialize, Deserialize)]
struct ShapeDoc {
    pattern: String,
    /// Bytes of the pattern before that of the message.
    #[serde(default, skip_serializing_if = "is_zero")]
    message: usize,
    /// Name and type: s text, i integer, d double, b boolean, x bytes, j JSON, n null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(String, char)>,
    /// Whether a slot behind those of the attributes has the rest of them: a JSON list of position in the record, name,
    /// type and text each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rest: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    uid: bool,
}

#[derive(Serialize, Deserialize)]
struct GroupDoc {
    first: i64,
    last: i64,
    runs: Vec<RunDoc>,
}

#[derive(Serialize, Deserialize)]
struct RunDoc {
    shape: u32,
    rows: usize,
    slots: Vec<CodecDoc>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CodecDoc {
    Constant(String),
    Text(usize),
    Int(usize),
    IntTime(usize, i64),
    Hex(usize),
    Uuid(usize),
    Time(usize, u8, char, bool),
    /// The form, or the column of texts that holds it; the columns of numbers.
    Parts(String, Vec<usize>),
    PartsBy(usize, Vec<usize>),
}

/// The rows of one shape in a row group, which stand together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) shape: u32,
    pub(super) n_rows: usize,
    pub(super) slots: Vec<Codec>,
}

/// A row group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) runs: Vec<Run>,
}

impl Group {
    pub(super) fn n_rows(&self) -> usize {
        self.runs.iter().map(|r| r.n_rows).sum()
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) tables: Tables,
    pub(super) groups: Vec<Group>,
}

/// Checksums of what a reader relies on: Parquet's own pages have none, and a bit that flipped in one would be a
/// wrong answer. The value of key `greylight.sums`: the CRC32C of what follows in eight hexadecimal digits, then JSON.
/// Files of older releases have none; they are only held against their checksum as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// CRC32C of the layout's value.
    pub(super) layout: u32,
    /// By row group and column.
    pub(super) columns: Vec<Vec<ColumnSum>>,
}

/// Where a column of a row group lies, how many bytes it has, and the CRC32C of these, of how they are compressed and
/// of how many values they are.
pub(super) type ColumnSum = (u64, u64, u32);

impl Sums {
    pub(super) fn write(&self) -> std::io::Result<String> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{:08x}{json}", crc32c::crc32c(json.as_bytes())))
    }

    pub(super) fn read(value: &str) -> Result<Self, String> {
        let (sum, json) = value.split_at_checked(8).ok_or("its checksums are cut short")?;
        if u32::from_str_radix(sum, 16) != Ok(crc32c::crc32c(json.as_bytes())) {
            return Err("its checksums are damaged themselves".into());
        }
        serde_json::from_str(json).map_err(|e| format!("its checksums are no JSON: {e}"))
    }
}

/// Returns the checksum of a column of a row group; `chunk` is what the footer says of it.
pub(super) fn column_sum(bytes: &[u8], chunk: &ColumnChunkMetaData) -> u32 {
    let compression: u8 = match chunk.compression() {
        Compression::UNCOMPRESSED => 0,
        Compression::ZSTD(_) => 1,
        _ => 2,
    };
    let sum = crc32c::crc32c_append(crc32c::crc32c(bytes), &[compression]);
    crc32c::crc32c_append(sum, &chunk.num_values().to_le_bytes())
}

/// Returns where a column of a row group lies, as the footer has it: offset and length.
pub(super) fn column_place(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    Some((u64::try_from(start).ok()?, u64::try_from(chunk.compressed_size()).ok()?))
}

/// Writes a layout as the footer's value.
pub(super) fn write(layout: &Layout) -> std::io::Result<String> {
    let doc = LayoutDoc {
        version: VERSION,
        streams: layout
            .tables
            .streams
            .iter()
            .map(|labels| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
            .collect(),
        shapes: layout.tables.shapes.iter().map(|s| shape_doc(s)).collect(),
        severity_texts: layout.tables.texts.iter().map(|t| t.to_string()).collect(),
        groups: layout.groups.iter().map(group_doc).collect(),
    };
    let json = serde_json::to_vec(&doc)?;
    Ok(STANDARD.encode(zstd::bulk::compress(&json, 9)?))
}

/// Reads a layout and checks that numbers in it are in range.
pub(super) fn read(value: &str) -> Result<Layout, String> {
    // A layout is far below this; a wrong length cannot ask for more memory.
    const BYTES_MAX: usize = 1 << 30;
    let packed = STANDARD.decode(value).map_err(|e| format!("its layout is no base64: {e}"))?;
    let json = zstd::stream::read::Decoder::new(packed.as_slice())
        .and_then(|decoder| {
            let mut json = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(decoder, BYTES_MAX as u64), &mut json)?;
            Ok(json)
        })
        .map_err(|e| format!("its layout is not compressed as it should be: {e}"))?;
    let version: serde_json::Value =
        serde_json::from_slice(&json).map_err(|e| format!("its layout is no JSON: {e}"))?;
    if !version["version"].as_u64().is_some_and(|version| (1..=u64::from(VERSION)).contains(&version)) {
        return Err(format!(
            "its layout has version {}, this release reads up to {VERSION}; use the release that wrote it",
            version["version"]
        ));
    }
    let doc: LayoutDoc =
        serde_json::from_value(version).map_err(|e| format!("its layout is incomplete: {e}"))?;
    let streams = doc.streams.iter().map(|pairs| Labels::from_pairs(pairs.iter().map(|(n, v)| (n, v))));
    let streams =
        streams.collect::<Result<Vec<_>, _>>().map_err(|e| format!("its streams are wrong: {e}"))?;
    let shapes = doc.shapes.into_iter().map(|s| read_shape(s).map(std::sync::Arc::new));
    let shapes = shapes.collect::<Option<Vec<_>>>().ok_or("one of its shapes makes no sense")?;
    let texts = doc.severity_texts.iter().map(|t| t.as_str().into()).collect();
    let tables = Tables { streams, shapes, texts };
    let groups = doc.groups.into_iter().map(|g| read_group(g, &tables));
    let groups = groups.collect::<Option<Vec<_>>>().ok_or("its layout contradicts itself")?;
    Ok(Layout { tables, groups })
}

fn shape_doc(shape: &Shape) -> ShapeDoc {
    ShapeDoc {
        pattern: shape.pattern.to_string(),
        message: shape.message,
        attributes: shape.attributes.iter().map(|(n, k)| (n.clone(), k.code())).collect(),
        rest: shape.tail.has_rest,
        uid: shape.tail.has_uid,
    }
}

fn read_shape(doc: ShapeDoc) -> Option<Shape> {
    let attributes =
        doc.attributes.into_iter().map(|(n, k)| Some((n, Kind::of_code(k)?))).collect::<Option<_>>()?;
    let tail = Tail { has_rest: doc.rest, has_uid: doc.uid };
    let is_inside = doc.pattern.is_char_boundary(doc.message);
    is_inside.then(|| Shape::new(&doc.pattern, doc.message, attributes, tail))
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn group_doc(group: &Group) -> GroupDoc {
    let run = |run: &Run| RunDoc {
        shape: run.shape,
        rows: run.n_rows,
        slots: run.slots.iter().map(codec_doc).collect(),
    };
    GroupDoc { first: group.first, last: group.last, runs: group.runs.iter().map(run).collect() }
}

fn read_group(doc: GroupDoc, tables: &Tables) -> Option<Group> {
    let run = |run: RunDoc| {
        let n_slots = tables.shapes.get(run.shape as usize)?.n_slots();
        let is_whole = run.slots.len() == n_slots && run.rows <= ROWS_MAX;
        is_whole.then(|| Run {
            shape: run.shape,
            n_rows: run.rows,
            slots: run.slots.into_iter().map(read_codec).collect(),
        })
    };
    let runs: Vec<Run> = doc.runs.into_iter().map(run).collect::<Option<_>>()?;
    let group = Group { first: doc.first, last: doc.last, runs };
    (group.n_rows() <= ROWS_MAX && group.first <= group.last).then_some(group)
}

fn codec_doc(codec: &Codec) -> CodecDoc {
    match codec.clone() {
        Codec::Constant(text) => CodecDoc::Constant(text),
        Codec::Text(c) => CodecDoc::Text(c),
        Codec::Int(c) => CodecDoc::Int(c),
        Codec::IntTime(c, unit) => CodecDoc::IntTime(c, unit),
        Codec::Hex(c) => CodecDoc::Hex(c),
        Codec::Uuid(c) => CodecDoc::Uuid(c),
        Codec::Time(c, form) => CodecDoc::Time(c, form.digits, form.separator, form.has_z),
        Codec::Parts(Form::Constant(form), numbers) => CodecDoc::Parts(form, numbers),
        Codec::Parts(Form::Column(c), numbers) => CodecDoc::PartsBy(c, numbers),
    }
}

fn read_codec(doc: CodecDoc) -> Codec {
    match doc {
        CodecDoc::Constant(text) => Codec::Constant(text),
        CodecDoc::Text(c) => Codec::Text(c),
        CodecDoc::Int(c) => Codec::Int(c),
        CodecDoc::IntTime(c, unit) => Codec::IntTime(c, unit),
        CodecDoc::Hex(c) => Codec::Hex(c),
        CodecDoc::Uuid(c) => Codec::Uuid(c),
        CodecDoc::Time(c, digits, separator, has_z) => {
            Codec::Time(c, TimeForm { digits: digits.min(9), separator, has_z })
        }
        CodecDoc::Parts(form, numbers) => Codec::Parts(Form::Constant(form), numbers),
        CodecDoc::PartsBy(c, numbers) => Codec::Parts(Form::Column(c), numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_refused_with_a_clear_message() {
        let packed = |json: &str| STANDARD.encode(zstd::bulk::compress(json.as_bytes(), 1).unwrap());
        let known = r#"{"version": 1, "streams": [], "shapes": [], "severity_texts": [], "groups": []}"#;
        assert!(read(&packed(known)).is_ok());
        assert!(read(&packed(&known.replace("1", "2"))).is_ok());
        assert!(read(&packed(&known.replace("1", "3"))).is_ok());
        // What a newer one holds is not even looked at.
        assert_eq!(
            read(&packed(r#"{"version": 4, "groups": "elsewhere"}"#)).unwrap_err(),
            "its layout has version 4, this release reads up to 3; use the release that wrote it"
        );
    }
}
