//! Level words and numbers.

use std::borrow::Cow;

/// How bad a record is: OpenTelemetry's number, and the word as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Severity<'a> {
    /// 1 (trace) to 24 (fatal).
    pub number: u8,
    /// The word.
    pub text: Cow<'a, str>,
}

impl Severity<'_> {
    /// Gives up the word as written for the usual one, which needs no memory.
    pub(super) fn into_canonical(self) -> Severity<'static> {
        Severity { number: self.number, text: Cow::Borrowed(canonical(self.number)) }
    }
}

fn canonical(number: u8) -> &'static str {
    match number {
        0..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        _ => "FATAL",
    }
}

/// Reads a level word in any case.
///
/// Source: OpenTelemetry, "Logs Data Model", appendix B; syslog and zap have their own steps there.
pub(super) fn from_word(word: &str) -> Option<Severity<'_>> {
    let mut lower = [0_u8; 11];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    let number = match &*lower {
        b"trace" | b"verbose" | b"finest" => 1,
        b"debug" | b"dbg" | b"fine" | b"finer" => 5,
        b"info" | b"inf" | b"information" | b"config" => 9,
        b"notice" => 10,
        b"warn" | b"warning" | b"wrn" => 13,
        b"error" | b"err" | b"severe" => 17,
        b"critical" | b"crit" | b"dpanic" => 18,
        b"alert" | b"panic" => 19,
        b"fatal" | b"emergency" | b"emerg" | b"ftl" => 21,
        _ => return None,
    };
    Some(Severity { number, text: Cow::Borrowed(word) })
}

/// Reads a numeric `level` as pino and bunyan write it.
pub(super) fn from_number(level: i64) -> Option<Severity<'static>> {
    let number = match level {
        10 => 1,
        20 => 5,
        30 => 9,
        40 => 13,
        50 => 17,
        60 => 21,
        _ => return None,
    };
    Some(Severity { number, text: Cow::Borrowed(canonical(number)) })
}
