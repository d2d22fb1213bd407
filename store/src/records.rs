//! Versioned documents by tenant, kind and id, and the outbox; one transaction takes several.
//!
//! Releases, looks, verdicts, policies and alerts are documents; what must be sent because of
//! them is put into the outbox by the same transaction, so neither exists without the other.

use std::sync::Arc;

use crate::catalog::{Catalog, CatalogError};
use crate::model::{Clock, ErrorKind, TenantId, Timestamp};

/// The door to documents and to the outbox. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
}

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is: `release`, `policy`, ...
    pub kind: String,
    /// Its name among those of its kind and tenant.
    pub id: String,
    /// 1 when it was made, one more with each change.
    pub version: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// What it says, in its owner's encoding.
    pub body: Vec<u8>,
}

/// What must hold of a document before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It does not exist.
    Absent,
    /// It exists and has this version.
    Version(u64),
    /// Nothing.
    Any,
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put { kind: String, id: String, expect: Expect, body: Vec<u8> },
    Delete { kind: String, id: String, expect: Expect },
    Send(OutboxItem),
}

impl Transaction {
    /// Stores a document.
    #[must_use]
    pub fn put(
        mut self,
        kind: impl Into<String>,
        id: impl Into<String>,
        expect: Expect,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        self.changes.push(Change::Put { kind: kind.into(), id: id.into(), expect, body: body.into() });
        self
    }

    /// Removes a document; with [`Expect::Any`] it need not exist.
    #[must_use]
    pub fn delete(mut self, kind: impl Into<String>, id: impl Into<String>, expect: Expect) -> Self {
        self.changes.push(Change::Delete { kind: kind.into(), id: id.into(), expect });
        self
    }

    /// Puts something into the outbox.
    #[must_use]
    pub fn send(mut self, item: OutboxItem) -> Self {
        self.changes.push(Change::Send(item));
        self
    }

    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxItem {
    /// A ULID, the receiver's key for taking it once.
    pub id: String,
    /// Where it goes: one queue an endpoint, so that a dead one holds up no other.
    pub queue: String,
    /// Items of one queue with one key go out in order; empty for no order.
    pub ordering_key: String,
    /// What is sent, in its owner's encoding.
    pub body: Vec<u8>,
    /// When it may go out first.
    pub not_before: Timestamp,
}

/// An item of the outbox and how it fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub id: String,
    /// Where it goes.
    pub queue: String,
    /// What it is ordered by.
    pub ordering_key: String,
    /// Tries since it was put in, or last sent again on request; the schedule counts these.
    pub attempts: u32,
    /// What is sent.
    pub body: Vec<u8>,
    /// When it was put in.
    pub created_at: Timestamp,
    /// When it may go out next.
    pub not_before: Timestamp,
    /// How it fares.
    pub state: OutgoingState,
    /// Every try that was reported, the oldest first; only in a list of [`Records::outgoing`].
    pub tries: Vec<Try>,
}

/// One try to send an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// When it was reported.
    pub at: Timestamp,
    /// Whether the receiver took the item.
    pub is_taken: bool,
    /// What came of it.
    pub note: String,
}

/// How an item of the outbox fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// It is to be sent.
    Waiting,
    /// Its receiver took it.
    Delivered,
    /// It will not be tried again by itself.
    GivenUp,
}

/// Which items of the outbox to list; what is empty does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingFilter {
    /// Those of one queue.
    pub queue: Option<String>,
    /// Those with one ordering key.
    pub ordering_key: Option<String>,
    /// Those with one of these ids.
    pub ids: Vec<String>,
    /// At most so many, the newest; 0 for all.
    pub limit: usize,
}

/// Which way a list runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the smallest id.
    #[default]
    Ascending,
    /// From the largest id.
    Descending,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The list goes on after this id.
    pub after: Option<String>,
    /// Which way it runs.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
    /// Only ids that begin so.
    pub prefix: Option<String>,
}

impl Default for Page {
    /// Everything, from the smallest id.
    fn default() -> Self {
        Self { after: None, order: Order::Ascending, limit: usize::MAX, prefix: None }
    }
}

/// Why records were not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// A document is not as expected; nothing was changed.
    #[error("{kind} {id:?} {}", describe(*.expected, *.found))]
    Conflict {
        /// Its kind.
        kind: String,
        /// Its id.
        id: String,
        /// What was expected.
        expected: Expect,
        /// Its version, if it exists.
        found: Option<u64>,
    },
    /// An id or kind cannot be stored.
    #[error("{what} {value:?} is not 1 to 512 bytes without control characters")]
    Invalid {
        /// `kind`, `id`, `queue`.
        what: &'static str,
        /// The offending text, cut to 80 characters.
        value: String,
    },
    /// An item with this id is in the outbox already, with other content.
    #[error("outbox item {0:?} exists already")]
    Exists(String),
    /// There is no such item in the outbox.
    #[error("outbox item {0:?} does not exist")]
    NoItem(String),
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
}

