//! `GET /federate`: the newest sample of each series that matches, as a page that another Prometheus scrapes.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use greylight_store::model::{Caller, Histogram, Labels};
use greylight_store::read::{ReadError, Samples, Select, SpanMs, is_stale};
use greylight_wire::exposition::{Format, MetricType, Writer, is_plain_name};

use super::error::{PromError, check_scope};
use super::params::Params;
use super::series::{asked, matcher_sets};
use crate::Queries;
use crate::queries::past_damage;

type Result<T> = std::result::Result<T, PromError>;

/// A series with its newest sample.
struct Newest {
    labels: Labels,
    t_ms: i64,
    value: f64,
    histogram: Option<std::sync::Arc<Histogram>>,
}

pub(super) async fn federate(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let sets = matcher_sets(&params)?;
    let text = params.all("match[]").collect::<Vec<_>>().join(" or ");
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let utf8_names = accept.contains("escaping=allow-utf-8");
    let page = queries
        .run(asked(&caller, text), move |queries, tenant, budget| {
            let now = queries.env().clock.now().as_millis();
            let lookback = i64::try_from(queries.config().lookback.as_millis()).unwrap_or(i64::MAX);
            let span = SpanMs { start: now.saturating_sub(lookback).saturating_add(1), end: now };
            let mut found = past_damage(|| {
                let mut found: Vec<Newest> = Vec::new();
                for matchers in &sets {
                    let selection =
                        queries.env().metrics.select(tenant, &Select { matchers, span }, budget)?;
                    let series = selection.series();
                    selection.read(0..series.len(), budget, &mut |i, samples| {
                        found.extend(newest(&series[i], samples));
                    })?;
                }
                Ok::<_, ReadError>(found)
            })?;
            found.retain(|one| !one.labels.metric_name().is_empty());
            found.sort_by(|a, b| {
                (a.labels.metric_name(), &a.labels).cmp(&(b.labels.metric_name(), &b.labels))
            });
            found.dedup_by(|a, b| a.labels == b.labels);
            Ok::<_, PromError>(page(&found, utf8_names))
        })
        .await??;
    let format = match utf8_names {
        true => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
        false => Format::PrometheusText.content_type(),
    };
    Ok(([(header::CONTENT_TYPE, format)], page).into_response())
}

/// Returns the last sample, unless it says that the series is gone.
fn newest(labels: &Labels, samples: Samples<'_>) -> Option<Newest> {
    let (t_ms, value) = (*samples.t_ms.last()?, *samples.values.last()?);
    let last = samples.t_ms.len() - 1;
    let histogram = samples.histograms.last().filter(|(at, _)| *at == last).map(|(_, h)| h.clone());
    if histogram.is_none() && is_stale(value) {
        return None;
    }
    Some(Newest { labels: labels.clone(), t_ms, value, histogram })
}

fn page(found: &[Newest], utf8_names: bool) -> String {
    let mut page = Writer::new(Format::PrometheusText);
    let mut family = String::new();
    for one in found {
        let name = shown(one.labels.metric_name(), utf8_names);
        let kind = if one.histogram.is_some() { MetricType::Histogram } else { MetricType::Unknown };
        if name != family {
            page.family_type(&name, kind);
            family.clone_from(&name);
        }
        let mut labels: Vec<(String, &str)> = Vec::new();
        for (name, value) in one.labels.iter().filter(|(name, _)| *name != "__name__") {
            labels.push((shown(name, utf8_names), value));
        }
        // So that the scraper's own instance does not take its place.
        if one.labels.get("instance").is_none() {
            labels.push(("instance".into(), ""));
        }
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        match &one.histogram {
            None => page.sample_at(&name, &labels, one.value, one.t_ms),
            // The text format has no native histograms: what all their forms have in common is shown.
            Some(histogram) => {
                let with_le = [&labels[..], &[("le", "+Inf")]].concat();
                page.sample_at(&format!("{name}_bucket"), &with_le, histogram.count, one.t_ms);
                page.sample_at(&format!("{name}_sum"), &labels, histogram.sum, one.t_ms);
                page.sample_at(&format!("{name}_count"), &labels, histogram.count, one.t_ms);
            }
        }
    }
    page.finish()
}

/// Writes a name so that the scraper can read it.
fn shown(name: &str, utf8_names: bool) -> String {
    if utf8_names || is_plain_name(name) {
        return name.into();
    }
    let plain = |(i, c): (usize, char)| match c {
        'a'..='z' | 'A'..='Z' | '_' => c,
        '0'..='9' if i > 0 => c,
        _ => '_',
    };
    name.chars().enumerate().map(plain).collect()
}
