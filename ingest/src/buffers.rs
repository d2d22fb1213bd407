//! Buffers that bodies are decoded into, one after the other.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use greylight_wire::compress::{Caps, CompressError, Encoding, decode_into};
use parking_lot::Mutex;

/// Buffers kept: more than there are decoders on two cores.
const KEPT_MAX: usize = 8;
/// A larger buffer is given back to the allocator.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A few buffers that keep their memory: fresh pages of the system for each body cost more than decoding it.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Decodes a body into one of the buffers.
    ///
    /// # Errors
    /// As [`decode_into`].
    pub(crate) fn decode(
        self: &Arc<Self>,
        encoding: Encoding,
        body: &[u8],
        caps: Caps,
    ) -> Result<Decoded, CompressError> {
        let buffer = self.kept.lock().pop().unwrap_or_default();
        let mut decoded = Decoded { body: Body::Buffer(buffer), home: Some(Arc::clone(self)) };
        if let Body::Buffer(buffer) = &mut decoded.body {
            decode_into(encoding, body, caps, buffer)?;
        }
        Ok(decoded)
    }

    fn keep(&self, buffer: Vec<u8>) {
        let mut kept = self.kept.lock();
        if buffer.capacity() <= KEPT_BYTES_MAX && kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    }
}

/// A decoded body; its buffer goes back to where it came from when this is dropped.
#[derive(Debug)]
pub(crate) struct Decoded {
    body: Body,
    home: Option<Arc<Buffers>>,
}

#[derive(Debug)]
enum Body {
    /// It came as it is.
    Sent(Bytes),
    Buffer(Vec<u8>),
}

impl From<Bytes> for Decoded {
    fn from(body: Bytes) -> Self {
        Self { body: Body::Sent(body), home: None }
    }
}

impl Deref for Decoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.body {
            Body::Sent(bytes) => bytes,
            Body::Buffer(buffer) => buffer,
        }
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        if let (Some(home), Body::Buffer(buffer)) = (&self.home, &mut self.body) {
            home.keep(std::mem::take(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use greylight_wire::compress::encode;

    use super::*;

    const CAPS: Caps = Caps { decoded_bytes_max: 64 << 20, ratio_max: 100_000 };

    #[test]
    fn bodies_of_all_sizes_come_out_of_one_buffer() {
        let buffers = Arc::<Buffers>::default();
        for encoding in [Encoding::Snappy, Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
            for n_bytes in [10_000, 10, 0, 20_000, 19_999] {
                let body: Vec<u8> = (0..n_bytes).map(|i: u32| (i % 251) as u8).collect();
                let decoded = buffers.decode(encoding, &encode(encoding, &body), CAPS).unwrap();
                assert_eq!(*decoded, *body, "{encoding:?} {n_bytes}");
            }
        }
        assert_eq!(buffers.kept.lock().len(), 1);
    }

    #[test]
    fn a_failed_body_gives_its_buffer_back_and_large_ones_are_not_kept() {
        let buffers = Arc::<Buffers>::default();
        assert!(buffers.decode(Encoding::Zstd, b"no zstd", CAPS).is_err());
        assert_eq!(buffers.kept.lock().len(), 1);
        let large = vec![7; KEPT_BYTES_MAX + 1];
        let decoded = buffers.decode(Encoding::Snappy, &encode(Encoding::Snappy, &large), CAPS).unwrap();
        assert_eq!(decoded.len(), large.len());
        drop(decoded);
        assert_eq!(buffers.kept.lock().len(), 0);
        let many: Vec<_> =
            (0..2 * KEPT_MAX).map(|_| buffers.decode(Encoding::Identity, b"x", CAPS)).collect();
        drop(many);
        assert_eq!(buffers.kept.lock().len(), KEPT_MAX);
    }
}
