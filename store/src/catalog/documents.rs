//! Documents in the catalog.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row};

use super::CatalogError;
use super::checksum::{DOCUMENTS, Part};
use super::database::{signed, tenant_of, unsigned};
use crate::model::{TenantId, Timestamp};
use crate::records::{Change, Document, Expect, Order, Page, RecordsError};

/// Sorts after every id that is not made of it: the last character that there is.
const LAST: &str = "\u{10ffff}";

pub(super) async fn get(
    pool: &AnyPool,
    tenant: &TenantId,
    kind: &str,
    id: &str,
) -> Result<Option<Document>, RecordsError> {
    let row = sqlx::query("SELECT * FROM documents WHERE tenant = $1 AND kind = $2 AND id = $3")
        .bind(tenant.as_str())
        .bind(kind)
        .bind(id)
        .fetch_optional(pool)
        .await
        .map_err(CatalogError::doing("reading a document"))?;
    row.map(|row| document_of(&row)).transpose().map_err(Into::into)
}

pub(super) async fn list(
    pool: &AnyPool,
    tenant: &TenantId,
    kind: &str,
    page: &Page,
) -> Result<Vec<Document>, RecordsError> {
    let prefix = page.prefix.as_deref().unwrap_or("");
    let after = page.after.as_deref();
    let (above, below, sql) = match page.order {
        Order::Ascending => (
            after.unwrap_or(""),
            LAST,
            "SELECT * FROM documents WHERE tenant = $1 AND kind = $2 \
             AND id >= $3 AND id < $4 AND id > $5 AND id < $6 ORDER BY id LIMIT $7",
        ),
        Order::Descending => (
            "",
            after.unwrap_or(LAST),
            "SELECT * FROM documents WHERE tenant = $1 AND kind = $2 \
             AND id >= $3 AND id < $4 AND id > $5 AND id < $6 ORDER BY id DESC LIMIT $7",
        ),
    };
    let rows = sqlx::query(sql)
        .bind(tenant.as_str())
        .bind(kind)
        .bind(prefix)
        .bind(format!("{prefix}{LAST}"))
        .bind(above)
        .bind(below)
        .bind(i64::try_from(page.limit).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await
        .map_err(CatalogError::doing("listing documents"))?;
    rows.iter().map(|row| document_of(row).map_err(Into::into)).collect()
}

pub(super) async fn tenants(pool: &AnyPool) -> Result<Vec<TenantId>, RecordsError> {
    let rows = sqlx::query("SELECT DISTINCT tenant FROM documents ORDER BY tenant")
        .fetch_all(pool)
        .await
        .map_err(CatalogError::doing("listing tenants"))?;
    rows.iter().map(|row| tenant_of(row.get(0)).map_err(Into::into)).collect()
}

pub(super) async fn change(
    pool: &AnyPool,
    tenant: &TenantId,
    changes: &[Change],
    now: Timestamp,
) -> Result<(), RecordsError> {
    let failed = || CatalogError::doing("changing documents");
    let mut tx = pool.begin().await.map_err(failed())?;
    for change in changes {
        match change {
            Change::Put { kind, id, expect, body } => {
                put(&mut tx, tenant, (kind, id), *expect, body, now).await?
            }
            Change::Delete { kind, id, expect } => delete(&mut tx, tenant, (kind, id), *expect).await?,
            Change::Send(item) => super::outbox::insert(&mut tx, tenant, item, now).await?,
        }
    }
    Ok(tx.commit().await.map_err(failed())?)
}

async fn put(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    (kind, id): (&str, &str),
    expect: Expect,
    body: &[u8],
    now: Timestamp,
) -> Result<(), RecordsError> {
    let found = expected(connection, tenant, (kind, id), expect).await?;
    sqlx::query(
        "INSERT INTO documents (tenant, kind, id, version, updated_at, body) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant, kind, id) DO UPDATE SET version = excluded.version, \
         updated_at = excluded.updated_at, body = excluded.body",
    )
    .bind(tenant.as_str())
    .bind(kind)
    .bind(id)
    .bind(signed(found.unwrap_or(0) + 1))
    .bind(now.as_nanos())
    .bind(body)
    .execute(&mut *connection)
    .await
    .map_err(CatalogError::doing("storing a document"))?;
    Ok(DOCUMENTS.settle(connection, &key_of(tenant, kind, id)).await?)
}

async fn delete(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    (kind, id): (&str, &str),
    expect: Expect,
) -> Result<(), RecordsError> {
    expected(connection, tenant, (kind, id), expect).await?;
    DOCUMENTS.forget(&mut *connection, &key_of(tenant, kind, id)).await?;
    sqlx::query("DELETE FROM documents WHERE tenant = $1 AND kind = $2 AND id = $3")
        .bind(tenant.as_str())
        .bind(kind)
        .bind(id)
        .execute(&mut *connection)
        .await
        .map_err(CatalogError::doing("removing a document"))?;
    Ok(())
}

/// Returns the document's version if it is as expected.
async fn expected(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    (kind, id): (&str, &str),
    expect: Expect,
) -> Result<Option<u64>, RecordsError> {
    let row = sqlx::query("SELECT version FROM documents WHERE tenant = $1 AND kind = $2 AND id = $3")
        .bind(tenant.as_str())
        .bind(kind)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(CatalogError::doing("reading a document's version"))?;
    let found = row.map(|row| unsigned(row.get(0))).transpose()?;
    let holds = match expect {
        Expect::Absent => found.is_none(),
        Expect::Version(version) => found == Some(version),
        Expect::Any => true,
    };
    if holds {
        return Ok(found);
    }
    Err(RecordsError::Conflict { kind: kind.into(), id: id.into(), expected: expect, found })
}

fn key_of<'a>(tenant: &'a TenantId, kind: &'a str, id: &'a str) -> [Part<'a>; 3] {
    [Part::Text(tenant.as_str()), Part::Text(kind), Part::Text(id)]
}

fn document_of(row: &AnyRow) -> Result<Document, CatalogError> {
    DOCUMENTS.verify(row)?;
    Ok(Document {
        kind: row.get("kind"),
        id: row.get("id"),
        version: unsigned(row.get("version"))?,
        updated_at: Timestamp::from_nanos(row.get("updated_at")),
        body: row.get("body"),
    })
}
