//! Cases worked out by hand, and what holds for all histograms.

use greylight_store::model::{Buckets, CUSTOM_BOUNDS, CounterReset, Span};
use proptest::collection::btree_map;
use proptest::prelude::*;

use super::layout::{Bounds, collect};
use super::*;

fn side(first: i32, counts: &[f64]) -> Buckets {
    let length = u32::try_from(counts.len()).unwrap();
    Buckets { spans: vec![Span { offset: first, length }], counts: counts.to_vec() }
}

/// A histogram whose count is that of its buckets.
fn of(schema: i32, zero: (f64, f64), positive: Buckets, negative: Buckets) -> Histogram {
    let (zero_threshold, zero_count) = zero;
    let count = positive.counts.iter().chain(&negative.counts).sum::<f64>() + zero_count;
    let sum = 2.0 * count;
    Histogram { schema, zero_threshold, zero_count, count, sum, positive, negative, ..Histogram::default() }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    let plain = of(CUSTOM_BOUNDS, (0.0, 0.0), side(0, counts), Buckets::default());
    Histogram { custom_bounds: bounds.to_vec(), ..plain }
}

fn total(h: &Histogram) -> f64 {
    buckets(h).iter().map(|b| b.count).sum()
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn buckets_have_the_bounds_of_their_schema() {
    let h = of(0, (0.25, 2.0), side(0, &[1.0, 0.0, 3.0]), side(1, &[4.0]));
    let found: Vec<_> = buckets(&h).iter().map(|b| (b.lower, b.upper, b.count)).collect();
    assert_eq!(found, [(-2.0, -1.0, 4.0), (-0.25, 0.25, 2.0), (0.5, 1.0, 1.0), (2.0, 4.0, 3.0)]);
    let fine = of(2, (0.0, 0.0), side(4, &[1.0]), Buckets::default());
    assert_eq!(buckets(&fine)[0].upper, 2.0);
    let coarse = of(-4, (0.0, 0.0), side(1, &[1.0]), Buckets::default());
    assert_eq!((buckets(&coarse)[0].lower, buckets(&coarse)[0].upper), (1.0, 65536.0));
    let given = buckets(&custom(&[1.0, 5.0], &[1.0, 0.0, 2.0]));
    assert_eq!((given[0].lower, given[0].upper, given[0].lower_inclusive), (f64::NEG_INFINITY, 1.0, true));
    assert_eq!((given[1].lower, given[1].upper), (5.0, f64::INFINITY));
}

#[test]
fn finite_values_end_before_the_last_bucket() {
    for schema in [-4, 0, 3, 8] {
        let last = if schema > 0 { 1024 << schema } else { 1024 >> -schema };
        let found = buckets(&of(schema, (0.0, 0.0), side(last, &[1.0, 1.0]), Buckets::default()));
        assert_eq!((found[0].upper, found[1].lower), (f64::MAX, f64::MAX), "{schema}");
        assert_eq!(found[1].upper, f64::INFINITY);
    }
    let small = buckets(&of(0, (0.0, 0.0), side(-1073, &[1.0]), Buckets::default()));
    assert_eq!(small[0].upper.to_bits(), 2);
}

#[test]
fn histograms_read_as_prometheus_writes_them() {
    let h = of(0, (0.001, 2.0), side(0, &[1.0, 2.5]), side(0, &[1.0]));
    let want = "{count:6.5, sum:13, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2.5}";
    assert_eq!(Text(&h).to_string(), want);
    let want = "{count:1.5e+06, sum:3e+06, [-Inf,1]:1e+06, (1,+Inf]:500000}";
    assert_eq!(Text(&custom(&[1.0], &[1e6, 5e5])).to_string(), want);
    assert_eq!(Text(&Histogram::default()).to_string(), "{count:0, sum:0}");
}

#[test]
fn zero_buckets_widen_to_the_end_of_a_bucket() {
    // The wider one cuts the other's bucket from 0.5 to 1 in two, and so has to take it in whole.
    let mut a = of(0, (0.7, 1.0), side(1, &[1.0]), Buckets::default());
    let b = of(0, (0.1, 1.0), side(0, &[2.0, 3.0]), side(1, &[5.0]));
    add(&mut a, &b).unwrap();
    assert_eq!((a.zero_threshold, a.zero_count, a.count), (1.0, 4.0, 13.0));
    assert_eq!(a.positive.iter().collect::<Vec<_>>(), [(1, 4.0)]);
    assert_eq!(a.negative.iter().collect::<Vec<_>>(), [(1, 5.0)]);
}

#[test]
fn what_cannot_be_added_stays_as_it_was() {
    let (a, b) = (custom(&[1.0], &[1.0, 1.0]), custom(&[2.0], &[1.0, 1.0]));
    let plain = of(0, (0.0, 0.0), side(0, &[1.0]), Buckets::default());
    for (x, y, want) in [(&a, &b, Mismatch::Bounds), (&a, &plain, Mismatch::Schema)] {
        let mut sum = x.clone();
        assert_eq!((add(&mut sum, y), subtract(&mut sum, y)), (Err(want), Err(want)));
        assert_eq!(&sum, x);
    }
}

#[test]
fn hints_of_sums() {
    let with = |reset| Histogram { reset, ..Histogram::default() };
    for (a, b, want) in [
        (CounterReset::No, CounterReset::No, CounterReset::No),
        (CounterReset::No, CounterReset::Yes, CounterReset::Unknown),
        (CounterReset::Unknown, CounterReset::Yes, CounterReset::Unknown),
        (CounterReset::Gauge, CounterReset::Unknown, CounterReset::Gauge),
    ] {
        let mut sum = with(a);
        add(&mut sum, &with(b)).unwrap();
        assert_eq!(sum.reset, want);
        let mut sum = with(b);
        add(&mut sum, &with(a)).unwrap();
        assert_eq!(sum.reset, want);
    }
    let mut difference = with(CounterReset::No);
    subtract(&mut difference, &with(CounterReset::No)).unwrap();
    assert_eq!(difference.reset, CounterReset::Gauge);
    let mut negative = with(CounterReset::No);
    scale(&mut negative, -1.0);
    assert_eq!(negative.reset, CounterReset::Gauge);
}

#[test]
fn resets_show_in_one_bucket_too() {
    let h = |counts: &[f64]| of(0, (0.0, 0.0), side(0, counts), Buckets::default());
    assert!(is_reset(&h(&[1.0, 2.0, 1.0]), &h(&[1.0, 1.0, 3.0])));
    assert!(!is_reset(&h(&[1.0, 1.0, 3.0]), &h(&[1.0, 2.0, 3.0])));
    let finer = of(1, (0.0, 0.0), side(0, &[9.0]), Buckets::default());
    assert!(is_reset(&h(&[1.0]), &finer), "a counter does not gain resolution");
    assert!(is_reset(&custom(&[1.0], &[1.0]), &custom(&[2.0], &[5.0])));
    let told = |reset| Histogram { reset, ..h(&[5.0]) };
    assert!(is_reset(&h(&[1.0]), &told(CounterReset::Yes)));
    assert!(!is_reset(&h(&[9.0]), &told(CounterReset::No)));
    // The gap in the middle was populated before.
    let gap = Buckets {
        spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }],
        counts: vec![2.0, 9.0],
    };
    assert!(is_reset(&h(&[1.0, 1.0]), &of(0, (0.0, 0.0), gap, Buckets::default())));
}

