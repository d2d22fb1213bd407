//! The cases: what is simulated, and what is promised of it.

use super::simulate::{
    self, Chance, Errors, Fault, Hosts, Latency, Logs, Means, Noise, Outcome, PodErrors, PodLatency, Pods,
    Shape, Slow, TrafficShare, UserValue, Users,
};
use super::{Promise, Scenario};

/// Lists all cases.
pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    good_gauges(&mut all);
    worse_gauges(&mut all);
    hosts(&mut all);
    goes_of_gauges(&mut all);
    changed_conditions(&mut all);
    new_pods(&mut all);
    new_pod_latencies(&mut all);
    counts(&mut all);
    host_groups(&mut all);
    count_margins(&mut all);
    distributions(&mut all);
    distribution_margins(&mut all);
    users(&mut all);
    log_patterns(&mut all);
    foretold(&mut all);
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

fn gauges(all: &mut Vec<Scenario>, name: String, part: f64, promise: Promise, setting: Means) {
    add(all, name, part, promise, move |chance| simulate::means(setting, chance));
}

const HISTORIES: [(usize, &str, f64); 3] = [(0, "no history", 0.5), (180, "3 h", 0.5), (1_440, "24 h", 0.3)];

/// Ten checks of an unchanged release under every kind of noise.
fn good_gauges(all: &mut Vec<Scenario>) {
    let kinds = [
        ("AR 0", Noise::Ar(0.0)),
        ("AR 0.3", Noise::Ar(0.3)),
        ("AR 0.6", Noise::Ar(0.6)),
        ("AR 0.9", Noise::Ar(0.9)),
        ("AR 0.6, wave and shocks shared", Noise::Shared),
        ("half AR 0.9, half white", Noise::HalfWhite),
        ("lognormal, AR 0.6", Noise::Lognormal),
        ("a slow host a side, 3 + 5 hosts", Noise::SlowHost),
        ("standing difference of 1 sd", Noise::Standing),
        ("bursts of a side", Noise::Bursts),
        ("bursts of a host", Noise::HostBursts),
    ];
    for (label, noise) in kinds {
        for (history, hours, part) in HISTORIES {
            let promise = match (noise, history) {
                // A standing difference cannot be told from harm without history.
                (Noise::Standing | Noise::SlowHost, 0) => Promise::None,
                (Noise::HalfWhite, 180) => Promise::Refused(0.015),
                _ => Promise::Refused(0.01),
            };
            let same = Means { checks: 10, noise, history, ..Means::default() };
            gauges(all, format!("M good, ten, {label}, {hours}"), part, promise, same);
        }
    }
    // Nothing runs beside the canary: it is held against its own history.
    for (label, noise) in [("AR 0", Noise::Ar(0.0)), ("AR 0.6", Noise::Ar(0.6)), ("AR 0.9", Noise::Ar(0.9))] {
        for (history, hours, part) in &HISTORIES[1..] {
            let same = Means { checks: 10, noise, history: *history, is_before: true, ..Means::default() };
            gauges(
                all,
                format!("M before, good, ten, {label}, {hours}"),
                *part,
                Promise::Refused(0.01),
                same,
            );
        }
    }
    // Weeks of placebo windows, for bursts that a day holds too few of.
    for (label, noise) in [("bursts of a side", Noise::Bursts), ("bursts of a host", Noise::HostBursts)] {
        let same = Means { checks: 1, noise, history: 7 * 1_440, alpha: 0.001, ..Means::default() };
        gauges(all, format!("M good, one, {label}, 7 d, 0.1 %"), 1.0, Promise::None, same);
        let worse = Means { shift: 0.1, history: 1_440, ..same };
        gauges(all, format!("M +10 %, one, {label}, 24 h, 0.1 %"), 1.0, Promise::None, worse);
    }
}

