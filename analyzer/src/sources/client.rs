//! One request to another store.

use std::time::Duration;

use greylight_store::read::ReadError;
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::config::{SourceConfig, SourceError};
use crate::deliver::chain;

/// Largest answer. Samples take some 28 bytes as JSON, so it holds two million.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What an answer that says no is read up to.
const REFUSAL_BYTES_MAX: usize = 16 << 10;
/// How much of it is told.
const TOLD_CHARS: usize = 200;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks one source.
#[derive(Debug)]
pub(super) struct Client {
    name: String,
    base: Url,
    http: reqwest::Client,
    /// Questions are asked by threads that may wait, of which this does the network's work.
    runtime: Handle,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is over [`ANSWER_BYTES_MAX`]; a smaller question may do.
    TooLarge,
    /// As the caller is told.
    Read(ReadError),
}

impl Client {
    pub(super) fn new(config: &SourceConfig) -> Result<Self, SourceError> {
        // Only the first call in a process counts; without one no client is made.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            // Credentials go nowhere but to the address that the operator wrote.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .default_headers(config.header_map()?)
            .user_agent(concat!("greylight/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| config.wrong("url", format!("no HTTP client: {error}")))?;
        let runtime = Handle::try_current()
            .map_err(|_| config.wrong("url", "sources are asked by a runtime, and there is none"))?;
        Ok(Self { name: config.name.clone(), base: config.address()?, http, runtime })
    }

    /// Asks by a form and reads the JSON that is answered.
    pub(super) fn form<T: DeserializeOwned>(&self, path: &str, pairs: &[(&str, String)]) -> Result<T, Fault> {
        let body = encoded(pairs);
        let request = self
            .request(Method::POST, path)?
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        self.json_of(request)
    }

    /// Asks by a query behind the path and reads the JSON that is answered.
    pub(super) fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        pairs: &[(&str, String)],
        headers: &[(&str, &str)],
    ) -> Result<T, Fault> {
        let mut request = self.request(Method::GET, &format!("{path}?{}", encoded(pairs)))?;
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.json_of(request)
    }

    /// Asks by a JSON body and reads the JSON that is answered.
    pub(super) fn body<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, Fault> {
        self.json_of(self.request(Method::POST, path)?.json(body))
    }

    /// Says what is wrong with an answer; asked again it would be the same.
    pub(super) fn wrong(&self, detail: impl Into<String>) -> ReadError {
        self.error(detail, false)
    }

    /// Says what is wrong with an answer; asked again it may be better.
    pub(super) fn failed(&self, detail: impl Into<String>) -> ReadError {
        self.error(detail, true)
    }

    /// Says that an answer is larger than any may be.
    pub(super) fn too_large(&self) -> ReadError {
        let limit = ANSWER_BYTES_MAX >> 20;
        self.wrong(format!("one answer is larger than {limit} MiB; narrow the check's selector or log query"))
    }

    fn error(&self, detail: impl Into<String>, may_pass: bool) -> ReadError {
        ReadError::Elsewhere { source_name: self.name.clone(), detail: detail.into(), may_pass }
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Fault> {
        let url = self.base.join(path).map_err(|e| Fault::Read(self.wrong(format!("{path:?}: {e}"))))?;
        Ok(self.http.request(method, url))
    }

    fn json_of<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Fault> {
        let bytes = self.runtime.block_on(self.answer(request))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let begins = told(&bytes);
            let text =
                format!("its answer is not the JSON that it should be: {error}; it begins with {begins:?}");
            Fault::Read(self.error(text, error.is_eof()))
        })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, Fault> {
        let failed = |error: reqwest::Error| Fault::Read(self.failed(chain(&error.without_url())));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let limit = if status.is_success() { ANSWER_BYTES_MAX } else { REFUSAL_BYTES_MAX };
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            if bytes.len() + part.len() > limit {
                if status.is_success() {
                    return Err(Fault::TooLarge);
                }
                break;
            }
            bytes.extend_from_slice(&part);
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let may_pass = status.is_server_error() || [408, 429].contains(&status.as_u16());
        let says = told(&bytes);
        let text = if status.is_redirection() {
            format!("answered {status}; redirects are not followed")
        } else if says.is_empty() {
            format!("answered {status}")
        } else {
            format!("answered {status}: {says}")
        };
        Err(Fault::Read(self.error(text, may_pass)))
    }
}

/// The beginning of an answer, on one line.
fn told(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(8 * TOLD_CHARS)]);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(TOLD_CHARS).collect()
}

fn encoded(pairs: &[(&str, String)]) -> String {
    let mut url = Url::parse("http://h").expect("this is an address");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_one_short_line() {
        assert_eq!(told(b" bad\n\t\x07 query \xff"), "bad query \u{fffd}");
        assert_eq!(told("长".repeat(1000).as_bytes()).chars().count(), TOLD_CHARS);
    }

    #[test]
    fn forms_are_encoded() {
        let pairs = [("query", "up{a=\"b&c\"}[5m]".to_owned()), ("time", "1.5".to_owned())];
        assert_eq!(encoded(&pairs), "query=up%7Ba%3D%22b%26c%22%7D%5B5m%5D&time=1.5");
    }
}
