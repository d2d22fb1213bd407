//! Finds out who makes a request, and what it may do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use greylight_store::model::{Caller, ErrorKind, Problem, Scope, Scopes, TenantId};
use serde::Deserialize;

/// Who may come in: section `[auth]`. Without tokens everyone on the listener may do everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthConfig {
    /// Tokens that are let in; make one with `greylight token`.
    pub(crate) tokens: Vec<TokenConfig>,
}

/// One token: its hash, never itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenConfig {
    /// BLAKE3 of the token, in hex.
    pub(crate) hash: String,
    /// Tenant that it belongs to.
    #[serde(default = "default_tenant")]
    pub(crate) tenant: String,
    /// What it allows: `write`, `read`, `release`, `admin`.
    pub(crate) scopes: Vec<String>,
}

fn default_tenant() -> String {
    TenantId::default().to_string()
}

/// Hashes a token. Tokens hold 128 random bits, so that a plain hash cannot be guessed back.
pub(crate) fn hash(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

/// The tokens, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Gatekeeper(Arc<Vec<(blake3::Hash, Caller)>>);

impl Gatekeeper {
    /// Parses the section, naming the token that is wrong.
    pub(crate) fn new(config: &AuthConfig) -> anyhow::Result<Self> {
        let mut known = Vec::new();
        for (i, token) in config.tokens.iter().enumerate() {
            let hash = blake3::Hash::from_hex(&token.hash).map_err(|_| {
                anyhow::anyhow!("auth.tokens[{i}].hash: {:?} is not 64 hex digits", token.hash)
            })?;
            let tenant =
                TenantId::new(&token.tenant).map_err(|e| anyhow::anyhow!("auth.tokens[{i}].tenant: {e}"))?;
            let parse = |word: &String| {
                Scope::parse(word)
                    .ok_or_else(|| anyhow::anyhow!("auth.tokens[{i}].scopes: no scope is called {word:?}"))
            };
            let scopes = token.scopes.iter().map(parse).collect::<anyhow::Result<Scopes>>()?;
            known.push((hash, Caller { tenant, scopes }));
        }
        Ok(Self(Arc::new(known)))
    }

    /// Tells whether there is any token, so that the server may listen to the world.
    pub(crate) fn has_tokens(&self) -> bool {
        !self.0.is_empty()
    }

    /// Finds the caller of a request by its headers.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let named = headers.get("x-scope-orgid").map(|v| v.to_str().unwrap_or("\u{fffd}"));
        if !self.has_tokens() {
            let tenant = named.map_or_else(|| Ok(TenantId::default()), TenantId::new);
            let tenant = tenant.map_err(|e| Problem::new(ErrorKind::Invalid, e).field("X-Scope-OrgID"))?;
            return Ok(Caller { tenant, scopes: Scopes::all() });
        }
        let shown = token(headers).ok_or_else(|| {
            Problem::new(ErrorKind::Unauthorized, "this server needs a token: Authorization: Bearer TOKEN")
        })?;
        // Comparing hashes tells nothing about how much of a token was right; blake3's equality is constant-time too.
        let shown = blake3::hash(shown.as_bytes());
        let caller = self.0.iter().find(|(hash, _)| *hash == shown).map(|(_, caller)| caller.clone());
        let caller = caller.ok_or_else(|| Problem::new(ErrorKind::Unauthorized, "the token is not known"))?;
        match named {
            Some(other) if other != caller.tenant.as_str() => {
                Err(Problem::new(ErrorKind::Forbidden, "the token belongs to another tenant")
                    .field("X-Scope-OrgID")
                    .value(other))
            }
            _ => Ok(caller),
        }
    }
}

/// Reads a token from `Authorization`: Bearer, or Basic with the token as its password, which is
/// what clients of Loki and Elasticsearch can send.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_string());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    use base64::Engine;
    let plain = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    Some(String::from_utf8(plain).ok()?.split_once(':')?.1.to_string())
}

/// Scope that a route needs; a test walks every route of the server over this table.
pub(crate) fn scope_of(method: &Method, path: &str) -> Option<Scope> {
    const OPEN: [&str; 7] = ["/livez", "/readyz", "/-/healthy", "/-/ready", "/", "/graph", "/favicon.ico"];
    const WRITES: [&str; 8] = [
        "/api/v1/write",
        "/v1/metrics",
        "/v1/logs",
        "/api/v1/otlp/",
        "/otlp/",
        "/opentelemetry.proto.collector.",
        "/loki/api/v1/push",
        "/elastic/",
    ];
    const STEERS: [&str; 5] =
        ["/api/v1/releases", "/api/v1/policies", "/api/v1/changes", "/api/v1/patterns", "/api/v1/backtests"];
    const RELEASE: &str = "/api/v1/releases/";
    const POLICY: &str = "/api/v1/policies/";
    let under = |table: &[&str]| table.iter().any(|p| path.starts_with(p));
    if OPEN.contains(&path) || path.starts_with("/ui") {
        return None;
    }
    if under(&WRITES) {
        return Some(Scope::Write);
    }
    let asks = *method == Method::GET || *method == Method::HEAD;
    // These compute and change nothing; pages show them to whoever may read the release.
    let is_of = |of: &str, end: &str| path.starts_with(of) && path.ends_with(end);
    let computes = is_of(RELEASE, "/replay")
        || is_of(POLICY, "/announce")
        || path == "/api/v1/policies/check"
        || path == "/api/v1/policies/default/preview";
    if under(&STEERS) && !asks && !(*method == Method::POST && computes) {
        return Some(Scope::Release);
    }
    let rules_work = path.starts_with("/api/v1/admin") || path.starts_with("/api/v1/queries");
    if rules_work && !asks {
        return Some(Scope::Admin);
    }
    Some(Scope::Read)
}

