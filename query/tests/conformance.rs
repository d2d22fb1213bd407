//! Prometheus's own scripts, run against the engine over a source in memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use greylight_query::promql::{Answer, Engine, EngineOptions, Query, Sample, Value};
use greylight_store::model::{
    Buckets, CUSTOM_BOUNDS, CounterReset, Histogram, Labels, Span, SystemClock, TenantId, Timestamp,
};
use greylight_store::read::{Budget, Limits};
use regex::Regex;

use crate::memory::Memory;
use crate::script::{Command, Eval, Load, Point, parse};

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

#[derive(Debug, Default)]
struct Score {
    passed: usize,
    failed: Vec<String>,
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    if a.is_nan() || b.is_nan() {
        return false;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}

/// Compares histograms without their empty buckets; what is known of resets only where `want` says it.
fn same_histogram(want: &Histogram, got: &Histogram) -> bool {
    let close = |a: &Buckets, b: &Buckets| {
        let populated = |side: &Buckets| side.iter().filter(|(_, n)| *n != 0.0).collect::<Vec<_>>();
        let (a, b) = (populated(a), populated(b));
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && almost_equal(a.1, b.1))
    };
    want.schema == got.schema
        && almost_equal(want.count, got.count)
        && almost_equal(want.sum, got.sum)
        && want.zero_threshold == got.zero_threshold
        && almost_equal(want.zero_count, got.zero_count)
        && want.custom_bounds == got.custom_bounds
        && close(&want.positive, &got.positive)
        && close(&want.negative, &got.negative)
        && (want.reset == CounterReset::Unknown || want.reset == got.reset)
}

fn same(want: &Point, got: &Point) -> bool {
    match (want, got) {
        (Point::Value(a), Point::Value(b)) => almost_equal(*a, *b),
        (Point::Histogram(a), Point::Histogram(b)) => same_histogram(a, b),
        _ => false,
    }
}

#[derive(Debug, Default)]
struct State {
    memory: Memory,
}

impl State {
    fn load(&mut self, load: &Load) {
        for (labels, points) in &load.series {
            let at = |i: usize| i as i64 * load.gap_ms;
            let samples = points.iter().enumerate().filter_map(|(i, p)| match p {
                Point::Value(v) => Some((at(i), *v)),
                Point::Stale => Some((at(i), STALE)),
                Point::Omitted | Point::Histogram(_) => None,
            });
            self.memory.add(labels.clone(), samples);
            let histograms = points.iter().enumerate().filter_map(|(i, p)| match p {
                Point::Histogram(histogram) => Some((at(i), histogram.clone())),
                _ => None,
            });
            self.memory.add_histograms(labels.clone(), histograms);
        }
        if load.nhcb {
            self.load_with_custom_bounds(load);
        }
    }

    /// Makes one series of native histograms of the buckets, sum and count of each classic histogram.
    fn load_with_custom_bounds(&mut self, load: &Load) {
        let mut series: BTreeMap<Labels, BTreeMap<usize, Classic>> = BTreeMap::new();
        for (labels, points) in &load.series {
            let (name, kind) = labels.metric_name().rsplit_once('_').unwrap();
            let le = labels.get("le").map(|le| le.parse::<f64>().unwrap());
            let labels = labels.to_builder().set("__name__", name).remove("le").build();
            let parts = series.entry(labels).or_default();
            for (i, point) in points.iter().enumerate() {
                let Point::Value(v) = point else { continue };
                let classic = parts.entry(i).or_default();
                match (kind, le) {
                    ("bucket", Some(le)) => classic.buckets.push((le, *v)),
                    ("count", None) => classic.count = Some(*v),
                    ("sum", None) => classic.sum = *v,
                    _ => {}
                }
            }
        }
        for (labels, parts) in series {
            let samples = parts.into_iter().map(|(i, classic)| (i as i64 * load.gap_ms, classic.native()));
            self.memory.add_histograms(labels, samples);
        }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::new(self.memory.clone()), EngineOptions::default())
    }
}

/// What is known of a classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// Bounds, with how many observations are no greater.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    fn native(mut self) -> Arc<Histogram> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by_key(|bucket| bucket.0);
        let last = self.buckets.last().map_or(0.0, |bucket| bucket.1);
        let count = self.count.unwrap_or(last);
        self.buckets.retain(|bucket| bucket.0.is_finite());
        let custom_bounds: Vec<f64> = self.buckets.iter().map(|bucket| bucket.0).collect();
        let mut below = 0.0;
        let upto = self.buckets.iter().map(|bucket| bucket.1).chain([count]);
        let counts: Vec<f64> = upto.map(|n| n - std::mem::replace(&mut below, n)).collect();
        let positive =
            Buckets { spans: vec![Span { offset: 0, length: u32::try_from(counts.len()).unwrap() }], counts };
        let plain = Histogram { schema: CUSTOM_BOUNDS, count, sum: self.sum, ..Histogram::default() };
        Arc::new(Histogram { positive, custom_bounds, ..plain })
    }
}

