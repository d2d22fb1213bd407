//! The short mode of the benches: with `GREYLIGHT_BENCH_SHORT=1` they work on a tenth of the data and measure for half a
//! second each. Figures are rougher then.

use std::time::Duration;

use criterion::Criterion;

fn is_short() -> bool {
    std::env::var_os("GREYLIGHT_BENCH_SHORT").is_some_and(|value| value != "0")
}

/// Returns the part of so many that this run works on.
pub(crate) fn part_of(n: i64) -> i64 {
    if is_short() { n / 10 } else { n }
}

/// Returns criterion as this run wants it.
pub(crate) fn criterion() -> Criterion {
    let criterion = Criterion::default();
    if !is_short() {
        return criterion;
    }
    criterion.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500))
}
