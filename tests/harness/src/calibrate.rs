//! Simulates good and bad releases and judges them through the judge's own door.
//!
//! Prints what share of the good ones was refused, what share of the bad ones was found, how soon, and
//! what share went, each with its standard error. Exits with 1 when more good releases are refused than
//! alpha allows, by more than three standard errors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::bail;
use greylight_analyzer::verdict::Decision;

// The same simulations, in short runs, are tests of the analyzer.
#[path = "../../../analyzer/tests/simulate.rs"]
mod simulate;

use simulate::{Chance, Errors, Fault, Latency, Logs, Means, Outcome, Slow};

/// Settings of the calibration.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs of each scenario; the heavier ones take a part of it.
    #[arg(long, default_value_t = 1_000)]
    runs: u64,
    /// Seed of all draws.
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
    /// Only scenarios whose name holds this.
    #[arg(long)]
    only: Option<String>,
}

/// What a scenario promises.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Promise {
    /// At most this part of the releases is refused.
    Level(f64),
    /// At least this part of the releases is refused.
    Power(f64),
    /// Nothing: a figure to know.
    None,
}

struct Scenario {
    name: String,
    /// Part of the runs asked for.
    part: f64,
    promise: Promise,
    simulate: Box<dyn Fn(&mut Chance) -> Outcome + Sync>,
}

/// Runs the calibration.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("seed {}, {} runs; figures in %, +- one standard error", args.seed, args.runs);
    println!(
        "{:<44}{:>6}  {:>15} {:>5}  {:>15} {:>5}  {:>8}",
        "scenario", "runs", "no-go", "look", "go", "look", "restless"
    );
    let mut broken = Vec::new();
    for scenario in scenarios() {
        if args.only.as_ref().is_some_and(|only| !scenario.name.contains(only.as_str())) {
            continue;
        }
        let n = ((args.runs as f64 * scenario.part) as u64).max(1);
        let outcomes = simulate_all(&scenario, n, args.seed);
        if !report(&scenario, &outcomes) {
            broken.push(scenario.name);
        }
    }
    if !broken.is_empty() {
        bail!("promises broken: {}", broken.join("; "));
    }
    Ok(())
}

/// Runs a scenario on every core; the outcomes do not depend on how many there are.
fn simulate_all(scenario: &Scenario, n: u64, seed: u64) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes: Vec<(u64, Outcome)> = thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= n {
                    return own;
                }
                own.push((run, (scenario.simulate)(&mut Chance::new(seed, run))));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a simulation does not panic")).collect()
    });
    outcomes.sort_by_key(|(run, _)| *run);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Prints a scenario's figures; tells whether its promise was kept.
fn report(scenario: &Scenario, outcomes: &[Outcome]) -> bool {
    let column = |decision: Decision| {
        let share = simulate::share(outcomes, |run| run.decision == decision);
        let mut looks: Vec<usize> =
            outcomes.iter().filter(|run| run.decision == decision).filter_map(|run| run.look).collect();
        looks.sort_unstable();
        let median = looks.get(looks.len() / 2).map_or_else(|| "-".to_owned(), usize::to_string);
        (share, median)
    };
    let ((refused, refused_at), (gone, gone_at)) = (column(Decision::NoGo), column(Decision::Go));
    let restless = simulate::share(outcomes, |run| run.n_restless > 0);
    let n = outcomes.len() as f64;
    let (is_kept, promise) = match scenario.promise {
        Promise::Level(alpha) => {
            let error = 100.0 * (alpha * (1.0 - alpha) / n).sqrt();
            (refused.percent <= 100.0 * alpha + 3.0 * error, format!("at most {} %", 100.0 * alpha))
        }
        Promise::Power(part) => {
            (refused.percent >= 100.0 * part - 3.0 * refused.error, format!("at least {} %", 100.0 * part))
        }
        Promise::None => (true, String::new()),
    };
    println!(
        "{:<44}{n:>6}  {:>6.2} +- {:>5.2} {refused_at:>5}  {:>6.2} +- {:>5.2} {gone_at:>5}  {:>8.2}  {promise}{}",
        scenario.name,
        refused.percent,
        refused.error,
        gone.percent,
        gone.error,
        restless.percent,
        if is_kept { "" } else { "  BROKEN" },
    );
    is_kept
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    means(&mut all);
    counts(&mut all);
    distributions(&mut all);
    log_patterns(&mut all);
    demo(&mut all);
    all
}

fn add(
    all: &mut Vec<Scenario>,
    name: impl Into<String>,
    part: f64,
    promise: Promise,
    simulate: impl Fn(&mut Chance) -> Outcome + Sync + 'static,
) {
    all.push(Scenario { name: name.into(), part, promise, simulate: Box::new(simulate) });
}

