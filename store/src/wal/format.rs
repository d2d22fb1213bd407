//! Bytes of headers and frames.

pub(super) const MAGIC: [u8; 8] = *b"GLWAL\r\n\0";
pub(super) const VERSION: u32 = 1;
const HEADER_BYTES: usize = 48;
/// Where the first frame begins: after two copies of the header.
pub(super) const FRAMES_AT: usize = 2 * HEADER_BYTES;

pub(super) const FRAME_MAGIC: [u8; 4] = *b"GLFR";
pub(super) const FRAME_HEADER_BYTES: usize = 28;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A batch of samples.
    Metrics = 1,
    /// A batch of log records.
    Logs = 2,
}

/// A frame as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) tenant: &'a str,
    pub(crate) payload: &'a [u8],
}

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: [u8; 16],
    pub(super) first_sequence: u64,
}

/// What the start of a file is, if no header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Newer(u32),
    Damaged,
}

impl Header {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut one = Vec::with_capacity(HEADER_BYTES);
        one.extend_from_slice(&MAGIC);
        one.extend_from_slice(&VERSION.to_le_bytes());
        one.extend_from_slice(&self.salt);
        one.extend_from_slice(&self.first_sequence.to_le_bytes());
        one.extend_from_slice(&[0; 8]);
        one.extend_from_slice(&crc32c::crc32c(&one).to_le_bytes());
        out.extend_from_slice(&one);
        out.extend_from_slice(&one);
    }

    /// Reads the start of a file; one good copy is enough.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let copies = bytes.chunks_exact(HEADER_BYTES).take(2);
        copies
            .map(Self::decode_one)
            .find(|r| *r != Err(HeaderError::Damaged))
            .unwrap_or(Err(HeaderError::Damaged))
    }

    fn decode_one(bytes: &[u8]) -> Result<Self, HeaderError> {
        let sum = u32_at(bytes, HEADER_BYTES - 4).ok_or(HeaderError::Damaged)?;
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) != sum {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(bytes, 8).ok_or(HeaderError::Damaged)?;
        if version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        let salt = bytes[12..28].try_into().map_err(|_| HeaderError::Damaged)?;
        let first_sequence = u64_at(bytes, 28).ok_or(HeaderError::Damaged)?;
        Ok(Self { salt, first_sequence })
    }
}

/// Appends a frame whose payload `encode` writes, and returns how long the payload is.
pub(super) fn encode_frame(
    out: &mut Vec<u8>,
    salt: &[u8; 16],
    (sequence, kind, tenant): (u64, Kind, &str),
    begins_group: bool,
    encode: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.push(kind as u8);
    out.push(u8::try_from(tenant.len()).expect("a tenant's name has at most 64 bytes"));
    out.extend_from_slice(&[u8::from(begins_group), 0]);
    out.extend_from_slice(tenant.as_bytes());
    let payload_at = out.len();
    encode(out);
    let n = out.len() - payload_at;
    let len = u32::try_from(n).expect("a batch is smaller than 4 GiB");
    out[start + 12..start + 16].copy_from_slice(&len.to_le_bytes());
    let head_sum = head_sum(salt, &out[start..payload_at]);
    let body_sum = crc32c::crc32c_append(head_sum, &out[payload_at..]);
    out[start + 4..start + 8].copy_from_slice(&head_sum.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&body_sum.to_le_bytes());
    n
}

/// A frame's header that passed its checks; the payload is still to be checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    pub(super) tenant_len: usize,
    pub(super) payload_len: usize,
    /// The first of those that one sync made durable; files of older releases do not say.
    pub(super) begins_group: bool,
    sum: u32,
    payload_sum: u32,
}

impl FrameHead {
    /// Bytes that a frame's header can have, with the longest name of a tenant.
    pub(super) const BYTES_MAX: usize = FRAME_HEADER_BYTES + 255;

    /// Reads the header of the frame that begins at `bytes`.
    pub(super) fn decode(bytes: &[u8], salt: &[u8; 16]) -> Option<Self> {
        if bytes.get(..4)? != FRAME_MAGIC {
            return None;
        }
        let tenant_len = usize::from(*bytes.get(25)?);
        let head = bytes.get(..FRAME_HEADER_BYTES + tenant_len)?;
        let sum = u32_at(head, 4)?;
        if head_sum(salt, head) != sum {
            return None;
        }
        let kind = match head[24] {
            1 => Kind::Metrics,
            2 => Kind::Logs,
            _ => return None,
        };
        Some(Self {
            sequence: u64_at(head, 16)?,
            kind,
            tenant_len,
            payload_len: u32_at(head, 12)? as usize,
            begins_group: head[26] == 1,
            sum,
            payload_sum: u32_at(head, 8)?,
        })
    }

    /// Returns the length of the whole frame.
    pub(super) fn frame_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.tenant_len + self.payload_len
    }

    /// Reads the frame of this header from its whole bytes.
    pub(super) fn frame<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (tenant, payload) = bytes.get(FRAME_HEADER_BYTES..self.frame_len())?.split_at(self.tenant_len);
        if crc32c::crc32c_append(self.sum, payload) != self.payload_sum {
            return None;
        }
        let tenant = std::str::from_utf8(tenant).ok()?;
        Some(Frame { sequence: self.sequence, kind: self.kind, tenant, payload })
    }
}

fn head_sum(salt: &[u8; 16], head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(salt), &head[12..])
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
