//! Outgoing HTTP: the one place that knows of status codes and headers.

use std::time::Duration;

use greylight_wire::compress::Encoding;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};

/// What a page was answered with.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The `Content-Type`, empty if there was none.
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the target did not answer")]
    Transport(#[source] reqwest::Error),
    #[error("the target answered with status {0}")]
    Status(u16),
    #[error("the page is longer than {bytes_max} bytes")]
    TooLong { bytes_max: usize },
}

/// What a sender of batches should do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The batch is stored.
    Accepted,
    /// The batch, or a part of it, will never be stored; the rest is.
    Refused {
        /// How much of it.
        extent: Extent,
        /// What the server said.
        why: String,
    },
    /// The server takes smaller batches only; nothing of this one is stored.
    TooLarge {
        /// What the server said.
        why: String,
    },
    /// The server cannot take it now.
    Later {
        /// What the server said, or why it could not.
        why: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
}

/// How much of a batch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it, or the server does not say.
    All,
    /// So many samples or records.
    Items(u64),
    /// All but so many.
    AllBut(u64),
}

impl Extent {
    /// Returns how many of `items` were refused.
    pub(crate) fn of(self, items: u64) -> u64 {
        match self {
            Self::All => items,
            Self::Items(n) => n.min(items),
            Self::AllBut(n) => items.saturating_sub(n),
        }
    }
}

/// What kind of batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Prometheus remote write 1.0, compressed with snappy.
    RemoteWrite,
    /// OTLP logs as protobuf.
    OtlpLogs(Encoding),
}

/// An HTTP client with the headers that every request carries.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    headers: HeaderMap,
}

// Answers are read for their message; a server that never stops answering must not fill memory.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
// A server that asks for more is not believed: data would wait longer than anyone looks.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

impl Client {
    /// Makes a client for scraping.
    pub(crate) fn for_scraping() -> Result<Self, reqwest::Error> {
        // Redirects could lead from a declared target to anywhere.
        let http = builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(Self { http, headers })
    }

    /// Makes a client for sending batches.
    pub(crate) fn for_sending(
        name: &str,
        token: Option<&str>,
        tenant: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        // A POST that is redirected may go on as a GET without its body, and the page it finds would look like
        // success.
        let http = builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let bearer = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}")));
        // Both were checked when the configuration was read.
        if let Some(Ok(mut bearer)) = bearer {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        // Only for a Greylight server's list of agents, which does without a name that is no header.
        if let Ok(name) = HeaderValue::from_str(name) {
            headers.insert(HeaderName::from_static("x-greylight-agent"), name);
        }
        if let Some(Ok(tenant)) = tenant.map(HeaderValue::from_str) {
            headers.insert(HeaderName::from_static("x-scope-orgid"), tenant);
        }
        Ok(Self { http, headers })
    }

    /// Reads a page of at most `bytes_max` bytes.
    pub(crate) async fn fetch(
        &self,
        url: &str,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let request = self.http.get(url).headers(self.headers.clone()).timeout(timeout);
        let mut response = request.send().await.map_err(FetchError::Transport)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(FetchError::Transport)? {
            if body.len() + piece.len() > bytes_max {
                return Err(FetchError::TooLong { bytes_max });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Fetched { content_type, body })
    }

    /// Sends a batch.
    pub(crate) async fn send(&self, url: &str, content: Content, body: Vec<u8>) -> Answer {
        let request = self.http.post(url).headers(self.headers.clone()).body(body);
        let request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let request = match content {
            Content::RemoteWrite => request
                .header(CONTENT_ENCODING, "snappy")
                .header("x-prometheus-remote-write-version", "0.1.0"),
            Content::OtlpLogs(Encoding::Identity) => request,
            Content::OtlpLogs(encoding) => request.header(CONTENT_ENCODING, encoding.name()),
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(e) => return Answer::Later { why: chain(&e), after: None },
        };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let after = header(RETRY_AFTER.as_str()).and_then(retry_after);
        let n_written = header(SAMPLES_WRITTEN).and_then(|value| value.trim().parse().ok());
        let mut answer = Vec::new();
        while answer.len() < ANSWER_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(piece)) => answer.extend_from_slice(&piece),
                Ok(None) => break,
                // The batch may be stored or not; sent again it is stored once.
                Err(e) => return Answer::Later { why: chain(&e), after: None },
            }
        }
        decide(status, Told { after, n_written }, content, &answer)
    }
}

