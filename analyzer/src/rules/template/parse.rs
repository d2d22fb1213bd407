//! Parts to a tree; names and counts of arguments are checked here.

use super::TemplateError;
use super::function::Function;
use super::lex::{Kind, Part, Token, parts};

/// Nesting of actions and of parentheses.
const DEPTH_MAX: usize = 32;

/// Words that Go has and templates of alerts here have not.
const REFUSED: [&str; 5] = ["define", "template", "block", "break", "continue"];

/// One node of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    Branch { kind: Branch, pipeline: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    If,
    With,
    Range,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// `:=` makes the variables, `=` sets them.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Call(Function, Vec<Operand>),
    Value(Operand),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Bool(bool),
    Nil,
    Int(i64),
    Float(f64),
    Text(String),
    Call(Function),
    Paren(Box<Pipeline>),
}

type Result<T> = std::result::Result<T, TemplateError>;

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>> {
    let mut parser = Parser {
        parts: parts(text)?.into_iter(),
        // What Prometheus declares before each template.
        variables: ["", "labels", "externalLabels", "externalURL", "value"].map(str::to_owned).to_vec(),
        depth: 0,
    };
    let (nodes, end) = parser.list()?;
    match end {
        End::Text => Ok(nodes),
        End::Close(line) => Err(TemplateError { line, detail: "unexpected {{end}}".into() }),
        End::Else(line, _) => Err(TemplateError { line, detail: "unexpected {{else}}".into() }),
    }
}

/// What a list of nodes ended with.
enum End {
    Text,
    Close(usize),
    /// What follows the word `else` is the head of another branch.
    Else(usize, Option<(Branch, Vec<Token>)>),
}

struct Parser {
    parts: std::vec::IntoIter<Part>,
    variables: Vec<String>,
    depth: usize,
}

fn branch_of(word: &str) -> Option<Branch> {
    match word {
        "if" => Some(Branch::If),
        "with" => Some(Branch::With),
        "range" => Some(Branch::Range),
        _ => None,
    }
}

impl Parser {
    fn list(&mut self) -> Result<(Vec<Node>, End)> {
        let mut nodes = Vec::new();
        while let Some(part) = self.parts.next() {
            let (line, tokens) = match part {
                Part::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Part::Action(line, tokens) => (line, tokens),
            };
            let wrong = |detail: String| TemplateError { line, detail };
            let word = match tokens.first().map(|t| &t.kind) {
                Some(Kind::Word(word)) => word.as_str(),
                _ => "",
            };
            if REFUSED.contains(&word) {
                return Err(wrong(format!("{word:?} is not supported")));
            }
            match word {
                "end" if tokens.len() == 1 => return Ok((nodes, End::Close(line))),
                "end" => return Err(wrong("unexpected words in {{end}}".into())),
                "else" => return Ok((nodes, End::Else(line, else_head(line, &tokens)?))),
                _ => match branch_of(word) {
                    Some(kind) => nodes.push(self.branch(line, kind, &tokens[1..])?),
                    None => {
                        let pipeline = self.line(line, &tokens, false)?;
                        nodes.push(Node::Print(pipeline));
                    }
                },
            }
        }
        Ok((nodes, End::Text))
    }

    fn branch(&mut self, line: usize, kind: Branch, head: &[Token]) -> Result<Node> {
        self.descend(line)?;
        let n_variables = self.variables.len();
        let pipeline = self.line(line, head, kind == Branch::Range)?;
        let (body, end) = self.list()?;
        let otherwise = match end {
            End::Text => return Err(TemplateError { line, detail: "this has no {{end}}".into() }),
            End::Close(_) => Vec::new(),
            // `else if` is an `if` in the `else`, and both have one `end`.
            End::Else(line, Some((nested, head))) => vec![self.branch(line, nested, &head)?],
            End::Else(line, None) => {
                let (nodes, end) = self.list()?;
                match end {
                    End::Close(_) => nodes,
                    End::Text => return Err(TemplateError { line, detail: "this has no {{end}}".into() }),
                    End::Else(line, _) => {
                        return Err(TemplateError { line, detail: "a second {{else}}".into() });
                    }
                }
            }
        };
        self.variables.truncate(n_variables);
        self.depth -= 1;
        Ok(Node::Branch { kind, pipeline, body, otherwise })
    }