fn budget() -> Budget {
    Budget::new(Limits::default(), Arc::new(SystemClock::default()))
}

fn run(engine: &Engine, eval: &Eval, query: &str, range: Option<(i64, i64, i64)>) -> Result<Answer, String> {
    let tenant = TenantId::default();
    let query = Query::parse(query).map_err(|e| e.to_string())?;
    let answer = match range {
        Some((start, end, step)) => {
            let times = (Timestamp::from_millis(start), Timestamp::from_millis(end));
            engine.range(&tenant, &query, times, Duration::from_millis(step.unsigned_abs()), &budget())
        }
        None => engine.instant(&tenant, &query, Timestamp::from_millis(eval.at), &budget()),
    };
    answer.map_err(|e| e.to_string())
}

fn text_matches(how: &str, want: &str, got: &str) -> bool {
    let place = Regex::new(r"\s*\(\d+:\d+\)$").unwrap();
    match how {
        "regex" => Regex::new(want).unwrap().is_match(got),
        _ => want == got || want == place.replace(got, ""),
    }
}

fn check_annotations(eval: &Eval, answer: &Answer) -> Result<(), String> {
    for (word, got) in [("warn", answer.annotations.warnings()), ("info", answer.annotations.infos())] {
        let wants: Vec<_> = eval.expects.iter().filter(|(w, _)| w == word).collect();
        if !wants.is_empty() && got.is_empty() {
            return Err(format!("expected {word}, got none"));
        }
        for (_, text) in &wants {
            let hit = |g: &String| text.as_ref().is_none_or(|(how, want)| text_matches(how, want, g));
            if !got.iter().any(hit) {
                return Err(format!("no {word} like {text:?} in {got:?}"));
            }
        }
        // A case that expects nothing of the kind is one that has nothing of it.
        let none = eval.expects.is_empty() || eval.expects.iter().any(|(w, _)| *w == format!("no_{word}"));
        if none && !got.is_empty() {
            return Err(format!("unexpected {word}: {got:?}"));
        }
    }
    Ok(())
}

fn matrix(value: &Value) -> Vec<(Labels, Vec<(i64, Point)>)> {
    let Value::Matrix(matrix) = value else { panic!("no matrix: {value:?}") };
    let series = |i: usize| {
        let mut points: Vec<_> = matrix.samples(i).map(|(t, v)| (t, Point::Value(v))).collect();
        points.extend(matrix.histograms(i).map(|(t, h)| (t, Point::Histogram(h.clone()))));
        points.sort_by_key(|(t, _)| *t);
        (matrix.labels(i).clone(), points)
    };
    (0..matrix.len()).map(series).collect()
}

fn check_vector(eval: &Eval, got: &[(Labels, Point)]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for (n, (labels, value)) in got.iter().enumerate() {
        let Some((position, points)) = eval.expected.get(labels) else {
            return Err(format!("unexpected {labels} {value:?}"));
        };
        if eval.ordered && *position != n + 1 {
            return Err(format!("{labels} is at place {}", n + 1));
        }
        match points.first() {
            Some(want) if same(want, value) => {}
            want => return Err(format!("{labels}: want {want:?}, got {value:?}")),
        }
        if !seen.insert(labels) {
            return Err(format!("{labels} came twice"));
        }
    }
    match eval.expected.keys().find(|labels| !seen.contains(labels)) {
        Some(missing) => Err(format!("missing {missing}")),
        None => Ok(()),
    }
}

fn check_matrix(eval: &Eval, value: &Value, (start, end, step): (i64, i64, i64)) -> Result<(), String> {
    let got = matrix(value);
    let mut seen = BTreeMap::new();
    for (labels, samples) in &got {
        let Some((_, points)) = eval.expected.get(labels) else { return Err(format!("unexpected {labels}")) };
        let times = (0..).map(|i| start + i * step).take_while(|t| *t <= end);
        let there = |p: &&Point| matches!(p, Point::Value(_) | Point::Histogram(_));
        let want: Vec<(i64, &Point)> = times.zip(points).filter(|(_, p)| there(p)).collect();
        let is_same = want.len() == samples.len()
            && want.iter().zip(samples).all(|(w, g)| w.0 == g.0 && same(w.1, &g.1));
        if !is_same {
            return Err(format!("{labels}: want {want:?}, got {samples:?}"));
        }
        seen.insert(labels, ());
    }
    if !got.windows(2).all(|w| w[0].0 < w[1].0) {
        return Err("matrix is not sorted".into());
    }
    match eval.expected.keys().find(|labels| !seen.contains_key(labels)) {
        Some(missing) => Err(format!("missing {missing}")),
        None => Ok(()),
    }
}

