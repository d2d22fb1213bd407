//! Serves the pages under `/ui/`.
//!
//! Files have stable names, so each answer says `no-cache` with a strong tag: a browser asks again
//! and is told 304 until the content changes. A path without an extension gets the shell, which
//! draws the page that the address names; a missing file is 404, never the shell.

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::assets::{self, Asset, FILES};

/// Nothing but our own files, no inline script or style, no frame around the pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/// Longest way down that a page's address has: `releases/ID`, with room for one more.
const DEPTH_MAX: usize = 3;

/// Routes of the pages: `/` and `/ui` lead to `/ui/`, and `/graph` (Prometheus' address) to the Metrics page.
///
/// Redirects are relative, so that a proxy may put a path in front.
pub fn router() -> Router {
    Router::new()
        .route("/", get(|| redirect("ui/".to_owned())))
        .route("/ui", get(|| redirect("ui/".to_owned())))
        .route(
            "/graph",
            get(|RawQuery(query): RawQuery| redirect(with_query("ui/metrics", query.as_deref()))),
        )
        .route("/ui/", get(|headers: HeaderMap| async move { page("", &headers) }))
        .route(
            "/ui/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move { page(&path, &headers) }),
        )
}

async fn redirect(to: String) -> Response {
    match HeaderValue::from_str(&to) {
        Ok(location) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response(),
        // Only a query can hold what a header may not; the page is worth more than it.
        Err(_) => {
            (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, HeaderValue::from_static("ui/"))]).into_response()
        }
    }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// The file of that name, or the shell where the path names a page.
fn page(path: &str, headers: &HeaderMap) -> Response {
    if let Some(asset) = FILES.get(path).filter(|_| path != assets::INDEX) {
        return serve(asset, headers);
    }
    let depth = path.matches('/').count();
    let last = path.rsplit('/').next().unwrap_or_default();
    // A file's name has an extension; an id may hold dots only under `releases/`.
    let names_a_file = last.contains('.') && !path.starts_with("releases/") && path != assets::INDEX;
    if names_a_file || depth > DEPTH_MAX {
        return not_found(path);
    }
    match assets::shell(depth) {
        Some(shell) => serve(&shell, headers),
        None => not_found(path),
    }
}

fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let mut response = Response::default();
    let out = response.headers_mut();
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    out.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    out.insert(ETAG, HeaderValue::from_str(&asset.etag).expect("a tag is hex digits in quotes"));
    if known(headers, &asset.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    out.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    let body = match asset.gzip.as_ref().filter(|_| accepts_gzip(headers)) {
        Some(packed) => {
            out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            packed.clone()
        }
        None => asset.content.clone(),
    };
    *response.body_mut() = body.into();
    response
}

/// True where the browser already holds this content. A weak tag is as good: caches weaken what they recode.
fn known(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').any(|one| {
            let (coding, quality) = one.split_once(';').unwrap_or((one, ""));
            matches!(coding.trim(), "gzip" | "*")
                && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    })
}

/// The envelope that every other path of the server answers with.
fn not_found(path: &str) -> Response {
    let shown: String =
        path.chars().filter(|c| c.is_ascii_alphanumeric() || "/._-".contains(*c)).take(120).collect();
    let body = format!(r#"{{"error":{{"kind":"not_found","message":"no such file: {shown}"}}}}"#);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (StatusCode::NOT_FOUND, headers, body).into_response()
}
