//! Access lines of nginx and Apache.
//!
//! `addr ident user [time] "request" status bytes`, then perhaps `"referer" "agent"` (combined), then whatever a
//! team adds: a forwarded address in quotes, bare request times, or named ones such as `rt=0.012 urt="0.010"`.
//! Fields have nginx's names.

use std::borrow::Cow;

use super::{Context, FIELDS_MAX, Parsed, Value, time};

/// Tells whether a line has the bracketed time followed by a quoted request.
pub(super) fn is_likely(line: &str) -> bool {
    let Some(open) = line.find(" [") else { return false };
    let bytes = line.as_bytes();
    // "21/Nov/2026:" and the quote behind the bracket.
    bytes.get(open + 4) == Some(&b'/')
        && bytes.get(open + 8) == Some(&b'/')
        && bytes.get(open + 13) == Some(&b':')
        && line[open + 2..].find("] \"").is_some_and(|close| close <= 32)
}

/// Reads an access line.
pub(super) fn parse<'a>(line: &'a str, context: &Context<'_>) -> Option<Parsed<'a>> {
    let open = line.find(" [")?;
    let head = &line[..open];
    let after_time = &line[open + 2..];
    let close = after_time.find(']')?;
    let mut parsed = Parsed { time: time::parse(&after_time[..close], context), ..Parsed::default() };
    parsed.time?;
    let words: Vec<&str> = head.split(' ').collect();
    let (host, words) = match words.as_slice() {
        [host, rest @ ..] if rest.len() >= 3 && host.contains(':') && rest[0].contains(['.', ':']) => {
            (Some(*host), rest)
        }
        all => (None, all),
    };
    let (addr, user) = (*words.first()?, *words.last()?);
    if words.len() < 3 {
        return None;
    }
    text(&mut parsed, "remote_addr", addr);
    text(&mut parsed, "remote_user", user);
    text(&mut parsed, "host", host.unwrap_or("-"));
    let (request, rest) = quoted(after_time[close + 1..].trim_start_matches(' '))?;
    put_request(&mut parsed, request);
    let (status, rest) = word(rest)?;
    let status = status.parse::<u16>().ok().filter(|code| (100..=999).contains(code))?;
    field(&mut parsed, "status", Value::Int(i64::from(status)));
    let (sent, rest) = word(rest)?;
    let sent = if sent == "-" { 0 } else { sent.parse::<i64>().ok()? };
    field(&mut parsed, "body_bytes_sent", Value::Int(sent));
    put_rest(&mut parsed, rest);
    Some(parsed)
}

fn put_request<'a>(parsed: &mut Parsed<'a>, request: &'a str) {
    let Some((method, rest)) = request.split_once(' ') else {
        // A client that speaks no HTTP, or TLS on a plain port.
        return text(parsed, "request", request);
    };
    let (target, protocol) = match rest.rsplit_once(' ') {
        Some((target, protocol)) if protocol.starts_with("HTTP/") => (target, protocol),
        _ => (rest, "-"),
    };
    text(parsed, "method", method);
    let (path, query) = target.split_once('?').unwrap_or((target, "-"));
    text(parsed, "path", path);
    text(parsed, "query", query);
    text(parsed, "protocol", protocol);
}

fn put_rest<'a>(parsed: &mut Parsed<'a>, mut rest: &'a str) {
    const QUOTED: [&str; 3] = ["http_referer", "http_user_agent", "http_x_forwarded_for"];
    const NUMBERS: [&str; 2] = ["request_time", "upstream_response_time"];
    let (mut n_quoted, mut n_numbers) = (0, 0);
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() || parsed.fields.len() >= FIELDS_MAX {
            return;
        }
        if rest.starts_with('"') {
            let Some((value, after)) = quoted(rest) else { return };
            if let Some(name) = QUOTED.get(n_quoted) {
                text(parsed, name, value);
            }
            n_quoted += 1;
            rest = after;
            continue;
        }
        let Some((bare, mut after)) = word(rest) else { return };
        if let Some((name, value)) = bare.split_once('=').filter(|(name, _)| is_name(name)) {
            let mut value = value;
            if value.starts_with('"') {
                let start = rest.len() - rest[name.len() + 1..].len();
                let Some((inside, behind)) = quoted(&rest[start..]) else { return };
                (value, after) = (inside, behind);
            }
            put_named(parsed, name, value);
        } else if let (Some(name), value @ (Value::Float(_) | Value::Int(_))) =
            (NUMBERS.get(n_numbers), Value::from_word(bare))
        {
            n_numbers += 1;
            field(parsed, name, as_seconds(value));
        }
        rest = after;
    }
}

fn put_named<'a>(parsed: &mut Parsed<'a>, name: &'a str, value: &'a str) {
    let name = match name {
        "rt" => "request_time",
        "urt" => "upstream_response_time",
        "uct" => "upstream_connect_time",
        "uht" => "upstream_header_time",
        "cs" | "ucs" => "upstream_cache_status",
        other => other,
    };
    let value = Value::from_word(value);
    match value {
        Value::Text(ref word) if word == "-" || word.is_empty() => {}
        value if name.ends_with("_time") => field(parsed, name, as_seconds(value)),
        value => field(parsed, name, value),
    }
}

// `1` and `0.5` are values of one field; a column of one type compresses and compares better.
fn as_seconds(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Int(whole) => Value::Float(whole as f64),
        other => other,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

/// Takes the text between quotes, with its escapes as they are; Apache writes `\"`, nginx `\x22`.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some((&inside[..at], &inside[at + 1..]));
        }
        at += 2;
    }
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(' ');
    let end = text.find(' ').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn text<'a>(parsed: &mut Parsed<'a>, name: &'static str, value: &'a str) {
    if value != "-" && !value.is_empty() {
        field(parsed, name, Value::Text(Cow::Borrowed(value)));
    }
}

fn field<'a>(parsed: &mut Parsed<'a>, name: &'a str, value: Value<'a>) {
    parsed.fields.push((Cow::Borrowed(name), value));
}
