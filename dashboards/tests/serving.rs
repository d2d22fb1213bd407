//! What a browser is told.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use greylight_dashboards::http::router;
use proptest::prelude::*;
use std::io::Read as _;
use tower::ServiceExt as _;

async fn ask(path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(Method::GET).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn body(response: Response) -> Bytes {
    axum::body::to_bytes(response.into_body(), 8 << 20).await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_root_leads_to_the_pages_by_a_relative_way() {
    for (path, to) in [("/", "ui/"), ("/ui", "ui/"), ("/graph?g0.expr=up", "ui/metrics?g0.expr=up")] {
        let response = ask(path, &[]).await;
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
        assert_eq!(header(response.headers(), "location"), to, "{path}");
    }
}

#[tokio::test]
async fn a_page_address_gets_the_shell_with_its_way_up() {
    for (path, base) in [
        ("/ui/", "./"),
        ("/ui/releases", "./"),
        ("/ui/releases/01J", "../"),
        ("/ui/releases/cart-1.5.0", "../"),
    ] {
        let response = ask(path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(response.headers(), "content-type"), "text/html; charset=utf-8", "{path}");
        let html = String::from_utf8(body(response).await.to_vec()).unwrap();
        assert!(html.contains(&format!(r#"<base href="{base}""#)), "{path}: {html}");
    }
}

#[tokio::test]
async fn the_policy_allows_our_own_files_only() {
    let response = ask("/ui/", &[]).await;
    let policy = header(response.headers(), "content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header(response.headers(), "x-content-type-options"), "nosniff");
    let html = String::from_utf8(body(response).await.to_vec()).unwrap();
    let inline = html
        .split("<script")
        .skip(1)
        .filter(|tag| !tag.split('>').next().unwrap_or_default().contains("src="))
        .count();
    assert_eq!(inline, 0, "an inline script would be refused: {html}");
}

#[tokio::test]
async fn everything_that_the_shell_names_is_there() {
    let html = String::from_utf8(body(ask("/ui/", &[]).await).await.to_vec()).unwrap();
    let mut found = 0;
    for attribute in ["src=\"", "href=\""] {
        for part in html.split(attribute).skip(1) {
            let name = part.split('"').next().unwrap().trim_start_matches("./");
            if name.is_empty() {
                continue;
            }
            let response = ask(&format!("/ui/{name}"), &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            assert_eq!(header(response.headers(), "cache-control"), "no-cache", "{name}");
            found += 1;
        }
    }
    assert!(found >= 3, "script, style and icon: {html}");
}

#[tokio::test]
async fn a_second_visit_is_told_that_nothing_changed() {
    let first = ask("/ui/assets/index.js", &[]).await;
    let etag = header(first.headers(), "etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 20, "{etag}");
    for sent in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let again = ask("/ui/assets/index.js", &[("if-none-match", &sent)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{sent}");
        assert!(body(again).await.is_empty());
    }
    let other = ask("/ui/assets/index.js", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn files_are_compressed_for_those_who_can_read_it() {
    let plain = ask("/ui/assets/index.js", &[]).await;
    assert_eq!(header(plain.headers(), "content-encoding"), "");
    let plain = body(plain).await;
    let refused = ask("/ui/assets/index.js", &[("accept-encoding", "gzip;q=0")]).await;
    assert_eq!(header(refused.headers(), "content-encoding"), "");
    let packed = ask("/ui/assets/index.js", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(header(packed.headers(), "content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&body(packed).await[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
}

#[tokio::test]
async fn a_missing_file_is_not_the_shell() {
    for path in ["/ui/assets/nope.js", "/ui/nope.css", "/ui/a/b/c/d/e", "/api/nope"] {
        assert_eq!(ask(path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn first_load_stays_within_its_budget() {
    // What the Releases page fetches before it can be used, compressed.
    const FIRST_LOAD_BYTES_MAX: usize = 120 * 1024;
    let mut wanted = ["", "theme.js", "assets/index.js", "assets/index.css", "assets/releases.js"]
        .map(str::to_owned)
        .to_vec();
    let mut total = 0;
    let mut next = 0;
    while let Some(name) = wanted.get(next).cloned() {
        next += 1;
        let response = ask(&format!("/ui/{name}"), &[("accept-encoding", "gzip")]).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        total += body(response).await.len();
        let plain = String::from_utf8_lossy(&body(ask(&format!("/ui/{name}"), &[]).await).await).into_owned();
        // What a script imports at once comes with it; what it imports when needed does not.
        for start in ["from\"./", "import\"./"] {
            for part in plain.split(start).skip(1) {
                let file = format!("assets/{}", part.split('"').next().unwrap_or_default());
                if !wanted.contains(&file) {
                    wanted.push(file);
                }
            }
        }
    }
    assert!(wanted.len() > 6, "the page's script is made of chunks: {wanted:?}");
    assert!(total <= FIRST_LOAD_BYTES_MAX, "{total} bytes");
}

proptest! {
    #[test]
    fn no_path_makes_the_handler_fail(path in "[A-Za-z0-9._%/-]{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let Ok(uri) = format!("/ui/{path}").parse::<axum::http::Uri>() else { return Ok(()) };
        let response = runtime.block_on(router().oneshot(Request::builder().uri(uri).body(Body::empty()).unwrap())).unwrap();
        prop_assert!(!response.status().is_server_error(), "{}", response.status());
    }
}
