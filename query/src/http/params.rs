//! What a request asks: parameters of its address and of its form, in Prometheus's notation.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use greylight_store::model::Timestamp;

use crate::promql::syntax::parse_duration_ms;

/// Largest body of a request; queries are small, lists of matchers may be long.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Pairs of a request, those of its form first.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
}

/// A parameter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid parameter \"{name}\": {detail}")]
pub(super) struct BadParam {
    pub(super) name: String,
    pub(super) detail: String,
}

impl BadParam {
    pub(super) fn new(name: &str, detail: impl std::fmt::Display) -> Self {
        Self { name: name.into(), detail: detail.to_string() }
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let mut params = Self::default();
        if parts.method == Method::POST {
            let content = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
            let is_form = content.is_empty() || content.starts_with("application/x-www-form-urlencoded");
            let body: Bytes = axum::body::to_bytes(body, BODY_BYTES_MAX)
                .await
                .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
            if is_form {
                params.add(&body);
            } else if content.starts_with("application/json") {
                params.add_json(&body).map_err(|()| StatusCode::BAD_REQUEST.into_response())?;
            }
        }
        params.add(parts.uri.query().unwrap_or("").as_bytes());
        Ok(params)
    }
}

impl Params {
    fn add(&mut self, form: &[u8]) {
        for pair in form.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or(b"");
            self.pairs.push((percent_decoded(&pair[..at]), percent_decoded(value)));
        }
    }

    /// Takes the members of a JSON object; lists give a pair for each of their items.
    fn add_json(&mut self, body: &[u8]) -> Result<(), ()> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(body).map_err(|_| ())?;
        for (name, value) in object {
            let items = match value {
                serde_json::Value::Array(items) => items,
                value => vec![value],
            };
            for item in items {
                let text = match item {
                    serde_json::Value::Null => continue,
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                self.pairs.push((name.clone(), text));
            }
        }
        Ok(())
    }

    /// Returns an instant to the nanosecond; seconds of a plain number are read to the millisecond.
    pub(super) fn instant(&self, name: &str) -> Result<Option<Timestamp>, BadParam> {
        let exact = self.get(name).and_then(parse_rfc3339);
        Ok(match exact {
            Some(t) => Some(t),
            None => self.time_ms(name)?.map(Timestamp::from_millis),
        })
    }

    /// Returns the first value of a name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// Returns all values of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Returns a time in milliseconds.
    pub(super) fn time_ms(&self, name: &str) -> Result<Option<i64>, BadParam> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match parse_time_ms(text) {
            Some(t) => Ok(Some(t)),
            None => {
                let detail =
                    format!("invalid time value for '{name}': cannot parse {text:?} to a valid timestamp");
                Err(BadParam::new(name, detail))
            }
        }
    }

    /// Returns a duration: seconds, or as Prometheus writes it.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, BadParam> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = || BadParam::new(name, format!("cannot parse {text:?} to a valid duration"));
        let seconds = match text.parse::<f64>() {
            Ok(seconds) => seconds,
            Err(_) => parse_duration_ms(text).ok_or_else(bad)? as f64 / 1000.0,
        };
        // What is negative, endless or no number is no duration; the caller refuses zero.
        let ms = (seconds * 1000.0).round();
        if (0.0..9.2e15).contains(&ms) { Ok(Some(Duration::from_millis(ms as u64))) } else { Err(bad()) }
    }

    /// Returns a count.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, BadParam> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| BadParam::new(name, format!("cannot parse {text:?} to a whole number")))
    }
}

/// Reads a time: seconds since the epoch, or RFC 3339; in milliseconds.
pub fn parse_time_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return (ms.abs() < 9.2e18).then_some(ms as i64);
    }
    parse_rfc3339(text).map(Timestamp::as_millis)
}

/// Reads a time of RFC 3339.
pub(super) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    i64::try_from(nanos).ok().map(Timestamp::from_nanos)
}

fn percent_decoded(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        match bytes[i] {
            b'+' => out.push(b' '),
            b'%' => match (bytes.get(i + 1).and_then(|b| hex(*b)), bytes.get(i + 2).and_then(|b| hex(*b))) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    i += 2;
                }
                _ => out.push(b'%'),
            },
            b => out.push(b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(form: &str) -> Params {
        let mut params = Params::default();
        params.add(form.as_bytes());
        params
    }

    #[test]
    fn times_and_durations_come_in_two_notations() {
        let p = params("a=1.5&b=1970-01-01T00%3A00%3A02Z&c=90s&d=abc&e=0.25&match[]=x&match%5B%5D=y+z&f=-1");
        assert_eq!(p.time_ms("a"), Ok(Some(1500)));
        assert_eq!(p.time_ms("b"), Ok(Some(2000)));
        assert_eq!(p.duration("c"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(p.duration("e"), Ok(Some(Duration::from_millis(250))));
        assert!(p.duration("f").is_err());
        assert_eq!(p.all("match[]").collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!(
            p.time_ms("d").unwrap_err().to_string(),
            "invalid parameter \"d\": invalid time value for 'd': cannot parse \"abc\" to a valid timestamp"
        );
    }

    proptest! {
        #[test]
        fn no_form_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            Params::default().add(&bytes);
        }

        #[test]
        fn encoded_texts_come_back(text in ".{0,20}") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
            let form = format!("q={encoded}");
            let all = params(&form);
            prop_assert_eq!(all.all("q").next().unwrap(), text.as_str());
        }
    }
}