#[test]
fn a_division_by_zero_leaves_no_bucket() {
    let mut h = of(0, (0.1, 1.0), side(0, &[1.0]), side(0, &[1.0]));
    divide(&mut h, 0.0);
    assert_eq!((h.count, h.sum, h.zero_count), (f64::INFINITY, f64::INFINITY, f64::INFINITY));
    assert!(h.positive.counts.is_empty() && h.negative.spans.is_empty());
}

#[test]
fn far_buckets_have_a_place() {
    let far = |index| collect([(index, 1.0)].into_iter());
    let mut a = of(8, (0.0, 0.0), far(i32::MIN), far(i32::MAX - 1));
    let b = of(8, (0.0, 0.0), far(i32::MAX - 1), far(i32::MIN));
    add(&mut a, &b).unwrap();
    let indexes: Vec<_> = a.positive.iter().map(|(index, _)| index).collect();
    assert_eq!(indexes, [i32::MIN, i32::MAX - 1]);
    reduce(&mut a, -4);
    assert_eq!(total(&a), 4.0);
}

fn sides() -> impl Strategy<Value = Buckets> {
    btree_map(-30..30i32, 0..50u32, 0..12)
        .prop_map(|counts| collect(counts.into_iter().map(|(index, count)| (index, f64::from(count)))))
}

