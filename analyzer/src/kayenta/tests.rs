//! The judge against R (`reference.R` beside this file), its labels, its traps and its error rates.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::clean::{clean, percentile};
use super::config::Purpose;
use super::pairs::MetricSetPair;
use super::rank_test::shift;
use super::*;
use crate::stats::special::normal_isf;

fn wave(n: u32, middle: f64, height: f64, step: f64, start: f64) -> Vec<f64> {
    (0..n).map(|i| middle + height * (step * f64::from(i) + start).sin()).collect()
}

fn floors(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.floor()).collect()
}

fn counts(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.floor().max(0.0)).collect()
}

/// Name, canary, baseline, and R's lower limit, upper limit and estimate.
type Case = (&'static str, Vec<f64>, Vec<f64>, f64, f64, f64);

#[test]
fn limits_and_estimate_are_those_of_r() {
    let other = || wave(60, 10.0, 3.0, 2.3, 1.0);
    let cases: [Case; 11] = [
        ("four", vec![10.0, 20.0, 30.0, 40.0], vec![1.0, 2.0, 3.0, 4.0], 6.0, 39.0, 22.5),
        ("two", vec![9.0, 11.0], vec![1.0, 2.0], 7.0, 10.0, 8.5),
        (
            "unequal",
            vec![3.5, 4.5, 5.5, 2.5, 9.0],
            vec![1.0, 2.0, 2.5, 3.0, 4.0, 4.5, 6.0, 8.0],
            -3.49997472795,
            5.99999245814,
            1.00003890779,
        ),
        ("one_many", vec![20.0], (1..=9).map(f64::from).collect(), 11.0, 19.0, 15.0),
        ("same", wave(60, 10.0, 3.0, 1.7, 0.0), other(), -0.834267155492, 0.814758945537, 0.00277992683686),
        ("higher", wave(60, 12.0, 3.0, 1.7, 0.0), other(), 1.16573284451, 2.81475894554, 2.00277992684),
        ("lower", wave(45, 7.0, 3.0, 1.7, 0.0), other(), -3.92407771738, -2.11189703015, -2.99747346345),
        (
            "tied",
            floors(&wave(60, 11.0, 3.0, 1.7, 0.0)),
            floors(&wave(50, 10.0, 3.0, 2.3, 1.0)),
            1.95049957113e-5,
            1.99997372127,
            1.00004100293,
        ),
        (
            "sparse",
            counts(&wave(60, 0.0, 2.2, 1.7, 0.0)),
            counts(&wave(60, 0.0, 1.5, 2.3, 1.0)),
            -4.88696106311e-5,
            5.93818445983e-5,
            2.87073419708e-6,
        ),
        (
            "tiny",
            wave(60, 2e-5, 3e-6, 1.7, 0.0),
            wave(60, 1e-5, 3e-6, 2.3, 1.0),
            4.00876612668e-6,
            1.59991802992e-5,
            4.00876612668e-6,
        ),
        (
            "large",
            wave(60, 1.2e6, 3e5, 1.7, 0.0),
            wave(60, 1e6, 3e5, 2.3, 1.0),
            116579.774032,
            281471.929585,
            200277.992684,
        ),
    ];
    for (name, canary, baseline, lower, upper, estimate) in cases {
        let got = shift(&canary, &baseline, 0).unwrap();
        for (got, want) in [(got.lower, lower), (got.upper, upper), (got.estimate, estimate)] {
            // The walk is the same; the last digits are those of the quantile and of the sine.
            assert!((got - want).abs() <= 1e-9 * want.abs() + 1e-10, "{name}: {got:e}, not {want:e}");
        }
    }
}

#[test]
fn percentiles_and_fences_follow_type_seven() {
    let sorted = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0];
    for (p, want) in [(0.01, 1.0), (0.25, 1.75), (0.75, 5.25), (0.99, 8.79)] {
        assert!((percentile(&sorted, p).unwrap() - want).abs() < 1e-12);
    }
    let settings = Settings { outlier_factor: Some(3.0), ..Settings::default() };
    let mut values: Vec<f64> = (1..=200).map(f64::from).collect();
    values.push(5_000.0);
    assert_eq!(clean(&values, &settings).len(), 200);
    // One of few lies within the outer percentile's interpolation, so it stays beyond no fence.
    assert_eq!(clean(&[1.0, 2.0, f64::NAN], &Settings::default()), [1.0, 2.0]);
    let replace = Settings { nan_strategy: NanStrategy::Replace, ..Settings::default() };
    assert_eq!(clean(&[1.0, f64::NAN], &replace), [1.0, 0.0]);
}