fn describe(expected: Expect, found: Option<u64>) -> String {
    match (expected, found) {
        (Expect::Absent, Some(version)) => format!("exists already, at version {version}"),
        (Expect::Version(want), Some(version)) => format!("is at version {version}, expected {want}"),
        (_, _) => "does not exist".into(),
    }
}

impl RecordsError {
    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict { .. } | Self::Exists(_) => ErrorKind::Conflict,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::NoItem(_) => ErrorKind::NotFound,
            Self::Catalog(e) => e.kind(),
        }
    }
}

impl Records {
    pub(crate) fn new(catalog: Arc<dyn Catalog>, clock: Arc<dyn Clock>) -> Self {
        Self { catalog, clock }
    }

    /// Returns one document.
    ///
    /// # Errors
    /// [`RecordsError::Catalog`].
    pub async fn get(
        &self,
        tenant: &TenantId,
        kind: &str,
        id: &str,
    ) -> Result<Option<Document>, RecordsError> {
        self.catalog.document(tenant, kind, id).await
    }

    /// Returns documents of one kind, sorted by id.
    ///
    /// # Errors
    /// [`RecordsError::Catalog`].
    pub async fn list(
        &self,
        tenant: &TenantId,
        kind: &str,
        page: Page,
    ) -> Result<Vec<Document>, RecordsError> {
        self.catalog.documents(tenant, kind, &page).await
    }

    /// Makes all changes of a transaction durable, or none.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`] when a document is not as expected, [`RecordsError::Invalid`],
    /// [`RecordsError::Catalog`]; nothing is changed then.
    pub async fn commit(&self, tenant: &TenantId, transaction: Transaction) -> Result<(), RecordsError> {
        for change in &transaction.changes {
            match change {
                Change::Put { kind, id, .. } | Change::Delete { kind, id, .. } => {
                    check_name("kind", kind)?;
                    check_name("id", id)?;
                }
                Change::Send(item) => {
                    check_name("id", &item.id)?;
                    check_name("queue", &item.queue)?;
                }
            }
        }
        if transaction.is_empty() {
            return Ok(());
        }
        self.catalog.change(tenant, &transaction.changes, self.clock.now()).await
    }

    /// Returns the tenants that have documents, sorted.
    ///
    /// # Errors
    /// [`RecordsError::Catalog`].
    pub async fn tenants(&self) -> Result<Vec<TenantId>, RecordsError> {
        self.catalog.tenants().await
    }

    /// Returns items that may go out now, of all tenants: of each queue and ordering key only the
    /// first, and queues take turns, so that a long one does not crowd out the others.
    ///
    /// # Errors
    /// [`RecordsError::Catalog`].
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Outgoing>, RecordsError> {
        self.catalog.due(now, limit).await
    }

    /// Marks an item as taken by its receiver.
    ///
    /// # Errors
    /// [`RecordsError::NoItem`], [`RecordsError::Catalog`].
    pub async fn delivered(&self, id: &str, note: &str) -> Result<(), RecordsError> {
        self.catalog.report(id, OutgoingState::Delivered, None, note, self.clock.now()).await
    }

    /// Marks a try as failed; the item goes out again at a later time.
    ///
    /// # Errors
    /// [`RecordsError::NoItem`], [`RecordsError::Catalog`].
    pub async fn retry_at(&self, id: &str, at: Timestamp, note: &str) -> Result<(), RecordsError> {
        self.catalog.report(id, OutgoingState::Waiting, Some(at), note, self.clock.now()).await
    }

    /// Marks a try as failed and the last one.
    ///
    /// # Errors
    /// [`RecordsError::NoItem`], [`RecordsError::Catalog`].
    pub async fn give_up(&self, id: &str, note: &str) -> Result<(), RecordsError> {
        self.catalog.report(id, OutgoingState::GivenUp, None, note, self.clock.now()).await
    }

    /// Makes an item wait again, whatever became of it, with all its tries before it.
    ///
    /// # Errors
    /// [`RecordsError::NoItem`], [`RecordsError::Catalog`].
    pub async fn again(&self, id: &str, at: Timestamp) -> Result<(), RecordsError> {
        self.catalog.again(id, at).await
    }

    /// Lists items of a tenant's outbox with their tries, the oldest first.
    ///
    /// # Errors
    /// [`RecordsError::Catalog`].
    pub async fn outgoing(
        &self,
        tenant: &TenantId,
        filter: OutgoingFilter,
    ) -> Result<Vec<Outgoing>, RecordsError> {
        self.catalog.outgoing(tenant, &filter).await
    }
}

fn check_name(what: &'static str, value: &str) -> Result<(), RecordsError> {
    if (1..=512).contains(&value.len()) && !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(RecordsError::Invalid { what, value: value.chars().take(80).collect() })
}