fn histograms() -> impl Strategy<Value = Histogram> {
    let thresholds = prop_oneof![Just(0.0), Just(1e-3), Just(0.3), Just(1.0), Just(5.0)];
    (-4..=8i32, thresholds, 0..20u32, sides(), sides()).prop_map(|(schema, threshold, zero, p, n)| {
        // What is in the zero bucket is in no other.
        let beyond = |side: Buckets| {
            let bounds = Bounds::Exponential(schema);
            collect(side.iter().filter(|(index, _)| bounds.upper(i64::from(*index) - 1) >= threshold))
        };
        of(schema, (threshold, f64::from(zero)), beyond(p), beyond(n))
    })
}

fn customs() -> impl Strategy<Value = Histogram> {
    btree_map(0..4i32, 0..50u32, 0..5).prop_map(|counts| {
        let counts = collect(counts.into_iter().map(|(index, count)| (index, f64::from(count))));
        let plain = of(CUSTOM_BOUNDS, (0.0, 0.0), counts, Buckets::default());
        Histogram { custom_bounds: vec![-1.0, 0.5, 3.0], ..plain }
    })
}

fn any_two() -> impl Strategy<Value = (Histogram, Histogram)> {
    prop_oneof![(histograms(), histograms()), (customs(), customs())]
}

