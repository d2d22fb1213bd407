//! Lists the built pages for `include_bytes!`. Runs no node: `dist` is committed.
//!
//! Fails the build where the pages are missing, so that no binary goes out that answers every page with 404.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Below this, `index.html` is a stub and not the shell of the pages.
const INDEX_BYTES_MIN: u64 = 200;

#[expect(
    clippy::disallowed_methods,
    reason = "a build script writes into cargo's output folder, which no store owns"
)]
fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets the manifest folder"));
    let dist = root.join("dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
    let index = dist.join("index.html");
    let bytes = fs::metadata(&index).map(|meta| meta.len()).unwrap_or(0);
    assert!(
        bytes >= INDEX_BYTES_MIN,
        "{} is missing or a stub: run `npm ci && npm run build` in dashboards/web",
        index.display()
    );
    let mut files = Vec::new();
    walk(&dist, &mut files);
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&dist).expect("every file was found under dist");
        let name = name.to_str().expect("built files have plain names").replace('\\', "/");
        writeln!(list, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())
            .expect("writing to a string cannot fail");
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets the output folder"));
    fs::write(out.join("dist.rs"), list).expect("the output folder is writable");
}

/// Collects the files under a folder, and asks cargo to look at each folder: a new file changes only that.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(folder).expect("dist is readable");
    for entry in entries {
        let path = entry.expect("dist is readable").path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}
