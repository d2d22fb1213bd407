//! Reference values from SciPy 1.17.1, made by `reference.py` beside this file; properties; and the rate
//! of false alarms.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::smirnov::kolmogorov_sf;
use super::*;

const A: [f64; 5] = [1.1, 2.3, 2.9, 4.0, 5.6];
const B: [f64; 6] = [2.0, 3.1, 4.4, 6.2, 7.0, 8.8];
const C: [f64; 6] = [1.0, 1.0, 2.0, 2.0, 3.0, 5.0];
const D: [f64; 7] = [1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 6.0];

fn wave(n: u32, middle: f64, height: f64, step: f64, start: f64) -> Vec<f64> {
    (0..n).map(|i| middle + height * (step * f64::from(i) + start).sin()).collect()
}

fn e() -> Vec<f64> {
    wave(60, 10.0, 3.0, 1.7, 0.0)
}

fn f() -> Vec<f64> {
    wave(75, 10.8, 3.0, 2.3, 1.0)
}

fn k() -> Vec<f64> {
    wave(20, 10.0, 3.0, 1.7, 0.0)
}

fn l() -> Vec<f64> {
    wave(35, 13.0, 5.0, 2.3, 1.0)
}

fn floors(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.floor()).collect()
}

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-10 * want.abs(), "{got:e}, not {want:e}");
}

#[track_caller]
fn tails(got: Tails, less: f64, greater: f64, two_sided: f64) {
    near(got.less, less);
    near(got.greater, greater);
    near(got.two_sided, two_sided);
}

#[test]
fn mann_whitney_is_exact_for_small_samples() {
    let result = mann_whitney(&A, &B).unwrap();
    assert_eq!((result.u, result.law), (23.0, Law::Exact));
    near(result.superiority, 23.0 / 30.0);
    tails(result.p, 0.9372294372294372, 0.08874458874458874, 0.17748917748917747);
    let result = mann_whitney(&k(), &l()).unwrap();
    assert_eq!((result.u, result.law), (517.0, Law::Exact));
    tails(result.p, 0.9985869812337315, 0.001502904266046973, 0.003005808532093946);
    // With ties, by going through all 1,716 ways to deal the pool.
    let result = mann_whitney(&C, &D).unwrap();
    assert_eq!((result.u, result.law), (27.0, Law::Exact));
    tails(result.p, 0.828088578088578, 0.20687645687645687, 0.41375291375291374);
}

#[test]
fn mann_whitney_has_the_normal_limit() {
    let result = mann_whitney(&e(), &f()).unwrap();
    assert_eq!((result.u, result.law), (2818.0, Law::Limit));
    tails(result.p, 0.9940881077911436, 0.005986616522872491, 0.011973233045744982);
    let result = mann_whitney(&floors(&e()), &floors(&f())).unwrap();
    assert_eq!((result.u, result.law), (2763.0, Law::Limit));
    tails(result.p, 0.9892826476223636, 0.010844829773865161, 0.021689659547730323);
}

#[test]
fn welch_agrees_with_the_reference() {
    let result = welch(&A, &B).unwrap();
    near(result.t, 1.6028221707992771);
    near(result.df, 8.692469287846244);
    near(result.p.two_sided, 0.14463001708419213);
    let (low, high) = result.interval(0.02);
    near(low, -1.6007957295474204);
    near(high, 5.74079572954742);
    let result = welch(&k(), &l()).unwrap();
    near(result.t, 3.8391081656615205);
    near(result.df, 52.817211367163154);
    near(result.p.two_sided, 0.00033222211421845107);
    near(welch(&C, &D).unwrap().p.two_sided, 0.4602841402271438);
}

