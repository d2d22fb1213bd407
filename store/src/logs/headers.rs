//! Which headers the lines of a service have: learned from streams, known to all streams of the service.
//!
//! A stream teaches by its first lines. What it has taught is kept by service, so that the lines of a container that
//! takes the place of another have their header from the first one on.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::metrics::hashing::IdentityState;
use crate::model::Labels;
use crate::pattern::{Header, Learner};

/// Streams that teach at a time; others wait until one has ended.
const LEARNERS_MAX: usize = 1024;
/// Headers of one service; what is learned beyond them is not kept.
const SERVICE_HEADERS_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Headers {
    services: HashMap<u64, Arc<[Header]>, IdentityState>,
    /// By the hash of the stream's labels.
    learners: HashMap<u64, Learning, IdentityState>,
    n_known: usize,
    n_saved: usize,
}

#[derive(Debug)]
struct Learning {
    learner: Learner,
    /// Whether a line came since the last turn.
    is_alive: bool,
}

impl Headers {
    /// Returns the headers of a service.
    pub(super) fn of(&self, service: u64) -> Arc<[Header]> {
        self.services.get(&service).cloned().unwrap_or_default()
    }

    /// Shows a line of a stream. Tells whether the stream has no more to teach, and whether a header became known.
    pub(super) fn learn(&mut self, service: u64, labels: &Labels, line: &[u8]) -> (bool, bool) {
        let stream = xxh3_64(labels.as_bytes());
        if self.learners.len() >= LEARNERS_MAX && !self.learners.contains_key(&stream) {
            return (true, false);
        }
        let learning = self.learners.entry(stream);
        let learning = learning.or_insert_with(|| Learning { learner: Learner::default(), is_alive: true });
        learning.is_alive = true;
        if !learning.learner.add(line) {
            return (false, false);
        }
        let header = learning.learner.header();
        self.learners.remove(&stream);
        (true, self.put(service, header))
    }

    fn put(&mut self, service: u64, header: Header) -> bool {
        let known = self.services.get(&service).map_or(&[][..], |known| known);
        if header.is_empty() || known.contains(&header) || known.len() >= SERVICE_HEADERS_MAX {
            return false;
        }
        let known = known.iter().cloned().chain([header]).collect();
        self.services.insert(service, known);
        self.n_known += 1;
        true
    }

    /// Lets go of streams of which no line came since the last turn.
    pub(super) fn turn(&mut self) {
        self.learners.retain(|_, learning| std::mem::take(&mut learning.is_alive));
    }

    /// Brings back what was saved.
    pub(super) fn restore(&mut self, service: u64, headers: Vec<Header>) {
        for header in headers {
            self.put(service, header);
        }
        self.n_saved = self.n_known;
    }

    /// Returns all headers if some are not saved.
    pub(super) fn unsaved(&self) -> Option<Vec<(u64, Arc<[Header]>)>> {
        let all = || {
            let mut all: Vec<_> = self.services.iter().map(|(s, known)| (*s, Arc::clone(known))).collect();
            all.sort_unstable_by_key(|(service, _)| *service);
            all
        };
        (self.n_known > self.n_saved).then(all)
    }

    /// Notes that so many are saved.
    pub(super) fn saved(&mut self, n: usize) {
        self.n_saved = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: usize = Learner::LINES;

    fn labels(pod: usize) -> Labels {
        Labels::from_pairs([("pod", pod.to_string())]).unwrap()
    }

    fn teach(headers: &mut Headers, pod: usize, line: impl Fn(usize) -> String) -> (usize, bool) {
        for n in 0.. {
            let (is_done, is_new) = headers.learn(7, &labels(pod), line(n).as_bytes());
            if is_done {
                return (n + 1, is_new);
            }
        }
        unreachable!("a stream stops teaching");
    }

    #[test]
    fn a_service_has_what_its_streams_taught_up_to_a_bound() {
        let mut headers = Headers::default();
        let plain = |n| format!("12:00:{:02} INFO said {n}", n % 60);
        assert_eq!(teach(&mut headers, 1, plain), (LINES, true));
        assert_eq!(teach(&mut headers, 2, plain), (LINES, false));
        assert_eq!(teach(&mut headers, 3, |n| format!("said {n}")), (LINES, false));
        assert_eq!(headers.of(7).len(), 1);
        assert!(headers.of(8).is_empty());
        let saved = headers.unsaved().unwrap();
        headers.saved(saved.iter().map(|(_, known)| known.len()).sum());
        assert!(headers.unsaved().is_none());
        for n in 0..20 {
            let fields = "[x] ".repeat(n % 13);
            teach(&mut headers, 4 + n, |k| format!("12:00:{:02} {fields}said {k}", k % 60));
        }
        assert_eq!(headers.of(7).len(), SERVICE_HEADERS_MAX);
        let mut again = Headers::default();
        again.restore(7, headers.of(7).to_vec());
        assert_eq!((again.of(7), again.unsaved()), (headers.of(7), None));
    }

    #[test]
    fn streams_that_ended_make_room() {
        let mut headers = Headers::default();
        let learn = |headers: &mut Headers, pod| headers.learn(7, &labels(pod), b"one line").0;
        assert!((0..LEARNERS_MAX).all(|pod| !learn(&mut headers, pod)));
        assert!(learn(&mut headers, LEARNERS_MAX));
        headers.turn();
        assert!(!learn(&mut headers, 5));
        headers.turn();
        assert_eq!(headers.learners.len(), 1);
        assert!(!learn(&mut headers, LEARNERS_MAX));
    }
}
