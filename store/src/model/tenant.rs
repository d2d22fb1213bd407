//! Tenants: the first part of every key and path.

use std::fmt;
use std::sync::Arc;

/// Name of a tenant: 1 to 64 ASCII letters, digits, `-`, `_`, starting with a letter or digit.
///
/// The alphabet makes a tenant safe as one part of a path, and keeps Loki's `a|b` lists out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tenant {value:?} is not 1 to 64 letters, digits, '-' or '_' that start with a letter or a digit")]
pub struct TenantIdError {
    /// The refused text, cut to 80 characters.
    pub value: String,
}

impl TenantId {
    /// Longest tenant name in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Parses a tenant name.
    ///
    /// # Errors
    /// [`TenantIdError`] when the text breaks the rule of the type.
    pub fn new(value: &str) -> Result<Self, TenantIdError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let starts = value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && value.len() <= Self::BYTES_MAX && value.bytes().all(legal) {
            return Ok(Self(value.into()));
        }
        Err(TenantIdError { value: value.chars().take(80).collect() })
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    /// Names the tenant of a single-tenant server: `default`.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", "..", "a/b", "a b", "-a", "ü", "a|b", &"x".repeat(65)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(TenantId::new("team-1_x").unwrap().as_str(), "team-1_x");
        assert_eq!(TenantId::default().as_str(), "default");
    }
}
