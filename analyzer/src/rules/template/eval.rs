//! Walks a template's tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::float_text;
use super::parse::{Base, Branch, Command, Node, Operand, Pipeline};
use super::{Ask, Data, ExpandError, Map, Measured, OUTPUT_BYTES_MAX, QUERIES_MAX, STEPS_MAX, Sample};

/// What an operand stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    // Shared, since each mention of a variable copies it.
    Text(Arc<str>),
    Map(Map),
    Sample(Sample),
    Samples(Arc<[Sample]>),
    /// What the whole template is about.
    Root,
}

type Result<T> = std::result::Result<T, ExpandError>;

impl Value {
    /// Returns a text that stands in the template or in what it speaks about.
    pub(super) fn of(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Returns a label's value; one that is not there is the empty text.
    pub(super) fn label(labels: &BTreeMap<String, String>, name: &str) -> Self {
        Self::of(labels.get(name).map_or("", String::as_str))
    }

    /// Tells whether `if` takes this for true: what is not empty, as in Go.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(v) => *v != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Samples(samples) => !samples.is_empty(),
            Self::Sample(_) | Self::Root => true,
        }
    }

    /// Writes the value as Go prints it.
    pub(super) fn text(&self) -> Result<String> {
        Ok(match self {
            Self::Nil => "<no value>".into(),
            Self::Bool(b) => b.to_string(),
            Self::Int(n) => n.to_string(),
            Self::Float(v) => float_text(*v),
            Self::Text(text) => text.as_ref().to_owned(),
            Self::Map(map) => map_text(map),
            Self::Sample(_) | Self::Samples(_) | Self::Root => {
                return Err(ExpandError(format!("{} cannot be printed; print its value", kind_of(self))));
            }
        })
    }
}

fn map_text(map: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", pairs.join(" "))
}

/// Names a value's kind as Go does.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Text(_) => "string",
        Value::Map(_) => "map[string]string",
        Value::Sample(_) => "a sample",
        Value::Samples(_) => "samples",
        Value::Root => "the template's data",
    }
}

/// One expansion under way.
pub(super) struct Eval<'a> {
    data: &'a Data,
    ask: &'a dyn Ask,
    variables: Vec<(String, Value)>,
    out: String,
    n_steps: usize,
    n_queries: usize,
}

impl<'a> Eval<'a> {
    pub(super) fn new(data: &'a Data, ask: &'a dyn Ask) -> Self {
        let variables = [
            ("", Value::Root),
            ("labels", Value::Map(data.labels.clone())),
            ("externalLabels", Value::Map(data.external_labels.clone())),
            ("externalURL", Value::of(&data.external_url)),
            ("value", measured(&data.value)),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { data, ask, variables, out: String::new(), n_steps: 0, n_queries: 0 }
    }

    pub(super) fn data(&self) -> &'a Data {
        self.data
    }

    /// Asks the store, counted.
    pub(super) fn ask(&mut self, expr: &str) -> Result<Arc<[Sample]>> {
        self.n_queries += 1;
        if self.n_queries > QUERIES_MAX {
            return Err(ExpandError(format!("a template may ask {QUERIES_MAX} queries, not more")));
        }
        self.ask.ask(expr).map(Into::into).map_err(|e| ExpandError(format!("query {expr:?}: {e}")))
    }

    pub(super) fn run(mut self, nodes: &[Node]) -> Result<String> {
        self.walk(nodes, &Value::Root)?;
        Ok(self.out)
    }

    fn step(&mut self) -> Result<()> {
        self.steps(1)
    }

