//! `greylight serve` and `greylight agent`: joins the crates, listens, and ends in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use greylight_analyzer::{Analyzer, AnalyzerEnv};
use greylight_ingest::Ingest;
use greylight_query::{Queries, QueryEnv};
use greylight_store::model::{Clock, OsRandom, Random, SystemClock};
use greylight_store::{Store, StoreEnv};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{self, Signal, SignalKind};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::auth::{self, Gatekeeper};
use crate::cli;
use crate::commands::exit;
use crate::config::{Config, GrpcListen};

/// Requests under way get this long to finish after a signal; a second signal ends it at once.
const DRAIN: Duration = Duration::from_secs(10);
/// Threads that wait for disks and compute; CPU work beyond it queues.
const BLOCKING_THREADS: usize = 64;

/// Runs a server until it is told to end.
pub(crate) fn run(args: cli::Serve) -> anyhow::Result<u8> {
    let config = configure(&args)?;
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(config, args.disable_feature))?;
    Ok(exit::OK)
}

/// Runs the agent until it is told to end.
pub(crate) fn run_agent(args: cli::Agent) -> anyhow::Result<u8> {
    log_to_stderr();
    greylight_agent::run(args.config.as_deref())?;
    Ok(exit::OK)
}

fn configure(args: &cli::Serve) -> anyhow::Result<Config> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if let Some(text) = &args.grpc_listen {
        config.server.grpc_listen =
            GrpcListen::try_from(text.clone()).map_err(|e| anyhow::anyhow!("--grpc-listen: {e}"))?;
    }
    if let Some(data) = &args.data {
        config.server.data = data.clone();
    }
    config.server.insecure |= args.insecure;
    let open = [Some(config.server.listen), config.server.grpc_listen.0];
    let exposed = open.into_iter().flatten().find(|address| !address.ip().is_loopback());
    if let Some(address) = exposed.filter(|_| config.auth.tokens.is_empty() && !config.server.insecure) {
        anyhow::bail!(
            "listening on {address} would let everyone in: configure [auth] tokens (greylight token makes one), \
             or say --insecure if something else guards it"
        );
    }
    Ok(config)
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GREYLIGHT_LOG").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new("info,tantivy=warn,sqlx=warn,datafusion=warn")
    });
    let logger = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr);
    // Only the first call in a process counts.
    let _ = logger.try_init();
}

async fn serve(config: Config, disabled: Vec<String>) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let keeper = Gatekeeper::new(&config.auth)?;
    // Bound before anything is opened: an address in use is the most common mistake.
    let listener = bind(config.server.listen).await?;
    let grpc_listener = match config.server.grpc_listen.0 {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let store = open_store(&config, clock.clone(), random.clone()).await?;
    let ingest = Ingest::new(config.ingest.clone(), store.appender(), clock.clone())?;
    let analyzer = Analyzer::new(
        AnalyzerEnv {
            records: store.records(),
            metrics: Arc::new(store.reader()),
            appender: store.appender(),
            logs: Arc::new(store.reader()),
            clock: clock.clone(),
            random,
        },
        &config.analyzer,
        &config.deliveries,
        &config.anomaly,
        &config.rules,
    )?;
    analyzer.set_address(&format!("http://{}", listener.local_addr()?));
    let analyzer = Arc::new(analyzer);
    let queries = Queries::new(
        QueryEnv {
            metrics: Arc::new(store.reader()),
            logs: Arc::new(store.reader()),
            views: analyzer.views(),
            clock: clock.clone(),
        },
        config.query.clone(),
        &disabled,
    )?;
    let running = analyzer.start().await.context("going on with what was under way")?;
    let limits = admin::Limits {
        head_bytes: config.store.head_bytes_max.0,
        receiving_bytes: config.ingest.in_flight_bytes_max.0,
        query_bytes: config.query.memory_bytes_max as u64,
    };
    let admin =
        Admin::new(store.clone(), ingest.clone(), queries.clone(), analyzer.clone(), limits, clock.clone());
    let app = axum::Router::new()
        .merge(greylight_ingest::http::router(ingest.clone()))
        .merge(greylight_query::http::router(queries.clone()))
        .merge(greylight_analyzer::http::router(&analyzer))
        .merge(admin::router(admin))
        .merge(greylight_dashboards::http::router())
        .layer(axum::middleware::from_fn_with_state(keeper.clone(), auth::authenticate));
    let grpc = greylight_ingest::grpc::router(ingest)
        // Both answer what they do not know alike; a router has one such answer.
        .merge(greylight_query::grpc::router(queries).reset_fallback())
        .layer(axum::middleware::from_fn_with_state(keeper, auth::authenticate));

    let addresses = json!({
        "http": listener.local_addr()?.to_string(),
        "grpc": grpc_listener.as_ref().map(|l| l.local_addr().map(|a| a.to_string())).transpose()?,
        "data": config.server.data.display().to_string(),
    });
    // Whoever reads the addresses may end the server at once.
    let mut signals = Signals::new().context("waiting for signals")?;
    println!("{addresses}");

    let stop = CancellationToken::new();
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(listen(listener, app, stop.clone()));
    if let Some(grpc_listener) = grpc_listener {
        servers.spawn(listen(grpc_listener, grpc, stop.clone()));
    }
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        Some(ended) = servers.join_next() => ended.context("a listener panicked").and_then(|e| e),
    };
    tracing::info!("draining");
    stop.cancel();
    let drain = async { while servers.join_next().await.is_some() {} };
    tokio::select! {
        () = drain => {}
        () = clock.sleep(DRAIN) => tracing::warn!("some requests did not finish within {} s", DRAIN.as_secs()),
        () = signals.next() => tracing::warn!("told twice: ending without the requests under way"),
    }
    running.shutdown().await;
    store.shutdown().await.context("closing the store")?;
    tracing::info!("ended");
    ended
}

async fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> anyhow::Result<Store> {
    let folder = &config.server.data;
    let env = environment(folder)?.with_catalog(config.store.catalog.as_ref());
    let env = StoreEnv { clock, random, ..env };
    Store::open(config.store.clone(), env).await.with_context(|| format!("opening {}", folder.display()))
}

fn environment(folder: &Path) -> anyhow::Result<StoreEnv> {
    StoreEnv::on_folder(folder).with_context(|| format!("opening {}", folder.display()))
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; is another server running there? choose another address, or port 0"
        )
    })
}

async fn listen(listener: TcpListener, router: axum::Router, stop: CancellationToken) -> anyhow::Result<()> {
    let tcp = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // Small answers should not wait for more to send.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(tcp, router).with_graceful_shutdown(stop.cancelled_owned()).await.context("serving")
}

/// SIGTERM and SIGINT, caught from the moment that this is made.
#[derive(Debug)]
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
