//! What is sent, and to whom.

use greylight_store::model::{ErrorKind, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sign::Secret;

/// Where a verdict or alert is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    url: reqwest::Url,
    secret: Option<Secret>,
}

/// Why a webhook cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// The address is no URL that can be posted to.
    #[error("{url:?} is no http or https URL with a host and without credentials")]
    Url {
        /// The refused text.
        url: String,
    },
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] super::sign::SecretError),
}

impl WebhookError {
    /// Says what is wrong at which field of a webhook, without the secret.
    pub(crate) fn problem(&self, path: &str) -> Problem {
        match self {
            Self::Url { url } => {
                Problem::new(ErrorKind::Invalid, self).field(format!("{path}.url")).value(url.clone())
            }
            Self::Secret(_) => Problem::new(ErrorKind::Invalid, self).field(format!("{path}.secret")),
        }
    }
}

impl Webhook {
    /// Longest address in bytes.
    pub(crate) const URL_BYTES_MAX: usize = 2048;

    /// Parses an address and its secret; without a secret nothing is signed.
    ///
    /// # Errors
    /// [`WebhookError`] when either cannot be used.
    pub(crate) fn parse(url: &str, secret: Option<&str>) -> Result<Self, WebhookError> {
        let bad = || WebhookError::Url { url: url.chars().take(200).collect() };
        if url.len() > Self::URL_BYTES_MAX {
            return Err(bad());
        }
        let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
        let plain = parsed.username().is_empty() && parsed.password().is_none();
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() || !plain {
            return Err(bad());
        }
        Ok(Self { url: parsed, secret: secret.map(Secret::parse).transpose()? })
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> &reqwest::Url {
        &self.url
    }

    /// Returns the secret as it is stored.
    pub(crate) fn secret_text(&self) -> Option<String> {
        self.secret.as_ref().map(Secret::expose)
    }

    /// Returns the secret.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Names the queue of the outbox: one a target, so that a dead target holds up no other.
    pub(crate) fn queue(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or(0);
        format!("{}://{}:{port}", self.url.scheme(), self.url.host_str().unwrap_or(""))
    }
}

/// One message as it lies in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// Where it goes.
    pub(crate) webhook: Webhook,
    /// The body, exactly as it is sent and signed.
    pub(crate) body: String,
}

/// On disk, format 1. The secret is stored since each attempt is signed anew.
#[derive(Serialize, Deserialize)]
struct Format {
    version: u32,
    url: String,
    secret: Option<String>,
    body: String,
}

impl Message {
    /// Makes a Standard Webhooks payload: type, time and data.
    pub(crate) fn new(webhook: Webhook, kind: &str, timestamp: &str, data: &Value) -> Self {
        let body = serde_json::json!({ "type": kind, "timestamp": timestamp, "data": data }).to_string();
        Self { webhook, body }
    }

    /// Encodes the message for the outbox.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let format = Format {
            version: 1,
            url: self.webhook.url.to_string(),
            secret: self.webhook.secret_text(),
            body: self.body.clone(),
        };
        serde_json::to_vec(&format).expect("texts always become JSON")
    }

    /// Decodes a message from the outbox; nothing where it is not one of ours.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let format: Format = serde_json::from_slice(bytes).ok().filter(|f: &Format| f.version == 1)?;
        let webhook = Webhook::parse(&format.url, format.secret.as_deref()).ok()?;
        Some(Self { webhook, body: format.body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_from_the_outbox() {
        let webhook =
            Webhook::parse("http://deploy.example/verdict", Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
                .unwrap();
        let message =
            Message::new(webhook, "release.verdict", "2026-11-21T10:00:00Z", &serde_json::json!({ "a": 1 }));
        assert_eq!(Message::from_bytes(&message.to_bytes()), Some(message));
        assert_eq!(Message::from_bytes(b"{}"), None);
    }

    #[test]
    fn addresses_that_cannot_be_posted_to_are_refused() {
        for bad in ["", "deploy", "ftp://x/", "http://u:p@x/", "file:///etc/passwd", "javascript:1"] {
            assert!(Webhook::parse(bad, None).is_err(), "{bad}");
        }
        assert_eq!(Webhook::parse("https://x/a", None).unwrap().queue(), "https://x:443");
    }
}
