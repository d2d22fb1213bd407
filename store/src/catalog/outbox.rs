//! The outbox in the catalog.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};

use super::CatalogError;
use super::checksum::{OUTBOX, Part, TRIES};
use super::database::{tenant_of, value};
use crate::model::{TenantId, Timestamp};
use crate::records::{OutboxItem, Outgoing, OutgoingFilter, OutgoingState, RecordsError, Try};

const STATES: [(OutgoingState, &str); 3] = [
    (OutgoingState::Waiting, "waiting"),
    (OutgoingState::Delivered, "delivered"),
    (OutgoingState::GivenUp, "given_up"),
];

pub(super) async fn insert(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    item: &OutboxItem,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let failed = || CatalogError::doing("putting an item into the outbox");
    sqlx::query("UPDATE positions SET value = value + 1 WHERE name = 'outbox'")
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    let added = sqlx::query(
        "INSERT INTO outbox (id, position, tenant, queue, ordering_key, body, created_at, not_before, attempts, \
         state) SELECT $1, value, $2, $3, $4, $5, $6, $7, 0, 'waiting' FROM positions \
         WHERE name = 'outbox' ON CONFLICT (id) DO NOTHING",
    )
    .bind(&item.id)
    .bind(tenant.as_str())
    .bind(&item.queue)
    .bind(&item.ordering_key)
    .bind(&item.body)
    .bind(now.as_nanos())
    .bind(item.not_before.as_nanos())
    .execute(&mut *connection)
    .await
    .map_err(failed())?;
    if added.rows_affected() != 1 {
        return Err(RecordsError::Exists(item.id.clone()));
    }
    Ok(OUTBOX.settle(connection, &[Part::Text(&item.id)]).await?)
}

pub(super) async fn due(pool: &AnyPool, now: Timestamp, limit: usize) -> Result<Vec<Outgoing>, RecordsError> {
    let rows = sqlx::query(
        "SELECT * FROM (SELECT o.*, ROW_NUMBER() OVER (PARTITION BY o.tenant, o.queue ORDER BY o.position) AS turn \
         FROM outbox o WHERE o.state = 'waiting' AND o.not_before <= $1 AND (o.ordering_key = '' OR NOT EXISTS \
         (SELECT 1 FROM outbox e WHERE e.tenant = o.tenant AND e.queue = o.queue \
         AND e.ordering_key = o.ordering_key AND e.state = 'waiting' AND e.position < o.position))) AS ready \
         ORDER BY turn, position LIMIT $2",
    )
    .bind(now.as_nanos())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
    .map_err(CatalogError::doing("reading what is due in the outbox"))?;
    rows.iter().map(|row| outgoing_of(row).map_err(Into::into)).collect()
}

pub(super) async fn report(
    pool: &AnyPool,
    id: &str,
    state: OutgoingState,
    not_before: Option<Timestamp>,
    note: &str,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let failed = || CatalogError::doing("reporting on an item of the outbox");
    let mut tx = pool.begin().await.map_err(failed())?;
    OUTBOX.verify_before(&mut tx, &[Part::Text(id)]).await?;
    let done = sqlx::query(
        "UPDATE outbox SET state = $1, not_before = COALESCE($2, not_before), attempts = attempts + 1 \
         WHERE id = $3",
    )
    .bind(word(state))
    .bind(not_before.map(Timestamp::as_nanos))
    .bind(id)
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    if done.rows_affected() != 1 {
        return Err(RecordsError::NoItem(id.into()));
    }
    OUTBOX.settle(&mut tx, &[Part::Text(id)]).await?;
    let row = sqlx::query("SELECT COALESCE(MAX(number), 0) + 1 FROM outbox_tries WHERE item = $1")
        .bind(id)
        .fetch_one(&mut *tx)
        .await
        .map_err(failed())?;
    let number: i64 = value(&row, 0)?;
    sqlx::query("INSERT INTO outbox_tries (item, number, at, is_taken, note) VALUES ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(number)
        .bind(now.as_nanos())
        .bind(i64::from(state == OutgoingState::Delivered))
        .bind(note)
        .execute(&mut *tx)
        .await
        .map_err(failed())?;
    TRIES.settle(&mut tx, &[Part::Text(id), Part::Number(number)]).await?;
    Ok(tx.commit().await.map_err(failed())?)
}

/// Makes an item wait again as if it had never been tried; its tries stay listed.
pub(super) async fn again(pool: &AnyPool, id: &str, at: Timestamp) -> Result<(), RecordsError> {
    let failed = || CatalogError::doing("sending an item of the outbox again");
    let mut tx = pool.begin().await.map_err(failed())?;
    OUTBOX.verify_before(&mut tx, &[Part::Text(id)]).await?;
    let done =
        sqlx::query("UPDATE outbox SET state = 'waiting', not_before = $1, attempts = 0 WHERE id = $2")
            .bind(at.as_nanos())
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(failed())?;
    if done.rows_affected() != 1 {
        return Err(RecordsError::NoItem(id.into()));
    }
    OUTBOX.settle(&mut tx, &[Part::Text(id)]).await?;
    Ok(tx.commit().await.map_err(failed())?)
}

fn word(state: OutgoingState) -> &'static str {
    STATES.iter().find(|(s, _)| *s == state).map_or("waiting", |(_, word)| word)
}

