//! Tests of this module.

use proptest::prelude::*;

use super::*;

fn shown(line: &str) -> String {
    let mut splitter = Splitter::default();
    let split = splitter.split(line.as_bytes());
    String::from_utf8(split.pattern.to_vec()).unwrap().replace('\0', "<*>")
}

fn restored(line: &[u8]) -> Vec<u8> {
    let mut splitter = Splitter::default();
    let split = splitter.split(line);
    assert!(split.variables.len() <= 255);
    let mut out = Vec::new();
    assert!(restore(split.pattern, split.variables.iter().map(|s| s.of(line)), &mut out));
    out
}

#[test]
fn what_varies_becomes_a_variable() {
    for (line, want) in [
        (
            "Receiving block blk_-160 src: /10.0.0.1:54106 dest: /10.0.0.2:50010",
            "Receiving block <*> src: <*> dest: <*>",
        ),
        ("session closed for user root", "session closed for user root"),
        (
            "jk2_init() Found child 6725 in scoreboard slot 10",
            "jk2_init() Found child <*> in scoreboard slot <*>",
        ),
        ("took -24.0ms, c++ is fine", "took <*>, c++ is fine"),
        ("from 1.2.3.4 () at Sun Jun 19 03:40:59 2005", "from <*> (<*>) at <*>"),
        ("generating core.2275", "generating core.<*>"),
        ("see https://a.example/b?c=1.", "see <*>."),
        ("uid=0 euid=0 tty=NODEVssh ruser= rhost=host", "uid=<*> euid=<*> tty=<*> ruser= rhost=<*>"),
        ("id 7   of      9", "id <*> of <*>"),
        ("list 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 end", "list <*>, <*>, <*>, <*>, <*>, <*>, <*>, <*> end"),
        ("name java.Object@1f2e3d can't", "name <*>@<*> can't"),
        ("CPU#0 12##34", "CPU#<*> <*>##<*>"),
        ("用户 张三 登录 42", "用户 张三 登录 <*>"),
        ("", ""),
    ] {
        assert_eq!(shown(line), want, "{line:?}");
    }
}

