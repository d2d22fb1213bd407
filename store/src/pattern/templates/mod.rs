//! Stage 2: groups distinct patterns into templates.
//!
//! A pattern's *key* is its tokens with lists of variables and units joined; patterns with one key
//! are one template. For each position of a key the *hole* is the key with that position left
//! open; keys that share a hole differ in that one slot. When a hole holds enough distinct words,
//! by what stands around it, the slot opens: it was a variable all along. A crowd guard opens slots
//! of keys of one shape that hold very many words, so that free text does not explode. What stands in
//! an open slot of a new pattern is told by [`Templates::opened`], so that lines can be stored under
//! the pattern in which it is a variable.
//!
//! A template's id is the hash of the key that founded it, and never changes. When two templates
//! join, the younger forwards to the older. Which is older depends on the order of arrival, so a
//! tenant has one model, fed in the order in which patterns were first seen.
//!
//! Worked out, with figures for each rule, in the project's research on log patterns.

mod key;
mod need;
mod text;
mod token;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use self::key::{collapse, collapsed, is_single_word, locate, tokenize, word_ends};
use self::need::need;
use self::token::{Token, Tokens, VAR};
use super::structured::{is_structured, message_field};
use super::{PatternId, message_of};

/// Patterns kept, of all services of a tenant; later ones that fit no template go under a coarse one.
pub const PATTERNS_MAX: usize = 65_536;
/// Templates kept, coarse ones included.
const NODES_MAX: usize = 4 * PATTERNS_MAX;
/// Distinct words that a hole keeps: one more than the largest need.
const HOLE_WORDS_MAX: usize = 18;
/// Keys of one shape after which the crowd guard looks.
const SHAPE_KEYS: usize = 64;
/// Keys of one shape that are kept while no slot is wide.
const SHAPE_KEYS_MAX: usize = 4 * SHAPE_KEYS;
/// Distinct words in a slot that make it wide.
const WIDE_SLOT: usize = 24;
/// Words kept of a pattern that comes when the model is full.
const COARSE_WORDS: usize = 3;

/// Names a template: the hash of the key that founded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId(pub u64);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is no template id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no template id: 16 hexadecimal digits")]
pub struct TemplateIdError(String);

impl std::str::FromStr for TemplateId {
    type Err = TemplateIdError;

    fn from_str(text: &str) -> Result<Self, TemplateIdError> {
        let refused = || TemplateIdError(text.chars().take(80).collect());
        if text.len() != 16 {
            return Err(refused());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| refused())
    }
}

type Key = Arc<[Token]>;

#[derive(Debug)]
struct Node {
    id: TemplateId,
    /// The key that founded it.
    key: Key,
    /// The most general key of those joined here.
    general: Key,
    /// The older template that it joined; itself while it stands alone.
    parent: usize,
}

#[derive(Debug)]
struct Member {
    node: usize,
    tokens: Key,
    count: u64,
}

/// The templates of one tenant, growing with the patterns that are shown to it.
#[derive(Debug, Default)]
pub struct Templates {
    tokens: Tokens,
    members: Vec<Member>,
    by_pattern: HashMap<PatternId, usize>,
    nodes: Vec<Node>,
    by_key: HashMap<Key, usize>,
    by_id: HashMap<TemplateId, usize>,
    holes: HashMap<u64, Vec<(Token, usize)>>,
    open: HashSet<u64>,
    shapes: HashMap<u64, Vec<usize>>,
    /// The wide slots of crowded shapes.
    wide: HashMap<u64, Arc<[usize]>>,
    n_coarse: u64,
}

impl Templates {
    /// Takes `count` lines of a pattern and returns their template.
    ///
    /// A pattern seen before costs one look-up. The template of an older pattern may change by
    /// this: ask [`template_of`](Self::template_of) again when showing it.
    pub fn insert(&mut self, pattern: &[u8], count: u64) -> TemplateId {
        let id = PatternId::of(pattern);
        if let Some(&at) = self.by_pattern.get(&id) {
            self.members[at].count += count;
            return self.nodes[self.find(self.members[at].node)].id;
        }
        let tokens: Key = tokenize(message_of(pattern), &mut self.tokens).into();
        let key = collapse(&tokens, &self.tokens);
        if self.members.len() >= PATTERNS_MAX {
            self.n_coarse += count;
            let node = self.fallback(key);
            return self.nodes[self.find(node)].id;
        }
        let node = self.insert_key(key);
        self.by_pattern.insert(id, self.members.len());
        self.members.push(Member { node, tokens, count });
        self.nodes[self.find(node)].id
    }

