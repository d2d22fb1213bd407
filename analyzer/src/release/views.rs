//! Releases and verdicts as tables of SQL.

use async_trait::async_trait;
use greylight_query::sql::{Cell, Column, ColumnType, View};
use greylight_store::model::{Problem, TenantId, Timestamp};
use greylight_store::records::Page;

use super::format;
use super::model::Release;
use super::request::time;
use super::service::{Filter, LIST_MAX, Releases, unreadable, verdict};
use crate::policies::problem;
use crate::verdict::wire::VerdictJson;

/// `releases(id, key, service, baseline, canary, policy, state, decision, start, decided_at)`.
#[derive(Debug)]
pub(crate) struct ReleasesView(pub(crate) Releases);

/// `verdicts(release, revision, phase, decision, final, decided_at, body)`: a row each revision.
#[derive(Debug)]
pub(crate) struct VerdictsView(pub(crate) Releases);

fn columns<const N: usize>(columns: [(&'static str, ColumnType); N]) -> Vec<Column> {
    columns.into_iter().map(|(name, kind)| Column { name, kind }).collect()
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_string())
}

fn instant(value: Option<&str>) -> Cell {
    value.and_then(|t| time("time", t).ok()).map_or(Cell::Null, |t: Timestamp| Cell::Time(t))
}

#[async_trait]
impl View for ReleasesView {
    fn name(&self) -> &str {
        "releases"
    }

    fn columns(&self) -> Vec<Column> {
        use ColumnType::{Text, Time};
        columns([
            ("id", Text),
            ("key", Text),
            ("service", Text),
            ("baseline", Text),
            ("canary", Text),
            ("policy", Text),
            ("state", Text),
            ("decision", Text),
            ("start", Time),
            ("decided_at", Time),
        ])
    }

    async fn rows(&self, tenant: &TenantId) -> Result<Vec<Vec<Cell>>, Problem> {
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let (page, next) = self.0.list(tenant, &Filter::default(), LIST_MAX, cursor).await?;
            rows.extend(page.iter().map(release_row));
            if next.is_none() {
                return Ok(rows);
            }
            cursor = next;
        }
    }
}

fn release_row(release: &Release) -> Vec<Cell> {
    let verdict = verdict(release);
    vec![
        text(&release.id),
        release.request.key.as_deref().map_or(Cell::Null, text),
        text(&release.request.service),
        text(&release.request.baseline.name),
        text(&release.request.canary.name),
        text(&release.policy.name),
        text(release.state.word()),
        text(&verdict.decision),
        Cell::Time(release.start),
        instant(verdict.decided_at.as_deref()),
    ]
}

#[async_trait]
impl View for VerdictsView {
    fn name(&self) -> &str {
        "verdicts"
    }

    fn columns(&self) -> Vec<Column> {
        use ColumnType::{Boolean, Integer, Text, Time};
        columns([
            ("release", Text),
            ("revision", Integer),
            ("phase", Text),
            ("decision", Text),
            ("final", Boolean),
            ("decided_at", Time),
            ("body", Text),
        ])
    }

    async fn rows(&self, tenant: &TenantId) -> Result<Vec<Vec<Cell>>, Problem> {
        let documents = self.0.0.records.list(tenant, format::VERDICT, Page::default()).await;
        let documents = documents.map_err(|e| problem(&e))?;
        let row = |document: &greylight_store::records::Document| {
            let verdict: VerdictJson = serde_json::from_slice(&document.body).map_err(|e| {
                let (kind, id) = (format::VERDICT, document.id.clone());
                unreadable(&format::FormatError::Unreadable { kind, id, detail: e.to_string() })
            })?;
            Ok(vec![
                verdict.release.as_deref().map_or(Cell::Null, text),
                Cell::Integer(i64::try_from(verdict.revision).unwrap_or(i64::MAX)),
                text(&verdict.phase),
                text(&verdict.decision),
                Cell::Boolean(verdict.is_final),
                instant(verdict.decided_at.as_deref()),
                Cell::Text(String::from_utf8_lossy(&document.body).into_owned()),
            ])
        };
        documents.iter().map(row).collect()
    }
}