fn check(engine: &Engine, eval: &Eval) -> Result<(), String> {
    let answer = match run(engine, eval, &eval.query, eval.range) {
        Err(text) if eval.fail => {
            let wants = eval.expects.iter().filter(|(w, _)| w == "fail").filter_map(|(_, t)| t.as_ref());
            let bad: Vec<_> = wants.filter(|(how, want)| !text_matches(how, want, &text)).collect();
            return if bad.is_empty() { Ok(()) } else { Err(format!("error {text:?} is not like {bad:?}")) };
        }
        Err(text) => return Err(text),
        Ok(answer) if eval.fail => return Err(format!("expected an error, got {:?}", answer.value)),
        Ok(answer) => answer,
    };
    if let Some(range) = eval.range.or(eval.range_vector) {
        check_matrix(eval, &answer.value, range)?;
        return check_annotations(eval, &answer);
    }
    let is_scalar = match &answer.value {
        Value::Scalar { value, .. } => {
            let want = eval.scalar.ok_or("expected no scalar")?;
            if !almost_equal(want, *value) {
                return Err(format!("want {want}, got {value}"));
            }
            true
        }
        Value::String { text, .. } if eval.string.as_ref() == Some(text) => return Ok(()),
        Value::Vector(samples) => {
            if eval.scalar.is_some() {
                return Err("expected a scalar".into());
            }
            let point = |s: &Sample| match &s.histogram {
                Some(histogram) => Point::Histogram(histogram.clone()),
                None => Point::Value(s.value),
            };
            let got: Vec<_> = samples.iter().map(|s| (s.labels.clone(), point(s))).collect();
            check_vector(eval, &got)?;
            false
        }
        other => return Err(format!("unexpected {other:?}")),
    };
    // The same sample must come out of the middle of a range query.
    if !Regex::new(r"(start|end|range|step)\(\)").unwrap().is_match(&eval.query) {
        let around = (eval.at - 60_000, eval.at + 60_000, 60_000);
        let answer = run(engine, eval, &eval.query, Some(around)).map_err(|e| format!("as a range: {e}"))?;
        let middle: Vec<(Labels, Point)> = matrix(&answer.value)
            .into_iter()
            .filter_map(|(l, s)| s.into_iter().find(|(t, _)| *t == eval.at).map(|(_, v)| (l, v)))
            .collect();
        if is_scalar {
            let want = eval.scalar.ok_or("expected no scalar")?;
            if middle.len() != 1 || !same(&Point::Value(want), &middle[0].1) {
                return Err(format!("as a range: {middle:?}"));
            }
        } else if !eval.ordered {
            check_vector(eval, &middle).map_err(|e| format!("as a range: {e}"))?;
        }
    }
    check_annotations(eval, &answer)
}

fn run_script(name: &str, text: &str) -> Score {
    let mut score = Score::default();
    let mut state = State::default();
    for command in parse(text) {
        match command {
            Command::Clear => state = State::default(),
            Command::Load(load) => state.load(&load),
            Command::Eval(eval) => match check(&state.engine(), &eval) {
                Ok(()) => score.passed += 1,
                Err(text) => score.failed.push(format!("{name}:{}: {}\n    {text}", eval.line, eval.query)),
            },
        }
    }
    score
}

#[test]
fn prometheus_scripts_pass() {
    let Ok(data) = std::env::var("GREYLIGHT_TEST_DATA") else {
        println!("skipped: GREYLIGHT_TEST_DATA names no folder");
        return;
    };
    let mut total = Score::default();
    let mut paths: Vec<_> =
        std::fs::read_dir(format!("{data}/promqltest")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "test")) {
        let name = path.file_name().unwrap().to_string_lossy();
        let score = run_script(&name, &std::fs::read_to_string(path).unwrap());
        println!("{name}: {} passed, {} failed", score.passed, score.failed.len());
        total.passed += score.passed;
        total.failed.extend(score.failed);
    }
    total.failed.iter().for_each(|text| println!("{text}"));
    println!("total: {} passed, {} failed", total.passed, total.failed.len());
    assert!(total.failed.is_empty(), "{} cases fail", total.failed.len());
    assert_eq!(total.passed, 764, "cases were lost");
}

