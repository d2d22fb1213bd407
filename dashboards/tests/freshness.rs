//! Fails where the committed build is older than the sources, without node.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The same folders and files, in the same order, as `web/scripts/digest.mjs`.
const SOURCES: &[&str] =
    &["index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts"];

#[test]
fn the_committed_build_belongs_to_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stored = fs::read_to_string(root.join("dist/SOURCE.sha256")).unwrap();
    let mut files = Vec::new();
    for name in SOURCES {
        collect(&root.join("web").join(name), &mut files);
    }
    let web = root.join("web");
    let mut named: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|file| (file.strip_prefix(&web).unwrap().to_str().unwrap().to_owned(), file))
        .collect();
    named.sort();
    let mut all = Sha256::new();
    for (name, file) in named {
        let content = fs::read(&file).unwrap();
        all.update(format!("{name}\0{}\0", hex(&Sha256::digest(&content))));
    }
    assert_eq!(
        stored.trim(),
        hex(&all.finalize()),
        "dist is older than its sources: run `npm run build` in dashboards/web and commit dist"
    );
}

/// Tests are no part of the build; everything else under the folder is.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.contains(".test.") {
            files.push(path.to_owned());
        }
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        collect(&entry.unwrap().path(), files);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
