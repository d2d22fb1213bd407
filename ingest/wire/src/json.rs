//! JSON requests.

use serde::de::{Deserialize, Error as _};

/// Reads a message, which must be an object: serde would take a list of its fields' values too.
///
/// # Errors
/// What `serde_json` says.
pub(crate) fn from_object<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, serde_json::Error> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') | None => serde_json::from_slice(body),
        Some(_) => Err(serde_json::Error::custom("expected an object")),
    }
}