#[test]
fn kolmogorov_smirnov_agrees_with_the_reference() {
    for (base, canary, d, p) in [
        (A.to_vec(), B.to_vec(), 0.5, 0.35714285714285715),
        (e(), f(), 0.25333333333333335, 0.02309649352478226),
        (k(), l(), 0.4857142857142857, 0.003046269395527475),
        // With ties, by going through all ways to deal the pool.
        (C.to_vec(), D.to_vec(), 0.23809523809523808, 0.7902097902097902),
    ] {
        let result = kolmogorov_smirnov(&base, &canary).unwrap();
        assert_eq!(result.law, Law::Exact);
        near(result.d, d);
        near(result.p, p);
    }
    for (x, want) in [
        (0.3, 0.9999906941986655),
        (0.8, 0.5441424115741981),
        (1.0, 0.26999967167735456),
        (1.36, 0.049485876755377876),
        (2.5, 7.453306344157342e-06),
        (4.0, 2.532833109818835e-14),
    ] {
        near(kolmogorov_sf(x), want);
    }
}

#[test]
fn the_limit_of_kolmogorov_smirnov_is_near_the_exact_law() {
    let base = wave(3_000, 10.0, 3.0, 1.7, 0.0);
    let close = |shift: f64, n: u32| {
        let canary = wave(n, 10.0 + shift, 3.0, 2.3, 1.0);
        kolmogorov_smirnov(&base, &canary).unwrap()
    };
    for shift in [0.01, 0.02, 0.03] {
        let (exact, limit) = (close(shift, 3_333), close(shift, 3_334));
        assert_eq!((exact.law, limit.law), (Law::Exact, Law::Limit));
        assert!((exact.p / limit.p).ln().abs() < 0.15, "{exact:?} {limit:?}");
    }
}

#[test]
fn anderson_darling_agrees_with_the_reference() {
    for (base, canary, statistic) in [
        (A.to_vec(), B.to_vec(), 0.5751145195729702),
        (C.to_vec(), D.to_vec(), -0.5809142438444321),
        (e(), f(), 5.1677627121976455),
        (floors(&e()), floors(&f()), 6.505904437116316),
        (k(), l(), 5.523206603345859),
    ] {
        near(anderson_darling(&[&base, &canary]).unwrap().statistic, statistic);
    }
    // By going through all 462 ways to deal the pool; the error of 2,000 random ones is 0.9 %.
    let dealt = anderson_darling(&[&A, &B]).unwrap();
    assert!(dealt.law == Law::Dealt && (dealt.p - 0.2142857).abs() < 0.03, "{dealt:?}");
    near(anderson_darling(&[&A, &B, &k()]).unwrap().statistic, 8.836062061920222);
}

#[test]
fn anderson_darling_has_the_quantiles_of_its_authors_table() {
    // Their fit of Table 1, for two samples and for five: b0 + b1 / sqrt(m) + b2 / m with m one less.
    const FIT: [(f64, f64, f64, f64); 5] = [
        (0.25, 0.675, -0.245, -0.105),
        (0.1, 1.281, 0.25, -0.305),
        (0.05, 1.645, 0.678, -0.362),
        (0.025, 1.96, 1.149, -0.391),
        (0.01, 2.326, 1.822, -0.396),
    ];
    for df in [1.0_f64, 4.0] {
        let sd = (df * (2.0 * std::f64::consts::PI.powi(2) / 3.0 - 6.0)).sqrt();
        for (tail, b0, b1, b2) in FIT {
            let quantile = b0 + b1 / df.sqrt() + b2 / df;
            let got = super::anderson::limit_sf(df + quantile * sd, df);
            // Their smallest tail is 2.4 % off: the exact quantile of the limit for two samples is 3.780.
            assert!((got / tail - 1.0).abs() < 0.03, "{got} for {tail} at {quantile}, df {df}");
        }
    }
}

