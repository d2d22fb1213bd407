//! Checks the source tree: layers, module docs, file lengths, banned words, dependencies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates each crate may use, as `ARCHITECTURE.md` draws them.
const LAYERS: [(&str, &[&str]); 9] = [
    ("greylight-store", &[]),
    ("greylight-wire", &[]),
    ("greylight-agent", &["greylight-wire"]),
    ("greylight-ingest", &["greylight-wire", "greylight-store"]),
    ("greylight-query", &["greylight-store", "greylight-wire"]),
    ("greylight-analyzer", &["greylight-store", "greylight-query", "greylight-wire"]),
    ("greylight-dashboards", &[]),
    ("greylight-harness", &["*"]),
    ("greylight", &["*"]),
];

/// Doors of the store that a crate may name, beside `model`.
const DOORS: [(&str, &[&str]); 3] = [
    ("ingest/src", &["append"]),
    ("query/src", &["pattern", "read"]),
    ("analyzer/src", &["pattern", "read", "append", "records"]),
];

const STORE_MODULES: [&str; 10] =
    ["append", "read", "records", "pattern", "wal", "catalog", "metrics", "logs", "disk", "store"];

/// A file past this many lines says why at its top, in a line that starts with `//! Long because`.
const LINES_MAX: usize = 800;

const BANNED_WORDS: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "allow(dead_code"];
const BANNED_MODULES: [&str; 4] = ["utils", "common", "helpers", "manager"];
/// Text of ours names no hosts that packages come from, and no workplace.
const BANNED_TEXTS: [&str; 3] = ["registry.npmjs", "index.crates", "files.pythonhosted"];

const LICENCES: [&str; 14] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "MPL-2.0",
    "BSL-1.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
    "0BSD",
    "MIT-0",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn tracked(ending: &str) -> Vec<PathBuf> {
    let out = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    let listed = String::from_utf8(out.stdout).unwrap();
    let files: Vec<PathBuf> = listed.split('\0').filter(|f| f.ends_with(ending)).map(PathBuf::from).collect();
    assert!(!files.is_empty() || !out.status.success(), "git lists no {ending} file");
    files.into_iter().filter(|f| root().join(f).exists()).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn crates_use_only_the_layers_below_them() {
    let metadata = cargo_metadata();
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(may) = allowed.get(name) else { continue };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let ours = used.starts_with("greylight") && dependency["kind"].is_null();
            let fine = may.contains(&"*") || may.contains(&used);
            assert!(!ours || fine, "{name} may not use {used}; see the layers in ARCHITECTURE.md");
        }
    }
}

#[test]
fn crates_enter_the_store_by_their_doors_only() {
    for (folder, doors) in DOORS {
        for file in tracked(".rs").into_iter().filter(|f| f.starts_with(folder)) {
            let text = read(&file);
            for module in STORE_MODULES.iter().filter(|m| !doors.contains(*m)) {
                // Tests at the end of a file may open a store to test against.
                let code = text.split("#[cfg(test)]").next().unwrap_or("");
                let edge = format!("greylight_store::{module}::");
                assert!(!code.contains(&edge), "{} uses {edge}", file.display());
            }
        }
    }
}

#[test]
fn domain_types_reach_the_wire_through_their_modules() {
    for file in tracked(".rs") {
        let http = ["http.rs", "http/", "grpc", "client", "auth.rs"]
            .iter()
            .any(|p| file.to_string_lossy().contains(p));
        let serving =
            ["ingest/src", "query/src", "analyzer/src", "dashboards/src"].iter().any(|p| file.starts_with(p));
        if serving && !http {
            let text = read(&file);
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            assert!(!code.contains("axum::"), "{} names axum outside of http", file.display());
        }
    }
}

#[test]
fn files_have_docs_and_a_bearable_length() {
    for file in tracked(".rs") {
        let text = read(&file);
        let generated = text.starts_with("// @generated");
        assert!(text.starts_with("//!") || generated, "{} does not begin with module docs", file.display());
        let long = text.lines().count() > LINES_MAX;
        assert!(!long || text.contains("//! Long because"), "{} is over {LINES_MAX} lines", file.display());
    }
}

#[test]
fn banned_words_are_absent() {
    for file in tracked(".rs").into_iter().filter(|f| !f.ends_with("tidy.rs")) {
        let text = read(&file);
        for word in BANNED_WORDS.iter().chain(&BANNED_TEXTS) {
            assert!(!text.contains(word), "{} holds {word}", file.display());
        }
        for module in BANNED_MODULES {
            assert!(!text.contains(&format!("mod {module};")), "{} has a module {module}", file.display());
        }
    }
    for file in tracked(".json").into_iter().chain(tracked(".md")).chain(tracked(".lock")) {
        let text = read(&file);
        for word in BANNED_TEXTS {
            assert!(!text.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    for package in cargo_metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        if source.is_none() && name.starts_with("greylight") {
            continue;
        }
        assert!(source.is_some_and(|s| s.starts_with("registry+")), "{name} comes from {source:?}");
        let licence = package["license"].as_str().unwrap_or("none named");
        assert!(allows(licence), "{name} has licence {licence}; add it to the list only if it is permissive");
    }
}

/// Tells whether a licence expression can be met: all parts of an AND, one part of an OR.
fn allows(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    let known = |word: &str| {
        let id = word.split(" WITH ").next().unwrap_or("").trim();
        LICENCES.contains(&id)
    };
    plain.split(" AND ").all(|all| all.split(" OR ").any(known))
}

#[test]
fn licence_expressions_are_read_right() {
    assert!(allows("MIT OR GPL-3.0"));
    assert!(allows("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!allows("MIT AND GPL-3.0"));
    assert!(!allows("AGPL-3.0-only"));
}

#[test]
fn the_agent_carries_neither_datafusion_nor_tantivy() {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "-p", "greylight-agent", "-e", "normal", "--prefix", "none", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8_lossy(&out.stdout);
    assert!(tree.starts_with("greylight-agent"), "{}", String::from_utf8_lossy(&out.stderr));
    for heavy in ["datafusion", "tantivy", "sqlx", "greylight-store"] {
        assert!(!tree.lines().any(|l| l.starts_with(heavy)), "the agent's tree holds {heavy}");
    }
}

fn cargo_metadata() -> serde_json::Value {
    let out = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)))
}