/// Harm in one check of one or ten.
fn worse_gauges(all: &mut Vec<Scenario>) {
    for (rho, ten, five) in [(0.0, 0.92, 0.33), (0.3, 0.64, 0.26), (0.6, 0.26, 0.11), (0.9, 0.03, 0.02)] {
        let noise = Noise::Ar(rho);
        let ten_checks = Means { checks: 10, noise, history: 1_440, shift: 0.1, ..Means::default() };
        gauges(all, format!("M +10 %, ten, AR {rho}, 24 h"), 0.3, Promise::Found(ten), ten_checks);
        let one = Means { noise, history: 1_440, shift: 0.05, ..Means::default() };
        gauges(all, format!("M +5 %, one, AR {rho}, 24 h"), 1.0, Promise::Found(five), one);
    }
    for (rho, found) in [(0.0, 0.99), (0.6, 0.30)] {
        // With a margin next to nothing no go comes first.
        let step = Means {
            noise: Noise::Ar(rho),
            shift: 0.3,
            from: 30,
            alpha: 0.001,
            margin: 0.001,
            ..Means::default()
        };
        gauges(
            all,
            format!("M +30 % from minute 30, AR {rho}, 3 h, 0.1 %"),
            1.0,
            Promise::Found(found),
            step,
        );
        // Nine in ten have shown harm below the margin by then; the release itself may not go yet.
        let later = Means { margin: 0.1, is_held: true, ..step };
        let promise = if rho == 0.0 { Promise::Found(0.80) } else { Promise::None };
        gauges(all, format!("M +30 % from minute 30, AR {rho}, 3 h, 0.1 %, after go"), 1.0, promise, later);
    }
    for from in [15, 45] {
        let step = Means {
            noise: Noise::Ar(0.6),
            shift: 0.3,
            from,
            alpha: 0.001,
            margin: 0.001,
            ..Means::default()
        };
        let name = format!("M +30 % from minute {from}, AR 0.6, 3 h, 0.1 %");
        gauges(all, name, 1.0, Promise::None, step);
    }
}

/// Hosts as the unit, where nothing has a history: level, also on skewed data and in ten checks, and power.
fn hosts(all: &mut Vec<Scenario>) {
    for n in [(5, 5), (3, 10), (10, 10), (1, 10), (20, 20)] {
        for (is_skewed, law) in [(false, "normal"), (true, "lognormal")] {
            for (rho, tau) in [(0.0, 0.0), (0.6, 0.3), (0.9, 0.3)] {
                let noise = Noise::Hosts(Hosts { n, rho, tau, is_skewed });
                let same = Means { checks: 10, noise, history: 0, ..Means::default() };
                let name = format!("H good, ten, {}+{}, {law}, AR {rho}, tau {tau}", n.0, n.1);
                // One host whose minutes are skewed and hang together is a sample of one of a skewed law.
                let promise = if is_skewed && n.0 == 1 { Promise::None } else { Promise::Refused(0.01) };
                gauges(all, name, 1.0, promise, same);
            }
        }
        for (rho, tau) in [(0.0, 0.0), (0.6, 0.0), (0.6, 0.3)] {
            let noise = Noise::Hosts(Hosts { n, rho, tau, is_skewed: false });
            let worse =
                Means { noise, history: 0, shift: 0.1, alpha: 0.001, margin: 0.001, ..Means::default() };
            let name = format!("H +10 %, 0.1 %, {}+{}, AR {rho}, tau {tau}", n.0, n.1);
            gauges(all, name, 1.0, Promise::None, worse);
        }
    }
}

/// Go of an unchanged release, and of one that is as bad as the margin.
fn goes_of_gauges(all: &mut Vec<Scenario>) {
    for (margin, goes) in [(0.1, [1.0, 0.78, 0.10, 0.0]), (0.2, [1.0, 1.0, 1.0, 0.07])] {
        for (rho, goes) in [0.0, 0.3, 0.6, 0.9].into_iter().zip(goes) {
            let same =
                Means { checks: 10, noise: Noise::Ar(rho), history: 1_440, margin, ..Means::default() };
            let name = format!("M good, ten, margin {} %, AR {rho}, 24 h, go", 100.0 * margin);
            gauges(all, name, 0.3, Promise::Goes(goes), same);
        }
    }
    for rho in [0.0, 0.6] {
        let worse = Means { noise: Noise::Ar(rho), shift: 0.1, ..Means::default() };
        gauges(all, format!("M harm = margin, one, AR {rho}, 3 h"), 1.0, Promise::FalseGo(0.05), worse);
    }
    let skewed = Means { noise: Noise::Lognormal, shift: 0.1, ..Means::default() };
    gauges(all, "M harm = margin, one, lognormal, 3 h".to_owned(), 1.0, Promise::FalseGo(0.05), skewed);
}

