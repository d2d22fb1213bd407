//! `POST /api/v1/read`: another Prometheus reads samples from here.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use greylight_store::model::{Caller, CounterReset, Histogram, MatchOp, Matcher};
use greylight_store::read::{Budget, ReadError, Samples, Select, SpanMs};
use greylight_wire::compress::{Caps, Encoding, decode as decompress};
use greylight_wire::histogram::{NativeBuckets, NativeHistogram, ResetHint};
use greylight_wire::remote_read::{Answer, MatchKind, Query, decode};
use greylight_wire::remote_write::Sample;

use super::error::{PromError, check_scope};
use crate::Queries;
use crate::queries::{Asked, past_damage};

/// Largest request, compressed and decoded. Matchers are small; dashboards ask a few queries at once.
const BODY_BYTES_MAX: usize = 1 << 20;
const DECODED_BYTES_MAX: usize = 4 << 20;
const RATIO_MAX: usize = 100;
/// Queries of one request.
const QUERIES_MAX: usize = 64;
/// Series read at once.
const STRETCH: usize = 256;

type Result<T> = std::result::Result<T, PromError>;

/// What a query asks, in the store's words.
struct Wanted {
    span: SpanMs,
    matchers: Vec<Matcher>,
}

pub(super) async fn read(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response> {
    check_scope(&caller)?;
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        PromError::too_large(format!("the request is larger than the limit of {BODY_BYTES_MAX} bytes"))
    })?;
    let wanted = wanted(&body)?;
    let text = wanted.iter().map(describe).collect::<Vec<_>>().join(" or ");
    let asked = Asked { tenant: caller.tenant, kind: "remote read", text, timeout: None };
    let done = queries
        .run(asked, move |queries, tenant, budget| {
            let bytes_max = queries.config().memory_bytes_max;
            past_damage(|| {
                let mut answer = Answer::default();
                for wanted in &wanted {
                    let select = Select { matchers: &wanted.matchers, span: wanted.span };
                    let selection = queries.env().metrics.select(tenant, &select, budget)?;
                    let series = selection.series();
                    for from in (0..series.len()).step_by(STRETCH) {
                        let stretch = from..(from + STRETCH).min(series.len());
                        selection.read(stretch, budget, &mut |i, samples| {
                            add(&mut answer, series[i].iter(), samples);
                        })?;
                        check_size(&answer, bytes_max, budget)?;
                    }
                    answer.end_query();
                }
                Ok::<_, ReadError>(answer.finish())
            })
        })
        .await??;
    let headers = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
    Ok((StatusCode::OK, headers, done).into_response())
}

fn check_size(answer: &Answer, bytes_max: usize, budget: &Budget) -> std::result::Result<(), ReadError> {
    budget.check()?;
    if answer.n_bytes() > bytes_max {
        let limit = bytes_max as u64;
        return Err(ReadError::Limit { what: "bytes of answer", limit, setting: "query.memory_bytes_max" });
    }
    Ok(())
}

fn wanted(body: &[u8]) -> Result<Vec<Wanted>> {
    let caps = Caps { decoded_bytes_max: DECODED_BYTES_MAX, ratio_max: RATIO_MAX };
    let body = decompress(Encoding::Snappy, body, caps).map_err(PromError::bad_data)?;
    let request = decode(&body).map_err(PromError::bad_data)?;
    if !request.takes_samples {
        return Err(PromError::bad_data(
            "server does not support any of the requested response types: it answers with SAMPLES",
        ));
    }
    if request.queries.len() > QUERIES_MAX {
        let n = request.queries.len();
        return Err(PromError::bad_data(format!("{n} queries in one request; the limit is {QUERIES_MAX}")));
    }
    request.queries.iter().map(query).collect()
}

fn query(query: &Query<'_>) -> Result<Wanted> {
    let matchers = query.matchers.iter().map(|m| {
        let op = match m.kind {
            MatchKind::Equal => MatchOp::Equal,
            MatchKind::NotEqual => MatchOp::NotEqual,
            MatchKind::Regex => MatchOp::Regex,
            MatchKind::NotRegex => MatchOp::NotRegex,
        };
        Matcher::new(m.name, op, m.value).map_err(PromError::bad_data)
    });
    let matchers = matchers.collect::<Result<Vec<_>>>()?;
    Ok(Wanted { span: SpanMs { start: query.start_ms, end: query.end_ms }, matchers })
}

fn describe(wanted: &Wanted) -> String {
    let matchers = wanted.matchers.iter().map(|m| format!("{}{}{:?}", m.name(), m.op().as_str(), m.value()));
    format!("{{{}}}", matchers.collect::<Vec<_>>().join(","))
}

/// Adds a series if it has samples; stale markers are among them.
fn add<'l>(
    answer: &mut Answer,
    labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    samples: Samples<'_>,
) {
    if samples.t_ms.is_empty() {
        return;
    }
    let mut histograms = samples.histograms.iter().peekable();
    let (mut floats, mut natives) = (Vec::new(), Vec::new());
    for (k, (t_ms, value)) in samples.t_ms.iter().zip(samples.values).enumerate() {
        match histograms.next_if(|(at, _)| *at == k) {
            Some((_, histogram)) => natives.push(native(histogram, *t_ms)),
            None => floats.push(Sample { t_ms: *t_ms, value: *value }),
        }
    }
    answer.series(labels, &floats, &natives);
}

fn native(histogram: &Histogram, t_ms: i64) -> NativeHistogram {
    let side = |buckets: &greylight_store::model::Buckets| NativeBuckets {
        spans: buckets.spans.iter().map(|span| (span.offset, span.length)).collect(),
        counts: buckets.counts.clone(),
    };
    NativeHistogram {
        t_ms,
        reset: match histogram.reset {
            CounterReset::Unknown => ResetHint::Unknown,
            CounterReset::Yes => ResetHint::Yes,
            CounterReset::No => ResetHint::No,
            CounterReset::Gauge => ResetHint::Gauge,
        },
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram.zero_count,
        count: histogram.count,
        sum: histogram.sum,
        positive: side(&histogram.positive),
        negative: side(&histogram.negative),
        custom_bounds: histogram.custom_bounds.clone(),
    }
}