#[test]
fn a_json_line_is_split_value_by_value_and_its_message_inside() {
    let line = r#"{"ts":17, "level":"info","msg":"user 7 logged in","http":{"code":200,"path":"/a"},"tags":["a","b"],"e":""}"#;
    assert_eq!(
        shown(line),
        r#"{"ts":<*>, "level":"<*>","msg":"user <*> logged in","http":{"code":<*>,"path":"<*>"},"tags":<*>,"e":"<*>"}"#
    );
    let mut splitter = Splitter::default();
    let split = splitter.split(line.as_bytes());
    let fields: Vec<_> = crate::pattern::fields_of(split.pattern)
        .into_iter()
        .map(|f| (f.name, split.variables[f.variable].of(line.as_bytes()).to_vec()))
        .collect();
    let names: Vec<&str> = fields.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(names, ["ts", "level", "http.code", "http.path", "tags", "e"]);
    assert_eq!(fields[4].1, br#"["a","b"]"#);
    assert_eq!(crate::pattern::message_of(split.pattern), b"user \0 logged in");
}

#[test]
fn an_escape_at_the_end_of_a_variable_keeps_the_message_whole() {
    let line = r#"{"msg":"in C:\\dir\\\" x","n":1}"#;
    assert_eq!(shown(line), r#"{"msg":"<*>","n":<*>}"#);
}

#[test]
fn logfmt_keeps_its_message_open() {
    let line = r#"level=info ts=2024-01-02T03:04:05Z msg="opened 3 files" path=/x/y"#;
    assert_eq!(shown(line), r#"level=<*> ts=<*> msg="opened <*> files" path=<*>"#);
    let mut splitter = Splitter::default();
    let names: Vec<_> = crate::pattern::fields_of(splitter.split(line.as_bytes()).pattern)
        .into_iter()
        .map(|f| (f.name, f.variable))
        .collect();
    assert_eq!(names, [("level".into(), 0), ("ts".into(), 1), ("path".into(), 3)]);
}

#[test]
fn long_lines_and_lines_with_the_marker_are_kept() {
    let long = "word 1 ".repeat(20_000);
    let mut splitter = Splitter::default();
    assert_eq!(splitter.split(long.as_bytes()).variables.len(), 255);
    assert_eq!(restored(long.as_bytes()), long.as_bytes());
    let unbroken = vec![b'x'; 70_000];
    assert_eq!(splitter.split(&unbroken).pattern, [0]);
    let words = "word ".repeat(20_000);
    assert_eq!(splitter.split(words.as_bytes()).variables.len(), 1);
    assert_eq!(restored(words.as_bytes()), words.as_bytes());
    assert_eq!(splitter.split(b"a\0b 1").pattern, [0]);
    assert_eq!(restored(b"a\0b 1"), b"a\0b 1");
}

/// Lines of every rule and the ids of their patterns, which never change.
#[test]
fn ids_are_those_of_the_golden_file() {
    let golden = include_str!("golden.tsv");
    let mut splitter = Splitter::default();
    let mut n = 0;
    for row in golden.lines() {
        let (id, line) = row.split_once('\t').unwrap();
        assert_eq!(splitter.split(line.as_bytes()).id().to_string(), id, "{line:?} is {:?}", shown(line));
        n += 1;
    }
    assert!(n > 40);
}

fn log_like() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z]{1,8}",
        "[0-9]{1,6}",
        "[a-f0-9]{8}",
        "/[a-z]{1,4}/[a-z]{1,4}",
        "[A-Za-z0-9_.:@/\\\\-]{1,12}",
        "[ =:,;\"'(){}\\[\\]<>|]{1,3}",
        "Jun 1[0-9] 02:03:04",
        "[a-z]{1,4}=[a-z0-9]{0,4}",
        "\"[a-z]{1,3}\":\"?[a-z0-9 \\\\]{0,5}\"?,?",
        "[\u{4e00}-\u{4e20}]{1,3}",
        "\\PC{0,3}",
        Just(" ".to_string()),
        Just("..".to_string()),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_come_back(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(restored(&line), line);
    }

    #[test]
    fn any_line_comes_back(line in log_like()) {
        prop_assert_eq!(restored(line.as_bytes()), line.as_bytes());
        let json = format!("{{{line}}}");
        prop_assert_eq!(restored(json.as_bytes()), json.as_bytes());
    }

    #[test]
    fn text_gives_a_pattern_that_is_text(line in log_like()) {
        let mut splitter = Splitter::default();
        let split = splitter.split(line.as_bytes());
        prop_assert!(std::str::from_utf8(split.pattern).is_ok());
        let mut end = 0;
        for span in split.variables {
            prop_assert!(span.start >= end && span.end >= span.start);
            end = span.end;
        }
        crate::pattern::fields_of(split.pattern);
        crate::pattern::message_of(split.pattern);
    }

    #[test]
    fn json_fields_are_found_whatever_the_values(a in "\\PC{0,12}", b in any::<i64>(), m in log_like()) {
        let line = serde_json::json!({ "a": a, "b": b, "msg": m, "z": { "c": true } }).to_string();
        let mut splitter = Splitter::default();
        let split = splitter.split(line.as_bytes());
        prop_assume!(split.variables.len() < 255 && !line.contains('\0'));
        let value = |name: &str| {
            let fields = crate::pattern::fields_of(split.pattern);
            let f = fields.iter().find(|f| f.name == name)?;
            let raw = std::str::from_utf8(split.variables[f.variable].of(line.as_bytes())).ok()?;
            serde_json::from_str::<serde_json::Value>(&if f.is_quoted { format!("\"{raw}\"") } else { raw.into() }).ok()
        };
        prop_assert_eq!(value("a"), Some(a.into()));
        prop_assert_eq!(value("b"), Some(b.into()));
        prop_assert_eq!(value("z.c"), Some(true.into()));
    }
}
