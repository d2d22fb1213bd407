//! Protobuf at the level of fields: a borrowing reader that never copies, and a writer.

/// Why bytes are not the protobuf message that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ends inside a field.
    #[error("malformed protobuf: the message ends inside a field, at byte {at}")]
    Truncated {
        /// Offset in the innermost message.
        at: usize,
    },
    /// A number of more than ten bytes.
    #[error("malformed protobuf: a number is longer than ten bytes, at byte {at}")]
    Varint {
        /// Offset in the innermost message.
        at: usize,
    },
    /// A field of another wire type than its number says, a group, or field number 0.
    #[error("malformed protobuf: field {field} has wire type {wire_type}")]
    WireType {
        /// Field number.
        field: u64,
        /// Wire type as sent.
        wire_type: u8,
    },
    /// A reference past the end of the symbols table.
    #[error("symbol reference {reference} is out of range, the table has {n_symbols} entries")]
    SymbolRange {
        /// The reference.
        reference: u64,
        /// Size of the table.
        n_symbols: usize,
    },
    /// The symbols table does not begin with the empty string.
    #[error("the symbols table must begin with an empty string, found {found:?}")]
    FirstSymbol {
        /// What it begins with.
        found: String,
    },
    /// An odd number of label references.
    #[error("a series has {count} label references, an odd number")]
    OddReferences {
        /// How many there are.
        count: usize,
    },
    /// Text that is not UTF-8 where the message as a whole depends on it.
    #[error("malformed protobuf: a string is not valid UTF-8")]
    NotUtf8,
}

/// The value of one field, as the wire type tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Walks the fields of one message.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Returns the next byte and stays there; a tag of the common fields is one byte.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes a number of one to ten bytes.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let rest = &self.bytes[self.at..];
        match rest {
            [byte, ..] if *byte < 0x80 => {
                self.at += 1;
                return Ok(u64::from(*byte));
            }
            _ => {}
        }
        if let Some(chunk) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let stop = !word & 0x8080_8080_8080_8080;
            if stop != 0 {
                self.at += stop.trailing_zeros() as usize / 8 + 1;
                return Ok(gather(word & (stop ^ (stop - 1))));
            }
        }
        self.varint_slow()
    }

    #[cold]
    fn varint_slow(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(DecodeError::Truncated { at: start })?;
            self.at += 1;
            // The tenth byte's upper bits fall off, as in every protobuf library.
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { at: start })
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let chunk = self.bytes[self.at..].first_chunk::<N>().ok_or(DecodeError::Truncated { at: self.at })?;
        self.at += N;
        Ok(*chunk)
    }

    /// Takes a length and that many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let length = self.varint()?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .filter(|end| *end <= self.bytes.len())
            .ok_or(DecodeError::Truncated { at: start })?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// Takes the next field, or `None` at the end.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, DecodeError> {
        if self.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (field, wire_type) = (tag >> 3, (tag & 7) as u8);
        let value = match wire_type {
            _ if field == 0 => return Err(DecodeError::WireType { field, wire_type }),
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => Value::Bytes(self.bytes()?),
            5 => Value::Fixed32(u32::from_le_bytes(self.fixed()?)),
            _ => return Err(DecodeError::WireType { field, wire_type }),
        };
        Ok(Some((field, value)))
    }
}

impl<'a> Value<'a> {
    fn wire_type(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32(_) => 5,
        }
    }

    pub(crate) fn into_bytes(self, field: u64) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(DecodeError::WireType { field, wire_type: other.wire_type() }),
        }
    }

    pub(crate) fn into_str(self, field: u64) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.into_bytes(field)?).map_err(|_| DecodeError::NotUtf8)
    }

    pub(crate) fn into_varint(self, field: u64) -> Result<u64, DecodeError> {
        match self {
            Self::Varint(value) => Ok(value),
            other => Err(DecodeError::WireType { field, wire_type: other.wire_type() }),
        }
    }

    pub(crate) fn into_fixed64(self, field: u64) -> Result<u64, DecodeError> {
        match self {
            Self::Fixed64(value) => Ok(value),
            other => Err(DecodeError::WireType { field, wire_type: other.wire_type() }),
        }
    }
}

/// Squeezes the continuation bits out of up to eight varint bytes, in three steps of doubling width.
#[inline]
fn gather(word: u64) -> u64 {
    let x = word & 0x7f7f_7f7f_7f7f_7f7f;
    let x = (x & 0x7f00_7f00_7f00_7f00) >> 1 | x & 0x007f_007f_007f_007f;
    let x = (x & 0x3fff_0000_3fff_0000) >> 2 | x & 0x0000_3fff_0000_3fff;
    (x & 0x0fff_ffff_0000_0000) >> 4 | x & 0x0000_0000_0fff_ffff
}

/// Appends a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Says how many bytes a number takes.
pub(crate) fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends a length-delimited field with a field number below 16.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Says how many bytes [`put_bytes`] takes for a payload of `length`.
pub(crate) fn bytes_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eleven_bytes_are_no_number() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(DecodeError::Varint { at: 0 }));
        assert_eq!(Reader::new(&[0xff; 5]).varint(), Err(DecodeError::Truncated { at: 0 }));
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert_eq!(Reader::new(&[0x0b]).field(), Err(DecodeError::WireType { field: 1, wire_type: 3 }));
        assert_eq!(Reader::new(&[0x00, 0x00]).field(), Err(DecodeError::WireType { field: 0, wire_type: 0 }));
    }

    proptest! {
        #[test]
        fn numbers_read_back(value in any::<u64>(), shift in 0_u32..64, tail in proptest::collection::vec(any::<u8>(), 0..9)) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_len(value));
            let length = bytes.len();
            bytes.extend(tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.at(), length);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.field() {}
        }
    }
}
