//! Names in Prometheus's legacy alphabet, by the strategy that Prometheus uses by default
//! ("underscore escaping with suffixes").
//!
//! Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility".

use std::borrow::Cow;

use crate::exposition::MetricType;

/// Turns an attribute's name into a label's: every other character becomes `_`, and a name that would
/// begin with a digit or a single `_` gets `key` before it.
pub fn label_name(name: &str) -> Cow<'_, str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let prefix = match name.as_bytes() {
        [b'0'..=b'9', ..] => "key_",
        [b'_', rest @ ..] if rest.first() != Some(&b'_') => "key",
        _ => "",
    };
    if prefix.is_empty() && name.chars().all(legal) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + prefix.len());
    out.push_str(prefix);
    out.extend(name.chars().map(|c| if legal(c) { c } else { '_' }));
    Cow::Owned(out)
}

/// Builds a family's name: words joined by `_`, then the unit's words unless they are there already, then
/// `ratio` for a gauge of unit `1`, `total` for a counter.
pub fn metric_name(name: &str, unit: &str, metric_type: MetricType) -> String {
    let mut words: Vec<&str> = name
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|word| !word.is_empty())
        .collect();
    let (main, per) = unit_words(unit);
    let main = main.filter(|word| !words.contains(&word.as_ref()));
    let per = per.filter(|word| !words.contains(&word.as_ref()));
    if let Some(main) = &main {
        words.push(main);
    }
    if let Some(per) = &per {
        words.extend(["per", per]);
    }
    match metric_type {
        MetricType::Counter => move_to_end(&mut words, "total"),
        MetricType::Gauge if unit == "1" => move_to_end(&mut words, "ratio"),
        _ => {}
    }
    let joined = words.join("_");
    if joined.starts_with(|c: char| c.is_ascii_digit()) { format!("_{joined}") } else { joined }
}

/// Spells out a unit as it is stored in metadata, such as `meters_per_second`.
pub(crate) fn unit_name(unit: &str) -> String {
    match unit_words(unit) {
        (Some(main), Some(per)) => format!("{main}_per_{per}"),
        (Some(main), None) => main.into_owned(),
        (None, Some(per)) => format!("per_{per}"),
        (None, None) => String::new(),
    }
}

fn move_to_end<'a>(words: &mut Vec<&'a str>, word: &'a str) {
    words.retain(|other| *other != word);
    words.push(word);
}

/// Splits a UCUM unit at its first `/` and spells out both sides. Annotations (`{request}`) say nothing.
fn unit_words(unit: &str) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main, Some(per)),
        None => (unit, None),
    };
    (spell(main, main_word), per.and_then(|per| spell(per, per_word)))
}

fn spell(part: &str, known: fn(&str) -> Option<&'static str>) -> Option<Cow<'_, str>> {
    let part = part.trim();
    if part.is_empty() || part.contains(['{', '}']) {
        return None;
    }
    if let Some(word) = known(part) {
        return (!word.is_empty()).then_some(Cow::Borrowed(word));
    }
    let words: Vec<&str> =
        part.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    (!words.is_empty()).then(|| Cow::Owned(words.join("_")))
}

fn main_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "1" => "",
        _ => return None,
    })
}

fn per_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(name: &str, unit: &str, metric_type: MetricType, want: &str) {
        assert_eq!(metric_name(name, unit, metric_type), want);
    }

    #[test]
    fn families_carry_unit_and_type() {
        check(
            "http.server.request.duration",
            "s",
            MetricType::Histogram,
            "http_server_request_duration_seconds",
        );
        check("system.network.io", "By", MetricType::Counter, "system_network_io_bytes_total");
        check("system.cpu.utilization", "1", MetricType::Gauge, "system_cpu_utilization_ratio");
        check("requests", "{request}", MetricType::Counter, "requests_total");
        check("speed", "m/s", MetricType::Gauge, "speed_meters_per_second");
        check("rate", "{x}/s", MetricType::Gauge, "rate_per_second");
        check("jobs_total_done", "1", MetricType::Counter, "jobs_done_total");
        check("wait_seconds", "s", MetricType::Gauge, "wait_seconds");
        check("4xx", "", MetricType::Gauge, "_4xx");
        check("a..b", "", MetricType::Gauge, "a_b");
        check("disk.used", "%", MetricType::Gauge, "disk_used_percent");
        check("odd", "foo.bar", MetricType::Gauge, "odd_foo_bar");
    }

    #[test]
    fn units_are_spelled_out_for_metadata() {
        assert_eq!(unit_name("By/s"), "bytes_per_second");
        assert_eq!(unit_name("{x}"), "");
        assert_eq!(unit_name("1"), "");
    }

    #[test]
    fn labels_stay_in_the_alphabet() {
        assert_eq!(label_name("http.request.method"), "http_request_method");
        assert_eq!(label_name("9lives"), "key_9lives");
        assert_eq!(label_name("_private"), "key_private");
        assert_eq!(label_name("__name__"), "__name__");
        assert_eq!(label_name("服务"), "__");
    }

    proptest! {
        #[test]
        fn any_name_becomes_legal(name in "\\PC{0,20}", unit in "\\PC{0,8}") {
            let legal = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            prop_assert!(legal(&metric_name(&name, &unit, MetricType::Counter)));
            prop_assert!(legal(&unit_name(&unit)));
            prop_assert!(legal(&label_name(&name)));
        }
    }
}
