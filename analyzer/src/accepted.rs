//! Log templates that a person looked at and found harmless: they refuse no release of their service again.

use std::collections::BTreeSet;

use greylight_store::model::{ErrorKind, Problem, TenantId, Timestamp};
use greylight_store::records::{Expect, Order, Page, Records, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policies::problem;
use crate::release::format::key_id;
use crate::release::request::{QUERY_BYTES_MAX, TEXT_BYTES_MAX, strict, text};

const KIND: &str = "accepted_pattern";
/// Most templates that are accepted for one service.
const ACCEPTED_MAX: usize = 1_000;

/// A template that is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) service: String,
    /// The template's id, as verdicts show it.
    pub(crate) pattern: String,
    pub(crate) by: String,
    pub(crate) why: String,
    /// When, in RFC 3339.
    pub(crate) time: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptJson {
    service: String,
    pattern: String,
    by: String,
    why: String,
}

impl Accepted {
    /// Parses a body of `POST /api/v1/patterns/accept`.
    pub(crate) fn parse(body: &Value, now: Timestamp) -> Result<Self, Problem> {
        let json: AcceptJson = strict(body)?;
        for (field, value, limit) in [
            ("service", &json.service, TEXT_BYTES_MAX),
            ("pattern", &json.pattern, TEXT_BYTES_MAX),
            ("by", &json.by, TEXT_BYTES_MAX),
            ("why", &json.why, QUERY_BYTES_MAX),
        ] {
            text(field, value, limit)?;
        }
        let AcceptJson { service, pattern, by, why } = json;
        Ok(Self { service, pattern, by, why, time: now.to_string() })
    }
}

/// Stores accepted templates by service.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedPatterns {
    records: Records,
}

impl AcceptedPatterns {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }

    /// Accepts a template; again is the same, with the later reason.
    pub(crate) async fn accept(&self, tenant: &TenantId, one: &Accepted) -> Result<(), Problem> {
        let known = self.list(tenant, &one.service).await?;
        if known.len() >= ACCEPTED_MAX && !known.iter().any(|known| known.pattern == one.pattern) {
            let text = format!("service {:?} has as many accepted templates as there may be", one.service);
            return Err(Problem::new(ErrorKind::Limit, text).field("pattern").limit(ACCEPTED_MAX));
        }
        let body = serde_json::to_vec(one).map_err(|e| Problem::new(ErrorKind::Internal, e))?;
        let transaction = Transaction::default().put(KIND, id(&one.service, &one.pattern), Expect::Any, body);
        self.records.commit(tenant, transaction).await.map_err(|e| problem(&e))
    }

    /// Takes an acceptance back.
    pub(crate) async fn withdraw(
        &self,
        tenant: &TenantId,
        service: &str,
        pattern: &str,
    ) -> Result<(), Problem> {
        let id = id(service, pattern);
        if self.records.get(tenant, KIND, &id).await.map_err(|e| problem(&e))?.is_none() {
            let text = format!("no template {pattern:?} is accepted for service {service:?}");
            return Err(Problem::new(ErrorKind::NotFound, text));
        }
        let transaction = Transaction::default().delete(KIND, id, Expect::Any);
        self.records.commit(tenant, transaction).await.map_err(|e| problem(&e))
    }

    /// Lists what is accepted for a service.
    pub(crate) async fn list(&self, tenant: &TenantId, service: &str) -> Result<Vec<Accepted>, Problem> {
        let prefix = Some(prefix(service));
        let page = Page { after: None, order: Order::Ascending, limit: ACCEPTED_MAX, prefix };
        let documents = self.records.list(tenant, KIND, page).await.map_err(|e| problem(&e))?;
        let read =
            |body: &[u8]| serde_json::from_slice(body).map_err(|e| Problem::new(ErrorKind::Internal, e));
        documents.iter().map(|document| read(&document.body)).collect()
    }

    /// Returns the ids of the templates that are accepted for a service.
    pub(crate) async fn of_service(
        &self,
        tenant: &TenantId,
        service: &str,
    ) -> Result<BTreeSet<String>, Problem> {
        Ok(self.list(tenant, service).await?.into_iter().map(|one| one.pattern).collect())
    }
}

/// Services and templates may be of any characters: documents are named by their hashes.
fn prefix(service: &str) -> String {
    format!("{}/", key_id(service))
}

fn id(service: &str, pattern: &str) -> String {
    format!("{}{}", prefix(service), key_id(pattern))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_names_what_is_wrong_with_it() {
        let good = json!({ "service": "cart", "pattern": "3f", "by": "ada", "why": "new wording" });
        let now = Timestamp::from_millis(1_795_255_200_000);
        assert_eq!(Accepted::parse(&good, now).unwrap().pattern, "3f");
        for (field, value) in [
            ("service", json!("")),
            ("pattern", json!("x".repeat(300))),
            ("why", json!("")),
            ("who", json!("ada")),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(Accepted::parse(&body, now).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
