//! Letters that a text must hold to match a regular expression, and the match decided from there.
//!
//! An expression is cut in two in front of a stretch of letters that each match has: `took (\d+) ms`
//! in front of `took`. A text matches where these letters stand in it, what follows matches the
//! second half forwards, and what comes before them matches the first half backwards. So most texts
//! are decided by an index, and of the others only the part around those letters is read.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::{Pool, PoolGuard};
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::pattern::{is_cjk, shows_letters, words};

/// Alternatives of an expression that are told apart.
const ANCHORS_MAX: usize = 8;
/// Parts of an expression one behind the other, and alternatives inside of alternatives: what has more is looked at as
/// a whole.
const PARTS_MAX: usize = 256;
const DEPTH_MAX: usize = 4;
/// Memory that an automaton may take, and its states besides, in bytes.
const AUTOMATON_BYTES: usize = 256 << 10;

/// Letters that no variable's edge parts, and that an index knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letters {
    /// In lower case.
    pub(crate) text: String,
    /// The words that they are in a text, if they are whole words in any: pairs of Chinese letters.
    pub(crate) pairs: Vec<String>,
}

/// One way in which an expression may match.
#[derive(Debug)]
pub(crate) struct Anchor {
    pub(crate) letters: Letters,
    /// What comes before the letters, to be read backwards; `None` when that may be anything.
    pub(crate) before: Option<Automaton>,
    /// The letters and what follows.
    pub(crate) after: Automaton,
}

impl Letters {
    /// Takes letters as they are; `None` for those that an index does not know.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text.chars().all(is_cjk) {
            let pairs = words(&text);
            return (text.chars().nth(1).is_some()).then_some(Self { text, pairs });
        }
        let is_known = text.bytes().all(|b| b.is_ascii_alphanumeric()) && shows_letters(&text);
        is_known.then_some(Self { text, pairs: Vec::new() })
    }
}

/// Finds anchors for an expression; `None` when a text may match without such letters.
pub(super) fn anchors(hir: &Hir) -> Option<Vec<Anchor>> {
    let mut lists = Vec::new();
    expand(&flat(hir), DEPTH_MAX, &mut lists)?;
    lists.iter().map(|(parts, cut)| cut.build(parts)).collect()
}

/// The parts of an expression one behind the other, without groups.
fn flat(hir: &Hir) -> Vec<Hir> {
    match hir.kind() {
        HirKind::Capture(group) => flat(&group.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(flat).collect(),
        HirKind::Empty => Vec::new(),
        _ => vec![hir.clone()],
    }
}

/// Adds an expression with its cut; where only the alternatives of a part have one, each of these.
fn expand(parts: &[Hir], depth: usize, out: &mut Vec<(Vec<Hir>, Cut)>) -> Option<()> {
    if parts.len() > PARTS_MAX {
        return None;
    }
    if let Some(cut) = Cut::best(parts) {
        out.push((parts.to_vec(), cut));
        return (out.len() <= ANCHORS_MAX).then_some(());
    }
    let found = parts.iter().enumerate().find_map(|(at, part)| match part.kind() {
        HirKind::Alternation(list) => Some((at, list)),
        _ => None,
    });
    let (at, alternatives) = found?;
    let depth = depth.checked_sub(1)?;
    for alternative in alternatives {
        let one = [&parts[..at], &flat(alternative), &parts[at + 1..]].concat();
        expand(&one, depth, out)?;
    }
    Some(())
}

/// Where an expression is cut: in front of a byte of the literal that a part is.
#[derive(Debug)]
struct Cut {
    letters: Letters,
    part: usize,
    offset: usize,
}

impl Cut {
    /// Finds the longest stretch of letters that the index knows.
    fn best(parts: &[Hir]) -> Option<Self> {
        let mut finder = Finder::default();
        for (at, part) in parts.iter().enumerate() {
            match part.kind() {
                HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                    Ok(text) => text.char_indices().for_each(|(offset, c)| finder.next(Some(c), at, offset)),
                    Err(_) => finder.next(None, at, 0),
                },
                HirKind::Class(class) => finder.next(letter_of_any_case(class), at, 0),
                _ => finder.next(None, at, 0),
            }
        }
        finder.next(None, parts.len(), 0);
        finder.best
    }

    fn build(&self, parts: &[Hir]) -> Option<Anchor> {
        let (mut before, mut after) = (parts[..self.part].to_vec(), parts[self.part..].to_vec());
        if let (true, HirKind::Literal(literal)) = (self.offset > 0, parts[self.part].kind()) {
            before.push(Hir::literal(&literal.0[..self.offset]));
            after[0] = Hir::literal(&literal.0[self.offset..]);
        }
        let before = Hir::concat(before);
        let is_anything = matches!(before.kind(), HirKind::Empty);
        Some(Anchor {
            letters: self.letters.clone(),
            before: if is_anything { None } else { Some(Automaton::new(&before, true)?) },
            after: Automaton::new(&Hir::concat(after), false)?,
        })
    }
}

/// Finds stretches of letters in a sequence of letters.
#[derive(Default)]
struct Finder {
    best: Option<Cut>,
    run: String,
    /// Whether the run is of Chinese letters.
    is_cjk: bool,
    start: (usize, usize),
}

