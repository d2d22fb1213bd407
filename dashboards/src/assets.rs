//! The embedded files: found by name, each with a tag of its content and a compressed form.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Name and content of every built file, written by `build.rs`.
static DIST: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/dist.rs"));

/// All files by name, prepared once at the first request.
pub(crate) static FILES: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
    DIST.iter().map(|&(name, content)| (name, Asset::new(name, Bytes::from_static(content)))).collect()
});

/// The shell of every page, and the placeholder in it that takes the way up to the pages' root.
pub(crate) const INDEX: &str = "index.html";
const BASE: &str = r#"<base href="./""#;

/// One file as it is served.
#[derive(Clone, Debug)]
pub(crate) struct Asset {
    pub(crate) content: Bytes,
    /// Compressed, where that is smaller.
    pub(crate) gzip: Option<Bytes>,
    /// Strong tag: a digest of the uncompressed content, in quotes.
    pub(crate) etag: String,
    pub(crate) content_type: &'static str,
}

impl Asset {
    fn new(name: &str, content: Bytes) -> Self {
        let digest = blake3::hash(&content).to_hex();
        let content_type = content_type(name);
        Self { gzip: gzip(&content), etag: format!("\"{}\"", &digest.as_str()[..32]), content_type, content }
    }
}

/// The shell for a page `depth` folders below the root: its links resolve from there.
///
/// Depth 0 is `/ui/releases`, depth 1 `/ui/releases/ID`.
pub(crate) fn shell(depth: usize) -> Option<Asset> {
    let index = FILES.get(INDEX)?;
    if depth == 0 {
        return Some(index.clone());
    }
    let html = std::str::from_utf8(&index.content).ok()?;
    let up = format!(r#"<base href="{}""#, "../".repeat(depth));
    Some(Asset::new(INDEX, Bytes::from(html.replacen(BASE, &up, 1))))
}

fn gzip(content: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 2), Compression::best());
    encoder.write_all(content).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < content.len()).then(|| Bytes::from(packed))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("md" | "txt" | "sha256") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_embedded_with_its_placeholder() {
        let index = &FILES[INDEX].content;
        let html = std::str::from_utf8(index).unwrap();
        assert_eq!(html.matches(BASE).count(), 1, "the way up is written into exactly one place");
    }

    #[test]
    fn the_way_up_grows_with_the_depth_and_changes_the_tag() {
        let flat = shell(0).unwrap();
        let deep = shell(2).unwrap();
        assert!(String::from_utf8_lossy(&deep.content).contains(r#"<base href="../../""#));
        assert_ne!(flat.etag, deep.etag, "another content has another tag");
    }

    #[test]
    fn every_file_has_a_known_type() {
        for (name, asset) in FILES.iter() {
            assert_ne!(asset.content_type, "application/octet-stream", "{name}");
        }
    }
}
