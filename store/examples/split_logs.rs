//! Splits the loghub sets, writes the templates found as CSV, and prints how fast the split is.
//!
//!     split_logs LOGHUB_DIR OUT_DIR [--raw]
//!
//! With `--raw` whole lines are split, behind the header that their first 256 have; else their messages.
//! `OUT_DIR/SET.csv` has one row a line: its number from 1, the template's id, the template's text.

#[path = "../tests/loghub/csv.rs"]
mod csv;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use csv::csv;
use greylight_store::pattern::{Header, Learner, Splitter, Templates, message_start};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (sets, out, is_raw) = match args.as_slice() {
        [_, sets, out] => (sets, out, false),
        [_, sets, out, raw] if raw == "--raw" => (sets, out, true),
        _ => {
            eprintln!("usage: split_logs LOGHUB_DIR OUT_DIR [--raw]");
            std::process::exit(2);
        }
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(sets)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let folder = Path::new(sets).join(&name);
        let corrected = folder.join(format!("{name}_2k.log_structured_corrected.csv"));
        let plain = folder.join(format!("{name}_2k.log_structured.csv"));
        let Ok(text) = std::fs::read_to_string(corrected).or_else(|_| std::fs::read_to_string(plain)) else {
            continue;
        };
        let (lines, headers) = if is_raw {
            let raw = std::fs::read_to_string(folder.join(format!("{name}_2k.log")))?;
            let lines: Vec<String> = raw.lines().map(str::to_owned).collect();
            let mut learner = Learner::default();
            let _ = lines.iter().find(|line| learner.add(line.as_bytes()));
            (lines, vec![learner.header()])
        } else {
            (contents(&text), Vec::new())
        };
        write_templates(&lines, &headers, &Path::new(out).join(format!("{name}.csv")))?;
        all.extend(lines.into_iter().map(|line| (line, headers.clone())));
    }
    measure(&all);
    Ok(())
}

/// The `Content` column of a CSV text.
fn contents(text: &str) -> Vec<String> {
    let rows = csv(text);
    let at = rows[0].iter().position(|h| h == "Content").unwrap_or_default();
    rows.into_iter().skip(1).map(|mut row| row.swap_remove(at)).collect()
}

#[expect(clippy::disallowed_methods, reason = "a small tool beside the store, not part of it")]
fn write_templates(lines: &[String], headers: &[Header], path: &Path) -> std::io::Result<()> {
    let (mut splitter, mut templates) = (Splitter::default(), Templates::default());
    let ids: Vec<_> = lines
        .iter()
        .map(|line| {
            let start = start(line, headers);
            let split = splitter.split_behind(line.as_bytes(), start);
            templates.insert(&split.pattern[split.message..], 1);
            split.id()
        })
        .collect();
    let texts = templates.texts();
    let mut out = String::from("LineId,EventId,EventTemplate\n");
    for (n, id) in ids.iter().enumerate() {
        let Some(template) = templates.template_of(*id) else { continue };
        let text = texts[&template].replace('"', "\"\"");
        writeln!(out, "{},{template},\"{text}\"", n + 1).map_err(std::io::Error::other)?;
    }
    std::fs::write(path, out)
}

/// Where the message of a line begins; the messages of the sets have no header.
fn start(line: &str, headers: &[Header]) -> usize {
    if headers.is_empty() { 0 } else { message_start(line.as_bytes(), headers) }
}

#[expect(clippy::disallowed_methods, reason = "measures the machine")]
fn measure(lines: &[(String, Vec<Header>)]) {
    let mut splitter = Splitter::default();
    let (rounds, mut check) = (100, 0u64);
    let began = Instant::now();
    for _ in 0..rounds {
        for (line, headers) in lines {
            check ^= splitter.split_behind(line.as_bytes(), start(line, headers)).id().0;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let n = (lines.len() * rounds) as f64;
    let bytes: usize = lines.iter().map(|(line, _)| line.len()).sum();
    println!(
        "{:.2} M lines/s, {:.0} MB/s, {:.1} bytes a line, check {check:x}",
        n / seconds / 1e6,
        (bytes * rounds) as f64 / seconds / 1e6,
        bytes as f64 / lines.len() as f64
    );
}
