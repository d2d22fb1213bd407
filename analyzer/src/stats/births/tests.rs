//! Tests of this module.

use super::*;
use proptest::prelude::*;

/// The draws of `reference.py`.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        let mut total = 0.0;
        for _ in 0..4 {
            self.0 = (self.0 * 1_103_515_245 + 12_345) % (1 << 31);
            total += self.0 as f64 / f64::from(1_u32 << 31);
        }
        total - 2.0
    }

    fn course(&mut self, n: usize) -> Vec<f64> {
        let level = 0.5 * self.next();
        (0..n).map(|_| level + self.next()).collect()
    }
}

const EVENTS: [usize; 11] = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const WARM_UP: usize = 5;

fn data(seed: u64) -> (Vec<Vec<f64>>, Vec<Birth>) {
    let mut draws = Draws(seed);
    let old = (0..6).map(|_| draws.course(240)).collect();
    let births = EVENTS.iter().map(|event| Birth { event: *event, d: draws.course(120) }).collect();
    (old, births)
}

fn fleet(seed: u64) -> Fleet {
    let (old, births) = data(seed);
    Fleet::new(&old, &births, WARM_UP, false).expect("six pods and 240 intervals")
}

const PODS: Pods = Pods { canary: 2, old: 6, fresh: 3 };

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got / want - 1.0).abs() < 1e-9, "{got} instead of {want}");
}

// Values of `reference.py` beside this file, with NumPy 2.4.6 and SciPy 1.17.1.
#[test]
fn laws_agree_with_the_reference() {
    let fleet = fleet(20_261_121);
    let law = |part| fleet.law(part, PODS, WARM_UP, 60).expect("enough is known");
    let births = law(Part::Births);
    near(births.taken_off, 0.091_912_292_262_934_4);
    near(births.variance, 0.081_669_718_516_124_5);
    near(births.nu, 12.325_586_453_306_1);
    let fresh = law(Part::Fresh);
    near(fresh.variance, 0.113_738_340_185_443);
    near(fresh.nu, 12.033_970_819_861_5);
    let old = law(Part::Old);
    near(old.variance, 0.121_656_606_096_462);
    near(old.nu, 5.0);
    let announced = fleet.announced(Part::Births, PODS, WARM_UP, 60, 3.12e-4).expect("enough is known");
    near(announced, 1.540_616_313_770_03);
    near(fleet.windows.at(8), 0.036_604_438_142_094_3);
    near(fleet.windows.at(20), 0.015_260_239_662_299_4);
    let single = fleet.standing(Part::Births, 1);
    near(single.tau2, 0.113_546_290_328_024);
    near(single.df, 9.0);
}

#[test]
fn a_cold_start_puts_the_settled_age_off() {
    let (old, births) = data(7);
    let warm = |height: f64| {
        let births: Vec<Birth> = (births.iter())
            .map(|birth| Birth {
                event: birth.event,
                d: birth
                    .d
                    .iter()
                    .enumerate()
                    .map(|(age, d)| d + height * 0.5_f64.powf(age as f64 / 8.0))
                    .collect(),
            })
            .collect();
        Fleet::new(&old, &births, 2, false).expect("six pods").settle(2, 60)
    };
    assert_eq!(warm(0.0), Some(2));
    let age = warm(2.0).expect("halves every 8 intervals");
    assert!((12..40).contains(&age), "{age}");
    let never: Vec<Birth> = (births.iter())
        .map(|birth| Birth {
            event: birth.event,
            d: birth.d.iter().enumerate().map(|(age, d)| d + if age < 70 { 4.0 } else { -4.0 }).collect(),
        })
        .collect();
    assert_eq!(Fleet::new(&old, &never, 2, false).expect("six pods").settle(2, 60), None);
}

#[test]
fn births_that_died_early_do_not_count() {
    let mut fleet = fleet(3);
    assert_eq!(fleet.settle(WARM_UP, 115), Some(WARM_UP));
    assert_eq!(fleet.n_births(), (11, 5));
    assert!(fleet.settle(WARM_UP, 116).is_some());
    assert_eq!(fleet.n_births(), (0, 0));
}

