//! Reads a document field by field, and knows at each step where it is.

use serde_json::{Map, Value};

use super::error::{FieldProblem, PolicyError};
use super::span::Span;

/// One value of the document and the path that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    path: String,
    value: &'a Value,
}

/// A mapping whose keys are all known.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn error(&self, problem: FieldProblem) -> PolicyError {
        let field = if self.path.is_empty() { "policy".to_owned() } else { self.path.clone() };
        PolicyError::Field { field, problem, value: Some(self.value.clone()) }
    }

    pub(super) fn wants(&self, wanted: &str) -> PolicyError {
        self.error(FieldProblem::Wants { wanted: wanted.to_owned() })
    }

    pub(super) fn not_yet(&self, feature: &str) -> PolicyError {
        self.error(FieldProblem::NotYet { feature: feature.to_owned() })
    }

    pub(super) fn conflict(&self, why: impl Into<String>) -> PolicyError {
        self.error(FieldProblem::Conflict { why: why.into() })
    }

    /// Takes a mapping that holds none but the known keys.
    pub(super) fn fields(&self, known: &[&str]) -> Result<Fields<'a>, PolicyError> {
        let map = self
            .value
            .as_object()
            .ok_or_else(|| self.wants(&format!("a mapping with {}", known.join(", "))))?;
        let fields = Fields { path: self.path.clone(), map };
        let Some(stranger) = map.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(fields);
        };
        Err(fields.required(stranger)?.error(FieldProblem::UnknownKey { known: known.join(", ") }))
    }

    /// Returns a value of the mapping that this is, if it is one.
    pub(super) fn child(&self, key: &str) -> Option<Field<'a>> {
        let map = self.value.as_object()?;
        Fields { path: self.path.clone(), map }.get(key)
    }

    /// Takes a mapping whose keys were checked before.
    pub(super) fn as_fields(&self) -> Result<Fields<'a>, PolicyError> {
        let map = self.value.as_object().ok_or_else(|| self.wants("a mapping"))?;
        Ok(Fields { path: self.path.clone(), map })
    }

    pub(super) fn items(&self) -> Result<Vec<Field<'a>>, PolicyError> {
        let items = self.value.as_array().ok_or_else(|| self.wants("a list"))?;
        Ok((items.iter().enumerate())
            .map(|(idx, value)| Field { path: format!("{}[{idx}]", self.path), value })
            .collect())
    }

    pub(super) fn string(&self) -> Result<String, PolicyError> {
        match self.value {
            Value::String(text) if text.trim().is_empty() => Err(self.wants("a string that is not empty")),
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.error(FieldProblem::QuoteIt)),
        }
    }

    /// Takes one string or a list of them; never an empty list.
    pub(super) fn strings(&self) -> Result<Vec<String>, PolicyError> {
        if !self.value.is_array() {
            return Ok(vec![self.string()?]);
        }
        let items = self.items()?;
        if items.is_empty() {
            return Err(self.wants("a string or a list of at least one"));
        }
        items.iter().map(Field::string).collect()
    }

    /// Takes one of a closed list of words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, PolicyError> {
        let list = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" | ");
        let text = self.value.as_str().ok_or_else(|| self.wants(&list()))?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| self.wants(&list()))
    }

    /// Takes a finite number that the condition allows.
    pub(super) fn number(&self, wanted: &str, allowed: impl Fn(f64) -> bool) -> Result<f64, PolicyError> {
        let number = self.value.as_f64().filter(|number| number.is_finite() && allowed(*number));
        number.ok_or_else(|| self.wants(wanted))
    }

    /// Takes a part of one, written `0.1` or `10%`.
    pub(super) fn part(&self, wanted: &str, allowed: impl Fn(f64) -> bool) -> Result<f64, PolicyError> {
        let percent = |text: &str| -> Option<f64> {
            let number: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
            Some(number / 100.0)
        };
        let part = match self.value {
            Value::String(text) => percent(text.trim()),
            value => value.as_f64(),
        };
        part.filter(|part| part.is_finite() && allowed(*part)).ok_or_else(|| self.wants(wanted))
    }

    /// Takes a Prometheus duration of at least `least_ms` milliseconds.
    pub(super) fn span(&self, least_ms: u64) -> Result<Span, PolicyError> {
        let wanted = || match least_ms {
            0 => "a duration such as 90s, 5m or 1h30m".to_owned(),
            least => format!("a duration such as 90s, 5m or 1h30m, at least {}", Span::from_millis(least)),
        };
        let span = match self.value {
            Value::String(text) => Span::parse(text),
            Value::Number(number) if number.as_u64() == Some(0) => Span::parse("0"),
            _ => None,
        };
        span.filter(|span| span.millis() >= least_ms).ok_or_else(|| self.wants(&wanted()))
    }
}

impl<'a> Fields<'a> {
    /// Returns a field that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        Some(Field { path: self.path_of(key), value })
    }

    pub(super) fn required(&self, key: &str) -> Result<Field<'a>, PolicyError> {
        if let Some(value) = self.map.get(key) {
            return Ok(Field { path: self.path_of(key), value });
        }
        Err(PolicyError::Field { field: self.path_of(key), problem: FieldProblem::Required, value: None })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
