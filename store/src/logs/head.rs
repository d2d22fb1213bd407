//! The newest log records of a tenant, in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::attributes::{CommonNames, Kept};
use super::patterns::{General, Place, SharedTemplates};
use super::prepared::Prepared;
use super::rows::{Kind, MemoryBlock, RowNumbers, Rows, Shape, Tables, Tail};
use crate::append::LogBatch;
use crate::metrics::hashing::IdentityState;
use crate::model::{LogRecord, Timestamp};
use crate::pattern::{PatternId, Splitter, message_start};
use crate::read::{ReadError, SpanMs};
use crate::segment::SegmentId;

/// Rows and bytes at which a chunk is closed.
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 8 << 20;
/// Records that are split at a time: what this gives is still at hand when they are stored.
const SPLIT_ROWS: usize = 512;
/// Identities of former heads that are remembered, so that what is sent again soon is known
/// without a look into segments: about 16 bytes each.
const FORMER_MAX: usize = 1 << 20;

/// Newest records of one tenant, in memory; covered by the write-ahead log.
#[derive(Debug)]
pub struct Head {
    state: Mutex<State>,
    /// Says under which pattern a line is stored.
    templates: Arc<SharedTemplates>,
    /// Identities of former heads, newest first.
    former: Arc<Mutex<Vec<Arc<Identities>>>>,
    /// By segment and chunk: rows of the chunk that the segment holds already.
    held: Mutex<HeldRows>,
}

type Identities = HashSet<u64, IdentityState>;
type HeldRows = HashMap<(SegmentId, usize), Arc<[u32]>>;

/// What a batch changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Streams that the head had not held before.
    pub n_new_series: usize,
}

/// A head that takes no more records; as readable as before.
#[derive(Clone, Debug)]
pub struct FrozenHead(Arc<Head>);

#[derive(Debug, Default)]
struct State {
    tables: Arc<Tables>,
    streams: HashMap<u64, u32, IdentityState>,
    /// By number of stream: whether it has taught what header its lines have.
    has_taught: Vec<bool>,
    shapes: HashMap<u64, u32, IdentityState>,
    texts: HashMap<Arc<str>, u32>,
    chunks: Vec<Arc<Rows>>,
    active: Rows,
    splitter: Splitter,
    general: General,
    common: CommonNames,
    kept: Kept,
    identities: Identities,
    closed_bytes: usize,
    table_bytes: usize,
    n_records: usize,
    span: Option<(i64, i64)>,
}

impl Head {
    /// Makes an empty head of the tenant that has these templates.
    pub fn new(templates: Arc<SharedTemplates>) -> Self {
        let (state, former, held) = Default::default();
        Self { state, templates, former, held }
    }

