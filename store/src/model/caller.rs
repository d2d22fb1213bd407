//! Who makes a request, and what it may do.

use super::TenantId;

/// One thing that a token may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Sending metrics and logs.
    Write,
    /// Queries, searches, pages.
    Read,
    /// Starting and steering releases, policies, overrides, outcomes.
    Release,
    /// Flushing, cancelling others' queries, the server's state.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Write, Self::Read, Self::Release, Self::Admin];

    /// Returns the word for this scope in configuration and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Release => "release",
            Self::Admin => "admin",
        }
    }

    /// Parses the word for a scope.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything that a server without tokens allows: all of it.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Tells whether `scope` is in the set.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | bit(scope)))
    }
}

fn bit(scope: Scope) -> u8 {
    match scope {
        Scope::Write => 1,
        Scope::Read => 2,
        Scope::Release => 4,
        Scope::Admin => 8,
    }
}

/// Who makes a request: the binary authenticates and puts this beside it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose data it sees.
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Scopes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_itself_alone() {
        let set: Scopes = [Scope::Read].into_iter().collect();
        assert!(set.allow(Scope::Read));
        assert!(!set.allow(Scope::Write));
        assert!(Scope::ALL.into_iter().all(|s| Scopes::all().allow(s)));
        assert!(Scope::ALL.into_iter().all(|s| Scope::parse(s.as_str()) == Some(s)));
    }
}