/// What the scripts above leave out, in the same language.
#[test]
fn own_cases_pass() {
    let scripts = [
        ("functions.test", include_str!("cases/functions.test")),
        ("aggregators.test", include_str!("cases/aggregators.test")),
        ("subquery.test", include_str!("cases/subquery.test")),
        ("trig_functions.test", include_str!("cases/trig_functions.test")),
        ("duration_expression.test", include_str!("cases/duration_expression.test")),
        ("name_label_dropping.test", include_str!("cases/name_label_dropping.test")),
        ("limit.test", include_str!("cases/limit.test")),
        ("type_and_unit.test", include_str!("cases/type_and_unit.test")),
        ("native.test", include_str!("cases/native.test")),
    ];
    let mut total = Score::default();
    for (name, text) in scripts {
        let score = run_script(name, text);
        println!("{name}: {} passed, {} failed", score.passed, score.failed.len());
        total.passed += score.passed;
        total.failed.extend(score.failed);
    }
    total.failed.iter().for_each(|text| println!("{text}"));
    assert!(total.failed.is_empty(), "{} cases fail", total.failed.len());
    assert!(total.passed > 250, "cases were lost: {}", total.passed);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    /// What becomes of a histogram's count is what becomes of a number.
    #[test]
    fn histograms_count_as_numbers_do(
        counts in proptest::collection::vec((0..9u32, 0..9u32), 2..10),
        gaps in proptest::collection::vec(proptest::bool::weighted(0.2), 10),
    ) {
        let mut memory = Memory::default();
        for i in ["0", "1"] {
            let labels = |name: &str| Labels::from_pairs([("__name__", name), ("i", i)]).unwrap();
            let kept = counts.iter().enumerate().filter(|(k, _)| !gaps[*k]);
            let numbers: Vec<(i64, f64)> = kept
                .map(|(k, (a, b))| (60_000 * k as i64, f64::from(if i == "0" { *a } else { a + b })))
                .collect();
            let histogram = |n: f64| {
                let positive = Buckets { spans: vec![Span { offset: 0, length: 1 }], counts: vec![n] };
                Arc::new(Histogram { count: n, sum: n, positive, ..Histogram::default() })
            };
            memory.add(labels("number"), numbers.iter().copied());
            memory.add_histograms(labels("native"), numbers.iter().map(|(t, n)| (*t, histogram(*n))));
        }
        let engine = Engine::new(Arc::new(memory), EngineOptions::default());
        let ask = |query: &str| {
            let eval = Eval::default();
            matrix(&run(&engine, &eval, query, Some((0, 900_000, 60_000))).unwrap().value)
        };
        for query in [
            "X * 2", "X / 4", "-X", "X - X offset 1m", "X + on(i) X", "(X and X offset 2m) * 1",
            "(X unless X offset 3m) * 1", "(X offset 3m or X) * 1", "(X == X) * 1", "sum(X)", "avg(X)",
            "sum by (i) (X)", "limitk(1, X) * 1", "delta(X[4m])", "irate(X[4m])", "idelta(X[4m])",
            "sum_over_time(X[4m])", "avg_over_time(X[4m])", "last_over_time(X[4m]) * 1",
            "first_over_time(X[4m]) * 1", "sum_over_time(X[4m:1m])",
        ] {
            let of = |name: &str| query.replace('X', name);
            let got = ask(&format!("histogram_count({})", of("native")));
            let want = ask(&of("number"));
            proptest::prop_assert_eq!(got.len(), want.len(), "{}", query);
            for ((labels, points), (want_labels, want_points)) in got.iter().zip(&want) {
                let is_same = points.len() == want_points.len()
                    && points.iter().zip(want_points).all(|(a, b)| a.0 == b.0 && same(&b.1, &a.1));
                proptest::prop_assert!(labels == want_labels && is_same, "{}: {:?} {:?}", query, points, want_points);
            }
        }
        for query in ["count(X)", "group(X)", "resets(X[4m])", "changes(X[4m])", "count_over_time(X[4m])",
            "present_over_time(X[4m])", "absent(X)", "absent_over_time(X[2m])", "timestamp(X)", "X == bool X offset 1m"] {
            let (got, want) = (ask(&query.replace('X', "native")), ask(&query.replace('X', "number")));
            proptest::prop_assert_eq!(got, want, "{}", query);
        }
    }
}
