//! Content encodings, undone under caps that are checked while decoding.
//!
//! A declared length is never trusted: the cap is compared with it before anything is reserved, and with
//! what really comes out while it comes out.

use std::io::Read;

/// The content encodings that receivers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip, several members allowed.
    Gzip,
    /// zlib, or the bare deflate stream that some clients send under this name.
    Deflate,
    /// Zstandard with a window of at most 8 MiB.
    Zstd,
    /// Snappy's **block** format, as remote write and Loki use it; never framed.
    Snappy,
}

impl Encoding {
    /// Reads a `Content-Encoding`; `None` if it is unknown.
    pub fn from_header(value: &str) -> Option<Self> {
        Some(match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "zstd" => Self::Zstd,
            "snappy" => Self::Snappy,
            _ => return None,
        })
    }

    /// The encoding's name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }
}

/// How much a body may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Most bytes that may come out.
    pub decoded_bytes_max: usize,
    /// Most bytes out for one byte in, once [`RATIO_FREE_BYTES`] have come out.
    pub ratio_max: usize,
}

/// Output up to this size is exempt from the ratio: small bodies of equal bytes compress a thousandfold and
/// harm nobody.
pub const RATIO_FREE_BYTES: usize = 1024 * 1024;

/// Log2 of the largest zstd window taken, 8 MiB: what `zstd -19` uses. Larger windows cost the receiver
/// their size in memory before a byte comes out.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl Caps {
    /// The least of the two caps for a body of this size.
    fn limit(self, body_bytes: usize) -> (usize, Cap) {
        let by_ratio = body_bytes.saturating_mul(self.ratio_max).max(RATIO_FREE_BYTES);
        if by_ratio < self.decoded_bytes_max {
            (by_ratio, Cap::Ratio)
        } else {
            (self.decoded_bytes_max, Cap::Bytes)
        }
    }

    fn exceeded(self, cap: Cap) -> CompressError {
        match cap {
            Cap::Ratio => CompressError::Ratio { limit: self.ratio_max },
            Cap::Bytes => CompressError::TooLarge { limit: self.decoded_bytes_max },
        }
    }
}

/// Which cap comes first.
#[derive(Clone, Copy)]
enum Cap {
    Ratio,
    Bytes,
}

/// Why a body was not decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// More bytes came out, or were declared, than the cap allows.
    #[error("the decoded body is larger than the limit of {limit} bytes")]
    TooLarge {
        /// [`Caps::decoded_bytes_max`].
        limit: usize,
    },
    /// More bytes came out for one byte in than the cap allows.
    #[error("the body expands more than the limit of {limit} times")]
    Ratio {
        /// [`Caps::ratio_max`].
        limit: usize,
    },
    /// The body is not in the encoding that it claims.
    #[error("the body is not valid {encoding}")]
    Malformed {
        /// The claimed encoding's name.
        encoding: &'static str,
        /// What the decoder said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CompressError {
    /// Says whether a cap was exceeded, as against a body that is broken.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Ratio { .. })
    }
}

/// Decodes `body` into `out` in the place of what it held; its allocation is kept for the next body.
///
/// # Errors
/// [`CompressError`]; `out` then holds nothing of use.
pub fn decode_into(
    encoding: Encoding,
    body: &[u8],
    caps: Caps,
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    match encoding {
        Encoding::Identity => {
            if body.len() > caps.decoded_bytes_max {
                return Err(CompressError::TooLarge { limit: caps.decoded_bytes_max });
            }
            out.clear();
            out.extend_from_slice(body);
            Ok(())
        }
        Encoding::Snappy => snappy_block(body, caps, out),
        Encoding::Gzip => drain(flate2::read::MultiGzDecoder::new(body), encoding, body.len(), caps, out),
        Encoding::Deflate if is_zlib(body) => {
            drain(flate2::read::ZlibDecoder::new(body), encoding, body.len(), caps, out)
        }
        Encoding::Deflate => drain(flate2::read::DeflateDecoder::new(body), encoding, body.len(), caps, out),
        Encoding::Zstd => {
            let malformed = |source: std::io::Error| CompressError::Malformed {
                encoding: encoding.name(),
                source: Box::new(source),
            };
            let mut reader = zstd::stream::read::Decoder::with_buffer(body).map_err(malformed)?;
            reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(malformed)?;
            drain(reader, encoding, body.len(), caps, out)
        }
    }
}

/// Decodes `body` into a new buffer. See [`decode_into`].
///
/// # Errors
/// [`CompressError`].
pub fn decode(encoding: Encoding, body: &[u8], caps: Caps) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::new();
    decode_into(encoding, body, caps, &mut out)?;
    Ok(out)
}

