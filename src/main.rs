//! The `greylight` binary: command line, configuration, wiring, shutdown.
//!
//! Everything that it serves lives in the crates below it; here they are joined, and nowhere else.

mod admin;
mod auth;
mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod own_metrics;
mod serve;

use std::process::ExitCode;

use clap::Parser;

/// Has glibc's allocator map large blocks one by one, so that the system has them back when they are freed. By itself
/// it raises the size from which it does so to that of the largest block that was freed, up to 32 MiB, and keeps what
/// is smaller: a server that sealed logs held 840 MiB at its peak and 570 MiB afterwards where it needed 240 and 90;
/// with this 460 and 160.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
fn tame_allocator() {
    const MAPPED_BYTES_MIN: i32 = 256 * 1024;
    // SAFETY: it sets one number of the allocator, in range, while there is no other thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn tame_allocator() {}

fn main() -> ExitCode {
    tame_allocator();
    // One crypto provider for the process; a second call in tests is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("greylight: {error:#}");
            ExitCode::from(commands::exit::ERROR)
        }
    }
}