/// What happens to the data rather than to the service.
fn changed_conditions(all: &mut Vec<Scenario>) {
    for growth in [1.5, 2.2, 3.0] {
        let noisier = Means { growth, history: 1_440, alpha: 0.001, ..Means::default() };
        gauges(
            all,
            format!("M good, one, noise x{growth}, 24 h, 0.1 %"),
            2.0,
            Promise::Refused(0.005),
            noisier,
        );
    }
    let gap = Means { noise: Noise::Ar(0.3), gap: (10, 40), ..Means::default() };
    gauges(all, "M good, one, a gap of 30 minutes, 3 h".to_owned(), 1.0, Promise::Refused(0.01), gap);
    for until in [0, 2, 3, 4, 20] {
        let silent = Means { checks: 10, history: 0, until, ..Means::default() };
        let name = format!("M good, ten, canary silent from minute {until}, no history");
        gauges(all, name.clone(), 0.3, Promise::SilentAfter(until), silent);
        let silent = Means { history: 180, ..silent };
        gauges(
            all,
            format!("{}3 h", name.trim_end_matches("no history")),
            0.3,
            Promise::SilentAfter(until),
            silent,
        );
    }
}

fn pods(all: &mut Vec<Scenario>, name: String, part: f64, promise: Promise, setting: Pods) {
    add(all, name, part, promise, move |chance| simulate::pods(setting, chance));
}