    /// Makes the empty head that follows this one; it remembers what this one holds, so that a
    /// record that is sent again is known. Patterns that are not used any more are forgotten.
    pub fn successor(&self) -> Self {
        self.templates.turn();
        let mut former = self.former.lock();
        let (identities, common) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.identities), state.common.successor())
        };
        former.insert(0, Arc::new(identities));
        let mut n = 0;
        former.retain(|set| {
            let keep = n == 0 || n + set.len() <= FORMER_MAX;
            n += set.len();
            keep
        });
        let former = Arc::clone(&self.former);
        let state = Mutex::new(State { common, ..State::default() });
        Self { state, former, ..Self::new(Arc::clone(&self.templates)) }
    }

    /// Forgets what former heads held, of which some was deleted and may come again. A record that comes again all the
    /// same is found in its segment.
    pub(crate) fn forget_former(&self) {
        self.former.lock().clear();
    }

    /// Turns this head into one that takes no more.
    ///
    /// Callers see to it that no `append_batch` runs or begins afterwards.
    pub fn freeze(self: &Arc<Self>) -> FrozenHead {
        FrozenHead(Arc::clone(self))
    }

    /// Takes a batch. Any order and any age of records; those that it or a recent head holds
    /// already are left out. The call never waits for a disk.
    pub fn append_batch(&self, batch: &LogBatch) -> Applied {
        let parts = batch.records.chunks(SPLIT_ROWS);
        self.append(parts.map(|records| (records, self.prepare(records))))
    }

    /// Does for records what hangs on no other record, and needs no turn.
    pub(crate) fn prepare(&self, records: &[LogRecord]) -> Prepared {
        Prepared::new(records, &self.templates)
    }

    /// As [`append_batch`](Self::append_batch), for records that are prepared.
    pub(crate) fn append_prepared(&self, records: &[LogRecord], prepared: Prepared) -> Applied {
        self.append(std::iter::once((records, prepared)))
    }

    fn append<'r>(&self, parts: impl Iterator<Item = (&'r [LogRecord], Prepared)>) -> Applied {
        let former = self.former.lock().clone();
        let mut state = self.state.lock();
        let n_streams = state.streams.len();
        let mut is_new = Vec::new();
        for (records, prepared) in parts {
            is_new.clear();
            // In one go, since each look-up waits for memory.
            is_new.extend(prepared.identities().map(|identity| {
                !former.iter().any(|set| set.contains(&identity)) && state.identities.insert(identity)
            }));
            for (n, record) in records.iter().enumerate().filter(|(n, _)| is_new[*n]) {
                state.push(record, &prepared, n, &self.templates);
            }
        }
        Applied { n_new_series: state.streams.len() - n_streams }
    }

    /// Returns about how much memory it holds.
    pub fn bytes(&self) -> usize {
        let state = self.state.lock();
        state.closed_bytes + state.active.bytes() + state.table_bytes + 16 * state.identities.len()
    }

    /// Returns the times of the first and the last record.
    pub fn span(&self) -> Option<SpanMs> {
        let millis = |nanos: i64| Timestamp::from_nanos(nanos).as_millis();
        self.state.lock().span.map(|(first, last)| SpanMs { start: millis(first), end: millis(last) })
    }

    /// Returns how many records it holds.
    pub fn n_records(&self) -> usize {
        self.state.lock().n_records
    }

    /// Returns how many streams it holds.
    pub fn n_series(&self) -> usize {
        self.state.lock().streams.len()
    }

    /// Rows of a chunk that a segment holds already, found by `find` the first time.
    pub(crate) fn held_rows(
        &self,
        segment: SegmentId,
        chunk: usize,
        find: impl FnOnce() -> Result<Vec<u32>, ReadError>,
    ) -> Result<Vec<u32>, ReadError> {
        let key = (segment, chunk);
        if let Some(rows) = self.held.lock().get(&key) {
            return Ok(rows.to_vec());
        }
        let rows = find()?;
        self.held.lock().insert(key, rows.as_slice().into());
        Ok(rows)
    }

    /// What it holds now, as blocks that never change.
    pub(crate) fn blocks(&self) -> Vec<MemoryBlock> {
        let mut state = self.state.lock();
        state.close_chunk();
        let tables = &state.tables;
        state
            .chunks
            .iter()
            .map(|rows| MemoryBlock { rows: Arc::clone(rows), tables: Arc::clone(tables) })
            .collect()
    }
}

impl FrozenHead {
    /// Returns about how much memory it holds.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Returns the times of the first and the last record.
    pub fn span(&self) -> Option<SpanMs> {
        self.0.span()
    }

    /// Returns how many records it holds.
    pub fn n_records(&self) -> usize {
        self.0.n_records()
    }

    /// Returns how many streams it holds.
    pub fn n_series(&self) -> usize {
        self.0.n_series()
    }

    pub(crate) fn head(&self) -> &Arc<Head> {
        &self.0
    }
}

