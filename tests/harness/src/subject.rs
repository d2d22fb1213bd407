//! What a run is about: the built program, and the seed of what happens to it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

/// Finds a program's binary: the named one, else the one beside this command's, else the release build.
pub(crate) fn binary(named: Option<&Path>, program: &str) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let own = std::env::current_exe()?;
    let profile = own.parent().context("this binary lies in a folder")?;
    let beside = profile.join(program);
    let release = profile.with_file_name("release").join(program);
    let found = [beside, release].into_iter().find(|path| path.is_file());
    found.with_context(|| format!("no built {program} found; build it, or name it with --bin"))
}

#[expect(clippy::disallowed_methods, reason = "a seed is drawn where none is given, and printed")]
pub(crate) fn drawn_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}