/// Canaries of new pods: level, what is found, go, cold starts.
fn new_pods(all: &mut Vec<Scenario>) {
    let layouts = [
        ("1+3, 12 births in 12", (1, 3, 0), (12, 12)),
        ("1+10, 12 in 12", (1, 10, 0), (12, 12)),
        ("1+10, 5 in 5", (1, 10, 0), (5, 5)),
        ("2+10, 12 in 6", (2, 10, 0), (12, 6)),
        ("5+10, 30 in 10", (5, 10, 0), (30, 10)),
        ("5+10, 30 in 10, 5 fresh", (5, 10, 5), (30, 10)),
        ("5+30, 100 in 20", (5, 30, 0), (100, 20)),
    ];
    for (label, n, births) in layouts {
        for (rho, tau) in [(0.6, 0.3), (0.0, 0.0), (0.9, 0.6)] {
            let same = Pods { n, births, rho, tau, ..Pods::default() };
            let name = format!("N good, ten, {label}, AR {rho}, tau {tau}");
            pods(all, name, 0.5, Promise::Refused(0.01), same);
        }
    }
    let one = Pods { checks: 1, ..Pods::default() };
    for (label, n, births, factor, found) in [
        ("2+10, 12 in 6", (2, 10, 0), (12, 6), 1.2, 0.90),
        ("2+10, 12 in 6", (2, 10, 0), (12, 6), 1.5, 1.0),
        ("1+10, 12 in 12", (1, 10, 0), (12, 12), 1.2, 0.71),
        ("5+10, 30 in 10, 5 fresh", (5, 10, 5), (30, 10), 1.1, 0.57),
    ] {
        // One check that has a tenth of alpha; no go comes first, since the margin is next to nothing.
        let worse = Pods { n, births, factor, alpha: 0.001, margin: 0.001, ..one };
        pods(all, format!("N x{factor}, 0.1 %, {label}"), 2.0, Promise::Found(found), worse);
    }
    let goes = Pods { n: (2, 10, 0), births: (12, 6), margin: 0.2, ..Pods::default() };
    pods(all, "N good, ten, 2+10, 12 in 6, margin 20 %, go".to_owned(), 0.5, Promise::Goes(0.99), goes);
    let worse = Pods { n: (2, 10, 0), births: (12, 6), factor: 1.2, margin: 0.2, ..one };
    pods(all, "N harm = margin, one, 2+10, 12 in 6".to_owned(), 1.0, Promise::FalseGo(0.05), worse);
    let shared = Pods { n: (2, 10, 0), births: (12, 6), omega: 0.3, ..Pods::default() };
    pods(
        all,
        "N good, ten, 2+10, 12 in 6, events as far apart as pods".to_owned(),
        0.5,
        Promise::Refused(0.012),
        shared,
    );
    for (n, births) in [((1, 10, 0), (12, 12)), ((2, 10, 0), (30, 15))] {
        for half_life in [3.0, 8.0, 15.0] {
            let cold = Pods { n, births, cold: (0.3, half_life), ..Pods::default() };
            let name = format!("N good, ten, {}+10, cold start of 30 %, half-life {half_life}", n.0);
            pods(all, name, 0.5, Promise::Refused(0.016), cold);
        }
    }
    let pod_errors = PodErrors {
        n: (5, 10),
        births: 30,
        rate: 0.5,
        tau: 0.3,
        factor: 1.0,
        cold: (0.0, 1.0),
        alpha: 0.01,
        held_to: "vote: veto",
    };
    for half_life in [1.0, 3.0, 10.0] {
        let cold = PodErrors { cold: (1.0, half_life), ..pod_errors };
        let name = format!("N errors, cold start of 100 %, half-life {half_life}, 5+10, tau 0.3");
        add(all, name, 0.5, Promise::None, move |chance| simulate::pod_errors(cold, chance));
    }
    // 1,000 trials a pod-minute: 0.0005 is a factor of two.
    for tau in [0.0, 0.3] {
        for (what, held_to, factor) in [
            ("margin 100 %", "margin: { relative: 100% }", 2.0),
            ("margin 0.05 points", "margin: { absolute: 0.0005 }", 2.0),
        ] {
            let same = PodErrors { tau, held_to, alpha: 1e-6, ..pod_errors };
            let name = format!("N errors, {what}, 5+10, tau {tau}");
            add(all, format!("{name}, unchanged"), 0.5, Promise::None, move |chance| {
                simulate::pod_errors(same, chance)
            });
            let worse = PodErrors { factor, ..same };
            add(all, format!("{name}, harm = margin"), 1.0, Promise::FalseGo(0.05), move |chance| {
                simulate::pod_errors(worse, chance)
            });
        }
    }
    for (n, births) in [((1, 10, 0), (12, 12)), ((2, 10, 0), (12, 6)), ((1, 3, 0), (12, 12))] {
        let announced = Pods { n, births, factor: 0.0, alpha: 0.001, margin: 0.001, ..one };
        let name = format!("N announced shift, 0.1 %, {}+{}", n.0, n.1);
        pods(all, name, 1.0, Promise::Found(0.78), announced);
    }
    for (tau, factor, promise) in [
        (0.3, 1.0, Promise::Refused(0.01)),
        (0.3, 2.0, Promise::Found(0.57)),
        (0.3, 4.0, Promise::Found(1.0)),
        (0.0, 1.0, Promise::Refused(0.01)),
        (0.0, 2.0, Promise::Found(1.0)),
    ] {
        let alpha = if factor > 1.0 { 0.001 } else { 0.01 };
        let setting = PodErrors { tau, factor, alpha, ..pod_errors };
        add(
            all,
            format!("N errors x{factor}, 5+10, 0.5 a pod-minute, tau {tau}"),
            0.5,
            promise,
            move |chance| simulate::pod_errors(setting, chance),
        );
    }
    let trust = Pods { births: (0, 1), warm_up: 10, ..Pods::default() };
    pods(all, "N good, ten, 1+10, no births".to_owned(), 0.5, Promise::Refused(0.013), trust);
}

