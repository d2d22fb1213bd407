//! Pages of a Parquet file: header in Thrift's compact protocol, then one zstd frame.
//!
//! Written and read by hand, since a small selection costs as much as its pages, and the general
//! reader makes a decompressor and several buffers for each. Other readers see ordinary pages.

use std::cell::RefCell;

use super::super::varint;

thread_local! {
    // Decompressors are some 100 KiB and slow to make beside a page that takes microseconds.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses one zstd frame, whose checksum is checked, into exactly so many bytes.
pub(super) fn decompress(packed: &[u8], plain_bytes: usize) -> std::io::Result<Vec<u8>> {
    let plain = DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(zstd::bulk::Decompressor::new()?);
        }
        let decompressor = slot.as_mut().ok_or_else(|| std::io::Error::other("no decompressor"))?;
        decompressor.decompress(packed, plain_bytes)
    })?;
    match plain.len() {
        n if n == plain_bytes => Ok(plain),
        n => Err(std::io::Error::other(format!("it has {n} bytes, not {plain_bytes}"))),
    }
}

/// Fields of a data page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the body when decompressed.
    pub(super) plain_bytes: u32,
    /// Bytes of the body as it lies in the file.
    pub(super) packed_bytes: u32,
    /// Values, missing ones included.
    pub(super) n_values: u32,
    /// Parquet's number for the encoding.
    pub(super) encoding: i32,
}

/// Parquet's number for BYTE_STREAM_SPLIT.
pub(super) const BYTE_STREAM_SPLIT: i32 = 9;
/// Parquet's number for DELTA_BINARY_PACKED.
pub(super) const DELTA_BINARY_PACKED: i32 = 5;
const RLE: i32 = 3;
const DATA_PAGE: i32 = 0;

// Types of fields in the compact protocol.
const I32: u8 = 5;
const STRUCT: u8 = 12;
const STOP: u8 = 0;

impl PageHeader {
    /// Appends the header of a data page of version 1, the version that every reader knows.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_i32(out, 1, DATA_PAGE);
        put_i32(out, 1, self.plain_bytes as i32);
        put_i32(out, 1, self.packed_bytes as i32);
        // Field 5 after field 3: the data page's own header.
        out.push(2 << 4 | STRUCT);
        put_i32(out, 1, self.n_values as i32);
        put_i32(out, 1, self.encoding);
        put_i32(out, 1, RLE);
        put_i32(out, 1, RLE);
        out.push(STOP);
        out.push(STOP);
    }

    /// Takes a header that [`write`](Self::write) made off the front.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        if take_i32(bytes)? != DATA_PAGE {
            return None;
        }
        let plain_bytes = u32::try_from(take_i32(bytes)?).ok()?;
        let packed_bytes = u32::try_from(take_i32(bytes)?).ok()?;
        expect_byte(bytes, 2 << 4 | STRUCT)?;
        let n_values = u32::try_from(take_i32(bytes)?).ok()?;
        let encoding = take_i32(bytes)?;
        if take_i32(bytes)? != RLE || take_i32(bytes)? != RLE {
            return None;
        }
        expect_byte(bytes, STOP)?;
        expect_byte(bytes, STOP)?;
        Some(Self { plain_bytes, packed_bytes, n_values, encoding })
    }
}

fn put_i32(out: &mut Vec<u8>, field_step: u8, n: i32) {
    out.push(field_step << 4 | I32);
    varint::put(out, varint::zigzag(i64::from(n)));
}

fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    expect_byte(bytes, 1 << 4 | I32)?;
    i32::try_from(varint::unzigzag(varint::take(bytes)?)).ok()
}

fn expect_byte(bytes: &mut &[u8], want: u8) -> Option<()> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    (byte == want).then_some(())
}

/// Where one page lies and which rows it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PagePlace {
    /// Number of its first row in the file.
    pub(super) first_row: u64,
    /// Offset of its header in the file.
    pub(super) offset: u64,
    /// Bytes of header and body.
    pub(super) bytes: u32,
}

/// Appends the levels of an optional column: runs of present and missing rows.
pub(super) fn put_levels(present: &[bool], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    for run in present.chunk_by(|a, b| a == b) {
        varint::put(out, (run.len() as u64) << 1);
        out.push(u8::from(run[0]));
    }
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// Takes levels that [`put_levels`] wrote off the front, as pairs of present and length.
pub(super) fn take_levels(bytes: &mut &[u8]) -> Option<Vec<(bool, u64)>> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (mut levels, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    let mut runs = Vec::new();
    while !levels.is_empty() {
        let header = varint::take(&mut levels)?;
        let (&level, rest) = levels.split_first()?;
        levels = rest;
        if header & 1 == 1 || level > 1 {
            return None;
        }
        runs.push((level == 1, header >> 1));
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_and_levels_come_back(a in 0u32..1 << 31, b in 0u32..1 << 31, n in 0u32..1 << 31, present in proptest::collection::vec(any::<bool>(), 0..60)) {
            let header = PageHeader { plain_bytes: a, packed_bytes: b, n_values: n, encoding: DELTA_BINARY_PACKED };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            put_levels(&present, &mut bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(PageHeader::take(&mut rest), Some(header));
            let back: Vec<bool> = take_levels(&mut rest).unwrap().iter().flat_map(|r| vec![r.0; r.1 as usize]).collect();
            prop_assert_eq!(back, present);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = PageHeader::take(&mut &bytes[..]);
            let _ = take_levels(&mut &bytes[..]);
        }
    }
}
