//! What the work in the background did last, and when it comes next.

use std::time::Duration;

use parking_lot::Mutex;

use crate::model::{Clock, Timestamp};

/// How one kind of work in the background fares. Counts run from the start of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// `seal`, `compaction`, `retention`, `check`; `publication` where it is asked for.
    pub name: &'static str,
    /// Times that something was done.
    pub n_done: u64,
    /// Times that it failed.
    pub n_failed: u64,
    /// When it last ran, whether there was something to do or not.
    pub last_at: Option<Timestamp>,
    /// Why the last run failed, if it did; it is tried again.
    pub error: Option<String>,
    /// When it comes next by the clock; earlier when there is much to do.
    pub next_at: Option<Timestamp>,
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Seal,
    Merge,
    Retire,
    Check,
    Publish,
}

impl Job {
    const ALL: [Self; 5] = [Self::Seal, Self::Merge, Self::Retire, Self::Check, Self::Publish];

    fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Merge => "compaction",
            Self::Retire => "retention",
            Self::Check => "check",
            Self::Publish => "publication",
        }
    }

    /// What it is doing, for messages.
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Seal => "sealing",
            Self::Merge => "merging",
            Self::Retire => "retention",
            Self::Check => "checking segments",
            Self::Publish => "publishing Delta tables",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    n_done: u64,
    n_failed: u64,
    last_at: Option<Timestamp>,
    error: Option<String>,
    /// By the clock that never goes back.
    next: Option<Duration>,
}

/// All kinds of work.
#[derive(Debug, Default)]
pub(super) struct Jobs([Mutex<State>; Job::ALL.len()]);

impl Jobs {
    fn change(&self, job: Job, change: impl FnOnce(&mut State)) {
        change(&mut self.0[job as usize].lock());
    }

    /// Notes that something was done.
    pub(super) fn done(&self, job: Job, now: Timestamp) {
        self.change(job, |state| {
            state.n_done += 1;
            (state.last_at, state.error) = (Some(now), None);
        });
    }

    /// Notes that a part of a longer run was done; what went wrong in another part stays said.
    pub(super) fn progress(&self, job: Job, now: Timestamp) {
        self.change(job, |state| {
            state.n_done += 1;
            state.last_at = Some(now);
        });
    }

    /// Notes that there was nothing to do.
    pub(super) fn idle(&self, job: Job, now: Timestamp) {
        self.change(job, |state| (state.last_at, state.error) = (Some(now), None));
    }

    /// Notes that it failed.
    pub(super) fn failed(&self, job: Job, now: Timestamp, why: String) {
        self.change(job, |state| {
            state.n_failed += 1;
            (state.last_at, state.error) = (Some(now), Some(why));
        });
    }

    /// Notes when it comes next; `None` when nothing waits for it.
    pub(super) fn next(&self, job: Job, at: Option<Duration>) {
        self.change(job, |state| state.next = at);
    }

    /// Returns how each fares.
    pub(super) fn list(&self, clock: &dyn Clock) -> Vec<JobStatus> {
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let of = |job: Job| {
            let State { n_done, n_failed, last_at, error, next } = self.0[job as usize].lock().clone();
            let next_at = next.map(|at| now.saturating_add(at.saturating_sub(elapsed)));
            JobStatus { name: job.name(), n_done, n_failed, last_at, error, next_at }
        };
        // Publication is done where it is asked for alone.
        let is_known = |status: &JobStatus| {
            status.name != Job::Publish.name() || status.last_at.is_some() || status.next_at.is_some()
        };
        Job::ALL.into_iter().map(of).filter(is_known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ManualClock;

    #[test]
    fn each_run_leaves_its_outcome() {
        let clock = ManualClock::at(Timestamp::from_millis(1000));
        let jobs = Jobs::default();
        let of = |name: &str| jobs.list(&clock).into_iter().find(|job| job.name == name).expect("a job");
        assert_eq!((of("seal").last_at, of("seal").next_at), (None, None));
        assert!(jobs.list(&clock).iter().all(|job| job.name != "publication"));
        jobs.next(Job::Publish, Some(Duration::from_secs(60)));
        assert!(of("publication").next_at.is_some());
        jobs.failed(Job::Seal, clock.now(), "disk full".into());
        assert_eq!((of("seal").n_failed, of("seal").error.as_deref()), (1, Some("disk full")));
        jobs.next(Job::Seal, Some(clock.elapsed() + Duration::from_secs(5)));
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            of("seal").next_at,
            Some(Timestamp::from_millis(6000)),
            "the time does not move with the clock"
        );
        jobs.done(Job::Seal, clock.now());
        let seal = of("seal");
        assert_eq!((seal.n_done, seal.n_failed, seal.error), (1, 1, None));
        assert_eq!(seal.last_at, Some(Timestamp::from_millis(3000)));
        jobs.idle(Job::Merge, clock.now());
        assert_eq!(
            (of("compaction").n_done, of("compaction").last_at),
            (0, Some(Timestamp::from_millis(3000)))
        );
    }
}
