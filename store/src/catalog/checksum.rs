//! Checksums over the rows of documents and of the outbox.
//!
//! Each row carries one over its columns, so that a bit that flips in a page of the database is not taken for what was
//! written. A table's checksums add up to a number in `positions`, so that no row comes or goes by itself. Both change
//! in the transactions that change the rows.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use xxhash_rust::xxh3::Xxh3;

use super::CatalogError;
use super::database::value;

/// A table whose rows carry checksums.
#[derive(Debug)]
pub(super) struct Checked {
    name: &'static str,
    /// The row of `positions` that has the sum of the table's checksums.
    total: &'static str,
    /// By what rows are told apart.
    key: &'static [(&'static str, Type)],
    rest: &'static [(&'static str, Type)],
}

#[derive(Clone, Copy, Debug)]
enum Type {
    Text,
    Number,
    Bytes,
}

/// A value of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Number(i64),
}

pub(super) const DOCUMENTS: Checked = Checked {
    name: "documents",
    total: "documents",
    key: &[("tenant", Type::Text), ("kind", Type::Text), ("id", Type::Text)],
    rest: &[("version", Type::Number), ("updated_at", Type::Number), ("body", Type::Bytes)],
};

pub(super) const OUTBOX: Checked = Checked {
    name: "outbox",
    total: "outbox_rows",
    key: &[("id", Type::Text)],
    rest: &[
        ("position", Type::Number),
        ("tenant", Type::Text),
        ("queue", Type::Text),
        ("ordering_key", Type::Text),
        ("body", Type::Bytes),
        ("created_at", Type::Number),
        ("not_before", Type::Number),
        ("attempts", Type::Number),
        ("state", Type::Text),
    ],
};

pub(super) const TRIES: Checked = Checked {
    name: "outbox_tries",
    total: "outbox_tries",
    key: &[("item", Type::Text), ("number", Type::Number)],
    rest: &[("at", Type::Number), ("is_taken", Type::Number), ("note", Type::Text)],
};

pub(super) const ALL: [&Checked; 3] = [&DOCUMENTS, &OUTBOX, &TRIES];

/// Rows that are read at once.
const AT_ONCE: i64 = 1000;

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// A question about the row of a key; only names that are constants here are put into its text.
fn about<'q>(text: String, key: &[Part<'q>]) -> Query<'q> {
    key.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, part| match *part {
        Part::Text(text) => query.bind(text),
        Part::Number(number) => query.bind(number),
    })
}

impl Checked {
    /// `a = $1 AND b = $2` for the columns of the key.
    fn is_key(&self) -> String {
        let terms: Vec<String> =
            self.key.iter().zip(1..).map(|((name, _), n)| format!("{name} = ${n}")).collect();
        terms.join(" AND ")
    }

    /// Fails where a row is not what was written.
    pub(super) fn verify(&self, row: &AnyRow) -> Result<(), CatalogError> {
        let (carried, found): (i64, i64) = (value(row, "checksum")?, self.sum_of(row)?);
        if carried == found {
            return Ok(());
        }
        Err(CatalogError::Damaged(format!(
            "a row of {} has the checksum {found:08x}, and should have {carried:08x}; restore the catalog from a backup",
            self.name
        )))
    }

    /// 32 bits, so that a database can add up those of all rows.
    fn sum_of(&self, row: &AnyRow) -> Result<i64, CatalogError> {
        let mut hasher = Xxh3::new();
        let mut take = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for (name, of) in self.key.iter().chain(self.rest) {
            match of {
                Type::Text => take(value::<&str>(row, *name)?.as_bytes()),
                Type::Number => take(&value::<i64>(row, *name)?.to_le_bytes()),
                Type::Bytes => take(value::<&[u8]>(row, *name)?),
            }
        }
        Ok((hasher.digest() >> 32) as i64)
    }

