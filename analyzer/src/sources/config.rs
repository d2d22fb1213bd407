//! What the settings say of another store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use greylight_store::model::TenantId;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The index that Elasticsearch is asked for where the settings name none.
pub(super) const INDEX: &str = "*";
/// Longest name of a source in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Another store that checks may read: an entry of `[[sources]]`.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What checks call it.
    pub name: String,
    /// Whose API it speaks.
    pub kind: SourceKind,
    /// Where that API begins; a path is kept as what stands before each of its own.
    pub url: String,
    /// Sent with each request, as credentials are. Never shown.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Of Elasticsearch: the index, data stream or pattern that is searched. Default `*`.
    pub index: Option<String>,
    /// Tenants that may use it. Default: all.
    pub tenants: Option<Vec<String>>,
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Whose API a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Prometheus's, as VictoriaMetrics, Thanos and Mimir have it too.
    Prometheus,
    /// Loki's.
    Loki,
    /// Elasticsearch's, as OpenSearch has it too.
    Elasticsearch,
}

impl SourceKind {
    /// Returns its word in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Loki => "loki",
            Self::Elasticsearch => "elasticsearch",
        }
    }

    /// Tells whether it has series; log records otherwise.
    pub(super) fn has_series(self) -> bool {
        self == Self::Prometheus
    }
}

/// Why a source of the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[[sources]] {source_name:?}: {field}: {detail}")]
pub struct SourceError {
    /// The source's name.
    pub source_name: String,
    /// The field that is wrong.
    pub field: String,
    /// What is wrong, and what would do.
    pub detail: String,
}

/// Checks the entries of `[[sources]]`.
///
/// # Errors
/// [`SourceError`] with the source, the field and what is wrong.
pub fn check_sources(all: &[SourceConfig]) -> Result<(), SourceError> {
    let mut names = BTreeSet::new();
    for one in all {
        if !names.insert(&one.name) {
            return Err(one.wrong("name", "two sources are called so; give each a name of its own"));
        }
        one.check()?;
    }
    Ok(())
}

impl SourceConfig {
    pub(super) fn wrong(&self, field: &str, detail: impl Into<String>) -> SourceError {
        SourceError { source_name: self.name.clone(), field: field.to_owned(), detail: detail.into() }
    }

    fn check(&self) -> Result<(), SourceError> {
        let is_plain = !self.name.trim().is_empty() && !self.name.chars().any(char::is_control);
        if !is_plain || self.name.len() > NAME_BYTES_MAX {
            let text = format!("wants 1 to {NAME_BYTES_MAX} bytes without control characters");
            return Err(self.wrong("name", text));
        }
        self.address()?;
        self.header_map()?;
        if let Some(index) = &self.index {
            if self.kind != SourceKind::Elasticsearch {
                return Err(self.wrong("index", format!("sources of kind {} have none", self.kind.word())));
            }
            let is_index = |c: char| !c.is_whitespace() && !c.is_control() && !"/\\?#\"|<>".contains(c);
            if index.is_empty() || !index.chars().all(is_index) {
                let text = format!("{index:?} is no index, data stream or pattern such as logs-*");
                return Err(self.wrong("index", text));
            }
        }
        let tenants = self.tenants.iter().flatten();
        if let Some((tenant, error)) =
            tenants.filter_map(|one| TenantId::new(one).err().map(|error| (one, error))).next()
        {
            return Err(self.wrong("tenants", format!("{tenant:?}: {error}")));
        }
        Ok(())
    }

    /// The address, with a path that ends in a slash.
    pub(super) fn address(&self) -> Result<Url, SourceError> {
        let wanted = "wants an address such as http://10.0.0.7:9090/prometheus";
        // The text is not repeated: it may hold a password.
        let mut url =
            Url::parse(&self.url).map_err(|error| self.wrong("url", format!("{error}; {wanted}")))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
            return Err(self.wrong("url", format!("is of scheme {}; {wanted}", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let text = "holds a user or password; put them into headers, as Authorization = \"Basic ...\"";
            return Err(self.wrong("url", text));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(self.wrong("url", format!("has a `?` or `#`; {wanted}")));
        }
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url)
    }

    pub(super) fn header_map(&self) -> Result<HeaderMap, SourceError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let field = format!("headers.{name}");
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| self.wrong(&field, "is no name of a header"))?;
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| self.wrong(&field, "its value holds characters that no header may have"))?;
            value.set_sensitive(true);
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(change: impl FnOnce(&mut SourceConfig)) -> SourceConfig {
        let mut one = SourceConfig {
            name: "main".into(),
            kind: SourceKind::Prometheus,
            url: "http://127.0.0.1:9090/prom".into(),
            headers: BTreeMap::from([("Authorization".into(), "Bearer hidden".into())]),
            index: None,
            tenants: None,
        };
        change(&mut one);
        one
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut SourceConfig), want: &str) {
        let error = check_sources(&[source(change)]).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }

    #[test]
    fn wrong_fields_are_named_and_secrets_are_not_shown() {
        check_sources(&[source(|_| {})]).unwrap();
        refused(|s| s.url = "127.0.0.1:9090".into(), "[[sources]] \"main\": url: ");
        refused(|s| s.url = "ftp://h/".into(), "is of scheme ftp");
        refused(|s| s.url = "http://u:hidden@h/".into(), "holds a user or password");
        refused(|s| s.url = "http://h/?token=hidden".into(), "has a `?` or `#`");
        refused(|s| s.name = " ".into(), "name: wants 1 to 100 bytes");
        refused(|s| s.index = Some("logs-*".into()), "index: sources of kind prometheus have none");
        refused(
            |s| (s.kind, s.index) = (SourceKind::Elasticsearch, Some("a/_search".into())),
            "\"a/_search\" is no index",
        );
        refused(|s| s.tenants = Some(vec!["a/b".into()]), "tenants: \"a/b\"");
        refused(|s| s.headers = BTreeMap::from([("a b".into(), "hidden".into())]), "headers.a b: is no name");
        refused(|s| s.headers = BTreeMap::from([("a".into(), "hidden\n".into())]), "headers.a: its value");
        let twice = check_sources(&[source(|_| {}), source(|s| s.url = "http://h".into())]).unwrap_err();
        assert_eq!(twice.field, "name");
        assert!(!format!("{:?}", source(|_| {})).contains("hidden"));
    }

    #[test]
    fn a_path_is_kept() {
        for url in ["http://h/a/b", "http://h/a/b/"] {
            assert_eq!(source(|s| s.url = url.into()).address().unwrap().as_str(), "http://h/a/b/");
        }
        assert_eq!(source(|s| s.url = "http://h".into()).address().unwrap().as_str(), "http://h/");
    }
}
