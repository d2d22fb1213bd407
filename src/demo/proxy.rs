//! The proxy that splits requests over the instances by weight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use greylight_store::model::Random;

/// Where requests go, in parts of all of them; the parts add up to one.
pub(crate) type Shares = Vec<(SocketAddr, f64)>;

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    shares: Arc<std::sync::RwLock<Shares>>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Inner {
    shares: Arc<std::sync::RwLock<Shares>>,
    http: reqwest::Client,
    random: Arc<dyn Random>,
}

impl Proxy {
    /// Starts a proxy on a free port.
    pub(crate) async fn start(shares: Shares, random: Arc<dyn Random>) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let shares = Arc::new(std::sync::RwLock::new(shares));
        let inner = Inner { shares: shares.clone(), http, random };
        let router = axum::Router::new().route("/{*path}", get(forward)).with_state(inner);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the proxy ended: {error}");
            }
        });
        Ok(Self { shares, address, task })
    }

    /// Returns the address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Moves the traffic.
    pub(crate) fn split(&self, shares: Shares) {
        *self.shares.write().unwrap_or_else(std::sync::PoisonError::into_inner) = shares;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(State(proxy): State<Inner>, Path(path): Path<String>) -> Response {
    let Some(target) = pick(&proxy) else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    match proxy.http.get(format!("http://{target}/{path}")).send().await {
        Ok(answer) => {
            let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
            let body = answer.bytes().await.unwrap_or_default();
            (status, body).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn pick(proxy: &Inner) -> Option<SocketAddr> {
    let shares = proxy.shares.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut left = (proxy.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    for (address, share) in shares.iter().filter(|(_, share)| *share > 0.0) {
        if left < *share {
            return Some(*address);
        }
        left -= share;
    }
    shares.iter().rev().find(|(_, share)| *share > 0.0).map(|(address, _)| *address)
}
