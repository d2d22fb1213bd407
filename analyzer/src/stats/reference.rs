//! Reference values from SciPy 1.17.1, made by `reference.py` beside this file.

use super::boundary::Boundary;
use super::counts::{Lattice, Step};
use super::dispersion::EventLaw;
use super::rates::Rate;
use super::special::{Beta, StudentTail, chi_square_sf, normal_isf, normal_sf};

#[track_caller]
fn check(got: f64, want: f64) {
    assert!((got - want).abs() <= 2e-9 * want.abs(), "{got:e}, not {want:e}");
}

#[test]
fn normal_tails() {
    for (z, want) in [
        (-3.0, 0.9986501019683699),
        (0.0, 0.5),
        (1.0, 0.15865525393145707),
        (2.5, 0.006209665325776132),
        (6.0, 9.865876450376946e-10),
        (12.0, 1.776482112077653e-33),
        (30.0, 4.906713927147908e-198),
    ] {
        check(normal_sf(z), want);
    }
    for (p, want) in [
        (0.9, -1.2815515655446004),
        (0.05, 1.6448536269514729),
        (1e-3, 3.090232306167813),
        (2.78e-8, 5.432403572917729),
        (1e-15, 7.941345326170998),
    ] {
        check(normal_isf(p), want);
    }
    assert!(normal_isf(0.5).abs() < 1e-15);
}

#[test]
fn student_tails() {
    for (nu, t, want) in [
        (1.0, 2.0, 0.14758361765043326),
        (4.0, -1.5, 0.896),
        (9.0, 3.3, 0.004614954159273509),
        (58.0, 5.1, 1.9535905335997854e-06),
        (238.0, 4.0, 4.229544901874896e-05),
        (1498.0, 3.0, 0.0013721838535925162),
        (1498.0, 7.5, 5.43998268408416e-14),
        (20_000.0, 4.5, 3.4168198188243576e-06),
    ] {
        check(StudentTail::new(nu).sf(t), want);
    }
    for (nu, p, want) in [
        (2.0, 1e-4, 70.70007107496428),
        (10.0, 1e-6, 9.751995490940581),
        (238.0, 3e-4, 3.4782306708374224),
        (1498.0, 2.8e-7, 5.026360314641021),
    ] {
        check(StudentTail::new(nu).isf(p), want);
    }
}

#[test]
fn beta_and_chi_square() {
    for (a, b, x, want) in [
        (0.5, 0.5, 0.3, 0.36901011956554536),
        (1.0, 999.0, 0.002, 0.8646648071676517),
        (26.0, 3183.0, 0.004, 0.0007849094490754549),
        (3183.0, 26.0, 0.999, 0.9999999999999984),
        (120.0, 8000.0, 0.02, 0.9998084369771608),
        (5.0, 1e6, 2e-5, 0.9999830585536404),
    ] {
        check(Beta::new(a, b).cdf(x), want);
    }
    for (x, df, want) in [
        (14.3, 11.0, 0.21683548678079054),
        (123.5, 95.0, 0.026302244091756077),
        (40.0, 12.0, 7.190884052842894e-05),
    ] {
        check(chi_square_sf(x, df), want);
    }
}

#[test]
fn limits_of_rates() {
    let rate = |events, exposure, law| Rate { events, exposure, law };
    for (x, n, u, want) in [
        (0.0, 1000.0, 0.05, 0.002991249545095296),
        (3.0, 500.0, 0.01, 0.019949168309566646),
        (25.0, 3207.0, 1e-4, 0.01533012024745512),
        (400.0, 40_000.0, 1e-3, 0.011633954559626845),
    ] {
        check(rate(x, n, EventLaw::Binomial).upper(u), want);
    }
    for (x, n, u, want) in [
        (1.0, 1000.0, 0.05, 5.129197890901781e-05),
        (3.0, 500.0, 0.01, 0.0008734576171063987),
        (25.0, 3207.0, 1e-4, 0.003282454668257355),
        (400.0, 40_000.0, 1e-3, 0.008532027010010617),
    ] {
        check(rate(x, n, EventLaw::Binomial).lower(u), want);
    }
    for (x, u, want) in
        [(0.0, 0.05, 2.9957322735539913), (7.0, 1e-3, 19.62617739538424), (300.0, 1e-4, 369.8376294109448)]
    {
        check(rate(x, 1.0, EventLaw::Poisson).upper(u), want);
    }
    for (x, u, want) in
        [(1.0, 0.05, 0.05129329438755053), (7.0, 1e-3, 1.5203362603988093), (300.0, 1e-4, 239.81824515673972)]
    {
        check(rate(x, 1.0, EventLaw::Poisson).lower(u), want);
    }
}

#[test]
fn one_look_of_counts_is_the_binomial_test() {
    for (x, m, r, want) in [
        (9, 10, 0.5, 0.0107421875),
        (14, 60, 0.1, 0.002028213191242257),
        (300, 900, 0.3, 0.016605929508098964),
    ] {
        let mut lattice = Lattice::new(1.0);
        lattice.push(x, m, Step::Share(r), 0.0);
        check(lattice.p(), want);
    }
}

// By the bivariate normal distribution function, which is good to some 1e-6 here.
#[test]
fn two_looks_of_the_boundary() {
    let got = Boundary::new(0.01, 2).nominal(2);
    assert!((got / 0.008486760532303577 - 1.0).abs() < 1e-4, "{got}");
}
