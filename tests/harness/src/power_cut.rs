//! Takes the power of a real file system away under a store, again and again, and counts what came through.
//!
//! A file with an ext4 in it is mounted, and shut down by the ioctl that its own tests use: what the disk was not told
//! to keep is gone, as when the power fails.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::child::{self, Verdict};
use crate::subject;

/// Takes the power of an ext4 in a file away under a store; needs the right to mount.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often.
    #[arg(long, default_value_t = 50)]
    cycles: u64,
    /// The store lives at most so many milliseconds.
    #[arg(long, default_value_t = 600)]
    alive_ms: u64,
    /// Repeats a run as far as timing allows. Default: drawn, and printed.
    #[arg(long)]
    seed: Option<u64>,
}

const IMAGE_BYTES: u64 = 512 << 20;

/// A mounted file system in a file; gone when this is dropped.
struct Mount<'a> {
    image: &'a Path,
    at: &'a Path,
}

fn command(program: &str, args: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let out = Command::new(program).args(args).args(paths).output();
    let out = out.with_context(|| format!("{program} cannot be run"))?;
    ensure!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

impl<'a> Mount<'a> {
    fn new(image: &'a Path, at: &'a Path) -> anyhow::Result<Self> {
        command("mount", &["-t", "ext4", "-o", "loop"], &[image, at])?;
        Ok(Self { image, at })
    }

    /// Ends the file system without writing anything that was not synced, its journal included.
    fn cut_power(&self) -> anyhow::Result<()> {
        const WITHOUT_LOG: u32 = 2;
        let root = File::open(self.at)?;
        shut_down(&root, WITHOUT_LOG).context("the file system does not shut down")
    }

    /// Unmounts what is left and mounts it again, which reads its journal.
    fn again(self) -> anyhow::Result<Self> {
        let (image, at) = (self.image, self.at);
        drop(self);
        Self::new(image, at)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // A process that was killed gives its files back a moment later.
        for _ in 0..50 {
            if command("umount", &[], &[self.at]).is_ok() {
                return;
            }
            pause(Duration::from_millis(20));
        }
        eprintln!("{} stays mounted", self.at.display());
    }
}

#[expect(unsafe_code, reason = "the request takes one u32 and keeps no reference to it")]
fn shut_down(root: &File, flags: u32) -> std::io::Result<()> {
    const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
    // SAFETY: FS_IOC_SHUTDOWN reads one u32 through the pointer that `Setter` makes.
    unsafe { rustix::ioctl::ioctl(root, rustix::ioctl::Setter::<SHUTDOWN, u32>::new(flags))? };
    Ok(())
}

fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Runs it and prints the counts.
///
/// # Errors
/// When mounts are not permitted, or something acknowledged was lost, doubled or changed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(subject::drawn_seed);
    println!("seed {seed}");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let (image, at) = (folder.path().join("image"), folder.path().join("mount"));
    std::fs::create_dir(&at)?;
    #[expect(clippy::disallowed_methods, reason = "the image is no part of a store")]
    File::create(&image)?.set_len(IMAGE_BYTES)?;
    command("mkfs.ext4", &["-q", "-F"], &[&image])?;
    let mut mount = match Mount::new(&image, &at) {
        Ok(mount) => mount,
        Err(error) => bail!("mounts are not permitted here, so nothing was tested: {error:#}"),
    };
    let (mut all, mut acknowledged, mut sent) = (Verdict::default(), 0, 0);
    for cycle in 1..=args.cycles {
        let data = at.join("data");
        let child =
            child::Args { folder: data.clone(), from: acknowledged, sent, seconds: 60, step: None, after: 0 };
        let mut process = child.start()?;
        let stdout = process.stdout.take();
        pause(Duration::from_millis(chance.random_range(0..=args.alive_ms)));
        mount.cut_power()?;
        process.kill()?;
        process.stdout = stdout;
        let said = child.listen(process)?;
        mount = mount.again()?;
        let verdict = child::check(&data, said).with_context(|| format!("after cycle {cycle}"))?;
        all.lost += verdict.lost;
        all.doubled += verdict.doubled;
        all.wrong += verdict.wrong;
        (acknowledged, sent) = (said.acknowledged, said.sent);
    }
    println!(
        "power cuts {}, acknowledged {acknowledged} samples and as many records, lost {}, doubled {}, wrong {}",
        args.cycles, all.lost, all.doubled, all.wrong
    );
    ensure!(acknowledged > 0, "nothing was acknowledged, so nothing was tested");
    ensure!(all.lost + all.doubled + all.wrong == 0, "a promise was broken");
    Ok(())
}