/// Encodes `body` at the encoding's usual level. Used by senders.
pub fn encode(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    const IN_MEMORY: &str = "writing to memory cannot fail";
    match encoding {
        Encoding::Identity => body.to_vec(),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Encoding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Encoding::Zstd => zstd::bulk::compress(body, 1).expect(IN_MEMORY),
        Encoding::Snappy => {
            snap::raw::Encoder::new().compress_vec(body).expect("a body in memory is below snappy's 4 GiB")
        }
    }
}

fn snappy_block(body: &[u8], caps: Caps, out: &mut Vec<u8>) -> Result<(), CompressError> {
    let malformed = |source: snap::Error| CompressError::Malformed {
        encoding: Encoding::Snappy.name(),
        source: Box::new(source),
    };
    let declared = snap::raw::decompress_len(body).map_err(malformed)?;
    let (limit, cap) = caps.limit(body.len());
    if declared > limit {
        return Err(caps.exceeded(cap));
    }
    // What an earlier body left is written over, so only what is longer needs zeros.
    out.resize(declared, 0);
    let written = snap::raw::Decoder::new().decompress(body, out).map_err(malformed)?;
    out.truncate(written);
    Ok(())
}

/// Says whether a deflate body has zlib's two-byte header.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}

/// Reads everything, up to one byte beyond the cap.
fn drain(
    reader: impl Read,
    encoding: Encoding,
    body_bytes: usize,
    caps: Caps,
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    out.clear();
    let (limit, cap) = caps.limit(body_bytes);
    let read_max = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .take(read_max)
        .read_to_end(out)
        .map_err(|source| CompressError::Malformed { encoding: encoding.name(), source: Box::new(source) })?;
    if out.len() > limit {
        return Err(caps.exceeded(cap));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Encoding; 5] =
        [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy];
    const CAPS: Caps = Caps { decoded_bytes_max: 4 * RATIO_FREE_BYTES, ratio_max: 100 };

    #[test]
    fn a_bomb_stops_at_the_ratio() {
        let zeros = vec![0; 3 * RATIO_FREE_BYTES];
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let error = decode(encoding, &encode(encoding, &zeros), CAPS).expect_err("a bomb");
            assert!(matches!(error, CompressError::Ratio { limit: 100 }), "{encoding:?}: {error}");
        }
    }

    #[test]
    fn a_large_body_stops_at_the_cap() {
        let caps = Caps { decoded_bytes_max: 1000, ratio_max: 100 };
        for encoding in ALL {
            let error = decode(encoding, &encode(encoding, &[7; 1001]), caps).expect_err("too large");
            assert!(matches!(error, CompressError::TooLarge { limit: 1000 }), "{encoding:?}: {error}");
            assert!(error.is_limit());
            assert_eq!(
                decode(encoding, &encode(encoding, &[7; 1000]), caps).expect("at the cap").len(),
                1000
            );
        }
    }

    #[test]
    fn a_declared_snappy_length_reserves_nothing() {
        // Declares 4 GiB - 1 and holds nothing.
        let error = decode(Encoding::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f], CAPS).expect_err("a lie");
        assert!(error.is_limit());
    }

    #[test]
    fn bare_deflate_is_taken() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"hello hello").expect("memory");
        let body = encoder.finish().expect("memory");
        assert_eq!(decode(Encoding::Deflate, &body, CAPS).expect("valid"), b"hello hello");
    }

    #[test]
    fn truncated_bodies_are_malformed() {
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Snappy] {
            let body = encode(encoding, b"some text that is long enough to be cut");
            let error = decode(encoding, &body[..body.len() - 3], CAPS).expect_err("cut");
            assert!(!error.is_limit(), "{encoding:?}: {error}");
        }
    }

    #[test]
    fn headers_name_encodings() {
        for encoding in ALL {
            assert_eq!(Encoding::from_header(encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::from_header(" GZIP "), Some(Encoding::Gzip));
        assert_eq!(Encoding::from_header("br"), None);
    }

    proptest! {
        #[test]
        fn bodies_come_back(body in proptest::collection::vec(any::<u8>(), 0..500)) {
            for encoding in ALL {
                prop_assert_eq!(&decode(encoding, &encode(encoding, &body), CAPS).expect("own output"), &body);
            }
        }

        #[test]
        fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in ALL {
                if let Ok(out) = decode(encoding, &body, CAPS) {
                    prop_assert!(out.len() <= CAPS.decoded_bytes_max);
                }
            }
        }
    }
}
