//! Standard Webhooks signatures.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret that sender and receiver share: 24 to 64 bytes, written as `whsec_` and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not begin as secrets do.
    #[error("a webhook secret begins with whsec_")]
    Prefix,
    /// The rest is not base64.
    #[error("a webhook secret is whsec_ followed by base64")]
    Base64,
    /// Too short to be safe, or too long.
    #[error("a webhook secret holds 24 to 64 bytes, this one {0}")]
    Length(usize),
}

impl Secret {
    /// Parses `whsec_...`.
    ///
    /// # Errors
    /// [`SecretError`] when prefix, base64 or length are wrong.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let rest = text.strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
        let bytes = STANDARD.decode(rest).map_err(|_| SecretError::Base64)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError::Length(bytes.len())) }
    }

    /// Returns the secret as it is written; only the store may see it.
    pub(crate) fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Computes the value of the header `webhook-signature` for one attempt.
///
/// - `id`: the message's id, the same for all attempts, without a full stop.
/// - `timestamp_s`: seconds since the epoch of this attempt.
///
/// Source: Standard Webhooks specification, "Signature scheme": `v1,` and the base64 of
/// HMAC-SHA256 over `id.timestamp.body`.
pub fn signature(secret: &Secret, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_specifications_example() {
        // Example of the specification's reference libraries.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn short_and_malformed_secrets_are_refused_and_none_is_printed() {
        assert_eq!(Secret::parse("hunter2"), Err(SecretError::Prefix));
        assert_eq!(Secret::parse("whsec_!!"), Err(SecretError::Base64));
        assert_eq!(Secret::parse("whsec_YWJj"), Err(SecretError::Length(3)));
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(Secret::parse(&secret.expose()), Ok(secret));
    }
}
