//! Speaks to a server for the commands that ask one.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::Remote;

/// Answers larger than this are refused rather than held in memory.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A server, as one caller sees it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    remote: Remote,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    pub(crate) fn new(remote: &Remote) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(120))
            .user_agent(concat!("greylight/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("making an HTTP client")?;
        let base = remote.server.trim_end_matches('/').to_string();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("--server {base:?} is no URL; write it as http://HOST:PORT");
        }
        Ok(Self { http, base, remote: remote.clone() })
    }

    /// Returns the server's address, for links.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.remote.token {
            request = request.bearer_auth(token);
        }
        if let Some(tenant) = &self.remote.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        request
    }

    /// Gets a JSON document.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let text: Vec<String> = query.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
        let path = if text.is_empty() { path.to_string() } else { format!("{path}?{}", text.join("&")) };
        self.answer(self.request(reqwest::Method::GET, &path)).await
    }

    /// Posts a JSON document and returns the answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.answer(self.request(reqwest::Method::POST, path).json(body)).await
    }

    /// Posts a JSON document to what may work for hours before it answers.
    pub(crate) async fn post_and_wait(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(reqwest::Method::POST, path).json(body);
        self.answer(request.timeout(Duration::from_secs(24 * 3600))).await
    }

    /// Deletes something.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(self.request(reqwest::Method::DELETE, path)).await
    }

    /// Posts a JSON document and returns the answer as it came, and whether it says that it was cut.
    pub(crate) async fn post_for_bytes(&self, path: &str, body: &Value) -> anyhow::Result<(Vec<u8>, bool)> {
        let request = self.request(reqwest::Method::POST, path).json(body);
        let (headers, body) = self.bytes(request).await?;
        Ok((body, headers.get("greylight-truncated").is_some_and(|v| v == "true")))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let (_, body) = self.bytes(request).await?;
        Ok(value_of(&body))
    }

    /// Sends a request and reads the answer; an answer that is a refusal is an error.
    async fn bytes(
        &self,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<(reqwest::header::HeaderMap, Vec<u8>)> {
        let mut response = request.send().await.with_context(|| {
            format!("cannot reach the server at {}; is it running, and is --server right?", self.base)
        })?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.context("reading the answer")? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                bail!("the answer is over {ANSWER_BYTES_MAX} bytes; ask for less");
            }
            body.extend_from_slice(&part);
        }
        if status.is_success() {
            return Ok((response.headers().clone(), body));
        }
        bail!("{}", refusal(status.as_u16(), &value_of(&body)))
    }
}

/// Reads a body as JSON, or as text where it is none.
fn value_of(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// Puts an error answer of any of our envelopes into one line.
fn refusal(status: u16, body: &Value) -> String {
    let ours = &body["error"];
    let mut text = match (ours["message"].as_str(), ours.as_str(), body.as_str()) {
        (Some(message), _, _) | (None, Some(message), _) => message.to_string(),
        (None, None, Some(plain)) => plain.trim().chars().take(500).collect(),
        (None, None, None) => "no reason given".to_string(),
    };
    if let Some(field) = ours["field"].as_str() {
        text = format!("{field}: {text}");
    }
    if status == 401 {
        text.push_str("; give a token with --token or GREYLIGHT_TOKEN");
    }
    format!("the server answered {status}: {text}")
}

/// Encodes a query value.
pub(crate) fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_field_and_reason() {
        let body = serde_json::json!({"error": {"kind": "invalid", "message": "unknown key", "field": "checks[0].foo"}});
        assert_eq!(refusal(400, &body), "the server answered 400: checks[0].foo: unknown key");
        let prometheus =
            serde_json::json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
        assert_eq!(refusal(400, &prometheus), "the server answered 400: parse error");
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("a b{c=\"d\"}"), "a%20b%7Bc%3D%22d%22%7D");
    }
}