impl State {
    /// Takes a record, which is number `n` of those that were prepared.
    fn push(&mut self, record: &LogRecord, prepared: &Prepared, n: usize, templates: &SharedTemplates) {
        let stream = self.stream(record);
        let text = self.text(&record.severity_text);
        // Taken out while the rest of the state is changed.
        let mut splitter = std::mem::take(&mut self.splitter);
        let (split, message) = prepared.split(n, templates.n_headers()).unwrap_or_else(|| {
            let body = record.body.as_bytes();
            let message = message_start(body, &templates.headers(&record.labels));
            (splitter.split_behind(body, message), message)
        });
        self.learn_header(stream, record, templates);
        // Spans begin and end at ASCII bytes or at the ends of the body.
        let pattern = std::str::from_utf8(split.pattern).expect("a text's pattern is text");
        let (mut general, mut kept) = (std::mem::take(&mut self.general), std::mem::take(&mut self.kept));
        let mut variables = split.variables;
        kept.all(record);
        let shape = match self.known_shape(pattern, split.message, record, &kept) {
            Ok(shape) => shape,
            Err(_) => {
                let (header, own) = pattern.split_at(split.message);
                let (before, inside) = split.variables.split_at(split.n_before);
                match templates.place(&record.labels, own, &mut general) {
                    Place::AsWritten => self.shape(pattern, split.message, record, &mut kept),
                    place => {
                        general.split(own, inside, &place, message..record.body.len());
                        general.put_behind(header, before);
                        variables = &general.variables;
                        self.shape(&general.pattern, split.message, record, &mut kept)
                    }
                }
            }
        };
        let variables = variables.iter().map(|s| &record.body[s.start as usize..s.end as usize]);
        self.active.push(record, RowNumbers { stream, shape, text }, variables, &kept);
        self.splitter = splitter;
        (self.general, self.kept) = (general, kept);
        let t = record.time.as_nanos();
        let (first, last) = self.span.unwrap_or((t, t));
        self.span = Some((first.min(t), last.max(t)));
        self.n_records += 1;
        if self.active.len() >= CHUNK_ROWS || self.active.value_bytes() >= CHUNK_BYTES {
            self.close_chunk();
        }
    }

    /// Learns from a record's body what header the lines of its stream have.
    fn learn_header(&mut self, stream: u32, record: &LogRecord, templates: &SharedTemplates) {
        let body = record.body.as_bytes();
        let n = stream as usize;
        if self.has_taught.len() <= n {
            self.has_taught.resize(n + 1, false);
        }
        // A record of its own, as most lines are, teaches nothing.
        if !self.has_taught[n] && body.first() != Some(&b'{') {
            self.has_taught[n] = templates.learn_header(&record.labels, body);
        }
    }

    fn close_chunk(&mut self) {
        if self.active.len() > 0 {
            let next = self.active.successor();
            let mut rows = std::mem::replace(&mut self.active, next);
            rows.shrink();
            self.closed_bytes += rows.bytes();
            self.chunks.push(Arc::new(rows));
        }
    }

    fn stream(&mut self, record: &LogRecord) -> u32 {
        let labels = &record.labels;
        let mut key = xxh3_64(labels.as_bytes());
        loop {
            match self.streams.get(&key) {
                Some(&n) if self.tables.streams[n as usize] == *labels => return n,
                // Another stream with this hash: the next number is as good.
                Some(_) => key = key.wrapping_add(1),
                None => break,
            }
        }
        self.table_bytes += labels.as_bytes().len() + 64;
        let tables = Arc::make_mut(&mut self.tables);
        tables.streams.push(labels.clone());
        let n = number(tables.streams.len());
        self.streams.insert(key, n);
        n
    }

    /// Finds the number of a shape, else a key that is free for it.
    fn known_shape(
        &self,
        pattern: &str,
        message: usize,
        record: &LogRecord,
        kept: &Kept,
    ) -> Result<u32, u64> {
        let tail = tail_of(record, kept);
        let mut key = Shape::hash(pattern.as_bytes(), message, own_names(record, kept), tail);
        loop {
            match self.shapes.get(&key) {
                Some(&n)
                    if self.tables.shapes[n as usize].is(
                        pattern.as_bytes(),
                        message,
                        own_names(record, kept),
                        tail,
                    ) =>
                {
                    return Ok(n);
                }
                Some(_) => key = key.wrapping_add(1),
                None => return Err(key),
            }
        }
    }

