//! The patterns of one tenant: under which pattern a line is stored, and which template that is.
//!
//! A tenant has one model of templates for its life. It is shown each new pattern once, in the order
//! in which lines come; what it was shown is kept with the catalog, so that ids of templates are the
//! same after a restart. Lines whose words stand in slots that the model knows to be variables are
//! stored under the pattern with those words as variables, so that free text does not make a pattern
//! a line. Bounds hold for each service: what goes beyond them is stored under a coarse pattern.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::headers::Headers;
use super::query::{Scratch, Test};
use super::rows::{Shape, Tables};
use crate::metrics::hashing::IdentityState;
use crate::model::Labels;
use crate::pattern::{Header, PatternId, Span, TemplateId, Templates, VARIABLE, coarse_end};
use crate::segment::SegmentId;

/// Patterns of one service that are in use, which a service far exceeds only by writing free text.
const SERVICE_PATTERNS_MAX: usize = 16_384;
/// Coarse patterns of a service beyond those; later lines are one variable.
const COARSE_MAX: usize = SERVICE_PATTERNS_MAX / 16;
/// Services that are told apart; the rest count as one.
const SERVICES_MAX: usize = 1024;
/// Labels that name a service, the first that a stream has.
const SERVICE_LABELS: [&str; 5] = ["service_name", "service", "job", "app", "application"];
/// Variables of a line.
const VARIABLES_MAX: usize = 255;
/// Patterns that the catalog is given to keep; beyond them ids may change with a restart.
const SAVED_MAX: usize = 1 << 20;

/// The templates of one tenant: one model for its life, fed in the order in which patterns came.
#[derive(Debug, Default)]
pub struct SharedTemplates {
    state: Mutex<State>,
    /// Grows whenever a header becomes known; 0 while there is none.
    n_headers: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    model: Templates,
    services: HashMap<u64, Used, IdentityState>,
    /// Counts heads: what was last used before the head before this one is out of use.
    head: u32,
    /// Lines that were stored under a coarse pattern.
    n_coarse: u64,
    /// Patterns that the catalog has or is to have; by their ids.
    noted: HashSet<u64, IdentityState>,
    /// Those that it is to have, in the order in which they came.
    unsaved: Vec<Box<str>>,
    n_saved: usize,
    /// Segments of which not all patterns were shown to the model.
    unlearned: HashSet<SegmentId>,
    headers: Headers,
}

/// Patterns of a service and the head that last used them.
type Used = HashMap<u64, u32, IdentityState>;

/// Under which pattern a line is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Under the one that it has.
    AsWritten,
    /// These parts of its pattern are variables as well.
    Open(Vec<Range<usize>>),
    /// What follows this many bytes of its pattern is one variable.
    Coarse(usize),
}

impl SharedTemplates {
    /// Says under which pattern a line of a stream is stored, and shows the model what is new.
    pub(super) fn place(&self, labels: &Labels, pattern: &str, general: &mut General) -> Place {
        let state = &mut *self.state.lock();
        let service = state.service(labels);
        let id = PatternId::of(pattern.as_bytes());
        if state.is_used(service, id) {
            return Place::AsWritten;
        }
        let has_room = state.services.get(&service).is_none_or(|used| used.len() < SERVICE_PATTERNS_MAX);
        if state.model.has(id) && has_room {
            state.take(service, pattern);
            return Place::AsWritten;
        }
        let open = state.model.opened(pattern.as_bytes());
        let n_variables = pattern.bytes().filter(|&b| b == VARIABLE).count();
        if !open.is_empty() && n_variables + open.len() <= VARIABLES_MAX {
            general.pattern_of(pattern, &open, pattern.len());
            if !state.is_used(service, PatternId::of(general.pattern.as_bytes())) && has_room {
                state.take(service, &general.pattern);
            }
            return Place::Open(open);
        }
        if has_room && !state.model.is_full() {
            state.take(service, pattern);
            return Place::AsWritten;
        }
        Place::Coarse(state.coarse(service, pattern, general))
    }

    /// Goes on to the next head: patterns that neither it nor the one before uses are out of use.
    pub(super) fn turn(&self) {
        let state = &mut *self.state.lock();
        state.head += 1;
        let oldest = state.head.saturating_sub(1);
        for used in state.services.values_mut() {
            used.retain(|_, head| *head >= oldest);
        }
        state.services.retain(|_, used| !used.is_empty());
        state.headers.turn();
        if state.model.is_full() {
            let State { model, services, .. } = state;
            model.forget(|pattern| services.values().any(|used| used.contains_key(&pattern.0)));
        }
    }

    /// Returns the headers that lines of a stream's service may have.
    pub(super) fn headers(&self, labels: &Labels) -> Arc<[Header]> {
        if self.n_headers() == 0 {
            return Arc::default();
        }
        let state = &*self.state.lock();
        state.headers.of(state.service(labels))
    }

