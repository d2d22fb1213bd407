//! Measures a backtest: a week of made minutes, ten checks, A/A runs and effects, on one core.

use std::time::Instant;

use anyhow::{Context, bail};
use greylight_analyzer::backtest::{Feed, History, Injection, PlaceboKind, Plan, Track, Watch, backtest};
use greylight_analyzer::judge::{Counts, Data, Histogram, Series};
use greylight_analyzer::policy::{CheckKind, Queries, parse};
use indexmap::IndexMap;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Settings of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Placebo releases.
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Units of the cohort.
    #[arg(long, default_value_t = 8)]
    units: usize,
    /// Effects to put in.
    #[arg(long, value_delimiter = ',', default_value = "5%,10%,20%")]
    effects: Vec<String>,
    /// Seed of data and draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest that it may take in seconds.
    #[arg(long, default_value_t = 30.0)]
    seconds_max: f64,
}

const MINUTE_MS: i64 = 60_000;
const WEEK: usize = 7 * 24 * 60;

const POLICY: &str = "
name: week
interval: 1m
pre_period: 24h
warm_up: 2m
phases: [{ name: all, lasts: { at_least: 10m, at_most: 1h } }]
checks:
  - { name: errors, kind: ratio, margin: { absolute: 0.005 } }
  - { name: client errors, kind: ratio, margin: { relative: 20% } }
  - { name: timeouts, kind: ratio, vote: veto }
  - { name: restarts, kind: count, vote: veto }
  - { name: cpu, kind: mean, margin: { relative: 10% } }
  - { name: memory, kind: mean, margin: { relative: 10% } }
  - { name: queue, kind: mean, margin: { relative: 20% } }
  - { name: threads, kind: mean, margin: { relative: 10% } }
  - { name: latency, kind: distribution, margin: { relative: 10% } }
  - { name: database, kind: distribution, margin: { relative: 20% } }
";

/// Runs the measurement.
#[expect(clippy::disallowed_methods, reason = "it measures by the machine's clock")]
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let policy = parse(POLICY, Queries::Optional)?;
    let effect = |text: &String| {
        let percent: f64 = text.trim_end_matches('%').parse().with_context(|| format!("effect {text:?}"))?;
        Ok(Injection { text: text.clone(), part: percent / 100.0 })
    };
    let mut plan = Plan {
        policy,
        canary_hosts: 1,
        runs: args.runs,
        seed: args.seed,
        effects: args.effects.iter().map(effect).collect::<anyhow::Result<_>>()?,
        placebos: PlaceboKind::Splits,
    };
    let history = history(&plan, args);
    println!(
        "seed {}, {} units, a week of minutes, ten checks, {} placebo releases",
        args.seed, args.units, args.runs
    );
    let effects = std::mem::take(&mut plan.effects);
    let mut total = 0.0;
    for (what, effects) in [("without effects", Vec::new()), ("with effects", effects)] {
        plan.effects = effects;
        let start = Instant::now();
        let mut next = |_, _| {};
        let mut watch = Watch { next: &mut next, is_cancelled: &|| false };
        let report = backtest(&plan, &history, &mut watch)?;
        total = start.elapsed().as_secs_f64();
        let shown = |share: Option<f64>| 100.0 * share.unwrap_or(f64::NAN);
        println!(
            "{what:<18}{total:>7.2} s; refused {:.1} %, go {:.1} % in {}",
            shown(report.refused.share),
            shown(report.go.share.share),
            report.go.median.as_deref().unwrap_or("-")
        );
        for one in &report.power {
            let median = one.median.as_deref().unwrap_or("-");
            println!("  {:<20}{:>6}  found {:>5.1} % in {median}", one.check, one.effect, shown(one.found));
        }
    }
    if total > args.seconds_max {
        bail!("it took {total:.1} s, more than {} s", args.seconds_max);
    }
    Ok(())
}

/// Makes a week of a calm service.
fn history(plan: &Plan, args: &Args) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let phase = &plan.policy.phases[0];
    let tracks = (phase.checks.iter())
        .map(|check| Track {
            units: (0..args.units).map(|unit| Some(data(&check.kind, unit, &mut rng))).collect(),
            births: Vec::new(),
            tells_units: matches!(check.kind, CheckKind::Ratio { .. }),
        })
        .collect();
    History {
        start_ms: 1_795_255_200_000,
        step_ms: MINUTE_MS,
        n: WEEK,
        units: (0..args.units).map(|unit| format!("unit-{unit}")).collect(),
        tracks,
        checks: vec![(0..phase.checks.len()).map(Feed::Track).collect()],
        starts: Vec::new(),
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || rng.random::<f64>().max(1e-300);
    (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

fn data(kind: &CheckKind, unit: usize, rng: &mut ChaCha8Rng) -> Data {
    let t_ms: Vec<i64> = (0..WEEK as i64).map(|i| 1_795_255_200_000 + i * MINUTE_MS).collect();
    let own = 1.0 + 0.02 * normal(rng);
    let load = |i: usize| 300.0 * (1.0 + 0.4 * (i as f64 * std::f64::consts::TAU / 1440.0).sin());
    match kind {
        CheckKind::Ratio { .. } | CheckKind::Count { .. } => {
            let is_ratio = matches!(kind, CheckKind::Ratio { .. });
            let trials: Vec<f64> = (0..WEEK).map(|i| if is_ratio { load(i).round() } else { 60.0 }).collect();
            let rate = if is_ratio { 0.003 } else { 0.000_1 };
            // Rare events one by one: gaps between them are exponential.
            let events = trials.iter().map(|n| {
                let (mut at, mut count) = (0.0, 0.0);
                loop {
                    at -= rng.random::<f64>().max(1e-300).ln() / rate;
                    if at > *n {
                        return Some(count);
                    }
                    count += 1.0;
                }
            });
            let events = events.collect();
            let exposure = trials.iter().copied().map(Some).collect();
            Data::Counts(Counts { t_ms, events, exposure, units: IndexMap::new() })
        }
        CheckKind::Mean { .. } => {
            let mut state = normal(rng);
            let value = |i: usize| {
                state = 0.6 * state + 0.8 * normal(rng);
                Some(load(i) * own * (1.0 + 0.1 * state).max(0.1))
            };
            let v = (0..WEEK).map(value).collect();
            Data::Values(vec![Series { instance: format!("unit-{unit}"), t_ms, v }])
        }
        _ => {
            let le = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];
            let row = |_| {
                let mut row = vec![0.0; le.len()];
                for _ in 0..60 {
                    let value = 0.08 * own * (0.6 * normal(rng)).exp();
                    row[le.partition_point(|edge: &f64| *edge < value)] += 1.0;
                }
                Some(row)
            };
            let counts = (0..WEEK).map(row).collect();
            Data::Histogram(Histogram { t_ms, le, counts, units: IndexMap::new() })
        }
    }
}