fn means(all: &mut Vec<Scenario>) {
    let setting =
        |checks, rho, history, shift| Means { checks, rho, history, shift, margin: 0.1, alpha: 0.01 };
    for (history, label, part) in [(0, "no history", 0.5), (180, "3 h", 1.0), (1_440, "24 h", 0.5)] {
        for rho in [0.0, 0.3, 0.6, 0.9] {
            let same = setting(10, rho, history, 0.0);
            add(all, format!("M ten checks, AR {rho}, {label}"), part, Promise::Level(0.01), move |chance| {
                simulate::means(same, chance)
            });
        }
    }
    for (history, label) in [(180, "3 h"), (1_440, "24 h")] {
        for rho in [0.0, 0.6] {
            let (worse, same) = (setting(1, rho, history, 0.1), setting(1, rho, history, 0.0));
            add(all, format!("M one check, +10 %, AR {rho}, {label}"), 1.0, Promise::None, move |chance| {
                simulate::means(worse, chance)
            });
            add(
                all,
                format!("M one check, unchanged, AR {rho}, {label}"),
                1.0,
                Promise::Level(0.01),
                move |chance| simulate::means(same, chance),
            );
        }
    }
}

fn counts(all: &mut Vec<Scenario>) {
    let setting =
        |rates, clump, share, held_to| Errors { rates, history: 1_440, clump, share, alpha: 0.01, held_to };
    for (normal, more, best) in [(0.05, 0.2, 0.51), (0.5, 1.0, 0.79), (5.0, 6.0, 0.48)] {
        let (same, worse) =
            (setting((normal, normal), 1, 0.5, "vote: veto"), setting((normal, more), 1, 0.5, "vote: veto"));
        add(
            all,
            format!("C errors {normal} a minute, unchanged"),
            2.0,
            Promise::Level(0.01),
            move |chance| simulate::errors(same, chance),
        );
        // Three quarters of what the most powerful test finds at minute 60.
        add(
            all,
            format!("C errors {normal} -> {more} a minute"),
            2.0,
            Promise::Power(0.75 * best),
            move |chance| simulate::errors(worse, chance),
        );
    }
    for share in [0.5, 0.1] {
        let clumped = setting((5.0, 5.0), 5, share, "vote: veto");
        add(
            all,
            format!("C clumps of five, share {share}, unchanged"),
            1.0,
            Promise::Level(0.01),
            move |chance| simulate::errors(clumped, chance),
        );
    }
    for (name, rates) in
        [("unchanged", (0.5, 0.5)), ("harm = margin", (0.5, 2.5)), ("no error at all", (0.0, 0.0))]
    {
        let margin = setting(rates, 1, 0.5, "margin: { absolute: 0.002 }");
        add(all, format!("C margin 0.2 pp, {name}"), 0.5, Promise::None, move |chance| {
            simulate::errors(margin, chance)
        });
    }
}

fn distributions(all: &mut Vec<Scenario>) {
    const SAME: Slow = Slow { part: 0.0, factor: 1.0 };
    const TAIL: Slow = Slow { part: 0.1, factor: 10.0 };
    const SHIFT: Slow = Slow { part: 1.0, factor: 1.1 };
    let kinds = [
        ("unchanged", SAME, Promise::Level(0.01)),
        ("1 in 10 ten times slower", TAIL, Promise::Power(0.95)),
        ("median +10 %", SHIFT, Promise::None),
    ];
    for (history, label) in [(180, "3 h"), (0, "no history")] {
        for (wander, minutes) in [((0.0, 0.0), ""), ((0.6, 0.1), ", minutes vary")] {
            for (name, slow, promise) in kinds {
                let setting = Latency { requests: 100, history, slow, wander, alpha: 0.01 };
                add(all, format!("D {name}, {label}{minutes}"), 0.3, promise, move |chance| {
                    simulate::latency(setting, chance)
                });
            }
        }
    }
}

fn log_patterns(all: &mut Vec<Scenario>) {
    for (baseline, label) in [(1.0, "equal traffic"), (10.0, "ten times the traffic")] {
        let setting = move |new| Logs { baseline, new, alpha: 0.01 };
        add(all, format!("L unchanged, {label}"), 0.2, Promise::Level(0.01), move |chance| {
            simulate::logs(setting(0.0), chance)
        });
        add(all, format!("L new line in 1 of 2,000, {label}"), 0.2, Promise::Power(0.9), move |chance| {
            simulate::logs(setting(0.000_5), chance)
        });
    }
}

fn demo(all: &mut Vec<Scenario>) {
    for share in [0.1, 0.5] {
        for (name, fault, promise) in [
            ("good", Fault::None, Promise::Level(0.01)),
            ("bad", Fault::Bad, Promise::Power(0.99)),
            ("slow", Fault::Slow, Promise::Power(0.99)),
            ("errors", Fault::Errors, Promise::Power(0.99)),
        ] {
            add(all, format!("demo, {name}, share {share}"), 0.3, promise, move |chance| {
                simulate::demo(400.0, share, fault, chance)
            });
        }
    }
}