    /// Returns a number that grows whenever a header becomes known.
    pub(super) fn n_headers(&self) -> u64 {
        self.n_headers.load(Ordering::Acquire)
    }

    /// Learns from a line of a stream what header its service's lines have; `true` when the stream has no more to teach.
    pub(super) fn learn_header(&self, labels: &Labels, line: &[u8]) -> bool {
        let state = &mut *self.state.lock();
        let service = state.service(labels);
        let (is_done, is_new) = state.headers.learn(service, labels, line);
        if is_new {
            self.n_headers.fetch_add(1, Ordering::AcqRel);
        }
        is_done
    }

    /// Brings the headers of a service back that were saved.
    pub(crate) fn restore_headers(&self, service: u64, headers: Vec<Header>) {
        self.state.lock().headers.restore(service, headers);
        self.n_headers.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns all headers, by service, if there are some that the catalog does not have.
    pub(crate) fn unsaved_headers(&self) -> Option<Vec<(u64, Arc<[Header]>)>> {
        self.state.lock().headers.unsaved()
    }

    /// Notes that the catalog has the headers that [`unsaved_headers`](Self::unsaved_headers) gave, which were so many.
    pub(crate) fn saved_headers(&self, n: usize) {
        self.state.lock().headers.saved(n);
    }

    /// Returns how many lines were stored under a coarse pattern since the process began.
    pub fn n_coarse(&self) -> u64 {
        self.state.lock().n_coarse
    }

    /// The template of a shape's pattern.
    pub(super) fn of(&self, shape: &Shape) -> TemplateId {
        let state = self.state.lock();
        let known = state.model.template_of(shape.id);
        // A pattern that the model has no room for stands for itself.
        known.or_else(|| state.model.look_up(shape.message().as_bytes())).unwrap_or(TemplateId(shape.id.0))
    }

    /// Returns the id under which a template is known today.
    #[cfg(test)]
    pub(super) fn current(&self, id: TemplateId) -> Option<TemplateId> {
        self.state.lock().model.current(id)
    }

    /// Tells whether the id of a shape's template passes a test, or the test names a template that has joined it
    /// since: an id that someone noted down goes on finding what it found.
    pub(super) fn passes(&self, shape: &Shape, test: &Test, scratch: &mut Scratch) -> bool {
        let id = self.of(shape);
        match test {
            // An id is no number, even if it is all digits.
            Test::Number(..) => false,
            test => {
                let noted = test.whole_text().and_then(|text| text.parse().ok());
                let joined = noted.and_then(|noted| self.state.lock().model.current(noted));
                test.matches(&id.to_string(), scratch) || joined == Some(id)
            }
        }
    }

    /// Returns a template's text.
    pub(super) fn text(&self, id: TemplateId) -> Option<String> {
        let state = self.state.lock();
        state.model.current(id).and_then(|id| state.model.text(id))
    }

    /// Notes segments whose patterns the model may not have been shown: those of a folder that has none saved.
    pub(crate) fn is_to_learn(&self, segment: SegmentId) {
        self.state.lock().unlearned.insert(segment);
    }

    /// Returns the segments among some whose patterns the model is still to be shown.
    pub(super) fn to_learn(&self, among: impl Iterator<Item = SegmentId>) -> Vec<SegmentId> {
        let state = self.state.lock();
        if state.unlearned.is_empty() {
            Vec::new()
        } else {
            among.filter(|id| state.unlearned.contains(id)).collect()
        }
    }

    /// Shows the model the patterns of a segment.
    pub(super) fn learn(&self, segment: SegmentId, tables: &Tables) {
        let state = &mut *self.state.lock();
        if state.unlearned.remove(&segment) {
            for shape in &tables.shapes {
                state.show(shape.message());
            }
        }
    }

    /// Shows the model patterns that were saved, in their order; before any line comes.
    /// `n_saved` is the number that the next one has.
    pub(crate) fn restore<'p>(&self, patterns: impl IntoIterator<Item = &'p str>, n_saved: usize) {
        let state = &mut *self.state.lock();
        for pattern in patterns {
            state.model.insert(pattern.as_bytes(), 1);
            state.noted.insert(PatternId::of(pattern.as_bytes()).0);
        }
        state.n_saved = n_saved;
    }

    /// Returns how many patterns are saved, and those to be saved after them.
    pub(crate) fn unsaved(&self) -> (usize, Vec<Box<str>>) {
        let state = self.state.lock();
        (state.n_saved, state.unsaved.clone())
    }

    /// Notes that the first `n` of those to be saved are.
    pub(crate) fn saved(&self, n: usize) {
        let mut state = self.state.lock();
        state.unsaved.drain(..n);
        state.n_saved += n;
    }
}