pub(super) async fn list(
    pool: &AnyPool,
    tenant: &TenantId,
    filter: &OutgoingFilter,
) -> Result<Vec<Outgoing>, RecordsError> {
    let of_ids = if filter.ids.is_empty() {
        String::new()
    } else {
        format!("AND id IN ({})", numbered(5, &filter.ids))
    };
    // Only numbers of parameters are put into the text.
    let text = format!(
        "SELECT * FROM outbox WHERE tenant = $1 AND ($2 IS NULL OR queue = $2) AND ($3 IS NULL OR ordering_key = $3) \
         {of_ids} ORDER BY position DESC LIMIT $4"
    );
    let mut query = sqlx::query(AssertSqlSafe(text))
        .bind(tenant.as_str())
        .bind(filter.queue.as_deref())
        .bind(filter.ordering_key.as_deref())
        .bind(if filter.limit == 0 { i64::MAX } else { i64::try_from(filter.limit).unwrap_or(i64::MAX) });
    for id in &filter.ids {
        query = query.bind(id);
    }
    let rows = query.fetch_all(pool).await.map_err(CatalogError::doing("listing the outbox"))?;
    let mut items = rows.iter().rev().map(outgoing_of).collect::<Result<Vec<Outgoing>, _>>()?;
    for some in items.chunks_mut(TRIES_OF_AT_ONCE) {
        add_tries(pool, some).await?;
    }
    Ok(items)
}

/// Items whose tries are asked for in one question; databases have limits for parameters.
const TRIES_OF_AT_ONCE: usize = 500;

async fn add_tries(pool: &AnyPool, items: &mut [Outgoing]) -> Result<(), CatalogError> {
    let text =
        format!("SELECT * FROM outbox_tries WHERE item IN ({}) ORDER BY item, number", numbered(1, items));
    let mut query = sqlx::query(AssertSqlSafe(text));
    for item in items.iter() {
        query = query.bind(item.id.clone());
    }
    let tries = query.fetch_all(pool).await.map_err(CatalogError::doing("listing tries of the outbox"))?;
    for row in &tries {
        let of: &str = value(row, "item")?;
        let item = items.iter_mut().find(|item| item.id == of);
        if let Some(item) = item {
            item.tries.push(try_of(row)?);
        }
    }
    Ok(())
}

/// Names of parameters for a list: `$5, $6, $7`.
fn numbered<T>(first: usize, list: &[T]) -> String {
    let names: Vec<String> = (first..first + list.len()).map(|n| format!("${n}")).collect();
    names.join(", ")
}

fn try_of(row: &AnyRow) -> Result<Try, CatalogError> {
    TRIES.verify(row)?;
    Ok(Try {
        at: Timestamp::from_nanos(row.get("at")),
        is_taken: row.get::<i64, _>("is_taken") != 0,
        note: row.get("note"),
    })
}

fn outgoing_of(row: &AnyRow) -> Result<Outgoing, CatalogError> {
    OUTBOX.verify(row)?;
    let word: &str = row.get("state");
    let state = STATES.iter().find(|(_, w)| *w == word).map(|(state, _)| *state);
    Ok(Outgoing {
        tenant: tenant_of(row.get("tenant"))?,
        id: row.get("id"),
        queue: row.get("queue"),
        ordering_key: row.get("ordering_key"),
        attempts: u32::try_from(row.get::<i64, _>("attempts")).unwrap_or(u32::MAX),
        body: row.get("body"),
        created_at: Timestamp::from_nanos(row.get("created_at")),
        not_before: Timestamp::from_nanos(row.get("not_before")),
        state: state.ok_or_else(|| CatalogError::Damaged(format!("no item of the outbox is {word:?}")))?,
        tries: Vec::new(),
    })
}
