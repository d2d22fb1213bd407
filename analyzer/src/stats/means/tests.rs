//! Reference values by `reference.py` beside this file, and properties.

use super::*;
use proptest::prelude::*;

fn data(n: usize, offset: usize) -> Vec<f64> {
    (offset..offset + n).map(|i| i as f64).map(|i| (1.7 * i).sin() + 0.5 * (0.37 * i * i).cos()).collect()
}

fn history() -> Vec<f64> {
    let mut pre = data(240, 0);
    pre[50..55].fill(f64::NAN);
    pre[100] = 30.0;
    pre
}

fn release() -> Vec<f64> {
    let mut release: Vec<f64> = data(20, 1000).iter().map(|value| value + 1.5).collect();
    release[3] = f64::NAN;
    release[7] = 12.0;
    release
}

#[track_caller]
fn check(means: &Means, noise: f64, margin: f64, p_harm: f64, p_go: f64, shift: f64) {
    let look = means.look(&release(), noise);
    for (got, want) in
        [(look.p_harm(0.0), p_harm), (look.p_go(margin), p_go), (look.estimate().unwrap(), shift)]
    {
        assert!((got / want - 1.0).abs() < 1e-6, "{got:e}, not {want:e}");
    }
}

#[test]
fn agrees_with_dense_matrices() {
    check(&Means::new(&history()), 1.0, 2.5, 2.4870096537385353e-11, 0.13734554174541813, 1.5105641911824728);
    check(&Means::new(&history()), 2.2, 2.5, 1.1247418132907153e-08, 0.18611939628574603, 1.5954468278661023);
    check(
        &Means::new(&data(90, 300)),
        1.0,
        4.0,
        1.6125113028811378e-06,
        0.0003846782982795332,
        1.5068363746068807,
    );
    check(
        &Means::new(&data(700, 0)),
        1.0,
        2.5,
        4.705139186662729e-13,
        0.16876843501319685,
        1.538668691641343,
    );
    check(&Means::without_history(), 1.0, 4.0, 0.03491724340601057, 0.023733709576524858, 1.9227702833467073);
}

#[test]
fn a_constant_series_proves_nothing() {
    for means in [Means::new(&[1.0; 300]), Means::without_history()] {
        let look = means.look(&[1.0; 30], 1.0);
        assert_eq!((look.p_harm(0.0), look.p_go(1.0)), (1.0, 1.0));
        assert_eq!(look.interval(1e-3), (f64::NEG_INFINITY, f64::INFINITY));
    }
}

#[test]
fn nothing_is_said_too_early() {
    let means = Means::without_history();
    assert_eq!(means.look(&data(9, 0), 1.0).p_harm(-10.0), 1.0);
    assert!(means.look(&data(10, 0), 1.0).p_harm(-10.0) < 0.01);
    assert_eq!(Means::new(&history()).look(&[f64::NAN; 5], 1.0).p_harm(0.0), 1.0);
}

#[test]
fn a_placebo_window_as_high_forbids_harm() {
    let mut wild = data(240, 0);
    wild[100..130].iter_mut().for_each(|value| *value += 2.0);
    let (calm, wild) = (Means::new(&data(240, 0)), Means::new(&wild));
    let release: Vec<f64> = data(20, 1000).iter().map(|value| value + 1.0).collect();
    assert!(calm.look(&release, 1.0).p_harm(0.0) < 1e-3);
    assert_eq!(wild.look(&release, 1.0).p_harm(0.0), 1.0);
}

#[test]
fn the_sieve_never_stops_what_would_cross() {
    let (means, sieve) = (Means::new(&history()), Sieve::new(&history(), 20));
    let mut n_crossed = 0;
    for (shift, far, noise, x) in [0.0, 0.3, 0.6, 1.0, 2.0, 12.0]
        .into_iter()
        .flat_map(|shift| [0.0, 12.0, 40.0].map(|far| (shift, far)))
        .flat_map(|(shift, far)| [1.0, 9.0].map(|noise| (shift, far, noise)))
        .flat_map(|(shift, far, noise)| [0.0, 2.0].map(|x| (shift, far, noise, x)))
    {
        for n in [1, 3, 10, 40] {
            let mut release: Vec<f64> = data(n, 1000).iter().map(|value| value + shift).collect();
            release[0] += far;
            let crosses = means.look(&release, noise).p_harm(x) <= 1e-3;
            n_crossed += usize::from(crosses);
            assert!(!crosses || sieve.may_cross(&release, noise, x, 1e-3), "{shift} {far} {noise} {x} {n}");
        }
    }
    assert!(n_crossed > 10);
}

proptest! {
    #[test]
    fn intervals_agree_with_p(shift in -2.0..2.0_f64, n in 3_usize..60, level in 1e-6..0.02_f64) {
        let release: Vec<f64> = data(n, 777).iter().map(|value| value + shift).collect();
        let look = Means::new(&history()).look(&release, 1.0);
        let (low, high) = look.interval(level);
        prop_assert!(look.p_harm(low - 1e-6) <= level * 1.001 && look.p_harm(low + 1e-6) >= level * 0.999);
        prop_assert!(look.p_go(high + 1e-6) <= level * 1.001 && look.p_go(high - 1e-6) >= level * 0.999);
    }

    #[test]
    fn units_and_offsets_do_not_matter(scale in 0.01..100.0_f64, offset in -1e3..1e3_f64, n in 2_usize..40) {
        let turn = |values: Vec<f64>| values.into_iter().map(|value| scale * value + offset).collect::<Vec<_>>();
        let release: Vec<f64> = data(n, 500).iter().map(|value| value + 0.7).collect();
        let there = Means::new(&history()).look(&release, 1.0).p_harm(0.1);
        let back = Means::new(&turn(history())).look(&turn(release), 1.0).p_harm(0.1 * scale);
        prop_assert!((there - back).abs() <= 1e-6 * there + 1e-12, "{} {}", there, back);
    }

    #[test]
    fn more_is_more_harm(n in 2_usize..40, shift in 0.0..1.0_f64) {
        let look = |more: f64| {
            let release: Vec<f64> = data(n, 500).iter().map(|value| value + shift + more).collect();
            Means::new(&data(240, 0)).look(&release, 1.0).p_harm(0.0)
        };
        prop_assert!(look(0.5) <= look(0.0) * 1.001 + 1e-12);
    }
}