    /// Returns the number of a record's shape, and changes `kept` to how that keeps its attributes.
    fn shape(&mut self, pattern: &str, message: usize, record: &LogRecord, kept: &mut Kept) -> u32 {
        if !record.attributes.is_empty() {
            let mut common = std::mem::take(&mut self.common);
            common.note(record);
            let id = PatternId::of(pattern.as_bytes()).0;
            common.choose(record, id, kept, |kept| self.known_shape(pattern, message, record, kept).is_ok());
            self.common = common;
        }
        let key = match self.known_shape(pattern, message, record, kept) {
            Ok(shape) => return shape,
            Err(key) => key,
        };
        let attributes: Vec<_> =
            own_names(record, kept).map(|(name, kind)| (name.to_owned(), kind)).collect();
        self.table_bytes +=
            2 * pattern.len() + attributes.iter().map(|a| a.0.len() + 32).sum::<usize>() + 128;
        let tables = Arc::make_mut(&mut self.tables);
        tables.shapes.push(Arc::new(Shape::new(pattern, message, attributes, tail_of(record, kept))));
        let n = number(tables.shapes.len());
        self.shapes.insert(key, n);
        n
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(&n) = self.texts.get(text) {
            return n;
        }
        let text: Arc<str> = text.into();
        let tables = Arc::make_mut(&mut self.tables);
        tables.texts.push(Arc::clone(&text));
        let n = number(tables.texts.len());
        self.texts.insert(text, n);
        n
    }
}

/// Names and types of the attributes with slots of their own.
fn own_names<'a>(record: &'a LogRecord, kept: &'a Kept) -> impl Iterator<Item = (&'a str, Kind)> {
    kept.own.iter().map(|&at| &record.attributes[at]).map(|(name, value)| (name.as_str(), Kind::of(value)))
}

fn tail_of(record: &LogRecord, kept: &Kept) -> Tail {
    Tail { has_rest: !kept.rest.is_empty(), has_uid: record.uid.is_some() }
}

/// The number of the entry that was just pushed.
fn number(len: usize) -> u32 {
    u32::try_from(len - 1).expect("a head is sealed long before it has 2^32 rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::rows::Block as _;
    use crate::model::{AttributeValue, Labels};

    pub(crate) fn record(time: i64, body: &str) -> LogRecord {
        LogRecord {
            time: Timestamp::from_nanos(time),
            observed_time: Timestamp::from_nanos(time + 5),
            severity_number: 9,
            severity_text: "info".into(),
            body: body.into(),
            labels: Labels::from_pairs([("job", "x")]).unwrap(),
            attributes: vec![("n".into(), AttributeValue::Double(f64::from_bits(0x7ff8_0000_0000_0001)))],
            trace_id: Some([7; 16]),
            span_id: None,
            uid: None,
        }
    }

    #[test]
    fn records_come_back_and_repeated_ones_are_left_out() {
        let head = Arc::new(Head::new(Arc::default()));
        let records = vec![record(1, "got 5 of 7"), record(2, r#"{"a":"ö","b":7}"#), record(1, "got 5 of 7")];
        assert_eq!(head.append_batch(&LogBatch { records: records.clone() }).n_new_series, 1);
        let next = head.successor();
        next.append_batch(&LogBatch { records: vec![records[1].clone(), record(3, "")] });
        let read = |head: &Head| -> Vec<LogRecord> {
            let blocks = head.blocks();
            blocks
                .iter()
                .flat_map(|b| (0..b.n_rows()).map(|r| b.record(r).unwrap().1).collect::<Vec<_>>())
                .collect()
        };
        let shown = |records: &[LogRecord]| records.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>();
        assert_eq!(shown(&read(&head)), shown(&records[..2]));
        assert_eq!(shown(&read(&next)), shown(&[record(3, "")]));
        assert_eq!((head.n_records(), head.n_series()), (2, 1));
    }
}
