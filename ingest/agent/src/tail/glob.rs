//! File patterns: `*`, `?`, `[a-z]`, `{a,b}` within a name, `**` for any folders between.

use std::path::{Path, PathBuf};

// Deeper trees, and links that lead round in circles, end here.
const DEPTH_MAX: usize = 16;

/// Returns the files that match `pattern`, which is absolute or relative to the working folder.
///
/// Folders that cannot be read match nothing.
pub(super) fn expand(pattern: &str, mut found: impl FnMut(PathBuf)) {
    for pattern in alternatives(pattern) {
        let (root, rest) = match pattern.strip_prefix('/') {
            Some(rest) => (PathBuf::from("/"), rest),
            None => (PathBuf::new(), pattern.as_str()),
        };
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        walk(&root, &parts, DEPTH_MAX, &mut found);
    }
}

fn walk(dir: &Path, parts: &[&str], depth: usize, found: &mut impl FnMut(PathBuf)) {
    let Some((part, rest)) = parts.split_first() else { return };
    if depth == 0 {
        return;
    }
    if *part == "**" {
        walk(dir, rest, depth, found);
        for name in names(dir) {
            let path = dir.join(name);
            if path.is_dir() {
                walk(&path, parts, depth - 1, found);
            }
        }
        return;
    }
    if !part.contains(['*', '?', '[']) {
        return step(dir.join(part), rest, depth, found);
    }
    for name in names(dir) {
        // As in a shell, a hidden name must be asked for.
        if matches(part, &name) && (part.starts_with('.') || !name.starts_with('.')) {
            step(dir.join(&name), rest, depth, found);
        }
    }
}

fn step(path: PathBuf, rest: &[&str], depth: usize, found: &mut impl FnMut(PathBuf)) {
    if !rest.is_empty() {
        walk(&path, rest, depth - 1, found);
    } else if path.is_file() {
        found(path);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Tells whether `path` is one that `pattern` could find.
pub(super) fn could_find(pattern: &str, path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    alternatives(pattern).iter().any(|pattern| {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        parts_match(&parts, &names)
    })
}

fn parts_match(parts: &[&str], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=names.len()).any(|n| parts_match(rest, &names[n..])),
        (Some((part, rest)), Some((name, names))) => matches(part, name) && parts_match(rest, names),
        _ => false,
    }
}

/// Writes out the alternatives of `{a,b}`; braces do not nest.
fn alternatives(pattern: &str) -> Vec<String> {
    // A pattern of many braces grows without bound; no one needs more than this.
    const ALTERNATIVES_MAX: usize = 64;
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        let braces = pattern.find('{').and_then(|start| Some((start, start + pattern[start..].find('}')?)));
        match braces {
            Some((start, end)) if done.len() + open.len() < ALTERNATIVES_MAX => {
                let (before, after) = (&pattern[..start], &pattern[end + 1..]);
                open.extend(pattern[start + 1..end].split(',').map(|word| format!("{before}{word}{after}")));
            }
            _ => done.push(pattern),
        }
    }
    done
}

/// Tells whether a name fits a pattern without `/`, `**` and braces.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last star has to take one more character.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p, n));
            p += 1;
        } else if let Some(used) = match_one(&pattern[p..], name[n]) {
            p += used;
            n += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            p = star + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character; returns how much of the pattern that takes.
fn match_one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some(close) = pattern.iter().skip(2).position(|c| *c == ']').map(|i| i + 2) else {
                return (c == '[').then_some(1);
            };
            let negated = matches!(pattern[1], '!' | '^');
            let set = &pattern[1 + usize::from(negated)..close];
            let mut inside = set.contains(&c);
            for range in set.windows(3) {
                inside |= range[1] == '-' && (range[0]..=range[2]).contains(&c);
            }
            (inside != negated).then_some(close + 1)
        }
        plain => (plain == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, want) in [
            ("*.log", "app.log", true),
            ("*.log", "app.log.1", false),
            ("app*", "app", true),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[x", "[x", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_through_folders_and_alternatives() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/b/x.log", "a/y.log", "c/z.txt", "c/.hidden.log"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::tail::tests::write(&path, b"");
        }
        let find = |pattern: &str| {
            let mut found = Vec::new();
            expand(&format!("{}/{pattern}", dir.path().display()), |path| {
                found.push(path.strip_prefix(dir.path()).unwrap().display().to_string());
            });
            found.sort();
            found.join(" ")
        };
        assert_eq!(find("*/*.log"), "a/y.log");
        assert_eq!(find("**/*.log"), "a/b/x.log a/y.log");
        assert_eq!(find("{a,c}/*.{log,txt}"), "a/y.log c/z.txt");
        assert_eq!(find("c/z.txt"), "c/z.txt");
        assert_eq!(find("none/*"), "");
        assert!(could_find("/a/**/{x,y}.log", Path::new("/a/b/c/y.log")));
        assert!(could_find("/a/**/x.log", Path::new("/a/x.log")));
        assert!(!could_find("/a/*.log", Path::new("/a/b/x.log")));
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_any_star(name in "[a-zA-Z0-9._-]{1,12}", at in 0_usize..12, any: String) {
            prop_assert!(matches(&name, &name));
            let at = at.min(name.len());
            let starred = format!("{}*{}", &name[..at], &name[at..]);
            prop_assert!(matches(&starred, &name));
            matches(&any, &name);
            prop_assert!(!alternatives(&any).is_empty());
        }
    }
}