fn pod_latencies(all: &mut Vec<Scenario>, name: String, part: f64, promise: Promise, setting: PodLatency) {
    add(all, name, part, promise, move |chance| simulate::pod_latency(setting, chance));
}

/// Latencies of new pods: level, what is found, go, cold starts.
fn new_pod_latencies(all: &mut Vec<Scenario>) {
    const SAME: &str = "vote: veto";
    let by_births = PodLatency::default();
    let by_fresh = PodLatency { n: (3, 10, 3), ..by_births };
    let slower = |factor: f64| Slow { part: 1.0, factor };
    for (label, setting) in [
        ("2+10, 12 in 6", by_births),
        ("1+10, 12 in 12", PodLatency { n: (1, 10, 0), births: (12, 12), ..by_births }),
        ("3+10, 3 fresh", by_fresh),
    ] {
        for (rho, tau) in [(0.6, 0.3), (0.0, 0.0), (0.9, 0.6)] {
            let same = PodLatency { rho, tau, held_to: SAME, ..setting };
            pod_latencies(
                all,
                format!("N latency good, {label}, AR {rho}, tau {tau}"),
                1.0,
                Promise::Refused(0.015),
                same,
            );
        }
        let few = PodLatency { requests: (10, 100), held_to: SAME, ..setting };
        pod_latencies(
            all,
            format!("N latency good, {label}, a tenth of the requests"),
            1.0,
            Promise::Refused(0.015),
            few,
        );
        for (factor, found) in [(1.5, 0.99), (2.0, 0.99)] {
            let worse = PodLatency { slow: slower(factor), held_to: SAME, alpha: 0.001, ..setting };
            pod_latencies(
                all,
                format!("N latency x{factor}, 0.1 %, {label}"),
                0.5,
                Promise::Found(found),
                worse,
            );
        }
        let tail =
            PodLatency { slow: Slow { part: 0.1, factor: 10.0 }, held_to: SAME, alpha: 0.001, ..setting };
        let name = format!("N latency 1 in 10 ten times slower, 0.1 %, {label}");
        pod_latencies(all, name, 0.5, Promise::Found(0.99), tail);
        pod_latencies(all, format!("N latency good, go, {label}"), 0.5, Promise::None, setting);
        for requests in [(100, 100), (10, 100)] {
            let worse = PodLatency { slow: slower(1.2), alpha: 1e-6, requests, ..setting };
            let name = format!("N latency harm = margin, {label}, {} requests of 100", requests.0);
            pod_latencies(all, name, 1.0, Promise::FalseGo(0.05), worse);
        }
        let announced = PodLatency { held_to: SAME, alpha: 0.001, ..setting };
        let simulate = move |chance: &mut Chance| simulate::pod_latency_as_foretold(announced, chance);
        add(all, format!("N latency announced shift, 0.1 %, {label}"), 0.5, Promise::Found(0.78), simulate);
    }
    for half_life in [3.0, 15.0] {
        let cold = PodLatency { cold: (0.3, half_life), held_to: SAME, ..by_births };
        let name = format!("N latency good, 2+10, cold start of 30 %, half-life {half_life}");
        pod_latencies(all, name, 1.0, Promise::Refused(0.016), cold);
    }
    let few = PodLatency { requests: (5, 5), ..by_births };
    let same = PodLatency { held_to: SAME, ..few };
    pod_latencies(
        all,
        "N latency good, five requests a minute".to_owned(),
        1.0,
        Promise::Refused(0.015),
        same,
    );
    let worse = PodLatency { slow: slower(1.2), alpha: 1e-6, ..few };
    let name = "N latency harm = margin, five requests a minute".to_owned();
    pod_latencies(all, name, 1.0, Promise::FalseGo(0.05), worse);
}

fn error_counts(all: &mut Vec<Scenario>, name: String, part: f64, promise: Promise, setting: Errors) {
    add(all, name, part, promise, move |chance| simulate::errors(setting, chance));
}