    /// Fails where a row that is to be changed is not what was written; no row is none.
    pub(super) async fn verify_before(
        &self,
        connection: &mut AnyConnection,
        key: &[Part<'_>],
    ) -> Result<(), CatalogError> {
        let row = self.row(connection, key).await?;
        row.map_or(Ok(()), |row| self.verify(&row))
    }

    async fn row(
        &self,
        connection: &mut AnyConnection,
        key: &[Part<'_>],
    ) -> Result<Option<AnyRow>, CatalogError> {
        let text = format!("SELECT * FROM {} WHERE {}", self.name, self.is_key());
        let row = about(text, key).fetch_optional(connection).await;
        row.map_err(CatalogError::doing("reading a row to be checked"))
    }

    /// Gives a row that was just written its checksum.
    pub(super) async fn settle(
        &self,
        connection: &mut AnyConnection,
        key: &[Part<'_>],
    ) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("writing a row's checksum");
        let Some(row) = self.row(&mut *connection, key).await? else { return Ok(()) };
        let (before, after): (i64, i64) = (value(&row, "checksum")?, self.sum_of(&row)?);
        let place = key.len() + 1;
        let text = format!("UPDATE {} SET checksum = ${place} WHERE {}", self.name, self.is_key());
        about(text, key).bind(after).execute(&mut *connection).await.map_err(failed())?;
        self.add(connection, after - before).await
    }

    /// Takes the checksum of a row that is about to go out of the sum.
    pub(super) async fn forget(
        &self,
        connection: &mut AnyConnection,
        key: &[Part<'_>],
    ) -> Result<(), CatalogError> {
        let Some(row) = self.row(&mut *connection, key).await? else { return Ok(()) };
        let carried: i64 = value(&row, "checksum")?;
        self.add(connection, -carried).await
    }

    async fn add(&self, connection: &mut AnyConnection, more: i64) -> Result<(), CatalogError> {
        let done = sqlx::query("UPDATE positions SET value = value + $1 WHERE name = $2")
            .bind(more)
            .bind(self.total)
            .execute(connection)
            .await;
        done.map(drop).map_err(CatalogError::doing("writing a table's checksum"))
    }

    /// Fails where the checksums of the rows that there are do not add up.
    pub(super) async fn compare(&self, connection: &mut AnyConnection) -> Result<(), CatalogError> {
        let failed = || CatalogError::doing("adding up the catalog's checksums");
        let text = format!("SELECT CAST(COALESCE(SUM(checksum), 0) AS BIGINT) FROM {}", self.name);
        let found = sqlx::query(AssertSqlSafe(text)).fetch_one(&mut *connection).await.map_err(failed())?;
        let kept = sqlx::query("SELECT value FROM positions WHERE name = $1")
            .bind(self.total)
            .fetch_optional(connection)
            .await
            .map_err(failed())?;
        let kept = kept.map(|row| value::<i64>(&row, 0)).transpose()?;
        let found: i64 = value(&found, 0)?;
        if kept == Some(found) {
            return Ok(());
        }
        Err(CatalogError::Damaged(format!(
            "the checksums of {} add up to {found}, and should to {kept:?}; restore it from a backup",
            self.name
        )))
    }

    /// Calls `f` with each row, in the order of keys.
    async fn for_each(
        &self,
        connection: &mut AnyConnection,
        mut f: impl FnMut(&AnyRow) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let order: Vec<&str> = self.key.iter().map(|(name, _)| *name).collect();
        let order = order.join(", ");
        for offset in (0..).step_by(AT_ONCE as usize) {
            let text =
                format!("SELECT * FROM {} ORDER BY {order} LIMIT {AT_ONCE} OFFSET {offset}", self.name);
            let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut *connection).await;
            let rows = rows.map_err(CatalogError::doing("reading rows to be checked"))?;
            rows.iter().try_for_each(&mut f)?;
            if (rows.len() as i64) < AT_ONCE {
                break;
            }
        }
        Ok(())
    }

    /// Checks every row.
    pub(super) async fn verify_all(&self, connection: &mut AnyConnection) -> Result<(), CatalogError> {
        self.for_each(connection, |row| self.verify(row)).await
    }

    /// Gives all rows their checksums, which a catalog of an older version has none of.
    pub(super) async fn settle_all(&self, connection: &mut AnyConnection) -> Result<(), CatalogError> {
        let mut keys = Vec::new();
        let note = |row: &AnyRow| {
            let mut key = Vec::new();
            for (name, of) in self.key {
                key.push(match of {
                    Type::Number => Owned::Number(value(row, *name)?),
                    _ => Owned::Text(value(row, *name)?),
                });
            }
            keys.push(key);
            Ok(())
        };
        self.for_each(connection, note).await?;
        for key in &keys {
            let key: Vec<Part<'_>> = key.iter().map(Owned::part).collect();
            self.settle(connection, &key).await?;
        }
        Ok(())
    }
}

enum Owned {
    Text(String),
    Number(i64),
}

impl Owned {
    fn part(&self) -> Part<'_> {
        match self {
            Self::Text(text) => Part::Text(text),
            Self::Number(number) => Part::Number(*number),
        }
    }
}
