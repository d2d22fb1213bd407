//! Other changes than releases: a flag, a migration, a new node pool. They are shown beside releases, and a verdict names
//! those that fall into its time.

use greylight_store::model::{ErrorKind, Problem, TenantId, Timestamp};
use greylight_store::records::{Expect, Order, Page, Records, Transaction};
use serde::Deserialize;
use serde_json::Value;

use crate::policies::problem;
use crate::release::request::{QUERY_BYTES_MAX, TEXT_BYTES_MAX, strict, text, time};
use crate::verdict::ChangeJson;

const KIND: &str = "change";
/// Most changes of one list.
pub(crate) const LISTED_MAX: usize = 500;
/// Documents looked at for one list.
const READ_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyJson {
    kind: String,
    service: Option<String>,
    time: Option<String>,
    by: Option<String>,
    text: String,
    link: Option<String>,
}

/// Parses a body of `POST /api/v1/changes`; without a time it is now.
fn parse(body: &Value, now: Timestamp) -> Result<(ChangeJson, Timestamp), Problem> {
    let json: BodyJson = strict(body)?;
    text("kind", &json.kind, TEXT_BYTES_MAX)?;
    text("text", &json.text, QUERY_BYTES_MAX)?;
    for (field, value) in [("service", &json.service), ("by", &json.by), ("link", &json.link)] {
        value.as_deref().map_or(Ok(()), |value| text(field, value, TEXT_BYTES_MAX))?;
    }
    let is_web = |link: &str| link.starts_with("https://") || link.starts_with("http://");
    if let Some(link) = json.link.as_deref().filter(|link| !is_web(link)) {
        let problem = Problem::new(ErrorKind::Invalid, "is no address that begins with https:// or http://");
        return Err(problem.field("link").value(link));
    }
    let at = json.time.as_deref().map(|t| time("time", t)).transpose()?.unwrap_or(now);
    let BodyJson { kind, service, by, text, link, .. } = json;
    Ok((ChangeJson { id: String::new(), kind, service, time: at.to_string(), by, text, link }, at))
}

/// Which changes to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeFilter {
    /// Of this service, or of all.
    pub(crate) service: Option<String>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
}

/// Stores changes in the order of their time.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    records: Records,
}

impl Changes {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }

    /// Notes a change.
    ///
    /// - `unique`: tells changes of one instant apart.
    pub(crate) async fn note(
        &self,
        tenant: &TenantId,
        body: &Value,
        now: Timestamp,
        unique: &str,
    ) -> Result<ChangeJson, Problem> {
        let (mut change, at) = parse(body, now)?;
        change.id = id(at, unique);
        let bytes = serde_json::to_vec(&change).map_err(|e| Problem::new(ErrorKind::Internal, e))?;
        let transaction = Transaction::default().put(KIND, change.id.clone(), Expect::Absent, bytes);
        self.records.commit(tenant, transaction).await.map_err(|e| problem(&e))?;
        Ok(change)
    }

    /// Lists changes, oldest first, [`LISTED_MAX`] at most.
    pub(crate) async fn list(
        &self,
        tenant: &TenantId,
        filter: &ChangeFilter,
    ) -> Result<Vec<ChangeJson>, Problem> {
        // Ids begin with the time, so those before the start are passed over unread.
        let after = filter.start.map(|start| id(start, ""));
        let page = Page { after, order: Order::Ascending, limit: READ_MAX, prefix: None };
        let documents = self.records.list(tenant, KIND, page).await.map_err(|e| problem(&e))?;
        let end = filter.end.map(|end| id(end, ""));
        let mut out = Vec::new();
        for document in documents {
            if end.as_ref().is_some_and(|end| document.id >= *end) || out.len() == LISTED_MAX {
                break;
            }
            let change: ChangeJson =
                serde_json::from_slice(&document.body).map_err(|e| Problem::new(ErrorKind::Internal, e))?;
            let is_of = |service: &String| change.service.as_ref().is_none_or(|own| own == service);
            if filter.service.as_ref().is_none_or(is_of) {
                out.push(change);
            }
        }
        Ok(out)
    }
}

/// Names a change so that the order of names is that of times, before 1970 too.
fn id(at: Timestamp, unique: &str) -> String {
    let shifted = i128::from(at.as_nanos()) - i128::from(i64::MIN);
    format!("{shifted:020}-{unique}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_in_the_order_of_times() {
        let at = |ms: i64| id(Timestamp::from_millis(ms), "x");
        assert!(at(-5) < at(0) && at(0) < at(1) && at(1) < at(1_795_255_200_000));
        assert!(id(Timestamp::from_millis(7), "") < id(Timestamp::from_millis(7), "a"));
    }

    #[test]
    fn a_body_names_what_is_wrong_with_it() {
        let now = Timestamp::from_millis(1_795_255_200_000);
        let good = json!({ "kind": "flag", "text": "new prices for all" });
        assert_eq!(parse(&good, now).unwrap().0.time, now.to_string());
        for (field, value) in [
            ("kind", json!("")),
            ("time", json!("noon")),
            ("link", json!("javascript:alert(1)")),
            ("text", json!("x".repeat(70_000))),
            ("who", json!("ada")),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(parse(&body, now).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