impl State {
    fn service(&self, labels: &Labels) -> u64 {
        let name = SERVICE_LABELS.iter().find_map(|name| labels.get(name)).unwrap_or_default();
        let service = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        let is_told_apart = self.services.len() < SERVICES_MAX || self.services.contains_key(&service);
        if is_told_apart { service } else { 0 }
    }

    /// Tells whether a service uses a pattern already, as it does from here on.
    fn is_used(&mut self, service: u64, pattern: PatternId) -> bool {
        let used = self.services.get_mut(&service).and_then(|used| used.get_mut(&pattern.0));
        used.map(|head| *head = self.head).is_some()
    }

    /// Returns where the part of a pattern ends that is kept of it where there is no room: the words that it begins
    /// with, or nothing where there is no room for these either.
    fn coarse(&mut self, service: u64, pattern: &str, general: &mut General) -> usize {
        self.n_coarse += 1;
        let mut end = coarse_end(pattern.as_bytes());
        general.pattern_of(pattern, &[], end);
        if self.is_used(service, PatternId::of(general.pattern.as_bytes())) {
            return end;
        }
        let n_used = self.services.get(&service).map_or(0, HashMap::len);
        if n_used >= SERVICE_PATTERNS_MAX + COARSE_MAX {
            end = 0;
            general.pattern_of(pattern, &[], end);
        }
        self.take(service, &general.pattern);
        end
    }

    /// Takes a pattern in for a service.
    fn take(&mut self, service: u64, pattern: &str) {
        let id = PatternId::of(pattern.as_bytes());
        self.services.entry(service).or_default().insert(id.0, self.head);
        self.show(pattern);
    }

    /// Shows the model a pattern, which is to be saved if it is new.
    fn show(&mut self, pattern: &str) {
        let id = PatternId::of(pattern.as_bytes());
        // Beyond its room the model would only make its templates coarser.
        if self.model.has(id) || self.model.is_full() {
            return;
        }
        self.model.insert(pattern.as_bytes(), 1);
        if self.noted.len() < SAVED_MAX && self.noted.insert(id.0) {
            self.unsaved.push(pattern.into());
        }
    }
}

/// A pattern that is more general than the one that a line has, and the line's variables in it.
#[derive(Debug, Default)]
pub(super) struct General {
    pub(super) pattern: String,
    pub(super) variables: Vec<Span>,
}

impl General {
    /// Makes variables of parts of a message's pattern. What follows `end` bytes of the pattern is one variable.
    ///
    /// - `variables`: those that the message has in its pattern.
    /// - `place`: where the parts are that become variables; they hold none, and are in order.
    /// - `message`: where the message lies in the line.
    pub(super) fn split(&mut self, pattern: &str, variables: &[Span], place: &Place, message: Range<usize>) {
        let (open, end) = match place {
            Place::AsWritten => (&[][..], pattern.len()),
            Place::Open(open) => (open.as_slice(), pattern.len()),
            Place::Coarse(end) => (&[][..], *end),
        };
        self.pattern_of(pattern, open, end);
        self.variables.clear();
        // Places in a record's body, whose length spans can name.
        let (mut at, mut from) = (0, message.start as u32);
        let (mut variables, mut open) = (variables.iter(), open.iter().peekable());
        let bytes = pattern.as_bytes();
        while at < end {
            if let Some(part) = open.next_if(|part| part.start == at) {
                let n = part.len() as u32;
                self.variables.push(Span { start: from, end: from + n });
                (at, from) = (part.end, from + n);
                continue;
            }
            if bytes[at] == VARIABLE
                && let Some(&span) = variables.next()
            {
                self.variables.push(span);
                (at, from) = (at + 1, span.end);
                continue;
            }
            (at, from) = (at + 1, from + 1);
        }
        if end < pattern.len() {
            self.variables.push(Span { start: from, end: message.end as u32 });
        }
    }

    /// Puts what a line's header has become before what its message has.
    pub(super) fn put_behind(&mut self, pattern: &str, variables: &[Span]) {
        self.pattern.insert_str(0, pattern);
        self.variables.splice(..0, variables.iter().copied());
    }

    fn pattern_of(&mut self, pattern: &str, open: &[Range<usize>], end: usize) {
        self.pattern.clear();
        let mut at = 0;
        for part in open {
            self.pattern.push_str(&pattern[at..part.start]);
            self.pattern.push(char::from(VARIABLE));
            at = part.end;
        }
        self.pattern.push_str(&pattern[at..end.max(at)]);
        if end < pattern.len() {
            self.pattern.push(char::from(VARIABLE));
        }
    }
}

#[cfg(test)]
mod tests;
