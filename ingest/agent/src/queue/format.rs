//! The bytes of a queue segment, version 1.
//!
//! A segment is an 8-byte header (`GLQSEG`, version as u16) and frames. All numbers are little-endian.
//!
//! | bytes | of a frame |
//! |---|---|
//! | 4 | marker `GLQf`, by which a reader finds the next frame behind damage |
//! | 4 | length of the body |
//! | 4 | CRC32C of the length and the body |
//! | n | body |
//!
//! | body | fields |
//! |---|---|
//! | batch | kind 1, sequence u64, items u32, marks, payload to the end |
//! | marks | kind 2, next sequence u64, marks |
//! | acknowledged | kind 3, n u32, n sequences u64 |
//! | snapshot | kind 4, next sequence u64, marks: replaces all marks before it |
//!
//! Marks are n u32, then for each: key u64, length u32, bytes; an empty one removes its key.

/// First bytes of each segment.
pub(super) const HEADER: [u8; 8] = *b"GLQSEG\x01\x00";
const MARKER: [u8; 4] = *b"GLQf";
/// Bytes of a frame before its body.
pub(super) const FRAME_HEAD_BYTES: usize = 12;
// Batches are cut at about 1 MiB; a length beyond this is damage, and must not be allocated.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A small piece of the producer's own state, kept together with the batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it is about.
    pub key: u64,
    /// The state; empty removes the key.
    pub value: Vec<u8>,
}

/// What a frame's body says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    Batch { seq: u64, items: u32, marks: Vec<Mark>, payload: &'a [u8] },
    Marks { next_seq: u64, marks: Vec<Mark> },
    Acked { seqs: Vec<u64> },
    Snapshot { next_seq: u64, marks: Vec<Mark> },
}

/// Appends a frame to `out`.
pub(super) fn write_frame(out: &mut Vec<u8>, body: &Body<'_>) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; 8]);
    match body {
        Body::Batch { seq, items, marks, payload } => {
            out.push(1);
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(&items.to_le_bytes());
            write_marks(out, marks);
            out.extend_from_slice(payload);
        }
        Body::Marks { next_seq, marks } => {
            out.push(2);
            out.extend_from_slice(&next_seq.to_le_bytes());
            write_marks(out, marks);
        }
        Body::Acked { seqs } => {
            out.push(3);
            out.extend_from_slice(&count(seqs.len()));
            for seq in seqs {
                out.extend_from_slice(&seq.to_le_bytes());
            }
        }
        Body::Snapshot { next_seq, marks } => {
            out.push(4);
            out.extend_from_slice(&next_seq.to_le_bytes());
            write_marks(out, marks);
        }
    }
    let len = count(out.len() - start - FRAME_HEAD_BYTES);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len), &out[start + FRAME_HEAD_BYTES..]);
    out[start + 4..start + 8].copy_from_slice(&len);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

fn write_marks(out: &mut Vec<u8>, marks: &[Mark]) {
    out.extend_from_slice(&count(marks.len()));
    for mark in marks {
        out.extend_from_slice(&mark.key.to_le_bytes());
        out.extend_from_slice(&count(mark.value.len()));
        out.extend_from_slice(&mark.value);
    }
}

fn count(n: usize) -> [u8; 4] {
    u32::try_from(n).expect("a frame's body stays below BODY_BYTES_MAX").to_le_bytes()
}

/// Reads a frame's head: the length of its body and its checksum, if this can be a frame at all.
pub(super) fn read_head(head: &[u8; FRAME_HEAD_BYTES]) -> Option<(usize, u32)> {
    let body_bytes = usize::try_from(u32::from_le_bytes(head[4..8].try_into().ok()?)).ok()?;
    let crc = u32::from_le_bytes(head[8..12].try_into().ok()?);
    (head[..4] == MARKER && body_bytes <= BODY_BYTES_MAX).then_some((body_bytes, crc))
}

/// Tells whether `body` is what `crc` was made of.
pub(super) fn is_intact(body: &[u8], crc: u32) -> bool {
    crc32c::crc32c_append(crc32c::crc32c(&count(body.len())), body) == crc
}

/// Finds where the next frame may start in `bytes`.
pub(super) fn find_marker(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, &MARKER)
}

/// Reads an intact body; `None` if it is of no known kind or shape.
pub(super) fn read_body(body: &[u8]) -> Option<Body<'_>> {
    let (&kind, mut rest) = body.split_first()?;
    match kind {
        1 => {
            let seq = take_u64(&mut rest)?;
            let items = take_u32(&mut rest)?;
            let marks = take_marks(&mut rest)?;
            Some(Body::Batch { seq, items, marks, payload: rest })
        }
        2 => Some(Body::Marks { next_seq: take_u64(&mut rest)?, marks: take_marks(&mut rest)? }),
        3 => {
            let n = take_u32(&mut rest)?;
            let seqs = (0..n).map(|_| take_u64(&mut rest)).collect::<Option<_>>()?;
            Some(Body::Acked { seqs })
        }
        4 => Some(Body::Snapshot { next_seq: take_u64(&mut rest)?, marks: take_marks(&mut rest)? }),
        _ => None,
    }
}

fn take_marks(rest: &mut &[u8]) -> Option<Vec<Mark>> {
    let n = take_u32(rest)?;
    let mut marks = Vec::new();
    for _ in 0..n {
        let key = take_u64(rest)?;
        let len = usize::try_from(take_u32(rest)?).ok()?;
        let (value, after) = rest.split_at_checked(len)?;
        *rest = after;
        marks.push(Mark { key, value: value.to_vec() });
    }
    Some(marks)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn version_1_stays_readable() {
        let mut bytes = Vec::new();
        let marks = vec![Mark { key: 7, value: b"at 12".to_vec() }];
        write_frame(&mut bytes, &Body::Batch { seq: 3, items: 2, marks, payload: b"two" });
        let golden = "474c51662500000042e2c4d601030000000000000002000000010000000700000000000000\
                      05000000617420313274776f";
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex[..16], golden[..16]);
        assert_eq!(hex[24..], golden[24..]);
    }

    proptest! {
        #[test]
        fn frames_come_back(
            seq: u64, items: u32, payload: Vec<u8>,
            marks in proptest::collection::vec((any::<u64>(), any::<Vec<u8>>()), 0..5),
        ) {
            let marks: Vec<Mark> = marks.into_iter().map(|(key, value)| Mark { key, value }).collect();
            let body = Body::Batch { seq, items, marks, payload: &payload };
            let mut bytes = Vec::new();
            write_frame(&mut bytes, &body);
            let head = bytes.first_chunk().expect("a frame has a head");
            let (len, crc) = read_head(head).expect("a frame has a marker");
            let back = &bytes[FRAME_HEAD_BYTES..];
            prop_assert_eq!(len, back.len());
            prop_assert!(is_intact(back, crc));
            prop_assert_eq!(read_body(back), Some(body));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read_body(&bytes);
            let _ = bytes.first_chunk().and_then(read_head);
        }
    }
}