#[test]
fn the_choice_follows_the_rule() {
    let fleet = fleet(3);
    let choose =
        |canary, fresh, warm_up| fleet.choose(Pods { canary, old: 6, fresh }, warm_up, WARM_UP, 60, 3e-4);
    assert_eq!(choose(1, 0, 2), Some(Part::Births));
    assert_eq!(choose(3, 3, 2), Some(Part::Fresh));
    let (old, _) = data(3);
    let alone = Fleet::new(&old, &[], 2, false).expect("six pods");
    let choose =
        |fresh, warm_up, n_old| alone.choose(Pods { canary: 2, old: n_old, fresh }, warm_up, 2, 60, 3e-4);
    assert_eq!(choose(0, 2, 6), None);
    assert_eq!(choose(0, 10, 6), Some(Part::Old));
    assert_eq!(choose(0, 10, 4), None);
    assert_eq!(choose(2, 2, 6), Some(Part::Fresh));
    assert!(Fleet::new(&old[..1], &[], 2, false).is_none());
}

proptest! {
    #[test]
    fn more_pods_find_smaller_shifts(seed in 1_u64..1_000_000, canary in 1_usize..6, fresh in 1_usize..6) {
        let fleet = fleet(seed);
        let found = |canary, fresh| {
            fleet.announced(Part::Fresh, Pods { canary, old: 6, fresh }, WARM_UP, 60, 3e-4).expect("enough is known")
        };
        prop_assert!(found(canary, fresh + 1) < found(canary, fresh));
        prop_assert!(found(canary + 1, fresh) < found(canary, fresh));
    }

    #[test]
    fn evidence_grows_with_the_difference_and_mirrors(seed in 1_u64..1_000_000, b in -3.0..3.0, more in 0.01..1.0) {
        let law = fleet(seed).law(Part::Births, PODS, WARM_UP, 30).expect("enough is known");
        prop_assert!(law.p_harm(b + more, 0.0) <= law.p_harm(b, 0.0));
        prop_assert!((law.p_harm(b, 0.2) + law.p_go(b, 0.2) - 1.0).abs() < 1e-9);
        prop_assert!((law.p_harm(law.reach(0.01), 0.0) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn the_scale_of_the_data_is_the_scale_of_the_law(seed in 1_u64..1_000_000, factor in 0.01_f64..100.0) {
        let (old, births) = data(seed);
        let times = |values: &Vec<f64>| values.iter().map(|value| factor * value).collect::<Vec<_>>();
        let scaled: Vec<Birth> = births.iter().map(|one| Birth { event: one.event, d: times(&one.d) }).collect();
        let scaled = Fleet::new(&old.iter().map(times).collect::<Vec<_>>(), &scaled, WARM_UP, false).expect("six pods");
        let (one, other) = (fleet(seed).law(Part::Births, PODS, WARM_UP, 20), scaled.law(Part::Births, PODS, WARM_UP, 20));
        let (one, other) = (one.expect("enough is known"), other.expect("enough is known"));
        prop_assert!((other.variance / (one.variance * factor * factor) - 1.0).abs() < 1e-9);
        prop_assert!((other.nu / one.nu - 1.0).abs() < 1e-9);
    }
}

#[test]
fn intervals_that_are_noisier_count_for_less() {
    let fleet = fleet(3);
    for part in [Part::Births, Part::Fresh, Part::Old] {
        let law = |canary: f64, other: f64| {
            fleet.law_amid(part, PODS, WARM_UP, 30, Noise { canary, other }).expect("enough is known")
        };
        let usual = fleet.law(part, PODS, WARM_UP, 30).expect("enough is known");
        assert_eq!(law(1.0, 1.0), usual);
        let (one, two) = (law(4.0, 1.0), law(4.0, 9.0));
        assert!(usual.variance < one.variance && one.variance < two.variance, "{part:?}");
        assert_eq!((one.taken_off, two.taken_off), (usual.taken_off, usual.taken_off));
        if part == Part::Fresh {
            // As if every interval of the canary were the mean of a quarter of the values.
            let more = one.variance - usual.variance;
            near(more, 3.0 * fleet.windows.at(30) / PODS.canary as f64 * floor(&fleet));
        }
    }
}

/// What the births' own scatter multiplies variances by.
fn floor(fleet: &Fleet) -> f64 {
    let fresh = fleet.law(Part::Fresh, PODS, WARM_UP, 30).expect("enough is known");
    let standing = fleet.standing(Part::Fresh, PODS.canary);
    let both = 1.0 / PODS.canary as f64 + 1.0 / PODS.fresh as f64;
    fresh.variance / ((standing.tau2 + fleet.windows.at(30)) * both)
}
