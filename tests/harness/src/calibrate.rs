//! Simulates good and bad releases and judges them through the judge's own door.
//!
//! Prints what share of the good ones was refused, what share of the bad ones was found, how soon, and
//! what share went, each with its standard error. Exits with 1 when more good releases are refused than
//! alpha allows, or fewer of the others are found than promised, by more than three standard errors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::bail;
use greylight_analyzer::verdict::Decision;

mod scenarios;
// The same simulations, in short runs, are tests of the analyzer.
#[path = "../../../analyzer/tests/simulate/mod.rs"]
mod simulate;

use scenarios::scenarios;
use simulate::{Chance, Outcome};

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

/// What a scenario promises, in parts of the releases.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Promise {
    /// At most so many are refused.
    Refused(f64),
    /// At least so many are refused.
    Found(f64),
    /// At least so many are refused by this look.
    FoundBy(f64, usize),
    /// Nothing is decided after this look.
    SilentAfter(usize),
    /// At most so many go.
    FalseGo(f64),
    /// At least so many go.
    Goes(f64),
    /// Nothing: a figure to know.
    None,
}

/// Standard errors from which a figure counts as short of its promise, and as breaking it.
const SHORT: f64 = 2.0;
const BROKEN: f64 = 3.0;

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
        "{:<58}{:>6}  {:>15} {:>5}  {:>15} {:>5}  {:>8}",
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
    let error = |part: f64| 100.0 * (part * (1.0 - part) / n).sqrt();
    // By how many standard errors the promise is missed.
    let (missed, promise) = match scenario.promise {
        Promise::Refused(part) => {
            ((refused.percent - 100.0 * part) / error(part), format!("at most {} % no-go", 100.0 * part))
        }
        Promise::Found(part) => {
            ((100.0 * part - refused.percent) / refused.error, format!("at least {} % no-go", 100.0 * part))
        }
        Promise::FoundBy(part, look) => {
            let by = simulate::share(outcomes, |run| {
                run.decision == Decision::NoGo && run.look.is_some_and(|at| at <= look)
            });
            let promise = format!("{:.1} % by look {look}, at least {} %", by.percent, 100.0 * part);
            ((100.0 * part - by.percent) / by.error, promise)
        }
        Promise::SilentAfter(look) => {
            let late = outcomes.iter().filter(|run| run.look.is_some_and(|at| at > look)).count();
            let missed = if late > 0 { f64::INFINITY } else { 0.0 };
            (missed, format!("{late} decided after look {look}, at most 0"))
        }
        Promise::FalseGo(part) => {
            ((gone.percent - 100.0 * part) / error(part), format!("at most {} % go", 100.0 * part))
        }
        Promise::Goes(part) => {
            ((100.0 * part - gone.percent) / gone.error, format!("at least {} % go", 100.0 * part))
        }
        Promise::None => (0.0, String::new()),
    };
    let mark = match missed {
        missed if missed > BROKEN => "  BROKEN",
        missed if missed > SHORT => "  short",
        _ => "",
    };
    println!(
        "{:<58}{n:>6}  {:>6.2} +- {:>5.2} {refused_at:>5}  {:>6.2} +- {:>5.2} {gone_at:>5}  {:>8.2}  {promise}{mark}",
        scenario.name, refused.percent, refused.error, gone.percent, gone.error, restless.percent,
    );
    missed <= BROKEN
}
