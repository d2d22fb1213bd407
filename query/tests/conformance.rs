//! Prometheus's own scripts, run against the engine over a source in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use greylight_query::promql::{Answer, Engine, EngineOptions, Query, Value};
use greylight_store::model::{Labels, SystemClock, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits};
use regex::Regex;

use crate::memory::Memory;
use crate::script::{Command, Eval, Load, Point, parse};

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

#[derive(Debug, Default)]
struct Score {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
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

#[derive(Debug, Default)]
struct State {
    memory: Memory,
    histogram_names: BTreeSet<String>,
}

impl State {
    fn load(&mut self, load: &Load) {
        let suffix = Regex::new("_(bucket|count|sum)$").unwrap();
        for (labels, points) in &load.series {
            let name = labels.metric_name();
            if points.contains(&Point::Histogram) {
                self.histogram_names.insert(name.into());
            }
            if load.nhcb {
                let base = suffix.replace(name, "").into_owned();
                self.histogram_names.insert(base);
            }
            let at = |i: usize| i as i64 * load.gap_ms;
            let samples = points.iter().enumerate().filter_map(|(i, p)| match p {
                Point::Value(v) => Some((at(i), *v)),
                Point::Stale => Some((at(i), STALE)),
                Point::Omitted | Point::Histogram => None,
            });
            self.memory.add(labels.clone(), samples);
        }
    }

    /// Native histograms are not stored yet: what reads them is left out, as the HTTP runner does.
    fn reads_histograms(&self, eval: &Eval) -> bool {
        if eval.has_histogram {
            return true;
        }
        if self.histogram_names.is_empty() {
            return false;
        }
        let literal = Regex::new(r#""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`"#).unwrap();
        let bare = literal.replace_all(&eval.query, "\"\"").into_owned();
        let word = Regex::new("[A-Za-z_:][A-Za-z0-9_:]*").unwrap();
        let nameless = Regex::new(r"(^|[^\w:\s])\s*\{").unwrap().is_match(&bare);
        let named = word.find_iter(&bare).any(|w| self.histogram_names.contains(w.as_str()));
        let quoted = literal
            .find_iter(&eval.query)
            .any(|w| self.histogram_names.contains(w.as_str().trim_matches(['"', '\'', '`'])));
        nameless || named || quoted
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::new(self.memory.clone()), EngineOptions::default())
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
        if eval.expects.iter().any(|(w, _)| *w == format!("no_{word}")) && !got.is_empty() {
            return Err(format!("unexpected {word}: {got:?}"));
        }
    }
    Ok(())
}

fn matrix(value: &Value) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let Value::Matrix(matrix) = value else { panic!("no matrix: {value:?}") };
    (0..matrix.len()).map(|i| (matrix.labels(i).clone(), matrix.samples(i).collect())).collect()
}

fn check_vector(eval: &Eval, got: &[(Labels, f64)]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for (n, (labels, value)) in got.iter().enumerate() {
        let Some((position, points)) = eval.expected.get(labels) else {
            return Err(format!("unexpected {labels} {value}"));
        };
        if eval.ordered && *position != n + 1 {
            return Err(format!("{labels} is at place {}", n + 1));
        }
        match points.first() {
            Some(Point::Value(want)) if almost_equal(*want, *value) => {}
            want => return Err(format!("{labels}: want {want:?}, got {value}")),
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
        let want: Vec<(i64, f64)> = times
            .zip(points)
            .filter_map(|(t, p)| if let Point::Value(v) = p { Some((t, *v)) } else { None })
            .collect();
        let same = want.len() == samples.len()
            && want.iter().zip(samples).all(|(w, g)| w.0 == g.0 && almost_equal(w.1, g.1));
        if !same {
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
            let got: Vec<_> = samples.iter().map(|s| (s.labels.clone(), s.value)).collect();
            check_vector(eval, &got)?;
            false
        }
        other => return Err(format!("unexpected {other:?}")),
    };
    // The same sample must come out of the middle of a range query.
    if !Regex::new(r"(start|end|range|step)\(\)").unwrap().is_match(&eval.query) {
        let around = (eval.at - 60_000, eval.at + 60_000, 60_000);
        let answer = run(engine, eval, &eval.query, Some(around)).map_err(|e| format!("as a range: {e}"))?;
        let middle: Vec<(Labels, f64)> = matrix(&answer.value)
            .into_iter()
            .filter_map(|(l, s)| s.into_iter().find(|(t, _)| *t == eval.at).map(|(_, v)| (l, v)))
            .collect();
        if is_scalar {
            let want = eval.scalar.ok_or("expected no scalar")?;
            if middle.len() != 1 || !almost_equal(middle[0].1, want) {
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
            Command::Eval(eval) if name == "native_histograms.test" || state.reads_histograms(&eval) => {
                score.skipped += 1;
            }
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
        println!("{name}: {} passed, {} failed, {} skipped", score.passed, score.failed.len(), score.skipped);
        total.passed += score.passed;
        total.skipped += score.skipped;
        total.failed.extend(score.failed);
    }
    total.failed.iter().for_each(|text| println!("{text}"));
    println!("total: {} passed, {} failed, {} skipped", total.passed, total.failed.len(), total.skipped);
    assert!(total.failed.is_empty(), "{} cases fail", total.failed.len());
    assert!(total.passed >= 311, "cases were lost");
}

/// What the scripts above leave out, in the same language.
#[test]
fn own_cases_pass() {
    let score = run_script("functions.test", include_str!("cases/functions.test"));
    score.failed.iter().for_each(|text| println!("{text}"));
    assert!(score.failed.is_empty(), "{} cases fail", score.failed.len());
    assert!(score.passed > 70, "cases were lost: {}", score.passed);
}