fn config(settings: &Value) -> CanaryConfig {
    let document = json!({
        "metrics": [{ "name": "m", "groups": ["g"], "analysisConfigurations": { "canary": settings } }],
        "classifier": { "groupWeights": { "g": 100 } },
    });
    CanaryConfig::read(&document, "canaryConfig", Purpose::Judge).unwrap()
}

fn pair(name: &str, control: &[f64], experiment: &[f64]) -> MetricSetPair {
    MetricSetPair {
        name: name.to_owned(),
        id: name.to_owned(),
        tags: std::collections::BTreeMap::new(),
        control: control.to_vec(),
        experiment: experiment.to_vec(),
    }
}

fn judged(settings: &Value, control: &[f64], experiment: &[f64]) -> JudgeResult {
    let config = config(settings);
    let judge = NetflixJudge { config: &config, thresholds: Thresholds::default() };
    judge.judge(&[pair("m", control, experiment)]).unwrap()
}

#[track_caller]
fn check(settings: &Value, control: &[f64], experiment: &[f64], want: Label) {
    let result = judged(settings, control, experiment);
    assert_eq!(result.results[0].label, want, "{result:?}");
}

const NAN: f64 = f64::NAN;

#[test]
fn labels_come_in_their_order() {
    let none = json!({});
    // A side is empty.
    check(&json!({ "nanStrategy": "replace" }), &[], &[1.0], Label::Pass);
    check(&json!({ "mustHaveData": true }), &[NAN], &[1.0], Label::NodataFailMetric);
    check(&json!({ "mustHaveData": true, "critical": true }), &[NAN], &[1.0], Label::Nodata);
    check(&none, &[NAN], &[1.0], Label::Nodata);
    let critical = judged(&json!({ "critical": true }), &[NAN], &[1.0]);
    assert!(critical.results[0].is_critical && critical.score.score == 0.0);
    // Equal as multisets, one number throughout.
    check(&none, &[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0], Label::Pass);
    check(&none, &[4.0, 4.0], &[4.0, 4.0, 4.0], Label::Pass);
    // The test, by direction.
    let (low, high) = (wave(60, 10.0, 3.0, 2.3, 1.0), wave(60, 12.0, 3.0, 1.7, 0.0));
    check(&none, &low, &high, Label::High);
    check(&none, &high, &low, Label::Low);
    check(&json!({ "direction": "decrease" }), &low, &high, Label::Pass);
    check(&json!({ "direction": "increase" }), &high, &low, Label::Pass);
    check(&json!({ "direction": "sideways" }), &low, &high, Label::High);
    // Effects: the mean ratio is 1.2.
    check(&json!({ "effectSize": { "allowedIncrease": 1.3 } }), &low, &high, Label::Pass);
    check(&json!({ "effectSize": { "allowedDecrease": 0.7 } }), &high, &low, Label::Pass);
    check(&json!({ "effectSize": { "measure": "cles" } }), &low, &high, Label::High);
    check(&json!({ "effectSize": { "measure": "cles", "allowedIncrease": 0.9 } }), &low, &high, Label::Pass);
    for (least, is_critical) in [(1.1, true), (1.3, false)] {
        let settings = json!({ "critical": true, "effectSize": { "criticalIncrease": least } });
        let result = judged(&settings, &low, &high);
        assert_eq!(result.results[0].is_critical, is_critical);
        assert_eq!(result.score.reason.is_some(), is_critical);
    }
    assert!((judged(&none, &low, &high).results[0].ratio.unwrap() - 1.2).abs() < 0.01);
    // A mean of 0 makes the effect no number, which stands in nobody's way.
    let zeros = vec![0.0; 60];
    let raised = judged(&json!({ "effectSize": { "allowedIncrease": 9 } }), &zeros, &high);
    assert_eq!(raised.results[0].label, Label::High);
    assert!(raised.results[0].ratio.unwrap().is_nan());
}

