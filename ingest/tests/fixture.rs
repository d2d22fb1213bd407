//! A server on a temporary folder, without sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::{Extension, Router};
use greylight_ingest::{Ingest, IngestConfig};
use greylight_store::model::{Caller, Histogram, ManualClock, Matcher, Scopes, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits, MetricSource as _, Select, SpanMs};
use greylight_store::{Store, StoreConfig, StoreEnv};
use greylight_wire::compress::{Encoding, encode};
use greylight_wire::exposition::{Format, Writer};
use tower::ServiceExt as _;

/// 2026-11-21T10:00:00Z, the time of every test.
pub(crate) const NOW_MS: i64 = 1_795_255_200_000;

/// A store, its receivers and their routers.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) ingest: Ingest,
    pub(crate) clock: ManualClock,
    _folder: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the answer is text")
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(IngestConfig::default()).await
    }

    /// Starts with settings given as JSON, as from a file.
    pub(crate) async fn with_json(json: &str) -> Self {
        Self::with(serde_json::from_str(json).expect("settings")).await
    }

    pub(crate) async fn with(config: IngestConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut env = StoreEnv::on_folder(folder.path()).expect("the folder is ours");
        let clock = ManualClock::at(Timestamp::from_millis(NOW_MS));
        env.clock = Arc::new(clock.clone());
        let store = Store::open(StoreConfig::default(), env).await.expect("the store opens");
        let ingest = Ingest::new(config, store.appender(), Arc::new(clock.clone())).expect("valid settings");
        Self { store, ingest, clock, _folder: folder }
    }

    /// The HTTP router behind an authentication that lets everyone do everything.
    pub(crate) fn router(&self) -> Router {
        let caller = Caller { tenant: TenantId::default(), scopes: Scopes::all() };
        greylight_ingest::http::router(self.ingest.clone()).layer(Extension(caller))
    }

    /// Posts a body with these headers.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(self.router(), request.body(body.into()).expect("a request")).await
    }

    /// Posts to remote write 1.0, compressing.
    pub(crate) async fn write(&self, body: &[u8]) -> Answer {
        self.post("/api/v1/write", &[], encode(Encoding::Snappy, body)).await
    }

    /// Every sample of series that have this name: `labels @time value`, sorted.
    pub(crate) fn samples(&self, name: &str) -> Vec<String> {
        let reader = self.store.reader();
        let budget = Budget::new(Limits::default(), Arc::new(self.clock.clone()));
        let matchers = [Matcher::equal("__name__", name)];
        let select = Select { matchers: &matchers, span: SpanMs::ALL };
        let found = reader.select(&TenantId::default(), &select, &budget).expect("readable");
        let series = found.series().to_vec();
        let mut seen = Vec::new();
        found
            .read(0..series.len(), &budget, &mut |index, samples| {
                for (t_ms, value) in samples.t_ms.iter().zip(samples.values) {
                    seen.push(format!("{} @{t_ms} {value}", series[index]));
                }
            })
            .expect("readable");
        seen.sort();
        seen
    }

    /// Every native histogram of series that have this name, with its time.
    pub(crate) fn histograms(&self, name: &str) -> Vec<(i64, Histogram)> {
        let reader = self.store.reader();
        let budget = Budget::new(Limits::default(), Arc::new(self.clock.clone()));
        let matchers = [Matcher::equal("__name__", name)];
        let select = Select { matchers: &matchers, span: SpanMs::ALL };
        let found = reader.select(&TenantId::default(), &select, &budget).expect("readable");
        let mut seen = Vec::new();
        let mut sink = |_, samples: greylight_store::read::Samples<'_>| {
            let one =
                |(at, histogram): &(usize, Arc<Histogram>)| (samples.t_ms[*at], Histogram::clone(histogram));
            seen.extend(samples.histograms.iter().map(one));
        };
        found.read(0..found.series().len(), &budget, &mut sink).expect("readable");
        seen
    }

    /// Every exemplar: `series own labels @time value`, sorted by series and time.
    pub(crate) fn exemplars(&self) -> Vec<String> {
        let budget = Budget::new(Limits::default(), Arc::new(self.clock.clone()));
        let reader = self.store.reader();
        let found = reader.exemplars(&TenantId::default(), &[], SpanMs::ALL, &budget).expect("readable");
        let of = |series: greylight_store::model::Labels, list: Vec<_>| {
            let word = |e: greylight_store::model::Exemplar| {
                format!("{series} {} @{} {}", e.labels, e.t_ms, e.value)
            };
            list.into_iter().map(word).collect::<Vec<_>>()
        };
        found.into_iter().flat_map(|(series, list)| of(series, list)).collect()
    }

    /// Our own metrics, as text.
    pub(crate) fn page(&self) -> String {
        let mut page = Writer::new(Format::PrometheusText);
        self.ingest.stats().render(&mut page);
        page.finish()
    }
}

pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let answer: Response<Body> = router.oneshot(request).await.expect("routers do not fail");
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("the answer ends");
    Answer { status: parts.status, headers: parts.headers, body: body.to_vec() }
}

/// A body that never comes.
pub(crate) fn stalled() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>())
}

/// Runs until the other tasks have nothing left to do for now.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Ten minutes, what may lie in the future by default.
pub(crate) const FUTURE_MAX: Duration = Duration::from_secs(600);