/// Middleware: puts the [`Caller`] beside the request, or refuses it.
pub(crate) async fn authenticate(
    State(keeper): State<Gatekeeper>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(scope) = scope_of(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let caller = match keeper.caller(request.headers()) {
        Ok(caller) => caller,
        Err(problem) => return refuse(&problem),
    };
    if !caller.scopes.allow(scope) {
        let text = format!("the token does not allow {:?}", scope.as_str());
        return refuse(&Problem::new(ErrorKind::Forbidden, text));
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Answers with a problem in our own envelope.
pub(crate) fn refuse(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(problem.to_json())).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper() -> Gatekeeper {
        let token = TokenConfig { hash: hash("glt_x"), tenant: "shop".into(), scopes: vec!["read".into()] };
        Gatekeeper::new(&AuthConfig { tokens: vec![token] }).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (header::HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_opens_its_own_tenant_only() {
        let caller = keeper().caller(&headers(&[("authorization", "Bearer glt_x")])).unwrap();
        assert_eq!(caller.tenant.as_str(), "shop");
        assert!(caller.scopes.allow(Scope::Read) && !caller.scopes.allow(Scope::Write));
        let foreign = headers(&[("authorization", "Bearer glt_x"), ("x-scope-orgid", "other")]);
        assert_eq!(keeper().caller(&foreign).unwrap_err().kind, ErrorKind::Forbidden);
        assert_eq!(keeper().caller(&headers(&[])).unwrap_err().kind, ErrorKind::Unauthorized);
        let wrong = headers(&[("authorization", "Bearer glt_y")]);
        assert_eq!(keeper().caller(&wrong).unwrap_err().kind, ErrorKind::Unauthorized);
        // dXNlcjpnbHRfeA== is user:glt_x
        assert!(keeper().caller(&headers(&[("authorization", "Basic dXNlcjpnbHRfeA==")])).is_ok());
    }

    #[test]
    fn each_route_needs_its_scope() {
        let post = |path| scope_of(&Method::POST, path);
        let get = |path| scope_of(&Method::GET, path);
        for path in [
            "/api/v1/write",
            "/v1/metrics",
            "/api/v1/otlp/v1/metrics",
            "/v1/logs",
            "/otlp/v1/logs",
            "/loki/api/v1/push",
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        ] {
            assert_eq!(post(path), Some(Scope::Write), "{path}");
        }
        for path in ["/", "/graph", "/ui/", "/ui/metrics", "/livez", "/readyz", "/-/ready", "/favicon.ico"] {
            assert_eq!(get(path), None, "{path}");
        }
        for path in ["/api/v1/query", "/api/v1/releases", "/api/v1/admin/status", "/metrics", "/graphs"] {
            assert_eq!(get(path), Some(Scope::Read), "{path}");
        }
        assert_eq!(post("/api/v1/query"), Some(Scope::Read));
        assert_eq!(post("/api/v1/releases"), Some(Scope::Release));
        assert_eq!(post("/api/v1/releases/01J/override"), Some(Scope::Release));
        assert_eq!(post("/api/v1/releases/01J/replay"), Some(Scope::Read));
        assert_eq!(post("/api/v1/policies/x/announce"), Some(Scope::Read));
        assert_eq!(post("/api/v1/policies/check"), Some(Scope::Read));
        assert_eq!(scope_of(&Method::PUT, "/api/v1/policies/check"), Some(Scope::Release));
        assert_eq!(scope_of(&Method::DELETE, "/api/v1/releases/x/replay"), Some(Scope::Release));
        assert_eq!(post("/api/v1/admin/flush"), Some(Scope::Admin));
        assert_eq!(scope_of(&Method::DELETE, "/api/v1/queries/1"), Some(Scope::Admin));
    }

    #[test]
    fn without_tokens_the_header_names_the_tenant() {
        let open = Gatekeeper::new(&AuthConfig::default()).unwrap();
        assert_eq!(open.caller(&headers(&[])).unwrap().tenant.as_str(), "default");
        assert_eq!(open.caller(&headers(&[("x-scope-orgid", "a")])).unwrap().tenant.as_str(), "a");
        assert_eq!(open.caller(&headers(&[("x-scope-orgid", "../a")])).unwrap_err().kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_wrong_section_names_the_token() {
        let token = TokenConfig { hash: "abc".into(), tenant: "t".into(), scopes: vec![] };
        let error = Gatekeeper::new(&AuthConfig { tokens: vec![token] }).unwrap_err();
        assert!(error.to_string().contains("auth.tokens[0].hash"), "{error}");
    }
}