#[test]
fn a_constant_canary_against_another_constant_gets_noise_from_a_seed() {
    let there = judged(&json!({}), &[5.0; 30], &[7.0; 30]);
    assert_eq!(there.results[0].label, Label::High);
    assert_eq!(there, judged(&json!({}), &[5.0; 30], &[7.0; 30]));
    assert_eq!(judged(&json!({}), &[7.0; 30], &[0.0; 30]).results[0].label, Label::Low);
}

#[test]
fn the_traps_are_all_there() {
    let none = json!({});
    // One point against one, or against zeros only.
    for (control, experiment) in [(vec![4.0], vec![5.0]), (vec![0.0; 9], vec![5.0])] {
        let result = judged(&json!({ "critical": true }), &control, &experiment);
        assert_eq!(result.results[0].label, Label::Error);
        // A group of errors counts as 100, and a critical error is not critical.
        assert_eq!((result.score.score, result.score.class), (100.0, Class::Pass));
        assert!(result.groups[0].has_no_data && !result.results[0].is_critical);
        assert_eq!(result.results[0].ratio, None);
    }
    // Two or three points a side.
    check(&none, &[1.0, 2.0], &[9.0, 11.0], Label::High);
    check(&none, &[1.0, 2.0, 1.5], &[9.0, 11.0, 10.0], Label::High);
    // One huge value in the baseline vetoes by the ratio of the means.
    let (mut low, high) = (wave(60, 10.0, 3.0, 2.3, 1.0), wave(60, 12.0, 3.0, 1.7, 0.0));
    check(&none, &low, &high, Label::High);
    low[7] = 1e6;
    check(&none, &low, &high, Label::Pass);
    // The search is blind to small units.
    let scaled = |unit: f64, n: f64| wave(60, n * unit, 0.8 * unit, 2.3, n);
    check(&none, &scaled(1e-5, 1.0), &scaled(1e-5, 2.0), Label::Pass);
    check(&none, &scaled(10.0, 1.0), &scaled(10.0, 2.0), Label::High);
    // Part of the minutes a hundred times higher.
    let base = [10.0; 10];
    let part = |n: usize| -> Vec<f64> {
        base.iter().enumerate().map(|(i, value)| if i < n { 100.0 * value } else { *value }).collect()
    };
    check(&none, &base, &part(7), Label::Pass);
    check(&none, &base, &part(8), Label::High);
    // Errors in half of the minutes.
    let errors = [3.0, NAN, 2.0, NAN, 5.0, NAN, 1.0, NAN, 4.0, NAN];
    check(&json!({ "nanStrategy": "replace" }), &[NAN; 10], &errors, Label::Pass);
    check(&none, &[NAN; 10], &errors, Label::Nodata);
}

/// Results of several metrics with given labels, by way of data that has them.
fn scored(metrics: &[(&str, &[&str], Label, Value)], weights: &Value) -> JudgeResult {
    let document = json!({
        "metrics": metrics.iter().map(|(name, groups, _, settings)| {
            json!({ "name": name, "groups": groups, "analysisConfigurations": { "canary": settings } })
        }).collect::<Vec<_>>(),
        "classifier": { "groupWeights": weights },
    });
    let config = CanaryConfig::read(&document, "canaryConfig", Purpose::Judge).unwrap();
    let (low, high) = (wave(60, 10.0, 3.0, 2.3, 1.0), wave(60, 12.0, 3.0, 1.7, 0.0));
    let pairs: Vec<MetricSetPair> = (metrics.iter())
        .map(|(name, _, label, _)| match label {
            Label::Pass => pair(name, &low, &low),
            Label::High => pair(name, &low, &high),
            Label::Low => pair(name, &high, &low),
            Label::Nodata | Label::NodataFailMetric => pair(name, &low, &[]),
            Label::Error => pair(name, &[4.0], &[5.0]),
        })
        .collect();
    let judge = NetflixJudge { config: &config, thresholds: Thresholds::default() };
    let result = judge.judge(&pairs).unwrap();
    for (result, (_, _, label, _)) in result.results.iter().zip(metrics) {
        assert_eq!(result.label, *label);
    }
    result
}

