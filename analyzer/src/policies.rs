//! Stored policies: by name, each change a new revision.

use greylight_store::model::{ErrorKind, Problem, TenantId};
use greylight_store::records::{Document, Expect, Order, Page, Records, RecordsError, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::policy::{self, Policy, PolicyError, Queries};

const KIND: &str = "policy";
/// Longest policy text in bytes.
pub(crate) const POLICY_BYTES_MAX: usize = 1 << 20;
/// Most policies of one tenant that are listed.
const LISTED_MAX: usize = 1000;

/// A stored policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) document: Value,
    /// As it was sent, with its comments; none of policies that an earlier version stored.
    pub(crate) text: Option<String>,
}

impl Stored {
    /// Writes it as the API gives it.
    pub(crate) fn wire(&self) -> Value {
        let mut answer = json!({ "name": self.name, "revision": self.revision, "policy": self.document });
        if let Some(text) = &self.text {
            answer["text"] = json!(text);
        }
        answer
    }
}

/// A stored policy's body. Earlier versions stored the document alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum BodyFormat {
    WithText { document: Value, text: String },
    Bare(Value),
}

/// Stores policy texts and gives them back.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    records: Records,
}

impl Policies {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }

    /// Lists every policy by name.
    pub(crate) async fn list(&self, tenant: &TenantId) -> Result<Vec<Stored>, Problem> {
        let page = Page { after: None, order: Order::Ascending, limit: LISTED_MAX, prefix: None };
        let documents = self.records.list(tenant, KIND, page).await.map_err(|e| problem(&e))?;
        documents.iter().map(stored).collect()
    }

    /// Finds a policy.
    pub(crate) async fn get(&self, tenant: &TenantId, name: &str) -> Result<Option<Stored>, Problem> {
        let document = self.records.get(tenant, KIND, name).await.map_err(|e| problem(&e))?;
        document.as_ref().map(stored).transpose()
    }

    /// Stores a policy's text under a name; the same text again changes nothing.
    ///
    /// - `named`, `document`: what [`checked`] found in the text.
    pub(crate) async fn put(
        &self,
        tenant: &TenantId,
        name: &str,
        text: &str,
        (named, document): (String, Value),
    ) -> Result<Stored, Problem> {
        if named != name {
            let text = format!("the policy is named {named:?}, the address names {name:?}");
            return Err(Problem::new(ErrorKind::Invalid, text).field("name").value(named));
        }
        // Another comment is another text: it is kept, as a revision of its own.
        let is_same = |stored: &Stored| {
            stored.document == document && stored.text.as_deref().is_none_or(|own| own == text)
        };
        if let Some(same) = self.get(tenant, name).await?.filter(is_same) {
            return Ok(same);
        }
        let body = serde_json::to_vec(&json!({ "document": document, "text": text }));
        let body = body.map_err(|e| Problem::new(ErrorKind::Internal, e))?;
        let transaction = Transaction::default().put(KIND, name, Expect::Any, body);
        self.records.commit(tenant, transaction).await.map_err(|e| problem(&e))?;
        let stored = self.get(tenant, name).await?;
        stored.ok_or_else(|| Problem::new(ErrorKind::Conflict, "the policy was deleted at the same time"))
    }

    /// Deletes a policy; releases that pinned it keep it.
    pub(crate) async fn delete(&self, tenant: &TenantId, name: &str) -> Result<(), Problem> {
        if self.get(tenant, name).await?.is_none() {
            return Err(not_found(name));
        }
        let transaction = Transaction::default().delete(KIND, name, Expect::Any);
        self.records.commit(tenant, transaction).await.map_err(|e| problem(&e))
    }
}

/// Checks a policy's text: what it says, and the document as it is stored.
pub(crate) fn checked(text: &str) -> Result<(Policy, Value), Problem> {
    let document = policy::document(text).map_err(|e| policy_problem(&e))?;
    let parsed = policy::from_document(&document, Queries::Required).map_err(|e| policy_problem(&e))?;
    policy::check_queries(&document).map_err(|e| policy_problem(&e))?;
    Ok((parsed, document))
}

/// Says that no policy has this name.
pub(crate) fn not_found(name: &str) -> Problem {
    Problem::new(
        ErrorKind::NotFound,
        format!("no policy is called {name:?}; PUT it to /api/v1/policies/{name} first"),
    )
}

fn stored(document: &Document) -> Result<Stored, Problem> {
    let body = serde_json::from_slice(&document.body);
    let body = body.map_err(|e| Problem::new(ErrorKind::Internal, format!("policy {}: {e}", document.id)))?;
    let (body, text) = match body {
        BodyFormat::WithText { document, text } => (document, Some(text)),
        BodyFormat::Bare(document) => (document, None),
    };
    Ok(Stored { name: document.id.clone(), revision: document.version, document: body, text })
}

/// Puts a policy's error into the envelope: field path and value stay apart.
pub(crate) fn policy_problem(error: &PolicyError) -> Problem {
    match error {
        PolicyError::Field { field, problem, value } => {
            let plain = Problem::new(ErrorKind::Invalid, problem).field(field.clone());
            match value {
                Some(value) => plain.value(value.clone()),
                None => plain,
            }
        }
        PolicyError::Syntax { .. } => Problem::new(ErrorKind::Invalid, error),
    }
}

/// Puts an error of the records into the envelope; the cause goes to the log.
pub(crate) fn problem(error: &RecordsError) -> Problem {
    if error.kind() == ErrorKind::Internal {
        tracing::error!(error = error as &dyn std::error::Error, "the records failed");
        return Problem::new(
            ErrorKind::Internal,
            "the records could not be read or written; see the server's log",
        );
    }
    Problem::new(error.kind(), error)
}