fn counts(all: &mut Vec<Scenario>) {
    for (normal, more, fixed, ramp) in
        [(0.05, 0.2, 0.44, 0.17), (0.5, 1.0, 0.75, 0.30), (5.0, 6.0, 0.46, 0.16)]
    {
        let same = Errors { rates: (normal, normal), ..Errors::default() };
        let worse = Errors { rates: (normal, more), ..Errors::default() };
        error_counts(all, format!("C good, {normal} a minute"), 2.0, Promise::Refused(0.01), same);
        error_counts(all, format!("C {normal} -> {more} a minute"), 2.0, Promise::Found(fixed), worse);
        let (same, worse) =
            (Errors { share: TrafficShare::Ramp, ..same }, Errors { share: TrafficShare::Ramp, ..worse });
        error_counts(
            all,
            format!("C good, {normal} a minute, share 2 to 32 %"),
            2.0,
            Promise::Refused(0.01),
            same,
        );
        let name = format!("C {normal} -> {more} a minute, share 2 to 32 %");
        error_counts(all, name.clone(), 2.0, Promise::None, worse);
        let planned = Errors { is_planned: true, ..worse };
        error_counts(all, format!("{name}, planned"), 2.0, Promise::Found(ramp), planned);
        let planned = Errors { is_planned: true, ..same };
        let name = format!("C good, {normal} a minute, share 2 to 32 %, planned");
        error_counts(all, name, 2.0, Promise::Refused(0.01), planned);
    }
    let steps = Errors { share: TrafficShare::Steps, ..Errors::default() };
    error_counts(all, "C good, 5 a minute, share 1/5/25/50 %".to_owned(), 2.0, Promise::Refused(0.01), steps);
    for share in [0.5, 0.1] {
        let clumped = Errors { clump: 5, share: TrafficShare::Fixed(share), ..Errors::default() };
        let name = format!("C good, clumps of five, share {share}");
        error_counts(all, name, 1.0, Promise::Refused(0.01), clumped);
        let worse = Errors { rates: (5.0, 10.0), ..clumped };
        error_counts(all, format!("C 5 -> 10, clumps of five, share {share}"), 1.0, Promise::None, worse);
        let wandering = Errors { wander: 0.2, share: TrafficShare::Fixed(share), ..Errors::default() };
        let name = format!("C good, one side's rate wanders, share {share}, 24 h");
        error_counts(all, name, 1.0, Promise::Refused(0.01), wandering);
    }
}

/// The canary changes places with groups of the baseline's hosts.
fn host_groups(all: &mut Vec<Scenario>) {
    for (hosts, share) in [((1, 9), 0.1), ((2, 8), 0.2), ((1, 3), 0.25)] {
        let clumped = Errors { clump: 5, hosts, share: TrafficShare::Fixed(share), ..Errors::default() };
        let name = format!("clumps of five, {}+{} hosts", hosts.0, hosts.1);
        error_counts(all, format!("C good, {name}"), 1.0, Promise::Refused(0.01), clumped);
        let worse = Errors { rates: (5.0, 10.0), ..clumped };
        error_counts(all, format!("C 5 -> 10, {name}"), 1.0, Promise::None, worse);
    }
}

fn count_margins(all: &mut Vec<Scenario>) {
    let held_to = "margin: { absolute: 0.002 }";
    // 2,000 trials a minute and side: four errors more are 0.2 points.
    for (name, rates, promise) in [
        ("unchanged", (0.5, 0.5), Promise::Goes(0.99)),
        ("harm = margin, 0.5 -> 4.5", (0.5, 4.5), Promise::FalseGo(0.05)),
        ("harm = margin, 5 -> 9", (5.0, 9.0), Promise::FalseGo(0.05)),
        ("harm = margin, 0 -> 4", (0.0, 4.0), Promise::FalseGo(0.05)),
        ("no error at all", (0.0, 0.0), Promise::Goes(0.99)),
    ] {
        let margin = Errors { rates, held_to, alpha: 1e-6, ..Errors::default() };
        error_counts(all, format!("C margin 0.2 points, {name}"), 0.5, promise, margin);
    }
    for (normal, share) in [(20.0, 0.5), (20.0, 0.1)] {
        let worse = Errors {
            rates: (normal, 1.5 * normal),
            share: TrafficShare::Fixed(share),
            held_to: "margin: { relative: 50% }",
            alpha: 1e-6,
            ..Errors::default()
        };
        let name = format!("C margin 50 %, harm = margin, {normal} a minute, share {share}");
        error_counts(all, name, 0.5, Promise::FalseGo(0.05), worse);
    }
}