#[test]
fn scores_are_folded_by_groups_and_weights() {
    let none = || json!({});
    let score = |metrics: &[(&str, &[&str], Label, Value)], weights: Value| scored(metrics, &weights).score;
    // Two of three.
    let result = score(
        &[
            ("a", &["g"], Label::Pass, none()),
            ("b", &["g"], Label::High, none()),
            ("c", &["g"], Label::Pass, none()),
        ],
        json!({ "g": 100 }),
    );
    assert_eq!((result.score, result.class), (66.67, Class::Fail));
    // A failed metric without data counts, one without label does not.
    let must = json!({ "mustHaveData": true });
    let result = score(
        &[
            ("a", &["g"], Label::Pass, none()),
            ("b", &["g"], Label::NodataFailMetric, must),
            ("c", &["g"], Label::Nodata, none()),
            ("d", &["g"], Label::Pass, none()),
            ("e", &["g"], Label::Error, none()),
        ],
        json!({ "g": 100 }),
    );
    assert_eq!(result.score, 66.67);
    // Groups without weight share what is left; a metric counts in each of its groups.
    let result = score(
        &[
            ("a", &["w", "u"], Label::Pass, none()),
            ("b", &["u"], Label::High, none()),
            ("c", &["v"], Label::Pass, none()),
        ],
        json!({ "w": 40 }),
    );
    assert_eq!((result.score, result.class), (85.0, Class::Marginal));
    // The weight of a group without results is lost.
    let result = score(&[("a", &["a"], Label::Pass, none())], json!({ "a": 50, "b": 50 }));
    assert_eq!(result.score, 50.0);
    // All muted, or in no group: 0 without a word.
    let muted = json!({ "muted": true });
    for metrics in [("a", &["g"][..], Label::High, muted), ("a", &[], Label::Pass, none())] {
        let result = score(&[metrics], json!({ "g": 100 }));
        assert_eq!((result.score, result.class, result.reason), (0.0, Class::Fail, None));
    }
    // Half without data.
    let half: [(&str, &[&str], Label, Value); 2] =
        [("a", &["g"], Label::Pass, none()), ("b", &["g"], Label::Nodata, none())];
    let result = score(&half, json!({ "g": 100 }));
    assert_eq!(result.score, 0.0);
    assert!(result.reason.unwrap().contains("1 of 2"));
}

#[test]
fn a_pair_of_an_unknown_metric_fails_the_whole() {
    let config = config(&json!({}));
    let judge = NetflixJudge { config: &config, thresholds: Thresholds::default() };
    let error = judge.judge(&[pair("other", &[1.0], &[2.0])]).unwrap_err();
    assert!(error.to_string().contains("metricSetPairList[0].name"), "{error}");
}

/// A seeded source of series with lag-one correlation.
struct Noise(ChaCha8Rng);

impl Noise {
    fn normal(&mut self) -> f64 {
        normal_isf(self.0.random::<f64>().clamp(1e-12, 1.0 - 1e-12))
    }

    fn series(&mut self, n: usize, mean: f64, correlation: f64) -> Vec<f64> {
        let step = (1.0 - correlation * correlation).sqrt();
        let mut state = self.normal();
        (0..n)
            .map(|_| {
                let value = mean + 0.1 * state;
                state = correlation * state + step * self.normal();
                value
            })
            .collect()
    }

    fn events(&mut self, n: usize, rate: f64) -> Vec<f64> {
        (0..n)
            .map(|_| {
                // Knuth's way: how many uniforms can be multiplied.
                let mut count = 0.0;
                let mut product = self.0.random::<f64>();
                while product > (-rate).exp() {
                    product *= self.0.random::<f64>();
                    count += 1.0;
                }
                count
            })
            .collect()
    }
}