    /// Counts work; a function whose answer grows with a query's counts each sample.
    pub(super) fn steps(&mut self, n: usize) -> Result<()> {
        self.n_steps = self.n_steps.saturating_add(n);
        if self.n_steps > STEPS_MAX {
            return Err(ExpandError(format!("the template takes more than {STEPS_MAX} steps")));
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if self.out.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(ExpandError(format!("the template writes more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Result<()> {
        for node in nodes {
            self.step()?;
            match node {
                Node::Text(text) => self.write(text)?,
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.write(&value.text()?)?;
                    }
                }
                Node::Branch { kind, pipeline, body, otherwise } => {
                    let n_variables = self.variables.len();
                    self.branch(*kind, pipeline, (body, otherwise), dot)?;
                    self.variables.truncate(n_variables);
                }
            }
        }
        Ok(())
    }

    fn branch(
        &mut self,
        kind: Branch,
        pipeline: &Pipeline,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Value,
    ) -> Result<()> {
        if kind == Branch::Range {
            return self.range(pipeline, (body, otherwise), dot);
        }
        let value = self.pipeline(pipeline, dot)?;
        match (kind, value.truth()) {
            (_, false) => self.walk(otherwise, dot),
            (Branch::With, true) => self.walk(body, &value),
            (_, true) => self.walk(body, dot),
        }
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Value,
    ) -> Result<()> {
        let value = self.commands(pipeline, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Nil => Vec::new(),
            Value::Samples(samples) => {
                let indexed = samples.iter().cloned().zip(0..);
                indexed.map(|(sample, i)| (Value::Int(i), Value::Sample(sample))).collect()
            }
            Value::Map(map) => map.iter().map(|(n, v)| (Value::of(n), Value::of(v))).collect(),
            other => return Err(ExpandError(format!("range can't iterate over {}", kind_of(&other)))),
        };
        if items.is_empty() {
            return self.walk(otherwise, dot);
        }
        let n_variables = self.variables.len();
        for (key, item) in items {
            // Walking an empty body costs a step too.
            self.step()?;
            let named = match pipeline.variables.as_slice() {
                [] => vec![],
                [name] => vec![(name, &item)],
                names => vec![(&names[0], &key), (&names[1], &item)],
            };
            for (name, value) in named {
                self.set(name, value.clone(), pipeline.declares);
            }
            self.walk(body, &item)?;
            self.variables.truncate(n_variables);
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) {
        if declares {
            self.variables.push((name.to_owned(), value));
        } else if let Some(known) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            known.1 = value;
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut last = None;
        for command in &pipeline.commands {
            self.step()?;
            last = Some(match command {
                Command::Value(operand) => self.operand(operand, dot)?,
                Command::Call(function, operands) if matches!(function.name, "and" | "or") => {
                    // What decides is the first that is false, or true; the rest is not looked at.
                    let wanted = function.name == "or";
                    let mut found = None;
                    for operand in operands {
                        let value = self.operand(operand, dot)?;
                        let decides = value.truth() == wanted;
                        found = Some(value);
                        if decides {
                            break;
                        }
                    }
                    match (found, last) {
                        (Some(value), Some(_)) if value.truth() == wanted => value,
                        (Some(value), None) => value,
                        (_, Some(last)) => last,
                        (None, None) => Value::Nil,
                    }
                }
                Command::Call(function, operands) => {
                    let mut args = Vec::with_capacity(operands.len() + 1);
                    for operand in operands {
                        args.push(self.operand(operand, dot)?);
                    }
                    args.extend(last.take());
                    function.call(self, args)?
                }
            });
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        self.step()?;
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => value.clone(),
                    None => return Err(ExpandError(format!("undefined variable \"${name}\""))),
                }
            }
            Base::Bool(b) => Value::Bool(*b),
            Base::Nil => Value::Nil,
            Base::Int(n) => Value::Int(*n),
            Base::Float(v) => Value::Float(*v),
            Base::Text(text) => Value::of(text),
            Base::Call(function) => function.call(self, Vec::new())?,
            Base::Paren(pipeline) => {
                let n_variables = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(n_variables);
                value
            }
        };
        for name in &operand.fields {
            value = self.field(&value, name)?;
        }
        Ok(value)
    }

    fn field(&self, value: &Value, name: &str) -> Result<Value> {
        match (value, name) {
            (Value::Root, "Labels") => Ok(Value::Map(self.data.labels.clone())),
            (Value::Root, "ExternalLabels") => Ok(Value::Map(self.data.external_labels.clone())),
            (Value::Root, "ExternalURL") => Ok(Value::of(&self.data.external_url)),
            (Value::Root, "Value") => Ok(measured(&self.data.value)),
            (Value::Sample(sample), "Labels") => Ok(Value::Map(sample.labels.clone())),
            (Value::Sample(sample), "Value") => Ok(Value::Float(sample.value)),
            (Value::Map(map), name) => Ok(Value::label(map, name)),
            (value, name) => Err(ExpandError(format!("can't evaluate field {name} in {}", kind_of(value)))),
        }
    }
}

fn measured(value: &Measured) -> Value {
    match value {
        Measured::Float(v) => Value::Float(*v),
        Measured::Histogram(text) => Value::of(text),
    }
}
