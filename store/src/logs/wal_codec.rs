//! How a batch of log records is written into the write-ahead log.
//!
//! Each batch stands alone. Numbers are LEB128, signed ones zigzag first; texts are a length and
//! bytes; times are differences from the record before.
//!
//! | part | content |
//! |---|---|
//! | version | 1: the byte 1 |
//! | streams | count, then the canonical label bytes of each |
//! | names | count, then each attribute name |
//! | records | count, then for each: |
//! | - stream | its number |
//! | - times | time and observed time minus time, each signed |
//! | - severity | number (1 byte), text |
//! | - body | text |
//! | - flags | 1: bit 0 trace id, bit 1 span id, bit 2 uid; then 16, 8 bytes, text |
//! | - attributes | count, then for each: name's number, type (1), value |

use std::collections::HashMap;

use super::rows::{Kind, read_value, write_value};
use crate::append::LogBatch;
use crate::model::{Labels, LogRecord, Timestamp};

const VERSION: u8 = 1;
const TRACE: u8 = 1;
const SPAN: u8 = 2;
const UID: u8 = 4;

/// Bytes that are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is no batch of log records at byte {at}")]
pub struct WalDecodeError {
    /// Where the first wrong part begins.
    pub at: usize,
}

/// Appends a batch to `out`.
pub fn encode(batch: &LogBatch, out: &mut Vec<u8>) {
    let mut streams: HashMap<&[u8], usize> = HashMap::new();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let (mut stream_list, mut name_list) = (Vec::new(), Vec::new());
    for record in &batch.records {
        streams.entry(record.labels.as_bytes()).or_insert_with(|| {
            stream_list.push(record.labels.as_bytes());
            stream_list.len() - 1
        });
        for (name, _) in &record.attributes {
            names.entry(name).or_insert_with(|| {
                name_list.push(name.as_bytes());
                name_list.len() - 1
            });
        }
    }
    out.push(VERSION);
    for list in [&stream_list, &name_list] {
        put(out, list.len() as u64);
        list.iter().for_each(|part| put_bytes(out, part));
    }
    put(out, batch.records.len() as u64);
    let mut last = 0i64;
    let mut text = String::new();
    for record in &batch.records {
        put(out, streams[record.labels.as_bytes()] as u64);
        let t = record.time.as_nanos();
        put(out, zigzag(t.wrapping_sub(last)));
        put(out, zigzag(record.observed_time.as_nanos().wrapping_sub(t)));
        last = t;
        out.push(record.severity_number);
        put_bytes(out, record.severity_text.as_bytes());
        put_bytes(out, record.body.as_bytes());
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(
            flag(record.trace_id.is_some(), TRACE)
                | flag(record.span_id.is_some(), SPAN)
                | flag(record.uid.is_some(), UID),
        );
        out.extend(record.trace_id.iter().flatten());
        out.extend(record.span_id.iter().flatten());
        if let Some(uid) = &record.uid {
            put_bytes(out, uid.as_bytes());
        }
        put(out, record.attributes.len() as u64);
        for (name, value) in &record.attributes {
            put(out, names[name.as_str()] as u64);
            out.push(Kind::of(value).code() as u8);
            text.clear();
            write_value(value, &mut text);
            put_bytes(out, text.as_bytes());
        }
    }
}

/// Reads a batch back.
///
/// # Errors
/// [`WalDecodeError`] with the place of the first byte that makes no sense.
pub fn decode(bytes: &[u8]) -> Result<LogBatch, WalDecodeError> {
    let mut reader = Reader { rest: bytes };
    let found = reader.batch();
    let at = bytes.len() - reader.rest.len();
    found.filter(|_| reader.rest.is_empty()).ok_or(WalDecodeError { at })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn batch(&mut self) -> Option<LogBatch> {
        if self.byte()? != VERSION {
            return None;
        }
        let n_streams = self.count()?;
        let streams: Vec<Labels> =
            (0..n_streams).map(|_| Labels::from_bytes(self.bytes()?).ok()).collect::<Option<_>>()?;
        let n_names = self.count()?;
        let names: Vec<&str> = (0..n_names).map(|_| self.text()).collect::<Option<_>>()?;
        let n = self.count()?;
        let mut records = Vec::with_capacity(n);
        let mut last = 0i64;
        for _ in 0..n {
            let record = self.record(&streams, &names, last)?;
            last = record.time.as_nanos();
            records.push(record);
        }
        Some(LogBatch { records })
    }

    fn record(&mut self, streams: &[Labels], names: &[&str], last: i64) -> Option<LogRecord> {
        let labels = streams.get(usize::try_from(self.number()?).ok()?)?.clone();
        let time = last.wrapping_add(unzigzag(self.number()?));
        let observed = time.wrapping_add(unzigzag(self.number()?));
        let severity_number = self.byte()?;
        let severity_text = self.text()?.to_owned();
        let body = self.text()?.to_owned();
        let flags = self.byte()?;
        let trace_id = if flags & TRACE != 0 { Some(self.take(16)?.try_into().ok()?) } else { None };
        let span_id = if flags & SPAN != 0 { Some(self.take(8)?.try_into().ok()?) } else { None };
        let uid = if flags & UID != 0 { Some(self.text()?.to_owned()) } else { None };
        let n = self.count()?;
        let mut attributes = Vec::with_capacity(n);
        for _ in 0..n {
            let name = *names.get(usize::try_from(self.number()?).ok()?)?;
            let kind = Kind::of_code(char::from(self.byte()?))?;
            attributes.push((name.to_owned(), read_value(kind, self.text()?)?));
        }
        Some(LogRecord {
            time: Timestamp::from_nanos(time),
            observed_time: Timestamp::from_nanos(observed),
            severity_number,
            severity_text,
            body,
            labels,
            attributes,
            trace_id,
            span_id,
            uid,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    /// A count of things that take a byte each at least, so that a wrong one cannot ask for memory.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|&n| n <= self.rest.len())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.count()?;
        self.take(n)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ -((n & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::testing::records;

    proptest! {
        #[test]
        fn batches_come_back(records in records(20)) {
            let batch = LogBatch { records };
            let mut bytes = Vec::new();
            encode(&batch, &mut bytes);
            prop_assert_eq!(&decode(&bytes).unwrap().records, &batch.records);
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_a_batch_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), versioned in any::<bool>()) {
            if versioned && !bytes.is_empty() {
                bytes[0] = VERSION;
            }
            let _ = decode(&bytes);
        }
    }
}