/// What an answer's headers tell.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// How long the server wants to be left alone.
    after: Option<Duration>,
    /// Samples that it has stored.
    n_written: Option<u64>,
}

/// Remote write's own header, of its version 2.0; a Greylight server sets it for 1.0 as well.
const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";
const AGENT: &str = concat!("greylight-agent/", env!("CARGO_PKG_VERSION"));
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";

fn builder() -> reqwest::ClientBuilder {
    // The first of several crates in a process to install it wins; all of them install this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// Turns a status into what to do.
///
/// A redirect, 401, 403, 404, 405 and 407 are a wrong setting, which someone will mend: the data is kept. What the
/// server refuses by its content would be refused for ever.
fn decide(status: u16, told: Told, content: Content, answer: &[u8]) -> Answer {
    let why = || {
        let text = String::from_utf8_lossy(answer);
        let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        format!("status {status}: {text}")
    };
    match status {
        200..=299 => match partial(content, answer) {
            Some((n_refused, why)) => Answer::Refused { extent: Extent::Items(n_refused), why },
            None => Answer::Accepted,
        },
        413 => Answer::TooLarge { why: why() },
        300..=399 | 401 | 403..=405 | 407 | 408 | 425 | 429 | 500..=599 => {
            Answer::Later { why: why(), after: told.after }
        }
        _ => Answer::Refused { extent: told.n_written.map_or(Extent::All, Extent::AllBut), why: why() },
    }
}

/// Reads the message of an OTLP answer that says that some records were refused; they must not be sent again.
fn partial(content: Content, answer: &[u8]) -> Option<(u64, String)> {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
    use prost::Message as _;
    if !matches!(content, Content::OtlpLogs(_)) {
        return None;
    }
    let partial = ExportLogsServiceResponse::decode(answer).ok()?.partial_success?;
    let n_refused = u64::try_from(partial.rejected_log_records).ok().filter(|n| *n > 0)?;
    Some((n_refused, format!("{n_refused} records were refused: {}", partial.error_message)))
}

/// Reads `Retry-After` in seconds. The other form, a date, is of no use between clocks that differ.
fn retry_after(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Returns an error with its causes in one line; the outermost one alone says nothing.
pub(crate) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_mended_is_dropped_and_everything_else_is_kept() {
        let after = Some(Duration::from_secs(2));
        let decide =
            |status, n_written| decide(status, Told { after, n_written }, Content::RemoteWrite, b"no\nway");
        assert_eq!(decide(204, None), Answer::Accepted);
        let why = || "status 400: noway".to_owned();
        assert_eq!(decide(400, None), Answer::Refused { extent: Extent::All, why: why() });
        assert_eq!(decide(400, Some(7)), Answer::Refused { extent: Extent::AllBut(7), why: why() });
        for status in [402, 406, 409, 410, 411, 414, 415, 417, 418, 421, 422, 426, 431, 451] {
            assert!(matches!(decide(status, None), Answer::Refused { .. }), "{status}");
        }
        assert!(matches!(decide(413, None), Answer::TooLarge { .. }));
        for status in [301, 302, 308, 401, 403, 404, 405, 407, 408, 425, 429, 500, 503] {
            assert!(matches!(decide(status, None), Answer::Later { after: Some(_), .. }), "{status}");
        }
    }

    #[test]
    fn a_refusal_may_be_of_a_part() {
        assert_eq!([Extent::All, Extent::Items(9), Extent::Items(2)].map(|extent| extent.of(5)), [5, 5, 2]);
        assert_eq!([Extent::AllBut(2), Extent::AllBut(9)].map(|extent| extent.of(5)), [3, 0]);
    }

    #[test]
    fn a_server_may_ask_for_five_minutes_at_most() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("86400"), Some(Duration::from_secs(300)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
    }
}