impl Finder {
    /// Goes on to the next letter, which is at this place; `None` for what is no single letter.
    fn next(&mut self, letter: Option<char>, part: usize, offset: usize) {
        let kind = letter.filter(|&c| c.is_ascii_alphanumeric() || is_cjk(c)).map(|c| (c, is_cjk(c)));
        if kind.is_none_or(|(_, is_cjk)| is_cjk != self.is_cjk) {
            self.end();
        }
        if let Some((c, is_cjk)) = kind {
            if self.run.is_empty() {
                self.start = (part, offset);
                self.is_cjk = is_cjk;
            }
            self.run.push(c);
        }
    }

    fn end(&mut self) {
        let run = std::mem::take(&mut self.run);
        let is_longer = self.best.as_ref().is_none_or(|best| best.letters.text.len() < run.len());
        if is_longer && let Some(letters) = Letters::of(&run) {
            self.best = Some(Cut { letters, part: self.start.0, offset: self.start.1 });
        }
    }
}

/// The one letter that a class has in both cases.
fn letter_of_any_case(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let [upper, lower] = class.ranges() else { return None };
    let is_one = upper.start() == upper.end() && lower.start() == lower.end();
    let is_letter = upper.start().is_ascii_uppercase() && upper.start().to_ascii_lowercase() == lower.start();
    (is_one && is_letter).then_some(lower.start())
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Matches a text that comes in pieces, from its first byte on.
pub(crate) struct Automaton {
    dfa: DFA,
    caches: Pool<Cache, NewCache>,
    is_reverse: bool,
}

impl fmt::Debug for Automaton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Automaton").field("is_reverse", &self.is_reverse).finish_non_exhaustive()
    }
}

/// What is known of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Yes,
    No,
    /// The whole text has to be looked at.
    Unclear,
}

impl Automaton {
    fn new(hir: &Hir, is_reverse: bool) -> Option<Self> {
        let config = thompson::Config::new()
            .reverse(is_reverse)
            .which_captures(thompson::WhichCaptures::None)
            .nfa_size_limit(Some(AUTOMATON_BYTES));
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(AUTOMATON_BYTES);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let of = dfa.clone();
        let caches = Pool::new(Box::new(move || of.create_cache()) as Box<_>);
        Some(Self { dfa, caches, is_reverse })
    }

    /// Starts a text; `beside` is the byte that it borders on where it begins.
    pub(crate) fn start(&self, beside: Option<u8>) -> Option<Run<'_>> {
        let mut cache = self.caches.get();
        let config = start::Config::new().anchored(Anchored::Yes).look_behind(beside);
        let state = self.dfa.start_state(&mut cache, &config).ok()?;
        Some(Run { automaton: self, cache, state })
    }
}

/// One text on its way through an automaton.
pub(crate) struct Run<'a> {
    automaton: &'a Automaton,
    cache: PoolGuard<'a, Cache, NewCache>,
    state: LazyStateID,
}

impl Run<'_> {
    /// Takes the next piece; `None` while more has to be seen.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Option<Found> {
        if self.automaton.is_reverse {
            piece.iter().rev().find_map(|&byte| self.step(byte))
        } else {
            piece.iter().find_map(|&byte| self.step(byte))
        }
    }

    fn step(&mut self, byte: u8) -> Option<Found> {
        match self.automaton.dfa.next_state(&mut self.cache, self.state, byte) {
            Ok(state) => self.state = state,
            Err(_) => return Some(Found::Unclear),
        }
        self.found()
    }

    fn found(&self) -> Option<Found> {
        if !self.state.is_tagged() {
            None
        } else if self.state.is_match() {
            Some(Found::Yes)
        } else if self.state.is_dead() {
            Some(Found::No)
        } else if self.state.is_quit() {
            Some(Found::Unclear)
        } else {
            None
        }
    }

    /// Ends the text.
    pub(crate) fn finish(mut self) -> Found {
        match self.automaton.dfa.next_eoi_state(&mut self.cache, self.state) {
            Ok(state) => self.state = state,
            Err(_) => return Found::Unclear,
        }
        self.found().unwrap_or(Found::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, want: Option<&[&str]>) {
        let found = anchors(&regex_syntax::parse(expression).unwrap());
        let letters = found.map(|list| list.into_iter().map(|a| a.letters.text).collect::<Vec<_>>());
        assert_eq!(
            letters.as_deref().map(|l| l.iter().map(String::as_str).collect::<Vec<_>>()).as_deref(),
            want
        );
    }

    #[test]
    fn each_match_has_the_letters() {
        check(r"took (\d+) ms", Some(&["took"]));
        check(r"^\s*\[(GET|POST)\] /x", Some(&["get", "post"]));
        check("(?i)Error.*12", Some(&["error"]));
        check("用户登录失败 a", Some(&["用户登录失败"]));
        check("[0-9]+ms", None);
        check("deadbeef|time", None);
        check("(time)?out", Some(&["out"]));
        check("(time|[0-9])out", Some(&["out"]));
    }

    #[test]
    fn an_expression_of_many_parts_costs_little() {
        check(&"(?:ab|c)".repeat(200), None);
        check(&"(?:ab|c)".repeat(4000), None);
        check(&"(?:[a-y]z|c)".repeat(100), None);
    }
}