proptest! {
    #[test]
    fn a_sum_holds_what_its_parts_hold((a, b) in any_two()) {
        let (mut ab, mut ba) = (a.clone(), b.clone());
        add(&mut ab, &b).unwrap();
        add(&mut ba, &a).unwrap();
        prop_assert!(is_equal(&ab, &ba), "{:?} {:?}", ab, ba);
        prop_assert_eq!(ab.count, a.count + b.count);
        prop_assert_eq!(total(&ab), a.count + b.count);
        prop_assert_eq!(ab.check(), Ok(()));
        prop_assert!(ab.zero_threshold >= a.zero_threshold.max(b.zero_threshold));
    }

    #[test]
    fn a_sum_less_a_part_is_the_other_in_its_layout((a, b) in any_two()) {
        let mut sum = a.clone();
        add(&mut sum, &b).unwrap();
        let mut back = sum.clone();
        subtract(&mut back, &b).unwrap();
        // The other part, as wide and as coarse as the sum is.
        let mut want = Histogram { count: 0.0, sum: 0.0, zero_count: 0.0, ..sum };
        (want.positive, want.negative) = (Buckets::default(), Buckets::default());
        add(&mut want, &a).unwrap();
        prop_assert!(is_equal(&back, &want), "{:?} {:?}", back, want);
    }

    #[test]
    fn a_lower_resolution_keeps_the_counts(h in histograms(), first in -4..=8i32, then in -4..=8i32) {
        let mut once = h.clone();
        reduce(&mut once, first.min(then));
        let mut twice = h.clone();
        reduce(&mut twice, first.max(then));
        reduce(&mut twice, first.min(then));
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(total(&once), h.count);
        prop_assert_eq!(once.schema, h.schema.min(first.min(then)));
        // Each bucket lies in one of the coarser ones.
        let coarse = buckets(&once);
        for b in buckets(&h) {
            prop_assert!(coarse.iter().any(|c| c.lower <= b.lower && b.upper <= c.upper), "{:?}", b);
        }
    }

    #[test]
    fn without_empty_buckets_it_is_the_same(h in histograms()) {
        let mut compacted = h.clone();
        compact(&mut compacted);
        prop_assert!(is_equal(&h, &compacted));
        prop_assert!(!compacted.positive.counts.contains(&0.0));
        prop_assert_eq!(compacted.check(), Ok(()));
        prop_assert_eq!(buckets(&h), buckets(&compacted));
    }

    #[test]
    fn buckets_rise_and_do_not_overlap((h, _) in any_two()) {
        for pair in buckets(&h).windows(2) {
            prop_assert!(pair[0].lower < pair[1].lower && pair[0].upper <= pair[1].lower);
        }
    }

    #[test]
    fn more_of_the_same_is_no_reset_and_less_is((a, b) in any_two()) {
        let mut sum = a.clone();
        add(&mut sum, &b).unwrap();
        sum.reset = CounterReset::Unknown;
        let finer = sum.schema > a.schema || sum.zero_threshold < a.zero_threshold;
        prop_assert!(!finer && !is_reset(&a, &sum), "{:?} {:?}", a, sum);
        prop_assert!(b.count == 0.0 || is_reset(&sum, &a));
    }

    #[test]
    fn quantiles_rise_and_lie_within((h, _) in any_two(), q in proptest::collection::vec(0.0..=1.0f64, 2..8)) {
        prop_assume!(h.count > 0.0);
        let mut q = q;
        q.sort_by(f64::total_cmp);
        let values: Vec<f64> = q.iter().map(|q| quantile(*q, &h).0).collect();
        for pair in values.windows(2) {
            prop_assert!(pair[0] <= pair[1] || close(pair[0], pair[1]), "{:?} {:?}", q, values);
        }
        let all = buckets(&h);
        prop_assert!(values.iter().all(|v| *v >= all[0].lower && *v <= all[all.len() - 1].upper));
    }

    #[test]
    fn a_fraction_undoes_a_quantile(h in histograms(), q in 0.0..=1.0f64) {
        // A bucket without width has no value that has some of it below.
        prop_assume!(h.count > 0.0 && (h.zero_count == 0.0 || h.zero_threshold > 0.0));
        let at = quantile(q, &h).0;
        // Between two populated buckets every value has the same rank.
        let below = fraction(f64::NEG_INFINITY, at, &h);
        prop_assert!((below - q).abs() < 1e-6, "{} {} {}", q, at, below);
        let whole = fraction(f64::NEG_INFINITY, f64::INFINITY, &h);
        prop_assert!(close(whole, 1.0) && close(below + fraction(at, f64::INFINITY, &h), 1.0));
    }

    #[test]
    fn nothing_panics(
        (a, b) in any_two(),
        numbers in proptest::collection::vec(any::<f64>(), 4),
        index in any::<i32>(),
        schema in any::<i32>(),
    ) {
        let mut odd = a.clone();
        odd.positive = collect([(index, numbers[0])].into_iter());
        (odd.sum, odd.zero_threshold, odd.count) = (numbers[1], numbers[2], numbers[3]);
        odd.schema = schema;
        let _ = (Text(&odd).to_string(), quantile(0.3, &odd), fraction(-1.0, 1.0, &odd), variance(&odd));
        let _ = (is_reset(&odd, &b), is_reset(&b, &odd), is_equal(&odd, &b));
        let mut sum = odd.clone();
        let _ = (add(&mut sum, &b), subtract(&mut sum, &odd));
        reduce(&mut sum, schema);
        scale(&mut sum, numbers[0]);
        divide(&mut sum, numbers[1]);
        compact(&mut sum);
    }
}
