//! The deploy tool: receives verdicts, checks who sent them, and obeys.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use greylight_analyzer::{Secret, signature};
use greylight_store::model::{Clock, Random};
use serde_json::Value;
use tokio::sync::mpsc;

/// Messages older or newer than this are refused, as the specification of the webhooks asks.
const CLOCK_SKEW_S: i64 = 300;
/// Verdicts that wait to be obeyed; a release has a handful.
const QUEUE: usize = 64;

/// A running receiver of webhooks.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The secret that senders sign with.
    pub(crate) secret: String,
    /// Verdicts that were signed right, in the order in which they came.
    pub(crate) verdicts: mpsc::Receiver<Value>,
    task: tokio::task::JoinHandle<()>,
}

struct Inner {
    secret: Secret,
    clock: Arc<dyn Clock>,
    verdicts: mpsc::Sender<Value>,
}

impl Receiver {
    /// Starts the receiver on a free port with a new secret.
    pub(crate) async fn start(clock: Arc<dyn Clock>, random: &dyn Random) -> anyhow::Result<Self> {
        use base64::Engine;
        let bytes: Vec<u8> = (0..4).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        let secret = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, verdicts) = mpsc::channel(QUEUE);
        let inner = Arc::new(Inner { secret: Secret::parse(&secret)?, clock, verdicts: sender });
        let router = axum::Router::new().route("/verdict", post(receive)).with_state(inner);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the deploy tool ended: {error}");
            }
        });
        Ok(Self { address, secret, verdicts, task })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(tool): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !is_genuine(&tool, &headers, &body) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    if message["type"].as_str() == Some("release.verdict")
        && tool.verdicts.send(message["data"].clone()).await.is_err()
    {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::NO_CONTENT
}

/// Checks the signature and that the message is not a recording.
fn is_genuine(tool: &Inner, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (Some(id), Some(time), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let Ok(time) = time.parse::<i64>() else { return false };
    let now_s = tool.clock.now().as_millis() / 1000;
    let expected = blake3::hash(signature(&tool.secret, id, time, body).as_bytes());
    // Compared by hash, so that the time it takes tells nothing.
    (now_s - time).abs() <= CLOCK_SKEW_S
        && signatures.split(' ').any(|shown| blake3::hash(shown.as_bytes()) == expected)
}

#[cfg(test)]
mod tests {
    use greylight_store::model::{ManualClock, Timestamp};

    use super::*;

    #[test]
    fn forged_altered_and_old_messages_are_refused() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(1_000_000_000));
        let tool = Inner { secret: secret.clone(), clock: Arc::new(clock), verdicts: mpsc::channel(1).0 };
        let headers = |time: i64, body: &[u8]| -> HeaderMap {
            let pairs = [
                ("webhook-id", "msg_1".to_string()),
                ("webhook-timestamp", time.to_string()),
                ("webhook-signature", signature(&secret, "msg_1", time, body)),
            ];
            pairs
                .into_iter()
                .map(|(n, v)| (n.parse::<axum::http::HeaderName>().unwrap(), v.parse().unwrap()))
                .collect()
        };
        assert!(is_genuine(&tool, &headers(1_000_000, b"a"), b"a"));
        assert!(!is_genuine(&tool, &headers(1_000_000, b"a"), b"b"));
        assert!(!is_genuine(&tool, &headers(1_000_000 - 301, b"a"), b"a"));
        assert!(!is_genuine(&tool, &HeaderMap::new(), b"a"));
    }
}