    fn descend(&mut self, line: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let detail = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(TemplateError { line, detail });
        }
        Ok(())
    }

    fn line(&mut self, line: usize, tokens: &[Token], is_range: bool) -> Result<Pipeline> {
        let mut cursor = Cursor { tokens, at: 0, line };
        let pipeline = self.pipeline(&mut cursor, is_range)?;
        match cursor.peek() {
            None => Ok(pipeline),
            Some(token) => Err(cursor.wrong(format!("unexpected {:?}", token.kind.describe()))),
        }
    }

    fn pipeline(&mut self, cursor: &mut Cursor<'_>, is_range: bool) -> Result<Pipeline> {
        let (variables, declares) = cursor.declaration(is_range)?;
        if !declares {
            variables.iter().try_for_each(|name| self.check_variable(cursor, name))?;
        }
        let mut commands = vec![self.command(cursor, 0)?];
        while cursor.take(&Kind::Pipe) {
            let command = self.command(cursor, commands.len())?;
            commands.push(command);
        }
        if declares {
            // Known from here to the end of the branch.
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, declares, commands })
    }

    fn check_variable(&self, cursor: &Cursor<'_>, name: &str) -> Result<()> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(cursor.wrong(format!("undefined variable \"${name}\"")))
    }

    /// Reads one command; one behind a pipe gets one argument more than is written.
    fn command(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Result<Command> {
        let mut operands = Vec::new();
        while let Some(token) = cursor.peek() {
            if matches!(token.kind, Kind::Pipe | Kind::Close) {
                break;
            }
            if !operands.is_empty() && !token.spaced && token.kind != Kind::Open {
                return Err(cursor.wrong(format!("unexpected {:?} in operand", token.kind.describe())));
            }
            operands.push(self.operand(cursor)?);
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else { return Err(cursor.wrong("missing value".into())) };
        let args: Vec<Operand> = operands.collect();
        match first.base {
            Base::Call(function) if first.fields.is_empty() => {
                let n = args.len() + usize::from(position > 0);
                function.check_count(n).map_err(|detail| cursor.wrong(detail))?;
                Ok(Command::Call(function, args))
            }
            _ if position > 0 => {
                Err(cursor.wrong(format!("non executable command in pipeline stage {}", position + 1)))
            }
            _ if !args.is_empty() => Err(cursor.wrong("can't give argument to non-function".into())),
            Base::Nil => Err(cursor.wrong("nil is not a command".into())),
            _ => Ok(Command::Value(first)),
        }
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>) -> Result<Operand> {
        let Some(token) = cursor.next() else { return Err(cursor.wrong("missing value".into())) };
        let mut fields = Vec::new();
        let base = match &token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            Kind::Variable(name) => {
                self.check_variable(cursor, name)?;
                Base::Variable(name.clone())
            }
            Kind::Text(text) => Base::Text(text.clone()),
            Kind::Int(n) => Base::Int(*n),
            Kind::Float(n) => Base::Float(*n),
            Kind::Word(word) => match word.as_str() {
                "true" => Base::Bool(true),
                "false" => Base::Bool(false),
                "nil" => Base::Nil,
                _ => Base::Call(Function::find(word).map_err(|detail| cursor.wrong(detail))?),
            },
            Kind::Open => {
                self.descend(cursor.line)?;
                let n_variables = self.variables.len();
                let pipeline = self.pipeline(cursor, false)?;
                if !cursor.take(&Kind::Close) {
                    return Err(cursor.wrong("unclosed left paren".into()));
                }
                self.variables.truncate(n_variables);
                self.depth -= 1;
                Base::Paren(Box::new(pipeline))
            }
            other => return Err(cursor.wrong(format!("unexpected {:?} in command", other.describe()))),
        };
        while let Some(Token { kind: Kind::Field(name), spaced: false }) = cursor.peek() {
            if !matches!(base, Base::Dot | Base::Variable(_) | Base::Paren(_)) {
                return Err(cursor.wrong(format!("unexpected \".{name}\" after a constant")));
            }
            fields.push(name.clone());
            cursor.at += 1;
        }
        Ok(Operand { base, fields })
    }
}

fn else_head(line: usize, tokens: &[Token]) -> Result<Option<(Branch, Vec<Token>)>> {
    let wrong = |detail: String| TemplateError { line, detail };
    let Some(second) = tokens.get(1) else { return Ok(None) };
    let Kind::Word(word) = &second.kind else {
        return Err(wrong(format!("unexpected {:?} in {{{{else}}}}", second.kind.describe())));
    };
    match branch_of(word) {
        Some(kind @ (Branch::If | Branch::With)) => Ok(Some((kind, tokens[2..].to_vec()))),
        _ => Err(wrong(format!("unexpected {word:?} in {{{{else}}}}"))),
    }
}

struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn wrong(&self, detail: String) -> TemplateError {
        TemplateError { line: self.line, detail }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == *kind);
        self.at += usize::from(found);
        found
    }

    /// Reads `$x :=`, `$x =` or, for `range`, `$i, $x :=`; nothing where none stands here.
    fn declaration(&mut self, is_range: bool) -> Result<(Vec<String>, bool)> {
        let kind = |n: usize| self.tokens.get(self.at + n).map(|t| &t.kind);
        let (names, at) = match (kind(0), kind(1), kind(2)) {
            (Some(Kind::Variable(a)), Some(Kind::Comma), Some(Kind::Variable(b))) => {
                if !is_range {
                    return Err(self.wrong("too many declarations: only range takes two".into()));
                }
                (vec![a.clone(), b.clone()], 3)
            }
            (Some(Kind::Variable(a)), Some(Kind::Declare | Kind::Assign), _) => (vec![a.clone()], 1),
            _ => return Ok((Vec::new(), false)),
        };
        let declares = match kind(at) {
            Some(Kind::Declare) => true,
            Some(Kind::Assign) => false,
            _ => return Err(self.wrong("two variables need := behind them".into())),
        };
        self.at += at + 1;
        Ok((names, declares))
    }
}