#[test]
fn fisher_agrees_with_the_reference() {
    for (base, canary, less, greater, two_sided) in [
        ((5, 100), (12, 90), 0.9889352828648965, 0.03904438209329848, 0.07229024499152467),
        ((3, 20), (0, 15), 0.17417876241405653, 1.0, 0.24369747899159663),
        ((0, 50), (0, 60), 1.0, 1.0, 1.0),
        ((300, 40_000), (45, 2_000), 0.9999999996516266, 1.0971339993651626e-09, 1.0971339993651626e-09),
        (
            (2_600, 5_120_000),
            (60, 51_700),
            0.9999999937970396,
            1.4592903958673289e-08,
            2.3487447293261862e-08,
        ),
        ((7, 9), (1, 11), 0.0032150512026673022, 0.9999285544177186, 0.004524886877828055),
    ] {
        let result = fisher(base, canary).unwrap();
        // SciPy's own figures are good to some 1e-9 at counts in the millions.
        let near = |got: f64, want: f64| {
            assert!((got / want - 1.0).abs() < 2e-9, "{got:e}, not {want:e} for {base:?} {canary:?}");
        };
        near(result.p.less, less);
        near(result.p.greater, greater);
        near(result.p.two_sided, two_sided);
    }
}

#[test]
fn what_cannot_be_tested_is_an_error() {
    assert_eq!(mann_whitney(&[], &A).unwrap_err(), StatError::TooFew { n: 0, need: 1 });
    assert_eq!(mann_whitney(&[2.0, 2.0], &[2.0]).unwrap_err(), StatError::NoSpread);
    assert_eq!(mann_whitney(&[f64::NAN], &A).unwrap_err(), StatError::NonFinite);
    assert_eq!(welch(&[1.0], &A).unwrap_err(), StatError::TooFew { n: 1, need: 2 });
    assert_eq!(welch(&[0.3, 0.3], &[0.1 + 0.2, 0.3]).unwrap_err(), StatError::NoSpread);
    assert_eq!(kolmogorov_smirnov(&[f64::INFINITY], &A).unwrap_err(), StatError::NonFinite);
    assert_eq!(anderson_darling(&[&A]).unwrap_err(), StatError::TooFew { n: 1, need: 2 });
    assert_eq!(anderson_darling(&[&[1.0, 1.0], &[1.0, 1.0]]).unwrap_err(), StatError::NoSpread);
    assert_eq!(fisher((5, 4), (0, 1)).unwrap_err(), StatError::TooFew { n: 4, need: 5 });
    assert_eq!(fisher((0, 1 << 60), (0, 1)).unwrap_err(), StatError::CountTooLarge);
}

#[test]
fn equal_samples_show_nothing() {
    assert_eq!(kolmogorov_smirnov(&A, &A).unwrap().p, 1.0);
    assert_eq!(mann_whitney(&A, &A).unwrap().p.two_sided, 1.0);
    assert!(anderson_darling(&[&B, &B]).unwrap().p > 0.9);
    assert_eq!(fisher((10, 100), (10, 100)).unwrap().p.two_sided, 1.0);
}

/// The share of runs without a difference in which each test has p at most 5 %. Exact laws may stay
/// below; limits must come near.
#[test]
fn false_alarms_come_at_the_rate_that_p_says() {
    const RUNS: u32 = 1_500;
    const RUNS_DEALT: u32 = 250;
    let mut chance = ChaCha8Rng::seed_from_u64(7);
    let mut draw = |n: usize, levels: f64| -> Vec<f64> {
        (0..n)
            .map(|_| {
                let value = -(1.0 - chance.random::<f64>()).ln();
                if levels > 0.0 { (value * levels).floor() } else { value }
            })
            .collect()
    };
    for (m, n, levels) in [(6, 9, 0.0), (8, 30, 2.0), (70, 90, 0.0), (60, 120, 1.5)] {
        let mut alarms = [0_u32; 4];
        for run in 0..RUNS {
            let (base, canary) = (draw(n, levels), draw(m, levels));
            let events = |side: &[f64]| {
                let n = side.iter().filter(|value| **value > 1.0).count();
                (n as u64, side.len() as u64)
            };
            let ps = [
                mann_whitney(&base, &canary).map_or(1.0, |one| one.p.two_sided),
                kolmogorov_smirnov(&base, &canary).unwrap().p,
                fisher(events(&base), events(&canary)).unwrap().p.two_sided,
                // Two thousand deals a run take their time.
                if run < RUNS_DEALT {
                    anderson_darling(&[&base, &canary]).map_or(1.0, |one| one.p)
                } else {
                    1.0
                },
            ];
            for (alarm, p) in alarms.iter_mut().zip(ps) {
                *alarm += u32::from(p <= 0.05);
            }
        }
        // Three standard errors of 1,500 runs at 5 % are 1.7 points, of 250 runs 4.2.
        for (test, alarms) in ["rank", "smirnov", "fisher", "anderson"].into_iter().zip(alarms) {
            let runs = if test == "anderson" { RUNS_DEALT } else { RUNS };
            let share = f64::from(alarms) / f64::from(runs);
            let (low, high) = if test == "anderson" { (0.008, 0.092) } else { (0.033, 0.067) };
            let least = if test == "fisher" || test == "smirnov" || m < 10 { 0.0 } else { low };
            assert!((least..=high).contains(&share), "{test}, {m} against {n}: {share}");
        }
    }
}