fn latencies(all: &mut Vec<Scenario>, name: String, part: f64, promise: Promise, setting: Latency) {
    add(all, name, part, promise, move |chance| simulate::latency(setting, chance));
}

fn distributions(all: &mut Vec<Scenario>) {
    const TAIL: Slow = Slow { part: 0.1, factor: 10.0 };
    const SHIFT: Slow = Slow { part: 1.0, factor: 1.1 };
    for (history, label) in [(180, "3 h"), (0, "no history")] {
        for (wander, minutes, shifted) in [((0.0, 0.0), "", 0.99), ((0.6, 0.1), ", minutes vary", 0.31)] {
            let setting = Latency { history, wander, ..Latency::default() };
            let name = |what: &str| format!("D {what}, {label}{minutes}");
            latencies(all, name("good"), 0.3, Promise::Refused(0.01), setting);
            let tail = Latency { slow: TAIL, ..setting };
            latencies(all, name("1 in 10 ten times slower"), 0.3, Promise::Found(0.997), tail);
            let promise = if history > 0 { Promise::Found(shifted) } else { Promise::None };
            latencies(all, name("median +10 %"), 0.3, promise, Latency { slow: SHIFT, ..setting });
        }
    }
    for (label, before, since) in [("1/3 to 10 %", 1.0 / 3.0, 0.1), ("5 to 1 %", 0.05, 0.01)] {
        let less = Latency {
            requests: 2_000,
            share: (before, TrafficShare::Fixed(since)),
            history: 1_440,
            alpha: 0.001,
            held_to: "vote: veto",
            ..Latency::default()
        };
        latencies(all, format!("D good, share {label}, 24 h, 0.1 %"), 0.3, Promise::Refused(0.001), less);
    }
    let steps = Latency { requests: 1_000, share: (0.5, TrafficShare::Steps), ..Latency::default() };
    latencies(all, "D good, share 1/5/25/50 %, 3 h".to_owned(), 0.3, Promise::Refused(0.01), steps);
}

/// Go of all values 10 % larger, over shapes and buckets.
fn distribution_margins(all: &mut Vec<Scenario>) {
    let shapes = [
        ("lognormal 0.3", Shape::Lognormal(0.3)),
        ("lognormal 0.6", Shape::Lognormal(0.6)),
        ("lognormal 1", Shape::Lognormal(1.0)),
        ("exponential", Shape::Exponential),
        ("bimodal", Shape::Bimodal),
        ("Pareto 2.5", Shape::Pareto(2.5)),
    ];
    for (is_fine, buckets) in [(false, "Prometheus"), (true, "fine")] {
        for (label, shape) in shapes {
            let worse = Latency {
                shape,
                is_fine,
                slow: Slow { part: 1.0, factor: 1.1 },
                alpha: 1e-6,
                ..Latency::default()
            };
            let name = format!("D harm = margin, {label}, {buckets} buckets");
            latencies(all, name, 0.2, Promise::FalseGo(0.05), worse);
        }
    }
}

