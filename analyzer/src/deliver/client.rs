//! One attempt to post a message.

use std::net::SocketAddr;
use std::time::Duration;

use super::guard::AllowList;
use super::message::Message;
use super::sign::signature;

/// A receiver's answer is read up to this, only to say what went wrong.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The receiver took it.
    Delivered,
    /// Worth another try, after this wait where the receiver named one.
    Failed { why: String, retry_after: Option<Duration> },
    /// The receiver wants nothing any more.
    Gone,
}

/// Posts one message, once.
///
/// The host is resolved here, every address checked, and the connection made to a checked address:
/// an answer of the name service that changes in between cannot lead elsewhere.
pub(crate) async fn post(
    message: &Message,
    id: &str,
    now_s: i64,
    allow: &AllowList,
    timeout: Duration,
) -> Attempt {
    match try_post(message, id, now_s, allow, timeout).await {
        Ok(attempt) => attempt,
        Err(why) => Attempt::Failed { why, retry_after: None },
    }
}

async fn try_post(
    message: &Message,
    id: &str,
    now_s: i64,
    allow: &AllowList,
    timeout: Duration,
) -> Result<Attempt, String> {
    let url = message.webhook.url();
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']).to_string();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|e| format!("host {host} was not found: {e}"))?.collect();
    for address in &addresses {
        allow.check(&host, address.ip()).map_err(|e| e.to_string())?;
    }
    if addresses.is_empty() {
        return Err(format!("host {host} has no address"));
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .resolve_to_addrs(&host, &addresses)
        .build()
        .map_err(|e| format!("no HTTP client: {e}"))?;
    let mut request = client
        .post(url.clone())
        .header("content-type", "application/json")
        .header("user-agent", concat!("greylight/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", now_s.to_string());
    if let Some(secret) = message.webhook.secret() {
        request = request.header("webhook-signature", signature(secret, id, now_s, message.body.as_bytes()));
    }
    let response = request.body(message.body.clone()).send().await.map_err(|e| chain(&e))?;
    Ok(read(response).await)
}

async fn read(mut response: reqwest::Response) -> Attempt {
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|v| v.to_str().ok()?.parse().ok())
        .map(|s: u64| Duration::from_secs(s.min(3600)));
    let mut n_bytes = 0;
    // Drained within the cap, so that the receiver sees an orderly end; the text is not kept.
    while let Ok(Some(part)) = response.chunk().await {
        n_bytes += part.len();
        if n_bytes > ANSWER_BYTES_MAX {
            break;
        }
    }
    match status.as_u16() {
        200..=299 => Attempt::Delivered,
        410 => Attempt::Gone,
        300..=399 => {
            Attempt::Failed { why: format!("answered {status}; redirects are not followed"), retry_after }
        }
        _ => Attempt::Failed { why: format!("answered {status}"), retry_after },
    }
}

/// Says an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