proptest! {
    #[test]
    fn exchanging_the_sides_exchanges_the_tails(
        a in prop::collection::vec(-9..9_i32, 2..12),
        b in prop::collection::vec(-9..9_i32, 2..60),
    ) {
        let (a, b): (Vec<f64>, Vec<f64>) =
            (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
        if let (Ok(there), Ok(back)) = (mann_whitney(&a, &b), mann_whitney(&b, &a)) {
            prop_assert!((there.superiority + back.superiority - 1.0).abs() < 1e-12);
            prop_assert!((there.p.less - back.p.greater).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&there.p.two_sided));
        }
        if let (Ok(there), Ok(back)) = (welch(&a, &b), welch(&b, &a)) {
            prop_assert!((there.t + back.t).abs() < 1e-9);
            prop_assert!((there.p.less - back.p.greater).abs() < 1e-9);
        }
        let (there, back) = (kolmogorov_smirnov(&a, &b).unwrap(), kolmogorov_smirnov(&b, &a).unwrap());
        prop_assert!((there.p - back.p).abs() < 1e-12 && there.d == back.d);
        if let (Ok(there), Ok(back)) = (anderson_darling(&[&a, &b]), anderson_darling(&[&b, &a])) {
            prop_assert!((there.statistic - back.statistic).abs() < 1e-9);
        }
    }

    /// Ranks know only the order, so that any rising map leaves them as they are.
    #[test]
    fn rank_tests_do_not_change_under_rising_maps(
        a in prop::collection::vec(-20..20_i32, 2..20),
        b in prop::collection::vec(-20..20_i32, 2..20),
    ) {
        let plain = |side: &[i32]| side.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let curved = |side: &[i32]| side.iter().map(|v| (f64::from(*v) / 5.0).exp()).collect::<Vec<_>>();
        prop_assert_eq!(mann_whitney(&plain(&a), &plain(&b)), mann_whitney(&curved(&a), &curved(&b)));
        prop_assert_eq!(
            kolmogorov_smirnov(&plain(&a), &plain(&b)),
            kolmogorov_smirnov(&curved(&a), &curved(&b))
        );
    }

    #[test]
    fn fisher_is_the_sum_of_its_tables(xb in 0..30_u64, nb in 1..30_u64, xc in 0..30_u64, nc in 1..30_u64) {
        let (base, canary) = ((xb.min(nb), nb), (xc.min(nc), nc));
        let there = fisher(base, canary).unwrap();
        let back = fisher(canary, base).unwrap();
        prop_assert!((there.p.less - back.p.greater).abs() < 1e-9);
        prop_assert!((there.p.two_sided - back.p.two_sided).abs() < 1e-9);
        prop_assert!(there.p.less + there.p.greater >= 1.0 - 1e-9);
        prop_assert!(there.p.two_sided >= there.p.less.min(there.p.greater) - 1e-12);
    }
}