/// The measured rates of Kayenta's judge, in percent of runs labelled High or Low: a re-statement of
/// its rule gave these figures, so that another rule would be seen here.
#[test]
fn error_rates_are_those_that_were_measured_of_kayenta() {
    const RUNS: u32 = 500;
    let config = config(&json!({}));
    let judge = NetflixJudge { config: &config, thresholds: Thresholds::default() };
    let mut noise = Noise(ChaCha8Rng::seed_from_u64(3));
    type Draw = fn(&mut Noise) -> (Vec<f64>, Vec<f64>);
    let cases: [(&str, Draw, f64); 8] = [
        ("no change, 2 points", |n| (n.series(2, 1.0, 0.0), n.series(2, 1.0, 0.0)), 24.6),
        ("no change, 60 points", |n| (n.series(60, 1.0, 0.0), n.series(60, 1.0, 0.0)), 0.1),
        ("no change, AR .6", |n| (n.series(60, 1.0, 0.6), n.series(60, 1.0, 0.6)), 12.1),
        ("no change, AR .9", |n| (n.series(60, 1.0, 0.9), n.series(60, 1.0, 0.9)), 48.7),
        ("mean +5 %", |n| (n.series(60, 1.0, 0.0), n.series(60, 1.05, 0.0)), 33.3),
        ("mean +10 %", |n| (n.series(60, 1.0, 0.0), n.series(60, 1.1, 0.0)), 98.5),
        ("errors .05 to .2", |n| (n.events(60, 0.05), n.events(60, 0.2)), 3.6),
        ("errors .5 to 1", |n| (n.events(60, 0.5), n.events(60, 1.0)), 36.7),
    ];
    for (name, draw, want) in cases {
        let mut labelled = 0;
        for _ in 0..RUNS {
            let (control, experiment) = draw(&mut noise);
            let result = judge.judge(&[pair("m", &control, &experiment)]).unwrap();
            labelled += u32::from(matches!(result.results[0].label, Label::High | Label::Low));
        }
        let got = 100.0 * f64::from(labelled) / f64::from(RUNS);
        let error = (want * (100.0 - want) / f64::from(RUNS)).sqrt();
        assert!((got - want).abs() <= 3.5 * error + 0.7, "{name}: {got} %, not {want} %");
    }
}

proptest! {
    /// Order means nothing, and exchanging the sides exchanges High and Low with a symmetric effect.
    #[test]
    fn labels_do_not_depend_on_the_order(
        control in prop::collection::vec(prop_oneof![Just(f64::NAN), (-50..50_i32).prop_map(f64::from)], 0..25),
        experiment in prop::collection::vec(prop_oneof![Just(f64::NAN), (-50..50_i32).prop_map(f64::from)], 0..25),
    ) {
        let config = config(&json!({ "effectSize": { "measure": "cles" } }));
        let judge = NetflixJudge { config: &config, thresholds: Thresholds::default() };
        let label = |control: &[f64], experiment: &[f64]| {
            judge.judge(&[pair("m", control, experiment)]).unwrap().results[0].label
        };
        let reversed = |side: &[f64]| side.iter().rev().copied().collect::<Vec<_>>();
        let is_constant = |side: &[f64]| {
            let mut there = side.iter().filter(|value| !value.is_nan());
            let first = there.next();
            there.all(|value| Some(value) == first)
        };
        let there = label(&control, &experiment);
        // Noise on two constants comes from the data as it is ordered.
        if !(is_constant(&control) && is_constant(&experiment)) {
            prop_assert_eq!(there, label(&reversed(&control), &reversed(&experiment)));
        }
        prop_assert!(there != Label::NodataFailMetric);
    }

    #[test]
    fn any_document_is_read_or_refused(text in "[ -~]{0,60}", purpose in any::<bool>()) {
        let purpose = if purpose { Purpose::Judge } else { Purpose::Store };
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = CanaryConfig::read(&value, "canaryConfig", purpose);
        }
        let _ = remote_judge(text.as_bytes());
    }
}