    /// Returns the template of a pattern that was inserted.
    pub fn template_of(&self, pattern: PatternId) -> Option<TemplateId> {
        let &at = self.by_pattern.get(&pattern)?;
        Some(self.nodes[self.find(self.members[at].node)].id)
    }

    /// Finds the template that a pattern falls under without taking the pattern in; `None` when it would found one.
    pub fn look_up(&self, pattern: &[u8]) -> Option<TemplateId> {
        let list: Vec<Token> =
            locate(message_of(pattern), &self.tokens).into_iter().map(|part| part.0).collect();
        let mut key = collapse(&list, &self.tokens);
        loop {
            if let Some(&at) = self.by_key.get(&key) {
                return Some(self.nodes[self.find(at)].id);
            }
            let slots = self.open_slots(&key)?;
            key = with_vars(&key, &slots, &self.tokens);
        }
    }

    /// Returns the parts of a pattern's constant text that stand in slots known to be variables, in order. None when
    /// the pattern itself, or one that differs in nothing that counts, is known.
    ///
    /// Of a JSON or logfmt line only the message has such slots. No part begins or ends inside a word.
    pub fn opened(&self, pattern: &[u8]) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        let message = match message_field(pattern) {
            Some(field) => field.range,
            None if is_structured(pattern) => return out,
            None => 0..pattern.len(),
        };
        let mut parts = locate(&pattern[message.clone()], &self.tokens);
        loop {
            let list: Vec<Token> = parts.iter().map(|part| part.0).collect();
            let kept = collapsed(&list, &self.tokens);
            let key: Key = kept.iter().map(|&at| list[at]).collect();
            if self.by_key.contains_key(&key) {
                break;
            }
            let Some(slots) = self.open_slots(&key) else { break };
            for &slot in slots.iter() {
                let part = &mut parts[kept[slot]];
                part.0 = VAR;
                out.push(message.start + part.1.start..message.start + part.1.end);
            }
        }
        out.sort_unstable_by_key(|range| range.start);
        out
    }

    /// Tells whether a pattern was inserted and is kept.
    pub fn has(&self, pattern: PatternId) -> bool {
        self.by_pattern.contains_key(&pattern)
    }

    /// Tells whether no further pattern can be kept.
    pub fn is_full(&self) -> bool {
        self.members.len() >= PATTERNS_MAX || self.nodes.len() >= NODES_MAX
    }

    /// Forgets the patterns that are not asked to be kept. Templates, their ids and forwards stay, so a pattern that
    /// comes again has the template that it had.
    pub fn forget(&mut self, is_kept: impl Fn(PatternId) -> bool) {
        let mut patterns: Vec<(usize, PatternId)> = self.by_pattern.iter().map(|(p, at)| (*at, *p)).collect();
        patterns.retain(|(_, pattern)| is_kept(*pattern));
        patterns.sort_unstable();
        let mut kept = patterns.iter().map(|p| p.0).peekable();
        let mut at = 0;
        self.members.retain(|_| {
            at += 1;
            kept.next_if(|k| *k == at - 1).is_some()
        });
        self.by_pattern = patterns.into_iter().enumerate().map(|(at, (_, pattern))| (pattern, at)).collect();
    }

    /// Follows forwards: returns the id under which a template is known today.
    pub fn current(&self, id: TemplateId) -> Option<TemplateId> {
        self.by_id.get(&id).map(|&at| self.nodes[self.find(at)].id)
    }

    /// Returns the forwards that merges left: the younger id and the one that stands for it.
    pub fn forwards(&self) -> Vec<(TemplateId, TemplateId)> {
        let joined = self.nodes.iter().enumerate().filter(|(at, node)| node.parent != *at);
        joined.map(|(at, node)| (node.id, self.nodes[self.find(at)].id)).collect()
    }

    /// Returns a template's text for people, `<*>` for what varies; `None` for an unknown id.
    pub fn text(&self, id: TemplateId) -> Option<String> {
        let root = self.find(*self.by_id.get(&id)?);
        Some(self.text_of(root, &self.members_of(root)))
    }

    /// Returns the patterns of a template, in the order in which they came.
    pub fn patterns_of(&self, id: TemplateId) -> Vec<PatternId> {
        let Some(&at) = self.by_id.get(&id) else { return Vec::new() };
        let root = self.find(at);
        let mut found: Vec<_> = self
            .by_pattern
            .iter()
            .filter(|(_, m)| self.find(self.members[**m].node) == root)
            .map(|(p, m)| (*m, *p))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, pattern)| pattern).collect()
    }

    /// Returns how many patterns are kept, and how many lines went under a coarse one.
    pub fn size(&self) -> (usize, u64) {
        (self.members.len(), self.n_coarse)
    }

    /// Returns the texts of all templates, by id.
    pub fn texts(&self) -> HashMap<TemplateId, String> {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, member) in self.members.iter().enumerate() {
            members.entry(self.find(member.node)).or_default().push(at);
        }
        members.into_iter().map(|(root, list)| (self.nodes[root].id, self.text_of(root, &list))).collect()
    }

    fn members_of(&self, root: usize) -> Vec<usize> {
        (0..self.members.len()).filter(|&m| self.find(self.members[m].node) == root).collect()
    }

    fn text_of(&self, root: usize, members: &[usize]) -> String {
        // Members with the same tokens count together, as one.
        let mut seen: HashMap<&Key, usize> = HashMap::new();
        let mut lists: Vec<(&Key, u64)> = Vec::new();
        for &m in members {
            let member = &self.members[m];
            let at = *seen.entry(&member.tokens).or_insert_with(|| {
                lists.push((&member.tokens, 0));
                lists.len() - 1
            });
            lists[at].1 += member.count;
        }
        lists.sort_by_key(|l| std::cmp::Reverse(l.1));
        let lists: Vec<&[Token]> = lists.into_iter().map(|l| &**l.0).collect();
        text::of_members(&lists, &self.tokens)
            .unwrap_or_else(|| text::render(&self.nodes[root].general, &self.tokens))
    }

    fn find(&self, mut at: usize) -> usize {
        while self.nodes[at].parent != at {
            at = self.nodes[at].parent;
        }
        at
    }

    /// Where a key goes when the model takes no more patterns.
    fn fallback(&mut self, key: Key) -> usize {
        if let Some(&at) = self.by_key.get(&key) {
            return at;
        }
        if let Some(slots) = self.open_slots(&key)
            && let Some(&at) = self.by_key.get(&with_vars(&key, &slots, &self.tokens))
        {
            return at;
        }
        let words: Vec<usize> = (0..key.len()).filter(|&i| self.tokens.is_word(key[i])).collect();
        let mut coarse = key.to_vec();
        for &i in words.iter().skip(COARSE_WORDS) {
            coarse[i] = VAR;
        }
        let mut coarse = collapse(&coarse, &self.tokens);
        if !self.by_key.contains_key(&coarse) && self.nodes.len() >= NODES_MAX {
            coarse = Arc::from([VAR]);
        }
        if let Some(&at) = self.by_key.get(&coarse) { at } else { self.found(coarse) }
    }

    fn found(&mut self, key: Key) -> usize {
        let at = self.nodes.len();
        let id = TemplateId(self.tokens.hash(&key));
        self.nodes.push(Node { id, key: key.clone(), general: key.clone(), parent: at });
        self.by_key.insert(key, at);
        self.by_id.entry(id).or_insert(at);
        at
    }

    /// Returns the node of a key. Each recursion works on a key with fewer words, so it ends.
    fn insert_key(&mut self, key: Key) -> usize {
        if let Some(&at) = self.by_key.get(&key) {
            return self.find(at);
        }
        if let Some(slots) = self.open_slots(&key) {
            let at = self.insert_key(with_vars(&key, &slots, &self.tokens));
            self.by_key.insert(key, at);
            return self.find(at);
        }
        let words: Vec<usize> = (0..key.len()).filter(|&i| self.tokens.is_word(key[i])).collect();
        let at = self.found(key.clone());
        if is_single_word(&key, &words) {
            return at;
        }
        let first = words.first().copied().filter(|&w| !key[..w].contains(&VAR));
        for i in 0..key.len() {
            if key[i] == VAR || self.tokens.is_word(key[i]) {
                self.widen(&key, at, i, first, &words);
            }
        }
        self.crowd(&key, at, &words);
        self.find(at)
    }

    /// Which slots of a key are known to be variables: the first that opened, or the wide ones of a crowded shape.
    fn open_slots(&self, key: &Key) -> Option<Arc<[usize]>> {
        let words: Vec<usize> = (0..key.len()).filter(|&i| self.tokens.is_word(key[i])).collect();
        if let Some(&slot) = words.iter().find(|&&i| self.open.contains(&hole(key, i))) {
            return Some([slot].into());
        }
        let [first, _, ..] = words[..] else { return None };
        self.wide.get(&self.tokens.shape(key, first)).cloned()
    }

    /// Puts a key into the hole at `i` and opens it when it holds enough words.
    fn widen(&mut self, key: &Key, at: usize, i: usize, first: Option<usize>, words: &[usize]) {
        let hash = hole(key, i);
        let group = self.holes.entry(hash).or_default();
        if group.len() < HOLE_WORDS_MAX && !group.iter().any(|g| g.0 == key[i]) {
            group.push((key[i], at));
        }
        if group.len() < 2 || !words.iter().any(|&w| w != i) || self.open.contains(&hash) {
            return;
        }
        let has_var = group.iter().any(|g| g.0 == VAR);
        let mut needs: Vec<usize> =
            group.iter().filter(|g| g.0 != VAR).map(|g| need(key, i, first, g.0, &self.tokens)).collect();
        needs.sort_unstable();
        let asked = match needs.len() {
            0 => return,
            n @ 1..=3 => needs[n - 1],
            n => needs[n / 2],
        };
        if needs.len() + 2 * usize::from(has_var) >= asked {
            self.generalise(key, i, hash);
        }
    }

    fn generalise(&mut self, key: &Key, i: usize, hash: u64) {
        let general = with_vars(key, &[i], &self.tokens);
        self.open.insert(hash);
        // Only whether it is open matters from here on.
        let group = self.holes.insert(hash, Vec::new()).unwrap_or_default();
        let target = self.insert_key(general);
        for (_, member) in group {
            self.union(member, target);
        }
    }

    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return;
        }
        let (old, young) = (a.min(b), a.max(b));
        self.nodes[young].parent = old;
        let n_words = |key: &Key| key.iter().filter(|&&t| self.tokens.is_word(t)).count();
        if n_words(&self.nodes[young].general) < n_words(&self.nodes[old].general) {
            self.nodes[old].general = self.nodes[young].general.clone();
        }
    }

    /// How many distinct words the keys of `peers` have at a position.
    fn n_words(&self, peers: &[usize], i: usize) -> usize {
        peers.iter().map(|&p| self.nodes[p].key[i]).collect::<HashSet<Token>>().len()
    }

    /// In a crowded shape (same layout, same first word) wide slots become variables at once.
    fn crowd(&mut self, key: &Key, at: usize, words: &[usize]) {
        if words.len() < 2 {
            return;
        }
        let hash = self.tokens.shape(key, words[0]);
        let peers = self.shapes.entry(hash).or_default();
        peers.push(at);
        if !peers.len().is_multiple_of(SHAPE_KEYS) {
            return;
        }
        let peers = std::mem::take(peers);
        let wide: Vec<usize> =
            words[1..].iter().copied().filter(|&i| self.n_words(&peers, i) > WIDE_SLOT).collect();
        if wide.is_empty() {
            if peers.len() < SHAPE_KEYS_MAX {
                self.shapes.insert(hash, peers);
            }
            return;
        }
        self.wide.insert(hash, wide.as_slice().into());
        for peer in peers {
            let key = self.nodes[peer].key.clone();
            self.open.extend(wide.iter().map(|&i| hole(&key, i)));
            let target = self.insert_key(with_vars(&key, &wide, &self.tokens));
            self.union(peer, target);
        }
    }
}

/// Returns where the part of a pattern ends that is kept where there is no room for it: behind its third word, and at
/// once where keys name fields, since a part of those would name others.
pub fn coarse_end(pattern: &[u8]) -> usize {
    if is_structured(pattern) {
        return 0;
    }
    let ends = word_ends(pattern);
    ends.get(COARSE_WORDS - 1).copied().unwrap_or(pattern.len())
}

/// The hash of a key with one position left open.
fn hole(key: &[Token], i: usize) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for (k, token) in key.iter().enumerate() {
        hasher.update(&if k == i { u32::MAX } else { token.0 }.to_le_bytes());
    }
    hasher.digest()
}

fn with_vars(key: &[Token], slots: &[usize], tokens: &Tokens) -> Key {
    let mut key = key.to_vec();
    slots.iter().for_each(|&i| key[i] = VAR);
    collapse(&key, tokens)
}

#[cfg(test)]
mod tests;