fn users(all: &mut Vec<Scenario>) {
    // The best fixed test, which knows the minute and the law, finds 80 % of either change at 1 %.
    const FIXED: f64 = 0.8;
    for (label, value, per_minute, bad) in [
        ("conversion 30 %", UserValue::Converts(0.3), 1_740, 0.97),
        ("revenue lognormal 2", UserValue::Spends(2.0), 242, 0.9),
    ] {
        let same =
            Users { per_minute, share: TrafficShare::Fixed(0.5), value, factor: 1.0, held_to: "vote: veto" };
        let mut case = |name: String, promise: Promise, setting: Users| {
            add(all, name, 0.5, promise, move |chance| simulate::users(setting, chance));
        };
        case(format!("U good, {label}"), Promise::Refused(0.01), same);
        let tenth = Users { share: TrafficShare::Fixed(0.1), ..same };
        case(format!("U good, {label}, share 0.1"), Promise::Refused(0.01), tenth);
        let ramp = Users { share: TrafficShare::Ramp, ..same };
        case(format!("U good, {label}, share 2 to 32 %"), Promise::Refused(0.01), ramp);
        let worse = Users { factor: bad, ..same };
        case(format!("U {label}, {:+.0} %", 100.0 * (bad - 1.0)), Promise::Found(0.75 * FIXED), worse);
        let held_to = if bad == 0.97 { "margin: { relative: 3% }" } else { "margin: { relative: 10% }" };
        case(format!("U harm = margin, {label}"), Promise::FalseGo(0.05), Users { held_to, ..worse });
    }
}

fn log_patterns(all: &mut Vec<Scenario>) {
    for (baseline, label, look, alpha, found) in [
        (1.0, "equal traffic", 30, 0.01, 0.75),
        (1.0, "equal traffic", 30, 0.001, 0.35),
        (10.0, "ten times the traffic", 15, 0.01, 0.89),
        (10.0, "ten times the traffic", 15, 0.001, 0.78),
    ] {
        let setting = move |new| Logs { baseline, new, alpha };
        let level = format!("{} %", 100.0 * alpha);
        add(all, format!("L good, {label}, {level}"), 0.2, Promise::Refused(alpha), move |chance| {
            simulate::logs(setting(0.0), chance)
        });
        let promise = Promise::FoundBy(found, look);
        add(all, format!("L new line in 1 of 2,000, {label}, {level}"), 0.2, promise, move |chance| {
            simulate::logs(setting(0.000_5), chance)
        });
    }
}

/// What was said beforehand to be found in 80 % of cases.
fn foretold(all: &mut Vec<Scenario>) {
    let promise = Promise::Found(0.8);
    for rho in [0.0, 0.6, 0.9] {
        for (history, hours, _) in &HISTORIES[1..] {
            let setting =
                Means { noise: Noise::Ar(rho), history: *history, margin: 0.001, ..Means::default() };
            let simulate = move |chance: &mut Chance| simulate::means_as_foretold(setting, chance);
            add(all, format!("foretold, M, AR {rho}, {hours}"), 0.5, promise, simulate);
        }
    }
    for (rate, share) in [(0.05, 0.5), (0.5, 0.5), (5.0, 0.5), (5.0, 0.1)] {
        let setting = Errors { rates: (rate, rate), share: TrafficShare::Fixed(share), ..Errors::default() };
        let simulate = move |chance: &mut Chance| simulate::errors_as_foretold(setting, chance);
        add(all, format!("foretold, C, {rate} events a minute, share {share}"), 1.0, promise, simulate);
    }
    for (label, wander) in [("", (0.0, 0.0)), (", minutes vary", (0.6, 0.1))] {
        let setting = Latency { held_to: "vote: veto", wander, ..Latency::default() };
        let simulate = move |chance: &mut Chance| simulate::latency_as_foretold(setting, chance);
        add(all, format!("foretold, D{label}"), 0.3, promise, simulate);
    }
}

fn demo(all: &mut Vec<Scenario>) {
    for share in [0.1, 0.5] {
        for (name, fault, promise) in [
            ("good", Fault::None, Promise::Refused(0.01)),
            ("bad", Fault::Bad, Promise::Found(0.99)),
            ("slow", Fault::Slow, Promise::Found(0.99)),
            ("errors", Fault::Errors, Promise::Found(0.97)),
        ] {
            add(all, format!("demo, {name}, share {share}"), 0.3, promise, move |chance| {
                simulate::demo(400.0, share, fault, chance)
            });
        }
    }
}
