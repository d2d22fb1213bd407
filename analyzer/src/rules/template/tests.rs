//! Templates against what Prometheus writes for the same text, and against any text.

use proptest::prelude::*;

use super::format::float_text;
use super::*;

/// Answers the question `m` with two samples, and fails for `bad`.
struct Two;

impl Ask for Two {
    fn ask(&self, expr: &str) -> Result<Vec<Sample>, String> {
        let sample = |x: &str, value| Sample { labels: map(&[("x", x)]), value };
        match expr {
            "m" => Ok(vec![sample("2", 1234567.0), sample("1", 0.5)]),
            "bad" => Err("it is bad".into()),
            _ => Ok(Vec::new()),
        }
    }
}

fn map(pairs: &[(&str, &str)]) -> Map {
    Arc::new(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
}

fn data() -> Data {
    Data {
        labels: map(&[("__name__", "m"), ("x", "1")]),
        external_labels: map(&[("site", "a")]),
        external_url: "http://h:1/p".into(),
        value: Measured::Float(1_234_567.0),
    }
}

#[track_caller]
fn check(text: &str, want: &str) {
    let template = Template::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(template.expand(&data(), &Two).as_deref(), Ok(want), "{text}");
}

#[track_caller]
fn refused(text: &str, want: &str) {
    let error = Template::parse(text).expect_err(text).to_string();
    assert!(error.contains(want), "{text}: {error}");
}

#[track_caller]
fn fails(text: &str, want: &str) {
    let error = Template::parse(text).unwrap().expand(&data(), &Two).expect_err(text).to_string();
    assert!(error.contains(want), "{text}: {error}");
}

#[test]
fn values_print_as_in_prometheus() {
    // Written by promtool 2.42, `test rules`, for the same texts.
    check("{{ $value }}|{{ .Value | printf \"%g\" }}", "1.234567e+06|1.234567e+06");
    check(
        r#"{{ printf "%v %.3g %5d|%-6s|%06.1f %t" 1e6 $value 3 "x" 2.5 true }}"#,
        "1e+06 1.23e+06     3|x     |0002.5 true",
    );
    check(
        r#"{{ printf "%d" $value }}|{{ printf "%s" "a" "b" }}"#,
        "%!d(float64=1.234567e+06)|a%!(EXTRA string=b)",
    );
    check(r#"{{ printf "%v" }}|{{ title "it's a dog-cat" }}"#, "%!v(MISSING)|It'S A Dog-Cat");
    check("{{ len $labels }} {{ $labels }}", "2 map[__name__:m x:1]");
    check(r#"{{ print 1 2 "a" "b" 3 4}}"#, "1 2ab3 4");
    check(r#"{{ printf "%q %x" "h\"i" "abc"}}"#, r#""h\"i" 616263"#);
    check(r#"{{ printf "%+d % d %g %e" 5 5 1e21 1234.5 }}"#, "+5  5 1e+21 1.234500e+03");
    check(r#"{{ and 1 0 }} {{ or "" "q" }} {{ not 1 }} {{ 1 | and 2 }}"#, "0 q false 1");
    check(r#"{{ index $labels "x" }} {{ .Labels.nope }}."#, "1 .");
}

#[test]
fn humanizers_write_as_in_prometheus() {
    check("{{ humanize 1e6 }} {{ humanize 0.00012 }} {{ 1234.5678 | humanize }}", "1M 120u 1.235k");
    check("{{ humanize1024 1048576 }} {{ humanize1024 0.5 }}", "1Mi 0.5");
    check("{{ humanizeDuration 12345.678}} {{ humanizeDuration 0.0123 }}", "3h 25m 45s 12.3ms");
    check("{{ humanizeDuration 90061 }} {{ humanizeDuration -61 }}", "1d 1h 1m 1s -1m 1s");
    check("{{ humanizePercentage 0.1234567 }}", "12.35%");
    check("{{ humanizeTimestamp 1500000000.123456 }}", "2017-07-14 02:40:00.123 +0000 UTC");
    check("{{ humanizeTimestamp 1.5e9 }}", "2017-07-14 02:40:00 +0000 UTC");
}

#[test]
fn labels_texts_and_links() {
    check("{{ $labels.x }}{{ .Labels.x }}{{ $externalLabels.site }} {{ $externalURL }}", "11a http://h:1/p");
    check(r#"{{ "a.b:80" | stripPort }} {{ "a.b:80" | stripDomain}}"#, "a.b a:80");
    check(r#"{{ graphLink "a b" }} {{ pathPrefix }}"#, "/graph?g0.expr=a+b&g0.tab=0 /p");
    check(r#"{{ toUpper "ab" }}{{ "AB" | toLower }} {{ match "^a" "abc" }}"#, "ABab true");
    check(r#"{{ reReplaceAll "(.*):.*" "$1" "host:80" }}"#, "host");
    check(r#"{{ parseDuration "1h30m" }}"#, "5400");
}

#[test]
fn branches_loops_variables_and_trimming() {
    check("{{ if gt $value 80.0 }}y{{ else if true }}n{{ end }}", "y");
    check("{{ if eq $labels.x \"2\" }}a{{ else if eq .Labels.x \"3\" \"1\" }}b{{ else }}c{{ end }}", "b");
    check("{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", "__name__=m;x=1;");
    check(
        "{{ with query \"m\" }}{{ . | first | value }} {{ (index . 1).Value }} {{ (. | first).Labels.x }}{{ end }}\
         {{- /* c */ -}}  z",
        "1.234567e+06 0.5 2z",
    );
    check(
        "{{ range query \"m\" | sortByLabel \"x\" }}{{ .Labels.x }}{{ . | label \"x\" }},{{ end }}",
        "11,22,",
    );
    check("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing");
    check("{{ $n := 1 }}{{ range query \"m\" }}{{ $n = .Value }}{{ end }}{{ $n }}", "0.5");
    check("a  {{- 3 -}}  b{{ \"}}\" }}", "a3b}}");
    check("{{ with $x := \"q\" }}{{ $x }}{{ . }}{{ end }}", "qq");
    check("plain $labels { } }", "plain $labels { } }");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    refused("{{ define \"x\" }}{{ end }}", "\"define\" is not supported");
    refused("{{ template \"x\" }}", "\"template\" is not supported");
    refused("{{ humanise $value }}", "function \"humanise\" not defined");
    refused("{{ tmpl \"x\" }}", "function \"tmpl\" is not supported");
    refused("a\n{{ $nope }}", "line 2: undefined variable \"$nope\"");
    refused("{{ if true }}", "no {{end}}");
    refused("{{ end }}", "unexpected {{end}}");
    refused("{{ $value", "unclosed action");
    refused("{{ humanize }}", "want 1 got 0");
    refused("{{ $value | printf }}{{ $value | match }}", "want 2 got 1");
    refused("{{ $value $labels }}", "can't give argument");
    refused("{{ 1 | 2 }}", "non executable command in pipeline stage 2");
    refused("{{ nil }}", "nil is not a command");
    refused("{{ 'a' }}", "character constants");
    refused(&"x".repeat(TEMPLATE_BYTES_MAX + 1), "the limit is 65536");
    refused(&"{{ if 1 }}".repeat(200), "deeper than 32");
    refused(&format!("{{{{ {}1 }}}}", "(".repeat(200)), "deeper than 32");
}

#[test]
fn wrong_kinds_and_limits_end_an_expansion() {
    fails("{{ if gt $value 80 }}x{{ end }}", "incompatible types for comparison");
    fails("{{ query \"none\" | first }}", "vector with no elements");
    fails("{{ query \"bad\" }}", "it is bad");
    fails("{{ .Nope }}", "can't evaluate field Nope");
    fails("{{ query \"m\" }}", "cannot be printed");
    fails(
        "{{ range query \"m\" }}{{ printf \"%1000s\" $labels.x }}{{ printf \"%2000s\" 1 }}{{ end }}",
        "wider",
    );
    let many = "{{ range query \"m\" }}".repeat(20) + "x" + &"{{ end }}".repeat(20);
    fails(&many, "queries");
    let much = "{{ printf \"%1000s\" $labels.x }}".repeat(100);
    fails(&much, "writes more than");
    let range = "{{ $q := query \"m\" }}".to_owned() + &"{{ range $q }}".repeat(20) + &"{{ end }}".repeat(20);
    fails(&range, "steps");
}

/// Pieces from which templates are made that come far.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "if",
        "else",
        "end",
        "range",
        "with",
        "$",
        "$x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ".",
        ".Labels",
        ".x",
        "\"a\"",
        "`b`",
        "1",
        "-2.5",
        "1e9",
        "query",
        "first",
        "value",
        "printf",
        "\"%5.1f\"",
        "humanize",
        "eq",
        "and",
        ",",
        "/*",
        "*/",
        "$labels",
        "$value",
        "\n",
        "index",
        "reReplaceAll",
        "\"(\"",
        "é",
    ];
    prop_oneof![proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), ".{0,4}"]
}

proptest! {
    #[test]
    fn no_text_panics(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        if let Ok(template) = Template::parse(&text)
            && let Ok(written) = template.expand(&data(), &Two)
        {
            prop_assert!(written.len() <= OUTPUT_BYTES_MAX);
        }
    }

    #[test]
    fn actions_of_any_pieces_do_not_panic(pieces in proptest::collection::vec(piece(), 1..8)) {
        let text = format!("a {{{{ {} }}}} b", pieces.join(" "));
        if let Ok(template) = Template::parse(&text) {
            let _ = template.expand(&data(), &Two);
        }
    }

    #[test]
    fn text_without_braces_stands_for_itself(text in "[^{}]{0,40}") {
        prop_assert_eq!(Template::parse(&text).unwrap().expand(&data(), &Two).unwrap(), text);
    }

    #[test]
    fn numbers_print_what_reads_back(v in any::<f64>()) {
        let back: f64 = float_text(v).parse().unwrap();
        prop_assert!(back == v || back.is_nan() && v.is_nan());
    }
}

#[test]
fn no_function_makes_a_text_that_is_too_long() {
    let limit = format!("the text is longer than {OUTPUT_BYTES_MAX} bytes");
    let long = "{{ $a := printf \"%1000d\" 1 }}{{ $b := print".to_owned() + &" $a".repeat(60) + " }}";
    // Nothing of it is printed: only what is made on the way is too long.
    for (name, action) in [
        ("print", "print $b $b"),
        ("println", "println $b $b"),
        ("printf", "printf \"%s%s\" $b $b"),
        ("printf", "printf \"%x\" $b"),
        ("printf", "printf \"\" $b $b"),
        (
            "urlquery",
            "urlquery (reReplaceAll \"1\" \"%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%\" $b) $b",
        ),
        ("reReplaceAll", "reReplaceAll \" \" \"xx\" $b"),
        ("reReplaceAll", "reReplaceAll \".*\" \"$0$0\" $b"),
    ] {
        let text = format!("{long}{{{{ $c := {action} }}}}{{{{ len $c }}}}");
        fails(&text, &format!("{name}: {limit}"));
    }
    check(&format!("{long}{{{{ len $b }}}}"), "60000");
    // So many times the longest text would be gigabytes.
    let many = format!("{long}{{{{ $c := reReplaceAll \"(?s).*\" \"{}\" $b }}}}", "$0".repeat(2000));
    fails(&many, &format!("reReplaceAll: {limit}"));
    check(r#"{{ reReplaceAll "(a)(b)?" "<$1|$2>" "xabay" }}"#, "x<a|b><a|>y");
}

#[test]
fn sorting_counts_each_sample() {
    let text = "{{ $q := query \"m\" }}".to_owned() + &"{{ $s := sortByLabel \"x\" $q }}".repeat(1000);
    check(&text, "");
    struct Many;
    impl Ask for Many {
        fn ask(&self, _: &str) -> Result<Vec<Sample>, String> {
            Ok(vec![Sample { labels: map(&[]), value: 1.0 }; STEPS_MAX / 100])
        }
    }
    let error = Template::parse(&text).unwrap().expand(&data(), &Many).unwrap_err().to_string();
    assert_eq!(error, format!("the template takes more than {STEPS_MAX} steps"));
}
